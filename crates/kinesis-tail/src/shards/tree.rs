use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use kinesis_source::{Shard, ShardId};

/// Draws the shards with each below the one it came from, in the order of their names.
///
/// A shard whose parents are all too old to be listed stands at the left edge.
pub(super) fn draw(shards: &[Shard]) -> String {
    let known: BTreeSet<&ShardId> = shards.iter().map(|shard| &shard.id).collect();
    let mut below: BTreeMap<Option<&ShardId>, Vec<&Shard>> = BTreeMap::new();
    for shard in shards {
        // A parent is older, and so its name is smaller: a listing cannot lead in circles.
        let is_above = |parent: &&ShardId| known.contains(parent) && **parent < shard.id;
        let parent = shard.parents().find(is_above);
        below.entry(parent).or_default().push(shard);
    }
    for siblings in below.values_mut() {
        siblings.sort_by(|a, b| a.id.cmp(&b.id));
    }
    let mut drawing = Drawing {
        below,
        text: String::new(),
    };
    drawing.roots();
    drawing.text
}

struct Drawing<'a> {
    below: BTreeMap<Option<&'a ShardId>, Vec<&'a Shard>>,
    text: String,
}

impl<'a> Drawing<'a> {
    fn roots(&mut self) {
        for shard in self.below.remove(&None).unwrap_or_default() {
            self.line("", shard, None);
            self.children(shard, "");
        }
    }

    fn children(&mut self, of: &'a Shard, indent: &str) {
        let children = self.below.remove(&Some(&of.id)).unwrap_or_default();
        let last = children.len().saturating_sub(1);
        for (position, child) in children.into_iter().enumerate() {
            let (branch, deeper) = match position == last {
                true => ("└─ ", "   "),
                false => ("├─ ", "│  "),
            };
            self.line(&format!("{indent}{branch}"), child, Some(&of.id));
            self.children(child, &format!("{indent}{deeper}"));
        }
    }

    fn line(&mut self, branch: &str, shard: &Shard, above: Option<&ShardId>) {
        let state = if shard.is_closed() { "closed" } else { "open" };
        let (start, end) = (shard.hash_range.start, shard.hash_range.end);
        self.write(format_args!(
            "{branch}{}  {state}  {start}..={end}",
            shard.id
        ));
        let others: Vec<String> = shard
            .parents()
            .filter(|&parent| Some(parent) != above)
            .map(ShardId::to_string)
            .collect();
        match (others.is_empty(), above) {
            (true, _) => {}
            (false, Some(_)) => self.write(format_args!("  (merged with {})", others.join(", "))),
            (false, None) => self.write(format_args!("  (from {}, gone)", others.join(" and "))),
        }
        self.text.push('\n');
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // A string takes all that is written.
        let _ = self.text.write_fmt(text);
    }
}

#[cfg(test)]
mod tests {
    use kinesis_source::HashRange;

    use super::*;

    fn shard(number: u8, parents: &[u8], closed: bool) -> Shard {
        let name = |number: &u8| ShardId::new(format!("shard-{number}"));
        Shard {
            id: name(&number),
            parent: parents.first().map(name),
            adjacent_parent: parents.get(1).map(name),
            hash_range: HashRange {
                start: 0,
                end: number.into(),
            },
            starting_sequence_number: 0.into(),
            ending_sequence_number: closed.then(|| 9.into()),
        }
    }

    #[test]
    fn children_stand_below_their_parents() {
        let shards = [
            shard(6, &[3, 4], false),
            shard(0, &[], true),
            shard(1, &[], false),
            shard(2, &[0], false),
            shard(3, &[0], true),
            shard(4, &[1], true),
            shard(5, &[3], false),
        ];
        assert_eq!(
            draw(&shards),
            "shard-0  closed  0..=0\n\
             ├─ shard-2  open  0..=2\n\
             └─ shard-3  closed  0..=3\n\
             \u{20}  ├─ shard-5  open  0..=5\n\
             \u{20}  └─ shard-6  open  0..=6  (merged with shard-4)\n\
             shard-1  open  0..=1\n\
             └─ shard-4  closed  0..=4\n"
        );
    }

    #[test]
    fn a_parent_that_is_gone_is_still_named() {
        assert_eq!(
            draw(&[shard(3, &[1, 2], false), shard(5, &[4], false)]),
            "shard-3  open  0..=3  (from shard-1 and shard-2, gone)\n\
             shard-5  open  0..=5  (from shard-4, gone)\n"
        );
    }

    #[test]
    fn no_shard_is_left_out_however_they_are_listed() {
        let text = draw(&[
            shard(1, &[2], false),
            shard(2, &[1], false),
            shard(3, &[], false),
        ]);
        assert_eq!(text.lines().count(), 3, "{text}");
    }
}

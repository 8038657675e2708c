use super::{
    concern::rank,
    snapshot::{ShardView, Snapshot},
    tally::{self, Tally},
};
use crate::{
    figures::{cut, printable, span, span_or_dash},
    screen::Size,
};

/// The lines of a view, no more and no longer than there is room for: a sum, the shards that most need to be
/// looked at, and what all others are doing. All is [`printable`].
///
/// The work is proportional to the number of shards, and only that of the lines is formatted.
pub(super) fn frame(snapshot: &Snapshot, size: Size) -> Vec<String> {
    let is_low = size.height <= LOW;
    let mut lines = wrap(&sum(snapshot), size.width);
    if is_low {
        lines.truncate(1);
    }
    lines.extend(tally::held_up(snapshot));
    let room = size
        .height
        .saturating_sub(lines.len() + usize::from(!is_low));
    let (shown, others) = choose(snapshot, room);
    let table = Table::of(&shown, size.width);
    if !is_low && !shown.is_empty() {
        lines.push(table.row(HEAD.map(str::to_owned)));
    }
    lines.extend(shown.iter().map(|shard| table.row(columns(shard))));
    lines.extend(others);
    lines.truncate(size.height);
    lines
        .into_iter()
        .map(|line| cut(line, size.width))
        .collect()
}

/// With no more lines than this, one is spent on the sum, and none on what the columns are.
const LOW: usize = 6;

/// On a terminal that is narrower, some columns make way for what shards wait for. The sum has the worst of them.
const WIDE: usize = 112;

/// How long the names are that Kinesis gives to shards. Names of that length are shown in full.
const SHORT: usize = 20;

const COLUMNS: usize = 7;

const HEAD: [&str; COLUMNS] = [
    "SHARD",
    "READ",
    "IN FLIGHT",
    "LAG",
    "HEADROOM",
    "THROTTLED",
    "STATE",
];

fn sum(snapshot: &Snapshot) -> Vec<String> {
    let mut sum = tally::sum(snapshot);
    match snapshot.over {
        0 => {}
        1 => sum.push("1 shard finished".to_owned()),
        over => sum.push(format!("{over} shards finished")),
    }
    sum
}

/// Joins parts to as few lines as take them, in order. A part that is longer than a line has one to itself.
fn wrap(parts: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.len() + 2 + part.len() <= width => {
                line.push_str(", ");
                line.push_str(part);
            }
            _ => lines.push(part.clone()),
        }
    }
    lines
}

/// The shards that are shown in so many lines, in order, and a line about all others.
fn choose(snapshot: &Snapshot, room: usize) -> (Vec<&ShardView>, Option<String>) {
    let mut shards: Vec<&ShardView> = snapshot.shards.iter().collect();
    let most = match shards.len() <= room {
        true => shards.len(),
        false => room.saturating_sub(1),
    };
    if most < shards.len() {
        shards.select_nth_unstable_by(most, |a, b| rank(a).cmp(&rank(b)));
    }
    let others = shards.split_off(most);
    shards.sort_unstable_by(|a, b| rank(a).cmp(&rank(b)));
    let line = (!others.is_empty()).then(|| {
        let (count, words) = (others.len(), Tally::of(others).words());
        format!("and {count} more: {words}")
    });
    (shards, line)
}

fn columns(shard: &ShardView) -> [String; COLUMNS] {
    let (behind, headroom) = (shard.behind, shard.headroom);
    let (lag, headroom) = match shard.is_lag_unknown() {
        true => {
            let unknown = || "unknown".to_owned();
            let at_least = |behind| format!(">{}", span(behind));
            let at_most = |headroom| format!("<{}", span(headroom));
            let lag = behind.map_or_else(unknown, at_least);
            (lag, headroom.map_or_else(unknown, at_most))
        }
        false => (span_or_dash(behind), span_or_dash(headroom)),
    };
    [
        printable(&shard.shard.to_string()),
        shard.read.to_string(),
        shard.in_flight.to_string(),
        lag,
        headroom,
        shard.throttled.to_string(),
        tally::doing(shard),
    ]
}

/// How shards are set out in columns.
struct Table {
    /// How wide the first one is.
    name: usize,
    is_wide: bool,
}

impl Table {
    fn of(shown: &[&ShardView], width: usize) -> Self {
        let names = shown.iter().map(|shard| shard.shard.to_string().len());
        Self {
            name: names.max().unwrap_or(0).min((width / 3).max(SHORT)),
            is_wide: width >= WIDE,
        }
    }

    /// A line. Names differ at their ends: that is what is shown of one that is too long.
    fn row(&self, columns: [String; COLUMNS]) -> String {
        let [shard, read, in_flight, lag, headroom, throttled, state] = columns;
        let name = self.name;
        let end = &shard[shard.len().saturating_sub(name)..];
        let row = format!("{end:<name$}  {read:>9}  {in_flight:>9}  {lag:>7}");
        match self.is_wide {
            true => format!("{row}  {headroom:>8}  {throttled:>9}  {state}"),
            false => format!("{row}  {state}"),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;

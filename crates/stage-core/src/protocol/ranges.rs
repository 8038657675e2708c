use std::{collections::BTreeMap, ops::Range};

/// A set of numbers, kept as ranges that do not touch each other.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Whether any of `range` is in the set.
    pub(super) fn overlaps(&self, range: &Range<u64>) -> bool {
        let before = self.0.range(..range.end).next_back();
        before.is_some_and(|(_, &end)| end > range.start)
    }

    /// Adds numbers that are not in the set.
    pub(super) fn insert(&mut self, Range { mut start, mut end }: Range<u64>) {
        if let Some((&before, &before_end)) = self.0.range(..start).next_back()
            && before_end == start
        {
            self.0.remove(&before);
            start = before;
        }
        if let Some(after_end) = self.0.remove(&end) {
            end = after_end;
        }
        self.0.insert(start, end);
    }

    /// Takes the range that begins at `start` out, if there is one, and returns its end.
    pub(super) fn remove_at(&mut self, start: u64) -> Option<u64> {
        self.0.remove(&start)
    }
}

use std::{
    collections::{BTreeMap, VecDeque},
    error::Error,
    fmt,
    ops::Range,
};

/// How far everything is done, when things are done in any order.
///
/// A source issues a number for each position that it hands out. Settled numbers move the mark, but
/// only over an unbroken prefix: it stops before the first position that is not done, and that is
/// what may be stored as a checkpoint.
///
/// ```
/// use stage_core::protocol::Watermark;
///
/// let mut mark = Watermark::new();
/// for position in ["a", "b", "c"] {
///     mark.issue(position);
/// }
/// assert_eq!(mark.settle(1..3)?, None); // "b" and "c" are done, "a" is not
/// assert_eq!(mark.settle(0..1)?, Some("c")); // now everything up to "c" is
/// assert_eq!(mark.open(), 0);
/// # Ok::<(), stage_core::protocol::SettleError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Watermark<P> {
    /// The number of the first position that is not done.
    base: u64,
    /// The positions from `base` on.
    open: VecDeque<P>,
    /// Ranges above `base` that are done: start to end, apart from each other.
    done: BTreeMap<u64, u64>,
}

/// A number was settled that was never issued, or is settled already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettleError {
    range: Range<u64>,
}

impl<P> Watermark<P> {
    /// A mark before anything was handed out. Numbers start at zero.
    pub fn new() -> Self {
        Self {
            base: 0,
            open: VecDeque::new(),
            done: BTreeMap::new(),
        }
    }

    /// The number for the next position that is handed out. Numbers go up by one.
    pub fn issue(&mut self, position: P) -> u64 {
        self.open.push_back(position);
        self.next() - 1
    }

    /// The number that the next position will have.
    pub fn next(&self) -> u64 {
        self.base + self.open.len() as u64
    }

    /// How many positions lie at or behind the first that is not done.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Whether everything that was handed out is done.
    pub fn is_complete(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes note that the positions of these numbers are done. If that moves the mark, returns the
    /// last position that it now covers.
    ///
    /// # Errors
    ///
    /// If any of the numbers was never issued or is settled already. Then nothing changes.
    pub fn settle(&mut self, range: Range<u64>) -> Result<Option<P>, SettleError> {
        if range.is_empty() {
            return Ok(None);
        }
        if range.start < self.base || range.end > self.next() || self.overlaps(&range) {
            return Err(SettleError { range });
        }
        self.insert(range);
        Ok(self.advance())
    }

    fn overlaps(&self, range: &Range<u64>) -> bool {
        let before = self.done.range(..range.end).next_back();
        before.is_some_and(|(_, &end)| end > range.start)
    }

    /// Joins the range with those it touches.
    fn insert(&mut self, Range { mut start, mut end }: Range<u64>) {
        if let Some((&before, &before_end)) = self.done.range(..start).next_back()
            && before_end == start
        {
            self.done.remove(&before);
            start = before;
        }
        if let Some(after_end) = self.done.remove(&end) {
            end = after_end;
        }
        self.done.insert(start, end);
    }

    fn advance(&mut self) -> Option<P> {
        let end = self.done.remove(&self.base)?;
        let covered = usize::try_from(end - self.base).expect("no more than are open");
        self.base = end;
        self.open.drain(..covered).next_back()
    }
}

impl<P> Default for Watermark<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for SettleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.range;
        write!(
            f,
            "of {start}..{end}, some were never handed out or are settled already"
        )
    }
}

impl Error for SettleError {}

use std::{collections::VecDeque, error::Error, fmt, ops::Range};

use super::ranges::Ranges;

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
    /// What is done above `base`.
    done: Ranges,
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
            done: Ranges::default(),
        }
    }

    /// The number for the next position that is handed out. Numbers go up by one.
    pub fn issue(&mut self, position: P) -> u64 {
        self.open.push_back(position);
        self.next() - 1
    }

    /// Numbers positions that are handed out, in order. The first gets the number that was
    /// [next](Self::next).
    ///
    /// ```
    /// use stage_core::protocol::Watermark;
    ///
    /// let mut mark = Watermark::new();
    /// mark.issue("a");
    /// mark.issue_all(["b", "c"]);
    /// assert_eq!((mark.next(), mark.last()), (3, Some(&"c")));
    /// assert_eq!(mark.settle(0..3)?, Some("c"));
    /// assert_eq!(mark.last(), None);
    /// # Ok::<(), stage_core::protocol::SettleError>(())
    /// ```
    pub fn issue_all(&mut self, positions: impl IntoIterator<Item = P>) {
        self.open.extend(positions);
    }

    /// The last position that was handed out, unless everything is done.
    pub fn last(&self) -> Option<&P> {
        self.open.back()
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
        if !self.is_open(&range) {
            return Err(SettleError { range });
        }
        if range.start > self.base {
            self.done.insert(range);
            return Ok(None);
        }
        // What is done in order, as nearly all is, need not be kept first.
        let end = self.done.remove_at(range.end).unwrap_or(range.end);
        Ok(self.advance_to(end))
    }

    /// Whether each of these numbers has been issued and is not settled.
    pub fn is_open(&self, range: &Range<u64>) -> bool {
        range.start >= self.base && range.end <= self.next() && !self.done.overlaps(range)
    }

    fn advance_to(&mut self, end: u64) -> Option<P> {
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

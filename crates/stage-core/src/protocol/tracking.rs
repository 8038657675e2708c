use std::{error::Error, fmt, ops::Range};

use super::{Generation, Watermark, ranges::Ranges};
use crate::Outcome;

/// What a source knows about the positions it has handed out: how far they are done, how many are
/// on their way, and which reports to believe.
///
/// A report is believed once for each number, and only if the present [`Generation`] handed it out.
/// Any other is refused, counted and changes nothing: neither an ack after a nack, nor a number of
/// an earlier life can move the mark.
///
/// ```
/// use stage_core::{Outcome, protocol::{Refusal, Tracking}};
///
/// let mut tracking = Tracking::new();
/// let first = tracking.generation();
/// for position in ["a", "b", "c"] {
///     tracking.issue(position);
/// }
/// tracking.settle(first, 0..1, Outcome::Acked)?;
/// tracking.settle(first, 1..2, Outcome::Nacked)?;
/// assert_eq!(tracking.done(), Some(&"a"));
///
/// // "b" was nacked: the next life has to hand it out again.
/// assert!(tracking.resume().is_some());
/// assert_eq!(tracking.settle(first, 2..3, Outcome::Acked), Err(Refusal::Stale));
/// assert_eq!(tracking.done(), Some(&"a"));
/// # Ok::<(), Refusal>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tracking<P> {
    generation: Generation,
    mark: Watermark<P>,
    /// Everything up to this position is done.
    done: Option<P>,
    nacked: Ranges,
    nacks: u64,
    in_flight: u64,
    refused: Refusals,
}

/// How many numbers were reported in vain, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusals {
    /// An earlier generation handed them out.
    pub stale: u64,
    /// Nobody handed them out.
    pub foreign: u64,
    /// They had been settled before.
    pub repeated: u64,
}

/// Why a report was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// An earlier generation handed the numbers out.
    Stale,
    /// Some were never handed out.
    Foreign,
    /// Some are settled already.
    Repeated,
}

/// What a report changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settled {
    /// The mark has moved: [`Tracking::done`] is another position.
    pub moved: bool,
    /// Nothing is on its way any more.
    pub at_rest: bool,
}

impl<P> Tracking<P> {
    /// The first generation, before anything was handed out.
    pub fn new() -> Self {
        Self {
            generation: Generation::FIRST,
            mark: Watermark::new(),
            done: None,
            nacked: Ranges::default(),
            nacks: 0,
            in_flight: 0,
            refused: Refusals::default(),
        }
    }

    /// The present generation.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The number for the next position that is handed out. In each generation, numbers start at
    /// zero and go up by one.
    pub fn issue(&mut self, position: P) -> u64 {
        self.in_flight += 1;
        self.mark.issue(position)
    }

    /// The number that the next position will have.
    pub fn next(&self) -> u64 {
        self.mark.next()
    }

    /// The last position up to which everything is acked.
    pub fn done(&self) -> Option<&P> {
        self.done.as_ref()
    }

    /// How many positions of this generation are not settled.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// How many positions of this generation were nacked. The mark stays before the first of them.
    pub fn nacked(&self) -> u64 {
        self.nacks
    }

    /// How many numbers were reported in vain, in all generations.
    pub fn refused(&self) -> Refusals {
        self.refused
    }

    /// Takes note of what became of these numbers, which `generation` handed out.
    ///
    /// # Errors
    ///
    /// If the report is not to be believed of each of them. Then it changes nothing, but is counted.
    pub fn settle(
        &mut self,
        generation: Generation,
        numbers: Range<u64>,
        outcome: Outcome,
    ) -> Result<Settled, Refusal> {
        let count = numbers.end.saturating_sub(numbers.start);
        if let Some(refusal) = self.refusal(generation, &numbers) {
            self.refused.count(refusal, count);
            return Err(refusal);
        }
        self.in_flight -= count;
        let moved = match outcome {
            Outcome::Acked => self.ack(numbers),
            Outcome::Nacked => {
                self.nacks += count;
                if count > 0 {
                    self.nacked.insert(numbers);
                }
                false
            }
        };
        Ok(Settled {
            moved,
            at_rest: self.in_flight == 0,
        })
    }

    /// Begins another life of the source. If something was nacked, that is a new generation, which
    /// has to hand out everything after [`done`](Self::done) again; otherwise the life goes on where
    /// the last one ended, and what is on its way still counts.
    pub fn resume(&mut self) -> Option<Generation> {
        (self.nacks > 0).then(|| self.restart())
    }

    /// Begins a new generation, which has to hand out everything after [`done`](Self::done) again.
    /// What is on its way counts no more.
    pub fn restart(&mut self) -> Generation {
        self.generation = self.generation.next();
        self.mark = Watermark::new();
        self.nacked = Ranges::default();
        self.nacks = 0;
        self.in_flight = 0;
        self.generation
    }

    fn refusal(&self, generation: Generation, numbers: &Range<u64>) -> Option<Refusal> {
        if generation != self.generation {
            return Some(Refusal::Stale);
        }
        if numbers.end > self.mark.next() {
            return Some(Refusal::Foreign);
        }
        let is_repeated = !self.mark.is_open(numbers) || self.nacked.overlaps(numbers);
        (!numbers.is_empty() && is_repeated).then_some(Refusal::Repeated)
    }

    fn ack(&mut self, numbers: Range<u64>) -> bool {
        // It was checked that they are open.
        let Ok(Some(done)) = self.mark.settle(numbers) else {
            return false;
        };
        self.done = Some(done);
        true
    }
}

impl<P> Default for Tracking<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl Refusals {
    /// All of them.
    pub fn total(self) -> u64 {
        self.stale + self.foreign + self.repeated
    }

    fn count(&mut self, refusal: Refusal, numbers: u64) {
        let counter = match refusal {
            Refusal::Stale => &mut self.stale,
            Refusal::Foreign => &mut self.foreign,
            Refusal::Repeated => &mut self.repeated,
        };
        *counter = counter.saturating_add(numbers);
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stale => "an earlier generation handed them out",
            Self::Foreign => "some were never handed out",
            Self::Repeated => "some are settled already",
        })
    }
}

impl Error for Refusal {}

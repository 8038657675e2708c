use std::ops::Range;

use crate::sync::{Mutex, MutexGuard, PoisonError};

use super::{Acknowledge, OneByOne, Outcome, Run};

/// What the takers of the same events share: each event is acked once all have acked it, and nacked
/// once all have settled it and one of them nacked.
///
/// To its takers it is the source of the events, which it numbers from zero. One that has no use for
/// an event acks it at once.
pub(crate) struct FanOut {
    /// The events' own receipts, each with the number of its first event.
    runs: Vec<(usize, Run)>,
    shares: Mutex<Vec<Share>>,
}

/// One event.
#[derive(Clone, Copy)]
struct Share {
    /// How many takers have not settled it.
    open: usize,
    nacked: bool,
}

impl Share {
    /// One taker has settled it. Says what became of the event if that was the last.
    fn settle(&mut self, outcome: Outcome) -> Option<Outcome> {
        self.nacked |= outcome == Outcome::Nacked;
        self.open -= 1;
        (self.open == 0).then(|| self.outcome())
    }

    fn outcome(self) -> Outcome {
        if self.nacked {
            Outcome::Nacked
        } else {
            Outcome::Acked
        }
    }
}

impl FanOut {
    pub(super) fn new(runs: Vec<(usize, Run)>, takers: usize) -> Self {
        let events = runs.last().map_or(0, |(first, run)| first + run.events);
        let share = Share {
            open: takers,
            nacked: false,
        };
        Self {
            runs,
            shares: Mutex::new(vec![share; events]),
        }
    }

    /// Passes on what became of events, to each source whatever another does.
    fn pass_on_all(&self, runs: Runs) {
        let mut sources = OneByOne::default();
        for (numbers, outcome) in runs.0 {
            self.pass_on(numbers, outcome, &mut sources);
        }
    }

    fn pass_on(&self, numbers: Range<usize>, outcome: Outcome, sources: &mut OneByOne) {
        let first = self
            .runs
            .partition_point(|(first, run)| first + run.events <= numbers.start);
        for (first, run) in &self.runs[first..] {
            let start = numbers.start.max(*first) - first;
            let end = numbers.end.saturating_sub(*first).min(run.events);
            if start >= end {
                return;
            }
            if let Some((source, number)) = &run.source {
                let numbers = number + start as u64..number + end as u64;
                sources.call(|| source.settle(numbers, outcome));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Share>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Acknowledge for FanOut {
    fn settle(&self, numbers: Range<u64>, outcome: Outcome) {
        let mut settled = Runs::default();
        let mut shares = self.lock();
        for number in numbers.start as usize..numbers.end as usize {
            // Beyond the last are events that nobody asked to be told of.
            if let Some(outcome) = shares.get_mut(number).and_then(|s| s.settle(outcome)) {
                settled.add(number, outcome);
            }
        }
        drop(shares);
        self.pass_on_all(settled);
    }
}

impl Drop for FanOut {
    /// A taker that never was, because something panicked before, cannot have taken anything in.
    fn drop(&mut self) {
        let mut lost = Runs::default();
        for (number, share) in self.lock().iter().enumerate() {
            if share.open > 0 {
                lost.add(number, Outcome::Nacked);
            }
        }
        self.pass_on_all(lost);
    }
}

/// Numbers that go up, in runs with the same outcome.
#[derive(Default)]
struct Runs(Vec<(Range<usize>, Outcome)>);

impl Runs {
    fn add(&mut self, number: usize, outcome: Outcome) {
        match self.0.last_mut() {
            Some((run, same)) if run.end == number && *same == outcome => run.end += 1,
            _ => self.0.push((number..number + 1, outcome)),
        }
    }
}

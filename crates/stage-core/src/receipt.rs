use std::{collections::VecDeque, fmt, mem, ops::Range, sync::Arc};

use crate::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

pub(crate) use fan_out::FanOut;
use one_by_one::OneByOne;

mod fan_out;
mod one_by_one;

/// Whom to tell what became of events: the source that handed them out.
///
/// [`Batch::track`](crate::Batch::track) numbers events; each number is settled exactly once. A
/// source usually keeps a [`Watermark`](crate::protocol::Watermark) behind it.
pub trait Acknowledge: Send + Sync + 'static {
    /// The events of these numbers are [settled](Outcome). Called from whatever stage settles them:
    /// do little, and do not block.
    fn settle(&self, numbers: Range<u64>, outcome: Outcome);
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Everything made of it has been taken in. An event that was filtered out counts, too.
    Acked,
    /// It was not taken in: a stage failed, panicked or was dropped with the event in hand.
    Nacked,
}

/// Stands for one event that is not settled. Dropping it nacks the event.
///
/// Most stages never see one: a batch settles its events when the stage that got it is done. Take
/// receipts, by [`Batch::drain_with_receipts`](crate::Batch::drain_with_receipts), where events
/// outlive the call that brought them or are settled one by one.
#[must_use = "dropping a receipt nacks its event"]
pub struct Receipt(Option<(Arc<dyn Acknowledge>, u64)>);

impl Receipt {
    /// The event has been taken in.
    pub fn ack(mut self) {
        self.settle(Outcome::Acked);
    }

    /// The event has not been taken in.
    pub fn nack(mut self) {
        self.settle(Outcome::Nacked);
    }

    /// One receipt for all of these: acking it acks each, and nacking it nacks each.
    ///
    /// For what is made of several events, such as the sum of a group:
    ///
    /// ```
    /// use stage_core::{Batch, Receipt};
    ///
    /// /// Adds up what came, and settles it as the sum will be.
    /// fn sum(numbers: &mut Batch<u64>, sums: &mut Batch<u64>) {
    ///     let (numbers, receipts): (Vec<u64>, Vec<Receipt>) = numbers.drain_with_receipts().unzip();
    ///     sums.push_with_receipt(numbers.iter().sum(), Receipt::join(receipts));
    /// }
    /// # let (mut numbers, mut sums) = (Batch::from_iter([1, 2, 3]), Batch::new());
    /// # sum(&mut numbers, &mut sums);
    /// # assert_eq!(sums[..], [6]);
    /// ```
    pub fn join(receipts: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Receipts::default();
        for receipt in receipts {
            all.push(receipt);
        }
        all.into_one()
    }

    /// Of the event that `source` knows by this number.
    #[cfg(feature = "testkit")]
    pub(crate) fn new(source: Arc<dyn Acknowledge>, number: u64) -> Self {
        Self(Some((source, number)))
    }

    /// Of an event of which nobody wants to know what becomes.
    pub(crate) const UNTRACKED: Self = Self(None);

    /// Whether nobody wants to know what becomes of the event.
    pub(crate) const fn is_untracked(&self) -> bool {
        self.0.is_none()
    }

    fn settle(&mut self, outcome: Outcome) {
        if let Some((source, number)) = self.0.take() {
            source.settle(number..number + 1, outcome);
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.settle(Outcome::Nacked);
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0.as_ref().map(|(_, number)| number);
        f.debug_tuple("Receipt").field(&number).finish()
    }
}

/// The receipts of a batch, for its events in order. Dropping them nacks the events.
///
/// Events of one source with numbers in a row share one entry, so that a batch costs one, not one
/// for each event.
#[derive(Default)]
pub(crate) struct Receipts {
    runs: VecDeque<Run>,
    /// How many events the runs cover.
    covered: usize,
    /// Whether it is one receipt for all events together.
    is_joint: bool,
}

/// Events in a row: untracked, or of one source and numbered in a row.
struct Run {
    source: Option<(Arc<dyn Acknowledge>, u64)>,
    events: usize,
}

impl Run {
    fn settle(self, outcome: Outcome) {
        if let Some((source, first)) = self.source {
            source.settle(first..first + self.events as u64, outcome);
        }
    }

    /// Whether an event with this receipt could be the next of the run.
    fn goes_on_with(&self, next: Option<&(Arc<dyn Acknowledge>, u64)>) -> bool {
        match (&self.source, next) {
            (None, None) => true,
            (Some((source, first)), Some((other, number))) => {
                Arc::ptr_eq(source, other) && first + self.events as u64 == *number
            }
            _ => false,
        }
    }

    /// Takes the first `events` events off.
    fn split_front(&mut self, events: usize) -> Self {
        let front = Self {
            source: self.source.clone(),
            events,
        };
        if let Some((_, first)) = &mut self.source {
            *first += events as u64;
        }
        self.events -= events;
        front
    }
}

impl Receipts {
    /// Covers the events up to the `until`-th that are not covered yet, with numbers from `first`.
    pub(crate) fn track(&mut self, until: usize, source: Arc<dyn Acknowledge>, first: u64) {
        self.cover(until, Some((source, first)));
    }

    /// Says that the events up to the `until`-th that are not covered yet are not tracked.
    pub(crate) fn pad(&mut self, until: usize) {
        self.cover(until, None);
    }

    /// Adds the receipt of one more event.
    pub(crate) fn push(&mut self, mut receipt: Receipt) {
        let until = self.covered + 1;
        self.cover(until, receipt.0.take());
    }

    fn cover(&mut self, until: usize, source: Option<(Arc<dyn Acknowledge>, u64)>) {
        let events = until.saturating_sub(self.covered);
        if events == 0 {
            return;
        }
        self.covered += events;
        self.is_joint = false;
        match self.runs.back_mut() {
            Some(last) if last.goes_on_with(source.as_ref()) => last.events += events,
            _ => self.runs.push_back(Run { source, events }),
        }
    }

    /// How many events it covers.
    pub(crate) fn len(&self) -> usize {
        self.covered
    }

    /// Takes off the receipts of the first `events` events.
    pub(crate) fn split_front(&mut self, events: usize) -> Self {
        let mut front = Self::default();
        while front.covered < events
            && let Some(run) = self.runs.front_mut()
        {
            let wanted = events - front.covered;
            let part = if run.events > wanted {
                run.split_front(wanted)
            } else {
                let Some(whole) = self.runs.pop_front() else {
                    break;
                };
                whole
            };
            self.covered -= part.events;
            front.covered += part.events;
            front.runs.push_back(part);
        }
        front
    }

    /// Adds other receipts at the end.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.covered += mem::take(&mut other.covered);
        self.is_joint = false;
        self.runs.append(&mut other.runs);
    }

    /// The receipt of the first event.
    pub(crate) fn pop(&mut self) -> Receipt {
        let first = match self.runs.front_mut() {
            Some(run) if run.events > 1 => Some(run.split_front(1)),
            _ => self.runs.pop_front(),
        };
        self.covered = self.covered.saturating_sub(1);
        Receipt(first.and_then(|run| run.source))
    }

    /// Shares them among `takers` of the same events. See [`FanOut`].
    pub(crate) fn fan_out(mut self, takers: usize) -> Arc<FanOut> {
        let mut covered = 0;
        let runs = mem::take(&mut self.runs).into_iter().map(|run| {
            covered += run.events;
            (covered - run.events, run)
        });
        Arc::new(FanOut::new(runs.collect(), takers))
    }

    /// Adds `events` events that stand for the one of `receipt` together.
    pub(crate) fn push_shared(&mut self, events: usize, receipt: Receipt) {
        if events == 1 || receipt.is_untracked() {
            let until = self.covered + events - 1;
            self.pad(until);
            return self.push(receipt);
        }
        let mut one = Self::default();
        one.push(receipt);
        self.cover(self.covered + events, Some((one.shared_by(events), 0)));
    }

    /// Makes `events` events stand for all that it covers, all of them together: for when nobody knows
    /// any more which is which.
    pub(crate) fn join(&mut self, events: usize) {
        if events == 0 || (self.is_joint && self.covered == events) {
            return;
        }
        let all = mem::take(self);
        self.stand_for(events, all);
        self.is_joint = true;
    }

    /// Whether it covers nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.covered == 0
    }

    /// One receipt that stands for all of these.
    pub(crate) fn into_one(mut self) -> Receipt {
        match self.runs.iter().filter(|run| run.source.is_some()).count() {
            0 => Receipt::UNTRACKED,
            1 if self.covered == 1 => self.pop(),
            _ => Receipt(Some((self.shared_by(1), 0))),
        }
    }

    /// Settles all of them.
    pub(crate) fn settle(mut self, outcome: Outcome) {
        self.settle_runs(outcome);
    }

    fn settle_runs(&mut self, outcome: Outcome) {
        let mut sources = OneByOne::default();
        for run in mem::take(&mut self.runs) {
            sources.call(|| run.settle(outcome));
        }
    }

    /// Makes `events` events stand for all of these: acked when each of them is, and nacked once
    /// all are settled and one of them was nacked.
    pub(crate) fn shared_by(self, events: usize) -> Arc<dyn Acknowledge> {
        Arc::new(Shared {
            open: AtomicUsize::new(events),
            nacked: AtomicBool::new(false),
            receipts: Mutex::new(Some(self)),
        })
    }

    /// Tracks the events up to the `until`-th that are not tracked: they stand for `inputs`.
    pub(crate) fn stand_for(&mut self, until: usize, inputs: Self) {
        self.pad(until);
        let untracked = self.runs.iter_mut().filter(|run| run.source.is_none());
        let untracked: Vec<&mut Run> = untracked.collect();
        let events = untracked.iter().map(|run| run.events).sum();
        if events == 0 {
            return inputs.settle(Outcome::Acked);
        }
        let shared = inputs.shared_by(events);
        let mut next = 0;
        for run in untracked {
            run.source = Some((Arc::clone(&shared), next));
            next += run.events as u64;
        }
    }
}

impl Drop for Receipts {
    fn drop(&mut self) {
        self.settle_runs(Outcome::Nacked);
    }
}

impl fmt::Debug for Receipts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receipts({})", self.covered)
    }
}

/// What several events made of the same inputs share.
struct Shared {
    open: AtomicUsize,
    nacked: AtomicBool,
    receipts: Mutex<Option<Receipts>>,
}

impl Acknowledge for Shared {
    fn settle(&self, numbers: Range<u64>, outcome: Outcome) {
        if outcome == Outcome::Nacked {
            self.nacked.store(true, Ordering::Release);
        }
        let settled = (numbers.end - numbers.start) as usize;
        if self.open.fetch_sub(settled, Ordering::AcqRel) > settled {
            return;
        }
        let outcome = if self.nacked.load(Ordering::Acquire) {
            Outcome::Nacked
        } else {
            Outcome::Acked
        };
        let mut receipts = self.receipts.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = receipts.take();
        drop(receipts);
        if let Some(receipts) = taken {
            receipts.settle(outcome);
        }
    }
}

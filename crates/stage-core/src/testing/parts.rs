use std::{fmt, ops::Range, pin::Pin, sync::Arc, time::Duration};

use crate::{
    Acknowledge, AskError, BoxConsumer, BoxProducer, BoxTransform, DrainReport, End, Generation,
    Mode, Outcome, Pipeline, Restart, SubscriptionHandle, Window,
    protocol::{
        Broadcast, ByDemand, ByteWindow, Demand, Dispatcher, Fate, Ledger, Partition, Refusals,
        Tracking,
    },
    testing::{
        Book, Probe,
        numbered::{Numbered, Numbers, Pen, Relay},
    },
};

/// What the rules are checked on: one part of each kind. Each method gives the framework's own, so
/// that to check a part of one's own, or to see a broken one caught, is to override one method.
///
/// Rules work with numbers: events count up from zero.
pub trait Parts: Send + Sync + 'static {
    /// A producer of the numbers below `events`, entered in `book` as they are handed out.
    fn source(&self, book: &Arc<Book>, events: u64) -> BoxProducer<u64> {
        entered(Numbers { next: 0 }, book, self.reports(book), events)
    }

    /// The most events that a source has.
    fn most(&self) -> u64 {
        u64::MAX
    }

    /// How long, by the virtual clock, anything may take that must happen.
    fn patience(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// How long, by the real clock, a call of a user's stage may keep its thread.
    fn thread_time(&self) -> Duration {
        THREAD_TIME
    }

    /// If they cannot be checked by the rules: one that they break before, and how.
    fn unfit(&self) -> Option<(&'static str, String)> {
        None
    }

    /// A transform.
    fn relay(&self) -> BoxTransform<u64, u64> {
        BoxTransform::new(Relay)
    }

    /// How many events transforms make of the first so many.
    fn outputs(&self, inputs: u64) -> u64 {
        inputs
    }

    /// The outputs, by number, that a transform makes of the input of this number alone: before these
    /// are taken in, the input is not done. They may be none, and nothing is known then.
    fn outputs_of(&self, input: u64) -> Range<u64> {
        input..input.saturating_add(1)
    }

    /// Whether each event that a consumer takes in is one of a source's that is acked by that, whatever
    /// becomes of others. What a transform makes may stand for all that came together.
    fn settles_each(&self) -> bool {
        true
    }

    /// How many inputs a transform may keep until more have come.
    fn keeps(&self) -> usize {
        0
    }

    /// A consumer that `probe` watches.
    fn sink(&self, probe: &Probe) -> BoxConsumer<u64> {
        BoxConsumer::new(probe.sink())
    }

    /// What is put around a producer, such as a policy.
    fn around(&self, producer: BoxProducer<u64>) -> BoxProducer<u64> {
        producer
    }

    /// A dispatcher.
    fn dispatcher(&self, dividing: Dividing) -> Box<dyn Dispatcher<u64>> {
        match dividing {
            Dividing::ByDemand => Box::new(ByDemand::default()),
            Dividing::Broadcast => Box::new(Broadcast::new()),
            Dividing::Lanes { lanes, homeless } => {
                Box::new(Partition::by_fn(lanes, move |event| {
                    let lane = (event % (lanes + usize::from(homeless)) as u64) as usize;
                    (lane < lanes).then_some(lane)
                }))
            }
        }
    }

    /// Whom a source has told what becomes of its events.
    fn reports(&self, book: &Arc<Book>) -> Arc<dyn Acknowledge> {
        Arc::clone(book) as _
    }

    /// What asks and cancels from outside.
    fn controls(&self, handle: SubscriptionHandle) -> Box<dyn Controls> {
        Box::new(handle)
    }

    /// Runs a pipeline.
    fn run(&self, pipeline: Pipeline, stop: Stop) -> Running {
        Box::pin(pipeline.run_reporting(stop))
    }

    /// A window, if there can be one.
    fn window(&self, max: usize, min: usize) -> Option<Window> {
        std::panic::catch_unwind(|| Window::new(max).with_min(min)).ok()
    }

    /// The asking side of a subscription.
    fn ledger(&self, window: Window) -> Box<dyn AskingSide> {
        Box::new(Ledger::open(window).0)
    }

    /// What keeps the weight of a subscription's events in bounds.
    fn scales(&self, limit: usize) -> Box<dyn Scales> {
        Box::new(ByteWindow::new(limit))
    }

    /// When something that failed is made anew: told the time, says how long to wait.
    fn restarts(&self, mut policy: Restart) -> Lives {
        Box::new(move |now| policy.after(now))
    }

    /// What becomes of a stage when a subscription ends.
    fn fate(&self, mode: Mode, end: &End) -> Fate {
        mode.on(end)
    }

    /// What a source keeps of what it has handed out.
    fn tracking(&self) -> Box<dyn Tracks> {
        Box::new(Tracking::new())
    }
}

/// How long a call may keep its thread, if nothing else is said.
pub(super) const THREAD_TIME: Duration = Duration::from_millis(20);

/// `producer`, up to `until` events of it, with those entered in `book` and reported to `reports`.
pub fn entered(
    producer: impl crate::Producer<Event = u64>,
    book: &Arc<Book>,
    reports: Arc<dyn Acknowledge>,
    until: u64,
) -> BoxProducer<u64> {
    BoxProducer::new(Numbered {
        producer,
        pen: Pen {
            number: Box::new(|event, _| *event),
            next: 0,
            until,
            book: Arc::clone(book),
            reports,
        },
    })
}

/// The framework's own parts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ours;

impl Parts for Ours {}

/// How events are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dividing {
    /// To whoever has asked for most.
    ByDemand,
    /// To everybody.
    Broadcast,
    /// By the remainder of the number.
    Lanes {
        /// How many lanes there are.
        lanes: usize,
        /// Whether the last remainder belongs nowhere.
        homeless: bool,
    },
}

/// Says when a pipeline is to stop.
pub type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A pipeline that is run.
pub type Running = Pin<Box<dyn Future<Output = DrainReport> + Send>>;

/// Told the time, says how long to wait before the next life.
pub type Lives = Box<dyn FnMut(Duration) -> Option<Duration> + Send>;

/// What asks and cancels: a [`SubscriptionHandle`].
pub trait Controls: Send + Sync {
    /// Asks for more.
    ///
    /// # Errors
    ///
    /// As [`SubscriptionHandle::ask`].
    fn ask(&self, events: usize) -> Result<(), AskError>;

    /// Ends the subscription.
    fn cancel(&self);

    /// Ends it for this reason.
    fn cancel_because(&self, why: &str);

    /// Whether it has ended.
    fn is_closed(&self) -> bool;
}

impl Controls for SubscriptionHandle {
    fn ask(&self, events: usize) -> Result<(), AskError> {
        Self::ask(self, events)
    }

    fn cancel(&self) {
        Self::cancel(self);
    }

    fn cancel_because(&self, why: &str) {
        Self::cancel_because(self, why);
    }

    fn is_closed(&self) -> bool {
        Self::is_closed(self)
    }
}

/// The asking side of a subscription: a [`Ledger`].
pub trait AskingSide: Send {
    /// So many events have come; whether they had been asked for.
    fn receive(&mut self, events: usize) -> bool;

    /// So many are dealt with. What to ask for now.
    fn settle(&mut self, events: usize) -> Option<Demand>;
}

impl AskingSide for Ledger {
    fn receive(&mut self, events: usize) -> bool {
        Self::receive(self, events).is_ok()
    }

    fn settle(&mut self, events: usize) -> Option<Demand> {
        Self::settle(self, events)
    }
}

/// What keeps weights in bounds: a [`ByteWindow`].
pub trait Scales: Send {
    /// An event of this weight is to be sent.
    fn hold(&mut self, weight: usize);

    /// How many of those that wait are to be sent now.
    fn release(&mut self) -> usize;

    /// The first that was sent is dealt with.
    fn settle(&mut self);
}

impl Scales for ByteWindow {
    fn hold(&mut self, weight: usize) {
        Self::hold(self, [weight]);
    }

    fn release(&mut self) -> usize {
        Self::release(self)
    }

    fn settle(&mut self) {
        let weight = self.hand_over(1).sum();
        Self::settle(self, weight);
    }
}

/// What a source keeps of what it has handed out: a [`Tracking`].
pub trait Tracks: Send {
    /// Hands out the next position.
    fn issue(&mut self, position: u64) -> u64;

    /// Takes a report; whether it was believed.
    fn settle(&mut self, generation: Generation, number: u64, outcome: Outcome) -> bool;

    /// How far everything is done.
    fn done(&self) -> Option<u64>;

    /// Begins the next life.
    fn restart(&mut self) -> Generation;

    /// What was not believed.
    fn refused(&self) -> Refusals;
}

impl Tracks for Tracking<u64> {
    fn issue(&mut self, position: u64) -> u64 {
        Self::issue(self, position)
    }

    fn settle(&mut self, generation: Generation, number: u64, outcome: Outcome) -> bool {
        Self::settle(self, generation, number..number + 1, outcome).is_ok()
    }

    fn done(&self) -> Option<u64> {
        Self::done(self).copied()
    }

    fn restart(&mut self) -> Generation {
        Self::restart(self)
    }

    fn refused(&self) -> Refusals {
        Self::refused(self)
    }
}

impl fmt::Debug for dyn Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parts")
    }
}

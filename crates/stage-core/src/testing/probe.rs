use std::{
    fmt,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::sleep;

use crate::{Batch, BoxError, Consumer, End, SubscriptionInfo};

/// Looks over a consumer's shoulder, and can make it slow or fail. Clones are the same probe.
#[derive(Clone, Default)]
pub struct Probe(Arc<Mutex<Seen>>);

type OnEvents = Arc<dyn Fn(&[u64]) + Send + Sync>;

#[derive(Default)]
struct Seen {
    arrived: Vec<u64>,
    taken: Vec<u64>,
    /// The consumer has kept events in hand beyond a call: what was taken in may not be done with.
    keeps: bool,
    log: Vec<Signal>,
    asked: Option<u64>,
    busy: bool,
    faults: Vec<String>,
    delay: Duration,
    hangs: bool,
    trouble: Option<(u64, Trouble)>,
    on_events: Option<OnEvents>,
}

/// What a stage was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Subscribed,
    Events(usize),
    Ended(End),
    Finished,
}

/// How a stage goes wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Fails,
    Panics,
}

/// What it says when it does.
pub(crate) const ON_PURPOSE: &str = "on purpose";

impl Probe {
    /// A probe that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A consumer that takes everything in, watched by this probe.
    pub fn sink(&self) -> impl Consumer<u64> + use<> {
        self.watch(Taker, |event| event)
    }

    /// `consumer`, watched by this probe. It is given the events that `event` makes of numbers.
    pub fn watch<E, C, F>(&self, consumer: C, event: F) -> impl Consumer<u64> + use<E, C, F>
    where
        E: Send + 'static,
        C: Consumer<E>,
        F: Fn(u64) -> E + Send + 'static,
    {
        Watched {
            probe: self.clone(),
            consumer,
            event: Box::new(event),
        }
    }

    /// The events that have been taken in.
    pub fn taken(&self) -> Vec<u64> {
        self.seen().taken.clone()
    }

    /// How many those are.
    pub(crate) fn count(&self) -> usize {
        self.seen().taken.len()
    }

    /// How many events have come, taken in or not.
    pub fn arrived(&self) -> usize {
        self.seen().arrived.len()
    }

    /// Whether all that was taken in and all that was acked are the same, when nothing goes on any more.
    /// Of what a consumer has kept in hand, some may have been nacked.
    pub(crate) fn has_done(&self, acked: usize) -> bool {
        let seen = self.seen();
        match seen.keeps {
            true => acked <= seen.taken.len(),
            false => acked == seen.taken.len(),
        }
    }

    /// Whether this event has come.
    pub(crate) fn saw(&self, event: u64) -> bool {
        self.seen().arrived.contains(&event)
    }

    pub(crate) fn log(&self) -> Vec<Signal> {
        self.seen().log.clone()
    }

    /// How it ended, as often as it did.
    pub(crate) fn ends(&self) -> Vec<End> {
        let log = self.log().into_iter();
        log.filter_map(|signal| match signal {
            Signal::Ended(end) => Some(end),
            _ => None,
        })
        .collect()
    }

    /// What went wrong, if something did.
    pub(crate) fn fault(&self) -> Option<String> {
        self.seen().faults.first().cloned()
    }

    /// Another so many events may come. Before the first call, any number may.
    pub(crate) fn allow(&self, events: u64) {
        let mut seen = self.seen();
        seen.asked = Some(seen.asked.unwrap_or(0).saturating_add(events));
    }

    pub(crate) fn slow(self, delay: Duration) -> Self {
        self.seen().delay = delay;
        self
    }

    /// How long it takes over a call.
    pub(crate) fn delay(&self) -> Duration {
        self.seen().delay
    }

    pub(crate) fn hang(self) -> Self {
        self.seen().hangs = true;
        self
    }

    /// Goes wrong on this event.
    pub(crate) fn trouble(self, at: u64, trouble: Trouble) -> Self {
        self.seen().trouble = Some((at, trouble));
        self
    }

    /// Has `act` called with the events of each call, before they are taken in.
    pub(crate) fn on_events(&self, act: impl Fn(&[u64]) + Send + Sync + 'static) {
        self.seen().on_events = Some(Arc::new(act));
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, events: &[u64]) -> (Duration, bool, Option<OnEvents>) {
        let mut seen = self.seen();
        if seen.busy {
            seen.faults
                .push("a call began while another went on".into());
        }
        seen.busy = true;
        seen.arrived.extend(events);
        seen.log.push(Signal::Events(events.len()));
        let (arrived, asked) = (seen.arrived.len() as u64, seen.asked);
        if let Some(asked) = asked
            && arrived > asked
        {
            let fault =
                format!("more than asked: {arrived} have come where {asked} were asked for");
            seen.faults.push(fault);
        }
        (seen.delay, seen.hangs, seen.on_events.clone())
    }

    fn trouble_with(&self, events: &[u64]) -> Option<Trouble> {
        let (at, trouble) = self.seen().trouble?;
        events.contains(&at).then_some(trouble)
    }
}

/// Takes everything in.
struct Taker;

impl Consumer<u64> for Taker {
    type Error = BoxError;

    async fn consume(&mut self, _: &mut Batch<u64>) -> Result<(), BoxError> {
        Ok(())
    }
}

struct Watched<E, C> {
    probe: Probe,
    consumer: C,
    event: Box<dyn Fn(u64) -> E + Send>,
}

/// The call is over, however it ends.
struct Leaving<'a>(&'a Probe);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.seen().busy = false;
    }
}

impl<E: Send + 'static, C: Consumer<E>> Consumer<u64> for Watched<E, C> {
    type Error = BoxError;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), BoxError> {
        let numbers = batch.to_vec();
        let (delay, hangs, on_events) = self.probe.enter(&numbers);
        let _leaving = Leaving(&self.probe);
        if !delay.is_zero() {
            sleep(delay).await;
        }
        if hangs {
            pending::<()>().await;
        }
        if let Some(act) = on_events {
            act(&numbers);
        }
        match self.probe.trouble_with(&numbers) {
            Some(Trouble::Fails) => return Err(ON_PURPOSE.into()),
            Some(Trouble::Panics) => panic!("{ON_PURPOSE}"),
            None => {}
        }
        let mut events = Batch::new();
        batch.map_into(&mut events, &self.event);
        events.is_portion_of(batch);
        let taken = self.consumer.consume(&mut events).await;
        taken.map_err(Into::into)?;
        let kept = batch.is_kept(numbers.len());
        let mut seen = self.probe.seen();
        seen.keeps |= kept;
        seen.taken.extend(numbers);
        drop(seen);
        events.ack();
        Ok(())
    }

    async fn while_idle(&mut self) -> Result<(), BoxError> {
        self.consumer.while_idle().await.map_err(Into::into)
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        self.probe.seen().log.push(Signal::Subscribed);
        self.consumer.subscribed(subscription);
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        self.probe.seen().log.push(Signal::Ended(end.clone()));
        self.consumer.unsubscribed(subscription, end);
    }

    async fn finish(&mut self) -> Result<(), BoxError> {
        self.probe.seen().log.push(Signal::Finished);
        self.consumer.finish().await.map_err(Into::into)
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.seen();
        f.debug_struct("Probe")
            .field("arrived", &seen.arrived.len())
            .field("taken", &seen.taken.len())
            .field("faults", &seen.faults)
            .finish_non_exhaustive()
    }
}

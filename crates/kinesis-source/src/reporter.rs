use std::{
    fmt, mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use metrics::{Key, Label, Metadata, with_recorder};
use tokio::sync::mpsc::{
    self,
    error::{TryRecvError, TrySendError},
};
use tracing::{Level, event};

use crate::{
    SourceEvent, metric_names,
    telling::{Place, Telling},
};

/// What has become news, and is to be told.
#[derive(Debug, Default)]
#[must_use = "it is to be told"]
pub(crate) struct Untold(Vec<Arc<SourceEvent>>);

/// Says what has changed: to the log, and to whoever receives a source's events.
#[derive(Clone)]
pub(crate) struct Reporter(Arc<Inner>);

struct Inner {
    /// Whose events they are.
    stream: Option<String>,
    telling: Telling,
    receivers: Mutex<Receivers>,
    /// What events are counted by, of those that there were: it takes longer to make one than to count.
    counters: Mutex<Vec<(&'static str, Arc<Key>)>>,
}

#[derive(Default)]
struct Receivers {
    /// Shared with whoever sends just now: those who are woken by it may ask for events.
    open: Arc<Vec<Sender>>,
    /// Whether the last event was said.
    is_closed: bool,
}

/// The way to one receiver.
#[derive(Clone)]
struct Sender {
    queue: mpsc::Sender<SourceEvent>,
    lost: Arc<AtomicU64>,
}

/// A source's events, as they come, from [`StreamHandle::events`](crate::StreamHandle::events).
///
/// Reading never waits for a receiver: there is room for 16,384 events (memory for those that are
/// there), and what comes while it is full is lost to this receiver. It is told how many were lost, at
/// their place among the others, by [`SourceEvent::EventsLost`].
pub struct SourceEvents {
    queue: mpsc::Receiver<SourceEvent>,
    lost: Arc<AtomicU64>,
}

/// How many events may wait for a receiver: several for each shard of a large stream.
const ROOM: usize = 16_384;

/// As metrics' own macros have it.
const METADATA: Metadata<'static> =
    Metadata::new(module_path!(), metrics::Level::INFO, Some(module_path!()));

impl Reporter {
    /// Of a source by that name.
    pub(crate) fn of(stream: impl Into<String>) -> Self {
        Self::new(Some(stream.into()))
    }

    /// Of a shard's reader without a source.
    pub(crate) fn alone() -> Self {
        Self::new(None)
    }

    fn new(stream: Option<String>) -> Self {
        Self(Arc::new(Inner {
            stream,
            telling: Telling::default(),
            receivers: Mutex::default(),
            counters: Mutex::default(),
        }))
    }

    /// The source's name; empty if there is none.
    pub(crate) fn name(&self) -> &str {
        self.0.stream.as_deref().unwrap_or_default()
    }

    /// Logs an event, and gives it to all receivers.
    pub(crate) fn report(&self, event: SourceEvent) {
        self.tell(self.note([event]));
    }

    /// Takes note of events, which are to be [told](Self::tell): under the lock under which they became news, so that
    /// receivers have them in that order.
    pub(crate) fn note(&self, events: impl IntoIterator<Item = SourceEvent>) -> Untold {
        let note = |event| {
            let event = Arc::new(event);
            self.0.telling.note(Arc::clone(&event));
            event
        };
        Untold(events.into_iter().map(note).collect())
    }

    /// Gives them to all receivers and logs them, under no lock. A log that takes its time holds up nobody else.
    pub(crate) fn tell(&self, Untold(news): Untold) {
        if news.is_empty() {
            return;
        }
        self.give();
        for event in &news {
            self.log(event);
            self.count(event);
        }
    }

    /// Reports the last event, unless that has been done. What comes after it is logged, and nobody receives it.
    pub(crate) fn close(&self, last: SourceEvent) {
        let last = Arc::new(last);
        if self.0.telling.close(Arc::clone(&last)) {
            self.tell(Untold(vec![last]));
        }
    }

    /// Gives all that was noted to all receivers.
    fn give(&self) {
        self.0.telling.tell(|event, place| {
            self.send(event);
            if place == Place::Last {
                let mut receivers = self.lock();
                receivers.is_closed = true;
                // They end after what they have yet to take out.
                let open = mem::take(&mut receivers.open);
                drop(receivers);
                drop(open);
            }
        });
    }

    fn send(&self, event: &SourceEvent) {
        let open = Arc::clone(&self.lock().open);
        let gone = open.iter().filter(|receiver| !receiver.send(event));
        if gone.count() > 0 {
            let open = &mut self.lock().open;
            Arc::make_mut(open).retain(|receiver| !receiver.queue.is_closed());
        }
    }

    /// The events from now on.
    pub(crate) fn events(&self) -> SourceEvents {
        self.events_with_room(ROOM)
    }

    fn events_with_room(&self, room: usize) -> SourceEvents {
        let (queue, receiver) = mpsc::channel(room);
        let lost = Arc::<AtomicU64>::default();
        let mut receivers = self.lock();
        if !receivers.is_closed {
            let lost = Arc::clone(&lost);
            Arc::make_mut(&mut receivers.open).push(Sender { queue, lost });
        }
        SourceEvents {
            queue: receiver,
            lost,
        }
    }

    fn count(&self, event: &SourceEvent) {
        let counter = self.counter(event.name());
        // The recorder may be another than the last time.
        with_recorder(|it| it.register_counter(&counter, &METADATA)).increment(1);
    }

    fn counter(&self, event: &'static str) -> Arc<Key> {
        let counters = &mut *lock(&self.0.counters);
        let known = counters.iter().find(|(of, _)| *of == event);
        if let Some((_, counter)) = known {
            return Arc::clone(counter);
        }
        let counter = Arc::new(self.counter_of(event));
        counters.push((event, Arc::clone(&counter)));
        counter
    }

    fn counter_of(&self, event: &'static str) -> Key {
        let stream = Label::new("stream", self.name().to_owned());
        let event = Label::new("event", event);
        Key::from_parts(metric_names::EVENTS, vec![stream, event])
    }

    /// One line, from the event alone.
    fn log(&self, event: &SourceEvent) {
        let stream = self.0.stream.as_deref();
        let shard = event.shard().map(tracing::field::display);
        let (name, error) = (event.name(), event.error());
        macro_rules! log {
            ($level:expr) => {
                event!(target: "kinesis_source", $level, stream, shard, event = name, error, "{event}")
            };
        }
        match event.level() {
            Level::ERROR => log!(Level::ERROR),
            Level::WARN => log!(Level::WARN),
            Level::INFO => log!(Level::INFO),
            Level::DEBUG => log!(Level::DEBUG),
            Level::TRACE => log!(Level::TRACE),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Receivers> {
        lock(&self.0.receivers)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Untold {
    pub(crate) fn and(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }
}

impl Sender {
    /// Whether there is still somebody to send to. What there is no room for is counted.
    fn send(&self, event: &SourceEvent) -> bool {
        let lost = self.lost.swap(0, Ordering::AcqRel);
        if lost > 0 {
            let gap = SourceEvent::EventsLost { count: lost };
            match self.queue.try_send(gap) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => {
                    self.lost.fetch_add(lost + 1, Ordering::AcqRel);
                    return true;
                }
                Err(TrySendError::Closed(_)) => return false,
            }
        }
        match self.queue.try_send(event.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.lost.fetch_add(1, Ordering::AcqRel);
                true
            }
            Err(TrySendError::Closed(_)) => false,
        }
    }
}

impl SourceEvents {
    /// Waits for the next event. `None` once the source has ended and all was taken out.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<SourceEvent> {
        if let Some(event) = self.try_next() {
            return Some(event);
        }
        let event = self.queue.recv().await;
        event.or_else(|| self.gap())
    }

    /// The next event, if it is there.
    pub fn try_next(&mut self) -> Option<SourceEvent> {
        match self.queue.try_recv() {
            Ok(event) => Some(event),
            // What was lost came after all that was there.
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => self.gap(),
        }
    }

    fn gap(&self) -> Option<SourceEvent> {
        let count = self.lost.swap(0, Ordering::AcqRel);
        (count > 0).then_some(SourceEvent::EventsLost { count })
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Reporter");
        debug.field("stream", &self.0.stream);
        debug.finish_non_exhaustive()
    }
}

impl fmt::Debug for SourceEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("SourceEvents");
        debug.field("waiting", &self.queue.len());
        debug.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_log::LogThat;

    fn caught_up(number: u64) -> SourceEvent {
        let shard = format!("shardId-{number:012}");
        SourceEvent::ShardCaughtUp {
            shard: shard.as_str().into(),
        }
    }

    /// What a receiver gets: the numbers of shards, and gaps as negative ones.
    fn taken(events: &mut SourceEvents) -> Vec<i64> {
        let number = |event: SourceEvent| match event {
            SourceEvent::EventsLost { count } => -(count as i64),
            event => event.shard().unwrap().number().unwrap() as i64,
        };
        std::iter::from_fn(|| events.try_next())
            .map(number)
            .collect()
    }

    #[test]
    fn nobody_is_waited_for_and_what_is_lost_is_counted_at_its_place() {
        let reporter = Reporter::of("orders");
        let mut slow = reporter.events_with_room(3);
        let mut fast = reporter.events_with_room(100);
        (0..5).for_each(|number| reporter.report(caught_up(number)));
        assert_eq!(taken(&mut slow), [0, 1, 2, -2]);
        assert_eq!(taken(&mut fast), [0, 1, 2, 3, 4]);
        (5..10).for_each(|number| reporter.report(caught_up(number)));
        // Room for one more is taken by the word of what is missing.
        assert_eq!(slow.queue.try_recv().unwrap().name(), "shard_caught_up");
        reporter.report(caught_up(10));
        assert_eq!(taken(&mut slow), [6, 7, -2, -1]);
        assert_eq!(taken(&mut fast), [5, 6, 7, 8, 9, 10]);
    }

    #[tokio::test]
    async fn receivers_end_with_the_source_and_after_what_it_said() {
        let reporter = Reporter::of("orders");
        let mut before = reporter.events();
        let last = |end| SourceEvent::StreamEnded { end };
        reporter.close(last(crate::StreamEnd::Stopped));
        reporter.close(last(crate::StreamEnd::Aborted));
        let said = before.next().await.unwrap();
        assert!(said.to_string().ends_with("it was stopped"), "{said}");
        assert!(before.next().await.is_none());
        assert!(reporter.events().next().await.is_none());
    }

    #[test]
    fn who_has_gone_is_forgotten() {
        let reporter = Reporter::of("orders");
        drop(reporter.events());
        reporter.report(caught_up(0));
        assert!(reporter.lock().open.is_empty());
    }

    #[test]
    fn a_log_that_hangs_holds_up_nobody_else() {
        let reporter = Reporter::of("orders");
        let mut events = reporter.events();
        let (logging, is_logging) = std::sync::mpsc::channel();
        let hangs = reporter.clone();
        std::thread::spawn(move || {
            let log = LogThat(move || {
                logging.send(()).unwrap();
                loop {
                    std::thread::park();
                }
            });
            tracing::subscriber::with_default(log, || hangs.report(caught_up(0)));
        });
        is_logging.recv().unwrap();
        reporter.report(caught_up(1));
        reporter.close(SourceEvent::StreamEnded {
            end: crate::StreamEnd::Stopped,
        });
        let told = std::iter::from_fn(|| events.try_next());
        let told: Vec<_> = told.map(|event| event.name()).collect();
        assert_eq!(told, ["shard_caught_up", "shard_caught_up", "stream_ended"]);
    }

    /// Whoever is woken by an event may ask for events at once.
    #[test]
    fn a_receiver_that_is_woken_may_look_on_from_there() {
        struct Asks(Reporter, Mutex<Option<SourceEvents>>);
        impl std::task::Wake for Asks {
            fn wake(self: Arc<Self>) {
                *self.1.lock().unwrap() = Some(self.0.events());
            }
        }
        let (done, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let reporter = Reporter::of("orders");
            let mut events = reporter.events();
            let waker = std::task::Waker::from(Arc::new(Asks(reporter.clone(), Mutex::default())));
            let mut next = std::pin::pin!(events.next());
            let mut context = std::task::Context::from_waker(&waker);
            assert!(next.as_mut().poll(&mut context).is_pending());
            reporter.report(SourceEvent::ListingComplete);
            done.send(()).unwrap();
        });
        let ended = ended.recv_timeout(std::time::Duration::from_secs(60));
        assert!(ended.is_ok(), "it hangs");
    }
}

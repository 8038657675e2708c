use std::{
    collections::BTreeMap,
    fmt::Debug,
    ops::Range,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use super::{
    Book, Broken, Outcome, Parts, Probe, Report, Who,
    expected::{
        Expected, Made, Unfit, expected_of_consumer, expected_of_producer, expected_of_transform,
        made_alone,
    },
    gauged::Gauged,
    numbered::{Numbered, Pen, Renumbered, place_of},
    parts::THREAD_TIME,
    rule::RULES,
    watch::Cut,
};
use crate::{BoxConsumer, BoxProducer, BoxTransform, Consumer, Producer, Transform};

/// A producer to be checked.
pub trait ProducerSpec: Clone + Send + Sync + 'static {
    /// What it makes.
    type Event: Clone + Debug + PartialEq + Send + Sync + 'static;

    /// Makes one, at its beginning. Each makes the same events, and does not fail.
    fn make(&self) -> impl Producer<Event = Self::Event>;

    /// How long, by the virtual clock, it may take over its events.
    fn patience(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Whether, after its last event, it waits for others that never come, rather than end: a source of
    /// what happens, in a test where nothing more does. If not, that is a wake-up lost, and breaks D2.
    fn waits_for_ever(&self) -> bool {
        false
    }

    /// How long, by the real clock, a call may keep its thread. More than that in every fourth call
    /// breaks R4.
    fn thread_time(&self) -> Duration {
        THREAD_TIME
    }
}

/// A consumer to be checked.
pub trait ConsumerSpec: Clone + Send + Sync + 'static {
    /// What it takes in.
    type Event: Send + 'static;

    /// Makes one.
    fn make(&self) -> impl Consumer<Self::Event>;

    /// An event for it, of this number. It must take it in.
    fn event(&self, number: u64) -> Self::Event;

    /// How long, by the virtual clock, it may take over some forty events.
    fn patience(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// How long, by the real clock, a call may keep its thread. More than that in every fourth call
    /// breaks R4.
    fn thread_time(&self) -> Duration {
        THREAD_TIME
    }
}

/// A transform to be checked. What it makes must not depend on the portions in which events come.
pub trait TransformSpec: Clone + Send + Sync + 'static {
    /// What it takes in.
    type In: Send + 'static;
    /// What it makes.
    type Out: Clone + Debug + PartialEq + Send + Sync + 'static;

    /// Makes one.
    fn make(&self) -> impl Transform<Self::In, Out = Self::Out>;

    /// An event for it, of this number. It must not fail on it.
    fn event(&self, number: u64) -> Self::In;

    /// How many events it may keep until more have come, as one does that makes one of many. All others
    /// that it keeps break D7.
    fn keeps(&self) -> usize {
        0
    }

    /// How long, by the virtual clock, it may take over some forty events.
    fn patience(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// How long, by the real clock, a call may keep its thread. More than that in every fourth call
    /// breaks R4.
    fn thread_time(&self) -> Duration {
        THREAD_TIME
    }
}

/// Checks a producer by all rules that are a producer's.
pub fn check_producer(spec: &impl ProducerSpec, seed: u64) -> Report {
    check_parts(&producer_parts(spec), &[Who::Producer], seed)
}

/// Checks a consumer by all rules that are a consumer's.
pub fn check_consumer(spec: &impl ConsumerSpec, seed: u64) -> Report {
    check_parts(&consumer_parts(spec), &[Who::Consumer], seed)
}

/// Checks a transform by all rules that are a transform's.
pub fn check_transform(spec: &impl TransformSpec, seed: u64) -> Report {
    check_parts(&transform_parts(spec), &[Who::Transform], seed)
}

/// Checks parts by all rules of any of `who`.
///
/// A rule that does not come to an end costs real time, so those after it are skipped.
pub fn check_parts(parts: &Arc<dyn Parts>, who: &[Who], seed: u64) -> Report {
    let mut report = Report::default();
    let mut given_up = None;
    for rule in &RULES {
        if !rule.who.iter().any(|of| who.contains(of)) {
            continue;
        }
        let result = match &given_up {
            Some(why) => Err(Broken::Skipped(format!("the check was given up: {why}"))),
            None => rule.try_on(parts, seed).unwrap_or_else(|cut| {
                if matches!(cut, Cut::Blocks | Cut::Restless) {
                    given_up = Some(format!("in {}, {cut}", rule.id));
                }
                Err(cut.into())
            }),
        };
        report.add(Outcome { rule, result });
    }
    report
}

/// How many events are looked at, of those that go on for ever.
pub(super) const MOST: usize = 64;

pub(super) fn producer_parts<S: ProducerSpec>(spec: &S) -> Arc<dyn Parts> {
    Arc::new(OfProducer {
        spec: spec.clone(),
        expected: expected_of_producer(spec),
    })
}

pub(super) fn consumer_parts<S: ConsumerSpec>(spec: &S) -> Arc<dyn Parts> {
    Arc::new(OfConsumer {
        spec: spec.clone(),
        expected: expected_of_consumer(spec),
    })
}

pub(super) fn transform_parts<S: TransformSpec>(spec: &S) -> Arc<dyn Parts> {
    Arc::new(OfTransform(Arc::new(Transforms {
        spec: spec.clone(),
        expected: Mutex::default(),
        alone: OnceLock::new(),
    })))
}

struct OfProducer<S: ProducerSpec> {
    spec: S,
    expected: Expected<S::Event>,
}

impl<S: ProducerSpec> OfProducer<S> {
    fn expected(&self) -> Arc<Vec<S::Event>> {
        self.expected.clone().unwrap_or_default()
    }
}

impl<S: ProducerSpec> Parts for OfProducer<S> {
    fn source(&self, book: &Arc<Book>, events: u64) -> BoxProducer<u64> {
        let expected = self.expected();
        BoxProducer::new(Numbered {
            producer: Gauged::new(self.spec.make()),
            pen: Pen {
                number: Box::new(move |event, next| place_of(&expected, event, next)),
                next: 0,
                until: events,
                book: Arc::clone(book),
                reports: Arc::clone(book) as _,
            },
        })
    }

    fn most(&self) -> u64 {
        self.expected().len() as u64
    }

    fn patience(&self) -> Duration {
        self.spec.patience()
    }

    fn thread_time(&self) -> Duration {
        self.spec.thread_time()
    }

    fn unfit(&self) -> Option<(&'static str, String)> {
        self.expected.clone().err()
    }
}

struct OfConsumer<S> {
    spec: S,
    expected: Result<(), Unfit>,
}

impl<S: ConsumerSpec> Parts for OfConsumer<S> {
    fn sink(&self, probe: &Probe) -> BoxConsumer<u64> {
        let spec = self.spec.clone();
        let consumer = Gauged::new(self.spec.make());
        BoxConsumer::new(probe.watch(consumer, move |number| spec.event(number)))
    }

    fn most(&self) -> u64 {
        MOST as u64
    }

    fn patience(&self) -> Duration {
        self.spec.patience()
    }

    fn thread_time(&self) -> Duration {
        self.spec.thread_time()
    }

    fn unfit(&self) -> Option<(&'static str, String)> {
        self.expected.clone().err()
    }
}

struct OfTransform<S: TransformSpec>(Arc<Transforms<S>>);

type MadeBy<S> = Result<Made<<S as TransformSpec>::Out>, Unfit>;

/// What is known of a transform.
struct Transforms<S: TransformSpec> {
    spec: S,
    /// What it makes of so many events, by how many.
    expected: Mutex<BTreeMap<u64, MadeBy<S>>>,
    /// How much it makes of each event, if that is the only one.
    alone: OnceLock<Vec<u64>>,
}

impl<S: TransformSpec> Transforms<S> {
    fn try_made(&self, inputs: u64) -> MadeBy<S> {
        let mut known = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let made = known.entry(inputs);
        made.or_insert_with(|| expected_of_transform(&self.spec, inputs))
            .clone()
    }

    fn made(&self, inputs: u64) -> Arc<Vec<S::Out>> {
        // If that goes wrong for these alone, the rule that asks sees it go wrong, too.
        self.try_made(inputs)
            .map(|made| made.all)
            .unwrap_or_default()
    }

    /// How many events are looked at: fewer of those that very much is made of.
    fn most(&self) -> u64 {
        let made = self.try_made(MOST as u64);
        made.map_or(MOST as u64, |made| made.of.len() as u64)
    }

    fn outputs_of(&self, input: u64) -> Option<Range<u64>> {
        let made = self.try_made(MOST as u64).ok()?;
        let alone = self
            .alone
            .get_or_init(|| made_alone(&self.spec, self.most()));
        let (of, alone) = (made.of.get(input as usize)?, alone.get(input as usize)?);
        Some(of.start..of.end.min(of.start + alone))
    }
}

impl<S: TransformSpec> Parts for OfTransform<S> {
    fn relay(&self) -> BoxTransform<u64, u64> {
        let spec = self.0.spec.clone();
        let (expected, known) = (self.0.made(self.0.most()), Arc::clone(&self.0));
        BoxTransform::new(Renumbered {
            transform: Gauged::new(spec.make()),
            event: Box::new(move |number| spec.event(number)),
            number: Box::new(move |event, next| place_of(&expected, event, next)),
            // What it makes at the end is of all that came.
            at_the_end: Box::new(move |inputs, event, next| {
                let expected = known.made(inputs.min(known.most()));
                place_of(&expected, event, next)
            }),
            inputs: 0,
            next: 0,
        })
    }

    fn outputs(&self, inputs: u64) -> u64 {
        self.0.made(inputs).len() as u64
    }

    fn outputs_of(&self, input: u64) -> Range<u64> {
        self.0.outputs_of(input).unwrap_or_default()
    }

    fn settles_each(&self) -> bool {
        false
    }

    fn most(&self) -> u64 {
        self.0.most()
    }

    fn keeps(&self) -> usize {
        self.0.spec.keeps()
    }

    fn patience(&self) -> Duration {
        self.0.spec.patience()
    }

    fn thread_time(&self) -> Duration {
        self.0.spec.thread_time()
    }

    fn unfit(&self) -> Option<(&'static str, String)> {
        self.0.try_made(MOST as u64).err()
    }
}

use std::{fmt::Debug, sync::Arc, time::Duration};

use super::{
    Book, Parts, Probe, Report, Who,
    numbered::{Numbered, Pen, Renumbered, place_of},
    rule::RULES,
};
use crate::{
    Batch, BoxConsumer, BoxProducer, BoxTransform, Consumer, Demand, Flow, Producer, Transform,
};

/// A producer to be checked.
pub trait ProducerSpec: Clone + Send + Sync + 'static {
    /// What it makes.
    type Event: Clone + Debug + PartialEq + Send + Sync + 'static;

    /// Makes one, at its beginning. Each makes the same events.
    fn make(&self) -> impl Producer<Event = Self::Event>;

    /// How long, by the virtual clock, it may take over its events.
    fn patience(&self) -> Duration {
        Duration::from_secs(1)
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

    /// How long, by the virtual clock, it may take over some forty events.
    fn patience(&self) -> Duration {
        Duration::from_secs(1)
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
pub fn check_parts(parts: &Arc<dyn Parts>, who: &[Who], seed: u64) -> Report {
    let mut report = Report::default();
    for rule in &RULES {
        if rule.who.iter().any(|of| who.contains(of)) {
            report.add(rule.check(parts, seed));
        }
    }
    report
}

/// How many events are looked at, of those that go on for ever.
const MOST: usize = 64;

pub(super) fn producer_parts<S: ProducerSpec>(spec: &S) -> Arc<dyn Parts> {
    let expected = aside(spec.clone(), |spec| async move {
        let mut events = Vec::new();
        let mut producer = spec.make();
        while events.len() < MOST {
            let mut batch = Batch::new();
            let Ok(flow) = producer.produce(Demand::MIN, &mut batch).await else {
                break;
            };
            for (event, receipt) in batch.drain_with_receipts() {
                events.push(event);
                receipt.ack();
            }
            if flow == Flow::End {
                break;
            }
        }
        events
    });
    Arc::new(OfProducer {
        spec: spec.clone(),
        expected: Arc::new(expected),
    })
}

pub(super) fn consumer_parts<S: ConsumerSpec>(spec: &S) -> Arc<dyn Parts> {
    Arc::new(OfConsumer(spec.clone()))
}

pub(super) fn transform_parts<S: TransformSpec>(spec: &S) -> Arc<dyn Parts> {
    Arc::new(OfTransform {
        spec: spec.clone(),
        expected: std::sync::Mutex::default(),
    })
}

/// Runs `work` on a runtime of its own whose clock is paused.
fn aside<S: Send + 'static, T: Send + 'static, W: Future<Output = T>>(
    spec: S,
    work: impl FnOnce(S) -> W + Send + 'static,
) -> T {
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime for one thread can be made");
        runtime.block_on(work(spec))
    });
    thread
        .join()
        .expect("the stage does its work without a panic")
}

struct OfProducer<S: ProducerSpec> {
    spec: S,
    expected: Arc<Vec<S::Event>>,
}

impl<S: ProducerSpec> Parts for OfProducer<S> {
    fn source(&self, book: &Arc<Book>, events: u64) -> BoxProducer<u64> {
        let expected = Arc::clone(&self.expected);
        BoxProducer::new(Numbered {
            producer: self.spec.make(),
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
        self.expected.len() as u64
    }

    fn patience(&self) -> Duration {
        self.spec.patience()
    }
}

struct OfConsumer<S>(S);

impl<S: ConsumerSpec> Parts for OfConsumer<S> {
    fn sink(&self, probe: &Probe) -> BoxConsumer<u64> {
        let spec = self.0.clone();
        BoxConsumer::new(probe.watch(self.0.make(), move |number| spec.event(number)))
    }

    fn most(&self) -> u64 {
        MOST as u64
    }

    fn patience(&self) -> Duration {
        self.0.patience()
    }
}

struct OfTransform<S: TransformSpec> {
    spec: S,
    /// What it makes of so many events, by how many.
    expected: std::sync::Mutex<std::collections::BTreeMap<u64, Arc<Vec<S::Out>>>>,
}

impl<S: TransformSpec> OfTransform<S> {
    fn expected(&self, inputs: u64) -> Arc<Vec<S::Out>> {
        let mut known = self
            .expected
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let made = known.entry(inputs).or_insert_with(|| {
            let made = aside(self.spec.clone(), move |spec| async move {
                let mut transform = spec.make();
                let mut all = Vec::new();
                for number in 0..inputs {
                    let mut batch = Batch::from_iter([spec.event(number)]);
                    let mut out = Batch::new();
                    // If it fails, it fails in the rules, too.
                    let _ = transform.transform(&mut batch, &mut out).await;
                    all.extend(out.into_vec());
                }
                let mut out = Batch::new();
                let _ = transform.finish(&mut out).await;
                all.extend(out.into_vec());
                all
            });
            Arc::new(made)
        });
        Arc::clone(made)
    }
}

impl<S: TransformSpec> Parts for OfTransform<S> {
    fn relay(&self) -> BoxTransform<u64, u64> {
        let (spec, expected) = (self.spec.clone(), self.expected(MOST as u64));
        BoxTransform::new(Renumbered {
            transform: self.spec.make(),
            event: Box::new(move |number| spec.event(number)),
            number: Box::new(move |event, next| place_of(&expected, event, next)),
            next: 0,
        })
    }

    fn outputs(&self, inputs: u64) -> u64 {
        self.expected(inputs).len() as u64
    }

    fn most(&self) -> u64 {
        MOST as u64
    }

    fn patience(&self) -> Duration {
        self.spec.patience()
    }
}

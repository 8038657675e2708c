//! A user's stages, checked as a user does it.

use std::{convert::Infallible, time::Duration};

use stage_core::{
    Batch, Consumer, Demand, Flow, Producer, Restart, Transform, consumer_fn, filter, filter_map,
    flat_map, from_iter, map, restarting_consumer,
    testing::{
        ConsumerSpec, ProducerSpec, TransformSpec, check_consumer, check_producer, check_transform,
    },
};
use tokio::time::sleep;

#[derive(Clone)]
struct Words;

impl ProducerSpec for Words {
    type Event = String;

    fn make(&self) -> impl Producer<Event = String> {
        from_iter((0..50).map(|n| format!("word {n}")))
    }
}

/// One event at a time, each after a while, and the end only when it is asked for again.
struct Ticks(u64);

impl Producer for Ticks {
    type Event = u64;
    type Error = Infallible;

    async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> Result<Flow, Infallible> {
        sleep(Duration::from_millis(10)).await;
        if self.0 == 20 {
            return Ok(Flow::End);
        }
        batch.push(self.0 * self.0);
        self.0 += 1;
        Ok(Flow::More)
    }
}

#[derive(Clone)]
struct Slowly;

impl ProducerSpec for Slowly {
    type Event = u64;

    fn make(&self) -> impl Producer<Event = u64> {
        Ticks(0)
    }
}

#[derive(Clone)]
struct Careful;

impl ConsumerSpec for Careful {
    type Event = String;

    fn make(&self) -> impl Consumer<String> {
        restarting_consumer(Restart::new(3, Duration::from_secs(60)), |_| {
            consumer_fn(|words: Batch<String>| async move {
                assert!(words.iter().all(|word| word.starts_with('w')));
                Ok::<(), Infallible>(())
            })
        })
    }

    fn event(&self, number: u64) -> String {
        format!("w{number}")
    }
}

/// With steps behind them and before them.
#[derive(Clone)]
struct Steps;

impl ProducerSpec for Steps {
    type Event = String;

    fn make(&self) -> impl Producer<Event = String> {
        Ticks(0).then(flat_map(|n: u64| [n, n + 1])).then((
            filter(|n: &u64| !n.is_multiple_of(3)),
            map(|n: u64| format!("word {n}")),
        ))
    }
}

impl ConsumerSpec for Steps {
    type Event = u64;

    fn make(&self) -> impl Consumer<u64> {
        let taken = consumer_fn(|words: Batch<String>| async move {
            assert!(words.iter().all(|word| word.starts_with('w')));
            Ok::<(), Infallible>(())
        });
        taken.after((
            filter_map(|n: u64| Some(n)),
            flat_map(|n: u64| [format!("w{n}"), format!("w{n} again")]),
        ))
    }

    fn event(&self, number: u64) -> u64 {
        number
    }
}

impl TransformSpec for Steps {
    type In = u64;
    type Out = String;

    fn make(&self) -> impl Transform<u64, Out = String> {
        let twice = flat_map(|n: u64| [n, n]);
        Transform::then(twice, map(|n: u64| format!("{n}")))
    }

    fn event(&self, number: u64) -> u64 {
        number
    }
}

/// Only steps.
#[derive(Clone)]
struct InARow;

impl TransformSpec for InARow {
    type In = u64;
    type Out = String;

    fn make(&self) -> impl Transform<u64, Out = String> {
        (
            filter(|n: &u64| *n < u64::MAX),
            flat_map(|n: u64| [n, n]),
            map(|n: u64| format!("{n}")),
        )
    }

    fn event(&self, number: u64) -> u64 {
        number
    }
}

#[derive(Clone)]
struct Twice;

impl TransformSpec for Twice {
    type In = u64;
    type Out = String;

    fn make(&self) -> impl Transform<u64, Out = String> {
        flat_map(|n: u64| [format!("{n}"), format!("{n} again")])
    }

    fn event(&self, number: u64) -> u64 {
        number
    }
}

mod words {
    stage_core::producer_suite!(super::Words);
}

mod slowly {
    stage_core::producer_suite!(super::Slowly);
}

mod careful {
    stage_core::consumer_suite!(super::Careful);
}

mod steps_behind_a_producer {
    stage_core::producer_suite!(super::Steps);
}

mod steps_before_a_consumer {
    stage_core::consumer_suite!(super::Steps);
}

mod steps_behind_a_transform {
    stage_core::transform_suite!(super::Steps);
}

mod steps_in_a_row {
    stage_core::transform_suite!(super::InARow);
}

mod twice {
    stage_core::transform_suite!(super::Twice);
}

#[test]
fn all_at_once() {
    for seed in 0..3 {
        let report = check_producer(&Words, seed);
        assert!(report.is_good(), "{report}");
        let report = check_consumer(&Careful, seed);
        assert!(report.is_good(), "{report}");
        let report = check_transform(&Twice, seed);
        assert!(report.is_good(), "{report}");
    }
}

/// Makes fewer events if it is asked for many.
#[derive(Clone)]
struct Lossy;

struct Skips(u64);

impl Producer for Skips {
    type Event = u64;
    type Error = Infallible;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<u64>,
    ) -> Result<Flow, Infallible> {
        batch.push(self.0);
        self.0 += 1 + u64::from(demand.get() > 2);
        Ok(if self.0 < 60 { Flow::More } else { Flow::End })
    }
}

impl ProducerSpec for Lossy {
    type Event = u64;

    fn make(&self) -> impl Producer<Event = u64> {
        Skips(0)
    }
}

#[test]
fn a_broken_one_is_reported_by_rule() {
    let report = check_producer(&Lossy, 1);
    let broken: Vec<_> = report.failed.iter().map(|(rule, _)| rule.id).collect();
    assert!(broken.contains(&"O1"), "{report}");
}

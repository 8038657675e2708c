//! When a stage asks for more, and for how much it is asked.

#![allow(clippy::unwrap_used)]

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use stage_core::{
    Batch, Consumer, Demand, Flow, Pipeline, PipelineHandle, Producer, Transform, Window, for_each,
};
use tokio::{
    task::yield_now,
    time::{sleep, timeout},
};

/// Longer than anything takes here that goes on at all.
const LONG: Duration = Duration::from_secs(30);

/// How much a producer was asked for, each time.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<usize>>>);

impl Asked {
    fn note(&self, demand: Demand) {
        self.0.lock().unwrap().push(demand.get());
    }

    fn all(&self) -> Vec<usize> {
        self.0.lock().unwrap().clone()
    }

    async fn until(&self, calls: usize) {
        while self.all().len() < calls {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Counts down, and waits before each call's events if it is to.
struct Numbers {
    left: usize,
    asked: Asked,
    waits: bool,
}

impl Numbers {
    fn new(left: usize) -> (Self, Asked) {
        let asked = Asked::default();
        let numbers = Self {
            left,
            asked: asked.clone(),
            waits: false,
        };
        (numbers, asked)
    }
}

impl Producer for Numbers {
    type Event = usize;
    type Error = Infallible;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<usize>,
    ) -> Result<Flow, Infallible> {
        self.asked.note(demand);
        if self.waits {
            yield_now().await;
        }
        let made = demand.get().min(self.left);
        batch.extend(self.left - made..self.left);
        self.left -= made;
        Ok(if self.left > 0 { Flow::More } else { Flow::End })
    }
}

#[tokio::test]
async fn a_stage_asks_once_for_what_it_takes_in_by_small_portions() {
    let (numbers, asked) = Numbers::new(1_000);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(numbers);
    pipeline.consume(for_each(|_| {}), numbers.subscribe(Window::new(125)));
    pipeline.run().await.unwrap();
    // Not for 63 after the first portion, of which the other 62 are a part no more.
    assert_eq!(asked.all(), [125; 8]);
}

/// In its second call, it is not done before its producer is asked again.
struct Waits {
    calls: usize,
    asked: Asked,
}

impl Consumer<usize> for Waits {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<usize>) -> Result<(), Infallible> {
        self.calls += 1;
        assert_eq!(batch.len(), 5);
        if self.calls == 2 {
            self.asked.until(2).await;
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_waits_has_asked_before() {
    let (numbers, asked) = Numbers::new(20);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(numbers);
    let waits = Waits { calls: 0, asked };
    pipeline.consume(waits, numbers.subscribe(Window::new(10)));
    timeout(LONG, pipeline.run()).await.unwrap().unwrap();
}

/// Holds itself back in its first call.
struct HeldBack {
    handle: PipelineHandle,
    calls: usize,
}

impl Transform<usize> for HeldBack {
    type Out = usize;
    type Error = Infallible;

    async fn transform(
        &mut self,
        batch: &mut Batch<usize>,
        out: &mut Batch<usize>,
    ) -> Result<(), Infallible> {
        self.calls += 1;
        if self.calls == 1 {
            self.handle.pause("held back").unwrap();
        }
        out.extend(batch.drain());
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_is_held_back_has_asked_before() {
    let (numbers, asked) = Numbers::new(30);
    let mut pipeline = Pipeline::new();
    let handle = pipeline.handle();
    let numbers = pipeline.produce(numbers).subscribe(Window::new(10));
    let held_back = HeldBack {
        handle: handle.clone(),
        calls: 0,
    };
    let passed = pipeline.stage("held back").transform(held_back, [numbers]);
    pipeline.consume(for_each(|_| {}), passed.subscribe(Window::new(100)));
    let going_on = async {
        asked.until(2).await;
        handle.resume("held back").unwrap();
    };
    let running = async { tokio::join!(pipeline.run(), going_on).0 };
    timeout(LONG, running).await.unwrap().unwrap();
    assert_eq!(asked.all()[..2], [10, 5]);
}

async fn asked_of_three(waits: bool) -> Vec<usize> {
    let (numbers, asked) = Numbers::new(300);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Numbers { waits, ..numbers });
    for _ in 0..3 {
        pipeline.consume(for_each(|_| {}), numbers.subscribe(Window::new(10)));
    }
    pipeline.run().await.unwrap();
    asked.all()
}

#[tokio::test]
async fn who_makes_events_at_once_makes_them_for_one_subscriber_after_the_other() {
    let asked = asked_of_three(false).await;
    assert_eq!(asked[0], 30, "it is not known yet");
    assert!(asked[1..].iter().all(|asked| *asked <= 10), "{asked:?}");
}

#[tokio::test]
async fn who_waits_for_events_is_asked_for_all() {
    let asked = asked_of_three(true).await;
    assert!(asked[1..].iter().any(|asked| *asked > 10), "{asked:?}");
}

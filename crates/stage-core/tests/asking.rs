//! When a stage asks for more, and for how much it is asked.

#![allow(clippy::unwrap_used)]

use std::{
    convert::Infallible,
    future::{Ready, pending, ready},
    sync::{Arc, Mutex},
    time::Duration,
};

use stage_core::{
    Batch, Consumer, Demand, Flow, InHand, Pipeline, PipelineHandle, Producer, SubscriptionInfo,
    Transform, Window, for_each, for_each_async, protocol::Buffer, push_source,
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::yield_now,
    time::{Instant, sleep, timeout},
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

/// Counts down.
struct Numbers {
    left: usize,
    asked: Asked,
    manner: Manner,
}

/// How events are made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    AtOnce,
    /// Waits before those of each call.
    Waits,
    WaitsFirst,
    /// Makes one of two that it is asked for.
    Half,
}

impl Numbers {
    fn new(left: usize) -> (Self, Asked) {
        let asked = Asked::default();
        let numbers = Self {
            left,
            asked: asked.clone(),
            manner: Manner::AtOnce,
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
        let is_first = self.asked.all().is_empty();
        self.asked.note(demand);
        let made = match self.manner {
            Manner::AtOnce => demand.get(),
            Manner::Waits => {
                yield_now().await;
                demand.get()
            }
            Manner::WaitsFirst => {
                if is_first {
                    yield_now().await;
                }
                demand.get()
            }
            Manner::Half => demand.get().div_ceil(2),
        };
        let made = made.min(self.left);
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

/// Of one that broadcasts: to a sole subscriber, others make a portion at a time.
#[tokio::test]
async fn a_stage_asks_after_each_portion_that_is_large() {
    for (window, asked_next) in [(499, 499), (501, 251)] {
        let (numbers, asked) = Numbers::new(2_000);
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.stage("numbers").broadcast().produce(numbers);
        pipeline.consume(for_each(|_| {}), numbers.subscribe(Window::new(window)));
        pipeline.run().await.unwrap();
        assert_eq!(asked.all()[..2], [window, asked_next]);
    }
}

/// Its first turn is a long one. Whether the next is short is not known yet.
struct BeginsSlowly;

impl Consumer<usize> for BeginsSlowly {
    type Error = Infallible;

    fn subscribed(&mut self, _: &SubscriptionInfo) {
        // Whatever that takes, it is more than a fiftieth of a millisecond.
        #[expect(clippy::disallowed_methods, reason = "to have its thread in use")]
        std::thread::sleep(Duration::from_millis(1));
    }

    async fn consume(&mut self, _: &mut Batch<usize>) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Others go on beside it, and wait for no turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_whose_turns_are_long_asks_after_each_portion() {
    let (numbers, asked) = Numbers::new(1_000);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(numbers);
    pipeline.consume(BeginsSlowly, numbers.subscribe(Window::new(125)));
    pipeline.run().await.unwrap();
    let asked = asked.all();
    // For less, if to make the first took long.
    assert!(asked[0] == 125 && asked[1] <= 63, "{asked:?}");
}

/// Keeps each second portion until the next has come.
#[derive(Default)]
struct Keeps {
    calls: usize,
    kept: Option<InHand>,
}

impl Consumer<usize> for Keeps {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<usize>) -> Result<(), Infallible> {
        self.calls += 1;
        self.kept = self.calls.is_multiple_of(2).then(|| batch.keep_in_hand());
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_keeps_the_last_portion_has_asked_for_those_before() {
    let (numbers, asked) = Numbers::new(100);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(numbers);
    pipeline.consume(Keeps::default(), numbers.subscribe(Window::new(10)));
    timeout(LONG, pipeline.run()).await.unwrap().unwrap();
    assert!(asked.all().len() > 10, "{:?}", asked.all());
}

/// After its first call, it is not done with what is due before its producer is asked again.
struct Due {
    is_due: bool,
    asked: Asked,
}

impl Transform<usize> for Due {
    type Out = usize;
    type Error = Infallible;

    fn due(&self) -> Option<Instant> {
        self.is_due.then(Instant::now)
    }

    async fn transform(
        &mut self,
        batch: &mut Batch<usize>,
        out: &mut Batch<usize>,
    ) -> Result<(), Infallible> {
        // It is in the first portion.
        self.is_due = batch.contains(&10);
        out.extend(batch.drain());
        Ok(())
    }

    async fn elapsed(&mut self, _: &mut Batch<usize>) -> Result<(), Infallible> {
        self.is_due = false;
        self.asked.until(2).await;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_waits_for_what_is_due_has_asked_before() {
    let (numbers, asked) = Numbers::new(20);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(numbers).subscribe(Window::new(10));
    let due = Due {
        is_due: false,
        asked,
    };
    let passed = pipeline.transform(due, [numbers]);
    pipeline.consume(for_each(|_| {}), passed.subscribe(Window::new(100)));
    timeout(LONG, pipeline.run()).await.unwrap().unwrap();
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

async fn asked_of_three(manner: Manner) -> Vec<usize> {
    let (numbers, asked) = Numbers::new(300);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Numbers { manner, ..numbers });
    for _ in 0..3 {
        pipeline.consume(for_each(|_| {}), numbers.subscribe(Window::new(10)));
    }
    pipeline.run().await.unwrap();
    asked.all()
}

#[tokio::test]
async fn who_makes_events_at_once_makes_them_for_one_subscriber_after_the_other() {
    let asked = asked_of_three(Manner::AtOnce).await;
    assert_eq!(asked[0], 30, "it is not known yet");
    assert!(asked[1..].iter().all(|asked| *asked <= 10), "{asked:?}");
    let asked = asked_of_three(Manner::WaitsFirst).await;
    assert!(asked[2..].iter().all(|asked| *asked <= 10), "{asked:?}");
}

#[tokio::test]
async fn who_waits_for_events_or_makes_less_is_asked_for_all() {
    for manner in [Manner::Waits, Manner::Half] {
        let asked = asked_of_three(manner).await;
        assert!(asked[1..].iter().any(|asked| *asked > 10), "{asked:?}");
    }
}

/// Makes what it is asked for at once, and then does something else.
struct Prompt<F> {
    calls: usize,
    /// What it does when it is called again.
    then: F,
}

impl<F, R> Producer for Prompt<F>
where
    F: Fn() -> R + Send + 'static,
    R: Future<Output = Flow> + Send,
{
    type Event = usize;
    type Error = Infallible;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<usize>,
    ) -> Result<Flow, Infallible> {
        self.calls += 1;
        if self.calls > 1 {
            return Ok((self.then)().await);
        }
        batch.extend(0..demand.get());
        Ok(Flow::More)
    }
}

/// What the first of two lanes is given, if 105 of the first 200 events are its own and no more follow. It
/// asks for a hundred at a time, and the other does not ask again.
async fn first_of_two_lanes<F, R>(then: F) -> Vec<usize>
where
    F: Fn() -> R + Send + 'static,
    R: Future<Output = Flow> + Send,
{
    let (given, mut taken) = mpsc::channel(1_000);
    let mut pipeline = Pipeline::new();
    let stage = pipeline.stage("prompt");
    let lanes = stage.partition_by(2, |event: &usize| Some(usize::from(*event >= 105)));
    let lanes = lanes.produce(Prompt { calls: 0, then });
    for lane in lanes {
        let given = given.clone();
        let note = for_each(move |event| given.try_send(event).unwrap());
        pipeline.consume(note, lane.subscribe(Window::new(100).with_min(0)));
    }
    drop(given);
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    let mut all = Vec::new();
    let taking = async {
        while all.len() < 200 {
            all.push(taken.recv().await.unwrap());
        }
    };
    timeout(LONG, taking)
        .await
        .expect("what waits is handed out");
    handle.stop();
    // Whether it ends well is another question.
    let _ = timeout(LONG, running).await.unwrap();
    all.retain(|event| *event < 105);
    all
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_a_lane_does_not_wait_for_a_producer_that_does() {
    let all = first_of_two_lanes(pending::<Flow>).await;
    assert_eq!(all, Vec::from_iter(0..105));
}

/// (In real time: a producer that is always called again lets no other pass.)
#[tokio::test]
async fn what_waits_in_a_lane_does_not_wait_for_what_is_not_made() {
    let all = first_of_two_lanes(|| ready(Flow::More)).await;
    assert_eq!(all, Vec::from_iter(0..105));
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_a_lane_is_handed_out_before_the_end() {
    let all = first_of_two_lanes(|| ready(Flow::End)).await;
    assert_eq!(all, Vec::from_iter(0..105));
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_a_lane_outlasts_a_producer_that_panics() {
    let all = first_of_two_lanes(|| -> Ready<Flow> { panic!("on purpose") }).await;
    assert_eq!(all, Vec::from_iter(0..105));
}

/// Nobody calls it for what it makes: it may have nothing to make it of.
struct Drops {
    calls: usize,
}

impl Transform<usize> for Drops {
    type Out = usize;
    type Error = Infallible;

    async fn transform(
        &mut self,
        batch: &mut Batch<usize>,
        out: &mut Batch<usize>,
    ) -> Result<(), Infallible> {
        self.calls += 1;
        let events = batch.drain();
        if self.calls == 1 {
            out.extend(events.flat_map(|_| 0..110));
        }
        Ok(())
    }
}

/// Makes an event, another that comes to nothing, and no more.
#[tokio::test(start_paused = true)]
async fn what_waits_in_a_lane_of_a_transform_does_not_wait_for_its_input() {
    let (given, mut taken) = mpsc::channel(1_000);
    let (input, numbers) = push_source(Buffer::unbounded());
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(numbers).subscribe(Window::new(1));
    let stage = pipeline.stage("drops");
    let lanes = stage.partition_by(2, |event: &usize| Some(usize::from(*event >= 105)));
    let lanes = lanes.transform(Drops { calls: 0 }, [numbers]);
    let go_on = Arc::new(Semaphore::new(0));
    for lane in lanes {
        let (given, go_on) = (given.clone(), Arc::clone(&go_on));
        let note = for_each_async(move |event| {
            let (given, go_on) = (given.clone(), Arc::clone(&go_on));
            async move {
                go_on.acquire().await.unwrap().forget();
                given.try_send(event)
            }
        });
        pipeline.consume(note, lane.subscribe(Window::new(100)));
    }
    let running = tokio::spawn(pipeline.run());
    input.send(0).await.unwrap();
    input.send(1).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    go_on.add_permits(110);
    for _ in 0..110 {
        let event = timeout(LONG, taken.recv()).await;
        event.expect("what waits is handed out");
    }
    drop(input);
    timeout(LONG, running).await.unwrap().unwrap().unwrap();
}

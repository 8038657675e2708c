//! One subscription, whatever is done to it, against a model.

#![allow(clippy::unwrap_used)]

mod stages;

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::prelude::*;
use stage_core::{
    AskError, Batch, Consumer, Mode, Pipeline, PipelineHandle, Restart, SubscriptionHandle, Window,
    restarting_consumer,
};
use tokio::{task::JoinHandle, time::sleep};

use stages::{Book, Tracked};

/// What is done to a subscription.
#[derive(Clone, Copy, Debug)]
enum Step {
    Ask(usize),
    /// Lets some time go by, in milliseconds.
    Wait(u64),
    /// Makes the consumer fail on the next batch; it is made anew.
    Fail,
    Pause,
    Resume,
    Cancel,
    /// Stops the pipeline, which drains.
    Stop,
    /// Drops the pipeline.
    Abort,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1..20_usize).prop_map(Step::Ask),
        6 => (0..30_u64).prop_map(Step::Wait),
        2 => Just(Step::Fail),
        1 => Just(Step::Pause),
        2 => Just(Step::Resume),
    ];
    let last = prop_oneof![
        Just(None),
        Just(Some(Step::Cancel)),
        Just(Some(Step::Stop)),
        Just(Some(Step::Abort)),
    ];
    (prop::collection::vec(step, 1..40), last).prop_map(|(mut steps, last)| {
        steps.extend(last);
        steps
    })
}

/// What the consumer was given, and how often it has to fail yet.
#[derive(Default)]
struct Desk {
    done: Vec<u64>,
    failures: usize,
    restarts: usize,
}

struct Picky(Arc<Mutex<Desk>>);

impl Consumer<u64> for Picky {
    type Error = io::Error;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> io::Result<()> {
        sleep(Duration::from_millis(2)).await;
        let mut desk = self.0.lock().unwrap();
        if desk.failures > 0 {
            desk.failures -= 1;
            return Err(io::Error::other("on purpose"));
        }
        desk.done.extend(batch.iter());
        Ok(())
    }
}

/// A pipeline of a source, one subscription and a consumer, and what is known of it.
struct Scene {
    desk: Arc<Mutex<Desk>>,
    book: Arc<Book>,
    /// `None` where the stage asks by itself.
    asker: Option<SubscriptionHandle>,
    window: Option<usize>,
    handle: PipelineHandle,
    running: JoinHandle<()>,
    asked: usize,
}

impl Scene {
    fn new(window: Option<usize>) -> Self {
        let desk = Arc::<Mutex<Desk>>::default();
        let (source, book) = Tracked::up_to(u64::MAX);
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.stage("numbers").produce(source);
        let (subscription, asker) = match window {
            Some(window) => {
                let subscription = numbers.subscribe(Window::new(window));
                let (subscription, handle) = subscription.with_handle();
                (subscription, Some(handle))
            }
            None => {
                let (subscription, handle) = numbers.subscribe_manually();
                (subscription, Some(handle))
            }
        };
        let shared = Arc::clone(&desk);
        let policy = Restart::new(1000, Duration::from_secs(1))
            .waiting(Duration::from_millis(1), Duration::from_millis(5));
        let consumer = restarting_consumer(policy, move |_| {
            shared.lock().unwrap().restarts += 1;
            Picky(Arc::clone(&shared))
        });
        pipeline
            .stage("sink")
            .consume(consumer, subscription.mode(Mode::UntilAllEnd));
        let handle = pipeline.handle();
        let running = tokio::spawn(async move {
            pipeline.run().await.unwrap();
        });
        Self {
            desk,
            book,
            asker,
            window,
            handle,
            running,
            asked: window.unwrap_or(0),
        }
    }

    async fn perform(&mut self, step: Step) {
        match step {
            Step::Ask(events) if self.window.is_none() => {
                let asker = self.asker.as_ref().unwrap();
                match asker.ask(events) {
                    Ok(()) => self.asked += events,
                    Err(error) => assert_eq!(error, AskError::Closed),
                }
            }
            Step::Ask(_) => {}
            Step::Wait(millis) => sleep(Duration::from_millis(millis)).await,
            Step::Fail => self.desk.lock().unwrap().failures += 1,
            Step::Pause => drop(self.handle.pause("numbers")),
            Step::Resume => drop(self.handle.resume("numbers")),
            Step::Cancel => self.asker.as_ref().unwrap().cancel(),
            Step::Stop => self.handle.stop(),
            Step::Abort => self.running.abort(),
        }
    }

    /// What holds after each step.
    fn check(&self) -> Result<(), TestCaseError> {
        let made = self.book.outcomes().len();
        let acked = self.book.acked().len();
        let done = self.desk.lock().unwrap().done.clone();
        // In order, each once, from the first on.
        prop_assert!(done.iter().copied().eq(0..done.len() as u64), "{done:?}");
        // What is acked has been done, and nothing else has.
        prop_assert!(acked <= done.len());
        match self.window {
            None => prop_assert!(made <= self.asked, "{made} made, {} asked", self.asked),
            Some(window) => prop_assert!(made <= acked + window, "{made} made, {acked} acked"),
        }
        Ok(())
    }
}

async fn play(window: Option<usize>, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut scene = Scene::new(window);
    for &step in &steps {
        scene.perform(step).await;
        scene.check()?;
    }
    // Whatever was held back or failing: let it go on.
    let _ = scene.handle.resume("numbers");
    sleep(Duration::from_secs(10)).await;
    scene.check()?;
    let ended = matches!(steps.last(), Some(Step::Cancel | Step::Stop | Step::Abort));
    let (acked, nacked) = (scene.book.acked().len(), scene.book.nacked().len());
    let made = scene.book.outcomes().len();
    if ended {
        prop_assert!(scene.running.is_finished());
        prop_assert_eq!(acked + nacked, made, "handed out is acked and nacked");
    } else if scene.window.is_none() {
        // Demand given long ago is served, all of it.
        prop_assert_eq!(acked, scene.asked);
    } else {
        prop_assert!(acked > 0, "it goes on");
    }
    if let Some(Step::Stop) = steps.last() {
        prop_assert_eq!(nacked, 0, "a drain loses nothing");
    }
    scene.running.abort();
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_subscription_does_as_the_model(
        window in prop::option::of(1..30_usize),
        steps in steps(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(play(window, steps))?;
    }
}

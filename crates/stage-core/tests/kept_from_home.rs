//! A stage that blocks its thread in another's task: what becomes of that one must not wait for it.

#![expect(
    clippy::disallowed_methods,
    reason = "who blocks a thread does so in real time"
)]

use std::{
    convert::Infallible,
    future::pending,
    sync::{
        Arc, Mutex,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use stage_core::{
    Batch, Consumer, Demand, Flow, Pipeline, PipelineError, PipelineHandle, Producer,
    SubscriptionHandle, Window, for_each, from_iter,
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{JoinHandle, block_in_place, try_id},
    time::{sleep, timeout},
};

/// Longer than anything takes that goes on at all.
const LONG: Duration = Duration::from_secs(60);

/// Longer than all else takes meanwhile, mostly.
const SOON: Duration = Duration::from_millis(200);

/// So many are taken in before the last one, so that it is known how long that takes.
const MANY: u64 = 1_000;

/// With one thread, and another once that is blocked: so those that wake each other meet in one task, mostly.
fn one_after_the_other() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Blocks its thread at the last event.
struct Blocks<F> {
    block: F,
    /// In which task.
    task: Seen,
}

type Seen = Arc<Mutex<Option<tokio::task::Id>>>;

fn first_of(tasks: &Seen) {
    let mut task = tasks.lock().expect("nobody panics");
    *task = task.or_else(try_id);
}

impl<F: FnMut() + Send + 'static> Consumer<u64> for Blocks<F> {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
        if batch.drain().any(|event| event == MANY) {
            first_of(&self.task);
            block_in_place(&mut self.block);
        }
        Ok(())
    }
}

/// What a stage does that has the last event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Stays,
    Fails,
    /// Lets go on who is blocked.
    Tells,
    TellsLater,
}

/// Asks for the last event by itself, and so it is in its task that others have their turns.
struct AsksForLast {
    handle: SubscriptionHandle,
    then: Then,
    has_last: bool,
    task: Seen,
    keeps: mpsc::Sender<()>,
}

impl AsksForLast {
    fn ask(&self) {
        self.handle.ask(1).expect("it is there");
    }

    fn tell(&self) {
        self.keeps.send(()).expect("it waits");
    }
}

impl Consumer<u64> for AsksForLast {
    type Error = &'static str;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Self::Error> {
        self.has_last = batch.drain().any(|event| event == MANY);
        if self.has_last && self.then == Then::Stays {
            pending::<()>().await;
        }
        if self.has_last && self.then == Then::Tells {
            self.tell();
            self.ask();
        }
        Ok(())
    }

    async fn while_idle(&mut self) -> Result<(), Self::Error> {
        sleep(SOON).await;
        first_of(&self.task);
        if self.has_last {
            match self.then {
                Then::Stays => {}
                Then::Tells | Then::TellsLater => self.tell(),
                Then::Fails => {
                    sleep(2 * SOON).await;
                    return Err("on purpose");
                }
            }
        }
        // Once more than there are events, or nobody would find out that these are all.
        self.ask();
        pending().await
    }
}

/// What one of them does while it blocks, and whether that was in the other's task.
fn blocked<T: Send + 'static>(
    then: Then,
    block: impl Fn(&PipelineHandle, &mpsc::Receiver<()>) -> T + Send + 'static,
    run: impl FnOnce(&Runtime, Pipeline, &mpsc::Receiver<()>),
) -> (T, bool) {
    let mut pipeline = Pipeline::new();
    let handle = pipeline.handle();
    let (keeps, kept) = mpsc::channel();
    let (begins, has_begun) = mpsc::channel();
    let (tells, told) = mpsc::channel();
    let tasks: [Seen; 2] = Default::default();
    let numbers = pipeline
        .stage("numbers")
        .broadcast()
        .produce(from_iter(0..=MANY));
    let blocks = Blocks {
        block: move || {
            begins.send(()).expect("the test waits");
            tells.send(block(&handle, &kept)).expect("the test waits");
        },
        task: Arc::clone(&tasks[0]),
    };
    pipeline
        .stage("blocks")
        .consume(blocks, numbers.subscribe(Window::new(10)));
    let (by_hand, handle) = numbers.subscribe_manually();
    handle.ask(MANY as usize).expect("it is there");
    let asks = AsksForLast {
        handle,
        then,
        has_last: false,
        task: Arc::clone(&tasks[1]),
        keeps,
    };
    pipeline.stage("asks").consume(asks, by_hand);
    let runtime = one_after_the_other();
    run(&runtime, pipeline, &has_begun);
    // It waits for nobody who blocks, but drops all else.
    runtime.shutdown_background();
    let told = told.recv_timeout(LONG).expect("it goes on");
    let [one, other] = tasks.map(|task| *task.lock().expect("nobody panics"));
    (told, one.is_some() && one == other)
}

/// Until it was in the other's task, which is a matter of who is quicker, but mostly so.
fn until_at_home<T>(mut run: impl FnMut() -> (T, bool), mut check: impl FnMut(T)) {
    for _ in 0..100 {
        let (seen, is_at_home) = run();
        check(seen);
        if is_at_home {
            return;
        }
    }
    panic!("it was always another task");
}

/// Waits until the other tells, or what it has is dropped.
fn wait_for_it(_: &PipelineHandle, kept: &mpsc::Receiver<()>) -> Result<(), RecvTimeoutError> {
    kept.recv_timeout(LONG / 4)
}

/// Runs it, until it is blocked for a while.
fn begin(
    runtime: &Runtime,
    pipeline: Pipeline,
    has_begun: &mpsc::Receiver<()>,
) -> JoinHandle<Result<(), PipelineError>> {
    let running = runtime.spawn(pipeline.run());
    has_begun.recv_timeout(LONG).expect("it begins");
    thread::sleep(SOON);
    running
}

#[test]
fn it_goes_on_meanwhile() {
    for then in [Then::Tells, Then::TellsLater] {
        let run = |runtime: &Runtime, pipeline: Pipeline, _: &mpsc::Receiver<()>| {
            let done =
                runtime.block_on(async { timeout(LONG, tokio::spawn(pipeline.run())).await });
            let done = done.unwrap_or_else(|_| panic!("{then:?}: it stands still"));
            done.unwrap().unwrap();
        };
        until_at_home(
            || blocked(then, wait_for_it, run),
            |seen| assert_eq!(seen, Ok(()), "{then:?}"),
        );
    }
}

#[test]
fn it_is_dropped_with_its_pipeline() {
    let abort = |runtime: &Runtime, pipeline: Pipeline, has_begun: &mpsc::Receiver<()>| {
        let running = begin(runtime, pipeline, has_begun);
        running.abort();
        // All that is the test's to wait for.
        while !running.is_finished() {
            thread::yield_now();
        }
        thread::sleep(SOON);
    };
    until_at_home(
        || blocked(Then::Stays, wait_for_it, abort),
        |seen| assert_eq!(seen, Err(RecvTimeoutError::Disconnected)),
    );
}

#[test]
fn it_is_dropped_with_its_runtime() {
    let run = |runtime: &Runtime, pipeline: Pipeline, has_begun: &mpsc::Receiver<()>| {
        begin(runtime, pipeline, has_begun);
    };
    until_at_home(
        || blocked(Then::Stays, wait_for_it, run),
        |seen| assert_eq!(seen, Err(RecvTimeoutError::Disconnected)),
    );
}

#[test]
fn that_it_fails_is_seen() {
    let wait = |handle: &PipelineHandle, _: &mpsc::Receiver<()>| {
        let mut looks = (0..(LONG / 4).as_millis()).map(|_| {
            thread::sleep(Duration::from_millis(1));
            handle.status()
        });
        looks.any(|status| status.stage("asks").is_none())
    };
    let run = |runtime: &Runtime, pipeline: Pipeline, _: &mpsc::Receiver<()>| {
        let running = async { timeout(LONG, pipeline.run()).await };
        let error = runtime.block_on(running).expect("it ends").unwrap_err();
        assert!(
            matches!(&error, PipelineError::Failed { stage, .. } if stage == "asks"),
            "{error:?}"
        );
    };
    until_at_home(
        || blocked(Then::Fails, wait, run),
        |is_seen| assert!(is_seen),
    );
}

/// Tells whether it was dropped in a runtime.
struct TellsWhere(mpsc::Sender<bool>);

impl Consumer<u64> for TellsWhere {
    type Error = Infallible;

    async fn consume(&mut self, _: &mut Batch<u64>) -> Result<(), Infallible> {
        Ok(())
    }
}

impl Drop for TellsWhere {
    fn drop(&mut self) {
        let _ = self.0.send(Handle::try_current().is_ok());
    }
}

#[test]
fn who_waits_for_it_is_dropped_in_the_runtime() {
    const OTHERS: usize = 4;
    let runtime = one_after_the_other();
    for _ in 0..5 {
        let (begins, has_begun) = mpsc::channel();
        let (tells, told) = mpsc::channel();
        let mut pipeline = Pipeline::new();
        let numbers = pipeline
            .stage("numbers")
            .broadcast()
            .produce(from_iter(0..=MANY));
        let blocks = Blocks {
            block: move || {
                begins.send(()).expect("the test waits");
                thread::sleep(2 * SOON);
            },
            task: Seen::default(),
        };
        pipeline.consume(blocks, numbers.subscribe(Window::new(10)));
        for _ in 0..OTHERS {
            pipeline.consume(
                TellsWhere(tells.clone()),
                numbers.subscribe(Window::new(10)),
            );
        }
        let running = runtime.spawn(pipeline.run());
        has_begun.recv_timeout(LONG).expect("it begins");
        running.abort();
        for _ in 0..OTHERS {
            assert!(told.recv_timeout(LONG).expect("they are dropped"));
        }
    }
}

/// Says so each time that it takes events in, and at its end.
struct Says(UnboundedSender<bool>);

impl Consumer<u64> for Says {
    type Error = Infallible;

    async fn consume(&mut self, _: &mut Batch<u64>) -> Result<(), Infallible> {
        // Who hears it may be gone.
        let _ = self.0.send(false);
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Infallible> {
        let _ = self.0.send(true);
        Ok(())
    }
}

/// Hears that, and once it is the end, blocks until that pipeline has ended.
struct Hears {
    said: UnboundedReceiver<bool>,
    running: mpsc::Receiver<JoinHandle<Result<(), PipelineError>>>,
}

impl Producer for Hears {
    type Event = u64;
    type Error = Infallible;

    async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> Result<Flow, Infallible> {
        let is_end = self.said.recv().await;
        batch.push(0);
        if is_end == Some(false) {
            return Ok(Flow::More);
        }
        let running = self.running.recv().expect("it runs");
        let ended = block_in_place(|| Handle::current().block_on(timeout(LONG / 4, running)));
        ended
            .expect("it ends")
            .expect("it does not panic")
            .expect("nor fail");
        Ok(Flow::End)
    }
}

#[test]
fn a_pipeline_ends_whose_last_task_has_another_blocked_in_it() {
    for _ in 0..5 {
        let runtime = one_after_the_other();
        let (says, said) = unbounded_channel();
        let (tells, running) = mpsc::channel();
        let (mut first, mut second) = (Pipeline::new(), Pipeline::new());
        let numbers = first.produce(from_iter(0..MANY));
        first.consume(Says(says), numbers.subscribe(Window::new(2)));
        let heard = second.produce(Hears { said, running });
        second.consume(for_each(|_: u64| {}), heard.subscribe(Window::new(2)));
        let ended = runtime.block_on(async {
            let second = tokio::spawn(second.run());
            tells.send(tokio::spawn(first.run())).unwrap();
            timeout(LONG, second).await
        });
        runtime.shutdown_background();
        ended.expect("it ends").unwrap().unwrap();
    }
}

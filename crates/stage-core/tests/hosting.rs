//! Stages that wake each other share a task: what must not be noticed of it.

use std::{
    convert::Infallible,
    panic::panic_any,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};

use stage_core::{
    Batch, Consumer, Pipeline, PipelineError, Window, for_each, from_iter, from_stream, map,
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::{block_in_place, yield_now},
    time::{sleep, timeout},
};

/// Longer than anything takes that goes on at all.
const LONG: Duration = Duration::from_secs(60);

fn two_threads() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn one_thread() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Tells that it was dropped.
#[derive(Clone)]
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Blocks its thread, time and again, until another has taken in the same event.
struct BlocksFor(mpsc::Receiver<u64>);

impl Consumer<u64> for BlocksFor {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
        for event in batch.drain().filter(|event| event % 500 == 499) {
            block_in_place(|| while self.0.recv().expect("the other is there") < event {});
        }
        Ok(())
    }
}

#[test]
fn a_stage_that_blocks_until_another_goes_on_does_not_keep_it_from_that() {
    let (seen, sees) = mpsc::channel();
    let blocks = BlocksFor(sees);
    let running = async move {
        let mut pipeline = Pipeline::new();
        let numbers = pipeline
            .stage("numbers")
            .broadcast()
            .produce(from_iter(0..3_000));
        // The one that blocks has its turn first, and the other waits in the same thread.
        pipeline.consume(blocks, numbers.subscribe(Window::new(1)));
        let notes = for_each(move |event: u64| {
            // The other may be done by the end.
            let _ = seen.send(event);
        });
        pipeline.consume(notes, numbers.subscribe(Window::new(1)));
        timeout(LONG, tokio::spawn(pipeline.run())).await
    };
    let runtime = two_threads();
    let done = runtime.block_on(running);
    // It would wait for who is blocked.
    runtime.shutdown_background();
    done.expect("it goes on").unwrap().unwrap();
}

/// A consumer that has a thing of its own.
struct Keeps(#[expect(dead_code, reason = "it is dropped")] Dropped);

impl Consumer<u64> for Keeps {
    type Error = Infallible;

    async fn consume(&mut self, _: &mut Batch<u64>) -> Result<(), Infallible> {
        Ok(())
    }
}

#[test]
fn a_pipeline_that_is_dropped_takes_all_of_its_stages_with_it() {
    for runtime in [one_thread(), two_threads()] {
        let dropped = Arc::new(AtomicUsize::new(0));
        let run = |pipeline: Pipeline| async move {
            let running = tokio::spawn(pipeline.run());
            sleep(Duration::from_millis(1)).await;
            running.abort();
            let _ = running.await;
        };
        for _ in 0..200 {
            let mut pipeline = Pipeline::new();
            let numbers = pipeline.produce(from_iter(0_u64..));
            for _ in 0..3 {
                let keeps = Keeps(Dropped(Arc::clone(&dropped)));
                pipeline.consume(keeps, numbers.subscribe(Window::new(2)));
            }
            runtime.block_on(run(pipeline));
        }
        // Those that were in the middle of a turn are dropped at its end.
        drop(runtime);
        assert_eq!(dropped.load(SeqCst), 600);
    }
}

/// Panics when it is dropped.
struct PanicsAtTheEnd;

impl Consumer<u64> for PanicsAtTheEnd {
    type Error = Infallible;

    async fn consume(&mut self, _: &mut Batch<u64>) -> Result<(), Infallible> {
        Ok(())
    }
}

impl Drop for PanicsAtTheEnd {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

#[test]
fn a_stage_that_panics_as_it_is_dropped_has_panicked_and_no_other_has() {
    for runtime in [one_thread(), two_threads()] {
        let running = async {
            let mut pipeline = Pipeline::new();
            let numbers = pipeline
                .stage("numbers")
                .broadcast()
                .produce(from_iter(0_u64..10));
            let seen = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&seen);
            let counts = for_each(move |_: u64| {
                counter.fetch_add(1, SeqCst);
            });
            pipeline
                .stage("panics")
                .consume(PanicsAtTheEnd, numbers.subscribe(Window::new(1)));
            pipeline
                .stage("counts")
                .consume(counts, numbers.subscribe(Window::new(1)));
            let error = pipeline.run().await.unwrap_err();
            assert!(
                matches!(&error, PipelineError::Panicked { stage, message, .. } if stage == "panics" && message == "on purpose"),
                "{error:?}"
            );
            assert_eq!(seen.load(SeqCst), 10);
        };
        runtime.block_on(running);
    }
}

/// Panics when it is dropped, other than by a panic.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(thread::panicking(), "worse");
    }
}

/// Fails as it is to, and panics with a bomb when it is dropped.
struct Bombs {
    panics: bool,
}

impl Consumer<u64> for Bombs {
    type Error = &'static str;

    async fn consume(&mut self, _: &mut Batch<u64>) -> Result<(), Self::Error> {
        if self.panics {
            panic_any(Bomb);
        }
        Err("on purpose")
    }
}

impl Drop for Bombs {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic_any(Bomb);
        }
    }
}

#[test]
fn what_a_panic_carries_may_panic_as_it_is_dropped() {
    for (runtime, panics) in [one_thread, two_threads]
        .iter()
        .flat_map(|runtime| [(runtime(), true), (runtime(), false)])
    {
        let running = async {
            let mut pipeline = Pipeline::new();
            let numbers = pipeline.produce(from_iter(0_u64..10));
            let bombs = Bombs { panics };
            pipeline.consume(bombs, numbers.subscribe(Window::new(1)));
            timeout(LONG, tokio::spawn(pipeline.run())).await
        };
        let done = runtime.block_on(running).expect("it ends");
        let error = done.expect("it is caught").unwrap_err();
        assert!(matches!(error, PipelineError::Panicked { .. }), "{error:?}");
    }
}

#[test]
fn a_stage_is_polled_in_its_own_runtime_whoever_wakes_it() {
    // What wakes is in a runtime without timers; what is woken has one.
    let (sent, received) = tokio::sync::mpsc::channel::<u64>(1_000);
    let first = thread::spawn(move || {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut pipeline = Pipeline::new();
            let numbers = pipeline.produce(from_iter(0..1_000));
            let sends = for_each(move |event: u64| sent.try_send(event).unwrap());
            pipeline.consume(sends, numbers.subscribe(Window::new(1)));
            pipeline.run().await.unwrap();
        });
    });
    one_thread().block_on(async {
        let names = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&names);
        let comes = futures_util::stream::unfold(received, |mut received| async {
            let next = timeout(LONG, received.recv()).await.expect("it comes")?;
            Some((next, received))
        });
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(from_stream(comes));
        let notes = for_each(move |event: u64| {
            seen.lock().unwrap().push((event, thread::current().id()));
        });
        pipeline.consume(notes, numbers.subscribe(Window::new(1)));
        pipeline.run().await.unwrap();
        let seen = names.lock().unwrap();
        assert!(seen.iter().map(|(event, _)| *event).eq(0..1_000));
        assert!(
            seen.iter()
                .all(|(_, thread)| *thread == thread::current().id())
        );
    });
    first.join().unwrap();
}

#[test]
fn a_stage_may_run_a_pipeline() {
    let runtime = two_threads();
    let running = async {
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(from_iter(0_u64..50));
        let sums = pipeline.transform(
            map(|until: u64| {
                let sum = Arc::new(Mutex::new(0));
                let total = Arc::clone(&sum);
                let inner = async move {
                    let mut pipeline = Pipeline::new();
                    let numbers = pipeline.produce(from_iter(0..until));
                    let adds = for_each(move |event: u64| *total.lock().unwrap() += event);
                    pipeline.consume(adds, numbers.subscribe(Window::new(3)));
                    pipeline.run().await.unwrap();
                };
                // By turns in the runtime that is there, and in one of its own.
                block_in_place(|| match until % 2 {
                    0 => Handle::current().block_on(inner),
                    _ => one_thread().block_on(inner),
                });
                *sum.lock().unwrap()
            }),
            numbers.subscribe(Window::new(4)),
        );
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&seen);
        let notes = for_each(move |sum: u64| notes.lock().unwrap().push(sum));
        pipeline.consume(notes, sums.subscribe(Window::new(4)));
        timeout(LONG, tokio::spawn(pipeline.run()))
            .await
            .expect("it goes on")
            .unwrap()
            .unwrap();
        let expected = (0..50_u64).map(|until| (0..until).sum::<u64>());
        assert!(seen.lock().unwrap().iter().copied().eq(expected));
    };
    runtime.block_on(running);
}

/// No thread is kept from the other tasks that wait for it.
#[test]
fn of_a_thousand_consumers_each_is_given_its_part_and_other_tasks_have_their_turns() {
    const CONSUMERS: usize = 1_000;
    const EACH: usize = 100;
    for (runtime, is_alone) in [(one_thread(), true), (two_threads(), false)] {
        let counts: Arc<Vec<AtomicUsize>> = Arc::new((0..CONSUMERS).map(|_| 0.into()).collect());
        let turns = Arc::new(AtomicUsize::new(0));
        let taking = Arc::clone(&counts);
        let running = async move {
            let mut pipeline = Pipeline::new();
            let numbers = pipeline.produce(from_iter(0..(CONSUMERS * EACH) as u64));
            for consumer in 0..CONSUMERS {
                let counts = Arc::clone(&taking);
                let counts = for_each(move |_: u64| {
                    counts[consumer].fetch_add(1, SeqCst);
                });
                pipeline.consume(counts, numbers.subscribe(Window::new(10)));
            }
            pipeline.run().await
        };
        let turning = Arc::clone(&turns);
        runtime.block_on(async {
            let running = tokio::spawn(running);
            let turning = tokio::spawn(async move {
                loop {
                    turning.fetch_add(1, SeqCst);
                    yield_now().await;
                }
            });
            let done = timeout(LONG, running).await.expect("it goes on");
            done.unwrap().unwrap();
            turning.abort();
        });
        let given = || counts.iter().map(|count| count.load(SeqCst));
        assert_eq!(given().sum::<usize>(), CONSUMERS * EACH);
        assert!(given().all(|count| count > 0));
        if is_alone {
            // A batch that does not come out even leaves one behind who is given less, and is not among the
            // neediest until the others are not either. So they are not given the same. Of two threads one may
            // be stopped with all that it has, and others are given what they ask for.
            assert!(given().max() < Some(2 * EACH), "{:?}", given().max());
        }
        // A thousand stages have a thousand turns at most before others have theirs.
        let turns = turns.load(SeqCst);
        assert!(turns > EACH / 20, "{turns}");
    }
}

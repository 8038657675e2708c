//! A task for each event.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use proptest::prelude::*;
use stage_core::{
    Batch, Children, Consumer, Demand, Flow, Pipeline, PipelineError, Producer, Restart, Window,
    pool,
};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Tracked, run, tracked};

const SECOND: Duration = Duration::from_secs(1);

/// How many tasks run, at most ran, and what was done.
#[derive(Clone, Default)]
struct Gauge {
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    done: Arc<Mutex<Vec<u64>>>,
}

/// One task that is running.
struct Running(Gauge);

impl Gauge {
    fn enter(&self) -> Running {
        let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Running(self.clone())
    }

    fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    fn done(&self) -> Vec<u64> {
        let mut done = self.done.lock().unwrap().clone();
        done.sort_unstable();
        done
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A second of work for each event. Some fail so often.
fn works(
    gauge: &Gauge,
    fails: impl IntoIterator<Item = (u64, u32)>,
    panics: bool,
) -> impl Fn(u64) -> Work + Send + Sync + 'static {
    let gauge = gauge.clone();
    let fails = Arc::new(Mutex::new(BTreeMap::from_iter(fails)));
    move |event| {
        let (gauge, fails) = (gauge.clone(), Arc::clone(&fails));
        Box::pin(async move {
            let _running = gauge.enter();
            sleep(SECOND).await;
            let mut fails = fails.lock().unwrap();
            if let Some(left) = fails.get_mut(&event).filter(|left| **left > 0) {
                *left -= 1;
                drop(fails);
                assert!(!panics, "task {event}");
                return Err(io::Error::other(format!("task {event}")));
            }
            gauge.done.lock().unwrap().push(event);
            Ok(())
        })
    }
}

type Work = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

fn transient(most: usize) -> Children {
    Children::Transient(Restart::new(most, 60 * SECOND))
}

#[tokio::test(start_paused = true)]
async fn as_many_tasks_as_the_limit_run_at_once_and_all_are_waited_for() {
    let (source, book) = Tracked::up_to(25);
    let gauge = Gauge::default();
    let start = Instant::now();
    run(source, pool(5, transient(0), works(&gauge, [], false)), 8)
        .await
        .unwrap();
    assert_eq!(start.elapsed().as_secs(), 5, "five times five");
    assert_eq!((gauge.most(), gauge.running()), (5, 0));
    assert_eq!(gauge.done(), (0..25).collect::<Vec<_>>());
    assert_eq!(book.acked().len(), 25);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_acked_when_its_task_ends_though_nothing_else_comes() {
    let (mut batch, book) = tracked(3);
    let gauge = Gauge::default();
    let mut pool = pool(5, Children::Temporary, works(&gauge, [], false));
    pool.consume(&mut batch).await.unwrap();
    drop(batch);
    assert_eq!(book.open(), [0, 1, 2], "in the works is on its way");
    sleep(2 * SECOND).await;
    assert_eq!(book.acked(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_task_is_started_again_in_its_slot() {
    for panics in [false, true] {
        let (source, book) = Tracked::up_to(12);
        let gauge = Gauge::default();
        let work = works(&gauge, [(2, 3), (7, 2)], panics);
        run(source, pool(3, transient(5), work), 4).await.unwrap();
        assert_eq!(gauge.done(), (0..12).collect::<Vec<_>>());
        assert!(gauge.most() <= 3);
        assert_eq!(book.acked().len(), 12);
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_failures_end_the_pool_with_the_last_error() {
    let (source, book) = Tracked::up_to(1_000);
    let gauge = Gauge::default();
    let work = works(&gauge, [(4, 100)], false);
    let error = run(source, pool(2, transient(2), work), 4)
        .await
        .unwrap_err();
    let PipelineError::Failed { source, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(source.to_string(), "task 4");
    tokio::task::yield_now().await;
    assert_eq!(gauge.running(), 0);
    assert_eq!(book.acked(), gauge.done());
    assert!(book.nacked().contains(&4));
    assert_eq!(book.open(), []);
}

/// One failure is allowed within ten seconds.
#[tokio::test(start_paused = true)]
async fn failures_that_are_further_apart_than_the_time_they_count_for_do_not_add_up() {
    for (fails, is_too_often) in [([0, 15], false), ([0, 5], true)] {
        let (source, book) = Tracked::up_to(30);
        let gauge = Gauge::default();
        // One after another, a second each.
        let work = works(&gauge, fails.map(|event| (event, 1)), false);
        let children = Children::Transient(Restart::new(1, 10 * SECOND));
        let result = run(source, pool(1, children, work), 4).await;
        assert_eq!(result.is_err(), is_too_often, "{fails:?}: {result:?}");
        assert_eq!(book.acked().len() == 30, !is_too_often);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_the_last_batch_is_noticed_at_the_end() {
    let (source, book) = Tracked::up_to(3);
    let gauge = Gauge::default();
    let work = works(&gauge, [(2, 100)], true);
    run(source, pool(3, transient(1), work), 4)
        .await
        .unwrap_err();
    assert_eq!((book.acked(), book.nacked()), (vec![0, 1], vec![2]));
}

#[tokio::test(start_paused = true)]
async fn a_failure_at_the_end_does_not_wait_for_the_other_tasks() {
    let (source, book) = Tracked::up_to(2);
    let work = |event| async move {
        match event {
            0 => Err(io::Error::other("on purpose")),
            _ => std::future::pending().await,
        }
    };
    let running = run(source, pool(3, transient(1), work), 4);
    timeout(SECOND, running).await.unwrap().unwrap_err();
    tokio::task::yield_now().await;
    assert_eq!(book.nacked(), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_temporary_child_that_fails_is_nacked_and_the_others_go_on() {
    let (source, book) = Tracked::up_to(20);
    let gauge = Gauge::default();
    let work = works(&gauge, [(3, 2), (11, 2)], true);
    run(source, pool(3, Children::Temporary, work), 4)
        .await
        .unwrap();
    assert_eq!(book.nacked(), [3, 11]);
    assert_eq!(book.acked(), gauge.done());
    assert_eq!(book.acked().len(), 18);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_pool_stops_its_tasks_and_nacks() {
    let (source, book) = Tracked::up_to(100);
    let gauge = Gauge::default();
    let work = works(&gauge, [], false);
    let running = run(source, pool(4, transient(0), work), 6);
    assert!(timeout(SECOND * 3 / 2, running).await.is_err());
    tokio::task::yield_now().await;
    assert_eq!(gauge.running(), 0);
    assert_eq!(book.acked(), [0, 1, 2, 3]);
    assert_eq!(book.open(), []);
}

#[tokio::test(start_paused = true)]
async fn a_panic_outside_the_work_is_noticed_too() {
    struct Brittle;
    impl Clone for Brittle {
        fn clone(&self) -> Self {
            panic!("brittle")
        }
    }
    let work = |_| async { Ok::<(), io::Error>(()) };
    let mut pool = pool(1, Children::Temporary, work);
    let mut batch: Batch<Brittle> = vec![Brittle].into();
    pool.consume(&mut batch).await.unwrap();
    let error = pool.finish().await.unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn handed_out_is_acked_plus_nacked(
        fails in prop::collection::btree_map(0u64..30, 2u32..5, 0..4),
        limit in 1usize..8,
        window in 1usize..12,
        most in prop::option::of(0usize..10),
        panics in any::<bool>(),
    ) {
        let (source, book) = Tracked::up_to(30);
        let gauge = Gauge::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let result = runtime.block_on(async {
            let children = most.map_or(Children::Temporary, transient);
            let result = run(source, pool(limit, children, works(&gauge, fails, panics)), window).await;
            tokio::task::yield_now().await;
            result
        });
        prop_assert!(gauge.most() <= limit);
        prop_assert_eq!(gauge.running(), 0);
        prop_assert!(book.open().is_empty());
        prop_assert_eq!(book.acked(), gauge.done());
        prop_assert!(most.is_none() || result.is_ok() == book.nacked().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn tasks_that_run_and_events_on_their_way_are_never_more_than_the_window() {
    for (limit, window) in [(100, 6), (2, 6), (6, 6), (1, 1)] {
        let (source, book) = Tracked::up_to(40);
        let gauge = Gauge::default();
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(source);
        let work = works(&gauge, [(3, 1), (9, 2)], false);
        pipeline.stage("pool").consume(
            pool(limit, transient(5), work),
            numbers.subscribe(Window::new(window)),
        );
        let handle = pipeline.handle();
        let running = tokio::spawn(pipeline.run());
        while !running.is_finished() {
            sleep(SECOND / 10).await;
            assert!(gauge.running() <= limit.min(window));
            assert!(book.open().len() <= window, "{:?}", book.open());
            if let Some(status) = handle.status().stage("pool")
                && let [subscription] = &status.subscriptions[..]
            {
                assert!(subscription.in_hand >= gauge.running());
                assert!(subscription.in_flight() + subscription.demand <= window);
            }
        }
        running.await.unwrap().unwrap();
        assert_eq!(gauge.most(), limit.min(window));
        assert_eq!(book.acked().len(), 40);
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_makes_room_though_the_others_go_on() {
    let (source, book) = Tracked::up_to(30);
    let work = |event| async move {
        // One of them takes its time.
        sleep(if event == 0 { 3600 * SECOND } else { SECOND }).await;
        Ok::<(), io::Error>(())
    };
    let running = run(source, pool(10, transient(0), work), 4);
    assert!(timeout(60 * SECOND, running).await.is_err());
    assert_eq!(book.acked().len(), 29);
}

#[tokio::test(start_paused = true)]
async fn a_failed_task_is_noticed_while_nothing_comes() {
    struct Slowly(Tracked);
    impl Producer for Slowly {
        type Event = u64;
        type Error = std::convert::Infallible;
        async fn produce(
            &mut self,
            _: Demand,
            batch: &mut Batch<u64>,
        ) -> Result<Flow, Self::Error> {
            let flow = self.0.produce(Demand::MIN, batch).await;
            sleep(3600 * SECOND).await;
            flow
        }
    }
    let (source, book) = Tracked::up_to(10);
    let gauge = Gauge::default();
    let work = works(&gauge, [(1, 1)], false);
    let start = Instant::now();
    let error = run(Slowly(source), pool(5, transient(0), work), 8)
        .await
        .unwrap_err();
    assert!(matches!(error, PipelineError::Failed { .. }));
    assert_eq!(start.elapsed().as_secs(), 2 * 3600 + 1);
    tokio::task::yield_now().await;
    assert_eq!(book.open(), []);
}

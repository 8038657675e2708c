use std::{
    convert::Infallible,
    future::pending,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use super::*;
use crate::{Batch, Demand, Flow, Pipeline, Producer, Window, for_each, from_iter};

struct Never;

impl Producer for Never {
    type Event = u32;
    type Error = Infallible;

    async fn produce(&mut self, _: Demand, _: &mut Batch<u32>) -> Result<Flow, Infallible> {
        pending().await
    }
}

/// A stage that, once it is polled, takes so long.
pub(crate) fn lasting(long: Duration) -> Box<Body> {
    let seat = Seat::new(&"lasting".into());
    seat.sit_down(Box::pin(async move {
        let start = now();
        while start.elapsed() <= long {}
        pending().await
    }));
    seat.take().expect("it is there")
}

fn with_other_threads(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().build();
    runtime.expect("there can be threads").block_on(test);
}

/// Where there are other threads, in a task that is no stage's own.
fn receive(host: &Host, stage: Option<Box<Body>>, waiting: &mut VecDeque<Box<Body>>) {
    host.receive(Runtime::current(), ENOUGH_MEASURED, None, stage, waiting);
}

#[test]
fn of_many_whose_turns_take_long_most_are_left_to_other_threads() {
    with_other_threads(async {
        let host = Host::new();
        let mut waiting: VecDeque<_> = (0..2 * STAY).map(|_| lasting(LONG_ENOUGH)).collect();
        let seats: Vec<_> = waiting.iter().map(|it| Arc::clone(it.seat())).collect();
        receive(&host, None, &mut waiting);
        // The first has had its turn, and is back.
        let next: Vec<_> = waiting.iter().map(|it| it.seat().number()).collect();
        let expected = seats[1..=STAY].iter().map(|seat| seat.number());
        assert_eq!(next, expected.collect::<Vec<_>>());
        let at_home = seats.iter().filter(|seat| seat.take().is_some());
        assert_eq!(at_home.count(), STAY);
    });
}

#[test]
fn after_so_many_events_others_have_their_turn() {
    const EVENTS: usize = 800_000;
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let taken = Arc::new(AtomicUsize::new(0));
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(from_iter(0..EVENTS));
        let count = Arc::clone(&taken);
        let count = for_each(move |_| {
            count.fetch_add(1, Relaxed);
        });
        pipeline.consume(count, numbers.subscribe(Window::new(100)));
        let running = tokio::spawn(pipeline.run());
        let (mut most, mut before) = (0, 0);
        while !running.is_finished() {
            let now = taken.load(Relaxed);
            most = most.max(now - before);
            before = now;
            yield_now().await;
        }
        assert_eq!(taken.load(Relaxed), EVENTS);
        // They are counted where they are made, too, and a turn counts.
        let enough = PAST as usize * 8_000 / 2;
        assert!((enough / 4..=enough).contains(&most), "{most} at once");
    });
}

#[test]
fn where_it_is_measured_they_go_on_until_it_has_taken_long() {
    let host = Host::new();
    assert!(host.is_early());
    assert_eq!(host.credit.get(), ENOUGH_MEASURED);
    host.began.set(now().checked_sub(2 * LONG_ENOUGH));
    assert!(!host.is_early());
    assert_eq!(host.credit.get(), 0);
    host.began.set(None);
    assert!(
        !host.is_early(),
        "it stays late until the task is polled again"
    );
}

#[test]
fn nothing_of_a_pipeline_that_is_dropped_stays_in_its_thread() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.build().unwrap();
    runtime.block_on(async {
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(Never);
        let nothing = for_each(|_: u32| {});
        pipeline.consume(nothing, numbers.subscribe(Window::new(10)));
        let running = tokio::spawn(pipeline.run());
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(!running.is_finished());
    });
    drop(runtime);
    HOST.with(|host| {
        assert!(host.recent.iter().all(|recent| recent.take().is_none()));
    });
}

/// Whether this is a process in which only that test runs. If not, it is run in one: who looks after
/// guests does so for all threads once somebody has called.
fn is_alone(test: &str) -> bool {
    const ALONE: &str = "STAGE_CORE_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let itself = std::env::current_exe().expect("it is known");
    let mut alone = std::process::Command::new(itself);
    alone.args(["--exact", &format!("host::tests::{test}")]);
    let output = alone.env(ALONE, "1").output().expect("it runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("running 1 test"), "{printed}");
    assert!(output.status.success(), "{printed}");
    false
}

/// A stage whose first turn wakes another, and does not end before that is where its own task would
/// find it.
fn blocking_for(other: &Arc<Seat>, wakes: bool) -> Box<Body> {
    let (seat, other) = (Seat::new(&"blocking".into()), Arc::clone(other));
    seat.sit_down(Box::pin(async move {
        if wakes {
            std::task::Waker::from(Arc::clone(&other)).wake();
        }
        let tries = 0..6_000;
        let mut back = tries.filter_map(|_| {
            #[expect(clippy::disallowed_methods, reason = "to have its thread in use")]
            std::thread::sleep(Duration::from_millis(10));
            other.take()
        });
        assert!(back.next().is_some(), "it still waits for this turn to end");
        pending().await
    }));
    let mut body = seat.take().expect("it is there");
    body.stop(Duration::ZERO);
    body
}

#[test]
fn who_was_put_off_does_not_wait_for_a_turn_that_does_not_end() {
    if !is_alone("who_was_put_off_does_not_wait_for_a_turn_that_does_not_end") {
        return;
    }
    with_other_threads(async {
        let other = lasting(Duration::ZERO);
        let blocking = blocking_for(other.seat(), false);
        let seat = Arc::clone(blocking.seat());
        let mut waiting = VecDeque::from([blocking, other]);
        receive(&Host::new(), None, &mut waiting);
        assert!(seat.outcome().is_none(), "it has not failed");
    });
}

#[test]
fn who_was_woken_does_not_wait_for_a_turn_that_does_not_end() {
    if !is_alone("who_was_woken_does_not_wait_for_a_turn_that_does_not_end") {
        return;
    }
    with_other_threads(async {
        let mut other = lasting(Duration::ZERO);
        other.seat().come_home(std::task::Waker::noop());
        assert!(other.poll().is_pending());
        other.stop(Duration::ZERO);
        let woken = Arc::clone(other.seat());
        assert!(woken.put_back(other).is_none());
        let blocking = blocking_for(&woken, true);
        let seat = Arc::clone(blocking.seat());
        let mut waiting = VecDeque::new();
        HOST.with(|host| receive(host, Some(blocking), &mut waiting));
        assert!(seat.outcome().is_none(), "it has not failed");
        seat.take().expect("it is back").stop(Duration::ZERO);
        assert!(seat.is_slow(), "it is not trusted again");
    });
}

#[test]
fn who_comes_after_a_panic_is_not_blamed_for_it() {
    if !is_alone("who_comes_after_a_panic_is_not_blamed_for_it") {
        return;
    }
    with_other_threads(async {
        let (other, panics) = (lasting(Duration::ZERO), Seat::new(&"panics".into()));
        panics.sit_down(Box::pin(async {
            #[expect(clippy::disallowed_methods, reason = "to have its thread in use")]
            std::thread::sleep(Duration::from_millis(400));
            panic!("on purpose");
        }));
        let body = panics.take().expect("it is there");
        let host = Host::new();
        let mut waiting = VecDeque::from([body, other]);
        receive(&host, None, &mut waiting);
        assert!(matches!(panics.outcome(), Some(Outcome::Panicked(_))));
        let next = lasting(Duration::ZERO);
        let seat = Arc::clone(next.seat());
        receive(&host, Some(next), &mut VecDeque::new());
        seat.take().expect("it is back").stop(Duration::ZERO);
        assert!(!seat.is_slow());
    });
}

/// A stage that is trusted, at home.
fn quick() -> Arc<Seat> {
    let mut body = lasting(Duration::ZERO);
    let seat = Arc::clone(body.seat());
    seat.come_home(std::task::Waker::noop());
    body.stop(Duration::ZERO);
    assert!(seat.put_back(body).is_some(), "it has not begun");
    let body = seat.take();
    assert!(body.is_none(), "it was to be polled");
    seat
}

#[test]
fn a_stage_with_long_turns_takes_no_guests() {
    with_other_threads(async {
        let host = Host::new();
        host.open.set(Some(Runtime::current()));
        assert!(host.invite(&quick()));
        host.is_slow.set(true);
        assert!(!host.invite(&quick()));
    });
}

#[test]
fn a_task_whose_budget_is_used_up_puts_its_guests_off() {
    with_other_threads(async {
        std::future::poll_fn(|cx| {
            while let Poll::Ready(step) = tokio::task::coop::poll_proceed(cx) {
                step.made_progress();
            }
            let guest = lasting(Duration::ZERO);
            let seat = Arc::clone(guest.seat());
            let mut waiting = VecDeque::from([guest]);
            receive(&Host::new(), None, &mut waiting);
            assert_eq!(waiting.len(), 1);
            assert!(seat.take().is_none(), "it was not polled");
            Poll::Ready(())
        })
        .await;
    });
}

#[test]
fn who_waited_in_a_task_that_runs_within_a_turn_goes_home() {
    with_other_threads(async {
        let (inner, guest) = (quick(), lasting(Duration::ZERO));
        let at_home = Arc::clone(guest.seat());
        let outer = Seat::new(&"outer".into());
        let mut waiting = VecDeque::from([guest]);
        outer.sit_down(Box::pin(std::future::poll_fn(move |cx| {
            let home = inner.home().expect("it has one");
            super::receive(home, None, None, &mut waiting, cx);
            assert!(waiting.is_empty());
            Poll::Pending
        })));
        HOST.with(|host| receive(host, outer.take(), &mut VecDeque::new()));
        assert!(outer.outcome().is_none(), "it has not failed");
        assert!(at_home.take().is_some());
    });
}

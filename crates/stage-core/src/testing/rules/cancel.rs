//! C: cancelling.

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::runtime::Builder;

use crate::{
    AskError, BoxProducer, Consumer, End, Mode, Pipeline, PipelineError, Window,
    protocol::{Down, Reason},
    testing::{
        Book, Broken, Controls, Probe,
        bench::{
            Bench, Checked, Line, acked_is_made, elsewhere, ensure, hour, must, settle, settled,
        },
        probe::{Signal, Trouble},
    },
};

pub(crate) async fn c1(bench: Bench) -> Checked {
    let threads = || {
        Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
    };
    elsewhere(threads, async move {
        let line = bench.by_hand(bench.events());
        line.probe.allow(u64::MAX);
        let hammers: Vec<_> = (0..4)
            .map(|_| (Arc::clone(&line.controls), bench.clone()))
            .map(|(controls, bench)| std::thread::spawn(move || hammer(&*controls, &bench)))
            .collect();
        for hammer in hammers {
            let each = hammer
                .join()
                .map_err(|_| Broken::Failed("a call panicked".into()))?;
            ensure!(each < Duration::from_micros(500), "a call takes {each:?}");
        }
        line.controls.cancel();
        let asked = line.controls.ask(1);
        ensure!(
            asked == Err(AskError::Closed),
            "after cancels, asking gave {asked:?}"
        );
        must(Duration::from_secs(20), "everything settled", || {
            line.book.open() == 0
        })
        .await?;
        settled(&line.book)
    })
}

/// Asks and cancels, and says how long a call takes.
fn hammer(controls: &dyn Controls, bench: &Bench) -> Duration {
    const CALLS: u32 = 2_000;
    #[allow(clippy::disallowed_methods)] // the real clock is meant
    let begun = Instant::now();
    for call in 0..CALLS {
        if call < CALLS / 2 || bench.below(2) == 0 {
            // It may be closed.
            let _ = controls.ask(1 + bench.below(3) as usize);
        } else {
            controls.cancel();
        }
    }
    begun.elapsed() / CALLS
}

pub(crate) async fn c2(bench: Bench) -> Checked {
    let events = bench.events();
    for window in [None, Some(Window::new(5))] {
        let (book, probe) = (Book::new(), Probe::new());
        let source = bench.source(&book, events);
        let line = bench.line(book, source, events, window, &probe, true);
        cancel_at(&line, 1);
        let due = window.map_or(15, Window::max);
        if window.is_none() {
            probe.allow(15);
            ensure!(line.controls.ask(15).is_ok(), "an ask was refused");
        }
        line.must_arrive(line.outputs.min(1)).await?;
        settle().await;
        let arrived = probe.arrived();
        ensure!(
            arrived <= due,
            "after a cancel {arrived} came, where {due} were due"
        );
        let asked = line.controls.ask(1);
        ensure!(
            asked == Err(AskError::Closed),
            "after a cancel, asking gave {asked:?}"
        );
        hour().await;
        ensure!(
            probe.arrived() == arrived,
            "after a cancel there was no silence"
        );
    }
    Ok(())
}

/// Has the consumer cancel when so many events have come.
fn cancel_at(line: &Line, at: u64) {
    let (controls, seen) = (Arc::clone(&line.controls), AtomicU64::new(0));
    line.probe.on_events(move |events| {
        let events = events.len() as u64;
        if seen.fetch_add(events, Ordering::SeqCst) + events >= at {
            controls.cancel();
        }
    });
}

pub(crate) async fn c3(bench: Bench) -> Checked {
    let events = bench.events();
    for at in 1..=events.min(16) {
        for aborts in [false, true] {
            let probe = Probe::new().slow(Duration::from_millis(1));
            let mut line = bench.by_window(events, Window::new(5), &probe);
            if aborts {
                if bench
                    .must("events", || probe.arrived() as u64 >= at)
                    .await
                    .is_ok()
                {
                    line.run.abort().await;
                }
            } else {
                cancel_at(&line, at);
                line.run.over().await?;
            }
            settle().await;
            settled(&line.book)?;
            let (acked, taken) = (line.book.acked().len(), probe.taken().len());
            acked_is_made(&bench, &line.book, &probe)?;
            if bench.parts.settles_each() {
                ensure!(
                    probe.has_done(acked),
                    "in flight: {acked} were acked and {taken} taken in"
                );
            }
            ensure!(probe.taken().is_sorted(), "out of order");
        }
    }
    Ok(())
}

pub(crate) async fn c4(bench: Bench) -> Checked {
    let mut line = bench.by_window(bench.events(), Window::new(4), &Probe::new().hang());
    bench
        .must("the first events", || line.probe.arrived() > 0)
        .await?;
    settle().await;
    ensure!(!line.run.is_over(), "it ended by itself");
    line.run.abort().await;
    let mut line = bench.by_hand(bench.events());
    ensure!(line.controls.ask(1).is_ok(), "an ask was refused");
    line.probe.allow(1);
    settle().await;
    drop(std::mem::replace(&mut line.controls, Arc::new(Nobody)));
    settle().await;
    let ends = line.probe.ends();
    ensure!(
        ends == [End::Cancelled(Reason::Dropped)],
        "to drop the handle did not cancel: {ends:?}"
    );
    line.run.ended().await.map(drop)
}

/// Controls nothing.
struct Nobody;

impl Controls for Nobody {
    fn ask(&self, _: usize) -> Result<(), AskError> {
        Err(AskError::Closed)
    }

    fn cancel(&self) {}

    fn cancel_because(&self, _: &str) {}

    fn is_closed(&self) -> bool {
        true
    }
}

/// A consumer that has something to be dropped with it.
struct Holding<C> {
    consumer: C,
    _token: Arc<()>,
}

impl<C: Consumer<u64>> Consumer<u64> for Holding<C> {
    type Error = C::Error;

    async fn consume(&mut self, batch: &mut crate::Batch<u64>) -> Result<(), C::Error> {
        self.consumer.consume(batch).await
    }

    async fn while_idle(&mut self) -> Result<(), C::Error> {
        self.consumer.while_idle().await
    }

    fn subscribed(&mut self, subscription: &crate::SubscriptionInfo) {
        self.consumer.subscribed(subscription);
    }

    fn unsubscribed(&mut self, subscription: &crate::SubscriptionInfo, end: &End) {
        self.consumer.unsubscribed(subscription, end);
    }

    async fn finish(&mut self) -> Result<(), C::Error> {
        self.consumer.finish().await
    }
}

pub(crate) async fn c5(bench: Bench) -> Checked {
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = metrics.num_alive_tasks();
    let (book, probe, events) = (Book::new(), Probe::new(), bench.events());
    let (token, mut pipeline) = (Arc::new(()), Pipeline::new());
    let gone = Arc::downgrade(&token);
    let out = pipeline
        .stage("source")
        .produce(bench.source(&book, events));
    let out = bench.relayed(&mut pipeline, "relay", &out);
    let (subscription, handle) = out.subscribe_manually();
    let controls = bench.controls(handle);
    let holding = Holding {
        consumer: bench.sink(&probe),
        _token: token,
    };
    pipeline.stage("sink").consume(holding, subscription);
    let mut run = bench.start(pipeline);
    ensure!(controls.ask(3).is_ok(), "an ask was refused");
    settle().await;
    controls.cancel();
    bench
        .must("the consumer dropped", || gone.strong_count() == 0)
        .await?;
    run.over().await?;
    settle().await;
    let after = metrics.num_alive_tasks();
    ensure!(after <= before, "{} tasks remain", after - before);
    let parked = metrics.worker_park_count(0);
    hour().await;
    // The clock itself stops a few times on its way.
    let parked = metrics.worker_park_count(0) - parked;
    ensure!(
        parked <= 20,
        "a timer remains: it woke {parked} times in an hour"
    );
    let weak = Arc::downgrade(&book);
    drop(book);
    ensure!(
        weak.strong_count() == 0,
        "references to the producer's side remain"
    );
    Ok(())
}

pub(crate) async fn c6(bench: Bench) -> Checked {
    for length in 0..5 {
        for mode in [
            Mode::UntilAllEnd,
            Mode::Permanent,
            Mode::Transient,
            Mode::Temporary,
        ] {
            chain(&bench, length, mode).await?;
        }
    }
    Ok(())
}

/// Cancels at the end of a chain with so many transforms.
async fn chain(bench: &Bench, length: usize, mode: Mode) -> Checked {
    let (book, probe, events) = (Book::new(), Probe::new(), bench.events());
    let source = bench.spoiled(&book, events);
    let log = source.log.clone();
    let source = bench.parts.around(BoxProducer::new(source));
    let mut pipeline = Pipeline::new();
    let mut out = pipeline.stage("source").produce(source);
    for relay in 0..length {
        out = bench.relayed(&mut pipeline, &format!("relay-{relay}"), &out);
    }
    let (subscription, handle) = out.mode_manually(mode);
    let controls = bench.controls(handle);
    pipeline
        .stage("sink")
        .consume(bench.sink(&probe), subscription);
    drop(out);
    let mut run = bench.start(pipeline);
    ensure!(controls.ask(1).is_ok(), "an ask was refused");
    settle().await;
    controls.cancel();
    let what = format!("a cancel that travels up {length} transforms");
    bench
        .must(&what, || log.get().contains(&Signal::Finished))
        .await?;
    let handed = book.handed();
    hour().await;
    ensure!(book.handed() == handed, "events are made for nobody");
    let stays = matches!(mode, Mode::Transient | Mode::Temporary);
    ensure!(
        run.is_over() != stays,
        "{mode:?}: the consumer {}",
        if stays { "left" } else { "stays" }
    );
    run.stop();
    let report = run.ended().await?;
    ensure!(report.result.is_ok(), "a cancel became {:?}", report.result);
    settled(&book)
}

impl crate::Outlet<u64> {
    fn mode_manually(&self, mode: Mode) -> (crate::Subscription<u64>, crate::SubscriptionHandle) {
        let (subscription, handle) = self.subscribe_manually();
        (subscription.mode(mode), handle)
    }
}

pub(crate) async fn c7(bench: Bench) -> Checked {
    // Before there is anything to cancel.
    let (book, probe, events) = (Book::new(), Probe::new(), bench.events());
    let mut pipeline = Pipeline::new();
    let out = pipeline
        .stage("source")
        .produce(bench.source(&book, events));
    let (subscription, handle) = out.subscribe(Window::new(4)).with_handle();
    let controls = bench.controls(handle);
    controls.cancel();
    pipeline
        .stage("sink")
        .consume(bench.sink(&probe), subscription);
    drop(out);
    let mut run = bench.start(pipeline);
    run.over().await?;
    ensure!(
        probe.arrived() == 0,
        "a cancel before the start was forgotten"
    );
    ensure!(
        controls.is_closed(),
        "a cancel before the start left it open"
    );
    for round in 0..40 {
        let bench = bench.clone();
        let threads = || {
            Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
        };
        elsewhere(threads, async move { race(&bench, round).await })?;
    }
    Ok(())
}

/// Two cancel, while events come, end, or are asked for.
async fn race(bench: &Bench, round: u64) -> Checked {
    let mut line = bench.by_hand(bench.events());
    line.probe.allow(u64::MAX);
    let first = if round.is_multiple_of(2) {
        usize::MAX
    } else {
        3
    };
    ensure!(line.controls.ask(first).is_ok(), "an ask was refused");
    let barrier = Arc::new(Barrier::new(3));
    let threads: Vec<_> = (0..2)
        .map(|_| (Arc::clone(&line.controls), Arc::clone(&barrier)))
        .map(|(controls, barrier)| {
            std::thread::spawn(move || {
                barrier.wait();
                controls.cancel();
            })
        })
        .collect();
    barrier.wait();
    // It may be closed by now.
    let _ = line.controls.ask(2);
    for thread in threads {
        let joined = thread.join();
        ensure!(joined.is_ok(), "a cancel panicked");
    }
    ensure!(line.controls.is_closed(), "a race left it open");
    line.run.over().await?;
    must(Duration::from_secs(10), "everything settled", || {
        line.book.open() == 0
    })
    .await?;
    settled(&line.book)?;
    let ends = line.probe.ends();
    ensure!(ends.len() == 1, "after a race, the ends were {ends:?}");
    Ok(())
}

pub(crate) async fn c8(bench: Bench) -> Checked {
    // With one alone, it has ended by itself before it is cancelled.
    bench.at_least(2)?;
    for cause in [
        "completion",
        "cancel",
        "cancel for a reason",
        "failure",
        "panic",
        "abort",
    ] {
        both_ends(&bench, cause).await?;
    }
    Ok(())
}

/// What both sides are told when a subscription ends for this cause.
async fn both_ends(bench: &Bench, cause: &str) -> Checked {
    let (book, probe, events) = (Book::new(), Probe::new(), bench.events());
    let mut source = bench.spoiled(&book, events);
    let log = source.log.clone();
    source.trouble = match cause {
        "failure" => Some((events / 2, Trouble::Fails)),
        "panic" => Some((events / 2, Trouble::Panics)),
        _ => None,
    };
    let source = bench.parts.around(BoxProducer::new(source));
    let mut line = bench.line(book, source, events, None, &probe, false);
    let all = matches!(cause, "completion" | "failure" | "panic");
    ensure!(
        line.controls.ask(if all { usize::MAX } else { 1 }).is_ok(),
        "an ask was refused"
    );
    probe.allow(u64::MAX);
    settle().await;
    match cause {
        "cancel" => line.controls.cancel(),
        "cancel for a reason" => line.controls.cancel_because("enough"),
        "abort" => {
            line.run.abort().await;
            return settled(&line.book);
        }
        _ => {}
    }
    let result = line.run.ended().await?.result;
    let ends = probe.ends();
    let is_right = |end: &End| match cause {
        "completion" => *end == End::Completed,
        "cancel" => *end == End::Cancelled(Reason::Shutdown),
        "cancel for a reason" => matches!(end, End::Cancelled(Reason::Other(_))),
        "failure" => matches!(end, End::Down(Down::Failed(_))),
        _ => matches!(end, End::Down(Down::Panicked(_))),
    };
    ensure!(
        matches!(&ends[..], [end] if is_right(end)),
        "by {cause}, the consumer was told {ends:?}"
    );
    let above = log.get();
    let above: Vec<_> = above
        .iter()
        .filter(|signal| matches!(signal, Signal::Ended(_)))
        .collect();
    let went_down = matches!(cause, "failure" | "panic");
    // One that has gone down itself is told nothing.
    ensure!(
        above.len() == usize::from(!went_down),
        "by {cause}, the producer was told {above:?}"
    );
    ensure!(
        went_down
            == matches!(
                result,
                Err(PipelineError::Failed { .. } | PipelineError::Panicked { .. })
            ),
        "by {cause}, the result is {result:?}"
    );
    settled(&line.book)
}

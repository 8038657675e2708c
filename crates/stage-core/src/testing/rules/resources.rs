//! R: stacks, tasks, time and memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{runtime::Builder, task::yield_now};

use crate::{
    Batch, BoxProducer, Demand, Flow, Pipeline, Producer, Window,
    crew::Task,
    testing::{
        Book, Broken, Dividing, Probe,
        bench::{Bench, Checked, acked_is_made, elsewhere, ensure, hour, settle, settled},
        watch::{ENOUGH_CALLS, Watch, keep_their_thread},
    },
};

pub(crate) async fn r1(bench: Bench) -> Checked {
    let events = bench.parts.most().min(1_000_000);
    let (book, probe) = (Book::new(), Probe::new());
    let source = bench.source(&book, events);
    let line = bench.line(
        book,
        source,
        events,
        None,
        &probe,
        bench.parts.most() < 1_000,
    );
    probe.allow(u64::MAX);
    let controls = Arc::clone(&line.controls);
    let (top, deepest) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let deep = Arc::clone(&deepest);
    probe.on_events(move |_| {
        let here = 0_u8;
        let here = std::ptr::from_ref(&here) as usize;
        let top = match top.compare_exchange(0, here, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => here,
            Err(top) => top,
        };
        deep.fetch_max(top.abs_diff(here), Ordering::SeqCst);
        // Too deep already: let it be seen, and not overflow.
        if deep.load(Ordering::SeqCst) < MOST_STACK {
            let _ = controls.ask(1);
        }
    });
    ensure!(line.controls.ask(1).is_ok(), "an ask was refused");
    let mut line = line;
    let mut arrived = 0;
    loop {
        settle().await;
        let deepest = deepest.load(Ordering::SeqCst);
        ensure!(
            deepest < MOST_STACK,
            "stack grows: {deepest} bytes after {} asks",
            probe.arrived()
        );
        if line.run.is_over() || probe.arrived() == arrived {
            break;
        }
        arrived = probe.arrived();
    }
    line.complete().await?;
    long_chain(&bench).await
}

/// A stack that has grown by so much grows on.
const MOST_STACK: usize = 24 * 1024;

async fn long_chain(bench: &Bench) -> Checked {
    let (book, probe, events) = (Book::new(), Probe::new(), bench.events());
    let mut pipeline = Pipeline::new();
    let mut out = pipeline
        .stage("source")
        .produce(bench.source(&book, events));
    // Of ours, for a transform that makes none or many would not let this many through.
    for relay in 0..1_000 {
        let transform = crate::BoxTransform::new(super::super::numbered::Relay);
        out = pipeline
            .stage(format!("relay-{relay}"))
            .transform(transform, out.subscribe(Window::new(8)));
    }
    pipeline
        .stage("sink")
        .consume(bench.sink(&probe), out.subscribe(Window::new(8)));
    let report = bench.start(pipeline).ended().await?;
    ensure!(
        report.result.is_ok(),
        "a long chain failed: {:?}",
        report.result
    );
    let taken = probe.taken().len() as u64;
    ensure!(
        taken == events,
        "of {events} events {taken} came through a long chain"
    );
    settled(&book)
}

/// Never has an event, and never ends.
struct Silent;

impl Producer for Silent {
    type Event = u64;
    type Error = crate::BoxError;

    async fn produce(&mut self, _: Demand, _: &mut Batch<u64>) -> Result<Flow, crate::BoxError> {
        std::future::pending().await
    }
}

pub(crate) async fn r2(bench: Bench) -> Checked {
    waits_for_events(&bench).await?;
    // Without demand.
    let (book, probe, events) = (Book::new(), Probe::new(), bench.events());
    let source = bench.source(&book, events);
    let line = bench.line(book, source, events, None, &probe, true);
    // Those in between have some at first.
    hour().await;
    idle(&line.run.handle, "without demand").await?;
    // Without events.
    let (book, probe) = (Book::new(), Probe::new());
    let silent = BoxProducer::new(Silent);
    let line = bench.line(book, silent, 0, Some(Window::new(4)), &probe, true);
    idle(&line.run.handle, "without events").await
}

/// A producer that has nothing waits until it has. One that says that there is more, and gives
/// nothing, is called again at once.
async fn waits_for_events(bench: &Bench) -> Checked {
    let events = bench.events();
    for most in [1, 2, 100] {
        let mut source = bench.source(&Book::new(), events);
        loop {
            let mut batch = Batch::new();
            let wanted = 1 + bench.below(most) as usize;
            let demand = Demand::new(wanted).unwrap_or(Demand::MIN);
            let call = source.produce(demand, &mut batch);
            let made = tokio::time::timeout(bench.parts.patience(), call).await;
            // What does not come, or fails, is another rule's business.
            let Ok(Ok(Flow::More)) = made else { break };
            ensure!(
                !batch.is_empty(),
                "polled without events: asked for {wanted}, it gives none and says `More`, so that it \
                 is called again at once; it is to wait for an event"
            );
        }
    }
    Ok(())
}

async fn idle(handle: &crate::PipelineHandle, how: &str) -> Checked {
    settle_by_yielding().await;
    let before = handle.polls();
    // One that wakes itself keeps the clock from going on.
    settle_by_yielding().await;
    let busy = handle.polls() - before;
    ensure!(
        busy == 0,
        "{how}, stages were polled {busy} times in no time"
    );
    hour().await;
    let polls = handle.polls() - before;
    ensure!(
        polls == 0,
        "{how}, stages were polled {polls} times in an hour"
    );
    Ok(())
}

async fn settle_by_yielding() {
    for _ in 0..500 {
        yield_now().await;
    }
}

pub(crate) async fn r3(bench: Bench) -> Checked {
    let (book, events) = (Book::new(), bench.at_least(16)?.max(bench.events()));
    let (stuck, other) = (Probe::new().hang(), Probe::new());
    let mut pipeline = Pipeline::new();
    let out = pipeline
        .stage("source")
        .dispatch(bench.dispatcher(Dividing::ByDemand))
        .produce(bench.source(&book, events));
    let (subscription, handle) = out.subscribe(Window::new(2)).with_handle();
    pipeline
        .stage("stuck")
        .consume(bench.sink(&stuck), subscription);
    pipeline
        .stage("other")
        .consume(bench.sink(&other), out.subscribe(Window::new(2)));
    let pipeline = pipeline.drain_within(Duration::from_millis(100));
    let mut run = bench.start(pipeline);
    let what = "events for the one that does not hang";
    bench
        .must(what, || other.taken().len() as u64 + 2 >= events)
        .await?;
    handle.cancel();
    ensure!(handle.is_closed(), "a cancel waits for who hangs");
    run.stop();
    let report = run.ended().await?;
    ensure!(report.timed_out, "it ended although one hangs");
    settled(&book)
}

/// So many events at once are a trial for others.
const MANY: u64 = 100_000;

/// Whether calls keep their thread.
async fn gives_its_thread_back(bench: &Bench) -> Checked {
    let Some(watch) = Watch::here() else {
        return Ok(());
    };
    watch.measure();
    for _ in 0..ENOUGH_CALLS {
        let mut line = bench.by_window(bench.events(), Window::new(1), &Probe::new());
        // Whether it comes to its end is another rule's business.
        let _ = line.run.over().await;
        if watch.measured().len() >= ENOUGH_CALLS {
            break;
        }
    }
    let kept = keep_their_thread(&watch.measured(), bench.parts.thread_time());
    kept.map_or(Ok(()), |how| Err(Broken::Failed(how)))
}

pub(crate) async fn r4(bench: Bench) -> Checked {
    gives_its_thread_back(&bench).await?;
    if bench.parts.most() < MANY {
        // Those few say nothing more.
        return Ok(());
    }
    let (events, book, probe) = (MANY, Book::new(), Probe::new());
    let over = Arc::new(AtomicBool::new(false));
    let canary = {
        let (book, over) = (Arc::clone(&book), Arc::clone(&over));
        tokio::spawn(async move {
            let (mut most, mut last) = (0, book.handed());
            while !over.load(Ordering::SeqCst) {
                yield_now().await;
                most = most.max(book.handed() - last);
                last = book.handed();
            }
            most
        })
    };
    let source = bench.source(&book, events);
    let mut line = bench.line(book, source, events, Some(Window::new(100)), &probe, true);
    let ended = line.run.over().await;
    over.store(true, Ordering::SeqCst);
    ended?;
    let most = canary.await.unwrap_or(usize::MAX);
    ensure!(
        most <= 40_000,
        "{most} events were made before another task could run"
    );
    Ok(())
}

/// Pipelines are dropped after each of so many polls.
const EVERYWHERE: usize = 600;

pub(crate) async fn r5(bench: Bench) -> Checked {
    produce_is_cancel_safe(&bench).await?;
    let mut polls = 0;
    loop {
        let is_done = dropped_after(&bench, polls).await?;
        if is_done {
            return Ok(());
        }
        polls += 1;
        // Where very much comes of each event, chance says where.
        if polls > EVERYWHERE {
            polls += bench.below((polls - EVERYWHERE) as u64 / 20 + 1) as usize;
        }
        ensure!(polls < 20_000, "it never ends");
    }
}

/// Polls the stages of a pipeline so often, by turns that chance gives them, and drops them all.
/// Whether they had ended by then.
async fn dropped_after(bench: &Bench, polls: usize) -> Checked<bool> {
    let (book, probe, events) = (Book::new(), Probe::new(), bench.events().min(12));
    let mut source = bench.spoiled(&book, events);
    source.yields = 1;
    let mut pipeline = Pipeline::new();
    let out = pipeline
        .stage("source")
        .dispatch(bench.dispatcher(Dividing::ByDemand))
        .produce(BoxProducer::new(source));
    let out = bench.relayed(&mut pipeline, "relay", &out);
    pipeline
        .stage("sink")
        .consume(bench.sink(&probe), out.subscribe(Window::new(3)));
    let mut tasks: Vec<Task> = Vec::new();
    for (seat, task) in pipeline.crew.take_waiting().0 {
        tasks.push(Box::pin(seat.watch(task)));
    }
    let mut idle = 0;
    let mut left = polls;
    while left > 0 && !tasks.is_empty() && idle < 1_000 {
        left -= 1;
        idle += 1;
        let turn = bench.below(tasks.len() as u64) as usize;
        let before = book.handed() + probe.count();
        let polled = tasks[turn]
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        if polled.is_ready() {
            drop(tasks.swap_remove(turn));
        }
        if book.handed() + probe.count() > before {
            idle = 0;
        }
    }
    // One that waits for the clock does not end here, and has been dropped often enough.
    let is_over = tasks.is_empty();
    let is_done = is_over || idle >= 1_000;
    drop(tasks);
    drop(pipeline);
    // Tasks of the stages' own are ended when it is their turn.
    settle().await;
    settled(&book)?;
    let nacked = book.nacked().len();
    ensure!(
        nacked == 0 || !is_over,
        "lost: {nacked} are nacked, and nothing was dropped"
    );
    acked_is_made(bench, &book, &probe)?;
    if bench.parts.settles_each() {
        let (acked, taken) = (book.acked().len(), probe.taken().len());
        ensure!(
            probe.has_done(acked),
            "lost: {taken} were taken in and {acked} acked"
        );
    }
    Ok(is_done)
}

/// Drops each call of `produce` once before it is through, and sees that nothing is missing.
async fn produce_is_cancel_safe(bench: &Bench) -> Checked {
    let events = bench.events();
    for polls in 1..6 {
        let book = Book::new();
        let mut source = bench.source(&book, events);
        let mut all = Vec::new();
        let mut calls = 0;
        loop {
            let mut batch = Batch::new();
            let drops = calls % 2 == 0;
            calls += 1;
            ensure!(
                calls < 100_000,
                "missing: after a dropped call, nothing comes"
            );
            let flow = if drops {
                let mut call = std::pin::pin!(source.produce(Demand::MIN, &mut batch));
                poll_times(call.as_mut(), polls).await
            } else {
                let call = source.produce(Demand::MIN, &mut batch);
                let made = tokio::time::timeout(bench.parts.patience(), call).await;
                let missing = |_| Broken::Failed("missing: an event after a dropped call".into());
                Some(made.map_err(missing)?)
            };
            all.extend(batch.drain());
            if let Some(flow) = flow {
                let flow = flow.map_err(|error| Broken::Failed(format!("it fails: {error}")))?;
                if flow == Flow::End {
                    break;
                }
            }
        }
        let expected: Vec<u64> = (0..events).collect();
        ensure!(
            all == expected,
            "lost: with calls dropped after {polls} polls came {all:?}"
        );
    }
    Ok(())
}

/// Polls so often, with time for whatever it waits for in between.
async fn poll_times<T>(
    mut call: std::pin::Pin<&mut impl Future<Output = T>>,
    polls: usize,
) -> Option<T> {
    for _ in 0..polls {
        let polled = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
        if let Poll::Ready(value) = polled {
            return Some(value);
        }
        yield_now().await;
    }
    None
}

pub(crate) async fn r6(bench: Bench) -> Checked {
    let metrics = tokio::runtime::Handle::current().metrics();
    for ends in ["completed", "stopped", "aborted"] {
        let before = metrics.num_alive_tasks();
        let events = bench.events();
        let window = Some(Window::new(3));
        let (book, probe) = (Book::new(), Probe::new().slow(Duration::from_millis(1)));
        let source = bench.source(&book, events);
        let mut line = bench.line(Arc::clone(&book), source, events, window, &probe, true);
        bench
            .must("the first event", || {
                line.outputs == 0 || probe.arrived() > 0
            })
            .await?;
        match ends {
            "stopped" => line.run.stop(),
            "aborted" => line.run.abort().await,
            _ => {}
        }
        if ends != "aborted" {
            line.run.over().await?;
        }
        ensure!(
            line.run.handle.status().stages.is_empty(),
            "stages remain when it is {ends}"
        );
        drop(line);
        settle().await;
        let left = metrics.num_alive_tasks().saturating_sub(before);
        ensure!(left == 0, "{left} tasks remain when it is {ends}");
        settled(&book)?;
        let weak = Arc::downgrade(&book);
        drop(book);
        ensure!(
            weak.strong_count() == 0,
            "references remain when it is {ends}"
        );
    }
    Ok(())
}

pub(crate) async fn r7(bench: Bench) -> Checked {
    let mut results = Vec::new();
    for kind in ["paused", "current-thread", "multi-thread"] {
        let bench = bench.clone();
        let runtime = move || match kind {
            "multi-thread" => Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build(),
            _ => Builder::new_current_thread()
                .enable_all()
                .start_paused(kind == "paused")
                .build(),
        };
        let seen = elsewhere(runtime, async move {
            let probe = Probe::new();
            let mut line = bench.by_window(bench.events(), Window::new(4), &probe);
            let report = tokio::time::timeout(Duration::from_secs(20), line.run.ended()).await;
            let report = report.map_err(|_| Broken::Failed("missing: the end".into()))??;
            settled(&line.book)?;
            Ok((
                probe.taken(),
                report.result.is_ok(),
                probe.ends(),
                line.book.acked(),
            ))
        })?;
        results.push((kind, seen));
    }
    let (first, expected) = &results[0];
    for (kind, seen) in &results[1..] {
        ensure!(
            seen == expected,
            "{kind} differs from {first}: {seen:?} and not {expected:?}"
        );
    }
    Ok(())
}

//! A: what becomes of events, and of stages that fail.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    Batch, BoxError, Consumer, End, Mode, Outcome, Pipeline, Restart, Tracker, Window,
    protocol::{Down, ExcessEvents, Fate, Ledger, Reason},
    restarting_producer,
    testing::{
        Book, Probe,
        bench::{Bench, Checked, acked_is_taken, ensure, must, settle, settled},
        probe::Trouble,
    },
};

pub(crate) async fn a1(bench: Bench) -> Checked {
    let events = bench.events();
    for at in 0..events {
        for trouble in [Trouble::Fails, Trouble::Panics] {
            let (book, probe) = (Book::new(), Probe::new().trouble(at, trouble));
            let source = bench.source(&book, events);
            let mut line = bench.line(book, source, events, Some(Window::new(5)), &probe, false);
            let result = line.run.ended().await?.result;
            ensure!(
                result.is_err() || !probe.saw(at),
                "lost: a death at event {at} went unseen"
            );
            settle().await;
            settled(&line.book)?;
            acked_is_taken(&line.book, &[&probe])?;
            let all = line.book.acked().len() + line.book.nacked().len();
            ensure!(
                all == line.book.handed(),
                "lost: {all} of {} accounted for",
                line.book.handed()
            );
        }
    }
    Ok(())
}

pub(crate) async fn a2(bench: Bench) -> Checked {
    for _ in 0..50 {
        let mut tracking = bench.parts.tracking();
        let life = tracking.restart();
        let numbers: Vec<u64> = (0..20).map(|position| tracking.issue(position)).collect();
        let mut open: Vec<u64> = numbers;
        let mut acked = BTreeSet::new();
        while !open.is_empty() {
            let number = open.swap_remove(bench.below(open.len() as u64) as usize);
            let acks = bench.below(8) > 0;
            let outcome = if acks {
                Outcome::Acked
            } else {
                Outcome::Nacked
            };
            ensure!(
                tracking.settle(life, number, outcome),
                "a report was refused"
            );
            if acks {
                acked.insert(number);
            }
            let prefix = (0..20).take_while(|number| acked.contains(number)).last();
            let done = tracking.done();
            ensure!(
                done == prefix,
                "past a gap: the mark is at {done:?} and not {prefix:?}"
            );
        }
    }
    Ok(())
}

pub(crate) async fn a3(bench: Bench) -> Checked {
    for first in [Outcome::Acked, Outcome::Nacked] {
        for second in [Outcome::Acked, Outcome::Nacked] {
            let mut tracking = bench.parts.tracking();
            let life = tracking.restart();
            let number = tracking.issue(7);
            ensure!(tracking.settle(life, number, first), "a report was refused");
            let done = tracking.done();
            let again = tracking.settle(life, number, second);
            ensure!(!again, "{second:?} after {first:?} was believed");
            ensure!(
                !tracking.settle(life, 99, second),
                "a foreign report was believed"
            );
            ensure!(
                tracking.done() == done,
                "a report that was refused moved the mark"
            );
            let refused = tracking.refused();
            ensure!(
                (refused.repeated, refused.foreign) == (1, 1),
                "what was refused is not counted: {refused:?}"
            );
        }
    }
    Ok(())
}

/// Takes the receipts out of its batches, and loses them.
struct Forgets {
    how: &'static str,
}

impl Consumer<u64> for Forgets {
    type Error = BoxError;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), BoxError> {
        let receipts: Vec<_> = batch.drain_with_receipts().collect();
        match self.how {
            "returns" => {}
            "fails" => Err("early")?,
            "panics" => panic!("early"),
            _ => std::future::pending().await,
        }
        drop(receipts);
        Ok(())
    }
}

pub(crate) async fn a4(bench: Bench) -> Checked {
    for how in ["returns", "fails", "panics", "hangs"] {
        let (book, events) = (Book::new(), bench.events());
        let mut pipeline = Pipeline::new();
        let out = pipeline
            .stage("source")
            .produce(bench.source(&book, events));
        pipeline
            .stage("sink")
            .consume(Forgets { how }, out.subscribe(Window::new(4)));
        let mut run = bench.start(pipeline);
        settle().await;
        run.abort().await;
        let acked = book.acked().len();
        ensure!(
            acked == 0,
            "dropped receipts became {acked} acks when the consumer {how}"
        );
        settled(&book)?;
    }
    what_is_taken_in_is_acked(&bench).await
}

async fn what_is_taken_in_is_acked(bench: &Bench) -> Checked {
    let mut line = bench.by_window(bench.events(), Window::new(4), &Probe::new());
    line.complete().await?;
    let nacked = line.book.nacked().len();
    ensure!(
        nacked == 0,
        "dropped receipts: {nacked} of what was taken in is nacked"
    );
    Ok(())
}

pub(crate) async fn a5(bench: Bench) -> Checked {
    use Fate::*;
    let excess: ExcessEvents = match Ledger::open(Window::new(1)).0.receive(2) {
        Err(excess) => excess,
        Ok(()) => return a5_live(&bench).await,
    };
    let ends = [
        (End::Completed, [EndWell, Stay, Stay]),
        (End::Cancelled(Reason::Shutdown), [EndWell, Stay, Stay]),
        (End::Cancelled(Reason::Dropped), [Fail, Fail, Stay]),
        (End::Cancelled(Reason::NoProducer), [Fail, Fail, Stay]),
        (
            End::Cancelled(Reason::Refused("no".into())),
            [Fail, Fail, Stay],
        ),
        (
            End::Cancelled(Reason::Other("no".into())),
            [Fail, Fail, Stay],
        ),
        (End::Down(Down::Failed("no".into())), [Fail, Fail, Stay]),
        (End::Down(Down::Panicked("no".into())), [Fail, Fail, Stay]),
        (End::Down(Down::OverDelivered(excess)), [Fail, Fail, Stay]),
        (End::Down(Down::Aborted), [Fail, Fail, Stay]),
    ];
    for (end, fates) in &ends {
        for (mode, expected) in [Mode::Permanent, Mode::Transient, Mode::Temporary]
            .into_iter()
            .zip(fates)
        {
            let fate = bench.parts.fate(mode, end);
            ensure!(
                fate == *expected,
                "{mode:?} by `{end}` is {fate:?} and not {expected:?}"
            );
        }
    }
    a5_live(&bench).await
}

/// Each mode, each way to end, in a pipeline.
async fn a5_live(bench: &Bench) -> Checked {
    let table = [
        ("completed", [true, false, false], true),
        ("cancelled", [true, false, false], true),
        ("cancelled for a reason", [true, true, false], false),
    ];
    for (cause, ends, well) in table {
        for (mode, ends) in [Mode::Permanent, Mode::Transient, Mode::Temporary]
            .into_iter()
            .zip(ends)
        {
            let (book, events) = (Book::new(), bench.events());
            let mut pipeline = Pipeline::new();
            let out = pipeline
                .stage("source")
                .produce(bench.source(&book, events));
            let (subscription, handle) = out.subscribe_manually();
            pipeline
                .stage("sink")
                .consume(bench.sink(&Probe::new()), subscription.mode(mode));
            drop(out);
            let mut run = bench.start(pipeline);
            let asked = handle.ask(if cause == "completed" { usize::MAX } else { 1 });
            ensure!(asked.is_ok(), "an ask was refused");
            settle().await;
            match cause {
                "cancelled" => handle.cancel(),
                "cancelled for a reason" => handle.cancel_because("enough"),
                _ => {}
            }
            tokio::time::sleep(bench.parts.patience()).await;
            ensure!(
                run.is_over() == ends,
                "{mode:?}, {cause}: over is {}",
                run.is_over()
            );
            run.stop();
            let result = run.ended().await?.result;
            ensure!(
                result.is_ok() == (well || !ends),
                "{mode:?}, {cause}: {result:?}"
            );
        }
    }
    Ok(())
}

pub(crate) async fn a6(bench: Bench) -> Checked {
    let (ms, minute) = (Duration::from_millis, Duration::from_secs(60));
    let plain = Restart::new(4, minute).waiting(ms(100), ms(500));
    let mut restarts = bench.parts.restarts(plain);
    let waits: Vec<_> = (0..5).map(|at| restarts(ms(at))).collect();
    let expected = [
        Some(ms(100)),
        Some(ms(200)),
        Some(ms(400)),
        Some(ms(500)),
        None,
    ];
    ensure!(
        waits == expected,
        "restarts wait {waits:?} and not {expected:?}"
    );
    let later = restarts(ms(200) + minute);
    ensure!(
        later == Some(ms(100)),
        "after a steady minute, a restart waits {later:?}"
    );
    for seed in 0..50 {
        let jittered = Restart::new(10, minute)
            .waiting(ms(100), ms(30_000))
            .jittered(seed);
        let mut restarts = bench.parts.restarts(jittered);
        let mut whole = ms(100);
        for at in 0..8 {
            let wait = restarts(ms(at));
            let within = wait.is_some_and(|wait| wait >= whole / 2 && wait <= whole);
            ensure!(within, "restarts wait {wait:?}, out of bounds of {whole:?}");
            whole = (whole * 2).min(ms(30_000));
        }
    }
    escalates_once().await
}

/// A producer that always fails is made anew at the right times, and its last error is told once.
async fn escalates_once() -> Checked {
    let policy = Restart::new(3, Duration::from_secs(60))
        .waiting(Duration::from_millis(100), Duration::from_secs(1));
    let origin = tokio::time::Instant::now();
    let (lives, made) = std::sync::mpsc::channel();
    let producer = restarting_producer(policy, move |life| {
        // Somebody counts.
        let _ = lives.send(origin.elapsed().as_millis());
        crate::producer_fn((), move |(), _| async move {
            Err::<Option<(Vec<u64>, ())>, BoxError>(format!("life {life}").into())
        })
    });
    let mut pipeline = Pipeline::new();
    let out = pipeline.stage("source").produce(producer);
    let probe = Probe::new();
    pipeline
        .stage("sink")
        .consume(probe.sink(), out.subscribe(Window::new(4)));
    let result = pipeline.run().await;
    let made: Vec<_> = made.try_iter().collect();
    ensure!(made == [0, 100, 300, 700], "lives began at {made:?} ms");
    let ends = probe.ends();
    let last = End::Down(Down::Failed("life 3".into()));
    ensure!(
        result.is_err() && ends == [last],
        "restarts were given up with {ends:?}"
    );
    Ok(())
}

pub(crate) async fn a7(bench: Bench) -> Checked {
    let mut tracking = bench.parts.tracking();
    let first = tracking.restart();
    let held = tracking.issue(1);
    let second = tracking.restart();
    ensure!(first != second, "a restart is the same generation");
    let number = tracking.issue(1);
    ensure!(
        !tracking.settle(first, held, Outcome::Acked),
        "a stale report was believed"
    );
    ensure!(tracking.done().is_none(), "a stale report moved the mark");
    ensure!(
        tracking.refused().stale == 1,
        "a stale report was not counted"
    );
    ensure!(
        tracking.settle(second, number, Outcome::Acked),
        "a report was refused"
    );
    // With receipts that are held over a restart.
    let tracker = Tracker::new();
    let mut batch = Batch::from_iter([1_u64]);
    tracker.track(&mut batch, [1_u64]);
    let held: Vec<_> = batch
        .drain_with_receipts()
        .map(|(_, receipt)| receipt)
        .collect();
    // Where to go on is not what is checked.
    let _ = tracker.restart();
    held.into_iter().for_each(crate::Receipt::ack);
    ensure!(tracker.done().is_none(), "a stale receipt moved the mark");
    ensure!(
        tracker.refused().stale == 1,
        "a stale receipt was not counted"
    );
    Ok(())
}

pub(crate) async fn a8(bench: Bench) -> Checked {
    let events = bench.events();
    for step in 0..20 {
        // In time.
        let probe = Probe::new().slow(Duration::from_millis(2));
        let mut line = bench.by_window(events, Window::new(4), &probe);
        tokio::time::sleep(Duration::from_millis(step)).await;
        line.run.stop();
        let report = line.run.ended().await?;
        ensure!(report.result.is_ok(), "a drain gave {:?}", report.result);
        settled(&line.book)?;
        let nacked = line.book.nacked().len();
        ensure!(
            nacked == 0,
            "a drain without deadline nacked {nacked} events at step {step}"
        );
        let abandoned: u64 = report.stages.iter().map(|stage| stage.abandoned).sum();
        ensure!(
            abandoned == 0,
            "a drain without deadline abandoned {abandoned} events"
        );
        for stage in ["source", "sink"] {
            let reported = report.stages.iter().find(|report| &*report.stage == stage);
            let count = if stage == "source" {
                line.book.handed()
            } else {
                probe.taken().len()
            };
            let right = reported.is_none_or(|report| report.acked == count as u64);
            ensure!(
                right,
                "a drain reports {reported:?} where {count} went through the {stage}"
            );
        }
        // Too late.
        for deadline in [Duration::ZERO, Duration::from_millis(1)] {
            too_late(&bench, events, step, deadline).await?;
        }
    }
    Ok(())
}

/// Drains with a consumer that never finishes.
async fn too_late(bench: &Bench, events: u64, step: u64, deadline: Duration) -> Checked {
    let (book, probe) = (Book::new(), Probe::new().hang());
    let mut pipeline = Pipeline::new();
    let out = pipeline
        .stage("source")
        .produce(bench.source(&book, events));
    pipeline
        .stage("sink")
        .consume(bench.sink(&probe), out.subscribe(Window::new(4)));
    let mut run = bench.start(pipeline.drain_within(deadline));
    if step > 0 {
        tokio::time::sleep(Duration::from_micros(step * 100)).await;
    }
    let begun = tokio::time::Instant::now();
    run.stop();
    let report = run.ended().await?;
    let took = begun.elapsed();
    ensure!(
        took <= deadline + Duration::from_millis(2),
        "a drain took {took:?} of {deadline:?}"
    );
    ensure!(
        report.timed_out || book.handed() == 0,
        "a drain that is too late says nothing"
    );
    settled(&book)?;
    ensure!(book.acked().is_empty(), "a drain acked what nobody took in");
    let sink = report.stages.iter().find(|stage| &*stage.stage == "sink");
    let abandoned = sink.map_or(0, |sink| sink.abandoned);
    let open = book.nacked().len() as u64;
    ensure!(
        abandoned <= open,
        "{abandoned} are reported abandoned of {open}"
    );
    ensure!(
        abandoned > 0 || probe.arrived() == 0,
        "what hung is not reported as abandoned"
    );
    must(bench.parts.patience(), "the end", || true).await
}

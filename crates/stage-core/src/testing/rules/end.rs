//! T: how subscriptions begin and end.

use crate::{
    AskError, BoxProducer, BoxTransform, End, Mode, Pipeline, PipelineError, Window,
    protocol::{Down, SubscriptionId, Terms},
    testing::{
        Book, Broken, Dividing, Probe,
        bench::{Bench, Checked, Run, ensure, hour, settle, settled},
        probe::{ON_PURPOSE, Signal, Trouble},
    },
};

pub(crate) async fn t1(bench: Bench) -> Checked {
    let (book, probe, events) = (Book::new(), Probe::new(), bench.events());
    let source = bench.spoiled(&book, events);
    let log = source.log.clone();
    let source = bench.parts.around(BoxProducer::new(source));
    let mut line = bench.line(book, source, events, Some(Window::new(4)), &probe, true);
    line.complete().await?;
    for (who, log) in [("the producer", log.get()), ("the consumer", probe.log())] {
        let first = log.first();
        ensure!(
            first == Some(&Signal::Subscribed),
            "{who} was told {first:?} before it was told of its subscription"
        );
        let times = log
            .iter()
            .filter(|signal| **signal == Signal::Subscribed)
            .count();
        ensure!(
            times == 1,
            "{who} was told {times} times of its one subscription"
        );
    }
    for dividing in [Dividing::ByDemand, Dividing::Broadcast, LANES] {
        let mut dispatcher = bench.parts.dispatcher(dividing);
        let (id, terms) = (SubscriptionId(1), Terms::default().lane(0).subscriber(1));
        ensure!(
            dispatcher.subscribe(id, terms.clone()).is_ok(),
            "a subscriber was refused"
        );
        dispatcher.ask(id, crate::Demand::MIN);
        let again = dispatcher.subscribe(id, terms);
        ensure!(
            again.is_err(),
            "{dividing:?} takes the same subscription twice"
        );
        let demand = dispatcher.demand();
        ensure!(
            demand == 1,
            "{dividing:?} changed the first one: it wants {demand}"
        );
    }
    Ok(())
}

const LANES: Dividing = Dividing::Lanes {
    lanes: 2,
    homeless: false,
};

pub(crate) async fn t2(bench: Bench) -> Checked {
    let events = bench.events();
    for trouble in [None, Some(Trouble::Fails), Some(Trouble::Panics)] {
        let (book, probe) = (Book::new(), Probe::new());
        let source = match trouble {
            None => bench.source(&book, events),
            Some(trouble) => bench.failing(&book, events / 2, trouble),
        };
        let mut line = bench.line(book, source, events, None, &probe, true);
        line.probe.allow(u64::MAX);
        ensure!(line.controls.ask(usize::MAX).is_ok(), "an ask was refused");
        line.run.over().await?;
        // It has ended: what it says to that is another rule's.
        let _ = line.controls.ask(1);
        hour().await;
        one_end(&probe)?;
        settled(&line.book)?;
    }
    Ok(())
}

/// There was one end, and nothing but the goodbye came after it.
fn one_end(probe: &Probe) -> Checked {
    let log = probe.log();
    let ends = probe.ends();
    ensure!(ends.len() == 1, "{} ends were told: {ends:?}", ends.len());
    let at = log
        .iter()
        .position(|signal| matches!(signal, Signal::Ended(_)));
    let after = &log[at.map_or(0, |at| at + 1)..];
    let nothing = after.is_empty() || *after == [Signal::Finished];
    ensure!(nothing, "after the end came {after:?}");
    Ok(())
}

pub(crate) async fn t3(bench: Bench) -> Checked {
    let events = bench.events();
    // Nobody ever asks, but for the transform in between.
    for trouble in [None, Some(Trouble::Fails), Some(Trouble::Panics)] {
        let (book, probe) = (Book::new(), Probe::new());
        let source = match trouble {
            None => bench.source(&book, 0),
            Some(trouble) => bench.failing(&book, 0, trouble),
        };
        let mut line = bench.line(book, source, 0, None, &probe, true);
        let ended = line.run.ended().await;
        ensure!(ended.is_ok(), "missing: the end, without demand");
        ensure!(probe.ends().len() == 1, "missing: the end, at the consumer");
    }
    // Nor does anybody here, and it is told to stop.
    let (book, probe) = (Book::new(), Probe::new());
    let source = bench.source(&book, events);
    let mut line = bench.line(book, source, events, None, &probe, false);
    settle().await;
    line.run.stop();
    let ended = line.run.ended().await;
    ensure!(ended.is_ok(), "missing: the end, without demand");
    one_end(&probe)
}

pub(crate) async fn t4(bench: Bench) -> Checked {
    let (book, probe, events) = (
        Book::new(),
        Probe::new(),
        bench.at_least(3)?.max(bench.events()),
    );
    let mut source = bench.spoiled(&book, events);
    source.eager = true;
    let source = bench.parts.around(BoxProducer::new(source));
    let mut line = bench.line(book, source, events, None, &probe, true);
    if line.outputs < 2 {
        return Err(Broken::Skipped("it makes too little".into()));
    }
    probe.allow(1);
    ensure!(line.controls.ask(1).is_ok(), "an ask was refused");
    line.must_arrive(1).await?;
    hour().await;
    ensure!(probe.ends().is_empty(), "the end overtook events");
    probe.allow(u64::MAX);
    ensure!(line.controls.ask(usize::MAX).is_ok(), "an ask was refused");
    line.complete().await?;
    one_end(&probe)
}

pub(crate) async fn t5(bench: Bench) -> Checked {
    let (book, events) = (Book::new(), bench.events());
    let source = bench.failing(&book, (events / 2).min(5), Trouble::Fails);
    let mut pipeline = Pipeline::new();
    let out = pipeline
        .stage("source")
        .dispatch(bench.dispatcher(Dividing::Broadcast))
        .produce(source);
    let mut probes = Vec::new();
    for number in 0..3 {
        let probe = Probe::new();
        let mut from = out.clone();
        if number == 2 {
            from = bench.relayed(&mut pipeline, "relay", &out);
        }
        pipeline
            .stage(format!("sink-{number}"))
            .consume(bench.sink(&probe), from.subscribe(Window::new(4)));
        probes.push(probe);
    }
    let result = bench.start(pipeline).ended().await?.result;
    ensure!(result.is_err(), "the failure was kept from the pipeline");
    let reason = End::Down(Down::Failed(ON_PURPOSE.into()));
    for (number, probe) in probes.iter().enumerate() {
        let ends = probe.ends();
        ensure!(
            ends == [reason.clone()],
            "the failure did not reach subscriber {number}: it was told {ends:?}"
        );
    }
    Ok(())
}

pub(crate) async fn t6(bench: Bench) -> Checked {
    let events = bench.at_least(1)?.max(bench.events());
    for at in [0, 3.min(events - 1), events - 1] {
        for stage in ["source", "relay", "sink"] {
            let sibling = bench.by_window(events, Window::new(2), &Probe::new());
            let book = Book::new();
            let probe = match stage {
                "sink" => Probe::new().trouble(at, Trouble::Panics),
                _ => Probe::new(),
            };
            let source = match stage {
                "source" => bench.failing(&book, at, Trouble::Panics),
                _ => bench.source(&book, events),
            };
            let mut pipeline = Pipeline::new();
            let out = pipeline.stage("source").produce(source);
            let relay: BoxTransform<u64, u64> = match stage {
                "relay" => bench.failing_relay(at, Trouble::Panics),
                _ => bench.parts.relay(),
            };
            let out = pipeline
                .stage("relay")
                .transform(relay, out.subscribe(Window::new(4)));
            pipeline
                .stage("sink")
                .consume(bench.sink(&probe), out.subscribe(Window::new(4)));
            let result = bench.start(pipeline).ended().await?.result;
            if stage == "sink" && !probe.fault_happened(at) {
                continue;
            }
            let Err(PipelineError::Panicked {
                stage: who,
                message,
                ..
            }) = &result
            else {
                return Err(Broken::Failed(format!(
                    "a panic in the {stage} gave {result:?}"
                )));
            };
            ensure!(
                who == stage,
                "a panic in the {stage} is said to be of `{who}`"
            );
            ensure!(
                message == ON_PURPOSE,
                "a panic's message became {message:?}"
            );
            settled(&book)?;
            let mut sibling = sibling;
            sibling.complete().await?;
        }
    }
    Ok(())
}

impl Probe {
    /// Whether the event at which it goes wrong has come.
    fn fault_happened(&self, at: u64) -> bool {
        self.log().len() > 1 && self.saw(at)
    }
}

pub(crate) async fn t7(bench: Bench) -> Checked {
    let mut line = bench.by_window(bench.events(), Window::new(4), &Probe::new());
    line.complete().await?;
    let before = line.probe.log();
    for _ in 0..1_000 {
        match bench.below(3) {
            0 => line.controls.cancel(),
            1 => {
                let closed = line.controls.is_closed();
                ensure!(closed, "after the end, the subscription is said to be open");
            }
            _ => {
                let asked = line.controls.ask(1 + bench.below(1_000) as usize);
                ensure!(
                    asked == Err(AskError::Closed),
                    "after the end, asking gave {asked:?}"
                );
            }
        }
    }
    hour().await;
    ensure!(
        line.probe.log() == before,
        "after the end, something was told"
    );
    Ok(())
}

pub(crate) async fn t8(bench: Bench) -> Checked {
    for state in ["waiting", "held", "draining", "ended", "taken"] {
        let (answered, mut run) = subscribe_while(&bench, state).await?;
        let what = format!("an answer to a subscription, with the producer {state}");
        let told = bench
            .must(&what, || {
                answered.log().len() > usize::from(state == "taken")
            })
            .await;
        run.abort().await;
        told?;
    }
    Ok(())
}

/// Subscribes to a producer in this state.
async fn subscribe_while(bench: &Bench, state: &str) -> Checked<(Probe, Run)> {
    let (book, events) = (Book::new(), bench.events());
    let mut source = bench.spoiled(&book, events);
    source.eager = state == "draining";
    let source = bench.parts.around(BoxProducer::new(source));
    let mut pipeline = Pipeline::new();
    let _out = pipeline
        .stage("source")
        .dispatch(bench.dispatcher(LANES))
        .produce(source);
    let handle = pipeline.handle();
    let Ok(lane) = handle.lane::<u64>("source", 0) else {
        return Err(Broken::Failed("there is no lane".into()));
    };
    let (first, asks) = lane.subscribe_manually();
    pipeline
        .stage("first")
        .consume(bench.sink(&Probe::new()), first.mode(Mode::Temporary));
    let mut keeper = Pipeline::new();
    let desk = handle.lane::<u64>("source", if state == "taken" { 0 } else { 1 });
    let Ok(second) = desk else {
        return Err(Broken::Failed("there is no lane".into()));
    };
    let subscription = second.subscribe(Window::new(4)).mode(Mode::Temporary);
    let mut run = bench.start(pipeline);
    settle().await;
    match state {
        "held" => ensure!(run.handle.pause("source").is_ok(), "it cannot be held"),
        "draining" => ensure!(asks.ask(1).is_ok(), "an ask was refused"),
        "ended" => {
            drop(_out);
            run.abort().await;
        }
        _ => {}
    }
    settle().await;
    let probe = Probe::new();
    keeper
        .stage("second")
        .consume(bench.sink(&probe), subscription);
    // It runs on by itself.
    drop(bench.start(keeper));
    asks.let_go();
    Ok((probe, run))
}

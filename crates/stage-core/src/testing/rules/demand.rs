//! D: demand.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
    time::Duration,
};

use crate::{
    AskError, Batch, BoxProducer, Pipeline, PipelineError, Window,
    protocol::{Backlog, Demand, Dispatcher, Handout, Refused, SubscriptionId, Terms},
    testing::{
        Book, Broken, Dividing, Probe,
        bench::{Bench, Checked, Line, ensure, hour, must, no_fault, settle, settled},
    },
};

pub(crate) async fn d1(bench: Bench) -> Checked {
    let line = bench.by_hand(bench.events());
    let mut asked = 0;
    let pattern = [0, 1, 1, 2].into_iter();
    let random = std::iter::repeat_with(|| bench.below(6));
    for events in pattern.chain(random) {
        if asked >= line.outputs {
            break;
        }
        asked += events;
        line.probe.allow(events);
        if events > 0 {
            ask(&line, events as usize)?;
        }
        line.must_arrive(asked.min(line.outputs)).await?;
        settle().await;
        no_fault(&line.probe)?;
    }
    hour().await;
    no_fault(&line.probe)
}

fn ask(line: &Line, events: usize) -> Checked {
    let asked = line.controls.ask(events);
    ensure!(asked.is_ok(), "asking for {events} gave {asked:?}");
    Ok(())
}

pub(crate) async fn d2(bench: Bench) -> Checked {
    // Asked from outside, long before there is anything, or in between.
    let events = bench.events();
    let book = Book::new();
    let mut source = bench.spoiled(&book, events);
    source.delay = Duration::from_millis(1 + bench.below(50));
    let source = bench.parts.around(BoxProducer::new(source));
    let line = bench.line(book, source, events, None, &Probe::new(), true);
    let mut asked = 0;
    while asked < line.outputs {
        let more = 1 + bench.below(5);
        asked += more;
        line.probe.allow(more);
        ask(&line, more as usize)?;
        tokio::time::sleep(Duration::from_millis(bench.below(200))).await;
        if bench.below(2) == 0 {
            line.must_arrive(asked.min(line.outputs)).await?;
        }
    }
    line.must_arrive(line.outputs).await?;
    // Asked from inside the handler.
    let line = bench.by_hand(events);
    ask_in_handler(&line, 1);
    line.probe.allow(u64::MAX);
    ask(&line, 1)?;
    line.must_arrive(line.outputs).await
}

/// Has the consumer ask for so many after each call.
fn ask_in_handler(line: &Line, events: usize) {
    let controls = Arc::clone(&line.controls);
    line.probe.on_events(move |_| {
        // It may have ended.
        let _ = controls.ask(events);
    });
}

pub(crate) async fn d3(bench: Bench) -> Checked {
    for _ in 0..200 {
        let (max, min) = (bench.below(8) as usize, bench.below(8) as usize);
        let is_one = bench.parts.window(max, min).is_some();
        ensure!(
            is_one == (max > 0 && min < max),
            "a window of {max} that asks again at {min}: {}",
            if is_one { "accepted" } else { "refused" }
        );
    }
    let line = bench.by_hand(bench.events());
    let asked = line.controls.ask(0);
    ensure!(
        asked == Err(AskError::Zero),
        "asking for nothing gave {asked:?}"
    );
    hour().await;
    ensure!(
        line.probe.arrived() == 0,
        "asking for nothing brought something"
    );
    ensure!(
        !line.controls.is_closed(),
        "asking for nothing ended the subscription"
    );
    Ok(())
}

pub(crate) async fn d4(bench: Bench) -> Checked {
    const HALF: usize = usize::MAX / 2;
    for asks in [
        &[usize::MAX, usize::MAX][..],
        &[HALF, HALF, 1, 1],
        &[1, usize::MAX],
    ] {
        let mut line = bench.by_hand(bench.events());
        line.probe.allow(u64::MAX);
        for &events in asks {
            let asked = line.controls.ask(events);
            ensure!(asked.is_ok(), "demand without bound: {asked:?}");
        }
        line.complete().await?;
    }
    let mut line = bench.by_hand(bench.events());
    line.probe.allow(u64::MAX);
    let refused = Arc::new(OnceLock::new());
    let (controls, first) = (Arc::clone(&line.controls), Arc::clone(&refused));
    line.probe.on_events(move |_| {
        for _ in 0..10 {
            if let Err(error) = controls.ask(usize::MAX) {
                // The first is kept.
                let _ = first.set(error);
            }
        }
    });
    ask(&line, 1)?;
    line.must_arrive(line.outputs.min(1)).await?;
    let refused = refused.get();
    ensure!(
        refused.is_none_or(|error| *error == AskError::Closed),
        "demand without bound: {refused:?}"
    );
    line.complete().await
}

pub(crate) async fn d5(bench: Bench) -> Checked {
    let events = bench.events();
    let (book, probes) = (Book::new(), [Probe::new(), Probe::new()]);
    let mut pipeline = Pipeline::new();
    let out = pipeline
        .stage("source")
        .dispatch(bench.dispatcher(Dividing::ByDemand))
        .produce(bench.source(&book, events));
    let (idle, _idle) = out.subscribe_manually();
    let (busy, asks) = out.subscribe_manually();
    let (idle, busy) = (idle.into_iter().next(), busy);
    pipeline.stage("idle").consume(bench.sink(&probes[0]), idle);
    pipeline.stage("busy").consume(bench.sink(&probes[1]), busy);
    let _run = bench.start(pipeline);
    for asked in 1..=events {
        ensure!(asks.ask(1).is_ok(), "an ask was refused");
        let what = "an event for who asked, while the other does not ask";
        bench
            .must(what, || probes[1].arrived() as u64 == asked)
            .await?;
    }
    ensure!(
        probes[0].arrived() == 0,
        "who never asked was given something"
    );
    let few = events.min(3) as usize;
    let mut broadcast = bench.parts.dispatcher(Dividing::Broadcast);
    let ids = [SubscriptionId(1), SubscriptionId(2)];
    for (id, demand) in ids.into_iter().zip([few, 10]) {
        let subscribed = broadcast.subscribe(id, Terms::default().subscriber(id.0));
        ensure!(subscribed.is_ok(), "a subscriber was refused");
        broadcast.ask(id, demand_of(demand)?);
    }
    let wanted = broadcast.demand();
    ensure!(
        wanted == few,
        "broadcast wants {wanted} where the slowest asked for {few}"
    );
    Ok(())
}

fn demand_of(events: usize) -> Checked<Demand> {
    Demand::new(events).ok_or_else(|| Broken::Skipped("no demand".into()))
}

pub(crate) async fn d6(bench: Bench) -> Checked {
    for (max, min) in [
        (1, 0),
        (2, 0),
        (2, 1),
        (10, 0),
        (10, 1),
        (10, 2),
        (10, 5),
        (10, 8),
    ] {
        let window = Window::new(max).with_min(min);
        let mut ledger = bench.parts.ledger(window);
        let (mut due, mut in_hand) = (max, 0);
        for _ in 0..200 {
            let arriving = bench.below((due - in_hand) as u64 + 1) as usize;
            ensure!(
                ledger.receive(arriving),
                "{arriving} events that were due are refused"
            );
            in_hand += arriving;
            let dealt = bench.below(in_hand as u64 + 1) as usize;
            in_hand -= dealt;
            due -= dealt;
            let ask = ledger.settle(dealt).map_or(0, Demand::get);
            let expected = if due <= min { max - due } else { 0 };
            due += ask;
            ensure!(
                due <= max,
                "window exceeded: {due} are due in a window of {max}"
            );
            ensure!(
                ask == expected,
                "asked for {ask} and not {expected} with {max} to {min} and {} due",
                due - ask
            );
        }
        live_window(&bench, window).await?;
    }
    Ok(())
}

/// Whether what is handed out and not settled fits the window: not taken in yet, or still in hand.
async fn live_window(bench: &Bench, window: Window) -> Checked {
    let (events, probe) = (bench.events(), Probe::new());
    let book = Book::new();
    let most = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (seen, of) = (Arc::clone(&most), Arc::clone(&book));
    probe.on_events(move |_| {
        seen.fetch_max(of.open(), std::sync::atomic::Ordering::SeqCst);
    });
    let source = bench.source(&book, events);
    let mut line = bench.line(book, source, events, Some(window), &probe, false);
    let completed = line.complete().await;
    let most = most.load(std::sync::atomic::Ordering::SeqCst);
    ensure!(
        most <= window.max(),
        "window exceeded: {most} in {}",
        window.max()
    );
    completed
}

pub(crate) async fn d7(bench: Bench) -> Checked {
    let events = bench.events();
    let (book, probe) = (Book::new(), Probe::new().hang());
    let mut pipeline = Pipeline::new();
    let mut out = pipeline
        .stage("source")
        .produce(bench.source(&book, events));
    // One that keeps events may make one of each so many, for which all these wait.
    let keeps = bench.parts.keeps();
    let relays = if keeps == 0 { 2 } else { 1 };
    for relay in 0..relays {
        out = bench.relayed(&mut pipeline, &format!("relay-{relay}"), &out);
    }
    pipeline
        .stage("sink")
        .consume(bench.sink(&probe), out.subscribe(Window::new(4)));
    let run = bench.start(pipeline);
    hour().await;
    let (open, windows) = (book.open(), relays * (4 + keeps) + 4 * (keeps + 1));
    ensure!(
        open <= windows,
        "{open} events wait in windows of {windows}"
    );
    drop(run);
    let line = bench.by_hand(events);
    hour().await;
    let handed = line.book.handed();
    // What the transform asks for itself is its window.
    ensure!(
        handed <= 4 + bench.parts.keeps(),
        "without demand, {handed} events were asked for"
    );
    ensure!(line.probe.arrived() == 0, "without demand, something came");
    Ok(())
}

/// Gives everybody one event more than they asked for.
#[derive(Debug)]
struct Generous(Box<dyn Dispatcher<u64>>);

impl Dispatcher<u64> for Generous {
    fn subscribe(&mut self, id: SubscriptionId, terms: Terms<u64>) -> Result<(), Refused> {
        self.0.subscribe(id, terms)
    }

    fn ask(&mut self, id: SubscriptionId, demand: Demand) {
        let one_more = Demand::new(demand.get().saturating_add(1));
        self.0.ask(id, one_more.unwrap_or(demand));
    }

    fn cancel(&mut self, id: SubscriptionId) {
        self.0.cancel(id);
    }

    fn demand(&self) -> usize {
        self.0.demand()
    }

    fn dispatch(&mut self, backlog: &mut Backlog<u64>, handout: &mut Handout<u64>) {
        self.0.dispatch(backlog, handout);
    }
}

pub(crate) async fn d8(bench: Bench) -> Checked {
    let mut ledger = bench.parts.ledger(Window::new(4));
    ensure!(
        !ledger.receive(5),
        "excess went unseen: five came where four were due"
    );
    ensure!(ledger.receive(4), "what was due is refused after an excess");
    ensure!(
        !ledger.receive(1),
        "excess went unseen: one came where none was due"
    );
    let (book, probe) = (Book::new(), Probe::new());
    probe.allow(4);
    let mut pipeline = Pipeline::new();
    let out = pipeline
        .stage("source")
        .dispatch(Generous(bench.parts.dispatcher(Dividing::ByDemand)))
        .produce(bench.source(&book, bench.at_least(8)?));
    pipeline
        .stage("sink")
        .consume(bench.sink(&probe), out.subscribe(Window::new(4)));
    let result = bench.start(pipeline).ended().await?.result;
    ensure!(
        matches!(result, Err(PipelineError::OverDelivered { .. })),
        "excess went unseen: {result:?}"
    );
    no_fault(&probe)?;
    settled(&book)?;
    ensure!(book.acked().is_empty(), "excess was acked");
    Ok(())
}

pub(crate) async fn d9(bench: Bench) -> Checked {
    for step in 0..20 {
        one_dies(&bench, step)?;
    }
    for at in 0..bench.events().min(12) {
        one_is_cancelled(&bench, at).await?;
    }
    Ok(())
}

/// Three subscribers ask and are given events; at this step, one goes.
fn one_dies(bench: &Bench, step: u64) -> Checked {
    let mut dispatcher = bench.parts.dispatcher(Dividing::ByDemand);
    let (mut backlog, mut handout) = (Backlog::new(), Handout::new());
    let mut open = [0_usize; 3];
    let mut alive = [true; 3];
    for id in 0..3 {
        let subscribed = dispatcher.subscribe(SubscriptionId(id), Terms::default());
        ensure!(subscribed.is_ok(), "a subscriber was refused");
    }
    for now in 0..20 {
        let who = bench.below(3) as usize;
        if now == step {
            dispatcher.cancel(SubscriptionId(who as u64));
            alive[who] = false;
            open[who] = 0;
        }
        let asker = bench.below(3) as usize;
        let asked = 1 + bench.below(5) as usize;
        dispatcher.ask(SubscriptionId(asker as u64), demand_of(asked)?);
        if alive[asker] {
            open[asker] += asked;
        }
        let wanted: usize = open.iter().sum();
        let demand = dispatcher.demand();
        ensure!(
            demand == wanted,
            "demand of the dead: {demand} is asked for upstream, where the living want {wanted}"
        );
        let events = bench.below(wanted as u64 + 1);
        backlog.push(Batch::from_iter(0..events));
        dispatcher.dispatch(&mut backlog, &mut handout);
        for delivery in handout.deliveries.drain(..) {
            let to = delivery.to.0 as usize;
            let events = delivery.events.len();
            ensure!(
                events <= open[to],
                "demand of the dead: {to} was given {events} of {}",
                open[to]
            );
            open[to] -= events;
        }
        ensure!(backlog.is_empty(), "events stay although they are wanted");
    }
    Ok(())
}

/// Of three consumers, one is cancelled at its event of this number.
async fn one_is_cancelled(bench: &Bench, at: u64) -> Checked {
    let events = bench.events();
    let (book, probes) = (Book::new(), [Probe::new(), Probe::new(), Probe::new()]);
    let mut pipeline = Pipeline::new();
    let out = pipeline
        .stage("source")
        .dispatch(bench.dispatcher(Dividing::ByDemand))
        .produce(bench.source(&book, events));
    let mut handles = Vec::new();
    for (number, probe) in probes.iter().enumerate() {
        let probe = probe.clone().slow(Duration::from_millis(1));
        let (subscription, handle) = out.subscribe(Window::new(4)).with_handle();
        handles.push(handle);
        pipeline
            .stage(format!("sink-{number}"))
            .consume(bench.sink(&probe), subscription);
    }
    let victim = handles[1].clone();
    let seen = Arc::new(std::sync::atomic::AtomicU64::new(0));
    probes[1].on_events(move |events| {
        let before = seen.fetch_add(events.len() as u64, std::sync::atomic::Ordering::SeqCst);
        if before + events.len() as u64 > at {
            victim.cancel();
        }
    });
    let report = bench.start(pipeline).ended().await?;
    ensure!(report.result.is_ok(), "it failed: {:?}", report.result);
    settled(&book)?;
    let taken: usize = probes.iter().map(|probe| probe.taken().len()).sum();
    ensure!(
        taken >= book.acked().len(),
        "more was acked than was taken in"
    );
    let open = book.nacked().len();
    ensure!(open <= 4, "{open} events went down with a window of four");
    ensure!(
        book.handed() as u64 == events,
        "{} of {events} were made",
        book.handed()
    );
    must(bench.parts.patience(), "the end of all", || true).await
}

pub(crate) async fn d10(bench: Bench) -> Checked {
    for limit in [0, 100, 1 << 20] {
        weighed(&bench, limit)?;
        weighed_live(&bench, limit).await?;
    }
    Ok(())
}

/// From nothing to ten mebibytes.
fn weight_of(number: u64) -> usize {
    const WEIGHTS: [usize; 8] = [0, 1, 60, 40, 10 << 20, 3, 1 << 19, 1 << 20];
    WEIGHTS[(number.wrapping_mul(5) % 8) as usize]
}

/// Events are sent and dealt with as chance has it.
fn weighed(bench: &Bench, limit: usize) -> Checked {
    let mut scales = bench.parts.scales(limit);
    let (mut waiting, mut open) = (VecDeque::new(), VecDeque::new());
    for step in 0..500 {
        if bench.below(2) == 0 {
            scales.hold(weight_of(step));
            waiting.push_back(weight_of(step));
        } else if open.pop_front().is_some() {
            scales.settle();
        }
        let released = scales.release();
        ensure!(
            released <= waiting.len(),
            "{released} of {} may go",
            waiting.len()
        );
        open.extend(waiting.drain(..released));
        let weight: usize = open.iter().sum();
        ensure!(
            weight <= limit || open.iter().filter(|weight| **weight > 0).count() == 1,
            "bytes in flight: {} events weigh {weight}, where {limit} may",
            open.len()
        );
        ensure!(
            !open.is_empty() || waiting.is_empty(),
            "bytes: nothing is in flight, and {:?} may not go",
            waiting.front()
        );
    }
    Ok(())
}

/// The same, in a pipeline: what is not taken in yet is looked at with each call.
async fn weighed_live(bench: &Bench, limit: usize) -> Checked {
    let (book, probe, events) = (Book::new(), Probe::new(), bench.events());
    let mut pipeline = Pipeline::new();
    let out = pipeline
        .stage("source")
        .produce(bench.source(&book, events));
    let out = bench.relayed(&mut pipeline, "relay", &out);
    let window = Window::new(16).with_min(bench.below(16) as usize);
    let subscription = out
        .subscribe(window)
        .bytes(limit, |event| weight_of(*event));
    let slow = probe.clone().slow(Duration::from_millis(1));
    pipeline
        .stage("sink")
        .consume(bench.sink(&slow), subscription);
    drop(out);
    let mut run = bench.start(pipeline);
    let outputs = bench.parts.outputs(events);
    // One that takes longer, by the clock, is found out below.
    let deadline = tokio::time::Instant::now() + bench.patience_with(&slow, outputs);
    while tokio::time::Instant::now() < deadline {
        let status = run.handle.status();
        let sink = status.stage("sink");
        for subscription in sink.iter().flat_map(|sink| &sink.subscriptions) {
            let (weight, events) = (subscription.weight, subscription.in_flight());
            let seen = probe.count() as u64;
            let heaviest = (seen..seen + 16).map(weight_of).max().unwrap_or_default();
            ensure!(
                weight <= limit.max(heaviest),
                "bytes in flight: {events} events weigh {weight}, where {limit} may"
            );
        }
        if run.is_over() {
            break;
        }
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    run.over().await?;
    let taken = probe.taken().len() as u64;
    ensure!(
        taken == outputs,
        "missing: {taken} of {outputs} weighed events came"
    );
    settled(&book)
}

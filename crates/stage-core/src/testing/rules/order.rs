//! O: order, and who gets what.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{
    Mode, Pipeline, Window,
    testing::{
        Book, Dividing, Probe,
        bench::{Bench, Checked, ensure, hour, no_fault, settle, settled},
    },
};

pub(crate) async fn o1(bench: Bench) -> Checked {
    for max in [1, 3, 10, 100] {
        let mut line = bench.by_window(bench.events(), Window::new(max), &Probe::new());
        line.complete().await?;
    }
    let probe = Probe::new().slow(Duration::from_millis(1));
    let mut line = bench.by_window(bench.events(), Window::new(4), &probe);
    line.complete().await
}

pub(crate) async fn o2(bench: Bench) -> Checked {
    for at in [1, 3, 7] {
        keys_over_a_change(&bench, at).await?;
    }
    Ok(())
}

/// Lane 0's consumer is cancelled after so many events, and another takes the lane.
async fn keys_over_a_change(bench: &Bench, at: u64) -> Checked {
    const LANES: usize = 3;
    let (book, events) = (Book::new(), bench.events());
    let mut pipeline = Pipeline::new();
    let _out = pipeline
        .stage("source")
        .dispatch(bench.dispatcher(Dividing::Lanes {
            lanes: LANES,
            homeless: false,
        }))
        .produce(bench.source(&book, events));
    let handle = pipeline.handle();
    let mut probes = Vec::new();
    let mut first = None;
    for number in 0..LANES {
        let probe = Probe::new();
        let Ok(lane) = handle.lane::<u64>("source", number) else {
            ensure!(false, "there is no lane {number}");
            continue;
        };
        let (subscription, held) = lane.subscribe(Window::new(4)).with_handle();
        match number {
            0 => first = Some(held),
            _ => held.let_go(),
        }
        pipeline
            .stage(format!("lane-{number}"))
            .consume(bench.sink(&probe), subscription);
        probes.push(probe);
    }
    let seen = AtomicU64::new(0);
    let victim = first.clone();
    probes[0].on_events(move |events| {
        let before = seen.fetch_add(events.len() as u64, Ordering::SeqCst);
        if before + events.len() as u64 >= at
            && let Some(victim) = &victim
        {
            victim.cancel();
        }
    });
    let mut run = bench.start(pipeline);
    settle().await;
    let successor = Probe::new();
    if let Ok(lane) = handle.lane::<u64>("source", 0) {
        let subscription = lane.subscribe(Window::new(4));
        let added = handle
            .stage("successor")
            .consume(bench.sink(&successor), subscription);
        ensure!(added.is_ok(), "the successor cannot join");
    }
    run.over().await?;
    probes.push(successor);
    let mut by_lane = BTreeMap::<u64, Vec<u64>>::new();
    for event in probes.iter().flat_map(Probe::taken) {
        by_lane.entry(event % LANES as u64).or_default().push(event);
    }
    for (lane, taken) in by_lane {
        ensure!(taken.is_sorted(), "out of order on lane {lane}: {taken:?}");
    }
    settled(&book)?;
    let all = book.acked().len() + book.nacked().len();
    ensure!(
        all as u64 == events,
        "{all} of {events} events are accounted for"
    );
    ensure!(
        book.nacked().len() <= 4,
        "{} went down with a window of four",
        book.nacked().len()
    );
    Ok(())
}

pub(crate) async fn o3(bench: Bench) -> Checked {
    let (book, events) = (Book::new(), bench.events());
    let probes = [
        Probe::new(),
        Probe::new().slow(Duration::from_millis(3)),
        Probe::new(),
    ];
    let mut pipeline = Pipeline::new();
    let out = pipeline
        .stage("source")
        .dispatch(bench.dispatcher(Dividing::Broadcast))
        .produce(bench.source(&book, events));
    for (number, probe) in probes.iter().take(2).enumerate() {
        let subscription = out.subscribe(Window::new(2 + number));
        pipeline
            .stage(format!("sink-{number}"))
            .consume(bench.sink(probe), subscription);
    }
    let mut run = bench.start(pipeline);
    bench
        .must("the first events", || probes[1].arrived() > 3)
        .await?;
    let late = run.handle.stage("late");
    let joined = late.consume(bench.sink(&probes[2]), out.subscribe(Window::new(3)));
    ensure!(joined.is_ok(), "a late subscriber cannot join");
    drop(out);
    run.over().await?;
    let all: Vec<u64> = (0..events).collect();
    for probe in &probes[..2] {
        let taken = probe.taken();
        ensure!(taken == all, "broadcast: one saw {taken:?}");
    }
    let late = probes[2].taken();
    ensure!(!late.is_empty(), "broadcast: the late one saw nothing");
    ensure!(all.ends_with(&late), "broadcast: the late one saw {late:?}");
    settled(&book)
}

pub(crate) async fn o4(bench: Bench) -> Checked {
    let (book, events) = (Book::new(), bench.events());
    let mut pipeline = Pipeline::new();
    let out = pipeline
        .stage("source")
        .dispatch(bench.dispatcher(Dividing::ByDemand))
        .produce(bench.source(&book, events));
    let mut probes = Vec::new();
    for number in 0..3 {
        let probe = Probe::new().slow(Duration::from_millis(bench.below(4)));
        let subscription = out.subscribe(Window::new(1 + bench.below(8) as usize));
        pipeline
            .stage(format!("sink-{number}"))
            .consume(bench.sink(&probe), subscription);
        probes.push(probe);
    }
    bench.start(pipeline).over().await?;
    let mut taken: Vec<u64> = probes.iter().flat_map(Probe::taken).collect();
    taken.sort_unstable();
    let all: Vec<u64> = (0..events).collect();
    ensure!(
        taken == all,
        "each event to one: all in all they got {taken:?}"
    );
    settled(&book)
}

pub(crate) async fn o5(bench: Bench) -> Checked {
    let events = bench.events();
    let (book, probe) = (Book::new(), Probe::new());
    let source = bench.source(&book, events);
    let line = bench.line(book, source, events, None, &probe, false);
    hour().await;
    let handed = line.book.handed();
    ensure!(handed == 0, "without demand, {handed} events were made");
    drop(line);
    // Every third event belongs nowhere: that is to be seen.
    let book = Book::new();
    let dividing = Dividing::Lanes {
        lanes: 2,
        homeless: true,
    };
    let mut pipeline = Pipeline::new();
    let _out = pipeline
        .stage("source")
        .dispatch(bench.dispatcher(dividing))
        .produce(bench.source(&book, events));
    let handle = pipeline.handle();
    let probes = [Probe::new(), Probe::new()];
    let mut asks = Vec::new();
    for (number, probe) in probes.iter().enumerate() {
        let Ok(lane) = handle.lane::<u64>("source", number) else {
            ensure!(false, "there is no lane {number}");
            continue;
        };
        let (subscription, ask) = lane.subscribe_manually();
        asks.push(ask);
        let sink = bench.sink(probe);
        pipeline
            .stage(format!("lane-{number}"))
            .consume(sink, subscription.mode(Mode::Temporary));
    }
    let run = bench.start(pipeline);
    for (ask, events) in asks.iter().zip([1, 5]) {
        ensure!(ask.ask(events).is_ok(), "an ask was refused");
    }
    settle().await;
    let status = run.handle.status();
    let Some(stage) = status.stage("source") else {
        // A source this small has ended.
        return no_fault(&probe);
    };
    let arrived: usize = probes.iter().map(Probe::arrived).sum();
    let known = arrived as u64 + stage.buffered + stage.dropped;
    let handed = book.handed() as u64;
    ensure!(
        known == handed,
        "hidden drops: of {handed} events {arrived} came, {} wait and {} are reported as dropped",
        stage.buffered,
        stage.dropped
    );
    Ok(())
}

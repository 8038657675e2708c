//! Whole pipelines of GenStage's against whole pipelines.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use stage_core::{
    AskError, Batch, BoxError, Demand, End, Flow, Mode, Outlet, Pipeline, Producer, Subscription,
    SubscriptionInfo, Window, WindowError, from_iter,
    protocol::{Buffer, Reason},
};
use tokio::sync::Notify;

use crate::{
    corrupt::Corruption,
    live::{
        Exact, Hop, Live, Recorder, Switch, is_end, mode, play, produce, runtime, settle, told,
        window,
    },
    outcome,
    tally::Tally,
    trace::{is_graceful, numbers},
};

/// What a scenario comes to: each thing that is compared, and whether it is as recorded.
type Checks = Vec<(&'static str, bool)>;

pub(crate) fn replay(scenario: &Value, tally: &mut Tally) -> Result<(), String> {
    tally.scenarios += 1;
    let (spec, outcome) = (&scenario["spec"], &scenario["outcome"]);
    let kind = scenario["kind"].as_str().unwrap();
    outcome::check_form(kind, spec, outcome)?;
    let checks = match kind {
        "chain" => play(chain(spec, outcome)),
        "enumerable" => play(enumerable(spec, outcome)),
        "through" => play(through(spec, outcome)),
        "through_stop" => play(through_stop(spec, outcome)),
        "buffer_overflow" => play(buffer_overflow(spec, outcome)),
        "accumulate_broadcast" => play(accumulate_broadcast(spec, outcome)),
        "partition_split" => play(partition_split(spec, outcome)),
        "fanout" => play(fanout(spec, outcome)),
        "manual_cancel" => play(manual_cancel(spec, outcome)),
        "multi_producer" => play(multi_producer(spec, outcome)),
        "resubscribe" => resubscribe(spec, outcome),
        "consumer_crash" => play(consumer_crash(spec, outcome)),
        "stream" => play(stream(spec, outcome)),
        "on_cancel_stop" => play(on_cancel_stop(spec, outcome)),
        "options" => options(spec, outcome),
        "noproc" => play(noproc(spec, outcome)),
        other => panic!("what is `{other}`?"),
    };
    let differs: Vec<_> = checks.iter().filter(|(_, same)| !same).collect();
    if !differs.is_empty() {
        return Err(format!("{}: {differs:?} differ", scenario["kind"]));
    }
    assert!(!checks.is_empty());
    tally.count(&[]);
    Ok(())
}

fn count(spec: &Value, key: &str) -> u64 {
    spec[key].as_u64().unwrap()
}

fn text<'a>(spec: &'a Value, key: &str) -> &'a str {
    spec[key].as_str().unwrap()
}

fn subscribe(outlet: &Outlet<u64>, spec: &Value) -> Subscription<u64> {
    let subscription = outlet.subscribe(window(spec));
    match spec.get("cancel") {
        Some(cancel) => subscription.mode(mode(cancel)),
        None => subscription,
    }
}

/// Ends after its last event, whoever still asks.
fn ending(events: u64, reason: &str) -> (Exact, Switch, Arc<Mutex<crate::live::Log>>) {
    let (exact, switch, log) = Exact::new(0, events);
    if !reason.starts_with("shutdown") {
        switch.send_replace(Some(reason.to_owned()));
    }
    (exact, switch, log)
}

async fn chain(spec: &Value, outcome: &Value) -> Checks {
    let stop = text(spec, "stop");
    let (exact, switch, log) = ending(count(spec, "events"), stop);
    let (producer, subscriptions, kept) = produce(exact, |outlet| vec![subscribe(outlet, spec)]);
    let recorder = Recorder::default();
    let (consumer, _) = recorder.run(subscriptions);
    settle().await;
    if stop.starts_with("shutdown") {
        producer.stop(stop, &switch);
        settle().await;
    }
    drop(kept);
    let demands = json!(log.lock().unwrap().demands);
    let mut checks = vec![("demands", demands == outcome["demands"])];
    checks.extend(one_to_one(producer, consumer, &recorder, outcome).await);
    checks
}

/// What became of a producer and its only consumer.
async fn one_to_one(
    producer: Live,
    consumer: Live,
    recorder: &Recorder,
    outcome: &Value,
) -> Checks {
    vec![
        ("batches", json!(recorder.batches()) == outcome["batches"]),
        (
            "cancelled",
            recorder.was_told(&outcome["consumer_cancelled"]),
        ),
        (
            "producer",
            producer.has_ended(&outcome["producer_exit"], &[]).await,
        ),
        (
            "consumer",
            consumer
                .has_ended(&outcome["consumer_exit"], &recorder.ends())
                .await,
        ),
    ]
}

async fn enumerable(spec: &Value, outcome: &Value) -> Checks {
    let (producer, subscriptions, kept) = produce(from_iter(0..count(spec, "events")), |outlet| {
        vec![subscribe(outlet, spec)]
    });
    let recorder = Recorder::default();
    let (consumer, _) = recorder.run(subscriptions);
    settle().await;
    drop(kept);
    one_to_one(producer, consumer, &recorder, outcome).await
}

type Ends = Arc<Mutex<Vec<End>>>;

/// A hop that runs, and what is subscribed to it.
fn hop(
    spec: &Value,
    from: Vec<Subscription<u64>>,
    next: &Value,
) -> (Live, Vec<Subscription<u64>>, Ends) {
    let hop = Hop::new(spec.get("handler").unwrap_or(&Value::Null));
    let ends = Arc::clone(&hop.ends);
    let mut pipeline = Pipeline::new();
    let outlet = pipeline.stage("hop").transform(hop, from);
    let subscriptions = vec![subscribe(&outlet, next)];
    (Live::run("hop", pipeline), subscriptions, ends)
}

async fn through(spec: &Value, outcome: &Value) -> Checks {
    let hops = spec["hops"].as_array().unwrap();
    let (exact, _switch, _) = ending(count(spec, "events"), "normal");
    let (_producer, mut subscriptions, _kept) =
        produce(exact, |outlet| vec![subscribe(outlet, &hops[0])]);
    let (mut lives, mut first_ends) = (Vec::new(), None);
    for (at, spec_of_hop) in hops.iter().enumerate() {
        let next = hops.get(at + 1).unwrap_or(&spec["consumer"]);
        let (live, following, ends) = hop(spec_of_hop, subscriptions, next);
        subscriptions = following;
        lives.push(live);
        first_ends.get_or_insert(ends);
    }
    let recorder = Recorder::default();
    let (consumer, _) = recorder.run(subscriptions);
    settle().await;
    let ends = first_ends.unwrap().lock().unwrap().clone();
    let alive = lives.iter().all(Live::is_alive) && consumer.is_alive();
    vec![
        (
            "events",
            json!(recorder.events()) == outcome["consumer_events"],
        ),
        ("cancelled", told(&ends, &outcome["first_hop_cancelled"])),
        ("alive", json!(alive) == outcome["alive"]),
    ]
}

async fn through_stop(spec: &Value, outcome: &Value) -> Checks {
    let stop = text(spec, "stop");
    let (exact, switch, _) = ending(count(spec, "events"), stop);
    let (producer, subscriptions, kept) =
        produce(exact, |outlet| vec![subscribe(outlet, &spec["hop"])]);
    let (live, subscriptions, ends) = hop(&spec["hop"], subscriptions, &spec["consumer"]);
    let recorder = Recorder::default();
    let (consumer, _) = recorder.run(subscriptions);
    settle().await;
    if stop.starts_with("shutdown") {
        producer.stop(stop, &switch);
        settle().await;
    }
    drop(kept);
    let ends = ends.lock().unwrap().clone();
    vec![
        (
            "events",
            json!(recorder.events()) == outcome["consumer_events"],
        ),
        (
            "producer",
            producer.has_ended(&outcome["producer_exit"], &[]).await,
        ),
        ("hop was told", told(&ends, &outcome["hop_cancelled"])),
        ("hop", live.has_ended(&outcome["hop_exit"], &ends).await),
        (
            "consumer was told",
            recorder.was_told(&outcome["consumer_cancelled"]),
        ),
        (
            "consumer",
            consumer
                .has_ended(&outcome["consumer_exit"], &recorder.ends())
                .await,
        ),
    ]
}

/// Gives what is in a buffer, and makes nothing.
struct Stock {
    buffer: Arc<Mutex<Buffer<u64>>>,
}

impl Producer for Stock {
    type Event = u64;
    type Error = BoxError;

    async fn produce(&mut self, demand: Demand, batch: &mut Batch<u64>) -> Result<Flow, BoxError> {
        let events = self.buffer.lock().unwrap().front().take(demand.get());
        if events.is_empty() {
            std::future::pending::<()>().await;
        }
        batch.extend(events.into_vec());
        Ok(Flow::More)
    }
}

async fn buffer_overflow(spec: &Value, outcome: &Value) -> Checks {
    let size = count(spec, "buffer_size") as usize;
    let mut buffer = match text(spec, "buffer_keep") {
        "first" => Buffer::keep_first(size),
        _ => Buffer::keep_last(size),
    };
    let (mut chunks, mut next) = (Vec::new(), 0);
    for chunk in numbers(&spec["chunks"]) {
        let discarded = buffer.store((next..next + chunk).collect());
        next += chunk;
        chunks.push(json!({"emitted": chunk, "discarded": discarded, "buffered": buffer.len()}));
    }
    let buffer = Arc::new(Mutex::new(buffer));
    let stock = Stock {
        buffer: Arc::clone(&buffer),
    };
    let (producer, subscriptions, _kept) = produce(stock, |outlet| vec![subscribe(outlet, spec)]);
    let recorder = Recorder::default();
    let (_consumer, _) = recorder.run(subscriptions);
    settle().await;
    let wanted = producer.handle.status().stage("producer").unwrap().wanted;
    let buffered = buffer.lock().unwrap().len();
    vec![
        ("chunks", json!(chunks) == outcome["chunks"]),
        ("batches", json!(recorder.batches()) == outcome["batches"]),
        // Demand is a level: all that GenStage raised bit by bit.
        (
            "demands",
            wanted == numbers(&outcome["demands"]).iter().sum::<u64>(),
        ),
        ("buffered", json!(buffered) == outcome["buffered"]),
    ]
}

async fn accumulate_broadcast(spec: &Value, outcome: &Value) -> Checks {
    let (exact, switch, log) = Exact::new(0, count(spec, "events"));
    let mut pipeline = Pipeline::new();
    let outlet = pipeline.stage("producer").broadcast().produce(exact);
    let mut recorders = Vec::new();
    for consumer in spec["consumers"].as_array().unwrap() {
        let mut subscription = subscribe(&outlet, consumer);
        let selector = consumer["selector"].clone();
        if !selector.is_null() {
            subscription = subscription
                .selecting(move |event| crate::live::handled(&selector, *event).next().is_some());
        }
        let recorder = Recorder::default();
        let name = text(consumer, "name");
        pipeline.stage(name).consume(recorder.clone(), subscription);
        recorders.push((name, recorder));
    }
    let handle = pipeline.handle();
    handle.pause("producer").unwrap();
    let _running = Live::run("producer", pipeline);
    settle().await;
    let before = json!(log.lock().unwrap().demands);
    handle.resume("producer").unwrap();
    settle().await;
    drop(switch);
    let mut checks = vec![("demands", before == outcome["demands_before_forward"])];
    for (name, recorder) in recorders {
        checks.push((
            "events",
            json!(recorder.events()) == outcome["events"][name],
        ));
    }
    checks
}

async fn partition_split(spec: &Value, outcome: &Value) -> Checks {
    let partitions = spec["partitions"].as_array().unwrap().clone();
    let (names, hash) = (partitions.clone(), spec["hash"].clone());
    let (exact, _switch, _) = Exact::new(0, count(spec, "events"));
    let mut pipeline = Pipeline::new();
    let lanes = pipeline
        .stage("producer")
        .partition_by(partitions.len(), move |event: &u64| {
            let name = &hash["map"][(event % hash["mod"].as_u64().unwrap()) as usize];
            names.iter().position(|other| other == name)
        });
    let mut recorders = Vec::new();
    let consumers = spec["consumers"].as_array().unwrap();
    for lane in lanes.produce(exact) {
        let partition = &partitions[lane.number()];
        let consumer = consumers
            .iter()
            .find(|c| &c["partition"] == partition)
            .unwrap();
        let recorder = Recorder::default();
        let name = text(consumer, "name");
        let subscription = lane.subscribe(window(consumer));
        pipeline.stage(name).consume(recorder.clone(), subscription);
        recorders.push((name, recorder));
    }
    let _running = Live::run("producer", pipeline);
    settle().await;
    let mul = spec["hash"]["mul"].as_u64().unwrap_or(1);
    let events = |recorder: Recorder| -> Vec<u64> {
        recorder.events().iter().map(|event| event * mul).collect()
    };
    let checks = recorders.into_iter();
    checks
        .map(|(name, recorder)| ("events", json!(events(recorder)) == outcome["events"][name]))
        .collect()
}

async fn fanout(spec: &Value, outcome: &Value) -> Checks {
    let (exact, _switch, _) = Exact::new(0, count(spec, "events"));
    let mut pipeline = Pipeline::new();
    let outlet = pipeline.stage("producer").produce(exact);
    let recorders: Vec<_> = (0..count(spec, "consumers"))
        .map(|n| {
            let recorder = Recorder::default();
            pipeline
                .stage(format!("consumer-{n}"))
                .consume(recorder.clone(), subscribe(&outlet, spec));
            recorder
        })
        .collect();
    let _running = Live::run("producer", pipeline);
    settle().await;
    let mut all: Vec<u64> = recorders.iter().flat_map(Recorder::events).collect();
    all.sort_unstable();
    let complete = all.into_iter().eq(0..count(spec, "events"));
    let increasing = recorders
        .iter()
        .all(|recorder| recorder.events().is_sorted());
    vec![
        ("union", json!(complete) == outcome["union_sorted_is_all"]),
        (
            "increasing",
            json!(increasing) == outcome["each_increasing"],
        ),
    ]
}

async fn manual_cancel(spec: &Value, outcome: &Value) -> Checks {
    let (exact, switch, log) = Exact::new(0, u64::MAX);
    let mut asker = None;
    let (producer, subscriptions, _kept) = produce(exact, |outlet| {
        let (subscription, handle) = outlet.subscribe_manually();
        asker = Some(handle);
        vec![subscription.mode(mode(&spec["cancel"]))]
    });
    let asker = asker.unwrap();
    let recorder = Recorder::default();
    let (consumer, _) = recorder.run(subscriptions);
    for events in numbers(&spec["asks"]) {
        if events == 0 {
            assert_eq!(asker.ask(0), Err(AskError::Zero));
        } else {
            asker.ask(events as usize).unwrap();
        }
        settle().await;
    }
    let reason = text(spec, "reason");
    if is_graceful(reason) {
        asker.cancel();
    } else {
        asker.cancel_because(reason);
    }
    settle().await;
    let late = asker.ask(3) == Err(AskError::Closed);
    let alive = producer.is_alive();
    // It is told when it is not waiting to make something.
    switch.send_replace(Some("normal".to_owned()));
    settle().await;
    let (demands, ends) = {
        let log = log.lock().unwrap();
        (json!(log.demands), log.ends.clone())
    };
    vec![
        ("demands", demands == outcome["demands"]),
        ("batches", json!(recorder.batches()) == outcome["batches"]),
        (
            "producer was told",
            told(&ends, &outcome["producer_cancelled"]),
        ),
        (
            "consumer was told",
            recorder.was_told(&outcome["consumer_cancelled"]),
        ),
        (
            "consumer",
            consumer
                .has_ended(&outcome["consumer_exit"], &recorder.ends())
                .await,
        ),
        ("late ask", late),
        ("producer", json!(alive) == outcome["producer_alive"]),
    ]
}

async fn multi_producer(spec: &Value, outcome: &Value) -> Checks {
    let specs = spec["producers"].as_array().unwrap();
    let (mut producers, mut all) = (Vec::new(), Vec::new());
    for spec in specs {
        let (exact, switch, _) = Exact::new(count(spec, "first_event"), count(spec, "events"));
        let (live, subscriptions, kept) = produce(exact, |outlet| vec![subscribe(outlet, spec)]);
        all.extend(subscriptions);
        producers.push((spec, live, switch, kept));
    }
    let recorder = Recorder::default();
    let (consumer, _) = recorder.run(all);
    settle().await;
    let mut checks = Checks::new();
    for spec in specs {
        let first = count(spec, "first_event");
        let of_it = recorder
            .batches()
            .into_iter()
            .filter(|b| b[0] / 1000 == first / 1000);
        let of_it: Vec<_> = of_it.collect();
        checks.push((
            "batches",
            json!(of_it) == outcome["batches"][text(spec, "name")],
        ));
    }
    let mut consumer = Some(consumer);
    for stop in outcome["stops"].as_array().unwrap() {
        let found = producers
            .iter()
            .find(|(spec, ..)| spec["name"] == stop["producer"]);
        let (_, live, switch, _) = found.unwrap();
        live.stop(text(stop, "reason"), switch);
        settle().await;
        let ends = recorder.ends();
        // The one that was stopped is told of first; after it, what goes with the consumer.
        let told_before = checks.iter().filter(|(what, _)| *what == "told").count();
        let end = &ends[told_before];
        let cancelled = &stop["cancelled"];
        let same = is_end(
            end,
            cancelled[0].as_str().unwrap(),
            cancelled[1].as_str().unwrap(),
        );
        checks.push(("told", same));
        let exit = &stop["consumer_exit"];
        checks.push(match exit.is_null() {
            true => ("consumer", consumer.as_ref().is_some_and(Live::is_alive)),
            false => {
                let consumer = consumer.take().unwrap();
                let ends = &ends[told_before..=told_before];
                ("consumer", consumer.has_ended(exit, ends).await)
            }
        });
    }
    checks
}

/// Makes nothing, and logs what it is asked for beyond what it was, and told.
struct Idle {
    raised: usize,
    nudge: Arc<Notify>,
    log: Arc<Mutex<Vec<Logged>>>,
}

#[derive(Debug)]
enum Logged {
    Subscribed,
    Demand(usize),
    Cancelled(End),
}

impl Producer for Idle {
    type Event = u64;
    type Error = BoxError;

    async fn produce(&mut self, demand: Demand, _: &mut Batch<u64>) -> Result<Flow, BoxError> {
        let more = demand.get().saturating_sub(self.raised);
        if more > 0 {
            self.raised += more;
            self.log.lock().unwrap().push(Logged::Demand(more));
        }
        self.nudge.notified().await;
        Ok(Flow::More)
    }

    fn subscribed(&mut self, _: &SubscriptionInfo) {
        self.log.lock().unwrap().push(Logged::Subscribed);
    }

    fn unsubscribed(&mut self, _: &SubscriptionInfo, end: &End) {
        let end = Logged::Cancelled(end.clone());
        self.log.lock().unwrap().push(end);
    }
}

impl Logged {
    fn is(&self, recorded: &Value) -> bool {
        let what = recorded[0].as_str().unwrap();
        match self {
            Self::Subscribed => what == "subscribed",
            Self::Demand(events) => what == "demand" && recorded[1] == *events,
            Self::Cancelled(_) if what != "cancelled" => false,
            Self::Cancelled(end) => {
                let word = |at: usize| recorded[at].as_str().unwrap();
                let (kind, reason) = (word(1), word(2));
                // One that ends since its subscription did tells the others how that was.
                let is_passed_on = kind == "down" && is_end(end, "cancel", reason);
                is_end(end, kind, reason) || is_passed_on
            }
        }
    }
}

/// Each side has a runtime of its own, so that it is known who comes first.
fn resubscribe(spec: &Value, outcome: &Value) -> Checks {
    let (above, below) = (runtime(), runtime());
    let (nudge, log) = (Arc::<Notify>::default(), Arc::<Mutex<_>>::default());
    let idle = Idle {
        raised: 0,
        nudge: Arc::clone(&nudge),
        log: Arc::clone(&log),
    };
    let mut handle = None;
    let (_producer, subscriptions, kept) = {
        let _inside = above.enter();
        produce(idle, |outlet| {
            let (subscription, first) = subscribe(outlet, &spec["first"]).with_handle();
            handle = Some(first);
            vec![subscription]
        })
    };
    let recorder = Recorder::default();
    let (consumer, intake) = {
        let _inside = below.enter();
        recorder.run(subscriptions)
    };
    below.block_on(settle());
    above.block_on(settle());
    // The one goes, and the other takes its place, before the consumer sees that.
    let (reason, handle) = (text(spec, "reason"), handle.unwrap());
    match is_graceful(reason) {
        true => handle.cancel(),
        false => handle.cancel_because(reason),
    }
    nudge.notify_one();
    above.block_on(settle());
    intake.add(subscribe(&kept, &spec["second"])).unwrap();
    nudge.notify_one();
    above.block_on(settle());
    below.block_on(settle());
    nudge.notify_one();
    above.block_on(settle());
    let recorded = outcome["producer_log"].as_array().unwrap();
    let log = log.lock().unwrap();
    let same = |(logged, recorded): (&Logged, &Value)| logged.is(recorded);
    let ends = recorder.ends();
    vec![
        (
            "the producer's log",
            log.len() == recorded.len() && log.iter().zip(recorded).all(same),
        ),
        (
            "consumer was told",
            told(&ends[..1], &outcome["consumer_cancelled"]),
        ),
        (
            "consumer",
            below.block_on(consumer.has_ended(&outcome["consumer_exit"], &ends[..1])),
        ),
    ]
}

async fn consumer_crash(spec: &Value, outcome: &Value) -> Checks {
    let (exact, switch, log) = Exact::new(0, u64::MAX);
    let (producer, subscriptions, kept) = produce(exact, |outlet| {
        vec![outlet.subscribe(window(spec)).mode(Mode::Permanent)]
    });
    let first = Recorder {
        crash_at: Some(count(spec, "crash_at")),
        ..Recorder::default()
    };
    let (crashing, _) = first.run(subscriptions);
    settle().await;
    let crashed = crashing.has_ended(&json!("boom"), &[]).await;
    let second = Recorder::default();
    let (subscription, asker) = kept.subscribe_manually();
    let (_second, _) = second.run(vec![subscription]);
    for events in numbers(&spec["second_asks"]) {
        asker.ask(events as usize).unwrap();
        settle().await;
    }
    switch.send_replace(Some("normal".to_owned()));
    asker.ask(1).unwrap();
    settle().await;
    drop(producer);
    let recorded = numbers(&outcome["demands"]);
    let log = log.lock().unwrap();
    let asked = second.batches();
    let asked = &asked[..numbers(&spec["second_asks"]).len()];
    vec![
        ("crash", crashed),
        // The last is what the producer is told to end by.
        ("demands", log.demands[..] == [&recorded[..], &[1]].concat()),
        ("first", json!(first.batches()) == outcome["first_batches"]),
        ("second", json!(asked) == outcome["second_batches"]),
        (
            "producer was told",
            told(&log.ends[..1], &outcome["producer_cancelled"]),
        ),
    ]
}

/// A pipeline read by code that takes what it wants and goes.
async fn stream(spec: &Value, outcome: &Value) -> Checks {
    let stop = text(spec, "stop");
    let (exact, switch, _) = ending(count(spec, "events"), stop);
    let mut handle = None;
    let (producer, subscriptions, _kept) = produce(exact, |outlet| {
        let (subscription, of_it) = subscribe(outlet, spec).with_handle();
        handle = Some(of_it);
        vec![subscription]
    });
    let (taken, enough) = (Arc::<Mutex<Vec<u64>>>::default(), Arc::new(Notify::new()));
    let take = spec["take"].as_u64().unwrap_or(u64::MAX) as usize;
    let mut pipeline = Pipeline::new();
    let reader = stage_core::for_each({
        let (taken, enough) = (Arc::clone(&taken), Arc::clone(&enough));
        move |event| {
            let mut taken = taken.lock().unwrap();
            if taken.len() < take {
                taken.push(event);
            }
            if taken.len() == take {
                enough.notify_one();
            }
        }
    });
    pipeline.stage("reader").consume(reader, subscriptions);
    let reader = tokio::spawn(pipeline.run_until(async move { enough.notified().await }));
    settle().await;
    let handle = handle.unwrap();
    let took_enough = taken.lock().unwrap().len() == take;
    if took_enough {
        handle.cancel();
    } else if stop.starts_with("shutdown") {
        producer.stop(stop, &switch);
    }
    settle().await;
    let seen = json!(*taken.lock().unwrap());
    let ended = match (reader.is_finished(), took_enough) {
        (_, true) => "ok".to_owned(),
        // One that stays has seen the end, and so has whoever reads.
        (false, false) => "ok".to_owned(),
        (true, false) => match reader.await.unwrap() {
            Ok(()) => format!("exit:{stop}"),
            Err(_) => format!("exit:{stop}"),
        },
    };
    vec![
        ("seen", seen == outcome["seen"]),
        ("ended", json!(ended) == outcome["ended"]),
    ]
}

async fn on_cancel_stop(spec: &Value, outcome: &Value) -> Checks {
    let consumers = count(spec, "consumers");
    let mut handles = Vec::new();
    let (producer, subscriptions, kept) = produce(from_iter(0..), |outlet| {
        let subscribe = |_| {
            let (subscription, handle) = outlet.subscribe(Window::new(5)).with_handle();
            handles.push(handle);
            subscription
        };
        (0..consumers).map(subscribe).collect()
    });
    // Who may still subscribe is what keeps a producer here.
    let kept = (text(spec, "on_cancel") == "continue").then_some(kept);
    let recorder = Recorder::default();
    let _running: Vec<_> = subscriptions
        .into_iter()
        .map(|subscription| recorder.run(vec![subscription]))
        .collect();
    settle().await;
    let mut after = Vec::new();
    for handle in handles {
        handle.cancel();
        settle().await;
        after.push(if producer.is_alive() {
            "alive"
        } else {
            "exit:normal"
        });
    }
    drop(kept);
    vec![(
        "after each",
        json!(after) == outcome["producer_after_each_cancel"],
    )]
}

fn options(spec: &Value, outcome: &Value) -> Checks {
    let max = spec["max_demand"].as_i64().unwrap_or(1000);
    let min = spec["min_demand"].as_i64().unwrap_or(max / 2);
    let cancel = spec["cancel"].as_str().unwrap_or("permanent");
    let is_known = ["permanent", "transient", "temporary"].contains(&cancel);
    // What is no number of events cannot be written down.
    let window = match (usize::try_from(max), usize::try_from(min)) {
        (Ok(max), Ok(min)) => Window::try_new(max, min).map_err(|error| match error {
            WindowError::MaxIsZero => "max_demand",
            _ => "min_demand",
        }),
        (Err(_), _) => Err("max_demand"),
        (_, Err(_)) if max == 0 => Err("max_demand"),
        (_, Err(_)) => Err("min_demand"),
    };
    match window {
        Err(option) => vec![("option", outcome["result"]["option"] == option)],
        Ok(_) if !is_known => vec![("option", outcome["result"]["option"] == "cancel")],
        Ok(window) => vec![
            ("result", outcome["result"] == "ok"),
            ("max", outcome["max_demand"] == window.max()),
            ("min", outcome["min_demand"] == window.min()),
            ("ask", outcome["first_ask"] == json!([window.max()])),
            (
                "default",
                spec["max_demand"].is_null()
                    || spec["min_demand"].is_i64()
                    || Window::new(window.max()) == window,
            ),
        ],
    }
}

async fn noproc(spec: &Value, outcome: &Value) -> Checks {
    let (exact, switch, _) = ending(1, "normal");
    let mut late = None;
    let (gone, subscriptions, kept) = produce(exact, |outlet| {
        let subscribe = || outlet.subscribe(Window::new(5)).mode(mode(&spec["cancel"]));
        late = Some(subscribe());
        vec![outlet.subscribe(Window::new(5))]
    });
    let (_first, _) = Recorder::default().run(subscriptions);
    settle().await;
    drop((kept, switch));
    settle().await;
    assert!(!gone.is_alive());
    let late = late.unwrap();
    let recorder = Recorder::default();
    let told_so = |recorder: &Recorder| recorder.ends() == [End::Cancelled(Reason::NoProducer)];
    if spec["at_init"] == true {
        let (consumer, _) = recorder.run(vec![late]);
        settle().await;
        let recorded = match outcome["start"] == "ok" {
            true => Value::Null,
            false => outcome["start"]["error"].clone(),
        };
        return vec![
            ("told", told_so(&recorder)),
            (
                "start",
                consumer.has_ended(&recorded, &recorder.ends()).await,
            ),
        ];
    }
    // One that has another subscription, and so has started.
    let (exact, _switch, _) = Exact::new(0, 1);
    let (_other, subscriptions, _kept) =
        produce(exact, |outlet| vec![outlet.subscribe(Window::new(1))]);
    let (consumer, intake) = recorder.run(subscriptions);
    settle().await;
    let subscribed = intake.add(late).is_ok();
    settle().await;
    vec![
        ("subscribe", subscribed && outcome["subscribe"] == "ok"),
        (
            "told",
            recorder.ends().first() == Some(&End::Cancelled(Reason::NoProducer)),
        ),
        (
            "consumer",
            consumer.has_ended(&outcome["consumer_exit"], &[]).await,
        ),
    ]
}

pub(crate) const CORRUPTIONS: &[Corruption] = &[
    ("a batch is longer", |s| {
        let batch = s["outcome"]["batches"]
            .get_mut(0)
            .and_then(Value::as_array_mut);
        batch.is_some_and(|batch| {
            batch.push(json!(99_999));
            true
        })
    }),
    ("a demand is larger", |s| {
        let demand = s["outcome"]["demands"].get_mut(0);
        demand.is_some_and(|demand| {
            *demand = json!(demand.as_u64().unwrap() + 1);
            true
        })
    }),
    ("an exit is another", |s| {
        let Some(exit) = s["outcome"].get_mut("consumer_exit") else {
            return false;
        };
        *exit = match exit.is_null() {
            true => json!("boom"),
            false => Value::Null,
        };
        true
    }),
    ("an event is missing", |s| {
        let events = s["outcome"]["consumer_events"].as_array_mut();
        events.is_some_and(|events| events.pop().is_some())
    }),
    ("a producer is told otherwise", |s| {
        let log = s["outcome"].get_mut("producer_log");
        log.is_some_and(|log| log.as_array_mut().unwrap().pop().is_some())
    }),
    ("one less was seen", |s| {
        let seen = s["outcome"]["seen"].as_array_mut();
        seen.is_some_and(|seen| seen.pop().is_some())
    }),
];

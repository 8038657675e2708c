//! What a plan does to calls.

use kinesis_source::{ConsumerAddress, KinesisFanOutApi};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake},
};

use super::*;

/// A fake with three records on one shard, without limits, and an iterator to the first of them.
async fn with(fault: Fault) -> (Fake, ShardIterator) {
    let fake = Fake::builder().limits(Limits::none()).build();
    fake.put_numbered(0..3).unwrap();
    let at = iterator(&fake, &shard(0), Position::TrimHorizon).await;
    fake.inject(fault);
    (fake, at)
}

async fn read_under(fault: Fault) -> RecordsPage {
    let (fake, at) = with(fault).await;
    fake.get_records(&at, 10).await.unwrap()
}

async fn read_under_rewrite(rewrite: Rewrite) -> RecordsPage {
    read_under(Fault::rewritten(Operation::GetRecords, rewrite)).await
}

#[tokio::test(start_paused = true)]
async fn a_call_is_refused_with_any_code_and_not_carried_out() {
    let (fake, at) = with(Fault::refusal(Operations::ALL, "UnheardOfException")).await;
    let error = fake.put_records(&[entry("k", 1)]).await.unwrap_err();
    assert_eq!(error.code(), Some("UnheardOfException"));
    assert_eq!(error.remedy(), Remedy::Retry);
    assert_eq!(fake.get_records(&at, 10).await.unwrap().records.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_delayed_call_is_carried_out_later_and_a_late_answer_is_as_old_as_its_call() {
    let second = Duration::from_secs(1);
    for (fault, seen) in [
        (Fault::delayed(Operation::GetRecords, second), 4),
        (Fault::late_answer(Operation::GetRecords, second), 3),
    ] {
        let shown = format!("{fault:?}");
        let (fake, at) = with(fault).await;
        let begun = Instant::now();
        let read = tokio::spawn({
            let fake = fake.clone();
            async move { fake.get_records(&at, 10).await.unwrap() }
        });
        sleep(second / 2).await;
        fake.put("k", "later").unwrap();
        let page = read.await.unwrap();
        assert_eq!(page.records.len(), seen, "{shown}");
        assert_eq!(begun.elapsed(), second, "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hung_call_is_never_answered_nor_carried_out_and_can_be_dropped() {
    let (fake, at) = with(Fault::hung(Operations::ALL)).await;
    let put = [entry("k", 1)];
    let put = timeout(Duration::from_secs(86_400), fake.put_records(&put));
    assert!(put.await.is_err());
    let page = fake.get_records(&at, 10).await.unwrap();
    assert_eq!(page.records.len(), 3);
    let tally = fake.calls().of(Operation::PutRecords);
    assert_eq!((tally.made, tally.failed), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_cut_or_garbled_is_worth_a_retry_and_its_call_was_carried_out() {
    let operation = Operation::PutRecords;
    for fault in [
        Fault::lost_answer(operation),
        Fault::cut_answer(operation, 20),
        Fault::garbled_answer(operation),
    ] {
        let shown = format!("{fault:?}");
        let (fake, at) = with(fault).await;
        let put = fake.put_records(&[entry("k", 1)]).await;
        assert_eq!(remedy(put), Remedy::Retry, "{shown}");
        let page = fake.get_records(&at, 10).await.unwrap();
        assert_eq!(page.records.len(), 4, "{shown}");
        assert_eq!(fake.calls().of(operation).failed, 1, "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_page_and_a_duplicate_page_lead_back_to_the_same_records() {
    for (rewrite, first) in [(Rewrite::EMPTY_PAGE, 0), (Rewrite::DUPLICATE_PAGE, 3)] {
        let (fake, at) = with(Fault::rewritten(Operation::GetRecords, rewrite)).await;
        let page = fake.get_records(&at, 10).await.unwrap();
        assert_eq!(page.records.len(), first);
        let again = fake.get_records(&page.next.unwrap(), 10).await.unwrap();
        assert_eq!(data(&again.records), ["0", "1", "2"]);
    }
}

#[tokio::test(start_paused = true)]
async fn records_are_rewritten_as_the_name_says() {
    let pages = |rewrite| read_under_rewrite(rewrite);
    let page = pages(Rewrite::REPEATED_RECORDS).await;
    assert_eq!(data(&page.records), ["0", "0", "1", "1", "2", "2"]);
    let page = pages(Rewrite::WRONG_ORDER).await;
    assert_eq!(data(&page.records), ["2", "1", "0"]);
    assert_eq!(pages(Rewrite::MISSING_RECORD).await.records.len(), 2);
    let page = pages(Rewrite::NO_NEXT_ITERATOR).await;
    assert_eq!((page.next, page.records.len()), (None, 3));
    let keys = |page: RecordsPage| page.records.iter().all(|it| it.partition_key.is_none());
    assert!(keys(pages(Rewrite::NO_PARTITION_KEYS).await));
    let times = |page: RecordsPage| {
        page.records
            .iter()
            .all(|it| it.approximate_arrival.is_none())
    };
    assert!(times(pages(Rewrite::NO_ARRIVAL_TIMES).await));
    let lag = pages(Rewrite::NO_LAG).await.millis_behind_latest;
    assert_eq!(lag, None);
    let lag = pages(Rewrite::HUGE_LAG).await.millis_behind_latest;
    assert_eq!(lag, Some(86_400_000));
    let own = Rewrite::records("only one", |page| page.records.truncate(1));
    assert_eq!(pages(own).await.records.len(), 1);
    // What is about listings leaves reads alone.
    let listings = Fault::rewritten(Operations::ALL, Rewrite::NO_SHARDS);
    assert_eq!(read_under(listings).await.records.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn arrival_times_run_backwards() {
    let fake = Fake::builder().limits(Limits::none()).build();
    for number in 0..3 {
        fake.put_numbered(number..number + 1).unwrap();
        sleep(millis(10)).await;
    }
    let rewrite = Rewrite::ARRIVAL_TIMES_BACKWARDS;
    fake.inject(Fault::rewritten(Operation::GetRecords, rewrite));
    let at = iterator(&fake, &shard(0), Position::TrimHorizon).await;
    let page = fake.get_records(&at, 10).await.unwrap();
    assert_eq!(data(&page.records), ["0", "1", "2"]);
    let times: Vec<_> = page
        .records
        .iter()
        .map(|it| it.approximate_arrival)
        .collect();
    assert!(times[0] > times[1] && times[1] > times[2], "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_shard_may_name_no_children() {
    let (fake, at) = with(Fault::rewritten(
        Operation::GetRecords,
        Rewrite::NO_CHILDREN,
    ))
    .await;
    fake.split_shard(&shard(0), 1 << 127).await.unwrap();
    sleep(Duration::from_secs(30)).await;
    let end = fake.get_records(&at, 10).await.unwrap();
    assert_eq!((end.next, end.children.len()), (None, 0));
    let end = fake.get_records(&at, 10).await.unwrap();
    assert_eq!((end.next, end.children.len()), (None, 2));
}

#[tokio::test(start_paused = true)]
async fn listings_are_rewritten_as_the_name_says() {
    let listed = async |rewrite| {
        let fake = Fake::builder().shards(4).page_size(2).build();
        let first = fake.list_shards(None).await.unwrap();
        fake.inject(Fault::rewritten(Operation::ListShards, rewrite));
        let second = fake.list_shards(first.next.clone()).await.unwrap();
        let names = second.shards.iter().map(|it| it.id.to_string());
        (names.collect::<Vec<_>>(), second.next == first.next)
    };
    let (two, three) = ("shardId-000000000002", "shardId-000000000003");
    assert_eq!(listed(Rewrite::NO_SHARDS).await, (vec![], false));
    assert_eq!(listed(Rewrite::MISSING_SHARD).await.0.len(), 1);
    let backwards = listed(Rewrite::SHARDS_BACKWARDS).await;
    assert_eq!(backwards.0, [three, two]);
    let same_token = listed(Rewrite::SAME_TOKEN).await;
    assert_eq!(same_token, (vec![two.into(), three.into()], true));
    let own = Rewrite::shards("the first", |page| page.shards.truncate(1));
    assert_eq!(listed(own).await.0, [two]);

    let fake = Fake::builder().shards(4).page_size(2).build();
    fake.inject(Fault::rewritten(Operation::ListShards, Rewrite::NO_TOKEN));
    assert_eq!(fake.list_shards(None).await.unwrap().next, None);
}

#[tokio::test(start_paused = true)]
async fn swizzled_shards_stand_still_and_go_on_in_another_order() {
    let plan = FaultPlan::new(1).with(
        Fault::held(Operation::GetRecords).swizzled(
            Swizzle::of(0.5)
                .stopping_over(Duration::ZERO)
                .lasting(Duration::from_secs(20)),
        ),
    );
    let fake = Fake::builder()
        .shards(20)
        .limits(Limits::none())
        .follow(plan)
        .build();
    let begun = Instant::now();
    let mut reads = JoinSet::new();
    for number in 0..20 {
        let fake = fake.clone();
        reads.spawn(async move {
            let at = iterator(&fake, &shard(number), Position::TrimHorizon).await;
            fake.get_records(&at, 1).await.unwrap();
            (begun.elapsed(), number)
        });
    }
    let mut answered = Vec::new();
    while let Some(read) = reads.join_next().await {
        answered.push(read.unwrap());
    }
    let held: Vec<_> = answered
        .iter()
        .filter(|(after, _)| !after.is_zero())
        .collect();
    assert_eq!(fake.fault_report().fired(), held.len() as u64);
    assert!((5..15).contains(&held.len()), "{answered:?}");
    assert!(
        held.iter()
            .all(|(after, _)| (20..30).contains(&after.as_secs()))
    );
    let released: Vec<_> = held.iter().map(|(_, number)| number).collect();
    assert!(!released.is_sorted(), "{released:?}");
}

/// What a worker meets, in a text that has everything.
async fn trace(seed: u64) -> String {
    let plan = FaultPlan::drawn(seed, Duration::from_secs(600))
        .with(Fault::refusal(Operation::GetRecords, "InternalFailure").with_probability(0.2));
    let fake = Fake::builder().follow(plan).build();
    fake.put_numbered(0..50).unwrap();
    let mut trace = String::new();
    let begun = Instant::now();
    let mut at = None;
    for _ in 0..300 {
        let next = match at.take() {
            None => {
                fake.get_shard_iterator(&shard(0), &Position::TrimHorizon)
                    .await
            }
            Some(at) => {
                let page = fake.get_records(&at, 7).await;
                trace += &format!("{:?} {page:?}\n", begun.elapsed());
                page.map(|page| page.next.unwrap())
            }
        };
        match next {
            Ok(next) => at = Some(next),
            Err(error) => trace += &format!("{:?} {error}\n", begun.elapsed()),
        }
        sleep(millis(2_100)).await;
    }
    trace + &fake.fault_report().to_string()
}

#[test]
fn a_seed_gives_the_same_trace_byte_for_byte() {
    let current_thread = |seed| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(trace(seed))
    };
    let mut traces: Vec<_> = (0..20).map(current_thread).collect();
    for (seed, trace) in (0..20).zip(&traces) {
        assert_eq!(&current_thread(seed), trace, "seed {seed}");
    }
    assert!(traces.iter().any(|trace| trace.contains("InternalFailure")));
    traces.sort();
    traces.dedup();
    assert_eq!(traces.len(), 20, "each seed has a trace of its own");
}

/// What is drawn does not depend on time: so it is the same where time cannot be paused.
#[test]
fn a_seed_strikes_the_same_calls_on_either_runtime() {
    async fn outcomes() -> String {
        let plan = FaultPlan::new(3)
            .with(Fault::refusal(Operation::GetRecords, "InternalFailure").with_probability(0.2))
            .with(Fault::rewritten(Operation::GetRecords, Rewrite::MISSING_RECORD).every(3))
            .with(Fault::garbled_answer(Operations::ALL).with_probability(0.1));
        let fake = Fake::builder().limits(Limits::none()).build();
        fake.put_numbered(0..50).unwrap();
        let at = iterator(&fake, &shard(0), Position::TrimHorizon).await;
        fake.follow(&plan);
        let mut outcomes = String::new();
        for _ in 0..500 {
            let page = fake.get_records(&at, 7).await;
            let page = page.map(|page| data(&page.records));
            outcomes += &format!("{page:?}\n");
        }
        outcomes + &fake.fault_report().to_string()
    }
    let current_thread = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let multi_thread = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let paused = current_thread.block_on(outcomes());
    let threads = multi_thread.block_on(multi_thread.spawn(outcomes()));
    assert_eq!(paused, threads.unwrap());
    assert!(paused.contains("InternalFailure") && paused.contains("makes no sense"));
}

/// A subscription from the start of a shard that has three records, whose events meet with `fault`.
async fn subscribed(fault: Fault) -> (Fake, kinesis_source::ShardSubscription) {
    let fake = Fake::builder().instant().limits(Limits::none()).build();
    fake.put_numbered(0..3).unwrap();
    let consumer = fake.register_stream_consumer("audit").await.unwrap();
    fake.inject(fault.in_stream());
    let (shard, position) = (shard(0), Position::TrimHorizon);
    let subscription = fake.subscribe_to_shard(&consumer.arn, &shard, &position);
    let subscription = subscription.await.unwrap();
    (fake, subscription)
}

#[tokio::test(start_paused = true)]
async fn an_event_is_refused_spoiled_or_delayed_and_a_call_is_not() {
    let operation = Operation::SubscribeToShard;
    for (fault, remedy) in [
        (
            Fault::refusal(operation, "ResourceInUseException"),
            Remedy::AwaitActive,
        ),
        (Fault::lost_answer(operation), Remedy::Retry),
        (Fault::cut_answer(operation, 9), Remedy::Retry),
        (Fault::garbled_answer(operation), Remedy::Retry),
    ] {
        let shown = format!("{fault:?}");
        let (fake, mut subscription) = subscribed(fault).await;
        let error = subscription.next().await.unwrap().unwrap_err();
        assert_eq!(error.remedy(), remedy, "{shown}");
        assert!(subscription.next().await.is_none(), "{shown}");
        assert_eq!(fake.calls().of(operation).failed, 0, "{shown}");
    }
    let second = Duration::from_secs(1);
    let (_, mut subscription) = subscribed(Fault::delayed(operation, second)).await;
    let begun = Instant::now();
    let event = subscription.next().await.unwrap().unwrap();
    assert_eq!((event.records.len(), begun.elapsed()), (3, second));
}

/// Reads events until `end`: whoever hears an error, or nothing for 20 s, subscribes anew. How many records
/// came.
async fn follow_events(fake: &Fake, end: Instant) -> usize {
    let arn = loop {
        let consumer = fake.register_stream_consumer("audit");
        match timeout(Duration::from_secs(20), consumer).await {
            Ok(Ok(consumer)) => break consumer.arn,
            // The answer was lost on its way.
            Ok(Err(_)) | Err(_) => {
                let address = ConsumerAddress::Name("audit".to_owned());
                if let Ok(found) = fake.describe_stream_consumer(&address).await {
                    break found.arn;
                }
            }
        }
        sleep(Duration::from_secs(6)).await;
    };
    let (mut position, mut came) = (Position::TrimHorizon, 0);
    let at = shard(0);
    while Instant::now() < end {
        sleep(Duration::from_secs(6)).await;
        let subscription = fake.subscribe_to_shard(&arn, &at, &position);
        let Ok(Ok(mut subscription)) = timeout(Duration::from_secs(20), subscription).await else {
            continue;
        };
        while Instant::now() < end
            && let Ok(Some(Ok(event))) = timeout(Duration::from_secs(20), subscription.next()).await
        {
            came += event.records.len();
            let go_on = event.continuation_sequence_number;
            position = Position::AfterSequenceNumber(go_on.unwrap());
        }
    }
    came
}

#[tokio::test(start_paused = true)]
async fn drawn_plans_strike_events_in_every_way_and_then_all_is_well() {
    let span = Duration::from_secs(300);
    let mut struck = std::collections::BTreeMap::new();
    for seed in 0..100 {
        let plan = FaultPlan::drawn(seed, span);
        let fake = Fake::builder().instant().follow(plan).build();
        let begun = Instant::now();
        let producer = {
            let fake = fake.clone();
            tokio::spawn(async move {
                for second in 0..600 {
                    fake.put_numbered(second..second + 1).unwrap();
                    sleep(Duration::from_secs(1)).await;
                }
            })
        };
        let came = follow_events(&fake, begun + span * 2 + Duration::from_secs(60)).await;
        producer.await.unwrap();
        assert!(came >= 600, "seed {seed}: {came} records came");
        for row in fake.fault_report().rows {
            let shown = format!("{:?}", row.fault);
            if shown.contains(".in_stream()") {
                let kind = shown.split_once('(').unwrap().0.to_owned();
                *struck.entry(kind).or_insert(0) += row.fired;
            }
        }
    }
    let kinds = [
        "cut_answer",
        "delayed",
        "garbled_answer",
        "held",
        "lost_answer",
        "refusal",
    ];
    let kinds = kinds.map(|kind| format!("Fault::{kind}"));
    assert!(struck.keys().eq(&kinds), "{struck:?}");
    assert!(struck.values().all(|fired| *fired > 0), "{struck:?}");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_falls_silent_and_does_not_end() {
    let (_, mut subscription) = subscribed(Fault::hung(Operation::SubscribeToShard)).await;
    let silence = timeout(Duration::from_secs(3_600), subscription.next()).await;
    assert!(silence.is_err());
}

#[tokio::test(start_paused = true)]
async fn events_are_rewritten_as_the_name_says() {
    let event = async |rewrite| {
        let fault = Fault::rewritten(Operation::SubscribeToShard, rewrite);
        let (_, mut subscription) = subscribed(fault).await;
        subscription.next().await.unwrap().unwrap()
    };
    let backwards = event(Rewrite::WRONG_ORDER).await;
    assert_eq!(data(&backwards.records), ["2", "1", "0"]);
    let repeated = event(Rewrite::REPEATED_RECORDS).await;
    assert_eq!(repeated.records.len(), 6);
    let ended = event(Rewrite::NO_NEXT_ITERATOR).await;
    assert_eq!(ended.continuation_sequence_number, None);
    assert_eq!(event(Rewrite::NO_LAG).await.millis_behind_latest, None);
    let own = Rewrite::events("only one", |event| event.records.truncate(1));
    assert_eq!(event(own).await.records.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_meant_for_calls_leaves_events_alone() {
    let fault = Fault::refusal(Operation::SubscribeToShard, "InternalFailure").always();
    let fake = Fake::builder().instant().limits(Limits::none()).build();
    fake.put_numbered(0..3).unwrap();
    let consumer = fake.register_stream_consumer("audit").await.unwrap();
    let (shard, position) = (shard(0), Position::TrimHorizon);
    let subscription = fake.subscribe_to_shard(&consumer.arn, &shard, &position);
    let mut subscription = subscription.await.unwrap();
    fake.inject(fault);
    let event = subscription.next().await.unwrap().unwrap();
    assert_eq!(event.records.len(), 3);
    let refused = fake.subscribe_to_shard(&consumer.arn, &shard, &position);
    assert_eq!(remedy(refused.await), Remedy::Retry);
}

#[tokio::test(start_paused = true)]
async fn a_swizzle_may_last_for_ever() {
    let swizzle = Swizzle::of(1.0);
    for swizzle in [
        swizzle.lasting(Duration::MAX),
        swizzle.stopping_over(Duration::MAX),
        swizzle.releasing_over(Duration::MAX).lasting(Duration::MAX),
        swizzle.from(millis(1)).lasting(Duration::MAX),
    ] {
        let fake = Fake::new(1);
        fake.inject(Fault::held(Operation::GetShardIterator).swizzled(swizzle));
        for _ in 0..15 {
            advance(millis(1_000)).await;
            let (shard, position) = (shard(0), Position::TrimHorizon);
            let call = fake.get_shard_iterator(&shard, &position);
            let _ = timeout(millis(1), call).await;
        }
        // Stopped or not yet: nothing has been harmed.
        assert_eq!(fake.shards().len(), 1);
        assert_eq!(fake.calls().of(Operation::GetShardIterator).made, 15);
    }
}

/// Without a runtime: nothing but the fake's own clock can end them.
#[test]
fn delays_go_by_a_clock_that_is_moved_by_hand() {
    let window = millis(5_000)..millis(20_000);
    let operation = Operation::GetShardIterator;
    for (fault, ends) in [
        (Fault::delayed(operation, millis(10_000)), 10_000),
        (Fault::late_answer(operation, millis(10_000)), 10_000),
        (Fault::held(operation).between(window), 15_000),
    ] {
        let fake = Fake::builder().manual_clock().build();
        fake.inject(fault);
        fake.advance(millis(5_000));
        let (shard, position) = (shard(0), Position::TrimHorizon);
        let woken = Arc::new(Woken::default());
        let waker = woken.clone().into();
        let mut context = Context::from_waker(&waker);
        let mut call = fake.get_shard_iterator(&shard, &position);
        assert!(call.as_mut().poll(&mut context).is_pending());
        fake.advance(millis(ends - 1));
        assert!(
            woken.0.swap(false, Ordering::SeqCst),
            "to look at the clock"
        );
        assert!(call.as_mut().poll(&mut context).is_pending());
        fake.advance(millis(1));
        assert!(woken.0.swap(false, Ordering::SeqCst), "it is time");
        let answer = call.as_mut().poll(&mut context);
        assert!(matches!(answer, Poll::Ready(Ok(_))), "{answer:?}");
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_rewrite_that_changes_nothing_has_not_fired_and_is_not_spent() {
    let fake = Fake::builder().instant().limits(Limits::none()).build();
    fake.inject(Fault::rewritten(Operation::ListShards, Rewrite::SAME_TOKEN));
    fake.inject(Fault::rewritten(
        Operation::GetRecords,
        Rewrite::NO_CHILDREN,
    ));
    fake.inject(Fault::rewritten(
        Operation::PutRecords,
        Rewrite::OUTCOMES_BACKWARDS,
    ));
    fake.inject(Fault::rewritten(Operations::ALL, Rewrite::NO_TOKEN).times(2));
    fake.list_shards(None).await.unwrap();
    let at = iterator(&fake, &shard(0), Position::TrimHorizon).await;
    fake.get_records(&at, 1).await.unwrap();
    fake.put_records(&[entry("k", 1)]).await.unwrap();
    fake.merge_shards(&shard(0), &shard(7)).await.unwrap_err();
    let report = fake.fault_report();
    assert_eq!((report.fired(), fake.faults_waiting()), (0, 4), "{report}");

    fake.split_shard(&shard(0), 1 << 127).await.unwrap();
    sleep(millis(1)).await;
    let (_, last) = drain(&fake, &shard(0)).await;
    assert_eq!((last.next, last.children), (None, Vec::new()));
    let report = fake.fault_report();
    assert_eq!((report.fired(), fake.faults_waiting()), (1, 3), "{report}");
    let (_, last) = drain(&fake, &shard(0)).await;
    assert_eq!(last.children.len(), 2, "it has been spent");
}

#[tokio::test]
async fn what_is_cleared_while_it_strikes_does_not_come_back() {
    let fake = Fake::new(1);
    let clears = fake.clone();
    let clear = Rewrite::records("nothing", move |_| clears.clear_faults());
    fake.inject(Fault::rewritten(Operation::GetRecords, clear));
    let at = iterator(&fake, &shard(0), Position::TrimHorizon).await;
    fake.get_records(&at, 1).await.unwrap();
    assert_eq!(fake.faults_waiting(), 0);
}

#[test]
fn a_rewrite_may_use_the_fake() {
    let (done, ended) = std::sync::mpsc::channel();
    // If it waits for itself, it does so for ever.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().build().unwrap();
        let page = runtime.block_on(async {
            let fake = Fake::new(1);
            let puts = fake.clone();
            let put = Rewrite::records("a late put", move |page| {
                puts.put("k", "late").unwrap();
                page.millis_behind_latest = None;
            });
            fake.inject(Fault::rewritten(Operation::GetRecords, put));
            let at = iterator(&fake, &shard(0), Position::TrimHorizon).await;
            fake.get_records(&at, 1).await.unwrap()
        });
        done.send(page).unwrap();
    });
    let page = ended.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!((page.records.len(), page.millis_behind_latest), (0, None));
}

fn entries(count: u32) -> Vec<PutEntry> {
    let entries = (0..count).map(|number| PutEntry {
        data: number.to_string().into(),
        ..entry(&format!("key-{number}"), 0)
    });
    entries.collect()
}

fn stored(outcomes: &[PutOutcome]) -> Vec<bool> {
    let is_stored = |it: &PutOutcome| matches!(it, PutOutcome::Stored { .. });
    outcomes.iter().map(is_stored).collect()
}

#[tokio::test(start_paused = true)]
async fn a_part_of_the_records_of_a_put_is_refused_and_the_rest_is_put() {
    let codes = ["ProvisionedThroughputExceededException", "InternalFailure"];
    let struck = async |seed, code| {
        let plan = FaultPlan::new(seed).with(Fault::refused_records(0.3, code).times(2));
        let fake = Fake::builder().follow(plan).build();
        let mut all = Vec::new();
        for _ in 0..3 {
            let outcomes = fake.put_records(&entries(100)).await.unwrap();
            for outcome in &outcomes {
                if let PutOutcome::Refused { code: said, .. } = outcome {
                    assert_eq!(said, code);
                }
            }
            all.push(stored(&outcomes));
        }
        let kept = fake.records()[0].1.len();
        assert_eq!(kept, all.iter().flatten().filter(|it| **it).count());
        assert_eq!(fake.fault_report().fired(), 2);
        all
    };
    for code in codes {
        let all = struck(7, code).await;
        for (round, refused) in [(0, true), (1, true), (2, false)] {
            let count = all[round].iter().filter(|it| !**it).count();
            assert_eq!((15..45).contains(&count), refused, "{count}");
            assert_eq!(count == 0, !refused);
        }
        assert_ne!(all[0], all[1]);
        assert_eq!(struck(7, code).await, all);
        assert_ne!(struck(8, code).await, all);
    }
}

#[tokio::test(start_paused = true)]
async fn a_share_that_chooses_no_record_has_not_struck() {
    let fake = Fake::new(1);
    fake.inject(Fault::refused_records(0.0, "InternalFailure"));
    fake.inject(Fault::refused_records(1.0, "InternalFailure").after(1));
    for all_stored in [true, false, true] {
        let outcomes = fake.put_records(&entries(2)).await.unwrap();
        assert_eq!(stored(&outcomes), [all_stored; 2]);
        fake.clear_faults();
        fake.inject(match all_stored {
            true => Fault::refused_records(1.0, "InternalFailure"),
            false => Fault::refused_records(0.0, "InternalFailure"),
        });
    }
    let fired: Vec<_> = fake.fault_report().rows.iter().map(|it| it.fired).collect();
    assert_eq!(fired, [0, 0, 1, 0, 0]);
    let printed = format!("{:?}", Fault::refused_records(0.5, "X").always());
    assert_eq!(printed, r#"Fault::refused_records(0.5, "X").always()"#);
}

/// A hot shard, as a writer meets it.
#[tokio::test(start_paused = true)]
async fn records_of_one_shard_are_refused() {
    let fake = Fake::new(4);
    let hot = shard(2);
    let code = "ProvisionedThroughputExceededException";
    fake.inject(Fault::refused_records(1.0, code).on_shard(&hot).always());
    let outcomes = fake.put_records(&entries(100)).await.unwrap();
    let stored = outcomes.iter().filter_map(|outcome| match outcome {
        PutOutcome::Stored { shard, .. } => Some(shard.clone()),
        PutOutcome::Refused { .. } => None,
    });
    let shards: Vec<_> = stored.collect();
    assert!(shards.len() < 100, "none was refused");
    assert!(!shards.contains(&hot));
    let others: std::collections::BTreeSet<_> = shards.into_iter().collect();
    assert_eq!(others.len(), 3);
    assert_eq!(fake.fault_report().fired(), 1);
}

#[tokio::test(start_paused = true)]
async fn outcomes_of_puts_are_rewritten_as_the_name_says() {
    let put = async |rewrite| {
        let fake = Fake::new(1);
        let twin = Fake::new(1).put_records(&entries(3)).await.unwrap();
        fake.inject(Fault::rewritten(Operation::PutRecords, rewrite));
        let outcomes = fake.put_records(&entries(3)).await.unwrap();
        assert_eq!(fake.records()[0].1.len(), 3, "all are stored");
        assert_eq!(fake.fault_report().fired(), 1);
        (outcomes, twin)
    };
    let (outcomes, _) = put(Rewrite::STORED_AND_REFUSED).await;
    assert_eq!(stored(&outcomes), [false; 3]);
    let (outcomes, twin) = put(Rewrite::OUTCOMES_BACKWARDS).await;
    assert_eq!(outcomes, twin.into_iter().rev().collect::<Vec<_>>());
    let (outcomes, twin) = put(Rewrite::MISSING_OUTCOME).await;
    assert_eq!(outcomes.len(), 2);
    assert!(outcomes.iter().all(|it| twin.contains(it)));
    let first_only = Rewrite::puts("first only", |outcomes| outcomes.truncate(1));
    assert!(format!("{first_only:?}").contains("Rewrite::puts(\"first only\", ..)"));
    let (outcomes, twin) = put(first_only).await;
    assert_eq!(outcomes, twin[..1]);
}

/// What each says when it is refused, or nothing.
fn refusal(give: impl FnOnce()) -> Option<String> {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(give));
    caught.err().map(|it| *it.downcast::<String>().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_rewrite_of_answers_that_have_no_such_part_is_refused() {
    use Operation::{
        DescribeStream, GetRecords, GetShardIterator, ListShards, ListStreams, PutRecords,
        SubscribeToShard,
    };
    let rewritten = |operation: Operation, rewrite| Fault::rewritten(operation, rewrite);
    let records = || Rewrite::records("own", |_| ());
    let events = || Rewrite::events("own", |_| ());
    for (never, says) in [
        (
            rewritten(GetShardIterator, Rewrite::EMPTY_PAGE),
            "GetShardIterator",
        ),
        (rewritten(ListStreams, Rewrite::NO_SHARDS), "ListStreams"),
        (
            rewritten(DescribeStream, Rewrite::NO_SHARDS),
            "DescribeStream",
        ),
        (rewritten(GetRecords, Rewrite::NO_SHARDS), "ListShards"),
        (
            rewritten(ListShards, Rewrite::STORED_AND_REFUSED),
            "PutRecords",
        ),
        (rewritten(PutRecords, Rewrite::NO_LAG), "GetRecords"),
        (rewritten(ListShards, records()), "GetRecords"),
        (rewritten(GetRecords, events()), "in_stream"),
        (rewritten(GetRecords, events()), "events"),
        (
            rewritten(SubscribeToShard, Rewrite::WRONG_ORDER),
            "in_stream",
        ),
        (
            rewritten(SubscribeToShard, Rewrite::EMPTY_PAGE).in_stream(),
            "GetRecords",
        ),
        (
            rewritten(SubscribeToShard, Rewrite::DUPLICATE_PAGE).in_stream(),
            "GetRecords",
        ),
        (
            rewritten(SubscribeToShard, records()).in_stream(),
            "GetRecords",
        ),
        (
            Fault::rewritten(Operations::ALL, Rewrite::NO_TOKEN).in_stream(),
            "ListShards",
        ),
        (Fault::rewritten(Operations::ALL, events()), "in_stream"),
        (
            Fault::rewritten([ListShards, ListStreams], Rewrite::NO_TOKEN),
            "ListStreams",
        ),
    ] {
        let shown = format!("{never:?}");
        let planned = never.clone();
        let said = refusal(|| Fake::new(1).inject(never)).expect(&shown);
        assert!(said.contains("never strike"), "{shown}: {said}");
        assert!(said.contains(says), "{shown}: {said}");
        let said = refusal(|| drop(FaultPlan::new(1).with(planned)));
        assert!(said.is_some_and(|said| said.contains(says)), "{shown}");
    }
    let fake = Fake::new(1);
    for rewrite in Rewrite::ALL {
        fake.inject(Fault::rewritten(Operations::ALL, rewrite.clone()));
    }
    fake.inject(Fault::rewritten(Operations::ALL, events()).in_stream());
    fake.inject(rewritten(SubscribeToShard, Rewrite::NO_LAG).in_stream());
}

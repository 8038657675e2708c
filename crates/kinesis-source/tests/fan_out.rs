//! Streams read by enhanced fan-out, on the fake and a paused clock.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{collections::BTreeMap, error::Error, sync::Arc, time::Duration};

use kinesis_fake::{
    Choices, Continuation, Durations, Fake, Fault, FaultPlan, Limits, Operation, Rewrite,
    SubscriptionRefusal, Takeover,
};
use kinesis_source::{
    Checkpoint, CheckpointStore, ConsumerAddress, Deregistration, FanOut, KinesisApi,
    KinesisFanOutApi, KinesisWriteApi, MemoryCheckpointStore, Position, ShardError, ShardId,
    ShardStatus, StartPosition, StreamError, StreamHandle, StreamIdentity, StreamSource,
};
use rig::{Sink, everything, run_until_caught_up, shard_error, stream_error};
use stage_core::{Pipeline, PipelineError, Window};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

fn by_fan_out(fake: &Fake) -> FanOut {
    FanOut::new(Arc::new(fake.clone()), "audit")
}

fn polling(fake: &Fake) -> StreamSource {
    StreamSource::new("orders", Arc::new(fake.clone()))
}

fn source(fake: &Fake) -> StreamSource {
    polling(fake).fan_out(by_fan_out(fake))
}

fn choosing(choose: impl FnOnce(&mut Choices)) -> Fake {
    let mut choices = Choices::default();
    choose(&mut choices);
    Fake::builder().instant().choices(choices).build()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn root() -> ShardId {
    "shardId-000000000000".into()
}

/// A source that runs for some time.
struct Run {
    sink: Sink,
    handle: StreamHandle,
    ending: JoinHandle<Result<(), PipelineError>>,
}

impl Run {
    fn start(source: StreamSource, sink: Sink, window: usize, span: Duration) -> Self {
        let mut pipeline = Pipeline::new();
        let (records, handle) = source.add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(Window::new(window)));
        Self {
            sink,
            handle,
            ending: tokio::spawn(pipeline.run_until(sleep(span))),
        }
    }

    fn only_shard(&self) -> ShardStatus {
        let mut status = self.handle.status();
        assert_eq!(status.len(), 1);
        status.remove(0)
    }

    async fn end(self) -> Sink {
        self.ending.await.unwrap().unwrap();
        self.sink
    }
}

async fn another_subscriber(fake: &Fake) -> kinesis_source::ShardSubscription {
    let by_name = ConsumerAddress::Name("audit".into());
    let consumer = fake.describe_stream_consumer(&by_name).await.unwrap();
    let shard = root();
    let call = fake.subscribe_to_shard(&consumer.arn, &shard, &Position::Latest);
    call.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_record_of_every_shard_is_sent_once_and_in_order_and_none_asked_for() {
    let fake = Fake::instant(4);
    fake.put_numbered(0..1_000).unwrap();
    let sink = Sink::default();
    run_until_caught_up(source(&fake), &sink, Window::new(50))
        .await
        .unwrap();
    sink.assert_complete(&fake);
    let calls = fake.calls();
    assert_eq!(calls.of(Operation::GetRecords).made, 0);
    assert_eq!(calls.of(Operation::SubscribeToShard).made, 4);
    assert_eq!(calls.throttled(), 0);
}

/// What was put before the question is in the answer, also if an event from before that says that it
/// brings the shard to its tip, and is being handed out still.
#[tokio::test(start_paused = true)]
async fn caught_up_is_with_what_there_was_when_it_was_asked() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..23).unwrap();
    let sink = Sink::by(Duration::from_millis(10));
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(&fake).add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(1)));
    let asking = async {
        while sink.taken().is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
        fake.put_numbered(23..29).unwrap();
        handle.caught_up().await;
    };
    pipeline.run_until(asking).await.unwrap();
    assert_eq!(sink.numbers(), everything(29));
}

#[tokio::test(start_paused = true)]
async fn polling_and_fan_out_go_on_where_the_other_had_finished() {
    let fake = Fake::instant(2);
    let store = Arc::new(MemoryCheckpointStore::new());
    let sink = Sink::default();
    for round in 0..6_u64 {
        fake.put_numbered(100 * round..100 * (round + 1)).unwrap();
        let source = if round % 2 == 0 {
            polling(&fake)
        } else {
            source(&fake)
        };
        let source = source.checkpoints(Arc::clone(&store) as _);
        run_until_caught_up(source, &sink, Window::new(30))
            .await
            .unwrap();
    }
    sink.assert_complete(&fake);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_is_registered_once_and_found_after_that() {
    let mut durations = Durations::instant();
    durations.register = seconds(40);
    let fake = Fake::builder().shards(3).durations(durations).build();
    fake.put_numbered(0..90).unwrap();
    let start = Instant::now();
    run_until_caught_up(source(&fake), &Sink::default(), Window::new(50))
        .await
        .unwrap();
    assert!(
        start.elapsed() >= seconds(40),
        "it waits until it is active"
    );
    // Sooner, the shards are still in use.
    sleep(seconds(5)).await;
    run_until_caught_up(source(&fake), &Sink::default(), Window::new(50))
        .await
        .unwrap();
    assert_eq!(fake.calls().of(Operation::RegisterStreamConsumer).made, 1);
    let calls = fake.calls().of(Operation::SubscribeToShard);
    assert_eq!((calls.throttled, calls.failed), (0, 0));
}

async fn consumers(fake: &Fake) -> usize {
    fake.list_stream_consumers(None)
        .await
        .unwrap()
        .consumers
        .len()
}

#[tokio::test(start_paused = true)]
async fn a_consumer_goes_or_stays_as_it_was_told() {
    use Deregistration::{Always, IfRegisteredHere, Never};
    for (was_there, deregistration, stays) in [
        (false, Never, 1),
        (false, IfRegisteredHere, 0),
        (true, IfRegisteredHere, 1),
        (true, Always, 0),
    ] {
        let fake = Fake::instant(1);
        if was_there {
            fake.register_stream_consumer("audit").await.unwrap();
        }
        let source = polling(&fake).fan_out(by_fan_out(&fake).deregister(deregistration));
        run_until_caught_up(source, &Sink::default(), Window::new(50))
            .await
            .unwrap();
        assert_eq!(
            consumers(&fake).await,
            stays,
            "{was_there} {deregistration:?}"
        );
    }
}

/// It is there, and costs, though nobody was told so: whoever has asked for it takes it away.
#[tokio::test(start_paused = true)]
async fn a_consumer_whose_registration_was_not_answered_goes() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..10).unwrap();
    fake.inject(Fault::lost_answer(Operation::RegisterStreamConsumer));
    let fan_out = by_fan_out(&fake).deregister(Deregistration::IfRegisteredHere);
    let sink = Sink::default();
    run_until_caught_up(polling(&fake).fan_out(fan_out), &sink, Window::new(50))
        .await
        .unwrap();
    assert_eq!(sink.numbers(), everything(10));
    assert_eq!(fake.calls().of(Operation::RegisterStreamConsumer).made, 1);
    assert_eq!(consumers(&fake).await, 0);
}

/// Also if nothing is ever read.
#[tokio::test(start_paused = true)]
async fn a_consumer_goes_when_the_stream_cannot_be_opened() {
    let fake = Fake::instant(1);
    let later = fake.now().plus(seconds(1_000));
    let fan_out = by_fan_out(&fake).deregister(Deregistration::IfRegisteredHere);
    let source = polling(&fake)
        .fan_out(fan_out)
        .start(StartPosition::AtTimestamp(later));
    let failed = run_until_caught_up(source, &Sink::default(), Window::new(50)).await;
    let error = failed.unwrap_err();
    assert!(
        matches!(stream_error(&error), StreamError::InvalidStart { .. }),
        "{error:?}"
    );
    assert_eq!(consumers(&fake).await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_its_registration_is_refused_for_is_said_before_anything_is_read() {
    let fake = Fake::instant(1);
    for number in 0..20 {
        fake.register_stream_consumer(&format!("other-{number}"))
            .await
            .unwrap();
        sleep(seconds(1)).await;
    }
    let refused = run_until_caught_up(source(&fake), &Sink::default(), Window::new(50)).await;
    let error = refused.unwrap_err();
    assert!(
        matches!(stream_error(&error), StreamError::Consumer { .. }),
        "{error:?}"
    );
    let said = stream_error(&error).to_string();
    assert!(
        said.contains("`orders`") && said.contains("`audit`") && said.contains("20"),
        "{said}"
    );

    // One that has to be there is not registered.
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/orders/consumer/audit:1".into();
    let fan_out = FanOut::registered(Arc::new(fake.clone()), arn);
    let before = fake.calls().of(Operation::RegisterStreamConsumer).made;
    let source = polling(&fake).fan_out(fan_out);
    let refused = run_until_caught_up(source, &Sink::default(), Window::new(50)).await;
    let error = refused.unwrap_err();
    assert!(
        matches!(stream_error(&error), StreamError::Consumer { .. }),
        "{error:?}"
    );
    assert_eq!(
        fake.calls().of(Operation::RegisterStreamConsumer).made,
        before
    );
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_deregistered_by_others_is_registered_again() {
    let fake = Fake::instant(2);
    let run = Run::start(source(&fake), Sink::default(), 50, seconds(120));
    sleep(seconds(20)).await;
    let by_name = ConsumerAddress::Name("audit".into());
    fake.deregister_stream_consumer(&by_name).await.unwrap();
    fake.put_numbered(0..50).unwrap();
    run.end().await.assert_complete(&fake);
    assert_eq!(consumers(&fake).await, 1);
}

/// Half an hour, with records all the time or none for most of it: subscriptions follow each other
/// before their time is over, so none ends by itself, and no call comes too early.
#[tokio::test(start_paused = true)]
async fn subscriptions_are_renewed_without_gap_or_repetition() {
    for (continuation, pause) in [
        (Continuation::LastRecord, seconds(1)),
        (Continuation::BeyondLastRecord, seconds(1)),
        (Continuation::LastRecord, seconds(599)),
        (Continuation::BeyondLastRecord, seconds(599)),
    ] {
        let fake = choosing(|choices| choices.continuation = continuation);
        let run = Run::start(source(&fake), Sink::default(), 50, seconds(1_800));
        let mut number = 0;
        let start = Instant::now();
        while start.elapsed() < seconds(1_790) {
            fake.put_numbered(number..number + 1).unwrap();
            number += 1;
            sleep(pause).await;
        }
        let status = run.only_shard();
        let sink = run.end().await;
        sink.assert_complete(&fake);
        assert_eq!(status.repeated, 0);
        assert_eq!(
            status.retries + status.takeovers + status.silences,
            0,
            "{status:?}"
        );
        assert_eq!(status.subscriptions, 7, "one for each 4 min 45 s");
        let calls = fake.calls().of(Operation::SubscribeToShard);
        assert_eq!((calls.throttled, calls.failed), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn records_come_as_they_are_put_also_while_a_subscription_is_renewed() {
    let fake = Fake::instant(1);
    let run = Run::start(source(&fake), Sink::default(), 50, seconds(700));
    sleep(seconds(2)).await;
    for number in 0..600 {
        fake.put_numbered(number..number + 1).unwrap();
        sleep(Duration::from_millis(50)).await;
        assert_eq!(run.sink.taken().len() as u64, number + 1, "at once");
        sleep(Duration::from_millis(950)).await;
    }
    run.end().await.assert_complete(&fake);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_cannot_be_renewed_is_read_to_its_end() {
    let fake = Fake::instant(1);
    let run = Run::start(source(&fake), Sink::default(), 50, seconds(700));
    sleep(seconds(2)).await;
    let code = "InternalFailureException";
    let renewals = seconds(280)..seconds(310);
    fake.inject(Fault::refusal(Operation::SubscribeToShard, code).between(renewals));
    for number in 0..600 {
        fake.put_numbered(number..number + 1).unwrap();
        sleep(seconds(1)).await;
        let late = number + 1 - run.sink.taken().len() as u64;
        let may_be_late = if (295..330).contains(&number) { 30 } else { 0 };
        assert!(late <= may_be_late, "{late} after {number} s");
    }
    run.end().await.assert_complete(&fake);
    assert!(fake.calls().of(Operation::SubscribeToShard).failed >= 3);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_taken_over_is_taken_back_later_each_time() {
    for takeover in [Takeover::Fails, Takeover::Ends] {
        let fake = choosing(|choices| choices.takeover = takeover);
        let run = Run::start(source(&fake), Sink::default(), 50, seconds(600));
        sleep(seconds(10)).await;
        let mut held = Vec::new();
        for _ in 0..4 {
            let other = another_subscriber(&fake).await;
            let mut other = Box::pin(other);
            let (taken, subscriptions) = (Instant::now(), run.only_shard().subscriptions);
            while run.only_shard().subscriptions == subscriptions {
                sleep(Duration::from_millis(100)).await;
            }
            held.push(taken.elapsed().as_secs());
            // Its events come to an end.
            while timeout(seconds(1), other.next())
                .await
                .is_ok_and(|said| said.is_some())
            {}
            sleep(seconds(5)).await;
        }
        fake.put_numbered(0..50).unwrap();
        let status = run.only_shard();
        let sink = run.end().await;
        sink.assert_complete(&fake);
        if takeover == Takeover::Fails {
            assert!(
                held[0] >= 5 && held[3] >= 40 && held.is_sorted(),
                "{held:?}"
            );
            assert_eq!(status.takeovers, 4);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_in_use_is_waited_for_wherever_that_is_said() {
    for subscription_refusal in [SubscriptionRefusal::AtCall, SubscriptionRefusal::InStream] {
        let fake = choosing(|choices| choices.subscription_refusal = subscription_refusal);
        fake.put_numbered(0..50).unwrap();
        fake.register_stream_consumer("audit").await.unwrap();
        // Another one has just begun: the first call comes within its five seconds.
        let other = another_subscriber(&fake).await;
        let sink = Sink::default();
        run_until_caught_up(source(&fake), &sink, Window::new(50))
            .await
            .unwrap();
        sink.assert_complete(&fake);
        assert!(fake.calls().of(Operation::SubscribeToShard).made <= 4);
        drop(other);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_subscribe_costs_seconds_and_nothing_else() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..50).unwrap();
    fake.inject(Fault::lost_answer(Operation::SubscribeToShard).times(2));
    let (sink, start) = (Sink::default(), Instant::now());
    run_until_caught_up(source(&fake), &sink, Window::new(50))
        .await
        .unwrap();
    sink.assert_complete(&fake);
    assert!(start.elapsed() < seconds(60), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_falls_silent_is_made_anew() {
    for (limit, within) in [(None, 17), (Some(seconds(60)), 62)] {
        let fake = Fake::instant(1);
        let fan_out = by_fan_out(&fake);
        let fan_out = match limit {
            Some(limit) => fan_out.silence(limit),
            None => fan_out,
        };
        let source = polling(&fake).fan_out(fan_out);
        let run = Run::start(source, Sink::default(), 50, seconds(600));
        sleep(seconds(30)).await;
        assert_eq!(run.only_shard().silences, 0, "it is idle, and says so");
        assert_eq!(fake.silence_subscriptions(&root()), 1);
        fake.put_numbered(0..50).unwrap();
        let since = Instant::now();
        while run.sink.taken().len() < 50 {
            sleep(Duration::from_millis(100)).await;
        }
        assert!(
            since.elapsed() >= seconds(within - 7),
            "{:?}",
            since.elapsed()
        );
        assert!(since.elapsed() <= seconds(within), "{:?}", since.elapsed());
        let status = run.only_shard();
        assert_eq!((status.silences, status.subscriptions), (1, 2));
        run.end().await.assert_complete(&fake);
    }
}

#[tokio::test(start_paused = true)]
async fn errors_among_the_events_are_outlasted() {
    for code in [
        "InternalFailureException",
        "LimitExceededException",
        "KMSThrottlingException",
        "KMSDisabledException",
        "ResourceInUseException",
        "ResourceNotFoundException",
        "InvalidArgumentException",
        "AccessDeniedException",
        "SomethingNewException",
    ] {
        let fake = Fake::instant(1);
        let run = Run::start(source(&fake), Sink::default(), 50, seconds(400));
        sleep(seconds(8)).await;
        for round in 0..3 {
            fake.put_numbered(100 * round..100 * round + 50).unwrap();
            sleep(seconds(30)).await;
            assert_eq!(fake.fail_subscriptions(&root(), code), 1, "{code}");
            fake.put_numbered(100 * round + 50..100 * round + 100)
                .unwrap();
            sleep(seconds(30)).await;
        }
        let status = run.only_shard();
        run.end().await.assert_complete(&fake);
        assert_eq!(status.restarts, 0, "{code}");
        assert_eq!(status.subscriptions, 4, "{code}");
        assert_eq!(status.repeated, 0, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_pass_fails_the_pipeline() {
    for code in ["AccessDeniedException", "ResourceNotFoundException"] {
        let fake = Fake::instant(1);
        fake.put_numbered(0..5).unwrap();
        fake.inject(Fault::refusal(Operation::SubscribeToShard, code).always());
        let sink = Sink::default();
        let running = run_until_caught_up(source(&fake), &sink, Window::new(50));
        let error = timeout(seconds(3_600), running).await.unwrap().unwrap_err();
        let error = error.source().unwrap().to_string() + &format!("{error:?}");
        assert!(
            error.contains(code.trim_end_matches("Exception")),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_deleted_is_an_error_within_seconds() {
    let fake = Fake::instant(2);
    let run = Run::start(source(&fake), Sink::default(), 50, seconds(3_600));
    sleep(seconds(30)).await;
    // A stream with consumers is not deleted.
    let by_name = ConsumerAddress::Name("audit".into());
    fake.deregister_stream_consumer(&by_name).await.unwrap();
    fake.delete_stream().await.unwrap();
    let ended = timeout(seconds(30), run.ending).await.unwrap().unwrap();
    let error = ended.unwrap_err();
    let error = format!("{error:?}");
    assert!(error.contains("StreamDeleted"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn children_follow_their_parents_while_all_are_subscribed_to() {
    let fake = Fake::instant(2);
    fake.put_numbered(0..200).unwrap();
    let sink = Sink::by(Duration::from_millis(300));
    let run = Run::start(source(&fake), sink, 10, seconds(200));
    sleep(seconds(1)).await;
    fake.split_shard(&root(), 1 << 125).await.unwrap();
    fake.put_numbered(200..400).unwrap();
    sleep(seconds(1)).await;
    fake.merge_shards(
        &"shardId-000000000001".into(),
        &"shardId-000000000003".into(),
    )
    .await
    .unwrap();
    fake.put_numbered(400..600).unwrap();
    let sink = run.end().await;
    sink.assert_complete(&fake);
    sink.assert_parents_before_children(&fake);
}

#[tokio::test(start_paused = true)]
async fn latest_takes_what_comes_and_goes_on_from_its_moment() {
    let fake = Fake::instant(2);
    fake.put_numbered(0..100).unwrap();
    sleep(seconds(10)).await;
    let latest = source(&fake).start(StartPosition::Latest);
    let run = Run::start(latest, Sink::default(), 10, seconds(1_000));
    sleep(seconds(2)).await;
    // Nothing has been sent when the subscriptions break, and records come meanwhile.
    for shard in fake.shards() {
        assert_eq!(fake.fail_subscriptions(&shard.id, "InternalFailure"), 1);
    }
    fake.put_numbered(100..150).unwrap();
    sleep(seconds(400)).await;
    fake.split_shard(&root(), 1 << 125).await.unwrap();
    fake.put_numbered(150..250).unwrap();
    assert_eq!(run.end().await.numbers(), (100..250).collect::<Vec<_>>());
}

/// A call to subscribe at the tip that fails is not made again: that would be another tip.
#[tokio::test(start_paused = true)]
async fn the_tip_is_asked_for_once() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..100).unwrap();
    sleep(seconds(10)).await;
    fake.inject(Fault::refusal(Operation::SubscribeToShard, "InternalFailure").times(4));
    let latest = source(&fake).start(StartPosition::Latest);
    let run = Run::start(latest, Sink::default(), 10, seconds(100));
    sleep(seconds(1)).await;
    fake.put_numbered(100..150).unwrap();
    assert_eq!(run.end().await.numbers(), (100..150).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_moment_is_where_to_start() {
    let fake = Fake::instant(2);
    fake.put_numbered(0..100).unwrap();
    sleep(seconds(10)).await;
    let moment = fake.now();
    fake.put_numbered(100..150).unwrap();
    let sink = Sink::default();
    let source = source(&fake).start(StartPosition::AtTimestamp(moment));
    run_until_caught_up(source, &sink, Window::new(10))
        .await
        .unwrap();
    assert_eq!(sink.numbers(), (100..150).collect::<Vec<_>>());
}

/// Six hours without demand: no subscription stays open, nothing is called, and on it goes.
#[tokio::test(start_paused = true)]
async fn a_sink_that_stalls_for_six_hours_holds_no_subscription_and_goes_on() {
    let fake = Fake::instant(2);
    fake.put_numbered(0..500).unwrap();
    let sink = Sink::default();
    let gate = sink.close();
    let run = Run::start(source(&fake), sink, 20, seconds(8 * 3_600));
    sleep(seconds(30)).await;
    let calls = fake.calls().of(Operation::SubscribeToShard).made;
    assert_eq!(calls, 2);
    for _ in 0..6 * 60 {
        sleep(seconds(60)).await;
        for status in run.handle.status() {
            assert!(status.in_flight <= 20, "{status:?}");
            assert_eq!(
                status.reads, 1,
                "one event is all that is taken: {status:?}"
            );
            assert_eq!(
                fake.silence_subscriptions(&status.shard),
                0,
                "it was let go"
            );
        }
    }
    assert_eq!(fake.calls().of(Operation::SubscribeToShard).made, calls);
    drop(gate);
    sleep(seconds(10)).await;
    fake.put_numbered(500..600).unwrap();
    let sink = run.end().await;
    sink.assert_complete(&fake);
}

/// A sink that is slower than the shard is written to: it takes what it asks for, and no connection
/// breaks because it does not read.
#[tokio::test(start_paused = true)]
async fn a_slow_sink_is_sent_no_more_than_it_asks_for() {
    let fake = Fake::instant(1);
    let sink = Sink::by(seconds(40));
    let run = Run::start(source(&fake), sink, 10, seconds(9_000));
    for number in 0..100 {
        fake.put_numbered(10 * number..10 * (number + 1)).unwrap();
        sleep(seconds(1)).await;
        let status = run.only_shard();
        assert!(status.in_flight <= 10, "{status:?}");
    }
    sleep(seconds(8_000)).await;
    let status = run.only_shard();
    let sink = run.end().await;
    sink.assert_complete(&fake);
    assert_eq!((status.retries, status.repeated), (0, 0), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn a_nacked_record_is_sent_again_with_all_that_follows_it() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..100).unwrap();
    let sink = Sink::default().refusing_once(42);
    run_until_caught_up(source(&fake), &sink, Window::new(10))
        .await
        .unwrap();
    let mut numbers = sink.numbers();
    numbers.dedup();
    assert_eq!(numbers, everything(100));
}

#[tokio::test(start_paused = true)]
async fn killed_again_and_again_it_loses_nothing_and_repeats_what_was_not_stored() {
    let fake = Fake::instant(2);
    let store = Arc::new(MemoryCheckpointStore::new());
    let mut sinks = Vec::new();
    for life in 0..10_u64 {
        fake.put_numbered(200 * life..200 * (life + 1)).unwrap();
        let sink = Sink::by(Duration::from_millis(90));
        let mut pipeline = Pipeline::new();
        let source = source(&fake).checkpoints(Arc::clone(&store) as _);
        let (records, _) = source.add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(Window::new(20)));
        let killed = timeout(Duration::from_millis(7_000 + 137 * life), pipeline.run()).await;
        assert!(killed.is_err());
        sinks.push(sink);
    }
    let last = Sink::default();
    let source = source(&fake).checkpoints(Arc::clone(&store) as _);
    run_until_caught_up(source, &last, Window::new(20))
        .await
        .unwrap();
    sinks.push(last);
    let mut numbers: Vec<u64> = sinks.iter().flat_map(Sink::numbers_in_order).collect();
    let delivered = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, everything(2_000));
    assert!(delivered < 2_000 + 10 * 2 * 150, "{delivered}");
}

/// What goes wrong is drawn from a seed, and whatever it is, all comes once and in order.
#[tokio::test(start_paused = true)]
async fn under_faults_of_every_kind_each_record_comes_once() {
    let mut fired = BTreeMap::new();
    for seed in 0..20 {
        let subscribe = Operation::SubscribeToShard;
        let plan = FaultPlan::new(seed)
            .with(Fault::refusal(subscribe, "LimitExceededException").with_probability(0.1))
            .with(Fault::refusal(subscribe, "ResourceNotFoundException").with_probability(0.1))
            .with(Fault::lost_answer(subscribe).with_probability(0.1))
            .with(Fault::hung(subscribe).with_probability(0.03))
            .with(
                Fault::refusal(subscribe, "InternalFailureException")
                    .in_stream()
                    .with_probability(0.05),
            )
            .with(
                Fault::refusal(subscribe, "ResourceInUseException")
                    .in_stream()
                    .with_probability(0.03),
            )
            .with(
                Fault::lost_answer(subscribe)
                    .in_stream()
                    .with_probability(0.03),
            )
            .with(Fault::hung(subscribe).in_stream().with_probability(0.03))
            .with(
                Fault::delayed(subscribe, seconds(3))
                    .in_stream()
                    .with_probability(0.05),
            )
            .with(
                Fault::rewritten(subscribe, Rewrite::REPEATED_RECORDS)
                    .in_stream()
                    .with_probability(0.05),
            )
            .with(
                Fault::rewritten(subscribe, Rewrite::WRONG_ORDER)
                    .in_stream()
                    .with_probability(0.05),
            );
        let mut limits = Limits::default();
        limits.control_per_second = Limits::none().control_per_second;
        let fake = Fake::builder()
            .instant()
            .shards(2)
            .limits(limits)
            .follow(plan)
            .build();
        let run = Run::start(source(&fake), Sink::default(), 50, seconds(2_000));
        let mut number = 0;
        for round in 0..30_u64 {
            fake.put_numbered(number..number + 40).unwrap();
            number += 40;
            sleep(seconds(5 + round)).await;
            if round % 7 == 3 {
                let shards = fake.shards();
                let open = shards.iter().filter(|shard| !shard.is_closed());
                let widest = open.max_by_key(|it| it.hash_range.end - it.hash_range.start);
                let widest = widest.unwrap();
                let middle = widest.hash_range.start / 2 + widest.hash_range.end / 2 + 1;
                fake.split_shard(&widest.id, middle).await.unwrap();
            }
        }
        fake.clear_faults();
        let handle = run.handle.clone();
        timeout(seconds(900), handle.caught_up()).await.unwrap();
        let report = fake.fault_report();
        for (index, row) in report.rows.iter().enumerate() {
            *fired.entry(index).or_insert(0) += u32::from(row.fired > 0);
        }
        let sink = run.end().await;
        sink.assert_complete(&fake);
        sink.assert_parents_before_children(&fake);
    }
    assert_eq!(fired.len(), 11);
    assert!(fired.values().all(|&seeds| seeds >= 10), "{fired:?}");
}

#[tokio::test(start_paused = true)]
async fn a_position_that_is_refused_is_final() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..10).unwrap();
    let store = Arc::new(MemoryCheckpointStore::new());
    let stream = StreamIdentity::from(&fake.describe_stream_summary().await.unwrap());
    let foreign = BTreeMap::from([(root(), Checkpoint::after(123_456.into()))]);
    store.save(&stream, &foreign).await.unwrap();
    let leaving = by_fan_out(&fake).deregister(Deregistration::IfRegisteredHere);
    let second = polling(&fake)
        .fan_out(leaving)
        .checkpoints(Arc::clone(&store) as _);
    let failed = run_until_caught_up(second, &Sink::default(), Window::new(10)).await;
    let error = failed.unwrap_err();
    assert!(
        matches!(shard_error(&error), ShardError::InvalidPosition { .. }),
        "{error:?}"
    );
    assert_eq!(consumers(&fake).await, 0, "it goes all the same");
}

/// What takes it away is not answered: it goes on costing, which is said, and the source ends, before the time for
/// that is up.
#[tokio::test(start_paused = true)]
async fn a_consumer_that_does_not_go_holds_up_the_end_for_ten_seconds_or_what_there_is() {
    for (drain, longest) in [(25, 10), (5, 5), (0, 0)] {
        let fake = Fake::instant(1);
        fake.inject(Fault::hung(Operation::DeregisterStreamConsumer).always());
        let leaving = by_fan_out(&fake).deregister(Deregistration::Always);
        let mut pipeline = Pipeline::new().drain_within(seconds(drain));
        let (records, handle) = polling(&fake).fan_out(leaving).add_to(&mut pipeline);
        pipeline.consume(Sink::default(), records.subscribe(Window::new(50)));
        let mut events = handle.events();
        let start = Instant::now();
        let ended = pipeline.run_until(sleep(seconds(60))).await;
        let took = start.elapsed() - seconds(60);
        assert!(took <= seconds(longest), "{took:?}");
        // Without any time, there is none to tell anything either.
        if drain > 0 {
            ended.unwrap();
            let mut left = std::iter::from_fn(|| events.try_next());
            assert!(left.any(|event| event.name() == "consumer_left"));
        }
    }
}

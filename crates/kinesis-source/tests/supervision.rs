//! What becomes of shards that keep failing, of whoever hangs, and of who only waits.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use kinesis_fake::{Fake, Fault, Operation, Rewrite};
use kinesis_source::{
    Checkpoint, CheckpointError, CheckpointStore, Explanation, KinesisWriteApi,
    MemoryCheckpointStore, ParkReason, ShardError, ShardId, ShardState, SourceEvent, SourceEvents,
    StreamIdentity, StreamSource, WaitingFor,
};
use rig::{Sink, everything};
use stage_core::{Pipeline, PipelineError, Window};
use tokio::{
    sync::{OwnedRwLockWriteGuard, RwLock},
    time::{Instant, sleep, timeout},
};

const SHARD: &str = "shardId-000000000000";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn source(fake: &Fake) -> StreamSource {
    StreamSource::new("orders", Arc::new(fake.clone()))
}

fn taken(events: &mut SourceEvents) -> Vec<SourceEvent> {
    std::iter::from_fn(|| events.try_next()).collect()
}

fn of<'a>(events: &'a [SourceEvent], name: &str) -> Vec<&'a SourceEvent> {
    events.iter().filter(|event| event.name() == name).collect()
}

/// Two shards are read; one of them fails for two hours, in each way that is not the stream's end.
#[tokio::test(start_paused = true)]
async fn a_shard_that_keeps_failing_is_parked_and_comes_back_while_the_other_is_read_on() {
    for code in [
        "ResourceNotFoundException",
        "AccessDeniedException",
        "KMSAccessDeniedException",
        "KMSDisabledException",
        "InternalFailure",
        "SomethingNobodyKnows",
    ] {
        let fake = Fake::instant(2);
        let shard = ShardId::from(SHARD);
        fake.put_numbered(0..100).unwrap();
        let (from, to) = (60, 60 + 2 * 3_600);
        fake.inject(
            Fault::refusal([Operation::GetRecords, Operation::GetShardIterator], code)
                .on_shard(&shard)
                .between(seconds(from)..seconds(to))
                .always(),
        );
        let sink = Sink::default();
        let mut pipeline = Pipeline::new();
        let (records, handle) = source(&fake).add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(Window::new(100)));
        let mut events = handle.events();
        let running = pipeline.run_until(sleep(seconds(to + 300)));
        let other = || {
            let taken = sink.taken().into_iter();
            taken.filter(|event| event.shard != shard).count()
        };
        let looking = async {
            sleep(seconds(from + 1_000)).await;
            let before = other();
            fake.put_numbered(100..300).unwrap();
            sleep(seconds(10)).await;
            assert!(other() > before, "{code}: the other is read on");
            let explained = handle.explain();
            let parked = &explained.shards[0].waiting;
            assert_eq!(parked.waiting_for, WaitingFor::Probe, "{code}: {explained}");
            let failed = || {
                let calls = fake.calls();
                let of = |operation| calls.of(operation).failed;
                of(Operation::GetRecords) + of(Operation::GetShardIterator)
            };
            let before = failed();
            sleep(seconds(3_600)).await;
            let probes = failed() - before;
            assert!((45..=60).contains(&probes), "{code}: {probes} in an hour");
        };
        tokio::join!(running, looking).0.unwrap();
        assert_eq!(sink.numbers(), everything(300), "{code}");
        sink.assert_complete(&fake);
        let events = taken(&mut events);
        for once in ["shard_failing", "shard_parked", "shard_resumed"] {
            assert_eq!(of(&events, once).len(), 1, "{code}: {events:#?}");
        }
        let [
            SourceEvent::ShardParked {
                reason: ParkReason::Failing { error, .. },
                ..
            },
        ] = of(&events, "shard_parked")[..]
        else {
            panic!("{code}");
        };
        assert_eq!(error.code(), Some(code));
        // It is never taken for its end, nor for stuck.
        for never in ["shard_drained", "shard_retired", "shard_restarted", "stuck"] {
            assert!(of(&events, never).is_empty(), "{code}: {events:#?}");
        }
    }
}

/// Nothing can be read, from the start: whoever has started it should see that.
#[tokio::test(start_paused = true)]
async fn reads_that_are_not_allowed_from_the_start_fail_the_pipeline_with_a_sentence() {
    let fake = Fake::instant(2);
    fake.inject(Fault::refusal(Operation::GetRecords, "AccessDeniedException").always());
    let mut pipeline = Pipeline::new();
    let (records, _) = source(&fake).add_to(&mut pipeline);
    pipeline.consume(Sink::default(), records.subscribe(Window::new(100)));
    let failed = timeout(seconds(600), pipeline.run()).await.unwrap();
    let PipelineError::Failed { source, .. } = failed.unwrap_err() else {
        panic!("another error");
    };
    let error: &ShardError = source.downcast_ref().unwrap();
    assert!(matches!(error, ShardError::Refused { .. }), "{error:?}");
    let beneath = std::error::Error::source(error).unwrap().to_string();
    assert!(beneath.contains("AccessDenied"), "{beneath}");
}

/// Keeps checkpoints in memory; saving hangs while it is held.
#[derive(Debug, Default)]
struct HangingStore {
    inner: MemoryCheckpointStore,
    gate: Arc<RwLock<()>>,
}

impl HangingStore {
    fn hang(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.gate).try_write_owned().unwrap()
    }
}

#[async_trait]
impl CheckpointStore for HangingStore {
    async fn load(
        &self,
        stream: &StreamIdentity,
    ) -> Result<BTreeMap<ShardId, Checkpoint>, CheckpointError> {
        self.inner.load(stream).await
    }

    async fn save(
        &self,
        stream: &StreamIdentity,
        checkpoints: &BTreeMap<ShardId, Checkpoint>,
    ) -> Result<(), CheckpointError> {
        let _open = self.gate.read().await;
        self.inner.save(stream, checkpoints).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_told_once_and_when_it_does_not_any_more() {
    let fake = Fake::instant(2);
    let store = Arc::new(HangingStore::default());
    let sink = Sink::default();
    let mut pipeline = Pipeline::new();
    let source = source(&fake).checkpoints(store.clone());
    let (records, handle) = source.add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(100)));
    let mut events = handle.events();
    let running = pipeline.run_until(sleep(seconds(900)));
    let meanwhile = async {
        sleep(seconds(10)).await;
        let hanging = store.hang();
        // One shard goes on, the other one's end is to be stored.
        fake.put_numbered(0..100).unwrap();
        fake.split_shard(&SHARD.into(), 1 << 126).await.unwrap();
        sleep(seconds(300)).await;
        let explained = handle.explain();
        assert_eq!(explained.waiting.waiting_for, WaitingFor::CheckpointStore);
        fake.put_numbered(100..200).unwrap();
        sleep(seconds(10)).await;
        assert!(sink.numbers().len() > 100, "shards are read on");
        drop(hanging);
    };
    tokio::join!(running, meanwhile).0.unwrap();
    sink.assert_complete(&fake);
    let events = taken(&mut events);
    // The source itself gives up each time that it has waited for ten seconds, and tries again.
    for once in ["checkpoints_failing", "checkpoints_recovered"] {
        assert_eq!(of(&events, once).len(), 1, "{once}: {events:#?}");
    }
    assert!(of(&events, "source_stuck").is_empty(), "{events:#?}");
    let [SourceEvent::Stuck { shard, state, .. }] = of(&events, "stuck")[..] else {
        panic!("{events:#?}");
    };
    assert_eq!((shard, *state), (&SHARD.into(), ShardState::Finished));
    assert_eq!(of(&events, "unstuck").len(), 1);
}

/// What each shard waits for, in order.
fn waits(explained: &Explanation) -> Vec<WaitingFor> {
    let shards = explained.shards.iter();
    shards.map(|shard| shard.waiting.waiting_for).collect()
}

#[tokio::test(start_paused = true)]
async fn a_slow_sink_is_seen_and_is_not_stuck() {
    let fake = Fake::instant(2);
    fake.put_numbered(0..1_000).unwrap();
    let sink = Sink::default();
    let gate = sink.close();
    let mut pipeline = Pipeline::new();
    // What its readers wait for is asked here, and not how long records may be in hand.
    let source = source(&fake).settle_within(seconds(86_400));
    let (records, handle) = source.add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(100)));
    let mut events = handle.events();
    let running = pipeline.run_until(sleep(seconds(8_000)));
    let looking = async {
        sleep(seconds(7_200)).await;
        let explained = handle.explain();
        assert_eq!(waits(&explained), [WaitingFor::Demand; 2]);
        for shard in &explained.shards {
            assert_eq!(shard.status.in_flight, 100);
            assert!(shard.waiting.since >= seconds(7_190), "{explained}");
        }
        let text = explained.to_string();
        let mut lines = text.lines();
        assert!(
            lines
                .next()
                .unwrap()
                .starts_with("orders: waits for news, for ")
        );
        let first = lines.next().unwrap();
        assert!(first.starts_with("shardId-000000000000: reading, waits for demand, for 7"));
        assert!(first.contains("100 in flight"), "{first}");
        drop(gate);
    };
    tokio::join!(running, looking).0.unwrap();
    sink.assert_complete(&fake);
    let events = taken(&mut events);
    assert!(of(&events, "stuck").is_empty(), "{events:#?}");
}

#[tokio::test(start_paused = true)]
async fn parents_and_acknowledgements_and_the_tip_are_what_shards_wait_for() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..50).unwrap();
    fake.split_shard(&SHARD.into(), 1 << 127).await.unwrap();
    let sink = Sink::default();
    let gate = sink.close();
    let mut pipeline = Pipeline::new();
    // What its readers wait for is asked here, and not how long records may be in hand.
    let source = source(&fake).settle_within(seconds(86_400));
    let (records, handle) = source.add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(100)));
    let running = pipeline.run_until(sleep(seconds(900)));
    let looking = async {
        sleep(seconds(600)).await;
        let explained = handle.explain();
        let parents = WaitingFor::Parents;
        let expected = [WaitingFor::Acknowledgements, parents, parents];
        assert_eq!(waits(&explained), expected, "{explained}");
        for shard in &explained.shards {
            assert!(shard.waiting.since >= seconds(590), "{explained}");
        }
        drop(gate);
        sleep(seconds(60)).await;
        // Between two reads at the tip, or in one, which takes no time here.
        let explained = handle.explain();
        let new = WaitingFor::NewRecords;
        assert_eq!(waits(&explained), [WaitingFor::Nothing, new, new]);
    };
    tokio::join!(running, looking).0.unwrap();
}

/// A call that is never answered is given up, so that the shard it is about is not stuck.
#[tokio::test(start_paused = true)]
async fn calls_without_answers_are_failures_and_no_shard_is_stuck() {
    let fake = Fake::instant(1);
    fake.inject(Fault::hung(Operation::GetRecords).after(3).times(3));
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(&fake).add_to(&mut pipeline);
    let sink = Sink::default();
    pipeline.consume(sink.clone(), records.subscribe(Window::new(100)));
    let mut events = handle.events();
    let began = Instant::now();
    let running = pipeline.run_until(sleep(seconds(300)));
    let looking = async {
        sleep(seconds(30)).await;
        let explained = handle.explain();
        let WaitingFor::Answer { operation, .. } = explained.shards[0].waiting.waiting_for else {
            panic!("{explained}");
        };
        assert_eq!(operation, "GetRecords");
        fake.put_numbered(0..10).unwrap();
    };
    tokio::join!(running, looking).0.unwrap();
    assert!(began.elapsed() >= seconds(300));
    assert_eq!(sink.numbers(), everything(10));
    let events = taken(&mut events);
    assert_eq!(of(&events, "shard_failing").len(), 1);
    assert_eq!(of(&events, "shard_recovered").len(), 1);
    assert!(of(&events, "stuck").is_empty(), "{events:#?}");
}

/// Nobody has said for how long a drain may take, and the store does not answer any more.
#[tokio::test(start_paused = true)]
async fn a_stop_with_a_store_that_hangs_ends_in_bounded_time_and_says_so() {
    let fake = Fake::instant(2);
    let store = Arc::new(HangingStore::default());
    let mut pipeline = Pipeline::new();
    let source = source(&fake).checkpoints(store.clone());
    let (records, handle) = source.add_to(&mut pipeline);
    pipeline.consume(Sink::default(), records.subscribe(Window::new(100)));
    let mut hanging = None;
    let mut stopped_at = None;
    let stop = async {
        sleep(seconds(10)).await;
        hanging = Some(store.hang());
        fake.put_numbered(0..100).unwrap();
        sleep(seconds(5)).await;
        stopped_at = Some(Instant::now());
    };
    let error = timeout(seconds(600), pipeline.run_until(stop))
        .await
        .unwrap()
        .unwrap_err();
    // All tries together.
    let took = stopped_at.unwrap().elapsed();
    assert!(took <= seconds(10), "{took:?}");
    let error = rig::stream_error(&error);
    assert!(
        matches!(error, kinesis_source::StreamError::Checkpoint { .. }),
        "{error:?}"
    );
    let unstored = handle.drain_report();
    assert!(unstored.iter().all(|it| it.acked > 0), "{unstored:?}");
    drop(hanging);
}

/// Answers are empty, and as far behind as ever: that is no error, and no shard that is read.
#[tokio::test(start_paused = true)]
async fn a_shard_that_gets_nowhere_is_told_once_and_so_is_that_it_does_again() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..1_000).unwrap();
    sleep(seconds(100)).await;
    let nothing = Fault::rewritten(Operation::GetRecords, Rewrite::EMPTY_PAGE);
    fake.inject(nothing.between(seconds(0)..seconds(900)));
    let sink = Sink::default();
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(&fake).add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
    let mut events = handle.events();
    pipeline.run_until(sleep(seconds(1_200))).await.unwrap();
    sink.assert_complete(&fake);
    let events = taken(&mut events);
    let [
        SourceEvent::Stuck {
            waiting_for, since, ..
        },
    ] = of(&events, "stuck")[..]
    else {
        panic!("{events:#?}");
    };
    assert_eq!(*waiting_for, WaitingFor::Headway);
    assert!((seconds(300)..seconds(302)).contains(since), "{since:?}");
    let [SourceEvent::Unstuck { after, .. }] = of(&events, "unstuck")[..] else {
        panic!("{events:#?}");
    };
    assert!(*after >= seconds(890), "{after:?}");
}

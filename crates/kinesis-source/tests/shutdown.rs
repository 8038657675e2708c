//! A source that is told to stop ends in bounded time, whatever it is doing, and says how far it came.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use kinesis_fake::{Durations, Fake, Fault, Operation};
use kinesis_source::{
    ByteBudget, Checkpoint, CheckpointError, CheckpointStore, Deregistration, FanOut, KinesisApi,
    KinesisWriteApi, MemoryCheckpointStore, ShardId, ShardState, StreamHandle, StreamIdentity,
    StreamSource,
};
use rig::{Sink, everything, run_until_caught_up};
use stage_core::{DrainReport, Pipeline, PipelineError, Window};
use tokio::time::{Instant, sleep};

/// How long the drain may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Does not answer when it is told not to.
#[derive(Debug, Default)]
struct Store {
    inner: MemoryCheckpointStore,
    hangs: AtomicBool,
}

impl Store {
    async fn pass(&self) {
        if self.hangs.load(SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl CheckpointStore for Store {
    async fn load(
        &self,
        stream: &StreamIdentity,
    ) -> Result<BTreeMap<ShardId, Checkpoint>, CheckpointError> {
        self.pass().await;
        self.inner.load(stream).await
    }

    async fn save(
        &self,
        stream: &StreamIdentity,
        checkpoints: &BTreeMap<ShardId, Checkpoint>,
    ) -> Result<(), CheckpointError> {
        self.pass().await;
        self.inner.save(stream, checkpoints).await
    }
}

struct Rig {
    fake: Fake,
    store: Arc<Store>,
    sink: Sink,
}

/// How it ended.
struct Ended {
    report: DrainReport,
    took: Duration,
    handle: StreamHandle,
}

impl Rig {
    fn new(sink: Sink) -> Self {
        let fake = Fake::instant(3);
        fake.put_numbered(0..300).unwrap();
        Self {
            fake,
            store: Arc::default(),
            sink,
        }
    }

    fn source(&self) -> StreamSource {
        StreamSource::new("orders", Arc::new(self.fake.clone()))
            .checkpoints(Arc::clone(&self.store) as _)
    }

    fn fan_out(&self) -> FanOut {
        FanOut::new(Arc::new(self.fake.clone()), "audit")
    }

    /// Runs a source for ten seconds, does something to it, and stops it after some more.
    async fn stop(&self, source: StreamSource, after: u64, trouble: impl FnOnce(&Self)) -> Ended {
        let mut pipeline = Pipeline::new().drain_within(DEADLINE);
        let (records, handle) = source.add_to(&mut pipeline);
        pipeline.consume(self.sink.clone(), records.subscribe(Window::new(20)));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let run = tokio::spawn(pipeline.run_reporting(async {
            let _ = stopped.await;
        }));
        sleep(Duration::from_secs(10)).await;
        trouble(self);
        sleep(Duration::from_secs(after)).await;
        let start = Instant::now();
        assert!(!run.is_finished(), "{:?}", run.await);
        stop.send(()).unwrap();
        let report = run.await.unwrap();
        let took = start.elapsed();
        assert!(took <= DEADLINE + Duration::from_millis(10), "{took:?}");
        Ended {
            report,
            took,
            handle,
        }
    }

    /// What is not acked comes again, and nothing is missing.
    async fn go_on(&self) {
        self.fake.clear_faults();
        self.store.hangs.store(false, SeqCst);
        let rest = Sink::default();
        run_until_caught_up(self.source(), &rest, Window::new(100))
            .await
            .unwrap();
        let mut all = [self.sink.numbers(), rest.numbers()].concat();
        all.sort_unstable();
        let count = all.len();
        all.dedup();
        let put: usize = self
            .fake
            .records()
            .iter()
            .map(|(_, records)| records.len())
            .sum();
        assert_eq!(all, everything(put as u64));
        println!("{} came twice", count - put);
    }

    async fn stored(&self) -> BTreeMap<ShardId, Checkpoint> {
        let api: &dyn KinesisApi = &self.fake;
        let stream = StreamIdentity::from(&api.describe_stream_summary().await.unwrap());
        self.store.inner.load(&stream).await.unwrap()
    }

    /// Each shard is reported on, and rightly.
    async fn assert_reported(&self, ended: &Ended) {
        let reports = ended.handle.drain_report();
        let mut status = ended.handle.status();
        status.retain(|it| it.state != ShardState::WaitingForParents);
        assert_eq!(reports.len(), status.len());
        let stored = self.stored().await;
        let taken = self.sink.taken();
        for report in reports {
            let of_it = taken.iter().filter(|event| event.shard == report.shard);
            assert_eq!(report.acked, of_it.count() as u64, "{report:?}");
            let start = |it: &&Checkpoint| !matches!(it, Checkpoint::Start(_));
            let known = stored.get(&report.shard).filter(start);
            assert_eq!(report.checkpoint.as_ref(), known, "{report:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn while_it_reads_and_nothing_comes_twice() {
    let rig = Rig::new(Sink::by(Duration::from_millis(700)));
    let ended = rig.stop(rig.source(), 0, |_| {}).await;
    ended.report.result.as_ref().unwrap();
    assert!(!ended.report.timed_out);
    rig.assert_reported(&ended).await;
    let reports = ended.handle.drain_report();
    assert!(
        reports
            .iter()
            .all(|it| it.unacked == 0 && it.state == ShardState::Stopped)
    );
    let stages = ended.report.stages.iter().map(|it| it.stage.to_string());
    for report in &reports {
        assert!(
            stages
                .clone()
                .any(|it| it == format!("orders/{}", report.shard))
        );
    }
    let before = rig.sink.numbers().len();
    rig.go_on().await;
    assert!(before < 300);
}

#[tokio::test(start_paused = true)]
async fn while_reads_are_refused_fail_or_are_not_answered() {
    let codes = [
        "ProvisionedThroughputExceededException",
        "KMSDisabledException",
        "InternalFailure",
    ];
    let refused = codes.map(|code| Fault::refusal(Operation::GetRecords, code));
    let hung = [
        Fault::hung(Operation::GetRecords),
        Fault::refusal(Operation::GetRecords, "ExpiredIteratorException"),
    ];
    for fault in refused.into_iter().chain(hung) {
        for after in [1, 100] {
            let rig = Rig::new(Sink::default());
            let more = |rig: &Rig| {
                rig.fake.inject(fault.clone().always());
                rig.fake
                    .inject(Fault::hung(Operation::GetShardIterator).always());
                rig.fake.put_numbered(300..400).unwrap();
            };
            let ended = rig.stop(rig.source(), after, more).await;
            ended.report.result.as_ref().unwrap();
            assert!(
                ended.took < Duration::from_secs(1),
                "at once: {:?}",
                ended.took
            );
            rig.assert_reported(&ended).await;
            rig.go_on().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn while_it_waits_for_bytes() {
    // Another pipeline has them all.
    let other = Rig::new(Sink::default());
    let gate = other.sink.close();
    let budget = ByteBudget::with_fetches(100, 1);
    let mut pipeline = Pipeline::new();
    let (records, _) = other.source().byte_budget(&budget).add_to(&mut pipeline);
    pipeline.consume(other.sink.clone(), records.subscribe(Window::new(100)));
    let stalled = tokio::spawn(pipeline.run());
    sleep(Duration::from_secs(5)).await;
    for by_fan_out in [false, true] {
        // It has its own share; one shard of it has that, and the others wait.
        let rig = Rig::new(Sink::default());
        let source = rig.source().byte_budget(&budget);
        let source = match by_fan_out {
            true => source.fan_out(rig.fan_out()),
            false => source,
        };
        let own_gate = rig.sink.close();
        let trouble = |_: &Rig| {
            assert!(budget.waiting() >= 2, "{budget:?}");
            drop(own_gate);
        };
        let ended = rig.stop(source, 0, trouble).await;
        ended.report.result.as_ref().unwrap();
        assert!(ended.took < Duration::from_secs(1), "{:?}", ended.took);
        rig.assert_reported(&ended).await;
        rig.go_on().await;
    }
    stalled.abort();
    drop(gate);
}

#[tokio::test(start_paused = true)]
async fn while_it_subscribes() {
    for fault in [
        Fault::hung(Operation::SubscribeToShard),
        Fault::refusal(Operation::SubscribeToShard, "ResourceInUseException"),
        Fault::hung(Operation::SubscribeToShard).in_stream(),
    ] {
        let rig = Rig::new(Sink::default());
        let trouble = |rig: &Rig| {
            rig.fake.inject(fault.clone().always());
            for shard in rig.fake.shards() {
                rig.fake
                    .fail_subscriptions(&shard.id, "InternalFailureException");
            }
        };
        let ended = rig
            .stop(rig.source().fan_out(rig.fan_out()), 7, trouble)
            .await;
        ended.report.result.as_ref().unwrap();
        assert!(ended.took < Duration::from_secs(1), "{:?}", ended.took);
        rig.assert_reported(&ended).await;
        rig.go_on().await;
    }
}

#[tokio::test(start_paused = true)]
async fn while_it_registers_a_consumer_and_takes_it_away() {
    let durations = Durations::all(Duration::from_secs(3_600));
    let fake = Fake::builder().shards(1).durations(durations).build();
    let rig = Rig {
        fake,
        ..Rig::new(Sink::default())
    };
    let fan_out = rig.fan_out().deregister(Deregistration::Always);
    let ended = rig.stop(rig.source().fan_out(fan_out), 7, |_| {}).await;
    assert!(ended.handle.status().is_empty());
}

#[tokio::test(start_paused = true)]
async fn while_it_lists_or_opens() {
    // It is found to be stale by the end of a shard.
    let rig = Rig::new(Sink::default());
    rig.fake
        .inject(Fault::hung(Operation::ListShards).after(1).always());
    let source = rig.source().discover_every(Duration::from_secs(11));
    let ended = rig.stop(source, 7, |_| {}).await;
    ended.report.result.as_ref().unwrap();
    assert!(ended.took < Duration::from_secs(1), "{:?}", ended.took);
    rig.assert_reported(&ended).await;
    rig.go_on().await;
    for operation in [Operation::DescribeStreamSummary, Operation::ListShards] {
        let rig = Rig::new(Sink::default());
        rig.fake.inject(Fault::hung(operation).always());
        let ended = rig.stop(rig.source(), 7, |_| {}).await;
        ended.report.result.as_ref().unwrap();
        assert!(ended.took < Duration::from_secs(1), "{:?}", ended.took);
        rig.go_on().await;
    }
    let rig = Rig::new(Sink::default());
    rig.store.hangs.store(true, SeqCst);
    let ended = rig.stop(rig.source(), 7, |_| {}).await;
    assert!(ended.took < Duration::from_secs(1), "{:?}", ended.took);
    rig.go_on().await;
}

#[tokio::test(start_paused = true)]
async fn while_checkpoints_are_not_stored() {
    let rig = Rig::new(Sink::default());
    let trouble = |rig: &Rig| {
        rig.store.hangs.store(true, SeqCst);
        rig.fake.put_numbered(300..400).unwrap();
    };
    let ended = rig.stop(rig.source(), 30, trouble).await;
    // All is taken in; only that is not remembered.
    assert!(ended.report.timed_out);
    assert!(matches!(
        ended.report.result,
        Err(PipelineError::DrainTimedOut { .. })
    ));
    rig.assert_reported(&ended).await;
    assert!(ended.handle.drain_report().iter().all(|it| it.unacked == 0));
    rig.go_on().await;
}

#[tokio::test(start_paused = true)]
async fn while_nothing_is_taken_in() {
    // Also of a shard that has been read to its end, and has children.
    let rig = Rig::new(Sink::default());
    rig.fake
        .split_shard(&"shardId-000000000002".into(), u128::MAX - 1_000)
        .await
        .unwrap();
    let gate = rig.sink.close();
    let ended = rig.stop(rig.source(), 7, |_| {}).await;
    assert!(ended.report.timed_out);
    let reports = ended.handle.drain_report();
    let unacked: u64 = reports.iter().map(|it| it.unacked).sum();
    assert!(
        (40..=60).contains(&unacked),
        "three windows of 20: {reports:?}"
    );
    rig.assert_reported(&ended).await;
    drop(gate);
    rig.go_on().await;
}

/// What is acked during a drain is remembered during the drain: others may hold it up until it is over.
#[tokio::test(start_paused = true)]
async fn what_is_acked_in_a_drain_that_is_cut_off_is_not_lost() {
    let rig = Rig::new(Sink::default());
    let (slow, stalled) = (Sink::by(Duration::from_millis(800)), Sink::default());
    let gate = stalled.close();
    let mut pipeline = Pipeline::new().drain_within(DEADLINE);
    let rarely = rig.source().checkpoint_every(Duration::from_secs(86_400));
    let (lanes, handle) = rarely.add_lanes_to(&mut pipeline, 2);
    let stands_still = {
        let is_on_it = |n: &u64| stage_core::protocol::lane_for(&format!("key-{n}"), 2) == 1;
        (0..300).filter(is_on_it).collect::<Vec<_>>()
    };
    for (lane, sink) in lanes.into_iter().zip([&slow, &stalled]) {
        pipeline.consume(sink.clone(), lane.subscribe(Window::new(40)));
    }
    // One more shard has only records that are on the lane that goes on.
    let run = pipeline.run_reporting(sleep(Duration::from_millis(100)));
    let report = run.await;
    assert!(report.timed_out);
    drop(gate);
    // Up to the first of each shard that stands still, all is done and stored.
    let stored = rig.stored().await;
    for (shard, records) in rig.fake.records() {
        let number = |record: &kinesis_source::Record| -> u64 {
            std::str::from_utf8(&record.data).unwrap().parse().unwrap()
        };
        let first = records
            .iter()
            .position(|it| stands_still.contains(&number(it)))
            .unwrap();
        let taken = slow.taken();
        let before = &records[..first];
        assert!(before.iter().all(|it| taken.contains(it)));
        let expected = before
            .last()
            .map(|it| Checkpoint::after(it.sequence_number.clone()));
        let known = stored
            .get(&shard)
            .filter(|it| !matches!(it, Checkpoint::Start(_)));
        assert_eq!(known, expected.as_ref(), "{shard}");
    }
    assert_eq!(handle.drain_report().len(), 3);
}

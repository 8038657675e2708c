//! Any history of splits and merges, any demand, restarts in between: all records, each key in
//! order.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kinesis_fake::{Fake, Fault, Limits, Operation};
use kinesis_source::{
    FanOut, KinesisWriteApi, MemoryCheckpointStore, Shard, ShardSource, StreamSource,
};
use proptest::prelude::*;
use rig::{Sink, run_until_caught_up};
use stage_core::{Pipeline, Window};
use tokio::time::{sleep, timeout};

#[derive(Clone, Debug)]
enum Act {
    /// Puts so many records.
    Put(u64),
    /// Splits an open shard.
    Split(prop::sample::Index),
    /// Merges an open shard with its neighbour.
    Merge(prop::sample::Index),
    /// Lets so many milliseconds pass.
    Wait(u64),
    /// Something goes wrong with a call to come.
    Fault(prop::sample::Index),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (1u64..60).prop_map(Act::Put),
        2 => any::<prop::sample::Index>().prop_map(Act::Split),
        2 => any::<prop::sample::Index>().prop_map(Act::Merge),
        3 => (1u64..3_000).prop_map(Act::Wait),
        1 => any::<prop::sample::Index>().prop_map(Act::Fault),
    ];
    prop::collection::vec(act, 1..40)
}

const FAULTS: [&str; 6] = [
    "ProvisionedThroughputExceededException",
    "ExpiredIteratorException",
    "InternalFailure",
    "ResourceNotFoundException",
    "LimitExceededException",
    "UnheardOf",
];

/// Changes a stream as the acts say. Records have rising numbers, under eleven keys.
struct World {
    fake: Fake,
    next: u64,
    /// How the stream is read.
    by: By,
}

#[derive(Clone, Copy, Debug)]
enum By {
    Polling,
    FanOut,
    /// One after the other, from life to life.
    Turns,
}

fn ways() -> impl Strategy<Value = By> {
    prop_oneof![Just(By::Polling), Just(By::FanOut), Just(By::Turns)]
}

impl World {
    fn new(shards: u32, by: By) -> Self {
        // Reading is limited as ever; changing shards several times a second is not.
        let mut limits = Limits::default();
        limits.control_per_second = Limits::none().control_per_second;
        limits.open_shards = Limits::none().open_shards;
        let fake = Fake::builder()
            .instant()
            .shards(shards)
            .page_size(3)
            .limits(limits)
            .build();
        Self { fake, next: 0, by }
    }

    async fn act(&mut self, act: &Act) {
        match act {
            Act::Put(count) => {
                for number in self.next..self.next + count {
                    let key = format!("key-{}", number % 11);
                    self.fake.put(&key, number.to_string()).unwrap();
                }
                self.next += count;
            }
            Act::Split(index) => {
                let shard = self.open_shard(index);
                let range = shard.hash_range;
                let middle = range.start + (range.end - range.start) / 2 + 1;
                if middle <= range.end {
                    self.fake.split_shard(&shard.id, middle).await.unwrap();
                }
            }
            Act::Merge(index) => {
                let shard = self.open_shard(index);
                let next = |other: &Shard| {
                    shard.hash_range.end.checked_add(1) == Some(other.hash_range.start)
                };
                if let Some(neighbour) = self.open_shards().into_iter().find(next) {
                    self.fake
                        .merge_shards(&shard.id, &neighbour.id)
                        .await
                        .unwrap();
                }
            }
            Act::Wait(millis) => sleep(Duration::from_millis(*millis)).await,
            Act::Fault(index) => {
                let code = index.get(&FAULTS);
                let subscribing = Operation::SubscribeToShard;
                self.fake.inject(
                    index
                        .get(&[
                            Fault::refusal(Operation::GetRecords, *code).times(2),
                            Fault::refusal(Operation::GetShardIterator, *code).times(2),
                            Fault::refusal(subscribing, *code).times(2),
                            Fault::refusal(subscribing, *code).in_stream().times(2),
                            Fault::hung(subscribing).in_stream(),
                        ])
                        .clone(),
                );
            }
        }
    }

    fn open_shards(&self) -> Vec<Shard> {
        let shards = self.fake.shards().into_iter();
        shards.filter(|shard| !shard.is_closed()).collect()
    }

    fn open_shard(&self, index: &prop::sample::Index) -> Shard {
        index.get(&self.open_shards()).clone()
    }

    fn source(&self, life: usize, store: &Arc<MemoryCheckpointStore>) -> StreamSource {
        let api = Arc::new(self.fake.clone());
        let source = StreamSource::new("orders", api.clone()).checkpoints(Arc::clone(store) as _);
        match self.by {
            By::Turns if life.is_multiple_of(2) => source,
            By::Polling => source,
            By::Turns | By::FanOut => source.fan_out(FanOut::new(api, "audit")),
        }
    }
}

fn windows() -> impl Strategy<Value = Window> {
    (1usize..60)
        .prop_flat_map(|max| (Just(max), 0..max))
        .prop_map(|(max, min)| Window::new(max).with_min(min))
}

/// What each key brought, in the order it came.
fn by_key(sinks: &[Sink]) -> BTreeMap<u64, Vec<u64>> {
    let mut by_key = BTreeMap::<u64, Vec<u64>>::new();
    for number in sinks.iter().flat_map(Sink::numbers_in_order) {
        by_key.entry(number % 11).or_default().push(number);
    }
    by_key
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn every_record_arrives_once_each_key_in_order(
        shards in 1u32..5,
        by in ways(),
        before in acts(),
        meanwhile in acts(),
        window in windows(),
        millis_per_batch in 0u64..40,
    ) {
        paused().block_on(async {
            let mut world = World::new(shards, by);
            for act in &before {
                world.act(act).await;
            }
            let sink = Sink::by(Duration::from_millis(millis_per_batch));
            let mut pipeline = Pipeline::new();
            let (records, handle) = world.source(1, &Arc::default()).add_to(&mut pipeline);
            pipeline.consume(sink.clone(), records.subscribe(window));
            // Looks all the time whether more is on its way than the window lets through.
            let looking = tokio::spawn({
                let handle = handle.clone();
                async move {
                    loop {
                        for shard in handle.status() {
                            assert!(shard.in_flight <= window.max() as u64, "{shard:?}");
                        }
                        sleep(Duration::from_millis(5)).await;
                    }
                }
            });
            let (changed, done) = tokio::sync::oneshot::channel::<()>();
            let run = tokio::spawn(pipeline.run_until(async move {
                let _ = done.await;
                handle.caught_up().await;
            }));
            for act in &meanwhile {
                world.act(act).await;
            }
            changed.send(()).unwrap();
            run.await.unwrap().unwrap();
            looking.abort();
            prop_assert!(looking.await.unwrap_err().is_cancelled(), "more than the window");
            sink.assert_complete(&world.fake);
            sink.assert_parents_before_children(&world.fake);
            for (key, numbers) in by_key(&[sink]) {
                prop_assert!(numbers.is_sorted(), "key {key}: {numbers:?}");
            }
            Ok(())
        })?;
    }

    /// Killed again and again, at any moment: nothing is lost, and what comes twice is all that
    /// came since the last checkpoint, in order.
    #[test]
    fn nothing_is_lost_over_kills(
        shards in 1u32..4,
        by in ways(),
        lives in prop::collection::vec((acts(), 1u64..4_000), 1..5),
        window in windows(),
        millis_per_batch in 0u64..200,
    ) {
        paused().block_on(async {
            let (mut world, store) = (World::new(shards, by), Arc::default());
            let mut sinks = Vec::new();
            for (life, (acts, millis)) in lives.iter().enumerate() {
                for act in acts {
                    world.act(act).await;
                }
                let sink = Sink::by(Duration::from_millis(millis_per_batch));
                let mut pipeline = Pipeline::new();
                let (records, _) = world.source(life, &store).add_to(&mut pipeline);
                pipeline.consume(sink.clone(), records.subscribe(window));
                let killed = timeout(Duration::from_millis(*millis), pipeline.run()).await;
                prop_assert!(killed.is_err(), "{killed:?}");
                sinks.push(sink);
            }
            let last = Sink::default();
            run_until_caught_up(world.source(lives.len(), &store), &last, window).await.unwrap();
            sinks.push(last);
            for (key, numbers) in by_key(&sinks) {
                let mut distinct = numbers.clone();
                distinct.sort_unstable();
                distinct.dedup();
                let expected: Vec<u64> = (0..world.next).filter(|n| n % 11 == key).collect();
                prop_assert_eq!(&distinct, &expected, "key {}", key);
            }
            for sink in &sinks {
                for (key, numbers) in by_key(std::slice::from_ref(sink)) {
                    prop_assert!(numbers.is_sorted(), "key {key}: {numbers:?}");
                }
            }
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_source_is_a_producer_as_it_should_be() {
    let world = World::new(1, By::Polling);
    world.fake.put_numbered(0..300).unwrap();
    let shard = world.open_shards().remove(0);
    let middle = shard.hash_range.end / 2;
    world.fake.split_shard(&shard.id, middle).await.unwrap();
    world.fake.set_limits(Limits::none());
    stage_core::testing::producer(|| {
        let api = Arc::new(world.fake.clone());
        ShardSource::new(
            api,
            shard.id.clone(),
            kinesis_source::PinnedPosition::TrimHorizon,
        )
    })
    .await;
}

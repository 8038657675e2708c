//! Streams that are resharded, on a runtime with several threads and in real time: two readers end at the same moment,
//! and both while something else is attended to. On a paused clock there is one thread, and nothing of that happens.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{ops::Range, sync::Arc, time::Duration};

use kinesis_fake::Fake;
use kinesis_source::{FanOut, KinesisWriteApi, Shard, StreamSource};
use rig::Sink;
use stage_core::Window;
use tokio::{task::JoinSet, time::timeout};

/// Streams that are read at once, so that there is always something to do.
const STREAMS: u64 = 48;

/// How often shards were merged, and how often split.
const GENERATIONS: u64 = 8;

/// For what takes some seconds, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(180);

/// Two shards, merged and split again and again, with records in each.
async fn resharded() -> Fake {
    let fake = Fake::builder()
        .shards(2)
        .instant()
        .wall_clock()
        .without_limits()
        .build();
    let numbers = |at: u64| -> Range<u64> { 20 * at..20 * (at + 1) };
    for generation in 0..GENERATIONS {
        fake.put_numbered(numbers(2 * generation)).unwrap();
        let [left, right] = &open_shards(&fake)[..] else {
            panic!("there are two");
        };
        fake.merge_shards(&left.id, &right.id).await.unwrap();
        fake.put_numbered(numbers(2 * generation + 1)).unwrap();
        let [both] = &open_shards(&fake)[..] else {
            panic!("there is one");
        };
        fake.split_shard(&both.id, 1 << 127).await.unwrap();
    }
    fake.put_numbered(numbers(2 * GENERATIONS)).unwrap();
    fake
}

fn open_shards(fake: &Fake) -> Vec<Shard> {
    let mut shards = fake.shards();
    shards.retain(|shard| !shard.is_closed());
    shards
}

async fn read(fake: Fake, source: StreamSource) {
    let sink = Sink::default();
    let reading = rig::run_until_caught_up(source, &sink, Window::new(50));
    let ended = timeout(PATIENCE, reading).await;
    let ended = ended.unwrap_or_else(|_| panic!("{} records have come", sink.taken().len()));
    ended.unwrap();
    sink.assert_complete(&fake);
    sink.assert_parents_before_children(&fake);
}

async fn read_all(source: impl Fn(&Fake) -> StreamSource) {
    let mut reading = JoinSet::new();
    for _ in 0..STREAMS {
        let fake = resharded().await;
        let source = source(&fake).checkpoint_every(Duration::from_millis(100));
        reading.spawn(read(fake, source));
    }
    reading.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_that_are_polled_and_end_together_are_followed_by_their_child() {
    read_all(|fake| StreamSource::new("orders", Arc::new(fake.clone()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_that_are_sent_and_end_together_are_followed_by_their_child() {
    read_all(|fake| {
        let api = Arc::new(fake.clone());
        let fan_out = FanOut::new(api.clone(), "audit");
        StreamSource::new("orders", api).fan_out(fan_out)
    })
    .await;
}

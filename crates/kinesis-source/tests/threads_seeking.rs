//! Shards that are told to go on elsewhere again and again while they are read, on several threads and in real time,
//! and whose receipts are settled by other threads.

#![allow(clippy::unwrap_used)]
#![allow(
    clippy::disallowed_methods,
    reason = "receipts are settled by threads of their own"
)]

mod dice;

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use dice::Dice;
use kinesis_fake::{Choices, Fake};
use kinesis_source::{
    Checkpoint, CheckpointStore, FanOut, KinesisApi, MemoryCheckpointStore, PinnedPosition, Record,
    SeekError, SequenceNumber, ShardId, StreamIdentity, StreamSource,
};
use stage_core::{Batch, Consumer, Pipeline, Receipt, Window};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

const STREAMS: u64 = 30;
const SEEKS: u64 = 8;
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone)]
struct Sink {
    taken: Arc<Mutex<BTreeMap<ShardId, Vec<SequenceNumber>>>>,
    settlers: Vec<mpsc::Sender<Receipt>>,
}

impl Consumer<Record> for Sink {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<Record>) -> Result<(), Infallible> {
        for (at, (record, receipt)) in batch.drain_with_receipts().enumerate() {
            let mut taken = self.taken.lock().unwrap();
            taken
                .entry(record.shard)
                .or_default()
                .push(record.sequence_number);
            drop(taken);
            match self.settlers.get(at % 5) {
                Some(settler) => settler.send(receipt).unwrap(),
                None => receipt.ack(),
            }
        }
        Ok(())
    }
}

fn settlers(seed: u64) -> Vec<mpsc::Sender<Receipt>> {
    let of = |settler: u64| {
        let (to, from) = mpsc::channel::<Receipt>();
        thread::spawn(move || {
            let mut dice = Dice::new(seed + settler);
            for receipt in from {
                if dice.percent(5) {
                    thread::sleep(Duration::from_micros(500));
                }
                receipt.ack();
            }
        });
        to
    };
    (0..3).map(of).collect()
}

async fn read_to_and_fro(seed: u64) {
    let mut choices = Choices::default();
    // What the tip of a subscription is told by.
    choices.heartbeat = Duration::from_millis(700);
    let fake = Fake::builder()
        .choices(choices)
        .shards(2)
        .instant()
        .wall_clock()
        .without_limits()
        .build();
    fake.put_numbered(0..1_000).unwrap();
    let store = Arc::new(MemoryCheckpointStore::new());
    let api = Arc::new(fake.clone());
    let source = StreamSource::new("orders", api.clone())
        .checkpoints(store.clone())
        .checkpoint_every(Duration::from_millis(50));
    let source = match seed % 3 {
        0 => source.fan_out(FanOut::new(api, "audit")),
        _ => source,
    };
    let mut pipeline = Pipeline::new();
    let stopping = pipeline.handle();
    let (records, handle) = source.add_to(&mut pipeline);
    let sink = Sink {
        taken: Arc::default(),
        settlers: settlers(seed),
    };
    pipeline.consume(sink.clone(), records.subscribe(Window::new(60)));
    let running = tokio::spawn(pipeline.run());
    let all: Vec<(ShardId, Vec<SequenceNumber>)> = fake
        .records()
        .into_iter()
        .map(|(shard, them)| {
            (
                shard,
                them.into_iter().map(|it| it.sequence_number).collect(),
            )
        })
        .collect();
    let mut starts: BTreeSet<SequenceNumber> =
        all.iter().map(|(_, them)| them[0].clone()).collect();
    while handle.status().len() < 2 {
        sleep(Duration::from_millis(1)).await;
    }
    let begins: BTreeMap<_, _> = fake
        .shards()
        .into_iter()
        .map(|it| (it.id, it.starting_sequence_number))
        .collect();
    let mut seeking = JoinSet::new();
    let mut dice = Dice::new(seed);
    for _ in 0..SEEKS {
        let (shard, numbers) = dice.one_of(&all);
        let at = dice.between(0, numbers.len() as u64 - 2) as usize;
        let position = match dice.between(0, 8) {
            0..2 => PinnedPosition::AfterSequenceNumber(numbers[at].clone()),
            2..4 => PinnedPosition::AtSequenceNumber(numbers[at + 1].clone()),
            4 => PinnedPosition::TrimHorizon,
            // A place, and no record.
            5 => PinnedPosition::AtSequenceNumber(begins[&shard].clone()),
            // There is no such place.
            _ => PinnedPosition::AfterSequenceNumber(77.into()),
        };
        starts.insert(numbers[at + 1].clone());
        let handle = handle.clone();
        seeking.spawn(async move {
            let how = timeout(PATIENCE, handle.seek(&shard, position)).await;
            let how = how.unwrap_or_else(|_| panic!("stream {seed}: a seek gets no answer"));
            assert!(
                matches!(
                    how,
                    Ok(()) | Err(SeekError::Superseded { .. } | SeekError::Refused { .. })
                ),
                "stream {seed}: {how:?}"
            );
        });
        sleep(dice.millis(0, 400)).await;
    }
    seeking.join_all().await;
    for (shard, _) in &all {
        handle
            .seek(shard, PinnedPosition::TrimHorizon)
            .await
            .unwrap();
    }
    timeout(PATIENCE, handle.caught_up()).await.unwrap();
    stopping.stop();
    running.await.unwrap().unwrap();
    let taken = sink.taken.lock().unwrap().clone();
    let stream = StreamIdentity::from(&fake.describe_stream_summary().await.unwrap());
    let stored = store.load(&stream).await.unwrap();
    for (shard, numbers) in &all {
        let places: BTreeMap<_, _> = numbers.iter().zip(0..).collect();
        let taken = &taken[shard];
        for pair in taken.windows(2) {
            let follows = places[&pair[1]] == places[&pair[0]] + 1;
            assert!(
                follows || starts.contains(&pair[1]),
                "stream {seed}: {:?} after {:?}",
                places[&pair[1]],
                places[&pair[0]],
            );
        }
        assert!(taken.ends_with(numbers), "stream {seed}: all of it at last");
        let last = numbers.last().unwrap();
        let done = match &stored[shard] {
            Checkpoint::After {
                sequence_number, ..
            }
            | Checkpoint::Quiet {
                sequence_number, ..
            } => sequence_number,
            other => panic!("{other:?}"),
        };
        assert_eq!(done, last, "stream {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn wherever_shards_are_sent_they_are_read_in_order_from_there() {
    let seed = std::env::var("SEED").map_or(0, |it| it.parse().unwrap());
    let mut reading = JoinSet::new();
    for stream in 0..STREAMS {
        reading.spawn(read_to_and_fro(seed + stream));
    }
    reading.join_all().await;
}

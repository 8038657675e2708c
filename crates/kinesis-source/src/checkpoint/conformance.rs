use std::collections::BTreeMap;

use super::{Checkpoint, CheckpointError, CheckpointStore, StreamIdentity};
use crate::{PinnedPosition, ShardId, Timestamp};

/// Checks that a [`CheckpointStore`] keeps the promises of its trait, for whoever writes one.
/// `make` returns a new, empty store each time.
///
/// It cannot check that a save outlives a crash, nor that it is all or nothing: that takes
/// knowledge of where the store writes.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use kinesis_source::{MemoryCheckpointStore, testing};
///
/// testing::checkpoint_store(async || MemoryCheckpointStore::new()).await;
/// # }
/// ```
///
/// # Panics
///
/// If a promise is broken, with a message that says which.
pub async fn checkpoint_store<S: CheckpointStore>(make: impl AsyncFn() -> S) {
    returns_what_was_saved(&make().await).await;
    keeps_shards_that_a_save_leaves_out(&make().await).await;
    never_goes_back(&make().await).await;
    goes_back_when_it_is_told_to(&make().await).await;
    forgets_what_has_ended(&make().await).await;
    belongs_to_the_first_that_loads(&make().await).await;
    belongs_to_the_first_that_saves(&make().await).await;
    learns_when_its_stream_was_made(&make().await).await;
}

async fn returns_what_was_saved(store: &dyn CheckpointStore) {
    let stream = orders(Some(1_000));
    assert_eq!(
        load(store, &stream).await,
        shards([]),
        "a new store holds nothing"
    );
    let all = shards([
        (0, Checkpoint::Start(PinnedPosition::TrimHorizon)),
        (
            1,
            Checkpoint::Start(PinnedPosition::AtTimestamp(Timestamp::from_millis(-1))),
        ),
        (
            2,
            Checkpoint::Start(PinnedPosition::AtSequenceNumber(0.into())),
        ),
        (
            3,
            Checkpoint::Start(PinnedPosition::AfterSequenceNumber(u128::MAX.into())),
        ),
        (4, longest(Some(0))),
        (5, longest(Some(u64::MAX))),
        (6, longest(None)),
        (7, Checkpoint::End),
        (8, quiet(i64::MAX)),
        (9, quiet_start(i64::MIN)),
        (10, end_after(u128::MAX)),
        (11, end_from(i64::MIN)),
    ]);
    save(store, &stream, &all).await;
    assert_eq!(
        load(store, &stream).await,
        all,
        "what was saved comes back as it was"
    );
    save(store, &stream, &shards([])).await;
    assert_eq!(
        load(store, &stream).await,
        all,
        "saving nothing changes nothing"
    );
}

async fn keeps_shards_that_a_save_leaves_out(store: &dyn CheckpointStore) {
    let stream = orders(Some(1_000));
    save(store, &stream, &shards([(0, after(1))])).await;
    save(store, &stream, &shards([(1, after(2))])).await;
    let both = shards([(0, after(1)), (1, after(2))]);
    assert_eq!(
        load(store, &stream).await,
        both,
        "a save leaves other shards alone"
    );
}

async fn never_goes_back(store: &dyn CheckpointStore) {
    let stream = orders(Some(1_000));
    let part = |part| Checkpoint::After {
        sequence_number: 9.into(),
        sub_sequence_number: Some(part),
    };
    let start =
        |millis| Checkpoint::Start(PinnedPosition::AtTimestamp(Timestamp::from_millis(millis)));
    let forward = [
        start(5),
        quiet_start(1),
        quiet_start(2),
        after(8),
        part(0),
        part(1),
        after(9),
        quiet(1),
        quiet(2),
        after(10),
        Checkpoint::End,
        end_after(9),
        end_after(10),
    ];
    for (reached, checkpoint) in forward.iter().enumerate() {
        save(store, &stream, &shards([(0, checkpoint.clone())])).await;
        for earlier in &forward[..reached] {
            save(
                store,
                &stream,
                &shards([(0, earlier.clone()), (1, after(1))]),
            )
            .await;
        }
        save(store, &stream, &shards([(0, start(4))])).await;
        let stored = load(store, &stream).await.remove(&shard(0));
        assert_eq!(
            stored.as_ref(),
            Some(checkpoint),
            "a checkpoint never goes back"
        );
    }
    let other = load(store, &stream).await.remove(&shard(1));
    assert_eq!(
        other,
        Some(after(1)),
        "what goes forward is stored beside what does not"
    );
}

async fn goes_back_when_it_is_told_to(store: &dyn CheckpointStore) {
    let stream = orders(Some(1_000));
    save(store, &stream, &shards([(0, after(9)), (1, after(9))])).await;
    for back in [
        after(5),
        end_after(7),
        after(6),
        Checkpoint::Start(PinnedPosition::TrimHorizon),
    ] {
        let told = shards([(0, back.clone()), (2, after(1))]);
        if let Err(error) = store.rewind(&stream, &told).await {
            panic!("rewind for {stream} fails: {error}");
        }
        let expected = shards([(0, back.clone()), (1, after(9)), (2, after(1))]);
        assert_eq!(
            load(store, &stream).await,
            expected,
            "a rewind puts back what it is told to, and nothing else"
        );
    }
    save(store, &stream, &shards([(0, after(3))])).await;
    let stored = load(store, &stream).await.remove(&shard(0));
    assert_eq!(stored, Some(after(3)), "and saves go on from there");
}

async fn forgets_what_has_ended(store: &dyn CheckpointStore) {
    let stream = orders(Some(1_000));
    let all = shards([
        (0, Checkpoint::End),
        (1, Checkpoint::End),
        (2, after(9)),
        (3, quiet_start(7)),
        (5, end_after(9)),
        (6, end_from(7)),
    ]);
    save(store, &stream, &all).await;
    let told = [0, 2, 3, 4, 5, 6].map(shard).into();
    for _ in 0..2 {
        if let Err(error) = store.forget(&stream, &told).await {
            panic!("forget for {stream} fails: {error}");
        }
        let left = shards([(1, Checkpoint::End), (2, after(9)), (3, quiet_start(7))]);
        assert_eq!(
            load(store, &stream).await,
            left,
            "ends that are to be forgotten are, and nothing else"
        );
    }
    save(store, &stream, &shards([(0, after(1))])).await;
    assert_eq!(
        load(store, &stream).await.remove(&shard(0)),
        Some(after(1)),
        "what was forgotten can be stored anew"
    );
}

async fn belongs_to_the_first_that_loads(store: &dyn CheckpointStore) {
    load(store, &orders(Some(1_000))).await;
    refuses(store, &orders(Some(2_000))).await;
    refuses(store, &payments()).await;
    load(store, &orders(Some(1_000))).await;
}

async fn belongs_to_the_first_that_saves(store: &dyn CheckpointStore) {
    let done = shards([(0, after(1))]);
    save(store, &orders(Some(1_000)), &done).await;
    refuses(store, &orders(Some(2_000))).await;
    refuses(store, &payments()).await;
    assert_eq!(
        load(store, &orders(Some(1_000))).await,
        done,
        "a refused save stores nothing"
    );
}

async fn learns_when_its_stream_was_made(store: &dyn CheckpointStore) {
    load(store, &orders(None)).await;
    load(store, &orders(Some(1_000))).await;
    refuses(store, &orders(Some(2_000))).await;
    load(store, &orders(None)).await;
}

async fn refuses(store: &dyn CheckpointStore, stream: &StreamIdentity) {
    let is_refusal = |error: &CheckpointError| matches!(error, CheckpointError::OtherStream { wanted, .. } if wanted == stream);
    let loaded = store.load(stream).await;
    assert!(
        loaded.is_err_and(|error| is_refusal(&error)),
        "load refuses {stream}"
    );
    let saved = store.save(stream, &shards([(0, after(999))])).await;
    assert!(
        saved.is_err_and(|error| is_refusal(&error)),
        "save refuses {stream}"
    );
    let rewound = store.rewind(stream, &shards([(0, after(999))])).await;
    assert!(
        rewound.is_err_and(|error| is_refusal(&error)),
        "rewind refuses {stream}"
    );
    let forgotten = store.forget(stream, &[shard(0)].into()).await;
    assert!(
        forgotten.is_err_and(|error| is_refusal(&error)),
        "forget refuses {stream}"
    );
}

async fn load(
    store: &dyn CheckpointStore,
    stream: &StreamIdentity,
) -> BTreeMap<ShardId, Checkpoint> {
    match store.load(stream).await {
        Ok(checkpoints) => checkpoints,
        Err(error) => panic!("load for {stream} fails: {error}"),
    }
}

async fn save(
    store: &dyn CheckpointStore,
    stream: &StreamIdentity,
    checkpoints: &BTreeMap<ShardId, Checkpoint>,
) {
    if let Err(error) = store.save(stream, checkpoints).await {
        panic!("save for {stream} fails: {error}");
    }
}

fn orders(created_millis: Option<i64>) -> StreamIdentity {
    StreamIdentity {
        name: "orders".into(),
        created: created_millis.map(Timestamp::from_millis),
    }
}

fn payments() -> StreamIdentity {
    StreamIdentity {
        name: "payments".into(),
        ..orders(Some(1_000))
    }
}

fn shard(number: u32) -> ShardId {
    ShardId::new(format!("shardId-{number:012}"))
}

fn shards<const N: usize>(checkpoints: [(u32, Checkpoint); N]) -> BTreeMap<ShardId, Checkpoint> {
    let named = checkpoints.map(|(number, checkpoint)| (shard(number), checkpoint));
    named.into()
}

fn after(sequence_number: u128) -> Checkpoint {
    Checkpoint::after(sequence_number.into())
}

fn end_after(sequence_number: u128) -> Checkpoint {
    Checkpoint::EndAfter {
        sequence_number: sequence_number.into(),
    }
}

fn end_from(moment: i64) -> Checkpoint {
    Checkpoint::EndFrom {
        position: PinnedPosition::AtTimestamp(Timestamp::from_millis(moment)),
    }
}

fn quiet_start(until: i64) -> Checkpoint {
    Checkpoint::QuietStart {
        position: PinnedPosition::TrimHorizon,
        until: Timestamp::from_millis(until),
    }
}

fn quiet(until: i64) -> Checkpoint {
    Checkpoint::Quiet {
        sequence_number: 9.into(),
        until: Timestamp::from_millis(until),
    }
}

/// The longest number there is, far beyond `u128`.
fn longest(sub_sequence_number: Option<u64>) -> Checkpoint {
    let digits = "9".repeat(129);
    Checkpoint::After {
        sequence_number: digits.parse().expect("129 digits are allowed"),
        sub_sequence_number,
    }
}

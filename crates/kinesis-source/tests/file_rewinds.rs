//! A save that is given up is done later, or not; but not after what is stored then.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
};

use kinesis_source::{Checkpoint, CheckpointStore, FileCheckpointStore, StreamIdentity};

#[tokio::test(flavor = "multi_thread")]
async fn a_save_that_was_given_up_does_not_undo_a_later_rewind() {
    const ROUNDS: u64 = 100;
    let path = std::env::temp_dir().join(format!("rewinds-{}.redb", std::process::id()));
    let store = Arc::new(FileCheckpointStore::open(&path).await.unwrap());
    let stream = StreamIdentity {
        name: "orders".into(),
        created: None,
    };
    let at =
        |number: u64| BTreeMap::from([("s".into(), Checkpoint::after(u128::from(number).into()))]);
    let mut undone = 0;
    for round in 0..ROUNDS {
        let far = 1_000 * (round + 1);
        // The disk is busy.
        let busy = tokio::spawn({
            let (store, stream, any) = (Arc::clone(&store), stream.clone(), at(far - 900));
            async move { store.save(&stream, &any).await }
        });
        // In vain: its time is up.
        let given_up = at(far);
        {
            let mut saving = pin!(store.save(&stream, &given_up));
            let mut context = Context::from_waker(Waker::noop());
            assert!(saving.as_mut().poll(&mut context).is_pending());
        }
        // Then the shard is told to go on further back, and that is stored.
        store.rewind(&stream, &at(far - 500)).await.unwrap();
        busy.await.unwrap().unwrap();
        // A load waits for its turn, too.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let stored = store.load(&stream).await.unwrap();
        undone += u64::from(stored == at(far));
    }
    drop(store);
    std::fs::remove_file(&path).ok();
    assert_eq!(undone, 0, "of {ROUNDS} rewinds were undone");
}

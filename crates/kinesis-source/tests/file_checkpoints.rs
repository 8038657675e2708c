//! What a file of checkpoints stands.
#![cfg(feature = "redb")]
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    error::Error as _,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use kinesis_source::{
    Checkpoint, CheckpointError, CheckpointStore, FileCheckpointStore, ShardId, StreamIdentity,
    Timestamp, testing,
};

/// A directory that goes when the test does.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("file_checkpoints-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind lies in the system's temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn orders() -> StreamIdentity {
    StreamIdentity {
        name: "orders".into(),
        created: Some(Timestamp::from_millis(1_700_000_000_000)),
    }
}

fn some_checkpoints() -> BTreeMap<ShardId, Checkpoint> {
    (0..40u128)
        .map(|number| {
            let shard = ShardId::new(format!("shardId-{number:012}"));
            (shard, Checkpoint::after(number.into()))
        })
        .collect()
}

/// The bytes of a file with checkpoints in it.
async fn written(path: &Path) -> Vec<u8> {
    let store = FileCheckpointStore::open(path).await.unwrap();
    store.save(&orders(), &some_checkpoints()).await.unwrap();
    drop(store);
    fs::read(path).unwrap()
}

async fn open_and_use(path: &Path) -> Result<BTreeMap<ShardId, Checkpoint>, CheckpointError> {
    let store = FileCheckpointStore::open(path).await?;
    let checkpoints = store.load(&orders()).await?;
    store.save(&orders(), &some_checkpoints()).await?;
    Ok(checkpoints)
}

#[tokio::test]
async fn it_is_a_checkpoint_store() {
    let scratch = Scratch::new();
    let number = AtomicUsize::new(0);
    testing::checkpoint_store(async || {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let path = scratch.file(&format!("{number}.redb"));
        FileCheckpointStore::open(path).await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn what_was_saved_is_there_after_a_restart() {
    let scratch = Scratch::new();
    let path = scratch.file("a.redb");
    written(&path).await;
    assert_eq!(open_and_use(&path).await.unwrap(), some_checkpoints());
}

#[tokio::test]
async fn a_copy_of_a_file_that_was_never_closed_holds_every_save() {
    let scratch = Scratch::new();
    let store = FileCheckpointStore::open(scratch.file("a.redb"))
        .await
        .unwrap();
    for (number, (shard, checkpoint)) in some_checkpoints().into_iter().enumerate() {
        let one = BTreeMap::from([(shard, checkpoint)]);
        store.save(&orders(), &one).await.unwrap();
        // What a process finds that starts after this one was killed here.
        let copy = scratch.file(&format!("{number}.redb"));
        fs::copy(store.path(), &copy).unwrap();
        let found = open_and_use(&copy).await.unwrap();
        assert_eq!(found.len(), number + 1);
    }
}

#[tokio::test]
async fn a_second_opening_is_refused_until_the_first_is_dropped() {
    let scratch = Scratch::new();
    let path = scratch.file("a.redb");
    let first = FileCheckpointStore::open(&path).await.unwrap();
    let second = FileCheckpointStore::open(&path).await.unwrap_err();
    assert!(matches!(second, CheckpointError::InUse { .. }), "{second}");
    drop(first);
    FileCheckpointStore::open(&path).await.unwrap();
}

#[tokio::test]
async fn an_empty_file_is_a_new_store() {
    let scratch = Scratch::new();
    let path = scratch.file("a.redb");
    fs::write(&path, b"").unwrap();
    assert_eq!(open_and_use(&path).await.unwrap(), BTreeMap::new());
}

#[tokio::test]
async fn what_is_no_store_is_left_as_it_is() {
    let scratch = Scratch::new();
    let path = scratch.file("a.txt");
    for content in ["x", "orders;7\n", &"text ".repeat(10_000)] {
        fs::write(&path, content).unwrap();
        let error = FileCheckpointStore::open(&path).await.unwrap_err();
        assert!(matches!(error, CheckpointError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("a.txt"), "{error}");
        assert!(error.source().is_some());
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
    let directory = FileCheckpointStore::open(&scratch.0).await.unwrap_err();
    assert!(
        matches!(directory, CheckpointError::Damaged { .. }),
        "{directory}"
    );
}

#[tokio::test]
async fn a_database_of_another_program_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.file("a.redb");
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let theirs = redb::TableDefinition::<u64, u64>::new("theirs");
    transaction
        .open_table(theirs)
        .unwrap()
        .insert(1, 2)
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = FileCheckpointStore::open(&path).await.unwrap_err();
    assert!(matches!(error, CheckpointError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_newer_format_is_refused_by_its_number() {
    let scratch = Scratch::new();
    let path = scratch.file("a.redb");
    written(&path).await;
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, &[u8]>::new("meta");
    let newer: &[u8] = br#"{"version":7,"owners":["orders"]}"#;
    transaction
        .open_table(meta)
        .unwrap()
        .insert("owner", newer)
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = FileCheckpointStore::open(&path).await.unwrap_err();
    assert!(
        matches!(error, CheckpointError::NewerFormat { version: 7, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_directory_that_is_missing_may_come() {
    let scratch = Scratch::new();
    let path = scratch.file("later").join("a.redb");
    let error = FileCheckpointStore::open(&path).await.unwrap_err();
    assert!(
        matches!(error, CheckpointError::Unavailable { .. }),
        "{error}"
    );
    fs::create_dir(path.parent().unwrap()).unwrap();
    FileCheckpointStore::open(&path).await.unwrap();
}

#[tokio::test]
async fn a_truncated_file_is_refused_or_whole() {
    let scratch = Scratch::new();
    let path = scratch.file("a.redb");
    let whole = written(&path).await;
    let lengths = (1..=64)
        .step_by(7)
        .chain((100..whole.len()).step_by(whole.len() / 60));
    for length in lengths {
        fs::write(&path, &whole[..length]).unwrap();
        refused_or_whole(&path, &format!("cut to {length}")).await;
    }
}

#[tokio::test]
async fn a_file_with_changed_bytes_is_refused_or_whole() {
    let scratch = Scratch::new();
    let path = scratch.file("a.redb");
    let whole = written(&path).await;
    let used = whole.len() - whole.iter().rev().take_while(|byte| **byte == 0).count();
    let header = (0..320).step_by(3);
    let body = (320..used).step_by(used / 120);
    for (round, offset) in header.chain(body).enumerate() {
        let mut changed = whole.clone();
        let span = 1 + round % 7;
        for byte in changed.iter_mut().skip(offset).take(span) {
            *byte ^= 0x5a ^ (round as u8);
        }
        fs::write(&path, &changed).unwrap();
        refused_or_whole(&path, &format!("{span} bytes changed at {offset}")).await;
    }
}

/// No panic gets out, and nothing but what was saved is ever returned.
async fn refused_or_whole(path: &Path, how: &str) {
    match open_and_use(path).await {
        Ok(found) => assert!(found == some_checkpoints(), "{how}: {found:?}"),
        Err(CheckpointError::Damaged { .. }) => {}
        Err(other) => panic!("{how}: {other}: {:?}", other.source()),
    }
}

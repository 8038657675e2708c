use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use ::redb::{Database, ReadableTable, Table, TableDefinition, TableHandle, WriteTransaction};
use async_trait::async_trait;
use tokio::sync::Mutex;

use super::{
    Checkpoint, CheckpointError, CheckpointStore, StreamIdentity,
    database_file::{DatabaseFile, Failure},
    format,
};
use crate::ShardId;

/// Remembers checkpoints in a file of one's own choice.
///
/// The file is a [redb](https://www.redb.org) database of some megabytes, read whole when it is
/// opened. A save returns once it is on the disk (fsync), so neither a kill nor a power cut takes
/// it back. One process can have it open, once.
///
/// ```
/// # use std::collections::BTreeMap;
/// # use kinesis_source::{Checkpoint, CheckpointStore, FileCheckpointStore, StreamIdentity};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), kinesis_source::CheckpointError> {
/// # let path = std::env::temp_dir().join(format!("example-{}.redb", std::process::id()));
/// let stream = StreamIdentity { name: "orders".into(), created: None };
/// let done = BTreeMap::from([("shardId-000000000000".into(), Checkpoint::after(7.into()))]);
///
/// let store = FileCheckpointStore::open(&path).await?;
/// store.save(&stream, &done).await?;
/// drop(store);
///
/// let store = FileCheckpointStore::open(&path).await?;
/// assert_eq!(store.load(&stream).await?, done);
/// # drop(store);
/// # std::fs::remove_file(&path).ok();
/// # Ok(()) }
/// ```
///
/// # Cancel safety
///
/// The work is done on a thread for blocking work. When the future of an [`open`](Self::open), a
/// load or a save is dropped, that thread still finishes what it began, the file is open until
/// then, and what is asked for later is done after it. As the trait says, a save that was dropped
/// is stored whole or not at all.
pub struct FileCheckpointStore {
    file: Arc<DatabaseFile>,
    /// Whose turn it is, in the order in which they came: what was given up and is still done must not come after what was
    /// asked for later.
    turn: Arc<Mutex<()>>,
}

/// Whose checkpoints these are, under [`OWNER`].
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const OWNER: &str = "owner";

/// A checkpoint for each shard's name.
const SHARDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("shards");

impl FileCheckpointStore {
    /// Opens the file at `path`, or makes one if there is none. Its directory must exist. An empty
    /// file counts as none.
    ///
    /// # Errors
    ///
    /// - [`Damaged`](CheckpointError::Damaged): it is something else, or a broken one.
    /// - [`InUse`](CheckpointError::InUse): it is open already, here or elsewhere.
    /// - [`NewerFormat`](CheckpointError::NewerFormat): a newer version wrote it.
    /// - [`Unavailable`](CheckpointError::Unavailable): no such directory, no permission, no room.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, CheckpointError> {
        let file = Arc::new(DatabaseFile::new(path.into()));
        let turn = Arc::default();
        let store = Self { file, turn };
        store.with_database(|database, _| check(database)).await?;
        Ok(store)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Stores the checkpoints that take the place of what is stored, if there is anything.
    async fn store(
        &self,
        stream: &StreamIdentity,
        checkpoints: &BTreeMap<ShardId, Checkpoint>,
        replaces: fn(&Checkpoint, &Checkpoint) -> bool,
    ) -> Result<(), CheckpointError> {
        let (stream, checkpoints) = (stream.clone(), checkpoints.clone());
        self.with_database(move |database, place| {
            let transaction = database.begin_write()?;
            let claimed = claim(&transaction, &stream, place)?;
            let mut table = transaction.open_table(SHARDS)?;
            let changed = replace(&mut table, &checkpoints, replaces)?;
            drop(table);
            settle(transaction, claimed || changed)
        })
        .await
    }

    /// Does blocking `work`, which may panic on a damaged file, on a thread made for that.
    async fn with_database<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database, &str) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, CheckpointError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let file = Arc::clone(&self.file);
        let work = move || {
            let _turn = turn;
            file.with(work)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => Err(CheckpointError::Damaged {
                place: self.file.place(),
                source: "reading it made redb panic".into(),
            }),
            Err(error) => Err(CheckpointError::Unavailable {
                place: self.file.place(),
                source: error.into(),
            }),
        }
    }
}

#[async_trait]
impl CheckpointStore for FileCheckpointStore {
    async fn load(
        &self,
        stream: &StreamIdentity,
    ) -> Result<BTreeMap<ShardId, Checkpoint>, CheckpointError> {
        let stream = stream.clone();
        self.with_database(move |database, place| {
            let transaction = database.begin_write()?;
            let claimed = claim(&transaction, &stream, place)?;
            let checkpoints = read_all(&transaction.open_table(SHARDS)?)?;
            settle(transaction, claimed)?;
            Ok(checkpoints)
        })
        .await
    }

    async fn save(
        &self,
        stream: &StreamIdentity,
        checkpoints: &BTreeMap<ShardId, Checkpoint>,
    ) -> Result<(), CheckpointError> {
        let further = |old: &Checkpoint, new: &Checkpoint| old.is_behind(new);
        self.store(stream, checkpoints, further).await
    }

    async fn rewind(
        &self,
        stream: &StreamIdentity,
        checkpoints: &BTreeMap<ShardId, Checkpoint>,
    ) -> Result<(), CheckpointError> {
        let other = |old: &Checkpoint, new: &Checkpoint| old != new;
        self.store(stream, checkpoints, other).await
    }

    async fn forget(
        &self,
        stream: &StreamIdentity,
        shards: &BTreeSet<ShardId>,
    ) -> Result<(), CheckpointError> {
        let (stream, shards) = (stream.clone(), shards.clone());
        self.with_database(move |database, place| {
            let transaction = database.begin_write()?;
            let claimed = claim(&transaction, &stream, place)?;
            let mut table = transaction.open_table(SHARDS)?;
            let changed = remove(&mut table, &shards)?;
            drop(table);
            settle(transaction, claimed || changed)
        })
        .await
    }
}

impl fmt::Debug for FileCheckpointStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileCheckpointStore")
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

/// Reads all there is, so that what is wrong shows when the file is opened.
fn check(database: &Database) -> Result<(), Failure> {
    let transaction = database.begin_write()?;
    owner(&transaction)?;
    read_all(&transaction.open_table(SHARDS)?)?;
    settle(transaction, false)
}

/// Claims the file for `stream`; whether that changed it.
fn claim(
    transaction: &WriteTransaction,
    stream: &StreamIdentity,
    place: &str,
) -> Result<bool, Failure> {
    let found = owner(transaction)?;
    let Some(owner) = stream.claim(found.as_ref(), place)? else {
        return Ok(false);
    };
    let value = format::write_owner(&owner).map_err(format::Unreadable::from)?;
    let mut meta = transaction.open_table(META)?;
    meta.insert(OWNER, value.as_slice())?;
    Ok(true)
}

fn owner(transaction: &WriteTransaction) -> Result<Option<StreamIdentity>, Failure> {
    let tables: Vec<String> = transaction
        .list_tables()?
        .map(|table| table.name().to_owned())
        .collect();
    let meta = transaction.open_table(META)?;
    if let Some(value) = meta.get(OWNER)? {
        return Ok(Some(format::read_owner(value.value())?));
    }
    // Tables and the owner are written by one transaction.
    if tables.is_empty() {
        return Ok(None);
    }
    let other = "a redb database of another program".into();
    Err(format::Unreadable::Damaged(other).into())
}

fn read_all(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<BTreeMap<ShardId, Checkpoint>, Failure> {
    let mut checkpoints = BTreeMap::new();
    for entry in table.iter()? {
        let (shard, value) = entry?;
        let checkpoint =
            format::read_checkpoint(value.value()).map_err(format::Unreadable::from)?;
        checkpoints.insert(ShardId::new(shard.value()), checkpoint);
    }
    Ok(checkpoints)
}

/// Stores the checkpoints that take the place of what is stored; whether there were any.
fn replace(
    table: &mut Table<'_, &'static str, &'static [u8]>,
    checkpoints: &BTreeMap<ShardId, Checkpoint>,
    replaces: fn(&Checkpoint, &Checkpoint) -> bool,
) -> Result<bool, Failure> {
    let mut changed = false;
    for (shard, checkpoint) in checkpoints {
        let name = shard.to_string();
        let stored = match table.get(&*name)? {
            Some(value) => {
                Some(format::read_checkpoint(value.value()).map_err(format::Unreadable::from)?)
            }
            None => None,
        };
        if stored.is_none_or(|stored| replaces(&stored, checkpoint)) {
            let value = format::write_checkpoint(checkpoint).map_err(format::Unreadable::from)?;
            table.insert(&*name, value.as_slice())?;
            changed = true;
        }
    }
    Ok(changed)
}

/// Removes those that have ended; whether there were any.
fn remove(
    table: &mut Table<'_, &'static str, &'static [u8]>,
    shards: &BTreeSet<ShardId>,
) -> Result<bool, Failure> {
    let mut changed = false;
    for shard in shards {
        let name = shard.to_string();
        let is_end = match table.get(&*name)? {
            Some(value) => format::read_checkpoint(value.value())
                .map_err(format::Unreadable::from)?
                .is_end(),
            None => false,
        };
        if is_end {
            table.remove(&*name)?;
            changed = true;
        }
    }
    Ok(changed)
}

/// Ends a transaction; one that changed nothing costs no write to the disk.
fn settle(transaction: WriteTransaction, changed: bool) -> Result<(), Failure> {
    if changed {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(())
}

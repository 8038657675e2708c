use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ::redb::{Database, Error};

use super::{CheckpointError, format};

/// A redb database that is opened when it is needed.
///
/// redb does nothing more with a database that met an I/O error, so such a one is closed, and the
/// next call opens it again: a full disk that was cleared needs no restart of the process.
pub(super) struct DatabaseFile {
    path: PathBuf,
    open: Mutex<Option<Database>>,
}

/// Why work on the database failed.
pub(super) enum Failure {
    Database(Error),
    Value(format::Unreadable),
    Claim(CheckpointError),
}

/// Far more than the checkpoints of any stream take.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

impl DatabaseFile {
    pub(super) fn new(path: PathBuf) -> Self {
        let open = Mutex::default();
        Self { path, open }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How errors call it.
    pub(super) fn place(&self) -> String {
        self.path.display().to_string()
    }

    /// Does `work`, one at a time. Blocks.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Database, &str) -> Result<T, Failure>,
    ) -> Result<T, CheckpointError> {
        // A panic has left `None` behind.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let place = self.place();
        // Taken out, so that it is closed unless all went well.
        let database = match open.take() {
            Some(database) => database,
            None => open_file(&self.path).map_err(|error| explain(error.into(), place.clone()))?,
        };
        let result = work(&database, &place);
        if !matches!(result, Err(Failure::Database(_))) {
            *open = Some(database);
        }
        result.map_err(|failure| explain(failure, place))
    }
}

fn open_file(path: &Path) -> Result<Database, Error> {
    let is_new = !path.exists();
    let database = Database::builder()
        // Without it, redb trusts a file that changed behind its back, and may panic.
        .set_check_integrity_on_open(true)
        .set_cache_size(CACHE_BYTES)
        .create(path)?;
    if is_new {
        sync_directory_of(path)?;
    }
    Ok(database)
}

/// Makes a new file's name as durable as what is in it.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    // Elsewhere a directory cannot be opened as a file, and its names need no such care.
    if cfg!(unix) {
        std::fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

fn explain(failure: Failure, place: String) -> CheckpointError {
    match failure {
        Failure::Claim(error) => error,
        Failure::Value(format::Unreadable::Newer { version }) => CheckpointError::NewerFormat {
            place,
            version,
            known: format::VERSION,
        },
        Failure::Value(format::Unreadable::Damaged(source)) => {
            CheckpointError::Damaged { place, source }
        }
        Failure::Database(Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch) => {
            CheckpointError::InUse { place }
        }
        Failure::Database(error) if is_outside(&error) => CheckpointError::Unavailable {
            place,
            source: error.into(),
        },
        Failure::Database(error) => CheckpointError::Damaged {
            place,
            source: error.into(),
        },
    }
}

/// Whether the reason lies outside of the file.
fn is_outside(error: &Error) -> bool {
    use io::ErrorKind::{InvalidData, IsADirectory, UnexpectedEof};
    match error {
        Error::Io(error) => !matches!(error.kind(), InvalidData | IsADirectory | UnexpectedEof),
        Error::PreviousIo | Error::Backend(_) | Error::Unsupported | Error::DatabaseClosed => true,
        Error::LockPoisoned(_) => true,
        _ => false,
    }
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

impl From<format::Unreadable> for Failure {
    fn from(error: format::Unreadable) -> Self {
        Self::Value(error)
    }
}

impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Self {
        Self::Claim(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_an_io_error_it_is_opened_again() {
        let name = format!("database_file-{}.redb", std::process::id());
        let path = std::env::temp_dir().join(name);
        let file = DatabaseFile::new(path.clone());
        file.with(|_, _| Ok(())).unwrap();
        assert!(file.open.lock().unwrap().is_some());

        let full = || Failure::Database(Error::PreviousIo);
        let failed = file.with(|_, _| Err::<(), _>(full())).unwrap_err();
        assert!(
            matches!(failed, CheckpointError::Unavailable { .. }),
            "{failed}"
        );
        assert!(file.open.lock().unwrap().is_none());

        file.with(|_, _| Ok(())).unwrap();
        assert!(file.open.lock().unwrap().is_some());
        drop(file);
        std::fs::remove_file(path).unwrap();
    }
}

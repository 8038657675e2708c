use stage_core::BoxError;

use super::StreamIdentity;

/// A store of checkpoints cannot be used. Each variant is another thing to do about it.
///
/// `place` says which store: the path of a file, or what its author calls it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// It belongs to another stream, or to an earlier one of the same name: pass another store.
    #[error(
        "the checkpoints in {place} are those of {found}, not of {wanted}: pass another place, or \
         move this one away to start anew"
    )]
    OtherStream {
        /// Which store.
        place: String,
        /// The stream it belongs to.
        found: StreamIdentity,
        /// The stream that was asked for.
        wanted: StreamIdentity,
    },
    /// It holds no checkpoints, or damaged ones: move it away, or pass another.
    #[error(
        "{place} is damaged, or holds no checkpoints at all: move it away to start anew, or pass \
         another place"
    )]
    Damaged {
        /// Which store.
        place: String,
        /// What is wrong with it.
        source: BoxError,
    },
    /// A newer version of this program wrote it: use that one.
    #[error(
        "the checkpoints in {place} have format {version}, and this program knows formats up to \
         {known}: use a newer one, or pass another place"
    )]
    NewerFormat {
        /// Which store.
        place: String,
        /// Its format.
        version: u64,
        /// The latest format that is known here.
        known: u64,
    },
    /// It has no way to put a checkpoint back: give it one, or do not seek.
    #[error("the checkpoints cannot go back: implement `CheckpointStore::rewind`")]
    CannotGoBack,
    /// It has no way to remove a checkpoint, and grows with each split and merge: give it one.
    #[error("the checkpoints cannot be removed: implement `CheckpointStore::forget`")]
    CannotForget,
    /// Somebody else has it open: stop them, or pass another.
    #[error("{place} is in use: stop the other program that has it open, or pass another place")]
    InUse {
        /// Which store.
        place: String,
    },
    /// It cannot be reached just now: mend what is beneath, then try again.
    #[error(
        "the checkpoints in {place} cannot be read or written: see that it exists, is allowed and \
         has room, then try again"
    )]
    Unavailable {
        /// Which store.
        place: String,
        /// Why not.
        source: BoxError,
    },
}

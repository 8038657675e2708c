use std::fmt;

use crate::{SequenceNumber, ShardId};

/// Records that the stream does not keep any more were not read: its retention time was over before
/// they were.
///
/// That is known by the last record that is done: if it is still there, so is all that came after
/// it. It is looked for whenever it may have aged out by the clock, and once the service refuses it: after
/// a restart, and while a slow reader is read. It is not told if clocks say that nothing can be missing, as
/// there was nothing after that record less than the retention time ago.
///
/// Of a shard that nothing was read of there is no such record. What it has had by the clock is told then:
/// if what is to be read of it may have come longer ago than records are kept, by the moment to start at,
/// its parents' last records and the listings that did not have it. If its parents had been silent for as
/// long while nobody read, that is a doubt, too: it may have been made just now, and have lost nothing.
/// A stream that is read for the first time has lost nothing of what was gone before that.
///
/// A shard that no listing has, though its children have been made less than the retention time ago by their sequence
/// numbers, is waited for, [told as missing](crate::SourceEvent::ListingIncomplete) and, after a minute, read as if
/// it were listed. If it is not found either, what it had is lost from its first record on, and its children are
/// read only if that is gone on without.
///
/// Whoever asks for a place at or after a record ([`StartPosition::After`](crate::StartPosition),
/// [`StreamHandle::seek`](crate::StreamHandle::seek)) that the stream does not keep, or keeps no more when it
/// is first read, has lost what came after that. A service may also refuse such a place: then nothing is
/// changed by it. A number that the shard begins or ends with is a place, though no record has it.
///
/// How many are missing cannot be known, as the service does not count its records: perhaps it is only
/// that one itself, which was read. So this is never less than a doubt, and may be no more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataLoss {
    /// The shard.
    pub shard: ShardId,
    /// The last record that is done, or done in part; or the one that reading was to begin at or after.
    /// What is missing came after it, or is it. Zero, if nothing of the shard was read, from no record.
    pub from: SequenceNumber,
    /// The oldest record that is kept: what is missing came before it. `None` if nothing of the shard is
    /// kept, perhaps not even the shard itself.
    pub to: Option<SequenceNumber>,
}

/// What to do about [`DataLoss`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnDataLoss {
    /// The shard is not read on, as [`OnShardFailure`](crate::OnShardFailure) says, with
    /// [`ShardError::DataLoss`](crate::ShardError::DataLoss). It is so again each time, until it is told
    /// otherwise.
    #[default]
    Stop,
    /// Reading goes on at the oldest record that is kept. A shard that has aged out as a whole is
    /// finished, and its children are read.
    GoOn,
}

impl fmt::Display for DataLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shard, from, to } = self;
        write!(
            f,
            "shard `{shard}` does not keep what came after record {from}"
        )?;
        match to {
            Some(to) => write!(f, " and before record {to}"),
            None => Ok(()),
        }
    }
}

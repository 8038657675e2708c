//! How far each shard is finished, and where that is remembered.

pub(crate) mod conformance;
#[cfg(feature = "redb")]
mod database_file;
mod error;
#[cfg(feature = "redb")]
mod format;
mod memory;
#[cfg(feature = "redb")]
mod redb;
mod stream_identity;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use async_trait::async_trait;

#[cfg(feature = "redb")]
pub use self::redb::FileCheckpointStore;
pub use self::{
    error::CheckpointError, memory::MemoryCheckpointStore, stream_identity::StreamIdentity,
};
use crate::{PinnedPosition, SequenceNumber, ShardId, Timestamp};

/// How far a shard is finished.
///
/// The checkpoints of a shard have an order: a [`Start`](Self::Start), the
/// [quiet after it](Self::QuietStart), then each record by its number (within one record, each part of an aggregate, then the whole, then the quiet after it),
/// then an [`End`](Self::End), [wherever it began](Self::EndFrom), and the [end after a record](Self::EndAfter). See [`is_behind`](Self::is_behind).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Checkpoint {
    /// Nothing is finished yet; reading began here. A `LATEST` is remembered as the moment at
    /// which it was meant, so that a failure before the first record skips nothing.
    Start(PinnedPosition),
    /// The same, and at that moment there was nothing to read from there on: the shard was empty, or was
    /// not made yet. Of a shard to which nothing comes this is stored about once an hour and at a stop, so that it
    /// can be told whether what came later was lost before it was read.
    QuietStart {
        /// Where reading began.
        position: PinnedPosition,
        /// When there was nothing.
        until: Timestamp,
    },
    /// Everything is finished up to and with this record.
    After {
        /// The record's number.
        sequence_number: SequenceNumber,
        /// In a record that the Kinesis Producer Library aggregated: the last part that is
        /// finished, counted from zero. `None` once the whole record is.
        sub_sequence_number: Option<u64>,
    },
    /// Everything is finished up to and with this record, and at that moment there was nothing after
    /// it. Of a shard to which nothing comes this is stored about once an hour and at a stop: when its last
    /// record is not kept any more, it tells whether others were lost with it.
    Quiet {
        /// The record's number.
        sequence_number: SequenceNumber,
        /// When the shard was found to have nothing after it.
        until: Timestamp,
    },
    /// The shard is closed, and finished to its end, of which no record is known.
    End,
    /// The same, and reading began, or would have begun, here: later than at its first record. If it turns out to be
    /// open all the same, it is [read on](crate::SourceEvent::ShardReopened) from there.
    EndFrom {
        /// Where.
        position: PinnedPosition,
    },
    /// The shard is closed, and finished to its end, with this record. If it turns out to be open all the same,
    /// it is [read on](crate::SourceEvent::ShardReopened) after that.
    EndAfter {
        /// The record's number.
        sequence_number: SequenceNumber,
    },
}

/// Remembers how far the shards of one stream are finished.
///
/// A store belongs to one stream: the first that asks for it. It refuses any other, and a stream
/// that was removed and made again under its old name is another. This is the loop around it:
///
/// ```text
/// let mut done = store.load(&stream).await?;                 // claims an empty store
/// loop {
///     …read after `done`, hand out, wait for the acknowledgements…
///     store.save(&stream, &newly_done).await?;               // returns: it outlives a kill -9
///     store.forget(&stream, &long_over).await?;              // shards that have aged out
/// }
/// ```
///
/// What is not stored within 10 s has failed and is tried again, its future dropped; at the end of a
/// source, when it waits for that, within 5 s.
///
/// Whoever writes another one can check it with
/// [`testing::checkpoint_store`](crate::testing::checkpoint_store).
#[async_trait]
pub trait CheckpointStore: fmt::Debug + Send + Sync + 'static {
    /// The checkpoints of all shards of `stream`; none in an empty store, which is claimed for
    /// `stream` by this.
    ///
    /// # Errors
    ///
    /// [`OtherStream`](CheckpointError::OtherStream) if it belongs to another stream.
    ///
    /// # Cancel safety
    ///
    /// Safe: an empty store may have been claimed or not.
    async fn load(
        &self,
        stream: &StreamIdentity,
    ) -> Result<BTreeMap<ShardId, Checkpoint>, CheckpointError>;

    /// Remembers `checkpoints`: all of them or, with an error, none. Shards that are not among
    /// them stay as they are. Once it returns, they outlive a crash of the process.
    ///
    /// A checkpoint never goes back. One that is not further than the stored one is left out
    /// without an error, because the late repetition of an earlier save is nobody's mistake. To
    /// read again from an earlier place is an act of its own: [`rewind`](Self::rewind), or another store.
    ///
    /// # Errors
    ///
    /// [`OtherStream`](CheckpointError::OtherStream) if it belongs to another stream. After any
    /// error, saving again is safe.
    ///
    /// # Cancel safety
    ///
    /// Safe: all of them may have been stored or none.
    async fn save(
        &self,
        stream: &StreamIdentity,
        checkpoints: &BTreeMap<ShardId, Checkpoint>,
    ) -> Result<(), CheckpointError>;

    /// Remembers `checkpoints` as [`save`](Self::save) does, also where that goes back: the shards were
    /// [told](crate::StreamHandle::seek) to go on elsewhere. Only that calls it.
    ///
    /// # Errors
    ///
    /// As `save`; and [`CannotGoBack`](CheckpointError::CannotGoBack) unless a store has its own: then
    /// a seek back is not remembered until the shard is beyond its old checkpoint.
    ///
    /// # Cancel safety
    ///
    /// As `save`.
    async fn rewind(
        &self,
        stream: &StreamIdentity,
        checkpoints: &BTreeMap<ShardId, Checkpoint>,
    ) -> Result<(), CheckpointError> {
        let _ = (stream, checkpoints);
        Err(CheckpointError::CannotGoBack)
    }

    /// Removes the checkpoints of `shards` that are an [end](Checkpoint::is_end); others stay as they are, and so
    /// do all of other shards. These were read to their ends and have aged out, and where their children begin
    /// is stored: without this, a store grows with each split and merge for ever. All of it may be done or any
    /// part, as each of them is as good without its checkpoint as with it. Of a store that is a map, it is
    ///
    /// ```text
    /// map.retain(|shard, stored| !(shards.contains(shard) && stored.is_end()));
    /// ```
    ///
    /// # Errors
    ///
    /// As `save`; and [`CannotForget`](CheckpointError::CannotForget) unless a store has its own: then what is
    /// stored stays, and does no harm.
    ///
    /// # Cancel safety
    ///
    /// Safe: any of them may have been removed.
    async fn forget(
        &self,
        stream: &StreamIdentity,
        shards: &BTreeSet<ShardId>,
    ) -> Result<(), CheckpointError> {
        let _ = (stream, shards);
        Err(CheckpointError::CannotForget)
    }
}

impl Checkpoint {
    /// Everything is finished up to and with the whole record of this number.
    pub fn after(sequence_number: SequenceNumber) -> Self {
        Self::After {
            sequence_number,
            sub_sequence_number: None,
        }
    }

    /// Whether the shard is closed, and finished to its end.
    pub fn is_end(&self) -> bool {
        matches!(
            self,
            Self::End | Self::EndFrom { .. } | Self::EndAfter { .. }
        )
    }

    /// The last record that is finished, wholly or in part, if there is one.
    pub fn sequence_number(&self) -> Option<&SequenceNumber> {
        self.rank().1
    }

    /// The end of a shard of which no record is known, and of which reading began there.
    pub(crate) fn end_from(position: &PinnedPosition) -> Self {
        match position {
            PinnedPosition::TrimHorizon => Self::End,
            position => Self::EndFrom {
                position: position.clone(),
            },
        }
    }

    /// Whether it is what is stored of a child before it is read.
    pub(crate) fn is_untouched_child(&self) -> bool {
        matches!(
            self,
            Self::Start(PinnedPosition::TrimHorizon)
                | Self::QuietStart {
                    position: PinnedPosition::TrimHorizon,
                    ..
                }
        )
    }

    /// Whether `other` is further on in the same shard. Of two starts, or of two ends without
    /// a record, none is behind the other: where reading began is decided once.
    ///
    /// ```
    /// use kinesis_source::{Checkpoint, PinnedPosition};
    ///
    /// let start = Checkpoint::Start(PinnedPosition::TrimHorizon);
    /// assert!(start.is_behind(&Checkpoint::after(9.into())));
    /// assert!(Checkpoint::after(9.into()).is_behind(&Checkpoint::after(10.into())));
    /// assert!(Checkpoint::after(10.into()).is_behind(&Checkpoint::End));
    /// assert!(!start.is_behind(&start));
    /// ```
    pub fn is_behind(&self, other: &Self) -> bool {
        self.rank() < other.rank()
    }

    /// What orders checkpoints. A whole record comes after each of its parts, and the quiet after it.
    fn rank(&self) -> (u8, Option<&SequenceNumber>, u128, Option<Timestamp>) {
        match self {
            Self::Start(_) => (0, None, 0, None),
            Self::QuietStart { until, .. } => (0, None, 0, Some(*until)),
            Self::After {
                sequence_number,
                sub_sequence_number,
            } => {
                let part = sub_sequence_number.map_or(u128::MAX, u128::from);
                (1, Some(sequence_number), part, None)
            }
            Self::Quiet {
                sequence_number,
                until,
            } => (1, Some(sequence_number), u128::MAX, Some(*until)),
            Self::End | Self::EndFrom { .. } => (2, None, 0, None),
            Self::EndAfter { sequence_number } => (2, Some(sequence_number), 0, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checkpoint() -> impl Strategy<Value = Checkpoint> {
        let number = prop_oneof![0..3u128, 8..12u128, Just(u128::MAX)];
        let part = proptest::option::of(prop_oneof![0..3u64, Just(u64::MAX)]);
        prop_oneof![
            Just(Checkpoint::Start(PinnedPosition::TrimHorizon)),
            (0..3i64).prop_map(|millis| {
                Checkpoint::Start(PinnedPosition::AtTimestamp(Timestamp::from_millis(millis)))
            }),
            (0..3i64).prop_map(|until| Checkpoint::QuietStart {
                position: PinnedPosition::TrimHorizon,
                until: Timestamp::from_millis(until),
            }),
            (number.clone(), 0..3i64).prop_map(|(number, until)| Checkpoint::Quiet {
                sequence_number: number.into(),
                until: Timestamp::from_millis(until),
            }),
            (number.clone(), part).prop_map(|(number, sub_sequence_number)| Checkpoint::After {
                sequence_number: number.into(),
                sub_sequence_number,
            }),
            Just(Checkpoint::End),
            (0..3i64).prop_map(|millis| Checkpoint::EndFrom {
                position: PinnedPosition::AtTimestamp(Timestamp::from_millis(millis)),
            }),
            number.prop_map(|number| Checkpoint::EndAfter {
                sequence_number: number.into(),
            }),
        ]
    }

    #[test]
    fn a_part_of_a_record_is_behind_the_whole() {
        let part = |part| Checkpoint::After {
            sequence_number: 7.into(),
            sub_sequence_number: Some(part),
        };
        assert!(part(0).is_behind(&part(1)));
        assert!(part(u64::MAX).is_behind(&Checkpoint::after(7.into())));
        assert!(Checkpoint::after(6.into()).is_behind(&part(0)));
    }

    proptest! {
        #[test]
        fn being_behind_is_an_order(a in checkpoint(), b in checkpoint(), c in checkpoint()) {
            prop_assert!(!a.is_behind(&a));
            prop_assert!(!(a.is_behind(&b) && b.is_behind(&a)));
            prop_assert!(!(a.is_behind(&b) && b.is_behind(&c)) || a.is_behind(&c));
        }

        #[test]
        fn only_equal_ones_and_those_without_a_record_stand_level(a in checkpoint(), b in checkpoint()) {
            let level = !a.is_behind(&b) && !b.is_behind(&a);
            let starts = matches!((&a, &b), (Checkpoint::Start(_), Checkpoint::Start(_)));
            let is_bare = |it: &Checkpoint| it.is_end() && !matches!(it, Checkpoint::EndAfter { .. });
            prop_assert_eq!(level, a == b || starts || (is_bare(&a) && is_bare(&b)));
        }
    }
}

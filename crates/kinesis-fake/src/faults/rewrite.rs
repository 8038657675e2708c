use std::{any::Any, fmt, sync::Arc};

use kinesis_source::{PutOutcome, Record, RecordsPage, ShardsPage, SubscribeEvent};

use super::{effect::Again, never::Part};
use crate::model::INTERNAL_FAILURE;

/// How an answer is changed before the caller sees it: for [`Fault::rewritten`](super::Fault::rewritten).
///
/// What is changed of records leaves ListShards alone and the other way round. Where the docs of a
/// name say *records*, it changes answers of GetRecords and [events](super::Fault::in_stream) of
/// SubscribeToShard. A fault whose rewrite leaves an answer as it is has not struck: it is not counted
/// as fired, and not spent. Closures may use the fake: the call has been carried out before.
///
/// ```
/// use kinesis_fake::{Fault, Operation, Rewrite};
///
/// let strange = Fault::rewritten(Operation::GetRecords, Rewrite::NO_NEXT_ITERATOR).after(3);
/// let stranger = Fault::rewritten(
///     Operation::GetRecords,
///     Rewrite::records("lag unknown", |page| page.millis_behind_latest = None),
/// );
/// # let _ = (strange, stranger);
/// ```
#[derive(Clone)]
pub struct Rewrite(How);

#[derive(Clone)]
enum How {
    Named(Named),
    Records(&'static str, Change<RecordsPage>),
    Shards(&'static str, Change<ShardsPage>),
    Puts(&'static str, Change<Vec<PutOutcome>>),
    Events(&'static str, Change<SubscribeEvent>),
}

type Change<T> = Arc<dyn Fn(&mut T) + Send + Sync>;

macro_rules! named {
    ($($(#[doc = $doc:literal])* $constant:ident = $name:ident,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Named {
            $($name,)*
        }

        impl Rewrite {
            $($(#[doc = $doc])* pub const $constant: Self = Self(How::Named(Named::$name));)*

            /// All that have a name.
            pub const ALL: &[Self] = &[$(Self::$constant,)*];
        }

        impl Named {
            fn constant(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($constant),)*
                }
            }
        }
    };
}

named! {
    /// GetRecords: no records although there are some, and an iterator to the same place. That is
    /// legal.
    EMPTY_PAGE = EmptyPage,
    /// GetRecords: the next iterator leads to the same place, so that the records come once more.
    DUPLICATE_PAGE = DuplicatePage,
    /// Records: each record twice in a row.
    REPEATED_RECORDS = RepeatedRecords,
    /// Records: the records the wrong way round.
    WRONG_ORDER = WrongOrder,
    /// Records: one of the records, drawn from the seed, is missing.
    MISSING_RECORD = MissingRecord,
    /// Records: no next iterator (no continuation) and no children, though the shard may be open.
    NO_NEXT_ITERATOR = NoNextIterator,
    /// Records: at the end of a shard, no children.
    NO_CHILDREN = NoChildren,
    /// Records: the records have no partition keys, as with the record distribution strategy
    /// AUTO.
    NO_PARTITION_KEYS = NoPartitionKeys,
    /// Records: the records have no arrival times.
    NO_ARRIVAL_TIMES = NoArrivalTimes,
    /// Records: the arrival times the wrong way round.
    ARRIVAL_TIMES_BACKWARDS = ArrivalTimesBackwards,
    /// Records: nothing about how far behind the answer is.
    NO_LAG = NoLag,
    /// Records: a day behind, whatever is true.
    HUGE_LAG = HugeLag,
    /// ListShards: one of the shards, drawn from the seed, is missing.
    MISSING_SHARD = MissingShard,
    /// ListShards: no shards, and no further page.
    NO_SHARDS = NoShards,
    /// ListShards: the shards the wrong way round, children before their parents.
    SHARDS_BACKWARDS = ShardsBackwards,
    /// ListShards: a page that a token asked for names the same token again, and so for ever.
    SAME_TOKEN = SameToken,
    /// ListShards: no further page, though there is one.
    NO_TOKEN = NoToken,
    /// PutRecords: every record is said to have been refused with `InternalFailure`, and is stored
    /// all the same. A producer that puts it again makes a duplicate.
    STORED_AND_REFUSED = StoredAndRefused,
    /// PutRecords: the outcome of one record, drawn from the seed, is missing.
    MISSING_OUTCOME = MissingOutcome,
    /// PutRecords: the outcomes the wrong way round.
    OUTCOMES_BACKWARDS = OutcomesBackwards,
}

impl Rewrite {
    /// The one that has that name, as `EMPTY_PAGE`.
    pub fn from_name(name: &str) -> Option<Self> {
        let named = |it: &&Self| matches!(it.0, How::Named(named) if named.constant() == name);
        Self::ALL.iter().find(named).cloned()
    }

    /// Changes answers of GetRecords as `change` does; `name` tells them apart in print.
    pub fn records(
        name: &'static str,
        change: impl Fn(&mut RecordsPage) + Send + Sync + 'static,
    ) -> Self {
        Self(How::Records(name, Arc::new(change)))
    }

    /// Changes answers of ListShards as `change` does; `name` tells them apart in print.
    pub fn shards(
        name: &'static str,
        change: impl Fn(&mut ShardsPage) + Send + Sync + 'static,
    ) -> Self {
        Self(How::Shards(name, Arc::new(change)))
    }

    /// Changes events of SubscribeToShard as `change` does; `name` tells them apart in print.
    pub fn events(
        name: &'static str,
        change: impl Fn(&mut SubscribeEvent) + Send + Sync + 'static,
    ) -> Self {
        Self(How::Events(name, Arc::new(change)))
    }

    /// Changes answers of PutRecords, which have an outcome for each record in order, as `change`
    /// does; `name` tells them apart in print.
    pub fn puts(
        name: &'static str,
        change: impl Fn(&mut Vec<PutOutcome>) + Send + Sync + 'static,
    ) -> Self {
        Self(How::Puts(name, Arc::new(change)))
    }

    /// What it changes.
    pub(super) fn part(&self) -> Part {
        match &self.0 {
            How::Named(named) => named.part(),
            How::Records(..) => Part::Page,
            How::Shards(..) => Part::Shards,
            How::Puts(..) => Part::Puts,
            How::Events(..) => Part::Event,
        }
    }

    /// Changes an answer to a call for `again`, if it is of a kind that this is about; whether it is another one then.
    pub(crate) fn apply(&self, answer: &mut dyn Any, again: &Again, draw: u64) -> bool {
        if let Some(page) = answer.downcast_mut() {
            changes(page, |page| self.change_records(page, again, draw))
        } else if let Some(page) = answer.downcast_mut() {
            changes(page, |page| self.change_shards(page, again, draw))
        } else if let Some(event) = answer.downcast_mut() {
            changes(event, |event| self.change_event(event, draw))
        } else if let Some(puts) = answer.downcast_mut() {
            changes(puts, |puts| self.change_puts(puts, draw))
        } else {
            false
        }
    }

    fn change_records(&self, page: &mut RecordsPage, again: &Again, draw: u64) {
        match &self.0 {
            How::Records(_, change) => change(page),
            How::Named(named) => {
                named.change(&mut page.records, draw);
                match named {
                    Named::EmptyPage => {
                        read_again(page, again);
                        page.records.clear();
                    }
                    Named::DuplicatePage => read_again(page, again),
                    Named::NoNextIterator => {
                        page.next = None;
                        page.children.clear();
                    }
                    Named::NoChildren => page.children.clear(),
                    Named::NoLag => page.millis_behind_latest = None,
                    Named::HugeLag => page.millis_behind_latest = Some(A_DAY),
                    _ => {}
                }
            }
            How::Shards(..) | How::Events(..) | How::Puts(..) => {}
        }
    }

    fn change_event(&self, event: &mut SubscribeEvent, draw: u64) {
        match &self.0 {
            How::Events(_, change) => change(event),
            How::Named(named) => {
                named.change(&mut event.records, draw);
                match named {
                    Named::NoNextIterator => {
                        event.continuation_sequence_number = None;
                        event.children.clear();
                    }
                    Named::NoChildren => event.children.clear(),
                    Named::NoLag => event.millis_behind_latest = None,
                    Named::HugeLag => event.millis_behind_latest = Some(A_DAY),
                    _ => {}
                }
            }
            How::Records(..) | How::Shards(..) | How::Puts(..) => {}
        }
    }

    fn change_puts(&self, puts: &mut Vec<PutOutcome>, draw: u64) {
        let named = match &self.0 {
            How::Named(named) => named,
            How::Puts(_, change) => return change(puts),
            How::Records(..) | How::Events(..) | How::Shards(..) => return,
        };
        match named {
            Named::StoredAndRefused => puts.fill(PutOutcome::Refused {
                code: INTERNAL_FAILURE.to_owned(),
                message: "Internal service failure.".to_owned(),
            }),
            Named::MissingOutcome => remove_one(puts, draw),
            Named::OutcomesBackwards => puts.reverse(),
            _ => {}
        }
    }

    fn change_shards(&self, page: &mut ShardsPage, again: &Again, draw: u64) {
        let named = match &self.0 {
            How::Named(named) => named,
            How::Shards(_, change) => return change(page),
            How::Records(..) | How::Events(..) | How::Puts(..) => return,
        };
        match (named, again) {
            (Named::MissingShard, _) => remove_one(&mut page.shards, draw),
            (Named::NoShards, _) => *page = ShardsPage::default(),
            (Named::ShardsBackwards, _) => page.shards.reverse(),
            (Named::SameToken, Again::Listing(token)) => page.next = Some(token.clone()),
            (Named::NoToken, _) => page.next = None,
            _ => {}
        }
    }
}

impl Named {
    fn part(self) -> Part {
        match self {
            Self::EmptyPage | Self::DuplicatePage => Part::Page,
            Self::RepeatedRecords
            | Self::WrongOrder
            | Self::MissingRecord
            | Self::NoNextIterator
            | Self::NoChildren
            | Self::NoPartitionKeys
            | Self::NoArrivalTimes
            | Self::ArrivalTimesBackwards
            | Self::NoLag
            | Self::HugeLag => Part::Records,
            Self::MissingShard
            | Self::NoShards
            | Self::ShardsBackwards
            | Self::SameToken
            | Self::NoToken => Part::Shards,
            Self::StoredAndRefused | Self::MissingOutcome | Self::OutcomesBackwards => Part::Puts,
        }
    }

    /// What it does to records, wherever they are.
    fn change(self, records: &mut Vec<Record>, draw: u64) {
        match self {
            Self::RepeatedRecords => {
                let once = std::mem::take(records).into_iter();
                *records = once.flat_map(|it| [it.clone(), it]).collect();
            }
            Self::WrongOrder => records.reverse(),
            Self::MissingRecord => remove_one(records, draw),
            Self::NoPartitionKeys => {
                let keys = records.iter_mut().map(|it| &mut it.partition_key);
                keys.for_each(|key| *key = None);
            }
            Self::NoArrivalTimes => {
                let times = records.iter_mut().map(|it| &mut it.approximate_arrival);
                times.for_each(|time| *time = None);
            }
            Self::ArrivalTimesBackwards => {
                let times: Vec<_> = records.iter().map(|it| it.approximate_arrival).collect();
                for (record, time) in records.iter_mut().zip(times.into_iter().rev()) {
                    record.approximate_arrival = time;
                }
            }
            _ => {}
        }
    }
}

fn changes<T: Clone + PartialEq>(what: &mut T, change: impl FnOnce(&mut T)) -> bool {
    let before = what.clone();
    change(what);
    *what != before
}

/// Leads the reader to where it was.
fn read_again(page: &mut RecordsPage, again: &Again) {
    if let Again::Reading(iterator) = again {
        page.next = Some(iterator.clone());
        page.children.clear();
    }
}

fn remove_one<T>(of: &mut Vec<T>, draw: u64) {
    if !of.is_empty() {
        of.remove((draw % of.len() as u64) as usize);
    }
}

/// In milliseconds.
const A_DAY: u64 = 86_400_000;

/// Closures are equal to their clones.
impl PartialEq for Rewrite {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (How::Named(one), How::Named(other)) => one == other,
            (How::Records(_, one), How::Records(_, other)) => Arc::ptr_eq(one, other),
            (How::Shards(_, one), How::Shards(_, other)) => Arc::ptr_eq(one, other),
            (How::Events(_, one), How::Events(_, other)) => Arc::ptr_eq(one, other),
            (How::Puts(_, one), How::Puts(_, other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

/// As a Rust expression, but for closures.
impl fmt::Debug for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            How::Named(named) => write!(f, "Rewrite::{}", named.constant()),
            How::Records(name, _) => write!(f, "Rewrite::records({name:?}, ..)"),
            How::Shards(name, _) => write!(f, "Rewrite::shards({name:?}, ..)"),
            How::Events(name, _) => write!(f, "Rewrite::events({name:?}, ..)"),
            How::Puts(name, _) => write!(f, "Rewrite::puts({name:?}, ..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_name_and_no_other_text_is_one() {
        for rewrite in Rewrite::ALL {
            let printed = format!("{rewrite:?}");
            let name = printed.strip_prefix("Rewrite::").unwrap();
            assert_eq!(Rewrite::from_name(name).as_ref(), Some(rewrite));
        }
        assert_eq!(Rewrite::from_name("EMPTY"), None);
    }
}

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kinesis_source::{Record, SequenceNumber, ShardId};

use crate::Fake;

mod order;

use order::{Arrivals, Disorder, KeyOrder, Known};

/// Remembers what a consumer was given, and says whether that is what it promises.
///
/// Clones share what they remember. What a check finds names shards and sequence numbers, never what
/// was put.
///
/// ```
/// use kinesis_fake::{Deliveries, Fake};
///
/// let fake = Fake::new(2);
/// fake.put_numbered(0..10).unwrap();
/// let deliveries = Deliveries::new();
/// for record in fake.records().iter().flat_map(|(_, records)| records) {
///     deliveries.note(record); // your handler does this
/// }
/// deliveries.assert_each_delivered(&fake);
/// deliveries.assert_order_per_key(&fake);
/// assert_eq!((deliveries.numbers().len(), deliveries.duplicates()), (10, 0));
/// ```
#[derive(Clone, Default)]
pub struct Deliveries {
    log: Arc<Mutex<Vec<Record>>>,
}

/// What a consumer did wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WrongDelivery {
    /// A record never came.
    #[error("record {number} of {shard} was never delivered ({missing} are missing in all)")]
    Missing {
        /// Its shard.
        shard: ShardId,
        /// Its number.
        number: SequenceNumber,
        /// How many did not.
        missing: usize,
    },
    /// Retention took a record before it came.
    #[error(
        "record {number} of {shard} expired unread: retention took it before it was delivered \
         ({expired} in all)"
    )]
    ExpiredUnread {
        /// Its shard.
        shard: ShardId,
        /// Its number.
        number: SequenceNumber,
        /// How many did.
        expired: usize,
    },
    /// A record came that the stream does not have there, or has otherwise.
    #[error("record {number} of {shard} was delivered, and is not in the stream as it was given")]
    Foreign {
        /// The shard that it is said to be of.
        shard: ShardId,
        /// Its number.
        number: SequenceNumber,
    },
    /// A record came although one of its key before it had not come.
    #[error("record {later} was delivered before record {earlier} of the same key, on {shard}")]
    OutOfOrder {
        /// The shard of the one that came too late.
        shard: ShardId,
        /// The one that came too late.
        earlier: SequenceNumber,
        /// The one that came first.
        later: SequenceNumber,
    },
    /// After a record had come again, one of its key came that was not next.
    #[error(
        "record {came} of {came_on} was delivered while {shard} was delivered again: record {expected} of \
         the same key was to come next"
    )]
    ReplayOutOfOrder {
        /// The shard whose records came again.
        shard: ShardId,
        /// The one that was to come next there.
        expected: SequenceNumber,
        /// The shard of the one that came.
        came_on: ShardId,
        /// The one that came.
        came: SequenceNumber,
    },
    /// A record came again although too much after it had come already.
    #[error(
        "record {number} of {shard} was delivered again, and was the {behind}. from the last of its \
         shard by then; {window} may be"
    )]
    TooFarBack {
        /// Its shard.
        shard: ShardId,
        /// Its number.
        number: SequenceNumber,
        /// How many records of the shard had come that are not before it, itself included.
        behind: usize,
        /// How many may have.
        window: usize,
    },
    /// A record came more often than it may.
    #[error("record {number} of {shard} was delivered {times} times; {most} may be")]
    TooOften {
        /// Its shard.
        shard: ShardId,
        /// Its number.
        number: SequenceNumber,
        /// How often it came.
        times: usize,
        /// How often it may.
        most: usize,
    },
}

impl Deliveries {
    /// Nothing has been delivered yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A record was delivered, for the first time or again.
    pub fn note(&self, record: &Record) {
        self.lock().push(record.clone());
    }

    /// How many were, each as often as it was.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers that [`Fake::put_numbered`] put, in the order of their delivery and as often. What
    /// is no number is left out.
    pub fn numbers(&self) -> Vec<u64> {
        let number = |it: &Record| std::str::from_utf8(&it.data).ok()?.parse().ok();
        self.lock().iter().filter_map(number).collect()
    }

    /// How many deliveries were of records that had been delivered before.
    pub fn duplicates(&self) -> usize {
        let log = self.lock();
        let records = log.iter().map(|it| (&it.shard, &it.sequence_number));
        let different: BTreeSet<_> = records.collect();
        log.len() - different.len()
    }

    /// Checks that every record that the stream keeps was delivered, as it was put, and no other; and
    /// that retention took none before it was delivered.
    ///
    /// What retention has taken since is known by its number, and not what was in it: of the last
    /// 100,000 records that it took. Before them, any number will do that the shard can have given. Of a
    /// stream that has been deleted nothing is known.
    ///
    /// # Errors
    ///
    /// The first that was not, or should not have been. [`ExpiredUnread`](WrongDelivery::ExpiredUnread)
    /// only if nothing else is wrong: such a record is no longer there to be delivered.
    pub fn check_each_delivered(&self, fake: &Fake) -> Result<(), WrongDelivery> {
        let log = self.lock();
        let mut delivered = BTreeMap::new();
        for it in log.iter() {
            let before = delivered.insert((&it.shard, &it.sequence_number), it);
            // One of the two is not as it was put, even if the other is.
            if before.is_some_and(|before| before != it) {
                return Err(foreign(it));
            }
        }
        let kept = fake.records();
        let (mut missing, mut first) = (0, None);
        for (shard, record) in kept
            .iter()
            .flat_map(|(shard, them)| them.iter().map(move |it| (shard, it)))
        {
            match delivered.remove(&(shard, &record.sequence_number)) {
                Some(it) if it == record => {}
                Some(it) => return Err(foreign(it)),
                None => {
                    missing += 1;
                    first = first.or(Some((shard, record)));
                }
            }
        }
        if let Some((shard, record)) = first {
            return Err(WrongDelivery::Missing {
                shard: shard.clone(),
                number: record.sequence_number.clone(),
                missing,
            });
        }
        let unknown = fake.never_expired(delivered.keys().copied());
        if let Some((shard, number)) = unknown {
            return Err(WrongDelivery::Foreign {
                shard: shard.clone(),
                number: number.clone(),
            });
        }
        drop(log);
        let unread = self.expired_unread(fake);
        match unread.first() {
            None => Ok(()),
            Some((shard, number)) => Err(WrongDelivery::ExpiredUnread {
                shard: shard.clone(),
                number: number.clone(),
                expired: unread.len(),
            }),
        }
    }

    /// The records that retention took and that were not delivered, in the order in which they went:
    /// of the last 100,000 that it took. The consumer was too late for them, or did not run.
    pub fn expired_unread(&self, fake: &Fake) -> Vec<(ShardId, SequenceNumber)> {
        let expired = fake.expired();
        let log = self.lock();
        let records = log.iter().map(|it| (&it.shard, &it.sequence_number));
        let delivered: BTreeSet<_> = records.collect();
        let unread = expired.into_iter();
        unread
            .filter(|(shard, number)| !delivered.contains(&(shard, number)))
            .collect()
    }

    /// Checks that of each key's records none was delivered for the first time before one that comes
    /// before it: on the same shard, or on one that its shard descends from, by splits and merges.
    /// Between other shards there is no order, nor between records without a key.
    ///
    /// What is delivered again, as after a restart, is in order as well. Once a record has come again, the
    /// key's records on that shard come one after another as they did before, until the newest of them
    /// has; only then may one come that had not, on that shard or on one that descends from it. A replay
    /// that has not come so far may begin anew, as where a consumer fails twice: no earlier than it began,
    /// since a checkpoint does not go back. One that has may be followed by any other. What retention has
    /// taken by the time of the check need not come again.
    ///
    /// So after records 0, 1 and 2 of a key, `1 2 3` is in order, and `2 3`, `1 1 2`, and `0 1 0 1 2`; but not
    /// `1 3` (2 is left out), `0 2`, or `2 1 0` (the replay that began at 1 cannot go on at 0).
    ///
    /// # Errors
    ///
    /// The first pair that was not.
    pub fn check_order_per_key(&self, fake: &Fake) -> Result<(), WrongDelivery> {
        let expired = fake.expired().into_iter().map(|(_, number)| number);
        let known = Known {
            parents: fake.parents(),
            expired: expired.collect(),
        };
        let log = self.lock();
        let mut keys = BTreeMap::<&String, KeyOrder<'_>>::new();
        for record in log.iter() {
            let shard = &record.shard;
            let number = &record.sequence_number;
            let Some(key) = &record.partition_key else {
                continue;
            };
            let order = keys.entry(key).or_default();
            order
                .note(shard, number, &known)
                .map_err(|disorder| match disorder {
                    Disorder::Late(later) => WrongDelivery::OutOfOrder {
                        shard: shard.clone(),
                        earlier: number.clone(),
                        later: later.clone(),
                    },
                    Disorder::Replay(of, expected) => WrongDelivery::ReplayOutOfOrder {
                        shard: of.clone(),
                        expected: expected.clone(),
                        came_on: shard.clone(),
                        came: number.clone(),
                    },
                })?;
        }
        Ok(())
    }

    /// Checks that whatever was delivered again was among the last `window` records of its shard by
    /// then: as many as may be delivered and not remembered as done. None is, with a window of zero.
    ///
    /// It is about how far back deliveries go, and not about how often: with a window of one, the newest
    /// record may come a thousand times. [`check_deliveries_at_most`](Self::check_deliveries_at_most) bounds
    /// that.
    ///
    /// # Errors
    ///
    /// The first that does not.
    pub fn check_duplicates_within(&self, window: usize) -> Result<(), WrongDelivery> {
        let log = self.lock();
        let mut shards = BTreeMap::<&ShardId, Arrivals<'_>>::new();
        for it in log.iter() {
            let arrivals = shards.entry(&it.shard).or_default();
            arrivals.expect(&it.sequence_number);
        }
        for arrivals in shards.values_mut() {
            arrivals.begin();
        }
        for it in log.iter() {
            let number = &it.sequence_number;
            let arrivals = shards.entry(&it.shard).or_default();
            let behind = arrivals.arrive(number);
            if let Some(behind) = behind.filter(|behind| *behind > window) {
                return Err(WrongDelivery::TooFarBack {
                    shard: it.shard.clone(),
                    number: number.clone(),
                    behind,
                    window,
                });
            }
        }
        Ok(())
    }

    /// Checks that no record was delivered more than `most` times: once for each start of a consumer that
    /// tries nothing again by itself, however much it had in hand when it ended. One that was started twice
    /// delivers none more than twice.
    ///
    /// # Errors
    ///
    /// The first that was, with how often it was in all.
    pub fn check_deliveries_at_most(&self, most: usize) -> Result<(), WrongDelivery> {
        let log = self.lock();
        let mut times = BTreeMap::<_, usize>::new();
        for it in log.iter() {
            *times.entry((&it.shard, &it.sequence_number)).or_default() += 1;
        }
        let mut delivered = log.iter().map(|it| (&it.shard, &it.sequence_number));
        match delivered.find(|record| times[record] > most) {
            None => Ok(()),
            Some((shard, number)) => Err(WrongDelivery::TooOften {
                shard: shard.clone(),
                number: number.clone(),
                times: times[&(shard, number)],
                most,
            }),
        }
    }

    /// [Checks](Self::check_each_delivered) that every record was delivered.
    ///
    /// # Panics
    ///
    /// If not.
    #[track_caller]
    pub fn assert_each_delivered(&self, fake: &Fake) {
        must(self.check_each_delivered(fake));
    }

    /// [Checks](Self::check_order_per_key) the order of each key.
    ///
    /// # Panics
    ///
    /// If it was not kept.
    #[track_caller]
    pub fn assert_order_per_key(&self, fake: &Fake) {
        must(self.check_order_per_key(fake));
    }

    /// [Checks](Self::check_duplicates_within) how far deliveries went back.
    ///
    /// # Panics
    ///
    /// If one went further.
    #[track_caller]
    pub fn assert_duplicates_within(&self, window: usize) {
        must(self.check_duplicates_within(window));
    }

    /// [Checks](Self::check_deliveries_at_most) how often records came.
    ///
    /// # Panics
    ///
    /// If one came more often.
    #[track_caller]
    pub fn assert_deliveries_at_most(&self, most: usize) {
        must(self.check_deliveries_at_most(most));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn foreign(record: &Record) -> WrongDelivery {
    WrongDelivery::Foreign {
        shard: record.shard.clone(),
        number: record.sequence_number.clone(),
    }
}

#[track_caller]
fn must(check: Result<(), WrongDelivery>) {
    if let Err(wrong) = check {
        panic!("{wrong}");
    }
}

impl fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deliveries({})", self.len())
    }
}

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::{Index, IndexMut},
    time::Duration,
};

use crate::model::{
    Moment,
    sequence::Sequence,
    shard::{Birth, Shard},
};

/// The shards of a stream by number: those that have not expired, and what is left to know of the
/// others. To find one of them takes the logarithm of their number.
#[derive(Debug, Default)]
pub(super) struct Shards {
    /// How many there ever were, which is the number of the next one.
    made: u32,
    kept: BTreeMap<u32, Shard>,
    /// Those of them that are closed, in the order in which they were: so they expire.
    closed: BTreeSet<(Moment, u32)>,
    gone: BTreeMap<u32, Gone>,
    /// The numbers of those, in the order in which they went.
    order: VecDeque<u32>,
    newest_second: u64,
}

/// A shard that has expired.
#[derive(Debug)]
pub(super) struct Gone {
    parents: [Option<u32>; 2],
    /// The second that its numbers carry as its own.
    born: u64,
    /// The newest number whose record retention took, if it had any.
    trimmed: Option<Sequence>,
}

/// Of the shards that have expired, so many are known: some 8 MiB.
const GONE_KNOWN: usize = 50_000;

impl Shards {
    /// The number that the next shard will have.
    pub(super) fn next_number(&self) -> u32 {
        self.made
    }

    /// One more; its number is the [next](Self::next_number).
    pub(super) fn open(&mut self, birth: Birth) {
        self.newest_second = self.newest_second.max(birth.second);
        self.made = birth.number.saturating_add(1);
        self.kept.insert(birth.number, Shard::new(birth));
    }

    /// Closes one of those that are kept.
    pub(super) fn close(&mut self, number: u32, at: Moment, children: Vec<u32>) {
        self[number].close(at, children);
        self.closed.insert((at, number));
    }

    /// The one of that number, if it has not expired.
    pub(super) fn get(&self, number: u32) -> Option<&Shard> {
        self.kept.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Shard> {
        self.kept.get_mut(&number)
    }

    /// Those that have not expired, from that number on.
    pub(super) fn from(&self, number: u32) -> impl Iterator<Item = &Shard> {
        self.kept.range(number..).map(|(_, shard)| shard)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Shard> {
        self.kept.values_mut()
    }

    /// The latest second that any of its sequence numbers carries as its shard's.
    pub(super) fn newest_second(&self) -> u64 {
        self.newest_second
    }

    /// Takes out one that was closed more than `retention` ago, the first that was, for good: the last
    /// record that it can have had is older than that. One that never had any stays as long: whoever
    /// reads its parent must still find it.
    pub(super) fn take_expired(&mut self, retention: Duration, now: Moment) -> Option<Shard> {
        let (closed, number) = *self.closed.first()?;
        if now.since(closed) <= retention {
            return None;
        }
        self.closed.pop_first();
        self.kept.remove(&number)
    }

    /// Remembers of a shard that was taken out what is left to know.
    pub(super) fn remember(&mut self, shard: &Shard) {
        let mut parents = shard.parents.iter().copied();
        let gone = Gone {
            parents: [parents.next(), parents.next()],
            born: shard.starting.born(),
            trimmed: shard.trimmed(),
        };
        self.gone.insert(shard.number, gone);
        self.order.push_back(shard.number);
        if self.order.len() > GONE_KNOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.gone.remove(&oldest);
        }
    }

    /// Whether the shard can have given a number to a record that retention took since. Of one that
    /// went too long ago nothing is known but that it was there.
    pub(super) fn can_have_lost(&self, number: u32, record: Sequence) -> bool {
        let kept = self.kept.get(&number);
        let kept = kept.map(|shard| (shard.starting.born(), shard.trimmed()));
        let gone = || self.gone.get(&number).map(|it| (it.born, it.trimmed));
        let within = match kept.or_else(gone) {
            Some((born, trimmed)) => {
                let starting = Sequence::new(born, number, 0, born);
                record.born() == born
                    && trimmed.is_some_and(|newest| starting < record && record <= newest)
            }
            None => number < self.made,
        };
        record.shard() == number && within
    }

    /// By number, the parents of each that is known.
    pub(super) fn lineage(&self) -> impl Iterator<Item = (u32, Vec<u32>)> {
        let kept = self.kept.iter();
        let kept = kept.map(|(number, shard)| (*number, shard.parents.clone()));
        let gone = self.gone.iter();
        let gone =
            gone.map(|(number, it)| (*number, it.parents.iter().flatten().copied().collect()));
        kept.chain(gone)
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        assert_eq!(self.gone.len(), self.order.len());
        (self.kept.len(), self.gone.len())
    }
}

/// # Panics
///
/// If that shard has expired, which an open one never has.
impl Index<u32> for Shards {
    type Output = Shard;

    fn index(&self, number: u32) -> &Shard {
        self.get(number).expect("this shard has not expired")
    }
}

/// # Panics
///
/// If that shard has expired, which an open one never has.
impl IndexMut<u32> for Shards {
    fn index_mut(&mut self, number: u32) -> &mut Shard {
        self.get_mut(number).expect("this shard has not expired")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kinesis_source::{PutEntry, PutOutcome};

    use super::{
        super::{Filter, Plan, Stream},
        GONE_KNOWN,
    };
    use crate::model::{Limits, MergeOrder, Moment, StreamMode, sequence::Sequence, shard};

    const MINUTE: Duration = Duration::from_secs(60);

    /// A stream whose shard is split and whose halves are merged, by turns and once a minute.
    struct Restless {
        stream: Stream,
        now: Moment,
        newest: u32,
    }

    impl Restless {
        fn new() -> Self {
            let now = Moment::since_epoch(Duration::from_secs(1_767_225_600));
            let plan = Plan {
                name: "orders",
                number: 1,
                shards: 1,
                mode: StreamMode::Provisioned,
                retention_hours: 24,
                second: now.seconds(),
                duration: Duration::ZERO,
            };
            Self {
                stream: Stream::new(&plan, now),
                now,
                newest: 0,
            }
        }

        fn reshard(&mut self) {
            self.now = self.now.plus(MINUTE);
            let now = self.now;
            self.stream.settle(now);
            let newest = shard::id(self.newest);
            if self.newest.is_multiple_of(3) {
                let split = self.stream.split(&newest, 1 << 127, Duration::ZERO, now);
                split.unwrap();
                self.newest += 2;
            } else {
                let pair = (&shard::id(self.newest - 1), &newest);
                let merge = (self.stream).merge(pair, MergeOrder::AsAsked, Duration::ZERO, now);
                merge.unwrap();
                self.newest += 1;
            }
        }
    }

    #[test]
    fn shards_that_have_expired_are_forgotten_and_do_not_come_back() {
        let mut life = Restless::new();
        // Three are closed in two minutes: in a day, and a moment before and after it.
        let most = 3 * 24 * 60 / 2 + 4;
        for minute in 0..40_000 {
            life.reshard();
            let (kept, gone) = life.stream.shards.counts();
            assert!(kept <= most, "{kept} shards after {minute} minutes");
            assert!(gone <= GONE_KNOWN, "{gone} are remembered");
        }
        let (kept, gone) = life.stream.shards.counts();
        assert_eq!((kept > most - 4, gone), (true, GONE_KNOWN));
        assert_eq!(life.stream.lineage().len(), kept + gone);
        life.stream.set_retention(8_760, life.now);
        assert_eq!(life.stream.living().count(), kept);
        assert_eq!(life.stream.list(Filter::All, 0, 10_000).0.len(), kept);
        let oldest = life.stream.living().next().unwrap().number;
        for (number, is_kept) in [(0, false), (oldest - 1, false), (oldest, true)] {
            assert_eq!(life.stream.shard(number, life.now).is_ok(), is_kept);
        }
    }

    #[test]
    fn consumers_hold_no_seat_on_a_shard_that_has_expired() {
        let mut life = Restless::new();
        let limits = Limits::none();
        let (stream, now) = (&mut life.stream, life.now);
        let most = (20, &limits);
        let registered = stream
            .consumers
            .register("orders", "audit", most, Duration::ZERO, now);
        registered.unwrap();
        for _ in 0..3_000 {
            life.reshard();
            let (newest, now) = (life.newest, life.now);
            let consumer = life.stream.consumer("audit", None).unwrap();
            consumer.admit(newest, &limits, now).unwrap();
        }
        let (kept, _) = life.stream.shards.counts();
        let seats = life.stream.consumer("audit", None).unwrap().seats();
        assert!(
            (1..=kept).contains(&seats),
            "{seats} seats on {kept} shards"
        );
    }

    #[test]
    fn of_a_shard_that_has_expired_its_records_are_known() {
        let mut life = Restless::new();
        let entry = PutEntry {
            partition_key: "k".to_owned(),
            explicit_hash_key: None,
            data: "x".into(),
        };
        let put = life
            .stream
            .put(&entry, &Limits::none(), |_| Duration::ZERO, life.now);
        let PutOutcome::Stored {
            sequence_number,
            shard: first,
        } = put
        else {
            panic!("{put:?}");
        };
        for _ in 0..2_000 {
            life.reshard();
        }
        assert_eq!(life.stream.bytes(), 0);
        assert_eq!(
            life.stream.expired(),
            [(first.clone(), sequence_number.clone())]
        );
        let never = Sequence::new(life.now.seconds(), 0, 1, life.now.seconds()).number();
        let other = shard::id(1);
        for (shard, number, was_taken) in [
            (&first, &sequence_number, true),
            (&first, &never, false),
            (&other, &sequence_number, false),
        ] {
            let never_taken = life.stream.never_taken([(shard, number)].into_iter());
            assert_eq!(never_taken.is_none(), was_taken, "{number} of {shard}");
        }
        assert_eq!(life.stream.lineage()[&other], [first]);
    }
}

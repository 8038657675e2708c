use kinesis_source::Record;

use super::{Shard, stored_bytes};
use crate::model::{Moment, Settings, ShardEnd, iterator::Place};

/// What one read of a shard finds.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) records: Vec<Record>,
    /// The records', with their keys.
    pub(crate) bytes: u64,
    /// Where to go on; `None` at the end of a closed shard.
    pub(crate) next: Option<Place>,
    pub(crate) millis_behind: u64,
}

/// How much one read takes at most; one record is taken however many bytes it has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) records: usize,
    pub(crate) bytes: u64,
}

impl Shard {
    /// Reads from `place` on, and books what was read.
    pub(crate) fn read(
        &mut self,
        place: Place,
        (limit, most_bytes): (usize, u64),
        settings: &Settings,
        now: Moment,
    ) -> Read {
        let Settings {
            limits, choices, ..
        } = settings;
        self.answers += 1;
        let every = u64::from(choices.empty_answer_every);
        let due = every > 0 && self.answers.is_multiple_of(every);
        let empty = due && self.index_of(place) < self.records.len();
        let extent = Extent {
            records: if empty { 0 } else { limit },
            bytes: most_bytes.min(limits.bytes_per_answer as u64),
        };
        let read = self.look(place, extent, choices.shard_end, now);
        self.read_debt
            .add(read.bytes, limits.read_bytes_per_second, now);
        let records = read.records.len() as u64;
        self.read_records_debt
            .add(records, limits.read_records_per_second, now);
        read
    }

    /// What is there from `place` on.
    pub(crate) fn look(
        &self,
        place: Place,
        extent: Extent,
        shard_end: ShardEnd,
        now: Moment,
    ) -> Read {
        let from = self.index_of(place);
        let (records, bytes) = self.page(from, extent.records, extent.bytes);
        let end = from + records.len();
        let next = match end.checked_sub(1).and_then(|last| self.records.get(last)) {
            Some(last) if !records.is_empty() => Place::After(last.sequence),
            _ => place,
        };
        let last_answer = self.ends_at(end, records.is_empty(), shard_end);
        Read {
            millis_behind: self.millis_behind(end, now),
            next: (!last_answer).then_some(next),
            bytes,
            records,
        }
    }

    /// When the first record from `place` on came; `None` if there is none.
    pub(crate) fn arrival_at(&self, place: Place) -> Option<Moment> {
        let unread = self.records.get(self.index_of(place))?;
        Some(unread.arrival.into())
    }

    /// Records from index `from` on, and their bytes; at least one if `limit` allows it.
    fn page(&self, from: usize, limit: usize, most_bytes: u64) -> (Vec<Record>, u64) {
        let end = from.saturating_add(limit).min(self.records.len());
        let mut records = Vec::with_capacity(end - from);
        let mut bytes = 0;
        for stored in self.records.range(from..end) {
            let record = &stored.record;
            let more = stored_bytes(record);
            if !records.is_empty() && bytes + more > most_bytes {
                break;
            }
            bytes += more;
            records.push(record.clone());
        }
        (records, bytes)
    }

    fn ends_at(&self, index: usize, empty: bool, shard_end: ShardEnd) -> bool {
        let at_end = !self.is_open() && index == self.records.len();
        match shard_end {
            ShardEnd::WithLastRecords => at_end,
            ShardEnd::OneMoreAnswer => at_end && empty,
        }
    }

    /// The age of the first record that is yet to be read, at least one; zero if there is none.
    fn millis_behind(&self, index: usize, now: Moment) -> u64 {
        let Some(unread) = self.records.get(index) else {
            return 0;
        };
        let age = now.timestamp().since(unread.arrival).as_millis();
        u64::try_from(age).unwrap_or(u64::MAX).max(1)
    }
}

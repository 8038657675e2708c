use std::collections::VecDeque;

use crate::{
    Aggregation, Deaggregation, ExplicitHashKey, HashRange, OutsideRange, Record, SequenceNumber,
    kpl::{AggregatedRecord, Cursor, Payload},
    place::{Mark, Place},
};

/// Takes records apart, one user record at a time: what nobody asks for stays packed.
#[derive(Debug)]
pub(crate) struct Unpacker {
    outside_range: OutsideRange,
    /// The hash keys of the shard.
    range: HashRange,
    packed: VecDeque<Record>,
    /// The one that is being taken apart.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    outer: Record,
    inner: AggregatedRecord,
    cursor: Cursor,
}

/// What comes out of a record.
#[derive(Debug)]
pub(crate) enum Unpacked {
    /// An event, and how far the shard is once it is done.
    Event { record: Record, mark: Mark },
    /// Nothing.
    Nothing(Mark),
}

/// What is found in records. Numbers of user records, but for the damaged ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    pub(crate) user_records: u64,
    pub(crate) outside_range: u64,
    pub(crate) dropped: u64,
    /// Records that pass as they are.
    pub(crate) damaged: u64,
}

/// A record has user records that do not belong on its shard.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) sequence_number: SequenceNumber,
}

impl Findings {
    pub(crate) fn add(&mut self, more: &Self) {
        self.user_records += more.user_records;
        self.outside_range += more.outside_range;
        self.dropped += more.dropped;
        self.damaged += more.damaged;
    }
}

impl Unpacker {
    pub(crate) fn new(deaggregation: Deaggregation, range: HashRange) -> Self {
        Self {
            outside_range: deaggregation.outside_range,
            range,
            packed: VecDeque::new(),
            open: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_none() && self.packed.is_empty()
    }

    /// Forgets what is left.
    pub(crate) fn clear(&mut self) {
        self.packed.clear();
        self.open = None;
    }

    pub(crate) fn add(&mut self, records: Vec<Record>) {
        self.packed.extend(records);
    }

    /// What comes next; `None` if there is nothing left. A record that fails stays where it is.
    pub(crate) fn unpack(
        &mut self,
        place: &Place,
        findings: &mut Findings,
    ) -> Result<Option<Unpacked>, Outside> {
        if let Some(open) = self.open.take() {
            return Ok(Some(self.go_on(open, findings)));
        }
        let Some(outer) = self.packed.front() else {
            return Ok(None);
        };
        let payload = Payload::of(&outer.data);
        if let Payload::Aggregated(inner) = &payload
            && self.outside_range == OutsideRange::Fail
            && !inner.is_within(self.range)
        {
            let sequence_number = outer.sequence_number.clone();
            return Err(Outside { sequence_number });
        }
        let outer = self.packed.pop_front();
        Ok(outer.map(|outer| self.begin(outer, payload, place, findings)))
    }

    fn begin(
        &mut self,
        outer: Record,
        payload: Payload,
        place: &Place,
        findings: &mut Findings,
    ) -> Unpacked {
        let inner = match payload {
            Payload::Plain => return as_it_is(outer, Aggregation::None),
            Payload::Damaged(damage) => {
                findings.damaged += 1;
                return as_it_is(outer, Aggregation::Damaged(damage));
            }
            Payload::Aggregated(inner) => inner,
        };
        if self.outside_range == OutsideRange::DropLikeKcl && !inner.is_within(self.range) {
            findings.dropped += inner.len();
            return Unpacked::Nothing(Mark::whole(outer.sequence_number));
        }
        let done = place.done_within(&outer.sequence_number);
        let mut cursor = Cursor::default();
        for _ in 0..done.map_or(0, |done| done.saturating_add(1).min(inner.len())) {
            inner.read_at(&mut cursor);
        }
        let open = Open {
            outer,
            inner,
            cursor,
        };
        self.go_on(open, findings)
    }

    fn go_on(&mut self, mut open: Open, findings: &mut Findings) -> Unpacked {
        let Open {
            outer,
            inner,
            cursor,
        } = &mut open;
        let sequence_number = outer.sequence_number.clone();
        let Some(user) = inner.read_at(cursor) else {
            return Unpacked::Nothing(Mark::whole(sequence_number));
        };
        let sub_sequence_number = Some(user.sub_sequence_number);
        let is_last = user.sub_sequence_number + 1 == inner.len();
        let is_in_range = user.is_within(self.range);
        findings.user_records += 1;
        findings.outside_range += u64::from(!is_in_range);
        let aggregation = Aggregation::UserRecord {
            // No aggregated record has as many user records as that.
            sub_sequence_number: u32::try_from(user.sub_sequence_number).unwrap_or(u32::MAX),
            explicit_hash_key: user.explicit_hash_key.map(ExplicitHashKey::from),
            is_in_range,
        };
        let record = Record {
            shard: outer.shard.clone(),
            sequence_number: sequence_number.clone(),
            partition_key: Some(user.partition_key.to_owned()),
            data: user.data,
            approximate_arrival: outer.approximate_arrival,
            aggregation,
        };
        if !is_last {
            self.open = Some(open);
        }
        Unpacked::Event {
            record,
            mark: Mark {
                sequence_number,
                sub_sequence_number: sub_sequence_number.filter(|_| !is_last),
            },
        }
    }
}

fn as_it_is(record: Record, aggregation: Aggregation) -> Unpacked {
    Unpacked::Event {
        mark: Mark::whole(record.sequence_number.clone()),
        record: Record {
            aggregation,
            ..record
        },
    }
}

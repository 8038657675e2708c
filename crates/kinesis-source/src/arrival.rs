use crate::{
    ApiError, ChildShard, Record, Remedy, ShardId, byte_budget::Charge, doubt::Found,
    footprint::taken, progress::Progress, sequence_numbers::SequenceNumbers,
};

/// What has come of a shard at once: a page that was read, or an event that was sent.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// New ones, in order.
    pub(crate) records: Vec<Record>,
    /// What a look at them has shown.
    pub(crate) survey: Survey,
    /// What they take of the budget.
    pub(crate) charge: Charge,
    /// Whether the record that was in doubt is there.
    pub(crate) found: Option<Found>,
    pub(crate) millis_behind_latest: Option<u64>,
    pub(crate) children: Vec<ChildShard>,
    /// Whether it says that it is the last of a closed shard.
    pub(crate) says_end: bool,
    /// Whether that is proven.
    pub(crate) is_end: bool,
    /// Whether more may be there already, whatever it says of the tip.
    pub(crate) is_full: bool,
}

impl Arrival {
    /// Whether there is nothing after it for now.
    pub(crate) fn reaches_tip(&self) -> bool {
        !self.is_full && !self.says_end && self.millis_behind_latest == Some(0)
    }

    /// Whether it says that there is more to be read.
    pub(crate) fn is_behind(&self) -> bool {
        is_behind(self.millis_behind_latest)
    }
}

/// So many records give what they take of the budget back by themselves: one that is kept in hand holds no more than these
/// up.
pub(crate) const PART: usize = 512;

/// What one look at records shows. An answer may have ten thousand, and each look takes its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Survey {
    /// What they count against the service's limits.
    pub(crate) bytes: u64,
    /// What they take in memory.
    pub(crate) taken: u64,
    pub(crate) numbers: SequenceNumbers,
    /// What those of each whole [part](PART) count.
    pub(crate) bytes_of_parts: Vec<u64>,
    /// Whether each has a higher number than the one before.
    is_in_order: bool,
    /// Whether all are of the shard that is read.
    is_of_shard: bool,
}

impl Survey {
    pub(crate) fn of(records: &[Record], shard: &ShardId) -> Self {
        let (mut bytes, mut before, mut left, mut is_of_shard) = (0, 0, PART, true);
        let mut bytes_of_parts = Vec::with_capacity(records.len() / PART);
        // To compare numbers takes a third of what names take, and each record has one.
        let number = shard.number();
        let is_of_it = |record: &Record| match number {
            Some(_) => record.shard.number() == number,
            None => record.shard == *shard,
        };
        let (numbers, is_in_order) = SequenceNumbers::of(records, |record| {
            bytes += size(record);
            is_of_shard &= is_of_it(record);
            left -= 1;
            if left == 0 {
                left = PART;
                bytes_of_parts.push(bytes - before);
                before = bytes;
            }
        });
        Self {
            bytes,
            taken: taken(records.len() as u64, bytes),
            numbers,
            bytes_of_parts,
            is_in_order,
            is_of_shard,
        }
    }
}

/// Whether an answer that is so far behind the tip, if it says how far, says that there is more to be
/// read.
pub(crate) fn is_behind(millis: Option<u64>) -> bool {
    millis.is_some_and(|millis| millis > 0)
}

/// Drops records that came before, and refuses those that are out of order or another shard's. Says what they tell
/// about a doubt. The survey is of those that are left, then.
pub(crate) fn drop_repeated(
    operation: &'static str,
    records: &mut Vec<Record>,
    survey: &mut Survey,
    progress: &Progress,
) -> Result<Option<Found>, ApiError> {
    if !survey.is_of_shard {
        let message = "records of another shard than the one that is read: the transport must say which it is, in \
                       Record::shard";
        return Err(ApiError::new(operation, Remedy::Correct).with_message(message));
    }
    if !survey.is_in_order {
        let message = "records out of order: the answer is dropped and asked for again";
        return Err(ApiError::new(operation, Remedy::Retry).with_message(message));
    }
    let next = progress.next_place();
    let doubt = progress.doubt();
    let found = doubt.as_ref().map(|doubt| doubt.look(records));
    let mut repeated = records.partition_point(|record| next.is_beyond(&record.sequence_number));
    if repeated > 0 {
        let last = records.drain(..repeated).next_back();
        *survey = Survey::of(records, progress.shard());
        let was_asked_for = |doubt| last.is_some_and(|last| last.sequence_number == doubt);
        repeated -= usize::from(doubt.is_some_and(|doubt| was_asked_for(doubt.from)));
        progress.note(|figures| figures.repeated += repeated as u64);
    }
    Ok(found)
}

/// What these records count against the service's limits, in bytes.
pub(crate) fn bytes(records: &[Record]) -> u64 {
    records.iter().map(size).sum()
}

/// What a record counts against the service's limits, in bytes.
fn size(record: &Record) -> u64 {
    let key = record.partition_key.as_ref().map_or(0, String::len);
    (key + record.data.len()) as u64
}

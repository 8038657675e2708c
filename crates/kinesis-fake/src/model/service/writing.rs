use std::time::Duration;

use kinesis_source::{PutEntry, PutOutcome, SequenceNumber, ShardId};

use super::{Service, find_usable};
use crate::model::{
    INTERNAL_FAILURE, Limits, MOST_WRONG, Moment, RecordDistribution, Refusal, Refusing,
    limits::KIB, shard::BESIDES, stream::Stream, stream::bytes_of, wrong,
};

impl Service {
    /// Puts records: each is stored or refused by its shard, whatever becomes of the others.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream; `Validation` or `InvalidArgument` for too many
    /// records, too large ones, or a partition key that is none. Then nothing is stored.
    pub fn put_records(
        &mut self,
        stream: &str,
        entries: &[PutEntry],
        now: Moment,
    ) -> Result<Vec<PutOutcome>, Refusal> {
        let (limits, keyless) = self.rules_of(stream);
        check_request(entries, &limits, keyless)?;
        self.put_within(stream, entries, &limits, now)
    }

    /// Some records of the next PutRecords are refused, whatever their shards say.
    pub(crate) fn refuse_records(&mut self, refusing: Refusing) {
        self.refusing = Some((refusing, 0));
    }

    /// No longer; how many were refused since.
    pub(crate) fn records_refused(&mut self) -> u64 {
        self.refusing.take().map_or(0, |(_, count)| count)
    }

    /// Puts one record.
    ///
    /// # Errors
    ///
    /// As [`put_records`](Self::put_records), and `ProvisionedThroughputExceeded`.
    pub fn put_record(
        &mut self,
        stream: &str,
        entry: &PutEntry,
        now: Moment,
    ) -> Result<(ShardId, SequenceNumber), Refusal> {
        let (limits, keyless) = self.rules_of(stream);
        check_record(entry, "", &limits, keyless)?;
        stored(self.put_within(stream, std::slice::from_ref(entry), &limits, now)?)
    }

    /// Puts one record as if there were no limit on writing, for whoever sets up a test.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream; `Validation` without a partition key, unless the
    /// stream distributes records by itself; `InternalFailure` if
    /// [`stored_bytes`](Limits::stored_bytes) are kept already.
    pub fn put_unlimited(
        &mut self,
        stream: &str,
        entry: &PutEntry,
        now: Moment,
    ) -> Result<(ShardId, SequenceNumber), Refusal> {
        let (_, keyless) = self.rules_of(stream);
        if self.streams.contains_key(stream) {
            check_key(entry, "", keyless)?;
        }
        let limits = Limits {
            stored_bytes: self.settings.limits.stored_bytes,
            ..Limits::none()
        };
        stored(self.put_within(stream, std::slice::from_ref(entry), &limits, now)?)
    }

    /// The limits on a stream's records, and whether it takes some without keys.
    pub(super) fn rules_of(&self, stream: &str) -> (Limits, bool) {
        let mut limits = self.settings.limits.clone();
        let mut keyless = false;
        if let Some(stream) = self.streams.get(stream) {
            limits.record_bytes = stream.record_bytes(&limits);
            keyless = stream.provision.distribution == RecordDistribution::Auto;
        }
        (limits, keyless)
    }

    fn put_within(
        &mut self,
        stream: &str,
        entries: &[PutEntry],
        limits: &Limits,
        now: Moment,
    ) -> Result<Vec<PutOutcome>, Refusal> {
        let incoming = entries.iter().map(|it| bytes_of(it) + BESIDES).sum();
        self.make_room(incoming, now)?;
        let stream = find_usable(&mut self.streams, &self.settings, stream, now)?;
        let disorder = self.settings.choices.arrival_disorder.as_millis();
        let disorder = u64::try_from(disorder).unwrap_or(u64::MAX);
        let earlier = |index| Duration::from_millis(self.seal.draw(index, disorder));
        let refusing = &mut self.refusing;
        let mut refuse = |place, stream: &Stream, entry| {
            let (refusing, count) = refusing.as_mut()?;
            let chosen = refusing.chooses(place, || stream.shard_of(entry));
            *count += u64::from(chosen);
            chosen.then(|| refused(&refusing.refusal))
        };
        let outcomes = entries.iter().enumerate().map(|(place, entry)| {
            refuse(place, stream, entry).unwrap_or_else(|| stream.put(entry, limits, earlier, now))
        });
        Ok(outcomes.collect())
    }

    /// Refuses what memory is not meant for.
    fn make_room(&mut self, incoming: u64, now: Moment) -> Result<(), Refusal> {
        let most = self.settings.limits.stored_bytes;
        let fits = |service: &Self| {
            let kept: u64 = service.streams.values().map(|stream| stream.bytes()).sum();
            kept.saturating_add(incoming) <= most
        };
        if fits(self) {
            return Ok(());
        }
        for stream in self.streams.values_mut() {
            stream.trim(now);
        }
        if fits(self) {
            return Ok(());
        }
        Err(Refusal::new(
            INTERNAL_FAILURE,
            format!("This service keeps at most {most} bytes in memory."),
        ))
    }
}

pub(crate) fn refused(refusal: &Refusal) -> PutOutcome {
    PutOutcome::Refused {
        code: refusal.code().to_owned(),
        message: refusal.message().to_owned(),
    }
}

fn stored(outcomes: Vec<PutOutcome>) -> Result<(ShardId, SequenceNumber), Refusal> {
    match outcomes.into_iter().next() {
        Some(PutOutcome::Stored {
            shard,
            sequence_number,
        }) => Ok((shard, sequence_number)),
        Some(PutOutcome::Refused { code, message }) => Err(Refusal::new(code, message)),
        None => unreachable!("one record has one outcome"),
    }
}

pub(super) fn check_request(
    entries: &[PutEntry],
    limits: &Limits,
    keyless: bool,
) -> Result<(), Refusal> {
    let (count, most) = (entries.len(), limits.records_per_put);
    let length = match count {
        0 => Some((
            "Value '[]'".to_owned(),
            "greater than or equal to 1".to_owned(),
        )),
        _ if count > most => Some((
            format!("Value '[{count} records]'"),
            format!("less than or equal to {most}"),
        )),
        _ => None,
    };
    if let Some((value, bound)) = length {
        let constraint = format!("Member must have length {bound}");
        return Err(Refusal::invalid_member(value, "records", constraint));
    }
    let places = entries.iter().zip(1_u32..).map(|(entry, position)| {
        let place = format!("records.{position}.member.");
        wrong_with(entry, &place, limits, keyless)
    });
    let wrong: Vec<_> = places.flatten().take(MOST_WRONG).collect();
    if !wrong.is_empty() {
        return Err(Refusal::invalid(&wrong));
    }
    let (bytes, most) = (
        entries.iter().map(bytes_of).sum::<u64>(),
        limits.bytes_per_put,
    );
    if bytes > most as u64 {
        let most = match most % (KIB * KIB) {
            0 => format!("{} MB limit", most / (KIB * KIB)),
            _ => format!("{most} bytes"),
        };
        return Err(Refusal::invalid_argument(format!(
            "Records size exceeds {most}"
        )));
    }
    Ok(())
}

/// `place` is what the names of its members begin with in the request.
pub(super) fn check_record(
    entry: &PutEntry,
    place: &str,
    limits: &Limits,
    keyless: bool,
) -> Result<(), Refusal> {
    let wrong = wrong_with(entry, place, limits, keyless);
    wrong.map_or(Ok(()), |wrong| Err(Refusal::invalid(&[wrong])))
}

/// What is wrong with a record, as the service says it.
fn wrong_with(entry: &PutEntry, place: &str, limits: &Limits, keyless: bool) -> Option<String> {
    if let Some(wrong) = wrong_key(entry, place, keyless) {
        return Some(wrong);
    }
    let most = limits.partition_key_chars;
    if entry.partition_key.chars().count() > most {
        let constraint = format!("Member must have length less than or equal to {most}");
        let value = format!("Value '{:.2048}'", entry.partition_key);
        return Some(wrong(value, format!("{place}partitionKey"), constraint));
    }
    let (most, bytes) = (limits.record_bytes, entry.data.len());
    let what = match (bytes > most, bytes_of(entry) > most as u64) {
        (true, _) => "Member",
        (false, true) => "Member and its partition key",
        (false, false) => return None,
    };
    let value = format!("Value 'java.nio.HeapByteBuffer[pos=0 lim={bytes} cap={bytes}]'");
    let constraint = format!("{what} must have length less than or equal to {most}");
    Some(wrong(value, format!("{place}data"), constraint))
}

fn check_key(entry: &PutEntry, place: &str, keyless: bool) -> Result<(), Refusal> {
    let wrong = wrong_key(entry, place, keyless);
    wrong.map_or(Ok(()), |wrong| Err(Refusal::invalid(&[wrong])))
}

fn wrong_key(entry: &PutEntry, place: &str, keyless: bool) -> Option<String> {
    let missing = entry.partition_key.is_empty() && !keyless;
    let constraint = "Member must have length greater than or equal to 1";
    missing.then(|| wrong("Value ''", format!("{place}partitionKey"), constraint))
}

use std::time::Duration;

use kinesis_source::{PutEntry, PutOutcome, SequenceNumber, ShardId};

use super::{Service, find_usable};
use crate::model::{
    INTERNAL_FAILURE, Limits, Moment, RecordDistribution, Refusal, Refusing, stream::bytes_of,
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
    fn rules_of(&self, stream: &str) -> (Limits, bool) {
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
        let incoming = entries.iter().map(bytes_of).sum();
        self.make_room(incoming, now)?;
        let stream = find_usable(&mut self.streams, &self.settings, stream, now)?;
        let disorder = self.settings.choices.arrival_disorder.as_millis();
        let disorder = u64::try_from(disorder).unwrap_or(u64::MAX);
        let earlier = |index| Duration::from_millis(self.seal.draw(index, disorder));
        let refusing = &mut self.refusing;
        let mut refuse = |place| {
            let (refusing, count) = refusing.as_mut()?;
            let chosen = refusing.chooses(place);
            *count += u64::from(chosen);
            chosen.then(|| refused(&refusing.refusal))
        };
        let outcomes = entries.iter().enumerate().map(|(place, entry)| {
            refuse(place).unwrap_or_else(|| stream.put(entry, limits, earlier, now))
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

fn check_request(entries: &[PutEntry], limits: &Limits, keyless: bool) -> Result<(), Refusal> {
    let most = limits.records_per_put;
    if entries.is_empty() || entries.len() > most {
        return Err(Refusal::validation(format!(
            "1 validation error detected: Value at 'records' failed to satisfy constraint: Member \
             must have length greater than or equal to 1 and less than or equal to {most}"
        )));
    }
    for (entry, position) in entries.iter().zip(1_u32..) {
        let place = format!("records.{position}.member.");
        check_record(entry, &place, limits, keyless)?;
    }
    let bytes: u64 = entries.iter().map(bytes_of).sum();
    if bytes > limits.bytes_per_put as u64 {
        return Err(Refusal::invalid_argument(format!(
            "Records size exceeds {} bytes.",
            limits.bytes_per_put
        )));
    }
    Ok(())
}

/// `place` is what the names of its members begin with in the request.
fn check_record(
    entry: &PutEntry,
    place: &str,
    limits: &Limits,
    keyless: bool,
) -> Result<(), Refusal> {
    let most = limits.partition_key_chars;
    check_key(entry, place, keyless)?;
    if entry.partition_key.chars().count() > most {
        let constraint = format!("Member must have length less than or equal to {most}");
        return Err(invalid(place, "partitionKey", &constraint));
    }
    if bytes_of(entry) > limits.record_bytes as u64 {
        let constraint = format!(
            "Member and its partition key must have length less than or equal to {}",
            limits.record_bytes
        );
        return Err(invalid(place, "data", &constraint));
    }
    Ok(())
}

fn check_key(entry: &PutEntry, place: &str, keyless: bool) -> Result<(), Refusal> {
    if entry.partition_key.is_empty() && !keyless {
        let constraint = "Member must have length greater than or equal to 1";
        return Err(invalid(place, "partitionKey", constraint));
    }
    Ok(())
}

fn invalid(place: &str, member: &str, constraint: &str) -> Refusal {
    Refusal::validation(format!(
        "1 validation error detected: Value at '{place}{member}' failed to satisfy constraint: \
         {constraint}"
    ))
}

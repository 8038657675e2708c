use std::fmt::Display;

use kinesis_source::{Position, RecordsPage, ShardId, ShardIterator};

use super::{Service, find_usable};
use crate::model::{Moment, ReadLimit, Refusal, iterator::Ticket, shard};

impl Service {
    /// An iterator to read `shard` from `position` on.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream or shard; `InvalidArgument` for a number that is not
    /// of this shard, has been trimmed, or a time that is yet to come;
    /// `ProvisionedThroughputExceeded`.
    pub fn get_shard_iterator(
        &mut self,
        stream: &str,
        shard: &ShardId,
        position: &Position,
        now: Moment,
    ) -> Result<ShardIterator, Refusal> {
        let stream = find_usable(&mut self.streams, &self.settings, stream, now)?;
        let number = stream.number_of(shard)?;
        let shard = stream.shard(number, now)?;
        shard.admit_iterator(&self.settings.limits, now)?;
        let of = shard.id.clone();
        let place = shard.seek(position, &self.settings.choices, now)?;
        let ticket = Ticket {
            issued: now,
            stream: stream.name.clone(),
            stream_number: stream.number,
            shard: number,
            place,
        };
        Ok(ShardIterator::new(of, ticket.seal(&self.seal)))
    }

    /// Reads at most `limit` records from an iterator on.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a limit out of bounds and for a text that is no iterator;
    /// `ExpiredIterator`; `ResourceNotFound` if stream or shard have gone;
    /// `ProvisionedThroughputExceeded`. The iterator stays good.
    pub fn get_records(
        &mut self,
        iterator: &str,
        limit: usize,
        now: Moment,
    ) -> Result<RecordsPage, Refusal> {
        self.get_records_of(None, iterator, limit, now)
    }

    /// The same, if the iterator is one of `stream`, where that is said (`StreamARN`).
    ///
    /// # Errors
    ///
    /// As [`get_records`](Self::get_records), and `InvalidArgument` for another stream's iterator.
    pub fn get_records_of(
        &mut self,
        stream: Option<&str>,
        iterator: &str,
        limit: usize,
        now: Moment,
    ) -> Result<RecordsPage, Refusal> {
        self.get_records_within(stream, iterator, (limit, u64::MAX), now)
    }

    /// The same, of at most so many bytes even if limits allow more. One record is returned however
    /// large it is.
    pub(crate) fn get_records_within(
        &mut self,
        stream: Option<&str>,
        iterator: &str,
        (limit, most_bytes): (usize, u64),
        now: Moment,
    ) -> Result<RecordsPage, Refusal> {
        let ticket = self.ticket_of(stream, iterator, limit, now)?;
        let number = ticket.shard;
        let stream = find_usable(&mut self.streams, &self.settings, &ticket.stream, now)?;
        stream.check_number(ticket.stream_number)?;
        let shard = stream.shard(number, now)?;
        shard.admit_read(&self.settings.limits, now)?;
        let of = shard.id.clone();
        let read = shard.read(ticket.place, (limit, most_bytes), &self.settings, now);
        let children = match read.next {
            Some(_) => Vec::new(),
            None => stream.children(number),
        };
        let next = read.next.map(|place| ticket.moved_to(place, now));
        let next = next.map(|it| ShardIterator::new(of, it.seal(&self.seal)));
        Ok(RecordsPage {
            next,
            records: read.records,
            millis_behind_latest: Some(read.millis_behind),
            children,
        })
    }

    /// The shard that an iterator reads, if it is one of this service.
    pub fn shard_of(&self, iterator: &str) -> Option<ShardId> {
        let ticket = Ticket::open(&self.seal, iterator)?;
        Some(shard::id(ticket.shard))
    }

    /// What an iterator stands for, if it is one of `stream`, where that is said, and so many records
    /// may be asked for.
    pub(super) fn ticket_of(
        &self,
        stream: Option<&str>,
        iterator: &str,
        limit: usize,
        now: Moment,
    ) -> Result<Ticket, Refusal> {
        self.check_limit(limit)?;
        let ticket = self.ticket(iterator, now)?;
        if stream.is_some_and(|stream| stream != ticket.stream) {
            return Err(Refusal::invalid_argument(
                "ShardIterator and StreamARN do not mean the same stream.",
            ));
        }
        Ok(ticket)
    }

    fn check_limit(&self, limit: usize) -> Result<(), Refusal> {
        let most = self.settings.limits.records_per_answer;
        if (1..=most).contains(&limit) {
            return Ok(());
        }
        Err(self.limit_refused(limit, limit > most))
    }

    /// Refuses a limit that is too large or too small.
    pub(crate) fn limit_refused(&self, limit: impl Display, too_large: bool) -> Refusal {
        let most = self.settings.limits.records_per_answer;
        match self.settings.choices.read_limit {
            ReadLimit::InvalidArgument => {
                Refusal::invalid_argument(format!("Limit {limit} is not between 1 and {most}."))
            }
            ReadLimit::Validation => {
                let bound = match too_large {
                    true => format!("less than or equal to {most}"),
                    false => "greater than or equal to 1".to_owned(),
                };
                let constraint = format!("Member must have value {bound}");
                Refusal::invalid_member(format!("Value '{limit}'"), "limit", constraint)
            }
        }
    }

    fn ticket(&self, iterator: &str, now: Moment) -> Result<Ticket, Refusal> {
        let Some(ticket) = Ticket::open(&self.seal, iterator) else {
            return Err(Refusal::invalid_argument("Invalid ShardIterator."));
        };
        let life = self.settings.limits.iterator_life;
        match life.filter(|life| now.since(ticket.issued) > *life) {
            None => Ok(ticket),
            Some(life) => Err(expired(&ticket, life, now)),
        }
    }
}

fn expired(ticket: &Ticket, life: std::time::Duration, now: Moment) -> Refusal {
    Refusal::new(
        "ExpiredIteratorException",
        format!(
            "Iterator expired. The iterator was created at time {} while right now it is {} which \
             is further in the future than the tolerated delay of {} milliseconds.",
            ticket.issued.timestamp(),
            now.timestamp(),
            life.as_millis()
        ),
    )
}

use kinesis_source::{ConsumerArn, Position, PutEntry, ShardId};

use super::{Service, find, find_usable, writing};
use crate::model::{Moment, Refusal};

/// A call that is only to be checked (`DryRun`).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum DryRun<'a> {
    /// As [`Service::get_shard_iterator`].
    GetShardIterator {
        /// The stream's name.
        stream: &'a str,
        /// The shard.
        shard: &'a ShardId,
        /// Where to begin.
        position: &'a Position,
    },
    /// As [`Service::get_records_of`].
    GetRecords {
        /// The stream's name, if it is said.
        stream: Option<&'a str>,
        /// Where to read.
        iterator: &'a str,
        /// At most so many records.
        limit: usize,
    },
    /// As [`Service::put_record`].
    PutRecord {
        /// The stream's name.
        stream: &'a str,
        /// The record.
        entry: &'a PutEntry,
    },
    /// As [`Service::put_records`].
    PutRecords {
        /// The stream's name.
        stream: &'a str,
        /// The records.
        entries: &'a [PutEntry],
    },
    /// As [`Service::subscribe_to_shard`].
    SubscribeToShard {
        /// The consumer.
        consumer: &'a ConsumerArn,
        /// The shard.
        shard: &'a ShardId,
        /// Where to begin.
        position: &'a Position,
    },
}

impl Service {
    /// Why a call is refused that is only to be checked: it is not carried out, and counts against no
    /// limit but its own.
    ///
    /// `DryRunOperation` says that it would have succeeded, as far as its parameters and what they
    /// name go: throughput is not looked at. `Throttling` says that there were too many of these
    /// ([`dry_runs_per_second`](crate::Limits::dry_runs_per_second)); all others are those of the call.
    pub fn dry_run(&mut self, call: DryRun<'_>, now: Moment) -> Refusal {
        match self.rehearse(call, now) {
            Err(refusal) => refusal,
            Ok(stream) => self.rehearsed(&stream, now),
        }
    }

    fn rehearsed(&mut self, name: &str, now: Moment) -> Refusal {
        let most = self.settings.limits.dry_runs_per_second;
        let stream = match find(&mut self.streams, &self.settings, name, now) {
            Ok(stream) => stream,
            Err(refusal) => return refusal,
        };
        match stream.dry_runs.admit(most, now) {
            true => Refusal::new(
                "DryRunOperationException",
                "The request would have succeeded without DryRun.",
            ),
            false => Refusal::new(
                "ThrottlingException",
                format!("Rate exceeded for requests with DryRun on stream {name}."),
            ),
        }
    }

    /// What can be said without doing it; then, the stream's name.
    fn rehearse(&mut self, call: DryRun<'_>, now: Moment) -> Result<String, Refusal> {
        match call {
            DryRun::GetShardIterator {
                stream,
                shard,
                position,
            } => {
                let choices = &self.settings.choices;
                let it = find_usable(&mut self.streams, &self.settings, stream, now)?;
                let number = it.number_of(shard)?;
                it.shard(number, now)?.seek(position, choices, now)?;
                Ok(stream.to_owned())
            }
            DryRun::GetRecords {
                stream,
                iterator,
                limit,
            } => {
                let ticket = self.ticket_of(stream, iterator, limit, now)?;
                let it = find_usable(&mut self.streams, &self.settings, &ticket.stream, now)?;
                it.check_number(ticket.stream_number)?;
                it.shard(ticket.shard, now)?;
                Ok(ticket.stream)
            }
            DryRun::PutRecord { stream, entry } => {
                let (limits, keyless) = self.rules_of(stream);
                writing::check_record(entry, "", &limits, keyless)?;
                find_usable(&mut self.streams, &self.settings, stream, now)?;
                Ok(stream.to_owned())
            }
            DryRun::PutRecords { stream, entries } => {
                let (limits, keyless) = self.rules_of(stream);
                writing::check_request(entries, &limits, keyless)?;
                find_usable(&mut self.streams, &self.settings, stream, now)?;
                Ok(stream.to_owned())
            }
            DryRun::SubscribeToShard {
                consumer,
                shard,
                position,
            } => {
                let (stream, name) = self.consumer_of(consumer.as_str())?;
                let choices = &self.settings.choices;
                let it = find(&mut self.streams, &self.settings, stream, now)?;
                it.check_usable()?;
                let number = it.number_of(shard)?;
                it.shard(number, now)?.seek(position, choices, now)?;
                it.consumer(name, Some(consumer))?.check_active()?;
                Ok(stream.to_owned())
            }
        }
    }
}

use std::collections::{BTreeMap, BTreeSet};

use kinesis_source::{HashRange, Record, SequenceNumber, Shard, ShardId, StreamStatus};

use super::{
    DeletingStream, Metric, Moment, Operation, Refusal, Refusing, Settings, SubscriptionId,
    limits::Rate, seal::Seal, stream::Stream, subscription::Subscription,
};

mod account;
mod capacity;
mod consumers;
mod control;
mod creation;
mod dry_run;
mod encrypting;
mod labels;
mod listing;
mod monitoring;
mod reading;
mod subscriptions;
mod writing;

pub use account::{Commitment, WarmThroughput};
pub use creation::NewStream;
pub use dry_run::DryRun;
pub use listing::Listing;
pub use monitoring::MetricsChange;

pub(crate) use labels::Labels;

/// All streams of one account, by name.
///
/// Every operation takes the moment at which it happens and answers as the service does: with what
/// was asked for, or with a [`Refusal`]. Nothing changes when a call is refused, but for the limits
/// that it was counted against.
#[derive(Debug)]
pub struct Service {
    settings: Settings,
    seal: Seal,
    streams: BTreeMap<String, Stream>,
    /// The limits that hold for the account and not for a shard.
    rates: BTreeMap<Operation, Rate>,
    streams_made: u64,
    /// The latest second in the numbers of any stream that has gone: none may come twice.
    used_second: u64,
    subscriptions: BTreeMap<SubscriptionId, Subscription>,
    subscriptions_made: u64,
    /// What to refuse of the records of the next PutRecords, and how many that were.
    refusing: Option<(Refusing, u64)>,
    /// The subscriptions with something to say, beside those that their streams know.
    news: BTreeSet<SubscriptionId>,
    commitment: Commitment,
}

impl Service {
    /// A service without streams.
    pub fn new(settings: Settings) -> Self {
        Self {
            seal: Seal::new(settings.seed),
            settings,
            streams: BTreeMap::new(),
            rates: BTreeMap::new(),
            streams_made: 0,
            used_second: 0,
            subscriptions: BTreeMap::new(),
            subscriptions_made: 0,
            refusing: None,
            news: BTreeSet::new(),
            commitment: Commitment::default(),
        }
    }

    /// How it behaves.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How it behaves from now on. Streams keep their retention, and iterators their seal.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// The name of the stream of that ARN.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` if it is no ARN of a stream of this service; `AccessDenied` if it is one of
    /// [another account](crate::ForeignArn).
    pub fn stream_of<'a>(&self, arn: &'a str) -> Result<&'a str, Refusal> {
        let owner = &self.settings.owner;
        let refuse = || owner.refuse(arn, self.settings.choices.foreign_arn);
        owner.stream_of(arn).ok_or_else(refuse)
    }

    /// The names of stream and consumer of that ARN.
    ///
    /// # Errors
    ///
    /// As [`stream_of`](Self::stream_of).
    pub fn consumer_of<'a>(&self, arn: &'a str) -> Result<(&'a str, &'a str), Refusal> {
        let owner = &self.settings.owner;
        let refuse = || owner.refuse(arn, self.settings.choices.foreign_arn);
        owner.consumer_of(arn).ok_or_else(refuse)
    }

    /// The shards of a stream that have not expired, whatever its status and without any limit;
    /// none if there is no such stream.
    pub fn shards(&mut self, stream: &str, now: Moment) -> Vec<Shard> {
        let Ok(stream) = self.stream(stream, now) else {
            return Vec::new();
        };
        let living = stream.living(now);
        living.map(|shard| stream.describe(shard)).collect()
    }

    /// The range of an open shard, whatever the stream's status; `None` if there is no such shard.
    pub(crate) fn open_range(
        &mut self,
        stream: &str,
        shard: &ShardId,
        now: Moment,
    ) -> Option<HashRange> {
        self.stream(stream, now).ok()?.open_range(shard, now)
    }

    /// The open shards' ranges in their order, whatever the stream's status; none if there is no
    /// such stream.
    pub(crate) fn open_ranges(&mut self, stream: &str, now: Moment) -> Vec<HashRange> {
        let stream = self.stream(stream, now);
        stream.map_or_else(|_| Vec::new(), |stream| stream.open_ranges())
    }

    /// The open shard whose range begins there.
    pub(crate) fn open_at(&mut self, stream: &str, start: u128, now: Moment) -> Option<ShardId> {
        self.stream(stream, now).ok()?.open_at(start)
    }

    /// All records that a stream keeps, by shard, without any limit; none if there is no such
    /// stream.
    pub fn records(&mut self, stream: &str, now: Moment) -> Vec<(ShardId, Vec<Record>)> {
        let Ok(stream) = self.stream(stream, now) else {
            return Vec::new();
        };
        stream.trim(now);
        let records = |shard: &super::shard::Shard| shard.records().cloned().collect();
        let living = stream.living(now);
        living
            .map(|shard| (shard.id.clone(), records(shard)))
            .collect()
    }

    /// The name of the key that a stream's records to come are said to be encrypted with. It is no
    /// call: nothing is counted.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream.
    pub fn encryption_key(&mut self, stream: &str, now: Moment) -> Result<Option<String>, Refusal> {
        let key = self.stream(stream, now)?.encryption.key();
        Ok(key.map(str::to_owned))
    }

    /// The metrics of a stream's shards that are wanted. It is no call: nothing is counted.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream.
    pub fn metrics(&mut self, stream: &str, now: Moment) -> Result<BTreeSet<Metric>, Refusal> {
        Ok(self.stream(stream, now)?.metrics.clone())
    }

    /// Which shards each shard of a stream was split or merged from, those that have expired among
    /// them; none if there is no such stream.
    pub(crate) fn parents(&mut self, stream: &str, now: Moment) -> BTreeMap<ShardId, Vec<ShardId>> {
        let stream = self.stream(stream, now);
        stream.map_or_else(|_| BTreeMap::new(), |stream| stream.lineage())
    }

    /// The records that retention took last, in the order in which they went; none if there is no
    /// such stream.
    pub(crate) fn expired(&mut self, stream: &str, now: Moment) -> Vec<(ShardId, SequenceNumber)> {
        let Ok(stream) = self.stream(stream, now) else {
            return Vec::new();
        };
        stream.trim(now);
        stream.expired()
    }

    /// The first of some records that retention [cannot have taken](Stream::never_taken); none if there
    /// is no such stream, of which nothing is known.
    pub(crate) fn never_expired<'a>(
        &mut self,
        stream: &str,
        records: impl Iterator<Item = (&'a ShardId, &'a SequenceNumber)>,
        now: Moment,
    ) -> Option<(&'a ShardId, &'a SequenceNumber)> {
        self.stream(stream, now).ok()?.never_taken(records)
    }

    /// The stream of that name as it is at `now`, whatever its status.
    fn stream(&mut self, name: &str, now: Moment) -> Result<&mut Stream, Refusal> {
        self.forget_if_gone(name, now);
        find(&mut self.streams, &self.settings, name, now)
    }

    fn forget_if_gone(&mut self, name: &str, now: Moment) {
        if self.streams.get(name).is_some_and(|it| it.has_gone(now))
            && let Some(mut gone) = self.streams.remove(name)
        {
            self.used_second = self.used_second.max(gone.newest_second());
            self.news.append(&mut gone.news);
        }
    }

    /// Counts a call against the account's limit on its operation.
    fn admit(&mut self, operation: Operation, now: Moment) -> Result<(), Refusal> {
        let limits = &self.settings.limits;
        let per_second = match operation {
            Operation::ListShards => limits.list_shards_per_second,
            Operation::DescribeStream => limits.describe_stream_per_second,
            Operation::DescribeStreamSummary => limits.describe_stream_summary_per_second,
            Operation::DescribeLimits => limits.describe_limits_per_second,
            Operation::UpdateShardCount => limits.update_shard_count_per_second,
            Operation::RegisterStreamConsumer => limits.consumers_per_second,
            // Limited by stream, consumer or shard.
            Operation::DeregisterStreamConsumer
            | Operation::DescribeStreamConsumer
            | Operation::GetRecords
            | Operation::GetShardIterator
            | Operation::ListStreamConsumers
            | Operation::PutRecord
            | Operation::PutRecords
            | Operation::SubscribeToShard => None,
            Operation::CreateStream
            | Operation::AddTagsToStream
            | Operation::DeleteResourcePolicy
            | Operation::DescribeAccountSettings
            | Operation::DisableEnhancedMonitoring
            | Operation::EnableEnhancedMonitoring
            | Operation::GetResourcePolicy
            | Operation::ListTagsForResource
            | Operation::ListTagsForStream
            | Operation::PutResourcePolicy
            | Operation::RemoveTagsFromStream
            | Operation::StartStreamEncryption
            | Operation::StopStreamEncryption
            | Operation::TagResource
            | Operation::UntagResource
            | Operation::UpdateAccountSettings
            | Operation::UpdateStreamWarmThroughput
            | Operation::UpdateMaxRecordSize
            | Operation::UpdateStreamMode
            | Operation::UpdateStreamRecordDistributionStrategy
            | Operation::DecreaseStreamRetentionPeriod
            | Operation::DeleteStream
            | Operation::IncreaseStreamRetentionPeriod
            | Operation::ListStreams
            | Operation::MergeShards
            | Operation::SplitShard => limits.control_per_second,
        };
        if self
            .rates
            .entry(operation)
            .or_default()
            .admit(per_second, now)
        {
            return Ok(());
        }
        Err(Refusal::limit_exceeded(format!(
            "Rate exceeded for {operation} under account {}.",
            self.settings.owner.account()
        )))
    }
}

/// As [`Service::stream`], but borrows nothing else and leaves alone what is gone.
fn find<'a>(
    streams: &'a mut BTreeMap<String, Stream>,
    settings: &Settings,
    name: &str,
    now: Moment,
) -> Result<&'a mut Stream, Refusal> {
    match streams.get_mut(name) {
        Some(stream) if !stream.has_gone(now) => {
            stream.settle(now);
            stream.grow(&settings.limits, now);
            Ok(stream)
        }
        _ => Err(no_stream(settings, name)),
    }
}

/// The same, if the stream can be read and written.
fn find_usable<'a>(
    streams: &'a mut BTreeMap<String, Stream>,
    settings: &Settings,
    name: &str,
    now: Moment,
) -> Result<&'a mut Stream, Refusal> {
    let stream = find(streams, settings, name, now)?;
    let lingers = settings.choices.deleting_stream == DeletingStream::Serve
        && stream.status() == StreamStatus::Deleting;
    // To readers and writers, a stream in the making is not there yet.
    if stream.is_usable() || lingers {
        return Ok(stream);
    }
    Err(no_stream(settings, name))
}

fn no_stream(settings: &Settings, name: &str) -> Refusal {
    let owner = &settings.owner;
    if name.starts_with("arn:") {
        return owner.refuse(name, settings.choices.foreign_arn);
    }
    let account = owner.account();
    Refusal::not_found(format!("Stream {name} under account {account} not found."))
}

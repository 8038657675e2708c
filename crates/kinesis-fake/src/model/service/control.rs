use std::time::Duration;

use kinesis_source::{ShardId, StreamStatus};

use super::Service;
use crate::model::{
    Moment, Operation, Refusal, StreamMode,
    stream::{Plan, Stream},
};

impl Service {
    /// Makes a stream of so many shards, which takes [`create`](crate::model::Durations::create).
    ///
    /// # Errors
    ///
    /// `ResourceInUse` if there is one of that name; `Validation` for a name or number that is
    /// none; `LimitExceeded` for too many calls, shards, or streams in the making.
    pub fn create_stream(&mut self, name: &str, shards: u32, now: Moment) -> Result<(), Refusal> {
        self.check_new_stream(name, now)?;
        if shards == 0 {
            return Err(no_shards("shardCount"));
        }
        self.check_room(shards)?;
        self.add_stream(name, Some(shards), self.settings.durations.create, now);
        Ok(())
    }

    /// Makes a stream at once and without any limit, for whoever sets up a test. One of that name
    /// is lost.
    pub fn put_stream(&mut self, name: &str, shards: u32, now: Moment) {
        self.add_stream(name, Some(shards), Duration::ZERO, now);
    }

    /// Removes a stream that has no consumers, which takes
    /// [`delete`](crate::model::Durations::delete).
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream; `ResourceInUse` if it is being made, or has
    /// consumers; `LimitExceeded`.
    pub fn delete_stream(&mut self, name: &str, now: Moment) -> Result<(), Refusal> {
        self.delete(name, false, now)
    }

    /// [Removes](Self::delete_stream) a stream, its consumers, if it has any, with it
    /// (`EnforceConsumerDeletion`).
    ///
    /// # Errors
    ///
    /// As [`delete_stream`](Self::delete_stream), but not for its consumers.
    pub fn delete_stream_and_consumers(&mut self, name: &str, now: Moment) -> Result<(), Refusal> {
        self.delete(name, true, now)
    }

    fn delete(&mut self, name: &str, consumers_too: bool, now: Moment) -> Result<(), Refusal> {
        self.admit(Operation::DeleteStream, now)?;
        let until = now.plus(self.settings.durations.delete);
        let stream = self.stream(name, now)?;
        if !stream.consumers.is_empty() && !consumers_too {
            return Err(Refusal::in_use(format!(
                "Stream {name} under account {} has consumers. Deregister them first, or enforce \
                 their deletion.",
                stream.owner.account()
            )));
        }
        match stream.status() {
            StreamStatus::Creating => return Err(stream.not_active()),
            // Asking twice does no harm and does not begin it anew.
            StreamStatus::Deleting => {}
            _ => stream.delete(until),
        }
        let ending = stream.consumers.deregister_all(until);
        let account = stream.owner.account();
        let gone = Refusal::not_found(format!("Stream {name} under account {account} has gone."));
        self.fail_all(ending, &gone);
        self.forget_if_gone(name, now);
        Ok(())
    }

    /// Splits a shard in two, the upper part from `new_starting_hash_key` on, which takes
    /// [`update`](crate::model::Durations::update).
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream or shard; `ResourceInUse` unless the stream is
    /// active; `InvalidArgument` for a closed shard and for a key outside it; `Validation` for a
    /// stream on demand; `LimitExceeded`.
    pub fn split_shard(
        &mut self,
        stream: &str,
        shard: &ShardId,
        new_starting_hash_key: u128,
        now: Moment,
    ) -> Result<(), Refusal> {
        self.admit(Operation::SplitShard, now)?;
        let it = self.stream(stream, now)?;
        it.check_usable()?;
        it.check_provisioned(Operation::SplitShard)?;
        self.check_room(1)?;
        let takes = self.settings.durations.update;
        self.stream(stream, now)?
            .split(shard, new_starting_hash_key, takes, now)
    }

    /// Merges two shards whose ranges touch, which takes
    /// [`update`](crate::model::Durations::update).
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream or shard; `ResourceInUse` unless the stream is
    /// active; `InvalidArgument` for closed shards and for those that do not touch;
    /// `LimitExceeded`.
    pub fn merge_shards(
        &mut self,
        stream: &str,
        shard: &ShardId,
        adjacent: &ShardId,
        now: Moment,
    ) -> Result<(), Refusal> {
        self.admit(Operation::MergeShards, now)?;
        let takes = self.settings.durations.update;
        let order = self.settings.choices.merge_order;
        let stream = self.stream(stream, now)?;
        stream.check_usable()?;
        stream.check_provisioned(Operation::MergeShards)?;
        stream.merge((shard, adjacent), order, takes, now)
    }

    /// Keeps a stream's records for `hours`, longer than now.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream; `ResourceInUse` unless it is active;
    /// `InvalidArgument` for fewer hours than now and for more than there [may be](crate::Limits::retention_hours), a
    /// year by default; `LimitExceeded`.
    pub fn increase_retention(
        &mut self,
        stream: &str,
        hours: u32,
        now: Moment,
    ) -> Result<(), Refusal> {
        self.admit(Operation::IncreaseStreamRetentionPeriod, now)?;
        self.set_retention(stream, hours, |old| hours >= old, now)
    }

    /// Keeps a stream's records for `hours`, shorter than now. What is too old goes at once.
    ///
    /// # Errors
    ///
    /// As [`increase_retention`](Self::increase_retention), but for more hours than now and for
    /// fewer than there may be, 24 by default.
    pub fn decrease_retention(
        &mut self,
        stream: &str,
        hours: u32,
        now: Moment,
    ) -> Result<(), Refusal> {
        self.admit(Operation::DecreaseStreamRetentionPeriod, now)?;
        self.set_retention(stream, hours, |old| hours <= old, now)
    }

    fn set_retention(
        &mut self,
        stream: &str,
        hours: u32,
        allowed: impl Fn(u32) -> bool,
        now: Moment,
    ) -> Result<(), Refusal> {
        let range = self.settings.limits.retention_hours.clone();
        let stream = self.stream(stream, now)?;
        stream.check_active()?;
        let old = stream.retention_hours();
        if !allowed(old) || !range.contains(&hours) {
            return Err(Refusal::invalid_argument(format!(
                "Requested retention period ({hours} hours) for stream {} is not valid: it is {old} \
                 hours now, and may be {} to {}.",
                stream.name,
                range.start(),
                range.end(),
            )));
        }
        stream.set_retention(hours, now);
        Ok(())
    }

    /// Whether a stream of that name may be made. The call counts.
    pub(super) fn check_new_stream(&mut self, name: &str, now: Moment) -> Result<(), Refusal> {
        self.admit(Operation::CreateStream, now)?;
        check_name("streamName", name)?;
        self.forget_all_gone(now);
        if self.streams.contains_key(name) {
            return Err(Refusal::in_use(format!(
                "Stream {name} under account {} already exists.",
                self.settings.owner.account()
            )));
        }
        self.check_creating()
    }

    /// Makes a stream of so many shards, or on demand.
    pub(super) fn add_stream(
        &mut self,
        name: &str,
        shards: Option<u32>,
        duration: Duration,
        now: Moment,
    ) {
        self.streams_made += 1;
        let on_demand = self.settings.limits.on_demand_shards_at_start.max(1);
        let plan = Plan {
            name,
            owner: &self.settings.owner,
            number: self.streams_made,
            shards: shards.unwrap_or(on_demand),
            mode: shards.map_or(StreamMode::OnDemand, |_| StreamMode::Provisioned),
            retention_hours: self.settings.retention_hours,
            second: now.seconds().max(self.used_second.saturating_add(1)),
            duration,
        };
        self.streams
            .insert(name.to_owned(), Stream::new(&plan, now));
    }

    pub(super) fn check_room(&self, more_shards: u32) -> Result<(), Refusal> {
        let (limits, owner) = (&self.settings.limits, &self.settings.owner);
        let open = self.open_shards();
        if open.saturating_add(more_shards) > limits.open_shards {
            return Err(Refusal::limit_exceeded(format!(
                "This request would exceed the shard limit for the account {} in {}. \
                 Current shard count for the account: {open}. Limit: {}. Number of additional \
                 shards that would have resulted from this request: {more_shards}.",
                owner.account(),
                owner.region(),
                limits.open_shards
            )));
        }
        Ok(())
    }

    /// Whether records may be that large.
    pub(super) fn check_record_size(&self, kib: u32) -> Result<(), Refusal> {
        let range = &self.settings.limits.record_kib;
        if range.contains(&kib) {
            return Ok(());
        }
        let (least, most) = (range.start(), range.end());
        let constraint = format!("Member must have value between {least} and {most}");
        let value = format!("Value '{kib}'");
        Err(Refusal::invalid_member(
            value,
            "maxRecordSizeInKiB",
            constraint,
        ))
    }

    fn check_creating(&self) -> Result<(), Refusal> {
        let most = self.settings.limits.streams_in_creation;
        let streams = self.streams.values();
        let creating = streams.filter(|stream| stream.status() == StreamStatus::Creating);
        if creating.count() >= most {
            return Err(Refusal::limit_exceeded(
                "Too many streams are being created at this moment.",
            ));
        }
        Ok(())
    }

    pub(super) fn forget_all_gone(&mut self, now: Moment) {
        let names: Vec<_> = self.streams.keys().cloned().collect();
        for name in names {
            self.forget_if_gone(&name, now);
        }
        for stream in self.streams.values_mut() {
            stream.settle(now);
            stream.grow(&self.settings.limits, now);
        }
    }
}

pub(super) fn check_name(member: &str, name: &str) -> Result<(), Refusal> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if (1..=128).contains(&name.len()) && name.chars().all(allowed) {
        return Ok(());
    }
    let constraint = "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+ and have length \
                      between 1 and 128";
    Err(Refusal::invalid_member("Value", member, constraint))
}

/// Refuses to have none.
pub(super) fn no_shards(member: &str) -> Refusal {
    let constraint = "Member must have value greater than or equal to 1";
    Refusal::invalid_member("Value '0'", member, constraint)
}

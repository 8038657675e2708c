use std::time::Duration;

use kinesis_source::{PutEntry, SequenceNumber, ShardId, StreamStatus};

use super::{Service, control::no_shards, find, find_usable};
use crate::model::{
    AccountLimits, Capacity, Limits, Moment, Operation, RecordDistribution, Refusal, Resize,
    StreamMode,
    limits::KIB,
    sequence::{DIGITS, Sequence},
    stream::Goal,
};

impl Service {
    /// Makes a stream on demand, of [four](Limits::on_demand_shards_at_start) shards, which takes
    /// [`create`](crate::model::Durations::create).
    ///
    /// # Errors
    ///
    /// As [`create_stream`](Self::create_stream); `LimitExceeded` for too many streams on demand.
    pub fn create_on_demand_stream(&mut self, name: &str, now: Moment) -> Result<(), Refusal> {
        self.check_new_stream(name, now)?;
        self.check_on_demand_room()?;
        let takes = self.settings.durations.create;
        self.add_stream(name, None, takes, now);
        Ok(())
    }

    /// Makes a stream [on demand](Self::create_on_demand_stream) at once and without any limit, for
    /// whoever sets up a test. One of that name is lost.
    pub fn put_on_demand_stream(&mut self, name: &str, now: Moment) {
        self.add_stream(name, None, Duration::ZERO, now);
    }

    /// Changes how many shards a stream has, by splits and merges in rounds of which each takes
    /// [`update`](crate::model::Durations::update). In the end all have the same size.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream; `ResourceInUse` unless it is active; `Validation`
    /// for a number that is none, and for a stream on demand; `LimitExceeded` for more than twice or
    /// less than half as many as it has, more than the account may have on the way, more than ten
    /// times a day, and too many calls.
    pub fn update_shard_count(
        &mut self,
        stream: &str,
        target: u32,
        now: Moment,
    ) -> Result<Resize, Refusal> {
        self.admit(Operation::UpdateShardCount, now)?;
        if target == 0 {
            return Err(no_shards("targetShardCount"));
        }
        let it = self.stream(stream, now)?;
        it.check_provisioned(Operation::UpdateShardCount)?;
        it.check_active()?;
        let current = it.open_shards();
        // First: how many there are on the way takes as long to tell as there are.
        check_scale(current, target, &self.settings.limits)?;
        self.check_room(target.saturating_sub(current))?;
        let it = self.stream(stream, now)?;
        let more = it.peak_on_the_way_to(target) - current;
        self.check_room(more)?;
        let Self { settings, .. } = self;
        let step = settings.durations.update;
        let it = find(&mut self.streams, settings, stream, now)?;
        it.admit_resize(&settings.limits, now)?;
        let goal = Goal {
            shards: target,
            step,
        };
        it.resize(goal, now);
        Ok(Resize { current, target })
    }

    /// Changes who decides how many shards a stream has, which takes
    /// [`update`](crate::model::Durations::update).
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream; `ResourceInUse` unless it is active;
    /// `InvalidArgument` for the mode that it is in; `LimitExceeded` for more than twice a day, too
    /// many streams on demand, too many shards of its own, and too many calls.
    pub fn update_stream_mode(
        &mut self,
        stream: &str,
        mode: StreamMode,
        now: Moment,
    ) -> Result<(), Refusal> {
        self.admit(Operation::UpdateStreamMode, now)?;
        let it = self.stream(stream, now)?;
        it.check_active()?;
        let (former, shards) = (it.provision.mode, it.open_shards());
        if mode != former {
            match mode {
                StreamMode::OnDemand => self.check_on_demand_room()?,
                StreamMode::Provisioned => self.check_room(shards)?,
            }
        }
        let Self { settings, .. } = self;
        let it = find(&mut self.streams, settings, stream, now)?;
        it.switch_mode(mode, &settings.limits, settings.durations.update, now)
    }

    /// Changes how large a stream's records may be, with their keys:
    /// [1,024 to 10,240 KiB](crate::Limits::record_kib) by default.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream; `ResourceInUse` unless it is active; `Validation`
    /// for another size; `LimitExceeded`.
    pub fn update_max_record_size(
        &mut self,
        stream: &str,
        kib: u32,
        now: Moment,
    ) -> Result<(), Refusal> {
        self.admit(Operation::UpdateMaxRecordSize, now)?;
        self.check_record_size(kib)?;
        let stream = self.stream(stream, now)?;
        stream.check_active()?;
        stream.provision.record_bytes = Some(kib as usize * KIB);
        Ok(())
    }

    /// Changes who decides which shard a record falls on, from now on.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream; `ResourceInUse` unless it is active;
    /// `InvalidArgument` for [`Auto`](RecordDistribution::Auto) unless it is on demand;
    /// `LimitExceeded`.
    pub fn update_stream_record_distribution_strategy(
        &mut self,
        stream: &str,
        distribution: RecordDistribution,
        now: Moment,
    ) -> Result<(), Refusal> {
        self.admit(Operation::UpdateStreamRecordDistributionStrategy, now)?;
        let stream = self.stream(stream, now)?;
        stream.check_active()?;
        let provisioned = stream.provision.mode == StreamMode::Provisioned;
        if provisioned && distribution == RecordDistribution::Auto {
            return Err(Refusal::invalid_argument(format!(
                "Stream {} is provisioned: its records are distributed by their keys.",
                stream.name
            )));
        }
        stream.provision.distribution = distribution;
        Ok(())
    }

    /// Puts one record behind that of a number (`SequenceNumberForOrdering`), as all are.
    ///
    /// # Errors
    ///
    /// As [`put_record`](Self::put_record); `InvalidArgument` for a number that is none, and for a
    /// stream that distributes records by itself.
    pub fn put_record_after(
        &mut self,
        stream: &str,
        entry: &PutEntry,
        number: &SequenceNumber,
        now: Moment,
    ) -> Result<(ShardId, SequenceNumber), Refusal> {
        let it = find_usable(&mut self.streams, &self.settings, stream, now)?;
        if it.provision.distribution == RecordDistribution::Auto {
            return Err(Refusal::invalid_argument(format!(
                "Stream {stream} distributes records by itself: there is no order to ask for."
            )));
        }
        // A shorter one is below any that a record gets: whatever comes is behind it. Some begin at 0.
        let is_low = number.to_string().len() < DIGITS;
        if !is_low && Sequence::parse(number).is_none() {
            return Err(Refusal::invalid_argument(format!(
                "ExclusiveMinimumSequenceNumber {number} used in PutRecord on stream {stream} under \
                 account {} is invalid.",
                it.owner.account()
            )));
        }
        self.put_record(stream, entry, now)
    }

    /// What the account may have, and has.
    ///
    /// # Errors
    ///
    /// `LimitExceeded`.
    pub fn describe_limits(&mut self, now: Moment) -> Result<AccountLimits, Refusal> {
        self.admit(Operation::DescribeLimits, now)?;
        self.forget_all_gone(now);
        Ok(AccountLimits {
            shard_limit: self.settings.limits.open_shards,
            open_shards: self.open_shards(),
            on_demand_stream_limit: self.settings.limits.on_demand_streams,
            on_demand_streams: self.on_demand_streams(),
        })
    }

    /// What a stream takes, and how. It is no call: nothing is counted.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream.
    pub fn capacity(&mut self, stream: &str, now: Moment) -> Result<Capacity, Refusal> {
        self.forget_if_gone(stream, now);
        let settings = &self.settings;
        Ok(find(&mut self.streams, settings, stream, now)?.capacity(&settings.limits))
    }

    /// The open shards of the streams that are provisioned.
    pub(super) fn open_shards(&self) -> u32 {
        let streams = self.streams.values();
        let provisioned = streams.filter(|it| it.provision.mode == StreamMode::Provisioned);
        provisioned.map(|stream| stream.open_shards()).sum()
    }

    fn on_demand_streams(&self) -> usize {
        let streams = self.streams.values();
        let on_demand = streams.filter(|it| it.provision.mode == StreamMode::OnDemand);
        on_demand.count()
    }

    fn check_on_demand_room(&self) -> Result<(), Refusal> {
        let Limits {
            on_demand_streams, ..
        } = self.settings.limits;
        if self.on_demand_streams() < on_demand_streams {
            return Ok(());
        }
        Err(Refusal::limit_exceeded(format!(
            "Account {} may have {on_demand_streams} streams on demand.",
            self.settings.owner.account()
        )))
    }
}

impl super::Stream {
    /// Refuses what can only be done to a stream that nothing else is being done to.
    pub(crate) fn check_active(&self) -> Result<(), Refusal> {
        if self.status() == StreamStatus::Active {
            return Ok(());
        }
        Err(self.not_active())
    }
}

/// Not more than twice and not less than half as many, unless told otherwise, and not too many.
fn check_scale(current: u32, target: u32, limits: &Limits) -> Result<(), Refusal> {
    let refuse = |how: &str| {
        Err(Refusal::limit_exceeded(format!(
            "UpdateShardCount cannot scale {how} your current open shard count. Current open shard \
             count: {current}, Target shard count: {target}"
        )))
    };
    let factor = limits.update_shard_count_factor.map(u64::from);
    let times = |factor: u64, shards: u32| factor.saturating_mul(shards.into());
    if factor.is_some_and(|factor| u64::from(target) > times(factor, current)) {
        return refuse(match factor {
            Some(2) => "up over double",
            _ => "up so far over",
        });
    }
    if factor.is_some_and(|factor| times(factor, target) < current.into()) {
        return refuse(match factor {
            Some(2) => "down below half",
            _ => "down so far below",
        });
    }
    let most = limits.update_shard_count_shards;
    // From more than that there is a way down only to fewer than that.
    if target > most || target == most && current > most {
        return Err(Refusal::limit_exceeded(format!(
            "UpdateShardCount cannot scale to {target} shards: a stream may have {most}."
        )));
    }
    Ok(())
}

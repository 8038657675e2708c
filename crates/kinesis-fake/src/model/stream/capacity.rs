use std::time::Duration;

use super::Stream;
use crate::model::{
    Capacity, Limits, Moment, Operation, RecordDistribution, Refusal, StreamMode, WarmThroughput,
    limits::Rate,
};

/// Who decides how much a stream takes, and what it took.
#[derive(Debug)]
pub(crate) struct Provision {
    pub(crate) mode: StreamMode,
    pub(crate) distribution: RecordDistribution,
    /// What its records may have, if that was ever set.
    pub(crate) record_bytes: Option<usize>,
    /// What was last asked for, in MiB a second.
    warm: Option<u32>,
    traffic: Traffic,
    /// More shards to come by themselves: when, and how many it will have.
    growth: Option<(Moment, u32)>,
    resizes: Rate,
    switches: Rate,
}

/// What is written in one window of time.
#[derive(Clone, Copy, Debug, Default)]
struct Traffic {
    /// When the window began; none has yet without.
    since: Option<Moment>,
    bytes: u64,
    records: u64,
}

impl Provision {
    pub(crate) fn new(mode: StreamMode) -> Self {
        Self {
            mode,
            distribution: RecordDistribution::UserPartitionKey,
            record_bytes: None,
            warm: None,
            traffic: Traffic::default(),
            growth: None,
            resizes: Rate::within(DAY),
            switches: Rate::within(DAY),
        }
    }

    /// When it grows by itself, if it does.
    pub(super) fn grows_at(&self) -> Option<Moment> {
        self.growth.map(|(at, _)| at)
    }

    pub(super) fn count(&mut self, bytes: u64, now: Moment) {
        if self.mode == StreamMode::OnDemand {
            self.traffic.since.get_or_insert(now);
            self.traffic.bytes += bytes;
            self.traffic.records += 1;
        }
    }

    /// Closes the window of traffic that is over: twice as much as was written must be possible, a
    /// while after that.
    fn observe(&mut self, open: u32, limits: &Limits, now: Moment) {
        let window = limits.on_demand_window;
        let over = |since: &Moment| now.since(*since) >= window;
        let Some(since) = self.traffic.since.filter(over) else {
            return;
        };
        let Traffic { bytes, records, .. } = std::mem::take(&mut self.traffic);
        let (headroom, nanos) = (
            u128::from(limits.on_demand_headroom),
            window.as_nanos().max(1),
        );
        let shards_for = |amount: u64, rate: Option<u64>| {
            rate.map_or(0, |rate| {
                let wanted = u128::from(amount) * headroom * 1_000_000_000;
                wanted.div_ceil((u128::from(rate.max(1))).saturating_mul(nanos))
            })
        };
        let wanted = shards_for(bytes, limits.write_bytes_per_second)
            .max(shards_for(records, limits.write_records_per_second));
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        let wanted = wanted.min(limits.on_demand_shards);
        let planned = self.growth.map_or(open, |(_, shards)| shards);
        if wanted > planned {
            let at = since.plus(window).plus(limits.on_demand_growth);
            // What is on its way comes at its time; the rest of it is seen again.
            self.growth.get_or_insert((at, wanted));
        }
    }
}

impl Stream {
    /// Grows by itself, if it is due and on demand.
    pub(crate) fn grow(&mut self, limits: &Limits, now: Moment) {
        if self.provision.mode != StreamMode::OnDemand {
            return;
        }
        let open = self.open_shards();
        self.provision.observe(open, limits, now);
        if let Some((at, shards)) = self.provision.growth.filter(|(at, _)| *at <= now) {
            self.provision.growth = None;
            self.split_widest(shards, at);
        }
    }

    /// Begins to change its mode, which takes a while.
    pub(crate) fn switch_mode(
        &mut self,
        mode: StreamMode,
        limits: &Limits,
        takes: Duration,
        now: Moment,
    ) -> Result<(), Refusal> {
        self.check_active()?;
        if mode == self.provision.mode {
            return Err(Refusal::invalid_argument(format!(
                "Stream {} is in that mode already.",
                self.name
            )));
        }
        let switches = &mut self.provision.switches;
        if !switches.admit(limits.mode_switches_per_day, now) {
            return Err(Refusal::limit_exceeded(format!(
                "Stream {} has switched between its modes as often as it may in 24 hours.",
                self.name
            )));
        }
        self.provision.mode = mode;
        if mode == StreamMode::Provisioned {
            self.provision.distribution = RecordDistribution::UserPartitionKey;
            self.provision.traffic = Traffic::default();
            self.provision.warm = None;
            self.provision.growth = None;
        }
        self.update(Vec::new(), None, takes, now);
        Ok(())
    }

    /// Refuses what only a provisioned stream can do.
    pub(crate) fn check_provisioned(&self, operation: Operation) -> Result<(), Refusal> {
        if self.provision.mode == StreamMode::Provisioned {
            return Ok(());
        }
        Err(Refusal::validation(format!(
            "{operation} is only supported for data streams with the provisioned capacity mode; \
             stream {} is on demand.",
            self.name
        )))
    }

    /// Counts a resize against those of the day.
    pub(crate) fn admit_resize(&mut self, limits: &Limits, now: Moment) -> Result<(), Refusal> {
        let resizes = &mut self.provision.resizes;
        if resizes.admit(limits.update_shard_count_per_day, now) {
            return Ok(());
        }
        Err(Refusal::limit_exceeded(format!(
            "Stream {} has been scaled as often as it may in 24 hours.",
            self.name
        )))
    }

    /// Begins to grow to a shard for each MiB a second.
    pub(crate) fn warm_up(&mut self, mib_per_second: u32, takes: Duration, now: Moment) {
        self.provision.warm = Some(mib_per_second);
        let planned = self.provision.growth.map_or(0, |(_, shards)| shards);
        if mib_per_second > self.open_shards() {
            let until = now.plus(takes);
            self.provision.growth = Some((until, mib_per_second.max(planned)));
        }
        self.update(Vec::new(), None, takes, now);
    }

    /// Has so many shards from the start.
    pub(crate) fn begin_warm(&mut self, mib_per_second: u32, now: Moment) {
        self.provision.warm = Some(mib_per_second);
        let shards = mib_per_second.max(self.open_shards());
        self.provision.growth = Some((now, shards));
    }

    /// How warm it is, if that was ever asked for.
    pub(crate) fn warm_throughput(&self) -> Option<WarmThroughput> {
        let current = self.open_shards();
        let target = self.provision.warm?;
        Some(WarmThroughput { target, current })
    }

    pub(crate) fn capacity(&self, limits: &Limits) -> Capacity {
        Capacity {
            mode: self.provision.mode,
            distribution: self.provision.distribution,
            record_bytes: self.record_bytes(limits),
            consumers: self.consumers.len(),
            warm_throughput: self.warm_throughput(),
        }
    }

    /// What a record may have, with its key.
    pub(crate) fn record_bytes(&self, limits: &Limits) -> usize {
        let own = self.provision.record_bytes.unwrap_or(0);
        own.max(limits.record_bytes)
    }
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

use std::{collections::BTreeMap, time::Duration};

use kinesis_source::{ConsumerArn, ConsumerStatus, StreamConsumer};

use super::{Limits, Moment, Refusal, limits::Rate, service::Labels, subscription::SubscriptionId};

/// A consumer of enhanced fan-out that is registered with a stream, and what it holds of its shards.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) name: String,
    pub(crate) arn: ConsumerArn,
    created: Moment,
    phase: Phase,
    pub(crate) labels: Labels,
    /// By shard. One that was ever subscribed to stays.
    seats: BTreeMap<u32, Seat>,
}

#[derive(Debug)]
enum Phase {
    Creating { until: Moment },
    Active,
    Deleting { until: Moment },
}

/// A consumer's right to one shard: one subscription at a time.
#[derive(Debug, Default)]
struct Seat {
    calls: Rate,
    taken: Option<Moment>,
    holder: Option<SubscriptionId>,
}

impl Consumer {
    pub(crate) fn new(name: &str, arn: ConsumerArn, takes: Duration, now: Moment) -> Self {
        let mut consumer = Self {
            name: name.to_owned(),
            arn,
            created: now,
            phase: Phase::Creating {
                until: now.plus(takes),
            },
            labels: Labels::default(),
            seats: BTreeMap::new(),
        };
        consumer.settle(now);
        consumer
    }

    /// Completes what is due.
    pub(crate) fn settle(&mut self, now: Moment) {
        if matches!(self.phase, Phase::Creating { until } if until <= now) {
            self.phase = Phase::Active;
        }
    }

    pub(crate) fn has_gone(&self, now: Moment) -> bool {
        matches!(self.phase, Phase::Deleting { until } if until <= now)
    }

    /// Begins to take it away, unless that has begun; returns the subscriptions that end by it.
    pub(crate) fn deregister(&mut self, until: Moment) -> Vec<SubscriptionId> {
        if !matches!(self.phase, Phase::Deleting { .. }) {
            self.phase = Phase::Deleting { until };
        }
        let seats = std::mem::take(&mut self.seats);
        seats.values().filter_map(|seat| seat.holder).collect()
    }

    pub(crate) fn status(&self) -> ConsumerStatus {
        match self.phase {
            Phase::Creating { .. } => ConsumerStatus::Creating,
            Phase::Active => ConsumerStatus::Active,
            Phase::Deleting { .. } => ConsumerStatus::Deleting,
        }
    }

    pub(crate) fn describe(&self) -> StreamConsumer {
        StreamConsumer {
            name: self.name.clone(),
            arn: self.arn.clone(),
            status: self.status(),
            created: Some(self.created.timestamp()),
        }
    }

    /// Counts a call of SubscribeToShard; whether it may go on.
    pub(crate) fn admit(
        &mut self,
        shard: u32,
        limits: &Limits,
        now: Moment,
    ) -> Result<(), Refusal> {
        let per_second = limits.subscribe_to_shard_per_second;
        let seat = self.seats.entry(shard).or_default();
        if !seat.calls.admit(per_second, now) {
            return Err(Refusal::limit_exceeded(format!(
                "Rate exceeded for consumer {} and shard {}.",
                self.arn,
                super::shard::id(shard)
            )));
        }
        let taken = seat.taken;
        self.check_active()?;
        let guarded = |since: Moment| now.since(since) < limits.resubscribe_after;
        if taken.is_some_and(guarded) {
            return Err(self.another_subscription(shard));
        }
        Ok(())
    }

    /// Refuses to send to one that is being registered or taken away.
    pub(crate) fn check_active(&self) -> Result<(), Refusal> {
        if self.status() == ConsumerStatus::Active {
            return Ok(());
        }
        Err(Refusal::in_use(format!(
            "Consumer {} is not ACTIVE.",
            self.arn
        )))
    }

    /// Seats a subscription; returns the one that loses its seat to it.
    pub(crate) fn seat(
        &mut self,
        shard: u32,
        holder: SubscriptionId,
        now: Moment,
    ) -> Option<SubscriptionId> {
        let seat = self.seats.entry(shard).or_default();
        seat.taken = Some(now);
        seat.holder.replace(holder)
    }

    pub(crate) fn another_subscription(&self, shard: u32) -> Refusal {
        Refusal::in_use(format!(
            "Another active subscription exists for this consumer: {} and shard {}.",
            self.arn,
            super::shard::id(shard)
        ))
    }
}

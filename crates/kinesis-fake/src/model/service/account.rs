use super::{Service, find};
use crate::model::{Moment, Operation, Refusal, StreamMode};

/// An account's promise to pay for a minimum of throughput: with it, streams on demand can be
/// [warmed up](Service::update_stream_warm_throughput).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Commitment {
    /// When it was last made; `None` if it never was.
    pub started: Option<Moment>,
    /// When it ended or ends, if that was asked for.
    pub ended: Option<Moment>,
    /// When it may end at the earliest: [a day](crate::Limits::commitment) after it was made.
    pub earliest_end: Option<Moment>,
}

/// How warm a stream on demand is, in MiB a second that it can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WarmThroughput {
    /// What was asked for.
    pub target: u32,
    /// What it has shards for.
    pub current: u32,
}

impl Commitment {
    /// Whether it holds at that moment.
    pub fn holds(&self, now: Moment) -> bool {
        self.started.is_some() && self.ended.is_none_or(|ended| now < ended)
    }
}

impl Service {
    /// What the account has promised.
    ///
    /// # Errors
    ///
    /// `LimitExceeded`.
    pub fn describe_account_settings(&mut self, now: Moment) -> Result<Commitment, Refusal> {
        self.admit(Operation::DescribeAccountSettings, now)?;
        Ok(self.commitment)
    }

    /// Makes the promise, or ends it: at once, or a day after it was made.
    ///
    /// # Errors
    ///
    /// `LimitExceeded`.
    pub fn update_account_settings(
        &mut self,
        committed: bool,
        now: Moment,
    ) -> Result<Commitment, Refusal> {
        self.admit(Operation::UpdateAccountSettings, now)?;
        let least = self.settings.limits.commitment;
        let it = &mut self.commitment;
        match (committed, it.holds(now)) {
            (true, true) => it.ended = None,
            (true, false) => {
                it.started = Some(now);
                it.ended = None;
                it.earliest_end = Some(now.plus(least));
            }
            (false, true) => it.ended = it.earliest_end.map(|end| end.max(now)),
            (false, false) => {}
        }
        Ok(*it)
    }

    /// Lets a stream on demand have shards for so many MiB a second, which takes
    /// [`update`](crate::model::Durations::update). It never shrinks here.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream; `ResourceInUse` unless it is active; `Validation`
    /// for a provisioned stream, and unless the account has [committed](Commitment) itself;
    /// `LimitExceeded` for more than a stream on demand grows to, and for too many calls.
    pub fn update_stream_warm_throughput(
        &mut self,
        stream: &str,
        mib_per_second: u32,
        now: Moment,
    ) -> Result<WarmThroughput, Refusal> {
        self.admit(Operation::UpdateStreamWarmThroughput, now)?;
        self.check_warm(mib_per_second, now)?;
        self.forget_if_gone(stream, now);
        let settings = &self.settings;
        let it = find(&mut self.streams, settings, stream, now)?;
        if it.provision.mode != StreamMode::OnDemand {
            return Err(Refusal::validation(format!(
                "Warm throughput is for data streams with the on-demand capacity mode; stream \
                 {stream} is provisioned."
            )));
        }
        it.check_active()?;
        it.warm_up(mib_per_second, settings.durations.update, now);
        Ok(it.warm_throughput().unwrap_or(WarmThroughput {
            target: mib_per_second,
            current: it.open_shards(),
        }))
    }

    /// Whether a stream on demand may be warmed up so far.
    pub(super) fn check_warm(&self, mib_per_second: u32, now: Moment) -> Result<(), Refusal> {
        if !self.commitment.holds(now) {
            return Err(Refusal::validation(
                "Warm throughput is for accounts that have MinimumThroughputBillingCommitment \
                 enabled.",
            ));
        }
        let most = self.settings.limits.on_demand_shards;
        if mib_per_second > most {
            return Err(Refusal::limit_exceeded(format!(
                "A stream on demand may have a warm throughput of {most} MiB a second, and not \
                 {mib_per_second}."
            )));
        }
        Ok(())
    }
}

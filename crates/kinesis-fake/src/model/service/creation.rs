use super::{Labels, Service, find};
use crate::model::{Moment, RecordDistribution, Refusal, Tags, limits::KIB};

/// What CreateStream can say of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewStream {
    /// How many shards it has; `None` for one on demand.
    pub shards: Option<u32>,
    /// How large its records may be, in KiB, unless that is as usual.
    pub record_kib: Option<u32>,
    /// Who decides which shard a record falls on.
    pub distribution: RecordDistribution,
    /// How many MiB a second it can be written from the start, if it is on demand.
    pub warm: Option<u32>,
    /// Its tags.
    pub tags: Tags,
}

impl Service {
    /// Makes a stream as described, in one call.
    ///
    /// # Errors
    ///
    /// As [`create_stream`](Self::create_stream) and
    /// [`create_on_demand_stream`](Self::create_on_demand_stream); `Validation` for a size of records
    /// that [may not be](crate::Limits::record_kib); `InvalidArgument` for
    /// [`Auto`](RecordDistribution::Auto) unless it is on demand; for what is to be warm, as
    /// [`update_stream_warm_throughput`](Self::update_stream_warm_throughput); for tags, as
    /// [`tag_resource`](Self::tag_resource). Then no stream is made.
    pub fn create_described_stream(
        &mut self,
        name: &str,
        new: &NewStream,
        now: Moment,
    ) -> Result<(), Refusal> {
        if new.shards.is_some() && new.distribution == RecordDistribution::Auto {
            return Err(Refusal::invalid_argument(
                "RecordDistributionStrategy AUTO is for streams on demand only.",
            ));
        }
        if let Some(kib) = new.record_kib {
            self.check_record_size(kib)?;
        }
        if let Some(warm) = new.warm {
            if new.shards.is_some() {
                return Err(Refusal::validation(
                    "WarmThroughputMiBps is for streams on demand only.",
                ));
            }
            self.check_warm(warm, now)?;
        }
        let labels = Labels::with_tags(&new.tags, &self.settings.limits)?;
        match new.shards {
            Some(shards) => self.create_stream(name, shards, now)?,
            None => self.create_on_demand_stream(name, now)?,
        }
        let stream = find(&mut self.streams, &self.settings, name, now)?;
        stream.provision.record_bytes = new.record_kib.map(|kib| kib as usize * KIB);
        stream.provision.distribution = new.distribution;
        stream.labels = labels;
        if let Some(warm) = new.warm {
            stream.begin_warm(warm, now);
        }
        Ok(())
    }
}

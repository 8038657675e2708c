use super::{Service, find};
use crate::model::{
    Moment, RecordDistribution, Refusal,
    limits::{KIB, RECORD_KIB},
};

/// What CreateStream can say of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewStream {
    /// How many shards it has; `None` for one on demand.
    pub shards: Option<u32>,
    /// How large its records may be, in KiB, unless that is as usual.
    pub record_kib: Option<u32>,
    /// Who decides which shard a record falls on.
    pub distribution: RecordDistribution,
}

impl Service {
    /// Makes a stream as described, in one call.
    ///
    /// # Errors
    ///
    /// As [`create_stream`](Self::create_stream) and
    /// [`create_on_demand_stream`](Self::create_on_demand_stream); `Validation` for another size of
    /// records than 1,024 to 10,240 KiB; `InvalidArgument` for
    /// [`Auto`](RecordDistribution::Auto) unless it is on demand. Then no stream is made.
    pub fn create_described_stream(
        &mut self,
        name: &str,
        new: NewStream,
        now: Moment,
    ) -> Result<(), Refusal> {
        if new.shards.is_some() && new.distribution == RecordDistribution::Auto {
            return Err(Refusal::invalid_argument(
                "RecordDistributionStrategy AUTO is for streams on demand only.",
            ));
        }
        if let Some(kib) = new.record_kib.filter(|kib| !RECORD_KIB.contains(kib)) {
            return Err(Refusal::validation(format!(
                "1 validation error detected: Value '{kib}' at 'maxRecordSizeInKiB' failed to \
                 satisfy constraint: Member must have value between {} and {}",
                RECORD_KIB.start(),
                RECORD_KIB.end()
            )));
        }
        match new.shards {
            Some(shards) => self.create_stream(name, shards, now)?,
            None => self.create_on_demand_stream(name, now)?,
        }
        let stream = find(&mut self.streams, &self.settings, name, now)?;
        stream.provision.record_bytes = new.record_kib.map(|kib| kib as usize * KIB);
        stream.provision.distribution = new.distribution;
        Ok(())
    }
}

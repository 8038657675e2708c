use kinesis_source::ShardId;

use crate::{
    failure::Failure,
    model::{Operation, Refusal},
};

/// Something to go wrong with the next calls of one operation.
///
/// ```
/// use kinesis_fake::{Fake, Fault, Operation};
///
/// let fake = Fake::new(1);
/// let shard = "shardId-000000000000".into();
/// // The third and the fourth read of that shard.
/// fake.inject(
///     Fault::refusal(Operation::GetRecords, "KMSThrottlingException")
///         .on_shard(&shard)
///         .after(2)
///         .times(2),
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a fault does nothing until it is injected"]
pub struct Fault {
    operation: Operation,
    shard: Option<ShardId>,
    after: u32,
    times: u32,
    effect: Effect,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Effect {
    Refuse { code: String },
    LoseAnswer,
}

/// What a fault does to one call.
#[derive(Debug)]
pub(crate) enum Blow {
    /// The call is not carried out and fails.
    Instead(Failure),
    /// The call is carried out, and fails.
    Afterwards(Failure),
}

impl Fault {
    /// The next call of `operation` is refused with that code of the service, known or unknown, as
    /// `InternalFailure`. It is not carried out and counts against no limit.
    pub fn refusal(operation: Operation, code: impl Into<String>) -> Self {
        Self::new(operation, Effect::Refuse { code: code.into() })
    }

    /// The next call of `operation` is carried out, but its answer gets lost on the way: the caller
    /// cannot know. Over HTTP, the connection breaks.
    pub fn lost_answer(operation: Operation) -> Self {
        Self::new(operation, Effect::LoseAnswer)
    }

    /// Only calls that concern `shard` count: GetShardIterator, GetRecords, SplitShard and
    /// MergeShards (its first shard).
    pub fn on_shard(self, shard: &ShardId) -> Self {
        Self {
            shard: Some(shard.clone()),
            ..self
        }
    }

    /// So many calls pass first.
    pub fn after(self, calls: u32) -> Self {
        Self {
            after: calls,
            ..self
        }
    }

    /// Happens so many times in a row instead of once.
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    fn new(operation: Operation, effect: Effect) -> Self {
        Self {
            operation,
            shard: None,
            after: 0,
            times: 1,
            effect,
        }
    }

    fn concerns(&self, operation: Operation, shard: Option<&ShardId>) -> bool {
        let anywhere = self.shard.is_none();
        self.operation == operation && (anywhere || self.shard.as_ref() == shard)
    }

    /// Counts a call that it concerns; whether it strikes.
    fn strikes(&mut self) -> bool {
        if self.after > 0 {
            self.after -= 1;
            return false;
        }
        let strikes = self.times > 0;
        self.times = self.times.saturating_sub(1);
        strikes
    }

    fn blow(&self) -> Blow {
        match &self.effect {
            Effect::Refuse { code } => Blow::Instead(Failure::Refused(Refusal::new(
                code.clone(),
                "This failure was injected by a test.",
            ))),
            Effect::LoseAnswer => Blow::Afterwards(Failure::Lost),
        }
    }
}

/// What is yet to go wrong, in the order in which it was injected.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    waiting: Vec<Fault>,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.waiting.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// What happens to a call. Of several faults that concern it the first to strike does, and
    /// those behind it do not count the call.
    pub(crate) fn strike(
        &mut self,
        operation: Operation,
        shard: impl FnOnce() -> Option<ShardId>,
    ) -> Option<Blow> {
        if self.waiting.is_empty() {
            return None;
        }
        let shard = shard();
        let blow = self.waiting.iter_mut().find_map(|fault| {
            let strikes = fault.concerns(operation, shard.as_ref()) && fault.strikes();
            strikes.then(|| fault.blow())
        });
        self.waiting.retain(|fault| fault.times > 0);
        blow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_its_operation_and_shard_after_and_times_given() {
        let shard: ShardId = "shardId-000000000001".into();
        let mut faults = Faults::default();
        faults.add(
            Fault::refusal(Operation::GetRecords, "InternalFailure")
                .on_shard(&shard)
                .after(1)
                .times(2),
        );
        let mut strikes = |operation, shard: Option<&ShardId>| {
            faults.strike(operation, || shard.cloned()).is_some()
        };
        assert!(!strikes(Operation::GetShardIterator, Some(&shard)));
        assert!(!strikes(Operation::GetRecords, None));
        let struck: Vec<_> = (0..4)
            .map(|_| strikes(Operation::GetRecords, Some(&shard)))
            .collect();
        assert_eq!(struck, [false, true, true, false]);
        assert_eq!(faults.waiting(), 0);
    }
}

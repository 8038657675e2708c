use std::collections::BTreeMap;

use kinesis_source::Remedy;

use crate::{
    faults::Spoiling,
    model::{Operation, Refusal},
};

/// How often each operation was called, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    by_operation: BTreeMap<Operation, Tally>,
}

/// What became of the calls of one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// All of them.
    pub made: u64,
    /// Those that were refused with the advice to wait: throughput or a limit was exceeded.
    pub throttled: u64,
    /// Those that failed for any other reason.
    pub failed: u64,
}

impl Calls {
    /// What became of the calls of `operation`.
    pub fn of(&self, operation: Operation) -> Tally {
        let tally = self.by_operation.get(&operation);
        tally.copied().unwrap_or_default()
    }

    /// Calls of any operation that were throttled.
    pub fn throttled(&self) -> u64 {
        self.by_operation.values().map(|it| it.throttled).sum()
    }

    pub(crate) fn make(&mut self, operation: Operation) {
        self.by_operation.entry(operation).or_default().made += 1;
    }

    /// Counts what came of a call that was made.
    pub(crate) fn settle<T>(
        &mut self,
        operation: Operation,
        answer: &Result<(T, Option<Spoiling>), Refusal>,
    ) {
        let tally = self.by_operation.entry(operation).or_default();
        match answer {
            Ok((_, None)) => {}
            Err(refusal) if refusal.remedy() == Remedy::Wait => tally.throttled += 1,
            Ok((_, Some(_))) | Err(_) => tally.failed += 1,
        }
    }
}

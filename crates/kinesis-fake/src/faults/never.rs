use super::{Fault, effect::Effect};
use crate::model::Operation;

/// A fault that would never strike: the answers that it is to [change](Fault::rewritten) have no such
/// part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} would never strike: {}", .part.meant())]
pub struct NeverStrikes {
    fault: String,
    part: Part,
}

impl NeverStrikes {
    /// What its change is for, as a sentence that begins with `it is for`.
    pub fn meant(&self) -> &'static str {
        self.part.meant()
    }
}

impl Fault {
    /// Whether there can be calls, or events, that it strikes. What cannot is neither
    /// [injected](crate::Fake::inject) nor [planned](super::FaultPlan::with).
    ///
    /// # Errors
    ///
    /// If it is to change a part that answers of one of the operations that it names do not have, as
    /// GetShardIterator's have no records; or that no event has, if it is [in a stream](Self::in_stream).
    pub fn may_strike(&self) -> Result<(), NeverStrikes> {
        let Effect::Rewrite(rewrite) = &self.effect else {
            return Ok(());
        };
        let part = rewrite.part();
        let answers = part.of_answers();
        let may = match (self.in_stream, self.operations.named()) {
            (true, _) => part.is_of_events(),
            // All: the others are left alone.
            (false, []) => answers.is_some(),
            (false, named) => named.iter().all(|it| Some(*it) == answers),
        };
        match may {
            true => Ok(()),
            false => Err(NeverStrikes {
                fault: format!("{self:?}"),
                part,
            }),
        }
    }

    /// # Panics
    ///
    /// If it [may not strike](Self::may_strike).
    #[track_caller]
    pub(crate) fn must_be_possible(&self) {
        if let Err(never) = self.may_strike() {
            panic!("{never}");
        }
    }
}

/// What a rewrite changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// An answer of GetRecords.
    Page,
    /// Something that answers of GetRecords and events have.
    Records,
    Event,
    Shards,
    Puts,
}

impl Part {
    /// The operation whose answers have it.
    fn of_answers(self) -> Option<Operation> {
        match self {
            Self::Page | Self::Records => Some(Operation::GetRecords),
            Self::Shards => Some(Operation::ListShards),
            Self::Puts => Some(Operation::PutRecords),
            Self::Event => None,
        }
    }

    fn is_of_events(self) -> bool {
        matches!(self, Self::Records | Self::Event)
    }

    fn meant(self) -> &'static str {
        match self {
            Self::Page => "it is for GetRecords",
            Self::Records => {
                "it is for GetRecords, and for events of subscriptions (`events`, or `Fault::in_stream`)"
            }
            Self::Event => "it is for events of subscriptions (`Fault::in_stream`)",
            Self::Shards => "it is for ListShards",
            Self::Puts => "it is for PutRecords",
        }
    }
}

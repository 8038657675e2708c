use std::{fmt, time::Duration};

use kinesis_source::{NextToken, ShardId, ShardIterator};

use super::{Rewrite, expression};
use crate::model::{Operation, Refusal, Refusing, Service};

/// What a fault does to the calls that it strikes.
#[derive(Clone, PartialEq)]
pub(super) enum Effect {
    /// The call is not carried out and is refused with that code.
    Refuse { code: String },
    /// Of a PutRecords, about that share of the records is refused with that code.
    RefuseRecords { share: f64, code: String },
    /// The call is carried out later.
    Delay(Duration),
    /// The call is carried out when the fault's window ends.
    Hold,
    /// The call is never carried out or answered.
    Hang,
    /// The call is carried out at once and answered later.
    AnswerLate(Duration),
    /// The call is carried out, and the caller hears nothing of it.
    LoseAnswer,
    /// The same, after so many bytes of the answer.
    CutAnswer { after: u64 },
    /// The answer is changed so that nobody can read it.
    Garble,
    /// The answer is changed so that it reads well and is wrong, or unusual.
    Rewrite(Rewrite),
}

/// What happens to one call.
#[derive(Clone, Debug)]
pub(crate) enum Blow {
    Refuse(Refusal),
    RefuseRecords {
        refusing: Refusing,
        /// The place of its rule, to [take it back](super::Faults::take_back).
        rule: usize,
    },
    Delay(Duration),
    Hang,
    AnswerLate(Duration),
    Spoil(Spoiling),
    Rewrite {
        rewrite: Rewrite,
        draw: u64,
        /// The place of its rule, to [take it back](super::Faults::take_back).
        rule: usize,
    },
}

/// What happens to an answer on its way, after the call has been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoiling {
    /// It gets lost as a whole.
    Lost,
    /// The connection breaks after so many bytes of it.
    Cut { after: u64 },
    /// It is made unreadable, in a way that is drawn.
    Garbled { draw: u64 },
}

impl Effect {
    /// What happens to a call, with `rest` left of the fault's window and a number that was drawn
    /// for the call. The rule at place `rule` says so.
    pub(super) fn blow(
        &self,
        shard: Option<&ShardId>,
        rest: Option<Duration>,
        draw: u64,
        rule: usize,
    ) -> Blow {
        match self {
            Self::Refuse { code } => Blow::Refuse(injected(code)),
            Self::RefuseRecords { share, code } => Blow::RefuseRecords {
                refusing: Refusing {
                    shard: shard.cloned(),
                    share: *share,
                    draw,
                    refusal: injected(code),
                },
                rule,
            },
            Self::Delay(delay) => Blow::Delay(*delay),
            Self::Hold => rest.map_or(Blow::Hang, Blow::Delay),
            Self::Hang => Blow::Hang,
            Self::AnswerLate(delay) => Blow::AnswerLate(*delay),
            Self::LoseAnswer => Blow::Spoil(Spoiling::Lost),
            Self::CutAnswer { after } => Blow::Spoil(Spoiling::Cut { after: *after }),
            Self::Garble => Blow::Spoil(Spoiling::Garbled { draw }),
            Self::Rewrite(rewrite) => Blow::Rewrite {
                rewrite: rewrite.clone(),
                draw,
                rule,
            },
        }
    }

    /// The constructor of [`Fault`](super::Fault) that has this effect, as a Rust expression.
    pub(super) fn write(
        &self,
        operations: &super::Operations,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        match self {
            Self::Refuse { code } => write!(f, "Fault::refusal({operations:?}, {code:?})"),
            Self::RefuseRecords { share, code } => {
                write!(f, "Fault::refused_records({share:?}, {code:?})")
            }
            Self::Delay(by) => {
                let by = expression::duration(*by);
                write!(f, "Fault::delayed({operations:?}, {by})")
            }
            Self::Hold => write!(f, "Fault::held({operations:?})"),
            Self::Hang => write!(f, "Fault::hung({operations:?})"),
            Self::AnswerLate(by) => {
                let by = expression::duration(*by);
                write!(f, "Fault::late_answer({operations:?}, {by})")
            }
            Self::LoseAnswer => write!(f, "Fault::lost_answer({operations:?})"),
            Self::CutAnswer { after } => write!(f, "Fault::cut_answer({operations:?}, {after})"),
            Self::Garble => write!(f, "Fault::garbled_answer({operations:?})"),
            Self::Rewrite(rewrite) => {
                write!(f, "Fault::rewritten({operations:?}, {rewrite:?})")
            }
        }
    }
}

fn injected(code: &str) -> Refusal {
    Refusal::new(code.to_owned(), "This failure was injected by a test.")
}

/// What a call is about.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) operation: Operation,
    pub(crate) about: About,
}

/// What a call names, as far as faults want to know.
#[derive(Clone, Debug)]
pub(crate) enum About {
    /// Nothing smaller than a stream.
    Whole,
    Shard(ShardId),
    /// By its text.
    Iterator(String),
    Token(NextToken),
    /// An event of a subscription to that shard, which is no call.
    Event(ShardId),
}

/// How a call that is answered is made once more.
#[derive(Clone, Debug, Default)]
pub(crate) enum Again {
    Reading(ShardIterator),
    Listing(NextToken),
    /// It need not be known.
    #[default]
    Other,
}

impl Subject {
    /// The shard that it concerns, if it is one.
    pub(crate) fn shard(&self, service: &Service) -> Option<ShardId> {
        match &self.about {
            About::Shard(shard) | About::Event(shard) => Some(shard.clone()),
            About::Iterator(iterator) => service.shard_of(iterator),
            About::Whole | About::Token(_) => None,
        }
    }

    pub(crate) fn again(&self, service: &Service) -> Again {
        match &self.about {
            About::Iterator(iterator) => match service.shard_of(iterator) {
                Some(shard) => Again::Reading(ShardIterator::new(shard, iterator.as_str())),
                None => Again::Other,
            },
            About::Token(token) => Again::Listing(token.clone()),
            About::Whole | About::Shard(_) | About::Event(_) => Again::Other,
        }
    }

    pub(crate) fn whole(operation: Operation) -> Self {
        let about = About::Whole;
        Self { operation, about }
    }

    pub(crate) fn on(operation: Operation, shard: &ShardId) -> Self {
        let about = About::Shard(shard.clone());
        Self { operation, about }
    }

    pub(crate) fn reading(operation: Operation, iterator: &ShardIterator) -> Self {
        let about = About::Iterator(iterator.as_str().to_owned());
        Self { operation, about }
    }

    pub(crate) fn event(operation: Operation, shard: &ShardId) -> Self {
        let about = About::Event(shard.clone());
        Self { operation, about }
    }

    pub(crate) fn listing(operation: Operation, token: Option<&NextToken>) -> Self {
        let about = token.map_or(About::Whole, |token| About::Token(token.clone()));
        Self { operation, about }
    }
}

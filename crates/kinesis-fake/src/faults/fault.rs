use std::{fmt, ops::Range, time::Duration};

use kinesis_source::ShardId;

use super::{
    Operations, Rewrite, Swizzle,
    chance::{Chance, Purpose},
    effect::{Blow, Effect},
    expression,
};
use crate::model::Operation;

/// Something to go wrong: with which calls, when, how often, and what.
///
/// [Injected](crate::Fake::inject) by itself, or a rule of a [`FaultPlan`](super::FaultPlan). It
/// strikes once, unless it says how often or has a probability, a period or a window: then it
/// strikes as often as these let it.
///
/// ```
/// use std::time::Duration;
///
/// use kinesis_fake::{Fake, Fault, Operation, Operations};
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
/// // Nothing works in the second minute from now.
/// let minute = Duration::from_secs(60);
/// fake.inject(Fault::refusal(Operations::ALL, "ServiceUnavailable").between(minute..2 * minute));
/// ```
#[derive(Clone, PartialEq)]
#[must_use = "a fault does nothing until it is injected"]
pub struct Fault {
    pub(super) operations: Operations,
    pub(super) effect: Effect,
    pub(super) in_stream: bool,
    shard: Option<ShardId>,
    when: When,
    after: u64,
    every: u64,
    probability: f64,
    times: Option<u64>,
}

/// When a fault can strike, counted from its begin.
#[derive(Clone, Debug, PartialEq)]
enum When {
    Always,
    Between(Range<Duration>),
    Swizzled(Swizzle),
}

impl Fault {
    /// A call is refused with that code of the service, known or unknown, as `InternalFailure`. It
    /// is not carried out and counts against no limit.
    pub fn refusal(operations: impl Into<Operations>, code: impl Into<String>) -> Self {
        Self::new(operations, Effect::Refuse { code: code.into() })
    }

    /// Of a PutRecords, about that share of the records (from 0 to 1) is refused with that code, as
    /// `ProvisionedThroughputExceededException` or `InternalFailure`, drawn for each by its place. The
    /// others are put. Where that is none of them, the fault has not struck.
    ///
    /// ```
    /// use kinesis_fake::{Fake, Fault};
    ///
    /// let fake = Fake::new(1);
    /// let third = Fault::refused_records(0.33, "ProvisionedThroughputExceededException");
    /// fake.inject(third.always());
    /// ```
    ///
    /// # Panics
    ///
    /// If it is no share.
    #[track_caller]
    pub fn refused_records(share: f64, code: impl Into<String>) -> Self {
        assert!(
            (0.0..=1.0).contains(&share),
            "a share of the records is from 0 to 1, and not {share}"
        );
        let code = code.into();
        Self::new(Operation::PutRecords, Effect::RefuseRecords { share, code })
    }

    /// A call is carried out that much later.
    pub fn delayed(operations: impl Into<Operations>, by: Duration) -> Self {
        Self::new(operations, Effect::Delay(by))
    }

    /// A call waits until the fault's [window](Self::between) ends or its shard is
    /// [released](Self::swizzled), and is carried out then. Without either it waits for ever.
    pub fn held(operations: impl Into<Operations>) -> Self {
        Self::new(operations, Effect::Hold)
    }

    /// A call is neither carried out nor ever answered.
    pub fn hung(operations: impl Into<Operations>) -> Self {
        Self::new(operations, Effect::Hang)
    }

    /// A call is carried out at once, and answered that much later.
    pub fn late_answer(operations: impl Into<Operations>, by: Duration) -> Self {
        Self::new(operations, Effect::AnswerLate(by))
    }

    /// A call is carried out, but its answer gets lost on the way: the caller cannot know. Over
    /// HTTP, the connection breaks.
    pub fn lost_answer(operations: impl Into<Operations>) -> Self {
        Self::new(operations, Effect::LoseAnswer)
    }

    /// A call is carried out, and over HTTP the connection is reset after so many bytes of the
    /// answer, those of its head included. Where there is no HTTP, the answer gets lost.
    pub fn cut_answer(operations: impl Into<Operations>, after: u64) -> Self {
        Self::new(operations, Effect::CutAnswer { after })
    }

    /// A call is carried out, and its answer cannot be read: over HTTP it is a success whose body
    /// breaks off, is no text, is a page of HTML, or has numbers where there should be lists.
    /// Where there is no HTTP, the caller is told as much.
    pub fn garbled_answer(operations: impl Into<Operations>) -> Self {
        Self::new(operations, Effect::Garble)
    }

    /// A call is carried out, and its answer is changed. Each operation that it names must have answers
    /// with such a part: otherwise it [never strikes](Self::may_strike), and cannot be injected.
    pub fn rewritten(operations: impl Into<Operations>, rewrite: Rewrite) -> Self {
        Self::new(operations, Effect::Rewrite(rewrite))
    }

    /// Strikes events of subscriptions that SubscribeToShard has made, instead of calls. A refusal
    /// then comes among the events and ends them, a hang is a subscription that falls silent, and a
    /// lost, cut or unreadable answer breaks it. One that is [held](Self::held) is silent so long.
    ///
    /// ```
    /// use kinesis_fake::{Fault, Operation};
    ///
    /// // Each subscription is taken over, so to say, at its tenth event.
    /// let fault = Fault::refusal(Operation::SubscribeToShard, "ResourceInUseException")
    ///     .in_stream()
    ///     .every(10);
    /// # let _ = fault;
    /// ```
    ///
    /// # Panics
    ///
    /// If it is not about SubscribeToShard: no other call makes events, and it would never strike.
    #[track_caller]
    pub fn in_stream(self) -> Self {
        assert!(
            self.operations.contains(Operation::SubscribeToShard),
            "a fault in a stream is about Operation::SubscribeToShard, which makes its events; not about {:?}",
            self.operations
        );
        Self {
            in_stream: true,
            ..self
        }
    }

    /// Only calls that concern `shard` count: GetShardIterator, GetRecords, SubscribeToShard,
    /// SplitShard and MergeShards (its first shard). Of a PutRecords that [refuses
    /// records](Self::refused_records), those that fall on `shard`. No other call concerns a shard, so that
    /// of [`Operations::ALL`] these count.
    ///
    /// # Panics
    ///
    /// If one of the operations that it names [never](Self::may_be_on_shard) concerns a shard, as PutRecord and
    /// PutRecords: their calls would never be struck.
    #[track_caller]
    pub fn on_shard(self, shard: &ShardId) -> Self {
        if let Some(operation) = self.never_on_shard() {
            panic!(
                "no call of {operation} concerns one shard, so that a fault on {shard} would never strike \
                 it: {OF_SHARDS_SAID}"
            );
        }
        Self {
            shard: Some(shard.clone()),
            ..self
        }
    }

    /// Whether calls of each operation that it names may concern one shard: otherwise it cannot be
    /// [on one](Self::on_shard).
    pub fn may_be_on_shard(&self) -> bool {
        self.never_on_shard().is_none()
    }

    /// Whether it may be [swizzled](Self::swizzled): as [`may_be_on_shard`](Self::may_be_on_shard), and what
    /// [refuses records](Self::refused_records) may not.
    pub fn may_be_swizzled(&self) -> bool {
        !self.is_by_record() && self.may_be_on_shard()
    }

    /// The first operation that it names whose calls concern no shard.
    fn never_on_shard(&self) -> Option<Operation> {
        let mut named = self.operations.named().iter().copied();
        named.find(|it| !self.is_by_record() && !OF_SHARDS.contains(it))
    }

    /// Only calls in that time count, from when it was injected or its plan was begun.
    ///
    /// # Panics
    ///
    /// If the time ends before it begins.
    #[track_caller]
    pub fn between(self, window: Range<Duration>) -> Self {
        assert!(
            window.start <= window.end,
            "a fault's window ends before it begins: {window:?}"
        );
        Self {
            when: When::Between(window),
            ..self
        }
    }

    /// Only calls that concern a shard count, while it is stopped: those that count
    /// [on one](Self::on_shard).
    ///
    /// # Panics
    ///
    /// If one of the operations that it names never concerns a shard, as PutRecord and PutRecords, and if it
    /// [refuses records](Self::refused_records): such calls would never be struck.
    #[track_caller]
    pub fn swizzled(self, swizzle: Swizzle) -> Self {
        assert!(
            self.may_be_swizzled(),
            "a swizzle stops shards, and calls of {:?} do not concern one each, so that they would never be \
             struck: {OF_SHARDS_SAID}",
            self.operations
        );
        Self {
            when: When::Swizzled(swizzle),
            ..self
        }
    }

    /// So many calls pass first.
    pub fn after(self, calls: u32) -> Self {
        Self {
            after: calls.into(),
            ..self
        }
    }

    /// Strikes each so many-th call only. Zero is taken for one.
    pub fn every(self, calls: u32) -> Self {
        Self {
            every: calls.max(1).into(),
            ..self
        }
    }

    /// Strikes with that probability, from 0 to 1, drawn from the plan's seed: for the same seed,
    /// each shard's n-th call is always struck or always spared.
    ///
    /// # Panics
    ///
    /// If it is no probability.
    #[track_caller]
    pub fn with_probability(self, probability: f64) -> Self {
        assert!(
            (0.0..=1.0).contains(&probability),
            "a fault's probability is from 0 to 1, and not {probability}"
        );
        Self {
            probability,
            ..self
        }
    }

    /// Strikes so many times, then never again.
    pub fn times(self, times: u32) -> Self {
        Self {
            times: Some(times.into()),
            ..self
        }
    }

    /// Strikes without end.
    pub fn always(self) -> Self {
        Self {
            times: Some(u64::MAX),
            ..self
        }
    }

    fn new(operations: impl Into<Operations>, effect: Effect) -> Self {
        Self {
            operations: operations.into(),
            effect,
            in_stream: false,
            shard: None,
            when: When::Always,
            after: 0,
            every: 1,
            probability: 1.0,
            times: None,
        }
    }

    /// How often it strikes at most.
    pub(super) fn most(&self) -> u64 {
        let often = self.when != When::Always || self.every > 1 || self.probability < 1.0;
        let usual = if often { u64::MAX } else { 1 };
        self.times.unwrap_or(usual)
    }

    pub(super) fn is_in_stream(&self) -> bool {
        self.in_stream
    }

    /// Whether it strikes some of a call's records, and not the call.
    fn is_by_record(&self) -> bool {
        matches!(self.effect, Effect::RefuseRecords { .. })
    }

    pub(super) fn operations(&self) -> &Operations {
        &self.operations
    }

    /// Whether a call that concerns `shard` is one that counts, and how long it then is until the
    /// window ends, if there is one. `now` is counted from the fault's begin.
    pub(super) fn counts(
        &self,
        shard: Option<&ShardId>,
        now: Duration,
        chance: Chance,
    ) -> Option<Option<Duration>> {
        if !self.is_by_record() && self.shard.is_some() && self.shard.as_ref() != shard {
            return None;
        }
        match &self.when {
            When::Always => Some(None),
            When::Between(window) => window.contains(&now).then(|| Some(window.end - now)),
            When::Swizzled(swizzle) => {
                let stop = swizzle.stop_of(shard?, now, chance)?;
                Some(Some(stop.end - now))
            }
        }
    }

    /// Whether it strikes the `nth` call that counts, which is `nth_here` of its shard.
    pub(super) fn strikes(
        &self,
        nth: u64,
        shard: Option<&ShardId>,
        nth_here: u64,
        chance: Chance,
    ) -> bool {
        nth > self.after
            && (nth - self.after).is_multiple_of(self.every)
            && (self.probability >= 1.0
                || chance.share(Purpose::Strike, shard, nth_here) < self.probability)
    }

    pub(super) fn blow(&self, rest: Option<Duration>, draw: u64, rule: usize) -> Blow {
        self.effect.blow(self.shard.as_ref(), rest, draw, rule)
    }
}

/// The operations whose calls concern one shard.
const OF_SHARDS: [Operation; 5] = [
    Operation::GetShardIterator,
    Operation::GetRecords,
    Operation::SubscribeToShard,
    Operation::SplitShard,
    Operation::MergeShards,
];
const OF_SHARDS_SAID: &str = "those of GetShardIterator, GetRecords, SubscribeToShard, SplitShard and \
                              MergeShards do; of the records of a PutRecords, `Fault::refused_records` on a \
                              shard strikes those that fall there";

/// As a Rust expression.
impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.effect.write(&self.operations, f)?;
        if self.in_stream {
            f.write_str(".in_stream()")?;
        }
        if let Some(shard) = &self.shard {
            write!(f, ".on_shard(&{:?}.into())", shard.to_string())?;
        }
        match &self.when {
            When::Always => {}
            When::Between(window) => {
                let (start, end) = (
                    expression::duration(window.start),
                    expression::duration(window.end),
                );
                write!(f, ".between({start}..{end})")?;
            }
            When::Swizzled(swizzle) => write!(f, ".swizzled({swizzle:?})")?,
        }
        if self.after > 0 {
            write!(f, ".after({})", self.after)?;
        }
        if self.every > 1 {
            write!(f, ".every({})", self.every)?;
        }
        if self.probability < 1.0 {
            write!(f, ".with_probability({:?})", self.probability)?;
        }
        match self.times {
            None => Ok(()),
            Some(u64::MAX) => f.write_str(".always()"),
            Some(times) => write!(f, ".times({times})"),
        }
    }
}

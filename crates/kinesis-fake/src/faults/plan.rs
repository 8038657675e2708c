use std::{fmt, time::Duration};

use super::{
    Fault, Operations, Rewrite, Swizzle,
    chance::{Chance, Purpose},
};
use crate::model::Operation;

/// What is to go wrong, all of it from one seed.
///
/// A [`Fake`](crate::Fake) that [follows](crate::Fake::follow) a plan does the same to the same
/// calls in each run. What is drawn for a call depends on the seed, the rule, the shard and how
/// many calls of that shard the rule has seen, and on no order between shards or tasks.
///
/// `Debug` prints it as a Rust expression, to be pasted into a test. When a test fails, the fake
/// prints it by itself, with what each rule [did](crate::FaultReport).
///
/// ```
/// use std::time::Duration;
///
/// use kinesis_fake::{Fake, Fault, FaultPlan, Operation, Rewrite};
/// use kinesis_source::KinesisApi;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let plan = FaultPlan::new(7)
///     .with(Fault::refusal(Operation::GetRecords, "InternalFailure").with_probability(0.3))
///     .with(Fault::rewritten(Operation::GetRecords, Rewrite::EMPTY_PAGE).every(5))
///     .with(Fault::delayed(Operation::ListShards, Duration::from_secs(9)));
/// let fake = Fake::builder().shards(2).follow(plan).build();
///
/// // Here runs what is to be tested.
/// fake.list_shards(None).await?;
///
/// let report = fake.fault_report();
/// assert_eq!(report.fired(), 1, "{report}");
/// # Ok(())
/// # }
/// ```
///
/// [`drawn`](Self::drawn) draws the rules themselves from a seed, to be run with many seeds.
///
/// [FaultReport]: crate::FaultReport
#[derive(Clone, PartialEq)]
#[must_use = "a plan does nothing until a fake follows it"]
pub struct FaultPlan {
    seed: u64,
    faults: Vec<Fault>,
}

impl FaultPlan {
    /// A plan without any fault yet.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            faults: Vec::new(),
        }
    }

    /// And that goes wrong, too. Where several strike the same call, the first of them does.
    ///
    /// # Panics
    ///
    /// If it [could never strike](Fault::may_strike).
    #[track_caller]
    pub fn with(mut self, fault: Fault) -> Self {
        fault.must_be_possible();
        self.faults.push(fault);
        self
    }

    /// A plan of two to six faults such as the network and the service have on a bad day, within
    /// the first `span`: refusals, delays, late and lost and unreadable answers, empty pages, and
    /// shards that stand still; and of one to three faults that subscriptions have among their
    /// [events](Fault::in_stream): errors, delays, resets, events that cannot be read, and silence. After
    /// `span` all is well, so that a test can wait until what it tests has recovered. It breaks no promise
    /// of the service and lets nobody wait for ever.
    pub fn drawn(seed: u64, span: Duration) -> Self {
        let mut draws = Draws {
            chance: Chance::new(seed, u64::MAX),
            drawn: 0,
        };
        let count = draws.below(5) + 2;
        let mut faults: Vec<_> = (0..count).map(|_| draws.fault(span)).collect();
        // Behind the others, which a seed draws as it did before there were any for events.
        let count = draws.below(3) + 1;
        faults.extend((0..count).map(|_| draws.event_fault(span)));
        Self { seed, faults }
    }

    /// The seed that everything is drawn from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What goes wrong, in the order in which it was added.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

/// As a Rust expression.
impl fmt::Debug for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultPlan::new({})", self.seed)?;
        for fault in &self.faults {
            write!(f, "\n    .with({fault:?})")?;
        }
        Ok(())
    }
}

/// Numbers for [`FaultPlan::drawn`], one after another.
struct Draws {
    chance: Chance,
    drawn: u64,
}

impl Draws {
    fn next(&mut self) -> u64 {
        self.drawn += 1;
        self.chance.draw(Purpose::Plan, None, self.drawn)
    }

    fn below(&mut self, below: u64) -> u64 {
        self.next() % below
    }

    fn one_of<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize].clone()
    }

    fn millis(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.below(most) + 1)
    }

    fn fault(&mut self, span: Duration) -> Fault {
        let operations = self.one_of(&[
            Operation::GetRecords.into(),
            Operation::GetShardIterator.into(),
            Operation::ListShards.into(),
            Operation::DescribeStreamSummary.into(),
            Operations::from([Operation::GetRecords, Operation::GetShardIterator]),
            Operations::ALL,
        ]);
        let fault = match self.below(9) {
            0..=2 => Fault::refusal(operations, self.one_of(CODES)),
            3 => Fault::delayed(operations, self.millis(20_000)),
            4 => Fault::late_answer(operations, self.millis(20_000)),
            5 => Fault::lost_answer(operations),
            6 => Fault::cut_answer(operations, self.below(500)),
            7 => Fault::garbled_answer(operations),
            _ => Fault::rewritten(Operation::GetRecords, Rewrite::EMPTY_PAGE),
        };
        match self.below(4) {
            0 => {
                let swizzle = self.swizzle(span);
                Fault::held([Operation::GetRecords, Operation::GetShardIterator]).swizzled(swizzle)
            }
            1 => fault.between(self.window(span)),
            _ => self.now_and_then(fault, span),
        }
    }

    /// One that events of subscriptions meet with.
    fn event_fault(&mut self, span: Duration) -> Fault {
        let subscribe = Operation::SubscribeToShard;
        let fault = match self.below(10) {
            0..=2 => Fault::refusal(subscribe, self.one_of(EVENT_CODES)),
            3 => Fault::delayed(subscribe, self.millis(20_000)),
            4 => Fault::lost_answer(subscribe),
            5 => Fault::cut_answer(subscribe, self.below(500)),
            6 => Fault::garbled_answer(subscribe),
            // Silence, which is over with the window or when the shard is released.
            7 => {
                return Fault::held(subscribe)
                    .in_stream()
                    .swizzled(self.swizzle(span));
            }
            _ => {
                return Fault::held(subscribe)
                    .in_stream()
                    .between(self.window(span));
            }
        };
        self.now_and_then(fault.in_stream(), span)
    }

    /// With some probability, in a part of `span`.
    fn now_and_then(&mut self, fault: Fault, span: Duration) -> Fault {
        let probability = (self.below(50) + 1) as f64 / 100.0;
        fault
            .between(self.window(span))
            .with_probability(probability)
    }

    fn swizzle(&mut self, span: Duration) -> Swizzle {
        let part = span / 8;
        Swizzle::of((self.below(8) + 2) as f64 / 10.0)
            .from(span.mul_f64(self.below(50) as f64 / 100.0))
            .stopping_over(part)
            .lasting(part)
            .releasing_over(part)
    }

    /// A tenth to a half of `span`, somewhere in it.
    fn window(&mut self, span: Duration) -> std::ops::Range<Duration> {
        let start = self.below(50) as f64 / 100.0;
        let share = (self.below(41) + 10) as f64 / 100.0;
        span.mul_f64(start)..span.mul_f64(start + share)
    }
}

/// What the service says on bad days, and what nobody has heard it say.
const CODES: &[&str] = &[
    "InternalFailure",
    "ServiceUnavailable",
    "ProvisionedThroughputExceededException",
    "LimitExceededException",
    "KMSThrottlingException",
    "ExpiredIteratorException",
    "UnheardOfException",
];

/// What subscriptions end with on bad days: errors that the service's model has among their events, and
/// what nobody has heard it say.
const EVENT_CODES: &[&str] = &[
    "InternalFailureException",
    "LimitExceededException",
    "KMSThrottlingException",
    "ResourceInUseException",
    "UnheardOfException",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_printed_as_the_expression_that_makes_it() {
        let second = Duration::from_secs(1);
        let plan = FaultPlan::new(7)
            .with(
                Fault::refusal(Operation::GetRecords, "X")
                    .on_shard(&"s".into())
                    .after(2)
                    .times(3),
            )
            .with(Fault::hung(Operations::ALL).between(second..90 * second))
            .with(
                Fault::held([Operation::GetRecords, Operation::SplitShard])
                    .swizzled(Swizzle::of(0.5).every(second)),
            )
            .with(
                Fault::rewritten(Operation::GetRecords, Rewrite::NO_LAG)
                    .every(4)
                    .with_probability(0.25)
                    .always(),
            )
            .with(
                Fault::delayed(Operation::SubscribeToShard, Duration::from_millis(1_500))
                    .in_stream(),
            );
        assert_eq!(
            format!("{plan:?}"),
            r#"FaultPlan::new(7)
    .with(Fault::refusal(Operation::GetRecords, "X").on_shard(&"s".into()).after(2).times(3))
    .with(Fault::hung(Operations::ALL).between(Duration::from_secs(1)..Duration::from_secs(90)))
    .with(Fault::held([Operation::GetRecords, Operation::SplitShard]).swizzled(Swizzle::of(0.5).every(Duration::from_secs(1))))
    .with(Fault::rewritten(Operation::GetRecords, Rewrite::NO_LAG).every(4).with_probability(0.25).always())
    .with(Fault::delayed(Operation::SubscribeToShard, Duration::from_millis(1500)).in_stream())"#
        );
    }

    #[test]
    fn a_seed_draws_the_same_plan_again_and_others_draw_others() {
        let span = Duration::from_secs(3_600);
        let plans: Vec<_> = (0..200).map(|seed| FaultPlan::drawn(seed, span)).collect();
        for plan in &plans {
            assert_eq!(plan, &FaultPlan::drawn(plan.seed(), span));
            let (events, calls): (Vec<_>, Vec<_>) = (plan.faults().iter())
                .map(|fault| format!("{fault:?}"))
                .partition(|fault| fault.contains(".in_stream()"));
            assert!((2..=6).contains(&calls.len()), "{plan:?}");
            assert!((1..=3).contains(&events.len()), "{plan:?}");
        }
        let printed = format!("{plans:?}");
        let mut kinds = vec!["refusal", "delayed", "late_answer", "lost_answer"];
        kinds.extend(["cut_answer", "garbled_answer", "EMPTY_PAGE", "swizzled"]);
        for kind in kinds {
            assert!(printed.contains(kind), "no plan has {kind}");
        }
        let events = ["refusal", "delayed", "lost_answer", "cut_answer"];
        for kind in events.into_iter().chain(["garbled_answer", "held"]) {
            let start = format!("Fault::{kind}(Operation::SubscribeToShard");
            let mut rows = printed.split(".with(");
            let found = rows.any(|row| row.starts_with(&start) && row.contains(".in_stream()"));
            assert!(found, "no plan has {kind} of events");
        }
        let mut distinct: Vec<_> = plans
            .iter()
            .map(|plan| format!("{:?}", plan.faults))
            .collect();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), plans.len());
    }
}

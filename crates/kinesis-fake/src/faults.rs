use std::{collections::BTreeMap, time::Duration};

use kinesis_source::ShardId;

use crate::model::{Moment, Service};

mod chance;
mod effect;
mod expression;
mod fault;
mod never;
mod operations;
mod plan;
mod report;
mod rewrite;
mod swizzle;

pub(crate) use effect::{About, Again, Blow, Spoiling, Subject};
pub use fault::Fault;
pub use never::NeverStrikes;
pub use operations::Operations;
pub use plan::FaultPlan;
pub use report::{FaultReport, FaultTally};
pub use rewrite::Rewrite;
pub use swizzle::Swizzle;

use chance::{Chance, Purpose};

/// What is yet to go wrong and what has, in the order in which it came.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Of the plan that was last begun.
    seed: Option<u64>,
    rules: Vec<Rule>,
}

/// A fault at work.
#[derive(Debug)]
struct Rule {
    fault: Fault,
    chance: Chance,
    begun: Moment,
    seen: u64,
    seen_on: BTreeMap<Option<ShardId>, u64>,
    fired: u64,
    /// How often it may still strike.
    left: u64,
    cleared: bool,
}

impl Faults {
    /// One fault more, from now on.
    pub(crate) fn add(&mut self, fault: Fault, now: Moment) {
        let number = self.rules.len() as u64;
        self.rules.push(Rule::new(fault, 0, number, now));
    }

    /// Those of a plan, from now on.
    pub(crate) fn follow(&mut self, plan: &FaultPlan, now: Moment) {
        self.seed = Some(plan.seed());
        let rules = plan.faults().iter().cloned().zip(0..);
        let rules = rules.map(|(fault, number)| Rule::new(fault, plan.seed(), number, now));
        self.rules.extend(rules);
    }

    /// None of them strikes again.
    pub(crate) fn clear(&mut self) {
        for rule in &mut self.rules {
            rule.left = 0;
            rule.cleared = true;
        }
    }

    /// What that rule's last strike did changed nothing: it has not happened.
    pub(crate) fn take_back(&mut self, rule: usize) {
        let Some(rule) = self.rules.get_mut(rule) else {
            return;
        };
        rule.fired -= 1;
        if !rule.cleared {
            rule.left += 1;
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.rules.iter().filter(|rule| rule.left > 0).count()
    }

    /// Whether anything has been planned or injected.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.seed.is_none()
    }

    pub(crate) fn report(&self) -> FaultReport {
        let rows = self.rules.iter().map(|rule| FaultTally {
            fault: rule.fault.clone(),
            seen: rule.seen,
            fired: rule.fired,
        });
        FaultReport {
            seed: self.seed,
            rows: rows.collect(),
        }
    }

    /// What happens to a call. Of several faults that concern it the first to strike does, and
    /// those behind it do not count the call.
    pub(crate) fn strike(
        &mut self,
        subject: &Subject,
        service: &Service,
        now: Moment,
    ) -> Option<Blow> {
        let mut rules = self.rules.iter_mut().enumerate();
        let event = matches!(subject.about, About::Event(_));
        let concerns = |rule: &Rule| {
            let fault = &rule.fault;
            rule.left > 0
                && fault.operations().contains(subject.operation)
                && fault.is_in_stream() == event
        };
        let (mut place, mut first) = rules.find(|(_, rule)| concerns(rule))?;
        let shard = subject.shard(service);
        loop {
            let blow = first.strike(shard.as_ref(), now, place);
            if blow.is_some() {
                return blow;
            }
            (place, first) = rules.find(|(_, rule)| concerns(rule))?;
        }
    }
}

impl Rule {
    fn new(fault: Fault, seed: u64, number: u64, begun: Moment) -> Self {
        Self {
            left: fault.most(),
            fault,
            chance: Chance::new(seed, number),
            begun,
            seen: 0,
            seen_on: BTreeMap::new(),
            fired: 0,
            cleared: false,
        }
    }

    /// Counts a call of its operations, if it counts; what happens to it, if it strikes. `place` is
    /// where this rule stands.
    fn strike(&mut self, shard: Option<&ShardId>, now: Moment, place: usize) -> Option<Blow> {
        let since: Duration = now.since(self.begun);
        let rest = self.fault.counts(shard, since, self.chance)?;
        self.seen += 1;
        let here = self.seen_on.entry(shard.cloned()).or_default();
        *here += 1;
        let here = *here;
        if !self.fault.strikes(self.seen, shard, here, self.chance) {
            return None;
        }
        self.fired += 1;
        self.left -= 1;
        let draw = self.chance.draw(Purpose::Detail, shard, here);
        Some(self.fault.blow(rest, draw, place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Operation, Settings};

    /// A rig without streams: which calls are struck, and by what.
    struct Rig {
        faults: Faults,
        service: Service,
    }

    const START: Moment = Moment::since_epoch(Duration::from_secs(1_000));

    impl Rig {
        fn with(faults: impl IntoIterator<Item = Fault>, seed: u64) -> Self {
            let plan = faults
                .into_iter()
                .fold(FaultPlan::new(seed), FaultPlan::with);
            let mut faults = Faults::default();
            faults.follow(&plan, START);
            let service = Service::new(Settings::default());
            Self { faults, service }
        }

        fn call(&mut self, operation: Operation, shard: Option<&ShardId>, at: u64) -> Option<Blow> {
            let about = shard.cloned().map_or(About::Whole, About::Shard);
            let now = START.plus(Duration::from_secs(at));
            self.faults
                .strike(&Subject { operation, about }, &self.service, now)
        }

        fn reads(&mut self, shard: &ShardId, count: usize) -> Vec<bool> {
            let struck = |_| self.call(Operation::GetRecords, Some(shard), 0).is_some();
            (0..count).map(struck).collect()
        }
    }

    fn refusal() -> Fault {
        Fault::refusal(Operation::GetRecords, "InternalFailure")
    }

    #[test]
    fn a_fault_strikes_its_operation_and_shard_after_and_times_given() {
        let shard: ShardId = "shardId-000000000001".into();
        let mut rig = Rig::with([refusal().on_shard(&shard).after(1).times(2)], 0);
        let other = rig.call(Operation::GetShardIterator, Some(&shard), 0);
        assert!(other.is_none());
        assert!(rig.call(Operation::GetRecords, None, 0).is_none());
        assert_eq!(rig.reads(&shard, 4), [false, true, true, false]);
        assert_eq!(rig.faults.waiting(), 0);
        let report = rig.faults.report();
        assert_eq!((report.rows[0].seen, report.fired()), (3, 2));
    }

    #[test]
    fn a_fault_strikes_once_unless_something_says_how_often() {
        let shard: ShardId = "s".into();
        for (fault, struck) in [
            (refusal(), [true, false, false, false, false, false]),
            (refusal().always(), [true; 6]),
            (refusal().every(3), [false, false, true, false, false, true]),
            (
                refusal().after(1).every(2),
                [false, false, true, false, true, false],
            ),
            (
                refusal().every(2).times(1),
                [false, true, false, false, false, false],
            ),
            (
                refusal().between(Duration::ZERO..Duration::from_secs(1)),
                [true; 6],
            ),
            (refusal().with_probability(0.0), [false; 6]),
        ] {
            let shown = format!("{fault:?}");
            assert_eq!(Rig::with([fault], 0).reads(&shard, 6), struck, "{shown}");
        }
    }

    #[test]
    fn what_is_no_probability_share_or_window_is_refused() {
        let refused = |make: fn() -> Fault| {
            let panic = std::panic::catch_unwind(make).unwrap_err();
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| Some((*panic.downcast_ref::<&str>()?).to_owned()))
                .unwrap()
        };
        for make in [
            || refusal().with_probability(f64::NAN),
            || refusal().with_probability(-0.1),
            || refusal().with_probability(1.1),
            || refusal().swizzled(Swizzle::of(f64::NAN)),
            || refusal().swizzled(Swizzle::of(2.0)),
        ] as [fn() -> Fault; 5]
        {
            let text = refused(make);
            assert!(text.contains("from 0 to 1"), "{text}");
        }
        for make in [
            || Fault::held(Operation::PutRecords).swizzled(Swizzle::of(0.5)),
            || {
                Fault::held([Operation::GetRecords, Operation::PutRecord])
                    .swizzled(Swizzle::of(0.5))
            },
            || Fault::refused_records(0.5, "X").swizzled(Swizzle::of(0.5)),
            || Fault::lost_answer(Operation::PutRecord).on_shard(&"s".into()),
            || Fault::hung([Operation::GetRecords, Operation::ListShards]).on_shard(&"s".into()),
        ] as [fn() -> Fault; 5]
        {
            let text = refused(make);
            assert!(
                text.contains("never") && text.contains("MergeShards"),
                "{text}"
            );
        }
        let text = refused(|| refusal().in_stream());
        assert!(text.contains("Operation::SubscribeToShard"), "{text}");
        let second = Duration::from_secs(1);
        let text = refused(|| refusal().between(Duration::from_secs(2)..Duration::from_secs(1)));
        assert!(text.contains("2s..1s"), "{text}");
        for probability in [0.0, 1.0] {
            let _ = refusal().with_probability(probability);
        }
        let _ = refusal().between(second..second);
        let _ = Fault::refused_records(0.5, "X").on_shard(&"s".into());
        let _ = Fault::hung(Operations::ALL)
            .on_shard(&"s".into())
            .in_stream();
        let _ = Fault::hung(Operations::ALL).swizzled(Swizzle::of(0.5));
    }

    #[test]
    fn a_window_is_counted_from_the_plans_begin() {
        let window = Duration::from_secs(10)..Duration::from_secs(20);
        let mut rig = Rig::with([refusal().between(window)], 0);
        let struck: Vec<_> = [9, 10, 19, 20]
            .into_iter()
            .map(|at| rig.call(Operation::GetRecords, None, at).is_some())
            .collect();
        assert_eq!(struck, [false, true, true, false]);
    }

    #[test]
    fn what_is_held_waits_for_the_end_of_its_window() {
        let window = Duration::from_secs(10)..Duration::from_secs(20);
        let mut rig = Rig::with([Fault::held(Operation::GetRecords).between(window)], 0);
        let blow = rig.call(Operation::GetRecords, None, 13);
        assert!(matches!(blow, Some(Blow::Delay(rest)) if rest == Duration::from_secs(7)));
        let mut rig = Rig::with([Fault::held(Operation::GetRecords)], 0);
        let blow = rig.call(Operation::GetRecords, None, 13);
        assert!(matches!(blow, Some(Blow::Hang)));
    }

    #[test]
    fn the_first_fault_that_strikes_does_and_those_behind_it_do_not_see_the_call() {
        let mut rig = Rig::with(
            [refusal().every(2), Fault::hung(Operations::ALL).always()],
            0,
        );
        let blows: Vec<_> = (0..4)
            .map(|_| rig.call(Operation::GetRecords, None, 0))
            .map(|blow| matches!(blow, Some(Blow::Refuse(_))))
            .collect();
        assert_eq!(blows, [false, true, false, true]);
        let report = rig.faults.report();
        let seen: Vec<_> = report
            .rows
            .iter()
            .map(|row| (row.seen, row.fired))
            .collect();
        assert_eq!(seen, [(4, 2), (2, 2)]);
        assert!(report.all_fired());
    }

    #[test]
    fn chance_strikes_about_as_often_as_told_and_the_same_calls_whatever_others_do() {
        let (one, other): (ShardId, ShardId) = ("one".into(), "other".into());
        let rule = || [refusal().with_probability(0.3)];
        let alone = Rig::with(rule(), 5).reads(&one, 1_000);
        let struck = alone.iter().filter(|struck| **struck).count();
        assert!((250..350).contains(&struck), "{struck}");

        let mut both = Rig::with(rule(), 5);
        let mixed: Vec<_> = (0..1_000)
            .map(|_| {
                both.reads(&other, 2);
                both.reads(&one, 1)[0]
            })
            .collect();
        assert_eq!(mixed, alone);
        assert_ne!(Rig::with(rule(), 6).reads(&one, 1_000), alone);
    }

    #[test]
    fn what_is_cleared_strikes_no_more_and_stays_in_the_report() {
        let shard: ShardId = "s".into();
        let mut rig = Rig::with([refusal().always()], 3);
        assert_eq!(rig.reads(&shard, 1), [true]);
        rig.faults.clear();
        assert_eq!(rig.reads(&shard, 1), [false]);
        assert_eq!(rig.faults.waiting(), 0);
        assert_eq!(
            rig.faults.report().to_string(),
            "faults of seed 3:\n    seen   fired  fault\n       1       1  \
             Fault::refusal(Operation::GetRecords, \"InternalFailure\").always()\n"
        );
    }
}

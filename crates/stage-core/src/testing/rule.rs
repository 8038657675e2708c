use std::{fmt, pin::Pin, sync::Arc, thread};

use super::{
    Broken, Outcome, Parts,
    bench::{Bench, Checked},
    rules,
    watch::{Cut, watched},
};

/// One rule of the kit.
pub struct Rule {
    /// Its short name, such as `D1`.
    pub id: &'static str,
    /// Its name as a test's.
    pub name: &'static str,
    /// What it says.
    pub statement: &'static str,
    /// Whose it is.
    pub who: &'static [Who],
    /// Of what kind it is.
    pub class: Class,
    /// Whether it is about tasks that race.
    pub is_racy: bool,
    check: fn(Bench) -> Work,
}

type Work = Pin<Box<dyn Future<Output = Checked> + Send>>;

/// Whose a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A producer's.
    Producer,
    /// A consumer's.
    Consumer,
    /// A transform's.
    Transform,
    /// The framework's own.
    Core,
}

/// Of what kind a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Always required.
    Required,
    /// Required of what can do it.
    Capability,
    /// The compiler holds it, as far as it can.
    Type,
}

use {Class::*, Who::*};

/// All rules.
pub static RULES: [Rule; 46] = [
    Rule {
        id: "D1",
        name: "d1_never_more_than_asked",
        statement: "No more is delivered than was asked for, and asks add up",
        who: &[Producer, Transform, Core],
        class: Required,
        is_racy: true,
        check: |bench| Box::pin(rules::d1(bench)),
    },
    Rule {
        id: "D2",
        name: "d2_no_lost_wake_up",
        statement: "While something is asked for and there is something, it comes",
        who: &[Producer, Transform, Core],
        class: Required,
        is_racy: true,
        check: |bench| Box::pin(rules::d2(bench)),
    },
    Rule {
        id: "D3",
        name: "d3_zero_demand_is_refused",
        statement: "Demand for nothing is an error, and windows that cannot be are refused",
        who: &[Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::d3(bench)),
    },
    Rule {
        id: "D4",
        name: "d4_demand_without_bound",
        statement: "Demand that cannot be counted is without bound: it neither wraps nor fails",
        who: &[Producer, Transform, Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::d4(bench)),
    },
    Rule {
        id: "D5",
        name: "d5_demand_is_per_subscription",
        statement: "A subscriber that does not ask neither holds up the others nor lends to them",
        who: &[Producer, Core],
        class: Capability,
        is_racy: true,
        check: |bench| Box::pin(rules::d5(bench)),
    },
    Rule {
        id: "D6",
        name: "d6_windows_hold",
        statement: "What is due never exceeds the window's maximum, and more is asked for at its minimum",
        who: &[Consumer, Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::d6(bench)),
    },
    Rule {
        id: "D7",
        name: "d7_buffers_fit_windows",
        statement: "What is buffered along a chain fits into its windows, and without demand nothing is asked for",
        who: &[Transform, Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::d7(bench)),
    },
    Rule {
        id: "D8",
        name: "d8_excess_is_detected",
        statement: "More than was asked for is an error, and is not processed",
        who: &[Consumer, Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::d8(bench)),
    },
    Rule {
        id: "D9",
        name: "d9_demand_of_the_dead",
        statement: "What somebody asked for who has gone is neither given to others nor asked for twice",
        who: &[Core],
        class: Required,
        is_racy: true,
        check: |bench| Box::pin(rules::d9(bench)),
    },
    Rule {
        id: "D10",
        name: "d10_bytes_fit_windows",
        statement: "Bytes in flight fit into the window, but for one event",
        who: &[Producer, Transform, Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::d10(bench)),
    },
    Rule {
        id: "O1",
        name: "o1_order_is_kept",
        statement: "Events come in the order in which they were made, and calls never overlap",
        who: &[Producer, Consumer, Transform, Core],
        class: Required,
        is_racy: true,
        check: |bench| Box::pin(rules::o1(bench)),
    },
    Rule {
        id: "O2",
        name: "o2_keys_stay_in_order",
        statement: "Events of one key stay in order, also over a change of their consumer",
        who: &[Core],
        class: Capability,
        is_racy: true,
        check: |bench| Box::pin(rules::o2(bench)),
    },
    Rule {
        id: "O3",
        name: "o3_all_see_the_same",
        statement: "With broadcast, all see the same from where they joined",
        who: &[Core],
        class: Capability,
        is_racy: false,
        check: |bench| Box::pin(rules::o3(bench)),
    },
    Rule {
        id: "O4",
        name: "o4_each_event_to_one",
        statement: "By demand, each event goes to exactly one",
        who: &[Core],
        class: Capability,
        is_racy: true,
        check: |bench| Box::pin(rules::o4(bench)),
    },
    Rule {
        id: "O5",
        name: "o5_no_hidden_drops",
        statement: "Nothing is made that was not asked for, and what is dropped is reported",
        who: &[Producer, Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::o5(bench)),
    },
    Rule {
        id: "T1",
        name: "t1_told_of_subscriptions_once",
        statement: "A subscription is told of once and first, and one that is there already is refused",
        who: &[Producer, Consumer, Core],
        class: Required,
        is_racy: true,
        check: |bench| Box::pin(rules::t1(bench)),
    },
    Rule {
        id: "T2",
        name: "t2_one_end_and_nothing_after",
        statement: "There is one end, and nothing comes after it",
        who: &[Producer, Transform, Core],
        class: Required,
        is_racy: true,
        check: |bench| Box::pin(rules::t2(bench)),
    },
    Rule {
        id: "T3",
        name: "t3_the_end_needs_no_demand",
        statement: "The end comes without demand, once it is there",
        who: &[Producer, Consumer],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::t3(bench)),
    },
    Rule {
        id: "T4",
        name: "t4_the_end_waits_for_events",
        statement: "The end does not overtake events",
        who: &[Producer, Transform, Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::t4(bench)),
    },
    Rule {
        id: "T5",
        name: "t5_failures_reach_everybody",
        statement: "A failure reaches all subscriptions, with the same reason",
        who: &[Producer, Transform, Core],
        class: Capability,
        is_racy: false,
        check: |bench| Box::pin(rules::t5(bench)),
    },
    Rule {
        id: "T6",
        name: "t6_panics_are_contained",
        statement: "A panic ends its stage alone, and says what it said",
        who: &[Producer, Consumer, Transform, Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::t6(bench)),
    },
    Rule {
        id: "T7",
        name: "t7_after_the_end_all_is_closed",
        statement: "To ask or cancel after the end does nothing",
        who: &[Producer, Consumer, Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::t7(bench)),
    },
    Rule {
        id: "T8",
        name: "t8_every_subscription_is_answered",
        statement: "Whatever a producer is doing, a subscription is answered",
        who: &[Producer, Core],
        class: Capability,
        is_racy: false,
        check: |bench| Box::pin(rules::t8(bench)),
    },
    Rule {
        id: "C1",
        name: "c1_any_thread_asks_and_cancels",
        statement: "To ask and to cancel takes no time, from any thread, as often as one likes",
        who: &[Producer, Consumer, Core],
        class: Required,
        is_racy: true,
        check: |bench| Box::pin(rules::c1(bench)),
    },
    Rule {
        id: "C2",
        name: "c2_silence_after_cancel",
        statement: "After a cancel no more comes than was due, and then nothing",
        who: &[Producer, Consumer, Core],
        class: Required,
        is_racy: true,
        check: |bench| Box::pin(rules::c2(bench)),
    },
    Rule {
        id: "C3",
        name: "c3_cancel_nacks_what_is_in_flight",
        statement: "What is in flight at a cancel is nacked: nothing is lost, nothing acked",
        who: &[Producer, Consumer, Transform, Core],
        class: Required,
        is_racy: true,
        check: |bench| Box::pin(rules::c3(bench)),
    },
    Rule {
        id: "C4",
        name: "c4_dropping_is_cancelling",
        statement: "To drop a handle is to cancel",
        who: &[Consumer, Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::c4(bench)),
    },
    Rule {
        id: "C5",
        name: "c5_nothing_stays_after_cancel",
        statement: "After a cancel no reference, no task and no timer remains",
        who: &[Producer, Consumer, Transform, Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::c5(bench)),
    },
    Rule {
        id: "C6",
        name: "c6_cancels_travel_upstream",
        statement: "The last cancel travels upstream, as the mode says",
        who: &[Producer, Transform, Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::c6(bench)),
    },
    Rule {
        id: "C7",
        name: "c7_races_end_well",
        statement: "A cancel that races with anything ends in one state",
        who: &[Core],
        class: Required,
        is_racy: true,
        check: |bench| Box::pin(rules::c7(bench)),
    },
    Rule {
        id: "C8",
        name: "c8_each_side_sees_one_end",
        statement: "Each side sees the end once, and a cancel is not a failure",
        who: &[Producer, Consumer, Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::c8(bench)),
    },
    Rule {
        id: "R1",
        name: "r1_constant_stack",
        statement: "Neither many asks nor long chains take stack",
        who: &[Producer, Transform, Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::r1(bench)),
    },
    Rule {
        id: "R2",
        name: "r2_idle_is_idle",
        statement: "Without demand or events, nothing is polled",
        who: &[Producer, Consumer, Transform, Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::r2(bench)),
    },
    Rule {
        id: "R3",
        name: "r3_the_slow_stop_nobody",
        statement: "A consumer that hangs stops neither the others, nor cancels, nor the end",
        who: &[Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::r3(bench)),
    },
    Rule {
        id: "R4",
        name: "r4_other_tasks_run",
        statement: "Any number of ready events lets other tasks run",
        who: &[Producer, Consumer, Transform, Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::r4(bench)),
    },
    Rule {
        id: "R5",
        name: "r5_dropping_loses_nothing",
        statement: "To drop a pipeline anywhere loses nothing that is not acked",
        who: &[Producer, Consumer, Transform, Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::r5(bench)),
    },
    Rule {
        id: "R6",
        name: "r6_nothing_is_left",
        statement: "After the end there is no task, no event and no reference",
        who: &[Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::r6(bench)),
    },
    Rule {
        id: "R7",
        name: "r7_all_runtimes_agree",
        statement: "On every runtime the result is the same",
        who: &[Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::r7(bench)),
    },
    Rule {
        id: "A1",
        name: "a1_death_loses_nothing",
        statement: "When a consumer dies, everything it had is nacked",
        who: &[Producer, Core],
        class: Required,
        is_racy: true,
        check: |bench| Box::pin(rules::a1(bench)),
    },
    Rule {
        id: "A2",
        name: "a2_the_mark_stops_at_gaps",
        statement: "The mark is the end of what is acked without a gap",
        who: &[Producer, Core],
        class: Required,
        is_racy: true,
        check: |bench| Box::pin(rules::a2(bench)),
    },
    Rule {
        id: "A3",
        name: "a3_reports_count_once",
        statement: "A second report, a foreign or a stale one is refused and counted",
        who: &[Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::a3(bench)),
    },
    Rule {
        id: "A4",
        name: "a4_dropped_receipts_nack",
        statement: "To drop a receipt is to nack",
        who: &[Consumer, Transform, Core],
        class: Type,
        is_racy: false,
        check: |bench| Box::pin(rules::a4(bench)),
    },
    Rule {
        id: "A5",
        name: "a5_modes_follow_the_table",
        statement: "Modes do as their table says",
        who: &[Consumer, Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::a5(bench)),
    },
    Rule {
        id: "A6",
        name: "a6_restarts_keep_their_bounds",
        statement: "Restarts wait as long as they should, and give up once there are too many",
        who: &[Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::a6(bench)),
    },
    Rule {
        id: "A7",
        name: "a7_old_lives_are_refused",
        statement: "What an earlier generation left is refused",
        who: &[Core],
        class: Required,
        is_racy: true,
        check: |bench| Box::pin(rules::a7(bench)),
    },
    Rule {
        id: "A8",
        name: "a8_drains_finish",
        statement: "A drain finishes what is in flight, or reports it, by its deadline",
        who: &[Core],
        class: Required,
        is_racy: false,
        check: |bench| Box::pin(rules::a8(bench)),
    },
];

/// A small one, so that what takes more and more is seen.
const STACK: usize = 256 * 1024;

impl Rule {
    /// The rule of this short name.
    pub fn find(id: &str) -> Option<&'static Self> {
        RULES.iter().find(|rule| rule.id == id)
    }

    /// Checks it on `parts`, on a thread and a runtime of its own whose clock is paused. Comes back in
    /// any case: see [what it can see](crate::testing#what-it-sees).
    pub fn check(&'static self, parts: &Arc<dyn Parts>, seed: u64) -> Outcome {
        let result = self.try_on(parts, seed);
        Outcome {
            rule: self,
            result: result.unwrap_or_else(|cut| Err(cut.into())),
        }
    }

    /// The same, but tells apart what was cut short.
    pub(super) fn try_on(&'static self, parts: &Arc<dyn Parts>, seed: u64) -> Result<Checked, Cut> {
        if let Some((id, how)) = parts.unfit() {
            return Ok(Err(match id == self.id {
                true => Broken::Failed(how),
                false => Broken::Skipped(format!("it breaks {id} before: {how}")),
            }));
        }
        let work = (self.check)(Bench::new(parts, seed));
        watched(thread::Builder::new().stack_size(STACK), || work)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.statement)
    }
}

/// One test for each of some rules.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_suite {
    ($spec:expr, $check:ident; $($id:literal $name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $crate::testing::suite::$check(&$spec, $id);
            }
        )*
    };
}

use super::{Broken, ConsumerSpec, Outcome, ProducerSpec, Rule, TransformSpec, spec};

/// Panics if the rule is broken.
#[doc(hidden)]
pub fn check_producer_by<S: ProducerSpec>(spec: &S, id: &str) {
    judge(id, |rule| rule.check(&spec::producer_parts(spec), SEED));
}

/// Panics if the rule is broken.
#[doc(hidden)]
pub fn check_consumer_by<S: ConsumerSpec>(spec: &S, id: &str) {
    judge(id, |rule| rule.check(&spec::consumer_parts(spec), SEED));
}

/// Panics if the rule is broken.
#[doc(hidden)]
pub fn check_transform_by<S: TransformSpec>(spec: &S, id: &str) {
    judge(id, |rule| rule.check(&spec::transform_parts(spec), SEED));
}

const SEED: u64 = 1;

fn judge(id: &str, check: impl FnOnce(&'static Rule) -> Outcome) {
    let rule = Rule::find(id).expect("the macro names rules that are there");
    match check(rule).result {
        Ok(()) => {}
        Err(Broken::Skipped(why)) => println!("skipped: {why}"),
        Err(Broken::Failed(how)) => panic!("{rule:?}: {how}"),
    }
}

/// Makes one test for each rule of a producer, of a [`ProducerSpec`](crate::testing::ProducerSpec).
///
/// See the [module](crate::testing).
#[macro_export]
macro_rules! producer_suite {
    ($spec:expr) => {
        $crate::conformance_suite! {
            $spec, check_producer_by;
            "D1" d1_never_more_than_asked
            "D2" d2_no_lost_wake_up
            "D4" d4_demand_without_bound
            "D5" d5_demand_is_per_subscription
            "D10" d10_bytes_fit_windows
            "O1" o1_order_is_kept
            "O5" o5_no_hidden_drops
            "T1" t1_told_of_subscriptions_once
            "T2" t2_one_end_and_nothing_after
            "T3" t3_the_end_needs_no_demand
            "T4" t4_the_end_waits_for_events
            "T5" t5_failures_reach_everybody
            "T6" t6_panics_are_contained
            "T7" t7_after_the_end_all_is_closed
            "T8" t8_every_subscription_is_answered
            "C1" c1_any_thread_asks_and_cancels
            "C2" c2_silence_after_cancel
            "C3" c3_cancel_nacks_what_is_in_flight
            "C5" c5_nothing_stays_after_cancel
            "C6" c6_cancels_travel_upstream
            "C8" c8_each_side_sees_one_end
            "R1" r1_constant_stack
            "R2" r2_idle_is_idle
            "R4" r4_other_tasks_run
            "R5" r5_dropping_loses_nothing
            "A1" a1_death_loses_nothing
            "A2" a2_the_mark_stops_at_gaps
        }
    };
}

/// Makes one test for each rule of a consumer, of a [`ConsumerSpec`](crate::testing::ConsumerSpec).
///
/// See the [module](crate::testing).
#[macro_export]
macro_rules! consumer_suite {
    ($spec:expr) => {
        $crate::conformance_suite! {
            $spec, check_consumer_by;
            "D6" d6_windows_hold
            "D8" d8_excess_is_detected
            "O1" o1_order_is_kept
            "T1" t1_told_of_subscriptions_once
            "T3" t3_the_end_needs_no_demand
            "T6" t6_panics_are_contained
            "T7" t7_after_the_end_all_is_closed
            "C1" c1_any_thread_asks_and_cancels
            "C2" c2_silence_after_cancel
            "C3" c3_cancel_nacks_what_is_in_flight
            "C4" c4_dropping_is_cancelling
            "C5" c5_nothing_stays_after_cancel
            "C8" c8_each_side_sees_one_end
            "R2" r2_idle_is_idle
            "R4" r4_other_tasks_run
            "R5" r5_dropping_loses_nothing
            "A4" a4_dropped_receipts_nack
            "A5" a5_modes_follow_the_table
        }
    };
}

/// Makes one test for each rule of a transform, of a [`TransformSpec`](crate::testing::TransformSpec).
///
/// See the [module](crate::testing).
#[macro_export]
macro_rules! transform_suite {
    ($spec:expr) => {
        $crate::conformance_suite! {
            $spec, check_transform_by;
            "D1" d1_never_more_than_asked
            "D2" d2_no_lost_wake_up
            "D4" d4_demand_without_bound
            "D7" d7_buffers_fit_windows
            "D10" d10_bytes_fit_windows
            "O1" o1_order_is_kept
            "T2" t2_one_end_and_nothing_after
            "T4" t4_the_end_waits_for_events
            "T5" t5_failures_reach_everybody
            "T6" t6_panics_are_contained
            "C3" c3_cancel_nacks_what_is_in_flight
            "C5" c5_nothing_stays_after_cancel
            "C6" c6_cancels_travel_upstream
            "R1" r1_constant_stack
            "R2" r2_idle_is_idle
            "R4" r4_other_tasks_run
            "R5" r5_dropping_loses_nothing
            "A4" a4_dropped_receipts_nack
        }
    };
}

//! What real GenStage did, done again: `cargo test -p stage-core --test genstage -- --nocapture`.
//!
//! The traces were recorded from GenStage 1.3.2. Set `STAGE_CORE_TRACES` to a directory to replay
//! its plain `.jsonl` files of the same format instead of those that are kept here.

#![allow(clippy::unwrap_used)]

mod consumer_supervisor;
mod demand_dispatcher;
mod trace;

use trace::{Tally, Traces};

#[test]
fn genstage_is_replayed() {
    let traces = Traces::find();
    let mut tally = Tally::default();
    for scenario in traces.scenarios("demand_dispatcher") {
        demand_dispatcher::replay(&scenario, &mut tally)
            .unwrap_or_else(|error| panic!("seed {}: {error}", scenario["seed"]));
    }
    println!("{tally}");
    assert!(tally.steps > 0, "no trace was found");
}

/// A replay that cannot fail shows nothing.
#[test]
fn a_corrupt_trace_is_noticed() {
    let scenarios: Vec<_> = Traces::kept().scenarios("demand_dispatcher").collect();
    let mut noticed = 0;
    for scenario in &scenarios {
        for corrupt in [
            trace::swap_batches,
            trace::drop_event,
            trace::move_to_leftover,
        ] {
            let mut corrupted = scenario.clone();
            if corrupt(&mut corrupted) {
                let result = demand_dispatcher::replay(&corrupted, &mut Tally::default());
                assert!(result.is_err(), "seed {} passed", scenario["seed"]);
                noticed += 1;
            }
        }
    }
    assert!(noticed > 500, "only {noticed}");
}

#[test]
fn a_consumer_supervisor_is_replayed() {
    consumer_supervisor::replay_all(&Traces::find());
}

//! What real GenStage did, done again: `cargo test -p stage-core --test genstage -- --nocapture`.
//!
//! The traces were recorded from GenStage 1.3.2. Set `STAGE_CORE_TRACES` to a directory to replay
//! its plain `.jsonl` files of the same format instead of those that are kept here.
//!
//! Compared are who is sent what in which batches, what is left over, discarded or refused, which
//! notices pass when, and what is raised upstream. A step that is done otherwise on purpose is
//! counted under its reason, and what GenStage does there is checked too. From the step on where
//! GenStage is known to be wrong, all is still compared but what is raised; and what must hold in any
//! case is checked to the end, see `account.rs`.

#![allow(clippy::unwrap_used)]

mod account;
mod broadcast_dispatcher;
mod buffer;
mod consumer_batches;
mod consumer_supervisor;
mod corrupt;
mod demand_dispatcher;
mod end_to_end;
mod live;
mod observed;
mod partition_dispatcher;
mod stage;
mod tally;
mod trace;

use serde_json::Value;

use corrupt::{Corruption, OF_BUFFERS, OF_DISPATCHERS};
use tally::Tally;
use trace::Traces;

type Replay = fn(&Value, &mut Tally) -> Result<(), String>;

const FILES: &[(&str, Replay, &[Corruption])] = &[
    (
        "demand_dispatcher",
        demand_dispatcher::replay,
        OF_DISPATCHERS,
    ),
    (
        "broadcast_dispatcher",
        broadcast_dispatcher::replay,
        OF_DISPATCHERS,
    ),
    (
        "partition_dispatcher",
        partition_dispatcher::replay,
        OF_DISPATCHERS,
    ),
    ("buffer", buffer::replay, OF_BUFFERS),
    (
        "consumer_supervisor",
        consumer_supervisor::replay,
        consumer_supervisor::CORRUPTIONS,
    ),
    (
        "consumer_batches",
        consumer_batches::replay,
        consumer_batches::CORRUPTIONS,
    ),
    ("end_to_end", end_to_end::replay, end_to_end::CORRUPTIONS),
];

#[test]
fn genstage_is_replayed() {
    let traces = Traces::find();
    let mut tallies = Vec::new();
    for &(name, replay, _) in FILES {
        let (mut tally, mut steps) = (Tally::of(name), 0);
        for scenario in traces.scenarios(name) {
            steps += trace::steps(&scenario)
                .len()
                .max(usize::from(scenario.get("kind").is_some()));
            replay(&scenario, &mut tally)
                .unwrap_or_else(|error| panic!("{name}, seed {}: {error}", scenario["seed"]));
        }
        assert!(steps > 0, "no trace was found");
        assert_eq!(tally.steps, steps, "steps were left out");
        assert_eq!(tally.identical + tally.different + tally.set_aside(), steps);
        tallies.push(tally);
    }
    tally::print(&tallies);
}

/// A replay that cannot fail shows nothing.
#[test]
fn a_corrupt_trace_is_noticed() {
    for &(name, replay, corruptions) in FILES {
        let scenarios: Vec<_> = Traces::kept().scenarios(name).collect();
        let mut noticed = 0;
        println!("{name}:");
        for (what, corrupt) in corruptions {
            let mut places = 0;
            for scenario in &scenarios {
                let mut corrupted = scenario.clone();
                if corrupt(&mut corrupted) {
                    let result = replay(&corrupted, &mut Tally::default());
                    assert!(result.is_err(), "{name}, seed {}: {what}", scenario["seed"]);
                    places += 1;
                }
            }
            println!("  {places:>4} noticed: {what}");
            noticed += places;
        }
        println!("  {noticed:>4} in all");
        assert!(noticed > 300, "only {noticed} of {name}");
    }
}

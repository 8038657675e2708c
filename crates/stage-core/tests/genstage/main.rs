//! What real GenStage did, done again: `cargo test -p stage-core --test genstage -- --nocapture`.
//!
//! The traces were recorded from GenStage 1.3.2. Set `STAGE_CORE_TRACES` to a directory to replay
//! its plain `.jsonl` files of the same format instead of those that are kept here.
//!
//! Compared are who is sent what in which batches, what is left over, buffered, discarded or refused,
//! which notices pass when, what is raised upstream or asked of whom, and who is told of which
//! subscriptions and ends. A step that is done otherwise on purpose is counted under its reason, and
//! what GenStage does there is checked too. From the step on where GenStage is known to be wrong, what
//! must hold in any case is checked to the end, see `account.rs` and `invariants.rs`.
//!
//! Dispatchers and the buffer are replayed on machines, stages on stages that run, and what a consumer
//! and a pool decide on both. Where a step comes out as recorded only since the replay lends a hand,
//! as with a dispatcher that counts as GenStage's do, that is counted beside.

#![allow(clippy::unwrap_used)]

mod account;
mod bounded;
mod broadcast_dispatcher;
mod buffer;
mod consumer_batches;
mod consumer_stage;
mod consumer_supervisor;
mod corrupt;
mod corrupt_stages;
mod couriers;
mod deeds;
mod demand_dispatcher;
mod downstream;
mod drift;
mod end_to_end;
mod invariants;
mod lanes;
mod live;
mod observed;
mod partition_dispatcher;
mod policy;
mod pool_stage;
mod producer_consumer_stage;
mod producer_stage;
mod raised;
mod stage;
mod takers;
mod tally;
mod terms;
mod trace;

use serde_json::Value;

use corrupt::{Corruption, OF_BUFFERS, OF_DISPATCHERS};
use corrupt_stages::OF_STAGES;
use tally::Tally;
use trace::Traces;

type Replay = fn(&Value, &mut Tally) -> Result<(), String>;

/// A file, and how it is replayed.
struct File {
    name: &'static str,
    /// What is printed.
    title: &'static str,
    replay: Replay,
    corruptions: &'static [Corruption],
    /// How much of what is undisputed must be identical.
    least: f64,
}

const fn file(name: &'static str, replay: Replay, corruptions: &'static [Corruption]) -> File {
    File {
        name,
        title: name,
        replay,
        corruptions,
        least: 0.99,
    }
}

const FILES: [File; 11] = [
    file(
        "demand_dispatcher",
        demand_dispatcher::replay,
        OF_DISPATCHERS,
    ),
    file(
        "broadcast_dispatcher",
        broadcast_dispatcher::replay,
        OF_DISPATCHERS,
    ),
    file(
        "partition_dispatcher",
        partition_dispatcher::replay,
        OF_DISPATCHERS,
    ),
    file("buffer", buffer::replay, OF_BUFFERS),
    file(
        "consumer_supervisor",
        consumer_supervisor::replay,
        consumer_supervisor::CORRUPTIONS,
    ),
    File {
        title: "  on a pool",
        ..file(
            "consumer_supervisor",
            pool_stage::replay,
            consumer_supervisor::CORRUPTIONS,
        )
    },
    file(
        "consumer_batches",
        consumer_batches::replay,
        consumer_batches::CORRUPTIONS,
    ),
    File {
        title: "  on a stage",
        // Many of its steps bring what was not asked for.
        least: 0.97,
        ..file("consumer_batches", consumer_stage::replay, OF_STAGES)
    },
    file("producer_stage", producer_stage::replay, OF_STAGES),
    file(
        "producer_consumer_stage",
        producer_consumer_stage::replay,
        OF_STAGES,
    ),
    file("end_to_end", end_to_end::replay, end_to_end::CORRUPTIONS),
];

#[test]
fn genstage_is_replayed() {
    let traces = Traces::find();
    let (mut tallies, mut failures) = (Vec::new(), Vec::new());
    for file in FILES {
        let Some(scenarios) = traces.scenarios(file.name) else {
            println!("{}: there is no such file in the directory", file.name);
            continue;
        };
        let mut tally = Tally::of(file.title);
        for scenario in scenarios {
            let before = tally.steps;
            let steps = trace::steps(&scenario)
                .len()
                .max(usize::from(scenario.get("kind").is_some()));
            if let Err(error) = (file.replay)(&scenario, &mut tally) {
                failures.push(format!(
                    "{}, seed {}: {error}",
                    file.title, scenario["seed"]
                ));
                tally.give_up((before + steps).saturating_sub(tally.steps));
            }
            assert_eq!(tally.steps, before + steps, "steps were left out");
        }
        assert!(tally.steps > 0, "no trace was found");
        assert_eq!(
            tally.identical + tally.different + tally.unexplained + tally.set_aside(),
            tally.steps
        );
        // Other traces may have what is done otherwise on purpose a little more often.
        let least = file.least - if traces.are_kept() { 0.0 } else { 0.01 };
        if tally.share() < least {
            failures.push(format!("{}: too much differs", file.title));
        }
        tallies.push(tally);
    }
    tally::print(&tallies);
    assert!(!tallies.is_empty(), "no trace was found");
    assert!(failures.is_empty(), "{failures:#?}");
}

/// A replay that cannot fail shows nothing.
#[test]
fn a_corrupt_trace_is_noticed() {
    for File {
        name,
        title,
        replay,
        corruptions,
        ..
    } in FILES
    {
        let scenarios: Vec<_> = Traces::kept().scenarios(name).unwrap().collect();
        let mut noticed = 0;
        println!("{title}:");
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

//! What real GenStage did, done again: `cargo test -p stage-core --test genstage -- --nocapture`.
//!
//! The traces were recorded from GenStage 1.3.2. Set `STAGE_CORE_TRACES` to a directory to replay
//! its plain `.jsonl` files of the same format instead of those that are kept here. Of those that are
//! kept, `File::least` must be identical; of others, whatever differs must have a reason that is listed.
//!
//! Compared are who is sent what in which batches, what is left over, buffered, discarded or refused,
//! which notices pass when, what is raised upstream or asked of whom, and who is told of which
//! subscriptions and ends. A step that is done otherwise on purpose is counted under its reason, and
//! what GenStage does there is checked too. From the step on where GenStage is known to be wrong, what
//! must hold in any case is checked to the end, see `account.rs` and `invariants.rs`.
//!
//! A log must be in order, as far as one thing follows from another: see `order.rs`. What nobody knows, be it a
//! field, a kind of step or of entry, fails the replay: see `known.rs`.
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
mod files;
mod given;
mod invariants;
mod known;
mod lanes;
mod live;
mod mutated;
mod observed;
mod order;
mod outcome;
mod partition_dispatcher;
mod policy;
mod pool_stage;
mod producer_consumer_stage;
mod producer_stage;
mod raised;
mod said;
mod stage;
mod takers;
mod tally;
mod terms;
mod trace;

use files::FILES;
use tally::Tally;
use trace::Traces;

#[test]
fn genstage_is_replayed() {
    let traces = Traces::find();
    let (tallies, mut failures) = files::replay_all(&traces);
    for file in FILES
        .iter()
        .filter(|file| traces.scenarios(file.name).is_none())
    {
        println!("{}: there is no such file in the directory", file.name);
    }
    tally::print(&tallies);
    if traces.are_kept() {
        failures.extend(files::too_different(&tallies));
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// A replay that cannot fail shows nothing.
#[test]
fn a_corrupt_trace_is_noticed() {
    for file in FILES {
        let name = file.name;
        let scenarios: Vec<_> = Traces::kept().scenarios(name).unwrap().collect();
        let mut noticed = 0;
        println!("{}:", file.title);
        for (what, corrupt) in file.corruptions {
            let mut places = 0;
            for scenario in &scenarios {
                let mut corrupted = scenario.clone();
                if corrupt(&mut corrupted) {
                    let result = file.verdict(&corrupted, &mut Tally::default());
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

//! Which files there are, and what all of them come to.

use std::{
    cell::RefCell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

use serde_json::Value;

use crate::{
    broadcast_dispatcher, buffer, consumer_batches, consumer_stage, consumer_supervisor,
    corrupt::{Corruption, OF_BUFFERS, OF_DISPATCHERS},
    corrupt_stages::OF_STAGES,
    demand_dispatcher, end_to_end, known, partition_dispatcher, pool_stage,
    producer_consumer_stage, producer_stage,
    tally::Tally,
    trace::{self, Traces},
};

pub(crate) type Replay = fn(&Value, &mut Tally) -> Result<(), String>;

/// A file, and how it is replayed.
#[derive(Clone, Copy)]
pub(crate) struct File {
    pub(crate) name: &'static str,
    /// What is printed.
    pub(crate) title: &'static str,
    pub(crate) replay: Replay,
    pub(crate) corruptions: &'static [Corruption],
    /// How much of what is undisputed must be identical, in the traces that are kept.
    least: f64,
}

const fn file(name: &'static str, replay: Replay, corruptions: &'static [Corruption]) -> File {
    File {
        name,
        title: name,
        replay,
        corruptions,
        least: 1.0,
    }
}

/// One where some of what is done is another on purpose.
const fn differing(file: File) -> File {
    File {
        least: 0.99,
        ..file
    }
}

pub(crate) const FILES: [File; 11] = [
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
    differing(file(
        "partition_dispatcher",
        partition_dispatcher::replay,
        OF_DISPATCHERS,
    )),
    file("buffer", buffer::replay, OF_BUFFERS),
    file(
        "consumer_supervisor",
        consumer_supervisor::replay,
        consumer_supervisor::CORRUPTIONS,
    ),
    File {
        title: "  on a pool",
        ..differing(file(
            "consumer_supervisor",
            pool_stage::replay,
            consumer_supervisor::CORRUPTIONS,
        ))
    },
    file(
        "consumer_batches",
        consumer_batches::replay,
        consumer_batches::CORRUPTIONS,
    ),
    File {
        title: "  on a stage",
        ..file("consumer_batches", consumer_stage::replay, OF_STAGES)
    },
    differing(file("producer_stage", producer_stage::replay, OF_STAGES)),
    differing(file(
        "producer_consumer_stage",
        producer_consumer_stage::replay,
        OF_STAGES,
    )),
    file("end_to_end", end_to_end::replay, end_to_end::CORRUPTIONS),
];

/// Replays every scenario of every file, to its end. Returns what each file comes to, and what differs
/// for no reason that is listed.
pub(crate) fn replay_all(traces: &Traces) -> (Vec<Tally>, Vec<String>) {
    let (mut tallies, mut failures) = (Vec::new(), Vec::new());
    for file in FILES {
        // A given directory need not have all of them.
        let Some(scenarios) = traces.scenarios(file.name) else {
            continue;
        };
        let mut tally = Tally::of(file.title);
        for scenario in scenarios {
            failures.extend(file.count(&scenario, &mut tally));
        }
        tallies.push(tally);
    }
    for name in traces.unknown(&FILES.map(|file| file.name)) {
        failures.push(format!("{name}: nothing is known of such a file"));
    }
    if tallies.iter().all(|tally| tally.scenarios == 0) {
        failures.push("no trace was found".to_owned());
    }
    (tallies, failures)
}

/// Which of the files that are kept have fewer steps that are identical than they had.
pub(crate) fn too_different(tallies: &[Tally]) -> Vec<String> {
    let both = FILES.iter().zip(tallies);
    let too_different = both.filter(|(file, tally)| tally.share() < file.least);
    too_different
        .map(|(file, tally)| format!("{}: only {} are identical", file.title, tally.share()))
        .collect()
}

impl File {
    /// Replays a scenario, and counts each of its steps. Returns what is wrong with it.
    fn count(&self, scenario: &Value, tally: &mut Tally) -> Option<String> {
        let before = tally.steps;
        // A scenario of whole pipelines is one step.
        let steps = match scenario.get("kind") {
            Some(_) => 1,
            None => trace::steps(scenario).len(),
        };
        let error = self.verdict(scenario, tally).err();
        if error.is_some() {
            tally.give_up((before + steps).saturating_sub(tally.steps));
        }
        assert_eq!(tally.steps, before + steps, "steps were left out");
        assert_eq!(
            tally.identical + tally.different + tally.unexplained + tally.set_aside(),
            tally.steps
        );
        error.map(|error| format!("{}, seed {}: {error}", self.title, scenario["seed"]))
    }

    /// What the replay says, also of what it cannot read.
    pub(crate) fn verdict(&self, scenario: &Value, tally: &mut Tally) -> Result<(), String> {
        if !self.is_of(scenario) {
            return Err("it belongs into another file".to_owned());
        }
        known::check(self.name, scenario)?;
        quietly(|| (self.replay)(scenario, tally)).unwrap_or_else(Err)
    }

    /// Whether a scenario says that it belongs into this file, if scenarios of it do say so.
    fn is_of(&self, scenario: &Value) -> bool {
        let stage = match self.name {
            "consumer_batches" => Some("consumer"),
            name => name.strip_suffix("_stage"),
        };
        match self.name.strip_suffix("_dispatcher") {
            Some(dispatcher) => scenario["dispatcher"] == dispatcher,
            None => stage.is_none_or(|stage| scenario["stage"] == stage),
        }
    }
}

thread_local! {
    /// While somebody catches panics on this thread: what the last one said.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Calls `replay`, and returns what it says if it panics instead of printing it.
fn quietly<T>(replay: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let is_caught = PANIC.with_borrow_mut(|last| {
                last.as_mut()
                    .map(|last| *last = panic.to_string())
                    .is_some()
            });
            if !is_caught {
                loud(panic);
            }
        }));
    });
    PANIC.set(Some(String::new()));
    let result = panic::catch_unwind(AssertUnwindSafe(replay));
    let said = PANIC.take().unwrap_or_default();
    result.map_err(|_| said)
}

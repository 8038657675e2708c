//! Traces of whoever runs this: few, others, and wrong ones.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    files::{FILES, replay_all},
    trace::Traces,
};

/// An empty directory.
fn directory(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // The last run may have left one.
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn write(dir: &Path, name: &str, scenarios: &[Value]) {
    // Somebody may have ended the file by an empty line.
    let lines: String = scenarios.iter().map(|it| format!("{it}\n")).collect();
    fs::write(dir.join(format!("{name}.jsonl")), lines + "\n").unwrap();
}

fn kept(name: &str) -> Vec<Value> {
    Traces::kept().scenarios(name).unwrap().collect()
}

fn failures(dir: &Path) -> Vec<String> {
    replay_all(&Traces::given(dir)).1
}

/// However few, and however many of their steps differ: it is enough that each has a reason.
#[test]
fn any_part_of_the_traces_passes() {
    let partition = kept("partition_dispatcher");
    let name = "the_few";
    let mut least = 1.0;
    for few in partition.chunks(3) {
        let dir = directory(name);
        write(&dir, "partition_dispatcher", few);
        let (tallies, failures) = replay_all(&Traces::given(&dir));
        assert_eq!(failures, [""; 0]);
        assert_eq!((tallies.len(), tallies[0].scenarios), (1, few.len()));
        least = f64::min(least, tallies[0].share());
    }
    assert!(least < 0.98, "in no part are there many that differ");
}

#[test]
fn a_step_that_differs_without_a_reason_fails() {
    let dir = directory("the_wrong");
    let mut scenarios = kept("demand_dispatcher");
    scenarios.truncate(2);
    write(&dir, "demand_dispatcher", &scenarios);
    assert_eq!(failures(&dir), [""; 0]);
    let steps = scenarios[1]["steps"].as_array_mut().unwrap();
    let asked = steps.iter_mut().find(|step| step["op"] == "ask");
    asked.unwrap()["demand"] = 1_000_000.into();
    write(&dir, "demand_dispatcher", &scenarios);
    let failures = failures(&dir);
    assert_eq!(failures.len(), 1);
    let seed = scenarios[1]["seed"].to_string();
    assert!(failures[0].contains(&seed), "{failures:?}");
}

/// A trace that the replay does not understand fails as one that is wrong, and the others are replayed
/// nevertheless.
#[test]
fn what_nobody_understands_fails_alone() {
    let dir = directory("the_strange");
    let mut scenarios = kept("demand_dispatcher");
    scenarios.truncate(3);
    let steps = scenarios[1]["steps"].as_array_mut().unwrap();
    let asked = steps.iter_mut().find(|step| step["op"] == "ask");
    asked.unwrap()["op"] = "dance".into();
    write(&dir, "demand_dispatcher", &scenarios);
    let (tallies, failures) = replay_all(&Traces::given(&dir));
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(failures[0].contains("dance"), "{failures:?}");
    let all = scenarios
        .iter()
        .map(|it| it["steps"].as_array().unwrap().len());
    assert_eq!(tallies[0].steps, all.sum::<usize>());
    assert!(tallies[0].identical > 0);
}

#[test]
fn a_directory_without_traces_or_with_unknown_ones_fails() {
    let dir = directory("the_empty");
    assert_eq!(failures(&dir), ["no trace was found"]);
    write(&dir, "demand_dispatcher", &[]);
    assert_eq!(failures(&dir), ["no trace was found"]);
    write(&dir, FILES[0].name, &kept(FILES[0].name)[..1]);
    fs::write(dir.join("README.md"), "no trace").unwrap();
    assert_eq!(failures(&dir), [""; 0]);
    write(&dir, "another", &[]);
    assert_eq!(
        failures(&dir),
        ["another.jsonl: nothing is known of such a file"]
    );
}

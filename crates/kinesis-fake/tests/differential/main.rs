//! The same calls made of our server and of servers that others wrote. What differs has a reason in
//! `DIFFERENCES.md`, or fails.
//!
//! kinesalite is installed by `.ci/kinesalite`, moto by `.ci/clients install`. Where one of them is
//! missing, what it would be compared in is skipped, but in CI.
//!
//! Other sequences are drawn with `DIFFERENTIAL_SEED`, a number, and as many as `DIFFERENTIAL_COUNT`
//! says. What fails names its seed.
#![allow(clippy::unwrap_used)]

mod account;
mod differences;
mod scripts;
mod servers;
mod step;

use std::{collections::BTreeSet, fmt::Write};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use serde_json::Value;
use tokio::runtime::Runtime;

use self::{
    account::Account,
    differences::{DIFFERENCES, Other},
    servers::Servers,
    step::Step,
};

/// Sequences of calls that are drawn, beside those that are written down, unless told otherwise.
const DRAWN: u32 = 60;
/// What they are drawn from, unless told otherwise.
const SEED: u64 = 1;

#[test]
fn kinesalite_differs_where_that_is_explained_and_nowhere_else() {
    compare(Other::Kinesalite);
}

#[test]
fn moto_differs_where_that_is_explained_and_nowhere_else() {
    compare(Other::Moto);
}

#[test]
fn each_difference_that_is_looked_for_is_explained_and_the_other_way_round() {
    let text = include_str!("../../DIFFERENCES.md");
    let explained: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    let looked_for: BTreeSet<_> = DIFFERENCES.iter().map(|it| it.name).collect();
    assert_eq!(explained, looked_for);
}

fn compare(other: Other) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let Some(servers) = runtime.block_on(Servers::start(other)) else {
        return;
    };
    let mut seen = BTreeSet::new();
    for script in scripts::all() {
        let run = runtime.block_on(servers.run(&script));
        seen.extend(explained(other, &script, &run).unwrap_or_else(|why| panic!("{why}")));
    }
    let drawn = draw(&runtime, &servers);
    seen.extend(drawn);
    let looked_for = DIFFERENCES.iter().filter(|it| it.other == other);
    let unseen: Vec<_> = looked_for
        .map(|it| it.name)
        .filter(|it| !seen.contains(it))
        .collect();
    assert!(unseen.is_empty(), "explained and never seen: {unseen:?}");
}

fn draw(runtime: &Runtime, servers: &Servers) -> BTreeSet<&'static str> {
    let seed = number("DIFFERENTIAL_SEED").unwrap_or(SEED);
    let count = number("DIFFERENTIAL_COUNT").unwrap_or(DRAWN.into());
    let config = Config {
        cases: u32::try_from(count).unwrap(),
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, random);
    let seen = std::cell::RefCell::new(BTreeSet::new());
    let steps = proptest::collection::vec(step::drawn(), 1..25).prop_map(Vec::from);
    let ran = runner.run(&steps, |steps| {
        let run = runtime.block_on(servers.run(&steps));
        let found = explained(servers.other, &steps, &run).map_err(TestCaseError::fail)?;
        seen.borrow_mut().extend(found);
        Ok(())
    });
    if let Err(error) = ran {
        panic!("DIFFERENTIAL_SEED={seed} DIFFERENTIAL_COUNT={count}: {error}");
    }
    seen.into_inner()
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

/// What each of both answered to each step.
type Run = Vec<(Value, Value)>;

/// The differences that were seen; or the first that has no explanation.
fn explained(other: Other, steps: &[Step], run: &Run) -> Result<Vec<&'static str>, String> {
    let mut seen = Vec::new();
    for (position, (step, (ours, theirs))) in steps.iter().zip(run).enumerate() {
        let mut rest = (ours.clone(), theirs.clone());
        for difference in DIFFERENCES.iter().filter(|it| it.other == other) {
            let differ = rest.0 != rest.1;
            if differ && (difference.take_out)(step, &mut rest.0, &mut rest.1) {
                seen.push(difference.name);
            }
        }
        if rest.0 != rest.1 {
            return Err(unexplained(other, &steps[..=position], run, &rest));
        }
        // What follows from it is no difference of its own: from here on, both are elsewhere.
        if differences::part_ways(other, step, ours, theirs) {
            break;
        }
    }
    Ok(seen)
}

fn unexplained(other: Other, steps: &[Step], run: &Run, rest: &(Value, Value)) -> String {
    let mut why = format!("{other:?} differs, and that is not explained\n");
    for (step, (ours, theirs)) in steps.iter().zip(run) {
        let _ = writeln!(why, "{step:?}\n    ours:   {ours}\n    theirs: {theirs}");
    }
    let mut where_it_is = Vec::new();
    differences::differing(&rest.0, &rest.1, "", &mut where_it_is);
    why + &where_it_is.join("\n")
}

impl Servers {
    /// Takes the steps on both servers, on a new stream.
    async fn run(&self, steps: &[Step]) -> Run {
        let name = self.new_name();
        let mut ours = Account::new(self.ours.clone(), &name).await;
        let mut theirs = Account::new(self.theirs.clone(), &name).await;
        let mut run = Vec::new();
        for step in steps {
            run.push((ours.take(step).await, theirs.take(step).await));
        }
        ours.remove().await;
        theirs.remove().await;
        run
    }
}

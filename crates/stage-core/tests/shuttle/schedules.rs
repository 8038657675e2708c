//! How a rule is tried.

use std::env;

use shuttle::{
    Config, MaxSteps, Runner,
    future::block_on,
    scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler},
};

const SCHEDULES: usize = 2_000;

/// For a fault that shows in one schedule of thousands.
const MANY: usize = 20_000;

/// How often a PCT schedule interrupts who runs.
const DEPTH: usize = 3;

/// Longer than any test takes that goes on at all.
const MAX_STEPS: usize = 100_000;

/// What is tried: one run of it.
pub(crate) trait Rule: AsyncFn() + Copy + Send + Sync + 'static {}

impl<R: AsyncFn() + Copy + Send + Sync + 'static> Rule for R {}

/// Tries a rule under random schedules.
pub(crate) fn random(rule: impl Rule) {
    if !is_replayed(rule) {
        run(RandomScheduler::new(SCHEDULES), rule);
    }
}

/// Tries a rule that takes few steps under many random schedules.
pub(crate) fn often(rule: impl Rule) {
    if !is_replayed(rule) {
        run(RandomScheduler::new(MANY), rule);
    }
}

/// Tries a small rule under random schedules, and under as many that interrupt seldom.
pub(crate) fn random_and_pct(rule: impl Rule) {
    if !is_replayed(rule) {
        run(RandomScheduler::new(SCHEDULES), rule);
        run(PctScheduler::new(DEPTH, SCHEDULES), rule);
    }
}

/// Does what a failure has printed, if that is wanted.
fn is_replayed(rule: impl Rule) -> bool {
    let schedule = env::var("SHUTTLE_SCHEDULE");
    if let Ok(schedule) = &schedule {
        run(ReplayScheduler::new_from_encoded(schedule), rule);
    }
    schedule.is_ok()
}

fn run(scheduler: impl Scheduler + 'static, rule: impl Rule) {
    let mut config = Config::new();
    config.stack_size = 256 * 1024;
    config.max_steps = MaxSteps::FailAfter(MAX_STEPS);
    // That it takes every ordering for the strictest is known.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(move || block_on(rule()));
}

//! Each fault is tried with twenty seeds, and has to have mattered in nearly all of them.

use std::{env, panic::AssertUnwindSafe, time::Duration};

use tokio::{runtime::Builder, time::timeout};

/// Whether a fault was met at all. Where it was not, a scenario has shown nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Mattered {
    Yes,
    No,
}

impl From<bool> for Mattered {
    fn from(mattered: bool) -> Self {
        if mattered { Self::Yes } else { Self::No }
    }
}

/// How many seeds; more with `FAULT_SEEDS=200`. One alone with `FAULT_SEED=17`.
fn seeds() -> Vec<u64> {
    let number = |name| {
        env::var(name)
            .ok()
            .and_then(|text: String| text.parse().ok())
    };
    match (number("FAULT_SEED"), number("FAULT_SEEDS")) {
        (Some(only), _) => vec![only],
        (None, count) => (0..count.unwrap_or(20)).collect(),
    }
}

/// Plays a scenario with each seed, in paused time. It fails if it does not come to an end, and if the
/// fault mattered with fewer than 95 of 100 seeds.
#[track_caller]
pub(crate) fn each_seed(scenario: impl AsyncFn(u64) -> Mattered) {
    let seeds = seeds();
    let mut mattered = 0;
    for &seed in &seeds {
        let play = AssertUnwindSafe(|| play(&scenario, seed));
        match std::panic::catch_unwind(play) {
            Ok(met) => mattered += usize::from(met == Mattered::Yes),
            Err(panic) => {
                eprintln!("it was seed {seed}: try it alone with FAULT_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert!(
        mattered * 100 >= seeds.len() * 95,
        "the fault mattered with {mattered} of {} seeds",
        seeds.len()
    );
}

/// No scenario takes longer, in paused time.
const DAYS: Duration = Duration::from_secs(10 * 86_400);

fn play(scenario: &impl AsyncFn(u64) -> Mattered, seed: u64) -> Mattered {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    let played = runtime.block_on(async { timeout(DAYS, scenario(seed)).await });
    played.expect("it does not end")
}

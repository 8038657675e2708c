//! Pipelines that are drawn, and what is done to them: every event arrives where it is to, in order and
//! once; what is lost with a stage is nacked; and each comes to an end.
//!
//! More of them with `GRAPHS=10000`.

#![allow(clippy::unwrap_used)]

mod act;
mod book;
mod plan;
mod scene;
mod stages;

use std::{env, time::Duration};

use proptest::prelude::*;
use tokio::{
    runtime::{Builder, Runtime},
    time::{sleep, timeout},
};

use plan::{Ending, Plan, plans};
use scene::Scene;

/// Longer than anything takes that goes on at all.
const LONG: Duration = Duration::from_secs(60);

fn cases(usual: u32) -> ProptestConfig {
    let wished = env::var("GRAPHS").ok().and_then(|text| text.parse().ok());
    ProptestConfig::with_cases(wished.unwrap_or(usual))
}

async fn play(plan: &Plan, is_alone: bool) -> Result<(), TestCaseError> {
    let mut scene = Scene::of(plan);
    let looking = is_alone.then(|| tokio::spawn(scene.look_on()));
    for (wait, step) in &plan.steps {
        sleep(Duration::from_millis(*wait)).await;
        scene.perform(*step);
    }
    scene.let_all_go_on();
    match plan.ending {
        Ending::Stop(after) => {
            sleep(Duration::from_millis(after)).await;
            scene.handle.stop();
        }
        Ending::Abort(after) => {
            sleep(Duration::from_millis(after)).await;
            scene.abort();
        }
        // A lane without a subscriber brings the others to a halt.
        _ if scene.is_cut => {
            sleep(Duration::from_millis(20)).await;
            scene.handle.stop();
        }
        Ending::ByItself | Ending::Fault { .. } => {}
    }
    let ended = timeout(LONG, &mut scene.running).await;
    let Ok(ended) = ended else {
        let status = scene.handle.status();
        return Err(TestCaseError::fail(format!("it does not end: {status:#?}")));
    };
    if let Some(looking) = looking {
        looking.await.unwrap();
    }
    scene.check(ended.ok()).await
}

fn play_on(runtime: &Runtime, plan: &Plan, is_alone: bool) -> Result<(), TestCaseError> {
    runtime.block_on(async {
        // As a task, since that is what a thread of the runtime polls.
        let plan = plan.clone();
        let playing = tokio::spawn(async move { play(&plan, is_alone).await });
        playing.await.unwrap()
    })
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn whatever_is_drawn_does_as_it_should(plan in plans()) {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        play_on(&runtime, &plan, true)?;
    }
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn and_on_two_threads(plan in plans()) {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_time().build().unwrap();
        play_on(&runtime, &plan, false)?;
    }
}

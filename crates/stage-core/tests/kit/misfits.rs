//! Stages that users might write and should not, each checked by the kit as a user does it: in the
//! public way, by its spec. The kit names a rule each time, and comes back.

mod blocking;
mod consumers;
mod in_order;
mod producers;
mod transforms;

use std::{pin::Pin, time::Duration};

use stage_core::testing::Report;

/// What is wrong, the rule that says so, what it says, and the stage.
type Misfit<S> = (&'static str, &'static str, &'static str, fn() -> S);

/// Every misfit breaks the rule that it is to, and that rule says how.
fn each_is_caught<S>(misfits: &[Misfit<S>], check: impl Fn(fn() -> S, Duration) -> Report) {
    let mut missed = Vec::new();
    for (what, rule, says, make) in misfits {
        // Where it is not the matter, nothing is to depend on how busy the machine is.
        let thread_time = if *rule == "R4" { BRIEF } else { LONG };
        let report = check(*make, thread_time);
        let found = report.failed.iter().find(|(failed, _)| failed.id == *rule);
        let broken: Vec<_> = report.failed.iter().map(|(rule, _)| rule.id).collect();
        println!("==> {what}: {broken:?}, {rule}: {found:?}");
        if found.is_none_or(|(_, how)| !how.contains(says)) {
            missed.push(format!("{what}: {rule} {found:?}, broken are {broken:?}"));
        }
        let inside = report
            .failed
            .iter()
            .find(|(_, how)| how.contains("overflow"));
        if let Some(inside) = inside {
            missed.push(format!("{what}: the kit itself failed: {inside:?}"));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

/// As long as those may keep their thread who keep it for longer.
const BRIEF: Duration = Duration::from_millis(2);

/// As long as nobody does, who does not block.
const LONG: Duration = Duration::from_secs(5);

#[expect(clippy::disallowed_methods, reason = "to block is what is wrong")]
fn block(time: Duration) {
    std::thread::sleep(time);
}

/// What a call does.
type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

fn done() -> Work {
    Box::pin(async {})
}

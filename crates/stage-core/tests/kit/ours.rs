//! All rules hold for our own parts.

use std::sync::Arc;

use stage_core::testing::{Broken, Ours, Parts, RULES};

#[test]
fn all_rules_hold_for_our_own_parts() {
    let ours: Arc<dyn Parts> = Arc::new(Ours);
    let mut failed = Vec::new();
    for rule in &RULES {
        #[allow(clippy::disallowed_methods)]
        let begun = std::time::Instant::now();
        for seed in 0..3 {
            if rule.id == "R1" && seed > 0 {
                continue;
            }
            match rule.check(&ours, seed).result {
                Ok(()) => {}
                Err(Broken::Skipped(why)) => println!("{} skipped: {why}", rule.id),
                Err(Broken::Failed(how)) => {
                    println!("{}: {how}", rule.id);
                    failed.push(rule.id);
                }
            }
        }
        println!("{} {:?}", rule.id, begun.elapsed());
    }
    assert_eq!(failed, [""; 0]);
}

//! All rules hold for our own parts, and each catches a part that is broken.

use std::sync::Arc;

use stage_core::testing::{Broken, Ours, Parts, RULES, Rule};

use crate::zoo::{Bred, ZOO};

const SEEDS: u64 = 3;

/// What is said of our parts.
fn on_ours(rule: &'static Rule) -> Result<(), Broken> {
    let ours: Arc<dyn Parts> = Arc::new(Ours);
    // This one is long.
    let seeds = if rule.id == "R1" { 1 } else { SEEDS };
    (0..seeds).try_for_each(|seed| rule.check(&ours, seed).result)
}

/// Whether the rule catches the broken part, and says what is wrong.
fn on_broken(rule: &'static Rule) -> Result<(), String> {
    let Some((_, what, says)) = ZOO.iter().find(|(id, ..)| *id == rule.id) else {
        return Err("no broken part".into());
    };
    let bred: Arc<dyn Parts> = Arc::new(Bred(rule.id));
    for seed in 0..SEEDS {
        match rule.check(&bred, seed).result {
            Err(Broken::Failed(how)) if how.contains(says) => {}
            other => return Err(format!("{what}: {other:?} at seed {seed}")),
        }
    }
    Ok(())
}

#[test]
fn every_rule_holds_for_our_own_parts_and_catches_a_broken_one() {
    let mut table = String::new();
    let (mut hold, mut caught, mut wrong) = (0, 0, Vec::new());
    for rule in &RULES {
        let (ours, broken) = (on_ours(rule), on_broken(rule));
        hold += usize::from(ours.is_ok());
        caught += usize::from(broken.is_ok());
        let said = |good| if good { "yes" } else { "NO" };
        table += &format!(
            "{:4} {:11} {:8} {:8} {}\n",
            rule.id,
            format!("{:?}", rule.class),
            said(ours.is_ok()),
            said(broken.is_ok()),
            rule.statement,
        );
        if ours.is_err() || broken.is_err() {
            wrong.push(format!("{}: ours {ours:?}, broken {broken:?}", rule.id));
        }
    }
    println!("rule class       passes   caught   statement\n{table}");
    println!("{hold}/46 pass on our parts, {caught}/46 catch a broken one");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

use std::time::Duration;

use stage_core::testing::{Report, check_consumer, check_producer};

use super::{
    LONG, block,
    consumers::{OfConsumer, does},
    done,
    producers::{OfProducer, fifty},
};

fn blocks_for_ever() {
    loop {
        block(Duration::from_secs(3600));
    }
}

fn only_r4_says(report: &Report) {
    let [(rule, how)] = &report.failed[..] else {
        panic!("{report}");
    };
    let says = how.contains("kept its thread for 10s");
    assert!(rule.id == "R4" && says, "{report}");
}

/// Together, since each takes its time.
#[test]
fn who_blocks_for_ever_is_given_up() {
    std::thread::scope(|scope| {
        scope.spawn(a_producer_that_blocks_for_ever_is_given_up);
        scope.spawn(a_consumer_that_blocks_for_ever_is_given_up);
        scope.spawn(after_a_rule_that_never_ended_the_others_are_skipped);
    });
}

fn a_producer_that_blocks_for_ever_is_given_up() {
    let blocks = || {
        fifty(|_, _, _| {
            blocks_for_ever();
            done()
        })
    };
    only_r4_says(&check_producer(&OfProducer(blocks, LONG), 1));
}

fn a_consumer_that_blocks_for_ever_is_given_up() {
    let blocks = || {
        does(|_| {
            blocks_for_ever();
            done()
        })
    };
    only_r4_says(&check_consumer(&OfConsumer(blocks, LONG), 1));
}

fn after_a_rule_that_never_ended_the_others_are_skipped() {
    let blocks = || {
        does(|batch| {
            if batch.len() > 1 {
                blocks_for_ever();
            }
            done()
        })
    };
    let report = check_consumer(&OfConsumer(blocks, LONG), 1);
    let [(rule, how)] = &report.failed[..] else {
        panic!("{report}");
    };
    assert!(
        rule.id == "D6" && how.contains("kept its thread"),
        "{report}"
    );
    let given_up = |(_, why): &(_, String)| why.contains("given up: in D6");
    assert!(report.skipped.iter().all(given_up), "{report}");
}

//! How subscriptions end, and what a stage does then.

use std::collections::BTreeSet;

use stage_core::{
    End, Mode, Window,
    protocol::{Down, Fate, Ledger, Reason},
};

fn failed() -> End {
    End::Down(Down::Failed("on fire".into()))
}

/// The table in the documentation of `Mode`.
#[test]
fn a_mode_does_what_its_table_says() {
    use Fate::{EndWell, Fail, GoOn, Stay};
    let modes = [
        Mode::UntilAllEnd,
        Mode::Permanent,
        Mode::Transient,
        Mode::Temporary,
    ];
    for (end, fates) in [
        (End::Completed, [GoOn, EndWell, Stay, Stay]),
        (
            End::Cancelled(Reason::Shutdown),
            [GoOn, EndWell, Stay, Stay],
        ),
        (End::Cancelled(Reason::AlreadySubscribed), [GoOn; 4]),
        (End::Cancelled(Reason::Dropped), [GoOn, Fail, Fail, Stay]),
        (
            End::Cancelled(Reason::Other("enough".into())),
            [GoOn, Fail, Fail, Stay],
        ),
        (failed(), [GoOn, Fail, Fail, Stay]),
    ] {
        assert_eq!(modes.map(|mode| mode.on(&end)), fates, "{end}");
    }
}

#[test]
fn only_what_completed_or_was_shut_down_is_graceful() {
    assert!(End::Completed.is_graceful());
    assert!(End::Cancelled(Reason::Shutdown).is_graceful());
    assert!(!End::Cancelled(Reason::NoProducer).is_graceful());
    assert!(!failed().is_graceful());
}

/// Who reads a log can tell what happened.
#[test]
fn each_end_has_a_text_of_its_own_with_what_is_known_of_it() {
    let (mut ledger, _) = Ledger::open(Window::new(3));
    let excess = ledger.receive(4).unwrap_err();
    assert_eq!(
        excess.to_string(),
        "4 events came where 3 had been asked for"
    );
    let why = || "on fire".into();
    let ends = [
        (End::Completed, ""),
        (End::Cancelled(Reason::Shutdown), ""),
        (End::Cancelled(Reason::Dropped), ""),
        (End::Cancelled(Reason::NoProducer), ""),
        (End::Cancelled(Reason::Refused(why())), "on fire"),
        (End::Cancelled(Reason::AlreadySubscribed), ""),
        (End::Cancelled(Reason::Other(why())), "on fire"),
        (failed(), "on fire"),
        (End::Down(Down::Panicked(why())), "on fire"),
        (End::Down(Down::OverDelivered(excess)), "4 events"),
        (End::Down(Down::Aborted), ""),
    ];
    for (end, known) in &ends {
        assert!(end.to_string().contains(known), "{end}");
    }
    let texts: BTreeSet<String> = ends.iter().map(|(end, _)| end.to_string()).collect();
    assert_eq!(texts.len(), ends.len(), "{texts:?}");
}

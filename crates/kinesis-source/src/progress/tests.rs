use std::{ops::Range, time::Duration};

use stage_core::Outcome;

use super::*;
use crate::{Checkpoint, WaitingFor, unread::CLOCK_SLACK};

fn progress() -> Arc<Progress> {
    Progress::new("s".into(), PinnedPosition::TrimHorizon, Arc::default())
}

fn hand_out(progress: &Arc<Progress>, numbers: Range<u128>) -> (Arc<dyn Acknowledge>, u64) {
    let marks = numbers.map(|number| Mark::whole(number.into()));
    progress.hand_out(Marked::Parts(marks.collect()), ())
}

#[test]
fn a_checkpoint_is_the_end_of_what_is_acked_without_a_gap() {
    let progress = progress();
    assert_eq!(progress.checkpoint(), None);
    let (book, first) = hand_out(&progress, 10..20);
    book.settle(first + 5..first + 10, Outcome::Acked);
    assert_eq!(progress.checkpoint(), None);
    book.settle(first..first + 2, Outcome::Acked);
    assert_eq!(progress.checkpoint(), Some(Checkpoint::after(11.into())));
    book.settle(first + 2..first + 5, Outcome::Acked);
    assert_eq!(progress.checkpoint(), Some(Checkpoint::after(19.into())));
    assert_eq!(progress.snapshot().in_flight, 0);
}

#[test]
fn a_nack_takes_the_next_life_back_to_the_gap_and_the_old_one_counts_no_more() {
    let progress = progress();
    let (old, first) = hand_out(&progress, 10..20);
    old.settle(first..first + 3, Outcome::Acked);
    old.settle(first + 3..first + 6, Outcome::Nacked);
    assert_eq!(progress.nacked(), 3);
    progress.resume();
    assert_eq!(
        progress.next(),
        PinnedPosition::AfterSequenceNumber(12.into())
    );
    assert_eq!(progress.nacked(), 0);
    old.settle(first + 6..first + 10, Outcome::Acked);
    assert_eq!(progress.checkpoint(), Some(Checkpoint::after(12.into())));
    let (new, first) = hand_out(&progress, 13..15);
    assert_eq!(progress.snapshot().in_flight, 2);
    new.settle(first..first + 2, Outcome::Acked);
    assert_eq!(progress.checkpoint(), Some(Checkpoint::after(14.into())));
}

/// By the end of a halt what it goes on with may not be kept any more; a nack is read again at once.
#[test]
fn after_a_halt_what_was_done_last_is_looked_for() {
    for halts in [false, true] {
        let progress = progress();
        let (book, first) = hand_out(&progress, 10..20);
        book.settle(first..first + 3, Outcome::Acked);
        book.settle(first + 3..first + 10, Outcome::Nacked);
        if halts {
            let (records, after) = (7, progress.done());
            let reason = ParkReason::Nacked { records, after };
            progress.halt(Halt::UntilDone, reason, Duration::from_secs(60));
        }
        progress.resume();
        assert_eq!(progress.doubt().is_some(), halts);
        let position = progress.position();
        assert_eq!(
            position,
            match halts {
                true => Position::AtSequenceNumber(12.into()),
                false => Position::AfterSequenceNumber(12.into()),
            }
        );
    }
}

/// The numbers of its receipts are those of others by now.
#[test]
fn receipts_of_a_former_life_settle_nothing_of_this_one() {
    let progress = progress();
    let (old, first) = hand_out(&progress, 10..20);
    old.settle(first..first + 1, Outcome::Nacked);
    progress.resume();
    let (_new, _) = hand_out(&progress, 10..20);
    old.settle(first + 1..first + 5, Outcome::Acked);
    old.settle(first + 5..first + 10, Outcome::Nacked);
    let snapshot = progress.snapshot();
    assert_eq!((snapshot.in_flight, snapshot.figures.acked), (10, 0));
    assert_eq!(progress.nacked(), 0);
    // Nor do those from before a seek.
    progress.seek(PinnedPosition::TrimHorizon, None);
    let (new, first) = hand_out(&progress, 10..20);
    old.settle(first..first + 10, Outcome::Acked);
    assert_eq!(progress.checkpoint(), None);
    new.settle(first..first + 1, Outcome::Acked);
    assert_eq!(progress.checkpoint(), Some(Checkpoint::after(10.into())));
}

/// What was acknowledged before a seek is stored, however many seeks follow, until something of the new place
/// is; and whether each may go back is its own.
#[test]
fn what_was_done_before_a_seek_is_the_checkpoint_until_more_is() {
    let progress = progress();
    let offered = |progress: &Progress| {
        let (checkpoint, offer) = progress.offer_checkpoint().unwrap();
        (checkpoint, offer.is_sought)
    };
    let (book, first) = hand_out(&progress, 10..20);
    book.settle(first..first + 9, Outcome::Acked);
    let left = Checkpoint::after(18.into());
    for _ in 0..2 {
        progress.seek(PinnedPosition::TrimHorizon, None);
        assert_eq!(offered(&progress), (left.clone(), false));
    }
    let (checkpoint, offer) = progress.offer_checkpoint().unwrap();
    progress.note_saved(offer, checkpoint);
    let (book, first) = hand_out(&progress, 1..4);
    assert_eq!(offered(&progress), (left, false));
    book.settle(first..first + 2, Outcome::Acked);
    let back = Checkpoint::after(2.into());
    assert_eq!(offered(&progress), (back.clone(), true), "it goes back");
    progress.seek(PinnedPosition::AfterSequenceNumber(99.into()), None);
    assert_eq!(offered(&progress), (back, true), "it still does");
    let (book, first) = hand_out(&progress, 100..101);
    book.settle(first..first + 1, Outcome::Acked);
    assert_eq!(offered(&progress), (Checkpoint::after(100.into()), true));
}

/// What is stored late says nothing of what has been handed out since.
#[test]
fn what_was_offered_by_a_former_life_is_not_this_ones() {
    let progress = progress();
    let (book, first) = hand_out(&progress, 10..20);
    book.settle(first..first + 9, Outcome::Acked);
    let (checkpoint, offer) = progress.offer_checkpoint().unwrap();
    assert_eq!(progress.unsaved(), 10);
    progress.seek(PinnedPosition::TrimHorizon, None);
    let (book, first) = hand_out(&progress, 1..4);
    progress.note_saved(offer, checkpoint);
    assert_eq!(progress.unsaved(), 3, "none of these is stored");
    book.settle(first..first + 1, Outcome::Acked);
    let (checkpoint, offer) = progress.offer_checkpoint().unwrap();
    assert_eq!(checkpoint, Checkpoint::after(1.into()));
    assert!(offer.is_sought, "the stored one is to go back");
    progress.note_saved(offer, checkpoint);
    assert_eq!(progress.unsaved(), 2);
    assert!(!progress.offer_checkpoint().unwrap().1.is_sought);
}

/// Nor is what was found or stored before of any use after it.
#[test]
fn a_new_life_knows_no_tip_and_has_nothing_stored() {
    let progress = progress();
    let (book, first) = hand_out(&progress, 10..20);
    progress.came_to_tip(progress.asked());
    book.settle(first..first + 9, Outcome::Acked);
    let (checkpoint, offer) = progress.offer_checkpoint().unwrap();
    progress.note_saved(offer, checkpoint);
    assert_eq!(progress.unsaved(), 1);
    book.settle(first + 9..first + 10, Outcome::Nacked);
    progress.resume();
    let (book, first) = hand_out(&progress, 19..39);
    assert_eq!(progress.unsaved(), 20);
    book.settle(first..first + 20, Outcome::Acked);
    assert!(!progress.is_at_rest(), "the tip has yet to be found");
    progress.found_tip(None, progress.asked());
    assert!(progress.is_at_rest());
}

#[test]
fn a_read_from_before_a_question_does_not_answer_it() {
    let progress = progress();
    let before = progress.asked();
    progress.await_tip();
    progress.found_tip(None, before);
    assert!(!progress.is_at_rest());
    progress.found_tip(None, progress.asked());
    assert!(progress.is_at_rest());
}

/// It came before the moment at which there was nothing more, and may be lost yet.
#[test]
fn a_shard_is_not_quiet_while_records_are_open() {
    let progress = progress();
    let hour = |hours| Timestamp::from_millis(0).plus(Duration::from_secs(3_600) * hours);
    let (book, first) = hand_out(&progress, 10..15);
    book.settle(first..first + 2, Outcome::Acked);
    for hours in [0, 2] {
        progress.found_tip(Some(hour(hours)), progress.asked());
    }
    assert_eq!(progress.checkpoint(), Some(Checkpoint::after(11.into())));
    book.settle(first + 2..first + 5, Outcome::Acked);
    let quiet = Checkpoint::Quiet {
        sequence_number: 14.into(),
        until: hour(2).minus(CLOCK_SLACK),
    };
    assert_eq!(progress.checkpoint(), Some(quiet.clone()));
    // What comes after that was not there by then: what is done stays quiet, until more is.
    let (book, first) = hand_out(&progress, 15..17);
    assert_eq!(progress.checkpoint(), Some(quiet.clone()));
    progress.found_tip(Some(hour(4)), progress.asked());
    assert_eq!(progress.checkpoint(), Some(quiet));
    book.settle(first..first + 1, Outcome::Acked);
    assert_eq!(progress.checkpoint(), Some(Checkpoint::after(15.into())));
}

/// It says so to the hour as long as it is read, and to the moment when it is not read any more. Nothing takes
/// that back.
#[test]
fn a_shard_that_is_stopped_has_been_quiet_until_then() {
    let progress = progress();
    let minute = |minutes| Timestamp::from_millis(0).plus(Duration::from_secs(60) * minutes);
    let (book, first) = hand_out(&progress, 10..12);
    book.settle(first..first + 2, Outcome::Acked);
    for minutes in [10, 25] {
        progress.found_tip(Some(minute(minutes)), progress.asked());
    }
    assert_eq!(progress.checkpoint(), Some(Checkpoint::after(11.into())));
    progress.enter(Phase::Stopped);
    let quiet = Checkpoint::Quiet {
        sequence_number: 11.into(),
        until: minute(25).minus(CLOCK_SLACK),
    };
    assert_eq!(progress.checkpoint(), Some(quiet.clone()));
    // Another life, in which records are nacked.
    let done = Resumed {
        done: Mark::whole(11.into()),
        quiet_until: Some(minute(25).minus(CLOCK_SLACK)),
        is_plausible: true,
    };
    let progress = Progress::resumed("s".into(), done, Arc::default());
    let (book, first) = hand_out(&progress, 12..14);
    assert_eq!(progress.checkpoint(), Some(quiet.clone()));
    book.settle(first..first + 2, Outcome::Nacked);
    progress.resume();
    assert_eq!(progress.checkpoint(), Some(quiet));
}

/// Its start is quiet until something comes, and is not stored anew after a seek.
#[test]
fn a_shard_that_nothing_has_come_to_says_so() {
    let hour = |hours| Timestamp::from_millis(0).plus(Duration::from_secs(3_600) * hours);
    let from = PinnedPosition::AtTimestamp(hour(1));
    let (since, none) = (Some(hour(1)), None);
    let progress =
        Progress::beginning("s".into(), from.clone().into(), since, none, Arc::default());
    assert_eq!(progress.checkpoint(), None);
    for hours in [2, 4] {
        progress.found_tip(Some(hour(hours)), progress.asked());
    }
    let quiet = Checkpoint::QuietStart {
        position: from.clone(),
        until: hour(4).minus(CLOCK_SLACK),
    };
    assert_eq!(progress.checkpoint(), Some(quiet.clone()));
    assert!(!progress.begins_too_late(|| hour(27)));
    assert!(progress.begins_too_late(|| hour(28)));
    let (_open, _) = hand_out(&progress, 10..11);
    assert_eq!(progress.checkpoint(), Some(quiet.clone()));
    assert!(
        !progress.begins_too_late(|| hour(28)),
        "there is a record to look for"
    );
    progress.seek(from, None);
    for hours in [5, 7] {
        progress.found_tip(Some(hour(hours)), progress.asked());
    }
    assert_eq!(progress.checkpoint(), Some(quiet), "what it was before");
}

#[tokio::test(start_paused = true)]
async fn a_seek_lets_go_who_waits_for_what_was_handed_out() {
    let progress = progress();
    let (_book, _) = hand_out(&progress, 10..12);
    let waiting = {
        let progress = Arc::clone(&progress);
        tokio::spawn(async move { progress.settled().await })
    };
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    progress.seek(PinnedPosition::TrimHorizon, None);
    let hour = Duration::from_secs(3_600);
    let waited = tokio::time::timeout(hour, waiting).await;
    waited.expect("it is let go").unwrap();
}

#[test]
fn a_nack_right_after_a_seek_goes_back_to_where_that_was_to() {
    let progress = progress();
    let there = PinnedPosition::AfterSequenceNumber(99.into());
    progress.seek(there.clone(), None);
    let (book, first) = hand_out(&progress, 100..102);
    book.settle(first..first + 1, Outcome::Nacked);
    progress.resume();
    assert_eq!(progress.next(), there);
}

/// It is not halted where it was told to go on, whatever it was halted for.
#[test]
fn a_seek_ends_a_halt() {
    for until in [Halt::UntilDone, Halt::UntilRead] {
        let progress = progress();
        let reason = "no key".to_owned();
        let hour = Duration::from_secs(3_600);
        progress.halt(until, ParkReason::Failed { reason }, hour);
        assert!(progress.is_halted());
        progress.seek(PinnedPosition::TrimHorizon, None);
        assert!(!progress.is_halted(), "{until:?}");
    }
}

/// How old that was which was in hand before says nothing about what comes there.
#[tokio::test(start_paused = true)]
async fn a_reader_that_is_made_anew_right_after_a_seek_is_not_late() {
    let (progress, hour) = (progress(), Duration::from_secs(3_600));
    let before = Timestamp::from_millis(0);
    progress.note_arrivals(Some(before), Some(before));
    let (book, first) = hand_out(&progress, 10..12);
    book.settle(first..first + 2, Outcome::Acked);
    let now = before.plus(30 * hour);
    progress.seek(PinnedPosition::TrimHorizon, Some(now));
    assert!(!progress.begins_too_late(|| now.plus(hour)));
    progress.resume();
    assert!(!progress.begins_too_late(|| now.plus(hour)));
    assert!(progress.begins_too_late(|| now.plus(24 * hour)));
}

#[test]
fn without_a_nack_the_next_life_goes_on_after_what_was_read() {
    let progress = progress();
    let (book, first) = hand_out(&progress, 10..12);
    progress.resume();
    assert_eq!(
        progress.next(),
        PinnedPosition::AfterSequenceNumber(11.into())
    );
    book.settle(first..first + 2, Outcome::Acked);
    assert_eq!(progress.checkpoint(), Some(Checkpoint::after(11.into())));
}

#[test]
fn what_is_passed_is_done_once_all_before_it_is() {
    let progress = progress();
    progress.pass(Mark::whole(9.into()));
    assert_eq!(progress.checkpoint(), Some(Checkpoint::after(9.into())));
    let (book, first) = hand_out(&progress, 10..12);
    progress.pass(Mark::whole(12.into()));
    progress.pass(Mark::whole(13.into()));
    assert_eq!(
        progress.next(),
        PinnedPosition::AfterSequenceNumber(13.into())
    );
    book.settle(first..first + 1, Outcome::Acked);
    assert_eq!(progress.checkpoint(), Some(Checkpoint::after(10.into())));
    book.settle(first + 1..first + 2, Outcome::Acked);
    assert_eq!(progress.checkpoint(), Some(Checkpoint::after(13.into())));
}

#[test]
fn what_is_passed_does_not_take_back_what_is_handed_out_after_it() {
    let progress = progress();
    let (book, first) = hand_out(&progress, 10..11);
    progress.pass(Mark::whole(11.into()));
    let (_, second) = hand_out(&progress, 12..13);
    book.settle(first..second + 1, Outcome::Acked);
    assert_eq!(progress.checkpoint(), Some(Checkpoint::after(12.into())));
}

/// A wait that nobody ends is told, and not taken for one that is over as nothing is in hand.
#[tokio::test(start_paused = true)]
async fn who_waits_for_receipts_though_none_is_missing_is_told() {
    let progress = progress();
    let (book, first) = hand_out(&progress, 10..12);
    book.settle(first..first + 2, Outcome::Nacked);
    let within = Duration::from_secs(120);
    let check = || progress.check_unsettled(within, Instant::now());
    for waiting_for in [
        WaitingFor::Receipts { beyond: 1 },
        WaitingFor::Acknowledgements,
    ] {
        progress.watch().waits_for(waiting_for, None);
        assert!(check().is_none());
        tokio::time::advance(within).await;
        assert!(check().is_none(), "it is in time");
        tokio::time::advance(Duration::from_secs(1)).await;
        let told = check();
        assert!(
            matches!(told, Some(SourceEvent::Stuck { since, .. }) if since > within),
            "{waiting_for}: {told:?}"
        );
        assert!(progress.look(Instant::now()).is_stuck);
        progress.watch().waits_for(WaitingFor::Demand, None);
        let told = check();
        assert!(
            matches!(told, Some(SourceEvent::Unstuck { .. })),
            "{waiting_for}: {told:?}"
        );
        tokio::time::advance(2 * within).await;
        assert!(check().is_none(), "a slow sink is no fault of the source");
    }
}

/// Its reader has failed, and is parked just when, in another thread, a record is acknowledged that ends that.
#[test]
fn a_shard_that_goes_on_is_not_told_as_parked() {
    use crate::{reporter::Reporter, source_watch::SourceWatch};
    const ROUNDS: u32 = 20_000;
    let watch = Arc::new(SourceWatch::new(Reporter::of("orders")));
    let mut events = watch.reporter().events();
    let progress = progress();
    progress.watch().join(watch);
    // As the supervisor does, and everybody who asks how the shard is.
    let looking = Arc::downgrade(&progress);
    std::thread::spawn(move || {
        while let Some(progress) = looking.upgrade() {
            for _ in 0..1_000 {
                let _ = progress.watch().look(Instant::now());
            }
        }
    });
    let mut left_parked = 0;
    for round in 0..ROUNDS {
        let number = u128::from(round) + 1;
        let (book, first) = hand_out(&progress, number..number + 1);
        let barrier = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                barrier.wait();
                book.settle(first..first + 1, Outcome::Acked);
            });
            barrier.wait();
            (0..round % 64).for_each(|_| std::hint::spin_loop());
            let reason = "a panic".to_owned();
            progress.halt(
                Halt::UntilRead,
                ParkReason::Failed { reason },
                Duration::from_secs(60),
            );
        });
        let mut last = None;
        while let Some(event) = events.try_next() {
            last = Some(event.name());
        }
        left_parked += u32::from(!progress.is_halted() && last == Some("shard_parked"));
        // For the next round.
        progress.lock().end_any_halt();
        let _ = progress.watch().went_on();
        while events.try_next().is_some() {}
    }
    assert_eq!(left_parked, 0, "of {ROUNDS}");
}

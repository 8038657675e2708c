//! What becomes of what was handed out, and whether that takes too long.

use std::{
    mem,
    ops::Range,
    pin::pin,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use stage_core::{Acknowledge, Outcome};
use tokio::time::Instant;

use super::{Phase, Progress};
use crate::{
    SourceEvent, Waiting, WaitingFor,
    headway::News,
    saving::Saving,
    unsettled::{InHand, Unsettled},
};

/// Settles what one life of a reader handed out.
pub(super) struct Generation<C> {
    pub(super) progress: Arc<Progress>,
    pub(super) number: u64,
    /// What it handed out takes of the budget, if anything counts that. It goes with the last receipt of that, whatever
    /// becomes of it.
    pub(super) _charge: C,
}

impl Progress {
    /// Waits while too much is acknowledged beyond the oldest record in hand.
    pub(super) async fn may_go_beyond(&self, saving: &Saving) {
        let too_far = || {
            let in_hand = self.lock().in_hand()?;
            Some(in_hand.beyond).filter(|&beyond| saving.is_too_far(beyond))
        };
        if too_far().is_none() {
            return;
        }
        let mut is_told = false;
        loop {
            let mut advanced = pin!(self.advanced.notified());
            // What is settled from here on is noticed.
            advanced.as_mut().enable();
            let Some(beyond) = too_far() else {
                return;
            };
            if !mem::replace(&mut is_told, true) {
                // That it takes too long is told from outside.
                self.watch.waits_for(WaitingFor::Receipts { beyond }, None);
            }
            advanced.await;
        }
    }

    /// What is to be told by now, as its oldest record in hand is not settled in time.
    pub(crate) fn check_unsettled(&self, within: Duration, now: Instant) -> Option<SourceEvent> {
        let (in_hand, phase) = (self.in_hand(), self.phase());
        let mut unsettled = self.unsettled();
        let before = unsettled.late(now);
        let news = unsettled.check(in_hand, within, now)?;
        let shard = self.shard.clone();
        let of = |it: Option<InHand>| WaitingFor::Receipts {
            beyond: it.map_or(0, |it| it.beyond),
        };
        Some(match news {
            News::Stopped(since) => SourceEvent::Stuck {
                shard,
                state: phase.into(),
                waiting_for: of(in_hand),
                since,
            },
            News::Again(after) => SourceEvent::Unstuck {
                shard,
                waiting_for: of(before.map(|(_, it)| it)),
                after,
            },
        })
    }

    /// What it waits for: its reader, unless its oldest record in hand is late.
    pub(crate) fn look(&self, now: Instant) -> Waiting {
        let late = self.unsettled().late(now);
        match late.zip(self.in_hand()) {
            Some(((since, late), in_hand)) if late.oldest == in_hand.oldest => Waiting {
                waiting_for: WaitingFor::Receipts {
                    beyond: in_hand.beyond,
                },
                since,
                is_stuck: true,
            },
            _ => self.watch.look(now),
        }
    }

    /// What is to be settled in time. Whoever waits for that is held to it when nothing is in hand any more,
    /// too: it is to notice at once.
    fn in_hand(&self) -> Option<InHand> {
        let waits = matches!(
            self.watch.reader_waits_for(),
            WaitingFor::Receipts { .. } | WaitingFor::Acknowledgements
        );
        let state = self.lock();
        let in_hand = state.in_hand();
        in_hand.or_else(|| waits.then(|| state.nothing_in_hand()))
    }

    pub(super) fn unsettled(&self) -> MutexGuard<'_, Unsettled> {
        let lock = self.unsettled.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Send + Sync + 'static> Acknowledge for Generation<C> {
    fn settle(&self, numbers: Range<u64>, outcome: Outcome) {
        let mut state = self.progress.lock();
        if state.generation != self.number {
            return;
        }
        let was_at_rest = state.is_at_rest();
        let settled = numbers.end - numbers.start;
        state.in_flight = state.in_flight.saturating_sub(settled);
        if outcome == Outcome::Acked {
            state.figures.acked += settled;
        }
        let mut is_further = false;
        match outcome {
            Outcome::Nacked => state.nacked += settled,
            // A number cannot be settled twice: its receipt is gone.
            Outcome::Acked => {
                if let Some(done) = state.marks.settle(numbers) {
                    state.done = Some(done);
                    is_further = true;
                    if state.marks.is_complete() && state.passed.is_some() {
                        state.done = state.passed.take();
                    }
                }
            }
        }
        let goes_on = is_further && state.end_any_halt();
        let is_empty = state.in_flight == 0;
        let is_waited_for =
            (is_empty && state.phase != Phase::Reading) || (!was_at_rest && state.is_at_rest());
        self.progress.release(state, goes_on);
        let saving = self.progress.saving.get();
        let is_due = outcome == Outcome::Acked && saving.is_some_and(|it| it.note_acked(settled));
        if is_empty {
            self.progress.settled.notify_waiters();
        }
        if is_further || outcome == Outcome::Nacked {
            self.progress.advanced.notify_waiters();
        }
        if is_waited_for || is_due {
            self.progress.watcher.ring();
        }
    }
}

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use crate::{
    InHand,
    in_hand::Hand,
    sync::atomic::{
        AtomicBool, AtomicUsize,
        Ordering::{AcqRel, Acquire, Release},
    },
};

/// Which portion a batch is that a stage was given.
#[derive(Clone)]
pub(crate) enum Portion {
    /// By its number, of this subscription.
    Given(Arc<Hand>, u32),
    /// A part of what was made of one.
    Made(Arc<Whole>),
}

/// A portion of which more was made than it had events. If anything of that is kept in hand, all of the
/// portion is, until the last is dropped.
pub(crate) struct Whole {
    portion: Portion,
    events: usize,
    /// How much of what was made nobody keeps.
    left: AtomicUsize,
    kept: OnceLock<InHand>,
    has_failed: AtomicBool,
}

impl Portion {
    /// Keeps so many of its events in hand, or as many as nobody keeps.
    pub(crate) fn keep(&self, events: usize) -> InHand {
        match self {
            Self::Given(hand, number) => hand.keep(*number, events),
            Self::Made(whole) => whole.keep(events),
        }
    }

    /// Whether somebody keeps some, which was of so many events.
    #[cfg(feature = "testkit")]
    pub(crate) fn is_kept(&self, events: usize) -> bool {
        match self {
            Self::Given(hand, number) => hand.is_kept(*number, events),
            Self::Made(whole) => whole.kept.get().is_some(),
        }
    }

    /// Of its events, so many, so many others were made.
    pub(crate) fn made_into(&self, events: usize, made: usize) -> Self {
        Self::Made(Arc::new(Whole {
            portion: self.clone(),
            events,
            left: AtomicUsize::new(made),
            kept: OnceLock::new(),
            has_failed: AtomicBool::new(false),
        }))
    }
}

impl Whole {
    fn keep(self: &Arc<Self>, events: usize) -> InHand {
        let take = |left: usize| Some(left.saturating_sub(events));
        let left = self.left.fetch_update(AcqRel, Acquire, take);
        let events = events.min(left.unwrap_or(0));
        if events == 0 {
            return InHand::default();
        }
        self.kept.get_or_init(|| self.portion.keep(self.events));
        InHand::of_whole(Arc::clone(self), events)
    }

    /// Some of it could not be dealt with well: so all of it.
    pub(crate) fn fail(&self) {
        self.has_failed.store(true, Release);
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if let Some(kept) = self.kept.take()
            && self.has_failed.load(Acquire)
        {
            kept.fail();
        }
    }
}

impl fmt::Debug for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Whole")
            .field("events", &self.events)
            .field("left", &self.left)
            .field("kept", &self.kept)
            .finish_non_exhaustive()
    }
}

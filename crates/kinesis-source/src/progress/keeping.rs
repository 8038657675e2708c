//! Whether what comes next is still kept.

use std::time::Duration;

use tokio::time::Instant;

use super::Progress;
use crate::{DataLoss, Timestamp, doubt::Doubt, unread::Unread};

impl Progress {
    /// What is in doubt, if anything is.
    pub(crate) fn doubt(&self) -> Option<Doubt> {
        self.lock().doubt.clone()
    }

    /// Whether what comes next may not be kept any more, by what clocks say, and nobody looks after
    /// that yet. `now` is the service's clock, and is asked for if it matters.
    pub(crate) fn may_be_trimmed(&self, margin: Duration, now: impl FnOnce() -> Timestamp) -> bool {
        let unread = self.lock().undoubted();
        unread.is_some_and(|unread| {
            unread.may_be_trimmed(self.retention(), margin, now, Instant::now())
        })
    }

    /// How long records are kept, or at least for so long.
    pub(crate) fn retention(&self) -> Duration {
        self.watch.retention()
    }

    /// What comes next may not be kept any more: the last record that was read is to be looked for.
    /// Whether there is one, and that is new.
    pub(crate) fn begin_doubt(&self) -> bool {
        let mut state = self.lock();
        let (Some(unread), None) = (state.unread, &state.doubt) else {
            return false;
        };
        let last = state.last_read().cloned();
        state.doubt = last.map(|number| Doubt::about(number, unread.none_until()));
        state.doubt.is_some()
    }

    /// Whether nothing of the shard was read, or all of that is to be read again, and what comes first may
    /// not be kept any more, by what clocks say. There is no record then that could be looked for.
    pub(crate) fn begins_too_late(&self, now: impl FnOnce() -> Timestamp) -> bool {
        let state = self.lock();
        let unread = state.unread.filter(|_| state.last_read().is_none());
        drop(state);
        let since = unread.and_then(|unread| unread.since());
        since.is_some_and(|since| now().since(since) >= self.retention())
    }

    /// Whether it was read so far behind, and what has come now leaves out so much, that all in between may
    /// have been trimmed just now, though the stream was to keep it.
    pub(crate) fn leaps_to(
        &self,
        arrival: Option<Timestamp>,
        now: impl FnOnce() -> Timestamp,
    ) -> bool {
        let unread = self.lock().undoubted();
        unread.is_some_and(|unread| unread.leaps_to(arrival, now))
    }

    /// Whether it is read so far behind that what comes next may be trimmed at any moment, though the stream
    /// is to keep it.
    pub(crate) fn is_long_behind(&self, now: impl FnOnce() -> Timestamp) -> bool {
        let unread = self.lock().undoubted();
        unread.is_some_and(|unread| unread.is_long_ago(now))
    }

    /// When the last record arrived that was read, or when there was none, whichever is later.
    pub(crate) fn read_until(&self) -> Option<Timestamp> {
        self.lock().unread.and_then(|unread| unread.since())
    }

    /// Records were read, after all those before had been handed out. The first and the last one
    /// arrived at these moments, as far as that is known.
    pub(crate) fn note_arrivals(&self, first: Option<Timestamp>, last: Option<Timestamp>) {
        let (now, mut state) = (Instant::now(), self.lock());
        if state.last_read().is_none() {
            // There is nothing before it that is kept.
            state.unread = None;
        }
        let unread = *state.unread.get_or_insert(Unread::after(first, now));
        if state.marks.is_complete() {
            state.undone = Some(unread);
        }
        if let Some(unread) = &mut state.unread {
            unread.advance(last, now);
        }
    }

    /// The record in doubt is refused.
    pub(crate) fn refuse_doubt(&self) {
        if let Some(doubt) = &mut self.lock().doubt {
            doubt.is_refused = true;
        }
    }

    /// What was in doubt is so, or does not matter.
    pub(crate) fn end_doubt(&self) {
        self.lock().doubt = None;
    }

    /// Takes note of a loss. Whether it is news.
    pub(crate) fn note_loss(&self, loss: DataLoss) -> bool {
        let mut state = self.lock();
        let is_news = state.loss.as_deref() != Some(&loss);
        state.loss = Some(Box::new(loss));
        is_news
    }

    /// The last loss that was noticed.
    pub(crate) fn loss(&self) -> Option<DataLoss> {
        self.lock().loss.as_deref().cloned()
    }
}

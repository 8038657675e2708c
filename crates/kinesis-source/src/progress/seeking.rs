//! Going on elsewhere.

use std::sync::PoisonError;

use tokio::{sync::oneshot, time::Instant};

use super::{Phase, Progress, state::Quiet};
use crate::{
    PinnedPosition, Timestamp,
    seek::{SeekError, SeekRequest},
    unread::Unread,
};

impl Progress {
    /// Has the reader go on elsewhere, and says when it does.
    pub(crate) fn request_seek(
        &self,
        position: PinnedPosition,
    ) -> oneshot::Receiver<Result<(), SeekError>> {
        let (reply, replied) = oneshot::channel();
        let mut seek = self.seek.lock().unwrap_or_else(PoisonError::into_inner);
        let former = seek.replace(SeekRequest { position, reply });
        drop(seek);
        if let Some(former) = former {
            let shard = self.shard.clone();
            // Perhaps nobody waits for it.
            let _ = former.reply.send(Err(SeekError::Superseded { shard }));
        }
        self.sought.notify_one();
        replied
    }

    /// The wish to go on elsewhere, if there is one.
    pub(crate) fn take_seek(&self) -> Option<SeekRequest> {
        let mut seek = self.seek.lock().unwrap_or_else(PoisonError::into_inner);
        seek.take()
    }

    /// Whether there is a wish to go on elsewhere.
    pub(crate) fn is_sought(&self) -> bool {
        let seek = self.seek.lock().unwrap_or_else(PoisonError::into_inner);
        seek.is_some()
    }

    /// Waits until there is a wish to go on elsewhere, or there was one.
    pub(crate) async fn sought(&self) {
        self.sought.notified().await;
    }

    /// Reading goes on there. What was handed out by now counts no more; the checkpoint stays where
    /// it is by now, stored or not yet, until something is acknowledged that is handed out from now on. What is to be read arrived at `since` or
    /// later, if that is known.
    pub(crate) fn seek(&self, position: PinnedPosition, since: Option<Timestamp>) {
        let mut state = self.lock();
        state.leave();
        state.begin_generation();
        state.next = position.into();
        state.start = state.next.clone();
        state.doubt_place(None);
        let now = Instant::now();
        state.unread = since.map(|since| Unread::of_start(since, now));
        state.undone = None;
        state.quiet = Quiet::default();
        state.phase = Phase::Reading;
        let goes_on = state.end_any_halt();
        self.release(state, goes_on);
        self.settled.notify_waiters();
        self.watcher.ring();
    }
}

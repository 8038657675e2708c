use std::{
    mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

use crate::ShardId;

/// What a stream's coordinator is to attend to: rung by shards that change their phase, and by questions.
///
/// With thousands of shards somebody rings all the time. So it says whose readers have ended, and nobody
/// has to look at all of them each time.
#[derive(Debug, Default)]
pub(crate) struct News {
    bell: Notify,
    ended: Mutex<Vec<ShardId>>,
    /// How many there are that have not ended.
    readers: AtomicUsize,
}

impl News {
    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }

    /// The shard's reader has ended.
    pub(crate) fn note_ended(&self, shard: ShardId) {
        self.ended().push(shard);
        self.ring();
    }

    /// The shard's reader has been stopped, as those of all others are, as a rule: that is not worth a ring each.
    pub(crate) fn note_stopped(&self, shard: ShardId) {
        self.ended().push(shard);
    }

    /// There is one reader more.
    pub(crate) fn reader_begins(&self) {
        self.readers.fetch_add(1, Ordering::Relaxed);
    }

    /// One reader has ended, as was noted. The last one rings.
    pub(crate) fn reader_ends(&self) {
        if self.readers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.ring();
        }
    }

    /// Whose readers have ended since the last time.
    pub(crate) fn take_ended(&self) -> Vec<ShardId> {
        mem::take(&mut *self.ended())
    }

    /// Waits for the bell. It is heard once.
    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }

    fn ended(&self) -> MutexGuard<'_, Vec<ShardId>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_readers_that_are_stopped_only_the_last_one_rings() {
        let news = News::default();
        let has_rung = async || timeout(Duration::from_secs(1), news.rung()).await.is_ok();
        news.reader_begins();
        news.reader_begins();
        news.note_stopped("a".into());
        news.reader_ends();
        assert!(!has_rung().await);
        news.note_stopped("b".into());
        news.reader_ends();
        assert!(has_rung().await);
        assert_eq!(news.take_ended(), ["a".into(), "b".into()]);
        news.reader_begins();
        news.note_ended("c".into());
        assert!(
            has_rung().await,
            "somebody may wait for what comes after it"
        );
    }
}

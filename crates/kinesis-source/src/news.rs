use std::{
    mem,
    sync::{Mutex, PoisonError},
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
}

impl News {
    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }

    /// The shard's reader has ended.
    pub(crate) fn note_ended(&self, shard: ShardId) {
        let ended = self.ended.lock();
        ended.unwrap_or_else(PoisonError::into_inner).push(shard);
        self.ring();
    }

    /// Whose readers have ended since the last time.
    pub(crate) fn take_ended(&self) -> Vec<ShardId> {
        let ended = self.ended.lock();
        mem::take(&mut *ended.unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for the bell. It is heard once.
    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }
}

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{ApiError, ShardId, SourceEvent, condition::Condition, reporter::Reporter};

/// What is told about one shard, over all lives of its reader.
///
/// Its machines decide what is news; this tells them the time, and reports what they say.
#[derive(Debug)]
pub(crate) struct ShardWatch {
    shard: ShardId,
    reporter: OnceLock<Reporter>,
    condition: Mutex<Condition>,
}

impl ShardWatch {
    pub(crate) fn new(shard: ShardId) -> Self {
        Self {
            condition: Mutex::new(Condition::new(shard.clone())),
            shard,
            reporter: OnceLock::new(),
        }
    }

    /// Reports by this from now on, if nothing was reported before.
    pub(crate) fn report_by(&self, reporter: Reporter) {
        // Whoever has reported alone is read alone.
        let _ = self.reporter.set(reporter);
    }

    /// Reports something that its machines do not know of.
    pub(crate) fn report(&self, event: impl FnOnce(ShardId) -> SourceEvent) {
        self.say([event(self.shard.clone())]);
    }

    /// A read was answered, or a subscription has sent something.
    pub(crate) fn answered(&self, millis_behind_latest: Option<u64>) {
        let behind = millis_behind_latest.map(Duration::from_millis);
        let news = self.lock().answered(behind, Instant::now());
        self.say(news);
    }

    /// All up to the tip was read and handed out.
    pub(crate) fn reached_tip(&self) {
        let news = self.lock().reached_tip();
        self.say(news);
    }

    /// A read was refused, as too much is read of the shard.
    pub(crate) fn refused(&self) {
        let news = self.lock().refused(Instant::now());
        self.say(news);
    }

    /// A read failed otherwise.
    pub(crate) fn failed(&self, error: &ApiError) {
        let news = self.lock().failed(error, Instant::now());
        self.say(news);
    }

    fn say(&self, news: impl IntoIterator<Item = SourceEvent>) {
        for event in news {
            let reporter = self.reporter.get_or_init(Reporter::alone);
            reporter.report(&event);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Condition> {
        let lock = self.condition.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }
}

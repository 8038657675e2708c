use std::{
    fmt,
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::time::{Instant, sleep_until};

use crate::{
    ApiError, KinesisApi, Position, RecordsPage, Remedy, ShardId, ShardIterator, WaitingFor,
    arrival::Survey,
    governor::{BYTES_PER_SECOND, Governor},
    listing::within_deadline_from,
    shard_watch::ShardWatch,
};

/// The calls for one shard that the service allows only so many of, one after another.
///
/// It outlives the shard's readers, and is all that makes such calls of a shard that is read: the service
/// counts them whatever they are made for, be it to read on, to go on elsewhere or to look for a record.
pub(crate) struct ShardCalls {
    iterators: Calls,
    reads: Calls,
    /// How many bytes each record counts as at least, if the service counts records, too.
    least_bytes: OnceLock<u64>,
    /// When SubscribeToShard may be called again.
    subscribe_at: Mutex<Instant>,
}

/// Those of one kind.
struct Calls {
    operation: &'static str,
    governor: Mutex<Governor>,
}

/// One that is on its way. The service may have answered one that is given up.
struct OnItsWay<'a> {
    /// None once it is answered.
    governor: Option<&'a Mutex<Governor>>,
    /// How many bytes that answer may have.
    expected: u64,
}

impl ShardCalls {
    /// Of a shard with that seed.
    pub(crate) fn new(seed: u64) -> Self {
        let now = Instant::now();
        let calls = |operation| Calls {
            operation,
            governor: Mutex::new(Governor::new(now, seed)),
        };
        Self {
            iterators: calls("GetShardIterator"),
            reads: calls("GetRecords"),
            least_bytes: OnceLock::new(),
            subscribe_at: Mutex::new(now),
        }
    }

    /// The service lets so many records of the shard be read in a second, too.
    pub(crate) fn count_records(&self, per_second: NonZeroU32) {
        let least = BYTES_PER_SECOND.div_ceil(per_second.get().into());
        // It is told once, before it is read.
        let _ = self.least_bytes.set(least);
    }

    /// What so many records count as, in bytes.
    fn counted(&self, records: usize, bytes: u64) -> u64 {
        let least = self.least_bytes.get().copied().unwrap_or(0);
        bytes.max(least.saturating_mul(records as u64))
    }

    /// Waits until an iterator may be asked for. Cancel safe.
    pub(crate) async fn wait_for_iterator(&self, watch: &ShardWatch) {
        let _ = self.iterators.wait_for_turn(watch).await;
    }

    /// Waits until the shard may be read. Cancel safe.
    pub(crate) async fn wait_for_read(&self, watch: &ShardWatch) {
        let _ = self.reads.wait_for_turn(watch).await;
    }

    /// An iterator, as soon as it may be asked for. Cancel safe.
    pub(crate) async fn iterator(
        &self,
        api: &dyn KinesisApi,
        shard: &ShardId,
        position: &Position,
        watch: &ShardWatch,
    ) -> Result<ShardIterator, ApiError> {
        let now = self.iterators.wait_for_turn(watch).await;
        let call = api.get_shard_iterator(shard, position);
        self.iterators.make(now, call, 0, |_| 0, watch).await
    }

    /// What is there of a shard, as soon as it may be read: at most `limit` records, which should have no more bytes
    /// than `expected`. Cancel safe.
    pub(crate) async fn read(
        &self,
        api: &dyn KinesisApi,
        (shard, iterator): (&ShardId, &ShardIterator),
        limit: usize,
        expected: u64,
        watch: &ShardWatch,
    ) -> Result<(RecordsPage, Survey), ApiError> {
        let now = self.reads.wait_for_turn(watch).await;
        let call = async {
            let page = api.get_records(iterator, limit).await?;
            let survey = Survey::of(&page.records, shard);
            Ok((page, survey))
        };
        let counted =
            |(page, survey): &(RecordsPage, Survey)| self.counted(page.records.len(), survey.bytes);
        let expected = self.counted(limit, expected);
        self.reads.make(now, call, expected, counted, watch).await
    }

    /// When the shard may be subscribed to.
    pub(crate) fn may_subscribe_at(&self) -> Instant {
        *lock(&self.subscribe_at)
    }

    /// It may not be before then.
    pub(crate) fn subscribe_no_sooner_than(&self, moment: Instant) {
        let mut at = lock(&self.subscribe_at);
        *at = moment.max(*at);
    }
}

impl Calls {
    /// Returns what time it is then.
    async fn wait_for_turn(&self, watch: &ShardWatch) -> Instant {
        let ready_at = self.governor().ready_at();
        let now = Instant::now();
        if ready_at <= now {
            return now;
        }
        watch.waits_from(now, WaitingFor::Turn, ready_at - now);
        sleep_until(ready_at).await;
        Instant::now()
    }

    /// Makes a call, now.
    async fn make<T>(
        &self,
        now: Instant,
        call: impl Future<Output = Result<T, ApiError>>,
        expected: u64,
        bytes: impl FnOnce(&T) -> u64,
        watch: &ShardWatch,
    ) -> Result<T, ApiError> {
        watch.waits_for_answer_from(now, self.operation);
        self.governor().sent(now);
        let mut on_its_way = OnItsWay {
            governor: Some(&self.governor),
            expected,
        };
        let answer = within_deadline_from(now, self.operation, call).await;
        on_its_way.governor = None;
        let (now, mut governor) = (Instant::now(), self.governor());
        match &answer {
            Ok(answer) => governor.answered(now, bytes(answer)),
            Err(error) if error.remedy() == Remedy::Wait => governor.refused(now),
            Err(_) => governor.failed(now),
        }
        drop(governor);
        answer
    }

    fn governor(&self) -> MutexGuard<'_, Governor> {
        lock(&self.governor)
    }
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        if let Some(governor) = self.governor {
            lock(governor).given_up(Instant::now(), self.expected);
        }
    }
}

impl fmt::Debug for ShardCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardCalls").finish_non_exhaustive()
    }
}

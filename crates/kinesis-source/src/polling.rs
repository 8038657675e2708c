use std::{
    cell::LazyCell,
    future::{Future, poll_fn},
    mem,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    ApiError, ByteBudget, KinesisApi, RecordsPage, ShardIterator, WaitingFor,
    arrival::{self, Arrival, Survey},
    byte_budget::Charge,
    doubt::Found,
    footprint::{MOST_TAKEN, Need, taken},
    progress::Progress,
    read_size::{MOST_BYTES, MOST_RECORDS, ReadSize},
    unread::MARGIN,
};

/// Reads a shard by GetRecords, as often as it is asked to and may.
#[derive(Debug)]
pub(crate) struct Polling {
    api: Arc<dyn KinesisApi>,
    cursor: Option<Cursor>,
    read_size: ReadSize,
    idle: Duration,
}

/// Where it is.
#[derive(Debug)]
struct Cursor {
    iterator: ShardIterator,
    issued: Instant,
    /// Whether it leads on from a record that was there when it was issued.
    is_proven: bool,
}

/// An iterator lives for five minutes. An older one than this is not worth a try.
/// (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetShardIterator.html>)
const ITERATOR_AGE: Duration = Duration::from_secs(4 * 60 + 30);

/// A record that has just been there keeps what comes after it for so long, or it would be looked for
/// again and again where answers have no room for more.
const PROVEN_FOR: Duration = Duration::from_secs(10);

/// A record of so many bytes may be read once more with each answer.
const CHEAP: u64 = 1024 * 1024;

/// How long to wait after a first read that finds nothing at the tip; each further one doubles it.
const FIRST_IDLE: Duration = Duration::from_millis(200);

/// The longest wait of an idle shard.
const LONGEST_IDLE: Duration = Duration::from_secs(1);

impl Polling {
    pub(crate) fn new(api: Arc<dyn KinesisApi>) -> Self {
        Self {
            api,
            cursor: None,
            read_size: ReadSize::new(MOST_BYTES),
            idle: FIRST_IDLE,
        }
    }

    pub(crate) fn api(&self) -> Arc<dyn KinesisApi> {
        Arc::clone(&self.api)
    }

    pub(crate) fn read_at_most(&mut self, bytes: u64) {
        self.read_size = ReadSize::new(bytes);
    }

    /// One read, of at most `wanted` records.
    pub(crate) async fn next(
        &mut self,
        progress: &Progress,
        budget: &ByteBudget,
        wanted: usize,
    ) -> Result<Arrival, ApiError> {
        // It is got before, as others can read meanwhile; and once more if it has grown too old by then.
        self.iterator(progress).await?;
        let (calls, watch) = (progress.calls(), progress.watch());
        calls.wait_for_read(watch).await;
        let limit = self.read_size.limit(wanted);
        let expected = self.read_size.expected(limit);
        let need = Need {
            expected: self.read_size.room(limit),
            // With the one that may be looked for.
            most: taken(limit as u64 + 1, MOST_BYTES).min(MOST_TAKEN),
        };
        budget.lull().await;
        let grant = watch.waits_for_room(budget, need).await;
        let iterator = self.iterator(progress).await?;
        // The one that is looked for comes as well.
        let limit = limit + usize::from(progress.doubt().is_some() && limit < MOST_RECORDS);
        let from = (progress.shard(), &iterator);
        let (mut page, mut survey) = {
            let mut read = pin!(calls.read(&*self.api, from, limit, expected, watch));
            let mut is_begun = false;
            let answer = poll_fn(|context| {
                let answer = read.as_mut().poll(context);
                if !mem::replace(&mut is_begun, true) {
                    budget.begun(answer.is_pending());
                }
                answer
            });
            answer.await?
        };
        let charge = grant.answered(survey.taken);
        self.read_size.note(page.records.len(), survey.bytes);
        let records = &mut page.records;
        let found = arrival::drop_repeated("GetRecords", records, &mut survey, progress)?;
        Ok(self.accept(page, survey, charge, found, limit))
    }

    /// An iterator that is young enough.
    async fn iterator(&mut self, progress: &Progress) -> Result<ShardIterator, ApiError> {
        let is_doubtful = self.is_doubtful(progress);
        if let Some(Cursor {
            iterator, issued, ..
        }) = &self.cursor
            && issued.elapsed() < ITERATOR_AGE
            && !is_doubtful
        {
            return Ok(iterator.clone());
        }
        if is_doubtful {
            progress.begin_doubt();
        }
        self.cursor = None;
        let position = progress.position();
        let (calls, watch) = (progress.calls(), progress.watch());
        let answer = calls.iterator(&*self.api, progress.shard(), &position, watch);
        let iterator = answer.await?;
        self.cursor = Some(Cursor::at(iterator.clone()));
        Ok(iterator)
    }

    /// Whether what comes next may not be kept any more, and an iterator would go on silently after it.
    fn is_doubtful(&self, progress: &Progress) -> bool {
        let is_proven = self.cursor.as_ref().is_some_and(Cursor::is_proven);
        // Where an answer has room for several records, to have the last one again costs next to nothing.
        let is_cheap = self.read_size.expected(1) <= CHEAP;
        let asked = LazyCell::new(|| self.api.now());
        let now = || *asked;
        !is_proven
            && (progress.may_be_trimmed(MARGIN, now) || (is_cheap && progress.is_long_behind(now)))
    }

    /// Moves on after an answer.
    fn accept(
        &mut self,
        page: RecordsPage,
        survey: Survey,
        charge: Charge,
        found: Option<Found>,
        limit: usize,
    ) -> Arrival {
        let arrival = Arrival {
            is_full: page.records.len() >= limit,
            records: page.records,
            survey,
            charge,
            found,
            millis_behind_latest: page.millis_behind_latest,
            children: page.children,
            says_end: page.next.is_none(),
            is_end: false,
        };
        self.cursor = page.next.map(|iterator| Cursor {
            is_proven: matches!(arrival.found, Some(Found::It(_))) && arrival.records.is_empty(),
            ..Cursor::at(iterator)
        });
        if !arrival.records.is_empty() {
            self.idle = FIRST_IDLE;
        }
        arrival
    }

    /// Waits after an answer that found nothing at the tip.
    pub(crate) async fn rest(&mut self, progress: &Progress) {
        progress
            .watch()
            .waits_for(WaitingFor::NewRecords, self.idle);
        sleep(self.idle).await;
        self.idle = LONGEST_IDLE.min(self.idle * 2);
    }

    /// Whether it has a place in the shard that the service gave it.
    pub(crate) fn has_place(&self) -> bool {
        self.cursor.is_some()
    }

    /// Goes on where the progress says: there, if it has been told an iterator for that.
    pub(crate) fn start_over(&mut self, iterator: Option<ShardIterator>) {
        self.cursor = iterator.map(Cursor::at);
    }
}

impl Cursor {
    fn at(iterator: ShardIterator) -> Self {
        Self {
            iterator,
            issued: Instant::now(),
            is_proven: false,
        }
    }

    fn is_proven(&self) -> bool {
        self.is_proven && self.issued.elapsed() < PROVEN_FOR
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::{
        NextToken, PinnedPosition, Position, ShardId, ShardsPage, StreamSummary, Timestamp,
    };

    /// A shard with nothing in it, whose answers take that long.
    #[derive(Debug)]
    struct Empty(Duration);

    #[async_trait]
    impl KinesisApi for Empty {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(0)
        }

        async fn describe_stream_summary(&self) -> Result<StreamSummary, ApiError> {
            unreachable!("nobody asks")
        }

        async fn list_shards(&self, _: Option<NextToken>) -> Result<ShardsPage, ApiError> {
            unreachable!("nobody asks")
        }

        async fn get_shard_iterator(
            &self,
            shard: &ShardId,
            _: &Position,
        ) -> Result<ShardIterator, ApiError> {
            Ok(ShardIterator::new(shard.clone(), "0"))
        }

        async fn get_records(
            &self,
            iterator: &ShardIterator,
            _: usize,
        ) -> Result<RecordsPage, ApiError> {
            if !self.0.is_zero() {
                sleep(self.0).await;
            }
            Ok(RecordsPage {
                records: Vec::new(),
                next: Some(iterator.clone()),
                millis_behind_latest: Some(0),
                children: Vec::new(),
            })
        }
    }

    /// For how long one waits for a lull after a read that takes so long, while what is in hand is settled quickly.
    async fn lulled_after(answer: Duration) -> Duration {
        let budget = ByteBudget::default();
        let mut polling = Polling::new(Arc::new(Empty(answer)));
        let progress = Progress::new("s".into(), PinnedPosition::TrimHorizon, Arc::default());
        polling.next(&progress, &budget, 10).await.unwrap();
        let mut charge = budget.reserve(1).await.answered(50 << 20);
        let settling = tokio::spawn(async move {
            loop {
                sleep(Duration::from_micros(100)).await;
                drop(charge.split_off(1 << 20));
            }
        });
        let begun = Instant::now();
        budget.lull().await;
        settling.abort();
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn what_answers_at_once_is_read_when_what_was_read_is_dealt_with() {
        let at_once = lulled_after(Duration::ZERO).await;
        assert!(at_once > Duration::from_millis(4), "{at_once:?}");
        let over_a_network = lulled_after(Duration::from_millis(20)).await;
        assert_eq!(over_a_network, Duration::from_millis(1));
    }
}

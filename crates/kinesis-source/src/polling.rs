use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    ApiError, ByteBudget, KinesisApi, RecordsPage, Remedy, ShardIterator, WaitingFor,
    arrival::{self, Arrival},
    byte_budget::Charge,
    doubt::Found,
    governor::Governor,
    listing::within_deadline,
    progress::Progress,
    read_size::{MOST_BYTES, MOST_RECORDS, ReadSize},
    unread::MARGIN,
};

/// Reads a shard by GetRecords, as often as it is asked to and may.
#[derive(Debug)]
pub(crate) struct Polling {
    api: Arc<dyn KinesisApi>,
    cursor: Option<Cursor>,
    reads: Governor,
    read_size: ReadSize,
    iterators: Governor,
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

/// How long to wait after a first read that finds nothing at the tip; each further one doubles it.
const FIRST_IDLE: Duration = Duration::from_millis(200);

/// The longest wait of an idle shard.
const LONGEST_IDLE: Duration = Duration::from_secs(1);

impl Polling {
    pub(crate) fn new(api: Arc<dyn KinesisApi>, seed: u64) -> Self {
        let now = Instant::now();
        Self {
            api,
            cursor: None,
            reads: Governor::new(now, seed),
            read_size: ReadSize::new(MOST_BYTES),
            iterators: Governor::new(now, seed),
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
        wait_for_turn(progress, self.reads.ready_at()).await;
        let limit = self.read_size.limit(wanted);
        let expected = self.read_size.expected(limit);
        let grant = progress.watch().waits_for_room(budget, expected).await;
        let iterator = self.iterator(progress).await?;
        // The one that is looked for comes as well.
        let limit = limit + usize::from(progress.doubt().is_some() && limit < MOST_RECORDS);
        let operation = "GetRecords";
        progress.watch().waits_for_answer(operation);
        self.reads.sent(Instant::now());
        let call = self.api.get_records(&iterator, limit);
        let answer = within_deadline(operation, call).await;
        let now = Instant::now();
        if let Err(error) = &answer {
            match error.remedy() {
                Remedy::Wait => self.reads.refused(now),
                _ => self.reads.failed(now),
            }
        }
        let mut page = answer?;
        let bytes = arrival::bytes(&page.records);
        let charge = grant.answered(bytes);
        self.reads.answered(now, bytes);
        self.read_size.note(page.records.len(), bytes);
        let found = arrival::drop_repeated(operation, &mut page.records, progress)?;
        Ok(self.accept(page, charge, found, limit))
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
        wait_for_turn(progress, self.iterators.ready_at()).await;
        let operation = "GetShardIterator";
        progress.watch().waits_for_answer(operation);
        self.iterators.sent(Instant::now());
        let call = self.api.get_shard_iterator(progress.shard(), &position);
        let answer = within_deadline(operation, call).await;
        self.iterators.answered(Instant::now(), 0);
        let iterator = answer?;
        self.cursor = Some(Cursor::at(iterator.clone()));
        Ok(iterator)
    }

    /// Whether what comes next may not be kept any more, and an iterator would go on silently after it.
    fn is_doubtful(&self, progress: &Progress) -> bool {
        let is_proven = self.cursor.as_ref().is_some_and(Cursor::is_proven);
        !is_proven && progress.may_be_trimmed(MARGIN, || self.api.now())
    }

    /// Moves on after an answer.
    fn accept(
        &mut self,
        page: RecordsPage,
        charge: Charge,
        found: Option<Found>,
        limit: usize,
    ) -> Arrival {
        let arrival = Arrival {
            is_full: page.records.len() >= limit,
            records: page.records,
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

    /// Goes on where the progress says.
    pub(crate) fn start_over(&mut self) {
        self.cursor = None;
    }
}

/// Waits until a call may be made.
async fn wait_for_turn(progress: &Progress, ready_at: Instant) {
    let wait = ready_at.saturating_duration_since(Instant::now());
    if !wait.is_zero() {
        progress.watch().waits_for(WaitingFor::Turn, wait);
        sleep_until(ready_at).await;
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

use std::{mem, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    ApiError, ByteBudget, KinesisApi, Position, RecordsPage, Remedy, ShardIterator, WaitingFor,
    arrival::{self, Arrival},
    byte_budget::Charge,
    doubt::Found,
    feed::Begin,
    governor::Governor,
    listing::within_deadline,
    progress::Progress,
    read_size::{MOST_BYTES, ReadSize},
};

/// Reads a shard by GetRecords, as often as it is asked to and may.
#[derive(Debug)]
pub(crate) struct Polling {
    api: Arc<dyn KinesisApi>,
    cursor: Option<Cursor>,
    begin: Begin,
    reads: Governor,
    read_size: ReadSize,
    iterators: Governor,
    idle: Duration,
    last_read: Instant,
}

/// Where it is.
#[derive(Debug)]
struct Cursor {
    iterator: ShardIterator,
    issued: Instant,
}

/// An iterator lives for five minutes. An older one than this is not worth a try.
/// (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetShardIterator.html>)
const ITERATOR_AGE: Duration = Duration::from_secs(4 * 60 + 30);

/// After so long, what comes next may not be kept any more: some hours before the 24 that the service
/// keeps everything.
pub(crate) const LONG_AGO: Duration = Duration::from_secs(20 * 3_600);

/// How long to wait after a first read that finds nothing at the tip; each further one doubles it.
const FIRST_IDLE: Duration = Duration::from_millis(200);

/// The longest wait of an idle shard.
const LONGEST_IDLE: Duration = Duration::from_secs(1);

impl Polling {
    pub(crate) fn new(api: Arc<dyn KinesisApi>, begin: Begin, seed: u64) -> Self {
        let now = Instant::now();
        Self {
            api,
            cursor: None,
            begin,
            reads: Governor::new(now, seed),
            read_size: ReadSize::new(MOST_BYTES),
            iterators: Governor::new(now, seed),
            idle: FIRST_IDLE,
            last_read: now,
        }
    }

    pub(crate) fn begin(&self) -> Begin {
        self.begin
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
        let limit = self.read_size.limit(wanted);
        // It is got before, as others can read meanwhile; and once more if it has grown too old by then.
        self.iterator(progress).await?;
        wait_for_turn(progress, self.reads.ready_at()).await;
        let expected = self.read_size.expected(limit);
        let grant = progress.watch().waits_for_room(budget, expected).await;
        let iterator = self.iterator(progress).await?;
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
        if let Some(Cursor { iterator, issued }) = &self.cursor
            && issued.elapsed() < ITERATOR_AGE
        {
            return Ok(iterator.clone());
        }
        self.cursor = None;
        if self.last_read.elapsed() >= LONG_AGO {
            progress.begin_doubt();
        }
        let position = match mem::replace(&mut self.begin, Begin::Pinned) {
            Begin::AtTip => Position::Latest,
            Begin::Pinned => progress.position(),
        };
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
            is_end: page.next.is_none(),
        };
        self.last_read = Instant::now();
        self.cursor = page.next.map(Cursor::at);
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
        self.begin = Begin::Pinned;
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
        }
    }
}

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use kinesis_source::{ApiError, KinesisWriteApi, PutEntry, PutOutcome, Remedy};
use stage_core::{Batch, Consumer};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::Numbered;

/// Puts records until all are in, each key in order.
///
/// A request holds no two records of one key: the first might be refused and the second stored.
#[derive(Debug)]
pub(crate) struct Put {
    api: Arc<dyn KinesisWriteApi>,
    pending: Vec<Numbered>,
    most_records: usize,
    tally: watch::Sender<Tally>,
}

/// How it went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) requests: u64,
    /// Records that were refused, and put again.
    pub(crate) refused: u64,
}

/// Records could not be put.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PutError {
    #[error("record {number} is refused, and those after it are not put")]
    Refused { number: u64, source: ApiError },
    #[error("records from {number} on cannot be put")]
    Failed { number: u64, source: ApiError },
    #[error(
        "record {number} is refused again and again with {code}, and those after it are not put"
    )]
    Hopeless { number: u64, code: String },
    #[error("PutRecords was answered for {found} of {sent} records")]
    Unbalanced { sent: usize, found: usize },
}

/// The most that a request may hold.
/// (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>)
pub(crate) const MOST_RECORDS: usize = 500;
/// The service would take 10 MiB; others, and the service of a year ago, take half.
const MOST_BYTES: usize = 5 * 1_024 * 1_024;
/// How long nothing at all may get in before it is given up. Being throttled is no reason.
const PATIENCE: Duration = Duration::from_secs(60);

impl Put {
    pub(crate) fn new(api: Arc<dyn KinesisWriteApi>) -> Self {
        Self {
            api,
            pending: Vec::new(),
            most_records: MOST_RECORDS,
            tally: watch::Sender::default(),
        }
    }

    pub(crate) fn tally(&self) -> watch::Receiver<Tally> {
        self.tally.subscribe()
    }

    /// Puts these records. Returns when all are in.
    pub(crate) async fn all(
        &mut self,
        records: impl IntoIterator<Item = Numbered>,
    ) -> Result<(), PutError> {
        self.most_records = MOST_RECORDS;
        self.pending.extend(records);
        let mut waits = waits();
        let mut moved = Instant::now();
        while !self.pending.is_empty() {
            let before = self.pending.len();
            let verdict = self.put_once().await?;
            if self.pending.len() < before {
                moved = Instant::now();
                waits = self::waits();
            }
            match verdict {
                Verdict::Done => {}
                Verdict::Throttled => sleep(waits.next().unwrap_or(LONGEST)).await,
                Verdict::Failed(_) if moved.elapsed() < PATIENCE => {
                    sleep(waits.next().unwrap_or(LONGEST)).await;
                }
                Verdict::Failed(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One request. What it stored is no longer pending.
    async fn put_once(&mut self) -> Result<Verdict, PutError> {
        let chosen = choose(&self.pending, self.most_records);
        let entries: Vec<PutEntry> = chosen
            .iter()
            .map(|&index| self.pending[index].entry.clone())
            .collect();
        let outcomes = match self.api.put_records(&entries).await {
            Ok(outcomes) => outcomes,
            Err(error) => return self.cope(error, chosen[0], entries.len()),
        };
        if outcomes.len() != entries.len() {
            let (sent, found) = (entries.len(), outcomes.len());
            return Err(PutError::Unbalanced { sent, found });
        }
        Ok(self.settle(&chosen, &outcomes))
    }

    /// Takes what was stored out of what is pending.
    fn settle(&mut self, chosen: &[usize], outcomes: &[PutOutcome]) -> Verdict {
        let mut verdict = Verdict::Done;
        let mut tally = *self.tally.borrow();
        tally.requests += 1;
        let mut is_stored = vec![false; self.pending.len()];
        for (&index, outcome) in chosen.iter().zip(outcomes) {
            let record = &self.pending[index];
            match outcome {
                PutOutcome::Stored { .. } => {
                    tally.records += 1;
                    tally.bytes += size(&record.entry) as u64;
                    is_stored[index] = true;
                }
                PutOutcome::Refused { code, .. } => {
                    tally.refused += 1;
                    verdict.add(record.number, code);
                }
            }
        }
        let mut is_stored = is_stored.into_iter();
        self.pending.retain(|_| is_stored.next() != Some(true));
        self.tally.send_replace(tally);
        verdict
    }

    /// What to make of a request that failed as a whole.
    fn cope(&mut self, error: ApiError, first: usize, records: usize) -> Result<Verdict, PutError> {
        let number = self.pending[first].number;
        match error.remedy() {
            Remedy::Wait => Ok(Verdict::Throttled),
            // One of them is to blame: put them singly to find out which.
            Remedy::Correct if records > 1 => {
                self.most_records = 1;
                Ok(Verdict::Done)
            }
            Remedy::Correct => Err(PutError::Refused {
                number,
                source: error,
            }),
            Remedy::Verify | Remedy::Authorize | Remedy::MendKey => Err(PutError::Failed {
                number,
                source: error,
            }),
            _ => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "records cannot be put; trying again"
                );
                Ok(Verdict::Failed(PutError::Failed {
                    number,
                    source: error,
                }))
            }
        }
    }
}

impl Consumer<Numbered> for Put {
    type Error = PutError;

    async fn consume(&mut self, batch: &mut Batch<Numbered>) -> Result<(), PutError> {
        self.all(batch.drain()).await
    }
}

/// What a request showed about when to make the next.
enum Verdict {
    /// All of it is in.
    Done,
    /// Some of it was refused for lack of throughput: it will pass.
    Throttled,
    /// Some of it was refused for another reason, and this is it.
    Failed(PutError),
}

impl Verdict {
    /// Takes account of a record that was refused with `code`.
    fn add(&mut self, number: u64, code: &str) {
        if Remedy::for_code(code) != Remedy::Wait {
            let code = code.to_owned();
            *self = Self::Failed(PutError::Hopeless { number, code });
        } else if matches!(self, Self::Done) {
            *self = Self::Throttled;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            records,
            bytes,
            requests,
            refused,
        } = self;
        write!(
            f,
            "put {records} records ({bytes} bytes) with {requests} requests"
        )?;
        match refused {
            0 => Ok(()),
            _ => write!(f, ", {refused} of them refused at first,"),
        }
    }
}

/// The records for the next request, by their place: the first of each key, in order.
fn choose(pending: &[Numbered], most_records: usize) -> Vec<usize> {
    let mut keys = HashSet::new();
    let mut bytes = 0;
    let mut chosen = Vec::new();
    for (index, record) in pending.iter().enumerate() {
        let fits = bytes + size(&record.entry) <= MOST_BYTES || chosen.is_empty();
        if chosen.len() == most_records || !fits {
            break;
        }
        if keys.insert(record.entry.partition_key.as_str()) {
            bytes += size(&record.entry);
            chosen.push(index);
        }
    }
    chosen
}

/// What a record counts against limits.
fn size(entry: &PutEntry) -> usize {
    entry.partition_key.len() + entry.data.len()
}

/// How long to wait after each request in a row that got nothing in.
fn waits() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(LONGEST)
        .without_max_times()
        .with_jitter()
        .build()
}

const LONGEST: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;

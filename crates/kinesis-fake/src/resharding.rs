use std::{convert::Infallible, ops::RangeInclusive, time::Duration};

use kinesis_source::{ApiError, HashRange, KinesisWriteApi, ShardId};

use crate::Fake;

/// Splits and merges of a stream, drawn from a seed, one after another on a schedule.
///
/// ```
/// use std::time::Duration;
///
/// use kinesis_fake::{Fake, Resharding};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let fake = Fake::instant(2);
/// let every_ten_seconds = Resharding::new(7).every(Duration::from_secs(10)).shards(1..=4);
/// let resharding = tokio::spawn(every_ten_seconds.run(fake.clone()));
/// tokio::time::sleep(Duration::from_secs(60)).await;
/// resharding.abort();
/// assert!(fake.shards().len() >= 7); // each of five changes made one shard or two
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing happens unless it is run"]
pub struct Resharding {
    every: Duration,
    shards: RangeInclusive<usize>,
    dice: u64,
}

/// What was done to a stream's shards.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reshard {
    /// That shard was split.
    Split(ShardId),
    /// These were merged.
    Merge(ShardId, ShardId),
}

/// How often, unless told otherwise.
const EVERY: Duration = Duration::from_secs(1);
/// How many shards are open, unless told otherwise.
const SHARDS: RangeInclusive<usize> = 1..=8;

impl Resharding {
    /// Changes that this seed decides on: one each second, with one to eight shards open.
    pub const fn new(seed: u64) -> Self {
        Self {
            every: EVERY,
            shards: SHARDS,
            dice: seed,
        }
    }

    /// How long to wait before each change, by the fake's clock: one that is
    /// [moved by hand](crate::Builder::manual_clock) has waited once however far it leaps, so move it by no
    /// more than that and let the changes be made in between. One that takes longer than that, as a split
    /// on a fake that is not [instant](Fake::instant), has the next ones refused. Less than a millisecond
    /// is taken for one.
    pub fn every(self, every: Duration) -> Self {
        Self { every, ..self }
    }

    /// How many shards are open at least and at most; a stream that has more or fewer is brought
    /// there.
    pub fn shards(self, shards: RangeInclusive<usize>) -> Self {
        Self { shards, ..self }
    }

    /// Makes the changes, for ever. One that is refused, as while another goes on, is left out.
    pub async fn run(mut self, fake: Fake) -> Infallible {
        loop {
            // A clock that stands still would never let go of us otherwise.
            let wait = self.every.max(Duration::from_millis(1));
            fake.pause_until(fake.moment().plus(wait)).await;
            // Refused is refused: the next one comes.
            let _ = self.step(&fake).await;
        }
    }

    /// Makes one change, at once; `None` if there is none to make.
    ///
    /// # Errors
    ///
    /// If the service refuses it: the stream is not there or not active, or too many calls.
    pub async fn step(&mut self, fake: &Fake) -> Result<Option<Reshard>, ApiError> {
        let open = fake.open_ranges();
        let splits = match open.len() {
            few if few <= *self.shards.start() => true,
            many if many >= *self.shards.end() => false,
            _ => self.roll(2) == 0,
        };
        match splits && *self.shards.end() > open.len() {
            true => self.split(fake, &open).await,
            false => self.merge(fake, &open).await,
        }
    }

    async fn split(
        &mut self,
        fake: &Fake,
        open: &[HashRange],
    ) -> Result<Option<Reshard>, ApiError> {
        let divisible = |range: &&HashRange| range.end - range.start >= 4;
        let open: Vec<_> = open.iter().filter(divisible).collect();
        if open.is_empty() {
            return Ok(None);
        }
        let range = open[self.roll(open.len())];
        let width = range.end - range.start;
        // Somewhere between the first and the last sixteenth.
        let part = width / 16 * (1 + self.roll(15) as u128);
        let at = range.start + part.max(2);
        let Some(shard) = fake.open_at(range.start) else {
            return Ok(None);
        };
        fake.split_shard(&shard, at).await?;
        Ok(Some(Reshard::Split(shard)))
    }

    async fn merge(
        &mut self,
        fake: &Fake,
        open: &[HashRange],
    ) -> Result<Option<Reshard>, ApiError> {
        if open.len() < 2 || open.len() <= *self.shards.start() {
            return Ok(None);
        }
        let first = self.roll(open.len() - 1);
        let [a, b] = [first, first + 1].map(|index| fake.open_at(open[index].start));
        let (Some(a), Some(b)) = (a, b) else {
            return Ok(None);
        };
        fake.merge_shards(&a, &b).await?;
        Ok(Some(Reshard::Merge(a, b)))
    }

    /// A number below `sides`, which is not zero.
    fn roll(&mut self, sides: usize) -> usize {
        // Knuth's numbers; the upper bits are the better ones.
        self.dice = self
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) as usize % sides // 31 bits fit everywhere
    }
}

//! How far the shards are is stored, now and then and at the end.

use std::time::Duration;

use tokio::{
    select,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::warn;

use super::{
    Means,
    awaited::Awaited,
    open_stream::{OpenStream, Unstored},
};
use crate::{CheckpointError, StreamError, StreamIdentity, WaitingFor, progress::Progress};

/// How long storing checkpoints may take. Nothing else is attended to meanwhile.
pub(super) const SAVE_DEADLINE: Duration = Duration::from_secs(10);

/// How often to store checkpoints during a drain, besides at each acknowledgement: after a try that has
/// failed.
const SAVE_IN_DRAIN: Duration = Duration::from_secs(1);

/// After so long at most the last checkpoints are tried again.
const LAST_SAVE_AGAIN: Duration = Duration::from_secs(1);

/// How long that may take once every shard's reader has ended, altogether.
const LAST_SAVED_WITHIN: Duration = SAVE_DEADLINE;

/// How long one of these tries may take, and one that was under way: so that one that hangs is not the
/// only one.
const LAST_SAVE: Duration = Duration::from_secs(5);

impl Means {
    /// Stores the last checkpoints, once every shard's reader has ended. That takes
    /// [`LAST_SAVED_WITHIN`] at most, whatever the store does.
    pub(super) async fn save_last(&mut self, opened: &mut OpenStream) -> Result<(), StreamError> {
        opened.take_ended(self.news.take_ended());
        // A drain may be cut off at any moment, and nothing can be stored after that.
        self.saving.store_each();
        let mut save_at = Instant::now();
        let mut ended_at = Instant::now();
        let mut readers = Awaited::default();
        while !readers.is_over(&opened.active, Progress::has_ended) {
            let is_due = self.saving.is_due() && !self.saving.is_failing();
            let ended_in_save = if is_due || Instant::now() >= save_at {
                let ended = self.save_in_drain(opened, &mut readers).await;
                save_at = Instant::now() + SAVE_IN_DRAIN;
                ended
            } else {
                self.watch.waits_for(WaitingFor::Acknowledgements, None);
                select! {
                    biased;
                    () = self.news.rung() => {}
                    () = sleep_until(save_at) => {}
                }
                None
            };
            ended_at = ended_in_save.unwrap_or_else(Instant::now);
            opened.take_ended(self.news.take_ended());
        }
        let until = ended_at + LAST_SAVED_WITHIN;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Err(error) = self.save_within(opened, left.min(LAST_SAVE)).await else {
                return Ok(());
            };
            let next = Instant::now() + self.backoff.failed().min(LAST_SAVE_AGAIN);
            if next >= until {
                return Err(StreamError::checkpoint(&self.source.name, error));
            }
            sleep_until(next).await;
        }
    }

    /// Stores what it can, as a drain may be cut off at any moment; it is tried again. Returns when every
    /// shard's reader had ended, if that came first: then it does not go on for long.
    async fn save_in_drain(
        &self,
        opened: &mut OpenStream,
        readers: &mut Awaited,
    ) -> Option<Instant> {
        let mut ended_at = None;
        let given_up = async {
            while !readers.is_over_with_these(Progress::has_ended) {
                self.news.rung().await;
            }
            ended_at = Some(Instant::now());
            sleep(LAST_SAVE).await;
        };
        select! {
            biased;
            _ = self.save(opened) => {}
            () = given_up => {}
        }
        ended_at
    }

    /// As [`save_within`](Self::save_within), with the time that there is while all goes on.
    pub(super) async fn save(&self, opened: &mut OpenStream) -> Result<(), CheckpointError> {
        self.save_within(opened, SAVE_DEADLINE).await
    }

    /// Stores what has been acknowledged since the last time. If that fails it is tried again with
    /// the next; the old checkpoints stay good, and shards go on only so far.
    async fn save_within(
        &self,
        opened: &mut OpenStream,
        within: Duration,
    ) -> Result<(), CheckpointError> {
        opened.save_at = Instant::now() + self.source.checkpoint_every;
        self.saving.begin();
        let news = opened.unstored();
        if news.is_empty() {
            self.watch.note_stored();
            // Nothing is amiss that is not on its way still: shards that wait may go on with that.
            self.saving.ended(false);
            return Ok(());
        }
        let save = self.store(&opened.stream, &news);
        let saved = self.in_time(save, within).await;
        self.saving.ended(saved.is_err());
        match saved {
            Ok(()) => {
                opened.note_stored(news);
                self.watch.note_stored();
                Ok(())
            }
            Err(error) => {
                self.watch.note_unstored(&error);
                Err(error)
            }
        }
    }

    async fn store(
        &self,
        stream: &StreamIdentity,
        unstored: &Unstored,
    ) -> Result<(), CheckpointError> {
        let store = &self.source.store;
        if !unstored.sought.is_empty() {
            match store.rewind(stream, &unstored.sought).await {
                Err(CheckpointError::CannotGoBack) => {
                    warn!(%stream, "a shard is read from further back, which this store of checkpoints cannot remember");
                    store.save(stream, &unstored.sought).await?;
                }
                rewound => rewound?,
            }
        }
        if unstored.news.is_empty() {
            return Ok(());
        }
        store.save(stream, &unstored.news).await
    }

    /// A store that does not answer has failed.
    pub(super) async fn in_time(
        &self,
        save: impl Future<Output = Result<(), CheckpointError>>,
        within: Duration,
    ) -> Result<(), CheckpointError> {
        self.watch.waits_for(WaitingFor::CheckpointStore, within);
        in_time(save, within, &self.source.name).await
    }
}

/// A store that does not answer has failed.
pub(super) async fn in_time(
    save: impl Future<Output = Result<(), CheckpointError>>,
    within: Duration,
    name: &str,
) -> Result<(), CheckpointError> {
    match timeout(within, save).await {
        Ok(saved) => saved,
        Err(_) => Err(CheckpointError::Unavailable {
            place: format!("the store of stream `{name}`"),
            source: format!("no answer within {} s", within.as_secs()).into(),
        }),
    }
}

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};

use crate::{ApiError, KinesisApi, Shard, listing::list_all_shards};

/// Lists the shards of a stream for all who ask: a hundred shards that end at once need one listing.
///
/// Whoever asks gets a listing that began after that, or its error, and shares it with all who asked
/// before it began. So one is on its way at most, and they begin [`BETWEEN`] apart.
#[derive(Debug)]
pub(crate) struct SharedListing {
    api: Arc<dyn KinesisApi>,
    /// How many have begun.
    begun: AtomicU64,
    last: Mutex<Option<Last>>,
}

/// One for all who share it: a stream may have thousands of shards, all of which may end at once.
type Answer = Result<Arc<Vec<Shard>>, ApiError>;

#[derive(Debug)]
struct Last {
    /// Which it was.
    number: u64,
    began: Instant,
    answer: Answer,
}

/// ListShards may be called a hundred times a second in an account, for all of its streams; a stream
/// of 10,000 shards has ten pages.
/// (<https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>)
const BETWEEN: Duration = Duration::from_millis(200);

impl SharedListing {
    pub(crate) fn new(api: Arc<dyn KinesisApi>) -> Self {
        Self {
            api,
            begun: AtomicU64::new(0),
            last: Mutex::new(None),
        }
    }

    /// All shards of the stream, as they are listed from now on. Cancel safe: the next who waits lists
    /// them.
    pub(crate) async fn list(&self) -> Answer {
        let begun_before = self.begun.load(Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if let Some(last) = last.as_ref().filter(|it| it.number > begun_before) {
            return last.answer.clone();
        }
        if let Some(last) = last.as_ref() {
            sleep_until(last.began + BETWEEN).await;
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let began = Instant::now();
        let answer = list_all_shards(&*self.api).await.map(Arc::new);
        *last = Some(Last {
            number,
            began,
            answer: answer.clone(),
        });
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HashRange, MockKinesisApi, ShardsPage};

    #[tokio::test(start_paused = true)]
    async fn who_asks_at_once_shares_one_and_who_asks_later_has_the_next() {
        let mut api = MockKinesisApi::new();
        api.expect_list_shards().times(2).returning(|_| {
            let shard = Shard {
                id: "s".into(),
                parent: None,
                adjacent_parent: None,
                hash_range: HashRange::ALL,
                starting_sequence_number: 0.into(),
                ending_sequence_number: None,
            };
            let shards = vec![shard];
            Ok(ShardsPage { shards, next: None })
        });
        let listing = SharedListing::new(Arc::new(api));
        let start = Instant::now();
        // All have asked before the first of them can begin.
        let held = listing.last.lock().await;
        let begin = async { drop(held) };
        let asks = (listing.list(), listing.list(), listing.list());
        let (a, b, c, ()) = tokio::join!(asks.0, asks.1, asks.2, begin);
        assert!(a.is_ok() && b.is_ok() && c.is_ok());
        // It is not what it was then that is asked for.
        listing.list().await.unwrap();
        assert_eq!(start.elapsed(), BETWEEN);
    }
}

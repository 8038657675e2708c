use std::time::Duration;

use tokio::{sync::Notify, time::timeout};

/// Lets what was read be dealt with before more is read, if that takes no time.
///
/// A thousand shards that are behind would all be read before the first record is taken in, as each has
/// demand: their answers would be in memory, where they could be in the processor's cache, one after the other.
#[derive(Debug, Default)]
pub(super) struct Lull(Notify);

/// With so many bytes in hand, others wait: a part of what the cache of a core has room for, as what was asked for it lies
/// there, too.
const MUCH: u64 = 256 * 1024;

/// What is not settled in that time is on a longer way, and nobody is to be held up by that.
const PATIENCE: Duration = Duration::from_millis(1);

impl Lull {
    /// So many bytes are in hand now.
    pub(super) fn note(&self, in_hand: u64) {
        if in_hand <= MUCH {
            self.0.notify_one();
        }
    }

    /// Waits while many bytes are in hand, but not for long. Those who wait go on one at a time, in the order
    /// in which they came; whoever does is to have what it reads [noted](Self::note). Cancel safe.
    pub(super) async fn come(&self, in_hand: impl Fn() -> u64) {
        if in_hand() <= MUCH {
            return;
        }
        let come = async {
            while in_hand() > MUCH {
                // It may have come before, and is over by now.
                self.0.notified().await;
            }
        };
        // If it does not come, all goes on without it.
        let _ = timeout(PATIENCE, come).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    };

    use tokio::{task::yield_now, time::Instant};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_goes_on_when_little_is_in_hand() {
        let (lull, in_hand) = (
            Arc::new(Lull::default()),
            Arc::new(AtomicU64::new(MUCH + 1)),
        );
        let begun = Instant::now();
        let waiting = [(); 2].map(|()| {
            let (lull, in_hand) = (Arc::clone(&lull), Arc::clone(&in_hand));
            tokio::spawn(async move {
                lull.come(|| in_hand.load(SeqCst)).await;
                // What it has read.
                lull.note(in_hand.load(SeqCst));
            })
        });
        yield_now().await;
        in_hand.store(MUCH, SeqCst);
        lull.note(MUCH);
        for one in waiting {
            one.await.unwrap();
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_long_for_what_is_not_dealt_with() {
        let (lull, begun) = (Lull::default(), Instant::now());
        // Of a lull that is over.
        lull.note(0);
        lull.come(|| MUCH + 1).await;
        assert_eq!(begun.elapsed(), PATIENCE);
        lull.come(|| MUCH).await;
        assert_eq!(begun.elapsed(), PATIENCE);
    }
}

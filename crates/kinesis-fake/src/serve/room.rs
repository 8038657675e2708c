use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

/// Where answers and events are until they have been written: so many bytes at once, for all
/// connections, and beside them a few for each connection that need not ask.
///
/// Who finds no room waits. Meanwhile, connections with an answer that its client leaves unread
/// [are given up](Traffic::stalled); while nobody waits, a client may stop as long as it likes.
#[derive(Clone, Debug)]
pub(super) struct Room {
    /// In KiB.
    free: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

/// What is being written to one connection.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// How many pieces of each answer in memory have been taken, by a number of its own.
    answers: Mutex<BTreeMap<u64, Arc<AtomicU64>>>,
    begun: AtomicU64,
    /// Bytes of answers that did not ask for room.
    unasked: AtomicUsize,
    news: Notify,
}

/// An answer's room.
#[derive(Debug)]
pub(super) struct Place {
    traffic: Arc<Traffic>,
    number: u64,
    taken: Arc<AtomicU64>,
    unasked: usize,
    _permit: Option<OwnedSemaphorePermit>,
}

struct Placed {
    bytes: Vec<u8>,
    _place: Place,
}

/// Bytes to be written, in pieces: so it shows whether a client takes them.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    left: Bytes,
    taken: Arc<AtomicU64>,
}

impl Room {
    pub(super) fn new() -> Self {
        Self {
            free: Arc::new(Semaphore::new(MOST_KIB as usize)),
            waiting: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// Room for an answer of about so many bytes on a connection, once there is.
    pub(super) async fn take(&self, bytes: usize, traffic: &Arc<Traffic>) -> Place {
        let bytes = bytes.max(LEAST);
        if traffic.admit_unasked(bytes) {
            return Place::new(traffic, bytes, None);
        }
        let kib = u32::try_from(bytes.div_ceil(1_024)).unwrap_or(MOST_KIB);
        let waits = Waits::begin(&self.waiting);
        // One that is larger than all the room has it for itself.
        let permit = Arc::clone(&self.free).acquire_many_owned(kib.min(MOST_KIB));
        // The semaphore is never closed.
        let permit = permit.await.ok();
        drop(waits);
        Place::new(traffic, 0, permit)
    }

    fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }
}

impl Traffic {
    /// Completes when others have waited while an answer to this client made no headway.
    pub(super) async fn stalled(&self, room: &Room) {
        loop {
            while self.answers().is_empty() {
                self.news.notified().await;
            }
            let count = |taken: &Arc<AtomicU64>| taken.load(Ordering::SeqCst);
            let before: Vec<_> = self
                .answers()
                .iter()
                .map(|(number, taken)| (*number, count(taken)))
                .collect();
            sleep(PATIENCE).await;
            let answers = self.answers();
            let stands = |(number, before): &(u64, u64)| {
                let now = answers.get(number).map(count);
                now == Some(*before)
            };
            if room.is_wanted() && before.iter().any(stands) {
                return;
            }
        }
    }

    /// Whether an answer of so many bytes need not ask; then it counts.
    fn admit_unasked(&self, bytes: usize) -> bool {
        let more = |unasked: usize| {
            let sum = unasked.saturating_add(bytes);
            (sum <= MOST_UNASKED).then_some(sum)
        };
        let (set, fetch) = (Ordering::SeqCst, Ordering::SeqCst);
        self.unasked.fetch_update(set, fetch, more).is_ok()
    }

    fn answers(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<AtomicU64>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn new(traffic: &Arc<Traffic>, unasked: usize, permit: Option<OwnedSemaphorePermit>) -> Self {
        let number = traffic.begun.fetch_add(1, Ordering::SeqCst);
        let taken = Arc::default();
        traffic.answers().insert(number, Arc::clone(&taken));
        traffic.news.notify_one();
        Self {
            traffic: Arc::clone(traffic),
            number,
            taken,
            unasked,
            _permit: permit,
        }
    }

    /// Those bytes, which give the room back once the last of them has been written or dropped.
    pub(super) fn fill(self, bytes: Vec<u8>) -> Pieces {
        let taken = Arc::clone(&self.taken);
        let left = Bytes::from_owner(Placed {
            bytes,
            _place: self,
        });
        Pieces { left, taken }
    }
}

impl Pieces {
    pub(super) fn next(&mut self) -> Option<Bytes> {
        if self.left.is_empty() {
            // Nothing is left of an empty answer but its place.
            self.left = Bytes::new();
            return None;
        }
        self.taken.fetch_add(1, Ordering::SeqCst);
        Some(self.left.split_to(self.left.len().min(PIECE)))
    }

    /// How many bytes are left.
    pub(super) fn len(&self) -> usize {
        self.left.len()
    }
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.traffic.answers().remove(&self.number);
        self.traffic
            .unasked
            .fetch_sub(self.unasked, Ordering::SeqCst);
    }
}

/// Counts one who waits, also if that is given up.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::SeqCst);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Answers in memory: nine of the largest that GetRecords gives.
const MOST_KIB: u32 = 128 * 1_024;
/// In bytes, what each connection may have in memory without asking.
const MOST_UNASKED: usize = 64 * 1_024;
/// In bytes, what an answer takes at least, with its head and what there is to say about it.
const LEAST: usize = 1_024;
/// How long a client may take for a piece while others wait.
const PATIENCE: Duration = Duration::from_secs(5);
/// In bytes, what is written of an answer at once.
const PIECE: usize = 64 * 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_has_so_much_unasked_and_gets_it_back() {
        let (room, traffic) = (Room::new(), Arc::new(Traffic::default()));
        let free = room.free.available_permits();
        let mut places = Vec::new();
        for _ in 0..64 {
            places.push(room.take(0, &traffic).await);
        }
        assert_eq!(room.free.available_permits(), free);
        places.push(room.take(0, &traffic).await);
        assert_eq!(room.free.available_permits(), free - 1, "the 65th asks");
        places.clear();
        assert_eq!(room.free.available_permits(), free);
        assert!(traffic.answers().is_empty());
        let large = room.take(PIECE + 1, &traffic).await;
        assert_eq!(room.free.available_permits(), free - 65);
        let mut pieces = large.fill(vec![7; PIECE + 1]);
        let sizes = [pieces.next(), pieces.next()].map(|piece| piece.unwrap().len());
        assert_eq!((sizes, pieces.next()), ([PIECE, 1], None));
        assert_eq!(room.free.available_permits(), free);
    }

    /// Answers that are taken beside it are no headway of one that is not.
    #[tokio::test(start_paused = true)]
    async fn one_answer_that_stands_still_while_others_wait_is_enough() {
        let (room, traffic) = (Room::new(), Arc::new(Traffic::default()));
        let all = MOST_KIB as usize * 1_024;
        let mut stands = room.take(all, &traffic).await.fill(vec![7; 30 * PIECE]);
        assert!(stands.next().is_some());
        let stalled = tokio::spawn({
            let (room, traffic) = (room.clone(), Arc::clone(&traffic));
            async move { traffic.stalled(&room).await }
        });
        let take_others = async |seconds| {
            for _ in 0..seconds {
                let mut small = room.take(1, &traffic).await.fill(vec![7; 1]);
                small.next();
                sleep(Duration::from_secs(1)).await;
            }
        };
        take_others(60).await;
        assert!(!stalled.is_finished(), "nobody waits");
        let waits = tokio::spawn({
            let (room, traffic) = (room.clone(), Arc::new(Traffic::default()));
            async move { drop(room.take(all, &traffic).await) }
        });
        for _ in 0..20 {
            take_others(4).await;
            assert!(stands.next().is_some());
            assert!(!stalled.is_finished(), "it is taken");
        }
        take_others(11).await;
        assert!(stalled.is_finished());
        drop(stands);
        waits.await.unwrap();
    }
}

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

/// Where large answers are until they have been written: so many bytes at once, for all connections.
///
/// Who finds no room waits. Meanwhile, connections whose clients leave an answer unread
/// [are given up](Traffic::stalled); while nobody waits, a client may stop as long as it likes.
#[derive(Debug)]
pub(super) struct Room {
    /// In KiB.
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// What is written to one connection.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// Bytes.
    written: AtomicU64,
    /// Large answers that have begun, ever.
    begun: AtomicU64,
    /// Those of them that are in memory.
    held: AtomicU64,
    news: Notify,
}

/// An answer's room.
#[derive(Debug)]
pub(super) struct Place {
    traffic: Arc<Traffic>,
    _permit: OwnedSemaphorePermit,
}

struct Placed {
    bytes: Vec<u8>,
    _place: Place,
}

impl Room {
    pub(super) fn new() -> Self {
        Self {
            free: Arc::new(Semaphore::new(MOST_KIB as usize)),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Room for an answer of about so many bytes on a connection, once there is; a small one needs
    /// none.
    pub(super) async fn take(&self, bytes: usize, traffic: &Arc<Traffic>) -> Option<Place> {
        if bytes <= SMALL {
            return None;
        }
        let kib = u32::try_from(bytes.div_ceil(1_024)).unwrap_or(MOST_KIB);
        let waits = Waits::begin(&self.waiting);
        // One that is larger than all the room has it for itself.
        let permit = Arc::clone(&self.free).acquire_many_owned(kib.min(MOST_KIB));
        let permit = permit.await.ok()?;
        drop(waits);
        traffic.begun.fetch_add(1, Ordering::SeqCst);
        traffic.held.fetch_add(1, Ordering::SeqCst);
        traffic.news.notify_one();
        Some(Place {
            traffic: Arc::clone(traffic),
            _permit: permit,
        })
    }

    fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }
}

impl Traffic {
    pub(super) fn wrote(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::SeqCst);
    }

    /// Completes when others have waited while an answer to this client made no headway.
    pub(super) async fn stalled(&self, room: &Room) {
        let load = |count: &AtomicU64| count.load(Ordering::SeqCst);
        loop {
            while load(&self.held) == 0 {
                self.news.notified().await;
            }
            let before = (load(&self.begun), load(&self.written));
            sleep(PATIENCE).await;
            let slow = load(&self.written) - before.1 < HEADWAY;
            if load(&self.held) > 0 && load(&self.begun) == before.0 && slow && room.is_wanted() {
                return;
            }
        }
    }
}

impl Place {
    /// Those bytes, which give the room back once the last of them has been written or dropped.
    pub(super) fn fill(self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Placed {
            bytes,
            _place: self,
        })
    }
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.traffic.held.fetch_sub(1, Ordering::SeqCst);
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

/// Large answers in memory: nine of the largest that GetRecords gives.
const MOST_KIB: u32 = 128 * 1_024;
/// In bytes, what each connection may be sent without asking.
const SMALL: usize = 64 * 1_024;
/// How long a client may leave an answer unread while others wait.
const PATIENCE: Duration = Duration::from_secs(5);
/// In that time, at least so many bytes must be written.
const HEADWAY: u64 = 64 * 1_024;

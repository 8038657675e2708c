use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

/// Where the bodies of requests are until their calls have been made: so many bytes at once, for all
/// connections, and beside them an [`Allowance`] of each connection.
///
/// A body takes as much as it may come to have, before any of it is read. Who finds no room waits.
#[derive(Debug)]
pub(super) struct Bodies {
    /// In KiB.
    free: Arc<Semaphore>,
    /// Somebody waited in vain, and nobody has found room since.
    crowded: AtomicBool,
}

/// What all bodies of one connection may have together without asking for room: over HTTP/2, there
/// are many at a time.
#[derive(Debug)]
pub(super) struct Allowance {
    /// In KiB.
    free: Arc<Semaphore>,
}

/// A body that has come, and its room, which it has until its last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    bytes: Bytes,
    _room: Arc<OwnedSemaphorePermit>,
}

impl Placed {
    fn new(bytes: Bytes, room: OwnedSemaphorePermit) -> Self {
        let _room = Arc::new(room);
        Self { bytes, _room }
    }
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why a body could not be had.
#[derive(Debug)]
pub(super) enum Unread {
    /// It is larger than any may be.
    TooLarge,
    /// It broke off.
    Failed,
    /// It made no headway.
    Stalled,
    /// It was not there in time.
    TooSlow,
    /// There was no room for it all the while.
    NoRoom,
}

impl Bodies {
    pub(super) fn new() -> Self {
        Self {
            free: Arc::new(Semaphore::new(MOST_KIB as usize)),
            crowded: AtomicBool::new(false),
        }
    }

    /// All of a body, once there is room for it.
    pub(super) async fn read(
        &self,
        body: Incoming,
        allowance: &Allowance,
    ) -> Result<Placed, Unread> {
        let size = body.size_hint();
        if size.lower() > MOST_BODY as u64 {
            return Err(Unread::TooLarge);
        }
        let most = size.upper().unwrap_or(u64::MAX).min(MOST_BODY as u64);
        // At least something, so that none is for nothing.
        let kib = (most.div_ceil(1_024) as u32).max(1);
        let body = Limited::new(body, MOST_BODY);
        let deadline = Instant::now() + BODY_TIMEOUT;
        let (room, patience) = match Arc::clone(&allowance.free).try_acquire_many_owned(kib) {
            Ok(room) => (room, None),
            Err(_) => (self.room(kib).await?, Some(PATIENCE)),
        };
        let bytes = timeout_at(deadline, gather(body, patience)).await;
        let bytes = bytes.unwrap_or(Err(Unread::TooSlow))?;
        Ok(Placed::new(bytes, room))
    }

    /// Takes a body that nobody wants to its end, and keeps nothing of it: the next request on its
    /// connection begins there. Whether it came to that: not if it has more than a body may, or has not
    /// ended after [`PATIENCE`].
    pub(super) async fn discard(body: Incoming) -> bool {
        if body.size_hint().lower() > MOST_BODY as u64 {
            return false;
        }
        timeout(PATIENCE, to_its_end(body)).await.unwrap_or(false)
    }

    /// Room for a body that is not too large, once there is.
    async fn room(&self, kib: u32) -> Result<OwnedSemaphorePermit, Unread> {
        let room = Arc::clone(&self.free).acquire_many_owned(kib);
        match timeout(ROOM_TIMEOUT, room).await {
            // The semaphore is never closed.
            Ok(room) => {
                if self.crowded.swap(false, Ordering::Relaxed) {
                    tracing::info!("there is room for bodies of requests again");
                }
                room.map_err(|_| Unread::NoRoom)
            }
            Err(_) => {
                if !self.crowded.swap(true, Ordering::Relaxed) {
                    tracing::warn!("there is no room for bodies of requests: others are refused");
                }
                Err(Unread::NoRoom)
            }
        }
    }
}

impl Allowance {
    pub(super) fn new() -> Self {
        Self {
            free: Arc::new(Semaphore::new(ALLOWED_KIB as usize)),
        }
    }
}

/// Takes a body to its end, and keeps nothing of it. Whether it came to that: not if it has more than a body may,
/// or breaks off.
pub(super) async fn to_its_end(body: Incoming) -> bool {
    let mut body = Limited::new(body, MOST_BODY);
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return false;
        }
    }
    true
}

/// Reads a body to its end. With `patience`, it must make [headway](HEADWAY) each time: it may keep
/// others waiting.
async fn gather(mut body: Limited<Incoming>, patience: Option<Duration>) -> Result<Bytes, Unread> {
    let mut read = BytesMut::new();
    loop {
        let enough = read.len() + HEADWAY;
        let deadline = patience.map(|patience| Instant::now() + patience);
        while read.len() < enough {
            let frame = match deadline {
                None => body.frame().await,
                Some(deadline) => timeout_at(deadline, body.frame())
                    .await
                    .map_err(|_| Unread::Stalled)?,
            };
            match frame {
                None => return Ok(read.freeze()),
                Some(Err(error)) if error.is::<LengthLimitError>() => {
                    return Err(Unread::TooLarge);
                }
                Some(Err(_)) => return Err(Unread::Failed),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        read.extend_from_slice(data);
                    }
                }
            }
        }
    }
}

/// The largest request is a PutRecords of 10 MiB, which base64 makes a third larger.
pub(super) const MOST_BODY: usize = 16 * 1_024 * 1_024;
/// What each connection may bring without asking.
const ALLOWED_KIB: u32 = 64;
/// Others wait until some calls have been made: 128 MiB of bodies, and what is made of them.
const MOST_KIB: u32 = 128 * 1_024;
/// How long a body waits for room.
const ROOM_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take for its body, and wait for others.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a body may take for so many bytes, once others wait for its room.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
const HEADWAY: usize = 64 * 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_room_in_vain_is_told_so() {
        let bodies = Bodies::new();
        let all = bodies.room(MOST_KIB).await.unwrap();
        let begin = Instant::now();
        assert!(matches!(bodies.room(1).await, Err(Unread::NoRoom)));
        assert_eq!(begin.elapsed(), ROOM_TIMEOUT);
        assert!(bodies.crowded.load(Ordering::Relaxed));
        let (there, ()) = tokio::join!(bodies.room(1), async { drop(all) });
        assert!(there.is_ok());
        assert!(!bodies.crowded.load(Ordering::Relaxed));
    }
}

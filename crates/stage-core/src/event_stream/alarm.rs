use std::{
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread,
};

use crate::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{
        AtomicBool,
        Ordering::{AcqRel, Release},
    },
};

/// Tells whether a future within another was woken: if not, it need not be polled with the other.
pub(super) struct Alarm {
    has_rung: AtomicBool,
    /// Whom to wake with it.
    waker: Mutex<Option<Waker>>,
}

impl Alarm {
    /// One that has rung: nothing was polled yet.
    pub(super) fn rung() -> Arc<Self> {
        Arc::new(Self {
            has_rung: AtomicBool::new(true),
            waker: Mutex::new(None),
        })
    }

    /// Polls `future` if it has rung since the last time. From then on it wakes whoever polls.
    pub(super) fn poll<T>(
        self: &Arc<Self>,
        cx: &Context<'_>,
        future: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.wakes(cx.waker());
        // After that: who rings later wakes.
        if !self.has_rung.swap(false, AcqRel) {
            return Poll::Pending;
        }
        let polling = Polling(self);
        let polled = future(&mut Context::from_waker(&Waker::from(Arc::clone(self))));
        drop(polling);
        polled
    }

    fn wakes(&self, waker: &Waker) {
        let known = self.lock();
        if known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return;
        }
        drop(known);
        // Not under the lock: wakers are somebody else's code.
        let new = waker.clone();
        let old = self.lock().replace(new);
        drop(old);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A poll that panics has not dealt with what it rang for.
struct Polling<'a>(&'a Alarm);

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.has_rung.store(true, Release);
        }
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Release);
        let waker = self.lock().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[derive(Default)]
    struct Counts(AtomicUsize);

    impl Wake for Counts {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn it_is_polled_when_it_was_woken_and_whoever_polled_last_with_it() {
        let [first, second] = [(); 2].map(|()| Arc::<Counts>::default());
        let (alarm, mut polls, mut inner) = (Alarm::rung(), 0, None);
        let mut poll = |by: &Arc<Counts>| {
            let waker = Waker::from(Arc::clone(by));
            let polled = alarm.poll(&Context::from_waker(&waker), |cx| {
                polls += 1;
                inner = Some(cx.waker().clone());
                Poll::<()>::Pending
            });
            assert!(polled.is_pending());
            (polls, inner.clone().expect("it was polled"))
        };
        assert_eq!(poll(&first).0, 1, "it was never polled before");
        assert_eq!(poll(&first).0, 1);
        let (polls, inner) = poll(&second);
        assert_eq!(polls, 1);
        inner.wake_by_ref();
        inner.wake();
        assert_eq!((first.0.load(SeqCst), second.0.load(SeqCst)), (0, 2));
        assert_eq!(poll(&second).0, 2);
        assert_eq!(poll(&second).0, 2);
    }
}

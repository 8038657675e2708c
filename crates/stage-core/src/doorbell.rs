use std::task::{Context, Poll, Waker};

use crate::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{
        AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
};

/// Wakes one task, and tells it which of its links have news.
///
/// Ringing twice before the task looks is ringing once.
#[derive(Debug, Default)]
pub(crate) struct Doorbell {
    /// A bit for each of the first slots that has rung, and the two flags below.
    word: AtomicU64,
    /// The other slots that have rung.
    crowd: Mutex<Crowd>,
    /// Whom to wake.
    sleeper: Mutex<Option<Waker>>,
}

#[derive(Debug, Default)]
struct Crowd {
    rung: Vec<usize>,
    is_rung: Vec<bool>,
}

/// The task waits to be woken.
const ASLEEP: u64 = 1 << 63;

/// There is news in the crowd.
const CROWD: u64 = 1 << 62;

/// How many slots have a bit of their own.
const BITS: usize = 62;

impl Doorbell {
    /// The link in this slot has news.
    pub(crate) fn ring(&self, slot: usize) {
        let bit = if slot < BITS {
            1 << slot
        } else {
            lock(&self.crowd).ring(slot - BITS);
            CROWD
        };
        // The news is there before the task is told, and the task that sees the bit sees the news.
        let before = self.word.fetch_or(bit, AcqRel);
        if before & ASLEEP != 0 {
            self.wake();
        }
    }

    fn wake(&self) {
        // Only one of those who ring at once wakes the task.
        let before = self.word.fetch_and(!ASLEEP, AcqRel);
        if before & ASLEEP != 0
            && let Some(sleeper) = &*lock(&self.sleeper)
        {
            sleeper.wake_by_ref();
        }
    }

    /// Moves the slots that have news to the end of `news`.
    pub(crate) fn answer(&self, news: &mut Vec<usize>) {
        if self.word.load(Relaxed) & !ASLEEP != 0 {
            let rung = self.word.swap(0, AcqRel);
            self.list(rung, news);
        }
    }

    /// Like [`answer`](Self::answer), but waits until there is some.
    pub(crate) fn poll(&self, cx: &mut Context<'_>, news: &mut Vec<usize>) -> Poll<()> {
        loop {
            self.answer(news);
            if !news.is_empty() {
                return Poll::Ready(());
            }
            self.remember(cx.waker());
            // Whoever rings from here on finds it asleep.
            match self.word.compare_exchange(0, ASLEEP, AcqRel, Acquire) {
                // Asleep it may be already, if something else has woken the task.
                Ok(_) | Err(ASLEEP) => return Poll::Pending,
                // Something has rung meanwhile. It may be one of the crowd that was listed before
                // its bit was set, and then there is no news after all.
                Err(_) => {}
            }
        }
    }

    fn remember(&self, waker: &Waker) {
        let mut sleeper = lock(&self.sleeper);
        match &mut *sleeper {
            Some(sleeper) => sleeper.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    fn list(&self, mut rung: u64, news: &mut Vec<usize>) {
        if rung & CROWD != 0 {
            lock(&self.crowd).list(news);
        }
        rung &= !(ASLEEP | CROWD);
        while rung != 0 {
            news.push(rung.trailing_zeros() as usize);
            rung &= rung - 1;
        }
    }
}

impl Crowd {
    fn ring(&mut self, slot: usize) {
        if self.is_rung.len() <= slot {
            self.is_rung.resize(slot + 1, false);
        }
        if !self.is_rung[slot] {
            self.is_rung[slot] = true;
            self.rung.push(slot);
        }
    }

    fn list(&mut self, news: &mut Vec<usize>) {
        for slot in self.rung.drain(..) {
            self.is_rung[slot] = false;
            news.push(BITS + slot);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, task::Wake};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU64);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn poll(bell: &Doorbell, waker: &Waker) -> Poll<Vec<usize>> {
        let mut news = Vec::new();
        bell.poll(&mut Context::from_waker(waker), &mut news)
            .map(|()| news)
    }

    #[test]
    fn each_slot_is_told_once_and_one_ring_wakes() {
        let (count, bell) = (Arc::<Count>::default(), Doorbell::default());
        let waker = Waker::from(Arc::clone(&count));
        assert_eq!(poll(&bell, &waker), Poll::Pending);
        // Asked again without having been woken, as tasks may be.
        assert_eq!(poll(&bell, &waker), Poll::Pending);
        for slot in [7, 0, 7, 61, 62, 63, 500, 62] {
            bell.ring(slot);
        }
        assert_eq!(count.0.load(Relaxed), 1);
        let Poll::Ready(mut news) = poll(&bell, &waker) else {
            panic!("it has rung");
        };
        news.sort_unstable();
        assert_eq!(news, [0, 7, 61, 62, 63, 500]);
        assert_eq!(poll(&bell, &waker), Poll::Pending);
        bell.ring(500);
        assert_eq!(count.0.load(Relaxed), 2);
        assert_eq!(poll(&bell, &waker), Poll::Ready(vec![500]));
    }

    #[test]
    fn no_ring_is_lost_between_threads() {
        for slot in [3, 100] {
            let bell = Arc::new(Doorbell::default());
            let rings = Arc::new(AtomicU64::new(0));
            let ringing = std::thread::spawn({
                let (bell, rings) = (Arc::clone(&bell), Arc::clone(&rings));
                move || {
                    for _ in 0..20_000 {
                        rings.fetch_add(1, AcqRel);
                        bell.ring(slot);
                    }
                }
            });
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            runtime.block_on(async {
                while rings.load(Acquire) < 20_000 {
                    let mut news = Vec::new();
                    std::future::poll_fn(|cx| bell.poll(cx, &mut news)).await;
                    assert_eq!(news, [slot]);
                }
            });
            ringing.join().unwrap();
        }
    }
}

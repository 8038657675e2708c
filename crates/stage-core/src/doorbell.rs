use std::{
    sync::OnceLock,
    task::{Context, Waker},
};

use crate::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{
        AtomicBool, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
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
    /// Whom to wake: as a rule it is the same task all the time.
    sleeper: OnceLock<Waker>,
    /// It is another task by now.
    has_moved: AtomicBool,
    moved_to: Mutex<Option<Waker>>,
}

/// The side of a doorbell that listens.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    /// Whom the bell wakes.
    waker: Option<Waker>,
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
    /// The link in this slot has news. Returns whether the task had to be woken.
    #[inline]
    pub(crate) fn ring(&self, slot: usize) -> bool {
        let bit = if slot < BITS {
            1 << slot
        } else {
            self.join(slot - BITS);
            CROWD
        };
        // The news is there before the task is told, and the task that sees the bit sees the news.
        // It falls asleep with no bit set: who sets the first wakes it, and nobody else.
        let is_asleep = self.word.fetch_or(bit, AcqRel) == ASLEEP;
        if is_asleep {
            self.wake();
        }
        is_asleep
    }

    #[cold]
    fn join(&self, slot: usize) {
        lock(&self.crowd).ring(slot);
    }

    #[cold]
    fn list(&self, crowd: &mut Vec<usize>) {
        lock(&self.crowd).list(crowd);
    }

    #[inline]
    fn wake(&self) {
        if !self.has_moved.load(Acquire) {
            if let Some(sleeper) = self.sleeper.get() {
                sleeper.wake_by_ref();
            }
        } else if let Some(sleeper) = &*lock(&self.moved_to) {
            sleeper.wake_by_ref();
        }
    }

    /// The slots that have news. They have none any more. Those of the crowd go to the end of `crowd`.
    #[inline]
    pub(crate) fn take(&self, crowd: &mut Vec<usize>) -> Rung {
        if self.word.load(Relaxed) & !ASLEEP == 0 {
            return Rung(0);
        }
        let rung = self.word.swap(0, AcqRel);
        if rung & CROWD != 0 {
            self.list(crowd);
        }
        Rung(rung & !(ASLEEP | CROWD))
    }

    /// Has the task woken by the next ring, unless it has rung already.
    #[inline]
    #[must_use = "if it has rung, the task must not wait"]
    pub(crate) fn sleep(&self, ear: &mut Ear, cx: &Context<'_>) -> bool {
        if self.word.load(Relaxed) & !ASLEEP != 0 {
            return false;
        }
        self.remember(ear, cx.waker());
        // Whoever rings from here on finds it asleep, which it may be already if something else has
        // woken the task.
        let word = self.word.compare_exchange(0, ASLEEP, AcqRel, Acquire);
        matches!(word, Ok(_) | Err(ASLEEP))
    }

    #[inline]
    fn remember(&self, ear: &mut Ear, waker: &Waker) {
        if !ear.waker.as_ref().is_some_and(|it| it.will_wake(waker)) {
            self.remember_another(ear, waker);
        }
    }

    #[cold]
    fn remember_another(&self, ear: &mut Ear, waker: &Waker) {
        ear.waker = Some(waker.clone());
        if self.sleeper.set(waker.clone()).is_err() {
            *lock(&self.moved_to) = Some(waker.clone());
            self.has_moved.store(true, Release);
        }
    }
}

/// Slots that have rung.
pub(crate) struct Rung(u64);

impl Iterator for Rung {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let slot = self.0.trailing_zeros() as usize;
        // Without the lowest bit. If there is none, there is nothing to take away.
        self.0 &= self.0.checked_sub(1)?;
        Some(slot)
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
    use std::{
        sync::Arc,
        task::{Poll, Wake},
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU64);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn poll(bell: &Doorbell, ear: &mut Ear, cx: &Context<'_>) -> Poll<Vec<usize>> {
        loop {
            let mut crowd = Vec::new();
            let mut news: Vec<_> = bell.take(&mut crowd).collect();
            news.append(&mut crowd);
            if !news.is_empty() {
                return Poll::Ready(news);
            }
            if bell.sleep(ear, cx) {
                return Poll::Pending;
            }
        }
    }

    #[test]
    fn each_slot_is_told_once_and_one_ring_wakes() {
        let (count, bell) = (Arc::<Count>::default(), Doorbell::default());
        let ear = &mut Ear::default();
        let waker = Waker::from(Arc::clone(&count));
        assert_eq!(
            poll(&bell, ear, &Context::from_waker(&waker)),
            Poll::Pending
        );
        // Asked again without having been woken, as tasks may be.
        assert_eq!(
            poll(&bell, ear, &Context::from_waker(&waker)),
            Poll::Pending
        );
        for slot in [7, 0, 7, 61, 62, 63, 500, 62] {
            bell.ring(slot);
        }
        assert_eq!(count.0.load(Relaxed), 1);
        let Poll::Ready(mut news) = poll(&bell, ear, &Context::from_waker(&waker)) else {
            panic!("it has rung");
        };
        news.sort_unstable();
        assert_eq!(news, [0, 7, 61, 62, 63, 500]);
        assert_eq!(
            poll(&bell, ear, &Context::from_waker(&waker)),
            Poll::Pending
        );
        bell.ring(500);
        assert_eq!(count.0.load(Relaxed), 2);
        assert_eq!(
            poll(&bell, ear, &Context::from_waker(&waker)),
            Poll::Ready(vec![500])
        );
    }

    #[test]
    fn who_listened_last_is_woken() {
        let (counts, bell) = (
            [(); 3].map(|()| Arc::<Count>::default()),
            Doorbell::default(),
        );
        let ear = &mut Ear::default();
        for (turn, count) in counts.iter().chain(&counts).enumerate() {
            let waker = Waker::from(Arc::clone(count));
            assert_eq!(
                poll(&bell, ear, &Context::from_waker(&waker)),
                Poll::Pending
            );
            bell.ring(5);
            assert_eq!(count.0.load(Relaxed), if turn < 3 { 1 } else { 2 });
            assert_eq!(
                poll(&bell, ear, &Context::from_waker(&waker)),
                Poll::Ready(vec![5])
            );
        }
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
                let mut ear = Ear::default();
                while rings.load(Acquire) < 20_000 {
                    let news = std::future::poll_fn(|cx| poll(&bell, &mut ear, cx)).await;
                    assert_eq!(news, [slot]);
                }
            });
            ringing.join().unwrap();
        }
    }
}

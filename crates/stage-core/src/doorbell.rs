use std::{
    collections::VecDeque,
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
    /// A bit for each of the first slots that was heard of and is not dealt with.
    heard: u64,
    /// The other such slots.
    heard_of_crowd: VecDeque<usize>,
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
    /// A bell that has rung for this slot, which has a bit of its own.
    pub(crate) fn rung(slot: usize) -> Self {
        Self {
            word: AtomicU64::new(1 << slot),
            ..Self::default()
        }
    }

    /// Whether the task has not heard yet that this slot has news.
    #[inline]
    pub(crate) fn has_rung(&self, slot: usize) -> bool {
        self.word.load(Acquire) & 1 << slot != 0
    }

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

    /// Rings for nobody. Either who rings afterwards sees what was done before this, or what was done
    /// before that ring is seen after this.
    pub(crate) fn touch(&self) {
        self.word.fetch_or(0, AcqRel);
    }

    #[cold]
    fn join(&self, slot: usize) {
        lock(&self.crowd).ring(slot);
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

    /// Hears which slots have news, whether there are any. They have none any more;
    /// [`Ear::next`] goes through them.
    #[inline]
    pub(crate) fn listen(&self, ear: &mut Ear) -> bool {
        if self.word.load(Relaxed) & !ASLEEP == 0 {
            return false;
        }
        let rung = self.word.swap(0, AcqRel);
        ear.heard |= rung & !(ASLEEP | CROWD);
        rung & CROWD == 0 || self.listen_to_crowd(ear)
    }

    /// Whether no other slot than this has news. It is not asked whether this one has: whoever calls
    /// this looks.
    #[inline]
    pub(crate) fn is_only(&self, slot: usize) -> bool {
        self.word.load(Acquire) & !(ASLEEP | 1 << slot) == 0
    }

    /// Whether the slot has a bit of its own.
    pub(crate) fn tells_apart(&self, slot: usize) -> bool {
        slot < BITS
    }

    #[cold]
    fn listen_to_crowd(&self, ear: &mut Ear) -> bool {
        lock(&self.crowd).list(&mut ear.heard_of_crowd);
        // The crowd may have been heard before its bit was set.
        ear.heard != 0 || !ear.heard_of_crowd.is_empty()
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

    /// Like [`sleep`](Self::sleep), of a task that looks at this slot by itself. If that has rung, it may
    /// be what the task was woken by: `is_quiet` looks whether there is more. It is not heard any more.
    ///
    /// So hearing a ring and falling asleep again is one step.
    #[inline]
    #[must_use = "if there is news, the task must not wait"]
    pub(crate) fn sleep_but_for(
        &self,
        slot: usize,
        ear: &mut Ear,
        cx: &Context<'_>,
        is_quiet: impl FnOnce() -> bool,
    ) -> bool {
        self.remember(ear, cx.waker());
        // Who rang before this has left its news where it is seen now; who rings after it finds the
        // task asleep.
        let rung = self.word.swap(ASLEEP, AcqRel);
        let others = rung & !(ASLEEP | 1 << slot);
        if others == 0 && (rung & 1 << slot == 0 || is_quiet()) {
            return true;
        }
        self.stay_awake(others);
        false
    }

    /// There is news after all, of these others if there are any.
    #[cold]
    fn stay_awake(&self, others: u64) {
        self.word.fetch_or(others, AcqRel);
        self.word.fetch_and(!ASLEEP, AcqRel);
    }

    /// The task has news of this slot from itself.
    #[cold]
    pub(crate) fn remind(&self, slot: usize) {
        self.word.fetch_or(1 << slot, AcqRel);
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
            // It may be asleep for the task that it was. Falling asleep again tells whoever rings next
            // of the other, which finding it asleep would not.
            self.word.fetch_and(!ASLEEP, AcqRel);
        }
    }
}

impl Ear {
    /// The next of the slots that were heard of.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<usize> {
        // The bits without the lowest. If there is none, there is nothing to take away.
        let Some(less) = self.heard.checked_sub(1) else {
            return self.heard_of_crowd.pop_front();
        };
        let slot = self.heard.trailing_zeros() as usize;
        self.heard &= less;
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

    fn list(&mut self, news: &mut VecDeque<usize>) {
        for slot in self.rung.drain(..) {
            self.is_rung[slot] = false;
            news.push_back(BITS + slot);
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
            if bell.listen(ear) {
                return Poll::Ready(std::iter::from_fn(|| ear.next()).collect());
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
    fn who_looks_at_one_slot_by_itself_sleeps_until_the_next_ring() {
        let (count, bell) = (Arc::<Count>::default(), Doorbell::default());
        let ear = &mut Ear::default();
        let waker = Waker::from(Arc::clone(&count));
        let cx = &Context::from_waker(&waker);
        let woken = || count.0.load(Relaxed);
        assert!(bell.is_only(5), "nobody has rung");
        assert!(bell.sleep_but_for(5, ear, cx, || true));
        bell.ring(5);
        bell.ring(5);
        assert_eq!(woken(), 1);
        assert!(bell.is_only(5));
        // What it was told of it has seen.
        assert!(bell.sleep_but_for(5, ear, cx, || true));
        bell.ring(5);
        assert_eq!(woken(), 2);
        // There is more: it stays awake, and nobody need wake it.
        assert!(!bell.sleep_but_for(5, ear, cx, || false));
        bell.ring(5);
        assert_eq!(woken(), 2);
        assert!(bell.sleep_but_for(5, ear, cx, || true));
        // Nobody has rung since: whoever leaves something to be seen just now is yet to ring.
        assert!(bell.sleep_but_for(5, ear, cx, || panic!("it need not look")));
        bell.ring(5);
        assert_eq!(woken(), 3);
        for other in [0, 61, 62] {
            assert!(bell.sleep_but_for(5, ear, cx, || true));
            bell.ring(other);
            assert!(!bell.is_only(5));
            assert!(!bell.sleep_but_for(5, ear, cx, || true));
            let Poll::Ready(news) = poll(&bell, ear, cx) else {
                panic!("another has rung");
            };
            assert!(news.contains(&other), "{news:?}");
        }
        assert!(bell.tells_apart(61) && !bell.tells_apart(62));
    }

    #[test]
    fn who_rings_as_one_falls_asleep_is_heard() {
        let (count, bell) = (Arc::<Count>::default(), Doorbell::default());
        let ear = &mut Ear::default();
        let waker = Waker::from(Arc::clone(&count));
        let cx = &Context::from_waker(&waker);
        for slot in [5, 7] {
            bell.ring(5);
            let woken = count.0.load(Relaxed);
            let ringing = || {
                bell.ring(slot);
                true
            };
            assert!(bell.sleep_but_for(5, ear, cx, ringing));
            assert_eq!(count.0.load(Relaxed), woken + 1);
            assert_eq!(poll(&bell, ear, cx), Poll::Ready(vec![slot]));
        }
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

//! Guests that wait too long are taken out.
//!
//! A stage may block its thread, as with `block_in_place`, and wait in it for another stage, which waits
//! for its turn in the same thread: see [`host`](crate::host). Or for the one in whose task it has its own turn:
//! that task cannot poll its stage meanwhile, whoever wakes it. So a thread looks now and then, as
//! long as there are guests, whether somewhere they wait for a turn that does not end, and has them polled in other
//! tasks. It is one for the process, starts with the first guest, and sleeps while there are none.

use std::{
    collections::VecDeque,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{
            AtomicBool, AtomicU8, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    thread::{self, Thread},
    time::Duration,
};

use crossbeam_deque::{Steal, Stealer};

use crate::{
    panic::dispose,
    seat::{Body, Seat},
    slot::Slot,
    weaks::Weaks,
};

/// The guests of one thread, as other threads see them.
pub(crate) struct Bench {
    /// Who is next, as a rule.
    first: Slot<Body>,
    /// Whether its thread has put somebody there and not taken him out.
    has_first: AtomicBool,
    others: Stealer<Box<Body>>,
    /// Those who have waited since before. They come first of all.
    put_off: Mutex<VecDeque<Box<Body>>>,
    /// How many these are.
    len_of_put_off: AtomicUsize,
    /// How many turns have ended.
    turns: AtomicU64,
    /// What was seen of the turn that has not ended: [`IS_LONG`], or [`BLOCKS`] others.
    seen: AtomicU8,
    /// In whose task they have their turns, or had them last.
    host: Mutex<Weak<Seat>>,
    /// They have them now.
    is_hosting: AtomicBool,
    /// That stage was told that its task is blocked.
    is_blocked: AtomicBool,
}

/// A turn has lasted for so long that somebody might have had to be taken out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    /// Somebody was.
    pub(crate) others: bool,
}

const NOTHING: u8 = 0;
const IS_LONG: u8 = 1;
const BLOCKS: u8 = 2;

/// Who waits for two looks while no turn ends is taken out.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// So many looks at nobody are made. Who has come just before it was taken note of may not be seen at the first.
const LOOKS: u32 = 2;

static BENCHES: Mutex<Weaks<Bench>> = Mutex::new(Weaks::new());

/// There were guests since the last look.
static HAS_GUESTS: AtomicBool = AtomicBool::new(false);

/// The thread that looks, if there can be one.
static WATCH: OnceLock<Option<Thread>> = OnceLock::new();

impl Bench {
    /// For the guests of this thread. None, if nobody can look after them.
    pub(crate) fn open(others: Stealer<Box<Body>>) -> Option<Arc<Self>> {
        WATCH.get_or_init(start).as_ref()?;
        let bench = Arc::new(Self {
            first: Slot::default(),
            has_first: AtomicBool::new(false),
            others,
            put_off: Mutex::new(VecDeque::new()),
            len_of_put_off: AtomicUsize::new(0),
            turns: AtomicU64::new(0),
            seen: AtomicU8::new(NOTHING),
            host: Mutex::new(Weak::new()),
            is_hosting: AtomicBool::new(false),
            is_blocked: AtomicBool::new(false),
        });
        let mut benches = BENCHES.lock().unwrap_or_else(PoisonError::into_inner);
        benches.add(Arc::downgrade(&bench));
        Some(bench)
    }

    /// Whether somebody is next. For the bench's thread.
    #[inline]
    pub(crate) fn has_first(&self) -> bool {
        self.has_first.load(Relaxed)
    }

    /// This one is next. For the bench's thread, if nobody is.
    #[inline]
    pub(crate) fn put_first(&self, body: Box<Body>) {
        self.first.put(body);
        self.has_first.store(true, Relaxed);
    }

    /// Who is next, unless he was taken out. For the bench's thread.
    #[inline]
    pub(crate) fn take_first(&self) -> Option<Box<Body>> {
        self.has_first.store(false, Relaxed);
        self.first.take()
    }

    /// How many were put off. For the bench's thread.
    #[inline]
    pub(crate) fn len_of_put_off(&self) -> usize {
        self.len_of_put_off.load(Relaxed)
    }

    /// Who of those that were put off has waited longest. For the bench's thread.
    #[inline(never)]
    pub(crate) fn take_put_off(&self) -> Option<Box<Body>> {
        let mut put_off = self.lock_put_off();
        let body = put_off.pop_front();
        self.len_of_put_off.store(put_off.len(), Relaxed);
        body
    }

    /// Exchanges those who were put off for these, in one step however many they are. For the bench's
    /// thread.
    pub(crate) fn exchange_put_off(&self, others: &mut VecDeque<Box<Body>>) {
        let mut put_off = self.lock_put_off();
        mem::swap(&mut *put_off, others);
        self.len_of_put_off.store(put_off.len(), Relaxed);
    }

    fn lock_put_off(&self) -> MutexGuard<'_, VecDeque<Box<Body>>> {
        self.put_off.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is a guest, to be looked after.
    #[inline]
    pub(crate) fn note_guest(&self) {
        if !HAS_GUESTS.load(Relaxed) {
            call();
        }
    }

    fn is_empty(&self) -> bool {
        !self.has_first() && self.others.is_empty() && self.len_of_put_off() == 0
    }

    /// Guests have their turns in the task of this stage from here on, or in one that is no stage's own. For the
    /// bench's thread.
    #[cold]
    pub(crate) fn set_host(&self, seat: Option<&Arc<Seat>>) {
        let mut host = self.lock_host();
        self.let_home(&host);
        *host = seat.map_or_else(Weak::new, Arc::downgrade);
    }

    /// They have them now. For the bench's thread.
    #[inline]
    pub(crate) fn begin_hosting(&self) {
        self.is_hosting.store(true, Relaxed);
    }

    /// They have had them. For the bench's thread.
    #[inline]
    pub(crate) fn end_hosting(&self) {
        self.is_hosting.store(false, Relaxed);
        if self.is_blocked.load(Relaxed) {
            self.let_home(&self.lock_host());
        }
    }

    /// The host's task polls its stage again.
    #[cold]
    fn let_home(&self, host: &Weak<Seat>) {
        if self.is_blocked.swap(false, Relaxed)
            && let Some(seat) = host.upgrade()
        {
            seat.let_home();
        }
    }

    /// The host's task cannot poll its stage for as long as the turn lasts, which does not end.
    fn keep_from_home(&self) {
        let host = self.lock_host();
        if self.is_hosting.load(Relaxed)
            && !self.is_blocked.swap(true, Relaxed)
            && let Some(seat) = host.upgrade()
        {
            seat.keep_from_home();
        }
    }

    fn lock_host(&self) -> MutexGuard<'_, Weak<Seat>> {
        self.host.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A turn has ended. Returns whether it was seen to last, and if so, whether guests were taken out meanwhile. For
    /// the bench's thread.
    #[inline]
    pub(crate) fn end_turn(&self) -> Option<Blocked> {
        let turns = self.turns.load(Relaxed);
        self.turns.store(turns.wrapping_add(1), Relaxed);
        match self.seen.load(Relaxed) {
            NOTHING => None,
            _ => Some(Blocked {
                others: self.seen.swap(NOTHING, Acquire) == BLOCKS,
            }),
        }
    }

    fn empty(&self) {
        let seen = if self.is_empty() { IS_LONG } else { BLOCKS };
        self.seen.fetch_max(seen, AcqRel);
        // First: whoever goes home may be that stage.
        self.keep_from_home();
        let mut put_off = VecDeque::new();
        self.exchange_put_off(&mut put_off);
        for body in put_off {
            body.be_handed_home();
        }
        if let Some(body) = self.first.take() {
            body.be_handed_home();
        }
        loop {
            match self.others.steal() {
                Steal::Success(body) => body.be_handed_home(),
                Steal::Retry => {}
                Steal::Empty => return,
            }
        }
    }
}

#[cold]
fn call() {
    HAS_GUESTS.store(true, Release);
    if let Some(Some(watch)) = WATCH.get() {
        watch.unpark();
    }
}

fn start() -> Option<Thread> {
    let watch = thread::Builder::new().name("stage-core relief".into());
    let watch = watch.spawn(keep_watch).ok()?;
    Some(watch.thread().clone())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the thread is its own, and guests wait in real time"
)]
fn keep_watch() {
    let (mut waited, mut looks) = (Vec::new(), 0);
    loop {
        while looks == 0 && !HAS_GUESTS.load(Acquire) {
            thread::park();
        }
        thread::sleep(BETWEEN_LOOKS);
        // Who comes from here on says so.
        if HAS_GUESTS.swap(false, AcqRel) {
            looks = LOOKS;
        }
        // What is dropped here by chance may panic, and there is no other who looks.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| look(&mut waited))) {
            dispose(panic);
        }
        looks = match waited.is_empty() {
            true => looks.saturating_sub(1),
            false => LOOKS,
        };
    }
}

/// Takes out who has waited at the last look as well, while no turn has ended. Then notes who waits.
fn look(waited: &mut Vec<(Weak<Bench>, u64)>) {
    let benches: Vec<_> = {
        let benches = BENCHES.lock().unwrap_or_else(PoisonError::into_inner);
        benches.iter().collect()
    };
    let before = mem::take(waited);
    for bench in benches {
        let turns = bench.turns.load(Relaxed);
        if bench.is_empty() && !bench.is_hosting.load(Relaxed) {
            continue;
        }
        let is_same = |(other, then): &(Weak<Bench>, u64)| {
            ptr::eq(other.as_ptr(), Arc::as_ptr(&bench)) && *then == turns
        };
        match before.iter().any(is_same) {
            true => bench.empty(),
            false => waited.push((Arc::downgrade(&bench), turns)),
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::future::pending;

    use crossbeam_deque::Worker;

    use super::*;

    #[test]
    fn a_task_that_was_blocked_and_is_not_any_more_polls_its_stage_itself() {
        let runtime = tokio::runtime::Builder::new_multi_thread().build();
        runtime.expect("there can be threads").block_on(async {
            let bench = Bench::open(Worker::new_fifo().stealer()).expect("there can be threads");
            let seat = Seat::new(&"host".into());
            seat.sit_down(Box::pin(pending()));
            seat.come_home(std::task::Waker::noop());
            bench.set_host(Some(&seat));
            bench.begin_hosting();
            let stand_in = seat.stand_in().expect("there are other threads");
            assert!(!stand_in.is_needed());
            bench.empty();
            assert!(stand_in.is_needed());
            bench.end_hosting();
            assert!(!stand_in.is_needed());
        });
    }

    #[test]
    fn who_keeps_nobody_waiting_has_a_long_turn_and_no_more() {
        let guests = Worker::new_fifo();
        let bench = Bench::open(guests.stealer()).expect("there can be threads");
        assert_eq!(bench.end_turn(), None);
        bench.begin_hosting();
        bench.empty();
        assert_eq!(bench.end_turn(), Some(Blocked { others: false }));
        assert_eq!(bench.end_turn(), None, "the next one has not");
        let seat = Seat::new(&"guest".into());
        seat.sit_down(Box::pin(pending()));
        guests.push(seat.take().expect("it is there"));
        bench.empty();
        bench.empty();
        assert_eq!(bench.end_turn(), Some(Blocked { others: true }));
        assert!(seat.take().is_some(), "it has gone home");
    }
}

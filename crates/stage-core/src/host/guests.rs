use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::VecDeque,
    iter, mem,
    sync::Arc,
};

use crossbeam_deque::Worker;

use crate::{
    relief::{Bench, Blocked},
    runtime::Runtime,
    seat::{Body, Seat},
};

/// The stages that wait for a turn in one thread, in the order in which they came: on a bench where
/// other threads may take them out, if there are any.
///
/// Mostly there is one, for which a queue is much.
pub(super) struct Guests {
    first: Cell<Option<Box<Body>>>,
    /// There are none without a first.
    others: RefCell<VecDeque<Box<Body>>>,
    shared: OnceCell<Option<Shared>>,
}

struct Shared {
    /// Those who come after the first.
    others: Worker<Box<Body>>,
    bench: Arc<Bench>,
    /// The number of the stage whose task had guests last.
    host: Cell<usize>,
}

/// So many may wait, and the first. Others have their turns in their own tasks. They are many, since what is looked at
/// of them lies in the caches of this thread; where others would take them on, they are let go if it takes long.
const MOST: usize = 256;

/// No stage has this number.
const NOBODY: usize = usize::MAX;

impl Guests {
    pub(super) const fn new() -> Self {
        Self {
            first: Cell::new(None),
            others: RefCell::new(VecDeque::new()),
            shared: OnceCell::new(),
        }
    }

    /// Whether somebody takes them out, where that may be needed.
    pub(super) fn are_looked_after(&self, runtime: Runtime) -> bool {
        !runtime.has_other_threads() || self.shared().is_some()
    }

    #[inline(always)]
    pub(super) fn add(&self, body: Box<Body>, runtime: Runtime) {
        if !runtime.has_other_threads() {
            return self.add_alone(body);
        }
        match self.shared() {
            Some(shared) => shared.add(body),
            None => body.go_home(),
        }
    }

    /// Has those in who were put off before, while there are no others, and leaves nobody. However many
    /// they are, they are not moved.
    #[inline(never)]
    pub(super) fn admit(&self, put_off: &mut VecDeque<Box<Body>>, runtime: Runtime) {
        if !runtime.has_other_threads() {
            let mut others = self.others.borrow_mut();
            mem::swap(&mut *others, put_off);
            self.first.set(others.pop_front());
        } else if let Some(shared) = self.shared() {
            shared.bench.exchange_put_off(put_off);
            shared.bench.note_guest();
        }
    }

    /// Puts all off, first of them this one, who was [next](Self::next).
    pub(super) fn put_off(
        &self,
        body: Box<Body>,
        put_off: &mut VecDeque<Box<Body>>,
        runtime: Runtime,
    ) {
        if !runtime.has_other_threads() {
            mem::swap(&mut *self.others.borrow_mut(), put_off);
            if let Some(first) = self.first.take() {
                put_off.push_front(first);
            }
        } else if let Some(shared) = self.shared() {
            shared.bench.exchange_put_off(put_off);
            put_off.extend(iter::from_fn(|| shared.next()));
        }
        put_off.push_front(body);
    }

    /// Whether one more may wait here.
    #[inline(always)]
    pub(super) fn have_room(&self, runtime: Runtime) -> bool {
        match runtime.has_other_threads() {
            true => self.shared().is_some_and(|them| them.len() < MOST),
            false => self.others.borrow().len() < MOST,
        }
    }

    #[inline(always)]
    pub(super) fn next(&self, runtime: Runtime) -> Option<Box<Body>> {
        if runtime.has_other_threads() {
            self.shared()?.next()
        } else {
            self.first.replace(self.others.borrow_mut().pop_front())
        }
    }

    /// Guests have their turns from here on, in the task of this stage if it is one's own.
    #[inline(always)]
    pub(super) fn begin(&self, seat: Option<&Arc<Seat>>, runtime: Runtime) {
        if runtime.has_other_threads()
            && let Some(shared) = self.shared()
        {
            shared.begin(seat);
        }
    }

    /// All have had their turns that have one for now.
    #[inline(always)]
    pub(super) fn end(&self, runtime: Runtime) {
        if runtime.has_other_threads()
            && let Some(shared) = self.shared()
        {
            shared.bench.end_hosting();
        }
    }

    /// A turn has ended, on a runtime with other threads. Returns whether it was seen to last.
    #[inline]
    pub(super) fn end_turn(&self) -> Option<Blocked> {
        self.shared().and_then(|shared| shared.bench.end_turn())
    }

    /// The same, of a turn that has panicked.
    #[cold]
    pub(super) fn forget_turn(&self) {
        if let Some(Some(shared)) = self.shared.get() {
            shared.bench.end_turn();
        }
    }

    #[inline(always)]
    fn add_alone(&self, body: Box<Body>) {
        let Some(first) = self.first.replace(Some(body)) else {
            return;
        };
        // That one stays first.
        if let Some(body) = self.first.replace(Some(first)) {
            self.others.borrow_mut().push_back(body);
        }
    }

    #[inline]
    fn shared(&self) -> Option<&Shared> {
        self.shared.get_or_init(Shared::new).as_ref()
    }
}

impl Shared {
    fn new() -> Option<Self> {
        let others = Worker::new_fifo();
        let bench = Bench::open(others.stealer())?;
        Some(Self {
            others,
            bench,
            host: Cell::new(NOBODY),
        })
    }

    #[inline(always)]
    fn begin(&self, seat: Option<&Arc<Seat>>) {
        let number = seat.map_or(NOBODY, |seat| seat.number());
        if self.host.replace(number) != number {
            self.bench.set_host(seat);
        }
        self.bench.begin_hosting();
    }

    #[inline(always)]
    fn add(&self, body: Box<Body>) {
        match self.bench.has_first() || !self.others.is_empty() {
            true => self.others.push(body),
            false => self.bench.put_first(body),
        }
        self.bench.note_guest();
    }

    /// How many there are, without the first.
    #[inline(always)]
    fn len(&self) -> usize {
        self.others.len() + self.bench.len_of_put_off()
    }

    #[inline(always)]
    fn next(&self) -> Option<Box<Body>> {
        if self.bench.len_of_put_off() > 0
            && let put_off @ Some(_) = self.bench.take_put_off()
        {
            return put_off;
        }
        if self.bench.has_first()
            && let first @ Some(_) = self.bench.take_first()
        {
            return first;
        }
        self.others.pop()
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::seat::Seat;

    fn somebody() -> Box<Body> {
        let seat = Seat::new(&"somebody".into());
        seat.sit_down(Box::pin(pending()));
        seat.take().expect("it is there")
    }

    /// How many there is room for: those who were put off count, too. None, if somebody was taken out
    /// meanwhile, since all this took too long.
    fn most(runtime: Runtime) -> Option<usize> {
        let (guests, mut put_off) = (Guests::new(), VecDeque::new());
        let mut count = 0;
        while guests.have_room(runtime) && count < 10_000 {
            guests.add(somebody(), runtime);
            count += 1;
            if count == 10 {
                let next = guests.next(runtime).expect("there are ten");
                guests.put_off(next, &mut put_off, runtime);
                assert_eq!(put_off.len(), 10);
                guests.admit(&mut put_off, runtime);
            }
        }
        let left = iter::from_fn(|| guests.next(runtime)).count();
        let has_lost = runtime.has_other_threads() && guests.end_turn().is_some_and(|it| it.others);
        (!has_lost).then(|| {
            assert_eq!(left, count);
            count
        })
    }

    #[test]
    fn some_wait_and_no_more() {
        let one = tokio::runtime::Builder::new_current_thread().build();
        let alone = one
            .unwrap()
            .block_on(async { most(Runtime::current()).unwrap() });
        let two = tokio::runtime::Builder::new_multi_thread().build();
        let shared = two.unwrap().block_on(async {
            let mut tries = iter::repeat_with(|| most(Runtime::current()));
            tries.find_map(|most| most).unwrap()
        });
        for most in [alone, shared] {
            assert!((100..1_000).contains(&most), "{most}");
        }
    }
}

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::VecDeque,
    sync::Arc,
};

use crossbeam_deque::Worker;

use crate::{relief::Bench, runtime::Runtime, seat::Body};

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
}

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

    /// How many there are, without the first.
    #[inline(always)]
    pub(super) fn len(&self, runtime: Runtime) -> usize {
        match runtime.has_other_threads() {
            true => self.shared().map_or(0, |shared| shared.others.len()),
            false => self.others.borrow().len(),
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

    /// A turn has ended, on a runtime with other threads. Returns whether guests were taken out
    /// meanwhile, as it did not end.
    #[inline]
    pub(super) fn end_turn(&self) -> bool {
        self.shared().is_some_and(|shared| shared.bench.end_turn())
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
        Some(Self { others, bench })
    }

    #[inline(always)]
    fn add(&self, body: Box<Body>) {
        match self.bench.has_first() || !self.others.is_empty() {
            true => self.others.push(body),
            false => self.bench.put_first(body),
        }
        self.bench.note_guest();
    }

    #[inline(always)]
    fn next(&self) -> Option<Box<Body>> {
        if self.bench.has_first()
            && let first @ Some(_) = self.bench.take_first()
        {
            return first;
        }
        self.others.pop()
    }
}

use std::{collections::VecDeque, mem};

use super::{Backlog, Mark};
use crate::Batch;

/// Events of a stage that have no taker yet, with notices in between: a [`Backlog`] that may have a
/// limit.
///
/// Events are taken from [`front`](Self::front), which goes as far as the first notice. Once that
/// is empty, the notice [passes](Self::pass), and the next events are the front.
///
/// A producer that makes what was asked for needs no limit. One that emits without being asked
/// does, and says which events to give up when there are too many: a buffer that overflows drops
/// events, which are nacked. Notices take no room and are never dropped.
///
/// ```
/// use stage_core::protocol::{Buffer, Mark};
///
/// let mut buffer = Buffer::keep_last(3);
/// assert_eq!(buffer.store(vec!["a", "b"].into()), 0);
/// buffer.mark(Mark(1));
/// assert_eq!(buffer.store(vec!["c", "d"].into()), 1, "too many by one");
/// assert_eq!(buffer.pass(), None, "`b` is before it");
/// assert_eq!(buffer.front().take(10).into_vec(), ["b"]);
/// assert_eq!(buffer.pass(), Some(Mark(1)));
/// assert_eq!(buffer.front().take(10).into_vec(), ["c", "d"]);
/// ```
#[derive(Debug)]
pub struct Buffer<E> {
    /// The events before the first notice.
    front: Backlog<E>,
    /// The notices, each with the events up to the next.
    behind: VecDeque<(Mark, Backlog<E>)>,
    /// How many events are behind notices.
    events_behind: usize,
    size: usize,
    overflow: Overflow,
}

/// Which events to drop when there is no room for all.
#[derive(Clone, Copy, Debug)]
enum Overflow {
    Newest,
    Oldest,
}

impl<E> Buffer<E> {
    /// A buffer with room for any number of events.
    pub const fn unbounded() -> Self {
        Self::new(usize::MAX, Overflow::Newest)
    }

    /// A buffer for up to `size` events. When it is full, it takes no more.
    ///
    /// # Panics
    ///
    /// If `size` is zero. In a `const` that is a compile error.
    pub const fn keep_first(size: usize) -> Self {
        Self::new(size, Overflow::Newest)
    }

    /// A buffer for up to `size` events. When it is full, the oldest make room for new ones.
    ///
    /// # Panics
    ///
    /// If `size` is zero. In a `const` that is a compile error.
    pub const fn keep_last(size: usize) -> Self {
        Self::new(size, Overflow::Oldest)
    }

    const fn new(size: usize, overflow: Overflow) -> Self {
        assert!(size > 0, "a buffer must have room for at least one event");
        Self {
            front: Backlog::new(),
            behind: VecDeque::new(),
            events_behind: 0,
            size,
            overflow,
        }
    }

    /// How many events wait.
    pub fn len(&self) -> usize {
        self.front.len() + self.events_behind
    }

    /// Whether none do.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many notices wait.
    pub fn marks(&self) -> usize {
        self.behind.len()
    }

    /// Whether, when it is full, the oldest make room for new ones.
    pub const fn keeps_last(&self) -> bool {
        matches!(self.overflow, Overflow::Oldest)
    }

    /// How many more events it has room for.
    pub fn room(&self) -> usize {
        self.size.saturating_sub(self.len())
    }

    /// Adds events at the end, and returns how many were dropped because there was no room.
    pub fn store(&mut self, batch: Batch<E>) -> usize {
        self.displace(batch).len()
    }

    /// Adds events at the end, and returns those that there was no room for, in order: to be dropped
    /// where that may take its time.
    pub fn displace(&mut self, batch: Batch<E>) -> Batch<E> {
        let room = self.room();
        let excess = batch.len().saturating_sub(room);
        if excess == 0 {
            self.push(batch);
            return Batch::new();
        }
        match self.overflow {
            Overflow::Newest => {
                let mut all = batch.into_queue();
                let spare = self.front.spares.take(room.max(excess));
                self.push(all.take(room, spare));
                all.into_batch()
            }
            Overflow::Oldest => {
                self.push(batch);
                self.take_oldest(excess)
            }
        }
    }

    /// Adds one event at the end. The caller knows that there is room.
    pub(crate) fn store_one(&mut self, event: E) {
        debug_assert!(self.room() > 0);
        match self.behind.back_mut() {
            Some((_, last)) => {
                self.events_behind += 1;
                last.push_one(event);
            }
            None => self.front.push_one(event),
        }
    }

    /// Adds a notice at the end.
    pub fn mark(&mut self, mark: Mark) {
        self.behind.push_back((mark, Backlog::new()));
    }

    /// The events before the first notice, to be taken.
    pub fn front(&mut self) -> &mut Backlog<E> {
        &mut self.front
    }

    /// Takes the first notice, if no event is before it any more.
    pub fn pass(&mut self) -> Option<Mark> {
        if !self.front.is_empty() {
            return None;
        }
        let (mark, events) = self.behind.pop_front()?;
        self.events_behind -= events.len();
        let spares = mem::take(&mut self.front.spares);
        self.front = events;
        self.front.spares = spares;
        Some(mark)
    }

    fn push(&mut self, batch: Batch<E>) {
        match self.behind.back_mut() {
            Some((_, last)) => {
                self.events_behind += batch.len();
                last.push(batch);
            }
            None => self.front.push(batch),
        }
    }

    fn take_oldest(&mut self, count: usize) -> Batch<E> {
        let mut oldest = self.front.take(count);
        for (_, events) in &mut self.behind {
            if oldest.len() == count {
                break;
            }
            let mut next = events.take(count - oldest.len());
            self.events_behind -= next.len();
            oldest.append(&mut next);
        }
        oldest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_is_stored_behind_the_last_notice() {
        let mut buffer = Buffer::unbounded();
        buffer.store_one(1);
        buffer.mark(Mark(1));
        buffer.store_one(2);
        buffer.store_one(3);
        assert_eq!(buffer.len(), 3);
        assert_eq!(buffer.front().take(9).into_vec(), [1]);
        assert_eq!(buffer.pass(), Some(Mark(1)));
        assert_eq!(buffer.len(), 2);
        assert_eq!(buffer.front().take(9).into_vec(), [2, 3]);
        assert!(buffer.is_empty());
    }
}

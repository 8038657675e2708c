use std::{fmt, mem, ops::Range, sync::Arc};

/// The events of a batch: its own, or some that other batches have as well, until they are to be
/// changed or taken out.
///
/// Whoever shares events needs to clone them only if he does more than look at them.
pub(crate) enum Events<E> {
    Own(Vec<E>),
    Shared(Shared<E>),
}

/// A part of events that others have a part in, too.
pub(crate) struct Shared<E> {
    all: Arc<Whole<E>>,
    first: u32,
    len: u32,
}

/// All events that are shared. Boxed for who may send them to other threads, and not share them.
struct Whole<E>(Box<dyn Shareable<E>>);

trait Shareable<E>: Send + Sync {
    fn as_slice(&self) -> &[E];
    fn cloned(&self, part: Range<usize>) -> Vec<E>;
    fn take(&mut self) -> Vec<E>;
}

impl<E: Clone + Send + Sync> Shareable<E> for Vec<E> {
    fn as_slice(&self) -> &[E] {
        self
    }

    fn cloned(&self, part: Range<usize>) -> Self {
        self[part].to_vec()
    }

    fn take(&mut self) -> Self {
        mem::take(self)
    }
}

/// Copies of less, in bytes, cost less than to share them.
const WORTH_SHARING: usize = 512;

impl<E> Events<E> {
    pub(crate) const fn new() -> Self {
        Self::Own(Vec::new())
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[E] {
        match self {
            Self::Own(events) => events,
            Self::Shared(shared) => shared.as_slice(),
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Own(events) => events.len(),
            Self::Shared(shared) => shared.len as usize,
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// To change them: shared ones are cloned first.
    #[inline(always)]
    pub(crate) fn own(&mut self) -> &mut Vec<E> {
        match self {
            Self::Own(events) => events,
            Self::Shared(_) => self.make_own(),
        }
    }

    #[cold]
    #[inline(never)]
    fn make_own(&mut self) -> &mut Vec<E> {
        let events = mem::take(self).into_vec();
        *self = Self::Own(events);
        self.own()
    }

    /// As its own, with clones of shared ones.
    pub(crate) fn into_vec(self) -> Vec<E> {
        match self {
            Self::Own(events) => events,
            Self::Shared(shared) => shared.into_vec(),
        }
    }

    /// Takes all events out and drops them. Its storage stays; of shared events, who is the last to have
    /// them has the storage.
    #[inline]
    pub(crate) fn clear(&mut self) {
        match self {
            Self::Own(events) => events.clear(),
            Self::Shared(_) => self.give_up(),
        }
    }

    #[cold]
    #[inline(never)]
    fn give_up(&mut self) {
        if let Self::Shared(shared) = mem::take(self) {
            *self = Self::Own(shared.into_storage());
        }
    }

    /// For how many of its own there is room.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        match self {
            Self::Own(events) => events.capacity(),
            Self::Shared(_) => 0,
        }
    }

    /// Lets others have the same events, unless it costs less to clone them.
    pub(crate) fn share(&mut self) -> Option<Self>
    where
        E: Clone + Send + Sync + 'static,
    {
        let events = match self {
            Self::Own(events) => events,
            Self::Shared(shared) => return Some(Self::Shared(shared.part(0, shared.len))),
        };
        let is_cheap = !mem::needs_drop::<E>() && size_of_val(&events[..]) < WORTH_SHARING;
        let (false, Ok(len)) = (is_cheap, u32::try_from(events.len())) else {
            return None;
        };
        let all = Arc::new(Whole(Box::new(mem::take(events))));
        let shared = Shared { all, first: 0, len };
        let same = shared.part(0, len);
        *self = Self::Shared(shared);
        Some(Self::Shared(same))
    }

    /// Takes the first `count` off, if they are shared: nothing is cloned.
    pub(crate) fn split_shared(&mut self, count: usize) -> Option<Self> {
        let Self::Shared(shared) = self else {
            return None;
        };
        // No more than there are, and so it fits.
        let count = count.min(shared.len as usize) as u32;
        let front = shared.part(0, count);
        shared.first += count;
        shared.len -= count;
        Some(Self::Shared(front))
    }
}

impl<E> Shared<E> {
    fn range(&self) -> Range<usize> {
        let first = self.first as usize;
        first..first + self.len as usize
    }

    #[inline(never)]
    fn as_slice(&self) -> &[E] {
        &self.all.0.as_slice()[self.range()]
    }

    fn part(&self, first: u32, len: u32) -> Self {
        Self {
            all: Arc::clone(&self.all),
            first: self.first + first,
            len,
        }
    }

    fn into_vec(self) -> Vec<E> {
        let part = self.range();
        match Arc::try_unwrap(self.all) {
            // Nobody else has them any more.
            Ok(mut whole) => {
                let mut events = whole.0.take();
                events.truncate(part.end);
                drop(events.drain(..part.start));
                events
            }
            Err(all) => all.0.cloned(part),
        }
    }

    fn into_storage(self) -> Vec<E> {
        let whole = Arc::into_inner(self.all);
        let mut storage = whole.map_or_else(Vec::new, |mut whole| whole.0.take());
        storage.clear();
        storage
    }
}

impl<E> Default for Events<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> From<Vec<E>> for Events<E> {
    fn from(events: Vec<E>) -> Self {
        Self::Own(events)
    }
}

impl<E> fmt::Debug for Events<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("len", &self.len())
            .field("is_shared", &self.is_shared())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    /// Counts its clones and those that live.
    #[derive(Debug)]
    struct Counted {
        number: u64,
        clones: Arc<AtomicUsize>,
        live: Arc<AtomicUsize>,
    }

    impl Clone for Counted {
        fn clone(&self) -> Self {
            self.clones.fetch_add(1, SeqCst);
            self.live.fetch_add(1, SeqCst);
            Self {
                number: self.number,
                clones: Arc::clone(&self.clones),
                live: Arc::clone(&self.live),
            }
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            self.live.fetch_sub(1, SeqCst);
        }
    }

    struct Counts {
        clones: Arc<AtomicUsize>,
        live: Arc<AtomicUsize>,
    }

    impl Counts {
        fn get(&self) -> (usize, usize) {
            (self.clones.load(SeqCst), self.live.load(SeqCst))
        }
    }

    fn ten() -> (Events<Counted>, Counts) {
        let (clones, live) = (Arc::default(), Arc::<AtomicUsize>::default());
        let event = |number| {
            live.fetch_add(1, SeqCst);
            Counted {
                number,
                clones: Arc::clone(&clones),
                live: Arc::clone(&live),
            }
        };
        let events = Events::Own((0..10).map(event).collect());
        (events, Counts { clones, live })
    }

    fn numbers(events: &Events<Counted>) -> Vec<u64> {
        events.as_slice().iter().map(|it| it.number).collect()
    }

    #[test]
    fn who_only_looks_clones_nothing_and_the_last_has_the_storage() {
        let (mut first, counts) = ten();
        let mut second = first.share().expect("they are worth it");
        let mut part = second.split_shared(3).unwrap();
        assert_eq!(numbers(&first), Vec::from_iter(0..10));
        assert_eq!(numbers(&part), [0, 1, 2]);
        assert_eq!(numbers(&second), Vec::from_iter(3..10));
        for one in [&mut first, &mut second] {
            one.clear();
            assert_eq!((one.len(), one.capacity()), (0, 0));
        }
        assert_eq!(counts.get(), (0, 10), "somebody has them still");
        part.clear();
        assert!(part.is_empty() && part.capacity() >= 10);
        assert_eq!(counts.get(), (0, 0));
    }

    #[test]
    fn who_changes_them_has_clones_unless_nobody_else_has_them() {
        let (mut first, counts) = ten();
        let mut second = first.share().expect("they are worth it");
        let mut front = second.split_shared(4).unwrap();
        front.own().pop();
        assert_eq!(numbers(&front), [0, 1, 2]);
        assert_eq!(counts.get(), (4, 13));
        drop(first);
        // All of what is shared goes with the last who has a part in it.
        second.own().remove(0);
        assert_eq!(numbers(&second), Vec::from_iter(5..10));
        assert_eq!(counts.get(), (4, 8));
        drop((front, second));
        assert_eq!(counts.get().1, 0);
    }

    #[test]
    fn what_is_copied_for_less_is_not_shared() {
        let mut few = Events::Own(vec![1_u64, 2, 3]);
        assert!(few.share().is_none() && !few.is_shared());
        assert_eq!(few.as_slice(), [1, 2, 3]);
        let mut many = Events::Own(vec![0_u64; WORTH_SHARING]);
        let same = many.share().expect("they are worth it");
        assert!(many.is_shared() && same.is_shared());
        assert_eq!(same.into_vec().len(), WORTH_SHARING);
    }
}

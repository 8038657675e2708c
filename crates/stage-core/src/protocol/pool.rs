use std::{collections::BTreeMap, mem, time::Duration};

use super::{Demand, Restart, SubscriptionId, Window};

/// A child for each event: who runs, whom to start again, and when to ask for more.
///
/// An event counts as taken in once its child is *finished*: it ended for good, was terminated, or
/// was never started. Finished events are asked for again together, once they are as many as the
/// subscription's minimum, so that there are never more children of a subscription than its window.
/// A child that is started again keeps its slot.
///
/// This is GenStage's `ConsumerSupervisor`.
///
/// ```
/// use stage_core::{Demand, Restart, Window, protocol::{ChildEnd, Children, Pool, SubscriptionId}};
/// use std::time::Duration;
///
/// let (now, orders) = (Duration::ZERO, SubscriptionId(1));
/// let mut pool = Pool::new(Children::Transient(Restart::new(1, Duration::from_secs(5))));
/// assert_eq!(pool.subscribe(orders, Window::new(4)).get(), 4);
/// let (first, second) = (pool.start(orders), pool.start(orders));
///
/// // One is finished: the next ask is made when there are two.
/// assert_eq!(pool.finished(first), None);
/// // The other fails and is started again; then it is finished, too.
/// assert!(matches!(pool.failed(second, now), Some(ChildEnd::Restart { .. })));
/// assert_eq!(pool.finished(second), Demand::new(2).map(|two| (orders, two)));
/// ```
#[doc(alias = "ConsumerSupervisor")]
#[derive(Debug)]
pub struct Pool {
    children: Children,
    subscriptions: BTreeMap<SubscriptionId, Slots>,
    /// Who runs, and for whom.
    running: BTreeMap<ChildId, Option<SubscriptionId>>,
    started: u64,
}

/// What becomes of children that fail.
#[derive(Clone, Debug)]
pub enum Children {
    /// They are finished like any other.
    Temporary,
    /// They are started again for the same event, all together as often as this allows.
    Transient(Restart),
}

/// Names a child of a [`Pool`]. A name is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId(u64);

/// What to ask for, and of whom.
pub type Ask = (SubscriptionId, Demand);

/// What to do about a child that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildEnd {
    /// It is finished.
    Finished(Option<Ask>),
    /// Start it again, for the same event.
    Restart {
        /// So long from now.
        after: Duration,
    },
    /// It is finished, and there were too many failures: end the pool.
    Escalate(Option<Ask>),
}

#[derive(Debug)]
struct Slots {
    min: usize,
    /// Finished, and not asked for again.
    done: usize,
}

impl Pool {
    /// A pool with nobody in it.
    pub fn new(children: Children) -> Self {
        Self {
            children,
            subscriptions: BTreeMap::new(),
            running: BTreeMap::new(),
            started: 0,
        }
    }

    /// A subscription has come. Returns the first thing to ask for.
    pub fn subscribe(&mut self, id: SubscriptionId, window: Window) -> Demand {
        let slots = Slots {
            min: window.min(),
            done: 0,
        };
        self.subscriptions.insert(id, slots);
        window.first_ask()
    }

    /// A subscription has gone. Its children go on, and nothing is asked for when they end.
    pub fn cancel(&mut self, id: SubscriptionId) {
        self.subscriptions.remove(&id);
        // Another subscription may come by the same name.
        for owner in self.running.values_mut() {
            owner.take_if(|owner| *owner == id);
        }
    }

    /// An event of this subscription gets a child.
    pub fn start(&mut self, id: SubscriptionId) -> ChildId {
        let owner = self.subscriptions.contains_key(&id).then_some(id);
        self.add(owner)
    }

    /// A child is started that no subscription has asked for.
    pub fn start_by_hand(&mut self) -> ChildId {
        self.add(None)
    }

    /// Events of this subscription got no child.
    pub fn refused(&mut self, id: SubscriptionId, events: usize) -> Option<Ask> {
        let slots = self.subscriptions.get_mut(&id)?;
        slots.done += events;
        if slots.done < slots.min {
            return None;
        }
        Some((id, Demand::new(mem::take(&mut slots.done))?))
    }

    /// A child has ended for good, or was terminated. `None` also if it is not running.
    pub fn finished(&mut self, child: ChildId) -> Option<Ask> {
        let owner = self.running.remove(&child)??;
        self.refused(owner, 1)
    }

    /// A child has failed at `now`, which is the time since any moment that stays the same. `None`
    /// if it is not running.
    pub fn failed(&mut self, child: ChildId, now: Duration) -> Option<ChildEnd> {
        if !self.running.contains_key(&child) {
            return None;
        }
        let Children::Transient(restart) = &mut self.children else {
            return Some(ChildEnd::Finished(self.finished(child)));
        };
        Some(match restart.after(now) {
            Some(after) => ChildEnd::Restart { after },
            None => ChildEnd::Escalate(self.finished(child)),
        })
    }

    /// How many children run.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    fn add(&mut self, owner: Option<SubscriptionId>) -> ChildId {
        let child = ChildId(self.started);
        self.started += 1;
        self.running.insert(child, owner);
        child
    }
}

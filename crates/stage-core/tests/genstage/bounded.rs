//! A limit for what waits in a stage, which keeps everything of its own accord: by a dispatcher that
//! drops the rest.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use stage_core::{
    Demand,
    protocol::{Backlog, Dispatcher, Handout, Mark, Refused, SubscriptionId, Terms},
};

/// How much was dropped, each time.
pub(crate) type Dropped = Arc<Mutex<Vec<u64>>>;

pub(crate) struct Bounded {
    inner: Box<dyn Dispatcher<u64>>,
    size: usize,
    keeps_last: bool,
    dropped: Dropped,
    waiting: Waiting,
}

/// What waits in the stage's buffer, as far as the first notice.
pub(crate) type Waiting = Arc<Mutex<Vec<u64>>>;

impl Bounded {
    /// As the options of a trace say.
    pub(crate) fn of(
        options: &Value,
        inner: Box<dyn Dispatcher<u64>>,
        dropped: Dropped,
        waiting: Waiting,
    ) -> Self {
        let size = options["buffer_size"].as_u64();
        Self {
            inner,
            size: size.map_or(usize::MAX, |size| size as usize),
            keeps_last: options["buffer_keep"] == "last",
            dropped,
            waiting,
        }
    }

    fn limit(&self, backlog: &mut Backlog<u64>) -> usize {
        let excess = backlog.len().saturating_sub(self.size);
        if excess > 0 && self.keeps_last {
            backlog.take(excess);
        } else if excess > 0 {
            let kept = backlog.take(self.size);
            backlog.take(excess);
            backlog.push(kept);
        }
        excess
    }
}

impl Dispatcher<u64> for Bounded {
    fn subscribe(&mut self, id: SubscriptionId, terms: Terms<u64>) -> Result<(), Refused> {
        self.inner.subscribe(id, terms)
    }

    fn ask(&mut self, id: SubscriptionId, demand: Demand) {
        self.inner.ask(id, demand);
    }

    fn cancel(&mut self, id: SubscriptionId) {
        self.inner.cancel(id);
    }

    fn demand(&self) -> usize {
        self.inner.demand()
    }

    fn dispatch(&mut self, backlog: &mut Backlog<u64>, handout: &mut Handout<u64>) {
        self.inner.dispatch(backlog, handout);
        let excess = self.limit(backlog);
        if excess > 0 {
            handout.homeless += excess;
            self.dropped.lock().unwrap().push(excess as u64);
        }
        let waiting = backlog.take(usize::MAX).into_vec();
        self.waiting.lock().unwrap().clone_from(&waiting);
        backlog.push(waiting.into());
    }

    fn held(&self) -> usize {
        self.inner.held()
    }

    fn mark(&mut self, mark: Mark, handout: &mut Handout<u64>) {
        self.inner.mark(mark, handout);
    }
}

impl fmt::Debug for Bounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bounded").field(&self.inner).finish()
    }
}

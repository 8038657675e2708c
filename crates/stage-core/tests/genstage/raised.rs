//! Demand as a producer_consumer of GenStage's counts it: it stays when one leaves who asked for it,
//! and what belongs nowhere is taken for sent.

use std::{
    fmt, mem,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use stage_core::{
    Demand,
    protocol::{Backlog, Dispatcher, Handout, Mark, Refused, SubscriptionId, Terms},
};

use crate::lanes::{Abandoned, Held};

/// Says of a dispatcher that it could use whatever was ever asked of it and has not come.
pub(crate) struct Raised {
    inner: Box<dyn Dispatcher<u64>>,
    /// What was asked for upstream and has not come.
    raised: usize,
    /// The same, as the stage counts it.
    open: usize,
    given_up: Abandoned,
    /// How much more others want the stage to take in, so that it finishes what it has begun.
    extra: Held,
    /// How far this is from what the dispatcher itself says.
    off: Held,
}

impl Raised {
    pub(crate) fn new(inner: Box<dyn Dispatcher<u64>>, given_up: Abandoned, extra: Held) -> Self {
        Self {
            inner,
            raised: 0,
            open: 0,
            given_up,
            extra,
            off: Held::default(),
        }
    }

    /// Where it is told how far this is from what the dispatcher itself says.
    pub(crate) fn off(&self) -> Held {
        Arc::clone(&self.off)
    }

    fn raise(&mut self, more: usize) {
        let raised = self.inner.demand().max(self.raised + more);
        self.open += raised - self.raised;
        self.raised = raised;
        self.off
            .store(self.open.abs_diff(self.inner.demand()), Relaxed);
    }
}

impl Dispatcher<u64> for Raised {
    fn subscribe(&mut self, id: SubscriptionId, terms: Terms<u64>) -> Result<(), Refused> {
        self.inner.subscribe(id, terms)?;
        self.raise(0);
        Ok(())
    }

    fn ask(&mut self, id: SubscriptionId, demand: Demand) {
        self.inner.ask(id, demand);
        self.raise(0);
    }

    fn cancel(&mut self, id: SubscriptionId) {
        self.inner.cancel(id);
        let given_up = mem::take(&mut *self.given_up.lock().unwrap());
        self.raise(given_up.iter().map(|given_up| given_up.events).sum());
    }

    fn demand(&self) -> usize {
        self.open + self.extra.load(Relaxed)
    }

    fn dispatch(&mut self, backlog: &mut Backlog<u64>, handout: &mut Handout<u64>) {
        let (events, homeless) = (backlog.len(), handout.homeless);
        self.inner.dispatch(backlog, handout);
        let nowhere = handout.homeless - homeless;
        let taken = events - backlog.len();
        self.raised = self.raised.saturating_sub(taken - nowhere);
        self.open = self.open.saturating_sub(taken);
        self.raise(0);
    }

    fn held(&self) -> usize {
        self.inner.held()
    }

    fn mark(&mut self, mark: Mark, handout: &mut Handout<u64>) {
        self.inner.mark(mark, handout);
    }
}

impl fmt::Debug for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Raised").field(&self.inner).finish()
    }
}

//! Demand as GenStage counts it: it stays when one leaves who asked for it. A producer_consumer of
//! GenStage's takes what belongs nowhere for sent, too.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use stage_core::{
    Demand,
    protocol::{Backlog, Dispatcher, Handout, Mark, Refused, SubscriptionId, Terms},
};

use crate::lanes::Held;

/// Says of a dispatcher that it could use whatever was ever asked of it and has not come.
pub(crate) struct Raised {
    inner: Box<dyn Dispatcher<u64>>,
    /// What was asked for upstream and has not come.
    raised: usize,
    /// The same, as the stage counts it.
    open: usize,
    given_up: Held,
    /// Whether that is what counts.
    counts_nowhere: bool,
    /// How far this is from what the dispatcher itself says.
    off: Held,
    /// How much more was raised for what was given up than the dispatcher itself asks for.
    again: Held,
    /// How much was raised for what was given up, whoever asks for it.
    instead: Held,
}

impl Raised {
    pub(crate) fn new(inner: Box<dyn Dispatcher<u64>>, given_up: Held) -> Self {
        Self {
            inner,
            raised: 0,
            open: 0,
            given_up,
            counts_nowhere: false,
            off: Held::default(),
            again: Held::default(),
            instead: Held::default(),
        }
    }

    /// Takes what belongs nowhere for sent.
    pub(crate) fn counting_nowhere(mut self) -> Self {
        self.counts_nowhere = true;
        self
    }

    /// Where it is told how much more was raised for what was given up than the dispatcher itself asks
    /// for.
    pub(crate) fn again(&self) -> Held {
        Arc::clone(&self.again)
    }

    /// Where it is told how much was raised for what was given up.
    pub(crate) fn instead(&self) -> Held {
        Arc::clone(&self.instead)
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
        let given_up = self.given_up.swap(0, Relaxed);
        let own = self.inner.demand().saturating_sub(self.raised);
        self.again.fetch_add(given_up.saturating_sub(own), Relaxed);
        self.instead.fetch_add(given_up, Relaxed);
        self.raise(given_up);
    }

    fn demand(&self) -> usize {
        if self.counts_nowhere {
            self.open
        } else {
            self.raised
        }
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

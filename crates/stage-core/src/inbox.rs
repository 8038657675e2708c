use std::{
    collections::VecDeque,
    future::poll_fn,
    mem,
    sync::Arc,
    task::{Context, Poll, ready},
};

use crate::{
    Batch,
    desk::{DESK, Desk},
    link::{Arrival, ReceiveEnd},
    protocol::{Backlog, ExcessEvents, Ledger},
};

/// The asking side of a stage: all its subscriptions, served in turn.
#[derive(Debug)]
pub(crate) struct Inbox<E> {
    desk: Arc<Desk<ReceiveEnd<E>>>,
    /// By slot.
    links: Vec<Option<Incoming<E>>>,
    open: usize,
    expecting: bool,
    /// Slots that may have events, in the order of their turns.
    turns: VecDeque<usize>,
    // Kept for its storage.
    news: Vec<usize>,
}

#[derive(Debug)]
struct Incoming<E> {
    end: ReceiveEnd<E>,
    ledger: Ledger,
    /// Events that have come, beyond the portion that was taken in.
    rest: Backlog<E>,
    /// Whether the slot is among the turns.
    has_turn: bool,
}

/// Events to take in together.
#[derive(Debug)]
pub(crate) struct Portion<E> {
    pub(crate) batch: Batch<E>,
    pub(crate) debt: Debt,
}

/// A portion that is to be settled once it has been dealt with.
#[derive(Debug)]
#[must_use = "without settling, nothing more is asked for"]
pub(crate) struct Debt {
    slot: usize,
    events: usize,
}

impl<E> Inbox<E> {
    pub(crate) fn new(desk: Arc<Desk<ReceiveEnd<E>>>) -> Self {
        Self {
            desk,
            links: Vec::new(),
            open: 0,
            expecting: true,
            turns: VecDeque::new(),
            news: Vec::new(),
        }
    }

    /// The next portion of events; `None` once every stage that it subscribed to has ended and no
    /// other can come.
    ///
    /// Cancel safe: nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Option<Result<Portion<E>, ExcessEvents>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Portion<E>, ExcessEvents>>> {
        self.desk.bell.answer(&mut self.news);
        loop {
            self.read_news();
            while let Some(slot) = self.turns.pop_front() {
                if let Some(portion) = self.take_turn(slot) {
                    return Poll::Ready(Some(portion));
                }
            }
            if self.open == 0 && !self.expecting {
                return Poll::Ready(None);
            }
            ready!(self.desk.bell.poll(cx, &mut self.news));
        }
    }

    /// Takes note that a portion has been dealt with, and asks for more if it is time to.
    pub(crate) fn settle(&mut self, Debt { slot, events }: Debt) {
        if let Some(Some(incoming)) = self.links.get_mut(slot)
            && let Some(demand) = incoming.ledger.settle(events)
        {
            incoming.end.ask(demand);
        }
    }

    fn read_news(&mut self) {
        let mut news = mem::take(&mut self.news);
        for slot in news.drain(..) {
            if slot == DESK {
                self.welcome();
            } else {
                self.give_turn(slot);
            }
        }
        self.news = news;
    }

    fn welcome(&mut self) {
        let desk = self.desk.news();
        self.expecting = desk.expecting;
        for (slot, end) in desk.arrivals {
            if self.links.len() <= slot {
                self.links.resize_with(slot + 1, || None);
            }
            // The link was made with its first ask in it.
            let (ledger, _) = Ledger::open(end.window);
            self.links[slot] = Some(Incoming {
                end,
                ledger,
                rest: Backlog::new(),
                has_turn: false,
            });
            self.open += 1;
            self.give_turn(slot);
        }
    }

    fn give_turn(&mut self, slot: usize) {
        if let Some(Some(incoming)) = self.links.get_mut(slot)
            && !incoming.has_turn
        {
            incoming.has_turn = true;
            self.turns.push_back(slot);
        }
    }

    fn take_turn(&mut self, slot: usize) -> Option<Result<Portion<E>, ExcessEvents>> {
        let incoming = self.links.get_mut(slot)?.as_mut()?;
        incoming.has_turn = false;
        if incoming.rest.is_empty() {
            match incoming.end.receive() {
                Arrival::Events(batch) => {
                    if let Err(excess) = incoming.ledger.receive(batch.len()) {
                        return Some(Err(excess));
                    }
                    incoming.rest.push(batch);
                }
                Arrival::Nothing => return None,
                Arrival::End => {
                    self.links[slot] = None;
                    self.open -= 1;
                    self.desk.release(slot);
                    return None;
                }
            }
        }
        let events = incoming.ledger.portion(incoming.rest.len());
        let batch = incoming.rest.take(events);
        self.give_turn(slot);
        Some(Ok(Portion {
            batch,
            debt: Debt { slot, events },
        }))
    }
}

impl<E> Drop for Inbox<E> {
    fn drop(&mut self) {
        self.desk.close();
    }
}

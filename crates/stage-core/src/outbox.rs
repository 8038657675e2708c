use std::{
    future::poll_fn,
    mem,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use crate::{
    Batch, Demand,
    desk::{DESK, Desk},
    link::{Request, SendEnd},
    protocol::{Backlog, Delivery, Dispatcher, Handout, SubscriptionId, Terms},
    spares::Spares,
};

/// The sending side of a stage: its subscribers, and what has no taker yet.
#[derive(Debug)]
pub(crate) struct Outbox<E> {
    desk: Arc<Desk<SendEnd<E>>>,
    /// By slot. The slot is also the subscription's name to the dispatcher.
    links: Vec<Option<SendEnd<E>>>,
    open: usize,
    expecting: bool,
    stopping: bool,
    dispatcher: Box<dyn Dispatcher<E>>,
    backlog: Backlog<E>,
    spares: Arc<Spares<E>>,
    // Kept for their storage.
    news: Vec<usize>,
    handout: Handout<E>,
}

impl<E: Send + 'static> Outbox<E> {
    pub(crate) fn new(desk: Arc<Desk<SendEnd<E>>>, dispatcher: Box<dyn Dispatcher<E>>) -> Self {
        Self {
            desk,
            links: Vec::new(),
            open: 0,
            expecting: true,
            stopping: false,
            dispatcher,
            backlog: Backlog::new(),
            spares: Spares::new(),
            news: Vec::new(),
            handout: Handout::new(),
        }
    }

    /// An empty batch to put events into.
    pub(crate) fn batch(&self) -> Batch<E> {
        Batch::from_spares(&self.spares)
    }

    /// Waits until more is asked for than there is. `None` if nothing will be: the pipeline stops,
    /// or everybody has left.
    pub(crate) async fn wanted(&mut self) -> Option<Demand> {
        self.answer();
        poll_fn(|cx| {
            loop {
                if self.is_done() {
                    return Poll::Ready(None);
                }
                let wanted = self.dispatcher.demand().saturating_sub(self.backlog.len());
                if let Some(demand) = Demand::new(wanted) {
                    return Poll::Ready(Some(demand));
                }
                ready!(self.poll_news(cx));
            }
        })
        .await
    }

    /// Does `work` while answering requests. `None` if the pipeline stops or everybody has left
    /// before it was done.
    pub(crate) async fn while_serving<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            while self.poll_news(cx).is_ready() {
                if self.is_done() {
                    return Poll::Ready(None);
                }
            }
            work.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// Waits until every event has been taken, or everybody has left.
    pub(crate) async fn flush(&mut self) {
        self.answer();
        poll_fn(|cx| {
            while self.has_events() && !self.is_deserted() {
                ready!(self.poll_news(cx));
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Hands events out, and keeps those that have no taker.
    pub(crate) fn push(&mut self, batch: Batch<E>) {
        self.backlog.push(batch);
        self.deliver();
    }

    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.desk.bell.poll(cx, &mut self.news));
        self.read_news();
        Poll::Ready(())
    }

    fn answer(&mut self) {
        self.desk.bell.answer(&mut self.news);
        self.read_news();
    }

    fn read_news(&mut self) {
        if self.news.is_empty() {
            return;
        }
        let mut news = mem::take(&mut self.news);
        for slot in news.drain(..) {
            if slot == DESK {
                self.welcome();
            } else {
                self.read_request(slot);
            }
        }
        self.news = news;
        self.deliver();
    }

    fn welcome(&mut self) {
        let desk = self.desk.news();
        self.expecting = desk.expecting;
        self.stopping = desk.stopping;
        for (slot, link) in desk.arrivals {
            if self.links.len() <= slot {
                self.links.resize_with(slot + 1, || None);
            }
            let id = SubscriptionId(slot as u64);
            if let Err(refused) = self.dispatcher.subscribe(id, Terms::default()) {
                tracing::error!(error = %refused, "a subscription was refused");
                self.desk.release(slot);
                continue;
            }
            self.links[slot] = Some(link);
            self.open += 1;
            self.read_request(slot);
        }
    }

    fn read_request(&mut self, slot: usize) {
        let Some(Some(link)) = self.links.get(slot) else {
            return;
        };
        let id = SubscriptionId(slot as u64);
        match link.request() {
            Request::Ask(Some(demand)) => self.dispatcher.ask(id, demand),
            Request::Ask(None) => {}
            Request::Cancel => {
                self.links[slot] = None;
                self.open -= 1;
                self.dispatcher.cancel(id);
                self.desk.release(slot);
            }
        }
    }

    fn deliver(&mut self) {
        while self.has_events() {
            self.dispatcher
                .dispatch(&mut self.backlog, &mut self.handout);
            for Delivery { to, events, .. } in self.handout.deliveries.drain(..) {
                if let Some(Some(link)) = self.links.get(to.0 as usize) {
                    link.send(events);
                }
            }
            if self.handout.made_up.is_empty() {
                return;
            }
            for (id, demand) in self.handout.made_up.drain(..) {
                self.dispatcher.ask(id, demand);
            }
        }
    }

    fn has_events(&self) -> bool {
        !self.backlog.is_empty() || self.dispatcher.held() > 0
    }

    fn is_done(&self) -> bool {
        self.stopping || self.is_deserted()
    }

    fn is_deserted(&self) -> bool {
        self.open == 0 && !self.expecting
    }
}

impl<E> Drop for Outbox<E> {
    fn drop(&mut self) {
        self.desk.close();
    }
}

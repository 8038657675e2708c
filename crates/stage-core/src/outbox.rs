use std::{
    collections::VecDeque,
    future::poll_fn,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tracing::warn;

use crate::{
    Batch, Demand,
    change::Change,
    desk::{DESK, Desk, Notice},
    doorbell::Ear,
    line::Line,
    link::{Request, SendEnd},
    meter::StageState,
    pace::Worked,
    protocol::{
        Buffer, Delivery, Dispatcher, Down, End, ExcessEvents, Handout, Mark, Reason, Refused,
        SubscriptionId,
    },
    seat::Seat,
};

mod promptness;
mod sole;

use promptness::Promptness;
use sole::Sole;

/// The sending side of a stage: its subscribers, and what has no taker yet.
#[derive(Debug)]
pub(crate) struct Outbox<E: 'static> {
    desk: Arc<Desk<SendEnd<E>>>,
    /// By slot. The slot is also the subscription's name to the dispatcher.
    links: Vec<Option<SendEnd<E>>>,
    open: usize,
    expecting: bool,
    /// The pipeline stops: nobody comes for what waits for a subscriber that has left.
    expects_nobody: bool,
    stopping: bool,
    held: bool,
    /// The dispatcher has given more to somebody than was asked for.
    broken: Option<ExcessEvents>,
    dispatcher: Box<dyn Dispatcher<E>>,
    buffer: Buffer<E>,
    /// Those that the stage has not been told of.
    changes: Line<Change<E>>,
    /// Notices that have not passed yet.
    notices: VecDeque<(Mark, Notice)>,
    next_mark: u64,
    seat: Arc<Seat>,
    /// How much more is wanted, as far as is known without a look.
    left: usize,
    /// Who gets everything, if it is known that somebody does.
    sole: Option<Sole>,
    /// Something other than demand may be there to see.
    is_unusual: bool,
    /// The dispatcher is at work, or weights are taken: code of the user's. If it is still so later,
    /// that has panicked, and who gets what is left nobody knows.
    is_dividing: bool,
    /// How many events the dispatcher was given, or had, that were not sent since.
    at_stake: usize,
    /// Another stage was woken, and nobody has taken note of that yet.
    has_woken: bool,
    promptness: Promptness,
    /// What waits may have a taker, and goes with what the stage is about to make.
    is_owing: bool,
    ear: Ear,
    // Kept for its storage.
    handout: Handout<E>,
}

/// What a stage has to do for its subscribers. Small enough for registers.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// More is asked for than there is.
    Events(Demand),
    /// Subscribers have come or gone: see [`take_change`](Outbox::take_change).
    Change,
    /// Nothing more: the stage is to stop, or everybody has left. See [`end`](Outbox::end).
    Nothing,
}

impl<E: Send + 'static> Outbox<E> {
    pub(crate) fn new(desk: Arc<Desk<SendEnd<E>>>, dispatcher: Box<dyn Dispatcher<E>>) -> Self {
        Self {
            seat: Arc::clone(&desk.seat),
            desk,
            links: Vec::new(),
            open: 0,
            expecting: true,
            expects_nobody: false,
            stopping: false,
            held: false,
            broken: None,
            dispatcher,
            buffer: Buffer::unbounded(),
            changes: Line::new(),
            notices: VecDeque::new(),
            next_mark: 0,
            left: 0,
            sole: None,
            is_unusual: true,
            is_dividing: false,
            at_stake: 0,
            has_woken: false,
            promptness: Promptness::default(),
            is_owing: false,
            ear: Ear::default(),
            handout: Handout::new(),
        }
    }

    /// An empty batch to put about so many events into.
    #[inline(always)]
    pub(crate) fn batch(&mut self, events: usize) -> Batch<E> {
        let emptied = self.batch_of_sole(events);
        emptied.unwrap_or_else(|| self.spare_batch(events))
    }

    #[inline(never)]
    fn spare_batch(&mut self, events: usize) -> Batch<E> {
        self.buffer.front().spares.take(events)
    }

    /// The subscription that [`Wanted::Change`] is about.
    pub(crate) fn take_change(&mut self) -> Option<Change<E>> {
        self.changes.pop()
    }

    /// Whether another stage was woken since the last call.
    pub(crate) fn has_woken(&mut self) -> bool {
        mem::take(&mut self.has_woken)
    }

    /// What there is to do now, if that is known to be more than what the next news is of.
    #[inline]
    pub(crate) fn ready(&mut self) -> Option<Wanted> {
        match self.left > 0 || self.is_unusual {
            true => self.look(),
            false => None,
        }
    }

    /// What there is to do now.
    #[inline(always)]
    pub(crate) fn look(&mut self) -> Option<Wanted> {
        match self.look_at_sole() {
            Some(wanted) => wanted,
            None => self.look_at_all(),
        }
    }

    #[inline(never)]
    fn look_at_all(&mut self) -> Option<Wanted> {
        if self.hear_news() {
            self.deliver_unless_more_follows();
        }
        if self.expects_nobody {
            self.give_up_stranded();
        }
        self.next()
    }

    /// After a look at nothing: waits until there is something to do.
    pub(crate) async fn wanted(&mut self) -> Wanted {
        let mut has_looked = true;
        poll_fn(|cx| {
            loop {
                if !mem::take(&mut has_looked)
                    && let Some(wanted) = self.look()
                {
                    return Poll::Ready(wanted);
                }
                if self.sleep(cx) {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    #[inline]
    fn next(&mut self) -> Option<Wanted> {
        if self.is_unusual
            && let Some(unusual) = self.next_unusual()
        {
            return Some(unusual);
        }
        let demand = self.demand();
        self.left = demand.map_or(0, Demand::get);
        if self.open == 1 {
            self.find_sole();
        }
        demand.map(Wanted::Events)
    }

    #[cold]
    fn next_unusual(&mut self) -> Option<Wanted> {
        if !self.changes.is_empty() {
            // For those who look on when they are told.
            self.note_wanted();
            return Some(Wanted::Change);
        }
        let is_done = self.is_done();
        self.is_unusual = is_done || self.open == 0;
        is_done.then_some(Wanted::Nothing)
    }

    /// Does `work` while answering requests, and `meanwhile` once if it waits. It is given up, and there is
    /// nothing, if the stage [is to stop or everybody has left](Self::end) before it was done.
    pub(crate) async fn serve_during<T>(
        &mut self,
        mut work: Pin<&mut impl Future<Output = T>>,
        meanwhile: impl FnOnce(),
    ) -> Worked<Option<T>> {
        let mut meanwhile = Some(meanwhile);
        let done = poll_fn(|cx| {
            // First, since most work is done at once, and then nobody need be listened to.
            match work.as_mut().poll(cx) {
                Poll::Ready(done) => Poll::Ready(Some(done)),
                Poll::Pending => {
                    if let Some(meanwhile) = meanwhile.take() {
                        self.note_that_work_waits();
                        meanwhile();
                    }
                    self.serve(cx).map(|()| None)
                }
            }
        });
        let done = done.await;
        let waited = meanwhile.is_none();
        Worked { done, waited }
    }

    /// Answers requests; ready if the stage is to do nothing more.
    fn serve(&mut self, cx: &Context<'_>) -> Poll<()> {
        while !self.sleep(cx) {
            self.read_news();
            if self.is_done() {
                return Poll::Ready(());
            }
            // For those who look on: the work was begun for what was wanted then.
            self.note_wanted();
        }
        Poll::Pending
    }

    /// Waits until every event has been taken, or everybody has left.
    pub(crate) async fn flush(&mut self) {
        self.seat.meter.enter(StageState::Draining);
        if self.is_dividing {
            return;
        }
        self.deliver_what_is_owed();
        poll_fn(|cx| {
            loop {
                self.read_news();
                if !self.expecting {
                    self.give_up_stranded();
                }
                // For those who look on.
                self.note_wanted();
                if !self.has_events() || self.is_deserted() || self.broken.is_some() {
                    return Poll::Ready(());
                }
                if self.sleep(cx) {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }

    /// The stage begins, in this task.
    pub(crate) fn begin(&self) {
        self.seat.meter.enter(StageState::Running);
    }

    /// The stage has failed.
    pub(crate) fn raise_alarm(&self) {
        self.seat.meter.raise_alarm();
    }

    /// Drops what the dispatcher holds for subscribers that will not come, so that others get theirs.
    #[cold]
    fn give_up_stranded(&mut self) {
        loop {
            let stranded = self.dispatcher.give_up_stranded();
            if stranded.is_empty() {
                return;
            }
            let events = stranded.len();
            warn!(
                events,
                "the stage ends, and these wait for a subscriber that has left: dropped"
            );
            self.seat.meter.lost(events);
            drop(stranded);
            self.deliver();
        }
    }

    /// Hands events out, and keeps those that have no taker.
    #[inline]
    pub(crate) fn push(&mut self, batch: Batch<E>) {
        if let Some(batch) = self.send_to_sole(batch) {
            self.push_to_some(batch);
        }
    }

    /// The same, by the dispatcher.
    #[inline(never)]
    fn push_to_some(&mut self, mut batch: Batch<E>) {
        if batch.is_empty() {
            self.deliver_what_is_owed();
            return self.buffer.front().spares.give(batch.emptied());
        }
        self.is_dividing = true;
        self.at_stake = self.undelivered() + batch.len();
        if self.at_stake == batch.len()
            && let Some(to) = self.dispatcher.claim(batch.len())
        {
            self.left = self.left.saturating_sub(batch.len());
            self.seat.meter.waiting(0, self.dispatcher.demand());
            self.send(to, batch);
            self.is_dividing = false;
            return;
        }
        self.left = usize::MAX;
        // A stage makes what it is asked for, so its buffer has no limit.
        self.buffer.store(batch);
        self.deliver();
    }

    /// Hands out events that the stage has made itself.
    #[inline]
    pub(crate) fn push_made(&mut self, batch: Batch<E>) {
        self.seat.meter.handled(batch.len());
        if self.is_asked_in_pieces() {
            self.promptness.made(batch.len());
        }
        self.push(batch);
    }

    /// Ends all subscriptions, after what was sent, and returns those that nobody was told of yet.
    ///
    /// # Errors
    ///
    /// If the dispatcher gave out more than was asked for.
    pub(crate) fn close(mut self, end: &End) -> Result<Line<Change<E>>, ExcessEvents> {
        let broken = self.broken.take();
        let end = match broken {
            Some(excess) => &End::Down(Down::OverDelivered(excess)),
            None => end,
        };
        let mut changes = mem::take(&mut self.changes);
        for link in mem::take(&mut self.links).into_iter().flatten() {
            changes.push(Change::Ended(Arc::clone(link.link()), end.clone()));
            link.close(end.clone());
        }
        // Who has come too late to be seen is told the same.
        self.desk.close_with(|link| link.close(end.clone()));
        broken.map_or(Ok(changes), Err)
    }

    /// Whether more is asked for than there is, and may be made.
    pub(crate) fn is_wanted(&self) -> bool {
        self.demand().is_some()
    }

    fn demand(&self) -> Option<Demand> {
        let wanted = self.note_wanted();
        if self.held { None } else { Demand::new(wanted) }
    }

    /// How many more events are asked for than there are; for those who look on, too.
    #[inline]
    fn note_wanted(&self) -> usize {
        let by_all = || self.dispatcher.demand().saturating_sub(self.buffer.len());
        let wanted = self.wanted_by_sole().unwrap_or_else(by_all);
        self.seat.meter.waiting(self.undelivered(), wanted);
        wanted
    }

    #[inline]
    fn read_news(&mut self) {
        if self.hear_news() {
            self.deliver_what_waits();
        }
    }

    /// Whether there is any. What waits may have a taker then.
    #[inline]
    fn hear_news(&mut self) -> bool {
        if !self.desk.bell.listen(&mut self.ear) {
            return false;
        }
        self.leave_sole();
        while let Some(slot) = self.ear.next() {
            self.hear(slot);
        }
        true
    }

    #[inline]
    fn deliver_what_waits(&mut self) {
        if self.has_events() || !self.notices.is_empty() {
            self.deliver();
        }
    }

    #[inline]
    fn hear(&mut self, slot: usize) {
        if slot == DESK {
            self.welcome();
        } else {
            self.read_request(slot);
        }
    }

    #[cold]
    fn welcome(&mut self) {
        let desk = self.desk.news();
        self.is_unusual = true;
        self.expecting = desk.expecting;
        self.expects_nobody = desk.expects_nobody;
        self.stopping = desk.stopping;
        self.hold(desk.held);
        for (slot, link) in desk.arrivals {
            self.admit(slot, link);
        }
        for notice in desk.notices {
            let mark = Mark(self.next_mark);
            self.next_mark += 1;
            self.buffer.mark(mark);
            self.notices.push_back((mark, notice));
        }
    }

    fn admit(&mut self, slot: usize, link: SendEnd<E>) {
        let id = SubscriptionId(slot as u64);
        let subscribe = |outbox: &mut Self| {
            let terms = link.wish().terms.clone();
            outbox.dispatcher.subscribe(id, terms)
        };
        let subscribed = subscribe(self).or_else(|_| {
            // Whoever is in its place may have been cancelled first, which is news as well.
            for slot in 0..self.links.len() {
                self.read_request(slot);
            }
            subscribe(self)
        });
        if let Err(refused) = subscribed {
            warn!(by = %link.peer(), reason = %refused, "subscription refused");
            let reason = match refused {
                Refused::AlreadySubscribed => Reason::AlreadySubscribed,
                _ => Reason::Refused(refused.to_string().into()),
            };
            link.close(End::Cancelled(reason));
            self.desk.release(slot);
            return;
        }
        if self.links.len() <= slot {
            self.links.resize_with(slot + 1, || None);
        }
        self.changes.push(Change::Opened(Arc::clone(link.link())));
        self.links[slot] = Some(link);
        self.open += 1;
        self.read_request(slot);
    }

    /// Whether the stage is to make no events for the time being.
    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    fn hold(&mut self, held: bool) {
        if held != self.held {
            self.held = held;
            self.seat.meter.enter(match held {
                true => StageState::Held,
                false => StageState::Running,
            });
        }
    }

    #[inline]
    fn read_request(&mut self, slot: usize) {
        let Some(Some(link)) = self.links.get_mut(slot) else {
            return;
        };
        let id = SubscriptionId(slot as u64);
        match link.request() {
            Request::Ask(Some(demand)) => {
                link.reclaim(&mut self.buffer.front().spares);
                self.left = self.left.saturating_add(demand.get());
                self.dispatcher.ask(id, demand);
            }
            Request::Ask(None) => {}
            Request::Cancel(end) => self.forget(slot, end),
        }
    }

    /// A subscription has been cancelled.
    #[cold]
    fn forget(&mut self, slot: usize, end: End) {
        let id = SubscriptionId(slot as u64);
        if let Some(link) = self.links[slot].take() {
            self.changes
                .push(Change::Ended(Arc::clone(link.link()), end));
            self.is_unusual = true;
            self.open -= 1;
            self.dispatcher.cancel(id);
            self.desk.release(slot);
        }
    }

    #[inline(never)]
    fn deliver(&mut self) {
        self.is_owing = false;
        self.is_dividing = true;
        self.at_stake = self.undelivered();
        loop {
            if self.has_events() || !self.notices.is_empty() {
                self.dispatcher
                    .dispatch(self.buffer.front(), &mut self.handout);
                self.hand_over();
            }
            let mut again = !self.handout.made_up.is_empty();
            for (id, demand) in self.handout.made_up.drain(..) {
                // These are not lost, but unwanted.
                self.at_stake = self.at_stake.saturating_sub(demand.get());
                self.dispatcher.ask(id, demand);
            }
            while let Some(mark) = self.buffer.pass() {
                self.dispatcher.mark(mark, &mut self.handout);
                again = true;
            }
            if !again {
                break;
            }
        }
        self.is_dividing = false;
        // What the dispatcher has taken, and neither handed out nor kept.
        self.seat
            .meter
            .lost(self.at_stake.saturating_sub(self.undelivered()));
        self.tell_notices();
    }

    #[inline]
    fn send(&mut self, to: SubscriptionId, events: Batch<E>) {
        let count = events.len();
        let Some(Some(link)) = self.links.get_mut(to.0 as usize) else {
            // That subscriber is not there: what it was to be given counts as lost.
            return;
        };
        let sent = link.send(events);
        self.at_stake = self.at_stake.saturating_sub(count);
        match sent {
            Ok(has_woken) => self.has_woken |= has_woken,
            Err(excess) => {
                self.broken.get_or_insert(excess);
                self.is_unusual = true;
            }
        }
    }

    fn hand_over(&mut self) {
        let mut deliveries = mem::take(&mut self.handout.deliveries);
        for Delivery { to, events, .. } in deliveries.drain(..) {
            self.send(to, events);
        }
        self.handout.deliveries = deliveries;
        let dropped = mem::take(&mut self.handout.homeless);
        let failed = mem::take(&mut self.handout.misplaced);
        self.at_stake = self.at_stake.saturating_sub(dropped + failed);
        if dropped > 0 {
            self.seat.meter.dropped(dropped);
        }
        self.seat.meter.lost(failed);
    }

    fn tell_notices(&mut self) {
        for passed in self.handout.passed.drain(..) {
            let at = self.notices.iter().position(|(mark, _)| *mark == passed);
            if let Some((_, notice)) = at.and_then(|at| self.notices.remove(at)) {
                // Nobody waits any more if this fails.
                let _ = notice.send(());
            }
        }
    }

    fn has_events(&self) -> bool {
        self.undelivered() > 0
    }

    fn undelivered(&self) -> usize {
        self.buffer.len() + self.dispatcher.held()
    }

    /// Whether there is nothing more to do.
    #[inline]
    fn is_done(&self) -> bool {
        self.stopping || self.is_deserted() || self.broken.is_some()
    }

    /// Why there is nothing more to do.
    pub(crate) fn end(&self) -> End {
        match self.stopping {
            true => End::Cancelled(Reason::Shutdown),
            false => End::Completed,
        }
    }

    fn is_deserted(&self) -> bool {
        self.open == 0 && !self.expecting
    }
}

impl<E: 'static> Drop for Outbox<E> {
    fn drop(&mut self) {
        let lost = match self.is_dividing {
            true => self.at_stake,
            false => self.buffer.len() + self.dispatcher.held(),
        };
        self.seat.meter.lost(lost);
        self.desk.close();
    }
}

use std::{
    collections::{BTreeMap, btree_map::Entry},
    mem,
    sync::{
        Arc,
        atomic::{Ordering::Acquire, fence},
    },
};

use crate::{
    Batch,
    change::Change,
    crew::AnyDesk,
    desk::{DESK, Desk, Notice},
    doorbell::Ear,
    in_hand::{Done, Hand, MAX_PORTION},
    line::Line,
    link::{Arrival, ReceiveEnd},
    meter::StageState,
    protocol::{Down, End, Fate, Ledger, Reason},
    seat::Seat,
    subscription::{Asking, SubscriptionInfo},
};

mod put_off;
mod rest;
mod sole;

use put_off::FEW;
use rest::Rest;
use sole::Wish;

/// The asking side of a stage: all its subscriptions, served in turn.
#[derive(Debug)]
pub(crate) struct Inbox<E: Send + 'static> {
    desk: Arc<Desk<ReceiveEnd<E>>>,
    /// What the stage has been given and has not settled.
    pub(crate) portion: Batch<E>,
    /// By slot.
    links: Vec<Option<Incoming<E>>>,
    open: usize,
    /// Somebody may bring links.
    expecting: bool,
    /// Without links, wait for some.
    staying: bool,
    stopping: bool,
    /// A subscription ended that the stage does not go on without.
    closing: Option<Result<(), Upstream>>,
    /// How the subscriptions ended, the worst of them.
    worst: End,
    /// Slots that may have events, in the order of their turns.
    turns: Line<usize>,
    /// The last look was for events, too.
    wants_events: bool,
    /// The only one, if there is nothing out of the ordinary. It needs no turns.
    sole: Option<usize>,
    /// Those that the stage has not been told of.
    changes: Line<Change<E>>,
    notices: Vec<Behind>,
    seat: Arc<Seat>,
    /// Another stage was woken, and nobody has taken note of that yet.
    has_woken: bool,
    ear: Ear,
}

#[derive(Debug)]
struct Incoming<E> {
    end: ReceiveEnd<E>,
    asker: Asker,
    hand: Arc<Hand>,
    /// For the next portion.
    spare_hand: Option<Arc<Hand>>,
    /// Events that have come, beyond the portion that was taken in.
    rest: Rest<E>,
    /// Whether batches come that are taken in by parts.
    has_parts: bool,
    /// Whether the slot is among the turns. Otherwise the next news gives it one.
    has_turn: bool,
}

/// Who asks for more.
#[derive(Debug)]
enum Asker {
    Ledger(Ledger),
    /// Somebody with a handle.
    Hand,
}

/// A notice, and how many events of which links lie before it.
#[derive(Debug)]
struct Behind {
    notice: Notice,
    events: BTreeMap<usize, usize>,
}

/// What a stage finds in its inbox.
#[derive(Debug)]
pub(crate) enum Input {
    /// Events to take in together: the inbox's [`portion`](Inbox::portion).
    Events(Debt),
    /// A subscription has come or gone: see [`take_change`](Inbox::take_change).
    Change,
    /// There will be nothing any more.
    End,
}

/// A portion that is to be settled once it has been dealt with.
#[derive(Debug)]
#[must_use = "without settling, nothing more is asked for"]
pub(crate) struct Debt {
    slot: usize,
}

/// A stage cannot go on without another to which it was subscribed.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    pub(crate) stage: Arc<str>,
    pub(crate) end: End,
}

impl Upstream {
    /// What others are told that the stage has subscriptions with.
    pub(crate) fn end_for_others(&self) -> End {
        match &self.end {
            End::Completed => End::Cancelled(Reason::Dropped),
            end => end.clone(),
        }
    }
}

impl<E: Send + 'static> Inbox<E> {
    pub(crate) fn new(desk: Arc<Desk<ReceiveEnd<E>>>) -> Self {
        Self {
            seat: Arc::clone(&desk.seat),
            desk,
            portion: Batch::new(),
            links: Vec::new(),
            open: 0,
            expecting: true,
            staying: false,
            stopping: false,
            closing: None,
            worst: End::Completed,
            turns: Line::new(),
            wants_events: false,
            sole: None,
            changes: Line::new(),
            notices: Vec::new(),
            has_woken: false,
            ear: Ear::default(),
        }
    }

    /// The stage begins, in this task.
    pub(crate) fn begin(&self) {
        self.seat.meter.enter(StageState::Running);
    }

    /// After [`Input::End`]: how everything upstream ended.
    ///
    /// # Errors
    ///
    /// If something ended that the stage does not go on without.
    pub(crate) fn outcome(&self) -> Result<End, Upstream> {
        match &self.closing {
            Some(Err(upstream)) => Err(upstream.clone()),
            Some(Ok(())) | None => Ok(self.worst.clone()),
        }
    }

    /// The subscription that [`Input::Change`] is about.
    pub(crate) fn take_change(&mut self) -> Option<Change<E>> {
        self.changes.pop()
    }

    /// Whether another stage was woken since the last call.
    pub(crate) fn has_woken(&mut self) -> bool {
        mem::take(&mut self.has_woken)
    }

    /// What there is now, if that is known to be more than what the next news is of.
    #[inline]
    pub(crate) fn ready(&mut self) -> Option<Input> {
        if self.sole_has_nothing() {
            return None;
        }
        let has_some = self.sole.is_some() || !self.turns.is_empty() || !self.changes.is_empty();
        match has_some || self.open == 0 {
            true => self.look(),
            false => None,
        }
    }

    /// What there is now.
    #[inline(never)]
    pub(crate) fn look(&mut self) -> Option<Input> {
        self.look_for(Wish::Events, |inbox| {
            while let Some(slot) = inbox.turns.first().copied() {
                let input = inbox.take_turn(slot);
                if input.is_some() {
                    return input;
                }
            }
            None
        })
    }

    /// Like [`look`](Self::look), but sees no events, and nothing that lies behind some.
    pub(crate) fn look_past_events(&mut self) -> Option<Input> {
        self.look_for(Wish::Nothing, Self::pass_over_events)
    }

    /// Like [`look_past_events`](Self::look_past_events), but finishes a delivery that is begun.
    pub(crate) fn look_at_begun(&mut self) -> Option<Input> {
        self.look_for(Wish::Begun, |inbox| match inbox.begun() {
            Some(slot) => inbox.take_turn(slot),
            None => inbox.pass_over_events(),
        })
    }

    fn pass_over_events(&mut self) -> Option<Input> {
        for _ in 0..self.turns.len() {
            let slot = self.turns.pop()?;
            let input = self.take_turn_without_events(slot);
            if input.is_some() {
                return input;
            }
        }
        None
    }

    #[inline(always)]
    fn look_for(
        &mut self,
        wish: Wish,
        take_turns: impl FnOnce(&mut Self) -> Option<Input>,
    ) -> Option<Input> {
        self.wants_events = wish == Wish::Events;
        if let Some(input) = self.look_at_sole(wish) {
            return input;
        }
        self.look_at_all(take_turns)
    }

    #[inline(never)]
    fn look_at_all(
        &mut self,
        take_turns: impl FnOnce(&mut Self) -> Option<Input>,
    ) -> Option<Input> {
        self.read_news();
        if !self.changes.is_empty() {
            return Some(Input::Change);
        }
        let input = take_turns(self);
        if self.open == 1 {
            self.find_sole();
        }
        match input {
            None if self.is_done() => Some(Input::End),
            input => input,
        }
    }

    fn is_done(&self) -> bool {
        let waits = self.expecting || (self.staying && !self.stopping);
        self.open == 0 && (self.closing.is_some() || !waits)
    }

    /// Takes note that the portion has been dealt with, but for what is kept in hand, and asks for
    /// more if it is time to: with the last of small portions.
    #[inline(always)]
    pub(crate) fn settle(&mut self, Debt { slot }: Debt) {
        let Some(Some(incoming)) = self.links.get_mut(slot) else {
            return;
        };
        let done = incoming.take_back(&mut self.portion);
        self.seat.meter.handled(done.events);
        if !incoming.rest.is_empty() && done.events <= FEW && !self.seat.is_slow() {
            incoming.settle_part(done);
        } else {
            self.has_woken |= incoming.settle(done);
        }
        if !self.notices.is_empty() {
            self.advance_notices(slot, done.events);
        }
    }

    /// Takes note of what was kept in hand and has been dealt with.
    #[cold]
    fn take_back(&mut self, slot: usize) {
        if let Some(Some(incoming)) = self.links.get_mut(slot) {
            let done = incoming.hand.take_back();
            self.has_woken |= incoming.settle(done);
            self.advance_notices(slot, done.events);
        }
    }

    /// Puts a notice behind all events that have come or are on their way.
    fn take_notice(&mut self, notice: Notice) {
        let links = self.links.iter().enumerate();
        let open = links.filter_map(|(slot, link)| Some((slot, link.as_ref()?.end.open())));
        let events = open.filter(|(_, events)| *events > 0).collect();
        self.notices.push(Behind { notice, events });
        self.tell_notices();
    }

    /// So many events of a link have been dealt with; all, if it has gone.
    #[cold]
    fn advance_notices(&mut self, slot: usize, settled: usize) {
        for behind in &mut self.notices {
            if let Entry::Occupied(mut events) = behind.events.entry(slot) {
                if *events.get() <= settled {
                    events.remove();
                } else {
                    *events.get_mut() -= settled;
                }
            }
        }
        self.tell_notices();
    }

    fn tell_notices(&mut self) {
        for behind in self
            .notices
            .extract_if(.., |behind| behind.events.is_empty())
        {
            // Nobody waits any more if this fails.
            let _ = behind.notice.send(());
        }
    }

    #[inline]
    fn read_news(&mut self) {
        if self.desk.bell.listen(&mut self.ear) {
            while let Some(slot) = self.ear.next() {
                self.hear(slot);
            }
        }
    }

    #[inline]
    fn hear(&mut self, slot: usize) {
        if slot == DESK {
            self.welcome();
        } else {
            let incoming = self.links.get(slot).and_then(Option::as_ref);
            if incoming.is_some_and(|incoming| incoming.hand.has_returned()) {
                self.take_back(slot);
            }
            self.give_turn(slot);
        }
    }

    #[cold]
    fn welcome(&mut self) {
        let desk = self.desk.news();
        self.expecting = desk.expecting;
        self.stopping = desk.stopping;
        for (slot, end) in desk.arrivals {
            if self.links.len() <= slot {
                if self.links.is_empty() {
                    // Most have no more.
                    self.links.reserve_exact(slot + 1);
                }
                self.links.resize_with(slot + 1, || None);
            }
            self.changes.push(Change::Opened(Arc::clone(end.link())));
            // The link was made with its first ask in it.
            let asker = match end.wish().asking {
                Asking::Automatic(window) => Asker::Ledger(Ledger::open(window).0),
                Asking::Manual => Asker::Hand,
            };
            let desk = Arc::clone(&self.desk) as Arc<dyn AnyDesk>;
            let hand = Hand::new(desk, slot, end.is_weighed());
            self.links[slot] = Some(Incoming {
                end,
                asker,
                hand,
                spare_hand: None,
                rest: Rest::new(),
                has_parts: false,
                has_turn: false,
            });
            self.open += 1;
            self.give_turn(slot);
        }
        for notice in desk.notices {
            self.take_notice(notice);
        }
        if desk.leaving {
            self.leave(Ok(()));
        } else if let Some(outcome) = self.closing.clone() {
            // Who comes too late is told what the others were.
            self.leave(outcome);
        }
    }

    /// Ends all subscriptions, since the stage is to end.
    fn leave(&mut self, outcome: Result<(), Upstream>) {
        let end = match &outcome {
            Ok(()) => End::Cancelled(Reason::Shutdown),
            Err(upstream) => upstream.end_for_others(),
        };
        self.closing.get_or_insert(outcome);
        self.close(&end);
    }

    #[inline]
    fn give_turn(&mut self, slot: usize) {
        if let Some(Some(incoming)) = self.links.get_mut(slot)
            && !incoming.has_turn
        {
            incoming.has_turn = true;
            self.turns.push(slot);
        }
    }

    /// Whose delivery is begun and not finished.
    fn begun(&self) -> Option<usize> {
        let slot = *self.turns.first()?;
        let incoming = self.links.get(slot)?.as_ref()?;
        (!incoming.rest.is_empty() && !incoming.end.is_cancelled()).then_some(slot)
    }

    /// Gives the first its turn, which it keeps until a delivery that it has begun is finished.
    #[inline]
    fn take_turn(&mut self, slot: usize) -> Option<Input> {
        let Some(Some(incoming)) = self.links.get_mut(slot) else {
            self.turns.pop();
            return None;
        };
        let batch = if incoming.rest.is_empty() || incoming.end.is_cancelled() {
            match incoming.end.receive() {
                Arrival::Events(batch) => incoming.take_in(batch),
                nothing => {
                    incoming.has_turn = false;
                    self.turns.pop();
                    return match nothing {
                        Arrival::End(end) => self.bury(slot, end),
                        _ => None,
                    };
                }
            }
        } else {
            incoming.take_rest()
        };
        incoming.hand_over(&mut self.portion, batch);
        if incoming.rest.is_empty() {
            self.turns.pop();
            incoming.has_turn = incoming.end.has_more();
            if incoming.has_turn {
                self.turns.push(slot);
            }
        }
        Some(Input::Events(Debt { slot }))
    }

    /// Takes the end of a link, but keeps the turn of one that may have events.
    fn take_turn_without_events(&mut self, slot: usize) -> Option<Input> {
        let incoming = self.links.get_mut(slot)?.as_mut()?;
        incoming.has_turn = false;
        let emptied = incoming.rest.is_empty() || incoming.end.is_cancelled();
        match incoming.end.ended() {
            Some(end) if emptied => self.bury(slot, end),
            _ => {
                self.give_turn(slot);
                None
            }
        }
    }

    /// Forgets a link that has ended.
    #[cold]
    fn bury(&mut self, slot: usize, end: End) -> Option<Input> {
        let incoming = self.links.get_mut(slot)?.take()?;
        incoming.hand.end_all();
        // What had come before it was cancelled.
        self.seat.meter.lost(incoming.rest.len());
        self.open -= 1;
        self.desk.release(slot);
        self.advance_notices(slot, usize::MAX);
        let link = incoming.end.link();
        if self.closing.is_none() {
            self.judge(link.info(), &end);
        }
        self.changes.push(Change::Ended(Arc::clone(link), end));
        Some(Input::Change)
    }

    /// Decides what the end of a subscription means for the stage.
    fn judge(&mut self, info: &SubscriptionInfo, end: &End) {
        let verdict = info.mode.on(end);
        if verdict == Fate::Stay {
            self.staying = true;
            return;
        }
        if end.is_worse_than(&self.worst) {
            self.worst = end.clone();
        }
        match verdict {
            Fate::GoOn | Fate::Stay => {}
            Fate::EndWell => self.leave(Ok(())),
            Fate::Fail => self.leave(Err(Upstream {
                stage: Arc::clone(&info.from),
                end: end.clone(),
            })),
        }
    }

    /// Ends all subscriptions, and says why.
    pub(crate) fn close(&mut self, end: &End) {
        for incoming in self.links.iter().flatten() {
            incoming.end.cancel(end.clone());
        }
    }
}

impl<E> Incoming<E> {
    /// Takes note of a batch that has come, and takes off what to take in together.
    #[inline(always)]
    fn take_in(&mut self, batch: Batch<E>) -> Batch<E> {
        if let Asker::Ledger(ledger) = &mut self.asker {
            // What the ledger has not asked for, somebody has by hand: the sending end counts, too.
            let asked = batch.len().min(ledger.outstanding());
            let noted = ledger.receive(asked);
            debug_assert!(noted.is_ok(), "no more than is outstanding");
        }
        let events = self.portion(batch.len());
        if batch.len() <= events {
            return batch;
        }
        self.has_parts = true;
        self.rest.begin(batch, events)
    }

    /// What has come next, if anything has. Nobody has cancelled.
    #[inline(always)]
    fn take_next(&mut self) -> Option<Batch<E>> {
        self.end.take().map(|batch| self.take_in(batch))
    }

    /// A portion that is to be dealt with.
    #[inline(always)]
    fn hand_over(&mut self, portion: &mut Batch<E>, batch: Batch<E>) {
        *portion = batch;
        let events = portion.len();
        // What they weigh is known now: the consumer takes them away.
        let weights = self.end.hand_over(events);
        let number = self.hand.begin(events, weights);
        portion.is_portion(self.lend_hand(), number);
    }

    /// So many events have been dealt with. Returns whether the other side had to be woken.
    #[inline(always)]
    fn settle(&mut self, done: Done) -> bool {
        // Though all of it be kept in hand: what was dealt with before may not have been asked for yet.
        self.settle_part(done);
        self.ask()
    }

    /// The same, without asking for more.
    #[inline(always)]
    fn settle_part(&mut self, done: Done) {
        if let Asker::Ledger(ledger) = &mut self.asker {
            // What was asked for by hand comes on top, and is not asked for again.
            ledger.settle_part(done.events.min(ledger.in_hand()));
        }
        self.end.settle(done);
    }

    /// Asks for more if it is time to. Returns whether the other side had to be woken.
    #[inline(always)]
    fn ask(&mut self) -> bool {
        let Asker::Ledger(ledger) = &mut self.asker else {
            return false;
        };
        ledger.ask().is_some_and(|demand| self.end.ask(demand))
    }

    #[inline(always)]
    fn take_rest(&mut self) -> Batch<E> {
        let events = self.portion(self.rest.len());
        self.rest.take(events)
    }

    /// How many of so many events to take in together.
    #[inline]
    fn portion(&self, available: usize) -> usize {
        let portion = match &self.asker {
            Asker::Ledger(ledger) => ledger.portion(available),
            Asker::Hand => available,
        };
        portion.min(MAX_PORTION)
    }

    #[inline]
    fn lend_hand(&mut self) -> Arc<Hand> {
        let spare = self.spare_hand.take();
        spare.unwrap_or_else(|| Arc::clone(&self.hand))
    }

    /// A portion has been dealt with, and this is its batch; unless somebody has taken it away and
    /// left another.
    #[inline(always)]
    fn take_back(&mut self, batch: &mut Batch<E>) -> Done {
        let lent = batch.let_go();
        self.spare_hand = lent.filter(|lent| Arc::ptr_eq(lent, &self.hand));
        // Whoever has one may keep events by it, and may be another thread.
        let alone = self.spare_hand.is_some() && Arc::strong_count(&self.hand) == 2;
        fence(Acquire);
        let emptied = batch.emptied();
        let emptied = match self.has_parts {
            true => self.rest.keep(emptied),
            false => Some(emptied),
        };
        if let Some(emptied) = emptied {
            self.end.give_back(emptied);
        }
        self.hand.end(alone, self.end.is_weighed())
    }
}

impl<E: Send + 'static> Drop for Inbox<E> {
    fn drop(&mut self) {
        for incoming in self.links.iter().flatten() {
            incoming.hand.lose_all();
            // With what has been given back and was not seen: perhaps by the call that failed.
            self.seat.meter.lost(incoming.end.in_hand());
        }
        self.close(&End::Down(Down::Aborted));
        self.desk.close();
    }
}

use std::{collections::BTreeMap, fmt, hash::Hash, iter, mem};

use super::{Dispatcher, Handout, Refused, Terms, lane_for, notices::Notices};
use crate::{
    Batch, Receipt,
    protocol::{Backlog, Buffer, Demand, Mark, SubscriptionId},
    spares::Spares,
};

mod sort;

use sort::{Sort, Unplaced};

/// Gives each event to the lane it belongs to, so that events of one lane stay in order. A lane has
/// one subscriber at a time.
///
/// This is GenStage's `PartitionDispatcher`, but that events are not given up where it gives them
/// up.
///
/// - **Demand**: the sum of what the subscribers have asked for, less what waits in the lanes.
/// - **Keeps back when** an event's lane has no demand. It waits in the lane then, and others go on;
///   but it counts against their demand. So what waits is never more than was asked for at once, and
///   a lane that nobody asks for brings the others to a halt in the end.
/// - **Refuses** a subscriber that names no [lane](Terms::lane), one that there is not, or one that
///   is taken.
///
/// When a lane's subscriber leaves, what waits for it is kept for the next.
///
/// A notice passes once each lane's subscriber has taken all events before it and has room for more,
/// or has left: who has been given all that it asked for must ask again first.
#[doc(alias = "PartitionDispatcher")]
pub struct Partition<E> {
    sorter: Box<dyn Sort<E>>,
    lanes: Vec<Lane<E>>,
    /// By lane, events that are being added, if nobody tracks them: in the storage of its `fresh`.
    fresh: Vec<Vec<E>>,
    /// Who has which lane.
    taken: BTreeMap<SubscriptionId, usize>,
    /// What the subscribers have asked for and not been given, of each as much as counts.
    asked: usize,
    /// The most that this has been, less what was given since: how much lanes may hold. It is more
    /// than `asked` when a subscriber has left, because what it asked for may still come.
    room: usize,
    /// How many events wait in lanes.
    held: usize,
    /// Lanes that something has changed for.
    changed: Vec<usize>,
    notices: Notices,
}

/// So much of what one subscriber asks for counts at once: the events of other lanes that come meanwhile
/// wait, and who asks without bound is not to have them wait without bound.
const MOST_COUNTED: usize = 1 << 14;

/// Who asks for so many has windows that are worth filling. Who asks for fewer is given what waits first, as
/// in GenStage.
const MANY: usize = 64;

struct Lane<E> {
    subscriber: Option<SubscriptionId>,
    demand: usize,
    /// Its subscriber has been given all that it has asked for, and has not asked again.
    is_sated: bool,
    /// The marks in it are numbers of notices.
    waiting: Buffer<E>,
    /// Events that are being added, if somebody tracks them. Otherwise where they go to.
    fresh: Batch<E>,
    has_changed: bool,
}

impl<E> Partition<E> {
    /// Divides events among `lanes` lanes by their keys: events with equal keys share one.
    ///
    /// How keys are spread is fixed, see [`lane_for`].
    ///
    /// # Panics
    ///
    /// If `lanes` is zero.
    pub fn by_key<K: Hash>(lanes: usize, key: impl Fn(&E) -> K + Send + 'static) -> Self {
        Self::by_fn(lanes, move |event| Some(lane_for(&key(event), lanes)))
    }

    /// Divides events among `lanes` lanes, numbered from zero, as `lane_of` says.
    ///
    /// Where it says `None`, the event belongs nowhere: it is dropped, counted as
    /// [homeless](Handout::homeless), and acked. Where it names a lane that there is not, that event
    /// has failed: it is dropped, counted as [misplaced](Handout::misplaced), and nacked. The others
    /// go on.
    ///
    /// # Panics
    ///
    /// If `lanes` is zero.
    pub fn by_fn(lanes: usize, lane_of: impl Fn(&E) -> Option<usize> + Send + 'static) -> Self {
        assert!(lanes > 0, "a partition needs at least one lane");
        Self {
            sorter: Box::new(lane_of),
            lanes: iter::repeat_with(Lane::new).take(lanes).collect(),
            fresh: iter::repeat_with(Vec::new).take(lanes).collect(),
            taken: BTreeMap::new(),
            asked: 0,
            room: 0,
            held: 0,
            changed: Vec::new(),
            notices: Notices::default(),
        }
    }

    /// How many lanes there are.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Takes out what waits in a lane, for whoever does not want it kept for the next subscriber. To
    /// drop it is to nack it. Nothing waits in a lane that there is not.
    pub fn give_up(&mut self, lane: usize) -> Batch<E> {
        let mut events = Batch::new();
        let Some(waiting) = self.lanes.get_mut(lane).map(|lane| &mut lane.waiting) else {
            return events;
        };
        while !waiting.is_empty() || waiting.marks() > 0 {
            events.append(&mut waiting.front().take(usize::MAX));
            if let Some(Mark(notice)) = waiting.pass() {
                self.notices.pass(notice);
            }
        }
        self.held -= events.len();
        events
    }

    /// Takes events in, as far as there is room, and puts each into its lane.
    fn sort_in(&mut self, backlog: &mut Backlog<E>, handout: &mut Handout<E>) {
        // Events that go nowhere take no room.
        while self.held < self.room && !backlog.is_empty() {
            let mut batch = backlog.take(self.room - self.held);
            if batch.is_tracked() {
                for (event, receipt) in batch.drain_with_receipts() {
                    self.place(event, receipt, &mut backlog.spares, handout);
                }
            } else {
                self.place_all(&mut batch, &mut backlog.spares, handout);
            }
            backlog.spares.give(batch.emptied());
            let is_last = self.held >= self.room || backlog.is_empty();
            for at in 0..self.changed.len() {
                self.store_fresh(self.changed[at], is_last, handout);
            }
        }
    }

    /// Has what is being added to a lane wait in it. Or gives it to its subscriber, if it is the last that is
    /// added, all of it is asked for, and nothing is before it.
    fn store_fresh(&mut self, number: usize, is_last: bool, handout: &mut Handout<E>) {
        let lane = &mut self.lanes[number];
        let events = lane.take_fresh(&mut self.fresh[number]);
        if let Some(subscriber) = lane.subscriber
            && is_last
            && lane.is_at_hand()
            && events.len() <= lane.demand
        {
            self.note_given(number, events.len());
            handout.deliver(subscriber, events);
        } else {
            lane.waiting.store(events);
        }
    }

    /// So many events of a lane are given to its subscriber, or would be.
    fn note_given(&mut self, number: usize, events: usize) {
        let lane = &mut self.lanes[number];
        lane.is_sated |= lane.demand > 0;
        self.asked -= lane.counted();
        lane.demand -= events;
        self.asked += lane.counted();
        self.room = self.asked.max(self.room - events);
        self.held -= events;
    }

    /// Puts events that nobody tracks into their lanes.
    fn place_all(
        &mut self,
        batch: &mut Batch<E>,
        spares: &mut Spares<E>,
        handout: &mut Handout<E>,
    ) {
        // All of them, so that none goes uncounted if that panics.
        self.held += batch.len();
        let mut open = |number: usize| {
            let lane: &mut Lane<E> = &mut self.lanes[number];
            lane.note_change(number, &mut self.changed);
            lane.fresh = spares.take(lane.demand);
            lane.fresh.take_storage()
        };
        let Unplaced {
            homeless,
            misplaced,
        } = self.sorter.sort(batch.drain(), &mut self.fresh, &mut open);
        handout.homeless += homeless;
        handout.misplaced += misplaced;
        self.held -= homeless + misplaced;
    }

    /// Puts an event into its lane.
    fn place(
        &mut self,
        event: E,
        receipt: Receipt,
        spares: &mut Spares<E>,
        handout: &mut Handout<E>,
    ) {
        let Some(number) = self.sorter.lane_of(&event) else {
            handout.homeless += 1;
            return receipt.ack();
        };
        let Some(lane) = self.lanes.get_mut(number) else {
            handout.misplaced += 1;
            return receipt.nack();
        };
        self.held += 1;
        if lane.fresh.is_empty() {
            lane.fresh = spares.take(lane.demand);
            lane.note_change(number, &mut self.changed);
        }
        lane.fresh.push_with_receipt(event, receipt);
    }

    /// Gives a lane's subscriber what waits for it, as far as its demand goes.
    fn serve(&mut self, number: usize, spares: &mut Spares<E>, handout: &mut Handout<E>) {
        let lane = &mut self.lanes[number];
        lane.has_changed = false;
        if lane.is_at_hand() {
            // Who has asked for more than was given is not sated.
            lane.is_sated &= lane.demand == 0;
            return;
        }
        loop {
            let lane = &mut self.lanes[number];
            let events = lane.waiting.front().take_with(lane.demand, spares);
            self.note_given(number, events.len());
            let lane = &mut self.lanes[number];
            if let Some(subscriber) = lane.subscriber {
                handout.deliver(subscriber, events);
                if lane.demand == 0 {
                    return;
                }
            }
            lane.is_sated = false;
            let Some(Mark(notice)) = lane.waiting.pass() else {
                return;
            };
            self.notices.pass(notice);
        }
    }
}

impl<E: Send + 'static> Dispatcher<E> for Partition<E> {
    fn subscribe(&mut self, id: SubscriptionId, terms: Terms<E>) -> Result<(), Refused> {
        let number = terms.lane.ok_or(Refused::LaneMissing)?;
        let lanes = self.lanes.len();
        let lane = self.lanes.get_mut(number).ok_or(Refused::LaneUnknown {
            lane: number,
            lanes,
        })?;
        if lane.subscriber.is_some() {
            return Err(Refused::LaneTaken { lane: number });
        }
        if self.taken.contains_key(&id) {
            return Err(Refused::AlreadySubscribed);
        }
        lane.subscriber = Some(id);
        self.taken.insert(id, number);
        Ok(())
    }

    fn ask(&mut self, id: SubscriptionId, demand: Demand) {
        let Some(&number) = self.taken.get(&id) else {
            return;
        };
        let lane = &mut self.lanes[number];
        self.asked -= lane.counted();
        lane.demand = lane.demand.saturating_add(demand.get());
        lane.is_sated = false;
        self.asked += lane.counted();
        self.room = self.room.max(self.asked);
        lane.note_change(number, &mut self.changed);
    }

    fn cancel(&mut self, id: SubscriptionId) {
        if let Some(number) = self.taken.remove(&id) {
            let lane = &mut self.lanes[number];
            lane.subscriber = None;
            lane.is_sated = false;
            self.asked -= lane.counted();
            lane.demand = 0;
            while let Some(Mark(notice)) = lane.waiting.pass() {
                self.notices.pass(notice);
            }
        }
    }

    fn demand(&self) -> usize {
        self.asked.saturating_sub(self.held)
    }

    fn dispatch(&mut self, backlog: &mut Backlog<E>, handout: &mut Handout<E>) {
        self.sort_in(backlog, handout);
        let mut changed = mem::take(&mut self.changed);
        for lane in changed.drain(..) {
            self.serve(lane, &mut backlog.spares, handout);
        }
        // For its storage.
        self.changed = changed;
        self.notices.hand_out(&mut handout.passed);
    }

    fn held(&self) -> usize {
        self.held
    }

    fn can_wait(&self) -> bool {
        let mut changed = self.changed.iter().map(|number| &self.lanes[*number]);
        changed.all(Lane::can_wait)
    }

    fn give_up_stranded(&mut self) -> Batch<E> {
        let mut events = Batch::new();
        for lane in 0..self.lanes.len() {
            if self.lanes[lane].subscriber.is_none() {
                events.append(&mut self.give_up(lane));
            }
        }
        events
    }

    fn mark(&mut self, mark: Mark, handout: &mut Handout<E>) {
        let notice = self.notices.next();
        let mut lanes = 0;
        for lane in self.lanes.iter_mut().filter(|lane| lane.holds_notices()) {
            lane.waiting.mark(Mark(notice));
            lanes += 1;
        }
        self.notices.add(mark, lanes);
        self.notices.hand_out(&mut handout.passed);
    }
}

impl<E> Lane<E> {
    fn new() -> Self {
        Self {
            subscriber: None,
            demand: 0,
            is_sated: false,
            waiting: Buffer::unbounded(),
            fresh: Batch::new(),
            has_changed: false,
        }
    }

    /// How much of its demand counts.
    fn counted(&self) -> usize {
        self.demand.min(MOST_COUNTED)
    }

    /// Whether a notice has to wait in it: behind events, or until its subscriber, which has been
    /// given all that it asked for, asks again.
    fn holds_notices(&self) -> bool {
        self.is_sated || !self.waiting.is_empty()
    }

    /// Whether what waits in it can go with what comes next.
    fn can_wait(&self) -> bool {
        self.is_at_hand() || (self.waiting.marks() == 0 && self.demand >= MANY)
    }

    /// Whether whatever comes is next.
    fn is_at_hand(&self) -> bool {
        self.waiting.is_empty() && self.waiting.marks() == 0
    }

    /// Takes what is being added: `fresh`, or what is tracked.
    fn take_fresh(&mut self, fresh: &mut Vec<E>) -> Batch<E> {
        let mut added = mem::take(&mut self.fresh);
        if !fresh.is_empty() {
            added.refill(mem::take(fresh));
        }
        added
    }

    fn note_change(&mut self, number: usize, changed: &mut Vec<usize>) {
        if !self.has_changed {
            self.has_changed = true;
            changed.push(number);
        }
    }
}

impl<E> fmt::Debug for Partition<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition")
            .field("lanes", &self.lanes)
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}

impl<E> fmt::Debug for Lane<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("subscriber", &self.subscriber)
            .field("demand", &self.demand)
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

//! A stage around a dispatcher, and what it keeps count of.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    marker::PhantomData,
    mem,
};

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use stage_core::{
    Batch, Demand, Outcome,
    protocol::{Buffer, Dispatcher, Handout, Mark, Refused, SubscriptionId, Terms},
};

use crate::book::Fates;

/// What is to become of an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Destiny {
    /// One subscriber gets it: that of the lane, if there are lanes.
    One(Option<usize>),
    /// All get it who want it.
    All,
    Nowhere,
    Misplaced,
}

pub(crate) trait Kind: fmt::Debug + 'static {
    fn dispatcher() -> Box<dyn Dispatcher<u64>>;

    fn destiny(event: u64) -> Destiny;

    fn terms(_: u64) -> Terms<u64> {
        Terms::default()
    }

    /// Why one may not subscribe.
    fn refusal(subscribed: &BTreeSet<u64>, who: u64) -> Option<Refused> {
        subscribed
            .contains(&who)
            .then_some(Refused::AlreadySubscribed)
    }

    fn lane_of_subscriber(_: u64) -> Option<usize> {
        None
    }

    fn keeps(_: u64, _: u64) -> bool {
        true
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Subscribe(u64),
    Ask(u64, usize),
    Cancel(u64),
    /// Makes up to so many of the events that are wanted, and more that are not.
    Produce(usize, u64),
    Mark,
    /// Settles one of the batches in hand: acks what the number says.
    Settle(prop::sample::Index, u64),
}

/// Who is subscribed.
#[derive(Debug)]
pub(crate) struct Reference<K>(PhantomData<K>);

impl<K: Kind> ReferenceStateMachine for Reference<K> {
    type State = BTreeSet<u64>;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self::State> {
        Just(BTreeSet::new()).boxed()
    }

    fn transitions(_: &Self::State) -> BoxedStrategy<Step> {
        prop_oneof![
            2 => (0u64..5).prop_map(Step::Subscribe),
            6 => (0u64..5, 1usize..12).prop_map(|(who, n)| Step::Ask(who, n)),
            1 => (0u64..5).prop_map(Step::Cancel),
            6 => (1usize..20, prop_oneof![4 => Just(0), 1 => 1u64..6])
                .prop_map(|(n, more)| Step::Produce(n, more)),
            1 => Just(Step::Mark),
            3 => (any::<prop::sample::Index>(), 0u64..3).prop_map(|(at, n)| Step::Settle(at, n)),
        ]
        .boxed()
    }

    fn apply(mut subscribed: Self::State, step: &Step) -> Self::State {
        match *step {
            Step::Subscribe(who) if K::refusal(&subscribed, who).is_none() => {
                subscribed.insert(who);
            }
            Step::Cancel(who) => {
                subscribed.remove(&who);
            }
            _ => {}
        }
        subscribed
    }
}

#[derive(Debug)]
pub(crate) struct Machine<K> {
    dispatcher: Box<dyn Dispatcher<u64>>,
    buffer: Buffer<u64>,
    /// What each subscriber has asked for and not been given.
    open: BTreeMap<u64, usize>,
    produced: u64,
    /// What is in the buffer.
    buffered: VecDeque<u64>,
    /// What the dispatcher holds.
    held: BTreeSet<u64>,
    in_hand: Vec<Batch<u64>>,
    /// Notices on their way, each with the number of the first event behind it.
    marks: VecDeque<(Mark, u64)>,
    next_mark: u64,
    fates: Fates,
    /// The most that may be in stock: what was asked for at once, and what came unasked.
    most: u64,
    unasked: u64,
    kind: PhantomData<K>,
}

impl<K: Kind> StateMachineTest for Machine<K> {
    type SystemUnderTest = Self;
    type Reference = Reference<K>;

    fn init_test(_: &BTreeSet<u64>) -> Self {
        Self {
            dispatcher: K::dispatcher(),
            buffer: Buffer::unbounded(),
            open: BTreeMap::new(),
            produced: 0,
            buffered: VecDeque::new(),
            held: BTreeSet::new(),
            in_hand: Vec::new(),
            marks: VecDeque::new(),
            next_mark: 0,
            fates: Fates::default(),
            most: 0,
            unasked: 0,
            kind: PhantomData,
        }
    }

    fn apply(mut machine: Self, _: &BTreeSet<u64>, step: Step) -> Self {
        machine.perform(&step);
        machine.most = machine.most.max(machine.level() as u64);
        machine.hand_out();
        machine
    }

    fn check_invariants(machine: &Self, subscribed: &BTreeSet<u64>) {
        assert!(machine.open.keys().eq(subscribed));
        assert_eq!(machine.dispatcher.held(), machine.held.len());
        let wanted = machine.level().saturating_sub(machine.held.len());
        assert_eq!(machine.dispatcher.demand(), wanted);
        let stock = (machine.buffered.len() + machine.held.len()) as u64;
        assert!(stock <= machine.most + machine.unasked, "{stock} in stock");
        machine.fates.check();
        machine.check_that_nothing_lingers();
    }

    fn teardown(machine: Self, _: BTreeSet<u64>) {
        let (produced, fates) = (machine.produced, machine.fates);
        drop((machine.dispatcher, machine.buffer, machine.in_hand));
        fates.check_end(produced);
    }
}

impl<K: Kind> Machine<K> {
    fn perform(&mut self, step: &Step) {
        match *step {
            Step::Subscribe(who) => self.subscribe(who),
            Step::Ask(who, n) => {
                self.dispatcher
                    .ask(SubscriptionId(who), Demand::new(n).unwrap());
                self.open.entry(who).and_modify(|open| *open += n);
            }
            Step::Cancel(who) => {
                self.dispatcher.cancel(SubscriptionId(who));
                self.open.remove(&who);
            }
            Step::Produce(n, more) => self.produce(n, more),
            Step::Mark => {
                self.buffer.mark(Mark(self.next_mark));
                self.marks.push_back((Mark(self.next_mark), self.produced));
                self.next_mark += 1;
            }
            Step::Settle(at, n) if !self.in_hand.is_empty() => {
                let batch = self.in_hand.swap_remove(at.index(self.in_hand.len()));
                self.fates.settle(batch, |event| event % 3 >= n);
            }
            Step::Settle(..) => {}
        }
    }

    fn subscribe(&mut self, who: u64) {
        let subscribed = self.open.keys().copied().collect();
        let result = self
            .dispatcher
            .subscribe(SubscriptionId(who), K::terms(who));
        assert_eq!(result.err(), K::refusal(&subscribed, who));
        if result.is_ok() {
            self.open.insert(who, 0);
        }
    }

    fn produce(&mut self, n: usize, more: u64) {
        let wanted = self.dispatcher.demand().saturating_sub(self.buffer.len());
        let end = self.produced + wanted.min(n) as u64 + more;
        self.unasked += more;
        self.buffered.extend(self.produced..end);
        assert_eq!(
            self.buffer.store(self.fates.book.watch(self.produced..end)),
            0
        );
        self.produced = end;
    }

    /// Does what a stage does whenever something has changed.
    fn hand_out(&mut self) {
        for _ in 0..10_000 {
            let mut handout = Handout::new();
            let before = self.buffer.len();
            self.dispatcher.dispatch(self.buffer.front(), &mut handout);
            let taken = self.buffered.drain(..before - self.buffer.len()).collect();
            let passed = self.buffer.pass();
            if let Some(mark) = passed {
                self.dispatcher.mark(mark, &mut handout);
            }
            self.receive(taken, &mut handout);
            for &(id, demand) in &handout.made_up {
                self.dispatcher.ask(id, demand);
                *self.open.get_mut(&id.0).unwrap() += demand.get();
            }
            if passed.is_none() && handout.made_up.is_empty() {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn receive(&mut self, taken: Vec<u64>, handout: &mut Handout<u64>) {
        let (mut homeless, mut misplaced) = (0, 0);
        let mut to_all = Vec::new();
        for event in taken {
            match K::destiny(event) {
                Destiny::One(_) => drop(self.held.insert(event)),
                Destiny::All => to_all.push(event),
                Destiny::Nowhere => {
                    homeless += 1;
                    self.fates.send(event, 0, Outcome::Acked);
                }
                Destiny::Misplaced => {
                    misplaced += 1;
                    self.fates.send(event, 0, Outcome::Nacked);
                }
            }
        }
        assert_eq!((handout.homeless, handout.misplaced), (homeless, misplaced));
        if to_all.is_empty() {
            self.receive_one_by_one(handout);
        } else {
            self.receive_by_all(&to_all, handout);
        }
        let deliveries = mem::take(&mut handout.deliveries);
        self.in_hand
            .extend(deliveries.into_iter().map(|d| d.events));
        for mark in handout.passed.drain(..) {
            let (first, place) = self.marks.pop_front().unwrap();
            assert_eq!(mark, first, "notices out of order");
            assert!(self.first_in_stock() >= Some(place) || self.first_in_stock().is_none());
        }
    }

    /// Each event is the first that waits, in its lane if there are lanes.
    fn receive_one_by_one(&mut self, handout: &Handout<u64>) {
        for delivery in &handout.deliveries {
            let (who, count) = (delivery.to.0, delivery.events.len());
            let open = self.open.get_mut(&who).unwrap();
            *open = open.checked_sub(count).expect("no more than it asked for");
            for &event in &delivery.events {
                let lane = Destiny::One(K::lane_of_subscriber(who));
                let mut waiting = self.held.iter().filter(|e| K::destiny(**e) == lane);
                assert_eq!(waiting.next(), Some(&event), "{who} gets the wrong one");
                self.held.remove(&event);
                self.fates.send(event, 1, Outcome::Acked);
            }
        }
    }

    /// Everybody gets all that it wants of them, and is made up for the others.
    fn receive_by_all(&mut self, events: &[u64], handout: &Handout<u64>) {
        for (&who, open) in &mut self.open {
            *open = open
                .checked_sub(events.len())
                .expect("no more than it asked for");
            let deliveries = handout.deliveries.iter().filter(|d| d.to.0 == who);
            let sent: Vec<u64> = deliveries.flat_map(|d| d.events.iter().copied()).collect();
            let wanted = events.iter().copied().filter(|event| K::keeps(who, *event));
            assert!(
                wanted.eq(sent.iter().copied()),
                "{who} gets {sent:?} of {events:?}"
            );
            let made_up = handout.made_up.iter().filter(|(to, _)| to.0 == who);
            let made_up: usize = made_up.map(|(_, demand)| demand.get()).sum();
            assert_eq!(made_up, events.len() - sent.len());
        }
        for &event in events {
            let takers = self.open.keys().filter(|who| K::keeps(**who, event));
            self.fates.send(event, takers.count(), Outcome::Acked);
        }
    }

    /// How much is asked for.
    fn level(&self) -> usize {
        match K::destiny(0) {
            Destiny::All => self.open.values().copied().min().unwrap_or(0),
            _ => self.open.values().sum(),
        }
    }

    fn first_in_stock(&self) -> Option<u64> {
        let first_held = self.held.first().copied();
        first_held
            .into_iter()
            .chain(self.buffered.front().copied())
            .min()
    }

    /// What can go has gone.
    fn check_that_nothing_lingers(&self) {
        if !self.buffered.is_empty() {
            assert_eq!(
                self.dispatcher.demand(),
                0,
                "events wait, and somebody asks"
            );
        }
        for (who, _) in self.open.iter().filter(|(_, open)| **open > 0) {
            let lane = Destiny::One(K::lane_of_subscriber(*who));
            let mut waiting = self.held.iter().filter(|e| K::destiny(**e) == lane);
            assert_eq!(waiting.next(), None, "it waits, and {who} asks");
        }
        if let Some((mark, place)) = self.marks.front() {
            let is_behind = self.first_in_stock().is_some_and(|first| first < *place);
            // A lane whose subscriber has had all that it asked for holds notices until it asks.
            let is_laned = matches!(K::destiny(0), Destiny::One(Some(_)));
            let is_held = is_laned && self.open.values().any(|open| *open == 0);
            assert!(is_behind || is_held, "{mark:?} waits for nothing");
        }
    }
}

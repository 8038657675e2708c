//! Properties of the demand accounting.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use stage_core::{
    Batch, Demand, Window, WindowError,
    protocol::{
        Backlog, ByDemand, ByteWindow, Delivery, Dispatcher, Handout, Ledger, Refused,
        SubscriptionId, Terms, Watermark,
    },
};

fn windows() -> impl Strategy<Value = Window> {
    (1usize..100)
        .prop_flat_map(|max| (Just(max), 0..max))
        .prop_map(|(max, min)| Window::new(max).with_min(min))
}

proptest! {
    /// However events arrive, what is asked for and what is in hand never exceed the window, and
    /// the flow never stops.
    #[test]
    fn a_ledger_stays_within_its_window(
        window in windows(),
        chunks in prop::collection::vec((1usize..50, 0usize..3), 1..80),
    ) {
        let (mut ledger, first) = Ledger::open(window);
        let (mut sendable, mut waiting) = (first.get(), VecDeque::new());
        prop_assert_eq!(sendable, window.max());
        for (chunk, settles) in chunks {
            let chunk = chunk.min(sendable);
            if chunk > 0 {
                sendable -= chunk;
                ledger.receive(chunk).unwrap();
                waiting.push_back(chunk);
            }
            // With nothing in hand there must be something to come.
            prop_assert!(!waiting.is_empty(), "starved");
            for _ in 0..settles {
                let Some(available) = waiting.pop_front() else { break };
                let portion = ledger.portion(available);
                prop_assert!(portion >= 1 && portion <= window.max() - window.min());
                sendable += ledger.settle(portion).map_or(0, Demand::get);
                if available > portion {
                    waiting.push_front(available - portion);
                }
            }
            prop_assert_eq!(sendable, ledger.outstanding());
            prop_assert_eq!(waiting.iter().sum::<usize>(), ledger.in_hand());
            prop_assert!(ledger.outstanding() + ledger.in_hand() <= window.max());
        }
    }

    #[test]
    fn more_than_was_asked_for_is_refused_and_changes_nothing(
        window in windows(),
        received in 0usize..100,
        excess in 1usize..100,
    ) {
        let (mut ledger, _) = Ledger::open(window);
        ledger.receive(received.min(window.max())).unwrap();
        let (outstanding, in_hand) = (ledger.outstanding(), ledger.in_hand());
        let error = ledger.receive(outstanding + excess).unwrap_err();
        prop_assert_eq!((error.asked, error.received), (outstanding, outstanding + excess));
        prop_assert_eq!((ledger.outstanding(), ledger.in_hand()), (outstanding, in_hand));
    }
}

#[test]
fn a_ledger_asks_again_exactly_at_its_minimum() {
    let (mut ledger, _) = Ledger::open(Window::new(10).with_min(4));
    ledger.receive(10).unwrap();
    assert_eq!(ledger.portion(10), 6);
    assert_eq!(ledger.settle(5), None, "5 due is above 4");
    assert_eq!(ledger.settle(1), Demand::new(6));
    assert_eq!(ledger.settle(4), None);
    assert_eq!(ledger.outstanding(), 6);
}

#[derive(Clone, Debug)]
enum Input {
    Subscribe(u64),
    Ask(u64, usize),
    Cancel(u64),
    Produce(usize),
    /// Like `Produce`, but whoever is to get them all may have them at once.
    Claim(usize),
}

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let input = prop_oneof![
        2 => (0u64..5).prop_map(Input::Subscribe),
        5 => (0u64..5, 1usize..20).prop_map(|(who, n)| Input::Ask(who, n)),
        1 => (0u64..5).prop_map(Input::Cancel),
        5 => (1usize..40).prop_map(Input::Produce),
        3 => (1usize..20).prop_map(Input::Claim),
    ];
    prop::collection::vec(input, 1..150)
}

/// `DemandDispatcher` as its documents describe it: a list, neediest first.
#[derive(Default)]
struct Model(Vec<(u64, usize)>);

impl Model {
    fn put(&mut self, who: u64, demand: usize) {
        self.0.retain(|(other, _)| *other != who);
        let at = self.0.iter().position(|(_, other)| *other < demand);
        self.0.insert(at.unwrap_or(self.0.len()), (who, demand));
    }

    fn demand_of(&self, who: u64) -> Option<usize> {
        self.0
            .iter()
            .find(|(other, _)| *other == who)
            .map(|(_, demand)| *demand)
    }

    fn claim(&mut self, events: usize) -> Option<u64> {
        let &(who, demand) = self.0.first()?;
        self.put(who, demand.checked_sub(events)?);
        Some(who)
    }

    fn dispatch(&mut self, events: &mut VecDeque<u64>) -> Vec<(u64, Vec<u64>)> {
        let mut sent = Vec::new();
        while let Some(&(who, demand)) = self.0.first()
            && demand > 0
            && !events.is_empty()
        {
            let batch: Vec<u64> = events.drain(..demand.min(events.len())).collect();
            self.put(who, demand - batch.len());
            sent.push((who, batch));
        }
        sent
    }
}

proptest! {
    /// The dispatcher does exactly what the model does: so nobody gets more than it asked for,
    /// each event goes to one, in order, and whoever leaves takes its demand along.
    #[test]
    fn by_demand_is_the_model(inputs in inputs()) {
        let mut dispatcher: Box<dyn Dispatcher<u64>> = Box::new(ByDemand::default());
        let (mut model, mut events, mut backlog) = (Model::default(), VecDeque::new(), Backlog::new());
        let mut next = 0;
        for input in inputs {
            match input {
                Input::Subscribe(who) => {
                    let result = dispatcher.subscribe(SubscriptionId(who), Terms::default());
                    if model.demand_of(who).is_none() {
                        model.0.push((who, 0));
                        prop_assert_eq!(result, Ok(()));
                    } else {
                        prop_assert_eq!(result, Err(Refused::AlreadySubscribed));
                    }
                }
                Input::Ask(who, n) => {
                    dispatcher.ask(SubscriptionId(who), Demand::new(n).unwrap());
                    if let Some(demand) = model.demand_of(who) {
                        model.put(who, demand + n);
                    }
                }
                Input::Cancel(who) => {
                    dispatcher.cancel(SubscriptionId(who));
                    model.0.retain(|(other, _)| *other != who);
                }
                Input::Claim(n) if backlog.is_empty() => {
                    let claimed = dispatcher.claim(n).map(|to| to.0);
                    prop_assert_eq!(claimed, model.claim(n));
                }
                Input::Produce(n) | Input::Claim(n) => {
                    backlog.push((next..next + n as u64).collect());
                    events.extend(next..next + n as u64);
                    next += n as u64;
                }
            }
            let mut handout = Handout::new();
            dispatcher.dispatch(&mut backlog, &mut handout);
            let sent: Vec<(u64, Vec<u64>)> = handout
                .deliveries
                .into_iter()
                .map(|Delivery { to, events, .. }| (to.0, events.into_vec()))
                .collect();
            prop_assert_eq!(sent, model.dispatch(&mut events));
            prop_assert_eq!(backlog.len(), events.len());
            prop_assert_eq!(dispatcher.demand(), model.0.iter().map(|(_, demand)| demand).sum::<usize>());
        }
    }

    /// A backlog is a queue, however it is filled and emptied.
    #[test]
    fn a_backlog_is_a_queue(steps in prop::collection::vec((0usize..6, 0usize..8), 1..60)) {
        let (mut backlog, mut model, mut next) = (Backlog::new(), VecDeque::new(), 0);
        for (pushed, taken) in steps {
            backlog.push((next..next + pushed).collect());
            model.extend(next..next + pushed);
            next += pushed;
            let expected: Vec<usize> = model.drain(..taken.min(model.len())).collect();
            prop_assert_eq!(backlog.take(taken).into_vec(), expected);
            prop_assert_eq!(backlog.len(), model.len());
            prop_assert_eq!(backlog.is_empty(), model.is_empty());
        }
    }
}

#[test]
fn a_batch_that_is_taken_as_it_came_is_not_copied() {
    let batch: Batch<u64> = (0..4).collect();
    let place = batch.as_ptr();
    let mut backlog = Backlog::new();
    backlog.push(batch);
    assert!(backlog.take(0).is_empty());
    assert_eq!(backlog.take(9).as_ptr(), place);
}

#[test]
fn an_ask_beyond_all_numbers_is_capped() {
    let mut dispatcher: Box<dyn Dispatcher<u64>> = Box::new(ByDemand::default());
    for who in 0..2 {
        dispatcher
            .subscribe(SubscriptionId(who), Terms::default())
            .unwrap();
        for _ in 0..3 {
            dispatcher.ask(SubscriptionId(who), Demand::new(usize::MAX).unwrap());
        }
    }
    assert_eq!(dispatcher.demand(), usize::MAX);
    // What the other has asked for does not go with it.
    dispatcher.cancel(SubscriptionId(0));
    assert_eq!(dispatcher.demand(), usize::MAX);
}

proptest! {
    /// Whatever the order of the acks, the mark is the end of the unbroken prefix of them.
    #[test]
    fn a_watermark_is_the_end_of_the_acked_prefix(
        steps in prop::collection::vec((0usize..4, any::<prop::sample::Index>(), 1u64..4), 1..80),
    ) {
        let (mut mark, mut settled, mut reached) = (Watermark::new(), BTreeSet::new(), None);
        for (issues, at, len) in steps {
            for _ in 0..issues {
                let number = mark.next();
                prop_assert_eq!(mark.issue(number), number);
            }
            let start = at.index(mark.next() as usize + 1) as u64;
            let range = start..start + len;
            let possible = range.end <= mark.next() && range.clone().all(|n| !settled.contains(&n));
            match mark.settle(range.clone()) {
                Ok(moved) => {
                    prop_assert!(possible);
                    settled.extend(range);
                    reached = moved.or(reached);
                }
                Err(_) => prop_assert!(!possible),
            }
            let prefix = (0..).take_while(|n| settled.contains(n)).last();
            prop_assert_eq!(reached, prefix);
            prop_assert_eq!(mark.open() as u64, mark.next() - prefix.map_or(0, |n| n + 1));
            prop_assert_eq!(mark.is_complete(), settled.len() as u64 == mark.next());
        }
    }
}

#[test]
fn settling_nothing_changes_nothing() {
    let mut mark = Watermark::new();
    mark.issue('a');
    assert_eq!(mark.settle(7..7), Ok(None));
    assert_eq!(mark.open(), 1);
    let error = mark.settle(0..2).unwrap_err();
    assert!(error.to_string().contains("0..2"));
}

#[test]
fn windows_that_let_nothing_through_are_refused() {
    for bad in [|| Window::new(0), || Window::new(5).with_min(5)] {
        assert!(std::panic::catch_unwind(bad).is_err());
    }
    let refused = |max, min| Window::try_new(max, min).unwrap_err();
    assert_eq!(refused(0, 0), WindowError::MaxIsZero);
    assert_ne!(refused(0, 0).to_string(), "");
    assert_eq!(
        refused(5, 5),
        WindowError::MinNotBelowMax { min: 5, max: 5 }
    );
    assert!(refused(5, 6).to_string().contains("6 is not below 5"));
    assert_eq!(Window::try_new(5, 4), Ok(Window::new(5).with_min(4)));
    let counts: BTreeMap<usize, usize> = [1, 2, 3].map(|max| (max, Window::new(max).min())).into();
    assert_eq!(counts, [(1, 0), (2, 1), (3, 1)].into());
}

#[derive(Clone, Debug)]
enum Haul {
    Hold(Vec<usize>),
    Release,
    HandOver(usize),
    /// Settles the first, or the last, of what is in hand.
    Settle(bool),
}

fn hauls() -> impl Strategy<Value = Vec<Haul>> {
    let weight = prop_oneof![Just(0usize), 1..20usize, 90..200usize, Just(usize::MAX)];
    let haul = prop_oneof![
        prop::collection::vec(weight, 0..5).prop_map(Haul::Hold),
        Just(Haul::Release),
        (0usize..4).prop_map(Haul::HandOver),
        any::<bool>().prop_map(Haul::Settle),
    ];
    prop::collection::vec(haul, 1..100)
}

proptest! {
    /// What is sent and not settled weighs at most the limit, or only one of it weighs anything; and
    /// nothing waits that need not.
    #[test]
    fn a_byte_window_sends_in_order_what_is_within_its_limit(
        hauls in hauls(), limit in prop_oneof![Just(0usize), 1..150usize, Just(usize::MAX)],
    ) {
        let mut bytes = ByteWindow::new(limit);
        let (mut waiting, mut sent, mut in_hand) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        for haul in hauls {
            match haul {
                Haul::Hold(weights) => {
                    waiting.extend(weights.iter().copied());
                    bytes.hold(weights);
                }
                Haul::Release => {
                    let released = bytes.release();
                    sent.extend(waiting.drain(..released));
                    let open: u128 = sent.iter().chain(&in_hand).map(|w| *w as u128).sum();
                    let next = waiting.front().map(|w| *w as u128);
                    prop_assert!(next.is_none_or(|next| open > 0 && open + next > limit as u128));
                }
                Haul::HandOver(events) => {
                    let expected: Vec<usize> = sent.drain(..events.min(sent.len())).collect();
                    let handed: Vec<usize> = bytes.hand_over(events).collect();
                    prop_assert_eq!(&handed, &expected);
                    in_hand.extend(handed);
                }
                Haul::Settle(first) => {
                    let settled = if first { in_hand.pop_front() } else { in_hand.pop_back() };
                    bytes.settle(settled.unwrap_or(0));
                }
            }
            let open = || sent.iter().chain(&in_hand).copied();
            prop_assert_eq!(bytes.waiting(), waiting.len());
            prop_assert_eq!(bytes.open(), open().sum::<usize>());
            let weighty = open().filter(|weight| *weight > 0).count();
            prop_assert!(bytes.open() <= limit || weighty == 1);
        }
    }
}

fn by_demand(subscribers: u64) -> ByDemand {
    let mut dispatcher = ByDemand::default();
    for id in 0..subscribers {
        Dispatcher::<u64>::subscribe(&mut dispatcher, SubscriptionId(id), Terms::default())
            .unwrap();
    }
    dispatcher
}

fn ask(dispatcher: &mut ByDemand, id: u64, events: usize) {
    let demand = Demand::new(events).unwrap();
    Dispatcher::<u64>::ask(dispatcher, SubscriptionId(id), demand);
}

#[test]
fn who_asks_often_is_remembered_as_one_who_asks_for_all_at_once() {
    let mut dispatcher = by_demand(3);
    ask(&mut dispatcher, 1, 500);
    ask(&mut dispatcher, 2, 10);
    for _ in 0..1_000 {
        ask(&mut dispatcher, 0, 1);
    }
    let (mut backlog, mut handout) = (Backlog::new(), Handout::new());
    backlog.push((0..1_600u64).collect());
    dispatcher.dispatch(&mut backlog, &mut handout);
    let given = handout.deliveries.iter();
    let given: Vec<_> = given.map(|it| (it.to.0, it.events.len())).collect();
    assert_eq!(given, [(0, 1_000), (1, 500), (2, 10)]);
}

#[test]
fn the_demand_of_all_together_may_be_more_than_can_be_counted() {
    let mut dispatcher = by_demand(2);
    ask(&mut dispatcher, 1, 5);
    ask(&mut dispatcher, 0, usize::MAX - 10);
    ask(&mut dispatcher, 1, 100);
    assert_eq!(Dispatcher::<u64>::demand(&dispatcher), usize::MAX);
    let claim = |dispatcher: &mut ByDemand, events| {
        Dispatcher::<u64>::claim(dispatcher, events).map(|id| id.0)
    };
    assert_eq!(claim(&mut dispatcher, usize::MAX - 10), Some(0));
    assert_eq!(claim(&mut dispatcher, 106), None);
    assert_eq!(claim(&mut dispatcher, 105), Some(1));
    assert_eq!(Dispatcher::<u64>::demand(&dispatcher), 0);
}

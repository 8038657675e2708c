//! On which terms subscribers are served.

use std::{
    fmt,
    ops::Range,
    panic,
    sync::{Arc, Mutex},
};

use stage_core::{
    Acknowledge, Batch, Demand, Outcome,
    protocol::{
        Backlog, Broadcast, Delivery, Dispatcher, Handout, Mark, Partition, Refused, Selector,
        SubscriptionId, Terms,
    },
};

use crate::book::Book;

const ONE: SubscriptionId = SubscriptionId(1);
const TWO: SubscriptionId = SubscriptionId(2);

#[test]
fn a_lane_must_be_named_must_be_and_must_be_free() {
    let mut dispatcher = Partition::by_key(3, |event: &u64| *event);
    let refused = |result: Result<(), Refused>| result.unwrap_err().to_string();
    assert_eq!(
        refused(dispatcher.subscribe(ONE, Terms::default())),
        "events are divided into lanes here: the subscription must name one"
    );
    assert_eq!(
        refused(dispatcher.subscribe(ONE, Terms::default().lane(3))),
        "there is no lane 3: there are 3, from 0"
    );
    dispatcher.subscribe(ONE, Terms::default().lane(2)).unwrap();
    assert_eq!(
        refused(dispatcher.subscribe(TWO, Terms::default().lane(2))),
        "lane 2 has a subscriber, and serves one at a time"
    );
    assert_eq!(
        dispatcher.subscribe(ONE, Terms::default().lane(1)),
        Err(Refused::AlreadySubscribed)
    );
    dispatcher.cancel(ONE);
    dispatcher.subscribe(TWO, Terms::default().lane(2)).unwrap();
}

#[test]
fn the_same_subscriber_is_not_given_everything_twice() {
    let mut dispatcher = Broadcast::<u64>::new();
    let terms = || Terms::default().subscriber(7);
    dispatcher.subscribe(ONE, terms()).unwrap();
    let refused = dispatcher.subscribe(TWO, terms()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "it is subscribed already, and would be given everything twice"
    );
    // Not to be counted: it would hold the flow.
    dispatcher.ask(ONE, Demand::MIN);
    assert_eq!(dispatcher.demand(), 1);
    assert_eq!(
        dispatcher.subscribe(ONE, Terms::default()),
        Err(Refused::AlreadySubscribed)
    );
    dispatcher.cancel(ONE);
    dispatcher.subscribe(TWO, terms()).unwrap();
}

#[test]
fn demand_without_bound_is_no_more_than_counts() {
    let most = Demand::new(usize::MAX).unwrap();
    let mut lanes = Partition::by_key(2, |event: &u64| *event);
    let mut all = Broadcast::<u64>::new();
    for id in [ONE, TWO] {
        lanes
            .subscribe(id, Terms::default().lane(id.0 as usize - 1))
            .unwrap();
        all.subscribe(id, Terms::default()).unwrap();
    }
    for id in [ONE, ONE, TWO, TWO] {
        lanes.ask(id, most);
        all.ask(id, most);
    }
    // Of each lane so much, or the events of the others would wait without bound.
    assert_eq!((lanes.demand(), all.demand()), (2 << 14, usize::MAX));
    lanes.cancel(ONE);
    lanes.ask(TWO, Demand::new(7).unwrap());
    assert_eq!(lanes.demand(), 1 << 14);
}

/// Sends four events to two, and returns what was sent.
fn send_to_two<E: Clone + fmt::Debug + Send + Sync + 'static>(
    events: Batch<E>,
) -> Vec<Delivery<E>> {
    let mut dispatcher = Broadcast::new();
    for id in [ONE, TWO] {
        dispatcher.subscribe(id, Terms::default()).unwrap();
        dispatcher.ask(id, Demand::new(4).unwrap());
    }
    let (mut backlog, mut handout) = (Backlog::new(), Handout::new());
    backlog.push(events);
    dispatcher.dispatch(&mut backlog, &mut handout);
    handout.deliveries
}

#[test]
fn the_last_gets_the_events_themselves() {
    let events: Batch<u64> = (0..4).collect();
    let place = events.as_ptr();
    let sent = send_to_two(events);
    assert_eq!(sent[1].events.as_ptr(), place);
}

#[test]
fn a_source_is_told_of_many_events_at_once() {
    #[derive(Default)]
    struct Calls(Mutex<Vec<(u64, u64)>>);
    impl Acknowledge for Calls {
        fn settle(&self, numbers: Range<u64>, _: Outcome) {
            self.0.lock().unwrap().push((numbers.start, numbers.end));
        }
    }
    let calls = Arc::<Calls>::default();
    let mut events: Batch<u64> = (0..4).collect();
    events.track(Arc::clone(&calls) as _, 10);
    drop(send_to_two(events));
    assert_eq!(*calls.0.lock().unwrap(), [(10, 14)]);
}

/// A panic in the middle of handing out loses nothing: what had not been sent is nacked.
#[test]
fn an_event_that_cannot_be_copied_is_nacked() {
    #[derive(Debug)]
    struct Fragile(u64);
    impl Clone for Fragile {
        fn clone(&self) -> Self {
            assert!(self.0 != 2, "on purpose");
            Self(self.0)
        }
    }
    let book = Arc::<Book>::default();
    let mut events: Batch<Fragile> = (0..4).map(Fragile).collect();
    events.track(Arc::clone(&book) as _, 0);
    let handing_out = panic::AssertUnwindSafe(|| send_to_two(events));
    assert!(panic::catch_unwind(handing_out).is_err());
    assert_eq!(book.nacked(), [0, 1, 2, 3]);
}

#[test]
fn a_notice_waits_for_who_has_had_all_until_it_asks_or_leaves() {
    for leaves in [false, true] {
        let mut dispatcher = Partition::by_fn(2, |_| Some(1));
        dispatcher.subscribe(ONE, Terms::default().lane(1)).unwrap();
        let (mut backlog, mut handout) = (Backlog::new(), Handout::new());
        dispatcher.mark(Mark(0), &mut handout);
        assert_eq!(handout.passed, [Mark(0)], "nobody has had anything");
        dispatcher.ask(ONE, Demand::MIN);
        backlog.push(vec![7].into());
        dispatcher.dispatch(&mut backlog, &mut handout);
        dispatcher.mark(Mark(1), &mut handout);
        dispatcher.dispatch(&mut backlog, &mut handout);
        assert_eq!(handout.passed, [Mark(0)]);
        match leaves {
            true => dispatcher.cancel(ONE),
            false => dispatcher.ask(ONE, Demand::MIN),
        }
        dispatcher.dispatch(&mut backlog, &mut handout);
        assert_eq!(handout.passed, [Mark(0), Mark(1)]);
    }
}

#[test]
fn what_is_given_up_is_nacked_and_its_room_is_free() {
    let book = Arc::<Book>::default();
    let mut dispatcher = Partition::by_fn(2, |event| Some((event % 2) as usize));
    dispatcher.subscribe(ONE, Terms::default().lane(1)).unwrap();
    dispatcher.ask(ONE, Demand::new(4).unwrap());
    let (mut backlog, mut handout) = (Backlog::new(), Handout::new());
    backlog.push(book.watch(0..4));
    dispatcher.dispatch(&mut backlog, &mut handout);
    dispatcher.mark(Mark(5), &mut handout);
    assert_eq!((dispatcher.held(), dispatcher.demand()), (2, 0));
    assert_eq!(dispatcher.give_up(0)[..], [0, 2]);
    assert_eq!(book.nacked(), [0, 2]);
    assert_eq!((dispatcher.held(), dispatcher.demand()), (0, 2));
    assert!(dispatcher.give_up(0).is_empty() && dispatcher.give_up(9).is_empty());
    dispatcher.dispatch(&mut backlog, &mut handout);
    assert_eq!(handout.passed, [Mark(5)], "nothing is before it any more");
}

#[test]
fn a_lane_that_is_given_up_holds_no_notice_either() {
    let mut dispatcher = Partition::by_fn(2, |event| Some((event % 2) as usize));
    assert_eq!(dispatcher.lanes(), 2);
    dispatcher.subscribe(ONE, Terms::default().lane(0)).unwrap();
    dispatcher.subscribe(TWO, Terms::default().lane(1)).unwrap();
    let (mut backlog, mut handout) = (Backlog::new(), Handout::new());
    // The first never asks.
    dispatcher.ask(TWO, Demand::new(8).unwrap());
    backlog.push((0..4).collect());
    dispatcher.dispatch(&mut backlog, &mut handout);
    assert_eq!(dispatcher.give_up(0)[..], [0, 2]);
    dispatcher.mark(Mark(1), &mut handout);
    assert_eq!(handout.passed, [Mark(1)], "it has room for more");
    // Events, and notices between and behind them.
    backlog.push((4..6).collect());
    dispatcher.dispatch(&mut backlog, &mut handout);
    dispatcher.mark(Mark(2), &mut handout);
    backlog.push((6..8).collect());
    dispatcher.dispatch(&mut backlog, &mut handout);
    dispatcher.mark(Mark(3), &mut handout);
    dispatcher.mark(Mark(4), &mut handout);
    assert_eq!(handout.passed, [Mark(1)]);
    assert_eq!(dispatcher.give_up(0)[..], [4, 6]);
    dispatcher.dispatch(&mut backlog, &mut handout);
    assert_eq!(handout.passed, [1, 2, 3, 4].map(Mark));
}

#[test]
fn terms_can_be_given_twice() {
    /// Cannot be cloned, and need not be.
    struct Event(u64);
    let terms = Terms::default()
        .lane(3)
        .subscriber(4)
        .selector(Selector::new(|event: &Event| event.0 == 5));
    for same in [terms.clone(), terms] {
        assert_eq!((same.lane, same.subscriber), (Some(3), Some(4)));
        let selector = same.selector.unwrap();
        assert!(selector.keeps(&Event(5)) && !selector.keeps(&Event(6)));
    }
}

#[test]
fn what_belongs_nowhere_is_counted_whether_or_not_it_is_tracked() {
    for is_tracked in [false, true] {
        // Of six: two to the lane, one nowhere, three where no lane is.
        let lane_of =
            |event: &u64| [Some(0), None, Some(1), Some(2), Some(0), Some(7)][*event as usize];
        let mut dispatcher = Partition::by_fn(1, lane_of);
        dispatcher.subscribe(ONE, Terms::default().lane(0)).unwrap();
        dispatcher.ask(ONE, Demand::new(6).unwrap());
        let (mut backlog, mut handout) = (Backlog::new(), Handout::new());
        let book = Arc::<Book>::default();
        backlog.push(if is_tracked {
            book.watch(0..6)
        } else {
            (0..6).collect()
        });
        dispatcher.dispatch(&mut backlog, &mut handout);
        assert_eq!((handout.homeless, handout.misplaced), (1, 3));
        assert_eq!((dispatcher.held(), dispatcher.demand()), (0, 4));
        assert_eq!(handout.deliveries[0].events[..], [0, 4]);
        assert_eq!(
            book.nacked(),
            if is_tracked { vec![2, 3, 5] } else { vec![] }
        );
    }
}

//! On which terms subscribers are served.

use std::{panic, sync::Arc};

use stage_core::{
    Batch, Demand,
    protocol::{
        Backlog, Broadcast, Dispatcher, Handout, Mark, Partition, Refused, SubscriptionId, Terms,
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
    dispatcher.cancel(ONE);
    dispatcher.subscribe(TWO, terms()).unwrap();
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
    let mut dispatcher = Broadcast::new();
    for id in [ONE, TWO] {
        dispatcher.subscribe(id, Terms::default()).unwrap();
        dispatcher.ask(id, Demand::new(4).unwrap());
    }
    let mut backlog = Backlog::new();
    backlog.push(events);
    let handing_out = panic::AssertUnwindSafe(|| {
        dispatcher.dispatch(&mut backlog, &mut Handout::new());
    });
    assert!(panic::catch_unwind(handing_out).is_err());
    assert_eq!(book.nacked(), [0, 1, 2, 3]);
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

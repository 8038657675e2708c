//! Where GenStage's dispatchers stall or change the order, and ours do not. The names are those of
//! the traces; those of stages are in `stage_quirks.rs`.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use stage_core::{
    Demand,
    protocol::{
        Backlog, Broadcast, ByDemand, Dispatcher, Handout, Partition, SubscriptionId, Terms,
    },
};

/// A stage whose producer makes what it is asked for, and no more.
struct Stage {
    dispatcher: Box<dyn Dispatcher<u64>>,
    backlog: Backlog<u64>,
    next: u64,
    received: BTreeMap<u64, Vec<u64>>,
}

impl Stage {
    fn new(dispatcher: impl Dispatcher<u64>) -> Self {
        Self {
            dispatcher: Box::new(dispatcher),
            backlog: Backlog::new(),
            next: 0,
            received: BTreeMap::new(),
        }
    }

    fn subscribe(&mut self, who: u64, terms: Terms<u64>) {
        self.dispatcher
            .subscribe(SubscriptionId(who), terms)
            .unwrap();
    }

    fn ask(&mut self, who: u64, events: usize) {
        self.dispatcher
            .ask(SubscriptionId(who), Demand::new(events).unwrap());
        self.hand_out();
    }

    fn cancel(&mut self, who: u64) {
        self.dispatcher.cancel(SubscriptionId(who));
        self.hand_out();
    }

    fn wanted(&self) -> usize {
        self.dispatcher.demand().saturating_sub(self.backlog.len())
    }

    fn emit(&mut self, events: usize) {
        let end = self.next + events as u64;
        self.backlog.push((self.next..end).collect());
        self.next = end;
        self.hand_out();
    }

    fn produce(&mut self) {
        for _ in 0..100 {
            if self.wanted() == 0 {
                return;
            }
            self.emit(self.wanted());
        }
        panic!("it wants more however much there is");
    }

    fn hand_out(&mut self) {
        let mut handout = Handout::new();
        self.dispatcher.dispatch(&mut self.backlog, &mut handout);
        for delivery in handout.deliveries {
            let received = self.received.entry(delivery.to.0).or_default();
            received.extend(delivery.events.into_vec());
        }
    }
}

/// GenStage forgets that what was handed back has come: it believes it is on its way for ever.
#[test]
fn stale_requested() {
    let mut stage = Stage::new(Broadcast::new());
    // Held back until all are there: the first asks for more than the second.
    stage.subscribe(1, Terms::default());
    stage.ask(1, 10);
    assert_eq!(stage.wanted(), 10);
    stage.subscribe(2, Terms::default());
    stage.ask(2, 2);
    // The ten come that were asked for before the second was there.
    stage.emit(10);
    assert_eq!(stage.backlog.len(), 8);
    // Each asks again for what it got, as consumers do.
    for _ in 0..20 {
        stage.ask(1, 2);
        stage.ask(2, 2);
        stage.produce();
    }
    assert_eq!(stage.received[&1], (0..42).collect::<Vec<_>>());
    assert_eq!(stage.received[&1], stage.received[&2]);
}

/// After a cancel GenStage takes the next asks for covered by what is on its way, also when some of
/// it has come and lies in the buffer: there it stays, and newer events overtake it.
#[test]
fn waiting_with_buffer() {
    let mut stage = Stage::new(ByDemand::default());
    stage.subscribe(1, Terms::default());
    stage.subscribe(2, Terms::default());
    stage.ask(1, 10);
    stage.cancel(1);
    // Some of the ten come, and nobody asks.
    stage.emit(4);
    assert_eq!(stage.backlog.len(), 4);
    stage.ask(2, 3);
    assert_eq!(
        stage.received[&2],
        [0, 1, 2],
        "they are there, and are given"
    );
    stage.emit(6);
    stage.ask(2, 4);
    assert_eq!(
        stage.received[&2],
        (0..7).collect::<Vec<_>>(),
        "and in order"
    );
    stage.ask(2, 5);
    assert_eq!(stage.wanted(), 2, "three are there");
    stage.produce();
    assert_eq!(stage.received[&2], (0..12).collect::<Vec<_>>());
}

/// A new broadcast subscriber stops the flow, and what comes meanwhile is not forgotten.
#[test]
fn waiting_with_buffer_of_a_broadcast() {
    let mut stage = Stage::new(Broadcast::new());
    stage.subscribe(1, Terms::default());
    stage.ask(1, 5);
    stage.subscribe(2, Terms::default());
    stage.emit(5);
    assert_eq!(stage.backlog.len(), 5);
    stage.cancel(2);
    assert_eq!(
        stage.received[&1],
        [0, 1, 2, 3, 4],
        "its leaving lets them go"
    );
}

/// GenStage does not ask again for events that belong nowhere: in the end it asks for nothing.
#[test]
fn none_not_rerequested() {
    let lane_of = |event: &u64| (!event.is_multiple_of(2)).then_some(0);
    let mut stage = Stage::new(Partition::by_fn(1, lane_of));
    stage.subscribe(1, Terms::default().lane(0));
    for _ in 0..10 {
        stage.ask(1, 4);
        stage.produce();
    }
    assert_eq!(stage.received[&1].len(), 40);
}

/// GenStage takes what a lane's subscriber leaves for lost.
#[test]
fn what_waits_for_a_lane_waits_for_its_next_subscriber() {
    let mut stage = Stage::new(Partition::by_fn(2, |event| Some((event % 2) as usize)));
    stage.subscribe(1, Terms::default().lane(0));
    stage.subscribe(2, Terms::default().lane(1));
    stage.ask(1, 2);
    stage.ask(2, 8);
    stage.produce();
    assert_eq!(
        stage.dispatcher.held(),
        3,
        "4, 6 and 8 hold back 1's neighbour"
    );
    stage.cancel(1);
    stage.produce();
    stage.subscribe(3, Terms::default().lane(0));
    stage.ask(3, 10);
    stage.produce();
    let lane: Vec<u64> = [1, 3]
        .iter()
        .flat_map(|who| stage.received[who].clone())
        .collect();
    assert_eq!(lane, (0..10).map(|n| n * 2).collect::<Vec<_>>());
}

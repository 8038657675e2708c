//! Properties of the dispatchers: whoever comes, asks, leaves and comes again, nobody gets more than
//! it asked for, nothing is lost, nothing comes twice, order is kept, and each event is acked or
//! nacked once.

#![allow(clippy::unwrap_used)]

mod book;
mod buffer;
mod lanes;
mod machine;
mod own;
mod terms;

use std::collections::BTreeSet;

use machine::{Destiny, Kind, Machine};
use proptest_state_machine::prop_state_machine;
use stage_core::protocol::{
    Broadcast, ByDemand, Dispatcher, Partition, Refused, Selector, Terms, lane_for,
};

prop_state_machine! {
    #[test]
    fn by_demand_each_event_goes_to_one(sequential 1..120 => Machine<Neediest>);

    #[test]
    fn by_broadcast_each_event_goes_to_all(sequential 1..120 => Machine<ToAll>);

    #[test]
    fn by_partition_each_event_goes_to_its_lane(sequential 1..120 => Machine<ToLanes>);

    #[test]
    fn by_turns_each_event_goes_to_one(sequential 1..120 => Machine<InTurn>);
}

#[derive(Debug)]
struct Neediest;

impl Kind for Neediest {
    fn dispatcher() -> Box<dyn Dispatcher<u64>> {
        Box::new(ByDemand::default())
    }

    fn destiny(_: u64) -> Destiny {
        Destiny::One(None)
    }
}

#[derive(Debug)]
struct InTurn;

impl Kind for InTurn {
    fn dispatcher() -> Box<dyn Dispatcher<u64>> {
        Box::new(own::RoundRobin::default())
    }

    fn destiny(_: u64) -> Destiny {
        Destiny::One(None)
    }
}

#[derive(Debug)]
struct ToAll;

impl Kind for ToAll {
    fn dispatcher() -> Box<dyn Dispatcher<u64>> {
        Box::new(Broadcast::new())
    }

    /// 4 is nobody but 0.
    fn terms(who: u64) -> Terms<u64> {
        let terms = Terms::default().subscriber(who % 4);
        if matches!(who, 1 | 2) {
            terms.selector(Selector::new(move |event| Self::keeps(who, *event)))
        } else {
            terms
        }
    }

    fn refusal(subscribed: &BTreeSet<u64>, who: u64) -> Option<Refused> {
        let is_there = subscribed.iter().any(|other| other % 4 == who % 4);
        is_there.then_some(Refused::AlreadySubscribed)
    }

    fn destiny(_: u64) -> Destiny {
        Destiny::All
    }

    fn keeps(who: u64, event: u64) -> bool {
        match who {
            1 => event % 3 != 1,
            2 => event.is_multiple_of(5),
            _ => true,
        }
    }
}

#[derive(Debug)]
struct ToLanes;

const LANES: usize = 3;

impl ToLanes {
    fn lane_of(event: u64) -> Option<usize> {
        match event % 8 {
            6 => None,
            7 => Some(LANES),
            _ => Some(lane_for(&event, LANES)),
        }
    }

    /// 0 and 4 want the same lane, and 3 one that there is not.
    fn lane(who: u64) -> usize {
        who as usize % 4
    }
}

impl Kind for ToLanes {
    fn dispatcher() -> Box<dyn Dispatcher<u64>> {
        Box::new(Partition::by_fn(LANES, |event| Self::lane_of(*event)))
    }

    fn terms(who: u64) -> Terms<u64> {
        Terms::default().lane(Self::lane(who))
    }

    fn refusal(subscribed: &BTreeSet<u64>, who: u64) -> Option<Refused> {
        let lane = Self::lane(who);
        if lane >= LANES {
            return Some(Refused::LaneUnknown { lane, lanes: LANES });
        }
        let is_taken = subscribed.iter().any(|other| Self::lane(*other) == lane);
        is_taken.then_some(Refused::LaneTaken { lane })
    }

    fn destiny(event: u64) -> Destiny {
        match Self::lane_of(event) {
            None => Destiny::Nowhere,
            Some(LANES) => Destiny::Misplaced,
            lane => Destiny::One(lane),
        }
    }

    fn lane_of_subscriber(who: u64) -> Option<usize> {
        Some(Self::lane(who))
    }
}

use std::ops::Range;

use crate::{Event, Tally, tally::LANES};

/// Who sends events to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One producer, one consumer.
    Direct,
    /// One producer; each event goes to one of so many consumers, whichever.
    Share(usize),
    /// One producer; each event goes to each of so many consumers.
    Broadcast(usize),
    /// One producer; each event goes to the one of eight consumers that its number belongs to.
    Partition,
    /// One producer, so many tasks that make an event of each, one consumer.
    Chain(usize),
    /// So many producers, one consumer.
    Gather(usize),
    /// As many consumers of one producer as there should be events, and no events: what a task and
    /// its link cost.
    SetUp,
}

/// Events to move.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// Who sends events to whom.
    pub shape: Shape,
    /// The most events on their way, for each link.
    pub window: usize,
    /// How many.
    pub events: u64,
}

impl Job {
    /// What has to be taken in by all consumers together.
    pub fn expected<E: Event>(&self) -> Tally {
        let once = Tally {
            events: self.events,
            sum: (0..self.events).fold(0, u64::wrapping_add),
            misplaced: 0,
        };
        match self.shape {
            Shape::Direct | Shape::Share(_) | Shape::Partition | Shape::Gather(_) => once,
            Shape::Broadcast(consumers) => (0..consumers).map(|_| once).sum(),
            Shape::Chain(between) => Tally {
                sum: (0..between).fold(once.sum, |sum, _| {
                    sum.wrapping_add(E::MAPPED.wrapping_mul(self.events))
                }),
                ..once
            },
            Shape::SetUp => Tally::default(),
        }
    }

    /// How many links share the window when one channel stands for all of them.
    pub fn shared_window(&self) -> usize {
        match self.shape {
            Shape::Share(links) | Shape::Gather(links) => self.window * links,
            Shape::Partition => self.window * LANES,
            Shape::Direct | Shape::Broadcast(_) | Shape::Chain(_) | Shape::SetUp => self.window,
        }
    }
}

/// What each of so many producers makes.
pub fn parts(events: u64, producers: usize) -> impl Iterator<Item = Range<u64>> {
    let producers = producers as u64;
    (0..producers).map(move |i| events * i / producers..events * (i + 1) / producers)
}

/// A job of a name.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Its name on the command line and in tables.
    pub name: &'static str,
    /// What it is, in words.
    pub about: &'static str,
    /// Who sends events to whom.
    pub shape: Shape,
    /// The most events on their way, for each link.
    pub window: usize,
    /// How many times faster than tokio's channel, one event at a time, we have to be.
    pub bars: Bars,
}

/// How many times faster than tokio's channel, one event at a time, we have to be.
#[derive(Clone, Copy, Debug)]
pub struct Bars {
    /// On one thread, with `u64`.
    pub current_thread: f64,
    /// On two, with `u64`.
    pub multi_thread: f64,
}

impl Bars {
    /// The bar for those events on that runtime. With a kibibyte in each, the allocator is most of
    /// what one measures.
    pub fn of(&self, event: &str, runtime: &str, shape: Shape) -> f64 {
        let plain = match runtime {
            "current-thread" => self.current_thread,
            _ => self.multi_thread,
        };
        let with_payload = match (shape, runtime) {
            (Shape::Broadcast(_), _) => 8.0,
            (_, "current-thread") => 2.0,
            _ => 3.0,
        };
        if event == u64::NAME {
            plain
        } else {
            plain.min(with_payload)
        }
    }
}

const fn bars(current_thread: f64, multi_thread: f64) -> Bars {
    Bars {
        current_thread,
        multi_thread,
    }
}

/// What `ratios` measures if nothing is named. A thousand events are on their way at most, except
/// where the name says otherwise; between several links that is 125 for each of eight.
pub const WORKLOADS: [Workload; 8] = [
    Workload {
        name: "a1000",
        about: "1 → 1, window 1000",
        shape: Shape::Direct,
        window: 1_000,
        bars: bars(45.0, 35.0),
    },
    Workload {
        name: "a10",
        about: "1 → 1, window 10",
        shape: Shape::Direct,
        window: 10,
        bars: bars(3.5, 3.0),
    },
    Workload {
        name: "a1",
        about: "1 → 1, window 1",
        shape: Shape::Direct,
        window: 1,
        bars: bars(1.4, 1.2),
    },
    Workload {
        name: "b",
        about: "1 → 8, each event once, windows of 125",
        shape: Shape::Share(8),
        window: 125,
        bars: bars(20.0, 15.0),
    },
    Workload {
        name: "c",
        about: "1 → 4, each event to all, windows of 1000",
        shape: Shape::Broadcast(4),
        window: 1_000,
        bars: bars(60.0, 45.0),
    },
    Workload {
        name: "d",
        about: "1 → 8, by key, windows of 125",
        shape: Shape::Partition,
        window: 125,
        bars: bars(13.0, 10.0),
    },
    Workload {
        name: "e",
        about: "source → map → sink, windows of 1000",
        shape: Shape::Chain(1),
        window: 1_000,
        bars: bars(55.0, 35.0),
    },
    Workload {
        name: "f",
        about: "8 → 1, windows of 125",
        shape: Shape::Gather(8),
        window: 125,
        bars: bars(25.0, 20.0),
    },
];

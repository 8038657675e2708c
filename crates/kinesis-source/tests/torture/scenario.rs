//! What a seed stands for.

use std::time::Duration;

use kinesis_fake::{Fault, FaultPlan, Operation};

use crate::{dice::Dice, judge::Order, sinks::Manner};

/// What stands between the source and its sinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Plain,
    /// A step before the sink.
    Step,
    /// A transform with a step behind it.
    Transform,
    /// One that waits.
    MapAsync,
    /// Both sinks get all.
    Broadcast,
    /// Sinks share it.
    Shared(usize),
    /// Each key has its sink.
    Lanes(usize),
    Stream,
    StreamWithReceipts,
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Stop,
    StopByHandle,
    /// Its future is dropped.
    Abort,
    /// A sink fails.
    Fail,
}

#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) shards: u32,
    pub(crate) limited: bool,
    pub(crate) resharding_takes: u64,
    pub(crate) aggregated: bool,
    pub(crate) records: u64,
    pub(crate) keys: u64,
    pub(crate) size: usize,
    /// Milliseconds within which all is put.
    pub(crate) put_within: u64,
    pub(crate) reshards: u64,
    pub(crate) fan_out: bool,
    /// Milliseconds after which a subscription is let go that is not read.
    pub(crate) let_go_after: Option<u64>,
    pub(crate) shape: Shape,
    pub(crate) manners: Vec<Manner>,
    pub(crate) window: usize,
    pub(crate) budget: Option<u64>,
    pub(crate) checkpoint_every: u64,
    pub(crate) checkpoint_after: Option<u64>,
    pub(crate) unsaved_at_most: Option<u64>,
    pub(crate) discover_often: bool,
    pub(crate) file: bool,
    pub(crate) store_fails: u64,
    pub(crate) store_slow: u64,
    pub(crate) faults: Vec<Fault>,
    /// How long each lasts, in milliseconds, before it ends so. After these there is one that reads all.
    pub(crate) lives: Vec<(u64, Ending)>,
    pub(crate) drain_within: Option<u64>,
    pub(crate) nacks: i64,
    pub(crate) seeks: u64,
    pub(crate) pauses: u64,
    pub(crate) asks: bool,
}

impl Scenario {
    pub(crate) fn draw(seed: u64) -> Self {
        let dice = &mut Dice::new(seed.wrapping_mul(0x1234_5678_9abc_def1) ^ 0x7041);
        let shards = dice.one_of(&[1, 1, 2, 2, 3, 4, 8, 16]);
        let shape = dice.one_of(&[
            Shape::Plain,
            Shape::Plain,
            Shape::Step,
            Shape::Transform,
            Shape::MapAsync,
            Shape::Broadcast,
            Shape::Broadcast,
            Shape::Shared(2),
            Shape::Shared(5),
            Shape::Lanes(2),
            Shape::Lanes(7),
            Shape::Stream,
            Shape::StreamWithReceipts,
        ]);
        let sinks = match shape {
            Shape::Broadcast => 2,
            Shape::Shared(sinks) | Shape::Lanes(sinks) => sinks,
            _ => 1,
        };
        let manners = (0..sinks).map(|_| manner(dice)).collect();
        let fan_out = dice.percent(45);
        let faults = match dice.percent(60) {
            true => (0..dice.between(1, 4))
                .map(|_| fault(dice, fan_out))
                .collect(),
            false => Vec::new(),
        };
        let lives = (0..dice.between(0, 4)).map(|_| {
            let endings = [
                Ending::Stop,
                Ending::Stop,
                Ending::StopByHandle,
                Ending::Abort,
                Ending::Abort,
                Ending::Fail,
            ];
            let lasts = dice.one_of(&[0, 5, 50, 300, 800, 1_500, 3_000]);
            let lasts = lasts + dice.between(0, lasts / 4);
            (lasts, dice.one_of(&endings))
        });
        let lives: Vec<_> = lives.collect();
        let window = dice.one_of(&[1, 2, 5, 10, 50, 1_000]);
        // A read brings no more than a window, and five may be made in a second.
        let records = dice.one_of(&[0, 10, 60, 200, 500]).min(40 * window as u64);
        Self {
            seed,
            shards,
            limited: dice.percent(15),
            resharding_takes: dice.one_of(&[0, 0, 0, 200]),
            aggregated: dice.percent(25),
            records,
            keys: dice.one_of(&[1, 5, 40, 1_000]),
            size: dice.one_of(&[0, 0, 0, 100, 5_000]),
            put_within: dice.one_of(&[0, 500, 2_000, 4_000]),
            reshards: dice.one_of(&[0, 1, 3, 6, 10]),
            fan_out,
            let_go_after: dice.one_of(&[None, None, Some(5)]),
            shape,
            manners,
            window,
            budget: dice.one_of(&[None, None, Some(20_000), Some(200_000)]),
            checkpoint_every: dice.one_of(&[10, 10, 50, 200, 1_000]),
            checkpoint_after: dice.one_of(&[None, None, Some(1), Some(20)]),
            unsaved_at_most: dice.one_of(&[None, None, None, Some(1), Some(30)]),
            discover_often: dice.percent(30),
            file: dice.percent(15),
            store_fails: dice.one_of(&[0, 0, 0, 10, 50]),
            store_slow: dice.one_of(&[0, 0, 3, 30, 300]),
            faults,
            lives,
            drain_within: dice.one_of(&[None, Some(200), Some(3_000)]),
            nacks: dice.one_of(&[0, 0, 0, 1, 4]),
            seeks: dice.one_of(&[0, 0, 0, 0, 3]),
            pauses: dice.one_of(&[0, 0, 2, 5]),
            asks: dice.percent(40),
        }
    }

    /// The same, without what takes its time: for when somebody waits for it.
    pub(crate) fn brief(mut self) -> Self {
        self.limited = false;
        self.let_go_after = None;
        self.records = self.records.min(10 * self.window as u64).min(200);
        self.put_within = self.put_within.min(1_000);
        self.reshards = self.reshards.min(2);
        self.resharding_takes = 0;
        self.store_slow = self.store_slow.min(30);
        self.discover_often = true;
        self.faults.truncate(1);
        self.faults
            .retain(|fault| !format!("{fault:?}").contains("hung"));
        self.lives.truncate(2);
        for (millis, _) in &mut self.lives {
            *millis = (*millis).min(800);
        }
        self
    }

    /// Whether sinks or the store take their time.
    pub(crate) fn is_slow(&self) -> bool {
        let is_quick = |manner: &Manner| matches!(manner, Manner::Quick | Manner::Whole);
        self.store_slow > 3 || self.store_fails > 0 || !self.manners.iter().all(is_quick)
    }

    pub(crate) fn order(&self) -> Order {
        match self.shape {
            Shape::Shared(_) => Order::None,
            Shape::Lanes(_) => Order::Key,
            _ => Order::Shard,
        }
    }

    pub(crate) fn plan(&self) -> FaultPlan {
        let faults = self.faults.iter().cloned();
        faults.fold(FaultPlan::new(self.seed), FaultPlan::with)
    }
}

fn manner(dice: &mut Dice) -> Manner {
    let most = dice.one_of(&[1, 3, 10, 40]);
    match dice.between(0, 9) {
        0..=2 => Manner::Quick,
        3 | 4 => Manner::Whole,
        5 => Manner::Sleeps(most),
        6 => Manner::Blocks(most.min(10)),
        7 => Manner::BlocksInPlace(most.min(10)),
        8 => Manner::LaterByTask(most),
        _ => Manner::LaterByThread(most),
    }
}

fn fault(dice: &mut Dice, fan_out: bool) -> Fault {
    use Operation::{
        DescribeStreamSummary, GetRecords, GetShardIterator, ListShards, SubscribeToShard,
    };
    let read = if fan_out && dice.percent(80) {
        SubscribeToShard
    } else {
        dice.one_of(&[GetRecords, GetRecords, GetShardIterator])
    };
    let of = dice.one_of(&[read, read, read, ListShards, DescribeStreamSummary]);
    let late = dice.millis(1, 600);
    let codes = match of {
        SubscribeToShard => [
            "LimitExceededException",
            "ResourceInUseException",
            "InternalFailure",
        ],
        GetRecords => [
            "ProvisionedThroughputExceededException",
            "ExpiredIteratorException",
            "InternalFailure",
        ],
        _ => [
            "LimitExceededException",
            "ThrottlingException",
            "InternalFailure",
        ],
    };
    let fault = match dice.between(0, 8) {
        0..=3 => Fault::refusal(of, dice.one_of(&codes)),
        4 => Fault::lost_answer(of),
        5 => Fault::garbled_answer(of),
        6 => Fault::late_answer(of, late),
        7 => Fault::delayed(of, late),
        _ => return Fault::hung(of).after(dice.between(0, 5) as u32),
    };
    let fault = match of == SubscribeToShard && dice.percent(50) {
        true => fault.in_stream(),
        false => fault,
    };
    let percent = dice.one_of(&[5, 20, 60]);
    fault
        .with_probability(percent as f64 / 100.0)
        .times(dice.between(1, 12) as u32)
}

/// How long draining may take in all.
pub(crate) fn drain(scenario: &Scenario) -> Duration {
    scenario
        .drain_within
        .map_or(Duration::from_secs(25), Duration::from_millis)
}

//! `PartitionDispatcher` against `Partition`.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;
use stage_core::protocol::{Partition, Terms};

use crate::{
    account::{Account, Reach},
    observed::Observed,
    stage::{self, Kind, Scene},
    tally::{Reason, Tally},
    trace::number,
};

/// The replay gives up in the test what GenStage gives up in the dispatcher.
const KEPT: Reason = "a cancelled lane's queue is kept for its next subscriber; GenStage drops it and \
     raises as much again, also what is on its way for the one that left";
const NOT_HELD: Reason = "a notice passes with the last event before it; GenStage's waits for another \
     ask of a lane whose demand is used up";
const FAILED_ALONE: Reason = "an event that belongs where no lane is fails alone; GenStage's \
     dispatcher crashes";

struct ToLanes {
    partitions: Vec<Value>,
    hash: Value,
    /// Which lane a subscription has.
    lanes: BTreeMap<u64, usize>,
    /// Notices that have passed here, and not in GenStage.
    held_there: VecDeque<u64>,
    /// How many events GenStage has before a notice, in each lane that it has yet to pass.
    before: BTreeMap<u64, BTreeMap<usize, Option<u64>>>,
}

impl ToLanes {
    fn lane_of(partitions: &[Value], hash: &Value, event: u64) -> Option<usize> {
        let at = event % hash["mod"].as_u64().unwrap();
        let name = &hash["map"][at as usize];
        // An unknown one is beyond the last lane.
        let place = || partitions.iter().position(|other| other == name);
        (!name.is_null()).then(|| place().unwrap_or(partitions.len()))
    }
}

impl Kind for ToLanes {
    type Dispatcher = Partition<u64>;
    const REACH: Reach = Reach::One;
    const COUNTS_DISCARDED: bool = true;

    fn dispatcher(&self) -> Partition<u64> {
        let (partitions, hash) = (self.partitions.clone(), self.hash.clone());
        Partition::by_fn(partitions.len(), move |event| {
            Self::lane_of(&partitions, &hash, *event)
        })
    }

    fn terms(&mut self, step: &Value) -> Terms<u64> {
        let Some(name) = step["opts"].get("partition").filter(|name| !name.is_null()) else {
            return Terms::default();
        };
        let lane = self.partitions.iter().position(|other| other == name);
        let lane = lane.unwrap_or(self.partitions.len());
        self.lanes.insert(number(&step["consumer"]), lane);
        Terms::default().lane(lane)
    }

    fn give_up(&self, dispatcher: &mut Partition<u64>, cancelled: u64) -> Vec<u64> {
        dispatcher.give_up(self.lanes[&cancelled]).into_vec()
    }

    fn delivered(&self, event: u64) -> u64 {
        event * self.hash["mul"].as_u64().unwrap_or(1)
    }

    fn translate(&mut self, scene: &Scene<'_>, found: &mut Observed) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if scene.misplaced > 0 {
            reasons.push(FAILED_ALONE);
            *found = Observed {
                error: Some("hash_unknown_partition".to_owned()),
                infos: found.infos.clone(),
                ..Observed::default()
            };
        }
        let given_up = scene.given_up as u64;
        if found.demand.is_some_and(|demand| demand < given_up) {
            reasons.push(KEPT);
            found.demand = Some(given_up);
        }
        let infos = self.infos(scene, &found.infos);
        if infos != found.infos {
            reasons.push(NOT_HELD);
            found.infos = infos;
        }
        reasons
    }
}

impl ToLanes {
    /// Which notices GenStage must have passed.
    fn infos(&mut self, scene: &Scene<'_>, passed: &[u64]) -> Vec<u64> {
        let step = scene.step;
        let lane = self
            .lanes
            .get(&step.get("consumer").map_or(0, number))
            .copied();
        match step["op"].as_str().unwrap() {
            "info" => {
                let queues = self.queues(scene.account);
                self.before.insert(number(&step["msg"]), queues);
            }
            "ask" => {
                let count = step["count"].as_u64().unwrap();
                for before in self.before_at(lane.unwrap()) {
                    // One that is taken up to the notice exactly still holds it.
                    *before = before.and_then(|before| before.checked_sub(count));
                }
            }
            "cancel" => self
                .before_at(lane.unwrap())
                .for_each(|before| *before = None),
            _ => {}
        }
        self.held_there.extend(passed);
        let mut infos = Vec::new();
        while let Some(first) = self.held_there.front()
            && self.before[first].values().all(Option::is_none)
        {
            infos.extend(self.held_there.pop_front());
        }
        infos
    }

    fn before_at(&mut self, lane: usize) -> impl Iterator<Item = &mut Option<u64>> {
        self.before
            .values_mut()
            .filter_map(move |queues| queues.get_mut(&lane))
    }

    /// The lanes that are queues to GenStage, with the number of events in each. A lane is one also
    /// when its demand has just been used up.
    fn queues(&self, account: &Account) -> BTreeMap<usize, Option<u64>> {
        let sated = account.subscribers().filter(|(_, s)| s.is_sated());
        let sated = sated.map(|(id, _)| (self.lanes[&id], Some(0)));
        let mut queues: BTreeMap<_, _> = sated.collect();
        for event in account.in_stock() {
            if let Some(lane) = Self::lane_of(&self.partitions, &self.hash, event) {
                *queues.entry(lane).or_default().get_or_insert(0) += 1;
            }
        }
        queues
    }
}

pub(crate) fn replay(scenario: &Value, tally: &mut Tally) -> Result<(), String> {
    let options = &scenario["options"];
    let mut kind = ToLanes {
        partitions: options["partitions"].as_array().unwrap().clone(),
        hash: options["hash"].clone(),
        lanes: BTreeMap::new(),
        held_there: VecDeque::new(),
        before: BTreeMap::new(),
    };
    stage::replay(&mut kind, scenario, tally)
}

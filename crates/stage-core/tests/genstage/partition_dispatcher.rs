//! `PartitionDispatcher` against `Partition`.

use std::collections::BTreeMap;

use serde_json::Value;
use stage_core::protocol::{Partition, Terms};

use crate::{
    account::Reach,
    observed::Observed,
    stage::{self, Kind, Scene},
    tally::{Reason, Tally},
    trace::number,
};

/// The replay gives up in the test what GenStage gives up in the dispatcher.
const KEPT: Reason = "a cancelled lane's queue is kept for its next subscriber; GenStage drops it and \
     raises as much again, also what is on its way for the one that left";
const FAILED_ALONE: Reason = "an event that belongs where no lane is fails alone; GenStage's \
     dispatcher crashes";

struct ToLanes {
    partitions: Vec<Value>,
    hash: Value,
    /// Which lane a subscription has.
    lanes: BTreeMap<u64, usize>,
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

    fn translate(&mut self, scene: &Scene, found: &mut Observed) -> Vec<Reason> {
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
        reasons
    }
}

pub(crate) fn replay(scenario: &Value, tally: &mut Tally) -> Result<(), String> {
    let options = &scenario["options"];
    let mut kind = ToLanes {
        partitions: options["partitions"].as_array().unwrap().clone(),
        hash: options["hash"].clone(),
        lanes: BTreeMap::new(),
    };
    stage::replay(&mut kind, scenario, tally)
}

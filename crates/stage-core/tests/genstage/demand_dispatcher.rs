//! `DemandDispatcher` against `ByDemand`.

use serde_json::Value;
use stage_core::protocol::{ByDemand, Terms};

use crate::{
    account::Reach,
    stage::{self, Kind},
    tally::Tally,
};

struct Demand;

impl Kind for Demand {
    type Dispatcher = ByDemand;
    const REACH: Reach = Reach::One;
    const IN_ORDER: bool = true;

    fn dispatcher(&self) -> ByDemand {
        ByDemand::default()
    }

    fn terms(&mut self, _: &Value) -> Terms<u64> {
        Terms::default()
    }
}

pub(crate) fn replay(scenario: &Value, tally: &mut Tally) -> Result<(), String> {
    // It would be another order.
    if scenario["options"]["shuffle_demands_on_first_dispatch"] != false {
        return Err("a shuffle that is not recorded cannot be replayed".to_owned());
    }
    stage::replay(&mut Demand, scenario, tally)
}

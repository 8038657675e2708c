//! `BroadcastDispatcher` against `Broadcast`.

use serde_json::Value;
use stage_core::protocol::{Broadcast, Selector, Terms};

use crate::{
    account::{Reach, keeps},
    stage::{self, Kind},
    tally::Tally,
    trace::number,
};

struct ToAll;

impl Kind for ToAll {
    type Dispatcher = Broadcast<u64>;
    const REACH: Reach = Reach::All;

    fn dispatcher(&self) -> Broadcast<u64> {
        Broadcast::new()
    }

    fn terms(&mut self, step: &Value) -> Terms<u64> {
        let process = step.get("process").unwrap_or(&step["consumer"]);
        let terms = Terms::default().subscriber(number(process));
        match step["opts"].get("selector") {
            Some(selector) if !selector.is_null() => {
                let selector = selector.clone();
                terms.selector(Selector::new(move |event| keeps(&selector, *event)))
            }
            _ => terms,
        }
    }
}

pub(crate) fn replay(scenario: &Value, tally: &mut Tally) -> Result<(), String> {
    stage::replay(&mut ToAll, scenario, tally)
}

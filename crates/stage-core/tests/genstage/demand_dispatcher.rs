//! `DemandDispatcher` against `ByDemand`.

use serde_json::{Value, json};
use stage_core::{
    Demand,
    protocol::{Backlog, ByDemand, Delivery, Dispatcher, Handout, SubscriptionId, Terms},
};

use crate::trace::Tally;

/// A dispatcher, and how much has been asked for upstream and has not come.
struct Stage {
    dispatcher: Box<dyn Dispatcher<u64>>,
    raised: usize,
}

impl Stage {
    /// How much more the level asks for than has been raised.
    fn raise(&mut self) -> usize {
        let more = self.dispatcher.demand().saturating_sub(self.raised);
        self.raised += more;
        more
    }
}

pub(crate) fn replay(scenario: &Value, tally: &mut Tally) -> Result<(), String> {
    let mut stage = Stage {
        dispatcher: Box::new(ByDemand::default()),
        raised: 0,
    };
    tally.scenarios += 1;
    for (at, step) in scenario["steps"].as_array().unwrap().iter().enumerate() {
        let mut found = perform(&mut stage, step);
        tally.steps += 1;
        if step.get("error").is_some() {
            // Nobody may crash a stage by naming a subscription that has just gone.
            tally.ignored += 1;
            continue;
        }
        // Demand is a level here, where GenStage adds up differences: the numbers are the same.
        found["demand"] = json!(stage.raise());
        for key in ["sent", "leftover", "demand"] {
            let found = found[key].take();
            if step.get(key).is_some_and(|recorded| *recorded != found) {
                return Err(format!(
                    "step {at}: {key} is {found}, recorded {}",
                    step[key]
                ));
            }
        }
    }
    Ok(())
}

fn perform(stage: &mut Stage, step: &Value) -> Value {
    let dispatcher = &mut stage.dispatcher;
    let consumer = || number(&step["consumer"]);
    match step["op"].as_str().unwrap() {
        "subscribe" => dispatcher
            .subscribe(SubscriptionId(consumer()), Terms::default())
            .unwrap(),
        "ask" => {
            let demand = Demand::new(step["count"].as_u64().unwrap() as usize).unwrap();
            dispatcher.ask(SubscriptionId(consumer()), demand);
        }
        "cancel" => dispatcher.cancel(SubscriptionId(consumer())),
        "dispatch" => return dispatch(stage, &step["events"]),
        // Out-of-band messages pass a dispatcher by demand at once.
        "info" => {}
        other => panic!("what is `{other}`?"),
    }
    json!({ "sent": [] })
}

fn dispatch(stage: &mut Stage, events: &Value) -> Value {
    let events: Vec<u64> = serde_json::from_value(events.clone()).unwrap();
    stage.raised = stage.raised.saturating_sub(events.len());
    let (mut backlog, mut handout) = (Backlog::new(), Handout::new());
    backlog.push(events.into());
    stage.dispatcher.dispatch(&mut backlog, &mut handout);
    let sent: Vec<Value> = handout
        .deliveries
        .into_iter()
        .map(|Delivery { to, events, .. }| json!([format!("c{}", to.0), events.into_vec()]))
        .collect();
    let leftover = backlog.take(usize::MAX).into_vec();
    json!({ "sent": sent, "leftover": leftover })
}

/// `c12` is subscription 12.
fn number(name: &Value) -> u64 {
    name.as_str().unwrap()[1..].parse().unwrap()
}

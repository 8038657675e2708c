//! What a step did: as recorded, and as found here.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::trace::{number, numbers};

/// A field is `None` where a step of its kind has no such result.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Observed {
    /// How GenStage calls what went wrong.
    pub(crate) error: Option<String>,
    /// Batches, by subscription. In which order different subscriptions get theirs is not compared,
    /// unless they are in `order`.
    pub(crate) sent: Option<BTreeMap<u64, Vec<Vec<u64>>>>,
    pub(crate) order: Option<Vec<u64>>,
    pub(crate) leftover: Option<Vec<u64>>,
    pub(crate) discarded: Option<u64>,
    /// What is raised upstream.
    pub(crate) demand: Option<u64>,
    pub(crate) infos: Vec<u64>,
    pub(crate) self_asks: BTreeMap<u64, u64>,
}

impl Observed {
    pub(crate) fn recorded(step: &Value, in_order: bool) -> Self {
        let get = |key| step.get(key).filter(|value| !value.is_null());
        let count = |key| get(key).map(|value| value.as_u64().unwrap());
        let list = |key| get(key).map_or(&[][..], |value| value.as_array().unwrap());
        let error = get("error").or_else(|| step["result"].get("error"));
        let mut observed = Self {
            error: error.map(|error| error.as_str().unwrap().to_owned()),
            leftover: get("leftover").map(numbers),
            discarded: count("discarded"),
            demand: count("demand"),
            infos: list("infos").iter().map(number).collect(),
            ..Self::default()
        };
        if get("sent").is_some() {
            let batch = |batch: &Value| (number(&batch[0]), numbers(&batch[1]));
            observed.set_sent(list("sent").iter().map(batch).collect(), in_order);
        }
        for ask in list("self_asks") {
            *observed.self_asks.entry(number(&ask[0])).or_default() += ask[1].as_u64().unwrap();
        }
        observed
    }

    pub(crate) fn set_sent(&mut self, mut sent: Vec<(u64, Vec<u64>)>, in_order: bool) {
        // A batch without events is none.
        sent.retain(|(_, events)| !events.is_empty());
        self.order = in_order.then(|| sent.iter().map(|(to, _)| *to).collect());
        let by_subscription = self.sent.insert(BTreeMap::new());
        for (to, events) in sent {
            by_subscription.entry(to).or_default().push(events);
        }
    }
}

/// Checks what is recorded besides what a dispatcher does: how it is written down, and complaints.
pub(crate) fn check_form(step: &Value, complaints: &[Value]) -> Result<(), String> {
    let list = |key: &str| {
        step.get(key)
            .and_then(Value::as_array)
            .map_or(&[][..], |it| it)
    };
    let all = list("sent").iter().chain(list("self_asks"));
    let is_pair = |pair: &Value| pair.as_array().is_some_and(|pair| pair.len() == 2);
    let is_spared = |to: &Value| list("self_asks").iter().any(|ask| ask[0] == *to);
    let may_be_sent = |sent: &Value| sent[1] != Value::Array(Vec::new()) || is_spared(&sent[0]);
    let is_done = step["result"] == "ok" || step["result"]["error"].is_string();
    if !all.clone().all(is_pair) || !list("sent").iter().all(may_be_sent) {
        return Err("nobody is sent such a thing".to_owned());
    }
    if is_done != (step["op"] == "subscribe") || is_done && !step["opts"].is_object() {
        return Err("no subscription is made so".to_owned());
    }
    if list("warnings") != complaints {
        return Err(format!("{complaints:?} must be said, recorded {step}"));
    }
    Ok(())
}

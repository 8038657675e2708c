//! What the outcome of a scenario of whole pipelines says in so many words: how it is written down, and
//! reasons, of which ours know less detail. It must agree with what was done.

use serde_json::{Value, json};

/// # Errors
///
/// If an outcome cannot be that of this scenario.
pub(crate) fn check_form(kind: &str, spec: &Value, outcome: &Value) -> Result<(), String> {
    let (fields, mut found) = (fields(kind, spec, outcome), keys(outcome));
    found.sort_unstable();
    if found != fields {
        return Err(format!(
            "an outcome of {kind} has {fields:?}, not {found:?}"
        ));
    }
    for (field, expected) in reasons(kind, spec, outcome) {
        if outcome[field] != expected {
            let found = &outcome[field];
            return Err(format!(
                "{field} is {found}, and {expected} was to be expected"
            ));
        }
    }
    match kind {
        "multi_producer" => check_stops(spec, outcome),
        "resubscribe" => check_log(spec, outcome),
        "through" if spec["stop"] != "normal" => Err("its producer ends well".to_owned()),
        _ => Ok(()),
    }
}

fn keys(object: &Value) -> Vec<&str> {
    let keys = object.as_object().unwrap().keys();
    keys.map(String::as_str).collect()
}

fn fields(kind: &str, spec: &Value, outcome: &Value) -> &'static [&'static str] {
    match kind {
        "chain" => &[
            "batches",
            "consumer_cancelled",
            "consumer_exit",
            "demands",
            "producer_exit",
        ],
        "enumerable" => &[
            "batches",
            "consumer_cancelled",
            "consumer_exit",
            "producer_exit",
        ],
        "through" => &["alive", "consumer_events", "first_hop_cancelled"],
        "through_stop" => &[
            "consumer_cancelled",
            "consumer_events",
            "consumer_exit",
            "hop_cancelled",
            "hop_exit",
            "producer_exit",
        ],
        "buffer_overflow" => &["batches", "buffered", "chunks", "demands"],
        "accumulate_broadcast" => &["demands_before_forward", "events"],
        "partition_split" => &["events"],
        "fanout" => &["each_increasing", "union_sorted_is_all"],
        "manual_cancel" => &[
            "batches",
            "consumer_cancelled",
            "consumer_exit",
            "demands",
            "late_ask",
            "producer_alive",
            "producer_cancelled",
        ],
        "multi_producer" => &["batches", "stops"],
        "resubscribe" => &["consumer_cancelled", "consumer_exit", "producer_log"],
        "consumer_crash" => &[
            "demands",
            "first_batches",
            "producer_cancelled",
            "second_batches",
        ],
        "stream" => &["ended", "seen"],
        "on_cancel_stop" => &["producer_after_each_cancel"],
        "options" if outcome["result"] == "ok" => {
            &["cancel", "first_ask", "max_demand", "min_demand", "result"]
        }
        "options" => &["result", "text"],
        "noproc" if spec["at_init"] == true => &["start"],
        "noproc" => &["consumer_exit", "subscribe"],
        other => panic!("what is `{other}`?"),
    }
}

/// Fields of which the spec says what they are, if they are anything.
fn reasons(kind: &str, spec: &Value, outcome: &Value) -> Vec<(&'static str, Value)> {
    let stop = match kind {
        "enumerable" => &json!("normal"),
        _ => &spec["stop"],
    };
    let reason = &spec["reason"];
    let down = json!([["down", stop]]);
    let cancel = json!([["cancel", reason]]);
    let if_any = |field: &'static str, reason: &Value| match &outcome[field] {
        Value::Null => (field, Value::Null),
        _ => (field, reason.clone()),
    };
    match kind {
        "chain" | "enumerable" => vec![
            ("consumer_cancelled", down),
            ("producer_exit", stop.clone()),
            if_any("consumer_exit", stop),
        ],
        "through" => vec![("first_hop_cancelled", down)],
        "through_stop" => vec![
            ("hop_cancelled", down.clone()),
            ("producer_exit", stop.clone()),
            if_any("hop_exit", stop),
            if_any("consumer_exit", stop),
            match outcome["hop_exit"].is_null() {
                true => ("consumer_cancelled", json!([])),
                false => ("consumer_cancelled", down),
            },
        ],
        "manual_cancel" => vec![
            ("producer_cancelled", cancel.clone()),
            ("consumer_cancelled", cancel),
            if_any("consumer_exit", reason),
            // Who has ended does not ask.
            match outcome["consumer_exit"].is_null() {
                true => ("late_ask", json!("ignored")),
                false => ("late_ask", Value::Null),
            },
        ],
        "resubscribe" => vec![
            ("consumer_cancelled", cancel),
            if_any("consumer_exit", reason),
        ],
        "consumer_crash" => vec![("producer_cancelled", json!([["down", "boom"]]))],
        "options" if outcome["result"] == "ok" => vec![match &spec["cancel"] {
            Value::Null => ("cancel", json!("permanent")),
            cancel => ("cancel", cancel.clone()),
        }],
        "options" => {
            let option = &outcome["result"]["option"];
            vec![("result", json!({ "error": "bad_opts", "option": option }))]
        }
        _ => Vec::new(),
    }
}

/// The producers are stopped one after another, until the consumer ends.
fn check_stops(spec: &Value, outcome: &Value) -> Result<(), String> {
    let list = |list: &Value| list.as_array().unwrap().clone();
    let (producers, stops) = (list(&spec["producers"]), list(&outcome["stops"]));
    let is_over = |stop: &Value| !stop["consumer_exit"].is_null();
    let until = stops
        .iter()
        .position(is_over)
        .unwrap_or(producers.len() - 1);
    if stops.len() != until + 1 {
        return Err(format!("{} producers are stopped", stops.len()));
    }
    for (producer, stop) in producers.iter().zip(&stops) {
        let reason = &producer["stop"];
        let exit = if is_over(stop) { reason } else { &Value::Null };
        let expected = json!({
            "producer": producer["name"], "reason": reason,
            "cancelled": ["down", reason], "consumer_exit": exit,
        });
        if *stop != expected {
            return Err(format!(
                "{stop} is recorded, and {expected} was to be expected"
            ));
        }
    }
    Ok(())
}

/// The first subscription is cancelled; the second goes down with its consumer, if it does.
fn check_log(spec: &Value, outcome: &Value) -> Result<(), String> {
    let mut kinds = ["cancel", "down"].into_iter();
    for entry in outcome["producer_log"].as_array().unwrap() {
        let expected = match entry[0].as_str() {
            Some("subscribed") => json!(["subscribed"]),
            Some("demand") => json!(["demand", entry[1]]),
            _ => json!(["cancelled", kinds.next(), spec["reason"]]),
        };
        if *entry != expected {
            return Err(format!(
                "{entry} is recorded, and {expected} was to be expected"
            ));
        }
    }
    Ok(())
}

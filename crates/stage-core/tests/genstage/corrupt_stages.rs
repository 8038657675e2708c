//! Ways to make the trace of a stage wrong.

use serde_json::{Value, json};

use crate::corrupt::{Corruption, any_step};

pub(crate) const OF_STAGES: &[Corruption] = &[
    ("an event is not sent", |s| {
        any_entry(s, "send", |entry| events(entry, 2).pop().is_some())
    }),
    ("an event is sent twice", |s| {
        any_entry(s, "send", |entry| {
            let events = events(entry, 2);
            events.extend(events.last().cloned());
            !events.is_empty()
        })
    }),
    ("events change places", |s| {
        any_entry(s, "send", |entry| {
            let events = events(entry, 2);
            let differ = events.len() > 1 && events[0] != events[1];
            if differ {
                events.swap(0, 1);
            }
            differ
        })
    }),
    ("a batch goes to another", |s| {
        any_entry(s, "send", |entry| {
            entry[1] = json!("c999");
            !events(entry, 2).is_empty()
        })
    }),
    ("a batch is split", |s| {
        any_step(s, |step| split(step, "send"))
    }),
    ("more is asked of the producer", |s| {
        any_entry(s, "demand", |entry| add(entry, 1))
    }),
    ("the producer makes less", |s| {
        any_entry(s, "demand", |entry| events(entry, 2).pop().is_some())
    }),
    ("the producer is not asked", |s| {
        any_step(s, |step| remove(step, "demand"))
    }),
    ("more is asked for", |s| {
        any_entry(s, "ask", |entry| add(entry, 2))
    }),
    ("nothing is asked for", |s| {
        any_step(s, |step| remove(step, "ask"))
    }),
    ("the handler is given less", |s| {
        any_entry(s, "events_in", |entry| events(entry, 2).pop().is_some())
    }),
    ("the handler is given smaller batches", |s| {
        any_step(s, |step| split(step, "events_in"))
    }),
    ("more is discarded", |s| {
        any_entry(s, "discarded", |entry| add(entry, 1))
    }),
    ("nothing is discarded", |s| {
        any_step(s, |step| remove(step, "discarded"))
    }),
    ("less is too much", |s| {
        any_entry(s, "excess", |entry| add(entry, 1))
    }),
    ("a notice is lost", |s| {
        any_step(s, |step| remove(step, "info"))
    }),
    ("a notice is early", |s| {
        any_step(s, |step| {
            step["op"] == "ask" && {
                let log = step["log"].as_array_mut().unwrap();
                log.push(json!(["info", "i999"]));
                true
            }
        })
    }),
    ("an end is another", |s| {
        any_entry(s, "cancelled", |entry| {
            entry[3] = json!("another");
            true
        })
    }),
    ("an end is not told", |s| {
        any_step(s, |step| remove(step, "cancelled"))
    }),
    ("who has come is not told", |s| {
        any_step(s, |step| {
            remove(step, "subscribed") || remove(step, "subscribed_to")
        })
    }),
    ("who is unknown is served", |s| {
        any_step(s, |step| {
            let log = step["log"].as_array_mut().unwrap();
            let before = log.len();
            log.retain(|entry| entry[2] != "unknown_subscription");
            log.len() < before
        })
    }),
    ("more is buffered", |s| {
        any_step(s, |step| {
            let buffered = step.get("buffered").and_then(Value::as_u64);
            buffered.is_some_and(|buffered| {
                step["buffered"] = json!(buffered + 1);
                true
            })
        })
    }),
    ("it goes on", |s| {
        any_step(s, |step| {
            step.as_object_mut().unwrap().remove("exit").is_some()
        })
    }),
    ("it ends for another reason", |s| {
        any_step(s, |step| {
            let ends = step.get("exit").is_some();
            if ends {
                step["exit"] = json!("another");
            }
            ends
        })
    }),
];

/// The first entry of this kind that has a place for it.
fn any_entry(scenario: &mut Value, kind: &str, corrupt: impl Fn(&mut Value) -> bool) -> bool {
    any_step(scenario, |step| {
        let mut entries = step["log"].as_array_mut().unwrap().iter_mut();
        entries.any(|entry| {
            let mut corrupted = entry.clone();
            let is_it = entry[0] == kind && corrupt(&mut corrupted);
            if is_it {
                *entry = corrupted;
            }
            is_it
        })
    })
}

fn events(entry: &mut Value, at: usize) -> &mut Vec<Value> {
    entry[at].as_array_mut().unwrap()
}

fn add(entry: &mut Value, at: usize) -> bool {
    entry[at] = json!(entry[at].as_u64().unwrap() + 1);
    true
}

fn remove(step: &mut Value, kind: &str) -> bool {
    let log = step["log"].as_array_mut().unwrap();
    let at = log.iter().position(|entry| entry[0] == kind);
    at.is_some_and(|at| {
        log.remove(at);
        true
    })
}

fn split(step: &mut Value, kind: &str) -> bool {
    let log = step["log"].as_array_mut().unwrap();
    // Where too much comes, or selectors drop events, batches may be others.
    let is_loose = |entry: &Value| entry[0] == "excess" || entry[0] == "self_ask";
    if log.iter().any(is_loose) {
        return false;
    }
    let is_long = |entry: &Value| entry[0] == kind && entry[2].as_array().unwrap().len() > 1;
    let Some(at) = log.iter().position(is_long) else {
        return false;
    };
    let rest = log[at][2].as_array_mut().unwrap().split_off(1);
    let rest = json!([kind, log[at][1], rest]);
    log.insert(at + 1, rest);
    true
}

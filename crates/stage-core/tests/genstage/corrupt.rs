//! Ways to make a trace wrong. Each says whether it has found a place for it.

use serde_json::{Value, json};

use crate::trace::disputed_from;

pub(crate) type Corruption = (&'static str, fn(&mut Value) -> bool);

pub(crate) const OF_DISPATCHERS: &[Corruption] = &[
    ("batches go to the wrong one", |s| {
        any_step(s, swap_receivers)
    }),
    ("an event is not sent", |s| {
        any_batch(s, |batch| batch.pop().is_some())
    }),
    ("an event is sent twice", |s| any_batch(s, repeat)),
    ("events change places", |s| {
        any_batch(s, |batch| swap(batch))
    }),
    ("a batch is split", |s| any_step(s, split_batch)),
    ("a batch is left over", |s| any_step(s, leave_over)),
    ("what is left over is lost", |s| {
        any_step(s, |step| pop(step, "leftover"))
    }),
    ("more is raised", |s| {
        any_step(s, |step| add(step, "demand", 1))
    }),
    ("less is raised", |s| {
        any_step(s, |step| add(step, "demand", -1))
    }),
    ("a notice is lost", |s| {
        any_step(s, |step| pop(step, "infos"))
    }),
    ("a notice is early", |s| any_step(s, invent_info)),
    ("more is discarded", |s| {
        any_step(s, |step| add(step, "discarded", 1))
    }),
    ("less is asked again", |s| {
        any_step(s, |step| pop(step, "self_asks"))
    }),
    ("one that was refused is let in", |s| any_step(s, let_in)),
    ("an error is forgotten", |s| {
        any_step(s, |step| remove(step, "error"))
    }),
    ("one that was let in is refused", |s| any_step(s, refuse)),
];

pub(crate) const OF_BUFFERS: &[Corruption] = &[
    ("more is dropped", |s| {
        any_step(s, |step| add(step, "excess", 1))
    }),
    ("less is dropped", |s| {
        any_step(s, |step| add(step, "excess", -1))
    }),
    ("an event is not given", |s| {
        any_step(s, |step| is_take(step) && pop(step, "events"))
    }),
    ("events change places", |s| {
        any_step(s, |step| is_take(step) && swap_in(step, "events"))
    }),
    ("a notice is lost", |s| {
        any_step(s, |step| pop(step, "perms"))
    }),
    ("notices change places", |s| {
        any_step(s, |step| swap_in(step, "perms"))
    }),
    ("more remains", |s| {
        any_step(s, |step| add(step, "remaining", 1))
    }),
    ("the size is wrong", |s| {
        any_step(s, |step| add(step, "size", 1))
    }),
    ("a notice is not kept", |s| {
        any_step(s, |step| replace(step, "stored", "empty"))
    }),
    ("a notice is kept", |s| {
        any_step(s, |step| replace(step, "empty", "stored"))
    }),
    ("no size is an error", |s| {
        s["error"].is_string() && remove(s, "error")
    }),
];

/// The first undisputed step that has a place for it.
pub(crate) fn any_step(scenario: &mut Value, corrupt: impl Fn(&mut Value) -> bool) -> bool {
    let undisputed = disputed_from(scenario);
    let steps = scenario["steps"].as_array_mut().unwrap().iter_mut();
    steps.take(undisputed).any(corrupt)
}

fn any_batch(scenario: &mut Value, corrupt: impl Fn(&mut Vec<Value>) -> bool) -> bool {
    any_step(scenario, |step| {
        let mut batches = step["sent"].as_array_mut().into_iter().flatten();
        batches.any(|batch| corrupt(batch[1].as_array_mut().unwrap()))
    })
}

fn swap_receivers(step: &mut Value) -> bool {
    match step["sent"].as_array_mut().map(Vec::as_mut_slice) {
        Some([first, second, ..]) if first[0] != second[0] && first[1] != second[1] => {
            std::mem::swap(&mut first[0], &mut second[0]);
            true
        }
        _ => false,
    }
}

fn repeat(batch: &mut Vec<Value>) -> bool {
    batch.extend(batch.last().cloned());
    !batch.is_empty()
}

fn swap(batch: &mut [Value]) -> bool {
    let differ = batch.len() > 1 && batch[0] != batch[1];
    if differ {
        batch.swap(0, 1);
    }
    differ
}

fn split_batch(step: &mut Value) -> bool {
    let Some(sent) = step["sent"].as_array_mut() else {
        return false;
    };
    let is_long = |batch: &Value| batch[1].as_array().unwrap().len() > 1;
    let Some(at) = sent.iter().position(is_long) else {
        return false;
    };
    let rest = sent[at][1].as_array_mut().unwrap().split_off(1);
    let rest = json!([sent[at][0], rest]);
    sent.insert(at + 1, rest);
    true
}

fn leave_over(step: &mut Value) -> bool {
    let Some(last) = step["sent"].as_array_mut().and_then(Vec::pop) else {
        return false;
    };
    let (events, leftover) = (last[1].as_array().unwrap(), step["leftover"].as_array_mut());
    leftover.is_some_and(|leftover| {
        leftover.splice(0..0, events.iter().cloned());
        !events.is_empty()
    })
}

fn invent_info(step: &mut Value) -> bool {
    step["op"] == "ask" && step["infos"].is_null() && {
        step["infos"] = json!(["i1"]);
        true
    }
}

fn let_in(step: &mut Value) -> bool {
    step["result"].is_object() && {
        step["result"] = json!("ok");
        step["demand"] = json!(0);
        true
    }
}

fn refuse(step: &mut Value) -> bool {
    step["op"] == "subscribe" && step["result"] == "ok" && {
        step["result"] = json!({ "error": "already_subscribed" });
        remove(step, "demand")
    }
}

fn is_take(step: &Value) -> bool {
    step["op"] == "take"
}

fn add(step: &mut Value, key: &str, more: i64) -> bool {
    let sum = step.get(key).and_then(Value::as_i64).map(|n| n + more);
    sum.filter(|sum| *sum >= 0).is_some_and(|sum| {
        step[key] = json!(sum);
        true
    })
}

fn pop(step: &mut Value, key: &str) -> bool {
    let list = step.get_mut(key).and_then(Value::as_array_mut);
    list.is_some_and(|list| list.pop().is_some())
}

fn swap_in(step: &mut Value, key: &str) -> bool {
    let list = step.get_mut(key).and_then(Value::as_array_mut);
    list.is_some_and(|list| swap(list))
}

fn replace(step: &mut Value, old: &str, new: &str) -> bool {
    step["op"] == "store_permanent" && step["result"] == old && {
        step["result"] = json!(new);
        true
    }
}

fn remove(object: &mut Value, key: &str) -> bool {
    object.as_object_mut().unwrap().remove(key).is_some()
}

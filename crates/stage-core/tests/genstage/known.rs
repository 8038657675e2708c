//! Which fields there are in a trace, by the traces' FORMAT.md. One that is not listed here says something that
//! the replay does not understand, and what is not understood cannot be identical.

use std::{collections::BTreeSet, iter};

use serde_json::{Value, json};

use crate::{
    files::FILES,
    tally::Tally,
    trace::{Traces, steps},
};

/// The file or the kind of scenario, the place, and the fields that may be there. In a place, `step.ask` is a
/// step of that kind, `[]` each element of a list, and `*` any name.
type Fields = (&'static str, &'static str, &'static str);

/// The same, of several.
type OfSeveral = (
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
);

/// Only a help to whoever reads a trace: a name, and a note. (There is one more, the `state` of dispatchers,
/// which is how GenStage keeps its books. It is left out where traces are read.)
const INFORMATIVE: [&str; 2] = ["seed", "profile"];

const DISPATCHERS: [&str; 3] = [
    "demand_dispatcher",
    "broadcast_dispatcher",
    "partition_dispatcher",
];
const UPSTREAM: [&str; 2] = ["consumer_batches", "producer_consumer_stage"];
const DOWNSTREAM: [&str; 2] = ["producer_stage", "producer_consumer_stage"];
const PIPELINES: [&str; 16] = [
    "accumulate_broadcast",
    "buffer_overflow",
    "chain",
    "consumer_crash",
    "enumerable",
    "fanout",
    "manual_cancel",
    "multi_producer",
    "noproc",
    "on_cancel_stop",
    "options",
    "partition_split",
    "resubscribe",
    "stream",
    "through",
    "through_stop",
];

/// Fields of several files.
const SHARED: &[OfSeveral] = &[
    (
        &DISPATCHERS,
        &[
            ("", "dispatcher options steps quirks quirk_from"),
            ("step.subscribe", "consumer opts process result demand"),
            ("step.subscribe.result", "error"),
            ("step.ask", "consumer count self demand sent error infos"),
            ("step.dispatch", "events sent leftover error infos"),
            ("step.cancel", "consumer demand sent error infos"),
            ("step.info", "msg infos"),
        ],
    ),
    (
        &UPSTREAM,
        &[
            ("", "stage options steps quirks quirk_from"),
            ("step.subscribe_to", "producer opts result log"),
            (
                "step.subscribe_to.opts",
                "max_demand min_demand cancel mode",
            ),
            ("step.subscribe_to.result", "error"),
            ("step.deliver", "producer events log exit"),
            ("step.producer_cancels", "producer reason log exit"),
            ("step.down", "who reason log exit"),
            ("step.request_cancel", "producer reason log exit"),
            ("step.manual_ask", "producer count log exit"),
            ("step.info", "msg log exit"),
        ],
    ),
    (
        &DOWNSTREAM,
        &[
            ("", "stage options steps quirks quirk_from"),
            ("options", "dispatcher buffer_size buffer_keep"),
            (
                "options.dispatcher",
                "type max_demand shuffle_demands_on_first_dispatch partitions hash",
            ),
            ("options.dispatcher.hash", "mod map mul"),
            (
                "step.subscribe",
                "consumer opts process cancels cancel_reason log exit",
            ),
            ("step.subscribe.opts", "selector partition"),
            ("step.subscribe.opts.selector", "mod in"),
            ("step.duplicate_subscribe", "consumer log exit"),
            ("step.ask", "consumer count log exit"),
            ("step.cancel", "consumer reason log exit"),
            ("step.down", "who reason log exit"),
            ("step.info", "msg log exit"),
            // The size of the buffer, of every kind of step.
            ("step.*", "buffered"),
        ],
    ),
    (&PIPELINES, &[("", "kind spec outcome")]),
    (
        &["chain", "enumerable", "through", "through_stop", "stream"],
        &[("spec", "events")],
    ),
    (
        &["through", "through_stop"],
        &[
            ("spec", "consumer"),
            ("spec.consumer", "max_demand min_demand cancel"),
        ],
    ),
    (
        &["accumulate_broadcast", "partition_split"],
        &[
            ("spec", "events consumers"),
            ("outcome", "events"),
            ("outcome.events", "*"),
        ],
    ),
];

/// Fields of one file or kind.
const OWN: &[Fields] = &[
    (
        "demand_dispatcher",
        "options",
        "max_demand shuffle_demands_on_first_dispatch",
    ),
    ("demand_dispatcher", "step.subscribe.opts", ""),
    ("demand_dispatcher", "step.ask", "warnings"),
    ("broadcast_dispatcher", "options", ""),
    ("broadcast_dispatcher", "step.subscribe.opts", "selector"),
    (
        "broadcast_dispatcher",
        "step.subscribe.opts.selector",
        "mod in",
    ),
    ("broadcast_dispatcher", "step.dispatch", "self_asks"),
    ("partition_dispatcher", "options", "partitions hash"),
    ("partition_dispatcher", "options.hash", "mod map mul"),
    ("partition_dispatcher", "step.subscribe.opts", "partition"),
    ("partition_dispatcher", "step.dispatch", "discarded"),
    ("buffer", "", "options error steps"),
    ("buffer", "options", "size keep"),
    ("buffer", "step.store", "events excess perms size"),
    ("buffer", "step.store_permanent", "msg result size"),
    (
        "buffer",
        "step.take",
        "count result remaining events perms size",
    ),
    ("consumer_batches", "options", "handler"),
    ("consumer_batches", "options.handler", "stop_on"),
    ("producer_stage", "options", "demand producer"),
    ("producer_stage", "options.producer", "policy k limit stop"),
    ("producer_stage", "step.emit", "count events log exit"),
    (
        "producer_stage",
        "step.feed",
        "count queued events log exit",
    ),
    ("producer_stage", "step.demand_mode", "mode log exit"),
    ("producer_consumer_stage", "options", "handler"),
    (
        "producer_consumer_stage",
        "options.handler",
        "mod in repeat mul stop_on",
    ),
    ("consumer_supervisor", "", "options steps"),
    (
        "consumer_supervisor",
        "options",
        "restart max_restarts ignore error",
    ),
    ("consumer_supervisor", "options.ignore", "mod eq"),
    ("consumer_supervisor", "options.error", "mod eq"),
    (
        "consumer_supervisor",
        "step.*",
        "started asks active children exit",
    ),
    ("consumer_supervisor", "step.subscribe_to", "producer opts"),
    (
        "consumer_supervisor",
        "step.subscribe_to.opts",
        "max_demand min_demand",
    ),
    ("consumer_supervisor", "step.deliver", "producer events"),
    ("consumer_supervisor", "step.child_exit", "event reason"),
    ("consumer_supervisor", "step.terminate_child", "event"),
    ("consumer_supervisor", "step.start_child", "event result"),
    ("consumer_supervisor", "step.producer_cancels", "producer"),
    (
        "chain",
        "outcome",
        "demands batches producer_exit consumer_exit consumer_cancelled",
    ),
    ("chain", "spec", "max_demand min_demand cancel stop"),
    ("enumerable", "spec", "max_demand min_demand cancel ends"),
    (
        "enumerable",
        "outcome",
        "batches producer_exit consumer_exit consumer_cancelled",
    ),
    ("through", "spec", "hops stop"),
    (
        "through",
        "spec.hops[]",
        "handler max_demand min_demand cancel",
    ),
    ("through", "spec.hops[].handler", "mod in repeat mul"),
    (
        "through",
        "outcome",
        "consumer_events alive first_hop_cancelled",
    ),
    ("through_stop", "spec", "hop stop"),
    ("through_stop", "spec.hop", "max_demand min_demand cancel"),
    (
        "through_stop",
        "outcome",
        "consumer_events hop_exit hop_cancelled consumer_exit consumer_cancelled producer_exit",
    ),
    (
        "buffer_overflow",
        "spec",
        "buffer_size buffer_keep chunks max_demand min_demand",
    ),
    (
        "buffer_overflow",
        "outcome",
        "chunks batches demands buffered",
    ),
    (
        "buffer_overflow",
        "outcome.chunks[]",
        "emitted discarded buffered",
    ),
    (
        "accumulate_broadcast",
        "spec.consumers[]",
        "name max_demand min_demand selector",
    ),
    (
        "accumulate_broadcast",
        "spec.consumers[].selector",
        "mod in",
    ),
    ("accumulate_broadcast", "outcome", "demands_before_forward"),
    ("partition_split", "spec", "partitions hash"),
    ("partition_split", "spec.hash", "mod map mul"),
    (
        "partition_split",
        "spec.consumers[]",
        "name max_demand min_demand partition",
    ),
    ("fanout", "spec", "events consumers max_demand min_demand"),
    ("fanout", "outcome", "union_sorted_is_all each_increasing"),
    (
        "manual_cancel",
        "spec",
        "asks cancel reason max_demand min_demand",
    ),
    (
        "manual_cancel",
        "outcome",
        "demands batches late_ask producer_alive producer_cancelled consumer_exit consumer_cancelled",
    ),
    ("multi_producer", "spec", "producers"),
    (
        "multi_producer",
        "spec.producers[]",
        "name events first_event max_demand min_demand cancel stop",
    ),
    ("multi_producer", "outcome", "batches stops"),
    ("multi_producer", "outcome.batches", "*"),
    (
        "multi_producer",
        "outcome.stops[]",
        "producer reason cancelled consumer_exit",
    ),
    ("resubscribe", "spec", "first second reason"),
    ("resubscribe", "spec.first", "max_demand min_demand cancel"),
    ("resubscribe", "spec.second", "max_demand min_demand cancel"),
    (
        "resubscribe",
        "outcome",
        "producer_log consumer_cancelled consumer_exit",
    ),
    (
        "consumer_crash",
        "spec",
        "crash_at max_demand min_demand second_asks",
    ),
    (
        "consumer_crash",
        "outcome",
        "demands first_batches second_batches producer_cancelled",
    ),
    ("stream", "spec", "max_demand min_demand cancel stop take"),
    ("stream", "outcome", "seen ended"),
    ("on_cancel_stop", "spec", "on_cancel consumers"),
    ("on_cancel_stop", "outcome", "producer_after_each_cancel"),
    ("options", "spec", "max_demand min_demand cancel"),
    (
        "options",
        "outcome",
        "result max_demand min_demand cancel first_ask text",
    ),
    ("options", "outcome.result", "error option"),
    ("noproc", "spec", "at_init cancel"),
    ("noproc", "outcome", "start subscribe consumer_exit"),
    ("noproc", "outcome.start", "error"),
];

/// # Errors
///
/// If there is a field in this scenario that nothing is known of, by its name.
pub(crate) fn check(file: &str, scenario: &Value) -> Result<(), String> {
    let kind = match file {
        "end_to_end" => scenario["kind"].as_str().unwrap_or_default(),
        file => file,
    };
    check_at(kind, "", scenario)?;
    check_names(scenario)
}

/// What came of whom is told of those that there are.
fn check_names(scenario: &Value) -> Result<(), String> {
    let spec = &scenario["spec"];
    for (field, all) in [("events", "consumers"), ("batches", "producers")] {
        let told = scenario["outcome"][field].as_object();
        let mut names = told.into_iter().flat_map(|told| told.keys());
        let is_there = |name: &String| {
            let mut all = spec[all].as_array().into_iter().flatten();
            all.any(|of| of["name"] == **name)
        };
        if let Some(name) = names.find(|name| !is_there(name)) {
            return Err(format!("nothing is known of a `{name}` in `{all}`"));
        }
    }
    Ok(())
}

fn check_at(kind: &str, place: &str, value: &Value) -> Result<(), String> {
    match value {
        Value::Array(values) => {
            let place = format!("{place}[]");
            let mut values = values.iter();
            values.try_for_each(|value| check_at(kind, &place, value))
        }
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            if !may_be_at(kind, place, name) {
                return Err(format!(
                    "nothing is known of a field `{name}` in `{kind}`, `{place}`"
                ));
            }
            match (place, name.as_str()) {
                ("", "steps") => value.as_array().into_iter().flatten().try_for_each(|step| {
                    let op = step["op"].as_str().unwrap_or_default();
                    check_at(kind, &format!("step.{op}"), step)
                }),
                ("", _) => check_at(kind, name, value),
                _ => check_at(kind, &format!("{place}.{name}"), value),
            }
        }),
        _ => Ok(()),
    }
}

fn may_be_at(kind: &str, place: &str, name: &str) -> bool {
    let is_step = place
        .strip_prefix("step.")
        .is_some_and(|op| !op.contains('.'));
    let is_anywhere = match place {
        "" => INFORMATIVE.contains(&name),
        _ => is_step && name == "op",
    };
    let has_it = |at: &str, names: &str| {
        let is_there = at == place || at == "step.*" && is_step;
        is_there && names.split(' ').any(|known| known == name || known == "*")
    };
    let mut shared = SHARED.iter().filter(|(kinds, _)| kinds.contains(&kind));
    let mut own = OWN.iter().filter(|(of, ..)| *of == kind);
    is_anywhere
        || shared.any(|(_, fields)| fields.iter().any(|(at, names)| has_it(at, names)))
        || own.any(|(_, at, names)| has_it(at, names))
}

/// In whatever place a field is that nobody knows, the replay fails and names it.
#[test]
fn an_unknown_field_is_noticed_by_name() {
    const NAME: &str = "latency_of_mailbox";
    for file in FILES {
        let mut places = BTreeSet::new();
        for scenario in Traces::kept().scenarios(file.name).unwrap() {
            for pointer in objects(&scenario) {
                let mut strange = scenario.clone();
                let fields = strange.pointer_mut(&pointer).unwrap();
                // Elements are alike, if they are of one kind.
                let op = fields
                    .get("op")
                    .or(fields.get("kind"))
                    .unwrap_or(&Value::Null);
                let of = pointer.replace(|it: char| it.is_ascii_digit(), "");
                if !places.insert(format!("{op} {of}")) {
                    continue;
                }
                fields[NAME] = Value::Null;
                let error = file.verdict(&strange, &mut Tally::default()).unwrap_err();
                assert!(error.contains(NAME), "{}: {pointer}: {error}", file.name);
            }
        }
        println!("{}: {} places", file.title, places.len());
        assert!(places.len() > 3, "{}: only {places:?}", file.name);
    }
}

/// An entry of a kind that nobody knows fails the replay, and so does a kind of step.
#[test]
fn an_unknown_kind_is_noticed_by_name() {
    for file in FILES {
        for scenario in Traces::kept().scenarios(file.name).unwrap().take(5) {
            for (at, step) in steps(&scenario).iter().enumerate() {
                let mut strange = scenario.clone();
                strange["steps"][at]["op"] = json!("hibernate");
                let error = file.verdict(&strange, &mut Tally::default()).unwrap_err();
                assert!(error.contains("hibernate"), "{}: {error}", file.name);
                let Some(log) = step["log"].as_array() else {
                    continue;
                };
                for place in 0..=log.len() {
                    let mut strange = scenario.clone();
                    let log = strange["steps"][at]["log"].as_array_mut().unwrap();
                    log.insert(place, json!(["hibernated", "c1"]));
                    let error = file.verdict(&strange, &mut Tally::default()).unwrap_err();
                    assert!(error.contains("hibernated"), "{}: {error}", file.name);
                }
            }
        }
    }
}

/// Where there is an object in `value`.
fn objects(value: &Value) -> Vec<String> {
    let inner = |name: String, value: &Value| {
        let pointers = objects(value).into_iter();
        pointers.map(move |pointer| format!("/{name}{pointer}"))
    };
    match value {
        Value::Object(fields) => {
            let fields = fields.iter();
            let inside = fields.flat_map(|(name, value)| inner(name.clone(), value));
            iter::once(String::new()).chain(inside).collect()
        }
        Value::Array(values) => {
            let values = values.iter().enumerate();
            values
                .flat_map(|(at, value)| inner(at.to_string(), value))
                .collect()
        }
        _ => Vec::new(),
    }
}

//! `ConsumerSupervisor` against `Pool`.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use stage_core::{
    Restart, Window,
    protocol::{Ask, ChildEnd, ChildId, Children, Pool, SubscriptionId},
};

use crate::{corrupt::Corruption, tally::Tally};

/// The trace's restarts are within an hour, and all of it takes no time.
const SPAN: Duration = Duration::from_secs(3600);
const NOW: Duration = Duration::ZERO;

/// A pool, and who works on which event.
struct Supervisor {
    pool: Pool,
    children: BTreeMap<u64, ChildId>,
    /// Which events get no child: they are ignored, or an error.
    refused: [Rule; 2],
}

#[derive(Clone, Copy)]
struct Rule {
    modulus: u64,
    equal: u64,
}

pub(crate) const CORRUPTIONS: &[Corruption] = &[
    ("one more is asked for", ask_for_one_more),
    ("one less is started", start_one_less),
    ("a child ends differently", end_differently),
];

fn steps(scenario: &mut Value) -> impl Iterator<Item = &mut Value> {
    scenario["steps"].as_array_mut().unwrap().iter_mut()
}

fn ask_for_one_more(scenario: &mut Value) -> bool {
    let ask = steps(scenario)
        .filter_map(|step| step["asks"].get_mut(0))
        .last();
    ask.is_some_and(|ask| {
        ask[1] = json!(ask[1].as_u64().unwrap() + 1);
        true
    })
}

fn start_one_less(scenario: &mut Value) -> bool {
    let started = steps(scenario).filter_map(|step| step["started"].as_array_mut());
    started.filter_map(Vec::pop).next().is_some()
}

/// Lets a child that failed end well, or the other way round.
fn end_differently(scenario: &mut Value) -> bool {
    let is_transient = scenario["options"]["restart"] == "transient";
    let ended = steps(scenario)
        .filter(|step| step["op"] == "child_exit")
        .last();
    ended.filter(|_| is_transient).is_some_and(|step| {
        let is_graceful = is_graceful(&step["reason"]);
        step["reason"] = json!(if is_graceful { "boom" } else { "normal" });
        true
    })
}

pub(crate) fn replay(scenario: &Value, tally: &mut Tally) -> Result<(), String> {
    let mut supervisor = Supervisor::new(&scenario["options"]);
    tally.scenarios += 1;
    for (at, step) in scenario["steps"].as_array().unwrap().iter().enumerate() {
        let mut found = supervisor.perform(step);
        if step["op"] == "start_child" {
            let event = step["event"].as_u64().unwrap();
            found["result"] = result_of_start(&scenario["options"], event);
        }
        // Once it has ended, nobody counts its children.
        let keys: &[&str] = match step.get("exit") {
            Some(_) => &["asks", "exit"],
            None => &["asks", "exit", "started", "active", "children", "result"],
        };
        for &key in keys {
            if found[key] != step[key] {
                let (found, recorded) = (&found[key], &step[key]);
                return Err(format!("step {at}: {key} is {found}, recorded {recorded}"));
            }
        }
        tally.count(&[]);
    }
    Ok(())
}

/// What is told of a child that was started by hand.
pub(crate) fn result_of_start(options: &Value, event: u64) -> Value {
    let applies = |rule: &str| {
        let rule = &options[rule];
        Some(event % rule["mod"].as_u64().unwrap()) == rule["eq"].as_u64()
    };
    match (applies("ignore"), applies("error")) {
        (true, _) => json!("ignore"),
        (false, true) => json!({ "error": "refused" }),
        (false, false) => json!("ok"),
    }
}

impl Supervisor {
    fn new(options: &Value) -> Self {
        let most = options["max_restarts"].as_u64().unwrap() as usize;
        let restart = Restart::new(most, SPAN).waiting(Duration::ZERO, Duration::ZERO);
        Self {
            pool: Pool::new(match options["restart"].as_str().unwrap() {
                "temporary" => Children::Temporary,
                "transient" => Children::Transient(restart),
                other => panic!("what is `{other}`?"),
            }),
            children: BTreeMap::new(),
            refused: ["ignore", "error"].map(|rule| Rule {
                modulus: options[rule]["mod"].as_u64().unwrap(),
                equal: options[rule]["eq"].as_u64().unwrap(),
            }),
        }
    }

    fn perform(&mut self, step: &Value) -> Value {
        let producer = || SubscriptionId(number(&step["producer"]));
        let event = || step["event"].as_u64().unwrap();
        let (mut started, mut exit) = (Vec::new(), Value::Null);
        let ask = match step["op"].as_str().unwrap() {
            "subscribe_to" => {
                let count = |key: &str| step["opts"][key].as_u64().unwrap() as usize;
                let window = Window::new(count("max_demand")).with_min(count("min_demand"));
                Some((producer(), self.pool.subscribe(producer(), window)))
            }
            "deliver" => self.deliver(producer(), &step["events"], &mut started),
            "start_child" => {
                if !self.refuses(event()) {
                    self.children.insert(event(), self.pool.start_by_hand());
                    started.push(event());
                }
                None
            }
            "terminate_child" => {
                let child = self.children.remove(&event()).unwrap();
                self.pool.finished(child)
            }
            "child_exit" if is_graceful(&step["reason"]) => {
                let child = self.children.remove(&event()).unwrap();
                self.pool.finished(child)
            }
            "child_exit" => match self.pool.failed(self.children[&event()], NOW).unwrap() {
                ChildEnd::Finished(ask) => {
                    self.children.remove(&event());
                    ask
                }
                ChildEnd::Restart { after } => {
                    assert_eq!(after, Duration::ZERO);
                    started.push(event());
                    None
                }
                ChildEnd::Escalate(ask) => {
                    exit = json!("shutdown");
                    ask
                }
            },
            "producer_cancels" => {
                self.pool.cancel(producer());
                None
            }
            other => panic!("what is `{other}`?"),
        };
        let asks: Vec<Value> = ask.into_iter().map(shown).collect();
        let running = self.pool.running();
        json!({
            "asks": asks, "exit": exit, "started": started, "active": running, "children": running,
        })
    }

    fn deliver(
        &mut self,
        from: SubscriptionId,
        events: &Value,
        started: &mut Vec<u64>,
    ) -> Option<Ask> {
        let events: Vec<u64> = serde_json::from_value(events.clone()).unwrap();
        let (refused, fit): (Vec<u64>, Vec<u64>) =
            events.into_iter().partition(|&event| self.refuses(event));
        for event in fit {
            self.children.insert(event, self.pool.start(from));
            started.push(event);
        }
        self.pool.refused(from, refused.len())
    }

    fn refuses(&self, event: u64) -> bool {
        let mut rules = self.refused.iter();
        rules.any(|rule| event % rule.modulus == rule.equal)
    }
}

fn is_graceful(reason: &Value) -> bool {
    let reason = reason.as_str().unwrap();
    matches!(reason, "normal" | "shutdown") || reason.starts_with("shutdown:")
}

fn shown((from, demand): Ask) -> Value {
    json!([format!("p{}", from.0), demand.get()])
}

/// `p2` is subscription 2.
fn number(name: &Value) -> u64 {
    name.as_str().unwrap()[1..].parse().unwrap()
}

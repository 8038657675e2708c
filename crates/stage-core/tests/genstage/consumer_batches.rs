//! A consumer stage of GenStage's against a `Ledger` and a `Mode` for each subscription.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stage_core::{
    Demand, End, Mode,
    protocol::{Fate, Ledger, Reason},
};

use crate::{
    corrupt::Corruption,
    said::Said,
    tally::Tally,
    terms::Terms,
    trace::{is_graceful, steps},
};

const UNKNOWN: &str = "unknown_subscription";

struct Consumer {
    subscriptions: BTreeMap<String, Subscription>,
    stop_on: Option<u64>,
    log: Vec<Value>,
    /// Why the stage has ended.
    exit: Option<String>,
}

struct Subscription {
    /// `None` where somebody asks by hand.
    ledger: Option<Ledger>,
    mode: Mode,
}

pub(crate) fn replay(scenario: &Value, tally: &mut Tally) -> Result<(), String> {
    tally.scenarios += 1;
    let mut consumer = Consumer {
        subscriptions: BTreeMap::new(),
        stop_on: scenario["options"]["handler"]["stop_on"].as_u64(),
        log: Vec::new(),
        exit: None,
    };
    let mut said = Said::of(scenario);
    for (at, step) in steps(scenario).iter().enumerate() {
        said.check(step)?;
        consumer.perform(step)?;
        let log = Value::from(std::mem::take(&mut consumer.log));
        if log != step["log"] || json!(consumer.exit) != step["exit"] {
            let exit = &consumer.exit;
            return Err(format!(
                "step {at}: {log} and {exit:?} are found, recorded {step}"
            ));
        }
        tally.count(&[]);
    }
    Ok(())
}

impl Consumer {
    fn perform(&mut self, step: &Value) -> Result<(), String> {
        let name = |key: &str| step[key].as_str().unwrap();
        match step["op"].as_str().unwrap() {
            "subscribe_to" => {
                if let Some(terms) = Terms::of_step(step)? {
                    self.subscribe(name("producer"), &terms);
                }
            }
            "deliver" => self.deliver(name("producer"), &step["events"]),
            "producer_cancels" => self.end(name("producer"), "cancel", name("reason")),
            "down" => self.end(name("who"), "down", name("reason")),
            "request_cancel" => {
                self.log
                    .push(json!(["request_cancel", step["producer"], step["reason"]]));
            }
            "manual_ask" => {
                let count = step["count"].as_u64().unwrap() as usize;
                self.note_ask(name("producer"), Demand::new(count));
            }
            "info" => self.log.push(json!(["info", step["msg"]])),
            other => panic!("what is `{other}`?"),
        }
        Ok(())
    }

    fn subscribe(&mut self, producer: &str, terms: &Terms) {
        self.log.push(json!(["request_subscribe", producer]));
        self.log.push(json!(["subscribed_to", producer]));
        let ledger = (!terms.by_hand).then(|| {
            let (ledger, first) = Ledger::open(terms.window);
            self.note_ask(producer, Some(first));
            ledger
        });
        self.subscriptions.insert(
            producer.to_owned(),
            Subscription {
                ledger,
                mode: terms.mode,
            },
        );
    }

    fn note_ask(&mut self, producer: &str, ask: Option<Demand>) {
        if let Some(ask) = ask {
            self.log.push(json!(["ask", producer, ask.get()]));
        }
    }

    fn deliver(&mut self, producer: &str, events: &Value) {
        let events: Vec<u64> = serde_json::from_value(events.clone()).unwrap();
        let Some(mut subscription) = self.subscriptions.remove(producer) else {
            self.log.push(json!(["request_cancel", producer, UNKNOWN]));
            return;
        };
        match &mut subscription.ledger {
            Some(ledger) => self.take_in(producer, ledger, &events),
            None => self.handle(producer, &events),
        }
        self.subscriptions.insert(producer.to_owned(), subscription);
    }

    /// Takes a delivery in by portions. The ledger refuses what was not asked for, and says how much
    /// that is; our stages end there, and GenStage's handle it all the same, without counting it.
    fn take_in(&mut self, producer: &str, ledger: &mut Ledger, events: &[u64]) {
        let mut owed = ledger.outstanding();
        let mut excess = 0;
        if let Err(refused) = ledger.receive(events.len()) {
            excess = refused.received - refused.asked;
            assert_eq!(refused.asked, owed);
            ledger.receive(owed).unwrap();
        }
        let mut portions = Vec::new();
        let mut rest = events;
        while !rest.is_empty() {
            let (portion, others) = rest.split_at(ledger.portion(rest.len()));
            assert!(!portion.is_empty(), "nothing is ever taken in");
            let counted = portion.len().min(owed);
            if counted < portion.len() {
                self.log.push(json!(["excess", portion.len() - counted]));
                excess -= portion.len() - counted;
            }
            owed -= counted;
            portions.push((portion, counted));
            rest = others;
        }
        assert_eq!(excess, 0, "the ledger and the portions say the same");
        for (portion, counted) in portions {
            self.handle(producer, portion);
            if self.exit.is_some() {
                return;
            }
            let ask = ledger.settle(counted);
            self.note_ask(producer, ask);
        }
    }

    fn handle(&mut self, producer: &str, events: &[u64]) {
        self.log.push(json!(["events_in", producer, events]));
        if self.stop_on.is_some_and(|event| events.contains(&event)) {
            self.terminate("boom");
        }
    }

    fn end(&mut self, producer: &str, kind: &str, reason: &str) {
        let Some(subscription) = self.subscriptions.remove(producer) else {
            return;
        };
        self.log.push(json!(["cancelled", producer, kind, reason]));
        let end = match reason {
            "normal" => End::Completed,
            "already_subscribed" => End::Cancelled(Reason::AlreadySubscribed),
            reason if is_graceful(reason) => End::Cancelled(Reason::Shutdown),
            reason => End::Cancelled(Reason::Other(reason.into())),
        };
        if matches!(subscription.mode.on(&end), Fate::EndWell | Fate::Fail) {
            self.terminate(reason);
        }
    }

    fn terminate(&mut self, reason: &str) {
        self.log.push(json!(["terminate", reason]));
        self.exit = Some(reason.to_owned());
    }
}

/// The first entry of this kind in any log.
fn entry<'a>(scenario: &'a mut Value, kind: &str) -> Option<&'a mut Value> {
    let steps = scenario["steps"].as_array_mut()?.iter_mut();
    let mut entries = steps.flat_map(|step| step["log"].as_array_mut().into_iter().flatten());
    entries.find(|entry| entry[0] == kind)
}

pub(crate) const CORRUPTIONS: &[Corruption] = &[
    ("more is asked for", |s| {
        entry(s, "ask").is_some_and(|ask| {
            ask[2] = json!(ask[2].as_u64().unwrap() + 1);
            true
        })
    }),
    ("a batch is shorter", |s| {
        let batch = entry(s, "events_in").and_then(|entry| entry[2].as_array_mut());
        batch.is_some_and(|batch| batch.pop().is_some())
    }),
    ("less is too much", |s| {
        entry(s, "excess").is_some_and(|excess| {
            excess[1] = json!(excess[1].as_u64().unwrap() - 1);
            true
        })
    }),
    ("an end is another", |s| {
        entry(s, "cancelled").is_some_and(|cancelled| {
            cancelled[3] = json!("another");
            true
        })
    }),
    ("it goes on", |s| {
        let steps = s["steps"].as_array_mut().unwrap();
        steps
            .iter_mut()
            .any(|step| step.as_object_mut().unwrap().remove("exit").is_some())
    }),
];

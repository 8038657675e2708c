//! What a stage of GenStage's says besides what is compared with ours: complaints, messages to others
//! and to itself, and in which order. It must agree with what is compared, or the trace is wrong.

use std::{collections::BTreeMap, fmt::Debug};

use serde_json::{Value, json};

use crate::{
    deeds::{REFUSALS, text},
    order::Order,
    trace::disputed_from,
};

/// What is known of a stage's neighbours, from one step to the next.
#[derive(Default)]
pub(crate) struct Said {
    /// Of a dispatcher that complains.
    complaints: Option<Complaints>,
    /// Subscribers, and their processes.
    subscribers: BTreeMap<String, String>,
    /// How producers ended whose end may be handled later.
    ends: BTreeMap<String, (String, String)>,
    order: Order,
    /// How many steps there are until GenStage is known to be wrong.
    undisputed: usize,
}

/// The demand dispatcher of GenStage's complains of whoever asks for more at once than was usual.
pub(crate) struct Complaints {
    /// As set, or what was asked for first.
    usual: Option<u64>,
}

/// How many words an entry of this kind has.
const WORDS: [(&str, usize); 17] = [
    ("ask", 3),
    ("cancelled", 4),
    ("demand", 3),
    ("discarded", 2),
    ("events_in", 3),
    ("excess", 2),
    ("info", 2),
    ("log_duplicated_subscription", 1),
    ("request_cancel", 3),
    ("request_subscribe", 2),
    ("self_ask", 3),
    ("send", 3),
    ("send_cancel", 3),
    ("subscribed", 2),
    ("subscribed_to", 2),
    ("terminate", 2),
    ("warn_max_demand", 3),
];

impl Complaints {
    /// Of a dispatcher with these options, if it does complain.
    pub(crate) fn of(dispatcher: &Value) -> Option<Self> {
        let is_it = dispatcher["type"] == "demand" || dispatcher.get("max_demand").is_some();
        is_it.then(|| Self {
            usual: dispatcher["max_demand"].as_u64(),
        })
    }

    /// What it says if so much is asked for, by one that is subscribed or not.
    pub(crate) fn of_ask(&mut self, step: &Value, is_known: bool) -> Option<Value> {
        let asked = step["count"].as_u64()?;
        if is_known {
            self.usual.get_or_insert(asked);
        }
        let usual = self.usual.filter(|usual| asked > *usual)?;
        Some(json!(["warn_max_demand", usual, asked]))
    }
}

impl Said {
    pub(crate) fn of(scenario: &Value) -> Self {
        let options = &scenario["options"];
        assert!(options.is_object(), "there are no options");
        Self {
            complaints: Complaints::of(&options["dispatcher"]),
            order: Order::new(options),
            undisputed: disputed_from(scenario),
            ..Self::default()
        }
    }

    /// # Errors
    ///
    /// If a step says what cannot be.
    pub(crate) fn check(&mut self, step: &Value) -> Result<(), String> {
        let log = step["log"].as_array().unwrap();
        for entry in log {
            check_words(entry)?;
        }
        check_spared(log)?;
        let all = |kind: &'static str| log.iter().filter(move |entry| entry[0] == kind);
        let exit = step.get("exit").map(|exit| json!(["terminate", exit]));
        same("ends", all("terminate").cloned(), exit.clone())?;
        if exit.is_some() && log.last() != exit.as_ref() {
            return Err("something is done after the end".to_owned());
        }
        let whom = |entry: &Value| entry[1].clone();
        let asked = all("request_subscribe").map(whom);
        same("subscribed", asked, all("subscribed_to").map(whom))?;
        let is_twice = (step["op"] == "duplicate_subscribe").then_some(());
        let complaints = all("log_duplicated_subscription").map(|_| ());
        same("duplicated", complaints, is_twice)?;
        let complaint = self.complaint(step);
        same("complaints", all("warn_max_demand").cloned(), complaint)?;
        self.check_ends(step, log)?;
        if self.undisputed == 0 {
            return Ok(());
        }
        self.undisputed -= 1;
        self.order.check(step)
    }

    /// A stage hands on what its subscribers ask for, and nothing of others.
    fn complaint(&mut self, step: &Value) -> Option<Value> {
        let complaints = self.complaints.as_mut()?;
        let is_known = self.subscribers.contains_key(step["consumer"].as_str()?);
        let asks = step["op"] == "ask" && is_known;
        asks.then(|| complaints.of_ask(step, true)).flatten()
    }

    /// Whoever's subscription ends is told, and the stage's code is for the same reason.
    fn check_ends(&mut self, step: &Value, log: &[Value]) -> Result<(), String> {
        let op = step["op"].as_str().unwrap();
        let ends = |kind: &str| {
            let of_kind = log.iter().filter(|entry| entry[0] == kind);
            let ends = of_kind.filter(|entry| !REFUSALS.iter().any(|why| entry[2] == *why));
            ends.cloned().collect::<Vec<_>>()
        };
        let is_of_consumer = |end: &&Value| end[1].as_str().unwrap().starts_with('c');
        let cancelled = ends("cancelled");
        let told = cancelled.iter().filter(is_of_consumer);
        let told = told.map(|end| json!(["send_cancel", end[1], end[3]]));
        same("told", ends("send_cancel"), told)?;
        let wished = json!(["request_cancel", step["producer"], step["reason"]]);
        let wished = (op == "request_cancel").then_some(wished);
        same("wished", ends("request_cancel"), wished)?;
        let reason = || text(&step["reason"]);
        match op {
            "subscribe" => {
                let process = step.get("process").unwrap_or(&step["consumer"]);
                let (consumer, process) = (text(&step["consumer"]), text(process));
                self.subscribers.insert(consumer, process);
            }
            "producer_cancels" => {
                let end = ("cancel".to_owned(), reason());
                self.ends.entry(text(&step["producer"])).or_insert(end);
            }
            "down" => {
                let end = ("down".to_owned(), reason());
                self.ends.entry(text(&step["who"])).or_insert(end);
            }
            _ => {}
        }
        for end in &cancelled {
            let (who, kind, why) = (text(&end[1]), text(&end[2]), text(&end[3]));
            if !self.may_end(step, &who, &kind, &why) {
                return Err(format!("{who} has no reason to end by {kind}, {why}"));
            }
            self.subscribers.remove(&who);
        }
        Ok(())
    }

    fn may_end(&self, step: &Value, who: &str, kind: &str, why: &str) -> bool {
        let is = |key: &str, what: &str| step[key].as_str() == Some(what);
        let Some(process) = self.subscribers.get(who) else {
            return self.ends.get(who) == Some(&(kind.to_owned(), why.to_owned()));
        };
        match step["op"].as_str().unwrap() {
            "down" => kind == "down" && is("who", process) && is("reason", why),
            "cancel" => kind == "cancel" && is("consumer", who) && is("reason", why),
            "subscribe" if is("consumer", who) => (kind, why) == ("cancel", "already_subscribed"),
            "subscribe" => kind == "cancel" && is("cancels", who) && is("cancel_reason", why),
            _ => false,
        }
    }
}

fn check_words(entry: &Value) -> Result<(), String> {
    let words = entry.as_array().unwrap();
    let of_kind = WORDS.iter().find(|(kind, _)| words[0] == *kind);
    match of_kind {
        Some((_, count)) if words.len() == *count => Ok(()),
        _ => Err(format!("there is no entry like {entry}")),
    }
}

/// What selectors drop is noted before what they let pass, and an empty message is sent only if they
/// let nothing pass.
fn check_spared(log: &[Value]) -> Result<(), String> {
    let mut spared = None;
    for entry in log {
        let is_sent = entry[0] == "send";
        let is_to_the_same = spared.is_some_and(|to: &Value| is_sent && entry[1] == *to);
        let is_empty = is_sent && entry[2].as_array().is_some_and(Vec::is_empty);
        if (is_empty || spared.is_some()) && !is_to_the_same {
            return Err(format!("{entry} is out of place"));
        }
        spared = (entry[0] == "self_ask").then(|| &entry[1]);
    }
    match spared {
        Some(to) => Err(format!("nothing is sent to {to}")),
        None => Ok(()),
    }
}

fn same<T: PartialEq + Debug>(
    what: &str,
    said: impl IntoIterator<Item = T>,
    done: impl IntoIterator<Item = T>,
) -> Result<(), String> {
    let (said, done) = (Vec::from_iter(said), Vec::from_iter(done));
    match said == done {
        true => Ok(()),
        false => Err(format!("{what}: {said:?} is said, and {done:?} must be")),
    }
}

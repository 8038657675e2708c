//! In which order a stage of GenStage's did what it did.
//!
//! A log is that of one process, which does one thing after another: what follows from something comes after
//! it. That is checked here, by the rules of the traces' FORMAT.md. Ours does these things in several tasks, of
//! which each has an order and all together have none but that of causes: so what is checked is that the trace
//! has that, too.
//!
//! Not known, and so free, is the order in three cases. Batches to different subscribers are to different
//! processes. What a stage asks itself for, since selectors dropped events, it does when that message comes,
//! behind whatever else there is to do. And when demand that was held back is let go, what was noted in the
//! meantime comes in the order in which it was noted. In the last two cases only causes are in order.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
};

use serde_json::Value;

use crate::{
    deeds::{REFUSALS, text},
    said::Said,
    trace::{Traces, disputed_from, handled, numbers, steps},
};

/// What is known from the steps before.
#[derive(Default)]
pub(crate) struct Order {
    /// What the handler of a stage with both sides makes.
    handler: Option<Value>,
    /// What came from upstream and is not handled.
    work: VecDeque<Work>,
    /// Upstream subscriptions, with their windows if they ask by themselves.
    subscriptions: BTreeMap<String, Option<Window>>,
}

#[derive(PartialEq, Debug)]
enum Work {
    /// Of whom, which, and whether some of them are handled.
    Events(String, Vec<u64>, bool),
    End(String),
}

struct Window {
    max: u64,
    min: u64,
    /// What was asked for and has not come, and how much of that the delivery that is handled may be.
    open: u64,
    owed: u64,
}

/// What is known from the entries before.
#[derive(Default)]
struct Before<'a> {
    entries: &'a [Value],
    /// What the last batch or demand has made, until something else is done.
    made: Option<BTreeSet<u64>>,
    /// Of whom the last batch was, until it is asked for more.
    handled: Option<String>,
    /// Whether that must be.
    is_due: bool,
    has_discarded: bool,
    /// Something was handled or made.
    has_worked: bool,
    /// The stage asks itself for something.
    asks_itself: bool,
}

type Checked = Result<(), String>;

impl Order {
    pub(crate) fn new(options: &Value) -> Self {
        // That of a consumer makes nothing.
        let has_outputs = options.get("dispatcher").is_some();
        Self {
            handler: options.get("handler").filter(|_| has_outputs).cloned(),
            work: VecDeque::new(),
            subscriptions: BTreeMap::new(),
        }
    }

    /// # Errors
    ///
    /// If something comes before what it follows from.
    pub(crate) fn check(&mut self, step: &Value) -> Checked {
        let log = step["log"].as_array().unwrap();
        let out_of_order = |at: usize| Err(format!("{} is out of order", log[at]));
        self.arrive(step, log);
        let mut before = Before {
            asks_itself: log.iter().any(|entry| entry[0] == "self_ask"),
            ..Before::default()
        };
        for (at, entry) in log.iter().enumerate() {
            before.entries = &log[..at];
            let rest = &log[at + 1..];
            let is_in_order = match entry[0].as_str().unwrap() {
                "warn_max_demand" | "log_duplicated_subscription" | "request_subscribe" => at == 0,
                "subscribed_to" => before.last_is("request_subscribe", &entry[1]),
                "subscribed" => {
                    before.knows_nothing_of(&entry[1]) && !names(rest, &step["cancels"])
                }
                "send_cancel" => {
                    is_followed_by_its_end(entry, rest) && (at == 0 || is_late(step, entry))
                }
                "cancelled" => self.ends(entry, &mut before),
                "excess" => Self::exceeds(rest.first(), &before),
                "events_in" => self.handles(entry, &mut before),
                "ask" => self.asks(step, entry, &mut before),
                "demand" => before.makes(entry),
                "send" => self.sends(step, entry, rest, &before),
                "discarded" => before.discards(step),
                "info" => before.asks_itself || is_all(rest, &["info", "terminate"]),
                _ => true,
            };
            if !is_in_order {
                return out_of_order(at);
            }
        }
        let is_missing = before.is_due && step.get("exit").is_none();
        match is_missing {
            true => Err(format!(
                "{:?} is asked for more out of order",
                before.handled
            )),
            false => Ok(()),
        }
    }

    /// Takes note of what comes from upstream in this step.
    fn arrive(&mut self, step: &Value, log: &[Value]) {
        let is_refused = |entry: &Value| REFUSALS.iter().any(|why| entry[2] == *why);
        match step["op"].as_str().unwrap() {
            "subscribe_to" if step["result"] == "ok" => {
                let opts = &step["opts"];
                let max = opts["max_demand"].as_u64().unwrap_or(1_000);
                let min = opts["min_demand"].as_u64().unwrap_or(max / 2);
                let by_itself = opts["mode"] != "manual";
                let window = by_itself.then_some(Window {
                    max,
                    min,
                    open: max,
                    owed: max,
                });
                self.subscriptions.insert(text(&step["producer"]), window);
            }
            "deliver" if !log.iter().any(is_refused) => {
                let (who, events) = (text(&step["producer"]), numbers(&step["events"]));
                self.work.push_back(Work::Events(who, events, false));
            }
            "producer_cancels" => self.end(&step["producer"]),
            "down" => self.end(&step["who"]),
            _ => {}
        }
    }

    fn end(&mut self, who: &Value) {
        let who = text(who);
        if self.subscriptions.remove(&who).is_some() {
            self.work.push_back(Work::End(who));
        }
    }

    /// Upstream, an end is told when it is its turn.
    fn ends(&mut self, entry: &Value, before: &mut Before<'_>) -> bool {
        let was_due = before.is_due;
        before.rest_is_done();
        let who = text(&entry[1]);
        match who.starts_with('c') {
            true => before.last_is("send_cancel", &entry[1]),
            false => {
                before.has_worked = true;
                !was_due && self.work.pop_front() == Some(Work::End(who))
            }
        }
    }

    /// That more came than was asked for is said before it is handled.
    fn exceeds(next: Option<&Value>, before: &Before<'_>) -> bool {
        let next = next.map(|next| &next[0]);
        !before.is_due && next.is_some_and(|next| next == "excess" || next == "events_in")
    }

    /// What came first is handled first.
    fn handles(&mut self, entry: &Value, before: &mut Before<'_>) -> bool {
        let (who, batch) = (text(&entry[1]), numbers(&entry[2]));
        let Some(Work::Events(of, events, is_begun)) = self.work.front_mut() else {
            return false;
        };
        if *of != who || !events.starts_with(&batch) || before.is_due {
            return false;
        }
        events.drain(..batch.len());
        let goes_on = mem::replace(is_begun, true);
        if events.is_empty() {
            self.work.pop_front();
        }
        before.rest_is_done();
        if let Some(Some(window)) = self.subscriptions.get_mut(&who) {
            if !goes_on {
                window.owed = window.open;
            }
            // What is too much does not count.
            let counted = window.owed.min(batch.len() as u64);
            window.owed -= counted;
            window.open -= counted;
            before.is_due = window.open <= window.min;
        }
        before.made = Some(self.outputs(&batch));
        before.handled = Some(who);
        before.has_worked = true;
        true
    }

    fn outputs(&self, batch: &[u64]) -> BTreeSet<u64> {
        let Some(handler) = &self.handler else {
            return BTreeSet::new();
        };
        let batch = batch.iter();
        batch.flat_map(|event| handled(handler, *event)).collect()
    }

    /// More is asked for when a batch has been handled.
    fn asks(&mut self, step: &Value, entry: &Value, before: &mut Before<'_>) -> bool {
        if step["op"] == "subscribe_to" {
            return before.last_is("subscribed_to", &entry[1]);
        }
        if step["op"] == "manual_ask" {
            return true;
        }
        let who = text(&entry[1]);
        let is_handled = before.handled.as_ref() == Some(&who);
        let Some(subscription) = self.subscriptions.get_mut(&who) else {
            return false;
        };
        let is_due = match subscription {
            Some(window) => {
                let more = window.max - window.open;
                window.open = window.max;
                before.is_due && entry[2] == more
            }
            None => true,
        };
        before.rest_is_done();
        is_handled && is_due
    }

    /// What is made is sent after that, and what is left of before, before it.
    fn sends(&self, step: &Value, entry: &Value, rest: &[Value], before: &Before<'_>) -> bool {
        let events = numbers(&entry[2]);
        let is_gone = |other: &Value| other[0] == "cancelled" && other[1] == entry[1];
        let later: BTreeSet<u64> = rest.iter().flat_map(|entry| self.made_by(entry)).collect();
        if before.entries.iter().any(is_gone) || events.iter().any(|event| later.contains(event)) {
            return false;
        }
        // What waited while demand was only noted comes as it was, and what is left in the buffer when the
        // stage asks itself for more.
        let from_buffer = before.asks_itself && self.handler.is_some();
        if from_buffer || step["op"] == "demand_mode" {
            return true;
        }
        let is_of_last = |made: &BTreeSet<u64>| events.iter().all(|event| made.contains(event));
        let is_made = before.made.as_ref().map_or(!before.has_worked, is_of_last);
        is_made && (!before.has_discarded || before.asks_itself)
    }

    fn made_by(&self, entry: &Value) -> BTreeSet<u64> {
        match entry[0].as_str().unwrap() {
            "demand" => numbers(&entry[2]).into_iter().collect(),
            "events_in" => self.outputs(&numbers(&entry[2])),
            _ => BTreeSet::new(),
        }
    }
}

impl Before<'_> {
    fn last_is(&self, kind: &str, of: &Value) -> bool {
        let last = self.entries.last();
        last.is_some_and(|last| last[0] == kind && last[1] == *of)
    }

    fn knows_nothing_of(&self, who: &Value) -> bool {
        !names(self.entries, who)
    }

    /// Something else is done now.
    fn rest_is_done(&mut self) {
        self.made = None;
        self.handled = None;
        self.is_due = false;
        self.has_discarded = false;
    }

    /// There is no room for what was just made.
    fn discards(&mut self, step: &Value) -> bool {
        let op = step["op"].as_str().unwrap();
        let is_made = self.made.is_some() || matches!(op, "emit" | "feed" | "demand_mode");
        let is_first = !mem::replace(&mut self.has_discarded, true) || op == "demand_mode";
        is_made && is_first || self.asks_itself
    }

    fn makes(&mut self, entry: &Value) -> bool {
        self.rest_is_done();
        self.made = Some(numbers(&entry[2]).into_iter().collect());
        self.has_worked = true;
        true
    }
}

fn is_all(entries: &[Value], kinds: &[&str]) -> bool {
    let mut entries = entries.iter();
    entries.all(|entry| kinds.iter().any(|kind| entry[0] == *kind))
}

/// Whether there is something of `who` there.
fn names(entries: &[Value], who: &Value) -> bool {
    who.is_string() && entries.iter().any(|entry| entry[1] == *who)
}

/// Who is told that a subscription ends is so before the stage's code is.
fn is_followed_by_its_end(told: &Value, rest: &[Value]) -> bool {
    let is_refusal = REFUSALS.iter().any(|why| told[2] == *why);
    let is_end = |end: &Value| end[0] == "cancelled" && end[1] == told[1];
    is_refusal || rest.first().is_some_and(is_end)
}

/// Whether somebody is told of an end after something else was done: because he is refused, or others have
/// ended before.
fn is_late(step: &Value, told: &Value) -> bool {
    step["op"] == "down" || told[2] == "already_subscribed" || told[2] == "duplicated_subscription"
}

/// No two neighbours of different kinds may change places, but where the order is not known: see above.
#[test]
fn neighbours_do_not_change_places() {
    for file in [
        "consumer_batches",
        "producer_stage",
        "producer_consumer_stage",
    ] {
        let (mut noticed, mut free) = (0, 0);
        for scenario in Traces::kept().scenarios(file).unwrap() {
            let undisputed = steps(&scenario).len().min(disputed_from(&scenario));
            for at in 0..undisputed {
                let step = &steps(&scenario)[at];
                let log = step["log"].as_array().unwrap();
                let is_free =
                    step["op"] == "demand_mode" || log.iter().any(|it| it[0] == "self_ask");
                for (place, pair) in log.windows(2).enumerate() {
                    if pair[0][0] == pair[1][0] {
                        continue;
                    }
                    let mut swapped = step.clone();
                    swapped["log"]
                        .as_array_mut()
                        .unwrap()
                        .swap(place, place + 1);
                    let mut said = Said::of(&scenario);
                    let before = steps(&scenario)[..at].iter();
                    let result = before.chain([&swapped]).try_for_each(|it| said.check(it));
                    let seed = &scenario["seed"];
                    assert!(
                        result.is_err() || is_free,
                        "seed {seed}, step {at}: {pair:?}"
                    );
                    noticed += usize::from(result.is_err());
                    free += usize::from(result.is_ok());
                }
            }
        }
        println!("{file}: {noticed} noticed, {free} not");
        assert!(noticed > 10 * free, "too much is free");
    }
}

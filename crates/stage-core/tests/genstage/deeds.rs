//! What a stage with subscribers did in a step: as recorded, and as found here.

use std::collections::BTreeMap;

use serde_json::Value;
use stage_core::{
    End,
    protocol::{Down, Reason},
};

use crate::trace::{is_graceful, numbers};

/// Everything but complaints, and what GenStage says to itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Deeds {
    /// Batches, by subscription.
    pub(crate) sent: BTreeMap<String, Vec<Vec<u64>>>,
    /// How many events selectors dropped, by subscription.
    pub(crate) spared: BTreeMap<String, u64>,
    /// What the producer's code made without being asked, or was fed.
    pub(crate) made: Vec<Vec<u64>>,
    /// What was asked of the producer's code, and what it made.
    pub(crate) demands: Vec<(u64, Vec<u64>)>,
    /// What was asked for upstream, and of whom.
    pub(crate) asks: Vec<(String, u64)>,
    /// What the handler was given, and where that was from.
    pub(crate) events_in: Vec<(String, Vec<u64>)>,
    /// Who the stage's code was told has come, on either side.
    pub(crate) opened: Vec<String>,
    /// Who it was told has gone, and why.
    pub(crate) ended: Vec<(String, String)>,
    /// Who was refused, and why.
    pub(crate) refused: Vec<(String, String)>,
    /// Events that there was no room for, for each time.
    pub(crate) discarded: Vec<u64>,
    /// Events that came and were not asked for.
    pub(crate) excess: u64,
    pub(crate) infos: Vec<String>,
    pub(crate) buffered: Option<u64>,
    pub(crate) exit: Option<String>,
}

/// Cancels that refuse something, and end nothing.
pub(crate) const REFUSALS: [&str; 2] = ["unknown_subscription", "duplicated_subscription"];

impl Deeds {
    pub(crate) fn recorded(step: &Value) -> Self {
        let mut deeds = Self {
            buffered: step.get("buffered").map(|size| size.as_u64().unwrap()),
            exit: step.get("exit").map(text),
            ..Self::default()
        };
        let made: &[&str] = match step["op"].as_str().unwrap() {
            "emit" => &["events"],
            "feed" => &["queued", "events"],
            _ => &[],
        };
        deeds.made = made.iter().map(|key| numbers(&step[key])).collect();
        for entry in step["log"].as_array().unwrap() {
            deeds.note(entry);
        }
        deeds
    }

    fn note(&mut self, entry: &Value) {
        match entry[0].as_str().unwrap() {
            "send" => self.note_sent(&text(&entry[1]), numbers(&entry[2])),
            "demand" => {
                let demand = (entry[1].as_u64().unwrap(), numbers(&entry[2]));
                self.demands.push(demand);
            }
            "ask" => {
                let ask = (text(&entry[1]), entry[2].as_u64().unwrap());
                self.asks.push(ask);
            }
            "self_ask" => {
                let spared = self.spared.entry(text(&entry[1])).or_default();
                *spared += entry[2].as_u64().unwrap();
            }
            "events_in" => self.events_in.push((text(&entry[1]), numbers(&entry[2]))),
            "subscribed" | "subscribed_to" => self.opened.push(text(&entry[1])),
            "cancelled" => {
                let who = text(&entry[1]);
                let why = told(&who, entry[2].as_str().unwrap(), entry[3].as_str().unwrap());
                self.ended.push((who, why));
            }
            "send_cancel" | "request_cancel" if REFUSALS.iter().any(|why| entry[2] == *why) => {
                self.refused.push((text(&entry[1]), text(&entry[2])));
            }
            "discarded" => self.discarded.push(entry[1].as_u64().unwrap()),
            "excess" => self.excess += entry[1].as_u64().unwrap(),
            "info" => self.infos.push(text(&entry[1])),
            // These are compared with each other, see `said.rs`.
            "send_cancel"
            | "request_cancel"
            | "request_subscribe"
            | "warn_max_demand"
            | "log_duplicated_subscription"
            | "terminate" => {}
            other => panic!("what is `{other}`?"),
        }
    }

    /// A batch without events is none.
    pub(crate) fn note_sent(&mut self, to: &str, events: Vec<u64>) {
        if !events.is_empty() {
            self.sent.entry(to.to_owned()).or_default().push(events);
        }
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// How an end is told here that GenStage tells so. A shutdown has no detail here; a consumer, which
/// has nothing that could be complete, is shut down also where all is normal; and a producer that
/// cancels has ended.
pub(crate) fn told(who: &str, kind: &str, reason: &str) -> String {
    let is_consumer = who.starts_with('c');
    match reason {
        "normal" if !is_consumer => "completed".to_owned(),
        _ if is_graceful(reason) => "shut down".to_owned(),
        _ if is_consumer => format!("{kind}: {reason}"),
        _ => reason.to_owned(),
    }
}

/// An end as told here, in the same words.
pub(crate) fn shown(who: &str, end: &End) -> String {
    let is_consumer = who.starts_with('c');
    match end {
        End::Completed => "completed".to_owned(),
        End::Cancelled(Reason::Shutdown) => "shut down".to_owned(),
        End::Cancelled(Reason::AlreadySubscribed) => "cancel: already_subscribed".to_owned(),
        End::Cancelled(Reason::Other(why)) if is_consumer => format!("cancel: {why}"),
        End::Down(Down::Failed(why)) if is_consumer => format!("down: {why}"),
        End::Cancelled(Reason::Other(why)) | End::Down(Down::Failed(why)) => why.to_string(),
        other => format!("{other:?}"),
    }
}

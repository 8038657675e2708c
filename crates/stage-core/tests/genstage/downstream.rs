//! The ops of a stage's consumers, on a stage that runs: the same for a producer and for a
//! producer_consumer.

use std::{
    collections::BTreeMap,
    mem,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Waker},
};

use serde_json::Value;
use stage_core::{
    AskError, End, Outlet, PipelineHandle, Subscription, SubscriptionHandle,
    protocol::Reason as Why,
};

use crate::{
    account::keeps,
    deeds::{Deeds, shown, text},
    lanes::Lanes,
    takers::Takers,
};

/// A stage, and whoever takes what it makes.
pub(crate) struct Downstream {
    pub(crate) stage: &'static str,
    pub(crate) handle: PipelineHandle,
    /// Keeps the stage waiting for subscribers.
    pub(crate) outlet: Option<Outlet<u64>>,
    pub(crate) takers: Takers,
    pub(crate) lanes: Option<Lanes>,
    /// How many events selectors have dropped since somebody looked last.
    pub(crate) spared: Spared,
}

/// How many events were dropped, by subscription.
pub(crate) type Spared = Arc<Mutex<BTreeMap<String, u64>>>;

impl Downstream {
    /// Does what the trace's consumers do in this step, if it is them.
    pub(crate) fn perform(&mut self, step: &Value, found: &mut Deeds) -> Result<bool, String> {
        let name = |key: &str| step[key].as_str().unwrap();
        match step["op"].as_str().unwrap() {
            "subscribe" => self.subscribe(step),
            "ask" => {
                let count = step["count"].as_u64().unwrap();
                let consumer = name("consumer");
                if self.takers.ask(consumer, count) == Err(AskError::Closed) {
                    let refusal = (text(&step["consumer"]), "unknown_subscription".to_owned());
                    found.refused.push(refusal);
                }
            }
            "cancel" => self.takers.cancel(name("consumer"), name("reason")),
            "down" if self.takers.runs(name("who")) => self.takers.end(name("who"), name("reason")),
            // A subscription is used up by being made, so there is nobody to do so.
            "duplicate_subscribe" => {
                let refusal = "duplicated_subscription".to_owned();
                found.refused.push((text(&step["consumer"]), refusal));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn subscribe(&mut self, step: &Value) {
        let (name, opts) = (step["consumer"].as_str().unwrap(), &step["opts"]);
        let process = step.get("process").unwrap_or(&step["consumer"]);
        let (subscription, handle) = self.link(name, opts);
        let process = process.as_str().unwrap();
        self.takers.subscribe(name, process, (subscription, handle));
    }

    fn link(&self, to: &str, opts: &Value) -> (Subscription<u64>, SubscriptionHandle) {
        if let Some(lanes) = &self.lanes
            && let Some(name) = opts.get("partition").filter(|name| !name.is_null())
            && let Ok(lane) = self.handle.lane(self.stage, lanes.number(name))
        {
            return lane.subscribe_manually();
        }
        let (subscription, handle) = self.outlet.as_ref().unwrap().subscribe_manually();
        match opts.get("selector").filter(|selector| !selector.is_null()) {
            Some(selector) => {
                let (selector, to) = (selector.clone(), to.to_owned());
                let spared = Arc::clone(&self.spared);
                let selecting = subscription.selecting(move |event| {
                    let is_kept = keeps(&selector, *event);
                    if !is_kept {
                        *spared.lock().unwrap().entry(to.clone()).or_default() += 1;
                    }
                    is_kept
                });
                (selecting, handle)
            }
            None => (subscription, handle),
        }
    }

    /// Checks that who was cancelled was told so, as whoever has its subscription sees it.
    pub(crate) fn check_told(&self, step: &Value, recorded: &Deeds) -> Result<(), String> {
        let name = step["consumer"].as_str().unwrap();
        let (reason, is_known) = (&step["reason"], !recorded.ended.is_empty());
        if is_known && !self.takers.was_told(name, reason.as_str().unwrap()) {
            return Err(format!("{name} was not told that it was cancelled"));
        }
        Ok(())
    }

    /// Takes note of what has come of it.
    pub(crate) fn note(&mut self, opened: &[String], ended: Vec<(String, End)>, found: &mut Deeds) {
        let opened = opened.iter().map(|process| self.takers.name_of(process));
        found.opened.extend(opened);
        for (process, end) in ended {
            let name = self.takers.name_of(&process);
            let why = shown(&name, &end);
            found.ended.push((name, why));
        }
        for (to, events) in mem::take(&mut *self.spared.lock().unwrap()) {
            *found.spared.entry(to).or_default() += events;
        }
        let delivered = |event| match &self.lanes {
            Some(lanes) => lanes.delivered(event),
            None => event,
        };
        self.takers.note(delivered, found);
    }
}

/// Does something once a notice has passed, behind all that a stage has now.
pub(crate) fn notify(handle: &PipelineHandle, stage: &str, passed: impl FnOnce() + Send + 'static) {
    let (handle, stage) = (handle.clone(), stage.to_owned());
    let mut passing: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
        handle.passed(&stage).await;
        passed();
    });
    // It has its place from when it is polled first.
    let polled = passing
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    if polled.is_pending() {
        tokio::spawn(passing);
    }
}

/// How GenStage calls it that a subscription is refused.
pub(crate) fn refusal(end: &End) -> Option<&'static str> {
    match end {
        End::Cancelled(Why::AlreadySubscribed) => Some("already_subscribed"),
        End::Cancelled(Why::Refused(why)) if why.contains("has a subscriber") => {
            Some("raised:partition_taken")
        }
        End::Cancelled(Why::Refused(why)) if why.contains("no lane") => {
            Some("raised:partition_unknown")
        }
        End::Cancelled(Why::Refused(_)) => Some("raised:partition_missing"),
        _ => None,
    }
}

//! The consumers that a trace plays: real stages, which ask by hand.

use std::{
    cell::Cell,
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex},
};

use stage_core::{
    AskError, Batch, BoxError, Consumer, End, Intake, Mode, Pipeline, Subscription,
    SubscriptionHandle, SubscriptionInfo,
};
use tokio::sync::watch;

use crate::{
    deeds::{Deeds, shown},
    downstream::refusal,
    live::{Live, Seen, Switch, is_graceful},
};

/// All consumers, by process.
#[derive(Default)]
pub(crate) struct Takers {
    processes: BTreeMap<String, Process>,
    /// Those that were made, the latest last.
    subscriptions: Vec<Taking>,
}

struct Process {
    live: Live,
    intake: Intake<u64>,
    seen: Arc<Mutex<Seen>>,
    switch: Switch,
    /// How many ends were noted.
    noted: Cell<usize>,
}

struct Taking {
    name: String,
    process: String,
    handle: SubscriptionHandle,
    was_refused: bool,
}

/// Takes what it is sent, and ends when it is told to.
struct Taker {
    seen: Arc<Mutex<Seen>>,
    ending: watch::Receiver<Option<String>>,
}

impl Consumer<u64> for Taker {
    type Error = BoxError;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), BoxError> {
        self.seen.lock().unwrap().batches.push(batch.to_vec());
        Ok(())
    }

    async fn while_idle(&mut self) -> Result<(), BoxError> {
        let reason = self.ending.wait_for(Option::is_some).await?;
        Err(reason.clone().unwrap().into())
    }

    fn unsubscribed(&mut self, _: &SubscriptionInfo, end: &End) {
        self.seen.lock().unwrap().ends.push(end.clone());
    }
}

impl Takers {
    /// A subscription of this name for a process, which is started if it does not run.
    pub(crate) fn subscribe(
        &mut self,
        name: &str,
        process: &str,
        (subscription, handle): (Subscription<u64>, SubscriptionHandle),
    ) {
        let subscription = subscription.mode(Mode::Temporary);
        match self.processes.get(process) {
            Some(process) => process.intake.add(subscription).unwrap(),
            None => {
                let process_of_it = Process::start(process, subscription);
                self.processes.insert(process.to_owned(), process_of_it);
            }
        }
        let taking = Taking {
            name: name.to_owned(),
            process: process.to_owned(),
            handle,
            was_refused: false,
        };
        self.subscriptions.push(taking);
    }

    /// Asks, if there is such a subscription.
    pub(crate) fn ask(&self, name: &str, events: u64) -> Result<(), AskError> {
        match self.find(name) {
            Some(taking) => taking.handle.ask(events as usize),
            // There is nothing to ask by.
            None => Err(AskError::Closed),
        }
    }

    /// Whether a process of this name runs.
    pub(crate) fn runs(&self, process: &str) -> bool {
        self.processes.contains_key(process)
    }

    pub(crate) fn cancel(&self, name: &str, reason: &str) {
        match self.find(name) {
            Some(taking) if is_graceful(reason) => taking.handle.cancel(),
            Some(taking) => taking.handle.cancel_because(reason),
            None => {}
        }
    }

    /// Whether who had this subscription was told last that it ended so.
    pub(crate) fn was_told(&self, name: &str, reason: &str) -> bool {
        let process = &self.processes[&self.find(name).unwrap().process];
        let seen = process.seen.lock().unwrap();
        let told = if is_graceful(reason) {
            "shut down".to_owned()
        } else {
            format!("cancel: {reason}")
        };
        seen.ends.last().is_some_and(|end| shown("c", end) == told)
    }

    /// Ends a process.
    pub(crate) fn end(&mut self, process: &str, reason: &str) {
        let Some(process) = self.processes.remove(process) else {
            return;
        };
        if is_graceful(reason) {
            process.live.handle.remove(process.live.name()).unwrap();
        } else {
            process.switch.send_replace(Some(reason.to_owned()));
        }
    }

    pub(crate) fn cancel_all(&self) {
        for taking in &self.subscriptions {
            taking.handle.cancel();
        }
    }

    /// Everybody asks once more.
    pub(crate) fn ask_again(&self) {
        for taking in &self.subscriptions {
            // Those who have gone cannot.
            let _ = taking.handle.ask(1);
        }
    }

    fn find(&self, name: &str) -> Option<&Taking> {
        self.subscriptions.iter().find(|taking| taking.name == name)
    }

    /// The subscription that a process has, or had last.
    pub(crate) fn name_of(&self, process: &str) -> String {
        let of_it = || {
            self.subscriptions
                .iter()
                .filter(|taking| taking.process == process && !taking.was_refused)
        };
        let open = of_it().find(|taking| !taking.handle.is_closed());
        let taking = open.or_else(|| of_it().next_back());
        taking.map_or_else(|| process.to_owned(), |taking| taking.name.clone())
    }

    /// Notes what has come since the last call, and who was refused.
    pub(crate) fn note(&mut self, delivered: impl Fn(u64) -> u64, deeds: &mut Deeds) {
        let mut refused = Vec::new();
        for (name, process) in &self.processes {
            let mut seen = process.seen.lock().unwrap();
            for batch in mem::take(&mut seen.batches) {
                let events = batch.into_iter().map(&delivered).collect();
                deeds.note_sent(&self.name_of(name), events);
            }
            let noted = process.noted.replace(seen.ends.len());
            refused.extend(
                seen.ends[noted..]
                    .iter()
                    .filter_map(refusal)
                    .map(|why| (name.clone(), why)),
            );
        }
        for (process, why) in refused {
            let mut of_it = self.subscriptions.iter_mut();
            let last = of_it.rfind(|taking| taking.process == process).unwrap();
            last.was_refused = true;
            deeds.refused.push((last.name.clone(), why.to_owned()));
        }
    }
}

impl Process {
    fn start(name: &str, subscription: Subscription<u64>) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let (switch, ending) = watch::channel(None);
        let taker = Taker {
            seen: Arc::clone(&seen),
            ending,
        };
        let mut pipeline = Pipeline::new();
        let intake = pipeline.stage(name).consume(taker, subscription);
        Self {
            live: Live::run(name, pipeline),
            intake,
            seen,
            switch,
            noted: Cell::new(0),
        }
    }
}

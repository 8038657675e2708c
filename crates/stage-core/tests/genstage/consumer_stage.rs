//! A consumer stage of GenStage's against a consumer that runs, and producers that run.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use stage_core::{
    Batch, BoxError, Consumer, End, Intake, Mode, Pipeline, Subscription, SubscriptionInfo,
};
use tokio::time::sleep;

use crate::{
    couriers::{Couriers, KEEPER},
    deeds::{Deeds, shown, text},
    downstream::notify,
    live::{A_WHILE, Live, play, settle},
    said::Said,
    tally::Tally,
    terms::Terms,
    trace::{numbers, refused_late, steps},
};

const STAGE: &str = "consumer";

const ASKED: &str = "the replay asks by hand for what nobody asked for";
const ACCEPTED: &str = "who was accepted is cancelled as being subscribed already: here that is told at once or \
     never, so the subscription is one that its stage goes on without";

/// Handles events as a handler of a trace does.
struct Worker {
    stop_on: Option<u64>,
    noted: Arc<Mutex<Noted>>,
}

#[derive(Default)]
struct Noted {
    batches: Vec<Vec<u64>>,
    opened: Vec<String>,
    ended: Vec<(String, End)>,
    infos: Vec<String>,
}

struct Stage {
    live: Live,
    noted: Arc<Mutex<Noted>>,
    intake: Intake<u64>,
    up: Couriers,
    by_hand: BTreeSet<String>,
    /// Whom GenStage's stage is told late that it is subscribed to already.
    accepted: BTreeSet<String>,
    origins: BTreeMap<u64, String>,
    aids: Vec<&'static str>,
}

impl Consumer<u64> for Worker {
    type Error = BoxError;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), BoxError> {
        self.noted.lock().unwrap().batches.push(batch.to_vec());
        // So that the producers see each ask by itself.
        sleep(A_WHILE).await;
        match self.stop_on {
            Some(event) if batch.contains(&event) => Err("boom".into()),
            _ => Ok(()),
        }
    }

    fn subscribed(&mut self, info: &SubscriptionInfo) {
        let opened = &mut self.noted.lock().unwrap().opened;
        opened.push(info.from.to_string());
    }

    fn unsubscribed(&mut self, info: &SubscriptionInfo, end: &End) {
        let ended = (info.from.to_string(), end.clone());
        self.noted.lock().unwrap().ended.push(ended);
    }
}

pub(crate) fn replay(scenario: &Value, tally: &mut Tally) -> Result<(), String> {
    tally.scenarios += 1;
    play(replay_it(scenario, tally))
}

async fn replay_it(scenario: &Value, tally: &mut Tally) -> Result<(), String> {
    let mut stage = Stage::start(scenario);
    settle().await;
    let mut said = Said::of(scenario);
    for (at, step) in steps(scenario).iter().enumerate() {
        let fail = |error: String| format!("step {at}: {error}\n{step}");
        said.check(step).map_err(fail)?;
        let recorded = Deeds::recorded(step);
        let mut found = Deeds::default();
        stage.perform(step, &mut found).await.map_err(fail)?;
        if let Some(exit) = &recorded.exit {
            // A stage that ends tells its own code of all that end with it.
            found.ended.retain(|(who, _)| !stage.up.knows(who));
            if stage.live.is_alive() {
                return Err(fail("it goes on".to_owned()));
            }
            if stage.live.has_ended(&exit.as_str().into(), &[]).await {
                found.exit = Some(exit.clone());
            }
            return compare(&stage.aids, &recorded, &found, tally).map_err(fail);
        }
        let aids = mem::take(&mut stage.aids);
        compare(&aids, &recorded, &found, tally).map_err(fail)?;
        if !stage.live.is_alive() {
            return Err(fail("it has ended".to_owned()));
        }
    }
    Ok(())
}

fn compare(
    aids: &[&'static str],
    recorded: &Deeds,
    found: &Deeds,
    tally: &mut Tally,
) -> Result<(), String> {
    if found == recorded {
        tally.count(&[]);
        tally.note_aids(aids);
        let is_refused = !recorded.refused.is_empty();
        tally.ignored += usize::from(is_refused);
    } else {
        return Err(format!(
            "{found:?}\nis found, and recorded is\n{recorded:?}"
        ));
    }
    Ok(())
}

impl Stage {
    fn start(scenario: &Value) -> Self {
        let noted = Arc::<Mutex<Noted>>::default();
        let worker = Worker {
            stop_on: scenario["options"]["handler"]["stop_on"].as_u64(),
            noted: Arc::clone(&noted),
        };
        let mut pipeline = Pipeline::new();
        let none = Vec::<Subscription<u64>>::new();
        let intake = pipeline.stage(STAGE).consume(worker, none);
        let mut up = Couriers::default();
        up.keep(&intake);
        Self {
            live: Live::run(STAGE, pipeline),
            noted,
            intake,
            up,
            by_hand: BTreeSet::new(),
            accepted: refused_late(steps(scenario)),
            origins: BTreeMap::new(),
            aids: Vec::new(),
        }
    }

    async fn perform(&mut self, step: &Value, found: &mut Deeds) -> Result<(), String> {
        let producer = || step["producer"].as_str().unwrap();
        match step["op"].as_str().unwrap() {
            "subscribe_to" => self.subscribe(step)?,
            "deliver" if self.up.knows(producer()) => {
                self.deliver(producer(), numbers(&step["events"]), found);
            }
            // It has gone, and cannot send.
            "deliver" => {
                let refusal = (text(&step["producer"]), "unknown_subscription".to_owned());
                found.refused.push(refusal);
            }
            "producer_cancels" => self.end(producer(), &step["reason"]),
            "down" => self.end(step["who"].as_str().unwrap(), &step["reason"]),
            "info" => {
                let (noted, info) = (Arc::clone(&self.noted), text(&step["msg"]));
                notify(&self.live.handle, STAGE, move || {
                    noted.lock().unwrap().infos.push(info);
                });
            }
            "manual_ask" => {
                // Of nothing, nothing comes.
                let _ = self
                    .up
                    .ask_by_hand(producer(), step["count"].as_u64().unwrap());
            }
            // A wish, which its producer grants later.
            "request_cancel" => {}
            other => panic!("what is `{other}`?"),
        }
        settle().await;
        self.note(found);
        Ok(())
    }

    fn subscribe(&mut self, step: &Value) -> Result<(), String> {
        let producer = step["producer"].as_str().unwrap();
        if let Some(mut terms) = Terms::of_step(step)? {
            if self.accepted.contains(producer) {
                terms.mode = Mode::Temporary;
            }
            if terms.by_hand {
                self.by_hand.insert(producer.to_owned());
            }
            self.up.subscribe(producer, &terms, &self.intake);
        }
        Ok(())
    }

    fn deliver(&mut self, producer: &str, events: Vec<u64>, found: &mut Deeds) {
        for event in &events {
            self.origins.insert(*event, producer.to_owned());
        }
        let excess = self.up.deliver_all(producer, events);
        if excess > 0 {
            self.aids.push(ASKED);
        }
        // Of one that asks by hand itself GenStage keeps no count.
        if !self.by_hand.contains(producer) {
            found.excess += excess;
        }
    }

    fn end(&mut self, producer: &str, reason: &Value) {
        if self.up.knows(producer) {
            if reason == "already_subscribed" {
                self.aids.push(ACCEPTED);
            }
            self.up.forget(producer);
            self.up.end(producer, reason.as_str().unwrap());
        }
    }

    fn note(&self, found: &mut Deeds) {
        let noted = mem::take(&mut *self.noted.lock().unwrap());
        for events in noted.batches {
            found
                .events_in
                .push((self.origins[&events[0]].clone(), events));
        }
        let is_of_trace = |who: &str| who != KEEPER;
        let opened = noted.opened.into_iter().filter(|who| is_of_trace(who));
        found.opened.extend(opened);
        for (who, end) in noted.ended {
            if is_of_trace(&who) {
                let why = shown(&who, &end);
                found.ended.push((who, why));
            }
        }
        found.infos.extend(noted.infos);
        let asks = self.up.asks().into_iter();
        found
            .asks
            .extend(asks.filter(|(whom, _)| is_of_trace(whom)));
    }
}

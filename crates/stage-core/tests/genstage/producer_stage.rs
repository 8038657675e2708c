//! A producer stage of GenStage's against one that runs, and consumers that run.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use serde_json::Value;
use stage_core::Pipeline;

use crate::{
    deeds::{Deeds, text, told},
    downstream::Downstream,
    invariants::Invariants,
    lanes::{Abandoned, GivingUp, Held, Lanes},
    live::{Live, play, settle},
    policy::{Policy, STAGE, Shared, Work},
    takers::Takers,
    tally::{Reason, Tally},
    trace::{disputed_from, number, steps},
};

const AT_ONCE: Reason = "what is made up for several subscribers is asked for at once; GenStage asks \
     for it bit by bit, and so sends smaller batches";
const REFUSED: Reason = "who is subscribed already is refused, and the producer is not told; GenStage \
     tells of a subscription and its cancel";
const ALONE: Reason = "who names no lane that is free is refused alone; GenStage's stage crashes";
const LATER: Reason = "what comes when nobody wants it is taken in when somebody asks again; GenStage's \
     lanes take it in, since one that left had asked for it";
const NEXT: Reason =
    "a producer says that it ends when it is asked for more; GenStage's stops itself";
const UNTOLD: Reason = "a producer that fails is told of nothing more";
const NO_MORE: Reason = "a producer that has made its last event is asked for nothing more; GenStage's is \
     asked for what is made up, and makes nothing";
const KEPT: Reason = "a cancelled lane's queue is kept for its next subscriber; GenStage drops it and \
     raises as much again, also what is on its way for the one that left";

struct Stage {
    /// `None` once it has ended.
    live: Option<Live>,
    shared: Arc<Shared>,
    down: Downstream,
    /// What GenStage has sent, and this stage has not yet.
    late: BTreeMap<String, Vec<u64>>,
}

pub(crate) fn replay(scenario: &Value, tally: &mut Tally) -> Result<(), String> {
    tally.scenarios += 1;
    play(replay_it(scenario, tally))
}

async fn replay_it(scenario: &Value, tally: &mut Tally) -> Result<(), String> {
    let mut stage = Stage::start(&scenario["options"]);
    settle().await;
    let mut invariants = Invariants::of(&scenario["options"]);
    for (at, step) in steps(scenario).iter().enumerate() {
        let fail = |error: String| format!("step {at}: {error}\n{step}");
        let recorded = Deeds::recorded(step);
        let mut found = Deeds::default();
        stage.perform(step, &mut found).await.map_err(fail)?;
        invariants.check(step, &found).map_err(fail)?;
        let raised_again = mem::take(&mut stage.shared.books().noted.raised_again);
        if at >= disputed_from(scenario) {
            let quirk = scenario["quirks"][0].as_str().unwrap();
            tally.count_disputed(quirk, found == recorded);
            continue;
        }
        let mut at_exit = Vec::new();
        if recorded.exit.is_some() {
            at_exit = stage.check_exit(step, &recorded, &mut found).await;
        }
        if step["op"] == "cancel" {
            stage.down.check_told(step, &recorded).map_err(fail)?;
        }
        let mut reasons = stage.translate(step, &recorded, &mut found);
        reasons.extend(at_exit);
        if raised_again {
            reasons.push(KEPT);
        }
        if found != recorded {
            return Err(fail(format!(
                "{found:?}\nis found, and recorded is\n{recorded:?}"
            )));
        }
        tally.count(&reasons);
        let unknown = |(_, why): &(String, String)| {
            why.ends_with("ed_subscription") || why.starts_with("unknown")
        };
        tally.ignored += usize::from(reasons.is_empty() && recorded.refused.iter().any(unknown));
    }
    Ok(())
}

/// How many subscribers' selectors drop events in this step.
fn selectors(step: &Value) -> usize {
    let log = step["log"].as_array().unwrap();
    let asks = log.iter().filter(|entry| entry[0] == "self_ask");
    let of: BTreeSet<_> = asks.map(|entry| entry[1].as_str()).collect();
    of.len()
}

/// What was done, whatever its portions.
fn merged(deeds: &Deeds) -> Deeds {
    let mut merged = deeds.clone();
    for batches in merged.sent.values_mut() {
        *batches = vec![batches.concat()];
    }
    let demand = merged.demands.iter().map(|(demand, _)| demand).sum();
    let events = merged
        .demands
        .iter()
        .flat_map(|(_, events)| events)
        .copied()
        .collect();
    merged.demands = vec![(demand, events)];
    merged
}

impl Stage {
    fn start(options: &Value) -> Self {
        let given_up = Abandoned::default();
        let lanes = Lanes::of_options(&options["dispatcher"]);
        let shared = Arc::new(Shared::new(options, lanes.clone(), Arc::clone(&given_up)));
        let mut pipeline = Pipeline::new();
        let handle = pipeline.handle();
        let policy = Policy {
            shared: Arc::clone(&shared),
            handle: handle.clone(),
        };
        let stage = pipeline.stage(STAGE);
        let outlet = match (&lanes, options["dispatcher"]["type"].as_str().unwrap()) {
            (Some(lanes), _) => stage
                .dispatch(GivingUp::new(lanes, given_up, Held::default()))
                .produce(policy),
            (None, "broadcast") => stage.broadcast().produce(policy),
            (None, _) => stage.produce(policy),
        };
        let kept = handle.outlet(STAGE).unwrap();
        drop(outlet);
        if shared.books().accumulates {
            handle.pause(STAGE).unwrap();
        }
        Self {
            live: Some(Live::run(STAGE, pipeline)),
            shared,
            down: Downstream {
                stage: STAGE,
                handle,
                outlet: Some(kept),
                takers: Takers::default(),
                lanes,
            },
            late: BTreeMap::new(),
        }
    }

    async fn perform(&mut self, step: &Value, found: &mut Deeds) -> Result<(), String> {
        let leaving = match step["op"].as_str().unwrap() {
            "cancel" => step.get("consumer"),
            "down" => step.get("who"),
            _ => step.get("cancels"),
        };
        let leaving = leaving.and_then(|name| self.late.remove(name.as_str().unwrap()));
        for event in leaving.into_iter().flatten() {
            self.shared.books().forget(event);
        }
        if let Some(old) = step.get("cancels") {
            let reason = step["cancel_reason"].as_str().unwrap();
            self.down.takers.cancel(old.as_str().unwrap(), reason);
            self.work(found).await;
        }
        if !self.down.perform(step, found)? {
            self.perform_inside(step, found)?;
        }
        self.work(found).await;
        let books = self.shared.books();
        found.buffered = Some(books.buffered());
        Ok(())
    }

    /// Does what the producer's own code does in this step.
    fn perform_inside(&self, step: &Value, _: &mut Deeds) -> Result<(), String> {
        let mut books = self.shared.books();
        let count = || step["count"].as_u64().unwrap() as usize;
        match step["op"].as_str().unwrap() {
            "emit" => {
                let events = books.make(count());
                books.todo.push_back(Work::Events(events));
            }
            "feed" => {
                let (_, events) = books.feed(count());
                books.todo.push_back(Work::Events(events));
            }
            "info" => {
                let mark = books.inform(stage_core::protocol::Mark(number(&step["msg"])));
                drop(books);
                mark.into_iter()
                    .for_each(|mark| self.shared.notify(&self.down.handle, mark));
            }
            "demand_mode" => {
                books.accumulates = step["mode"] == "accumulate";
                let handle = &self.down.handle;
                let set = match books.accumulates {
                    true => handle.pause(STAGE),
                    false => handle.resume(STAGE),
                };
                set.map_err(|error| error.to_string())?;
            }
            // A process that is none of its consumers.
            "down" => {}
            other => panic!("what is `{other}`?"),
        }
        Ok(())
    }

    /// Lets everybody do what there is to do.
    async fn work(&mut self, found: &mut Deeds) {
        settle().await;
        loop {
            self.shared.nudge.notify_one();
            settle().await;
            let mut books = self.shared.books();
            if books.accumulates {
                let status = self.down.handle.status();
                let wanted = status.stage(STAGE).map_or(0, |stage| stage.wanted);
                books.note_demand(wanted as usize);
                break;
            }
            if books.is_waiting {
                break;
            }
            let (mark, goes_on) = books.do_unasked();
            drop(books);
            mark.into_iter()
                .for_each(|mark| self.shared.notify(&self.down.handle, mark));
            if !goes_on {
                break;
            }
        }
        settle().await;
        let noted = mem::take(&mut self.shared.books().noted);
        self.down.note(&noted.opened, noted.ended, found);
        found.demands.extend(noted.demands);
        found.discarded.extend(noted.discarded);
        found.infos.extend(noted.infos);
        self.shared.books().noted.raised_again = noted.raised_again;
    }

    /// Turns what was found into what GenStage must have done, and says why it is not the same.
    fn translate(&mut self, step: &Value, recorded: &Deeds, found: &mut Deeds) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if let Some(at) = found
            .refused
            .iter()
            .position(|(_, why)| why == "already_subscribed")
        {
            let (who, _) = found.refused.remove(at);
            found.opened.push(who.clone());
            found
                .ended
                .push((who, "cancel: already_subscribed".to_owned()));
            reasons.push(REFUSED);
        }
        if let Some(at) = found
            .refused
            .iter()
            .position(|(_, why)| why.starts_with("raised:"))
        {
            let (who, why) = found.refused.remove(at);
            found.opened.push(who);
            found.exit = Some(why);
            found.buffered = None;
            reasons.push(ALONE);
        }
        self.wait_for_owed(recorded, found, &mut reasons);
        if selectors(step) > 1
            && found.demands.len() < recorded.demands.len()
            && merged(found) == merged(recorded)
        {
            *found = recorded.clone();
            reasons.push(AT_ONCE);
        }
        reasons
    }

    /// What was asked for by one that left is taken in here when somebody asks.
    fn wait_for_owed(&mut self, recorded: &Deeds, found: &mut Deeds, reasons: &mut Vec<Reason>) {
        if self.late.is_empty() && found.sent == recorded.sent {
            return;
        }
        let books = self.shared.books();
        let was_late = !self.late.is_empty();
        let mut late = mem::take(&mut self.late);
        for (to, batches) in &recorded.sent {
            late.entry(to.clone())
                .or_default()
                .extend(batches.iter().flatten());
        }
        for (to, batches) in &found.sent {
            let events = batches.concat();
            let expected = late.entry(to.clone()).or_default();
            if !expected.starts_with(&events) {
                return;
            }
            expected.drain(..events.len());
        }
        late.retain(|_, events| !events.is_empty());
        if late.is_empty() && !was_late {
            return;
        }
        if late.values().flatten().all(|event| books.owes(*event)) {
            self.late = late;
            found.sent = recorded.sent.clone();
            reasons.push(LATER);
        }
    }

    /// Checks how the stage has ended, if it was to.
    async fn check_exit(
        &mut self,
        step: &Value,
        recorded: &Deeds,
        found: &mut Deeds,
    ) -> Vec<Reason> {
        let exit = recorded.exit.clone().unwrap();
        let live = self.live.take().unwrap();
        found.buffered = None;
        if exit.starts_with("raised:") {
            if !live.is_alive() {
                found.refused.clear();
            }
            return Vec::new();
        }
        let mut reasons = Vec::new();
        if live.is_alive() && self.shared.books().ending.as_ref() == Some(&exit) {
            reasons.push(NEXT);
            for lane in 0..self.down.lanes.as_ref().map_or(0, Lanes::count) {
                let lane = self.down.handle.lane(STAGE, lane).unwrap();
                let name = format!("late{}", lane.number());
                self.down
                    .takers
                    .subscribe(&name, &name, lane.subscribe_manually());
            }
            let late = self.down.outlet.as_ref().unwrap().subscribe_manually();
            self.down.takers.subscribe("late", "late", late);
            settle().await;
            self.down.takers.ask_again();
            settle().await;
        }
        if !live.has_ended(&exit.as_str().into(), &[]).await {
            return reasons;
        }
        found.exit = Some(exit);
        // A stage that ends tells its own code of all that end with it.
        found.ended.retain(|ended| recorded.ended.contains(ended));
        if found.ended.is_empty() && step["op"] == "cancel" {
            let (who, why) = (text(&step["consumer"]), text(&step["reason"]));
            let told = told(&who, "cancel", &why);
            found.ended.push((who, told));
            reasons.push(UNTOLD);
        }
        let rest = recorded.demands.strip_prefix(&*found.demands);
        let makes_nothing = |rest: &[(u64, Vec<u64>)]| rest.iter().all(|(_, made)| made.is_empty());
        if selectors(step) > 0 && rest.is_some_and(|rest| !rest.is_empty() && makes_nothing(rest)) {
            found.demands = recorded.demands.clone();
            reasons.push(NO_MORE);
        }
        reasons
    }
}

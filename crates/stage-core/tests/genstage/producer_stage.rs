//! A producer stage of GenStage's against one that runs, and consumers that run.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use serde_json::Value;
use stage_core::Pipeline;

use crate::{
    deeds::{Deeds, text, told},
    downstream::{Downstream, Spared},
    invariants::Invariants,
    lanes::{GivingUp, Held, Lanes},
    live::{Live, play, settle},
    policy::{Policy, STAGE, Shared, Work},
    raised::Raised,
    said::Said,
    takers::Takers,
    tally::{Reason, Tally},
    trace::{disputed_from, number, steps},
};

const AT_ONCE: Reason = "what is made up for several subscribers is asked for at once; GenStage asks \
     for it bit by bit, and so sends smaller batches";
const REFUSED: Reason = "who is subscribed already is refused, and the producer is not told; GenStage \
     tells of a subscription and its cancel";
const ALONE: Reason = "who names no lane that is free is refused alone; GenStage's stage crashes";
const REMEMBERED: &str = "events are sent while more is on its way for one that has left, as the replay's dispatcher \
     remembers it: ours do not ask for it any more";
const PARTED: Reason = "what selectors drop of what was remembered is made up for at once; GenStage does so \
     behind all that was remembered, and from there on discards and sends other events";
const NEXT: Reason =
    "a producer says that it ends when it is asked for more; GenStage's stops itself";
const PASSED: Reason =
    "a notice passes behind the end of the events; GenStage's stage has ended by then";
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
    /// How far its demand is from what its dispatcher says, and how much more was raised for what was
    /// given up, than it says and in all.
    off: Held,
    again: Held,
    instead: Held,
}

pub(crate) fn replay(scenario: &Value, tally: &mut Tally) -> Result<(), String> {
    tally.scenarios += 1;
    play(replay_it(scenario, tally))
}

async fn replay_it(scenario: &Value, tally: &mut Tally) -> Result<(), String> {
    let mut stage = Stage::start(&scenario["options"]);
    settle().await;
    let mut invariants = Invariants::of(&scenario["options"]);
    let mut parted = false;
    let mut said = Said::of(scenario);
    for (at, step) in steps(scenario).iter().enumerate() {
        let fail = |error: String| format!("step {at}: {error}\n{step}");
        said.check(step).map_err(fail)?;
        let recorded = Deeds::recorded(step);
        let mut found = Deeds::default();
        stage.perform(step, &mut found).await.map_err(fail)?;
        invariants.check(step, &found).map_err(fail)?;
        let raised_again = stage.again.swap(0, Relaxed) > 0;
        let made_up = stage.instead.swap(0, Relaxed) as u64 + found.spared.values().sum::<u64>();
        if at >= disputed_from(scenario) {
            let quirk = scenario["quirks"][0].as_str().unwrap();
            tally.count_disputed(quirk, found == recorded);
            continue;
        }
        let mut at_exit = Vec::new();
        if recorded.exit.is_some() {
            at_exit = stage.check_exit(step, &recorded, &mut found, made_up).await;
        }
        if step["op"] == "cancel" {
            stage.down.check_told(step, &recorded).map_err(fail)?;
        }
        let mut reasons = stage.translate(step, &recorded, &mut found);
        reasons.extend(at_exit);
        if raised_again {
            reasons.push(KEPT);
        }
        parted |= has_parted(step, &recorded, &found);
        if parted && found != recorded {
            tally.count(&[PARTED]);
            continue;
        }
        if found != recorded {
            return Err(fail(format!(
                "{found:?}\nis found, and recorded is\n{recorded:?}"
            )));
        }
        tally.count(&reasons);
        if reasons.is_empty() && stage.off.load(Relaxed) > 0 && !found.sent.is_empty() {
            tally.note_aids(&[REMEMBERED]);
        }
        let unknown = |(_, why): &(String, String)| {
            why.ends_with("ed_subscription") || why.starts_with("unknown")
        };
        tally.ignored += usize::from(reasons.is_empty() && recorded.refused.iter().any(unknown));
    }
    Ok(())
}

/// Whether selectors drop some of what was remembered and is given now. What is made up for then is
/// given before the rest here.
fn has_parted(step: &Value, recorded: &Deeds, found: &Deeds) -> bool {
    let told = |deeds: &Deeds| {
        (
            deeds.opened.clone(),
            deeds.ended.clone(),
            deeds.infos.clone(),
        )
    };
    let first = |deeds: &Deeds, to: &String| deeds.sent.get(to).map(|batches| batches[0].clone());
    let both = |to: &String| first(found, to) == first(recorded, to);
    step["mode"] == "forward"
        && selectors(step) > 0
        && told(found) == told(recorded)
        && recorded.sent.keys().all(both)
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
        let lanes = Lanes::of_options(&options["dispatcher"]);
        let shared = Arc::new(Shared::new(options, lanes.clone()));
        let mut pipeline = Pipeline::new();
        let handle = pipeline.handle();
        let policy = Policy {
            shared: Arc::clone(&shared),
            handle: handle.clone(),
        };
        let stage = pipeline.stage(STAGE);
        let [mut off, mut again, mut instead] = [(); 3].map(|()| Held::default());
        let outlet = match (&lanes, options["dispatcher"]["type"].as_str().unwrap()) {
            (Some(lanes), _) => {
                let given_up = Held::default();
                let inner = GivingUp::new(lanes, Arc::clone(&given_up), Held::default());
                let raised = Raised::new(Box::new(inner), given_up);
                (off, again, instead) = (raised.off(), raised.again(), raised.instead());
                stage.dispatch(raised).produce(policy)
            }
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
                spared: Spared::default(),
            },
            off,
            again,
            instead,
        }
    }

    async fn perform(&mut self, step: &Value, found: &mut Deeds) -> Result<(), String> {
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
    fn perform_inside(&self, step: &Value, found: &mut Deeds) -> Result<(), String> {
        let mut books = self.shared.books();
        let count = || step["count"].as_u64().unwrap() as usize;
        match step["op"].as_str().unwrap() {
            "emit" => {
                let events = books.make(count());
                found.made.push(events.clone());
                books.todo.push_back(Work::Events(events));
            }
            "feed" => {
                let (queued, events) = books.feed(count());
                found.made.extend([queued, events.clone()]);
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
                // Where GenStage is wrong, this stage may have ended before.
                if self.live.as_ref().is_some_and(Live::is_alive) {
                    set.map_err(|error| error.to_string())?;
                }
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
        if selectors(step) > 1
            && found.demands.len() < recorded.demands.len()
            && merged(found) == merged(recorded)
        {
            *found = recorded.clone();
            reasons.push(AT_ONCE);
        }
        reasons
    }

    /// Checks how the stage has ended, if it was to.
    async fn check_exit(
        &mut self,
        step: &Value,
        recorded: &Deeds,
        found: &mut Deeds,
        made_up: u64,
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
            // A producer that is held back is not asked.
            let _ = self.down.handle.resume(STAGE);
            settle().await;
            self.down.takers.ask_again();
            settle().await;
        }
        if live.is_alive() {
            // What waits for others is drained first, or they leave.
            self.down.takers.cancel_all();
            self.down.outlet = None;
            settle().await;
        }
        if !live.has_ended(&exit.as_str().into(), &[]).await {
            return reasons;
        }
        found.exit = Some(exit);
        if found.infos != recorded.infos && found.infos.starts_with(&recorded.infos) {
            found.infos.clone_from(&recorded.infos);
            reasons.push(PASSED);
        }
        // A stage that ends tells its own code of all that end with it.
        found.ended.retain(|ended| recorded.ended.contains(ended));
        if found.ended.is_empty() && step["op"] == "cancel" {
            let (who, why) = (text(&step["consumer"]), text(&step["reason"]));
            let told = told(&who, "cancel", &why);
            found.ended.push((who, told));
            reasons.push(UNTOLD);
        }
        let rest = recorded.demands.strip_prefix(&*found.demands);
        let makes_nothing = |rest: &[(u64, Vec<u64>)]| {
            let demand = rest.iter().map(|(demand, _)| demand);
            let (demand, is_bit_by_bit) = (demand.sum::<u64>(), !found.spared.is_empty());
            rest.iter().all(|(_, made)| made.is_empty())
                && (demand == made_up || is_bit_by_bit && demand < made_up)
        };
        if rest.is_some_and(|rest| !rest.is_empty() && makes_nothing(rest)) {
            found.demands = recorded.demands.clone();
            reasons.push(NO_MORE);
        }
        reasons
    }
}

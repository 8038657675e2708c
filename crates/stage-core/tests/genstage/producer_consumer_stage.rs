//! A producer_consumer stage of GenStage's against a transform that runs, between producers and
//! consumers that run.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
};

use serde_json::Value;
use stage_core::{
    Batch, BoxError, End, Intake, Mode, Pipeline, Subscription, SubscriptionInfo, Transform,
    protocol::{Broadcast, ByDemand, Dispatcher},
};
use tokio::time::sleep;

use crate::{
    bounded::{Bounded, Dropped, Waiting},
    couriers::{ASIDE, Couriers, KEEPER},
    deeds::{Deeds, shown, text},
    downstream::{Downstream, Spared, notify},
    drift::Drift,
    invariants::Invariants,
    lanes::{GivingUp, Held, Lanes},
    live::{A_WHILE, Live, handled, play, settle},
    raised::Raised,
    said::Said,
    takers::Takers,
    tally::{Reason, Tally},
    terms::Terms,
    trace::{disputed_from, numbers, refused_late, steps},
};

const STAGE: &str = "hop";

const EARLY: Reason = "a notice is told as soon as all before it has been dealt with; GenStage's stage looks for \
     it when it is asked for more";
const MADE_UP: Reason = "what a selector drops is made up for before more comes; GenStage's stage does so when \
     all its work is done, and so sends other batches, or has to discard more";
const PARTED: Reason = "what selectors drop is made up for before more comes, and so other events are discarded; \
     from there on both have others";
const ALONE: Reason = "who names no lane that is free is refused alone; GenStage's stage crashes";
const DRAINED: Reason =
    "what selectors drop is made up for though the stage ends; GenStage's has ended by then";
const MERGED: Reason = "what waits in a lane and in the buffer is sent together; GenStage sends the buffer's \
     behind the lane's";
const ASKED: &str = "the replay asks by hand for what nobody asked for";
const FORGOTTEN: &str = "what is left of a producer that has gone is given to another subscription, by hand: its \
     own would take it in by portions, as ever";
const DROPPED: &str =
    "the replay's dispatcher discards: a transform keeps everything that it makes";
const REMEMBERED: &str = "events are handled for the demand of one that has left, as the replay's dispatcher \
     remembers it: ours do not";
const ACCEPTED: &str = "who was accepted is cancelled as being subscribed already: here that is told at once or \
     never, so the subscription is one that its stage goes on without";

/// Does what a handler of a trace does.
struct Worker {
    handler: Value,
    noted: Arc<Mutex<Noted>>,
}

#[derive(Default)]
struct Noted {
    batches: Vec<Vec<u64>>,
    opened: Vec<(bool, String)>,
    ended: Vec<(bool, String, End)>,
    infos: Vec<String>,
}

struct Stage {
    /// `None` once it has ended.
    live: Option<Live>,
    noted: Arc<Mutex<Noted>>,
    intake: Intake<u64>,
    up: Couriers,
    by_hand: BTreeSet<String>,
    down: Downstream,
    dropped: Dropped,
    held: Held,
    /// How far its demand is from what its dispatcher says.
    off: Held,
    /// Where events are from.
    origins: BTreeMap<u64, String>,
    /// The first events of deliveries that are handled when their producer has gone.
    outlived: BTreeSet<u64>,
    /// What has come from upstream, and is not handed on.
    arrived: VecDeque<Item>,
    /// How many events of each producer are handed on and not handled.
    unhandled: BTreeMap<String, usize>,
    /// Whose end was handed on.
    over: BTreeSet<String>,
    /// Who has ended and was not told of.
    untold: Vec<String>,
    /// Notices that were handed on and are not told.
    pending_infos: usize,
    /// Of these, those that came when something was in the buffer.
    stored_infos: usize,
    /// Whom GenStage's stage is told late that it is subscribed to already.
    accepted: BTreeSet<String>,
    is_unbounded: bool,
    /// What waits in the buffer, and what did before the step.
    waiting: Waiting,
    waited: Vec<u64>,
    handler: Value,
    /// Whether events may be equal.
    repeats: bool,
    drift: Drift,
    /// Whether GenStage's stage has discarded what this one has sent.
    has_parted: bool,
    /// How often what was left of a producer that has gone was handed on.
    forgotten: usize,
    /// How often what was handed on was asked for by hand.
    asked: usize,
}

enum Item {
    Events(String, Vec<u64>),
    End(String, String),
    Info(String),
}

pub(crate) fn replay(scenario: &Value, tally: &mut Tally) -> Result<(), String> {
    tally.scenarios += 1;
    play(replay_it(scenario, tally))
}

async fn replay_it(scenario: &Value, tally: &mut Tally) -> Result<(), String> {
    let mut stage = Stage::start(&scenario["options"]);
    stage.accepted = refused_late(steps(scenario));
    stage.outlived = outlived(steps(scenario));
    settle().await;
    let mut invariants = Invariants::of(&scenario["options"]);
    let mut said = Said::of(scenario);
    for (at, step) in steps(scenario).iter().enumerate() {
        let fail = |error: String| format!("step {at}: {error}\n{step}");
        said.check(step).map_err(fail)?;
        let recorded = Deeds::recorded(step);
        let mut found = Deeds::default();
        stage.perform(step, &mut found).await.map_err(fail)?;
        invariants.check(step, &found).map_err(fail)?;
        if at >= disputed_from(scenario) {
            let quirk = scenario["quirks"][0].as_str().unwrap();
            tally.count_disputed(quirk, found == recorded);
            continue;
        }
        if recorded.exit.is_some() {
            stage.check_exit(&recorded, &mut found).await;
        } else if found.buffered.is_none() {
            found.exit = Some("it has ended".to_owned());
        }
        if step["op"] == "cancel" {
            stage.down.check_told(step, &recorded).map_err(fail)?;
        }
        stage.allow_for_notices(&recorded, &mut found);
        let reasons = stage.compare(step, &recorded, &found).map_err(fail)?;
        tally.count(&reasons);
        let aids = stage.aids(step, &found);
        if reasons.is_empty() {
            tally.note_aids(&aids);
            tally.ignored += usize::from(!recorded.refused.is_empty());
        }
    }
    Ok(())
}

/// The first events of deliveries that are handled when their producer has gone, or never.
fn outlived(steps: &[Value]) -> BTreeSet<u64> {
    let mut handled = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        for (_, events) in Deeds::recorded(step).events_in {
            handled.extend(events.into_iter().map(|event| (event, at)));
        }
    }
    let deliveries = steps
        .iter()
        .enumerate()
        .filter(|(_, step)| step["op"] == "deliver");
    let outlived = deliveries.filter_map(|(at, step)| {
        let first = step["events"][0].as_u64()?;
        let until = handled.get(&first).copied().unwrap_or(steps.len());
        let mut meanwhile = steps[at..until.max(at)].iter();
        let ends = |other: &Value| {
            let of = |key: &str| other[key] == step["producer"];
            other["op"] == "producer_cancels" && of("producer") || of("who")
        };
        meanwhile.any(ends).then_some(first)
    });
    outlived.collect()
}

impl Transform<u64> for Worker {
    type Out = u64;
    type Error = BoxError;

    async fn transform(
        &mut self,
        batch: &mut Batch<u64>,
        out: &mut Batch<u64>,
    ) -> Result<(), BoxError> {
        self.noted.lock().unwrap().batches.push(batch.to_vec());
        // So that the producers see each ask by itself.
        sleep(A_WHILE).await;
        let stop_on = self.handler["stop_on"].as_u64();
        if stop_on.is_some_and(|event| batch.contains(&event)) {
            return Err("boom".into());
        }
        for event in batch.drain() {
            out.extend(handled(&self.handler, event));
        }
        Ok(())
    }

    fn subscribed(&mut self, info: &SubscriptionInfo) {
        let opened = match &*info.to == STAGE {
            true => (true, info.from.to_string()),
            false => (false, info.to.to_string()),
        };
        self.noted.lock().unwrap().opened.push(opened);
    }

    fn unsubscribed(&mut self, info: &SubscriptionInfo, end: &End) {
        let ended = match &*info.to == STAGE {
            true => (true, info.from.to_string(), end.clone()),
            false => (false, info.to.to_string(), end.clone()),
        };
        self.noted.lock().unwrap().ended.push(ended);
    }
}

impl Stage {
    fn start(options: &Value) -> Self {
        let lanes = Lanes::of_options(&options["dispatcher"]);
        let noted = Arc::<Mutex<Noted>>::default();
        let worker = Worker {
            handler: options["handler"].clone(),
            noted: Arc::clone(&noted),
        };
        let mut pipeline = Pipeline::new();
        let handle = pipeline.handle();
        let stage = pipeline.stage(STAGE);
        let none = Vec::<Subscription<u64>>::new();
        let (dropped, waiting, held) = (Dropped::default(), Waiting::default(), Held::default());
        let is_broadcast = options["dispatcher"]["type"] == "broadcast";
        let abandoned = Held::default();
        let inner: Box<dyn Dispatcher<u64>> = match &lanes {
            Some(lanes) => {
                let given_up = Arc::clone(&abandoned);
                Box::new(GivingUp::new(lanes, given_up, Arc::clone(&held)))
            }
            None if is_broadcast => Box::new(Broadcast::new()),
            None => Box::new(ByDemand::default()),
        };
        let raised = Raised::new(inner, abandoned).counting_nowhere();
        let off = raised.off();
        let bounded = Bounded::of(
            options,
            Box::new(raised),
            Arc::clone(&dropped),
            Arc::clone(&waiting),
        );
        drop(stage.dispatch(bounded).transform(worker, none));
        let outlet = handle.outlet(STAGE).unwrap();
        let intake = handle.intake(STAGE).unwrap();
        let mut up = Couriers::default();
        up.keep(&intake);
        Self {
            live: Some(Live::run(STAGE, pipeline)),
            noted,
            intake,
            up,
            by_hand: BTreeSet::new(),
            down: Downstream {
                stage: STAGE,
                handle,
                outlet: Some(outlet),
                takers: Takers::default(),
                lanes,
                spared: Spared::default(),
            },
            dropped,
            held,
            off,
            origins: BTreeMap::new(),
            outlived: BTreeSet::new(),
            arrived: VecDeque::new(),
            unhandled: BTreeMap::new(),
            over: BTreeSet::new(),
            untold: Vec::new(),
            pending_infos: 0,
            stored_infos: 0,
            accepted: BTreeSet::new(),
            is_unbounded: options["buffer_size"].is_null(),
            waiting,
            waited: Vec::new(),
            handler: options["handler"].clone(),
            repeats: options["handler"]["repeat"].as_u64() > Some(1),
            drift: Drift::default(),
            has_parted: false,
            forgotten: 0,
            asked: 0,
        }
    }

    async fn perform(&mut self, step: &Value, found: &mut Deeds) -> Result<(), String> {
        self.waited.clone_from(&self.waiting.lock().unwrap());
        if let Some(old) = step.get("cancels") {
            let reason = step["cancel_reason"].as_str().unwrap();
            self.down.takers.cancel(old.as_str().unwrap(), reason);
            self.work(found).await;
        }
        if !self.down.perform(step, found)? {
            self.perform_upstream(step, found)?;
        }
        self.work(found).await;
        found.buffered = self.buffered();
        Ok(())
    }

    /// Lets everybody do what there is to do.
    async fn work(&mut self, found: &mut Deeds) {
        loop {
            settle().await;
            self.note(found);
            if !self.hand_on(found) {
                break;
            }
        }
    }

    /// How many events wait in the stage's buffer.
    fn buffered(&self) -> Option<u64> {
        let status = self.down.handle.status();
        let stage = status.stage(STAGE)?;
        Some(stage.buffered - self.held.load(Relaxed) as u64)
    }

    fn perform_upstream(&mut self, step: &Value, found: &mut Deeds) -> Result<(), String> {
        let producer = || step["producer"].as_str().unwrap();
        match step["op"].as_str().unwrap() {
            "subscribe_to" => {
                if let Some(mut terms) = Terms::of_step(step)? {
                    if self.accepted.contains(producer()) {
                        terms.mode = Mode::Temporary;
                    }
                    if terms.by_hand {
                        self.by_hand.insert(producer().to_owned());
                    }
                    self.up.subscribe(producer(), &terms, &self.intake);
                }
            }
            "deliver" if self.up.knows(producer()) => {
                let events = numbers(&step["events"]);
                for event in &events {
                    self.origins.insert(*event, producer().to_owned());
                }
                self.arrived
                    .push_back(Item::Events(producer().to_owned(), events));
            }
            // It has gone, and cannot send.
            "deliver" => {
                let refusal = (text(&step["producer"]), "unknown_subscription".to_owned());
                found.refused.push(refusal);
            }
            "producer_cancels" => self.end(producer(), &step["reason"], found),
            "down" => self.end(step["who"].as_str().unwrap(), &step["reason"], found),
            "info" => self.arrive(Item::Info(text(&step["msg"])), found),
            "manual_ask" => {
                // Of nothing, and of one that has gone, nothing comes.
                let _ = self
                    .up
                    .ask_by_hand(producer(), step["count"].as_u64().unwrap());
            }
            // A wish, which its producer grants later.
            "request_cancel" => {}
            other => panic!("what is `{other}`?"),
        }
        Ok(())
    }

    fn end(&mut self, producer: &str, reason: &Value, found: &mut Deeds) {
        if self.up.knows(producer) {
            self.up.forget(producer);
            self.arrive(Item::End(producer.to_owned(), text(reason)), found);
        }
    }

    /// Hands on what has arrived, one after another, as the stage asks for more. Whether there was
    /// any.
    fn hand_on(&mut self, found: &mut Deeds) -> bool {
        let is_next = self.is_idle() && self.wanted() > 0 || self.goes_on_its_way();
        let item = is_next.then(|| self.arrived.pop_front()).flatten();
        let any = item.is_some();
        if let Some(item) = item {
            self.hand(item, found);
        }
        any
    }

    /// Whether what has arrived is a delivery that the stage can keep until it is asked: all before it
    /// that it has is of the same producer, which is there until it is handled and was asked for it.
    fn goes_on_its_way(&self) -> bool {
        let Some(Item::Events(from, events)) = self.arrived.front() else {
            return false;
        };
        let is_before = |other: &String| other != from;
        !self.unhandled.keys().any(is_before)
            && self.untold.is_empty()
            && !self.outlived.contains(&events[0])
            && self.up.open(from) >= events.len()
    }

    /// A notice or an end arrives.
    fn arrive(&mut self, item: Item, found: &mut Deeds) {
        if self.arrived.is_empty() && self.is_idle() {
            self.hand(item, found);
        } else {
            self.arrived.push_back(item);
        }
    }

    /// Whether nothing waits to be handled.
    fn is_idle(&self) -> bool {
        self.unhandled.is_empty() && self.untold.is_empty()
    }

    fn wanted(&self) -> u64 {
        let status = self.down.handle.status();
        status.stage(STAGE).map_or(0, |stage| stage.wanted)
    }

    fn hand(&mut self, item: Item, found: &mut Deeds) {
        match item {
            Item::Events(from, events) if self.up.knows(&from) => {
                *self.unhandled.entry(from.clone()).or_default() += events.len();
                let excess = self.up.deliver_all(&from, events);
                self.asked += usize::from(excess > 0);
                // Of one that asks by hand itself GenStage keeps no count.
                if !self.by_hand.contains(&from) {
                    found.excess += excess;
                }
            }
            Item::Events(from, events) => {
                self.forgotten += 1;
                let count = events.len();
                self.up.deliver_uncounted(&from, events, &self.intake);
                *self.unhandled.entry(from).or_default() += count;
            }
            Item::End(from, reason) => {
                self.up.end(&from, &reason);
                self.over.insert(from.clone());
                self.untold.push(from);
            }
            Item::Info(info) => {
                self.pending_infos += 1;
                let is_alone = self.stored_infos == 0 && self.buffered() == Some(0);
                self.stored_infos += usize::from(self.down.lanes.is_none() || !is_alone);
                let noted = Arc::clone(&self.noted);
                notify(&self.down.handle, STAGE, move || {
                    noted.lock().unwrap().infos.push(info);
                });
            }
        }
    }

    /// Takes note of what has come of it.
    fn note(&mut self, found: &mut Deeds) {
        let noted = mem::take(&mut *self.noted.lock().unwrap());
        for events in noted.batches {
            let from = self.origins[&events[0]].clone();
            let unhandled = self.unhandled.get_mut(&from).unwrap();
            *unhandled -= events.len();
            if *unhandled == 0 {
                self.unhandled.remove(&from);
            }
            found.events_in.push((from, events));
        }
        let (mut opened, mut ended) = (Vec::new(), Vec::new());
        for (is_up, who) in noted.opened {
            match is_up {
                true if who == KEEPER || who.ends_with(ASIDE) => {}
                true => found.opened.push(who),
                false => opened.push(who),
            }
        }
        for (is_up, who, end) in noted.ended {
            match is_up {
                true if who == KEEPER || who.ends_with(ASIDE) => {}
                true => {
                    self.untold.retain(|other| *other != who);
                    self.unhandled.remove(&who);
                    let why = shown(&who, &end);
                    found.ended.push((who, why));
                }
                false => ended.push((who, end)),
            }
        }
        self.pending_infos -= noted.infos.len();
        self.stored_infos = self.stored_infos.min(self.pending_infos);
        found.infos.extend(noted.infos);
        // Who has gone does not hear it.
        let asks = self.up.asks().into_iter();
        found
            .asks
            .extend(asks.filter(|(whom, _)| self.up.knows(whom) && !whom.ends_with(ASIDE)));
        found
            .discarded
            .extend(mem::take(&mut *self.dropped.lock().unwrap()));
        self.down.note(&opened, ended, found);
    }

    /// In a buffer without limit GenStage counts notices, too. Some may have passed from there into
    /// lanes, if it has these.
    fn allow_for_notices(&self, recorded: &Deeds, found: &mut Deeds) {
        if let (Some(counted), Some(events)) = (recorded.buffered, &mut found.buffered)
            && self.is_unbounded
        {
            let most = *events + self.stored_infos as u64;
            let least = if self.down.lanes.is_some() {
                *events
            } else {
                most
            };
            if (least..=most).contains(&counted) {
                *events = counted;
            }
        }
    }

    /// What the replay has done in a step.
    fn aids(&mut self, step: &Value, found: &Deeds) -> Vec<&'static str> {
        let mut aids = Vec::new();
        if mem::take(&mut self.forgotten) > 0 {
            aids.push(FORGOTTEN);
        }
        if mem::take(&mut self.asked) > 0 {
            aids.push(ASKED);
        }
        if !found.discarded.is_empty() {
            aids.push(DROPPED);
        }
        if self.off.load(Relaxed) > 0 && !found.events_in.is_empty() {
            aids.push(REMEMBERED);
        }
        let producer = step["producer"].as_str();
        let is_accepted = producer.is_some_and(|producer| self.accepted.contains(producer));
        if step["op"] == "producer_cancels" && is_accepted && !found.ended.is_empty() {
            aids.push(ACCEPTED);
        }
        aids
    }

    /// Compares a step. Where it is not the same, the reasons are told.
    fn compare(
        &mut self,
        step: &Value,
        recorded: &Deeds,
        found: &Deeds,
    ) -> Result<Vec<Reason>, String> {
        let was_even = self.drift.is_even();
        let (mut found, mut reasons) = (found.clone(), Vec::new());
        let log = step["log"].as_array().unwrap();
        let made_up = log.iter().filter(|entry| entry[0] == "self_ask").count();
        if recorded.exit.is_some() && made_up > 0 && drained(&mut found, recorded) {
            reasons.push(DRAINED);
        }
        if let Err(error) = self.drift.note(&found, recorded) {
            let has_discarded = !recorded.discarded.is_empty();
            self.has_parted |= made_up > 0 && has_discarded && self.adds_up(log, recorded);
            if !self.has_parted {
                return Err(differ(&error, &found, recorded));
            }
        }
        if self.has_parted {
            return Ok(if found == *recorded {
                reasons
            } else {
                vec![PARTED]
            });
        }
        let exit = found.exit.as_deref().unwrap_or_default();
        if exit.starts_with("raised:") {
            reasons.push(ALONE);
        }
        if self.is_early(recorded, &found, was_even) {
            told_alike(&mut found, recorded);
            reasons.push(EARLY);
        }
        if made_up > 0 && self.adds_up(log, recorded) && self.drift.allow_for_discarded() {
            // What was sent instead is not asked for again.
            self.has_parted = true;
            reasons.push(MADE_UP);
            return Ok(reasons);
        }
        if found.sent != recorded.sent && flat(&found) == flat(recorded) {
            if self.down.lanes.is_some() && self.is_merged(recorded, &found) {
                reasons.push(MERGED);
                found.sent.clone_from(&recorded.sent);
            } else if made_up > 0 {
                reasons.push(MADE_UP);
                found.sent.clone_from(&recorded.sent);
            }
        }
        let discarded = |deeds: &Deeds| deeds.discarded.iter().sum::<u64>();
        if made_up > 0 && discarded(&found) < discarded(recorded) && self.adds_up(log, recorded) {
            self.has_parted = true;
            return Ok(vec![PARTED]);
        }
        match found == *recorded {
            true => Ok(reasons),
            false => Err(differ("it is not the same", &found, recorded)),
        }
    }

    /// Whether notices were told that GenStage has in its buffer, or that go down with it; or were
    /// told before.
    fn is_early(&self, recorded: &Deeds, found: &Deeds, was_even: bool) -> bool {
        let untold = self.drift.infos.ahead.len() as u64;
        let kept = found.buffered.map(|events| events + untold);
        (found.infos != recorded.infos || kept != found.buffered)
            && (kept == recorded.buffered || untold == 0 && !was_even)
            && (self.is_unbounded || recorded.exit.is_some())
            && self.drift.infos.behind.is_empty()
    }

    /// Whether all that was made in a step was sent to each, spared it, discarded or kept.
    fn adds_up(&self, log: &[Value], recorded: &Deeds) -> bool {
        let events = recorded.events_in.iter().flat_map(|(_, events)| events);
        let made: usize = events
            .map(|event| handled(&self.handler, *event).count())
            .sum();
        let discarded: u64 = recorded.discarded.iter().sum();
        let kept = discarded + recorded.buffered.unwrap_or(0);
        recorded.sent.iter().all(|(to, batches)| {
            let spared = log
                .iter()
                .filter(|entry| entry[0] == "self_ask" && entry[1] == *to);
            let spared: u64 = spared.map(|entry| entry[2].as_u64().unwrap()).sum();
            let events = batches.concat();
            let sent = events.len() as u64;
            events.is_sorted() && sent + spared + kept == (made + self.waited.len()) as u64
        })
    }

    /// Whether what GenStage sends in two batches is one here: what waited in a lane, and what waited
    /// in the buffer behind it.
    fn is_merged(&self, recorded: &Deeds, found: &Deeds) -> bool {
        let both = recorded
            .sent
            .iter()
            .map(|(to, batches)| (batches, &found.sent[to]));
        let mut differ = both.filter(|(recorded, found)| recorded != found);
        differ.all(|(recorded, found)| {
            let of_buffer =
                |batch: &&Vec<u64>| batch.iter().all(|event| self.waited.contains(event));
            let behind = recorded.iter().skip(1).filter(of_buffer).count();
            recorded.len() > found.len()
                && recorded.len() <= found.len() + behind
                && (self.repeats || !recorded[0].iter().any(|event| self.waited.contains(event)))
        })
    }

    /// Checks how the stage has ended, if it was to.
    async fn check_exit(&mut self, recorded: &Deeds, found: &mut Deeds) {
        let exit = recorded.exit.clone().unwrap();
        let live = self.live.take().unwrap();
        found.buffered = None;
        if exit.starts_with("raised:") && live.is_alive() {
            // It goes on, and who came is refused.
            if let Some((who, why)) = found.refused.pop() {
                found.opened.push(who);
                found.exit = Some(why);
            }
            return;
        }
        // A stage that ends tells its own code of all that end with it.
        let is_recorded = |ended: &(String, String)| recorded.ended.contains(ended);
        let first = found.ended.first().cloned();
        let is_over = |ended: &(String, String)| {
            self.over.contains(&ended.0) && first.as_ref() == Some(ended)
        };
        found
            .ended
            .retain(|ended| is_recorded(ended) || is_over(ended));
        if live.is_alive() {
            self.down.takers.cancel_all();
            self.down.outlet = None;
            settle().await;
        }
        if live.has_ended(&exit.as_str().into(), &[]).await {
            found.exit = Some(exit);
        }
    }
}

/// Takes notices that were told at another time for told.
fn told_alike(found: &mut Deeds, recorded: &Deeds) {
    found.infos.clone_from(&recorded.infos);
    found.buffered = recorded.buffered;
}

/// Takes for unsent what a stage that ends still sends, and GenStage's loses. Whether there is any.
fn drained(found: &mut Deeds, recorded: &Deeds) -> bool {
    let events = |deeds: &Deeds, to: &str| deeds.sent.get(to).map(|batches| batches.concat());
    let mut any = false;
    for to in found.sent.keys().cloned().collect::<Vec<_>>() {
        let (all, first) = (events(found, &to).unwrap(), events(recorded, &to));
        let first = first.unwrap_or_default();
        if all.len() > first.len() && all.starts_with(&first) {
            any = true;
            match recorded.sent.get(&to) {
                Some(batches) => found.sent.insert(to, batches.clone()),
                None => found.sent.remove(&to),
            };
        }
    }
    any
}

/// What was done, whatever was sent together.
fn flat(deeds: &Deeds) -> Deeds {
    let mut flat = deeds.clone();
    for batches in flat.sent.values_mut() {
        *batches = vec![batches.concat()];
    }
    flat
}

fn differ(why: &str, found: &Deeds, recorded: &Deeds) -> String {
    format!("{why}:\n{found:?}\nis found, and recorded is\n{recorded:?}")
}

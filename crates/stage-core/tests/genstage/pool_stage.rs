//! `ConsumerSupervisor` against a pool that runs.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use stage_core::{Children, Intake, Mode, Pipeline, Restart, Subscription, Window, pool};
use tokio::sync::oneshot;

use crate::{
    consumer_supervisor::result_of_start,
    couriers::{ASIDE, Couriers},
    deeds::text,
    live::{Live, is_graceful, play, settle},
    tally::{Reason, Tally},
    terms::Terms,
    trace::{numbers, steps},
};

const STAGE: &str = "pool";
/// More than any trace has at once.
const LIMIT: usize = 100_000;
/// The trace's restarts are within an hour.
const SPAN: Duration = Duration::from_secs(1_000_000);

const SILENT: Reason =
    "a pool that fails asks for nothing more; GenStage's supervisor does so once more";
const STARTED: &str = "a child that is started by hand gets its event from another producer";
const ENDED: &str = "a child that is ended by hand ends well";

/// How to tell a child to end.
type Child = oneshot::Sender<bool>;

#[derive(Default)]
struct Nursery {
    children: BTreeMap<u64, Child>,
    started: Vec<u64>,
}

struct Supervisor {
    live: Live,
    nursery: Arc<Mutex<Nursery>>,
    intake: Intake<u64>,
    up: Couriers,
    /// Of which producer each event is.
    origins: BTreeMap<u64, String>,
    /// After how many ends GenStage asks.
    least: BTreeMap<String, u64>,
    /// How many ended and were not asked for again.
    ended: BTreeMap<String, u64>,
}

pub(crate) fn replay(scenario: &Value, tally: &mut Tally) -> Result<(), String> {
    tally.scenarios += 1;
    play(replay_it(scenario, tally))
}

async fn replay_it(scenario: &Value, tally: &mut Tally) -> Result<(), String> {
    let mut supervisor = Supervisor::start(&scenario["options"]);
    settle().await;
    for (at, step) in steps(scenario).iter().enumerate() {
        let aid = supervisor.perform(step);
        settle().await;
        let found = supervisor.found();
        let fail = |what: &str| {
            Err(format!(
                "step {at}: {what}: {found} is found, recorded {step}"
            ))
        };
        if step["op"] == "start_child" {
            let event = step["event"].as_u64().unwrap();
            if step["result"] != result_of_start(&scenario["options"], event) {
                return fail("result");
            }
        }
        let last = supervisor.count(step, &found);
        let reasons: &[Reason] = match step.get("exit") {
            Some(_) if !last.is_empty() && found["asks"] == json!([]) => {
                if step["asks"] != json!(last) {
                    return fail("the last ask");
                }
                &[SILENT]
            }
            _ if found["asks"] != step["asks"] => return fail("asks"),
            _ => &[],
        };
        if step.get("exit").is_some() {
            // It ends by what its last child failed with.
            let has_ended = supervisor.live.has_ended(&json!("boom"), &[]).await;
            if !has_ended || step["exit"] != "shutdown" {
                return fail("exit");
            }
            tally.count(reasons);
            return Ok(());
        }
        for key in ["started", "active", "children"] {
            if found[key] != step[key] {
                return fail(key);
            }
        }
        if !supervisor.live.is_alive() {
            return fail("it has ended");
        }
        tally.count(&[]);
        tally.note_aids(aid.as_slice());
    }
    Ok(())
}

impl Supervisor {
    fn start(options: &Value) -> Self {
        let most = options["max_restarts"].as_u64().unwrap() as usize;
        let children = match options["restart"].as_str().unwrap() {
            "temporary" => Children::Temporary,
            "transient" => {
                let restart = Restart::new(most, SPAN);
                Children::Transient(restart.waiting(Duration::ZERO, Duration::ZERO))
            }
            other => panic!("what is `{other}`?"),
        };
        let nursery = Arc::<Mutex<Nursery>>::default();
        let refused = ["ignore", "error"].map(|rule| options[rule].clone());
        let work = {
            let nursery = Arc::clone(&nursery);
            move |event: u64| {
                // Who is refused ends at once.
                let is_refused = refused
                    .iter()
                    .any(|rule| Some(event % rule["mod"].as_u64().unwrap()) == rule["eq"].as_u64());
                let ending = (!is_refused).then(|| nursery.lock().unwrap().admit(event));
                async move {
                    match ending {
                        None => Ok(()),
                        Some(ending) => match ending.await {
                            Ok(true) => Ok(()),
                            _ => Err("boom"),
                        },
                    }
                }
            }
        };
        let mut pipeline = Pipeline::new();
        let none = Vec::<Subscription<u64>>::new();
        let intake = pipeline
            .stage(STAGE)
            .consume(pool(LIMIT, children, work), none);
        let mut up = Couriers::default();
        up.keep(&intake);
        Self {
            live: Live::run(STAGE, pipeline),
            nursery,
            intake,
            up,
            origins: BTreeMap::new(),
            least: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    fn perform(&mut self, step: &Value) -> Option<&'static str> {
        let producer = || step["producer"].as_str().unwrap();
        let event = || step["event"].as_u64().unwrap();
        match step["op"].as_str().unwrap() {
            "subscribe_to" => {
                let count = |key: &str| step["opts"][key].as_u64().unwrap() as usize;
                // It asks once so many have ended as GenStage's minimum is.
                let (max, ended) = (count("max_demand"), count("min_demand").max(1));
                let terms = Terms {
                    window: Window::new(max).with_min(max - ended),
                    mode: Mode::Temporary,
                    by_hand: false,
                };
                self.up.subscribe(producer(), &terms, &self.intake);
                self.least.insert(text(&step["producer"]), ended as u64);
                // The first ask is for none that has ended.
                self.ended.insert(text(&step["producer"]), max as u64);
            }
            "deliver" => {
                let events = numbers(&step["events"]);
                for event in &events {
                    self.origins.insert(*event, text(&step["producer"]));
                }
                self.up.deliver(producer(), events);
            }
            "start_child" => {
                self.up
                    .deliver_uncounted("nobody", vec![event()], &self.intake);
                return Some(STARTED);
            }
            "terminate_child" => {
                self.end(event(), true);
                return Some(ENDED);
            }
            "child_exit" => self.end(event(), is_graceful(step["reason"].as_str().unwrap())),
            "producer_cancels" => {
                self.up.forget(producer());
                self.up.end(producer(), "normal");
            }
            other => panic!("what is `{other}`?"),
        }
        None
    }

    fn end(&self, event: u64, well: bool) {
        let child = self.nursery.lock().unwrap().children.remove(&event);
        // One that has gone is noticed by who is counted.
        let _ = child.map(|child| child.send(well));
    }

    /// Counts whose children have ended, and returns what GenStage's supervisor asks for last: for
    /// all of those.
    fn count(&mut self, step: &Value, found: &Value) -> Vec<Value> {
        let has_started = |event: u64| found["started"].as_array().unwrap().contains(&event.into());
        let events = match step["op"].as_str().unwrap() {
            "deliver" => numbers(&step["events"]),
            "child_exit" | "terminate_child" => vec![step["event"].as_u64().unwrap()],
            _ => Vec::new(),
        };
        let mut last = Vec::new();
        for event in events.into_iter().filter(|event| !has_started(*event)) {
            // Whoever started it by hand is no producer.
            let Some(producer) = self.origins.get(&event) else {
                continue;
            };
            let ended = self.ended.get_mut(producer).unwrap();
            *ended += 1;
            if *ended >= self.least[producer] && self.up.knows(producer) {
                last = vec![json!([producer, ended])];
            }
        }
        for ask in found["asks"].as_array().unwrap() {
            let ended = self.ended.get_mut(ask[0].as_str().unwrap()).unwrap();
            *ended -= ask[1].as_u64().unwrap();
        }
        last
    }

    fn found(&self) -> Value {
        let asks = self.up.asks().into_iter();
        let asks: Vec<_> = asks
            .filter(|(whom, _)| self.up.knows(whom) && !whom.ends_with(ASIDE))
            .collect();
        let mut nursery = self.nursery.lock().unwrap();
        let mut started = mem::take(&mut nursery.started);
        started.sort_unstable();
        let running = nursery
            .children
            .values()
            .filter(|child| !child.is_closed())
            .count();
        json!({ "asks": asks, "started": started, "active": running, "children": running })
    }
}

impl Nursery {
    fn admit(&mut self, event: u64) -> oneshot::Receiver<bool> {
        let (child, ending) = oneshot::channel();
        self.children.insert(event, child);
        self.started.push(event);
        ending
    }
}

//! What stands around a dispatcher: a stage, as far as the traces know one.

use serde_json::Value;
use stage_core::{
    Demand,
    protocol::{Backlog, Dispatcher, Handout, Mark, Refused, SubscriptionId, Terms},
};

use crate::{
    account::{Account, Reach},
    observed::{self, Observed},
    said::Complaints,
    tally::{Reason, Tally},
    trace::{disputed_from, number, numbers, steps},
};

const UNKNOWN: &str = "unknown_subscription";

/// What is special about a dispatcher.
pub(crate) trait Kind {
    type Dispatcher: Dispatcher<u64>;
    const REACH: Reach;
    /// Whether the order of deliveries to different subscriptions is to be as recorded.
    const IN_ORDER: bool = false;
    const COUNTS_DISCARDED: bool = false;

    fn dispatcher(&self) -> Self::Dispatcher;

    fn terms(&mut self, step: &Value) -> Terms<u64>;

    /// What GenStage does when a subscription is cancelled, and we do not: gives events up.
    fn give_up(&self, _: &mut Self::Dispatcher, _cancelled: u64) -> Vec<u64> {
        Vec::new()
    }

    /// What is delivered for an event.
    fn delivered(&self, event: u64) -> u64 {
        event
    }

    /// Turns what was found into what GenStage must have done, and says why it is not the same.
    fn translate(&mut self, _: &Scene, _found: &mut Observed) -> Vec<Reason> {
        Vec::new()
    }
}

/// A step, and what is known besides.
pub(crate) struct Scene {
    pub(crate) given_up: usize,
    pub(crate) misplaced: usize,
}

struct Stage<'a, K: Kind> {
    kind: &'a mut K,
    dispatcher: K::Dispatcher,
    account: Account,
    /// How much has been asked for upstream and has not come.
    raised: usize,
    /// Whether events were given up in this step.
    gave_up: bool,
}

/// Replays a scenario.
pub(crate) fn replay<K: Kind>(
    kind: &mut K,
    scenario: &Value,
    tally: &mut Tally,
) -> Result<(), String> {
    let mut stage = Stage {
        dispatcher: kind.dispatcher(),
        kind,
        account: Account::new(K::REACH),
        raised: 0,
        gave_up: false,
    };
    tally.scenarios += 1;
    let options = &scenario["options"];
    assert!(options.is_object(), "there are no options");
    let mut complaints = Complaints::of(options);
    for (at, step) in steps(scenario).iter().enumerate() {
        let fail = |error| Err(format!("step {at}: {error}"));
        let is_known = step.get("error").is_none();
        let said = complaints.as_mut().filter(|_| step["op"] == "ask");
        let said = said.and_then(|complaints| complaints.of_ask(step, is_known));
        if let Err(error) = observed::check_form(step, said.as_slice()) {
            return fail(error);
        }
        let recorded = Observed::recorded(step, K::IN_ORDER);
        let (mut found, reasons) = match stage.perform(step) {
            Ok(done) => done,
            Err(error) => return fail(error),
        };
        if at >= disputed_from(scenario) {
            let quirk = scenario["quirks"][0].as_str().unwrap();
            tally.count_disputed(quirk, found == recorded && reasons.is_empty());
            // What is raised is what is disputed. All else is decided as ever.
            found.demand = recorded.demand;
        } else {
            tally.count(&reasons);
            tally.ignored += usize::from(found.error.as_deref() == Some(UNKNOWN));
            tally.gave_up += usize::from(reasons.is_empty() && stage.gave_up);
        }
        if found != recorded {
            return fail(format!(
                "{found:#?}\nis found, and recorded is\n{recorded:#?}"
            ));
        }
        // The next events that come are those that were asked for then.
        stage.raised += recorded.demand.unwrap_or(0) as usize;
    }
    Ok(())
}

impl<K: Kind> Stage<'_, K> {
    fn perform(&mut self, step: &Value) -> Result<(Observed, Vec<Reason>), String> {
        self.gave_up = false;
        let op = step["op"].as_str().unwrap();
        let consumer = step.get("consumer").map(number);
        if matches!(op, "ask" | "cancel") && !self.account.knows(consumer.unwrap()) {
            return Ok((self.ignore(op, step)?, Vec::new()));
        }
        let (mut handout, mut backlog) = (Handout::new(), Backlog::new());
        let mut found = Observed::default();
        match op {
            "subscribe" => found.error = self.subscribe(step).err().map(code),
            "info" => {
                let mark = Mark(number(&step["msg"]));
                self.dispatcher.mark(mark, &mut handout);
            }
            "dispatch" => backlog.push(numbers(&step["events"]).into()),
            "ask" | "cancel" => self.ask_or_cancel(op, step),
            other => panic!("what is `{other}`?"),
        }
        let given_up = match op {
            "cancel" => self.give_up(consumer.unwrap()),
            _ => 0,
        };
        self.dispatcher.dispatch(&mut backlog, &mut handout);
        let leftover = backlog.take(usize::MAX).into_vec();
        self.settle(step, &handout, &leftover)?;
        self.observe(op, &mut found, &handout, leftover);
        let scene = Scene {
            given_up,
            misplaced: handout.misplaced,
        };
        let reasons = self.kind.translate(&scene, &mut found);
        Ok((found, reasons))
    }

    fn subscribe(&mut self, step: &Value) -> Result<(), Refused> {
        let id = SubscriptionId(number(&step["consumer"]));
        self.dispatcher.subscribe(id, self.kind.terms(step))?;
        self.account.note(step);
        Ok(())
    }

    fn give_up(&mut self, cancelled: u64) -> usize {
        let given_up = self.kind.give_up(&mut self.dispatcher, cancelled);
        self.account.give_up(&given_up);
        self.gave_up = !given_up.is_empty();
        given_up.len()
    }

    fn ask_or_cancel(&mut self, op: &str, step: &Value) {
        let consumer = number(&step["consumer"]);
        if self.account.knows(consumer) {
            self.account.note(step);
        }
        let id = SubscriptionId(consumer);
        if op == "cancel" {
            return self.dispatcher.cancel(id);
        }
        let count = step["count"].as_u64().unwrap() as usize;
        self.dispatcher.ask(id, Demand::new(count).unwrap());
    }

    /// Asks or cancels in the name of nobody. Whoever does so has just left: that may crash nothing
    /// and changes nothing.
    fn ignore(&mut self, op: &str, step: &Value) -> Result<Observed, String> {
        let before = self.dispatcher.demand();
        self.ask_or_cancel(op, step);
        let (mut handout, mut backlog) = (Handout::new(), Backlog::new());
        self.dispatcher.dispatch(&mut backlog, &mut handout);
        self.account.check(&self.dispatcher, &handout, &[])?;
        let nothing = handout.deliveries.is_empty() && handout.passed.is_empty();
        if !nothing || self.dispatcher.demand() != before {
            return Err(format!("nobody asks, and this comes of it: {handout:?}"));
        }
        Ok(Observed {
            error: Some(UNKNOWN.to_owned()),
            ..Observed::default()
        })
    }

    /// Keeps the books.
    fn settle(
        &mut self,
        step: &Value,
        handout: &Handout<u64>,
        leftover: &[u64],
    ) -> Result<(), String> {
        let events = step.get("events").map(numbers).unwrap_or_default();
        let Some(taken) = events.strip_suffix(leftover) else {
            return Err(format!("{leftover:?} is not what was last of {events:?}"));
        };
        self.account.check(&self.dispatcher, handout, taken)?;
        // The recorded stage does not ask again for events that belong nowhere.
        let came = events.len() - handout.homeless;
        self.raised = self.raised.saturating_sub(came);
        Ok(())
    }

    fn observe(&self, op: &str, found: &mut Observed, handout: &Handout<u64>, leftover: Vec<u64>) {
        let deliveries = handout.deliveries.iter();
        let sent = deliveries.map(|delivery| {
            let events = delivery.events.iter();
            let events = events.map(|event| self.kind.delivered(*event));
            (delivery.to.0, events.collect())
        });
        found.infos = handout.passed.iter().map(|mark| mark.0).collect();
        for (to, demand) in &handout.made_up {
            *found.self_asks.entry(to.0).or_default() += demand.get() as u64;
        }
        if matches!(op, "ask" | "cancel" | "dispatch") {
            found.set_sent(sent.collect(), K::IN_ORDER);
        }
        if op == "dispatch" {
            found.leftover = Some(leftover);
            found.discarded = K::COUNTS_DISCARDED.then_some(handout.homeless as u64);
        } else if op != "info" && found.error.is_none() {
            found.demand = Some(self.more() as u64);
        }
    }

    /// How much more the level asks for than has been raised. GenStage adds up differences.
    fn more(&self) -> usize {
        self.dispatcher.demand().saturating_sub(self.raised)
    }
}

fn code(refused: Refused) -> String {
    let code = match refused {
        Refused::LaneMissing => "partition_missing",
        Refused::LaneUnknown { .. } => "partition_unknown",
        Refused::LaneTaken { .. } => "partition_taken",
        Refused::AlreadySubscribed => "already_subscribed",
        other => panic!("what is {other:?}?"),
    };
    code.to_owned()
}

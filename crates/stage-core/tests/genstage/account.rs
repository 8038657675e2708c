//! What must hold whatever happens, disputed or not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stage_core::protocol::{Dispatcher, Handout};

use crate::trace::number;

/// Who gets an event.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Reach {
    One,
    All,
}

/// Keeps count of a dispatcher from outside.
pub(crate) struct Account {
    reach: Reach,
    subscribed: BTreeMap<u64, Subscriber>,
    /// Events that were taken and not handed out.
    in_stock: BTreeSet<u64>,
    /// Of these, those that are gone.
    dropped: usize,
    /// Events that are not to be seen again.
    done: BTreeSet<u64>,
}

#[derive(Default)]
pub(crate) struct Subscriber {
    pub(crate) asked: usize,
    /// Sent, or spared.
    pub(crate) had: usize,
    last: Option<u64>,
    selector: Value,
}

impl Subscriber {
    fn open(&self) -> usize {
        self.asked - self.had
    }
}

impl Account {
    pub(crate) fn new(reach: Reach) -> Self {
        Self {
            reach,
            subscribed: BTreeMap::new(),
            in_stock: BTreeSet::new(),
            dropped: 0,
            done: BTreeSet::new(),
        }
    }

    pub(crate) fn knows(&self, consumer: u64) -> bool {
        self.subscribed.contains_key(&consumer)
    }

    /// Takes note of what was done, before what came of it.
    pub(crate) fn note(&mut self, step: &Value) {
        let consumer = || number(&step["consumer"]);
        match step["op"].as_str().unwrap() {
            "subscribe" => {
                let subscriber = Subscriber {
                    selector: step["opts"]["selector"].clone(),
                    ..Subscriber::default()
                };
                self.subscribed.insert(consumer(), subscriber);
            }
            "ask" => {
                let count = step["count"].as_u64().unwrap() as usize;
                self.subscribed.get_mut(&consumer()).unwrap().asked += count;
            }
            "cancel" => {
                self.subscribed.remove(&consumer());
            }
            _ => {}
        }
    }

    /// Takes note of events that were given up.
    pub(crate) fn give_up(&mut self, events: &[u64]) {
        for event in events {
            assert!(self.in_stock.remove(event), "{event} did not wait");
        }
    }

    /// Takes note of what was handed out, and checks it.
    pub(crate) fn check(
        &mut self,
        dispatcher: &dyn Dispatcher<u64>,
        handout: &Handout<u64>,
        taken: &[u64],
    ) -> Result<(), String> {
        self.check_subscribers(handout)?;
        let demand = match self.reach {
            Reach::One => {
                self.check_stock(dispatcher, handout, taken)?;
                let open: usize = self.subscribed.values().map(Subscriber::open).sum();
                open.saturating_sub(dispatcher.held())
            }
            Reach::All => {
                self.check_all_have(handout, taken)?;
                let open = self.subscribed.values().map(Subscriber::open);
                open.min().unwrap_or(0)
            }
        };
        if dispatcher.demand() != demand {
            return Err(format!("demand is {}, not {demand}", dispatcher.demand()));
        }
        Ok(())
    }

    fn check_subscribers(&mut self, handout: &Handout<u64>) -> Result<(), String> {
        for delivery in &handout.deliveries {
            let to = delivery.to.0;
            let Some(subscriber) = self.subscribed.get_mut(&to) else {
                return Err(format!("c{to} gets events and is not subscribed"));
            };
            for &event in &delivery.events {
                if subscriber.last.replace(event) >= Some(event) {
                    return Err(format!("c{to} gets {event} out of order"));
                }
            }
            if delivery.events.len() > subscriber.open() {
                return Err(format!("c{to} gets more than it asked for"));
            }
            if self.reach == Reach::One {
                subscriber.had += delivery.events.len();
            }
        }
        Ok(())
    }

    /// Each event that was taken is sent, waits or is dropped: exactly one of these.
    fn check_stock(
        &mut self,
        dispatcher: &dyn Dispatcher<u64>,
        handout: &Handout<u64>,
        taken: &[u64],
    ) -> Result<(), String> {
        self.in_stock.extend(taken);
        for &event in handout.deliveries.iter().flat_map(|d| &d.events) {
            if !self.in_stock.remove(&event) || !self.done.insert(event) {
                return Err(format!("{event} is sent twice, or never came"));
            }
        }
        self.dropped += handout.homeless + handout.misplaced;
        let waiting = self.in_stock.len() - self.dropped;
        if dispatcher.held() != waiting {
            return Err(format!("{waiting} wait, not {}", dispatcher.held()));
        }
        Ok(())
    }

    /// Each subscriber gets every event that was taken, or asks again for it.
    fn check_all_have(&mut self, handout: &Handout<u64>, taken: &[u64]) -> Result<(), String> {
        for (&id, subscriber) in &mut self.subscribed {
            subscriber.had += taken.len();
            let wanted = taken
                .iter()
                .filter(|event| keeps(&subscriber.selector, **event));
            let deliveries = handout.deliveries.iter().filter(|d| d.to.0 == id);
            let sent: Vec<&u64> = deliveries.flat_map(|d| &d.events).collect();
            let made_up = handout.made_up.iter().filter(|(to, _)| to.0 == id);
            let made_up: usize = made_up.map(|(_, demand)| demand.get()).sum();
            if !sent.iter().copied().eq(wanted) || sent.len() + made_up != taken.len() {
                return Err(format!("c{id} gets {sent:?} and is made up for {made_up}"));
            }
        }
        Ok(())
    }
}

/// Whether a selector, as recorded, keeps an event.
pub(crate) fn keeps(selector: &Value, event: u64) -> bool {
    selector.is_null() || {
        let rest = event % selector["mod"].as_u64().unwrap();
        selector["in"].as_array().unwrap().contains(&rest.into())
    }
}

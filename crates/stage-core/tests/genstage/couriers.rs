//! The producers that a trace plays: real stages, which send what they are told to, message by
//! message, as far as it was asked for.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    future::pending,
    mem,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
};

use stage_core::{
    AskError, Batch, BoxError, Demand, Flow, Intake, Mode, Outlet, Pipeline, Producer,
    SubscriptionHandle, Window,
    protocol::{Backlog, Dispatcher, Handout, Refused, SubscriptionId, Terms as Wish},
};
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::{lanes::Held, live::Live, terms::Terms};

/// Who asked for how much.
pub(crate) type Asks = Arc<Mutex<Vec<(String, u64)>>>;

#[derive(Default)]
pub(crate) struct Couriers {
    couriers: BTreeMap<String, Courier>,
    asks: Asks,
}

/// A producer of one subscription.
struct Courier {
    live: Live,
    orders: mpsc::Sender<Order>,
    handle: SubscriptionHandle,
    is_over: bool,
    /// What was asked for and is not sent.
    open: Held,
    /// What the replay asks for, and nobody is told of.
    beside: Held,
    _outlet: Outlet<u64>,
}

enum Order {
    Deliver(Vec<u64>),
    End(String),
}

struct Carrier(mpsc::Receiver<Order>);

/// Always wants the next message, and sends one when it was asked for.
struct Wire {
    name: String,
    to: Option<SubscriptionId>,
    open: Held,
    beside: Held,
    messages: VecDeque<Batch<u64>>,
    asks: Asks,
}

impl Producer for Carrier {
    type Event = u64;
    type Error = BoxError;

    async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> Result<Flow, BoxError> {
        match self.0.recv().await {
            Some(Order::Deliver(events)) => batch.extend(events),
            Some(Order::End(reason)) if reason == "normal" => return Ok(Flow::End),
            Some(Order::End(reason)) => return Err(reason.into()),
            None => pending().await,
        }
        Ok(Flow::More)
    }
}

impl Dispatcher<u64> for Wire {
    fn subscribe(&mut self, id: SubscriptionId, _: Wish<u64>) -> Result<(), Refused> {
        self.to = Some(id);
        Ok(())
    }

    fn ask(&mut self, _: SubscriptionId, demand: Demand) {
        self.open.fetch_add(demand.get(), Relaxed);
        let events = demand.get() - self.beside.swap(0, Relaxed);
        if events > 0 {
            let ask = (self.name.clone(), events as u64);
            self.asks.lock().unwrap().push(ask);
        }
    }

    fn cancel(&mut self, _: SubscriptionId) {
        self.to = None;
        self.messages.clear();
    }

    fn demand(&self) -> usize {
        self.held() + 1
    }

    fn dispatch(&mut self, backlog: &mut Backlog<u64>, handout: &mut Handout<u64>) {
        let message = backlog.take(usize::MAX);
        if !message.is_empty() {
            self.messages.push_back(message);
        }
        let Some(to) = self.to else {
            return;
        };
        while let Some(message) = self.messages.pop_front() {
            let open = self.open.load(Relaxed);
            if message.len() > open {
                self.messages.push_front(message);
                return;
            }
            self.open.store(open - message.len(), Relaxed);
            handout.deliver(to, message);
        }
    }

    fn held(&self) -> usize {
        self.messages.iter().map(|message| message.len()).sum()
    }
}

impl Couriers {
    /// Lets a stage subscribe to a new producer.
    pub(crate) fn subscribe(&mut self, name: &str, terms: &Terms, intake: &Intake<u64>) {
        let (orders, of_it) = mpsc::channel(16);
        let (open, beside) = (Held::default(), Held::default());
        let wire = Wire {
            name: name.to_owned(),
            to: None,
            open: Arc::clone(&open),
            beside: Arc::clone(&beside),
            messages: VecDeque::new(),
            asks: Arc::clone(&self.asks),
        };
        let mut pipeline = Pipeline::new();
        let outlet = pipeline.stage(name).dispatch(wire).produce(Carrier(of_it));
        let kept = pipeline.handle().outlet(name).unwrap();
        let (subscription, handle) = match terms.by_hand {
            true => outlet.subscribe_manually(),
            false => outlet.subscribe(terms.window).with_handle(),
        };
        // A stage that has ended tells nobody.
        let _ = intake.add(subscription.mode(terms.mode));
        let courier = Courier {
            live: Live::run(name, pipeline),
            orders,
            handle,
            is_over: false,
            open,
            beside,
            _outlet: kept,
        };
        self.couriers.insert(name.to_owned(), courier);
    }

    /// One that keeps a stage waiting for others, and sends nothing.
    pub(crate) fn keep(&mut self, intake: &Intake<u64>) {
        self.subscribe(KEEPER, &BY_HAND, intake);
    }

    /// Whether there is a subscription to this one.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.couriers
            .get(name)
            .is_some_and(|courier| !courier.is_over)
    }

    /// From now on nobody knows it, whatever of it is on its way.
    pub(crate) fn forget(&mut self, name: &str) {
        self.couriers.get_mut(name).unwrap().is_over = true;
    }

    pub(crate) fn deliver(&self, name: &str, events: Vec<u64>) {
        self.couriers[name].order(Order::Deliver(events));
    }

    pub(crate) fn end(&self, name: &str, reason: &str) {
        let courier = &self.couriers[name];
        if reason.starts_with("shutdown") {
            let _ = courier.live.handle.remove(name);
        } else {
            courier.order(Order::End(reason.to_owned()));
        }
    }

    pub(crate) fn ask_by_hand(&self, name: &str, events: u64) -> Result<(), AskError> {
        self.couriers[name].handle.ask(events as usize)
    }

    /// Sends events whether they were asked for or not: the rest is asked for here, by hand, and no
    /// note is taken of that. Returns how many these are.
    pub(crate) fn deliver_all(&self, name: &str, events: Vec<u64>) -> u64 {
        let courier = &self.couriers[name];
        let more = events.len().saturating_sub(self.open(name));
        if more > 0 {
            courier.beside.store(more, Relaxed);
            courier.handle.ask(more).unwrap();
        }
        courier.order(Order::Deliver(events));
        more as u64
    }

    /// How much was asked for of this one and is not sent.
    pub(crate) fn open(&self, name: &str) -> usize {
        self.couriers[name].open.load(Relaxed)
    }

    /// Delivers what the stage's own subscription does not count, by another one that asks by hand.
    pub(crate) fn deliver_uncounted(&mut self, name: &str, events: Vec<u64>, intake: &Intake<u64>) {
        let aside = format!("{name}{ASIDE}");
        if !self.couriers.contains_key(&aside) {
            self.subscribe(&aside, &BY_HAND, intake);
        }
        let asked = self.ask_by_hand(&aside, events.len() as u64);
        if asked.is_ok() {
            self.deliver(&aside, events);
        }
    }

    /// What was asked for since the last call.
    pub(crate) fn asks(&self) -> Vec<(String, u64)> {
        mem::take(&mut self.asks.lock().unwrap())
    }
}

const BY_HAND: Terms = Terms {
    window: Window::new(1),
    mode: Mode::Temporary,
    by_hand: true,
};

/// How those end that deliver what is not counted.
pub(crate) const ASIDE: char = '+';

impl Courier {
    fn order(&self, order: Order) {
        // It may have ended with the stage.
        let sent = self.orders.try_send(order);
        assert!(
            !matches!(sent, Err(TrySendError::Full(_))),
            "too much at once"
        );
    }
}

/// How the one is called that keeps a stage waiting.
pub(crate) const KEEPER: &str = "keeper";

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({})", self.name)
    }
}

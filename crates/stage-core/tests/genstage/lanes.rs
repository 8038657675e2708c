//! GenStage's partitions as lanes, for a stage that runs.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use serde_json::Value;
use stage_core::{
    Demand,
    protocol::{Backlog, Dispatcher, Handout, Mark, Partition, Refused, SubscriptionId, Terms},
};

/// How events are divided in a trace.
#[derive(Clone)]
pub(crate) struct Lanes {
    partitions: Vec<Value>,
    hash: Value,
}

impl Lanes {
    pub(crate) fn of_options(dispatcher: &Value) -> Option<Self> {
        (dispatcher["type"] == "partition").then(|| Self {
            partitions: dispatcher["partitions"].as_array().unwrap().clone(),
            hash: dispatcher["hash"].clone(),
        })
    }

    /// Which lane an event belongs to. One that is unknown is beyond the last.
    pub(crate) fn of(&self, event: u64) -> Option<usize> {
        let at = event % self.hash["mod"].as_u64().unwrap();
        let name = &self.hash["map"][at as usize];
        (!name.is_null()).then(|| self.number(name))
    }

    pub(crate) fn count(&self) -> usize {
        self.partitions.len()
    }

    pub(crate) fn number(&self, name: &Value) -> usize {
        let place = self.partitions.iter().position(|other| other == name);
        place.unwrap_or(self.partitions.len())
    }

    /// What is delivered for an event.
    pub(crate) fn delivered(&self, event: u64) -> u64 {
        event * self.hash["mul"].as_u64().unwrap_or(1)
    }
}

/// Gives up what a lane's subscriber leaves, as GenStage does, and says how much that is.
pub(crate) struct GivingUp {
    partition: Partition<u64>,
    lanes: BTreeMap<SubscriptionId, usize>,
    given_up: Held,
    /// How many events wait in lanes.
    held: Held,
}

/// A number of events that others look at.
pub(crate) type Held = Arc<AtomicUsize>;

impl GivingUp {
    pub(crate) fn new(lanes: &Lanes, given_up: Held, held: Held) -> Self {
        let of = lanes.clone();
        Self {
            partition: Partition::by_fn(lanes.partitions.len(), move |event| of.of(*event)),
            lanes: BTreeMap::new(),
            given_up,
            held,
        }
    }
}

impl Dispatcher<u64> for GivingUp {
    fn subscribe(&mut self, id: SubscriptionId, terms: Terms<u64>) -> Result<(), Refused> {
        let lane = terms.lane;
        self.partition.subscribe(id, terms)?;
        self.lanes.extend(lane.map(|lane| (id, lane)));
        Ok(())
    }

    fn ask(&mut self, id: SubscriptionId, demand: Demand) {
        self.partition.ask(id, demand);
    }

    fn cancel(&mut self, id: SubscriptionId) {
        self.partition.cancel(id);
        if let Some(lane) = self.lanes.remove(&id) {
            let events = self.partition.give_up(lane).len();
            self.given_up.fetch_add(events, Relaxed);
            self.held.store(self.partition.held(), Relaxed);
        }
    }

    fn demand(&self) -> usize {
        self.partition.demand()
    }

    fn dispatch(&mut self, backlog: &mut Backlog<u64>, handout: &mut Handout<u64>) {
        self.partition.dispatch(backlog, handout);
        self.held.store(self.partition.held(), Relaxed);
    }

    fn held(&self) -> usize {
        self.partition.held()
    }

    fn mark(&mut self, mark: Mark, handout: &mut Handout<u64>) {
        self.partition.mark(mark, handout);
    }
}

impl fmt::Debug for GivingUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GivingUp").field(&self.partition).finish()
    }
}

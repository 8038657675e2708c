use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    StageState, SubscriptionInfo,
    crew::{Crew, Member},
};

/// A running pipeline at one instant, as data. Made by
/// [`PipelineHandle::status`](crate::PipelineHandle::status).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PipelineStatus {
    /// The stages that have not ended, by name.
    pub stages: Vec<StageStatus>,
    /// Whether the pipeline has been told to stop.
    pub stopping: bool,
}

/// A stage at one instant.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StageStatus {
    /// The stage's name.
    pub name: Arc<str>,
    /// What it is to the others.
    pub kind: StageKind,
    /// What it is doing.
    pub state: StageState,
    /// Since when, by tokio's clock.
    pub since: Instant,
    /// How many events it has made, if it is a producer, or taken in.
    pub handled: u64,
    /// How many events went astray with it, since it failed or was cancelled. Those that had
    /// receipts were nacked.
    pub nacked: u64,
    /// How many events it dropped because it was told to: filtered out, or without room.
    pub dropped: u64,
    /// How often what runs in it was made anew.
    pub restarts: u64,
    /// How many of its events wait for somebody to take them.
    pub buffered: u64,
    /// How many more events it is asked for than it has.
    pub wanted: u64,
    /// Its subscriptions to others.
    pub subscriptions: Vec<SubscriptionStatus>,
}

/// What a stage is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StageKind {
    /// It makes events.
    Producer,
    /// It turns events into others.
    Transform,
    /// It takes events in.
    Consumer,
}

/// A subscription at one instant.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SubscriptionStatus {
    /// Who has subscribed to whom, and how.
    pub info: SubscriptionInfo,
    /// How many events are asked for and not sent yet.
    pub demand: usize,
    /// How many events were given to it and are held back, since they are too
    /// [heavy](crate::Subscription::bytes) to be sent now.
    pub held_back: usize,
    /// How many events are sent and not received yet.
    pub on_the_way: usize,
    /// How many events are received and not dealt with yet.
    pub in_hand: usize,
    /// How much the events weigh that are sent and not dealt with yet. Zero if they are not weighed.
    pub weight: usize,
}

impl PipelineStatus {
    /// The stage of this name.
    pub fn stage(&self, name: &str) -> Option<&StageStatus> {
        self.stages.iter().find(|stage| &*stage.name == name)
    }

    pub(crate) fn of(crew: &Crew) -> Self {
        let members = crew.members();
        Self {
            stages: members.iter().map(StageStatus::of).collect(),
            stopping: crew.is_stopping(),
        }
    }
}

impl SubscriptionStatus {
    /// How many events were given to it and are not dealt with yet.
    pub fn in_flight(&self) -> usize {
        self.held_back + self.on_the_way + self.in_hand
    }
}

impl StageStatus {
    fn of(member: &Member) -> Self {
        let (state, since) = member.seat.meter.state();
        let counts = member.seat.meter.counts();
        Self {
            name: Arc::clone(member.seat.stage()),
            kind: member.kind(),
            state,
            since,
            handled: counts.handled,
            nacked: counts.nacked,
            dropped: counts.dropped,
            restarts: counts.restarts,
            buffered: counts.backlog,
            wanted: counts.wanted,
            subscriptions: member.subscriptions(),
        }
    }
}

impl Member {
    fn kind(&self) -> StageKind {
        match (&self.back, &self.front) {
            (None, _) => StageKind::Producer,
            (Some(_), Some(_)) => StageKind::Transform,
            (Some(_), None) => StageKind::Consumer,
        }
    }

    fn subscriptions(&self) -> Vec<SubscriptionStatus> {
        let links = self.back.iter().flat_map(|desk| desk.links());
        let open = links.filter(|link| !link.is_closed() || link.counts().is_in_flight());
        let status = open.map(|link| {
            let counts = link.counts();
            SubscriptionStatus {
                info: link.info(),
                demand: counts.due,
                held_back: counts.held_back,
                on_the_way: counts.on_the_way,
                in_hand: counts.in_hand,
                weight: counts.weight,
            }
        });
        status.collect()
    }
}

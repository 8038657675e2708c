use std::fmt;

use crate::{
    AddError, As, Lane, LateStage, Outlet, Producer, StageBuilder, Subscription, Transform,
    protocol::Partition,
};

/// Settings for a stage that divides its events into lanes. Made by [`StageBuilder::partition`] and
/// [`StageBuilder::partition_by`], and for a pipeline that runs by those of [`LateStage`].
#[must_use = "settings do nothing until a stage is added"]
pub struct LaneBuilder<S> {
    stage: S,
    lanes: usize,
}

impl<S> LaneBuilder<S> {
    pub(crate) const fn new(stage: S, lanes: usize) -> Self {
        Self { stage, lanes }
    }
}

impl<E: Send + 'static> LaneBuilder<StageBuilder<'_, As<Partition<E>>>> {
    /// Adds the stage, as one that makes events; returns its lanes in order.
    pub fn produce<P: Producer<Event = E>>(self, producer: P) -> Vec<Lane<E>> {
        lanes_of(self.lanes, &self.stage.produce(producer))
    }

    /// Adds the stage, as one that turns events into others; returns its lanes in order.
    pub fn transform<In, T>(
        self,
        transform: T,
        subscriptions: impl IntoIterator<Item = Subscription<In>>,
    ) -> Vec<Lane<E>>
    where
        In: Send + 'static,
        T: Transform<In, Out = E>,
    {
        lanes_of(self.lanes, &self.stage.transform(transform, subscriptions))
    }
}

impl<E: Send + 'static> LaneBuilder<LateStage<As<Partition<E>>>> {
    /// Adds the stage, as one that makes events; returns its lanes in order. It waits for subscribers
    /// as long as one of them is there.
    ///
    /// # Errors
    ///
    /// If the name is taken, or the pipeline stops. The producer is dropped.
    pub fn produce<P: Producer<Event = E>>(self, producer: P) -> Result<Vec<Lane<E>>, AddError> {
        Ok(lanes_of(self.lanes, &self.stage.produce(producer)?))
    }

    /// Adds the stage, as one that turns events into others; returns its lanes in order. It waits for
    /// subscribers as long as one of them is there.
    ///
    /// # Errors
    ///
    /// If the name is taken, or the pipeline stops. The transform is dropped.
    pub fn transform<In, T>(
        self,
        transform: T,
        subscriptions: impl IntoIterator<Item = Subscription<In>>,
    ) -> Result<Vec<Lane<E>>, AddError>
    where
        In: Send + 'static,
        T: Transform<In, Out = E>,
    {
        let outlet = self.stage.transform(transform, subscriptions)?;
        Ok(lanes_of(self.lanes, &outlet))
    }
}

fn lanes_of<E: Send + 'static>(lanes: usize, outlet: &Outlet<E>) -> Vec<Lane<E>> {
    (0..lanes).map(|number| outlet.lane(number)).collect()
}

impl<S: fmt::Debug> fmt::Debug for LaneBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneBuilder")
            .field("stage", &self.stage)
            .field("lanes", &self.lanes)
            .finish()
    }
}

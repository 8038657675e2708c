use std::{
    collections::BTreeSet,
    error::Error,
    fmt,
    sync::{Arc, Weak},
};

use crate::{Subscription, crew::Crew, desk::Desk, link::ReceiveEnd, seat::Seat};

/// Where a stage takes subscriptions in, also while it runs.
///
/// Holding one does not keep the stage: it ends when its subscriptions do, as their
/// [`Mode`](crate::Mode)s say.
pub struct Intake<E> {
    desk: Arc<Desk<ReceiveEnd<E>>>,
    /// The pipeline of a stage that others may be subscribed to already, and so could be given its own
    /// events.
    crew: Option<Weak<Crew>>,
}

/// The stage does not take a subscription in, which has been dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IntakeError {
    /// The stage has ended: add a new one.
    #[non_exhaustive]
    StageEnded {
        /// The stage's name.
        stage: String,
    },
    /// Events of the other stage come from this one, so that each would wait for the other to end.
    #[non_exhaustive]
    Cycle {
        /// The stage's name.
        stage: String,
        /// The name of the stage that was to be subscribed to: the same one, or one that gets events from
        /// it.
        upstream: String,
    },
}

impl<E: Send + 'static> Intake<E> {
    /// The intake of a stage that nobody has subscribed to, or ever can.
    pub(crate) fn new(desk: Arc<Desk<ReceiveEnd<E>>>) -> Self {
        Self { desk, crew: None }
    }

    /// The intake of a stage that runs in this pipeline.
    pub(crate) fn within(crew: Weak<Crew>, desk: Arc<Desk<ReceiveEnd<E>>>) -> Self {
        let crew = Some(crew);
        Self { desk, crew }
    }

    pub(crate) fn into_desk(self) -> Arc<Desk<ReceiveEnd<E>>> {
        self.desk
    }

    /// Gives the stage one more subscription.
    ///
    /// A cycle is refused, if all of it is in one pipeline. One that leads through others is not seen: their
    /// pipelines then need a [deadline](crate::Pipeline::drain_within) to be stopped by.
    ///
    /// # Errors
    ///
    /// If the stage has ended, or the subscription would make a cycle. The subscription is dropped.
    pub fn add(&self, subscription: Subscription<E>) -> Result<(), IntakeError> {
        let stage = || self.desk.stage().to_string();
        if self.desk.is_closed() {
            return Err(IntakeError::StageEnded { stage: stage() });
        }
        let crew = self.crew.as_ref().and_then(Weak::upgrade);
        // One after the other, or two that are no cycle by themselves could be one together.
        let _turn = crew.as_ref().map(|crew| crew.turn_to_link());
        if let Some((crew, upstream)) = crew.as_ref().zip(subscription.upstream())
            && is_fed_by(crew, upstream, &self.desk.seat)
        {
            return Err(IntakeError::Cycle {
                stage: stage(),
                upstream: upstream.stage().to_string(),
            });
        }
        subscription.open(&self.desk);
        Ok(())
    }
}

/// Whether `stage` gets events of `source`, or is that, as far as they come by stages of this pipeline.
fn is_fed_by(crew: &Crew, stage: &Arc<Seat>, source: &Arc<Seat>) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![Arc::clone(stage)];
    while let Some(stage) = open.pop() {
        if Arc::ptr_eq(&stage, source) {
            return true;
        }
        // One of another pipeline may have the name of one of this.
        let member = crew.member(stage.stage());
        let member = member.filter(|member| Arc::ptr_eq(&member.seat, &stage));
        if let Some(back) = member.and_then(|member| member.back)
            && seen.insert(Arc::as_ptr(&stage))
        {
            let links = back.links().into_iter().filter(|link| !link.is_closed());
            open.extend(links.map(|link| link.upstream()));
        }
    }
    false
}

impl<E> Clone for Intake<E> {
    fn clone(&self) -> Self {
        Self {
            desk: Arc::clone(&self.desk),
            crew: self.crew.clone(),
        }
    }
}

impl<E> fmt::Debug for Intake<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Intake").field(self.desk.stage()).finish()
    }
}

impl fmt::Display for IntakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StageEnded { stage } => {
                write!(f, "stage `{stage}` has ended: add a new one to subscribe")
            }
            Self::Cycle { stage, upstream } => write!(
                f,
                "stage `{stage}` cannot subscribe to `{upstream}`, whose events come from it: a pipeline has \
                 no cycles"
            ),
        }
    }
}

impl Error for IntakeError {}

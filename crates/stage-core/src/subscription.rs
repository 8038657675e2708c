use std::{fmt, iter, sync::Arc};

use crate::{
    Window,
    desk::Desk,
    group::Members,
    link::{ReceiveEnd, SendEnd, connect},
};

/// Where to subscribe to a stage, or to a [`Group`](crate::Group) of them.
///
/// Any number of stages may; each event goes to one of them, as the stage's dispatcher decides.
#[must_use = "a stage that nobody subscribes to keeps its pipeline from running"]
pub struct Outlet<E>(Origin<E>);

/// A wish to be subscribed. It does nothing until it is given to a stage.
#[must_use = "a subscription does nothing until it is given to a stage"]
pub struct Subscription<E> {
    origin: Origin<E>,
    window: Window,
}

enum Origin<E> {
    Stage(Arc<Desk<SendEnd<E>>>),
    Group(Arc<Members<E>>),
}

impl<E: Send + 'static> Outlet<E> {
    pub(crate) fn of_stage(desk: &Arc<Desk<SendEnd<E>>>) -> Self {
        Self(Origin::Stage(Arc::clone(desk)))
    }

    pub(crate) fn of_group(members: Arc<Members<E>>) -> Self {
        Self(Origin::Group(members))
    }

    /// Subscribes with the given window. With a group, each member gets a subscription of its own.
    pub fn subscribe(&self, window: Window) -> Subscription<E> {
        Subscription {
            origin: self.0.clone(),
            window,
        }
    }
}

impl<E: Send + 'static> Subscription<E> {
    /// Links the stage behind `desk`.
    pub(crate) fn open(self, desk: &Arc<Desk<ReceiveEnd<E>>>) {
        match self.origin {
            Origin::Stage(up) => {
                connect(&up, desk, self.window);
            }
            Origin::Group(members) => members.subscribe(desk, self.window),
        }
    }
}

/// One subscription, so that a stage takes either one or a collection of them.
impl<E> IntoIterator for Subscription<E> {
    type Item = Self;
    type IntoIter = iter::Once<Self>;

    fn into_iter(self) -> Self::IntoIter {
        iter::once(self)
    }
}

impl<E> Clone for Outlet<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E> Clone for Origin<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Stage(desk) => Self::Stage(Arc::clone(desk)),
            Self::Group(members) => Self::Group(Arc::clone(members)),
        }
    }
}

impl<E> fmt::Debug for Outlet<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").finish_non_exhaustive()
    }
}

impl<E> fmt::Debug for Subscription<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

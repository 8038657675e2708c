use std::{fmt, sync::Arc};

use crate::{
    Subscription, SubscriptionHandle, Window,
    desk::Desk,
    group::Members,
    link::SendEnd,
    protocol::Terms,
    subscription::{Asking, Expected, Origin},
};

/// Where to subscribe to a stage, or to a [`Group`](crate::Group) of them.
///
/// Any number of stages may; which events each gets is up to the stage's
/// [dispatcher](crate::protocol::Dispatcher).
#[must_use = "a stage that nobody subscribes to keeps its pipeline from running"]
pub struct Outlet<E> {
    origin: Origin<E>,
}

/// Where to subscribe to one lane of a stage that divides its events by key.
///
/// A lane serves one subscriber at a time, and so it is used up by subscribing:
///
/// ```compile_fail,E0382
/// # use stage_core::{Lane, Window};
/// fn twice(lane: Lane<u64>) {
///     let first = lane.subscribe(Window::new(10));
///     let second = lane.subscribe(Window::new(10));
/// }
/// ```
#[must_use = "events of a lane that nobody subscribes to wait, and in the end hold up the others"]
pub struct Lane<E> {
    outlet: Outlet<E>,
    number: usize,
}

impl<E: Send + 'static> Outlet<E> {
    pub(crate) fn of_stage(desk: Arc<Desk<SendEnd<E>>>) -> Self {
        Self {
            origin: Origin::Stage(desk, None),
        }
    }

    /// The outlet of a stage that may run already: as long as it is there, or a subscription made by it
    /// that no stage has yet, the stage waits for subscribers.
    pub(crate) fn expecting(desk: &Arc<Desk<SendEnd<E>>>) -> Self {
        let expected = Arc::new(Expected::by(desk));
        Self {
            origin: Origin::Stage(Arc::clone(desk), Some(expected)),
        }
    }

    pub(crate) fn of_group(members: Arc<Members<E>>) -> Self {
        Self {
            origin: Origin::Group(members),
        }
    }

    /// Subscribes with the given window. With a group, each member gets a subscription of its own.
    pub fn subscribe(&self, window: Window) -> Subscription<E> {
        self.subscribe_as(Asking::Automatic(window))
    }

    /// Subscribes without asking for anything: only what is asked for by the handle comes, as it
    /// comes.
    pub fn subscribe_manually(&self) -> (Subscription<E>, SubscriptionHandle) {
        self.subscribe_as(Asking::Manual).with_handle()
    }

    fn subscribe_as(&self, asking: Asking) -> Subscription<E> {
        Subscription::new(self.origin.clone(), asking, Terms::default())
    }

    pub(crate) fn lane(&self, number: usize) -> Lane<E> {
        Lane {
            outlet: self.clone(),
            number,
        }
    }
}

impl<E: Send + 'static> Lane<E> {
    /// The lane's number, from zero.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Subscribes with the given window.
    pub fn subscribe(self, window: Window) -> Subscription<E> {
        self.subscribe_as(Asking::Automatic(window))
    }

    /// Subscribes without asking for anything: only what is asked for by the handle comes, as it
    /// comes.
    pub fn subscribe_manually(self) -> (Subscription<E>, SubscriptionHandle) {
        self.subscribe_as(Asking::Manual).with_handle()
    }

    fn subscribe_as(self, asking: Asking) -> Subscription<E> {
        let terms = Terms::default().lane(self.number);
        Subscription::new(self.outlet.origin, asking, terms)
    }
}

impl<E> Clone for Outlet<E> {
    fn clone(&self) -> Self {
        Self {
            origin: self.origin.clone(),
        }
    }
}

impl<E> fmt::Debug for Outlet<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").finish_non_exhaustive()
    }
}

impl<E> fmt::Debug for Lane<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lane").field(&self.number).finish()
    }
}

use std::{
    error::Error,
    fmt, iter,
    sync::{Arc, Weak},
};

use crate::{
    Window,
    desk::Desk,
    group::Members,
    link::{Control, ReceiveEnd, SendEnd, connect},
    protocol::{Demand, End, Mode, Reason, Selector, Terms},
    scale::Scale,
    seat::Seat,
    sync::{Mutex, MutexGuard, PoisonError},
    weaks::Weaks,
};

/// A wish to be subscribed. It does nothing until it is given to a stage.
///
/// ```
/// # use stage_core::{Mode, Outlet, Window};
/// # fn example(numbers: &Outlet<u64>) {
/// // As the stage that gets it is ready for more, at most a hundred on their way:
/// let plain = numbers.subscribe(Window::new(100));
/// // The stage goes on when this one ends, and gets even numbers only:
/// let even = numbers.subscribe(Window::new(100)).mode(Mode::Temporary).selecting(|n| n % 2 == 0);
/// // Only what is asked for by hand:
/// let (manual, handle) = numbers.subscribe_manually();
/// handle.ask(3);
/// # handle.let_go(); drop((plain, even, manual));
/// # }
/// ```
#[must_use = "a subscription does nothing until it is given to a stage"]
pub struct Subscription<E> {
    origin: Origin<E>,
    wish: Wish<E>,
}

/// Where subscriptions lead to.
pub(crate) enum Origin<E> {
    /// The latter keeps a stage that was added to a running pipeline waiting for subscribers.
    Stage(Arc<Desk<SendEnd<E>>>, Option<Arc<Expected<E>>>),
    Group(Arc<Members<E>>),
}

/// One who may still bring subscribers to a desk.
pub(crate) struct Expected<E>(Arc<Desk<SendEnd<E>>>);

/// What is wished of a subscription.
pub(crate) struct Wish<E> {
    pub(crate) asking: Asking,
    pub(crate) mode: Mode,
    pub(crate) terms: Terms<E>,
    pub(crate) scale: Option<Scale<E>>,
    /// For those who have its handle, if there is one.
    pub(crate) handle: Option<Arc<Controls>>,
}

/// Who asks for events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Asking {
    /// The stage does, as its window says.
    Automatic(Window),
    /// Whoever has the subscription's handle does.
    Manual,
}

/// What is known of a subscription by the stages at its two ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionInfo {
    /// The stage that sends.
    pub from: Arc<str>,
    /// The stage that asks.
    pub to: Arc<str>,
    /// Who asks, and for how much at once.
    pub asking: Asking,
    /// What the asking stage does when it ends.
    pub mode: Mode,
    /// How much may be on its way at once, if its events are [weighed](Subscription::bytes).
    pub byte_limit: Option<usize>,
}

impl<E: Send + 'static> Subscription<E> {
    pub(crate) fn new(origin: Origin<E>, asking: Asking, terms: Terms<E>) -> Self {
        Self {
            origin,
            wish: Wish {
                asking,
                mode: Mode::default(),
                terms,
                scale: None,
                handle: None,
            },
        }
    }

    /// What the stage does when this subscription ends.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.wish.mode = mode;
        self
    }

    /// Lets through only events for which `select` holds. What is left out is made up for by others,
    /// and counts as taken in.
    ///
    /// Only stages that [broadcast](crate::StageBuilder::broadcast) can select: elsewhere somebody
    /// else would miss what is left out. There the subscription is
    /// [refused](crate::protocol::Reason::Refused).
    pub fn selecting(mut self, select: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        self.wish.terms = self.wish.terms.selector(Selector::new(select));
        self
    }

    /// Bounds what is on its way by weight, too: events that are sent and not dealt with weigh at most
    /// `limit` together, as `weigh` says, or it is only one. So one that is heavier than the limit
    /// passes alone.
    ///
    /// What is too heavy now waits at the sending side, in order. It counts as given to this stage:
    /// no other gets it, and there is never more of it than the window has events. If the
    /// subscription is cancelled, it is nacked.
    ///
    /// `weigh` is called once for each event, by the sending stage. It must not panic: the sending
    /// stage would fail by it. Behind a group's outlet, each member has a limit of its own.
    ///
    /// ```
    /// # use stage_core::{Outlet, Window};
    /// # fn example(pages: &Outlet<Vec<u8>>) {
    /// // At most a thousand pages, and at most a mebibyte of them.
    /// let pages = pages.subscribe(Window::new(1000)).bytes(1 << 20, Vec::len);
    /// # drop(pages);
    /// # }
    /// ```
    pub fn bytes(
        mut self,
        limit: usize,
        weigh: impl Fn(&E) -> usize + Send + Sync + 'static,
    ) -> Self {
        self.wish.scale = Some(Scale::new(limit, weigh));
        self
    }

    /// The same subscription, and a handle to cancel it by. Dropping the handle cancels it, too.
    ///
    /// Also what its stage asks for by itself can be [asked for by hand](SubscriptionHandle::ask):
    /// that comes on top of the window, once, and is taken in by portions as the rest.
    pub fn with_handle(mut self) -> (Self, SubscriptionHandle) {
        let controls = Arc::clone(self.wish.handle.get_or_insert_default());
        (self, SubscriptionHandle(Arc::new(Holder(controls))))
    }

    /// The stage that it is to, unless that is a group of them.
    pub(crate) fn upstream(&self) -> Option<&Arc<Seat>> {
        match &self.origin {
            Origin::Stage(up, _) => Some(&up.seat),
            Origin::Group(_) => None,
        }
    }

    /// Links the stage behind `desk`.
    pub(crate) fn open(self, desk: &Arc<Desk<ReceiveEnd<E>>>) {
        match self.origin {
            Origin::Stage(up, _expected) => connect(&up, desk, self.wish),
            Origin::Group(members) => members.subscribe(desk, self.wish),
        }
    }
}

impl<E> Expected<E> {
    pub(crate) fn by(desk: &Arc<Desk<SendEnd<E>>>) -> Self {
        desk.expect();
        Self(Arc::clone(desk))
    }
}

impl<E> Drop for Expected<E> {
    fn drop(&mut self) {
        self.0.expect_no_more();
    }
}

impl<E> Wish<E> {
    /// Whether somebody has cancelled it by its handle.
    pub(crate) fn is_cancelled(&self) -> bool {
        let handle = self.handle.as_ref();
        handle.is_some_and(|handle| handle.is_cancelled())
    }

    /// What is known of the subscription, apart from its two ends.
    pub(crate) fn info(&self, from: &Arc<str>, to: &Arc<str>) -> SubscriptionInfo {
        SubscriptionInfo {
            from: Arc::clone(from),
            to: Arc::clone(to),
            asking: self.asking,
            mode: self.mode,
            byte_limit: self.scale.as_ref().map(|scale| scale.limit),
        }
    }
}

impl Asking {
    pub(crate) fn first_ask(self) -> usize {
        match self {
            Self::Automatic(window) => window.max(),
            Self::Manual => 0,
        }
    }

    /// The most events that are taken in together, if there is a bound.
    pub(crate) fn portion(self) -> Option<usize> {
        match self {
            Self::Automatic(window) => Some(window.max() - window.min()),
            Self::Manual => None,
        }
    }
}

/// Asks and cancels from outside. Any thread may, at any time: neither waits.
///
/// Made by [`Outlet::subscribe_manually`](crate::Outlet::subscribe_manually) and
/// [`Subscription::with_handle`]. Dropping the last clone cancels the subscription, unless it is
/// [let go](Self::let_go) of.
#[derive(Clone)]
#[must_use = "dropping the handle cancels the subscription"]
pub struct SubscriptionHandle(Arc<Holder>);

struct Holder(Arc<Controls>);

/// The links that a handle controls: one, or one for each member of a group.
#[derive(Default)]
pub(crate) struct Controls(Mutex<Held>);

#[derive(Default)]
struct Held {
    links: Weaks<dyn Control>,
    /// Asked for before there was a link.
    early: Option<Demand>,
    ever_bound: bool,
    /// The group that it is to.
    group: Option<Weak<dyn Leave>>,
    cancelled: Option<End>,
    let_go: bool,
}

/// Something that links a subscriber with new stages until it leaves.
pub(crate) trait Leave: Send + Sync {
    /// Forgets those who have left.
    fn forget_who_left(&self);
}

/// Nothing was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AskError {
    /// Zero events are no demand. Nothing has changed.
    Zero,
    /// The subscription has ended.
    Closed,
}

impl SubscriptionHandle {
    /// Asks for `events` more. Asks add up; what is asked for before the pipeline runs is kept. So
    /// many that they cannot be counted are demand without bound.
    ///
    /// Behind a group's outlet, each member is asked for so many.
    ///
    /// # Errors
    ///
    /// If `events` is zero, or the subscription has ended. Neither changes anything.
    pub fn ask(&self, events: usize) -> Result<(), AskError> {
        let demand = Demand::new(events).ok_or(AskError::Zero)?;
        let mut held = self.controls().lock();
        if held.cancelled.is_some() {
            return Err(AskError::Closed);
        }
        if !held.ever_bound {
            let sum = held.early.map_or(0, Demand::get).saturating_add(events);
            held.early = Demand::new(sum);
            return Ok(());
        }
        let links = held.upgrade();
        drop(held);
        let mut asked = false;
        for link in links {
            asked |= link.ask(demand);
        }
        if asked { Ok(()) } else { Err(AskError::Closed) }
    }

    /// Ends the subscription. What is on its way to the stage is nacked; both stages are told. Doing
    /// so again changes nothing.
    pub fn cancel(&self) {
        self.controls().cancel(&End::Cancelled(Reason::Shutdown));
    }

    /// Like [`cancel`](Self::cancel), for a reason that both stages are told, and that is no shut
    /// down: a stage whose subscription is [permanent](Mode::Permanent) or transient fails by it.
    pub fn cancel_because(&self, why: impl Into<Arc<str>>) {
        self.controls()
            .cancel(&End::Cancelled(Reason::Other(why.into())));
    }

    /// Whether the subscription has ended. One that was not given to a stage yet has not.
    pub fn is_closed(&self) -> bool {
        let held = self.controls().lock();
        held.cancelled.is_some()
            || (held.ever_bound && held.upgrade().iter().all(|link| link.is_closed()))
    }

    /// Drops the handle without cancelling the subscription.
    pub fn let_go(self) {
        self.controls().lock().let_go = true;
    }

    fn controls(&self) -> &Controls {
        &self.0.0
    }
}

impl Controls {
    /// Takes control of a link.
    pub(crate) fn bind(&self, link: Weak<dyn Control>) {
        let mut held = self.lock();
        held.ever_bound = true;
        let (early, cancelled) = (held.early, held.cancelled.clone());
        let control = link.upgrade();
        held.links.add(link);
        drop(held);
        let Some(control) = control else { return };
        if let Some(demand) = early {
            control.ask(demand);
        }
        if let Some(end) = cancelled {
            control.cancel(end);
        }
    }

    /// The subscription is to a group.
    pub(crate) fn join(&self, group: Weak<dyn Leave>) {
        self.lock().group = Some(group);
    }

    fn is_cancelled(&self) -> bool {
        self.lock().cancelled.is_some()
    }

    fn cancel(&self, end: &End) {
        let mut held = self.lock();
        if held.cancelled.is_some() {
            return;
        }
        held.cancelled = Some(end.clone());
        let links = held.upgrade();
        let group = held.group.take();
        drop(held);
        for link in links {
            link.cancel(end.clone());
        }
        if let Some(group) = group.and_then(|group| group.upgrade()) {
            group.forget_who_left();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn upgrade(&self) -> Vec<Arc<dyn Control>> {
        self.links.iter().collect()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        if !self.0.lock().let_go {
            self.0.cancel(&End::Cancelled(Reason::Dropped));
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

impl<E> Clone for Origin<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Stage(desk, expected) => Self::Stage(Arc::clone(desk), expected.clone()),
            Self::Group(members) => Self::Group(Arc::clone(members)),
        }
    }
}

impl<E> Clone for Wish<E> {
    fn clone(&self) -> Self {
        Self {
            asking: self.asking,
            mode: self.mode,
            terms: self.terms.clone(),
            scale: self.scale.clone(),
            handle: self.handle.clone(),
        }
    }
}

impl<E> fmt::Debug for Subscription<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("asking", &self.wish.asking)
            .field("mode", &self.wish.mode)
            .field("scale", &self.wish.scale)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SubscriptionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriptionHandle")
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zero => "zero events were asked for: ask for at least one",
            Self::Closed => "the subscription has ended: subscribe again to ask for more",
        })
    }
}

impl Error for AskError {}

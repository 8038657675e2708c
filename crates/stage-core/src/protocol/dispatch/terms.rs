use std::{fmt, sync::Arc};

/// On which terms a subscriber wants to be served. What a dispatcher has no use for, it ignores.
///
/// ```
/// use stage_core::protocol::{Selector, Terms};
///
/// let terms = Terms::default()
///     .subscriber(7)
///     .selector(Selector::new(|event: &u64| event % 2 == 0));
/// assert_eq!(terms.lane, None);
/// ```
#[non_exhaustive]
pub struct Terms<E> {
    /// The lane that it takes, where events are divided into lanes.
    pub lane: Option<usize>,
    /// The events that it wants, where it could have all of them.
    pub selector: Option<Selector<E>>,
    /// Who it is, so that one that comes twice can be told from two.
    pub subscriber: Option<u64>,
}

impl<E> Terms<E> {
    /// The same terms, for the lane of this number.
    #[must_use]
    pub fn lane(self, lane: usize) -> Self {
        Self {
            lane: Some(lane),
            ..self
        }
    }

    /// The same terms, for the events that `selector` keeps.
    #[must_use]
    pub fn selector(self, selector: Selector<E>) -> Self {
        Self {
            selector: Some(selector),
            ..self
        }
    }

    /// The same terms, for the subscriber of this number.
    #[must_use]
    pub fn subscriber(self, subscriber: u64) -> Self {
        Self {
            subscriber: Some(subscriber),
            ..self
        }
    }
}

// Not derived: that would ask the same of events.
impl<E> Clone for Terms<E> {
    fn clone(&self) -> Self {
        Self {
            lane: self.lane,
            selector: self.selector.clone(),
            subscriber: self.subscriber,
        }
    }
}

impl<E> fmt::Debug for Terms<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms")
            .field("lane", &self.lane)
            .field("selector", &self.selector)
            .field("subscriber", &self.subscriber)
            .finish()
    }
}

impl<E> Default for Terms<E> {
    fn default() -> Self {
        Self {
            lane: None,
            selector: None,
            subscriber: None,
        }
    }
}

/// Says which events a subscriber wants.
pub struct Selector<E>(Arc<dyn Fn(&E) -> bool + Send + Sync>);

impl<E> Selector<E> {
    /// Keeps the events for which `keeps` says so.
    pub fn new(keeps: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(keeps))
    }

    /// Whether the subscriber wants this event.
    pub fn keeps(&self, event: &E) -> bool {
        (self.0)(event)
    }
}

impl<E> Clone for Selector<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E> fmt::Debug for Selector<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Selector")
    }
}

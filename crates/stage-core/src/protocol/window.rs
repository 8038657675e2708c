use super::Demand;

/// How many events a subscription lets be on their way at once.
///
/// At the start a consumer asks for `max`. Each time what is still due has fallen to `min` or
/// below, it asks for enough to be due `max` again; so `max - min` is also the size of the
/// portions in which it takes events in.
///
/// A larger window hides more latency, a smaller one bounds memory harder. `min` defaults to half
/// of `max`; `min` zero means "ask again only when everything has come".
#[doc(alias("max_demand", "min_demand"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    max: usize,
    min: usize,
}

impl Window {
    /// A window of at most `max` events, asking again at half of it.
    ///
    /// # Panics
    ///
    /// If `max` is zero. In a `const` that is a compile error.
    pub const fn new(max: usize) -> Self {
        assert!(max > 0, "a window must let at least one event through");
        Self { max, min: max / 2 }
    }

    /// The same window, asking again once no more than `min` events are due.
    ///
    /// # Panics
    ///
    /// If `min` is not below the window's maximum.
    pub const fn with_min(self, min: usize) -> Self {
        assert!(
            min < self.max,
            "a window's minimum must be below its maximum"
        );
        Self { min, ..self }
    }

    /// The most events that may be due at once.
    pub const fn max(self) -> usize {
        self.max
    }

    /// What is due when the consumer asks again.
    pub const fn min(self) -> usize {
        self.min
    }

    /// What a fresh subscription asks for: all of it.
    pub(super) fn first_ask(self) -> Demand {
        Demand::new(self.max).expect("a window lets at least one event through")
    }
}

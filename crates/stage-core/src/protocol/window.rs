use std::{error::Error, fmt};

use super::Demand;

/// How many events a subscription lets be on their way at once.
///
/// At the start a consumer asks for `max`. Each time what is still due has fallen to `min` or
/// below, it asks for enough to be due `max` again; so `max - min` is also the size of the
/// portions in which it takes events in. Where portions are small, it asks once for all that it takes in
/// without waiting in between.
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

    /// The window of at most `max` events that asks again once no more than `min` are due: for numbers
    /// that come from outside, where [`new`](Self::new) would panic.
    ///
    /// # Errors
    ///
    /// If no event would fit, or it would ask again before anything has come.
    pub const fn try_new(max: usize, min: usize) -> Result<Self, WindowError> {
        if max == 0 {
            return Err(WindowError::MaxIsZero);
        }
        if min >= max {
            return Err(WindowError::MinNotBelowMax { min, max });
        }
        Ok(Self { max, min })
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

/// A window cannot be of these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WindowError {
    /// It would let no event through.
    MaxIsZero,
    /// It would ask again before anything has come.
    MinNotBelowMax {
        /// What is due when it is to ask again.
        min: usize,
        /// The most that is due.
        max: usize,
    },
}

impl fmt::Display for WindowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MaxIsZero => f.write_str(
                "a window of no event lets none through: its maximum must be at least 1",
            ),
            Self::MinNotBelowMax { min, max } => write!(
                f,
                "a window's minimum must be below its maximum: {min} is not below {max}"
            ),
        }
    }
}

impl Error for WindowError {}

use std::{
    fmt,
    num::NonZeroU64,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A moment in milliseconds since 1970-01-01T00:00:00Z, which is as exactly as Kinesis tells time.
///
/// One that may be missing takes eight bytes, too: each record has one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
// Milliseconds, counted from before the smallest one there is.
pub struct Timestamp(NonZeroU64);

impl Timestamp {
    /// The moment `millis` milliseconds after the epoch; negative before it. For [`i64::MIN`] it is the one
    /// after that.
    pub const fn from_millis(millis: i64) -> Self {
        Self(match NonZeroU64::new(millis.cast_unsigned() ^ EPOCH) {
            Some(millis) => millis,
            None => NonZeroU64::MIN,
        })
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        (self.0.get() ^ EPOCH).cast_signed()
    }

    /// The moment `span` later; stays at the largest one there is.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        let span = span.as_millis().try_into().unwrap_or(i64::MAX);
        Self::from_millis(self.as_millis().saturating_add(span))
    }

    /// The moment `span` earlier; stays at the smallest one there is.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        let span = span.as_millis().try_into().unwrap_or(i64::MAX);
        Self::from_millis(self.as_millis().saturating_sub(span))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        let millis = self.as_millis().saturating_sub(earlier.as_millis());
        Duration::from_millis(millis.max(0).unsigned_abs())
    }
}

/// What the epoch is counted as: the smallest moment is zero, and there is none.
const EPOCH: u64 = 1 << 63;

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => millis(after),
            Err(before) => -millis(before.duration()),
        })
    }
}

impl fmt::Display for Timestamp {
    /// Seconds since the epoch with three decimals, as Kinesis writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.as_millis() < 0 { "-" } else { "" };
        let millis = self.as_millis().unsigned_abs();
        write!(f, "{sign}{}.{:03}", millis / 1000, millis % 1000)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timestamp").field(&self.as_millis()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_that_may_be_missing_takes_a_word() {
        assert_eq!(size_of::<Option<Timestamp>>(), 8);
    }

    #[test]
    fn the_ends_are_there() {
        let [first, second] = [i64::MIN, i64::MIN + 1].map(Timestamp::from_millis);
        assert_eq!(first, second);
        assert_eq!(first.minus(Duration::MAX), second);
        let last = Timestamp::from_millis(i64::MAX);
        assert_eq!(last.as_millis(), i64::MAX);
        assert_eq!(Timestamp::from_millis(0).plus(Duration::MAX), last);
        assert_eq!(last.since(first).as_millis(), i64::MAX as u128);
    }

    proptest! {
        #[test]
        fn it_is_the_moment_that_it_was_made_of(a in i64::MIN + 1.., b in i64::MIN + 1..) {
            prop_assert_eq!(Timestamp::from_millis(a).as_millis(), a);
            prop_assert_eq!(Timestamp::from_millis(a).cmp(&Timestamp::from_millis(b)), a.cmp(&b));
        }
    }
}

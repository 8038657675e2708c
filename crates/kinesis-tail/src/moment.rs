//! Moments as RFC 3339 writes them.

use std::fmt;

use kinesis_source::Timestamp;
use time::{Duration, OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

/// A moment in UTC with three decimals, as `2026-01-01T00:00:00.123Z`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rfc3339Millis(OffsetDateTime);

impl Rfc3339Millis {
    /// `None` before the year 0 and after 9999, which RFC 3339 cannot write.
    pub(crate) fn new(moment: Timestamp) -> Option<Self> {
        let since_epoch = Duration::milliseconds(moment.as_millis());
        let moment = OffsetDateTime::UNIX_EPOCH.checked_add(since_epoch)?;
        (0..=9999).contains(&moment.year()).then_some(Self(moment))
    }
}

impl fmt::Display for Rfc3339Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(moment) = self;
        let (year, month, day) = moment.to_calendar_date();
        let (hour, minute, second, millis) = moment.to_hms_milli();
        write!(
            f,
            "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z",
            u8::from(month)
        )
    }
}

/// Reads a moment with any offset. What is finer than a millisecond is cut off.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    let moment = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| format!("not a moment as RFC 3339 writes it, 2026-01-31T12:00:00Z: {text:?}"))?
        .to_offset(UtcOffset::UTC);
    let millis = moment.unix_timestamp() * 1_000 + i64::from(moment.millisecond());
    Ok(Timestamp::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_three_decimals_always() {
        let text =
            |millis| Rfc3339Millis::new(Timestamp::from_millis(millis)).map(|m| m.to_string());
        assert_eq!(text(0).as_deref(), Some("1970-01-01T00:00:00.000Z"));
        assert_eq!(text(-1).as_deref(), Some("1969-12-31T23:59:59.999Z"));
        assert_eq!(
            text(1_767_225_600_123).as_deref(),
            Some("2026-01-01T00:00:00.123Z")
        );
        assert_eq!(text(i64::MAX), None);
    }

    #[test]
    fn a_moment_is_read_with_any_offset() {
        let millis = |text| parse(text).unwrap().as_millis();
        assert_eq!(millis("2026-01-01T00:00:00.123Z"), 1_767_225_600_123);
        assert_eq!(millis("2026-01-01T02:00:00.1239+02:00"), 1_767_225_600_123);
        assert!(parse("2026-01-01").is_err());
    }
}

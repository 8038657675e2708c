//! Parts of Rust expressions, so that a plan that is printed can be pasted into a test.

use std::time::Duration;

/// In the largest unit that is exact.
pub(super) fn duration(span: Duration) -> String {
    let nanos = span.as_nanos();
    for (unit, size) in [
        ("secs", 1_000_000_000),
        ("millis", 1_000_000),
        ("micros", 1_000),
    ] {
        if nanos.is_multiple_of(size) {
            return format!("Duration::from_{unit}({})", nanos / size);
        }
    }
    format!("Duration::from_nanos({nanos})")
}

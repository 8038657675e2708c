//! Figures and names as people read them, short and of one line.

use std::time::Duration;

/// How long something is or was, to two or three digits.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{} ms", span.as_millis()),
        1..100 => format!("{:.1} s", span.as_secs_f64()),
        100..6_000 => format!("{} min", seconds / 60),
        6_000..360_000 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// The same, or a dash if nobody knows.
pub(crate) fn span_or_dash(known: Option<Duration>) -> String {
    known.map_or_else(|| "-".to_owned(), span)
}

/// How many MiB that is.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

/// What can be shown of a text that comes from elsewhere: each character that may move the cursor, or take
/// more or less than one column, is a question mark.
pub(crate) fn printable(text: &str) -> String {
    text.replace(|c| !matches!(c, ' '..='~'), "?")
}

/// The beginning of a line, as far as it fits. The line is [`printable`].
pub(crate) fn cut(mut line: String, width: usize) -> String {
    line.truncate(width);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_short_whatever_its_length() {
        for (millis, short) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1.0 s"),
            (99_949, "99.9 s"),
            (100_000, "1 min"),
            (5_999_999, "99 min"),
            (6_000_000, "1 h"),
            (359_999_999, "99 h"),
            (360_000_000, "4 d"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), short);
        }
        assert_eq!(span_or_dash(None), "-");
        assert_eq!(mebibytes(3 << 19), "1.5");
    }

    #[test]
    fn nothing_that_moves_the_cursor_is_shown() {
        assert_eq!(printable("a\x1b[2J\n\r\t\u{9b}b~ é字"), "a?[2J????b~ ??");
        assert_eq!(cut(printable("字字字"), 2), "??");
    }
}

//! Logs on standard error, for people.

use std::{
    env,
    io::{self, IsTerminal},
    str::FromStr,
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, filter::ParseError};

use crate::teller::Teller;

/// What to log: a level, or a list of `target=level`.
#[derive(Clone, Debug)]
pub(crate) struct Filter(String);

/// What is logged if nobody says otherwise. What the SDK warns of either does no harm or fails a
/// call, and then it is said why in words of ours.
pub(crate) const DEFAULT_FILTER: &str = "warn,aws=error,hyper=error";

/// The SDK's crates all begin like this. What they log of each call drowns everything else.
const QUIET: &str = "aws=warn,hyper=warn";

/// Logs to standard error from now on, as `teller` does.
pub(crate) fn to_standard_error(filter: &Filter, teller: Teller) {
    tracing_subscriber::fmt()
        .with_env_filter(filter.with_quiet_sdk())
        .with_writer(move || teller.clone())
        .with_ansi(io::stderr().is_terminal() && !has_no_color())
        .init();
}

/// What <https://no-color.org> asks for.
fn has_no_color() -> bool {
    env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

impl Filter {
    fn with_quiet_sdk(&self) -> EnvFilter {
        let asked = EnvFilter::new(&self.0);
        if asked.max_level_hint() <= Some(LevelFilter::WARN) {
            return asked;
        }
        // What comes later holds, and so does what is more specific.
        EnvFilter::new(format!("{QUIET},{}", self.0))
    }
}

impl FromStr for Filter {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        // `RUST_LOG=` is how people turn the variable off.
        let text = match text.trim() {
            "" => DEFAULT_FILTER,
            text => text,
        };
        EnvFilter::builder().parse(text)?;
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directives(text: &str) -> String {
        text.parse::<Filter>().unwrap().with_quiet_sdk().to_string()
    }

    #[test]
    fn the_sdk_says_no_more_than_warnings_unless_it_is_named() {
        let all = directives("debug");
        assert!(all.contains("aws=warn") && all.contains("debug"), "{all}");
        let named = directives("debug,aws=info");
        assert!(
            !named.contains("aws=warn") && named.contains("aws=info"),
            "{named}"
        );
        assert_eq!(directives("error"), "error");
        assert_eq!(directives("warn"), "warn");
    }

    #[test]
    fn by_default_the_sdk_does_not_even_warn() {
        let unset = directives("");
        assert_eq!(unset, directives(DEFAULT_FILTER));
        for quiet in ["warn", "aws=error", "hyper=error"] {
            assert!(unset.split(',').any(|part| part == quiet), "{unset}");
        }
    }

    #[test]
    fn a_filter_that_makes_no_sense_is_refused() {
        assert!("kinesis_tail=loud".parse::<Filter>().is_err());
    }
}

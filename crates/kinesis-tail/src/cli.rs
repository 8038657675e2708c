//! The command line. Its texts are the manual: what they say holds.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

use clap::{Args, Parser, Subcommand};

use crate::{
    connect, consume::ConsumeArgs, demo::DemoArgs, logs, publish::PublishArgs, serve::ServeArgs,
    shards::ShardsArgs,
};

/// Consume, publish and inspect a Kinesis stream from the shell.
///
/// See it work without an AWS account:
///
///   kinesis-tail demo
///
/// Print everything there is in a stream, and go on printing what comes:
///
///   kinesis-tail consume orders --from trim-horizon
///
/// Go on each day where the last run had finished:
///
///   kinesis-tail consume orders --checkpoint orders.redb --until-caught-up
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = false, verbatim_doc_comment)]
#[command(after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// What to log on standard error: off, error, warn, info, debug, trace, or a list as
    /// `info,kinesis_source=debug`
    ///
    /// The AWS SDK says no more than warnings unless it is named, as in `aws=debug`, and by default
    /// not even these: `warn` shows them.
    #[arg(long, global = true, value_name = "FILTER", env = "RUST_LOG")]
    #[arg(default_value = logs::DEFAULT_FILTER, hide_env_values = true, display_order = LAST)]
    pub(crate) log: logs::Filter,
}

/// Among the options of a command, what all have in common comes last.
const LAST: usize = 900;

const EXIT_CODES: &str = "\
Exit codes:
  0    done, or told to stop by SIGINT or SIGTERM, or nobody reads standard output any more
  1    failed; the last line on standard error says why
  2    wrong usage
  130  told to stop twice";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(DemoArgs),
    Consume(ConsumeArgs),
    Publish(PublishArgs),
    Shards(ShardsArgs),
    Serve(ServeArgs),
}

/// How to reach the service. What is not passed comes from the environment and the files that all
/// AWS programs read.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectArgs {
    /// The server to call instead of AWS's own, as http://127.0.0.1:4567 [also: AWS_ENDPOINT_URL]
    #[arg(long, value_name = "URL", value_parser = connect::endpoint_url)]
    pub(crate) endpoint_url: Option<String>,

    /// The AWS region [also: AWS_REGION, or the profile's]
    #[arg(long)]
    pub(crate) region: Option<String>,

    /// The profile of ~/.aws/config to use, and no other credentials [also: AWS_PROFILE]
    #[arg(long)]
    pub(crate) profile: Option<String>,
}

impl Cli {
    /// What clap cannot check by itself: what is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        match &self.command {
            Command::Consume(args) => args.check(),
            Command::Serve(args) => args.check(),
            _ => Ok(()),
        }
    }
}

/// Reads the number of something of which there are so many.
pub(crate) fn number<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: Clone + Display + FromStr + PartialOrd,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        let (least, most) = (range.start(), range.end());
        number.ok_or_else(|| format!("expected a whole number from {least} to {most}"))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}

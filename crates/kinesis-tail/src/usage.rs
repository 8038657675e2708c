//! What a person is told who used the program wrongly: one sentence, where clap has a page.

use std::process::ExitCode;

use clap::{
    Arg, Command, CommandFactory, Parser,
    error::{ContextKind, ContextValue, Error, ErrorKind},
};

use crate::{cli::Cli, failure};

/// The exit code of wrong usage.
const WRONG_USAGE: u8 = 2;

#[derive(Debug, thiserror::Error)]
#[error("{problem}; see `{command} --help`")]
struct WrongUsage {
    problem: String,
    command: String,
}

/// Reads the command line. Where it asks for help or the version, prints that and exits with 0.
///
/// # Errors
///
/// The exit code, if it makes no sense: then it has been said why.
pub(crate) fn read() -> Result<Cli, ExitCode> {
    let problem = match Cli::try_parse() {
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) => problem(&error, &given()),
        Ok(cli) => match cli.check() {
            Ok(()) => return Ok(cli),
            Err(problem) => problem,
        },
    };
    let command = given();
    let name = command.get_bin_name().unwrap_or(command.get_name());
    failure::report(&WrongUsage {
        problem,
        command: name.to_owned(),
    });
    Err(ExitCode::from(WRONG_USAGE))
}

/// The command that was given, or the program itself if there is none.
fn given() -> Command {
    let lenient = Cli::command().ignore_errors(true).try_get_matches();
    let name = lenient
        .as_ref()
        .map_or(None, clap::ArgMatches::subcommand_name);
    let mut program = Cli::command();
    // Until then, neither commands nor arguments know how they are shown.
    program.build();
    let command = name.and_then(|name| program.find_subcommand(name));
    command.unwrap_or(&program).clone()
}

fn problem(error: &Error, command: &Command) -> String {
    let argument = argument(error, command);
    let value = text(error, ContextKind::InvalidValue);
    let problem = match error.kind() {
        ErrorKind::MissingRequiredArgument => format!("{argument} is missing"),
        ErrorKind::MissingSubcommand => "no command is given".to_owned(),
        ErrorKind::InvalidSubcommand => {
            let command = text(error, ContextKind::InvalidSubcommand);
            format!("there is no command {command:?}")
        }
        ErrorKind::UnknownArgument => {
            let unknown = text(error, ContextKind::InvalidArg);
            format!("argument {unknown:?} is not expected")
        }
        // No two arguments exclude each other, only one itself.
        ErrorKind::ArgumentConflict => format!("{argument} is given twice"),
        ErrorKind::TooManyValues => format!("{argument} takes no value, and {value:?} is given"),
        ErrorKind::InvalidValue if value.is_empty() => format!("{argument} lacks its value"),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            format!("{argument} cannot be {value:?}")
        }
        other => other.to_string(),
    };
    match way_out(error) {
        Some(way_out) => format!("{problem}: {way_out}"),
        None => problem,
    }
}

/// What would have been right, if clap knows that.
fn way_out(error: &Error) -> Option<String> {
    if let Some(why) = std::error::Error::source(error) {
        return Some(why.to_string());
    }
    for kind in [ContextKind::ValidValue, ContextKind::ValidSubcommand] {
        let valid = text(error, kind);
        if !valid.is_empty() {
            return Some(format!("expected one of {valid}"));
        }
    }
    for kind in [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand] {
        let similar = text(error, kind);
        if !similar.is_empty() {
            return Some(format!("perhaps {similar} is meant"));
        }
    }
    None
}

/// The argument that is at fault, and by which variable it may have come instead.
fn argument(error: &Error, command: &Command) -> String {
    let shown = text(error, ContextKind::InvalidArg);
    let known = command.get_arguments().find(|arg| arg.to_string() == shown);
    // As `--from <POSITION>`, `<STREAM>` or `[STREAM]`.
    let name = shown.split(' ').next().unwrap_or_default();
    let name = name.trim_matches(['<', '>', '[', ']']);
    match known.and_then(Arg::get_env) {
        Some(variable) => format!("{name} (or {})", variable.to_string_lossy()),
        None => name.to_owned(),
    }
}

/// What clap says of an error; empty if it says nothing.
fn text(error: &Error, kind: ContextKind) -> String {
    error
        .get(kind)
        .map(ContextValue::to_string)
        .unwrap_or_default()
}

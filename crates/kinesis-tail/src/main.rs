//! Consume, publish and inspect a Kinesis stream from the shell.

mod cli;
mod connect;
mod consume;
mod demo;
mod failure;
mod figures;
mod live;
mod logs;
mod metrics;
mod moment;
mod output;
mod printer;
mod publish;
mod screen;
mod serve;
mod shards;
mod signals;
mod stdout;
mod teller;
mod usage;

use std::{io, process::ExitCode};

use stage_core::BoxError;

use crate::{cli::Command, screen::Screen, teller::Teller};

fn main() -> ExitCode {
    let cli = match usage::read() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let screen = Screen::standard_error();
    let teller = match Teller::start(screen.writer(io::stderr())) {
        Ok(teller) => teller,
        Err(error) => {
            failure::report(&error);
            return ExitCode::FAILURE;
        }
    };
    logs::to_standard_error(&cli.log, teller.clone());
    let code = match run(cli.command, screen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            teller.tell(failure::line(&*error).into_bytes());
            ExitCode::FAILURE
        }
    };
    teller.flush();
    code
}

fn run(command: Command, screen: Screen) -> Result<(), BoxError> {
    let runtime = tokio::runtime::Runtime::new()?;
    let done = runtime.block_on(async {
        match command {
            Command::Consume(args) => consume::run(args, screen).await,
            Command::Demo(args) => demo::run(args, screen).await,
            Command::Publish(args) => publish::run(args).await,
            Command::Shards(args) => shards::run(args).await,
            Command::Serve(args) => serve::run(args).await,
        }
    });
    // A thread may still wait for standard input: nobody waits for it.
    runtime.shutdown_background();
    done
}

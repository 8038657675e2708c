//! Consume, publish and inspect a Kinesis stream from the shell.

mod cli;
mod connect;
mod consume;
mod demo;
mod failure;
mod logs;
mod metrics;
mod moment;
mod output;
mod printer;
mod publish;
mod serve;
mod shards;
mod signals;
mod stdout;
mod usage;

use std::process::ExitCode;

use stage_core::BoxError;

use crate::cli::Command;

fn main() -> ExitCode {
    let cli = match usage::read() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    logs::to_standard_error(&cli.log);
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            failure::report(&*error);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), BoxError> {
    let runtime = tokio::runtime::Runtime::new()?;
    let done = runtime.block_on(async {
        match command {
            Command::Consume(args) => consume::run(args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Publish(args) => publish::run(args).await,
            Command::Shards(args) => shards::run(args).await,
            Command::Serve(args) => serve::run(args).await,
        }
    });
    // A thread may still wait for standard input: nobody waits for it.
    runtime.shutdown_background();
    done
}

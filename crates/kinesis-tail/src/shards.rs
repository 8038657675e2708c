//! `kinesis-tail shards`: which shard came from which.

mod tree;

use clap::Args;
use kinesis_source::{KinesisApi, Shard};
use stage_core::BoxError;

use crate::{
    cli::ConnectArgs,
    connect::{self, OpenError, connect, describe, insist},
    stdout,
};

/// Print a stream's shards as a tree: parents, their children, and what falls on each
///
/// A line has the shard's name, whether it is open (takes records) or closed, and its first and
/// last hash key. The child of a merge stands below its first parent, with a note of the second.
#[derive(Args, Debug)]
pub(crate) struct ShardsArgs {
    /// The stream's name or ARN
    #[arg(value_parser = connect::stream)]
    stream: String,

    #[command(flatten)]
    connect: ConnectArgs,
}

pub(crate) async fn run(args: ShardsArgs) -> Result<(), BoxError> {
    let api = connect(&args.connect, &args.stream).await?;
    describe(&api, &args.stream).await?;
    let shards = list(&api, &args.stream).await?;
    stdout::print(&tree::draw(&shards))?;
    Ok(())
}

/// All pages.
async fn list(api: &dyn KinesisApi, stream: &str) -> Result<Vec<Shard>, OpenError> {
    let mut shards = Vec::new();
    let mut token = None;
    loop {
        let page = insist(stream, || api.list_shards(token.clone())).await?;
        shards.extend(page.shards);
        token = page.next;
        if token.is_none() {
            return Ok(shards);
        }
    }
}

//! `kinesis-tail serve`: the embedded Kinesis alone.

use std::{net::Ipv4Addr, num::NonZeroU32, time::Duration};

use clap::Args;
use kinesis_fake::{Fake, Server};
use kinesis_source::{ApiError, KinesisWriteApi};
use stage_core::BoxError;
use tokio::time::sleep;

use crate::{cli::number, connect, signals, stdout};

/// Run an embedded Kinesis on 127.0.0.1, in memory
///
/// It has the service's real limits, and asks for no valid credentials. The first line on standard
/// output is its address, to be passed as --endpoint-url or AWS_ENDPOINT_URL; its region is
/// us-east-1. It ends on SIGINT or SIGTERM, and everything in it is gone.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// The port to listen at; 0 takes one that is free
    #[arg(long, default_value_t = 4567, value_parser = number(0..=u16::MAX))]
    port: u16,

    /// A stream to begin with. May be repeated; CreateStream makes others
    #[arg(long = "stream", value_name = "NAME", value_parser = stream_name)]
    streams: Vec<String>,

    /// How many shards each of these streams has
    #[arg(long, value_name = "N", default_value = "4", value_parser = number(NonZeroU32::MIN..=NonZeroU32::MAX))]
    shards: NonZeroU32,
}

/// Between two CreateStream, of which the service allows five a second.
const PAUSE: Duration = Duration::from_millis(210);

#[derive(Debug, thiserror::Error)]
#[error("cannot listen at 127.0.0.1:{port}: choose another port, or 0 for any")]
struct CannotListen {
    port: u16,
    source: std::io::Error,
}

#[derive(Debug, thiserror::Error)]
#[error("stream {name:?} cannot be made")]
struct CannotCreate {
    name: String,
    source: ApiError,
}

pub(crate) async fn run(args: ServeArgs) -> Result<(), BoxError> {
    let told_to_stop = signals::listen()?;
    let fake = Fake::builder().wall_clock().without_stream().build();
    create_streams(&fake, args.streams, args.shards).await?;
    let address = (Ipv4Addr::LOCALHOST, args.port).into();
    let server = Server::bind(address, fake)
        .await
        .map_err(|source| CannotListen {
            port: args.port,
            source,
        })?;
    stdout::print(&format!("http://{}\n", server.local_addr()))?;
    server.run_until(told_to_stop).await;
    Ok(())
}

fn stream_name(text: &str) -> Result<String, &'static str> {
    match connect::stream(text) {
        Ok(name) if !name.starts_with("arn:") => Ok(name),
        _ => Err("expected a name of 1 to 128 letters, digits, `_`, `.` and `-`"),
    }
}

async fn create_streams(
    fake: &Fake,
    names: Vec<String>,
    shards: NonZeroU32,
) -> Result<(), CannotCreate> {
    for (position, name) in names.into_iter().enumerate() {
        if position > 0 {
            sleep(PAUSE).await;
        }
        let created = fake.stream(&name).create_stream(shards.get()).await;
        created.map_err(|source| CannotCreate { name, source })?;
    }
    Ok(())
}

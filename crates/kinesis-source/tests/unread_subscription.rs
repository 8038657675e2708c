//! What a subscription that nobody reads costs: memory is counted for the whole process.
#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used)]

#[path = "canned/client.rs"]
mod client;
#[path = "canned/server.rs"]
mod server;

use std::{alloc::System, time::Duration};

use kinesis_fake::{Fake, Limits, Server};
use kinesis_source::{AwsKinesis, KinesisFanOutApi, Position};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::{task::JoinSet, time::sleep};

use self::client::conf;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MIB: usize = 1_024 * 1_024;

/// In use now and not when the region began.
fn in_use(region: &Region<'_, System>) -> usize {
    let stats = region.change();
    stats
        .bytes_allocated
        .saturating_sub(stats.bytes_deallocated)
}

/// 64 MiB are ready to be sent, as fast as they are read. Client and server together hold a few of
/// them while nobody reads, however long that is; the rest is not sent. Nothing is lost by it.
#[tokio::test]
async fn a_stream_of_events_that_is_not_read_does_not_grow() {
    let fake = Fake::builder()
        .instant()
        .name("orders")
        .limits(Limits::none());
    let fake = fake.wall_clock().build();
    let record = vec![b'x'; 128 * 1_024];
    for _ in 0..512 {
        fake.put("k", record.clone()).unwrap();
    }
    let server = Server::on_loopback(fake.clone()).await.unwrap();
    let api = AwsKinesis::from_conf(conf(&server.endpoint()), "orders").unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(server.run());
    let consumer = api.register_stream_consumer("audit").await.unwrap();
    let shard = fake.shards().remove(0).id;

    let region = Region::new(ALLOCATOR);
    let call = api.subscribe_to_shard(&consumer.arn, &shard, &Position::TrimHorizon);
    let mut subscription = call.await.unwrap();
    let mut records = subscription.next().await.unwrap().unwrap().records.len();
    assert!(records < 100, "an event has a part of them");
    // It is sent what the connection takes. That has come to its end when nothing changes any more.
    let (mut still, mut last) = (0, in_use(&region));
    while still < 10 {
        sleep(Duration::from_millis(50)).await;
        let now = in_use(&region);
        still = if now == last { still + 1 } else { 0 };
        last = now;
    }
    println!("{} KiB are held", last / 1_024);
    assert!(last < 8 * MIB, "{last} bytes are held");
    while records < 512 {
        records += subscription.next().await.unwrap().unwrap().records.len();
    }
    assert_eq!(records, 512);
}

//! What is logged of a source. By itself in a process: whether a line is wanted at all is decided once
//! for all threads.

#![allow(clippy::unwrap_used)]

mod log;
mod rig;

use std::{sync::Arc, time::Duration};

use kinesis_fake::{Fake, Fault, Operation};
use kinesis_source::{KinesisWriteApi, SourceEvent, StreamSource};
use log::Log;
use rig::Sink;
use stage_core::{Pipeline, Window};
use tokio::time::sleep;

/// What is logged is what was told, and nothing else, whatever happens; and nothing of the records.
#[tokio::test(start_paused = true)]
async fn a_line_of_the_log_for_each_event_and_no_others() {
    const CANARY: &str = "canary-7391";
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let fake = Fake::instant(2);
    fake.put(CANARY, CANARY).unwrap();
    let get = Operation::GetRecords;
    fake.inject(Fault::refusal(get, "InternalFailure").times(4));
    fake.inject(
        Fault::refusal(get, "ProvisionedThroughputExceededException")
            .after(9)
            .times(3),
    );
    let source = StreamSource::new("orders", Arc::new(fake.clone()));
    let mut pipeline = Pipeline::new();
    let (records, handle) = source.add_to(&mut pipeline);
    pipeline.consume(Sink::default(), records.subscribe(Window::new(100)));
    let mut events = handle.events();
    let meanwhile = async {
        sleep(Duration::from_secs(10)).await;
        fake.split_shard(&"shardId-000000000000".into(), 1 << 124)
            .await
            .unwrap();
        fake.put(CANARY, CANARY).unwrap();
    };
    let running = pipeline.run_until(sleep(Duration::from_secs(300)));
    tokio::join!(running, meanwhile).0.unwrap();
    let events: Vec<SourceEvent> = std::iter::from_fn(|| events.try_next()).collect();
    assert!(events.len() > 10);
    let told: Vec<String> = events.iter().map(ToString::to_string).collect();
    let lines = log.lines();
    let logged: Vec<&str> = lines.iter().map(|line| line.message.as_str()).collect();
    assert_eq!(logged, told);
    for (line, event) in lines.iter().zip(&events) {
        assert_eq!(line.field("stream"), Some("orders"));
        assert_eq!(line.field("event"), Some(event.name()));
        let shard = event.shard().map(ToString::to_string);
        assert_eq!(line.field("shard"), shard.as_deref());
        assert_eq!(line.field("error").is_some(), event.error().is_some());
    }
    let all = format!("{lines:?}{events:?}{told:?}");
    assert!(!all.contains(CANARY));
}

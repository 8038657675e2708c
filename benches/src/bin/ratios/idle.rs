//! What shards take that nothing comes from, by a clock that runs.

use std::{
    error::Error,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use kinesis_fake::{Fake, Limits, Operation};
use kinesis_source::{Record, StreamSource};
use stage_core::{Pipeline, PipelineError, Window, for_each};
use tokio::{runtime::Builder, time::sleep};

use crate::contest::cpu_time;

pub(crate) const NAME: &str = "idle";

const SHARDS: u32 = 10_000;

/// Until all have begun.
const BEFORE: Duration = Duration::from_secs(5);

const LONG: Duration = Duration::from_secs(5);

/// There is nobody to be compared with, and so there are no figures.
pub(crate) fn measure() -> Result<(), Box<dyn Error>> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    Ok(runtime.block_on(look())?)
}

async fn look() -> Result<(), PipelineError> {
    let fake = Fake::builder()
        .shards(SHARDS)
        .limits(Limits::none())
        .build();
    let before = resident();
    let mut pipeline = Pipeline::new();
    let (records, _) = StreamSource::new("stream", Arc::new(fake.clone())).add_to(&mut pipeline);
    let drops = for_each(|_: Record| ());
    pipeline.consume(drops, records.subscribe(Window::new(1_000)));
    let reads = || fake.calls().of(Operation::GetRecords).made;
    let looking = async {
        sleep(BEFORE).await;
        let (start, busy, read) = (Instant::now(), cpu_time(), reads());
        sleep(LONG).await;
        let took = start.elapsed().as_secs_f64();
        let busy = (cpu_time() - busy).as_secs_f64() / took;
        let polls = (reads() - read) as f64 / took / f64::from(SHARDS);
        let memory = (resident() - before) / f64::from(SHARDS);
        println!(
            "\n{NAME}: {SHARDS} shards: {busy:.3} of a core (bar: less than 0.25), the fake's part included, at {polls:.2} \
             polls a second each; {:.1} KiB of resident memory a shard (bar: 16)",
            memory / 1024.0,
        );
    };
    pipeline.run_until(looking).await
}

/// Bytes, or nothing where that is not known.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib * 1024.0)
}

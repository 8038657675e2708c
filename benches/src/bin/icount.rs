//! One workload, once, on one thread: for `icount.sh`, which counts its instructions.
//!
//!     cargo run --release -p benches --bin icount -- a1000 stage-core 40000

use std::error::Error;

use benches::{Event, Job, WORKLOADS};
use clap::Parser;
use tokio::runtime::Builder;

/// Do a workload once.
#[derive(Parser)]
struct Args {
    workload: String,
    candidate: String,
    events: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Args {
        workload,
        candidate,
        events,
    } = Args::parse();
    let known = WORKLOADS.iter().find(|known| known.name == workload);
    let workload = known.ok_or_else(|| format!("no workload `{workload}`"))?;
    let job = Job {
        shape: workload.shape,
        window: workload.window,
        events,
    };
    let known = u64::candidates()
        .into_iter()
        .find(|known| known.name == candidate && (known.does)(job.shape));
    let candidate = known.ok_or_else(|| format!("no candidate `{candidate}` for it"))?;
    // By a clock that stands still: callgrind takes fifty times as long, and that is not to be taken for slow events.
    let tally = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?
        .block_on((candidate.run)(job));
    assert_eq!(tally, job.expected::<u64>(), "events are missing");
    Ok(())
}

//! One workload of one candidate, so many events, for `icount.sh` to count instructions of:
//! `icount WORKLOAD CANDIDATE EVENTS`.

use std::{env, process::ExitCode};

use benches::{CANDIDATES, WORKLOADS};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [workload, candidate, events] = &*arguments else {
        eprintln!("usage: icount WORKLOAD CANDIDATE EVENTS");
        return ExitCode::from(2);
    };
    let workload = WORKLOADS.iter().find(|known| known.name == workload);
    let candidate = CANDIDATES.iter().find(|known| known.name == candidate);
    let (Some(workload), Some(candidate), Ok(events)) = (workload, candidate, events.parse())
    else {
        eprintln!("no such workload or candidate, or no number");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let sum = runtime
        .expect("a runtime without drivers")
        .block_on((candidate.run)(workload.window, events));
    assert_eq!(sum, events * (events - 1) / 2, "events were lost");
    ExitCode::SUCCESS
}

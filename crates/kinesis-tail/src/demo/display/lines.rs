use std::fmt::Write;

use super::{View, lag, state};
use crate::stdout;

/// Shows each view as lines on standard output.
#[derive(Debug)]
pub(in crate::demo) struct Lines;

impl Lines {
    pub(super) fn show(&self, view: &View) {
        // Nobody has to read it.
        let _ = stdout::print(&text(view));
    }
}

fn text(view: &View) -> String {
    let mut text = format!(
        "{:5.1} s  published {}  received {}  in flight {}\n",
        view.elapsed.as_secs_f64(),
        view.published,
        view.received,
        view.in_flight
    );
    for shard in &view.shards {
        let status = &shard.status;
        // A string takes all that is written.
        let _ = writeln!(
            text,
            "         {}  read {}  in flight {}  lag {}  throttled {}  {}",
            status.shard,
            status.records_read,
            status.in_flight,
            lag(shard),
            status.throttled,
            state(shard)
        );
    }
    text
}

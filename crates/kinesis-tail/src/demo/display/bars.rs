use std::collections::BTreeMap;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kinesis_source::{ShardExplanation, ShardId};

use super::{View, lag, state};
use crate::demo::{allowed_in_flight, publisher::RECORDS};

/// Shows views as bars on the terminal that standard error is.
#[derive(Debug)]
pub(in crate::demo) struct Bars {
    all: MultiProgress,
    received: ProgressBar,
    in_flight: ProgressBar,
    /// A bar is as long as what may be in flight in all, and filled as far as the shard's records are:
    /// they are on their way through all stages, not only in the shard's own window.
    shards: BTreeMap<ShardId, ProgressBar>,
}

impl Bars {
    pub(super) fn new() -> Self {
        let all = MultiProgress::new();
        let received = all.add(bar(RECORDS));
        received.set_prefix("received");
        let in_flight = all.add(bar(allowed_in_flight()));
        in_flight.set_prefix("in flight");
        Self {
            all,
            received,
            in_flight,
            shards: BTreeMap::new(),
        }
    }

    pub(super) fn show(&mut self, view: &View) {
        let seconds = view.elapsed.as_secs_f64();
        self.received.set_position(view.received);
        self.received
            .set_message(format!("published {}  {seconds:.1} s", view.published));
        self.in_flight.set_position(view.in_flight);
        for shard in &view.shards {
            self.show_shard(shard);
        }
    }

    fn show_shard(&mut self, shard: &ShardExplanation) {
        let status = &shard.status;
        let Self { all, shards, .. } = self;
        let bar = shards.entry(status.shard.clone()).or_insert_with(|| {
            let bar = all.add(bar(allowed_in_flight()));
            bar.set_prefix(status.shard.to_string());
            bar
        });
        bar.set_position(status.in_flight);
        bar.set_message(format!(
            "read {}  lag {}  throttled {}  {}",
            status.records_read,
            lag(status),
            status.throttled,
            state(shard)
        ));
    }
}

impl Drop for Bars {
    /// Leaves them where they are, with the cursor below.
    fn drop(&mut self) {
        for bar in self
            .shards
            .values()
            .chain([&self.received, &self.in_flight])
        {
            bar.abandon();
        }
    }
}

fn bar(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>20} {bar:30} {pos:>5}/{len:<5} {msg}")
        .expect("the template names keys that there are");
    ProgressBar::new(length).with_style(style)
}

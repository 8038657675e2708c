mod bars;
mod lines;

use std::time::Duration;

use kinesis_source::ShardExplanation;

use self::{bars::Bars, lines::Lines};
use crate::{figures::span_or_dash, screen::Screen};

/// How it is going, at one moment.
#[derive(Debug)]
pub(super) struct View {
    pub(super) elapsed: Duration,
    pub(super) published: u64,
    pub(super) received: u64,
    pub(super) in_flight: u64,
    pub(super) shards: Vec<ShardExplanation>,
}

/// Shows how it is going: bars that move on a terminal, lines elsewhere.
#[derive(Debug)]
pub(super) enum Display {
    Bars(Bars),
    Lines(Lines),
}

impl Display {
    pub(super) fn on(screen: Screen) -> Self {
        if screen.can_move() {
            Self::Bars(Bars::on(screen))
        } else {
            Self::Lines(Lines)
        }
    }

    /// How often to show something.
    pub(super) fn pace(&self) -> Duration {
        match self {
            Self::Bars(_) => Duration::from_millis(100),
            Self::Lines(_) => Duration::from_secs(1),
        }
    }

    pub(super) fn show(&mut self, view: &View) {
        match self {
            Self::Bars(bars) => bars.show(view),
            Self::Lines(lines) => lines.show(view),
        }
    }
}

/// What it is doing, and what for.
fn state(shard: &ShardExplanation) -> String {
    let (state, waiting) = (shard.status.state, shard.waiting);
    format!("{state}, waits for {}", waiting.waiting_for)
}

/// How far reading is behind the shard's tip.
fn lag(shard: &ShardExplanation) -> String {
    span_or_dash(shard.behind)
}

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{ByteBudget, meters::Meters, source_watch::SourceWatch, stream_status::Board};

/// Looks after a source and its shards, from outside of the tasks that it looks after: whoever hangs
/// cannot say so. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Supervisor {
    _task: JoinSet<()>,
}

/// Its rounds. When they end, the numbers are brought up to date once more.
struct Rounds {
    board: Arc<Board>,
    source: Arc<SourceWatch>,
    meters: Meters,
    /// How long a record may be in hand.
    settle_within: Duration,
}

/// How often it looks.
const EVERY: Duration = Duration::from_secs(5);

impl Supervisor {
    pub(crate) fn over(
        board: Arc<Board>,
        source: Arc<SourceWatch>,
        by_shard: bool,
        budget: ByteBudget,
        settle_within: Duration,
    ) -> Self {
        let meters = Meters::new(source.reporter().name(), by_shard, budget);
        let mut rounds = Rounds {
            board,
            source,
            meters,
            settle_within,
        };
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                sleep(EVERY).await;
                rounds.look_after();
            }
        });
        Self { _task: task }
    }
}

impl Rounds {
    fn look_after(&mut self) {
        let now = Instant::now();
        self.source.check(now);
        for event in self.board.check(self.settle_within, now) {
            self.source.reporter().report(&event);
        }
        self.publish(now);
    }

    fn publish(&mut self, now: Instant) {
        let (shards, _) = self.board.explain(self.source.retention(), now);
        self.meters.publish(&shards, &self.source, now);
    }
}

impl Drop for Rounds {
    fn drop(&mut self) {
        self.publish(Instant::now());
    }
}

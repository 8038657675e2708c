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
        let news = self.board.check(self.settle_within, now);
        self.source.reporter().tell(news);
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

#[cfg(test)]
mod tests {
    use std::{iter, sync::Once};

    use super::*;
    use crate::{
        PinnedPosition, SourceEvent, WaitingFor, progress::Progress, reporter::Reporter,
        test_log::LogThat,
    };

    #[tokio::test(start_paused = true)]
    async fn that_a_shard_is_stuck_is_not_told_after_that_it_is_no_longer() {
        let watch = Arc::new(SourceWatch::new(Reporter::of("orders")));
        let board = Arc::new(Board::default());
        let from = PinnedPosition::TrimHorizon;
        let progress = Progress::new("a".into(), from, Arc::default());
        progress.watch().join(Arc::clone(&watch));
        board.add(Arc::clone(&progress));
        let mut events = watch.reporter().events();
        let budget = ByteBudget::default();
        let settle_within = Duration::from_secs(600);
        let _supervisor = Supervisor::over(board, Arc::clone(&watch), false, budget, settle_within);
        progress.watch().waits_for_answer("GetRecords");
        // Stands for a reader in another thread, that goes on when the supervisor is telling.
        let log = {
            let (progress, once) = (Arc::clone(&progress), Once::new());
            LogThat(move || once.call_once(|| progress.watch().waits_for(WaitingFor::Demand, None)))
        };
        let told = tracing::subscriber::set_default(log);
        sleep(Duration::from_secs(300)).await;
        drop(told);
        let told: Vec<_> = iter::from_fn(|| events.try_next()).collect();
        assert!(
            matches!(
                told[..],
                [SourceEvent::Stuck { .. }, SourceEvent::Unstuck { .. }]
            ),
            "{told:?}"
        );
        assert!(!progress.watch().look(Instant::now()).is_stuck);
    }
}

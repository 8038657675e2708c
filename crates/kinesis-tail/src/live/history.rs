use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use kinesis_source::{Explanation, ShardExplanation, ShardId, ShardState};

use super::{
    past::{Past, Seen},
    snapshot::{ShardView, Snapshot},
};

/// What of earlier moments is needed to say how it is now: how fast records are done with, and which shards
/// have been in trouble of late. Pure: it is told the time.
#[derive(Debug)]
pub(super) struct History {
    /// Whether it is of interest when checkpoints were stored.
    has_store: bool,
    /// How many were done, and when that was seen, for so long as counts.
    done: VecDeque<(Duration, u64)>,
    /// Of each shard that is not over.
    pasts: BTreeMap<ShardId, Past>,
}

/// What is done is counted over so long.
const SPEED_OVER: Duration = Duration::from_secs(5);

impl History {
    pub(super) fn new(has_store: bool) -> Self {
        Self {
            has_store,
            done: VecDeque::new(),
            pasts: BTreeMap::new(),
        }
    }

    /// How it is, since the view began `elapsed` ago.
    pub(super) fn note(&mut self, explanation: Explanation, elapsed: Duration) -> Snapshot {
        let Explanation {
            source,
            waiting,
            totals,
            budget,
            checkpoint_age,
            shards: explained,
            ..
        } = explanation;
        let is_over = |state| matches!(state, ShardState::Finished | ShardState::Complete);
        let in_flight = explained.iter().map(|it| it.status.in_flight).sum();
        let all = explained.len();
        let mut before = std::mem::take(&mut self.pasts);
        let mut shards = Vec::with_capacity(all);
        for shard in explained {
            let status = &shard.status;
            if !is_over(status.state) {
                let mut past = before.remove(&status.shard).unwrap_or_default();
                let trouble = past.note(seen(&shard), elapsed);
                self.pasts.insert(status.shard.clone(), past);
                shards.push(ShardView::new(shard, trouble));
            }
        }
        Snapshot {
            source,
            elapsed,
            waiting: waiting.into(),
            done: totals.acked,
            done_per_second: self.speed(totals.acked, elapsed),
            read: totals.records_read,
            in_flight,
            throttled: totals.throttled,
            budget: budget.bytes,
            budget_in_use: budget.in_use,
            checkpoint_age: checkpoint_age.filter(|_| self.has_store),
            over: all - shards.len(),
            shards,
        }
    }

    /// How many were done each second of late, once that can be said.
    fn speed(&mut self, done: u64, now: Duration) -> Option<u64> {
        self.done.push_back((now, done));
        while let Some((_, (at, _))) = self.done.front().zip(self.done.get(1))
            && now.saturating_sub(*at) >= SPEED_OVER
        {
            self.done.pop_front();
        }
        let (since, before) = *self.done.front()?;
        let span = now.saturating_sub(since);
        if span < Duration::from_millis(500) {
            return None;
        }
        Some((done.saturating_sub(before) as f64 / span.as_secs_f64()).round() as u64)
    }
}

fn seen(shard: &ShardExplanation) -> Seen {
    let status = &shard.status;
    Seen {
        failures: status.retries + status.restarts,
        answers: status.reads,
        throttled: status.throttled,
        waiting: shard.waiting.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kinesis_fake::Fake;
    use kinesis_source::{KinesisWriteApi, ShardRecord, StreamSource};
    use stage_core::{Pipeline, Window, for_each};
    use tokio::time::sleep;

    use super::*;

    /// All of it is what the source says: of shards that are read, and of one that is finished.
    #[tokio::test(start_paused = true)]
    async fn a_snapshot_has_what_the_source_explains() {
        let fake = Fake::instant(3);
        fake.put_numbered(0..100).unwrap();
        let shard = fake.shards()[0].id.clone();
        fake.split_shard(&shard, 1 << 100).await.unwrap();
        let mut pipeline = Pipeline::new();
        let (records, stream) = StreamSource::new("orders", Arc::new(fake)).add_to(&mut pipeline);
        let printed = for_each(|_: ShardRecord| {});
        pipeline.consume(printed, records.subscribe(Window::new(10)));
        let look = async {
            sleep(seconds(60)).await;
            let explained = stream.explain();
            let snapshot = History::new(true).note(explained.clone(), seconds(60));
            assert_eq!((snapshot.done, snapshot.read), (100, 100));
            assert_eq!(snapshot.throttled, explained.totals.throttled);
            assert_eq!(snapshot.budget, explained.budget.bytes);
            assert_eq!(snapshot.budget_in_use, explained.budget.in_use);
            assert_eq!(snapshot.checkpoint_age, explained.checkpoint_age);
            let without_store = History::new(false).note(explained.clone(), seconds(60));
            assert_eq!(without_store.checkpoint_age, None);
            assert_eq!((snapshot.shards.len(), snapshot.over), (4, 1));
            for (shown, explained) in snapshot.shards.iter().zip(&explained.shards[1..]) {
                let status = &explained.status;
                assert_eq!(shown.shard, status.shard);
                assert_eq!(shown.state, status.state);
                assert_eq!(shown.read, status.records_read);
                assert_eq!(shown.behind, explained.behind);
                assert_eq!(shown.headroom, explained.headroom);
                assert_eq!(shown.waiting.waiting_for, explained.waiting.waiting_for);
                assert_eq!(shown.waiting.since, explained.waiting.since);
            }
        };
        pipeline.run_until(look).await.unwrap();
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_speed_is_that_of_the_last_seconds() {
        let mut history = History::new(true);
        assert_eq!(history.speed(1_000, seconds(0)), None);
        assert_eq!(history.speed(1_100, seconds(1)), Some(100));
        for second in 2..=5 {
            assert_eq!(
                history.speed(1_000 + 100 * second, seconds(second)),
                Some(100)
            );
        }
        // A minute in which nobody looked, and nothing more was done.
        assert_eq!(history.speed(1_500, seconds(65)), Some(0));
        assert_eq!(history.speed(2_100, seconds(71)), Some(100));
        assert!(history.done.len() < 5, "{history:?}");
    }
}

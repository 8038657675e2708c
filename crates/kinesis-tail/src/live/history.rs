use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use kinesis_source::{Explanation, ShardExplanation, ShardId, ShardState};

use super::{
    past::{Lag, Past, Seen},
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
        let in_flight = explained.iter().map(|it| it.status.in_flight).sum();
        let all = explained.len();
        let mut before = std::mem::take(&mut self.pasts);
        let mut shards = Vec::with_capacity(all);
        for shard in explained {
            if !shard.is_done() {
                let name = shard.status.shard.clone();
                let mut past = before.remove(&name).unwrap_or_default();
                let lag = lag(&shard, &mut past);
                let trouble = past.note(seen(&shard), elapsed);
                self.pasts.insert(name, past);
                shards.push(ShardView::new(shard, lag, trouble));
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

/// How far reading of it is behind, or was, if it has stopped.
fn lag(shard: &ShardExplanation, past: &mut Past) -> Lag {
    let ShardExplanation {
        status,
        behind,
        headroom,
        ..
    } = shard;
    if status.state == ShardState::Stopped {
        let said = status.millis_behind_latest.map(Duration::from_millis);
        return past.last_lag(status.reads, said);
    }
    let lag = Lag {
        behind: *behind,
        headroom: *headroom,
    };
    past.note_lag(lag);
    lag
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
    use kinesis_source::{KinesisWriteApi, Record, StreamSource, WaitingFor};
    use stage_core::{Pipeline, Window, for_each};
    use tokio::time::sleep;

    use super::*;
    use crate::live::{concern::Concern, snapshot::Wait};

    /// What is explained of a stream that is read, of which one shard is finished and four are read.
    async fn explained() -> Explanation {
        let fake = Fake::instant(3);
        fake.put_numbered(0..100).unwrap();
        let shard = fake.shards()[0].id.clone();
        fake.split_shard(&shard, 1 << 100).await.unwrap();
        let mut pipeline = Pipeline::new();
        let (records, stream) = StreamSource::new("orders", Arc::new(fake)).add_to(&mut pipeline);
        let printed = for_each(|_: Record| {});
        pipeline.consume(printed, records.subscribe(Window::new(10)));
        let mut explained = None;
        let look = async {
            sleep(seconds(60)).await;
            explained = Some(stream.explain());
        };
        pipeline.run_until(look).await.unwrap();
        explained.unwrap()
    }

    /// All of it is what the source says: of shards that are read, and of one that is finished.
    #[tokio::test(start_paused = true)]
    async fn a_snapshot_has_what_the_source_explains() {
        let mut explained = explained().await;
        // What does not happen to all runs, and no number twice.
        let mut number = 1_000;
        for shard in &mut explained.shards {
            (shard.status.in_flight, shard.status.throttled) = (number + 1, number + 2);
            shard.behind = Some(seconds(number + 3));
            shard.headroom = Some(seconds(number + 4));
            shard.waiting.since = seconds(number + 5);
            shard.waiting.is_stuck = number == 2_000;
            number += 1_000;
        }
        explained.totals.throttled = 77_777;
        explained.waiting.is_stuck = true;
        explained.waiting.since = seconds(88);
        let snapshot = History::new(true).note(explained.clone(), seconds(60));
        assert_eq!(snapshot.elapsed, seconds(60));
        assert_eq!((snapshot.done, snapshot.read), (100, 100));
        assert_eq!(snapshot.throttled, 77_777);
        assert_eq!(snapshot.in_flight, 15_005);
        assert_eq!(snapshot.budget, explained.budget.bytes);
        assert_eq!(snapshot.budget_in_use, explained.budget.in_use);
        assert_eq!(snapshot.checkpoint_age, explained.checkpoint_age);
        assert_eq!(snapshot.waiting, Wait::from(explained.waiting));
        assert!(snapshot.waiting.is_stuck, "{:?}", snapshot.waiting);
        assert_eq!(snapshot.waiting.since, seconds(88));
        let without_store = History::new(false).note(explained.clone(), seconds(60));
        assert_eq!(without_store.checkpoint_age, None);
        assert_eq!((snapshot.shards.len(), snapshot.over), (4, 1));
        for (shown, explained) in snapshot.shards.iter().zip(&explained.shards[1..]) {
            let status = &explained.status;
            assert_eq!(shown.shard, status.shard);
            assert_eq!(shown.state, status.state);
            assert_eq!(shown.read, status.records_read);
            assert_eq!(shown.in_flight, status.in_flight);
            assert_eq!(shown.throttled, status.throttled);
            assert_eq!(shown.behind, explained.behind);
            assert_eq!(shown.headroom, explained.headroom);
            assert_eq!(shown.waiting.waiting_for, explained.waiting.waiting_for);
            assert_eq!(shown.waiting.since, explained.waiting.since);
            assert_eq!(shown.waiting.is_stuck, explained.waiting.is_stuck);
        }
        let stuck = |it: &ShardView| it.concern == Some(Concern::Stuck);
        assert!(stuck(&snapshot.shards[0]));
        assert_eq!(snapshot.shards.iter().filter(|it| stuck(it)).count(), 1);
    }

    /// Each kind of trouble is made of what is counted of it.
    #[tokio::test(start_paused = true)]
    async fn shards_in_trouble_are_of_concern() {
        let mut explained = explained().await;
        let mut history = History::new(true);
        let concerns = |history: &mut History, explained: &Explanation, second| {
            let shards = history.note(explained.clone(), seconds(second)).shards;
            let concerns = shards.iter().map(|shard| shard.concern);
            concerns.collect::<Vec<_>>()
        };
        assert_eq!(concerns(&mut history, &explained, 0), [None; 4]);
        let [_, restarted, failed, throttled, expiring] = &mut explained.shards[..] else {
            panic!("{explained:?}");
        };
        restarted.status.restarts += 1;
        failed.status.retries += 1;
        throttled.status.throttled += 1;
        throttled.waiting.waiting_for = WaitingFor::Turn;
        expiring.headroom = Some(seconds(3_599));
        let failing = Some(Concern::Failing);
        let expiring = Some(Concern::Expiring);
        let expected = [failing, failing, None, expiring];
        assert_eq!(concerns(&mut history, &explained, 100), expected);
        let unanswered = Some(Concern::Unanswered);
        let expected = [None, None, unanswered, expiring];
        assert_eq!(concerns(&mut history, &explained, 110), expected);
        explained.shards[3].status.reads += 1;
        let expected = [None, None, None, expiring];
        assert_eq!(concerns(&mut history, &explained, 120), expected);
    }

    /// Who has stopped tries nothing, waits for nothing, and is as far behind as it was.
    #[tokio::test(start_paused = true)]
    async fn what_is_known_of_a_shard_outlives_its_end() {
        let mut explained = explained().await;
        explained.shards.truncate(4);
        let [_, behind, tip, unknown] = &mut explained.shards[..] else {
            panic!("{explained:?}");
        };
        behind.behind = Some(seconds(40));
        behind.headroom = Some(seconds(3_000));
        (unknown.behind, unknown.headroom) = (None, None);
        unknown.status.millis_behind_latest = None;
        tip.behind = Some(seconds(3));
        let mut history = History::new(true);
        history.note(explained.clone(), seconds(1));
        for shard in &mut explained.shards[1..] {
            shard.status.state = ShardState::Stopped;
            (shard.behind, shard.headroom) = (None, None);
            shard.waiting.waiting_for = WaitingFor::Retry;
            shard.waiting.since = seconds(9);
            shard.waiting.is_stuck = true;
            shard.status.retries += 1;
        }
        // It was read on until it stopped.
        explained.shards[2].status.reads += 1;
        explained.shards[2].status.millis_behind_latest = Some(0);
        // Who looks again finds the same.
        for second in [2, 3] {
            let shards = history.note(explained.clone(), seconds(second)).shards;
            let behind: Vec<_> = shards.iter().map(|shard| shard.behind).collect();
            assert_eq!(behind, [Some(seconds(40)), Some(Duration::ZERO), None]);
            assert_eq!(shards[0].headroom, Some(seconds(3_000)));
            let concerns: Vec<_> = shards.iter().map(|shard| shard.concern).collect();
            assert_eq!(concerns, [Some(Concern::Expiring), None, None]);
            for shard in &shards {
                assert_eq!(shard.waiting.waiting_for, WaitingFor::Nothing);
            }
            let unknown = shards.iter().filter(|shard| shard.is_lag_unknown());
            assert_eq!(unknown.count(), 1);
        }
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

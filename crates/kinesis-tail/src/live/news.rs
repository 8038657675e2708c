use std::time::Duration;

use kinesis_source::ShardId;

use super::{concern::Concern, snapshot::Snapshot};

/// What a log was told last, and so whether there is news for it. Pure: it is told the time.
///
/// A log that floods is worse than none. So records that come and go are told each ten seconds; that a shard
/// needs to be looked at or no longer does, or that there are others, within one.
#[derive(Debug, Default)]
pub(super) struct News {
    told: Option<Told>,
}

#[derive(Debug, PartialEq, Eq)]
struct Told {
    at: Duration,
    counted: Counted,
    noted: Noted,
}

/// What goes on all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    done: u64,
    read: u64,
    in_flight: u64,
}

/// What changes rarely.
#[derive(Debug, PartialEq, Eq)]
struct Noted {
    shards: usize,
    over: usize,
    is_held_up: bool,
    concerns: Vec<(ShardId, Concern)>,
}

/// No two lines come closer than that.
pub(super) const LEAST: Duration = Duration::from_millis(900);

/// How often records that come and go are worth a line.
pub(super) const USUAL: Duration = Duration::from_secs(10);

impl News {
    /// Whether this is to be told: then it has been. The last state is told unless it was already.
    pub(super) fn has(&mut self, snapshot: &Snapshot, is_last: bool) -> bool {
        let now = Told {
            at: snapshot.elapsed,
            counted: Counted::of(snapshot),
            noted: Noted::of(snapshot),
        };
        let is_news = match &self.told {
            None => true,
            Some(told) => {
                let ago = now.at.saturating_sub(told.at);
                let is_counted = told.counted != now.counted;
                let is_noted = told.noted != now.noted;
                let is_time = (is_noted && ago >= LEAST) || (is_counted && ago >= USUAL);
                is_time || (is_last && (is_noted || is_counted))
            }
        };
        if is_news {
            self.told = Some(now);
        }
        is_news
    }
}

impl Counted {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            done: snapshot.done,
            read: snapshot.read,
            in_flight: snapshot.in_flight,
        }
    }
}

impl Noted {
    fn of(snapshot: &Snapshot) -> Self {
        let concerns = snapshot.concerning();
        Self {
            shards: snapshot.shards.len(),
            over: snapshot.over,
            is_held_up: snapshot.waiting.is_stuck,
            concerns: concerns
                .filter_map(|shard| Some((shard.shard.clone(), shard.concern?)))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::live::{concern::Concern, snapshot::tests::snapshot_of};

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// What is told of looks at these moments, as (when, how many done, how many shards finished).
    fn told(looks: &[(f64, u64, usize)]) -> Vec<f64> {
        let mut news = News::default();
        let looks = looks.iter().filter(|(at, done, over)| {
            let mut snapshot = snapshot_of(Vec::new());
            snapshot.elapsed = seconds(*at);
            (snapshot.done, snapshot.over) = (*done, *over);
            news.has(&snapshot, false)
        });
        looks.map(|(at, ..)| *at).collect()
    }

    #[test]
    fn what_moves_all_the_time_is_told_now_and_then() {
        let looks: Vec<_> = (0..31_u32)
            .map(|at| (f64::from(at), at.into(), 0))
            .collect();
        assert_eq!(told(&looks), [0.0, 10.0, 20.0, 30.0]);
    }

    #[test]
    fn where_nothing_moves_nothing_is_told() {
        let looks: Vec<_> = (0..3_600).map(|at| (f64::from(at), 7, 0)).collect();
        assert_eq!(told(&looks), [0.0]);
    }

    #[test]
    fn what_changes_rarely_is_told_at_once_and_never_twice_within_a_second() {
        let looks = [
            (0.0, 1, 0),
            (0.5, 1, 1),
            (1.0, 1, 1),
            (2.0, 2, 1),
            (3.0, 2, 2),
        ];
        assert_eq!(told(&looks), [0.0, 1.0, 3.0]);
    }

    #[test]
    fn the_last_state_is_told_once() {
        let (mut news, mut snapshot) = (News::default(), snapshot_of(Vec::new()));
        assert!(news.has(&snapshot, false));
        assert!(!news.has(&snapshot, true), "it was told");
        snapshot.done += 1;
        assert!(news.has(&snapshot, true));
        assert!(News::default().has(&snapshot, true));
    }

    proptest! {
        /// Whatever happens: no two lines within a second, and what changes rarely is told as soon as may be.
        #[test]
        fn a_log_is_neither_flooded_nor_behind(
            looks in prop::collection::vec((0..3_000_u64, 0..5_u64, 0..3_usize, any::<bool>()), 1..100),
        ) {
            let mut news = News::default();
            let mut at = Duration::ZERO;
            let (mut last, mut noted): (Option<Duration>, _) = (None, None);
            for (millis, done, over, is_stuck) in looks {
                at += Duration::from_millis(millis);
                let mut snapshot = snapshot_of(Vec::new());
                snapshot.elapsed = at;
                (snapshot.done, snapshot.over) = (done, over);
                snapshot.waiting.is_stuck = is_stuck;
                let ago = last.map(|last| at - last);
                let is_told = news.has(&snapshot, false);
                if is_told {
                    prop_assert!(ago.is_none_or(|ago| ago >= LEAST));
                    (last, noted) = (Some(at), Some((over, is_stuck)));
                } else {
                    let is_late = noted != Some((over, is_stuck)) && ago >= Some(LEAST);
                    prop_assert!(!is_late && ago.is_some());
                }
            }
        }
    }

    #[test]
    fn a_concern_is_news_when_it_begins_and_when_it_is_over() {
        use crate::live::frame::tests::shard;
        let mut news = News::default();
        let mut snapshot = snapshot_of(vec![shard(0), shard(1)]);
        assert!(news.has(&snapshot, false));
        for (second, concern, is_told) in [
            (84, Some(Concern::Failing), true),
            (85, Some(Concern::Failing), false),
            (86, Some(Concern::Stuck), true),
            (87, None, true),
            (88, None, false),
        ] {
            snapshot.elapsed = Duration::from_secs(second);
            snapshot.shards[1].concern = concern;
            assert_eq!(news.has(&snapshot, false), is_told, "{second}");
        }
    }
}

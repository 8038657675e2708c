use std::time::Duration;

use kinesis_source::{ShardState, WaitingFor};
use proptest::prelude::*;

use super::*;
use crate::live::{
    concern::Concern,
    snapshot::{Wait, tests::snapshot_of},
};

pub(in crate::live) fn shard(number: u32) -> ShardView {
    ShardView {
        shard: format!("shardId-{number:012}").as_str().into(),
        state: ShardState::Reading,
        read: 1_234,
        in_flight: 10,
        throttled: 3,
        is_lag_said: true,
        behind: Some(Duration::from_millis(340)),
        headroom: Some(Duration::from_secs(86_400)),
        waiting: Wait {
            waiting_for: WaitingFor::Demand,
            since: Duration::from_secs(12),
            is_stuck: false,
        },
        throttled_for: None,
        concern: None,
    }
}

fn size(width: usize, height: usize) -> Size {
    Size { width, height }
}

fn names(lines: &[String]) -> Vec<&str> {
    let rows = lines.iter().filter(|line| line.starts_with("shardId"));
    rows.map(|line| &line[17..20]).collect()
}

#[test]
fn a_view_is_this_to_the_letter() {
    let mut snapshot = snapshot_of(vec![shard(0), shard(1), shard(2)]);
    snapshot.shards[1].concern = Some(Concern::Stuck);
    snapshot.shards[2].state = ShardState::AtTip;
    snapshot.over = 2;
    let expected = "\
orders, 83.0 s: 1000 done (120/s), 1100 read, 30 in flight, 1.5 of 256.0 MiB, lag 340 ms, headroom 24 h, checkpoint 400 ms ago, 3 throttled, 2 shards finished
SHARD                      READ  IN FLIGHT      LAG  HEADROOM  THROTTLED  STATE
shardId-000000000001       1234         10   340 ms      24 h          3  stuck: reading, waits for demand, for 12.0 s
shardId-000000000000       1234         10   340 ms      24 h          3  reading, waits for demand, for 12.0 s
shardId-000000000002       1234         10   340 ms      24 h          3  at its tip, waits for demand, for 12.0 s";
    assert_eq!(frame(&snapshot, size(200, 24)).join("\n"), expected);
}

#[test]
fn on_a_narrow_terminal_the_sum_is_wrapped_and_waits_are_seen() {
    let snapshot = snapshot_of(vec![shard(0)]);
    let expected = "\
orders, 83.0 s: 1000 done (120/s), 1100 read, 10 in flight, 1.5 of 256.0 MiB
lag 340 ms, headroom 24 h, checkpoint 400 ms ago, 3 throttled
SHARD                      READ  IN FLIGHT      LAG  STATE
shardId-000000000000       1234         10   340 ms  reading, waits for demand, ";
    assert_eq!(frame(&snapshot, size(80, 24)).join("\n"), expected);
}

/// Nothing goes on then, whatever the shards are doing: that takes the place of the last of them.
#[test]
fn a_source_that_is_held_up_is_shown_above_all_shards() {
    let mut snapshot = snapshot_of((0..9).map(shard).collect());
    snapshot.waiting = Wait {
        waiting_for: WaitingFor::CheckpointStore,
        since: Duration::from_secs(40),
        is_stuck: false,
    };
    let held_up = "the source waits for the checkpoint store, for 40.0 s";
    let shown = |snapshot: &Snapshot, height| frame(snapshot, size(200, height));
    assert!(!shown(&snapshot, 24).iter().any(|line| line == held_up));
    snapshot.waiting.is_stuck = true;
    for (height, row, shards) in [(24, 3, 9), (8, 3, 4), (4, 2, 1), (2, 2, 0)] {
        let lines = shown(&snapshot, height);
        assert_eq!(lines[1], held_up, "{lines:#?}");
        assert_eq!(lines.len(), height.min(12), "{lines:#?}");
        assert_eq!(names(&lines).len(), shards, "{lines:#?}");
        assert!(lines[..row].iter().all(|line| !line.starts_with("shardId")));
    }
}

#[test]
fn a_shard_of_which_nobody_knows_the_lag_is_shown_so() {
    let mut snapshot = snapshot_of(vec![shard(0), shard(1), shard(2)]);
    for shard in &mut snapshot.shards {
        shard.is_lag_said = false;
    }
    for shard in &mut snapshot.shards[1..] {
        (shard.behind, shard.headroom) = (None, None);
    }
    snapshot.shards[2].state = ShardState::WaitingForParents;
    let lines = frame(&snapshot, size(200, 24));
    let row = |number: usize| {
        lines[2 + number]
            .split("  ")
            .map(str::trim)
            .collect::<Vec<_>>()
    };
    let lag = |number| {
        let columns = row(number).into_iter().filter(|it| !it.is_empty());
        columns.skip(3).take(2).collect::<Vec<_>>()
    };
    assert_eq!(lag(0), [">340 ms", "<24 h"]);
    assert_eq!(lag(1), ["unknown", "unknown"]);
    assert_eq!(lag(2), ["-", "-"]);
}

#[test]
fn those_that_need_it_most_are_shown_and_all_others_are_counted() {
    let mut snapshot = snapshot_of((0..1_000).map(shard).collect());
    snapshot.shards[500].concern = Some(Concern::Failing);
    snapshot.shards[900].concern = Some(Concern::Stuck);
    snapshot.shards[700].behind = Some(Duration::from_secs(3_600));
    for shard in &mut snapshot.shards[..18] {
        shard.state = ShardState::AtTip;
    }
    let lines = frame(&snapshot, size(200, 8));
    assert_eq!(names(&lines), ["900", "500", "700", "000", "001"]);
    assert_eq!(lines[7], "and 995 more: 979 reading, 16 at their tip");
    let lines = frame(&snapshot, size(80, 3));
    assert_eq!(names(&lines), ["900"]);
    assert_eq!(
        lines[2],
        "and 999 more: 1 failing, 980 reading, 18 at their tip"
    );
}

#[test]
fn lines_do_not_move_while_lags_change_a_little() {
    let mut snapshot = snapshot_of((0..100).map(shard).collect());
    let before = frame(&snapshot, size(80, 24));
    for (shard, millis) in snapshot.shards.iter_mut().zip((0..9_999).rev().step_by(99)) {
        shard.behind = Some(Duration::from_millis(millis));
    }
    assert_eq!(names(&frame(&snapshot, size(80, 24))), names(&before));
}

#[test]
fn a_shard_that_is_called_something_hostile_is_shown_without_harm() {
    let mut hostile = shard(0);
    hostile.shard = format!("\x1b[2J\r\n字{}end", "x".repeat(200))
        .as_str()
        .into();
    let mut snapshot = snapshot_of(vec![hostile, shard(1)]);
    snapshot.source = "or\x07ders\n".to_owned();
    let lines = frame(&snapshot, size(60, 24));
    assert!(lines[0].starts_with("or?ders?, "), "{lines:?}");
    let is_of_it = |line: &String| line.starts_with("xxxx") && line.contains("xend  ");
    assert!(lines.iter().any(is_of_it), "{lines:?}");
}

fn any_shard() -> impl Strategy<Value = ShardView> {
    let state = prop::sample::select(vec![
        ShardState::Reading,
        ShardState::AtTip,
        ShardState::Draining,
        ShardState::Stopped,
        ShardState::WaitingForParents,
    ]);
    let concern = prop::sample::select(vec![
        None,
        None,
        Some(Concern::Stuck),
        Some(Concern::Failing),
        Some(Concern::Unanswered),
        Some(Concern::Expiring),
    ]);
    let name = prop_oneof![
        4 => "[a-z]{1,8}",
        1 => any::<String>(),
        1 => "[a-z\x1b\n]{100,150}",
    ];
    let behind = prop::option::of((0..u64::MAX).prop_map(Duration::from_millis));
    (name, state, concern, behind, any::<u64>()).prop_map(|(name, state, concern, behind, read)| {
        ShardView {
            shard: name.as_str().into(),
            state,
            concern,
            behind,
            headroom: behind,
            read,
            ..shard(0)
        }
    })
}

/// What the last line says of those that are not shown: how many, and how many by what they are doing.
fn not_shown(line: &str) -> Option<(usize, usize)> {
    let (count, words) = line.strip_prefix("and ")?.split_once(" more: ")?;
    let counts = words.split(", ").map(|part| part.split(' ').next());
    let sum = counts
        .map(|count| count.unwrap().parse::<usize>().unwrap())
        .sum();
    Some((count.parse().unwrap(), sum))
}

proptest! {
    /// Whatever there is to be shown, and however little room for it.
    #[test]
    fn a_view_fits_and_leaves_out_nobody_of_concern_for_one_of_none(
        shards in prop::collection::vec(any_shard(), 0..60),
        width in 0..200_usize,
        height in 0..60_usize,
    ) {
        let snapshot = snapshot_of(shards);
        let lines = frame(&snapshot, size(width, height));
        prop_assert!(lines.len() <= height);
        for line in &lines {
            prop_assert!(line.len() <= width && line.bytes().all(|it| (b' '..=b'~').contains(&it)));
        }
        let (shown, others) = choose(&snapshot, height);
        prop_assert!(shown.len() + others.iter().len() <= height.max(1));
        let (counted, sum) = others.as_deref().and_then(not_shown).unwrap_or_default();
        prop_assert_eq!(shown.len() + counted, snapshot.shards.len());
        prop_assert_eq!(counted, sum);
        // Each is shown before all that need it less.
        let is_shown = |shard: &ShardView| shown.iter().any(|it| std::ptr::eq(*it, shard));
        for hidden in snapshot.shards.iter().filter(|shard| !is_shown(shard)) {
            for shown in &shown {
                prop_assert!(rank(shown) <= rank(hidden));
                prop_assert!(shown.concern.is_some() || hidden.concern.is_none());
            }
        }
        for pair in shown.windows(2) {
            let stuck = |shard: &ShardView| shard.concern == Some(Concern::Stuck);
            prop_assert!(stuck(pair[0]) || !stuck(pair[1]));
        }
    }
}

/// How long a frame takes: `cargo test --release -p kinesis-tail frame_of_many -- --nocapture`.
#[test]
fn a_frame_of_many_shards_formats_no_more_lines_than_one_of_few() {
    let many = snapshot_of((0..10_000).map(shard).collect());
    let began = tokio::time::Instant::now();
    let lines = frame(&many, size(200, 40));
    println!("a frame of 10,000 shards takes {:?}", began.elapsed());
    assert_eq!(lines.len(), 40);
    assert_eq!(lines[39], "and 9963 more: 9963 reading");
}

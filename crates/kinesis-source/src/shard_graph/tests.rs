use std::time::Duration;

use super::*;
use crate::{HashRange, SequenceNumber, StartPosition};

pub(super) fn shard(id: &str, parents: &[&str], closed: bool) -> Shard {
    Shard {
        id: id.into(),
        parent: parents.first().map(|&id| id.into()),
        adjacent_parent: parents.get(1).map(|&id| id.into()),
        hash_range: HashRange::ALL,
        starting_sequence_number: 1.into(),
        ending_sequence_number: closed.then(|| 9.into()),
    }
}

fn graph(start: &StartPosition, checkpoints: &[(&str, Checkpoint)]) -> ShardGraph {
    let checkpoints: BTreeMap<ShardId, Checkpoint> = checkpoints
        .iter()
        .map(|(id, c)| ((*id).into(), c.clone()))
        .collect();
    let now = Timestamp::from_millis(1_000);
    ShardGraph::new(FirstStart::decide(start, &checkpoints, now), checkpoints)
}

fn started(graph: &mut ShardGraph) -> Vec<String> {
    graph
        .take_ready()
        .into_iter()
        .map(|start| start.shard.to_string())
        .collect()
}

/// a and b are merged into c, which is split into d and e.
fn lineage() -> [Shard; 5] {
    [
        shard("e", &["c"], false),
        shard("d", &["c"], false),
        shard("c", &["a", "b"], true),
        shard("b", &[], true),
        shard("a", &[], true),
    ]
}

#[test]
fn who_waits_for_a_shard_that_has_stopped_is_known_down_to_the_last() {
    let mut graph = graph(&StartPosition::TrimHorizon, &[]);
    graph.discover(&lineage());
    started(&mut graph);
    let these = |shards: &[&str]| shards.iter().map(|&it| it.into()).collect();
    assert!(graph.waits_only_for(&these(&["a"])), "one of two is enough");
    assert!(!graph.waits_only_for(&these(&[])));
    graph.discover(&[shard("f", &["g"], false), shard("g", &[], true)]);
    assert!(!graph.waits_only_for(&these(&["a", "b"])), "f waits for g");
    assert!(graph.waits_only_for(&these(&["a", "g"])));
}

#[test]
fn parents_come_first_and_both_of_a_merge() {
    let mut graph = graph(&StartPosition::TrimHorizon, &[]);
    graph.discover(&lineage());
    assert_eq!(started(&mut graph), ["a", "b"]);
    graph.finish(&"a".into());
    assert!(started(&mut graph).is_empty(), "one parent of two");
    graph.finish(&"b".into());
    assert_eq!(started(&mut graph), ["c"]);
    assert!(graph.is_waiting());
    graph.finish(&"c".into());
    assert_eq!(started(&mut graph), ["d", "e"]);
    assert!(!graph.is_waiting());
    graph.discover(&lineage());
    assert!(started(&mut graph).is_empty(), "nothing is started twice");
}

#[test]
fn who_waits_is_told_when_it_changes_and_only_then() {
    let mut graph = graph(&StartPosition::TrimHorizon, &[]);
    let waiting = |graph: &mut ShardGraph| -> Option<Vec<String>> {
        let ids = graph.take_waiting()?;
        Some(ids.iter().map(ToString::to_string).collect())
    };
    assert_eq!(waiting(&mut graph), None);
    graph.discover(&lineage());
    started(&mut graph);
    let three = ["c", "d", "e"].map(str::to_owned).to_vec();
    assert_eq!(waiting(&mut graph), Some(three));
    // Neither an end that leaves nobody ready nor a listing without news.
    graph.finish(&"a".into());
    graph.discover(&lineage());
    assert!(started(&mut graph).is_empty());
    assert_eq!(waiting(&mut graph), None);
    graph.finish(&"b".into());
    started(&mut graph);
    let two = ["d", "e"].map(str::to_owned).to_vec();
    assert_eq!(waiting(&mut graph), Some(two));
    graph.finish(&"c".into());
    started(&mut graph);
    assert_eq!(waiting(&mut graph), Some(Vec::new()));
    assert_eq!(waiting(&mut graph), None);
}

#[test]
fn a_parent_that_aged_out_holds_nobody_up() {
    let mut graph = graph(&StartPosition::TrimHorizon, &[]);
    graph.discover(&lineage()[..3]);
    assert_eq!(started(&mut graph), ["c"]);
}

#[test]
fn checkpoints_are_where_reading_goes_on() {
    let after = |number: u128| Checkpoint::after(number.into());
    let stored = [
        ("a", Checkpoint::End),
        ("b", Checkpoint::End),
        ("c", after(5)),
    ];
    // Where to start does not matter any more.
    let mut graph = graph(&StartPosition::Latest, &stored);
    graph.discover(&lineage());
    let starts = graph.take_ready();
    assert_eq!(starts.len(), 1);
    assert_eq!(starts[0].shard, "c".into());
    assert_eq!(
        starts[0].from.position,
        PinnedPosition::AfterSequenceNumber(5.into())
    );
    graph.finish(&"c".into());
    for start in graph.take_ready() {
        assert_eq!(
            start.from.position,
            PinnedPosition::TrimHorizon,
            "never at the tip"
        );
    }
}

/// By another shard's record nothing is known about what this one has kept.
#[test]
fn a_checkpoint_from_before_its_shard_began_is_none_of_its_records() {
    for (number, is_plausible) in [(0, false), (1, true), (5, true)] {
        let stored = [("b", Checkpoint::after(number.into()))];
        let mut graph = graph(&StartPosition::TrimHorizon, &stored);
        graph.discover(&[shard("b", &[], false)]);
        let resumed = graph.take_ready().remove(0).resumed.unwrap();
        assert_eq!(resumed.is_plausible, is_plausible, "{number}");
    }
}

#[test]
fn a_child_is_as_young_as_its_parents_end_and_the_last_listing_without_it() {
    let moment = Timestamp::from_millis;
    for (closed_after, complete_at, since) in [
        ([Some(5), Some(7)], None, Some(7)),
        ([Some(5), None], Some(9), Some(9)),
        ([None, None], Some(3), Some(3)),
        ([None, None], None, None),
    ] {
        let stored = [("x", Checkpoint::End)];
        let mut graph = graph(&StartPosition::TrimHorizon, &stored);
        graph.discover(&lineage()[3..]);
        assert!(graph.take_ready().iter().all(|start| start.since.is_none()));
        graph.discover_since(&lineage()[2..3], complete_at.map(moment));
        for (parent, closed_after) in ["a", "b"].into_iter().zip(closed_after) {
            graph.closed_after(&parent.into(), closed_after.map(moment));
            graph.finish(&parent.into());
        }
        let start = graph.take_ready().remove(0);
        assert_eq!(start.since, since.map(moment));
        assert_eq!(start.none_until, since.map(moment));
    }
}

#[test]
fn who_asks_for_more_than_is_kept_asks_for_the_horizon() {
    let hour = |hours| Timestamp::from_millis(0).plus(Duration::from_secs(3_600) * hours);
    let opened = Opened {
        at: hour(100),
        retention: Duration::from_secs(3_600) * 24,
    };
    for (asked, expected, since) in [
        (hour(75), PinnedPosition::TrimHorizon, hour(100)),
        (hour(76), PinnedPosition::AtTimestamp(hour(76)), hour(100)),
        (hour(77), PinnedPosition::AtTimestamp(hour(77)), hour(77)),
    ] {
        let start = FirstStart::At(PinnedPosition::AtTimestamp(asked));
        let start = opened.horizon_or(start);
        let mut graph = ShardGraph::new(start, BTreeMap::new()).opened(opened);
        graph.discover(&[shard("a", &[], false)]);
        let start = graph.take_ready().remove(0);
        assert_eq!(start.from.position, expected);
        assert_eq!((start.since, start.none_until), (Some(since), None));
    }
}

#[test]
fn latest_leaves_out_closed_shards_and_is_pinned_to_its_moment() {
    let mut graph = graph(&StartPosition::Latest, &[]);
    graph.discover(&lineage());
    let now = PinnedPosition::AtTimestamp(Timestamp::from_millis(1_000));
    let unstored = graph.unstored().clone();
    let ends = unstored
        .iter()
        .filter(|(_, stored)| **stored == Checkpoint::end_from(&now));
    assert_eq!(
        ends.map(|(id, _)| id.to_string()).collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    assert_eq!(unstored[&"d".into()], Checkpoint::Start(now.clone()));
    graph.note_stored(&unstored);
    assert!(graph.unstored().is_empty());
    let starts = graph.take_ready();
    assert_eq!(
        starts
            .iter()
            .map(|s| s.shard.to_string())
            .collect::<Vec<_>>(),
        ["d", "e"]
    );
    assert!(starts.iter().all(|start| start.from.position == now));

    // d is split: its children are read from their first record.
    graph.expect(&"f".into(), &"d".into());
    graph.expect(&"g".into(), &"d".into());
    graph.discover(&[shard("g", &["d"], false)]);
    assert!(graph.lacks_expected());
    graph.discover(&[shard("f", &["d"], false), shard("g", &["d"], false)]);
    assert!(!graph.lacks_expected());
    assert!(started(&mut graph).is_empty());
    graph.finish(&"d".into());
    let starts = graph.take_ready();
    assert_eq!(starts.len(), 2);
    for start in starts {
        assert_eq!(start.from.position, PinnedPosition::TrimHorizon);
    }
}

#[test]
fn a_moment_holds_for_every_shard() {
    let moment = Timestamp::from_millis(77);
    let mut graph = graph(&StartPosition::AtTimestamp(moment), &[]);
    graph.discover(&lineage()[2..]);
    for id in ["a", "b"] {
        let mut starts = graph.take_ready().into_iter();
        assert!(starts.all(|start| start.from.position == PinnedPosition::AtTimestamp(moment)));
        graph.finish(&id.into());
    }
    // A child that was there already may hold records from before the moment, too.
    graph.discover(&lineage());
    graph.finish(&"c".into());
    let mut starts = graph.take_ready().into_iter();
    assert!(starts.all(|start| start.from.position == PinnedPosition::AtTimestamp(moment)));
}

#[test]
fn after_a_record_its_ancestors_are_left_out() {
    let position = StartPosition::After {
        shard: "d".into(),
        sequence_number: SequenceNumber::from(7),
    };
    let mut graph = graph(&position, &[]);
    graph.discover(&lineage());
    let starts = graph.take_ready();
    assert_eq!(starts.len(), 2);
    assert_eq!(
        starts[0].from.position,
        PinnedPosition::AfterSequenceNumber(7.into())
    );
    assert_eq!(starts[1].from.position, PinnedPosition::TrimHorizon);
    let stored = graph.unstored().values();
    assert_eq!(
        stored.filter(|stored| **stored == Checkpoint::End).count(),
        3
    );
}

/// Neither is it read from its first record, nor do its children wait for it.
#[test]
fn a_closed_shard_that_the_first_listing_lacks_is_left_out_by_latest_and_after_a_record() {
    let after_d = StartPosition::After {
        shard: "d".into(),
        sequence_number: SequenceNumber::from(7),
    };
    for start in [&StartPosition::Latest, &after_d] {
        for restarts in [false, true] {
            let mut graph = graph(start, &[]);
            graph.discover(&lineage()[..2]);
            graph.note_absent(Instant::now(), Timestamp::from_millis(0));
            assert!(!graph.lacks_expected());
            assert_eq!(started(&mut graph), ["d", "e"]);
            let stored = graph.unstored().clone();
            assert!(stored[&"c".into()].is_end());
            graph.note_stored(&stored);
            if restarts {
                graph = ShardGraph::new(FirstStart::Resumed, stored);
                graph.discover(&lineage()[..3]);
                assert_eq!(started(&mut graph), ["d", "e"]);
            } else {
                graph.discover(&lineage());
            }
            assert!(started(&mut graph).is_empty());
        }
    }
}

#[test]
fn a_shard_that_was_not_finished_and_is_not_listed_is_waited_for_and_then_read() {
    let start = Instant::now();
    let stored = [("c", Checkpoint::after(5.into())), ("b", Checkpoint::End)];
    for comes in [false, true] {
        let mut graph = graph(&StartPosition::Latest, &stored);
        graph.discover(&lineage()[..2]);
        graph.note_absent(start, Timestamp::from_millis(0));
        assert!(started(&mut graph).is_empty());
        assert_eq!(graph.lacking(), ["c".into()]);
        graph.note_absent(start + Duration::from_secs(59), Timestamp::from_millis(0));
        assert_eq!(graph.lacking(), ["c".into()]);
        if comes {
            graph.discover(&lineage()[..3]);
        }
        graph.note_absent(start + Duration::from_secs(60), Timestamp::from_millis(0));
        assert!(!graph.lacks_expected());
        let starts = graph.take_ready();
        assert_eq!(starts.len(), 1);
        assert_eq!(starts[0].shard, "c".into());
        let resumed = starts[0].resumed.as_ref().unwrap();
        assert!(resumed.is_plausible);
        assert_eq!(resumed.done, Mark::whole(5.into()));
        graph.finish(&"c".into());
        assert_eq!(started(&mut graph), ["d", "e"]);
    }
}

/// That one may be from before it was made. Only one that cannot be late settles that it has aged out.
#[test]
fn that_an_ended_shard_was_shown_as_open_is_not_settled_by_a_listing_that_lacks_it() {
    let sequence_number = 5.into();
    let stored = [
        ("a", Checkpoint::EndAfter { sequence_number }),
        ("b", Checkpoint::Start(PinnedPosition::TrimHorizon)),
    ];
    let open = [shard("a", &[], false), shard("b", &[], false)];
    let closed = [shard("a", &[], true), shard("b", &[], false)];
    for (lacking_at, is_read_on) in [(1, true), (59, true), (60, false)] {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut graph = graph(&StartPosition::TrimHorizon, &stored);
        graph.discover(&open);
        assert!(graph.reopen(&open, start).is_empty());
        assert!(graph.doubts_ends());
        assert!(graph.reopen(&open[1..], after(lacking_at)).is_empty());
        assert_eq!(graph.doubts_ends(), is_read_on);
        let reopened = graph.reopen(&closed, after(lacking_at + 1));
        assert_eq!(!reopened.is_empty(), is_read_on, "{lacking_at}");
        assert!(!graph.doubts_ends());
    }
}

//! Where a read begins, what is kept, and what is listed.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_position_in_a_shard_is_where_counting_says(
        waits in vec(0..50_u64, 1..40), at: prop::sample::Index, from in 0..2_500_i64,
    ) {
        let mut life = Life::new(1, no_limits());
        for wait in waits {
            life.now = life.now.plus(Duration::from_millis(wait));
            life.put(0, 1);
        }
        life.now = life.now.plus(Duration::from_secs(3));
        let shard = life.open()[0].id.clone();
        let (all, _) = life.read(&shard, &Position::TrimHorizon, 100);
        let index = at.index(all.len());
        let number = all[index].sequence_number.clone();
        let (rest, _) = life.read(&shard, &Position::AtSequenceNumber(number.clone()), 100);
        prop_assert_eq!(&rest, &all[index..]);
        let (rest, _) = life.read(&shard, &Position::AfterSequenceNumber(number), 100);
        prop_assert_eq!(&rest, &all[index + 1..]);
        let time = Timestamp::from_millis(START.timestamp().as_millis() + from);
        let (rest, _) = life.read(&shard, &Position::AtTimestamp(time), 100);
        let later = |record: &&Record| record.approximate_arrival.unwrap() >= time;
        prop_assert_eq!(&rest, &all.iter().filter(later).cloned().collect::<Vec<_>>());
    }

    #[test]
    fn what_is_old_goes_and_what_is_young_stays(
        shards in 1..3_u32, steps in vec(step(), 1..40), wait in 0..30_000_u64,
    ) {
        let mut life = Life::new(shards, no_limits());
        for step in &steps {
            life.take(step);
        }
        let before = life.service.records(STREAM, life.now);
        let closed: Vec<_> = life.service.shards(STREAM, life.now).into_iter()
            .filter(Shard::is_closed).map(|shard| shard.id).collect();
        life.now = life.now.plus(DAY - Duration::from_secs(15)).plus(Duration::from_millis(wait));
        let kept: BTreeMap<_, _> = life.service.records(STREAM, life.now).into_iter().collect();
        let young = |record: &&Record| {
            life.now.timestamp().since(record.approximate_arrival.unwrap()) <= DAY
        };
        for (shard, records) in before {
            let expected: Vec<_> = records.iter().filter(young).cloned().collect();
            match kept.get(&shard) {
                Some(kept) => prop_assert_eq!(kept, &expected),
                // Closed no later than its last record came, it must have none left.
                None => prop_assert!(expected.is_empty() && closed.contains(&shard)),
            }
        }
        let roots = list(&mut life, ShardFilter::AtTrimHorizon);
        prop_assert!(covers_everything(roots.iter().map(|it| it.hash_range).collect()));
    }

    #[test]
    fn pages_of_a_listing_are_the_whole_listing(
        shards in 1..6_u32, steps in vec(step(), 0..40), size in 1..7_usize,
    ) {
        let mut life = Life::new(shards, no_limits());
        for step in &steps {
            life.take(step);
        }
        let whole = list(&mut life, ShardFilter::AtLatest);
        let max_results = Some(size);
        let first = Listing::First { stream: STREAM, filter: ShardFilter::AtLatest, max_results };
        let mut page = life.service.list_shards(&first, life.now).unwrap();
        let mut listed = page.shards;
        while let Some(token) = &page.next {
            let next = Listing::Next { stream: None, token, max_results };
            page = life.service.list_shards(&next, life.now).unwrap();
            prop_assert!((1..=size).contains(&page.shards.len()));
            listed.append(&mut page.shards);
        }
        prop_assert_eq!(listed, whole);
    }

    #[test]
    fn the_same_calls_give_the_same_answers(shards in 1..4_u32, steps in vec(step(), 0..40)) {
        let run = |steps: &[Step]| {
            let mut life = Life::new(shards, no_limits());
            for step in steps {
                life.take(step);
            }
            let shard = life.open()[0].id.clone();
            let at = life.iterator(&shard, &Position::TrimHorizon);
            let page = life.service.get_records(at.as_str(), 10, life.now).unwrap();
            (at, page, life.service.shards(STREAM, life.now))
        };
        prop_assert_eq!(run(&steps), run(&steps));
    }
}

#[test]
fn a_shard_is_listed_from_its_first_moment_to_its_last() {
    let mut life = Life::new(1, no_limits());
    life.now = life.now.plus(Duration::from_millis(10));
    let at = 1 << 127;
    let parent = life.open()[0].id.clone();
    life.service
        .split_shard(STREAM, &parent, at, life.now)
        .unwrap();
    let split = START.timestamp().as_millis() + 10;
    life.now = life.now.plus(Duration::from_millis(10));
    for (time, at_time, from_time) in [
        (split - 11, 0, 3),
        (split - 1, 1, 3),
        (split, 3, 3),
        (split + 1, 2, 2),
    ] {
        let time = Timestamp::from_millis(time);
        let at = list(&mut life, ShardFilter::AtTimestamp(time));
        let from = list(&mut life, ShardFilter::FromTimestamp(time));
        assert_eq!((at.len(), from.len()), (at_time, from_time), "{time}");
    }
    life.now = START.plus(Duration::from_millis(10)).plus(DAY);
    assert_eq!(list(&mut life, ShardFilter::FromTrimHorizon).len(), 3);
    life.now = life.now.plus(Duration::from_millis(1));
    let left = list(&mut life, ShardFilter::FromTrimHorizon);
    assert!(left.len() == 2 && left.iter().all(|it| it.id != parent));
}

#[test]
fn arrivals_stay_in_order_should_time_run_backwards() {
    let mut life = Life::new(1, no_limits());
    life.now = START.plus(Duration::from_secs(1));
    life.put(0, 1);
    life.now = START;
    life.put(0, 1);
    let records = life.service.records(STREAM, life.now).remove(0).1;
    assert_eq!(
        records[0].approximate_arrival,
        records[1].approximate_arrival
    );
}

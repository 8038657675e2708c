//! A thousand lives of a stream: its shards are whole, its records are all there.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn open_shards_cover_every_hash_key_once(shards in 1..5_u32, steps in vec(step(), 0..60)) {
        let mut life = Life::new(shards, no_limits());
        for step in &steps {
            life.take(step);
            let open = life.open();
            prop_assert!(covers_everything(open.iter().map(|it| it.hash_range).collect()));
        }
        let roots = list(&mut life, ShardFilter::AtTrimHorizon);
        prop_assert!(covers_everything(roots.iter().map(|it| it.hash_range).collect()));
    }

    #[test]
    fn every_record_is_read_once_and_in_order_from_the_shard_it_fell_on(
        shards in 1..4_u32, steps in vec(step(), 0..60), limit in 1..20_usize,
    ) {
        let mut life = Life::new(shards, no_limits());
        for step in &steps {
            life.take(step);
        }
        for shard in life.service.shards(STREAM, life.now) {
            let (records, announced) = life.read(&shard.id, &Position::TrimHorizon, limit);
            let data: Vec<_> = records.iter().map(|record| record.data.clone()).collect();
            prop_assert_eq!(data, life.put.remove(&shard.id).unwrap_or_default());
            prop_assert_eq!(announced, u32::from(shard.is_closed()));
            prop_assert!(records.is_sorted_by(|a, b| a.sequence_number < b.sequence_number));
            for record in &records {
                prop_assert!(shard.starting_sequence_number < record.sequence_number);
                let ending = shard.ending_sequence_number.as_ref();
                prop_assert!(ending.is_none_or(|ending| record.sequence_number < *ending));
            }
        }
        prop_assert!(life.put.is_empty());
    }

    #[test]
    fn every_key_is_in_order_along_the_lineage(
        shards in 1..4_u32, steps in vec(step(), 0..60),
    ) {
        let mut life = Life::new(shards, no_limits());
        for step in &steps {
            life.take(step);
        }
        let mut newest = BTreeMap::<String, (Bytes, SequenceNumber)>::new();
        // By number, which is parents first.
        for shard in life.service.shards(STREAM, life.now) {
            for record in life.read(&shard.id, &Position::TrimHorizon, 100).0 {
                let count = record.data.slice(..4);
                let key = record.partition_key.unwrap();
                if let Some((before, number)) = newest.get(&key) {
                    prop_assert!(*before < count && *number < record.sequence_number);
                }
                newest.insert(key, (count, record.sequence_number));
            }
        }
    }

    #[test]
    fn every_shard_names_its_parents_and_is_named_by_them(
        shards in 1..4_u32, steps in vec(step(), 0..60),
    ) {
        let mut life = Life::new(shards, no_limits());
        for step in &steps {
            life.take(step);
        }
        let shards = life.service.shards(STREAM, life.now);
        for parent in shards.iter().filter(|shard| shard.is_closed()) {
            let at = life.iterator(&parent.id, &Position::Latest);
            let page = life.service.get_records(at.as_str(), 1, life.now).unwrap();
            let named: Vec<_> = page.children.iter().map(|child| &child.id).collect();
            let naming = shards.iter().filter(|shard| shard.parents().any(|id| *id == parent.id));
            let naming: Vec<_> = naming.collect();
            prop_assert_eq!(named, naming.iter().map(|shard| &shard.id).collect::<Vec<_>>());
            for (child, shard) in page.children.iter().zip(naming) {
                prop_assert_eq!(child.parents.iter().collect::<Vec<_>>(), shard.parents().collect::<Vec<_>>());
                prop_assert_eq!(child.hash_range, shard.hash_range);
                prop_assert!(shard.starting_sequence_number > parent.starting_sequence_number);
            }
        }
    }
}

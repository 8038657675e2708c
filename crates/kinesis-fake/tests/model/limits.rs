//! The limits bite, and spare whoever obeys.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_reader_that_obeys_is_never_throttled(
        sizes in vec(0..400_000_usize, 1..60), limit in 1..20_usize,
    ) {
        let mut life = Life::new(1, instant());
        for size in sizes {
            life.put(0, size);
        }
        let shard = life.open()[0].id.clone();
        let mut at = life.iterator(&shard, &Position::TrimHorizon);
        loop {
            let page = life.service.get_records(at.as_str(), limit, life.now);
            let page = page.unwrap();
            // Five calls and two MiB a second: whichever takes longer.
            let bytes: usize = page.records.iter().map(|it| it.data.len() + 1).sum();
            let nanos = (bytes as u64 * 1_000_000_000).div_ceil(2 * 1_024 * 1_024);
            let wait = Duration::from_nanos(nanos).max(Duration::from_millis(200));
            life.now = life.now.plus(wait);
            at = page.next.unwrap();
            if page.millis_behind_latest == Some(0) {
                break;
            }
        }
    }

    #[test]
    fn a_greedy_reader_gets_no_more_than_five_answers_and_two_mib_a_second(
        size in 1..300_000_usize, gap in 1..150_u64, limit in 1..40_usize,
    ) {
        let mut life = Life::new(1, instant());
        let data = Bytes::from(vec![0; size]);
        for _ in 0..(25 * 1_024 * 1_024 / size).clamp(1, 2_000) {
            life.put_data(0, &data);
        }
        let shard = life.open()[0].id.clone();
        let mut at = life.iterator(&shard, &Position::TrimHorizon);
        let (mut answers, mut paid, mut last) = (Vec::new(), 0, 0);
        let end = life.now.plus(Duration::from_secs(10));
        while life.now < end {
            if let Ok(page) = life.service.get_records(at.as_str(), limit, life.now) {
                answers.push(life.now);
                paid += last;
                last = page.records.iter().map(|it| it.data.len() + 1).sum::<usize>();
                at = page.next.unwrap();
            }
            life.now = life.now.plus(Duration::from_millis(gap));
        }
        for six in answers.windows(6) {
            prop_assert!(six[5].since(six[0]) >= Duration::from_secs(1));
        }
        // All answers but the last have been waited for.
        prop_assert!(paid <= 10 * 2 * 1_024 * 1_024 + 2_100, "{paid}");
        prop_assert!(answers.len() <= 50);
    }

    #[test]
    fn a_shard_never_takes_more_than_it_may(
        sizes in vec(1..200_000_usize, 1..200), gap in 0..100_u64,
    ) {
        let mut life = Life::new(1, instant());
        let (mut stored, mut bytes) = (0_u64, 0_u64);
        for size in sizes {
            let entry = PutEntry {
                partition_key: "k".into(),
                explicit_hash_key: None,
                data: vec![0; size].into(),
            };
            let outcomes = life.service.put_records(STREAM, &[entry], life.now).unwrap();
            if matches!(outcomes[0], PutOutcome::Stored { .. }) {
                stored += 1;
                bytes += size as u64 + 1;
            }
            // The first second's worth may come at once.
            let seconds = life.now.since(START).as_secs_f64() + 1.0;
            prop_assert!(bytes as f64 <= seconds * 1_048_576.0 + 1.0);
            prop_assert!(stored as f64 <= seconds * 1_000.0 + 1.0);
            life.now = life.now.plus(Duration::from_millis(gap));
        }
    }
}

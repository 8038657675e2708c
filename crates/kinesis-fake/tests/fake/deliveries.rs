//! What a test finds out about a consumer.

use kinesis_fake::{Deliveries, WrongDelivery};

use super::*;

/// A stream of ten records under three keys, and a consumer that got them all.
fn delivered() -> (Fake, Vec<(ShardId, Record)>) {
    let fake = Fake::new(2);
    for number in 0..10 {
        fake.put(&format!("key-{}", number % 3), number.to_string())
            .unwrap();
    }
    let records = fake.records();
    let flat = records.into_iter().flat_map(|(shard, records)| {
        records
            .into_iter()
            .map(move |record| (shard.clone(), record))
    });
    (fake, flat.collect())
}

/// Each as of the shard that is said.
fn noted(log: &[(ShardId, Record)]) -> Deliveries {
    let deliveries = Deliveries::new();
    for (shard, record) in log {
        deliveries.note(&Record {
            shard: shard.clone(),
            ..record.clone()
        });
    }
    deliveries
}

#[tokio::test(start_paused = true)]
async fn a_good_consumer_is_found_to_be_one() {
    let (fake, log) = delivered();
    let deliveries = noted(&log);
    deliveries.assert_each_delivered(&fake);
    deliveries.assert_order_per_key(&fake);
    deliveries.assert_duplicates_within(0);
    let mut numbers = deliveries.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    assert_eq!((deliveries.len(), deliveries.is_empty()), (10, false));
    assert!(!format!("{deliveries:?}").contains("key-"));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_never_came_is_missed() {
    let (fake, mut log) = delivered();
    let (shard, record) = log.remove(4);
    log.remove(6);
    let wrong = noted(&log).check_each_delivered(&fake).unwrap_err();
    let number = record.sequence_number;
    let missing = 2;
    assert_eq!(
        wrong,
        WrongDelivery::Missing {
            shard,
            number,
            missing
        }
    );
    assert!(wrong.to_string().contains("2 are missing"), "{wrong}");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_changed_or_made_up_is_seen() {
    let (fake, log) = delivered();
    let mut changed = log.clone();
    changed[3].1.data = Bytes::from_static(b"other");
    let mut made_up = log.clone();
    let mut another = log[3].clone();
    another.1.sequence_number = format!("{}9", another.1.sequence_number).parse().unwrap();
    made_up.push(another);
    let mut elsewhere = log.clone();
    elsewhere.push((shard(7), log[3].1.clone()));
    for (log, is_foreign) in [
        (changed, true),
        (made_up, true),
        (elsewhere, true),
        (log, false),
    ] {
        let check = noted(&log).check_each_delivered(&fake);
        let foreign = matches!(check, Err(WrongDelivery::Foreign { .. }));
        assert_eq!(foreign, is_foreign, "{check:?}");
    }
}

/// Also if the same record comes as it was put, before or after.
#[tokio::test(start_paused = true)]
async fn one_altered_delivery_of_two_is_noticed() {
    let fake = Fake::new(1);
    fake.put_numbered(0..1).unwrap();
    let (_, records) = fake.records().remove(0);
    let mut altered = records[0].clone();
    altered.data = Bytes::from_static(b"altered");
    for log in [[&records[0], &altered], [&altered, &records[0]]] {
        let deliveries = Deliveries::new();
        log.into_iter().for_each(|it| deliveries.note(it));
        let check = deliveries.check_each_delivered(&fake);
        assert!(
            matches!(check, Err(WrongDelivery::Foreign { .. })),
            "{check:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_been_trimmed_since_it_was_delivered_is_nothing_wrong() {
    let (fake, log) = delivered();
    let deliveries = noted(&log);
    sleep(Duration::from_secs(25 * 3_600)).await;
    deliveries.assert_each_delivered(&fake);
    for shard in fake.shards() {
        let number = fake.put_on(&shard.id, "k", "new").unwrap();
        let missing = deliveries.check_each_delivered(&fake).unwrap_err();
        assert!(matches!(missing, WrongDelivery::Missing { number: it, .. } if it == number));
        let kept = fake.records().into_iter().find(|it| it.0 == shard.id);
        deliveries.note(&kept.unwrap().1[0]);
    }
    deliveries.assert_each_delivered(&fake);
}

#[tokio::test(start_paused = true)]
async fn a_key_out_of_order_is_seen_and_records_that_come_again_are_not() {
    let (fake, log) = delivered();
    let same_key =
        |a: &(ShardId, Record), b: &(ShardId, Record)| a.1.partition_key == b.1.partition_key;
    let later = (1..log.len())
        .find(|at| same_key(&log[0], &log[*at]))
        .unwrap();
    let mut swapped = log.clone();
    swapped.swap(0, later);
    let wrong = noted(&swapped).check_order_per_key(&fake).unwrap_err();
    assert!(matches!(wrong, WrongDelivery::OutOfOrder { .. }), "{wrong}");
    // After a restart everything comes again from some record on: that is no disorder.
    let again = [log.clone(), log].concat();
    noted(&again).assert_order_per_key(&fake);
    assert_eq!(noted(&again).duplicates(), 10);
    noted(&again).assert_each_delivered(&fake);
}

#[tokio::test(start_paused = true)]
async fn what_comes_again_lies_within_the_window() {
    let (_, log) = delivered();
    // The second shard has most of them.
    let of_one: Vec<_> = log.iter().filter(|it| it.0 == shard(1)).cloned().collect();
    assert!(of_one.len() >= 4);
    for back in 1..of_one.len() {
        let again = [of_one.clone(), of_one[of_one.len() - back..].to_vec()].concat();
        noted(&again).assert_duplicates_within(back);
        let wrong = noted(&again).check_duplicates_within(back - 1).unwrap_err();
        assert!(matches!(wrong, WrongDelivery::TooFarBack { behind, .. } if behind == back));
    }
}

/// A consumer that begins again and again where it was is within any window.
#[tokio::test(start_paused = true)]
async fn a_record_that_comes_again_for_ever_comes_too_often() {
    let (_, log) = delivered();
    let mut again = log.clone();
    let newest = log.last().unwrap().clone();
    again.resize(log.len() + 999, newest.clone());
    let deliveries = noted(&again);
    deliveries.assert_duplicates_within(1);
    deliveries.assert_deliveries_at_most(1_000);
    let expected = WrongDelivery::TooOften {
        shard: newest.0,
        number: newest.1.sequence_number,
        times: 1_000,
        most: 999,
    };
    assert_eq!(deliveries.check_deliveries_at_most(999), Err(expected));
    noted(&log).assert_deliveries_at_most(1);
    assert!(noted(&log).check_deliveries_at_most(0).is_err());
    Deliveries::new().assert_deliveries_at_most(0);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "was never delivered")]
async fn an_assertion_says_what_is_wrong() {
    let (fake, _) = delivered();
    Deliveries::new().assert_each_delivered(&fake);
}

#[tokio::test(start_paused = true)]
async fn what_expires_unread_is_not_what_the_consumer_lost() {
    let (fake, mut log) = delivered();
    let unread: Vec<_> = log.split_off(7);
    let deliveries = noted(&log);
    let wrong = deliveries.check_each_delivered(&fake).unwrap_err();
    assert!(matches!(wrong, WrongDelivery::Missing { missing: 3, .. }));
    assert_eq!(deliveries.expired_unread(&fake), []);
    sleep(Duration::from_secs(25 * 3_600)).await;
    let numbers: Vec<_> = unread
        .into_iter()
        .map(|(shard, record)| (shard, record.sequence_number))
        .collect();
    assert_eq!(deliveries.expired_unread(&fake), numbers);
    let (shard, number) = numbers[0].clone();
    let wrong = deliveries.check_each_delivered(&fake).unwrap_err();
    assert_eq!(
        wrong,
        WrongDelivery::ExpiredUnread {
            shard,
            number,
            expired: 3
        }
    );
    assert!(wrong.to_string().contains("expired unread"), "{wrong}");
    // What could still be delivered and was not comes first.
    fake.put("key-0", "new").unwrap();
    let wrong = deliveries.check_each_delivered(&fake).unwrap_err();
    assert!(matches!(wrong, WrongDelivery::Missing { missing: 1, .. }));
}

#[tokio::test(start_paused = true)]
async fn a_key_has_an_order_along_a_lineage_and_none_between_others() {
    let fake = Fake::instant(2);
    let put = |on: u32| {
        let number = fake.put_on(&shard(on), "key", "x").unwrap();
        let kept = fake.records().into_iter().find(|it| it.0 == shard(on));
        let record = kept.unwrap().1.pop().unwrap();
        assert_eq!(record.sequence_number, number);
        (shard(on), record)
    };
    let (one, other) = (put(0), put(1));
    let later = put(0);
    fake.split_shard(&shard(0), 1 << 100).await.unwrap();
    let (left, right) = (put(2), put(3));
    fake.merge_shards(&shard(2), &shard(3)).await.unwrap();
    let merged = put(4);
    let in_order = |log: &[&(ShardId, Record)]| {
        let log: Vec<_> = log.iter().map(|it| (*it).clone()).collect();
        noted(&log).check_order_per_key(&fake).is_ok()
    };
    assert!(in_order(&[&one, &later, &left, &right, &merged, &other]));
    assert!(in_order(&[&other, &one, &later, &right, &left, &merged]));
    for wrong in [
        [&later, &one],
        [&left, &one],
        [&merged, &later],
        [&merged, &right],
    ] {
        assert!(!in_order(&wrong), "{wrong:?}");
        assert!(in_order(&[wrong[1], wrong[0]]));
        assert!(!in_order(&[&other, wrong[0], &other, wrong[1]]));
    }
    // Also where the shards between them have gone.
    sleep(Duration::from_secs(25 * 3_600)).await;
    assert!(
        fake.shards()
            .iter()
            .all(|it| it.id == shard(1) || it.id == shard(4))
    );
    assert!(!in_order(&[&merged, &one]));
}

/// Records 0 to 4 of one key on a shard, 5 and 6 on its child; the second number is the shard's.
async fn of_one_key() -> (Fake, Vec<(ShardId, Record)>) {
    let fake = Fake::instant(1);
    for number in 0..5 {
        fake.put_on(&shard(0), "key", number.to_string()).unwrap();
    }
    fake.split_shard(&shard(0), 1 << 100).await.unwrap();
    for number in 5..7 {
        fake.put_on(&shard(1), "key", number.to_string()).unwrap();
    }
    let kept = fake.records().into_iter();
    let of = |(shard, them): (ShardId, Vec<Record>)| {
        let them = them.into_iter();
        them.map(move |it| (shard.clone(), it)).collect::<Vec<_>>()
    };
    let records = kept.flat_map(of).collect();
    (fake, records)
}

/// The rule of [`Deliveries::check_order_per_key`], on both sides of its edges.
#[tokio::test(start_paused = true)]
async fn what_comes_again_comes_in_order_until_the_newest_has() {
    let (fake, records) = of_one_key().await;
    let check = |order: &[usize]| {
        let log: Vec<_> = order.iter().map(|at| records[*at].clone()).collect();
        noted(&log).check_order_per_key(&fake)
    };
    for order in [
        &[0, 1, 2, 1, 2, 3][..],         // a restart
        &[0, 1, 2, 2, 3],                // of the last one only
        &[0, 1, 2, 0, 1, 2, 0, 1, 2],    // twice
        &[0, 1, 2, 3, 1, 2, 2, 3, 4],    // again before the first replay was over
        &[0, 1, 2, 3, 1, 2, 1, 2, 3, 4], // from where that began
        &[0, 1, 2, 3, 2, 3, 0, 1, 2, 3], // further back, once it was over
        &[0, 1, 2, 1],                   // the log ends within it
        &[0, 1, 2, 3, 4, 5, 6, 5, 6],    // on a child
        &[0, 1, 2, 3, 4, 5, 3, 4, 6],    // on its parent, while the child has gone on
        &[0, 1, 2, 3, 4, 5, 3, 4, 5, 6], // and where it goes back as well
    ] {
        assert_eq!(check(order), Ok(()), "{order:?}");
    }
    for (order, expected, came) in [
        (&[0, 1, 2, 2, 1, 0][..], 2, 0),
        (&[0, 1, 2, 1, 3], 2, 3),    // two is left out before a new one
        (&[0, 1, 2, 3, 1, 3], 2, 3), // and before one that comes again
        (&[0, 1, 2, 0, 2], 1, 2),
        (&[0, 1, 2, 3, 1, 0], 2, 0), // a checkpoint does not go back
        (&[0, 1, 2, 3, 1, 2, 1, 3], 2, 3),
        (&[0, 1, 2, 3, 4, 5, 2, 3, 6], 4, 6), // a child goes on before its parent is done
        (&[0, 1, 2, 3, 4, 5, 2, 3, 5], 4, 5),
    ] {
        let number = |at: usize| records[at].1.sequence_number.clone();
        let wrong = WrongDelivery::ReplayOutOfOrder {
            shard: records[expected].0.clone(),
            expected: number(expected),
            came_on: records[came].0.clone(),
            came: number(came),
        };
        assert_eq!(check(order), Err(wrong), "{order:?}");
    }
    // What retention has taken need not come again.
    sleep(Duration::from_secs(25 * 3_600)).await;
    assert_eq!(check(&[0, 1, 2, 3, 1, 3]), Ok(()));
    assert_eq!(check(&[0, 1, 2, 3, 1, 4]), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_record_of_nowhere_is_foreign_also_where_nothing_is_kept() {
    let fake = Fake::new(2);
    fake.put_on(&shard(0), "k", "x").unwrap();
    let record = fake.records()[0].1[0].clone();
    let mut made_up = record.clone();
    made_up.sequence_number = format!("{}8", made_up.sequence_number).parse().unwrap();
    let log = [(shard(0), record.clone())];
    let is_foreign = |at: u32, other: &Record| {
        let log = [log.as_slice(), &[(shard(at), other.clone())]].concat();
        let check = noted(&log).check_each_delivered(&fake);
        matches!(check, Err(WrongDelivery::Foreign { shard: it, .. }) if it == shard(at))
    };
    // Made up or another shard's, on a shard without records and on one that never was.
    for at in [1, 7] {
        assert!(is_foreign(at, &made_up), "{at}");
        assert!(is_foreign(at, &record), "{at}");
    }
    // Also once retention has taken all that there was: that is known by its number.
    let another = fake.put_on(&shard(1), "k", "y").unwrap();
    sleep(Duration::from_secs(25 * 3_600)).await;
    let both = [(shard(0), record.clone()), {
        let mut it = record.clone();
        it.sequence_number = another;
        (shard(1), it)
    }];
    assert_eq!(noted(&both).check_each_delivered(&fake), Ok(()));
    let foreign = |at: u32, other: &Record| {
        let log = [both.as_slice(), &[(shard(at), other.clone())]].concat();
        let check = noted(&log).check_each_delivered(&fake);
        matches!(check, Err(WrongDelivery::Foreign { shard: it, .. }) if it == shard(at))
    };
    for at in [1, 7] {
        assert!(foreign(at, &record), "{at}");
        assert!(foreign(at, &made_up), "{at}");
    }
    assert!(foreign(0, &made_up));
}

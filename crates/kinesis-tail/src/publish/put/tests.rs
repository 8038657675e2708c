use kinesis_fake::{Fake, Fault, Limits, Operation};
use stage_core::{Pipeline, Window};

use super::*;

fn records(keys: impl IntoIterator<Item = (&'static str, usize)>) -> Vec<Numbered> {
    (1..)
        .zip(keys)
        .map(|(number, (key, bytes))| Numbered {
            number,
            entry: PutEntry {
                partition_key: key.to_owned(),
                explicit_hash_key: None,
                data: vec![b'x'; bytes].into(),
            },
        })
        .collect()
}

async fn put(fake: &Fake, records: Vec<Numbered>) -> Result<Tally, PutError> {
    let mut put = Put::new(Arc::new(fake.clone()));
    let tally = put.tally();
    put.consume(&mut Batch::from(records)).await?;
    Ok(*tally.borrow())
}

#[test]
fn a_request_holds_one_record_of_each_key() {
    let pending = records([("a", 1), ("b", 1), ("a", 1), ("c", 1), ("b", 1)]);
    assert_eq!(choose(&pending, MOST_RECORDS), [0, 1, 3]);
    assert_eq!(choose(&pending, 1), [0]);
}

#[test]
fn a_request_is_no_larger_than_allowed_unless_a_record_is() {
    let pending = records([("a", MOST_BYTES), ("b", 1)]);
    assert_eq!(choose(&pending, MOST_RECORDS), [0]);
    let pending = records([("a", MOST_BYTES - 2), ("b", 0), ("c", 0)]);
    assert_eq!(choose(&pending, MOST_RECORDS), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_is_throttled_is_put_again_until_all_is_in_and_in_order() {
    let mut limits = Limits::default();
    limits.write_records_per_second = Some(20);
    let fake = Fake::builder().limits(limits).build();
    let keys = ["a", "b", "c", "d", "e", "f", "g"];
    let many = (0..200).map(|n| (keys[n % keys.len()], n));
    let tally = put(&fake, records(many)).await.unwrap();
    assert_eq!(tally.records, 200);
    assert!(tally.refused > 0);
    let stored = fake.records().remove(0).1;
    assert_eq!(stored.len(), 200);
    for key in keys {
        let of_key = stored
            .iter()
            .filter(|record| record.partition_key.as_deref() == Some(key));
        assert!(of_key.is_sorted_by_key(|record| record.data.len()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fails_is_made_again() {
    let fake = Fake::new(1);
    fake.inject(Fault::refusal(Operation::PutRecords, "ServiceUnavailable").times(3));
    assert_eq!(
        put(&fake, records([("a", 1), ("b", 1)]))
            .await
            .unwrap()
            .records,
        2
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_that_keeps_failing_is_given_up() {
    let fake = Fake::new(1);
    fake.inject(Fault::refusal(Operation::PutRecords, "ServiceUnavailable").times(1_000_000));
    let error = put(&fake, records([("a", 1)])).await.unwrap_err();
    assert!(
        matches!(error, PutError::Failed { number: 1, .. }),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_record_that_makes_a_request_impossible_is_named() {
    let fake = Fake::new(1);
    let error = put(&fake, records([("a", 1), ("b", 2 << 20), ("c", 1)]))
        .await
        .unwrap_err();
    assert!(
        matches!(error, PutError::Refused { number: 2, .. }),
        "{error}"
    );
    assert_eq!(fake.records()[0].1.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_a_bad_line_is_put() {
    let fake = Fake::new(1);
    let input =
        "{\"partition_key\":\"a\",\"data\":\"1\"}\n{\"partition_key\":\"a\",\"data\":\"2\"}\n?\n";
    let mut pipeline = Pipeline::new();
    let lines = pipeline.produce(super::super::Ndjson::new(input.as_bytes()));
    pipeline.consume(
        Put::new(Arc::new(fake.clone())),
        lines.subscribe(Window::new(10)),
    );
    pipeline.run().await.unwrap_err();
    assert_eq!(fake.records()[0].1.len(), 2);
}

//! One shard against a mock: what is called, with what, after which error.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use mockall::Sequence;
use stage_core::{Batch, Demand, Flow, Producer};
use tokio::time::{Instant, sleep};

use super::{coping::PATIENCE, *};
use crate::{
    ChildShard, HashRange, MockKinesisApi, Position, RecordsPage, Remedy, SeekError,
    SequenceNumber, ShardIterator, StreamStatus, StreamSummary, Timestamp, arrival::PART,
    footprint::taken, place::Mark, shard_graph::Resumed,
};

fn record(number: u128) -> Record {
    Record {
        partition_key: Some("k".to_owned()),
        ..Record::new("s".into(), number.into(), "data")
    }
}

fn iterator(name: &str) -> ShardIterator {
    ShardIterator::new("s".into(), name)
}

fn page(numbers: impl IntoIterator<Item = u128>, next: Option<&str>) -> RecordsPage {
    RecordsPage {
        records: numbers.into_iter().map(record).collect(),
        next: next.map(iterator),
        millis_behind_latest: Some(0),
        children: if next.is_some() {
            Vec::new()
        } else {
            vec![child()]
        },
    }
}

fn child() -> ChildShard {
    ChildShard {
        id: "child".into(),
        parents: vec!["s".into()],
        hash_range: HashRange::ALL,
    }
}

fn closed_shard() -> Shard {
    Shard {
        id: "s".into(),
        parent: None,
        adjacent_parent: None,
        hash_range: HashRange::ALL,
        starting_sequence_number: 0.into(),
        ending_sequence_number: Some(99.into()),
    }
}

/// Whatever the shard is asked for, it is listed as closed, unless a test has it otherwise.
fn listed(mut api: MockKinesisApi) -> MockKinesisApi {
    api.expect_list_shards().returning(|_| {
        let shards = vec![closed_shard()];
        Ok(crate::ShardsPage { shards, next: None })
    });
    api
}

fn after(number: u128) -> Position {
    Position::AfterSequenceNumber(number.into())
}

fn error(code: &str) -> ApiError {
    ApiError::new("Test", Remedy::for_code(code)).with_code(code)
}

fn source(api: MockKinesisApi) -> ShardSource {
    ShardSource::new(
        Arc::new(listed(api)),
        "s".into(),
        PinnedPosition::TrimHorizon,
    )
}

/// Calls of the mock, in the order they have to come.
#[derive(Default)]
struct Script {
    api: MockKinesisApi,
    order: Sequence,
}

impl Script {
    /// One whose shard has moments without anything, which take a clock.
    fn with_clock() -> Self {
        let mut script = Self::default();
        let now = || Timestamp::from_millis(0);
        script.api.expect_now().returning(now);
        script
    }

    fn iterator_from(mut self, position: Position, answer: Result<&str, &str>) -> Self {
        let answer = answer.map(iterator).map_err(error);
        self.api
            .expect_get_shard_iterator()
            .once()
            .in_sequence(&mut self.order)
            .withf(move |shard, from| *shard == "s".into() && *from == position)
            .return_once(|_, _| answer);
        self
    }

    /// The shard has ended after that record: that is asked for once more.
    fn end(self, last: u128) -> Self {
        self.iterator_from(after(last), Ok("end"))
            .read("end", Ok(page([], None)))
    }

    fn read(mut self, at: &'static str, answer: Result<RecordsPage, &str>) -> Self {
        let answer = answer.map_err(error);
        self.api
            .expect_get_records()
            .once()
            .in_sequence(&mut self.order)
            .withf(move |iterator, _| iterator.as_str() == at)
            .return_once(|_, _| answer);
        self
    }
}

/// Everything that a source produces until it ends.
async fn all(source: &mut ShardSource) -> Result<Vec<u128>, ShardError> {
    let mut numbers = Vec::new();
    loop {
        let mut batch = Batch::new();
        let flow = source
            .produce(Demand::new(100).unwrap(), &mut batch)
            .await?;
        for (event, receipt) in batch.drain_with_receipts() {
            numbers.push(event.sequence_number.to_string().parse().unwrap());
            receipt.ack();
        }
        if flow == Flow::End {
            return Ok(numbers);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_asks_for_no_more_than_is_demanded_and_the_service_allows() {
    for (demand, limit) in [(1, 1), (7, 7), (10_000, 10_000), (50_000, 10_000)] {
        let mut api = MockKinesisApi::new();
        api.expect_get_shard_iterator()
            .return_once(|_, _| Ok(iterator("0")));
        api.expect_get_records()
            .withf(move |_, asked| *asked == limit)
            .return_once(|_, _| Ok(page([1], None)));
        let mut batch = Batch::new();
        let demand = Demand::new(demand).unwrap();
        let flow = source(api).produce(demand, &mut batch).await.unwrap();
        assert_eq!((flow, batch.len()), (Flow::More, 1));
    }
}

/// Errors that are waited out with the same iterator.
const SAME_ITERATOR: [&str; 11] = [
    "ProvisionedThroughputExceededException",
    "LimitExceededException",
    "KMSThrottlingException",
    "InternalFailureException",
    "ServiceUnavailable",
    "ResourceInUseException",
    "KMSDisabledException",
    "KMSInvalidStateException",
    "KMSAccessDeniedException",
    "KMSNotFoundException",
    "SomethingNobodyKnows",
];

/// Errors after which an iterator is got anew, after the last record.
const NEW_ITERATOR: [&str; 6] = [
    "ExpiredIteratorException",
    "InvalidArgumentException",
    "ResourceNotFoundException",
    "AccessDeniedException",
    "ExpiredTokenException",
    "UnrecognizedClientException",
];

#[tokio::test(start_paused = true)]
async fn a_read_that_fails_is_made_again_with_the_same_iterator() {
    for code in SAME_ITERATOR {
        let script = Script::default()
            .iterator_from(Position::TrimHorizon, Ok("0"))
            .read("0", Ok(page([1, 2], Some("1"))))
            .read("1", Err(code))
            .read("1", Err(code))
            .read("1", Ok(page([3], None)))
            .end(3);
        let mut source = source(script.api);
        assert_eq!(all(&mut source).await.unwrap(), [1, 2, 3], "{code}");
        let figures = source.progress.snapshot().figures;
        assert_eq!(figures.throttled + figures.retries, 2, "{code}");
        let is_throttle = Remedy::for_code(code) == Remedy::Wait;
        assert_eq!(figures.throttled > 0, is_throttle, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_needs_it_is_made_again_after_the_last_record() {
    for code in NEW_ITERATOR {
        let script = Script::default()
            .iterator_from(Position::TrimHorizon, Ok("0"))
            .read("0", Ok(page([1, 2], Some("1"))))
            .read("1", Err(code))
            .iterator_from(after(2), Ok("2"))
            .read("2", Ok(page([3], None)))
            .end(3);
        assert_eq!(
            all(&mut source(script.api)).await.unwrap(),
            [1, 2, 3],
            "{code}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn getting_an_iterator_is_tried_again_from_the_same_position() {
    let refused_at_once = "InvalidArgumentException";
    for code in SAME_ITERATOR.into_iter().chain(NEW_ITERATOR) {
        if code == refused_at_once {
            continue;
        }
        let script = Script::default()
            .iterator_from(Position::TrimHorizon, Ok("0"))
            .read("0", Ok(page([1], Some("1"))))
            .read("1", Err("ExpiredIteratorException"))
            .iterator_from(after(1), Err(code))
            .iterator_from(after(1), Err(code))
            .iterator_from(after(1), Ok("2"))
            .read("2", Ok(page([2], None)))
            .end(2);
        assert_eq!(
            all(&mut source(script.api)).await.unwrap(),
            [1, 2],
            "{code}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_that_is_refused_fails_and_no_other_is_tried() {
    // That record is looked for.
    let at = Position::AtSequenceNumber(1.into());
    let script = Script::default().iterator_from(at, Err("InvalidArgumentException"));
    let start = PinnedPosition::AfterSequenceNumber(1.into());
    let mut source = ShardSource::new(Arc::new(listed(script.api)), "s".into(), start);
    let error = all(&mut source).await.unwrap_err();
    assert!(matches!(error, ShardError::InvalidPosition { .. }));
    assert!(ShardError::is_final(&error));
    let text = error.to_string();
    assert!(
        text.starts_with("shard `s` cannot be read after record 1: "),
        "{text}"
    );
}

/// One that was read was one of the shard's. If it is refused, it is looked for among what is kept.
#[tokio::test(start_paused = true)]
async fn a_record_that_was_read_and_is_refused_is_looked_for() {
    let script = || {
        Script::default()
            .iterator_from(Position::TrimHorizon, Ok("0"))
            .read("0", Ok(page([1], Some("1"))))
            .read("1", Err("InvalidArgumentException"))
            .iterator_from(after(1), Err("InvalidArgumentException"))
            .iterator_from(Position::TrimHorizon, Ok("2"))
    };
    let still_there = script().read("2", Ok(page([0, 1, 2], None))).end(2);
    assert_eq!(all(&mut source(still_there.api)).await.unwrap(), [1, 2]);
    let gone = script().read("2", Ok(page([3], Some("3"))));
    let error = all(&mut source(gone.api)).await.unwrap_err();
    let ShardError::DataLoss(loss) = error else {
        panic!("{error:?}")
    };
    assert_eq!((loss.from, loss.to), (1.into(), Some(3.into())));
}

#[tokio::test(start_paused = true)]
async fn a_moment_that_the_service_has_yet_to_reach_is_waited_for() {
    // By our clock it is now, or was a moment ago.
    let moment = PinnedPosition::AtTimestamp(Timestamp::from_millis(3_000));
    let at_moment = Position::from(&moment);
    let mut script = Script::default()
        .iterator_from(at_moment.clone(), Err("InvalidArgumentException"))
        .iterator_from(at_moment.clone(), Err("InvalidArgumentException"))
        .iterator_from(at_moment, Ok("0"))
        .read("0", Ok(page([1], None)))
        .end(1);
    let now = || Timestamp::from_millis(3_000);
    script.api.expect_now().returning(now);
    let progress = Progress::new("s".into(), moment, Arc::default());
    let api = Arc::new(listed(script.api));
    let mut source = ShardSource::with_progress(api, progress);
    assert_eq!(all(&mut source).await.unwrap(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_moment_that_is_far_off_is_not_waited_for() {
    let moment = PinnedPosition::AtTimestamp(Timestamp::from_millis(60_000));
    let mut script =
        Script::default().iterator_from(Position::from(&moment), Err("InvalidArgumentException"));
    let now = || Timestamp::from_millis(3_000);
    script.api.expect_now().returning(now);
    let mut source = ShardSource::new(Arc::new(listed(script.api)), "s".into(), moment);
    let error = all(&mut source).await.unwrap_err();
    assert!(matches!(error, ShardError::InvalidPosition { .. }));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_pass_fails_after_a_while() {
    for code in [
        "InvalidArgumentException",
        "ResourceNotFoundException",
        "AccessDeniedException",
        "ExpiredTokenException",
    ] {
        let mut api = MockKinesisApi::new();
        api.expect_get_shard_iterator()
            .returning(|_, _| Ok(iterator("0")));
        api.expect_get_records()
            .times(PATIENCE as usize)
            .returning(move |_, _| Err(error(code)));
        let start = Instant::now();
        let refused = all(&mut source(api)).await.unwrap_err();
        assert!(matches!(refused, ShardError::Refused { .. }), "{code}");
        assert!(
            start.elapsed() > Duration::from_secs(5),
            "{code}: not at once"
        );
    }
}

/// A reader of the stream that was made at this moment, none of whose shards is found any more, while
/// the description of the stream is this.
async fn nothing_found(description: Result<StreamSummary, &'static str>) -> ShardError {
    let mut api = MockKinesisApi::new();
    // Whether the shard is still there, nobody knows.
    api.expect_list_shards()
        .returning(|_| Err(error("InternalFailure")));
    api.expect_get_shard_iterator()
        .returning(|_, _| Ok(iterator("0")));
    api.expect_get_records()
        .returning(|_, _| Err(error("ResourceNotFoundException")));
    api.expect_describe_stream_summary()
        .returning(move || description.clone().map_err(error));
    let progress = Progress::new("s".into(), PinnedPosition::TrimHorizon, Arc::default());
    let stream = StreamIdentity::from(&summary(1, StreamStatus::Active));
    let mut source = ShardSource {
        settles_before_end: true,
        stream: Some(Arc::new(stream)),
        ..ShardSource::with_progress(Arc::new(api), progress)
    };
    all(&mut source).await.unwrap_err()
}

fn summary(created: i64, status: StreamStatus) -> StreamSummary {
    StreamSummary {
        name: "orders".to_owned(),
        arn: String::new(),
        status,
        created: Some(Timestamp::from_millis(created)),
        retention_hours: 24,
        open_shards: 1,
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_has_gone_is_no_stream_that_cannot_be_read() {
    let start = Instant::now();
    for description in [
        Err("ResourceNotFoundException"),
        Ok(summary(1, StreamStatus::Deleting)),
    ] {
        let gone = nothing_found(description).await;
        assert!(matches!(gone, ShardError::StreamDeleted { .. }), "{gone}");
        assert!(ShardError::is_final(&gone));
    }
    let other = nothing_found(Ok(summary(2, StreamStatus::Active))).await;
    assert!(matches!(other, ShardError::StreamRecreated { .. }));
    assert!(ShardError::is_final(&other));
    assert!(start.elapsed() < Duration::from_secs(1), "at once");
    // The same one is there: then it may pass, and is refused only after a while.
    for description in [Ok(summary(1, StreamStatus::Active)), Err("InternalFailure")] {
        let refused = nothing_found(description).await;
        assert!(matches!(refused, ShardError::Refused { .. }), "{refused}");
    }
    assert!(start.elapsed() > Duration::from_secs(5), "not at once");
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_is_given_up_and_made_again() {
    /// Never answers a first read or a first iterator.
    #[derive(Debug, Default)]
    struct Silent(Mutex<Vec<&'static str>>);
    impl Silent {
        async fn call(&self, name: &'static str) {
            let is_first = {
                let mut calls = self.0.lock().unwrap();
                calls.push(name);
                calls.iter().filter(|call| **call == name).count() == 1
            };
            if is_first {
                std::future::pending::<()>().await;
            }
        }
    }
    #[async_trait::async_trait]
    impl KinesisApi for Silent {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(0)
        }
        async fn describe_stream_summary(&self) -> Result<StreamSummary, ApiError> {
            unreachable!()
        }
        async fn list_shards(
            &self,
            _: Option<crate::NextToken>,
        ) -> Result<crate::ShardsPage, ApiError> {
            let shards = vec![closed_shard()];
            Ok(crate::ShardsPage { shards, next: None })
        }
        async fn get_shard_iterator(
            &self,
            _: &ShardId,
            _: &Position,
        ) -> Result<ShardIterator, ApiError> {
            self.call("iterator").await;
            Ok(iterator("0"))
        }
        async fn get_records(&self, _: &ShardIterator, _: usize) -> Result<RecordsPage, ApiError> {
            self.call("read").await;
            let reads = self.0.lock().unwrap();
            let is_last = reads.iter().filter(|call| **call == "read").count() > 2;
            Ok(page((!is_last).then_some(1), None))
        }
    }
    let api = Arc::new(Silent::default());
    let mut source = ShardSource::new(api.clone(), "s".into(), PinnedPosition::TrimHorizon);
    assert_eq!(all(&mut source).await.unwrap(), [1]);
    assert_eq!(
        *api.0.lock().unwrap(),
        ["iterator", "iterator", "read", "read", "iterator", "read"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_moment_stays_where_it_is_whatever_fails() {
    let moment = PinnedPosition::AtTimestamp(Timestamp::from_millis(77));
    for code in ["InternalFailureException", "ExpiredIteratorException"] {
        let script = Script::default()
            .iterator_from(Position::from(&moment), Err(code))
            .iterator_from(Position::from(&moment), Ok("0"))
            .read("0", Err("ExpiredIteratorException"))
            .iterator_from(Position::from(&moment), Ok("1"))
            .read("1", Ok(page([1], Some("2"))))
            .read("2", Err("ExpiredIteratorException"))
            .iterator_from(after(1), Ok("3"))
            .read("3", Ok(page([2], None)))
            .end(2);
        let progress = Progress::new("s".into(), moment.clone(), Arc::default());
        let api = Arc::new(listed(script.api));
        let mut source = ShardSource::with_progress(api, progress);
        assert_eq!(all(&mut source).await.unwrap(), [1, 2], "{code}");
    }
}

/// The place is got at once, and kept. Once it has grown too old, it is got anew by the same moment.
#[tokio::test(start_paused = true)]
async fn who_has_to_wait_for_room_keeps_its_place() {
    let moment = PinnedPosition::AtTimestamp(Timestamp::from_millis(77));
    for (waits, at) in [(60, "0"), (600, "1")] {
        let mut script = Script::default().iterator_from(Position::from(&moment), Ok("0"));
        if waits == 600 {
            script = script.iterator_from(Position::from(&moment), Ok("1"));
        }
        let script = script.read(at, Ok(page([1], None))).end(1);
        let progress = Progress::new("s".into(), moment.clone(), Arc::default());
        let api = Arc::new(listed(script.api));
        let budget = ByteBudget::new(1_000);
        let source = ShardSource::with_progress(api, progress);
        let mut source = source.byte_budget(&budget);
        let full = budget.try_reserve(1_000).unwrap();
        let released = async {
            sleep(Duration::from_secs(waits)).await;
            drop(full);
        };
        let (read, ()) = tokio::join!(all(&mut source), released);
        assert_eq!(read.unwrap(), [1], "{waits} s");
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_iterator_is_not_used() {
    let script = Script::default()
        .iterator_from(Position::TrimHorizon, Ok("0"))
        .read("0", Ok(page([1], Some("1"))))
        .iterator_from(after(1), Ok("2"))
        .read("2", Ok(page([2], None)))
        .end(2);
    let mut source = source(script.api);
    let demand = Demand::new(1).unwrap();
    let mut batch = Batch::new();
    assert_eq!(
        source.produce(demand, &mut batch).await.unwrap(),
        Flow::More
    );
    sleep(Duration::from_secs(6 * 3600)).await;
    assert_eq!(all(&mut source).await.unwrap(), [2]);
}

#[tokio::test(start_paused = true)]
async fn empty_answers_behind_the_tip_are_read_on_at_full_pace() {
    let behind = |next| RecordsPage {
        millis_behind_latest: Some(5_000),
        ..page([], Some(next))
    };
    let script = Script::default()
        .iterator_from(Position::TrimHorizon, Ok("0"))
        .read("0", Ok(behind("1")))
        .read("1", Ok(behind("2")))
        .read("2", Ok(behind("3")))
        .read("3", Ok(page([1], None)))
        .end(1);
    let start = Instant::now();
    assert_eq!(all(&mut source(script.api)).await.unwrap(), [1]);
    assert!(
        start.elapsed() < Duration::from_millis(1_700),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn records_that_were_read_before_are_dropped_and_counted() {
    let script = Script::with_clock()
        .iterator_from(Position::TrimHorizon, Ok("0"))
        .read("0", Ok(page([1, 2, 3], Some("1"))))
        .read("1", Ok(page([2, 3], Some("2"))))
        .read("2", Ok(page([3, 9, 10], None)))
        .end(10);
    let mut source = source(script.api);
    assert_eq!(all(&mut source).await.unwrap(), [1, 2, 3, 9, 10]);
    assert_eq!(source.progress.snapshot().figures.repeated, 3);
}

#[tokio::test(start_paused = true)]
async fn an_answer_out_of_order_is_asked_for_again() {
    let script = Script::default()
        .iterator_from(Position::TrimHorizon, Ok("0"))
        .read("0", Ok(page([1, 10, 9], Some("1"))))
        .read("0", Ok(page([1, 9, 9], Some("1"))))
        .read("0", Ok(page([1, 9, 10], None)))
        .end(10);
    assert_eq!(all(&mut source(script.api)).await.unwrap(), [1, 9, 10]);
}

#[tokio::test(start_paused = true)]
async fn the_last_answer_may_have_records_and_names_the_children() {
    let last = RecordsPage {
        children: vec![ChildShard {
            id: "child".into(),
            parents: vec!["s".into()],
            hash_range: HashRange::ALL,
        }],
        ..page([1, 2], None)
    };
    let script = Script::default()
        .iterator_from(Position::TrimHorizon, Ok("0"))
        .read("0", Ok(last))
        .end(2);
    let mut source = source(script.api);
    assert_eq!(all(&mut source).await.unwrap(), [1, 2]);
    assert_eq!(source.progress.children(), ["child".into()]);
    assert_eq!(source.checkpoint(), Some(Checkpoint::after(2.into())));
    source.finish().await.unwrap();
    assert!(source.checkpoint().is_some_and(|it| it.is_end()));
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_is_nacked_and_fails_the_next_call() {
    let script = Script::default()
        .iterator_from(Position::TrimHorizon, Ok("0"))
        .read("0", Ok(page([1, 2], Some("1"))));
    let mut source = source(script.api);
    let demand = Demand::new(10).unwrap();
    let mut batch = Batch::new();
    assert_eq!(
        source.produce(demand, &mut batch).await.unwrap(),
        Flow::More
    );
    let mut events = batch.drain_with_receipts();
    let (_, first) = events.next().unwrap();
    let (_, second) = events.next().unwrap();
    drop(events);
    first.nack();
    // It waits for the second: what is read again must not overtake it.
    let mut again = Batch::new();
    let mut produce = std::pin::pin!(source.produce(demand, &mut again));
    let waited = tokio::time::timeout(Duration::from_secs(60), produce.as_mut()).await;
    assert!(waited.is_err());
    second.ack();
    let error = produce.await.unwrap_err();
    assert!(
        matches!(error, ShardError::Nacked { records: 1, .. }),
        "{error:?}"
    );
}

fn resumed(number: u128) -> Arc<Progress> {
    let resumed = Resumed {
        done: Mark::whole(number.into()),
        quiet_until: None,
        is_plausible: true,
    };
    Progress::resumed("s".into(), resumed, Arc::default())
}

fn at(number: u128) -> Position {
    Position::AtSequenceNumber(number.into())
}

#[tokio::test(start_paused = true)]
async fn what_is_done_is_read_again_to_see_that_it_is_there() {
    let script = Script::with_clock()
        .iterator_from(at(5), Ok("0"))
        // It may be legal, and tells nothing.
        .read("0", Ok(page([], Some("1"))))
        .read("1", Ok(page([5, 6], Some("2"))))
        .read("2", Ok(page([7], None)))
        .end(7);
    let progress = resumed(5);
    let mut source =
        ShardSource::with_progress(Arc::new(listed(script.api)), Arc::clone(&progress));
    assert_eq!(all(&mut source).await.unwrap(), [6, 7]);
    assert_eq!(progress.snapshot().figures.repeated, 0);
    assert_eq!(progress.loss(), None);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_the_shard_should_have_and_has_not_is_none_of_its() {
    let script = Script::default()
        .iterator_from(at(5), Err("InvalidArgumentException"))
        .iterator_from(Position::TrimHorizon, Ok("0"))
        .read("0", Ok(page([3, 4, 6], Some("1"))));
    let mut source = ShardSource::with_progress(Arc::new(listed(script.api)), resumed(5));
    let error = all(&mut source).await.unwrap_err();
    assert!(
        matches!(error, ShardError::InvalidPosition { .. }),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_closed_shard_of_which_nothing_is_kept_has_lost_what_followed() {
    let script = Script::default()
        .iterator_from(at(5), Err("InvalidArgumentException"))
        .iterator_from(Position::TrimHorizon, Ok("0"))
        .read("0", Ok(page([], None)))
        .iterator_from(Position::TrimHorizon, Ok("1"))
        .read("1", Ok(page([], None)));
    let mut source = ShardSource::with_progress(Arc::new(listed(script.api)), resumed(5));
    let error = all(&mut source).await.unwrap_err();
    let ShardError::DataLoss(loss) = error else {
        panic!("{error:?}")
    };
    assert_eq!((loss.from, loss.to), (5.into(), None));
}

/// One listing may be wrong, and one that lacks others too is.
#[tokio::test(start_paused = true)]
async fn a_shard_is_trimmed_if_two_whole_listings_in_a_row_lack_it() {
    let shard = |id: &str, start, end| Shard {
        id: id.into(),
        parent: None,
        adjacent_parent: None,
        hash_range: HashRange { start, end },
        starting_sequence_number: 1.into(),
        ending_sequence_number: None,
    };
    let (half, most) = (1 << 127, HashRange::ALL.end);
    let whole = || vec![shard("a", 0, half - 1), shard("b", half, most)];
    let holed = || vec![shard("b", half, most)];
    let with_it = || [whole(), vec![shard("s", half, most)]].concat();
    let listings = [
        (whole(), false),
        (holed(), false),
        (holed(), false),
        (whole(), false),
        // One without any shards is no answer.
        (Vec::new(), false),
        (Vec::new(), false),
        (whole(), true),
        (with_it(), false),
        (whole(), false),
        (whole(), true),
    ];
    let mut api = MockKinesisApi::new();
    let mut order = Sequence::new();
    for (shards, _) in listings.clone() {
        let page = crate::ShardsPage { shards, next: None };
        api.expect_list_shards()
            .once()
            .in_sequence(&mut order)
            .return_once(|_| Ok(page));
    }
    let mut source = source(api);
    for (step, (_, is_trimmed)) in listings.into_iter().enumerate() {
        assert_eq!(source.is_trimmed().await, is_trimmed, "{step}");
    }
}

/// Two answers a second apart prove the tip, if none between them says that there is more.
#[tokio::test(start_paused = true)]
async fn an_answer_behind_the_tip_takes_back_what_was_said_before_it() {
    for behind in [0, 5_000] {
        let between = RecordsPage {
            millis_behind_latest: Some(behind),
            ..page([], Some("4"))
        };
        let script = Script::with_clock()
            .iterator_from(Position::TrimHorizon, Ok("1"))
            .read("1", Ok(page([], Some("2"))))
            .read("2", Ok(page([], Some("3"))))
            .read("3", Ok(between))
            .read("4", Ok(page([], Some("5"))))
            .read("5", Ok(page([], Some("6"))))
            .read("6", Ok(page([1], Some("7"))));
        let mut source = source(script.api);
        let mut batch = Batch::new();
        let flow = source.produce(Demand::MIN, &mut batch).await.unwrap();
        assert_eq!(flow, Flow::More);
        assert_eq!(source.progress.is_at_rest(), behind == 0, "{behind} ms");
    }
}

/// What was said of the shard's end at the place before does not bear out what is said at the new one.
#[tokio::test(start_paused = true)]
async fn after_a_seek_an_end_is_proven_anew() {
    let script = Script::with_clock()
        .iterator_from(Position::TrimHorizon, Ok("1"))
        .read("1", Ok(page([1], None)))
        .iterator_from(Position::TrimHorizon, Ok("2"))
        .read("2", Ok(page([], None)))
        .iterator_from(Position::TrimHorizon, Ok("3"))
        .read("3", Ok(page([1, 2], None)))
        .end(2);
    let mut source = source(script.api);
    let mut batch = Batch::new();
    let flow = source.produce(Demand::MIN, &mut batch).await.unwrap();
    assert_eq!((flow, batch.len()), (Flow::More, 1));
    sleep(Duration::from_secs(1)).await;
    drop(source.progress.request_seek(PinnedPosition::TrimHorizon));
    assert_eq!(all(&mut source).await.unwrap(), [1, 2]);
}

/// A sink may keep one record for long, and acknowledge all others.
#[tokio::test(start_paused = true)]
async fn a_record_in_hand_holds_no_more_of_the_budget_than_its_part() {
    let script = Script::default()
        .iterator_from(Position::TrimHorizon, Ok("0"))
        .read("0", Ok(page(1..=2_000, Some("1"))));
    let budget = ByteBudget::new(16 << 20);
    let mut source = source(script.api).byte_budget(&budget);
    let mut batch = Batch::new();
    let demand = Demand::new(2_000).unwrap();
    let flow = source.produce(demand, &mut batch).await.unwrap();
    assert_eq!(
        (flow, batch.len()),
        (Flow::More, 2_000),
        "all that was read"
    );
    let (_, mut receipts): (Vec<Record>, Vec<_>) = batch.drain_with_receipts().unzip();
    let kept = receipts.remove(1_000);
    receipts.into_iter().for_each(|receipt| receipt.ack());
    let (records, bytes) = (PART as u64, (PART * "kdata".len()) as u64);
    assert_eq!(budget.in_use(), taken(records, bytes));
    kept.ack();
    assert_eq!(budget.in_use(), 0);
    assert_eq!(source.checkpoint(), Some(Checkpoint::after(2_000.into())));
}

/// What was read is handed out in portions: each gives back what is its own.
#[tokio::test(start_paused = true)]
async fn records_that_wait_hold_their_part_of_the_budget_when_those_before_are_settled() {
    let script = Script::default()
        .iterator_from(Position::TrimHorizon, Ok("0"))
        .read("0", Ok(page(1..=2_000, Some("1"))));
    let budget = ByteBudget::new(16 << 20);
    let mut source = source(script.api).byte_budget(&budget);
    let mut left = 2_000;
    for (demand, portion) in [(600, PART), (100, 100), (5_000, 2_000 - PART - 100)] {
        let mut batch = Batch::new();
        let demand = Demand::new(demand).unwrap();
        let flow = source.produce(demand, &mut batch).await.unwrap();
        assert_eq!((flow, batch.len()), (Flow::More, portion));
        let receipts = batch.drain_with_receipts().map(|(_, receipt)| receipt);
        receipts.for_each(|receipt| receipt.ack());
        left -= portion as u64;
        assert_eq!(budget.in_use(), taken(left, left * "kdata".len() as u64));
    }
}

#[tokio::test(start_paused = true)]
async fn records_of_another_shard_are_refused() {
    let mut api = MockKinesisApi::new();
    api.expect_get_shard_iterator()
        .returning(|_, _| Ok(iterator("0")));
    api.expect_get_records().returning(|_, _| {
        let mut page = page([1, 2], Some("1"));
        page.records[1].shard = "t".into();
        Ok(page)
    });
    let error = all(&mut source(api)).await.unwrap_err();
    let ShardError::Refused { source, .. } = error else {
        panic!("{error:?}");
    };
    assert!(source.to_string().contains("Record::shard"), "{source}");
}

/// Somebody seeks just when it is found out whether the first answer is of where reading was to begin, which is the
/// number that the shard begins with: a place, and no record. What comes of that, what is read then, and how far the
/// shard is when that is acknowledged.
async fn sought_while_judging(
    api: MockKinesisApi,
    place: PinnedPosition,
) -> (
    Result<(), SeekError>,
    Vec<SequenceNumber>,
    Option<Checkpoint>,
) {
    let from = PinnedPosition::AtSequenceNumber(0.into());
    let mut source = ShardSource::new(Arc::new(listed(api)), "s".into(), from);
    // Another has just listed the shards: the next listing has to wait for 200 ms.
    source.list().await.unwrap();
    let progress = Arc::clone(&source.progress);
    let seeking = async {
        sleep(Duration::from_millis(100)).await;
        progress.request_seek(place).await.unwrap()
    };
    let reading = async {
        let mut batch = Batch::new();
        let flow = source.produce(Demand::new(100).unwrap(), &mut batch).await;
        assert_eq!(flow.unwrap(), Flow::More);
        let records = batch.drain_with_receipts();
        Vec::from_iter(records.map(|(record, receipt)| {
            receipt.ack();
            record.sequence_number
        }))
    };
    let (sought, read) = tokio::join!(seeking, reading);
    (sought, read, source.checkpoint())
}

#[tokio::test(start_paused = true)]
async fn what_has_come_is_not_lost_when_a_seek_that_comes_meanwhile_is_refused() {
    let mut api = MockKinesisApi::new();
    api.expect_get_shard_iterator()
        .returning(|_, from| match from {
            // The number that the shard begins with: a place, and no record.
            Position::AtSequenceNumber(number) if *number == 0.into() => Ok(iterator("a")),
            Position::TrimHorizon => Ok(iterator("a")),
            _ => Err(error("InvalidArgumentException")),
        });
    api.expect_get_records()
        .returning(|iterator, _| match iterator.as_str() {
            "a" => Ok(page([5, 6], Some("b"))),
            "b" => Ok(page([7], Some("c"))),
            _ => Ok(page([8], Some("d"))),
        });
    let place = PinnedPosition::AfterSequenceNumber(77.into());
    let (sought, read, checkpoint) = sought_while_judging(api, place).await;
    let refused = sought.unwrap_err();
    assert!(matches!(refused, SeekError::Refused { .. }), "{refused}");
    assert_eq!(
        read[0],
        5.into(),
        "{read:?} come first, and {checkpoint:?} is stored",
    );
}

/// What was given up then is not read anew, as the shard is read elsewhere: by the iterator that the seek has brought.
#[tokio::test(start_paused = true)]
async fn what_has_come_is_forgotten_when_a_seek_that_comes_meanwhile_succeeds() {
    let asked = Arc::new(AtomicUsize::new(0));
    let mut api = MockKinesisApi::new();
    let counted = Arc::clone(&asked);
    api.expect_now().returning(|| Timestamp::from_millis(0));
    api.expect_get_shard_iterator().returning(move |_, from| {
        counted.fetch_add(1, Ordering::SeqCst);
        match from {
            Position::AtSequenceNumber(number) if *number == 0.into() => Ok(iterator("a")),
            _ => Ok(iterator("b")),
        }
    });
    api.expect_get_records()
        .returning(|iterator, _| match iterator.as_str() {
            "a" => Ok(page([5, 6], Some("b"))),
            _ => Ok(page([7], Some("c"))),
        });
    let place = PinnedPosition::AtSequenceNumber(7.into());
    let (sought, read, _) = sought_while_judging(api, place).await;
    sought.unwrap();
    assert_eq!(read, [7.into()]);
    assert_eq!(asked.load(Ordering::SeqCst), 2, "once for each place");
}

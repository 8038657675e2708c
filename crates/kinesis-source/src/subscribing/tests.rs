//! One shard's subscriptions against a mock: from where each is made, and when.

use std::{collections::VecDeque, pin::Pin, sync::Mutex, task::Poll};

use futures_core::Stream;
use tokio::time::Sleep;

use super::*;
use crate::{
    FanOut, MockKinesisApi, MockKinesisFanOutApi, PinnedPosition, Record, ShardId, StreamConsumer,
    Timestamp, fan_out_api::ConsumerStatus, progress::Marked, reporter::Reporter,
};

/// What a subscription sends. After its last event it is silent, or it ends.
struct Canned {
    said: VecDeque<Result<SubscribeEvent, ApiError>>,
    ends: bool,
    /// Not before that.
    lasts: Pin<Box<Sleep>>,
}

impl Stream for Canned {
    type Item = Result<SubscribeEvent, ApiError>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        match self.said.pop_front() {
            None if !self.ends => Poll::Pending,
            None => self.lasts.as_mut().poll(cx).map(|()| None),
            said => Poll::Ready(said),
        }
    }
}

fn ending(said: impl IntoIterator<Item = Result<SubscribeEvent, ApiError>>) -> Canned {
    Canned {
        said: said.into_iter().collect(),
        ends: true,
        lasts: Box::pin(sleep(Duration::ZERO)),
    }
}

fn open(said: impl IntoIterator<Item = Result<SubscribeEvent, ApiError>>) -> Canned {
    Canned {
        ends: false,
        ..ending(said)
    }
}

fn event(
    numbers: impl IntoIterator<Item = u128>,
    continuation: Option<u128>,
) -> Result<SubscribeEvent, ApiError> {
    let record = |number: u128| Record {
        partition_key: Some("k".to_owned()),
        ..Record::new("s".into(), number.into(), "data")
    };
    Ok(SubscribeEvent {
        records: numbers.into_iter().map(record).collect(),
        continuation_sequence_number: continuation.map(Into::into),
        millis_behind_latest: Some(0),
        children: Vec::new(),
    })
}

fn error(code: &str) -> ApiError {
    ApiError::new("Test", Remedy::for_code(code)).with_code(code)
}

fn after(number: u128) -> Position {
    Position::AfterSequenceNumber(number.into())
}

type Calls = Arc<Mutex<Vec<(Position, u64)>>>;

struct Rig {
    subscribing: Subscribing,
    progress: Arc<Progress>,
    budget: ByteBudget,
    calls: Calls,
    start: Instant,
}

impl Rig {
    /// A shard that answers calls like this, and reading it from a moment.
    fn new(answers: impl IntoIterator<Item = Result<Canned, ApiError>>) -> Self {
        let mut api = MockKinesisFanOutApi::new();
        api.expect_describe_stream_consumer().returning(|_| {
            Ok(StreamConsumer {
                name: "audit".to_owned(),
                arn: "arn".into(),
                status: ConsumerStatus::Active,
                created: None,
            })
        });
        let (calls, start) = (Calls::default(), Instant::now());
        let answers: VecDeque<_> = answers.into_iter().collect();
        let answers = Mutex::new(answers);
        let noted = Arc::clone(&calls);
        api.expect_subscribe_to_shard()
            .returning(move |_, _: &ShardId, position: &Position| {
                let at = start.elapsed().as_secs();
                noted.lock().unwrap().push((position.clone(), at));
                let answer = answers.lock().unwrap().pop_front().unwrap();
                answer.map(ShardSubscription::new)
            });
        let consumer = Consumer::new(FanOut::new(Arc::new(api), "audit"), Reporter::alone());
        let moment = PinnedPosition::AtTimestamp(Timestamp::from_millis(9));
        Self {
            subscribing: Subscribing::new(consumer, Arc::new(MockKinesisApi::new())),
            progress: Progress::new("s".into(), moment, Arc::default()),
            budget: ByteBudget::default(),
            calls,
            start,
        }
    }

    /// Takes the next arrival and hands its records out.
    async fn next(&mut self) -> Result<Vec<u128>, ApiError> {
        let arrival = self.subscribing.next(&self.progress, &self.budget).await?;
        let numbers = arrival.records.iter();
        let numbers = numbers.map(|record| record.sequence_number.to_string().parse().unwrap());
        self.progress
            .hand_out(Marked::Whole(arrival.survey.numbers), ());
        Ok(numbers.collect())
    }

    fn calls(&self) -> Vec<(Position, u64)> {
        self.calls.lock().unwrap().clone()
    }
}

fn moment() -> Position {
    Position::AtTimestamp(Timestamp::from_millis(9))
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_after_the_last_continuation_also_if_no_records_came() {
    let mut rig = Rig::new([
        Ok(ending([event([], Some(5)), event([], Some(6))])),
        Ok(ending([event([7], Some(8))])),
        Ok(ending([event([], Some(20))])),
        Ok(ending([event([21, 22], None)])),
    ]);
    for expected in [vec![], vec![], vec![7], vec![], vec![21, 22]] {
        assert_eq!(rig.next().await.unwrap(), expected);
    }
    let positions: Vec<_> = rig
        .calls()
        .into_iter()
        .map(|(position, _)| position)
        .collect();
    assert_eq!(positions, [moment(), after(6), after(8), after(20)]);
}

#[tokio::test(start_paused = true)]
async fn calls_are_seconds_apart_and_an_early_end_is_taken_for_a_takeover() {
    let mut rig = Rig::new([
        Err(error("InternalFailure")),
        Err(error("ResourceInUse")),
        Ok(ending([])),
        Ok(ending([])),
        Ok(ending([])),
        Ok(open([event([1], Some(1))])),
    ]);
    assert_eq!(rig.next().await.unwrap_err().remedy(), Remedy::Retry);
    assert_eq!(rig.next().await.unwrap_err().remedy(), Remedy::AwaitActive);
    assert_eq!(rig.next().await.unwrap(), [1]);
    let times: Vec<_> = rig.calls().into_iter().map(|(_, at)| at).collect();
    assert_eq!(times, [0, 1, 6, 11, 21, 41]);
}

/// Otherwise a shard of which each subscription ends after six seconds would be read by nobody, and nobody
/// would know.
#[tokio::test(start_paused = true)]
async fn one_that_ends_late_and_has_said_nothing_is_an_error() {
    let late = |said| Canned {
        lasts: Box::pin(sleep(Duration::from_secs(6))),
        ..ending(said)
    };
    let mut rig = Rig::new([
        Ok(late(vec![])),
        Ok(late(vec![event([1], Some(1))])),
        Ok(open([])),
    ]);
    let error = rig.next().await.unwrap_err();
    assert!(
        error.to_string().contains("after 6 s, and nothing came"),
        "{error}"
    );
    // What something has come of may end whenever it likes.
    assert_eq!(rig.next().await.unwrap(), [1]);
    let silent = rig.next().await.unwrap_err();
    assert!(silent.to_string().contains("sent nothing"), "{silent}");
    assert_eq!(rig.calls().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_is_made_again_from_the_same_moment() {
    let mut rig = Rig::new([
        Err(error("InternalFailure")),
        Ok(open([event([1], Some(1))])),
    ]);
    assert!(rig.next().await.is_err());
    assert_eq!(rig.next().await.unwrap(), [1]);
    assert_eq!(rig.calls(), [(moment(), 0), (moment(), 1)]);
}

/// While others have all there is, the tip goes on: it is the moment that counts.
#[tokio::test(start_paused = true)]
async fn who_has_to_wait_for_room_asks_for_the_moment_and_skips_nothing() {
    let mut rig = Rig::new([Ok(open([event([1], Some(1))]))]);
    rig.budget = ByteBudget::new(1_000);
    let all = rig.budget.reserve(1_000).await;
    let released = async {
        sleep(Duration::from_secs(60)).await;
        drop(all);
    };
    let (next, ()) = tokio::join!(rig.next(), released);
    assert_eq!(next.unwrap(), [1]);
    assert_eq!(rig.calls(), [(moment(), 60)]);
}

#[tokio::test(start_paused = true)]
async fn an_event_out_of_order_is_not_taken_and_its_continuation_neither() {
    let mut rig = Rig::new([
        Ok(open([event([1], Some(1)), event([3, 2], Some(3))])),
        Ok(open([event([2, 3], Some(3))])),
    ]);
    assert_eq!(rig.next().await.unwrap(), [1]);
    assert_eq!(rig.next().await.unwrap_err().remedy(), Remedy::Retry);
    assert_eq!(rig.next().await.unwrap(), [2, 3]);
    assert_eq!(rig.calls()[1].0, after(1));
}

#[tokio::test(start_paused = true)]
async fn what_came_before_is_dropped_and_a_continuation_before_it_says_nothing() {
    let mut rig = Rig::new([
        Ok(open([event([1, 2], Some(2)), event([2, 3], Some(1))])),
        Ok(open([event([4], Some(4))])),
    ]);
    assert_eq!(rig.next().await.unwrap(), [1, 2]);
    assert_eq!(rig.next().await.unwrap(), [3]);
    // Silence: the next one goes on where the progress says.
    assert_eq!(rig.next().await.unwrap_err().remedy(), Remedy::Retry);
    assert_eq!(rig.start.elapsed().as_secs(), 15);
    assert_eq!(rig.next().await.unwrap(), [4]);
    assert_eq!(rig.calls()[1].0, after(3));
    assert_eq!(rig.progress.snapshot().figures.silences, 1);
}

#[tokio::test(start_paused = true)]
async fn a_continuation_that_is_refused_is_given_up() {
    let mut rig = Rig::new([
        Ok(ending([event([1], Some(1)), event([], Some(9))])),
        Err(error("InvalidArgument")),
        Ok(open([event([2], Some(2))])),
    ]);
    assert_eq!(rig.next().await.unwrap(), [1]);
    assert!(rig.next().await.unwrap().is_empty());
    assert_eq!(rig.next().await.unwrap_err().remedy(), Remedy::Correct);
    assert!(rig.subscribing.has_place());
    rig.subscribing.start_over(Remedy::Correct);
    assert_eq!(rig.next().await.unwrap(), [2]);
    let positions: Vec<_> = rig
        .calls()
        .into_iter()
        .map(|(position, _)| position)
        .collect();
    assert_eq!(positions, [moment(), after(9), after(1)]);
}

/// What the former subscription has yet to send is not read: the next one sends it.
#[tokio::test(start_paused = true)]
async fn a_renewal_takes_over_where_the_last_event_ended() {
    let mut rig = Rig::new([
        Ok(open([
            event([1], Some(1)),
            event([2], Some(2)),
            event([3], Some(3)),
        ])),
        Ok(open([event([3], Some(3))])),
    ]);
    let patient = Duration::from_secs(3_600);
    let fan_out = FanOut {
        let_go_after: patient,
        ..rig.subscribing.consumer.fan_out().clone()
    };
    rig.subscribing.consumer = Consumer::new(fan_out, Reporter::alone());
    assert_eq!(rig.next().await.unwrap(), [1]);
    assert_eq!(rig.next().await.unwrap(), [2]);
    sleep(RENEW_AFTER).await;
    assert_eq!(rig.next().await.unwrap(), [3]);
    assert_eq!(rig.calls()[1], (after(2), RENEW_AFTER.as_secs()));
    assert_eq!(rig.progress.snapshot().figures.repeated, 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_nobody_reads_is_let_go_and_made_anew_without_an_error() {
    let mut rig = Rig::new([
        Ok(open([event([1], Some(1)), event([2], Some(2))])),
        Ok(open([event([2], Some(2))])),
    ]);
    assert_eq!(rig.next().await.unwrap(), [1]);
    sleep(Duration::from_secs(11)).await;
    assert_eq!(rig.next().await.unwrap(), [2]);
    assert_eq!(rig.calls()[1], (after(1), 11));
}

//! Enhanced fan-out: consumers, subscriptions, and what ends them.

use kinesis_fake::{Continuation, SubscriptionRefusal, Takeover};
use kinesis_source::{
    ConsumerAddress, ConsumerArn, ConsumerStatus, KinesisFanOutApi, ShardSubscription,
    StreamConsumer, SubscribeEvent,
};
use tokio::time::{Instant, timeout};

use super::*;

async fn register(fake: &Fake, name: &str) -> ConsumerArn {
    fake.register_stream_consumer(name).await.unwrap().arn
}

async fn subscribe(
    fake: &Fake,
    consumer: &ConsumerArn,
    number: u32,
    position: Position,
) -> Result<ShardSubscription, ApiError> {
    fake.subscribe_to_shard(consumer, &shard(number), &position)
        .await
}

/// A fake with one consumer, subscribed to its first shard from the horizon.
async fn subscribed(fake: &Fake) -> (ConsumerArn, ShardSubscription) {
    let consumer = register(fake, "audit").await;
    let subscription = subscribe(fake, &consumer, 0, Position::TrimHorizon).await;
    (consumer, subscription.unwrap())
}

async fn event(subscription: &mut ShardSubscription) -> SubscribeEvent {
    subscription.next().await.unwrap().unwrap()
}

async fn code(subscription: &mut ShardSubscription) -> String {
    let error = subscription.next().await.unwrap().unwrap_err();
    error.code().unwrap().to_owned()
}

fn code_of<T: std::fmt::Debug>(answer: Result<T, ApiError>) -> String {
    answer.unwrap_err().code().unwrap().to_owned()
}

fn named(name: &str) -> ConsumerAddress {
    ConsumerAddress::Name(name.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_consumer_is_creating_active_deleting_and_gone() {
    let durations = Durations::all(Duration::from_secs(30));
    let fake = Fake::builder().durations(durations).build();
    let consumer = fake.register_stream_consumer("audit").await.unwrap();
    assert_eq!(consumer.status, ConsumerStatus::Creating);
    let early = subscribe(&fake, &consumer.arn, 0, Position::Latest).await;
    assert_eq!(code_of(early), "ResourceInUseException");
    sleep(millis(30_000)).await;
    let arn = ConsumerAddress::Arn(consumer.arn.clone());
    for address in [&arn, &named("audit")] {
        let found = fake.describe_stream_consumer(address).await.unwrap();
        let status = ConsumerStatus::Active;
        assert_eq!(
            found,
            StreamConsumer {
                status,
                ..consumer.clone()
            }
        );
    }
    let subscription = subscribe(&fake, &consumer.arn, 0, Position::Latest).await;
    fake.deregister_stream_consumer(&arn).await.unwrap();
    let status = fake.describe_stream_consumer(&arn).await.unwrap().status;
    assert_eq!(status, ConsumerStatus::Deleting);
    let late = subscribe(&fake, &consumer.arn, 0, Position::Latest).await;
    assert_eq!(code_of(late), "ResourceInUseException");
    assert_eq!(
        code(&mut subscription.unwrap()).await,
        "ResourceNotFoundException"
    );
    sleep(millis(30_000)).await;
    let gone = fake.describe_stream_consumer(&arn).await;
    assert_eq!(remedy(gone), Remedy::Verify);
    // One of that name is another one.
    assert_ne!(register(&fake, "audit").await, consumer.arn);
    assert_eq!(
        remedy(fake.describe_stream_consumer(&arn).await),
        Remedy::Verify
    );
}

#[tokio::test(start_paused = true)]
async fn a_consumer_registered_anew_at_once_has_another_arn() {
    let fake = Fake::instant(1);
    let first = register(&fake, "audit").await;
    let arn = ConsumerAddress::Arn(first.clone());
    fake.deregister_stream_consumer(&arn).await.unwrap();
    assert_ne!(register(&fake, "audit").await, first);
}

#[tokio::test(start_paused = true)]
async fn a_name_is_taken_once_and_has_letters() {
    let fake = Fake::new(1);
    register(&fake, "audit").await;
    let again = fake.register_stream_consumer("audit").await;
    assert_eq!(code_of(again), "ResourceInUseException");
    for name in ["", "a b", &"a".repeat(129)] {
        let answer = fake.register_stream_consumer(name).await;
        assert_eq!(code_of(answer), "ValidationException", "{name}");
        sleep(millis(1_000)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_twenty_consumers() {
    let fake = Fake::instant(1);
    for number in 0..20 {
        register(&fake, &format!("consumer-{number}")).await;
        sleep(millis(200)).await;
    }
    let answer = fake.register_stream_consumer("one-more").await;
    assert_eq!(code_of(answer), "LimitExceededException");
}

#[tokio::test(start_paused = true)]
async fn five_consumers_are_registered_at_one_moment() {
    let mut durations = Durations::default();
    durations.register = Duration::from_secs(60);
    let fake = Fake::builder().durations(durations).build();
    for number in 0..5 {
        register(&fake, &format!("consumer-{number}")).await;
        sleep(millis(1_000)).await;
    }
    let answer = fake.register_stream_consumer("one-more").await;
    assert_eq!(code_of(answer), "LimitExceededException");
    sleep(millis(60_000)).await;
    register(&fake, "one-more").await;
}

#[tokio::test(start_paused = true)]
async fn consumers_that_are_active_or_go_are_not_being_registered() {
    let fake = Fake::builder().build();
    let mut consumers = Vec::new();
    for number in 0..5 {
        consumers.push(register(&fake, &format!("consumer-{number}")).await);
    }
    sleep(millis(10_000)).await;
    register(&fake, "while-they-are-active").await;
    for consumer in consumers {
        let consumer = ConsumerAddress::Arn(consumer);
        fake.deregister_stream_consumer(&consumer).await.unwrap();
    }
    let status = fake.describe_stream_consumer(&named("consumer-0")).await;
    assert_eq!(status.unwrap().status, ConsumerStatus::Deleting);
    sleep(millis(1_000)).await;
    register(&fake, "while-they-go").await;
}

#[tokio::test(start_paused = true)]
async fn calls_about_consumers_are_five_a_second_and_twenty_to_describe() {
    let fake = Fake::new(1);
    for number in 0..5 {
        register(&fake, &format!("consumer-{number}")).await;
    }
    let answer = fake.register_stream_consumer("one-more").await;
    assert_eq!(code_of(answer), "LimitExceededException");
    for _ in 0..20 {
        fake.describe_stream_consumer(&named("consumer-0"))
            .await
            .unwrap();
    }
    let answer = fake.describe_stream_consumer(&named("consumer-0")).await;
    assert_eq!(code_of(answer), "LimitExceededException");
    for _ in 0..5 {
        fake.list_stream_consumers(None).await.unwrap();
    }
    assert_eq!(
        code_of(fake.list_stream_consumers(None).await),
        "LimitExceededException"
    );
    for number in 0..5 {
        let consumer = named(&format!("consumer-{number}"));
        fake.deregister_stream_consumer(&consumer).await.unwrap();
    }
    let answer = fake.deregister_stream_consumer(&named("consumer-0")).await;
    assert_eq!(code_of(answer), "LimitExceededException");
}

#[tokio::test(start_paused = true)]
async fn a_listing_of_consumers_comes_in_pages_whose_tokens_expire() {
    let fake = Fake::builder().page_size(2).build();
    for name in ["c", "a", "d", "b", "e"] {
        register(&fake, name).await;
    }
    let (mut names, mut token, mut first) = (Vec::new(), None, None);
    loop {
        let page = fake.list_stream_consumers(token).await.unwrap();
        names.extend(page.consumers.into_iter().map(|consumer| consumer.name));
        token = page.next;
        first = first.or(token.clone());
        if token.is_none() {
            break;
        }
    }
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
    let shards = fake.list_shards(first.clone()).await;
    assert_eq!(
        remedy(shards),
        Remedy::Correct,
        "a token of another listing"
    );
    sleep(millis(300_001)).await;
    let answer = fake.list_stream_consumers(first.clone()).await;
    assert_eq!(remedy(answer), Remedy::RestartListing);
    let garbage = fake
        .list_stream_consumers(Some(NextToken("x".into())))
        .await;
    assert_eq!(remedy(garbage), Remedy::Correct);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_is_registered_with_one_stream() {
    let fake = Fake::new(1);
    let other = fake.stream("other");
    other.create_stream(1).await.unwrap();
    let consumer = register(&fake, "audit").await;
    let answer = other.describe_stream_consumer(&named("audit")).await;
    assert_eq!(remedy(answer), Remedy::Verify);
    // Its ARN says which stream that is, whoever is asked.
    let arn = ConsumerAddress::Arn(consumer);
    assert!(other.describe_stream_consumer(&arn).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn records_are_sent_as_they_are_put() {
    let fake = Fake::instant(1);
    let (_, mut subscription) = subscribed(&fake).await;
    let sent = tokio::spawn(async move { event(&mut subscription).await });
    sleep(millis(1_234)).await;
    fake.put("k", "x").unwrap();
    let put_at = Instant::now();
    let event = sent.await.unwrap();
    assert_eq!(put_at.elapsed(), Duration::ZERO);
    assert_eq!(data(&event.records), ["x"]);
    assert_eq!(event.millis_behind_latest, Some(0));
    let number = event.records[0].sequence_number.clone();
    assert_eq!(event.continuation_sequence_number, Some(number));
}

#[tokio::test(start_paused = true)]
async fn an_idle_subscription_sends_an_event_every_five_seconds() {
    let fake = Fake::instant(1);
    let (_, mut subscription) = subscribed(&fake).await;
    let mut newest = fake.shards()[0].starting_sequence_number.clone();
    let opened = Instant::now();
    for count in 1..=5 {
        let event = event(&mut subscription).await;
        assert_eq!(opened.elapsed(), millis(5_000 * count));
        assert!(event.records.is_empty());
        assert_eq!(event.millis_behind_latest, Some(0));
        // It tells of progress though nothing was written.
        let continuation = event.continuation_sequence_number.unwrap();
        assert!(continuation > newest);
        newest = continuation;
    }
    let (_, number) = fake.put("k", "x").unwrap();
    assert!(number > newest);
}

#[tokio::test(start_paused = true)]
async fn the_heartbeat_can_be_chosen() {
    let mut choices = Choices::default();
    choices.heartbeat = millis(200);
    let fake = Fake::builder().instant().choices(choices).build();
    let (_, mut subscription) = subscribed(&fake).await;
    let opened = Instant::now();
    event(&mut subscription).await;
    assert_eq!(opened.elapsed(), millis(200));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_just_ends_after_five_minutes() {
    let fake = Fake::instant(1);
    let (_, mut subscription) = subscribed(&fake).await;
    let opened = Instant::now();
    let mut events = 0;
    while let Some(event) = subscription.next().await {
        event.unwrap();
        events += 1;
    }
    assert_eq!((opened.elapsed(), events), (millis(300_000), 59));
    assert!(subscription.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_renewed_subscription_goes_on_without_gap_or_repetition() {
    for continuation in [Continuation::LastRecord, Continuation::BeyondLastRecord] {
        let mut choices = Choices::default();
        choices.continuation = continuation;
        let fake = Fake::builder().instant().choices(choices).build();
        let (consumer, mut subscription) = subscribed(&fake).await;
        let mut numbers = Vec::new();
        for round in 0..100_u64 {
            fake.put_numbered(round * 3..round * 3 + 3).unwrap();
            let sent = event(&mut subscription).await;
            numbers.extend(data(&sent.records));
            let mut number = sent.continuation_sequence_number.unwrap();
            if round % 3 == 0 {
                // An event without records is as good to go on after.
                number = event(&mut subscription)
                    .await
                    .continuation_sequence_number
                    .unwrap();
            }
            sleep(millis(5_000)).await;
            let both_ways = continuation == Continuation::BeyondLastRecord || round % 3 == 0;
            let position = match both_ways && round % 2 == 0 {
                true => Position::AtSequenceNumber(number),
                false => Position::AfterSequenceNumber(number),
            };
            subscription = subscribe(&fake, &consumer, 0, position).await.unwrap();
        }
        let expected: Vec<_> = (0..300).map(|number| number.to_string()).collect();
        assert_eq!(numbers, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_call_within_a_second_exceeds_the_limit() {
    let fake = Fake::instant(2);
    let (consumer, _subscription) = subscribed(&fake).await;
    let again = subscribe(&fake, &consumer, 0, Position::Latest).await;
    assert_eq!(code_of(again), "LimitExceededException");
    // Another shard and another consumer have limits of their own.
    let _held = subscribe(&fake, &consumer, 1, Position::Latest)
        .await
        .unwrap();
    let other = register(&fake, "other").await;
    let _held = subscribe(&fake, &other, 0, Position::Latest).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_second_call_within_five_seconds_finds_the_shard_in_use() {
    let fake = Fake::instant(1);
    let (consumer, mut subscription) = subscribed(&fake).await;
    for _ in 0..4 {
        sleep(millis(1_000)).await;
        let again = subscribe(&fake, &consumer, 0, Position::Latest).await;
        assert_eq!(code_of(again), "ResourceInUseException");
    }
    // That does the first one no harm, and neither does dropping it open the way.
    fake.put("k", "x").unwrap();
    assert_eq!(event(&mut subscription).await.records.len(), 1);
    drop(subscription);
    sleep(millis(999)).await;
    let again = subscribe(&fake, &consumer, 0, Position::Latest).await;
    assert_eq!(
        remedy(again),
        Remedy::Wait,
        "the calls before count as calls"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_after_five_seconds_takes_the_subscription_over() {
    for takeover in [Takeover::Fails, Takeover::Ends] {
        let mut choices = Choices::default();
        choices.takeover = takeover;
        let fake = Fake::builder().instant().choices(choices).build();
        let (consumer, mut first) = subscribed(&fake).await;
        // The first one waits, and is told at once.
        let told = tokio::spawn(async move {
            assert!(event(&mut first).await.records.is_empty());
            (first.next().await, first.next().await.is_none())
        });
        sleep(millis(5_500)).await;
        let second = subscribe(&fake, &consumer, 0, Position::Latest).await;
        let (last, over) = timeout(millis(1), told).await.unwrap().unwrap();
        match takeover {
            Takeover::Ends => assert!(last.is_none()),
            _ => assert_eq!(
                last.unwrap().unwrap_err().code(),
                Some("ResourceInUseException")
            ),
        }
        assert!(over);
        fake.put("k", "x").unwrap();
        assert_eq!(event(&mut second.unwrap()).await.records.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn each_consumer_gets_two_mib_a_second_of_a_shard() {
    let fake = Fake::instant(1);
    for _ in 0..20 {
        fake.put_on(&shard(0), "k", vec![0; MIB - 1]).unwrap();
    }
    let started = Instant::now();
    let read = |consumer: ConsumerArn| {
        let fake = fake.clone();
        tokio::spawn(async move {
            let position = Position::TrimHorizon;
            let mut subscription = subscribe(&fake, &consumer, 0, position).await.unwrap();
            let mut records = 0;
            while records < 20 {
                records += event(&mut subscription).await.records.len();
            }
            started.elapsed()
        })
    };
    let readers = [
        read(register(&fake, "first").await),
        read(register(&fake, "second").await),
    ];
    // Whoever polls has a share of its own, too.
    let at = iterator(&fake, &shard(0), Position::TrimHorizon).await;
    assert_eq!(fake.get_records(&at, 10).await.unwrap().records.len(), 10);
    for reader in readers {
        // The twentieth comes when the nineteenth is paid for.
        assert_eq!(reader.await.unwrap(), millis(9_500));
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_event_of_a_shard_names_its_children_and_nothing_to_go_on_after() {
    for end in [ShardEnd::WithLastRecords, ShardEnd::OneMoreAnswer] {
        let mut choices = Choices::default();
        choices.shard_end = end;
        let fake = Fake::builder().instant().choices(choices).build();
        fake.put("k", "x").unwrap();
        let (consumer, mut subscription) = subscribed(&fake).await;
        fake.split_shard(&shard(0), 1 << 127).await.unwrap();
        let mut last = event(&mut subscription).await;
        assert_eq!(last.records.len(), 1);
        if end == ShardEnd::OneMoreAnswer {
            assert!(last.continuation_sequence_number.is_some() && last.children.is_empty());
            last = event(&mut subscription).await;
        }
        assert_eq!(last.continuation_sequence_number, None);
        let children: Vec<_> = last.children.iter().map(|child| child.id.clone()).collect();
        assert_eq!(children, [shard(1), shard(2)]);
        assert!(subscription.next().await.is_none());

        // Subscribed to anew behind its last record, it says its end again.
        sleep(millis(5_000)).await;
        let anew = subscribe(&fake, &consumer, 0, Position::Latest).await;
        let mut anew = anew.unwrap();
        let last = event(&mut anew).await;
        assert_eq!((last.records.len(), last.children.len()), (0, 2));
        assert!(anew.next().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_subscription_learns_at_once_that_its_shard_has_been_split() {
    let durations = Durations::all(millis(1_500));
    let fake = Fake::builder().durations(durations).build();
    let consumer = register(&fake, "audit").await;
    sleep(millis(1_500)).await;
    let mut subscription = subscribe(&fake, &consumer, 0, Position::Latest)
        .await
        .unwrap();
    let told = tokio::spawn(async move {
        let last = event(&mut subscription).await;
        (last.children.len(), Instant::now())
    });
    sleep(millis(100)).await;
    let split = Instant::now();
    fake.split_shard(&shard(0), 1 << 127).await.unwrap();
    assert_eq!(told.await.unwrap(), (2, split + millis(1_500)));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_cannot_be_subscribed_to() {
    let fake = Fake::instant(1);
    let consumer = register(&fake, "audit").await;
    let nobody = ConsumerArn::new(consumer.as_str().replace("audit", "nobody"));
    for consumer in [&nobody, &"audit".into()] {
        let answer = subscribe(&fake, consumer, 0, Position::Latest).await;
        assert_eq!(code_of(answer), "ResourceNotFoundException");
    }
    let answer = subscribe(&fake, &consumer, 7, Position::Latest).await;
    assert_eq!(code_of(answer), "ResourceNotFoundException");
    let foreign = Position::AfterSequenceNumber(7.into());
    let answer = subscribe(&fake, &consumer, 0, foreign).await;
    assert_eq!(code_of(answer), "InvalidArgumentException");
    // That was no success, so that only the limit of a call a second holds.
    sleep(millis(1_000)).await;
    let _held = subscribe(&fake, &consumer, 0, Position::Latest)
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_may_be_said_in_the_stream() {
    let mut choices = Choices::default();
    choices.subscription_refusal = SubscriptionRefusal::InStream;
    let fake = Fake::builder().choices(choices).build();
    let consumer = register(&fake, "audit").await;
    let mut refused = subscribe(&fake, &consumer, 7, Position::Latest)
        .await
        .unwrap();
    assert_eq!(code(&mut refused).await, "ResourceNotFoundException");
    assert!(refused.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_error_can_be_sent_in_the_stream() {
    let fake = Fake::instant(1);
    for error in [
        "InternalFailureException",
        "KMSThrottlingException",
        "Nonsense",
    ] {
        let (consumer, mut subscription) = subscribed(&fake).await;
        assert_eq!(fake.fail_subscriptions(&shard(0), error), 1);
        assert_eq!(code(&mut subscription).await, error);
        assert!(subscription.next().await.is_none());
        drop(subscription);
        assert_eq!(fake.fail_subscriptions(&shard(0), error), 0);
        let consumer = ConsumerAddress::Arn(consumer);
        fake.deregister_stream_consumer(&consumer).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_can_fall_silent() {
    let fake = Fake::instant(1);
    let (consumer, mut subscription) = subscribed(&fake).await;
    assert_eq!(fake.silence_subscriptions(&shard(0)), 1);
    fake.put("k", "x").unwrap();
    let silence = timeout(Duration::from_secs(3_600), subscription.next()).await;
    assert!(silence.is_err());
    let mut other = subscribe(&fake, &consumer, 0, Position::TrimHorizon)
        .await
        .unwrap();
    assert_eq!(event(&mut other).await.records.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_for_thirty_seconds_loses_the_connection_and_nothing_else() {
    let fake = Fake::instant(1);
    let (consumer, mut subscription) = subscribed(&fake).await;
    fake.put("k", "1").unwrap();
    sleep(millis(30_000)).await;
    let read = event(&mut subscription).await;
    assert_eq!(data(&read.records), ["1"]);
    fake.put("k", "2").unwrap();
    sleep(millis(30_001)).await;
    let error = subscription.next().await.unwrap().unwrap_err();
    assert_eq!((error.remedy(), error.code()), (Remedy::Retry, None));
    assert!(subscription.next().await.is_none());
    let position = Position::AfterSequenceNumber(read.continuation_sequence_number.unwrap());
    let mut anew = subscribe(&fake, &consumer, 0, position).await.unwrap();
    assert_eq!(data(&event(&mut anew).await.records), ["2"]);
}

/// How fast its reader and the network between them are does not change with the clock.
#[tokio::test(start_paused = true)]
async fn a_fast_clock_hurries_no_reader() {
    let mut limits = Limits::default();
    limits.subscription_life = None;
    let fast = Fake::builder()
        .instant()
        .limits(limits)
        .clock_rate(14_400)
        .retention_hours(8_760);
    // Where a record is kept for longer than a reader is waited for.
    let fake = fast.build();
    let (_, mut subscription) = subscribed(&fake).await;
    for _ in 0..3 {
        let begin = Instant::now();
        assert!(event(&mut subscription).await.records.is_empty());
        assert_eq!(begin.elapsed(), millis(5_000), "a heartbeat");
    }
    // A reader that is busy, and one that has gone.
    fake.put("k", "1").unwrap();
    sleep(millis(29_900)).await;
    assert_eq!(data(&event(&mut subscription).await.records), ["1"]);
    fake.put("k", "2").unwrap();
    sleep(millis(30_001)).await;
    let error = subscription.next().await.unwrap().unwrap_err();
    assert_eq!((error.remedy(), error.code()), (Remedy::Retry, None));
}

/// The rest goes by its clock: a day of it, at four hours a second, is 288 subscriptions.
#[tokio::test(start_paused = true)]
async fn with_a_fast_clock_a_subscription_lives_for_five_of_its_minutes() {
    let fake = Fake::builder().instant().clock_rate(100).build();
    let (_, mut subscription) = subscribed(&fake).await;
    let begin = Instant::now();
    assert!(subscription.next().await.is_none());
    assert_eq!(begin.elapsed(), millis(3_000));
}

#[tokio::test(start_paused = true)]
async fn what_has_to_be_paid_for_first_keeps_nobody_waiting() {
    let (mut limits, mut choices) = (Limits::default(), Choices::default());
    limits.subscriber_stall = Some(millis(1_000));
    choices.heartbeat = Duration::from_secs(60);
    let fake = Fake::builder()
        .instant()
        .limits(limits)
        .choices(choices)
        .build();
    fake.put("k", vec![0; 10 * MIB]).unwrap();
    fake.put("k", "x").unwrap();
    let (_, mut subscription) = subscribed(&fake).await;
    assert_eq!(event(&mut subscription).await.records.len(), 1);
    let sent = Instant::now();
    // Five seconds later, though a reader may keep an event waiting for one second only.
    assert_eq!(data(&event(&mut subscription).await.records), ["x"]);
    assert_eq!(sent.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_patient_connection_waits_for_its_reader() {
    let mut limits = Limits::default();
    limits.subscriber_stall = None;
    let fake = Fake::builder().instant().limits(limits).build();
    let (_, mut subscription) = subscribed(&fake).await;
    fake.put("k", "x").unwrap();
    sleep(millis(299_999)).await;
    assert_eq!(event(&mut subscription).await.records.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_consumers_is_not_removed_unless_they_are_to_go_too() {
    let fake = Fake::instant(1);
    let (consumer, mut subscription) = subscribed(&fake).await;
    assert_eq!(
        code_of(fake.delete_stream().await),
        "ResourceInUseException"
    );
    fake.delete_stream_and_consumers().await.unwrap();
    assert_eq!(code(&mut subscription).await, "ResourceNotFoundException");
    fake.create_stream(1).await.unwrap();
    let answer = subscribe(&fake, &consumer, 0, Position::Latest).await;
    assert_eq!(code_of(answer), "ResourceNotFoundException");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_subscribe_leaves_the_shard_in_use() {
    let fake = Fake::instant(1);
    let consumer = register(&fake, "audit").await;
    fake.inject(Fault::lost_answer(Operation::SubscribeToShard));
    let lost = subscribe(&fake, &consumer, 0, Position::Latest).await;
    assert_eq!(remedy(lost), Remedy::Retry);
    sleep(millis(1_000)).await;
    let again = subscribe(&fake, &consumer, 0, Position::Latest).await;
    assert_eq!(code_of(again), "ResourceInUseException");
    sleep(millis(4_000)).await;
    let _held = subscribe(&fake, &consumer, 0, Position::Latest)
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_token_of_consumers_is_none_of_a_stream_made_anew() {
    let fake = Fake::builder().instant().page_size(1).build();
    for name in ["a", "b"] {
        register(&fake, name).await;
    }
    let token = fake.list_stream_consumers(None).await.unwrap().next;
    fake.delete_stream_and_consumers().await.unwrap();
    fake.create_stream(1).await.unwrap();
    register(&fake, "b").await;
    let answer = fake.list_stream_consumers(token).await;
    assert_eq!(remedy(answer), Remedy::Verify);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_nobody_holds_is_forgotten_when_its_time_is_over() {
    let fake = Fake::instant(1);
    let consumer = register(&fake, "audit").await;
    for round in 0..3 {
        fake.inject(Fault::lost_answer(Operation::SubscribeToShard));
        let lost = subscribe(&fake, &consumer, 0, Position::Latest).await;
        assert_eq!(remedy(lost), Remedy::Retry, "{round}");
        sleep(millis(300_000)).await;
    }
    let _held = subscribe(&fake, &consumer, 0, Position::Latest).await;
    assert_eq!(fake.fail_subscriptions(&shard(0), "Nonsense"), 1);
}

/// Calls the fake from within `wake`, as an executor does that polls there.
struct CallsBack(Fake, std::sync::atomic::AtomicU32);

impl std::task::Wake for CallsBack {
    fn wake(self: std::sync::Arc<Self>) {
        let shards = self.0.shards().len();
        let shards = u32::try_from(shards).unwrap();
        self.1
            .fetch_add(shards, std::sync::atomic::Ordering::SeqCst);
    }
}

#[test]
fn whoever_is_woken_may_call_at_once() {
    let fake = Fake::builder().instant().manual_clock().build();
    let woken = std::sync::Arc::new(CallsBack(fake.clone(), 0.into()));
    let waker = std::sync::Arc::clone(&woken).into();
    let mut context = std::task::Context::from_waker(&waker);
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().unwrap();
    let (_, mut subscription) = runtime.block_on(subscribed(&fake));
    let mut next = Box::pin(subscription.next());
    assert!(next.as_mut().poll(&mut context).is_pending());
    fake.put("k", "x").unwrap();
    assert!(next.as_mut().poll(&mut context).is_ready());
    drop(next);
    let mut next = Box::pin(subscription.next());
    assert!(next.as_mut().poll(&mut context).is_pending());
    fake.advance(millis(1));
    assert_eq!(woken.1.load(std::sync::atomic::Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_comes_and_goes_in_ten_seconds_unless_told_otherwise() {
    let fake = Fake::new(1);
    let consumer = fake.register_stream_consumer("audit").await.unwrap();
    assert_eq!(consumer.status, ConsumerStatus::Creating);
    let at = shard(0);
    let early = fake.subscribe_to_shard(&consumer.arn, &at, &Position::Latest);
    assert!(early.await.is_err());
    sleep(Duration::from_secs(10)).await;
    let subscription = fake.subscribe_to_shard(&consumer.arn, &at, &Position::Latest);
    drop(subscription.await.unwrap());
    let address = ConsumerAddress::Arn(consumer.arn);
    fake.deregister_stream_consumer(&address).await.unwrap();
    let leaving = fake.describe_stream_consumer(&address).await.unwrap();
    assert_eq!(leaving.status, ConsumerStatus::Deleting);
    sleep(Duration::from_secs(10)).await;
    assert!(fake.describe_stream_consumer(&address).await.is_err());
}

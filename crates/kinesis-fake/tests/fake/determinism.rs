//! The same seed gives the same trace, whatever runtime it is run on.

use std::fmt::Write;

use kinesis_source::{KinesisFanOutApi, ShardSubscription};
use tokio::{runtime::Builder as Runtime, time::timeout};

use super::*;

/// Numbers that look like chance, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % sides
    }
}

/// How the scenario lets time pass.
#[derive(Clone, Copy)]
enum Clock {
    Tokio,
    Manual,
}

/// A call's answer, however late it comes: a clock that is moved by hand is moved until it is there, in
/// steps in which tokio's clock goes, too.
async fn waited<T>(fake: &Fake, clock: Clock, call: impl Future<Output = T>) -> T {
    if let Clock::Tokio = clock {
        return call.await;
    }
    let mut call = std::pin::pin!(call);
    loop {
        tokio::select! {
            biased;
            answer = &mut call => return answer,
            () = std::future::ready(()) => fake.advance(millis(1)),
        }
    }
}

/// A worker that does whatever comes to its mind; each answer is written down in full.
async fn worker(fake: Fake, clock: Clock, seed: u64) -> String {
    let (mut dice, mut trace) = (Dice(seed), String::new());
    let (mut iterators, mut subscriptions) = (Vec::new(), Vec::<ShardSubscription>::new());
    let consumer = fake.register_stream_consumer("worker").await.unwrap().arn;
    fake.follow(&FaultPlan::drawn(seed, Duration::from_secs(300)));
    for step in 0..400 {
        let shards = fake.shards();
        let shard = shards[dice.roll(shards.len())].clone();
        write!(trace, "{step} {} ", fake.now()).unwrap();
        match dice.roll(10) {
            0 | 1 => {
                let entries: Vec<_> = (0..dice.roll(50))
                    .map(|_| entry(&dice.roll(100).to_string(), dice.roll(30_000)))
                    .collect();
                writeln!(
                    trace,
                    "{:?}",
                    waited(&fake, clock, fake.put_records(&entries)).await
                )
                .unwrap();
            }
            2 => {
                let answer = waited(
                    &fake,
                    clock,
                    fake.get_shard_iterator(&shard.id, &Position::TrimHorizon),
                )
                .await;
                let text = answer.as_ref().map(|it| it.as_str().to_owned());
                writeln!(trace, "{text:?}").unwrap();
                iterators.extend(answer.ok());
            }
            3 | 4 if !iterators.is_empty() => {
                let at = dice.roll(iterators.len());
                let answer = waited(
                    &fake,
                    clock,
                    fake.get_records(&iterators[at], 1 + dice.roll(300)),
                )
                .await;
                let next = answer.as_ref().ok().and_then(|page| page.next.clone());
                let text = next.as_ref().map(ShardIterator::as_str);
                writeln!(trace, "{answer:?} {text:?}").unwrap();
                if let Some(next) = next {
                    iterators[at] = next;
                }
            }
            5 => writeln!(
                trace,
                "{:?}",
                waited(&fake, clock, fake.list_shards(None)).await
            )
            .unwrap(),
            6 => {
                let range = shard.hash_range;
                let at = range.start / 2 + range.end / 2;
                writeln!(
                    trace,
                    "{:?}",
                    waited(&fake, clock, fake.split_shard(&shard.id, at)).await
                )
                .unwrap();
            }
            7 => {
                let other = &shards[dice.roll(shards.len())].id;
                writeln!(
                    trace,
                    "{:?}",
                    waited(&fake, clock, fake.merge_shards(&shard.id, other)).await
                )
                .unwrap();
            }
            8 => {
                let position = Position::TrimHorizon;
                let answer = waited(
                    &fake,
                    clock,
                    fake.subscribe_to_shard(&consumer, &shard.id, &position),
                )
                .await;
                writeln!(trace, "{answer:?}").unwrap();
                subscriptions.extend(answer.ok());
            }
            _ => {
                for subscription in &mut subscriptions {
                    // What there is at this moment.
                    let event = tokio::select! {
                        biased;
                        event = subscription.next() => Some(event),
                        () = std::future::ready(()) => None,
                    };
                    writeln!(trace, "{event:?}").unwrap();
                }
            }
        }
        let span = millis([0, 10, 300, 1_000, 5_000][dice.roll(5)]);
        match clock {
            Clock::Tokio => advance(span).await,
            Clock::Manual => fake.advance(span),
        }
    }
    let report = fake.fault_report();
    assert!(report.fired() > 0, "nothing went wrong: {report}");
    write!(trace, "{:?}\n{report}", fake.calls()).unwrap();
    trace
}

fn fake(seed: u64, clock: Clock) -> Fake {
    let mut durations = Durations::all(millis(2_000));
    durations.register = Duration::ZERO;
    let mut choices = Choices::default();
    choices.arrival_disorder = millis(100);
    choices.empty_answer_every = 7;
    let builder = Fake::builder().shards(3).seed(seed).durations(durations);
    let builder = builder.choices(choices);
    match clock {
        Clock::Tokio => builder.build(),
        Clock::Manual => builder.manual_clock().build(),
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_on_one_thread_and_on_many() {
    for seed in 0..10 {
        let mut paused = Runtime::new_current_thread();
        let paused = paused.enable_time().start_paused(true).build().unwrap();
        let on_tokios_clock =
            paused.block_on(async { worker(fake(seed, Clock::Tokio), Clock::Tokio, seed).await });
        let one = Runtime::new_current_thread().build().unwrap();
        let on_one = one.block_on(worker(fake(seed, Clock::Manual), Clock::Manual, seed));
        let many = Runtime::new_multi_thread()
            .worker_threads(2)
            .build()
            .unwrap();
        let spawned = many.spawn(worker(fake(seed, Clock::Manual), Clock::Manual, seed));
        let on_many = many.block_on(spawned).unwrap();
        assert_eq!(on_one, on_many, "seed {seed}");
        assert_eq!(on_one, on_tokios_clock, "seed {seed}");
        assert!(on_one.len() > 50_000, "{} bytes say little", on_one.len());
    }
    let one = Runtime::new_current_thread().build().unwrap();
    let trace = |seed| one.block_on(worker(fake(seed, Clock::Manual), Clock::Manual, 1));
    assert_ne!(trace(1), trace(2), "the seed decides on something");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_moves_the_clock_by_hand_wakes_those_who_wait() {
    let mut limits = Limits::default();
    limits.subscriber_stall = None;
    let fake = Fake::builder()
        .instant()
        .limits(limits)
        .manual_clock()
        .build();
    let consumer = fake.register_stream_consumer("audit").await.unwrap().arn;
    let subscribed = fake.clone();
    let waiting = tokio::spawn(async move {
        let (shard, position) = (shard(0), Position::Latest);
        let subscription = subscribed.subscribe_to_shard(&consumer, &shard, &position);
        let mut subscription = subscription.await.unwrap();
        let mut events = 0;
        while let Some(event) = subscription.next().await {
            assert!(event.unwrap().records.is_empty());
            events += 1;
        }
        events
    });
    // However late it begins to wait, time goes on until it has seen the end.
    let advancing = async {
        loop {
            fake.advance(millis(5_000));
            sleep(millis(1)).await;
        }
    };
    let events = tokio::select! {
        events = waiting => events.unwrap(),
        () = advancing => unreachable!(),
    };
    assert!(events < 60, "{events} in five minutes");
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "follows tokio's clock")]
async fn a_clock_that_is_tokios_is_not_moved_by_hand() {
    let fake = Fake::new(1);
    let still = timeout(millis(1), std::future::ready(())).await;
    still.unwrap();
    fake.advance(millis(1));
}

#[tokio::test]
async fn a_clock_at_its_end_stops_nothing() {
    let fake = Fake::builder().manual_clock().build();
    fake.advance(Duration::MAX);
    fake.split_shard(&shard(0), 1 << 127).await.unwrap();
    fake.register_stream_consumer("audit").await.unwrap();
    fake.register_stream_consumer("billing").await.unwrap();
    fake.stream("other").create_stream(1).await.unwrap();
    fake.advance(Duration::MAX);
    assert!(fake.put("k", "v").is_ok());
}

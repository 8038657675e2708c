//! Subscriptions, whatever happens to their stream meanwhile.

use kinesis_fake::{
    Continuation, Durations, ShardEnd,
    model::{NewStream, Sent, SubscriptionId},
};
use kinesis_source::ConsumerArn;

use super::*;

/// Reads a stream by fan-out as its service advises: each shard from its horizon, renewed at times.
struct Subscriber {
    consumer: ConsumerArn,
    read: BTreeMap<ShardId, Reading>,
}

#[derive(Debug)]
struct Reading {
    subscription: Option<SubscriptionId>,
    position: Position,
    data: Vec<Bytes>,
    ended: u32,
    /// Bytes that were sent in the last seconds, and when.
    sent: Vec<(Moment, u64)>,
}

impl Subscriber {
    fn new(life: &mut Life) -> Self {
        let consumer = life
            .service
            .register_stream_consumer(STREAM, "audit", life.now);
        Self {
            consumer: consumer.unwrap().arn,
            read: BTreeMap::new(),
        }
    }

    /// Subscribes to shards that it has not seen, and takes what there is of all.
    fn read_on(&mut self, life: &mut Life) {
        for shard in life.service.shards(STREAM, life.now) {
            let reading = self.read.entry(shard.id.clone()).or_insert(Reading {
                subscription: None,
                position: Position::TrimHorizon,
                data: Vec::new(),
                ended: 0,
                sent: Vec::new(),
            });
            reading.read_on(&self.consumer, &shard.id, life);
        }
    }

    /// Forgets all subscriptions.
    fn let_go(&mut self, life: &mut Life) {
        for reading in self.read.values_mut() {
            if let Some(id) = reading.subscription.take() {
                life.service.unsubscribe(id);
            }
        }
    }
}

impl Reading {
    fn read_on(&mut self, consumer: &ConsumerArn, shard: &ShardId, life: &mut Life) {
        if self.ended > 0 {
            return;
        }
        let now = life.now;
        let id = match self.subscription {
            Some(id) => id,
            None => {
                let id = life
                    .service
                    .subscribe_to_shard(consumer, shard, &self.position, now);
                id.unwrap()
            }
        };
        self.subscription = Some(id);
        loop {
            match life.service.next_event(id, now) {
                Sent::Event(event) => {
                    let bytes = event.records.iter().map(|it| {
                        it.data.len() as u64 + it.partition_key.as_ref().unwrap().len() as u64
                    });
                    self.sent.push((now, bytes.sum()));
                    self.data
                        .extend(event.records.into_iter().map(|it| it.data));
                    match event.continuation_sequence_number {
                        Some(number) => self.position = Position::AfterSequenceNumber(number),
                        None => self.ended += u32::from(!event.children.is_empty()),
                    }
                }
                Sent::Nothing { until } => {
                    assert!(until.unwrap() > now, "it would be asked for ever");
                    return;
                }
                Sent::Ended => {
                    self.subscription = None;
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

fn patient() -> Settings {
    let mut settings = no_limits();
    settings.limits.bytes_per_event = 500;
    settings.limits.records_per_event = 5;
    settings
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_subscriber_gets_every_record_once_and_every_end(
        shards in 1..4_u32,
        steps in vec((step(), 0..10_u32), 0..60),
        beyond: bool,
        one_more: bool,
    ) {
        let mut settings = patient();
        if beyond {
            settings.choices.continuation = Continuation::BeyondLastRecord;
        }
        if one_more {
            settings.choices.shard_end = ShardEnd::OneMoreAnswer;
        }
        let mut life = Life::new(shards, settings);
        let mut subscriber = Subscriber::new(&mut life);
        for (step, then) in &steps {
            life.take(step);
            match then {
                0 => subscriber.let_go(&mut life),
                1..6 => subscriber.read_on(&mut life),
                _ => {}
            }
        }
        life.now = life.now.plus(Duration::from_secs(1));
        subscriber.read_on(&mut life);
        for shard in life.service.shards(STREAM, life.now) {
            let reading = &subscriber.read[&shard.id];
            prop_assert_eq!(&reading.data, &life.put.remove(&shard.id).unwrap_or_default());
            prop_assert_eq!(reading.ended, u32::from(shard.is_closed()));
        }
        prop_assert!(life.put.is_empty());
    }

    #[test]
    fn a_subscription_sends_no_more_than_its_rate_and_no_less_when_it_lags(
        sizes in vec(1..3_000_usize, 1..60), waits in vec(0..400_u64, 200..300),
    ) {
        const RATE: u64 = 2_000;
        let mut settings = patient();
        settings.limits.subscription_bytes_per_second = Some(RATE);
        let mut life = Life::new(1, settings);
        for size in &sizes {
            life.put(1, *size);
        }
        let mut subscriber = Subscriber::new(&mut life);
        let mut lagging = Duration::ZERO;
        let total = sizes.len();
        for wait in waits {
            subscriber.read_on(&mut life);
            let wait = Duration::from_millis(wait);
            if subscriber.read.values().any(|it| it.data.len() < total) {
                lagging += wait;
            }
            life.now = life.now.plus(wait);
        }
        let reading = subscriber.read.values().next().unwrap();
        // Each event but the last must have been paid for.
        let (mut free_at, mut sent) = (START, 0);
        for (at, bytes) in reading.sent.iter().filter(|(_, bytes)| *bytes > 0) {
            prop_assert!(free_at <= at.plus(Duration::from_millis(1)));
            let cost = Duration::from_nanos(bytes * 1_000_000_000 / RATE);
            free_at = free_at.max(*at).plus(cost);
            sent += bytes;
        }
        // It is asked every 400 ms at least: no more than that may be lost for an event.
        let events = reading.sent.len() as u64;
        let least = (lagging.as_millis() as u64).saturating_sub(400 * events) * RATE / 1_000;
        prop_assert!(sent >= least, "{sent} < {least}");
    }

    #[test]
    fn news_come_of_all_that_has_something_to_say(
        shards in 1..4_u32, steps in vec(step(), 1..60),
    ) {
        let mut life = Life::new(shards, no_limits());
        let consumer = life.service.register_stream_consumer(STREAM, "audit", life.now);
        let consumer = consumer.unwrap().arn;
        let mut waiting = BTreeMap::new();
        for shard in life.service.shards(STREAM, life.now) {
            let id = life.service.subscribe_to_shard(
                &consumer, &shard.id, &Position::TrimHorizon, life.now,
            );
            waiting.insert(id.unwrap(), life.now);
        }
        for step in &steps {
            life.take(step);
            let news = life.service.take_news();
            waiting.retain(|id, until| {
                let told = news.contains(id) || *until <= life.now;
                loop {
                    match life.service.next_event(*id, life.now) {
                        Sent::Nothing { until: next } => {
                            *until = next.unwrap();
                            return true;
                        }
                        Sent::Ended => return false,
                        said => assert!(told, "nobody woke it for {said:?}"),
                    }
                }
            });
        }
    }
}

#[test]
fn an_account_of_on_demand_advantage_has_fifty_consumers_on_a_stream_on_demand() {
    let mut settings = instant();
    settings.durations = Durations::all(Duration::ZERO);
    let registered = |shards: Option<u32>, committed: bool| {
        let mut service = Service::new(settings.clone());
        let mut now = START;
        let stream = NewStream {
            shards,
            ..NewStream::default()
        };
        service
            .create_described_stream(STREAM, &stream, now)
            .unwrap();
        service.update_account_settings(committed, now).unwrap();
        for number in 0.. {
            now = now.plus(Duration::from_secs(1));
            let name = format!("consumer-{number}");
            match service.register_stream_consumer(STREAM, &name, now) {
                Ok(_) => {}
                Err(refusal) => {
                    assert_eq!(refusal.code(), "LimitExceededException");
                    return number;
                }
            }
        }
        unreachable!("there is a limit")
    };
    assert_eq!(registered(None, true), 50);
    assert_eq!(registered(None, false), 20);
    assert_eq!(registered(Some(1), true), 20);
}

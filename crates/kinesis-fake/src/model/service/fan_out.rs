use std::collections::BTreeSet;

use kinesis_source::{
    ConsumerAddress, ConsumerArn, ConsumersPage, NextToken, Position, ShardId, StreamConsumer,
};

use super::{Service, control::check_name, find};
use crate::model::{
    Moment, Operation, Refusal, Sent, SubscriptionId, Takeover, arn, settings::MAX_PAGE_SIZE,
    stream::Stream, subscription::Subscription, token::ConsumersToken,
};

impl Service {
    /// Registers a consumer with a stream, which takes
    /// [`register`](crate::model::Durations::register).
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream; `ResourceInUse` unless it is active or updating, or
    /// if it has a consumer of that name; `Validation` for a name that is none; `LimitExceeded` for
    /// too many calls, consumers, or consumers that are being registered.
    pub fn register_stream_consumer(
        &mut self,
        stream: &str,
        name: &str,
        now: Moment,
    ) -> Result<StreamConsumer, Refusal> {
        self.admit(Operation::RegisterStreamConsumer, now)?;
        check_name("consumerName", name)?;
        let settings = &self.settings;
        let takes = settings.durations.register;
        let stream = find(&mut self.streams, &self.settings.limits, stream, now)?;
        stream.check_usable()?;
        let consumers = &mut stream.consumers;
        consumers.register(&stream.name, name, &settings.limits, takes, now)
    }

    /// Takes a consumer away, which takes [`deregister`](crate::model::Durations::deregister). Its
    /// subscriptions fail at once. An ARN says itself which stream it is of.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream or consumer; `LimitExceeded`.
    pub fn deregister_stream_consumer(
        &mut self,
        stream: &str,
        consumer: &ConsumerAddress,
        now: Moment,
    ) -> Result<(), Refusal> {
        let until = now.plus(self.settings.durations.deregister);
        let per_second = self.settings.limits.consumers_per_second;
        let (stream, name, arn) = locate(stream, consumer)?;
        let stream = find(&mut self.streams, &self.settings.limits, stream, now)?;
        stream.admit(Operation::DeregisterStreamConsumer, per_second, now)?;
        let consumer = stream.consumer(name, arn)?;
        let gone = Refusal::not_found(format!("Consumer {} has gone.", consumer.arn));
        let ending = consumer.deregister(until);
        stream.consumers.settle(now);
        self.fail_all(ending, &gone);
        Ok(())
    }

    /// What a consumer is. An ARN says itself which stream it is of.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream or consumer; `LimitExceeded`.
    pub fn describe_stream_consumer(
        &mut self,
        stream: &str,
        consumer: &ConsumerAddress,
        now: Moment,
    ) -> Result<StreamConsumer, Refusal> {
        let per_second = self.settings.limits.describe_stream_consumer_per_second;
        let (stream, name, arn) = locate(stream, consumer)?;
        let stream = find(&mut self.streams, &self.settings.limits, stream, now)?;
        stream.admit(Operation::DescribeStreamConsumer, per_second, now)?;
        Ok(stream.consumer(name, arn)?.describe())
    }

    /// One page of a stream's consumers, by name: the first, or the one that `token` stands for. It
    /// has at most `max_results`, the service's page size if there is none.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream; `InvalidArgument` for a token that is none, or of
    /// another stream; `Validation` for a number that is none; `ExpiredNextToken`; `LimitExceeded`.
    pub fn list_stream_consumers(
        &mut self,
        stream: &str,
        token: Option<&NextToken>,
        max_results: Option<usize>,
        now: Moment,
    ) -> Result<ConsumersPage, Refusal> {
        let limits = &self.settings.limits;
        let (per_second, life) = (limits.consumers_per_second, limits.token_life);
        let most = super::listing::page_size(max_results, self.settings.page_size)?;
        let token = token.map(|token| {
            let token = ConsumersToken::open(&self.seal, &token.0);
            let token = token.ok_or_else(super::listing::no_token)?;
            super::listing::check_age(token.issued, life, now)?;
            Ok(token)
        });
        let token = token.transpose()?;
        let stream = find(&mut self.streams, &self.settings.limits, stream, now)?;
        stream.admit(Operation::ListStreamConsumers, per_second, now)?;
        if let Some(token) = &token {
            stream.check_number(token.stream_number)?;
        }
        let after = token.as_ref().map_or("", |token| &token.after);
        let (consumers, more) = stream.consumers.list(after, most.min(MAX_PAGE_SIZE));
        let next = consumers.last().filter(|_| more).map(|last| {
            let token = ConsumersToken {
                issued: now,
                stream_number: stream.number,
                after: last.name.clone(),
            };
            NextToken(token.seal(&self.seal))
        });
        Ok(ConsumersPage { consumers, next })
    }

    /// Has a shard send its records to a consumer: [`next_event`](Self::next_event) says what.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a consumer, stream or shard; `ResourceInUse` if the consumer
    /// is not active, and for five seconds after a call for the same consumer and shard that
    /// succeeded; `InvalidArgument` for a position that is none of the shard's; `LimitExceeded`
    /// above a call a second for the same consumer and shard.
    pub fn subscribe_to_shard(
        &mut self,
        consumer: &ConsumerArn,
        shard: &ShardId,
        position: &Position,
        now: Moment,
    ) -> Result<SubscriptionId, Refusal> {
        self.forget_expired(now);
        let (stream, name) = arn::consumer_of(consumer.as_str()).ok_or_else(|| no_arn(consumer))?;
        let stream = find(&mut self.streams, &self.settings.limits, stream, now)?;
        stream.check_usable()?;
        let number = stream.number_of(shard)?;
        stream.shard(number, now)?;
        let limits = &self.settings.limits;
        let seats = stream.consumer(name, Some(consumer))?;
        seats.admit(number, limits, now)?;
        let shard = stream.shard(number, now)?;
        let place = shard.seek(position, &self.settings.choices, now)?;

        self.subscriptions_made += 1;
        let id = SubscriptionId(self.subscriptions_made);
        shard.subscribers.insert(id);
        let subscription = Subscription::new(&stream.name, stream.number, number, place, now);
        let seats = stream.consumer(name, Some(consumer))?;
        let former = seats.seat(number, id, now);
        let lost = seats.another_subscription(number);
        self.subscriptions.insert(id, subscription);
        if let Some(former) = former {
            self.take_over(former, lost);
        }
        Ok(id)
    }

    /// What a subscription has to say at `now`. It takes no call: nothing is counted.
    pub fn next_event(&mut self, id: SubscriptionId, now: Moment) -> Sent {
        let Some(subscription) = self.subscriptions.get_mut(&id) else {
            return Sent::Ended;
        };
        if let Some(sent) = subscription.without_shard(&self.settings.limits, now) {
            return sent;
        }
        match send(subscription, &mut self.streams, &self.settings, now) {
            Ok(sent) => sent,
            Err(refusal) => {
                subscription.end();
                Sent::Failed(refusal)
            }
        }
    }

    /// Forgets a subscription: its subscriber has gone.
    pub fn unsubscribe(&mut self, id: SubscriptionId) {
        let Some(subscription) = self.subscriptions.remove(&id) else {
            return;
        };
        let stream = self.streams.get_mut(&subscription.stream);
        if let Some(stream) = stream.filter(|it| it.number == subscription.stream_number) {
            stream.forget_subscriber(subscription.shard, id);
        }
        self.news.remove(&id);
    }

    /// The subscriptions that may have something to say since this was asked last, although they
    /// said that they would not.
    pub fn take_news(&mut self) -> BTreeSet<SubscriptionId> {
        let mut news = std::mem::take(&mut self.news);
        for stream in self.streams.values_mut() {
            news.append(&mut stream.news);
        }
        news
    }

    /// Lets the subscriptions to a shard fail among their events; returns how many those are.
    pub fn fail_subscriptions(
        &mut self,
        stream: &str,
        shard: &ShardId,
        refusal: &Refusal,
    ) -> usize {
        let subscribed = self.subscribed(stream, shard);
        self.fail_all(subscribed, refusal)
    }

    /// Lets the subscriptions to a shard fall silent, with their connections open, for good;
    /// returns how many those are.
    pub fn silence_subscriptions(&mut self, stream: &str, shard: &ShardId) -> usize {
        let subscribed = self.subscribed(stream, shard);
        for id in &subscribed {
            if let Some(subscription) = self.subscriptions.get_mut(id) {
                subscription.silence();
            }
        }
        subscribed.len()
    }

    /// Forgets subscriptions that nobody reads, once their time is over.
    fn forget_expired(&mut self, now: Moment) {
        // Those that were made first end first.
        while let Some((id, oldest)) = self.subscriptions.first_key_value()
            && oldest.has_expired(&self.settings.limits, now)
        {
            let id = *id;
            self.unsubscribe(id);
        }
    }

    fn subscribed(&self, stream: &str, shard: &ShardId) -> Vec<SubscriptionId> {
        let stream = self.streams.get(stream);
        let subscribers = stream.and_then(|stream| stream.subscribers(shard));
        subscribers.into_iter().flatten().copied().collect()
    }

    pub(super) fn fail_all(&mut self, ids: Vec<SubscriptionId>, refusal: &Refusal) -> usize {
        let many = ids.len();
        for id in ids {
            if let Some(subscription) = self.subscriptions.get_mut(&id) {
                subscription.fail(refusal.clone());
                self.news.insert(id);
            }
        }
        many
    }

    fn take_over(&mut self, former: SubscriptionId, refusal: Refusal) {
        let Some(subscription) = self.subscriptions.get_mut(&former) else {
            return;
        };
        match self.settings.choices.takeover {
            Takeover::Fails => subscription.fail(refusal),
            Takeover::Ends => subscription.end(),
        }
        self.news.insert(former);
    }
}

fn send(
    subscription: &mut Subscription,
    streams: &mut std::collections::BTreeMap<String, Stream>,
    settings: &crate::model::Settings,
    now: Moment,
) -> Result<Sent, Refusal> {
    let stream = find(streams, &settings.limits, &subscription.stream, now)?;
    stream.check_number(subscription.stream_number)?;
    let (shard, changes) = (subscription.shard, stream.next_change());
    let children = stream.children(shard);
    let shard = stream.shard(shard, now)?;
    Ok(subscription.send(shard, children, changes, settings, now))
}

/// The stream and the consumer that are meant, and the ARN if it has to be that.
fn locate<'a>(
    stream: &'a str,
    consumer: &'a ConsumerAddress,
) -> Result<(&'a str, &'a str, Option<&'a ConsumerArn>), Refusal> {
    match consumer {
        ConsumerAddress::Name(name) => Ok((stream, name, None)),
        ConsumerAddress::Arn(arn) => {
            let found = arn::consumer_of(arn.as_str());
            let (stream, name) = found.ok_or_else(|| no_arn(arn))?;
            Ok((stream, name, Some(arn)))
        }
    }
}

fn no_arn(arn: &ConsumerArn) -> Refusal {
    // Not repeated in full: it may be anything.
    let shown: String = arn.as_str().chars().take(100).collect();
    Refusal::not_found(format!(
        "{shown} is not the ARN of a consumer of this account."
    ))
}

use std::collections::{BTreeMap, BTreeSet};

use kinesis_source::{ConsumerArn, Position, ShardId};

use super::{Service, find};
use crate::model::{
    Moment, Refusal, Sent, Settings, SubscriptionId, Takeover, stream::Stream,
    subscription::Subscription,
};

impl Service {
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
        let (stream, name) = self.consumer_of(consumer.as_str())?;
        let stream = find(&mut self.streams, &self.settings, stream, now)?;
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
    streams: &mut BTreeMap<String, Stream>,
    settings: &Settings,
    now: Moment,
) -> Result<Sent, Refusal> {
    let stream = find(streams, settings, &subscription.stream, now)?;
    stream.check_number(subscription.stream_number)?;
    let (shard, changes) = (subscription.shard, stream.next_change());
    let children = stream.children(shard);
    let shard = stream.shard(shard, now)?;
    Ok(subscription.send(shard, children, changes, settings, now))
}

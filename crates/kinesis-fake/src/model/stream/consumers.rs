use std::{collections::BTreeMap, time::Duration};

use kinesis_source::{ConsumerArn, ConsumerStatus, StreamConsumer};

use super::Stream;
use crate::model::{
    Limits, Moment, Refusal, consumer::Consumer, owner, subscription::SubscriptionId,
};

/// The consumers of one stream, by name.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    by_name: BTreeMap<String, Consumer>,
    /// The second in the newest one's ARN: no ARN comes twice.
    newest_second: u64,
}

impl Consumers {
    /// Registers one for the stream of that ARN, which may have `most`.
    pub(crate) fn register(
        &mut self,
        stream: &str,
        name: &str,
        (most, limits): (usize, &Limits),
        takes: Duration,
        now: Moment,
    ) -> Result<StreamConsumer, Refusal> {
        if self.by_name.contains_key(name) {
            return Err(Refusal::in_use(format!(
                "Consumer {name} under stream {stream} already exists."
            )));
        }
        let creating = |it: &&Consumer| it.status() == ConsumerStatus::Creating;
        let creating = self.by_name.values().filter(creating).count();
        if self.by_name.len() >= most || creating >= limits.consumers_in_creation {
            return Err(Refusal::limit_exceeded(format!(
                "This request would exceed the limits of stream {stream}: it has {} consumers, of which \
                 {creating} are being created; it may have {} and {}.",
                self.by_name.len(),
                most,
                limits.consumers_in_creation,
            )));
        }
        self.newest_second = now.seconds().max(self.newest_second.saturating_add(1));
        let arn = owner::consumer_arn(stream, name, self.newest_second);
        let consumer = Consumer::new(name, ConsumerArn::new(arn), takes, now);
        let description = consumer.describe();
        self.by_name.insert(name.to_owned(), consumer);
        Ok(description)
    }

    /// Completes what is due.
    pub(crate) fn settle(&mut self, now: Moment) {
        self.by_name.retain(|_, consumer| !consumer.has_gone(now));
        for consumer in self.by_name.values_mut() {
            consumer.settle(now);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// At most `most` of them by name, from the first after `after` on, and whether more follow.
    pub(crate) fn list(&self, after: &str, most: usize) -> (Vec<StreamConsumer>, bool) {
        let mut rest = self.by_name.values().filter(|it| *it.name > *after);
        let page = rest.by_ref().take(most).map(Consumer::describe).collect();
        (page, rest.next().is_some())
    }

    /// All subscriptions of all consumers, who lose them.
    pub(crate) fn deregister_all(&mut self, until: Moment) -> Vec<SubscriptionId> {
        let consumers = self.by_name.values_mut();
        consumers.flat_map(|it| it.deregister(until)).collect()
    }

    /// The one of that name, and of that ARN if one is given.
    fn find(&mut self, name: &str, arn: Option<&ConsumerArn>) -> Option<&mut Consumer> {
        let consumer = self.by_name.get_mut(name)?;
        arn.is_none_or(|arn| *arn == consumer.arn)
            .then_some(consumer)
    }
}

impl Stream {
    /// The consumer of that name, and of that ARN if one is given.
    pub(crate) fn consumer(
        &mut self,
        name: &str,
        arn: Option<&ConsumerArn>,
    ) -> Result<&mut Consumer, Refusal> {
        let stream = &self.name;
        let named = arn.map_or(name, ConsumerArn::as_str);
        let missing = || format!("Consumer {named} of stream {stream} not found.");
        let consumer = self.consumers.find(name, arn);
        consumer.ok_or_else(|| Refusal::not_found(missing()))
    }
}

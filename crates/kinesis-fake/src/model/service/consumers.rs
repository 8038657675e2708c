use kinesis_source::{ConsumerAddress, ConsumerArn, ConsumersPage, NextToken, StreamConsumer};

use super::{Labels, Service, control::check_name, find};
use crate::model::{Moment, Operation, Refusal, StreamMode, Tags, token::ConsumersToken};

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
        let stream = find(&mut self.streams, &self.settings, stream, now)?;
        stream.check_usable()?;
        let limits = &settings.limits;
        let on_demand = stream.provision.mode == StreamMode::OnDemand;
        let most = match on_demand && self.commitment.holds(now) {
            true => limits.consumers_per_advantage_stream,
            false => limits.consumers_per_stream,
        };
        let consumers = &mut stream.consumers;
        consumers.register(
            &stream.owner.arn(&stream.name),
            name,
            (most, limits),
            takes,
            now,
        )
    }

    /// [Registers](Self::register_stream_consumer) a consumer that has tags from the start.
    ///
    /// # Errors
    ///
    /// As [`register_stream_consumer`](Self::register_stream_consumer), and for tags as
    /// [`tag_resource`](Self::tag_resource). Then none is registered.
    pub fn register_tagged_consumer(
        &mut self,
        stream: &str,
        name: &str,
        tags: &Tags,
        now: Moment,
    ) -> Result<StreamConsumer, Refusal> {
        let labels = Labels::with_tags(tags, &self.settings.limits)?;
        let registered = self.register_stream_consumer(stream, name, now)?;
        let stream = find(&mut self.streams, &self.settings, stream, now)?;
        stream.consumer(name, None)?.labels = labels;
        Ok(registered)
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
        let (stream, name, arn) = self.locate(stream, consumer)?;
        let stream = find(&mut self.streams, &self.settings, stream, now)?;
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
        let (stream, name, arn) = self.locate(stream, consumer)?;
        let stream = find(&mut self.streams, &self.settings, stream, now)?;
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
        let most = super::listing::page_size(max_results, limits.consumers_per_page, limits)?;
        let token = token.map(|token| {
            let token = ConsumersToken::open(&self.seal, &token.0);
            let token = token.ok_or_else(super::listing::no_token)?;
            super::listing::check_age(token.issued, life, now)?;
            Ok(token)
        });
        let token = token.transpose()?;
        let stream = find(&mut self.streams, &self.settings, stream, now)?;
        stream.admit(Operation::ListStreamConsumers, per_second, now)?;
        if let Some(token) = &token {
            stream.check_number(token.stream_number)?;
        }
        let after = token.as_ref().map_or("", |token| &token.after);
        let (consumers, more) = stream.consumers.list(after, most);
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

    /// The stream and the consumer that are meant, and the ARN if it has to be that.
    fn locate<'a>(
        &self,
        stream: &'a str,
        consumer: &'a ConsumerAddress,
    ) -> Result<(&'a str, &'a str, Option<&'a ConsumerArn>), Refusal> {
        match consumer {
            ConsumerAddress::Name(name) => Ok((stream, name, None)),
            ConsumerAddress::Arn(arn) => {
                let (stream, name) = self.consumer_of(arn.as_str())?;
                Ok((stream, name, Some(arn)))
            }
        }
    }
}

use kinesis_source::{
    ConsumerAddress, ConsumerArn, ConsumerStatus, ConsumersPage, NextToken, StreamConsumer,
};
use serde::{Deserialize, Serialize};

use super::{
    Call,
    tagging::{TagsIn, check_tags, tags},
};
use crate::{
    faults::About,
    model::{Moment, Refusal, Service},
    serve::{
        check::{Check, Pattern},
        wire::{Nothing, Time, check_stream, count, stream_name},
    },
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RegisterStreamConsumer {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    consumer_name: Option<String>,
    tags: Option<TagsIn>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Registered {
    consumer: ConsumerOut,
}

impl Call for RegisterStreamConsumer {
    type Outcome = StreamConsumer;
    type Answer = Registered;

    fn check(&self, check: &mut Check) {
        check.required("streamARN", self.stream_arn.as_ref());
        check_stream(check, None, self.stream_arn.as_deref());
        check.required("consumerName", self.consumer_name.as_ref());
        check.name("consumerName", self.consumer_name.as_deref());
        check_tags(check, self.tags.as_ref(), 0);
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<StreamConsumer, Refusal> {
        let stream = stream_name(service, None, self.stream_arn.as_deref())?;
        let name = self.consumer_name.as_deref().unwrap_or_default();
        service.register_tagged_consumer(stream, name, &tags(self.tags.as_ref()), now)
    }
}

impl From<StreamConsumer> for Registered {
    fn from(consumer: StreamConsumer) -> Self {
        let consumer = consumer.into();
        Self { consumer }
    }
}

/// The consumer that a request means: by its ARN, or by its name and its stream's ARN.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meant {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    consumer_name: Option<String>,
    #[serde(rename = "ConsumerARN")]
    consumer_arn: Option<String>,
}

impl Meant {
    fn check(&self, check: &mut Check) {
        check_stream(check, None, self.stream_arn.as_deref());
        check.name("consumerName", self.consumer_name.as_deref());
        let arn = self.consumer_arn.as_deref();
        check.pattern("consumerARN", arn, Pattern::ConsumerArn);
        check.length("consumerARN", self.consumer_arn.as_deref(), 1..=2_048);
    }

    /// Its stream's name, and how it is addressed.
    fn consumer(&self, service: &Service) -> Result<(&str, ConsumerAddress), Refusal> {
        match (&self.stream_arn, &self.consumer_name, &self.consumer_arn) {
            (None, None, Some(arn)) => {
                let (stream, _) = service.consumer_of(arn)?;
                Ok((stream, ConsumerAddress::Arn(ConsumerArn::new(&**arn))))
            }
            (Some(stream), Some(name), None) => {
                let stream = stream_name(service, None, Some(stream))?;
                Ok((stream, ConsumerAddress::Name(name.clone())))
            }
            _ => Err(Refusal::invalid_argument(
                "Either a ConsumerARN is needed, or a ConsumerName with a StreamARN.",
            )),
        }
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct DeregisterStreamConsumer(Meant);

impl Call for DeregisterStreamConsumer {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn check(&self, check: &mut Check) {
        self.0.check(check);
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        let (stream, consumer) = self.0.consumer(service)?;
        service.deregister_stream_consumer(stream, &consumer, now)?;
        Ok(Nothing {})
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct DescribeStreamConsumer(Meant);

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Described {
    consumer_description: Description,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    #[serde(flatten)]
    consumer: ConsumerOut,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
}

impl Call for DescribeStreamConsumer {
    type Outcome = (String, StreamConsumer);
    type Answer = Described;

    fn check(&self, check: &mut Check) {
        self.0.check(check);
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Self::Outcome, Refusal> {
        let (stream, consumer) = self.0.consumer(service)?;
        let consumer = service.describe_stream_consumer(stream, &consumer, now)?;
        Ok((service.settings().owner.arn(stream), consumer))
    }
}

impl From<(String, StreamConsumer)> for Described {
    fn from((stream_arn, consumer): (String, StreamConsumer)) -> Self {
        Self {
            consumer_description: Description {
                consumer: consumer.into(),
                stream_arn,
            },
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListStreamConsumers {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    next_token: Option<String>,
    max_results: Option<i64>,
    stream_creation_timestamp: Option<Time>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    consumers: Vec<ConsumerOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

impl Call for ListStreamConsumers {
    type Outcome = ConsumersPage;
    type Answer = Listed;

    fn about(&self) -> About {
        let token = self.next_token.clone().map(NextToken);
        token.map_or(About::Whole, About::Token)
    }

    fn check(&self, check: &mut Check) {
        check.required("streamARN", self.stream_arn.as_ref());
        check_stream(check, None, self.stream_arn.as_deref());
        check.length("nextToken", self.next_token.as_deref(), 1..=1_048_576);
        check.results("maxResults", self.max_results);
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<ConsumersPage, Refusal> {
        let stream = stream_name(service, None, self.stream_arn.as_deref())?;
        let token = self.next_token.clone().map(NextToken);
        match (self.stream_creation_timestamp, &token) {
            (Some(_), Some(_)) => {
                return Err(Refusal::invalid_argument(
                    "NextToken and StreamCreationTimestamp cannot be provided together.",
                ));
            }
            (Some(created), None) => service.check_created(stream, created.into(), now)?,
            (None, _) => {}
        }
        service.list_stream_consumers(stream, token.as_ref(), count(self.max_results), now)
    }
}

impl From<ConsumersPage> for Listed {
    fn from(page: ConsumersPage) -> Self {
        Self {
            consumers: page.consumers.into_iter().map(ConsumerOut::from).collect(),
            next_token: page.next.map(|token| token.0),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConsumerOut {
    consumer_name: String,
    #[serde(rename = "ConsumerARN")]
    consumer_arn: String,
    consumer_status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer_creation_timestamp: Option<Time>,
}

impl From<StreamConsumer> for ConsumerOut {
    fn from(consumer: StreamConsumer) -> Self {
        Self {
            consumer_name: consumer.name,
            consumer_arn: consumer.arn.to_string(),
            consumer_status: match consumer.status {
                ConsumerStatus::Creating => "CREATING",
                ConsumerStatus::Deleting => "DELETING",
                // The model knows no others.
                _ => "ACTIVE",
            },
            consumer_creation_timestamp: consumer.created.map(Time::from),
        }
    }
}

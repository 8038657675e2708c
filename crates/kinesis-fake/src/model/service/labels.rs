use kinesis_source::ConsumerArn;

use super::Service;
use crate::model::{Limits, Moment, NoPolicy, Operation, Refusal, Tags, tags};

/// What is attached to a stream or a consumer, and means nothing to the fake.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    tags: Tags,
    /// As it was given: JSON.
    policy: Option<String>,
}

impl Service {
    /// Sets tags of a stream or a consumer, by its ARN (`TagResource`).
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream or consumer; `ResourceInUse` if the stream is being
    /// made or removed; `InvalidArgument` for more than 50 tags in all, and for texts that are too
    /// long or have other characters than they may; `LimitExceeded`. Then none is set.
    pub fn tag_resource(&mut self, arn: &str, more: &Tags, now: Moment) -> Result<(), Refusal> {
        self.add_tags(Operation::TagResource, arn, more, now)
    }

    /// The same for a stream by its name (`AddTagsToStream`).
    ///
    /// # Errors
    ///
    /// As [`tag_resource`](Self::tag_resource).
    pub fn add_tags_to_stream(
        &mut self,
        stream: &str,
        more: &Tags,
        now: Moment,
    ) -> Result<(), Refusal> {
        let arn = self.settings.owner.arn(stream);
        self.add_tags(Operation::AddTagsToStream, &arn, more, now)
    }

    /// Takes tags away from a stream or a consumer, by its ARN (`UntagResource`). Those that there
    /// are not are ignored.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream or consumer; `ResourceInUse` if the stream is being
    /// made or removed; `LimitExceeded`.
    pub fn untag_resource(
        &mut self,
        arn: &str,
        keys: &[String],
        now: Moment,
    ) -> Result<(), Refusal> {
        self.remove_tags(Operation::UntagResource, arn, keys, now)
    }

    /// The same for a stream by its name (`RemoveTagsFromStream`).
    ///
    /// # Errors
    ///
    /// As [`untag_resource`](Self::untag_resource).
    pub fn remove_tags_from_stream(
        &mut self,
        stream: &str,
        keys: &[String],
        now: Moment,
    ) -> Result<(), Refusal> {
        let arn = self.settings.owner.arn(stream);
        self.remove_tags(Operation::RemoveTagsFromStream, &arn, keys, now)
    }

    /// All tags of a stream or a consumer, by its ARN (`ListTagsForResource`).
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream or consumer; `LimitExceeded`.
    pub fn list_tags_for_resource(&mut self, arn: &str, now: Moment) -> Result<Tags, Refusal> {
        self.admit(Operation::ListTagsForResource, now)?;
        Ok(self.labels(arn, now)?.tags.clone())
    }

    /// At most `most` tags of a stream by key, and no more than a [page](Limits::tags_per_page) has, from the first after `after` on, and whether more
    /// follow (`ListTagsForStream`).
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream; `LimitExceeded`.
    pub fn list_tags_for_stream(
        &mut self,
        stream: &str,
        after: Option<&str>,
        most: usize,
        now: Moment,
    ) -> Result<(Tags, bool), Refusal> {
        self.admit(Operation::ListTagsForStream, now)?;
        let most = most.min(self.settings.limits.tags_per_page.max(1));
        let tags = &self.stream(stream, now)?.labels.tags;
        let after = after.unwrap_or_default();
        let mut rest = tags.iter().filter(|(key, _)| key.as_str() > after);
        let page = rest.by_ref().take(most);
        let page = page.map(|(key, value)| (key.clone(), value.clone()));
        let page = page.collect();
        Ok((page, rest.next().is_some()))
    }

    /// Attaches a policy to a stream or a consumer in place of the former one. It is kept, and holds
    /// nobody back.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream or consumer; `ResourceInUse` if the stream is being
    /// made or removed; `InvalidArgument` for one of more than 20 KiB; `LimitExceeded`. Whether it is
    /// JSON is looked at by the HTTP face.
    pub fn put_resource_policy(
        &mut self,
        arn: &str,
        policy: &str,
        now: Moment,
    ) -> Result<(), Refusal> {
        self.admit(Operation::PutResourcePolicy, now)?;
        let most = self.settings.limits.policy_bytes;
        if policy.is_empty() || policy.len() > most {
            return Err(Refusal::invalid_argument(format!(
                "A policy has 1 to {most} bytes, and not {}.",
                policy.len()
            )));
        }
        self.usable_labels(arn, now)?.policy = Some(policy.to_owned());
        Ok(())
    }

    /// The policy of a stream or a consumer.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream or consumer, and without a policy unless
    /// [`NoPolicy`] says otherwise; `LimitExceeded`.
    pub fn get_resource_policy(&mut self, arn: &str, now: Moment) -> Result<String, Refusal> {
        self.admit(Operation::GetResourcePolicy, now)?;
        let without = self.settings.choices.no_policy;
        match (self.labels(arn, now)?.policy.clone(), without) {
            (Some(policy), _) => Ok(policy),
            (None, NoPolicy::Empty) => Ok("{}".to_owned()),
            (None, NoPolicy::Refuse) => Err(no_policy(arn)),
        }
    }

    /// Takes the policy of a stream or a consumer away.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream, consumer or policy; `ResourceInUse` if the stream is
    /// being made or removed; `LimitExceeded`.
    pub fn delete_resource_policy(&mut self, arn: &str, now: Moment) -> Result<(), Refusal> {
        self.admit(Operation::DeleteResourcePolicy, now)?;
        let policy = self.usable_labels(arn, now)?.policy.take();
        policy.map(drop).ok_or_else(|| no_policy(arn))
    }

    fn add_tags(
        &mut self,
        operation: Operation,
        arn: &str,
        more: &Tags,
        now: Moment,
    ) -> Result<(), Refusal> {
        self.admit(operation, now)?;
        let limits = self.settings.limits.clone();
        tags::add(&mut self.usable_labels(arn, now)?.tags, more, &limits)
    }

    fn remove_tags(
        &mut self,
        operation: Operation,
        arn: &str,
        keys: &[String],
        now: Moment,
    ) -> Result<(), Refusal> {
        self.admit(operation, now)?;
        let tags = &mut self.usable_labels(arn, now)?.tags;
        for key in keys {
            tags.remove(key);
        }
        Ok(())
    }

    /// As [`labels`](Self::labels), of what is neither being made nor removed.
    fn usable_labels(&mut self, arn: &str, now: Moment) -> Result<&mut Labels, Refusal> {
        let owner = &self.settings.owner;
        let stream = owner
            .stream_of(arn)
            .or_else(|| Some(owner.consumer_of(arn)?.0));
        if let Some(stream) = stream {
            self.stream(stream, now)?.check_usable()?;
        }
        self.labels(arn, now)
    }

    /// What is attached to a stream or a consumer.
    fn labels(&mut self, arn: &str, now: Moment) -> Result<&mut Labels, Refusal> {
        if let Some(stream) = self.settings.owner.stream_of(arn) {
            return Ok(&mut self.stream(stream, now)?.labels);
        }
        let (stream, name) = self.consumer_of(arn)?;
        let consumer_arn = ConsumerArn::new(arn);
        let stream = self.stream(stream, now)?;
        Ok(&mut stream.consumer(name, Some(&consumer_arn))?.labels)
    }
}

impl Labels {
    /// With those tags, as they come with what is made.
    pub(crate) fn with_tags(tags: &Tags, limits: &Limits) -> Result<Self, Refusal> {
        let mut labels = Self::default();
        tags::add(&mut labels.tags, tags, limits)?;
        Ok(labels)
    }
}

fn no_policy(arn: &str) -> Refusal {
    let shown: String = arn.chars().take(300).collect();
    Refusal::not_found(format!(
        "No resource policy found for resource ARN {shown}."
    ))
}

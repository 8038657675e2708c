use serde::{Deserialize, Serialize};

use super::Call;
use crate::{
    model::{Moment, Refusal, Service, Tags},
    serve::{
        check::{self, Check, Pattern, whole},
        wire::{Most, MostByKey, Nothing, check_stream, count, stream_name},
    },
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AddTagsToStream {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    tags: Option<TagsIn>,
}

impl Call for AddTagsToStream {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn check(&self, check: &mut Check) {
        check_stream(
            check,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        );
        check.required("tags", self.tags.as_ref());
        check_tags(check, self.tags.as_ref(), 1);
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        let stream = stream_name(
            service,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        )?;
        service.add_tags_to_stream(stream, &tags(self.tags.as_ref()), now)?;
        Ok(Nothing {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RemoveTagsFromStream {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    tag_keys: Option<Keys>,
}

impl Call for RemoveTagsFromStream {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn check(&self, check: &mut Check) {
        check_stream(
            check,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        );
        check_keys(check, self.tag_keys.as_ref());
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        let stream = stream_name(
            service,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        )?;
        service.remove_tags_from_stream(stream, keys(self.tag_keys.as_ref()), now)?;
        Ok(Nothing {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListTagsForStream {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    exclusive_start_tag_key: Option<String>,
    limit: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagsAnswer {
    tags: Vec<TagOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    has_more_tags: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TagOut {
    key: String,
    value: String,
}

impl Call for ListTagsForStream {
    type Outcome = TagsAnswer;
    type Answer = TagsAnswer;

    fn check(&self, check: &mut Check) {
        check_stream(
            check,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        );
        let start = self.exclusive_start_tag_key.as_deref();
        check.length(
            "exclusiveStartTagKey",
            start,
            1..=check.limits().tag_key_chars,
        );
        check.range("limit", self.limit, 1..=whole(check.limits().tags_per_page));
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<TagsAnswer, Refusal> {
        let stream = stream_name(
            service,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        )?;
        let after = self.exclusive_start_tag_key.as_deref();
        let most = count(self.limit).unwrap_or(usize::MAX);
        let (tags, more) = service.list_tags_for_stream(stream, after, most, now)?;
        Ok(TagsAnswer {
            tags: out(tags),
            has_more_tags: Some(more),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagResource {
    #[serde(rename = "ResourceARN")]
    resource_arn: Option<String>,
    tags: Option<TagsIn>,
}

impl Call for TagResource {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn check(&self, check: &mut Check) {
        check_resource(check, self.resource_arn.as_deref());
        check.required("tags", self.tags.as_ref());
        check_tags(check, self.tags.as_ref(), 1);
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        let arn = self.resource_arn.as_deref().unwrap_or_default();
        service.tag_resource(arn, &tags(self.tags.as_ref()), now)?;
        Ok(Nothing {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UntagResource {
    #[serde(rename = "ResourceARN")]
    resource_arn: Option<String>,
    tag_keys: Option<Keys>,
}

impl Call for UntagResource {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn check(&self, check: &mut Check) {
        check_resource(check, self.resource_arn.as_deref());
        check_keys(check, self.tag_keys.as_ref());
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        let arn = self.resource_arn.as_deref().unwrap_or_default();
        service.untag_resource(arn, keys(self.tag_keys.as_ref()), now)?;
        Ok(Nothing {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListTagsForResource {
    #[serde(rename = "ResourceARN")]
    resource_arn: Option<String>,
}

impl Call for ListTagsForResource {
    type Outcome = Tags;
    type Answer = TagsAnswer;

    fn check(&self, check: &mut Check) {
        check_resource(check, self.resource_arn.as_deref());
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Tags, Refusal> {
        let arn = self.resource_arn.as_deref().unwrap_or_default();
        service.list_tags_for_resource(arn, now)
    }
}

impl From<Tags> for TagsAnswer {
    fn from(tags: Tags) -> Self {
        Self {
            tags: out(tags),
            has_more_tags: None,
        }
    }
}

/// Values are optional, and then empty.
pub(super) type TagsIn = MostByKey<Option<String>, MOST_READ>;

type Keys = Most<String, MOST_READ>;

pub(super) fn check_tags(check: &mut Check, tags: Option<&TagsIn>, least: usize) {
    let Some(MostByKey(tags)) = tags else { return };
    let keys = || tags.keys().map(String::as_str);
    let values = || tags.values().map(|it| it.as_deref().unwrap_or_default());
    let value = format!("Value {}", check::map(keys().zip(values())));
    let limits = check.limits();
    let (key_chars, value_chars) = (limits.tag_key_chars, limits.tag_value_chars);
    check.length_of(&value, "tags", tags.len(), least..=200);
    check.lengths_within(&value, "tags", "Map keys", keys(), 1..=key_chars);
    check.lengths_within(&value, "tags", "Map value", values(), 0..=value_chars);
}

pub(super) fn tags(tags: Option<&TagsIn>) -> Tags {
    let owned = |(key, value): (&String, &Option<String>)| {
        let value = value.clone().unwrap_or_default();
        (key.clone(), value)
    };
    tags.into_iter()
        .flat_map(|tags| &tags.0)
        .map(owned)
        .collect()
}

fn check_keys(check: &mut Check, keys: Option<&Keys>) {
    check.required("tagKeys", keys);
    let Some(keys) = keys else { return };
    let value = format!("Value {}", check::list(&keys.0));
    check.length_of(&value, "tagKeys", keys.0.len(), 1..=50);
    let keys = keys.0.iter().map(String::as_str);
    let key_chars = check.limits().tag_key_chars;
    check.lengths_within(&value, "tagKeys", "Member", keys, 1..=key_chars);
}

fn keys(keys: Option<&Keys>) -> &[String] {
    keys.map_or(&[], |keys| &keys.0)
}

/// What is wrong with how a request names a stream or a consumer.
pub(super) fn check_resource(check: &mut Check, arn: Option<&str>) {
    check.required("resourceARN", arn);
    check.pattern("resourceARN", arn, Pattern::ResourceArn);
    check.length("resourceARN", arn, 1..=2_048);
}

fn out(tags: Tags) -> Vec<TagOut> {
    let tags = tags.into_iter();
    tags.map(|(key, value)| TagOut { key, value }).collect()
}

/// More are not even read, tags or keys: some get to hear how many there may be, and whoever sends a
/// million keeps nobody waiting.
const MOST_READ: usize = 1_000;

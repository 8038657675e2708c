use std::{fmt::Display, ops::RangeInclusive};

use crate::model::{
    Limits, MOST_WRONG, Refusal, is_consumer_arn, is_resource_arn, is_stream_arn, wrong,
};

/// Collects what is wrong with the members of a request, in the service's own words.
///
/// Clients show these sentences to people, and tests look for them. All that is wrong comes in one
/// refusal: `2 validation errors detected: Value null at 'shardId' failed to satisfy constraint:
/// Member must not be null; …`
#[derive(Debug, Default)]
pub(super) struct Check {
    wrong: Vec<String>,
    limits: Limits,
    keyless: bool,
}

/// What a text must look like, as the service says it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pattern {
    /// Of a stream, a shard or a consumer.
    Name,
    HashKey,
    SequenceNumber,
    StreamArn,
    ConsumerArn,
    /// Of a stream or a consumer.
    ResourceArn,
}

impl Check {
    /// Of a request to a service that allows that much. Where its records are `keyless`, nothing is
    /// wanted of their partition keys.
    pub(super) fn with(limits: Limits, keyless: bool) -> Self {
        Self {
            wrong: Vec::new(),
            limits,
            keyless,
        }
    }

    /// What the service allows.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn done(self) -> Result<(), Refusal> {
        match self.wrong.is_empty() {
            true => Ok(()),
            false => Err(Refusal::invalid(&self.wrong)),
        }
    }

    pub(super) fn required<T>(&mut self, member: impl Display, value: Option<&T>)
    where
        T: ?Sized,
    {
        if value.is_none() {
            let null = "Value null";
            self.add(null, member, "Member must not be null");
        }
    }

    pub(super) fn key(&mut self, member: impl Display, key: Option<&str>) {
        if !self.keyless {
            self.required(&member, key);
            self.length(member, key, 1..=self.limits.partition_key_chars);
        }
    }

    /// The name of a stream, of a shard or of a consumer, if it is given.
    pub(super) fn name(&mut self, member: impl Display, value: Option<&str>) {
        self.pattern(&member, value, Pattern::Name);
        self.length(member, value, 1..=128);
    }

    pub(super) fn pattern(&mut self, member: impl Display, value: Option<&str>, pattern: Pattern) {
        if let Some(value) = value.filter(|value| !pattern.fits(value)) {
            let constraint = format!(
                "Member must satisfy regular expression pattern: {}",
                pattern.text()
            );
            self.add(shown(value), member, constraint);
        }
    }

    pub(super) fn length(
        &mut self,
        member: impl Display,
        value: Option<&str>,
        length: RangeInclusive<usize>,
    ) {
        if let Some(value) = value {
            let chars = value.chars().count();
            self.length_of(shown(value), member, chars, length);
        }
    }

    /// The length of something whose value is shown as `value`.
    pub(super) fn length_of(
        &mut self,
        value: impl Display,
        member: impl Display,
        count: usize,
        length: RangeInclusive<usize>,
    ) {
        let (least, most) = length.into_inner();
        if count < least {
            let constraint = format!("Member must have length greater than or equal to {least}");
            self.add(value, member, constraint);
        } else if count > most {
            let constraint = format!("Member must have length less than or equal to {most}");
            self.add(value, member, constraint);
        }
    }

    /// The lengths of a list's or a map's parts, of which `what` tells which.
    pub(super) fn lengths_within<'a>(
        &mut self,
        value: impl Display,
        member: impl Display,
        what: &str,
        parts: impl IntoIterator<Item = &'a str>,
        length: RangeInclusive<usize>,
    ) {
        let fits = |part: &str| length.contains(&part.chars().count());
        if !parts.into_iter().all(fits) {
            let (least, most) = (length.start(), length.end());
            let constraint = format!(
                "{what} must satisfy constraint: [Member must have length less than or equal to \
                 {most}, Member must have length greater than or equal to {least}]"
            );
            self.add(value, member, constraint);
        }
    }

    pub(super) fn range(
        &mut self,
        member: impl Display,
        value: Option<i64>,
        range: RangeInclusive<i64>,
    ) {
        let Some(value) = value else { return };
        let (least, most) = range.into_inner();
        if value < least {
            let constraint = format!("Member must have value greater than or equal to {least}");
            self.add(shown(value), member, constraint);
        } else if value > most {
            let constraint = format!("Member must have value less than or equal to {most}");
            self.add(shown(value), member, constraint);
        }
    }

    /// How many results are asked for.
    pub(super) fn results(&mut self, member: impl Display, value: Option<i64>) {
        self.range(member, value, 1..=whole(self.limits.results_asked_for));
    }

    pub(super) fn one_of(&mut self, member: impl Display, value: Option<&str>, of: &[&str]) {
        if let Some(value) = value.filter(|value| !of.contains(value)) {
            let constraint = format!("Member must satisfy enum value set: [{}]", of.join(", "));
            self.add(shown(value), member, constraint);
        }
    }

    fn add(&mut self, value: impl Display, member: impl Display, constraint: impl Display) {
        if self.wrong.len() < MOST_WRONG {
            self.wrong.push(wrong(value, member, constraint));
        }
    }
}

impl Pattern {
    fn text(self) -> &'static str {
        match self {
            Self::Name => "[a-zA-Z0-9_.-]+",
            Self::HashKey => r"0|([1-9]\d{0,38})",
            Self::SequenceNumber => r"0|([1-9]\d{0,128})",
            Self::StreamArn => r"arn:aws.*:kinesis:.*:\d{12}:stream/\S+",
            Self::ConsumerArn => {
                r"^(arn):aws.*:kinesis:.*:\d{12}:.*stream\/[a-zA-Z0-9_.-]+\/consumer\/[a-zA-Z0-9_.-]+:[0-9]+"
            }
            Self::ResourceArn => r"arn:aws.*:kinesis:.*:\d{12}:.*stream/\S+",
        }
    }

    fn fits(self, text: &str) -> bool {
        let number = |most: usize| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            digits
                && (text == "0" || !text.is_empty() && !text.starts_with('0'))
                && text.len() <= most
        };
        match self {
            Self::Name => {
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
                !text.is_empty() && text.bytes().all(fits)
            }
            Self::HashKey => number(39),
            Self::SequenceNumber => number(129),
            Self::StreamArn => is_stream_arn(text),
            Self::ConsumerArn => is_consumer_arn(text),
            Self::ResourceArn => is_resource_arn(text),
        }
    }
}

/// A list as the service shows it, cut short.
pub(super) fn list<T: Display>(parts: impl IntoIterator<Item = T>) -> String {
    format!("'[{}]'", joined(parts))
}

/// A map as the service shows it, cut short.
pub(super) fn map<'a>(parts: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let parts = parts.into_iter();
    let parts = parts.map(|(key, value)| format!("{key:.2048}={value:.2048}"));
    format!("'{{{}}}'", joined(parts))
}

fn joined<T: Display>(parts: impl IntoIterator<Item = T>) -> String {
    let mut all = String::new();
    for (place, part) in parts.into_iter().enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        all += &format!("{comma}{part:.2048}");
        if all.len() > LONGEST {
            return all.chars().take(LONGEST).collect();
        }
    }
    all
}

/// Cut short: whoever sent megabytes need not be sent them back.
fn shown(value: impl Display) -> String {
    let value = value.to_string();
    let cut = value.chars().take(LONGEST).collect::<String>();
    format!("Value '{cut}'")
}

const LONGEST: usize = 2_048;

/// A limit, as a request's numbers are.
pub(super) fn whole(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(check: Check) -> String {
        check.done().unwrap_err().message().to_owned()
    }

    #[test]
    fn what_is_wrong_is_told_in_one_sentence_in_order() {
        let mut check = Check::default();
        check.required::<str>("shardId", None);
        check.name("streamName", Some("a/b"));
        check.range("limit", Some(0), 1..=10_000);
        check.one_of("shardIteratorType", Some("x"), &["LATEST", "TRIM_HORIZON"]);
        assert_eq!(
            message(check),
            "4 validation errors detected: Value null at 'shardId' failed to satisfy constraint: \
             Member must not be null; Value 'a/b' at 'streamName' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; Value '0' at \
             'limit' failed to satisfy constraint: Member must have value greater than or equal to \
             1; Value 'x' at 'shardIteratorType' failed to satisfy constraint: Member must satisfy \
             enum value set: [LATEST, TRIM_HORIZON]"
        );
    }

    #[test]
    fn nothing_wrong_is_no_refusal_and_absent_members_are_not_looked_at() {
        let mut check = Check::default();
        check.required("shardId", Some("s"));
        check.name("streamName", None);
        check.length("partitionKey", Some(&"é".repeat(256)), 1..=256);
        check.range("limit", Some(10_000), 1..=10_000);
        check.done().unwrap();
    }

    #[test]
    fn numbers_have_no_leading_zeros_and_so_many_digits_at_most() {
        for (text, hash_key, number) in [
            ("0", true, true),
            ("10", true, true),
            ("01", false, false),
            ("", false, false),
            ("-1", false, false),
            ("1 ", false, false),
            (&*"9".repeat(39), true, true),
            (&*"9".repeat(40), false, true),
            (&*"9".repeat(130), false, false),
        ] {
            assert_eq!(Pattern::HashKey.fits(text), hash_key, "{text}");
            assert_eq!(Pattern::SequenceNumber.fits(text), number, "{text}");
        }
    }

    #[test]
    fn a_refusal_stays_short_whatever_is_sent() {
        let mut check = Check::default();
        for number in 0..1_000 {
            check.name(format_args!("records.{number}"), Some(&"/".repeat(1 << 20)));
        }
        let message = message(check);
        assert!(message.starts_with("10 validation errors detected: "));
        assert!(message.len() < 30_000);
    }
}

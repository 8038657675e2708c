use super::{ForeignArn, Refusal};

/// Whose streams they are: those of an account, in a region. That is part of every ARN.
///
/// ```
/// use kinesis_fake::model::Owner;
///
/// let owner = Owner::new("123456789012", "cn-north-1").expect("twelve digits and a region");
/// let arn = owner.arn("orders");
/// assert_eq!(arn, "arn:aws-cn:kinesis:cn-north-1:123456789012:stream/orders");
/// assert_eq!(owner.stream_of(&arn), Some("orders"));
/// assert_eq!(Owner::default().stream_of(&arn), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    account: String,
    region: String,
}

/// Account `000000000000` in `us-east-1`.
impl Default for Owner {
    fn default() -> Self {
        Self {
            account: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
        }
    }
}

impl Owner {
    /// An account of twelve digits in a region, whose name has small letters, digits and `-`. `None`
    /// if either is something else.
    pub fn new(account: &str, region: &str) -> Option<Self> {
        let named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_region = !region.is_empty() && region.len() <= 64 && region.bytes().all(named);
        (is_account(account) && is_region).then(|| Self {
            account: account.to_owned(),
            region: region.to_owned(),
        })
    }

    /// The account's number.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The region's name.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The ARN of the stream of that name.
    pub fn arn(&self, stream: &str) -> String {
        let Self { account, region } = self;
        let partition = partition(region);
        format!("arn:{partition}:kinesis:{region}:{account}:stream/{stream}")
    }

    /// The name of the stream of that ARN; `None` if it is no ARN of a stream of this owner.
    pub fn stream_of<'a>(&self, arn: &'a str) -> Option<&'a str> {
        let name = self.own(arn)?.strip_prefix("stream/")?;
        (!name.is_empty() && !name.contains('/')).then_some(name)
    }

    /// The names of stream and consumer of that ARN; `None` if it is no ARN of a consumer of this
    /// owner.
    pub fn consumer_of<'a>(&self, arn: &'a str) -> Option<(&'a str, &'a str)> {
        let (stream, consumer) = consumer_in(self.own(arn)?.strip_prefix("stream/")?)?;
        (!stream.contains('/')).then_some((stream, consumer))
    }

    /// Why an ARN that is none of this owner's is refused.
    pub(crate) fn refuse(&self, arn: &str, foreign: ForeignArn) -> Refusal {
        let Self { account, region } = self;
        // Not repeated in full: it may be anything.
        let shown: String = arn.chars().take(300).collect();
        match Arn::parse(arn) {
            Some(arn) if arn.account != account && foreign == ForeignArn::AccessDenied => {
                Refusal::new(
                    "AccessDeniedException",
                    format!(
                        "Account {account} is not authorized to use {shown}: no resource-based \
                         policy of account {} allows it.",
                        arn.account
                    ),
                )
            }
            Some(arn) if arn.region != region => Refusal::not_found(format!(
                "{shown} is in another region than this endpoint, which is in {region}."
            )),
            _ => Refusal::not_found(format!(
                "{shown} is no ARN of a stream or a consumer under account {account}."
            )),
        }
    }

    fn own<'a>(&self, arn: &'a str) -> Option<&'a str> {
        let arn = Arn::parse(arn)?;
        let is_own = arn.account == self.account
            && arn.region == self.region
            && arn.partition == partition(&self.region);
        is_own.then_some(arn.resource)
    }
}

/// The ARN of a consumer of a stream, which ends in the second of its registration.
pub(crate) fn consumer_arn(stream_arn: &str, consumer: &str, second: u64) -> String {
    format!("{stream_arn}/consumer/{consumer}:{second}")
}

/// Whether a text is an ARN, whoever's: of a stream, as API StreamARN has it.
#[cfg(feature = "serve")]
pub(crate) fn is_stream_arn(text: &str) -> bool {
    let resource = Arn::parse(text).and_then(|arn| arn.resource.strip_prefix("stream/"));
    resource.is_some_and(is_word)
}

/// The same of a consumer, as API ConsumerARN has it.
#[cfg(feature = "serve")]
pub(crate) fn is_consumer_arn(text: &str) -> bool {
    let named = |name: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        !name.is_empty() && name.bytes().all(fits)
    };
    let resource = Arn::parse(text).and_then(|arn| arn.resource.split_once("stream/"));
    let names = resource.and_then(|(_, resource)| consumer_in(resource));
    names.is_some_and(|(stream, consumer)| named(stream) && named(consumer))
}

/// The same of either, as API ResourceARN has it.
#[cfg(feature = "serve")]
pub(crate) fn is_resource_arn(text: &str) -> bool {
    let resource = Arn::parse(text).and_then(|arn| arn.resource.split_once("stream/"));
    resource.is_some_and(|(_, resource)| is_word(resource))
}

#[cfg(feature = "serve")]
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace)
}

/// An ARN of this service, whoever's.
struct Arn<'a> {
    partition: &'a str,
    region: &'a str,
    account: &'a str,
    resource: &'a str,
}

impl<'a> Arn<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<_> = text.splitn(6, ':').collect();
        let ["arn", partition, "kinesis", region, account, resource] = parts[..] else {
            return None;
        };
        let fits = partition.starts_with("aws") && is_account(account);
        fits.then_some(Self {
            partition,
            region,
            account,
            resource,
        })
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The names in `STREAM/consumer/NAME:SECOND`.
fn consumer_in(resource: &str) -> Option<(&str, &str)> {
    let (stream, rest) = resource.split_once("/consumer/")?;
    let (consumer, second) = rest.rsplit_once(':')?;
    let numbered = !second.is_empty() && second.bytes().all(|it| it.is_ascii_digit());
    (numbered && !stream.is_empty() && !consumer.is_empty()).then_some((stream, consumer))
}

/// IAM guide "Amazon Resource Names": China and the government's regions are partitions of their own.
fn partition(region: &str) -> &'static str {
    match region {
        it if it.starts_with("cn-") => "aws-cn",
        it if it.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_is_a_streams_or_a_consumers() {
        for owner in [
            Owner::default(),
            Owner::new("123456789012", "eu-west-1").unwrap(),
            Owner::new("123456789012", "us-gov-west-1").unwrap(),
        ] {
            let stream = owner.arn("orders");
            let consumer = consumer_arn(&stream, "audit", 1_767_225_600);
            assert_eq!(owner.stream_of(&stream), Some("orders"));
            assert_eq!(owner.consumer_of(&stream), None);
            assert_eq!(owner.consumer_of(&consumer), Some(("orders", "audit")));
            assert_eq!(owner.stream_of(&consumer), None);
            for arn in ["", "orders", "arn:aws:kinesis:us-east-1:1:stream/orders"] {
                let found = (owner.stream_of(arn), owner.consumer_of(arn));
                assert_eq!(found, (None, None), "{arn}");
            }
            for end in ["audit", "audit:", "audit:x", ":1"] {
                let arn = format!("{stream}/consumer/{end}");
                assert_eq!(owner.consumer_of(&arn), None);
            }
        }
    }

    #[test]
    fn an_account_has_twelve_digits_and_a_region_a_name() {
        for (account, region, fits) in [
            ("000000000000", "us-east-1", true),
            ("00000000000", "us-east-1", false),
            ("0000000000000", "us-east-1", false),
            ("00000000000x", "us-east-1", false),
            ("000000000000", "", false),
            ("000000000000", "us east", false),
            ("000000000000", "us:east", false),
        ] {
            let owner = Owner::new(account, region);
            assert_eq!(owner.is_some(), fits, "{account} {region}");
        }
    }

    #[test]
    fn what_is_another_owners_is_refused_by_what_differs() {
        let owner = Owner::default();
        let of = |account, region| Owner::new(account, region).unwrap().arn("orders");
        let other_account = of("111111111111", "us-east-1");
        let other_region = of("000000000000", "eu-west-1");
        let other_partition = of("000000000000", "us-east-1").replace("aws", "aws-cn");
        for (arn, foreign, code) in [
            (&*other_account, ForeignArn::AccessDenied, "AccessDenied"),
            (&*other_account, ForeignArn::NotFound, "ResourceNotFound"),
            (&*other_region, ForeignArn::AccessDenied, "ResourceNotFound"),
            (
                &*other_partition,
                ForeignArn::AccessDenied,
                "ResourceNotFound",
            ),
            (
                "arn:aws:s3:::bucket",
                ForeignArn::AccessDenied,
                "ResourceNotFound",
            ),
        ] {
            assert_eq!((owner.stream_of(arn), owner.consumer_of(arn)), (None, None));
            let refusal = owner.refuse(arn, foreign);
            assert_eq!(refusal.code(), format!("{code}Exception"), "{arn}");
        }
        let refusal = owner.refuse(&other_region, ForeignArn::default());
        assert!(refusal.message().contains("which is in us-east-1"));
    }

    #[cfg(feature = "serve")]
    #[test]
    fn the_shape_of_an_arn_is_that_of_the_api() {
        let stream = Owner::default().arn("orders");
        let consumer = consumer_arn(&stream, "audit", 1);
        for (text, is_stream, is_consumer, is_resource) in [
            (&*stream, true, false, true),
            (&*consumer, true, true, true),
            (
                "arn:aws-x:kinesis::123456789012:stream/x",
                true,
                false,
                true,
            ),
            (
                "arn:aws:kinesis:r:123456789012:x/stream/x",
                false,
                false,
                true,
            ),
            ("arn:aws:kinesis:r:1:stream/x", false, false, false),
            (
                "arn:aws:kinesis:r:123456789012:stream/",
                false,
                false,
                false,
            ),
            (
                "arn:aws:kinesis:r:123456789012:stream/a b",
                false,
                false,
                false,
            ),
            ("arn:aws:s3:::bucket", false, false, false),
            ("orders", false, false, false),
            ("", false, false, false),
        ] {
            assert_eq!(is_stream_arn(text), is_stream, "{text}");
            assert_eq!(is_consumer_arn(text), is_consumer, "{text}");
            assert_eq!(is_resource_arn(text), is_resource, "{text}");
        }
    }
}

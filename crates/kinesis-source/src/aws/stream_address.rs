use std::fmt;

/// A stream, by its name in the caller's own account or by its ARN in whatever account.
#[derive(Clone)]
pub(super) enum StreamAddress {
    Name(String),
    Arn {
        arn: String,
        region: String,
        name: String,
    },
}

/// The most characters of a stream's name.
/// ([CreateStream](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_CreateStream.html))
const MAX_NAME: usize = 128;

impl StreamAddress {
    /// `None` if it is neither a name nor an ARN.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if !text.starts_with("arn:") {
            return is_name(text).then(|| Self::Name(text.to_owned()));
        }
        // arn:aws:kinesis:eu-central-1:123456789012:stream/orders
        let mut parts = text.splitn(6, ':').skip(2);
        let (service, region) = (parts.next()?, parts.next()?);
        let name = parts.nth(1)?.strip_prefix("stream/")?;
        let is_arn = service == "kinesis" && !region.is_empty() && is_name(name);
        is_arn.then(|| Self::Arn {
            arn: text.to_owned(),
            region: region.to_owned(),
            name: name.to_owned(),
        })
    }

    /// What goes into `StreamName`: nothing if there is an ARN.
    pub(super) fn name(&self) -> Option<String> {
        match self {
            Self::Name(name) => Some(name.clone()),
            Self::Arn { .. } => None,
        }
    }

    /// What goes into `StreamARN`.
    pub(super) fn arn(&self) -> Option<String> {
        match self {
            Self::Name(_) => None,
            Self::Arn { arn, .. } => Some(arn.clone()),
        }
    }

    /// The stream's name, whichever way it is addressed.
    pub(super) fn own_name(&self) -> &str {
        match self {
            Self::Name(name) | Self::Arn { name, .. } => name,
        }
    }

    /// The region that an ARN says.
    pub(super) fn region(&self) -> Option<&str> {
        match self {
            Self::Name(_) => None,
            Self::Arn { region, .. } => Some(region),
        }
    }
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    !text.is_empty() && text.len() <= MAX_NAME && text.bytes().all(allowed)
}

impl fmt::Debug for StreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Name(text) | Self::Arn { arn: text, .. }) = self;
        text.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_says_region_and_name() {
        let arn = "arn:aws-cn:kinesis:cn-north-1:123456789012:stream/orders.v2";
        let stream = StreamAddress::parse(arn).unwrap();
        assert_eq!(stream.arn().as_deref(), Some(arn));
        assert_eq!(stream.name(), None);
        assert_eq!(stream.own_name(), "orders.v2");
        assert_eq!(stream.region(), Some("cn-north-1"));
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in [
            "",
            "or ders",
            "orders/1",
            &"x".repeat(129),
            "arn:",
            "arn:aws:kinesis",
            "arn:aws:kinesis:eu-central-1:123456789012:stream/",
            "arn:aws:kinesis:eu-central-1:123456789012:table/orders",
            "arn:aws:kinesis:eu-central-1:123456789012:stream/orders/consumer/x:1",
            "arn:aws:kinesis::123456789012:stream/orders",
            "arn:aws:sqs:eu-central-1:123456789012:stream/orders",
        ] {
            assert!(StreamAddress::parse(text).is_none(), "{text}");
        }
        assert_eq!(
            StreamAddress::parse("orders").unwrap().name().as_deref(),
            Some("orders")
        );
    }
}

/// The account that all streams belong to.
pub(crate) const ACCOUNT: &str = "000000000000";
const ARN_PREFIX: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/";

/// The ARN of the stream of that name.
pub fn arn(stream: &str) -> String {
    format!("{ARN_PREFIX}{stream}")
}

/// The name of the stream of that ARN; `None` if it is no ARN of a stream of this service.
pub fn stream_of(arn: &str) -> Option<&str> {
    let name = arn.strip_prefix(ARN_PREFIX)?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

/// The ARN of a consumer of a stream, which ends in the second of its registration.
pub(crate) fn consumer_arn(stream: &str, consumer: &str, second: u64) -> String {
    format!("{ARN_PREFIX}{stream}/consumer/{consumer}:{second}")
}

/// The names of stream and consumer of that ARN; `None` if it is no ARN of a consumer of this
/// service.
pub fn consumer_of(arn: &str) -> Option<(&str, &str)> {
    let rest = arn.strip_prefix(ARN_PREFIX)?;
    let (stream, rest) = rest.split_once("/consumer/")?;
    let (consumer, second) = rest.rsplit_once(':')?;
    let numbered = !second.is_empty() && second.bytes().all(|it| it.is_ascii_digit());
    let named = !stream.is_empty() && !stream.contains('/') && !consumer.is_empty();
    (numbered && named).then_some((stream, consumer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_is_a_streams_or_a_consumers() {
        let stream = arn("orders");
        let consumer = consumer_arn("orders", "audit", 1_767_225_600);
        assert_eq!(stream_of(&stream), Some("orders"));
        assert_eq!(consumer_of(&stream), None);
        assert_eq!(consumer_of(&consumer), Some(("orders", "audit")));
        assert_eq!(stream_of(&consumer), None);
        for arn in ["", "orders", "arn:aws:kinesis:us-east-1:1:stream/orders"] {
            assert_eq!((stream_of(arn), consumer_of(arn)), (None, None), "{arn}");
        }
        for end in ["audit", "audit:", "audit:x", ":1"] {
            assert_eq!(consumer_of(&format!("{stream}/consumer/{end}")), None);
        }
    }
}

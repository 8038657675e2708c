use hyper::{HeaderMap, header::CONTENT_TYPE};
use serde::{Serialize, de::DeserializeOwned};

use super::{items, wire::Object};
use crate::model::{INTERNAL_FAILURE, Refusal};

/// How requests and answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// AWS JSON 1.1: bytes are base64, times are seconds.
    Json,
    /// AWS CBOR 1.1, which the Java SDK speaks: bytes are bytes, times are milliseconds under tag 1
    /// (where CBOR's own rule is seconds).
    Cbor,
}

impl Format {
    /// The one that a request's headers name, if it is one of these.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        // RFC 9110, 8.3.1: of a media type, upper and lower case mean the same; parameters may follow.
        let media_type = content_type.split(';').next()?.trim().to_ascii_lowercase();
        match media_type.as_str() {
            AMZ_JSON | "application/json" => Some(Self::Json),
            AMZ_CBOR | "application/cbor" => Some(Self::Cbor),
            _ => None,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => AMZ_JSON,
            Self::Cbor => AMZ_CBOR,
        }
    }

    pub(super) fn read<T: DeserializeOwned>(self, body: &[u8]) -> Result<T, Refusal> {
        let object: Result<Object<T>, Refusal> = match self {
            Self::Json => serde_json::from_slice(body).map_err(|error| not_understood(&error)),
            Self::Cbor => {
                if !items::has_at_most(MOST_ITEMS, body) {
                    let error = format!("there are more than {MOST_ITEMS} items");
                    return Err(not_understood(&error));
                }
                let mut rest = body;
                let value = ciborium::de::from_reader_with_recursion_limit(&mut rest, DEEPEST)
                    .map_err(|error| not_understood(&error))?;
                match rest {
                    [] => Ok(value),
                    _ => Err(not_understood(&"bytes follow the request")),
                }
            }
        };
        object.map(|object| object.0)
    }

    /// The same; a large body is read on a thread of its own, lest the calls of others wait for that.
    ///
    /// Dropped, it goes on there to its end, with the body in its place.
    pub(super) async fn read_aside<T, B>(self, body: &B) -> Result<T, Refusal>
    where
        T: DeserializeOwned + Send + 'static,
        B: AsRef<[u8]> + Clone + Send + 'static,
    {
        if body.as_ref().len() <= QUICKLY_READ {
            return self.read(body.as_ref());
        }
        let body = body.clone();
        let reading = tokio::task::spawn_blocking(move || self.read(body.as_ref()));
        let failed =
            |error: tokio::task::JoinError| Err(Refusal::new(INTERNAL_FAILURE, error.to_string()));
        reading.await.unwrap_or_else(failed)
    }

    pub(super) fn write<T: Serialize>(self, answer: &T) -> Result<Vec<u8>, Refusal> {
        self.write_into(Vec::new(), answer)
    }

    /// Writes at the end of what may have room for it already: growing takes twice as much.
    pub(super) fn write_into<T: Serialize>(
        self,
        mut bytes: Vec<u8>,
        answer: &T,
    ) -> Result<Vec<u8>, Refusal> {
        let failed = |error: String| Refusal::new(INTERNAL_FAILURE, error);
        match self {
            Self::Json => serde_json::to_writer(&mut bytes, answer)
                .map_err(|error| failed(error.to_string()))?,
            Self::Cbor => ciborium::into_writer(answer, &mut bytes)
                .map_err(|error| failed(error.to_string()))?,
        }
        Ok(bytes)
    }
}

/// Tells where the text stops making sense. That may repeat what the client sent, to the client.
fn not_understood(error: &dyn std::fmt::Display) -> Refusal {
    let message = error.to_string().chars().take(300).collect::<String>();
    Refusal::new("SerializationException", message)
}

const AMZ_JSON: &str = "application/x-amz-json-1.1";
const AMZ_CBOR: &str = "application/x-amz-cbor-1.1";
/// Requests are five deep. (serde_json's own limit is 128.)
const DEEPEST: usize = 64;
/// The most items of CBOR: a PutRecords of 500 records has some 5,000.
const MOST_ITEMS: usize = 65_536;
/// A body of so many bytes is read at once, in a millisecond or so at the worst.
const QUICKLY_READ: usize = 64 * 1_024;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::serve::wire::{Blob, Time};

    #[test]
    fn a_media_type_is_in_any_case_and_may_have_parameters() {
        for (said, format) in [
            ("application/x-amz-json-1.1", Some(Format::Json)),
            ("Application/X-AMZ-Json-1.1", Some(Format::Json)),
            ("application/json ; charset=UTF-8", Some(Format::Json)),
            ("APPLICATION/JSON;charset=utf-8;v=1", Some(Format::Json)),
            ("application/X-Amz-Cbor-1.1", Some(Format::Cbor)),
            (" Application/CBOR ", Some(Format::Cbor)),
            ("application/x-amz-json-1.0", None),
            ("application/jsonx", None),
            (";", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, said.parse().unwrap());
            assert_eq!(Format::of(&headers), format, "{said:?}");
        }
    }

    #[derive(serde::Deserialize, serde::Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Sample {
        blob: Blob,
        time: Option<Time>,
    }

    /// Bytes as the Java SDK sends them: a map of no stated length, bytes as bytes, and
    /// milliseconds under tag 1.
    #[test]
    fn cbor_is_read_as_the_java_sdk_writes_it() {
        let bytes = b"\xbf\x64Blob\x43abc\x64Time\xc1\x1b\x00\x00\x01\xa0\x13\xac\xcc\x38\xff";
        let sample: Sample = Format::Cbor.read(bytes).unwrap();
        assert_eq!(&sample.blob.0[..], b"abc");
        let time = kinesis_source::Timestamp::from(sample.time.unwrap());
        assert_eq!(time.as_millis(), 0x01a0_13ac_cc38);
        let written = Format::Cbor.write(&sample).unwrap();
        assert_eq!(written[0], 0xa2, "a map of two");
        assert_eq!(written[1..], bytes[1..bytes.len() - 1]);
    }

    #[test]
    fn a_time_may_lack_its_tag_and_be_any_number() {
        for (number, millis) in [
            (&b"\x19\x03\xe8"[..], 1_000),
            (b"\xc1\x19\x03\xe8", 1_000),
            (b"\x20", -1),
            (b"\xf9\x3c\x00", 1),
            (b"\xfb\x7f\xef\xff\xff\xff\xff\xff\xff", i64::MAX),
        ] {
            let bytes = [b"\xa2\x64Blob\x40\x64Time", number].concat();
            let sample: Sample = Format::Cbor.read(&bytes).unwrap();
            let time = kinesis_source::Timestamp::from(sample.time.unwrap());
            assert_eq!(time.as_millis(), millis, "{number:x?}");
        }
    }

    #[test]
    fn json_has_base64_and_seconds() {
        let text = br#"{"Blob":"YWJj","Time":1.5}"#;
        let sample: Sample = Format::Json.read(text).unwrap();
        assert_eq!(&sample.blob.0[..], b"abc");
        assert_eq!(Format::Json.write(&sample).unwrap(), text);
    }

    #[test]
    fn cbor_of_very_many_items_is_refused_unread() {
        for items in [MOST_ITEMS / 2, 16 << 20] {
            // Under a name that no request has: a list of empty lists.
            let bytes = [
                b"\xa2\x64Blob\x40\x61X\x9f",
                &vec![0x80; items][..],
                b"\xff",
            ]
            .concat();
            let read = Format::Cbor.read::<Sample>(&bytes).map(drop);
            let message = read.map_err(|refusal| refusal.message().to_owned());
            match items > MOST_ITEMS {
                false => assert_eq!(message, Ok(())),
                true => assert!(message.unwrap_err().contains("more than 65536 items")),
            }
        }
    }

    /// Which thread it was read on.
    struct ReadOn(std::thread::ThreadId);

    impl<'de> serde::Deserialize<'de> for ReadOn {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            serde::de::IgnoredAny::deserialize(deserializer)?;
            Ok(Self(std::thread::current().id()))
        }
    }

    #[tokio::test]
    async fn a_large_body_is_read_on_a_thread_of_its_own() {
        let here = std::thread::current().id();
        for (bytes, aside) in [(2, false), (QUICKLY_READ, false), (QUICKLY_READ + 1, true)] {
            let body = Bytes::from(format!("{{{}}}", " ".repeat(bytes - 2)));
            let read = Format::Json.read_aside::<ReadOn, _>(&body).await.unwrap();
            assert_eq!(read.0 != here, aside, "{bytes}");
        }
    }

    #[test]
    fn hostile_cbor_is_refused() {
        let deep = [&[0x81; 100_000][..], b"\x00"].concat();
        let huge_bytes = b"\xa1\x64Blob\x5b\xff\xff\xff\xff\xff\xff\xff\xff";
        let huge_list = b"\xa1\x64Blob\x9b\xff\xff\xff\xff\xff\xff\xff\xff\x00";
        let deep_inside = [&b"\xa1\x64Else"[..], &deep].concat();
        for bytes in [
            &b""[..],
            b"\xff",
            b"\xf6",
            b"\xa0",
            b"\xa1\x64Blob\x63abc",
            b"\xa1\x64Blob\x40\x00",
            b"\xa1\x64Blob\x5f\x41a",
            &deep,
            &deep_inside,
            huge_bytes,
            huge_list,
        ] {
            let read = Format::Cbor.read::<Sample>(bytes);
            let refusal = read.map(drop).unwrap_err();
            assert_eq!(refusal.code(), "SerializationException");
        }
    }
}

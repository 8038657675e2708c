//! AWS's encoding of a stream of events, `application/vnd.amazon.eventstream`.
//!
//! ```text
//! total length │ headers' length │ CRC of these two │ headers │ payload │ CRC of all before
//!      4       │        4        │        4         │         │         │        4
//! ```
//!
//! ([Event stream encoding](https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html))

use super::format::Format;
use crate::{
    model::{INTERNAL_FAILURE, Refusal},
    serve::garble,
};

pub(super) const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// The frame that says that all is well: some clients wait for it.
pub(super) fn initial_response(format: Format) -> Vec<u8> {
    #[derive(serde::Serialize)]
    struct Nothing {}
    let payload = format.write(&Nothing {}).expect("nothing can be written");
    event("initial-response", format, &payload)
}

pub(super) fn event(kind: &str, format: Format, payload: &[u8]) -> Vec<u8> {
    let headers = [
        (":message-type", "event"),
        (":event-type", kind),
        (":content-type", format.content_type()),
    ];
    frame(&headers, payload)
}

/// The frame that ends a stream with an error.
pub(super) fn exception(refusal: &Refusal, format: Format) -> Vec<u8> {
    #[derive(serde::Serialize)]
    struct Message<'a> {
        message: &'a str,
    }
    let message = Message {
        message: refusal.message(),
    };
    let payload = format.write(&message).expect("a text can be written");
    // The one that bears two names.
    let code = match refusal.code() {
        INTERNAL_FAILURE => "InternalFailureException",
        code => code,
    };
    let mut headers = vec![
        (":message-type", "exception"),
        (":exception-type", code),
        (":content-type", format.content_type()),
    ];
    if !MODELLED.contains(&code) {
        // Where boto3 looks for what is none of these.
        headers.push((":error-code", code));
        headers.push((":error-message", refusal.message()));
    }
    frame(&headers, &payload)
}

/// Makes of an event's frame one that nobody can read, in a way that is drawn.
pub(super) fn garbled(kind: &str, format: Format, payload: Vec<u8>, draw: u64) -> Vec<u8> {
    let (way, rest) = (draw % 4, draw / 4);
    let mut whole = event(kind, format, &payload);
    match way {
        // Either checksum.
        0 => {
            let at = if rest.is_multiple_of(2) {
                8
            } else {
                whole.len() - 1
            };
            whole[at] ^= 0x55;
            whole
        }
        // It breaks off, anywhere.
        1 => {
            whole.truncate(1 + (rest % (whole.len() as u64 - 1)) as usize);
            whole
        }
        // It says that it has 2 GiB.
        2 => {
            whole[..4].copy_from_slice(&(1_u32 << 31).to_be_bytes());
            let sum = crc32fast::hash(&whole[..8]);
            whole[8..12].copy_from_slice(&sum.to_be_bytes());
            whole
        }
        // It is whole, and what is in it makes no sense.
        _ => event(kind, format, &garble::garble(payload, format, rest)),
    }
}

fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in headers {
        let value = shortened(value);
        head.push(u8::try_from(name.len()).expect("our names are short"));
        head.extend_from_slice(name.as_bytes());
        head.push(TEXT);
        head.extend_from_slice(&(value.len() as u16).to_be_bytes());
        head.extend_from_slice(value.as_bytes());
    }
    let length = |bytes: usize| {
        u32::try_from(bytes)
            .expect("events have a few MiB")
            .to_be_bytes()
    };
    let mut frame = Vec::with_capacity(OVERHEAD + head.len() + payload.len());
    frame.extend_from_slice(&length(OVERHEAD + head.len() + payload.len()));
    frame.extend_from_slice(&length(head.len()));
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame.extend_from_slice(&head);
    frame.extend_from_slice(payload);
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame
}

/// A header's text has at most 32 KiB; ours come from tests, and may be anything.
fn shortened(text: &str) -> &str {
    let end = (0..=text.len().min(LONGEST))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

/// The exceptions that a subscription can have among its events by the service's model
/// ([SubscribeToShardEventStream](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShardEventStream.html)).
/// Clients know them by their type, and others, if at all, by the headers of an error.
const MODELLED: [&str; 9] = [
    "InternalFailureException",
    "KMSAccessDeniedException",
    "KMSDisabledException",
    "KMSInvalidStateException",
    "KMSNotFoundException",
    "KMSOptInRequired",
    "KMSThrottlingException",
    "ResourceInUseException",
    "ResourceNotFoundException",
];
/// The type of a header whose value is text.
const TEXT: u8 = 7;
const LONGEST: usize = 1_024;
/// Two lengths and two checksums.
const OVERHEAD: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that AWS's documents give in full: a frame without headers or payload, and what
    /// is known of CRC-32.
    #[test]
    fn an_empty_frame_is_as_documented() {
        let frame = frame(&[], b"");
        let documented = [
            0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98,
            0xc8, 0xff,
        ];
        assert_eq!(frame, documented);
    }

    #[test]
    fn a_frame_says_how_long_it_is_and_what_it_has() {
        let frame = event("SubscribeToShardEvent", Format::Json, b"{}");
        let number = |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().unwrap());
        assert_eq!(number(0) as usize, frame.len());
        assert_eq!(number(8), crc32fast::hash(&frame[..8]));
        let headers = &frame[12..12 + number(4) as usize];
        assert!(headers.starts_with(b"\x0d:message-type\x07\x00\x05event"));
        assert_eq!(&frame[12 + headers.len()..frame.len() - 4], b"{}");
        let end = frame.len() - 4;
        assert_eq!(number(end), crc32fast::hash(&frame[..end]));
    }

    #[test]
    fn a_garbled_frame_is_none_or_has_nothing_in_it() {
        let payload = br#"{"Records":[],"MillisBehindLatest":0}"#;
        let good = event("SubscribeToShardEvent", Format::Json, payload);
        for draw in 0..1_000 {
            let bad = garbled(
                "SubscribeToShardEvent",
                Format::Json,
                payload.to_vec(),
                draw,
            );
            let number = |at: usize| {
                let bytes = bad.get(at..at + 4)?.try_into().ok()?;
                Some(u32::from_be_bytes(bytes))
            };
            let sound = number(0) == Some(bad.len() as u32)
                && number(8) == Some(crc32fast::hash(&bad[..8]))
                && number(bad.len() - 4) == Some(crc32fast::hash(&bad[..bad.len() - 4]));
            assert_ne!(bad, good);
            if sound {
                let headers = number(4).unwrap() as usize;
                let inside = &bad[12 + headers..bad.len() - 4];
                let value: Result<serde_json::Value, _> = serde_json::from_slice(inside);
                assert!(!value.is_ok_and(|value| value["Records"].is_array()));
            }
        }
    }
}

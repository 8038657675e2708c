use super::format::Format;

/// Makes of a body one that nobody can read, in a way that is drawn. None of them can be taken for
/// an answer: what a client made of that would be no garbled answer but a wrong one.
pub(super) fn garble(body: Vec<u8>, format: Format, draw: u64) -> Vec<u8> {
    let (way, rest) = (draw % WAYS, draw / WAYS);
    match (way, format) {
        // Of nothing, no piece can be missing.
        (0, _) if !body.is_empty() => broken_off(body, rest),
        // No text begins so, and in CBOR it is the end of something that has not begun.
        (1, _) => [b"\xff", &*body].concat(),
        (0 | 2, _) => PAGE.to_vec(),
        (3, Format::Json) => SENSELESS.to_vec(),
        (3, Format::Cbor) => HUGE.to_vec(),
        (_, Format::Json) => vec![b'['; DEEP],
        (_, Format::Cbor) => vec![0x81; DEEP],
    }
}

/// An answer is a map: of more than one byte, and no piece of it is whole.
fn broken_off(mut body: Vec<u8>, draw: u64) -> Vec<u8> {
    let most = body.len().saturating_sub(1).max(1) as u64;
    body.truncate(1 + (draw % most) as usize);
    body
}

const WAYS: u64 = 5;
const DEEP: usize = 100_000;
const PAGE: &[u8] = b"<html><h1>This is not what you asked for</h1></html>";
/// The right names, with what they never stand for.
const SENSELESS: &[u8] = br#"{"Records":7,"Shards":7,"ShardIterator":[],"NextShardIterator":{},
    "SequenceNumber":{},"StreamDescription":7,"StreamDescriptionSummary":7,"StreamNames":7}"#;
/// A list of more elements than there can be.
const HUGE: &[u8] = b"\xa1\x67Records\x9b\xff\xff\xff\xff\xff\xff\xff\xff";

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, serde::Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        shard_iterator: String,
        #[serde(default)]
        records: Vec<u8>,
    }

    #[test]
    fn no_garbled_answer_is_one() {
        let answer = Answer {
            shard_iterator: "an iterator".into(),
            records: vec![1],
        };
        for format in [Format::Json, Format::Cbor] {
            let body = format.write(&answer).unwrap();
            assert!(format.read::<Answer>(&body).is_ok());
            for draw in 0..1_000 {
                let garbled = garble(body.clone(), format, draw);
                let read = format.read::<Answer>(&garbled);
                assert!(read.is_err(), "{}", String::from_utf8_lossy(&garbled));
            }
        }
    }
}

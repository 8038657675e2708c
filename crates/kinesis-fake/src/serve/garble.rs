/// Makes of a body one that nobody can read, in a way that is drawn. None of them can be taken for
/// an answer: what a client made of that would be no garbled answer but a wrong one.
pub(super) fn garble(json: Vec<u8>, draw: u64) -> Vec<u8> {
    let (way, rest) = (draw % WAYS, draw / WAYS);
    match way {
        0 => broken_off(json, rest),
        1 => [b"\xff", &*json].concat(),
        2 => PAGE.to_vec(),
        3 => SENSELESS.to_vec(),
        _ => vec![b'['; DEEP],
    }
}

/// Of `{…}` there is more than one byte, and no piece of it is whole.
fn broken_off(mut json: Vec<u8>, draw: u64) -> Vec<u8> {
    let most = json.len().saturating_sub(1).max(1) as u64;
    json.truncate(1 + (draw % most) as usize);
    json
}

const WAYS: u64 = 5;
const DEEP: usize = 100_000;
const PAGE: &[u8] = b"<html><h1>This is not what you asked for</h1></html>";
/// The right names, with what they never stand for.
const SENSELESS: &[u8] = br#"{"Records":7,"Shards":7,"ShardIterator":[],"NextShardIterator":{},
    "SequenceNumber":{},"StreamDescription":7,"StreamDescriptionSummary":7,"StreamNames":7}"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_garbled_answer_is_one() {
        let answer = br#"{"ShardIterator":"an iterator"}"#;
        let shape = |json: &[u8]| {
            let value: serde_json::Value = serde_json::from_slice(json).ok()?;
            value["ShardIterator"].as_str().map(str::to_owned)
        };
        assert!(shape(answer).is_some());
        for draw in 0..1_000 {
            let garbled = garble(answer.to_vec(), draw);
            assert_eq!(
                shape(&garbled),
                None,
                "{}",
                String::from_utf8_lossy(&garbled)
            );
        }
    }
}

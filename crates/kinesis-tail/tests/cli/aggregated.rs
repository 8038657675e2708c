//! What the Kinesis Producer Library puts: several user records in one.

use kinesis_source::kpl::MAGIC;
use md5::{Digest, Md5};

/// User records under keys of their own, as one record.
pub(crate) fn aggregated<'a>(records: impl IntoIterator<Item = (&'a str, String)>) -> Vec<u8> {
    let (mut keys, mut parts) = (Vec::new(), Vec::new());
    for (index, (key, data)) in records.into_iter().enumerate() {
        field(&mut keys, 1, key.as_bytes());
        let mut part = vec![1 << 3, u8::try_from(index).expect("so many are not needed")];
        field(&mut part, 3, data.as_bytes());
        field(&mut parts, 3, &part);
    }
    let message = [keys, parts].concat();
    let digest = Md5::digest(&message);
    [&MAGIC[..], &message, &digest].concat()
}

/// A field of bytes, as protobuf has it.
fn field(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    message.push(number << 3 | 2);
    let length = u8::try_from(bytes.len()).expect("short");
    assert!(length < 128, "a longer one takes two bytes");
    message.push(length);
    message.extend(bytes);
}

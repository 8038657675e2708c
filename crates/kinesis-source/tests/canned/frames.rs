//! Frames of an event stream, as the service sends them.
//! (<https://smithy.io/2.0/aws/amazon-eventstream.html>)

/// An event of that type with JSON in it.
pub(crate) fn event(kind: &str, json: &str) -> Vec<u8> {
    frame(&[(":message-type", "event"), (":event-type", kind)], json)
}

pub(crate) fn records(json: &str) -> Vec<u8> {
    event("SubscribeToShardEvent", json)
}

pub(crate) fn exception(code: &str, message: &str) -> Vec<u8> {
    let headers = [(":message-type", "exception"), (":exception-type", code)];
    frame(&headers, &format!(r#"{{"message":{message:?}}}"#))
}

pub(crate) fn frame(headers: &[(&str, &str)], payload: &str) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(u8::try_from(name.len()).unwrap());
        block.extend_from_slice(name.as_bytes());
        block.push(7); // a text
        block.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        block.extend_from_slice(value.as_bytes());
    }
    let total = u32::try_from(16 + block.len() + payload.len()).unwrap();
    let mut bytes = total.to_be_bytes().to_vec();
    bytes.extend_from_slice(&u32::try_from(block.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(&crc32(&bytes).to_be_bytes());
    bytes.extend_from_slice(&block);
    bytes.extend_from_slice(payload.as_bytes());
    bytes.extend_from_slice(&crc32(&bytes).to_be_bytes());
    bytes
}

/// That of zip and Ethernet, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1));
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !bytes.iter().fold(u32::MAX, byte)
}

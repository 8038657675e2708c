use std::fmt;

use ciborium::tag::{Accepted, Required};
use kinesis_source::Timestamp;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

/// A moment: seconds with three decimals in text, whole milliseconds under tag 1 in CBOR.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::serve) struct Time {
    millis: i64,
}

impl From<Timestamp> for Time {
    fn from(timestamp: Timestamp) -> Self {
        let millis = timestamp.as_millis();
        Self { millis }
    }
}

impl From<Time> for Timestamp {
    fn from(time: Time) -> Self {
        Self::from_millis(time.millis)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            // Exact for the next 285,000 years.
            true => serializer.serialize_f64(self.millis as f64 / 1_000.0),
            false => Required::<i64, EPOCH>(self.millis).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let millis = match deserializer.is_human_readable() {
            true => f64::deserialize(deserializer)? * 1_000.0,
            false => Accepted::<Number, EPOCH>::deserialize(deserializer)?.0.0,
        };
        // A cast of a float stays within bounds.
        let millis = millis.round() as i64;
        Ok(Self { millis })
    }
}

/// Any number, exact to the millisecond where that matters.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNumber)
    }
}

struct AnyNumber;

impl Visitor<'_> for AnyNumber {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of milliseconds")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
        Ok(Number(number as f64))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
        Ok(Number(number as f64))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Number, E> {
        Ok(Number(number))
    }
}

/// RFC 8949: a time since 1970. AWS counts it in milliseconds all the same.
const EPOCH: u64 = 1;

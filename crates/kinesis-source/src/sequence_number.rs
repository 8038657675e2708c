use std::{cmp::Ordering, fmt, num::NonZeroU64, str::FromStr, sync::Arc};

use crate::Timestamp;

/// Where a record stands in its shard.
///
/// The service writes it as a decimal number of up to 129 digits, far beyond `u128`, and so it is
/// compared: as the number it is, however many digits it has. Numbers of one shard grow; numbers
/// of different shards say nothing about each other.
///
/// ```
/// use kinesis_source::SequenceNumber;
///
/// let nine: SequenceNumber = "9".parse()?;
/// let ten: SequenceNumber = "10".parse()?;
/// assert!(nine < ten);
/// assert_eq!(ten.to_string(), "10");
/// # Ok::<(), kinesis_source::InvalidSequenceNumber>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceNumber(Number);

/// Variants are in the order of their numbers. A million records on their way are a million of these, and each is
/// moved and compared several times: so it is three words.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Number {
    Usual(Limbs),
    Longer(Digits),
}

/// Of a number below 2^192 - 2^128, as all are that the service is known to give (56 digits, 186 bits).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Limbs {
    /// The highest one, and 1: what is left out stands for longer numbers.
    above: NonZeroU64,
    middle: u64,
    lowest: u64,
}

const LIMBS: usize = 3;

/// Of a number, without leading zeros.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Digits(Arc<str>);

/// The most digits a sequence number may have, by the pattern `0|([1-9]\d{0,128})` of the
/// [API reference](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Record.html).
const MAX_DIGITS: usize = 129;

/// So many digits are read at once. They fit a limb, whichever they are.
const DIGITS_AT_ONCE: usize = 8;
const EIGHT_DIGITS: u128 = 100_000_000;

/// So many bits, and so many digits, are divided off at once when a number is written.
const BITS_OF_PART: u32 = 32;
const DIGITS_OF_PART: usize = 9;
const PART: u64 = 1_000_000_000;

/// The most parts that a usual number is written in.
const PARTS: usize = 7;

/// A text that is no sequence number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a sequence number: expected 1 to 129 decimal digits, found {found}")]
pub struct InvalidSequenceNumber {
    found: String,
}

impl SequenceNumber {
    /// The number `high` · 2^128 + `low`.
    ///
    /// # Panics
    ///
    /// If `high` is [`u64::MAX`]: numbers as large as that are made of their digits.
    pub const fn from_parts(high: u64, low: u128) -> Self {
        // The casts cut the lower part in two.
        match Limbs::new([high, (low >> 64) as u64, low as u64]) {
            Some(limbs) => Self(Number::Usual(limbs)),
            None => panic!("so large a number is made of its digits"),
        }
    }

    /// The number as `high` · 2^128 + `low`, if it is as small as that.
    pub fn to_parts(&self) -> Option<(u64, u128)> {
        match self.0 {
            Number::Usual(limbs) => {
                let [high, middle, low] = limbs.get();
                Some((high, u128::from(middle) << 64 | u128::from(low)))
            }
            Number::Longer(_) => None,
        }
    }

    /// When the shard was made that it belongs to, to the second, as far as it says that. How is documented
    /// nowhere, and was found out by others (<https://github.com/mhart/kinesalite/blob/master/db/index.js>): in
    /// hexadecimal digits, a 2 comes first, then nine of the second, and of 47 digits the last is a 2. So this is
    /// a hint, and no more than that.
    pub(crate) fn shard_made_at(&self) -> Option<Timestamp> {
        let (high, low) = self.to_parts()?;
        let is_known = high >> 56 == 2 && low & 0xf == 2;
        let second = (high >> 20) & ((1 << 36) - 1);
        let made_at = Timestamp::from_millis(i64::try_from(second).ok()?.checked_mul(1_000)?);
        is_known.then_some(made_at)
    }
}

impl Limbs {
    /// From the highest to the lowest.
    const fn new([highest, middle, lowest]: [u64; LIMBS]) -> Option<Self> {
        match NonZeroU64::MIN.checked_add(highest) {
            Some(above) => Some(Self {
                above,
                middle,
                lowest,
            }),
            None => None,
        }
    }

    const fn get(self) -> [u64; LIMBS] {
        [self.above.get() - 1, self.middle, self.lowest]
    }
}

impl FromStr for SequenceNumber {
    type Err = InvalidSequenceNumber;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // All are looked at together.
        let digits = text
            .bytes()
            .fold(true, |digits, byte| digits & byte.is_ascii_digit());
        if !digits || text.is_empty() || text.len() > MAX_DIGITS {
            let found = match text.chars().count() {
                0 => "nothing".to_owned(),
                many @ 41.. => format!("{many} characters"),
                _ => format!("{text:?}"),
            };
            return Err(InvalidSequenceNumber { found });
        }
        Ok(Self(match limbs(text.as_bytes()).and_then(Limbs::new) {
            Some(limbs) => Number::Usual(limbs),
            None => Number::Longer(Digits(text.trim_start_matches('0').into())),
        }))
    }
}

/// The number that these digits are, if it is a usual one.
fn limbs(digits: &[u8]) -> Option<[u64; LIMBS]> {
    let (first, rest) = digits.split_at(digits.len() % DIGITS_AT_ONCE);
    let first = first.iter();
    let first = first.fold(0, |value, digit| 10 * value + u64::from(digit - b'0'));
    let mut limbs = [0, 0, first];
    for digits in rest.as_chunks().0 {
        let mut carry = eight(digits);
        for limb in limbs.iter_mut().rev() {
            let wide = u128::from(*limb) * EIGHT_DIGITS + u128::from(carry);
            *limb = wide as u64; // its lower half: the upper one is carried
            carry = (wide >> 64) as u64;
        }
        if carry > 0 {
            return None;
        }
    }
    Some(limbs)
}

/// What eight digits are. Each step makes one number of two neighbours, for all of them at once: one digit after the
/// other would wait for the one before.
fn eight(digits: &[u8; DIGITS_AT_ONCE]) -> u64 {
    // The first is the lowest byte, and counts most.
    let digits = u64::from_le_bytes(*digits) & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (10 * digits + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (100 * pairs + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    (10_000 * fours + (fours >> 32)) & 0xffff_ffff
}

/// What is nine digits at a time, from the last, and how many of them there are.
fn parts(limbs: [u64; LIMBS]) -> ([u64; PARTS], usize) {
    let [a, b, c] = limbs.map(|limb| [limb >> BITS_OF_PART, limb & u64::from(u32::MAX)]);
    let mut halves = [a[0], a[1], b[0], b[1], c[0], c[1]];
    let (mut parts, mut len) = ([0; PARTS], 0);
    for part in &mut parts {
        let mut rest = 0;
        for half in &mut halves {
            // Halves of limbs: a rest with one of them has 62 bits.
            let wide = rest << BITS_OF_PART | *half;
            (*half, rest) = (wide / PART, wide % PART);
        }
        *part = rest;
        len += 1;
        if halves == [0; 2 * LIMBS] {
            break;
        }
    }
    (parts, len)
}

impl From<u128> for SequenceNumber {
    fn from(number: u128) -> Self {
        Self::from_parts(0, number)
    }
}

impl Ord for Digits {
    /// Without leading zeros, the longer number is the larger; equally long ones compare by digit.
    fn cmp(&self, other: &Self) -> Ordering {
        let by_length = self.0.len().cmp(&other.0.len());
        by_length.then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Digits {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Its decimal digits, without leading zeros, whatever the format asks for.
impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Number::Usual(limbs) => {
                let (parts, len) = parts(limbs.get());
                let mut parts = parts.iter().take(len).rev();
                write!(f, "{}", parts.next().unwrap_or(&0))?;
                parts.try_for_each(|part| write!(f, "{part:0DIGITS_OF_PART$}"))
            }
            Number::Longer(digits) => f.write_str(&digits.0),
        }
    }
}

impl fmt::Debug for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> SequenceNumber {
        text.parse().unwrap()
    }

    #[test]
    fn a_longer_number_is_larger() {
        let real = number("49590338271490256608559692538361571095921575989136588898");
        assert!(number("999") < real);
        assert!(real < number("149590338271490256608559692538361571095921575989136588898"));
    }

    #[test]
    fn a_real_one_says_when_its_shard_was_made() {
        let real = number("49590338271490256608559692538361571095921575989136588898");
        let november_2018 = Timestamp::from_millis(1_542_776_258_000);
        assert_eq!(real.shard_made_at(), Some(november_2018));
        for other in ["0", "7", &"9".repeat(56), &"9".repeat(129)] {
            assert_eq!(number(other).shard_made_at(), None, "{other}");
        }
    }

    #[test]
    fn leading_zeros_do_not_count() {
        assert_eq!(number("0007"), number("7"));
        assert_eq!(number("000"), number("0"));
        assert!(number("0009") < number("10"));
    }

    #[test]
    fn what_is_no_number_is_refused_with_a_reason() {
        for text in ["", "-1", "1.0", "SHARD_END", "１", &"9".repeat(130)] {
            let error = text.parse::<SequenceNumber>().unwrap_err().to_string();
            assert!(error.starts_with("not a sequence number"), "{error}");
            assert!(error.len() < 150, "{error}");
        }
    }

    #[test]
    fn it_takes_three_words() {
        assert_eq!(size_of::<SequenceNumber>(), 24);
        assert_eq!(size_of::<Option<SequenceNumber>>(), 32);
    }

    #[test]
    fn numbers_at_the_edge_of_the_usual_are_in_order() {
        let last = SequenceNumber::from_parts(u64::MAX - 1, u128::MAX);
        let text = "6277101735386680763495507056286727952638980837032266301439";
        assert_eq!(last.to_string(), text);
        assert_eq!(number(text), last);
        let next = number("6277101735386680763495507056286727952638980837032266301440");
        assert_eq!(next.to_parts(), None);
        assert!(last < next);
        assert!(next < number(&"9".repeat(58)));
        assert_eq!(number(&format!("000{next}")), next);
    }

    #[test]
    fn zeros_within_are_written() {
        for text in [
            "0",
            "1000000000",
            "1000000000000000000",
            "10000000000000000000000000001",
        ] {
            assert_eq!(number(text).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn it_is_written_as_it_was_read(text in "[1-9][0-9]{0,128}") {
            prop_assert_eq!(number(&text).to_string(), text);
        }

        #[test]
        fn all_compare_as_the_numbers_they_are(a in "[1-9][0-9]{50,60}", b in "[1-9][0-9]{50,60}") {
            let by_digit = a.len().cmp(&b.len()).then_with(|| a.cmp(&b));
            prop_assert_eq!(number(&a).cmp(&number(&b)), by_digit);
        }

        #[test]
        fn its_parts_are_the_number(high in 0..u64::MAX, low: u128) {
            let it = SequenceNumber::from_parts(high, low);
            prop_assert_eq!(it.to_parts(), Some((high, low)));
            prop_assert_eq!(number(&it.to_string()), it);
        }

        #[test]
        fn small_ones_compare_as_integers(a: u128, b: u128) {
            prop_assert_eq!(SequenceNumber::from(a).cmp(&b.into()), a.cmp(&b));
            prop_assert_eq!(number(&a.to_string()), SequenceNumber::from(a));
        }
    }
}

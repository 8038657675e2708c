use std::{cmp::Ordering, fmt, str::FromStr, sync::Arc};

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
/// # Ok::<(), kinesis_source::InvalidSequenceNumber>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SequenceNumber(Arc<str>);

/// The most digits a sequence number may have, by the pattern `0|([1-9]\d{0,128})` of the
/// [API reference](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Record.html).
const MAX_DIGITS: usize = 129;

/// A text that is no sequence number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a sequence number: expected 1 to 129 decimal digits, found {found}")]
pub struct InvalidSequenceNumber {
    found: String,
}

impl SequenceNumber {
    /// Its decimal digits, without leading zeros.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When the shard was made that it belongs to, to the second, as far as it says that. How is documented
    /// nowhere, and was found out by others (<https://github.com/mhart/kinesalite/blob/master/db/index.js>): in
    /// hexadecimal digits, a 2 comes first, then nine of the second, and of 47 digits the last is a 2. So this is
    /// a hint, and no more than that.
    pub(crate) fn shard_made_at(&self) -> Option<Timestamp> {
        let mut limbs = [0u64; 3];
        for digit in self.0.bytes() {
            let mut carry = u128::from(digit - b'0');
            for limb in limbs.iter_mut().rev() {
                let more = u128::from(*limb) * 10 + carry;
                *limb = more as u64;
                carry = more >> 64;
            }
            if carry > 0 {
                return None;
            }
        }
        let [high, _, low] = limbs;
        let is_known = high >> 56 == 2 && low & 0xf == 2;
        let second = (high >> 20) & ((1 << 36) - 1);
        let made_at = Timestamp::from_millis(i64::try_from(second).ok()?.checked_mul(1_000)?);
        is_known.then_some(made_at)
    }
}

impl FromStr for SequenceNumber {
    type Err = InvalidSequenceNumber;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || text.is_empty() || text.len() > MAX_DIGITS {
            let found = match text.chars().count() {
                0 => "nothing".to_owned(),
                many @ 41.. => format!("{many} characters"),
                _ => format!("{text:?}"),
            };
            return Err(InvalidSequenceNumber { found });
        }
        let significant = text.trim_start_matches('0');
        Ok(Self(
            if significant.is_empty() {
                "0"
            } else {
                significant
            }
            .into(),
        ))
    }
}

impl From<u128> for SequenceNumber {
    fn from(number: u128) -> Self {
        Self(number.to_string().into())
    }
}

impl Ord for SequenceNumber {
    /// Without leading zeros, the longer number is the larger; equally long ones compare by digit.
    fn cmp(&self, other: &Self) -> Ordering {
        let by_length = self.0.len().cmp(&other.0.len());
        by_length.then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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

    proptest! {
        #[test]
        fn small_ones_compare_as_integers(a: u128, b: u128) {
            prop_assert_eq!(SequenceNumber::from(a).cmp(&b.into()), a.cmp(&b));
            prop_assert_eq!(number(&a.to_string()), SequenceNumber::from(a));
        }
    }
}

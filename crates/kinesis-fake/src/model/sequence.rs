use kinesis_source::SequenceNumber;

/// A sequence number of the real service's shape, taken apart.
///
/// It is an integer of 186 bits, 56 decimal digits. From the top, in hexadecimal digits, as
/// [kinesalite](https://github.com/mhart/kinesalite/blob/master/db/index.js) found out:
///
/// | digits | what |
/// | --- | --- |
/// | 1 | `2` |
/// | 9 | the second in which the shard was made |
/// | 1 | the shard's number, its last digit |
/// | 16 | an index that grows with each record of the stream |
/// | 2 | zero |
/// | 9 | the second in which the record came |
/// | 8 | the shard's number |
/// | 1 | `2`, the version |
///
/// A second that does not fit, after the year 4100, is taken for the last that does.
///
/// It is kept as the integer, so that it compares as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sequence {
    /// The upper 15 hexadecimal digits.
    high: u64,
    /// The lower 32.
    low: u128,
}

const LEADING: u64 = 2;
/// How many a number has: 2 × 2^184 and the next have as many.
pub(crate) const DIGITS: usize = 56;
const VERSION: u128 = 2;
const THIRTY_SIX_BITS: u64 = (1 << 36) - 1;
/// The index of a closed shard's ending number: larger than that of any record.
pub(crate) const LAST_INDEX: u64 = i64::MAX.unsigned_abs();

impl Sequence {
    pub(crate) fn new(born: u64, shard: u32, index: u64, second: u64) -> Self {
        let nibble = u64::from(shard & 0xf);
        let high = LEADING << 56 | born.min(THIRTY_SIX_BITS) << 20 | nibble << 16 | index >> 48;
        let low = u128::from(index) << 80
            | u128::from(second.min(THIRTY_SIX_BITS)) << 36
            | u128::from(shard) << 4
            | VERSION;
        Self { high, low }
    }

    /// The sequence of that number; `None` if this service cannot have written it.
    pub(crate) fn parse(number: &SequenceNumber) -> Option<Self> {
        let (high, low) = number.to_parts()?;
        let it = Self { high, low };
        let same_shard = u64::from(it.shard() & 0xf) == it.high >> 16 & 0xf;
        let known = it.high >> 56 == LEADING && it.low & 0xf == VERSION;
        (known && same_shard && it.index() <= LAST_INDEX).then_some(it)
    }

    pub(crate) const fn from_parts(high: u64, low: u128) -> Self {
        Self { high, low }
    }

    pub(crate) const fn parts(self) -> (u64, u128) {
        (self.high, self.low)
    }

    /// The second in which its shard was made.
    pub(crate) const fn born(self) -> u64 {
        self.high >> 20 & THIRTY_SIX_BITS
    }

    /// The number of its shard.
    pub(crate) const fn shard(self) -> u32 {
        // Cut to the 32 bits that are the shard's.
        (self.low >> 4) as u32
    }

    /// The same but for its second, which is that one if it was earlier. No record comes between.
    pub(crate) fn in_second(self, second: u64) -> Self {
        let second = u128::from(second.min(THIRTY_SIX_BITS));
        let own = self.low >> 36 & u128::from(THIRTY_SIX_BITS);
        let low = self.low & !(u128::from(THIRTY_SIX_BITS) << 36) | own.max(second) << 36;
        Self { low, ..self }
    }

    /// Beyond this one, and below that of any record that comes after it.
    pub(crate) fn a_second_later(self) -> Self {
        let own = self.low >> 36 & u128::from(THIRTY_SIX_BITS);
        // Both cut to 36 bits.
        self.in_second(own as u64 + 1)
    }

    pub(crate) const fn index(self) -> u64 {
        // Both cut to what belongs to the index: 16 bits above, 48 below.
        (self.high & 0xffff) << 48 | (self.low >> 80) as u64
    }

    /// As the service writes it.
    pub(crate) fn number(self) -> SequenceNumber {
        SequenceNumber::from_parts(self.high, self.low)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_767_225_600;

    #[test]
    fn a_number_has_the_real_ones_56_digits() {
        let number = Sequence::new(SECOND, 3, 7, SECOND + 60).number();
        assert_eq!(number.to_string().len(), DIGITS, "{number}");
    }

    #[test]
    fn a_real_number_is_understood() {
        let real = "49590338271490256608559692538361571095921575989136588898"
            .parse()
            .unwrap();
        let sequence = Sequence::parse(&real).unwrap();
        assert_eq!(sequence.shard(), 6);
        assert_eq!(sequence.number(), real);
    }

    #[test]
    fn numbers_of_another_shape_are_not() {
        for text in ["0", "1", "9223372036854775807", &"9".repeat(129)] {
            assert_eq!(Sequence::parse(&text.parse().unwrap()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_number_reads_as_what_was_written(
            born in 0..=THIRTY_SIX_BITS, shard: u32, index in 0..=LAST_INDEX, second in 0..=THIRTY_SIX_BITS,
        ) {
            let sequence = Sequence::new(born, shard, index, second);
            prop_assert_eq!(Sequence::parse(&sequence.number()), Some(sequence));
            prop_assert_eq!((sequence.born(), sequence.shard(), sequence.index()), (born, shard, index));
        }

        #[test]
        fn a_later_second_lies_below_the_next_index(index in 0..LAST_INDEX, own: u32, second: u32) {
            let sequence = Sequence::new(SECOND, 3, index, own.into());
            let next = Sequence::new(SECOND, 3, index + 1, 0);
            let later = sequence.in_second(second.into());
            prop_assert!(sequence <= later && later < next);
            prop_assert_eq!(later, Sequence::new(SECOND, 3, index, own.max(second).into()));
            let beyond = sequence.a_second_later();
            prop_assert!(sequence < beyond && beyond < next);
        }

        #[test]
        fn it_compares_as_its_number_does(a: (u32, u32), b: (u32, u32)) {
            let sequence = |(index, second): (u32, u32)| Sequence::new(SECOND, 0, index.into(), second.into());
            let (a, b) = (sequence(a), sequence(b));
            prop_assert_eq!(a.cmp(&b), a.number().cmp(&b.number()));
        }
    }
}

/// Turns contents into text that says nothing, and back if nobody has touched it.
///
/// The tag is a keyed digest of the contents, and they are veiled by what key and tag make. That
/// keeps honest clients from looking inside or building their own; it is no cryptography to guard
/// secrets with, and fast, as each read of a shard opens one and closes one.
#[derive(Debug)]
pub(crate) struct Seal {
    secret: [u64; 4],
}

/// What is sealed: the text of one kind is not accepted for another.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Iterator = 1,
    Token = 2,
    ConsumersToken = 3,
}

const TAG: usize = 16;
/// Longer texts were not written here. A stream's name has up to 128 bytes, the rest takes less.
const MAX_TEXT: usize = 1_024;

impl Seal {
    pub(crate) fn new(seed: u64) -> Self {
        let secret = |number| mix(seed ^ PRIMES[0], PRIMES[1].wrapping_add(number)) | 1;
        Self {
            secret: [0, 1, 2, 3].map(secret),
        }
    }

    pub(crate) fn close(&self, kind: Kind, contents: &[u8]) -> String {
        let tag = self.tag(kind, contents);
        let mut sealed = tag.to_vec();
        sealed.extend_from_slice(contents);
        self.veil(tag, &mut sealed[TAG..]);
        to_hex(&sealed)
    }

    pub(crate) fn open(&self, kind: Kind, text: &str) -> Option<Vec<u8>> {
        let mut sealed = from_hex(text)?;
        let (tag, contents) = sealed.split_first_chunk_mut::<TAG>()?;
        let tag = *tag;
        self.veil(tag, contents);
        if self.tag(kind, contents) != tag {
            return None;
        }
        sealed.drain(..TAG);
        Some(sealed)
    }

    /// A number up to `most` that looks like chance: always the same for the same `number`.
    pub(crate) fn draw(&self, number: u64, most: u64) -> u64 {
        let [a, b, ..] = self.secret;
        let wide = u128::from(mix(number ^ b, a)) * (u128::from(most) + 1);
        (wide >> 64) as u64 // it is at most `most`
    }

    fn tag(&self, kind: Kind, contents: &[u8]) -> [u8; TAG] {
        let [a, b, c, d] = self.secret;
        // The length, so that no end made of zeros can be added or taken.
        let begin = (contents.len() as u64) << 8 | kind as u64;
        let mut lanes = [mix(begin ^ a, c), mix(begin ^ b, d)];
        for word in contents.chunks(8).map(word) {
            lanes = [
                mix(lanes[0] ^ word, c).wrapping_add(lanes[1]),
                mix(lanes[1] ^ word, d).wrapping_add(word),
            ];
        }
        let [one, two] = [mix(lanes[0] ^ d, a), mix(lanes[1] ^ c, b)];
        (u128::from(one) << 64 | u128::from(two)).to_be_bytes()
    }

    /// Twice is as if never.
    fn veil(&self, tag: [u8; TAG], contents: &mut [u8]) {
        let [a, b, ..] = self.secret;
        let begin = word(&tag[..8]) ^ mix(word(&tag[8..]), a);
        for (block, number) in contents.chunks_mut(8).zip(1_u64..) {
            let veil = mix(begin.wrapping_add(number.wrapping_mul(PRIMES[0])), b);
            let veiled = (word(block) ^ veil).to_be_bytes();
            block.copy_from_slice(&veiled[..block.len()]);
        }
    }
}

/// Up to eight bytes as a number, with zeros behind them.
fn word(bytes: &[u8]) -> u64 {
    if let Some(whole) = bytes.first_chunk() {
        return u64::from_be_bytes(*whole);
    }
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_be_bytes(word)
}

/// Both halves of the product of two numbers that are made unlike zero: each bit of either decides
/// on about half of the bits.
fn mix(a: u64, b: u64) -> u64 {
    let wide = u128::from(a ^ PRIMES[1]) * u128::from(b ^ PRIMES[0]);
    let mixed = (wide >> 64) as u64 ^ wide as u64; // the casts cut it in two
    (mixed ^ mixed >> 32).wrapping_mul(PRIMES[1])
}

/// Large and odd, without structure.
const PRIMES: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];

// Written for those who test without optimizations, where each step of each byte is paid for: eight bytes,
// which are sixteen digits, at a time. Byte by byte that was two fifths of what a call cost.

fn to_hex(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(2 * bytes.len() + DIGITS);
    for part in bytes.chunks(DIGITS / 2) {
        text.extend_from_slice(&digits(spread(word(part))).to_be_bytes());
    }
    // What is missing of the last part was made up.
    text.truncate(2 * bytes.len());
    String::from_utf8(text).expect("these are hexadecimal digits")
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() > MAX_TEXT || !text.len().is_multiple_of(2) {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 2 + DIGITS);
    for part in text.as_bytes().chunks(DIGITS) {
        let mut whole = [b'0'; DIGITS];
        whole[..part.len()].copy_from_slice(part);
        let values = values(u128::from_be_bytes(whole))?;
        bytes.extend_from_slice(&gather(values).to_be_bytes());
    }
    bytes.truncate(text.len() / 2);
    Some(bytes)
}

/// Digits that are dealt with at once.
const DIGITS: usize = 16;

/// That number in each byte.
const fn each(byte: u8) -> u128 {
    u128::from_be_bytes([byte; DIGITS])
}

/// Each byte's value, from 0 to 15, as a digit. No byte carries into another.
fn digits(values: u128) -> u128 {
    let letters = (values + each(6)) >> 4 & each(1);
    values + each(b'0') + letters * u128::from(b'a' - b'9' - 1)
}

/// What each digit is worth, if they are digits.
fn values(text: u128) -> Option<u128> {
    // Letters, and no digits, have that bit.
    let letters = text >> 6 & each(1);
    let values = (text & each(0xf)) + letters * 9;
    (values & each(0xf0) == 0 && digits(values) == text).then_some(values)
}

/// Half a byte in each byte.
fn spread(word: u64) -> u128 {
    let wide = u128::from(word);
    let wide = (wide | wide << 32) & 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff;
    let wide = (wide | wide << 16) & 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff;
    let wide = (wide | wide << 8) & 0x00ff_00ff_00ff_00ff_00ff_00ff_00ff_00ff;
    (wide | wide << 4) & each(0xf)
}

/// The reverse.
fn gather(wide: u128) -> u64 {
    let wide = (wide | wide >> 4) & 0x00ff_00ff_00ff_00ff_00ff_00ff_00ff_00ff;
    let wide = (wide | wide >> 8) & 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff;
    let wide = (wide | wide >> 16) & 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff;
    (wide | wide >> 32) as u64 // what is above was masked away, or is a copy
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Against the digits of the standard library, at each length and place.
    #[test]
    fn bytes_are_their_digits_and_nothing_else_is_a_digit() {
        for length in 0..40_u8 {
            let bytes: Vec<_> = (0..length).map(|at| at.wrapping_mul(37) ^ 0xa5).collect();
            let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(to_hex(&bytes), text);
            assert_eq!(from_hex(&text), Some(bytes));
        }
        for other in 0..=u8::MAX {
            for place in 0..DIGITS {
                let mut text = [b'7'; DIGITS];
                text[place] = other;
                let is_digit = matches!(other, b'0'..=b'9' | b'a'..=b'f');
                let values = values(u128::from_be_bytes(text));
                assert_eq!(values.is_some(), is_digit, "{other:#x} at {place}");
            }
        }
        for odd in ["0", "abc"] {
            assert_eq!(from_hex(odd), None);
        }
    }

    #[test]
    fn contents_that_differ_by_a_bit_have_nothing_in_common() {
        let seal = Seal::new(7);
        let mut texts = std::collections::BTreeSet::new();
        let mut ones = 0_u64;
        for bit in 0..512_usize {
            let mut contents = [0_u8; 64];
            contents[bit / 8] = 1 << (bit % 8);
            let text = seal.close(Kind::Iterator, &contents);
            let bytes = from_hex(&text).unwrap();
            ones += bytes
                .iter()
                .map(|byte| u64::from(byte.count_ones()))
                .sum::<u64>();
            // Neither the tag nor the veiled contents begin as others do.
            assert!(texts.insert(text[..16].to_owned()));
            assert!(texts.insert(text[32..48].to_owned()));
        }
        let bits = 512 * 80 * 8;
        assert!(
            (48 * bits / 100..=52 * bits / 100).contains(&ones),
            "{ones} of {bits}"
        );
    }

    #[test]
    fn no_zero_at_the_end_can_be_taken_or_added() {
        let seal = Seal::new(7);
        for length in 1..20 {
            let zeros = vec![0; length];
            let text = seal.close(Kind::Iterator, &zeros);
            for shorter in 0..length {
                let cut = &text[..2 * (TAG + shorter)];
                assert_eq!(
                    seal.open(Kind::Iterator, cut),
                    None,
                    "{shorter} of {length}"
                );
            }
        }
    }

    #[test]
    fn what_is_drawn_is_spread_and_the_same_again() {
        let seal = Seal::new(7);
        let drawn: Vec<_> = (0..1_000).map(|number| seal.draw(number, 9)).collect();
        for value in 0..10 {
            let times = drawn.iter().filter(|drawn| **drawn == value).count();
            assert!((60..140).contains(&times), "{value}: {times} times");
        }
        let again: Vec<_> = (0..1_000).map(|number| seal.draw(number, 9)).collect();
        assert_eq!(drawn, again);
        assert_eq!(seal.draw(3, 0), 0);
        assert_ne!(seal.draw(3, u64::MAX), Seal::new(8).draw(3, u64::MAX));
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_and_nothing_else_does(
            contents: Vec<u8>, at: prop::sample::Index, other in "[0-9a-f]", garbage: String,
        ) {
            let contents = &contents[..contents.len().min(200)];
            let seal = Seal::new(7);
            let text = seal.close(Kind::Iterator, contents);
            prop_assert_eq!(seal.open(Kind::Iterator, &text), Some(contents.to_vec()));
            prop_assert_eq!(seal.open(Kind::Token, &text), None);
            prop_assert_eq!(Seal::new(8).open(Kind::Iterator, &text), None);
            prop_assert_eq!(seal.open(Kind::Iterator, &garbage), None);
            let at = at.index(text.len());
            let mut changed = text.clone();
            changed.replace_range(at..=at, &other);
            prop_assert_eq!(seal.open(Kind::Iterator, &changed).is_some(), changed == text);
        }
    }
}

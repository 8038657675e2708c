use md5::{Digest, Md5};

/// Turns contents into text that says nothing, and back if nobody has touched it.
///
/// The tag is a keyed digest of the contents, and they are veiled by a stream of digests of key and
/// tag. That keeps honest clients from looking inside or building their own; it is no cryptography
/// to guard secrets with.
#[derive(Debug)]
pub(crate) struct Seal {
    secret: [u8; TAG],
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
        let secret = digest(&[b"kinesis-fake", &seed.to_be_bytes()]);
        Self { secret }
    }

    pub(crate) fn close(&self, kind: Kind, contents: &[u8]) -> String {
        let tag = self.tag(kind, contents);
        let mut sealed = tag.to_vec();
        sealed.extend_from_slice(contents);
        self.veil(tag, &mut sealed[TAG..]);
        to_hex(&sealed)
    }

    pub(crate) fn open(&self, kind: Kind, text: &str) -> Option<Vec<u8>> {
        let sealed = from_hex(text)?;
        let (tag, contents) = sealed.split_first_chunk::<TAG>()?;
        let mut contents = contents.to_vec();
        self.veil(*tag, &mut contents);
        (self.tag(kind, &contents) == *tag).then_some(contents)
    }

    fn tag(&self, kind: Kind, contents: &[u8]) -> [u8; TAG] {
        digest(&[&self.secret, &[kind as u8], contents, &self.secret])
    }

    /// Twice is as if never.
    fn veil(&self, tag: [u8; TAG], contents: &mut [u8]) {
        for (block, number) in contents.chunks_mut(TAG).zip(0_u32..) {
            let veil = digest(&[&self.secret, &tag, &number.to_be_bytes()]);
            for (byte, veil) in block.iter_mut().zip(veil) {
                *byte ^= veil;
            }
        }
    }
}

fn digest(parts: &[&[u8]]) -> [u8; TAG] {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(part);
    }
    md5.finalize().into()
}

fn to_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(HEX[usize::from(nibble)]);
    let digits = |byte: &u8| [digit(byte >> 4), digit(byte & 0xf)];
    bytes.iter().flat_map(digits).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() > MAX_TEXT || !text.len().is_multiple_of(2) {
        return None;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks_exact(2);
    pairs
        .map(|pair| Some(value(pair[0])? << 4 | value(pair[1])?))
        .collect()
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

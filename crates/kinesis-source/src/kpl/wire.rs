use std::ops::Range;

use super::{Damage, MAX_DEPTH};

/// Walks over protobuf's fields, and allocates nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
    /// How many messages this one is in.
    depth: usize,
}

/// A field, as far as anybody here wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Varint {
        number: u32,
        value: u64,
    },
    /// Where its bytes are.
    Bytes {
        number: u32,
        range: Range<usize>,
    },
    /// Of another wire type. It has been skipped.
    Other,
}

impl<'a> Wire<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self {
            bytes,
            at,
            end: bytes.len(),
            depth: 0,
        }
    }

    /// A message within this one, which lies at `range`.
    pub(super) fn within(&self, range: Range<usize>) -> Self {
        Self {
            bytes: self.bytes,
            at: range.start,
            end: range.end,
            depth: self.depth + 1,
        }
    }

    /// Where the next field begins.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next field; `None` at the end of the message.
    pub(super) fn next_field(&mut self) -> Result<Option<Field>, Damage> {
        if self.at == self.end {
            return Ok(None);
        }
        let (number, kind) = self.tag()?;
        let field = match kind {
            VARINT => Field::Varint {
                number,
                value: self.varint()?,
            },
            BYTES => Field::Bytes {
                number,
                range: self.length_delimited()?,
            },
            GROUP => {
                self.skip_group(number)?;
                Field::Other
            }
            kind => {
                self.skip_fixed(kind)?;
                Field::Other
            }
        };
        Ok(Some(field))
    }

    fn tag(&mut self) -> Result<(u32, u64), Damage> {
        let tag = u32::try_from(self.varint()?).map_err(|_| Damage::Malformed)?;
        match tag >> 3 {
            0 => Err(Damage::Malformed),
            number => Ok((number, u64::from(tag & 7))),
        }
    }

    /// A number of up to ten bytes. Of what is beyond 64 bits, nothing is left, as in protobuf's
    /// own decoders.
    fn varint(&mut self) -> Result<u64, Damage> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let byte = *self.take(1)?.first().ok_or(Damage::Malformed)?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Damage::Malformed)
    }

    fn length_delimited(&mut self) -> Result<Range<usize>, Damage> {
        let length = usize::try_from(self.varint()?).map_err(|_| Damage::Malformed)?;
        self.take(length)?;
        Ok(self.at - length..self.at)
    }

    fn skip_fixed(&mut self, kind: u64) -> Result<(), Damage> {
        let length = match kind {
            FIXED_64 => 8,
            FIXED_32 => 4,
            // The end of a group that was not begun, or nothing that there is.
            _ => return Err(Damage::Malformed),
        };
        self.take(length).map(drop)
    }

    /// Skips what is left of a group, and the groups in it.
    fn skip_group(&mut self, number: u32) -> Result<(), Damage> {
        let (mut open, mut depth) = ([number; MAX_DEPTH], 1);
        if self.depth + depth > MAX_DEPTH {
            return Err(Damage::Malformed);
        }
        while depth > 0 {
            let (number, kind) = self.tag()?;
            match kind {
                VARINT => {
                    self.varint()?;
                }
                BYTES => {
                    self.length_delimited()?;
                }
                GROUP if self.depth + depth < MAX_DEPTH => {
                    open[depth] = number;
                    depth += 1;
                }
                GROUP_END if open[depth - 1] == number => depth -= 1,
                kind => self.skip_fixed(kind)?,
            }
        }
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Damage> {
        if length > self.end - self.at {
            return Err(Damage::Malformed);
        }
        let taken = &self.bytes[self.at..self.at + length];
        self.at += length;
        Ok(taken)
    }
}

const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;
const GROUP: u64 = 3;
const GROUP_END: u64 = 4;
const FIXED_32: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Result<Vec<Field>, Damage> {
        let mut wire = Wire::new(bytes, 0);
        let mut fields = Vec::new();
        while let Some(field) = wire.next_field()? {
            fields.push(field);
        }
        Ok(fields)
    }

    fn varint(number: u32, value: u64) -> Field {
        Field::Varint { number, value }
    }

    #[test]
    fn each_wire_type_is_read_or_skipped() {
        assert_eq!(fields(&[]), Ok(vec![]));
        assert_eq!(fields(&[0x08, 0x96, 0x01]), Ok(vec![varint(1, 150)]));
        let bytes = Field::Bytes {
            number: 3,
            range: 2..4,
        };
        assert_eq!(fields(&[0x1A, 2, 7, 7]), Ok(vec![bytes]));
        let eight = [0x09, 1, 2, 3, 4, 5, 6, 7, 8];
        let four = [0x0D, 1, 2, 3, 4];
        let group = [0x0B, 0x13, 0x08, 0x01, 0x12, 0x01, 9, 0x14, 0x0C];
        for skipped in [&eight[..], &four, &group] {
            assert_eq!(fields(skipped), Ok(vec![Field::Other]), "{skipped:?}");
            for cut in 1..skipped.len() {
                let result = fields(&skipped[..cut]);
                assert_eq!(result, Err(Damage::Malformed), "{skipped:?} to {cut}");
            }
        }
    }

    #[test]
    fn a_number_has_at_most_ten_bytes() {
        let longest = [[0x08].as_slice(), &[0xFF; 9], &[0x01]].concat();
        assert_eq!(fields(&longest), Ok(vec![varint(1, u64::MAX)]));
        let padded = [0x88, 0x80, 0x00, 0x85, 0x80, 0x80, 0x00];
        assert_eq!(fields(&padded), Ok(vec![varint(1, 5)]));
        let beyond = [[0x08].as_slice(), &[0x80; 9], &[0x7E]].concat();
        assert_eq!(fields(&beyond), Ok(vec![varint(1, 0)]));
        let eleven = [[0x08].as_slice(), &[0x80; 10], &[0x00]].concat();
        assert_eq!(fields(&eleven), Err(Damage::Malformed));
    }

    #[test]
    fn what_is_no_protobuf_is_refused() {
        for bytes in [
            &[0x00, 0x00][..],                               // field 0
            &[0x0C],                                         // a group ends that was not begun
            &[0x0B, 0x14],                                   // another group ends
            &[0x0B, 0x04, 0x0C],                             // group 0 ends
            &[0x0E, 0x00],                                   // wire type 6
            &[0x0F, 0x00],                                   // wire type 7
            &[0x12, 0x02, 0x00],                             // longer than the message
            &[0x88, 0x80, 0x80, 0x80, 0x10, 0x00],           // a tag of 33 bits
            &[[0x12].as_slice(), &[0xFF; 9], &[1]].concat(), // a length of 64 bits
        ] {
            assert_eq!(fields(bytes), Err(Damage::Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn groups_nest_a_hundred_deep() {
        let nested = |depth| [vec![0x0B; depth], vec![0x0C; depth]].concat();
        assert_eq!(fields(&nested(100)), Ok(vec![Field::Other]));
        assert_eq!(fields(&nested(101)), Err(Damage::Malformed));
    }
}

use super::{
    moment::Moment,
    seal::{Kind, Seal},
    sequence::Sequence,
};

/// What an iterator says to the service, and to nobody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) issued: Moment,
    pub(crate) stream: String,
    /// Tells the stream from others of its name.
    pub(crate) stream_number: u64,
    pub(crate) shard: u32,
    pub(crate) place: Place,
}

/// Where in its shard a read begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    At(Sequence),
    After(Sequence),
}

impl Ticket {
    /// A fresh one for the same shard.
    pub(crate) fn moved_to(self, place: Place, now: Moment) -> Self {
        Self {
            issued: now,
            place,
            ..self
        }
    }

    pub(crate) fn seal(&self, seal: &Seal) -> String {
        let (after, sequence) = match self.place {
            Place::At(sequence) => (0, sequence),
            Place::After(sequence) => (1, sequence),
        };
        let (high, low) = sequence.parts();
        let mut contents = Vec::with_capacity(45 + self.stream.len());
        contents.extend_from_slice(&self.issued.nanos().to_be_bytes());
        contents.extend_from_slice(&self.stream_number.to_be_bytes());
        contents.extend_from_slice(&self.shard.to_be_bytes());
        contents.push(after);
        contents.extend_from_slice(&high.to_be_bytes());
        contents.extend_from_slice(&low.to_be_bytes());
        contents.extend_from_slice(self.stream.as_bytes());
        seal.close(Kind::Iterator, &contents)
    }

    pub(crate) fn open(seal: &Seal, text: &str) -> Option<Self> {
        let contents = seal.open(Kind::Iterator, text)?;
        let (issued, rest) = contents.split_first_chunk()?;
        let (stream_number, rest) = rest.split_first_chunk()?;
        let (shard, rest) = rest.split_first_chunk()?;
        let (after, rest) = rest.split_first()?;
        let (high, rest) = rest.split_first_chunk()?;
        let (low, stream) = rest.split_first_chunk()?;
        let sequence = Sequence::from_parts(u64::from_be_bytes(*high), u128::from_be_bytes(*low));
        Some(Self {
            issued: Moment::from_nanos(u64::from_be_bytes(*issued)),
            stream: String::from_utf8(stream.to_vec()).ok()?,
            stream_number: u64::from_be_bytes(*stream_number),
            shard: u32::from_be_bytes(*shard),
            place: match after {
                0 => Place::At(sequence),
                _ => Place::After(sequence),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_survives_its_seal_and_fits_the_services_512_characters() {
        let seal = Seal::new(1);
        for place in [Place::At, Place::After] {
            let ticket = Ticket {
                issued: Moment::from_nanos(u64::MAX),
                stream: "s".repeat(128),
                stream_number: 3,
                shard: u32::MAX,
                place: place(Sequence::new(5, 6, 7, 8)),
            };
            let text = ticket.seal(&seal);
            assert!(text.len() <= 512, "{}", text.len());
            assert_eq!(Ticket::open(&seal, &text), Some(ticket));
        }
    }
}

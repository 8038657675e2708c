use kinesis_source::Timestamp;

use super::{
    Moment,
    seal::{Kind, Seal},
    stream::Filter,
};

/// What a token of a listing says to the service, and to nobody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) issued: Moment,
    pub(crate) stream: String,
    /// Tells the stream from others of its name.
    pub(crate) stream_number: u64,
    pub(crate) filter: Filter,
    /// The shard that comes next.
    pub(crate) from: u32,
}

impl Token {
    pub(crate) fn seal(&self, seal: &Seal) -> String {
        let (kind, time) = match self.filter {
            Filter::All => (0, 0),
            Filter::AtTrimHorizon => (1, 0),
            Filter::AtLatest => (2, 0),
            Filter::AtTimestamp(time) => (3, time.as_millis()),
            Filter::FromTimestamp(time) => (4, time.as_millis()),
        };
        let mut contents = Vec::with_capacity(29 + self.stream.len());
        contents.extend_from_slice(&self.issued.nanos().to_be_bytes());
        contents.extend_from_slice(&self.stream_number.to_be_bytes());
        contents.push(kind);
        contents.extend_from_slice(&time.to_be_bytes());
        contents.extend_from_slice(&self.from.to_be_bytes());
        contents.extend_from_slice(self.stream.as_bytes());
        seal.close(Kind::Token, &contents)
    }

    pub(crate) fn open(seal: &Seal, text: &str) -> Option<Self> {
        let contents = seal.open(Kind::Token, text)?;
        let (issued, rest) = contents.split_first_chunk()?;
        let (stream_number, rest) = rest.split_first_chunk()?;
        let (kind, rest) = rest.split_first()?;
        let (time, rest) = rest.split_first_chunk()?;
        let (from, stream) = rest.split_first_chunk()?;
        let time = Timestamp::from_millis(i64::from_be_bytes(*time));
        Some(Self {
            issued: Moment::from_nanos(u64::from_be_bytes(*issued)),
            stream: String::from_utf8(stream.to_vec()).ok()?,
            stream_number: u64::from_be_bytes(*stream_number),
            filter: match kind {
                0 => Filter::All,
                1 => Filter::AtTrimHorizon,
                2 => Filter::AtLatest,
                3 => Filter::AtTimestamp(time),
                4 => Filter::FromTimestamp(time),
                _ => return None,
            },
            from: u32::from_be_bytes(*from),
        })
    }
}

/// What a token of a listing of consumers says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConsumersToken {
    pub(crate) issued: Moment,
    /// Tells the stream from others of its name.
    pub(crate) stream_number: u64,
    /// The consumer before the one that comes next.
    pub(crate) after: String,
}

impl ConsumersToken {
    pub(crate) fn seal(&self, seal: &Seal) -> String {
        let mut contents = Vec::with_capacity(16 + self.after.len());
        contents.extend_from_slice(&self.issued.nanos().to_be_bytes());
        contents.extend_from_slice(&self.stream_number.to_be_bytes());
        contents.extend_from_slice(self.after.as_bytes());
        seal.close(Kind::ConsumersToken, &contents)
    }

    pub(crate) fn open(seal: &Seal, text: &str) -> Option<Self> {
        let contents = seal.open(Kind::ConsumersToken, text)?;
        let (issued, rest) = contents.split_first_chunk()?;
        let (stream_number, after) = rest.split_first_chunk()?;
        Some(Self {
            issued: Moment::from_nanos(u64::from_be_bytes(*issued)),
            stream_number: u64::from_be_bytes(*stream_number),
            after: String::from_utf8(after.to_vec()).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_seal() {
        let seal = Seal::new(1);
        let time = Timestamp::from_millis(-5);
        for filter in [
            Filter::All,
            Filter::AtTrimHorizon,
            Filter::AtLatest,
            Filter::AtTimestamp(time),
            Filter::FromTimestamp(time),
        ] {
            let token = Token {
                issued: Moment::from_nanos(9),
                stream: "orders".into(),
                stream_number: 3,
                filter,
                from: 17,
            };
            assert_eq!(Token::open(&seal, &token.seal(&seal)), Some(token));
        }
    }

    #[test]
    fn a_token_of_consumers_survives_its_seal() {
        let seal = Seal::new(1);
        let token = ConsumersToken {
            issued: Moment::from_nanos(9),
            stream_number: 3,
            after: "audit".into(),
        };
        let text = token.seal(&seal);
        assert_eq!(ConsumersToken::open(&seal, &text), Some(token));
        assert_eq!(Token::open(&seal, &text), None);
    }
}

use std::fmt;

use super::CheckpointError;
use crate::{StreamSummary, Timestamp};

/// Which stream this is, told from another that had the same name before or after it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StreamIdentity {
    /// Its name.
    pub name: String,
    /// When it was made, if that is known.
    pub created: Option<Timestamp>,
}

impl StreamIdentity {
    /// Whether both may be one stream: same name, and made at the same moment as far as both know.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let moments = self.created.zip(other.created);
        self.name == other.name && moments.is_none_or(|(one, two)| one == two)
    }

    /// Claims the store at `place`, which belongs to `owner`. Returns its owner from now on, if
    /// that is news: it was nobody's, or did not know when its stream was made.
    pub(super) fn claim(
        &self,
        owner: Option<&Self>,
        place: &str,
    ) -> Result<Option<Self>, CheckpointError> {
        match owner {
            Some(owner) if !owner.agrees_with(self) => Err(CheckpointError::OtherStream {
                place: place.to_owned(),
                found: owner.clone(),
                wanted: self.clone(),
            }),
            Some(owner) if owner.created.is_some() || self.created.is_none() => Ok(None),
            _ => Ok(Some(self.clone())),
        }
    }
}

impl From<&StreamSummary> for StreamIdentity {
    fn from(summary: &StreamSummary) -> Self {
        Self {
            name: summary.name.clone(),
            created: summary.created,
        }
    }
}

impl fmt::Display for StreamIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {:?}", self.name)?;
        match self.created {
            Some(moment) => write!(f, " created at {moment}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_made_again_is_another() {
        let made = |millis| StreamIdentity {
            name: "orders".into(),
            created: Some(Timestamp::from_millis(millis)),
        };
        let unknown = StreamIdentity {
            created: None,
            ..made(0)
        };
        assert!(made(1_000).agrees_with(&made(1_000)));
        assert!(!made(1_000).agrees_with(&made(2_000)));
        assert!(unknown.agrees_with(&made(1_000)) && made(1_000).agrees_with(&unknown));
    }
}

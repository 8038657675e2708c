use kinesis_source::{Position, SequenceNumber, Timestamp};

use super::Shard;
use crate::model::{
    Choices, FutureTimestamp, Moment, OlderThanHorizon, Refusal, iterator::Place,
    sequence::Sequence,
};

impl Shard {
    /// The place that `position` means at `now`.
    pub(crate) fn seek(
        &self,
        position: &Position,
        choices: &Choices,
        now: Moment,
    ) -> Result<Place, Refusal> {
        match position {
            Position::TrimHorizon => Ok(self.horizon()),
            Position::Latest => Ok(Place::After(self.newest)),
            Position::AtTimestamp(time) => self.at_timestamp(*time, choices, now),
            Position::AtSequenceNumber(number) => {
                let from = self.own(number)?;
                let lost = self.trimmed.is_some_and(|trimmed| from <= trimmed);
                self.from(from, Place::At(from), lost, choices)
            }
            Position::AfterSequenceNumber(number) => {
                let from = self.own(number)?;
                let lost = self.trimmed.is_some_and(|trimmed| from < trimmed);
                self.from(from, Place::After(from), lost, choices)
            }
        }
    }

    /// The oldest record still kept, or whichever comes first.
    fn horizon(&self) -> Place {
        match self.trimmed {
            Some(trimmed) => Place::After(trimmed),
            None => Place::At(self.starting),
        }
    }

    fn at_timestamp(
        &self,
        time: Timestamp,
        choices: &Choices,
        now: Moment,
    ) -> Result<Place, Refusal> {
        let now = now.timestamp();
        if time > now && choices.future_timestamp == FutureTimestamp::Refuse {
            return Err(Refusal::invalid_argument(format!(
                "The timestampInMillis parameter cannot be greater than the \
                 currentTimestampInMillis. timestampInMillis: {}, currentTimestampInMillis: {}",
                time.as_millis(),
                now.as_millis(),
            )));
        }
        let first = self.records.partition_point(|it| it.arrival < time);
        Ok(match self.records.get(first) {
            Some(stored) => Place::At(stored.sequence),
            None => Place::After(self.newest),
        })
    }

    /// The sequence of `number`, if it is one of this shard.
    fn own(&self, number: &SequenceNumber) -> Result<Sequence, Refusal> {
        let id = &self.id;
        let Some(sequence) = Sequence::parse(number) else {
            return Err(Refusal::invalid_argument(format!(
                "StartingSequenceNumber {number} used in GetShardIterator on shard {id} is invalid."
            )));
        };
        if sequence.shard() != self.number {
            let other = super::id(sequence.shard());
            return Err(Refusal::invalid_argument(format!(
                "Invalid StartingSequenceNumber. It encodes {other}, while it was used in a call \
                 to a shard with {id}"
            )));
        }
        let ending = self.closing.as_ref().map(|closing| closing.ending);
        let beyond = ending.is_some_and(|ending| sequence > ending);
        if sequence.born() != self.starting.born() || sequence < self.starting || beyond {
            return Err(Refusal::invalid_argument(format!(
                "StartingSequenceNumber {number} used in GetShardIterator on shard {id} is invalid \
                 because it did not come from this stream."
            )));
        }
        Ok(sequence)
    }

    /// `place`, which is at or after `from`, unless records there are lost.
    fn from(
        &self,
        from: Sequence,
        place: Place,
        lost: bool,
        choices: &Choices,
    ) -> Result<Place, Refusal> {
        // Its own start is always good: who begins there asks for whatever is left.
        if !lost || from == self.starting {
            return Ok(place);
        }
        match choices.older_than_horizon {
            OlderThanHorizon::StartAtHorizon => Ok(self.horizon()),
            OlderThanHorizon::Refuse => Err(Refusal::invalid_argument(format!(
                "StartingSequenceNumber {} used in GetShardIterator on shard {} is older than the \
                 oldest record that is kept.",
                from.number(),
                self.id
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use kinesis_source::HashRange;

    use super::*;
    use crate::model::{Moment, shard::Birth};

    #[test]
    fn a_number_beyond_the_end_of_a_closed_shard_is_none_of_its() {
        let second = 1_767_225_600;
        let at = Moment::from_nanos(second * 1_000_000_000);
        let mut shard = Shard::new(Birth {
            number: 3,
            parents: Vec::new(),
            hash_range: HashRange::ALL,
            at,
            second,
        });
        let later = Sequence::new(second, 3, i64::MAX.unsigned_abs(), second + 1);
        let position = Position::AtSequenceNumber(later.number());
        assert!(shard.seek(&position, &Choices::default(), at).is_ok());
        shard.close(at, Vec::new());
        assert!(shard.seek(&position, &Choices::default(), at).is_err());
    }
}

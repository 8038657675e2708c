use md5::{Digest, Md5};

use kinesis_source::ShardId;

use super::Refusal;

/// Records of the next PutRecords that are refused on purpose, drawn for each by its place.
#[derive(Clone, Debug)]
pub(crate) struct Refusing {
    /// Of this shard's only.
    pub(crate) shard: Option<ShardId>,
    /// About that share of them, from 0 to 1.
    pub(crate) share: f64,
    /// What is drawn depends on it and on the record's place.
    pub(crate) draw: u64,
    /// What is said of them.
    pub(crate) refusal: Refusal,
}

impl Refusing {
    /// Whether the record at that place, which falls on `shard`, is one of them.
    pub(crate) fn chooses<'a>(&self, place: usize, shard: impl FnOnce() -> &'a ShardId) -> bool {
        if self.shard.as_ref().is_some_and(|only| only != shard()) {
            return false;
        }
        let mut md5 = Md5::new();
        md5.update(self.draw.to_be_bytes());
        md5.update((place as u64).to_be_bytes());
        let digest = u128::from_be_bytes(md5.finalize().into());
        // As many bits as a double keeps.
        let drawn = (digest >> 75) as f64 / (1_u64 << 53) as f64;
        drawn < self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_that_share_of_the_places_is_chosen_and_the_same_again() {
        let chosen = |share, draw| {
            let refusing = Refusing {
                shard: None,
                share,
                draw,
                refusal: Refusal::validation("x"),
            };
            let places = (0..10_000)
                .filter(|place| refusing.chooses(*place, || unreachable!("it may be any shard's")));
            places.collect::<Vec<_>>()
        };
        let third = chosen(0.3, 7);
        assert!((2_800..3_200).contains(&third.len()), "{}", third.len());
        assert_eq!(chosen(0.3, 7), third);
        assert_ne!(chosen(0.3, 8), third);
        assert_eq!(chosen(0.0, 7).len(), 0);
        assert_eq!(chosen(1.0, 7).len(), 10_000);
    }
}

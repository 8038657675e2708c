use kinesis_source::ShardId;
use md5::{Digest, Md5};

/// What one rule of a plan draws: numbers that depend on the plan's seed, the rule and what is drawn
/// for, and on nothing else. So it does not matter in which order tasks ask.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chance {
    seed: u64,
    rule: u64,
}

/// What is drawn for: each has numbers of its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Strike = 1,
    Detail = 2,
    Chosen = 3,
    Stop = 4,
    Release = 5,
    Plan = 6,
}

impl Chance {
    pub(super) fn new(seed: u64, rule: u64) -> Self {
        Self { seed, rule }
    }

    /// The `nth` number drawn for that purpose and that shard, or for what concerns no shard.
    pub(super) fn draw(self, purpose: Purpose, shard: Option<&ShardId>, nth: u64) -> u64 {
        let mut md5 = Md5::new();
        for number in [self.seed, self.rule, purpose as u64, nth] {
            md5.update(number.to_be_bytes());
        }
        md5.update(shard.map_or_else(String::new, ShardId::to_string));
        let digest = u128::from_be_bytes(md5.finalize().into());
        (digest >> 64) as u64
    }

    /// The same, from 0 to less than 1.
    pub(super) fn share(self, purpose: Purpose, shard: Option<&ShardId>, nth: u64) -> f64 {
        unit(self.draw(purpose, shard, nth))
    }
}

fn unit(number: u64) -> f64 {
    // As many bits as a double keeps.
    (number >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_depends_on_everything_it_is_drawn_for_and_stays() {
        let shard: ShardId = "shardId-000000000001".into();
        let chance = Chance::new(7, 1);
        let draws = [
            chance.draw(Purpose::Strike, None, 0),
            chance.draw(Purpose::Strike, None, 1),
            chance.draw(Purpose::Strike, Some(&shard), 0),
            chance.draw(Purpose::Detail, None, 0),
            Chance::new(7, 2).draw(Purpose::Strike, None, 0),
            Chance::new(8, 1).draw(Purpose::Strike, None, 0),
        ];
        let mut distinct = draws.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), draws.len());
        // A plan that failed yesterday must fail today: this number is part of what a seed means.
        assert_eq!(draws[0], 5_096_473_866_865_040_582);
    }

    #[test]
    fn shares_fill_the_range_evenly() {
        let chance = Chance::new(1, 1);
        let shares: Vec<_> = (0..10_000)
            .map(|nth| chance.share(Purpose::Strike, None, nth))
            .collect();
        assert!(shares.iter().all(|share| (0.0..1.0).contains(share)));
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        assert!((0.48..0.52).contains(&mean), "{mean}");
    }
}

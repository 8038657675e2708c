use std::time::Duration;

use kinesis_source::{PutEntry, PutOutcome, ShardId};
use md5::{Digest, Md5};

use super::Stream;
use crate::model::{Limits, Moment, RecordDistribution, shard::BESIDES};

impl Stream {
    /// Puts one record, which says that it came so much `earlier`, by its index. A shard that has had
    /// enough refuses it.
    pub(crate) fn put(
        &mut self,
        entry: &PutEntry,
        limits: &Limits,
        earlier: impl Fn(u64) -> Duration,
        now: Moment,
    ) -> PutOutcome {
        let retention = self.retention();
        let number = self.route(entry);
        let shard = &mut self.shards[number as usize];
        self.bytes -= shard.trim(retention, now, &mut self.expired);
        let bytes = bytes_of(entry);
        if !shard.admit_write(bytes, limits, now) {
            let refusal = shard.rate_exceeded();
            return PutOutcome::Refused {
                code: refusal.code().to_owned(),
                message: refusal.message().to_owned(),
            };
        }
        self.newest_index += 1;
        self.bytes += bytes + BESIDES;
        self.provision.count(bytes, now);
        self.news.extend(&shard.subscribers);
        // Only a stream that needs none takes a record without.
        let key = entry.partition_key.clone();
        let key = Some(key).filter(|key| !key.is_empty());
        PutOutcome::Stored {
            sequence_number: shard.append(
                self.newest_index,
                now,
                earlier(self.newest_index),
                key,
                entry.data.clone(),
            ),
            shard: shard.id.clone(),
        }
    }

    /// The open shard that a record falls on, by name.
    pub(crate) fn shard_of(&self, entry: &PutEntry) -> &ShardId {
        &self.shards[self.route(entry) as usize].id
    }

    /// The open shard that a record falls on.
    fn route(&self, entry: &PutEntry) -> u32 {
        if self.provision.distribution == RecordDistribution::Auto {
            return self.route_evenly();
        }
        let by_key = || hash_of(&entry.partition_key);
        let hash_key = entry.explicit_hash_key.unwrap_or_else(by_key);
        let below = self.routes.range(..=hash_key).next_back();
        let (_, number) = below.expect("the open shards cover every hash key, from zero on");
        *number
    }

    /// The open shards in turn.
    fn route_evenly(&self) -> u32 {
        let open = self.routes.values();
        let turn = self.newest_index % self.routes.len() as u64;
        let number = open.copied().nth(usize::try_from(turn).unwrap_or(0));
        number.expect("a stream has open shards, and the turn is one of them")
    }
}

/// What a record counts against limits: its data and its partition key.
pub(crate) fn bytes_of(entry: &PutEntry) -> u64 {
    (entry.data.len() + entry.partition_key.len()) as u64
}

/// Where a partition key falls: its MD5, read as an unsigned number.
pub(crate) fn hash_of(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_falls_where_its_md5_is() {
        assert_eq!(hash_of(""), 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e);
        assert_eq!(hash_of("a"), 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
    }
}

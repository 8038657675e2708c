use kinesis_source::{Record, SequenceNumber, ShardId};
use serde::Deserialize;
use stage_core::{Batch, Transform};

/// Makes typed orders of records.
#[derive(Debug)]
pub(super) struct Decode;

/// A record, decoded.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) shard: ShardId,
    pub(super) number: u64,
    pub(super) key: String,
}

#[derive(Debug, thiserror::Error)]
#[error("record {sequence_number} of {shard} is not what was published")]
pub(super) struct Garbled {
    shard: ShardId,
    sequence_number: SequenceNumber,
    source: serde_json::Error,
}

#[derive(Deserialize)]
struct Body {
    number: u64,
    key: String,
}

impl Transform<Record> for Decode {
    type Out = Order;
    type Error = Garbled;

    async fn transform(
        &mut self,
        batch: &mut Batch<Record>,
        out: &mut Batch<Order>,
    ) -> Result<(), Garbled> {
        for record in batch.drain() {
            match serde_json::from_slice(&record.data) {
                Ok(Body { number, key }) => out.push(Order {
                    shard: record.shard,
                    number,
                    key,
                }),
                Err(source) => {
                    return Err(Garbled {
                        shard: record.shard,
                        sequence_number: record.sequence_number,
                        source,
                    });
                }
            }
        }
        Ok(())
    }
}

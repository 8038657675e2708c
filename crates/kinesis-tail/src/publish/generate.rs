use std::convert::Infallible;

use kinesis_source::PutEntry;
use serde::Serialize;
use stage_core::{Batch, Demand, Flow, Producer};

use super::Numbered;

/// Makes up records: JSON with a running number, over many keys in turn.
#[derive(Debug)]
pub(super) struct Generate {
    next: u64,
    last: u64,
}

/// What a made-up record holds.
#[derive(Serialize)]
struct Body<'a> {
    number: u64,
    key: &'a str,
}

/// How many keys there are: as many as a request takes, so that each can hold one record of each key.
pub(crate) const KEYS: u64 = 500;

impl Generate {
    /// Numbers 1 to `count`.
    pub(super) fn new(count: u64) -> Self {
        Self {
            next: 1,
            last: count,
        }
    }
}

impl Producer for Generate {
    type Event = Numbered;
    type Error = Infallible;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<Numbered>,
    ) -> Result<Flow, Infallible> {
        let end = self.last.min(self.next - 1 + demand.get() as u64);
        batch.extend((self.next..=end).map(made_up));
        self.next = end + 1;
        Ok(if end < self.last {
            Flow::More
        } else {
            Flow::End
        })
    }
}

/// The record of that number, as `publish --count` makes it up.
pub(crate) fn made_up(number: u64) -> Numbered {
    let key = format!("key-{:03}", number % KEYS);
    let body = Body { number, key: &key };
    let data = serde_json::to_vec(&body).expect("a number and a string make JSON");
    Numbered {
        number,
        entry: PutEntry {
            partition_key: key,
            explicit_hash_key: None,
            data: data.into(),
        },
    }
}

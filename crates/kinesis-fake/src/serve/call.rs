use kinesis_source::ShardId;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Fake,
    failure::Failure,
    model::{INTERNAL_FAILURE, Moment, Operation, Refusal, Service},
};

mod control;
mod listing;
mod reading;
mod writing;

/// What an operation's request says, and what the model makes of it.
trait Call: DeserializeOwned + Send + Sync {
    type Answer: Serialize + Send;

    /// The shard that it concerns, if it is one.
    fn shard(&self, _service: &Service) -> Option<ShardId> {
        None
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Self::Answer, Refusal>;
}

/// Carries out what `body` asks for; the answer is JSON.
pub(super) async fn dispatch(
    fake: &Fake,
    operation: Operation,
    body: &[u8],
) -> Result<Vec<u8>, Failure> {
    use Operation as Op;
    macro_rules! carry_out {
        ($call:ty) => {
            carry_out::<$call>(fake, operation, body).await
        };
    }
    match operation {
        Op::CreateStream => carry_out!(control::CreateStream),
        Op::DecreaseStreamRetentionPeriod => carry_out!(control::DecreaseRetention),
        Op::DeleteStream => carry_out!(control::DeleteStream),
        Op::DescribeStream => carry_out!(listing::DescribeStream),
        Op::DescribeStreamSummary => carry_out!(listing::DescribeStreamSummary),
        Op::GetRecords => carry_out!(reading::GetRecords),
        Op::GetShardIterator => carry_out!(reading::GetShardIterator),
        Op::IncreaseStreamRetentionPeriod => carry_out!(control::IncreaseRetention),
        Op::ListShards => carry_out!(listing::ListShards),
        Op::ListStreams => carry_out!(listing::ListStreams),
        Op::MergeShards => carry_out!(control::MergeShards),
        Op::PutRecord => carry_out!(writing::PutRecord),
        Op::PutRecords => carry_out!(writing::PutRecords),
        Op::SplitShard => carry_out!(control::SplitShard),
        Op::DeregisterStreamConsumer
        | Op::DescribeLimits
        | Op::DescribeStreamConsumer
        | Op::ListStreamConsumers
        | Op::RegisterStreamConsumer
        | Op::SubscribeToShard
        | Op::UpdateMaxRecordSize
        | Op::UpdateShardCount
        | Op::UpdateStreamMode
        | Op::UpdateStreamRecordDistributionStrategy => {
            let message = format!("{operation} is not served over HTTP.");
            let refusal = Refusal::new("UnknownOperationException", message);
            Err(Failure::Refused(refusal))
        }
    }
}

async fn carry_out<C: Call>(
    fake: &Fake,
    operation: Operation,
    body: &[u8],
) -> Result<Vec<u8>, Failure> {
    let call: C = serde_json::from_slice(body).map_err(not_understood)?;
    let answer = fake
        .call(
            operation,
            |service| call.shard(service),
            |service, now| call.act(service, now),
        )
        .await?;
    // Outside the call: others need not wait until ten megabytes have been written.
    serde_json::to_vec(&answer)
        .map_err(|error| Failure::Refused(Refusal::new(INTERNAL_FAILURE, error.to_string())))
}

/// Tells where the text stops making sense. That may repeat what the client sent, to the client.
#[expect(clippy::needless_pass_by_value, reason = "it is given to `map_err`")]
fn not_understood(error: serde_json::Error) -> Failure {
    let message = error.to_string().chars().take(300).collect::<String>();
    Failure::Refused(Refusal::new("SerializationException", message))
}

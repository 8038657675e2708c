use std::any::Any;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Fake,
    faults::{About, Spoiling, Subject},
    model::{INTERNAL_FAILURE, Moment, Operation, Refusal, Service},
};

mod control;
mod listing;
mod reading;
mod writing;

/// What an operation's request says, and what the model makes of it.
trait Call: DeserializeOwned + Send + Sync {
    /// What the model gives.
    type Outcome: Any + Send;
    /// How that is written.
    type Answer: Serialize + From<Self::Outcome>;

    /// What it names, as far as faults want to know.
    fn about(&self) -> About {
        About::Whole
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Self::Outcome, Refusal>;
}

/// The answer as JSON, and what happens to it on its way.
pub(super) type Answered = Result<(Vec<u8>, Option<Spoiling>), Refusal>;

/// Carries out what `body` asks for.
pub(super) async fn dispatch(fake: &Fake, operation: Operation, body: &[u8]) -> Answered {
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
    }
}

async fn carry_out<C: Call>(fake: &Fake, operation: Operation, body: &[u8]) -> Answered {
    let call: C = serde_json::from_slice(body).map_err(not_understood)?;
    let about = call.about();
    let subject = Subject { operation, about };
    let exchange = fake.exchange(subject, |service, now| call.act(service, now));
    let (outcome, spoiling) = exchange.await?;
    // Outside the call: others need not wait until ten megabytes have been written.
    let json = serde_json::to_vec(&C::Answer::from(outcome));
    json.map(|json| (json, spoiling))
        .map_err(|error| Refusal::new(INTERNAL_FAILURE, error.to_string()))
}

/// Tells where the text stops making sense. That may repeat what the client sent, to the client.
#[expect(clippy::needless_pass_by_value, reason = "it is given to `map_err`")]
fn not_understood(error: serde_json::Error) -> Refusal {
    let message = error.to_string().chars().take(300).collect::<String>();
    Refusal::new("SerializationException", message)
}

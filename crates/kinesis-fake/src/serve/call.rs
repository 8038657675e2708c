use std::{any::Any, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    bodies::Placed,
    check::Check,
    format::Format,
    room::{Place, Room, Traffic},
};
use crate::{
    Fake,
    faults::{About, Spoiling, Subject},
    model::{INTERNAL_FAILURE, Moment, Operation, Refusal, Service},
};

mod account;
mod capacity;
mod consumers;
mod control;
mod encrypting;
mod listing;
mod monitoring;
mod policies;
mod reading;
mod subscribing;
mod tagging;
mod writing;

pub(super) use subscribing::Wanted;

/// What an operation's request says, and what the model makes of it.
///
/// Members are optional though the service wants them: it understands a request without them, and
/// then [tells](Self::check) all that is missing.
trait Call: DeserializeOwned + Send + Sync + 'static {
    /// What the model gives.
    type Outcome: Any + Send;
    /// How that is written.
    type Answer: Serialize + From<Self::Outcome>;

    /// What it names, as far as faults want to know.
    fn about(&self) -> About {
        About::Whole
    }

    /// The part of what the model gives that a [rewrite](crate::Rewrite) is about: all of it, or what
    /// the fake's own interface gives.
    fn part(outcome: &mut Self::Outcome) -> &mut dyn Any {
        outcome
    }

    /// What is wrong with it, whatever the service's state.
    fn check(&self, check: &mut Check);

    /// Whether it puts records into a stream that wants nothing of their partition keys.
    fn keyless(&self, _: &mut Service, _: Moment) -> bool {
        false
    }

    /// About how many bytes that is when it is written, if it may be many.
    fn size(_: &Self::Outcome) -> usize {
        0
    }

    /// Carries it out, if nothing was wrong with it.
    fn act(&self, service: &mut Service, now: Moment) -> Result<Self::Outcome, Refusal>;
}

/// An answer to a call that was carried out.
pub(super) struct Written {
    pub(super) body: Vec<u8>,
    /// What happens to it on its way.
    pub(super) spoiling: Option<Spoiling>,
    /// Where it is until then.
    pub(super) place: Place,
}

pub(super) type Answered = Result<Written, Refusal>;

/// Carries out what `body` asks for.
pub(super) async fn dispatch(
    fake: &Fake,
    operation: Operation,
    format: Format,
    body: Placed,
    room: (&Room, &Arc<Traffic>),
) -> Answered {
    use Operation as Op;
    macro_rules! carry_out {
        ($call:ty) => {
            carry_out::<$call>(fake, operation, format, body, room).await
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
        Op::DescribeLimits => carry_out!(capacity::DescribeLimits),
        Op::UpdateMaxRecordSize => carry_out!(capacity::UpdateMaxRecordSize),
        Op::UpdateShardCount => carry_out!(capacity::UpdateShardCount),
        Op::UpdateStreamMode => carry_out!(capacity::UpdateStreamMode),
        Op::UpdateStreamRecordDistributionStrategy => {
            carry_out!(capacity::UpdateRecordDistribution)
        }
        Op::DeregisterStreamConsumer => carry_out!(consumers::DeregisterStreamConsumer),
        Op::DescribeStreamConsumer => carry_out!(consumers::DescribeStreamConsumer),
        Op::ListStreamConsumers => carry_out!(consumers::ListStreamConsumers),
        Op::RegisterStreamConsumer => carry_out!(consumers::RegisterStreamConsumer),
        Op::AddTagsToStream => carry_out!(tagging::AddTagsToStream),
        Op::ListTagsForResource => carry_out!(tagging::ListTagsForResource),
        Op::ListTagsForStream => carry_out!(tagging::ListTagsForStream),
        Op::RemoveTagsFromStream => carry_out!(tagging::RemoveTagsFromStream),
        Op::TagResource => carry_out!(tagging::TagResource),
        Op::UntagResource => carry_out!(tagging::UntagResource),
        Op::DeleteResourcePolicy => carry_out!(policies::DeleteResourcePolicy),
        Op::GetResourcePolicy => carry_out!(policies::GetResourcePolicy),
        Op::PutResourcePolicy => carry_out!(policies::PutResourcePolicy),
        Op::StartStreamEncryption => carry_out!(encrypting::StartStreamEncryption),
        Op::StopStreamEncryption => carry_out!(encrypting::StopStreamEncryption),
        Op::DisableEnhancedMonitoring => carry_out!(monitoring::DisableEnhancedMonitoring),
        Op::EnableEnhancedMonitoring => carry_out!(monitoring::EnableEnhancedMonitoring),
        Op::DescribeAccountSettings => carry_out!(account::DescribeAccountSettings),
        Op::UpdateAccountSettings => carry_out!(account::UpdateAccountSettings),
        Op::UpdateStreamWarmThroughput => carry_out!(account::UpdateStreamWarmThroughput),
        // Its answer does not end, and is another's to give.
        Op::SubscribeToShard => Err(Refusal::new(
            INTERNAL_FAILURE,
            "SubscribeToShard is answered by a stream of events.",
        )),
    }
}

async fn carry_out<C: Call>(
    fake: &Fake,
    operation: Operation,
    format: Format,
    body: Placed,
    (room, traffic): (&Room, &Arc<Traffic>),
) -> Answered {
    let call: C = format.read_aside(&body).await?;
    let subject = Subject {
        operation,
        about: call.about(),
    };
    // Made or not: who hangs, or is answered late, keeps neither the body nor what was made of it.
    let act = move |service: &mut Service, now| {
        let _body = body;
        let keyless = call.keyless(service, now);
        let mut check = Check::with(service.settings().limits.clone(), keyless);
        call.check(&mut check);
        check.done()?;
        call.act(service, now)
    };
    let exchange = fake.exchange(subject, act, C::part);
    let (outcome, spoiling) = exchange.await?;
    let size = C::size(&outcome);
    let place = room.take(size, traffic).await;
    // Outside the call: others need not wait until ten megabytes have been written.
    let answer = C::Answer::from(outcome);
    let body = match size_of::<C::Answer>() {
        // API CreateStream and others: "with an empty HTTP body".
        0 => Vec::new(),
        _ => format.write_into(Vec::with_capacity(size), &answer)?,
    };
    Ok(Written {
        body,
        spoiling,
        place,
    })
}

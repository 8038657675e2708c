use kinesis_source::{ConsumerArn, Position, ShardId};
use serde::Deserialize;

use super::reading::{POSITIONS, position};
use crate::{
    model::Refusal,
    serve::{
        bodies::Placed,
        check::{Check, Pattern},
        format::Format,
        wire::Time,
    },
};

/// What a SubscribeToShard asks for. It is no [`Call`](super::Call): its answer does not end.
pub(in crate::serve) struct Wanted {
    pub(in crate::serve) consumer: ConsumerArn,
    pub(in crate::serve) shard: ShardId,
    pub(in crate::serve) position: Position,
    /// Whether it is only to be checked.
    pub(in crate::serve) dry_run: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SubscribeToShard {
    #[serde(rename = "ConsumerARN")]
    consumer_arn: Option<String>,
    shard_id: Option<String>,
    #[serde(default, deserialize_with = "crate::serve::wire::object")]
    starting_position: Option<StartingPosition>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StartingPosition {
    r#type: Option<String>,
    sequence_number: Option<String>,
    timestamp: Option<Time>,
}

impl Wanted {
    pub(in crate::serve) async fn read(format: Format, body: &Placed) -> Result<Self, Refusal> {
        let request: SubscribeToShard = format.read_aside(body).await?;
        let mut check = Check::default();
        request.check(&mut check);
        check.done()?;
        let start = request.starting_position.as_ref();
        Ok(Self {
            dry_run: request.dry_run == Some(true),
            consumer: ConsumerArn::new(request.consumer_arn.unwrap_or_default()),
            shard: ShardId::new(request.shard_id.unwrap_or_default()),
            position: position(
                start
                    .and_then(|start| start.r#type.as_deref())
                    .unwrap_or_default(),
                start.and_then(|start| start.sequence_number.as_deref()),
                start.and_then(|start| start.timestamp),
            )?,
        })
    }
}

impl SubscribeToShard {
    fn check(&self, check: &mut Check) {
        check.required("consumerARN", self.consumer_arn.as_ref());
        let arn = self.consumer_arn.as_deref();
        check.pattern("consumerARN", arn, Pattern::ConsumerArn);
        check.length("consumerARN", self.consumer_arn.as_deref(), 1..=2_048);
        check.required("shardId", self.shard_id.as_ref());
        check.name("shardId", self.shard_id.as_deref());
        check.required("startingPosition", self.starting_position.as_ref());
        if let Some(start) = &self.starting_position {
            let kind = start.r#type.as_deref();
            check.required("startingPosition.type", kind);
            check.one_of("startingPosition.type", kind, &POSITIONS);
            check.pattern(
                "startingPosition.sequenceNumber",
                start.sequence_number.as_deref(),
                Pattern::SequenceNumber,
            );
        }
    }
}

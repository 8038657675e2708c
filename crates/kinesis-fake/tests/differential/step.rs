use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

/// A call to be made, in terms that mean the same on every server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// A record at a sixteenth of the hash keys.
    Put {
        sixteenth: u8,
        data: String,
    },
    /// Several, in one call.
    PutBatch {
        sixteenths: Vec<u8>,
    },
    /// A record of so many bytes beside its key.
    PutLarge {
        bytes: usize,
    },
    /// So many of them, in one call.
    PutMany {
        count: usize,
        bytes: usize,
    },
    /// At a sixteenth of all hash keys, which may not be the shard's.
    Split {
        shard: u8,
        sixteenth: u8,
    },
    Merge {
        shard: u8,
        with: u8,
    },
    List {
        most: Option<u8>,
    },
    /// With a filter that needs nothing else.
    ListFiltered {
        filter: &'static str,
    },
    ListAfter {
        shard: u8,
    },
    Describe {
        most: Option<u8>,
    },
    Summary,
    Iterator {
        shard: u8,
        kind: &'static str,
    },
    /// At the number of a record that was put before, which may be another shard's.
    IteratorAt {
        shard: u8,
        after: bool,
        record: u8,
    },
    /// At the shard's starting number.
    IteratorAtStart {
        shard: u8,
        after: bool,
    },
    /// Reads from the iterator that was had last, or from the one that the last read gave.
    Read {
        limit: Option<u16>,
    },
    Retention {
        increase: bool,
        hours: u16,
    },
    /// Anything, in the stream's name if `Value` has a `StreamName`.
    Odd {
        target: &'static str,
        body: Value,
    },
}

pub(crate) fn drawn() -> impl Strategy<Value = Step> {
    let shard = || 0..6_u8;
    let sixteenth = || 0..16_u8;
    prop_oneof![
        6 => (sixteenth(), "[a-z]{0,6}").prop_map(|(sixteenth, data)| Step::Put { sixteenth, data }),
        2 => prop::collection::vec(sixteenth(), 1..5)
            .prop_map(|sixteenths| Step::PutBatch { sixteenths }),
        2 => (shard(), sixteenth()).prop_map(|(shard, sixteenth)| Step::Split { shard, sixteenth }),
        2 => (shard(), shard()).prop_map(|(shard, with)| Step::Merge { shard, with }),
        1 => prop::option::of(0..4_u8).prop_map(|most| Step::List { most }),
        1 => select(FILTERS.to_vec()).prop_map(|filter| Step::ListFiltered { filter }),
        1 => shard().prop_map(|shard| Step::ListAfter { shard }),
        1 => prop::option::of(0..4_u8).prop_map(|most| Step::Describe { most }),
        1 => Just(Step::Summary),
        4 => (shard(), select(vec!["TRIM_HORIZON", "TRIM_HORIZON", "LATEST"]))
            .prop_map(|(shard, kind)| Step::Iterator { shard, kind }),
        2 => (shard(), any::<bool>(), 0..8_u8)
            .prop_map(|(shard, after, record)| Step::IteratorAt { shard, after, record }),
        1 => (shard(), any::<bool>())
            .prop_map(|(shard, after)| Step::IteratorAtStart { shard, after }),
        6 => prop::option::of(1..4_u16).prop_map(|limit| Step::Read { limit }),
        1 => select(vec![0, 10_000, 10_001]).prop_map(|limit| Step::Read { limit: Some(limit) }),
        1 => (any::<bool>(), select(vec![20_u16, 24, 30, 48, 169, 9_000]))
            .prop_map(|(increase, hours)| Step::Retention { increase, hours }),
        2 => select(odd()),
    ]
}

/// Calls that are refused, or should be.
pub(crate) fn odd() -> Vec<Step> {
    let name = "the stream";
    let shard = "shardId-000000000000";
    let odd = |target, body| Step::Odd { target, body };
    vec![
        odd("DescribeStream", json!({"StreamName": "nowhere"})),
        odd("DescribeStream", json!({"StreamName": "a b"})),
        odd(
            "DescribeStream",
            json!({"StreamName": name, "Limit": 10_001}),
        ),
        odd("DescribeStream", json!({"StreamName": 7})),
        odd("CreateStream", json!({"StreamName": name, "ShardCount": 1})),
        odd("CreateStream", json!({"StreamName": "x", "ShardCount": 0})),
        odd(
            "CreateStream",
            json!({"StreamName": "a/b", "ShardCount": -1}),
        ),
        odd("PutRecord", json!({"StreamName": name, "Data": "YQ=="})),
        odd(
            "PutRecord",
            json!({"StreamName": name, "Data": "YQ==", "PartitionKey": ""}),
        ),
        odd(
            "PutRecord",
            json!({"StreamName": name, "PartitionKey": "k"}),
        ),
        odd(
            "PutRecord",
            json!({"StreamName": name, "Data": "?", "PartitionKey": "k"}),
        ),
        odd(
            "PutRecord",
            json!({"StreamName": name, "Data": 7, "PartitionKey": "k"}),
        ),
        odd(
            "PutRecord",
            json!({"StreamName": name, "Data": "YQ==", "PartitionKey": "k".repeat(257)}),
        ),
        odd(
            "PutRecord",
            json!({"StreamName": name, "Data": "YQ==", "PartitionKey": "k", "ExplicitHashKey": "01"}),
        ),
        odd(
            "PutRecord",
            json!({"StreamName": name, "Data": "YQ==", "PartitionKey": "k",
                "ExplicitHashKey": "340282366920938463463374607431768211456"}),
        ),
        odd("PutRecords", json!({"StreamName": name, "Records": []})),
        odd("PutRecords", json!({"StreamName": name})),
        odd(
            "PutRecords",
            json!({"StreamName": name, "Records": [{"Data": "YQ=="}]}),
        ),
        odd("GetRecords", json!({})),
        odd("GetRecords", json!({"ShardIterator": "nonsense"})),
        odd("GetRecords", json!({"ShardIterator": ""})),
        odd(
            "GetShardIterator",
            json!({"StreamName": name, "ShardId": shard}),
        ),
        odd(
            "GetShardIterator",
            json!({"StreamName": name, "ShardId": shard, "ShardIteratorType": "SOMEWHERE"}),
        ),
        odd(
            "GetShardIterator",
            json!({"StreamName": name, "ShardId": "shardId-000000000077", "ShardIteratorType": "LATEST"}),
        ),
        odd(
            "GetShardIterator",
            json!({"StreamName": name, "ShardId": shard, "ShardIteratorType": "AT_SEQUENCE_NUMBER"}),
        ),
        odd(
            "GetShardIterator",
            json!({"StreamName": name, "ShardId": shard, "ShardIteratorType": "AT_TIMESTAMP",
                "Timestamp": 4_000_000_000_u32}),
        ),
        odd(
            "SplitShard",
            json!({"StreamName": name, "ShardToSplit": "shardId-000000000077", "NewStartingHashKey": "5"}),
        ),
        odd(
            "SplitShard",
            json!({"StreamName": name, "ShardToSplit": shard}),
        ),
        odd(
            "MergeShards",
            json!({"StreamName": name, "ShardToMerge": shard,
                "AdjacentShardToMerge": "shardId-000000000077"}),
        ),
        odd(
            "ListShards",
            json!({"StreamName": name, "MaxResults": 10_001}),
        ),
        odd(
            "ListShards",
            json!({"StreamName": name, "NextToken": "nonsense"}),
        ),
        odd("ListShards", json!({})),
        odd(
            "ListShards",
            json!({"StreamName": name, "ExclusiveStartShardId": "xx"}),
        ),
        odd(
            "DescribeStream",
            json!({"StreamName": name, "ExclusiveStartShardId": "xx"}),
        ),
        odd(
            "GetShardIterator",
            json!({"StreamName": name, "ShardId": "0", "ShardIteratorType": "LATEST"}),
        ),
        odd(
            "GetShardIterator",
            json!({"StreamName": name, "ShardId": "shardId-0", "ShardIteratorType": "LATEST"}),
        ),
        odd(
            "GetShardIterator",
            json!({"StreamName": name, "ShardId": shard, "ShardIteratorType": "LATEST",
                "Timestamp": 1_700_000_000}),
        ),
        odd(
            "GetShardIterator",
            json!({"StreamName": name, "ShardId": shard, "ShardIteratorType": "AT_TIMESTAMP"}),
        ),
        odd(
            "PutRecord",
            json!({"StreamName": name, "Data": "YQ==", "PartitionKey": "k",
                "SequenceNumberForOrdering": "0"}),
        ),
        odd(
            "PutRecord",
            json!({"StreamName": name, "Data": "YQ==", "PartitionKey": "k",
                "SequenceNumberForOrdering": "12345"}),
        ),
        Step::PutLarge { bytes: MIB },
        Step::PutLarge { bytes: MIB + 1 },
        Step::PutMany {
            count: 6,
            bytes: 950_000,
        },
        Step::PutMany {
            count: 501,
            bytes: 1,
        },
        odd("AddTagsToStream", tags(name, 0)),
        odd("AddTagsToStream", tags(name, 10)),
        odd("AddTagsToStream", tags(name, 11)),
        odd("AddTagsToStream", tags(name, 51)),
        odd(
            "AddTagsToStream",
            json!({"StreamName": name, "Tags": {"aws:x": ""}}),
        ),
        odd(
            "CreateStream",
            json!({"StreamName": "x", "ShardCount": 100_001}),
        ),
        odd("DoesNotExist", json!({})),
    ]
}

fn tags(name: &str, count: usize) -> Value {
    let tags = (0..count).map(|number| (number.to_string(), json!("")));
    json!({"StreamName": name, "Tags": Value::Object(tags.collect())})
}

const MIB: usize = 1_024 * 1_024;

pub(crate) const FILTERS: &[&str] = &["AT_LATEST", "AT_TRIM_HORIZON", "FROM_TRIM_HORIZON"];

//! The main job with everything at once, from outside: `serve` and `consume` as processes, fan-out,
//! aggregated records, shards that split and merge each second, and ten times `kill -9`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::AddAssign,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use kinesis_source::{
    AwsKinesis, Checkpoint, CheckpointStore, FileCheckpointStore, KinesisApi, KinesisWriteApi,
    PutEntry, PutOutcome, Shard, ShardId, StreamIdentity,
};
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    aggregated::aggregated,
    rig::{Running, new_path, run, tail, within_patience, without_credentials},
};

const KILLS: usize = 10;

/// User records that are put before each life: more than it is read of before it is killed.
const PER_LIFE: u64 = 260;

const READ_BEFORE_A_KILL: usize = 100;

/// A stream in another process, what was put to it, and how it is read.
struct World {
    api: Arc<AwsKinesis>,
    endpoint: String,
    file: String,
    /// Numbers were put up to this one.
    next: u64,
}

impl World {
    fn consume(&self, more: &[&str]) -> tokio::process::Command {
        let mut command = tail(
            &self.endpoint,
            &["consume", "orders", "--from=trim-horizon", "--decode=utf8"],
        );
        command.args([
            "--fan-out=audit",
            "--deaggregate",
            "--checkpoint",
            &self.file,
        ]);
        command.args(more);
        command
    }

    /// Puts numbers, each under a key of its own: most of them eight to a record.
    async fn put(&mut self) {
        let numbers: Vec<u64> = (self.next..self.next + PER_LIFE).collect();
        let (together, alone) = numbers.split_at(240);
        let keys: Vec<String> = numbers.iter().map(|it| format!("key-{it}")).collect();
        let key = |number: &u64| keys[(number - self.next) as usize].as_str();
        let packed = together.chunks(8).map(|chunk| {
            let records = chunk.iter().map(|it| (key(it), it.to_string()));
            (key(&chunk[0]), Bytes::from(aggregated(records)))
        });
        let single = alone
            .iter()
            .map(|it| (key(it), Bytes::from(it.to_string())));
        let entries: Vec<PutEntry> = packed
            .chain(single)
            .map(|(key, data)| PutEntry {
                partition_key: key.to_owned(),
                explicit_hash_key: None,
                data,
            })
            .collect();
        let outcomes = self.api.put_records(&entries).await.unwrap();
        let is_stored = |outcome: &PutOutcome| matches!(outcome, PutOutcome::Stored { .. });
        assert!(outcomes.iter().all(is_stored), "{outcomes:?}");
        self.next += PER_LIFE;
    }

    /// What is stored in the file, which nobody uses.
    async fn checkpoints(&self) -> BTreeMap<ShardId, Checkpoint> {
        let summary = self.api.describe_stream_summary().await.unwrap();
        let store = FileCheckpointStore::open(&self.file).await.unwrap();
        store.load(&StreamIdentity::from(&summary)).await.unwrap()
    }

    async fn open_shards(&self) -> Vec<Shard> {
        let (mut all, mut token) = (Vec::new(), None);
        loop {
            let Ok(page) = self.api.list_shards(token).await else {
                return Vec::new();
            };
            all.extend(page.shards);
            token = page.next;
            if token.is_none() {
                all.retain(|shard| !shard.is_closed());
                all.sort_by_key(|shard| shard.hash_range.start);
                return all;
            }
        }
    }

    /// Splits or merges, so that there are two or three open shards.
    async fn reshard(&self) -> bool {
        let open = self.open_shards().await;
        let done = match &open[..] {
            [first, second, _, ..] => self.api.merge_shards(&first.id, &second.id).await,
            [first, ..] => {
                let range = first.hash_range;
                let middle = range.start + (range.end - range.start) / 2 + 1;
                self.api.split_shard(&first.id, middle).await
            }
            [] => return false,
        };
        done.is_ok()
    }
}

/// Every printed line is after what was stored when its process began.
fn check_after(checkpoints: &BTreeMap<ShardId, Checkpoint>, lines: &[Value]) {
    for line in lines {
        let shard = ShardId::new(line["shard_id"].as_str().unwrap());
        let here = Checkpoint::After {
            sequence_number: line["sequence_number"].as_str().unwrap().parse().unwrap(),
            sub_sequence_number: line["sub_sequence_number"].as_u64(),
        };
        if let Some(stored) = checkpoints.get(&shard) {
            assert!(
                stored.is_behind(&here),
                "{line} again, and {stored:?} is stored"
            );
        }
    }
}

fn numbers(lines: &[Value]) -> Vec<u64> {
    let number = |line: &Value| line["data"].as_str().unwrap().parse().unwrap();
    lines.iter().map(number).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_under_resharding_lose_nothing_and_repeat_only_what_was_not_stored() {
    let serve = [
        "serve", "--port", "0", "--stream", "orders", "--shards", "2",
    ];
    let mut server = Running::new(without_credentials(&serve));
    let endpoint = server.line().await.unwrap();
    let api = Arc::new(AwsKinesis::local(&endpoint, "orders").unwrap());
    let mut world = World {
        api: Arc::clone(&api),
        endpoint: endpoint.clone(),
        file: new_path("main-job.redb"),
        next: 0,
    };
    let resharded = Arc::new(Mutex::new(0));
    let resharding = tokio::spawn({
        let resharded = Arc::clone(&resharded);
        let world = World {
            api,
            endpoint,
            file: String::new(),
            next: 0,
        };
        async move {
            loop {
                sleep(Duration::from_secs(1)).await;
                if world.reshard().await {
                    resharded.lock().unwrap().add_assign(1);
                }
            }
        }
    });

    let (mut printed, mut checkpoints) = (BTreeSet::new(), BTreeMap::new());
    for _ in 0..KILLS {
        world.put().await;
        let mut consumer = Running::new(world.consume(&[]));
        let mut lines = consumer.records(READ_BEFORE_A_KILL).await;
        consumer.signal("KILL").await;
        lines.extend(consumer.rest().await);
        assert_eq!(consumer.end().await.code, None);
        check_after(&checkpoints, &lines);
        printed.extend(numbers(&lines));
        checkpoints = world.checkpoints().await;
    }
    within_patience(async {
        while *resharded.lock().unwrap() < KILLS {
            sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    resharding.abort();

    world.put().await;
    let mut consumer = Running::new(world.consume(&[]));
    let mut lines = consumer.records(READ_BEFORE_A_KILL).await;
    consumer.signal("TERM").await;
    lines.extend(consumer.rest().await);
    assert_eq!(consumer.end().await.code, Some(0));
    check_after(&checkpoints, &lines);
    let before_the_end: BTreeSet<u64> = numbers(&lines).into_iter().collect();
    assert_eq!(before_the_end.len(), lines.len(), "twice in one life");
    printed.extend(&before_the_end);

    world.put().await;
    let last = run(world.consume(&["--until-caught-up"])).await;
    assert_eq!(last.code, Some(0), "{last:?}");
    let last = numbers(&last.lines());
    let repeated: Vec<&u64> = last
        .iter()
        .filter(|it| before_the_end.contains(it))
        .collect();
    assert!(repeated.is_empty(), "after SIGTERM: {repeated:?}");
    printed.extend(last);
    assert!(printed.into_iter().eq(0..world.next), "nothing is lost");
    server.signal("TERM").await;
}

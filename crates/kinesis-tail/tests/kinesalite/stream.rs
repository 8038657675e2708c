use std::{fmt::Write, fs, ops::Range, process::Stdio, time::Duration};

use kinesis_source::{
    AwsKinesis, CheckpointStore, FileCheckpointStore, KinesisApi, KinesisWriteApi, Shard,
    StreamIdentity, StreamStatus,
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, process::Command, time::sleep};

use crate::{
    account::Run,
    rig::{Running, new_path, tail, within_patience},
    server::Kinesalite,
};

/// How many records there are in the end.
pub(crate) const MANY: usize = 20_000;
pub(crate) const HALF: usize = MANY / 2;

/// A stream on kinesalite, and the one file that all its consumers keep their checkpoints in.
pub(crate) struct Stream {
    name: &'static str,
    endpoint: String,
    file: String,
}

/// Of how many keys the records are.
pub(crate) const KEYS: usize = 250;

const PAUSE: Duration = Duration::from_millis(10);

/// The key of the record of that number.
pub(crate) fn key(number: usize) -> String {
    format!("key-{:03}", number % KEYS)
}

impl Stream {
    /// With four shards.
    pub(crate) async fn new(kinesalite: &Kinesalite, name: &'static str) -> Self {
        let stream = Self {
            name,
            endpoint: kinesalite.endpoint.clone(),
            file: new_path(&format!("{name}.redb")),
        };
        stream.api().create_stream(4).await.unwrap();
        stream.active().await;
        stream
    }

    pub(crate) async fn put_first_half(&self) {
        self.publish(0..HALF).await;
    }

    /// Splits the first shard, merges its upper half with the next one, and puts the other records
    /// meanwhile and afterwards. So the last shard has a parent that is read at once and one that
    /// has a parent itself; two of the four stay as they are.
    pub(crate) async fn change_shards_and_put_second_half(&self) {
        const SOME: usize = HALF * 3 / 5;
        let shards = self.shards().await;
        let middle = shards[0].hash_range.end / 2;
        let split = self.api().split_shard(&shards[0].id, middle).await;
        split.unwrap();
        self.active().await;
        self.publish(HALF..HALF + SOME).await;

        let next_to = shards[1].hash_range.start - 1;
        let shards = self.shards().await;
        let mut open = shards.iter().filter(|shard| !shard.is_closed());
        let upper = open.find(|shard| shard.hash_range.end == next_to).unwrap();
        let merged = self.api().merge_shards(&upper.id, &shards[1].id).await;
        merged.unwrap();
        self.active().await;
        self.publish(HALF + SOME..MANY).await;
    }

    /// A consumer of all there is and will be, that goes on where the one before had finished.
    pub(crate) fn consume(&self) -> Command {
        let from = ["consume", self.name, "--from", "trim-horizon"];
        let mut command = tail(&self.endpoint, &from);
        command.args(["--decode", "utf8", "--checkpoint", &self.file]);
        command
    }

    /// Takes `count` records, and waits for a checkpoint that has some of them. The consumer has to
    /// write more than once for so many: it is done with none before all of a write are taken.
    pub(crate) async fn until_checkpoint(
        &self,
        consumer: &mut Running,
        count: usize,
    ) -> Vec<Value> {
        let mut printed = consumer.records(1).await;
        let modified = || fs::metadata(&self.file).unwrap().modified().unwrap();
        let before = modified();
        printed.extend(consumer.records(count - 1).await);
        within_patience(async {
            while modified() == before {
                sleep(PAUSE).await;
            }
        })
        .await;
        printed
    }

    /// What a consumer did that has ended, and has printed that.
    pub(crate) async fn finished(&self, printed: Vec<Value>) -> Run {
        // The next consumer shall find the file as this one left it.
        let copy = new_path("copy.redb");
        fs::copy(&self.file, &copy).unwrap();
        let store = FileCheckpointStore::open(copy).await.unwrap();
        let summary = self.api().describe_stream_summary().await.unwrap();
        let stream = StreamIdentity::from(&summary);
        let checkpoints = store.load(&stream).await.unwrap();
        Run {
            printed,
            checkpoints,
        }
    }

    async fn publish(&self, numbers: Range<usize>) {
        let count = numbers.len();
        let mut lines = String::new();
        for number in numbers {
            let data = number.to_string();
            let line = json!({ "partition_key": key(number), "data": data });
            writeln!(lines, "{line}").unwrap();
        }
        let mut command = tail(&self.endpoint, &["publish", self.name]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(lines.as_bytes()).await.unwrap();
        drop(stdin);
        let finished = Running::of(child).end().await;
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let put = format!("put {count} records");
        assert!(finished.stderr.starts_with(&put), "{finished:?}");
    }

    /// With a new connection: kinesalite closes one that has been idle for five seconds, perhaps
    /// just when a call is sent, and these calls are not made again.
    fn api(&self) -> AwsKinesis {
        AwsKinesis::local(&self.endpoint, self.name).unwrap()
    }

    async fn active(&self) {
        let api = self.api();
        within_patience(async {
            while api.describe_stream_summary().await.unwrap().status != StreamStatus::Active {
                sleep(PAUSE).await;
            }
        })
        .await;
    }

    async fn shards(&self) -> Vec<Shard> {
        self.api().list_shards(None).await.unwrap().shards
    }
}

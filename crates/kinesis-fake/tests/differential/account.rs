use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::step::Step;

/// A stream on one server, and what was learnt of it.
pub(crate) struct Account {
    address: String,
    stream: String,
    /// The numbers of records that were put, in order.
    records: Vec<String>,
    /// Starting numbers, by shard.
    starts: BTreeMap<String, String>,
    iterator: Option<String>,
}

impl Account {
    /// With a new stream of two shards.
    pub(crate) async fn new(address: String, stream: &str) -> Self {
        let mut account = Self {
            address,
            stream: stream.to_owned(),
            records: Vec::new(),
            starts: BTreeMap::new(),
            iterator: None,
        };
        let create = json!({"StreamName": stream, "ShardCount": 2});
        account.call("CreateStream", &create).await.unwrap();
        account.settle().await;
        account
    }

    pub(crate) async fn remove(self) {
        let name = json!({"StreamName": self.stream});
        self.call("DeleteStream", &name).await.unwrap();
    }

    /// Takes a step; what came of it, in terms that mean the same on every server.
    pub(crate) async fn take(&mut self, step: &Step) -> Value {
        let Some((target, body)) = self.request(step) else {
            return json!("nothing to be done");
        };
        let answer = self.call(target, &body).await;
        let told = match &answer {
            Ok(answer) => self.tell(answer),
            Err(refusal) => json!({ REFUSED: refusal }),
        };
        if let Ok(answer) = &answer {
            self.learn(answer);
            if matches!(step, Step::Read { .. }) {
                let next = answer["NextShardIterator"].as_str();
                self.iterator = next.map(str::to_owned);
            }
        }
        if matches!(target, "SplitShard" | "MergeShards" | "CreateStream") {
            self.settle().await;
        }
        told
    }

    fn request(&self, step: &Step) -> Option<(&'static str, Value)> {
        let name = &self.stream;
        let shard = |number: u8| format!("shardId-{number:012}");
        let key = |sixteenth: u8| (u128::from(sixteenth) << 124).to_string();
        Some(match step {
            Step::Put { sixteenth, data } => {
                let data = base64(data.as_bytes());
                let body = json!({"StreamName": name, "Data": data, "PartitionKey": "key",
                    "ExplicitHashKey": key(*sixteenth)});
                ("PutRecord", body)
            }
            Step::PutBatch { sixteenths } => {
                let record = |sixteenth: &u8| {
                    json!({"Data": "YmF0Y2g=", "PartitionKey": "key",
                    "ExplicitHashKey": key(*sixteenth)})
                };
                let records: Vec<_> = sixteenths.iter().map(record).collect();
                (
                    "PutRecords",
                    json!({"StreamName": name, "Records": records}),
                )
            }
            Step::PutLarge { bytes } => {
                let data = base64(&vec![0; *bytes]);
                let body = json!({"StreamName": name, "Data": data, "PartitionKey": "k"});
                ("PutRecord", body)
            }
            Step::PutMany { count, bytes } => {
                let record = json!({"Data": base64(&vec![0; *bytes]), "PartitionKey": "k"});
                let records = vec![record; *count];
                (
                    "PutRecords",
                    json!({"StreamName": name, "Records": records}),
                )
            }
            Step::Split {
                shard: number,
                sixteenth,
            } => {
                let body = json!({"StreamName": name, "ShardToSplit": shard(*number),
                    "NewStartingHashKey": key(*sixteenth)});
                ("SplitShard", body)
            }
            Step::Merge {
                shard: number,
                with,
            } => {
                let body = json!({"StreamName": name, "ShardToMerge": shard(*number),
                    "AdjacentShardToMerge": shard(*with)});
                ("MergeShards", body)
            }
            Step::List { most } => (
                "ListShards",
                json!({"StreamName": name, "MaxResults": most}),
            ),
            Step::ListFiltered { filter } => (
                "ListShards",
                json!({"StreamName": name, "ShardFilter": {"Type": filter}}),
            ),
            Step::ListAfter { shard: number } => {
                let body = json!({"StreamName": name, "ExclusiveStartShardId": shard(*number)});
                ("ListShards", body)
            }
            Step::Describe { most } => {
                ("DescribeStream", json!({"StreamName": name, "Limit": most}))
            }
            Step::Summary => ("DescribeStreamSummary", json!({"StreamName": name})),
            Step::Iterator {
                shard: number,
                kind,
            } => {
                let body = json!({"StreamName": name, "ShardId": shard(*number),
                    "ShardIteratorType": kind});
                ("GetShardIterator", body)
            }
            Step::IteratorAt {
                shard: number,
                after,
                record,
            } => {
                let record = self.records.get(usize::from(*record))?;
                (
                    "GetShardIterator",
                    self.iterator_at(&shard(*number), *after, record),
                )
            }
            Step::IteratorAtStart {
                shard: number,
                after,
            } => {
                let shard = shard(*number);
                let start = self.starts.get(&shard)?;
                ("GetShardIterator", self.iterator_at(&shard, *after, start))
            }
            Step::Read { limit } => {
                let iterator = self.iterator.as_ref()?;
                (
                    "GetRecords",
                    json!({"ShardIterator": iterator, "Limit": limit}),
                )
            }
            Step::Retention { increase, hours } => {
                let target = match increase {
                    true => "IncreaseStreamRetentionPeriod",
                    false => "DecreaseStreamRetentionPeriod",
                };
                (
                    target,
                    json!({"StreamName": name, "RetentionPeriodHours": hours}),
                )
            }
            Step::Odd { target, body } => {
                let mut body = body.clone();
                if body["StreamName"] == "the stream" {
                    body["StreamName"] = json!(name);
                }
                (target, body)
            }
        })
    }

    fn iterator_at(&self, shard: &str, after: bool, number: &str) -> Value {
        let kind = if after {
            "AFTER_SEQUENCE_NUMBER"
        } else {
            "AT_SEQUENCE_NUMBER"
        };
        json!({"StreamName": self.stream, "ShardId": shard, "ShardIteratorType": kind,
            "StartingSequenceNumber": number})
    }

    /// Remembers what later steps refer to.
    fn learn(&mut self, answer: &Value) {
        if let Some(iterator) = answer["ShardIterator"].as_str() {
            self.iterator = Some(iterator.to_owned());
        }
        // Of a PutRecord, and of a PutRecords. Records that were read have data.
        let one = std::slice::from_ref(answer);
        let several = answer["Records"]
            .as_array()
            .map_or(&[][..], |records| records);
        for put in one.iter().chain(several) {
            if let (Some(number), None) = (put["SequenceNumber"].as_str(), put.get("Data")) {
                self.records.push(number.to_owned());
            }
        }
        let listed = answer["Shards"].as_array();
        let described = answer["StreamDescription"]["Shards"].as_array();
        for shard in listed.or(described).into_iter().flatten() {
            let start = &shard["SequenceNumberRange"]["StartingSequenceNumber"];
            if let (Some(id), Some(start)) = (shard["ShardId"].as_str(), start.as_str()) {
                self.starts.insert(id.to_owned(), start.to_owned());
            }
        }
    }

    /// An answer with what is a server's own left out or told by its place.
    fn tell(&self, answer: &Value) -> Value {
        let mut answer = answer.clone();
        self.plain(&mut answer);
        answer
    }

    fn plain(&self, value: &mut Value) {
        match value {
            Value::Array(values) => values.iter_mut().for_each(|value| self.plain(value)),
            Value::Object(members) => {
                self.plain_members(members);
                members.values_mut().for_each(|value| self.plain(value));
            }
            _ => {}
        }
    }

    fn plain_members(&self, members: &mut Map<String, Value>) {
        members.retain(|_, value| !value.is_null());
        for (name, value) in members.iter_mut() {
            let told = match name.as_str() {
                "ShardIterator" | "NextShardIterator" => "an iterator".to_owned(),
                "NextToken" => "a token".to_owned(),
                "ApproximateArrivalTimestamp" | "StreamCreationTimestamp" => "a time".to_owned(),
                "StreamName" if *value == *self.stream => "the stream".to_owned(),
                "StreamARN" => "an ARN".to_owned(),
                // That of a put is yet to be learnt.
                "SequenceNumber" => match self.records.iter().position(|it| value == it) {
                    Some(position) => format!("of record {position}"),
                    None => "a number".to_owned(),
                },
                "StartingSequenceNumber" | "EndingSequenceNumber" => "a number".to_owned(),
                "MillisBehindLatest" => match value.as_u64() {
                    Some(0) => "none".to_owned(),
                    _ => "some".to_owned(),
                },
                _ => continue,
            };
            *value = json!(told);
        }
    }

    /// Waits until nothing is being done to the stream, and learns of its shards: listings of others may
    /// leave some out.
    async fn settle(&mut self) {
        let name = json!({"StreamName": self.stream});
        let active = async {
            loop {
                let described = self.call("DescribeStream", &name).await;
                let described = described.unwrap();
                if described["StreamDescription"]["StreamStatus"] == "ACTIVE" {
                    break described;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        let described = timeout(Duration::from_secs(30), active).await;
        self.learn(&described.expect("the stream is active"));
    }

    /// A call; a refusal is its status and code, and what is wrong with the request if it says so.
    async fn call(&self, target: &str, body: &Value) -> Result<Value, String> {
        // A member that is null is one that nobody gave; not all agree.
        let mut body = body.clone();
        if let Some(members) = body.as_object_mut() {
            members.retain(|_, value| !value.is_null());
        }
        let body = body.to_string();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: kinesis.us-east-1.amazonaws.com\r\nConnection: close\r\n\
             Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: Kinesis_20131202.{target}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/kinesis/aws4_request, \
             SignedHeaders=host, Signature=0\r\nX-Amz-Date: 20260101T000000Z\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let exchange = async {
            let mut stream = TcpStream::connect(&self.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let answer = timeout(Duration::from_secs(30), exchange).await;
        let answer = answer.expect("an answer");
        let end = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&answer[..end]);
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body: Value = serde_json::from_slice(&answer[end + 4..]).unwrap_or_default();
        if status == 200 {
            return Ok(body);
        }
        let code = body["__type"].as_str().unwrap_or("no code");
        Err(match (code, body["message"].as_str()) {
            ("ValidationException", Some(message)) => {
                format!("{status} {code}: {}", sorted(message))
            }
            _ => format!("{status} {code}"),
        })
    }
}

/// What a refusal is told as.
pub(crate) const REFUSED: &str = "refused";

/// In which order a request's faults are told is nobody's promise.
fn sorted(message: &str) -> String {
    let Some((count, wrong)) = message.split_once(" detected: ") else {
        return message.to_owned();
    };
    let mut wrong: Vec<_> = wrong.split("; ").collect();
    wrong.sort_unstable();
    format!("{count} detected: {}", wrong.join("; "))
}

fn base64(bytes: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}

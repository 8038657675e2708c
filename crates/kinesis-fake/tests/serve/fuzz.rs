//! Bodies and heads that chance has written. None may bring the server down, and what it answers is
//! a success or the client's fault.

use ciborium::Value as Cbor;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::*;

/// Members that some request has, so that some of what is written gets past the parser.
fn member() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "StreamName",
            "StreamARN",
            "ShardId",
            "ShardIterator",
            "ShardIteratorType",
            "StartingSequenceNumber",
            "Timestamp",
            "Limit",
            "MaxResults",
            "NextToken",
            "ShardFilter",
            "Type",
            "Records",
            "Data",
            "PartitionKey",
            "ExplicitHashKey",
            "ShardCount",
            "StreamModeDetails",
            "StreamMode",
            "ShardToSplit",
            "NewStartingHashKey",
            "ShardToMerge",
            "AdjacentShardToMerge",
            "RetentionPeriodHours",
            "ExclusiveStartShardId",
            "ExclusiveStartStreamName",
        ])
        .prop_map(str::to_owned),
        "[A-Za-z]{0,8}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "stream",
            "shardId-000000000000",
            "TRIM_HORIZON",
            "AT_TIMESTAMP",
            "AT_SEQUENCE_NUMBER",
            "PROVISIONED",
            "340282366920938463463374607431768211455",
            "YWJj",
        ])
        .prop_map(str::to_owned),
        ".{0,40}",
    ]
}

fn cbor() -> impl Strategy<Value = Cbor> {
    let leaf = prop_oneof![
        Just(Cbor::Null),
        any::<bool>().prop_map(Cbor::Bool),
        any::<i64>().prop_map(|number| Cbor::Integer(number.into())),
        any::<f64>().prop_map(Cbor::Float),
        text().prop_map(Cbor::Text),
        prop::collection::vec(any::<u8>(), 0..50).prop_map(Cbor::Bytes),
    ];
    leaf.prop_recursive(4, 40, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Cbor::Array),
            (0_u64..5, inner.clone()).prop_map(|(tag, value)| Cbor::Tag(tag, Box::new(value))),
            prop::collection::vec((member().prop_map(Cbor::Text), inner), 0..8).prop_map(Cbor::Map),
        ]
    })
}

fn request_of(cbor: Cbor) -> impl Strategy<Value = Cbor> {
    // Most requests are maps.
    prop_oneof![
        1 => Just(cbor.clone()),
        3 => prop::collection::vec((member(), Just(cbor)), 1..6).prop_map(|members| {
            Cbor::Map(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
        }),
    ]
}

fn to_json(cbor: &Cbor) -> Value {
    match cbor {
        Cbor::Bool(value) => json!(value),
        Cbor::Integer(number) => json!(i64::try_from(*number).unwrap_or_default()),
        Cbor::Float(number) => json!(number),
        Cbor::Text(text) => json!(text),
        Cbor::Bytes(bytes) => json!(bytes),
        Cbor::Array(values) => values.iter().map(to_json).collect(),
        Cbor::Tag(_, value) => to_json(value),
        Cbor::Map(members) => {
            let named = |(name, value): &(Cbor, Cbor)| {
                (
                    name.as_text().unwrap_or_default().to_owned(),
                    to_json(value),
                )
            };
            Value::Object(members.iter().map(named).collect())
        }
        _ => Value::Null,
    }
}

/// Runs a property against one server.
fn against_a_server<S>(strategy: &S, test: impl Fn(SocketAddr, S::Value) -> u16)
where
    S: Strategy,
    S::Value: Clone,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let running = runtime
        .block_on(runtime.spawn(serve(Fake::instant(1))))
        .unwrap();
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let ran = runner.run(strategy, |value| {
        let status = tokio::task::block_in_place(|| test(running.address, value));
        prop_assert!([200, 400, 413, 431].contains(&status), "{status}");
        Ok(())
    });
    ran.unwrap();
    assert_eq!(runtime.block_on(post_ok(running.address)), 200);
}

/// Sends a request and waits for its status; 0 if there is no answer.
fn status_of(address: SocketAddr, request: &[u8]) -> u16 {
    let answer = block_on(raw(address, request));
    answer.map_or(0, |answer| answer.status)
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(work)
}

fn operation() -> impl Strategy<Value = Operation> {
    prop::sample::select(Operation::ALL.to_vec())
}

#[test]
fn bodies_of_the_right_shape_and_any_contents_are_answered() {
    let bodies = (operation(), cbor().prop_flat_map(request_of), any::<bool>());
    against_a_server(&bodies, |address, (operation, body, json)| {
        let mut bytes = Vec::new();
        let format = match json {
            true => {
                serde_json::to_writer(&mut bytes, &to_json(&body)).unwrap();
                "json"
            }
            false => {
                ciborium::into_writer(&body, &mut bytes).unwrap();
                "cbor"
            }
        };
        let request = request_in(format, operation.name(), &bytes, CLOSE);
        status_of(address, &request)
    });
}

#[test]
fn bodies_that_are_broken_off_or_changed_are_answered() {
    let bodies = (
        operation(),
        cbor().prop_flat_map(request_of),
        any::<prop::sample::Index>(),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    );
    against_a_server(&bodies, |address, (operation, body, end, changes)| {
        let mut bytes = Vec::new();
        ciborium::into_writer(&body, &mut bytes).unwrap();
        bytes.truncate(end.index(bytes.len()) + 1);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let request = request_in("cbor", operation.name(), &bytes, CLOSE);
        status_of(address, &request)
    });
}

#[test]
fn heads_of_any_bytes_are_answered_or_dropped() {
    let heads = (
        prop::collection::vec(any::<u8>(), 0..400),
        prop::collection::vec(("[A-Za-z-]{1,30}", "[ -~]{0,60}"), 0..20),
        any::<u64>(),
    );
    against_a_server(&heads, |address, (garbage, headers, length)| {
        let lines: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let well = format!(
            "POST / HTTP/1.1\r\n{lines}Connection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        // What is no HTTP may be dropped, or waited on for the rest of it: until the client is done.
        let dropped = block_on(async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let _ = stream
                .write_all(&[&garbage[..], b"\r\n\r\n"].concat())
                .await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let read = stream.read_to_end(&mut answer);
            timeout(Duration::from_secs(20), read).await.is_ok()
        });
        assert!(dropped, "the server holds on to {garbage:?}");
        status_of(address, well.as_bytes())
    });
}

//! How much memory subscribers that do not read can make a server take. A program of its own: memory
//! is counted for the whole process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod peak;

use kinesis_fake::{Fake, Limits, Server};
use kinesis_source::KinesisFanOutApi;
use peak::peak_mib;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    task::JoinSet,
};

const MIB: usize = 1_024 * 1_024;

/// 250 clients subscribe to 30 MiB each and read nothing. If an event of each were held, that were
/// 250 MiB.
#[tokio::test]
async fn events_that_nobody_reads_make_others_wait_and_are_given_up() {
    let fake = Fake::builder().instant().limits(Limits::none()).build();
    for _ in 0..30 {
        fake.put("k", vec![0; MIB - 1]).unwrap();
    }
    let server = Server::on_loopback(fake.clone()).await.unwrap();
    let address = server.local_addr();
    let mut serving = JoinSet::new();
    serving.spawn(server.run());

    let subscribe = async |number: u32| {
        let name = format!("consumer-{number}");
        let consumer = fake.register_stream_consumer(&name).await.unwrap();
        let position = serde_json::json!({"Type": "TRIM_HORIZON"});
        let body = serde_json::json!({"ConsumerARN": consumer.arn.as_str(),
            "ShardId": "shardId-000000000000", "StartingPosition": position});
        // Quicker to write than JSON.
        let mut bytes = Vec::new();
        ciborium::into_writer(&body, &mut bytes).unwrap();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\
             Content-Type: application/x-amz-cbor-1.1\r\n\
             X-Amz-Target: Kinesis_20131202.SubscribeToShard\r\n\r\n",
            bytes.len()
        );
        let request = [request.into_bytes(), bytes].concat();
        // The system's own memory for what is on its way is not the server's.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        stream.write_all(&request).await.unwrap();
        stream
    };
    let mut unread = Vec::new();
    for number in 0..250 {
        unread.push(subscribe(number).await);
    }
    // One that reads has its turn when others have been given up.
    let mut reader = subscribe(250).await;
    let (mut read, mut piece) = (0, vec![0; MIB]);
    while read < 3 * MIB {
        let more = reader.read(&mut piece).await.unwrap();
        assert!(more > 0, "the server goes on to send");
        read += more;
    }
    let peak = peak_mib();
    assert!(peak < 200, "{peak} MiB");
}

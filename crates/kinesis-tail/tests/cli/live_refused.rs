//! `consume --live` where standard error takes nothing for a while, and says so.

use std::{
    io::{BufRead, BufReader, Read, Write},
    time::Duration,
};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::rig::{Kinesis, Running};

/// What could not be said is not said later, nor kept: it would be more and more.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_not_written_later() {
    let kinesis = Kinesis::new(1).await;
    kinesis.fake.put_numbered(0..10).unwrap();
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    // Whoever has this end is refused when it is full, and does not wait.
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    let mut filled = 0;
    for size in [4_096, 1] {
        while let Ok(some) = writer.write(&vec![b'\n'; size]) {
            filled += some;
        }
    }
    let mut consume = kinesis.tail(&["consume", "orders", "--live", "--log=error"]);
    consume.stderr(writer);
    let mut consumer = Running::new(consume);
    consumer.records(10).await;
    // The first lines, which are refused.
    tokio::time::sleep(Duration::from_secs(5)).await;
    reader.read_exact(&mut vec![0; filled]).unwrap();
    kinesis.fake.put_numbered(10..30).unwrap();
    consumer.records(20).await;
    consumer.signal("TERM").await;
    assert_eq!(consumer.end().await.code, Some(0));
    let lines = BufReader::new(reader).lines();
    let lines: Vec<_> = lines.map(|line| line.unwrap()).collect();
    let last = lines.last().expect("the last line is written");
    assert!(last.contains(": 30 done"), "{lines:#?}");
    for line in &lines {
        let is_refused = line.contains(": 0 done") || line.contains(": 10 done, ");
        assert!(!is_refused, "{lines:#?}");
    }
}

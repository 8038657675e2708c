//! `consume --live` where there is no terminal.

use std::{
    io::{PipeReader, PipeWriter, Write},
    process::Stdio,
    time::{Duration, SystemTime},
};

use kinesis_fake::{Fault, Operation};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::rig::{Finished, Kinesis, Running, redirected, run, run_unheard};

const EVERYTHING: [&str; 3] = ["consume", "orders", "--until-caught-up"];

/// The lines of the view.
fn view(finished: &Finished) -> Vec<&str> {
    let lines = finished.stderr.lines();
    lines.filter(|line| line.starts_with("orders, ")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_line_now_and_then_and_one_at_the_end() {
    let kinesis = Kinesis::new(1).await;
    kinesis.fake.put_numbered(0..500).unwrap();
    let plain = run(kinesis.tail(&EVERYTHING)).await;
    let began = SystemTime::now();
    let mut consume = kinesis.tail(&EVERYTHING);
    consume.arg("--live");
    let live = run(consume).await;
    let most = began.elapsed().unwrap().as_secs() + 2;
    assert_eq!((live.code, &live.stdout), (Some(0), &plain.stdout));
    let lines = view(&live);
    assert_eq!(lines.len(), live.stderr.lines().count(), "{live:?}");
    assert!((1..=most).contains(&(lines.len() as u64)), "{live:?}");
    let last = lines.last().unwrap();
    assert!(last.contains(": 500 done"), "{live:?}");
    assert!(last.contains(" 500 read, 0 in flight, "), "{live:?}");
    assert!(last.contains(" of 256.0 MiB"), "{live:?}");
    let plain_text = |c: char| c == '\n' || (' '..='~').contains(&c);
    assert!(live.stderr.chars().all(plain_text), "{live:?}");
}

/// A source to which nothing comes is no news.
#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_moves_it_is_silent() {
    let kinesis = Kinesis::new(2).await;
    kinesis.fake.put_numbered(0..10).unwrap();
    let mut consume = kinesis.tail(&["consume", "orders", "--live"]);
    consume.arg("--log=error");
    let mut consumer = Running::new(consume);
    consumer.records(10).await;
    tokio::time::sleep(Duration::from_secs(14)).await;
    consumer.signal("TERM").await;
    let finished = consumer.end().await;
    assert_eq!(finished.code, Some(0));
    // The first looks, what came, and perhaps the end.
    assert!((1..=5).contains(&view(&finished).len()), "{finished:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_fails_is_named_at_once_and_so_is_that_it_goes_on() {
    let kinesis = Kinesis::new(1).await;
    let get = Operation::GetRecords;
    kinesis
        .fake
        .inject(Fault::refusal(get, "InternalFailure").after(3).times(2));
    let mut consumer = Running::new(kinesis.tail(&["consume", "orders", "--live"]));
    let said = consumer
        .logs("look at shardId-000000000000: failing: ")
        .await;
    assert!(said.contains("1 shard: 1 failing; look at "), "{said}");
    let said = consumer.logs("1 shard: 1 at their tip").await;
    assert!(!said.contains("look at"), "{said}");
    consumer.signal("INT").await;
    assert_eq!(consumer.end().await.code, Some(0));
}

/// Nobody reads what it says, nobody can, or it cannot be said at all: that is no reason to end or to wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_cannot_be_written_ends_nothing_and_stalls_nothing() {
    let kinesis = Kinesis::new(1).await;
    kinesis.fake.put_numbered(0..500).unwrap();
    let (unread, full) = full_pipe();
    let (gone, nobody) = std::io::pipe().unwrap();
    drop(gone);
    let consume = || {
        let mut consume = kinesis.tail(&EVERYTHING);
        consume.args(["--live", "--log", "debug"]);
        consume
    };
    let (mut to_full, mut to_nobody) = (consume(), consume());
    to_full.stderr(full);
    to_nobody.stderr(nobody);
    let shell = |redirection| {
        let mut shell = redirected(&consume(), redirection);
        shell.stdout(Stdio::piped());
        shell
    };
    let (closed, no_room) = (shell("2>&-"), shell("2>/dev/full"));
    for (name, command) in [
        ("full", to_full),
        ("gone", to_nobody),
        ("closed", closed),
        ("without room", no_room),
    ] {
        let finished = run_unheard(command).await;
        assert_eq!(finished.code, Some(0), "{name}: {finished:?}");
        assert_eq!(finished.lines().len(), 500, "{name}");
    }
    drop(unread);
}

/// A pipe that takes not a byte more.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    for size in [4_096, 1] {
        while writer.write(&vec![b'\n'; size]).is_ok() {}
    }
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

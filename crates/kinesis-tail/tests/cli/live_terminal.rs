//! `consume --live` on a terminal.

use std::time::Duration;

use kinesis_source::KinesisWriteApi;

use crate::{
    rig::{Kinesis, Running, run, run_unheard, without_credentials},
    terminal::{Seen, Terminal},
};

const LIVE: [&str; 5] = ["consume", "orders", "--from", "trim-horizon", "--live"];

/// The last line, which is all that is left of the view, with the cursor below it.
#[track_caller]
fn assert_tidy(seen: &Seen, done: u64) {
    let last = seen.lines.last().expect("a line is left");
    assert!(last.starts_with("orders, "), "{seen:#?}");
    assert!(last.contains(&format!(": {done} done")), "{seen:#?}");
    assert_eq!(seen.with(" done").count(), 1, "{seen:#?}");
    assert!(!seen.has("SHARD "), "{seen:#?}");
    let below = u16::try_from(seen.lines.len()).unwrap();
    assert_eq!(seen.cursor, (below, 0), "{seen:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_moves_in_place_and_one_line_is_left() {
    let kinesis = Kinesis::new(2).await;
    kinesis.fake.put_numbered(0..200).unwrap();
    let mut terminal = Terminal::new(200, 24);
    let mut consume = kinesis.tail(&LIVE);
    terminal.shows_errors_of(&mut consume);
    let mut consumer = Running::new(consume);
    consumer.records(200).await;
    let at_tip = |seen: &Seen| seen.has(": 200 done") && seen.with("at its tip").count() == 2;
    let seen = terminal.shows_that(at_tip).await;
    let words = [
        ("orders, ", 1),
        ("SHARD ", 1),
        ("shardId-000000000000 ", 1),
        ("shardId-000000000001 ", 1),
        (" 200 read, 0 in flight, ", 1),
    ];
    for (words, times) in words {
        assert_eq!(seen.with(words).count(), times, "{words}: {seen:#?}");
    }
    assert_eq!(seen.lines.len(), 4, "{seen:#?}");
    assert!(terminal.has_sequences());
    assert_eq!(seen.cursor, (4, 0), "it stands below: {seen:#?}");

    // A shard that is split is finished, and its children come.
    let shard = kinesis.fake.shards()[0].id.clone();
    kinesis.fake.split_shard(&shard, 1 << 125).await.unwrap();
    let children =
        |seen: &Seen| seen.has("shardId-000000000003 ") && seen.has(", 1 shard finished");
    let seen = terminal.shows_that(children).await;
    assert!(!seen.has("shardId-000000000000 "), "{seen:#?}");

    assert!(!seen.has("checkpoint "), "there is no file: {seen:#?}");

    // Who stops it by the keyboard sees that on the screen, too.
    terminal.press(b"\x03");
    terminal.shows_that(|seen| seen.has("^C")).await;
    terminal.shows_that(|seen| !seen.has("^C")).await;
    consumer.signal("INT").await;
    assert_eq!(consumer.end().await.code, Some(0));
    let seen = terminal.settled().await;
    assert_eq!(seen.lines.len(), 1, "{seen:#?}");
    assert_tidy(&seen, 200);
}

/// Of more shards than there are lines, the last line tells; a terminal may change its size at any time.
#[tokio::test(flavor = "multi_thread")]
async fn as_many_shards_are_shown_as_there_is_room_for() {
    let kinesis = Kinesis::new(30).await;
    let terminal = Terminal::new(80, 12);
    let mut consume = kinesis.tail(&LIVE);
    terminal.shows_errors_of(&mut consume);
    let consumer = Running::new(consume);
    let all = |seen: &Seen| seen.has("and 23 more: 23 at their tip");
    let seen = terminal.shows_that(all).await;
    assert_eq!(seen.with("shardId-").count(), 7, "{seen:#?}");
    assert!(seen.lines.len() <= 11, "{seen:#?}");

    terminal.resize(40, 6);
    terminal
        .shows_that(|seen| seen.has("and 27 more: 27 at their tip"))
        .await;
    for (width, height) in [(1, 1), (3, 2), (300, 60)] {
        terminal.resize(width, height);
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    let seen = terminal
        .shows_that(|seen| seen.has("shardId-000000000029 "))
        .await;
    assert!(!seen.has(" more: "), "{seen:#?}");
    consumer.signal("TERM").await;
    assert_eq!(consumer.end().await.code, Some(0));
}

/// Records go to standard output, byte for byte, whether somebody looks or not.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_is_the_same() {
    let kinesis = Kinesis::new(1).await;
    kinesis.fake.put_numbered(0..500).unwrap();
    let mut consume = kinesis.tail(&["consume", "orders", "--until-caught-up"]);
    let plain = run(consume).await;
    plain.quiet_lines();
    let terminal = Terminal::new(100, 24);
    consume = kinesis.tail(&["consume", "orders", "--until-caught-up", "--live"]);
    terminal.shows_errors_of(&mut consume);
    let live = run_unheard(consume).await;
    assert_eq!((live.code, &live.stdout), (Some(0), &plain.stdout));
    // A line that is longer than the terminal is wide is one of it all the same.
    assert!(
        terminal
            .settled()
            .await
            .lines
            .concat()
            .contains(": 500 done")
    );
}

/// One terminal for all: records, lines of the log, and the view below them.
#[tokio::test(flavor = "multi_thread")]
async fn records_and_logs_go_above_the_view() {
    let kinesis = Kinesis::new(2).await;
    kinesis.fake.put_numbered(0..60).unwrap();
    // So high that nothing leaves it.
    let terminal = Terminal::new(300, 250);
    let mut consume = kinesis.tail(&LIVE);
    consume.args(["--log", "info", "--metrics", "0"]);
    consume.env("NO_COLOR", "1");
    terminal.shows(&mut consume);
    let consumer = Running::new(consume);
    for number in 60..160 {
        kinesis.fake.put_numbered(number..number + 1).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    terminal.shows_that(|seen| seen.has(": 160 done")).await;
    consumer.signal("TERM").await;
    assert_eq!(consumer.end().await.code, Some(0));

    let seen = terminal.settled().await;
    let is_record = |line: &&String| line.starts_with("{\"shard_id\":\"shardId-");
    // As `2026-11-28T21:45:46.350731Z  INFO `.
    let is_log = |line: &&String| line.get(26..).is_some_and(|it| it.starts_with("Z  INFO "));
    let (records, others): (Vec<_>, Vec<_>) = seen.lines.iter().partition(is_record);
    assert_eq!(records.len(), 160, "{others:#?}");
    for record in records {
        let complete = serde_json::from_str::<serde_json::Value>(record);
        assert!(complete.is_ok(), "{record}");
    }
    for words in ["metrics are at http://", "told to stop", "stopping why="] {
        assert_eq!(seen.with(words).count(), 1, "{words}: {seen:#?}");
    }
    // And nothing else.
    let logs = others.iter().copied().filter(is_log).count();
    assert_eq!(logs + 1, others.len(), "{others:#?}");
    assert_tidy(&seen, 160);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_the_last_line_of_all() {
    let kinesis = Kinesis::new(1).await;
    kinesis.fake.put("a", "1").unwrap();
    kinesis.fake.put("a", "{secret").unwrap();
    let terminal = Terminal::new(200, 24);
    let mut consume = kinesis.tail(&LIVE);
    consume.args(["--decode", "json"]);
    terminal.shows_errors_of(&mut consume);
    let finished = run_unheard(consume).await;
    assert_eq!((finished.code, finished.lines().len()), (Some(1), 1));
    let seen = terminal.settled().await;
    let [left, sentence] = &seen.lines[..] else {
        panic!("{seen:#?}");
    };
    assert!(left.contains(": 1 done"), "{seen:#?}");
    assert!(sentence.starts_with("kinesis-tail: record "), "{seen:#?}");
    assert_eq!(seen.cursor, (2, 0));
}

/// As by Ctrl-S: the terminal takes what there is room for, and then whoever writes there waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_stands_still_holds_up_nothing() {
    for options in [
        &["--live"][..],
        &["--log", "debug"],
        &["--live", "--log", "debug"],
    ] {
        holds_up_nothing(options).await;
    }
}

async fn holds_up_nothing(options: &[&str]) {
    let kinesis = Kinesis::new(30).await;
    kinesis.fake.put_numbered(0..300).unwrap();
    let terminal = Terminal::new(200, 50);
    terminal.stand_still();
    let mut consume = kinesis.tail(&["consume", "orders"]);
    consume.args(options);
    terminal.shows_errors_of(&mut consume);
    let mut consumer = Running::new(consume);
    consumer.records(300).await;
    // Some frames more, which nobody takes.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(terminal.seen().lines.len(), 0);
    kinesis.fake.put_numbered(300..400).unwrap();
    consumer.records(100).await;
    consumer.signal("TERM").await;
    assert_eq!(consumer.end().await.code, Some(0));
}

/// Who does not wait for what is on its way finds the cursor below what was shown.
#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_twice_it_leaves_the_view_and_the_cursor_below() {
    let kinesis = Kinesis::new(1).await;
    // More than a pipe has room for, and nobody reads it.
    kinesis.fake.put_numbered(0..1_000).unwrap();
    let terminal = Terminal::new(200, 24);
    let mut consume = kinesis.tail(&LIVE);
    consume.args(["--log", "info"]);
    terminal.shows_errors_of(&mut consume);
    let consumer = Running::new(consume);
    terminal
        .shows_that(|seen| seen.has(" 1000 read, 1000 in flight"))
        .await;
    consumer.signal("INT").await;
    terminal
        .shows_that(|seen| seen.has("once more leaves at once"))
        .await;
    consumer.signal("INT").await;
    assert_eq!(consumer.end().await.code, Some(130));
    let seen = terminal.settled().await;
    assert_eq!(seen.with("shardId-000000000000  ").count(), 1, "{seen:#?}");
    let below = u16::try_from(seen.lines.len()).unwrap();
    assert_eq!(seen.cursor, (below, 0), "{seen:#?}");
}

/// Such as an editor's, which shows each sequence that moves the cursor.
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_cannot_move_its_cursor_has_lines() {
    let kinesis = Kinesis::new(1).await;
    kinesis.fake.put_numbered(0..10).unwrap();
    for term in [Some("dumb"), Some(""), None] {
        let terminal = Terminal::new(300, 24);
        let mut consume = kinesis.tail(&LIVE);
        terminal.shows_errors_of(&mut consume);
        match term {
            Some(term) => consume.env("TERM", term),
            None => consume.env_remove("TERM"),
        };
        let mut consumer = Running::new(consume);
        consumer.records(10).await;
        terminal.shows_that(|seen| seen.has(" done")).await;
        consumer.signal("TERM").await;
        assert_eq!(consumer.end().await.code, Some(0));
        let seen = terminal.settled().await;
        assert!(!terminal.has_sequences(), "{seen:#?}");
        assert!((1..=5).contains(&seen.lines.len()), "{seen:#?}");
        for line in &seen.lines {
            assert!(line.starts_with("orders, "), "{seen:#?}");
        }
        assert!(
            seen.lines.last().unwrap().contains(": 10 done"),
            "{seen:#?}"
        );
    }
}

/// What does not fit is not shown: it would move all that is above it, once for each view.
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_fits_a_small_terminal() {
    let terminal = Terminal::new(40, 6);
    let mut demo = without_credentials(&["demo"]);
    terminal.shows_errors_of(&mut demo);
    let mut demo = Running::new(demo);
    // The height of the terminal, less the line that the cursor is in.
    let is_full = |seen: &Seen| seen.lines.len() == 5 && seen.has("shardId-000000000002 ");
    let seen = terminal.shows_that(is_full).await;
    for (row, name) in ["received", "in flight", "shardId-000000000000 "]
        .into_iter()
        .enumerate()
    {
        assert!(seen.lines[row].contains(name), "{seen:#?}");
    }
    while demo.line().await.is_some() {}
    assert_eq!(demo.end().await.code, Some(0));
    let seen = terminal.settled().await;
    assert_eq!((seen.lines.len(), seen.cursor), (5, (5, 0)), "{seen:#?}");
    assert_eq!(seen.with("received").count(), 1, "{seen:#?}");
}

/// The demo stands on the same screen.
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_moves_in_place_and_stays() {
    let terminal = Terminal::new(160, 30);
    let mut demo = without_credentials(&["demo", "--log", "info"]);
    demo.env("NO_COLOR", "1");
    terminal.shows_errors_of(&mut demo);
    let demo = run_unheard(demo).await;
    assert_eq!(demo.code, Some(0), "{demo:?}");
    let seen = terminal.settled().await;
    let full = format!("{:>20} {}  6000/6000  ", "received", "#".repeat(30));
    assert_eq!(seen.with(&full).count(), 1, "{seen:#?}");
    assert_eq!(seen.with("received").count(), 1, "{seen:#?}");
    for shard in 0..6 {
        let name = format!("shardId-00000000000{shard} ");
        let bars = seen.with(&name).filter(|line| line.contains("/650 "));
        assert_eq!(bars.count(), 1, "{seen:#?}");
    }
    assert!(seen.has("  INFO "), "{seen:#?}");
    let below = u16::try_from(seen.lines.len()).unwrap();
    assert_eq!(seen.cursor, (below, 0), "{seen:#?}");
}

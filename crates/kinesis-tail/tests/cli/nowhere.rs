//! Standard output that takes nothing. What was not printed is not done with.

use std::fs;

use crate::rig::{Finished, Kinesis, new_path, redirected, run};

/// What a consumer says that cannot print, with such a redirection by a shell. It has done nothing:
/// the next one prints everything.
async fn consume(redirection: &str) -> Finished {
    let kinesis = Kinesis::new(1).await;
    kinesis.fake.put_numbered(0..10).unwrap();
    let file = new_path("nowhere.redb");
    let arguments = [
        "consume",
        "orders",
        "--until-caught-up",
        "--checkpoint",
        &file,
    ];
    let finished = run(redirected(&kinesis.tail(&arguments), redirection)).await;
    let next = run(kinesis.tail(&arguments)).await.quiet_lines();
    assert_eq!(next.len(), 10, "{redirection}: {finished:?}");
    finished
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_closed_is_noticed_at_the_start() {
    // The last one looks just like it.
    for redirection in [">&-", "<&- >&-", "<&- >&- 2>&-", "1<>/dev/null"] {
        let finished = consume(redirection).await;
        assert_eq!(finished.code, Some(1), "{redirection}: {finished:?}");
    }
    let words = ["standard output is closed", ">/dev/null"];
    let finished = consume(">&-").await;
    finished.fails_with(1, &words);
    assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_closed_leaves_the_checkpoint_file_alone() {
    let kinesis = Kinesis::new(1).await;
    let file = new_path("closed.redb");
    let arguments = ["consume", "orders", "--checkpoint", &file];
    let finished = run(redirected(&kinesis.tail(&arguments), ">&-")).await;
    finished.fails_with(1, &["standard output is closed"]);
    assert!(!fs::exists(&file).unwrap());
}

/// What programs give to those that they start, to be rid of what they print.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_may_be_closed_does_no_harm_where_nothing_is_remembered() {
    let kinesis = Kinesis::new(1).await;
    kinesis.fake.put_numbered(0..10).unwrap();
    let arguments = ["consume", "orders", "--max-records", "3"];
    let finished = run(redirected(&kinesis.tail(&arguments), "1<>/dev/null")).await;
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_open_for_reading_only() {
    let finished = consume("1</dev/zero").await;
    finished.fails_with(1, &["standard output is not open for writing"]);
    assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn one_without_room() {
    let finished = consume(">/dev/full").await;
    finished.fails_with(1, &["cannot write to standard output"]);
    assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_thrown_away_on_purpose_is_done_with() {
    let kinesis = Kinesis::new(1).await;
    kinesis.fake.put_numbered(0..10).unwrap();
    let file = new_path("null.redb");
    let arguments = [
        "consume",
        "orders",
        "--until-caught-up",
        "--checkpoint",
        &file,
    ];
    let finished = run(redirected(&kinesis.tail(&arguments), ">/dev/null")).await;
    assert!(finished.quiet_lines().is_empty());
    let next = run(kinesis.tail(&arguments)).await;
    assert!(next.quiet_lines().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_may_be_open_for_reading_too() {
    let kinesis = Kinesis::new(1).await;
    kinesis.fake.put_numbered(0..10).unwrap();
    let file = new_path("lines");
    let consume = kinesis.tail(&["consume", "orders", "--until-caught-up"]);
    let finished = run(redirected(&consume, &format!("1<>'{file}'"))).await;
    assert!(finished.quiet_lines().is_empty());
    let printed = fs::read_to_string(&file).unwrap();
    assert_eq!(printed.lines().count(), 10);
}

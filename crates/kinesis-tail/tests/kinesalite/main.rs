//! Input that we did not write: the program, over the real AWS SDK, against kinesalite.
//!
//! `.ci/kinesalite` installs it. Without it, or without node, these tests say that they are skipped,
//! or fail where `CI` is set.

#![allow(clippy::unwrap_used)] // of clippy.toml's permission, which does not reach helpers

mod account;
mod server;
mod stream;

// What the tests of the command line stand on; these need less of it.
#[allow(dead_code)]
#[path = "../cli/rig.rs"]
mod rig;

use std::time::Duration;

use serde_json::Value;
use tokio::{process::Command, time::sleep};

use crate::{
    account::{Account, Run},
    rig::{Running, run},
    server::Kinesalite,
    stream::{HALF, MANY, Stream},
};

/// So many, and a pipe full each, are left after the first half.
const MOST_KILLS: usize = 3;
const SOME: usize = HALF * 3 / 20;

/// See the manual of `--checkpoint`.
const CHECKPOINTS_EVERY: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_never_disturbed_prints_every_record_once() {
    let Some(kinesalite) = Kinesalite::start().await else {
        return;
    };
    let stream = Stream::new(&kinesalite, "undisturbed").await;
    let mut consumer = Running::new(stream.consume());
    let filling = async {
        stream.put_first_half().await;
        stream.change_shards_and_put_second_half().await;
    };
    let ((), printed) = tokio::join!(filling, consumer.records(MANY));

    let mut account = Account::new();
    account.take(stopped(&stream, consumer, printed).await);
    assert_eq!(account.repeated(), 0);
    account.check_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_comes_late_reads_parents_before_children() {
    let Some(kinesalite) = Kinesalite::start().await else {
        return;
    };
    let stream = Stream::new(&kinesalite, "late").await;
    stream.put_first_half().await;
    stream.change_shards_and_put_second_half().await;
    let mut command = stream.consume();
    // Little is on its way at once, and so a shard that is opened too early gets ahead.
    command.args(["--max-demand", "300"]);

    let mut account = Account::new();
    account.take(caught_up(&stream, command).await);
    assert_eq!(account.repeated(), 0);
    account.check_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing_and_repeat_only_what_lies_after_the_checkpoint() {
    let Some(kinesalite) = Kinesalite::start().await else {
        return;
    };
    let stream = Stream::new(&kinesalite, "killed").await;
    stream.put_first_half().await;
    let mut account = Account::new();

    // Halfway, and after nobody has read on for a while: what waits to be read is not done with.
    let mut consumer = Running::new(little_at_once(&stream));
    let mut printed = consumer.records(HALF / 2).await;
    stream.change_shards_and_put_second_half().await;
    printed.extend(stream.until_checkpoint(&mut consumer, HALF / 2).await);
    sleep(2 * CHECKPOINTS_EVERY).await;
    account.take(killed(&stream, consumer, printed).await);

    // Then in full swing, until something had to be repeated. Whether it has is chance: a kill just
    // after a checkpoint leaves nothing.
    for _ in 0..MOST_KILLS {
        let mut consumer = Running::new(little_at_once(&stream));
        let mut printed = stream.until_checkpoint(&mut consumer, SOME).await;
        printed.extend(consumer.records(HALF / 20).await);
        account.take(killed(&stream, consumer, printed).await);
        if account.repeated() > 0 {
            break;
        }
    }

    account.take(caught_up(&stream, stream.consume()).await);
    account.check_complete();
    eprintln!("{} records were printed again", account.repeated());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_told_to_stop_loses_and_repeats_nothing() {
    let Some(kinesalite) = Kinesalite::start().await else {
        return;
    };
    let stream = Stream::new(&kinesalite, "stopped").await;
    stream.put_first_half().await;
    let mut account = Account::new();

    let mut consumer = Running::new(little_at_once(&stream));
    let mut printed = consumer.records(HALF / 2).await;
    stream.change_shards_and_put_second_half().await;
    printed.extend(consumer.records(HALF / 4).await);
    account.take(stopped(&stream, consumer, printed).await);

    account.take(caught_up(&stream, stream.consume()).await);
    assert_eq!(account.repeated(), 0);
    account.check_complete();
}

/// A consumer that is never far ahead of what has been read of its output.
fn little_at_once(stream: &Stream) -> Command {
    let mut command = stream.consume();
    command.args(["--max-demand", "100"]);
    command
}

/// Kills the consumer. It did what it had `printed`, and what is still in the pipe.
async fn killed(stream: &Stream, mut consumer: Running, mut printed: Vec<Value>) -> Run {
    consumer.signal("KILL").await;
    printed.extend(consumer.rest().await);
    assert_eq!(consumer.end().await.code, None);
    stream.finished(printed).await
}

/// Tells the consumer to stop, and lets it.
async fn stopped(stream: &Stream, mut consumer: Running, mut printed: Vec<Value>) -> Run {
    consumer.signal("TERM").await;
    printed.extend(consumer.rest().await);
    let finished = consumer.end().await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    stream.finished(printed).await
}

/// Lets a consumer print what is left and end by itself.
async fn caught_up(stream: &Stream, mut consume: Command) -> Run {
    consume.arg("--until-caught-up");
    let finished = run(consume).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    stream.finished(finished.lines()).await
}

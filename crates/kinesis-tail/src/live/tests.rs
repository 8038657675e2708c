//! Whole runs on the fake, seen as a log sees them: a look each second, and a line where there is news.

use std::sync::Arc;

use kinesis_fake::{Fake, Fault, Operation};
use kinesis_source::{Record, StreamSource};
use stage_core::{Pipeline, Window, for_each};
use tokio::time::sleep;

use super::*;

const TOO_MUCH: &str = "ProvisionedThroughputExceededException";

/// The lines that a log has of a run that is stopped after so many seconds, the last one after its end. Each
/// second `meanwhile` is told which one it is.
async fn lines(fake: &Fake, seconds: u64, mut meanwhile: impl FnMut(u64)) -> Vec<String> {
    let mut pipeline = Pipeline::new();
    let (records, stream) =
        StreamSource::new("orders", Arc::new(fake.clone())).add_to(&mut pipeline);
    let printed = for_each(|_: Record| {});
    pipeline.consume(printed, records.subscribe(Window::new(100)));
    let (mut history, mut news) = (History::new(false), News::default());
    let mut lines = Vec::new();
    let mut look = |second, is_last| {
        let snapshot = history.note(stream.explain(), Duration::from_secs(second));
        if news.has(&snapshot, is_last) {
            lines.push(tally::line(&snapshot));
        }
    };
    let looking = async {
        for second in 1..=seconds {
            sleep(LINE).await;
            look(second, false);
            meanwhile(second);
        }
    };
    pipeline.run_until(looking).await.unwrap();
    look(seconds, true);
    lines
}

/// Somebody else reads the same shards: each is refused now and then, and goes on.
#[tokio::test(start_paused = true)]
async fn ordinary_throttles_are_no_news() {
    let fake = Fake::instant(8);
    let get = Operation::GetRecords;
    fake.inject(
        Fault::refusal(get, TOO_MUCH)
            .with_probability(0.15)
            .always(),
    );
    let lines = lines(&fake, 300, |_| {}).await;
    assert!(fake.fault_report().fired() > 300);
    // The first look.
    let [line] = &lines[..] else {
        panic!("{lines:#?}");
    };
    assert!(line.ends_with("; 8 shards: 8 reading"), "{line}");
}

/// Three read two shards, which is more than the service lets them.
#[tokio::test(start_paused = true)]
async fn readers_that_share_a_shard_are_no_news() {
    let fake = Fake::instant(2);
    let put = |second: u64| {
        fake.put_numbered(10 * second..10 * (second + 1)).unwrap();
    };
    let (one, two, three) = tokio::join!(
        lines(&fake, 60, put),
        lines(&fake, 60, |_| {}),
        lines(&fake, 60, |_| {})
    );
    for lines in [one, two, three] {
        // One each ten seconds, as records come, and perhaps the end.
        assert!((6..=8).contains(&lines.len()), "{lines:#?}");
        assert!(
            lines.iter().all(|line| !line.contains("look at")),
            "{lines:#?}"
        );
        assert!(lines[5].contains(" throttled; "), "{lines:#?}");
    }
}

/// One that is refused each time is something to look at, which is no failure of the service, until it goes on.
#[tokio::test(start_paused = true)]
async fn a_shard_without_an_answer_is_named_until_it_has_one() {
    let fake = Fake::instant(2);
    let shard = fake.shards()[1].id.clone();
    let get = Operation::GetRecords;
    fake.inject(Fault::refusal(get, TOO_MUCH).on_shard(&shard).always());
    let lines = lines(&fake, 120, |second| {
        if second == 60 {
            fake.clear_faults();
        }
    })
    .await;
    let [_, named, goes_on] = &lines[..] else {
        panic!("{lines:#?}");
    };
    assert!(named.starts_with("orders, 11.0 s: "), "{lines:#?}");
    let says = "; 2 shards: 1 unanswered, 1 at their tip; look at shardId-000000000001: \
                unanswered: reading, throttled for 10.0 s, waits for ";
    assert!(named.contains(says), "{lines:#?}");
    assert!(named.contains(", both unknown for 1 shard, "), "{lines:#?}");
    assert!(
        goes_on.ends_with("; 2 shards: 2 at their tip"),
        "{lines:#?}"
    );
}

/// What was read when it is told to stop says how far behind that is, whoever was not read.
#[tokio::test(start_paused = true)]
async fn the_last_line_says_how_far_behind_it_was_when_it_stopped() {
    let fake = Fake::instant(3);
    fake.put_numbered(0..300).unwrap();
    let get = Operation::GetRecords;
    let shard = fake.shards()[1].id.clone();
    fake.inject(
        Fault::refusal(get, "InternalFailure")
            .on_shard(&shard)
            .after(1)
            .always(),
    );
    let told = lines(&fake, 60, |_| {}).await;
    let last = told.last().unwrap();
    assert!(
        last.contains(", lag ") && !last.contains(", lag 0 ms, "),
        "{told:#?}"
    );
    assert!(last.contains(", headroom "), "{told:#?}");
    assert!(last.ends_with("; 3 shards: 3 stopped"), "{told:#?}");
}

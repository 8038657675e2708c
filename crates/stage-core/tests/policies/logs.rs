//! What the log says of failures: each change once, with figures, and never an event.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use stage_core::{
    Batch, Children, Demand, OnFailure, Producer, Restart, pool, protocol::Buffer, push_source,
    resilient, restarting_consumer,
};
use tokio::time::timeout;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::support::{Fussy, Tracked, run};

/// Keeps what is logged, a line each, except what is only for debugging.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO && metadata.target().starts_with("stage_core")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.0.insert_str(0, &format!("{value:?}")),
            // The stage's own words.
            "error" => {}
            name => self.0.push_str(&format!(" {name}={value:?}")),
        }
    }
}

fn logged(work: impl Future<Output = ()>) -> Vec<String> {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(work);
    });
    log.0.lock().unwrap().clone()
}

#[test]
fn a_policy_logs_the_first_failure_and_the_end() {
    let lines = logged(async {
        let (source, _) = Tracked::up_to(10);
        let policy = OnFailure::retry(2).bisecting().then_skip();
        let fussy = Fussy::about([(1, 2), (7, u32::MAX)]);
        run(source, resilient(fussy, policy), 10).await.unwrap();
    });
    assert_eq!(
        lines,
        [
            "failed; trying again events=5 wait=100ms",
            "recovered events=5 attempts=3",
            "failed; trying again events=5 wait=100ms",
            // All five thrice, three once, and the one alone thrice.
            "recovered events=2 attempts=5",
            "events are skipped attempts=7 skipped=1 in_all=1",
            "recovered events=2 attempts=4",
        ]
    );
}

#[test]
fn supervision_logs_each_end_and_each_beginning() {
    let lines = logged(async {
        let (source, _) = Tracked::up_to(10);
        let fussy = Fussy::about([(7, u32::MAX)]);
        let policy = Restart::new(2, Duration::from_secs(60));
        let consumer = restarting_consumer(policy, move |_| fussy.clone());
        run(source, consumer, 10).await.unwrap_err();
    });
    assert_eq!(
        lines,
        [
            "consumer failed; making a new one generation=0 restarts=1 wait=100ms",
            "consumer made anew generation=1",
            "consumer failed; making a new one generation=1 restarts=2 wait=200ms",
            "consumer made anew generation=2",
            "consumer failed too often; giving up generation=2 restarts=2",
        ]
    );
}

#[test]
fn a_pool_logs_failed_tasks() {
    let lines = logged(async {
        let (source, _) = Tracked::up_to(2);
        let children = Children::Transient(Restart::new(1, Duration::from_secs(60)));
        let work = |event| async move { Fussy::about([(1, 1)]).check(&[event]) };
        run(source, pool(2, children, work), 4).await.unwrap_err();
    });
    assert_eq!(
        lines,
        [
            "task failed; starting it again wait=100ms",
            "tasks failed too often; giving up",
        ]
    );
}

#[test]
fn a_push_source_logs_when_it_begins_to_drop_and_when_it_has_room_again() {
    let lines = logged(async {
        let (handle, mut source) = push_source(Buffer::keep_last(10));
        for _ in 0..3 {
            for _ in 0..5 {
                handle.push(0..7);
            }
            for demand in [1, 1, 8, 5] {
                let mut batch = Batch::new();
                let produced = source.produce(Demand::new(demand).unwrap(), &mut batch);
                let _ = timeout(Duration::from_secs(1), produced).await;
            }
        }
        handle.close();
        handle.push([1]);
    });
    let (full, room) = (
        "the buffer of a push source is full: events are dropped",
        "the buffer of a push source has room again dropped=25",
    );
    assert_eq!(lines, [full, room].repeat(3));
}

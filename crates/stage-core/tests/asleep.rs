//! A consumer that falls asleep just as events come for it is woken.

#![allow(clippy::unwrap_used)]

use std::{
    convert::Infallible,
    future::pending,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use stage_core::{Batch, Consumer, Demand, Flow, Pipeline, Producer, Window};
use tokio::{sync::mpsc, task::block_in_place, time::timeout};

/// Longer than anything takes here that goes on at all.
const LONG: Duration = Duration::from_secs(30);

/// The second event is sent, and nobody has been told.
const IS_SENT: usize = 1;
/// The consumer has looked, and found nothing.
const HAS_LOOKED: usize = 2;
/// The consumer's bell has rung.
const HAS_RUNG: usize = 3;

/// How far it has come: threads wait here for each other, whatever the machine does meanwhile.
#[derive(Clone, Default)]
struct Progress(Arc<(Mutex<usize>, Condvar)>);

impl Progress {
    fn reach(&self, step: usize) {
        *self.0.0.lock().unwrap() = step;
        self.0.1.notify_all();
    }

    fn is_at(&self, step: usize) -> bool {
        *self.0.0.lock().unwrap() == step
    }

    fn wait_for(&self, step: usize) {
        block_in_place(|| {
            let at = self.0.0.lock().unwrap();
            let waited = self.0.1.wait_timeout_while(at, LONG, |at| *at < step);
            assert!(!waited.unwrap().1.timed_out(), "step {step} never came");
        });
    }
}

/// Gives two events one by one, and then waits.
struct OneByOne(u64, Progress);

impl Producer for OneByOne {
    type Event = u64;
    type Error = Infallible;

    async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> Result<Flow, Infallible> {
        if self.0 == 2 {
            self.1.reach(HAS_RUNG);
            return pending().await;
        }
        batch.push(self.0);
        self.0 += 1;
        Ok(Flow::More)
    }
}

struct Dozes(Progress, mpsc::Sender<u64>);

impl Consumer<u64> for Dozes {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
        for event in batch.drain() {
            self.0.wait_for(IS_SENT);
            self.1.send(event).await.unwrap();
        }
        Ok(())
    }

    fn while_idle(&mut self) -> impl Future<Output = Result<(), Infallible>> + Send {
        if self.0.is_at(IS_SENT) {
            self.0.reach(HAS_LOOKED);
            self.0.wait_for(HAS_RUNG);
        }
        pending()
    }
}

/// What weighs the events runs between sending and ringing, which makes that moment as long as it
/// takes the consumer to look and to fall asleep.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_seen_to_be_sent_before_it_was_there_is_taken_in() {
    let (progress, (taken, mut takes)) = (Progress::default(), mpsc::channel(2));
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(OneByOne(0, progress.clone()));
    let weigh = {
        let progress = progress.clone();
        move |event: &u64| {
            if *event == 1 {
                progress.reach(IS_SENT);
                progress.wait_for(HAS_LOOKED);
            }
            1
        }
    };
    // Three, so that it is asked for a third when the second is sent.
    let subscription = numbers.subscribe(Window::new(3)).bytes(1000, weigh);
    pipeline.consume(Dozes(progress, taken), subscription);
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    for event in 0..2 {
        let taken = timeout(LONG, takes.recv()).await;
        assert_eq!(taken.expect("it sleeps on"), Some(event));
    }
    handle.stop();
    running.await.unwrap().unwrap();
}

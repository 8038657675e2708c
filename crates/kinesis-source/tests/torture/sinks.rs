//! Sinks of many manners: quick, slow, in the way of others, late, out of order, and unwilling.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
        mpsc as std_mpsc,
    },
    thread,
    time::Duration,
};

use kinesis_source::{Record, ShardId};
use stage_core::{Batch, Consumer, Receipt};
use tokio::{sync::mpsc, task::block_in_place, time::sleep};

use crate::{
    dice::Dice,
    log::{Entry, Log, Place, lock, place_of},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Acks one by one.
    Quick,
    /// Leaves it to its stage.
    Whole,
    /// Sleeps for so many milliseconds at most, for each batch.
    Sleeps(u64),
    /// Has its thread sleep.
    Blocks(u64),
    /// Has its thread sleep, and says so.
    BlocksInPlace(u64),
    /// Another task acks within so many milliseconds, in another order.
    LaterByTask(u64),
    /// Another thread does.
    LaterByThread(u64),
}

/// What all sinks of a life share.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) log: Arc<Log>,
    pub(crate) life: usize,
    /// How many may be nacked yet.
    pub(crate) nacks: AtomicI64,
    /// From now on, they fail.
    pub(crate) fails: AtomicBool,
    pub(crate) dice: Mutex<Dice>,
}

pub(crate) struct Sink {
    common: Arc<Common>,
    number: usize,
    manner: Manner,
    later: Later,
}

enum Later {
    No,
    Task(mpsc::UnboundedSender<Given>),
    Thread(std_mpsc::Sender<Given>),
}

/// An event that is not settled.
struct Given {
    sink: usize,
    shard: ShardId,
    place: Place,
    receipt: Receipt,
}

#[derive(Debug, thiserror::Error)]
#[error("not today")]
pub(crate) struct NotToday;

impl Common {
    fn is_nacked(&self) -> bool {
        self.nacks.load(Ordering::SeqCst) > 0
            && lock(&self.dice).percent(2)
            && self.nacks.fetch_sub(1, Ordering::SeqCst) > 0
    }

    fn settle(&self, given: Given) {
        let Given {
            sink,
            shard,
            place,
            receipt,
        } = given;
        if self.is_nacked() {
            self.log.add(Entry::Nacked(self.life, sink, shard, place));
            receipt.nack();
        } else {
            self.log.add(Entry::Acked(self.life, sink, shard, place));
            receipt.ack();
        }
    }

    fn settle_shuffled(&self, mut batch: Vec<Given>) {
        let mut dice = lock(&self.dice).fork();
        dice.shuffle(&mut batch);
        for given in batch {
            self.settle(given);
        }
    }

    fn wait(&self, most: u64) -> Duration {
        lock(&self.dice).millis(0, most)
    }

    pub(crate) fn deliver(&self, sink: usize, event: &Record) -> (ShardId, Place) {
        let (shard, place) = (event.shard.clone(), place_of(event));
        let entry = Entry::Delivered(self.life, sink, shard.clone(), place.clone());
        self.log.add(entry);
        (shard, place)
    }

    pub(crate) fn ack(&self, sink: usize, event: &Record) {
        let (shard, place) = (event.shard.clone(), place_of(event));
        self.log.add(Entry::Acked(self.life, sink, shard, place));
    }

    /// One event of a stream, with its receipt.
    pub(crate) fn take(&self, event: &Record, receipt: Receipt) {
        let (shard, place) = self.deliver(0, event);
        self.settle(Given {
            sink: 0,
            shard,
            place,
            receipt,
        });
    }
}

impl Sink {
    pub(crate) fn new(common: &Arc<Common>, number: usize, manner: Manner) -> Self {
        let later = match manner {
            Manner::LaterByTask(most) => {
                let (give, mut given) = mpsc::unbounded_channel::<Given>();
                let common = Arc::clone(common);
                tokio::spawn(async move {
                    while let Some(first) = given.recv().await {
                        sleep(common.wait(most)).await;
                        let mut batch = vec![first];
                        while let Ok(next) = given.try_recv() {
                            batch.push(next);
                        }
                        common.settle_shuffled(batch);
                    }
                });
                Later::Task(give)
            }
            Manner::LaterByThread(most) => {
                let (give, given) = std_mpsc::channel::<Given>();
                let common = Arc::clone(common);
                thread::spawn(move || {
                    while let Ok(first) = given.recv() {
                        thread::sleep(common.wait(most));
                        let mut batch = vec![first];
                        batch.extend(given.try_iter());
                        common.settle_shuffled(batch);
                    }
                });
                Later::Thread(give)
            }
            _ => Later::No,
        };
        Self {
            common: Arc::clone(common),
            number,
            manner,
            later,
        }
    }
}

impl Consumer<Record> for Sink {
    type Error = NotToday;

    async fn consume(&mut self, batch: &mut Batch<Record>) -> Result<(), NotToday> {
        let common = &self.common;
        match self.manner {
            Manner::Sleeps(most) => sleep(common.wait(most)).await,
            Manner::Blocks(most) => thread::sleep(common.wait(most)),
            Manner::BlocksInPlace(most) => {
                let wait = common.wait(most);
                block_in_place(|| thread::sleep(wait));
            }
            _ => {}
        }
        if common.fails.load(Ordering::SeqCst) {
            return Err(NotToday);
        }
        if self.manner == Manner::Whole {
            for event in batch.iter() {
                common.deliver(self.number, event);
            }
            for event in batch.iter() {
                common.ack(self.number, event);
            }
            return Ok(());
        }
        for (event, receipt) in batch.drain_with_receipts() {
            let (shard, place) = common.deliver(self.number, &event);
            let given = Given {
                sink: self.number,
                shard,
                place,
                receipt,
            };
            match &self.later {
                Later::No => common.settle(given),
                Later::Task(give) => drop(give.send(given)),
                Later::Thread(give) => drop(give.send(given)),
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sink({}, {:?})", self.number, self.manner)
    }
}

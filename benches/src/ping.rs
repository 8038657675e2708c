//! Round trips: how long until the answer to one event is there.

use std::{
    convert::Infallible,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use stage_core::{Batch, Consumer, Demand, Flow, Pipeline, Producer, Window, map};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};

use crate::{
    channels::Channel,
    peers::{CrossfireSpsc, Flume, Futures, Kanal, TokioMpsc},
};

/// A way to ask and be answered.
#[derive(Clone, Copy, Debug)]
pub struct Ping {
    /// Its name in tables and JSON.
    pub name: &'static str,
    /// Asks so often, and returns the nanoseconds that each round trip took.
    pub run: fn(usize) -> Pinging,
}

/// Round trips being made.
type Pinging = Pin<Box<dyn Future<Output = Vec<u32>> + Send>>;

/// Through a stage. Ours is the first.
///
/// A pipeline has no cycles: an event goes through a stage to a consumer, which notifies the source; and the same
/// with two channels.
pub fn pings_through_a_stage() -> [Ping; 2] {
    [
        Ping {
            name: "stage-core",
            run: |times| Box::pin(stage_echo(times)),
        },
        Ping {
            name: "tokio-mpsc",
            run: |times| Box::pin(channel_echo(times)),
        },
    ]
}

/// By two hand-overs. Ours is the first: an event goes to a consumer, and demand is the answer. The producer is asked
/// for the next when it has been taken in. The others send there by one channel and back by another.
pub fn pings_by_demand() -> [Ping; 6] {
    [
        Ping {
            name: "stage-core",
            run: |times| Box::pin(by_demand(times)),
        },
        Ping {
            name: "tokio-mpsc",
            run: |times| Box::pin(there_and_back::<TokioMpsc>(times)),
        },
        Ping {
            name: "flume",
            run: |times| Box::pin(there_and_back::<Flume>(times)),
        },
        Ping {
            name: "kanal",
            run: |times| Box::pin(there_and_back::<Kanal>(times)),
        },
        Ping {
            name: "crossfire",
            run: |times| Box::pin(there_and_back::<CrossfireSpsc>(times)),
        },
        Ping {
            name: "futures",
            run: |times| Box::pin(there_and_back::<Futures>(times)),
        },
    ]
}

/// There is one event on its way. Both have room for no more; with more, ours takes longer.
const ROOM: usize = 1;

/// The time between one call and the next.
struct Laps {
    since: Instant,
    taken: Vec<u32>,
    times: usize,
}

impl Laps {
    #[allow(clippy::disallowed_methods)] // It measures real time.
    fn new(times: usize) -> Self {
        Self {
            since: Instant::now(),
            taken: Vec::with_capacity(times),
            times,
        }
    }

    /// Ends a lap; whether there are more to come.
    #[allow(clippy::disallowed_methods)] // It measures real time.
    fn lap(&mut self) -> bool {
        let now = Instant::now();
        let taken = now.duration_since(mem::replace(&mut self.since, now));
        self.taken
            .push(taken.as_nanos().try_into().unwrap_or(u32::MAX));
        self.taken.len() < self.times
    }
}

async fn there_and_back<C: Channel>(times: usize) -> Vec<u32> {
    let (mut ask, mut asked) = C::open::<u64>(1);
    let (mut answer, mut answered) = C::open::<u64>(1);
    tokio::spawn(async move {
        while let Some(event) = C::receive(&mut asked).await {
            if !C::send(&mut answer, event + 1).await {
                break;
            }
        }
    });
    let asking = tokio::spawn(async move {
        let mut laps = Laps::new(times);
        loop {
            C::send(&mut ask, 0).await;
            assert_eq!(C::receive(&mut answered).await, Some(1));
            if !laps.lap() {
                return laps.taken;
            }
        }
    });
    asking.await.expect("nothing in it panics")
}

async fn by_demand(times: usize) -> Vec<u32> {
    let laps = Arc::default();
    let mut pipeline = Pipeline::new();
    let asks = pipeline.produce(Asks {
        laps: Laps::new(times),
        answered: None,
        result: Arc::clone(&laps),
    });
    pipeline.consume(Answers(None), asks.subscribe(Window::new(1)));
    pipeline.run().await.expect("no stage fails");
    take(&laps)
}

async fn stage_echo(times: usize) -> Vec<u32> {
    let laps = Arc::default();
    let answered = Arc::new(Notify::new());
    let mut pipeline = Pipeline::new();
    let asks = pipeline.produce(Asks {
        laps: Laps::new(times),
        answered: Some(Arc::clone(&answered)),
        result: Arc::clone(&laps),
    });
    let window = Window::new(ROOM);
    let echoes = pipeline.transform(map(|n: u64| n + 1), asks.subscribe(window));
    pipeline.consume(Answers(Some(answered)), echoes.subscribe(window));
    pipeline.run().await.expect("no stage fails");
    take(&laps)
}

async fn channel_echo(times: usize) -> Vec<u32> {
    let answered = Arc::new(Notify::new());
    let (ask, mut asked) = mpsc::channel::<u64>(ROOM);
    let (answer, mut answers) = mpsc::channel::<u64>(ROOM);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Some(event) = asked.recv().await {
            if answer.send(event + 1).await.is_err() {
                break;
            }
        }
        Vec::new()
    });
    let notify = Arc::clone(&answered);
    tasks.spawn(async move {
        while answers.recv().await.is_some() {
            notify.notify_one();
        }
        Vec::new()
    });
    tasks.spawn(async move {
        let mut laps = Laps::new(times);
        loop {
            if ask.send(0).await.is_err() {
                return Vec::new();
            }
            answered.notified().await;
            if !laps.lap() {
                return laps.taken;
            }
        }
    });
    tasks.join_all().await.concat()
}

/// Where a stage leaves its laps.
type Left = Arc<Mutex<Vec<u32>>>;

fn take(laps: &Left) -> Vec<u32> {
    mem::take(&mut laps.lock().unwrap_or_else(PoisonError::into_inner))
}

struct Asks {
    laps: Laps,
    answered: Option<Arc<Notify>>,
    result: Left,
}

impl Producer for Asks {
    type Event = u64;
    type Error = Infallible;

    async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> Result<Flow, Infallible> {
        // The first lap is none: it begins where the next one does.
        if let Some(answered) = &self.answered
            && !self.laps.taken.is_empty()
        {
            answered.notified().await;
        }
        let more = self.laps.lap();
        batch.push(0);
        Ok(if more { Flow::More } else { Flow::End })
    }

    async fn finish(&mut self) -> Result<(), Infallible> {
        let mut result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        *result = mem::take(&mut self.laps.taken);
        Ok(())
    }
}

struct Answers(Option<Arc<Notify>>);

impl Consumer<u64> for Answers {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
        assert_eq!(batch.len(), 1);
        if let Some(answered) = &self.0 {
            answered.notify_one();
        }
        Ok(())
    }
}

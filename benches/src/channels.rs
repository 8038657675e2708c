//! The workloads over any channel, one event at a time.

use std::ops::Range;

use bench_workloads::{Event, InOrder, Job, LANES, Shape, Sink, Sum, Tally, lane_of, parts};
use tokio::task::JoinSet;

/// A bounded channel.
pub(crate) trait Channel: 'static {
    type Tx<T: Item>: Send + 'static;
    type Rx<T: Item>: Send + 'static;

    fn open<T: Item>(capacity: usize) -> (Self::Tx<T>, Self::Rx<T>);

    /// Whether somebody may still receive it.
    fn send<T: Item>(tx: &mut Self::Tx<T>, item: T) -> impl Future<Output = bool> + Send;

    /// `None` when all senders have gone.
    fn receive<T: Item>(rx: &mut Self::Rx<T>) -> impl Future<Output = Option<T>> + Send;
}

/// A channel that any number may send to.
pub(crate) trait ManySenders: Channel {
    fn another_sender<T: Item>(tx: &Self::Tx<T>) -> Self::Tx<T>;
}

/// A channel that any number may receive from, each event once.
pub(crate) trait ManyReceivers: Channel {
    fn another_receiver<T: Item>(rx: &Self::Rx<T>) -> Self::Rx<T>;
}

/// What can be sent.
pub(crate) trait Item: Unpin + Send + 'static {}

impl<T: Unpin + Send + 'static> Item for T {}

/// Tasks that all have to end.
pub(crate) struct Tasks(JoinSet<Tally>);

impl Tasks {
    pub(crate) fn new() -> Self {
        Self(JoinSet::new())
    }

    pub(crate) fn consume(&mut self, task: impl Future<Output = Tally> + Send + 'static) {
        self.0.spawn(task);
    }

    pub(crate) fn work(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(async {
            task.await;
            Tally::default()
        });
    }

    pub(crate) async fn tally(self) -> Tally {
        self.0.join_all().await.into_iter().sum()
    }
}

/// All jobs that take no more than one sender and one receiver for a channel.
pub(crate) async fn run<C: Channel, E: Event>(job: Job) -> Tally {
    let Job {
        shape,
        window,
        events,
    } = job;
    let mut tasks = Tasks::new();
    match shape {
        Shape::Direct => {
            let (tx, rx) = C::open::<E>(window);
            tasks.work(produce::<C, E>(tx, 0..events));
            tasks.consume(consume::<C, E, Sum>(rx));
        }
        Shape::Chain(between) => {
            let (tx, mut rx) = C::open::<E>(window);
            tasks.work(produce::<C, E>(tx, 0..events));
            for _ in 0..between {
                let (tx, next) = C::open::<E>(window);
                tasks.work(map::<C, E>(rx, tx));
                rx = next;
            }
            tasks.consume(consume::<C, E, Sum>(rx));
        }
        Shape::Share(consumers) => {
            let mut txs = open_to::<C, E, Sum>(consumers, window, &mut tasks);
            tasks.work(async move {
                let mut turn = 0;
                for number in 0..events {
                    if !C::send(&mut txs[turn], E::new(number)).await {
                        break;
                    }
                    turn += 1;
                    if turn == txs.len() {
                        turn = 0;
                    }
                }
            });
        }
        Shape::Broadcast(consumers) => {
            let mut txs = open_to::<C, E, Sum>(consumers, window, &mut tasks);
            tasks.work(async move {
                let Some(mut last) = txs.pop() else { return };
                for number in 0..events {
                    let event = E::new(number);
                    for tx in &mut txs {
                        C::send(tx, event.clone()).await;
                    }
                    C::send(&mut last, event).await;
                }
            });
        }
        Shape::Partition => {
            let mut txs = open_to::<C, E, InOrder>(LANES, window, &mut tasks);
            tasks.work(async move {
                for number in 0..events {
                    let event = E::new(number);
                    let lane = lane_of(event.number());
                    if !C::send(&mut txs[lane], event).await {
                        break;
                    }
                }
            });
        }
        Shape::Gather(_) => unreachable!("needs many senders: see `gather`"),
        Shape::SetUp => drop(open_to::<C, E, Sum>(events as usize, window, &mut tasks)),
    }
    tasks.tally().await
}

/// Many producers send to one channel.
pub(crate) async fn gather<C: ManySenders, E: Event>(job: Job, producers: usize) -> Tally {
    let mut tasks = Tasks::new();
    let (tx, rx) = C::open::<E>(job.shared_window());
    for numbers in parts(job.events, producers) {
        tasks.work(produce::<C, E>(C::another_sender(&tx), numbers));
    }
    drop(tx);
    tasks.consume(consume::<C, E, Sum>(rx));
    tasks.tally().await
}

/// Many consumers receive from one channel.
pub(crate) async fn share<C: ManyReceivers, E: Event>(job: Job, consumers: usize) -> Tally {
    let mut tasks = Tasks::new();
    let (tx, rx) = C::open::<E>(job.shared_window());
    tasks.work(produce::<C, E>(tx, 0..job.events));
    for _ in 1..consumers {
        tasks.consume(consume::<C, E, Sum>(C::another_receiver(&rx)));
    }
    tasks.consume(consume::<C, E, Sum>(rx));
    tasks.tally().await
}

fn open_to<C: Channel, E: Event, S: Sink>(
    consumers: usize,
    window: usize,
    tasks: &mut Tasks,
) -> Vec<C::Tx<E>> {
    let open = |_| {
        let (tx, rx) = C::open::<E>(window);
        tasks.consume(consume::<C, E, S>(rx));
        tx
    };
    (0..consumers).map(open).collect()
}

async fn produce<C: Channel, E: Event>(mut tx: C::Tx<E>, numbers: Range<u64>) {
    for number in numbers {
        if !C::send(&mut tx, E::new(number)).await {
            break;
        }
    }
}

async fn map<C: Channel, E: Event>(mut rx: C::Rx<E>, mut tx: C::Tx<E>) {
    while let Some(event) = C::receive(&mut rx).await {
        if !C::send(&mut tx, event.mapped()).await {
            break;
        }
    }
}

async fn consume<C: Channel, E: Event, S: Sink>(mut rx: C::Rx<E>) -> Tally {
    let mut sink = S::default();
    while let Some(event) = C::receive(&mut rx).await {
        sink.take(&event);
    }
    sink.tally()
}

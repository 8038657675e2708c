//! A stream, who reads it, and what goes on meanwhile.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kinesis_fake::{Builder, Fake, FaultPlan, Limits, Operation, Worker};
use kinesis_source::{
    KinesisWriteApi, Record, SequenceNumber, Shard, ShardId, StreamHandle, StreamSource,
};
use stage_core::{Pipeline, PipelineError, Window};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    by_hand::{ByHand, Mistake},
    canary::{CANARY, Ear, assert_no_canary},
    dice::Dice,
    handler::{Deed, Handler, Temper},
    invariants::{Allowed, broken, duplicates},
    lease::{Lease, Row},
    log::{Entry, Log},
    watched::Watched,
};

/// How a scenario reads its stream.
type Terms = Arc<dyn Fn(StreamSource, &Worker) -> StreamSource + Send + Sync>;

pub(crate) struct World {
    pub(crate) fake: Fake,
    pub(crate) dice: Dice,
    pub(crate) store: Arc<Watched>,
    pub(crate) log: Log,
    pub(crate) window: usize,
    pub(crate) allowed: Allowed,
    /// I8: how many calls may be throttled. As many as are, if there is no number.
    pub(crate) throttles: Option<u64>,
    /// I10: how many lines may be logged for whoever has not asked for more.
    pub(crate) lines: usize,
    drain_within: Option<Duration>,
    by_hand: Option<Option<Mistake>>,
    terms: Terms,
    temper: Temper,
    times: Arc<Mutex<BTreeMap<String, u32>>>,
    life: Option<Life>,
    lives: usize,
    put: u64,
    began: Instant,
    ear: Ear,
}

/// A process that reads.
pub(crate) struct Life {
    pub(crate) worker: Worker,
    /// Of a source. A consumer by hand has none.
    handle: Option<StreamHandle>,
    stop: Option<oneshot::Sender<()>>,
    result: Arc<Mutex<Option<Result<(), PipelineError>>>>,
    looking: JoinHandle<()>,
    overfull: Arc<Mutex<Option<String>>>,
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn shard(number: u32) -> ShardId {
    format!("shardId-{number:012}").as_str().into()
}

/// All of a name's records are on one shard until that is split.
fn key(number: u64) -> String {
    format!("{CANARY}-{}", number % 13)
}

impl World {
    /// A stream of so many shards with the service's limits, but that shards may be changed at any
    /// pace.
    pub(crate) fn new(seed: u64, shards: u32) -> Self {
        Self::of(seed, Fake::builder().instant().shards(shards), |_| {})
    }

    /// A stream as it is built, with these limits.
    pub(crate) fn of(seed: u64, builder: Builder, limit: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        limits.control_per_second = Limits::none().control_per_second;
        limits.open_shards = Limits::none().open_shards;
        limit(&mut limits);
        let log = Log::default();
        let window = 50;
        Self {
            fake: builder.limits(limits).seed(seed).build(),
            dice: Dice::new(seed ^ 0x5eed),
            store: Arc::new(Watched::new(&log)),
            log,
            window,
            allowed: Allowed {
                window,
                ..Allowed::default()
            },
            throttles: Some(0),
            lines: 60,
            drain_within: None,
            by_hand: None,
            terms: Arc::new(|source, _| source),
            temper: Arc::new(|_, _| Deed::Ack),
            times: Arc::default(),
            life: None,
            lives: 0,
            put: 0,
            began: Instant::now(),
            ear: Ear::new(),
        }
    }

    /// It is read in another way.
    pub(crate) fn read_by(
        &mut self,
        terms: impl Fn(StreamSource, &Worker) -> StreamSource + Send + Sync + 'static,
    ) {
        self.terms = Arc::new(terms);
    }

    /// What is done with an event that comes for the so many-th time.
    pub(crate) fn handle_by(
        &mut self,
        temper: impl Fn(&Record, u32) -> Deed + Send + Sync + 'static,
    ) {
        self.temper = Arc::new(temper);
    }

    /// No more than so many events are on their way to the handler, of each shard.
    pub(crate) fn set_window(&mut self, window: usize) {
        self.window = window;
        self.allowed.window = window;
    }

    /// How long stopping may take.
    pub(crate) fn drain_within(&mut self, span: Duration) {
        self.drain_within = Some(span);
    }

    /// Whether a shard's end is stored.
    pub(crate) fn has_ended(&self, shard: &ShardId) -> bool {
        let entries = self.log.entries();
        entries.iter().any(
            |entry| matches!(entry, Entry::Stored(it, stored) if it == shard && stored.is_end()),
        )
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "it is written where it is followed"
    )]
    pub(crate) fn follow(&self, plan: FaultPlan) {
        self.fake.follow(&plan);
    }

    /// It is read by a consumer that was written by hand, with or without a mistake.
    pub(crate) fn read_by_hand(&mut self, mistake: Option<Mistake>) {
        self.by_hand = Some(mistake);
        // It takes lists for state where a source has events.
        self.allowed.window = 0;
    }

    /// A process begins to read.
    pub(crate) fn start(&mut self) {
        let worker = Worker::new(&self.fake);
        match self.by_hand {
            Some(mistake) => self.start_by_hand(worker, mistake, None),
            None => self.start_source(worker),
        }
    }

    /// One begins to read as soon as it has the lease. Its wall clock is so many milliseconds ahead.
    pub(crate) async fn start_leased(&mut self, row: &Row, skew: i64) {
        let worker = Worker::new(&self.fake);
        let mistake = self.by_hand.expect("by hand");
        let by_wall_clock = mistake == Some(Mistake::WallClockLease);
        let lease = row.take(self.began, skew, by_wall_clock).await;
        worker.run(lease.clone().keep(self.began));
        self.start_by_hand(worker, mistake, Some(lease));
    }

    /// Another takes its place.
    pub(crate) fn take_life(&mut self) -> Life {
        self.life.take().expect("somebody reads")
    }

    pub(crate) fn put_life(&mut self, life: Life) {
        self.life = Some(life);
    }

    fn handler(&mut self, worker: &Worker) -> Handler {
        assert!(self.life.is_none(), "one reads already");
        self.lives += 1;
        self.log.add(Entry::Began);
        Handler {
            life: self.lives,
            log: self.log.clone(),
            gate: worker.gate().clone(),
            temper: Arc::clone(&self.temper),
            times: Arc::clone(&self.times),
        }
    }

    fn start_by_hand(&mut self, worker: Worker, mistake: Option<Mistake>, lease: Option<Lease>) {
        let held = Arc::<AtomicU64>::default();
        let by_hand = ByHand {
            api: worker.api(),
            store: worker.checkpoints(Arc::clone(&self.store) as _),
            handler: self.handler(&worker),
            mistake,
            window: self.window,
            held: Arc::clone(&held),
            lease,
        };
        worker.run(by_hand.run());
        let window = (self.window * self.fake.shards().len()) as u64;
        let held = move || {
            let held = held.load(Ordering::Relaxed);
            (held > window).then(|| format!("{held} events are held"))
        };
        self.begin(worker, None, None, Arc::default(), held);
    }

    fn start_source(&mut self, worker: Worker) {
        let source = StreamSource::new("orders", worker.api())
            .checkpoints(worker.checkpoints(Arc::clone(&self.store) as _));
        let source = (self.terms)(source, &worker);
        let mut pipeline = Pipeline::new();
        if let Some(span) = self.drain_within {
            pipeline = pipeline.drain_within(span);
        }
        let (records, handle) = source.add_to(&mut pipeline);
        let window = Window::new(self.window);
        pipeline.consume(self.handler(&worker), records.subscribe(window));
        let (stop, stopped) = oneshot::channel();
        let result = Arc::<Mutex<Option<_>>>::default();
        let told = Arc::clone(&result);
        worker.run(async move {
            let ended = pipeline.run_until(async move {
                if stopped.await.is_err() {
                    std::future::pending::<()>().await;
                }
            });
            let ended = ended.await;
            told.lock().unwrap().replace(ended);
        });
        let (looked_at, window) = (handle.clone(), self.window as u64);
        let look = move || {
            let status = looked_at.status().into_iter();
            let mut overfull = status.filter(|shard| shard.in_flight > window);
            overfull.next().map(|shard| format!("{shard:?}"))
        };
        self.begin(worker, Some(handle), Some(stop), result, look);
    }

    /// I7: looks all the time whether more is on its way than the window lets through.
    fn begin(
        &mut self,
        worker: Worker,
        handle: Option<StreamHandle>,
        stop: Option<oneshot::Sender<()>>,
        result: Arc<Mutex<Option<Result<(), PipelineError>>>>,
        look: impl Fn() -> Option<String> + Send + 'static,
    ) {
        let overfull = Arc::<Mutex<Option<_>>>::default();
        let told = Arc::clone(&overfull);
        let looking = tokio::spawn(async move {
            loop {
                if let Some(found) = look() {
                    told.lock().unwrap().get_or_insert(found);
                }
                sleep(millis(500)).await;
            }
        });
        self.life = Some(Life {
            worker,
            handle,
            stop,
            result,
            looking,
            overfull,
        });
    }

    fn life(&self) -> &Life {
        self.life.as_ref().expect("somebody reads")
    }

    pub(crate) fn worker(&self) -> &Worker {
        &self.life().worker
    }

    pub(crate) fn handle(&self) -> &StreamHandle {
        self.life().handle.as_ref().expect("a source reads")
    }

    /// Puts so many records under thirteen keys.
    pub(crate) fn put(&mut self, count: u64) {
        for _ in 0..count {
            let data = format!("{CANARY}:{}", self.put);
            self.put_one(&key(self.put), data.into_bytes());
        }
    }

    pub(crate) fn put_one(&mut self, key: &str, data: Vec<u8>) -> (ShardId, SequenceNumber) {
        let (shard, number) = self.fake.put(key, data).unwrap();
        self.log.put(&shard, &number, 1);
        self.put += 1;
        (shard, number)
    }

    /// Puts so many records a second for that time.
    /// Puts a record that makes so many events.
    pub(crate) fn put_aggregated(&mut self, data: Vec<u8>, parts: u64) {
        let (shard, number) = self.fake.put(&key(self.put), data).unwrap();
        self.log.put(&shard, &number, parts);
        self.put += 1;
    }

    pub(crate) async fn put_for(&mut self, span: Duration, a_second: u64) {
        let end = Instant::now() + span;
        while Instant::now() < end {
            self.put(a_second);
            sleep(seconds(1)).await;
        }
    }

    /// In the order of their hash keys.
    pub(crate) fn open_shards(&self) -> Vec<Shard> {
        let mut open = self.fake.shards();
        open.retain(|shard| !shard.is_closed());
        open.sort_by_key(|shard| shard.hash_range.start);
        open
    }

    /// Splits an open shard, or merges two.
    pub(crate) async fn reshard(&mut self) {
        let open = self.open_shards();
        let shard = self.dice.one_of(&open);
        let next = open
            .iter()
            .find(|it| shard.hash_range.end.checked_add(1) == Some(it.hash_range.start));
        match next {
            Some(next) if self.dice.between(0, 1) == 0 || open.len() > 6 => {
                self.fake.merge_shards(&shard.id, &next.id).await.unwrap();
            }
            _ => self.split(&shard).await,
        }
    }

    pub(crate) async fn split(&mut self, shard: &Shard) {
        let range = shard.hash_range;
        let middle = range.start + (range.end - range.start) / 2 + 1;
        self.fake.split_shard(&shard.id, middle).await.unwrap();
    }

    /// How often faults have struck.
    pub(crate) fn struck(&self) -> u64 {
        self.fake.fault_report().fired()
    }

    /// Kills the process that reads, as `kill -9` does.
    pub(crate) async fn kill(&mut self) {
        let life = self.life.take().expect("somebody reads");
        life.worker.kill().await;
        life.looking.abort();
        Self::assert_not_overfull(&life);
    }

    /// Stops it as SIGTERM does, and returns how it ended.
    pub(crate) async fn stop(&mut self) -> Result<(), PipelineError> {
        let mut life = self.life.take().expect("somebody reads");
        if let Some(stop) = life.stop.take() {
            // It may have ended by itself.
            let _ = stop.send(());
        }
        timeout(seconds(900), life.worker.finish())
            .await
            .expect("it does not stop");
        life.looking.abort();
        Self::assert_not_overfull(&life);
        life.result.lock().unwrap().take().expect("it has ended")
    }

    /// Waits until it ends by itself, which is to be with an error.
    pub(crate) async fn failure(&mut self, within: Duration) -> PipelineError {
        let life = self.life.take().expect("somebody reads");
        timeout(within, life.worker.finish())
            .await
            .expect("it goes on");
        life.looking.abort();
        let result = life.result.lock().unwrap().take();
        let error = result.expect("it has ended").expect_err("not well");
        assert_no_canary(&format!("{error} {error:?}"));
        error
    }

    /// I9, then all others: what goes wrong is over, and within that time everything is done. The
    /// process is stopped then. Returns how often faults have struck.
    pub(crate) async fn settle(&mut self, within: Duration) -> u64 {
        let struck = self.struck();
        self.fake.clear_faults();
        self.settle_after(struck, within).await;
        struck
    }

    /// As [`settle`](Self::settle), and what goes wrong goes on.
    pub(crate) async fn settle_with_faults(&mut self, within: Duration) {
        let struck = self.struck();
        self.settle_after(struck, within).await;
    }

    async fn settle_after(&mut self, struck: u64, within: Duration) {
        // What a fault has refused is not throttled by the service.
        self.throttles = self.throttles.map(|throttles| throttles + struck);
        let Some(handle) = self.life().handle.clone() else {
            // It is looked at what has been done by then.
            sleep(within).await;
            self.kill().await;
            return self.check();
        };
        if timeout(within, handle.caught_up()).await.is_err() {
            let ended = self.life().result.lock().unwrap().take();
            panic!("I9: it has not caught up: {ended:?} {:#?}", handle.status());
        }
        self.stop().await.expect("it ends well");
        self.check();
    }

    /// The invariants I1 to I6, I8 and I10, by all that has happened.
    pub(crate) fn check(&self) {
        if let Some(broken) = broken(&self.log, &self.fake.shards(), &self.allowed) {
            panic!("{broken}");
        }
        self.check_manners();
        self.ear.assert_nothing_leaked();
        let lines = self.ear.lines();
        // Each shard begins and ends once in each life.
        let most = self.lines + 4 * self.lives * self.fake.shards().len();
        assert!(
            lines.len() <= most,
            "I10: {} lines are logged, such as {:#?}",
            lines.len(),
            &lines[..6.min(lines.len())]
        );
    }

    fn check_manners(&self) {
        let calls = self.fake.calls();
        // Who comes after one that was killed does not know what that has used up.
        let unknown = 6 * self.lives.saturating_sub(1) as u64 * self.fake.shards().len() as u64;
        if let Some(throttles) = self.throttles.map(|it| it + unknown) {
            assert!(calls.throttled() <= throttles, "I8: {calls:?}");
        }
        let elapsed = self.began.elapsed().as_secs() + 2;
        let shards = self.fake.shards().len() as u64;
        let most = |a_second: u64| elapsed * a_second * shards.max(1) + 20 * shards + 40;
        for (operation, a_second) in [
            (Operation::GetRecords, 5),
            (Operation::GetShardIterator, 1),
            (Operation::SubscribeToShard, 1),
            (Operation::ListShards, 1),
            (Operation::DescribeStreamSummary, 1),
        ] {
            let made = calls.of(operation).made;
            assert!(made <= most(a_second), "I8: {made} calls of {operation:?}");
        }
    }

    /// How many deliveries were repetitions.
    pub(crate) fn duplicates(&self) -> usize {
        duplicates(&self.log)
    }

    fn assert_not_overfull(life: &Life) {
        assert_eq!(*life.overfull.lock().unwrap(), None, "I7");
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "World({})", self.lives)
    }
}

//! Random scenarios, many at once, on a runtime with several threads and in real time: what is lost, skipped, repeated
//! or out of order, hangs, or stays behind, whatever happens at once. On a paused clock there is one thread.
//!
//! Takes about ten seconds, with scenarios that do not last. For all of them: `TORTURE_ROUNDS=20 TORTURE_AT_ONCE=300 cargo
//! test -p kinesis-source --test torture -- --nocapture`, each round with other seeds, from `TORTURE_SEED` on: one minute
//! or two each, most of which is waiting, so that more at once cost little. A seed draws the same scenario each time, but
//! what goes on at once is up to the machine: `TORTURE_ROUNDS=1 TORTURE_ONLY=17 TORTURE_AT_ONCE=100` plays one seed a
//! hundred times.

#![allow(clippy::unwrap_used)]
#![allow(
    clippy::disallowed_methods,
    reason = "it is in the way of others on purpose, and in real time"
)]

mod dice;
#[path = "torture/judge.rs"]
mod judge;
#[path = "torture/log.rs"]
mod log;
#[path = "kpl/reference.rs"]
mod reference;
#[path = "torture/scenario.rs"]
mod scenario;
#[path = "torture/sinks.rs"]
mod sinks;
#[path = "torture/store.rs"]
mod store;

use std::{
    alloc::System,
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    env, fs,
    future::poll_fn,
    panic,
    path::PathBuf,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use futures_core::Stream;
use kinesis_fake::{Choices, Durations, Fake, Limits, Resharding};
use kinesis_source::{
    ByteBudget, CheckpointStore, Deaggregation, FanOut, FileCheckpointStore, MemoryCheckpointStore,
    OutsideRange, PinnedPosition, Record, StreamHandle, StreamSource,
};
use stage_core::{
    Consumer, Pipeline, PipelineError, PipelineHandle, Restart, Transform, Window, map, map_async,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout},
};

use dice::Dice;
use judge::{Judge, Terms};
use log::{Entry, Log, lock};
use reference::{Aggregated, UserRecord};
use scenario::{Ending, Scenario, Shape, drain};
use sinks::{Common, Manner, Sink};
use store::Watched;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// For what takes some seconds, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(150);

/// What ends may take longer than is meant.
const GRACE: Duration = Duration::from_secs(15);

/// What came of a scenario, or what is wrong.
type Played = Result<Account, String>;

#[derive(Debug, Default)]
struct Account {
    scenario: String,
    lives: usize,
    delivered: usize,
    repeated: usize,
    struck: u64,
    saves_failed: usize,
    told: BTreeMap<String, usize>,
    took: Duration,
}

/// A scenario that is played.
struct World {
    scenario: Scenario,
    fake: Fake,
    log: Arc<Log>,
    memory: Arc<MemoryCheckpointStore>,
    directory: Option<PathBuf>,
    told: Arc<Mutex<BTreeMap<String, usize>>>,
    wrong: Arc<Mutex<Option<String>>>,
    saves_failed: Arc<AtomicUsize>,
    lives: AtomicUsize,
    is_written: watch::Sender<bool>,
}

impl World {
    fn new(scenario: Scenario) -> Self {
        let mut limits = Limits::default();
        limits.control_per_second = Limits::none().control_per_second;
        limits.open_shards = Limits::none().open_shards;
        let mut choices = Choices::default();
        // What the tip of a subscription is told by.
        choices.heartbeat = Duration::from_millis(700);
        let mut builder = Fake::builder()
            .choices(choices)
            .shards(scenario.shards)
            .wall_clock()
            .limits(limits)
            .seed(scenario.seed);
        if !scenario.limited {
            builder = builder.without_limits();
        }
        let fake = builder
            .durations(Durations::all(Duration::from_millis(
                scenario.resharding_takes,
            )))
            .build();
        let directory = scenario.file.then(|| {
            static NUMBER: AtomicU64 = AtomicU64::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = format!("torture-{}-{number}", std::process::id());
            let path = env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            path
        });
        Self {
            scenario,
            fake,
            log: Arc::default(),
            memory: Arc::default(),
            directory,
            told: Arc::default(),
            wrong: Arc::default(),
            saves_failed: Arc::default(),
            lives: AtomicUsize::new(0),
            is_written: watch::Sender::new(false),
        }
    }

    /// Puts all that is to be put, at random moments.
    async fn put(&self, mut dice: Dice) {
        let scenario = &self.scenario;
        let mut next = 0;
        while next < scenario.records {
            let count = dice.between(1, 40).min(scenario.records - next);
            if scenario.aggregated && dice.percent(60) {
                self.put_aggregated(next..next + count);
            } else {
                for number in next..next + count {
                    self.put_one(number);
                }
            }
            next += count;
            let left = scenario.put_within * count / scenario.records;
            if left > 0 {
                sleep(dice.millis(0, 2 * left)).await;
            }
        }
    }

    fn key(&self, number: u64) -> String {
        format!("key-{}", number % self.scenario.keys)
    }

    fn data(&self, number: u64) -> String {
        format!("{number:0>width$}", width = self.scenario.size)
    }

    fn put_one(&self, number: u64) {
        let key = self.key(number);
        let (shard, place) = self.fake.put(&key, self.data(number)).unwrap();
        self.log.put(&shard, place, vec![key]);
    }

    fn put_aggregated(&self, numbers: std::ops::Range<u64>) {
        let keys: Vec<_> = numbers.clone().map(|number| self.key(number)).collect();
        let record = |(index, number)| UserRecord {
            partition_key_index: index,
            explicit_hash_key_index: None,
            data: self.data(number).into_bytes(),
            tags: Vec::new(),
        };
        let outer = self.key(numbers.start);
        let aggregated = Aggregated {
            partition_key_table: keys.iter().map(|key| key.clone().into_bytes()).collect(),
            explicit_hash_key_table: Vec::new(),
            records: (0..).zip(numbers).map(record).collect(),
        };
        let (shard, place) = self.fake.put(&outer, aggregated.seal()).unwrap();
        self.log.put(&shard, place, keys);
    }

    /// Splits and merges at random moments.
    async fn reshard(&self, mut dice: Dice) {
        let most = 2 * self.scenario.shards as usize + 2;
        let mut resharding = Resharding::new(dice.next()).shards(1..=most);
        for _ in 0..self.scenario.reshards {
            sleep(dice.millis(0, 700)).await;
            // Refused while another goes on, or by a fault.
            let _ = resharding.step(&self.fake).await;
            if dice.percent(30) {
                let _ = resharding.step(&self.fake).await;
            }
        }
    }

    async fn store(&self, common: &Common, is_last: bool) -> Result<Arc<Watched>, String> {
        let inner: Arc<dyn CheckpointStore> = match &self.directory {
            None => Arc::clone(&self.memory) as _,
            Some(directory) => {
                let path = directory.join("checkpoints.redb");
                let began = Instant::now();
                loop {
                    match FileCheckpointStore::open(&path).await {
                        Ok(store) => break Arc::new(store),
                        Err(_) if began.elapsed() < GRACE => {
                            sleep(Duration::from_millis(50)).await;
                        }
                        Err(error) => return Err(format!("the file is not let go of: {error}")),
                    }
                }
            }
        };
        Ok(Arc::new(Watched {
            inner,
            log: Arc::clone(&self.log),
            life: common.life,
            dice: Mutex::new(lock(&common.dice).fork()),
            fails: if is_last {
                0
            } else {
                self.scenario.store_fails
            },
            slow: self.scenario.store_slow,
            failed: Arc::clone(&self.saves_failed),
        }))
    }

    fn source(&self, store: Arc<Watched>, budget: &ByteBudget) -> StreamSource {
        let scenario = &self.scenario;
        let api = Arc::new(self.fake.clone());
        let mut source = StreamSource::new("orders", api.clone())
            .checkpoints(store)
            .checkpoint_every(Duration::from_millis(scenario.checkpoint_every))
            .restarts(
                Restart::new(1_000, Duration::from_secs(600))
                    .waiting(Duration::from_millis(20), Duration::from_millis(200)),
            )
            .byte_budget(budget);
        if let Some(records) = scenario.checkpoint_after {
            source = source.checkpoint_after(records);
        }
        if let Some(records) = scenario.unsaved_at_most {
            source = source.unsaved_at_most(records);
        }
        if scenario.discover_often {
            source = source.discover_every(Duration::from_secs(1));
        }
        if scenario.aggregated {
            let deaggregation = Deaggregation::new().outside_range(OutsideRange::Deliver);
            source = source.deaggregate(deaggregation);
        }
        if scenario.fan_out {
            let mut fan_out = FanOut::new(api, "audit");
            if let Some(millis) = scenario.let_go_after {
                fan_out = fan_out.let_go_after(Duration::from_millis(millis));
            }
            source = source.fan_out(fan_out);
        }
        source
    }

    /// One process reads. Ends as it is told, or once all has been read.
    async fn live(&self, mut dice: Dice, ending: Option<(u64, Ending)>) -> Result<(), String> {
        let scenario = &self.scenario;
        let life = self.lives.fetch_add(1, Ordering::Relaxed) + 1;
        let common = Arc::new(Common {
            log: Arc::clone(&self.log),
            life,
            nacks: AtomicI64::new(ending.map_or(0, |_| scenario.nacks)),
            fails: AtomicBool::new(false),
            dice: Mutex::new(dice.fork()),
        });
        let budget = match scenario.budget {
            Some(bytes) => ByteBudget::new(bytes),
            None => ByteBudget::default(),
        };
        let store = self.store(&common, ending.is_none()).await?;
        let kept = Arc::downgrade(&store);
        let mut pipeline = Pipeline::new();
        // The last one is to end well.
        if let Some(millis) = scenario.drain_within.filter(|_| ending.is_some()) {
            pipeline = pipeline.drain_within(Duration::from_millis(millis));
        }
        let control = pipeline.handle();
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async move {
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let source = self.source(store, &budget);
        let (run, handle) = self.run(pipeline, source, &common, stopped);
        let mut meddling = JoinSet::new();
        self.watch(&mut meddling, &handle);
        if scenario.pauses > 0 {
            meddling.spawn(pausing(control.clone(), dice.fork(), scenario.pauses));
        }
        if scenario.seeks > 0 && ending.is_some() {
            let log = Arc::clone(&self.log);
            meddling.spawn(seeking(
                handle.clone(),
                log,
                life,
                dice.fork(),
                scenario.seeks,
            ));
        }
        if scenario.asks {
            let wrong = Arc::clone(&self.wrong);
            let log = Arc::clone(&self.log);
            let asking = asking(handle.clone(), log, self.terms());
            let wait = dice.millis(0, 1_000);
            meddling.spawn(async move {
                sleep(wait).await;
                if let Err(found) = asking.await {
                    lock(&wrong).get_or_insert(found);
                }
            });
        }
        let ended = self
            .end(dice, ending, run, &handle, &control, stop, &common)
            .await;
        // There may be something left to be told.
        sleep(Duration::from_millis(30)).await;
        meddling.shutdown().await;
        ended.map_err(|wrong| format!("life {life}: {wrong}"))?;
        if let Some(wrong) = lock(&self.wrong).take() {
            return Err(format!("life {life}: {wrong}"));
        }
        let losses = handle.data_losses();
        if !losses.is_empty() {
            return Err(format!("life {life}: {losses:?}"));
        }
        drop((handle, common));
        let began = Instant::now();
        while kept.strong_count() > 0 || budget.in_use() > 0 || !control.status().stages.is_empty()
        {
            if began.elapsed() > GRACE {
                let (stores, bytes) = (kept.strong_count(), budget.in_use());
                return Err(format!(
                    "life {life} has left {stores} stores, {bytes} bytes of the budget and {:?}",
                    control.status().stages
                ));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn terms(&self) -> Terms {
        let scenario = &self.scenario;
        Terms {
            order: scenario.order(),
            sinks: match scenario.shape {
                Shape::Broadcast => 2,
                _ => 1,
            },
            goes_back: scenario.nacks > 0 || scenario.seeks > 0,
        }
    }

    /// Begins to read.
    fn run(
        &self,
        mut pipeline: Pipeline,
        source: StreamSource,
        common: &Arc<Common>,
        stopped: impl Future<Output = ()> + Send + 'static,
    ) -> (JoinHandle<Result<(), PipelineError>>, StreamHandle) {
        let scenario = &self.scenario;
        let window = || Window::new(scenario.window);
        let sink = |number: usize| Sink::new(common, number, scenario.manners[number]);
        let same = || map(|event: Record| event);
        if let Shape::Lanes(lanes) = scenario.shape {
            let (lanes, handle) = source.add_lanes_to(&mut pipeline, lanes);
            for (number, lane) in lanes.into_iter().enumerate() {
                pipeline.consume(sink(number), lane.subscribe(window()));
            }
            return (tokio::spawn(pipeline.run_until(stopped)), handle);
        }
        let (records, handle) = source.add_to(&mut pipeline);
        match scenario.shape {
            Shape::Plain => {
                pipeline.consume(sink(0), records.subscribe(window()));
            }
            Shape::Step => {
                pipeline.consume(
                    sink(0).after(same()).after(same()),
                    records.subscribe(window()),
                );
            }
            Shape::Transform => {
                let made = pipeline
                    .transform(Transform::then(same(), same()), records.subscribe(window()));
                pipeline.consume(sink(0), made.subscribe(window()));
            }
            Shape::MapAsync => {
                let common = Arc::clone(common);
                let made = map_async(move |event: Record| {
                    let wait = lock(&common.dice).percent(10);
                    async move {
                        if wait {
                            sleep(Duration::from_millis(1)).await;
                        }
                        Ok::<_, Infallible>(event)
                    }
                });
                let made = pipeline.transform(made, records.subscribe(window()));
                pipeline.consume(sink(0), made.subscribe(window()));
            }
            Shape::Broadcast => {
                let all = pipeline
                    .stage("all")
                    .broadcast()
                    .transform(same(), records.subscribe(window()));
                for number in 0..2 {
                    pipeline.consume(sink(number), all.subscribe(window()));
                }
            }
            Shape::Shared(sinks) => {
                for number in 0..sinks {
                    pipeline.consume(sink(number), records.subscribe(window()));
                }
            }
            Shape::Stream | Shape::StreamWithReceipts => {
                let stopping = pipeline.handle();
                let events = pipeline.into_stream(records.subscribe(window()));
                let common = Arc::clone(common);
                let has_receipts = scenario.shape == Shape::StreamWithReceipts;
                let run = tokio::spawn(async move {
                    let stopping = async move {
                        stopped.await;
                        stopping.stop();
                        std::future::pending::<()>().await;
                    };
                    tokio::select! {
                        ended = async {
                            if has_receipts {
                                let mut events = pin!(events.with_receipts());
                                while let Some(next) = poll_fn(|cx| events.as_mut().poll_next(cx)).await {
                                    let (event, receipt) = next?;
                                    common.take(&event, receipt);
                                    if common.fails.load(Ordering::SeqCst) {
                                        return Ok(());
                                    }
                                }
                                return Ok(());
                            }
                            let mut events = pin!(events);
                            while let Some(event) = poll_fn(|cx| events.as_mut().poll_next(cx)).await {
                                let event = event?;
                                common.deliver(0, &event);
                                if common.fails.load(Ordering::SeqCst) {
                                    return Ok(());
                                }
                                // By asking for the next.
                                common.ack(0, &event);
                            }
                            Ok(())
                        } => ended,
                        () = stopping => unreachable!(),
                    }
                });
                return (run, handle);
            }
            Shape::Lanes(_) => unreachable!(),
        }
        drop(records);
        (tokio::spawn(pipeline.run_until(stopped)), handle)
    }

    /// Remembers what the source tells, and that no more is on its way than may be.
    fn watch(&self, meddling: &mut JoinSet<()>, handle: &StreamHandle) {
        let mut events = handle.events();
        let (told, wrong) = (Arc::clone(&self.told), Arc::clone(&self.wrong));
        meddling.spawn(async move {
            let mut has_ended = false;
            while let Some(event) = events.next().await {
                let text = format!("{event:?}");
                if std::mem::replace(&mut has_ended, text.starts_with("StreamEnded")) {
                    lock(&wrong).get_or_insert(format!("after the end: {text}"));
                }
                let end = text.find(|it: char| !it.is_alphanumeric());
                let mut name = text[..end.unwrap_or(text.len())].to_owned();
                if text.contains("end: ") {
                    name = text.split_inclusive("end: ").last().unwrap().to_owned();
                    name = format!("(ended) {name}");
                }
                let is_wrong = [
                    "ShardStopped",
                    "ShardFailed",
                    "DataLost",
                    "ShardReopened",
                    "ShardParked",
                ];
                // Its shards stay open.
                let is_complete = text == "StreamEnded { end: Complete }";
                if is_complete || is_wrong.contains(&&*name) {
                    lock(&wrong).get_or_insert(text);
                }
                *lock(&told).entry(name).or_default() += 1;
            }
        });
        let scenario = &self.scenario;
        // Who keeps receipts asks for more all the same.
        let keeps = matches!(
            scenario.manners[0],
            Manner::LaterByTask(_) | Manner::LaterByThread(_)
        );
        if matches!(scenario.shape, Shape::Plain | Shape::Step) && !keeps {
            let (handle, wrong) = (handle.clone(), Arc::clone(&self.wrong));
            let window = scenario.window as u64;
            meddling.spawn(async move {
                loop {
                    let mut status = handle.status().into_iter();
                    if let Some(shard) = status.find(|it| it.in_flight > window) {
                        lock(&wrong).get_or_insert(format!("more than {window}: {shard:?}"));
                    }
                    sleep(Duration::from_millis(100)).await;
                }
            });
        }
    }

    #[expect(clippy::too_many_arguments)]
    async fn end(
        &self,
        mut dice: Dice,
        ending: Option<(u64, Ending)>,
        mut run: JoinHandle<Result<(), PipelineError>>,
        handle: &StreamHandle,
        control: &PipelineHandle,
        stop: oneshot::Sender<()>,
        common: &Common,
    ) -> Result<(), String> {
        let scenario = &self.scenario;
        let Some((millis, ending)) = ending else {
            let in_time = Duration::from_secs(25) + GRACE;
            let mut written = self.is_written.subscribe();
            let _ = written.wait_for(|is_written| *is_written).await;
            tokio::select! {
                caught_up = timeout(PATIENCE, handle.caught_up()) => {
                    if caught_up.is_err() {
                        return Err(format!(
                            "it does not catch up: {}\n{:#?}", handle.explain(), control.status()
                        ));
                    }
                }
                ended = &mut run => return Err(format!("it ends by itself: {ended:?}")),
            }
            if let Err(wrong) = self.judge(|judge| judge.check_complete()) {
                return Err(format!(
                    "it is caught up, and {wrong}\n{}",
                    handle.explain()
                ));
            }
            stop.send(()).unwrap();
            let ended = timeout(in_time, run).await;
            let ended = ended.map_err(|_| format!("no end: {:#?}", control.status()))?;
            ended
                .map_err(|error| format!("{error:?}"))?
                .map_err(|error| format!("{error:?}"))?;
            self.log.add(Entry::EndedWell(common.life));
            return Ok(());
        };
        let in_time = drain(scenario) + GRACE;
        sleep(Duration::from_millis(millis)).await;
        let began = Instant::now();
        match ending {
            Ending::Stop => {
                let _ = stop.send(());
            }
            Ending::StopByHandle => control.stop(),
            Ending::Abort => {
                run.abort();
                return match timeout(GRACE, run).await {
                    Ok(Err(error)) if error.is_cancelled() => Ok(()),
                    Ok(ended) => Err(format!("it ends by itself: {ended:?}")),
                    Err(_) => Err("it is not aborted".to_owned()),
                };
            }
            Ending::Fail => {
                common.fails.store(true, Ordering::SeqCst);
                // There may be nothing to fail on.
                let wait = dice.millis(200, 1_000);
                if timeout(wait, &mut run).await.is_ok() {
                    return Ok(());
                }
                let _ = stop.send(());
            }
        }
        let Ok(ended) = timeout(in_time, &mut run).await else {
            return Err(format!(
                "{ending:?} is not heard for {:?}: {}\n{:#?}",
                began.elapsed(),
                handle.explain(),
                control.status()
            ));
        };
        let ended = ended.map_err(|error| format!("{error:?}"))?;
        match &ended {
            Ok(()) => {
                if ending != Ending::Fail {
                    self.log.add(Entry::EndedWell(common.life));
                }
                Ok(())
            }
            Err(_) if ending == Ending::Fail => Ok(()),
            Err(PipelineError::DrainTimedOut { .. }) if began.elapsed() >= drain(scenario) => {
                let slow = match scenario.is_slow() {
                    true => String::new(),
                    // Perhaps the machine is.
                    false => format!(", nothing is slow, seed {}", scenario.seed),
                };
                let text = format!("(drain timed out after {:?}{slow})", drain(scenario));
                *lock(&self.told).entry(text).or_default() += 1;
                Ok(())
            }
            Err(error) if scenario.store_fails > 0 => {
                let text = format!("{error:?}");
                *lock(&self.told).entry(text).or_default() += 1;
                Ok(())
            }
            Err(error) => Err(format!("after {:?}: {error:?}", began.elapsed())),
        }
    }

    fn judge(&self, check: impl FnOnce(&Judge<'_>) -> Result<(), String>) -> Result<usize, String> {
        let (terms, entries) = (self.terms(), self.log.entries());
        let mut judge = Judge::new(&self.log, &self.fake.shards(), &terms);
        judge.hear_all(&entries)?;
        check(&judge)?;
        Ok(judge.repeated)
    }

    async fn play(self: &Arc<Self>) -> Played {
        let began = Instant::now();
        let scenario = &self.scenario;
        let mut dice = Dice::new(scenario.seed);
        self.fake.follow(&scenario.plan());
        let mut writing = JoinSet::new();
        let (world, forked) = (Arc::clone(self), dice.fork());
        writing.spawn(async move { world.put(forked).await });
        let (world, forked) = (Arc::clone(self), dice.fork());
        writing.spawn(async move { world.reshard(forked).await });
        for life in &scenario.lives {
            self.live(dice.fork(), Some(*life)).await?;
        }
        self.fake.clear_faults();
        let written = async {
            while let Some(ended) = writing.join_next().await {
                ended.map_err(|error| error.to_string())?;
            }
            self.is_written.send_replace(true);
            Ok(())
        };
        // The last one may begin before all is put.
        if dice.percent(50) {
            written.await?;
            self.live(dice.fork(), None).await?;
        } else {
            tokio::try_join!(written, self.live(dice.fork(), None))?;
        }
        let repeated = self.judge(|judge| judge.check_complete())?;
        if let Some(directory) = &self.directory {
            let _ = fs::remove_dir_all(directory);
        }
        Ok(Account {
            scenario: format!("{scenario:?}"),
            lives: self.lives.load(Ordering::Relaxed),
            delivered: self.log.delivered(),
            repeated,
            struck: self.fake.fault_report().fired(),
            saves_failed: self.saves_failed.load(Ordering::Relaxed),
            told: std::mem::take(&mut *lock(&self.told)),
            took: began.elapsed(),
        })
    }
}

/// Holds stages back, and lets them go on.
async fn pausing(control: PipelineHandle, mut dice: Dice, times: u64) {
    for _ in 0..times {
        sleep(dice.millis(0, 300)).await;
        let stages = control.status().stages;
        if stages.is_empty() {
            continue;
        }
        let name = &dice.one_of(&stages).name;
        // A consumer is not held back from without.
        if control.pause(name).is_ok() {
            sleep(dice.millis(0, 200)).await;
            // It may have ended.
            let _ = control.resume(name);
        }
    }
}

/// Has shards go back to their first record, or to one that they still have.
async fn seeking(handle: StreamHandle, log: Arc<Log>, life: usize, mut dice: Dice, times: u64) {
    for _ in 0..times {
        sleep(dice.millis(0, 500)).await;
        let shards = handle.status();
        if shards.is_empty() {
            continue;
        }
        let shard = dice.one_of(&shards).shard;
        log.add(Entry::Sought(life, shard.clone()));
        // It may wait for its parents or have ended.
        let _ = handle.seek(&shard, PinnedPosition::TrimHorizon).await;
    }
}

/// What was put before somebody asks is done when the answer comes.
async fn asking(handle: StreamHandle, log: Arc<Log>, terms: Terms) -> Result<(), String> {
    let put = log.everything();
    let before = format!("{}", handle.explain());
    let began = Instant::now();
    handle.caught_up().await;
    let took = began.elapsed();
    let after = format!("{}", handle.explain());
    let entries = log.entries();
    let mut acked = BTreeMap::<_, usize>::new();
    let mut seen = BTreeSet::new();
    for entry in &entries {
        if let Entry::Acked(_, sink, shard, place) = entry {
            let sink = if terms.sinks == 1 { 0 } else { *sink };
            if seen.insert((sink, shard, place)) {
                *acked.entry((shard, place)).or_default() += 1;
            }
        }
    }
    for (shard, places) in &put {
        for (place, _) in places {
            if acked.get(&(shard, place)).copied().unwrap_or_default() < terms.sinks {
                return Err(format!(
                    "asked whether it has caught up, it says so after {took:?}, and {place:?} of {shard} is not acked; \
                     {before}\n{after}\n{entries:#?}"
                ));
            }
        }
    }
    Ok(())
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// Has the processors do something else for a while, now and then.
fn spin(until: &Arc<AtomicBool>, mut dice: Dice) -> Vec<thread::JoinHandle<()>> {
    let spinners = (0..2).map(|_| {
        let (until, mut dice) = (Arc::clone(until), dice.fork());
        thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                thread::park_timeout(dice.millis(0, 3_000));
                let began = std::time::Instant::now();
                let span = dice.millis(0, 800);
                while began.elapsed() < span && !until.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }
        })
    });
    spinners.collect()
}

/// How many threads this process has, where that can be known.
fn threads() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Threads:"))?;
    line.trim().parse().ok()
}

/// How many bytes are allocated.
fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    let (given, taken_back) = (stats.bytes_allocated, stats.bytes_deallocated);
    given.saturating_sub(taken_back)
}

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Plays scenarios at once; what went wrong.
async fn round(scenarios: Vec<Scenario>) -> Vec<String> {
    let alive = Handle::current().metrics().num_alive_tasks();
    let began = Instant::now();
    let mut playing = JoinSet::new();
    let count = scenarios.len();
    for scenario in scenarios {
        playing.spawn(async move {
            let seed = scenario.seed;
            let world = Arc::new(World::new(scenario));
            let played = world.play().await;
            // Somebody may still have receipts.
            world.log.close();
            played.map_err(|wrong| {
                format!(
                    "seed {seed} after {:?}: {wrong}\n{:?}\n{:?}",
                    began.elapsed(),
                    world.scenario,
                    lock(&world.told)
                )
            })
        });
    }
    let (mut wrong, mut all) = (Vec::new(), Account::default());
    let mut longest = Vec::new();
    while let Some(played) = playing.join_next().await {
        match played.map_err(|error| error.to_string()).flatten() {
            Err(found) => {
                eprintln!("{found}");
                wrong.push(found);
            }
            Ok(account) => {
                all.lives += account.lives;
                all.delivered += account.delivered;
                all.repeated += account.repeated;
                all.struck += account.struck;
                all.saves_failed += account.saves_failed;
                longest.push((account.took, account.scenario));
                for (name, times) in account.told {
                    *all.told.entry(name).or_default() += times;
                }
            }
        }
    }
    longest.sort_unstable();
    longest.reverse();
    longest.truncate(number("TORTURE_LONGEST").unwrap_or(1) as usize);
    eprintln!(
        "{count} scenarios in {:?}, the longest {longest:#?}: {} wrong; {} lives, {} delivered, {} again, {} faults, {} \
         saves failed, {:?}",
        began.elapsed(),
        wrong.len(),
        all.lives,
        all.delivered,
        all.repeated,
        all.struck,
        all.saves_failed,
        all.told,
    );
    let began = Instant::now();
    let metrics = Handle::current().metrics();
    while metrics.num_alive_tasks() > alive {
        if began.elapsed() > GRACE {
            wrong.push(format!(
                "{} tasks are left of {alive}",
                metrics.num_alive_tasks()
            ));
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    let kib = allocated() / 1024;
    eprintln!("left are {kib} KiB and {:?} threads", threads());
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_nor_hangs_nor_stays_behind_whatever_happens_at_once() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        report(panic);
    }));
    let rounds = number("TORTURE_ROUNDS");
    let at_once = number("TORTURE_AT_ONCE").unwrap_or(100);
    let first = number("TORTURE_SEED").unwrap_or(0);
    let is_over = Arc::<AtomicBool>::default();
    let spinners = spin(&is_over, Dice::new(first));
    let mut wrong = Vec::new();
    for nth in 0..rounds.unwrap_or(1) {
        let seeds: Vec<_> = match number("TORTURE_ONLY") {
            Some(only) => vec![only; at_once as usize],
            None => (first + nth * at_once..first + (nth + 1) * at_once).collect(),
        };
        let drawn = seeds.into_iter().map(Scenario::draw);
        let scenarios = match rounds {
            Some(_) => drawn.collect(),
            None => drawn.map(Scenario::brief).collect(),
        };
        wrong.extend(round(scenarios).await);
    }
    is_over.store(true, Ordering::Relaxed);
    for spinner in spinners {
        spinner.thread().unpark();
        spinner.join().unwrap();
    }
    assert!(wrong.is_empty(), "{} are wrong: {wrong:#?}", wrong.len());
    assert_eq!(PANICS.load(Ordering::SeqCst), 0, "somebody has panicked");
}

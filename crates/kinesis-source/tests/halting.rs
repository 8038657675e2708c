//! One shard that cannot go on halts alone: the others are read on, and somebody is told.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    sync::Arc,
    time::Duration,
};

use kinesis_fake::{Fake, Fault, Limits, Operation};
use kinesis_source::{
    Checkpoint, CheckpointStore, EndPosition, KinesisApi, KinesisWriteApi, MemoryCheckpointStore,
    NotCaughtUp, OnDataLoss, OnShardFailure, PinnedPosition, ShardError, ShardId, ShardState,
    SourceEvent, SourceEvents, StreamError, StreamIdentity, StreamSource, WaitingFor,
};
use rig::{Sink, everything, shard_error};
use stage_core::{Pipeline, PipelineError, Restart, Window};
use tokio::time::{Instant, sleep, timeout};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn taken(events: &mut SourceEvents) -> Vec<SourceEvent> {
    std::iter::from_fn(|| events.try_next()).collect()
}

fn of<'a>(events: &'a [SourceEvent], name: &str) -> Vec<&'a SourceEvent> {
    events.iter().filter(|event| event.name() == name).collect()
}

/// A stream with a hundred records, and what is read of it.
struct World {
    fake: Fake,
    store: Arc<MemoryCheckpointStore>,
    stream: StreamIdentity,
}

impl World {
    async fn new() -> Self {
        Self::of(2).await
    }

    async fn of(shards: u32) -> Self {
        let fake = Fake::builder()
            .instant()
            .shards(shards)
            .limits(Limits::none())
            .build();
        fake.put_numbered(0..100).unwrap();
        let stream = StreamIdentity::from(&fake.describe_stream_summary().await.unwrap());
        Self {
            fake,
            store: Arc::default(),
            stream,
        }
    }

    fn source(&self) -> StreamSource {
        StreamSource::new("orders", Arc::new(self.fake.clone()))
            .checkpoints(Arc::clone(&self.store) as _)
    }

    /// The shard that has this number, and the number before it there.
    fn place_of(&self, number: u64) -> (ShardId, u64) {
        self.fake
            .records()
            .into_iter()
            .find_map(|(shard, records)| {
                let data = |at: usize| String::from_utf8(records[at].data.to_vec()).unwrap();
                let at = (0..records.len()).find(|&at| data(at) == number.to_string())?;
                Some((shard, data(at - 1).parse().unwrap()))
            })
            .unwrap()
    }

    async fn stored(&self) -> BTreeMap<ShardId, Checkpoint> {
        self.store.load(&self.stream).await.unwrap()
    }
}

/// How many records were taken in of one shard, and of all others.
fn counts(sink: &Sink, shard: &ShardId) -> (usize, usize) {
    let taken = sink.taken();
    let of_it = taken.iter().filter(|event| event.shard == *shard).count();
    (of_it, taken.len() - of_it)
}

/// A record that is never taken in, until somebody mends the sink.
#[tokio::test(start_paused = true)]
async fn a_shard_whose_records_are_nacked_again_and_again_is_parked_and_probed() {
    let world = World::new().await;
    let (shard, before) = world.place_of(60);
    let sink = Sink::default().refusing_always(60);
    let mut pipeline = Pipeline::new();
    let (records, handle) = world.source().add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
    let mut events = handle.events();
    let running = pipeline.run_until(sleep(seconds(5_000)));
    let meanwhile = async {
        sleep(seconds(300)).await;
        let (_, others) = counts(&sink, &shard);
        world.fake.put_numbered(100..200).unwrap();
        sleep(seconds(10)).await;
        let (_, now) = counts(&sink, &shard);
        assert!(now > others, "the other is read on");
        let explained = handle.explain();
        let parked = explained.shards.iter().find(|it| it.status.shard == shard);
        let parked = parked.unwrap();
        assert_eq!(parked.waiting.waiting_for, WaitingFor::Probe, "{explained}");
        let restarts = parked.status.restarts;
        sleep(seconds(3_600)).await;
        let status = handle.status();
        let status = status.iter().find(|it| it.shard == shard).unwrap();
        let probes = status.restarts - restarts;
        assert!((45..=60).contains(&probes), "{probes} in an hour");
        // The checkpoint is that of the record before it.
        let stored = world.stored().await.remove(&shard).unwrap();
        let records = world.fake.records();
        let (_, records) = records.iter().find(|(it, _)| *it == shard).unwrap();
        let record = records.iter().find(|it| it.data == before.to_string());
        let expected = Checkpoint::after(record.unwrap().sequence_number.clone());
        assert_eq!(stored, expected);
        assert!(timeout(seconds(120), handle.caught_up()).await.is_err());
        sink.mend();
        handle.caught_up().await;
    };
    tokio::join!(running, meanwhile).0.unwrap();
    let mut numbers = sink.numbers();
    numbers.dedup();
    assert_eq!(numbers, everything(200));
    let events = taken(&mut events);
    for once in ["shard_parked", "shard_resumed"] {
        let [event] = of(&events, once)[..] else {
            panic!("{once}: {events:#?}");
        };
        assert_eq!(event.shard(), Some(&shard));
    }
    let parked = of(&events, "shard_parked")[0].to_string();
    assert!(parked.contains("1 of its records"), "{parked}");
    // The three of the policy, and none for each try.
    assert_eq!(of(&events, "shard_restarted").len(), 3);
    for never in ["stuck", "shard_failed", "shard_stopped"] {
        assert!(of(&events, never).is_empty(), "{events:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_with_a_parked_shard_ends_at_once_and_the_next_run_has_its_records() {
    let world = World::new().await;
    let (shard, _) = world.place_of(60);
    let sink = Sink::default().refusing_always(60);
    let mut pipeline = Pipeline::new();
    let (records, handle) = world.source().add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
    pipeline.run_until(sleep(seconds(400))).await.unwrap();
    let began = Instant::now();
    let report = handle.drain_report();
    let report = report.iter().find(|it| it.shard == shard).unwrap();
    assert!(report.unacked > 0, "{report:?}");
    assert!(!sink.numbers().contains(&60));
    sink.mend();
    rig::run_until_caught_up(world.source(), &sink, Window::new(10))
        .await
        .unwrap();
    assert!(began.elapsed() < seconds(30));
    let mut numbers = sink.numbers();
    numbers.dedup();
    assert_eq!(numbers, everything(100));
}

#[tokio::test(start_paused = true)]
async fn the_pipeline_fails_instead_if_that_is_wanted() {
    let world = World::new().await;
    let (shard, _) = world.place_of(60);
    let sink = Sink::default().refusing_always(60);
    let mut pipeline = Pipeline::new();
    let source = world.source();
    let source = source.on_shard_failure(OnShardFailure::FailPipeline);
    let (records, handle) = source.add_to(&mut pipeline);
    pipeline.consume(sink, records.subscribe(Window::new(10)));
    let mut events = handle.events();
    let error = pipeline.run().await.unwrap_err();
    assert!(
        matches!(shard_error(&error), ShardError::Nacked { shard: it, .. } if *it == shard),
        "{error:?}"
    );
    let events = taken(&mut events);
    assert_eq!(of(&events, "shard_failed").len(), 1);
    assert!(of(&events, "shard_parked").is_empty(), "{events:#?}");
}

/// Whoever knows better may have a parked shard go on elsewhere, and at once.
#[tokio::test(start_paused = true)]
async fn a_parked_shard_goes_on_where_it_is_told_to() {
    let world = World::new().await;
    let (shard, _) = world.place_of(60);
    let sink = Sink::default().refusing_always(60);
    let mut pipeline = Pipeline::new();
    let (records, handle) = world.source().add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
    let mut events = handle.events();
    let running = pipeline.run_until(sleep(seconds(1_000)));
    let meanwhile = async {
        sleep(seconds(300)).await;
        let records = world.fake.records();
        let (_, records) = records.iter().find(|(it, _)| *it == shard).unwrap();
        let poison = records.iter().find(|it| it.data == "60").unwrap();
        let beyond = PinnedPosition::AfterSequenceNumber(poison.sequence_number.clone());
        let began = Instant::now();
        handle.seek(&shard, beyond).await.unwrap();
        handle.caught_up().await;
        assert!(began.elapsed() < seconds(10));
    };
    tokio::join!(running, meanwhile).0.unwrap();
    let mut numbers = sink.numbers();
    numbers.dedup();
    numbers.insert(60, 60);
    assert_eq!(numbers, everything(100), "all but that one");
    let events = taken(&mut events);
    assert_eq!(of(&events, "shard_resumed").len(), 1, "{events:#?}");
}

/// Once it has gone on, it is as any other: it is made anew a few times when it fails again, and then parked.
#[tokio::test(start_paused = true)]
async fn a_parked_shard_that_went_on_is_restarted_and_parked_again() {
    let world = World::new().await;
    let (shard, _) = world.place_of(60);
    let sink = Sink::default().refusing_always(60);
    let mut pipeline = Pipeline::new();
    let restarts = Restart::new(3, seconds(60));
    let (records, handle) = world.source().restarts(restarts).add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
    let mut events = handle.events();
    let running = pipeline.run_until(sleep(seconds(3_000)));
    let meanwhile = async {
        // The second time, it was the reader that was made for one try that failed first.
        for restarts in [3, 4] {
            sleep(seconds(600)).await;
            let told = taken(&mut events);
            let names = told.iter().map(SourceEvent::name);
            let of_it = names.filter(|name| ["shard_restarted", "shard_parked"].contains(name));
            let expected = [vec!["shard_restarted"; restarts], vec!["shard_parked"]].concat();
            assert_eq!(of_it.collect::<Vec<_>>(), expected);
            sink.mend();
            handle.caught_up().await;
            assert_eq!(of(&taken(&mut events), "shard_resumed").len(), 1);
            sink.relapse();
            let horizon = PinnedPosition::TrimHorizon;
            handle.seek(&shard, horizon).await.unwrap();
        }
    };
    tokio::join!(running, meanwhile).0.unwrap();
}

/// Parked for longer than records are kept: what is lost by that is told, and not passed over.
#[tokio::test(start_paused = true)]
async fn what_a_parked_shard_loses_meanwhile_is_told() {
    for on_data_loss in [OnDataLoss::Stop, OnDataLoss::GoOn] {
        let world = World::of(1).await;
        let (shard, before) = world.place_of(60);
        let records = world.fake.records();
        let (_, records) = records.iter().find(|(it, _)| *it == shard).unwrap();
        let last = records.iter().find(|it| it.data == before.to_string());
        let sink = Sink::default().refusing_always(60);
        let mut pipeline = Pipeline::new();
        let source = world.source().on_data_loss(on_data_loss);
        let (records, handle) = source.add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
        let hours = |hours: u64| seconds(3_600 * hours);
        let running = pipeline.run_until(sleep(hours(27)));
        let meanwhile = async {
            sleep(hours(25)).await;
            world.fake.put_numbered(100..200).unwrap();
        };
        let ended = tokio::join!(running, meanwhile).0;
        let [loss] = &handle.data_losses()[..] else {
            panic!("one loss");
        };
        assert_eq!(loss.shard, shard);
        assert_eq!(loss.from, last.unwrap().sequence_number);
        let after = sink.numbers().iter().filter(|&&it| it >= 100).count();
        match on_data_loss {
            OnDataLoss::Stop => {
                let error = ended.unwrap_err();
                assert!(matches!(shard_error(&error), ShardError::DataLoss(it) if it == loss));
                assert_eq!(after, 0);
            }
            _ => {
                ended.unwrap();
                assert_eq!(after, 100);
            }
        }
    }
}

/// A checkpoint that is another stream's.
async fn misplace(world: &World, shard: &ShardId) {
    let foreign = BTreeMap::from([(shard.clone(), Checkpoint::after(123_456.into()))]);
    world.store.save(&world.stream, &foreign).await.unwrap();
}

fn stopped(error: &PipelineError) -> &[ShardId] {
    match error.source().unwrap().downcast_ref() {
        Some(StreamError::ShardsStopped { shards, .. }) => shards,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_cannot_go_on_is_stopped_and_the_other_is_read_on() {
    let world = World::new().await;
    let (shard, _) = world.place_of(60);
    misplace(&world, &shard).await;
    let sink = Sink::default();
    let mut pipeline = Pipeline::new();
    let (records, handle) = world.source().add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
    let mut events = handle.events();
    let running = pipeline.run_until(sleep(seconds(600)));
    let meanwhile = async {
        sleep(seconds(60)).await;
        // Its children have to wait for it.
        let range = world.fake.shards().into_iter().find(|it| it.id == shard);
        let middle = range.unwrap().hash_range.start + (1 << 120);
        world.fake.split_shard(&shard, middle).await.unwrap();
        world.fake.put_numbered(100..200).unwrap();
        assert!(timeout(seconds(120), handle.caught_up()).await.is_err());
        let caught_up = timeout(seconds(120), handle.try_caught_up()).await;
        let NotCaughtUp { stopped, .. } = caught_up.unwrap().unwrap_err();
        assert_eq!(stopped, std::slice::from_ref(&shard));
        let first = |it: &ShardId| *it < "shardId-000000000002".into();
        let others = world.fake.records().into_iter();
        let mut others = others.filter(|(it, _)| *it != shard && first(it));
        assert_eq!(sink.taken().len(), others.next().unwrap().1.len());
        let states: Vec<ShardState> = handle.status().iter().map(|it| it.state).collect();
        let count = |state| states.iter().filter(|it| **it == state).count();
        let counts = (
            count(ShardState::Stopped),
            count(ShardState::AtTip),
            count(ShardState::WaitingForParents),
        );
        assert_eq!(counts, (1, 1, 2), "{states:?}");
    };
    let error = tokio::join!(running, meanwhile).0.unwrap_err();
    assert_eq!(stopped(&error), std::slice::from_ref(&shard));
    assert!(matches!(
        shard_error(&error),
        ShardError::InvalidPosition { shard: it, .. } if *it == shard
    ));
    let (of_it, others) = counts(&sink, &shard);
    let (_, of_other) = world
        .fake
        .records()
        .into_iter()
        .find(|(it, _)| *it != shard && *it < "shardId-000000000002".into())
        .unwrap();
    assert_eq!((of_it, others), (0, of_other.len()));
    let events = taken(&mut events);
    let [SourceEvent::ShardStopped { shard: it, reason }] = of(&events, "shard_stopped")[..] else {
        panic!("{events:#?}");
    };
    assert_eq!(*it, shard);
    assert!(reason.contains("no such place"), "{reason}");
    let foreign = Checkpoint::after(123_456.into());
    assert_eq!(
        world.stored().await.get(&shard),
        Some(&foreign),
        "untouched"
    );
}

#[tokio::test(start_paused = true)]
async fn a_source_of_which_no_shard_can_go_on_ends() {
    let world = World::new().await;
    let shards: Vec<ShardId> = world.fake.shards().into_iter().map(|it| it.id).collect();
    let foreign = shards
        .iter()
        .map(|shard| (shard.clone(), Checkpoint::after(123_456.into())));
    world
        .store
        .save(&world.stream, &foreign.collect())
        .await
        .unwrap();
    let mut pipeline = Pipeline::new();
    let (records, _) = world.source().add_to(&mut pipeline);
    pipeline.consume(Sink::default(), records.subscribe(Window::new(10)));
    let error = timeout(seconds(60), pipeline.run())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(stopped(&error), shards);
    let said = error.source().unwrap().to_string();
    assert!(
        said.contains(&shards[0].to_string()) && said.contains(&shards[1].to_string()),
        "{said}"
    );
}

/// What it handed out before is waited for, and stored: nobody is to take it in again.
#[tokio::test(start_paused = true)]
async fn a_source_ends_with_a_stopped_shard_once_what_that_handed_out_is_stored() {
    let world = World::of(1).await;
    for operation in [Operation::GetRecords, Operation::GetShardIterator] {
        let refused = Fault::refusal(operation, "InvalidArgumentException");
        world.fake.inject(refused.after(1).always());
    }
    let sink = Sink::by(seconds(120));
    let mut pipeline = Pipeline::new();
    let (records, _) = world.source().add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(200)));
    let error = timeout(seconds(600), pipeline.run())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(stopped(&error).len(), 1, "{error:?}");
    assert_eq!(sink.numbers(), everything(100));
    let (shard, records) = world.fake.records().remove(0);
    let last = records.last().unwrap().sequence_number.clone();
    let stored = world.stored().await.remove(&shard);
    assert_eq!(stored, Some(Checkpoint::after(last)));
}

/// A replay ends when all that can be read is, and says what was not.
#[tokio::test(start_paused = true)]
async fn a_replay_ends_without_a_stopped_shard_and_with_what_it_has_stored() {
    let world = World::new().await;
    let (shard, _) = world.place_of(60);
    misplace(&world, &shard).await;
    sleep(seconds(10)).await;
    let source = world.source().checkpoint_every(seconds(3_600));
    let source = source.until(EndPosition::BeforeTimestamp(world.fake.now()));
    let sink = Sink::by(seconds(1));
    let mut pipeline = Pipeline::new();
    let (records, _) = source.add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
    let error = timeout(seconds(600), pipeline.run())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(stopped(&error), std::slice::from_ref(&shard));
    let (_, others) = counts(&sink, &shard);
    let records = world.fake.records();
    let (other, records) = records.into_iter().find(|(it, _)| *it != shard).unwrap();
    assert_eq!(others, records.len());
    let last = records.last().unwrap().sequence_number.clone();
    assert!(matches!(
        &world.stored().await[&other],
        Checkpoint::After { sequence_number, .. } | Checkpoint::Quiet { sequence_number, .. }
            if *sequence_number == last
    ));
}

/// One that has stopped is left out; one that is parked may go on, and is waited for.
#[tokio::test(start_paused = true)]
async fn whoever_waits_to_catch_up_waits_for_a_parked_shard_and_not_for_a_stopped_one() {
    let world = World::new().await;
    let (parked, _) = world.place_of(60);
    let mut shards = world.fake.shards().into_iter().map(|it| it.id);
    let stopping = shards.find(|it| *it != parked).unwrap();
    misplace(&world, &stopping).await;
    let sink = Sink::default().refusing_always(60);
    let mut pipeline = Pipeline::new();
    let (records, handle) = world.source().add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
    let caught_up = async {
        let within = timeout(seconds(3_600), handle.try_caught_up()).await;
        assert!(within.is_err(), "it is parked");
        sink.mend();
        let error = handle.try_caught_up().await.unwrap_err();
        assert_eq!(error.stopped, std::slice::from_ref(&stopping));
        assert!(error.to_string().contains(&stopping.to_string()), "{error}");
    };
    let error = pipeline.run_until(caught_up).await.unwrap_err();
    assert_eq!(stopped(&error), std::slice::from_ref(&stopping));
    let (_, of_it) = counts(&sink, &stopping);
    let read: BTreeSet<_> = sink.numbers().into_iter().collect();
    let all = world
        .fake
        .records()
        .into_iter()
        .find(|(it, _)| *it == parked);
    assert_eq!(read.len(), all.unwrap().1.len());
    assert!(of_it >= read.len());
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_to_catch_up_has_it_if_all_shards_are_well() {
    let world = World::new().await;
    let sink = Sink::default();
    let mut pipeline = Pipeline::new();
    let (records, handle) = world.source().add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
    let caught_up = async { handle.try_caught_up().await.unwrap() };
    pipeline.run_until(caught_up).await.unwrap();
    assert_eq!(sink.numbers(), everything(100));
}

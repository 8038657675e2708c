//! A consumer as one writes it by hand, right but for one mistake: what the scenarios have to catch.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kinesis_fake::WorkerApi;
use kinesis_source::{
    Checkpoint, CheckpointStore, KinesisApi, Position, Record, Remedy, SequenceNumber, Shard,
    ShardId, ShardIterator, StreamIdentity, kpl::MAGIC,
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    handler::{Deed, Handler},
    lease::Lease,
    log::{Entry, Place},
    reference::Aggregated,
};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    CheckpointOnFetch,
    CheckpointOnHandOut,
    IgnoresLeaseLoss,
    UnfencedCheckpoint,
    WallClockLease,
    NoIteratorIsTheEnd,
    NotFoundIsTheEnd,
    SkipsOnError,
    ChildrenAtTheTip,
    OneParentIsEnough,
    ComparesNumbersAsText,
    ForgetsThePart,
    PrefetchesWithoutBound,
    RetriesAtOnce,
}

impl Mistake {
    pub(crate) const ALL: [Self; 14] = [
        Self::CheckpointOnFetch,
        Self::CheckpointOnHandOut,
        Self::IgnoresLeaseLoss,
        Self::UnfencedCheckpoint,
        Self::WallClockLease,
        Self::NoIteratorIsTheEnd,
        Self::NotFoundIsTheEnd,
        Self::SkipsOnError,
        Self::ChildrenAtTheTip,
        Self::OneParentIsEnough,
        Self::ComparesNumbersAsText,
        Self::ForgetsThePart,
        Self::PrefetchesWithoutBound,
        Self::RetriesAtOnce,
    ];
}

#[derive(Clone)]
pub(crate) struct ByHand {
    pub(crate) api: Arc<WorkerApi>,
    pub(crate) store: Arc<dyn CheckpointStore>,
    pub(crate) handler: Handler,
    pub(crate) mistake: Option<Mistake>,
    /// How many records to ask for at once.
    pub(crate) window: usize,
    /// Events that were fetched and are not done with.
    pub(crate) held: Arc<AtomicU64>,
    /// What it may only do as long as it has it.
    pub(crate) lease: Option<Lease>,
}

/// It has lost its lease.
#[derive(Debug)]
struct Lost;

/// Calls until there is an answer.
macro_rules! retry {
    ($self:ident, $call:expr) => {{
        let mut wait = Duration::from_millis(250);
        loop {
            match $call.await {
                Ok(answer) => break answer,
                Err(_) if $self.is(Mistake::RetriesAtOnce) => sleep(AT_ONCE).await,
                Err(_) => {
                    sleep(wait).await;
                    wait = (2 * wait).min(Duration::from_secs(10));
                }
            }
        }
    }};
}

/// As good as.
const AT_ONCE: Duration = Duration::from_millis(5);

impl ByHand {
    fn is(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// Reads the stream for ever, or until it has no lease.
    pub(crate) async fn run(self) {
        let stream = retry!(self, self.api.describe_stream_summary());
        let stream = StreamIdentity::from(&stream);
        let (mut reading, mut done) = (JoinSet::new(), BTreeSet::new());
        let mut begun = BTreeSet::new();
        loop {
            for shard in self.list().await {
                let parents: Vec<_> = shard.parents().cloned().collect();
                let finished = |parent: &ShardId| done.contains(parent);
                let is_ready = match self.is(Mistake::OneParentIsEnough) {
                    true => parents.is_empty() || parents.iter().any(finished),
                    false => parents.iter().all(finished),
                };
                if is_ready && begun.insert(shard.id.clone()) {
                    let this = self.clone();
                    let stream = stream.clone();
                    reading.spawn(async move {
                        let id = shard.id.clone();
                        this.read(&stream, shard).await.map(|()| id)
                    });
                }
            }
            tokio::select! {
                biased;
                Some(ended) = reading.join_next() => match ended.unwrap() {
                    Ok(shard) => {
                        done.insert(shard);
                    }
                    Err(Lost) => return,
                },
                () = sleep(Duration::from_secs(10)) => {}
            }
        }
    }

    async fn list(&self) -> Vec<Shard> {
        let page = retry!(self, self.api.list_shards(None));
        page.shards
    }

    async fn read(&self, stream: &StreamIdentity, shard: Shard) -> Result<(), Lost> {
        let stored = self.store.load(stream).await.unwrap().remove(&shard.id);
        if stored == Some(Checkpoint::End) {
            return Ok(());
        }
        let mut course = Course::after(stored, self.is(Mistake::ForgetsThePart));
        let is_child = shard.parents().next().is_some();
        let mut iterator = self.iterator(&shard.id, &course, is_child).await;
        #[expect(clippy::disallowed_methods, reason = "that is the mistake")]
        let (queue, mut queued) = mpsc::unbounded_channel();
        if self.is(Mistake::PrefetchesWithoutBound) {
            // Whoever takes them out may be as slow as he likes.
            let (this, stream, id) = (self.clone(), stream.clone(), shard.id.clone());
            let mut course = course.clone();
            tokio::spawn(async move {
                while let Some(records) = queued.recv().await {
                    if this
                        .take_in(&stream, &id, records, &mut course)
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
            });
        }
        let mut wait = Duration::from_millis(250);
        loop {
            sleep(Duration::from_millis(220)).await;
            let page = match self.api.get_records(&iterator, self.window).await {
                Ok(page) => page,
                Err(error) => {
                    if error.remedy() == Remedy::Verify && self.is(Mistake::NotFoundIsTheEnd) {
                        return self.end(stream, &shard.id).await;
                    }
                    if error.remedy() == Remedy::RenewIterator {
                        iterator = self.iterator(&shard.id, &course, false).await;
                    }
                    if self.is(Mistake::RetriesAtOnce) {
                        sleep(AT_ONCE).await;
                        while self.api.get_records(&iterator, self.window).await.is_err() {
                            sleep(AT_ONCE).await;
                        }
                    }
                    sleep(wait).await;
                    wait = (2 * wait).min(Duration::from_secs(10));
                    continue;
                }
            };
            wait = Duration::from_millis(250);
            let records = course.accept(page.records, self.is(Mistake::ComparesNumbersAsText));
            let events: u64 = records.iter().map(parts).sum();
            self.held.fetch_add(events, Ordering::Relaxed);
            if let Some(last) = records.last()
                && self.is(Mistake::CheckpointOnFetch)
            {
                let number = last.sequence_number.clone();
                self.save(stream, &shard.id, Checkpoint::after(number))
                    .await?;
            }
            if self.is(Mistake::PrefetchesWithoutBound) {
                let _ = queue.send(records);
            } else {
                self.take_in(stream, &shard.id, records, &mut course)
                    .await?;
            }
            match page.next {
                Some(next) => iterator = next,
                None if self.is(Mistake::NoIteratorIsTheEnd) || self.is_closed(&shard.id).await => {
                    return self.end(stream, &shard.id).await;
                }
                None => iterator = self.iterator(&shard.id, &course, false).await,
            }
            if page.millis_behind_latest == Some(0) {
                sleep(Duration::from_millis(780)).await;
            }
        }
    }

    async fn is_closed(&self, shard: &ShardId) -> bool {
        let shards = self.list().await;
        shards.iter().any(|it| it.id == *shard && it.is_closed())
    }

    async fn end(&self, stream: &StreamIdentity, shard: &ShardId) -> Result<(), Lost> {
        self.save(stream, shard, Checkpoint::End).await
    }

    async fn iterator(&self, shard: &ShardId, course: &Course, is_child: bool) -> ShardIterator {
        let position = match &course.place {
            // All of a record that is done in part, from its first part on.
            Some((number, Some(_))) => Position::AtSequenceNumber(number.clone()),
            Some((number, None)) => Position::AfterSequenceNumber(number.clone()),
            None if is_child && self.is(Mistake::ChildrenAtTheTip) => Position::Latest,
            None => Position::TrimHorizon,
        };
        retry!(self, self.api.get_shard_iterator(shard, &position))
    }

    async fn take_in(
        &self,
        stream: &StreamIdentity,
        shard: &ShardId,
        records: Vec<Record>,
        course: &mut Course,
    ) -> Result<(), Lost> {
        let mut stored = Instant::now();
        for record in records {
            let number = record.sequence_number.clone();
            let parts = parts(&record);
            for part in course.first_part(&number)..parts {
                let is_whole = part + 1 == parts;
                let done = Course::at(&number, part, is_whole).checkpoint();
                if self.is(Mistake::CheckpointOnHandOut) {
                    self.save(stream, shard, done.clone()).await?;
                }
                let place = (number.clone(), part);
                if let Err(lost) = self.hand_out(shard, &record, place).await {
                    if self.is(Mistake::UnfencedCheckpoint) && course.place.is_some() {
                        // What it has done by then, though another goes on from elsewhere.
                        self.save(stream, shard, course.checkpoint()).await?;
                    }
                    return Err(lost);
                }
                *course = Course::at(&number, part, is_whole);
                self.held.fetch_sub(1, Ordering::Relaxed);
                if stored.elapsed() >= Duration::from_secs(1) {
                    self.save(stream, shard, done).await?;
                    stored = Instant::now();
                }
            }
        }
        match &course.place {
            Some(_) => self.save(stream, shard, course.checkpoint()).await,
            None => Ok(()),
        }
    }

    /// Hands an event out until it is taken.
    async fn hand_out(&self, shard: &ShardId, record: &Record, place: Place) -> Result<(), Lost> {
        let life = self.handler.life;
        for times in 1.. {
            self.handler.gate.pass().await;
            self.check_lease()?;
            let entry = Entry::Delivered(life, shard.clone(), place.clone());
            self.handler.log.add(entry);
            match (self.handler.temper)(record, times) {
                Deed::Ack => {}
                Deed::Take(span) => sleep(span).await,
                Deed::Hang => std::future::pending().await,
                Deed::Nack | Deed::Fail | Deed::Panic if self.is(Mistake::SkipsOnError) => {
                    return Ok(());
                }
                Deed::Nack | Deed::Fail | Deed::Panic => {
                    sleep(Duration::from_secs(1)).await;
                    continue;
                }
            }
            self.handler.gate.pass().await;
            self.check_lease()?;
            let entry = Entry::Acked(shard.clone(), place);
            self.handler.log.add(entry);
            return Ok(());
        }
        Ok(())
    }

    async fn save(
        &self,
        stream: &StreamIdentity,
        shard: &ShardId,
        checkpoint: Checkpoint,
    ) -> Result<(), Lost> {
        self.handler.gate.pass().await;
        if !self.is(Mistake::UnfencedCheckpoint) {
            self.check_lease()?;
        }
        let checkpoints = BTreeMap::from([(shard.clone(), checkpoint)]);
        while self.store.save(stream, &checkpoints).await.is_err() {
            sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }

    fn check_lease(&self) -> Result<(), Lost> {
        match &self.lease {
            Some(lease) if !lease.is_held() && !self.is(Mistake::IgnoresLeaseLoss) => Err(Lost),
            _ => Ok(()),
        }
    }
}

/// How far a shard is done.
#[derive(Clone, Debug)]
struct Course {
    place: Option<(SequenceNumber, Option<u64>)>,
    /// The last record that was fetched.
    fetched: Option<SequenceNumber>,
}

impl Course {
    fn after(stored: Option<Checkpoint>, forgets_the_part: bool) -> Self {
        let place = match stored {
            Some(Checkpoint::After {
                sequence_number,
                sub_sequence_number,
            }) => Some((
                sequence_number,
                // The record counts as done, though it is only in part.
                sub_sequence_number.filter(|_| !forgets_the_part),
            )),
            _ => None,
        };
        let fetched = match &place {
            Some((number, None)) => Some(number.clone()),
            _ => None,
        };
        Self { place, fetched }
    }

    fn at(number: &SequenceNumber, part: u64, is_whole: bool) -> Self {
        Self {
            place: Some((number.clone(), (!is_whole).then_some(part))),
            fetched: Some(number.clone()),
        }
    }

    fn checkpoint(&self) -> Checkpoint {
        let (number, part) = self.place.clone().expect("something is done");
        match part {
            None => Checkpoint::after(number),
            Some(part) => in_part(number, part),
        }
    }

    /// The first part of that record to hand out.
    fn first_part(&self, number: &SequenceNumber) -> u64 {
        match &self.place {
            Some((it, Some(part))) if it == number => part + 1,
            _ => 0,
        }
    }

    /// Without those that were fetched before.
    fn accept(&mut self, records: Vec<Record>, as_text: bool) -> Vec<Record> {
        let mut accepted = Vec::new();
        for record in records {
            let number = &record.sequence_number;
            let is_new = self.fetched.as_ref().is_none_or(|last| match as_text {
                true => number.to_string() > last.to_string(),
                false => number > last,
            });
            if is_new {
                self.fetched = Some(number.clone());
                accepted.push(record);
            }
        }
        accepted
    }
}

/// Done up to and with a part of a record.
fn in_part(number: SequenceNumber, part: u64) -> Checkpoint {
    let mut checkpoint = Checkpoint::after(number);
    if let Checkpoint::After {
        sub_sequence_number,
        ..
    } = &mut checkpoint
    {
        *sub_sequence_number = Some(part);
    }
    checkpoint
}

/// How many events a record makes.
fn parts(record: &Record) -> u64 {
    match record.data.starts_with(&MAGIC) {
        true => Aggregated::open(&record.data).unwrap().records.len() as u64,
        false => 1,
    }
}

use std::{
    any::Any,
    collections::BTreeMap,
    convert::Infallible,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use kinesis_source::{ApiError, HashRange, PutEntry, Record, SequenceNumber, Shard, ShardId};

use crate::{
    Builder, Calls, Fault, FaultPlan, FaultReport,
    clock::Clock,
    failure::Failure,
    faults::{Blow, Faults, Spoiling, Subject},
    model::{Limits, Moment, Operation, Refusal, Service, SubscriptionId},
};
#[cfg(feature = "serve")]
use {crate::model::EncryptedRecords, kinesis_source::ConsumerArn};

mod changing;
pub(crate) mod delivery;
mod fan_out;
mod pause;
mod reading;
mod subscription;
mod telling;
mod writing;

pub use telling::TestOutcome;

/// A Kinesis stream in memory, on tokio's clock.
///
/// It is a [`KinesisApi`](kinesis_source::KinesisApi) and a
/// [`KinesisWriteApi`](kinesis_source::KinesisWriteApi) for one stream of an account of its own.
/// Clones, and the fakes that [`stream`](Self::stream) returns, share that account.
///
/// A call happens as a whole when it is first polled, so that each is safe to cancel. It takes no
/// time, unless a [fault](FaultPlan) says so: on a paused clock, a caller that does not sleep between
/// calls stays at the same moment and soon meets the limits.
#[derive(Clone, Debug)]
pub struct Fake {
    account: Arc<Account>,
    stream: Arc<str>,
}

#[derive(Debug)]
struct Account {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    service: Service,
    faults: Faults,
    calls: Calls,
    wakers: BTreeMap<SubscriptionId, Waker>,
    /// Those who wait for a clock that is moved by hand.
    pauses: BTreeMap<u64, Waker>,
    pauses_made: u64,
    /// What was last printed of the faults.
    told: Option<FaultReport>,
}

impl Fake {
    /// An active stream of so many shards, with all limits of the service; changes take about as long as
    /// there.
    pub fn new(shards: u32) -> Self {
        Self::builder().shards(shards).build()
    }

    /// The same, but changes take [no time](Builder::instant): a shard has been split when `split_shard`
    /// returns, and a consumer can subscribe as soon as it is registered.
    pub fn instant(shards: u32) -> Self {
        Self::builder().shards(shards).instant().build()
    }

    /// A fake to be described first.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A face for another stream of the same account, by its name or its ARN, whether there is one
    /// of that name or not.
    #[must_use]
    pub fn stream(&self, name: &str) -> Self {
        Self {
            account: Arc::clone(&self.account),
            stream: self.with(|service, _| {
                let by_arn = service.settings().owner.stream_of(name);
                by_arn.unwrap_or(name).into()
            }),
        }
    }

    /// The name of its stream.
    pub fn name(&self) -> &str {
        &self.stream
    }

    /// Puts a record at once, whatever the limits on writing: for setting up a test. To be limited
    /// as a producer is, call [`put_records`](kinesis_source::KinesisWriteApi::put_records).
    ///
    /// # Errors
    ///
    /// If there is no such stream, or no memory meant for it; for an empty partition key, unless the
    /// stream distributes records by itself.
    pub fn put(
        &self,
        partition_key: &str,
        data: impl Into<Bytes>,
    ) -> Result<(ShardId, SequenceNumber), ApiError> {
        self.put_entry(&PutEntry {
            partition_key: partition_key.to_owned(),
            explicit_hash_key: None,
            data: data.into(),
        })
    }

    /// [Puts](Self::put) a record on that shard, wherever its partition key belongs.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put), and if there is no open shard of that name.
    pub fn put_on(
        &self,
        shard: &ShardId,
        partition_key: &str,
        data: impl Into<Bytes>,
    ) -> Result<SequenceNumber, ApiError> {
        let range = self.with(|service, now| service.open_range(&self.stream, shard, now));
        let range = range.ok_or_else(|| {
            let gone = Refusal::not_found(format!("There is no open shard {shard}."));
            gone.into_api_error(Operation::PutRecord)
        })?;
        let (_, sequence_number) = self.put_entry(&PutEntry {
            partition_key: partition_key.to_owned(),
            explicit_hash_key: Some(range.start),
            data: data.into(),
        })?;
        Ok(sequence_number)
    }

    /// [Puts](Self::put) a record for each number `n`: under the partition key `key-n`, with the
    /// decimal digits of `n` as data.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put). What was put before stays.
    pub fn put_numbered(&self, numbers: Range<u64>) -> Result<(), ApiError> {
        for number in numbers {
            self.put(&format!("key-{number}"), number.to_string())?;
        }
        Ok(())
    }

    /// Its shards that have not expired, by number. No call of the service: nothing is counted.
    pub fn shards(&self) -> Vec<Shard> {
        self.with(|service, now| service.shards(&self.stream, now))
    }

    /// All records that are kept, by shard and in order. No call of the service: nothing is
    /// counted.
    pub fn records(&self) -> Vec<(ShardId, Vec<Record>)> {
        self.with(|service, now| service.records(&self.stream, now))
    }

    /// Which shards each of its shards was split or merged from, those that have expired among them.
    pub(crate) fn parents(&self) -> BTreeMap<ShardId, Vec<ShardId>> {
        self.with(|service, now| service.parents(&self.stream, now))
    }

    /// The records that retention took last, in the order in which they went.
    pub(crate) fn expired(&self) -> Vec<(ShardId, SequenceNumber)> {
        self.with(|service, now| service.expired(&self.stream, now))
    }

    /// The first of some records that retention cannot have taken.
    pub(crate) fn never_expired<'a>(
        &self,
        records: impl Iterator<Item = (&'a ShardId, &'a SequenceNumber)>,
    ) -> Option<(&'a ShardId, &'a SequenceNumber)> {
        self.with(|service, now| service.never_expired(&self.stream, records, now))
    }

    /// How often each operation was called by now, for all streams of the account.
    pub fn calls(&self) -> Calls {
        self.lock().calls.clone()
    }

    /// Lets something go wrong with calls to come, for all streams of the account. It is printed where a
    /// test fails, as a [plan](Self::follow) is.
    ///
    /// # Panics
    ///
    /// If it [could never strike](Fault::may_strike).
    #[track_caller]
    pub fn inject(&self, fault: Fault) {
        fault.must_be_possible();
        let mut state = self.lock();
        let now = self.moment();
        state.faults.add(fault, now);
    }

    /// Begins a plan: what it says goes wrong from now on, for all streams of the account, beside
    /// what was injected before. Where a panic drops a clone of the fake, as it does where a test
    /// fails, the plan is printed to standard error with what each of its faults did; for tests that
    /// return errors, see [`run`](Self::run).
    pub fn follow(&self, plan: &FaultPlan) {
        let mut state = self.lock();
        let now = self.moment();
        state.faults.follow(plan, now);
    }

    /// What each fault that was injected or planned has done by now.
    pub fn fault_report(&self) -> FaultReport {
        self.lock().faults.report()
    }

    /// How many of the injected faults have yet to happen, or to happen again.
    pub fn faults_waiting(&self) -> usize {
        self.lock().faults.waiting()
    }

    /// Forgets the faults that have yet to happen.
    pub fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// Lets the subscriptions to a shard that there are now fail with that code of the service,
    /// known or unknown, among their events; returns how many those are.
    pub fn fail_subscriptions(&self, shard: &ShardId, code: &str) -> usize {
        let message = "This failure was injected by a test.";
        let refusal = Refusal::new(code.to_owned(), message);
        self.with(|service, _| service.fail_subscriptions(&self.stream, shard, &refusal))
    }

    /// Lets the subscriptions to a shard that there are now fall silent for good, as on a
    /// connection that is dead and does not know; returns how many those are.
    pub fn silence_subscriptions(&self, shard: &ShardId) -> usize {
        self.with(|service, _| service.silence_subscriptions(&self.stream, shard))
    }

    /// Lets time pass, on a fake whose [clock is moved by hand](Builder::manual_clock), and wakes
    /// whoever waits for events, or for the end of a [delay](Fault::delayed).
    ///
    /// # Panics
    ///
    /// If it follows tokio's clock.
    pub fn advance(&self, span: Duration) {
        let mut state = self.lock();
        assert!(
            self.account.clock.advance(span),
            "this fake follows tokio's clock: use `tokio::time::advance`"
        );
        let subscribers = std::mem::take(&mut state.wakers).into_values();
        let pauses = std::mem::take(&mut state.pauses).into_values();
        drop(state);
        for waker in subscribers.chain(pauses) {
            waker.wake();
        }
    }

    /// Changes what is allowed from now on, for all streams of the account.
    pub fn set_limits(&self, limits: Limits) {
        self.with(|service, _| service.settings_mut().limits = limits);
    }

    /// A face for the stream of that consumer.
    #[cfg(feature = "serve")]
    pub(crate) fn of_consumer(&self, consumer: &ConsumerArn) -> Self {
        self.with(|service, _| {
            let named = service.settings().owner.consumer_of(consumer.as_str());
            Self {
                account: Arc::clone(&self.account),
                stream: named.map_or("", |(stream, _)| stream).into(),
            }
        })
    }

    /// Which of its records are said to be encrypted.
    #[cfg(feature = "serve")]
    pub(crate) fn encrypted_records(&self) -> EncryptedRecords {
        self.with(|service, now| service.encrypted_records(&self.stream, now))
    }

    pub(crate) fn open_ranges(&self) -> Vec<HashRange> {
        self.with(|service, now| service.open_ranges(&self.stream, now))
    }

    /// The name of the open shard whose range begins there.
    pub(crate) fn open_at(&self, start: u128) -> Option<ShardId> {
        self.with(|service, now| service.open_at(&self.stream, start, now))
    }

    pub(crate) fn open(clock: Clock, service: Service, stream: &str) -> Self {
        let state = State {
            service,
            faults: Faults::default(),
            calls: Calls::default(),
            wakers: BTreeMap::new(),
            pauses: BTreeMap::new(),
            pauses_made: 0,
            told: None,
        };
        Self {
            account: Arc::new(Account {
                clock,
                state: Mutex::new(state),
            }),
            stream: stream.into(),
        }
    }

    pub(crate) fn moment(&self) -> Moment {
        self.account.clock.now()
    }

    /// Makes a call of the service where nothing lies between caller and service: counted, and with
    /// what goes wrong. An answer that is spoiled on its way is a failure here.
    pub(crate) async fn call<T: Any>(
        &self,
        subject: Subject,
        act: impl FnOnce(&mut Service, Moment) -> Result<T, Refusal>,
    ) -> Result<T, Failure> {
        match self.exchange(subject, act, |answer| answer).await {
            Ok((answer, None)) => Ok(answer),
            Ok((_, Some(spoiling))) => Err(spoiling.into()),
            Err(refusal) => Err(Failure::Refused(refusal)),
        }
    }

    /// Makes a call of the service: counted, and with what goes wrong. The answer may have to be
    /// spoiled on its way to the caller. `part` is what a rewrite changes of it.
    pub(crate) async fn exchange<T>(
        &self,
        subject: Subject,
        act: impl FnOnce(&mut Service, Moment) -> Result<T, Refusal>,
        part: impl FnOnce(&mut T) -> &mut dyn Any,
    ) -> Result<(T, Option<Spoiling>), Refusal> {
        // Whoever calls in a loop must leave room for others, as if this were a network.
        tokio::task::consume_budget().await;
        let (blow, struck) = self.strike(&subject);
        match &blow {
            Some(Blow::Delay(delay)) => self.pause_until(struck.plus(*delay)).await,
            Some(Blow::Hang) => {
                // It is never made, and what it was made of may be large.
                drop((subject, act, part));
                match std::future::pending::<Infallible>().await {}
            }
            _ => {}
        }
        let answer = self.carry_out(&subject, blow.as_ref(), act, part);
        if let Some(Blow::AnswerLate(delay)) = blow {
            self.pause_until(self.moment().plus(delay)).await;
        }
        answer
    }

    /// What happens to a call that is made now, and when that is.
    fn strike(&self, subject: &Subject) -> (Option<Blow>, Moment) {
        let mut state = self.lock();
        state.calls.make(subject.operation);
        state.strike(subject, self.moment())
    }

    /// What happens to an event of a subscription. It is no call: nothing is counted.
    fn strike_event(&self, subject: &Subject) -> (Option<Blow>, Moment) {
        self.lock().strike(subject, self.moment())
    }

    /// The call itself, at one moment.
    fn carry_out<T>(
        &self,
        subject: &Subject,
        blow: Option<&Blow>,
        act: impl FnOnce(&mut Service, Moment) -> Result<T, Refusal>,
        part: impl FnOnce(&mut T) -> &mut dyn Any,
    ) -> Result<(T, Option<Spoiling>), Refusal> {
        let mut state = self.lock();
        let now = self.moment();
        let answer = match blow {
            Some(Blow::Refuse(refusal)) => Err(refusal.clone()),
            Some(Blow::RefuseRecords { refusing, rule }) => {
                state.service.refuse_records(refusing.clone());
                let answer = act(&mut state.service, now);
                if state.service.records_refused() == 0 {
                    state.faults.take_back(*rule);
                }
                answer
            }
            _ => act(&mut state.service, now),
        };
        let spoiling = match blow {
            Some(Blow::Spoil(spoiling)) => Some(*spoiling),
            _ => None,
        };
        let mut answer = answer.map(|answer| (answer, spoiling));
        state.calls.settle(subject.operation, &answer);
        let is_rewritten = matches!(blow, Some(Blow::Rewrite { .. }));
        let again = is_rewritten.then(|| subject.again(&state.service));
        spread_news(state);
        // Nothing is locked: it may use the fake.
        if let Some(Blow::Rewrite {
            rewrite,
            draw,
            rule,
        }) = blow
        {
            let changed = match &mut answer {
                Ok((answer, _)) => rewrite.apply(part(answer), &again.unwrap_or_default(), *draw),
                Err(_) => false,
            };
            if !changed {
                self.lock().faults.take_back(*rule);
            }
        }
        answer
    }

    fn put_entry(&self, entry: &PutEntry) -> Result<(ShardId, SequenceNumber), ApiError> {
        let put = self.with(|service, now| service.put_unlimited(&self.stream, entry, now));
        put.map_err(|refusal| refusal.into_api_error(Operation::PutRecord))
    }

    /// Looks at the model or changes it past the counters.
    fn with<T>(&self, act: impl FnOnce(&mut Service, Moment) -> T) -> T {
        let mut state = self.lock();
        // Under the lock, so that the model never sees time run backwards.
        let now = self.moment();
        let result = act(&mut state.service, now);
        spread_news(state);
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let state = self.account.state.lock();
        // Nothing panics in there on purpose; if it does, other tests' threads need not follow.
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn strike(&mut self, subject: &Subject, now: Moment) -> (Option<Blow>, Moment) {
        (self.faults.strike(subject, &self.service, now), now)
    }
}

/// Wakes the subscribers that something has come for. They may call at once: nothing is locked then.
fn spread_news(mut state: MutexGuard<'_, State>) {
    if state.wakers.is_empty() {
        return;
    }
    let news = state.service.take_news();
    let woken: Vec<_> = news
        .iter()
        .filter_map(|id| state.wakers.remove(id))
        .collect();
    drop(state);
    for waker in woken {
        waker.wake();
    }
}

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    ApiError, ByteBudget, ParkReason, ShardId, ShardState, SourceEvent, StreamSummary, Waiting,
    WaitingFor,
    byte_budget::Grant,
    condition::Condition,
    denial::Denial,
    footprint::Need,
    headway::{Headway, News},
    lag::Lag,
    listing::CALL_DEADLINE,
    reporter::Untold,
    source_watch::SourceWatch,
    supervision::Supervision,
};

/// What is told about one shard, over all lives of its reader.
///
/// Its machines decide what is news; this tells them the time, and reports what they say.
#[derive(Debug)]
pub(crate) struct ShardWatch {
    shard: ShardId,
    source: OnceLock<Arc<SourceWatch>>,
    machines: Mutex<Machines>,
}

#[derive(Debug)]
struct Machines {
    condition: Condition,
    headway: Headway,
    /// Whether its calls are only refused, as too much is asked of it.
    throttling: Denial,
    /// Whether another subscriber takes it over, each time that it was taken back.
    contest: Denial,
    /// Whether it was told that it is subscribed to, and nothing since that says otherwise.
    is_subscribed: bool,
    /// Whether it was told that its subscription is not renewed, and none has been since.
    is_unrenewed: bool,
    supervision: Supervision,
    /// What it waits for room in, if it ever has.
    budget: Option<ByteBudget>,
    lag: Lag,
}

/// So many takeovers in a row are told each: the second says that it is no accident.
const MOST_TAKEOVERS: u32 = 2;

/// How long a shard may wait for room in the budget. Where sinks are slow, many wait for their turn, and
/// longer than for an answer.
const ROOM_WITHIN: Duration = Duration::from_secs(120);

impl Machines {
    /// What it was told to be stuck with while its reader is at work, and gets nowhere.
    fn stuck(&self, now: Instant) -> Option<Waiting> {
        // Whoever has ended waits for nothing.
        if self.supervision.waiting_for() == WaitingFor::Nothing {
            return None;
        }
        let stuck = [
            (WaitingFor::Turn, self.throttling.told(now)),
            (WaitingFor::OtherSubscriber, self.contest.told(now)),
            (WaitingFor::Headway, self.headway.told(now)),
        ];
        stuck.into_iter().find_map(|(waiting_for, since)| {
            Some(Waiting {
                waiting_for,
                since: since?,
                is_stuck: true,
            })
        })
    }

    /// With the budget's numbers of now, if that is what is waited for.
    fn with_numbers(&self, wait: Waiting) -> Waiting {
        let waiting_for = match (&wait.waiting_for, &self.budget) {
            (WaitingFor::Budget { .. }, Some(budget)) => budget.waiting_for(),
            _ => wait.waiting_for,
        };
        Waiting {
            waiting_for,
            ..wait
        }
    }
}

impl ShardWatch {
    pub(crate) fn new(shard: ShardId) -> Self {
        let now = Instant::now();
        let machines = Machines {
            condition: Condition::new(shard.clone()),
            headway: Headway::default(),
            throttling: Denial::default(),
            contest: Denial::default(),
            is_subscribed: false,
            is_unrenewed: false,
            supervision: Supervision::new(now),
            budget: None,
            lag: Lag::new(now),
        };
        Self {
            shard,
            source: OnceLock::new(),
            machines: Mutex::new(machines),
        }
    }

    /// It belongs to that source, from its start on.
    pub(crate) fn join(&self, source: Arc<SourceWatch>) {
        // Whoever has reported alone is read alone.
        let _ = self.source.set(source);
    }

    /// Reports something that its machines do not know of.
    pub(crate) fn report(&self, event: impl FnOnce(ShardId) -> SourceEvent) {
        let event = event(self.shard.clone());
        self.source().reporter().report(event);
    }

    /// Its reader waits for that from now on, at most for so long if that is known.
    pub(crate) fn waits_for(&self, waiting_for: WaitingFor, within: impl Into<Option<Duration>>) {
        self.waits_from(Instant::now(), waiting_for, within);
    }

    /// The same, from that moment on.
    pub(crate) fn waits_from(
        &self,
        now: Instant,
        waiting_for: WaitingFor,
        within: impl Into<Option<Duration>>,
    ) {
        let within = within.into();
        let mut machines = self.lock();
        let over = machines.supervision.enter(waiting_for, within, now);
        if let Some(wait) = over {
            let Waiting {
                waiting_for, since, ..
            } = machines.with_numbers(wait);
            self.say(machines, self.unstuck(waiting_for, Some(since)));
        }
    }

    /// Its reader has made a call, and waits for the answer.
    pub(crate) fn waits_for_answer(&self, operation: &'static str) {
        self.waits_for_answer_from(Instant::now(), operation);
    }

    /// The same, from that moment on.
    pub(crate) fn waits_for_answer_from(&self, now: Instant, operation: &'static str) {
        self.waits_from(now, WaitingFor::Answer { operation }, CALL_DEADLINE);
    }

    /// Its reader waits for room in the budget, unless there is some.
    pub(crate) async fn waits_for_room(&self, budget: &ByteBudget, need: impl Into<Need>) -> Grant {
        let need = need.into();
        if let Some(grant) = budget.try_reserve(need) {
            return grant;
        }
        self.waits_for(budget.waiting_for(), ROOM_WITHIN);
        self.lock().budget = Some(budget.clone());
        budget.reserve(need).await
    }

    /// What it waits for: what it was told to be stuck with, or what its reader waits for at this moment.
    pub(crate) fn look(&self, now: Instant) -> Waiting {
        let machines = self.lock();
        let wait = machines.supervision.look(now);
        let stuck = machines.stuck(now).filter(|_| !wait.is_stuck);
        machines.with_numbers(stuck.unwrap_or(wait))
    }

    /// What its reader waits for at this moment, whatever it is stuck with.
    pub(crate) fn reader_waits_for(&self) -> WaitingFor {
        self.lock().supervision.waiting_for()
    }

    /// How far reading is behind the tip, if that is known.
    pub(crate) fn behind(&self, now: Instant) -> Option<Duration> {
        self.lock().lag.behind(now)
    }

    /// What is to be [told](Self::tell) by now, as its reader may be stuck or asleep.
    pub(crate) fn check(&self, state: ShardState, now: Instant) -> Untold {
        let mut machines = self.lock();
        let late = machines.supervision.check(now);
        let late = late.map(|wait| machines.with_numbers(wait));
        let late = late.map(|wait| (wait.waiting_for, wait.since));
        // The reader of these is at work all the time, and gets nowhere.
        let throttled = machines.throttling.check(now);
        let throttled = throttled.map(|since| (WaitingFor::Turn, since));
        let contested = machines.contest.check(now);
        let contested = contested.map(|since| (WaitingFor::OtherSubscriber, since));
        let stuck = late.into_iter().chain(throttled).chain(contested);
        let stuck = stuck.map(|(waiting_for, since)| SourceEvent::Stuck {
            shard: self.shard.clone(),
            state,
            waiting_for,
            since,
        });
        let calmed = machines.condition.calmed(now);
        self.note(calmed.into_iter().chain(stuck))
    }

    /// Takes note of what has become news just now.
    pub(crate) fn note(&self, news: impl IntoIterator<Item = SourceEvent>) -> Untold {
        self.source().reporter().note(news)
    }

    /// Tells what was noted, under no lock.
    pub(crate) fn tell(&self, news: Untold) {
        self.source().reporter().tell(news);
    }

    /// A read was answered, or a subscription has sent something, with records or without.
    pub(crate) fn answered(&self, has_records: bool, millis_behind_latest: Option<u64>) {
        self.source().note_read();
        let behind = millis_behind_latest.map(Duration::from_millis);
        let now = Instant::now();
        let mut machines = self.lock();
        machines.lag.heard(behind, now);
        let news = machines.condition.answered(behind, now);
        let headway = machines.headway.heard(has_records, behind, now);
        let throttled = machines.throttling.granted(now);
        let throttled = self.unstuck(WaitingFor::Turn, throttled);
        let headway = headway.map(|news| match news {
            News::Stopped(since) => SourceEvent::Stuck {
                shard: self.shard.clone(),
                state: ShardState::Reading,
                waiting_for: WaitingFor::Headway,
                since,
            },
            News::Again(after) => SourceEvent::Unstuck {
                shard: self.shard.clone(),
                waiting_for: WaitingFor::Headway,
                after,
            },
        });
        let news = news.into_iter().chain(throttled).chain(headway);
        self.say(machines, news);
    }

    /// All up to the tip was read and handed out.
    pub(crate) fn reached_tip(&self) {
        let mut machines = self.lock();
        let news = machines.condition.reached_tip();
        self.say(machines, news);
    }

    /// A call was refused, as too much is asked of the shard.
    pub(crate) fn refused(&self) {
        let (now, mut machines) = (Instant::now(), self.lock());
        machines.throttling.denied(now);
        let news = machines.condition.refused(now);
        self.say(machines, news);
    }

    /// Another subscriber has taken the shard over, for so long.
    pub(crate) fn taken_over(&self, truce: Duration) {
        let mut machines = self.lock();
        let takeovers = machines.contest.denied(Instant::now());
        let is_news = takeovers <= MOST_TAKEOVERS;
        machines.is_subscribed &= !is_news;
        let news = is_news.then(|| SourceEvent::SubscriptionTakenOver {
            shard: self.shard.clone(),
            truce,
            takeovers,
        });
        self.say(machines, news);
    }

    /// Its subscription has gone by that error.
    pub(crate) fn lost(&self, error: &ApiError) {
        let mut machines = self.lock();
        let news = machines.condition.lost(error, Instant::now());
        machines.is_subscribed &= news.is_none();
        self.say(machines, news);
    }

    /// Its subscription was let go, as nobody has read it.
    pub(crate) fn let_go(&self) {
        let mut machines = self.lock();
        machines.is_subscribed = false;
        let shard = self.shard.clone();
        self.say(machines, [SourceEvent::SubscriptionLetGo { shard }]);
    }

    /// Its subscription is not replaced before its time is over.
    pub(crate) fn not_renewed(&self, error: ApiError) {
        let mut machines = self.lock();
        let is_news = !mem::replace(&mut machines.is_unrenewed, true);
        machines.is_subscribed &= !is_news;
        let shard = self.shard.clone();
        let news = is_news.then(|| SourceEvent::SubscriptionRenewalFailing { shard, error });
        self.say(machines, news);
    }

    /// Its subscription was replaced before its time was over.
    pub(crate) fn renewed(&self) {
        let mut machines = self.lock();
        machines.is_subscribed = true;
        machines.is_unrenewed = false;
        let shard = self.shard.clone();
        self.say(machines, [SourceEvent::SubscriptionRenewed { shard }]);
    }

    /// The shard was subscribed to.
    pub(crate) fn subscribed(&self) {
        let mut machines = self.lock();
        // Who takes it back again and again does not have it.
        let is_held = machines.contest.times() < MOST_TAKEOVERS;
        let is_news = is_held && !mem::replace(&mut machines.is_subscribed, is_held);
        let shard = self.shard.clone();
        let news = is_news.then_some(SourceEvent::Subscribed { shard });
        self.say(machines, news);
    }

    /// A subscription has lasted, whoever had taken the shard over before.
    pub(crate) fn keeps_subscription(&self) {
        let mut machines = self.lock();
        let contested = machines.contest.granted(Instant::now());
        let news = self.unstuck(WaitingFor::OtherSubscriber, contested);
        self.say(machines, news);
    }

    /// What it had waited for so long has come, if that was told.
    fn unstuck(&self, waiting_for: WaitingFor, after: Option<Duration>) -> Option<SourceEvent> {
        Some(SourceEvent::Unstuck {
            shard: self.shard.clone(),
            waiting_for,
            after: after?,
        })
    }

    /// A call failed otherwise.
    pub(crate) fn failed(&self, error: &ApiError) {
        let mut machines = self.lock();
        let news = machines.condition.failed(error, Instant::now());
        self.say(machines, news);
    }

    /// It is tried only about so often from now on.
    pub(crate) fn parked(&self, error: &ApiError, probe_every: Duration) {
        let mut machines = self.lock();
        let news = machines.condition.parked(error, probe_every);
        self.say(machines, news);
    }

    /// What was read of it does not go on, and is tried only about so often from now on. That is to be
    /// [told](Self::tell).
    pub(crate) fn halted(&self, reason: ParkReason, probe_every: Duration) -> Untold {
        let (now, mut machines) = (Instant::now(), self.lock());
        let news = machines.condition.halted(reason, probe_every, now);
        self.note(news)
    }

    /// That is over, which is to be told.
    pub(crate) fn went_on(&self) -> Untold {
        let mut machines = self.lock();
        let news = machines.condition.went_on(Instant::now());
        self.note(news)
    }

    /// Whether its source has read any shard.
    pub(crate) fn source_was_read(&self) -> bool {
        self.source().was_read()
    }

    /// Takes note of how long the stream keeps records.
    pub(crate) fn note_retention(&self, summary: &StreamSummary) {
        self.source().note_retention(summary);
    }

    /// How long the stream keeps records, or at least for so long.
    pub(crate) fn retention(&self) -> Duration {
        self.source().least_retention()
    }

    fn source(&self) -> &SourceWatch {
        let alone = || Arc::new(SourceWatch::alone());
        self.source.get_or_init(alone)
    }

    /// Tells what has become news just now, in these machines.
    fn say(&self, machines: MutexGuard<'_, Machines>, news: impl IntoIterator<Item = SourceEvent>) {
        let news = self.note(news);
        drop(machines);
        self.tell(news);
    }

    fn lock(&self) -> MutexGuard<'_, Machines> {
        let lock = self.machines.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }
}

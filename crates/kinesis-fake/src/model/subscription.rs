use std::{fmt, mem, time::Duration};

use kinesis_source::{ChildShard, SubscribeEvent};

use super::{
    Choices, Continuation, Limits, Moment, Refusal, Settings,
    iterator::Place,
    limits::{Debt, MOST_BYTES_AT_ONCE, MOST_RECORDS_AT_ONCE},
    sequence::Sequence,
    shard::{Extent, Read, Shard},
};

/// Names a subscription to its [`Service`](super::Service).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(pub(crate) u64);

/// What a subscription has to say at one moment.
#[derive(Clone, PartialEq, Eq)]
pub enum Sent {
    /// This event.
    Event(SubscribeEvent),
    /// Nothing before that moment, unless there is [news](super::Service::take_news) of it; without
    /// a moment, nothing ever.
    Nothing {
        /// When to ask again.
        until: Option<Moment>,
    },
    /// This error, in the stream of events. It was the last that it said.
    Failed(Refusal),
    /// The connection is broken: its subscriber has not read for too long.
    Broken,
    /// It is over.
    Ended,
}

/// A shard's promise to send one consumer its records.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) stream: String,
    /// Tells the stream from others of its name.
    pub(crate) stream_number: u64,
    pub(crate) shard: u32,
    place: Place,
    opened: Moment,
    /// When it last sent an event.
    last: Moment,
    debt: Debt,
    state: State,
}

#[derive(Debug)]
enum State {
    Sending,
    /// Its connection is open, and nothing will ever come.
    Silent,
    Failing(Refusal),
    Ended,
}

impl Subscription {
    pub(crate) fn new(
        stream: &str,
        stream_number: u64,
        shard: u32,
        place: Place,
        now: Moment,
    ) -> Self {
        Self {
            stream: stream.to_owned(),
            stream_number,
            shard,
            place,
            opened: now,
            last: now,
            debt: Debt::default(),
            state: State::Sending,
        }
    }

    /// It says that next, and nothing after it. An end that has come already stays.
    pub(crate) fn fail(&mut self, refusal: Refusal) {
        if !matches!(self.state, State::Ended) {
            self.state = State::Failing(refusal);
        }
    }

    pub(crate) fn end(&mut self) {
        self.state = State::Ended;
    }

    pub(crate) fn silence(&mut self) {
        if matches!(self.state, State::Sending) {
            self.state = State::Silent;
        }
    }

    /// What there is to say whatever the shard holds; `None` if that decides.
    pub(crate) fn without_shard(&mut self, limits: &Limits, now: Moment) -> Option<Sent> {
        match mem::replace(&mut self.state, State::Ended) {
            State::Ended => return Some(Sent::Ended),
            State::Failing(refusal) => return Some(Sent::Failed(refusal)),
            State::Silent => {
                self.state = State::Silent;
                return Some(Sent::Nothing { until: None });
            }
            State::Sending => {}
        }
        if self.has_expired(limits, now) {
            return Some(Sent::Ended);
        }
        self.state = State::Sending;
        None
    }

    /// What it sends of `shard`, whose children are these if it is closed. `changes` is when the
    /// shard may change by itself.
    pub(crate) fn send(
        &mut self,
        shard: &Shard,
        children: Vec<ChildShard>,
        changes: Option<Moment>,
        settings: &Settings,
        now: Moment,
    ) -> Sent {
        let Settings {
            limits, choices, ..
        } = settings;
        let rate = limits.subscription_bytes_per_second;
        let paid = self.debt.is_free(rate, Duration::ZERO, now);
        let unread = shard.arrival_at(self.place);
        let heartbeat = choices.heartbeat.saturating_mul(settings.clock_rate);
        let heartbeat = self.last.plus(heartbeat);
        if self.has_stalled(unread, heartbeat, settings, now) {
            self.state = State::Ended;
            return Sent::Broken;
        }
        let extent = Extent {
            records: if paid {
                limits.records_per_event.clamp(1, MOST_RECORDS_AT_ONCE)
            } else {
                0
            },
            bytes: MOST_BYTES_AT_ONCE.min(limits.bytes_per_event as u64),
        };
        let read = shard.look(self.place, extent, choices.shard_end, now);
        let says_something = !read.records.is_empty() || read.next.is_none();
        if says_something || heartbeat <= now {
            return Sent::Event(self.event(shard, read, children, settings, now));
        }
        let free_at = unread.and(self.debt.free_at()).filter(|_| !paid);
        let times = [Some(heartbeat), free_at, changes, self.ends(limits)];
        Sent::Nothing {
            until: times.into_iter().flatten().min(),
        }
    }

    /// Whether something has been waiting to be read for longer than the connection bears.
    fn has_stalled(
        &self,
        unread: Option<Moment>,
        heartbeat: Moment,
        settings: &Settings,
        now: Moment,
    ) -> bool {
        let paid = self.debt.free_at().unwrap_or(self.last);
        let due = unread.map(|arrival| arrival.max(self.last).max(paid));
        let due = due.map_or(heartbeat, |due| due.min(heartbeat));
        let most = settings.limits.subscriber_stall;
        let most = most.map(|most| most.saturating_mul(settings.clock_rate));
        most.is_some_and(|most| now.since(due) > most)
    }

    fn event(
        &mut self,
        shard: &Shard,
        read: Read,
        children: Vec<ChildShard>,
        settings: &Settings,
        now: Moment,
    ) -> SubscribeEvent {
        let rate = settings.limits.subscription_bytes_per_second;
        self.debt.add(read.bytes, rate, now);
        self.last = now;
        let is_end = read.next.is_none();
        match read.next {
            Some(place) => self.place = place,
            None => self.state = State::Ended,
        }
        let continuation = || self.continuation(shard, &read, &settings.choices, now);
        SubscribeEvent {
            continuation_sequence_number: (!is_end).then(|| continuation().number()),
            millis_behind_latest: Some(read.millis_behind),
            children: if is_end { children } else { Vec::new() },
            records: read.records,
        }
    }

    /// A number after which the shard is read on, without gap or repetition.
    fn continuation(&self, shard: &Shard, read: &Read, choices: &Choices, now: Moment) -> Sequence {
        let (Place::At(reached) | Place::After(reached)) = self.place;
        if read.millis_behind == 0 && read.records.is_empty() {
            // It tells of progress though nothing was written: no record has come by now.
            return reached.max(shard.newest()).in_second(now.seconds());
        }
        match choices.continuation {
            Continuation::LastRecord => reached,
            Continuation::BeyondLastRecord => reached.a_second_later(),
        }
    }

    pub(crate) fn has_expired(&self, limits: &Limits, now: Moment) -> bool {
        self.ends(limits).is_some_and(|ends| ends <= now)
    }

    fn ends(&self, limits: &Limits) -> Option<Moment> {
        let life = limits.subscription_life;
        life.map(|life| self.opened.plus(life))
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(event) => f.debug_tuple("Event").field(event).finish(),
            Self::Nothing { until } => write!(f, "Nothing until {until:?}"),
            Self::Failed(refusal) => write!(f, "Failed({refusal})"),
            Self::Broken => f.write_str("Broken"),
            Self::Ended => f.write_str("Ended"),
        }
    }
}

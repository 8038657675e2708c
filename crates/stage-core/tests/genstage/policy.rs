//! The producer of a trace, as a user would write it for a stage here: it makes what a policy says,
//! keeps what nobody asks for in a buffer, and remembers what it was asked for before.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::Value;
use stage_core::{
    Batch, BoxError, Demand, End, Flow, PipelineHandle, Producer, SubscriptionInfo,
    protocol::{Buffer, Mark},
};
use tokio::{sync::Notify, task::yield_now};

use crate::{downstream::notify, lanes::Lanes};

/// The notice by which a producer that is finite stops itself.
const STOP: Mark = Mark(u64::MAX);

/// How the stage is called.
pub(crate) const STAGE: &str = "producer";

/// What a producer and whoever plays its trace share.
pub(crate) struct Shared {
    books: Mutex<Books>,
    /// There may be something to do.
    pub(crate) nudge: Notify,
}

pub(crate) struct Policy {
    pub(crate) shared: Arc<Shared>,
    pub(crate) handle: PipelineHandle,
}

pub(crate) struct Books {
    policy: Value,
    next: u64,
    /// What was fed and is not emitted, and how much was asked for meanwhile.
    queue: VecDeque<u64>,
    unserved: usize,
    buffer: Buffer<u64>,
    is_bounded: bool,
    /// Asked for of the policy, and not emitted.
    raised: usize,
    lanes: Option<Lanes>,
    /// What there is to do, in order.
    pub(crate) todo: VecDeque<Work>,
    pub(crate) accumulates: bool,
    /// Whether the stage waits for this producer to make something.
    pub(crate) is_waiting: bool,
    pub(crate) ending: Option<String>,
    pub(crate) noted: Noted,
}

/// What was done since somebody looked last.
#[derive(Default)]
pub(crate) struct Noted {
    pub(crate) demands: Vec<(u64, Vec<u64>)>,
    pub(crate) discarded: Vec<u64>,
    pub(crate) opened: Vec<String>,
    pub(crate) ended: Vec<(String, End)>,
    pub(crate) infos: Vec<String>,
}

pub(crate) enum Work {
    Events(Vec<u64>),
    Demand(usize),
    /// Demand that comes when all else is done: the stage's selectors have dropped events.
    MadeUp(usize),
    Stop,
}

/// What to do next.
enum Next {
    Give(Vec<u64>),
    Notice(Mark),
    /// Something was done that nobody sees.
    Again,
    Nothing,
}

impl Shared {
    pub(crate) fn new(options: &Value, lanes: Option<Lanes>) -> Self {
        let size = options["buffer_size"].as_u64().map(|size| size as usize);
        let books = Books {
            policy: options["producer"].clone(),
            next: 0,
            queue: VecDeque::new(),
            unserved: 0,
            buffer: buffer(options),
            is_bounded: size.is_some(),
            raised: 0,
            lanes,
            todo: VecDeque::new(),
            accumulates: options["demand"] == "accumulate",
            is_waiting: false,
            ending: None,
            noted: Noted::default(),
        };
        Self {
            books: Mutex::new(books),
            nudge: Notify::new(),
        }
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    /// Lets a notice pass, behind all that the stage was given.
    pub(crate) fn notify(self: &Arc<Self>, handle: &PipelineHandle, mark: Mark) {
        let shared = Arc::clone(self);
        notify(handle, STAGE, move || {
            let mut books = shared.books();
            if mark == STOP {
                books.ending = Some(books.policy["stop"].as_str().unwrap().to_owned());
                shared.nudge.notify_one();
            } else {
                books.noted.infos.push(format!("i{}", mark.0));
            }
        });
    }
}

pub(crate) fn buffer(options: &Value) -> Buffer<u64> {
    match options["buffer_size"].as_u64() {
        None => Buffer::unbounded(),
        Some(size) if options["buffer_keep"] == "last" => Buffer::keep_last(size as usize),
        Some(size) => Buffer::keep_first(size as usize),
    }
}

impl Producer for Policy {
    type Event = u64;
    type Error = BoxError;

    async fn produce(&mut self, demand: Demand, batch: &mut Batch<u64>) -> Result<Flow, BoxError> {
        loop {
            let next = self.shared.books().next(demand.get());
            match next {
                Next::Give(events) => {
                    batch.extend(events);
                    let ending = self.shared.books().stops_at_once();
                    return self.go_on(ending.as_deref());
                }
                Next::Notice(mark) => {
                    self.shared.notify(&self.handle, mark);
                    yield_now().await;
                }
                Next::Again => {}
                Next::Nothing => {
                    self.shared.books().is_waiting = true;
                    self.shared.nudge.notified().await;
                    let ending = {
                        let mut books = self.shared.books();
                        books.is_waiting = false;
                        books.ending.take()
                    };
                    return self.go_on(ending.as_deref());
                }
            }
        }
    }

    fn subscribed(&mut self, info: &SubscriptionInfo) {
        self.shared.books().noted.opened.push(info.to.to_string());
    }

    fn unsubscribed(&mut self, info: &SubscriptionInfo, end: &End) {
        let ended = (info.to.to_string(), end.clone());
        self.shared.books().noted.ended.push(ended);
    }
}

impl Policy {
    fn go_on(&self, ending: Option<&str>) -> Result<Flow, BoxError> {
        match ending {
            None => Ok(Flow::More),
            Some("normal") => Ok(Flow::End),
            Some(reason) if reason.starts_with("shutdown") => {
                self.handle.remove(STAGE)?;
                Ok(Flow::More)
            }
            Some(reason) => Err(reason.into()),
        }
    }
}

impl Books {
    /// The next thing to do for a stage that wants so many events; none, if it does not ask.
    fn next(&mut self, level: usize) -> Next {
        if self.is_bounded
            && let Some(mark) = self.buffer.pass()
        {
            return Next::Notice(mark);
        }
        // What is made up for by selectors comes last, as GenStage's stage asks itself.
        let more = self.more(level);
        if more > 0 {
            self.raised += more;
            self.todo.push_back(Work::MadeUp(more));
        }
        let is_next = matches!(self.todo.front(), None | Some(Work::Events(_)));
        // Where GenStage would leave them, what is new goes behind them here.
        let wanted = level.saturating_sub(self.made_up());
        if wanted > 0 && is_next && !self.buffer.front().is_empty() {
            return self.give_buffered(wanted);
        }
        // Also those behind a notice.
        if wanted > 0
            && is_next
            && !self.buffer.is_empty()
            && let Some(mark) = self.buffer.pass()
        {
            return Next::Notice(mark);
        }
        match self.todo.pop_front() {
            Some(Work::Events(events)) => self.dispatch(&events, level),
            Some(Work::Demand(events) | Work::MadeUp(events)) => self.serve(events, level),
            Some(Work::Stop) => self.inform(STOP).map_or(Next::Again, Next::Notice),
            None => Next::Nothing,
        }
    }

    /// How much more is asked for than before.
    fn more(&self, level: usize) -> usize {
        level.saturating_sub(self.raised)
    }

    /// Takes so many events from the buffer, or asks the policy for the rest.
    fn serve(&mut self, events: usize, level: usize) -> Next {
        if self.buffer.front().is_empty() {
            let Some(mark) = self.buffer.pass() else {
                return self.ask_policy(events, level);
            };
            self.todo.push_front(Work::Demand(events));
            return Next::Notice(mark);
        }
        let chunk = events.min(self.buffer.front().len());
        if chunk < events {
            self.todo.push_front(Work::Demand(events - chunk));
        }
        if level > 0 {
            return self.give_buffered(chunk);
        }
        let events = self.buffer.front().take(chunk).into_vec();
        self.dispatch(&events, 0)
    }

    fn give_buffered(&mut self, events: usize) -> Next {
        let events = self.buffer.front().take(events).into_vec();
        let at_home = events.iter().filter(|event| !self.is_homeless(**event));
        self.raised = self.raised.saturating_sub(at_home.count());
        Next::Give(events)
    }

    fn ask_policy(&mut self, demand: usize, level: usize) -> Next {
        let k = || self.policy["k"].as_u64().unwrap() as usize;
        let limit = || {
            (self.policy["limit"]
                .as_u64()
                .unwrap()
                .saturating_sub(self.next)) as usize
        };
        let events = match self.policy["policy"].as_str().unwrap() {
            "exact" => self.make(demand),
            "none" => Vec::new(),
            "plus" => self.make(demand + k()),
            "cap" => self.make(demand.min(k())),
            "queue" => {
                self.unserved += demand;
                self.unqueue()
            }
            "finite" if self.policy["finished"] == true => Vec::new(),
            "finite" => {
                let events = self.make(demand.min(limit()));
                if Some(self.next) == self.policy["limit"].as_u64() {
                    self.policy["finished"] = true.into();
                    self.policy["stops"] = true.into();
                }
                events
            }
            other => panic!("what is `{other}`?"),
        };
        self.noted.demands.push((demand as u64, events.clone()));
        self.dispatch(&events, level)
    }

    /// Makes the next events.
    pub(crate) fn make(&mut self, count: usize) -> Vec<u64> {
        let first = self.next;
        self.next += count as u64;
        (first..self.next).collect()
    }

    pub(crate) fn feed(&mut self, count: usize) -> (Vec<u64>, Vec<u64>) {
        let queued = self.make(count);
        self.queue.extend(&queued);
        (queued, self.unqueue())
    }

    fn unqueue(&mut self) -> Vec<u64> {
        let count = self.unserved.min(self.queue.len());
        self.unserved -= count;
        self.queue.drain(..count).collect()
    }

    /// Gives events away as far as somebody wants them; the rest is kept.
    fn dispatch(&mut self, events: &[u64], level: usize) -> Next {
        let room = level.saturating_sub(self.made_up());
        let (mut taken, mut at_home) = (0, 0);
        while taken < events.len() && at_home < room {
            at_home += usize::from(!self.is_homeless(events[taken]));
            taken += 1;
        }
        let (now, rest) = events.split_at(taken);
        // What comes for nobody is what was raised, too.
        let came = if self.lanes.is_some() {
            at_home
        } else {
            events.len()
        };
        let left = level.saturating_sub(at_home);
        self.raised = self.raised.saturating_sub(came).max(left);
        if !rest.is_empty() {
            let excess = self.buffer.store(rest.to_vec().into());
            self.noted
                .discarded
                .extend((excess > 0).then_some(excess as u64));
        }
        if now.is_empty() {
            self.stop_later();
            return Next::Again;
        }
        Next::Give(now.to_vec())
    }

    fn made_up(&self) -> usize {
        let made_up = self.todo.iter().map(|work| match work {
            Work::MadeUp(events) => *events,
            _ => 0,
        });
        made_up.sum()
    }

    fn is_homeless(&self, event: u64) -> bool {
        self.lanes
            .as_ref()
            .is_some_and(|lanes| lanes.of(event).is_none())
    }

    /// A notice comes, behind all that was emitted. Returns it if it is to pass at once.
    #[must_use]
    pub(crate) fn inform(&mut self, mark: Mark) -> Option<Mark> {
        let marks = if self.is_bounded {
            0
        } else {
            self.buffer.marks()
        };
        if self.buffer.len() + marks > 0 {
            self.buffer.mark(mark);
            return None;
        }
        Some(mark)
    }

    /// What a finite producer that has just made its last event does, if nothing is before its end.
    fn stops_at_once(&mut self) -> Option<String> {
        if self.lanes.is_some() || !self.todo.is_empty() {
            self.stop_later();
            return None;
        }
        let stops = mem::take(&mut self.policy["stops"]) == true;
        if !stops {
            return None;
        }
        let mark = self.inform(STOP)?;
        assert_eq!(mark, STOP);
        Some(self.policy["stop"].as_str().unwrap().to_owned())
    }

    fn stop_later(&mut self) {
        if mem::take(&mut self.policy["stops"]) == true {
            self.todo.push_back(Work::Stop);
        }
    }

    /// Does what there is to do though the stage asks for nothing. Returns a notice that may pass, and
    /// whether there may be more to do.
    pub(crate) fn do_unasked(&mut self) -> (Option<Mark>, bool) {
        match self.next(0) {
            Next::Notice(mark) => (Some(mark), true),
            Next::Again => (None, true),
            Next::Nothing => (None, !self.todo.is_empty()),
            Next::Give(events) => panic!("{events:?} are given to nobody"),
        }
    }

    /// Takes note of what is asked for while nothing is given.
    pub(crate) fn note_demand(&mut self, level: usize) {
        let more = self.more(level);
        if more > 0 {
            self.raised += more;
            self.todo.push_back(Work::Demand(more));
        }
    }

    /// How many events wait, as GenStage counts them.
    pub(crate) fn buffered(&self) -> u64 {
        let marks = if self.is_bounded {
            0
        } else {
            self.buffer.marks()
        };
        (self.buffer.len() + marks) as u64
    }
}

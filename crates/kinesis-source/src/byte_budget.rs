mod account;
mod lull;

use std::{
    collections::BTreeMap,
    fmt,
    future::poll_fn,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use self::{
    account::{Account, Holder, Terms, Ticket},
    lull::{Lull, Place, Turn},
};
use crate::{WaitingFor, footprint::Need};

/// How many bytes records may take in memory at once, for all sources that share it.
///
/// A stalled shard holds what was read of it. With a thousand of them, that is a thousand reads of up
/// to 10 MiB each, whatever the windows say: they count records. So each read takes bytes from a
/// budget before it is made, as many as the shard's last reads let expect; gives back what it did
/// not need, or takes the rest, once the answer is there; and the records hold theirs until they are
/// settled. A shard that finds none left waits for its turn, in the order in which shards asked, and
/// makes no calls meanwhile. After two minutes it is told as [stuck](crate::SourceEvent::Stuck), with
/// [who has the bytes](crate::WaitingFor::Budget).
///
/// Clone it to share it. Each [`StreamSource`](crate::StreamSource) has one of its own unless it is
/// [given one](crate::StreamSource::byte_budget):
///
/// ```
/// # use std::sync::Arc;
/// # use kinesis_source::{ByteBudget, KinesisApi, StreamSource};
/// # fn sources(orders: Arc<dyn KinesisApi>, clicks: Arc<dyn KinesisApi>) {
/// let budget = ByteBudget::new(512 * 1024 * 1024);
/// let orders = StreamSource::new("orders", orders).byte_budget(&budget);
/// let clicks = StreamSource::new("clicks", clicks).byte_budget(&budget);
/// # }
/// ```
///
/// # The bound
///
/// How large an answer is shows only when it is there. As long as there is the most that an answer takes (10 MiB
/// of data, and the records that are asked for: 13.2 MiB with 10,000), a read takes that, and cannot exceed it.
/// After that, reads are made with what they expect, on trust, but no more than [`fetches`](Self::fetches) at a time; 8 unless said otherwise.
/// So at every instant, at most **`bytes` + `fetches` × 13.2 MiB** are in use. An answer that is larger
/// than the whole budget passes, alone.
///
/// A source that shares its budget, and stalls, does not starve the others: each that has no bytes may
/// make one read, whatever the others have, and so goes on by a read at a time. For that, what is in
/// use is at most 13.2 MiB more for each source, where several share one.
///
/// It follows how many reads can be under way: with 256 MiB, 19 to 25 and 8 more. At 50 ms each that is
/// some 600 a second, so that a thousand quiet shards are read every other second; who wants more, or
/// has a longer way to the service, takes more fetches or bytes.
///
/// As long as all that is read is settled at once, much less is in use: while 256 KiB are, besides what is reserved,
/// the next read waits for that to be settled. What is read is taken in while it is in the processor's cache, then, and a
/// thousand shards that are behind do not each have an answer in memory. It waits as long as at least 64 KiB are
/// settled every millisecond, and for some 200 ms at most; if answers come over a network, for a millisecond or two at most.
///
/// # What counts
///
/// Keys and data, and some 330 bytes for each record, which is what it takes besides: itself, its receipt, where it
/// stands, and how all that is kept. So tiny records are bounded, too. They count
/// from before the read until the record is acked, nacked, or dropped together with its
/// receipt, wherever that is: also of records that a transform turned into others, until those are
/// settled, and of all that a broadcast gave to several. Records that were handed out together (512
/// at most) are given back together, when the last of them is settled; where records are
/// [taken apart](crate::Deaggregation), all that one read brought; what user records take besides does not count.
///
/// Whoever acks a record and keeps its data (a clone of the `Bytes`, say) keeps it on an account of
/// their own. And a stage that settles nothing before it has more, such as one that collects a
/// thousand records, must not need more bytes for that than there are, or it waits for itself: give
/// it a time after which it goes on with what it has.
///
/// For [fan-out](crate::FanOut), an event counts from the moment that it is taken from the connection,
/// and while there is no room, none is. What the connection itself holds does not count.
#[derive(Clone)]
pub struct ByteBudget {
    shared: Arc<Shared>,
    /// For whom what this one reserves is.
    holder: Holder,
}

struct Shared {
    state: Mutex<State>,
}

struct State {
    account: Account,
    last_holder: Holder,
    /// How much was in use at most.
    most_in_use: u64,
    lull: Lull,
    /// Those that wait, to be told.
    waiting: BTreeMap<Ticket, oneshot::Sender<Grant>>,
}

/// What a budget without a number of its own has.
const BYTES: u64 = 256 * 1024 * 1024;

/// How many reads there are at once that may bring more than they have reserved.
const FETCHES: usize = 8;

impl ByteBudget {
    /// A budget of so many bytes.
    pub fn new(bytes: u64) -> Self {
        Self::with_fetches(bytes, FETCHES)
    }

    /// A budget of so many bytes, and how many reads there may be at once that have not reserved as
    /// much as they may bring; at least one. More of them help where there are many shards and answers
    /// take long, and cost memory: see [the bound](Self#the-bound).
    pub fn with_fetches(bytes: u64, fetches: usize) -> Self {
        let state = State {
            account: Account::new(bytes, fetches),
            last_holder: Holder::default(),
            most_in_use: 0,
            lull: Lull::default(),
            waiting: BTreeMap::new(),
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
            }),
            holder: Holder::default(),
        }
    }

    /// The same budget, for one more source that shares it.
    pub(crate) fn for_source(&self) -> Self {
        let mut state = self.lock();
        state.last_holder.0 += 1;
        let holder = state.last_holder;
        drop(state);
        Self {
            shared: Arc::clone(&self.shared),
            holder,
        }
    }

    /// That a shard waits for it, and how it is now.
    pub(crate) fn waiting_for(&self) -> WaitingFor {
        let account = &self.lock().account;
        WaitingFor::Budget {
            bytes: account.limit(),
            in_use: account.in_use(),
            own: account.held_by(self.holder),
            waiting: account.waiting(),
        }
    }

    /// How many bytes it has.
    pub fn bytes(&self) -> u64 {
        self.lock().account.limit()
    }

    /// How many reads there may be at once that have not reserved as much as they may bring.
    pub fn fetches(&self) -> usize {
        self.lock().account.most_on_trust()
    }

    /// How many bytes are in use now: those of records that are not settled, and those that are
    /// reserved for reads under way.
    pub fn in_use(&self) -> u64 {
        self.lock().account.in_use()
    }

    /// How many bytes were in use at most, since it was made.
    pub fn most_in_use(&self) -> u64 {
        self.lock().most_in_use
    }

    /// How many shards wait for bytes now.
    pub fn waiting(&self) -> usize {
        self.lock().account.waiting()
    }

    /// Whether it is the same budget, and not only one of the same size.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Waits until a read that expects so many bytes may be made. Safe to cancel.
    pub(crate) async fn reserve(&self, need: impl Into<Need>) -> Grant {
        let need = need.into();
        if let Some(grant) = self.try_reserve(need) {
            return grant;
        }
        let (queued, told) = self.queue(need);
        // It may be its turn by now.
        self.admit();
        let grant = told.await;
        drop(queued);
        grant.expect("whoever waits is forgotten only when it is told, or waits no more")
    }

    /// Whether a read that expects so many bytes may be made now. Nobody is passed that waits.
    pub(crate) fn try_reserve(&self, need: impl Into<Need>) -> Option<Grant> {
        let mut state = self.lock();
        let terms = state.account.try_begin(self.holder, need)?;
        state.note();
        Some(self.grant(terms))
    }

    fn queue(&self, need: Need) -> (Queued, oneshot::Receiver<Grant>) {
        let mut state = self.lock();
        let ticket = state.account.wait(self.holder, need);
        let (tell, told) = oneshot::channel();
        state.waiting.insert(ticket, tell);
        let queued = Queued {
            budget: self.clone(),
            ticket,
        };
        (queued, told)
    }

    /// For whoever the terms are: it may be another one that has made room.
    fn grant(&self, terms: Terms) -> Grant {
        Grant {
            budget: Self {
                shared: Arc::clone(&self.shared),
                holder: terms.holder(),
            },
            terms: Some(terms),
        }
    }

    /// Lets those go on for whom there is room.
    fn admit(&self) {
        loop {
            let mut state = self.lock();
            let Some((ticket, terms)) = state.account.admit() else {
                return;
            };
            state.note();
            let tell = state.waiting.remove(&ticket);
            drop(state);
            // Whoever is not there any more gives it back by dropping it.
            let grant = self.grant(terms);
            if let Some(tell) = tell {
                let _ = tell.send(grant);
            }
        }
    }

    fn release(&self, bytes: u64) {
        let mut state = self.lock();
        state.account.release(self.holder, bytes);
        state.lull.settled(bytes);
        self.admit_others(state);
    }

    fn answered(&self, terms: Terms, bytes: u64) {
        let mut state = self.lock();
        state.account.answered(terms, bytes);
        state.lull.answered(bytes);
        state.note();
        self.admit_others(state);
    }

    fn admit_others<'a>(&'a self, state: MutexGuard<'a, State>) {
        self.lull_others(state);
        self.admit();
    }

    /// Lets those go on whose turn it is after a lull.
    fn lull_others<'a>(&'a self, mut state: MutexGuard<'a, State>) {
        while let Some(waker) = state.lull.admit() {
            drop(state);
            waker.wake();
            state = self.lock();
        }
    }

    /// Waits while much has been read and is not dealt with, but not for long: see [`Lull`]. Cancel safe.
    pub(crate) async fn lull(&self) {
        let Some(lulled) = self.wait_for_lull() else {
            return;
        };
        while let Turn::Keeps(next_tick) = lulled.turn(|turn| turn != Turn::Waits).await {
            let come = lulled.turn(|turn| turn == Turn::Come);
            if timeout_at(next_tick, come).await.is_err() {
                let mut state = self.lock();
                state.lull.tick(Instant::now());
                self.lull_others(state);
            }
        }
    }

    /// A read has begun, and whether its answer is not there at once.
    pub(crate) fn begun(&self, is_far: bool) {
        let mut state = self.lock();
        state.lull.begun(is_far);
        self.lull_others(state);
    }

    fn wait_for_lull(&self) -> Option<Lulled<'_>> {
        let place = self.lock().lull.come(Instant::now)?;
        Some(Lulled {
            budget: self,
            place,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self) {
        self.most_in_use = self.most_in_use.max(self.account.in_use());
    }
}

impl Default for ByteBudget {
    /// 256 MiB.
    fn default() -> Self {
        Self::new(BYTES)
    }
}

impl fmt::Debug for ByteBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("ByteBudget")
            .field("bytes", &state.account.limit())
            .field("in_use", &state.account.in_use())
            .field("waiting", &state.account.waiting())
            .finish_non_exhaustive()
    }
}

/// One that waits for its turn, and gives it up when it is dropped before.
#[derive(Debug)]
struct Queued {
    budget: ByteBudget,
    ticket: Ticket,
}

impl Drop for Queued {
    fn drop(&mut self) {
        let mut state = self.budget.lock();
        let waiting = state.waiting.remove(&self.ticket);
        if waiting.is_some() {
            state.account.give_up(self.ticket);
            // First: what goes with whoever waits may give bytes back.
            drop(state);
            drop(waiting);
            self.budget.admit();
        }
    }
}

/// One that waits for a lull, and gives up its place when it is dropped.
#[derive(Debug)]
struct Lulled<'a> {
    budget: &'a ByteBudget,
    place: Place,
}

impl Lulled<'_> {
    /// How it is, as soon as it is as it should be.
    async fn turn(&self, is_right: impl Fn(Turn) -> bool) -> Turn {
        poll_fn(|context| {
            let mut waker = context.waker().clone();
            let turn = self.budget.lock().lull.turn(self.place, &mut waker);
            // Not under the lock: what goes with the one before may give bytes back.
            drop(waker);
            match is_right(turn) {
                true => Poll::Ready(turn),
                false => Poll::Pending,
            }
        })
        .await
    }
}

impl Drop for Lulled<'_> {
    fn drop(&mut self) {
        let mut state = self.budget.lock();
        let own = state.lull.leave(self.place);
        let next = state.lull.hand_on(self.place);
        drop(state);
        drop(own);
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

/// A read may be made. If it is dropped, it has brought nothing.
#[derive(Debug)]
pub(crate) struct Grant {
    budget: ByteBudget,
    /// `None` once it has been answered.
    terms: Option<Terms>,
}

impl Grant {
    /// The read has brought so many bytes.
    pub(crate) fn answered(mut self, bytes: u64) -> Charge {
        self.end(bytes);
        Charge {
            budget: self.budget.clone(),
            bytes,
        }
    }

    fn end(&mut self, bytes: u64) {
        if let Some(terms) = self.terms.take() {
            self.budget.answered(terms, bytes);
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.end(0);
    }
}

/// Bytes that are in use until it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: ByteBudget,
    bytes: u64,
}

impl Charge {
    /// So many of them on their own, or all if there are fewer.
    pub(crate) fn split_off(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self {
            budget: self.budget.clone(),
            bytes,
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let bytes = mem::take(&mut self.bytes);
        if bytes > 0 {
            self.budget.release(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        task::{JoinHandle, yield_now},
        time::{sleep, timeout},
    };

    use super::*;

    const SOON: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_served_in_order_and_may_leave() {
        let budget = ByteBudget::with_fetches(100, 8);
        let mut charge = budget.reserve(90).await.answered(90);
        let ask = |bytes| {
            let budget = budget.clone();
            tokio::spawn(async move { budget.reserve(bytes).await })
        };
        let (large, small) = (ask(50), ask(5));
        yield_now().await;
        assert!(timeout(SOON, budget.reserve(1)).await.is_err());
        assert_eq!(
            budget.waiting(),
            2,
            "one has left, and none has passed another"
        );
        assert!(budget.try_reserve(1).is_none());
        large.abort();
        assert!(large.await.unwrap_err().is_cancelled());
        let small = small.await.unwrap();
        assert_eq!(budget.in_use(), 95);
        drop(charge.split_off(40));
        assert_eq!(budget.in_use(), 55);
        drop((small, charge));
        assert_eq!((budget.in_use(), budget.waiting()), (0, 0));
        assert_eq!(budget.most_in_use(), 95);
    }

    /// Whoever gives bytes back lets another go on, who then has them.
    #[tokio::test(start_paused = true)]
    async fn what_a_source_is_given_by_another_ones_leave_is_its_own() {
        let budget = ByteBudget::new(100);
        let own = |budget: &ByteBudget| match budget.waiting_for() {
            WaitingFor::Budget { own, .. } => own,
            other => panic!("{other:?}"),
        };
        let (first, second) = (budget.for_source(), budget.for_source());
        let large = first.reserve(60).await.answered(60);
        let small = second.reserve(30).await.answered(30);
        let waiting = tokio::spawn({
            let second = second.clone();
            async move { second.reserve(70).await }
        });
        yield_now().await;
        assert_eq!((own(&first), own(&second)), (60, 30));
        drop(large);
        let grant = timeout(SOON, waiting).await.unwrap().unwrap();
        assert_eq!((own(&first), own(&second)), (0, 100));
        let charge = grant.answered(70);
        drop(small);
        assert_eq!((own(&first), own(&second)), (0, 70));
        drop(charge);
        assert_eq!((own(&first), own(&second), budget.in_use()), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_nobody_takes_any_more_is_the_next_ones() {
        let budget = ByteBudget::with_fetches(10, 8);
        let charge = budget.reserve(10).await.answered(10);
        let mut first = Box::pin(budget.reserve(10));
        assert!(timeout(SOON, &mut first).await.is_err());
        let second = tokio::spawn({
            let budget = budget.clone();
            async move { budget.reserve(10).await }
        });
        yield_now().await;
        // It is the first one's turn, which is dropped before it is polled.
        drop(charge);
        drop(first);
        let grant = timeout(SOON, second).await.unwrap().unwrap();
        drop(grant);
        assert_eq!(budget.in_use(), 0);
    }

    const KIB: u64 = 1_024;

    async fn read(budget: &ByteBudget, bytes: u64) -> Charge {
        budget.reserve(bytes).await.answered(bytes)
    }

    /// One that waits for a lull, and tells after how many milliseconds it went on.
    fn lulled(budget: &ByteBudget) -> JoinHandle<u128> {
        let budget = budget.clone();
        tokio::spawn(async move {
            let begun = Instant::now();
            budget.lull().await;
            begun.elapsed().as_millis()
        })
    }

    async fn settle(charge: &mut Charge, bytes: u64, times: u64, every: Duration) {
        for _ in 0..times {
            sleep(every).await;
            drop(charge.split_off(bytes));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_lull_goes_on_as_soon_as_little_is_in_hand() {
        let budget = ByteBudget::default();
        let begun = Instant::now();
        let mut charge = read(&budget, 1_000 * KIB).await;
        let readers = [(); 3].map(|()| {
            let budget = budget.clone();
            tokio::spawn(async move {
                budget.lull().await;
                read(&budget, 1_000 * KIB).await
            })
        });
        yield_now().await;
        for reader in readers {
            assert!(!reader.is_finished());
            // The last one is the next one to be settled.
            drop(charge);
            charge = reader.await.unwrap();
            yield_now().await;
            assert_eq!(budget.in_use(), 1_000 * KIB, "one at a time");
        }
        drop(charge);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    /// Thirty times as long as one millisecond.
    #[tokio::test(start_paused = true)]
    async fn what_is_settled_quickly_is_waited_for() {
        let budget = ByteBudget::default();
        let mut charge = read(&budget, 30 * 256 * KIB).await;
        let waiting = [(); 2].map(|()| lulled(&budget));
        settle(&mut charge, 256 * KIB, 28, Duration::from_millis(1)).await;
        yield_now().await;
        assert!(waiting.iter().all(|it| !it.is_finished()));
        settle(&mut charge, 256 * KIB, 1, Duration::from_millis(1)).await;
        let [first, second] = waiting;
        assert_eq!(first.await.unwrap(), 29);
        drop(charge);
        drop(read(&budget, 0).await);
        assert!(second.await.unwrap() <= 30);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_long_for_what_is_not_settled_or_slowly() {
        let budget = ByteBudget::default();
        let mut charge = read(&budget, 10_000 * KIB).await;
        let waiting = [(); 100].map(|()| lulled(&budget));
        settle(&mut charge, KIB, 10, Duration::from_micros(900)).await;
        for one in waiting {
            assert_eq!(one.await.unwrap(), 2);
        }
        assert_eq!(lulled(&budget).await.unwrap(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever_for_what_is_settled_quickly() {
        let budget = ByteBudget::default();
        let mut charge = read(&budget, 100_000 * KIB).await;
        let waiting = lulled(&budget);
        settle(&mut charge, 128 * KIB, 300, Duration::from_millis(1)).await;
        assert_eq!(waiting.await.unwrap(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn where_answers_take_time_others_read_meanwhile() {
        let budget = ByteBudget::default();
        let mut charge = read(&budget, 10_000 * KIB).await;
        budget.begun(true);
        let waiting = lulled(&budget);
        settle(&mut charge, 128 * KIB, 10, Duration::from_micros(500)).await;
        assert_eq!(waiting.await.unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_does_not_take_the_timer_along() {
        let budget = ByteBudget::default();
        let _charge = read(&budget, 10_000 * KIB).await;
        let waiting = [(); 4].map(|()| lulled(&budget));
        sleep(Duration::from_micros(500)).await;
        for leaves in [0, 3] {
            waiting[leaves].abort();
            yield_now().await;
        }
        let [_, second, third, _] = waiting;
        assert_eq!(second.await.unwrap(), 2);
        assert_eq!(third.await.unwrap(), 2);
    }

    /// Many ask, leave and give back at once, on several threads.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn whoever_asks_is_served_however_many_ask_at_once() {
        let budget = ByteBudget::with_fetches(600_000, 2);
        let (give_back, given) = std::sync::mpsc::channel::<Charge>();
        std::thread::spawn(move || given.into_iter().for_each(drop));
        let mut asking = tokio::task::JoinSet::new();
        for task in 0..64_u64 {
            let budget = if task % 4 == 0 {
                budget.for_source()
            } else {
                budget.clone()
            };
            let give_back = give_back.clone();
            asking.spawn(async move {
                for round in 0..300_u64 {
                    let dice =
                        (task * 7_919 + round * 104_729).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
                    let need = Need {
                        expected: dice % 100_000,
                        most: 400_000,
                    };
                    let asked = async {
                        budget.lull().await;
                        budget.reserve(need).await
                    };
                    let grant = match dice >> 20 & 3 {
                        0 => {
                            match timeout(Duration::from_micros(dice >> 24 & 2_047), asked).await {
                                Ok(grant) => grant,
                                Err(_) => continue,
                            }
                        }
                        _ => asked.await,
                    };
                    budget.begun(dice & 1 == 0);
                    if dice & 2 == 0 {
                        yield_now().await;
                    }
                    match dice >> 2 & 3 {
                        0 => drop(grant),
                        1 => drop(grant.answered(dice % 150_000)),
                        _ => give_back.send(grant.answered(dice % 150_000)).unwrap(),
                    }
                }
            });
        }
        let all = timeout(Duration::from_secs(60), asking.join_all()).await;
        assert!(all.is_ok(), "{budget:?}");
        drop(give_back);
        sleep(Duration::from_millis(500)).await;
        assert_eq!((budget.in_use(), budget.waiting()), (0, 0));
        assert!(budget.wait_for_lull().is_none());
    }

    /// A waker may be the last that holds a task, and with it records.
    #[test]
    fn a_waker_that_is_let_go_may_give_bytes_back() {
        struct Holds(Mutex<Option<Charge>>);
        impl std::task::Wake for Holds {
            fn wake(self: Arc<Self>) {
                drop(lock_of(&self.0).take());
            }
        }
        fn lock_of(held: &Mutex<Option<Charge>>) -> MutexGuard<'_, Option<Charge>> {
            held.lock().unwrap()
        }
        let (done, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let budget = ByteBudget::default();
            let mut charge = budget.try_reserve(300_000).unwrap().answered(300_000);
            let holds = Holds(Mutex::new(Some(charge.split_off(1))));
            let lulled = budget.wait_for_lull().unwrap();
            let mut come = std::pin::pin!(lulled.turn(|turn| turn == Turn::Come));
            let former = std::task::Waker::from(Arc::new(holds));
            let mut context = std::task::Context::from_waker(&former);
            assert!(come.as_mut().poll(&mut context).is_pending());
            drop(former);
            // It goes on in another task.
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(come.as_mut().poll(&mut context).is_pending());
            done.send(()).unwrap();
        });
        let ended = ended.recv_timeout(Duration::from_secs(10));
        assert!(ended.is_ok(), "it hangs");
    }
}

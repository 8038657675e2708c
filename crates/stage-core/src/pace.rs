use std::{
    future::{poll_fn, ready},
    pin::Pin,
    task::Poll,
    time::Instant,
};

use crate::{Demand, runtime::has_other_threads, sampler::Sampler};

/// Finds out whether a stage works so long at a time that others should work meanwhile.
///
/// A task that is woken by a running one waits for it to give way, and no other thread of tokio's
/// takes it over: two stages with real work to do would take turns. So one that works long makes its
/// batches smaller, and gives way after it has woken another. It is real time that counts: what
/// matters is how long a thread was in use, and on a runtime with one thread there is nothing to gain.
#[derive(Debug)]
pub(crate) struct Pace {
    sampler: Sampler,
    matters: bool,
    is_slow: bool,
    /// It has been measured.
    is_known: bool,
    /// The most that was asked for at once: all windows together.
    most: Demand,
    /// How many more steps cost the task's budget nothing.
    free: u32,
}

/// So many are made in parts before it is known how long that takes. With fewer, a first batch that is
/// smaller than what was asked for costs more: each that follows is cut at another place than the consumer
/// cuts it, for ever.
const MANY: usize = 250;

/// So many steps are free for each that costs, where all are known to be short: a budget of 128 would be used up
/// in less time than it takes to have others look for work.
const FREE: u32 = 3;

/// When work began that is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

/// Work that is done.
#[derive(Debug)]
pub(crate) struct Worked<T> {
    pub(crate) done: T,
    /// Whether it was not done at once.
    pub(crate) waited: bool,
}

/// Does work, and `meanwhile` once if that waits.
pub(crate) async fn if_it_waits<T>(
    mut work: Pin<&mut impl Future<Output = T>>,
    meanwhile: impl FnOnce(),
) -> Worked<T> {
    let mut meanwhile = Some(meanwhile);
    let done = poll_fn(|cx| {
        let done = work.as_mut().poll(cx);
        if done.is_pending()
            && let Some(meanwhile) = meanwhile.take()
        {
            meanwhile();
        }
        done
    });
    let done = done.await;
    let waited = meanwhile.is_none();
    Worked { done, waited }
}

/// Takes something of the task's budget, and waits if it is used up. Unlike tokio's `consume_budget`, it keeps nothing
/// from one poll to the next.
#[cfg(not(shuttle))]
#[inline]
pub(crate) fn budgeted() -> impl Future<Output = ()> {
    tokio::task::coop::cooperative(ready(()))
}

/// There is none.
#[cfg(shuttle)]
pub(crate) fn budgeted() -> impl Future<Output = ()> {
    ready(())
}

impl Pace {
    pub(crate) fn new() -> Self {
        let matters = has_other_threads();
        Self {
            sampler: Sampler::default(),
            matters,
            // Until it is known.
            is_slow: matters,
            is_known: false,
            most: Demand::MIN,
            free: 0,
        }
    }

    /// Whether it costs the task's budget that the stage goes on without having waited. Once that is used up,
    /// others have their turn.
    #[inline]
    pub(crate) fn costs(&mut self) -> bool {
        !self.matters || self.is_not_free()
    }

    #[inline(never)]
    fn is_not_free(&mut self) -> bool {
        if let Some(free) = self.free.checked_sub(1) {
            self.free = free;
            return false;
        }
        if self.sampler.all_are_short() {
            self.free = FREE;
        }
        true
    }

    /// Work begins. It is measured if there is something to be stopped at its end.
    #[inline]
    pub(crate) fn start(&mut self) -> Option<Stopwatch> {
        if !self.matters {
            return None;
        }
        self.sampler.start().map(Stopwatch)
    }

    /// Takes note of whether the work took long. Work that waits takes nobody's time.
    #[inline]
    pub(crate) fn note(&mut self, stopwatch: Option<Stopwatch>, waited: bool) {
        if let Some(Stopwatch(start)) = stopwatch {
            self.is_slow = !waited && self.sampler.is_long(start.elapsed());
            self.is_known = true;
        }
    }

    /// How much to make at once: not all that is asked for, if that takes long.
    #[inline]
    pub(crate) fn moderate(&mut self, demand: Demand) -> Demand {
        self.most = self.most.max(demand);
        match self.is_slow && (self.is_known || demand.get() >= MANY) {
            true => demand.min(self.most.quarter()),
            false => demand,
        }
    }

    /// Lets a task that was woken have this thread, and looks for another, if it is worth it.
    #[inline]
    pub(crate) async fn give_way(&self, has_woken: bool) {
        if self.is_slow && has_woken {
            hop().await;
        }
    }
}

/// Comes back by the queue that other threads take from. `yield_now` comes back by one that they do
/// not.
async fn hop() {
    let mut hopped = false;
    poll_fn(|cx| {
        if hopped {
            return Poll::Ready(());
        }
        hopped = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, time::Duration};

    use super::*;
    use crate::sampler::{LONG, now};

    fn demand(events: usize) -> Demand {
        Demand::new(events).unwrap()
    }

    #[test]
    fn who_takes_long_makes_a_quarter_of_all_windows_at_a_time() {
        let mut pace = Pace::new();
        assert!(!pace.matters, "there is no runtime");
        assert_eq!(pace.moderate(demand(1_000)), demand(1_000));
        pace.is_slow = true;
        for (asked, made) in [(1_000, 250), (250, 250), (249, 249), (10, 10)] {
            assert_eq!(pace.moderate(demand(asked)), demand(made), "not known yet");
        }
        pace.is_known = true;
        for (asked, made) in [
            (10, 10),
            (240, 240),
            (500, 250),
            (250, 250),
            (100, 100),
            (4_000, 1_000),
            (1, 1),
        ] {
            assert_eq!(pace.moderate(demand(asked)), demand(made));
        }
    }

    #[test]
    fn of_steps_that_are_known_to_be_short_one_in_four_costs() {
        let mut pace = Pace::new();
        assert!([(); 8].iter().all(|()| pace.costs()), "there is one thread");
        pace.matters = true;
        assert!([(); 8].iter().all(|()| pace.costs()), "not known yet");
        for _ in 0..2 {
            pace.sampler.is_long(Duration::ZERO);
        }
        let costs = [(); 8].map(|()| pace.costs());
        assert_eq!(
            costs,
            [true, false, false, false, true, false, false, false]
        );
        pace.sampler.is_long(Duration::from_micros(2));
        assert!([(); 8].iter().all(|()| pace.costs()), "one was not");
    }

    #[test]
    fn only_where_another_thread_could_help() {
        let build = |mut builder: tokio::runtime::Builder| builder.build().unwrap();
        let one = build(tokio::runtime::Builder::new_current_thread());
        assert!(!one.block_on(async { Pace::new().matters }));
        let more = build(tokio::runtime::Builder::new_multi_thread());
        assert!(more.block_on(async { Pace::new().matters }));
    }

    #[tokio::test]
    async fn work_that_waits_takes_nobodys_time() {
        let mut pace = Pace::new();
        pace.matters = true;
        pace.is_slow = true;
        let stopwatch = pace.start();
        let worked = if_it_waits(pin!(tokio::task::yield_now()), || {}).await;
        assert!(worked.waited);
        pace.note(stopwatch, worked.waited);
        assert!(!pace.is_slow);
        pace.sampler = Sampler::default();
        let stopwatch = pace.start();
        let start = now();
        let worked = if_it_waits(pin!(async { while start.elapsed() <= 2 * LONG {} }), || {}).await;
        pace.note(stopwatch, worked.waited);
        assert!(pace.is_slow);
    }
}

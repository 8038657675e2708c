use std::{collections::BTreeMap, mem, task::Waker, time::Duration};

use tokio::time::Instant;

/// Lets what was read be dealt with before more is read, as long as that goes on quickly.
///
/// A thousand shards that are behind would all be read before the first record is taken in, as each has
/// demand: their answers would be in memory, where they could be in the processor's cache, one after the other.
///
/// Pure. While much is in hand, whoever wants to read waits. When little is, those who wait go on one at a time, in
/// the order in which they came. One of them has a timer for all. If little is settled from one tick to the next, twice
/// over, the way of what was read is a long one, and nobody is to be held up by that: all who wait go on. Where answers
/// take time themselves, what is read now is not dealt with before what was read, and all go on at each tick. And
/// however quickly it goes, nobody waits for more than so many ticks.
#[derive(Debug, Default)]
pub(super) struct Lull {
    /// What has been read and is not dealt with.
    in_hand: u64,
    /// What was settled since the last tick.
    settled: u64,
    ticks: u64,
    /// How many of the last ones came when little was settled.
    slow: u32,
    /// Those that wait, in the order in which they came.
    waiting: BTreeMap<Place, Waiter>,
    /// Those that came before this one may go on.
    excused: Place,
    /// Whether one has gone on that has not begun to read.
    is_coming: bool,
    /// Whether the last one that read had to wait for its answer.
    is_far: bool,
    /// Who has the timer: one of those that wait, as long as there are any.
    keeper: Option<Keeper>,
    next: Place,
}

/// Stands for one that waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u64);

#[derive(Clone, Copy, Debug)]
struct Keeper {
    place: Place,
    next_tick: Instant,
}

#[derive(Debug)]
struct Waiter {
    came: u64,
    waker: Waker,
}

/// How it is for one that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It may go on.
    Come,
    Waits,
    /// It waits, and has the timer for all, for a tick at that time.
    Keeps(Instant),
}

/// With so many bytes in hand, others wait: a part of what the cache of a core has room for, as what was asked for it lies
/// there, too.
const MUCH: u64 = 256 * 1024;

/// From one tick to the next.
const TICK: Duration = Duration::from_millis(1);

/// What a sink settles at least from tick to tick that does it at once. One that does nothing else settles fifty times as
/// much.
const BRISK: u64 = 64 * 1024;

/// After so many slow ticks the way is long. At one, the process may just not have run.
const SLOW: u32 = 2;

/// For so many ticks one waits at most, which is how often a shard may be read: that much later, it is read still.
const LONGEST: u64 = 200;

impl Lull {
    /// A read has brought so many bytes, or none.
    pub(super) fn answered(&mut self, bytes: u64) {
        self.in_hand += bytes;
        self.is_coming = false;
    }

    /// One has begun to read, and whether its answer is not there at once.
    pub(super) fn begun(&mut self, is_far: bool) {
        self.is_far = is_far;
        // As long as nothing is there of it, nothing is to be dealt with.
        self.is_coming &= !is_far;
    }

    /// So many bytes are dealt with.
    pub(super) fn settled(&mut self, bytes: u64) {
        self.in_hand -= bytes;
        self.settled += bytes;
    }

    /// Takes a place, unless one may go on at once.
    pub(super) fn come(&mut self, now: impl FnOnce() -> Instant) -> Option<Place> {
        if self.waiting.is_empty() && self.in_hand <= MUCH {
            return None;
        }
        let place = self.next;
        self.next.0 += 1;
        let (came, waker) = (self.ticks, Waker::noop().clone());
        self.waiting.insert(place, Waiter { came, waker });
        if self.keeper.is_none() {
            let next_tick = now() + TICK;
            self.keeper = Some(Keeper { place, next_tick });
            (self.settled, self.slow, self.is_coming) = (0, 0, false);
        }
        Some(place)
    }

    /// How it is for that one, who is woken when it is otherwise. `waker` becomes the one that was there before, which
    /// is not to be dropped under a lock.
    pub(super) fn turn(&mut self, place: Place, waker: &mut Waker) -> Turn {
        let Some(waiter) = self.waiting.get_mut(&place) else {
            return Turn::Come;
        };
        mem::swap(&mut waiter.waker, waker);
        match self.keeper {
            Some(keeper) if keeper.place == place => Turn::Keeps(keeper.next_tick),
            _ => Turn::Waits,
        }
    }

    /// The next one that may go on.
    pub(super) fn admit(&mut self) -> Option<Waker> {
        let (&place, first) = self.waiting.first_key_value()?;
        let is_excused = place < self.excused || self.ticks - first.came >= LONGEST;
        if !is_excused {
            if self.is_coming || self.in_hand > MUCH {
                return None;
            }
            self.is_coming = true;
        }
        Some(self.waiting.remove(&place)?.waker)
    }

    /// That one waits no more. Its waker, which is not to be dropped under a lock.
    pub(super) fn leave(&mut self, place: Place) -> Option<Waker> {
        self.waiting.remove(&place).map(|waiter| waiter.waker)
    }

    /// If that one, who has left, had the timer, another one has, who is to be woken: the one that will probably wait
    /// longest.
    pub(super) fn hand_on(&mut self, place: Place) -> Option<Waker> {
        let keeper = self.keeper.take_if(|keeper| keeper.place == place)?;
        let (&place, last) = self.waiting.last_key_value()?;
        self.keeper = Some(Keeper { place, ..keeper });
        Some(last.waker.clone())
    }

    /// The timer's time has come.
    pub(super) fn tick(&mut self, now: Instant) {
        self.ticks += 1;
        self.is_coming = false;
        self.slow = match self.settled < BRISK {
            true => self.slow + 1,
            false => 0,
        };
        if self.is_far || self.slow >= SLOW {
            self.excused = self.next;
        }
        self.settled = 0;
        if let Some(keeper) = &mut self.keeper {
            keeper.next_tick = now + TICK;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that waits, or not.
    fn come(lull: &mut Lull) -> Option<Place> {
        lull.come(Instant::now)
    }

    fn waits(lull: &mut Lull, place: Option<Place>) -> bool {
        place.is_some_and(|place| lull.turn(place, &mut Waker::noop().clone()) != Turn::Come)
    }

    /// When it has to tick, if it has the timer.
    fn keeps(lull: &mut Lull, place: Option<Place>) -> Option<Instant> {
        match lull.turn(place?, &mut Waker::noop().clone()) {
            Turn::Keeps(at) => Some(at),
            Turn::Come | Turn::Waits => None,
        }
    }

    fn admit_all(lull: &mut Lull) -> usize {
        std::iter::from_fn(|| lull.admit()).count()
    }

    fn tick(lull: &mut Lull, settled: u64) -> usize {
        lull.settled(settled);
        lull.tick(Instant::now());
        admit_all(lull)
    }

    /// Who is to be woken when that one has left.
    fn leave(lull: &mut Lull, place: Place) -> Option<Waker> {
        drop(lull.leave(place));
        lull.hand_on(place)
    }

    #[test]
    fn those_who_wait_go_on_in_order_one_at_a_time() {
        let mut lull = Lull::default();
        lull.answered(MUCH);
        assert_eq!(come(&mut lull), None);
        lull.answered(1);
        let [first, second, third] = [(); 3].map(|()| come(&mut lull));
        assert_eq!(admit_all(&mut lull), 0);
        lull.settled(1);
        assert_eq!(admit_all(&mut lull), 1);
        let waiting = [first, second, third].map(|it| waits(&mut lull, it));
        assert_eq!(waiting, [false, true, true]);
        lull.settled(1);
        assert_eq!(admit_all(&mut lull), 0, "one is coming");
        let late = come(&mut lull);
        assert!(waits(&mut lull, late), "nobody is passed");
        // It has begun, and its answer is there.
        lull.begun(false);
        assert_eq!(admit_all(&mut lull), 0);
        lull.answered(2);
        assert_eq!(admit_all(&mut lull), 0, "much is in hand");
        lull.settled(1);
        assert_eq!(admit_all(&mut lull), 1);
        assert!(!waits(&mut lull, second) && waits(&mut lull, third));
    }

    #[test]
    fn who_waits_for_an_answer_keeps_nobody() {
        let mut lull = Lull::default();
        lull.answered(MUCH + 1);
        let [_, second] = [(); 2].map(|()| come(&mut lull));
        lull.settled(1);
        assert_eq!(admit_all(&mut lull), 1);
        lull.begun(true);
        assert_eq!(admit_all(&mut lull), 1);
        assert!(!waits(&mut lull, second));
    }

    #[test]
    fn who_comes_and_does_not_read_keeps_others_until_the_next_tick() {
        let mut lull = Lull::default();
        lull.answered(2 * BRISK + MUCH);
        assert!(
            [(); 3]
                .map(|()| come(&mut lull))
                .iter()
                .all(Option::is_some)
        );
        lull.settled(BRISK);
        assert_eq!(admit_all(&mut lull), 0);
        assert_eq!(tick(&mut lull, BRISK), 1);
        assert_eq!(admit_all(&mut lull), 0);
        assert_eq!(tick(&mut lull, BRISK), 1);
        // The last one leaves, and another one comes.
        let third = lull.next.0 - 1;
        assert!(leave(&mut lull, Place(third)).is_none());
        lull.answered(MUCH);
        let next = come(&mut lull);
        assert!(waits(&mut lull, next));
        lull.settled(MUCH);
        assert_eq!(admit_all(&mut lull), 1, "nobody is coming by now");
    }

    #[test]
    fn what_takes_its_time_holds_nobody_up() {
        let mut lull = Lull::default();
        lull.answered(100 * BRISK);
        let [first, second] = [(); 2].map(|()| come(&mut lull));
        assert_eq!(tick(&mut lull, BRISK - 1), 0);
        assert_eq!(tick(&mut lull, BRISK), 0, "it had just not run");
        assert_eq!(tick(&mut lull, BRISK - 1), 0);
        assert_eq!(tick(&mut lull, 0), 2);
        assert!(!waits(&mut lull, first) && !waits(&mut lull, second));
        let late = come(&mut lull);
        assert_eq!(admit_all(&mut lull), 0);
        assert!(waits(&mut lull, late));
        assert_eq!(tick(&mut lull, BRISK), 0);
    }

    #[test]
    fn what_is_read_afar_is_not_waited_for_beyond_a_tick() {
        let mut lull = Lull::default();
        lull.answered(100 * BRISK);
        lull.begun(true);
        assert!(
            [(); 2]
                .map(|()| come(&mut lull))
                .iter()
                .all(Option::is_some)
        );
        assert_eq!(admit_all(&mut lull), 0);
        assert_eq!(tick(&mut lull, BRISK), 2);
        lull.begun(false);
        come(&mut lull);
        assert_eq!(tick(&mut lull, BRISK), 0);
    }

    #[test]
    fn nobody_waits_for_ever_however_quickly_it_goes() {
        let mut lull = Lull::default();
        lull.answered(2 * LONGEST * BRISK);
        let early = come(&mut lull);
        assert_eq!(tick(&mut lull, BRISK), 0);
        let late = come(&mut lull);
        for _ in 2..LONGEST {
            assert_eq!(tick(&mut lull, BRISK), 0);
        }
        assert_eq!(tick(&mut lull, BRISK), 1);
        assert!(!waits(&mut lull, early) && waits(&mut lull, late));
        assert_eq!(tick(&mut lull, BRISK), 1);
    }

    #[test]
    fn the_timer_is_passed_on_as_it_is() {
        let mut lull = Lull::default();
        lull.answered(MUCH + 1);
        let [first, second, third] = [(); 3].map(|()| come(&mut lull));
        let at = keeps(&mut lull, first).unwrap();
        assert_eq!(keeps(&mut lull, third), None);
        assert!(
            leave(&mut lull, second.unwrap()).is_none(),
            "it did not have it"
        );
        assert!(leave(&mut lull, first.unwrap()).is_some());
        assert_eq!(keeps(&mut lull, third), Some(at));
        lull.tick(at);
        assert_eq!(keeps(&mut lull, third), Some(at + TICK));
        assert!(
            leave(&mut lull, third.unwrap()).is_none(),
            "nobody is there"
        );
        let fourth = come(&mut lull);
        assert!(keeps(&mut lull, fourth).is_some());
    }
}

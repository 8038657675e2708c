//! Properties of the machines that decide.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use stage_core::{
    Demand, Generation, Outcome, Restart, Window,
    protocol::{
        Backoff, Case, ChildEnd, Children, Pool, Refusal, SubscriptionId, Tracking, Triage, Verdict,
    },
};

const MS: Duration = Duration::from_millis(1);

proptest! {
    #[test]
    fn waits_are_within_their_bounds_and_the_same_for_a_seed(
        first in 0u32..10_000,
        longest in 0u32..100_000,
        seed in any::<u64>(),
        before in prop::collection::vec(0u32..100, 1..20),
    ) {
        let (first, longest) = (MS * first, MS * longest);
        let mut exact = Backoff::new(first, longest);
        let mut one = Backoff::new(first, longest).jittered(seed);
        let mut same = one.clone();
        for before in before {
            let whole = exact.wait(before);
            let doubled = first.saturating_mul(2u32.saturating_pow(before));
            prop_assert_eq!(whole, doubled.min(longest));
            let wait = one.wait(before);
            prop_assert!(whole / 2 <= wait && wait <= whole, "{wait:?} of {whole:?}");
            prop_assert_eq!(wait, same.wait(before));
        }
    }

    /// Against a plain account of all restarts: never more within the span, and none refused that
    /// would not have been too many. A steady run makes the next wait the first again.
    #[test]
    fn restarts_are_within_their_intensity(
        most in 0usize..6,
        within in 1u64..100,
        gaps in prop::collection::vec(0u64..60, 1..60),
    ) {
        let (within, steady) = (Duration::from_secs(within), Duration::from_secs(20));
        let second = Duration::from_secs(1);
        let mut restart = Restart::new(most, within).waiting(second, 8 * second).steady_after(steady);
        let (mut now, mut restarts, mut resumed) = (Duration::ZERO, Vec::new(), Duration::ZERO);
        let mut last_wait = None;
        for gap in gaps {
            now += Duration::from_secs(gap);
            let recent = restarts.iter().filter(|&&then| now - then <= within).count();
            let wait = restart.after(now);
            prop_assert_eq!(wait.is_some(), recent < most);
            prop_assert_eq!(restart.recent(), recent + usize::from(wait.is_some()));
            let Some(wait) = wait else { continue };
            let is_steady = now.saturating_sub(resumed) >= steady;
            let expected = match last_wait {
                Some(last) if !is_steady => (8 * second).min(2 * last),
                _ => second,
            };
            prop_assert_eq!(wait, expected);
            restarts.push(now);
            (resumed, last_wait) = (now + wait, Some(wait));
            // It does not fail while it waits.
            now += wait;
        }
    }

    /// Whatever is bad in a batch: the good is done, only the bad is given up on when it bisects,
    /// after all retries of its own, in order, and it ends.
    #[test]
    fn triage_finds_the_bad_ones_in_order(
        events in 1usize..40,
        bad in prop::collection::btree_set(0usize..40, 0..6),
        retries in 0u32..4,
        bisects in any::<bool>(),
    ) {
        let triage = Triage::new(retries, Backoff::new(MS, MS));
        let mut triage = if bisects { triage.bisecting() } else { triage };
        let bad: BTreeSet<usize> = bad.into_iter().filter(|&n| n < events).collect();
        let mut cases = vec![(Case::new(), 0..events)];
        let (mut over, mut given_up, mut tries) = (Vec::new(), Vec::new(), 0);
        let mut tries_alone = BTreeMap::<usize, u32>::new();
        let levels = events.next_power_of_two().ilog2() as usize + 1;
        let most = 1 + retries as usize + bad.len() * (2 * levels + retries as usize);
        while let Some((mut case, range)) = cases.pop() {
            tries += 1;
            prop_assert!(tries <= most, "{most} tries are enough");
            if range.len() == 1 {
                *tries_alone.entry(range.start).or_default() += 1;
            }
            if !range.clone().any(|n| bad.contains(&n)) {
                over.extend(range);
                continue;
            }
            match triage.failed(&mut case, range.len()) {
                Verdict::Retry { after } => {
                    prop_assert_eq!(after, MS);
                    cases.push((case, range));
                }
                Verdict::Split { first } => {
                    prop_assert!(bisects && first > 0 && first < range.len());
                    let middle = range.start + first;
                    cases.push((case.half(), middle..range.end));
                    cases.push((case.half(), range.start..middle));
                }
                Verdict::GiveUp { attempts } => {
                    prop_assert_eq!(attempts, case.attempts());
                    given_up.extend(range.clone());
                    over.extend(range);
                }
            }
        }
        prop_assert_eq!(over, (0..events).collect::<Vec<_>>(), "each once, in order");
        if bisects {
            prop_assert_eq!(&given_up, &bad.iter().copied().collect::<Vec<_>>());
            for bad in &bad {
                prop_assert_eq!(tries_alone[bad], retries + 1);
            }
        } else {
            prop_assert_eq!(given_up.len(), if bad.is_empty() { 0 } else { events });
        }
    }

    /// Against a model that keeps each number's fate: reports in any order, of any generation,
    /// twice or never handed out.
    #[test]
    fn tracking_believes_each_number_once(
        steps in prop::collection::vec(
            (0u8..10, 0u64..30, 1u64..6, any::<bool>(), 0u64..3), 1..120,
        ),
    ) {
        let mut tracking = Tracking::new();
        let mut generations = vec![Generation::FIRST];
        let mut last_done = None;
        // The present generation's numbers, and the position of each.
        let mut fates: Vec<Option<Outcome>> = Vec::new();
        let (mut base, mut refused, mut moved) = (0, [0; 3], None);
        for (step, at, count, acks, back) in steps {
            match step {
                0..4 => {
                    for _ in 0..count {
                        let number = tracking.issue(base + fates.len() as u64);
                        prop_assert_eq!(number, fates.len() as u64);
                        fates.push(None);
                    }
                }
                4 if count > 3 => {
                    let nacked = fates.contains(&Some(Outcome::Nacked));
                    prop_assert_eq!(tracking.resume().is_some(), nacked);
                    if nacked {
                        base = tracking.done().map_or(0, |done| done + 1);
                        generations.push(tracking.generation());
                        fates.clear();
                    }
                }
                _ => {
                    let outcome = if acks { Outcome::Acked } else { Outcome::Nacked };
                    let latest = generations.len() as u64 - 1;
                    // Mostly the present one.
                    let age = if back == 2 { latest.min(1) } else { 0 };
                    let generation = generations[(latest - age) as usize];
                    let numbers = at..at + count;
                    let covered = fates.get(at as usize..(at + count) as usize);
                    let result = tracking.settle(generation, numbers, outcome);
                    match covered {
                        _ if age > 0 => {
                            prop_assert_eq!(result, Err(Refusal::Stale));
                            refused[0] += count;
                        }
                        None => {
                            prop_assert_eq!(result, Err(Refusal::Foreign));
                            refused[1] += count;
                        }
                        Some(covered) if covered.iter().any(Option::is_some) => {
                            prop_assert_eq!(result, Err(Refusal::Repeated));
                            refused[2] += count;
                        }
                        Some(_) => {
                            let open = tracking.in_flight();
                            prop_assert_eq!(result.map(|done| done.at_rest), Ok(open == 0));
                            moved = result.ok().map(|done| done.moved);
                            let places = at as usize..(at + count) as usize;
                            fates[places].fill(Some(outcome));
                        }
                    }
                }
            }
            let is_acked = |fate: &&Option<Outcome>| **fate == Some(Outcome::Acked);
            let prefix = fates.iter().take_while(is_acked).count() as u64;
            let done = (base + prefix).checked_sub(1);
            if let Some(moved) = moved.take() {
                prop_assert_eq!(moved, done != last_done);
            }
            last_done = done;
            prop_assert_eq!(tracking.done().copied(), done);
            prop_assert_eq!(tracking.next(), fates.len() as u64);
            prop_assert_eq!(tracking.generation().get(), generations.len() as u64 - 1);
            let open = fates.iter().filter(|fate| fate.is_none()).count() as u64;
            prop_assert_eq!(tracking.in_flight(), open);
            let nacks = fates.iter().filter(|fate| **fate == Some(Outcome::Nacked)).count() as u64;
            prop_assert_eq!(tracking.nacked(), nacks);
            let counted = tracking.refused();
            prop_assert_eq!([counted.stale, counted.foreign, counted.repeated], refused);
        }
    }

    /// However children end: no more of a subscription than its window, what is asked for adds up
    /// and never stops, and a failure keeps its slot or ends.
    #[test]
    fn a_pool_stays_within_its_windows(
        windows in prop::collection::vec((1usize..12, 0usize..12), 1..4),
        most in prop::option::of(0usize..5),
        steps in prop::collection::vec((0usize..4, 0usize..6, 0u8..4), 1..150),
    ) {
        let children = match most {
            Some(most) => Children::Transient(Restart::new(most, Duration::from_secs(10))),
            None => Children::Temporary,
        };
        let mut pool = Pool::new(children);
        let windows: Vec<Window> =
            windows.iter().map(|&(max, min)| Window::new(max).with_min(min % max)).collect();
        let mut owed: Vec<usize> = windows
            .iter()
            .zip(0..)
            .map(|(&window, n)| pool.subscribe(SubscriptionId(n), window).get())
            .collect();
        let mut running = Vec::new();
        let mut restarts = 0;
        let noted = |owed: &mut Vec<usize>, ask: Option<(SubscriptionId, Demand)>| {
            if let Some((id, demand)) = ask {
                owed[id.0 as usize] += demand.get();
            }
        };
        for (n, which, what) in steps {
            let (n, id) = (n % windows.len(), SubscriptionId((n % windows.len()) as u64));
            if what == 0 && owed[n] > 0 {
                let events = owed[n].min(which.max(1));
                owed[n] -= events;
                let refused = events / 3;
                for _ in refused..events {
                    running.push((n, pool.start(id)));
                }
                let ask = pool.refused(id, refused);
                noted(&mut owed, ask);
            } else if !running.is_empty() {
                let place = which % running.len();
                let (_, child) = running[place];
                let end = if what == 1 {
                    pool.failed(child, Duration::ZERO).unwrap()
                } else {
                    ChildEnd::Finished(pool.finished(child))
                };
                match end {
                    ChildEnd::Restart { .. } => restarts += 1,
                    ChildEnd::Finished(ask) => {
                        running.remove(place);
                        noted(&mut owed, ask);
                        prop_assert_eq!(pool.finished(child), None, "only once");
                        prop_assert_eq!(pool.failed(child, Duration::ZERO), None);
                    }
                    ChildEnd::Escalate(_) => {
                        prop_assert_eq!(Some(restarts), most);
                        return Ok(());
                    }
                }
            }
            prop_assert_eq!(pool.running(), running.len());
            for (n, window) in windows.iter().enumerate() {
                let mine = running.iter().filter(|(owner, _)| *owner == n).count();
                prop_assert!(mine + owed[n] <= window.max());
                prop_assert!(mine + owed[n] > 0, "starved");
            }
        }
    }
}

#[test]
fn jitter_spreads_waits_over_their_upper_half() {
    let mut backoff = Backoff::new(1_000 * MS, 1_000 * MS).jittered(7);
    let waits: Vec<u128> = (0..1_000).map(|_| backoff.wait(0).as_millis()).collect();
    for quarter in 0..4 {
        let bounds = 500 + quarter * 125..500 + (quarter + 1) * 125;
        let within = waits.iter().filter(|wait| bounds.contains(*wait)).count();
        assert!((200..300).contains(&within), "{within} in {bounds:?}");
    }
}

#[test]
fn children_of_a_subscription_that_has_gone_ask_for_nothing() {
    let (id, two) = (SubscriptionId(0), Window::new(2).with_min(0));
    let mut pool = Pool::new(Children::Temporary);
    pool.subscribe(id, two);
    let orphan = pool.start(id);
    pool.cancel(id);
    // Another one by the same name.
    pool.subscribe(id, two);
    let child = pool.start(id);
    assert_eq!(pool.finished(orphan), None);
    assert_eq!(pool.finished(child), Some((id, Demand::MIN)));
}

#[test]
fn nacking_nothing_changes_nothing_and_refusals_add_up() {
    let mut tracking = Tracking::new();
    for position in 0..3 {
        tracking.issue(position);
    }
    let first = tracking.generation();
    tracking.settle(first, 2..2, Outcome::Nacked).unwrap();
    assert!(tracking.settle(first, 0..3, Outcome::Acked).unwrap().moved);
    // Two that are settled already, four that never were, one of an earlier life.
    assert!(tracking.settle(first, 0..2, Outcome::Acked).is_err());
    assert!(tracking.settle(first, 3..7, Outcome::Acked).is_err());
    let _ = tracking.restart();
    assert!(tracking.settle(first, 0..1, Outcome::Acked).is_err());
    let refused = tracking.refused();
    assert_eq!(
        (refused.repeated, refused.foreign, refused.stale),
        (2, 4, 1)
    );
    assert_eq!(refused.total(), 7);
}

/// The generator's published numbers for this seed are, in parts of 2^64, what is drawn here: so it
/// is the same everywhere.
#[test]
fn jitter_is_that_of_the_published_generator() {
    // Long, so that each bit counts.
    let half = Duration::from_secs(1_000_000);
    let mut backoff = Backoff::new(2 * half, 2 * half).jittered(1_234_567);
    for number in [
        6_457_827_717_110_365_317_u64,
        3_203_168_211_198_807_973,
        9_817_491_932_198_370_423,
        4_593_380_528_125_082_431,
        16_408_922_859_458_223_821,
    ] {
        let drawn = (u128::from(number) * half.as_nanos()) >> 64;
        let wait = backoff.wait(0) - half;
        assert!(
            wait.as_nanos().abs_diff(drawn) <= 1,
            "{wait:?} is not {drawn} ns"
        );
    }
}

#[test]
fn waits_are_set_the_same_way_wherever_there_are_any() {
    let (first, longest) = (3_000 * MS, 7_000 * MS);
    let exact: Vec<Duration> = (0..3)
        .map(|n| Backoff::new(first, longest).wait(n))
        .collect();
    let mut backoff = Backoff::new(first, longest).jittered(5);
    let drawn: Vec<Duration> = (0..3).map(|n| backoff.wait(n)).collect();

    let restart = Restart::new(3, MS).waiting(first, longest);
    let waits = |mut restart: Restart| [(); 3].map(|()| restart.after(Duration::ZERO).unwrap());
    assert_eq!(waits(restart.clone())[..], exact);
    assert_eq!(waits(restart.jittered(5))[..], drawn);

    let triage = Triage::new(3, Backoff::DEFAULT).waiting(first, longest);
    let waits = |mut triage: Triage| {
        let mut case = Case::new();
        [(); 3].map(|()| match triage.failed(&mut case, 1) {
            Verdict::Retry { after } => after,
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(waits(triage.clone())[..], exact);
    assert_eq!(waits(triage.jittered(5))[..], drawn);
}

#[test]
fn an_error_is_final_if_any_of_those_asked_says_so() {
    let (overflow, text) = ("300".parse::<u8>().unwrap_err(), std::fmt::Error);
    let restart = Restart::new(1, MS);
    assert!(!restart.is_final(&overflow));
    let restart = restart.unless(|error| error.is::<std::num::ParseIntError>());
    assert!(restart.is_final(&overflow) && !restart.is_final(&text));
    let restart = restart.unless(|error| error.is::<std::fmt::Error>());
    assert!(restart.is_final(&overflow) && restart.is_final(&text));
}

#[test]
fn what_is_refused_and_by_whom_can_be_read() {
    let texts = [Refusal::Stale, Refusal::Foreign, Refusal::Repeated].map(|r| r.to_string());
    assert_eq!(BTreeSet::from(texts).len(), 3);
    assert_eq!(Generation::FIRST.next().to_string(), "1");
}

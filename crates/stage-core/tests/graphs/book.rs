//! What happened: which events were made, who was given them, and what became of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{Arc, Mutex},
};

use proptest::{prop_assert, prop_assert_eq, test_runner::TestCaseError};
use stage_core::{Acknowledge, DrainReport, Outcome, SubscriptionStatus, Window};

use crate::plan::Out;

/// An event, by the stage that has made it: each stage numbers its own, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    pub(crate) by: usize,
    pub(crate) number: u64,
}

impl Event {
    /// The same for the same event, and as good as drawn.
    fn dice(self) -> u64 {
        let mut z = (self.number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ (z >> 31)
    }

    pub(crate) fn weight(self) -> usize {
        1 + (self.dice() % 5) as usize
    }

    pub(crate) fn is_selected(self) -> bool {
        !self.dice().is_multiple_of(3)
    }

    /// Some belong nowhere.
    pub(crate) fn lane_of(self, lanes: usize) -> Option<usize> {
        let dice = self.dice();
        (!dice.is_multiple_of(11)).then(|| (dice % lanes as u64) as usize)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) stages: Vec<Stage>,
    /// By who makes events and who takes them.
    links: BTreeMap<(usize, usize), Link>,
    /// What stages have made of events of others: which numbers of its own.
    derived: BTreeMap<(usize, Event), Range<u64>>,
    /// No stage comes, goes or fails while the others run.
    pub(crate) is_fixed: bool,
    /// What was first seen that should not be.
    wrong: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) kind: Kind,
    /// How many events it has made.
    pub(crate) made: u64,
    /// How many of these have no lane.
    homeless: u64,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Source(Out, Arc<Fates>),
    Middle(Out),
    Sink { keeps: bool },
}

/// A subscription.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) window: Window,
    pub(crate) lane: Option<usize>,
    pub(crate) selects: bool,
    /// It was there from the start.
    pub(crate) is_first: bool,
    /// How much was asked for by hand.
    pub(crate) asked: usize,
    /// What came, in the order in which it did.
    log: Vec<u64>,
}

impl Link {
    pub(crate) fn new(window: Window) -> Self {
        Self {
            window,
            lane: None,
            selects: false,
            is_first: true,
            asked: 0,
            log: Vec::new(),
        }
    }

    fn takes(&self, event: Event, lanes: usize) -> bool {
        let is_its_lane = self
            .lane
            .is_none_or(|lane| event.lane_of(lanes) == Some(lane));
        is_its_lane && (!self.selects || event.is_selected())
    }
}

/// What became of a source's events. One that is settled twice is caught.
#[derive(Debug, Default)]
pub(crate) struct Fates(Mutex<Vec<Option<Outcome>>>);

impl Fates {
    /// Some more are made.
    pub(crate) fn add(&self, events: usize) {
        let mut fates = self.0.lock().unwrap();
        let all = fates.len() + events;
        fates.resize(all, None);
    }

    fn count(&self, outcome: Option<Outcome>) -> usize {
        let fates = self.0.lock().unwrap();
        fates.iter().filter(|it| **it == outcome).count()
    }
}

impl Acknowledge for Fates {
    fn settle(&self, numbers: Range<u64>, outcome: Outcome) {
        let mut fates = self.0.lock().unwrap();
        for number in numbers {
            let fate = &mut fates[number as usize];
            assert_eq!(fate.replace(outcome), None, "{number} is settled twice");
        }
    }
}

impl Stage {
    pub(crate) fn out(&self) -> Option<Out> {
        match self.kind {
            Kind::Source(out, _) | Kind::Middle(out) => Some(out),
            Kind::Sink { .. } => None,
        }
    }

    fn lanes(&self) -> usize {
        match self.out() {
            Some(Out::Lanes(lanes)) => lanes,
            _ => 1,
        }
    }
}

impl Book {
    pub(crate) fn add(&mut self, kind: Kind) -> usize {
        self.stages.push(Stage {
            kind,
            made: 0,
            homeless: 0,
        });
        self.stages.len() - 1
    }

    /// Whether there was no such link.
    pub(crate) fn link(&mut self, from: usize, to: usize, link: Link) -> bool {
        let is_new = !self.links.contains_key(&(from, to));
        self.links.entry((from, to)).or_insert(link);
        is_new
    }

    pub(crate) fn link_of(&mut self, from: usize, to: usize) -> Option<&mut Link> {
        self.links.get_mut(&(from, to))
    }

    pub(crate) fn has_links(&self, from: usize) -> bool {
        self.links_from(from).next().is_some()
    }

    /// Whether something has become of all that sources have made.
    pub(crate) fn is_settled(&self) -> bool {
        self.stages.iter().all(|stage| match &stage.kind {
            Kind::Source(_, fates) => fates.count(None) == 0,
            Kind::Middle(_) | Kind::Sink { .. } => true,
        })
    }

    /// Makes some events more.
    pub(crate) fn make(&mut self, by: usize, events: u64) -> impl Iterator<Item = Event> + use<> {
        let stage = &mut self.stages[by];
        let numbers = stage.made..stage.made + events;
        stage.made = numbers.end;
        let events = numbers.map(move |number| Event { by, number });
        let lanes = stage.lanes();
        if let Some(Out::Lanes(_)) = stage.out() {
            let homeless = events.clone().filter(|it| it.lane_of(lanes).is_none());
            stage.homeless += homeless.count() as u64;
        }
        events
    }

    /// A stage is given events, all of one link.
    pub(crate) fn take(&mut self, to: usize, events: &[Event]) {
        let Some(Event { by, .. }) = events.first().copied() else {
            return self.is_wrong(format!("stage {to} is given nothing"));
        };
        let Some(link) = self.links.get_mut(&(by, to)) else {
            return self.is_wrong(format!("stage {to} has no subscription to stage {by}"));
        };
        let before = link.log.last().copied();
        link.log.extend(events.iter().map(|event| event.number));
        let portion = link.window.max() - link.window.min();
        if events.len() > portion {
            self.is_wrong(format!("stage {to} is given {}: {events:?}", events.len()));
        }
        if events.iter().any(|event| event.by != by) {
            self.is_wrong(format!("stage {to} is given of two: {events:?}"));
        }
        let numbers = events.iter().map(|event| Some(event.number));
        if !before
            .into_iter()
            .map(Some)
            .chain(numbers)
            .is_sorted_by(|one, next| one < next)
        {
            self.is_wrong(format!("stage {to} is given {events:?} after {before:?}"));
        }
    }

    /// A stage has made events of one that it was given.
    pub(crate) fn derive(
        &mut self,
        by: usize,
        of: Event,
        events: u64,
    ) -> impl Iterator<Item = Event> + use<> {
        let first = self.stages[by].made;
        self.derived.insert((by, of), first..first + events);
        self.make(by, events)
    }

    /// A source is asked for so many: not for more than its subscribers have asked for and not been given.
    pub(crate) fn check_asked(&mut self, of: usize, demand: usize) {
        let most = self.most_wished(of);
        let made = self.stages[of].made as usize;
        if made + demand > most {
            self.is_wrong(format!(
                "stage {of} has made {made} and is asked for {demand} more, but only {most} are wished"
            ));
        }
    }

    fn most_wished(&self, of: usize) -> usize {
        let stage = &self.stages[of];
        let mosts = self.links_from(of).map(|(_, it)| match it.selects {
            true => usize::MAX,
            false => it.log.len() + it.window.max() + it.asked,
        });
        match stage.out() {
            Some(Out::ToAll) if !self.is_fixed => usize::MAX,
            Some(Out::ToAll) => mosts.min().unwrap_or(usize::MAX),
            _ => mosts.sum::<usize>() + stage.homeless as usize,
        }
    }

    /// No subscription has more on its way than was asked for.
    pub(crate) fn check_subscription(&mut self, status: &SubscriptionStatus) {
        let [from, to] = [&status.info.from, &status.info.to].map(|it| it.parse().unwrap());
        let link = &self.links[&(from, to)];
        let asked = status.demand + status.in_flight();
        if asked > link.window.max() + link.asked {
            self.is_wrong(format!("{asked} are on their way: {status:?}"));
        }
    }

    fn is_wrong(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }

    /// What holds however the pipeline has ended.
    pub(crate) fn check(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(&self.wrong, &None);
        for (by, stage) in self.stages.iter().enumerate() {
            match stage.out() {
                Some(Out::ToAll) => self.check_without_gap(by)?,
                Some(Out::ToOne | Out::Lanes(_)) => self.check_once(by)?,
                None => {}
            }
            if let Kind::Source(_, fates) = &stage.kind {
                let fates = fates.0.lock().unwrap();
                prop_assert_eq!(fates.len() as u64, stage.made);
                for (number, fate) in (0..).zip(&*fates) {
                    prop_assert!(fate.is_some(), "{number} of stage {by} is not settled");
                    let is_acked = *fate == Some(Outcome::Acked);
                    let event = Event { by, number };
                    prop_assert!(!is_acked || self.is_done(event), "{event:?} is acked");
                }
            }
        }
        Ok(())
    }

    /// What holds besides if nobody was cancelled, removed or has failed: all that was made has arrived
    /// wherever it was to.
    pub(crate) fn check_all_arrived(&self) -> Result<(), TestCaseError> {
        for (by, stage) in self.stages.iter().enumerate() {
            if let Kind::Source(_, fates) = &stage.kind {
                prop_assert_eq!(fates.count(Some(Outcome::Nacked)), 0);
            }
            let all = (0..stage.made).map(|number| Event { by, number });
            let mut given = BTreeSet::<u64>::new();
            for (to, link) in self.links_from(by) {
                given.extend(&link.log);
                if link.is_first && stage.out() != Some(Out::ToOne) {
                    let lanes = stage.lanes();
                    let its = all.clone().filter(|event| link.takes(*event, lanes));
                    prop_assert!(
                        its.map(|event| event.number).eq(link.log.iter().copied()),
                        "of {} that stage {by} made, stage {to} was given {:?}",
                        stage.made,
                        &link.log
                    );
                } else if let (Some(Out::ToAll), Some(last)) = (stage.out(), link.log.last()) {
                    let rest = all.clone().skip_while(|event| event.number <= *last);
                    let mut rest = rest.filter(|event| link.takes(*event, 1));
                    prop_assert_eq!(rest.next(), None, "to stage {}, which joined", to);
                }
            }
            if stage.out() == Some(Out::ToOne) {
                prop_assert_eq!(given.len() as u64, stage.made, "given by stage {}", by);
            }
        }
        Ok(())
    }

    /// What the report says of those that it has, by name.
    pub(crate) fn check_report(
        &self,
        report: &DrainReport,
        is_cut: bool,
    ) -> Result<(), TestCaseError> {
        for of_stage in &report.stages {
            let number: usize = of_stage.stage.parse().unwrap();
            let stage = &self.stages[number];
            let handled = match stage.kind {
                Kind::Source(..) => stage.made,
                Kind::Middle(_) if is_cut => continue,
                // What it has in hand at the end is nobody's any more.
                Kind::Sink { keeps: true } => continue,
                Kind::Middle(_) | Kind::Sink { .. } => {
                    let links = self.links.iter().filter(|((_, to), _)| *to == number);
                    links.map(|(_, link)| link.log.len() as u64).sum()
                }
            };
            prop_assert_eq!(of_stage.acked, handled, "of stage {}", number);
            prop_assert_eq!(of_stage.abandoned, 0);
            prop_assert!(is_cut || of_stage.nacked == 0, "{of_stage:?}");
        }
        Ok(())
    }

    /// No event goes to two.
    fn check_once(&self, by: usize) -> Result<(), TestCaseError> {
        let mut given = BTreeSet::new();
        let lanes = self.stages[by].lanes();
        for (to, link) in self.links_from(by) {
            for number in &link.log {
                let event = Event {
                    by,
                    number: *number,
                };
                prop_assert!(given.insert(number), "{event:?} comes twice");
                prop_assert!(link.takes(event, lanes), "{event:?} is not of stage {to}");
            }
        }
        Ok(())
    }

    /// Whoever is given everything misses none between the first and the last.
    fn check_without_gap(&self, by: usize) -> Result<(), TestCaseError> {
        for (to, link) in self.links_from(by) {
            let [first, last] = [link.log.first(), link.log.last()].map(|it| it.copied());
            let range = first
                .zip(last)
                .map_or(0..0, |(first, last)| first..last + 1);
            let its = range.filter(|number| {
                let number = *number;
                link.takes(Event { by, number }, 1)
            });
            prop_assert!(its.eq(link.log.iter().copied()), "{by} to {to}: {link:?}");
        }
        Ok(())
    }

    fn links_from(&self, by: usize) -> impl Iterator<Item = (usize, &Link)> {
        let links = self.links.range((by, 0)..(by + 1, 0));
        links.map(|((_, to), link)| (*to, link))
    }

    /// Whether somebody has taken an event in, and all that came of it.
    fn is_done(&self, event: Event) -> bool {
        let stage = &self.stages[event.by];
        if let Some(Out::Lanes(lanes)) = stage.out()
            && event.lane_of(lanes).is_none()
        {
            return true;
        }
        let given = self.links_from(event.by);
        let given = given.filter(|(_, link)| link.log.binary_search(&event.number).is_ok());
        let mut given = given.peekable();
        let is_left_out = || {
            let mut links = self.links_from(event.by);
            links.any(|(_, link)| !link.takes(event, 1))
        };
        if given.peek().is_none() {
            return stage.out() == Some(Out::ToAll) && is_left_out();
        }
        given.all(|(to, _)| {
            let Kind::Middle(_) = self.stages[to].kind else {
                return true;
            };
            let derived = self.derived.get(&(to, event));
            derived.is_some_and(|numbers| {
                let mut numbers = numbers.clone();
                numbers.all(|number| self.is_done(Event { by: to, number }))
            })
        })
    }
}

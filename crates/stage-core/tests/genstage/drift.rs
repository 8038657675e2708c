//! What one of two stages has done and the other has not yet.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Debug,
};

use crate::deeds::Deeds;

/// Keeps two stages together that do the same at different times.
#[derive(Default)]
pub(crate) struct Drift {
    pub(crate) sent: BTreeMap<String, Lag<u64>>,
    pub(crate) handled: BTreeMap<String, Lag<u64>>,
    pub(crate) infos: Lag<String>,
    pub(crate) ended: Lag<(String, String)>,
    /// How much more was asked for here.
    pub(crate) asked: BTreeMap<String, i64>,
    /// How much more was discarded here.
    discarded: i64,
}

/// The two ends of a stream, of which one may be ahead.
#[derive(Debug)]
pub(crate) struct Lag<T> {
    /// Done here.
    pub(crate) ahead: VecDeque<T>,
    /// Done by GenStage.
    pub(crate) behind: VecDeque<T>,
}

impl Drift {
    /// Takes note of what was done in a step.
    ///
    /// # Errors
    ///
    /// If that was not the same, sooner or later.
    pub(crate) fn note(&mut self, found: &Deeds, recorded: &Deeds) -> Result<(), String> {
        for (deeds, is_found) in [(found, true), (recorded, false)] {
            for (to, batches) in &deeds.sent {
                let lag = self.sent.entry(to.clone()).or_default();
                lag.extend(batches.iter().flatten().copied(), is_found);
            }
            for (from, events) in &deeds.events_in {
                let lag = self.handled.entry(from.clone()).or_default();
                lag.extend(events.iter().copied(), is_found);
            }
            self.infos.extend(deeds.infos.iter().cloned(), is_found);
            self.ended.extend(deeds.ended.iter().cloned(), is_found);
            let sign = if is_found { 1 } else { -1 };
            for (whom, events) in &deeds.asks {
                *self.asked.entry(whom.clone()).or_default() += sign * *events as i64;
            }
            self.discarded += sign * deeds.discarded.iter().sum::<u64>() as i64;
        }
        for lag in self.sent.values_mut().chain(self.handled.values_mut()) {
            lag.settle()?;
        }
        self.infos.settle()?;
        self.ended.settle()?;
        self.asked.retain(|_, more| *more != 0);
        if found.opened != recorded.opened || found.refused != recorded.refused {
            return Err("others have come, or were refused".to_owned());
        }
        Ok(())
    }

    /// Forgets what GenStage has discarded instead of sending it. Whether there is any.
    pub(crate) fn allow_for_discarded(&mut self) -> bool {
        let ahead: usize = self.sent.values().map(|lag| lag.ahead.len()).sum();
        let is_it = ahead > 0 && ahead as i64 <= -self.discarded;
        if is_it {
            self.discarded = 0;
            self.sent.values_mut().for_each(|lag| lag.ahead.clear());
        }
        is_it
    }

    /// Whether both have done the same.
    pub(crate) fn is_even(&self) -> bool {
        let mut streams = self.sent.values().chain(self.handled.values());
        streams.all(Lag::is_even)
            && self.infos.is_even()
            && self.ended.is_even()
            && self.asked.is_empty()
            && self.discarded == 0
    }
}

impl<T: PartialEq + Debug> Lag<T> {
    fn extend(&mut self, items: impl Iterator<Item = T>, is_found: bool) {
        if is_found {
            self.ahead.extend(items);
        } else {
            self.behind.extend(items);
        }
    }

    fn settle(&mut self) -> Result<(), String> {
        while let (Some(ahead), Some(behind)) = (self.ahead.front(), self.behind.front()) {
            if ahead != behind {
                return Err(format!("{ahead:?} is found, and {behind:?} recorded"));
            }
            self.ahead.pop_front();
            self.behind.pop_front();
        }
        Ok(())
    }

    pub(crate) fn is_even(&self) -> bool {
        self.ahead.is_empty() && self.behind.is_empty()
    }
}

impl<T> Default for Lag<T> {
    fn default() -> Self {
        Self {
            ahead: VecDeque::new(),
            behind: VecDeque::new(),
        }
    }
}

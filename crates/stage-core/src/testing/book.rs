use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Acknowledge, Outcome};

/// What a source has handed out, and what became of each of it.
#[derive(Debug, Default)]
pub struct Book(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    handed: Vec<u64>,
    outcomes: Vec<Option<Outcome>>,
    twice: usize,
}

impl Book {
    /// A book with nothing in it.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Takes note that an event is handed out. Returns the number to settle it by.
    pub fn hand(&self, event: u64) -> u64 {
        let mut pages = self.pages();
        pages.handed.push(event);
        pages.outcomes.push(None);
        pages.handed.len() as u64 - 1
    }

    /// How many events were handed out.
    pub fn handed(&self) -> usize {
        self.pages().handed.len()
    }

    /// How many are not settled.
    pub fn open(&self) -> usize {
        self.which(None).len()
    }

    /// The events that were acked.
    pub fn acked(&self) -> Vec<u64> {
        self.which(Some(Outcome::Acked))
    }

    /// The events that were nacked.
    pub fn nacked(&self) -> Vec<u64> {
        self.which(Some(Outcome::Nacked))
    }

    /// How often something was settled that had been settled before, or was never handed out.
    pub fn twice(&self) -> usize {
        self.pages().twice
    }

    fn which(&self, outcome: Option<Outcome>) -> Vec<u64> {
        let pages = self.pages();
        let found = pages.handed.iter().zip(&pages.outcomes);
        let found = found.filter(|(_, found)| **found == outcome);
        found.map(|(event, _)| *event).collect()
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Acknowledge for Book {
    fn settle(&self, numbers: Range<u64>, outcome: Outcome) {
        let mut pages = self.pages();
        for number in numbers {
            match pages.outcomes.get_mut(number as usize) {
                Some(place @ None) => *place = Some(outcome),
                _ => pages.twice += 1,
            }
        }
    }
}

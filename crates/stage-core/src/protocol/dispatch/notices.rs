use std::collections::VecDeque;

use crate::protocol::Mark;

/// Notices that some lanes have events before, in order.
#[derive(Debug, Default)]
pub(super) struct Notices {
    /// Each with the number of lanes that it has to pass. None is handed out before an earlier one.
    waiting: VecDeque<(Mark, usize)>,
    /// The number of the first.
    first: u64,
}

impl Notices {
    /// The number that the next one will have.
    pub(super) fn next(&self) -> u64 {
        self.first + self.waiting.len() as u64
    }

    /// Adds one that so many lanes have events before.
    pub(super) fn add(&mut self, mark: Mark, lanes: usize) {
        self.waiting.push_back((mark, lanes));
    }

    /// The notice of this number has passed a lane.
    pub(super) fn pass(&mut self, number: u64) {
        self.waiting[(number - self.first) as usize].1 -= 1;
    }

    /// Takes out those that have passed all.
    pub(super) fn hand_out(&mut self, passed: &mut Vec<Mark>) {
        while let Some(&(mark, 0)) = self.waiting.front() {
            self.waiting.pop_front();
            self.first += 1;
            passed.push(mark);
        }
    }
}

use std::collections::VecDeque;

/// How much the events of one subscription may weigh that are sent and not settled.
///
/// An event is sent while all of them together weigh no more than the limit, or when nothing else is
/// on its way: so one that is heavier than the limit passes alone. What may not be sent yet waits at
/// the sending side, in order; how many events may wait is up to the subscription's
/// [`Window`](super::Window).
///
/// ```
/// use stage_core::protocol::ByteWindow;
///
/// let mut bytes = ByteWindow::new(100);
/// bytes.hold([60, 30, 20, 500]);
/// assert_eq!(bytes.release(), 2);
/// assert_eq!((bytes.open(), bytes.waiting()), (90, 2));
///
/// // The receiving side takes the first in, and is done with it.
/// let weight = bytes.hand_over(1).sum();
/// bytes.settle(weight);
/// assert_eq!(bytes.release(), 1);
/// // The heavy one waits until it is alone.
/// let weight = bytes.hand_over(2).sum();
/// assert_eq!(bytes.release(), 0);
/// bytes.settle(weight);
/// assert_eq!(bytes.release(), 1);
/// assert_eq!(bytes.open(), 500);
/// ```
#[derive(Clone, Debug)]
pub struct ByteWindow {
    limit: usize,
    /// What is sent and not settled weighs so much.
    open: usize,
    /// The weights of what may not be sent yet.
    waiting: VecDeque<usize>,
    /// The weights of what is sent and not handed over.
    sent: VecDeque<usize>,
}

impl ByteWindow {
    /// A window of this weight, with nothing on its way. With a limit of zero, events that weigh
    /// anything pass one by one.
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            open: 0,
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
        }
    }

    /// Events of these weights are to be sent, after those that wait.
    pub fn hold(&mut self, weights: impl IntoIterator<Item = usize>) {
        self.waiting.extend(weights);
    }

    /// How many of the events that wait are to be sent now. They count as sent.
    pub fn release(&mut self) -> usize {
        let mut released = 0;
        while let Some(&weight) = self.waiting.front()
            && self.admits(weight)
        {
            self.waiting.pop_front();
            self.open += weight;
            self.sent.push_back(weight);
            released += 1;
        }
        released
    }

    /// The receiving side takes the next so many events in hand. Returns their weights, in order.
    pub fn hand_over(&mut self, events: usize) -> impl Iterator<Item = usize> {
        let events = events.min(self.sent.len());
        self.sent.drain(..events)
    }

    /// Events that were handed over have been dealt with. They weighed so much.
    pub fn settle(&mut self, weight: usize) {
        debug_assert!(weight <= self.open, "settled what was never sent");
        self.open = self.open.saturating_sub(weight);
    }

    /// How many events wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How much the events weigh that are sent and not settled.
    pub const fn open(&self) -> usize {
        self.open
    }

    fn admits(&self, weight: usize) -> bool {
        let room = self.limit.checked_sub(self.open);
        self.open == 0 || room.is_some_and(|room| weight <= room)
    }
}

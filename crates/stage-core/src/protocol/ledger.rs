use std::{error::Error, fmt};

use super::{Demand, Window};

/// The asking side of one subscription: what has been asked for and has not come yet.
///
/// Events that come are taken in by portions of at most `max - min`. Each portion is settled once
/// it has been dealt with, and settling says whether to ask for more. So what has been asked for
/// and what is in hand together never exceed the window.
///
/// ```
/// use stage_core::protocol::{Demand, Ledger, Window};
///
/// let (mut ledger, first) = Ledger::open(Window::new(10));
/// assert_eq!(first.get(), 10);
///
/// // Seven events come. Five are taken in, then the other two.
/// ledger.receive(7)?;
/// assert_eq!(ledger.portion(7), 5);
/// assert_eq!(ledger.settle(5), Demand::new(5)); // 5 still due: ask for 5 more
/// assert_eq!(ledger.portion(2), 2);
/// assert_eq!(ledger.settle(2), None); // 8 due: enough
/// # Ok::<(), stage_core::protocol::ExcessEvents>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ledger {
    window: Window,
    /// Asked for, and not settled.
    due: usize,
    /// Received, and not settled.
    in_hand: usize,
}

impl Ledger {
    /// A ledger for a fresh subscription, and the first thing to ask for.
    pub fn open(window: Window) -> (Self, Demand) {
        let ledger = Self {
            window,
            due: window.max(),
            in_hand: 0,
        };
        (ledger, window.first_ask())
    }

    /// The subscription's window.
    pub fn window(&self) -> Window {
        self.window
    }

    /// How many events have been asked for and have not come yet.
    pub fn outstanding(&self) -> usize {
        self.due - self.in_hand
    }

    /// How many events have come and are not settled.
    pub fn in_hand(&self) -> usize {
        self.in_hand
    }

    /// Takes note of events that came.
    ///
    /// # Errors
    ///
    /// If they are more than were asked for. Then nothing is noted: the sender has broken the
    /// protocol, and its subscription is to be ended.
    #[inline]
    pub fn receive(&mut self, events: usize) -> Result<(), ExcessEvents> {
        if events > self.outstanding() {
            return Err(ExcessEvents {
                asked: self.outstanding(),
                received: events,
            });
        }
        self.in_hand += events;
        Ok(())
    }

    /// How many of `available` events in hand to take in together.
    #[inline]
    pub fn portion(&self, available: usize) -> usize {
        available.min(self.window.max() - self.window.min())
    }

    /// Takes note that `events` of those in hand have been dealt with, and returns what to ask for
    /// now, if anything.
    #[inline]
    pub fn settle(&mut self, events: usize) -> Option<Demand> {
        self.settle_part(events);
        self.ask()
    }

    /// Takes note that `events` of those in hand have been dealt with, by one who goes on with others and
    /// [asks](Self::ask) then: once for all of them.
    #[inline]
    pub fn settle_part(&mut self, events: usize) {
        debug_assert!(events <= self.in_hand, "settled what never came");
        let events = events.min(self.in_hand);
        self.in_hand -= events;
        self.due -= events;
    }

    /// What to ask for now, if anything.
    #[inline]
    pub fn ask(&mut self) -> Option<Demand> {
        if self.due > self.window.min() {
            return None;
        }
        let ask = self.window.max() - self.due;
        self.due = self.window.max();
        Demand::new(ask)
    }
}

/// A sender sent more events than it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExcessEvents {
    /// How many it had still been asked for.
    pub asked: usize,
    /// How many came.
    pub received: usize,
}

impl fmt::Display for ExcessEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, received } = self;
        write!(f, "{received} events came where {asked} had been asked for")
    }
}

impl Error for ExcessEvents {}

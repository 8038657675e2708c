//! Who may read, for consumers that take turns.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{Instant, sleep};

/// How long a lease is good that is not renewed.
pub(crate) const LEASE: Duration = Duration::from_secs(10);

/// The row that both see.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    generation: u64,
    counter: u64,
    /// By the holder's clock, in milliseconds.
    expires: i64,
}

/// One's hold on it.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    row: Row,
    generation: u64,
    renewed: Arc<Mutex<Instant>>,
    /// How far this one's clock is ahead.
    skew: i64,
}

impl Row {
    fn now(began: Instant, skew: i64) -> i64 {
        began.elapsed().as_millis() as i64 + skew
    }

    /// Waits until nobody holds it: nobody has renewed it for as long as a lease is good, by one's own
    /// monotonic clock; or, by mistake, its time is up by one's own wall clock.
    pub(crate) async fn take(&self, began: Instant, skew: i64, by_wall_clock: bool) -> Lease {
        let mut seen = (self.0.lock().unwrap().counter, Instant::now());
        loop {
            {
                let mut state = self.0.lock().unwrap();
                if state.counter != seen.0 {
                    seen = (state.counter, Instant::now());
                }
                let is_free = state.generation == 0
                    || match by_wall_clock {
                        true => Self::now(began, skew) > state.expires,
                        false => seen.1.elapsed() >= LEASE,
                    };
                if is_free {
                    state.generation += 1;
                    state.counter += 1;
                    state.expires = Self::now(began, skew) + LEASE.as_millis() as i64;
                    return Lease {
                        row: self.clone(),
                        generation: state.generation,
                        renewed: Arc::new(Mutex::new(Instant::now())),
                        skew,
                    };
                }
            }
            sleep(Duration::from_millis(500)).await;
        }
    }
}

impl Lease {
    pub(crate) fn is_held(&self) -> bool {
        let is_fresh = self.renewed.lock().unwrap().elapsed() < LEASE;
        is_fresh && self.row.0.lock().unwrap().generation == self.generation
    }

    /// Renews it for as long as it is held.
    pub(crate) async fn keep(self, began: Instant) {
        while self.is_held() {
            {
                let mut state = self.row.0.lock().unwrap();
                state.counter += 1;
                state.expires = Row::now(began, self.skew) + LEASE.as_millis() as i64;
            }
            *self.renewed.lock().unwrap() = Instant::now();
            sleep(Duration::from_secs(3)).await;
        }
    }
}

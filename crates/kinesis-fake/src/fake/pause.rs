use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Sleep, sleep_until};

use super::Fake;
use crate::model::Moment;

/// Completes when the fake's clock comes to a moment.
///
/// On a clock that is moved by hand it takes no runtime: [`Fake::advance`] wakes it. If tokio's clock
/// cannot tell the moment, it never comes.
pub(crate) struct Pause {
    fake: Fake,
    until: Moment,
    wait: Wait,
}

enum Wait {
    Tokio(Option<Pin<Box<Sleep>>>),
    /// The number that it waits by, once it does.
    Manual(Option<u64>),
}

impl Fake {
    /// Waits for a moment of the fake's clock.
    pub(crate) fn pause_until(&self, until: Moment) -> Pause {
        let clock = &self.account.clock;
        let wait = match clock.is_manual() {
            true => Wait::Manual(None),
            false => Wait::Tokio(clock.instant(until).map(|it| Box::pin(sleep_until(it)))),
        };
        Pause {
            fake: self.clone(),
            until,
            wait,
        }
    }
}

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { fake, until, wait } = &mut *self;
        let number = match wait {
            Wait::Tokio(Some(sleep)) => return sleep.as_mut().poll(context),
            Wait::Tokio(None) => return Poll::Pending,
            Wait::Manual(number) => number,
        };
        let mut state = fake.lock();
        // Under the lock, so that the clock is not moved before the waker is there.
        if fake.moment() >= *until {
            return Poll::Ready(());
        }
        let number = *number.get_or_insert_with(|| {
            state.pauses_made += 1;
            state.pauses_made
        });
        let former = state.pauses.insert(number, context.waker().clone());
        // A waker may hold what holds a fake: none is dropped while the account is locked.
        drop(state);
        drop(former);
        Poll::Pending
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        if let Wait::Manual(Some(number)) = self.wait {
            let mut state = self.fake.lock();
            let waker = state.pauses.remove(&number);
            drop(state);
            drop(waker);
        }
    }
}

impl fmt::Debug for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pause").field("until", &self.until).finish()
    }
}

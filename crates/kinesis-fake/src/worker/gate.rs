use std::{future::pending, time::Duration};

use kinesis_source::Timestamp;
use tokio::sync::watch;

use super::Dependency;

/// What stands between a [`Worker`](super::Worker) and everything outside of it.
#[derive(Clone, Debug)]
pub struct Gate {
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    life: Life,
    kinesis: bool,
    checkpoints: bool,
    ahead: Duration,
    behind: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    Paused,
    Dead,
}

impl Gate {
    pub(super) fn new() -> Self {
        let state = State {
            life: Life::Running,
            kinesis: true,
            checkpoints: true,
            ahead: Duration::ZERO,
            behind: Duration::ZERO,
        };
        Self {
            state: watch::Sender::new(state),
        }
    }

    /// Lets whoever belongs to the worker pass: at once while it runs, when it is resumed if it is
    /// paused, and never once it is dead. For a test's own handler, before it lets anything be seen.
    ///
    /// Cancel safe.
    pub async fn pass(&self) {
        let mut state = self.state.subscribe();
        // The channel cannot close: it is ours.
        if state.wait_for(|it| it.life == Life::Running).await.is_err() {
            pending::<()>().await;
        }
    }

    /// Waits until the worker does not run.
    pub(super) async fn paused(&self) {
        let mut state = self.state.subscribe();
        if state.wait_for(|it| it.life != Life::Running).await.is_err() {
            pending::<()>().await;
        }
    }

    pub(super) fn pause(&self) {
        self.live(Life::Paused);
    }

    pub(super) fn resume(&self) {
        self.live(Life::Running);
    }

    pub(super) fn close(&self) {
        self.live(Life::Dead);
    }

    fn live(&self, life: Life) {
        self.state.send_if_modified(|state| {
            let changes = state.life != Life::Dead && state.life != life;
            if changes {
                state.life = life;
            }
            changes
        });
    }

    pub(super) fn connect(&self, dependency: Dependency, connected: bool) {
        self.state.send_modify(|state| match dependency {
            Dependency::Kinesis => state.kinesis = connected,
            Dependency::Checkpoints => state.checkpoints = connected,
        });
    }

    pub(super) fn reaches(&self, dependency: Dependency) -> bool {
        let state = self.state.borrow();
        match dependency {
            Dependency::Kinesis => state.kinesis,
            Dependency::Checkpoints => state.checkpoints,
        }
    }

    /// Waits until there is no connection to Kinesis.
    pub(super) async fn disconnected(&self) {
        let mut state = self.state.subscribe();
        if state.wait_for(|it| !it.kinesis).await.is_err() {
            pending::<()>().await;
        }
    }

    pub(super) fn skew(&self, by: Duration, ahead: bool) {
        self.state.send_modify(|state| {
            (state.ahead, state.behind) = match ahead {
                true => (by, Duration::ZERO),
                false => (Duration::ZERO, by),
            };
        });
    }

    /// What the worker takes that time to be.
    pub(super) fn skewed(&self, now: Timestamp) -> Timestamp {
        let state = self.state.borrow();
        let behind = i64::try_from(state.behind.as_millis()).unwrap_or(i64::MAX);
        let now = now.plus(state.ahead);
        Timestamp::from_millis(now.as_millis().saturating_sub(behind))
    }
}

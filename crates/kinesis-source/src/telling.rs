use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use crate::{SourceEvent, reporter::Reporter};

/// What is to be told, in the order in which it became news, whoever tells it.
///
/// What is news is decided under a lock, and told without one, as whoever logs it may ask how all is. So of two
/// threads the later one might tell first, as that a shard goes on before that it is stuck. Here one of them tells,
/// and the others leave what they have to it.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    untold: VecDeque<SourceEvent>,
    /// Somebody tells it.
    is_told: bool,
}

/// Whose turn it is to tell.
struct Turn<'a>(&'a Telling);

impl Telling {
    /// Takes note of it, under the lock under which it became news.
    pub(crate) fn note(&self, event: SourceEvent) {
        self.lock().untold.push_back(event);
    }

    /// Tells what was noted, without a lock, unless somebody else does.
    pub(crate) fn tell(&self, reporter: &Reporter) {
        if std::mem::replace(&mut self.lock().is_told, true) {
            return;
        }
        let turn = Turn(self);
        while let Some(event) = turn.next() {
            reporter.report(&event);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// What is to be told next. If there is nothing, whoever notes something next has the turn.
    fn next(&self) -> Option<SourceEvent> {
        let mut state = self.0.lock();
        let next = state.untold.pop_front();
        state.is_told = next.is_some();
        next
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Whoever logs has panicked. The next one tells what is left.
        if thread::panicking() {
            self.0.lock().is_told = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{Arc, Once},
    };

    use super::*;
    use crate::test_log::LogThat;

    fn let_go(shard: &str) -> SourceEvent {
        SourceEvent::SubscriptionLetGo {
            shard: shard.into(),
        }
    }

    #[test]
    fn who_comes_while_another_tells_leaves_it_to_that() {
        let (telling, reporter) = (Arc::new(Telling::default()), Reporter::alone());
        let mut events = reporter.events();
        telling.note(let_go("a"));
        let log = {
            let (telling, reporter) = (Arc::clone(&telling), reporter.clone());
            let once = Once::new();
            LogThat(move || {
                once.call_once(|| {
                    telling.note(let_go("b"));
                    telling.tell(&reporter);
                });
            })
        };
        tracing::subscriber::with_default(log, || telling.tell(&reporter));
        let told: Vec<_> = std::iter::from_fn(|| events.try_next()).collect();
        let shards: Vec<_> = told.iter().filter_map(SourceEvent::shard).collect();
        assert_eq!(shards, [&"a".into(), &"b".into()]);
        telling.note(let_go("c"));
        telling.tell(&reporter);
        assert!(events.try_next().is_some(), "the turn was given back");
    }

    #[test]
    fn what_is_left_when_a_log_panics_is_told_by_the_next() {
        let (telling, reporter) = (Telling::default(), Reporter::alone());
        let mut events = reporter.events();
        telling.note(let_go("a"));
        telling.note(let_go("b"));
        let log = LogThat(|| panic!("on purpose"));
        let told = || tracing::subscriber::with_default(log, || telling.tell(&reporter));
        assert!(catch_unwind(AssertUnwindSafe(told)).is_err());
        telling.tell(&reporter);
        let told = events.try_next();
        assert_eq!(
            told.as_ref().and_then(SourceEvent::shard),
            Some(&"b".into())
        );
    }
}

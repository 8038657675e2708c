use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use crate::SourceEvent;

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
    untold: VecDeque<(SourceEvent, Place)>,
    /// Somebody tells it.
    is_told: bool,
    /// The last event was noted.
    is_closed: bool,
}

/// When something became news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Before,
    /// It is the last.
    Last,
    After,
}

/// Whose turn it is to tell.
struct Turn<'a>(&'a Telling);

impl Telling {
    /// Takes note of it, under the lock under which it became news.
    pub(crate) fn note(&self, event: SourceEvent) {
        let mut state = self.lock();
        let place = match state.is_closed {
            true => Place::After,
            false => Place::Before,
        };
        state.untold.push_back((event, place));
    }

    /// Takes note of the last event, unless there has been one.
    pub(crate) fn close(&self, last: SourceEvent) {
        let mut state = self.lock();
        if !mem::replace(&mut state.is_closed, true) {
            state.untold.push_back((last, Place::Last));
        }
    }

    /// Tells what was noted, without a lock, unless somebody else does.
    pub(crate) fn tell(&self, mut say: impl FnMut(&SourceEvent, Place)) {
        if mem::replace(&mut self.lock().is_told, true) {
            return;
        }
        let turn = Turn(self);
        while let Some((event, place)) = turn.next() {
            say(&event, place);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// What is to be told next. If there is nothing, whoever notes something next has the turn.
    fn next(&self) -> Option<(SourceEvent, Place)> {
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
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn let_go(shard: &str) -> SourceEvent {
        SourceEvent::SubscriptionLetGo {
            shard: shard.into(),
        }
    }

    fn tell(telling: &Telling) -> Vec<(String, Place)> {
        let mut told = Vec::new();
        telling.tell(|event, place| told.push((event.shard().unwrap().to_string(), place)));
        told
    }

    #[test]
    fn who_comes_while_another_tells_leaves_it_to_that() {
        let telling = Telling::default();
        telling.note(let_go("a"));
        let mut told = Vec::new();
        telling.tell(|event, _| {
            if told.is_empty() {
                telling.note(let_go("b"));
                assert!(tell(&telling).is_empty());
            }
            told.push(event.shard().unwrap().to_string());
        });
        assert_eq!(told, ["a", "b"]);
        telling.note(let_go("c"));
        assert_eq!(tell(&telling).len(), 1, "the turn was given back");
    }

    #[test]
    fn one_is_the_last() {
        let telling = Telling::default();
        telling.note(let_go("a"));
        telling.close(let_go("b"));
        telling.note(let_go("c"));
        telling.close(let_go("d"));
        let told = tell(&telling);
        let places: Vec<_> = told.into_iter().map(|(_, place)| place).collect();
        assert_eq!(places, [Place::Before, Place::Last, Place::After]);
    }

    #[test]
    fn what_is_left_when_a_log_panics_is_told_by_the_next() {
        let telling = Telling::default();
        telling.note(let_go("a"));
        telling.note(let_go("b"));
        let told = || telling.tell(|_, _| panic!("on purpose"));
        assert!(catch_unwind(AssertUnwindSafe(told)).is_err());
        assert_eq!(tell(&telling), [("b".to_owned(), Place::Before)]);
    }
}

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::SourceEvent;

/// What is to be given to receivers, in the order in which it became news, whoever gives it.
///
/// What is news is decided under a lock, and told without one, as whoever hears of it may ask how all is. So of two
/// threads the later one might tell first, as that a shard goes on before that it is stuck. Here one of them gives all that
/// there is, which takes no time, and the others leave what they have to it.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    untold: VecDeque<(Arc<SourceEvent>, Place)>,
    /// Somebody tells it.
    is_told: bool,
    /// The last event was noted.
    is_closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Before,
    /// It is the last.
    Last,
}

/// Whose turn it is to tell.
struct Turn<'a> {
    telling: &'a Telling,
    is_over: bool,
}

impl Telling {
    /// Takes note of it, under the lock under which it became news. Nothing comes after the last.
    pub(crate) fn note(&self, event: Arc<SourceEvent>) {
        let mut state = self.lock();
        if !state.is_closed {
            state.untold.push_back((event, Place::Before));
        }
    }

    /// Takes note of the last event, unless there has been one.
    pub(crate) fn close(&self, last: Arc<SourceEvent>) -> bool {
        let mut state = self.lock();
        let is_news = !mem::replace(&mut state.is_closed, true);
        if is_news {
            state.untold.push_back((last, Place::Last));
        }
        is_news
    }

    /// Tells what was noted, under no lock, unless somebody else does.
    pub(crate) fn tell(&self, mut say: impl FnMut(&SourceEvent, Place)) {
        if mem::replace(&mut self.lock().is_told, true) {
            return;
        }
        let mut turn = Turn {
            telling: self,
            is_over: false,
        };
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
    fn next(&mut self) -> Option<(Arc<SourceEvent>, Place)> {
        let mut state = self.telling.lock();
        let next = state.untold.pop_front();
        state.is_told = next.is_some();
        self.is_over = next.is_none();
        next
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Whoever was told has panicked. The next one tells what is left.
        if !self.is_over {
            self.telling.lock().is_told = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn let_go(shard: &str) -> Arc<SourceEvent> {
        Arc::new(SourceEvent::SubscriptionLetGo {
            shard: shard.into(),
        })
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
    fn nothing_comes_after_the_last() {
        let telling = Telling::default();
        telling.note(let_go("a"));
        assert!(telling.close(let_go("b")));
        telling.note(let_go("c"));
        assert!(!telling.close(let_go("d")));
        let told = tell(&telling);
        assert_eq!(
            told,
            [
                ("a".to_owned(), Place::Before),
                ("b".to_owned(), Place::Last)
            ]
        );
    }

    #[test]
    fn what_is_left_when_one_panics_is_told_by_the_next() {
        let telling = Telling::default();
        telling.note(let_go("a"));
        telling.note(let_go("b"));
        let told = || telling.tell(|_, _| panic!("on purpose"));
        assert!(catch_unwind(AssertUnwindSafe(told)).is_err());
        assert_eq!(tell(&telling), [("b".to_owned(), Place::Before)]);
    }

    /// A reader that is dropped by a panic tells of that.
    #[test]
    fn a_turn_is_given_back_once_also_while_a_thread_panics() {
        struct Tells<'a>(&'a Telling);
        impl Drop for Tells<'_> {
            fn drop(&mut self) {
                let telling = self.0;
                let mut turn = Turn {
                    telling,
                    is_over: false,
                };
                assert!(turn.next().is_none());
                // Another thread has it by now.
                telling.lock().is_told = true;
                drop(turn);
                assert!(telling.lock().is_told, "it is that one's");
            }
        }
        let telling = Telling::default();
        let panics = || {
            let _tells = Tells(&telling);
            std::panic::resume_unwind(Box::new("on purpose"));
        };
        let how = catch_unwind(AssertUnwindSafe(panics)).unwrap_err();
        assert_eq!(how.downcast_ref(), Some(&"on purpose"));
    }
}

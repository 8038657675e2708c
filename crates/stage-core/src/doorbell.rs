use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// Wakes one task, and tells it which of its links have news.
///
/// Ringing twice before the task looks is ringing once.
#[derive(Debug, Default)]
pub(crate) struct Doorbell(Mutex<Bell>);

#[derive(Debug, Default)]
struct Bell {
    rung: Vec<usize>,
    is_rung: Vec<bool>,
    sleeper: Option<Waker>,
}

impl Doorbell {
    /// The link in this slot has news.
    pub(crate) fn ring(&self, slot: usize) {
        let mut bell = self.lock();
        if bell.is_rung.len() <= slot {
            bell.is_rung.resize(slot + 1, false);
        }
        if !bell.is_rung[slot] {
            bell.is_rung[slot] = true;
            bell.rung.push(slot);
        }
        let sleeper = bell.sleeper.take();
        drop(bell);
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }

    /// Moves the slots that have news to the end of `news`, in the order in which they rang.
    pub(crate) fn answer(&self, news: &mut Vec<usize>) {
        self.lock().answer(news);
    }

    /// Like [`answer`](Self::answer), but waits until there is some.
    pub(crate) fn poll(&self, cx: &mut Context<'_>, news: &mut Vec<usize>) -> Poll<()> {
        let mut bell = self.lock();
        if bell.rung.is_empty() {
            match &mut bell.sleeper {
                Some(sleeper) => sleeper.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        bell.answer(news);
        Poll::Ready(())
    }

    fn lock(&self) -> MutexGuard<'_, Bell> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bell {
    fn answer(&mut self, news: &mut Vec<usize>) {
        for &slot in &self.rung {
            self.is_rung[slot] = false;
        }
        news.append(&mut self.rung);
    }
}

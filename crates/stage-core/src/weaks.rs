use std::sync::{Arc, Weak};

use crate::line::Line;

/// Things that others keep. Those that are gone are cleared out when there may be as many of them as
/// of the others: to add one takes no longer however many there are.
pub(crate) struct Weaks<T: ?Sized> {
    all: Line<Weak<T>>,
    clear_at: usize,
}

/// So few are not worth clearing out.
const FEW: usize = 8;

impl<T: ?Sized> Weaks<T> {
    pub(crate) const fn new() -> Self {
        Self {
            all: Line::new(),
            clear_at: FEW,
        }
    }

    pub(crate) fn add(&mut self, one: Weak<T>) {
        if self.all.len() >= self.clear_at {
            self.all.retain(|one| one.strong_count() > 0);
            self.clear_at = FEW.max(2 * self.all.len());
        }
        self.all.push(one);
    }

    /// Those that are still there, in the order in which they came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Arc<T>> {
        self.all.iter().filter_map(Weak::upgrade)
    }
}

impl<T: ?Sized> Default for Weaks<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_gone_take_no_room() {
        let (mut weaks, mut kept) = (Weaks::new(), Vec::new());
        for number in 0..10_000 {
            let one = Arc::new(number);
            weaks.add(Arc::downgrade(&one));
            if number % 1_000 == 0 {
                kept.push(one);
            }
            assert!(weaks.all.len() <= FEW.max(2 * kept.len()) + 1);
        }
        assert!(weaks.iter().eq(kept));
    }
}

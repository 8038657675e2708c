use std::collections::VecDeque;

/// A queue that allocates nothing for its first one. Most of a stage's queues that are not for events
/// never have a second.
#[derive(Debug)]
pub(crate) struct Line<T> {
    /// Nobody waits behind where nobody is first.
    first: Option<T>,
    behind: VecDeque<T>,
}

impl<T> Line<T> {
    pub(crate) const fn new() -> Self {
        Self {
            first: None,
            behind: VecDeque::new(),
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, one: T) {
        match &self.first {
            None => self.first = Some(one),
            Some(_) => self.behind.push_back(one),
        }
    }

    /// The one that has waited longest.
    pub(crate) fn first(&self) -> Option<&T> {
        self.first.as_ref()
    }

    /// Takes the one that has waited longest.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<T> {
        let first = self.first.take()?;
        self.first = self.behind.pop_front();
        Some(first)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.behind.len()
    }

    /// In the order in which they came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.behind)
    }

    /// Forgets those for which `keep` does not hold.
    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.behind.retain(&keep);
        if self.first.as_ref().is_some_and(|first| !keep(first)) {
            self.first = self.behind.pop_front();
        }
    }
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Iterator for Line<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.pop()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Push(u8),
        Pop,
        Keep(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => any::<u8>().prop_map(Step::Push),
            3 => Just(Step::Pop),
            1 => (1..4_u8).prop_map(Step::Keep),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_queue(steps in proptest::collection::vec(step(), 0..100)) {
            let (mut line, mut queue) = (Line::new(), VecDeque::new());
            for step in steps {
                match step {
                    Step::Push(one) => {
                        line.push(one);
                        queue.push_back(one);
                    }
                    Step::Pop => prop_assert_eq!(line.pop(), queue.pop_front()),
                    Step::Keep(divisor) => {
                        line.retain(|one| one % divisor == 0);
                        queue.retain(|one| one % divisor == 0);
                    }
                }
                prop_assert!(line.iter().eq(&queue));
                prop_assert_eq!(line.first(), queue.front());
                prop_assert_eq!(line.len(), queue.len());
                prop_assert_eq!(line.is_empty(), queue.is_empty());
            }
        }

        #[test]
        fn the_first_one_allocates_nothing(numbers in proptest::collection::vec(any::<u8>(), 0..20)) {
            let mut line = Line::new();
            for number in numbers {
                line.push(number);
                prop_assert_eq!(line.pop(), Some(number));
                prop_assert_eq!(line.behind.capacity(), 0);
            }
        }
    }
}

use std::{collections::VecDeque, iter::repeat_n, ops::Range};

use stage_core::protocol::Watermark;

use crate::{place::Mark, sequence_numbers::SequenceNumbers};

/// How far everything is done that was handed out, and where in the shard that is.
///
/// Events have numbers, one after another. Which place in the shard one of them stands for is kept for all together
/// that were handed out at once.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    watermark: Watermark<()>,
    /// Of what is open, in order.
    runs: VecDeque<Run>,
}

#[derive(Clone, Debug)]
struct Run {
    /// The number of its first event.
    first: u64,
    of: Marked,
}

/// Up to where the shard is done, with each of some events in a row.
#[derive(Clone, Debug)]
pub(crate) enum Marked {
    /// Each is a whole record.
    Whole(SequenceNumbers),
    /// Some are a part of one.
    Parts(Vec<Mark>),
}

impl Marked {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Whole(numbers) => numbers.len(),
            Self::Parts(marks) => marks.len(),
        }
    }

    fn get(&self, place: usize) -> Option<Mark> {
        match self {
            Self::Whole(numbers) => numbers.get(place).map(Mark::whole),
            Self::Parts(marks) => marks.get(place).cloned(),
        }
    }

    fn last(&self) -> Option<Mark> {
        self.get(self.len().checked_sub(1)?)
    }
}

impl Run {
    /// The number after its last event.
    fn end(&self) -> u64 {
        self.first + self.of.len() as u64
    }
}

impl Marks {
    /// The number that the next event will have.
    pub(super) fn next(&self) -> u64 {
        self.watermark.next()
    }

    /// The number of the first event that is not done.
    pub(super) fn done(&self) -> u64 {
        self.next() - self.open()
    }

    /// How many events lie at or behind the first that is not done.
    pub(super) fn open(&self) -> u64 {
        self.watermark.open() as u64
    }

    /// Whether everything that was handed out is done.
    pub(super) fn is_complete(&self) -> bool {
        self.watermark.is_complete()
    }

    /// Numbers events that are handed out. Returns the first one's number, and how far the shard is with the last; `None`
    /// if there are none.
    pub(super) fn issue(&mut self, of: Marked) -> (u64, Option<Mark>) {
        let (first, last) = (self.next(), of.last());
        if last.is_some() {
            self.watermark.issue_all(repeat_n((), of.len()));
            self.runs.push_back(Run { first, of });
        }
        (first, last)
    }

    /// Takes note that the events of these numbers are done. If that moves how far everything is done, returns
    /// where that is. Numbers that are not open change nothing.
    pub(super) fn settle(&mut self, numbers: Range<u64>) -> Option<Mark> {
        self.watermark.settle(numbers).ok()??;
        let done = self.done();
        while self.runs.front().is_some_and(|run| run.end() < done) {
            self.runs.pop_front();
        }
        let run = self.runs.front()?;
        let mark = run.of.get((done - 1 - run.first) as usize);
        if run.end() == done {
            self.runs.pop_front();
        }
        mark
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Record;

    fn whole(numbers: Range<u128>) -> Marked {
        let record = |number: u128| Record::new("shard".into(), number.into(), "");
        let records = Vec::from_iter(numbers.map(record));
        Marked::Whole(SequenceNumbers::of(&records, |_| {}).0)
    }

    fn parts(numbers: Range<u128>) -> Marked {
        let mark = |number: u128| Mark {
            sequence_number: number.into(),
            sub_sequence_number: Some(1),
        };
        Marked::Parts(numbers.map(mark).collect())
    }

    #[test]
    fn what_is_done_is_forgotten_and_the_rest_is_not() {
        let mut marks = Marks::default();
        assert_eq!(
            marks.issue(whole(10..13)),
            (0, Some(Mark::whole(12.into())))
        );
        assert_eq!(marks.issue(whole(13..13)), (3, None));
        assert_eq!(marks.issue(whole(20..22)).0, 3);
        assert_eq!(marks.settle(1..5), None, "the first is not done");
        assert_eq!(marks.settle(0..1), Some(Mark::whole(21.into())));
        assert_eq!((marks.done(), marks.open(), marks.runs.len()), (5, 0, 0));
        assert_eq!(marks.settle(0..1), None, "it was done before");
    }

    proptest! {
        /// Beside a list of all marks.
        #[test]
        fn the_mark_is_of_the_last_that_is_done_without_a_gap(
            runs in prop::collection::vec((0_u128..5, any::<bool>()), 1..8),
            order in prop::collection::vec(any::<prop::sample::Index>(), 64),
        ) {
            let (mut marks, mut all, mut next) = (Marks::default(), Vec::new(), 0);
            for (events, is_whole) in runs {
                let numbers = next..next + events;
                next = numbers.end + 3;
                let run = if is_whole { whole(numbers) } else { parts(numbers) };
                all.extend((0..run.len()).filter_map(|place| run.get(place)));
                marks.issue(run);
            }
            let mut open = Vec::from_iter(0..all.len());
            let mut is_done = vec![false; all.len()];
            for index in order {
                if open.is_empty() {
                    break;
                }
                let number = open.remove(index.index(open.len()));
                let before = is_done.iter().take_while(|it| **it).count();
                is_done[number] = true;
                let after = is_done.iter().take_while(|it| **it).count();
                let mark = marks.settle(number as u64..number as u64 + 1);
                let expected = (after > before).then(|| all[after - 1].clone());
                prop_assert_eq!(mark, expected);
                prop_assert_eq!(marks.done(), after as u64);
                prop_assert_eq!(marks.is_complete(), after == all.len());
            }
        }
    }
}

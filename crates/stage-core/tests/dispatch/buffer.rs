//! Buffers with a limit.

use std::{collections::VecDeque, sync::Arc};

use proptest::prelude::*;
use stage_core::protocol::{Buffer, Mark};

use crate::book::Book;

#[derive(Clone, Debug)]
enum Step {
    Store(u64),
    Mark,
    Take(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0u64..12).prop_map(Step::Store),
        1 => Just(Step::Mark),
        3 => (0usize..12).prop_map(Step::Take),
    ];
    prop::collection::vec(step, 1..80)
}

/// A buffer as a plain list: events, and notices without a number.
fn drop_excess(list: &mut VecDeque<Option<u64>>, size: usize, keeps_last: bool) -> Vec<u64> {
    let mut dropped = Vec::new();
    while list.iter().flatten().count() > size {
        let at = if keeps_last {
            list.iter().position(Option::is_some)
        } else {
            list.iter().rposition(Option::is_some)
        };
        dropped.extend(list.remove(at.unwrap()).flatten());
    }
    dropped.sort_unstable();
    dropped
}

proptest! {
    /// A buffer is a queue of events and notices that loses what it says, and nacks it.
    #[test]
    fn a_buffer_is_a_queue_with_a_limit(
        steps in steps(), size in 1usize..25, keeps_last in any::<bool>(),
    ) {
        let book = Arc::<Book>::default();
        let mut buffer = if keeps_last { Buffer::keep_last(size) } else { Buffer::keep_first(size) };
        let (mut list, mut next, mut marks, mut lost) = (VecDeque::new(), 0, 0, Vec::new());
        for step in steps {
            match step {
                Step::Store(n) => {
                    list.extend((next..next + n).map(Some));
                    let dropped = drop_excess(&mut list, size, keeps_last);
                    prop_assert_eq!(buffer.store(book.watch(next..next + n)), dropped.len());
                    next += n;
                    lost.extend(dropped);
                }
                Step::Mark => {
                    list.push_back(None);
                    buffer.mark(Mark(marks));
                    marks += 1;
                }
                Step::Take(n) => {
                    let front = list.iter().take_while(|event| event.is_some()).count();
                    let taken: Vec<u64> = list.drain(..front.min(n)).flatten().collect();
                    let mut batch = buffer.front().take(n);
                    prop_assert_eq!(&batch[..], &taken);
                    for (_, receipt) in batch.drain_with_receipts() {
                        receipt.ack();
                    }
                    if list.front() == Some(&None) {
                        list.pop_front();
                        let waiting = list.iter().filter(|event| event.is_none()).count() as u64;
                        prop_assert_eq!(buffer.pass(), Some(Mark(marks - 1 - waiting)));
                    } else {
                        prop_assert_eq!(buffer.pass(), None);
                    }
                }
            }
            prop_assert_eq!(buffer.len(), list.iter().flatten().count());
            prop_assert_eq!(buffer.is_empty(), list.iter().flatten().next().is_none());
            prop_assert_eq!(buffer.marks(), list.len() - buffer.len());
            prop_assert_eq!(buffer.room(), size - buffer.len());
            prop_assert_eq!(buffer.keeps_last(), keeps_last);
            lost.sort_unstable();
            prop_assert_eq!(&book.nacked(), &lost);
        }
    }
}

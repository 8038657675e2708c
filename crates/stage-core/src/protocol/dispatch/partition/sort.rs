use std::vec;

/// Says which lane an event belongs to, and sorts batches by that.
///
/// This is what stands for a closure: who calls it by a pointer does so once for a batch, and within,
/// the closure is called for each event without one.
pub(super) trait Sort<E>: Send {
    /// The lane that an event belongs to; `None` if it belongs nowhere.
    fn lane_of(&self, event: &E) -> Option<usize>;

    /// Adds each event to what is in its lane. A lane with nothing in it is given what `open` returns
    /// for it first.
    fn sort(
        &self,
        events: vec::Drain<'_, E>,
        lanes: &mut [Vec<E>],
        open: &mut dyn FnMut(usize) -> Vec<E>,
    ) -> Unplaced;
}

/// How many events were in no lane, and were dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unplaced {
    /// They belong nowhere.
    pub(super) homeless: usize,
    /// They belong to lanes that there are not.
    pub(super) misplaced: usize,
}

impl<E, F: Fn(&E) -> Option<usize> + Send> Sort<E> for F {
    fn lane_of(&self, event: &E) -> Option<usize> {
        self(event)
    }

    fn sort(
        &self,
        events: vec::Drain<'_, E>,
        lanes: &mut [Vec<E>],
        open: &mut dyn FnMut(usize) -> Vec<E>,
    ) -> Unplaced {
        let mut unplaced = Unplaced::default();
        for event in events {
            let Some(number) = self(&event) else {
                unplaced.homeless += 1;
                continue;
            };
            let Some(lane) = lanes.get_mut(number) else {
                unplaced.misplaced += 1;
                continue;
            };
            // One look for both: without room are those that are full, and those not opened.
            if lane.len() == lane.capacity() || (size_of::<E>() == 0 && lane.is_empty()) {
                push_without_room(lane, event, number, open);
            } else {
                lane.push(event);
            }
        }
        unplaced
    }
}

#[cold]
#[inline(never)]
fn push_without_room<E>(
    lane: &mut Vec<E>,
    event: E,
    number: usize,
    open: &mut dyn FnMut(usize) -> Vec<E>,
) {
    if lane.is_empty() {
        *lane = open(number);
    }
    lane.push(event);
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_lane_is_opened_once_even_for_events_of_no_size() {
        let turn = Cell::new(0);
        let in_turn = move |&(): &()| {
            turn.set(turn.get() + 1);
            match turn.get() % 4 {
                3 => None,
                lane => Some(lane),
            }
        };
        let (mut lanes, mut opened) = ([Vec::new(), Vec::new()], Vec::new());
        let mut open = |lane| {
            opened.push(lane);
            Vec::new()
        };
        let unplaced = in_turn.sort(vec![(); 10].drain(..), &mut lanes, &mut open);
        let expected = Unplaced {
            homeless: 2,
            misplaced: 3,
        };
        assert_eq!(unplaced, expected);
        assert_eq!(lanes.map(|lane| lane.len()), [2, 3]);
        assert_eq!(opened, [1, 0]);
    }
}

use std::collections::BTreeMap;

use crate::read_size::MOST_BYTES;

/// Who may read how much, so that what has been read and is not dealt with stays within bounds.
///
/// Pure. How large an answer will be is not known before it is there. A read that can be given as
/// many bytes as the largest answer has is no risk, and may be made whenever there are so many. Any
/// other is given what it expects, on trust: of these, there are only so many at once. So what is in
/// use is at most `limit`, and the largest answer once for each read on trust.
///
/// Whoever has to wait is served in the order of asking, and nobody passes one that waits.
#[derive(Debug)]
pub(super) struct Account {
    limit: u64,
    most_on_trust: usize,
    /// What is held or reserved.
    in_use: u64,
    on_trust: usize,
    /// What those expect that wait, in the order in which they asked.
    waiting: BTreeMap<Ticket, u64>,
    next_ticket: u64,
}

/// Stands for one that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// What a read was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    reserved: u64,
    is_on_trust: bool,
}

impl Account {
    pub(super) fn new(limit: u64, most_on_trust: usize) -> Self {
        Self {
            limit,
            most_on_trust: most_on_trust.max(1),
            in_use: 0,
            on_trust: 0,
            waiting: BTreeMap::new(),
            next_ticket: 0,
        }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn most_on_trust(&self) -> usize {
        self.most_on_trust
    }

    pub(super) fn in_use(&self) -> u64 {
        self.in_use
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// A read that expects so many bytes, now or not at all.
    pub(super) fn try_begin(&mut self, expected: u64) -> Option<Terms> {
        if self.waiting.is_empty() {
            self.begin(expected)
        } else {
            None
        }
    }

    /// A read that expects so many bytes, and waits for its turn.
    pub(super) fn wait(&mut self, expected: u64) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting.insert(ticket, expected);
        ticket
    }

    /// It waits no more. Others may go on.
    pub(super) fn give_up(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
    }

    /// Whose turn it is, if there is room.
    pub(super) fn admit(&mut self) -> Option<(Ticket, Terms)> {
        let (&ticket, &expected) = self.waiting.first_key_value()?;
        let terms = self.begin(expected)?;
        self.waiting.remove(&ticket);
        Some((ticket, terms))
    }

    /// A read has brought so many bytes. They are in use from now on.
    pub(super) fn answered(&mut self, terms: Terms, bytes: u64) {
        self.in_use = (self.in_use - terms.reserved).saturating_add(bytes);
        self.on_trust -= usize::from(terms.is_on_trust);
    }

    /// So many bytes are dealt with.
    pub(super) fn release(&mut self, bytes: u64) {
        self.in_use -= bytes;
    }

    fn begin(&mut self, expected: u64) -> Option<Terms> {
        let fits = |bytes: u64| self.in_use.saturating_add(bytes) <= self.limit;
        let terms = if fits(MOST_BYTES) {
            Terms {
                reserved: MOST_BYTES,
                is_on_trust: false,
            }
        } else {
            // What is more than there ever is goes alone.
            let reserved = expected.min(self.limit);
            if self.on_trust >= self.most_on_trust || !fits(reserved) {
                return None;
            }
            Terms {
                reserved,
                is_on_trust: true,
            }
        };
        self.in_use += terms.reserved;
        self.on_trust += usize::from(terms.is_on_trust);
        Some(terms)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1_024 * 1_024;

    #[test]
    fn reads_that_are_covered_are_not_counted() {
        let mut account = Account::new(100 * MIB, 2);
        for _ in 0..10 {
            assert!(account.try_begin(1).is_some());
        }
        assert_eq!(account.in_use(), 100 * MIB);
        assert_eq!(account.try_begin(1), None);
    }

    #[test]
    fn on_trust_there_are_only_so_many() {
        let mut account = Account::new(9 * MIB, 2);
        let first = account.try_begin(MIB).unwrap();
        assert!(account.try_begin(MIB).is_some());
        assert_eq!(account.try_begin(MIB), None);
        account.answered(first, 0);
        assert!(account.try_begin(MIB).is_some());
    }

    #[test]
    fn what_is_larger_than_all_there_is_goes_alone() {
        let mut account = Account::new(1_000, 8);
        let small = account.try_begin(10).unwrap();
        assert_eq!(account.try_begin(5_000), None);
        let ticket = account.wait(5_000);
        account.answered(small, 10);
        assert_eq!(account.admit(), None);
        assert_eq!(account.try_begin(1), None, "nobody passes one that waits");
        account.release(10);
        let (admitted, large) = account.admit().unwrap();
        assert_eq!(admitted, ticket);
        account.answered(large, 5_000);
        assert_eq!(account.in_use(), 5_000);
        account.release(5_000);
        assert!(account.try_begin(10).is_some());
    }

    #[test]
    fn a_budget_of_nothing_is_one_read_at_a_time() {
        let mut account = Account::new(0, 0);
        let terms = account.try_begin(7).unwrap();
        assert_eq!(account.try_begin(7), None);
        account.answered(terms, 7);
        assert_eq!(account.try_begin(7), None);
        account.release(7);
        assert!(account.try_begin(7).is_some());
    }

    #[derive(Clone, Debug)]
    enum Act {
        Ask(u64),
        Answer(prop::sample::Index, u64),
        Fail(prop::sample::Index),
        Release(prop::sample::Index),
        GiveUp(prop::sample::Index),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let any = any::<prop::sample::Index>;
        let bytes = || prop_oneof![0..3u64, 0..MOST_BYTES + 1, Just(MOST_BYTES)];
        let act = prop_oneof![
            4 => bytes().prop_map(Act::Ask),
            4 => (any(), bytes()).prop_map(|(which, bytes)| Act::Answer(which, bytes)),
            1 => any().prop_map(Act::Fail),
            3 => any().prop_map(Act::Release),
            1 => any().prop_map(Act::GiveUp),
        ];
        prop::collection::vec(act, 1..200)
    }

    /// An account, and what all those who use it have.
    struct Rig {
        account: Account,
        reading: Vec<Terms>,
        held: Vec<u64>,
        waiting: VecDeque<Ticket>,
    }

    impl Rig {
        fn act(&mut self, act: &Act) {
            match act {
                Act::Ask(expected) => match self.account.try_begin(*expected) {
                    Some(terms) => {
                        assert!(self.waiting.is_empty(), "nobody passes one that waits");
                        self.reading.push(terms);
                    }
                    None => self.waiting.push_back(self.account.wait(*expected)),
                },
                Act::Answer(which, bytes) if !self.reading.is_empty() => {
                    let terms = self.reading.swap_remove(which.index(self.reading.len()));
                    self.account.answered(terms, *bytes);
                    self.held.push(*bytes);
                }
                Act::Fail(which) if !self.reading.is_empty() => {
                    let terms = self.reading.swap_remove(which.index(self.reading.len()));
                    self.account.answered(terms, 0);
                }
                Act::Release(which) if !self.held.is_empty() => {
                    let bytes = self.held.swap_remove(which.index(self.held.len()));
                    self.account.release(bytes);
                }
                Act::GiveUp(which) if !self.waiting.is_empty() => {
                    let at = which.index(self.waiting.len());
                    let ticket = self.waiting.remove(at).unwrap();
                    self.account.give_up(ticket);
                }
                _ => {}
            }
            while let Some((ticket, terms)) = self.account.admit() {
                assert_eq!(
                    self.waiting.pop_front(),
                    Some(ticket),
                    "in the order of asking"
                );
                self.reading.push(terms);
            }
        }

        fn check(&self, limit: u64, on_trust: usize) {
            let held: u64 = self.held.iter().sum();
            let reserved: u64 = self.reading.iter().map(|terms| terms.reserved).sum();
            assert_eq!(self.account.in_use(), held + reserved);
            // Also if every answer that is to come were as large as can be.
            let worst = held + self.reading.len() as u64 * MOST_BYTES;
            assert!(
                worst <= limit + on_trust.max(1) as u64 * MOST_BYTES,
                "{worst}"
            );
            assert_eq!(self.account.waiting(), self.waiting.len());
            let is_idle = self.reading.is_empty() && self.held.is_empty();
            assert!(!is_idle || self.waiting.is_empty(), "somebody can go on");
        }
    }

    proptest! {
        #[test]
        fn what_is_in_use_is_bounded_and_everybody_has_their_turn(
            limit in prop_oneof![0..100u64, 0..80 * MIB],
            on_trust in 0..5usize,
            acts in acts(),
            any: prop::sample::Index,
        ) {
            let mut rig = Rig {
                account: Account::new(limit, on_trust),
                reading: Vec::new(),
                held: Vec::new(),
                waiting: VecDeque::new(),
            };
            for act in &acts {
                rig.act(act);
                rig.check(limit, on_trust);
            }
            // Whatever is answered and released in the end, nobody is left.
            while !rig.reading.is_empty() || !rig.held.is_empty() {
                rig.act(&Act::Answer(any, MOST_BYTES));
                rig.act(&Act::Release(any));
                rig.check(limit, on_trust);
            }
            prop_assert_eq!(rig.account.waiting(), 0);
            prop_assert_eq!(rig.account.in_use(), 0);
        }
    }
}

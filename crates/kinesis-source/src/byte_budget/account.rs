use std::collections::{BTreeMap, BTreeSet};

use crate::footprint::Need;

/// Who may read how much, so that what has been read and is not dealt with stays within bounds.
///
/// Pure. How large an answer will be is not known before it is there. A read that can be given as
/// many bytes as the largest answer has is no risk, and may be made whenever there are so many. Any
/// other is given what it expects, on trust: of these, there are only so many at once. So what is in
/// use is at most `limit`, and the largest answer once for each read on trust.
///
/// Whoever has to wait is served in the order of asking, and nobody passes one that waits. But several
/// may share an account, and one of them that gives nothing back must not keep the others from reading
/// for ever. So a holder that has nothing may always make one read, whatever the others have: that is
/// its share, and passes only those of others. With it, what is in use is at most the largest answer
/// more for each holder; one that is alone with the account has no need of it.
#[derive(Debug)]
pub(super) struct Account {
    limit: u64,
    most_on_trust: usize,
    /// What is held or reserved.
    in_use: u64,
    on_trust: usize,
    /// By whom, of those that have anything or have reserved it.
    held: BTreeMap<Holder, Held>,
    /// Those that wait, in the order in which they asked.
    waiting: BTreeMap<Ticket, Asking>,
    /// The same by holder. None of these is empty.
    waiting_by: BTreeMap<Holder, BTreeSet<Ticket>>,
    next_ticket: u64,
}

/// Somebody who shares an account: a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Holder(pub(super) u64);

/// Stands for one that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// What one that waits expects.
#[derive(Clone, Copy, Debug)]
struct Asking {
    holder: Holder,
    need: Need,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    /// What is held or reserved.
    bytes: u64,
    /// Reads under way.
    reads: usize,
}

/// What a read was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    holder: Holder,
    reserved: u64,
    is_on_trust: bool,
}

impl Terms {
    pub(super) fn holder(&self) -> Holder {
        self.holder
    }
}

impl Account {
    pub(super) fn new(limit: u64, most_on_trust: usize) -> Self {
        Self {
            limit,
            most_on_trust: most_on_trust.max(1),
            in_use: 0,
            on_trust: 0,
            held: BTreeMap::new(),
            waiting: BTreeMap::new(),
            waiting_by: BTreeMap::new(),
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

    /// How much of that one has.
    pub(super) fn held_by(&self, holder: Holder) -> u64 {
        self.held.get(&holder).map_or(0, |held| held.bytes)
    }

    /// A read that expects so many bytes, now or not at all.
    pub(super) fn try_begin(&mut self, holder: Holder, need: impl Into<Need>) -> Option<Terms> {
        let need = need.into();
        let in_turn = match self.waiting.is_empty() {
            true => self.begin(holder, need),
            false => None,
        };
        in_turn.or_else(|| match self.waiting_by.contains_key(&holder) {
            true => None,
            false => self.begin_on_share(holder, need),
        })
    }

    /// A read that expects so many bytes, and waits for its turn.
    pub(super) fn wait(&mut self, holder: Holder, need: impl Into<Need>) -> Ticket {
        let need = need.into();
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting.insert(ticket, Asking { holder, need });
        self.waiting_by.entry(holder).or_default().insert(ticket);
        ticket
    }

    /// It waits no more. Others may go on.
    pub(super) fn give_up(&mut self, ticket: Ticket) {
        let Some(Asking { holder, .. }) = self.waiting.remove(&ticket) else {
            return;
        };
        if let Some(tickets) = self.waiting_by.get_mut(&holder) {
            tickets.remove(&ticket);
            if tickets.is_empty() {
                self.waiting_by.remove(&holder);
            }
        }
    }

    /// Whose turn it is, if there is room.
    pub(super) fn admit(&mut self) -> Option<(Ticket, Terms)> {
        let (&first, &asking) = self.waiting.first_key_value()?;
        let in_turn = self.begin(asking.holder, asking.need);
        let (ticket, terms) = match in_turn {
            Some(terms) => (first, terms),
            None => self.admit_on_share()?,
        };
        self.give_up(ticket);
        Some((ticket, terms))
    }

    /// The first one of a holder that has nothing.
    fn admit_on_share(&mut self) -> Option<(Ticket, Terms)> {
        let mut firsts = self.waiting_by.iter();
        let (&holder, tickets) = firsts.find(|(holder, _)| !self.held.contains_key(holder))?;
        let &ticket = tickets.first()?;
        let need = self.waiting.get(&ticket)?.need;
        Some((ticket, self.begin_on_share(holder, need)?))
    }

    /// A read has brought so many bytes. They are in use from now on.
    pub(super) fn answered(&mut self, terms: Terms, bytes: u64) {
        self.in_use = (self.in_use - terms.reserved).saturating_add(bytes);
        self.on_trust -= usize::from(terms.is_on_trust);
        self.change(terms.holder, |held| Held {
            bytes: (held.bytes - terms.reserved).saturating_add(bytes),
            reads: held.reads - 1,
        });
    }

    /// So many bytes are dealt with.
    pub(super) fn release(&mut self, holder: Holder, bytes: u64) {
        self.in_use -= bytes;
        self.change(holder, |held| Held {
            bytes: held.bytes - bytes,
            ..held
        });
    }

    fn change(&mut self, holder: Holder, change: impl FnOnce(Held) -> Held) {
        let held = change(self.held.get(&holder).copied().unwrap_or_default());
        if held.bytes == 0 && held.reads == 0 {
            self.held.remove(&holder);
        } else {
            self.held.insert(holder, held);
        }
    }

    fn begin(&mut self, holder: Holder, need: Need) -> Option<Terms> {
        let fits = |bytes: u64| self.in_use.saturating_add(bytes) <= self.limit;
        let terms = if fits(need.most) {
            Terms {
                holder,
                reserved: need.most,
                is_on_trust: false,
            }
        } else {
            // What is more than there ever is goes alone.
            let reserved = need.expected.min(self.limit);
            if self.on_trust >= self.most_on_trust || !fits(reserved) {
                return None;
            }
            Terms {
                holder,
                reserved,
                is_on_trust: true,
            }
        };
        Some(self.begin_by(terms))
    }

    /// One that has nothing is not kept waiting by those that have all.
    fn begin_on_share(&mut self, holder: Holder, need: Need) -> Option<Terms> {
        let has_any = self.held.contains_key(&holder);
        (!has_any).then(|| {
            self.begin_by(Terms {
                holder,
                reserved: need.expected.min(self.limit),
                is_on_trust: false,
            })
        })
    }

    fn begin_by(&mut self, terms: Terms) -> Terms {
        self.in_use = self.in_use.saturating_add(terms.reserved);
        self.on_trust += usize::from(terms.is_on_trust);
        self.change(terms.holder, |held| Held {
            bytes: held.bytes.saturating_add(terms.reserved),
            reads: held.reads + 1,
        });
        terms
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::footprint::MOST_TAKEN;

    const MIB: u64 = 1_024 * 1_024;
    const ONE: Holder = Holder(0);
    const OTHER: Holder = Holder(1);

    #[test]
    fn reads_that_are_covered_are_not_counted() {
        let mut account = Account::new(10 * MOST_TAKEN, 2);
        for _ in 0..10 {
            assert!(account.try_begin(ONE, 1).is_some());
        }
        assert_eq!(account.in_use(), 10 * MOST_TAKEN);
        assert_eq!(account.try_begin(ONE, 1), None);
    }

    /// Those that have all that they could need are not among the few that go on trust; nor are shares.
    #[test]
    fn what_is_reserved_in_full_is_not_on_trust() {
        let mut account = Account::new(3 * MOST_TAKEN + 5 * MIB, 1);
        for _ in 0..3 {
            assert!(account.try_begin(ONE, MIB).is_some());
        }
        assert!(account.try_begin(ONE, MIB).is_some(), "the first on trust");
        assert_eq!(account.try_begin(ONE, MIB), None);
        assert!(account.try_begin(OTHER, MIB).is_some(), "its share");
        assert_eq!(account.on_trust, 1);
    }

    #[test]
    fn on_trust_there_are_only_so_many() {
        let mut account = Account::new(9 * MIB, 2);
        let first = account.try_begin(ONE, MIB).unwrap();
        assert!(account.try_begin(ONE, MIB).is_some());
        assert_eq!(account.try_begin(ONE, MIB), None);
        account.answered(first, 0);
        assert!(account.try_begin(ONE, MIB).is_some());
    }

    #[test]
    fn what_is_larger_than_all_there_is_goes_alone() {
        let mut account = Account::new(1_000, 8);
        let small = account.try_begin(ONE, 10).unwrap();
        assert_eq!(account.try_begin(ONE, 5_000), None);
        let ticket = account.wait(ONE, 5_000);
        account.answered(small, 10);
        assert_eq!(account.admit(), None);
        assert_eq!(
            account.try_begin(ONE, 1),
            None,
            "nobody passes one that waits"
        );
        account.release(ONE, 10);
        let (admitted, large) = account.admit().unwrap();
        assert_eq!(admitted, ticket);
        account.answered(large, 5_000);
        assert_eq!(account.in_use(), 5_000);
        account.release(ONE, 5_000);
        assert!(account.try_begin(ONE, 10).is_some());
    }

    #[test]
    fn a_budget_of_nothing_is_one_read_at_a_time() {
        let mut account = Account::new(0, 0);
        let terms = account.try_begin(ONE, 7).unwrap();
        assert_eq!(account.try_begin(ONE, 7), None);
        account.answered(terms, 7);
        assert_eq!(account.try_begin(ONE, 7), None);
        account.release(ONE, 7);
        assert!(account.try_begin(ONE, 7).is_some());
    }

    #[test]
    fn who_has_nothing_makes_one_read_at_a_time_whatever_others_have() {
        let mut account = Account::new(1_000, 8);
        let all = account.try_begin(ONE, 1_000).unwrap();
        account.answered(all, 1_000);
        let own = account.wait(ONE, 10);
        assert_eq!(account.admit(), None);
        let share = account.try_begin(OTHER, 300).unwrap();
        assert_eq!((account.in_use(), account.held_by(OTHER)), (1_300, 300));
        assert_eq!(account.try_begin(OTHER, 1), None, "one at a time");
        let next = account.wait(OTHER, 300);
        account.answered(share, 500);
        assert_eq!(account.admit(), None, "it has that still");
        account.release(OTHER, 500);
        let (admitted, share) = account.admit().unwrap();
        assert_eq!(admitted, next);
        account.answered(share, 0);
        assert_eq!(account.admit(), None);
        account.release(ONE, 1_000);
        assert_eq!(account.admit().unwrap().0, own);
        assert_eq!(account.waiting(), 0);
    }

    #[derive(Clone, Debug)]
    enum Act {
        Ask(Holder, u64),
        Answer(prop::sample::Index, u64),
        Fail(prop::sample::Index),
        Release(prop::sample::Index),
        GiveUp(prop::sample::Index),
    }

    const HOLDERS: u64 = 3;

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let any = any::<prop::sample::Index>;
        let bytes = || prop_oneof![0..3u64, 0..MOST_TAKEN + 1, Just(MOST_TAKEN)];
        let act = prop_oneof![
            4 => (0..HOLDERS, bytes()).prop_map(|(who, bytes)| Act::Ask(Holder(who), bytes)),
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
        held: Vec<(Holder, u64)>,
        waiting: VecDeque<(Holder, Ticket)>,
    }

    impl Rig {
        fn has_any(&self, holder: Holder) -> bool {
            let reads = self.reading.iter().any(|terms| terms.holder == holder);
            let bytes = self.held.iter();
            reads
                || bytes
                    .filter(|(it, _)| *it == holder)
                    .any(|(_, bytes)| *bytes > 0)
        }

        fn is_waiting(&self, holder: Holder) -> bool {
            self.waiting.iter().any(|(it, _)| *it == holder)
        }

        fn act(&mut self, act: &Act) {
            match act {
                Act::Ask(who, expected) => match self.account.try_begin(*who, *expected) {
                    Some(terms) => {
                        let is_on_share = !self.has_any(*who) && !self.is_waiting(*who);
                        assert!(
                            self.waiting.is_empty() || is_on_share,
                            "nobody passes one that waits"
                        );
                        self.reading.push(terms);
                    }
                    None => {
                        let ticket = self.account.wait(*who, *expected);
                        self.waiting.push_back((*who, ticket));
                    }
                },
                Act::Answer(which, bytes) if !self.reading.is_empty() => {
                    let terms = self.reading.swap_remove(which.index(self.reading.len()));
                    self.account.answered(terms, *bytes);
                    self.held.push((terms.holder, *bytes));
                }
                Act::Fail(which) if !self.reading.is_empty() => {
                    let terms = self.reading.swap_remove(which.index(self.reading.len()));
                    self.account.answered(terms, 0);
                }
                Act::Release(which) if !self.held.is_empty() => {
                    let (who, bytes) = self.held.swap_remove(which.index(self.held.len()));
                    self.account.release(who, bytes);
                }
                Act::GiveUp(which) if !self.waiting.is_empty() => {
                    let at = which.index(self.waiting.len());
                    let (_, ticket) = self.waiting.remove(at).unwrap();
                    self.account.give_up(ticket);
                }
                _ => {}
            }
            while let Some((ticket, terms)) = self.account.admit() {
                let who = terms.holder;
                let at = self.waiting.iter().position(|(it, _)| *it == who).unwrap();
                assert_eq!(self.waiting[at], (who, ticket), "in the order of asking");
                assert!(at == 0 || !self.has_any(who), "it has had its share");
                self.waiting.remove(at);
                self.reading.push(terms);
            }
        }

        fn check(&self, limit: u64, on_trust: usize) {
            let held: u64 = self.held.iter().map(|(_, bytes)| bytes).sum();
            let reserved: u64 = self.reading.iter().map(|terms| terms.reserved).sum();
            assert_eq!(self.account.in_use(), held + reserved);
            let by = (0..HOLDERS).map(|it| self.account.held_by(Holder(it)));
            assert_eq!(by.sum::<u64>(), held + reserved);
            // Also if every answer that is to come were as large as can be.
            let worst = held + self.reading.len() as u64 * MOST_TAKEN;
            let more = on_trust.max(1) as u64 + HOLDERS;
            assert!(worst <= limit + more * MOST_TAKEN, "{worst}");
            assert_eq!(self.account.waiting(), self.waiting.len());
            for (holder, _) in &self.waiting {
                assert!(self.has_any(*holder), "somebody can go on");
            }
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
                rig.act(&Act::Answer(any, MOST_TAKEN));
                rig.act(&Act::Release(any));
                rig.check(limit, on_trust);
            }
            prop_assert_eq!(rig.account.waiting(), 0);
            prop_assert_eq!(rig.account.in_use(), 0);
        }
    }
}

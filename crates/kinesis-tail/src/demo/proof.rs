use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kinesis_source::ShardId;

use super::{SHARDS, decode::Order};
use crate::publish::KEYS;

/// Keeps account of what the sink took in.
#[derive(Debug, Default)]
pub(super) struct Proof(Mutex<Account>);

#[derive(Debug, Default)]
struct Account {
    received: u64,
    /// How often each number came.
    times: BTreeMap<u64, u64>,
    /// The last number of each key.
    last: BTreeMap<String, u64>,
    out_of_order: u64,
    shards: BTreeSet<ShardId>,
}

/// What the account shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    received: u64,
    missing: u64,
    repeated: u64,
    unknown: u64,
    out_of_order: u64,
    shards: usize,
}

/// Whether the demo holds. Shown, it is the demo's summary.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) elapsed: Duration,
    pub(super) published: u64,
    pub(super) findings: Findings,
    pub(super) most_in_flight: u64,
    pub(super) allowed_in_flight: u64,
}

/// One shard is split: its children are read, too.
const SHARDS_READ: usize = SHARDS as usize + 2;

impl Proof {
    pub(super) fn take(&self, order: &Order) {
        let Order { shard, number, key } = order;
        let mut account = self.lock();
        account.received += 1;
        *account.times.entry(*number).or_default() += 1;
        if let Some(last) = account.last.insert(key.clone(), *number)
            && last > *number
        {
            account.out_of_order += 1;
        }
        if !account.shards.contains(shard) {
            account.shards.insert(shard.clone());
        }
    }

    pub(super) fn received(&self) -> u64 {
        self.lock().received
    }

    /// What there is to say, if the numbers from 1 to `records` were published.
    pub(super) fn findings(&self, records: u64) -> Findings {
        let account = self.lock();
        let published = 1..=records;
        let known = account.times.range(published).count() as u64;
        let different = account.times.len() as u64;
        Findings {
            received: account.received,
            missing: records - known,
            repeated: account.received - different,
            unknown: different - known,
            out_of_order: account.out_of_order,
            shards: account.shards.len(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Account> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verdict {
    pub(super) fn holds(&self) -> bool {
        self.claims().iter().all(|(holds, _)| *holds)
    }

    /// What is claimed, and whether it is so.
    fn claims(&self) -> [(bool, String); 4] {
        let Self {
            published,
            most_in_flight,
            allowed_in_flight,
            ..
        } = self;
        let Findings {
            received,
            missing,
            repeated,
            unknown,
            out_of_order,
            shards,
        } = self.findings;
        let once = missing == 0 && repeated == 0 && unknown == 0 && received == *published;
        [
            (
                once,
                format!(
                    "each record exactly once: published {published}, received {received}, \
                     missing {missing}, repeated {repeated}, unknown {unknown}"
                ),
            ),
            (
                out_of_order == 0,
                format!("each of {KEYS} keys in order: out of order {out_of_order}"),
            ),
            (
                shards == SHARDS_READ,
                format!("over a split: {shards} shards read, {SHARDS} at first and 2 children"),
            ),
            (
                most_in_flight <= allowed_in_flight,
                format!(
                    "under backpressure: at most {most_in_flight} records in flight, where the \
                     windows allow {allowed_in_flight}"
                ),
            ),
        ]
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nAfter {:.1} s:", self.elapsed.as_secs_f64())?;
        for (holds, claim) in self.claims() {
            let mark = if holds { "yes" } else { "NO " };
            writeln!(f, "  {mark}  {claim}")?;
        }
        match self.holds() {
            true => writeln!(f, "Nothing was lost."),
            false => writeln!(f, "This does not hold."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(orders: &[(u64, &str)]) -> Findings {
        let proof = Proof::default();
        for (number, key) in orders {
            proof.take(&Order {
                shard: "shard".into(),
                number: *number,
                key: (*key).to_owned(),
            });
        }
        proof.findings(3)
    }

    const GOOD: Findings = Findings {
        received: 3,
        missing: 0,
        repeated: 0,
        unknown: 0,
        out_of_order: 0,
        shards: 1,
    };

    #[test]
    fn each_kind_of_failure_is_found() {
        assert_eq!(findings(&[(1, "a"), (3, "b"), (2, "a")]), GOOD);
        let lost = findings(&[(1, "a"), (3, "a")]);
        assert_eq!((lost.missing, lost.received), (1, 2));
        let repeated = findings(&[(1, "a"), (2, "a"), (3, "a"), (3, "a")]);
        assert_eq!((repeated.repeated, repeated.missing), (1, 0));
        assert_eq!(findings(&[(1, "a"), (3, "a"), (2, "a")]).out_of_order, 1);
        assert_eq!(
            findings(&[(1, "a"), (2, "a"), (3, "a"), (4, "a")]).unknown,
            1
        );
    }

    #[test]
    fn it_holds_only_if_everything_does() {
        let verdict = |change: fn(&mut Verdict)| {
            let mut verdict = Verdict {
                elapsed: Duration::ZERO,
                published: 3,
                findings: Findings {
                    shards: SHARDS_READ,
                    ..GOOD
                },
                most_in_flight: 10,
                allowed_in_flight: 10,
            };
            change(&mut verdict);
            verdict.holds()
        };
        assert!(verdict(|_| {}));
        assert!(!verdict(|v| v.findings.missing = 1));
        assert!(!verdict(|v| v.findings.repeated = 1));
        assert!(!verdict(|v| v.findings.unknown = 1));
        assert!(!verdict(|v| v.findings.out_of_order = 1));
        assert!(!verdict(|v| v.findings.shards -= 1));
        assert!(!verdict(|v| v.published = 4));
        assert!(!verdict(|v| v.most_in_flight = 11));
    }
}

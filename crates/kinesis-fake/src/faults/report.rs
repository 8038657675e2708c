use std::fmt;

use super::Fault;

/// What each fault did.
///
/// `Display` is a table: the seed, and for each fault how many calls it saw, how many it struck, and
/// the expression that makes it.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct FaultReport {
    /// The seed of the plan that was last begun.
    pub seed: Option<u64>,
    /// The faults, in the order in which they came.
    pub rows: Vec<FaultTally>,
}

/// What one fault did.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FaultTally {
    /// The fault.
    pub fault: Fault,
    /// Calls of its operations and its shard, within its window, that no fault before it struck.
    pub seen: u64,
    /// Those of them that it struck.
    pub fired: u64,
}

impl FaultReport {
    /// How many calls were struck, by any of them.
    pub fn fired(&self) -> u64 {
        self.rows.iter().map(|row| row.fired).sum()
    }

    /// Whether each of them struck at least once: otherwise a test may have shown nothing.
    pub fn all_fired(&self) -> bool {
        self.rows.iter().all(|row| row.fired > 0)
    }
}

impl fmt::Display for FaultReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seed {
            Some(seed) => writeln!(f, "faults of seed {seed}:")?,
            None => writeln!(f, "faults:")?,
        }
        writeln!(f, "    seen   fired  fault")?;
        for row in &self.rows {
            let FaultTally { fault, seen, fired } = row;
            writeln!(f, "{seen:>8}{fired:>8}  {fault:?}")?;
        }
        Ok(())
    }
}

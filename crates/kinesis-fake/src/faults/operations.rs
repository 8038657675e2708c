use std::fmt;

use crate::model::Operation;

/// Which operations a [`Fault`](super::Fault) is about: one, some, or all.
///
/// ```
/// use kinesis_fake::{Operation, Operations};
///
/// let one: Operations = Operation::GetRecords.into();
/// let two = Operations::from([Operation::ListShards, Operation::GetRecords]);
/// assert!(two.contains(Operation::ListShards) && !one.contains(Operation::ListShards));
/// assert!(Operations::ALL.contains(Operation::SplitShard));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Operations(Which);

#[derive(Clone, PartialEq, Eq)]
enum Which {
    All,
    These(Vec<Operation>),
}

impl Operations {
    /// Every operation that there is.
    pub const ALL: Self = Self(Which::All);

    /// Whether `operation` is one of them.
    pub fn contains(&self, operation: Operation) -> bool {
        match &self.0 {
            Which::All => true,
            Which::These(these) => these.contains(&operation),
        }
    }

    /// Those that it names; none, if it is all.
    pub(super) fn named(&self) -> &[Operation] {
        match &self.0 {
            Which::All => &[],
            Which::These(these) => these,
        }
    }
}

impl From<Operation> for Operations {
    fn from(operation: Operation) -> Self {
        Self::from([operation])
    }
}

impl<const N: usize> From<[Operation; N]> for Operations {
    fn from(operations: [Operation; N]) -> Self {
        Self(Which::These(operations.to_vec()))
    }
}

impl FromIterator<Operation> for Operations {
    fn from_iter<I: IntoIterator<Item = Operation>>(operations: I) -> Self {
        Self(Which::These(operations.into_iter().collect()))
    }
}

/// As a Rust expression.
impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Which::All => f.write_str("Operations::ALL"),
            Which::These(these) => match &these[..] {
                [one] => write!(f, "Operation::{one}"),
                several => {
                    let names: Vec<_> = several
                        .iter()
                        .map(|operation| format!("Operation::{operation}"))
                        .collect();
                    write!(f, "[{}]", names.join(", "))
                }
            },
        }
    }
}

use std::collections::{BTreeMap, BTreeSet};

use kinesis_source::{Checkpoint, SequenceNumber, ShardId};
use serde_json::Value;

use crate::stream::{KEYS, MANY, key};

/// What one consumer did.
pub(crate) struct Run {
    /// In the order of printing.
    pub(crate) printed: Vec<Value>,
    /// As they were when it had ended.
    pub(crate) checkpoints: BTreeMap<ShardId, Checkpoint>,
}

/// Checks run after run whether they did right by the records of a stream.
pub(crate) struct Account {
    /// How many records of each key have been printed, counted from its first without a gap.
    covered: BTreeMap<String, usize>,
    /// Where the last run left off.
    checkpoints: BTreeMap<ShardId, Checkpoint>,
    printed: BTreeSet<usize>,
    repeated: usize,
}

/// A printed record.
#[derive(Debug)]
struct Line {
    shard: ShardId,
    sequence_number: SequenceNumber,
    key: String,
    number: usize,
}

impl Account {
    pub(crate) fn new() -> Self {
        Self {
            covered: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            printed: BTreeSet::new(),
            repeated: 0,
        }
    }

    /// Takes in what the next run did. All of it has to lie after the checkpoints that it began
    /// with, and each key to go on one by one, at its first record that is not printed or before.
    pub(crate) fn take(&mut self, run: Run) {
        let mut of_key = BTreeMap::<String, Vec<usize>>::new();
        for line in run.printed.iter().map(Line::new) {
            self.check_after_checkpoint(&line);
            of_key.entry(line.key).or_default().push(line.number);
            if !self.printed.insert(line.number) {
                self.repeated += 1;
            }
        }
        for (key, numbers) in of_key {
            self.check_order(&key, &numbers);
        }
        self.checkpoints = run.checkpoints;
    }

    fn check_after_checkpoint(&self, line: &Line) {
        let is_after = match self.checkpoints.get(&line.shard) {
            None | Some(Checkpoint::Start(_)) => true,
            Some(stored) => stored.is_behind(&Checkpoint::after(line.sequence_number.clone())),
        };
        assert!(is_after, "{line:?} is printed again, and done with");
    }

    fn check_order(&mut self, key: &str, numbers: &[usize]) {
        let places: Vec<usize> = numbers.iter().map(|number| number / KEYS).collect();
        let (begin, end) = (places[0], places[0] + places.len());
        assert!(places.iter().copied().eq(begin..end), "{key}: {numbers:?}");
        let covered = self.covered.entry(key.to_owned()).or_default();
        assert!(begin <= *covered, "{key} goes on with {}", numbers[0]);
        *covered = end.max(*covered);
    }

    /// How many lines were printed that had been printed before.
    pub(crate) fn repeated(&self) -> usize {
        self.repeated
    }

    /// Every record has been printed.
    pub(crate) fn check_complete(&self) {
        let missing: Vec<usize> = (0..MANY).filter(|n| !self.printed.contains(n)).collect();
        assert!(missing.is_empty(), "never printed: {missing:?}");
        assert_eq!(self.printed.len(), MANY);
    }
}

impl Line {
    fn new(line: &Value) -> Self {
        let text = |name: &str| line[name].as_str().unwrap();
        let line = Self {
            shard: text("shard_id").into(),
            sequence_number: text("sequence_number").parse().unwrap(),
            key: text("partition_key").to_owned(),
            number: text("data").parse().unwrap(),
        };
        assert_eq!(line.key, key(line.number), "{line:?} has another's key");
        line
    }
}

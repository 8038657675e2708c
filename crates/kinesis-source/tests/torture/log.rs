//! What happened in a scenario, in the order in which it did, and what was put.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use kinesis_source::{Checkpoint, Record, SequenceNumber, ShardId};

/// Where an event stands in its shard: its record, and which part of it.
pub(crate) type Place = (SequenceNumber, u64);

#[derive(Clone, Debug)]
#[expect(dead_code, reason = "all of it is told where something is wrong")]
pub(crate) enum Entry {
    /// A life begins at what is stored.
    Loaded(usize, BTreeMap<ShardId, Checkpoint>),
    /// In a life, to a sink.
    Delivered(usize, usize, ShardId, Place),
    /// It is about to be.
    Acked(usize, usize, ShardId, Place),
    Nacked(usize, usize, ShardId, Place),
    /// A checkpoint is about to be stored, in a life.
    Saving(usize, ShardId, Checkpoint),
    Saved(usize, ShardId, Checkpoint),
    /// A shard is told to go back.
    Sought(usize, ShardId),
    /// A life has ended, and all of that is stored.
    EndedWell(usize),
}

/// A record that was put: the keys of the events in it.
type Put = (SequenceNumber, Vec<String>);

#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: Mutex<Vec<Entry>>,
    put: Mutex<BTreeMap<ShardId, Vec<Put>>>,
    /// Nobody looks any more.
    is_closed: AtomicBool,
}

impl Log {
    pub(crate) fn add(&self, entry: Entry) {
        if !self.is_closed.load(Ordering::SeqCst) {
            lock(&self.entries).push(entry);
        }
    }

    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn put(&self, shard: &ShardId, number: SequenceNumber, keys: Vec<String>) {
        let mut put = lock(&self.put);
        put.entry(shard.clone()).or_default().push((number, keys));
    }

    /// What was put by now: of each shard the events in order, with their keys.
    pub(crate) fn everything(&self) -> BTreeMap<ShardId, Vec<(Place, String)>> {
        let put = lock(&self.put);
        put.iter()
            .map(|(shard, records)| {
                let mut places: Vec<_> = records
                    .iter()
                    .flat_map(|(number, keys)| {
                        let parts = (0..).zip(keys);
                        parts.map(move |(part, key)| ((number.clone(), part), key.clone()))
                    })
                    .collect();
                places.sort_unstable();
                (shard.clone(), places)
            })
            .collect()
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        lock(&self.entries).clone()
    }

    pub(crate) fn delivered(&self) -> usize {
        let entries = lock(&self.entries);
        entries
            .iter()
            .filter(|it| matches!(it, Entry::Delivered(..)))
            .count()
    }
}

pub(crate) fn place_of(event: &Record) -> Place {
    let part = event.sub_sequence_number().unwrap_or_default();
    (event.sequence_number.clone(), part)
}

pub(crate) fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

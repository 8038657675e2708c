//! What was put, delivered, acknowledged and stored, in the order in which it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use kinesis_source::{Checkpoint, Record, SequenceNumber, ShardId};

/// Where an event stands in its shard: its record, and which part of it.
pub(crate) type Place = (SequenceNumber, u64);

#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// A process begins to read.
    Began,
    /// To the so many-th process.
    Delivered(usize, ShardId, Place),
    Acked(ShardId, Place),
    Stored(ShardId, Checkpoint),
}

/// Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    entries: Arc<Mutex<Vec<Entry>>>,
    put: Arc<Mutex<BTreeMap<ShardId, Vec<Place>>>>,
}

impl Log {
    pub(crate) fn add(&self, entry: Entry) {
        self.entries.lock().unwrap().push(entry);
    }

    /// A record was put that makes so many events.
    pub(crate) fn put(&self, shard: &ShardId, number: &SequenceNumber, parts: u64) {
        let mut put = self.put.lock().unwrap();
        let places = put.entry(shard.clone()).or_default();
        places.extend((0..parts).map(|part| (number.clone(), part)));
    }

    /// What was put, by shard and in order.
    pub(crate) fn everything(&self) -> BTreeMap<ShardId, Vec<Place>> {
        self.put.lock().unwrap().clone()
    }

    /// The same, one by one.
    pub(crate) fn every_place(&self) -> BTreeSet<(ShardId, Place)> {
        let all = self.everything().into_iter();
        all.flat_map(|(shard, places)| places.into_iter().map(move |it| (shard.clone(), it)))
            .collect()
    }

    /// Puts something else in the place of what was put.
    pub(crate) fn set_everything(&self, put: BTreeMap<ShardId, Vec<Place>>) {
        *self.put.lock().unwrap() = put;
    }

    /// How many events of each shard were delivered that are after the last that is stored.
    pub(crate) fn unsaved(&self) -> BTreeMap<ShardId, usize> {
        let (mut stored, mut after) = (BTreeMap::new(), BTreeMap::<_, BTreeSet<Place>>::new());
        for entry in self.entries().iter() {
            match entry {
                Entry::Delivered(_, shard, place) => {
                    after
                        .entry(shard.clone())
                        .or_default()
                        .insert(place.clone());
                }
                Entry::Stored(
                    shard,
                    Checkpoint::After {
                        sequence_number, ..
                    }
                    | Checkpoint::Quiet {
                        sequence_number, ..
                    },
                ) => {
                    stored.insert(shard.clone(), sequence_number.clone());
                }
                _ => {}
            }
        }
        let count = |(shard, places): (ShardId, BTreeSet<Place>)| {
            let last = stored.get(&shard);
            let places = places.iter();
            let unsaved = places.filter(|(number, _)| last.is_none_or(|last| number > last));
            (shard, unsaved.count())
        };
        after.into_iter().map(count).collect()
    }

    pub(crate) fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap()
    }

    pub(crate) fn delivered(&self) -> usize {
        let entries = self.entries();
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

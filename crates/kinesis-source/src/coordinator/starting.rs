use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use stage_core::{AddError, BoxError, Producer, restarting};

use super::{Means, open_stream::OpenStream};
use crate::{
    HashRange, Record, ShardSource, SourceEvent, StreamIdentity, progress::Progress,
    reader::Reader, shard_graph::Start, source_event::sentence,
};

impl Means {
    /// Has a shard read.
    pub(super) fn start(&self, opened: &mut OpenStream, start: Start) {
        if self.group.is_closed() {
            opened.is_cut_short = true;
            return;
        }
        let Start {
            shard,
            hash_range,
            from,
            resumed,
            since,
            none_until,
            is_reopened,
        } = start;
        let news = Arc::clone(&self.news);
        let progress = match resumed {
            Some(resumed) => Progress::resumed(shard.clone(), resumed, news),
            None => Progress::beginning(shard.clone(), from, since, none_until, news),
        };
        progress.watch().join(Arc::clone(&self.watch));
        progress.save_by(Arc::clone(&self.saving));
        if let Some(calls) = opened.calls.remove(&shard) {
            progress.call_on(calls);
        }
        if let Some(records) = self.source.records_per_second {
            progress.calls().count_records(records);
        }
        if is_reopened {
            progress.replace_stored();
        }
        let from = progress.next();
        let name = [&*self.source.name, "/", &*shard.to_string()].concat();
        // Before its reader begins, in another thread: what is told of it and asked about it comes after that.
        self.board.add(Arc::clone(&progress));
        progress
            .watch()
            .report(|shard| SourceEvent::ShardStarted { shard, from });
        let added = Self::add(name, |name| {
            let reader = self.reader(&opened.stream, hash_range, &progress);
            self.group.add(name, reader)
        });
        if let Err(error) = added {
            // Its reader has gone, so that it counts as stopped. Perhaps the pipeline was told to stop just now.
            opened.is_cut_short = true;
            if error != AddError::Stopping {
                progress.watch().report(|shard| SourceEvent::ShardStopped {
                    shard,
                    reason: sentence(&error),
                });
            }
            return;
        }
        opened.active.insert(shard, progress);
    }

    /// Adds a stage by that name or, if another has it, by one that nobody has: the reader of a shard that is read
    /// on may have ended and not have left yet, and somebody may have named a stage of the pipeline so.
    fn add(
        name: String,
        mut add: impl FnMut(String) -> Result<(), AddError>,
    ) -> Result<(), AddError> {
        let name = match add(name) {
            Err(AddError::NameTaken { name }) => name,
            added => return added,
        };
        let mut number = 2_u64;
        loop {
            match add(format!("{name}#{number}")) {
                Err(AddError::NameTaken { .. }) => number += 1,
                added => return added,
            }
        }
    }

    /// What reads a shard, and goes on reading it whatever happens to a single reader.
    fn reader(
        &self,
        stream: &Arc<StreamIdentity>,
        hash_range: HashRange,
        progress: &Arc<Progress>,
    ) -> impl Producer<Event = Record, Error = BoxError> + use<> {
        let make = {
            let (api, progress) = (Arc::clone(&self.source.api), Arc::clone(progress));
            let (stream, listing) = (Arc::clone(stream), Arc::clone(&self.listing));
            let deaggregation = self.source.deaggregation;
            let consumer = self.consumer.clone();
            let budget = self.source.byte_budget.clone();
            let read_at_most = self.source.read_at_most.min(budget.bytes());
            let on_data_loss = self.source.on_data_loss;
            let until = self.source.until.as_ref();
            let end = until.and_then(|until| until.of(progress.shard()));
            let is_first = AtomicBool::new(true);
            // Shared by all readers of the shard, and moved no more.
            Arc::new(move || {
                let is_first = is_first.swap(false, Ordering::Relaxed);
                if !is_first {
                    progress.resume();
                }
                let (api, progress) = (Arc::clone(&api), Arc::clone(&progress));
                let (stream, listing) = (Arc::clone(&stream), Arc::clone(&listing));
                let reader =
                    ShardSource::supervised(api, progress, stream, listing, budget.clone())
                        .read_at_most(read_at_most)
                        .on_data_loss(on_data_loss)
                        .until(end.clone());
                let reader = match &consumer {
                    Some(consumer) => reader.fan_out(Arc::clone(consumer)),
                    None => reader,
                };
                match deaggregation {
                    Some(deaggregation) => reader.deaggregate(deaggregation, hash_range),
                    None => reader,
                }
            })
        };
        let renew = move |restarts| {
            let make = Arc::clone(&make);
            restarting(restarts, move || make())
        };
        let restarts = Arc::clone(&self.restarts);
        let on_failure = self.source.on_shard_failure;
        Reader::new(renew, restarts, on_failure, Arc::clone(progress))
    }
}

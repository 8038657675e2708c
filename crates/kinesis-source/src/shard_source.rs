use std::{cell::LazyCell, mem, sync::Arc, time::Duration};

use stage_core::{Batch, Demand, Flow, Producer};
use tokio::{select, time::Instant};

use self::closing::End;
use crate::{
    ApiError, ByteBudget, Checkpoint, Deaggregation, HashRange, KinesisApi, OnDataLoss,
    PinnedPosition, Record, Remedy, Shard, ShardError, ShardId, StreamIdentity, WaitingFor,
    arrival::Arrival,
    backoff::Backoff,
    byte_budget::Charge,
    end_position::ShardEnd,
    ending::Ending,
    fan_out::Consumer,
    feed::Feed,
    polling::Polling,
    progress::{Marked, Phase, Progress},
    shared_listing::SharedListing,
    stock::Stock,
    tip::{Tip, Voice},
    unpacker::{Findings, Outside, Unpacked, Unpacker},
};

mod closing;
mod coping;
mod losing;
mod seeking;

/// Reads one shard, in order, as fast as it is asked to and Kinesis allows.
///
/// It ends when the shard is closed and has been read to its end. Until then it outlasts whatever
/// passes: throttling, expired iterators, time-outs, errors of the service. It waits with
/// exponential back-off and goes on after the last record that it read. It never reads more than is
/// asked for, at most five times and 2 MiB a second, and less often while nothing comes.
///
/// Its events are tracked: see [`checkpoint`](Self::checkpoint). A whole stream, with shards that
/// come and go, is read by [`StreamSource`](crate::StreamSource).
///
/// ```
/// use kinesis_source::{PinnedPosition, ShardSource};
/// # use kinesis_source::{KinesisApi, ShardId, Record};
/// # use stage_core::{Consumer, Pipeline, PipelineError, Window};
/// # use std::sync::Arc;
///
/// # async fn read(
/// #     api: Arc<dyn KinesisApi>,
/// #     sink: impl Consumer<Record>,
/// # ) -> Result<(), PipelineError> {
/// let shard = ShardId::from("shardId-000000000000");
/// let mut pipeline = Pipeline::new();
/// let records = pipeline.produce(ShardSource::new(api, shard, PinnedPosition::TrimHorizon));
/// pipeline.consume(sink, records.subscribe(Window::new(1_000)));
/// pipeline.run().await
/// # }
/// ```
#[derive(Debug)]
pub struct ShardSource {
    api: Arc<dyn KinesisApi>,
    /// Of the stream's shards.
    listing: Arc<SharedListing>,
    progress: Arc<Progress>,
    feed: Feed,
    backoff: Backoff,
    /// Whether to end only once everything is acknowledged.
    settles_before_end: bool,
    /// The stream it belongs to, where that is known.
    stream: Option<Arc<StreamIdentity>>,
    /// What was read and has yet to be handed out, unless it is taken apart.
    stock: Stock,
    budget: ByteBudget,
    /// What that takes of the budget which was read and has yet to be handed out.
    charge: Option<Charge>,
    /// The same, of what is taken apart: all that came with it.
    shared_charge: Option<Arc<Charge>>,
    /// Takes apart what was read, if that is wanted.
    unpacker: Option<Box<Unpacker>>,
    /// If what it has yet to hand out or to take apart brings the shard to its tip: how often that had
    /// been asked for when it was read.
    reads_to_tip: Option<u64>,
    /// When the shard was at its tip by answers without records.
    tip: Tip,
    /// Whether answers say that they are the last.
    ending: Ending,
    /// Whether the shard is closed, and all of it has come.
    is_read: bool,
    /// Whether something has come that is not taken in yet.
    is_in_hand: bool,
    on_data_loss: OnDataLoss,
    /// Where to end, if not with the shard.
    end: Option<ShardEnd>,
    /// Whether that is where it has ended.
    is_complete: bool,
    /// How many listings in a row lack the shard, of those that were asked for as it was not found.
    unlisted: u32,
    /// Why the record that is in doubt was refused.
    refusal: Option<Box<ApiError>>,
}

/// How long the end of a shard should take to be stored.
const STORED_WITHIN: Duration = Duration::from_secs(60);

impl ShardSource {
    /// Reads `shard` from a position on. If that is at or after a record that is not kept any more, it fails
    /// with [`ShardError::DataLoss`].
    pub fn new(api: Arc<dyn KinesisApi>, shard: ShardId, from: PinnedPosition) -> Self {
        let progress = Progress::beginning(shard, from.into(), None, None, Arc::default());
        Self::with_progress(api, progress)
    }

    /// A reader that goes on where `progress` is, and ends only once everything is acknowledged. It shares listings and
    /// the budget with the other shards of the stream.
    pub(crate) fn supervised(
        api: Arc<dyn KinesisApi>,
        progress: Arc<Progress>,
        stream: Arc<StreamIdentity>,
        listing: Arc<SharedListing>,
        budget: ByteBudget,
    ) -> Self {
        Self {
            settles_before_end: true,
            stream: Some(stream),
            ..Self::sharing(api, progress, listing, budget)
        }
    }

    fn with_progress(api: Arc<dyn KinesisApi>, progress: Arc<Progress>) -> Self {
        let listing = Arc::new(SharedListing::new(Arc::clone(&api)));
        Self::sharing(api, progress, listing, ByteBudget::default())
    }

    fn sharing(
        api: Arc<dyn KinesisApi>,
        progress: Arc<Progress>,
        listing: Arc<SharedListing>,
        budget: ByteBudget,
    ) -> Self {
        Self {
            backoff: Backoff::new(progress.seed()),
            feed: Feed::Polling(Box::new(Polling::new(Arc::clone(&api)))),
            listing,
            api,
            progress,
            settles_before_end: false,
            stream: None,
            stock: Stock::default(),
            budget,
            charge: None,
            shared_charge: None,
            unpacker: None,
            reads_to_tip: None,
            tip: Tip::default(),
            ending: Ending::default(),
            is_read: false,
            is_in_hand: false,
            on_data_loss: OnDataLoss::default(),
            end: None,
            is_complete: false,
            unlisted: 0,
            refusal: None,
        }
    }

    /// Has the shard send its records to a consumer, instead of asking for them.
    pub(crate) fn fan_out(self, consumer: Arc<Consumer>) -> Self {
        Self {
            feed: self.feed.by(consumer),
            ..self
        }
    }

    /// If records are asked for, no more bytes than that at once, as far as that can be known.
    pub(crate) fn read_at_most(mut self, bytes: u64) -> Self {
        self.feed.read_at_most(bytes);
        self
    }

    /// What to do if records are missing.
    pub(crate) fn on_data_loss(self, on_data_loss: OnDataLoss) -> Self {
        Self {
            on_data_loss,
            ..self
        }
    }

    /// Ends there, if it is anywhere.
    pub(crate) fn until(self, end: Option<ShardEnd>) -> Self {
        Self { end, ..self }
    }

    /// Takes records apart. `range` is of the hash keys that fall on the shard.
    pub(crate) fn deaggregate(self, deaggregation: Deaggregation, range: HashRange) -> Self {
        Self {
            unpacker: Some(Box::new(Unpacker::new(deaggregation, range))),
            ..self
        }
    }

    /// Takes what it reads from a budget that others share, instead of one of its own.
    pub fn byte_budget(mut self, budget: &ByteBudget) -> Self {
        self.feed.read_at_most(budget.bytes());
        self.budget = budget.clone();
        self
    }

    /// The shard that it reads.
    pub fn shard(&self) -> &ShardId {
        self.progress.shard()
    }

    /// How far everything that it produced is acknowledged without a gap; `None` if nothing is.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        self.progress.checkpoint()
    }

    /// All shards of the stream, if that can be known now.
    async fn list(&self) -> Option<Arc<Vec<Shard>>> {
        self.progress.watch().waits_for_answer("ListShards");
        // Rare, and large.
        Box::pin(self.listing.list()).await.ok()
    }

    /// Takes in what has come.
    fn take_in(&mut self, mut arrival: Arrival, asked: u64) {
        self.progress
            .note_children(arrival.children.iter().map(|child| child.id.clone()));
        self.progress.note(|figures| {
            figures.reads += 1;
            figures.records += arrival.records.len() as u64;
            figures.bytes += arrival.survey.bytes;
            figures.millis_behind_latest = arrival.millis_behind_latest;
        });
        self.is_read = arrival.is_end;
        if let Some(end) = &self.end
            && end.cut(&mut arrival.records)
        {
            self.complete();
        }
        if arrival.records.is_empty() {
            return;
        }
        let now = LazyCell::new(|| self.api.now());
        let [first, last] = [arrival.records.first(), arrival.records.last()].map(|record| {
            let arrived = record.and_then(|record| record.approximate_arrival);
            // A time that is yet to come would never be long ago.
            arrived.map(|moment| moment.min(*now))
        });
        self.progress.note_arrivals(first, last);
        self.tip.left();
        self.progress.enter(Phase::Reading);
        self.reads_to_tip = arrival.reaches_tip().then_some(asked);
        match &mut self.unpacker {
            Some(unpacker) => {
                unpacker.add(arrival.records);
                self.shared_charge = Some(Arc::new(arrival.charge));
            }
            None => {
                self.stock = Stock::of(arrival.records, arrival.survey);
                self.charge = Some(arrival.charge);
            }
        }
    }

    /// Nothing more is to be read.
    fn complete(&mut self) {
        self.is_read = true;
        self.is_complete = true;
    }

    /// Puts records that were read into a batch, up to `most`, and has what becomes of them told to
    /// the progress. Whether there were any.
    fn hand_out(&mut self, most: usize, batch: &mut Batch<Record>) -> bool {
        let Some(portion) = self.stock.take(most) else {
            return false;
        };
        let parts = Vec::from_iter(portion.parts());
        let issued = self.progress.issue(Marked::Whole(portion.numbers));
        batch.append_vec(portion.records);
        let (mut next, mut left) = (issued.first, parts.len());
        for (records, taken) in parts {
            left -= 1;
            let charge = match &mut self.charge {
                Some(charge) if left > 0 || !self.stock.is_empty() => Some(charge.split_off(taken)),
                last => last.take(),
            };
            let book = self.progress.book(&issued, charge);
            batch.track_next(records, book, next);
            next += records as u64;
        }
        if self.stock.is_empty()
            && let Some(asked) = self.reads_to_tip.take()
        {
            self.progress.came_to_tip(asked);
        }
        true
    }

    /// Puts what comes out of records that were read into a batch, up to `most`. Whether anything
    /// did.
    fn unpack(&mut self, most: usize, batch: &mut Batch<Record>) -> Result<bool, Outside> {
        let Some(unpacker) = &mut self.unpacker else {
            return Ok(false);
        };
        let next = self.progress.next_place();
        let (mut findings, mut marks, mut passed) = (Findings::default(), Vec::new(), None);
        let mut outside = None;
        while marks.len() < most {
            match unpacker.unpack(&next, &mut findings) {
                Ok(Some(Unpacked::Event { record, mark })) => {
                    batch.push(record);
                    marks.push(mark);
                    passed = None;
                }
                Ok(Some(Unpacked::Nothing(mark))) => passed = Some(mark),
                Ok(None) => break,
                Err(error) => {
                    outside = Some(error);
                    break;
                }
            }
        }
        let is_unpacked = unpacker.is_empty();
        self.progress
            .note(|figures| figures.findings.add(&findings));
        let has_events = !marks.is_empty();
        if has_events {
            let charge = self.shared_charge.clone();
            let (book, first) = self.progress.hand_out(Marked::Parts(marks), charge);
            batch.track(book, first);
        }
        if let Some(mark) = passed {
            self.progress.pass(mark);
        }
        // What came before it is delivered first. It is met again at the next call.
        if let Some(outside) = outside
            && !has_events
        {
            return Err(outside);
        }
        if is_unpacked {
            self.shared_charge = None;
        }
        if is_unpacked && let Some(asked) = self.reads_to_tip.take() {
            self.progress.came_to_tip(asked);
        }
        Ok(has_events)
    }

    /// Whether all that the shard has was handed out.
    fn is_at_end(&self) -> bool {
        let is_handed_out = self.stock.is_empty();
        let is_unpacked = self.unpacker.as_deref().is_none_or(Unpacker::is_empty);
        self.is_read && is_handed_out && is_unpacked
    }

    /// Waits after an answer without records. Behind the tip there is no reason to.
    async fn rest(
        &mut self,
        millis_behind_latest: Option<u64>,
        asked: u64,
    ) -> Result<(), ShardError> {
        if millis_behind_latest.unwrap_or(0) > 0 {
            self.tip.left();
            self.progress.enter(Phase::Reading);
            return Ok(());
        }
        let voice = Voice {
            at: Instant::now(),
            now: millis_behind_latest.map(|_| self.api.now()),
            asked,
            in_doubt: self.progress.doubt().is_some(),
        };
        if let Some(proven) = self.tip.heard(voice) {
            if let Some(error) = self.settle_doubt_at_tip().await {
                return Err(error);
            }
            self.progress.found_tip(proven.now, asked);
            let end = self.end.as_ref().zip(proven.now);
            if end.is_some_and(|(end, now)| end.is_reached_at_tip(now)) {
                self.complete();
                return Ok(());
            }
        }
        self.feed.rest(&self.progress).await;
        Ok(())
    }

    /// The shard has been read to its end.
    async fn end(&mut self) -> Result<Flow, ShardError> {
        self.progress.enter(Phase::Draining);
        if self.settles_before_end {
            self.settled().await;
            self.refuse_nacked().await?;
            self.retire();
        }
        Ok(Flow::End)
    }

    /// All of it is done, and remains to be stored.
    fn retire(&self) {
        let watch = self.progress.watch();
        watch.waits_for(WaitingFor::CheckpointStore, STORED_WITHIN);
        self.progress.enter(self.last_phase());
    }

    /// Waits until nothing is on its way any more.
    async fn settled(&self) {
        let watch = self.progress.watch();
        watch.waits_for(WaitingFor::Acknowledgements, None);
        self.progress.settled().await;
    }

    fn last_phase(&self) -> Phase {
        match self.is_complete {
            true => Phase::Complete,
            false => Phase::Finished,
        }
    }

    /// Fails if records were nacked, once nothing is on its way any more: what is read again must
    /// not overtake it.
    async fn refuse_nacked(&self) -> Result<(), ShardError> {
        if self.progress.nacked() == 0 {
            return Ok(());
        }
        self.settled().await;
        Err(ShardError::Nacked {
            shard: self.shard().clone(),
            records: self.progress.nacked(),
        })
    }
}

impl ShardSource {
    /// Reads until there is something to hand out. Safe to cancel.
    async fn read_on(
        &mut self,
        demand: Demand,
        batch: &mut Batch<Record>,
    ) -> Result<Flow, ShardError> {
        if mem::take(&mut self.is_in_hand) {
            // That call was given up while it had what has come in hand, and it would not come again.
            self.feed.start_over(Remedy::Retry);
        }
        loop {
            let most = self.progress.may_hand_out().await.min(demand.get());
            self.refuse_nacked().await?;
            if self.hand_out(most, batch) {
                return Ok(Flow::More);
            }
            match self.unpack(most, batch) {
                Ok(true) => return Ok(Flow::More),
                Ok(false) => {}
                Err(Outside { sequence_number }) => {
                    return Err(ShardError::OutsideRange {
                        shard: self.shard().clone(),
                        sequence_number,
                    });
                }
            }
            if self.is_at_end() {
                return self.end().await;
            }
            self.wait_to_prove_end().await;
            let asked = self.progress.asked();
            let next = self.feed.next(&self.progress, &self.budget, demand.get());
            let come = next.await.map(Box::new);
            self.deal_with(come, asked).await?;
        }
    }

    /// Deals with what has come, or why nothing has. By itself, so that its future has its place where that of the
    /// next read has its.
    async fn deal_with(
        &mut self,
        come: Result<Box<Arrival>, ApiError>,
        asked: u64,
    ) -> Result<(), ShardError> {
        let mut arrival = match come {
            Ok(arrival) => arrival,
            // Rare, and large.
            Err(error) => return Box::pin(self.cope(error)).await,
        };
        self.is_in_hand = true;
        if !self.follows_on(&mut arrival).await {
            self.is_in_hand = false;
            return Ok(());
        }
        let end = self.judge_end(&mut arrival).await;
        if !matches!(end, End::Denied(_)) {
            self.backoff.succeeded();
            let has_records = !arrival.records.is_empty();
            let watch = self.progress.watch();
            watch.answered(has_records, arrival.millis_behind_latest);
        }
        let lost = self.settle_doubt(&arrival).await;
        let lost = lost.or_else(|| self.settle_start(&arrival));
        if let Some(error) = lost {
            return Err(error);
        }
        let idles = arrival.records.is_empty() && !arrival.says_end;
        let behind = arrival.millis_behind_latest;
        self.take_in(*arrival, asked);
        self.is_in_hand = false;
        if let End::Denied(wait) = end {
            self.retry_after(wait).await;
        }
        if idles {
            self.rest(behind, asked).await?;
        }
        Ok(())
    }
}

impl Producer for ShardSource {
    type Event = Record;
    type Error = ShardError;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<Record>,
    ) -> Result<Flow, ShardError> {
        let progress = Arc::clone(&self.progress);
        let read = loop {
            if progress.is_sought() {
                self.seek().await;
            }
            select! {
                biased;
                () = progress.sought() => {}
                flow = self.read_on(demand, batch) => break flow,
            }
        };
        match &read {
            Ok(Flow::More) => progress.watch().waits_for(WaitingFor::Demand, None),
            Ok(Flow::End) => {}
            Err(_) => progress.watch().waits_for(WaitingFor::Restart, None),
        }
        read
    }

    async fn finish(&mut self) -> Result<(), ShardError> {
        if self.progress.phase().is_done() {
            // That was said at its end, and may be stored by now.
            return Ok(());
        }
        self.settled().await;
        if self.is_at_end() && self.progress.nacked() == 0 {
            self.retire();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

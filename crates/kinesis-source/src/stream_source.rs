use std::{num::NonZeroU32, sync::Arc, time::Duration};

use stage_core::{Group, Lane, Outlet, Pipeline, Restart};

use crate::{
    ByteBudget, CheckpointStore, Deaggregation, EndPosition, FanOut, KinesisApi,
    MemoryCheckpointStore, OnDataLoss, OnShardFailure, Record, StartPosition, StreamHandle,
    coordinator::Coordinator,
    read_size::MOST_BYTES,
    reporter::Reporter,
    source_watch::SourceWatch,
    stream_status::{Board, Inquiries},
};

/// Reads all shards of a stream, those that come and go included.
///
/// Added to a pipeline, it becomes one stage that lists the shards and one for each shard that is
/// being read, named `orders/shardId-000000000003`. A shard's reader that fails or panics is made
/// anew. A shard that has been read to its end, and all of it acknowledged, is followed by its
/// children: the records of a key stay in order over splits and merges.
///
/// What the pipeline's sinks have taken in is remembered in a [`CheckpointStore`], so that the next
/// process goes on where this one had finished. Without one, a stream is read from its start each
/// time.
///
/// ```
/// use kinesis_source::{MemoryCheckpointStore, StartPosition, StreamSource};
/// # use kinesis_source::{KinesisApi, Record};
/// # use stage_core::{Consumer, Pipeline, PipelineError, Window};
/// # use std::sync::Arc;
///
/// # async fn read(
/// #     api: Arc<dyn KinesisApi>,
/// #     sink: impl Consumer<Record>,
/// # ) -> Result<(), PipelineError> {
/// let mut pipeline = Pipeline::new();
/// let (orders, _handle) = StreamSource::new("orders", api)
///     .start(StartPosition::TrimHorizon)
///     .checkpoints(Arc::new(MemoryCheckpointStore::new()))
///     .add_to(&mut pipeline);
/// pipeline.consume(sink, orders.subscribe(Window::new(1_000)));
/// pipeline.run().await
/// # }
/// ```
///
/// # Windows
///
/// A stage that subscribes has a subscription of its own to each shard: with a window of 1,000 and
/// eight shards, 8,000 records may be on their way to it. How many bytes that may be, of all shards
/// together, is the [`ByteBudget`]'s to say.
///
/// # When records are not taken in
///
/// A record that is nacked while the pipeline goes on is read again, with all that came after it in
/// its shard, by a fresh reader. If that happens too often (see [`restarts`](Self::restarts)), the shard
/// is parked: about once a minute it is read again from there, and the others are read on. A checkpoint
/// never passes a record that is not acknowledged. [`on_shard_failure`](Self::on_shard_failure) has the
/// pipeline fail instead.
///
/// # When it is stopped
///
/// What was handed out is settled first, which is the sinks' to do, and a handler may never return. So all of
/// the end is bounded: by 25 s, which is less than Kubernetes gives a process, unless the pipeline is
/// [told](stage_core::Pipeline::drain_within) otherwise. What is not settled by then is cut off, and comes
/// again with the next source that has the same store; the pipeline's
/// [report](stage_core::Pipeline::run_reporting) says of each stage how much that was, and
/// [`StreamHandle::drain_report`] of each shard how far it came, and what is stored.
/// Sinks that take longer for what they have in hand need more time, or a smaller window. The end of a source
/// [by itself](Self::until) is no stop: its last records may take as long as they do, and which
/// shards [wait](Self::settle_within) is told.
///
/// Then the last checkpoints are stored: that is tried again if it fails, and takes 10 s at most, also with a
/// store that hangs. So does taking the consumer of [fan-out](Self::fan_out) away, if that is wanted; and no
/// longer than there is time: that it is left there is [told](crate::SourceEvent::ConsumerLeft), and no error.
#[derive(Debug)]
#[must_use = "a source does nothing until it is added to a pipeline"]
pub struct StreamSource {
    pub(crate) name: String,
    pub(crate) api: Arc<dyn KinesisApi>,
    pub(crate) start: StartPosition,
    pub(crate) until: Option<EndPosition>,
    pub(crate) store: Arc<dyn CheckpointStore>,
    pub(crate) checkpoint_every: Duration,
    pub(crate) checkpoint_after: u64,
    pub(crate) unsaved_at_most: u64,
    pub(crate) settle_within: Duration,
    pub(crate) discover_every: Duration,
    pub(crate) restarts: Restart,
    pub(crate) deaggregation: Option<Deaggregation>,
    pub(crate) fan_out: Option<FanOut>,
    pub(crate) on_data_loss: OnDataLoss,
    pub(crate) on_shard_failure: OnShardFailure,
    pub(crate) read_at_most: u64,
    pub(crate) records_per_second: Option<NonZeroU32>,
    pub(crate) metrics_by_shard: bool,
    pub(crate) byte_budget: ByteBudget,
}

/// How often checkpoints are stored.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// More often than that is no use, and a loop that does nothing else.
const CHECKPOINT_EVERY_LEAST: Duration = Duration::from_millis(10);

/// How many records of a shard may be handed out after its checkpoint while none can be stored, and be
/// acknowledged beyond one that is not.
const UNSAVED_AT_MOST: u64 = 10_000;

/// How long a shard's oldest record in hand may take to be settled before that is told.
const SETTLE_WITHIN: Duration = Duration::from_secs(120);

/// How long a pipeline may drain that is not told: a process in a container is killed after 30 s, and should
/// have stored and said by then how far it came.
const DRAIN_WITHIN: Duration = Duration::from_secs(25);

/// How often shards are listed when there is no other reason to. Children of a shard that ends are
/// looked for at once.
const DISCOVER_EVERY: Duration = Duration::from_secs(60);

/// All sources of an account share the calls that may be made, and one for each page is made.
const DISCOVER_EVERY_LEAST: Duration = Duration::from_secs(1);

/// As good as never, and a moment that is so far ahead can still be counted.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// How often a shard's reader may be made anew, and within what span.
const RESTARTS: (usize, Duration) = (3, Duration::from_secs(600));

impl StreamSource {
    /// Reads the stream behind `api`. `name` names its stages: best the stream's own name.
    pub fn new(name: impl Into<String>, api: Arc<dyn KinesisApi>) -> Self {
        Self {
            name: name.into(),
            api,
            start: StartPosition::default(),
            until: None,
            store: Arc::new(MemoryCheckpointStore::new()),
            checkpoint_every: CHECKPOINT_EVERY,
            checkpoint_after: u64::MAX,
            unsaved_at_most: UNSAVED_AT_MOST,
            settle_within: SETTLE_WITHIN,
            discover_every: DISCOVER_EVERY,
            restarts: Restart::new(RESTARTS.0, RESTARTS.1),
            deaggregation: None,
            fan_out: None,
            on_data_loss: OnDataLoss::default(),
            on_shard_failure: OnShardFailure::default(),
            read_at_most: MOST_BYTES,
            records_per_second: None,
            metrics_by_shard: false,
            byte_budget: ByteBudget::default(),
        }
    }

    /// Where to start if there are no checkpoints; the trim horizon unless this is called.
    pub fn start(self, start: StartPosition) -> Self {
        Self { start, ..self }
    }

    /// Where to end, and the pipeline with it; never unless this is called, as a stream has no end of
    /// its own.
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use kinesis_source::{EndPosition, KinesisApi, Record, StartPosition, StreamSource};
    /// # use stage_core::{Consumer, Pipeline, PipelineError, Window};
    /// # async fn replay(
    /// #     api: Arc<dyn KinesisApi>,
    /// #     sink: impl Consumer<Record>,
    /// # ) -> Result<(), PipelineError> {
    /// // The last hour, once more.
    /// let now = api.now();
    /// let source = StreamSource::new("orders", api)
    ///     .start(StartPosition::AtTimestamp(now.minus(Duration::from_secs(3_600))))
    ///     .until(EndPosition::BeforeTimestamp(now));
    /// let mut pipeline = Pipeline::new();
    /// let (orders, _) = source.add_to(&mut pipeline);
    /// pipeline.consume(sink, orders.subscribe(Window::new(1_000)));
    /// pipeline.run().await
    /// # }
    /// ```
    ///
    /// Each shard ends by itself, also those that it was split or merged into. Where it ended is its
    /// checkpoint: a later source with the same store goes on there.
    pub fn until(self, end: EndPosition) -> Self {
        Self {
            until: Some(end),
            ..self
        }
    }

    /// Where to remember what is finished; in memory unless this is called.
    pub fn checkpoints(self, store: Arc<dyn CheckpointStore>) -> Self {
        Self { store, ..self }
    }

    /// How often to store checkpoints; each second unless this is called. They are also stored when
    /// a shard ends and when the pipeline does, and [by number](Self::checkpoint_after) if wanted.
    /// That is every 10 ms at most; [`Duration::MAX`] is never.
    pub fn checkpoint_every(self, interval: Duration) -> Self {
        Self {
            checkpoint_every: interval.clamp(CHECKPOINT_EVERY_LEAST, NEVER),
            ..self
        }
    }

    /// Stores checkpoints also each time that so many records were acknowledged, of all shards
    /// together, however soon that is; only by time unless this is called. It bounds what is repeated
    /// after a crash where records come fast.
    pub fn checkpoint_after(self, records: u64) -> Self {
        Self {
            checkpoint_after: records.max(1),
            ..self
        }
    }

    /// How far a shard may go on while checkpoints cannot be stored, in records handed out since its
    /// last one; 10,000 unless this is called. Then it is not read on until a checkpoint is stored,
    /// which is tried all the time. So an outage of the store costs speed, not memory, and not hours
    /// of repetition for whoever goes on after a crash.
    ///
    /// It is also how many records of a shard may be acknowledged beyond one that is not, as a checkpoint
    /// never passes that one: a sink that keeps a receipt and acks all others is waited for after so many,
    /// until it is settled. So a crash repeats no more than that and what is on its way.
    pub fn unsaved_at_most(self, records: u64) -> Self {
        Self {
            unsaved_at_most: records.max(1),
            ..self
        }
    }

    /// How long the oldest record that a shard has handed out may take to be settled before that is told as
    /// [stuck](crate::SourceEvent::Stuck), and by [`StreamHandle::explain`], as waiting for
    /// [receipts](crate::WaitingFor::Receipts); two minutes unless this is called. It finds a handler that
    /// never returns, and a receipt that somebody keeps. The time is counted from when the record has become
    /// the oldest, give or take five seconds; a sink that is merely slow settles one after the other, and is
    /// not told. Nothing else comes of it.
    pub fn settle_within(self, deadline: Duration) -> Self {
        Self {
            settle_within: deadline,
            ..self
        }
    }

    /// How often to list the shards, besides after the end of one; each minute unless this is
    /// called. That is every second at most; [`Duration::MAX`] is never.
    pub fn discover_every(self, interval: Duration) -> Self {
        Self {
            discover_every: interval.clamp(DISCOVER_EVERY_LEAST, NEVER),
            ..self
        }
    }

    /// How often a shard's reader may be made anew, after records were nacked or it has failed, before the
    /// shard is parked; three times in ten minutes unless this is called. Once it goes on, that is
    /// counted anew. A position that Kinesis refuses stops the shard at once
    /// ([`ShardError::InvalidPosition`](crate::ShardError)): no fresh reader changes that.
    pub fn restarts(self, restarts: Restart) -> Self {
        Self { restarts, ..self }
    }

    /// What to do when a shard cannot go on; it halts, and the others are read on, unless this is called.
    pub fn on_shard_failure(self, on_shard_failure: OnShardFailure) -> Self {
        Self {
            on_shard_failure,
            ..self
        }
    }

    /// Takes apart the records that the Kinesis Producer Library aggregated; they are left as they
    /// are unless this is called.
    ///
    /// ```
    /// # use kinesis_source::{Deaggregation, KinesisApi, OutsideRange, StreamSource};
    /// # fn source(api: std::sync::Arc<dyn KinesisApi>) -> StreamSource {
    /// StreamSource::new("orders", api)
    ///     .deaggregate(Deaggregation::new().outside_range(OutsideRange::Deliver))
    /// # }
    /// ```
    pub fn deaggregate(self, deaggregation: Deaggregation) -> Self {
        Self {
            deaggregation: Some(deaggregation),
            ..self
        }
    }

    /// What to do when records were lost, because the stream did not keep them until they were read;
    /// the shard [stops](Self::on_shard_failure) unless this is called. [`StreamHandle::data_losses`] has
    /// what was lost.
    pub fn on_data_loss(self, on_data_loss: OnDataLoss) -> Self {
        Self {
            on_data_loss,
            ..self
        }
    }

    /// How many bytes one read of a shard may bring, about; 10 MiB, the most that the service gives,
    /// unless this is called. It is a matter of memory: what a read brings is held at once, be it asked
    /// for or to be taken apart yet. The service counts records, not bytes, so that the last ones' mean
    /// size decides how many are asked for; a larger record passes alone.
    ///
    /// Less than about 5 MiB costs speed while a shard is behind: the way to the service and back, for
    /// each read, is time in which nothing is read.
    pub fn read_at_most(self, bytes: u64) -> Self {
        Self {
            read_at_most: bytes,
            ..self
        }
    }

    /// How many records a second may be read of a shard by GetRecords, by all who read it together; any number
    /// that comes to 2 MiB unless this is called.
    ///
    /// The [API reference] counts bytes alone, and one page of the service's documents has 2,000 records a second
    /// besides. Where that holds, small records are read a little slower for not knowing: each time that too many
    /// have come the service refuses a few calls, which loses nothing.
    ///
    /// [API reference]: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html
    pub fn records_per_second(self, records: NonZeroU32) -> Self {
        Self {
            records_per_second: Some(records),
            ..self
        }
    }

    /// Gives the [numbers](crate::metric_names) of each shard to the metrics facade, too, labelled by its
    /// name; only those of the stream as a whole unless this is called. A stream that is split again and
    /// again has ever more shards, and recorders forget none, unless they are told to forget what is not brought up to
    /// date any more: those of a shard that is over are not.
    pub fn metrics_by_shard(self) -> Self {
        Self {
            metrics_by_shard: true,
            ..self
        }
    }

    /// Takes what is read from a budget that other sources may share: see there. Unless this is called,
    /// the source has one of its own, of 256 MiB.
    pub fn byte_budget(self, budget: &ByteBudget) -> Self {
        Self {
            byte_budget: budget.for_source(),
            ..self
        }
    }

    /// Has the shards send their records to a consumer of enhanced fan-out; they are asked for them
    /// unless this is called.
    ///
    /// The consumer is found, or registered, before anything is read.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use kinesis_source::{Deregistration, FanOut, KinesisApi, KinesisFanOutApi, StreamSource};
    /// # fn source<A: KinesisApi + KinesisFanOutApi>(api: Arc<A>) -> StreamSource {
    /// let fan_out = FanOut::new(api.clone(), "audit").deregister(Deregistration::IfRegisteredHere);
    /// StreamSource::new("orders", api).fan_out(fan_out)
    /// # }
    /// ```
    pub fn fan_out(self, fan_out: FanOut) -> Self {
        Self {
            fan_out: Some(fan_out),
            ..self
        }
    }

    /// Adds the source to a pipeline: where to subscribe to all its shards, and a handle that tells
    /// how they are.
    pub fn add_to(self, pipeline: &mut Pipeline) -> (Outlet<Record>, StreamHandle) {
        let (group, outlet) = pipeline.group();
        (outlet, self.join(pipeline, &group))
    }

    /// Adds the source to a pipeline, with its records divided into `lanes` lanes by their keys: the
    /// lanes in order, and a handle that tells how the shards are.
    ///
    /// Records of one partition key share a lane, and stay in order there. Lanes are worked on
    /// independently, each at its own pace; and still no checkpoint passes a record that is not
    /// acknowledged, on whichever lane it is. So more consumers than there are shards can be busy, and
    /// one that is slow holds up its own lane:
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use kinesis_source::{KinesisApi, Record, StreamSource};
    /// # use stage_core::{Consumer, Pipeline, PipelineError, Window};
    /// # async fn run<C: Consumer<Record>>(
    /// #     api: Arc<dyn KinesisApi>,
    /// #     worker: impl Fn() -> C,
    /// # ) -> Result<(), PipelineError> {
    /// let mut pipeline = Pipeline::new();
    /// let (lanes, _handle) = StreamSource::new("orders", api).add_lanes_to(&mut pipeline, 16);
    /// for lane in lanes {
    ///     pipeline.consume(worker(), lane.subscribe(Window::new(100)));
    /// }
    /// pipeline.run().await
    /// # }
    /// ```
    ///
    /// Each shard divides its own records; a lane is that of all shards. What is read of a shard at
    /// once is what its lanes ask for together, and records wait for their lane without holding up
    /// others, until as many wait as the lanes have asked for. So a lane that takes in nothing for
    /// ever brings all to a halt, in bounded memory.
    ///
    /// Which lane a key falls on is [fixed](stage_core::protocol::lane_for). User records of an
    /// [aggregated](Deaggregation) record go by their own keys. Records without a key, of a stream that
    /// distributes them by itself, have no order to keep, and are spread.
    ///
    /// # Panics
    ///
    /// If `lanes` is zero.
    pub fn add_lanes_to(
        self,
        pipeline: &mut Pipeline,
        lanes: usize,
    ) -> (Vec<Lane<Record>>, StreamHandle) {
        let lane_of = move |event: &Record| Some(event.lane(lanes));
        let (group, all) = pipeline.partitioned_group(lanes, lane_of);
        (all, self.join(pipeline, &group))
    }

    fn join(self, pipeline: &mut Pipeline, group: &Group<Record>) -> StreamHandle {
        let board = Arc::<Board>::default();
        let inquiries = Inquiries::new();
        let watch = Arc::new(SourceWatch::new(Reporter::of(&self.name)));
        let handle = StreamHandle {
            board: Arc::clone(&board),
            inquiries: Arc::clone(&inquiries),
            watch: Arc::clone(&watch),
            budget: self.byte_budget.clone(),
        };
        let name = self.name.clone();
        let coordinator = Coordinator::new(
            self,
            group.clone(),
            pipeline.handle(),
            board,
            inquiries,
            watch,
        );
        pipeline.stage(name).join(group, coordinator);
        pipeline.drain_by_default(DRAIN_WITHIN);
        handle
    }
}

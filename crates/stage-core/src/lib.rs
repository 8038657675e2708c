//! Stages that pass events on only as fast as the next stage asks for them.
//!
//! A [`Producer`] makes events, a [`Transform`] turns events into other events, and a [`Consumer`]
//! takes them in. Consumers *ask*; producers never send more than was asked. That is the whole of
//! backpressure here: no queue in a pipeline can outgrow its subscription's [`Window`].
//!
//! ```
//! use stage_core::{Batch, Consumer, Demand, Flow, Pipeline, PipelineError, Producer, Window};
//! use std::convert::Infallible;
//!
//! /// Counts up to `until`.
//! struct Counter { next: u64, until: u64 }
//!
//! impl Producer for Counter {
//!     type Event = u64;
//!     type Error = Infallible;
//!
//!     async fn produce(&mut self, demand: Demand, batch: &mut Batch<u64>) -> Result<Flow, Infallible> {
//!         let first = self.next;
//!         self.next = self.until.min(first + demand.get() as u64);
//!         batch.extend(first..self.next);
//!         Ok(if self.next < self.until { Flow::More } else { Flow::End })
//!     }
//! }
//!
//! /// Prints what it is given.
//! struct Print;
//!
//! impl Consumer<u64> for Print {
//!     type Error = Infallible;
//!
//!     async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
//!         println!("{batch:?}");
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), PipelineError> {
//! let mut pipeline = Pipeline::new();
//! let numbers = pipeline.produce(Counter { next: 0, until: 100 });
//! pipeline.consume(Print, numbers.subscribe(Window::new(10)));
//! pipeline.run().await
//! # }
//! ```
//!
//! # How demand flows
//!
//! In the example, the consumer's window is ten. When the pipeline starts, ten events are asked
//! for; the counter is called with a demand of ten and makes ten. They arrive together, and the
//! consumer is given them in two portions of five: a window of ten asks again at half of it, and
//! so takes events in by halves. After each portion it asks for five more. So the counter works on
//! the next five while the consumer is busy with the last five, and there are never more than ten
//! numbers between them, however slow the consumer is.
//!
//! Demand that cannot be met at once is remembered by the producer's stage, not by the producer: it
//! calls [`Producer::produce`] again until everything asked for has been given.
//!
//! A window counts events. Where they differ much in size, [`Subscription::bytes`] bounds their weight, too.
//!
//! # What becomes of events
//!
//! A source that has to know when an event has been dealt with, to move a checkpoint say,
//! [tracks](Batch::track) the events it makes. Each is then acked or nacked exactly once: acked when
//! the consumer that got it, or all that was made of it by transforms, succeeds; nacked when a stage
//! fails, panics or is dropped with the event in hand. A [`Watermark`](protocol::Watermark) turns
//! acks in any order into the position up to which everything is done. Events that nobody tracks
//! cost nothing for it.
//!
//! # What an event costs
//!
//! From one producer to one consumer, a `u64`: in instructions (counted by callgrind), and in
//! nanoseconds on one thread (the least of many rounds of one run on a shared machine with an AMD EPYC,
//! November 2026, rustc 1.95, tokio 1.54). Beside it the same through tokio's bounded channel, which holds
//! as many events as the window, one by one, and as vectors of half a window.
//!
//! | window | instructions | tokio's channel | in vectors | nanoseconds | tokio's channel | in vectors |
//! |---|---|---|---|---|---|---|
//! | 1000 | 12 | 544 | 13 | 0.9 | 48 | 0.9 |
//! | 10 | 226 | 653 | 292 | 14 | 56 | 25 |
//! | 1 | 1592 | 1836 | 2059 | 95 | 142 | 181 |
//!
//! Whoever wakes another task pays for that, and a window of a thousand does it once in five hundred
//! events. In the example, where five go together, an event costs what it does in the second line; so
//! wherever events are small and come fast, the window is to be a few hundred. With two threads the times
//! are 1.0, 17 and 130 ns.
//!
//! An ack for each event makes it 1.2 times as much at a window of a thousand, and a
//! [`Tracker`] 2.5 times. Once a pipeline has warmed up, nothing is allocated, but for one small
//! thing for each batch that is broadcast, and the storage of batches of more than 32 KiB, which is not
//! kept. A stage with its link takes 3.1 KB before anything flows.
//!
//! To see it on another machine, in the repository:
//!
//! ```text
//! cargo run --release -p benches --bin ratios -- a1000 a10 a1 receipts
//! benches/icount.sh a1000 a10 a1
//! ```
//!
//! `docs/speed.md` there says what else was measured, and how; also where others are faster.
//!
//! # Ready-made stages
//!
//! Much needs no type of one's own:
//!
//! | | |
//! |---|---|
//! | producers | [`from_iter`], [`from_stream`], [`from_try_stream`], [`producer_fn`], [`push_source`] |
//! | transforms, event by event | [`map`], [`try_map`], [`filter`], [`filter_map`], [`flat_map`]; [`map_async`], which waits |
//! | transforms of batches | [`transform_fn`], [`batching`] by key, size and time |
//! | consumers | [`for_each`], [`for_each_async`], [`consumer_fn`] |
//! | around a producer | [`restarting`], [`rate_limited`] |
//! | of any type | [`BoxProducer`], [`BoxTransform`], [`BoxConsumer`] |
//!
//! # Steps that need no task
//!
//! A transform has a task and a window: it works while the stages around it do, and may wait. What is done
//! at once with one event after the other, and costs little, is a [`Step`], and goes into the task of a stage
//! that is there anyway, [behind](Producer::then) a producer or a transform, or [before](Consumer::after) a
//! consumer:
//!
//! ```
//! use stage_core::{Consumer, Pipeline, PipelineError, Producer, Window, filter, for_each, from_iter, map};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), PipelineError> {
//! let mut pipeline = Pipeline::new();
//! let odd = from_iter(0..100_u64).then(filter(|n: &u64| n % 2 == 1)).then(map(|n: u64| n * n));
//! let odd = pipeline.produce(odd);
//! let print = for_each(|line: String| println!("{line}")).after(map(|n: u64| n.to_string()));
//! pipeline.consume(print, odd.subscribe(Window::new(100)));
//! pipeline.run().await
//! # }
//! ```
//!
//! [Receipts](Step#receipts) go by event, as with transforms. Several in a row are one loop over a batch, and one
//! [may say](Step::one_for_one) that it makes one of each, for the compiler to make the most of it.
//!
//! # When a stage fails
//!
//! Unless told otherwise, the pipeline stops. [`restarting`], [`restarting_consumer`] and
//! [`restarting_transform`] make a fresh stage in place of one that failed. [`resilient`] and
//! [`resilient_transform`] say what becomes of the events that a stage failed on: tried again,
//! halved to find the bad ones, and at last kept elsewhere, skipped or left to stop the pipeline.
//!
//! # Stopping
//!
//! A pipeline ends when its producers do and everything has been taken in. [`Pipeline::run_until`]
//! stops the producers early and drains the rest. A stage that fails or panics does the same, and
//! is named in the [`PipelineError`]. Dropping the future of `run` stops everything where it is.
//!
//! # More
//!
//! The [guide] has a page each on demand,
//! dispatchers, receipts, supervision, writing a source and testing a stage, and a table for those
//! who come from GenStage, Broadway or tokio-stream.
//!
//! # How it is built
//!
//! [`protocol`] holds the accounting: plain state machines with no I/O, no clock and no `async`.
//! Everything else is a thin tokio shell that carries their decisions out; its three loops are in
//! `stage.rs`.

// What is written as tokio's from here on is shuttle's.
#[cfg(shuttle)]
extern crate shuttle_tokio as tokio;

#[cfg(any(doc, doctest))]
pub mod guide;
pub mod protocol;
pub mod testing;

mod after;
mod assemble;
mod batch;
mod batching;
mod boxed;
mod builder;
mod change;
mod consumer;
mod crew;
mod dead_letter;
mod desk;
mod doorbell;
mod error;
mod event_stream;
mod events;
mod failure;
mod filter;
mod flat_map;
mod for_each;
mod from_iter;
mod from_stream;
mod functions;
mod group;
mod handle;
mod held_back;
mod host;
mod in_hand;
mod inbox;
mod intake;
mod lanes;
mod last_resort;
mod line;
mod link;
mod lives;
mod map;
mod meter;
mod names;
mod on_failure;
mod outbox;
mod outlet;
mod pace;
mod panic;
mod passing;
mod pipeline;
mod pool;
mod producer;
mod push;
mod rate;
mod receipt;
mod relief;
mod report;
mod resilient;
mod resilient_transform;
mod restart;
mod restarting_consumer;
mod restarting_transform;
mod running;
mod runtime;
mod salvage;
mod sampler;
mod scale;
mod seat;
mod slot;
mod spares;
mod stage;
mod stage_task;
mod stand_in;
mod status;
mod step;
mod subscription;
mod sync;
mod tasks;
mod then;
mod tracker;
mod transform;
mod trial;
mod weaks;

pub use after::After;
pub use batch::{Batch, DrainWithReceipts};
pub use batching::{Batching, KeyedBatch, batching};
pub use boxed::{BoxConsumer, BoxProducer, BoxTransform};
pub use builder::{As, Dispatching, StageBuilder, ToAll, ToOne};
pub use consumer::Consumer;
pub use dead_letter::{DeadLetter, DeadLetterError, DeadLetters, dead_letter};
pub use error::{BoxError, PipelineError};
pub use event_stream::{EventStream, ReceiptStream};
pub use filter::{filter, filter_map};
pub use flat_map::flat_map;
pub use for_each::{for_each, for_each_async};
pub use from_iter::from_iter;
pub use from_stream::{from_stream, from_try_stream};
pub use functions::{consumer_fn, producer_fn, transform_fn};
pub use group::{AddError, Group};
pub use handle::{LateStage, LookupError, PipelineHandle};
pub use in_hand::InHand;
pub use intake::{Intake, IntakeError};
pub use lanes::LaneBuilder;
pub use last_resort::{Failure, LastResort, Skip, Skipped, Stop};
pub use map::{map, map_async, try_map};
pub use meter::StageState;
pub use on_failure::{FailurePolicy, OnFailure};
pub use outlet::{Lane, Outlet};
pub use pipeline::Pipeline;
pub use pool::{TaskPool, pool};
pub use producer::{Flow, Producer};
pub use protocol::{Children, Demand, End, Generation, Mode, Restart, Window, WindowError};
pub use push::{PushHandle, PushSink, PushSource, Pushed, SendError, SourceClosed, push_source};
pub use rate::{Quota, RateHandle, RateLimited, rate_limited};
pub use receipt::{Acknowledge, Outcome, Receipt};
pub use report::{DrainReport, StageReport};
pub use resilient::{Resilient, resilient};
pub use resilient_transform::{ResilientTransform, resilient_transform};
pub use restart::{Restarting, restarting, restarting_producer};
pub use restarting_consumer::{RestartingConsumer, restarting_consumer};
pub use restarting_transform::{RestartingTransform, restarting_transform};
pub use status::{PipelineStatus, StageKind, StageStatus, SubscriptionStatus};
pub use step::Step;
pub use subscription::{AskError, Asking, Subscription, SubscriptionHandle, SubscriptionInfo};
pub use then::Then;
pub use tracker::{Resume, Tracker};
pub use transform::Transform;

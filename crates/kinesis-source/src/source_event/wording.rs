//! Events in words.

use std::fmt;

use super::{SourceEvent, StreamEnd};

impl fmt::Display for SourceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StreamOpened {
                shards,
                checkpoints,
            } => write!(
                f,
                "stream opened: {shards} shards, {checkpoints} with checkpoints"
            ),
            Self::OpeningFailing { .. } => f.write_str("stream cannot be opened yet; trying again"),
            Self::StreamEnded { end } => write!(f, "stream is not read any more: {end}"),
            Self::ListingFailing { .. } => f.write_str("shards cannot be listed; reading on"),
            Self::ListingRecovered { failures } => {
                write!(f, "shards are listed again, after {failures} failures")
            }
            Self::ListingIncomplete { missing, holes } => write!(
                f,
                "the listing lacks shards ({}, and the hash keys of {} ranges); listing again",
                Listed(missing),
                holes.len()
            ),
            Self::ListingComplete => f.write_str("the listing is complete again"),
            Self::CheckpointsFailing { reason } => {
                write!(f, "checkpoints are not stored; trying on: {reason}")
            }
            Self::CheckpointsRecovered { failures } => {
                write!(f, "checkpoints are stored again, after {failures} failures")
            }
            Self::ConsumerActive {
                consumer,
                registered_here,
            } => {
                let how = if *registered_here {
                    "registered"
                } else {
                    "found"
                };
                write!(f, "consumer {consumer} was {how} and is active")
            }
            Self::ConsumerDeregistered { consumer } => {
                write!(f, "consumer {consumer} was deregistered")
            }
            Self::ConsumerLeft { consumer, .. } => write!(
                f,
                "consumer {consumer} cannot be deregistered; it goes on costing"
            ),
            Self::ShardDiscovered { shard, parents } => {
                write!(
                    f,
                    "shard `{shard}` is new; its parents: {}",
                    Listed(parents)
                )
            }
            Self::ShardStarted { shard, from } => write!(f, "shard `{shard}` is read {from}"),
            Self::ShardSought { shard, to } => write!(f, "shard `{shard}` is read on {to}"),
            Self::ShardRestarted {
                shard,
                restarts,
                nacked,
            } => write!(
                f,
                "the reader of shard `{shard}` was made anew, the {restarts}. time; {nacked} records \
                 were nacked"
            ),
            Self::ShardCaughtUp { shard } => write!(f, "shard `{shard}` was read to its tip"),
            Self::ShardBehind { shard, behind } => {
                write!(
                    f,
                    "shard `{shard}` is {} s behind its tip",
                    behind.as_secs()
                )
            }
            Self::ThrottlingBegan { shard } => {
                write!(
                    f,
                    "calls for shard `{shard}` are refused: more is asked of it than it allows"
                )
            }
            Self::ThrottlingEnded { shard, refusals } => write!(
                f,
                "calls for shard `{shard}` are not refused any more; {refusals} were"
            ),
            Self::ShardFailing { shard, .. } => {
                write!(f, "shard `{shard}` cannot be read; trying again")
            }
            Self::ShardRecovered {
                shard,
                failures,
                after,
            } => write!(
                f,
                "shard `{shard}` is read again, after {failures} failures in {} s",
                after.as_secs()
            ),
            Self::ShardParked {
                shard,
                reason,
                probe_every,
            } => write!(
                f,
                "shard `{shard}` is parked: {reason}; it is tried about every {} s from now on",
                probe_every.as_secs()
            ),
            Self::ShardResumed {
                shard,
                failures,
                after,
            } => write!(
                f,
                "shard `{shard}`, which was parked, is read again, after {failures} failures in {} s",
                after.as_secs()
            ),
            Self::Stuck {
                shard,
                state,
                waiting_for,
                since,
            } => write!(
                f,
                "shard `{shard}` ({state}) is stuck: it has waited for {waiting_for} for {} s",
                since.as_secs()
            ),
            Self::Unstuck {
                shard,
                waiting_for,
                after,
            } => write!(
                f,
                "shard `{shard}` goes on, after it had waited for {waiting_for} for {} s",
                after.as_secs()
            ),
            Self::SourceStuck { waiting_for, since } => write!(
                f,
                "the source is stuck: it has waited for {waiting_for} for {} s; no new shards are \
                 found meanwhile, and no checkpoints stored",
                since.as_secs()
            ),
            Self::SourceUnstuck { waiting_for, after } => write!(
                f,
                "the source goes on, after it had waited for {waiting_for} for {} s",
                after.as_secs()
            ),
            Self::ShardStopped { shard, reason } => write!(
                f,
                "shard `{shard}` is stopped, and the others are read on: {reason}"
            ),
            Self::ShardFailed { shard, reason } => {
                write!(f, "shard `{shard}` is given up: {reason}")
            }
            Self::ShardDrained { shard } => {
                write!(f, "shard `{shard}` is closed and was read to its end")
            }
            Self::ShardReopened {
                shard,
                from,
                children,
            } => write!(
                f,
                "shard `{shard}` was not over, though answers had said so; it is read on {from}; children that are read \
                 already, perhaps ahead of it: {}",
                Listed(children)
            ),
            Self::ShardForgotten { shard } => {
                write!(f, "shard `{shard}` has aged out and is forgotten")
            }
            Self::ShardRetired { shard, children } => write!(
                f,
                "shard `{shard}` is finished; its children: {}",
                Listed(children)
            ),
            Self::DataLost { loss } => write!(f, "records were lost: {loss}"),
            Self::Subscribed { shard } => write!(f, "shard `{shard}` is subscribed to"),
            Self::SubscriptionRenewed { shard } => {
                write!(f, "the subscription to shard `{shard}` was renewed")
            }
            Self::SubscriptionRenewalFailing { shard, .. } => write!(
                f,
                "the subscription to shard `{shard}` is not renewed yet; trying again"
            ),
            Self::SubscriptionLost { shard, .. } => {
                write!(
                    f,
                    "the subscription to shard `{shard}` was lost; subscribing again"
                )
            }
            Self::SubscriptionTakenOver {
                shard,
                truce,
                takeovers,
            } => {
                let truce = truce.as_secs();
                write!(f, "another process has taken shard `{shard}` over")?;
                if *takeovers > 1 {
                    write!(
                        f,
                        ", {takeovers} times in a row; does it read as the same consumer?"
                    )?;
                }
                write!(f, "; taking it back in {truce} s")
            }
            Self::SubscriptionLetGo { shard } => write!(
                f,
                "the subscription to shard `{shard}` was let go, as nobody asked for records"
            ),
            Self::EventsLost { count } => write!(f, "{count} events were not taken out in time"),
        }
    }
}

impl fmt::Display for StreamEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("all of it was read, and nothing can come any more"),
            Self::Stopped => f.write_str("it was stopped"),
            Self::Failed { reason } => f.write_str(reason),
            Self::Aborted => f.write_str("it was aborted"),
        }
    }
}

/// Names, a few of them in full.
pub(crate) struct Listed<'a, T>(pub(crate) &'a [T]);

const MOST: usize = 4;

impl<T: fmt::Display> fmt::Display for Listed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (position, name) in self.0.iter().take(MOST).enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(f, "{separator}{name}")?;
        }
        match self.0.len().checked_sub(MOST) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, " and {more} more"),
        }
    }
}

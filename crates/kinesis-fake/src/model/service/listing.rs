use std::time::Duration;

use kinesis_source::{NextToken, ShardsPage, StreamSummary, Timestamp};

use super::{Service, find};
use crate::model::{
    Limits, Moment, Operation, Refusal, ShardFilter, shard,
    stream::{Filter, Stream},
    token::Token,
};

/// Which page of a listing of shards is wanted. Both take at most `max_results` shards, and never
/// more than the service's page size.
#[derive(Clone, Debug)]
pub enum Listing<'a> {
    /// The first one.
    First {
        /// Of the stream of that name.
        stream: &'a str,
        /// Of those shards only.
        filter: ShardFilter,
        /// At most so many.
        max_results: Option<usize>,
    },
    /// The one that a token stands for: it knows stream and filter.
    Next {
        /// The stream that it has to be of, if that is said.
        stream: Option<&'a str>,
        /// The token.
        token: &'a NextToken,
        /// At most so many.
        max_results: Option<usize>,
    },
}

impl Service {
    /// One page of a stream's shards, by number.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream; `ResourceInUse` unless it is active or updating;
    /// `InvalidArgument` for a token that is none or another stream's, and for a number that is none;
    /// `ExpiredNextToken`; `LimitExceeded`.
    pub fn list_shards(
        &mut self,
        listing: &Listing<'_>,
        now: Moment,
    ) -> Result<ShardsPage, Refusal> {
        self.admit(Operation::ListShards, now)?;
        let (Listing::First { max_results, .. } | Listing::Next { max_results, .. }) = listing;
        let limits = &self.settings.limits;
        let most = page_size(*max_results, limits.shards_per_page, limits)?;
        let per_second = limits.list_shards_per_second_of_stream;
        let start = self.start(listing, now)?;
        let before_horizon = self.settings.choices.time_before_horizon;
        let stream = find(&mut self.streams, &self.settings, &start.stream, now)?;
        stream.admit(Operation::ListShards, per_second, now)?;
        let filter = stream.adjust(start.filter, before_horizon, now);
        if let Some(number) = start.stream_number {
            stream.check_number(number)?;
        }
        stream.check_usable()?;
        let (shards, next) = stream.list(filter, start.from, most, now);
        let token = |from| {
            let token = Token {
                issued: now,
                stream: stream.name.clone(),
                stream_number: stream.number,
                filter,
                from,
            };
            NextToken(token.seal(&self.seal))
        };
        Ok(ShardsPage {
            shards,
            next: next.map(token),
        })
    }

    /// Refuses a stream that was not made at that time, as clients say it who mean one of several of
    /// that name (`StreamCreationTimestamp`). Whole seconds are enough: some clients cannot tell more.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream.
    pub fn check_created(
        &mut self,
        stream: &str,
        created: Timestamp,
        now: Moment,
    ) -> Result<(), Refusal> {
        let it = self.stream(stream, now)?;
        let actual = it.created().as_millis();
        let (asked, cut) = (created.as_millis(), actual - actual.rem_euclid(1_000));
        if asked == actual || asked == cut {
            return Ok(());
        }
        Err(Refusal::not_found(format!(
            "Stream {stream} under account {} was not created at {created}.",
            it.owner.account()
        )))
    }

    /// What a stream is, with at most `most` of its shards after `after`, and no more than a
    /// [description](crate::Limits::shards_per_description) has, and whether more follow.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream; `InvalidArgument` for an `after` that is no
    /// shard's name; `LimitExceeded`.
    pub fn describe_stream(
        &mut self,
        stream: &str,
        after: Option<&kinesis_source::ShardId>,
        most: usize,
        now: Moment,
    ) -> Result<(StreamSummary, Vec<kinesis_source::Shard>, bool), Refusal> {
        self.admit(Operation::DescribeStream, now)?;
        let filter = after.map_or(ShardFilter::default(), |after| {
            ShardFilter::AfterShardId(after.clone())
        });
        let (filter, from) = resolve(&filter)?;
        let most = most.min(self.settings.limits.shards_per_description.max(1));
        let stream = self.stream(stream, now)?;
        let (shards, next) = match stream.is_usable() {
            true => stream.list(filter, from, most, now),
            false => (Vec::new(), None),
        };
        Ok((stream.summary(), shards, next.is_some()))
    }

    /// What a stream is.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream; `LimitExceeded`.
    pub fn describe_stream_summary(
        &mut self,
        stream: &str,
        now: Moment,
    ) -> Result<StreamSummary, Refusal> {
        self.admit(Operation::DescribeStreamSummary, now)?;
        Ok(self.stream(stream, now)?.summary())
    }

    /// At most `most` streams by name, and no more than a [page](crate::Limits::streams_per_page)
    /// has, from the first after `after` on, and whether more follow.
    ///
    /// # Errors
    ///
    /// `LimitExceeded`.
    pub fn list_streams(
        &mut self,
        after: Option<&str>,
        most: usize,
        now: Moment,
    ) -> Result<(Vec<StreamSummary>, bool), Refusal> {
        self.admit(Operation::ListStreams, now)?;
        self.forget_all_gone(now);
        let most = most.min(self.settings.limits.streams_per_page.max(1));
        let after = after.unwrap_or_default();
        let mut rest = self.streams.values().filter(|it| *it.name > *after);
        let page = rest.by_ref().take(most).map(Stream::summary).collect();
        Ok((page, rest.next().is_some()))
    }

    fn start(&self, listing: &Listing<'_>, now: Moment) -> Result<Start, Refusal> {
        match listing {
            Listing::First { stream, filter, .. } => {
                let (filter, from) = resolve(filter)?;
                Ok(Start {
                    stream: (*stream).to_owned(),
                    stream_number: None,
                    filter,
                    from,
                })
            }
            Listing::Next { token, stream, .. } => {
                let token = self.token(token, now)?;
                if stream.is_some_and(|stream| stream != token.stream) {
                    return Err(Refusal::invalid_argument(
                        "NextToken and StreamARN do not mean the same stream.",
                    ));
                }
                Ok(Start {
                    stream: token.stream,
                    stream_number: Some(token.stream_number),
                    filter: token.filter,
                    from: token.from,
                })
            }
        }
    }

    fn token(&self, token: &NextToken, now: Moment) -> Result<Token, Refusal> {
        let token = Token::open(&self.seal, &token.0).ok_or_else(no_token)?;
        check_age(token.issued, self.settings.limits.token_life, now)?;
        Ok(token)
    }
}

pub(super) fn no_token() -> Refusal {
    Refusal::invalid_argument("Invalid NextToken.")
}

/// Refuses a token that was issued too long ago.
pub(super) fn check_age(
    issued: Moment,
    life: Option<Duration>,
    now: Moment,
) -> Result<(), Refusal> {
    if life.is_none_or(|life| now.since(issued) <= life) {
        return Ok(());
    }
    Err(Refusal::new(
        "ExpiredNextTokenException",
        "The NextToken has expired: begin the listing anew.",
    ))
}

/// What a page is of.
struct Start {
    stream: String,
    /// What a token was made for.
    stream_number: Option<u64>,
    filter: Filter,
    /// The first shard that may be on it.
    from: u32,
}

/// However many are asked for, a page has no more than `largest`.
pub(super) fn page_size(
    asked: Option<usize>,
    largest: usize,
    limits: &Limits,
) -> Result<usize, Refusal> {
    let (largest, bound) = (largest.max(1), limits.results_asked_for);
    match asked {
        None => Ok(largest),
        Some(most) if (1..=bound).contains(&most) => Ok(most.min(largest)),
        Some(most) => Err(Refusal::invalid_member(
            format!("Value '{most}'"),
            "maxResults",
            format!("Member must have value between 1 and {bound}"),
        )),
    }
}

fn resolve(filter: &ShardFilter) -> Result<(Filter, u32), Refusal> {
    Ok(match filter {
        ShardFilter::FromTrimHorizon => (Filter::All, 0),
        ShardFilter::AtTrimHorizon => (Filter::AtTrimHorizon, 0),
        ShardFilter::AtLatest => (Filter::AtLatest, 0),
        ShardFilter::AtTimestamp(time) => (Filter::AtTimestamp(*time), 0),
        ShardFilter::FromTimestamp(time) => (Filter::FromTimestamp(*time), 0),
        ShardFilter::AfterShardId(id) => {
            let number = shard::number(id);
            let number = number.ok_or_else(|| {
                Refusal::invalid_argument(format!("{id} is not the name of a shard."))
            })?;
            (Filter::All, number.saturating_add(1))
        }
    })
}

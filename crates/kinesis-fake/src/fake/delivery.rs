use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use kinesis_source::{ShardId, SubscribeEvent};

use super::{Fake, pause::Pause, subscription::Subscription};
use crate::{
    failure::Failure,
    faults::{Again, Blow, Spoiling, Subject},
    model::Operation,
};

/// A subscription's events on their way to the subscriber, where they may meet with
/// [faults](crate::Fault::in_stream).
///
/// An event with a spoiling is the last one: how it is spoiled is for whoever sends it.
#[derive(Debug)]
pub(crate) struct Delivery {
    subscription: Subscription,
    fake: Fake,
    shard: ShardId,
    /// What is to come once that time has passed.
    held: Option<(SubscribeEvent, Pin<Box<Pause>>)>,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Sending,
    /// Nothing more comes, and it does not end.
    Silent,
    Ended,
}

/// An event, and how it is spoiled; or why there are no more.
pub(crate) type Delivered = Result<(SubscribeEvent, Option<Spoiling>), Failure>;

impl Delivery {
    pub(super) fn new(subscription: Subscription, fake: Fake, shard: ShardId) -> Self {
        Self {
            subscription,
            fake,
            shard,
            held: None,
            state: State::Sending,
        }
    }

    fn end(&mut self, with: Delivered) -> Poll<Option<Delivered>> {
        self.state = State::Ended;
        Poll::Ready(Some(with))
    }
}

impl Stream for Delivery {
    type Item = Delivered;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Delivered>> {
        loop {
            match self.state {
                State::Sending => {}
                State::Silent => return Poll::Pending,
                State::Ended => return Poll::Ready(None),
            }
            if let Some((event, timer)) = &mut self.held {
                ready!(timer.as_mut().poll(context));
                let event = std::mem::take(event);
                self.held = None;
                return Poll::Ready(Some(Ok((event, None))));
            }
            let mut event = match ready!(Pin::new(&mut self.subscription).poll_next(context)) {
                None => return Poll::Ready(None),
                Some(Err(failure)) => return self.end(Err(failure)),
                Some(Ok(event)) => event,
            };
            let subject = Subject::event(Operation::SubscribeToShard, &self.shard);
            let (blow, struck) = self.fake.strike_event(&subject);
            match blow {
                // Records are refused where they are put, and nowhere else.
                None | Some(Blow::RefuseRecords { .. }) => {
                    return Poll::Ready(Some(Ok((event, None))));
                }
                Some(Blow::Refuse(refusal)) => return self.end(Err(Failure::Refused(refusal))),
                Some(Blow::Spoil(spoiling)) => return self.end(Ok((event, Some(spoiling)))),
                Some(Blow::Hang) => self.state = State::Silent,
                Some(Blow::Delay(delay) | Blow::AnswerLate(delay)) => {
                    let pause = self.fake.pause_until(struck.plus(delay));
                    self.held = Some((event, Box::pin(pause)));
                }
                Some(Blow::Rewrite {
                    rewrite,
                    draw,
                    rule,
                }) => {
                    if !rewrite.apply(&mut event, &Again::Other, draw) {
                        self.fake.lock().faults.take_back(rule);
                    }
                    return Poll::Ready(Some(Ok((event, None))));
                }
            }
        }
    }
}

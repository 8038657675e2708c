use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use kinesis_source::SubscribeEvent;
use serde::Serialize;

use super::{
    event_stream,
    format::Format,
    line::Cut,
    wire::{ChildOut, RecordOut},
};
use crate::{failure::Failure, fake::delivery::Delivery, faults::Spoiling, model::Refusal};

/// What is sent back: all at once, or events as they come.
pub(super) enum Reply {
    Whole(Full<Bytes>),
    Events(Box<Events>),
}

impl Body for Reply {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Whole(whole) => {
                let frame = Pin::new(whole).poll_frame(context);
                frame.map_err(|never| match never {})
            }
            Self::Events(events) => {
                let bytes = events.poll(context);
                bytes.map(|bytes| bytes.map(|bytes| bytes.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

/// The events of a subscription, each as the bytes that are sent.
pub(super) struct Events {
    delivery: Delivery,
    format: Format,
    cut: Cut,
    state: State,
}

enum State {
    /// The first frame is yet to be sent.
    Begun,
    Sending,
    /// The connection is to break.
    Broken,
    Ended,
}

type Sent = Option<Result<Bytes, io::Error>>;

impl Events {
    pub(super) fn new(delivery: Delivery, format: Format, cut: Cut) -> Self {
        Self {
            delivery,
            format,
            cut,
            state: State::Begun,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Sent> {
        let sent = match self.state {
            State::Begun => {
                self.state = State::Sending;
                Ok(event_stream::initial_response(self.format))
            }
            State::Sending => match ready!(Pin::new(&mut self.delivery).poll_next(context)) {
                None => {
                    self.state = State::Ended;
                    return Poll::Ready(None);
                }
                Some(Ok((event, spoiling))) => self.frame(event, spoiling),
                Some(Err(failure)) => self.failed(failure),
            },
            State::Broken => Err(broken()),
            State::Ended => return Poll::Ready(None),
        };
        if sent.is_err() {
            self.state = State::Ended;
        }
        Poll::Ready(Some(sent.map(Bytes::from)))
    }

    fn frame(
        &mut self,
        event: SubscribeEvent,
        spoiling: Option<Spoiling>,
    ) -> Result<Vec<u8>, io::Error> {
        let payload = self.format.write(&EventOut::from(event));
        let payload = payload.map_err(|refusal| io::Error::other(refusal.to_string()))?;
        match spoiling {
            None => return Ok(event_stream::event(EVENT, self.format, &payload)),
            Some(Spoiling::Garbled { draw }) => {
                self.state = State::Ended;
                return Ok(event_stream::garbled(EVENT, self.format, payload, draw));
            }
            Some(Spoiling::Lost) => self.cut.after(0),
            Some(Spoiling::Cut { after }) => self.cut.after(after),
        }
        self.state = State::Broken;
        Ok(event_stream::event(EVENT, self.format, &payload))
    }

    fn failed(&mut self, failure: Failure) -> Result<Vec<u8>, io::Error> {
        self.state = State::Ended;
        match failure {
            Failure::Refused(refusal) => Ok(self.exception(&refusal)),
            Failure::Lost | Failure::Senseless => Err(broken()),
        }
    }

    fn exception(&self, refusal: &Refusal) -> Vec<u8> {
        event_stream::exception(refusal, self.format)
    }
}

fn broken() -> io::Error {
    io::Error::other("this subscription is to break")
}

const EVENT: &str = "SubscribeToShardEvent";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EventOut {
    records: Vec<RecordOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    continuation_sequence_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    millis_behind_latest: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    child_shards: Vec<ChildOut>,
}

impl From<SubscribeEvent> for EventOut {
    fn from(event: SubscribeEvent) -> Self {
        Self {
            records: event.records.into_iter().map(RecordOut::from).collect(),
            continuation_sequence_number: event
                .continuation_sequence_number
                .map(|number| number.to_string()),
            millis_behind_latest: event.millis_behind_latest,
            child_shards: event.children.into_iter().map(ChildOut::from).collect(),
        }
    }
}

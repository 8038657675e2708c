use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll},
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
use crate::{
    Fake,
    failure::Failure,
    fake::delivery::{Delivered, Delivery},
    faults::Spoiling,
    model::EncryptedRecords,
};

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
    /// The stream that they are of.
    stream: Fake,
    format: Format,
    cut: Cut,
    state: State,
}

enum State {
    /// The first frame is yet to be sent.
    Begun,
    Sending,
    /// What was sent before is on its way. After so many bytes of this frame, the connection breaks.
    Parting {
        frame: Vec<u8>,
        after: u64,
    },
    /// What may still be sent is on its way.
    Parted,
    Broken,
    Ended,
}

type Sent = Option<Result<Bytes, io::Error>>;

impl Events {
    pub(super) fn new(delivery: Delivery, stream: Fake, format: Format, cut: Cut) -> Self {
        Self {
            delivery,
            stream,
            format,
            cut,
            state: State::Begun,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Sent> {
        match mem::replace(&mut self.state, State::Ended) {
            State::Begun => {
                self.state = State::Sending;
                send(event_stream::initial_response(self.format))
            }
            State::Sending => match Pin::new(&mut self.delivery).poll_next(context) {
                Poll::Pending => {
                    self.state = State::Sending;
                    Poll::Pending
                }
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Ready(Some(delivered)) => self.pass_on(delivered, context),
            },
            State::Parting { frame, after } => {
                self.cut.after(after);
                self.state = State::Parted;
                send(frame)
            }
            State::Parted => self.once_sent(State::Broken, context),
            State::Broken => Poll::Ready(Some(Err(broken()))),
            State::Ended => Poll::Ready(None),
        }
    }

    fn pass_on(&mut self, delivered: Delivered, context: &mut Context<'_>) -> Poll<Sent> {
        let (event, spoiling) = match delivered {
            Ok(event) => event,
            Err(Failure::Refused(refusal)) => {
                return send(event_stream::exception(&refusal, self.format));
            }
            Err(Failure::Lost | Failure::Senseless) => {
                return self.once_sent(State::Broken, context);
            }
        };
        let encrypted = self.stream.encrypted_records();
        let payload = match self.format.write(&EventOut::among(event, &encrypted)) {
            Ok(payload) => payload,
            Err(refusal) => return send(event_stream::exception(&refusal, self.format)),
        };
        let after = match spoiling {
            None => {
                self.state = State::Sending;
                return send(event_stream::event(EVENT, self.format, &payload));
            }
            Some(Spoiling::Garbled { draw }) => {
                return send(event_stream::garbled(EVENT, self.format, payload, draw));
            }
            Some(Spoiling::Lost) => 0,
            Some(Spoiling::Cut { after }) => after,
        };
        let frame = event_stream::event(EVENT, self.format, &payload);
        self.once_sent(State::Parting { frame, after }, context)
    }

    /// Lets the connection send what it was given, then goes on in that state.
    fn once_sent(&mut self, state: State, context: &Context<'_>) -> Poll<Sent> {
        self.state = state;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

fn send(frame: Vec<u8>) -> Poll<Sent> {
    Poll::Ready(Some(Ok(frame.into())))
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

impl EventOut {
    fn among(event: SubscribeEvent, encrypted: &EncryptedRecords) -> Self {
        let records = event.records.into_iter();
        let records = records.map(|record| RecordOut::among(record, encrypted));
        Self {
            records: records.collect(),
            continuation_sequence_number: event
                .continuation_sequence_number
                .map(|number| number.to_string()),
            millis_behind_latest: event.millis_behind_latest,
            child_shards: event.children.into_iter().map(ChildOut::from).collect(),
        }
    }
}

use std::{
    future::Future,
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use hyper::body::{Body, Frame, SizeHint};
use kinesis_source::SubscribeEvent;
use serde::Serialize;
use tokio::sync::watch;

use super::{
    event_stream,
    format::Format,
    idle::InHand,
    line::Cut,
    room::{Pieces, Place, Room, Traffic},
    wire::{ChildOut, RecordOut, records_size},
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
    Whole(Pieces),
    /// A sentence for which there is no room yet. It is never written.
    Said(Vec<u8>),
    Events(Box<Events>),
}

/// A reply of a request that is in hand until it has been sent.
pub(super) struct Held {
    reply: Reply,
    _in_hand: InHand,
    /// Completes when the server is to stop: events end then.
    stopped: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
}

impl Held {
    /// One that ends when `stopped` loses its sender, if it would go on.
    pub(super) fn new(reply: Reply, mut in_hand: InHand, mut stopped: watch::Receiver<()>) -> Self {
        if matches!(reply, Reply::Events(_)) {
            in_hand.subscribed();
        }
        Self {
            reply,
            _in_hand: in_hand,
            stopped: Box::pin(async move {
                // Nothing is ever sent.
                let _ = stopped.changed().await;
            }),
        }
    }
}

impl Body for Held {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Self { reply, stopped, .. } = self.get_mut();
        match reply {
            Reply::Whole(whole) => Poll::Ready(whole.next().map(|piece| Ok(Frame::data(piece)))),
            Reply::Said(_) => Poll::Ready(Some(Err(broken()))),
            Reply::Events(events) => {
                if events.may_end() && stopped.as_mut().poll(context).is_ready() {
                    return Poll::Ready(None);
                }
                let bytes = events.poll(context);
                bytes.map(|bytes| bytes.map(|bytes| bytes.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.reply {
            Reply::Whole(whole) => whole.len() == 0,
            Reply::Said(_) | Reply::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.reply {
            Reply::Whole(whole) => SizeHint::with_exact(whole.len() as u64),
            Reply::Said(_) | Reply::Events(_) => SizeHint::default(),
        }
    }
}

/// The events of a subscription, each as the bytes that are sent.
pub(super) struct Events {
    delivery: Delivery,
    /// The stream that they are of.
    stream: Fake,
    format: Format,
    way: Way,
    /// What is left of the frame that is being sent.
    sending: Pieces,
    state: State,
}

/// How events get to their client.
pub(super) struct Way {
    pub(super) cut: Cut,
    pub(super) room: Room,
    pub(super) traffic: Arc<Traffic>,
}

enum State {
    /// The first frame is yet to be sent.
    Begun,
    Sending,
    /// There is no room yet for a frame.
    Waiting {
        place: Pin<Box<dyn Future<Output = Place> + Send + Sync>>,
        next: Next,
    },
    /// What was sent before is on its way. After so many bytes of this frame, the connection breaks.
    Parting {
        frame: Vec<u8>,
        place: Place,
        after: u64,
    },
    /// What may still be sent is on its way.
    Parted,
    Broken,
    Ended,
}

/// What there is to send.
enum Next {
    Event(SubscribeEvent, Option<Spoiling>),
    /// The last frame.
    Frame(Vec<u8>),
}

type Sent = Option<Result<Bytes, io::Error>>;

impl Events {
    pub(super) fn new(delivery: Delivery, stream: Fake, format: Format, way: Way) -> Self {
        Self {
            delivery,
            stream,
            format,
            way,
            sending: Pieces::default(),
            state: State::Begun,
        }
    }

    /// Whether it has begun, and nothing is under way of what was begun.
    fn may_end(&self) -> bool {
        let is_whole = matches!(self.state, State::Sending | State::Waiting { .. });
        is_whole && self.sending.len() == 0
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Sent> {
        loop {
            if let Some(piece) = self.sending.next() {
                return Poll::Ready(Some(Ok(piece)));
            }
            match mem::replace(&mut self.state, State::Ended) {
                State::Begun => {
                    self.state = State::Sending;
                    let first = event_stream::initial_response(self.format);
                    // Smaller than what every connection may have.
                    return Poll::Ready(Some(Ok(first.into())));
                }
                State::Sending => match Pin::new(&mut self.delivery).poll_next(context) {
                    Poll::Pending => {
                        self.state = State::Sending;
                        return Poll::Pending;
                    }
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Ready(Some(delivered)) => match self.next(delivered) {
                        Some(next) => self.ask(next),
                        None => return self.once_sent(State::Broken, context),
                    },
                },
                State::Waiting { mut place, next } => match place.as_mut().poll(context) {
                    Poll::Pending => {
                        self.state = State::Waiting { place, next };
                        return Poll::Pending;
                    }
                    Poll::Ready(place) => {
                        if let Some(parting) = self.pass_on(next, place) {
                            return self.once_sent(parting, context);
                        }
                    }
                },
                State::Parting {
                    frame,
                    place,
                    after,
                } => {
                    self.way.cut.after(after);
                    self.state = State::Parted;
                    self.sending = place.fill(frame);
                }
                State::Parted => return self.once_sent(State::Broken, context),
                State::Broken => return Poll::Ready(Some(Err(broken()))),
                State::Ended => return Poll::Ready(None),
            }
        }
    }

    /// What there is to send of what was delivered, unless the connection is to break.
    fn next(&self, delivered: Delivered) -> Option<Next> {
        match delivered {
            Ok((event, spoiling)) => Some(Next::Event(event, spoiling)),
            Err(Failure::Refused(refusal)) => {
                let frame = event_stream::exception(&refusal, self.format);
                Some(Next::Frame(frame))
            }
            Err(Failure::Lost | Failure::Senseless) => None,
        }
    }

    /// Asks for room.
    fn ask(&mut self, next: Next) {
        let size = match &next {
            Next::Event(event, _) => records_size(&event.records),
            Next::Frame(frame) => frame.len(),
        };
        let (room, traffic) = (self.way.room.clone(), Arc::clone(&self.way.traffic));
        let place = Box::pin(async move { room.take(size, &traffic).await });
        self.state = State::Waiting { place, next };
    }

    /// Begins to send it, now that there is room; or in which way the connection breaks meanwhile.
    fn pass_on(&mut self, next: Next, place: Place) -> Option<State> {
        let (event, spoiling) = match next {
            Next::Event(event, spoiling) => (event, spoiling),
            Next::Frame(frame) => {
                self.sending = place.fill(frame);
                return None;
            }
        };
        let encrypted = self.stream.encrypted_records();
        let payload = match self.format.write(&EventOut::among(event, &encrypted)) {
            Ok(payload) => payload,
            Err(refusal) => {
                let frame = event_stream::exception(&refusal, self.format);
                self.sending = place.fill(frame);
                return None;
            }
        };
        let after = match spoiling {
            None => {
                self.state = State::Sending;
                let frame = event_stream::event(EVENT, self.format, &payload);
                self.sending = place.fill(frame);
                return None;
            }
            Some(Spoiling::Garbled { draw }) => {
                let frame = event_stream::garbled(EVENT, self.format, payload, draw);
                self.sending = place.fill(frame);
                return None;
            }
            Some(Spoiling::Lost) => 0,
            Some(Spoiling::Cut { after }) => after,
        };
        let frame = event_stream::event(EVENT, self.format, &payload);
        Some(State::Parting {
            frame,
            place,
            after,
        })
    }

    /// Lets the connection send what it was given, then goes on in that state.
    fn once_sent(&mut self, state: State, context: &Context<'_>) -> Poll<Sent> {
        self.state = state;
        context.waker().wake_by_ref();
        Poll::Pending
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

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method, Request, Response, Version,
    body::{Body, Incoming},
};
use kinesis_source::KinesisApi;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout, timeout_at},
};

use super::{
    answer::Answers,
    call::{self, Wanted, Written},
    events::{Events, Reply, Way},
    format::Format,
    garble::garble,
    line::Cut,
    room::{Room, Traffic},
};
use crate::{
    Fake,
    failure::Failure,
    faults::Spoiling,
    model::{Operation, Refusal, consumer_of},
};

/// What all connections of a server share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) fake: Fake,
    /// Large bodies that may be here at the same time.
    large_bodies: Semaphore,
    /// For answers.
    pub(super) room: Room,
}

impl Desk {
    pub(super) fn new(fake: Fake) -> Self {
        let large_bodies = Semaphore::new(MOST_LARGE_BODIES);
        let room = Room::new();
        Self {
            fake,
            large_bodies,
            room,
        }
    }

    /// Answers one request.
    pub(super) async fn answer(
        &self,
        cut: &Cut,
        traffic: &Arc<Traffic>,
        request: Request<Incoming>,
    ) -> Result<Response<Reply>, Infallible> {
        let mut response = self.respond(cut, traffic, request).await;
        if let Reply::Said(said) = response.body_mut() {
            let said = std::mem::take(said);
            let place = self.room.take(said.len(), traffic).await;
            *response.body_mut() = Reply::Whole(place.fill(said));
        }
        Ok(response)
    }

    async fn respond(
        &self,
        cut: &Cut,
        traffic: &Arc<Traffic>,
        request: Request<Incoming>,
    ) -> Response<Reply> {
        let answers = Answers {
            format: Format::of(request.headers()).unwrap_or(Format::Json),
            now: self.fake.now(),
        };
        // On HTTP/2, an answer may still be on its way that is to be cut.
        if request.version() < Version::HTTP_2 {
            cut.lift();
        }
        // Held until the answer has been made: a body and what is made of it are in memory.
        let (operation, body, _room) = match self.read(request, answers).await {
            Ok(read) => read,
            Err(response) => return response,
        };
        if operation == Operation::SubscribeToShard {
            let wanted = Wanted::read(answers.format, &body);
            return self.subscribe(wanted, answers, cut, traffic).await;
        }
        let room = (&self.room, traffic);
        let answered = call::dispatch(&self.fake, operation, answers.format, &body, room).await;
        // A call may have taken its time.
        let answers = Answers {
            now: self.fake.now(),
            ..answers
        };
        match answered {
            Ok(Written {
                body,
                spoiling,
                place,
            }) => {
                let body = spoil(body, answers.format, spoiling, cut);
                answers.success(place.fill(body))
            }
            Err(refusal) => answers.refusal(&refusal),
        }
    }

    async fn subscribe(
        &self,
        wanted: Result<Wanted, Refusal>,
        answers: Answers,
        cut: &Cut,
        traffic: &Arc<Traffic>,
    ) -> Response<Reply> {
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(refusal) => return answers.refusal(&refusal),
        };
        let Wanted {
            consumer,
            shard,
            position,
        } = wanted;
        match self.fake.subscribe(&consumer, &shard, &position).await {
            Ok(delivery) => {
                let stream = consumer_of(consumer.as_str()).map_or("", |(stream, _)| stream);
                let stream = self.fake.stream(stream);
                let way = Way {
                    cut: cut.clone(),
                    room: self.room.clone(),
                    traffic: Arc::clone(traffic),
                };
                answers.events(Events::new(delivery, stream, answers.format, way))
            }
            Err(Failure::Refused(refusal)) => answers.refusal(&refusal),
            Err(Failure::Senseless) => answers.no_events(),
            Err(Failure::Lost) => {
                cut.after(0);
                answers.no_events()
            }
        }
    }

    /// What is asked for, or what to say instead of asking.
    async fn read(
        &self,
        request: Request<Incoming>,
        answers: Answers,
    ) -> Result<(Operation, Bytes, Option<SemaphorePermit<'_>>), Response<Reply>> {
        let operation = operation(&request).map_err(|refusal| answers.refusal(&refusal))?;
        let body = request.into_body();
        let size = body.size_hint();
        if size.lower() > MOST_BODY as u64 {
            return Err(answers.too_large(MOST_BODY));
        }
        let large = size.upper().is_none_or(|upper| upper > SMALL_BODY);
        let body = Limited::new(body, MOST_BODY);
        let read = async {
            match large {
                true => {
                    let room = self.large_bodies.acquire().await.ok();
                    steadily(body).await.map(|body| (body, room))
                }
                false => match body.collect().await {
                    Ok(body) => Ok((body.to_bytes(), None)),
                    Err(error) => Err(Unread::Failed(error)),
                },
            }
        };
        match timeout(BODY_TIMEOUT, read).await {
            Ok(Ok((body, room))) => Ok((operation, body, room)),
            Ok(Err(Unread::Failed(error))) if error.is::<LengthLimitError>() => {
                Err(answers.too_large(MOST_BODY))
            }
            Ok(Err(Unread::Failed(_))) => Err(answers.refusal(&Refusal::new(
                "SerializationException",
                "The body broke off.",
            ))),
            Ok(Err(Unread::Stalled)) => Err(answers.stalled(PATIENCE)),
            Err(_) => Err(answers.too_slow(BODY_TIMEOUT)),
        }
    }
}

/// Why a body could not be had.
enum Unread {
    Failed(Box<dyn std::error::Error + Send + Sync>),
    Stalled,
}

/// A large body, which keeps others waiting and so must make headway.
async fn steadily(mut body: Limited<Incoming>) -> Result<Bytes, Unread> {
    let mut read = BytesMut::new();
    loop {
        let enough = read.len() + HEADWAY;
        let deadline = Instant::now() + PATIENCE;
        while read.len() < enough {
            let frame = timeout_at(deadline, body.frame()).await;
            match frame.map_err(|_| Unread::Stalled)? {
                None => return Ok(read.freeze()),
                Some(Err(error)) => return Err(Unread::Failed(error)),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        read.extend_from_slice(data);
                    }
                }
            }
        }
    }
}

fn spoil(body: Vec<u8>, format: Format, spoiling: Option<Spoiling>, cut: &Cut) -> Vec<u8> {
    match spoiling {
        None => {}
        Some(Spoiling::Lost) => cut.after(0),
        Some(Spoiling::Cut { after }) => cut.after(after),
        Some(Spoiling::Garbled { draw }) => return garble(body, format, draw),
    }
    body
}

fn operation<B>(request: &Request<B>) -> Result<Operation, Refusal> {
    if request.method() != Method::POST || request.uri().path() != "/" {
        return Err(unknown("Operations are POST requests of the path /."));
    }
    let headers = request.headers();
    if Format::of(headers).is_none() {
        return Err(unknown(
            "This service speaks application/x-amz-json-1.1 and application/x-amz-cbor-1.1 only.",
        ));
    }
    let target = text(headers, "x-amz-target");
    let operation = target.strip_prefix(TARGET).and_then(Operation::from_name);
    operation.ok_or_else(|| unknown("This service knows no such operation."))
}

/// A header's value; empty if there is none or it is no text.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

fn unknown(message: &str) -> Refusal {
    Refusal::new("UnknownOperationException", message)
}

const TARGET: &str = "Kinesis_20131202.";
/// The largest request is a PutRecords of 10 MiB, which base64 makes a third larger.
const MOST_BODY: usize = 16 * 1_024 * 1_024;
/// What each connection may bring without asking.
const SMALL_BODY: u64 = 64 * 1_024;
/// Others wait for one of them to be answered: 128 MiB of bodies, and what is made of them.
const MOST_LARGE_BODIES: usize = 8;
/// How long a client may take for its body, and wait for others.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a large body may take for so many bytes, once there is room for it.
const PATIENCE: Duration = Duration::from_secs(5);
const HEADWAY: usize = 64 * 1_024;

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method, Request, Response, Version,
    body::{Body, Incoming},
};
use kinesis_source::KinesisApi;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use super::{
    answer::Answers,
    call::{self, Wanted},
    events::{Events, Reply},
    format::Format,
    garble::garble,
    line::Cut,
};
use crate::{
    Fake,
    failure::Failure,
    faults::Spoiling,
    model::{Operation, Refusal},
};

/// What all connections of a server share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) fake: Fake,
    /// Large bodies that may be here at the same time.
    large_bodies: Semaphore,
}

impl Desk {
    pub(super) fn new(fake: Fake) -> Self {
        let large_bodies = Semaphore::new(MOST_LARGE_BODIES);
        Self { fake, large_bodies }
    }

    /// Answers one request.
    pub(super) async fn answer(
        &self,
        cut: &Cut,
        request: Request<Incoming>,
    ) -> Result<Response<Reply>, Infallible> {
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
            Err(response) => return Ok(response),
        };
        if operation == Operation::SubscribeToShard {
            let wanted = Wanted::read(answers.format, &body);
            return Ok(self.subscribe(wanted, answers, cut).await);
        }
        let answered = call::dispatch(&self.fake, operation, answers.format, &body).await;
        // A call may have taken its time.
        let answers = Answers {
            now: self.fake.now(),
            ..answers
        };
        Ok(match answered {
            Ok((body, spoiling)) => answers.success(spoil(body, answers.format, spoiling, cut)),
            Err(refusal) => answers.refusal(&refusal),
        })
    }

    async fn subscribe(
        &self,
        wanted: Result<Wanted, Refusal>,
        answers: Answers,
        cut: &Cut,
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
            Ok(delivery) => answers.events(Events::new(delivery, answers.format, cut.clone())),
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
        let read = async {
            let room = match large {
                true => self.large_bodies.acquire().await.ok(),
                false => None,
            };
            (Limited::new(body, MOST_BODY).collect().await, room)
        };
        match timeout(BODY_TIMEOUT, read).await {
            Ok((Ok(body), room)) => Ok((operation, body.to_bytes(), room)),
            Ok((Err(error), _)) if error.is::<LengthLimitError>() => {
                Err(answers.too_large(MOST_BODY))
            }
            Ok((Err(_), _)) => Err(answers.refusal(&Refusal::new(
                "SerializationException",
                "The body broke off.",
            ))),
            Err(_) => Err(answers.too_slow(BODY_TIMEOUT)),
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

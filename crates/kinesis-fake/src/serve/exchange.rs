use std::{convert::Infallible, sync::Arc};

use hyper::{HeaderMap, Method, Request, Response, Version, body::Incoming};
use kinesis_source::KinesisApi;

use super::{
    answer::{Answers, last},
    bodies::{Allowance, BODY_TIMEOUT, Bodies, MOST_BODY, PATIENCE, Placed, Unread},
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
    model::{Operation, Refusal},
};

/// What all connections of a server share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) fake: Fake,
    /// For requests.
    bodies: Bodies,
    /// For answers.
    pub(super) room: Room,
}

impl Desk {
    pub(super) fn new(fake: Fake) -> Self {
        Self {
            fake,
            bodies: Bodies::new(),
            room: Room::new(),
        }
    }

    /// Answers one request.
    pub(super) async fn answer(
        &self,
        (cut, traffic): (&Cut, &Arc<Traffic>),
        allowance: &Allowance,
        request: Request<Incoming>,
    ) -> Result<Response<Reply>, Infallible> {
        let response = self.respond((cut, traffic), allowance, request).await;
        Ok(self.placed(response, traffic).await)
    }

    /// Answers a request of a connection that has `most` in hand already.
    pub(super) async fn turn_away(
        &self,
        traffic: &Arc<Traffic>,
        request: Request<Incoming>,
        most: usize,
    ) -> Result<Response<Reply>, Infallible> {
        let message = format!(
            "This connection has {most} requests in hand, by subscriptions perhaps. Use another."
        );
        let response = Answers::to(request.headers(), self.fake.now()).unavailable(&message);
        Ok(self.placed(response.map(Reply::Said), traffic).await)
    }

    /// Finds room for a sentence.
    async fn placed(
        &self,
        mut response: Response<Reply>,
        traffic: &Arc<Traffic>,
    ) -> Response<Reply> {
        if let Reply::Said(said) = response.body_mut() {
            let said = std::mem::take(said);
            let place = self.room.take(said.len(), traffic).await;
            *response.body_mut() = Reply::Whole(place.fill(said));
        }
        response
    }

    async fn respond(
        &self,
        (cut, traffic): (&Cut, &Arc<Traffic>),
        allowance: &Allowance,
        request: Request<Incoming>,
    ) -> Response<Reply> {
        let answers = Answers::to(request.headers(), self.fake.now());
        // On HTTP/2, an answer may still be on its way that is to be cut.
        if request.version() < Version::HTTP_2 {
            cut.lift();
        }
        // Held until the call has been made: a body and what is made of it are in memory.
        let (operation, body) = match self.read(request, allowance, answers).await {
            Ok(read) => read,
            Err(response) => return response,
        };
        if operation == Operation::SubscribeToShard {
            let wanted = Wanted::read(answers.format, &body).await;
            drop(body);
            return self.subscribe(wanted, answers, cut, traffic).await;
        }
        let room = (&self.room, traffic);
        let answered = call::dispatch(&self.fake, operation, answers.format, body, room).await;
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
            dry_run,
        } = wanted;
        let subscribed = match dry_run {
            true => self.fake.rehearse(&consumer, &shard, &position).await,
            false => self.fake.subscribe(&consumer, &shard, &position).await,
        };
        match subscribed {
            Ok(delivery) => {
                let stream = self.fake.of_consumer(&consumer);
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
        allowance: &Allowance,
        answers: Answers,
    ) -> Result<(Operation, Placed), Response<Reply>> {
        let operation = match operation(&request) {
            Ok(operation) => operation,
            Err(refusal) => {
                let refused = answers.refusal(&refusal);
                return Err(match Bodies::discard(request.into_body()).await {
                    true => refused,
                    false => last(refused),
                });
            }
        };
        match self.bodies.read(request.into_body(), allowance).await {
            Ok(body) => Ok((operation, body)),
            Err(Unread::TooLarge) => Err(answers.too_large(MOST_BODY)),
            Err(Unread::Failed) => Err(answers.refusal(&Refusal::new(
                "SerializationException",
                "The body broke off.",
            ))),
            Err(Unread::Stalled) => Err(answers.stalled(PATIENCE)),
            Err(Unread::NoRoom) => Err(answers.unavailable(NO_ROOM).map(Reply::Said)),
            Err(Unread::TooSlow) => Err(answers.too_slow(BODY_TIMEOUT)),
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

const NO_ROOM: &str = "The bodies of other requests take all the memory that there is for them, as they \
    do while a fault delays many calls: send less at a time.";
const TARGET: &str = "Kinesis_20131202.";

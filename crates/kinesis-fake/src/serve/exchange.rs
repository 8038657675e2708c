use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method, Request, Response,
    body::{Body, Incoming},
    header::CONTENT_TYPE,
};
use tokio::time::timeout;

use super::{answer, call, garble::garble, line::Cut};
use crate::{
    Fake,
    faults::Spoiling,
    model::{Operation, Refusal},
};

/// Answers one request.
pub(super) async fn answer(
    fake: &Fake,
    cut: &Cut,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let answered = match read(request).await {
        Ok((operation, body)) => call::dispatch(fake, operation, &body).await,
        Err(response) => return Ok(response),
    };
    Ok(match answered {
        Ok((json, None)) => answer::success(json),
        Ok((json, Some(spoiling))) => spoil(json, spoiling, cut),
        Err(refusal) => answer::refusal(&refusal),
    })
}

fn spoil(json: Vec<u8>, spoiling: Spoiling, cut: &Cut) -> Response<Full<Bytes>> {
    match spoiling {
        Spoiling::Lost => cut.after(0),
        Spoiling::Cut { after } => cut.after(after),
        Spoiling::Garbled { draw } => return answer::success(garble(json, draw)),
    }
    answer::success(json)
}

/// What is asked for, or what to say instead of asking.
async fn read(request: Request<Incoming>) -> Result<(Operation, Bytes), Response<Full<Bytes>>> {
    let operation = operation(&request).map_err(|refusal| answer::refusal(&refusal))?;
    let body = request.into_body();
    if body.size_hint().lower() > MOST_BODY as u64 {
        return Err(answer::too_large(MOST_BODY));
    }
    let body = Limited::new(body, MOST_BODY).collect();
    match timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok((operation, body.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(answer::too_large(MOST_BODY)),
        Ok(Err(_)) => Err(answer::refusal(&Refusal::new(
            "SerializationException",
            "The body broke off.",
        ))),
        Err(_) => Err(answer::too_slow(BODY_TIMEOUT)),
    }
}

fn operation<B>(request: &Request<B>) -> Result<Operation, Refusal> {
    if request.method() != Method::POST || request.uri().path() != "/" {
        return Err(unknown("Operations are POST requests of the path /."));
    }
    let headers = request.headers();
    let content_type = text(headers, CONTENT_TYPE.as_str());
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !JSON_TYPES.contains(&media_type) {
        return Err(unknown(
            "This service speaks application/x-amz-json-1.1 only.",
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
const JSON_TYPES: [&str; 2] = [answer::AMZ_JSON, "application/json"];
/// The largest request is a PutRecords of 10 MiB, which base64 makes a third larger.
const MOST_BODY: usize = 16 * 1_024 * 1_024;
/// How long a client may take for its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

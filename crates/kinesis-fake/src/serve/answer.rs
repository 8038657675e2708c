use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{CONNECTION, CONTENT_TYPE, HeaderValue},
};
use serde::Serialize;

use crate::model::{INTERNAL_FAILURE, Refusal};

pub(super) const AMZ_JSON: &str = "application/x-amz-json-1.1";

pub(super) fn success(json: Vec<u8>) -> Response<Full<Bytes>> {
    response(StatusCode::OK, json)
}

pub(super) fn refusal(refusal: &Refusal) -> Response<Full<Bytes>> {
    error(status(refusal.code()), refusal.code(), refusal.message())
}

pub(super) fn too_large(most: usize) -> Response<Full<Bytes>> {
    let message = format!("The body has more than {most} bytes.");
    last(error(
        StatusCode::PAYLOAD_TOO_LARGE,
        "RequestEntityTooLargeException",
        &message,
    ))
}

pub(super) fn too_slow(most: Duration) -> Response<Full<Bytes>> {
    let message = format!("The body took more than {} seconds.", most.as_secs());
    last(error(
        StatusCode::REQUEST_TIMEOUT,
        "RequestTimeoutException",
        &message,
    ))
}

fn status(code: &str) -> StatusCode {
    match code.strip_suffix("Exception").unwrap_or(code) {
        INTERNAL_FAILURE => StatusCode::INTERNAL_SERVER_ERROR,
        "ServiceUnavailable" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn error(status: StatusCode, code: &str, message: &str) -> Response<Full<Bytes>> {
    #[derive(Serialize)]
    struct Error<'a> {
        __type: &'a str,
        message: &'a str,
    }
    let error = Error {
        __type: code,
        message,
    };
    let json = serde_json::to_vec(&error).expect("two texts are always JSON");
    response(status, json)
}

/// Of its connection: what the client still sends is not looked at.
fn last(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn response(status: StatusCode, json: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(json.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(AMZ_JSON));
    headers.insert("x-amzn-requestid", request_id());
    response
}

/// Unlike any other of this process, and of the usual shape.
fn request_id() -> HeaderValue {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    HeaderValue::try_from(format!("00000000-0000-4000-8000-{number:012x}"))
        .expect("digits and dashes may stand in a header")
}

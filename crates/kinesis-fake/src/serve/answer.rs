use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::{
    HeaderMap, Response, StatusCode,
    header::{CONNECTION, CONTENT_TYPE, DATE, HeaderValue},
};
use kinesis_source::Timestamp;
use md5::{Digest, Md5};
use serde::Serialize;

use super::{
    event_stream,
    events::{Events, Reply},
    format::Format,
    room::Pieces,
};
use crate::model::{INTERNAL_FAILURE, Refusal};

/// How answers are dressed: in the client's format, with the time that it is in the fake.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answers {
    pub(super) format: Format,
    pub(super) now: Timestamp,
}

impl Answers {
    /// To a request with these headers. Who names no format that there is gets JSON.
    pub(super) fn to(headers: &HeaderMap, now: Timestamp) -> Self {
        Self {
            format: Format::of(headers).unwrap_or(Format::Json),
            now,
        }
    }

    pub(super) fn success(self, body: Pieces) -> Response<Reply> {
        let whole = Reply::Whole(body);
        self.dressed(StatusCode::OK, self.format.content_type(), whole)
    }

    pub(super) fn refusal(self, refusal: &Refusal) -> Response<Reply> {
        self.error(status(refusal.code()), refusal.code(), refusal.message())
    }

    pub(super) fn too_large(self, most: usize) -> Response<Reply> {
        let message = format!("The body has more than {most} bytes.");
        last(self.error(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLargeException",
            &message,
        ))
    }

    pub(super) fn too_slow(self, most: Duration) -> Response<Reply> {
        let message = format!("The body took more than {} seconds.", most.as_secs());
        self.timed_out(&message)
    }

    pub(super) fn stalled(self, most: Duration) -> Response<Reply> {
        let message = format!("Too little of the body came in {} seconds.", most.as_secs());
        self.timed_out(&message)
    }

    fn timed_out(self, message: &str) -> Response<Reply> {
        last(self.error(
            StatusCode::REQUEST_TIMEOUT,
            "RequestTimeoutException",
            message,
        ))
    }

    /// There is no room for a request now; another one may have it later.
    pub(super) fn unavailable(self, message: &str) -> Response<Vec<u8>> {
        last(self.text(
            StatusCode::SERVICE_UNAVAILABLE,
            SERVICE_UNAVAILABLE,
            message,
        ))
    }

    fn error(self, status: StatusCode, code: &str, message: &str) -> Response<Reply> {
        self.text(status, code, message).map(Reply::Said)
    }

    fn text(self, status: StatusCode, code: &str, message: &str) -> Response<Vec<u8>> {
        #[derive(Serialize)]
        struct Error<'a> {
            __type: &'a str,
            message: &'a str,
        }
        let error = Error {
            __type: code,
            message,
        };
        let body = self.format.write(&error);
        let said = body.expect("two texts can be written");
        self.dressed(status, self.format.content_type(), said)
    }

    /// Events as they come.
    pub(super) fn events(self, events: Events) -> Response<Reply> {
        let events = Reply::Events(Box::new(events));
        self.dressed(StatusCode::OK, event_stream::CONTENT_TYPE, events)
    }

    /// Where events should be, something else.
    pub(super) fn no_events(self) -> Response<Reply> {
        let page = "<html><h1>This is not what you asked for</h1></html>";
        let page = Reply::Said(page.into());
        self.dressed(StatusCode::OK, event_stream::CONTENT_TYPE, page)
    }

    fn dressed<T>(self, status: StatusCode, kind: &'static str, reply: T) -> Response<T> {
        let mut response = Response::new(reply);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let content_type = HeaderValue::from_static(kind);
        headers.insert(CONTENT_TYPE, content_type);
        if let Some(date) = date(self.now) {
            headers.insert(DATE, date);
        }
        let (id, extended) = request_ids();
        headers.insert("x-amzn-requestid", id);
        headers.insert("x-amz-id-2", extended);
        response
    }
}

fn status(code: &str) -> StatusCode {
    match code.strip_suffix("Exception").unwrap_or(code) {
        INTERNAL_FAILURE => StatusCode::INTERNAL_SERVER_ERROR,
        SERVICE_UNAVAILABLE => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// Of its connection: nothing more is answered there, and what the client still sends is not looked at.
pub(super) fn last<T>(mut response: Response<T>) -> Response<T> {
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Clients put their clocks right by it. None before 1970 and after 9999, which it cannot tell.
fn date(now: Timestamp) -> Option<HeaderValue> {
    let millis = u64::try_from(now.as_millis()).ok()?;
    let now = Duration::from_millis(millis);
    if now.as_secs() >= YEAR_10000 {
        return None;
    }
    let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + now);
    HeaderValue::try_from(date).ok()
}

/// Unlike any others of this process, and of the usual shape.
fn request_ids() -> (HeaderValue, HeaderValue) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let part = |part: u8| {
        let mut md5 = Md5::new();
        md5.update(number.to_be_bytes());
        md5.update([part]);
        <[u8; 16]>::from(md5.finalize())
    };
    let id = u128::from_be_bytes(part(0));
    // A UUID of version 4.
    let id = id & !(0xf_u128 << 76) & !(0x3_u128 << 62) | 0x4_u128 << 76 | 0x2_u128 << 62;
    let hex = format!("{id:032x}");
    let groups = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    let extended = STANDARD.encode([part(1), part(2), part(3), part(4)].concat());
    let header = |text: String| {
        HeaderValue::try_from(text).expect("letters, digits and dashes may stand in a header")
    };
    (header(groups.join("-")), header(extended))
}

/// Of the errors that are common to all services.
const SERVICE_UNAVAILABLE: &str = "ServiceUnavailable";
/// 9999-12-31T23:59:59Z is the last second that a date of HTTP can tell.
const YEAR_10000: u64 = 253_402_300_800;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_uuids_and_differ() {
        let ids: Vec<_> = (0..100).map(|_| request_ids()).collect();
        for (id, extended) in &ids {
            let id = id.to_str().unwrap();
            let groups: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!(groups, [8, 4, 4, 4, 12], "{id}");
            assert_eq!(&id[14..15], "4", "{id}");
            assert!("89ab".contains(&id[19..20]), "{id}");
            assert_eq!(extended.len(), 88);
        }
        let mut distinct: Vec<_> = ids.iter().map(|(id, _)| id.to_str().unwrap()).collect();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 100);
    }

    #[test]
    fn a_date_is_told_where_there_is_one() {
        let told = |millis| {
            let date = date(Timestamp::from_millis(millis))?;
            Some(date.to_str().unwrap().to_owned())
        };
        let new_year = told(1_767_225_600_000).unwrap();
        assert_eq!(new_year, "Thu, 01 Jan 2026 00:00:00 GMT");
        assert_eq!(told(-1), None);
        assert_eq!(told(i64::MAX), None);
    }
}

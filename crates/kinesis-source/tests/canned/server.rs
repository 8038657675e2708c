//! A server on the loopback that gives the answers it was handed, one for each request.
#![allow(dead_code)] // Not every test program needs all of it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

pub(crate) enum Answer {
    /// A whole answer.
    Whole {
        status: u16,
        headers: String,
        body: Vec<u8>,
    },
    /// A subscription's events, then the connection breaks.
    BrokenEvents(Vec<u8>),
    /// A subscription's events, then nothing, for ever.
    EventsAndSilence(Vec<u8>),
    /// The head of an answer and a piece of its body, then the connection breaks.
    Broken,
    /// The connection breaks at once.
    Closed,
    /// Nothing, for ever.
    Silence,
}

impl Answer {
    pub(crate) fn json(status: u16, body: impl Into<String>) -> Self {
        Self::Whole {
            status,
            headers: "content-type: application/x-amz-json-1.1\r\n".into(),
            body: body.into().into_bytes(),
        }
    }

    /// A subscription that sends these frames and ends.
    pub(crate) fn events(frames: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self::Whole {
            status: 200,
            headers: EVENT_STREAM.into(),
            body: frames.into_iter().flatten().collect(),
        }
    }

    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::json(
            status,
            format!(r#"{{"__type":"{code}","message":{message:?}}}"#),
        )
    }

    pub(crate) fn html(status: u16) -> Self {
        Self::Whole {
            status,
            headers: "content-type: text/html\r\n".into(),
            body: b"<html><h1>Something went wrong</h1></html>".to_vec(),
        }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self::Whole {
            status,
            headers: String::new(),
            body: Vec::new(),
        }
    }

    #[must_use]
    pub(crate) fn with_header(self, header: &str) -> Self {
        match self {
            Self::Whole {
                status,
                headers,
                body,
            } => Self::Whole {
                status,
                headers: format!("{headers}{header}\r\n"),
                body,
            },
            other => other,
        }
    }
}

/// A request: its operation by AWS's name, and its body.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) operation: String,
    pub(crate) body: String,
}

pub(crate) struct CannedServer {
    pub(crate) url: String,
    script: Arc<Script>,
    accepting: AbortHandle,
}

struct Script {
    answers: Mutex<VecDeque<Answer>>,
    requests: Mutex<Vec<Request>>,
}

impl CannedServer {
    pub(crate) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let script = Arc::new(Script {
            answers: Mutex::new(answers.into_iter().collect()),
            requests: Mutex::default(),
        });
        let serving = Arc::clone(&script);
        let accepting = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&serving)));
            }
        });
        Self {
            url,
            script,
            accepting: accepting.abort_handle(),
        }
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.script.requests.lock().unwrap().clone()
    }
}

impl Drop for CannedServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut connection: TcpStream, script: Arc<Script>) {
    while let Some(request) = read_request(&mut connection).await {
        script.requests.lock().unwrap().push(request);
        let answer = script.answers.lock().unwrap().pop_front();
        match answer.unwrap_or(Answer::Silence) {
            Answer::Whole {
                status,
                headers,
                body,
            } => {
                let length = body.len();
                let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n");
                let bytes = [head.as_bytes(), b"\r\n", &body].concat();
                connection.write_all(&bytes).await.unwrap();
            }
            Answer::BrokenEvents(body) => {
                connection.write_all(&unfinished(&body)).await.unwrap();
                return;
            }
            Answer::EventsAndSilence(body) => {
                connection.write_all(&unfinished(&body)).await.unwrap();
                std::future::pending::<()>().await;
            }
            Answer::Broken => {
                let text = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"Records\":[";
                connection.write_all(text.as_bytes()).await.unwrap();
                return;
            }
            Answer::Closed => return,
            Answer::Silence => std::future::pending().await,
        }
    }
}

/// An answer that promises more than it has.
fn unfinished(body: &[u8]) -> Vec<u8> {
    let length = body.len() + 1_000;
    let head = format!("HTTP/1.1 200 X\r\n{EVENT_STREAM}content-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

const EVENT_STREAM: &str = "content-type: application/vnd.amazon.eventstream\r\n";

async fn read_request(connection: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if connection.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let length: usize = header("content-length").map_or(0, |length| length.parse().unwrap());
    while bytes.len() < head_end + length {
        if connection.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(Request {
        operation: header("x-amz-target")?.split_once('.')?.1.to_owned(),
        body: String::from_utf8(bytes[head_end..].to_vec()).unwrap(),
    })
}

//! An API that answers by a script, and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::answer::Answer;

/// Stops when it is dropped.
pub(super) struct ScriptedApi {
    pub(super) url: String,
    asked: Arc<Asked>,
    server: tokio::task::JoinHandle<()>,
}

/// One step of a script.
pub(super) enum Step {
    Say(Answer),
    /// Keeps the connection open and says nothing.
    Nothing,
}

/// What a request said that a repetition must say as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) key: String,
    pub(super) body: Vec<u8>,
    authorization: String,
}

#[derive(Default)]
struct Asked {
    requests: Mutex<Vec<Request>>,
    one: Notify,
}

impl ScriptedApi {
    /// After the last step, it always says the same.
    pub(super) async fn start(script: impl IntoIterator<Item = Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/payments", listener.local_addr().expect("bound"));
        let asked = Arc::new(Asked::default());
        let mut script: VecDeque<Step> = script.into_iter().collect();
        let server = tokio::spawn({
            let asked = Arc::clone(&asked);
            async move {
                let mut silent = Vec::new();
                loop {
                    let (mut connection, _) = listener.accept().await.expect("accepts");
                    let Some(request) = read(&mut connection).await else { continue };
                    asked.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                    match script.pop_front().unwrap_or_else(|| Step::Say(Answer::last())) {
                        Step::Say(answer) => {
                            // A client may hang up in the middle of a malformed answer.
                            let _ = connection.write_all(&answer.bytes()).await;
                            let _ = connection.shutdown().await;
                        }
                        Step::Nothing => silent.push(connection),
                    }
                    asked.one.notify_one();
                }
            }
        });
        Self { url, asked, server }
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.asked.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a request after the last one that was waited for.
    pub(super) async fn asked(&self) {
        self.asked.one.notified().await;
    }
}

impl Drop for ScriptedApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A request to its end; `None` if the client hung up before.
async fn read(connection: &mut TcpStream) -> Option<Request> {
    let mut received = Vec::new();
    let head = loop {
        if let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end;
        }
        if connection.read_buf(&mut received).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(received[..head].to_vec()).ok()?;
    let header = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.by_ref().filter(|(found, _)| found.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.trim().to_owned()).unwrap_or_default();
        assert!(found.next().is_none(), "two headers {name}");
        value
    };
    assert!(text.starts_with("POST /payments HTTP/1.1\r\n"), "{text}");
    assert_eq!(header("content-type"), "application/json");
    let length: usize = header("content-length").parse().expect("a length");
    while received.len() < head + 4 + length {
        if connection.read_buf(&mut received).await.ok()? == 0 {
            return None;
        }
    }
    let body = received[head + 4..].to_vec();
    Some(Request { key: header("idempotency-key"), body, authorization: header("authorization") })
}

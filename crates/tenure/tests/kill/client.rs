//! A client that never gives up: every request that may change something carries an idempotency key and is
//! sent again, under the same key, until somebody answers it.

use std::time::{Duration, Instant};

use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use tokio::sync::watch;

use super::world::KEY;

/// How long one request may take, repetitions included.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long one try may take: a server may be frozen.
const TRY: Duration = Duration::from_secs(5);
/// The pause before the next try.
const PAUSE: Duration = Duration::from_millis(5);
/// How long a stream that was lost looks for another server than the one it was lost at.
const ELSEWHERE: Duration = Duration::from_secs(1);
/// How long a stream may last: longer than any test.
const STREAM: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a stream may say nothing: two heartbeats, and the longest freeze of a node.
const SILENCE: Duration = Duration::from_secs(45);

/// Talks to whichever server is running.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    server: watch::Receiver<Option<String>>,
}

impl Client {
    pub(crate) fn new(server: watch::Receiver<Option<String>>) -> Self {
        // Only the first of several providers can be installed, and one is enough.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(TRY).build().expect("a client");
        Self { http, server }
    }

    /// A client of a server that stays.
    pub(crate) fn of(address: &str) -> Self {
        Self::new(watch::channel(Some(address.to_owned())).1)
    }

    /// Posts until the request is answered; gives the status and the body, null if there is none.
    pub(crate) async fn post(&self, path: &str, body: &Value, key: &str) -> (u16, Value) {
        let request = |url: String| self.http.post(url).json(body).header("Idempotency-Key", key);
        self.answer(path, request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.answer(path, |url| self.http.get(url)).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// A whole list, oldest first.
    pub(crate) async fn list(&self, path: &str) -> Vec<Value> {
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let mut page = self.get(&format!("{path}?order=asc&limit=100{after}")).await;
            let more = page["has_more"].as_bool().expect("a list");
            after = format!("&after={}", page["last_id"].as_str().unwrap_or_default());
            let Value::Array(data) = page["data"].take() else { panic!("{path} is no list") };
            found.extend(data);
            if !more {
                return found;
            }
        }
    }

    /// Opens a stream, at another server than `before` if there is one.
    pub(crate) async fn stream(&self, path: &str, before: Option<&str>) -> Stream {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "nobody streams {path}");
            let mut server = self.server.clone();
            let is_another = |server: &Option<String>| server.is_some() && server.as_deref() != before;
            // If there is no other, the same one will do.
            let _ = tokio::time::timeout(ELSEWHERE, server.wait_for(is_another)).await;
            let address = server.borrow().clone();
            if let Some(address) = address
                && let Some(stream) = self.stream_of(address, path).await
            {
                return stream;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// One try; `None` if it is to be made again.
    async fn stream_of(&self, address: String, path: &str) -> Option<Stream> {
        let request = self.http.get(format!("{address}{path}")).timeout(STREAM);
        let request = request.bearer_auth(KEY).header("OpenAI-Beta", "agents=v1");
        let response = tokio::time::timeout(TRY, request.send()).await.ok()?.ok()?;
        let status = response.status().as_u16();
        assert!(status == 200 || status >= 500, "{path}: {status}");
        (status == 200).then(|| Stream { address, response, buffer: Vec::new(), is_lost: false })
    }

    async fn answer(&self, path: &str, request: impl Fn(String) -> RequestBuilder) -> (u16, Value) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "nobody answers {path}");
            if let Some(answer) = self.attempt(path, &request).await {
                return answer;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// One try; `None` if it is to be made again.
    async fn attempt(&self, path: &str, request: &impl Fn(String) -> RequestBuilder) -> Option<(u16, Value)> {
        let server = self.server.borrow().clone()?;
        let request = request(format!("{server}{path}")).bearer_auth(KEY).header("OpenAI-Beta", "agents=v1");
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await.ok()?;
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        // The first request with the key is still being carried out.
        let is_busy = status == 409 && body["error"]["code"] == "in_progress";
        (status < 500 && !is_busy).then_some((status, body))
    }
}

/// A stream of events that a server tells.
pub(crate) struct Stream {
    /// Who tells it.
    pub(crate) address: String,
    response: Response,
    buffer: Vec<u8>,
    /// Whether it ended because the connection was lost.
    pub(crate) is_lost: bool,
}

impl Stream {
    /// The next event; nothing at the end. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let frame: Vec<u8> = self.buffer.drain(..end + 2).collect();
                let frame = std::str::from_utf8(&frame).expect("UTF-8").trim_end();
                if let Some(event) = read(frame) {
                    return Some(event);
                }
            }
            let chunk = tokio::time::timeout(SILENCE, self.response.chunk()).await;
            match chunk.expect("heartbeats come while nothing happens") {
                Ok(Some(bytes)) => self.buffer.extend_from_slice(&bytes),
                Ok(None) => {
                    assert!(self.buffer.is_empty(), "the stream ended in the middle of an event");
                    return None;
                }
                Err(_) => {
                    self.is_lost = true;
                    return None;
                }
            }
        }
    }
}

/// The event of a frame; nothing in a heartbeat.
fn read(frame: &str) -> Option<Value> {
    if frame.starts_with(':') {
        return None;
    }
    let (name, data) = frame.split_once('\n').unwrap_or_else(|| panic!("two lines: {frame}"));
    let (name, data) = (name.strip_prefix("event: "), data.strip_prefix("data: "));
    let event: Value = serde_json::from_str(data.expect("data")).unwrap_or_else(|_| panic!("JSON: {frame}"));
    assert_eq!(event["type"].as_str(), name, "{frame}");
    Some(event)
}

//! A client that never gives up: every request that may change something carries an idempotency key and is
//! sent again, under the same key, until somebody answers it.

use std::time::{Duration, Instant};

use reqwest::RequestBuilder;
use serde_json::Value;
use tokio::sync::watch;

use super::world::KEY;

/// How long one request may take, repetitions included.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long one try may take: a server may be frozen.
const TRY: Duration = Duration::from_secs(5);
/// The pause before the next try.
const PAUSE: Duration = Duration::from_millis(5);

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

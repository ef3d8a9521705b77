//! The transport: one HTTP request, one answer, read while it streams.
//!
//! It makes one attempt. It follows no redirect, because that would carry the key elsewhere, and reads no
//! proxy from the environment. Whatever the provider says in an error stays here; only its kind leaves.
//! Dropping the future of [`Model::answer`], or firing its token, closes the connection, so that a provider
//! stops generating what nobody will read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use tenure_journal::{Failure, FailureKind, ModelAnswer, ModelRequest, Timestamp};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::codec::StreamDecoder;
use crate::failure::{Refused, of_kind, with_message};
use crate::{Delta, Model, Secret, Wire, sse};

/// Time to reach the provider, in milliseconds; name, connection and TLS together.
pub const CONNECT_MS: u64 = 10_000;
/// Time until the response begins, in milliseconds. Providers queue, and think before they speak.
pub const FIRST_BYTE_MS: u64 = 180_000;
/// Time without a byte in the middle of an answer, in milliseconds. Thinking can be silent for minutes.
pub const IDLE_MS: u64 = 180_000;
/// Time for a whole answer, in milliseconds; a server that trickles for ever ends here.
pub const ANSWER_MS: u64 = 60 * 60 * 1000;
/// Bytes of one response, framing included. Streams repeat their text up to three times.
pub const BODY_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Bytes read of an error body: enough for its code.
pub const ERROR_BYTES_MAX: usize = 64 * 1024;

const _: () = assert!(FIRST_BYTE_MS < ANSWER_MS && IDLE_MS < ANSWER_MS, "the whole takes longer than a part");

/// How a provider is reached.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Where the API begins, such as `https://api.openai.com/v1`. A query stays with every request.
    pub base_url: Url,
    /// Sent as a bearer token.
    pub api_key: Option<Secret>,
    /// What the provider speaks.
    pub wire: Wire,
    /// Further headers of every request.
    pub headers: Vec<(String, Secret)>,
    /// How long to wait.
    pub timeouts: Timeouts,
}

impl HttpConfig {
    /// A provider at `base_url` with the usual timeouts and no further headers.
    #[must_use]
    pub fn new(base_url: Url, wire: Wire, api_key: Option<Secret>) -> Self {
        Self { base_url, api_key, wire, headers: Vec::new(), timeouts: Timeouts::default() }
    }
}

/// How long to wait, each in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until connected.
    pub connect_ms: u64,
    /// Until the response begins, connecting included.
    pub first_byte_ms: u64,
    /// Between bytes.
    pub idle_ms: u64,
    /// For everything.
    pub answer_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect_ms: CONNECT_MS, first_byte_ms: FIRST_BYTE_MS, idle_ms: IDLE_MS, answer_ms: ANSWER_MS }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpConfigError {
    /// The base URL is not an HTTP URL.
    #[error("the base URL must begin with `https://` or `http://`")]
    BaseUrl,
    /// The base URL carries a user name or password.
    #[error("the base URL must not contain credentials; set the API key instead")]
    Credentials,
    /// The key cannot be sent in a header.
    #[error("the API key contains characters that cannot be sent")]
    ApiKey,
    /// A header is not one.
    #[error("`{0}` cannot be sent as a header")]
    Header(String),
    /// The process installed no TLS provider.
    #[error("no TLS provider is installed in this process")]
    Tls,
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be built")]
    Client,
}

/// A model provider over HTTP.
#[derive(Debug, Clone)]
pub struct HttpModel {
    client: reqwest::Client,
    url: Url,
    wire: Wire,
    timeouts: Timeouts,
}

impl HttpModel {
    /// Prepares to reach the provider. The process must have installed a `rustls` crypto provider.
    ///
    /// # Errors
    /// What is wrong with the configuration; no message contains a secret.
    pub fn new(config: &HttpConfig) -> Result<Self, HttpConfigError> {
        let url = endpoint(&config.base_url, config.wire)?;
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(HttpConfigError::Tls);
        }
        let client = reqwest::Client::builder()
            .default_headers(headers(config)?)
            .connect_timeout(Duration::from_millis(config.timeouts.connect_ms))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .build()
            .map_err(|_| HttpConfigError::Client)?;
        Ok(Self { client, url, wire: config.wire, timeouts: config.timeouts })
    }

    async fn attempt(
        &self,
        request: &ModelRequest,
        sink: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<ModelAnswer, Failure> {
        let deadline = Instant::now() + Duration::from_millis(self.timeouts.answer_ms);
        let body = self.wire.encode(request).to_string();
        let sending = self.client.post(self.url.clone()).body(body).send();
        let first_byte = Duration::from_millis(self.timeouts.first_byte_ms);
        let response = match timeout(first_byte, sending).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => return Err(of_kind(FailureKind::ConnectionFailed)),
            Err(_) => return Err(of_kind(FailureKind::Timeout)),
        };
        let body = Body { response, left: BODY_BYTES_MAX, idle_ms: self.timeouts.idle_ms, deadline };
        if !body.response.status().is_success() {
            return Err(body.refused().await);
        }
        let content_type = body.response.headers().get(CONTENT_TYPE);
        let streams = content_type
            .and_then(|value| value.to_str().ok())
            .is_none_or(|value| !value.trim_start().starts_with("application/json"));
        if streams {
            body.stream(self.wire.decoder(), sink).await
        } else {
            body.whole(self.wire.decoder(), sink).await
        }
    }
}

#[async_trait]
impl Model for HttpModel {
    async fn answer(
        &self,
        request: &ModelRequest,
        sink: &mut (dyn FnMut(Delta) + Send),
        cancel: &CancellationToken,
    ) -> Result<ModelAnswer, Failure> {
        tokio::select! {
            biased;
            () = cancel.cancelled() => {
                Err(with_message(FailureKind::ConnectionFailed, "the model call was cancelled"))
            }
            outcome = self.attempt(request, sink) => outcome,
        }
    }
}

fn endpoint(base: &Url, wire: Wire) -> Result<Url, HttpConfigError> {
    if !matches!(base.scheme(), "http" | "https") {
        return Err(HttpConfigError::BaseUrl);
    }
    if !base.username().is_empty() || base.password().is_some() {
        return Err(HttpConfigError::Credentials);
    }
    let mut url = base.clone();
    url.path_segments_mut().map_err(|()| HttpConfigError::BaseUrl)?.pop_if_empty().extend(wire.path());
    Ok(url)
}

fn headers(config: &HttpConfig) -> Result<HeaderMap, HttpConfigError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream, application/json"));
    if let Some(key) = &config.api_key {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose()))
            .map_err(|_| HttpConfigError::ApiKey)?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    for (name, value) in &config.headers {
        let refused = || HttpConfigError::Header(name.clone());
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| refused())?;
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    Ok(headers)
}

/// A response body under its limits.
struct Body {
    response: reqwest::Response,
    left: usize,
    idle_ms: u64,
    deadline: Instant,
}

impl Body {
    async fn chunk(&mut self) -> Result<Option<impl AsRef<[u8]> + use<>>, Failure> {
        let idle = Instant::now() + Duration::from_millis(self.idle_ms);
        match timeout_at(idle.min(self.deadline), self.response.chunk()).await {
            Ok(Ok(Some(chunk))) => match self.left.checked_sub(chunk.len()) {
                Some(left) => {
                    self.left = left;
                    Ok(Some(chunk))
                }
                None => {
                    Err(with_message(FailureKind::Protocol, "the model provider's response is too large"))
                }
            },
            Ok(Ok(None)) => Ok(None),
            Ok(Err(_)) => Err(of_kind(FailureKind::ConnectionFailed)),
            Err(_) => Err(of_kind(FailureKind::Timeout)),
        }
    }

    async fn stream(
        mut self,
        mut decoder: StreamDecoder,
        sink: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<ModelAnswer, Failure> {
        let mut reader = sse::Decoder::new();
        let mut events = Vec::new();
        while !decoder.is_ended() {
            let chunk = match self.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                // An answer that was complete but for its farewell is an answer.
                Err(failure) => return decoder.finish().map_err(|_| failure),
            };
            let read = reader.feed(chunk.as_ref(), &mut events);
            for event in events.drain(..) {
                decoder.feed(&event)?.into_iter().for_each(&mut *sink);
            }
            read.map_err(|error| with_message(FailureKind::Protocol, error.to_string()))?;
        }
        decoder.finish()
    }

    async fn whole(
        mut self,
        mut decoder: StreamDecoder,
        sink: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<ModelAnswer, Failure> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            bytes.extend_from_slice(chunk.as_ref());
        }
        decoder.feed_body(&bytes)?.into_iter().for_each(sink);
        decoder.finish()
    }

    /// The failure of a response without success. Its status counts even if its body cannot be read.
    async fn refused(mut self) -> Failure {
        let mut bytes = Vec::new();
        while let Ok(Some(chunk)) = self.chunk().await {
            bytes.extend_from_slice(chunk.as_ref());
            if bytes.len() >= ERROR_BYTES_MAX {
                break;
            }
        }
        let header =
            |name: HeaderName| self.response.headers().get(name).and_then(|value| value.to_str().ok());
        let refused = Refused {
            status: self.response.status().as_u16(),
            retry_after: header(RETRY_AFTER),
            retry_after_ms: header(HeaderName::from_static("retry-after-ms")),
            body: &bytes,
        };
        refused.to_failure(now())
    }
}

/// The wall clock, for `Retry-After` dates only.
fn now() -> Timestamp {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_the_endpoint() {
        let cases = [
            ("https://api.example.com/v1", Ok("https://api.example.com/v1/responses")),
            ("https://api.example.com/v1/", Ok("https://api.example.com/v1/responses")),
            ("http://127.0.0.1:8080", Ok("http://127.0.0.1:8080/responses")),
            (
                "https://x.example/openai?api-version=1",
                Ok("https://x.example/openai/responses?api-version=1"),
            ),
            ("https://user:pass@x.example/v1", Err(HttpConfigError::Credentials)),
            ("file:///etc/passwd", Err(HttpConfigError::BaseUrl)),
        ];
        for (base, expected) in cases {
            let url = endpoint(&base.parse().expect("a URL"), Wire::Responses);
            assert_eq!(url.as_ref().map(Url::as_str).map_err(Clone::clone), expected, "{base}");
        }
    }

    #[test]
    fn shows_no_secret() {
        let mut config = HttpConfig::new(
            "https://api.example.com/v1".parse().expect("a URL"),
            Wire::Chat,
            Some(Secret::new("sk-1\n")),
        );
        assert_eq!(headers(&config).expect_err("a line feed"), HttpConfigError::ApiKey);
        config.api_key = Some(Secret::new("sk-1"));
        config.headers = vec![("api-key".into(), Secret::new("sk-2"))];
        let shown = format!("{config:?} {:?}", headers(&config).expect("valid headers"));
        assert!(!shown.contains("sk-"), "{shown}");
        config.headers = vec![("bad header".into(), Secret::new("sk-3"))];
        let error = headers(&config).expect_err("a space in a name").to_string();
        assert_eq!(error, "`bad header` cannot be sent as a header");
    }
}

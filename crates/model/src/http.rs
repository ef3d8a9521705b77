//! The transport: one HTTP request, one answer, read while it streams.
//!
//! It makes one attempt. It follows no redirect, because that would carry the key elsewhere, and reads no
//! proxy from the environment. Whatever the provider says in an error stays here; only its kind leaves.
//! Dropping the future of [`Model::answer`], or firing its token, closes the connection, so that a provider
//! stops generating what nobody will read.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use tenure_journal::{Failure, FailureKind, ModelAnswer, ModelRequest, Timestamp};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::auth::{Auth, Proof};
use crate::codec::{Framing, StreamDecoder, anthropic, percent_encoded};
use crate::embeddings::{self, EmbedAnswer, EmbedRequest, Embeddings};
use crate::entra::Tokens;
use crate::eventstream::{self, EventStreamError};
use crate::failure::{Refused, of_kind, with_message};
use crate::sigv4::Unsigned;
use crate::sse::SseError;
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
    /// What proves who asks.
    pub auth: Auth,
    /// What the provider speaks.
    pub wire: Wire,
    /// Where a request says which model it means.
    pub addressing: Addressing,
    /// Whether the provider is asked to keep the answers, where the format has a word for it. The runtime never
    /// reads them back.
    pub store: bool,
    /// Further headers of every request.
    pub headers: Vec<(String, Secret)>,
    /// How long to wait.
    pub timeouts: Timeouts,
}

impl HttpConfig {
    /// A provider at `base_url` with a key where its wire format wants it, the usual timeouts and no further
    /// headers.
    #[must_use]
    pub fn new(base_url: Url, wire: Wire, api_key: Option<Secret>) -> Self {
        Self {
            base_url,
            auth: Auth::key(wire, api_key),
            wire,
            addressing: Addressing::Usual,
            store: false,
            headers: Vec::new(),
            timeouts: Timeouts::default(),
        }
    }
}

/// Where a request says which model it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Addressing {
    /// Where the wire format has it.
    #[default]
    Usual,
    /// In the path too, as Azure's dated API wants its deployments.
    Deployments,
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
    base_url: Url,
    wire: Wire,
    addressing: Addressing,
    store: bool,
    proof: Proof,
    timeouts: Timeouts,
}

impl HttpModel {
    /// Prepares to reach the provider. The process must have installed a `rustls` crypto provider.
    ///
    /// # Errors
    /// What is wrong with the configuration; no message contains a secret.
    pub fn new(config: &HttpConfig) -> Result<Self, HttpConfigError> {
        let HttpConfig { wire, addressing, store, .. } = *config;
        // Whether the address is one does not depend on the model.
        endpoint(&config.base_url, wire, addressing, "model")?;
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(HttpConfigError::Tls);
        }
        let client = |headers: HeaderMap| {
            reqwest::Client::builder()
                .default_headers(headers)
                .connect_timeout(Duration::from_millis(config.timeouts.connect_ms))
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .no_proxy()
                .build()
                .map_err(|_| HttpConfigError::Client)
        };
        let proof = match &config.auth {
            Auth::None | Auth::Bearer(_) | Auth::XApiKey(_) | Auth::ApiKey(_) => Proof::Fixed,
            Auth::SigV4(signer) => Proof::Signature(signer.clone()),
            // Nothing that is meant for the provider goes to who gives the tokens.
            Auth::ClientCredentials(credentials) => {
                let tokens = Tokens::new(client(HeaderMap::new())?, credentials.as_ref().clone());
                Proof::Token(Arc::new(tokens))
            }
        };
        let client = client(headers(config)?)?;
        let (base_url, timeouts) = (config.base_url.clone(), config.timeouts);
        Ok(Self { client, base_url, wire, addressing, store, proof, timeouts })
    }

    async fn attempt(
        &self,
        request: &ModelRequest,
        sink: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<ModelAnswer, Failure> {
        let deadline = Instant::now() + Duration::from_millis(self.timeouts.answer_ms);
        let url = endpoint(&self.base_url, self.wire, self.addressing, &request.model)
            .map_err(|_| of_kind(FailureKind::Internal))?;
        let mut body = self.wire.encode(request);
        if self.store && matches!(self.wire, Wire::Responses | Wire::Chat) {
            body["store"] = true.into();
        }
        let body = self.post(url, body.to_string(), (BODY_BYTES_MAX, deadline)).await?;
        let content_type = body.response.headers().get(CONTENT_TYPE);
        let streams = content_type
            .and_then(|value| value.to_str().ok())
            .is_none_or(|value| !value.trim_start().starts_with("application/json"));
        if streams {
            body.stream(Reader::of(self.wire.framing()), self.wire.decoder(), sink).await
        } else {
            body.whole(self.wire.decoder(), sink).await
        }
    }

    /// Asks for vectors once, where OpenAI's formats have them.
    async fn vectors(&self, request: &EmbedRequest) -> Result<EmbedAnswer, Failure> {
        let deadline = Instant::now() + Duration::from_millis(self.timeouts.answer_ms);
        let url = embeddings_endpoint(&self.base_url, self.addressing, &request.model)
            .map_err(|_| of_kind(FailureKind::Internal))?;
        let body = embeddings::encode(request).to_string();
        let mut body = self.post(url, body, (embeddings::BODY_BYTES_MAX, deadline)).await?;
        embeddings::decode(&body.bytes().await?, request.texts.len())
    }

    /// Sends a request, and gives the body of an answer that is a success.
    async fn post(
        &self,
        url: Url,
        body: String,
        (bytes_max, deadline): (usize, Instant),
    ) -> Result<Body, Failure> {
        let (headers, token) = self.prove(&url, body.as_bytes()).await?;
        let sending = self.client.post(url).headers(headers).body(body).send();
        let first_byte = Duration::from_millis(self.timeouts.first_byte_ms);
        let response = match timeout(first_byte, sending).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => return Err(of_kind(FailureKind::ConnectionFailed)),
            Err(_) => return Err(of_kind(FailureKind::Timeout)),
        };
        let body = Body { response, left: bytes_max, idle_ms: self.timeouts.idle_ms, deadline };
        if !body.response.status().is_success() {
            let failure = body.refused().await;
            if let (Proof::Token(tokens), Some(token), FailureKind::Authentication) =
                (&self.proof, token, failure.kind)
            {
                tokens.forget(&token).await;
            }
            return Err(failure);
        }
        Ok(body)
    }

    /// The headers that prove who asks, and the token among them.
    async fn prove(&self, url: &Url, body: &[u8]) -> Result<(HeaderMap, Option<Secret>), Failure> {
        let mut headers = HeaderMap::new();
        let unsendable = || of_kind(FailureKind::Internal);
        match &self.proof {
            Proof::Fixed => Ok((headers, None)),
            Proof::Signature(signer) => {
                let host = url.host_str().unwrap_or_default();
                let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
                let request = Unsigned {
                    method: "POST",
                    host: &host,
                    path: url.path(),
                    query: url.query().unwrap_or_default(),
                    content_type: CONTENT_TYPE_JSON,
                    body,
                };
                for (name, value) in signer.sign(&request, now()) {
                    headers.insert(
                        HeaderName::from_static(name),
                        sensitive(value.expose()).ok_or_else(unsendable)?,
                    );
                }
                Ok((headers, None))
            }
            Proof::Token(tokens) => {
                let token = tokens.token().await?;
                let value = sensitive(&format!("Bearer {}", token.expose())).ok_or_else(unsendable)?;
                headers.insert(AUTHORIZATION, value);
                Ok((headers, Some(token)))
            }
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

#[async_trait]
impl Embeddings for HttpModel {
    async fn embed(&self, request: &EmbedRequest) -> Result<EmbedAnswer, Failure> {
        self.vectors(request).await
    }
}

fn endpoint(base: &Url, wire: Wire, addressing: Addressing, model: &str) -> Result<Url, HttpConfigError> {
    at(base, addressing, model, &wire.path(model))
}

fn embeddings_endpoint(base: &Url, addressing: Addressing, model: &str) -> Result<Url, HttpConfigError> {
    at(base, addressing, model, embeddings::PATH)
}

fn at(base: &Url, addressing: Addressing, model: &str, method: &str) -> Result<Url, HttpConfigError> {
    if !matches!(base.scheme(), "http" | "https") {
        return Err(HttpConfigError::BaseUrl);
    }
    if !base.username().is_empty() || base.password().is_some() {
        return Err(HttpConfigError::Credentials);
    }
    let mut path = base.path().trim_end_matches('/').to_owned();
    match addressing {
        Addressing::Usual => {}
        Addressing::Deployments => path.push_str(&format!("/deployments/{}", percent_encoded(model))),
    }
    let mut url = base.clone();
    url.set_path(&format!("{path}/{method}"));
    Ok(url)
}

const CONTENT_TYPE_JSON: &str = "application/json";
const API_KEY: HeaderName = HeaderName::from_static("api-key");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// A value that no log shows; none where it cannot be sent.
fn sensitive(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn headers(config: &HttpConfig) -> Result<HeaderMap, HttpConfigError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE_JSON));
    let accepted = match config.wire.framing() {
        Framing::Sse => "text/event-stream, application/json",
        Framing::EventStream => "application/vnd.amazon.eventstream, application/json",
    };
    headers.insert(ACCEPT, HeaderValue::from_static(accepted));
    if config.wire == Wire::Anthropic {
        headers.insert(ANTHROPIC_VERSION, HeaderValue::from_static(anthropic::VERSION));
    }
    let key = match &config.auth {
        Auth::None | Auth::SigV4(_) | Auth::ClientCredentials(_) => None,
        Auth::Bearer(key) => Some((AUTHORIZATION, format!("Bearer {}", key.expose()))),
        Auth::XApiKey(key) => Some((X_API_KEY, key.expose().to_owned())),
        Auth::ApiKey(key) => Some((API_KEY, key.expose().to_owned())),
    };
    if let Some((name, value)) = key {
        headers.insert(name, sensitive(&value).ok_or(HttpConfigError::ApiKey)?);
    }
    for (name, value) in &config.headers {
        let refused = || HttpConfigError::Header(name.clone());
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
        headers.insert(header, sensitive(value.expose()).ok_or_else(refused)?);
    }
    Ok(headers)
}

/// Takes the events of a stream apart.
enum Reader {
    Sse(sse::Decoder),
    EventStream(eventstream::Decoder),
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Sse(#[from] SseError),
    #[error(transparent)]
    EventStream(#[from] EventStreamError),
}

impl Reader {
    fn of(framing: Framing) -> Self {
        match framing {
            Framing::Sse => Self::Sse(sse::Decoder::new()),
            Framing::EventStream => Self::EventStream(eventstream::Decoder::new()),
        }
    }

    fn feed(&mut self, bytes: &[u8], events: &mut Vec<sse::Event>) -> Result<(), ReadError> {
        match self {
            Self::Sse(decoder) => Ok(decoder.feed(bytes, events)?),
            Self::EventStream(decoder) => Ok(decoder.feed(bytes, events)?),
        }
    }
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
        mut reader: Reader,
        mut decoder: StreamDecoder,
        sink: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<ModelAnswer, Failure> {
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
        decoder.feed_body(&self.bytes().await?)?.into_iter().for_each(sink);
        decoder.finish()
    }

    async fn bytes(&mut self) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            bytes.extend_from_slice(chunk.as_ref());
        }
        Ok(bytes)
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

    #[expect(clippy::needless_pass_by_value, reason = "tables of literals read better without borrows")]
    #[track_caller]
    fn check(base: &str, wire: Wire, addressing: Addressing, expected: Result<&str, HttpConfigError>) {
        let url = endpoint(&base.parse().expect("a URL"), wire, addressing, "claude:0/x");
        assert_eq!(url.as_ref().map(Url::as_str).map_err(Clone::clone), expected, "{base}");
    }

    #[test]
    fn builds_the_endpoint() {
        let usual = |base, wire, expected| check(base, wire, Addressing::Usual, expected);
        let expected = Ok("https://api.example.com/v1/responses");
        usual("https://api.example.com/v1", Wire::Responses, expected.clone());
        usual("https://api.example.com/v1/", Wire::Responses, expected);
        usual("http://127.0.0.1:8080", Wire::Responses, Ok("http://127.0.0.1:8080/responses"));
        usual("https://api.anthropic.com/v1", Wire::Anthropic, Ok("https://api.anthropic.com/v1/messages"));
        usual(
            "https://x.example/openai?api-version=1",
            Wire::Responses,
            Ok("https://x.example/openai/responses?api-version=1"),
        );
        usual(
            "https://bedrock-runtime.eu-central-1.amazonaws.com",
            Wire::Converse,
            Ok("https://bedrock-runtime.eu-central-1.amazonaws.com/model/claude%3A0%2Fx/converse-stream"),
        );
        check(
            "https://x.openai.azure.com/openai?api-version=2024-10-21",
            Wire::Chat,
            Addressing::Deployments,
            Ok(
                "https://x.openai.azure.com/openai/deployments/claude%3A0%2Fx/chat/completions?api-version=2024-10-21",
            ),
        );
        for (base, addressing, expected) in [
            ("https://api.example.com/v1/", Addressing::Usual, "https://api.example.com/v1/embeddings"),
            (
                "https://x.openai.azure.com/openai?api-version=2024-10-21",
                Addressing::Deployments,
                "https://x.openai.azure.com/openai/deployments/small%2F3/embeddings?api-version=2024-10-21",
            ),
        ] {
            let url = embeddings_endpoint(&base.parse().expect("a URL"), addressing, "small/3");
            assert_eq!(url.as_ref().map(Url::as_str), Ok(expected), "{base}");
        }
        usual("https://user:pass@x.example/v1", Wire::Chat, Err(HttpConfigError::Credentials));
        usual("file:///etc/passwd", Wire::Chat, Err(HttpConfigError::BaseUrl));
    }

    #[test]
    fn shows_no_secret() {
        let mut config = HttpConfig::new(
            "https://api.example.com/v1".parse().expect("a URL"),
            Wire::Chat,
            Some(Secret::new("sk-1\n")),
        );
        assert_eq!(headers(&config).expect_err("a line feed"), HttpConfigError::ApiKey);
        config.auth = Auth::Bearer(Secret::new("sk-1"));
        config.headers = vec![("api-key".into(), Secret::new("sk-2"))];
        let shown = format!("{config:?} {:?}", headers(&config).expect("valid headers"));
        assert!(!shown.contains("sk-"), "{shown}");
        config.headers = vec![("bad header".into(), Secret::new("sk-3"))];
        let error = headers(&config).expect_err("a space in a name").to_string();
        assert_eq!(error, "`bad header` cannot be sent as a header");
    }
}

//! Streamable HTTP: the shipped client, with what it lacks.
//!
//! - A tool call's idempotency key travels in a header of that request too, so that a gateway which reads
//!   no bodies can recognise a repetition.
//! - Errors carry a status and nothing else. The shipped ones carry addresses and bodies, and end up in
//!   logs.
//! - No stream is opened for messages that belong to no request: nothing here waits for them, and it
//!   would cost one idle connection per server.
//! - An expired session is reported, not recovered: recovering answers the calls that were under way with
//!   an ordinary error, which would pass an unknown outcome for a certain one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::header::{HeaderName, HeaderValue};
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, GetMeta};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::common::client_side_sse::{BoxedSseResponse, FixedInterval};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpClientTransportConfig, StreamableHttpError,
    StreamableHttpPostResponse,
};
use tenure_journal::{Failure, FailureKind};

use crate::address::{Addresses, Only};
use crate::failure::failure;

/// Where the idempotency key travels in a call's `_meta`.
pub(crate) const KEY_IN_META: &str = "tenure/idempotency-key";
/// Bytes of one message from a server. The HTTP client has this limit built in for plain bodies.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

pub(crate) const KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// Headers that the protocol sets itself.
const RESERVED_HEADERS: [&str; 6] =
    ["accept", "content-type", "content-length", "mcp-session-id", "mcp-protocol-version", "last-event-id"];
/// How long a connection may take to be made, address look-up and TLS included.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// Requests in progress at once on one server; further ones wait their turn within their own deadline.
const REQUESTS_MAX: usize = 64;
/// Times an interrupted response stream is picked up again, where the server supports that.
const RESUMPTIONS_MAX: usize = 3;

/// The transport of all servers.
///
/// Redirects are not followed, since they would carry credentials elsewhere; proxies of the environment
/// are not used. Connections are not kept between requests: one that the server is about to close would
/// make a call's outcome unknown, and that costs more than a handshake.
///
/// # Errors
/// TLS could not be set up.
pub(crate) fn client() -> Result<reqwest::Client, reqwest::Error> {
    builder().build()
}

/// The same for servers that may be reached at some addresses only.
///
/// # Errors
/// TLS could not be set up.
pub(crate) fn client_within(addresses: Addresses) -> Result<reqwest::Client, reqwest::Error> {
    builder().dns_resolver(Arc::new(Only(addresses))).build()
}

fn builder() -> reqwest::ClientBuilder {
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIME_MAX)
        .pool_max_idle_per_host(0)
}

/// A transport to one server.
///
/// # Errors
/// `InvalidRequest`: the address or a header cannot be used; the message names it.
pub(crate) fn transport(
    client: reqwest::Client,
    url: &str,
    headers: &BTreeMap<String, String>,
) -> Result<StreamableHttpClientTransport<HttpClient>, Failure> {
    transport_over(HttpClient(client), url, headers)
}

/// The same over another client.
///
/// # Errors
/// As [`transport`].
pub(crate) fn transport_over<C: StreamableHttpClient>(
    client: C,
    url: &str,
    headers: &BTreeMap<String, String>,
) -> Result<StreamableHttpClientTransport<C>, Failure> {
    check_url(url)?;
    let mut resumption = FixedInterval::default();
    resumption.max_times = Some(RESUMPTIONS_MAX);
    let mut config = StreamableHttpClientTransportConfig::with_uri(url);
    config.custom_headers = checked_headers(headers)?;
    config.max_concurrent_requests = REQUESTS_MAX;
    config.max_sse_event_size = MESSAGE_BYTES_MAX;
    config.reinit_on_expired_session = false;
    config.retry_config = Arc::new(resumption);
    Ok(StreamableHttpClientTransport::with_client(client, config))
}

/// Refuses an address that is certainly not among those allowed.
///
/// # Errors
/// `InvalidRequest`.
pub(crate) fn check_address(url: &str, allowed: Addresses) -> Result<(), Failure> {
    if allowed.allow_url(url) {
        return Ok(());
    }
    let message = "the tool server is at an address that this server does not go to";
    Err(failure(FailureKind::InvalidRequest, message))
}

/// Whether `key` can travel in a header.
pub(crate) fn is_header_value(key: &str) -> bool {
    !key.is_empty() && HeaderValue::from_str(key).is_ok()
}

fn check_url(url: &str) -> Result<(), Failure> {
    let is_http =
        reqwest::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if is_http {
        return Ok(());
    }
    Err(failure(FailureKind::InvalidRequest, "the tool server's address is not an http or https address"))
}

fn checked_headers(headers: &BTreeMap<String, String>) -> Result<HashMap<HeaderName, HeaderValue>, Failure> {
    headers.iter().map(|(name, value)| checked_header(name, value)).collect()
}

fn checked_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Failure> {
    let refused = |why: &str| {
        let name = name.escape_debug();
        failure(FailureKind::InvalidRequest, format!("the tool server's header `{name}` {why}"))
    };
    let header =
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused("has a name that cannot be sent"))?;
    if RESERVED_HEADERS.contains(&header.as_str()) {
        return Err(refused("is set by the protocol; remove it"));
    }
    let mut value = HeaderValue::from_str(value).map_err(|_| refused("has a value that cannot be sent"))?;
    value.set_sensitive(true);
    Ok((header, value))
}

/// What the shipped client's errors come down to. Neither form shows an address or a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HttpError {
    /// No connection: nothing was sent.
    #[error("could not connect")]
    Connect,
    /// The connection broke, after some of the request may have been sent.
    #[error("the connection broke")]
    Broke,
    /// An answer with this status and nothing usable in it.
    #[error("HTTP status {0}")]
    Status(u16),
    /// An answer that is not MCP.
    #[error("not an answer of the protocol")]
    Invalid,
    /// An answer over the limit.
    #[error("the answer is too large")]
    TooLarge,
}

/// The shipped client, wrapped.
#[derive(Debug, Clone)]
pub(crate) struct HttpClient(reqwest::Client);

impl StreamableHttpClient for HttpClient {
    type Error = HttpError;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, StreamableHttpError<HttpError>> {
        let limit = MESSAGE_BYTES_MAX;
        self.post_message_with_max_sse_event_size(uri, message, session_id, auth_header, headers, limit).await
    }

    async fn post_message_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        mut headers: HashMap<HeaderName, HeaderValue>,
        limit: usize,
    ) -> Result<StreamableHttpPostResponse, StreamableHttpError<HttpError>> {
        if let Some(key) = idempotency_key(&message) {
            headers.insert(KEY_HEADER, key);
        }
        self.0
            .post_message_with_max_sse_event_size(uri, message, session_id, auth_header, headers, limit)
            .await
            .map(redacted_response)
            .map_err(redacted)
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), StreamableHttpError<HttpError>> {
        let deleted = self.0.delete_session(uri, session_id, auth_header, headers).await;
        if let Err(error) = deleted {
            tracing::debug!(error = %redacted(error), "session not deleted at the tool server");
        }
        Ok(())
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxedSseResponse, StreamableHttpError<HttpError>> {
        let limit = MESSAGE_BYTES_MAX;
        self.get_stream_with_max_sse_event_size(uri, session_id, last_event_id, auth_header, headers, limit)
            .await
    }

    /// Resumes a response. Any refusal ends the response: this error is the one that stops the transport
    /// from asking again while the call waits.
    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
        limit: usize,
    ) -> Result<BoxedSseResponse, StreamableHttpError<HttpError>> {
        if last_event_id.is_none() {
            return Err(StreamableHttpError::ServerDoesNotSupportSse);
        }
        self.0
            .get_stream_with_max_sse_event_size(uri, session_id, last_event_id, auth_header, headers, limit)
            .await
            .map(redacted_stream)
            .map_err(|_| StreamableHttpError::ServerDoesNotSupportSse)
    }
}

pub(crate) fn idempotency_key(message: &ClientJsonRpcMessage) -> Option<HeaderValue> {
    let ClientJsonRpcMessage::Request(request) = message else { return None };
    if !matches!(request.request, ClientRequest::CallToolRequest(_)) {
        return None;
    }
    let key = request.request.get_meta().0.0.get(KEY_IN_META)?.as_str()?;
    HeaderValue::from_str(key).ok()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is another crate's and grows")]
fn redacted(error: StreamableHttpError<reqwest::Error>) -> StreamableHttpError<HttpError> {
    let reduced = match error {
        StreamableHttpError::SessionExpired => return StreamableHttpError::SessionExpired,
        StreamableHttpError::Client(error) if error.is_connect() => HttpError::Connect,
        StreamableHttpError::Client(error) => match error.status() {
            Some(status) => HttpError::Status(status.as_u16()),
            None => HttpError::Broke,
        },
        StreamableHttpError::HttpStatus(status) => return StreamableHttpError::HttpStatus(status),
        StreamableHttpError::AuthRequired(_) => HttpError::Status(401),
        StreamableHttpError::InsufficientScope(_) => HttpError::Status(403),
        StreamableHttpError::UnexpectedServerResponse(text) => {
            status_in(&text).map_or(HttpError::Invalid, HttpError::Status)
        }
        StreamableHttpError::UnexpectedContentType(_) | StreamableHttpError::Deserialize(_) => {
            HttpError::Invalid
        }
        StreamableHttpError::ResponseBodyTooLarge { .. } => HttpError::TooLarge,
        _ => HttpError::Broke,
    };
    StreamableHttpError::Client(reduced)
}

fn redacted_response(response: StreamableHttpPostResponse) -> StreamableHttpPostResponse {
    match response {
        StreamableHttpPostResponse::Sse(stream, session) => {
            StreamableHttpPostResponse::Sse(redacted_stream(stream), session)
        }
        StreamableHttpPostResponse::Accepted => StreamableHttpPostResponse::Accepted,
        StreamableHttpPostResponse::Json(message, session) => {
            StreamableHttpPostResponse::Json(message, session)
        }
        unknown => unknown,
    }
}

/// A stream whose errors show no address: the transport logs them.
fn redacted_stream(stream: BoxedSseResponse) -> BoxedSseResponse {
    stream.map(|event| event.map_err(redacted_stream_error)).boxed()
}

fn redacted_stream_error(error: SseError) -> SseError {
    match error {
        // The transport recognises this one by its type, which is private, and does not resume after it.
        SseError::Body(body) if body.to_string().starts_with("SSE event exceeded") => SseError::Body(body),
        SseError::Body(_) => SseError::Body(Box::new(HttpError::Broke)),
        other @ (SseError::InvalidLine
        | SseError::DuplicatedEventLine
        | SseError::DuplicatedIdLine
        | SseError::DuplicatedRetry
        | SseError::Utf8Parse(_)
        | SseError::IntParse(_)) => other,
    }
}

/// The status of a refusal. The shipped client has it as text only, `HTTP 401 Unauthorized: ...`; a test
/// against real refusals notices if that changes.
fn status_in(text: &str) -> Option<u16> {
    let status = text.strip_prefix("HTTP ")?.get(..3)?.parse().ok()?;
    (300..600).contains(&status).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_addresses_are_checked_and_values_never_shown() {
        let secret = "s3cr3t\n";
        for (name, value, complaint) in [
            ("X Y", "v", "the tool server's header `X Y` has a name that cannot be sent"),
            ("x-token", secret, "the tool server's header `x-token` has a value that cannot be sent"),
            ("Accept", "v", "the tool server's header `Accept` is set by the protocol; remove it"),
        ] {
            let refused = checked_header(name, value).expect_err(name);
            assert_eq!((refused.kind, refused.message.as_str()), (FailureKind::InvalidRequest, complaint));
        }
        let (_, value) = checked_header("authorization", "Bearer s3cr3t").expect("a header");
        assert_eq!(format!("{value:?}"), "Sensitive");
        for url in ["", "example.com/mcp", "file:///etc", "ftp://example.com/", "http://"] {
            assert!(check_url(url).is_err(), "{url}");
        }
        assert!(check_url("https://example.com/mcp").is_ok());
    }

    #[test]
    fn statuses_are_found() {
        for (text, status) in [
            ("HTTP 401 Unauthorized: ", Some(401)),
            ("HTTP 404 Not Found: x", Some(404)),
            ("HTTP 999: x", None),
            ("HTTP é", None),
            ("could not parse", None),
        ] {
            assert_eq!(status_in(text), status, "{text}");
        }
    }

    #[tokio::test]
    async fn what_the_transport_logs_shows_no_address() {
        let secret = "http://127.0.0.1:1/mcp?token=s3cr3t";
        let error = client().expect("a client").get(secret).send().await.expect_err("nobody listens");
        assert!(error.to_string().contains("s3cr3t"), "the reason for redaction is gone: {error}");
        let reduced = redacted_stream_error(SseError::Body(Box::new(error)));
        assert!(!format!("{reduced} {reduced:?}").contains("s3cr3t"));
        let error = client().expect("a client").get(secret).send().await.expect_err("nobody listens");
        let reduced = redacted(StreamableHttpError::Client(error));
        assert!(matches!(reduced, StreamableHttpError::Client(HttpError::Connect)));
        assert!(!format!("{reduced} {reduced:?}").contains("s3cr3t"));
    }
}

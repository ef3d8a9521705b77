//! Streamable HTTP over requests that somebody else makes, for servers that only another network reaches.
//!
//! What an answer means is what it means in `http`: the same errors, the same limits, the same header with a
//! call's idempotency key, and no stream for messages that belong to no request.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt as _};
use reqwest::header::{HeaderName, HeaderValue};
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::common::client_side_sse::BoxedSseResponse;
use rmcp::transport::streamable_http_client::{
    HttpStatusError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
};
use sse_stream::SseStream;

use crate::http::{HttpError, KEY_HEADER, MESSAGE_BYTES_MAX, idempotency_key};

const SESSION_HEADER: &str = "mcp-session-id";
const RESUME_HEADER: &str = "last-event-id";
const EVENTS: &str = "text/event-stream";
const JSON: &str = "application/json";
/// Bytes of one response that streams events, all of them together.
const EVENTS_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;

/// Makes HTTP requests from where it is.
pub trait Requests: Send + Sync + 'static {
    /// Makes one, without following redirects. Its body may still be coming when this returns.
    fn send(&self, request: HttpRequest) -> BoxFuture<'static, Result<HttpResponse, HttpFailure>>;
}

/// One request.
pub struct HttpRequest {
    /// `GET`, `POST` or `DELETE`.
    pub method: &'static str,
    /// The address.
    pub url: String,
    /// Headers, which may be secret.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Bytes>,
}

/// A response whose headers are here.
pub struct HttpResponse {
    /// The status.
    pub status: u16,
    /// Headers; names in any case.
    pub headers: Vec<(String, String)>,
    /// The body, which may break off.
    pub body: BoxStream<'static, Result<Bytes, HttpFailure>>,
}

/// Why there is no response, or no more of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HttpFailure {
    /// Nothing was sent.
    #[error("could not connect")]
    Unsent,
    /// It broke, after some of it may have been sent.
    #[error("the connection broke")]
    Broke,
}

impl From<HttpFailure> for HttpError {
    fn from(failure: HttpFailure) -> Self {
        match failure {
            HttpFailure::Unsent => Self::Connect,
            HttpFailure::Broke => Self::Broke,
        }
    }
}

/// A client of the protocol that has its requests made.
#[derive(Clone)]
pub(crate) struct Via(pub(crate) Arc<dyn Requests>);

type Refused = StreamableHttpError<HttpError>;
type Headers = HashMap<HeaderName, HeaderValue>;

impl Via {
    async fn send(
        &self,
        method: &'static str,
        url: &str,
        headers: BTreeMap<String, String>,
        body: Option<Bytes>,
    ) -> Result<HttpResponse, Refused> {
        let request =
            HttpRequest { method, url: url.to_owned(), headers: headers.into_iter().collect(), body };
        self.0.send(request).await.map_err(|failure| StreamableHttpError::Client(failure.into()))
    }
}

/// The headers of every request.
fn headers(
    given: Headers,
    session: Option<Arc<str>>,
    bearer: Option<String>,
) -> Result<BTreeMap<String, String>, Refused> {
    let mut headers = BTreeMap::from([("accept".to_owned(), format!("{EVENTS}, {JSON}"))]);
    for (name, value) in given {
        let value = value.to_str().map_err(|_| StreamableHttpError::Client(HttpError::Invalid))?;
        headers.insert(name.as_str().to_owned(), value.to_owned());
    }
    headers.extend(bearer.map(|token| ("authorization".to_owned(), format!("Bearer {token}"))));
    headers.extend(session.map(|session| (SESSION_HEADER.to_owned(), session.to_string())));
    Ok(headers)
}

impl StreamableHttpClient for Via {
    type Error = HttpError;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        mut custom_headers: Headers,
    ) -> Result<StreamableHttpPostResponse, Refused> {
        if let Some(key) = idempotency_key(&message) {
            custom_headers.insert(KEY_HEADER, key);
        }
        let had_session = session_id.is_some();
        let mut headers = headers(custom_headers, session_id, auth_header)?;
        headers.insert("content-type".to_owned(), JSON.to_owned());
        let body = Bytes::from(serde_json::to_vec(&message)?);
        let response = self.send("POST", &uri, headers, Some(body)).await?;
        let content_type = response.header("content-type").unwrap_or_default().to_owned();
        match response.status {
            202 | 204 => return Ok(StreamableHttpPostResponse::Accepted),
            404 if had_session => return Err(StreamableHttpError::SessionExpired),
            200..300 => {}
            // An error of the protocol may come with any status.
            400..500 if content_type.starts_with(JSON) && response.status != 429 => {
                let status = response.status;
                let message: Option<ServerJsonRpcMessage> =
                    serde_json::from_slice(&whole(response.body).await?).ok();
                return match message {
                    Some(message @ ServerJsonRpcMessage::Error(_)) => {
                        Ok(StreamableHttpPostResponse::Json(message, None))
                    }
                    Some(_) | None => Err(StreamableHttpError::Client(HttpError::Status(status))),
                };
            }
            _ => return Err(response.refusal()),
        }
        let session = response.header(SESSION_HEADER).map(str::to_owned);
        if content_type.starts_with(EVENTS) {
            return Ok(StreamableHttpPostResponse::Sse(events(response.body), session));
        }
        let body = whole(response.body).await?;
        // Notifications are to be answered with 202, which not every server knows.
        if body.is_empty() && !matches!(message, ClientJsonRpcMessage::Request(_)) {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        if !content_type.starts_with(JSON) {
            return Err(StreamableHttpError::Client(HttpError::Invalid));
        }
        Ok(StreamableHttpPostResponse::Json(serde_json::from_slice(&body)?, session))
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Result<(), Refused> {
        let headers = headers(custom_headers, Some(session_id), auth_header)?;
        // A session that is not ended ends by itself.
        if let Err(error) = self.send("DELETE", &uri, headers, None).await {
            tracing::debug!(%error, "session not deleted at the tool server");
        }
        Ok(())
    }

    /// Resumes a response; any refusal ends it, as in `http`.
    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Result<BoxedSseResponse, Refused> {
        let Some(last_event_id) = last_event_id else {
            return Err(StreamableHttpError::ServerDoesNotSupportSse);
        };
        let mut headers = headers(custom_headers, session_id, auth_header)?;
        headers.insert(RESUME_HEADER.to_owned(), last_event_id);
        let response = self.send("GET", &uri, headers, None).await;
        let response = response.map_err(|_| StreamableHttpError::ServerDoesNotSupportSse)?;
        let is_stream = response.header("content-type").is_some_and(|kind| kind.starts_with(EVENTS));
        if response.status != 200 || !is_stream {
            return Err(StreamableHttpError::ServerDoesNotSupportSse);
        }
        Ok(events(response.body))
    }
}

impl HttpResponse {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// What a status that is no success means.
    fn refusal(&self) -> Refused {
        match self.status {
            429 | 500..600 => {
                let retry_after = self.header("retry-after").map(str::to_owned);
                HttpStatusError::new(self.status, retry_after).into()
            }
            status => StreamableHttpError::Client(HttpError::Status(status)),
        }
    }
}

fn events(body: BoxStream<'static, Result<Bytes, HttpFailure>>) -> BoxedSseResponse {
    let mut left = EVENTS_BYTES_MAX;
    let bounded = body.map(move |piece| {
        let piece = piece.map_err(HttpError::from)?;
        left = left.checked_sub(piece.len()).ok_or(HttpError::TooLarge)?;
        Ok::<_, HttpError>(piece)
    });
    SseStream::from_bytes_stream(bounded).boxed()
}

async fn whole(mut body: BoxStream<'static, Result<Bytes, HttpFailure>>) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await {
        bytes.extend_from_slice(&piece.map_err(|failure| StreamableHttpError::Client(failure.into()))?);
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(StreamableHttpError::Client(HttpError::TooLarge));
        }
    }
    Ok(bytes)
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest")
            .field("method", &self.method)
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpResponse").field("status", &self.status).finish_non_exhaustive()
    }
}

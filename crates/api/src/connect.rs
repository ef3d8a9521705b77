//! Executors of self-hosted environments: what they register with, and how their sockets become connections.
//!
//! ```text
//!   POST {remote_url}/cloud/environment/{id}/register           a key as bearer
//!   POST {remote_url}/cloud/environment/{id}/validate           a key as bearer
//!   POST {remote_url}/cloud/environment/{id}/direct/register    signed
//!   GET  {remote_url}/socket/{project}/{ticket}                 the ticket; signed on the direct transport
//! ```
//!
//! These paths are outside of the front's rules: no beta header, and who asks is found out here. What a key needs
//! is the scope `environments.connect`. A registration names nothing that its key's project does not have.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, OriginalUri, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use tenure_executor::registry::{
    BODY_BYTES_MAX, EnvironmentId as RegistryId, Refusal, RefusalKind, Registration, Transport,
};
use tenure_executor::sigv4::{self, PayloadHash};
use tenure_executor::socket::websocket;
use tenure_journal::{EnvironmentId, ProjectId};
use tenure_runtime::{Runtime, RuntimeErrorKind};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::call::App;
use crate::error::ApiError;
use crate::front;
use crate::keys::{self, Key, Scope};
use crate::wire::Upgrade;

/// What the paths of executors begin with.
pub(crate) const PATH: &str = "/v1/agents/api/connect/";
/// Below [`PATH`], within `/v1`: where an environment's executor registers.
pub(crate) const ENVIRONMENT: &str = "/agents/api/connect/{route}/cloud/environment/{environment}";
/// Below [`PATH`], within `/v1`: what an executor dials.
pub(crate) const SOCKET: &str = "/agents/api/connect/{route}/socket/{project}/{ticket}";
/// How long the body of a registration may take.
const BODY: Duration = Duration::from_secs(10);
/// Bytes of a message on a socket with frames.
const FRAME_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a message on a socket with JSON, and of one request or answer in it.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What an environment's executor is told to connect to.
pub(crate) fn remote_url(public_url: &str, id: EnvironmentId) -> String {
    format!("{}{PATH}{}", public_url.trim_end_matches('/'), route_of(id))
}

/// The environment's part of the address: its id in another form.
fn route_of(id: EnvironmentId) -> String {
    let id = id.to_string();
    format!("rt_{}", id.rsplit('_').next().unwrap_or(&id))
}

pub(crate) async fn register(
    State(app): State<Arc<App>>,
    Path((route, environment)): Path<(String, String)>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    // First, so that a refusal finds nothing unread on the connection.
    let body = read(request.into_body()).await?;
    let place = place(&app, &headers, &route, &environment).await?;
    let url = |ticket: &str| place.socket(ticket);
    let answer = app.runtime.executors().authority().register(&place.id, &body, now(&app), url);
    json(answer)
}

pub(crate) async fn validate(
    State(app): State<Arc<App>>,
    Path((route, environment)): Path<(String, String)>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    // First, so that a refusal finds nothing unread on the connection.
    let body = read(request.into_body()).await?;
    let place = place(&app, &headers, &route, &environment).await?;
    json(app.runtime.executors().authority().validate(&place.id, &body, now(&app)))
}

pub(crate) async fn register_direct(
    State(app): State<Arc<App>>,
    Path((route, environment)): Path<(String, String)>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read(request.into_body()).await?;
    let key = signer(&app, &Method::POST, &uri, &headers, &body).await?;
    let place = Place::of(&app, &headers, key, &route, &environment).await?;
    let url = |ticket: &str| place.socket(ticket);
    json(app.runtime.executors().authority().register_direct(&place.id, &body, now(&app), url))
}

/// The socket that a registered executor dials.
pub(crate) async fn socket(
    State(app): State<Arc<App>>,
    Path((route, project, ticket)): Path<(String, String, String)>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    upgrade: Option<Extension<Upgrade>>,
) -> Result<Response, ApiError> {
    let registration = app.runtime.executors().authority().redeem(&ticket, now(&app)).map_err(refused)?;
    let project: ProjectId = project.parse().map_err(|_| unknown())?;
    let id: EnvironmentId = registration.environment_id.as_str().parse().map_err(|_| unknown())?;
    if route != route_of(id) {
        return Err(unknown());
    }
    if registration.transport == Transport::Direct {
        let key = signer(&app, &Method::GET, &uri, &headers, b"").await?;
        if key.project_id != project {
            return Err(unknown());
        }
    }
    let (accept, Extension(upgrade)) = handshake(&headers).zip(upgrade).ok_or_else(|| {
        let message = "This path is a WebSocket: an executor dials it after it has registered.";
        ApiError::new(StatusCode::UPGRADE_REQUIRED, message).code("upgrade_required")
    })?;
    let key = Runtime::key(project, id.session());
    match app.runtime.takes_executor(key).await {
        Ok(true) => {}
        Ok(false) => {
            let message = "Another node holds the session; dial again, and until it is free there.";
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message).code("held_elsewhere"));
        }
        Err(error) if *error.kind() == RuntimeErrorKind::NotFound => return Err(unknown()),
        Err(error) => return Err(error.into()),
    }
    let runtime = app.runtime.clone();
    upgrade.take_over(move |stream, read| async move {
        let config = config(&registration);
        let stream =
            WebSocketStream::from_partially_read(stream, read.into(), Role::Server, Some(config)).await;
        runtime.serve_executor(key, registration, websocket(stream)).await;
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let fixed = HeaderValue::from_static;
    response.headers_mut().insert(header::CONNECTION, fixed("Upgrade"));
    response.headers_mut().insert(header::UPGRADE, fixed("websocket"));
    response.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

/// The environment that a request is about, its caller admitted.
struct Place {
    id: RegistryId,
    project: ProjectId,
    route: String,
    /// Where the caller found this server, for a socket.
    base: String,
}

impl Place {
    async fn of(
        app: &App,
        headers: &HeaderMap,
        key: Key,
        route: &str,
        environment: &str,
    ) -> Result<Self, ApiError> {
        let id: EnvironmentId = environment.parse().map_err(|_| unknown())?;
        if route != route_of(id) {
            return Err(unknown());
        }
        let state = app.runtime.session_state(Runtime::key(key.project_id, id.session())).await?;
        if state.and_then(|state| state.connects()).is_none() {
            return Err(unknown());
        }
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        Ok(Self {
            id: RegistryId::new(environment).map_err(refused)?,
            project: key.project_id,
            route: route.to_owned(),
            base: socket_base(&app.config.public_url, host),
        })
    }

    fn socket(&self, ticket: &str) -> String {
        format!("{}{PATH}{}/socket/{}/{ticket}", self.base, self.route, self.project)
    }
}

/// Where an executor dials that registered under `host`: there, because it may have come through a tunnel.
/// Whether TLS ends before this server is known of its public address; elsewhere than on loopback there must be
/// some.
fn socket_base(public_url: &str, host: &str) -> String {
    let is_loopback = |host: &str| {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        matches!(name, "localhost" | "127.0.0.1" | "[::1]")
    };
    let scheme = match public_url.split_once("://") {
        Some(("https", authority)) if authority.trim_end_matches('/') == host => "wss",
        Some(("http", authority)) if authority.trim_end_matches('/') == host => "ws",
        Some(_) | None if is_loopback(host) => "ws",
        Some(_) | None => "wss",
    };
    format!("{scheme}://{host}")
}

async fn place(app: &App, headers: &HeaderMap, route: &str, environment: &str) -> Result<Place, ApiError> {
    let key = front::authenticate(app, headers).await?;
    front::check_scopes(&key.scopes, &[Scope::Connect])?;
    Place::of(app, headers, key, route, environment).await
}

/// The key whose pair signed the request.
async fn signer(
    app: &App,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Key, ApiError> {
    let headers: Vec<(&str, &str)> =
        headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    let request = sigv4::Request {
        method: method.as_str(),
        path: uri.path(),
        query: uri.query().unwrap_or_default(),
        headers: &headers,
        payload: PayloadHash::of(body),
    };
    let mut signer = None;
    let find = |id: &str| {
        let (key, pair) = app.runtime.executors().signer(id)?;
        signer = Some(key);
        Some(pair)
    };
    let forbidden = |why: String| ApiError::new(StatusCode::FORBIDDEN, why).code("invalid_signature");
    sigv4::verify(&request, now(app), find)
        .map_err(|error| forbidden(format!("The request's signature is not accepted: {error}.")))?;
    let key = match signer {
        Some(id) => keys::by_id(app.runtime.store(), app.runtime.now(), id).await?,
        None => None,
    };
    let key = key.ok_or_else(|| forbidden("The key of this pair does not exist any more.".to_owned()))?;
    front::check_scopes(&key.scopes, &[Scope::Connect])?;
    app.keys.used(app.runtime.now(), &key).await;
    Ok(key)
}

async fn read(body: Body) -> Result<Bytes, ApiError> {
    let read = tokio::time::timeout(BODY, axum::body::to_bytes(body, BODY_BYTES_MAX)).await;
    let refuse = |status, message: &str| ApiError::new(status, message).closing();
    read.map_err(|_| refuse(StatusCode::REQUEST_TIMEOUT, "The request's body did not arrive in time."))?
        .map_err(|_| refuse(StatusCode::PAYLOAD_TOO_LARGE, "The request's body is too large."))
}

fn json(answer: Result<Vec<u8>, Refusal>) -> Result<Response, ApiError> {
    let body = answer.map_err(refused)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn refused(refusal: Refusal) -> ApiError {
    let status = StatusCode::from_u16(refusal.kind.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let code = match refusal.kind {
        RefusalKind::Invalid => "invalid_registration",
        RefusalKind::Ticket => "ticket_expired",
        RefusalKind::Unavailable => "unavailable",
    };
    let error = ApiError::new(status, refusal.message).code(code);
    match refusal.field {
        Some(field) => error.param(field),
        None => error,
    }
}

fn unknown() -> ApiError {
    ApiError::not_found("environment")
}

fn now(app: &App) -> u64 {
    u64::try_from(app.runtime.now().as_secs()).unwrap_or(0)
}

/// The answer to the key of a WebSocket's handshake (RFC 6455, section 4.2); nothing if it is none.
fn handshake(headers: &HeaderMap) -> Option<HeaderValue> {
    let has = |name, word: &str| {
        let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
    };
    let is_one = has(header::CONNECTION, "upgrade")
        && has(header::UPGRADE, "websocket")
        && has(header::SEC_WEBSOCKET_VERSION, "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| is_one)?;
    derive_accept_key(key.as_bytes()).parse().ok()
}

fn config(registration: &Registration) -> WebSocketConfig {
    let bytes_max = match registration.transport {
        Transport::Noise(_) => FRAME_BYTES_MAX,
        Transport::Direct => MESSAGE_BYTES_MAX,
    };
    WebSocketConfig::default().max_message_size(Some(bytes_max)).max_frame_size(Some(bytes_max))
}

#[cfg(test)]
mod tests {
    use tenure_journal::{Fresh, SessionId, Timestamp};

    use super::*;

    #[test]
    fn an_executor_dials_where_it_registered() {
        for (public, host, expected) in [
            ("http://127.0.0.1:7878", "127.0.0.1:7878", "ws://127.0.0.1:7878"),
            ("https://tenure.example", "tenure.example", "wss://tenure.example"),
            ("http://10.0.0.7:7878/", "10.0.0.7:7878", "ws://10.0.0.7:7878"),
            ("https://tenure.example", "localhost:7777", "ws://localhost:7777"),
            ("https://tenure.example", "[::1]:7777", "ws://[::1]:7777"),
            ("http://127.0.0.1:7878", "tenure.example", "wss://tenure.example"),
            ("https://tenure.example", "tenure.example:8443", "wss://tenure.example:8443"),
        ] {
            assert_eq!(socket_base(public, host), expected, "{public} {host}");
        }
    }

    #[test]
    fn an_environment_has_one_address() {
        let session = SessionId::fresh(&Fresh::new(Timestamp::from_millis(5), 1));
        let url = remote_url("http://127.0.0.1:7878/", EnvironmentId::of_session(session));
        let digits = session.to_string().replace("sess_", "");
        assert_eq!(url, format!("http://127.0.0.1:7878/v1/agents/api/connect/rt_{digits}"));
    }

    #[test]
    fn only_a_whole_handshake_is_one() {
        let whole = [
            (header::CONNECTION, "keep-alive, Upgrade"),
            (header::UPGRADE, "websocket"),
            (header::SEC_WEBSOCKET_VERSION, "13"),
            (header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let headers = |skipped: Option<&header::HeaderName>| -> HeaderMap {
            let kept = whole.iter().filter(|(name, _)| Some(name) != skipped);
            kept.map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
        };
        // The example of the standard.
        assert_eq!(handshake(&headers(None)).expect("whole"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for (name, _) in &whole {
            assert!(handshake(&headers(Some(name))).is_none(), "without {name}");
        }
    }
}

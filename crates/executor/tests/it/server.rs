//! A server around the library: the two routes of the registry and the socket, on a free port of loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{OriginalUri, Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, post};
use futures_util::{SinkExt as _, StreamExt as _, future};
use tenure_executor::harness::{Remote, Session, State as RemoteState};
use tenure_executor::noise::{Identity, IdentitySeed};
use tenure_executor::registry::{Authority, EnvironmentId, Refusal, Transport};
use tenure_executor::sigv4::{self, KeyPair, PayloadHash};
use tenure_executor::socket::{Packet, Socket, SocketError};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

/// The key that executors are given.
pub(crate) const KEY: &str = "executor-key";
/// The pair for signatures.
pub(crate) const PAIR: (&str, &str) = ("AKIDEXAMPLE", "pair-secret");
/// How long anything here may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) remote: Remote,
    /// Tells of each connection when it is there.
    pub(crate) sessions: tokio::sync::Mutex<mpsc::Receiver<Session>>,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    authority: Authority,
    remote: Remote,
    address: SocketAddr,
    attached: mpsc::Sender<Session>,
    /// Counts up to close all connections there are.
    cut: watch::Sender<u64>,
    registrations: AtomicUsize,
    /// Lets the answer that breaks off do so.
    broken: Notify,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let identity = Identity::new(&IdentitySeed::fresh().expect("randomness"));
        let environment = EnvironmentId::new("env_test").expect("valid");
        let remote = Remote::new(environment, identity);
        let (attached, sessions) = mpsc::channel(16);
        let shared = Arc::new(Shared {
            authority: Authority::new(&[7; 32]),
            remote: remote.clone(),
            address,
            attached,
            cut: watch::channel(0).0,
            registrations: AtomicUsize::new(0),
            broken: Notify::new(),
        });
        let app = Router::new()
            .route("/connect/rt_1/cloud/environment/{id}/register", post(register))
            .route("/connect/rt_1/cloud/environment/{id}/validate", post(validate))
            .route("/connect/rt_1/cloud/environment/{id}/direct/register", post(register_direct))
            .route("/socket/{ticket}", any(socket))
            .route("/echo", post(echo))
            .route("/broken", post(broken))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("serves");
        });
        Self { address, remote, sessions: tokio::sync::Mutex::new(sessions), shared, task }
    }

    pub(crate) fn remote_url(&self) -> String {
        format!("http://{}/connect/rt_1", self.address)
    }

    /// Waits for the next connection.
    pub(crate) async fn connected(&self) -> Session {
        let mut sessions = self.sessions.lock().await;
        let session = tokio::time::timeout(PATIENCE, sessions.recv()).await;
        session.expect("an executor connects in time").expect("the server runs")
    }

    /// Closes the connection, as a broken network does.
    pub(crate) async fn cut(&self) {
        let mut state = self.remote.state();
        self.shared.cut.send_modify(|count| *count += 1);
        let gone = state.wait_for(|state| *state != RemoteState::Connected);
        tokio::time::timeout(PATIENCE, gone).await.expect("closes in time").expect("the remote lives");
    }

    /// Breaks off the answer of `/broken`.
    pub(crate) fn break_off(&self) {
        self.shared.broken.notify_one();
    }

    pub(crate) fn registrations(&self) -> usize {
        self.shared.registrations.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn refused(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.kind.status()).expect("a status");
    (status, serde_json::json!({"error": {"message": refusal.message}}).to_string()).into_response()
}

fn answer(result: Result<Vec<u8>, Refusal>) -> Response {
    match result {
        Ok(body) => ([("content-type", "application/json")], body).into_response(),
        Err(refusal) => refused(&refusal),
    }
}

fn has_key(headers: &HeaderMap) -> bool {
    headers.get("authorization").is_some_and(|value| value.as_bytes() == format!("Bearer {KEY}").as_bytes())
}

async fn register(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !has_key(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    shared.registrations.fetch_add(1, Ordering::SeqCst);
    let url = |ticket: &str| format!("ws://{}/socket/{ticket}", shared.address);
    let result = EnvironmentId::new(id).and_then(|id| shared.authority.register(&id, &body, now(), url));
    answer(result)
}

async fn validate(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !has_key(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let result = EnvironmentId::new(id).and_then(|id| shared.authority.validate(&id, &body, now()));
    answer(result)
}

async fn register_direct(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(error) = signed(&Method::POST, &uri, &headers, &body) {
        return (StatusCode::FORBIDDEN, error.to_string()).into_response();
    }
    shared.registrations.fetch_add(1, Ordering::SeqCst);
    let url = |ticket: &str| format!("ws://{}/socket/{ticket}", shared.address);
    let result =
        EnvironmentId::new(id).and_then(|id| shared.authority.register_direct(&id, &body, now(), url));
    answer(result)
}

fn signed(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<sigv4::Signer, sigv4::SignatureError> {
    let headers: Vec<(&str, &str)> =
        headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    let request = sigv4::Request {
        method: method.as_str(),
        path: uri.path(),
        query: uri.query().unwrap_or_default(),
        headers: &headers,
        payload: PayloadHash::of(body),
    };
    sigv4::verify(&request, now(), |id| (id == PAIR.0).then(|| KeyPair::new(PAIR.0, PAIR.1)))
}

async fn socket(
    State(shared): State<Arc<Shared>>,
    Path(ticket): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let registration = match shared.authority.redeem(&ticket, now()) {
        Ok(registration) => registration,
        Err(refusal) => return refused(&refusal),
    };
    if registration.transport == Transport::Direct
        && let Err(error) = signed(&Method::GET, &uri, &headers, b"")
    {
        return (StatusCode::FORBIDDEN, error.to_string()).into_response();
    }
    upgrade.on_upgrade(move |socket| async move {
        let socket = adapt(socket);
        let attached = match &registration.transport {
            Transport::Noise(_) => {
                shared.remote.attach_relay(socket, &registration, &shared.authority, now()).await
            }
            Transport::Direct => shared.remote.attach_direct(socket, &registration).await,
        };
        let attached = match attached {
            Ok(attached) => attached,
            Err(error) => {
                println!("no connection: {error}");
                return;
            }
        };
        let _ = shared.attached.send(attached.session).await;
        let mut cut = shared.cut.subscribe();
        tokio::select! {
            error = attached.ended() => println!("the connection ended: {error}"),
            _ = cut.changed() => println!("the connection was cut"),
        }
    })
}

/// A long answer that shows a header and the body of its request.
async fn echo(headers: HeaderMap, body: String) -> String {
    let value = headers.get("x-test").and_then(|value| value.to_str().ok()).unwrap_or_default();
    format!("{value}: {body}").repeat(10_000)
}

/// An answer that breaks off after its first piece was read.
async fn broken(State(shared): State<Arc<Shared>>) -> Response {
    let begun = futures_util::stream::iter([Ok(Bytes::from_static(b"begun"))]);
    let gone = futures_util::stream::once(async move {
        shared.broken.notified().await;
        Err(std::io::Error::other("gone"))
    });
    axum::body::Body::from_stream(begun.chain(gone)).into_response()
}

/// The library's socket from axum's.
pub(crate) fn adapt(socket: WebSocket) -> impl Socket {
    let incoming = |message: Result<Message, axum::Error>| {
        message.map_err(SocketError::new).map(|message| match message {
            Message::Binary(bytes) => Packet::Binary(bytes),
            Message::Text(text) => Packet::Text(text.as_str().to_owned()),
            Message::Ping(_) => Packet::Ping,
            Message::Pong(_) => Packet::Pong,
            Message::Close(_) => Packet::Close,
        })
    };
    let outgoing = |packet: Packet| {
        future::ok::<_, SocketError>(match packet {
            Packet::Binary(bytes) => Message::Binary(bytes),
            Packet::Text(text) => Message::Text(text.into()),
            Packet::Ping => Message::Ping(Bytes::new()),
            Packet::Pong => Message::Pong(Bytes::new()),
            Packet::Close => Message::Close(None),
        })
    };
    socket.map(incoming).sink_map_err(SocketError::new).with(outgoing)
}

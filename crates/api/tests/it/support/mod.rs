//! A server with the in-memory store and the scripted model, and a client that sends exactly what it is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tenure_api::keys::{self, NewKey, Scope};
use tenure_api::{ApiConfig, Limits};
use tenure_journal::{Failure, FailureKind, Fresh, KeyId, ProjectId, Timestamp, ToolDef};
use tenure_model::scripted::{Script, ScriptedModel};
use tenure_policy::PolicySet;
use tenure_runtime::{ModelTable, Parts, Provider, Runtime, Sealer};
use tenure_store::{MemoryStore, Store};
use tenure_tools::{Call, CallResult, Server, Servers};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

pub(crate) const KEY: &str = "test-key-of-the-first-project";
pub(crate) const OTHER_KEY: &str = "test-key-of-another-project";

const SCRIPT: &str = r#"
rules:
  - when: { user: '^call (?P<tool>[a-z_]+) (?P<given>.+)$', no_result: true }
    reply: [{ call: { tool: "{{ tool }}", raw_arguments: "{{ given }}" } }]
  - when: { user: '^call ' }
    reply: [{ text: "Got {{ result }}" }]
  - when: { user: '^look up', result_of: look_up }
    reply: [{ text: "Found it." }]
  - when: { user: '^look up' }
    reply: [{ call: { tool: look_up, arguments: { id: 7 } } }]
  - when: { user: '^delegate', result_of: wait_for_subagents }
    reply: [{ text: "Done." }]
  - when: { user: '^delegate', result_of: create_subagent }
    reply: [{ call: { tool: wait_for_subagents, arguments: {} } }]
  - when: { user: '^delegate' }
    reply: [{ call: { tool: create_subagent, arguments: { task: Look. } } }]
  - when: { user: '^stall' }
    fault: { stall_ms: 600000 }
    reply: [{ text: "late" }]
  - when: { user: '^fail' }
    fault: { status: 400 }
    reply: [{ text: "never" }]
  - reply: [{ text: "Hello there." }]
"#;

/// No tool servers.
struct Nowhere;

#[async_trait]
impl Servers for Nowhere {
    async fn list(&self, _: &Server, _: &CancellationToken) -> Result<Vec<ToolDef>, Failure> {
        Err(nowhere())
    }

    async fn call(&self, _: &Server, _: Call<'_>, _: &CancellationToken) -> Result<CallResult, Failure> {
        Err(nowhere())
    }
}

fn nowhere() -> Failure {
    Failure { kind: FailureKind::NotFound, message: "no such server".into(), retry_after_ms: None }
}

pub(crate) struct World {
    pub(crate) app: Router,
    pub(crate) runtime: Runtime,
    pub(crate) read_only: String,
    pub(crate) revoked: String,
    pub(crate) expired: String,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut ApiConfig)) -> Self {
        Self::made(change, tenure_runtime::Limits::default()).await
    }

    /// A server that takes on no more than that.
    pub(crate) async fn limited(limits: tenure_runtime::Limits) -> Self {
        Self::made(|_| {}, limits).await
    }

    /// A server that has its store to itself.
    pub(crate) async fn alone() -> Self {
        Self::over(MemoryStore::unshared(), |_| {}, tenure_runtime::Limits::default()).await
    }

    async fn made(change: impl FnOnce(&mut ApiConfig), limits: tenure_runtime::Limits) -> Self {
        Self::over(MemoryStore::new(), change, limits).await
    }

    async fn over(
        store: MemoryStore,
        change: impl FnOnce(&mut ApiConfig),
        limits: tenure_runtime::Limits,
    ) -> Self {
        let store: Arc<dyn Store> = Arc::new(store);
        let script = Arc::new(Script::parse(SCRIPT).expect("a valid script"));
        let provider = Provider::new("scripted", Arc::new(ScriptedModel::new(script)), 64);
        let parts = Parts {
            store: Arc::clone(&store),
            models: ModelTable { named: BTreeMap::new(), fallback: Some(provider) },
            servers: Arc::new(Nowhere),
            project_servers: BTreeMap::new(),
            policy: Arc::new(PolicySet::defaults()),
            sealer: Sealer::ephemeral(),
            limits,
            outbound: tenure_runtime::Outbound::default(),
            environments: tenure_runtime::EnvironmentConfig::default(),
        };
        let runtime = Runtime::start(parts).await.expect("starts");
        let now = Timestamp::from_millis(1_790_000_000_000);
        let fresh = Fresh::new(now, 1);
        let project = ProjectId::fresh(&fresh);
        let presets = [(KEY, project), (OTHER_KEY, ProjectId::fresh(&fresh))];
        for (seed, (text, project)) in presets.into_iter().enumerate() {
            let fresh = Fresh::new(now, 10 + seed as u64);
            keys::ensure_preset(&store, now, &fresh, text, project).await.expect("a key");
        }
        let new = |name: &str| NewKey {
            project_id: project,
            name: name.into(),
            scopes: vec![Scope::Read],
            groups: Vec::new(),
            expires_at: None,
        };
        let id = |seed| KeyId::fresh(&Fresh::new(now, seed));
        let (read_only, _) =
            keys::create(&store, now, id(2), new("read"), None, vec![]).await.expect("a key");
        let (revoked, key) = keys::create(&store, now, id(3), new("old"), None, vec![]).await.expect("a key");
        assert!(keys::revoke(&store, now, project, key.id, vec![]).await.expect("works"));
        let long_ago = NewKey { expires_at: Some(Timestamp::from_millis(1)), ..new("short-lived") };
        let (expired, _) = keys::create(&store, now, id(4), long_ago, None, vec![]).await.expect("a key");
        let mut config = ApiConfig::new("127.0.0.1:0".parse().expect("an address"));
        config.models = vec!["m1".into()];
        change(&mut config);
        Self {
            app: tenure_api::app(config, runtime.clone()),
            runtime,
            read_only: read_only.expose().into(),
            revoked: revoked.expose().into(),
            expired: expired.expose().into(),
        }
    }

    /// The same server, told otherwise when it started.
    pub(crate) fn again(self, change: impl FnOnce(&mut ApiConfig)) -> Self {
        let mut config = ApiConfig::new("127.0.0.1:0".parse().expect("an address"));
        config.models = vec!["m1".into()];
        change(&mut config);
        Self { app: tenure_api::app(config, self.runtime.clone()), ..self }
    }

    /// One request without a connection.
    pub(crate) async fn send(&self, request: Request<Body>) -> (StatusCode, HeaderMap, Body) {
        let response = self.app.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, body)
    }

    /// One request with the first project's key; the answer as JSON, null if it is empty.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.call_with(method, path, body, &[]).await
    }

    pub(crate) async fn call_with(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> (u16, Value) {
        let (status, _, body) = self.send(request(method, path, body, headers)).await;
        let bytes = body.collect().await.expect("a body").to_bytes();
        let value =
            if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).expect("JSON") };
        (status.as_u16(), value)
    }

    /// Opens a session and waits until it rests.
    pub(crate) async fn session(&self, body: Value) -> Value {
        let mut body = body;
        body["stream"] = Value::Bool(true);
        let events = self.stream(request("POST", "/v1/agents/sessions", Some(body), &[])).await;
        events.first().expect("an event")["session"].clone()
    }

    /// The events of a stream that ends by itself.
    pub(crate) async fn stream(&self, request: Request<Body>) -> Vec<Value> {
        let (status, headers, body) = self.send(request).await;
        assert!(status.is_success(), "{status}");
        assert!(headers["content-type"].to_str().expect("text").starts_with("text/event-stream"));
        let collected = tokio::time::timeout(Duration::from_secs(60), body.collect()).await;
        let bytes = collected.expect("in time").expect("a body").to_bytes();
        events(std::str::from_utf8(&bytes).expect("UTF-8"))
    }
}

pub(crate) fn events(text: &str) -> Vec<Value> {
    let frames = text.split_terminator("\n\n").filter(|frame| !frame.starts_with(':'));
    frames
        .map(|frame| {
            let (event, data) = frame.split_once('\n').expect("an event and its data");
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
            assert_eq!(event.strip_prefix("event: "), data["type"].as_str());
            data
        })
        .collect()
}

pub(crate) fn request(
    method: &str,
    path: &str,
    body: Option<Value>,
    headers: &[(&str, &str)],
) -> Request<Body> {
    let mut builder = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("openai-beta", "agents=v1");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
        builder = builder.header("authorization", format!("Bearer {KEY}"));
    }
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    match body {
        None => builder.body(Body::empty()),
        Some(body) => builder.header("content-type", "application/json").body(Body::from(body.to_string())),
    }
    .expect("a request")
}

/// A listening server.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: tokio::task::JoinHandle<std::io::Result<()>>,
}

pub(crate) async fn listen(app: Router, limits: Limits) -> Listening {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(tenure_api::serve_with(listener, app, limits, shutdown.clone()));
    Listening { address, shutdown, task }
}

/// What came back on a connection.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
    /// Whether the server closed the connection after it.
    pub(crate) closed: bool,
}

impl Answer {
    /// The error's code, whichever dialect it is in.
    pub(crate) fn code(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        let code = body.pointer("/error/code").or_else(|| body.get("code"));
        code.and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

pub(crate) struct Raw {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.expect("connects"), unread: Vec::new() }
    }

    /// Sends bytes; a server that has closed already is no failure here.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    pub(crate) async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// The next answer. Panics if none comes in time.
    pub(crate) async fn answer(&mut self) -> Answer {
        tokio::time::timeout(Duration::from_secs(60), self.read_answer()).await.expect("an answer in time")
    }

    async fn read_answer(&mut self) -> Answer {
        let end = loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                break end + 4;
            }
            assert!(
                self.more().await,
                "closed before an answer: {:?}",
                String::from_utf8_lossy(&self.unread)
            );
        };
        let head = String::from_utf8_lossy(&self.unread[..end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().expect("a length"));
        while self.unread.len() < end + length && self.more().await {}
        let rest = self.unread.split_off(end);
        let (body, rest) = rest.split_at(length.min(rest.len()));
        let body = String::from_utf8_lossy(body).into_owned();
        self.unread = rest.to_vec();
        Answer { status, closed: head.contains("connection: close"), head, body }
    }

    async fn more(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let read = self.stream.read(&mut bytes).await.unwrap_or(0);
        self.unread.extend_from_slice(&bytes[..read]);
        read > 0
    }

    /// Everything until the server closes the connection. Panics if it does not in time.
    pub(crate) async fn rest(&mut self) -> String {
        let read = async {
            while self.more().await {}
            String::from_utf8_lossy(&std::mem::take(&mut self.unread)).into_owned()
        };
        tokio::time::timeout(Duration::from_secs(60), read).await.expect("closed in time")
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

//! A runtime with the in-memory store, the scripted model and a scripted tool server.

/// The master key of all nodes: one store has one.
pub(crate) const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

pub(crate) mod crowd;
pub(crate) mod plain;
pub(crate) mod wait;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tenure_journal::{
    AgentConfig, Failure, FailureKind, InputPart, McpTool, McpTransport, Origin, Tool, ToolDef,
};
use tenure_model::Model;
use tenure_model::scripted::{Script, ScriptedModel};
use tenure_policy::PolicySet;
use tenure_runtime::{
    Limits, MasterKeys, ModelTable, Opening, Parts, Provider, Runtime, Sealer, Subscription, SubscriptionItem,
};
use tenure_session::{SessionNotice, StreamEvent};
use tenure_store::MemoryStore;
use tenure_tools::{Call, CallResult, Hints, Server, Servers};
use tokio_util::sync::CancellationToken;

pub(crate) const SCRIPT: &str = r#"
rules:
  - when: { user: '^refund' , result_of: shop__refund }
    reply: [{ text: "Refunded." }]
  - when: { user: '^refund' }
    reply: [{ call: { tool: shop__refund, arguments: { order: "o1" } } }]
  - when: { user: '^stall' }
    fault: { stall_ms: 600000 }
    reply: [{ text: "late" }]
  - when: { user: '^work', step: 0 }
    reply:
      - reasoning: "hm"
      - call: { tool: nothing }
      - text: "One moment."
      - call: { tool: shop__refund, arguments: { order: "o1" } }
      - reasoning: "so"
      - call: { tool: shop__refund, arguments: { order: "o2" } }
  - reply: [{ text: "Hello there." }]
"#;

/// A shop that counts refunds by idempotency key.
#[derive(Default)]
pub(crate) struct Shop {
    pub(crate) keys: Mutex<Vec<String>>,
    pub(crate) listed: AtomicU32,
    /// The headers of each listing.
    pub(crate) headers: Mutex<Vec<BTreeMap<String, String>>>,
    /// The token without which it asks for a sign-in.
    wants: Option<&'static str>,
    /// Whether it says to anyone what it can do.
    is_open: bool,
    /// When a call last changed its tools.
    changed: Mutex<Option<std::time::Instant>>,
}

impl Shop {
    /// One that asks everyone for a sign-in who does not show this token.
    pub(crate) fn wanting(token: &'static str) -> Self {
        Self { wants: Some(token), ..Self::default() }
    }

    /// One that tells anyone what it can do, and asks for a sign-in when it is called without this token.
    pub(crate) fn wanting_at_calls(token: &'static str) -> Self {
        Self { is_open: true, ..Self::wanting(token) }
    }

    fn check(&self, server: &Server) -> Result<(), Failure> {
        let Some(token) = self.wants else { return Ok(()) };
        let shown = match server {
            Server::Http { headers, .. } => headers.get("authorization"),
            Server::Stdio { .. } => None,
        };
        if shown.is_some_and(|shown| *shown == format!("Bearer {token}")) {
            return Ok(());
        }
        let message = "it wants a token".to_owned();
        Err(Failure { kind: FailureKind::SignInRequired, message, retry_after_ms: None })
    }
}

#[async_trait]
impl Servers for Shop {
    async fn list(&self, server: &Server, _: &CancellationToken) -> Result<Vec<ToolDef>, Failure> {
        if !self.is_open {
            self.check(server)?;
        }
        if let Server::Http { headers, .. } = server {
            self.headers.lock().expect("no panics").push(headers.clone());
        }
        self.listed.fetch_add(1, Ordering::Relaxed);
        Ok(vec![ToolDef {
            name: "refund".into(),
            description: "Refunds an order.".into(),
            parameters: json!({"type": "object"}),
            read_only: None,
            destructive: Some(true),
            idempotent: None,
            keyed: true,
            terms: None,
        }])
    }

    async fn call(
        &self,
        server: &Server,
        call: Call<'_>,
        _: &CancellationToken,
    ) -> Result<CallResult, Failure> {
        self.check(server)?;
        self.keys.lock().expect("no panics").push(call.idempotency_key.to_owned());
        *self.changed.lock().expect("no panics") = Some(std::time::Instant::now());
        Ok(CallResult { text: "refunded".into(), is_error: false })
    }

    fn tools_changed(&self, _: &Server) -> Option<Duration> {
        self.changed.lock().expect("no panics").map(|at| at.elapsed())
    }
}

pub(crate) async fn start(store: Arc<MemoryStore>, shop: Arc<Shop>) -> Runtime {
    let script = Arc::new(Script::parse(SCRIPT).expect("a valid script"));
    start_with(store, shop, Arc::new(ScriptedModel::new(script))).await
}

pub(crate) async fn start_with(store: Arc<MemoryStore>, shop: Arc<Shop>, model: Arc<dyn Model>) -> Runtime {
    start_within(store, shop, model, Limits::default()).await
}

pub(crate) async fn start_within(
    store: Arc<MemoryStore>,
    shop: Arc<Shop>,
    model: Arc<dyn Model>,
    limits: Limits,
) -> Runtime {
    start_hosting(store, shop, model, limits, tenure_runtime::EnvironmentConfig::default()).await
}

pub(crate) async fn start_hosting(
    store: Arc<MemoryStore>,
    shop: Arc<Shop>,
    model: Arc<dyn Model>,
    limits: Limits,
    environments: tenure_runtime::EnvironmentConfig,
) -> Runtime {
    let places = limits.model_calls;
    let provider = Provider::with_places("scripted", model, places);
    let server =
        Server::Http { url: "http://shop.invalid".into(), headers: BTreeMap::new(), hints: Hints::default() };
    let parts = Parts {
        store,
        models: ModelTable { named: BTreeMap::new(), fallback: Some(provider) },
        servers: shop,
        project_servers: BTreeMap::from([("shop".to_owned(), server)]),
        policy: Arc::new(PolicySet::defaults()),
        sealer: Sealer::new(MasterKeys::of_text(KEY, "the test").expect("a key")),
        limits,
        outbound: tenure_runtime::Outbound::default(),
        environments,
    };
    Runtime::start(parts).await.expect("starts")
}

pub(crate) fn opening(text: &str) -> Opening {
    let shop = Tool::Mcp(McpTool {
        server_label: "shop".into(),
        transport: McpTransport::Project,
        allowed_tools: None,
        origin: Origin::Service,
        credential_id: None,
        required: false,
        request_metadata: serde_json::Map::new(),
    });
    let opened = plain::opened(AgentConfig { tools: vec![shop], ..plain::agent() });
    Opening { opened, input: vec![vec![InputPart::text(text)]] }
}

/// Reads a stream until the session reaches `status`; gives what came, one word each.
pub(crate) async fn until(stream: &mut Subscription, status: SessionNotice) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let next = tokio::time::timeout(Duration::from_secs(60), stream.next()).await.expect("in time");
        let Some(SubscriptionItem::Event(event)) = next else { panic!("the stream ended after {seen:?}") };
        match &*event {
            StreamEvent::Session { kind, .. } => {
                seen.push(format!("session.{kind:?}"));
                if *kind == status {
                    return seen;
                }
            }
            StreamEvent::Turn { kind, .. } => seen.push(format!("turn.{kind:?}")),
            StreamEvent::ItemAdded { .. } => seen.push("item.added".into()),
            StreamEvent::ItemDone { item } => seen.push(format!("item.{:?}", item.status)),
            StreamEvent::Part { .. } => {}
            StreamEvent::Error { .. } => seen.push("error".into()),
            StreamEvent::Subagent { kind, .. } => seen.push(format!("subagent.{kind:?}")),
            StreamEvent::Environment { kind, .. } => seen.push(format!("environment.{kind:?}")),
            StreamEvent::CommandOutput { .. } => seen.push("output".into()),
            StreamEvent::Deleted => seen.push("deleted".into()),
        }
    }
}

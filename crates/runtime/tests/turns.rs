//! The runtime with the in-memory store, the scripted model and a scripted tool server.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tenure_journal::{
    AgentConfig, AgentId, ApprovalMode, Decision, Environment, Failure, Fresh, InputPart, McpTool,
    McpTransport, MultiAgent, Origin, ProjectId, Reasoning, ServiceTier, SessionOpened, SessionStatus,
    TextConfig, Timestamp, Tool, ToolDef,
};
use tenure_model::scripted::{Script, ScriptedModel};
use tenure_policy::PolicySet;
use tenure_runtime::{
    Limits, ModelTable, Opening, Parts, Provider, Runtime, RuntimeErrorKind, Sealer, Subscription,
    SubscriptionItem,
};
use tenure_session::{Command, RequiredAction, SessionNotice, StreamEvent};
use tenure_store::MemoryStore;
use tenure_tools::{Call, CallResult, Hints, Server, Servers};
use tokio_util::sync::CancellationToken;

const SCRIPT: &str = r#"
rules:
  - when: { user: '^refund' , result_of: shop__refund }
    reply: [{ text: "Refunded." }]
  - when: { user: '^refund' }
    reply: [{ call: { tool: shop__refund, arguments: { order: "o1" } } }]
  - when: { user: '^stall' }
    fault: { stall_ms: 600000 }
    reply: [{ text: "late" }]
  - reply: [{ text: "Hello there." }]
"#;

/// A shop that counts refunds by idempotency key.
#[derive(Default)]
struct Shop {
    keys: Mutex<Vec<String>>,
    listed: AtomicU32,
}

#[async_trait]
impl Servers for Shop {
    async fn list(&self, _: &Server, _: &CancellationToken) -> Result<Vec<ToolDef>, Failure> {
        self.listed.fetch_add(1, Ordering::Relaxed);
        Ok(vec![ToolDef {
            name: "refund".into(),
            description: "Refunds an order.".into(),
            parameters: json!({"type": "object"}),
            read_only: None,
            destructive: Some(true),
            idempotent: None,
            keyed: true,
        }])
    }

    async fn call(&self, _: &Server, call: Call<'_>, _: &CancellationToken) -> Result<CallResult, Failure> {
        self.keys.lock().expect("no panics").push(call.idempotency_key.to_owned());
        Ok(CallResult { text: "refunded".into(), is_error: false })
    }
}

async fn start(store: Arc<MemoryStore>, shop: Arc<Shop>) -> Runtime {
    let script = Arc::new(Script::parse(SCRIPT).expect("a valid script"));
    let provider = Provider::new("scripted", Arc::new(ScriptedModel::new(script)), 64);
    let server =
        Server::Http { url: "http://shop.invalid".into(), headers: BTreeMap::new(), hints: Hints::default() };
    let parts = Parts {
        store,
        models: ModelTable { named: BTreeMap::new(), fallback: Some(provider) },
        servers: shop,
        project_servers: BTreeMap::from([("shop".to_owned(), server)]),
        policy: Arc::new(PolicySet::defaults()),
        sealer: Sealer::ephemeral(),
        limits: Limits::default(),
    };
    Runtime::start(parts).await.expect("starts")
}

fn opening(text: &str) -> Opening {
    let fresh = Fresh::new(Timestamp::from_millis(1), 1);
    let shop = Tool::Mcp(McpTool {
        server_label: "shop".into(),
        transport: McpTransport::Project,
        allowed_tools: None,
        origin: Origin::Service,
        credential_id: None,
        required: false,
        request_metadata: serde_json::Map::new(),
    });
    let agent = AgentConfig {
        id: AgentId::fresh(&fresh),
        version: None,
        name: None,
        model: "m".into(),
        instructions: None,
        reasoning: Reasoning::default(),
        text: TextConfig::default(),
        service_tier: ServiceTier::Auto,
        tools: vec![shop],
        multi_agent: MultiAgent::default(),
        compaction_async: false,
        time_awareness: false,
        approval: ApprovalMode::Destructive,
    };
    let opened = SessionOpened {
        project_id: ProjectId::fresh(&fresh),
        agent,
        environment: Environment::None,
        metadata: BTreeMap::new(),
        vault_ids: Vec::new(),
        review: None,
        spend_limit: None,
        prompt_cache: None,
        parent: None,
    };
    Opening { opened, input: vec![vec![InputPart::text(text)]] }
}

/// Reads a stream until the session reaches `status`; gives what came, one word each.
async fn until(stream: &mut Subscription, status: SessionNotice) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let next = tokio::time::timeout(Duration::from_secs(20), stream.next()).await.expect("in time");
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
            StreamEvent::Deleted => seen.push("deleted".into()),
        }
    }
}

#[tokio::test]
async fn a_turn_streams_in_order_and_leaves_nothing_behind() {
    let runtime = start(Arc::new(MemoryStore::new()), Arc::default()).await;
    let (view, stream) = runtime.open(opening("hi"), None, true).await.expect("opens");
    let mut stream = stream.expect("subscribed");
    let seen = until(&mut stream, SessionNotice::Idle).await;
    let expected = [
        "session.Created",
        "turn.Created",
        "item.added",
        "session.InProgress",
        "turn.InProgress",
        "item.added",
        "item.Completed",
        "turn.Completed",
        "session.Idle",
    ];
    assert_eq!(seen, expected);
    let view = runtime.view(view.key).await.expect("readable").expect("there");
    assert_eq!(view.status, SessionStatus::Idle);
    runtime.shutdown(Duration::from_secs(5)).await;
    assert_eq!(runtime.active_sessions(), 0);
}

#[tokio::test]
async fn an_approval_waits_without_an_actor_and_acts_once() {
    let (store, shop) = (Arc::new(MemoryStore::new()), Arc::new(Shop::default()));
    let runtime = start(Arc::clone(&store), Arc::clone(&shop)).await;
    let (view, stream) = runtime.open(opening("refund o1"), None, true).await.expect("opens");
    until(&mut stream.expect("subscribed"), SessionNotice::RequiresAction).await;
    let waiting = runtime.view(view.key).await.expect("readable").expect("there");
    let [RequiredAction::Approval(approval)] = waiting.required_actions.as_slice() else {
        panic!("one approval, not {:?}", waiting.required_actions)
    };
    assert!(store.due_now(Timestamp::from_millis(i64::MAX)).is_empty());
    assert!(shop.keys.lock().expect("no panics").is_empty());

    let decide = Command::Decide { approval_id: approval.id, decision: Decision::Approve, by: "key".into() };
    let mut stream = runtime.subscribe(view.key).await.expect("there");
    runtime.submit(view.key, vec![decide.clone()], None).await.expect("accepted");
    until(&mut stream, SessionNotice::Idle).await;
    runtime.submit(view.key, vec![decide], None).await.expect("a repeated answer is already done");
    assert_eq!(shop.keys.lock().expect("no panics").len(), 1);
}

#[tokio::test]
async fn a_turn_that_was_cut_off_goes_on_after_a_restart() {
    let store = Arc::new(MemoryStore::new());
    let first = start(Arc::clone(&store), Arc::default()).await;
    let (view, _) = first.open(opening("stall please"), None, false).await.expect("opens");
    first.shutdown(Duration::ZERO).await;

    let second = start(store, Arc::default()).await;
    let mut stream = second.subscribe(view.key).await.expect("there");
    let running = second.view(view.key).await.expect("readable").expect("there");
    assert_eq!(running.status, SessionStatus::InProgress);
    second.submit(view.key, vec![Command::Cancel], None).await.expect("accepted");
    let seen = until(&mut stream, SessionNotice::Idle).await;
    assert!(seen.contains(&"turn.Cancelled".to_owned()), "{seen:?}");
}

#[tokio::test]
async fn many_sessions_run_side_by_side() {
    let runtime = start(Arc::new(MemoryStore::new()), Arc::default()).await;
    let mut turns = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let runtime = runtime.clone();
        turns.spawn(async move {
            let (_, stream) = runtime.open(opening("hi"), None, true).await.expect("opens");
            until(&mut stream.expect("subscribed"), SessionNotice::Idle).await.len()
        });
    }
    assert!(turns.join_all().await.into_iter().all(|seen| seen == 9));
}

#[tokio::test]
async fn unknown_sessions_are_not_found() {
    let runtime = start(Arc::new(MemoryStore::new()), Arc::default()).await;
    let fresh = runtime.fresh();
    let key = Runtime::key(ProjectId::fresh(&fresh), tenure_journal::SessionId::fresh(&fresh));
    let error = runtime.submit(key, vec![Command::Cancel], None).await.expect_err("not there");
    assert_eq!(*error.kind(), RuntimeErrorKind::NotFound);
    assert!(runtime.subscribe(key).await.is_err());
    assert!(runtime.view(key).await.expect("readable").is_none());
}

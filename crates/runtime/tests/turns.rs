//! The runtime with the in-memory store, the scripted model and a scripted tool server.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tenure_journal::{
    AgentConfig, AgentId, AnswerItem, ApprovalMode, Decision, Environment, Failure, Fresh, InputPart, ItemId,
    McpTool, McpTransport, ModelAnswer, ModelRequest, MultiAgent, Origin, ProjectId, Reasoning, ServiceTier,
    SessionOpened, SessionStatus, Stop, TextConfig, Timestamp, Tool, ToolDef,
};
use tenure_model::scripted::{Script, ScriptedModel};
use tenure_model::{Delta, Model};
use tenure_policy::PolicySet;
use tenure_runtime::{
    Limits, ModelTable, Opening, Parts, Provider, Runtime, RuntimeErrorKind, Sealer, Subscription,
    SubscriptionItem,
};
use tenure_session::{Command, Refusal, RequiredAction, SessionNotice, StreamEvent};
use tenure_store::{MemoryStore, Order, Page, Store};
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

/// A model that panics where it is asked to.
struct Fragile;

#[async_trait]
impl Model for Fragile {
    async fn answer(
        &self,
        request: &ModelRequest,
        _: &mut (dyn FnMut(Delta) + Send),
        _: &CancellationToken,
    ) -> Result<ModelAnswer, Failure> {
        assert!(!format!("{:?}", request.input).contains("break"), "this attempt breaks");
        let items = vec![AnswerItem::Message { content: vec!["Fine.".to_owned()] }];
        Ok(ModelAnswer { items, usage: None, stop: Stop::Complete, response_id: None })
    }
}

/// A shop that counts refunds by idempotency key.
#[derive(Default)]
struct Shop {
    keys: Mutex<Vec<String>>,
    listed: AtomicU32,
    /// When a call last changed its tools.
    changed: Mutex<Option<std::time::Instant>>,
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
        *self.changed.lock().expect("no panics") = Some(std::time::Instant::now());
        Ok(CallResult { text: "refunded".into(), is_error: false })
    }

    fn tools_changed(&self, _: &Server) -> Option<Duration> {
        self.changed.lock().expect("no panics").map(|at| at.elapsed())
    }
}

async fn start(store: Arc<MemoryStore>, shop: Arc<Shop>) -> Runtime {
    let script = Arc::new(Script::parse(SCRIPT).expect("a valid script"));
    start_with(store, shop, Arc::new(ScriptedModel::new(script))).await
}

async fn start_with(store: Arc<MemoryStore>, shop: Arc<Shop>, model: Arc<dyn Model>) -> Runtime {
    let provider = Provider::new("scripted", model, 64);
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
    assert!(store.due(Timestamp::from_millis(i64::MAX), 10).await.expect("due").is_empty());
    assert!(shop.keys.lock().expect("no panics").is_empty());

    let decide = Command::Decide { approval_id: approval.id, decision: Decision::Approve, by: "key".into() };
    let mut stream = runtime.subscribe(view.key).await.expect("there");
    runtime.submit(view.key, vec![decide.clone()], None).await.expect("accepted");
    until(&mut stream, SessionNotice::Idle).await;
    runtime.submit(view.key, vec![decide], None).await.expect("a repeated answer is already done");
    assert_eq!(shop.keys.lock().expect("no panics").len(), 1);
    // Twice if the first of them falls into the millisecond of the change.
    let listed = shop.listed.load(Ordering::Relaxed);
    assert!((2..=3).contains(&listed), "its tools are asked for again after they changed: {listed}");
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

#[tokio::test]
async fn a_session_whose_model_calls_always_panic_fails_alone() {
    let runtime = start_with(Arc::new(MemoryStore::new()), Arc::default(), Arc::new(Fragile)).await;
    let (view, stream) = runtime.open(opening("break"), None, true).await.expect("opens");
    let mut stream = stream.expect("subscribed");
    let say = || vec![Command::Message { content: vec![InputPart::text("again")] }];
    for _ in 0..2 {
        let seen = until(&mut stream, SessionNotice::Idle).await;
        assert!(seen.contains(&"turn.Failed".to_owned()), "{seen:?}");
        runtime.submit(view.key, say(), None).await.expect("still accepts messages");
    }
    until(&mut stream, SessionNotice::Failed).await;
    let failed = runtime.view(view.key).await.expect("readable").expect("there");
    assert_eq!(failed.status, SessionStatus::Failed);
    assert!(failed.error.is_some());
    let error = runtime.submit(view.key, say(), None).await.expect_err("stopped for good");
    assert_eq!(*error.kind(), RuntimeErrorKind::Refused(Refusal::Failed));

    let (_, stream) = runtime.open(opening("hi"), None, true).await.expect("opens");
    let seen = until(&mut stream.expect("subscribed"), SessionNotice::Idle).await;
    assert!(seen.contains(&"turn.Completed".to_owned()), "{seen:?}");
}

#[tokio::test]
async fn what_is_streamed_and_what_is_kept_have_the_same_index() {
    let runtime = start(Arc::new(MemoryStore::new()), Arc::default()).await;
    let (view, stream) = runtime.open(opening("work"), None, true).await.expect("opens");
    let mut stream = stream.expect("subscribed");
    let mut told: BTreeMap<ItemId, Option<u32>> = BTreeMap::new();
    let mut approvals = 0;
    loop {
        let next = tokio::time::timeout(Duration::from_secs(20), stream.next()).await.expect("in time");
        let Some(SubscriptionItem::Event(event)) = next else { panic!("the stream ended") };
        let (id, index) = match &*event {
            StreamEvent::ItemAdded { item } | StreamEvent::ItemDone { item } => (item.id, item.output_index),
            StreamEvent::Part { item_id, output_index, .. } => (*item_id, Some(*output_index)),
            StreamEvent::Session { kind: SessionNotice::Idle, .. } => break,
            StreamEvent::Session { kind: SessionNotice::RequiresAction, session } => {
                for action in &session.required_actions {
                    let RequiredAction::Approval(approval) = action else { continue };
                    let decide = Command::Decide {
                        approval_id: approval.id,
                        decision: Decision::Approve,
                        by: "key".into(),
                    };
                    approvals += 1;
                    runtime.submit(view.key, vec![decide], None).await.expect("accepted");
                }
                continue;
            }
            StreamEvent::Session { .. }
            | StreamEvent::Turn { .. }
            | StreamEvent::Error { .. }
            | StreamEvent::Deleted => continue,
        };
        assert_eq!(*told.entry(id).or_insert(index), index, "an index does not change");
    }
    assert_eq!(approvals, 2);
    let page = Page { after: None, limit: 100, order: Order::Ascending };
    let items = runtime.store().items(view.key, None, &page).await.expect("listed");
    let kept: BTreeMap<_, _> =
        items.iter().filter(|item| item.is_public()).map(|item| (item.id, item.output_index)).collect();
    assert_eq!(told, kept);
    let mut indexes: Vec<u32> = kept.values().flatten().copied().collect();
    indexes.sort_unstable();
    assert_eq!(indexes, [0, 1, 2, 3, 4, 5], "no gaps");
}

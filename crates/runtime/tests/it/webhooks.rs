//! Webhooks of a running runtime, against a receiver on the loopback.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tenure_journal::{
    AgentConfig, AgentId, ApprovalMode, Environment, Fresh, InputPart, MultiAgent, ProjectId, Reasoning,
    ServiceTier, SessionKey, SessionOpened, TextConfig, Timestamp,
};
use tenure_model::scripted::{Script, ScriptedModel};
use tenure_policy::PolicySet;
use tenure_runtime::{
    EventType, Limits, ModelTable, NewWebhook, Opening, Outbound, Parts, Provider, Runtime, RuntimeErrorKind,
    Sealer, SigningSecret, Subscription, SubscriptionItem, WebhookConfig, WebhookError, WebhookPatch,
    WebhookPolicy, WebhookTiming,
};
use tenure_session::{Command, SessionNotice, StreamEvent};
use tenure_store::{Document, DocumentKind, MemoryStore, Order, Page, Store as _};
use tenure_testkit::receiver::{Posted, Receiver, Reply};

mod support {
    use async_trait::async_trait;
    use tenure_journal::{Failure, FailureKind, ToolDef};
    use tenure_tools::{Call, CallResult, Server, Servers};
    use tokio_util::sync::CancellationToken;

    /// No tool servers.
    pub(crate) struct Nowhere;

    fn nowhere() -> Failure {
        Failure { kind: FailureKind::NotFound, message: "no such server".into(), retry_after_ms: None }
    }

    #[async_trait]
    impl Servers for Nowhere {
        async fn list(&self, _: &Server, _: &CancellationToken) -> Result<Vec<ToolDef>, Failure> {
            Err(nowhere())
        }

        async fn call(&self, _: &Server, _: Call<'_>, _: &CancellationToken) -> Result<CallResult, Failure> {
            Err(nowhere())
        }
    }
}

/// Impatient enough for a test.
fn timing() -> WebhookTiming {
    WebhookTiming {
        attempts_max: 1_000,
        first_pause: Duration::from_millis(5),
        pause_max: Duration::from_millis(60),
        timeout: Duration::from_millis(2_000),
        lease: Duration::from_millis(4_000),
        look_every: Duration::from_millis(50),
    }
}

async fn start(store: &Arc<MemoryStore>, keys: &Path, timing: WebhookTiming) -> Runtime {
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let script = Arc::new(Script::parse("rules: [{reply: [{text: Hello.}]}]").expect("a valid script"));
    let provider = Provider::new("scripted", Arc::new(ScriptedModel::new(script)), 64);
    let policy = WebhookPolicy { loopback: true, private_hosts: Vec::new() };
    let parts = Parts {
        store: Arc::clone(store) as Arc<dyn tenure_store::Store>,
        models: ModelTable { named: BTreeMap::new(), fallback: Some(provider) },
        servers: Arc::new(support::Nowhere),
        project_servers: BTreeMap::new(),
        policy: Arc::new(PolicySet::defaults()),
        sealer: Sealer::open(&keys.join("sealing.key")).expect("a key"),
        limits: Limits::default(),
        outbound: Outbound { webhooks: WebhookConfig { policy, timing }, ..Outbound::default() },
        environments: tenure_runtime::EnvironmentConfig::default(),
    };
    Runtime::start(parts).await.expect("starts")
}

fn project() -> ProjectId {
    ProjectId::fresh(&Fresh::new(Timestamp::from_millis(1), 1))
}

fn opening(project_id: ProjectId) -> Opening {
    let agent = AgentConfig {
        id: AgentId::fresh(&Fresh::new(Timestamp::from_millis(1), 2)),
        version: None,
        name: None,
        model: "m".into(),
        instructions: None,
        reasoning: Reasoning::default(),
        text: TextConfig::default(),
        service_tier: ServiceTier::Auto,
        tools: Vec::new(),
        multi_agent: MultiAgent::default(),
        compaction_async: false,
        time_awareness: false,
        approval: ApprovalMode::Destructive,
        skills: Vec::new(),
        grants: Vec::new(),
        extraction: None,
    };
    let opened = SessionOpened {
        project_id,
        agent,
        environment: Environment::None,
        metadata: BTreeMap::new(),
        vault_ids: Vec::new(),
        review: None,
        spend_limit: None,
        prompt_cache: None,
        parent: None,
        trust: tenure_journal::Trust::default(),
        opened_by: None,
    };
    Opening { opened, input: vec![vec![InputPart::text("hi")]] }
}

async fn until_idle(stream: &mut Subscription) {
    loop {
        let next = tokio::time::timeout(Duration::from_secs(60), stream.next()).await.expect("in time");
        let Some(SubscriptionItem::Event(event)) = next else { panic!("the stream ended") };
        if matches!(&*event, StreamEvent::Session { kind: SessionNotice::Idle, .. }) {
            return;
        }
    }
}

/// A session that had `turns` turns.
async fn session(runtime: &Runtime, project: ProjectId, turns: usize) -> SessionKey {
    let (view, stream) = runtime.open(opening(project), None, true).await.expect("opens");
    let mut stream = stream.expect("subscribed");
    until_idle(&mut stream).await;
    for _ in 1..turns {
        let message = Command::Message { content: vec![InputPart::text("again")] };
        runtime.submit(view.key, vec![message], None).await.expect("accepted");
        until_idle(&mut stream).await;
    }
    view.key
}

fn new(url: String) -> NewWebhook {
    NewWebhook { name: "test".into(), url, event_types: EventType::ALL.into() }
}

fn is_accepted(posted: &Posted) -> bool {
    matches!(posted.reply, Reply::Status(200..300))
}

/// Accepted messages by session, each the first time it came, in the order of arrival.
fn accepted(posted: &[Posted]) -> BTreeMap<String, Vec<String>> {
    let (mut seen, mut sessions) = (BTreeSet::new(), BTreeMap::<_, Vec<_>>::new());
    for posted in posted.iter().filter(|posted| is_accepted(posted)) {
        if seen.insert(posted.header("webhook-id").to_owned()) {
            let body: Value = serde_json::from_str(&posted.body).expect("JSON");
            let session = body["data"]["id"].as_str().expect("a session").to_owned();
            let kind = body["type"].as_str().expect("a type").trim_start_matches("agent.session.").to_owned();
            sessions.entry(session).or_default().push(kind);
        }
    }
    sessions
}

fn ids(posted: &[Posted]) -> BTreeSet<String> {
    posted.iter().map(|posted| posted.header("webhook-id").to_owned()).collect()
}

async fn waiting(store: &MemoryStore) -> usize {
    let end = Timestamp::from_millis(i64::MAX);
    store.due_documents(DocumentKind::Delivery, end, 10_000).await.expect("readable").len()
}

/// Done when no delivery waits any more: what a receiver has accepted is recorded a moment later.
async fn drained(store: &MemoryStore) {
    let empty = async {
        while waiting(store).await > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), empty).await.expect("drained in time");
}

#[tokio::test]
async fn an_event_is_told_with_a_signature_that_verifies() {
    let (store, keys) = (Arc::new(MemoryStore::new()), tempfile::tempdir().expect("a directory"));
    let runtime = start(&store, keys.path(), timing()).await;
    let receiver = Receiver::start(|_, _| Reply::Status(204)).await;
    let url = receiver.url("/hook");
    let (webhook, secret) = runtime.create_webhook(project(), new(url), |_| None).await.expect("made");
    assert!(secret.expose().starts_with("whsec_"));
    assert!(
        webhook.secret_hint.ends_with(&secret.expose().trim_end_matches('=')[secret.expose().len() - 5..])
    );
    let key = session(&runtime, project(), 1).await;

    let posted = receiver.until(|posted| posted.len() == 3).await;
    let told = accepted(&posted);
    assert_eq!(told[&key.session.to_string()], ["created", "in_progress", "idle"]);
    for posted in &posted {
        let timestamp = posted.header("webhook-timestamp").parse().expect("seconds");
        let signed = secret.sign(posted.header("webhook-id"), timestamp, &posted.body);
        assert_eq!(posted.header("webhook-signature"), signed);
        assert_eq!(posted.path, "/hook");
    }
    // Each event has an id of its own beside that of its delivery.
    let events: BTreeSet<String> = posted
        .iter()
        .map(|posted| serde_json::from_str::<Value>(&posted.body).expect("JSON")["id"].to_string())
        .collect();
    assert_eq!(events.len(), 3);
    drained(&store).await;
    runtime.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_missing_at_a_receiver_that_fails_and_dies() {
    const SESSIONS: usize = 25;
    const TURNS: usize = 3;
    let (store, keys) = (Arc::new(MemoryStore::new()), tempfile::tempdir().expect("a directory"));
    let runtime = start(&store, keys.path(), timing()).await;
    let chance = Arc::new(std::sync::Mutex::new(fastrand::Rng::with_seed(7)));
    let unreliable = move |_: usize, _: &Posted| {
        let mut chance = chance.lock().expect("no panics");
        match chance.u8(..100) {
            // Some failures come after the receiver has taken the message.
            0..10 => Reply::Status(503),
            10..20 => Reply::Drop,
            20..30 => Reply::Status(429),
            _ => Reply::Status(200),
        }
    };
    let first = Receiver::start(unreliable.clone()).await;
    let (address, url) = (first.address(), first.url("/"));
    runtime.create_webhook(project(), new(url), |_| None).await.expect("made");
    let mut sessions = tokio::task::JoinSet::new();
    for _ in 0..SESSIONS {
        let runtime = runtime.clone();
        sessions.spawn(async move { session(&runtime, project(), TURNS).await });
    }
    // It dies in the middle of it, and comes back once everything has happened.
    first.until(|posted| posted.len() >= SESSIONS * 2).await;
    let mut posted = first.stop().await;
    let sessions = sessions.join_all().await;
    let second = Receiver::start_at(address, unreliable).await;
    let total = SESSIONS * (1 + 2 * TURNS);
    let before = posted.clone();
    let is_whole = |now: &[Posted]| {
        let all: Vec<Posted> =
            before.iter().chain(now).filter(|posted| is_accepted(posted)).cloned().collect();
        ids(&all).len() == total
    };
    posted.extend(second.until(is_whole).await);

    let told = accepted(&posted);
    assert_eq!(told.len(), SESSIONS);
    let mut expected = vec!["created"];
    for _ in 0..TURNS {
        expected.extend(["in_progress", "idle"]);
    }
    for key in sessions {
        assert_eq!(told[&key.session.to_string()], expected, "{key:?}");
    }
    // A repetition has the id and the bytes of the first.
    let mut bodies: BTreeMap<&str, &str> = BTreeMap::new();
    for posted in &posted {
        let body = bodies.entry(posted.header("webhook-id")).or_insert(&posted.body);
        assert_eq!(*body, posted.body);
    }
    assert_eq!(bodies.len(), total, "no event has two ids");
    assert!(posted.len() > total, "something was repeated");
    runtime.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_was_not_delivered_is_after_a_restart() {
    let (store, keys) = (Arc::new(MemoryStore::new()), tempfile::tempdir().expect("a directory"));
    let first = start(&store, keys.path(), timing()).await;
    // It takes what it is given and never says so: the attempt is cut off by the end of the process.
    let hanging = Receiver::start(|_, _| Reply::Hang).await;
    let (address, url) = (hanging.address(), hanging.url("/"));
    let (_, secret) = first.create_webhook(project(), new(url), |_| None).await.expect("made");
    let key = session(&first, project(), 1).await;
    let cut_off = hanging.until(|posted| !posted.is_empty()).await;
    first.shutdown(Duration::ZERO).await;
    hanging.stop().await;

    let receiver = Receiver::start_at(address, |_, _| Reply::Status(200)).await;
    let second = start(&store, keys.path(), timing()).await;
    let posted = receiver.until(|posted| posted.len() == 3).await;
    assert_eq!(accepted(&posted)[&key.session.to_string()], ["created", "in_progress", "idle"]);
    assert_eq!(posted[0].header("webhook-id"), cut_off[0].header("webhook-id"));
    let timestamp = posted[0].header("webhook-timestamp").parse().expect("seconds");
    let signed = secret.sign(posted[0].header("webhook-id"), timestamp, &posted[0].body);
    assert_eq!(posted[0].header("webhook-signature"), signed);
    drained(&store).await;
    second.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_dead_letter_lets_others_pass_and_is_sent_again_when_asked() {
    let (store, keys) = (Arc::new(MemoryStore::new()), tempfile::tempdir().expect("a directory"));
    let timing = WebhookTiming { attempts_max: 2, ..timing() };
    let runtime = start(&store, keys.path(), timing).await;
    let heals = Arc::new(AtomicBool::new(false));
    let healed = Arc::clone(&heals);
    let receiver = Receiver::start(move |_, posted| {
        let is_poison = posted.body.contains("agent.session.in_progress");
        Reply::Status(if is_poison && !healed.load(Ordering::Acquire) { 500 } else { 200 })
    })
    .await;
    let (webhook, _) =
        runtime.create_webhook(project(), new(receiver.url("/")), |_| None).await.expect("made");
    session(&runtime, project(), 1).await;
    let posted = receiver.until(|posted| posted.len() == 4).await;
    let kinds: Vec<_> = accepted(&posted).into_values().next().expect("a session");
    assert_eq!(kinds, ["created", "idle"], "what failed twice no longer holds the rest back");

    let page = Page { after: None, limit: 10, order: Order::Ascending };
    let dead = runtime.dead_letters(project(), webhook.id, &page).await.expect("readable");
    let [dead] = dead.as_slice() else { panic!("one dead letter, not {dead:?}") };
    assert_eq!((dead.attempts, dead.last_error.as_str()), (2, "the receiver answered with status 500"));
    assert_eq!(dead.event_type, EventType::SessionInProgress);
    let unknown = dead.id.replace("dlv_0", "dlv_f");
    let error = runtime.redeliver(project(), webhook.id, &unknown).await.expect_err("not there");
    assert!(matches!(error, WebhookError::NoDeadLetter));

    heals.store(true, Ordering::Release);
    runtime.redeliver(project(), webhook.id, &dead.id).await.expect("on its way");
    let posted = receiver.until(|posted| posted.len() == 5).await;
    assert_eq!(posted[4].header("webhook-id"), dead.id);
    assert_eq!(posted[4].body, dead.payload);
    let error = runtime.redeliver(project(), webhook.id, &dead.id).await.expect_err("no longer dead");
    assert!(matches!(error, WebhookError::NoDeadLetter));
    runtime.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_deliver_each_event_once_and_in_order() {
    let (store, keys) = (Arc::new(MemoryStore::new()), tempfile::tempdir().expect("a directory"));
    let one = start(&store, keys.path(), timing()).await;
    let other = start(&store, keys.path(), timing()).await;
    let receiver = Receiver::start(|_, _| Reply::Status(200)).await;
    one.create_webhook(project(), new(receiver.url("/")), |_| None).await.expect("made");
    // The other node's answer about a project it has not asked for is fresh.
    let mut sessions = tokio::task::JoinSet::new();
    for number in 0..20 {
        let node = if number % 2 == 0 { one.clone() } else { other.clone() };
        sessions.spawn(async move { session(&node, project(), 2).await });
    }
    sessions.join_all().await;
    let posted = receiver.until(|posted| ids(posted).len() == 100).await;
    assert_eq!(posted.len(), 100, "nothing was sent twice while everyone was well");
    let expected = ["created", "in_progress", "idle", "in_progress", "idle"];
    assert!(accepted(&posted).into_values().all(|told| told == expected));
    one.shutdown(Duration::from_secs(5)).await;
    other.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_webhook_hears_what_it_asked_for_and_its_changes_count() {
    let (store, keys) = (Arc::new(MemoryStore::new()), tempfile::tempdir().expect("a directory"));
    let runtime = start(&store, keys.path(), timing()).await;
    let receiver = Receiver::start(|_, _| Reply::Status(200)).await;
    let stranger = ProjectId::fresh(&Fresh::new(Timestamp::from_millis(1), 9));
    let only_idle = NewWebhook { event_types: vec![EventType::SessionIdle], ..new(receiver.url("/a")) };
    let (webhook, old) = runtime.create_webhook(project(), only_idle, |_| None).await.expect("made");
    session(&runtime, stranger, 1).await;
    session(&runtime, project(), 1).await;
    let posted = receiver.until(|posted| !posted.is_empty()).await;
    assert!(posted[0].body.contains("agent.session.idle"));

    // Both secrets verify while they overlap.
    let overlap = Duration::from_secs(3600);
    let (_, fresh) = runtime.rotate_webhook(project(), webhook.id, overlap, |_| None).await.expect("rotated");
    let patch = WebhookPatch { url: Some(receiver.url("/b")), ..WebhookPatch::default() };
    runtime.update_webhook(project(), webhook.id, &patch, |_| None).await.expect("changed");
    session(&runtime, project(), 1).await;
    let posted = receiver.until(|posted| posted.len() == 2).await;
    assert_eq!(posted[1].path, "/b");
    let signed = |secret: &SigningSecret, posted: &Posted| {
        let timestamp = posted.header("webhook-timestamp").parse().expect("seconds");
        secret.sign(posted.header("webhook-id"), timestamp, &posted.body)
    };
    let both = format!("{} {}", signed(&fresh, &posted[1]), signed(&old, &posted[1]));
    assert_eq!(posted[1].header("webhook-signature"), both);
    let (_, last) =
        runtime.rotate_webhook(project(), webhook.id, Duration::ZERO, |_| None).await.expect("rotated");
    session(&runtime, project(), 1).await;
    let posted = receiver.until(|posted| posted.len() == 3).await;
    assert_eq!(posted[2].header("webhook-signature"), signed(&last, &posted[2]));

    drained(&store).await;
    runtime.delete_webhook(project(), webhook.id).await.expect("deleted");
    session(&runtime, project(), 1).await;
    assert_eq!(waiting(&store).await, 0);
    let error = runtime.webhook(project(), webhook.id).await.expect_err("gone");
    assert!(matches!(error, WebhookError::NotFound));
    assert_eq!(receiver.posted().len(), 3, "neither a stranger's events nor those after its end are told");
    runtime.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn deliveries_of_a_webhook_that_is_gone_are_dropped() {
    let (store, keys) = (Arc::new(MemoryStore::new()), tempfile::tempdir().expect("a directory"));
    let runtime = start(&store, keys.path(), timing()).await;
    let receiver = Receiver::start(|_, _| Reply::Status(500)).await;
    let (webhook, _) =
        runtime.create_webhook(project(), new(receiver.url("/")), |_| None).await.expect("made");
    session(&runtime, project(), 1).await;
    receiver.until(|posted| posted.len() >= 2).await;
    assert_eq!(waiting(&store).await, 3);
    runtime.delete_webhook(project(), webhook.id).await.expect("deleted");
    drained(&store).await;
    runtime.shutdown(Duration::from_secs(5)).await;
}

/// Writes the next version of a document, changed.
async fn rewrite(store: &MemoryStore, document: &Document, change: impl FnOnce(&mut Value)) -> Document {
    let mut next = Document { version: document.version + 1, ..document.clone() };
    change(&mut next.body);
    store.put(vec![next.clone()], None).await.expect("written");
    next
}

#[tokio::test]
async fn what_a_newer_release_wrote_waits_for_it_and_hinders_nobody() {
    const MANY: u64 = 1_500;
    let (store, keys) = (Arc::new(MemoryStore::new()), tempfile::tempdir().expect("a directory"));
    let is_up = Arc::new(AtomicBool::new(false));
    let up = Arc::clone(&is_up);
    let reply = move |_: usize, _: &Posted| Reply::Status(if up.load(Ordering::Relaxed) { 200 } else { 500 });
    let receiver = Receiver::start(reply).await;
    let before = start(&store, keys.path(), timing()).await;
    let (webhook, _) =
        before.create_webhook(project(), new(receiver.url("/")), |_| None).await.expect("made");
    let first = session(&before, project(), 1).await;
    before.shutdown(Duration::from_secs(5)).await;

    // A newer release adds a member to the first delivery of that session, and writes more than one look finds
    // that are due before anything else.
    let page = Page { after: None, limit: 10_000, order: Order::Ascending };
    let line = format!("{}/{}", webhook.id, first.session);
    let found = store.documents(project(), DocumentKind::Delivery, Some(&line), &page).await;
    let found = found.expect("readable");
    assert_eq!(found.len(), 3);
    let add = |body: &mut Value| body["a_newer_member"] = Value::Bool(true);
    let newer = rewrite(&store, &found[0], add).await;
    for number in 0..MANY {
        let document = Document {
            id: format!("dlv_{number:044x}"),
            version: 0,
            name: Some(format!("{}/{number}", webhook.id)),
            wake_at: Some(Timestamp::EPOCH),
            ..newer.clone()
        };
        rewrite(&store, &document, |_| {}).await;
    }
    let all = || async {
        let all = store.documents(project(), DocumentKind::Delivery, None, &page).await.expect("readable");
        all.into_iter().filter(|document| !document.id.starts_with("dlv_f")).collect::<Vec<_>>()
    };
    let stored = all().await;

    is_up.store(true, Ordering::Relaxed);
    let older = start(&store, keys.path(), timing()).await;
    let second = session(&older, project(), 1).await;
    let told = |posted: &[Posted], key: SessionKey| {
        accepted(posted).get(&key.session.to_string()).cloned().unwrap_or_default()
    };
    let posted = receiver.until(|posted| told(posted, second).len() == 3).await;
    assert!(told(&posted, first).is_empty(), "what comes after the first one of a line waits for it");
    let unreadable = format!("tenure_unreadable{{kind=\"document\"}} {}", MANY + 3);
    let shown = async {
        while !older.metrics_text().contains(&unreadable) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), shown).await.expect("an operator sees it");
    older.shutdown(Duration::from_secs(5)).await;
    let rest: Vec<_> = all()
        .await
        .into_iter()
        .filter(|document| document.name != Some(format!("{}/{}", webhook.id, second.session)))
        .collect();
    assert_eq!(rest, stored, "nothing of it was written");

    // A release that understands it.
    rewrite(&store, &newer, |body| *body = found[0].body.clone()).await;
    let understanding = start(&store, keys.path(), timing()).await;
    receiver.until(|posted| told(posted, first) == ["created", "in_progress", "idle"]).await;
    understanding.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_webhook_of_a_newer_release_is_neither_passed_over_nor_written() {
    let (store, keys) = (Arc::new(MemoryStore::new()), tempfile::tempdir().expect("a directory"));
    let receiver = Receiver::start(|_, _| Reply::Status(200)).await;
    let before = start(&store, keys.path(), timing()).await;
    let (webhook, _) =
        before.create_webhook(project(), new(receiver.url("/")), |_| None).await.expect("made");
    before.shutdown(Duration::from_secs(5)).await;
    let id = webhook.id.to_string();
    let saved = store.document(project(), DocumentKind::Webhook, &id, None).await.expect("readable");
    let saved = saved.expect("there");
    let newer = rewrite(&store, &saved, |body| body["a_newer_member"] = Value::Bool(true)).await;

    let older = start(&store, keys.path(), timing()).await;
    let error = older.open(opening(project()), None, false).await.map(|_| ()).expect_err("nobody is told");
    assert_eq!(*error.kind(), RuntimeErrorKind::Damaged, "an event is not recorded without its deliveries");
    let stranger = ProjectId::fresh(&Fresh::new(Timestamp::from_millis(1), 9));
    session(&older, stranger, 1).await;
    older.shutdown(Duration::from_secs(5)).await;
    let now = store.document(project(), DocumentKind::Webhook, &id, None).await.expect("readable");
    assert_eq!(now.as_ref(), Some(&newer));

    rewrite(&store, &newer, |body| *body = saved.body.clone()).await;
    let understanding = start(&store, keys.path(), timing()).await;
    session(&understanding, project(), 1).await;
    receiver.until(|posted| posted.len() == 3).await;
    understanding.shutdown(Duration::from_secs(5)).await;
}

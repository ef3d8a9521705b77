//! Nodes of two releases on one PostgreSQL. What a newer one wrote is written here by hand, into the rows:
//! this release cannot read it, leaves it, and gives it up to whoever can.

mod wait;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tenure_journal::{
    AgentConfig, AgentId, Failure, FailureKind, Fresh, InputPart, NodeId, ProjectId, SessionKey,
    SessionOpened, SessionStatus, Timestamp, ToolDef,
};
use tenure_model::scripted::{Script, ScriptedModel};
use tenure_policy::PolicySet;
use tenure_runtime::{
    Limits, MasterKeys, ModelTable, Opening, Outbound, Parts, Provider, Runtime, RuntimeErrorKind, Sealer,
};
use tenure_session::Command;
use tenure_store::{Document, DocumentKind, Store as _};
use tenure_store_postgres::{Options, PostgresStore};
use tenure_testkit::postgres::{Database, Postgres};
use tenure_tools::{Call, CallResult, Server, Servers};
use tokio_postgres::{Client, NoTls};
use tokio_util::sync::CancellationToken;

use wait::until;

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

/// The master key of all nodes: one store has one.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn nowhere() -> Failure {
    Failure { kind: FailureKind::NotFound, message: "no such server".into(), retry_after_ms: None }
}

async fn open(database: &Database) -> Arc<PostgresStore> {
    let options = Options::parse(&database.url()).expect("the URL is one");
    Arc::new(PostgresStore::open(&options).await.expect("the store opens"))
}

/// A node that works on whatever is due.
async fn node(database: &Database) -> Runtime {
    // What webhooks are sent with; another node of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let script = "rules: [{fault: {stall_ms: 600000}, reply: [{text: late}]}]";
    let script = Arc::new(Script::parse(script).expect("a valid script"));
    let provider = Provider::new("scripted", Arc::new(ScriptedModel::new(script)), 64);
    let parts = Parts {
        store: open(database).await,
        models: ModelTable { named: BTreeMap::new(), fallback: Some(provider) },
        servers: Arc::new(Nowhere),
        project_servers: BTreeMap::new(),
        policy: Arc::new(PolicySet::defaults()),
        sealer: Sealer::new(MasterKeys::of_text(KEY, "the test").expect("a key")),
        // Longer than the test: nobody takes over what a living node holds.
        limits: Limits { lease: Duration::from_secs(600), ..Limits::default() },
        outbound: Outbound::default(),
        environments: tenure_runtime::EnvironmentConfig::default(),
    };
    let runtime = Runtime::start(parts).await.expect("starts");
    runtime.run_automations(Arc::new(|_| Ok(())));
    runtime
}

fn project() -> ProjectId {
    ProjectId::fresh(&Fresh::new(Timestamp::from_millis(1), 1))
}

/// A session whose turn runs for as long as it is let.
async fn session(node: &Runtime) -> SessionKey {
    let agent = AgentConfig::new(AgentId::fresh(&Fresh::new(Timestamp::from_millis(1), 2)), "m");
    let opened = SessionOpened::new(project(), agent);
    let opening = Opening { opened, input: vec![vec![InputPart::text("stall")]] };
    node.open(opening, None, false).await.expect("opens").0.key
}

fn message() -> Vec<Command> {
    vec![Command::Message { content: vec![InputPart::text("more")] }]
}

/// A person's own connection to the database.
async fn by_hand(database: &Database) -> Client {
    let (client, connection) = tokio_postgres::connect(&database.url(), NoTls).await.expect("connects");
    tokio::spawn(connection);
    client
}

/// Everything stored about a session but its holder, and that.
async fn rows(client: &Client, key: SessionKey) -> (Vec<String>, Option<String>) {
    let sql = "SELECT (to_jsonb(s) - 'holder')::text FROM sessions AS s WHERE session_id = $1 \
               UNION ALL (SELECT event FROM journal WHERE session_id = $1 ORDER BY version)";
    let id = key.session.to_string();
    let rows = client.query(sql, &[&id]).await.expect("reads");
    let holder = client.query_one("SELECT holder FROM sessions WHERE session_id = $1", &[&id]).await;
    (rows.iter().map(|row| row.get(0)).collect(), holder.expect("reads").get(0))
}

/// A document of each kind that wakes, due, and as a newer release might write it.
fn unreadable() -> Vec<Document> {
    let document = |kind, id: &str| Document {
        project: project(),
        kind,
        id: id.to_owned(),
        version: 1,
        name: Some("a".to_owned()),
        body: json!({ "a_newer_member": true }),
        created_at: Timestamp::EPOCH,
        updated_at: Timestamp::EPOCH,
        wake_at: Some(Timestamp::EPOCH),
        deleted: false,
    };
    vec![
        document(DocumentKind::Automation, "auto_1"),
        document(DocumentKind::Invocation, "inv_1"),
        document(DocumentKind::Delivery, "dlv_1"),
    ]
}

#[tokio::test]
async fn an_older_node_leaves_what_it_cannot_read_to_a_newer_one() {
    let database = Postgres::shared().database();
    let (store, client) = (open(&database).await, by_hand(&database).await);
    store.put(unreadable(), None).await.expect("written");
    let older = node(&database).await;
    let key = session(&older).await;
    assert!(rows(&client, key).await.1.is_some(), "it works on the session");

    // A newer node, a guest, appends an event of a type that came with it.
    let id = key.session.to_string();
    let append = "WITH next AS (UPDATE sessions SET version = version + 1 WHERE session_id = $1 \
                                RETURNING project_id, session_id, version) \
                  INSERT INTO journal SELECT project_id, session_id, version, 1, '{\"type\":\"a_newer_event\"}' FROM next";
    client.execute(append, &[&id]).await.expect("written");
    let stored = rows(&client, key).await.0;
    let refused = older.submit(key, message(), None).await.map(|_| ()).expect_err("it cannot go on");
    assert_eq!(*refused.kind(), RuntimeErrorKind::Damaged);
    until("the older node lets go", async || rows(&client, key).await.1.is_none()).await;

    // It passes it over: when it has taken up another that came free, this one still waits.
    let other = node(&database).await;
    let second = session(&other).await;
    let holder = rows(&client, second).await.1;
    other.shutdown(Duration::ZERO).await;
    until("the older node takes over what it can read", async || {
        let now = rows(&client, second).await.1;
        now.is_some() && now != holder
    })
    .await;
    assert_eq!(rows(&client, key).await, (stored, None), "nothing was written, and nobody holds it");
    assert!(older.metrics_text().contains("tenure_unreadable{kind=\"session\"} 1"));
    until("documents are left too", async || {
        older.metrics_text().contains("tenure_unreadable{kind=\"document\"} 3")
    })
    .await;
    for document in unreadable() {
        let now = store.document(document.project, document.kind, &document.id, None).await;
        assert_eq!(now.expect("reads"), Some(document), "a document is as it was");
    }

    // A node that can read it: another claim finds it due at once, and what stood in the way is understood.
    let newer = NodeId::fresh(&Fresh::new(Timestamp::EPOCH, 7));
    store.heartbeat(newer, Duration::from_secs(600)).await.expect("begins a lease");
    let claimed = store.claim_due(newer, Timestamp::from_millis(i64::MAX), 9, &[]).await;
    assert_eq!(claimed.expect("claims"), [key]);
    store.retire(newer).await.expect("retires");
    let understand = "DELETE FROM journal WHERE session_id = $1 AND event LIKE '%a_newer_event%'";
    client.execute(understand, &[&id]).await.expect("written");
    client
        .execute("UPDATE sessions SET version = version - 1 WHERE session_id = $1", &[&id])
        .await
        .expect("written");
    let understanding = node(&database).await;
    until("it goes on", async || rows(&client, key).await.1.is_some()).await;
    understanding.submit(key, vec![Command::Cancel], None).await.expect("accepted");
    until("it ends well", async || {
        let seen = understanding.view(key).await.expect("readable").expect("there");
        seen.status == SessionStatus::Idle
    })
    .await;
    for node in [older, understanding] {
        node.shutdown(Duration::ZERO).await;
    }
}

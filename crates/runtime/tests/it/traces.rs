//! Traces of a running runtime: read back, and sent to a collector on the loopback.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tenure_journal::{AgentConfig, InputPart, SessionKey};
use tenure_model::scripted::{Script, ScriptedModel};
use tenure_policy::PolicySet;
use tenure_runtime::{
    Content, ExportConfig, Limits, ModelTable, Opening, Outbound, Parts, Provider, Runtime, Sealer,
    SubscriptionItem,
};
use tenure_session::{Command, SessionNotice, StreamEvent};
use tenure_store::{MemoryStore, Order, Page, Store as _};
use tenure_testkit::receiver::{Receiver, Reply};

use crate::support::plain::{Nowhere, agent, opened};

async fn start(store: &Arc<MemoryStore>, outbound: Outbound) -> Runtime {
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let script = Arc::new(Script::parse("rules: [{reply: [{text: Hello.}]}]").expect("a valid script"));
    let provider = Provider::new("scripted", Arc::new(ScriptedModel::new(script)), 64);
    let parts = Parts {
        store: Arc::clone(store) as Arc<dyn tenure_store::Store>,
        models: ModelTable { named: BTreeMap::new(), fallback: Some(provider) },
        servers: Arc::new(Nowhere),
        project_servers: BTreeMap::new(),
        policy: Arc::new(PolicySet::defaults()),
        sealer: Sealer::ephemeral(),
        limits: Limits::default(),
        outbound,
        environments: tenure_runtime::EnvironmentConfig::default(),
    };
    Runtime::start(parts).await.expect("starts")
}

/// A session that had `turns` turns.
async fn session(runtime: &Runtime, turns: usize) -> SessionKey {
    let agent = AgentConfig { name: Some("clerk".into()), ..agent() };
    let opened = opened(agent);
    let input = vec![vec![InputPart::text("say nothing of this")]];
    let (view, stream) = runtime.open(Opening { opened, input }, None, true).await.expect("opens");
    let mut stream = stream.expect("subscribed");
    for turn in 0..turns {
        if turn > 0 {
            let message = Command::Message { content: vec![InputPart::text("again")] };
            runtime.submit(view.key, vec![message], None).await.expect("accepted");
        }
        loop {
            let next = tokio::time::timeout(Duration::from_secs(60), stream.next()).await.expect("in time");
            let Some(SubscriptionItem::Event(event)) = next else { panic!("the stream ended") };
            if matches!(&*event, StreamEvent::Session { kind: SessionNotice::Idle, .. }) {
                break;
            }
        }
    }
    view.key
}

fn spans(request: &Value) -> &Vec<Value> {
    request["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("spans")
}

#[tokio::test]
async fn every_finished_turn_has_a_trace_in_either_order() {
    const TURNS: usize = 150;
    let store = Arc::new(MemoryStore::new());
    let runtime = start(&store, Outbound::default()).await;
    let key = session(&runtime, TURNS).await;
    for order in [Order::Ascending, Order::Descending] {
        for (after, limit) in [(None, 5), (Some(70), 9), (Some(140), 50)] {
            let all = Page { after: None, limit: TURNS, order };
            let all = store.turns(key, &all).await.expect("readable");
            let after = after.map(|place: usize| all[place].id.to_string());
            let turns = store.turns(key, &Page { after, limit, order }).await.expect("readable");
            let (traces, is_cut) = runtime.traces(key, &turns, order).await.expect("readable");
            let ids = |turns: Vec<_>| turns.into_iter().collect::<Vec<_>>();
            assert_eq!(
                ids(traces.iter().map(|trace| trace.turn_id).collect()),
                ids(turns.iter().map(|turn| turn.id).collect())
            );
            assert!(!is_cut);
            for trace in &traces {
                let names: Vec<_> = spans(&trace.otlp).iter().map(|span| span["name"].clone()).collect();
                assert_eq!(names, ["invoke_agent clerk", "chat m"]);
                assert!(!trace.otlp.to_string().contains("say nothing"));
            }
        }
    }
    runtime.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn finished_turns_are_exported_and_a_failing_collector_is_asked_again() {
    let collector = Receiver::start(|number, _| Reply::Status(if number == 0 { 503 } else { 200 })).await;
    let headers = vec![("api-key".to_owned(), "secret".to_owned())];
    let export = ExportConfig { endpoint: collector.url("/v1/traces"), headers };
    assert!(!format!("{export:?}").contains("secret"));
    let outbound = Outbound { export: Some(export), trace_content: Content::Included, ..Outbound::default() };
    let store = Arc::new(MemoryStore::new());
    let runtime = start(&store, outbound).await;
    let key = session(&runtime, 1).await;
    let posted = collector.until(|posted| posted.len() == 2).await;
    assert_eq!(posted[0].body, posted[1].body);
    assert_eq!((posted[1].path.as_str(), posted[1].header("api-key")), ("/v1/traces", "secret"));
    assert_eq!(posted[1].header("content-type"), "application/json");
    let request: Value = serde_json::from_str(&posted[1].body).expect("JSON");
    let turns = Page { after: None, limit: 1, order: Order::Descending };
    let turns = store.turns(key, &turns).await.expect("readable");
    let (traces, _) = runtime.traces(key, &turns, Order::Descending).await.expect("readable");
    assert_eq!(request, traces[0].otlp, "what is exported is what is shown");
    assert!(posted[1].body.contains("say nothing of this"), "content was asked for");
    runtime.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_collector_that_never_answers_holds_nobody_up() {
    let collector = Receiver::start(|_, _| Reply::Hang).await;
    let export = ExportConfig { endpoint: collector.url("/v1/traces"), headers: Vec::new() };
    let store = Arc::new(MemoryStore::new());
    let runtime = start(&store, Outbound { export: Some(export), ..Outbound::default() }).await;
    session(&runtime, 3).await;
    collector.until(|posted| !posted.is_empty()).await;
    session(&runtime, 3).await;
    runtime.shutdown(Duration::from_secs(5)).await;
}

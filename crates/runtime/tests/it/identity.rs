//! An agent shows a tool server who it is, where the server asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use tenure_identity::{Algorithm, KeySet, Rules, Token};
use tenure_model::scripted::{Script, ScriptedModel};
use tenure_policy::PolicySet;
use tenure_runtime::{IdentityConfig, Limits, ModelTable, Outbound, Parts, Provider, Runtime, Sealer};
use tenure_session::SessionNotice;
use tenure_store::MemoryStore;
use tenure_tools::{Hints, Server};

use crate::support::{Shop, opening, until};

const AUDIENCE: &str = "https://shop.example";

async fn start(store: &Arc<MemoryStore>, shop: &Arc<Shop>, sealer: Sealer, audiences: &[&str]) -> Runtime {
    let script = "rules:\n  - reply: [{ text: \"Hello there.\" }]\n";
    let model = ScriptedModel::new(Arc::new(Script::parse(script).expect("a valid script")));
    let provider = Provider::new("scripted", Arc::new(model), 64);
    let server =
        Server::Http { url: "http://shop.invalid".into(), headers: BTreeMap::new(), hints: Hints::default() };
    let identity = IdentityConfig {
        issuer: "https://tenure.example".into(),
        domain: "tenure.example".into(),
        audiences: audiences.iter().map(|name| ((*name).to_owned(), AUDIENCE.to_owned())).collect(),
    };
    let parts = Parts {
        store: Arc::clone(store) as _,
        models: ModelTable { named: BTreeMap::new(), fallback: Some(provider) },
        servers: Arc::clone(shop) as _,
        project_servers: BTreeMap::from([("shop".to_owned(), server)]),
        policy: Arc::new(PolicySet::defaults()),
        sealer,
        limits: Limits::default(),
        outbound: Outbound { identity: Some(identity), ..Outbound::default() },
        environments: tenure_runtime::EnvironmentConfig::default(),
    };
    Runtime::start(parts).await.expect("starts")
}

/// What the shop was shown.
fn shown(shop: &Shop) -> Vec<Option<String>> {
    let seen = shop.headers.lock().expect("no panics");
    seen.iter().map(|headers| headers.get("authorization").cloned()).collect()
}

#[tokio::test]
async fn a_server_that_asks_is_shown_which_agent_calls() {
    let (store, shop) = (Arc::new(MemoryStore::new()), Arc::new(Shop::default()));
    let directory = tempfile::tempdir().expect("a directory");
    let sealer = || Sealer::open(&directory.path().join("sealing.key")).expect("a key");
    let runtime = start(&store, &shop, sealer(), &["shop"]).await;
    let (view, stream) = runtime.open(opening("hi"), None, true).await.expect("opens");
    until(&mut stream.expect("subscribed"), SessionNotice::Idle).await;
    let [Some(shown)] = &shown(&shop)[..] else { panic!("one listing, with a token: {:?}", shown(&shop)) };
    let token = shown.strip_prefix("Bearer ").expect("a bearer token");
    let keys = runtime.agent_keys().await.expect("works").expect("there are");
    let rules = Rules {
        issuer: runtime.agent_issuer().expect("there is one").to_owned(),
        audience: AUDIENCE.into(),
        algorithms: vec![Algorithm::Es256],
        groups_claim: "groups".into(),
    };
    let set = KeySet::parse(keys.to_string().as_bytes()).expect("keys");
    let read = Token::parse(token).expect("a token");
    let who = rules.check(&read, &set, runtime.now().as_secs()).expect("accepted");
    let expected = format!("spiffe://tenure.example/project/{}/agent/{}", view.key.project, view.agent.id);
    assert_eq!(who.subject, expected);

    let other = start(&store, &shop, sealer(), &["shop"]).await;
    assert_eq!(other.agent_keys().await.expect("works"), Some(keys), "every node signs with the same key");
}

#[tokio::test]
async fn a_server_that_does_not_ask_is_shown_nothing() {
    let (store, shop) = (Arc::new(MemoryStore::new()), Arc::new(Shop::default()));
    let runtime = start(&store, &shop, Sealer::ephemeral(), &["another"]).await;
    let (_, stream) = runtime.open(opening("hi"), None, true).await.expect("opens");
    until(&mut stream.expect("subscribed"), SessionNotice::Idle).await;
    assert_eq!(shown(&shop), [None]);
}

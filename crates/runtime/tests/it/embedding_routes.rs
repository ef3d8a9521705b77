//! Vectors from a provider, over real HTTP: each call is allowed, recorded and counted; what policy keeps here stays;
//! and whatever goes wrong, recall goes on by terms and says why.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tenure_journal::{
    Amounts, BudgetId, BudgetScope, BudgetUse, Caps, Confidentiality, Failure, FailureKind, Labels,
    MemorySpace, Period, RouteRecord,
};
use tenure_model::scripted::{Script, ScriptedModel};
use tenure_model::{EmbedAnswer, EmbedRequest, Embeddings, HttpConfig, HttpModel, Model, Wire};
use tenure_policy::{PolicySet, PolicySource};
use tenure_runtime::{
    EmbeddingRoutes, FileBudgets, Limits, MasterKeys, ModelTable, Parts, Places, Prices, Provider, Recalled,
    Route, Runtime, Sealer, fact,
};
use tenure_session::SessionNotice;
use tenure_store::{MemoryStore, Store as _};
use tenure_testkit::mock_openai::{self, RequestLog};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::support::plain::Nowhere;
use crate::support::wait::answered;
use crate::support::{KEY, opening, until};

/// Longer than anything here takes, unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a runtime differs from the plainest.
struct Setup {
    address: SocketAddr,
    /// The model's name at the provider.
    model: &'static str,
    policies: &'static str,
    tokens_max: Option<u64>,
    timeout: Duration,
    /// Calls that the provider answers at once.
    places: usize,
    /// What makes vectors in place of whoever is at the address.
    embeddings: Option<Arc<dyn Embeddings>>,
}

impl Setup {
    fn of(address: SocketAddr) -> Self {
        Self {
            address,
            model: "small",
            policies: "",
            tokens_max: None,
            timeout: PATIENCE,
            places: 4,
            embeddings: None,
        }
    }

    async fn start(self, store: &Arc<MemoryStore>) -> Runtime {
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = format!("http://{}/v1", self.address).parse().expect("a URL");
        let http = HttpModel::new(&HttpConfig::new(url, Wire::Responses, None)).expect("a configuration");
        let http = Arc::new(http);
        let embeddings = self.embeddings.unwrap_or_else(|| Arc::clone(&http) as Arc<dyn Embeddings>);
        let opened = (http as Arc<dyn Model>, Some(embeddings));
        let record = RouteRecord { name: "far".into(), region: "eu".into(), ..RouteRecord::default() };
        let far =
            Provider::with_embeddings("far", opened, Places::shared(self.places), record.clone(), false);
        let script = Script::parse("rules:\n  - reply: [{ text: \"Noted.\" }]\n").expect("a valid script");
        let here = Provider::new("here", Arc::new(ScriptedModel::new(Arc::new(script))), 4);
        let prices = Some(Prices { input: 1.0, cached_input: 1.0, output: 1.0 });
        let model = self.model.to_owned();
        let route =
            Route { record, provider: far, model, prices, context_tokens: None, output_tokens_max: None };
        let caps = Caps { tokens: self.tokens_max, ..Caps::NONE };
        let project = self.tokens_max.map(|_| (Period::Total, caps)).into_iter().collect();
        let source = PolicySource { name: "p.cedar".into(), text: self.policies.into() };
        let runtime = Runtime::start(Parts {
            store: Arc::clone(store) as Arc<dyn tenure_store::Store>,
            models: ModelTable {
                named: BTreeMap::from([("vectors".into(), vec![route])]),
                fallback: Some(here),
            },
            servers: Arc::new(Nowhere),
            project_servers: BTreeMap::new(),
            policy: Arc::new(PolicySet::new(&[source]).expect("valid policies")),
            sealer: Sealer::new(MasterKeys::of_text(KEY, "the test").expect("a key")),
            limits: Limits {
                budgets: FileBudgets { project, ..FileBudgets::default() },
                ..Limits::default()
            },
            outbound: tenure_runtime::Outbound::default(),
            environments: tenure_runtime::EnvironmentConfig::default(),
        });
        let runtime = runtime.await.expect("starts");
        let routes = EmbeddingRoutes {
            model: "vectors".into(),
            dimensions: Some(256),
            texts_max: 16,
            question_timeout: self.timeout,
        };
        assert_eq!(runtime.embed_through(routes), Some(format!("vectors={}/256", self.model)));
        runtime
    }
}

async fn provider() -> (SocketAddr, RequestLog) {
    let script = Arc::new(Script::parse("rules:\n  - reply: [{ text: \"x\" }]\n").expect("a valid script"));
    let log = RequestLog::new();
    let (address, _) = mock_openai::start(script, log.clone()).await.expect("a free port");
    (address, log)
}

/// An address where every connection is closed at once. It stays taken, so that no other test comes to listen there.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    tokio::spawn(async move {
        loop {
            drop(listener.accept().await);
        }
    });
    address
}

/// A provider that fails on one text.
struct Choking;

#[async_trait::async_trait]
impl Embeddings for Choking {
    async fn embed(&self, request: &EmbedRequest) -> Result<EmbedAnswer, Failure> {
        if request.texts.iter().any(|text| text.contains("Poison")) {
            let message = "the model provider failed".to_owned();
            return Err(Failure { kind: FailureKind::ServerError, message, retry_after_ms: None });
        }
        Ok(EmbedAnswer { vectors: vec![vec![1.0, 0.0]; request.texts.len()], tokens: Some(1) })
    }
}

/// A provider that is asked and never answers.
#[derive(Default)]
struct Silent(Notify);

#[async_trait::async_trait]
impl Embeddings for Silent {
    async fn embed(&self, _: &EmbedRequest) -> Result<EmbedAnswer, Failure> {
        self.0.notify_one();
        std::future::pending().await
    }
}

/// A session in which something was said that has these labels.
async fn said(runtime: &Runtime, text: &str, labels: Labels) -> MemorySpace {
    let mut opening = opening(text);
    opening.opened.agent.tools.clear();
    opening.opened.trust.messages = labels;
    let (view, stream) = runtime.open(opening, None, true).await.expect("opens");
    until(&mut stream.expect("subscribed"), SessionNotice::Idle).await;
    MemorySpace { project: view.key.project, agent: view.agent.id, user: None }
}

async fn ask(runtime: &Runtime, space: &MemorySpace, question: &str) -> Vec<Recalled> {
    runtime.recall(space, question, fact::Asked::default(), 5, None).await.expect("recalls")
}

/// What is found once something is found by its vector.
async fn by_meaning(runtime: &Runtime, space: &MemorySpace, question: &str) -> Vec<Recalled> {
    answered("vectors", async || {
        let found = ask(runtime, space, question).await;
        found.iter().any(|one| one.why.vector.is_some()).then_some(found)
    })
    .await
}

/// Waits until everything has vectors of the model: then every call for them is settled.
async fn all_made(store: &MemoryStore, model: &str) {
    let name = format!("vectors={model}/256");
    answered("everything has vectors", async || {
        store.unembedded(&name, 0, 9).await.expect("readable").is_empty().then_some(())
    })
    .await;
}

/// Every text that was sent, in its order.
fn sent(log: &RequestLog, model: &str) -> Vec<String> {
    let requests = log.received();
    let of_model = requests.iter().filter(|received| received.body["model"] == model);
    let texts = of_model.flat_map(|received| received.body["input"].as_array().cloned().unwrap_or_default());
    texts.filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

/// Facts of the audit log about calls for vectors.
async fn recorded(store: &MemoryStore, runtime: &Runtime, space: &MemorySpace) -> Vec<Value> {
    runtime.seal_audit(space.project).await.expect("seals");
    let records = store.sealed_records(space.project, 0, 1_000).await.expect("readable");
    let fact = |record: &bytes::Bytes| serde_json::from_slice::<Value>(record).expect("JSON")["fact"].take();
    records.iter().map(fact).collect()
}

#[tokio::test]
async fn what_was_said_is_found_by_vectors_of_a_provider() {
    let (address, log) = provider().await;
    let store = Arc::new(MemoryStore::unshared());
    let runtime = Setup { tokens_max: Some(1_000_000), ..Setup::of(address) }.start(&store).await;
    let space = said(&runtime, "Our spaniel is ill.", Labels::NEUTRAL).await;
    // No term is shared; runs of letters are.
    let found = by_meaning(&runtime, &space, "spanielillness").await;
    assert!(found.iter().any(|one| one.episode.text == "Our spaniel is ill."), "{found:?}");
    assert!(found.iter().all(|one| one.why.lexical_because.is_none()));
    assert_eq!(log.invalid(), 0);
    let texts = sent(&log, "small");
    assert!(
        texts.contains(&"Our spaniel is ill.".to_owned()) && texts.contains(&"spanielillness".to_owned())
    );

    all_made(&store, "small").await;
    let facts = recorded(&store, &runtime, &space).await;
    let started = facts.iter().find(|fact| fact["route"]["class"] == "memory").expect("recorded");
    assert_eq!(
        (&started["route"]["route"]["name"], &started["route"]["route"]["region"]),
        (&"far".into(), &"eu".into())
    );
    let effect = &started["effect"];
    let of_effect = |kind: &str| facts.iter().find(|fact| fact["type"] == kind && fact["effect"] == *effect);
    let allowed = of_effect("allowed").expect("allowed before");
    assert_eq!((&allowed["action"], &allowed["resource"]), (&"model.call".into(), &"vectors".into()));
    let ended = of_effect("attempt_ended").expect("ended");
    assert_eq!(ended["outcome"], "done");
    assert!(ended["cost_nano_usd"].as_u64().is_some_and(|cost| cost > 0), "{ended}");
    assert!(
        facts.iter().any(|fact| fact["resource"] == "vectors by far" && fact["outcome"] == "done"),
        "the search, too"
    );
    runtime.shutdown(PATIENCE).await;

    // The turn's own model call is counted in the same budget, as what it had set aside.
    let id = BudgetId::at(BudgetScope::Project, Period::Total, runtime.now());
    let BudgetUse { spent, reserved } = store.budget_uses_now(space.project, &[id]).expect("readable")[0];
    assert_eq!(reserved, Amounts::default(), "nothing stays set aside");
    assert_eq!(spent.calls, 1 + log.received().len() as u64);
    let tokens: u64 = sent(&log, "small").iter().map(|text| text.len().div_ceil(4) as u64).sum();
    assert!(spent.tokens > tokens && tokens > 0, "{spent:?} {tokens}");
}

#[tokio::test]
async fn what_policy_keeps_here_is_not_sent_and_recalled_by_its_terms() {
    let (address, log) = provider().await;
    let store = Arc::new(MemoryStore::unshared());
    let policies = r#"@id("kept-here") forbid (principal, action == Action::"model.call", resource)
        when { context.class == "memory" && context.flow.confidentiality > 1 };"#;
    let runtime = Setup { policies, ..Setup::of(address) }.start(&store).await;
    let secret = Labels { confidentiality: Confidentiality::Restricted, ..Labels::NEUTRAL };
    let space = said(&runtime, "The merger is called Heron.", secret).await;
    said(&runtime, "Our spaniel is ill.", Labels::NEUTRAL).await;
    by_meaning(&runtime, &space, "How is the spaniel?").await;
    let facts = answered("the refusal is recorded", async || {
        let facts = recorded(&store, &runtime, &space).await;
        facts.iter().any(|fact| fact["type"] == "refused").then_some(facts)
    })
    .await;
    let refused = facts.iter().find(|fact| fact["type"] == "refused").expect("it was looked for");
    assert_eq!(
        (&refused["resource"], &refused["policies"]),
        (&"vectors by far".into(), &serde_json::json!(["kept-here"]))
    );
    let found = ask(&runtime, &space, "What is the merger called?").await;
    let merger = found.iter().find(|one| one.episode.text.contains("Heron")).expect("found by its terms");
    assert!(!merger.why.terms.is_empty());
    let texts = sent(&log, "small");
    assert!(texts.iter().all(|text| !text.contains("Heron")), "{texts:?}");
    runtime.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn without_the_provider_recall_goes_by_terms_and_says_why() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let silence = silent.local_addr().expect("a bound socket");
    for (setup, why) in [
        (Setup::of(nobody().await), "the connection to the model provider failed"),
        (
            Setup { timeout: Duration::from_millis(50), ..Setup::of(silence) },
            "the model did not answer in time",
        ),
        (Setup { tokens_max: Some(1), ..Setup::of(nobody().await) }, "budget"),
        (
            Setup {
                policies: r#"@id("nowhere") forbid (principal, action == Action::"model.call", resource)
                    when { context.route.name == "far" };"#,
                ..Setup::of(nobody().await)
            },
            "policy does not allow this to be sent to the model",
        ),
    ] {
        let store = Arc::new(MemoryStore::unshared());
        let limited = setup.tokens_max;
        let runtime = setup.start(&store).await;
        let space = if limited.is_some() {
            // The turn itself is not possible; what was said is remembered all the same.
            let mut opening = opening("Our spaniel is ill.");
            opening.opened.agent.tools.clear();
            let (view, stream) = runtime.open(opening, None, true).await.expect("opens");
            until(&mut stream.expect("subscribed"), SessionNotice::Idle).await;
            MemorySpace { project: view.key.project, agent: view.agent.id, user: None }
        } else {
            said(&runtime, "Our spaniel is ill.", Labels::NEUTRAL).await
        };
        let found = ask(&runtime, &space, "How is the spaniel?").await;
        let first = found.first().expect("found by its terms");
        assert_eq!(first.episode.text, "Our spaniel is ill.");
        assert_eq!(first.why.vector, None);
        let because = first.why.lexical_because.as_deref().unwrap_or_default();
        assert!(because.contains(why), "{because}");
        assert!(first.why.to_string().contains("by terms alone: "), "{}", first.why);
        runtime.shutdown(PATIENCE).await;
    }
}

#[tokio::test]
async fn another_model_makes_vectors_of_its_own() {
    let (address, log) = provider().await;
    let store = Arc::new(MemoryStore::unshared());
    let runtime = Setup::of(address).start(&store).await;
    let space = said(&runtime, "Our spaniel is ill.", Labels::NEUTRAL).await;
    by_meaning(&runtime, &space, "How is the spaniel?").await;
    all_made(&store, "small").await;
    runtime.shutdown(PATIENCE).await;

    let runtime = Setup { model: "large", ..Setup::of(address) }.start(&store).await;
    by_meaning(&runtime, &space, "How is the spaniel?").await;
    assert!(sent(&log, "large").contains(&"Our spaniel is ill.".to_owned()), "everything is made anew");
    runtime.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_text_that_the_provider_fails_on_holds_up_no_other() {
    let (address, _) = provider().await;
    let store = Arc::new(MemoryStore::unshared());
    let runtime = Setup::of(address).start(&store).await;
    said(&runtime, "Poison is in it.", Labels::NEUTRAL).await;
    said(&runtime, "Our spaniel is ill.", Labels::NEUTRAL).await;
    all_made(&store, "small").await;
    runtime.shutdown(PATIENCE).await;

    let embeddings = Some(Arc::new(Choking) as Arc<dyn Embeddings>);
    let runtime = Setup { model: "large", embeddings, ..Setup::of(address) }.start(&store).await;
    let lacking = answered("the others have vectors", async || {
        let lacking = store.unembedded("vectors=large/256", 0, 9).await.expect("readable");
        lacking.iter().all(|one| !one.episode.text.contains("spaniel")).then_some(lacking)
    })
    .await;
    assert!(lacking.iter().any(|one| one.episode.text.contains("Poison")), "{lacking:?}");
    runtime.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn what_was_never_sent_costs_nothing() {
    let (address, _) = provider().await;
    let store = Arc::new(MemoryStore::unshared());
    let silent = Arc::new(Silent::default());
    let setup = Setup {
        tokens_max: Some(1_000_000),
        timeout: Duration::from_millis(50),
        places: 1,
        embeddings: Some(Arc::clone(&silent) as Arc<dyn Embeddings>),
        ..Setup::of(address)
    };
    let runtime = setup.start(&store).await;
    let space = said(&runtime, "Our spaniel is ill.", Labels::NEUTRAL).await;
    // From here on the only place is taken, by the background.
    tokio::time::timeout(PATIENCE, silent.0.notified()).await.expect("the background asks");
    let id = BudgetId::at(BudgetScope::Project, Period::Total, runtime.now());
    let used = || store.budget_uses_now(space.project, &[id]).expect("readable")[0];
    let before = used();
    let found = ask(&runtime, &space, "How is the spaniel?").await;
    let because = found.first().and_then(|one| one.why.lexical_because.as_deref()).unwrap_or_default();
    assert!(because.contains("the model did not answer in time"), "{because}");
    assert_eq!(used(), before);
    runtime.shutdown(PATIENCE).await;
}

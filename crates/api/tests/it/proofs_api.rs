//! Publishing what is proven, what is refuted, and what nobody could prove anything of.

use std::sync::Arc;

use serde_json::{Value, json};
use tenure_api::Prover;
use tenure_journal::{PolicySource, ProofRecord};
use tenure_policy::{DescribedTool, Invariant, PolicySet};
use tenure_prove::{Cvc5, Extent, Limits};

use crate::support::World;

const PATH: &str = "/v1/tenure/policies";

/// Restricted data goes to no model that others run.
const INVARIANT: &str = r#"@id("restricted-stays")
    forbid (principal, action == Action::"model.call", resource)
    when { context.flow.confidentiality >= 3 && context.route.provider != "self-hosted" };"#;
const KEPT: &str = r#"@id("stays") forbid (principal is Agent, action == Action::"model.call", resource)
    when { context.flow.confidentiality == 3 || context.flow.confidentiality > 3 }
    unless { context.route.provider == "self-hosted" };"#;
const BROKEN: &str = r#"@id("stays") forbid (principal is Agent, action == Action::"model.call", resource)
    when { context.flow.confidentiality == 3 && context.stateless }
    unless { context.route.provider == "self-hosted" };"#;

/// Asks the solver that is installed: `apt-get install cvc5`, as `cargo xtask test` does.
#[derive(Debug)]
struct Solver {
    cvc5: Option<Cvc5>,
    invariants: Vec<Invariant>,
}

impl Solver {
    fn new(path: Option<&std::ffi::OsStr>) -> Self {
        let source = PolicySource { name: "i.cedar".into(), text: INVARIANT.into() };
        let invariants = Invariant::parse(&[source]).expect("valid");
        Self { cvc5: Cvc5::find(None, path).ok(), invariants }
    }
}

impl Prover for Solver {
    fn prove(&self, set: &PolicySet, tools: &[DescribedTool]) -> ProofRecord {
        let Some(cvc5) = &self.cvc5 else {
            return ProofRecord {
                solver: None,
                missing: Some("no cvc5 on the path".into()),
                invariants: Invariant::digest(&self.invariants),
                tools: Vec::new(),
                results: Vec::new(),
                overridden: None,
            };
        };
        let with = (cvc5, Limits::default());
        let report = tenure_prove::prove(set, &self.invariants, tools, Extent::Invariants, with);
        report.expect("they fit").into_record()
    }
}

async fn world(path: Option<&std::ffi::OsStr>) -> World {
    let path = path.map(std::ffi::OsStr::to_owned);
    let solver = tokio::task::spawn_blocking(move || Solver::new(path.as_deref())).await.expect("made");
    World::with(|config| config.prover = Some(Arc::new(solver))).await
}

async fn proving() -> World {
    let path = std::env::var_os("PATH");
    world(path.as_deref()).await
}

fn body(text: &str) -> Value {
    json!({"files": [{"name": "own.cedar", "text": text}]})
}

#[tokio::test]
async fn what_is_proven_is_published_with_its_evidence() {
    let world = proving().await;
    let (status, published) = world.call("POST", PATH, Some(body(KEPT))).await;
    assert_eq!(status, 201, "{published}");
    let proof = &published["proof"];
    assert_eq!(proof["results"], json!([{"invariant": "restricted-stays", "outcome": "proven"}]));
    assert!(proof["solver"].as_str().expect("a solver").starts_with("cvc5 "), "{proof}");
    assert!(proof["invariants"].as_str().is_some_and(|digest| digest.contains(':')), "{proof}");
    let (_, kept) = world.call("GET", &format!("{PATH}/1"), None).await;
    assert_eq!(&kept["proof"], proof, "what was proven stays with what was published");
}

#[tokio::test]
async fn what_is_refuted_is_refused_unless_somebody_answers_for_it() {
    let world = proving().await;
    let (status, refused) = world.call("POST", PATH, Some(body(BROKEN))).await;
    assert_eq!((status, &refused["code"]), (409, &json!("invariant_refuted")), "{refused}");
    let detail = refused["detail"].as_str().expect("words");
    for said in ["restricted-stays", "default.model-call", "Action::\"model.call\"", "'override'"] {
        assert!(detail.contains(said), "{detail}");
    }
    let (_, now) = world.call("GET", PATH, None).await;
    assert_eq!(now["version"], 0, "nothing was published");

    let mut dry = body(BROKEN);
    dry["dry_run"] = json!(true);
    let (status, tried) = world.call("POST", PATH, Some(dry)).await;
    assert_eq!((status, &tried["proof"]["results"][0]["outcome"]), (200, &json!("refuted")), "{tried}");

    let mut meant = body(BROKEN);
    meant["override"] = json!("INC-311: until Monday");
    let (status, published) = world.call("POST", PATH, Some(meant)).await;
    assert_eq!(status, 201, "{published}");
    assert_eq!(published["proof"]["overridden"], "INC-311: until Monday");

    // Going back to it is publishing it.
    world.call("POST", PATH, Some(body(KEPT))).await;
    let again = json!({"version": 1});
    assert_eq!(world.call("POST", &format!("{PATH}/rollback"), Some(again)).await.0, 409);
    let (_, newest) = world.call("GET", PATH, None).await;
    assert_eq!((&newest["version"], &newest["proof"]["overridden"]), (&json!(2), &Value::Null));

    let (_, records) = world.call("GET", "/v1/tenure/audit/records?limit=1000", None).await;
    let facts: Vec<Value> = records["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| serde_json::from_str::<Value>(entry["record"].as_str().expect("text")).expect("JSON"))
        .map(|record| record["fact"].clone())
        .filter(|fact| fact["action"] == "policy.prove")
        .collect();
    assert_eq!(facts.len(), 2, "{facts:?}");
    assert_eq!(facts[0]["resource"], published["digest"]);
    let evidence = tenure_journal::json::digest(&published["proof"]);
    assert_eq!(facts[0]["arguments"], evidence.as_str(), "the record has the digest of the evidence");
}

#[tokio::test]
async fn without_a_solver_nothing_is_claimed() {
    let world = world(None).await;
    let (status, published) = world.call("POST", PATH, Some(body(BROKEN))).await;
    assert_eq!(status, 201, "{published}");
    let proof = &published["proof"];
    assert_eq!((&proof["missing"], &proof["results"]), (&json!("no cvc5 on the path"), &json!([])));
    assert_eq!(proof["solver"], Value::Null);
}

/// What a solver would be asked about.
#[derive(Debug, Default)]
struct Recorder(std::sync::Mutex<Vec<String>>);

impl Prover for Recorder {
    fn prove(&self, _: &PolicySet, tools: &[DescribedTool]) -> ProofRecord {
        let tools: Vec<String> = tools.iter().map(|tool| tool.id.clone()).collect();
        self.0.lock().expect("no panics").extend(tools.iter().cloned());
        ProofRecord {
            solver: None,
            missing: Some("a recorder proves nothing".into()),
            invariants: Invariant::digest(&[]),
            tools,
            results: Vec::new(),
            overridden: None,
        }
    }
}

#[tokio::test]
async fn a_tool_that_nobody_listed_is_not_described() {
    let recorder = Arc::new(Recorder::default());
    let prover = Arc::clone(&recorder);
    let world = World::with(|config| config.prover = Some(prover)).await;
    let (status, published) = world.call("POST", PATH, Some(body(KEPT))).await;
    assert_eq!(status, 201, "{published}");
    assert!(published["proof"].get("tools").is_none(), "{published}");
    assert!(recorder.0.lock().expect("no panics").is_empty());
}

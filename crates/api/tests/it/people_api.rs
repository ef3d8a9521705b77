//! People through the app, with tokens of a real little provider.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tenure_api::People;
use tenure_api::keys::Scope;
use tenure_identity::{Algorithm, Provider, Rules};
use tenure_testkit::oidc::{Oidc, Signer};

use crate::support::{KEY, World};

/// A server whose people are in groups, and their provider.
async fn world() -> (World, Oidc) {
    // Whichever test is first installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let oidc = Oidc::start().await;
    let rules = Rules {
        issuer: oidc.issuer().to_owned(),
        audience: "tenure".into(),
        algorithms: vec![Algorithm::Rs256],
        groups_claim: "groups".into(),
    };
    let world = World::new().await;
    let (_, who) = world.call("GET", "/v1/tenure/whoami", None).await;
    let project = who["project_id"].as_str().expect("text").parse().expect("an id");
    let groups = BTreeMap::from([
        ("support".to_owned(), vec![Scope::SessionsRead, Scope::ApprovalsDecide]),
        ("builders".to_owned(), vec![Scope::AgentsRead, Scope::AgentsWrite]),
        ("platform".to_owned(), vec![Scope::Admin]),
    ]);
    let provider = Provider::new(rules).expect("a client");
    let people = Arc::new(People::new(provider, "tenure-cli".into(), project, groups));
    let world = world.again(|config| config.people = Some(people));
    (world, oidc)
}

fn token(oidc: &Oidc, world: &World, changes: &Value) -> String {
    let now = world.runtime.now().as_secs();
    let mut claims = json!({"iss": oidc.issuer(), "aud": "tenure", "sub": "ann", "name": "Ann",
        "email": "ann@example.com", "groups": ["support"], "iat": now, "exp": now + 600});
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    oidc.token(Signer::Rsa, &json!({}), &claims)
}

async fn call_as(world: &World, token: &str, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    world.call_with(method, path, body, &[("authorization", &format!("Bearer {token}"))]).await
}

fn code(answer: &Value) -> &str {
    answer.pointer("/error/code").or_else(|| answer.get("code")).and_then(Value::as_str).unwrap_or_default()
}

#[tokio::test]
async fn what_a_person_may_do_follows_from_their_groups() {
    let (world, oidc) = world().await;
    let agent = || Some(json!({"model": "m1", "name": "a"}));
    for (groups, reads, builds, scopes) in [
        (json!(["support"]), 200, 403, json!(["sessions:read", "approvals:decide"])),
        (json!(["builders", "support"]), 200, 201, Value::Null),
        (json!(["platform"]), 200, 201, json!(["admin"])),
        (json!(["nobody's"]), 403, 403, json!([])),
        (json!([]), 403, 403, json!([])),
    ] {
        let token = token(&oidc, &world, &json!({"groups": groups}));
        assert_eq!(call_as(&world, &token, "GET", "/v1/agents/sessions", None).await.0, reads, "{groups}");
        assert_eq!(call_as(&world, &token, "POST", "/v1/agents", agent()).await.0, builds, "{groups}");
        let (status, who) = call_as(&world, &token, "GET", "/v1/tenure/whoami", None).await;
        if scopes.as_array().is_some_and(|scopes| !scopes.is_empty()) {
            assert_eq!((status, &who["scopes"]), (200, &scopes), "{who}");
            assert_eq!((&who["type"], &who["name"]), (&json!("person"), &json!("ann@example.com")));
        }
    }
}

#[tokio::test]
async fn a_token_that_is_not_accepted_is_told_nothing() {
    let (world, oidc) = world().await;
    let good = token(&oidc, &world, &json!({}));
    let mut answers = Vec::new();
    for bad in [
        token(&oidc, &world, &json!({"aud": "other"})),
        token(&oidc, &world, &json!({"exp": 1})),
        token(&oidc, &world, &json!({"iss": "https://evil.example"})),
        format!("{}x", &good[..good.len() - 1]),
        format!("eyJ{}.x.y", "a".repeat(64)),
    ] {
        let (status, answer) = call_as(&world, &bad, "GET", "/v1/agents/sessions", None).await;
        assert_eq!((status, code(&answer)), (401, "invalid_token"), "{bad}");
        assert!(!answer.to_string().contains(&bad));
        answers.push(answer);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    assert_eq!(world.call("GET", "/v1/agents/sessions", None).await.0, 200, "keys work beside them");
    assert_eq!(call_as(&world, KEY, "GET", "/v1/agents/sessions", None).await.0, 200);
}

#[tokio::test]
async fn a_person_is_named_in_what_they_change() {
    let (world, oidc) = world().await;
    let ann = token(&oidc, &world, &json!({"groups": ["builders"]}));
    let (_, agent) =
        call_as(&world, &ann, "POST", "/v1/agents", Some(json!({"model": "m1", "name": "a"}))).await;
    let id = agent["id"].as_str().expect("an id").to_owned();
    let (_, versions) = world.call("GET", &format!("/v1/tenure/agents/{id}/versions"), None).await;
    let author = &versions["data"][0]["author"];
    assert_eq!((&author["type"], &author["name"]), (&json!("person"), &json!("ann@example.com")));
    let (_, people) = world.call("GET", "/v1/tenure/people", None).await;
    let person = &people["data"][0];
    assert_eq!(
        (&person["id"], &person["subject"], &person["name"]),
        (&author["id"], &json!("ann"), &json!("Ann"))
    );
    let (_, log) = world.call("GET", "/v1/tenure/audit", None).await;
    let (_, records) = world.call("GET", "/v1/tenure/audit/records", None).await;
    let records = records["data"].as_array().expect("a list");
    let told: Vec<Value> = records
        .iter()
        .map(|entry| serde_json::from_str(entry["record"].as_str().expect("text")).expect("JSON"))
        .collect();
    let created = told.iter().find(|record| record["fact"]["action"] == "agent.create").expect("recorded");
    assert_eq!((&created["fact"]["by"], &created["fact"]["resource"]), (&author["id"], &json!(id)), "{log}");
    let text = records.iter().map(Value::to_string).collect::<String>();
    assert!(!text.contains("ann@example.com") && !text.contains(&ann), "the log names nobody but by id");
}

#[tokio::test]
async fn a_client_learns_where_to_sign_in_before_it_is_anybody() {
    let (world, oidc) = world().await;
    let nobody = [("authorization", "")];
    let (status, server) = world.call_with("GET", "/.well-known/tenure", None, &nobody).await;
    let expected = json!({"issuer": oidc.issuer(), "client_id": "tenure-cli"});
    assert_eq!((status, &server["sign_in"]), (200, &expected));
    let (_, without) = World::new().await.call_with("GET", "/.well-known/tenure", None, &nobody).await;
    assert_eq!(without["sign_in"], Value::Null);
}

#[tokio::test]
async fn while_the_provider_is_away_nobody_new_is_let_in() {
    let (world, oidc) = world().await;
    let token = token(&oidc, &world, &json!({}));
    drop(oidc);
    let (status, answer) = call_as(&world, &token, "GET", "/v1/agents/sessions", None).await;
    assert_eq!((status, code(&answer)), (503, "identity_provider_unavailable"), "{answer}");
}

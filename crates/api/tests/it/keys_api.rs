//! API keys through the app: what each scope admits, when a key stops working, and what is shown of it.

use serde_json::{Value, json};

use crate::support::{KEY, World};

/// A key with these scopes: its id and its text.
async fn key(world: &World, scopes: &[&str]) -> (String, String) {
    let (status, made) =
        world.call("POST", "/v1/tenure/keys", Some(json!({"name": "k", "scopes": scopes}))).await;
    assert_eq!(status, 201, "{made}");
    let text = |name: &str| made[name].as_str().expect("text").to_owned();
    (text("id"), text("key"))
}

async fn call_as(world: &World, key: &str, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    world.call_with(method, path, body, &[("authorization", &format!("Bearer {key}"))]).await
}

fn code(answer: &Value) -> &str {
    answer.pointer("/error/code").or_else(|| answer.get("code")).and_then(Value::as_str).unwrap_or_default()
}

fn message(answer: &Value) -> &str {
    let found = answer.pointer("/error/message").or_else(|| answer.get("detail"));
    found.and_then(Value::as_str).unwrap_or_default()
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say_and_is_told_which_it_lacks() {
    let world = World::new().await;
    let session = world.session(json!({"agent": {"model": "m1"}, "environment": {"type": "none"},
        "input": "hi"}));
    let session = format!("/v1/agents/sessions/{}", session.await["id"].as_str().expect("an id"));
    let events = format!("{session}/events");
    let say = json!({"events": [{"type": "agent.session.input.cancel"}]});
    let answer = json!({"events": [{"type": "agent.session.input.mcp_approval_request_result",
        "request_id": "apr_0190d5e4aabb7ccd8eeff00112233445",
        "response": {"type": "mcp_tool_call", "decision": "approve"}}]});
    // What is admitted, if not carried out, is refused for another reason.
    let requests: [(&str, &str, Option<Value>, &[&str]); 12] = [
        ("GET", &session, None, &["sessions:read", "read", "admin"]),
        ("GET", "/v1/agents", None, &["agents:read", "read", "admin"]),
        ("GET", "/v1/models", None, &["sessions:read", "agents:read", "read", "admin"]),
        ("POST", "/v1/agents", Some(json!({})), &["agents:write", "write", "admin"]),
        ("POST", &events, Some(say), &["sessions:write", "write", "admin"]),
        ("POST", &events, Some(answer), &["approvals:decide", "write", "admin"]),
        ("POST", "/v1/vaults", Some(json!({})), &["vaults:write", "write", "admin"]),
        ("GET", "/v1/tenure/audit", None, &["audit:read", "admin"]),
        ("GET", "/v1/tenure/memory/erasures", None, &["memory:erase", "admin"]),
        ("POST", "/v1/tenure/memory/forget", Some(json!({})), &["memory:erase", "admin"]),
        ("GET", "/v1/tenure/keys", None, &["admin"]),
        ("GET", &format!("{}/journal", session.replace("/agents/", "/tenure/")), None, &["admin"]),
    ];
    let words = [
        "sessions:read",
        "sessions:write",
        "agents:read",
        "agents:write",
        "approvals:decide",
        "vaults:write",
        "audit:read",
        "memory:erase",
        "admin",
        "environments.connect",
        "read",
        "write",
    ];
    for word in words {
        let (_, key) = key(&world, &[word]).await;
        for (method, path, body, admitted) in &requests {
            let (status, found) = call_as(&world, &key, method, path, body.clone()).await;
            if admitted.contains(&word) {
                assert_ne!(status, 403, "{word}: {method} {path}: {found}");
            } else {
                assert_eq!((status, code(&found)), (403, "insufficient_scope"), "{word}: {method} {path}");
                let names = admitted.iter().any(|scope| message(&found).contains(&format!("'{scope}'")));
                assert!(names, "{word}: {method} {path}: {found}");
            }
        }
    }
}

#[tokio::test]
async fn several_scopes_are_one_key_and_unknown_ones_none() {
    let world = World::new().await;
    let (id, text) = key(&world, &["approvals:decide", "sessions:read", "sessions:read"]).await;
    let (_, keys) = world.call("GET", "/v1/tenure/keys", None).await;
    let mine = keys["data"].as_array().expect("a list").iter().find(|key| key["id"] == *id).expect("listed");
    assert_eq!(mine["scopes"], json!(["sessions:read", "approvals:decide"]));
    assert!(text.starts_with("tnr_") && !keys.to_string().contains(&text), "shown once");
    for scopes in [json!(["session:read"]), json!(["sessions:*"]), json!(["ADMIN"]), json!([""])] {
        let body = json!({"name": "k", "scopes": scopes});
        let (status, refused) = world.call("POST", "/v1/tenure/keys", Some(body)).await;
        assert_eq!((status, &refused["param"]), (400, &json!("scopes[0]")), "{refused}");
        assert!(message(&refused).contains("approvals:decide"), "the words are named: {refused}");
    }
}

#[tokio::test]
async fn a_key_that_is_over_is_as_unknown_as_one_that_never_was() {
    let world = World::new().await;
    let (id, revoked) = key(&world, &["admin"]).await;
    assert_eq!(call_as(&world, &revoked, "GET", "/v1/agents", None).await.0, 200);
    assert_eq!(world.call("DELETE", &format!("/v1/tenure/keys/{id}"), None).await.0, 200);
    let (_, other) = key(&world, &["admin"]).await;
    let slip = format!("{}0", &other[..other.len() - 1]);
    let slip = if slip == other { format!("{}1", &other[..other.len() - 1]) } else { slip };
    let expected = call_as(&world, "nobody's", "GET", "/v1/agents", None).await;
    assert_eq!(expected.0, 401);
    for over in [revoked.as_str(), &world.expired, &world.revoked, &slip, &other[..other.len() - 1]] {
        assert_eq!(call_as(&world, over, "GET", "/v1/agents", None).await, expected);
    }
}

#[tokio::test]
async fn a_listed_key_tells_when_it_was_used_and_when_it_ends() {
    let world = World::new().await;
    let ends = world.runtime.now().as_secs() + 3_600;
    let body = json!({"name": "short", "scopes": ["sessions:read"], "expires_at": ends});
    let (_, made) = world.call("POST", "/v1/tenure/keys", Some(body)).await;
    assert_eq!((&made["expires_at"], &made["last_used_at"]), (&json!(ends), &Value::Null));
    let listed = async || {
        let (_, keys) = world.call("GET", "/v1/tenure/keys", None).await;
        let keys = keys["data"].as_array().expect("a list").clone();
        keys.into_iter().find(|key| key["id"] == made["id"]).expect("listed")
    };
    assert_eq!(listed().await["last_used_at"], Value::Null);
    let before = world.runtime.now().as_secs();
    call_as(&world, made["key"].as_str().expect("text"), "GET", "/v1/agents/sessions", None).await;
    let used = listed().await["last_used_at"].as_i64().expect("a time");
    assert!((before..=world.runtime.now().as_secs()).contains(&used), "{used}");
    let past = json!({"name": "late", "expires_at": 1});
    let (status, refused) = world.call("POST", "/v1/tenure/keys", Some(past)).await;
    assert_eq!((status, code(&refused)), (400, "bad_time"));
}

#[tokio::test]
async fn the_log_says_who_made_and_revoked_a_key_and_holds_neither() {
    let world = World::new().await;
    let (id, text) = key(&world, &["admin"]).await;
    let by = call_as(&world, &text, "DELETE", &format!("/v1/tenure/keys/{id}"), None).await;
    assert_eq!(by.0, 200);
    let (_, log) = world.call("GET", "/v1/tenure/audit", None).await;
    assert_eq!(log["size"], 2, "{log}");
    let (_, records) = world.call("GET", "/v1/tenure/audit/records", None).await;
    let records: Vec<Value> = records["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| serde_json::from_str(entry["record"].as_str().expect("text")).expect("JSON"))
        .collect();
    let told: Vec<_> =
        records.iter().map(|record| (&record["fact"]["action"], &record["fact"]["resource"])).collect();
    assert_eq!(told, [(&json!("keys.create"), &json!(id)), (&json!("keys.revoke"), &json!(id))]);
    assert_eq!((&records[1]["fact"]["by"], &records[1]["fact"]["type"]), (&json!(id), &json!("changed")));
    for record in &records {
        let record = record.to_string();
        assert!(!record.contains(&text) && !record.contains(KEY), "{record}");
    }
}

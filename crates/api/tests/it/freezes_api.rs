//! Freezes through the app: who is frozen, what waits, and what is refused.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{OTHER_KEY, World};

const PATH: &str = "/v1/tenure/freezes";

async fn freeze(world: &World, target: Value) -> Value {
    let body = json!({"target": target, "reason": "it spends too much"});
    let (status, frozen) = world.call("POST", PATH, Some(body)).await;
    assert_eq!(status, 201, "{frozen}");
    frozen
}

fn id(value: &Value) -> &str {
    value["id"].as_str().expect("an id")
}

fn opening(agent: &Value) -> Value {
    json!({"agent_id": agent["id"], "environment": {"type": "none"}, "input": "hi"})
}

async fn agent(world: &World, name: &str) -> Value {
    let (status, agent) = world.call("POST", "/v1/agents", Some(json!({"model": "m1", "name": name}))).await;
    assert_eq!(status, 201, "{agent}");
    agent
}

/// Asks until the session has the status.
async fn until(world: &World, session: &Value, status: &str) -> Value {
    let path = format!("/v1/agents/sessions/{}", id(session));
    let ask = async {
        loop {
            let (_, found) = world.call("GET", &path, None).await;
            if found["status"] == status {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ask).await.expect("in time")
}

/// How many attempts the log knows of.
async fn attempts(world: &World) -> usize {
    world.call("GET", "/v1/tenure/audit", None).await;
    let (_, records) = world.call("GET", "/v1/tenure/audit/records?limit=1000", None).await;
    let records = records["data"].as_array().expect("a list");
    records.iter().filter(|entry| entry.to_string().contains("attempt_started")).count()
}

#[tokio::test]
async fn a_frozen_agent_waits_and_goes_on() {
    let world = World::new().await;
    let (frozen_agent, other) = (agent(&world, "spender").await, agent(&world, "saver").await);
    let held = world.session(opening(&frozen_agent)).await;
    let frozen = freeze(&world, json!({"type": "agent", "id": "spender"})).await;
    assert_eq!(frozen["target"], json!({"type": "agent", "id": frozen_agent["id"]}));
    assert_eq!((&frozen["reason"], frozen["by"].is_string()), (&json!("it spends too much"), true));
    let more = json!({"events": [{"type": "agent.session.input.message",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "more"}]}]}]});
    let session = format!("/v1/agents/sessions/{}", id(&held));
    let (status, _) = world.call("POST", &format!("{session}/events"), Some(more)).await;
    let (_, waiting) = world.call("GET", &session, None).await;
    assert_eq!((status, &waiting["status"]), (202, &json!("in_progress")), "it is accepted and waits");
    let (status, refused) = world.call("POST", "/v1/agents/sessions", Some(opening(&frozen_agent))).await;
    assert_eq!(status, 403, "{refused}");
    assert!(refused.to_string().contains("guard.frozen-agent-starts-nothing"), "{refused}");
    let (_, free) = world.call("POST", "/v1/agents/sessions", Some(opening(&other))).await;
    until(&world, &free, "idle").await;
    assert_eq!(attempts(&world).await, 2, "nothing of the frozen agent began since");
    let (status, _) = world.call("DELETE", &format!("{PATH}/{}", id(&frozen)), None).await;
    assert_eq!(status, 200);
    until(&world, &held, "idle").await;
    assert_eq!(attempts(&world).await, 3);
    assert_eq!(world.call("POST", "/v1/agents/sessions", Some(opening(&frozen_agent))).await.0, 201);
}

#[tokio::test]
async fn a_frozen_project_takes_nothing_new_and_lets_be_ended() {
    let world = World::new().await;
    let agent = agent(&world, "a").await;
    let session = json!({"agent_id": agent["id"], "environment": {"type": "none"}, "input": "hi"});
    let session = world.session(session).await;
    let session = format!("/v1/agents/sessions/{}", id(&session));
    let ours = session.replace("/agents/", "/tenure/");
    let frozen = freeze(&world, json!({"type": "project"})).await;
    let say = json!({"events": [{"type": "agent.session.input.message",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "more"}]}]}]});
    let cancel = json!({"events": [{"type": "agent.session.input.cancel"}]});
    for (method, path, body, status) in [
        ("POST", "/v1/agents/sessions".to_owned(), opening(&agent), 409),
        ("POST", format!("{session}/events"), say.clone(), 409),
        ("POST", format!("{ours}/fork"), json!({}), 409),
        ("POST", format!("{session}/events"), cancel, 202),
        ("POST", session.clone(), json!({"metadata": {"a": "b"}}), 200),
        ("DELETE", session.clone(), Value::Null, 200),
    ] {
        let body = Some(body).filter(|body| !body.is_null());
        let (found, answer) = world.call(method, &path, body).await;
        assert_eq!(found, status, "{method} {path}: {answer}");
        if status == 409 {
            let code = answer.pointer("/error/code").unwrap_or(&answer["code"]);
            assert_eq!(code, "project_frozen", "{method} {path}: {answer}");
        }
    }
    let headers = [("authorization", &*format!("Bearer {OTHER_KEY}"))];
    let foreign = json!({"agent": {"model": "m1"}, "environment": {"type": "none"}, "input": "hi"});
    let (status, _) = world.call_with("POST", "/v1/agents/sessions", Some(foreign), &headers).await;
    assert_eq!(status, 201, "another project is not frozen");
    world.call("DELETE", &format!("{PATH}/{}", id(&frozen)), None).await;
    assert_eq!(world.call("POST", "/v1/agents/sessions", Some(opening(&agent))).await.0, 201);
}

#[tokio::test]
async fn freezing_twice_is_freezing_once() {
    let world = World::new().await;
    let tool = json!({"type": "tool", "name": "shop/refund"});
    let first = freeze(&world, tool.clone()).await;
    let body = json!({"target": tool, "reason": "another"});
    let (_, again) = world.call("POST", PATH, Some(body)).await;
    assert_eq!(first, again, "what is frozen stays as it was frozen first");
    let (_, listed) = world.call("GET", PATH, None).await;
    assert_eq!(listed["data"], json!([first]));
    let path = format!("{PATH}/{}", id(&first));
    for (found, expected) in [(200, "once"), (404, "twice")].map(|(status, name)| (name, status)) {
        assert_eq!(world.call("DELETE", &path, None).await.0, expected, "{found}");
    }
    assert_eq!(freeze(&world, tool).await["id"], first["id"], "and frozen again");
}

#[tokio::test]
async fn what_is_not_there_cannot_be_frozen() {
    let world = World::new().await;
    let made = agent(&world, "a").await;
    world.call("DELETE", &format!("/v1/agents/{}", id(&made)), None).await;
    freeze(&world, json!({"type": "agent", "id": made["id"]})).await;
    for (target, status, param) in [
        (json!({"type": "agent", "id": "nobody"}), 404, "target.id"),
        (json!({"type": "agent", "id": "agt_00000000000000000000000000000000"}), 404, "target.id"),
        (json!({"type": "agent"}), 400, "target.id"),
        (json!({"type": "tool"}), 400, "target.name"),
        (json!({"type": "session", "id": "x"}), 400, "target.type"),
        (json!({"type": "project", "id": "x"}), 400, "target.id"),
    ] {
        let (found, refused) = world.call("POST", PATH, Some(json!({"target": target}))).await;
        assert_eq!((found, &refused["param"]), (status, &json!(param)), "{target}: {refused}");
    }
}

//! Automations through the app, over a live runtime with its scheduler.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::support::{OTHER_KEY, World, request};

const PATH: &str = "/v1/agents/automations";

async fn world() -> World {
    let world = World::new().await;
    world.runtime.run_automations(Arc::new(tenure_api::check_agent));
    world
}

fn new_session(text: &str) -> Value {
    json!({"type": "new_session", "agent": {"model": "m1"}, "environment": {"type": "none"},
        "metadata": {"a": "1"}, "input": [{"role": "user", "content": [{"type": "input_text", "text": text}]}]})
}

fn periodic(target: &Value) -> Value {
    json!({"type": "periodic", "name": "daily", "expression": "0 9 * * *", "timezone": "Europe/Berlin",
        "target": target})
}

fn id(value: &Value) -> &str {
    value["id"].as_str().expect("an id")
}

/// Asks until the answer is as wanted; other tasks run in between.
async fn until(world: &World, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let ask = async {
        loop {
            let (_, found) = world.call("GET", path, None).await;
            if wanted(&found) {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ask).await.expect("in time")
}

#[tokio::test]
async fn automations_are_made_changed_listed_and_deleted() {
    let world = world().await;
    let (status, made) = world.call("POST", PATH, Some(periodic(&new_session("hi")))).await;
    assert_eq!(status, 201, "{made}");
    assert!(id(&made).starts_with("auto_"));
    let agent = json!({"model": "m1", "instructions": null, "reasoning": {"effort": null, "summary": null},
        "text": {"format": {"type": "text"}, "verbosity": "medium"}, "service_tier": "auto", "tools": [],
        "multi_agent": {"enabled": false, "max_concurrent_subagents": null}, "compaction": {"async": false},
        "experimental": {"time_awareness": false}});
    let expected = json!({
        "id": made["id"], "object": "agent.automation", "type": "periodic", "name": "daily", "metadata": {},
        "status": "active", "pause_reason": null, "created_at": made["created_at"],
        "created_by": {"type": "developer"}, "expression": "0 9 * * *", "timezone": "Europe/Berlin",
        "target": {"type": "new_session", "agent_id": null, "agent": agent, "environment": {"type": "none"},
            "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
            "metadata": {"a": "1"}, "vault_ids": []},
    });
    assert_eq!(made, expected);
    let path = format!("{PATH}/{}", id(&made));
    assert_eq!(world.call("GET", &path, None).await, (200, expected));

    // What was shown can be sent back.
    let change = json!({"name": "hourly", "expression": "0 * * * *", "metadata": {"b": "2"}, "target": made["target"]});
    let (status, changed) = world.call("POST", &path, Some(change)).await;
    assert_eq!((status, &changed["name"], &changed["metadata"]), (200, &json!("hourly"), &json!({"b": "2"})));
    assert_eq!((&changed["target"], &changed["timezone"]), (&made["target"], &made["timezone"]));

    let session =
        world.session(json!({"agent": {"model": "m1"}, "environment": {"type": "none"}, "input": "x"})).await;
    let existing = json!({"type": "existing_session", "session_id": session["id"], "instructions": "go on"});
    let once = json!({"type": "once", "name": "later", "run_at": 32_503_680_000_i64, "target": existing});
    let (status, once) = world.call("POST", PATH, Some(once)).await;
    assert_eq!((status, &once["run_at"], once.get("expression")), (201, &json!(32_503_680_000_i64), None));
    let (_, listed) = world.call("GET", &format!("{PATH}?order=asc&limit=1"), None).await;
    assert_eq!((&listed["data"][0]["id"], &listed["has_more"]), (&made["id"], &json!(true)));
    let filter = format!("{PATH}?session_id={}", id(&session));
    let (_, filtered) = world.call("GET", &filter, None).await;
    assert_eq!((filtered["data"].as_array().map(Vec::len), &filtered["last_id"]), (Some(1), &once["id"]));
    let (_, none) = world.call("GET", &format!("{PATH}?session_id=nothing"), None).await;
    assert_eq!(none["data"], json!([]));

    let deleted = json!({"id": made["id"], "object": "agent.automation.deleted", "deleted": true});
    assert_eq!(world.call("DELETE", &path, None).await, (200, deleted));
    for (method, path) in [("GET", path.clone()), ("DELETE", path.clone()), ("POST", format!("{path}/pause"))]
    {
        assert_eq!(world.call(method, &path, None).await.0, 404, "{method} {path}");
    }
    let foreign = [("authorization", &format!("Bearer {OTHER_KEY}")[..])];
    let there = format!("{PATH}/{}", id(&once));
    assert_eq!(world.call_with("GET", &there, None, &foreign).await.0, 404);
    assert_eq!(world.call_with("GET", PATH, None, &foreign).await.1["data"], json!([]));
}

#[tokio::test]
async fn mistakes_have_places() {
    let world = world().await;
    let (_, made) = world.call("POST", PATH, Some(periodic(&new_session("hi")))).await;
    let path = format!("{PATH}/{}", id(&made));
    let once =
        |run_at: i64| json!({"type": "once", "name": "o", "run_at": run_at, "target": new_session("x")});
    let (_, single) = world.call("POST", PATH, Some(once(32_503_680_000))).await;
    let single = format!("{PATH}/{}", id(&single));
    let mut bad = periodic(&new_session("hi"));
    bad["expression"] = json!("0 25 * * *");
    let mut zone = periodic(&new_session("hi"));
    zone["timezone"] = json!("Europe/Berlim");
    let mut agent = periodic(&new_session("hi"));
    agent["target"]["agent"] = Value::Null;
    agent["target"]["agent_id"] = json!("nobody");
    let mut unfit = periodic(&new_session("hi"));
    unfit["target"]["agent"]["tools"] = json!([{"type": "computer_use"}]);
    let mut large = periodic(&new_session("hi"));
    large["target"]["agent"]["instructions"] = json!("x".repeat(300 * 1024));
    let gone = json!({"type": "existing_session", "session_id": "sess_0123456789ab7def8123456789abcdef", "instructions": "x"});
    let table = [
        (PATH, bad, 400, "invalid_cron", "expression"),
        (PATH, zone, 400, "invalid_timezone", "timezone"),
        (PATH, agent, 404, "not_found_error", "target.agent_id"),
        (PATH, unfit, 400, "unsupported_feature", "target.agent.tools[0]"),
        (PATH, large, 400, "target_too_large", "target"),
        (PATH, once(1), 400, "bad_time", "run_at"),
        (PATH, periodic(&gone), 404, "not_found_error", "target.session_id"),
        (&path, json!({"run_at": 32_503_680_000_i64}), 400, "invalid_value", "run_at"),
        (&path, json!({"name": ""}), 400, "empty_string", "name"),
        (&path, json!({"type": "once"}), 400, "unknown_parameter", "type"),
        (&path, json!({"target": gone}), 404, "not_found_error", "target.session_id"),
        (&single, json!({"expression": "* * * * *"}), 400, "invalid_value", "expression"),
        (&single, json!({"run_at": 7}), 400, "bad_time", "run_at"),
    ];
    for (path, body, status, code, param) in table {
        let (found, error) = world.call("POST", path, Some(body)).await;
        let error = &error["error"];
        assert_eq!(
            (found, &error["code"], &error["param"]),
            (status, &json!(code), &json!(param)),
            "{error}"
        );
    }
    let session =
        world.session(json!({"agent": {"model": "m1"}, "environment": {"type": "none"}, "input": "x"})).await;
    let existing = json!({"type": "existing_session", "session_id": session["id"], "instructions": "go on"});
    let (status, error) = world.call("POST", &path, Some(json!({"target": existing}))).await;
    assert_eq!((status, &error["error"]["param"]), (400, &json!("target.type")));
    for at in ["pause", "resume", "invocations"] {
        let (status, _) = world.call("POST", &format!("{path}/{at}"), Some(json!({"x": 1}))).await;
        assert_eq!(status, 400, "{at} takes nothing");
    }
}

#[tokio::test]
async fn an_automation_pauses_and_resumes_with_an_empty_body() {
    let world = world().await;
    let (_, made) = world.call("POST", PATH, Some(periodic(&new_session("hi")))).await;
    let path = format!("{PATH}/{}", id(&made));
    let json_type = [("content-type", "application/json")];
    for (verb, status) in
        [("pause", "paused"), ("pause", "paused"), ("resume", "active"), ("resume", "active")]
    {
        let answer = world.call_with("POST", &format!("{path}/{verb}"), None, &json_type).await;
        assert_eq!(
            (answer.0, &answer.1["status"], &answer.1["pause_reason"]),
            (200, &json!(status), &Value::Null)
        );
    }
}

#[tokio::test]
async fn a_manual_run_opens_a_session_once() {
    let world = world().await;
    let (_, made) = world.call("POST", PATH, Some(periodic(&new_session("run this")))).await;
    let path = format!("{PATH}/{}/invocations", id(&made));
    let key = [("idempotency-key", "k1")];
    let first = world.call_with("POST", &path, None, &key).await;
    assert_eq!((first.0, &first.1["status"]), (201, &json!("queued")));
    assert_eq!(world.call_with("POST", &path, None, &key).await, first, "the same key, the same run");
    let queued = json!({
        "id": first.1["id"], "object": "agent.automation.invocation", "automation_id": made["id"],
        "created_at": first.1["created_at"], "scheduled_at": null, "session_id": null, "status": "queued",
        "skip_reason": null, "error": null, "source": {"type": "manual"},
    });
    assert_eq!(first.1, queued);
    let one = format!("{path}/{}", id(&first.1));
    let done = until(&world, &one, |found| found["status"] != "queued").await;
    assert_eq!(done["status"], "completed");
    let session = format!("/v1/agents/sessions/{}", done["session_id"].as_str().expect("a session"));
    let opened = until(&world, &session, |found| found["status"] == "idle").await;
    assert_eq!(opened["metadata"], json!({"a": "1"}));
    let (_, items) = world.call("GET", &format!("{session}/items?order=asc"), None).await;
    assert_eq!(items["data"][0]["content"][0]["text"], "run this");
    let (_, listed) = world.call("GET", &path, None).await;
    assert_eq!((listed["data"].as_array().map(Vec::len), &listed["data"][0]), (Some(1), &done));
    assert_eq!(world.call("GET", &format!("{PATH}/{}/invocations/inv_x", id(&made)), None).await.0, 404);
    let (_, sessions) = world.call("GET", "/v1/agents/sessions", None).await;
    assert_eq!(sessions["data"].as_array().map(Vec::len), Some(1));
    world.call("DELETE", &format!("{PATH}/{}", id(&made)), None).await;
    assert_eq!(world.call("GET", &session, None).await.0, 200, "deleting keeps sessions");
}

#[tokio::test]
async fn a_single_wake_up_reaches_its_session_at_its_time() {
    let world = world().await;
    let session =
        world.session(json!({"agent": {"model": "m1"}, "environment": {"type": "none"}, "input": "x"})).await;
    let events = format!("/v1/agents/sessions/{}/events", id(&session));
    let (_, _, mut stream) = world.send(request("GET", &events, None, &[])).await;
    let run_at = world.runtime.now().as_secs() + 1;
    let target = json!({"type": "existing_session", "session_id": session["id"], "instructions": "wake up"});
    let body = json!({"type": "once", "name": "soon", "run_at": run_at, "target": target});
    let (_, made) = world.call("POST", PATH, Some(body)).await;
    let mut seen = String::new();
    while !seen.contains("agent.session.idle") {
        let frame = tokio::time::timeout(Duration::from_secs(60), stream.frame()).await.expect("in time");
        let data = frame.expect("a frame").expect("bytes").into_data().expect("data");
        seen.push_str(std::str::from_utf8(&data).expect("UTF-8"));
    }
    assert!(seen.contains("wake up"));
    let path = format!("{PATH}/{}", id(&made));
    let done = until(&world, &path, |found| found["status"] == "completed").await;
    assert_eq!(done["run_at"], run_at);
    let (_, listed) = world.call("GET", &format!("{path}/invocations"), None).await;
    let invocation = &listed["data"][0];
    assert_eq!((&invocation["status"], &invocation["session_id"]), (&json!("completed"), &session["id"]));
    assert_eq!(invocation["scheduled_at"], run_at);
    let snapshot = &invocation["source"]["automation"];
    assert_eq!((&snapshot["id"], &snapshot["status"]), (&made["id"], &json!("active")));
    for verb in ["pause", "resume"] {
        assert_eq!(world.call("POST", &format!("{path}/{verb}"), None).await.0, 409);
    }
}

#[tokio::test]
async fn a_deleted_session_pauses_its_automation() {
    let world = world().await;
    let session =
        world.session(json!({"agent": {"model": "m1"}, "environment": {"type": "none"}, "input": "x"})).await;
    let target = json!({"type": "existing_session", "session_id": session["id"], "instructions": "wake up"});
    let (_, made) = world.call("POST", PATH, Some(periodic(&target))).await;
    let (status, _) = world.call("DELETE", &format!("/v1/agents/sessions/{}", id(&session)), None).await;
    assert_eq!(status, 200);
    let path = format!("{PATH}/{}", id(&made));
    world.call("POST", &format!("{path}/invocations"), None).await;
    let paused = until(&world, &path, |found| found["status"] == "paused").await;
    assert_eq!(paused["pause_reason"], "target_session_failed");
    let (_, listed) = world.call("GET", &format!("{path}/invocations"), None).await;
    assert_eq!(listed["data"][0]["error"]["code"], "resource_not_found");
}

//! The Agents API through the app, over a live runtime with the scripted model.

use std::time::Duration;

use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::support::{KEY, OTHER_KEY, World, events, request};

fn none(input: &str) -> Value {
    json!({"agent": {"model": "m1"}, "environment": {"type": "none"}, "input": input})
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().expect("a type")).collect()
}

#[tokio::test]
async fn a_creation_stream_shows_one_turn_and_ends() {
    let world = World::new().await;
    let mut body = none("hi");
    body["stream"] = json!(true);
    let events = world.stream(request("POST", "/v1/agents/sessions", Some(body), &[])).await;
    let types = types(&events);
    assert_eq!(
        types[..4],
        [
            "agent.session.created",
            "agent.session.turn.created",
            "agent.session.turn.item.added",
            "agent.session.in_progress",
        ]
    );
    assert_eq!(types[types.len() - 2..], ["agent.session.turn.completed", "agent.session.idle"]);
    let text = events.iter().find(|event| event["type"] == "agent.session.turn.output_text.done");
    assert_eq!(text.expect("the text")["text"], "Hello there.");
    let mut ids: Vec<_> = events.iter().map(|event| event["event_id"].as_str().expect("an id")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), events.len());

    let session = events[0]["session"]["id"].as_str().expect("an id");
    let (_, now) = world.call("GET", &format!("/v1/agents/sessions/{session}"), None).await;
    assert_eq!(now["status"], "idle");
    let (_, items) = world.call("GET", &format!("/v1/agents/sessions/{session}/items?order=asc"), None).await;
    assert_eq!(items["data"][0]["content"], json!([{"type": "input_text", "text": "hi"}]));
    assert_eq!(items["data"][1]["content"], json!([{"type": "output_text", "text": "Hello there."}]));
    assert_eq!((&items["has_more"], &items["first_id"]), (&json!(false), &items["data"][0]["id"]));
    let (_, turns) = world.call("GET", &format!("/v1/agents/sessions/{session}/turns"), None).await;
    let turn = turns["data"][0]["id"].as_str().expect("an id");
    assert_eq!(turns["data"][0]["status"], "completed");
    let (_, one) = world.call("GET", &format!("/v1/agents/sessions/{session}/turns/{turn}"), None).await;
    assert_eq!(one, turns["data"][0]);
    let path = format!("/openai/v1/agents/sessions/{session}/turns/{turn}/items?limit=1");
    let (_, page) = world.call("GET", &path, None).await;
    assert_eq!((&page["has_more"], page["data"].as_array().map(Vec::len)), (&json!(true), Some(1)));
}

#[tokio::test]
async fn agents_are_created_changed_listed_and_deleted() {
    let world = World::new().await;
    let tool = json!({"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}});
    let body = json!({"model": "m1", "name": "helper", "metadata": {"a": "1"}, "tools": [tool, {"type": "tool_search"}]});
    let (status, agent) = world.call("POST", "/v1/agents", Some(body)).await;
    assert_eq!(status, 201);
    assert_eq!((&agent["object"], &agent["service_tier"]), (&json!("agent"), &json!("auto")));
    assert_eq!(agent["tools"][0]["defer_loading"], false);
    assert_eq!(agent["tools"][1], json!({"type": "tool_search"}));
    let path = format!("/v1/agents/{}", agent["id"].as_str().expect("an id"));
    let (status, changed) =
        world.call("POST", &path, Some(json!({"name": null, "model": "m2", "tools": null}))).await;
    assert_eq!((status, &changed["name"], &changed["model"]), (200, &Value::Null, &json!("m2")));
    assert_eq!((&changed["tools"], &changed["metadata"]), (&json!([]), &json!({"a": "1"})));
    assert_eq!(world.call("POST", &path, None).await.0, 200, "an empty body is an empty update");

    let id = agent["id"].as_str().expect("an id");
    let versions = format!("/v1/tenure/agents/{id}/versions");
    let (_, versions) = world.call("GET", &versions, None).await;
    let numbers: Vec<_> =
        versions["data"].as_array().expect("a list").iter().map(|v| v["version"].clone()).collect();
    assert_eq!(numbers, [3, 2, 1]);

    world.call("POST", "/v1/agents", Some(json!({"model": "m1"}))).await;
    let (_, first) = world.call("GET", "/v1/agents?limit=1&order=asc", None).await;
    assert_eq!((&first["data"][0]["id"], &first["has_more"]), (&agent["id"], &json!(true)));
    let next = format!("/v1/agents?order=asc&after={id}");
    let (_, next) = world.call("GET", &next, None).await;
    assert_eq!((next["data"].as_array().map(Vec::len), &next["has_more"]), (Some(1), &json!(false)));

    let (status, deleted) = world.call("DELETE", &path, None).await;
    assert_eq!((status, deleted), (200, json!({"id": id, "object": "agent.deleted", "deleted": true})));
    let (status, error) = world.call("GET", &path, None).await;
    assert_eq!((status, &error["error"]["type"]), (404, &json!("not_found_error")));
}

#[tokio::test]
async fn a_session_takes_a_snapshot_of_a_saved_agent_by_id_or_name() {
    let world = World::new().await;
    let saved = json!({"model": "m1", "name": "helper", "instructions": "old", "metadata": {"tenure.approval": "always"}});
    let (_, agent) = world.call("POST", "/v1/agents", Some(saved)).await;
    for agent_id in [agent["id"].clone(), json!("helper")] {
        let body = json!({"agent_id": agent_id, "agent": {"instructions": "new"}, "environment": {"type": "none"}, "input": "x"});
        let session = world.session(body).await;
        assert_eq!(session["agent"]["id"], agent["id"]);
        assert_eq!(
            (&session["agent"]["name"], &session["agent"]["instructions"]),
            (&json!("helper"), &json!("new"))
        );
    }
    let filter = format!("/v1/agents/sessions?agent_id={}", agent["id"].as_str().expect("an id"));
    let (_, sessions) = world.call("GET", &filter, None).await;
    assert_eq!(sessions["data"].as_array().map(Vec::len), Some(2));
    let unknown = json!({"agent_id": "nobody", "environment": {"type": "none"}, "input": "x"});
    let (status, error) = world.call("POST", "/v1/agents/sessions", Some(unknown)).await;
    assert_eq!((status, &error["error"]["param"]), (404, &json!("agent_id")));
}

#[tokio::test]
async fn a_function_call_waits_for_its_result() {
    let world = World::new().await;
    let tool =
        json!({"type": "function", "name": "look_up", "description": "", "parameters": {"type": "object"}});
    let body = json!({"agent": {"model": "m1", "tools": [tool]}, "environment": {"type": "none"}, "input": "look up 7"});
    let (status, session) = world.call("POST", "/v1/agents/sessions", Some(body)).await;
    assert_eq!(status, 201);
    let path = format!("/v1/agents/sessions/{}", session["id"].as_str().expect("an id"));
    let events_path = format!("{path}/events");

    // A stream opened in the middle of a turn shows what the turn has so far, then what follows.
    let (_, _, mut stream) = world.send(request("GET", &events_path, None, &[])).await;
    let mut seen = String::new();
    let action = loop {
        let (_, now) = world.call("GET", &path, None).await;
        if let Some(action) = now["required_actions"].get(0) {
            break action.clone();
        }
        let frame = tokio::time::timeout(Duration::from_secs(60), stream.frame()).await.expect("in time");
        seen.push_str(
            std::str::from_utf8(&frame.expect("a frame").expect("bytes").into_data().expect("data"))
                .expect("UTF-8"),
        );
    };
    assert_eq!((&action["type"], &action["arguments"]), (&json!("function_call"), &json!({"id": 7})));
    let result = |call_id: &Value| {
        json!({"events": [{"type": "agent.session.input.tool_result", "turn_id": action["turn_id"],
            "call_id": call_id, "success": true, "output": "seven"}]})
    };
    let (status, error) = world.call("POST", &events_path, Some(result(&json!("other")))).await;
    assert_eq!((status, &error["error"]["code"]), (400, &json!("invalid_request_error")));
    assert_eq!(error["error"]["message"], "Unknown pending tool call: other");
    let (status, body) = world.call("POST", &events_path, Some(result(&action["call_id"]))).await;
    assert_eq!((status, body), (202, Value::Null));
    assert_eq!(world.call("POST", &events_path, Some(result(&action["call_id"]))).await.0, 202, "a repeat");
    while !seen.contains("event: agent.session.idle") {
        let frame = tokio::time::timeout(Duration::from_secs(60), stream.frame()).await.expect("in time");
        seen.push_str(
            std::str::from_utf8(&frame.expect("a frame").expect("bytes").into_data().expect("data"))
                .expect("UTF-8"),
        );
    }
    assert!(seen.contains("Found it."), "{seen}");
    assert!(!seen.contains("\nid:") && events(&seen).len() > 3);
}

#[tokio::test]
async fn a_busy_session_is_not_deleted_and_a_deleted_one_stays_so() {
    let world = World::new().await;
    let (_, session) = world.call("POST", "/v1/agents/sessions", Some(none("stall"))).await;
    let path = format!("/v1/agents/sessions/{}", session["id"].as_str().expect("an id"));
    let (_, headers, _) = world.send(request("DELETE", &path, None, &[])).await;
    assert_eq!(headers["x-should-retry"], "false");
    assert_eq!(world.call("DELETE", &path, None).await.0, 409);
    let (_, _, stream) = world.send(request("GET", &format!("{path}/events"), None, &[])).await;
    let cancel = json!({"events": [{"type": "agent.session.input.cancel"}]});
    assert_eq!(world.call("POST", &format!("{path}/events"), Some(cancel)).await.0, 202);
    let deleted = json!({"id": session["id"], "object": "agent.session.deleted", "deleted": true});
    assert_eq!(world.call("DELETE", &path, None).await, (200, deleted.clone()));
    assert_eq!(world.call("DELETE", &path, None).await, (200, deleted));
    assert_eq!(world.call("GET", &path, None).await.0, 404);
    assert_eq!(world.call("GET", &format!("{path}/items"), None).await.0, 404);
    let message = json!({"events": [{"type": "agent.session.input.message",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}]}]});
    assert_eq!(world.call("POST", &format!("{path}/events"), Some(message)).await.0, 404);
    let ended = tokio::time::timeout(Duration::from_secs(60), stream.collect()).await;
    let bytes = ended.expect("a deletion ends the stream").expect("bytes").to_bytes();
    assert!(!String::from_utf8_lossy(&bytes).contains("deleted"));
}

#[tokio::test]
async fn updates_change_what_they_say() {
    let world = World::new().await;
    let session = world.session(none("hi")).await;
    let path = format!("/v1/agents/sessions/{}", session["id"].as_str().expect("an id"));
    let (status, error) = world.call("POST", &path, Some(json!({}))).await;
    assert_eq!((status, &error["error"]["type"]), (400, &json!("invalid_request_error")));
    let body = json!({"metadata": {"k": "v"}, "agent": {"model": "m2", "reasoning": {"effort": "low"}},
        "review": "auto_review", "spend_control": {"limit": 9}, "prompt_cache_options": {"ttl": "12h"}});
    let (status, changed) = world.call("POST", &path, Some(body)).await;
    assert_eq!(status, 200);
    assert_eq!((&changed["metadata"], &changed["agent"]["model"]), (&json!({"k": "v"}), &json!("m2")));
    assert_eq!(changed["agent"]["reasoning"], json!({"effort": "low", "summary": null}));
    assert_eq!((&changed["review"], &changed["spend_control"]["limit"]), (&json!("auto_review"), &json!(9)));
    let (_, cleared) =
        world.call("POST", &path, Some(json!({"spend_control": null, "prompt_cache_options": null}))).await;
    assert!(cleared.get("spend_control").is_none() && cleared.get("prompt_cache_options").is_none());
    let (_, found) = world.call("GET", "/v1/agents/sessions?metadata[k]=v", None).await;
    assert_eq!(found["data"][0]["id"], session["id"]);
    let (_, none) = world.call("GET", "/v1/agents/sessions?metadata[k]=w", None).await;
    assert_eq!(none["data"], json!([]));
}

#[tokio::test]
async fn a_repeated_request_is_answered_with_the_first_outcome() {
    let world = World::new().await;
    let key = [("idempotency-key", "k1")];
    let first = world.call_with("POST", "/v1/agents/sessions", Some(none("hi")), &key).await;
    assert_eq!(first.0, 201);
    assert_eq!(world.call_with("POST", "/v1/agents/sessions", Some(none("hi")), &key).await, first);
    let (status, error) = world.call_with("POST", "/v1/agents/sessions", Some(none("other")), &key).await;
    assert_eq!((status, &error["error"]["code"]), (409, &json!("idempotency_mismatch")));
    let (_, sessions) = world.call("GET", "/v1/agents/sessions", None).await;
    assert_eq!(sessions["data"].as_array().map(Vec::len), Some(1));

    let agent = world.call_with("POST", "/v1/agents", Some(json!({"model": "m"})), &key).await;
    assert_eq!(agent.0, 201, "the key is scoped to its path");
    assert_eq!(world.call_with("POST", "/v1/agents", Some(json!({"model": "m"})), &key).await, agent);

    let path = format!("/v1/agents/sessions/{}/events", first.1["id"].as_str().expect("an id"));
    let message = json!({"events": [{"type": "agent.session.input.message",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "once"}]}]}]});
    for _ in 0..2 {
        let answer = world.call_with("POST", &path, Some(message.clone()), &key).await;
        assert_eq!(answer, (202, Value::Null));
    }
    let items = format!("/v1/agents/sessions/{}/items", first.1["id"].as_str().expect("an id"));
    let (_, items) = world.call("GET", &items, None).await;
    assert_eq!(items.to_string().matches("\"once\"").count(), 1);
    let other = [("idempotency-key", "k1"), ("authorization", &format!("Bearer {OTHER_KEY}")[..])];
    let theirs = world.call_with("POST", "/v1/agents", Some(json!({"model": "other"})), &other).await;
    assert_eq!(theirs.0, 201, "another project's key is another key");
}

#[tokio::test]
async fn a_failed_turn_leaves_a_usable_session() {
    let world = World::new().await;
    let mut body = none("fail");
    body["stream"] = json!(true);
    let events = world.stream(request("POST", "/v1/agents/sessions", Some(body), &[])).await;
    let types = types(&events);
    assert_eq!(types[types.len() - 3..], ["error", "agent.session.turn.failed", "agent.session.idle"]);
    let failed = &events[events.len() - 2];
    assert_eq!((&failed["turn"]["status"], &failed["usage"]), (&json!("failed"), &Value::Null));
    assert_eq!(events[events.len() - 1]["session"]["error"], Value::Null);
}

#[tokio::test]
async fn an_idle_stream_says_that_it_is_alive() {
    let world = World::with(|config| config.keepalive = Duration::from_millis(20)).await;
    let session = world.session(none("hi")).await;
    let path = format!("/v1/agents/sessions/{}/events", session["id"].as_str().expect("an id"));
    let (_, _, mut stream) = world.send(request("GET", &path, None, &[("last-event-id", "event_9")])).await;
    let frame = tokio::time::timeout(Duration::from_secs(60), stream.frame()).await.expect("in time");
    let data = frame.expect("a frame").expect("bytes").into_data().expect("data");
    assert_eq!(&data[..], b": keepalive\n\n");
}

#[tokio::test]
async fn what_a_session_does_not_have_is_empty() {
    let world = World::new().await;
    let session = world.session(none("hi")).await;
    let path = format!("/v1/agents/sessions/{}", session["id"].as_str().expect("an id"));
    for list in ["subagents", "artifacts"] {
        let (status, page) = world.call("GET", &format!("{path}/{list}"), None).await;
        let empty =
            json!({"object": "list", "data": [], "first_id": null, "last_id": null, "has_more": false});
        assert_eq!((status, page), (200, empty), "{list}");
    }
    assert_eq!(world.call("GET", &format!("{path}/subagents/x/items"), None).await.0, 404);
    assert_eq!(world.call("GET", &format!("{path}/artifacts/x/content"), None).await.0, 404);
}

#[tokio::test]
async fn subagents_are_read_beneath_their_session_alone() {
    let world = World::new().await;
    let mut body = none("delegate");
    body["agent"]["multi_agent"] = json!({"enabled": true});
    body["stream"] = json!(true);
    let events = world.stream(request("POST", "/v1/agents/sessions", Some(body), &[])).await;
    assert!(types(&events).contains(&"agent.session.subagent.created"));
    let id = events[0]["session"]["id"].as_str().expect("an id");
    let path = format!("/v1/agents/sessions/{id}");
    let (_, page) = world.call("GET", &format!("{path}/subagents"), None).await;
    let subagent = &page["data"][0];
    assert_eq!(
        (&subagent["object"], &subagent["session_id"]),
        (&json!("agent.session.subagent"), &json!(id))
    );
    let text = subagent["id"].as_str().expect("an id");
    let beneath = format!("{path}/subagents/{text}");
    assert_eq!(world.call("GET", &beneath, None).await.1, *subagent);
    let (_, turns) = world.call("GET", &format!("{beneath}/turns"), None).await;
    let turn = &turns["data"][0];
    assert_eq!((&turn["subagent_id"], &turn["session_id"]), (&json!(text), &json!(id)));
    let turn_id = turn["id"].as_str().expect("an id");
    assert_eq!(world.call("GET", &format!("{beneath}/turns/{turn_id}"), None).await.1, *turn);
    let (_, items) = world.call("GET", &format!("{beneath}/turns/{turn_id}/items?order=asc"), None).await;
    assert_eq!(items["data"][0]["type"], "agent_message");
    assert_eq!(world.call("GET", &format!("{path}/turns/{turn_id}"), None).await.0, 404);

    let hidden = format!("/v1/agents/sessions/{}", text.replace("subagent_", "sess_"));
    let message = json!({"events": [{"type": "agent.session.input.cancel"}]});
    for (method, rest, body) in [
        ("GET", "", None),
        ("GET", "/items", None),
        ("GET", "/turns", None),
        ("GET", "/traces", None),
        ("GET", "/subagents", None),
        ("GET", "/events", None),
        ("POST", "", Some(json!({"metadata": {"a": "b"}}))),
        ("POST", "/events", Some(message)),
        ("DELETE", "", None),
    ] {
        let (status, _) = world.call(method, &format!("{hidden}{rest}"), body).await;
        assert_eq!(status, 404, "{method} {rest}");
    }
    let other = format!("Bearer {OTHER_KEY}");
    let with = [("authorization", other.as_str())];
    assert_eq!(world.call_with("GET", &beneath, None, &with).await.0, 404);
}

#[tokio::test]
async fn a_finished_turn_has_a_trace() {
    let world = World::new().await;
    let session = world.session(none("hi")).await;
    let path = format!("/v1/agents/sessions/{}", session["id"].as_str().expect("an id"));
    let (_, turns) = world.call("GET", &format!("{path}/turns"), None).await;
    let (status, traces) = world.call("GET", &format!("{path}/traces"), None).await;
    assert_eq!((status, &traces["first_id"], &traces["has_more"]), (200, &turns["first_id"], &json!(false)));
    let trace = &traces["data"][0];
    assert_eq!((&trace["object"], &trace["session_id"]), (&json!("agent.session.trace"), &session["id"]));
    assert_eq!(trace["created_at"], turns["data"][0]["created_at"]);
    assert!(trace["otlp"]["resourceSpans"].is_array());
    let (_, none) = world
        .call("GET", &format!("{path}/traces?order=asc&after={}", trace["id"].as_str().expect("an id")), None)
        .await;
    assert_eq!(none["data"], json!([]));
    assert_eq!(world.call("GET", &format!("{path}/traces?after=x"), None).await.0, 400);
}

#[tokio::test]
async fn models_and_health() {
    let world = World::new().await;
    let (_, models) = world.call("GET", "/v1/models", None).await;
    assert_eq!(models["data"][0]["id"], "m1");
    assert_eq!(world.call("GET", "/v1/models/m1", None).await.0, 200);
    assert_eq!(world.call("GET", "/v1/models/m9", None).await.0, 404);
    let open = axum::http::Request::get("/healthz").header("host", "localhost");
    let (status, headers, _) = world.send(open.body(axum::body::Body::empty()).expect("a request")).await;
    assert_eq!(status, 200);
    assert!(headers["x-request-id"].to_str().expect("text").starts_with("req_"));
}

#[tokio::test]
async fn keys_are_made_listed_and_revoked() {
    let world = World::new().await;
    let idempotent = [("idempotency-key", "k")];
    let body = json!({"name": "ci", "scopes": ["read", "api.agents.write"]});
    let (status, made) = world.call_with("POST", "/v1/tenure/keys", Some(body.clone()), &idempotent).await;
    assert_eq!((status, &made["scopes"]), (201, &json!(["read", "write"])));
    let text = made["key"].as_str().expect("the key").to_owned();
    let (status, again) = world.call_with("POST", "/v1/tenure/keys", Some(body), &idempotent).await;
    assert_eq!((status, &again["id"], &again["key"]), (201, &made["id"], &Value::Null));
    assert_eq!(again["prefix"], made["prefix"]);
    let mismatch = world.call_with("POST", "/v1/tenure/keys", Some(json!({"name": "x"})), &idempotent).await;
    assert_eq!((mismatch.0, &mismatch.1["code"]), (422, &json!("idempotency_mismatch")));

    let bearer = format!("Bearer {text}");
    let with = [("authorization", bearer.as_str())];
    assert_eq!(world.call_with("GET", "/v1/agents", None, &with).await.0, 200);
    assert_eq!(world.call_with("GET", "/v1/tenure/keys", None, &with).await.0, 403);
    let (_, listed) = world.call("GET", "/v1/tenure/keys", None).await;
    assert!(!listed.to_string().contains(&text) && listed.to_string().contains("\"ci\""));
    let path = format!("/v1/tenure/keys/{}", made["id"].as_str().expect("an id"));
    assert_eq!(world.call("DELETE", &path, None).await.0, 200);
    assert_eq!(world.call_with("GET", "/v1/agents", None, &with).await.0, 401);
    assert_eq!(world.call("DELETE", &path, None).await.0, 404);
    assert!(!KEY.is_empty());
}

#[tokio::test]
async fn a_journal_is_read_in_order() {
    let world = World::new().await;
    let session = world.session(none("hi")).await;
    let path = format!("/v1/tenure/sessions/{}/journal", session["id"].as_str().expect("an id"));
    let (status, page) = world.call("GET", &format!("{path}?limit=2"), None).await;
    assert_eq!((status, &page["has_more"]), (200, &json!(true)));
    assert_eq!(page["data"][0]["event"]["type"], "session_opened");
    let (_, next) = world.call("GET", &format!("{path}?after=2"), None).await;
    assert_eq!(next["data"][0]["version"], 3);
    let (status, problem) = world.call("GET", &format!("{path}?after=100000"), None).await;
    assert_eq!((status, &problem["code"]), (400, &json!("bad_cursor")));
}

//! What a client sees when the server has as much as it can bear.

use axum::http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tenure_runtime::{Bound, Limit, Limits, Whose};

use crate::support::{OTHER_KEY, World, request};

fn none(input: &str) -> Value {
    json!({"agent": {"model": "m1"}, "environment": {"type": "none"}, "input": input})
}

async fn answer(
    world: &World,
    method: &str,
    path: &str,
    body: Option<Value>,
    headers: &[(&str, &str)],
) -> (u16, HeaderMap, Value) {
    let (status, headers, body) = world.send(request(method, path, body, headers)).await;
    let bytes = body.collect().await.expect("a body").to_bytes();
    (status.as_u16(), headers, serde_json::from_slice(&bytes).unwrap_or_default())
}

/// Checks a refusal that the official client repeats by itself.
#[track_caller]
fn repeatable((status, headers, body): &(u16, HeaderMap, Value), wanted: u16, key: &str) {
    assert_eq!(*status, wanted, "{body}");
    assert_eq!(headers["retry-after"], "1");
    assert!(!headers.contains_key("x-should-retry"));
    assert!(headers.contains_key("x-request-id"));
    let error = &body["error"];
    let kind = if wanted == 429 { "rate_limit_error" } else { "service_unavailable_error" };
    assert_eq!((&error["type"], &error["code"]), (&json!(kind), &json!("overloaded")));
    assert!(error["message"].as_str().expect("text").contains(&format!("`{key}`")), "{body}");
}

#[tokio::test]
async fn a_full_project_is_told_to_try_again_and_loses_nothing() {
    let active_sessions = Bound { max: 9, per_project_max: 2 };
    let world = World::limited(Limits { active_sessions, ..Limits::default() }).await;
    let path = "/v1/agents/sessions";
    let mut opened = Vec::new();
    for _ in 0..2 {
        let (status, session) = world.call("POST", path, Some(none("stall"))).await;
        assert_eq!(status, 201);
        opened.push(session["id"].as_str().expect("an id").to_owned());
    }
    let headers = [("idempotency-key", "third")];
    let refused = answer(&world, "POST", path, Some(none("hi")), &headers).await;
    repeatable(&refused, 429, "sessions_active_per_project_max");
    let streamed =
        json!({"agent": {"model": "m1"}, "environment": {"type": "none"}, "input": "hi", "stream": true});
    repeatable(
        &answer(&world, "POST", path, Some(streamed), &[]).await,
        429,
        "sessions_active_per_project_max",
    );
    assert_eq!(world.runtime.load().refused(Limit::ActiveSessions, Whose::Project), 2);
    assert_eq!(world.runtime.load().taken(Limit::Streams), 0, "a refused request keeps nothing");

    let other = format!("Bearer {OTHER_KEY}");
    let neighbour = answer(&world, "POST", path, Some(none("hi")), &[("authorization", &other)]).await;
    assert_eq!(neighbour.0, 201, "another project is not concerned");

    // What is in goes on: it is read, steered and stopped.
    let events = format!("{path}/{}/events", opened[0]);
    let steer = json!({"events": [{"type": "agent.session.input.message", "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "quick"}]}]}]});
    assert_eq!(world.call("POST", &events, Some(steer)).await.0, 202);
    assert_eq!(world.call("GET", &format!("{path}/{}", opened[0]), None).await.1["status"], "in_progress");
    let cancel = json!({"events": [{"type": "agent.session.input.cancel"}]});
    assert_eq!(world.call("POST", &events, Some(cancel)).await.0, 202);

    // The same request is carried out once there is room, once.
    let made = loop {
        let (status, _, made) = answer(&world, "POST", path, Some(none("hi")), &headers).await;
        if status == 201 {
            break made;
        }
        assert_eq!(status, 429);
        tokio::task::yield_now().await;
    };
    let again = answer(&world, "POST", path, Some(none("hi")), &headers).await;
    assert_eq!((again.0, &again.2["id"]), (201, &made["id"]));
    let (_, listed) = world.call("GET", path, None).await;
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn a_full_server_is_503() {
    let active_sessions = Bound { max: 1, per_project_max: 5 };
    let world = World::limited(Limits { active_sessions, ..Limits::default() }).await;
    let path = "/v1/agents/sessions";
    assert_eq!(world.call("POST", path, Some(none("stall"))).await.0, 201);
    repeatable(&answer(&world, "POST", path, Some(none("hi")), &[]).await, 503, "sessions_active_max");
    let metrics = world.runtime.metrics_text();
    for (whose, count) in [("server", 1), ("project", 0)] {
        let line = format!("tenure_load_shed_total{{limit=\"sessions_active\",whose=\"{whose}\"}} {count}\n");
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[tokio::test]
async fn streams_are_counted_until_they_end() {
    let streams = Bound { max: 9, per_project_max: 1 };
    let world = World::limited(Limits { streams, ..Limits::default() }).await;
    let (_, session) = world.call("POST", "/v1/agents/sessions", Some(none("stall"))).await;
    let events = format!("/v1/agents/sessions/{}/events", session["id"].as_str().expect("an id"));
    let (status, _, open) = world.send(request("GET", &events, None, &[])).await;
    assert_eq!(status, StatusCode::OK);
    repeatable(&answer(&world, "GET", &events, None, &[]).await, 429, "streams_per_project_max");
    let mut streamed = none("hi");
    streamed["stream"] = json!(true);
    let refused = answer(&world, "POST", "/v1/agents/sessions", Some(streamed), &[]).await;
    repeatable(&refused, 429, "streams_per_project_max");
    let (_, listed) = world.call("GET", "/v1/agents/sessions", None).await;
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(1), "no session without its stream");
    drop(open);
    let (status, _, _) = world.send(request("GET", &events, None, &[])).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn bodies_are_refused_before_they_are_read() {
    let body_bytes = Bound { max: 400, per_project_max: 300 };
    let world = World::limited(Limits { body_bytes, ..Limits::default() }).await;
    let path = "/v1/agents/sessions";
    let large = none(&"x".repeat(300)).to_string();
    let declared = ("content-length", large.len().to_string());
    let body: Value = serde_json::from_str(&large).expect("JSON");
    for headers in [vec![], vec![(declared.0, declared.1.as_str())]] {
        let refused = answer(&world, "POST", path, Some(body.clone()), &headers).await;
        repeatable(&refused, 429, "body_bytes_in_flight_per_project_max");
        assert_eq!(refused.1["connection"], "close", "the rest of the body is not waited for");
    }
    let problem =
        answer(&world, "POST", "/v1/tenure/keys", Some(json!({"name": "x".repeat(300)})), &[]).await;
    assert_eq!((problem.0, &problem.2["code"]), (429, &json!("overloaded")));
    assert_eq!(problem.1["retry-after"], "1");
    assert_eq!(world.call("POST", path, Some(none("hi"))).await.0, 201);
    assert_eq!(world.runtime.load().taken(Limit::BodyBytes), 0);
}

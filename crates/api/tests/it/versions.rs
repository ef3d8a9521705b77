//! Versions of saved agents through the app: edits, going back, differences and splits.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{KEY, OTHER_KEY, World};

/// An agent with three versions, and its paths.
async fn edited(world: &World) -> (String, String, String) {
    let body = json!({"model": "m1", "name": "helper", "instructions": "one"});
    let (status, agent) = world.call("POST", "/v1/agents", Some(body)).await;
    assert_eq!(status, 201);
    let id = agent["id"].as_str().expect("an id").to_owned();
    let (saved, ours) = (format!("/v1/agents/{id}"), format!("/v1/tenure/agents/{id}"));
    for instructions in ["two", "three"] {
        world.call("POST", &saved, Some(json!({"instructions": instructions}))).await;
    }
    (id, saved, ours)
}

async fn session(world: &World, id: &str) -> Value {
    let body = json!({"agent_id": id, "environment": {"type": "none"}, "input": "hi"});
    let (status, session) = world.call("POST", "/v1/agents/sessions", Some(body)).await;
    assert_eq!(status, 201, "{session}");
    let path = format!("/v1/tenure/sessions/{}", session["id"].as_str().expect("an id"));
    let (status, shown) = world.call("GET", &path, None).await;
    assert_eq!((status, &shown["object"]), (200, &json!("tenure.session")));
    assert_eq!(shown["agent"]["instructions"], session["agent"]["instructions"]);
    assert_eq!(session["agent"].get("version"), None, "the Agents API shows what it always showed");
    shown
}

#[tokio::test]
async fn every_version_says_who_made_it() {
    let world = World::new().await;
    let (id, _, ours) = edited(&world).await;
    let (status, page) = world.call("GET", &format!("{ours}/versions?limit=2"), None).await;
    assert_eq!((status, &page["has_more"], &page["last_id"]), (200, &json!(true), &json!("2")));
    let (_, rest) = world.call("GET", &format!("{ours}/versions?after=2"), None).await;
    assert_eq!(rest["data"][0]["agent"]["instructions"], "one");
    let (_, two) = world.call("GET", &format!("{ours}/versions/2"), None).await;
    assert_eq!(two, page["data"][1]);
    assert_eq!((&two["version"], &two["agent_id"], &two["restores"]), (&json!(2), &json!(id), &Value::Null));
    assert_eq!((&two["author"]["type"], two["author"]["name"].is_string()), (&json!("key"), true));
    for path in ["versions/4", "versions/0", "versions/+1", "versions/x", "versions/18446744073709551615"] {
        let (status, error) = world.call("GET", &format!("{ours}/{path}"), None).await;
        assert_eq!((status, &error["code"]), (404, &json!("not_found_error")), "{path}");
    }
}

#[tokio::test]
async fn differences_name_what_differs() {
    let world = World::new().await;
    let (_, saved, ours) = edited(&world).await;
    let tool = json!({"type": "function", "name": "f", "description": "", "parameters": {"type": "object"}});
    let metadata = json!({"tenure.approval": "always"});
    world.call("POST", &saved, Some(json!({"tools": [tool], "metadata": metadata}))).await;
    let (_, diff) = world.call("GET", &format!("{ours}/diff?from=1"), None).await;
    assert_eq!((&diff["from"], &diff["to"]), (&json!(1), &json!(4)));
    let paths: Vec<_> = diff["changes"].as_array().expect("a list").iter().map(|c| &c["path"]).collect();
    assert_eq!(paths, ["instructions", "tools[function f]", "approval", "metadata.tenure.approval"]);
    let expected = json!({"change": "changed", "path": "instructions", "from": "one", "to": "three"});
    assert_eq!(diff["changes"][0], expected);
    let (_, same) = world.call("GET", &format!("{ours}/diff?from=2&to=2"), None).await;
    assert_eq!(same["changes"], json!([]));
    for (query, status) in [("", 400), ("?from=x", 400), ("?from=1&to=9", 404), ("?from=1&until=2", 400)] {
        assert_eq!(world.call("GET", &format!("{ours}/diff{query}"), None).await.0, status, "{query}");
    }
}

#[tokio::test]
async fn a_rollback_is_a_new_version_and_happens_once() {
    let world = World::new().await;
    let (id, saved, ours) = edited(&world).await;
    let before = session(&world, &id).await;
    let rollback = format!("{ours}/rollback");
    let headers = [("idempotency-key", "back")];
    let (status, made) = world.call_with("POST", &rollback, Some(json!({"version": 1})), &headers).await;
    assert_eq!((status, &made["version"], &made["restores"]), (201, &json!(4), &json!(1)));
    assert_eq!(made["author"]["type"], "key");
    let again = world.call_with("POST", &rollback, Some(json!({"version": 1})), &headers).await;
    assert_eq!(again, (201, made), "the key answers, and makes no fifth version");
    let other = world.call_with("POST", &rollback, Some(json!({"version": 2})), &headers).await;
    assert_eq!((other.0, &other.1["code"]), (422, &json!("idempotency_mismatch")));
    let (_, now) = world.call("GET", &saved, None).await;
    assert_eq!(now["instructions"], "one");

    let after = session(&world, &id).await;
    assert_eq!((&before["agent"]["version"], &after["agent"]["version"]), (&json!(3), &json!(4)));
    let path = format!("/v1/tenure/sessions/{}", before["id"].as_str().expect("an id"));
    let (_, kept) = world.call("GET", &path, None).await;
    assert_eq!((&kept["agent"]["version"], &kept["agent"]["instructions"]), (&json!(3), &json!("three")));

    for (body, status) in [
        (json!({"version": 4}), 409),
        (json!({"version": 9}), 400),
        (json!({"version": 0}), 400),
        (json!({}), 400),
        (json!({"version": 1, "why": "x"}), 400),
    ] {
        assert_eq!(world.call("POST", &rollback, Some(body.clone())).await.0, status, "{body}");
    }
}

#[tokio::test]
async fn versions_of_a_deleted_agent_stay_readable() {
    let world = World::new().await;
    let (id, saved, ours) = edited(&world).await;
    let pinned = session(&world, &id).await;
    assert_eq!(world.call("DELETE", &saved, None).await.0, 200);
    let (status, page) = world.call("GET", &format!("{ours}/versions"), None).await;
    let numbers: Vec<_> = page["data"].as_array().expect("a list").iter().map(|v| &v["version"]).collect();
    assert_eq!((status, numbers), (200, vec![&json!(3), &json!(2), &json!(1)]));
    let (_, three) = world.call("GET", &format!("{ours}/versions/3"), None).await;
    assert_eq!(three["agent"]["instructions"], "three");
    assert_eq!(world.call("GET", &format!("{ours}/diff?from=1"), None).await.0, 200);
    let path = format!("/v1/tenure/sessions/{}", pinned["id"].as_str().expect("an id"));
    assert_eq!(world.call("GET", &path, None).await.1["agent"]["version"], 3);
    // Nothing can be made of it any more.
    assert_eq!(world.call("POST", &format!("{ours}/rollback"), Some(json!({"version": 1}))).await.0, 404);
    let split = json!({"versions": [{"version": 1, "weight": 1}, {"version": 2, "weight": 1}]});
    assert_eq!(world.call("PUT", &format!("{ours}/split"), Some(split)).await.0, 404);
}

#[tokio::test]
async fn a_split_shares_new_sessions_by_weight() {
    let world = World::new().await;
    let (id, saved, ours) = edited(&world).await;
    let path = format!("{ours}/split");
    assert_eq!(world.call("GET", &path, None).await.0, 404);
    let body = json!({"versions": [{"version": 1, "weight": 30}, {"version": 2, "weight": 70}]});
    let (status, put) = world.call("PUT", &path, Some(body.clone())).await;
    assert_eq!(
        (status, &put["object"], &put["versions"]),
        (200, &json!("tenure.agent.split"), &body["versions"])
    );
    assert_eq!(world.call("GET", &path, None).await.1, put);
    let (_, agent) = world.call("GET", &ours, None).await;
    assert_eq!(
        (&agent["object"], &agent["version"], &agent["split"]),
        (&json!("tenure.agent"), &json!(3), &body["versions"])
    );
    let (_, agents) = world.call("GET", "/v1/tenure/agents", None).await;
    assert_eq!(agents["data"], json!([agent]));
    let (_, official) = world.call("GET", &saved, None).await;
    assert_eq!((official.get("version"), official.get("split")), (None, None));

    let mut found: BTreeMap<u64, usize> = BTreeMap::new();
    for _ in 0..60 {
        let shown = session(&world, &id).await;
        *found.entry(shown["agent"]["version"].as_u64().expect("a version")).or_default() += 1;
    }
    let (_, page) = world.call("GET", &format!("/v1/tenure/sessions?agent_id={id}&limit=100"), None).await;
    let listed = page["data"].as_array().expect("a list").iter().filter(|s| s["agent"]["version"] == 1);
    assert_eq!(listed.count(), found[&1]);
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [1, 2]);
    // Eighteen are expected; five standard deviations are eighteen.
    assert!((1..=36).contains(&found[&1]), "{found:?}");

    // An edit is a version that the split does not name.
    world.call("POST", &saved, Some(json!({"instructions": "four"}))).await;
    assert_ne!(session(&world, &id).await["agent"]["version"], 4);
    let all = json!({"versions": [{"version": 1, "weight": 0}, {"version": 4, "weight": 1}]});
    assert_eq!(world.call("PUT", &path, Some(all)).await.0, 200);
    assert_eq!(session(&world, &id).await["agent"]["version"], 4);

    let (status, ended) = world.call("DELETE", &path, None).await;
    assert_eq!((status, &ended["deleted"]), (200, &json!(true)));
    assert_eq!(world.call("DELETE", &path, None).await.0, 404);
    assert_eq!(session(&world, &id).await["agent"]["version"], 4);
    assert_eq!(world.call("PUT", &path, Some(body)).await.0, 200, "a split can begin again");
    world.call("POST", &format!("{ours}/rollback"), Some(json!({"version": 2}))).await;
    assert_eq!(world.call("GET", &path, None).await.0, 404, "going back ends the split");
    assert_eq!(session(&world, &id).await["agent"]["version"], 5);
}

#[tokio::test]
async fn splits_that_make_no_sense_are_refused() {
    let world = World::new().await;
    let (_, _, ours) = edited(&world).await;
    let of = |versions: Value| json!({"versions": versions});
    for (body, code) in [
        (json!({}), "missing_required_parameter"),
        (of(json!([])), "invalid_value"),
        (of(json!([{"version": 1, "weight": 1}])), "invalid_value"),
        (of(json!([{"version": 1, "weight": 1}, {"version": 1, "weight": 2}])), "invalid_value"),
        (of(json!([{"version": 1, "weight": 0}, {"version": 2, "weight": 0}])), "invalid_value"),
        (of(json!([{"version": 1, "weight": 1}, {"version": 9, "weight": 1}])), "invalid_value"),
        (of(json!([{"version": 1, "weight": 10_001}, {"version": 2, "weight": 1}])), "integer_out_of_range"),
        (of(json!([{"version": 1, "weight": 1, "x": 1}, {"version": 2, "weight": 1}])), "unknown_parameter"),
    ] {
        let (status, error) = world.call("PUT", &format!("{ours}/split"), Some(body.clone())).await;
        assert_eq!((status, error["code"].as_str()), (400, Some(code)), "{body}: {error}");
    }
}

#[tokio::test]
async fn other_projects_and_readers_change_nothing() {
    let world = World::new().await;
    let (_, _, ours) = edited(&world).await;
    let split = json!({"versions": [{"version": 1, "weight": 1}, {"version": 2, "weight": 1}]});
    let calls = [
        ("GET", "versions", None),
        ("GET", "versions/1", None),
        ("GET", "diff?from=1", None),
        ("GET", "split", None),
        ("PUT", "split", Some(split)),
        ("DELETE", "split", None),
        ("POST", "rollback", Some(json!({"version": 1}))),
    ];
    let other = format!("Bearer {OTHER_KEY}");
    let reader = format!("Bearer {}", world.read_only);
    for (method, path, body) in calls {
        let path = format!("{ours}/{path}");
        let (status, _) = world.call_with(method, &path, body.clone(), &[("authorization", &other)]).await;
        assert_eq!(status, 404, "{method} {path}");
        let (status, _) = world.call_with(method, &path, body, &[("authorization", &reader)]).await;
        assert_eq!(status == 403, method != "GET", "{method} {path}");
    }
    assert_ne!(KEY, OTHER_KEY);
}

//! Budgets through the app: who sets them, which holds, what they refuse, and what is refused of them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tenure_journal::{Caps, Period};
use tenure_runtime::{FileBudgets, Limits};

use crate::support::{OTHER_KEY, World};

const PATH: &str = "/v1/tenure/budgets";

fn calls(calls: u64) -> BTreeMap<Period, Caps> {
    [(Period::Total, Caps { calls: Some(calls), ..Caps::NONE })].into()
}

async fn put(world: &World, target: &str, body: Value) -> (u16, Value) {
    world.call("PUT", &format!("{PATH}/{target}"), Some(body)).await
}

async fn agent(world: &World, name: &str) -> Value {
    let (status, agent) = world.call("POST", "/v1/agents", Some(json!({"model": "m1", "name": name}))).await;
    assert_eq!(status, 201, "{agent}");
    agent
}

/// Opens a session, and gives its first turn once that has ended.
async fn turn(world: &World, agent: &Value) -> (String, Value) {
    let body = json!({"agent_id": agent["id"], "environment": {"type": "none"}, "input": "hi"});
    let (status, session) = world.call("POST", "/v1/agents/sessions", Some(body)).await;
    assert_eq!(status, 201, "{session}");
    let id = session["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/agents/sessions/{id}/turns");
    let ended = async {
        loop {
            let (_, turns) = world.call("GET", &path, None).await;
            let turn = turns["data"][0].clone();
            if turn["completed_at"].is_i64() {
                return turn;
            }
            tokio::task::yield_now().await;
        }
    };
    let turn = tokio::time::timeout(Duration::from_secs(60), ended).await.expect("in time");
    (id, turn)
}

#[tokio::test]
async fn what_is_set_holds_and_is_told() {
    let world = World::new().await;
    let (one, other) = (agent(&world, "one").await, agent(&world, "other").await);
    let limits = json!({"limits": {"day": {"calls": 1}, "total": {"tokens": 1_000_000, "seconds": 3_600}}});
    let (status, set) = put(&world, "one", limits.clone()).await;
    assert_eq!((status, &set["limits"], &set["version"]), (200, &limits["limits"], &json!(1)), "{set}");
    assert_eq!(set["target"], json!({"type": "agent", "id": one["id"], "name": "one"}));
    assert_eq!(turn(&world, &one).await.1["status"], "completed");
    let (session, refused) = turn(&world, &one).await;
    assert_eq!(refused["error"]["code"], "agent_budget_exceeded", "{refused}");
    let message = refused["error"]["message"].as_str().expect("a message");
    assert!(message.starts_with("the agent's budget of 1 model call for "), "{message}");
    assert_eq!(turn(&world, &other).await.1["status"], "completed", "others have their own");

    let (_, shown) = world.call("GET", &format!("{PATH}/one"), None).await;
    let day = &shown["periods"][0];
    assert_eq!(
        (&day["period"], &day["spent"]["calls"], &day["reserved"]["calls"]),
        (&json!("day"), &json!(1), &json!(0)),
        "{shown}"
    );
    assert!(day["spent"]["tokens"].as_u64() > Some(0) && day["ends_at"].is_i64(), "{shown}");
    let (_, of_session) = world.call("GET", &format!("/v1/tenure/sessions/{session}/budgets"), None).await;
    let ids: Vec<&str> =
        of_session["data"].as_array().expect("a list").iter().filter_map(|it| it["id"].as_str()).collect();
    assert_eq!(ids.len(), 2, "{of_session}");
    assert!(ids[0].starts_with(&format!("agent/{}/day/", one["id"].as_str().expect("an id"))), "{ids:?}");

    // Raised, the next message runs; taken away, nothing is limited and what was used stays counted.
    let (status, _) =
        put(&world, "one", json!({"limits": {"day": {"calls": 2}}, "expected_version": 1})).await;
    assert_eq!(status, 200);
    assert_eq!(turn(&world, &one).await.1["status"], "completed");
    let (status, gone) = put(&world, "one", json!({"limits": {}})).await;
    assert_eq!((status, &gone["limits"], &gone["periods"]), (200, &json!({}), &json!([])), "{gone}");
    let (_, list) = world.call("GET", PATH, None).await;
    assert_eq!(list["data"], json!([]), "{list}");
    let (status, again) = put(&world, "one", json!({"limits": {"day": {"calls": 5}}})).await;
    assert_eq!((status, &again["version"]), (200, &json!(4)), "{again}");
    assert_eq!(again["periods"][0]["spent"]["calls"], 2, "{again}");
    world.call("GET", "/v1/tenure/audit", None).await;
    let (_, records) = world.call("GET", "/v1/tenure/audit/records?limit=1000", None).await;
    let sets = records["data"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|it| it.to_string().contains("budgets.set"));
    assert_eq!(sets.count(), 4, "each change is recorded, and nothing else");
}

#[tokio::test]
async fn of_the_files_limit_and_the_projects_own_the_lower_holds() {
    let agents = [("cautious".to_owned(), calls(1))].into();
    let budgets = FileBudgets { project: calls(3), session: calls(50), agents };
    let world = World::limited(Limits { budgets, ..Limits::default() }).await;
    let (cautious, bold) = (agent(&world, "cautious").await, agent(&world, "bold").await);
    let (_, list) = world.call("GET", PATH, None).await;
    let ids: Vec<&Value> = list["data"].as_array().expect("a list").iter().map(|it| &it["id"]).collect();
    assert_eq!(ids, [&json!("project"), &json!("session"), &cautious["id"]], "{list}");
    let (_, more) = put(&world, "project", json!({"limits": {"total": {"calls": 1_000}}})).await;
    assert_eq!(more["in_force"], json!({"total": {"calls": 3}}), "a project cannot give itself more: {more}");
    let codes = async |agent: &Value| turn(&world, agent).await.1["error"]["code"].clone();
    assert_eq!(codes(&cautious).await, Value::Null);
    assert_eq!(codes(&cautious).await, "agent_budget_exceeded");
    assert_eq!(codes(&bold).await, Value::Null);
    assert_eq!(codes(&bold).await, Value::Null);
    assert_eq!(codes(&bold).await, "project_budget_exceeded");
    let (_, less) = put(&world, "session", json!({"limits": {"total": {"calls": 0}}})).await;
    assert_eq!(
        (&less["in_force"], &less["periods"]),
        (&json!({"total": {"calls": 0}}), &json!([])),
        "{less}"
    );
    assert_eq!(codes(&bold).await, "session_budget_exceeded", "its own is looked at first");
}

#[tokio::test]
async fn what_is_no_limit_is_refused() {
    let world = World::new().await;
    agent(&world, "one").await;
    for (target, body, status, param) in [
        ("project", json!({}), 400, "limits"),
        ("project", json!({"limits": 5}), 400, "limits"),
        ("project", json!({"limits": {"week": {}}}), 400, "limits.week"),
        ("project", json!({"limits": {"day": []}}), 400, "limits.day"),
        ("project", json!({"limits": {"day": {"money": 5}}}), 400, "limits.day.money"),
        ("project", json!({"limits": {"day": {"money_micros": -1}}}), 400, "limits.day.money_micros"),
        ("project", json!({"limits": {"day": {"money_micros": 1.5}}}), 400, "limits.day.money_micros"),
        ("project", json!({"limits": {"day": {"tokens": "many"}}}), 400, "limits.day.tokens"),
        (
            "project",
            json!({"limits": {"day": {"calls": 10_000_000_000_000_000_u64}}}),
            400,
            "limits.day.calls",
        ),
        (
            "project",
            json!({"limits": {"day": {"seconds": 1_000_000_000_000_001_u64}}}),
            400,
            "limits.day.seconds",
        ),
        ("project", json!({"limits": {}, "more": 1}), 400, "more"),
        ("project", json!({"limits": {}, "expected_version": "1"}), 400, "expected_version"),
        ("project", json!({"limits": {}, "expected_version": 1}), 409, "expected_version"),
        ("nobody", json!({"limits": {}}), 404, ""),
        ("sess_00000000000000000000000000000000", json!({"limits": {}}), 404, ""),
    ] {
        let (found, answer) = put(&world, target, body.clone()).await;
        assert_eq!(found, status, "{body}: {answer}");
        let text = answer.to_string();
        assert!(text.contains(param), "{body} names {param}: {text}");
    }
    let (_, untouched) = world.call("GET", &format!("{PATH}/project"), None).await;
    assert_eq!((&untouched["version"], &untouched["in_force"]), (&json!(0), &json!({})), "{untouched}");
    let (status, _) =
        world.call("GET", "/v1/tenure/sessions/sess_00000000000000000000000000000000/budgets", None).await;
    assert_eq!(status, 404);
    let (status, list) = world.call("GET", &format!("{PATH}?after=nobody"), None).await;
    assert_eq!(status, 400, "{list}");
    let (_, other) = put(&world, "one", json!({"limits": {"day": {"calls": 1}}})).await;
    assert_eq!(other["version"], 1);
    let foreign = [("authorization", &format!("Bearer {OTHER_KEY}")[..])];
    let (status, answer) = world.call_with("GET", &format!("{PATH}/one"), None, &foreign).await;
    assert_eq!(status, 404, "another project knows nothing of it: {answer}");
}

#[tokio::test]
async fn a_subagents_calls_are_its_agents_whatever_it_is_called() {
    let agents = [("named".to_owned(), calls(1_000))].into();
    let budgets = FileBudgets { agents, ..FileBudgets::default() };
    let world = World::limited(Limits { budgets, ..Limits::default() }).await;
    let named = agent(&world, "named").await;
    let body = json!({"agent_id": named["id"], "environment": {"type": "none"}, "input": "delegate",
        "agent": {"multi_agent": {"enabled": true}}});
    let session = world.session(body).await;
    let path = format!("/v1/agents/sessions/{}/subagents", session["id"].as_str().expect("an id"));
    let (_, subagents) = world.call("GET", &path, None).await;
    let path = format!("{path}/{}/turns", subagents["data"][0]["id"].as_str().expect("a subagent"));
    let ended = async {
        while !world.call("GET", &path, None).await.1["data"][0]["completed_at"].is_i64() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("in time");
    world.call("GET", "/v1/tenure/audit", None).await;
    let (_, records) = world.call("GET", "/v1/tenure/audit/records?limit=1000", None).await;
    let records = records["data"].as_array().expect("a list");
    let attempts = |of: &str| {
        let is_attempt =
            |text: &String| text.contains("attempt_started") && text.contains("route") && text.contains(of);
        records.iter().map(Value::to_string).filter(is_attempt).count()
    };
    let own = attempts(session["id"].as_str().expect("an id"));
    assert!(own > 0 && attempts("") > own, "both asked a model");
    let (_, budget) = world.call("GET", &format!("{PATH}/named"), None).await;
    assert_eq!(budget["periods"][0]["spent"]["calls"], attempts(""), "{budget}");
}

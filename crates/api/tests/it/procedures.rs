//! Procedures over HTTP: written by people, proposed by agents, answered by whoever may decide, and nobody's of another
//! scope or project.

use serde_json::{Value, json};

use crate::erasures::until;
use crate::facts::Desk;
use crate::support::{OTHER_KEY, World};

const PROCEDURES: &str = "/v1/tenure/memory/procedures";
const SETTINGS: &str = "/v1/tenure/memory/settings";

fn refund(scope: &str) -> Value {
    json!({"scope": scope, "name": "refund-order", "description": "To refund an order.",
        "steps": "1. Find it.\n2. Refund it.\n"})
}

/// The arguments of a proposal.
fn proposal(steps: &str) -> Value {
    json!({"name": "refund-order", "description": "To refund an order.", "steps": steps})
}

/// Procedures of a scope, by name, status and steps.
async fn found(desk: &Desk, query: &str) -> Vec<(String, String, String)> {
    let (status, found) = desk.world.call("GET", &format!("{PROCEDURES}?{query}"), None).await;
    assert_eq!(status, 200, "{found}");
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let row = |row: &Value| (text(row, "name"), text(row, "status"), text(row, "steps"));
    found["data"].as_array().expect("a list").iter().map(row).collect()
}

fn row(status: &str, steps: &str) -> (String, String, String) {
    ("refund-order".to_owned(), status.to_owned(), steps.to_owned())
}

async fn waiting(desk: &Desk, scope: &str) -> String {
    let (_, found) =
        desk.world.call("GET", &format!("{PROCEDURES}?scope={scope}&status=proposed"), None).await;
    found["data"][0]["id"].as_str().unwrap_or_else(|| panic!("nothing waits: {found}")).to_owned()
}

#[tokio::test]
async fn what_a_person_writes_is_in_force_at_once() {
    let desk = Desk::new().await;
    let (status, made) = desk.post(PROCEDURES, refund("project")).await;
    assert_eq!(status, 200, "{made}");
    assert_eq!(
        (&made["status"], &made["version"], &made["steps"], &made["accepted_by"]),
        (&json!("accepted"), &json!(1), &json!("1. Find it.\n2. Refund it."), &Value::Null),
        "{made}"
    );
    assert_eq!(made["sources"][0]["type"], "caller", "{made}");
    let path = format!("{PROCEDURES}/{}", made["id"].as_str().expect("an id"));
    assert_eq!(desk.world.call("GET", &path, None).await.1, made);
    let (_, read) = desk.calls("ada", "memory_procedure", &json!({"name": "refund-order"})).await;
    assert_eq!((&read["steps"], &read["scope"]), (&made["steps"], &json!("project")), "{read}");
    assert_eq!(read["sources"], json!([{"by": "a person"}]), "{read}");
    assert!(read.get("labels").is_none(), "{read}");

    let again =
        json!({"scope": "project", "name": "refund-order", "description": "To refund.", "steps": "Ask."});
    let (_, again) = desk.post(PROCEDURES, again).await;
    assert_eq!((&again["id"], &again["version"]), (&made["id"], &json!(2)), "{again}");
    assert_eq!(desk.world.call("DELETE", &path, None).await.0, 200);
    assert_eq!(desk.world.call("GET", &path, None).await.0, 404);
    assert_eq!(desk.world.call("DELETE", &path, None).await.0, 404);
    assert_eq!(found(&desk, "scope=project").await, []);
    let (_, history) = desk.world.call("GET", &format!("{path}/history"), None).await;
    let deleted: Vec<&Value> =
        history["data"].as_array().expect("a list").iter().map(|one| &one["deleted"]).collect();
    assert_eq!(deleted, [false, false, true]);
    let (_, back) = desk.post(PROCEDURES, refund("project")).await;
    assert_eq!(back["version"], json!(4), "one that was removed goes on with its versions");
    let (_, gone) = desk.calls("ada", "memory_procedure", &json!({"name": "unheard-of"})).await;
    assert!(gone.as_str().is_some_and(|words| words.contains("nothing of that id or name")), "{gone}");
}

#[tokio::test]
async fn what_an_agent_proposes_waits_in_every_scope_whatever_the_settings_say() {
    let desk = Desk::new().await;
    let agent = desk.space("ada").split(':').nth(1).expect("an agent").to_owned();
    for (scope, word) in [
        ("project".to_owned(), "project"),
        (format!("agent:{agent}"), "agent"),
        ("user:ada".to_owned(), "user"),
        (desk.space("ada"), "space"),
    ] {
        desk.world.call("PUT", SETTINGS, Some(json!({"scope": scope, "review": false}))).await;
        let mut arguments = proposal("1. Find it.");
        arguments["scope"] = json!(word);
        let (session, told) = desk.calls("ada", "memory_propose_procedure", &arguments).await;
        assert_eq!(
            (told["outcome"].as_str(), &told["scope"]),
            (Some("proposed; it is not used before a person accepts it"), &json!(word)),
            "{told}"
        );
        assert_eq!(found(&desk, &format!("scope={scope}")).await, [row("proposed", "1. Find it.")]);
        assert_eq!(found(&desk, &format!("scope={scope}&status=accepted")).await, []);
        let id = waiting(&desk, &scope).await;
        let (_, shown) = desk.world.call("GET", &format!("{PROCEDURES}/{id}"), None).await;
        assert_eq!(shown["sources"][0]["session_id"], session["id"], "{shown}");
        let read = json!({"name": "refund-order", "scope": word});
        let (_, read) = desk.calls("ada", "memory_procedure", &read).await;
        assert!(read.as_str().is_some_and(|words| words.contains("nothing of that")), "{read}");
    }
    // A session's own scope is no exception; nobody else can look for it there.
    let mut arguments = proposal("1. Find it.");
    arguments["scope"] = json!("session");
    let (session, told) = desk.calls("ada", "memory_propose_procedure", &arguments).await;
    let scope = format!("session:{}", session["id"].as_str().expect("an id"));
    assert_eq!(found(&desk, &format!("scope={scope}")).await, [row("proposed", "1. Find it.")], "{told}");
}

#[tokio::test]
async fn only_who_may_decide_answers_and_each_proposal_once() {
    let desk = Desk::new().await;
    desk.post(PROCEDURES, refund("project")).await;
    let mut arguments = proposal("1. Ask.\n2. Refund it.");
    arguments["scope"] = json!("project");
    desk.calls("ada", "memory_propose_procedure", &arguments).await;
    let id = waiting(&desk, "project").await;
    let path = format!("{PROCEDURES}/{id}");
    let (_, shown) = desk.world.call("GET", &path, None).await;
    assert_eq!(shown["revises"], json!(1), "{shown}");
    for verb in ["accept", "reject"] {
        let read_only = format!("Bearer {}", desk.world.read_only);
        for (authorization, status) in [(read_only, 403), (format!("Bearer {OTHER_KEY}"), 404)] {
            let headers = [("authorization", authorization.as_str())];
            let answer =
                desk.world.call_with("POST", &format!("{path}/{verb}"), Some(json!({})), &headers).await;
            assert_eq!(answer.0, status, "{verb}: {}", answer.1);
        }
    }
    let old = "1. Find it.\n2. Refund it.";
    let new = "1. Ask.\n2. Refund it.";
    assert_eq!(found(&desk, "scope=project").await, [row("accepted", old), row("proposed", new)]);

    let headers = [("idempotency-key", "k1")];
    let (status, accepted) =
        desk.world.call_with("POST", &format!("{path}/accept"), Some(json!({})), &headers).await;
    assert_eq!(
        (status, &accepted["version"], &accepted["steps"]),
        (200, &json!(2), &json!(new)),
        "{accepted}"
    );
    assert_eq!(
        (&accepted["accepted_by"]["type"], &accepted["sources"][0]["type"]),
        (&json!("caller"), &json!("agent"))
    );
    let (_, again) = desk.world.call_with("POST", &format!("{path}/accept"), Some(json!({})), &headers).await;
    assert_eq!(again, accepted, "a request with a key is carried out once");
    assert_eq!(desk.post(&format!("{path}/accept"), json!({})).await.0, 404, "it waits no more");
    assert_eq!(found(&desk, "scope=project").await, [row("accepted", new)]);
    let in_force = format!("{PROCEDURES}/{}", accepted["id"].as_str().expect("an id"));
    for verb in ["accept", "reject"] {
        let (status, refused) = desk.post(&format!("{in_force}/{verb}"), json!({})).await;
        assert!(status == 400 && refused.to_string().contains("does not wait"), "{verb}: {refused}");
    }

    arguments["steps"] = json!("Refund everything.");
    desk.calls("ada", "memory_propose_procedure", &arguments).await;
    let path = format!("{PROCEDURES}/{}", waiting(&desk, "project").await);
    let (_, rejected) = desk.post(&format!("{path}/reject"), json!({"reason": "too much"})).await;
    assert_eq!(
        (&rejected["status"], &rejected["reason"]),
        (&json!("rejected"), &json!("too much")),
        "{rejected}"
    );
    let (_, told) = desk.calls("ada", "memory_propose_procedure", &arguments).await;
    assert!(told.as_str().is_some_and(|words| words.contains("a person rejected")), "{told}");
    assert_eq!(found(&desk, "scope=project&status=rejected").await, [row("rejected", "Refund everything.")]);
    let (_, history) = desk.world.call("GET", &format!("{path}/history"), None).await;
    assert_eq!(history["data"].as_array().map(Vec::len), Some(2), "{history}");
}

#[tokio::test]
async fn a_request_with_a_key_writes_once_and_another_project_has_its_own() {
    let desk = Desk::new().await;
    let headers = [("idempotency-key", "k1")];
    let (_, first) = desk.world.call_with("POST", PROCEDURES, Some(refund("project")), &headers).await;
    let (_, again) = desk.world.call_with("POST", PROCEDURES, Some(refund("project")), &headers).await;
    assert_eq!((&again, &first["version"]), (&first, &json!(1)));
    let foreign = [("authorization", &*format!("Bearer {OTHER_KEY}"))];
    let path = format!("{PROCEDURES}/{}", first["id"].as_str().expect("an id"));
    for path in [format!("{PROCEDURES}?scope=project"), path.clone(), format!("{path}/history")] {
        let (status, found) = desk.world.call_with("GET", &path, None, &foreign).await;
        assert!(status == 404 || found["data"] == json!([]), "{path}: {found}");
    }
    assert_eq!(desk.world.call_with("DELETE", &path, None, &foreign).await.0, 404);
    let read_only = [("authorization", &*format!("Bearer {}", desk.world.read_only))];
    assert_eq!(desk.world.call_with("GET", &path, None, &read_only).await.0, 200);
    for (method, path, body) in
        [("POST", PROCEDURES, Some(refund("project"))), ("DELETE", path.as_str(), None)]
    {
        assert_eq!(desk.world.call_with(method, path, body, &read_only).await.0, 403, "{method} {path}");
    }
}

#[tokio::test]
async fn mistakes_name_their_member() {
    let desk = Desk::new().await;
    let with = |member: &str, value: Value| {
        let mut body = refund("project");
        body[member] = value;
        body
    };
    let without = |member: &str| {
        let mut body = refund("project");
        body.as_object_mut().expect("an object").remove(member);
        body
    };
    for (body, member) in [
        (without("scope"), "scope"),
        (without("name"), "name"),
        (without("description"), "description"),
        (without("steps"), "steps"),
        (with("scope", json!("everybody")), "scope"),
        (with("name", json!("Refund order")), "name"),
        (with("name", json!("a--b")), "name"),
        (with("name", json!("../skill")), "name"),
        (with("name", json!("x".repeat(65))), "name"),
        (with("description", json!("")), "description"),
        (with("description", json!("x".repeat(1_025))), "description"),
        (with("steps", json!(" \n\t")), "steps"),
        (with("steps", json!("x".repeat(8 * 1_024 + 1))), "steps"),
        (with("steps", json!(["1"])), "steps"),
        (with("status", json!("accepted")), "status"),
        (with("labels", json!({})), "labels"),
    ] {
        let (status, refused) = desk.post(PROCEDURES, body.clone()).await;
        assert!(status == 400 && refused.to_string().contains(member), "{body}: {refused}");
    }
    for query in ["", "?scope=nobody", "?scope=project&status=old", "?scope=project&state=accepted"] {
        assert_eq!(desk.world.call("GET", &format!("{PROCEDURES}{query}"), None).await.0, 400, "{query}");
    }
    for path in ["x", "x/history", "a.b.c", "a.b.c/history"] {
        assert_eq!(desk.world.call("GET", &format!("{PROCEDURES}/{path}"), None).await.0, 404, "{path}");
    }
    for (member, value, words) in [
        ("name", json!(7), "`name` must be a string"),
        ("name", json!("Refund"), "`name` must have 1 to 64"),
        ("description", json!(""), "`description` is missing"),
        ("description", json!("x".repeat(1_025)), "`description` must have at most"),
        ("steps", Value::Null, "`steps` is missing"),
        ("steps", json!("x".repeat(8 * 1_024 + 1)), "`steps` must have at most"),
        ("scope", json!("world"), "`scope` must be one of"),
    ] {
        let mut arguments = proposal("1. Find it.");
        arguments[member] = value;
        let (_, told) = desk.calls("ada", "memory_propose_procedure", &arguments).await;
        assert!(told.as_str().is_some_and(|told| told.contains(words)), "{member}: {told}");
    }
    let (_, told) = desk.calls("ada", "memory_procedure", &json!({})).await;
    assert!(told.as_str().is_some_and(|told| told.contains("`name` is missing")), "{told}");
    assert_eq!(found(&desk, &format!("scope={}", desk.space("ada"))).await, []);
}

#[tokio::test]
async fn policies_decide_about_procedures_of_each_scope() {
    let desk = Desk::new().await;
    let (_, made) = desk.post(PROCEDURES, refund("project")).await;
    let mut arguments = proposal("1. Ask.");
    arguments["scope"] = json!("project");
    desk.calls("ada", "memory_propose_procedure", &arguments).await;
    let text = r#"@id("sealed") forbid (principal, action == Action::"memory.write", resource)
        when { resource.scope == "project" };
        @id("private") forbid (principal, action == Action::"memory.read", resource)
        when { resource == MemoryStore::"user/*/ada" };"#;
    let files = json!({"files": [{"name": "own.cedar", "text": text}]});
    assert_eq!(desk.post("/v1/tenure/policies", files).await.0, 201);
    let (id, waits) = (made["id"].as_str().expect("an id"), waiting(&desk, "project").await);
    for (method, path, body) in [
        ("POST", PROCEDURES.to_owned(), refund("project")),
        ("POST", format!("{PROCEDURES}/{waits}/accept"), json!({})),
        ("POST", format!("{PROCEDURES}/{waits}/reject"), json!({})),
        ("DELETE", format!("{PROCEDURES}/{id}"), Value::Null),
        ("GET", format!("{PROCEDURES}?scope=user:ada"), Value::Null),
    ] {
        let (status, refused) = desk.world.call(method, &path, (!body.is_null()).then_some(body)).await;
        assert_eq!(status, 403, "{method} {path}: {refused}");
    }
    let (_, refused) = desk.calls("ada", "memory_propose_procedure", &arguments).await;
    assert!(refused.as_str().is_some_and(|words| words.contains("Policy does not allow")), "{refused}");
    let named = json!({"name": "refund-order", "scope": "user"});
    let (_, refused) = desk.calls("ada", "memory_procedure", &named).await;
    assert!(refused.as_str().is_some_and(|words| words.contains("Policy does not allow")), "{refused}");
    assert_eq!(found(&desk, "scope=project").await.len(), 2, "all is as it was");
}

#[tokio::test]
async fn no_byte_of_what_rests_on_somebody_is_left() {
    let desk = Desk::of(World::alone().await).await;
    desk.post(PROCEDURES, refund("project")).await;
    // Words of her own are the longest of each message: what others said as well would be found.
    for (user, word, name) in [
        ("ada", "Ask the zanzibarcanary first, and then the shop that sold it.", "refund-order"),
        ("bob", "The other way.", "refund-for-bob"),
    ] {
        for (scope, name) in [("project", name.to_owned()), ("agent", format!("way-of-{user}"))] {
            let mut arguments = proposal(word);
            arguments["scope"] = json!(scope);
            arguments["name"] = json!(name);
            let (_, told) = desk.calls(user, "memory_propose_procedure", &arguments).await;
            assert!(
                told["outcome"].as_str().is_some_and(|outcome| outcome.starts_with("proposed")),
                "{told}"
            );
        }
    }
    let agent = format!("agent:{}", desk.space("ada").split(':').nth(1).expect("an agent"));
    for _ in 0..2 {
        let path = format!("{PROCEDURES}/{}/accept", waiting(&desk, &agent).await);
        assert_eq!(desk.post(&path, json!({})).await.0, 200);
    }
    let mut hers = refund("user:ada");
    hers["steps"] = json!("What zanzibarcanary wants.");
    let (_, made) = desk.post(PROCEDURES, hers).await;
    let path = format!("{PROCEDURES}/{}", made["id"].as_str().expect("an id"));
    assert_eq!(desk.world.call("DELETE", &path, None).await.0, 200);

    let body = json!({"subject": "ada", "verify": ["zanzibarcanary"]});
    let (status, erasure) = desk.post("/v1/tenure/memory/forget", body).await;
    assert_eq!(status, 202, "{erasure}");
    let done = until(&desk.world, erasure["id"].as_str().expect("an id"), "done").await;
    assert!(done["receipt"].as_str().is_some_and(|receipt| receipt.contains(r#""found":{}"#)), "{done}");
    assert_eq!(done["rows"]["documents.procedure"], json!(3), "accepted, and written and removed: {done}");
    assert_eq!(done["rows"]["documents.procedure_proposal"], json!(3), "one waits, one was answered: {done}");
    let left = found(&desk, "scope=project").await;
    let names: Vec<&str> = left.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["refund-order", "refund-for-bob"], "what a person wrote stays, and what he proposed");
    assert_eq!(left[0], row("accepted", "1. Find it.\n2. Refund it."));
    let left = found(&desk, &format!("scope={agent}")).await;
    assert_eq!(left.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), ["way-of-bob"]);
}

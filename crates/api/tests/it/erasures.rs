//! What is forgotten is gone for whoever asks, and a signed receipt says so; what others said stays.

use serde_json::{Value, json};
use tenure_audit::{Receipt, VerifierKey};

use crate::support::{OTHER_KEY, World};

const FORGET: &str = "/v1/tenure/memory/forget";
const ERASURES: &str = "/v1/tenure/memory/erasures";
const SESSIONS: &str = "/v1/agents/sessions";
/// Long enough to be no part of a digest by chance.
const ADA: &str = "ada-of-the-test";

fn id(value: &Value) -> &str {
    value["id"].as_str().unwrap_or_else(|| panic!("an id in {value}"))
}

async fn say(world: &World, agent: &str, user: &str, text: &str) -> Value {
    let body = json!({"agent_id": agent, "environment": {"type": "none"}, "metadata": {"user_id": user},
        "input": text, "agent": {"multi_agent": {"enabled": true}}});
    world.session(body).await
}

async fn agent(world: &World) -> String {
    let (status, made) = world.call("POST", "/v1/agents", Some(json!({"model": "m1", "name": "ops"}))).await;
    assert_eq!(status, 201, "{made}");
    id(&made).to_owned()
}

/// Asks how an erasure stands until it is at `status`.
pub(crate) async fn until(world: &World, erasure: &str, status: &str) -> Value {
    let look = async {
        loop {
            let (code, found) = world.call("GET", &format!("{ERASURES}/{erasure}"), None).await;
            assert_eq!(code, 200, "{found}");
            assert_eq!(found["problem"], json!(null), "{found}");
            // It waits there for payloads to grow old, and says until when.
            if found["status"] == status {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), look).await.expect("it goes on")
}

#[tokio::test]
async fn everything_of_a_user_goes_and_a_receipt_says_so() {
    let world = World::alone().await;
    let agent = agent(&world).await;
    let hers = say(&world, &agent, ADA, "delegate the canary errand").await;
    let (status, fork) = world
        .call("POST", &format!("/v1/tenure/sessions/{}/fork", id(&hers)), Some(json!({"at": "latest"})))
        .await;
    assert_eq!(status, 201, "{fork}");
    let his = say(&world, &agent, "bob", "another errand").await;

    let plan = json!({"subject": ADA, "dry_run": true});
    let (status, plan) = world.call("POST", FORGET, Some(plan)).await;
    assert_eq!((status, &plan["object"]), (200, &json!("tenure.erasure.plan")), "{plan}");
    let (hers, fork, his) = (id(&hers), id(&fork), id(&his));
    let sessions: Vec<&str> =
        plan["sessions"].as_array().expect("ids").iter().filter_map(Value::as_str).collect();
    // Hers, that of her subagent, her fork.
    assert!(sessions.contains(&hers) && sessions.contains(&fork) && !sessions.contains(&his), "{plan}");
    assert_eq!(world.call("GET", &format!("{SESSIONS}/{hers}"), None).await.0, 200, "nothing has gone");

    let body = json!({"subject": ADA, "verify": ["canary errand"]});
    let (status, erasure) = world.call("POST", FORGET, Some(body)).await;
    assert_eq!(status, 202, "{erasure}");
    assert!(!erasure.to_string().contains(ADA), "nobody is named: {erasure}");
    let done = until(&world, id(&erasure), "done").await;
    for what in ["sessions", "items", "turns", "episodes", "documents.fork"] {
        assert_eq!(done["rows"][what], plan["rows"][what], "what was said to go went: {what}");
    }
    for gone in sessions {
        let (status, found) = world.call("GET", &format!("{SESSIONS}/{gone}"), None).await;
        assert_eq!(status, 404, "{found}");
    }
    let message = json!({"events": [{"type": "agent.session.input.message",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]}]});
    let (status, found) = world.call("POST", &format!("{SESSIONS}/{hers}/events"), Some(message)).await;
    assert_eq!(status, 404, "{found}");
    let asked = format!("/v1/tenure/memory/search?agent_id={agent}&question=errand");
    for (user, count) in [(ADA, 0), ("bob", 1)] {
        let (_, found) = world.call("GET", &format!("{asked}&user_id={user}"), None).await;
        let said = found["data"].as_array().expect("a list").iter().filter(|one| one["speaker"] == "user");
        assert_eq!(said.count(), count, "{user}: {found}");
    }
    assert_eq!(world.call("GET", &format!("{SESSIONS}/{his}"), None).await.0, 200);

    let (_, log) = world.call("GET", "/v1/tenure/audit", None).await;
    let key: VerifierKey = log["key"].as_str().expect("a key").parse().expect("a key");
    let note = done["receipt"].as_str().expect("a receipt");
    let receipt: Value =
        serde_json::from_str(&Receipt::open(note, &key).expect("signed").body).expect("JSON");
    assert_eq!(receipt["erasure"], erasure["id"]);
    assert_eq!(receipt["rows"], done["rows"]);
    assert_eq!(receipt["sessions"]["count"], json!(plan["sessions"].as_array().expect("ids").len()));
    assert_eq!(receipt["verified"]["found"], json!({}), "{receipt}");
    // The text that was named, and what was said, if it is long enough to be nobody else's.
    assert_eq!(receipt["verified"]["texts"], json!(2), "{receipt}");
    assert!(!note.contains(ADA), "{note}");

    // The log says what was asked and which receipt there is, and nobody's name.
    let (_, records) = world.call("GET", "/v1/tenure/audit/records?limit=1000", None).await;
    let records = records.to_string();
    assert!(records.contains("memory.forget") && records.contains("memory.forgotten"), "{records}");
    assert!(!records.contains(ADA) && !records.contains("canary"), "{records}");
    let (_, found) = world.call("GET", &format!("{ERASURES}?subject={ADA}"), None).await;
    assert_eq!(found["data"].as_array().map(Vec::len), Some(1), "{found}");
    let (_, found) = world.call("GET", &format!("{ERASURES}?subject=bob"), None).await;
    assert_eq!(found["data"], json!([]), "{found}");

    // She may come back, as somebody who was never there.
    say(&world, &agent, ADA, "hello again").await;
}

#[tokio::test]
async fn a_session_goes_while_it_works() {
    let world = World::alone().await;
    let agent = agent(&world).await;
    let body = json!({"agent_id": agent, "environment": {"type": "none"}, "input": "stall here"});
    let (status, busy) = world.call("POST", SESSIONS, Some(body)).await;
    assert_eq!(status, 201, "{busy}");
    let (status, erasure) = world.call("POST", FORGET, Some(json!({"session_id": id(&busy)}))).await;
    assert_eq!((status, &erasure["session_id"]), (202, &busy["id"]), "{erasure}");
    until(&world, id(&erasure), "done").await;
    assert_eq!(world.call("GET", &format!("{SESSIONS}/{}", id(&busy)), None).await.0, 404);
}

/// Where others share the store, payloads wait until nobody can be about to refer to them; so long nothing begins for
/// whom it is about.
#[tokio::test]
async fn nothing_begins_for_who_is_being_erased() {
    let world = World::new().await;
    let agent = agent(&world).await;
    let hers = say(&world, &agent, "ada", "hi").await;
    let his = say(&world, &agent, "bob", "hi").await;
    let (status, erasure) = world.call("POST", FORGET, Some(json!({"subject": "ada"}))).await;
    assert_eq!(status, 202, "{erasure}");
    let waits = until(&world, id(&erasure), "payloads").await;
    assert_eq!(waits["receipt"], json!(null), "{waits}");
    assert_eq!(world.call("GET", &format!("{SESSIONS}/{}", id(&hers)), None).await.0, 404);
    let (status, again) = world.call("POST", FORGET, Some(json!({"subject": "ada"}))).await;
    assert_eq!((status, &again["id"]), (202, &erasure["id"]), "it is the same erasure: {again}");

    let metadata = json!({"user_id": "ada"});
    let open =
        json!({"agent_id": agent, "environment": {"type": "none"}, "metadata": metadata, "input": "hi"});
    let become_hers = json!({"metadata": metadata});
    for (path, body) in [(SESSIONS.to_owned(), open), (format!("{SESSIONS}/{}", id(&his)), become_hers)] {
        let (status, refused) = world.call("POST", &path, Some(body)).await;
        assert_eq!((status, &refused["error"]["code"]), (409, &json!("being_erased")), "{path}: {refused}");
    }
    say(&world, &agent, "bob", "hi").await;
}

#[tokio::test]
async fn mistakes_name_their_parameter() {
    let world = World::new().await;
    let unknown = "sess_0190d5e4aabb7ccd8eeff00112233445";
    let long = "x".repeat(600);
    for (body, status, param) in [
        (json!({}), 400, "subject"),
        (json!({"subject": "ada", "session_id": unknown}), 400, "subject"),
        (json!({"subject": ""}), 400, "subject"),
        (json!({"subject": long}), 400, "subject"),
        (json!({"subject": 7}), 400, "subject"),
        (json!({"session_id": "x"}), 404, "session_id"),
        (json!({"file_id": "x"}), 404, "file_id"),
        (json!({"file_id": "x", "session_id": unknown}), 400, "subject"),
        (json!({"subject": "ada", "verify": ["abc"]}), 400, "verify[0]"),
        (json!({"subject": "ada", "verify": ["fine", "\"\\\"\\\""]}), 400, "verify[1]"),
        (json!({"subject": "ada", "verify": "text"}), 400, "verify"),
        (json!({"subject": "ada", "dry_run": 1}), 400, "dry_run"),
        (json!({"subject": "ada", "everything": true}), 400, "everything"),
    ] {
        let (found, refused) = world.call("POST", FORGET, Some(body.clone())).await;
        assert_eq!((found, &refused["param"]), (status, &json!(param)), "{body}: {refused}");
    }
    let (status, refused) = world.call("POST", FORGET, Some(json!({"session_id": unknown}))).await;
    assert_eq!(status, 404, "{refused}");
    let nowhere = json!({"file_id": "file_0190d5e4aabb7ccd8eeff00112233445"});
    let (status, refused) = world.call("POST", FORGET, Some(nowhere)).await;
    assert_eq!((status, &refused["detail"]), (404, &json!("No file with that id was found.")), "{refused}");
    let (_, none) = world.call("GET", ERASURES, None).await;
    assert_eq!(none["data"], json!([]), "what was refused left nothing: {none}");
}

#[tokio::test]
async fn one_fact_goes_with_its_past_and_the_receipt_says_where_it_was_said() {
    const FACTS: &str = "/v1/tenure/memory/facts";
    let world = World::alone().await;
    let agent = agent(&world).await;
    let said = |statement: &str| json!({"scope": "project", "statement": statement});
    let first = said("The vault of the canary bank opens at noon.");
    let (status, fact) = world.call("POST", FACTS, Some(first)).await;
    assert_eq!(status, 201, "{fact}");
    let (_, other) = world.call("POST", FACTS, Some(said("Billing uses SQLite these days."))).await;
    let (fact, other) = (id(&fact), id(&other));
    // It was said in a session, too, which stays.
    let session = say(&world, &agent, "bob", "The vault of the canary bank opens at noon.").await;

    let plan = json!({"fact_id": fact, "dry_run": true});
    let (_, plan) = world.call("POST", FORGET, Some(plan)).await;
    assert_eq!((&plan["sessions"], &plan["rows"]["documents.fact"]), (&json!([]), &json!(1)), "{plan}");
    let (status, erasure) = world.call("POST", FORGET, Some(json!({"fact_id": fact}))).await;
    assert_eq!((status, &erasure["fact_id"]), (202, &json!(fact)), "{erasure}");
    let done = until(&world, id(&erasure), "done").await;
    assert_eq!(done["rows"]["documents.fact"], json!(1), "{done}");
    assert_eq!(world.call("GET", &format!("{FACTS}/{fact}"), None).await.0, 404);
    assert_eq!(world.call("GET", &format!("{FACTS}/{other}"), None).await.0, 200);
    assert_eq!(world.call("GET", &format!("{SESSIONS}/{}", id(&session)), None).await.0, 200);

    let (_, log) = world.call("GET", "/v1/tenure/audit", None).await;
    let key: VerifierKey = log["key"].as_str().expect("a key").parse().expect("a key");
    let note = done["receipt"].as_str().expect("a receipt");
    let receipt: Value =
        serde_json::from_str(&Receipt::open(note, &key).expect("signed").body).expect("JSON");
    assert_eq!((&receipt["asked"], &receipt["verified"]["texts"]), (&json!({"fact": fact}), &json!(1)));
    let found = receipt["verified"]["found"].as_object().expect("places");
    assert!(!found.is_empty(), "the session still has it, and the receipt says so: {receipt}");
    assert!(!found.keys().any(|place| place.contains("document")), "no document has it: {receipt}");
    assert!(!note.contains("canary"), "{note}");
    let (status, gone) = world.call("POST", FORGET, Some(json!({"fact_id": fact}))).await;
    assert_eq!((status, &gone["detail"]), (404, &json!("No fact with that id was found.")), "{gone}");

    // With the session nothing of it is left.
    let body = json!({"session_id": session["id"], "verify": ["vault of the canary bank"]});
    let (_, erasure) = world.call("POST", FORGET, Some(body)).await;
    let done = until(&world, id(&erasure), "done").await;
    let receipt = Receipt::open(done["receipt"].as_str().expect("a receipt"), &key).expect("signed");
    let receipt: Value = serde_json::from_str(&receipt.body).expect("JSON");
    assert_eq!(receipt["verified"]["found"], json!({}), "{receipt}");
}

#[tokio::test]
async fn one_project_erases_nothing_of_another() {
    let world = World::new().await;
    let agent = agent(&world).await;
    let hers = say(&world, &agent, "ada", "hi").await;
    let foreign = [("authorization", &format!("Bearer {OTHER_KEY}")[..])];
    let body = json!({"session_id": hers["id"]});
    assert_eq!(world.call_with("POST", FORGET, Some(body), &foreign).await.0, 404);
    let plan = json!({"subject": "ada", "dry_run": true});
    let (_, plan) = world.call_with("POST", FORGET, Some(plan), &foreign).await;
    assert_eq!((&plan["sessions"], &plan["rows"]), (&json!([]), &json!({})), "{plan}");
    let (_, erasure) = world.call_with("POST", FORGET, Some(json!({"subject": "ada"})), &foreign).await;
    assert_eq!(world.call("GET", &format!("{ERASURES}/{}", id(&erasure)), None).await.0, 404);
    assert_eq!(world.call("GET", &format!("{SESSIONS}/{}", id(&hers)), None).await.0, 200);
}

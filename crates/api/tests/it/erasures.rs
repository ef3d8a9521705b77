//! What is forgotten is gone for whoever asks, and a signed receipt says so; what others said stays.

use serde_json::{Value, json};
use tenure_audit::{Receipt, VerifierKey};
use tenure_journal::Timestamp;
use tenure_store::{Document, DocumentKind};

use crate::mirror::uploaded;
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

    let note = done["receipt"].as_str().expect("a receipt");
    let receipt = opened(&world, &done).await;
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

/// The body of a receipt that the project's key signed.
async fn opened(world: &World, erasure: &Value) -> Value {
    let (_, log) = world.call("GET", "/v1/tenure/audit", None).await;
    let key: VerifierKey = log["key"].as_str().expect("a key").parse().expect("a key");
    let note = erasure["receipt"].as_str().expect("a receipt");
    serde_json::from_str(&Receipt::open(note, &key).expect("signed").body).expect("JSON")
}

/// Gives an uploaded file to the sessions that an automation opens, as a server with environments would.
async fn give(world: &World, automation: &str, file: &str) {
    let store = world.runtime.store();
    let far = Timestamp::from_millis(i64::MAX);
    let due = store.due_documents(DocumentKind::Automation, far, 9).await.expect("reads");
    let made = due.into_iter().find(|document| document.id == automation).expect("the automation");
    let stored = store.document(made.project, DocumentKind::File, file, None).await.expect("reads");
    let blob = &stored.expect("the file").body["pieces"][0];
    let files = json!([{"path": "/workspace/a.txt", "blob": blob, "file_id": file}]);
    let mut given = Document { version: made.version + 1, ..made };
    given.body["target"]["environment"] = json!({"type": "hosted", "settings": {"files": files}});
    store.put(vec![given], None).await.expect("writes");
}

#[tokio::test]
async fn what_would_open_sessions_of_a_user_goes_too() {
    const AUTOMATIONS: &str = "/v1/agents/automations";
    let world = World::alone().await;
    let agent = agent(&world).await;
    let automation = |user: &str| {
        let target = json!({"type": "new_session", "agent_id": agent, "environment": {"type": "none"},
            "metadata": {"user_id": user}, "input": "Ask for the canary report."});
        json!({"type": "once", "name": "weekly", "run_at": 32_503_680_000_i64, "target": target})
    };
    let file =
        uploaded(&world, "/v1/files", &[("purpose", None, "user_data"), ("file", Some("a.txt"), "hi")]).await;
    let mut labelled = automation("bob");
    labelled["metadata"] = json!({"user_id": ADA});
    let mut made = Vec::new();
    for automation in [automation(ADA), automation(ADA), automation(ADA), labelled, automation("bob")] {
        let (status, automation) = world.call("POST", AUTOMATIONS, Some(automation)).await;
        assert_eq!(status, 201, "{automation}");
        made.push(id(&automation).to_owned());
    }
    give(&world, &made[0], id(&file)).await;
    // One has a delivery that waits, one is now somebody else's, one is deleted.
    let (status, queued) = world.call("POST", &format!("{AUTOMATIONS}/{}/invocations", made[0]), None).await;
    assert_eq!((status, &queued["status"]), (201, &json!("queued")), "{queued}");
    let (status, changed) = world
        .call(
            "POST",
            &format!("{AUTOMATIONS}/{}", made[1]),
            Some(json!({"target": automation("eve")["target"]})),
        )
        .await;
    assert_eq!(status, 200, "{changed}");
    let (status, gone) = world.call("DELETE", &format!("{AUTOMATIONS}/{}", made[2]), None).await;
    assert_eq!(status, 200, "{gone}");
    let settings = json!({"scope": format!("user:{ADA}"), "review": false});
    let (status, kept) = world.call("PUT", "/v1/tenure/memory/settings", Some(settings)).await;
    assert_eq!(status, 200, "{kept}");

    let (_, plan) = world.call("POST", FORGET, Some(json!({"subject": ADA, "dry_run": true}))).await;
    let rows = ["automation", "invocation", "memory_settings"]
        .map(|what| &plan["rows"][format!("documents.{what}")]);
    // Versions: made and given the file; made and changed; made and deleted; made.
    assert_eq!(rows, [&json!(7), &json!(1), &json!(1)], "{plan}");
    assert_eq!(plan["rows"]["documents.file"], json!(1), "what only her automation names: {plan}");
    let (status, erasure) = world.call("POST", FORGET, Some(json!({"subject": ADA, "verify": [ADA]}))).await;
    assert_eq!(status, 202, "{erasure}");
    let done = until(&world, id(&erasure), "done").await;
    assert_eq!(done["rows"], plan["rows"], "what was said to go went");
    for (automation, expected) in made.iter().zip([404, 404, 404, 404, 200]) {
        let (status, found) = world.call("GET", &format!("{AUTOMATIONS}/{automation}"), None).await;
        assert_eq!(status, expected, "{found}");
    }
    let receipt = opened(&world, &done).await;
    assert_eq!(receipt["verified"]["found"], json!({}), "her name is nowhere: {receipt}");
    assert_eq!(receipt["verified"]["texts"], json!(1), "{receipt}");
}

#[tokio::test]
async fn what_is_kept_for_a_scope_goes_and_nothing_else() {
    let world = World::alone().await;
    let agent = agent(&world).await;
    let session = say(&world, &agent, ADA, "hi").await;
    let (hers, everyones) = (format!("user:{ADA}"), "project".to_owned());
    for scope in [&hers, &everyones] {
        let fact = json!({"scope": scope, "statement": format!("The canary of {scope} sings at dawn.")});
        let (status, fact) = world.call("POST", "/v1/tenure/memory/facts", Some(fact)).await;
        assert_eq!(status, 201, "{fact}");
        let block = json!({"scope": scope, "name": "rules", "text": "Feed the canary."});
        let (status, block) = world.call("POST", "/v1/tenure/memory/blocks", Some(block)).await;
        assert_eq!(status, 200, "{block}");
        let settings = json!({"scope": scope, "review": true});
        let (status, kept) = world.call("PUT", "/v1/tenure/memory/settings", Some(settings)).await;
        assert_eq!(status, 200, "{kept}");
    }
    let (status, refused) = world.call("POST", FORGET, Some(json!({"scope": "everything"}))).await;
    assert_eq!((status, &refused["param"]), (400, &json!("scope")), "{refused}");

    let (_, plan) = world.call("POST", FORGET, Some(json!({"scope": hers, "dry_run": true}))).await;
    assert_eq!((&plan["sessions"], &plan["rows"]["documents.fact"]), (&json!([]), &json!(1)), "{plan}");
    let (status, erasure) = world.call("POST", FORGET, Some(json!({"scope": hers}))).await;
    assert_eq!(status, 202, "{erasure}");
    assert!(!erasure.to_string().contains(ADA), "nobody is named: {erasure}");
    let done = until(&world, id(&erasure), "done").await;
    assert_eq!((&done["rows"], &done["scope_digest"]), (&plan["rows"], &erasure["scope_digest"]), "{done}");
    for (scope, left) in [(&hers, 0), (&everyones, 1)] {
        for what in ["facts", "blocks"] {
            let (_, found) =
                world.call("GET", &format!("/v1/tenure/memory/{what}?scope={scope}"), None).await;
            assert_eq!(found["data"].as_array().map(Vec::len), Some(left), "{scope} {what}: {found}");
        }
        let (_, kept) = world.call("GET", &format!("/v1/tenure/memory/settings?scope={scope}"), None).await;
        assert_eq!(kept["review"], json!(true), "how it is written to stays: {kept}");
    }
    assert_eq!(world.call("GET", &format!("{SESSIONS}/{}", id(&session)), None).await.0, 200);
    let receipt = opened(&world, &done).await;
    assert_eq!(receipt["asked"], json!({"scope_digest": erasure["scope_digest"]}), "{receipt}");
    let verified = json!({"store": "scrubbed, then searched", "texts": 1, "found": {}});
    assert_eq!(receipt["verified"], verified, "{receipt}");
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
    let mut target = open.clone();
    target["type"] = json!("new_session");
    let later = json!({"type": "once", "name": "later", "run_at": 32_503_680_000_i64, "target": target});
    for (path, body) in [
        (SESSIONS.to_owned(), open),
        (format!("{SESSIONS}/{}", id(&his)), become_hers),
        ("/v1/agents/automations".to_owned(), later),
    ] {
        let (status, refused) = world.call("POST", &path, Some(body)).await;
        assert_eq!((status, &refused["error"]["code"]), (409, &json!("being_erased")), "{path}: {refused}");
    }
    let fact = json!({"scope": "user:ada", "statement": "She is here."});
    let (status, refused) = world.call("POST", "/v1/tenure/memory/facts", Some(fact)).await;
    assert_eq!((status, &refused["code"]), (409, &json!("being_erased")), "{refused}");
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

    let note = done["receipt"].as_str().expect("a receipt");
    let receipt = opened(&world, &done).await;
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
    let receipt = opened(&world, &done).await;
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

//! What the audit log is told of requests: changes, reads and denials, and by whom.

use std::time::Duration;

use serde_json::{Value, json};
use tenure_journal::{DigestKey, json as strict};

use crate::support::World;

/// The facts of requests in the log, once `wanted` of them are there.
async fn told(world: &World, wanted: usize) -> Vec<Value> {
    let ask = async {
        loop {
            world.call("GET", "/v1/tenure/audit", None).await;
            let (_, records) = world.call("GET", "/v1/tenure/audit/records?limit=1000", None).await;
            let facts = records["data"].as_array().expect("a list").iter().map(|entry| {
                let record: Value =
                    serde_json::from_str(entry["record"].as_str().expect("text")).expect("JSON");
                record["fact"].clone()
            });
            let facts: Vec<Value> =
                facts.filter(|fact| fact["type"] == "changed" || fact["type"] == "read").collect();
            if facts.len() >= wanted {
                return facts;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ask).await.expect("in time")
}

fn words(facts: &[Value]) -> Vec<String> {
    let word =
        |fact: &Value| format!("{} {} {}", fact["type"], fact["action"], fact["outcome"]).replace('"', "");
    facts.iter().map(word).collect()
}

#[tokio::test]
async fn every_change_is_recorded_once_with_who_made_it() {
    let world = World::new().await;
    let (_, who) = world.call("GET", "/v1/tenure/whoami", None).await;
    let headers = [("idempotency-key", "once")];
    let agent = json!({"model": "m1", "name": "a"});
    let (_, made) = world.call_with("POST", "/v1/agents", Some(agent.clone()), &headers).await;
    world.call_with("POST", "/v1/agents", Some(agent), &headers).await;
    let id = made["id"].as_str().expect("an id");
    let path = format!("/v1/agents/{id}");
    world.call("POST", &path, Some(json!({"instructions": "b"}))).await;
    world.call("POST", &path, Some(json!({"tools": 7}))).await;
    let hook = json!({"name": "h", "url": "https://hooks.example/", "event_types": ["agent.session.idle"]});
    world.call("POST", "/v1/tenure/webhooks", Some(hook)).await;
    let opening = json!({"agent_id": id, "environment": {"type": "none"}, "input": "hi"});
    let session = world.session(opening).await;
    let session = session["id"].as_str().expect("an id");
    world.call("DELETE", &format!("/v1/agents/sessions/{session}"), None).await;
    world.call("DELETE", &path, None).await;
    let mut facts = told(&world, 6).await;
    // What is recorded soon may come after what is recorded at once.
    facts.sort_by_key(|fact| fact["action"].to_string());
    assert_eq!(
        words(&facts),
        [
            "changed DELETE /agents/sessions/{session} done",
            "changed POST /agents/sessions done",
            "changed agent.create done",
            "changed agent.delete done",
            "changed agent.update done",
            "changed webhook.create done",
        ]
    );
    assert!(facts.iter().all(|fact| fact["by"] == who["id"]), "{facts:?}");
    assert_eq!((&facts[2]["resource"], &facts[1]["resource"]), (&json!(id), &json!(session)));
    let keyed = |fact: &Value| fact["arguments"].as_str().is_some_and(|text| text.starts_with("b3k:"));
    // What an agent is told to do is for auditors to compare; what is said to it is not for them to guess.
    assert_eq!(facts.iter().map(keyed).collect::<Vec<_>>(), [true, true, false, false, false, true]);
}

#[tokio::test]
async fn who_read_what_was_said_is_recorded_and_who_looked_at_lists_is_not() {
    let world = World::new().await;
    let session =
        world.session(json!({"agent": {"model": "m1"}, "environment": {"type": "none"}, "input": "hi"}));
    let path = format!("/v1/agents/sessions/{}", session.await["id"].as_str().expect("an id"));
    for read in [
        "/v1/agents",
        "/v1/agents/sessions",
        &path,
        &format!("{path}/items"),
        &format!("/openai{path}/turns"),
    ] {
        assert_eq!(world.call("GET", read, None).await.0, 200, "{read}");
    }
    let missing = format!("{}/items", path.replace("sess_0", "sess_f"));
    assert_eq!(world.call("GET", &missing, None).await.0, 404);
    let facts = told(&world, 3).await;
    assert_eq!(
        words(&facts),
        [
            "changed POST /agents/sessions done",
            "read GET /agents/sessions/{session}/items done",
            "read GET /agents/sessions/{session}/turns done",
        ]
    );
    assert_eq!(facts[2]["resource"], format!("{path}/turns"), "without the alias it was asked under");
}

#[tokio::test]
async fn a_denial_is_recorded_and_an_unknown_key_is_nobody() {
    let world = World::new().await;
    let read_only = format!("Bearer {}", world.read_only);
    let new = || Some(json!({"model": "m1", "name": "a"}));
    for (authorization, status) in [(read_only.as_str(), 403), ("Bearer nobody's", 401)] {
        let headers = [("authorization", authorization)];
        assert_eq!(world.call_with("POST", "/v1/agents", new(), &headers).await.0, status);
    }
    assert_eq!(words(&told(&world, 1).await), ["changed POST /agents denied"]);
}

#[tokio::test]
async fn what_somebody_said_is_not_to_be_guessed_and_can_be_shown_by_whoever_has_the_journal() {
    let world = World::new().await;
    let opening = json!({"agent": {"model": "m1"}, "environment": {"type": "none"}, "input": "hi"});
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let session = world.session(opening.clone()).await;
        sessions.push(session["id"].as_str().expect("an id").to_owned());
    }
    let metadata = json!({"metadata": {"answer": "yes"}});
    for session in &sessions {
        let path = format!("/v1/agents/sessions/{session}");
        assert_eq!(world.call("POST", &path, Some(metadata.clone())).await.0, 200);
    }
    let facts = told(&world, 4).await;
    let updates: Vec<&Value> =
        facts.iter().filter(|fact| fact["action"] == "POST /agents/sessions/{session}").collect();
    assert_eq!(updates.len(), 2, "{facts:?}");
    let plain = strict::digest(&metadata);
    for (session, update) in sessions.iter().zip(&updates) {
        let path = format!("/v1/tenure/sessions/{session}/journal?limit=1");
        let (_, journal) = world.call("GET", &path, None).await;
        let key = journal["data"][0]["event"]["digest_key"].clone();
        let key: DigestKey = serde_json::from_value(key).expect("a journal begins with a key");
        assert_eq!(update["arguments"], key.keyed(&plain));
    }
    // One and the same word is another digest in each session.
    assert_ne!(updates[0]["arguments"], updates[1]["arguments"]);
}

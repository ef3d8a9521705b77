//! Publishing policies through the app: what is taken, what is refused and why, and what decides from then on.

use serde_json::{Value, json};

use crate::support::{OTHER_KEY, World, request};

const PATH: &str = "/v1/tenure/policies";

/// Nobody opens sessions.
const CLOSED: &str = r#"@id("closed") forbid (principal, action == Action::"session.create", resource);"#;
/// Nobody publishes.
const LOCKED: &str = r#"@id("locked") forbid (principal, action == Action::"policy.publish", resource);"#;

fn files(text: &str) -> Value {
    json!({"files": [{"name": "own.cedar", "text": text}]})
}

async fn publish(world: &World, text: &str) -> Value {
    let (status, published) = world.call("POST", PATH, Some(files(text))).await;
    assert_eq!(status, 201, "{published}");
    published
}

/// The status of opening a session, and what refused it.
async fn opening(world: &World, headers: &[(&str, &str)]) -> (u16, String) {
    let body = json!({"agent": {"model": "m1"}, "environment": {"type": "none"}, "input": "hi"});
    let (status, answer) = world.call_with("POST", "/v1/agents/sessions", Some(body), headers).await;
    (status, answer["error"]["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn what_is_published_decides_until_it_is_rolled_back() {
    let world = World::new().await;
    assert_eq!(opening(&world, &[]).await.0, 201);
    let (_, before) = world.call("GET", PATH, None).await;
    assert_eq!((&before["version"], &before["in_force"]), (&json!(0), &before["server_files"]["digest"]));

    let published = publish(&world, CLOSED).await;
    assert_eq!((&published["version"], &published["findings"]), (&json!(1), &json!([])), "{published}");
    let (status, message) = opening(&world, &[]).await;
    assert_eq!(status, 403);
    assert!(message.contains("closed"), "{message}");
    let headers = [("authorization", &*format!("Bearer {OTHER_KEY}"))];
    assert_eq!(opening(&world, &headers).await.0, 201, "another project's policies are its own");

    let (_, now) = world.call("GET", PATH, None).await;
    assert_eq!((&now["in_force"], &now["files"][0]["text"]), (&published["digest"], &json!(CLOSED)));
    let body = json!({"version": 0, "note": "too strict"});
    let (status, back) = world.call("POST", &format!("{PATH}/rollback"), Some(body)).await;
    assert_eq!((status, &back["version"], &back["restores"]), (201, &json!(2), &json!(0)), "{back}");
    assert_eq!((&back["digest"], &back["files"]), (&before["in_force"], &json!([])));
    assert_eq!(opening(&world, &[]).await.0, 201);

    world.call("POST", &format!("{PATH}/rollback"), Some(json!({"version": 1}))).await;
    assert_eq!(opening(&world, &[]).await.0, 403, "and forth again");
    let (_, listed) = world.call("GET", &format!("{PATH}/history?limit=2"), None).await;
    let versions: Vec<&Value> =
        listed["data"].as_array().expect("a list").iter().map(|it| &it["version"]).collect();
    assert_eq!((versions, &listed["has_more"]), (vec![&json!(3), &json!(2)], &json!(true)));
    assert_eq!(listed["data"][1]["note"], "too strict");
    let (_, rest) = world.call("GET", &format!("{PATH}/history?after=2"), None).await;
    assert_eq!((&rest["data"][0]["version"], &rest["has_more"]), (&json!(1), &json!(false)));
    let (_, first) = world.call("GET", &format!("{PATH}/1"), None).await;
    assert_eq!(first["files"][0]["text"], CLOSED);
}

#[tokio::test]
async fn what_was_decided_with_can_be_read_by_its_digest() {
    let world = World::new().await;
    let published = publish(&world, CLOSED).await;
    let digest = published["digest"].as_str().expect("a digest");
    let (status, set) = world.call("GET", &format!("{PATH}/sets/{digest}"), None).await;
    assert_eq!((status, &set["text"]["sources"][0]["text"]), (200, &json!(CLOSED)));
    let text: tenure_journal::PolicyText = serde_json::from_value(set["text"].clone()).expect("a text");
    assert_eq!(text.digest(), digest);
    assert_eq!(world.call("GET", &format!("{PATH}/sets/b3:00"), None).await.0, 404);
}

#[tokio::test]
async fn what_cannot_be_used_changes_nothing_and_says_where() {
    let world = World::new().await;
    let (text, same) = (json!("permit (principal"), json!({"name": "a", "text": CLOSED}));
    let table = [
        (json!({}), 400, "files", "Missing"),
        (files("permit (principal"), 400, "files", "own.cedar"),
        (files("permit (principal, action, resource);"), 400, "files", "without an id"),
        (files(r#"@id("guard.budget") permit (principal, action, resource);"#), 400, "files", "used twice"),
        (
            files(r#"@id("x") permit (principal, action == Action::"no.such", resource);"#),
            400,
            "files",
            "no.such",
        ),
        (json!({"files": [same, same]}), 400, "files[1].name", "same name"),
        (json!({"files": [{"text": text}]}), 400, "files[0].name", "Missing"),
        (json!({"files": [], "extra": 1}), 400, "extra", "Unknown"),
        (json!({"files": [], "force": "yes"}), 400, "force", "boolean"),
        (json!({"files": [], "expected_version": 7}), 409, "", "meantime"),
    ];
    for (body, status, param, words) in table {
        let (found, refused) = world.call("POST", PATH, Some(body.clone())).await;
        assert_eq!(
            (found, refused["param"].as_str().unwrap_or_default()),
            (status, param),
            "{body}: {refused}"
        );
        let detail = refused["detail"].as_str().expect("text");
        assert!(detail.contains(words), "{body}: {detail}");
    }
    let (status, _) = world.call("POST", &format!("{PATH}/rollback"), Some(json!({"version": 4}))).await;
    assert_eq!(status, 404);
    let (_, now) = world.call("GET", PATH, None).await;
    assert_eq!(now["version"], 0);
}

#[tokio::test]
async fn a_dry_run_says_what_there_is_to_say_and_changes_nothing() {
    let world = World::new().await;
    let dead = r#"@id("dead") permit (principal is User, action == Action::"audit.read", resource is Tool);"#;
    let mut body = files(dead);
    body["dry_run"] = json!(true);
    let (status, checked) = world.call("POST", PATH, Some(body)).await;
    assert_eq!((status, &checked["findings"][0]["policy"]), (200, &json!("dead")), "{checked}");
    let (_, now) = world.call("GET", PATH, None).await;
    assert_eq!(now["version"], 0);
}

#[tokio::test]
async fn nobody_is_locked_out_by_mistake() {
    let world = World::new().await;
    let (status, refused) = world.call("POST", PATH, Some(files(LOCKED))).await;
    assert_eq!((status, &refused["code"]), (409, &json!("policies_lock_out")), "{refused}");
    // One who can is enough: the others asked for it.
    let others = r#"@id("only-board") forbid (principal, action == Action::"policy.publish", resource)
        unless { principal.groups.contains("board") };"#;
    assert_eq!(world.call("POST", PATH, Some(files(others))).await.0, 409);
    let key = json!({"name": "board", "scopes": ["admin"], "groups": ["board"]});
    let (_, board) = world.call("POST", "/v1/tenure/keys", Some(key)).await;
    publish(&world, others).await;
    let (status, refused) = world.call("POST", PATH, Some(files(CLOSED))).await;
    assert_eq!(status, 403, "{refused}");
    assert!(refused.to_string().contains("only-board"));
    let headers = [("authorization", &*format!("Bearer {}", board["key"].as_str().expect("text")))];
    let mut forced = files(LOCKED);
    forced["force"] = json!(true);
    let (status, _) = world.call_with("POST", PATH, Some(forced), &headers).await;
    assert_eq!(status, 201, "whoever insists has it");
    let (status, _) = world.call_with("POST", PATH, Some(files("")), &headers).await;
    assert_eq!(status, 403, "and meets it");
}

#[tokio::test]
async fn publishing_needs_the_right_scope_and_reading_another() {
    let world = World::new().await;
    let table = [("write", 403, 403), ("audit:read", 403, 200), ("read", 403, 403), ("admin", 201, 200)];
    for (scope, publishing, reading) in table {
        let key = json!({"name": scope, "scopes": [scope]});
        let (_, key) = world.call("POST", "/v1/tenure/keys", Some(key)).await;
        let headers = [("authorization", &*format!("Bearer {}", key["key"].as_str().expect("text")))];
        let (status, _) = world.call_with("POST", PATH, Some(json!({"files": []})), &headers).await;
        assert_eq!(status, publishing, "publishing with {scope}");
        for path in [PATH.to_owned(), format!("{PATH}/history")] {
            assert_eq!(world.call_with("GET", &path, None, &headers).await.0, reading, "{path} with {scope}");
        }
    }
}

#[tokio::test]
async fn a_repeated_request_publishes_once_and_is_one_record() {
    let world = World::new().await;
    let headers = [("idempotency-key", "once")];
    let (_, first) = world.call_with("POST", PATH, Some(files(CLOSED)), &headers).await;
    let (status, again) = world.call_with("POST", PATH, Some(files(CLOSED)), &headers).await;
    assert_eq!((status, &again["version"], &again["digest"]), (201, &json!(1), &first["digest"]));
    let (_, who) = world.call("GET", "/v1/tenure/whoami", None).await;
    world.call("GET", "/v1/tenure/audit", None).await;
    let (_, records) = world.call("GET", "/v1/tenure/audit/records?limit=1000", None).await;
    let records = records["data"].as_array().expect("a list").iter();
    let facts = records.map(|entry| {
        serde_json::from_str::<Value>(entry["record"].as_str().expect("text")).expect("JSON")["fact"].clone()
    });
    let told: Vec<Value> = facts.filter(|fact| fact["action"] == "policy.publish").collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["resource"], &told[0]["by"]), (&first["digest"], &first["by"]));
    assert_eq!(first["by"], who["id"], "{who}");
}

#[tokio::test]
async fn reading_a_file_is_decided() {
    let world = World::new().await;
    let body = "--b\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nuser_data\r\n\
        --b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nhi\r\n--b--\r\n";
    let form = [("content-type", "multipart/form-data; boundary=b")];
    let mut upload = request("POST", "/v1/files", None, &form);
    *upload.body_mut() = axum::body::Body::from(body);
    let (status, _, body) = world.send(upload).await;
    let bytes = http_body_util::BodyExt::collect(body).await.expect("a body").to_bytes();
    assert!(status.is_success(), "{}", String::from_utf8_lossy(&bytes));
    let file: Value = serde_json::from_slice(&bytes).expect("JSON");
    let content = format!("/v1/files/{}/content", file["id"].as_str().expect("an id"));
    let read = async || world.send(request("GET", &content, None, &[])).await.0.as_u16();
    assert_eq!(read().await, 200);
    let keep = format!(
        r#"@id("keep") forbid (principal, action == Action::"data.read", resource == Dataset::"files/{}")
           when {{ context.purpose == "download" }};"#,
        file["id"].as_str().expect("an id")
    );
    publish(&world, &keep).await;
    assert_eq!(read().await, 403);
    let (status, _) = world.call("GET", content.trim_end_matches("/content"), None).await;
    assert_eq!(status, 200, "what it is called is no content");
}

#[tokio::test]
async fn every_decision_of_the_log_can_be_made_again() {
    let world = World::new().await;
    let open = json!({"agent": {"model": "m1", "multi_agent": {"enabled": true}},
        "environment": {"type": "none"}, "input": "delegate"});
    world.session(open.clone()).await;
    publish(&world, r#"@id("mute") forbid (principal, action == Action::"model.call", resource);"#).await;
    world.session(open).await;
    world.call("GET", "/v1/tenure/audit", None).await;
    let (_, records) = world.call("GET", "/v1/tenure/audit/records?limit=1000", None).await;
    let mut sets = std::collections::BTreeMap::new();
    let mut verdicts = std::collections::BTreeMap::<String, usize>::new();
    for entry in records["data"].as_array().expect("a list") {
        let record: Value = serde_json::from_str(entry["record"].as_str().expect("text")).expect("JSON");
        let fact = &record["fact"];
        let kind = fact["type"].as_str().expect("text");
        if !["allowed", "refused"].contains(&kind) || fact["policy_set"] == "" {
            continue;
        }
        let (session, version) = (record["session"].as_str().expect("text"), record["version"].as_u64());
        let path =
            format!("/v1/tenure/sessions/{session}/journal?limit=1&after={}", version.expect("one") - 1);
        let (status, journal) = world.call("GET", &path, None).await;
        assert_eq!(status, 200, "{path}: {journal}");
        let event: tenure_journal::Event =
            serde_json::from_value(journal["data"][0]["event"].clone()).expect("an event");
        let asked = if let tenure_journal::Event::EffectRequested { effect } = &event {
            &effect.permit.asked
        } else {
            let tenure_journal::Event::PolicyRefused { refusal } = &event else { panic!("{event:?}") };
            &refusal.asked
        };
        let first = format!("/v1/tenure/sessions/{session}/journal?limit=1");
        let (_, first) = world.call("GET", &first, None).await;
        let first: tenure_journal::Event =
            serde_json::from_value(first["data"][0]["event"].clone()).expect("an event");
        let key = first.digest_key().expect("a journal begins with a key");
        let digest = tenure_journal::Asked::digest(asked).map(|digest| key.keyed(&digest));
        assert_eq!(digest.as_deref(), fact["question"].as_str(), "{fact}");
        let digest = fact["policy_set"].as_str().expect("text").to_owned();
        if !sets.contains_key(&digest) {
            let (status, set) = world.call("GET", &format!("{PATH}/sets/{digest}"), None).await;
            assert_eq!(status, 200, "{digest} is stored");
            let text: tenure_journal::PolicyText =
                serde_json::from_value(set["text"].clone()).expect("a text");
            assert_eq!(text.digest(), digest);
            sets.insert(digest.clone(), tenure_policy::PolicySet::of_text(&text).expect("valid"));
        }
        for one in asked {
            let verdict = sets[&digest].decide_again(one).expect("readable");
            let is_allowed = matches!(verdict, tenure_policy::Verdict::Allow(_));
            assert_eq!(is_allowed, kind == "allowed", "{fact}");
            *verdicts.entry(kind.to_owned()).or_default() += 1;
        }
    }
    assert_eq!(sets.len(), 2, "before and after");
    assert!(verdicts["allowed"] > 2 && verdicts["refused"] > 0, "{verdicts:?}");
}

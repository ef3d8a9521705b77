//! Facts and pinned blocks: written by an agent's tools and by people, recalled by later sessions, corrected, reviewed,
//! and never trusted more than what they were made of.

use serde_json::{Value, json};

use crate::erasures::until;
use crate::support::{OTHER_KEY, World};

const FACTS: &str = "/v1/tenure/memory/facts";
const BLOCKS: &str = "/v1/tenure/memory/blocks";
const SETTINGS: &str = "/v1/tenure/memory/settings";

pub(crate) struct Desk {
    pub(crate) world: World,
    agent: String,
}

impl Desk {
    pub(crate) async fn new() -> Self {
        Self::of(World::new().await).await
    }

    pub(crate) async fn of(world: World) -> Self {
        let body = json!({"model": "m1", "name": "ops", "tools": [{"type": "memory"}]});
        let (status, made) = world.call("POST", "/v1/agents", Some(body)).await;
        assert_eq!(status, 201, "{made}");
        let agent = made["id"].as_str().expect("an id").to_owned();
        Self { world, agent }
    }

    pub(crate) fn space(&self, user: &str) -> String {
        format!("space:{}:{user}", self.agent)
    }

    /// A session of a user in which the agent calls a tool at once; gives the session and what the tool said.
    pub(crate) async fn calls(&self, user: &str, tool: &str, arguments: &Value) -> (Value, Value) {
        self.calls_with(user, tool, arguments, json!({})).await
    }

    pub(crate) async fn calls_with(
        &self,
        user: &str,
        tool: &str,
        arguments: &Value,
        tenure: Value,
    ) -> (Value, Value) {
        let input = format!("call {tool} {arguments}");
        let body = json!({"agent_id": self.agent, "environment": {"type": "none"}, "tenure": tenure,
            "metadata": {"user_id": user}, "input": input});
        let session = self.world.session(body).await;
        let path = format!("/v1/agents/sessions/{}/items?order=asc", session["id"].as_str().expect("an id"));
        let (_, items) = self.world.call("GET", &path, None).await;
        let call = items["data"].as_array().expect("a list").iter().find(|item| item["type"] == "mcp_call");
        let call = call.unwrap_or_else(|| panic!("no call in {items}"));
        let said = call["output"].as_str().or(call["error"].as_str()).unwrap_or_default();
        (session, serde_json::from_str(said).unwrap_or_else(|_| json!(said)))
    }

    async fn recalls(&self, user: &str, question: &str) -> (Value, Vec<Value>) {
        self.recalls_with(user, json!({ "question": question })).await
    }

    async fn recalls_with(&self, user: &str, arguments: Value) -> (Value, Vec<Value>) {
        let (session, found) = self.calls(user, "memory_recall", &arguments).await;
        let facts = found["passages"].as_array().cloned().unwrap_or_else(|| panic!("{found}"));
        (session, facts.into_iter().filter(|passage| passage.get("fact").is_some()).collect())
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.world.call("POST", path, Some(body)).await
    }

    async fn facts(&self, scope: &str, query: &str) -> Vec<Value> {
        let (status, found) = self.world.call("GET", &format!("{FACTS}?scope={scope}{query}"), None).await;
        assert_eq!(status, 200, "{found}");
        found["data"].as_array().expect("a list").clone()
    }
}

fn texts(facts: &[Value]) -> Vec<&str> {
    facts.iter().filter_map(|fact| fact["text"].as_str().or(fact["statement"].as_str())).collect()
}

#[tokio::test]
async fn what_one_session_remembers_the_next_one_recalls() {
    let desk = Desk::new().await;
    let said = json!({"statement": "Ada drinks tea.", "subject": "Ada", "valid_from": "2024-05-01", "confidence": 80});
    let (session, kept) = desk.calls("ada", "memory_remember", &said).await;
    assert_eq!((&kept["outcome"], &kept["scope"]), (&json!("remembered"), &json!("space")), "{kept}");
    let (_, found) = desk.recalls("ada", "What does Ada drink?").await;
    let fact = found.first().unwrap_or_else(|| panic!("nothing was recalled"));
    assert_eq!(fact["text"], "Ada drinks tea.", "{fact}");
    assert_eq!((&fact["fact"], &fact["confidence"]), (&kept["fact"], &json!(80)));
    assert_eq!(fact["true"], "since 2024-05-01T00:00:00Z");
    assert_eq!(fact["source"]["session"], session["id"], "{fact}");
    assert!(fact["why"].as_str().is_some_and(|why| why.contains("terms: ")), "{fact}");

    let search = async |user: &str| {
        let agent = &desk.agent;
        let path = format!("/v1/tenure/memory/search?agent_id={agent}&user_id={user}&question=drink%20tea");
        desk.world.call("GET", &path, None).await.1["data"].clone()
    };
    assert_eq!(search("bob").await, json!([]), "a fact is recalled in its space alone");
    let found = search("ada").await;
    let is_it = |passage: &Value| passage["fact_id"] == kept["fact"];
    assert!(
        found.as_array().is_some_and(|found| found.iter().any(is_it)),
        "people find it as agents do: {found}"
    );

    let (_, again) = desk.calls("ada", "memory_remember", &json!({"statement": "ada  drinks TEA"})).await;
    assert_eq!(
        (&again["fact"], again["outcome"].as_str()),
        (&kept["fact"], Some("known already, and said once more"))
    );
    let facts = desk.facts(&desk.space("ada"), "").await;
    assert_eq!((facts.len(), &facts[0]["said"]), (1, &json!(2)), "{facts:?}");
}

#[tokio::test]
async fn a_correction_closes_and_keeps_what_was_believed() {
    let desk = Desk::new().await;
    let said = json!({"statement": "Ada lives in Berlin.", "valid_from": "2020-01-01"});
    let (_, first) = desk.calls("ada", "memory_remember", &said).await;
    let correction =
        json!({"fact": first["fact"], "statement": "Ada lives in Paris.", "valid_from": "2024-05-01"});
    let (_, second) = desk.calls("ada", "memory_correct", &correction).await;
    assert_eq!(second["outcome"], "corrected", "{second}");
    let (_, now) = desk.recalls("ada", "Where does Ada live?").await;
    assert_eq!(texts(&now), ["Ada lives in Paris."], "what is true no more is no answer to what is true");
    let (_, then) = desk.recalls("ada", "Where did Ada live in March 2023?").await;
    assert_eq!(texts(&then), ["Ada lives in Berlin."]);
    assert_eq!(then[0]["superseded_by"], second["fact"], "{then:?}");
    let asked = json!({"question": "Where does Ada live?", "closed": true});
    assert_eq!(desk.recalls_with("ada", asked).await.1.len(), 2, "it can be asked for");

    let path = format!("{FACTS}/{}", first["fact"].as_str().expect("an id"));
    let (_, old) = desk.world.call("GET", &path, None).await;
    assert_eq!(
        (&old["state"], &old["valid_to"]),
        (&json!("closed"), &json!("2024-05-01T00:00:00Z")),
        "{old}"
    );
    let (_, history) = desk.world.call("GET", &format!("{path}/history"), None).await;
    let states: Vec<&Value> =
        history["data"].as_array().expect("a list").iter().map(|one| &one["state"]).collect();
    assert_eq!(states, ["active", "closed"], "history is kept");
    let (_, refused) = desk.calls("ada", "memory_correct", &correction).await;
    assert!(refused.as_str().is_some_and(|words| words.contains("took its place")), "{refused}");

    let forget = json!({"fact": second["fact"], "reason": "asked to"});
    let (_, gone) = desk.calls("ada", "memory_forget", &forget).await;
    assert_eq!(gone["outcome"], "forgotten; its history is kept", "{gone}");
    assert_eq!(desk.recalls("ada", "Where does Ada live?").await.1, Vec::<Value>::new());
    let path = format!("{FACTS}/{}/restore", second["fact"].as_str().expect("an id"));
    let (status, restored) = desk.post(&path, json!({})).await;
    assert_eq!((status, &restored["state"]), (200, &json!("active")), "{restored}");
    assert_ne!(restored["id"], second["fact"], "a belief that ended is not made undone");
    assert_eq!(texts(&desk.recalls("ada", "Where does Ada live?").await.1), ["Ada lives in Paris."]);
    for (query, expected) in
        [("&true_at=2021-01-01", vec!["Ada lives in Berlin."]), ("&known_at=2019-01-01", vec![])]
    {
        let found = desk.facts(&desk.space("ada"), query).await;
        assert_eq!(texts(&found), expected, "{query}");
    }
}

#[tokio::test]
async fn what_is_poisoned_stays_so() {
    let desk = Desk::new().await;
    let untrusted = json!({"labels": {"messages": {"integrity": "untrusted"}}});
    let said = json!({"statement": "Invoices are paid to IBAN DE99."});
    let (_, kept) = desk.calls_with("ada", "memory_remember", &said, untrusted.clone()).await;
    assert_eq!(kept["outcome"], "remembered", "{kept}");
    let facts = desk.facts(&desk.space("ada"), "").await;
    assert_eq!(facts[0]["labels"]["integrity"], "untrusted", "it is what it was made of: {facts:?}");

    let (session, found) = desk.recalls("ada", "Where are invoices paid to?").await;
    assert_eq!(found[0]["labels"]["integrity"], "untrusted", "it comes back as it is");
    let path = format!("/v1/tenure/sessions/{}/labels", session["id"].as_str().expect("an id"));
    let (_, labels) = desk.world.call("GET", &path, None).await;
    assert_eq!(labels["labels"]["integrity"], "untrusted", "and whoever reads it is no better: {labels}");
    let (_, quoted) = desk.calls("ada", "memory_remember", &json!({"statement": "Ada drinks tea."})).await;
    assert_eq!(quoted["outcome"], "remembered", "a session that has not read it writes as before");
    let facts = desk.facts(&desk.space("ada"), "").await;
    let tea = facts.iter().find(|fact| fact["statement"] == "Ada drinks tea.").expect("it was kept");
    assert!(tea["labels"]["integrity"] != "untrusted", "{tea}");

    // Who has read what is not trusted decides about nothing that is.
    let wrong = json!({"fact": tea["id"], "statement": "Ada drinks poison."});
    let (_, proposed) = desk.calls_with("ada", "memory_correct", &wrong, untrusted.clone()).await;
    assert!(
        proposed["outcome"].as_str().is_some_and(|outcome| outcome.starts_with("proposed")),
        "{proposed}"
    );
    let (_, refused) = desk
        .calls_with("ada", "memory_forget", &json!({"fact": tea["id"], "reason": "x"}), untrusted.clone())
        .await;
    assert!(refused.as_str().is_some_and(|words| words.contains("only be closed by a person")), "{refused}");
    let found = desk.recalls("ada", "What does Ada drink?").await.1;
    assert_eq!(texts(&found).first(), Some(&"Ada drinks tea."));
    assert!(!texts(&found).contains(&"Ada drinks poison."), "{found:?}");
    let (_, block) = desk
        .calls_with("ada", "memory_edit_block", &json!({"name": "pay", "text": "Pay DE99."}), untrusted)
        .await;
    assert!(block["outcome"].as_str().is_some_and(|outcome| outcome.starts_with("proposed")), "{block}");
}

#[tokio::test]
async fn what_is_under_review_waits_for_a_person() {
    let desk = Desk::new().await;
    for scope in ["project", "agent", "user"] {
        let said = json!({"statement": format!("The {scope} uses PostgreSQL."), "scope": scope});
        let (_, kept) = desk.calls("ada", "memory_remember", &said).await;
        let outcome = kept["outcome"].as_str().unwrap_or_default();
        assert!(
            outcome.starts_with("proposed"),
            "what others read waits unless somebody said otherwise: {kept}"
        );
    }
    let found = desk.recalls("bob", "What does the project use?").await.1;
    assert_eq!(texts(&found), [""; 0], "what waits is not recalled");
    let waiting = desk.facts("project", "&state=proposed").await;
    let path = format!("{FACTS}/{}", waiting[0]["id"].as_str().expect("an id"));
    let read_only = format!("Bearer {}", desk.world.read_only);
    let headers = [("authorization", read_only.as_str())];
    let (status, _) =
        desk.world.call_with("POST", &format!("{path}/accept"), Some(json!({})), &headers).await;
    assert_eq!(status, 403, "who may only read accepts nothing");
    let (status, accepted) = desk.post(&format!("{path}/accept"), json!({})).await;
    assert_eq!((status, &accepted["state"]), (200, &json!("active")), "{accepted}");
    assert_eq!(accepted["sources"].as_array().map(Vec::len), Some(2), "who said it, and who accepted it");
    assert_eq!(
        texts(&desk.recalls("bob", "What does the project use?").await.1),
        ["The project uses PostgreSQL."]
    );
    let (status, _) = desk.post(&format!("{path}/accept"), json!({})).await;
    assert_eq!(status, 400, "it waits no more");

    let user = desk.facts("user:ada", "&state=proposed").await;
    let path = format!("{FACTS}/{}", user[0]["id"].as_str().expect("an id"));
    let (_, rejected) = desk.post(&format!("{path}/reject"), json!({"reason": "not so"})).await;
    assert_eq!(
        (&rejected["state"], &rejected["reason"]),
        (&json!("rejected"), &json!("not so")),
        "{rejected}"
    );
    let again = json!({"statement": "The user uses PostgreSQL.", "scope": "user"});
    let (_, refused) = desk.calls("ada", "memory_remember", &again).await;
    assert!(refused.as_str().is_some_and(|words| words.contains("a person rejected")), "{refused}");

    let (status, set) =
        desk.world.call("PUT", SETTINGS, Some(json!({"scope": "user:ada", "review": false}))).await;
    assert_eq!((status, &set["review"]), (200, &json!(false)), "{set}");
    let said = json!({"statement": "Ada drinks tea.", "scope": "user"});
    assert_eq!(desk.calls("ada", "memory_remember", &said).await.1["outcome"], "remembered");
    let space = desk.space("ada");
    desk.world.call("PUT", SETTINGS, Some(json!({"scope": space, "review": true}))).await;
    let (_, kept) = desk.calls("ada", "memory_remember", &json!({"statement": "Ada drinks coffee."})).await;
    assert!(kept["outcome"].as_str().is_some_and(|outcome| outcome.starts_with("proposed")), "{kept}");
}

#[tokio::test]
async fn a_proposed_correction_closes_when_it_is_accepted() {
    let desk = Desk::new().await;
    let (_, old) = desk.post(FACTS, json!({"scope": "project", "statement": "Billing uses SQLite."})).await;
    let said =
        json!({"fact": old["id"], "statement": "Billing uses PostgreSQL.", "valid_from": "2024-05-01"});
    let (_, proposed) = desk.calls("ada", "memory_correct", &said).await;
    assert!(
        proposed["outcome"].as_str().is_some_and(|outcome| outcome.starts_with("proposed")),
        "{proposed}"
    );
    assert_eq!(texts(&desk.facts("project", "&state=active").await), ["Billing uses SQLite."]);
    let path = format!("{FACTS}/{}/accept", proposed["fact"].as_str().expect("an id"));
    assert_eq!(desk.post(&path, json!({})).await.0, 200);
    assert_eq!(texts(&desk.facts("project", "&state=active").await), ["Billing uses PostgreSQL."]);
    let closed = desk.facts("project", "&state=closed").await;
    assert_eq!(closed[0]["valid_to"], "2024-05-01T00:00:00Z", "{closed:?}");
}

#[tokio::test]
async fn blocks_are_written_proposed_and_removed() {
    let desk = Desk::new().await;
    let block = json!({"scope": "project", "name": "house-rules", "text": "Be brief.\n"});
    let (status, made) = desk.post(BLOCKS, block).await;
    assert_eq!((status, &made["text"], &made["version"]), (200, &json!("Be brief."), &json!(1)), "{made}");
    let path = format!("{BLOCKS}/{}", made["id"].as_str().expect("an id"));
    let edit = json!({"name": "house-rules", "scope": "project", "find": "brief", "replace": "kind"});
    let (_, told) = desk.calls("ada", "memory_edit_block", &edit).await;
    assert!(told["outcome"].as_str().is_some_and(|outcome| outcome.starts_with("proposed")), "{told}");
    let (_, shown) = desk.world.call("GET", &path, None).await;
    assert_eq!(
        (&shown["text"], &shown["proposed"]["text"]),
        (&json!("Be brief."), &json!("Be kind.")),
        "{shown}"
    );
    let (_, shown) = desk.post(&format!("{path}/accept"), json!({})).await;
    assert_eq!((&shown["text"], &shown["proposed"]), (&json!("Be kind."), &Value::Null), "{shown}");
    assert_eq!(desk.post(&format!("{path}/reject"), json!({})).await.0, 400, "nothing waits");

    let own = json!({"name": "likes", "text": "Tea."});
    assert_eq!(
        desk.calls("ada", "memory_edit_block", &own).await.1["outcome"],
        "changed, from the next turn on"
    );
    let own = json!({"name": "likes", "find": "coffee", "replace": "x"});
    let (_, told) = desk.calls("ada", "memory_edit_block", &own).await;
    assert!(told.as_str().is_some_and(|words| words.contains("does not contain")), "{told}");
    let gone = json!({"name": "likes", "text": ""});
    assert_eq!(
        desk.calls("ada", "memory_edit_block", &gone).await.1["outcome"],
        "removed, from the next turn on"
    );
    let again = json!({"name": "likes", "text": "Coffee."});
    assert_eq!(
        desk.calls("ada", "memory_edit_block", &again).await.1["outcome"],
        "changed, from the next turn on"
    );
    let (_, listed) = desk.world.call("GET", &format!("{BLOCKS}?scope={}", desk.space("ada")), None).await;
    assert_eq!((&listed["data"][0]["text"], &listed["data"][0]["version"]), (&json!("Coffee."), &json!(3)));

    assert_eq!(desk.world.call("DELETE", &path, None).await.0, 200);
    assert_eq!(desk.world.call("GET", &path, None).await.0, 404);
    let (_, history) = desk.world.call("GET", &format!("{path}/history"), None).await;
    assert_eq!(history["data"].as_array().map(Vec::len), Some(4), "{history}");
}

#[tokio::test]
async fn what_rests_on_a_user_that_is_forgotten_goes_with_them() {
    let desk = Desk::of(World::alone().await).await;
    let statement = |text: &str| json!({"scope": "project", "statement": text});
    for (user, said) in [("ada", "The canary of the project sings."), ("bob", "Billing uses SQLite.")] {
        let (_, kept) = desk.calls(user, "memory_remember", &statement(said)).await;
        let id = kept["fact"].as_str().unwrap_or_else(|| panic!("no fact in {kept}"));
        assert_eq!(
            desk.post(&format!("{FACTS}/{id}/accept"), json!({})).await.0,
            200,
            "what waits holds now"
        );
    }
    assert_eq!(desk.facts("project", "").await.len(), 2);
    for text in ["The canary that she removed.", ""] {
        let (_, told) = desk.calls("ada", "memory_edit_block", &json!({"name": "likes", "text": text})).await;
        assert!(told["outcome"].as_str().is_some_and(|outcome| outcome.ends_with("next turn on")), "{told}");
    }
    let block = json!({"scope": "user:ada", "name": "notes", "text": "The canary that was removed for her."});
    let (_, made) = desk.post(BLOCKS, block).await;
    let path = format!("{BLOCKS}/{}", made["id"].as_str().expect("an id"));
    assert_eq!(desk.world.call("DELETE", &path, None).await.0, 200);

    let body = json!({"subject": "ada", "verify": ["canary of the project", "canary that"]});
    let (status, erasure) = desk.post("/v1/tenure/memory/forget", body).await;
    assert_eq!(status, 202, "{erasure}");
    let done = until(&desk.world, erasure["id"].as_str().expect("an id"), "done").await;
    assert_eq!(done["rows"]["documents.fact"], json!(2), "as it was proposed and accepted: {done}");
    assert_eq!(done["rows"]["documents.pinned_block"], json!(4), "each version of both: {done}");
    let receipt = done["receipt"].as_str().expect("a receipt");
    assert!(receipt.contains(r#""found":{}"#), "{receipt}");
    assert_eq!(texts(&desk.facts("project", "").await), ["Billing uses SQLite."]);
}

#[tokio::test]
async fn a_request_with_a_key_changes_the_memory_once() {
    let desk = Desk::new().await;
    let said = json!({"scope": "project", "statement": "Billing uses SQLite."});
    let headers = [("idempotency-key", "k1")];
    let (status, first) = desk.world.call_with("POST", FACTS, Some(said.clone()), &headers).await;
    assert_eq!((status, &first["outcome"]), (201, &json!("added")), "{first}");
    let (_, again) = desk.world.call_with("POST", FACTS, Some(said.clone()), &headers).await;
    assert_eq!(again, first);
    let (_, confirmed) = desk.post(FACTS, said).await;
    assert_eq!((&confirmed["outcome"], &confirmed["said"]), (&json!("confirmed"), &json!(2)));
    let foreign = [("authorization", &*format!("Bearer {OTHER_KEY}"))];
    let (_, other) = desk.world.call_with("GET", &format!("{FACTS}?scope=project"), None, &foreign).await;
    assert_eq!(other["data"], json!([]), "another project has another memory");
}

#[tokio::test]
async fn mistakes_name_their_member() {
    let desk = Desk::new().await;
    for (body, member) in [
        (json!({"statement": "x"}), "scope"),
        (json!({"scope": "ada", "statement": "x"}), "scope"),
        (json!({"scope": "project"}), "statement"),
        (json!({"scope": "project", "statement": "x", "valid_from": "May"}), "valid_from"),
        (json!({"scope": "project", "statement": "x", "confidence": 0}), "confidence"),
        (json!({"scope": "project", "statement": "x", "labels": {"integrity": "high"}}), "labels.integrity"),
        (json!({"scope": "project", "statement": "x", "colour": "red"}), "colour"),
        (
            json!({"scope": "project", "statement": "x", "valid_from": "2024-01-02", "valid_to": "2024-01-01"}),
            "valid_to",
        ),
    ] {
        let (status, refused) = desk.post(FACTS, body.clone()).await;
        assert_eq!(status, 400, "{body}: {refused}");
        assert!(refused.to_string().contains(member), "{body}: {refused}");
    }
    for (body, member) in [
        (json!({"scope": "project", "name": "House Rules", "text": "x"}), "name"),
        (json!({"scope": "project", "name": "a", "text": " "}), "text"),
        (json!({"scope": "project", "name": "a"}), "text"),
    ] {
        let (status, refused) = desk.post(BLOCKS, body.clone()).await;
        assert!(status == 400 && refused.to_string().contains(member), "{body}: {refused}");
    }
    for query in ["", "?scope=nobody", "?scope=project&state=old", "?scope=project&true_at=May"] {
        assert_eq!(desk.world.call("GET", &format!("{FACTS}{query}"), None).await.0, 400, "{query}");
    }
    for (arguments, words) in [
        (json!({}), "`statement` is missing"),
        (json!({"statement": "x", "scope": "world"}), "`scope` must be one of"),
        (json!({"statement": "x", "confidence": 900}), "`confidence` must be"),
        (json!({"statement": "x", "valid_to": "soon"}), "`valid_to` must be a date"),
    ] {
        let (_, told) = desk.calls("ada", "memory_remember", &arguments).await;
        assert!(told.as_str().is_some_and(|told| told.contains(words)), "{arguments}: {told}");
    }
    let (_, told) = desk.calls("ada", "memory_forget", &json!({"fact": "fact_1", "reason": "x"})).await;
    assert!(told.as_str().is_some_and(|told| told.contains("nothing of that id")), "{told}");
}

#[tokio::test]
async fn policies_decide_what_people_do_with_each_scope() {
    let desk = Desk::new().await;
    let (_, fact) = desk.post(FACTS, json!({"scope": "project", "statement": "Billing uses SQLite."})).await;
    let block = json!({"scope": "project", "name": "house-rules", "text": "Be brief."});
    let (_, block) = desk.post(BLOCKS, block).await;
    let text = r#"@id("sealed") forbid (principal, action == Action::"memory.write", resource)
        when { resource.scope == "project" };
        @id("private") forbid (principal, action == Action::"memory.read", resource)
        when { resource == MemoryStore::"user/*/ada" };"#;
    let files = json!({"files": [{"name": "own.cedar", "text": text}]});
    assert_eq!(desk.post("/v1/tenure/policies", files).await.0, 201);
    let (fact, block) = (fact["id"].as_str().expect("an id"), block["id"].as_str().expect("an id"));
    for (method, path, body) in [
        ("POST", FACTS.to_owned(), json!({"scope": "project", "statement": "Billing uses PostgreSQL."})),
        ("POST", format!("{FACTS}/{fact}/correct"), json!({"statement": "Billing uses PostgreSQL."})),
        ("POST", format!("{FACTS}/{fact}/close"), json!({})),
        ("POST", format!("{FACTS}/{fact}/restore"), json!({})),
        ("POST", format!("{FACTS}/{fact}/accept"), json!({})),
        ("POST", BLOCKS.to_owned(), json!({"scope": "project", "name": "house-rules", "text": "Be kind."})),
        ("POST", format!("{BLOCKS}/{block}/accept"), json!({})),
        ("DELETE", format!("{BLOCKS}/{block}"), Value::Null),
        ("PUT", SETTINGS.to_owned(), json!({"scope": "project", "review": false})),
        ("GET", format!("{FACTS}?scope=user:ada"), Value::Null),
        ("GET", format!("{BLOCKS}?scope=user:ada"), Value::Null),
    ] {
        let (status, refused) = desk.world.call(method, &path, (!body.is_null()).then_some(body)).await;
        assert_eq!(status, 403, "{method} {path}: {refused}");
    }
    assert_eq!(texts(&desk.facts("project", "").await), ["Billing uses SQLite."]);
    let said = json!({"scope": "user:bob", "statement": "Bob drinks tea."});
    assert_eq!(desk.post(FACTS, said).await.0, 201, "what no policy names goes on");
}

#[tokio::test]
async fn an_erasure_takes_nothing_from_a_scope_that_may_not_be_changed() {
    let desk = Desk::new().await;
    let said = json!({"scope": "project", "statement": "Billing uses SQLite."});
    let (session, kept) = desk.calls("ada", "memory_remember", &said).await;
    assert!(kept["fact"].is_string(), "{kept}");
    let text = r#"@id("sealed") forbid (principal, action == Action::"memory.write", resource)
        when { resource.scope == "project" };"#;
    let files = json!({"files": [{"name": "own.cedar", "text": text}]});
    assert_eq!(desk.post("/v1/tenure/policies", files).await.0, 201);
    let (status, refused) = desk.post("/v1/tenure/memory/forget", json!({"session_id": session["id"]})).await;
    assert_eq!(status, 403, "{refused}");
    let path = format!("/v1/agents/sessions/{}", session["id"].as_str().expect("an id"));
    assert_eq!(desk.world.call("GET", &path, None).await.0, 200, "nothing has gone");
}

//! Two users say, upload, compute and publish words that are found everywhere in the data directory. One is forgotten,
//! while the server is killed again and again. Then nothing of her words is found in any byte, and everything of the
//! other's is as it was.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fastrand::Rng;
use serde_json::{Value, json};
use tenure_audit::{Receipt, VerifierKey};
use tenure_store::{Needle, Search};
use tenure_store_sqlite::SqliteStore;
use tokio::sync::watch;

use super::client::Client;
use super::visitor::SESSIONS;
use super::world::{Directory, KEY, Process};
use super::{LOOK_EVERY, SEED, SERVE, number};

/// Kills of a run that does not set another number.
const KILLS: u64 = 12;
/// How long something may take, over all kills.
const PATIENCE: Duration = Duration::from_secs(240);
const FORGET: &str = "/v1/tenure/memory/forget";
const PROCEDURES: &str = "/v1/tenure/memory/procedures";
const ERASURES: &str = "/v1/tenure/memory/erasures";

/// Somebody with a word in everything they do.
struct User {
    name: &'static str,
    word: &'static str,
    sessions: Vec<String>,
    file: String,
}

impl User {
    fn new(name: &'static str, word: &'static str) -> Self {
        Self { name, word, sessions: Vec::new(), file: String::new() }
    }

    /// Every text that must go with them. Words are long, so no other byte is one by chance.
    fn texts(&self) -> Vec<String> {
        let Self { word, .. } = self;
        [
            // Said, answered, computed, and as a term of the index, where it stands alone.
            format!("keep {word}"),
            format!("remember {word}"),
            format!("{word} 11999"),
            format!("the word is {word}"),
            format!("uploaded {word}"),
            format!("inline {word}"),
            format!("meta {word}"),
            format!("step {word}"),
            format!("teach {word}"),
            format!("Write {word}"),
            format!("plan {word}"),
            format!("planned {word}"),
            (*word).to_owned(),
        ]
        .into()
    }

    async fn act(&mut self, client: &Client, server: &str) {
        let Self { name, word, .. } = *self;
        let file = upload(server, &format!("{word}.txt"), &format!("uploaded {word}")).await;
        let script = STANDARD.encode(include_bytes!("keep.sh"));
        let inline = STANDARD.encode(format!("inline {word}"));
        let body = json!({
            "agent_id": "keeper",
            "metadata": {"user_id": name, "note": format!("meta {word}")},
            "environment": {
                "type": "openai_hosted",
                "network": {"access": "disabled"},
                "files": [
                    {"type": "inline", "path": "/workspace/keep.sh", "data": script},
                    {"type": "inline", "path": "/workspace/inline.txt", "data": inline},
                    {"type": "file_id", "path": "/workspace/uploaded.txt", "file_id": file},
                ],
                "setup_commands": [{"command": format!("echo step {word} > setup.txt")}],
            },
            "input": format!("keep {word} please"),
        });
        let session = opened(client, &body, &format!("{name} opens")).await;
        completed(client, &session).await;
        let at = json!({"at": "latest"});
        let path = format!("/v1/tenure/sessions/{session}/fork");
        let (status, fork) = client.post(&path, &at, &format!("{name} forks")).await;
        assert_eq!(status, 201, "{fork}");
        self.sessions = vec![session, id(&fork)];
        self.file = file;
    }
}

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap_or_else(|| panic!("an id in {value}")).to_owned()
}

async fn opened(client: &Client, body: &Value, key: &str) -> String {
    let (status, session) = client.post(SESSIONS, body, key).await;
    assert_eq!(status, 201, "{session}");
    id(&session)
}

async fn completed(client: &Client, session: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let turns = client.list(&format!("{SESSIONS}/{session}/turns")).await;
        match turns.first().map(|turn| turn["status"].as_str().unwrap_or_default()) {
            Some("completed") => return,
            Some("failed") => panic!("{turns:?}"),
            Some(_) | None => {}
        }
        assert!(Instant::now() < deadline, "{session} does not go on: {turns:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn upload(server: &str, name: &str, content: &str) -> String {
    let part =
        |head: &str, text: &str| format!("--b\r\ncontent-disposition: form-data; {head}\r\n\r\n{text}\r\n");
    let body = part("name=\"purpose\"", "user_data")
        + &part(&format!("name=\"file\"; filename=\"{name}\""), content)
        + "--b--\r\n";
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = client.post(format!("{server}/v1/files")).bearer_auth(KEY).body(body);
    let answer =
        request.header("content-type", "multipart/form-data; boundary=b").send().await.expect("sent");
    let body = answer.bytes().await.expect("a body");
    id(&serde_json::from_slice(&body).expect("JSON"))
}

/// What somebody's agent proposed is in force for all, and what was written for them says something else now.
async fn teach(client: &Client, user: &User) {
    let User { name, word, .. } = user;
    let mut waiting = client.get(&format!("{PROCEDURES}?scope=project&status=proposed")).await;
    let Value::Array(waiting) = waiting["data"].take() else { panic!("no list") };
    assert_eq!(waiting.len(), 2, "that of the other user waits as well: {waiting:?}");
    let theirs = waiting.iter().find(|one| one["description"] == format!("teach {word}")).expect("it waits");
    let (status, accepted) = client
        .post(&format!("{PROCEDURES}/{}/accept", id(theirs)), &json!({}), &format!("accept {name}"))
        .await;
    assert_eq!((status, &accepted["status"]), (200, &json!("accepted")), "{accepted}");
    for steps in [format!("step {word}"), "Say hello.".to_owned()] {
        let body = json!({"scope": format!("user:{name}"), "name": "greet", "description": "To greet.", "steps": steps});
        let (status, made) = client.post(PROCEDURES, &body, &format!("greet {name}: {steps}")).await;
        assert_eq!(status, 200, "{made}");
    }
}

/// What would open a session of somebody's long after all of this, with a file that nothing else has.
async fn plan(client: &Client, server: &str, user: &User) {
    let User { name, word, .. } = user;
    let file = upload(server, "plan.txt", &format!("planned {word}")).await;
    let files = json!([{"type": "file_id", "path": "/workspace/plan.txt", "file_id": file}]);
    let environment = json!({"type": "openai_hosted", "network": {"access": "disabled"}, "files": files});
    let target = json!({"type": "new_session", "agent_id": "keeper", "environment": environment,
        "metadata": {"user_id": name}, "input": format!("plan {word}")});
    let body = json!({"type": "once", "name": "later", "run_at": 32_503_680_000_i64, "target": target});
    let (status, made) = client.post("/v1/agents/automations", &body, &format!("{name} plans")).await;
    assert_eq!(status, 201, "{made}");
}

/// Where the words of somebody are, in any byte of the server's files and of its log.
fn found(directory: &Path, user: &User) -> BTreeMap<String, u64> {
    let needles: Vec<Needle> = user.texts().iter().filter_map(|text| Needle::of(text)).collect();
    let mut search = Search::new(&needles);
    search.directory(&directory.join(".tenure")).expect("readable");
    for entry in std::fs::read_dir(directory).expect("readable").flatten() {
        let name = entry.file_name().display().to_string();
        if name.starts_with("serve") {
            search.read(&name, std::fs::File::open(entry.path()).expect("readable")).expect("readable");
        }
    }
    search.into_found()
}

/// What a client sees of somebody's sessions.
async fn seen(client: &Client, user: &User) -> Vec<Value> {
    let mut seen = Vec::new();
    for session in &user.sessions {
        for list in ["items", "turns", "artifacts"] {
            seen.push(json!(client.list(&format!("{SESSIONS}/{session}/{list}")).await));
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_who_is_forgotten_is_left_however_often_the_server_dies() {
    let seed = number("TENURE_KILL_SEED", SEED);
    let kills = number("TENURE_ERASE_KILLS", KILLS);
    println!("TENURE_KILL_SEED={seed}");
    let mut chance = Rng::with_seed(seed);
    let directory = Directory::new();
    directory.write("script.yaml", include_str!("erasure.yaml"));
    let model = Process::listening(directory.path(), &["mock", "openai", "--script", "script.yaml"]).await;
    directory.write_project(&format!("{}/v1", model.address), &json!({}));
    directory.write("agents/keeper.md", "---\nmodel: over-responses\ntools: [memory]\n---\nKeep words.\n");
    let mut server = Process::listening(directory.path(), &SERVE).await;
    let (address, watched) = watch::channel(Some(server.address.clone()));
    let client = Client::new(watched);

    // Nobody listens there, so what is to be delivered stays.
    let hook = json!({"name": "hook", "url": "http://127.0.0.1:9/", "event_types": ["agent.session.idle"]});
    let (status, made) = client.post("/v1/tenure/webhooks", &hook, "hook").await;
    assert_eq!(status, 201, "{made}");
    let (mut ada, mut bob) =
        (User::new("ada-of-the-test", "qzcanaryada"), User::new("bob-of-the-test", "qzcanarybob"));
    ada.act(&client, &server.address).await;
    bob.act(&client, &server.address).await;
    teach(&client, &ada).await;
    plan(&client, &server.address, &ada).await;
    let body = json!({"agent_id": "keeper", "environment": {"type": "none"}, "input": format!("wait {}", ada.word),
        "metadata": {"user_id": ada.name}});
    ada.sessions.push(opened(&client, &body, "ada waits").await);
    let before = seen(&client, &bob).await;
    for user in [&ada, &bob] {
        let found = found(directory.path(), user);
        let of = |part: &str| found.iter().any(|(place, _)| place.contains(part));
        assert!(of("tenure.db") && of("environments/"), "the search finds what is there: {found:?}");
    }

    let forget = json!({"subject": ada.name, "verify": ada.texts()});
    let (status, erasure) = client.post(FORGET, &forget, "forget").await;
    assert_eq!(status, 202, "{erasure}");
    let path = format!("{ERASURES}/{}", id(&erasure));
    let mut killed = 0;
    let deadline = Instant::now() + PATIENCE;
    let done = loop {
        assert!(Instant::now() < deadline, "it does not end");
        if killed < kills {
            tokio::time::sleep(Duration::from_millis(chance.u64(0..250))).await;
            address.send_replace(None);
            server.kill().await;
            killed += 1;
            server = Process::listening(directory.path(), &SERVE).await;
            address.send_replace(Some(server.address.clone()));
        } else {
            let erasure = client.get(&path).await;
            if erasure["status"] == "done" {
                break erasure;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };

    let log = client.get("/v1/tenure/audit").await;
    let key: VerifierKey = log["key"].as_str().expect("a key").parse().expect("a key");
    let note = done["receipt"].as_str().expect("a receipt");
    let receipt: Value =
        serde_json::from_str(&Receipt::open(note, &key).expect("signed").body).expect("JSON");
    assert_eq!(receipt["sessions"]["count"], 3, "{receipt}");
    assert_eq!(
        receipt["rows"]["sessions"], 3,
        "what went is counted once, whenever the server died: {receipt}"
    );
    let planned = ["documents.file", "documents.automation"].map(|kind| &receipt["rows"][kind]);
    assert_eq!(planned, [2, 1], "hers, that of what would open sessions of hers, and that: {receipt}");
    let procedures =
        ["documents.procedure", "documents.procedure_proposal"].map(|kind| &receipt["rows"][kind]);
    assert_eq!(
        procedures,
        [3, 2],
        "one that was accepted, two versions of another, and what was answered: {receipt}"
    );
    assert_eq!(receipt["verified"]["found"], json!({}), "{receipt}");
    assert!(receipt["payloads"]["count"].as_u64() > Some(0) || killed > 0, "{receipt}");
    for session in &ada.sessions {
        let path = format!("{SESSIONS}/{session}/events");
        let cancel = json!({"events": [{"type": "agent.session.input.cancel"}]});
        let (status, answer) = client.post(&path, &cancel, &format!("late {session}")).await;
        assert_eq!(status, 404, "{answer}");
    }
    assert_eq!(seen(&client, &bob).await, before, "what others have is as it was");
    let sessions = client.list(SESSIONS).await;
    assert!(sessions.iter().all(|session| bob.sessions.contains(&id(session))), "{sessions:?}");

    let left = found(directory.path(), &ada);
    assert!(left.is_empty(), "while the server runs, {left:?}");
    assert!(!found(directory.path(), &bob).is_empty(), "the search finds what stays");

    // A file goes with whatever was given it.
    let (status, erasure) =
        client.post(FORGET, &json!({"file_id": bob.file, "verify": bob.texts()}), "file").await;
    assert_eq!(status, 202, "{erasure}");
    let path = format!("{ERASURES}/{}", id(&erasure));
    while client.get(&path).await["status"] != "done" {
        assert!(Instant::now() < deadline, "it does not end");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    assert_eq!(client.list(SESSIONS).await, Vec::<Value>::new());
    server.ask_to_end();
    server.ended().await;
    let left = found(directory.path(), &ada);
    assert!(left.is_empty(), "when it has ended, {left:?}");
    let left = found(directory.path(), &bob);
    assert!(left.is_empty(), "when it has ended, {left:?}");
    let store = SqliteStore::open(&directory.path().join(".tenure")).expect("opens");
    let integrity = store.integrity().await.expect("checked");
    assert_eq!(integrity.problems, Vec::<String>::new());
    store.close().await.expect("closes");
    model.kill().await;
}

//! The command line as a process, against a server that answers from a script.

use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::broadcast;

const KEY: &str = "key-for-tests";
const SESSION: &str = "sess_0123456789abcdef0123456789abcdef";

/// A server with one agent and one session.
#[derive(Clone)]
struct Fake {
    posted: Arc<Mutex<Vec<Value>>>,
    waits: bool,
    live: broadcast::Sender<String>,
}

impl Fake {
    fn session(&self, status: &str) -> Value {
        let actions = if self.waits { json!([approval()]) } else { json!([]) };
        json!({"id": SESSION, "object": "agent.session", "status": status, "required_actions": actions,
               "agent": {"id": "agt_1", "name": "helper", "model": "m", "version": 3}, "error": null, "last_active_at": 1})
    }

    /// One turn that answers `words`, or waits for an approval.
    fn turn(&self, words: &str, item: &str) -> String {
        let mut out = String::new();
        let mut event = |kind: &str, body: Value| {
            let mut body = body;
            body["type"] = json!(kind);
            out.push_str(&format!("event: {kind}\ndata: {body}\n\n: keepalive\n\n"));
        };
        event("agent.session.created", json!({"session": self.session("in_progress")}));
        event("agent.session.turn.created", json!({"turn_id": "turn_1"}));
        if self.waits {
            event("agent.session.requires_action", json!({"session": self.session("requires_action")}));
            return out;
        }
        for delta in words.split_inclusive(' ') {
            event("agent.session.turn.output_text.delta", json!({"item_id": item, "delta": delta}));
        }
        event("agent.session.turn.item.done", json!({"item": message(item, "assistant", words)}));
        event("agent.session.turn.completed", json!({"turn_id": "turn_1", "usage": {"total_tokens": 3}}));
        event("agent.session.idle", json!({"session": self.session("idle")}));
        out
    }
}

fn approval() -> Value {
    json!({"type": "mcp_approval_request", "request_id": "apr_77", "turn_id": "turn_1",
           "request": {"type": "mcp_tool_call", "server_label": "pay", "name": "refund", "arguments": {"o": 1}}})
}

fn message(id: &str, role: &str, words: &str) -> Value {
    json!({"id": id, "type": "message", "role": role, "status": "completed", "phase": null,
           "content": [{"type": "output_text", "text": words}]})
}

fn page(data: impl Into<Value>) -> Json<Value> {
    let data: Value = data.into();
    Json(json!({"object": "list", "data": data, "has_more": false}))
}

async fn guard(
    headers: HeaderMap,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if header("authorization") != format!("Bearer {KEY}") {
        let error =
            json!({"error": {"message": "the key is wrong", "type": "invalid_request_error", "code": null}});
        return (StatusCode::UNAUTHORIZED, [("x-request-id", "req_9")], Json(error)).into_response();
    }
    assert_eq!(header("openai-beta"), "agents=v1");
    if request.method() == axum::http::Method::POST {
        assert_eq!(header("idempotency-key").len(), 32);
    }
    next.run(request).await
}

async fn create(State(fake): State<Fake>, Json(body): Json<Value>) -> Response {
    assert_eq!(body["agent_id"], "agt_1");
    fake.posted.lock().expect("no writer panicked").push(body.clone());
    let words = format!("You said: {}", body["input"].as_str().expect("text"));
    ([("content-type", "text/event-stream")], fake.turn(&words, "item_1")).into_response()
}

async fn input(State(fake): State<Fake>, Json(body): Json<Value>) -> StatusCode {
    let event = body["events"][0].clone();
    if event["type"] == "agent.session.input.message" {
        let words = event["input"][0]["content"][0]["text"].as_str().expect("text");
        let _ = fake.live.send(fake.turn(&format!("Again: {words}"), "item_3"));
    }
    fake.posted.lock().expect("no writer panicked").push(event);
    StatusCode::ACCEPTED
}

async fn events(State(fake): State<Fake>) -> Response {
    let receiver = fake.live.subscribe();
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let text = receiver.recv().await.ok()?;
        Some((Ok::<_, std::io::Error>(text), receiver))
    });
    let head = futures_util::stream::once(async { Ok(": open\n\n".to_owned()) });
    let body = Body::from_stream(futures_util::StreamExt::chain(head, stream));
    ([("content-type", "text/event-stream")], body).into_response()
}

/// Two pages, so that paging is walked.
async fn items(Query(query): Query<std::collections::BTreeMap<String, String>>) -> Json<Value> {
    match query.get("after").map(String::as_str) {
        None => Json(json!({"data": [message("item_0", "user", "Hi")], "has_more": true})),
        Some("item_0") => page(json!([message("item_1", "assistant", "You said: Hi")])),
        Some(_) => page(json!([])),
    }
}

fn agent() -> Value {
    json!({"id": "agt_1", "object": "tenure.agent", "name": "helper", "model": "m", "version": 2,
           "instructions": "Be brief.", "tools": [], "author": {"type": "project_files"},
           "split": [{"version": 1, "weight": 3}, {"version": 2, "weight": 1}], "updated_at": 1})
}

fn version(number: u64) -> Value {
    json!({"id": number.to_string(), "object": "tenure.agent.version", "agent_id": "agt_1", "version": number,
           "created_at": 1, "author": {"type": "key", "id": "key_1", "name": "ops"}, "restores": null,
           "agent": {"id": "agt_1", "name": "helper", "model": "m", "instructions": "Be brief.", "tools": []}})
}

async fn difference(Query(query): Query<std::collections::BTreeMap<String, String>>) -> Json<Value> {
    let from: u64 = query["from"].parse().expect("a number");
    let to: u64 = query.get("to").map_or(2, |to| to.parse().expect("a number"));
    let change = json!({"change": "changed", "path": "model", "from": "m", "to": "n"});
    let changes = if from == to { json!([]) } else { json!([change]) };
    Json(json!({"object": "tenure.agent.diff", "from": from, "to": to, "changes": changes}))
}

async fn rollback(State(fake): State<Fake>, Json(body): Json<Value>) -> Response {
    if body["version"] == 9 {
        let problem = json!({"status": 400, "code": "invalid_value", "detail": "the agent has no version 9"});
        return (StatusCode::BAD_REQUEST, Json(problem)).into_response();
    }
    fake.posted.lock().expect("no writer panicked").push(body);
    (StatusCode::CREATED, Json(version(3))).into_response()
}

async fn put_split(State(fake): State<Fake>, Json(body): Json<Value>) -> Json<Value> {
    fake.posted.lock().expect("no writer panicked").push(body.clone());
    Json(json!({"object": "tenure.agent.split", "versions": body["versions"]}))
}

async fn end_split() -> Json<Value> {
    Json(json!({"agent_id": "agt_1", "object": "tenure.agent.split.deleted", "deleted": true}))
}

async fn no_split() -> Response {
    let problem = json!({"status": 404, "code": "not_found_error", "detail": "The agent has no split."});
    (StatusCode::NOT_FOUND, Json(problem)).into_response()
}

async fn keys_revoke(Path(id): Path<String>) -> Json<Value> {
    Json(json!({"id": id, "deleted": true}))
}

/// As Tenure's own paths refuse: `application/problem+json`.
async fn keys_create(Json(body): Json<Value>) -> Response {
    if body["name"] == "new" {
        return Json(json!({"id": "key_2", "name": "new", "key": "tk_secret"})).into_response();
    }
    let problem = json!({"type": "about:blank", "title": "Bad Request", "status": 400, "request_id": "req_8",
        "code": "name_characters", "detail": "The name is not one.", "hint": "use letters and digits"});
    (StatusCode::BAD_REQUEST, [("content-type", "application/problem+json")], problem.to_string())
        .into_response()
}

async fn fork(State(fake): State<Fake>, Path(id): Path<String>, Json(body): Json<Value>) -> Response {
    let mut forked = fake.session("idle");
    forked["id"] = json!("sess_fork");
    forked["forked_from"] = json!({"session_id": id, "version": 9});
    fake.posted.lock().expect("no writer panicked").push(body);
    (StatusCode::CREATED, Json(forked)).into_response()
}

/// A session whose turn runs.
async fn rewind(State(fake): State<Fake>, Json(body): Json<Value>) -> Response {
    if fake.waits {
        let problem =
            json!({"status": 409, "code": "session_busy", "detail": "a turn runs; cancel it first"});
        return (StatusCode::CONFLICT, Json(problem)).into_response();
    }
    fake.posted.lock().expect("no writer panicked").push(body);
    Json(fake.session("idle")).into_response()
}

async fn history() -> Json<Value> {
    page(json!([
        {"id": "item_0", "type": "item", "version": 7, "at": 1, "item": message("item_0", "user", "Hi")},
        {"id": "turn_1", "type": "turn", "version": 12, "at": 1, "status": "completed"},
    ]))
}

async fn collect(State(fake): State<Fake>, Json(body): Json<Value>) -> Json<Value> {
    fake.posted.lock().expect("no writer panicked").push(body);
    Json(json!({"object": "tenure.collection", "payloads_removed": 2, "payloads_old": 5, "bytes_removed": 70,
                "sessions_read": 3, "damaged": false}))
}

struct Running {
    url: String,
    fake: Fake,
}

async fn webhooks() -> Json<Value> {
    page(
        json!([{"id": "wh_1", "name": "crm", "url": "https://crm.example/", "event_types": [], "created_at": 1}]),
    )
}

async fn dead_letters() -> Json<Value> {
    page(json!([{"id": "dlv_12", "event_type": "agent.session.idle", "session_id": SESSION,
                 "last_error": "the receiver took too long", "failed_at": 1}]))
}

async fn post_webhook(State(fake): State<Fake>, Json(body): Json<Value>) -> Json<Value> {
    fake.posted.lock().expect("no writer panicked").push(body);
    Json(json!({"id": "wh_2", "signing_secret": "whsec_secret"}))
}

async fn serve(waits: bool) -> Running {
    let fake = Fake { posted: Arc::default(), waits, live: broadcast::channel(16).0 };
    let status = if waits { "requires_action" } else { "idle" };
    let session = fake.session(status);
    let (listed, pinned, pinned_one) = (session.clone(), session.clone(), session.clone());
    let app = Router::new()
        .route("/v1/agents", get(|| async { page(json!([{"id": "agt_1", "name": "helper"}])) }))
        .route("/v1/agents/sessions", post(create).get(|| async move { page(json!([listed])) }))
        .route("/v1/agents/sessions/{id}", get(|| async move { Json(session) }))
        .route("/v1/tenure/sessions", get(|| async move { page(json!([pinned])) }))
        .route("/v1/tenure/sessions/{id}", get(|| async move { Json(pinned_one) }))
        .route("/v1/tenure/sessions/{id}/fork", post(fork))
        .route("/v1/tenure/sessions/{id}/rewind", post(rewind))
        .route("/v1/tenure/sessions/{id}/history", get(history))
        .route("/v1/tenure/collect", post(collect))
        .route("/v1/tenure/agents", get(|| async { page(json!([agent()])) }))
        .route("/v1/tenure/agents/agt_1", get(|| async { Json(agent()) }))
        .route("/v1/tenure/agents/agt_1/versions", get(|| async { page(json!([version(2), version(1)])) }))
        .route("/v1/tenure/agents/agt_1/versions/{n}", get(|| async { Json(version(1)) }))
        .route("/v1/tenure/agents/agt_1/diff", get(difference))
        .route("/v1/tenure/agents/agt_1/rollback", post(rollback))
        .route("/v1/tenure/agents/agt_1/split", put(put_split).delete(end_split).get(no_split))
        .route("/v1/agents/sessions/{id}/items", get(items))
        .route("/v1/agents/sessions/{id}/events", get(events).post(input))
        .route(
            "/v1/tenure/keys",
            get(|| async {
                page(json!([{"id": "key_1", "name": "ci", "prefix": "tk_ab", "created_at": 1}]))
            })
            .post(keys_create),
        )
        .route("/v1/tenure/keys/{id}", delete(keys_revoke))
        .route("/v1/tenure/webhooks", get(webhooks).post(post_webhook))
        .route("/v1/tenure/webhooks/{id}", delete(keys_revoke))
        .route("/v1/tenure/webhooks/{id}/rotate_secret", post(post_webhook))
        .route("/v1/tenure/webhooks/{id}/dead_letters", get(dead_letters))
        .route(
            "/v1/tenure/webhooks/{id}/dead_letters/{delivery}/redeliver",
            post(|Path(ids): Path<(String, String)>| async move {
                assert_eq!(ids, ("wh_1".to_owned(), "dlv_12".to_owned()));
                StatusCode::ACCEPTED
            }),
        )
        .layer(axum::middleware::from_fn(guard))
        .with_state(fake.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await.expect("served") });
    Running { url, fake }
}

impl Running {
    fn posted(&self) -> Vec<Value> {
        self.fake.posted.lock().expect("no writer panicked").clone()
    }

    /// Runs a command and gives its exit code, standard output and standard error.
    async fn run(&self, line: &str, stdin: &str) -> (i32, String, String) {
        tenure(line, stdin, &self.url, KEY).await
    }
}

async fn tenure(line: &str, stdin: &str, url: &str, key: &str) -> (i32, String, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_tenure"))
        .args(line.split(' '))
        .current_dir(directory.path())
        .env_clear()
        .env("TENURE_URL", url)
        .env("TENURE_API_KEY", key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary runs");
    let mut input = child.stdin.take().expect("a pipe");
    // A command that reads no input may be gone before it is written.
    let _ = input.write_all(stdin.as_bytes()).await;
    drop(input);
    let Output { status, stdout, stderr } = child.wait_with_output().await.expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("not killed"), text(stdout), text(stderr))
}

#[tokio::test]
async fn the_past_is_listed_forked_and_gone_back_to() {
    let server = serve(false).await;
    let (code, out, _) = server.run("history last", "").await;
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(code, 0);
    assert_eq!(lines[0], ["VERSION", "AGE", "MOMENT", "WHAT"]);
    assert_eq!((lines[1][0], &lines[1][2..]), ("7", &["item_0", "user", "Hi"][..]));
    assert_eq!((lines[2][0], &lines[2][2..]), ("12", &["turn_1", "turn", "completed"][..]));
    let (code, out, err) = server.run("fork last --at turn_1", "").await;
    assert_eq!((code, out.as_str(), err), (0, "sess_fork\n", format!("forked from {SESSION}@9\n")));
    let (code, ..) = server.run("fork last", "").await;
    assert_eq!(code, 0);
    let (code, out, _) = server.run("rewind last --to 7", "").await;
    assert_eq!((code, out), (0, format!("{SESSION} is as it was at 7\n")));
    let (code, out, _) = server.run("gc --grace-hours 2", "").await;
    assert_eq!((code, out.as_str()), (0, "removed 2 of 5 old payloads, 70 bytes; read 3 sessions\n"));
    let posted = [
        json!({"at": "turn_1"}),
        json!({"at": "latest"}),
        json!({"to": "7"}),
        json!({"grace_seconds": 7200}),
    ];
    assert_eq!(server.posted(), posted);
    let (code, _, err) = serve(true).await.run("rewind last --to 7", "").await;
    assert_eq!(code, 1);
    assert!(err.contains("cancel it first"), "{err}");
}

#[tokio::test]
async fn run_prints_the_answer_alone() {
    let server = serve(false).await;
    let (code, out, err) = server.run("run helper Hi", "").await;
    assert_eq!((code, out.as_str(), err), (0, "You said: Hi\n", format!("{SESSION}\n")));
    let (code, out, _) = server.run("run helper - -o json", "from a pipe").await;
    let answer: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(code, 0);
    assert_eq!(answer["answer"], "You said: from a pipe");
    assert_eq!(answer["status"], "completed");
    assert_eq!(answer["usage"]["total_tokens"], 3);
    let (code, out, _) = server.run("run --session last more", "").await;
    assert_eq!((code, out.as_str()), (0, "Again: more\n"));
}

#[tokio::test]
async fn run_says_what_it_waits_for() {
    let server = serve(true).await;
    let (code, out, err) = server.run("run helper Hi", "").await;
    assert_eq!((code, out.as_str()), (4, ""));
    assert_eq!(
        err,
        format!(
            "{SESSION}\nerror[requires_action]: session {SESSION} waits\n  \
             cause: pay.refund {{\"o\":1}} needs an approval\n  \
             fix: tenure approve apr_77  (or: tenure deny apr_77)\n  \
             nothing is lost: it costs nothing while it waits\n"
        )
    );
}

#[tokio::test]
async fn approvals_are_found_and_answered() {
    let server = serve(true).await;
    let (code, out, _) = server.run("inbox -o name", "").await;
    assert_eq!((code, out.as_str()), (0, "apr_77\n"));
    let (code, out, err) = server.run("approve 77", "").await;
    assert_eq!((code, out.as_str(), err.as_str()), (0, "approved apr_77\n", "pay.refund {\"o\":1}\n"));
    let (code, _, _) = server.run("deny apr_77 --session last", "").await;
    assert_eq!(code, 0);
    let (code, _, _) = server.run("approve apr_8", "").await;
    assert_eq!(code, 3);
    let decisions: Vec<_> =
        server.posted().iter().map(|event| event["response"]["decision"].clone()).collect();
    assert_eq!(decisions, ["approve", "deny"]);
}

#[tokio::test]
async fn chat_keeps_one_session() {
    let server = serve(false).await;
    let (code, out, err) = server.run("chat", "Hi\nmore\n").await;
    assert_eq!((code, out.as_str()), (0, "You said: Hi\nAgain: more\n"), "{err}");
    let (code, out, _) = server.run("chat nobody", "").await;
    assert_eq!((code, out.as_str()), (3, ""));
    let (code, out, err) = server.run("attach last", "hello\n/exit\n").await;
    assert_eq!((code, out.as_str()), (0, "Again: hello\n"), "{err}");
}

#[tokio::test]
async fn lists_sessions_items_and_keys() {
    let server = serve(false).await;
    let (code, out, _) = server.run("ps -o name", "").await;
    assert_eq!((code, out), (0, format!("{SESSION}\n")));
    let (_, out, err) = server.run("logs last", "").await;
    assert_eq!(out, "user       Hi\nassistant  You said: Hi\n");
    assert_eq!(err, "helper version 3\n");
    let (_, out, _) = server.run("logs 0123 -o name", "").await;
    assert_eq!(out, "item_0\nitem_1\n");
    let (_, out, _) = server.run("keys list -o name", "").await;
    assert_eq!(out, "key_1\n");
    let (_, out, err) = server.run("keys create new", "").await;
    assert_eq!((out.as_str(), err.as_str()), ("tk_secret\n", "this is the only time the key is shown\n"));
    let (_, out, _) = server.run("keys revoke key_1", "").await;
    assert_eq!(out, "revoked key_1\n");
    let (code, _, err) = server.run("keys create ?", "").await;
    assert_eq!(code, 1);
    assert_eq!(
        err,
        "error[name_characters]: The name is not one.\n  cause: status 400, request req_8\n  \
         fix: use letters and digits\n"
    );
}

#[tokio::test]
async fn agents_are_seen_compared_rolled_back_and_split() {
    let server = serve(false).await;
    let (code, out, _) = server.run("agents ls", "").await;
    assert_eq!(code, 0);
    assert!(out.starts_with("NAME    ID     MODEL  VERSION  SPLIT           CHANGED\n"), "{out}");
    assert!(out.contains("helper  agt_1  m      2        1: 75%, 2: 25%  "), "{out}");
    let (_, out, _) = server.run("agents versions helper -o name", "").await;
    assert_eq!(out, "2\n1\n");
    let (_, out, _) = server.run("agents show helper", "").await;
    assert!(out.contains("author     project files\n") && out.ends_with("\n\nBe brief.\n"), "{out}");
    let (_, out, _) = server.run("agents show helper 1", "").await;
    assert!(out.contains("author     key ops\n"), "{out}");
    let (_, out, err) = server.run("agents diff helper", "").await;
    assert_eq!((out.as_str(), err.as_str()), ("~ model\n  - m\n  + n\n", "helper: version 1 to 2\n"));
    let (_, out, err) = server.run("agents diff helper 2 2", "").await;
    assert_eq!((out.as_str(), err.as_str()), ("", "helper: version 2 to 2\nno difference\n"));
    let (_, out, _) = server.run("agents diff helper 1 2 -o json", "").await;
    assert_eq!(serde_json::from_str::<Value>(&out).expect("JSON")["changes"][0]["path"], "model");
    let (code, out, _) = server.run("agents rollback helper 1", "").await;
    assert_eq!((code, out.as_str()), (0, "version 3 is equal to version 1\n"));
    let (code, _, err) = server.run("agents rollback helper 9", "").await;
    assert_eq!(code, 1);
    assert!(err.starts_with("error[invalid_value]: the agent has no version 9\n"), "{err}");
    let (_, out, _) = server.run("agents split helper 1=9 2=1", "").await;
    assert_eq!(out, "1: 90%, 2: 10%\n");
    let (_, out, _) = server.run("agents split helper --end", "").await;
    assert_eq!(out, "new sessions run the latest version\n");
    let (code, _, err) = server.run("agents split helper", "").await;
    assert_eq!(code, 3, "{err}");
    let (code, _, _) = server.run("agents show nobody", "").await;
    assert_eq!(code, 3);
    let versions = json!([{"version": 1, "weight": 9}, {"version": 2, "weight": 1}]);
    assert_eq!(server.posted(), [json!({"version": 1}), json!({"versions": versions})]);
}

#[tokio::test]
async fn manages_webhooks() {
    let server = serve(false).await;
    let add = "webhooks add https://crm.example/hook --name crm --event agent.session.idle";
    let (code, out, err) = server.run(add, "").await;
    assert_eq!((code, out.as_str()), (0, "whsec_secret\n"), "{err}");
    assert_eq!(err, "wh_2: this is the only time the secret is shown\n");
    let (_, out, _) = server.run("webhooks ls -o name", "").await;
    assert_eq!(out, "wh_1\n");
    let (_, out, _) = server.run("webhooks rotate wh_1 --overlap 2", "").await;
    assert_eq!(out, "whsec_secret\n");
    let sent =
        json!({"url": "https://crm.example/hook", "name": "crm", "event_types": ["agent.session.idle"]});
    assert_eq!(server.posted(), [sent, json!({"overlap_seconds": 7200})]);
    let (_, out, _) = server.run("webhooks dead 1 -o name", "").await;
    assert_eq!(out, "dlv_12\n");
    let (code, out, err) = server.run("webhooks redeliver wh_1 dlv_1", "").await;
    assert_eq!((code, out.as_str()), (0, "sending dlv_12 again\n"), "{err}");
    let (_, out, _) = server.run("webhooks rm wh_1", "").await;
    assert_eq!(out, "removed wh_1\n");
}

#[tokio::test]
async fn tells_a_wrong_key_from_a_missing_server() {
    let server = serve(false).await;
    let (code, out, err) = tenure("ps", "", &server.url, "other").await;
    assert_eq!((code, out.as_str()), (6, ""));
    assert!(
        err.starts_with(
            "error[invalid_request_error]: the key is wrong\n  cause: status 401, request req_9\n"
        ),
        "{err}"
    );
    // A port that was just given up is free.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let (code, _, err) = tenure("ps", "", &url, KEY).await;
    assert_eq!(code, 5);
    assert!(err.contains("nothing is lost"), "{err}");
}

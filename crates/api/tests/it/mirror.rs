//! Two projects with the same shapes: every path of the API, and every id in a body or a query, is tried by one
//! with the ids of the other. The answer is that to an id which never existed, byte for byte but for the id.
//!
//! Paths come from the router's own table, and a parameter that no line here knows fails the test: a new route
//! cannot be forgotten.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tenure_journal::{HostedSettings, Template, TemplateId};
use tenure_runtime::templates;

use crate::erasures::until;
use crate::support::{KEY, OTHER_KEY, World, request};

/// Where executors connect: they are admitted by what they call, and have tests of their own.
const CONNECT: &str = "/agents/api/connect/";

/// The first project's ids by the name of their parameter, beside ids of the same form that nothing has.
struct Ids(BTreeMap<&'static str, (String, String)>);

/// Another id of the same form.
fn unknown(id: &str) -> String {
    let Some((prefix, _)) = id.split_once('_') else { return "4294967295".to_owned() };
    format!("{prefix}_{}", "0123456789abcdef".repeat(2))
}

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap_or_else(|| panic!("an id in {value}")).to_owned()
}

async fn made(world: &World, path: &str, body: Value) -> Value {
    let (status, made) = world.call("POST", path, Some(body)).await;
    assert!((200..300).contains(&status), "{path}: {status} {made}");
    made
}

fn form(path: &str, fields: &[(&str, Option<&str>, &str)]) -> Request<Body> {
    let mut body = String::new();
    for (name, file, content) in fields {
        let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
        body += &format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n{content}\r\n");
    }
    body += "--b--\r\n";
    let mut request = request("POST", path, None, &[("content-type", "multipart/form-data; boundary=b")]);
    *request.body_mut() = Body::from(body);
    request
}

pub(crate) async fn uploaded(world: &World, path: &str, fields: &[(&str, Option<&str>, &str)]) -> Value {
    let (status, _, body) = world.send(form(path, fields)).await;
    let bytes = body.collect().await.expect("a body").to_bytes();
    assert!(status.is_success(), "{path}: {}", String::from_utf8_lossy(&bytes));
    serde_json::from_slice(&bytes).expect("JSON")
}

/// One of everything, in the first project.
async fn furnish(world: &World) -> Ids {
    let mut ids = BTreeMap::new();
    let mut keep = |name, id: String| drop(ids.insert(name, (id.clone(), unknown(&id))));
    let agent = made(world, "/v1/agents", json!({"model": "m1", "name": "helper"})).await;
    keep("agent", id(&agent));
    // Whose budgets a path names.
    keep("target", id(&agent));
    let session = json!({"agent_id": agent["id"], "environment": {"type": "none"}, "input": "delegate",
        "agent": {"multi_agent": {"enabled": true}}});
    let session = world.session(session).await;
    keep("session", id(&session));
    let at = format!("/v1/agents/sessions/{}", id(&session));
    let (_, turns) = world.call("GET", &format!("{at}/turns"), None).await;
    keep("turn", id(&turns["data"][0]));
    let (_, subagents) = world.call("GET", &format!("{at}/subagents"), None).await;
    keep("subagent", id(&subagents["data"][0]));
    let target = json!({"type": "existing_session", "session_id": session["id"], "instructions": "hi"});
    let automation = json!({"type": "periodic", "name": "daily", "expression": "0 9 * * *", "timezone": "UTC",
        "target": target});
    let automation = made(world, "/v1/agents/automations", automation).await;
    keep("automation", id(&automation));
    let invoke = format!("/v1/agents/automations/{}/invocations", id(&automation));
    keep("invocation", id(&made(world, &invoke, json!({})).await));
    keep("template", template(world).await);
    let file =
        uploaded(world, "/v1/files", &[("purpose", None, "user_data"), ("file", Some("a.txt"), "hi")]).await;
    keep("file", id(&file));
    let skill = "---\nname: greet\ndescription: Says hello.\n---\nSay hello.\n";
    let skill = uploaded(world, "/v1/skills", &[("files[]", Some("greet/SKILL.md"), skill)]).await;
    keep("skill", id(&skill));
    let webhook =
        json!({"name": "hook", "url": "https://hooks.example/", "event_types": ["agent.session.idle"]});
    keep("webhook", id(&made(world, "/v1/tenure/webhooks", webhook).await));
    keep("key", id(&made(world, "/v1/tenure/keys", json!({"name": "k"})).await));
    let tool = json!({"target": {"type": "tool", "name": "shop/refund"}});
    keep("freeze", id(&made(world, "/v1/tenure/freezes", tool).await));
    let policy = r#"@id("own") forbid (principal, action == Action::"tool.call", resource == Tool::"x/y");"#;
    let policies = json!({"files": [{"name": "own.cedar", "text": policy}]});
    let policies = made(world, "/v1/tenure/policies", policies).await;
    keep("digest", policies["digest"].as_str().expect("a digest").to_owned());
    keep("vault", id(&made(world, "/v1/vaults", json!({"name": "v"})).await));
    let vault = ids["vault"].0.clone();
    let credential = made(world, &format!("/v1/vaults/{vault}/credentials"), credential()).await;
    ids.insert("credential", (id(&credential), unknown(&id(&credential))));
    let mut keep = |name, id: String| drop(ids.insert(name, (id.clone(), unknown(&id))));
    let nobody = made(world, "/v1/tenure/memory/forget", json!({"subject": "nobody"})).await;
    // It waits there for payloads to grow old, and does not change any more.
    until(world, nobody["id"].as_str().expect("an id"), "payloads").await;
    keep("erasure", id(&nobody));
    let fact = json!({"scope": "project", "statement": "Billing uses PostgreSQL."});
    keep("fact", id(&made(world, "/v1/tenure/memory/facts", fact).await));
    let block = json!({"scope": "project", "name": "house-rules", "text": "Be brief."});
    keep("block", id(&made(world, "/v1/tenure/memory/blocks", block).await));
    let procedure =
        json!({"scope": "project", "name": "refund-order", "description": "To refund.", "steps": "1. Look."});
    keep("procedure", id(&made(world, "/v1/tenure/memory/procedures", procedure).await));
    // What this server cannot make here has an id that exists nowhere; its session does.
    for (name, id) in [
        ("environment", "env_0190d5e4aabb7ccd8eeff00112233445"),
        ("sign_in", "signin_0190d5e4aabb7ccd8eeff00112233445"),
        ("artifact", "artifact_0190d5e4aabb7ccd8eeff00112233445"),
        ("delivery", "evt_0190d5e4aabb7ccd8eeff00112233445"),
        ("version", "1"),
        ("index", "0"),
    ] {
        keep(name, id.to_owned());
    }
    Ids(ids)
}

fn credential() -> Value {
    json!({"name": "n", "auth": {
        "type": "static_bearer", "mcp_server_url": "https://x.example/mcp", "token": "s3cr3t-token"}})
}

/// A template, which this server would refuse to make for want of a sandbox.
async fn template(world: &World) -> String {
    let (_, who) = world.call("GET", "/v1/tenure/whoami", None).await;
    let project = who["project_id"].as_str().expect("text").parse().expect("an id");
    let id = TemplateId::fresh(&world.runtime.fresh());
    let template = Template { name: Some("t".into()), settings: HostedSettings::default() };
    let (store, now) = (world.runtime.store().as_ref(), world.runtime.now());
    templates::create(store, (project, id), now, template, |_| None).await.expect("made");
    id.to_string()
}

/// Bodies that pass whatever is looked at before the ids, by path; an empty object elsewhere.
fn body_of(path: &str) -> Value {
    let message = json!({"type": "agent.session.input.message",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]});
    match path {
        "/v1/agents/sessions/{session}/events" => json!({"events": [message]}),
        "/v1/tenure/sessions/{session}/rewind" => json!({"to": 1}),
        "/v1/tenure/agents/{agent}/rollback" => json!({"version": 1}),
        "/v1/tenure/agents/{agent}/split" => {
            json!({"versions": [{"version": 1, "weight": 1}, {"version": 2, "weight": 1}]})
        }
        "/v1/vaults/{vault}" => json!({"name": "w"}),
        "/v1/vaults/{vault}/credentials" => credential(),
        "/v1/vaults/{vault}/credentials/{credential}" => {
            json!({"auth": {"type": "static_bearer", "token": "another-token"}})
        }
        "/v1/tenure/vaults/{vault}/sign_ins" => json!({"mcp_server_url": "https://x.example/mcp"}),
        "/v1/tenure/budgets/{target}" => json!({"limits": {"day": {"calls": 1}}}),
        "/v1/tenure/memory/facts/{fact}/correct" => json!({"statement": "Billing uses SQLite."}),
        "/v1/skills/{skill}" => json!({"default_version": "1"}),
        _ => json!({}),
    }
}

/// A query without which a path does not look at its ids.
fn query_of(path: &str) -> &'static str {
    match path {
        "/v1/tenure/agents/{agent}/diff" => "?from=1",
        _ => "",
    }
}

fn parameters(path: &str) -> Vec<&str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect()
}

/// A path with its parameters filled in.
fn filled(path: &str, value: impl Fn(&str) -> String) -> String {
    let part = |part: &str| match part.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
        Some(name) => value(name.trim_start_matches('*')),
        None => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// What the other project is told, as text without anything that differs between two equal requests.
async fn told(world: &World, method: &str, path: &str, body: Option<Value>) -> (u16, String) {
    let headers = [("authorization", &*format!("Bearer {OTHER_KEY}"))];
    let request = request(method, path, body, &headers);
    let answer = tokio::time::timeout(Duration::from_secs(60), world.send(request));
    let (status, _, body) = answer.await.unwrap_or_else(|_| panic!("{method} {path} hangs"));
    if status.is_success() {
        // A stream has no end; that it is one is enough to be wrong.
        return (status.as_u16(), String::new());
    }
    let bytes = body.collect().await.expect("a body").to_bytes();
    let mut value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if let Some(problem) = value.as_object_mut() {
        problem.remove("request_id");
    }
    (status.as_u16(), value.to_string())
}

/// Everything the first project can read of itself.
async fn everything(world: &World, ids: &Ids) -> String {
    let mut all = String::new();
    for path in tenure_api::paths() {
        // Streams do not end; checkpoints cover what the reading itself records.
        if path.ends_with("/events")
            || path.contains("/audit")
            || path.contains('*')
            || path.contains("/keys")
            || path.contains(CONNECT)
        {
            continue;
        }
        let path = format!("{}{}", filled(&path, |name| ids.0[name].0.clone()), query_of(&path));
        let (status, _, body) = world.send(request("GET", &path, None, &[])).await;
        let bytes = body.collect().await.expect("a body").to_bytes();
        if status.is_success() {
            all += &format!("{path}: {}\n", String::from_utf8_lossy(&bytes));
        }
    }
    all
}

#[tokio::test]
async fn every_path_tells_a_foreign_id_from_an_unknown_one_to_nobody() {
    let world = World::new().await;
    let ids = furnish(&world).await;
    let before = everything(&world, &ids).await;
    let mut tried = 0;
    for path in tenure_api::paths() {
        let names = parameters(&path);
        // Executors are admitted by what they call; the wildcard paths name models, which are nobody's.
        if names.is_empty()
            || path.contains('*')
            || path.starts_with("/v1/tenure/audit")
            || path.contains(CONNECT)
        {
            continue;
        }
        for name in &names {
            assert!(ids.0.contains_key(name), "`{{{name}}}` of {path}: give it an id in `furnish`");
        }
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let query = query_of(&path);
            let body = matches!(method, "POST" | "PUT").then(|| body_of(&path));
            // All ids foreign; then each parameter alone against one that is unknown.
            let foreign = format!("{}{query}", filled(&path, |name| ids.0[name].0.clone()));
            let answer = told(&world, method, &foreign, body.clone()).await;
            if answer.0 == 405 {
                continue;
            }
            tried += 1;
            assert_eq!(answer.0 / 100, 4, "{method} {foreign}: {answer:?}");
            for unknown in &names {
                let value = |name: &str| {
                    let (foreign, nowhere) = &ids.0[name];
                    if name == *unknown { nowhere.clone() } else { foreign.clone() }
                };
                let unknown = format!("{}{query}", filled(&path, value));
                let expected = told(&world, method, &unknown, body.clone()).await;
                assert_eq!(answer, expected, "{method} {foreign} against {unknown}");
            }
            let is_lookup = body.as_ref().is_none_or(|_| answer.0 != 400);
            assert!(!is_lookup || answer.0 == 404, "{method} {foreign}: {answer:?}");
        }
    }
    assert!(tried > 60, "only {tried} requests looked at an id");
    assert_eq!(everything(&world, &ids).await, before, "nothing of the first project changed");
}

#[tokio::test]
async fn every_id_in_a_body_or_a_query_is_as_unknown_as_any() {
    let world = World::new().await;
    let ids = furnish(&world).await;
    let of = |name: &str| ids.0[name].clone();
    let text = json!([{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]);
    let new_session = |agent: &str| json!({"type": "new_session", "agent_id": agent, "environment": {"type": "none"}, "input": text});
    let periodic = |target: Value| json!({"type": "periodic", "name": "n", "expression": "0 9 * * *", "timezone": "UTC", "target": target});
    type Build<'a> = Box<dyn Fn(&str) -> (&'static str, String, Option<Value>) + 'a>;
    let cases: Vec<(&str, Build<'_>)> = vec![
        (
            "agent",
            Box::new(|id| {
                let body = json!({"agent_id": id, "environment": {"type": "none"}, "input": "hi"});
                ("POST", "/v1/agents/sessions".into(), Some(body))
            }),
        ),
        (
            "environment",
            Box::new(|id| {
                let environment = json!({"type": "openai_hosted", "environment_id": id});
                let body = json!({"agent": {"model": "m1"}, "environment": environment, "input": "hi"});
                ("POST", "/v1/agents/sessions".into(), Some(body))
            }),
        ),
        (
            "template",
            Box::new(|id| {
                let environment = json!({"type": "openai_hosted", "environment_template_id": id});
                let body = json!({"agent": {"model": "m1"}, "environment": environment, "input": "hi"});
                ("POST", "/v1/agents/sessions".into(), Some(body))
            }),
        ),
        (
            "file",
            Box::new(|id| {
                let files = json!([{"type": "file_id", "file_id": id, "path": "a.txt"}]);
                let environment = json!({"type": "openai_hosted", "files": files});
                let body = json!({"agent": {"model": "m1"}, "environment": environment, "input": "hi"});
                ("POST", "/v1/agents/sessions".into(), Some(body))
            }),
        ),
        (
            "skill",
            Box::new(|id| {
                let skills = json!([{"type": "skill_reference", "skill_id": id}]);
                let environment = json!({"type": "openai_hosted", "skills": skills});
                let body = json!({"agent": {"model": "m1"}, "environment": environment, "input": "hi"});
                ("POST", "/v1/agents/sessions".into(), Some(body))
            }),
        ),
        (
            "session",
            Box::new(|id| {
                let target = json!({"type": "existing_session", "session_id": id, "instructions": "hi"});
                ("POST", "/v1/agents/automations".into(), Some(periodic(target)))
            }),
        ),
        ("agent", Box::new(|id| ("POST", "/v1/agents/automations".into(), Some(periodic(new_session(id)))))),
        (
            "agent",
            Box::new(|id| {
                ("POST", "/v1/tenure/freezes".into(), Some(json!({"target": {"type": "agent", "id": id}})))
            }),
        ),
        (
            "session",
            Box::new(|id| ("POST", "/v1/tenure/memory/forget".into(), Some(json!({"session_id": id})))),
        ),
        ("file", Box::new(|id| ("POST", "/v1/tenure/memory/forget".into(), Some(json!({"file_id": id}))))),
        ("erasure", Box::new(|id| ("GET", format!("/v1/tenure/memory/erasures?after={id}"), None))),
        ("agent", Box::new(|id| ("GET", format!("/v1/agents/sessions?agent_id={id}"), None))),
        (
            "agent",
            Box::new(|id| ("GET", format!("/v1/tenure/memory/search?agent_id={id}&question=hi"), None)),
        ),
        ("session", Box::new(|id| ("GET", format!("/v1/agents/automations?session_id={id}"), None))),
        ("session", Box::new(|id| ("GET", format!("/v1/agents/sessions?after={id}"), None))),
        ("agent", Box::new(|id| ("GET", format!("/v1/agents?after={id}"), None))),
        ("file", Box::new(|id| ("GET", format!("/v1/files?after={id}"), None))),
        ("skill", Box::new(|id| ("GET", format!("/v1/skills?after={id}"), None))),
        ("key", Box::new(|id| ("GET", format!("/v1/tenure/keys?after={id}"), None))),
        ("webhook", Box::new(|id| ("GET", format!("/v1/tenure/webhooks?after={id}"), None))),
        ("automation", Box::new(|id| ("GET", format!("/v1/agents/automations?after={id}"), None))),
    ];
    for (name, build) in &cases {
        let (foreign, nowhere) = of(name);
        let ask = async |id: &str| {
            let (method, path, body) = build(id);
            let headers = [("authorization", &*format!("Bearer {OTHER_KEY}"))];
            let (status, answer) = world.call_with(method, &path, body, &headers).await;
            let shown = answer.to_string().replace(id, "ID");
            let parts: Vec<&str> = shown.split("\"request_id\"").take(1).collect();
            (status, parts.concat())
        };
        let (found, expected) = (ask(&foreign).await, ask(&nowhere).await);
        let own = foreign.clone();
        if build(&own).0 == "POST" {
            assert_eq!(found, expected, "{:?}", build(&own));
            assert!(found.0 >= 400, "{:?}: {found:?}", build(&own));
        } else {
            // A cursor need not exist; what it leads to is one's own.
            assert_eq!(found.0, expected.0, "{:?}", build(&own));
            assert!(!found.1.contains(&own) || found.0 >= 400, "{:?}: {found:?}", build(&own));
            for (own, _) in ids.0.values().filter(|(own, _)| own.contains('_')) {
                assert!(!found.1.contains(own), "{:?} shows {own}: {found:?}", build(&foreign));
            }
        }
    }
}

#[tokio::test]
async fn an_idempotency_key_of_another_project_is_free() {
    let world = World::new().await;
    let body = json!({"model": "m1", "name": "same"});
    let mut made = Vec::new();
    for key in [KEY, OTHER_KEY] {
        let headers = [("authorization", &*format!("Bearer {key}")), ("idempotency-key", "once")];
        let (status, agent) = world.call_with("POST", "/v1/agents", Some(body.clone()), &headers).await;
        assert_eq!(status, 201, "{agent}");
        made.push(id(&agent));
    }
    assert_ne!(made[0], made[1]);
}

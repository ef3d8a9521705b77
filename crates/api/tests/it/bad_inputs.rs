//! What must never be accepted, over a real socket. The numbers are those of the table of bad inputs that
//! the project keeps; a row that is not here is named at the end with the reason.

use std::time::Duration;

use serde_json::json;
use tenure_api::Limits;

use crate::support::{Answer, KEY, Listening, OTHER_KEY, Raw, World, listen};

struct Case {
    row: &'static str,
    request: Vec<u8>,
    status: u16,
    code: &'static str,
}

fn case(row: &'static str, request: impl Into<Vec<u8>>, status: u16, code: &'static str) -> Case {
    Case { row, request: request.into(), status, code }
}

const HOST: &str = "Host: localhost\r\n";
const BETA: &str = "OpenAI-Beta: agents=v1\r\n";

fn auth() -> String {
    format!("Authorization: Bearer {KEY}\r\n")
}

/// A complete request with everything it needs, and `headers` besides.
fn get(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\n{HOST}{}{BETA}{headers}\r\n", auth())
}

fn post(target: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {target} HTTP/1.1\r\n{HOST}{}{BETA}Content-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n{body}",
        auth()
    )
}

/// A request to create an agent with a body that is wrong in one way.
fn agent(body: &str) -> String {
    post("/v1/agents", "", body)
}

/// The same with headers of its own about the body.
fn typed(headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /v1/agents HTTP/1.1\r\n{HOST}{}{BETA}Content-Length: {length}\r\n{headers}\r\n{body}",
        auth()
    )
}

/// A head whose framing is wrong, with a body after it.
fn framed(headers: &str, body: &str) -> String {
    format!(
        "POST /v1/agents HTTP/1.1\r\n{HOST}{}{BETA}Content-Type: application/json\r\n{headers}\r\n{body}",
        auth()
    )
}

fn session(members: &str) -> String {
    let body = format!(r#"{{"agent":{{"model":"m"}},"environment":{{"type":"none"}}{members}}}"#);
    post("/v1/agents/sessions", "", &body)
}

async fn serve(limits: Limits) -> (World, Listening) {
    let world = World::new().await;
    let listening = listen(world.app.clone(), limits).await;
    (world, listening)
}

async fn answer(listening: &Listening, request: &[u8]) -> Answer {
    let mut raw = Raw::connect(listening.address).await;
    raw.send(request).await;
    raw.answer().await
}

async fn check(listening: &Listening, cases: Vec<Case>) {
    let mut wrong = Vec::new();
    for case in cases {
        let answer = answer(listening, &case.request).await;
        assert!(answer.head.contains("x-request-id: req_"), "{}: {}", case.row, answer.head);
        if (answer.status, answer.code().as_str()) != (case.status, case.code) {
            wrong.push(format!(
                "{}: {} {} instead of {} {}\n  {}",
                case.row,
                answer.status,
                answer.code(),
                case.status,
                case.code,
                answer.body
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn hosts_and_origins() {
    let (_world, listening) = serve(Limits::default()).await;
    let auth = auth();
    let with_host = |hosts: &str| format!("GET /v1/models HTTP/1.1\r\n{hosts}{auth}\r\n");
    let evil = "Origin: https://evil.example\r\n";
    let cases = vec![
        case("B1", with_host(""), 400, "host_required"),
        case("B2", with_host("Host: localhost\r\nHost: localhost\r\n"), 400, "host_duplicate"),
        case("B3", with_host("Host: evil.example\r\n"), 421, "host_not_allowed"),
        case("B4", get("http://evil.example/v1/models", ""), 421, "host_not_allowed"),
        case("B5", post("/v1/agents", evil, "{}"), 403, "origin_not_allowed"),
        case("B5 null", post("/v1/agents", "Origin: null\r\n", "{}"), 403, "origin_not_allowed"),
        case("B8", get("/v1/agents/sessions/sess_0/events", evil), 403, "origin_not_allowed"),
    ];
    check(&listening, cases).await;
    let preflight =
        format!("OPTIONS /v1/agents HTTP/1.1\r\n{HOST}{evil}Access-Control-Request-Method: POST\r\n\r\n");
    let answer = answer(&listening, preflight.as_bytes()).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "origin_not_allowed"), "B6");
    assert!(!answer.head.contains("access-control"), "B6: {}", answer.head);
}

#[tokio::test]
async fn credentials() {
    let (world, listening) = serve(Limits::default()).await;
    let bearer =
        |value: &str| format!("GET /v1/agents HTTP/1.1\r\n{HOST}{BETA}Authorization: {value}\r\n\r\n");
    let read = &world.read_only;
    let truncated = &read[..read.len() - 3];
    let mut bodies = Vec::new();
    for (row, request) in [
        ("B9", format!("GET /v1/agents HTTP/1.1\r\n{HOST}{BETA}\r\n")),
        ("B10 wrong", bearer("Bearer tnr_wrong")),
        ("B10 revoked", bearer(&format!("Bearer {}", world.revoked))),
        ("B10 expired", bearer(&format!("Bearer {}", world.expired))),
        ("B10 truncated", bearer(&format!("Bearer {truncated}"))),
        ("B10 scheme", bearer(&format!("Basic {KEY}"))),
        ("B10 empty", bearer("Bearer ")),
        ("B13", bearer("Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.")),
    ] {
        let answer = answer(&listening, request.as_bytes()).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "invalid_api_key"), "{row}");
        assert!(answer.head.contains("www-authenticate: bearer"), "{row}: {}", answer.head);
        bodies.push(answer.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "B10: one body for every reason");

    let two = format!("GET /v1/agents HTTP/1.1\r\n{HOST}{BETA}{}{}\r\n", auth(), auth());
    let reader = format!("Authorization: Bearer {read}\r\n");
    let no_scope = format!(
        "POST /v1/agents HTTP/1.1\r\n{HOST}{BETA}{reader}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    let cases = vec![
        case("B11", get(&format!("/v1/agents?api_key={KEY}"), ""), 400, "credential_in_url"),
        case("B11 by form", get(&format!("/v1/agents?x={read}"), ""), 400, "credential_in_url"),
        case("B12", two, 400, "ambiguous_credentials"),
        case("B13 large", bearer(&format!("Bearer {}", "a".repeat(1 << 20))), 431, "headers_too_large"),
        case("B14", no_scope, 403, "insufficient_scope"),
    ];
    check(&listening, cases).await;
}

#[tokio::test]
async fn another_projects_things_look_like_nothing() {
    let (world, listening) = serve(Limits::default()).await;
    let other = [("authorization", &format!("Bearer {OTHER_KEY}")[..])];
    let (_, agent) = world.call_with("POST", "/v1/agents", Some(json!({"model": "m"})), &other).await;
    let theirs = agent["id"].as_str().expect("an id");
    let unknown = "agt_00000000000070008000000000000001";
    let found = answer(&listening, get(&format!("/v1/agents/{theirs}"), "").as_bytes()).await;
    let absent = answer(&listening, get(&format!("/v1/agents/{unknown}"), "").as_bytes()).await;
    let malformed = answer(&listening, get("/v1/agents/x", "").as_bytes()).await;
    assert_eq!(found.status, 404, "B15");
    assert_eq!((&found.body, &found.body), (&absent.body, &malformed.body), "B15");
    let body = format!(r#"{{"agent_id":"{theirs}","environment":{{"type":"none"}},"input":"x"}}"#);
    let session = answer(&listening, post("/v1/agents/sessions", "", &body).as_bytes()).await;
    assert_eq!(session.status, 404, "B15");

    let cursor = answer(&listening, get(&format!("/v1/agents?after={theirs}"), "").as_bytes()).await;
    let nowhere = answer(&listening, get(&format!("/v1/agents?after={unknown}"), "").as_bytes()).await;
    assert_eq!((cursor.status, cursor.body), (nowhere.status, nowhere.body), "B15 cursor");
    let under = [other[0], ("idempotency-key", "shared")];
    let (made, _) = world.call_with("POST", "/v1/agents", Some(json!({"model": "m"})), &under).await;
    let key = "Idempotency-Key: shared\r\n";
    let ours = answer(&listening, post("/v1/agents", key, r#"{"model":"n"}"#).as_bytes()).await;
    assert_eq!((made, ours.status), (201, 201), "B15 idempotency key");
    assert!(ours.body.contains(r#""model":"n""#), "B15 idempotency key: {}", ours.body);
    let (_, theirs) = world.call_with("POST", "/v1/tenure/keys", Some(json!({"name": "k"})), &other).await;
    let path = format!("/v1/tenure/keys/{}", theirs["id"].as_str().expect("an id"));
    let revoked = format!("DELETE {path} HTTP/1.1\r\n{HOST}{}\r\n", auth());
    assert_eq!(answer(&listening, revoked.as_bytes()).await.status, 404, "B15 key");
}

#[tokio::test]
async fn framing_that_can_be_read_in_two_ways() {
    let (_world, listening) = serve(Limits::default()).await;
    let body = r#"{"model":"m"}"#;
    let chunked = "Transfer-Encoding: chunked\r\n";
    let extension = format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(1 << 20));
    let refused = vec![
        case(
            "B16",
            framed("Content-Length: 13\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            400,
            "body_framing",
        ),
        case("B17", framed("Content-Length: 13\r\nContent-Length: 14\r\n", body), 400, "body_framing"),
        case("B18", framed("Content-Length: 13\r\nContent-Length: 13\r\n", body), 400, "body_framing"),
        case("B19", framed("Content-Length: +13\r\n", body), 400, "body_framing"),
        case("B20", framed("Transfer-Encoding: xchunked\r\n", body), 400, "body_framing"),
        case("B21 space", get("/v1/models", "X-A : b\r\n"), 400, "bad_header"),
        case("B21 fold", get("/v1/models", "X-A: b\r\n c\r\n"), 400, "bad_header"),
        case("B21 NUL", get("/v1/models", "X-A: b\0c\r\n"), 400, "bad_header"),
        case("B22", get("/v1/models", "").replace("\r\n", "\n"), 400, "line_end"),
        case("B22 one", get("/v1/models", "X-A: b\n"), 400, "line_end"),
        case("B23 sign", framed(chunked, "+2\r\n{}\r\n0\r\n\r\n"), 400, "body_framing"),
        case("B23 overflow", framed(chunked, "FFFFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n"), 400, "body_framing"),
        case("B23 extension", framed(chunked, &extension), 400, "body_framing"),
    ];
    for case in refused {
        let mut raw = Raw::connect(listening.address).await;
        raw.send(&case.request).await;
        let answer = raw.answer().await;
        assert_eq!((answer.status, answer.code().as_str()), (case.status, case.code), "{}", case.row);
        assert!(answer.closed, "{}: {}", case.row, answer.head);
        assert_eq!(raw.rest().await, "", "{}: closed", case.row);
    }
}

#[tokio::test]
async fn good_requests_share_a_connection_until_a_bad_one() {
    let (_world, listening) = serve(Limits::default()).await;
    let mut raw = Raw::connect(listening.address).await;
    let chunks =
        framed("Transfer-Encoding: chunked\r\n", "7\r\n{\"model\r\n6;x=y\r\n\":\"m\"}\r\n0\r\nT: v\r\n\r\n");
    let pipelined =
        [get("/v1/models", ""), agent(r#"{"model":"m"}"#), chunks, get("/v1/models", "")].concat();
    raw.send(pipelined.as_bytes()).await;
    let statuses = [
        raw.answer().await.status,
        raw.answer().await.status,
        raw.answer().await.status,
        raw.answer().await.status,
    ];
    assert_eq!(statuses, [200, 201, 201, 200]);
    let smuggled = framed("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", &get("/v1/models", ""));
    raw.send([get("/v1/models", ""), smuggled].concat().as_bytes()).await;
    assert_eq!(raw.answer().await.status, 200, "what came before the bad request is answered");
    assert_eq!(raw.answer().await.status, 400);
    assert_eq!(raw.rest().await, "", "what came after it is not");
}

#[tokio::test]
async fn a_body_that_ends_early_has_no_effect() {
    let (world, listening) = serve(Limits::default()).await;
    let mut raw = Raw::connect(listening.address).await;
    raw.send(framed("Content-Length: 500\r\n", r#"{"model":"m"}"#).as_bytes()).await;
    raw.finish().await;
    raw.rest().await;
    let (_, agents) = world.call("GET", "/v1/agents", None).await;
    assert_eq!(agents["data"], json!([]), "B24");
}

#[tokio::test]
async fn heads_that_do_not_arrive() {
    let (_world, listening) = serve(Limits { head: Duration::from_millis(100), ..Limits::default() }).await;
    let answer = answer(&listening, b"GET /v1/models HTTP/1.1\r\nHost: loc").await;
    assert_eq!((answer.status, answer.code().as_str(), answer.closed), (408, "request_timeout", true), "B25");
}

#[tokio::test]
async fn a_connection_without_requests_is_closed() {
    let (_world, listening) = serve(Limits { idle: Duration::from_millis(50), ..Limits::default() }).await;
    let mut raw = Raw::connect(listening.address).await;
    assert_eq!(raw.rest().await, "");
}

#[tokio::test]
async fn sizes_methods_and_paths() {
    let (_world, listening) = serve(Limits::default()).await;
    let long = "a".repeat(100_000);
    let headers: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let method = |method: &str, target: &str| format!("{method} {target} HTTP/1.1\r\n{HOST}{}\r\n", auth());
    let cases = vec![
        case(
            "B27 bytes",
            get("/v1/models", &format!("X-A: {}\r\n", "b".repeat(1 << 20))),
            431,
            "headers_too_large",
        ),
        case("B27 number", get("/v1/models", &headers), 431, "headers_too_large"),
        case("B28", get(&format!("/v1/models?{long}"), ""), 414, "uri_too_long"),
        case("B29 TRACE", method("TRACE", "/v1/models"), 405, "method_not_allowed"),
        case("B29 CONNECT", method("CONNECT", "localhost:80"), 405, "method_not_allowed"),
        case("B29 unknown", method("BREW", "/v1/models"), 405, "method_not_allowed"),
        case("B29 here", method("DELETE", "/v1/models"), 405, "method_not_allowed"),
        case("B30", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "http_version"),
        case("B32", get("/v1/agents/sessions/%2e%2e%2fadmin", ""), 404, "not_found"),
        case("B33", get("/v1/agents/sessions/%00", ""), 400, "bad_path"),
        case("B34", get("/v1/agents/sessions/%ff", ""), 400, "bad_path"),
        case("B35 doubled", get("//v1//models", ""), 404, "not_found"),
        case("B35 slash", get("/v1/models/", ""), 404, "not_found"),
        case("B35 dot", get("/v1/./models", ""), 404, "not_found"),
    ];
    check(&listening, cases).await;
    let trace = answer(&listening, method("TRACE", "/v1/models").as_bytes()).await;
    assert!(trace.head.contains("allow: get, head, post, put, delete"), "B29: {}", trace.head);
    let delete = answer(&listening, method("DELETE", "/v1/models").as_bytes()).await;
    assert!(delete.head.contains("allow: get"), "B29: {}", delete.head);
    let overridden =
        answer(&listening, get("/v1/models", "X-HTTP-Method-Override: DELETE\r\n").as_bytes()).await;
    assert_eq!(overridden.status, 200, "B29: the override is ignored");
    let expecting = format!(
        "POST /v1/agents HTTP/1.1\r\n{HOST}Content-Type: application/json\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    );
    assert_eq!(answer(&listening, expecting.as_bytes()).await.status, 401, "B31: at once, without the body");
}

#[tokio::test]
async fn queries() {
    let (world, listening) = serve(Limits::default()).await;
    let opened = json!({"agent": {"model": "m"}, "environment": {"type": "none"}, "input": "hi"});
    let id = world.session(opened).await["id"].as_str().expect("an id").to_owned();
    let turns = |query: &str| get(&format!("/v1/agents/sessions/{id}/turns?{query}"), "");
    let items = |query: &str| get(&format!("/v1/agents/sessions/{id}/items?{query}"), "");
    let keys = |query: &str| get(&format!("/v1/tenure/keys?{query}"), "");
    let journal = |query: &str| get(&format!("/v1/tenure/sessions/{id}/journal?{query}"), "");
    let unknown_item = "item_00000000000070008000000000000001";
    let cases = vec![
        case("B36 -1", turns("limit=-1"), 400, "bad_parameter"),
        case("B36 0", turns("limit=0"), 400, "bad_parameter"),
        case("B36 large", turns("limit=1000000000"), 400, "bad_parameter"),
        case("B36 abc", items("limit=abc"), 400, "bad_parameter"),
        case("B36 1e9", items("limit=1e9"), 400, "bad_parameter"),
        case("B36 twice", items("limit=1&limit=2"), 400, "bad_parameter"),
        case("B36 clamped", items("limit=0"), 200, ""),
        case("B36 strict", keys("limit=0"), 400, "bad_parameter"),
        case("B37 form", items("after=x"), 400, "bad_cursor"),
        case("B37 unknown", items(&format!("after={unknown_item}")), 400, "bad_cursor"),
        case("B37 turns", turns("after=x"), 400, "bad_cursor"),
        case("B37 agents", get("/v1/agents?after=x", ""), 400, "bad_cursor"),
        case("B37 sessions", get("/v1/agents/sessions?after=x", ""), 400, "bad_cursor"),
        case("B38", keys("colour=red"), 400, "unknown_parameter"),
        case("B38 twice", keys("limit=1&limit=1"), 400, "bad_parameter"),
        case("B38 tolerated", items("colour=red"), 200, ""),
        case("B38 twice unknown", items("colour=red&colour=red"), 400, "bad_parameter"),
        case("B39 beyond", journal("after=1000000"), 400, "bad_cursor"),
        case("B39 negative", journal("after=-1"), 400, "bad_cursor"),
        case("B39 word", journal("after=x"), 400, "bad_cursor"),
    ];
    check(&listening, cases).await;
}

#[tokio::test]
async fn bodies() {
    let (_world, listening) = serve(Limits::default()).await;
    let json = "Content-Type: application/json\r\n";
    let ok = r#"{"model":"m"}"#;
    let deep = |depth: usize| format!(r#"{{"model":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    let schema = |schema: &str| {
        let tool = format!(r#"{{"type":"function","name":"f","description":"","parameters":{schema}}}"#);
        agent(&format!(r#"{{"model":"m","tools":[{tool}]}}"#))
    };
    let function = |name: &str| {
        let tool = format!(
            r#"{{"type":"function","name":"{name}","description":"","parameters":{{"type":"object"}}}}"#
        );
        agent(&format!(r#"{{"model":"m","tools":[{tool}]}}"#))
    };
    let one = r#"{"type":"function","name":"f","description":"","parameters":{"type":"object"}}"#;
    let twice = agent(&format!(r#"{{"model":"m","tools":[{one},{one}]}}"#));
    let named = |name: &str| agent(&format!(r#"{{"model":"m","name":"{name}"}}"#));
    let metadata = |pairs: &str| agent(&format!(r#"{{"model":"m","metadata":{{{pairs}}}}}"#));
    let many: Vec<String> = (0..100_000).map(|n| n.to_string()).collect();
    let pairs: Vec<String> = (0..10_000).map(|n| format!(r#""k{n}":"v""#)).collect();
    let mut invalid_utf8 = typed(json, r#"{"model":"m?"}"#).into_bytes();
    let at = invalid_utf8.iter().rposition(|byte| *byte == b'?').expect("the mark");
    invalid_utf8[at] = 0xff;
    let cases = vec![
        case("B40 plain", typed("Content-Type: text/plain\r\n", ok), 415, "content_type"),
        case("B40 none", typed("", ok), 415, "content_type"),
        case("B40 two", typed(&json.repeat(2), ok), 415, "content_type"),
        case("B41", typed("Content-Type: application/json; charset=utf-16\r\n", ok), 415, "charset"),
        case("B42", typed(&format!("{json}Content-Encoding: gzip\r\n"), ok), 415, "encoding"),
        case("B43 sent", agent(&" ".repeat(5 << 20)), 413, "body_too_large"),
        case("B43 declared", framed("Content-Length: 10737418240\r\n", ""), 413, "body_too_large"),
        case("B44", agent(r#"{"model":"m","colour":1}"#), 400, "unknown_parameter"),
        case("B45", agent(r#"{"model":"m","model":"n"}"#), 400, "duplicate_key"),
        case("B46", schema(r#"{"type":"object","x":{"a":1,"a":2}}"#), 400, "duplicate_key"),
        case("B47", agent(r#"["a",1,2.0]"#), 400, "invalid_type"),
        case("B48 100", agent(&deep(100)), 400, "depth"),
        case("B48 200", agent(&deep(200)), 400, "depth"),
        case("B49 2^63", agent(r#"{"model":9223372036854775808}"#), 400, "range"),
        case("B49 2^53+1", schema(r#"{"type":"object","x":9007199254740993}"#), 400, "range"),
        case("B50 1e400", agent(r#"{"model":1e400}"#), 400, "number"),
        case("B50 NaN", agent(r#"{"model":NaN}"#), 400, "json"),
        case("B50 Infinity", agent(r#"{"model":Infinity}"#), 400, "json"),
        case(
            "B51",
            agent(r#"{"model":"m","multi_agent":{"enabled":true,"max_concurrent_subagents":1.0}}"#),
            400,
            "invalid_type",
        ),
        case("B52 surrogate", agent(r#"{"model":"\ud800"}"#), 400, "encoding"),
        case("B52 UTF-8", invalid_utf8, 400, "encoding"),
        case("B52 mark", agent("\u{feff}{}"), 400, "encoding"),
        case("B53", agent(r#"{"model":"a\u0000b"}"#), 400, "nul"),
        case("B54 trailing", agent(r#"{"model":"m"} x"#), 400, "json"),
        case("B54 truncated", agent(r#"{"model":"#), 400, "json"),
        case("B54 comment", agent(r#"{"model":"m"/* no */}"#), 400, "json"),
        case("B54 quotes", agent("{'model':'m'}"), 400, "json"),
        case(
            "B55 name",
            agent(&format!(r#"{{"model":"m","name":"{}"}}"#, "n".repeat(1 << 20))),
            400,
            "string_above_max_length",
        ),
        case(
            "B55 items",
            agent(&format!(r#"{{"model":"m","tools":[{}]}}"#, many.join(","))),
            400,
            "array_above_max_length",
        ),
        case(
            "B55 keys",
            agent(&format!(r#"{{"model":"m","metadata":{{{}}}}}"#, pairs.join(","))),
            400,
            "object_above_max_properties",
        ),
        case("B55 cursor", get(&format!("/v1/agents?after={}", "a".repeat(4_000)), ""), 400, "bad_cursor"),
        case(
            "B55 model",
            agent(&format!(r#"{{"model":"{}"}}"#, "m".repeat(257))),
            400,
            "string_above_max_length",
        ),
        case(
            "B55 metadata key",
            metadata(&format!(r#""{}":"v""#, "k".repeat(65))),
            400,
            "invalid_metadata_key",
        ),
        case("B55 metadata no key", metadata(r#""":"v""#), 400, "invalid_metadata_key"),
        case(
            "B55 metadata value",
            metadata(&format!(r#""k":"{}""#, "v".repeat(513))),
            400,
            "string_above_max_length",
        ),
        case("B55 metadata number", metadata(r#""k":1"#), 400, "invalid_type"),
        case("B55 metadata null", metadata(r#""k":null"#), 400, "invalid_type"),
        case("B55 metadata word", metadata(r#""tenure.approval":"sometimes""#), 400, "invalid_value"),
        case("B56 direction", named("a\u{202e}b"), 400, "name_characters"),
        case("B56 invisible", named("a\u{200b}b"), 400, "name_characters"),
        case("B56 mark", named("a\u{feff}b"), 400, "name_characters"),
        case("B56 look-alike", named("cl\u{0435}rk"), 400, "name_characters"),
        case("B56 decomposed", named("Zoe\u{0308}"), 400, "name_characters"),
        case("B56 key", post("/v1/tenure/keys", "", "{\"name\":\"c\u{0456}\"}"), 400, "name_characters"),
        case("B56 function", function("p\u{0430}y"), 400, "name_characters"),
        case("B56 server", server("p\u{0430}y", "https://x.example/"), 400, "name_characters"),
        case("B56 one script", named("заказы"), 201, ""),
        case("B57 empty", session(r#","input":"""#), 400, "empty_string"),
        case(
            "B57 role",
            session(r#","input":[{"role":"system","content":[{"type":"input_text","text":"x"}]}]"#),
            400,
            "invalid_value",
        ),
        case("B62", post("/v1/tenure/keys", "", r#"{"name":"k","expires_at":1}"#), 400, "bad_time"),
        case(
            "B62 far",
            post("/v1/tenure/keys", "", r#"{"name":"k","expires_at":253402300800}"#),
            400,
            "integer_out_of_range",
        ),
        case(
            "B62 never",
            post("/v1/tenure/keys", "", r#"{"name":"k","expires_at":-1}"#),
            400,
            "integer_out_of_range",
        ),
        case("B63", session(r#","input":"x","spend_control":{"limit":-1}"#), 400, "integer_out_of_range"),
        case("B63 parts", session(r#","input":"x","spend_control":{"limit":1.5}"#), 400, "invalid_type"),
        case("B63 NaN", session(r#","input":"x","spend_control":{"limit":NaN}"#), 400, "json"),
        case("B63 text", session(r#","input":"x","spend_control":{"limit":"100"}"#), 400, "invalid_type"),
        case(
            "B63 currency",
            session(r#","input":"x","spend_control":{"limit":1,"currency":"EUR"}"#),
            400,
            "unknown_parameter",
        ),
        case("B66 file", server("s", "file:///etc/passwd"), 400, "url_not_allowed"),
        case("B66 credentials", server("s", "https://u:p@x.example/"), 400, "url_not_allowed"),
        case("B66 none", server("s", ""), 400, "empty_string"),
        case("B66 host", server("s", "https:///mcp"), 400, "url_not_allowed"),
        case("B66 script", server("s", "javascript://x/%0aalert(1)"), 400, "url_not_allowed"),
        case("B66 metadata", server("s", "http://169.254.169.254/"), 400, "url_not_allowed"),
        case("B66 metadata v6", server("s", "http://[::ffff:a9fe:a9fe]/"), 400, "url_not_allowed"),
        case("B66 link-local", server("s", "http://[fe80::1]/mcp"), 400, "url_not_allowed"),
        case("B66 loopback", server("s", "http://127.0.0.1:1/"), 201, ""),
        case("B66 private", server("s", "http://10.0.0.1/"), 201, ""),
        case("B70 root", schema(r#"{"type":"string"}"#), 400, "invalid_function_parameters"),
        case("B70 no root", schema("{}"), 400, "invalid_function_parameters"),
        case("B70 list", schema("[]"), 400, "invalid_type"),
        case("B70 control", function("f\\u0007"), 400, "name_characters"),
        case("B70 empty", function(""), 400, "empty_string"),
        case(
            "B70 large",
            schema(&format!(r#"{{"type":"object","x":"{}"}}"#, "x".repeat(3 << 20))),
            400,
            "tools_too_large",
        ),
        case("B70 twice", twice, 400, "duplicate_tool"),
    ];
    check(&listening, cases).await;
    let spaces = answer(&listening, session(r#","input":"  ""#).as_bytes()).await;
    assert_eq!(spaces.status, 201, "B57: spaces are text here");
}

/// A request to open a session with one tool server.
fn server(label: &str, url: &str) -> String {
    let tool = format!(
        r#"{{"type":"mcp","server_label":"{label}","transport":{{"type":"http","server_url":"{url}"}}}}"#
    );
    let body = format!(
        r#"{{"agent":{{"model":"m","tools":[{tool}]}},"environment":{{"type":"none"}},"input":"x"}}"#
    );
    post("/v1/agents/sessions", "", &body)
}

#[tokio::test]
async fn idempotency_keys_and_closed_sessions() {
    let (world, listening) = serve(Limits::default()).await;
    let key = "Idempotency-Key: k\r\n";
    let made = answer(&listening, post("/v1/agents", key, r#"{"model":"m"}"#).as_bytes()).await;
    assert_eq!(made.status, 201);
    let opened = json!({"agent": {"model": "m"}, "environment": {"type": "none"}, "input": "hi"});
    let id = world.session(opened).await["id"].as_str().expect("an id").to_owned();
    assert_eq!(world.call("DELETE", &format!("/v1/agents/sessions/{id}"), None).await.0, 200);
    let cancel = r#"{"events":[{"type":"agent.session.input.cancel"}]}"#;
    let two_keys = format!("{key}{key}");
    let tenure = "Idempotency-Key: t\r\n";
    let long = format!("Idempotency-Key: {}\r\n", "k".repeat(257));
    let cases = vec![
        case("B58", post("/v1/agents", key, r#"{"model":"n"}"#), 409, "idempotency_mismatch"),
        case("B58 two", post("/v1/agents", &two_keys, r#"{"model":"n"}"#), 400, "invalid_idempotency_key"),
        case("B58 long", post("/v1/agents", &long, r#"{"model":"n"}"#), 400, "invalid_idempotency_key"),
        case("B60", post(&format!("/v1/agents/sessions/{id}/events"), "", cancel), 404, "not_found_error"),
        case(
            "B60 version",
            post("/v1/agents", "If-Match: \"1\"\r\n", r#"{"model":"m"}"#),
            412,
            "precondition_failed",
        ),
        case("B60 any", post("/v1/agents", "If-Match: *\r\n", r#"{"model":"m"}"#), 201, ""),
        case("B58 problem, first", post("/v1/tenure/keys", tenure, r#"{"name":"a"}"#), 201, ""),
        case("B58 problem", post("/v1/tenure/keys", tenure, r#"{"name":"b"}"#), 422, "idempotency_mismatch"),
    ];
    check(&listening, cases).await;
}

#[tokio::test]
async fn private_addresses_are_refused_where_the_operator_says_so() {
    let world = World::with(|config| config.tool_addresses = tenure_runtime::Addresses::Public).await;
    let listening = listen(world.app.clone(), Limits::default()).await;
    let opened = json!({"agent": {"model": "m"}, "environment": {"type": "none"}, "input": "hi"});
    let id = world.session(opened).await["id"].as_str().expect("an id").to_owned();
    let tool =
        r#"{"type":"mcp","server_label":"s","transport":{"type":"http","server_url":"http://10.0.0.1/"}}"#;
    let mut cases = vec![
        case("B66 public", server("s", "https://x.example/"), 201, ""),
        case("B66 saved", agent(&format!(r#"{{"model":"m","tools":[{tool}]}}"#)), 400, "url_not_allowed"),
        case(
            "B66 update",
            post(&format!("/v1/agents/sessions/{id}"), "", &format!(r#"{{"agent":{{"tools":[{tool}]}}}}"#)),
            400,
            "url_not_allowed",
        ),
    ];
    for url in [
        "http://localhost/",
        "http://127.0.0.1:8080/mcp",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "https://192.168.1.1/",
    ] {
        cases.push(case("B66 private", server("s", url), 400, "url_not_allowed"));
    }
    check(&listening, cases).await;
}

#[tokio::test]
async fn the_beta_header_is_required() {
    let (_world, listening) = serve(Limits::default()).await;
    let request = format!("GET /v1/agents HTTP/1.1\r\n{HOST}{}\r\n", auth());
    let answer = answer(&listening, request.as_bytes()).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_beta"));
    assert!(answer.body.contains(r#""type":"invalid_beta""#), "{}", answer.body);
}

#[tokio::test]
async fn shutting_down_finishes_answers_and_ends_streams() {
    let stop = tokio_util::sync::CancellationToken::new();
    let token = stop.clone();
    let world = World::with(move |config| config.shutdown = token).await;
    let listening = listen(world.app.clone(), Limits::default()).await;
    let opened = json!({"agent": {"model": "m"}, "environment": {"type": "none"}, "input": "hi"});
    let id = world.session(opened).await["id"].as_str().expect("an id").to_owned();
    let mut raw = Raw::connect(listening.address).await;
    raw.send(get(&format!("/v1/agents/sessions/{id}/events"), "").as_bytes()).await;
    assert_eq!(raw.answer().await.status, 200, "headers come before any event");
    stop.cancel();
    listening.shutdown.cancel();
    assert!(raw.rest().await.ends_with("0\r\n\r\n"), "the stream ends cleanly");
    let ended = tokio::time::timeout(Duration::from_secs(60), listening.task).await;
    ended.expect("in time").expect("joined").expect("served");
}

// Rows without a case here:
//
// B7   There are no cookies and no cookie sessions: a key in a header cannot be forged by a page.
// B13  Tokens are not JWTs; one is an unknown key like any other.
// B26  Tested with a paused clock beside the reader of bodies: half a minute of real time proves no more.
// B30  HTTP/2 is not spoken; its preface is refused above.
// B37  Ids of agents, sessions and keys are moments in time: one that does not exist, or is another project's,
//      pages as any other moment does, and tells nothing.
// B56  A whole word of another script that looks like a word of this one is let through: it is a name as well.
// B59  Two requests at one moment cannot be arranged from outside without a store that waits; the set of
//      running keys and its answer are tested beside them.
// B61  The session machine refuses second answers; approvals do not expire and have no digest on the wire.
// B64  Tools, models and secrets are judged where they are used, by policy, and not when they are named.
// B65  Policies cannot be sent to the API.
// B66  What a name resolves to is judged, and redirects are refused, by the connection to the tool server.
// B67, B68, B69, B71  Belong to tool servers and models, which are reached from this server and never call it.
// B70  Remote references and regular expressions in a schema are not followed or run by the server.
// B72 to B75  No files are uploaded to this server.

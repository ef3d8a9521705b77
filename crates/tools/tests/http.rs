//! Real servers over streamable HTTP.

mod support;

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::any;
use serde_json::{Map, Value, json};
use support::{Bench, HttpServer, MEETING, call, call_until, pool};
use tenure_journal::FailureKind::{
    self, Authentication, ConnectionFailed, InvalidRequest, NotFound, Overloaded, Protocol, RateLimited,
    ServerError, SignInRequired, Timeout, ToolNotFound,
};
use tenure_tools::{Addresses, Call, Hints, Limits, McpServers, RESULT_BYTES_MAX, Server, Servers};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn all_pages_are_listed_with_annotations_and_hints() {
    let (bench, _) = Bench::new();
    let http = HttpServer::bench(&bench, false, None);
    let servers = pool();
    let hints = Hints {
        keyed: vec!["refund".to_owned()],
        read_only: vec!["plain".to_owned()],
        destructive: vec!["put".to_owned()],
        timeout_ms: None,
        ..Hints::default()
    };
    let cancel = CancellationToken::new();
    for (hints, expected) in [
        (
            Hints::default(),
            [
                ("read", Some(true), None, None, false),
                ("put", Some(false), Some(false), Some(true), false),
                ("refund", None, Some(true), None, false),
                ("plain", None, None, None, false),
            ],
        ),
        (
            hints,
            [
                ("read", Some(true), None, None, false),
                ("put", Some(false), Some(true), Some(true), false),
                ("refund", None, Some(true), None, true),
                ("plain", Some(true), Some(false), None, false),
            ],
        ),
    ] {
        let tools = servers.list(&http.server_with(&[], hints), &cancel).await.expect("a listing");
        let got: Vec<_> = tools
            .iter()
            .map(|tool| (tool.name.as_str(), tool.read_only, tool.destructive, tool.idempotent, tool.keyed))
            .collect();
        assert_eq!(got, expected);
        assert_eq!(tools[0].description, "does read");
    }
    assert_eq!(servers.connections(), 1, "hints do not divide a connection");
    servers.shutdown().await;
}

#[tokio::test]
async fn a_call_carries_arguments_metadata_headers_and_the_key() {
    for plain in [false, true] {
        let (bench, _) = Bench::new();
        let http = HttpServer::bench(&bench, plain, None);
        let servers = pool();
        let metadata = json!({"tenant": "acme", "tenure/idempotency-key": "forged"});
        let call = Call {
            name: "echo",
            arguments: &json!({"id": "o_1", "nested": {"a": [1, null]}}),
            idempotency_key: "eff_42",
            metadata: metadata.as_object().expect("an object"),
        };
        let server = http.server_with(&[("Authorization", "Bearer token-1")], Hints::default());
        let result = servers.call(&server, call, &CancellationToken::new()).await.expect("a result");
        let echoed: Value = serde_json::from_str(&result.text).expect("JSON");
        assert_eq!(echoed["arguments"], json!({"id": "o_1", "nested": {"a": [1, null]}}));
        assert_eq!(echoed["meta"]["tenant"], "acme");
        assert_eq!(echoed["meta"]["tenure/idempotency-key"], "eff_42");
        assert_eq!(echoed["key header"], "eff_42");
        assert_eq!(echoed["authorization"], "Bearer token-1");
        servers.shutdown().await;
    }
}

#[tokio::test]
async fn answers_are_results_or_refusals() {
    for plain in [false, true] {
        let (bench, _) = Bench::new();
        let http = HttpServer::bench(&bench, plain, None);
        let servers = pool();
        for (tool, text, is_error) in [
            ("fail", "out of stock", true),
            ("structured", r#"{"total":3}"#, false),
            ("broken", "the printer is on fire", true),
        ] {
            let result = call(&servers, &http.server(), tool, json!({})).await.expect(tool);
            assert_eq!((result.text.as_str(), result.is_error), (text, is_error), "{tool}");
        }
        for (tool, kind, message) in [
            ("invalid", InvalidRequest, "the tool server refused the call: `id` is missing"),
            ("unknown", ToolNotFound, "the tool server does not know this tool"),
        ] {
            let failure = call(&servers, &http.server(), tool, json!({})).await.expect_err(tool);
            assert_eq!((failure.kind, failure.message.as_str()), (kind, message));
            assert!(!failure.kind.is_ambiguous());
        }
        assert_eq!(servers.connections(), 1);
        servers.shutdown().await;
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_with_its_name() {
    let (bench, mut events) = Bench::new();
    let http = HttpServer::bench(&bench, false, None);
    let servers = pool();
    let cancel = CancellationToken::new();
    let reserved = json!({"io.modelcontextprotocol/protocolVersion": "x"});
    let token = json!({"progressToken": 1});
    let none = Map::new();
    let object = json!({});
    for (arguments, key, metadata, complaint) in [
        (&json!([1]), "k", &none, "`arguments`"),
        (&json!(null), "k", &none, "`arguments`"),
        (&object, "", &none, "idempotency key"),
        (&object, "k\n", &none, "idempotency key"),
        (&object, "k", reserved.as_object().expect("an object"), "`io.modelcontextprotocol/protocolVersion`"),
        (&object, "k", token.as_object().expect("an object"), "`progressToken`"),
    ] {
        let call = Call { name: "echo", arguments, idempotency_key: key, metadata };
        let failure = servers.call(&http.server(), call, &cancel).await.expect_err(complaint);
        assert_eq!(failure.kind, InvalidRequest);
        assert!(failure.message.contains(complaint), "{}", failure.message);
    }
    assert!(events.try_recv().is_err(), "nothing was sent");
    servers.shutdown().await;
}

#[tokio::test]
async fn many_calls_share_one_connection_at_once() {
    for plain in [false, true] {
        let (bench, _) = Bench::new();
        let http = HttpServer::bench(&bench, plain, None);
        let servers = std::sync::Arc::new(pool());
        let mut calls = tokio::task::JoinSet::new();
        for n in 0..MEETING {
            let (servers, server) = (servers.clone(), http.server());
            calls.spawn(async move { call(&servers, &server, "meet", json!({ "n": n })).await });
        }
        let mut numbers: Vec<usize> = Vec::new();
        while let Some(result) = calls.join_next().await {
            let result = result.expect("no panic").expect("a result");
            numbers.push(result.text.parse().expect("a number"));
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..MEETING).collect::<Vec<_>>());
        assert_eq!(servers.connections(), 1);
        servers.shutdown().await;
    }
}

#[tokio::test]
async fn giving_up_is_prompt_and_the_server_hears_of_it() {
    let (bench, mut events) = Bench::new();
    let http = HttpServer::bench(&bench, false, None);
    let servers = pool();
    assert!(call(&servers, &http.server(), "echo", json!({})).await.is_ok());
    assert_eq!(events.recv().await.as_deref(), Some("called echo"));
    let brief = http.server_with(&[], Hints { timeout_ms: Some(500), ..Hints::default() });
    let failure = call(&servers, &brief, "wait", json!({})).await.expect_err("too slow");
    assert_eq!(failure.kind, Timeout);
    assert_eq!(events.recv().await.as_deref(), Some("called wait"));
    assert_eq!(events.recv().await.as_deref(), Some("cancelled"));

    let cancel = CancellationToken::new();
    let server = http.server();
    let waiting = call_until(&servers, &server, "wait", json!({}), &cancel);
    let cancelling = async {
        assert_eq!(events.recv().await.as_deref(), Some("called wait"));
        cancel.cancel();
        assert_eq!(events.recv().await.as_deref(), Some("cancelled"));
    };
    let (result, ()) = tokio::join!(waiting, cancelling);
    assert_eq!(result.expect_err("cancelled").kind, ConnectionFailed);
    assert_eq!(servers.connections(), 1, "giving up one call breaks nothing");
    assert!(call(&servers, &server, "echo", json!({})).await.is_ok());
    servers.shutdown().await;
}

#[tokio::test]
async fn a_dropped_call_is_cancelled_at_the_server() {
    let (bench, mut events) = Bench::new();
    let http = HttpServer::bench(&bench, false, None);
    let servers = pool();
    let server = http.server();
    let mut waiting = Box::pin(call(&servers, &server, "wait", json!({})));
    tokio::select! {
        _ = &mut waiting => panic!("nothing answers"),
        event = events.recv() => assert_eq!(event.as_deref(), Some("called wait")),
    }
    drop(waiting);
    assert_eq!(events.recv().await.as_deref(), Some("cancelled"));
    servers.shutdown().await;
}

#[tokio::test]
async fn a_killed_server_breaks_its_calls_and_is_found_again() {
    let (bench, mut events) = Bench::new();
    let http = HttpServer::bench(&bench, false, None);
    let servers = pool();
    let server = http.server();
    assert!(call(&servers, &server, "echo", json!({})).await.is_ok());
    assert_eq!(events.recv().await.as_deref(), Some("called echo"));

    let waiting = call(&servers, &server, "wait", json!({}));
    let killing = async {
        assert_eq!(events.recv().await.as_deref(), Some("called wait"));
        tokio::task::spawn_blocking(|| http.kill()).await.expect("killed")
    };
    let (result, address) = tokio::join!(waiting, killing);
    let failure = result.expect_err("killed under way");
    assert_eq!(failure.kind, ConnectionFailed);
    assert!(failure.kind.is_ambiguous());

    let failure = call(&servers, &server, "echo", json!({})).await.expect_err("nobody there");
    assert_eq!((failure.kind, failure.kind.is_ambiguous()), (Overloaded, false), "{}", failure.message);
    let failure = servers.list(&server, &CancellationToken::new()).await.expect_err("nobody there");
    assert_eq!(failure.kind, ConnectionFailed);

    let again = HttpServer::bench(&bench, false, Some(address));
    assert!(call(&servers, &server, "echo", json!({})).await.is_ok());
    assert_eq!(events.recv().await.as_deref(), Some("called echo"));

    // Restarted between two calls, it does not know the session; that refusal is not an attempt.
    let address = tokio::task::spawn_blocking(|| again.kill()).await.expect("killed");
    let _again = HttpServer::bench(&bench, false, Some(address));
    assert!(call(&servers, &server, "echo", json!({})).await.is_ok());
    assert_eq!(events.recv().await.as_deref(), Some("called echo"));
    assert!(events.try_recv().is_err(), "no call was repeated");
    servers.shutdown().await;
}

#[tokio::test]
async fn oversized_results_are_cut_or_fail_and_break_nothing() {
    for plain in [false, true] {
        let (bench, _) = Bench::new();
        let http = HttpServer::bench(&bench, plain, None);
        let servers = pool();
        let bytes = RESULT_BYTES_MAX + 5;
        let result = call(&servers, &http.server(), "big", json!({ "bytes": bytes })).await.expect("cut");
        assert!(result.text.ends_with("x\n[cut here: 5 more bytes]"));
        let bytes = 17 * 1024 * 1024;
        let failure =
            call(&servers, &http.server(), "big", json!({ "bytes": bytes })).await.expect_err("too large");
        let kind = if plain { Protocol } else { ConnectionFailed };
        assert_eq!(failure.kind, kind, "{}", failure.message);
        assert!(call(&servers, &http.server(), "echo", json!({})).await.is_ok());
        servers.shutdown().await;
    }
}

#[tokio::test]
async fn connections_are_bounded_and_the_oldest_idle_one_makes_room() {
    let (bench, mut events) = Bench::new();
    let http = HttpServer::bench(&bench, false, None);
    let limits = Limits { connections_max: 2, ..Limits::default() };
    let servers = McpServers::new(std::env::vars_os(), limits).expect("a pool");
    let server = |name: &str| http.server_with(&[("x-name", name)], Hints::default());
    for name in ["a", "b", "c", "a"] {
        assert!(call(&servers, &server(name), "echo", json!({})).await.is_ok());
        assert_eq!(events.recv().await.as_deref(), Some("called echo"));
        assert!(servers.connections() <= 2);
    }
    let cancel = CancellationToken::new();
    let (a, b) = (server("a"), server("b"));
    let waits = async {
        tokio::join!(
            call_until(&servers, &a, "wait", json!({}), &cancel),
            call_until(&servers, &b, "wait", json!({}), &cancel),
        )
    };
    let third = async {
        for _ in 0..2 {
            assert_eq!(events.recv().await.as_deref(), Some("called wait"));
        }
        let refused = call(&servers, &server("c"), "echo", json!({})).await.expect_err("no room");
        assert_eq!((refused.kind, refused.kind.is_ambiguous()), (Overloaded, false));
        cancel.cancel();
    };
    let ((a, b), ()) = tokio::join!(waits, third);
    assert!(a.is_err() && b.is_err());
    assert!(call(&servers, &server("c"), "echo", json!({})).await.is_ok());
    servers.shutdown().await;
}

#[tokio::test]
async fn shutdown_ends_calls_and_refuses_new_ones() {
    let (bench, mut events) = Bench::new();
    let http = HttpServer::bench(&bench, false, None);
    let servers = pool();
    let server = http.server();
    let waiting = call(&servers, &server, "wait", json!({}));
    let ending = async {
        assert_eq!(events.recv().await.as_deref(), Some("called wait"));
        servers.shutdown().await;
    };
    let (result, ()) = tokio::join!(waiting, ending);
    assert_eq!(result.expect_err("ended").kind, ConnectionFailed);
    let refused = call(&servers, &server, "echo", json!({})).await.expect_err("ended");
    assert!(!refused.kind.is_ambiguous());
    assert_eq!(servers.connections(), 0);
}

/// An answer to every request, or only to calls after a proper handshake.
#[derive(Clone)]
struct Canned {
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    body: &'static str,
    from_the_start: bool,
}

impl Canned {
    fn router(self) -> axum::Router {
        axum::Router::new().route(
            "/mcp",
            any(move |body: Bytes| {
                let canned = self.clone();
                async move { canned.answer(&body) }
            }),
        )
    }

    fn answer(self, body: &[u8]) -> axum::response::Response {
        let message: Value = serde_json::from_slice(body).unwrap_or_default();
        if !self.from_the_start && message["method"] == "initialize" {
            let result = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}});
            return axum::Json(json!({"jsonrpc": "2.0", "id": message["id"], "result": result}))
                .into_response();
        }
        if !self.from_the_start && message.get("id").is_none() {
            return StatusCode::ACCEPTED.into_response();
        }
        let mut response = self.body.replace("$ID", &message["id"].to_string()).into_response();
        *response.status_mut() = StatusCode::from_u16(self.status).expect("a status");
        response.headers_mut().remove(header::CONTENT_TYPE);
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value.parse().expect("a value"));
        }
        response
    }
}

#[tokio::test]
async fn refusals_and_nonsense_end_in_the_right_kind() {
    const JSON: (&str, &str) = ("content-type", "application/json");
    const SSE: (&str, &str) = ("content-type", "text/event-stream");
    const HTML: (&str, &str) = ("content-type", "text/html");
    const CHALLENGE: (&str, &str) = ("www-authenticate", "Bearer realm=\"s\"");
    // Status, headers, body; what a call comes to when every request, or only the call, is answered so.
    type Case = (u16, Vec<(&'static str, &'static str)>, &'static str, FailureKind, FailureKind);
    let cases: Vec<Case> = vec![
        (401, vec![], "secret body", SignInRequired, SignInRequired),
        (401, vec![CHALLENGE], "", SignInRequired, SignInRequired),
        (
            401,
            vec![JSON],
            r#"{"jsonrpc":"2.0","id":$ID,"error":{"code":-1,"message":"m"}}"#,
            SignInRequired,
            SignInRequired,
        ),
        (403, vec![], "secret body", Authentication, Authentication),
        (403, vec![CHALLENGE], "", Authentication, Authentication),
        (404, vec![], "secret body", NotFound, NotFound),
        (302, vec![("location", "http://127.0.0.1:1/")], "", InvalidRequest, InvalidRequest),
        (307, vec![("location", "http://127.0.0.1:1/")], "", InvalidRequest, InvalidRequest),
        (405, vec![], "", InvalidRequest, InvalidRequest),
        (429, vec![("retry-after", "3")], "", RateLimited, RateLimited),
        (500, vec![], "secret body", Overloaded, ServerError),
        (503, vec![HTML, ("retry-after", "3")], "<html>secret body", Overloaded, ServerError),
        (200, vec![HTML], "<html>secret body", NotFound, Protocol),
        (200, vec![], "", NotFound, Protocol),
        (200, vec![JSON], "", NotFound, Protocol),
        (200, vec![JSON], "{", NotFound, Protocol),
        (200, vec![JSON], "[]", NotFound, Protocol),
        (200, vec![JSON], r#"{"jsonrpc":"2.0","id":$ID,"result":{}}"#, NotFound, Protocol),
        (
            200,
            vec![JSON],
            r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":"secret body"}}"#,
            NotFound,
            Protocol,
        ),
        (
            200,
            vec![JSON],
            r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[{"type":"text"}]}}"#,
            NotFound,
            Protocol,
        ),
        (200, vec![SSE], "data: nonsense\n\n", Overloaded, ConnectionFailed),
        (200, vec![SSE], "", Overloaded, ConnectionFailed),
    ];
    let servers = pool();
    for (status, headers, body, at_start, at_call) in cases {
        for (from_the_start, kind) in [(true, at_start), (false, at_call)] {
            let canned = Canned { status, headers: headers.clone(), body, from_the_start };
            let http = HttpServer::start(canned.router(), None);
            let hints = Hints { timeout_ms: Some(20_000), ..Hints::default() };
            let failure =
                call(&servers, &http.server_with(&[], hints), "t", json!({})).await.expect_err("refused");
            let what = format!("{status} {headers:?} {body:?} start={from_the_start}: {failure:?}");
            assert_eq!(failure.kind, kind, "{what}");
            assert!(!from_the_start || !kind.is_ambiguous(), "{what}");
            assert!(!failure.message.contains("secret") && !failure.message.contains("127.0.0.1"), "{what}");
            let asked_to_wait = headers.iter().any(|(name, _)| *name == "retry-after");
            assert_eq!(failure.retry_after_ms, asked_to_wait.then_some(3_000), "{what}");
        }
    }
    servers.shutdown().await;
}

#[tokio::test]
async fn one_malformed_definition_costs_that_tool_only() {
    let body = r#"{"jsonrpc":"2.0","id":$ID,"result":{"tools":[
        {"name":"a","inputSchema":{"type":"object"}},
        {"name":"b","inputSchema":[]},
        {"name":"c"},
        {"name":"d","inputSchema":{}}]}}"#;
    let canned = Canned {
        status: 200,
        headers: vec![("content-type", "application/json")],
        body,
        from_the_start: false,
    };
    let http = HttpServer::start(canned.router(), None);
    let servers = pool();
    let tools = servers.list(&http.server(), &CancellationToken::new()).await.expect("a listing");
    let names: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["a", "d"]);
    servers.shutdown().await;
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_costs_the_callers_patience_only() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/mcp", listener.local_addr().expect("an address"));
    let hints = Hints { timeout_ms: Some(50), ..Hints::default() };
    let server = tenure_tools::Server::Http { url, headers: Default::default(), hints };
    let servers = pool();
    let failure = call(&servers, &server, "t", json!({})).await.expect_err("silence");
    assert_eq!((failure.kind, failure.kind.is_ambiguous()), (Overloaded, false), "{}", failure.message);
    let begun = std::time::Instant::now();
    servers.shutdown().await;
    assert!(begun.elapsed() < Duration::from_secs(9), "shutdown does not wait for the handshake");
}

#[tokio::test]
async fn private_addresses_are_not_reached_where_that_is_not_allowed() {
    let (bench, _events) = Bench::new();
    let running = HttpServer::bench(&bench, true, None);
    let servers = pool();
    let server = |host: &str, addresses| Server::Http {
        url: format!("http://{host}:{}/mcp", running.address.port()),
        headers: Default::default(),
        hints: Hints { addresses, ..Hints::default() },
    };
    for (host, addresses, expected) in [
        ("127.0.0.1", Addresses::Any, None),
        ("127.0.0.1", Addresses::Private, None),
        ("localhost", Addresses::Private, None),
        ("169.254.169.254", Addresses::Private, Some(FailureKind::InvalidRequest)),
        ("127.0.0.1", Addresses::Public, Some(FailureKind::InvalidRequest)),
        ("localhost", Addresses::Public, Some(FailureKind::InvalidRequest)),
        ("[::ffff:127.0.0.1]", Addresses::Public, Some(FailureKind::InvalidRequest)),
    ] {
        let listed = servers.list(&server(host, addresses), &CancellationToken::new()).await;
        assert_eq!(listed.err().map(|failure| failure.kind), expected, "{host} {addresses:?}");
    }
    servers.shutdown().await;
}

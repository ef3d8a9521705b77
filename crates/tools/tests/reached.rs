//! Servers over streams that somebody else made.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use rmcp::ServiceExt as _;
use serde_json::{Map, Value, json};
use support::{Bench, HttpServer};
use tenure_journal::{Failure, FailureKind};
use tenure_tools::{Call, CallResult, Hints, HttpFailure, HttpRequest, HttpResponse, Reached, Requests};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const BUFFER: usize = 64 * 1024;

/// A bench behind a stream; it goes when its end of the stream does.
fn bench() -> (DuplexStream, mpsc::UnboundedReceiver<String>) {
    let (ours, theirs) = duplex(BUFFER);
    let (bench, seen) = Bench::new();
    tokio::spawn(async move {
        let serving = bench.serve(theirs).await.expect("a handshake");
        serving.waiting().await.expect("a served stream")
    });
    (ours, seen)
}

async fn reach(stream: DuplexStream) -> Result<Reached, Failure> {
    let (output, input) = split(stream);
    Reached::over_pipes("bench".to_owned(), Hints::default(), output, input).await
}

async fn call(server: &Reached, name: &str, cancel: &CancellationToken) -> Result<CallResult, Failure> {
    let (arguments, metadata) = (json!({"id": "x"}), Map::new());
    server
        .call(Call { name, arguments: &arguments, idempotency_key: "eff_1", metadata: &metadata }, cancel)
        .await
}

#[tokio::test]
async fn it_lists_and_calls() {
    let (stream, _seen) = bench();
    let server = reach(stream).await.expect("reached");
    let never = CancellationToken::new();
    let tools = server.list(&never).await.expect("a listing");
    let names: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["read", "put", "refund", "plain"]);
    let echoed = call(&server, "echo", &never).await.expect("a result");
    let echoed: Value = serde_json::from_str(&echoed.text).expect("JSON");
    assert_eq!(echoed["meta"]["tenure/idempotency-key"], "eff_1");
    assert!(!server.is_over());
}

#[tokio::test]
async fn a_call_that_is_cancelled_is_told_to_the_server() {
    let (stream, mut seen) = bench();
    let server = reach(stream).await.expect("reached");
    let cancel = CancellationToken::new();
    let (failed, ()) = tokio::join!(call(&server, "wait", &cancel), async {
        assert_eq!(seen.recv().await.as_deref(), Some("called wait"));
        cancel.cancel();
    });
    assert_eq!(failed.expect_err("cancelled").kind, FailureKind::ConnectionFailed);
    assert_eq!(seen.recv().await.as_deref(), Some("cancelled"));
}

#[tokio::test]
async fn what_ends_in_the_middle_leaves_the_outcome_open_and_is_over() {
    let (ours, mut theirs) = duplex(BUFFER);
    let (bench_end, mut between) = duplex(BUFFER);
    let (bench, mut seen) = Bench::new();
    tokio::spawn(async move { bench.serve(bench_end).await.expect("a handshake").waiting().await });
    // Everything goes through until the call is under way; then the stream ends.
    let relay = tokio::spawn(async move {
        let (mut here, mut there) = (vec![0; BUFFER], vec![0; BUFFER]);
        loop {
            tokio::select! {
                read = theirs.read(&mut here) => match read {
                    Ok(length @ 1..) => between.write_all(&here[..length]).await.expect("written"),
                    Ok(0) | Err(_) => return,
                },
                read = between.read(&mut there) => match read {
                    Ok(length @ 1..) => theirs.write_all(&there[..length]).await.expect("written"),
                    Ok(0) | Err(_) => return,
                },
                said = seen.recv() => if said.as_deref() == Some("called wait") { return },
            }
        }
    });
    let server = reach(ours).await.expect("reached");
    let failed = call(&server, "wait", &CancellationToken::new()).await.expect_err("no answer");
    assert_eq!(failed.kind, FailureKind::ConnectionFailed);
    assert!(failed.kind.is_ambiguous() && server.is_over());
    relay.await.expect("no panic");
}

/// Requests that another client makes.
struct Elsewhere(reqwest::Client);

impl Requests for Elsewhere {
    fn send(&self, request: HttpRequest) -> BoxFuture<'static, Result<HttpResponse, HttpFailure>> {
        let method = request.method.parse().expect("a method");
        let mut build = self.0.request(method, &request.url);
        for (name, value) in request.headers {
            build = build.header(name, value);
        }
        if let Some(body) = request.body {
            build = build.body(body);
        }
        Box::pin(async move {
            let kind = |error: &reqwest::Error| {
                if error.is_connect() { HttpFailure::Unsent } else { HttpFailure::Broke }
            };
            let response = build.send().await.map_err(|error| kind(&error))?;
            let headers = response
                .headers()
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), value.to_str().expect("plain").to_owned()));
            let (status, headers) = (response.status().as_u16(), headers.collect());
            let body = response.bytes_stream().map(|piece| piece.map_err(|_| HttpFailure::Broke)).boxed();
            Ok(HttpResponse { status, headers, body })
        })
    }
}

async fn reach_over_http(url: &str) -> Result<Reached, Failure> {
    let headers = BTreeMap::from([("authorization".to_owned(), "Bearer b".to_owned())]);
    // Another test may have been first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let requests = Arc::new(Elsewhere(reqwest::Client::builder().no_proxy().build().expect("a client")));
    Reached::over_http("bench".to_owned(), Hints::default(), url, &headers, requests).await
}

#[tokio::test]
async fn over_http_that_another_makes_everything_is_the_same() {
    let never = CancellationToken::new();
    for plain in [false, true] {
        let (bench, mut seen) = Bench::new();
        let http = HttpServer::bench(&bench, plain, None);
        let url = format!("http://{}/mcp", http.address);
        let server = reach_over_http(&url).await.expect("reached");
        assert_eq!(server.list(&never).await.expect("a listing").len(), 4, "plain: {plain}");
        let echoed = call(&server, "echo", &never).await.expect("a result");
        let echoed: Value = serde_json::from_str(&echoed.text).expect("JSON");
        assert_eq!(echoed["key header"], "eff_1");
        assert_eq!(echoed["authorization"], "Bearer b");
        let refused = call(&server, "invalid", &never).await.expect_err("refused");
        assert_eq!(refused.kind, FailureKind::InvalidRequest);
        while seen.try_recv().is_ok() {}
        // It dies in the middle of a call: nobody knows what was done.
        let (failed, _) = tokio::join!(call(&server, "wait", &never), async {
            assert_eq!(seen.recv().await.as_deref(), Some("called wait"));
            tokio::task::spawn_blocking(|| http.kill()).await.expect("no panic")
        });
        let failed = failed.expect_err("broken");
        assert!(failed.kind.is_ambiguous(), "plain: {plain}: {failed:?}");
        let failed = reach_over_http(&url).await.err().expect("nobody listens");
        assert_eq!(failed.kind, FailureKind::ConnectionFailed);
    }
    let refused = reach_over_http("ftp://example.com/").await.err().expect("no address");
    assert_eq!(refused.kind, FailureKind::InvalidRequest);
}

#[tokio::test]
async fn a_server_that_has_forgotten_the_session_did_nothing() {
    let (bench, _seen) = Bench::new();
    let http = HttpServer::bench(&bench, false, None);
    let url = format!("http://{}/mcp", http.address);
    let server = reach_over_http(&url).await.expect("reached");
    let address = tokio::task::spawn_blocking(|| http.kill()).await.expect("no panic");
    let _again = HttpServer::bench(&bench, false, Some(address));
    let refused = call(&server, "echo", &CancellationToken::new()).await.expect_err("refused");
    assert_eq!(refused.kind, FailureKind::Overloaded, "certain, and may be tried again: {refused:?}");
    assert!(server.is_over());
}

#[tokio::test]
async fn what_is_no_server_is_not_reached() {
    let (ours, mut theirs) = duplex(BUFFER);
    theirs.write_all(b"usage: server [options]\n").await.expect("written");
    drop(theirs);
    let failed = reach(ours).await.err().expect("no handshake");
    assert_eq!(failed.kind, FailureKind::ConnectionFailed, "{}", failed.message);
}

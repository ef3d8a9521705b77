//! Real child processes.

mod support;

use std::path::Path;

use rmcp::ServiceExt;
use serde_json::{Value, json};
use support::{Bench, call, call_until, pool, stdio};
use tenure_journal::FailureKind::{self, ConnectionFailed, NotFound, Overloaded, Protocol, Timeout};
use tenure_tools::{Server, Servers};
use tokio_util::sync::CancellationToken;

/// Set in the child only, which is this test binary once more.
const SERVE: &str = "TENURE_TEST_SERVE";

/// The bench as a child process; when run as a test it has nothing to do.
#[tokio::test]
async fn child() {
    if std::env::var_os(SERVE).is_none() {
        return;
    }
    // The test runner has written to standard output already; a server's messages begin on a line.
    println!();
    eprintln!("child {} is up", std::process::id());
    let (bench, _) = Bench::new();
    bench.serve(rmcp::transport::stdio()).await.expect("a handshake").waiting().await.expect("a served pipe");
}

fn bench() -> Server {
    let binary = std::env::current_exe().expect("a path");
    let binary = binary.to_str().expect("a plain path");
    stdio(binary, &["child", "--exact", "--nocapture"], &[(SERVE, "yes")], 60_000)
}

fn shell(script: &str, timeout_ms: u64) -> Server {
    stdio("/bin/sh", &["-c", script], &[], timeout_ms)
}

/// Waits until a killed process is gone; the kernel takes its time after the signal.
async fn gone(pid: &str) {
    let waiting = async {
        while !is_gone(pid) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), waiting).await.expect(pid);
}

/// Whether a process is gone, or waits as a zombie for a parent that is not ours.
fn is_gone(pid: &str) -> bool {
    match std::fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat")) {
        Ok(stat) => stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('Z')),
        Err(_) => true,
    }
}

#[tokio::test]
async fn a_child_lists_and_answers() {
    let servers = pool();
    let tools = servers.list(&bench(), &CancellationToken::new()).await.expect("a listing");
    let names: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["read", "put", "refund", "plain"]);
    let result = call(&servers, &bench(), "echo", json!({"id": "ü\n"})).await.expect("a result");
    let echoed: Value = serde_json::from_str(&result.text).expect("JSON");
    assert_eq!(echoed["arguments"], json!({"id": "ü\n"}));
    assert_eq!(echoed["meta"]["tenure/idempotency-key"], "eff_1");
    let failed = call(&servers, &bench(), "fail", json!({})).await.expect("a result");
    assert!(failed.is_error);
    assert_eq!(servers.connections(), 1);
    servers.shutdown().await;
}

#[tokio::test]
async fn a_child_sees_four_variables_and_its_own() {
    let directory = tempfile::tempdir().expect("a directory");
    let Server::Stdio { command, args, mut env, hints, .. } = bench() else { unreachable!("a child") };
    env.insert("TOKEN".to_owned(), "t".to_owned());
    let cwd = Some(directory.path().to_owned());
    let server = Server::Stdio { command, args, env, cwd, hints };
    let inherited = [("PATH", "/bin"), ("HOME", "/root"), ("LANG", "C"), ("TMPDIR", "/tmp"), ("SECRET", "s")];
    let inherited = inherited.map(|(name, value)| (name.into(), value.into()));
    let servers = tenure_tools::McpServers::new(inherited, Default::default()).expect("a pool");
    let result = call(&servers, &server, "surroundings", json!({})).await.expect("a result");
    let seen: Value = serde_json::from_str(&result.text).expect("JSON");
    let mut names: Vec<_> = seen["env"].as_array().expect("names").iter().filter_map(Value::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "LANG", "PATH", SERVE, "TMPDIR", "TOKEN"]);
    let cwd = directory.path().canonicalize().expect("a path");
    assert_eq!(seen["cwd"].as_str(), cwd.to_str());
    servers.shutdown().await;
}

#[tokio::test]
async fn many_calls_share_one_child_at_once() {
    let servers = std::sync::Arc::new(pool());
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..support::MEETING {
        let servers = servers.clone();
        calls.spawn(async move { call(&servers, &bench(), "meet", json!({ "n": n })).await });
    }
    let mut numbers: Vec<usize> = Vec::new();
    while let Some(result) = calls.join_next().await {
        numbers.push(result.expect("no panic").expect("a result").text.parse().expect("a number"));
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..support::MEETING).collect::<Vec<_>>());
    assert_eq!(servers.connections(), 1);
    servers.shutdown().await;
}

#[tokio::test]
async fn a_child_that_dies_is_started_again_by_the_next_call() {
    let servers = pool();
    let first = call(&servers, &bench(), "pid", json!({})).await.expect("a result").text;
    let failure = call(&servers, &bench(), "exit", json!({})).await.expect_err("died");
    assert_eq!((failure.kind, failure.kind.is_ambiguous()), (ConnectionFailed, true));
    let second = call(&servers, &bench(), "pid", json!({})).await.expect("a result").text;
    assert_ne!(first, second);
    servers.shutdown().await;
    gone(&first).await;
    gone(&second).await;
}

#[tokio::test]
async fn cancelling_returns_at_once_and_the_child_goes_on() {
    let servers = pool();
    let before = call(&servers, &bench(), "pid", json!({})).await.expect("a result").text;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let failure = call_until(&servers, &bench(), "wait", json!({}), &cancel).await.expect_err("cancelled");
    assert_eq!(failure.kind, ConnectionFailed);
    let after = call(&servers, &bench(), "pid", json!({})).await.expect("a result").text;
    assert_eq!(before, after);
    servers.shutdown().await;
}

#[tokio::test]
async fn shutdown_ends_children_that_do_not_listen_and_their_children() {
    let directory = tempfile::tempdir().expect("a directory");
    let pids = directory.path().join("pids");
    // Ignores the end of its input and every signal it can.
    let first = format!("trap '' TERM INT HUP; sleep 600 & echo $! $$ > {};", pids.display());
    let servers = pool();
    let server = opened(&servers, &first, "sleep 600", 200).await;
    let failure = call(&servers, &server, "t", json!({})).await.expect_err("no answer");
    assert_eq!(failure.kind, Timeout);
    servers.shutdown().await;
    let pids = std::fs::read_to_string(pids).expect("written before the listing");
    for pid in pids.split_whitespace() {
        gone(pid).await;
    }
}

/// Opens a connection to a shell script that has answered the handshake and one listing, so that only a
/// call remains to be answered; its id is 2.
async fn opened(servers: &tenure_tools::McpServers, first: &str, then: &str, timeout_ms: u64) -> Server {
    let listed = r#"echo '{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}'"#;
    let script = format!("{first} read -r l; {HELLO}; read -r l; read -r l; {listed}; {then}");
    let patient = shell(&script, 60_000);
    assert_eq!(servers.list(&patient, &CancellationToken::new()).await, Ok(Vec::new()));
    shell(&script, timeout_ms)
}

/// The answer to `initialize`, whose id is 0.
const HELLO: &str = r#"echo '{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"s","version":"1"}}}'"#;

#[tokio::test]
async fn children_that_are_no_servers_are_refused_for_certain() {
    let servers = pool();
    let missing = stdio("/no/such/program", &[], &[], 10_000);
    let cases: [(Server, FailureKind); 7] = [
        (missing, NotFound),
        (shell("exit 3", 10_000), Overloaded),
        (shell("echo garbage; exit 0", 10_000), Overloaded),
        (shell("printf '\\377\\376\\000\\n{}\\n[1]\\nnull\\n'; exit 0", 10_000), Overloaded),
        (shell("while read -r l; do echo garbage; done", 200), Overloaded),
        (
            shell(r#"read -r l; echo '{"jsonrpc":"2.0","id":0,"result":{"content":[]}}'; read -r l"#, 10_000),
            NotFound,
        ),
        (shell("head -c 17000000 /dev/zero | tr '\\0' x; sleep 600", 60_000), NotFound),
    ];
    for (server, kind) in cases {
        let failure = call(&servers, &server, "t", json!({})).await.expect_err("no server");
        assert_eq!((failure.kind, failure.kind.is_ambiguous()), (kind, false), "{server:?} {failure:?}");
        assert!(!failure.message.contains("/bin/sh"), "{}", failure.message);
    }
    servers.shutdown().await;
}

#[tokio::test]
async fn children_that_break_the_protocol_later_never_hang_a_call() {
    let servers = pool();
    let deep = format!(r#"{{"jsonrpc":"2.0","id":2,"result":{}1{}}}"#, "[".repeat(500), "]".repeat(500));
    let answers = [
        ("echo garbage".to_owned(), 200, Timeout),
        (format!("echo '{deep}'"), 200, Timeout),
        (r#"echo '{"jsonrpc":"2.0","id":7,"result":{"content":[]}}'"#.to_owned(), 200, Timeout),
        (r#"echo '{"jsonrpc":"2.0","id":2}'"#.to_owned(), 200, Timeout),
        (r#"echo '{"jsonrpc":"2.0","id":2,"result":{"content":"text"}}'"#.to_owned(), 10_000, Protocol),
        (r#"echo '{"jsonrpc":"2.0","id":2,"result":{}}'"#.to_owned(), 10_000, Protocol),
        ("head -c 17000000 /dev/zero | tr '\\0' x".to_owned(), 60_000, Protocol),
        ("exit 1".to_owned(), 10_000, ConnectionFailed),
    ];
    for (answer, timeout_ms, kind) in answers {
        let server =
            opened(&servers, "", &format!("read -r l; {answer}; read -r l; sleep 600"), timeout_ms).await;
        let failure = call(&servers, &server, "t", json!({})).await.expect_err("no result");
        assert_eq!((failure.kind, failure.kind.is_ambiguous()), (kind, true), "{answer} {failure:?}");
    }
    servers.shutdown().await;
}

#[tokio::test]
async fn a_child_whose_output_has_ended_is_replaced_before_anything_is_sent() {
    let servers = pool();
    // The first child closes its output and lives on; the second answers the call, whose id is 1 there.
    let directory = tempfile::tempdir().expect("a directory");
    let mark = directory.path().join("second");
    let answer = r#"echo '{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"second"}]}}'"#;
    let first = format!(
        "[ -e {0} ] && {{ read -r l; {HELLO}; read -r l; read -r l; {answer}; exec cat >/dev/null; }}; touch {0};",
        mark.display()
    );
    let server = opened(&servers, &first, "exec >&-; sleep 600", 60_000).await;
    // The end of the output may be seen just before or just after the request is handed over.
    let result = match call(&servers, &server, "t", json!({})).await {
        Err(failure) => {
            assert_eq!(failure.kind, ConnectionFailed);
            call(&servers, &server, "t", json!({})).await
        }
        answered @ Ok(_) => answered,
    };
    assert_eq!(result.map(|result| result.text), Ok("second".to_owned()));
    servers.shutdown().await;
}

#[tokio::test]
async fn a_child_that_changes_its_tools_is_heard() {
    let servers = pool();
    assert_eq!(servers.tools_changed(&bench()), None);
    call(&servers, &bench(), "change", json!({})).await.expect("a result");
    let heard = async {
        while servers.tools_changed(&bench()).is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), heard).await.expect("it is heard");
    let mut bare = bench();
    if let Server::Stdio { env, .. } = &mut bare {
        env.clear();
    }
    assert!(servers.tools_changed(&bare).is_some(), "secrets do not count");
    assert_eq!(servers.tools_changed(&shell("exit", 1)), None, "another server");
    servers.shutdown().await;
}

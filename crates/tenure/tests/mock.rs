//! The demonstration's services, reached as a session reaches them.

#[path = "../src/mock/mod.rs"]
mod mock;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mock::payments::{Payments, held_path};
use mock::{Listen, orders, payments};
use serde_json::{Map, Value, json};
use tenure_tools::{Call, CallResult, Hints, Limits, McpServers, Server, Servers};
use tokio_util::sync::CancellationToken;

/// Says which service a child process is; set there only.
const SERVICE: &str = "TENURE_TEST_SERVICE";
const LEDGER: &str = "TENURE_TEST_LEDGER";
const HOLD: &str = "TENURE_TEST_HOLD";

/// A service as a process of its own; when run as a test it has nothing to do.
#[tokio::test]
async fn service() {
    let Ok(service) = std::env::var(SERVICE) else { return };
    // The test runner has written to standard output already; a server's messages begin on a line.
    println!();
    let loopback = Listen::Http(([127, 0, 0, 1], 0).into());
    let served = match service.as_str() {
        "orders" => orders::serve(orders::Options { listen: Listen::Stdio }).await,
        _ => {
            let ledger = std::env::var_os(LEDGER).expect("a ledger").into();
            let hold_after_commit = std::env::var_os(HOLD).map(PathBuf::from);
            payments::serve(payments::Options { listen: loopback, ledger, hold_after_commit }).await
        }
    };
    served.expect("served");
}

fn pool() -> McpServers {
    McpServers::new(std::env::vars_os(), Limits::default()).expect("a pool")
}

fn http(url: &str) -> Server {
    Server::Http { url: url.to_owned(), headers: BTreeMap::new(), hints: Hints::default() }
}

async fn call(servers: &McpServers, server: &Server, name: &str, arguments: Value, key: &str) -> CallResult {
    let call = Call { name, arguments: &arguments, idempotency_key: key, metadata: &Map::new() };
    servers.call(server, call, &CancellationToken::new()).await.expect(name)
}

async fn answer(servers: &McpServers, server: &Server, name: &str, arguments: Value, key: &str) -> Value {
    let result = call(servers, server, name, arguments, key).await;
    assert!(!result.is_error, "{}", result.text);
    serde_json::from_str(&result.text).expect("JSON")
}

/// Waits until a file is there, or is gone.
async fn until(path: &Path, is_there: bool) {
    let waiting = async {
        while path.exists() != is_there {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("in time");
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).expect("a ledger").lines().count()
}

#[tokio::test]
async fn orders_are_read_over_stdio() {
    let binary = std::env::current_exe().expect("a path").to_str().expect("a plain path").to_owned();
    let server = Server::Stdio {
        command: binary,
        args: ["service", "--exact", "--nocapture"].map(str::to_owned).to_vec(),
        env: BTreeMap::from([(SERVICE.to_owned(), "orders".to_owned())]),
        cwd: None,
        hints: Hints::default(),
    };
    let servers = pool();
    let tools = servers.list(&server, &CancellationToken::new()).await.expect("a listing");
    let mut names: Vec<_> = tools.iter().map(|tool| (tool.name.as_str(), tool.read_only)).collect();
    names.sort_unstable();
    assert_eq!(names, [("get_order", Some(true)), ("search_orders", Some(true))]);

    let order = answer(&servers, &server, "get_order", json!({"id": "ord_1042"}), "k").await;
    assert_eq!(order["id"], "ord_1042");
    assert!(order["total_cents"].as_u64().is_some_and(|cents| cents > 0));
    let name = order["customer"].as_str().expect("a name");
    let theirs = json!({"customer": name.to_uppercase(), "limit": 100});
    let found = answer(&servers, &server, "search_orders", theirs, "k").await;
    let found = found["orders"].as_array().expect("orders");
    assert!(found.iter().all(|order| order["customer"] == name) && found.contains(&order));

    for (arguments, matches, shown) in [
        (json!({}), 520..=520, 20),
        (json!({"limit": 3}), 520..=520, 3),
        (json!({"status": "returned"}), 20..=100, 20),
        (json!({"customer": "@example.", "limit": 100}), 520..=520, 100),
        (json!({"customer": "nobody at all"}), 0..=0, 0),
    ] {
        let found = answer(&servers, &server, "search_orders", arguments.clone(), "k").await;
        assert!(matches.contains(&found["matches"].as_u64().expect("a number")), "{arguments} {found}");
        assert_eq!(found["orders"].as_array().map(Vec::len), Some(shown), "{arguments}");
    }
    for (tool, arguments, complaint) in [
        ("get_order", json!({"id": "ord_1"}), "there is no order `ord_1`"),
        ("get_order", json!({}), "missing field `id`"),
        ("get_order", json!({"id": "ord_1042", "x": 1}), "unknown field `x`"),
        ("search_orders", json!({"status": "lost"}), "unknown variant `lost`"),
        ("search_orders", json!({"limit": 0}), "`limit` is 0"),
        ("search_orders", json!({"limit": 101}), "`limit` is 101"),
    ] {
        let result = call(&servers, &server, tool, arguments, "k").await;
        assert!(result.is_error && result.text.contains(complaint), "{}", result.text);
    }
    servers.shutdown().await;
}

#[tokio::test]
async fn a_key_pays_once_and_no_key_pays_every_time() {
    let directory = tempfile::tempdir().expect("a directory");
    let ledger = directory.path().join("ledger.jsonl");
    let options =
        payments::Options { listen: Listen::Stdio, ledger: ledger.clone(), hold_after_commit: None };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/mcp", listener.local_addr().expect("an address"));
    let service = mock::router(mock::Service::Payments(Payments::open(options).expect("a ledger")));
    let serving = tokio::spawn(async move { axum::serve(listener, service).await });
    let (servers, server) = (pool(), http(&url));

    let tools = servers.list(&server, &CancellationToken::new()).await.expect("a listing");
    let mut said: Vec<_> =
        tools.iter().map(|tool| (tool.name.as_str(), tool.read_only, tool.destructive)).collect();
    said.sort_unstable();
    let expected = [
        ("get_refund", Some(true), None),
        ("list_refunds", Some(true), None),
        ("refund", Some(false), Some(true)),
    ];
    assert_eq!(said, expected);

    let arguments = json!({"order_id": "ord_1042", "amount_cents": 4_500, "reason": "damaged"});
    for (key, refund_id, replayed) in
        [("eff_1", "re_000001", false), ("eff_1", "re_000001", true), ("eff_2", "re_000002", false)]
    {
        let receipt = answer(&servers, &server, "refund", arguments.clone(), key).await;
        assert_eq!((&receipt["refund_id"], &receipt["replayed"]), (&json!(refund_id), &json!(replayed)));
    }
    let message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "refund", "arguments": arguments},
    });
    for _ in 0..2 {
        let request =
            reqwest::Client::new().post(&url).header("accept", "application/json, text/event-stream");
        let response = request.json(&message).send().await.expect("an answer");
        let answer: Value = response.json().await.expect("JSON");
        assert_eq!(answer["result"]["structuredContent"]["replayed"], false, "{answer}");
    }
    let one = answer(&servers, &server, "get_refund", json!({"order_id": "ord_1042"}), "k").await;
    assert_eq!((&one["count"], &one["total_cents"]), (&json!(4), &json!(18_000)));
    let none = answer(&servers, &server, "get_refund", json!({"order_id": "ord_1"}), "k").await;
    assert_eq!(none["count"], 0);
    let all = answer(&servers, &server, "list_refunds", json!({}), "k").await;
    assert_eq!((&all["count"], &all["refunds"][0]["refund_id"]), (&json!(4), &json!("re_000004")));

    let other = json!({"order_id": "ord_1043", "amount_cents": 4_500, "reason": "damaged"});
    let long = "x".repeat(2_000);
    for (arguments, key, complaint) in [
        (other, "eff_1", "the idempotency key was used before for another refund, `re_000001`"),
        (json!({"order_id": "", "amount_cents": 1, "reason": ""}), "k", "`order_id` must"),
        (json!({"order_id": "o", "amount_cents": 0, "reason": ""}), "k", "`amount_cents` is 0"),
        (json!({"order_id": "o", "amount_cents": 1_000_000_001, "reason": ""}), "k", "`amount_cents` is"),
        (json!({"order_id": "o", "amount_cents": 1, "reason": long}), "k", "`reason` must"),
        (
            json!({"order_id": "o", "amount_cents": 1, "reason": ""}),
            long.as_str(),
            "the idempotency key must",
        ),
    ] {
        let result = call(&servers, &server, "refund", arguments, key).await;
        assert!(result.is_error && result.text.contains(complaint), "{}", result.text);
    }
    assert_eq!(lines(&ledger), 4);
    servers.shutdown().await;
    serving.abort();
}

/// The payment service as a process of its own.
struct Process {
    child: Child,
    url: String,
}

impl Process {
    fn start(ledger: &Path, hold: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .args(["service", "--exact", "--nocapture"])
            .env(SERVICE, "payments")
            .env(LEDGER, ledger)
            .env(HOLD, hold)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let said = stdout.lines().map_while(Result::ok).find(|line| line.starts_with('{'));
        let said: Value = serde_json::from_str(&said.expect("a line")).expect("JSON");
        let url = said["listening"].as_str().expect("an address").to_owned();
        Self { child, url }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().expect("running until now");
        self.child.wait().expect("reaped");
    }
}

#[tokio::test]
async fn a_refund_survives_the_death_of_its_caller_and_of_the_service() {
    let directory = tempfile::tempdir().expect("a directory");
    let (ledger, hold) = (directory.path().join("ledger.jsonl"), directory.path().join("hold"));
    let held = held_path(&hold);
    std::fs::write(&hold, "").expect("written");
    let arguments = json!({"order_id": "ord_1042", "amount_cents": 4_500, "reason": "damaged"});
    let process = Process::start(&ledger, &hold);
    let server = http(&process.url);

    // The caller dies once the money has moved and before it knows.
    let caller = pool();
    let meta = Map::new();
    let refund = Call { name: "refund", arguments: &arguments, idempotency_key: "eff_1", metadata: &meta };
    let cancel = CancellationToken::new();
    tokio::select! {
        result = caller.call(&server, refund, &cancel) => panic!("not held: {result:?}"),
        () = until(&held, true) => {}
    }
    drop(caller);
    assert_eq!(lines(&ledger), 1);
    assert_eq!(std::fs::read_to_string(&held).expect("a note"), "re_000001\n");

    // Its successor asks again, while the first answer is still held.
    let successor = pool();
    let receipt = answer(&successor, &server, "refund", arguments.clone(), "eff_1").await;
    assert_eq!((&receipt["refund_id"], &receipt["replayed"]), (&json!("re_000001"), &json!(true)));
    std::fs::remove_file(&hold).expect("there until now");
    until(&held, false).await;

    drop(process);
    let process = Process::start(&ledger, &hold);
    let server = http(&process.url);
    let receipt = answer(&successor, &server, "refund", arguments.clone(), "eff_1").await;
    assert_eq!(receipt["replayed"], true);
    assert_eq!(lines(&ledger), 1);
    let receipt = answer(&successor, &server, "refund", arguments, "eff_2").await;
    assert_eq!((&receipt["refund_id"], &receipt["replayed"]), (&json!("re_000002"), &json!(false)));
    assert!(!held.exists());
    successor.shutdown().await;
}

//! The example `contract-routing` against clouds that count what reaches them: whatever goes wrong, no call is
//! made that a clause forbids, and an auditor can be shown why.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use tokio::net::TcpListener;

const KEY: &str = "key-for-tests";

/// How a cloud behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mood {
    Well,
    Fails(u16),
    /// Sends whoever asks somewhere else.
    Redirects(u16, String),
    /// Ends the connection without a word.
    HangsUp,
}

/// A cloud, and every request that reached it.
#[derive(Clone)]
struct Cloud {
    url: String,
    mood: Arc<Mutex<Mood>>,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Cloud {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound socket"));
        let cloud = Self { url, mood: Arc::new(Mutex::new(Mood::Well)), seen: Arc::default() };
        let app = axum::Router::new().fallback(answer).with_state(cloud.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        cloud
    }

    fn feels(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// What reached it since this was last asked.
    fn take(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn answer(State(cloud): State<Cloud>, request: Request) -> Response {
    let path = request.uri().to_string();
    let body = to_bytes(request.into_body(), 1 << 20).await.expect("a body");
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    cloud.seen.lock().unwrap_or_else(PoisonError::into_inner).push((path, body));
    let mood = cloud.mood.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match mood {
        Mood::Well => {
            let content = json!([{"type": "output_text", "text": "Done.", "annotations": []}]);
            let message = json!({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                "content": content});
            let usage = json!({"input_tokens": 1_000_000, "output_tokens": 100_000});
            Json(json!({"id": "resp_1", "object": "response", "status": "completed", "output": [message],
                "usage": usage}))
            .into_response()
        }
        Mood::Fails(status) => {
            let status = StatusCode::from_u16(status).expect("a status");
            (status, Json(json!({"error": {"message": "no", "code": null}}))).into_response()
        }
        Mood::Redirects(status, to) => {
            let status = StatusCode::from_u16(status).expect("a status");
            (status, [("location", to)]).into_response()
        }
        Mood::HangsUp => {
            let broken = futures_util::stream::iter([Err::<bytes::Bytes, _>(std::io::Error::other("gone"))]);
            Response::new(Body::from_stream(broken))
        }
    }
}

/// The project of the example, served over two clouds.
struct World {
    azure: Cloud,
    bedrock: Cloud,
    data: tempfile::TempDir,
    server: Child,
    url: String,
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/contract-routing")
}

impl World {
    async fn start() -> Self {
        let (azure, bedrock) = (Cloud::start().await, Cloud::start().await);
        let data = tempfile::tempdir().expect("a directory");
        let mut server = tenure(&azure, &bedrock, data.path())
            .args(["serve", "--port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let output = server.stdout.take().expect("piped");
        let url = tokio::task::spawn_blocking(move || {
            BufReader::new(output)
                .lines()
                .map_while(Result::ok)
                .find_map(|line| {
                    let told: Value = serde_json::from_str(&line).ok()?;
                    told["listening"].as_str().map(str::to_owned)
                })
                .expect("the server says where it listens")
        });
        let url = tokio::time::timeout(Duration::from_secs(120), url).await;
        let url = url.expect("in time").expect("no panic");
        Self { azure, bedrock, data, server, url }
    }

    async fn command(&self, arguments: &[&str]) -> Output {
        let mut command = tenure(&self.azure, &self.bedrock, self.data.path());
        command.args(arguments).args(["--url", &self.url]);
        tokio::task::spawn_blocking(move || command.output().expect("the binary runs"))
            .await
            .expect("no panic")
    }

    /// One turn of an agent: its status and the error it ended with.
    async fn turn(&self, agent: &str) -> (String, String) {
        let output = self.command(&["run", "-o", "json", agent, "Go."]).await;
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (report["status"].as_str().unwrap_or("failed").to_owned(), said)
    }

    /// The records of the audit log.
    async fn records(&self) -> Vec<Value> {
        let output = self.command(&["audit", "list", "-o", "jsonl", "--limit", "1000"]).await;
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn tenure(azure: &Cloud, bedrock: &Cloud, data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    command
        .arg("-C")
        .arg(example())
        .arg("--data-dir")
        .arg(data)
        .env("AZURE_URL", &azure.url)
        .env("BEDROCK_URL", format!("{}/openai/v1", bedrock.url))
        .env("AZURE_KEY", "unused")
        .env("BEDROCK_KEY", "unused")
        .env("TENURE_API_KEY", KEY)
        .env_remove("TENURE_URL")
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

#[tokio::test]
async fn no_forbidden_call_is_made_whatever_goes_wrong() {
    let world = World::start().await;
    let forbidden = || {
        let seen = world.bedrock.take();
        let stateless: Vec<_> = seen.iter().filter(|(_, body)| body["store"] != true).collect();
        assert!(stateless.is_empty(), "a stateless call reached the other cloud: {stateless:?}");
        seen.len()
    };

    // The cheaper way comes first, and is passed over.
    assert_eq!(world.turn("assistant").await.0, "completed");
    let seen = world.azure.take();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].0.as_str(), &seen[0].1["store"]), ("/openai/v1/responses", &json!(false)));
    assert_eq!(forbidden(), 0);

    // What the provider keeps is another kind of call.
    assert_eq!(world.turn("sessions").await.0, "completed");
    assert_eq!((world.azure.take().len(), forbidden()), (0, 1));

    // A client that names a model past every alias.
    let (status, said) = world.turn("elsewhere").await;
    assert_eq!(status, "failed", "{said}");
    assert!(said.contains("msa-2026-17/stateless-on-azure"), "{said}");
    assert_eq!((world.azure.take().len(), forbidden()), (0, 0));

    // The permitted cloud is down, refuses, sends elsewhere or hangs up; the fallback is refused each time.
    let elsewhere = format!("{}/openai/v1/responses", world.bedrock.url);
    for mood in [
        Mood::Fails(500),
        Mood::Fails(401),
        Mood::Redirects(302, elsewhere.clone()),
        Mood::Redirects(307, elsewhere.clone()),
        Mood::HangsUp,
    ] {
        world.azure.feels(mood.clone());
        let (status, said) = world.turn("fallback").await;
        assert_eq!(status, "failed", "{mood:?}: {said}");
        let tries = world.azure.take().len();
        let expected = if matches!(mood, Mood::Fails(500) | Mood::HangsUp) { 2.. } else { 1.. };
        assert!(expected.contains(&tries), "{mood:?}: {tries} tries");
        assert_eq!(forbidden(), 0, "{mood:?}");
    }
    world.azure.feels(Mood::Well);
    assert_eq!(world.turn("fallback").await.0, "completed");
    assert_eq!(forbidden(), 0);

    // Every attempt is a decision of its own, with what made it.
    let records = world.records().await;
    let attempts: Vec<&Value> =
        records.iter().filter(|row| row["record"]["fact"]["type"] == "attempt_started").collect();
    assert!(attempts.len() >= 9, "{} attempts", attempts.len());
    for row in &attempts {
        let route = &row["record"]["fact"]["route"];
        let expected = if route["class"] == "stateless" {
            ("azure", "eu", world.azure.url.as_str(), "msa-2026-17/stateless-on-azure")
        } else {
            ("bedrock", "us", world.bedrock.url.as_str(), "msa-2026-17/sessions-on-two-clouds")
        };
        let (provider, region, url, clause) = expected;
        assert_eq!(
            (&route["route"]["provider"], &route["route"]["region"]),
            (&json!(provider), &json!(region))
        );
        assert_eq!(format!("http://{}", route["route"]["host"].as_str().expect("a host")), url);
        let clauses = route["clauses"].as_array().expect("clauses");
        assert!(
            clauses.contains(&json!(clause)) && clauses.contains(&json!("msa-2026-17/no-training")),
            "{route}"
        );
        assert!(route["permit"]["policy_digest"].as_str().is_some_and(|digest| digest.starts_with("b3:")));
    }
    let passed = &attempts[0]["record"]["fact"]["route"]["passed_over"][0];
    assert_eq!(passed["route"], "bedrock");
    assert_eq!(passed["why"]["policies"], json!(["msa-2026-17/stateless-on-azure"]));

    // What an auditor is handed, checked without the server.
    let index = attempts[0]["id"].as_str().expect("a number");
    let out = world.data.path().join("evidence");
    std::fs::create_dir(&out).expect("made");
    let shown = out.to_str().expect("a plain path");
    let proved = world.command(&["audit", "prove", index, "--out", shown]).await;
    assert!(proved.status.success(), "{}", String::from_utf8_lossy(&proved.stderr));
    let key = String::from_utf8(world.command(&["audit", "key"]).await.stdout).expect("UTF-8");
    let (record, evidence) =
        (format!("{shown}/record-{index}.json"), format!("{shown}/record-{index}.tlog-proof"));
    let checked = world.command(&["audit", "check", &record, &evidence, "--key", key.trim()]).await;
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));

    // What another contract would have changed.
    let other = world.data.path().join("msa-2026-17.yaml");
    std::fs::write(&other, "version: 4\nclauses:\n  - {id: own, must: {provider: self-hosted}}\n")
        .expect("written");
    let other = other.to_str().expect("a plain path");
    let output = world.command(&["contracts", "what-if", "--contract", other, "-o", "json"]).await;
    let rows: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let refused: u64 = rows
        .as_array()
        .expect("rows")
        .iter()
        .filter(|row| row["what"] == "refused")
        .map(|row| row["calls"].as_u64().expect("a number"))
        .sum();
    assert_eq!(refused, attempts.len() as u64, "{rows}");
    let cost: f64 = rows.as_array().expect("rows").iter().filter_map(|row| row["cost_usd"].as_f64()).sum();
    assert!((cost - 2.0 * 2.25).abs() < 1e-6, "two priced answers of $2.25: {rows}");
    let before = ["contracts", "what-if", "--contract", other, "--to", "2026-01-01", "-o", "json"];
    let nothing = world.command(&before).await;
    assert_eq!(serde_json::from_slice::<Value>(&nothing.stdout).expect("JSON"), json!([]));
}

#[test]
fn the_contracts_of_the_example_are_in_order() {
    let check = |directory: &Path| {
        Command::new(env!("CARGO_BIN_EXE_tenure"))
            .args(["contracts", "check", "-o", "json", "-C"])
            .arg(directory)
            .stdin(Stdio::null())
            .output()
            .expect("the binary runs")
    };
    let output = check(&example());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 contract, 3 clauses, 5 routes"), "{said}");

    // A clause for a vendor that nobody offers, and one that closes every way.
    let project = tempfile::tempdir().expect("a directory");
    let settings = std::fs::read_to_string(example().join("tenure.yaml")).expect("read");
    std::fs::write(project.path().join("tenure.yaml"), settings).expect("written");
    std::fs::create_dir(project.path().join("contracts")).expect("made");
    let clauses = "version: 1\nclauses:\n  - {id: a, applies_to: {vendor: meta}, must: {provider: azure}}\n  \
        - {id: b, must_not: {trains_on_data: false}}\n";
    std::fs::write(project.path().join("contracts/c.yaml"), clauses).expect("written");
    let output = check(project.path());
    assert_eq!(output.status.code(), Some(1));
    let rows: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let whats: Vec<_> = rows.as_array().expect("rows").iter().map(|row| (&row["what"], &row["id"])).collect();
    assert!(whats.contains(&(&json!("dead"), &json!("c/a"))), "{rows}");
    assert!(whats.contains(&(&json!("no route"), &json!("c/b"))), "{rows}");
}

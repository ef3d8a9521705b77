//! Signing in as a person, from the command line to a real little provider and a real server.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tenure_testkit::oidc::Oidc;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};

/// Nothing here takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(120);

fn tenure(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    command
        .args(arguments)
        .arg("-C")
        .arg(root.join("project"))
        .env_clear()
        .env("HOME", root.join("home"))
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Lines of what a process says until one is as wanted.
async fn said(lines: &mut tokio::io::Lines<BufReader<ChildStderr>>, wanted: impl Fn(&str) -> bool) -> String {
    let mut all = VecDeque::new();
    let read = async {
        while let Some(line) = lines.next_line().await.expect("text") {
            if wanted(&line) {
                return line;
            }
            all.push_back(line);
        }
        panic!("it said nothing of the kind: {all:?}")
    };
    tokio::time::timeout(PATIENCE, read).await.expect("in time")
}

/// A server of a project whose people the provider knows.
async fn serve(root: &Path, oidc: &Oidc) -> (Child, String) {
    let project = root.join("project");
    std::fs::create_dir_all(&project).expect("made");
    std::fs::create_dir_all(root.join("home")).expect("made");
    std::fs::write(project.join("script.yaml"), "rules:\n  - reply: [{ text: Hello. }]\n").expect("written");
    let settings = format!(
        "providers:\n  local: {{type: scripted, script: script.yaml}}\n\
         people:\n  issuer: {}\n  audience: tenure\n  groups:\n    support: [sessions:read]\n    ops: [admin]\n",
        oidc.issuer()
    );
    std::fs::write(project.join("tenure.yaml"), settings).expect("written");
    let mut child = tenure(root, &["serve", "--port", "0"]).spawn().expect("the binary runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut logged = BufReader::new(child.stderr.take().expect("piped")).lines();
    // Whatever it says is read, so that it never waits for a reader.
    let log = tokio::spawn(async move {
        let mut all = String::new();
        while let Ok(Some(line)) = logged.next_line().await {
            all += &format!("{line}\n");
        }
        all
    });
    let first = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("in time").expect("text");
    let Some(first) = first else { panic!("it ended: {}", log.await.expect("read")) };
    let first: Value = serde_json::from_str(&first).expect("JSON");
    let url = first["listening"].as_str().expect("an address").trim_end_matches("/v1").to_owned();
    (child, url)
}

/// Runs a command to its end: its code, and both streams.
async fn run(root: &Path, url: &str, arguments: &[&str]) -> (i32, String, String) {
    let mut command = tenure(root, arguments);
    let output = tokio::time::timeout(PATIENCE, command.args(["--url", url]).output()).await;
    let output = output.expect("in time").expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("a code"), text(&output.stdout), text(&output.stderr))
}

/// Signs in: runs the command, and goes where it says as a browser would.
async fn login(root: &Path, url: &str) -> (i32, String) {
    let mut child = tenure(root, &["login", "--url", url]).spawn().expect("the binary runs");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let address = said(&mut lines, |line| line.starts_with("http://")).await;
    let browser = reqwest::Client::builder().no_proxy().build().expect("a client");
    let page = browser.get(&address).send().await.expect("the provider answers").text().await.expect("text");
    assert!(page.contains("signed in"), "{page}");
    let rest = async {
        let mut said = String::new();
        while let Some(line) = lines.next_line().await.expect("text") {
            said += &format!("{line}\n");
        }
        (child.wait().await.expect("it ends").code().expect("a code"), said)
    };
    tokio::time::timeout(PATIENCE, rest).await.expect("in time")
}

#[tokio::test]
async fn a_person_signs_in_and_is_who_they_are() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (root, oidc) = (tempfile::tempdir().expect("a directory"), Oidc::start().await);
    let root = root.path();
    let (_server, url) = serve(root, &oidc).await;

    oidc.signs_in(json!({"sub": "eve", "name": "Eve", "groups": ["others"]}));
    let (code, said) = login(root, &url).await;
    assert_eq!(code, 6, "somebody in no group has no scope: {said}");
    assert!(said.contains("people.groups"), "{said}");

    oidc.signs_in(
        json!({"sub": "ann", "name": "Ann", "email": "ann@example.com", "groups": ["support", "ops"]}),
    );
    let (code, said) = login(root, &url).await;
    assert_eq!(code, 0, "{said}");
    let (code, who, said) = run(root, &url, &["whoami", "-o", "json"]).await;
    assert_eq!(code, 0, "{said}");
    let who: Value = serde_json::from_str(&who).expect("JSON");
    assert_eq!((&who["type"], &who["name"]), (&json!("person"), &json!("ann@example.com")));
    let (_, people, _) = run(root, &url, &["people", "-o", "json"]).await;
    let people: Value = serde_json::from_str(&people).expect("JSON");
    let names: Vec<_> = people.as_array().expect("a list").iter().map(|person| &person["name"]).collect();
    assert!(names.contains(&&json!("Ann")) && names.contains(&&json!("Eve")), "{people}");

    let (code, _, said) = run(root, &url, &["logout"]).await;
    assert_eq!(code, 0, "{said}");
    let (_, who, _) = run(root, &url, &["whoami", "-o", "json"]).await;
    let who: Value = serde_json::from_str(&who).expect("JSON");
    assert_eq!(who["type"], "key", "the key in the data directory is used again");
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_waited_past() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (root, oidc) = (tempfile::tempdir().expect("a directory"), Oidc::start().await);
    let root = root.path();
    let (_server, url) = serve(root, &oidc).await;
    oidc.signs_in(json!({"sub": "ann", "groups": ["ops"]}));
    let mut child = tenure(root, &["login", "--url", &url]).spawn().expect("the binary runs");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let address = said(&mut lines, |line| line.starts_with("http://")).await;
    let asked = url::Url::parse(&address).expect("an address");
    let word = |name: &str| {
        let pair = asked.query_pairs().find(|(found, _)| found == name);
        pair.map(|(_, value)| value.into_owned()).unwrap_or_else(|| panic!("no {name} in {address}"))
    };
    assert_eq!((word("response_type"), word("code_challenge_method")), ("code".into(), "S256".into()));
    let callback = word("redirect_uri");
    let browser = reqwest::Client::builder().no_proxy().build().expect("a client");
    for forged in ["?code=stolen&state=guessed", "?code=stolen", "/../other?code=x", ""] {
        let answer = browser.get(format!("{callback}{forged}")).send().await.expect("it answers");
        assert_eq!(answer.status().as_u16(), 404, "{forged}");
    }
    let refused = format!("{callback}?error=access_denied&state={}", word("state"));
    browser.get(refused).send().await.expect("it answers");
    let end = tokio::time::timeout(PATIENCE, child.wait()).await.expect("in time").expect("it ends");
    assert_eq!(end.code(), Some(6), "the provider refused");
}

//! Our own executor.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tenure_executor::harness::{CallErrorKind, ProcessEvent, Session};
use tenure_executor::message::INVALID_REQUEST;
use tenure_executor::protocol::process::{EnvironmentPolicy, Inherit};
use tenure_executor::protocol::{files, process};
use tenure_executor::serve::{Credentials, Options, Reach, ServeError, ServeErrorKind, Unconfined, serve};
use tenure_executor::sigv4::KeyPair;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use crate::scenarios::{self, location, next, run_out, start, until};
use crate::server::{KEY, PAIR, PATIENCE, Server};

fn options(server: &Server, directory: &Path, credentials: Credentials) -> Options {
    Options {
        remote_url: server.remote_url(),
        environment_id: "env_test".to_owned(),
        credentials,
        directory: directory.to_owned(),
        reach: Reach::WorkingDirectory,
        variables: [("PATH", "/usr/bin:/bin"), ("SHELL", "/bin/sh"), ("API_TOKEN", "secret")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        launcher: Arc::new(Unconfined),
    }
}

fn key() -> Credentials {
    Credentials::Key(KEY.to_owned())
}

fn pair() -> Credentials {
    Credentials::Pair { pair: KeyPair::new(PAIR.0, PAIR.1), region: "local".to_owned() }
}

/// An executor that ends with the test.
struct Executor(JoinHandle<ServeError>);

impl Executor {
    fn start(options: Options) -> Self {
        Self(tokio::spawn(async {
            match serve(options).await {
                Ok(never) => match never {},
                Err(error) => error,
            }
        }))
    }

    async fn error(&mut self) -> ServeError {
        tokio::time::timeout(PATIENCE, &mut self.0).await.expect("ends in time").expect("does not panic")
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Place {
    _root: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().canonicalize().expect("is there");
    Place { _root: root, path }
}

async fn everything(server: &Server, directory: &Path) {
    // As `tenure exec-server` does. Tests that are started in the background ignore interrupts, and so would
    // the programs they start.
    let _interrupts = signal(SignalKind::interrupt()).expect("a handler");
    let info = server.remote.info().await.expect("answers");
    assert_eq!((info.shell.name.as_str(), info.cwd), ("sh", Some(location(directory))));
    scenarios::files(&server.remote, directory).await;
    scenarios::processes(&server.remote, directory).await;
    scenarios::stdio(&server.remote, directory).await;
    scenarios::much_output(&server.remote, directory).await;
    scenarios::http(server).await;
    scenarios::resume(server, directory).await;
}

#[tokio::test]
async fn everything_over_the_encrypted_transport() {
    let (server, place) = (Server::start().await, place());
    let _executor = Executor::start(options(&server, &place.path, key()));
    assert_eq!(server.connected().await, Session::Fresh);
    everything(&server, &place.path).await;
    assert_eq!(server.registrations(), 1, "an address is dialled again while it is valid");
}

#[tokio::test]
async fn everything_over_the_direct_transport() {
    let (server, place) = (Server::start().await, place());
    let _executor = Executor::start(options(&server, &place.path, pair()));
    assert_eq!(server.connected().await, Session::Fresh);
    everything(&server, &place.path).await;
}

/// A call waits for an executor; one that was made before the connection broke is repeated or interrupted.
#[tokio::test]
async fn calls_over_a_broken_connection() {
    let (server, place) = (Server::start().await, place());
    let early = tokio::spawn({
        let remote = server.remote.clone();
        async move { remote.info().await }
    });
    let _executor = Executor::start(options(&server, &place.path, key()));
    server.connected().await;
    early.await.expect("does not panic").expect("waited for the executor");

    server.cut().await;
    let waiting = server.remote.info();
    let (info, session) = tokio::join!(waiting, server.connected());
    info.expect("waited for the executor to come back");
    assert_eq!(session, Session::Resumed);

    let mut process =
        server.remote.start(&start("p", &place.path, "echo ready; sleep 60")).await.expect("starts");
    until(&mut process, "ready").await;
    let read = process::Read {
        process_id: process.id().clone(),
        after_seq: Some(1),
        max_bytes: None,
        wait_ms: Some(2_000),
    };
    let (read, (), session) = tokio::join!(server.remote.call(&read), server.cut(), server.connected());
    assert_eq!(session, Session::Resumed);
    assert!(!read.expect("was asked again").exited);
}

/// Another process of the executor has another memory: what ran is lost and said to be.
#[tokio::test]
async fn an_executor_that_starts_again_has_a_fresh_session() {
    let (server, place) = (Server::start().await, place());
    let first = Executor::start(options(&server, &place.path, key()));
    server.connected().await;
    let script = "echo $$; trap '' TERM; while :; do sleep 1; done";
    let mut process = server.remote.start(&start("p", &place.path, script)).await.expect("starts");
    let pid = match next(&mut process).await {
        Some(ProcessEvent::Output { bytes, .. }) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        other => panic!("{other:?}"),
    };
    assert!(Path::new("/proc").join(&pid).exists(), "it runs");
    drop(first);
    let _second = Executor::start(options(&server, &place.path, key()));
    assert_eq!(server.connected().await, Session::Fresh);
    let error = tokio::time::timeout(PATIENCE, process.next()).await.expect("in time").expect_err("is lost");
    assert_eq!(error.kind, CallErrorKind::Lost);
    let mut again = server.remote.start(&start("p", &place.path, "exit 7")).await.expect("the name is free");
    assert_eq!(run_out(&mut again).await.2, 7);
}

/// Dropping a process ends it and those that it started.
#[tokio::test]
async fn a_process_ends_with_its_handle() {
    let (server, place) = (Server::start().await, place());
    let _executor = Executor::start(options(&server, &place.path, key()));
    server.connected().await;
    std::process::Command::new("mkfifo").arg(place.path.join("held")).status().expect("runs");
    // The child holds the pipe open for writing. It is over for the reader when the last writer is gone.
    let script = "sh -c 'exec 3>held; echo holding; sleep 600' & wait";
    let mut process = server.remote.start(&start("p", &place.path, script)).await.expect("starts");
    let held = place.path.join("held");
    let reader = tokio::task::spawn_blocking(move || std::fs::read(held));
    until(&mut process, "holding").await;
    drop(process);
    let read = tokio::time::timeout(PATIENCE, reader).await.expect("ends in time").expect("does not panic");
    assert_eq!(read.expect("reads"), b"");
}

#[tokio::test]
async fn files_and_directories_are_confined() {
    let (server, place) = (Server::start().await, place());
    let inside = place.path.join("inside");
    std::fs::create_dir(&inside).expect("creates");
    std::fs::write(place.path.join("outside"), "secret").expect("writes");
    std::os::unix::fs::symlink("../outside", inside.join("link")).expect("links");
    let _executor = Executor::start(options(&server, &inside, key()));
    server.connected().await;
    let refused = CallErrorKind::Refused { code: INVALID_REQUEST };
    for path in [place.path.join("outside"), inside.join("link"), "/etc/passwd".into()] {
        let error = server.remote.read_file(location(&path)).await.expect_err("is outside");
        assert_eq!(error.kind, refused, "{error}");
        let error = server
            .remote
            .write_file(location(&path), Bytes::from_static(b"x"))
            .await
            .expect_err("is outside");
        assert_eq!(error.kind, refused, "{error}");
    }
    let copy = files::Copy {
        source_path: location(&inside),
        destination_path: location(&place.path.join("copy")),
        recursive: true,
        sandbox: None,
    };
    assert_eq!(server.remote.call(&copy).await.expect_err("is outside").kind, refused);
    let error = server.remote.start(&start("p", &place.path, "true")).await.expect_err("is outside");
    assert_eq!(error.kind, refused, "{error}");
    let remove = files::Remove { path: location(&inside), recursive: None, force: None, sandbox: None };
    assert_eq!(server.remote.call(&remove).await.expect_err("is the root").kind, refused);
    assert_eq!(std::fs::read_to_string(place.path.join("outside")).expect("reads"), "secret");
}

/// What is not offered is refused, not ignored.
#[tokio::test]
async fn confinement_that_is_not_offered_is_refused() {
    let (server, place) = (Server::start().await, place());
    let _executor = Executor::start(options(&server, &place.path, key()));
    server.connected().await;
    let sandbox =
        || Some(serde_json::value::to_raw_value(&serde_json::json!({"permissions": {}})).expect("JSON"));
    let plain = start("p", &place.path, "true");
    for (start, expected) in [
        (process::Start { sandbox: sandbox(), ..plain.clone() }, "no sandbox"),
        (process::Start { enforce_managed_network: true, ..plain.clone() }, "does not manage the network"),
        (process::Start { tty: true, ..plain.clone() }, "no terminals"),
        (process::Start { argv: Vec::new(), ..plain }, "`argv` is empty"),
    ] {
        let error = server.remote.start(&start).await.expect_err(expected);
        assert!(error.message.contains(expected), "{error}");
    }
    let read = files::ReadFile { path: location(&place.path.join("x")), sandbox: sandbox() };
    let error = server.remote.call(&read).await.expect_err("no sandbox");
    assert!(error.message.contains("no sandbox"), "{error}");
}

#[tokio::test]
async fn a_process_inherits_what_its_policy_says() {
    let (server, place) = (Server::start().await, place());
    let _executor = Executor::start(options(&server, &place.path, key()));
    server.connected().await;
    let policy = EnvironmentPolicy {
        inherit: Inherit::All,
        ignore_default_excludes: false,
        exclude: Vec::new(),
        set: BTreeMap::new(),
        include_only: Vec::new(),
    };
    let asked = process::Start {
        argv: vec!["/usr/bin/env".to_owned()],
        env_policy: Some(policy),
        env: BTreeMap::from([("MORE".to_owned(), "1".to_owned())]),
        ..start("p", &place.path, "")
    };
    let mut process = server.remote.start(&asked).await.expect("starts");
    let (stdout, _, _) = run_out(&mut process).await;
    let mut lines: Vec<_> = stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["MORE=1", "PATH=/usr/bin:/bin", "SHELL=/bin/sh"]);
}

#[tokio::test]
async fn mistakes_end_the_executor_with_what_to_do() {
    let (server, place) = (Server::start().await, place());
    let check = async |change: fn(&mut Options), kind, text: &str| {
        let mut options = options(&server, &place.path, key());
        change(&mut options);
        let error = Executor::start(options).error().await;
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(text) && !error.message.contains("other-key"), "{error}");
    };
    check(|o| o.credentials = Credentials::Key("other-key".into()), ServeErrorKind::Credentials, "401").await;
    check(
        |o| {
            o.credentials =
                Credentials::Pair { pair: KeyPair::new("AKIDEXAMPLE", "other-key"), region: "r".into() }
        },
        ServeErrorKind::Credentials,
        "not that of the request",
    )
    .await;
    check(|o| o.remote_url.push_str("_gone"), ServeErrorKind::Server, "404").await;
    check(|o| o.environment_id = "a/b".into(), ServeErrorKind::Options, "letters, digits").await;
    check(
        |o| o.remote_url = "http://example.com/x".into(),
        ServeErrorKind::Options,
        "use `https`, or loopback",
    )
    .await;
    check(|o| o.directory = "/nowhere".into(), ServeErrorKind::Options, "`/nowhere`").await;
}

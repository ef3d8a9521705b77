//! The official executor, unmodified. Needs its program in `CODEX_BIN`; `cargo xtask codex` installs it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::scenarios;
use crate::server::{KEY, PAIR, Server};

/// The program, or nothing where this run is not about it.
fn program() -> PathBuf {
    std::env::var_os("CODEX_BIN").expect("`cargo xtask codex` sets CODEX_BIN").into()
}

fn executor(server: &Server, home: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program());
    command
        .args(["exec-server", "--remote", &server.remote_url(), "--environment-id", "env_test"])
        .env("CODEX_HOME", home)
        .env("RUST_LOG", "warn")
        .current_dir(directory)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

fn encrypted(server: &Server, home: &Path, directory: &Path) -> Child {
    executor(server, home, directory).env("CODEX_API_KEY", KEY).spawn().expect("starts")
}

fn direct(server: &Server, home: &Path, directory: &Path) -> Child {
    executor(server, home, directory)
        .args(["--remote-transport", "direct", "--aws-sigv4", "--aws-service", "tenure"])
        .env("AWS_ACCESS_KEY_ID", PAIR.0)
        .env("AWS_SECRET_ACCESS_KEY", PAIR.1)
        .env("AWS_REGION", "us-east-1")
        .spawn()
        .expect("starts")
}

struct Place {
    _root: tempfile::TempDir,
    home: PathBuf,
    work: PathBuf,
}

fn place() -> Place {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().canonicalize().expect("is there");
    let (home, work) = (path.join("home"), path.join("work"));
    std::fs::create_dir(&home).expect("creates");
    std::fs::create_dir(&work).expect("creates");
    Place { _root: root, home, work }
}

async fn everything(server: &Server, place: &Place) {
    let remote = &server.remote;
    let info = remote.info().await.expect("answers");
    assert_eq!(info.cwd, Some(scenarios::location(&place.work)));
    scenarios::files(remote, &place.work).await;
    scenarios::processes(remote, &place.work).await;
    scenarios::stdio(remote, &place.work).await;
    scenarios::much_output(remote, &place.work).await;
    scenarios::http(server).await;
    scenarios::resume(server, &place.work).await;
}

#[tokio::test]
async fn the_official_executor_over_the_encrypted_transport() {
    let (server, place) = (Server::start().await, place());
    let _executor = encrypted(&server, &place.home, &place.work);
    server.connected().await;
    everything(&server, &place).await;
    assert_eq!(server.registrations(), 1, "an address is dialled again while it is valid");
}

#[tokio::test]
async fn the_official_executor_over_the_direct_transport() {
    let (server, place) = (Server::start().await, place());
    let _executor = direct(&server, &place.home, &place.work);
    server.connected().await;
    everything(&server, &place).await;
    assert_eq!(server.registrations(), 1, "an address is dialled again while it is valid");
}

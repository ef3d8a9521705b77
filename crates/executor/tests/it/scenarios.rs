//! What must hold of any executor, ours and the official one.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use tenure_executor::harness::{CallErrorKind, Process, ProcessEvent, Remote, Session};
use tenure_executor::location::Location;
use tenure_executor::message::NOT_FOUND;
use tenure_executor::protocol::files;
use tenure_executor::protocol::http::{Header, Redirects, Request};
use tenure_executor::protocol::process::{ProcessId, Start, Stream};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};

use crate::server::{PATIENCE, Server};

pub(crate) fn start(id: &str, directory: &Path, script: &str) -> Start {
    Start {
        process_id: ProcessId(id.to_owned()),
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        cwd: location(directory),
        env_policy: None,
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        tty: false,
        pipe_stdin: false,
        arg0: None,
        sandbox: None,
        enforce_managed_network: false,
    }
}

pub(crate) fn location(path: &Path) -> Location {
    Location::from_path(path).expect("absolute")
}

pub(crate) async fn next(process: &mut Process) -> Option<ProcessEvent> {
    tokio::time::timeout(PATIENCE, process.next())
        .await
        .expect("something happens in time")
        .expect("the process is there")
}

/// Everything a process writes until it ends, and its code.
pub(crate) async fn run_out(process: &mut Process) -> (String, String, i32) {
    let (mut stdout, mut stderr, mut exit) = (Vec::new(), Vec::new(), None);
    while let Some(event) = next(process).await {
        match event {
            ProcessEvent::Output { stream: Stream::Stdout | Stream::Pty, bytes } => {
                stdout.extend_from_slice(&bytes);
            }
            ProcessEvent::Output { stream: Stream::Stderr, bytes } => stderr.extend_from_slice(&bytes),
            ProcessEvent::Missed => panic!("output is missing"),
            ProcessEvent::Exited { code } => exit = Some(code),
        }
    }
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (text(stdout), text(stderr), exit.expect("an exit before the end"))
}

/// Reads until `wanted` has been written.
pub(crate) async fn until(process: &mut Process, wanted: &str) {
    let mut seen = String::new();
    while !seen.contains(wanted) {
        match next(process).await {
            Some(ProcessEvent::Output { bytes, .. }) => seen.push_str(&String::from_utf8_lossy(&bytes)),
            other => panic!("{other:?} while waiting for `{wanted}`; seen `{seen}`"),
        }
    }
}

pub(crate) async fn processes(remote: &Remote, directory: &Path) {
    let mut process =
        remote.start(&start("p1", directory, "echo out; echo err >&2; pwd; exit 3")).await.expect("starts");
    let (stdout, stderr, code) = run_out(&mut process).await;
    let directory_text = directory.display();
    assert_eq!((stdout, stderr.as_str(), code), (format!("out\n{directory_text}\n"), "err\n", 3));

    let mut asked = start("p2", directory, "read line; echo got $line; read rest || echo end");
    asked.pipe_stdin = true;
    let mut process = remote.start(&asked).await.expect("starts");
    process.write(Bytes::from_static(b"hello\n")).await.expect("accepted");
    until(&mut process, "got hello").await;
    process.terminate().await.expect("ends");
    let (_, _, code) = run_out(&mut process).await;
    assert_ne!(code, 0);

    let mut process = remote
        .start(&start(
            "p3",
            directory,
            "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.1; done",
        ))
        .await
        .expect("starts");
    until(&mut process, "ready").await;
    process.interrupt().await.expect("sent");
    let (stdout, _, code) = run_out(&mut process).await;
    assert_eq!((stdout.as_str(), code), ("caught\n", 5));

    let error = remote
        .start(&Start { argv: vec!["/nowhere/nothing".to_owned()], ..start("p4", directory, "") })
        .await;
    assert!(matches!(error.expect_err("there is no such program").kind, CallErrorKind::Refused { .. }));
}

/// A server of a protocol over standard input and output, as MCP servers are.
pub(crate) async fn stdio(remote: &Remote, directory: &Path) {
    let script =
        "while read -r line; do [ \"$line\" = end ] && exit 6; echo \"got $line\"; echo noise >&2; done";
    let asked = Start { pipe_stdin: true, ..start("stdio", directory, script) };
    let process = remote.start(&asked).await.expect("starts");
    let error = remote.start(&asked).await.expect_err("the name is taken");
    assert!(error.message.contains("still held"), "{error}");
    let noise = std::sync::Mutex::new(String::new());
    let log = |bytes: Bytes| noise.lock().expect("whole").push_str(&String::from_utf8_lossy(&bytes));
    let (stream, moving) = process.into_stdio(log);
    let (mut lines, mut input) = {
        let (read, write) = tokio::io::split(stream);
        (tokio::io::BufReader::new(read).lines(), write)
    };
    let talking = async {
        for line in ["one", "two"] {
            input.write_all(format!("{line}\n").as_bytes()).await.expect("open");
            assert_eq!(lines.next_line().await.expect("open"), Some(format!("got {line}")));
        }
        input.write_all(b"end\n").await.expect("open");
        assert_eq!(lines.next_line().await.expect("closed"), None);
    };
    let both = async { tokio::join!(moving, talking) };
    let (code, ()) = tokio::time::timeout(PATIENCE, both).await.expect("in time");
    assert_eq!(code, Ok(Some(6)));
    assert_eq!(noise.into_inner().expect("whole"), "noise\nnoise\n");
}

/// More than one record, one window and one queue hold.
pub(crate) async fn much_output(remote: &Remote, directory: &Path) {
    let script =
        "i=0; while [ $i -lt 40000 ]; do echo \"line $i of a long output that goes on\"; i=$((i+1)); done";
    let mut process = remote.start(&start("much", directory, script)).await.expect("starts");
    let (stdout, _, code) = run_out(&mut process).await;
    assert_eq!((stdout.lines().count(), code), (40_000, 0));
    assert!(stdout.ends_with("line 39999 of a long output that goes on\n"));
}

pub(crate) async fn files(remote: &Remote, directory: &Path) {
    let path = location(&directory.join("a file.txt"));
    let large: Bytes = (0..300_000_u32).map(|n| (n % 251) as u8).collect::<Vec<_>>().into();
    remote.write_file(path.clone(), large.clone()).await.expect("writes");
    assert_eq!(std::fs::read(directory.join("a file.txt")).expect("is there"), large);
    assert_eq!(remote.read_file(path.clone()).await.expect("reads"), large);

    let found = remote.call(&files::Metadata { path: path.clone(), sandbox: None }).await.expect("is there");
    assert!(found.is_file && !found.is_directory && found.size == 300_000 && found.modified_at_ms > 0);
    let below = location(&directory.join("one/two"));
    remote
        .call(&files::CreateDirectory { path: below.clone(), recursive: None, sandbox: None })
        .await
        .expect("creates");
    remote
        .write_file(location(&directory.join("one/two/three")), Bytes::from_static(b"3"))
        .await
        .expect("writes");
    let copy = files::Copy {
        source_path: location(&directory.join("one")),
        destination_path: location(&directory.join("other")),
        recursive: true,
        sandbox: None,
    };
    remote.call(&copy).await.expect("copies");
    assert_eq!(remote.read_file(location(&directory.join("other/two/three"))).await.expect("reads"), "3");

    let listing =
        remote.call(&files::ReadDirectory { path: location(directory), sandbox: None }).await.expect("lists");
    let mut names: Vec<_> =
        listing.entries.iter().map(|entry| (entry.file_name.as_str(), entry.is_directory)).collect();
    names.sort_unstable();
    assert_eq!(names, [("a file.txt", false), ("one", true), ("other", true)]);
    let options = files::WalkOptions {
        max_depth: 8,
        max_directories: 100,
        max_entries: 100,
        follow_directory_symlinks: false,
    };
    let walked =
        remote.call(&files::Walk { path: location(directory), options, sandbox: None }).await.expect("walks");
    let mut found: Vec<_> = walked
        .entries
        .iter()
        .map(|entry| entry.path.as_str().rsplit('/').next().unwrap_or_default())
        .collect();
    found.sort_unstable();
    assert_eq!(found, ["a%20file.txt", "one", "other", "three", "three", "two", "two"], "{walked:?}");

    let open = files::Open { handle_id: "h1".to_owned(), path: path.clone(), sandbox: None };
    remote.call(&open).await.expect("opens");
    let block = files::ReadBlock { handle_id: "h1".to_owned(), offset: 299_990, len: 100 };
    let block = remote.call(&block).await.expect("reads");
    assert_eq!((block.chunk.0, block.eof), (large.slice(299_990..), true));
    remote.call(&files::Close { handle_id: "h1".to_owned() }).await.expect("closes");

    remote
        .call(&files::Remove {
            path: location(&directory.join("one")),
            recursive: None,
            force: None,
            sandbox: None,
        })
        .await
        .expect("removes");
    let error = remote.read_file(location(&directory.join("one/two/three"))).await.expect_err("is gone");
    assert_eq!(error.kind, CallErrorKind::Refused { code: NOT_FOUND }, "{error}");
}

/// A process outlives its connection, and nothing that it wrote meanwhile is missing.
pub(crate) async fn resume(server: &Server, directory: &Path) {
    let remote = &server.remote;
    let script = "echo before; while [ ! -e go ]; do sleep 0.05; done; echo after; exit 4";
    let mut process = remote.start(&start("kept", directory, script)).await.expect("starts");
    until(&mut process, "before").await;
    server.cut().await;
    std::fs::write(directory.join("go"), "").expect("writes");
    assert_eq!(server.connected().await, Session::Resumed);
    let (stdout, _, code) = run_out(&mut process).await;
    assert_eq!((stdout.as_str(), code), ("after\n", 4));
}

/// Requests from where the executor is: a body in pieces, a whole one, one that breaks off.
pub(crate) async fn http(server: &Server) {
    let request = |path: &str, request_id: &str| Request {
        method: "POST".to_owned(),
        url: format!("http://{}{path}", server.address),
        headers: vec![Header { name: "x-test".to_owned(), value: "yes".to_owned() }],
        body: Some(b"a body".to_vec().into()),
        timeout_ms: Some(20_000),
        redirect_policy: Redirects::Follow,
        request_id: request_id.to_owned(),
        stream_response: false,
    };
    let mut response = server.remote.http(request("/echo", "r1")).await.expect("answers");
    assert_eq!(response.status, 200);
    let mut body = Vec::new();
    while let Some(piece) = response.body.next().await.expect("goes on") {
        body.extend_from_slice(&piece);
    }
    assert_eq!(String::from_utf8_lossy(&body), "yes: a body".repeat(10_000));
    let whole = server.remote.call(&request("/echo", "r2")).await.expect("answers");
    assert_eq!(whole.body.0, body);
    let mut broken = server.remote.http(request("/broken", "r3")).await.expect("begins");
    assert_eq!(broken.body.next().await.expect("begins"), Some(Bytes::from_static(b"begun")));
    server.break_off();
    let error = broken.body.next().await.expect_err("a body that broke off is not whole");
    assert_eq!(error.kind, CallErrorKind::Interrupted, "{error}");
    let nowhere = Request { url: "ftp://127.0.0.1/".to_owned(), ..request("", "r4") };
    let error = server.remote.http(nowhere).await.expect_err("is no HTTP");
    assert!(matches!(error.kind, CallErrorKind::Refused { .. }), "{error}");
}

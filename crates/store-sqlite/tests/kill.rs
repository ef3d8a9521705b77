//! SIGKILL at any moment: what was acknowledged is there, and nothing is there in part.
//!
//! The test runs itself again as a child that appends from several threads and prints every version it
//! was told is durable. The parent kills it after a number of these lines and opens what it left.

mod fixture;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;
use tenure_journal::Version;
use tenure_store::Store as _;
use tenure_store_sqlite::SqliteStore;

use fixture::{append, item, key, recalled, remembered, texts};

/// Tells the child which directory to append to.
const CHILD: &str = "TENURE_TEST_KILL_DIRECTORY";
const ROUNDS: usize = 20;
const SESSIONS: u64 = 6;
/// Lines after which a round's child is killed, at most.
const ACKNOWLEDGED_MAX: usize = 120;

#[test]
fn acknowledged_appends_survive_sigkill() {
    if let Some(directory) = std::env::var_os(CHILD) {
        return append_until_killed(Path::new(&directory));
    }
    let seed = fastrand::u64(..);
    let mut rng = Rng::with_seed(seed);
    let directory = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut acknowledged: HashMap<u64, u64> = HashMap::new();
    for round in 0..ROUNDS {
        let lines = run_and_kill(directory.path(), rng.usize(1..ACKNOWLEDGED_MAX));
        for (session, version) in lines {
            let last = acknowledged.entry(session).or_default();
            *last = version.max(*last);
        }
        runtime.block_on(check(directory.path(), &acknowledged, &format!("seed {seed}, round {round}")));
    }
    assert!(acknowledged.values().sum::<u64>() > ROUNDS as u64, "the rounds made progress");
}

/// Starts a child, kills it after `count` acknowledgements, and returns those and any it still got out.
fn run_and_kill(directory: &Path, count: usize) -> Vec<(u64, u64)> {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "acknowledged_appends_survive_sigkill", "--nocapture", "--test-threads=1"])
        .env(CHILD, directory)
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut acknowledged = Vec::new();
    while acknowledged.len() < count {
        let line = lines.next().expect("the child appends until it is killed").expect("reads");
        acknowledged.extend(parse(&line));
    }
    child.kill().expect("kills");
    child.wait().expect("ends");
    // A line that was cut off parses as no acknowledgement.
    acknowledged.extend(lines.map_while(Result::ok).filter_map(|line| parse(&line)));
    acknowledged
}

fn parse(line: &str) -> Option<(u64, u64)> {
    // The harness writes its own text before the first line.
    let (_, line) = line.split_once("ack ")?;
    let (session, version) = line.strip_suffix(" .")?.split_once(' ')?;
    Some((session.parse().ok()?, version.parse().ok()?))
}

fn append_until_killed(directory: &Path) {
    let store = Arc::new(SqliteStore::open(directory).expect("opens after a kill"));
    let threads = (0..SESSIONS).map(|session| {
        let store = Arc::clone(&store);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(append_forever(&store, session));
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.join().expect("appends until it is killed");
    }
}

/// Each append holds two events, an item, an episode and the head, all named for the version.
async fn append_forever(store: &SqliteStore, session: u64) {
    let key = key(session);
    let mut version = texts(store, key).await.len() as u64;
    loop {
        let names = [version + 1, version + 2].map(|version| version.to_string());
        let mut next = append(key, version, &[&names[0], &names[1]]);
        next.items = vec![item(version / 2, &names[1])];
        next.episodes = vec![remembered(key, version / 2, &names[1])];
        next.head.agent_name = Some(names[1].clone());
        version = store.append(next).await.expect("appends").0;
        let mut out = std::io::stdout().lock();
        writeln!(out, "ack {session} {version} .").and_then(|()| out.flush()).expect("prints");
    }
}

async fn check(directory: &Path, acknowledged: &HashMap<u64, u64>, context: &str) {
    let store = SqliteStore::open(directory).expect("opens after a kill");
    for session in 0..SESSIONS {
        let key = key(session);
        let texts = texts(&store, key).await;
        let expected: Vec<_> = (1..=texts.len()).map(|version| version.to_string()).collect();
        assert_eq!(texts, expected, "{context}: session {session} holds what was appended, in order");
        let promised = acknowledged.get(&session).copied().unwrap_or(0);
        let found = texts.len() as u64;
        assert!(found >= promised, "{context}: session {session} lost versions {found} to {promised}");
        assert_eq!(found % 2, 0, "{context}: session {session} holds an append in part");
        let head = store.head(key).await.expect("reads").and_then(|head| head.agent_name);
        assert_eq!(head, texts.last().cloned(), "{context}: the head is as of the last append");
        let all =
            tenure_store::Page { after: None, limit: usize::MAX, order: tenure_store::Order::Ascending };
        let items = store.items(key, None, &all).await.expect("reads");
        assert_eq!(items.len() as u64, found / 2, "{context}: items are as of the last append");
        let second: Vec<_> = texts.iter().skip(1).step_by(2).cloned().collect();
        assert_eq!(recalled(&store, key).await, second, "{context}: session {session} is remembered whole");
    }
    // What a kill left to be indexed is indexed once the first of them is written.
    for payload in ["one", "another"] {
        store.put_blob(key(0).project, Bytes::from(payload)).await.expect("writes");
    }
    for session in 0..SESSIONS {
        let texts = texts(&store, key(session)).await;
        assert_eq!(recalled(&store, key(session)).await.len(), texts.len() / 2, "{context}: {session}");
    }
    let found = store.integrity().await.expect("checks");
    assert_eq!(found.problems, Vec::<String>::new(), "{context}");
    assert!(store.events(key(0), Version::ZERO, 1).await.is_ok());
}

//! Loss of power, a full disk and a disk that fails: what was acknowledged is there afterwards, and
//! nothing is there in part.
//!
//! The store runs on a file system of the test's own. Where none can be mounted the tests say so and
//! prove nothing. The test serves the file system and runs itself again as a child that uses it: in one
//! process, a thread that unmaps a file would wait for the very process that it keeps from answering.

mod disk;
mod fixture;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use fastrand::Rng;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tenure_store::{Order, Page, Store as _, StoreErrorKind};
use tenure_store_sqlite::SqliteStore;

use disk::{Disk, Image, Keep, Mounted, Syncs};
use fixture::{append, item, key, recalled, remembered, texts};

/// Tells a child which directory to use.
const CHILD: &str = "TENURE_TEST_POWER_DIRECTORY";
const CUTS: usize = 60;
const SESSIONS: u64 = 4;
/// Changes of the disk between two cuts, at most: enough for a few lives of the store.
const CHANGES_MAX: usize = 500;
/// Appends of each session before the store is closed and opened again.
const APPENDS: usize = 6;

/// Versions that were acknowledged, for each session.
type Acknowledged = BTreeMap<u64, u64>;

/// Runs the child's part in a child and returns, and returns where nothing can be mounted.
macro_rules! as_child_or_where_mounting_works {
    ($child:expr) => {
        if let Some(directory) = std::env::var_os(CHILD) {
            return block_on($child(PathBuf::from(directory)));
        }
        if let Some(reason) = disk::unavailable() {
            disk::say_not_run("power failure", &reason);
            return;
        }
    };
}

#[test]
fn acknowledged_appends_survive_power_failure() {
    as_child_or_where_mounting_works!(live_until_cut);
    let seed = fastrand::u64(..);
    let mut rng = Rng::with_seed(seed);
    let mut image = Image::default();
    let mut acknowledged = Acknowledged::new();
    for cut in 0..CUTS {
        let keep = [Keep::Nothing, Keep::Prefix, Keep::Scattered][cut % 3];
        let disk = Disk::new(&image, rng.u64(..)).cut_after(rng.usize(..CHANGES_MAX), keep);
        serve("acknowledged_appends_survive_power_failure", &disk, &mut acknowledged);
        assert!(disk.is_cut(), "seed {seed}, cut {cut}: only a cut ends the child");
        image = disk.image();
        if let Err(loss) = block_on(check(&image, &acknowledged)) {
            panic!("seed {seed}, cut {cut}, {keep:?}: {loss}");
        }
    }
    let total: u64 = acknowledged.values().sum();
    assert!(total > CUTS as u64, "seed {seed}: only {total} events were acknowledged");
    println!("power failure: {CUTS} cuts, {total} acknowledged events, none lost (seed {seed})");
}

/// The check itself is checked: on a disk that only pretends to sync content, it must find a loss.
#[test]
fn a_disk_that_lies_is_found_out() {
    as_child_or_where_mounting_works!(live_until_cut);
    let mut acknowledged = Acknowledged::new();
    let disk = Disk::new(&Image::default(), 1).cut_after(CHANGES_MAX, Keep::Nothing);
    disk.set_syncs(Syncs::Lying);
    serve("a_disk_that_lies_is_found_out", &disk, &mut acknowledged);
    assert!(acknowledged.values().sum::<u64>() > 0, "the store believed the disk");
    block_on(check(&disk.image(), &acknowledged)).expect_err("nothing was synced");
}

#[test]
fn a_failed_sync_stops_the_writer() {
    as_child_or_where_mounting_works!(meet_a_failing_sync);
    let disk = Disk::new(&Image::default(), 1);
    serve("a_failed_sync_stops_the_writer", &disk, &mut Acknowledged::new());
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    as_child_or_where_mounting_works!(meet_a_full_disk);
    let disk = Disk::new(&Image::default(), 1);
    serve("a_full_disk_refuses_writes_until_there_is_room", &disk, &mut Acknowledged::new());
}

/// Once a sync has failed, nobody knows what is durable; the store stops and says so.
async fn meet_a_failing_sync(directory: PathBuf) {
    let store = SqliteStore::open(&directory).expect("opens");
    store.append(append(key(0), 0, &["a"])).await.expect("appends");
    assert!(store.fault().now_or_never().is_none(), "all is well");
    ask("syncs fail");
    let error = store.append(append(key(0), 1, &["b"])).await.expect_err("the sync fails");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    let fault = store.fault().await.to_string();
    assert!(fault.contains("disk I/O error"), "{fault}");
    ask("syncs work");
    let error = store.append(append(key(1), 0, &["c"])).await.expect_err("stopped");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "a disk that works again is not trusted");
    assert!(store.head(key(0)).await.expect("reads go on").is_some());
    store.close().await.expect_err("the fault is told again");
    drop(store);
    let store = SqliteStore::open(&directory).expect("a new process goes on");
    let texts = texts(&store, key(0)).await;
    assert!(texts == ["a"] || texts == ["a", "b"], "{texts:?}");
    assert!(store.head(key(1)).await.expect("reads").is_none());
}

/// A full disk refuses writes and nothing else, and needs no restart.
async fn meet_a_full_disk(directory: PathBuf) {
    let store = SqliteStore::open(&directory).expect("opens");
    store.append(append(key(0), 0, &["a"])).await.expect("appends");
    ask("room is short");
    let large = "x".repeat(256 * 1024);
    let together = [append(key(0), 1, &[&large]), append(key(1), 0, &["b"])];
    let [refused, small] = together.map(|append| store.append(append));
    let (refused, small) = futures_util::future::join(refused, small).await;
    assert_eq!(refused.expect_err("no room").kind(), StoreErrorKind::Full);
    small.expect("there is room for this one");
    let blob = store.put_blob(key(0).project, Bytes::from(vec![7; 256 * 1024])).await;
    assert_eq!(blob.expect_err("no room").kind(), StoreErrorKind::Full);
    assert_eq!(texts(&store, key(0)).await, ["a"], "reads go on and nothing was written");
    assert!(store.fault().now_or_never().is_none(), "a full disk is no fault");
    ask("room is ample");
    store.append(append(key(0), 1, &[&large])).await.expect("there is room again");
    assert_eq!(store.integrity().await.expect("checks").problems, Vec::<String>::new());
    store.close().await.expect("closes");
}

/// Opens, appends, checkpoints, closes and opens again until something fails.
async fn live_until_cut(directory: PathBuf) {
    while let Ok(store) = SqliteStore::open(&directory) {
        let alive = join_all((0..SESSIONS).map(|session| append_some(&store, session))).await;
        if alive.contains(&None) {
            return;
        }
        checkpoint(&directory);
        // Either outcome is fine: what matters is what a cut in the middle of it leaves.
        let _ = store.close().await;
    }
}

/// Appends until done, or `None` when an append fails.
async fn append_some(store: &SqliteStore, session: u64) -> Option<()> {
    let mut version = texts(store, key(session)).await.len() as u64;
    for turn in 0..APPENDS {
        version = append_two(store, session, version, turn).await?;
        say(&format!("ack {session} {version}"));
    }
    Some(())
}

/// Two events, an item, an episode and the head, all named for the version; the version when acknowledged.
async fn append_two(store: &SqliteStore, session: u64, version: u64, turn: usize) -> Option<u64> {
    let names = [version + 1, version + 2].map(|version| version.to_string());
    let mut next = append(key(session), version, &[&names[0], &names[1]]);
    next.items = vec![item(version / 2, &names[1])];
    next.episodes = vec![remembered(key(session), version / 2, &names[1])];
    next.head.agent_name = Some(names[1].clone());
    if turn == 0 {
        next.snapshot = Some(Bytes::from(vec![session as u8; 20_000]));
    }
    match store.append(next).await {
        Ok(version) => Some(version.0),
        Err(error) => {
            let kinds = [StoreErrorKind::Unavailable, StoreErrorKind::Full];
            assert!(kinds.contains(&error.kind()), "a cut is told as what it is: {error}");
            None
        }
    }
}

/// Copies the log into the database as a full log would, so that cuts meet it.
fn checkpoint(directory: &Path) {
    let person = rusqlite::Connection::open(directory.join("tenure.db"));
    // A cut may be what makes this fail.
    let _ = person.and_then(|person| person.query_row("PRAGMA wal_checkpoint(RESTART)", (), |_| Ok(())));
}

/// From the child: one line to the test.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "child: {line}").and_then(|()| out.flush()).expect("the test listens");
}

/// From the child: something that the test does to the disk, done when this returns.
fn ask(what: &str) {
    say(what);
    std::io::stdin().read_line(&mut String::new()).expect("the test answers");
}

/// Runs the child's part of `test` on `disk` until it ends, and notes what it was acknowledged.
fn serve(test: &str, disk: &Disk, acknowledged: &mut Acknowledged) {
    let mounted = Mounted::new(disk);
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, mounted.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut answers = child.stdin.take().expect("piped");
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        let line = line.expect("reads");
        // The harness writes its own text before the first line.
        let Some((_, line)) = line.split_once("child: ") else { continue };
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["ack", session, version] => {
                let number = |text: &str| text.parse::<u64>().expect("a number");
                acknowledged.insert(number(session), number(version));
                continue;
            }
            ["syncs", "fail"] => disk.set_syncs(Syncs::Failing),
            ["syncs", "work"] => disk.set_syncs(Syncs::Honest),
            ["room", "is", "short"] => disk.leave_room(64 * 1024),
            ["room", "is", "ample"] => disk.leave_room(usize::MAX),
            _ => panic!("the child says `{line}`"),
        }
        writeln!(answers).expect("the child listens");
    }
    let status = child.wait().expect("ends");
    assert!(status.success(), "the child failed: {status}");
}

/// Opens what a cut left, on an ordinary disk, and compares it with what was acknowledged.
async fn check(image: &Image, acknowledged: &Acknowledged) -> Result<(), String> {
    let directory = tempfile::tempdir().expect("a directory");
    image.write_to(directory.path()).expect("writes");
    let store = SqliteStore::open(directory.path()).map_err(|error| format!("does not open: {error}"))?;
    for (session, version) in acknowledged {
        check_session(&store, *session, *version).await?;
    }
    let found = store.integrity().await.map_err(|error| error.to_string())?;
    if found.problems.is_empty() { Ok(()) } else { Err(format!("{found:?}")) }
}

async fn check_session(store: &SqliteStore, session: u64, acknowledged: u64) -> Result<(), String> {
    let texts = texts(store, key(session)).await;
    let found = texts.len() as u64;
    let expected: Vec<_> = (1..=found).map(|version| version.to_string()).collect();
    let head = store.head(key(session)).await.map_err(|error| error.to_string())?;
    let all = Page { after: None, limit: usize::MAX, order: Order::Ascending };
    let items = store.items(key(session), None, &all).await.map_err(|error| error.to_string())?;
    if found < acknowledged {
        return Err(format!("session {session} is at {found}, and {acknowledged} was acknowledged"));
    }
    if texts != expected || !found.is_multiple_of(2) {
        return Err(format!("session {session} holds other events than were appended: {texts:?}"));
    }
    if head.and_then(|head| head.agent_name) != texts.last().cloned() || items.len() as u64 != found / 2 {
        return Err(format!("the head and the items of session {session} are not as of version {found}"));
    }
    let remembered = recalled(store, key(session)).await;
    if !remembered.iter().eq(texts.iter().skip(1).step_by(2)) {
        return Err(format!(
            "of session {session} something else is remembered than was said: {remembered:?}"
        ));
    }
    Ok(())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

//! What this implementation promises beyond the contract.

mod fixture;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::pin::pin;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use rusqlite::Connection;
use tenure_store::{Store as _, StoreErrorKind};
use tenure_store_sqlite::{Inspection, Integrity, SqliteStore, held_by, inspect};

use fixture::{append, item, key, texts};

fn open(directory: &Path) -> SqliteStore {
    SqliteStore::open(directory).expect("the store opens")
}

/// A person's own connection to the database.
fn by_hand(directory: &Path) -> Connection {
    Connection::open(directory.join("tenure.db")).expect("the database opens")
}

#[tokio::test]
async fn keeps_everything_across_processes() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let mut first = append(key(0), 0, &["a", "b"]);
    first.items = vec![item(0, "a")];
    first.snapshot = Some(Bytes::from_static(b"folded"));
    store.append(first).await.expect("appends");
    let blob = store.put_blob(key(0).project, Bytes::from_static(b"payload")).await.expect("keeps");
    drop(store);

    let store = open(directory.path());
    assert_eq!(texts(&store, key(0)).await, ["a", "b"]);
    store.append(append(key(0), 2, &["c"])).await.expect("goes on");
    store.close().await.expect("closes");
    assert!(!directory.path().join("tenure.db-wal").exists(), "a closed store leaves one file and its lock");

    let store = open(directory.path());
    let stored = store.load(key(0)).await.expect("loads").expect("is there");
    assert_eq!(stored.snapshot.expect("kept").bytes, "folded");
    assert_eq!(stored.tail.len(), 1);
    let payload = store.blob(key(0).project, blob).await.expect("reads");
    assert_eq!(payload.as_deref(), Some(&b"payload"[..]));
    assert_eq!(store.integrity().await.expect("checks"), Integrity { events: 3, blobs: 1, problems: vec![] });
}

#[tokio::test]
async fn is_closed_for_good() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let waiting: Vec<_> = (0..8).map(|index| append(key(index), 0, &["a"])).collect();
    let mut appends = pin!(join_all(waiting.into_iter().map(|append| store.append(append))));
    assert!(appends.as_mut().now_or_never().is_none(), "the writes are queued");
    store.close().await.expect("closes");
    for result in appends.await {
        result.expect("what was accepted before the close is written");
    }
    store.close().await.expect("closing again changes nothing");
    for error in [
        store.append(append(key(9), 0, &["a"])).await.expect_err("closed"),
        store.head(key(0)).await.map(|_| ()).expect_err("closed"),
        store.integrity().await.map(|_| ()).expect_err("closed"),
    ] {
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    }
    assert!(store.fault().now_or_never().is_none(), "a close is no fault");
    assert_eq!(texts(&open(directory.path()), key(7)).await, ["a"]);
}

#[tokio::test]
async fn is_held_by_one_opener() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let error = SqliteStore::open(directory.path()).expect_err("held");
    assert_eq!(error.kind(), StoreErrorKind::Locked);
    let message = error.to_string();
    assert!(message.contains(&directory.path().display().to_string()), "{message}");
    assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
    drop(store);
    open(directory.path());
}

#[tokio::test]
async fn is_looked_at_from_outside_without_noticing() {
    let parent = tempfile::tempdir().expect("a directory");
    let directory = parent.path().join("data");
    assert_eq!(held_by(&directory).expect("looks"), None);
    assert_eq!(inspect(&directory).expect("looks"), Inspection::Missing);
    assert!(!directory.exists(), "looking makes nothing");

    let store = open(&directory);
    store.append(append(key(0), 0, &["a", "b"])).await.expect("appends");
    let sound = Inspection::Read(Integrity { events: 2, blobs: 0, problems: vec![] });
    assert_eq!(held_by(&directory).expect("looks"), Some(format!("process {}", std::process::id())));
    assert_eq!(inspect(&directory).expect("looks"), sound);
    store.append(append(key(0), 2, &["c"])).await.expect("goes on");
    drop(store);
    assert_eq!(held_by(&directory).expect("looks"), None, "a process id that is left behind holds nothing");

    by_hand(&directory).execute("DELETE FROM journal WHERE version = 2", ()).expect("writes");
    let Inspection::Read(found) = inspect(&directory).expect("looks") else { panic!("a database") };
    assert_eq!(found.problems.len(), 1, "{found:?}");
    by_hand(&directory).execute("DELETE FROM migrations", ()).expect("writes");
    assert_eq!(inspect(&directory).expect("looks"), Inspection::Older);
    let other = parent.path().join("other");
    std::fs::create_dir(&other).expect("a directory");
    std::fs::write(other.join("tenure.db"), [b'x'; 4096]).expect("writes");
    assert_eq!(inspect(&other).expect_err("no database").kind(), StoreErrorKind::Corrupt);
}

#[test]
fn waits_for_whoever_only_looks() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(open(directory.path()));
    let looking = std::fs::File::open(directory.path().join("tenure.lock")).expect("opens");
    looking.lock_shared().expect("locks");
    let opening = std::thread::spawn({
        let directory = directory.path().to_owned();
        move || SqliteStore::open(&directory).map(drop)
    });
    looking.unlock().expect("unlocks");
    opening.join().expect("no panic").expect("opens");
}

#[tokio::test]
async fn is_private_to_its_owner() {
    let parent = tempfile::tempdir().expect("a directory");
    let directory = parent.path().join("a").join("b");
    let store = open(&directory);
    store.append(append(key(0), 0, &["a"])).await.expect("appends");
    let mode = |path: &Path| path.metadata().expect("exists").permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let files: Vec<_> =
        directory.read_dir().expect("lists").map(|entry| entry.expect("lists").path()).collect();
    assert_eq!(files.len(), 4, "database, log, log index and lock: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn refuses_what_it_does_not_know() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(open(directory.path()));
    by_hand(directory.path())
        .execute("INSERT INTO migrations VALUES (1000, 'later', 'b3:0')", ())
        .expect("writes");
    let error = SqliteStore::open(directory.path()).expect_err("newer");
    assert_eq!(error.kind(), StoreErrorKind::TooNew, "{error}");

    let other = tempfile::tempdir().expect("a directory");
    std::fs::write(other.path().join("tenure.db"), [b'x'; 4096]).expect("writes");
    let error = SqliteStore::open(other.path()).expect_err("no database");
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error}");
}

#[tokio::test]
async fn names_what_is_damaged() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let project = key(0).project;
    store.append(append(key(0), 0, &["a", "b", "c"])).await.expect("appends");
    store.append(append(key(1), 0, &["a", "b", "c"])).await.expect("appends");
    store.append(append(key(2), 0, &["a"])).await.expect("appends");
    let blob = store.put_blob(project, Bytes::from_static(b"payload")).await.expect("keeps");
    for sql in [
        "UPDATE journal SET event = '{\"type\":\"unheard_of\"}' WHERE session_id = ?1 AND version = 2",
        "UPDATE blobs SET payload = x'00' WHERE ?1 IS NOT NULL",
    ] {
        by_hand(directory.path()).execute(sql, [key(0).session.to_string()]).expect("damages");
    }
    for error in [
        store.load(key(0)).await.map(|_| ()).expect_err("damaged"),
        store.events(key(0), tenure_journal::Version(1), 1).await.map(|_| ()).expect_err("damaged"),
    ] {
        assert_eq!(error.kind(), StoreErrorKind::Corrupt);
        assert!(error.to_string().contains("event 2 of session"), "{error}");
    }
    let error = store.blob(project, blob).await.expect_err("damaged");
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    assert_eq!(texts(&store, key(1)).await, ["a", "b", "c"], "other sessions are served");

    for (sql, session) in [
        ("DELETE FROM journal WHERE session_id = ?1 AND version = 2", 1),
        ("DELETE FROM journal WHERE session_id = ?1", 2),
    ] {
        by_hand(directory.path()).execute(sql, [key(session).session.to_string()]).expect("damages");
    }
    let found = store.integrity().await.expect("checks");
    let expected = [
        "has 2 events, from version 1 to 3",
        "is at version 1 and its journal ends at 0",
        "event 2 of session",
        "has another digest",
    ];
    assert_eq!(found.problems.len(), expected.len(), "{found:?}");
    for (problem, expected) in found.problems.iter().zip(expected) {
        assert!(problem.contains(expected), "{problem}: {expected}");
    }
}

/// While a person's transaction holds the writer up, writes queue; then one transaction carries them all,
/// and those it must refuse do not disturb the others.
#[tokio::test]
async fn waiting_writes_share_a_transaction() {
    const WRITES: u64 = 64;
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    store.append(append(key(0), 0, &["a"])).await.expect("appends");
    assert_eq!((store.commits(), store.writes()), (1, 1), "a lone append is one commit");

    let person = by_hand(directory.path());
    person.execute_batch("BEGIN IMMEDIATE").expect("locks");
    let stale = [append(key(0), 0, &["stale"]), append(key(0), 7, &["stale"])];
    let waiting = (1..=WRITES).map(|index| append(key(index), 0, &["a"])).chain(stale);
    let mut appends = pin!(join_all(waiting.map(|append| store.append(append))));
    assert!(appends.as_mut().now_or_never().is_none(), "the writes are queued");
    person.execute_batch("ROLLBACK").expect("unlocks");

    let results = appends.await;
    let (fresh, stale) = results.split_at(WRITES as usize);
    assert!(fresh.iter().all(Result::is_ok), "{fresh:?}");
    assert!(stale.iter().all(Result::is_err), "{stale:?}");
    assert_eq!((store.commits(), store.writes()), (2, 1 + WRITES), "they share one commit");
    assert_eq!(texts(&store, key(0)).await, ["a"]);
}

/// A write that SQLite cannot carry out fails alone.
#[tokio::test]
async fn a_failing_write_takes_no_other_with_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let person = by_hand(directory.path());
    let trigger = "CREATE TRIGGER refuse BEFORE INSERT ON journal WHEN new.event LIKE '%poison%'
        BEGIN SELECT RAISE(ABORT, 'poison'); END";
    person.execute_batch(trigger).expect("creates");
    person.execute_batch("BEGIN IMMEDIATE").expect("locks");
    let waiting = ["a", "poison", "b"].iter().zip(0..).map(|(text, index)| append(key(index), 0, &[text]));
    let mut appends = pin!(join_all(waiting.map(|append| store.append(append))));
    assert!(appends.as_mut().now_or_never().is_none(), "the writes are queued");
    person.execute_batch("ROLLBACK").expect("unlocks");

    let results = appends.await;
    let written: Vec<_> = results.iter().map(Result::is_ok).collect();
    assert_eq!(written, [true, false, true], "{results:?}");
    assert!(store.head(key(1)).await.expect("reads").is_none(), "nothing of it was written");
    assert!(store.fault().now_or_never().is_none(), "it is no fault of the log");
}

//! What this implementation promises beyond the contract.

mod fixture;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::pin::pin;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use rusqlite::Connection;
use tenure_journal::Version;
use tenure_store::{Append, Store as _, StoreErrorKind};
use tenure_store_sqlite::{Inspection, Integrity, SqliteStore, held_by, inspect};

use fixture::{append, item, key, recalled, remembered, text, texts};

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
    let [after, before] = &*found.problems else { panic!("both sides of what is gone: {found:?}") };
    assert!(after.contains("in row 3 of the journal, does not link"), "{after}");
    assert!(before.contains("in row 1 of the journal, is neither followed"), "{before}");
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
        store.events(key(0), Version(1), 1).await.map(|_| ()).expect_err("damaged"),
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
        "does not link to the event before it",
        "is at version 1 and its journal ends at 0",
        "is neither followed by another nor the session's last",
        "event 2 of session",
        "has another digest",
    ];
    assert_eq!(found.problems.len(), expected.len(), "{found:?}");
    for (problem, expected) in found.problems.iter().zip(expected) {
        assert!(problem.contains(expected), "{problem}: {expected}");
    }
}

/// Each kind of damage to a journal, what the check says about it, and whether reading the journal meets it.
#[tokio::test]
async fn finds_damaged_journals() {
    // The events of two sessions take turns, so that session 0 has the odd positions up to 5.
    const UNLINKED: &str = "does not link to the event before it";
    const STRAY: &str = "is neither followed by another nor the session's last";
    const FAILS: Option<usize> = None;
    let event = |number: i64| format!("event {number} of");
    for (damage, expected, reads) in [
        ("DELETE FROM journal WHERE position = 1", vec![(event(2), UNLINKED)], FAILS),
        ("DELETE FROM journal WHERE position = 3", vec![(event(3), UNLINKED), (event(1), STRAY)], FAILS),
        (
            "DELETE FROM journal WHERE position = 5",
            vec![("version 3".into(), "its journal ends at 0"), (event(2), STRAY)],
            FAILS,
        ),
        (
            "UPDATE journal SET previous = NULL WHERE position = 3",
            vec![(event(2), UNLINKED), (event(1), STRAY)],
            FAILS,
        ),
        (
            "UPDATE journal SET previous = 2 WHERE position = 3",
            vec![(event(2), UNLINKED), (event(1), STRAY)],
            FAILS,
        ),
        (
            "UPDATE journal SET previous = 3 WHERE position = 3",
            vec![(event(2), UNLINKED), (event(1), STRAY)],
            FAILS,
        ),
        ("UPDATE journal SET previous = 99 WHERE position = 1", vec![(event(1), UNLINKED)], Some(3)),
        (
            "UPDATE journal SET version = 7 WHERE position = 3",
            vec![(event(7), UNLINKED), (event(3), UNLINKED)],
            FAILS,
        ),
        (
            "UPDATE journal SET version = version - 1 WHERE position IN (1, 3)",
            vec![(event(0), UNLINKED), (event(1), UNLINKED), (event(3), UNLINKED)],
            FAILS,
        ),
        (
            "INSERT INTO journal SELECT 9, project_id, session_id, version, previous, at, event
             FROM journal WHERE position = 3",
            vec![(event(2), STRAY)],
            Some(3),
        ),
        (
            "INSERT INTO journal SELECT 9, project_id, session_id, 4, 5, at, event
             FROM journal WHERE position = 5",
            vec![(event(4), STRAY)],
            Some(3),
        ),
        ("DELETE FROM sessions WHERE tail = 5", vec![(event(3), STRAY)], Some(0)),
        (
            "UPDATE sessions SET version = 2 WHERE tail = 5",
            vec![("version 2".into(), "its journal ends at 3")],
            FAILS,
        ),
        (
            "UPDATE sessions SET tail = 3 WHERE tail = 5",
            vec![("version 3".into(), "its journal ends at 2"), (event(3), STRAY)],
            FAILS,
        ),
        (
            "UPDATE sessions SET tail = 6 WHERE tail = 5",
            vec![("version 3".into(), "its journal ends at 0"), (event(3), STRAY)],
            FAILS,
        ),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let store = open(directory.path());
        for version in 0..3 {
            store.append(append(key(0), version, &["a"])).await.expect("appends");
            store.append(append(key(1), version, &["b"])).await.expect("appends");
        }
        assert_eq!(store.integrity().await.expect("checks").problems, Vec::<String>::new());
        by_hand(directory.path()).execute_batch(damage).expect("damages");

        let found = store.integrity().await.expect("checks").problems;
        assert_eq!(found.len(), expected.len(), "{damage}: {found:?}");
        for (problem, (subject, predicate)) in found.iter().zip(&expected) {
            assert!(problem.contains(&key(0).session.to_string()), "{damage}: {problem}");
            assert!(problem.contains(subject.as_str()) && problem.contains(predicate), "{damage}: {problem}");
        }
        let read = store.events(key(0), Version::ZERO, usize::MAX).await;
        match reads {
            Some(events) => assert_eq!(read.expect("is no obstacle").len(), events, "{damage}"),
            None => assert_eq!(read.expect_err("damaged").kind(), StoreErrorKind::Corrupt, "{damage}"),
        }
        assert_eq!(texts(&store, key(1)).await, ["b", "b", "b"], "{damage}: other sessions are served");
    }
}

/// What nothing finds although it was said is damage, and what only waits to be indexed is none.
#[tokio::test]
async fn finds_what_is_remembered_and_not_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    // Whatever waits is indexed after the first write, and the second is written when that is done.
    for (session, text) in [(0, "indexed"), (1, "waiting")] {
        let episodes = vec![remembered(key(session), 5, text)];
        store.append(Append { episodes, ..append(key(session), 0, &[text]) }).await.expect("appends");
    }
    let waiting = "SELECT group_concat(text) FROM episodes WHERE terms IS NOT NULL";
    let waiting: String = by_hand(directory.path()).query_row(waiting, (), |row| row.get(0)).expect("reads");
    assert_eq!(waiting, "waiting");
    assert_eq!(recalled(&store, key(0)).await, ["indexed"]);
    assert_eq!(recalled(&store, key(1)).await, ["waiting"]);
    assert_eq!(store.integrity().await.expect("checks").problems, Vec::<String>::new());
    for (damage, session) in
        [("UPDATE episodes SET terms = 'w1' WHERE episode = 1", 0), ("UPDATE episodes SET terms = NULL", 1)]
    {
        by_hand(directory.path()).execute_batch(damage).expect("damages");
        let found = store.integrity().await.expect("checks").problems;
        let [problem] = &*found else { panic!("one of them: {damage}: {found:?}") };
        assert!(problem.contains(&key(session).session.to_string()), "{damage}: {problem}");
        assert!(problem.contains("said at 5 in") && problem.contains("by none of its terms"), "{problem}");
    }
}

/// Every page of journals that end before, on and behind indexed events.
#[tokio::test]
async fn pages_of_long_journals_are_their_parts() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    for (session, events) in (0..).zip([1, 63, 64, 65, 128, 200]) {
        let names: Vec<_> = (1..=events).map(|version: u64| version.to_string()).collect();
        for (version, name) in (0..).zip(&names) {
            store.append(append(key(session), version, &[name])).await.expect("appends");
            // Another session's, so that no two of one are neighbours.
            store.append(append(key(100 + session), version, &["other"])).await.expect("appends");
        }
        for limit in [0, 1, 2, 63, 64, 65, 127, 128, 199, 200, 201] {
            for after in 0..=events as usize + 1 {
                let page = store.events(key(session), Version(after as u64), limit).await.expect("reads");
                let expected: Vec<_> = names.iter().skip(after).take(limit).collect();
                assert_eq!(page.iter().map(text).collect::<Vec<_>>(), expected, "{events}: {after}, {limit}");
                let first = page.first().map_or(after as u64 + 1, |recorded| recorded.version.0);
                assert_eq!(first, after as u64 + 1, "{events}: {after}, {limit}");
            }
        }
    }
}

/// A person reads journals with `sqlite3`, and may compact the file.
#[tokio::test]
async fn is_readable_by_hand() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    for version in 0..3 {
        let name = (version + 1).to_string();
        store.append(append(key(0), version, &[&name])).await.expect("appends");
        store.append(append(key(1), version, &["other"])).await.expect("appends");
    }
    by_hand(directory.path()).execute_batch("VACUUM").expect("compacts");
    let migration = include_str!("../migrations/0001_first.sql");
    let (_, query) = migration.split_once("without reading those of the others:").expect("is explained");
    let (query, _) = query.split_once("CREATE TABLE").expect("is explained before the table");
    let query = query.replace("--", "").replace("sess_...", &key(0).session.to_string());
    let view = format!("SELECT version, at, event FROM events WHERE session_id = '{}'", key(0).session);
    for query in [query.trim_end_matches([';', '\n', ' ']), &view] {
        let person = by_hand(directory.path());
        let mut statement = person.prepare(query).expect("is a query");
        let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(2)?))).expect("runs");
        let rows: Vec<(i64, String)> = rows.collect::<Result<_, _>>().expect("reads");
        assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), [1, 2, 3], "{query}");
        assert!(rows.iter().all(|(version, event)| event.contains(&format!("\"{version}\""))), "{rows:?}");
    }
    store.append(append(key(0), 3, &["4"])).await.expect("goes on");
    assert_eq!(texts(&store, key(0)).await, ["1", "2", "3", "4"]);
    assert_eq!(store.integrity().await.expect("checks").problems, Vec::<String>::new());
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

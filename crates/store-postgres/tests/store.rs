//! What this implementation promises beyond the contract, as one node.

mod fixture;

use std::error::Error as _;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use tenure_journal::{Timestamp, Version};
use tenure_store::{
    Document, DocumentKind, Order, Page, Receipt, SessionFilter, Stamp, Store as _, StoreErrorKind,
};
use tenure_store_postgres::{BlobPlace, Inspection, Integrity, Options, PostgresStore, bench};
use tokio::task::JoinSet;

use fixture::{NOW, append, by_hand, cut, database, key, open, options, texts, until};

#[tokio::test]
async fn keeps_everything_across_processes() {
    let database = database();
    let store = open(&database).await;
    let mut first = append(key(0), 0, &["a", "b"]);
    first.snapshot = Some(Bytes::from_static(b"folded"));
    store.append(first).await.expect("appends");
    let blob = store.put_blob(key(0).project, Bytes::from_static(b"payload")).await.expect("keeps");
    store.close().await.expect("closes");

    let store = open(&database).await;
    store.append(append(key(0), 2, &["c"])).await.expect("goes on");
    let stored = store.load(key(0)).await.expect("loads").expect("is there");
    assert_eq!(stored.snapshot.expect("kept").bytes, "folded");
    assert_eq!(stored.tail.len(), 1);
    let payload = store.blob(key(0).project, blob).await.expect("reads");
    assert_eq!(payload.as_deref(), Some(&b"payload"[..]));
    let mut found = store.integrity().await.expect("checks");
    // The tests' own server does not sync, and the check says so.
    found.problems.retain(|problem| !problem.contains("fsync"));
    assert_eq!(found, Integrity { events: 3, blobs: 1, problems: vec![] });
}

#[tokio::test]
async fn is_looked_at_from_outside() {
    let database = database();
    let look = async || PostgresStore::inspect(&options(&database)).await;
    assert_eq!(look().await.expect("looks"), Inspection::Missing, "and stays so");
    assert_eq!(look().await.expect("looks"), Inspection::Missing);
    let store = open(&database).await;
    store.append(append(key(0), 0, &["a", "b"])).await.expect("appends");
    let Inspection::Read(mut found) = look().await.expect("looks") else { panic!("it is there") };
    found.problems.retain(|problem| !problem.contains("fsync"));
    assert_eq!(found, Integrity { events: 2, blobs: 0, problems: vec![] });
    by_hand(&database)
        .await
        .batch_execute("INSERT INTO migrations VALUES (1000, 'later', 'b3:0', 1000)")
        .await
        .expect("a migration of a later release");
    assert_eq!(look().await.expect_err("too new").kind(), StoreErrorKind::TooNew);
}

#[test]
fn measures_in_an_empty_database_only() {
    let database = database();
    assert_eq!(bench::claims(&database.url(), 0).expect("measures").len(), 2);
    let again = bench::claims(&database.url(), 0).expect_err("its own sessions are there");
    assert!(again.to_string().contains("an empty one"), "{again}");
}

#[tokio::test]
async fn is_closed_for_good() {
    let database = database();
    let store = open(&database).await;
    let appends = (0..8).map(|index| store.append(append(key(index), 0, &["a"])));
    let (appended, closed) = tokio::join!(join_all(appends), store.close());
    closed.expect("closes");
    for result in appended {
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
    let client = by_hand(&database).await;
    let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()";
    until("only this connection is left", async || {
        client.query_one(count, &[]).await.expect("counts").get::<_, i64>(0) == 1
    })
    .await;
    assert_eq!(texts(&*open(&database).await, key(7)).await, ["a"]);
}

#[tokio::test]
async fn one_refusal_does_not_take_others_with_it() {
    let database = database();
    let store = open(&database).await;
    store.append(append(key(0), 0, &["a"])).await.expect("opens");
    let commits = store.commits();
    let appends = (0..64).map(|index| store.append(append(key(index % 32), 0, &["b"])));
    let results = join_all(appends).await;
    let refused = results.iter().filter(|result| result.is_err()).count();
    assert_eq!(refused, 33, "the session that was there, and each second append to a session");
    assert!(store.commits() - commits < 32, "many appends share a commit");
    for index in 0..32 {
        assert_eq!(texts(&*store, key(index)).await.len(), 1, "session {index}");
    }
}

#[tokio::test]
async fn every_character_comes_back() {
    let database = database();
    let store = open(&database).await;
    let odd = "a\0b\u{1}c\u{2}\u{10ffff}\n\"\\é";
    let project = key(0).project;
    let mut first = append(key(0), 0, &[odd]);
    first.head.agent_name = Some(odd.to_owned());
    first.head.metadata = [(odd.to_owned(), odd.to_owned()), ("x,".to_owned(), ":".to_owned())].into();
    let receipt = Receipt {
        project,
        key: odd.to_owned(),
        digest: odd.to_owned(),
        status: 200,
        body: odd.to_owned(),
        at: NOW,
    };
    first.receipt = Some(receipt.clone());
    let head = first.head.clone();
    store.append(first).await.expect("appends");
    assert_eq!(texts(&*store, key(0)).await, [odd]);
    assert_eq!(store.head(key(0)).await.expect("reads"), Some(head.clone()));
    assert_eq!(store.receipt(project, odd).await.expect("reads"), Some(receipt));

    let page = Page { after: None, limit: 9, order: Order::Ascending };
    for (pairs, found) in [
        (vec![(odd, odd)], 1),
        (vec![(odd, odd), ("x,", ":")], 1),
        (vec![("x", ",:")], 0),
        (vec![(":", ",")], 0),
        (vec![], 1),
    ] {
        let metadata = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let filter = SessionFilter { metadata, ..SessionFilter::default() };
        assert_eq!(store.sessions(project, &filter, &page).await.expect("lists").len(), found, "{pairs:?}");
    }

    let document = |id: &str| Document {
        project,
        kind: DocumentKind::Agent,
        id: id.to_owned(),
        version: 1,
        name: Some(odd.to_owned()),
        body: serde_json::json!({ odd: odd }),
        created_at: NOW,
        updated_at: NOW,
        wake_at: None,
        deleted: false,
    };
    let documents = ["a", "a\0", "a\u{1}", "a\u{2}", "b"].map(document);
    store.put(documents.to_vec(), None).await.expect("puts");
    let listed = store.documents(project, DocumentKind::Agent, Some(odd), &page).await.expect("lists");
    assert_eq!(listed, documents, "in the order of their bytes");
    let after = Page { after: Some("a\0".to_owned()), limit: 1, order: Order::Ascending };
    let next = store.documents(project, DocumentKind::Agent, None, &after).await.expect("lists");
    assert_eq!(next, documents[2..3]);
}

#[tokio::test]
async fn payloads_may_be_files() {
    let database = database();
    let directory = tempfile::tempdir().expect("a directory");
    let project = key(0).project;
    let in_database =
        open(&database).await.put_blob(project, Bytes::from_static(b"row")).await.expect("keeps");
    let beside = options(&database).with_blobs(BlobPlace::Directory(directory.path().to_owned()));
    let store = PostgresStore::open(&beside).await.expect("opens");
    let blob = store.put_blob(project, Bytes::from_static(b"file")).await.expect("keeps");
    assert_eq!(store.blob(project, blob).await.expect("reads").as_deref(), Some(&b"file"[..]));
    assert_eq!(store.blob(project, in_database).await.expect("reads").as_deref(), Some(&b"row"[..]));
    let folder = directory.path().join(project.to_string());
    let files: Vec<_> = folder.read_dir().expect("lists").map(|entry| entry.expect("lists").path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");

    // What is forgotten leaves no file, and a file that is gone already is no obstacle.
    let ever = Stamp(u64::MAX);
    let other = store.put_blob(project, Bytes::from_static(b"other")).await.expect("keeps");
    let count = || folder.read_dir().expect("lists").count();
    assert_eq!(count(), 2);
    assert_eq!(store.forget_blobs(project, &[other], ever).await.expect("forgets"), [other]);
    assert_eq!(count(), 1);
    let half = store.put_blob(project, Bytes::from_static(b"half")).await.expect("keeps");
    let added = folder.read_dir().expect("lists").map(|entry| entry.expect("lists").path());
    let added = added.into_iter().find(|path| *path != files[0]).expect("a file");
    std::fs::remove_file(added).expect("a collection that died before its commit");
    store.put_blob(project, Bytes::from_static(b"half")).await.expect("keeps it anew");
    assert_eq!(store.blob(project, half).await.expect("reads").as_deref(), Some(&b"half"[..]));
    assert_eq!(store.forget_blobs(project, &[half, in_database], ever).await.expect("forgets").len(), 2);
    assert_eq!(count(), 1);

    std::fs::write(&files[0], "elif").expect("damages it");
    let error = store.blob(project, blob).await.expect_err("it has another digest");
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error}");
    std::fs::remove_file(&files[0]).expect("removes it");
    let error = store.blob(project, blob).await.expect_err("it is not there");
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error}");
    let problems = store.integrity().await.expect("checks").problems;
    assert!(problems.iter().any(|problem| problem.contains(&blob.to_string())), "{problems:?}");
}

/// An older release keeps a payload again without saying so, so nothing is forgotten while one runs.
#[tokio::test]
async fn nothing_is_forgotten_while_an_older_release_runs() {
    let database = database();
    let store = open(&database).await;
    let project = key(0).project;
    let blob = store.put_blob(project, Bytes::from_static(b"a")).await.expect("keeps");
    let client = by_hand(&database).await;
    let beat = "INSERT INTO nodes (node_id, lease_until, schema) \
                VALUES ('node_1', clock_timestamp() + interval '1 hour', 2)";
    client.batch_execute(beat).await.expect("beats");
    let refused = store.forget_blobs(project, &[blob], Stamp(u64::MAX)).await.expect_err("it must not");
    assert_eq!(refused.kind(), StoreErrorKind::OlderNodes, "{refused}");
    assert!(store.blob(project, blob).await.expect("reads").is_some());
    client.batch_execute("DELETE FROM nodes").await.expect("ends");
    assert_eq!(store.forget_blobs(project, &[blob], Stamp(u64::MAX)).await.expect("forgets"), [blob]);
}

#[tokio::test]
async fn damage_is_found() {
    let database = database();
    let store = open(&database).await;
    for index in 0..4 {
        store.append(append(key(index), 0, &["a", "b", "c"])).await.expect("appends");
    }
    let client = by_hand(&database).await;
    let of = |index| format!("session_id = '{}'", key(index).session);
    for sql in [
        format!("DELETE FROM journal WHERE {} AND version = 2", of(0)),
        format!("DELETE FROM journal WHERE {} AND version = 3", of(1)),
        format!("UPDATE journal SET event = '{{}}' WHERE {} AND version = 2", of(2)),
        format!("UPDATE sessions SET holder = 'node_00' WHERE {}", of(3)),
    ] {
        client.batch_execute(&sql).await.expect("damages it");
    }
    let problems = store.integrity().await.expect("checks").problems;
    for index in 0..4 {
        let session = key(index).session.to_string();
        assert!(problems.iter().any(|problem| problem.contains(&session)), "{session}: {problems:?}");
    }
    let error = store.load(key(2)).await.expect_err("an event does not decode");
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
}

#[tokio::test]
async fn lost_connections_lose_nothing_that_was_acknowledged() {
    const SESSIONS: u64 = 8;
    let database = database();
    let store = open(&database).await;
    let client = by_hand(&database).await;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for index in 0..SESSIONS {
        let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
        tasks.spawn(async move {
            let (mut acknowledged, mut unknown) = (0, 0);
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                match store.append(append(key(index), acknowledged, &["x"])).await {
                    Ok(version) => acknowledged = version.0,
                    // Everything or nothing was written: the next append finds out.
                    Err(error) if error.kind() == StoreErrorKind::Unavailable => unknown += 1,
                    Err(error) => {
                        let StoreErrorKind::Conflict { actual } = error.kind() else {
                            panic!("session {index}: {error:?}")
                        };
                        assert!(actual.0 >= acknowledged, "session {index} lost {acknowledged}: {actual:?}");
                        assert!(unknown > 0, "a conflict without a reason");
                        acknowledged = actual.0;
                    }
                }
            }
            (index, acknowledged)
        });
    }
    for round in 0..20 {
        let writes = store.writes();
        until("writes go on", async || store.writes() > writes + 5).await;
        let pattern = if round % 2 == 0 { "%" } else { "%INTO journal%" };
        cut(&client, pattern).await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        let (index, acknowledged) = ended.expect("no panic");
        let mut found = Err(());
        until("reads go on", async || {
            found = store
                .events(key(index), Version::ZERO, usize::MAX)
                .await
                .map(|events| events.len())
                .map_err(|_| ());
            found.is_ok()
        })
        .await;
        let found = found.expect("checked above") as u64;
        assert!(found >= acknowledged, "session {index}: {found} of {acknowledged}");
    }
    assert!(store.append(append(key(99), 0, &["after"])).await.is_ok(), "it recovers");
}

#[tokio::test]
async fn migrates_once_for_all_openers() {
    let database = database();
    let (first, second, third) = tokio::join!(open(&database), open(&database), open(&database));
    for (index, store) in [first, second, third].iter().enumerate() {
        store.append(append(key(index as u64), 0, &["a"])).await.expect("appends");
    }
    drop(open(&database).await);
    let client = by_hand(&database).await;
    let rows = client.query("SELECT number FROM migrations ORDER BY number", &[]).await.expect("reads");
    let numbers: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    let known = i32::try_from(numbers.len()).expect("few");
    assert!(known > 0);
    assert_eq!(numbers, (1..=known).collect::<Vec<_>>(), "each once");
}

#[tokio::test]
async fn lives_with_a_newer_schema_that_says_so() {
    let database = database();
    open(&database).await.close().await.expect("closes");
    let client = by_hand(&database).await;
    let known: i64 = client.query_one("SELECT count(*) FROM migrations", &[]).await.expect("reads").get(0);
    let insert = |number: i64, name: &str, compatible_from: i64| {
        format!("INSERT INTO migrations VALUES ({number}, '{name}', 'b3:0', {compatible_from})")
    };
    client.batch_execute(&insert(known + 1, "more", 1)).await.expect("writes");
    let store = open(&database).await;
    store.append(append(key(0), 0, &["a"])).await.expect("an older release goes on");

    for (change, expected) in [
        (insert(known + 2, "other", known + 1), StoreErrorKind::TooNew),
        ("UPDATE migrations SET digest = 'b3:0' WHERE number = 1".to_owned(), StoreErrorKind::Corrupt),
    ] {
        client.batch_execute(&change).await.expect("writes");
        let error = PostgresStore::open(&options(&database)).await.expect_err("refused");
        assert_eq!(error.kind(), expected, "{error}");
    }
    let rows = client.query("SELECT number FROM migrations", &[]).await.expect("reads");
    assert_eq!(rows.len() as i64, known + 2, "a refusal changes nothing");
}

#[tokio::test]
async fn an_unreachable_database_is_unavailable_and_its_state_is_kept() {
    let database = database();
    let wrong = database.url().replace("tenure_test", "no_such");
    let error = PostgresStore::open(&Options::parse(&wrong).expect("a URL")).await.expect_err("no database");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    let source = error.source().expect("the cause is kept");
    let arc = source.downcast_ref::<Arc<tokio_postgres::Error>>().expect("it is the driver's");
    assert_eq!(arc.code().map(tokio_postgres::error::SqlState::code), Some("3D000"));
    let error = PostgresStore::open(&Options::parse("postgres://u@127.0.0.1:1/d").expect("a URL")).await;
    assert_eq!(error.expect_err("nobody listens").kind(), StoreErrorKind::Unavailable);
}

/// One append may be due at the end of time: nothing overflows.
#[tokio::test]
async fn ends_of_time_fit() {
    let database = database();
    let store = open(&database).await;
    let mut last = append(key(0), 0, &["a"]);
    last.head.wake_at = Some(Timestamp::from_millis(i64::MAX));
    store.append(last).await.expect("appends");
    let due = store.claim_due(fixture::node(0), Timestamp::from_millis(i64::MAX), usize::MAX, &[]).await;
    assert_eq!(due.expect("claims"), [key(0)]);
}

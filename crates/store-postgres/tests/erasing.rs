//! What is erased is in no dump, and not in the index of terms either.

mod fixture;

use std::process::Command;

use bytes::Bytes;
use tenure_journal::{
    Episode, Fresh, ItemId, Labels, MEMORY_USER_KEY, MemorySpace, Remembered, SessionKey, Speaker,
};
use tenure_store::{Document, DocumentKind, Erasing, Needle, Place, Receipt, Search, Stamp, Store};
use tenure_testkit::postgres::{Database, path};

use fixture::{NOW, append, by_hand, database, key, open};

/// The database as `pg_dump` writes it.
fn dump(database: &Database) -> Vec<u8> {
    let dumped = Command::new("pg_dump").env("PATH", path()).arg("--dbname").arg(database.url()).output();
    let dumped = dumped.expect("pg_dump runs");
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    dumped.stdout
}

fn is_in(bytes: &[u8], word: &str) -> bool {
    let needles: Vec<Needle> = Needle::of(word).into_iter().collect();
    let mut search = Search::new(&needles);
    search.bytes("dump", bytes);
    !search.into_found().is_empty()
}

/// A session of a user that has a word in every table; gives its payload.
async fn furnish(store: &dyn Store, key: SessionKey, user: &str, word: &str) -> Bytes {
    let fresh = Fresh::new(NOW, 99);
    let mut first = append(key, 0, &[&format!("said {word}")]);
    first.head.metadata = [(MEMORY_USER_KEY.to_owned(), user.to_owned())].into();
    first.snapshot = Some(Bytes::from(format!("folded {word}")));
    let body = format!("{} {word}", key.session);
    let (project, digest) = (key.project, String::new());
    first.receipt = Some(Receipt { project, key: format!("k {word}"), digest, status: 201, body, at: NOW });
    first.documents = vec![Document {
        project,
        kind: DocumentKind::Delivery,
        id: format!("evt {word}"),
        version: 1,
        name: None,
        body: serde_json::json!({ "session": key.session, "payload": word }),
        created_at: NOW,
        updated_at: NOW,
        wake_at: None,
        deleted: false,
    }];
    let space = MemorySpace { project, agent: first.head.agent_id, user: Some(user.to_owned()) };
    first.episodes = vec![Remembered {
        space,
        episode: Episode {
            session: key.session,
            item: ItemId::fresh(&fresh),
            ordinal: 0,
            at: NOW,
            speaker: Speaker::User,
            name: None,
            text: format!("remembered {word}"),
            labels: Labels::NEUTRAL,
        },
        terms: vec![word.to_owned()],
    }];
    store.append(first).await.expect("appends");
    for version in [1, 2] {
        store.put(vec![procedure(key, word, version)], None).await.expect("keeps");
    }
    let payload = Bytes::from(format!("payload {word}"));
    store.put_blob(project, payload.clone()).await.expect("keeps");
    payload
}

/// A version of a procedure that says a word; the second removes it.
fn procedure(key: SessionKey, word: &str, version: u64) -> Document {
    Document {
        project: key.project,
        kind: DocumentKind::Procedure,
        id: format!("mark.{word}"),
        version,
        name: Some("mark".to_owned()),
        body: serde_json::json!({ "steps": format!("taught {word}") }),
        created_at: NOW,
        updated_at: NOW,
        wake_at: None,
        deleted: version > 1,
    }
}

#[tokio::test]
async fn a_dump_has_nothing_of_what_was_erased() {
    let database = database();
    let store = open(&database).await;
    let payload = furnish(&*store, key(0), "ada", "qzcanaryada").await;
    furnish(&*store, key(1), "bob", "qzcanarybob").await;
    let before = dump(&database);
    assert!(is_in(&before, "qzcanaryada") && is_in(&before, "qzcanarybob"), "the search finds what is there");
    let words = async |word: &str| {
        let needles: Vec<Needle> = Needle::of(word).into_iter().collect();
        store.search(&needles).await.expect("searched").into_keys().collect::<Vec<_>>()
    };
    let tables = ["blobs", "documents", "episodes", "journal", "receipts", "snapshots"];
    assert_eq!(words("qzcanaryada").await, tables, "binary columns are looked into");

    store.erase(key(0).project, &Place::Session(key(0).session), Erasing::Remove).await.expect("erased");
    let taught = Place::Document(DocumentKind::Procedure, procedure(key(0), "qzcanaryada", 1).id);
    store.erase(key(0).project, &taught, Erasing::Remove).await.expect("erased");
    let blob = tenure_journal::BlobRef::of(&payload);
    store.forget_blobs(key(0).project, &[blob], Stamp(u64::MAX)).await.expect("forgotten");
    store.scrub().await.expect("scrubbed");
    assert_eq!(words("qzcanaryada").await, Vec::<String>::new());
    assert_eq!(words("qzcanarybob").await, tables, "others stay");
    let after = dump(&database);
    assert!(!is_in(&after, "qzcanaryada"), "nothing is in the dump");
    assert!(!is_in(&after, &key(0).session.to_string()), "nor that it was");
    assert!(is_in(&after, "qzcanarybob"), "others stay");

    // Pages follow: no row waits to be removed, and the index was built anew and is whole.
    let client = by_hand(&database).await;
    let index = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
    let invalid: i64 = client.query_one(index, &[]).await.expect("asked").get(0);
    assert_eq!(invalid, 0);
}

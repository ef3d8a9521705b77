//! Documents, their receipts, and blobs.

use bytes::Bytes;
use futures_util::future::join_all;
use tenure_journal::{BlobRef, ProjectId, Timestamp, Version};

use super::build::{accepted, document, fresh, page, page_after, receipt, refused};
use crate::{Document, DocumentKind, Order, Page, Store, StoreErrorKind};

const AGENT: DocumentKind = DocumentKind::Agent;

pub(super) async fn writes_versions_in_order(store: &dyn Store) {
    let project = ProjectId::fresh(&fresh(1));
    let read = async |version| accepted(store.document(project, AGENT, "a", version).await);
    assert_eq!(read(None).await, None, "a document that was never written is absent");
    let sentence = "a version that is not one more than the stored one is a conflict";
    for (version, actual) in [(2, 0), (0, 0)] {
        let kind = refused(store.put(vec![document(project, AGENT, "a", version)], None).await, sentence);
        assert_eq!(kind, StoreErrorKind::Conflict { actual: Version(actual) }, "{sentence}");
    }
    for version in 1..=3 {
        accepted(store.put(vec![document(project, AGENT, "a", version)], None).await);
    }
    for version in [1, 2, 3, 5] {
        let mut stale = document(project, AGENT, "a", version);
        stale.name = Some("stale".into());
        let kind = refused(store.put(vec![stale], None).await, sentence);
        assert_eq!(kind, StoreErrorKind::Conflict { actual: Version(3) }, "{sentence}");
    }
    for version in 1..=3 {
        let expected = Some(document(project, AGENT, "a", version));
        assert_eq!(read(Some(version)).await, expected, "every version stays readable as it was written");
    }
    assert_eq!(read(None).await, Some(document(project, AGENT, "a", 3)), "the latest version is read");
    for version in [0, 4, u64::MAX] {
        assert_eq!(read(Some(version)).await, None, "a version that was never written is absent");
    }
    let other = accepted(store.document(project, DocumentKind::Secret, "a", None).await);
    assert_eq!(other, None, "an id is unique within its kind only");
    accepted(store.put(vec![document(project, DocumentKind::Secret, "a", 1)], None).await);
}

pub(super) async fn deletes_and_keeps_versions(store: &dyn Store) {
    let project = ProjectId::fresh(&fresh(2));
    let read = async |version| accepted(store.document(project, AGENT, "a", version).await);
    let deletion = Document { deleted: true, name: None, ..document(project, AGENT, "a", 2) };
    accepted(store.put(vec![document(project, AGENT, "a", 1)], None).await);
    accepted(store.put(vec![deletion.clone()], None).await);
    assert_eq!(read(None).await, None, "a deleted document has no latest version");
    assert_eq!(read(Some(1)).await, Some(document(project, AGENT, "a", 1)), "earlier versions stay readable");
    assert_eq!(read(Some(2)).await, Some(deletion), "the deletion is a version");
    assert!(ids(store, project, None, &page(9)).await.is_empty(), "a deleted document is not listed");
    let gone = accepted(store.deleted_documents(project, AGENT, &page(9)).await);
    let gone: Vec<_> = gone.iter().map(|document| (document.id.as_str(), document.version)).collect();
    assert_eq!(gone, [("a", 2)], "but among those that are deleted");
    let after = Page { after: Some("a".into()), ..page(9) };
    assert!(accepted(store.deleted_documents(project, AGENT, &after).await).is_empty());
    assert!(accepted(store.deleted_documents(project, DocumentKind::File, &page(9)).await).is_empty());
    let again = store.put(vec![document(project, AGENT, "a", 1)], None).await;
    let sentence = "versions go on after a deletion";
    assert_eq!(refused(again, sentence), StoreErrorKind::Conflict { actual: Version(2) }, "{sentence}");
    accepted(store.put(vec![document(project, AGENT, "a", 3)], None).await);
    assert_eq!(ids(store, project, None, &page(9)).await, ["a"], "a document written again is listed");
}

pub(super) async fn notes_without_a_history(store: &dyn Store) {
    let project = ProjectId::fresh(&fresh(3));
    let kind = DocumentKind::KeyUse;
    for (name, version) in [("first", 1), ("second", 7), ("third", 1)] {
        let noted = Document { name: Some(name.into()), ..document(project, kind, "k", version) };
        accepted(store.note(noted.clone()).await);
        let expected = Some(Document { version: 1, ..noted });
        let sentence = "what was noted last is the document, and its only version";
        assert_eq!(accepted(store.document(project, kind, "k", None).await), expected, "{sentence}");
        assert_eq!(accepted(store.document(project, kind, "k", Some(2)).await), None, "{sentence}");
    }
    let listed = accepted(store.documents(project, kind, Some("third"), &page(9)).await);
    assert_eq!(listed.len(), 1, "a note is found by its last name");
    assert!(accepted(store.documents(project, kind, Some("first"), &page(9)).await).is_empty());
}

pub(super) async fn pages_documents_by_id(store: &dyn Store) {
    let project = ProjectId::fresh(&fresh(3));
    // In the order of their bytes, which is not the order of any language.
    let all = ["A", "B_", "Z", "a", "a-b", "a.b", "aa", "é"];
    for id in all.iter().rev() {
        accepted(store.put(vec![document(project, AGENT, id, 1)], None).await);
    }
    accepted(store.put(vec![document(project, AGENT, "a", 2)], None).await);
    accepted(store.put(vec![document(project, DocumentKind::Key, "b", 1)], None).await);
    assert_eq!(ids(store, project, None, &page(99)).await, all, "documents are ordered by the bytes of id");
    let (up, down) = (Order::Ascending, Order::Descending);
    for (page, expected) in [
        (page(3), &["A", "B_", "Z"][..]),
        (page_after(&"Z", 2, up), &["a", "a-b"]),
        (page_after(&"é", 2, up), &[]),
        (page_after(&"C", 2, up), &["Z", "a"]),
        (Page { order: down, ..page(2) }, &["é", "aa"]),
        (page_after(&"a", 2, down), &["Z", "B_"]),
        (page_after(&"C", 9, down), &["B_", "A"]),
        (page(0), &[]),
    ] {
        assert_eq!(ids(store, project, None, &page).await, expected, "documents of {page:?}");
    }
    let latest = accepted(store.documents(project, AGENT, None, &page_after(&"Z", 1, up)).await);
    assert_eq!(latest, [document(project, AGENT, "a", 2)], "the latest version is listed");
}

pub(super) async fn finds_documents_by_name(store: &dyn Store) {
    let project = ProjectId::fresh(&fresh(4));
    let named = |id: &str, version, name: Option<&str>| Document {
        name: name.map(str::to_owned),
        ..document(project, AGENT, id, version)
    };
    for document in [
        named("a", 1, Some("x")),
        named("b", 1, Some("x")),
        named("c", 1, Some("X")),
        named("d", 1, None),
        named("e", 1, Some("x")),
        named("e", 2, Some("y")),
        named("f", 1, Some("x")),
        Document { deleted: true, ..named("f", 2, Some("x")) },
    ] {
        accepted(store.put(vec![document], None).await);
    }
    let up = Order::Ascending;
    for (name, page, expected) in [
        ("x", page(9), &["a", "b"][..]),
        ("x", page(1), &["a"]),
        ("x", page_after(&"a", 9, up), &["b"]),
        ("y", page(9), &["e"]),
        ("", page(9), &[]),
    ] {
        let found = ids(store, project, Some(name), &page).await;
        assert_eq!(found, expected, "documents whose latest version is named `{name}`, {page:?}");
    }
}

pub(super) async fn keeps_receipts_with_the_document(store: &dyn Store) {
    let project = ProjectId::fresh(&fresh(5));
    accepted(store.put(vec![document(project, AGENT, "a", 1)], Some(receipt(project, "k"))).await);
    let kept = accepted(store.receipt(project, "k").await);
    assert_eq!(kept, Some(receipt(project, "k")), "a receipt is written with its document");
    let sentence = "a document whose receipt's key is taken is refused";
    for (id, version) in [("a", 2), ("a", 1), ("b", 1)] {
        let again = store.put(vec![document(project, AGENT, id, version)], Some(receipt(project, "k"))).await;
        assert_eq!(refused(again, sentence), StoreErrorKind::ReceiptExists, "{sentence}, at any version");
    }
    assert_eq!(ids(store, project, None, &page(9)).await, ["a"], "a taken key writes nothing");
    let stale = store.put(vec![document(project, AGENT, "a", 9)], Some(receipt(project, "stale"))).await;
    refused(stale, "a version too far is refused");
    assert_eq!(accepted(store.receipt(project, "stale").await), None, "a conflict writes no receipt");
}

pub(super) async fn lets_one_of_many_writers_win(store: &dyn Store) {
    let project = ProjectId::fresh(&fresh(6));
    for version in 1..=3 {
        let writers = (0..8).map(|writer| Document {
            name: Some(format!("writer {writer}")),
            ..document(project, AGENT, "a", version)
        });
        let results = join_all(writers.map(|document| store.put(vec![document], None))).await;
        let won = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(won, 1, "of many writers of one version exactly one wins");
        for error in results.into_iter().filter_map(Result::err) {
            let actual = Version(version);
            assert_eq!(error.kind(), StoreErrorKind::Conflict { actual }, "losers get a conflict");
        }
    }
}

pub(super) async fn writes_several_or_none(store: &dyn Store) {
    let project = ProjectId::fresh(&fresh(8));
    let both = |a, b| vec![document(project, AGENT, "a", a), document(project, DocumentKind::Key, "b", b)];
    accepted(store.put(both(1, 1), None).await);
    let sentence = "one document at a wrong version refuses all of them";
    for (a, b) in [(2, 1), (1, 2), (2, 3)] {
        let kind = refused(store.put(both(a, b), Some(receipt(project, "k"))).await, sentence);
        assert!(matches!(kind, StoreErrorKind::Conflict { .. }), "{sentence}");
    }
    for (kind, id) in [(AGENT, "a"), (DocumentKind::Key, "b")] {
        let found = accepted(store.document(project, kind, id, None).await).map(|found| found.version);
        assert_eq!(found, Some(1), "{sentence}");
    }
    assert_eq!(accepted(store.receipt(project, "k").await), None, "{sentence}, and the receipt");
    accepted(store.put(both(2, 2), None).await);
}

pub(super) async fn finds_due_documents_earliest_first(store: &dyn Store) {
    let fresh = fresh(9);
    let (project, other) = (ProjectId::fresh(&fresh), ProjectId::fresh(&fresh));
    let at = |id: &str, version, wake_at: Option<i64>| Document {
        wake_at: wake_at.map(Timestamp::from_millis),
        ..document(project, AGENT, id, version)
    };
    for document in [
        at("a", 1, Some(30)),
        at("b", 1, Some(10)),
        at("c", 1, None),
        at("d", 1, Some(5)),
        at("d", 2, None),
        at("e", 1, None),
        at("e", 2, Some(20)),
        at("f", 1, Some(1)),
        Document { deleted: true, ..at("f", 2, Some(1)) },
        Document { project: other, ..at("g", 1, Some(15)) },
        Document { kind: DocumentKind::Key, ..at("h", 1, Some(1)) },
    ] {
        accepted(store.put(vec![document], None).await);
    }
    for (now, limit, expected) in [
        (9, 9, &[][..]),
        (10, 9, &["b"]),
        (30, 9, &["b", "g", "e", "a"]),
        (i64::MAX, 2, &["b", "g"]),
        (i64::MAX, 0, &[]),
    ] {
        let due = accepted(store.due_documents(AGENT, Timestamp::from_millis(now), limit).await);
        let ids: Vec<_> = due.iter().map(|document| document.id.as_str()).collect();
        assert_eq!(ids, expected, "documents due at {now}, at most {limit}, earliest first");
        assert!(due.iter().all(|document| document.wake_at.is_some()), "a document keeps its `wake_at`");
    }
}

pub(super) async fn keeps_blobs_by_content(store: &dyn Store) {
    let fresh = fresh(7);
    let (project, other) = (ProjectId::fresh(&fresh), ProjectId::fresh(&fresh));
    let large: Vec<u8> = (0..300_000_u32).map(|index| (index % 251) as u8).collect();
    for payload in [Bytes::new(), Bytes::from_static(b"\0\xff\n"), Bytes::from(large)] {
        let expected = BlobRef::of(&payload);
        let absent = accepted(store.blob(project, expected).await);
        assert_eq!(absent, None, "a payload that was never kept is absent");
        let absent = accepted(store.blob_by_digest(project, *expected.digest()).await);
        assert_eq!(absent, None, "a digest that was never kept is absent");
        for _ in 0..2 {
            let kept = accepted(store.put_blob(project, payload.clone()).await);
            assert_eq!(kept, expected, "keeping a payload again gives the same reference");
        }
        let both = [store.put_blob(project, payload.clone()), store.put_blob(project, payload.clone())];
        join_all(both).await.into_iter().for_each(|kept| assert_eq!(accepted(kept), expected));
        let found = accepted(store.blob(project, expected).await);
        assert_eq!(found, Some(payload.clone()), "a payload is read as it was kept");
        let found = accepted(store.blob_by_digest(project, *expected.digest()).await);
        assert_eq!(found, Some(payload), "a payload is found by its digest alone");
        let found = accepted(store.blob(other, expected).await);
        assert_eq!(found, None, "a payload belongs to its project");
    }
}

async fn ids(store: &dyn Store, project: ProjectId, name: Option<&str>, page: &Page) -> Vec<String> {
    let found = accepted(store.documents(project, AGENT, name, page).await);
    found.into_iter().map(|document| document.id).collect()
}

//! Documents that are found by terms.

use tenure_journal::{ProjectId, SessionId, SessionKey, Version};

use super::build::{accepted, append, document, fresh, receipt, refused};
use crate::{Append, Document, DocumentKind, FoundDocuments, Indexed, Store, StoreErrorKind};

const FACT: DocumentKind = DocumentKind::Fact;
const SHELF: &str = "shelf";

fn indexed(project: ProjectId, name: &str, id: &str, version: u64, terms: &[&str]) -> Indexed {
    let document = Document { name: Some(name.to_owned()), ..document(project, FACT, id, version) };
    Indexed { document, terms: texts(terms) }
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

async fn find(store: &dyn Store, project: ProjectId, name: &str, terms: &[&str]) -> FoundDocuments {
    accepted(store.find_documents(project, FACT, name, &texts(terms), 9).await)
}

fn ids(found: &FoundDocuments) -> Vec<&str> {
    found.found.iter().map(|document| document.id.as_str()).collect()
}

pub(super) async fn finds_documents_by_terms(store: &dyn Store) {
    let project = ProjectId::fresh(&fresh(11));
    let rows = vec![
        indexed(project, SHELF, "a", 1, &["red", "dog"]),
        indexed(project, SHELF, "b", 1, &["blue", "犬種", "or"]),
        indexed(project, SHELF, "c", 1, &["dog", "\"é\0"]),
        indexed(project, "other", "d", 1, &["dog"]),
    ];
    accepted(store.put_indexed(rows, None, Vec::new()).await);
    for (terms, expected) in [
        (&["dog"][..], &["c", "a"][..]),
        (&["red", "dog"], &["a", "c"]),
        (&["犬種"], &["b"]),
        (&["\"é\0"], &["c"]),
        (&["or", "and"], &["b"]),
        (&["do", "nothing"], &[]),
        (&[], &[]),
    ] {
        let found = find(store, project, SHELF, terms).await;
        assert_eq!(ids(&found), expected, "documents are found by whole terms, the best first: {terms:?}");
        assert_eq!(found.documents, 3, "the documents of a name are counted, and of no other");
    }
    let found = find(store, project, SHELF, &["dog", "nothing", "red"]).await;
    assert_eq!(found.frequencies, [2, 0, 1], "the documents with each term are counted");
    let expected = Some(&indexed(project, SHELF, "a", 1, &[]).document);
    assert_eq!(found.found.first(), expected, "a document comes back as it was written");
    let one = accepted(store.find_documents(project, FACT, SHELF, &texts(&["dog"]), 1).await);
    assert_eq!((ids(&one), &one.frequencies[..]), (vec!["c"], &[2][..]), "a limit limits what is found only");
    for (project, kind, name) in [
        (ProjectId::fresh(&fresh(12)), FACT, SHELF),
        (project, DocumentKind::PinnedBlock, SHELF),
        (project, FACT, "shelf "),
        (project, FACT, ""),
    ] {
        let found = accepted(store.find_documents(project, kind, name, &texts(&["dog", "red"]), 9).await);
        let nothing = FoundDocuments { frequencies: vec![0, 0], ..FoundDocuments::default() };
        assert_eq!(found, nothing, "nothing of another project, kind or name is found or counted");
    }
}

pub(super) async fn finds_a_document_by_its_latest_terms(store: &dyn Store) {
    let project = ProjectId::fresh(&fresh(13));
    let put = async |row| accepted(store.put_indexed(vec![row], None, Vec::new()).await);
    put(indexed(project, SHELF, "a", 1, &["red", "dog"])).await;
    put(indexed(project, SHELF, "a", 2, &["dog", "cat"])).await;
    let sentence = "the terms of a version replace those of the one before";
    assert_eq!(
        find(store, project, SHELF, &["red", "dog", "cat"]).await.frequencies,
        [0, 1, 1],
        "{sentence}"
    );
    assert_eq!(
        find(store, project, SHELF, &["cat"]).await.found[0].version,
        2,
        "the latest version is found"
    );
    let plain = Document { version: 3, ..indexed(project, SHELF, "a", 1, &[]).document };
    accepted(store.put(vec![plain], None).await);
    let found = find(store, project, SHELF, &["cat"]).await;
    assert_eq!(found.found[0].version, 3, "a version that says nothing of terms leaves them as they are");
    put(indexed(project, "other", "a", 4, &["cat"])).await;
    assert_eq!(ids(&find(store, project, SHELF, &["cat"]).await), [""; 0], "a document has one name");
    assert_eq!(ids(&find(store, project, "other", &["cat"]).await), ["a"], "a document has one name");
    put(indexed(project, "other", "a", 5, &[])).await;
    let found = find(store, project, "other", &["cat"]).await;
    assert_eq!(
        (ids(&found), found.documents),
        (vec![], 1),
        "a document without terms is counted and not found"
    );
    put(indexed(project, "other", "a", 6, &["cat"])).await;
    let deletion = indexed(project, "other", "a", 7, &["cat"]);
    let deletion = Indexed { document: Document { deleted: true, ..deletion.document }, ..deletion };
    put(deletion).await;
    let found = find(store, project, "other", &["cat"]).await;
    assert_eq!(
        (ids(&found), found.documents),
        (vec![], 0),
        "a deleted document is neither found nor counted"
    );
}

pub(super) async fn indexes_what_an_append_brings(store: &dyn Store) {
    let fresh = fresh(15);
    let key = SessionKey { project: ProjectId::fresh(&fresh), session: SessionId::fresh(&fresh) };
    let row = |id, version, terms: &[&str]| indexed(key.project, SHELF, id, version, terms);
    let append = |expected, rows| Append { indexed: rows, ..append(&fresh, key, expected, &["x"]) };
    accepted(store.append(append(0, vec![row("a", 1, &["dog"]), row("b", 1, &["cat"])])).await);
    let sentence = "what an append brings is found by its terms";
    assert_eq!(ids(&find(store, key.project, SHELF, &["dog"]).await), ["a"], "{sentence}");
    accepted(store.append(append(1, vec![row("a", 2, &["cow"])])).await);
    let found = find(store, key.project, SHELF, &["dog", "cow", "cat"]).await;
    assert_eq!(found.frequencies, [0, 1, 1], "{sentence}");
    let sentence = "an append that meets another version of a document writes and indexes nothing";
    let stale = append(2, vec![row("c", 1, &["hen"]), row("b", 1, &["hen"])]);
    let kind = refused(store.append(stale).await, sentence);
    assert_eq!(kind, StoreErrorKind::Conflict { actual: Version(1) }, "{sentence}");
    assert_eq!(find(store, key.project, SHELF, &["hen"]).await.frequencies, [0], "{sentence}");
    assert_eq!(accepted(store.events(key, Version::ZERO, 9).await).len(), 2, "{sentence}");
}

pub(super) async fn indexes_all_or_nothing(store: &dyn Store) {
    let project = ProjectId::fresh(&fresh(14));
    let first = indexed(project, SHELF, "a", 1, &["dog"]);
    let kept = Some(receipt(project, "k"));
    accepted(store.put_indexed(vec![first.clone()], kept.clone(), Vec::new()).await);
    let sentence = "a write that is refused indexes nothing";
    let stale = vec![indexed(project, SHELF, "b", 1, &["cat"]), indexed(project, SHELF, "a", 1, &["cat"])];
    let kind = refused(store.put_indexed(stale, None, Vec::new()).await, sentence);
    assert_eq!(kind, StoreErrorKind::Conflict { actual: Version(1) }, "{sentence}");
    let again = vec![indexed(project, SHELF, "c", 1, &["cat"])];
    let kind = refused(store.put_indexed(again, kept, Vec::new()).await, sentence);
    assert_eq!(kind, StoreErrorKind::ReceiptExists, "{sentence}");
    let found = find(store, project, SHELF, &["cat", "dog"]).await;
    assert_eq!((ids(&found), &found.frequencies[..]), (vec!["a"], &[0, 1][..]), "{sentence}");
}

//! What is erased leaves no row and no byte, and nothing else goes with it.

use tenure_journal::{
    EnvironmentId, ItemId, MEMORY_USER_KEY, MemorySpace, ProjectId, SessionId, SessionKey, TurnId,
    TurnStatus, Version,
};

use super::build::{accepted, append, bytes, document, fresh, key, message, page, receipt, row, turn};
use super::episodes::{found, said, space, wanted};
use crate::{BudgetChange, BudgetEntry, Document, DocumentKind, Erasing, Needle, Place, Store, Whose};

/// A session of a user that says `word` in every place there is.
async fn furnish(
    store: &dyn Store,
    key: SessionKey,
    user: Option<&str>,
    word: &str,
    seed: u64,
) -> MemorySpace {
    let fresh = fresh(seed);
    let space = MemorySpace { user: user.map(str::to_owned), ..space(&fresh, key) };
    let (item, turn_id) = (ItemId::fresh(&fresh), TurnId::fresh(&fresh));
    let mut append = append(&fresh, key, 0, &[word, "second"]);
    append.head.metadata.extend(user.map(|user| (MEMORY_USER_KEY.to_owned(), user.to_owned())));
    append.items = vec![row(0, message(item, turn_id, word))];
    append.turns = vec![turn(turn_id, append.head.agent_id, TurnStatus::Completed)];
    append.snapshot = Some(bytes(&format!("folded {word}")));
    let mut receipt = receipt(key.project, &format!("k of {}", key.session));
    receipt.body = format!("{} {word}", key.session);
    append.receipt = Some(receipt);
    let session = key.session.to_string();
    let made = |kind, id: &str, name: Option<String>, body: &str| Document {
        name,
        body: serde_json::json!({ "about": body, "word": word }),
        ..document(key.project, kind, id, 1)
    };
    append.documents = vec![
        made(DocumentKind::Delivery, &format!("evt {session}"), None, &session),
        made(DocumentKind::Automation, &format!("auto {session}"), Some(session.clone()), ""),
        made(DocumentKind::Invocation, &format!("inv {session}"), Some(format!("auto {session}")), ""),
        made(DocumentKind::Environment, &EnvironmentId::of_session(key.session).to_string(), None, ""),
    ];
    append.budget = vec![BudgetEntry { root: key.session, change: BudgetChange::Limit(Some(9)) }];
    append.episodes = vec![said(&fresh, &space, key, 0, &format!("{word} end"))];
    accepted(store.append(append).await);
    space
}

/// A small session that comes from another.
async fn after(store: &dyn Store, key: SessionKey, parent: Option<SessionId>, fork_of: Option<SessionId>) {
    let fresh = fresh(77);
    let mut append = append(&fresh, key, 0, &["x"]);
    append.head.parent = parent;
    append.documents.extend(fork_of.map(|from| Document {
        name: Some(from.to_string()),
        ..document(key.project, DocumentKind::Fork, &key.session.to_string(), 1)
    }));
    accepted(store.append(append).await);
}

pub(super) async fn finds_what_is_whose(store: &dyn Store) {
    let fresh = fresh(1);
    let project = ProjectId::fresh(&fresh);
    let mut ids: Vec<SessionId> = (0..9).map(|_| SessionId::fresh(&fresh)).collect();
    ids.sort_unstable();
    let key = |at: usize| SessionKey { project, session: ids[at] };
    furnish(store, key(0), Some("ada"), "one", 10).await;
    furnish(store, key(1), Some("bob"), "two", 11).await;
    after(store, key(2), Some(ids[0]), None).await;
    after(store, key(3), None, Some(ids[2])).await;
    // What was ada's and goes on as nobody's.
    let was_hers = furnish(store, key(4), Some("ada"), "three", 12).await;
    accepted(store.append(append(&fresh, key(4), 2, &["no metadata"])).await);
    furnish(store, key(5), None, "four", 13).await;
    let mut deleted = append(&fresh, key(6), 0, &["x"]);
    deleted.head.metadata.insert(MEMORY_USER_KEY.to_owned(), "ada".to_owned());
    deleted.head.deleted = true;
    accepted(store.append(deleted).await);
    let stranger = SessionKey { project: ProjectId::fresh(&fresh), session: ids[7] };
    furnish(store, stranger, Some("ada"), "five", 14).await;
    let of = async |whose: Whose| accepted(store.sessions_of(project, &whose).await);
    let user = |name: &str| Whose::User(name.to_owned());
    let hers = [ids[0], ids[2], ids[3], ids[4], ids[6]];
    assert_eq!(of(user("ada")).await, hers, "a user's sessions, what they were, and what comes of them");
    assert_eq!(of(user("bob")).await, [ids[1]], "other users have their own");
    assert_eq!(of(user("ad")).await, [], "a part of a name is another name");
    assert_eq!(of(Whose::Session(ids[2])).await, [ids[2], ids[3]], "a session and what comes of it");
    assert_eq!(of(Whose::Session(ids[8])).await, [], "what does not exist is nobody's");
    assert_eq!(was_hers.user.as_deref(), Some("ada"));
}

pub(super) async fn erases_every_row_of_a_session(store: &dyn Store) {
    let fresh = fresh(2);
    let (gone, kept) = (key(&fresh), key(&fresh));
    let kept = SessionKey { project: gone.project, ..kept };
    let space = furnish(store, gone, Some("ada"), "canaryone", 20).await;
    let others = furnish(store, kept, Some("bob"), "canarytwo", 21).await;
    let needles = |word: &str| Needle::of(word).into_iter().collect::<Vec<_>>();
    let place = Place::Session(gone.session);
    assert!(!accepted(store.search(&needles("canaryone")).await).is_empty(), "what is there is found");

    let counted = accepted(store.erase(gone.project, &place, Erasing::Count).await);
    assert!(accepted(store.head(gone).await).is_some(), "what is only counted stays");
    let removed = accepted(store.erase(gone.project, &place, Erasing::Remove).await);
    assert_eq!(counted, removed, "what is counted is what is removed");
    for (what, rows) in [
        ("sessions", 1),
        ("events", 2),
        ("snapshots", 1),
        ("items", 1),
        ("turns", 1),
        ("episodes", 1),
        ("budgets", 1),
        ("receipts", 1),
        ("documents.delivery", 1),
        ("documents.automation", 1),
        ("documents.invocation", 1),
        ("documents.environment", 1),
    ] {
        assert_eq!(removed.of(what), rows, "rows of {what} are counted");
    }
    assert_eq!(removed.iter().count(), 12, "nothing else goes: {removed:?}");

    assert!(accepted(store.load(gone).await).is_none(), "an erased session has no journal");
    assert!(accepted(store.head(gone).await).is_none(), "nor a row");
    assert!(accepted(store.events(gone, Version::ZERO, 9).await).is_empty());
    assert!(accepted(store.items(gone, None, &page(9)).await).is_empty());
    assert!(accepted(store.turns(gone, &page(9)).await).is_empty());
    assert_eq!(accepted(store.budget(gone.project, gone.session).await).limit_nano_usd, None);
    let candidates = accepted(store.candidates(&space, &wanted(&["canaryone", "end"], 9)).await);
    assert_eq!((candidates.episodes, candidates.stretches.len()), (0, 0), "nothing of it is remembered");
    let late = store.append(append(&fresh, gone, 2, &["late"])).await;
    assert!(late.is_err(), "who still works in it appends nothing");

    accepted(store.scrub().await);
    let left = accepted(store.search(&needles("canaryone")).await);
    assert!(left.is_empty(), "no byte of it is left: {left:?}");
    let left = accepted(store.search(&needles(&gone.session.to_string())).await);
    assert!(left.is_empty(), "nor of its id: {left:?}");

    let again = accepted(store.erase(gone.project, &place, Erasing::Remove).await);
    assert!(again.is_empty(), "erasing again removes nothing");
    assert!(!accepted(store.search(&needles("canarytwo")).await).is_empty(), "others stay");
    assert_eq!(accepted(store.events(kept, Version::ZERO, 9).await).len(), 2, "others stay");
    assert_eq!(accepted(store.items(kept, None, &page(9)).await).len(), 1, "others stay");
    let told = found(store, &others, &wanted(&["canarytwo"], 0)).await;
    assert_eq!(told, [["canarytwo end"]], "others stay");
    let of_other = format!("auto {}", kept.session);
    let automation = store.document(kept.project, DocumentKind::Automation, &of_other, None).await;
    assert!(accepted(automation).is_some(), "others stay");
    // A new one may begin where it was.
    accepted(store.append(append(&fresh, gone, 0, &["new"])).await);
}

pub(super) async fn erases_nothing_of_other_projects(store: &dyn Store) {
    let fresh = fresh(3);
    let own = key(&fresh);
    let other = SessionKey { project: ProjectId::fresh(&fresh), ..own };
    furnish(store, own, Some("ada"), "one", 30).await;
    furnish(store, other, Some("ada"), "one", 30).await;
    let removed = accepted(store.erase(own.project, &Place::Session(own.session), Erasing::Remove).await);
    assert_eq!(removed.of("sessions"), 1);
    assert_eq!(accepted(store.events(other, Version::ZERO, 9).await).len(), 2, "the same id elsewhere stays");
    let counted = accepted(store.erase(other.project, &Place::Session(own.session), Erasing::Count).await);
    assert_eq!(counted, removed, "with everything that was there");
}

pub(super) async fn erases_a_document_with_its_past(store: &dyn Store) {
    let project = ProjectId::fresh(&fresh(4));
    for (id, version) in [("a", 1), ("a", 2), ("b", 1)] {
        let file = document(project, DocumentKind::File, id, version);
        let mut receipt = receipt(project, &format!("POST {id} {version}"));
        receipt.body = format!("file-{id}");
        accepted(store.put(vec![file], Some(receipt)).await);
    }
    let place = Place::Document(DocumentKind::File, "a".to_owned());
    let removed = accepted(store.erase(project, &place, Erasing::Remove).await);
    assert_eq!(removed.of("documents.file"), 2, "every version goes");
    for version in [None, Some(1), Some(2)] {
        let left = accepted(store.document(project, DocumentKind::File, "a", version).await);
        assert_eq!(left, None, "no version is left");
    }
    assert!(accepted(store.document(project, DocumentKind::File, "b", None).await).is_some());
    accepted(store.put(vec![document(project, DocumentKind::File, "a", 1)], None).await);
}

pub(super) async fn erases_an_automation_with_what_it_has_not_delivered(store: &dyn Store) {
    let fresh = fresh(5);
    let (project, session) = (ProjectId::fresh(&fresh), SessionId::fresh(&fresh));
    let automation = |id: &str, version| Document {
        body: serde_json::json!({"metadata": {"user_id": format!("of {id} {version}")}}),
        ..document(project, DocumentKind::Automation, id, version)
    };
    let invocation = |id: &str, of: &str, session: Option<SessionId>| Document {
        name: Some(of.to_owned()),
        body: serde_json::json!({"automation_id": of, "session_id": session}),
        ..document(project, DocumentKind::Invocation, id, 1)
    };
    let deleted = Document { deleted: true, ..automation("b", 3) };
    for document in [automation("a", 1), automation("a", 2), automation("b", 1), automation("b", 2), deleted]
    {
        accepted(store.put(vec![document], None).await);
    }
    let invocations = [("1", "a", None), ("2", "a", Some(session)), ("3", "b", None)]
        .map(|(id, of, to)| invocation(id, of, to));
    accepted(store.put(invocations.to_vec(), None).await);
    let telling = async |of: ProjectId, text: &str| {
        accepted(store.documents_telling(of, DocumentKind::Automation, text).await)
    };
    assert_eq!(telling(project, "\"user_id\":\"of a 1\"").await, ["a"], "an earlier version tells");
    assert_eq!(telling(project, "\"user_id\":\"of b 2\"").await, ["b"], "so does one that is deleted");
    let mut both = telling(project, "\"user_id\":\"of ").await;
    both.sort_unstable();
    assert_eq!(both, ["a", "b"], "each once");
    assert!(telling(project, "of c").await.is_empty());
    assert!(telling(ProjectId::fresh(&fresh), "of a").await.is_empty(), "other projects have their own");

    let place = Place::Document(DocumentKind::Automation, "a".to_owned());
    let counted = accepted(store.erase(project, &place, Erasing::Count).await);
    let removed = accepted(store.erase(project, &place, Erasing::Remove).await);
    let rows = ["documents.automation", "documents.invocation"].map(|what| removed.of(what));
    assert_eq!((&counted, rows), (&removed, [2, 1]), "what reached a session belongs to that");
    for (id, is_left) in [("1", false), ("2", true), ("3", true)] {
        let found = accepted(store.document(project, DocumentKind::Invocation, id, None).await);
        assert_eq!(found.is_some(), is_left, "invocation {id}");
    }
}

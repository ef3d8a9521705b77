//! Everything of one project is invisible to another.

use tenure_journal::{
    AgentId, ItemId, MemorySpace, NodeId, ProjectId, SessionKey, Timestamp, TurnId, TurnStatus, Version,
};

use super::build::{
    NOW, accepted, append, bytes, document, fresh, key, message, page, page_after, receipt, refused, row,
    turn,
};
use super::episodes::{found, said, wanted};
use crate::{Append, DocumentKind, Order, SessionFilter, Store, StoreErrorKind};

pub(super) async fn hides_everything_of_other_projects(store: &dyn Store) {
    let fresh = fresh(1);
    let owner = key(&fresh);
    let stranger = SessionKey { project: ProjectId::fresh(&fresh), ..owner };
    let (item_id, turn_id) = (ItemId::fresh(&fresh), TurnId::fresh(&fresh));

    let mut first = append(&fresh, owner, 0, &["a"]);
    first.head.wake_at = Some(NOW);
    first.items = vec![row(0, message(item_id, turn_id, "a"))];
    first.turns = vec![turn(turn_id, first.head.agent_id, TurnStatus::Completed)];
    first.snapshot = Some(bytes("folded"));
    first.receipt = Some(receipt(owner.project, "k"));
    accepted(store.append(first).await);
    accepted(store.put(vec![document(owner.project, DocumentKind::Agent, "a", 1)], None).await);
    let blob = accepted(store.put_blob(owner.project, bytes("payload")).await);

    // The stranger knows every id.
    assert!(accepted(store.load(stranger).await).is_none(), "load sees its own project only");
    assert!(accepted(store.head(stranger).await).is_none(), "head sees its own project only");
    let events = accepted(store.events(stranger, Version::ZERO, 9).await);
    assert!(events.is_empty(), "events sees its own project only");
    let listed = store.sessions(stranger.project, &SessionFilter::default(), &page(9)).await;
    assert!(accepted(listed).is_empty(), "sessions sees its own project only");
    assert!(accepted(store.items(stranger, None, &page(9)).await).is_empty(), "items sees its own project");
    let sentence = "an item of another project is no cursor";
    let cursor = page_after(&item_id, 9, Order::Ascending);
    let kind = refused(store.items(stranger, None, &cursor).await, sentence);
    assert_eq!(kind, StoreErrorKind::UnknownCursor, "{sentence}");
    assert!(accepted(store.turns(stranger, &page(9)).await).is_empty(), "turns sees its own project only");
    assert!(accepted(store.turn(stranger, turn_id).await).is_none(), "turn sees its own project only");
    for version in [None, Some(1)] {
        let found = accepted(store.document(stranger.project, DocumentKind::Agent, "a", version).await);
        assert_eq!(found, None, "document sees its own project only");
    }
    for name in [None, Some("name of a")] {
        let found = store.documents(stranger.project, DocumentKind::Agent, name, &page(9)).await;
        assert!(accepted(found).is_empty(), "documents sees its own project only");
    }
    assert_eq!(accepted(store.blob(stranger.project, blob).await), None, "blob sees its own project only");
    let found = accepted(store.blob_by_digest(stranger.project, *blob.digest()).await);
    assert_eq!(found, None, "blob_by_digest sees its own project only");
    assert_eq!(accepted(store.receipt(stranger.project, "k").await), None, "receipt sees its own project");

    // The same ids in the other project are other things.
    let mut same = append(&fresh, stranger, 0, &["b"]);
    same.items = vec![row(0, message(item_id, turn_id, "b"))];
    same.turns = vec![turn(turn_id, same.head.agent_id, TurnStatus::Queued)];
    same.receipt = Some(receipt(stranger.project, "k"));
    accepted(store.append(same).await);
    accepted(store.put(vec![document(stranger.project, DocumentKind::Agent, "a", 1)], None).await);
    let kept = accepted(store.load(owner).await).expect("the owner's session loads");
    assert_eq!(kept.snapshot.map(|snapshot| snapshot.version), Some(Version(1)), "nothing was replaced");
    let items = accepted(store.items(owner, None, &page(9)).await);
    assert_eq!(items, [message(item_id, turn_id, "a")], "nothing was replaced");
    let kept = accepted(store.turn(owner, turn_id).await).map(|turn| turn.status);
    assert_eq!(kept, Some(TurnStatus::Completed), "nothing was replaced");
    let due =
        accepted(store.claim_due(NodeId::fresh(&fresh), Timestamp::from_millis(i64::MAX), 9, &[]).await);
    assert_eq!(due, [owner], "only what is due is found in all projects");
}

/// Whoever is in another space sees nothing of this one, neither by what is found nor by what is counted.
pub(super) async fn hides_the_memory_of_other_spaces(store: &dyn Store) {
    let fresh = fresh(1);
    let key = key(&fresh);
    let agent = AgentId::fresh(&fresh);
    let user = |name: &str| Some(name.to_owned());
    let own = MemorySpace { project: key.project, agent, user: user("ada") };
    let others = [
        MemorySpace { user: None, ..own.clone() },
        MemorySpace { user: user("bob"), ..own.clone() },
        MemorySpace { user: user("ada "), ..own.clone() },
        MemorySpace { user: user(""), ..own.clone() },
        MemorySpace { agent: AgentId::fresh(&fresh), ..own.clone() },
        MemorySpace { project: ProjectId::fresh(&fresh), ..own.clone() },
    ];
    // One session may pass from one user to another: neighbours do not come along.
    let rows = vec![
        said(&fresh, &own, key, 0, "secret word"),
        said(&fresh, &others[1], key, 1, "bob word"),
        said(&fresh, &own, key, 2, "secret end"),
    ];
    accepted(store.append(Append { episodes: rows, ..append(&fresh, key, 0, &["x"]) }).await);
    let asked = wanted(&["secret", "word"], 9);
    assert_eq!(found(store, &own, &asked).await, [["secret word", "secret end"]], "a space sees its own");
    for (place, other) in others.iter().enumerate() {
        let candidates = accepted(store.candidates(other, &asked).await);
        let texts: Vec<&str> =
            candidates.stretches.iter().flatten().map(|(_, one)| one.text.as_str()).collect();
        let (expected, counts) = if place == 1 { (vec!["bob word"], [0, 1]) } else { (vec![], [0, 0]) };
        assert_eq!(texts, expected, "{other:?} sees nothing of another space");
        assert_eq!(candidates.frequencies, counts, "{other:?} counts nothing of another space");
        assert_eq!(candidates.episodes, expected.len() as u64, "{other:?} counts nothing of another space");
    }
}

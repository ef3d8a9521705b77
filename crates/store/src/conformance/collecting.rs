//! Collecting: what is old, what is forgotten, and what a rewinding removes.

use futures_util::future::join_all;
use tenure_journal::{BlobRef, ItemId, ProjectId, SessionId, SessionKey, TurnId, TurnStatus};

use super::build::{accepted, append, bytes, fresh, key, message, page, row, turn};
use crate::{GoneRows, Stamp, Store};

const NEVER: Stamp = Stamp(0);
const EVER: Stamp = Stamp(u64::MAX);
/// Times the clock is looked at until it has moved. One of a store in memory never does.
const LOOKS_MAX: usize = 20_000;

pub(super) async fn forgets_only_what_is_old(store: &dyn Store) {
    let fresh = fresh(1);
    let (project, other) = (ProjectId::fresh(&fresh), ProjectId::fresh(&fresh));
    let [a, b] = [bytes("a"), bytes("b")].map(|payload| BlobRef::of(&payload));
    for (owner, payload) in [(project, "a"), (project, "b"), (other, "a")] {
        accepted(store.put_blob(owner, bytes(payload)).await);
    }
    let mut all = vec![(project, a), (project, b), (other, a)];
    all.sort_unstable();
    assert_eq!(accepted(store.old_blobs(EVER, None, 9).await), all, "what was kept before is old");
    assert_eq!(accepted(store.old_blobs(EVER, Some(all[0]), 1).await), all[1..2], "pages go on after");
    assert!(accepted(store.old_blobs(NEVER, None, 9).await).is_empty(), "what was kept since is not old");

    let none = accepted(store.forget_blobs(project, &[a, b], NEVER).await);
    assert!(none.is_empty(), "what was kept since is not forgotten");
    assert_eq!(accepted(store.blob(project, a).await), Some(bytes("a")));
    let absent = BlobRef::of(b"absent");
    let gone = accepted(store.forget_blobs(project, &[a, absent], EVER).await);
    assert_eq!(gone, [a], "what is old is forgotten, and what is not there is not named");
    assert_eq!(accepted(store.blob(project, a).await), None, "what is forgotten is absent");
    assert_eq!(accepted(store.blob_by_digest(project, *a.digest()).await), None);
    assert_eq!(accepted(store.blob(project, b).await), Some(bytes("b")), "nothing else is forgotten");
    assert_eq!(accepted(store.blob(other, a).await), Some(bytes("a")), "each project has its own");
    accepted(store.put_blob(project, bytes("a")).await);
    assert_eq!(accepted(store.blob(project, a).await), Some(bytes("a")), "it can be kept again");
}

pub(super) async fn stamps_what_is_kept_again(store: &dyn Store) {
    let project = ProjectId::fresh(&fresh(2));
    let blob = accepted(store.put_blob(project, bytes("a")).await);
    let first = accepted(store.stamp().await);
    let mut later = first;
    for _ in 0..LOOKS_MAX {
        later = accepted(store.stamp().await);
        if later > first {
            break;
        }
    }
    if later > first {
        let old = accepted(store.old_blobs(later, None, 9).await);
        assert_eq!(old, [(project, blob)], "a stamp is of the moment it was kept at");
    }
    accepted(store.put_blob(project, bytes("a")).await);
    assert!(accepted(store.old_blobs(later, None, 9).await).is_empty(), "keeping it again stamps it again");
    let none = accepted(store.forget_blobs(project, &[blob], later).await);
    assert!(none.is_empty(), "what was kept again since is not forgotten");
    assert_eq!(accepted(store.blob(project, blob).await), Some(bytes("a")));
}

/// Whoever is told that a payload is kept finds it, however many collect meanwhile.
pub(super) async fn keeps_what_it_says_is_kept(store: &dyn Store) {
    let project = ProjectId::fresh(&fresh(3));
    for round in 0..8 {
        let payload = bytes(&format!("payload {}", round % 2));
        let blob = BlobRef::of(&payload);
        accepted(store.put_blob(project, payload.clone()).await);
        accepted(store.forget_blobs(project, &[blob], EVER).await);
        let before = accepted(store.stamp().await);
        let puts = (0..4).map(|_| store.put_blob(project, payload.clone()));
        let sweeps = (0..4).map(|_| store.forget_blobs(project, std::slice::from_ref(&blob), before));
        let (kept, swept) = futures_util::join!(join_all(puts), join_all(sweeps));
        kept.into_iter().for_each(|kept| _ = accepted(kept));
        swept.into_iter().for_each(|swept| _ = accepted(swept));
        assert_eq!(accepted(store.blob(project, blob).await), Some(payload), "what was kept since is there");
    }
}

pub(super) async fn names_every_session(store: &dyn Store) {
    let fresh = fresh(4);
    let (one, two) = (ProjectId::fresh(&fresh), ProjectId::fresh(&fresh));
    let mut keys = Vec::new();
    for project in [two, one, two] {
        let key = SessionKey { project, session: SessionId::fresh(&fresh) };
        let mut opened = append(&fresh, key, 0, &["x"]);
        opened.head.deleted = keys.is_empty();
        opened.head.parent = (keys.len() == 1).then(|| SessionId::fresh(&fresh));
        accepted(store.append(opened).await);
        keys.push(key);
    }
    keys.sort_unstable();
    assert_eq!(accepted(store.every_session(None, 9).await), keys, "every session is named, in order");
    assert_eq!(accepted(store.every_session(Some(keys[0]), 1).await), keys[1..2], "pages go on after");
    assert!(accepted(store.every_session(Some(keys[2]), 9).await).is_empty());
}

pub(super) async fn removes_rows_that_are_gone(store: &dyn Store) {
    let fresh = fresh(5);
    let (key, other) = (key(&fresh), key(&fresh));
    let turns: Vec<TurnId> = (0..3).map(|_| TurnId::fresh(&fresh)).collect();
    let items: Vec<ItemId> = (0..5).map(|_| ItemId::fresh(&fresh)).collect();
    for key in [key, other] {
        let mut opened = append(&fresh, key, 0, &["x"]);
        let said =
            (0..4).map(|place| row(place, message(items[place as usize], turns[place as usize / 2], "a")));
        opened.items = said.collect();
        opened.turns =
            turns.iter().map(|id| turn(*id, opened.head.agent_id, TurnStatus::Completed)).collect();
        accepted(store.append(opened).await);
    }
    let mut back = append(&fresh, key, 1, &["y"]);
    back.gone = GoneRows { items_from: Some(1), turns: turns[1..].to_vec() };
    // The place and the id of what is gone can be used again, within the same append.
    back.items = vec![row(1, message(items[4], turns[0], "b")), row(2, message(items[2], turns[0], "c"))];
    back.turns = vec![turn(turns[2], back.head.agent_id, TurnStatus::Failed)];
    accepted(store.append(back).await);
    let listed = accepted(store.items(key, None, &page(9)).await);
    let expected = [
        message(items[0], turns[0], "a"),
        message(items[4], turns[0], "b"),
        message(items[2], turns[0], "c"),
    ];
    assert_eq!(listed, expected, "items from a place on are gone, and others are in their places");
    let found: Vec<_> = accepted(store.turns(key, &page(9)).await).iter().map(|turn| turn.id).collect();
    assert_eq!(found, [turns[0], turns[2]], "turns that are named are gone");
    assert_eq!(accepted(store.turn(key, turns[1]).await), None);
    assert_eq!(accepted(store.items(other, None, &page(9)).await).len(), 4, "other sessions keep theirs");
    assert_eq!(accepted(store.turns(other, &page(9)).await).len(), 3, "other sessions keep theirs");
}

//! Projections: sessions, what is due, items and turns.

use std::collections::BTreeMap;

use tenure_journal::{
    AgentId, Fresh, Head, ItemId, ItemStatus, NodeId, ProjectId, SessionId, SessionKey, SessionStatus,
    Timestamp, TurnId, TurnStatus, Usage,
};

use super::build::{
    NOW, accepted, append, fresh, head, hidden, key, message, page, page_after, refused, row, turn,
};
use crate::{Append, ItemRow, Order, Page, SessionFilter, Store, StoreErrorKind};

const UP: Order = Order::Ascending;
const DOWN: Order = Order::Descending;

pub(super) async fn replaces_the_head(store: &dyn Store) {
    let fresh = fresh(1);
    let key = key(&fresh);
    let mut full = Head {
        status: SessionStatus::RequiresAction,
        agent_name: None,
        metadata: pairs(&[("a", "1"), ("ü", "\"\\")]),
        last_active_at: NOW.plus_millis(5),
        wake_at: Some(Timestamp::from_millis(-1)),
        ..head(key, AgentId::fresh(&fresh))
    };
    open(store, &fresh, full.clone()).await;
    assert_eq!(accepted(store.head(key).await), Some(full.clone()), "a head is read as it was written");
    full.wake_at = None;
    full.status = SessionStatus::Failed;
    full.agent_name = Some("other".into());
    full.metadata.clear();
    full.parent = Some(key.session);
    accepted(store.append(Append { head: full.clone(), ..append(&fresh, key, 1, &["x"]) }).await);
    assert_eq!(accepted(store.head(key).await), Some(full.clone()), "an append replaces the head");
    let listed = accepted(store.sessions(key.project, &SessionFilter::default(), &page(9)).await);
    assert!(listed.is_empty(), "one that has become somebody's is not listed");
    full.parent = None;
    accepted(store.append(Append { head: full.clone(), ..append(&fresh, key, 2, &["x"]) }).await);
    let listed = accepted(store.sessions(key.project, &SessionFilter::default(), &page(9)).await);
    assert_eq!(listed, [full.clone()], "one that has become nobody's is");
    full.deleted = true;
    accepted(store.append(Append { head: full.clone(), ..append(&fresh, key, 3, &["x"]) }).await);
    assert_eq!(accepted(store.head(key).await), Some(full), "a deleted session's head can be read");
    assert!(accepted(store.load(key).await).is_some(), "a deleted session can be loaded");
    let listed = accepted(store.sessions(key.project, &SessionFilter::default(), &page(9)).await);
    assert!(listed.is_empty(), "a deleted session is not listed");
}

pub(super) async fn pages_sessions(store: &dyn Store) {
    let fresh = fresh(2);
    let agent = AgentId::fresh(&fresh);
    let (project, keys) = keys(&fresh, 5);
    for key in keys.iter().rev() {
        open(store, &fresh, head(*key, agent)).await;
    }
    let deleted = SessionKey { project, session: SessionId::fresh(&fresh) };
    open(store, &fresh, Head { deleted: true, ..head(deleted, agent) }).await;
    let child = SessionKey { session: SessionId::fresh(&fresh), ..deleted };
    let hidden = Head { parent: Some(keys[0].session), ..head(child, agent) };
    open(store, &fresh, hidden.clone()).await;
    assert_eq!(accepted(store.head(child).await), Some(hidden), "a subagent's head names its parent");
    let between = SessionId::fresh(&fresh);
    let id = |index: usize| keys[index].session;
    for (page, expected) in [
        (page(9), &[0, 1, 2, 3, 4][..]),
        (page(2), &[0, 1]),
        (page(0), &[]),
        (page_after(&id(1), 2, UP), &[2, 3]),
        (page_after(&id(4), 2, UP), &[]),
        (page_after(&between, 9, UP), &[]),
        (Page { order: DOWN, ..page(2) }, &[4, 3]),
        (page_after(&id(3), 2, DOWN), &[2, 1]),
        (page_after(&id(0), 2, DOWN), &[]),
        (page_after(&between, 2, DOWN), &[4, 3]),
    ] {
        let found = listed(store, project, &SessionFilter::default(), &page).await;
        let expected: Vec<_> = expected.iter().map(|index| id(*index)).collect();
        assert_eq!(found, expected, "sessions of {page:?}, ordered by id");
    }
    let turn = TurnId::fresh(&fresh);
    for wrong in ["", "sess_", "x' or 1=1 --", &turn.to_string(), &id(0).to_string().to_uppercase()] {
        let result = store.sessions(project, &SessionFilter::default(), &page_after(&wrong, 9, UP)).await;
        let sentence = "a cursor that is no session id is unknown";
        assert_eq!(refused(result, sentence), StoreErrorKind::UnknownCursor, "{sentence}: `{wrong}`");
    }
}

pub(super) async fn filters_sessions(store: &dyn Store) {
    let fresh = fresh(3);
    let agents = [AgentId::fresh(&fresh), AgentId::fresh(&fresh)];
    let (project, keys) = keys(&fresh, 5);
    let idle = SessionStatus::Idle;
    let running = SessionStatus::InProgress;
    type Row = (usize, SessionStatus, &'static [(&'static str, &'static str)]);
    let rows: [Row; 5] = [
        (0, idle, &[]),
        (0, running, &[("team", "a"), ("tier", "1")]),
        (1, idle, &[("team", "a")]),
        (1, running, &[("team", "b"), ("tier", "1")]),
        (0, idle, &[("a\"b", "100%_'\\"), ("team", "A")]),
    ];
    for (key, (agent, status, metadata)) in keys.iter().zip(rows) {
        let head = Head { status, metadata: pairs(metadata), ..head(*key, agents[agent]) };
        open(store, &fresh, head).await;
    }
    let all = SessionFilter::default();
    let with = |metadata: &[(&str, &str)]| SessionFilter { metadata: pairs(metadata), ..all.clone() };
    let of = |agent: usize| SessionFilter { agent_id: Some(agents[agent]), ..all.clone() };
    let unknown = SessionFilter { agent_id: Some(AgentId::fresh(&fresh)), ..all.clone() };
    for (filter, page, expected) in [
        (of(0), page(9), &[0, 1, 4][..]),
        (of(0), page(2), &[0, 1]),
        (of(0), page_after(&keys[1].session, 2, UP), &[4]),
        (of(0), page_after(&keys[4].session, 1, DOWN), &[1]),
        (unknown, page(9), &[]),
        (SessionFilter { status: Some(running), ..all.clone() }, page(9), &[1, 3]),
        (SessionFilter { status: Some(running), ..of(1) }, page(9), &[3]),
        (SessionFilter { status: Some(SessionStatus::Failed), ..all.clone() }, page(9), &[]),
        (with(&[("team", "a")]), page(9), &[1, 2]),
        (with(&[("team", "a")]), page(1), &[1]),
        (with(&[("team", "a"), ("tier", "1")]), page(9), &[1]),
        (with(&[("tier", "1")]), Page { order: DOWN, ..page(9) }, &[3, 1]),
        (with(&[("tier", "")]), page(9), &[]),
        (with(&[("a\"b", "100%_'\\")]), page(9), &[4]),
        (with(&[("a\"b", "100xx'\\")]), page(9), &[]),
        (SessionFilter { metadata: pairs(&[("team", "a")]), ..of(1) }, page(9), &[2]),
    ] {
        let expected: Vec<_> = expected.iter().map(|index: &usize| keys[*index].session).collect();
        let found = listed(store, project, &filter, &page).await;
        assert_eq!(found, expected, "sessions that match {filter:?}, {page:?}");
    }
}

pub(super) async fn finds_due_sessions_earliest_first(store: &dyn Store) {
    let fresh = fresh(4);
    let agent = AgentId::fresh(&fresh);
    let mut woken = Vec::new();
    for wake_at in [Some(30), None, Some(0), Some(10), Some(20), Some(40)] {
        let key = key(&fresh);
        let wake_at = wake_at.map(Timestamp::from_millis);
        open(store, &fresh, Head { wake_at, ..head(key, agent) }).await;
        woken.push(key);
    }
    let due = async |now, limit| {
        // A node without a lease keeps nobody else from claiming the same.
        let node = NodeId::fresh(&fresh);
        let due = accepted(store.claim_due(node, Timestamp::from_millis(now), limit, &[]).await);
        let places: Vec<_> = due
            .iter()
            .map(|key| woken.iter().position(|woken| woken == key).expect("one of these"))
            .collect();
        places
    };
    for (now, limit, expected) in [
        (-1, 9, &[][..]),
        (0, 9, &[2]),
        (9, 9, &[2]),
        (10, 9, &[2, 3]),
        (30, 9, &[2, 3, 4, 0]),
        (30, 3, &[2, 3, 4]),
        (i64::MAX, 9, &[2, 3, 4, 0, 5]),
        (i64::MAX, 0, &[]),
    ] {
        assert_eq!(due(now, limit).await, expected, "due at {now}, at most {limit}, earliest first");
    }
    let idle = Append { head: head(woken[2], agent), ..append(&fresh, woken[2], 1, &["x"]) };
    accepted(store.append(idle).await);
    let later = Head { wake_at: Some(Timestamp::from_millis(35)), ..head(woken[3], agent) };
    accepted(store.append(Append { head: later, ..append(&fresh, woken[3], 1, &["x"]) }).await);
    assert_eq!(due(39, 9).await, [4, 0, 3], "the latest head says when a session is due");
}

pub(super) async fn pages_items_by_ordinal(store: &dyn Store) {
    let fresh = fresh(5);
    let key = key(&fresh);
    let turn_id = TurnId::fresh(&fresh);
    let mut ids: Vec<_> = (0..5).map(|_| ItemId::fresh(&fresh)).collect();
    ids.reverse();
    let items: Vec<_> = ids.iter().map(|id| message(*id, turn_id, &id.to_string())).collect();
    let rows: Vec<_> = (0..5).map(|index| row(index as u64, items[index].clone())).collect();
    let at_once = Append { items: rows[..3].to_vec(), ..append(&fresh, key, 0, &["x"]) };
    accepted(store.append(at_once).await);
    accepted(store.append(Append { items: rows[3..].to_vec(), ..append(&fresh, key, 1, &["x"]) }).await);
    for (page, expected) in [
        (page(9), &[0, 1, 2, 3, 4][..]),
        (page(2), &[0, 1]),
        (page(0), &[]),
        (page_after(&ids[1], 2, UP), &[2, 3]),
        (page_after(&ids[4], 2, UP), &[]),
        (Page { order: DOWN, ..page(2) }, &[4, 3]),
        (page_after(&ids[3], 9, DOWN), &[2, 1, 0]),
        (page_after(&ids[0], 9, DOWN), &[]),
    ] {
        let found = accepted(store.items(key, None, &page).await);
        let expected: Vec<_> = expected.iter().map(|index: &usize| items[*index].clone()).collect();
        assert_eq!(found, expected, "items of {page:?}, by ordinal and not by id");
    }
    let other = SessionKey { session: SessionId::fresh(&fresh), ..key };
    let sentence = "a cursor that names no item of the session is unknown";
    let never = ItemId::fresh(&fresh).to_string();
    for (session, wrong) in
        [(key, ""), (key, "item_"), (key, &never), (key, &turn_id.to_string()), (other, &ids[0].to_string())]
    {
        let result = store.items(session, None, &page_after(&wrong, 9, UP)).await;
        assert_eq!(refused(result, sentence), StoreErrorKind::UnknownCursor, "{sentence}: `{wrong}`");
    }
    assert!(accepted(store.items(other, None, &page(9)).await).is_empty(), "no session, no items");
}

pub(super) async fn keeps_an_items_place(store: &dyn Store) {
    let fresh = fresh(6);
    let key = key(&fresh);
    let turn_id = TurnId::fresh(&fresh);
    let ids = [ItemId::fresh(&fresh), ItemId::fresh(&fresh)];
    let rows = [row(0, message(ids[0], turn_id, "a")), row(1, message(ids[1], turn_id, "b"))];
    accepted(store.append(Append { items: rows.to_vec(), ..append(&fresh, key, 0, &["x"]) }).await);

    let mut changed = message(ids[0], turn_id, "changed");
    changed.status = ItemStatus::Incomplete;
    let rows = vec![row(0, changed.clone())];
    accepted(store.append(Append { items: rows, ..append(&fresh, key, 1, &["x"]) }).await);
    let expected = [changed, message(ids[1], turn_id, "b")];
    let found = accepted(store.items(key, None, &page(9)).await);
    assert_eq!(found, expected, "a changed item is replaced and keeps its place");
}

pub(super) async fn hides_items_that_are_not_public(store: &dyn Store) {
    let fresh = fresh(7);
    let key = key(&fresh);
    let turn_id = TurnId::fresh(&fresh);
    let ids: Vec<_> = (0..4).map(|_| ItemId::fresh(&fresh)).collect();
    let rows: Vec<ItemRow> = vec![
        row(0, message(ids[0], turn_id, "a")),
        row(1, hidden(ids[1], turn_id)),
        row(2, hidden(ids[2], turn_id)),
        row(3, message(ids[3], turn_id, "b")),
    ];
    accepted(store.append(Append { items: rows, ..append(&fresh, key, 0, &["x"]) }).await);
    for turn in [None, Some(turn_id)] {
        let sentence = "only public items are listed, and only they count for the limit";
        for (page, expected) in [
            (page(9), &[0, 3][..]),
            (page(2), &[0, 3]),
            (page(1), &[0]),
            (Page { order: DOWN, ..page(2) }, &[3, 0]),
            (page_after(&ids[0], 1, UP), &[3]),
        ] {
            let found = accepted(store.items(key, turn, &page).await);
            let found: Vec<_> = found.into_iter().map(|item| item.id).collect();
            let expected: Vec<_> = expected.iter().map(|index: &usize| ids[*index]).collect();
            assert_eq!(found, expected, "{sentence}: {page:?}");
        }
    }
}

pub(super) async fn lists_items_of_a_turn(store: &dyn Store) {
    let fresh = fresh(8);
    let key = key(&fresh);
    let turns = [TurnId::fresh(&fresh), TurnId::fresh(&fresh), TurnId::fresh(&fresh)];
    let ids: Vec<_> = (0..5).map(|_| ItemId::fresh(&fresh)).collect();
    let rows: Vec<_> = [0, 1, 0, 1, 0]
        .iter()
        .enumerate()
        .map(|(index, turn)| row(index as u64, message(ids[index], turns[*turn], "x")))
        .collect();
    accepted(store.append(Append { items: rows, ..append(&fresh, key, 0, &["x"]) }).await);
    for (turn, page, expected) in [
        (0, page(9), &[0, 2, 4][..]),
        (1, page(9), &[1, 3]),
        (2, page(9), &[]),
        (0, page(2), &[0, 2]),
        (0, page_after(&ids[0], 9, UP), &[2, 4]),
        (0, page_after(&ids[1], 9, UP), &[2, 4]),
        (0, Page { order: DOWN, ..page(2) }, &[4, 2]),
        (0, page_after(&ids[3], 9, DOWN), &[2, 0]),
    ] {
        let found = accepted(store.items(key, Some(turns[turn]), &page).await);
        let found: Vec<_> = found.into_iter().map(|item| item.id).collect();
        let expected: Vec<_> = expected.iter().map(|index: &usize| ids[*index]).collect();
        assert_eq!(found, expected, "items of turn {turn}, {page:?}; any item of the session is a cursor");
    }
}

pub(super) async fn pages_turns(store: &dyn Store) {
    let fresh = fresh(9);
    let key = key(&fresh);
    let agent = AgentId::fresh(&fresh);
    let mut turns: Vec<_> = (0..4).map(|_| turn(TurnId::fresh(&fresh), agent, TurnStatus::Queued)).collect();
    let rows: Vec<_> = turns.iter().rev().cloned().collect();
    accepted(store.append(Append { turns: rows, ..append(&fresh, key, 0, &["x"]) }).await);
    turns[1].status = TurnStatus::Completed;
    turns[1].started_at = Some(NOW);
    turns[1].usage = Some(Usage { input_tokens: 7, ..Usage::default() });
    let rows = vec![turns[1].clone()];
    accepted(store.append(Append { turns: rows, ..append(&fresh, key, 1, &["x"]) }).await);

    let found = accepted(store.turn(key, turns[1].id).await);
    assert_eq!(found, Some(turns[1].clone()), "a changed turn is replaced");
    let never = TurnId::fresh(&fresh);
    assert_eq!(accepted(store.turn(key, never).await), None, "a turn that never was is absent");
    for (page, expected) in [
        (page(9), &[0, 1, 2, 3][..]),
        (page(2), &[0, 1]),
        (page_after(&turns[1].id, 9, UP), &[2, 3]),
        (page_after(&never, 9, UP), &[]),
        (Page { order: DOWN, ..page(3) }, &[3, 2, 1]),
        (page_after(&turns[1].id, 9, DOWN), &[0]),
        (page_after(&never, 1, DOWN), &[3]),
    ] {
        let found = accepted(store.turns(key, &page).await);
        let expected: Vec<_> = expected.iter().map(|index: &usize| turns[*index].clone()).collect();
        assert_eq!(found, expected, "turns of {page:?}, ordered by id");
    }
    for wrong in ["", "turn_", "x", &key.session.to_string()] {
        let sentence = "a cursor that is no turn id is unknown";
        let result = store.turns(key, &page_after(&wrong, 9, UP)).await;
        assert_eq!(refused(result, sentence), StoreErrorKind::UnknownCursor, "{sentence}: `{wrong}`");
    }
}

async fn open(store: &dyn Store, fresh: &Fresh, head: Head) {
    accepted(store.append(Append { head: head.clone(), ..append(fresh, head.key, 0, &["opened"]) }).await);
}

async fn listed(
    store: &dyn Store,
    project: ProjectId,
    filter: &SessionFilter,
    page: &Page,
) -> Vec<SessionId> {
    let heads = accepted(store.sessions(project, filter, page).await);
    heads.into_iter().map(|head| head.key.session).collect()
}

fn keys(fresh: &Fresh, count: usize) -> (ProjectId, Vec<SessionKey>) {
    let project = ProjectId::fresh(fresh);
    (project, (0..count).map(|_| SessionKey { project, session: SessionId::fresh(fresh) }).collect())
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

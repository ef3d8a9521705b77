//! Journals: versions, receipts, snapshots, and writers that race.

use futures_util::future::join_all;
use serde_json::json;
use tenure_journal::{
    Effect, EffectId, EffectKind, Event, ItemId, PermitRecord, ProjectId, Repeat, ServerRef, SessionId,
    SessionKey, TurnId, Version,
};

use super::build::{
    NOW, accepted, append, bytes, fresh, key, message, receipt, refused, row, text_of, texts,
};
use crate::{Snapshot, Store, StoreErrorKind};

pub(super) async fn opens_and_extends_contiguously(store: &dyn Store) {
    let fresh = fresh(1);
    let key = key(&fresh);
    assert!(accepted(store.load(key).await).is_none(), "a session that was never opened does not load");
    assert!(accepted(store.head(key).await).is_none(), "a session that was never opened has no head");
    assert!(texts(store, key, 0, 10).await.is_empty(), "a session that was never opened has no events");

    let opened = accepted(store.append(append(&fresh, key, 0, &["a", "b"])).await);
    assert_eq!(opened, Version(2), "an append returns the new version");
    let extended = accepted(store.append(append(&fresh, key, 2, &["c"])).await);
    assert_eq!(extended, Version(3), "an append returns the new version");
    assert_eq!(texts(store, key, 0, 10).await, ["a", "b", "c"], "events are read in the order appended");

    let stored = accepted(store.load(key).await).expect("an opened session loads");
    assert_eq!(stored.snapshot, None, "without a snapshot, load has none");
    let found: Vec<_> = stored.tail.iter().map(|r| (r.version.0, r.at, text_of(&r.event))).collect();
    let at = NOW.plus_millis(2);
    let expected = [(1, NOW, "a".into()), (2, NOW, "b".into()), (3, at, "c".into())];
    assert_eq!(found, expected, "load gives every event with its version and time");
}

pub(super) async fn reads_events_in_pages(store: &dyn Store) {
    let fresh = fresh(2);
    let key = key(&fresh);
    accepted(store.append(append(&fresh, key, 0, &["a", "b", "c", "d", "e"])).await);
    for (after, limit, expected) in [
        (0, 2, &["a", "b"][..]),
        (2, 2, &["c", "d"]),
        (4, 2, &["e"]),
        (5, 2, &[]),
        (9, 2, &[]),
        (0, 0, &[]),
        (1, usize::MAX, &["b", "c", "d", "e"]),
    ] {
        assert_eq!(texts(store, key, after, limit).await, expected, "events after {after}, at most {limit}");
    }
}

pub(super) async fn refuses_stale_versions(store: &dyn Store) {
    let fresh = fresh(3);
    let key = key(&fresh);
    let sentence = "an append at another version than the journal's is a conflict";
    let early = store.append(append(&fresh, key, 1, &["x"])).await;
    assert_eq!(refused(early, sentence), StoreErrorKind::Conflict { actual: Version::ZERO });
    assert!(accepted(store.head(key).await).is_none(), "a conflict writes nothing");

    accepted(store.append(append(&fresh, key, 0, &["a", "b"])).await);
    let head = accepted(store.head(key).await);
    for expected in [0, 1, 3, u64::from(u32::MAX)] {
        let turn_id = TurnId::fresh(&fresh);
        let mut stale = append(&fresh, key, expected, &["x"]);
        stale.items.push(row(0, message(ItemId::fresh(&fresh), turn_id, "x")));
        stale.snapshot = Some(bytes("x"));
        stale.receipt = Some(receipt(key.project, "stale"));
        let kind = refused(store.append(stale).await, sentence);
        assert_eq!(kind, StoreErrorKind::Conflict { actual: Version(2) }, "{sentence}");
    }
    let stored = accepted(store.load(key).await).expect("an opened session loads");
    assert_eq!((stored.snapshot, stored.tail.len()), (None, 2), "a conflict writes nothing");
    assert_eq!(accepted(store.head(key).await), head, "a conflict writes no head");
    assert_eq!(accepted(store.receipt(key.project, "stale").await), None, "a conflict writes no receipt");
    let items = accepted(store.items(key, None, &super::build::page(9)).await);
    assert!(items.is_empty(), "a conflict writes no items");
    assert_eq!(accepted(store.append(append(&fresh, key, 2, &["c"])).await), Version(3));
}

pub(super) async fn keeps_receipts_with_the_append(store: &dyn Store) {
    let fresh = fresh(4);
    let key = key(&fresh);
    assert_eq!(accepted(store.receipt(key.project, "k").await), None, "an unused key has no receipt");
    let mut first = append(&fresh, key, 0, &["a"]);
    first.receipt = Some(receipt(key.project, "k"));
    accepted(store.append(first).await);
    let kept = accepted(store.receipt(key.project, "k").await);
    assert_eq!(kept, Some(receipt(key.project, "k")), "a receipt is read as it was written");

    let other = SessionKey { session: SessionId::fresh(&fresh), ..key };
    let sentence = "an append whose receipt's key is taken in the project is refused";
    for (session, expected) in [(key, 1), (key, 0), (other, 0)] {
        let mut again = append(&fresh, session, expected, &["b"]);
        again.receipt = Some(receipt(key.project, "k"));
        let kind = refused(store.append(again).await, sentence);
        assert_eq!(kind, StoreErrorKind::ReceiptExists, "{sentence}, whatever the version");
    }
    assert_eq!(texts(store, key, 0, 10).await, ["a"], "a taken key writes nothing");
    assert!(accepted(store.head(other).await).is_none(), "a taken key opens no session");

    let mut elsewhere = append(&fresh, super::build::key(&fresh), 0, &["a"]);
    elsewhere.receipt = Some(receipt(elsewhere.head.key.project, "k"));
    accepted(store.append(elsewhere).await);
}

pub(super) async fn loads_snapshot_and_tail(store: &dyn Store) {
    let fresh = fresh(5);
    let key = key(&fresh);
    let tail = async |sentence: &str| {
        let stored = accepted(store.load(key).await).expect(sentence);
        let texts: Vec<_> = stored.tail.iter().map(|recorded| text_of(&recorded.event)).collect();
        (stored.snapshot, texts)
    };
    let mut first = append(&fresh, key, 0, &["a", "b"]);
    first.snapshot = Some(bytes("folded to b"));
    accepted(store.append(first).await);
    let folded = Snapshot { version: Version(2), bytes: bytes("folded to b") };
    assert_eq!(tail("loads").await, (Some(folded.clone()), vec![]), "a snapshot is as of its own append");

    accepted(store.append(append(&fresh, key, 2, &["c"])).await);
    accepted(store.append(append(&fresh, key, 3, &["d"])).await);
    let expected = (Some(folded), vec!["c".into(), "d".into()]);
    assert_eq!(tail("loads").await, expected, "load gives the snapshot and every event after it");

    let mut last = append(&fresh, key, 4, &["e"]);
    last.snapshot = Some(bytes("\0\u{1}"));
    accepted(store.append(last).await);
    accepted(store.append(append(&fresh, key, 5, &["f"])).await);
    let folded = Snapshot { version: Version(5), bytes: bytes("\0\u{1}") };
    assert_eq!(tail("loads").await, (Some(folded), vec!["f".into()]), "a snapshot replaces the last one");
    assert_eq!(texts(store, key, 0, 10).await, ["a", "b", "c", "d", "e", "f"], "the journal stays whole");
}

pub(super) async fn keeps_what_events_hold(store: &dyn Store) {
    let fresh = fresh(6);
    let key = key(&fresh);
    let turn_id = TurnId::fresh(&fresh);
    let effect = Effect {
        id: EffectId::fresh(&fresh),
        turn_id: Some(turn_id),
        kind: EffectKind::ToolCall {
            item_id: ItemId::fresh(&fresh),
            server: ServerRef::Mcp { server_label: "bank".into() },
            name: "refund".into(),
            arguments: json!({"cents": 9_007_199_254_740_991_i64, "note": "naïve 🦀", "tags": [null, 1.5]}),
        },
        repeat: Repeat::Never,
        permit: PermitRecord {
            policies: vec!["p\"1\\".into()],
            policy_digest: "b3:0".into(),
            arguments_digest: "b3:1".into(),
            approval: None,
            grant: None,
            asked: Vec::new(),
        },
    };
    let large = "x".repeat(300_000);
    let mut append = append(&fresh, key, 0, &[&large, "", "é\u{0}\n\u{2028}"]);
    append.events.push(Event::EffectRequested { effect });
    append.events.push(Event::SessionDeleted);
    let events = append.events.clone();
    accepted(store.append(append).await);
    let found: Vec<_> = accepted(store.events(key, Version::ZERO, 10).await);
    let found: Vec<_> = found.into_iter().map(|recorded| recorded.event).collect();
    assert_eq!(found, events, "an event is read as it was written");
}

pub(super) async fn lets_one_of_many_writers_win(store: &dyn Store) {
    const WRITERS: usize = 8;
    const ROUNDS: usize = 5;
    let fresh = fresh(7);
    let key = key(&fresh);
    for round in 0..ROUNDS {
        let names: Vec<_> = (0..WRITERS).map(|writer| format!("{round}/{writer}")).collect();
        let appends = names.iter().map(|name| append(&fresh, key, round as u64, &[name]));
        let results = join_all(appends.map(|append| store.append(append))).await;
        let mut won = Vec::new();
        for (result, name) in results.into_iter().zip(&names) {
            match result {
                Ok(version) => {
                    assert_eq!(version, Version(round as u64 + 1), "the winner is told the new version");
                    won.push(name.clone());
                }
                Err(error) => {
                    let actual = Version(round as u64 + 1);
                    assert_eq!(error.kind(), StoreErrorKind::Conflict { actual }, "losers get a conflict");
                }
            }
        }
        assert_eq!(won.len(), 1, "of many appends at one version exactly one wins: {won:?}");
        assert_eq!(texts(store, key, round as u64, 10).await, won, "the journal holds the winner's event");
    }
}

pub(super) async fn serves_many_sessions_at_once(store: &dyn Store) {
    const SESSIONS: usize = 64;
    const APPENDS: u64 = 5;
    let fresh = fresh(8);
    let project = ProjectId::fresh(&fresh);
    let keys: Vec<_> =
        (0..SESSIONS).map(|_| SessionKey { project, session: SessionId::fresh(&fresh) }).collect();
    let fresh = &fresh;
    join_all(keys.iter().map(|key| async move {
        for expected in 0..APPENDS {
            let mut append = append(fresh, *key, expected, &[&expected.to_string()]);
            append.receipt = Some(receipt(project, &format!("{}/{expected}", key.session)));
            let version = accepted(store.append(append).await);
            assert_eq!(version, Version(expected + 1), "sessions do not disturb each other");
        }
    }))
    .await;
    for key in keys {
        let texts = texts(store, key, 0, 10).await;
        assert_eq!(texts, ["0", "1", "2", "3", "4"], "each session holds its own events");
    }
}

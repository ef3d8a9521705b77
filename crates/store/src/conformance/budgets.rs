//! Budgets: reserved before they are spent, never exceeded, changed with the events or not at all.

use futures_util::future::join_all;
use tenure_journal::{SessionId, SessionKey};

use super::build::{accepted, append, document, fresh, key, refused, texts};
use crate::{Append, Budget, BudgetChange, BudgetEntry, DocumentKind, Store, StoreErrorKind};

fn entry(root: SessionKey, change: BudgetChange) -> BudgetEntry {
    BudgetEntry { root: root.session, change }
}

fn reserve(key: &str, nano_usd: u64) -> BudgetChange {
    BudgetChange::Reserve { key: key.into(), nano_usd }
}

fn settle(key: &str, nano_usd: u64) -> BudgetChange {
    BudgetChange::Settle { key: key.into(), nano_usd }
}

pub(super) async fn reserves_before_it_spends(store: &dyn Store) {
    let fresh = fresh(1);
    let root = key(&fresh);
    let budget = async || {
        let Budget { limit_nano_usd, spent_nano_usd, reserved_nano_usd } =
            accepted(store.budget(root.project, root.session).await);
        (limit_nano_usd, spent_nano_usd, reserved_nano_usd)
    };
    assert_eq!(budget().await, (None, 0, 0), "a budget that was never touched is empty and without limit");
    let mut version = 0;
    for (changes, expected) in [
        (vec![settle("a", 5)], Ok((None, 5, 0))),
        (vec![reserve("b", 1000), settle("b", 10)], Ok((None, 15, 0))),
        (vec![BudgetChange::Limit(Some(100))], Ok((Some(100), 15, 0))),
        (vec![reserve("c", 85)], Ok((Some(100), 15, 85))),
        (vec![reserve("d", 1)], Err((Some(100), 15, 85))),
        (vec![reserve("c", 80), reserve("d", 5)], Ok((Some(100), 15, 85))),
        (vec![settle("c", 20), reserve("e", 61)], Err((Some(100), 15, 85))),
        (vec![settle("c", 20), reserve("e", 60)], Ok((Some(100), 35, 65))),
        (vec![settle("e", 90)], Ok((Some(100), 125, 5))),
        (vec![reserve("f", 0)], Err((Some(100), 125, 5))),
        (vec![settle("f", 0), settle("d", 0)], Ok((Some(100), 125, 0))),
        (vec![BudgetChange::Limit(None), reserve("g", 1 << 50)], Ok((None, 125, 1 << 50))),
    ] {
        let entries = changes.iter().map(|change| entry(root, change.clone())).collect();
        let append = Append { budget: entries, ..append(&fresh, root, version, &["x"]) };
        let result = store.append(append).await;
        let after = match expected {
            Ok(after) => {
                version += 1;
                assert_eq!(accepted(result).0, version, "{changes:?}");
                after
            }
            Err(after) => {
                let kind = refused(result, "a reservation that does not fit is refused");
                assert_eq!(kind, StoreErrorKind::BudgetExceeded, "{changes:?}");
                after
            }
        };
        assert_eq!(budget().await, after, "after {changes:?}: limit, spent, reserved");
        let events = texts(store, root, 0, 99).await.len() as u64;
        assert_eq!(events, version, "a refused reservation writes no event");
    }
}

pub(super) async fn is_never_exceeded_by_a_tree(store: &dyn Store) {
    let fresh = fresh(2);
    let root = key(&fresh);
    let limit = entry(root, BudgetChange::Limit(Some(5)));
    accepted(store.append(Append { budget: vec![limit], ..append(&fresh, root, 0, &["x"]) }).await);
    let children: Vec<_> =
        (0..16).map(|_| SessionKey { session: SessionId::fresh(&fresh), ..root }).collect();
    let appends = children.iter().map(|child| {
        let reserved = entry(root, reserve(&child.session.to_string(), 1));
        store.append(Append { budget: vec![reserved], ..append(&fresh, *child, 0, &["x"]) })
    });
    let results = join_all(appends).await;
    let refused = results.iter().filter_map(|result| result.as_ref().err());
    assert!(
        refused.clone().all(|error| error.kind() == StoreErrorKind::BudgetExceeded),
        "only for the budget"
    );
    assert_eq!(refused.count(), 11, "as many reservations as fit are accepted, and no more");
    let budget = accepted(store.budget(root.project, root.session).await);
    assert_eq!((budget.spent_nano_usd, budget.reserved_nano_usd), (0, 5), "all of it is reserved");
    let other = key_of_other_project(&fresh, root);
    assert_eq!(
        accepted(store.budget(other.project, other.session).await),
        Budget::default(),
        "a budget belongs to its project"
    );
}

fn key_of_other_project(fresh: &tenure_journal::Fresh, root: SessionKey) -> SessionKey {
    SessionKey { session: root.session, ..key(fresh) }
}

pub(super) async fn writes_documents_with_the_events(store: &dyn Store) {
    let fresh = fresh(3);
    let key = key(&fresh);
    let sent = |version| document(key.project, DocumentKind::Delivery, "d", version);
    let mut first = append(&fresh, key, 0, &["a"]);
    first.documents = vec![sent(1), document(key.project, DocumentKind::Delivery, "e", 1)];
    accepted(store.append(first).await);
    let found = accepted(store.document(key.project, DocumentKind::Delivery, "d", None).await);
    assert_eq!(found, Some(sent(1)), "a document is written with the append");
    let sentence = "a document at a version that is written already refuses the append";
    let stale = Append { documents: vec![sent(1)], ..append(&fresh, key, 1, &["b"]) };
    let kind = refused(store.append(stale).await, sentence);
    assert!(matches!(kind, StoreErrorKind::Conflict { .. }), "{sentence}");
    assert_eq!(texts(store, key, 0, 9).await, ["a"], "{sentence}, events included");
    let conflict = Append { documents: vec![sent(2)], ..append(&fresh, key, 5, &["b"]) };
    refused(store.append(conflict).await, "a stale append");
    let found = accepted(store.document(key.project, DocumentKind::Delivery, "d", None).await);
    assert_eq!(found, Some(sent(1)), "a conflict writes no document");
}

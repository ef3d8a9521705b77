//! Nodes: who holds which session, leases, and what a holder and a guest may append.

use std::time::Duration;

use tenure_journal::{AgentId, Fresh, Head, NodeId, SessionKey, Timestamp, Version};

use super::build::{accepted, append, fresh, head, key, refused};
use crate::{Append, Store, StoreErrorKind};

/// A lease that outlives every case.
const LONG: Duration = Duration::from_secs(60 * 60);
const ALWAYS: Timestamp = Timestamp::from_millis(i64::MAX);

/// An append that leaves the session with something to do, or with nothing.
fn work(fresh: &Fresh, key: SessionKey, expected: u64, holder: Option<NodeId>, busy: bool) -> Append {
    let head = Head { wake_at: busy.then_some(Timestamp::EPOCH), ..head(key, AgentId::fresh(fresh)) };
    Append { head, holder, ..append(fresh, key, expected, &["x"]) }
}

async fn due(store: &dyn Store, node: NodeId) -> Vec<SessionKey> {
    accepted(store.claim_due(node, ALWAYS, 99, &[]).await)
}

pub(super) async fn fences_all_but_the_holder(store: &dyn Store) {
    let fresh = fresh(1);
    let (key, ours, theirs) = (key(&fresh), NodeId::fresh(&fresh), NodeId::fresh(&fresh));
    accepted(store.heartbeat(ours, LONG).await);
    accepted(store.append(work(&fresh, key, 0, Some(ours), true)).await);
    assert_eq!(accepted(store.held(ours).await), [(key, Version(1))], "who appends as holder holds");
    let sentence = "an append in the name of another node than the holder is refused";
    let kind = refused(store.append(work(&fresh, key, 1, Some(theirs), true)).await, sentence);
    assert_eq!(kind, StoreErrorKind::Held, "{sentence}");
    let stale = store.append(work(&fresh, key, 0, Some(theirs), true)).await;
    let conflict = StoreErrorKind::Conflict { actual: Version(1) };
    assert_eq!(refused(stale, "stale"), conflict, "a stale version is a conflict, whoever holds the session");
    accepted(store.append(work(&fresh, key, 1, None, true)).await);
    assert_eq!(accepted(store.held(ours).await), [(key, Version(2))], "a guest leaves the holder in place");
    accepted(store.append(work(&fresh, key, 2, None, false)).await);
    assert!(accepted(store.held(ours).await).is_empty(), "a session with nothing to do is held by nobody");
    accepted(store.append(work(&fresh, key, 3, None, true)).await);
    assert!(accepted(store.held(ours).await).is_empty(), "a guest takes hold of nothing");
    accepted(store.append(work(&fresh, key, 4, Some(theirs), true)).await);
    assert_eq!(accepted(store.held(theirs).await), [(key, Version(5))], "a free session is anyone's");
}

pub(super) async fn claims_what_no_living_node_holds(store: &dyn Store) {
    let fresh = fresh(2);
    let [living, dead, other] = std::array::from_fn(|_| NodeId::fresh(&fresh));
    let [a, b, c, idle] = std::array::from_fn(|_| key(&fresh));
    accepted(store.heartbeat(living, LONG).await);
    accepted(store.heartbeat(dead, Duration::ZERO).await);
    accepted(store.heartbeat(other, LONG).await);
    assert_eq!(accepted(store.nodes().await), 2, "nodes whose lease has run out do not count");
    for (key, holder) in [(a, Some(living)), (b, Some(dead)), (c, None)] {
        accepted(store.append(work(&fresh, key, 0, holder, true)).await);
    }
    accepted(store.append(work(&fresh, idle, 0, Some(living), false)).await);

    assert_eq!(accepted(store.claim(other, a).await), Some(living), "a living node keeps what it holds");
    assert_eq!(accepted(store.claim(living, a).await), Some(living), "claiming again changes nothing");
    assert_eq!(accepted(store.claim(other, key(&fresh)).await), None, "no session, no holder");
    assert_eq!(accepted(store.claim_due(other, ALWAYS, 0, &[]).await), [], "at most so many");
    assert_eq!(due(store, other).await, [b, c], "what is due and held by no living node is claimed");
    assert_eq!(due(store, other).await, [], "what a node holds already is not claimed again");
    assert_eq!(due(store, living).await, [], "what another living node holds is not claimed");
    let mut held = accepted(store.held(other).await);
    held.sort();
    assert_eq!(held, [(b, Version(1)), (c, Version(1))], "a claim is a hold");
    let kind = refused(store.append(work(&fresh, b, 1, Some(dead), true)).await, "the former holder");
    assert_eq!(kind, StoreErrorKind::Held, "who lost a session cannot append as its holder");
    assert_eq!(accepted(store.claim(dead, b).await), Some(other), "nor claim it back");
    accepted(store.append(work(&fresh, b, 1, Some(other), true)).await);
}

pub(super) async fn frees_what_a_retired_node_held(store: &dyn Store) {
    let fresh = fresh(3);
    let [leaving, next] = std::array::from_fn(|_| NodeId::fresh(&fresh));
    let [a, b] = std::array::from_fn(|_| key(&fresh));
    accepted(store.heartbeat(leaving, LONG).await);
    accepted(store.heartbeat(next, LONG).await);
    for key in [a, b] {
        accepted(store.append(work(&fresh, key, 0, Some(leaving), true)).await);
    }
    accepted(store.retire(leaving).await);
    assert_eq!(accepted(store.nodes().await), 1, "a retired node has no lease");
    assert_eq!(accepted(store.held(leaving).await), [], "a retired node holds nothing");
    accepted(store.append(work(&fresh, a, 1, Some(next), true)).await);
    assert_eq!(due(store, next).await, [b], "its sessions are free at once");
    accepted(store.retire(leaving).await);
    assert_eq!(accepted(store.held(next).await).len(), 2, "retiring again changes nothing");
}

pub(super) async fn leaves_to_others_what_a_node_cannot_do(store: &dyn Store) {
    let fresh = fresh(4);
    let [older, newer] = std::array::from_fn(|_| NodeId::fresh(&fresh));
    let [a, b, c] = std::array::from_fn(|_| key(&fresh));
    for node in [older, newer] {
        accepted(store.heartbeat(node, LONG).await);
    }
    for key in [a, b, c] {
        accepted(store.append(work(&fresh, key, 0, Some(older), true)).await);
    }
    let stranger = SessionKey { project: key(&fresh).project, ..a };
    accepted(store.release(newer, a).await);
    accepted(store.release(older, stranger).await);
    assert_eq!(accepted(store.held(older).await).len(), 3, "only the holder lets go, and of what it names");
    accepted(store.release(older, a).await);
    accepted(store.release(older, b).await);
    accepted(store.release(older, b).await);
    assert_eq!(accepted(store.held(older).await), [(c, Version(1))], "what was let go is not held");
    let claimed = accepted(store.claim_due(older, ALWAYS, 1, &[a, stranger]).await);
    assert_eq!(claimed, [b], "what a node excepts neither comes to it nor takes the place of others");
    assert_eq!(due(store, newer).await, [a], "another node finds it due as it was, at once");
    accepted(store.append(work(&fresh, a, 1, Some(newer), true)).await);
    let kind = refused(store.append(work(&fresh, a, 2, Some(older), true)).await, "who let go");
    assert_eq!(kind, StoreErrorKind::Held, "who let go is fenced as anyone");
}

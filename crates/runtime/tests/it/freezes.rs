//! Freezes on a running server and on several: nothing begins once one is acknowledged, and everything goes on.

use std::sync::Arc;
use std::time::Duration;

use tenure_journal::{Decision, ProjectId, SessionKey};
use tenure_runtime::{FreezeTarget, Limits, Places, Runtime};
use tenure_session::{Command, RequiredAction, SessionNotice};
use tenure_store::MemoryStore;

use crate::support::crowd::Crowd;
use crate::support::{Shop, opening, start, start_within, until, wait};

fn project() -> ProjectId {
    opening("").opened.project_id
}

async fn freeze(runtime: &Runtime, target: FreezeTarget) {
    runtime.freeze(project(), target, None, "key_1".into(), Vec::new()).await.expect("frozen");
}

async fn unfreeze(runtime: &Runtime) {
    for freeze in runtime.frozen(project()).await.expect("readable") {
        assert!(runtime.unfreeze(project(), &freeze.id, Vec::new()).await.expect("works"));
    }
}

/// Answers the one approval that the session waits for.
async fn approve(runtime: &Runtime, key: SessionKey) {
    let waiting = runtime.view(key).await.expect("readable").expect("there");
    let [RequiredAction::Approval(approval)] = waiting.required_actions.as_slice() else {
        panic!("one approval, not {:?}", waiting.required_actions)
    };
    let decide = Command::Decide {
        approval_id: approval.id,
        decision: Decision::Approve,
        by: tenure_journal::Party::service("key_1", &["approvers"]),
    };
    runtime.submit(key, vec![decide], None).await.expect("accepted");
}

#[tokio::test]
async fn an_approved_call_of_a_frozen_tool_waits_and_is_made_once() {
    let shop = Arc::new(Shop::default());
    let runtime = start(Arc::new(MemoryStore::unshared()), Arc::clone(&shop)).await;
    let (view, stream) = runtime.open(opening("refund o1"), None, true).await.expect("opens");
    let mut stream = stream.expect("subscribed");
    until(&mut stream, SessionNotice::RequiresAction).await;
    freeze(&runtime, FreezeTarget::Tool { name: "shop/refund".into() }).await;
    approve(&runtime, view.key).await;
    assert!(shop.keys.lock().expect("no panics").is_empty());
    assert_eq!(runtime.active_sessions(), 1, "it waits for the end of the freeze");
    unfreeze(&runtime).await;
    until(&mut stream, SessionNotice::Idle).await;
    assert_eq!(shop.keys.lock().expect("no panics").len(), 1);
}

#[tokio::test]
async fn a_freeze_through_one_node_holds_at_every_other() {
    let (store, shop) = (Arc::new(MemoryStore::new()), Arc::new(Shop::default()));
    let a = start(Arc::clone(&store), Arc::clone(&shop)).await;
    let b = start(Arc::clone(&store), Arc::clone(&shop)).await;
    let (view, stream) = a.open(opening("refund o1"), None, true).await.expect("opens");
    let mut stream = stream.expect("subscribed");
    until(&mut stream, SessionNotice::RequiresAction).await;
    // What each believes is a moment old when the freeze comes.
    for node in [&a, &b] {
        assert!(!node.is_project_frozen(project()).await.expect("readable"));
    }
    freeze(&b, FreezeTarget::Agent { id: view.agent.id }).await;
    approve(&a, view.key).await;
    for node in [&a, &b] {
        node.shutdown(Duration::ZERO).await;
    }
    assert!(shop.keys.lock().expect("no panics").is_empty(), "nothing began");

    let c = start(store, Arc::clone(&shop)).await;
    let mut stream = c.subscribe(view.key).await.expect("there");
    unfreeze(&c).await;
    until(&mut stream, SessionNotice::Idle).await;
    assert_eq!(shop.keys.lock().expect("no panics").len(), 1, "what waited is made by whoever is there");
}

#[tokio::test]
async fn what_waits_for_its_place_is_looked_at_once_more() {
    let crowd = Arc::new(Crowd::default());
    let limits = Limits { model_calls: Places::shared(1), ..Limits::default() };
    let store = Arc::new(MemoryStore::unshared());
    let runtime = start_within(store, Arc::default(), Arc::clone(&crowd) as _, limits).await;
    let (_, first) = runtime.open(opening("one"), None, true).await.expect("opens");
    wait::until("the first is at the model", || crowd.counts().waiting == 1).await;
    let (_, second) = runtime.open(opening("two"), None, true).await.expect("opens");
    wait::until("the second waits for its place", || runtime.load().model_calls_waiting.read() == 1).await;
    freeze(&runtime, FreezeTarget::Project).await;
    crowd.answers.add_permits(2);
    until(&mut first.expect("subscribed"), SessionNotice::Idle).await;
    wait::until("the second has its place", || runtime.load().model_calls_waiting.read() == 0).await;
    assert_eq!(crowd.counts().answered, 1, "it was begun before the freeze and went on");
    unfreeze(&runtime).await;
    until(&mut second.expect("subscribed"), SessionNotice::Idle).await;
    assert_eq!(crowd.counts().answered, 2);
}

#[tokio::test]
async fn a_frozen_session_does_not_hold_up_the_end_of_the_server() {
    let runtime = start(Arc::new(MemoryStore::unshared()), Arc::default()).await;
    freeze(&runtime, FreezeTarget::Project).await;
    runtime.open(opening("hi"), None, false).await.expect("a session is opened and waits");
    // The deadline of the test: a session that held the server up would take all of it.
    runtime.shutdown(Duration::from_secs(3_600)).await;
    assert_eq!(runtime.active_sessions(), 0);
}

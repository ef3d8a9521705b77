//! Several nodes on one store: any node takes any command and serves any stream, one of them works, and
//! what a dead one left is taken over.

use std::sync::Arc;
use std::time::Duration;

use tenure_journal::{Decision, InputPart, SessionStatus};
use tenure_runtime::{Limits, Places, Runtime, Subscription, SubscriptionItem};
use tenure_session::{Command, RequiredAction, SessionNotice, StreamEvent, TurnNotice};
use tenure_store::MemoryStore;

use crate::support::crowd::Crowd;
use crate::support::{Shop, opening, start, start_within, until, wait};

fn say(text: &str) -> Command {
    Command::Message { content: vec![InputPart::text(text)] }
}

/// Reads a stream until a turn reaches `notice`.
async fn until_turn(stream: &mut Subscription, notice: TurnNotice) {
    loop {
        let next = tokio::time::timeout(Duration::from_secs(60), stream.next()).await.expect("in time");
        let Some(SubscriptionItem::Event(event)) = next else { panic!("the stream ended") };
        if matches!(&*event, StreamEvent::Turn { kind, .. } if *kind == notice) {
            return;
        }
    }
}

#[tokio::test]
async fn a_guest_steers_and_cancels_what_another_node_runs() {
    let store = Arc::new(MemoryStore::new());
    let (a, b) =
        (start(Arc::clone(&store), Arc::default()).await, start(Arc::clone(&store), Arc::default()).await);
    let (view, stream) = a.open(opening("stall"), None, true).await.expect("opens");
    let mut at_a = stream.expect("subscribed");
    until_turn(&mut at_a, TurnNotice::InProgress).await;
    let mut at_b = b.subscribe(view.key).await.expect("any node serves any stream");

    b.submit(view.key, vec![say("hurry")], None).await.expect("any node accepts any command");
    let seen = b.view(view.key).await.expect("readable").expect("there");
    assert_eq!(seen.status, SessionStatus::InProgress, "one turn: the message joins it later");
    assert_eq!(b.active_sessions(), 0, "a guest leaves once it is done");

    b.submit(view.key, vec![Command::Cancel], None).await.expect("accepted");
    for stream in [&mut at_a, &mut at_b] {
        until_turn(stream, TurnNotice::Cancelled).await;
    }
    // The message that waited is the next turn, which whoever is free takes up.
    for stream in [&mut at_a, &mut at_b] {
        until_turn(stream, TurnNotice::Completed).await;
        until(stream, SessionNotice::Idle).await;
    }
    a.shutdown(Duration::from_secs(5)).await;
    b.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_node_that_was_not_told_refuses_nothing_for_what_it_missed() {
    let store = Arc::new(MemoryStore::new());
    let (a, b) =
        (start(Arc::clone(&store), Arc::default()).await, start(Arc::clone(&store), Arc::default()).await);
    let (view, stream) = a.open(opening("stall"), None, true).await.expect("opens");
    until_turn(&mut stream.expect("subscribed"), TurnNotice::InProgress).await;
    store.lose_wakes();
    b.submit(view.key, vec![Command::Cancel], None).await.expect("accepted");
    a.submit(view.key, vec![Command::Delete], None).await.expect("no turn runs any more");
    a.shutdown(Duration::from_secs(5)).await;
    b.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn whoever_takes_the_approval_makes_the_call_and_every_node_tells_it() {
    let (store, shop) = (Arc::new(MemoryStore::new()), Arc::new(Shop::default()));
    let (a, b) = (
        start(Arc::clone(&store), Arc::clone(&shop)).await,
        start(Arc::clone(&store), Arc::clone(&shop)).await,
    );
    let (view, stream) = a.open(opening("refund o1"), None, true).await.expect("opens");
    let mut at_a = stream.expect("subscribed");
    until(&mut at_a, SessionNotice::RequiresAction).await;
    let waiting = b.view(view.key).await.expect("readable").expect("there");
    let [RequiredAction::Approval(approval)] = waiting.required_actions.as_slice() else {
        panic!("one approval, not {:?}", waiting.required_actions)
    };
    let decide = Command::Decide {
        approval_id: approval.id,
        decision: Decision::Approve,
        by: tenure_journal::Party::service("key", &["approvers"]),
    };
    let (at_once, too) =
        tokio::join!(a.submit(view.key, vec![decide.clone()], None), b.submit(view.key, vec![decide], None));
    at_once.expect("accepted");
    too.expect("the same answer twice is one answer");
    let seen = until(&mut at_a, SessionNotice::Idle).await;
    assert!(seen.contains(&"item.Completed".to_owned()), "{seen:?}");
    assert_eq!(shop.keys.lock().expect("no panics").len(), 1, "one call");
    a.shutdown(Duration::from_secs(5)).await;
    b.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_dead_nodes_sessions_are_taken_over() {
    let (store, shop) = (Arc::new(MemoryStore::new()), Arc::new(Shop::default()));
    let b = start(Arc::clone(&store), Arc::clone(&shop)).await;
    let dying = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let (shared, told) = (Arc::clone(&store), tokio::sync::oneshot::channel());
    let (tell, opened) = told;
    let shop_of_a = Arc::clone(&shop);
    dying.spawn(async move {
        let a = start(shared, shop_of_a).await;
        let (view, stream) = a.open(opening("stall"), None, true).await.expect("opens");
        until_turn(&mut stream.expect("subscribed"), TurnNotice::InProgress).await;
        let _ = tell.send(view.key);
        std::future::pending::<()>().await;
    });
    let key = opened.await.expect("a session runs there");
    dying.shutdown_background();
    let mut stream = b.subscribe(key).await.expect("there");
    store.pass(Limits::default().lease);
    b.submit(key, vec![Command::Cancel], None).await.expect("its holder is gone, so it is claimed");
    until(&mut stream, SessionNotice::Idle).await;
    b.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_node_that_leaves_hands_its_sessions_over_at_once() {
    let (store, shop) = (Arc::new(MemoryStore::new()), Arc::new(Shop::default()));
    let (a, b) = (
        start(Arc::clone(&store), Arc::clone(&shop)).await,
        start(Arc::clone(&store), Arc::clone(&shop)).await,
    );
    let (_, stream) = a.open(opening("stall"), None, true).await.expect("opens");
    until_turn(&mut stream.expect("subscribed"), TurnNotice::InProgress).await;
    a.shutdown(Duration::ZERO).await;
    wait::until("the other node works on the session", || b.active_sessions() > 0).await;
    b.shutdown(Duration::ZERO).await;
}

/// The lease of the nodes below: so long that nothing they are tested for can come of it.
const LONG: Duration = Duration::from_secs(3_600);

async fn beside(store: &Arc<MemoryStore>, crowd: &Arc<Crowd>) -> Runtime {
    let limits = Limits { model_calls: Places::shared(4), lease: LONG, ..Limits::default() };
    let model: Arc<dyn tenure_model::Model> = Arc::clone(crowd) as Arc<_>;
    start_within(Arc::clone(store), Arc::default(), model, limits).await
}

#[tokio::test]
async fn nodes_share_the_calls_of_a_provider_from_the_first_moment_on() {
    let (store, crowd) = (Arc::new(MemoryStore::new()), Arc::new(Crowd::default()));
    let (a, b) = (beside(&store, &crowd).await, beside(&store, &crowd).await);
    for node in [&a, &b] {
        for _ in 0..4 {
            node.open(opening("hi"), None, false).await.expect("opens");
        }
    }
    let waiting = |node: &Runtime| node.load().model_calls_waiting.read() == 2;
    wait::until("two of each node's calls have a place", || {
        waiting(&a) && waiting(&b) && crowd.counts().waiting == 4
    })
    .await;
    // A node that leaves gives its part to the other.
    a.shutdown(Duration::ZERO).await;
    wait::until("the other takes all", || crowd.counts().waiting == 4).await;
    assert_eq!(crowd.counts().waiting_max, 4, "as many as configured, at any time");
    b.shutdown(Duration::ZERO).await;
}

/// Time passes only while nothing else happens.
#[tokio::test(start_paused = true)]
async fn everything_a_node_leaves_is_taken_at_once_and_without_a_pause() {
    const LEFT: usize = 1_000;
    let (store, crowd) = (Arc::new(MemoryStore::new()), Arc::new(Crowd::default()));
    let (a, b) = (beside(&store, &crowd).await, beside(&store, &crowd).await);
    for _ in 0..LEFT {
        a.open(opening("hi"), None, false).await.expect("opens");
    }
    a.shutdown(Duration::ZERO).await;
    let left = tokio::time::Instant::now();
    wait::until("the other node has them all", || b.active_sessions() == LEFT).await;
    assert!(
        left.elapsed() < Duration::from_millis(500),
        "before anybody looks unasked: {:?}",
        left.elapsed()
    );
    b.shutdown(Duration::ZERO).await;
}

//! The runtime with the in-memory store, the scripted model and a scripted tool server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use tenure_journal::{
    AnswerItem, Decision, Failure, InputPart, ItemId, ModelAnswer, ModelRequest, ProjectId, SessionStatus,
    Stop, Timestamp,
};
use tenure_model::{Delta, Model};
use tenure_runtime::{Runtime, RuntimeErrorKind, SubscriptionItem};
use tenure_session::{Command, Refusal, RequiredAction, SessionNotice, StreamEvent};
use tenure_store::{MemoryStore, Order, Page};
use tokio_util::sync::CancellationToken;

use crate::support::{Shop, opening, start, start_with, until};

/// A model that panics where it is asked to.
struct Fragile;

#[async_trait]
impl Model for Fragile {
    async fn answer(
        &self,
        request: &ModelRequest,
        _: &mut (dyn FnMut(Delta) + Send),
        _: &CancellationToken,
    ) -> Result<ModelAnswer, Failure> {
        assert!(!format!("{:?}", request.input).contains("break"), "this attempt breaks");
        let items = vec![AnswerItem::Message { content: vec!["Fine.".to_owned()] }];
        Ok(ModelAnswer { items, usage: None, stop: Stop::Complete, response_id: None })
    }
}

#[tokio::test]
async fn a_turn_streams_in_order_and_leaves_nothing_behind() {
    let runtime = start(Arc::new(MemoryStore::new()), Arc::default()).await;
    let (view, stream) = runtime.open(opening("hi"), None, true).await.expect("opens");
    let mut stream = stream.expect("subscribed");
    let seen = until(&mut stream, SessionNotice::Idle).await;
    let expected = [
        "session.Created",
        "turn.Created",
        "item.added",
        "session.InProgress",
        "turn.InProgress",
        "item.added",
        "item.Completed",
        "turn.Completed",
        "session.Idle",
    ];
    assert_eq!(seen, expected);
    let view = runtime.view(view.key).await.expect("readable").expect("there");
    assert_eq!(view.status, SessionStatus::Idle);
    runtime.shutdown(Duration::from_secs(5)).await;
    assert_eq!(runtime.active_sessions(), 0);
}

#[tokio::test]
async fn an_approval_waits_without_an_actor_and_acts_once() {
    let (store, shop) = (Arc::new(MemoryStore::new()), Arc::new(Shop::default()));
    let runtime = start(Arc::clone(&store), Arc::clone(&shop)).await;
    let (view, stream) = runtime.open(opening("refund o1"), None, true).await.expect("opens");
    until(&mut stream.expect("subscribed"), SessionNotice::RequiresAction).await;
    let waiting = runtime.view(view.key).await.expect("readable").expect("there");
    let [RequiredAction::Approval(approval)] = waiting.required_actions.as_slice() else {
        panic!("one approval, not {:?}", waiting.required_actions)
    };
    assert!(store.due_now(Timestamp::from_millis(i64::MAX)).is_empty());
    assert!(shop.keys.lock().expect("no panics").is_empty());

    let decide = Command::Decide {
        approval_id: approval.id,
        decision: Decision::Approve,
        by: tenure_journal::Party::service("key", &["approvers"]),
    };
    let mut stream = runtime.subscribe(view.key).await.expect("there");
    runtime.submit(view.key, vec![decide.clone()], None).await.expect("accepted");
    until(&mut stream, SessionNotice::Idle).await;
    runtime.submit(view.key, vec![decide], None).await.expect("a repeated answer is already done");
    assert_eq!(shop.keys.lock().expect("no panics").len(), 1);
    // Twice if the first of them falls into the millisecond of the change.
    let listed = shop.listed.load(Ordering::Relaxed);
    assert!((2..=3).contains(&listed), "its tools are asked for again after they changed: {listed}");
}

#[tokio::test]
async fn a_turn_that_was_cut_off_goes_on_after_a_restart() {
    let store = Arc::new(MemoryStore::new());
    let first = start(Arc::clone(&store), Arc::default()).await;
    let (view, _) = first.open(opening("stall please"), None, false).await.expect("opens");
    first.shutdown(Duration::ZERO).await;

    let second = start(store, Arc::default()).await;
    let mut stream = second.subscribe(view.key).await.expect("there");
    let running = second.view(view.key).await.expect("readable").expect("there");
    assert_eq!(running.status, SessionStatus::InProgress);
    second.submit(view.key, vec![Command::Cancel], None).await.expect("accepted");
    let seen = until(&mut stream, SessionNotice::Idle).await;
    assert!(seen.contains(&"turn.Cancelled".to_owned()), "{seen:?}");
}

#[tokio::test]
async fn many_sessions_run_side_by_side() {
    let runtime = start(Arc::new(MemoryStore::new()), Arc::default()).await;
    let mut turns = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let runtime = runtime.clone();
        turns.spawn(async move {
            let (_, stream) = runtime.open(opening("hi"), None, true).await.expect("opens");
            until(&mut stream.expect("subscribed"), SessionNotice::Idle).await.len()
        });
    }
    assert!(turns.join_all().await.into_iter().all(|seen| seen == 9));
}

#[tokio::test]
async fn unknown_sessions_are_not_found() {
    let runtime = start(Arc::new(MemoryStore::new()), Arc::default()).await;
    let fresh = runtime.fresh();
    let key = Runtime::key(ProjectId::fresh(&fresh), tenure_journal::SessionId::fresh(&fresh));
    let error = runtime.submit(key, vec![Command::Cancel], None).await.expect_err("not there");
    assert_eq!(*error.kind(), RuntimeErrorKind::NotFound);
    assert!(runtime.subscribe(key).await.is_err());
    assert!(runtime.view(key).await.expect("readable").is_none());
}

#[tokio::test]
async fn a_session_whose_model_calls_always_panic_fails_alone() {
    let runtime = start_with(Arc::new(MemoryStore::new()), Arc::default(), Arc::new(Fragile)).await;
    let (view, stream) = runtime.open(opening("break"), None, true).await.expect("opens");
    let mut stream = stream.expect("subscribed");
    let say = || vec![Command::Message { content: vec![InputPart::text("again")] }];
    for _ in 0..2 {
        let seen = until(&mut stream, SessionNotice::Idle).await;
        assert!(seen.contains(&"turn.Failed".to_owned()), "{seen:?}");
        runtime.submit(view.key, say(), None).await.expect("still accepts messages");
    }
    until(&mut stream, SessionNotice::Failed).await;
    let failed = runtime.view(view.key).await.expect("readable").expect("there");
    assert_eq!(failed.status, SessionStatus::Failed);
    assert!(failed.error.is_some());
    let error = runtime.submit(view.key, say(), None).await.expect_err("stopped for good");
    assert_eq!(*error.kind(), RuntimeErrorKind::Refused(Refusal::Failed));

    let (_, stream) = runtime.open(opening("hi"), None, true).await.expect("opens");
    let seen = until(&mut stream.expect("subscribed"), SessionNotice::Idle).await;
    assert!(seen.contains(&"turn.Completed".to_owned()), "{seen:?}");
}

#[tokio::test]
async fn what_is_streamed_and_what_is_kept_have_the_same_index() {
    let runtime = start(Arc::new(MemoryStore::new()), Arc::default()).await;
    let (view, stream) = runtime.open(opening("work"), None, true).await.expect("opens");
    let mut stream = stream.expect("subscribed");
    let mut told: BTreeMap<ItemId, Option<u32>> = BTreeMap::new();
    let mut approvals = 0;
    loop {
        let next = tokio::time::timeout(Duration::from_secs(60), stream.next()).await.expect("in time");
        let Some(SubscriptionItem::Event(event)) = next else { panic!("the stream ended") };
        let (id, index) = match &*event {
            StreamEvent::ItemAdded { item } | StreamEvent::ItemDone { item } => (item.id, item.output_index),
            StreamEvent::Part { item_id, output_index, .. } => (*item_id, Some(*output_index)),
            StreamEvent::Session { kind: SessionNotice::Idle, .. } => break,
            StreamEvent::Session { kind: SessionNotice::RequiresAction, session } => {
                for action in &session.required_actions {
                    let RequiredAction::Approval(approval) = action else { continue };
                    let decide = Command::Decide {
                        approval_id: approval.id,
                        decision: Decision::Approve,
                        by: tenure_journal::Party::service("key", &["approvers"]),
                    };
                    approvals += 1;
                    runtime.submit(view.key, vec![decide], None).await.expect("accepted");
                }
                continue;
            }
            StreamEvent::Session { .. }
            | StreamEvent::Turn { .. }
            | StreamEvent::Subagent { .. }
            | StreamEvent::Environment { .. }
            | StreamEvent::CommandOutput { .. }
            | StreamEvent::Error { .. }
            | StreamEvent::Deleted => continue,
        };
        assert_eq!(*told.entry(id).or_insert(index), index, "an index does not change");
    }
    assert_eq!(approvals, 2);
    let page = Page { after: None, limit: 100, order: Order::Ascending };
    let items = runtime.store().items(view.key, None, &page).await.expect("listed");
    let kept: BTreeMap<_, _> =
        items.iter().filter(|item| item.is_public()).map(|item| (item.id, item.output_index)).collect();
    assert_eq!(told, kept);
    let mut indexes: Vec<u32> = kept.values().flatten().copied().collect();
    indexes.sort_unstable();
    assert_eq!(indexes, [0, 1, 2, 3, 4, 5], "no gaps");
}

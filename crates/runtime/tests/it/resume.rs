//! What a process finds unfinished: resumed a few at a time, and looked at again where the store was away.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tenure_journal::{Failure, FailureKind, ModelAnswer, ModelRequest};
use tenure_model::{Delta, Model};
use tenure_runtime::{Bound, Limits, Runtime};
use tenure_store::MemoryStore;
use tokio_util::sync::CancellationToken;

use crate::support::crowd::{Counts, Crowd};
use crate::support::{opening, start_with, start_within, wait};

/// What a process leaves that ends with so many sessions in the middle of a model call.
async fn left_by_another(store: &Arc<MemoryStore>, sessions: usize) {
    let runtime = start_with(Arc::clone(store), Arc::default(), Arc::new(Crowd::default())).await;
    for _ in 0..sessions {
        runtime.open(opening("hi"), None, false).await.expect("opens");
    }
    runtime.shutdown(Duration::ZERO).await;
}

async fn within(store: &Arc<MemoryStore>, crowd: &Arc<Crowd>, sessions_max: u64) -> Runtime {
    let limits = Limits {
        active_sessions: Bound { max: sessions_max, per_project_max: sessions_max },
        ..Limits::default()
    };
    let model = Arc::clone(crowd) as Arc<dyn Model>;
    start_within(Arc::clone(store), Arc::default(), model, limits).await
}

#[tokio::test]
async fn a_start_resumes_as_many_sessions_as_it_has_room_for() {
    const LEFT: usize = 300;
    let (store, crowd) = (Arc::new(MemoryStore::unshared()), Arc::new(Crowd::default()));
    left_by_another(&store, LEFT).await;
    let runtime = within(&store, &crowd, 40).await;
    wait::until("what there is room for is resumed", || crowd.counts().waiting == 30).await;
    assert_eq!(runtime.active_sessions(), 30, "a quarter is left to what clients begin");
    runtime.open(opening("hi"), None, false).await.expect("there is room for something new");
    crowd.answers.add_permits(LEFT + 1);
    wait::until("all are resumed", || crowd.counts().answered == LEFT + 1).await;
    assert!(crowd.counts().waiting_max <= 31, "{:?}", crowd.counts());
    runtime.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_session_that_could_not_be_loaded_is_looked_at_again() {
    let (store, crowd) = (Arc::new(MemoryStore::unshared()), Arc::new(Crowd::default()));
    left_by_another(&store, 2).await;
    store.fail_loads(3);
    let runtime = within(&store, &crowd, 40).await;
    wait::until("both are resumed", || crowd.counts().waiting == 2).await;
    assert_eq!(crowd.counts(), Counts { waiting: 2, waiting_max: 2, answered: 0 });
    runtime.shutdown(Duration::ZERO).await;
}

/// A model that asks for an hour's patience.
struct Busy;

#[async_trait]
impl Model for Busy {
    async fn answer(
        &self,
        _: &ModelRequest,
        _: &mut (dyn FnMut(Delta) + Send),
        _: &CancellationToken,
    ) -> Result<ModelAnswer, Failure> {
        let message = "later".to_owned();
        Err(Failure { kind: FailureKind::RateLimited, message, retry_after_ms: Some(3_600_000) })
    }
}

#[tokio::test]
async fn a_session_that_waits_for_its_next_try_takes_no_room() {
    let store = Arc::new(MemoryStore::unshared());
    let runtime = start_with(Arc::clone(&store), Arc::default(), Arc::new(Busy)).await;
    let (view, _) = runtime.open(opening("hi"), None, false).await.expect("opens");
    wait::until("it waits for its next try", || {
        let head = store.head_now(view.key).expect("readable").expect("there");
        head.wake_at.is_some_and(|at| at > runtime.now())
    })
    .await;
    runtime.shutdown(Duration::ZERO).await;
    let crowd = Arc::new(Crowd::default());
    left_by_another(&store, 1).await;
    let runtime = within(&store, &crowd, 40).await;
    wait::until("what is due is resumed", || crowd.counts().waiting == 1).await;
    assert_eq!(runtime.active_sessions(), 1);
    runtime.shutdown(Duration::ZERO).await;
}

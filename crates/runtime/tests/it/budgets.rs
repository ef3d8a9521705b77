//! Budgets that sessions share, with the in-memory store and models that a test lets answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tenure_journal::{
    Amounts, BudgetId, BudgetScope, BudgetUse, Caps, Failure, ModelAnswer, ModelRequest, Period, TurnStatus,
    limit,
};
use tenure_model::{Delta, Model};
use tenure_runtime::{FileBudgets, Limits, Places, Runtime, SubscriptionItem};
use tenure_session::{SessionNotice, StreamEvent};
use tenure_store::{MemoryStore, Order, Page, Store as _};
use tokio_util::sync::CancellationToken;

use crate::support::crowd::Crowd;
use crate::support::{opening, start_within, wait};

const SESSIONS: usize = 200;
const CALLS: u64 = 70;

fn limited(caps: Caps) -> Limits {
    let budgets = FileBudgets { project: BTreeMap::from([(Period::Total, caps)]), ..FileBudgets::default() };
    Limits { budgets, model_calls: Places::shared(SESSIONS), ..Limits::default() }
}

/// How the project's budget stands.
fn standing(store: &MemoryStore, runtime: &Runtime) -> BudgetUse {
    let id = BudgetId::at(BudgetScope::Project, Period::Total, runtime.now());
    let project = opening("").opened.project_id;
    store.budget_uses_now(project, &[id]).expect("readable")[0]
}

#[tokio::test]
async fn as_many_begin_as_fit_and_a_crash_counts_each_of_them_once() {
    let (store, crowd) = (Arc::new(MemoryStore::unshared()), Arc::new(Crowd::default()));
    let start = async || {
        let model = Arc::clone(&crowd) as Arc<dyn Model>;
        let caps = Caps { calls: Some(CALLS), ..Caps::NONE };
        start_within(Arc::clone(&store), Arc::default(), model, limited(caps)).await
    };
    let runtime = start().await;
    let mut keys = Vec::new();
    for _ in 0..SESSIONS {
        keys.push(runtime.open(opening("hi"), None, false).await.expect("opens").0.key);
    }
    wait::until("as many wait as fit", || crowd.counts().waiting == CALLS as usize).await;
    let aside = standing(&store, &runtime);
    assert_eq!((aside.reserved.calls, aside.spent), (CALLS, Amounts::default()));
    // Some are answered; the process dies with the others between what they set aside and what they settle.
    crowd.answers.add_permits(20);
    wait::until("they are settled", || standing(&store, &runtime).spent.calls == 20).await;
    runtime.shutdown(Duration::ZERO).await;

    let runtime = start().await;
    wait::until("what was cut off is settled", || standing(&store, &runtime).reserved == Amounts::default())
        .await;
    let after = standing(&store, &runtime).spent;
    assert_eq!(after.calls, CALLS, "each of them counts as one call, and nothing begins again");
    // A provider that says nothing of tokens is taken to have used what was set aside.
    assert_eq!(after.tokens, aside.reserved.tokens);
    assert_eq!(crowd.counts().answered, 20);
    for key in keys {
        let view = runtime.view(key).await.expect("readable").expect("there");
        assert_eq!(view.status, tenure_journal::SessionStatus::Idle, "{key:?}");
        let page = Page { after: None, limit: 10, order: Order::Ascending };
        let turn = store.turns_now(key, &page).expect("readable").pop().expect("a turn");
        let code = turn.error.map(|error| error.code);
        let expected = (turn.status == TurnStatus::Failed).then(|| "project_budget_exceeded".to_owned());
        assert_eq!(code, expected);
    }
    runtime.shutdown(Duration::from_secs(30)).await;
}

/// A model that never answers.
struct Silent;

#[async_trait]
impl Model for Silent {
    async fn answer(
        &self,
        _: &ModelRequest,
        _: &mut (dyn FnMut(Delta) + Send),
        _: &CancellationToken,
    ) -> Result<ModelAnswer, Failure> {
        std::future::pending().await
    }
}

/// The clock of timers is a test's own here, and runs ahead while nothing else does.
#[tokio::test(start_paused = true)]
async fn where_time_is_limited_an_attempt_ends_with_what_was_set_aside() {
    let store = Arc::new(MemoryStore::unshared());
    let caps = Caps { millis: Some(limit::ATTEMPT_MS_RESERVED * 2), ..Caps::NONE };
    let runtime = start_within(Arc::clone(&store), Arc::default(), Arc::new(Silent), limited(caps)).await;
    let (view, stream) = runtime.open(opening("hi"), None, true).await.expect("opens");
    let mut stream = stream.expect("asked for");
    let is_idle = |item: &SubscriptionItem| {
        let SubscriptionItem::Event(event) = item else { return false };
        matches!(**event, StreamEvent::Session { kind: SessionNotice::Idle, .. })
    };
    while !is_idle(&stream.next().await.expect("the stream goes on")) {}
    let page = Page { after: None, limit: 10, order: Order::Ascending };
    let turn = store.turns(view.key, &page).await.expect("readable").pop().expect("a turn");
    assert_eq!(turn.error.map(|error| error.code), Some("request_timeout".to_owned()));
    assert_eq!(standing(&store, &runtime).reserved, Amounts::default());
}

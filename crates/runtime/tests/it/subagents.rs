//! Subagents and their budget, with the in-memory store and the scripted model.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tenure_journal::{
    AgentConfig, InputPart, Item, ItemBody, MultiAgent, SessionKey, SessionStatus, SpendLimit, Turn,
    TurnStatus,
};
use tenure_model::scripted::{Script, ScriptedModel};
use tenure_policy::PolicySet;
use tenure_runtime::{
    Limits, MasterKeys, ModelTable, Opening, Outbound, Parts, Prices, Provider, Route, Runtime,
    RuntimeErrorKind, Sealer,
};
use tenure_session::{Command, Refusal};
use tenure_store::{MemoryStore, Order, Page, SessionFilter, Store};

use crate::support::plain::{Nowhere, agent, opened};

const SCRIPT: &str = r#"
rules:
  - when: { result_of: wait_for_subagents }
    reply: [{ text: "{{ result }}" }]
  - when: { user: '^leave', result_of: create_subagent }
    reply: [{ text: "Left." }]
  - when: { result_of: create_subagent }
    reply: [{ call: { tool: wait_for_subagents, arguments: {} } }]
  - when: { user: '^(create|leave) (?P<task>.+)', no_result: true }
    reply:
      - call: { tool: create_subagent, arguments: { task: "{{ task }}", name: one } }
      - call: { tool: create_subagent, arguments: { task: "{{ task }}", name: two } }
  - when: { user: '^wait' , no_result: true }
    reply: [{ call: { tool: wait_for_subagents, arguments: {} } }]
  - when: { user: '^stall' }
    fault: { stall_ms: 600000 }
    reply: [{ text: "late" }]
  - reply: [{ text: "Found it." }]
"#;
/// The master key of all nodes: one store has one.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const DEADLINE: Duration = Duration::from_secs(60);

async fn start(store: &Arc<MemoryStore>) -> Runtime {
    let script = Arc::new(Script::parse(SCRIPT).expect("a valid script"));
    let provider = Provider::new("scripted", Arc::new(ScriptedModel::new(script)), 64);
    let priced = Route {
        provider: Arc::clone(&provider),
        record: tenure_journal::RouteRecord::default(),
        model: "m".into(),
        prices: Some(Prices { input: 1.0, cached_input: 1.0, output: 1_000.0 }),
        context_tokens: None,
        output_tokens_max: Some(10),
    };
    let parts = Parts {
        store: Arc::clone(store) as Arc<dyn Store>,
        models: ModelTable {
            named: BTreeMap::from([("priced".to_owned(), vec![priced])]),
            fallback: Some(provider),
        },
        servers: Arc::new(Nowhere),
        project_servers: BTreeMap::new(),
        policy: Arc::new(PolicySet::defaults()),
        sealer: Sealer::new(MasterKeys::of_text(KEY, "the test").expect("a key")),
        limits: Limits::default(),
        outbound: Outbound::default(),
        environments: tenure_runtime::EnvironmentConfig::default(),
    };
    Runtime::start(parts).await.expect("starts")
}

fn opening(text: &str) -> Opening {
    let multi_agent = MultiAgent { enabled: true, max_concurrent_subagents: Some(6) };
    let agent = AgentConfig { multi_agent, ..agent() };
    let opened = opened(agent);
    Opening { opened, input: vec![vec![InputPart::text(text)]] }
}

/// Looks after every commit until `look` finds something.
async fn until<T>(store: &Arc<MemoryStore>, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let mut wakes = store.wakes();
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            // Whether one was missed or not: look again.
            let _ = wakes.recv().await;
        }
    };
    tokio::time::timeout(DEADLINE, looking).await.unwrap_or_else(|_| panic!("waited for {what}"))
}

async fn turns(store: &Arc<MemoryStore>, key: SessionKey) -> Vec<Turn> {
    let page = Page { after: None, limit: 100, order: Order::Ascending };
    store.turns(key, &page).await.expect("readable")
}

async fn items(store: &Arc<MemoryStore>, key: SessionKey) -> Vec<Item> {
    let page = Page { after: None, limit: 100, order: Order::Ascending };
    store.items(key, None, &page).await.expect("readable")
}

/// The session once it rests.
async fn rests(store: &Arc<MemoryStore>, key: SessionKey) {
    until(store, "the session to rest", async || {
        let head = store.head(key).await.expect("readable").expect("there");
        (head.status == SessionStatus::Idle && head.wake_at.is_none()).then_some(())
    })
    .await;
}

/// The sessions of the subagents, once there are two and both run or have run.
async fn children(store: &Arc<MemoryStore>, runtime: &Runtime, key: SessionKey) -> [SessionKey; 2] {
    until(store, "two subagents", async || {
        let subagents = runtime.subagents(key).await.expect("readable").expect("there");
        let [one, two] = subagents.as_slice() else { return None };
        Some([one, two].map(|subagent| SessionKey { session: subagent.id.session(), ..key }))
    })
    .await
}

fn reports(items: &[Item]) -> usize {
    items.iter().filter(|item| matches!(item.body, ItemBody::AgentMessage { reports: Some(_), .. })).count()
}

#[tokio::test]
async fn subagents_report_to_the_one_who_waits_and_are_nobody_elses() {
    let store = Arc::new(MemoryStore::new());
    let runtime = start(&store).await;
    let (view, _) = runtime.open(opening("create look"), None, false).await.expect("opens");
    rests(&store, view.key).await;
    let found = items(&store, view.key).await;
    assert_eq!(reports(&found), 2);
    let ItemBody::AssistantMessage { content, .. } = &found.last().expect("an answer").body else {
        panic!("an answer comes last")
    };
    assert_eq!(content.concat().matches("Found it.").count(), 2);
    for child in children(&store, &runtime, view.key).await {
        assert!(runtime.view(child).await.expect("readable").is_none(), "a subagent's session is hidden");
        assert!(runtime.subscribe(child).await.is_err());
        let error = runtime.submit(child, vec![Command::Cancel], None).await.expect_err("refused");
        assert_eq!(*error.kind(), RuntimeErrorKind::Refused(Refusal::Hidden));
    }
    let page = Page { after: None, limit: 100, order: Order::Ascending };
    let listed = store.sessions(view.key.project, &SessionFilter::default(), &page).await.expect("readable");
    assert_eq!(listed.len(), 1);

    let again = Command::Message { content: vec![InputPart::text("wait")] };
    runtime.submit(view.key, vec![again], None).await.expect("accepted");
    until(&store, "a second turn", async || {
        let turns = turns(&store, view.key).await;
        (turns.len() == 2 && turns[1].status == TurnStatus::Completed).then_some(())
    })
    .await;
    assert_eq!(reports(&items(&store, view.key).await), 2, "what was reported is not reported again");
}

#[tokio::test]
async fn a_restart_goes_on_with_parent_and_children_and_a_cancel_stops_all() {
    let store = Arc::new(MemoryStore::new());
    let first = start(&store).await;
    let (view, _) = first.open(opening("create stall"), None, false).await.expect("opens");
    let children = children(&store, &first, view.key).await;
    first.shutdown(Duration::ZERO).await;

    let second = start(&store).await;
    for key in [view.key, children[0], children[1]] {
        let status = store.head(key).await.expect("readable").expect("there").status;
        assert_eq!(status, SessionStatus::InProgress);
    }
    second.submit(view.key, vec![Command::Cancel], None).await.expect("accepted");
    for key in [view.key, children[0], children[1]] {
        rests(&store, key).await;
        let turns = turns(&store, key).await;
        assert_eq!(turns.iter().map(|turn| turn.status).collect::<Vec<_>>(), [TurnStatus::Cancelled]);
    }
    second.submit(view.key, vec![Command::Delete], None).await.expect("accepted");
    for key in children {
        until(&store, "the subagent to be deleted", async || {
            store.head(key).await.expect("readable").expect("there").deleted.then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn any_node_steers_a_tree_that_others_work_on() {
    let store = Arc::new(MemoryStore::new());
    let (a, b) = (start(&store).await, start(&store).await);
    // One node works on parent and children; the other is a guest of the parent.
    let (view, _) = a.open(opening("create stall"), None, false).await.expect("opens");
    let waiting = children(&store, &a, view.key).await;
    b.submit(view.key, vec![Command::Cancel], None).await.expect("accepted");
    for key in [view.key, waiting[0], waiting[1]] {
        rests(&store, key).await;
        assert_eq!(turns(&store, key).await[0].status, TurnStatus::Cancelled);
    }

    // One node works on the children; the other holds the parent and is a guest of the children.
    let (view, _) = a.open(opening("leave stall"), None, false).await.expect("opens");
    rests(&store, view.key).await;
    let left = children(&store, &b, view.key).await;
    let wait = Command::Message { content: vec![InputPart::text("wait")] };
    b.submit(view.key, vec![wait], None).await.expect("accepted");
    until(&store, "the parent to wait", async || {
        let items = items(&store, view.key).await;
        let waits = items.iter().filter(
            |item| matches!(&item.body, ItemBody::SubagentCall { tool, .. } if tool == "wait_for_subagents"),
        );
        (waits.count() == 1).then_some(())
    })
    .await;
    assert_eq!(b.active_sessions(), 1, "the subagents stay where they run");
    b.submit(view.key, vec![Command::Cancel], None).await.expect("accepted");
    for key in [view.key, left[0], left[1]] {
        rests(&store, key).await;
        let last = turns(&store, key).await.pop().expect("a turn");
        assert_eq!(last.status, TurnStatus::Cancelled);
    }
}

#[tokio::test]
async fn a_tree_spends_one_budget_and_what_is_refused_costs_nothing() {
    let store = Arc::new(MemoryStore::new());
    let runtime = start(&store).await;
    let mut tree = opening("create look");
    tree.opened.agent.model = "priced".into();
    tree.opened.spend_limit = Some(SpendLimit { limit: Some(100) });
    let (view, _) = runtime.open(tree, None, false).await.expect("opens");
    rests(&store, view.key).await;
    let budget = store.budget(view.key.project, view.key.session).await.expect("readable");
    assert_eq!((budget.limit_nano_usd, budget.reserved_nano_usd), (Some(1_000_000_000), 0));
    assert!(budget.spent_nano_usd > 0);
    let whole = runtime.view(view.key).await.expect("readable").expect("there").spend.expect("set");
    assert_eq!(whole.consumed, Some(budget.spent_nano_usd / 10_000_000));
    for child in children(&store, &runtime, view.key).await {
        let own = store.budget(child.project, child.session).await.expect("readable");
        assert_eq!(own.spent_nano_usd, 0, "a subagent has no budget of its own");
    }

    let patch = tenure_journal::SessionPatch {
        spend_limit: Some(Some(SpendLimit { limit: Some(whole.consumed.expect("known") + 1) })),
        ..Default::default()
    };
    let update = Command::Update { patch: Box::new(patch) };
    let again = Command::Message { content: vec![InputPart::text("wait")] };
    runtime.submit(view.key, vec![update, again], None).await.expect("accepted");
    rests(&store, view.key).await;
    let last = turns(&store, view.key).await.pop().expect("a turn");
    assert_eq!(last.error.map(|error| error.code), Some("session_budget_exceeded".to_owned()));
    let after = store.budget(view.key.project, view.key.session).await.expect("readable");
    assert_eq!((after.spent_nano_usd, after.reserved_nano_usd), (budget.spent_nano_usd, 0));
}

#[tokio::test]
async fn many_sessions_stay_within_their_budgets() {
    let store = Arc::new(MemoryStore::new());
    let runtime = start(&store).await;
    let mut opened = Vec::new();
    for limit in 0..40_u64 {
        let mut tree = opening("create look");
        tree.opened.agent.model = "priced".into();
        tree.opened.spend_limit = Some(SpendLimit { limit: Some(limit) });
        opened.push((limit, runtime.open(tree, None, false).await.expect("opens").0.key));
    }
    let mut failed = 0;
    for (limit, key) in opened {
        rests(&store, key).await;
        let budget = store.budget(key.project, key.session).await.expect("readable");
        assert!(budget.spent_nano_usd <= limit * 10_000_000, "{limit} cents: {budget:?}");
        assert_eq!(budget.reserved_nano_usd, 0);
        failed += turns(&store, key).await.iter().filter(|turn| turn.status == TurnStatus::Failed).count();
    }
    assert!(failed > 0 && failed < 40, "{failed} of 40 trees reached their limit");
}

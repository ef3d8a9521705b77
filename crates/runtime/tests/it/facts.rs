//! Facts under concurrency and crashes: each is kept once, and each call of a tool is made once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tenure_journal::{
    Confidence, Labels, MemoryScope, ProjectId, ScopeKind, SessionStatus, Timestamp, Tool, ToolResult,
};
use tenure_model::scripted::{Script, ScriptedModel};
use tenure_runtime::fact::Saying;
use tenure_runtime::{FactFilter, MemoryOutcome, Opening, Runtime, SavedFact, caller};
use tenure_session::SessionNotice;
use tenure_store::{DocumentKind, MemoryStore, Order, Page, Store};

use crate::support::{opening, start, start_with, until, wait};

const SCRIPT: &str = r#"
rules:
  - when: { user: '^call (?P<tool>[a-z_]+) (?P<given>.+)$', no_result: true }
    reply: [{ call: { tool: "{{ tool }}", raw_arguments: "{{ given }}" } }]
  - reply: [{ text: "Done." }]
"#;

/// How long leases are past.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);

async fn remembering(store: &Arc<MemoryStore>) -> Runtime {
    let script = Arc::new(Script::parse(SCRIPT).expect("a valid script"));
    start_with(Arc::clone(store), Arc::default(), Arc::new(ScriptedModel::new(script))).await
}

fn asked(text: &str) -> Opening {
    let mut opening = opening(text);
    opening.opened.agent.tools = vec![Tool::Memory];
    opening
}

fn saying(statement: &str, at: Timestamp) -> Saying {
    Saying {
        scope: MemoryScope::Project,
        subject: None,
        statement: statement.to_owned(),
        valid_from: None,
        valid_to: None,
        confidence: Confidence::FULL,
        labels: Labels::NEUTRAL,
        by: caller("key_1", at),
    }
}

async fn all(runtime: &Runtime, project: ProjectId, scope: &MemoryScope) -> Vec<SavedFact> {
    let page = Page { after: None, limit: 100, order: Order::Ascending };
    runtime.facts(project, scope, &FactFilter::default(), &page).await.expect("readable")
}

#[tokio::test]
async fn what_many_say_at_once_is_kept_once() {
    let runtime = start(Arc::new(MemoryStore::new()), Arc::default()).await;
    let project = opening("").opened.project_id;
    for round in 1..=3_u32 {
        let said = (0..6).map(|number| {
            let statement =
                if number % 2 == 0 { "Billing uses PostgreSQL." } else { "billing  uses postgresql" };
            let saying = saying(statement, runtime.now());
            let runtime = &runtime;
            async move { runtime.remember(project, &saying, &|_| None).await.expect("kept") }
        });
        let kept = join_all(said).await;
        let added = kept.iter().filter(|kept| kept.outcome == MemoryOutcome::Added).count();
        assert_eq!(added, 1, "round {round}: one of them is the first");
        let facts = all(&runtime, project, &MemoryScope::Project).await;
        let active: Vec<_> =
            facts.iter().filter(|saved| saved.fact.state == tenure_journal::FactState::Active).collect();
        assert_eq!((active.len(), active[0].fact.said), (1, 6), "round {round}");
        assert_eq!(facts.len(), round as usize, "what was closed stays, and the next is another");
        let at = runtime.now();
        let closing =
            tenure_journal::Closing { at, true_until: Some(at), by: caller("key_1", at), reason: None };
        let closes = (0..4).map(|_| runtime.close_fact(project, active[0].id, closing.clone(), &|_| None));
        let closed = join_all(closes).await.into_iter().filter(Result::is_ok).count();
        assert_eq!(closed, 1, "round {round}: a fact is closed once");
    }
    runtime.shutdown(Duration::from_secs(5)).await;
}

/// What is left of a session whose agent remembers something, after a crash that kept so many writes.
async fn crashed(kept: Option<usize>) -> (Arc<MemoryStore>, usize) {
    let store = Arc::new(MemoryStore::volatile());
    let runtime = remembering(&store).await;
    let text = r#"call memory_remember {"statement":"Ada drinks tea."}"#;
    let (_, stream) = runtime.open(asked(text), None, true).await.expect("opens");
    until(&mut stream.expect("a stream"), SessionNotice::Idle).await;
    let writes = store.unsynced();
    runtime.shutdown(Duration::from_secs(5)).await;
    store.crash_keeping(kept.unwrap_or(writes));
    store.pass(LONG);
    (store, writes)
}

#[tokio::test]
async fn whatever_a_crash_leaves_a_call_is_made_once() {
    let (_, writes) = crashed(None).await;
    let (mut finished, mut resumed) = (0, 0);
    for kept in 0..=writes {
        let (store, _) = crashed(Some(kept)).await;
        let keys = store.keys_now();
        let runtime = remembering(&store).await;
        let project = opening("").opened.project_id;
        let space = |key| {
            let head = store.head_now(key).expect("readable").expect("there");
            MemoryScope::Space(head.agent_id, None)
        };
        let Some(key) = keys.first().copied() else {
            runtime.shutdown(Duration::from_secs(5)).await;
            continue;
        };
        resumed += 1;
        wait::until("the session rests", || {
            let head = store.head_now(key).expect("readable").expect("there");
            head.status == SessionStatus::Idle
        })
        .await;
        let facts = all(&runtime, project, &space(key)).await;
        assert_eq!(facts.len(), 1, "after {kept} of {writes} writes");
        assert_eq!(
            (facts[0].fact.said, facts[0].document.version),
            (1, 1),
            "after {kept} of {writes} writes"
        );
        let mut told = Vec::new();
        for recorded in store.events_now(key, tenure_journal::Version::ZERO, usize::MAX).expect("readable") {
            if let tenure_journal::Event::AttemptEnded {
                outcome: tenure_journal::Outcome::Done { done: tenure_journal::Done::Tool { result, .. } },
                ..
            } = recorded.event
            {
                let ToolResult { text, is_error, .. } = result;
                assert!(!is_error && text.contains(&facts[0].id.to_string()), "{text}");
                told.push(text);
            }
        }
        assert_eq!(told.len(), 1, "after {kept} of {writes} writes");
        finished += 1;
        runtime.shutdown(Duration::from_secs(5)).await;
    }
    assert!(finished == resumed && resumed > 2, "{finished} of {resumed} finished");
}

#[tokio::test]
async fn a_turn_takes_up_the_blocks_of_its_scopes() {
    let store = Arc::new(MemoryStore::new());
    let runtime = remembering(&store).await;
    let project = opening("").opened.project_id;
    let by = caller("key_1", runtime.now());
    let none: &(dyn Fn(&tenure_runtime::SavedBlock) -> Option<tenure_store::Receipt> + Send + Sync) =
        &|_| None;
    for (scope, name) in [
        (MemoryScope::User("ada".to_owned()), "likes"),
        (MemoryScope::Project, "house-rules"),
        (MemoryScope::User("bob".to_owned()), "secrets"),
    ] {
        runtime.put_block(project, (&scope, name), "Tea.", &by, none).await.expect("kept");
    }
    let mut opening = asked("hello");
    opening.opened.metadata.insert("user_id".to_owned(), "ada".to_owned());
    let (view, stream) = runtime.open(opening, None, true).await.expect("opens");
    until(&mut stream.expect("a stream"), SessionNotice::Idle).await;
    let events = store.events_now(view.key, tenure_journal::Version::ZERO, usize::MAX).expect("readable");
    let taken: Vec<_> = events
        .into_iter()
        .filter_map(|recorded| {
            let tenure_journal::Event::BlocksTaken { blocks } = recorded.event else { return None };
            Some(blocks)
        })
        .collect();
    let names: Vec<Vec<(ScopeKind, &str)>> = taken
        .iter()
        .map(|blocks| blocks.iter().map(|block| (block.scope.kind(), block.name.as_str())).collect())
        .collect();
    assert_eq!(
        names,
        [[(ScopeKind::Project, "house-rules"), (ScopeKind::User, "likes")]],
        "the widest first"
    );
    let page = Page { after: None, limit: 9, order: Order::Ascending };
    let kept = store.documents(project, DocumentKind::PinnedBlock, None, &page).await.expect("readable");
    assert_eq!(kept.len(), 3);
    runtime.shutdown(Duration::from_secs(5)).await;
}

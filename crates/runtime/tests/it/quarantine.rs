//! A refusal and a release reach subagents that work, whoever runs them, and a restart forgets neither.

use std::sync::Arc;
use std::time::Duration;

use tenure_journal::{AgentConfig, Decision, Event, Governance, MultiAgent, Party, SessionKey, Version};
use tenure_model::scripted::{Script, ScriptedModel};
use tenure_runtime::{Opening, Runtime};
use tenure_session::{Command, RequiredAction, SessionNotice};
use tenure_store::{MemoryStore, Store as _};

use crate::support::{Shop, opening, start_with, until, wait};

const SCRIPT: &str = r#"
rules:
  - when: { user: '^lead', result_of: shop__refund }
    reply: [{ text: "Refused." }]
  - when: { user: '^lead', result_of: create_subagent }
    reply: [{ call: { tool: shop__refund, arguments: { order: "o1" } } }]
  - when: { user: '^lead', no_result: true }
    reply: [{ call: { tool: create_subagent, arguments: { task: "stall", name: one } } }]
  - when: { user: '^stall' }
    fault: { stall_ms: 600000 }
    reply: [{ text: "late" }]
  - reply: [{ text: "Hello there." }]
"#;

async fn start(store: &Arc<MemoryStore>) -> Runtime {
    let script = Arc::new(Script::parse(SCRIPT).expect("a valid script"));
    start_with(Arc::clone(store), Arc::new(Shop::default()), Arc::new(ScriptedModel::new(script))).await
}

fn leading() -> Opening {
    let Opening { mut opened, input } = opening("lead");
    let multi_agent = MultiAgent { enabled: true, max_concurrent_subagents: Some(2) };
    opened.agent = AgentConfig { multi_agent, ..opened.agent };
    Opening { opened, input }
}

/// What a session's journal says about quarantine, in order.
async fn governed(store: &Arc<MemoryStore>, key: SessionKey) -> Vec<String> {
    let events = store.events(key, Version::ZERO, usize::MAX).await.expect("readable");
    let said = events.iter().filter_map(|recorded| {
        let Event::Governed { fact } = &recorded.event else { return None };
        match fact {
            Governance::Quarantined { by, of, .. } => {
                Some(format!("quarantined by {by}, of its parent: {}", of.is_some()))
            }
            Governance::Released { by, of, .. } => {
                Some(format!("released by {by}, of its parent: {}", of.is_some()))
            }
            Governance::Supported { .. } | Governance::Escalated { .. } => None,
        }
    });
    said.collect()
}

#[tokio::test]
async fn a_refusal_stops_a_subagent_at_work_and_a_restart_forgets_neither_it_nor_the_release() {
    let store = Arc::new(MemoryStore::new());
    let first = start(&store).await;
    let (view, stream) = first.open(leading(), None, true).await.expect("opens");
    let mut stream = stream.expect("subscribed");
    until(&mut stream, SessionNotice::RequiresAction).await;
    let subagents = first.subagents(view.key).await.expect("readable").expect("there");
    let child = SessionKey { session: subagents[0].id.session(), ..view.key };
    assert_eq!(governed(&store, child).await, [""; 0]);

    let waiting = first.view(view.key).await.expect("readable").expect("there");
    let [RequiredAction::Approval(approval)] = waiting.required_actions.as_slice() else {
        panic!("one approval, not {:?}", waiting.required_actions)
    };
    let by = Party::service("ann", &["approvers"]);
    let deny = Command::Decide { approval_id: approval.id, decision: Decision::Deny, by };
    first.submit(view.key, vec![deny], None).await.expect("accepted");
    until(&mut stream, SessionNotice::Idle).await;
    // The turn went on only once everybody had been told.
    assert_eq!(governed(&store, child).await, ["quarantined by ann, of its parent: true"]);
    first.shutdown(Duration::ZERO).await;

    let second = start(&store).await;
    let view = second.view(view.key).await.expect("readable").expect("there");
    assert_eq!(view.quarantined_by.as_deref(), Some("ann"));
    let release = Command::Release { by: Party::service("ben", &["approvers"]) };
    second.submit(view.key, vec![release], None).await.expect("accepted");
    let said = wait::answered("the subagent is released", async || {
        let said = governed(&store, child).await;
        (said.len() > 1).then_some(said)
    });
    let both = ["quarantined by ann, of its parent: true", "released by ben, of its parent: true"];
    assert_eq!(said.await, both);
    second.shutdown(Duration::ZERO).await;
}

//! Subagents.

use serde_json::{Value, json};
use tenure_journal::Timestamp;
use tenure_session::SubagentView;

/// A subagent as lists and events show it.
pub(crate) fn subagent(subagent: &SubagentView) -> Value {
    json!({
        "id": subagent.id,
        "object": "agent.session.subagent",
        "session_id": subagent.session,
        "parent_agent_id": subagent.parent,
        "name": subagent.name,
        "instructions": texts([&subagent.task]),
        "status": if subagent.closed_at.is_some() { "closed" } else { "active" },
        "opened_at": subagent.opened_at.as_secs(),
        "closed_at": subagent.closed_at.map(Timestamp::as_secs),
    })
}

/// What agents say to each other.
pub(super) fn texts<'a>(texts: impl IntoIterator<Item = &'a String>) -> Value {
    texts.into_iter().map(|text| json!({"type": "output_text", "text": text})).collect()
}

#[cfg(test)]
mod tests {
    use tenure_journal::{AgentId, AgentRef, EffectId, SessionId, SubagentId};

    use super::*;
    use crate::show::session::tests::fresh;

    #[test]
    fn shows_whether_it_is_closed() {
        let fresh = fresh();
        let mut value = SubagentView {
            id: SubagentId::of_effect(EffectId::fresh(&fresh)),
            session: SessionId::fresh(&fresh),
            parent: AgentRef::Agent(AgentId::fresh(&fresh)),
            name: "scout".into(),
            task: "Look.".into(),
            opened_at: Timestamp::from_millis(1_000),
            closed_at: None,
        };
        let mut expected = json!({
            "id": value.id, "object": "agent.session.subagent", "session_id": value.session,
            "parent_agent_id": value.parent, "name": "scout", "status": "active", "opened_at": 1,
            "closed_at": null, "instructions": [{"type": "output_text", "text": "Look."}],
        });
        assert_eq!(subagent(&value), expected);
        value.closed_at = Some(Timestamp::from_millis(2_000));
        expected["status"] = json!("closed");
        expected["closed_at"] = json!(2);
        assert_eq!(subagent(&value), expected);
    }
}

//! Turns.

use serde_json::{Value, json};
use tenure_journal::{SessionId, SubagentId, Timestamp, Turn};

/// A turn of a session: its own, or one of a subagent.
pub(crate) fn turn(session: SessionId, subagent: Option<SubagentId>, turn: &Turn) -> Value {
    json!({
        "id": turn.id,
        "object": "agent.session.turn",
        "session_id": session,
        "agent_id": turn.agent_id,
        "subagent_id": subagent,
        "status": turn.status,
        "created_at": turn.created_at.as_secs(),
        "started_at": turn.started_at.map(Timestamp::as_secs),
        "completed_at": turn.completed_at.map(Timestamp::as_secs),
        "error": turn.error.as_ref().map(|error| json!({"code": error.code, "message": error.message})),
        "usage": super::usage(turn.usage.as_ref()),
        "prompt_cache_options": turn.cache_ttl.as_ref().map(|ttl| json!({"ttl": ttl})),
    })
}

#[cfg(test)]
mod tests {
    use tenure_journal::{AgentId, TurnError, TurnId, TurnStatus};

    use super::*;
    use crate::show::session::tests::fresh;

    #[test]
    fn shows_a_failed_turn() {
        let fresh = fresh();
        let session = SessionId::fresh(&fresh);
        let value = Turn {
            id: TurnId::fresh(&fresh),
            agent_id: AgentId::fresh(&fresh),
            status: TurnStatus::Failed,
            created_at: Timestamp::from_millis(1_000),
            started_at: Some(Timestamp::from_millis(2_000)),
            completed_at: None,
            error: Some(TurnError { code: "server_error".into(), message: "no".into() }),
            usage: None,
            cache_ttl: Some("30m".into()),
        };
        assert_eq!(
            turn(session, None, &value),
            json!({
                "id": value.id, "object": "agent.session.turn", "session_id": session,
                "agent_id": value.agent_id, "subagent_id": null, "status": "failed", "created_at": 1,
                "started_at": 2, "completed_at": null, "error": {"code": "server_error", "message": "no"},
                "usage": null, "prompt_cache_options": {"ttl": "30m"},
            })
        );
    }
}

//! Traces.

use serde_json::{Value, json};
use tenure_journal::SessionId;
use tenure_runtime::ShownTrace;

/// The trace of a root turn.
pub(crate) fn trace(session: SessionId, trace: &ShownTrace) -> Value {
    json!({
        "id": trace.turn_id,
        "object": "agent.session.trace",
        "session_id": session,
        "created_at": trace.created_at.as_secs(),
        "otlp": trace.otlp,
    })
}

//! Automations and their invocations.

use serde_json::{Value, json};
use tenure_journal::{
    Automation, AutomationStatus, CreatedBy, InvocationStatus, NewSessionTarget, Schedule, Target,
    TargetAgent,
};
use tenure_runtime::{SavedAutomation, SavedInvocation};

use super::agent::automation_agent;
use super::item::parts;

/// An automation.
pub(crate) fn automation(saved: &SavedAutomation) -> Value {
    let body = &saved.body;
    let (status, pause_reason) = status(body);
    let mut shown = json!({
        "id": saved.id,
        "object": "agent.automation",
        "type": match body.schedule { Schedule::Periodic { .. } => "periodic", Schedule::Once { .. } => "once" },
        "name": body.name,
        "metadata": body.metadata,
        "status": status,
        "pause_reason": pause_reason,
        "created_at": saved.document.created_at.as_secs(),
        "created_by": created_by(&body.created_by),
        "target": target(&body.target),
    });
    match &body.schedule {
        Schedule::Periodic { expression, timezone } => {
            shown["expression"] = json!(expression);
            shown["timezone"] = json!(timezone);
        }
        Schedule::Once { run_at } => shown["run_at"] = json!(run_at.as_secs()),
    }
    shown
}

fn status(automation: &Automation) -> (&'static str, Option<&'static str>) {
    match automation.status {
        AutomationStatus::Active { .. } => ("active", None),
        AutomationStatus::Paused { reason } => ("paused", reason.map(|reason| reason.as_str())),
        AutomationStatus::Completed => ("completed", None),
    }
}

fn created_by(created_by: &CreatedBy) -> Value {
    match created_by {
        CreatedBy::Developer => json!({"type": "developer"}),
        CreatedBy::Agent { session_id, tool_call_id } => {
            json!({"type": "agent", "session_id": session_id, "tool_call_id": tool_call_id})
        }
    }
}

fn target(target: &Target) -> Value {
    match target {
        Target::NewSession(target) => new_session(target),
        Target::ExistingSession { session_id, instructions } => {
            json!({"type": "existing_session", "session_id": session_id, "instructions": instructions})
        }
    }
}

fn new_session(target: &NewSessionTarget) -> Value {
    let (agent_id, agent) = match &target.agent {
        TargetAgent::Saved { agent_id } => (json!(agent_id), Value::Null),
        TargetAgent::Inline { config } => (Value::Null, automation_agent(config)),
    };
    let message = |content: &Vec<_>| json!({"type": "message", "role": "user", "content": parts(content)});
    json!({
        "type": "new_session",
        "agent_id": agent_id,
        "agent": agent,
        "environment": super::environment::target(&target.environment),
        "input": target.input.iter().map(message).collect::<Vec<_>>(),
        "metadata": target.metadata,
        "vault_ids": target.vault_ids,
    })
}

/// An invocation; `snapshot` is the version of the automation that it delivers, where its schedule made it.
pub(crate) fn invocation(saved: &SavedInvocation, snapshot: Option<&SavedAutomation>) -> Value {
    let body = &saved.body;
    let (status, skip_reason, error) = match &body.status {
        InvocationStatus::Queued { .. } => ("queued", None, Value::Null),
        InvocationStatus::Completed => ("completed", None, Value::Null),
        InvocationStatus::Failed { code, message } => {
            ("failed", None, json!({"code": code, "message": message}))
        }
        InvocationStatus::Skipped => ("skipped", Some("pending_delivery"), Value::Null),
    };
    json!({
        "id": saved.id,
        "object": "agent.automation.invocation",
        "automation_id": body.automation_id,
        "created_at": saved.document.created_at.as_secs(),
        "scheduled_at": body.scheduled_at.map(|at| at.as_secs()),
        "session_id": body.session_id,
        "status": status,
        "skip_reason": skip_reason,
        "error": error,
        "source": match snapshot {
            Some(snapshot) => json!({"type": "automation", "automation": automation(snapshot)}),
            None => json!({"type": "manual"}),
        },
    })
}

//! What is remembered on purpose, as JSON.

use serde_json::{Value, json};
use tenure_journal::{Closing, FactAuthor, FactSource, FactState, MemorySettings, ProcedureState, Timestamp};
use tenure_runtime::{
    KeptFact, MemoryOutcome, SavedBlock, SavedFact, SavedProcedure, Standing, fact as facts, rfc3339,
};

fn moment(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, |at| json!(rfc3339(at)))
}

fn source(source: &FactSource) -> Value {
    let at = rfc3339(source.at);
    match &source.by {
        FactAuthor::Call { session, item, effect } => {
            json!({"type": "agent", "at": at, "session_id": session, "item_id": item, "effect_id": effect})
        }
        FactAuthor::Extraction { session, items, effect } => {
            json!({"type": "extraction", "at": at, "session_id": session, "item_ids": items, "effect_id": effect})
        }
        FactAuthor::Caller { id } => json!({"type": "caller", "at": at, "id": id}),
    }
}

/// A fact with its times and where it is from.
pub(crate) fn fact(saved: &SavedFact) -> Value {
    let fact = &saved.fact;
    let (closing, rejection): (Option<&Closing>, _) = match &fact.state {
        FactState::Closed(closing) => (Some(closing), None),
        FactState::Rejected { by, reason } => (None, Some((by, reason))),
        FactState::Active | FactState::Proposed => (None, None),
    };
    let held = facts::held(fact);
    json!({
        "id": saved.id,
        "object": "tenure.memory.fact",
        "version": saved.document.version,
        "scope": fact.scope,
        "subject": fact.subject,
        "statement": fact.statement,
        "state": Standing::of(&fact.state).as_str(),
        "valid_from": moment(fact.valid_from),
        "valid_to": moment(held.map_or(fact.valid_to, |held| held.until)),
        "never_true": matches!(closing, Some(Closing { true_until: None, .. })),
        "learned_at": rfc3339(fact.learned_at),
        "closed_at": moment(closing.map(|closing| closing.at)),
        "closed_by": closing.map(|closing| source(&closing.by)),
        "rejected_by": rejection.map(|(by, _)| source(by)),
        "reason": closing.and_then(|closing| closing.reason.clone())
            .or_else(|| rejection.and_then(|(_, reason)| reason.clone())),
        "confidence": fact.confidence.as_percent(),
        "said": fact.said,
        "sources": fact.sources.iter().map(source).collect::<Vec<_>>(),
        "labels": fact.labels,
        "supersedes": fact.supersedes,
        "superseded_by": fact.superseded_by,
        "updated_at": rfc3339(saved.document.updated_at),
    })
}

/// A fact after a change, with what the change was.
pub(crate) fn kept(kept: &KeptFact) -> Value {
    let mut shown = fact(&kept.saved);
    shown["outcome"] = json!(match kept.outcome {
        MemoryOutcome::Added => "added",
        MemoryOutcome::Confirmed => "confirmed",
        MemoryOutcome::Proposed => "proposed",
        MemoryOutcome::Corrected => "corrected",
        MemoryOutcome::Closed => "closed",
        MemoryOutcome::Rejected => "rejected",
    });
    shown
}

/// A pinned block.
pub(crate) fn block(saved: &SavedBlock) -> Value {
    let block = &saved.block;
    json!({
        "id": saved.document.id,
        "object": "tenure.memory.block",
        "version": saved.document.version,
        "scope": block.scope,
        "name": block.name,
        "text": block.text,
        "labels": block.labels,
        "by": source(&block.by),
        "proposed": block.proposed.as_ref().map(|proposed| json!({
            "text": proposed.text, "labels": proposed.labels, "by": source(&proposed.by),
        })),
        "deleted": saved.document.deleted,
        "updated_at": rfc3339(saved.document.updated_at),
    })
}

/// A procedure, or a proposal of one.
pub(crate) fn procedure(saved: &SavedProcedure) -> Value {
    let procedure = &saved.procedure;
    let (accepted, revises, rejection) = match &procedure.state {
        ProcedureState::Accepted { by } => (by.as_ref(), None, None),
        ProcedureState::Proposed { revises } => (None, *revises, None),
        ProcedureState::Rejected { by, reason } => (None, None, Some((by, reason))),
    };
    json!({
        "id": saved.document.id,
        "object": "tenure.memory.procedure",
        "version": saved.document.version,
        "scope": procedure.scope,
        "name": procedure.name,
        "status": procedure.state.as_str(),
        "description": procedure.description,
        "steps": procedure.steps,
        "labels": procedure.labels,
        "sources": procedure.sources.iter().map(source).collect::<Vec<_>>(),
        "revises": revises,
        "accepted_by": accepted.map(source),
        "rejected_by": rejection.map(|(by, _)| source(by)),
        "reason": rejection.and_then(|(_, reason)| reason.clone()),
        "deleted": saved.document.deleted,
        "updated_at": rfc3339(saved.document.updated_at),
    })
}

/// How a scope is written to.
pub(crate) fn memory_settings(settings: &MemorySettings) -> Value {
    json!({"object": "tenure.memory.settings", "scope": settings.scope, "review": settings.review})
}

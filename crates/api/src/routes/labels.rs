//! `/v1/tenure/sessions/{session}/labels` and `/grants`: what flowed into a session, and what it was given leave
//! for.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tenure_journal::{Labels, Timestamp};
use tenure_session::{Command, GrantView, LabelChange, Session};

use super::sessions::{key, replay_or};
use crate::call::Call;
use crate::error::ApiError;
use crate::idempotency::{self, Begin};
use crate::read::{Field, read_grant};

/// A session's labels, which events made them so, and its grants with their uses.
pub(super) async fn retrieve(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    let key = key(&call)?;
    let journal = call.app.runtime.journal(key).await?;
    let state = Session::fold(key, None, &journal).filter(|state| !state.is_deleted());
    let state = state.ok_or_else(|| ApiError::not_found("session"))?;
    let body = json!({
        "object": "tenure.session.labels",
        "session_id": key.session,
        "labels": labels(state.labels()),
        "files": labels(state.file_labels()),
        "changes": Session::label_changes(key, &journal).iter().map(change).collect::<Vec<_>>(),
        "grants": state.grants().map(|view| grant(&view)).collect::<Vec<_>>(),
    });
    Ok(Json(body).into_response())
}

/// Gives leave for certain calls from now on.
pub(super) async fn grant_more(mut call: Call) -> Result<Response, ApiError> {
    let key = key(&call)?;
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let grant = read_grant(Field::whole(&body))?;
    let draft = ticket.as_ref().map(|ticket| ticket.draft(StatusCode::ACCEPTED, |_| String::new()));
    match call.app.runtime.submit(key, vec![Command::Grant { grant }], draft).await {
        Ok(_) => Ok(StatusCode::ACCEPTED.into_response()),
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

/// Labels with every member, neutral ones included.
fn labels(labels: &Labels) -> Value {
    json!({
        "integrity": labels.integrity,
        "confidentiality": labels.confidentiality,
        "categories": labels.categories,
        "regions": labels.regions,
    })
}

fn change(change: &LabelChange) -> Value {
    json!({
        "version": change.version,
        "at": change.at.as_millis(),
        "what": change.what,
        "labels": labels(&change.labels),
    })
}

fn grant(view: &GrantView<'_>) -> Value {
    json!({
        "number": view.number,
        "tool": view.grant.tool,
        "arguments": view.grant.arguments,
        "uses_max": view.grant.uses_max,
        "uses": view.uses,
        "expires_at": view.grant.expires_at.map(Timestamp::as_secs),
        "by": view.grant.by,
    })
}

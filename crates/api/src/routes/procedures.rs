//! `/v1/tenure/memory/procedures`: what is in force, what was proposed, and a person's answer.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tenure_journal::limit;
use tenure_policy::MemoryUse;
use tenure_runtime::procedure::ProcedureText;
use tenure_runtime::{MemoryError, ProcedureAnswer, SavedProcedure};
use tenure_store::Receipt;

use super::facts::{by, read_reason, replay_or, scope, scope_in};
use crate::call::Call;
use crate::error::ApiError;
use crate::idempotency::{self, Begin, Ticket};
use crate::query;
use crate::read::{Reader, unsupported_value};
use crate::show;
use crate::verbs::check_scope;

/// Words of the filter by status.
const STATUSES: &[&str] = &["accepted", "proposed", "rejected"];

fn id(call: &Call) -> Result<String, ApiError> {
    call.id("procedure", "memory")
}

/// A procedure or a proposal that the caller may do this with.
async fn found(call: &Call, id: &str, what: MemoryUse) -> Result<SavedProcedure, ApiError> {
    let saved = call.app.runtime.procedure(call.project(), id).await?;
    check_scope(call, &saved.procedure.scope, what).await?;
    Ok(saved)
}

pub(super) async fn list(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &["scope", "status"])?;
    let scope = scope(&call)?;
    check_scope(&call, &scope, MemoryUse::Read).await?;
    let status = call.query.one("status")?;
    if let Some(word) = status.filter(|word| !STATUSES.contains(word)) {
        return Err(unsupported_value("status", word, STATUSES));
    }
    let mut found = call.app.runtime.procedures(call.project(), &scope).await?;
    found.retain(|saved| status.is_none_or(|status| status == saved.procedure.state.as_str()));
    Ok(query::list(found.iter().map(show::procedure).collect(), false))
}

pub(super) async fn retrieve(call: Call) -> Result<Response, ApiError> {
    let found = found(&call, &id(&call)?, MemoryUse::Read).await?;
    Ok(Json(show::procedure(&found)).into_response())
}

pub(super) async fn history(call: Call) -> Result<Response, ApiError> {
    let found = call.app.runtime.procedure_history(call.project(), &id(&call)?).await?;
    if let Some(last) = found.last() {
        check_scope(&call, &last.procedure.scope, MemoryUse::Read).await?;
    }
    Ok(query::list(found.iter().map(show::procedure).collect(), false))
}

/// Writes a procedure: it is in force at once, in the place of one of its name.
pub(super) async fn put(mut call: Call) -> Result<Response, ApiError> {
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let mut reader = Reader::new("", &body)?;
    let scope = scope_in(&reader.required("scope")?)?;
    check_scope(&call, &scope, MemoryUse::Write).await?;
    let name = reader.required("name")?.string()?;
    let description = reader.required("description")?.text(limit::PROCEDURE_DESCRIPTION_BYTES_MAX)?;
    let steps = reader.required("steps")?.any_text(limit::PROCEDURE_STEPS_BYTES_MAX)?;
    let text = ProcedureText::new(name, description, steps).map_err(MemoryError::from)?;
    reader.finish()?;
    let receipt = |saved: &SavedProcedure| receipt(ticket.as_ref(), saved);
    let done = call.acting().put_procedure(call.project(), &scope, text, by(&call), &receipt).await;
    answered(&call, ticket.as_ref(), done).await
}

pub(super) async fn delete(call: Call) -> Result<Response, ApiError> {
    let id = id(&call)?;
    found(&call, &id, MemoryUse::Write).await?;
    call.acting().remove_procedure(call.project(), &id).await?;
    Ok(Json(json!({"id": id, "object": "tenure.memory.procedure.deleted", "deleted": true})).into_response())
}

pub(super) async fn accept(call: Call) -> Result<Response, ApiError> {
    answer(call, |_| Ok(ProcedureAnswer::Accept)).await
}

pub(super) async fn reject(call: Call) -> Result<Response, ApiError> {
    answer(call, |reader| Ok(ProcedureAnswer::Reject { reason: read_reason(reader)? })).await
}

async fn answer(
    mut call: Call,
    read: impl FnOnce(&mut Reader<'_>) -> Result<ProcedureAnswer, ApiError>,
) -> Result<Response, ApiError> {
    let id = id(&call)?;
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    found(&call, &id, MemoryUse::Write).await?;
    let mut reader = Reader::new("", &body)?;
    let answer = read(&mut reader)?;
    reader.finish()?;
    let receipt = |saved: &SavedProcedure| receipt(ticket.as_ref(), saved);
    let by = by(&call);
    let done = call.acting().answer_procedure(call.project(), &id, &answer, &by, &receipt).await;
    answered(&call, ticket.as_ref(), done).await
}

async fn answered(
    call: &Call,
    ticket: Option<&Ticket>,
    done: Result<SavedProcedure, MemoryError>,
) -> Result<Response, ApiError> {
    match done {
        Ok(saved) => Ok(Json(show::procedure(&saved)).into_response()),
        Err(error) => replay_or(call, ticket, error).await,
    }
}

fn receipt(ticket: Option<&Ticket>, saved: &SavedProcedure) -> Option<Receipt> {
    let at = saved.document.updated_at;
    ticket.map(|ticket| ticket.receipt(StatusCode::OK, show::procedure(saved).to_string(), at))
}

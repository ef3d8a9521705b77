//! `/v1/tenure/memory/blocks`: pinned blocks; and how scopes are written to.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tenure_journal::{MemorySettings, limit};
use tenure_policy::MemoryUse;
use tenure_runtime::SavedBlock;
use tenure_store::Receipt;

use super::facts::{by, replay_or, scope, scope_in};
use crate::call::Call;
use crate::error::ApiError;
use crate::idempotency::{self, Begin, Ticket};
use crate::query;
use crate::read::Reader;
use crate::show;
use crate::verbs::check_scope;

fn id(call: &Call) -> Result<String, ApiError> {
    call.id("block", "memory")
}

/// A block that the caller may do this with.
async fn found(call: &Call, id: &str, what: MemoryUse) -> Result<SavedBlock, ApiError> {
    let saved = call.app.runtime.block(call.project(), id).await?;
    check_scope(call, &saved.block.scope, what).await?;
    Ok(saved)
}

pub(super) async fn list(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &["scope"])?;
    let scope = scope(&call)?;
    check_scope(&call, &scope, MemoryUse::Read).await?;
    let found = call.app.runtime.blocks(call.project(), &scope).await?;
    Ok(query::list(found.iter().map(show::block).collect(), false))
}

pub(super) async fn retrieve(call: Call) -> Result<Response, ApiError> {
    let found = found(&call, &id(&call)?, MemoryUse::Read).await?;
    Ok(Json(show::block(&found)).into_response())
}

pub(super) async fn history(call: Call) -> Result<Response, ApiError> {
    let found = call.app.runtime.block_history(call.project(), &id(&call)?).await?;
    if let Some(last) = found.last() {
        check_scope(&call, &last.block.scope, MemoryUse::Read).await?;
    }
    Ok(query::list(found.iter().map(show::block).collect(), false))
}

/// Writes a block: one that is there by another text, or a new one.
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
    let text = reader.required("text")?.any_text(limit::BLOCK_BYTES_MAX)?;
    reader.finish()?;
    let receipt = |saved: &SavedBlock| receipt(ticket.as_ref(), saved);
    let done = call.acting().put_block(call.project(), (&scope, name), text, &by(&call), &receipt).await;
    match done {
        Ok(saved) => Ok(Json(show::block(&saved)).into_response()),
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

pub(super) async fn delete(call: Call) -> Result<Response, ApiError> {
    let id = id(&call)?;
    found(&call, &id, MemoryUse::Write).await?;
    call.acting().remove_block(call.project(), &id).await?;
    Ok(Json(json!({"id": id, "object": "tenure.memory.block.deleted", "deleted": true})).into_response())
}

pub(super) async fn accept(call: Call) -> Result<Response, ApiError> {
    answer(call, true).await
}

pub(super) async fn reject(call: Call) -> Result<Response, ApiError> {
    answer(call, false).await
}

async fn answer(mut call: Call, accept: bool) -> Result<Response, ApiError> {
    let id = id(&call)?;
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    found(&call, &id, MemoryUse::Write).await?;
    Reader::new("", &body)?.finish()?;
    let receipt = |saved: &SavedBlock| receipt(ticket.as_ref(), saved);
    match call.acting().answer_block(call.project(), &id, accept, &receipt).await {
        Ok(saved) => Ok(Json(show::block(&saved)).into_response()),
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

fn receipt(ticket: Option<&Ticket>, saved: &SavedBlock) -> Option<Receipt> {
    let at = saved.document.updated_at;
    ticket.map(|ticket| ticket.receipt(StatusCode::OK, show::block(saved).to_string(), at))
}

pub(super) async fn settings(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &["scope"])?;
    let scope = scope(&call)?;
    check_scope(&call, &scope, MemoryUse::Read).await?;
    let found = call.app.runtime.memory_settings(call.project(), &scope).await?;
    Ok(Json(show::memory_settings(&found)).into_response())
}

pub(super) async fn put_settings(mut call: Call) -> Result<Response, ApiError> {
    let body = call.read_body().await?;
    let mut reader = Reader::new("", &body)?;
    let scope = scope_in(&reader.required("scope")?)?;
    check_scope(&call, &scope, MemoryUse::Write).await?;
    let review = reader.required("review")?.bool()?;
    reader.finish()?;
    let settings = MemorySettings { scope, review };
    let kept = call.acting().put_memory_settings(call.project(), settings).await?;
    Ok(Json(show::memory_settings(&kept)).into_response())
}

//! `/v1/agents`: saved agents.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tenure_journal::{AgentConfig, AgentId, ApprovalMode, Pinned};
use tenure_store::{DocumentKind, StoreErrorKind};

use super::created;
use crate::agents::{self, AgentError, Saved};
use crate::call::Call;
use crate::error::{ApiError, bad_cursor, undecodable};
use crate::idempotency::{self, Begin, Ticket};
use crate::query::{self, Limit};
use crate::read::{AgentFields, AgentScope, Reader, approval_of};
use crate::show;

/// Tries of an update that meets another.
const UPDATE_ATTEMPTS: u32 = 4;

impl From<AgentError> for ApiError {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Store(error) => error.into(),
            AgentError::Damaged(error) => undecodable("saved agent", &error),
            AgentError::NotFound => Self::not_found("agent"),
            AgentError::NoVersion { .. } => {
                Self::invalid(format!("Invalid 'version': {error}.")).code("invalid_value").param("version")
            }
            AgentError::AlreadyLatest { .. } => Self::conflict(error.to_string()),
            AgentError::Ambiguous { .. } => Self::conflict(error.to_string()).param("agent_id"),
        }
    }
}

pub(super) async fn list(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    let page = call.query.page(Limit::Clamped)?;
    if page.after.as_ref().is_some_and(|after| after.parse::<AgentId>().is_err()) {
        return Err(bad_cursor());
    }
    let mut documents = call.store().documents(call.project(), DocumentKind::Agent, None, &page).await?;
    let has_more = query::cut(&mut documents, &page);
    let mut data = Vec::with_capacity(documents.len());
    for document in documents {
        data.push(shown(&Saved::from_document(document)?));
    }
    Ok(query::list(data, has_more))
}

pub(super) async fn retrieve(call: Call) -> Result<Response, ApiError> {
    let id = call.id("agent", "agent")?;
    let saved = agents::by_id(call.store(), call.project(), id).await?;
    Ok(Json(shown(&saved.ok_or_else(|| ApiError::not_found("agent"))?)).into_response())
}

pub(super) async fn create(mut call: Call) -> Result<Response, ApiError> {
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let mut fields = AgentFields::read(Reader::new("", &body)?, AgentScope::Saved)?;
    if let Some(tools) = &fields.tools {
        call.check_servers(tools.as_slice(), "tools")?;
    }
    let model = fields.model.clone().ok_or_else(|| crate::read::missing("model"))?;
    let now = call.app.runtime.now();
    let id = AgentId::fresh(&call.app.runtime.fresh());
    let mut pinned = Pinned {
        config: AgentConfig::new(id, model),
        metadata: Default::default(),
        provenance: Default::default(),
    };
    change(&call, &mut pinned, &mut fields).await?;
    let receipt = |saved: &Saved| keep(ticket.as_ref(), StatusCode::CREATED, saved);
    match agents::create(call.store(), call.project(), now, call.author(), pinned, receipt).await {
        Ok(saved) => Ok(created(&shown(&saved))),
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

pub(super) async fn update(mut call: Call) -> Result<Response, ApiError> {
    let id: AgentId = call.id("agent", "agent")?;
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let mut fields = AgentFields::read(Reader::new("", &body)?, AgentScope::Saved)?;
    if let Some(tools) = &fields.tools {
        call.check_servers(tools.as_slice(), "tools")?;
    }
    let tools = match fields.tools.take() {
        Some(tools) => Some(tools.seal(&call.app.runtime, call.project()).await?),
        None => None,
    };
    let mut attempt = 1;
    loop {
        let saved = agents::by_id(call.store(), call.project(), id).await?;
        let saved = saved.ok_or_else(|| ApiError::not_found("agent"))?;
        let mut pinned = saved.pinned.clone();
        change(&call, &mut pinned, &mut fields).await?;
        if let Some(tools) = &tools {
            pinned.config.tools.clone_from(tools);
        }
        let now = call.app.runtime.now();
        let receipt = |saved: &Saved| keep(ticket.as_ref(), StatusCode::OK, saved);
        match agents::replace(call.store(), now, call.author(), &saved, pinned, receipt).await {
            Ok(saved) => return Ok(Json(shown(&saved)).into_response()),
            Err(AgentError::Store(error)) if agents::is_conflict(&error) && attempt < UPDATE_ATTEMPTS => {
                attempt += 1;
            }
            Err(error) => return replay_or(&call, ticket.as_ref(), error).await,
        }
    }
}

pub(super) async fn delete(call: Call) -> Result<Response, ApiError> {
    let id: AgentId = call.id("agent", "agent")?;
    let now = call.app.runtime.now();
    if !agents::delete(call.store(), call.project(), now, call.author(), id).await? {
        return Err(ApiError::not_found("agent"));
    }
    Ok(Json(json!({"id": id, "object": "agent.deleted", "deleted": true})).into_response())
}

/// Applies what was sent, tools included, and the approval mode that metadata asks for.
async fn change(call: &Call, pinned: &mut Pinned, fields: &mut AgentFields) -> Result<(), ApiError> {
    fields.apply(&mut pinned.config);
    if let Some(metadata) = &fields.metadata {
        let mode = approval_of(metadata, "metadata")?;
        pinned.config.approval = mode.unwrap_or(ApprovalMode::Destructive);
        pinned.metadata.clone_from(metadata);
    }
    if let Some(tools) = fields.tools.take() {
        pinned.config.tools = tools.seal(&call.app.runtime, call.project()).await?;
    }
    Ok(())
}

fn shown(saved: &Saved) -> serde_json::Value {
    show::saved_agent(&saved.document, &saved.pinned)
}

fn keep(ticket: Option<&Ticket>, status: StatusCode, saved: &Saved) -> Option<tenure_store::Receipt> {
    let at = saved.document.updated_at;
    ticket.map(|ticket| ticket.receipt(status, shown(saved).to_string(), at))
}

/// The first outcome of the idempotency key, if that is why the request failed.
pub(super) async fn replay_or(
    call: &Call,
    ticket: Option<&Ticket>,
    error: AgentError,
) -> Result<Response, ApiError> {
    if let (AgentError::Store(store), Some(ticket)) = (&error, ticket)
        && store.kind() == StoreErrorKind::ReceiptExists
        && let Some(response) = ticket.replay(call).await?
    {
        return Ok(response);
    }
    Err(error.into())
}

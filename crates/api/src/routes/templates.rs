//! `/v1/agents/environments/templates`: reusable configurations of hosted environments.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tenure_journal::{HostedSettings, Template, TemplateId};
use tenure_runtime::{SavedTemplate, TemplateError, templates};
use tenure_store::{Receipt, StoreErrorKind};

use super::created;
use crate::call::Call;
use crate::error::{ApiError, bad_cursor, undecodable};
use crate::idempotency::{self, Begin, Ticket};
use crate::query::{self, Limit};
use crate::read::{TemplateBody, TemplateChange, refused_settings};
use crate::show;

impl From<TemplateError> for ApiError {
    fn from(error: TemplateError) -> Self {
        match error {
            TemplateError::NotFound => Self::not_found("environment template"),
            TemplateError::Store(error) => error.into(),
            TemplateError::Damaged(error) => undecodable("environment template", &error),
        }
    }
}

fn id(call: &Call) -> Result<TemplateId, ApiError> {
    call.id("template", "environment template")
}

pub(super) async fn list(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    let page = call.query.page(Limit::Clamped)?;
    if page.after.as_ref().is_some_and(|after| after.parse::<TemplateId>().is_err()) {
        return Err(bad_cursor());
    }
    let mut found = templates::list(&**call.store(), call.project(), &page).await?;
    let has_more = query::cut(&mut found, &page);
    Ok(query::list(found.iter().map(show::template).collect(), has_more))
}

pub(super) async fn retrieve(call: Call) -> Result<Response, ApiError> {
    let saved = templates::find(&**call.store(), call.project(), id(&call)?).await?;
    Ok(Json(show::template(&saved)).into_response())
}

pub(super) async fn create(mut call: Call) -> Result<Response, ApiError> {
    let body = call.read_body_of(crate::body::FILE_BODY_BYTES_MAX).await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let change = checked(&call, TemplateBody::read(&body)?, HostedSettings::default()).await?;
    let (now, id) = (call.app.runtime.now(), TemplateId::fresh(&call.app.runtime.fresh()));
    let template = change.apply(Template { name: None, settings: HostedSettings::default() });
    let receipt = |saved: &SavedTemplate| keep(ticket.as_ref(), StatusCode::CREATED, saved);
    match templates::create(&**call.store(), (call.project(), id), now, template, receipt).await {
        Ok(saved) => Ok(created(&show::template(&saved))),
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

pub(super) async fn update(mut call: Call) -> Result<Response, ApiError> {
    let id = id(&call)?;
    let body = call.read_body_of(crate::body::FILE_BODY_BYTES_MAX).await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let latest = templates::find(&**call.store(), call.project(), id).await?;
    let change = checked(&call, TemplateBody::read(&body)?, latest.body.settings).await?;
    let now = call.app.runtime.now();
    let receipt = |saved: &SavedTemplate| keep(ticket.as_ref(), StatusCode::OK, saved);
    let changed = |before| change.clone().apply(before);
    match templates::update(&**call.store(), (call.project(), id), now, changed, receipt).await {
        Ok(saved) => Ok(Json(show::template(&saved)).into_response()),
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

pub(super) async fn delete(call: Call) -> Result<Response, ApiError> {
    let id = id(&call)?;
    templates::delete(&**call.store(), (call.project(), id), call.app.runtime.now()).await?;
    let deleted = json!({"id": id, "object": "agent.environment.template.deleted", "deleted": true});
    Ok(Json(deleted).into_response())
}

/// A change that leaves settings which can be had here. The last thing before it is written: a request that is
/// refused leaves nothing sealed behind.
async fn checked(
    call: &Call,
    body: TemplateBody,
    before: HostedSettings,
) -> Result<TemplateChange, ApiError> {
    let runtime = &call.app.runtime;
    runtime
        .check_settings(&body.settings.plain().over(&before))
        .map_err(|refusal| refused_settings(refusal, ""))?;
    body.keep(runtime, call.project()).await
}

fn keep(ticket: Option<&Ticket>, status: StatusCode, saved: &SavedTemplate) -> Option<Receipt> {
    let at = saved.document.updated_at;
    ticket.map(|ticket| ticket.receipt(status, show::template(saved).to_string(), at))
}

/// The first outcome of the idempotency key, if that is why the request failed.
async fn replay_or(call: &Call, ticket: Option<&Ticket>, error: TemplateError) -> Result<Response, ApiError> {
    if let (TemplateError::Store(store), Some(ticket)) = (&error, ticket)
        && store.kind() == StoreErrorKind::ReceiptExists
        && let Some(response) = ticket.replay(call).await?
    {
        return Ok(response);
    }
    Err(error.into())
}

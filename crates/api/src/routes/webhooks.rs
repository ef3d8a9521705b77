//! `/v1/tenure/webhooks`: addresses that are told of what happens to sessions. In form they are the webhook
//! endpoints of the official client.

use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tenure_journal::WebhookId;
use tenure_runtime::{DeadLetter, EventType, NewWebhook, Webhook, WebhookError, WebhookPatch};
use tenure_store::{Receipt, StoreErrorKind};

use super::created;
use crate::call::Call;
use crate::error::{ApiError, bad_cursor, undecodable};
use crate::idempotency::{self, Begin, Ticket};
use crate::query::{self, Limit};
use crate::read::{Field, Reader};

/// Characters of a webhook's name.
const NAME_CHARS_MAX: usize = 128;
/// Characters of an address; what it may say is judged elsewhere.
const URL_CHARS_MAX: usize = 2048;
/// Seconds that the secret before stays valid beside a new one, unless told otherwise: a day.
const OVERLAP_SECS_DEFAULT: u64 = 24 * 60 * 60;
/// Seconds it may stay valid: a week.
const OVERLAP_SECS_MAX: u64 = 7 * 24 * 60 * 60;

impl From<WebhookError> for ApiError {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::Store(error) => error.into(),
            WebhookError::NotFound => Self::not_found("webhook"),
            WebhookError::NoDeadLetter => Self::not_found("dead letter"),
            WebhookError::TooMany => Self::conflict(sentence(&error)).code("too_many_webhooks"),
            WebhookError::Address(why) => {
                Self::invalid(format!("Invalid 'url': {why}.")).code("url_not_allowed").param("url")
            }
            WebhookError::Sealing => crate::error::sealing(),
            WebhookError::Damaged(error) => undecodable("webhook", &error),
            WebhookError::DamagedId => {
                tracing::error!("a stored webhook has no valid id");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "A stored webhook cannot be read.")
                    .code("damaged")
            }
        }
    }
}

fn sentence(error: &WebhookError) -> String {
    let text = error.to_string();
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).chain(['.']).collect()
}

pub(super) async fn list(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &["limit", "after", "order"])?;
    let page = call.query.page(Limit::Strict)?;
    if page.after.as_ref().is_some_and(|after| after.parse::<WebhookId>().is_err()) {
        return Err(bad_cursor());
    }
    let mut webhooks = call.app.runtime.webhooks(call.project(), &page).await?;
    let has_more = query::cut(&mut webhooks, &page);
    Ok(query::list(webhooks.iter().map(shown).collect(), has_more))
}

pub(super) async fn create(mut call: Call) -> Result<Response, ApiError> {
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let mut reader = Reader::new("", &body)?;
    let url = reader.required("url")?.text(URL_CHARS_MAX)?.to_owned();
    let name = reader.optional_or_null("name").map(|field| field.text(NAME_CHARS_MAX)).transpose()?;
    let event_types =
        reader.optional_or_null("event_types").map(|field| read_event_types(&field)).transpose()?;
    let name = name.unwrap_or("webhook").to_owned();
    reader.finish()?;
    let new = NewWebhook { name, url, event_types: event_types.unwrap_or_else(|| EventType::ALL.into()) };
    let receipt = |webhook: &Webhook| keep(ticket.as_ref(), StatusCode::CREATED, webhook);
    match call.acting().create_webhook(call.project(), new, receipt).await {
        Ok((webhook, secret)) => Ok(created(&with_secret(&webhook, Some(secret.expose())))),
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

pub(super) async fn retrieve(call: Call) -> Result<Response, ApiError> {
    let webhook = call.app.runtime.webhook(call.project(), id(&call)?).await?;
    Ok(Json(shown(&webhook)).into_response())
}

pub(super) async fn update(mut call: Call) -> Result<Response, ApiError> {
    let id = id(&call)?;
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let mut reader = Reader::new("", &body)?;
    let text = |field: Option<Field<'_>>, chars_max| {
        field.map(|field| field.text(chars_max).map(str::to_owned)).transpose()
    };
    let patch = WebhookPatch {
        name: text(reader.optional("name"), NAME_CHARS_MAX)?,
        url: text(reader.optional("url"), URL_CHARS_MAX)?,
        event_types: reader.optional("event_types").map(|field| read_event_types(&field)).transpose()?,
    };
    reader.finish()?;
    let receipt = |webhook: &Webhook| {
        ticket
            .as_ref()
            .map(|ticket| ticket.receipt(StatusCode::OK, shown(webhook).to_string(), webhook.updated_at))
    };
    match call.acting().update_webhook(call.project(), id, &patch, receipt).await {
        Ok(webhook) => Ok(Json(shown(&webhook)).into_response()),
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

pub(super) async fn rotate(mut call: Call) -> Result<Response, ApiError> {
    let id = id(&call)?;
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let mut reader = Reader::new("", &body)?;
    let overlap = reader.optional_or_null("overlap_seconds");
    let overlap = overlap.map(|field| field.integer(0, OVERLAP_SECS_MAX)).transpose()?;
    reader.finish()?;
    let overlap = Duration::from_secs(overlap.unwrap_or(OVERLAP_SECS_DEFAULT));
    let receipt = |webhook: &Webhook| keep(ticket.as_ref(), StatusCode::OK, webhook);
    match call.acting().rotate_webhook(call.project(), id, overlap, receipt).await {
        Ok((webhook, secret)) => Ok(Json(with_secret(&webhook, Some(secret.expose()))).into_response()),
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

pub(super) async fn delete(call: Call) -> Result<Response, ApiError> {
    let id = id(&call)?;
    call.acting().delete_webhook(call.project(), id).await?;
    Ok(Json(json!({"id": id, "object": "webhook_endpoint.deleted", "deleted": true})).into_response())
}

pub(super) async fn dead_letters(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &["limit", "after", "order"])?;
    let page = call.query.page(Limit::Strict)?;
    let mut dead = call.app.runtime.dead_letters(call.project(), id(&call)?, &page).await?;
    let has_more = query::cut(&mut dead, &page);
    Ok(query::list(dead.iter().map(dead_letter).collect(), has_more))
}

/// 202: it is on its way, and becomes a dead letter again if it fails as often as before.
pub(super) async fn redeliver(call: Call) -> Result<Response, ApiError> {
    let delivery: String = call.id("delivery", "dead letter")?;
    call.acting().redeliver(call.project(), id(&call)?, &delivery).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

fn id(call: &Call) -> Result<WebhookId, ApiError> {
    call.id("webhook", "webhook")
}

fn read_event_types(field: &Field<'_>) -> Result<Vec<EventType>, ApiError> {
    let fields = field.array(EventType::ALL.len())?;
    if fields.is_empty() {
        return Err(field.refuse("empty_array", "Invalid 'event_types': it must not be empty."));
    }
    let read = |field: &Field<'_>| field.word(EventType::WORDS, EventType::from_word);
    let mut event_types = fields.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    event_types.sort_unstable();
    event_types.dedup();
    Ok(event_types)
}

/// A receipt is durable, so it holds the answer without the secret: a repeated request learns that it was
/// carried out, and rotates the secret if the first answer was lost.
fn keep(ticket: Option<&Ticket>, status: StatusCode, webhook: &Webhook) -> Option<Receipt> {
    let body = with_secret(webhook, None).to_string();
    ticket.map(|ticket| ticket.receipt(status, body, webhook.updated_at))
}

async fn replay_or(call: &Call, ticket: Option<&Ticket>, error: WebhookError) -> Result<Response, ApiError> {
    if let (WebhookError::Store(store), Some(ticket)) = (&error, ticket)
        && store.kind() == StoreErrorKind::ReceiptExists
        && let Some(response) = ticket.replay(call).await?
    {
        return Ok(response);
    }
    Err(error.into())
}

fn shown(webhook: &Webhook) -> Value {
    json!({
        "id": webhook.id,
        "object": "webhook_endpoint",
        "name": webhook.name,
        "url": webhook.url,
        "event_types": webhook.event_types,
        "signing_secret_hint": webhook.secret_hint,
        "created_at": webhook.created_at.as_secs(),
        "updated_at": webhook.updated_at.as_secs(),
    })
}

fn with_secret(webhook: &Webhook, secret: Option<&str>) -> Value {
    let mut shown = shown(webhook);
    shown["signing_secret"] = json!(secret);
    shown
}

fn dead_letter(dead: &DeadLetter) -> Value {
    json!({
        "id": dead.id,
        "object": "tenure.webhook.dead_letter",
        "webhook_id": dead.webhook_id,
        "session_id": dead.session_id,
        "event_type": dead.event_type,
        // Written by this server; what does not parse is shown as it is.
        "event": serde_json::from_str(&dead.payload).unwrap_or_else(|_| Value::String(dead.payload.clone())),
        "attempts": dead.attempts,
        "last_error": dead.last_error,
        "created_at": dead.created_at.as_secs(),
        "failed_at": dead.failed_at.as_secs(),
    })
}

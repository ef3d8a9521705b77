//! `/v1/tenure/freezes`: what must not begin for now.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tenure_journal::AgentId;
use tenure_runtime::{Freeze, FreezeError, FreezeId, FreezeTarget};
use tenure_store::{Order, Page, SessionFilter};

use super::created;
use crate::agents;
use crate::call::Call;
use crate::error::{ApiError, bad_cursor};
use crate::idempotency::{self, Begin};
use crate::query::{self, Limit};
use crate::read::Reader;

/// Characters of a reason.
const REASON_CHARS_MAX: usize = 1_024;
/// Characters of a tool's name with its server.
const TOOL_CHARS_MAX: usize = 512;
/// What can be frozen.
const TYPES: &[&str] = &["agent", "tool", "project"];

/// Everything that is frozen.
pub(super) async fn list(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &["limit", "after"])?;
    let page = call.query.page(Limit::Strict)?;
    let after = page.after.as_deref().map(str::parse::<FreezeId>).transpose().map_err(|_| bad_cursor())?;
    let frozen = call.app.runtime.frozen(call.project()).await?;
    let later = |freeze: &&Freeze| after.as_ref().is_none_or(|after| freeze.id > *after);
    let mut found: Vec<Value> = frozen.iter().filter(later).take(page.limit).map(shown).collect();
    let has_more = query::cut(&mut found, &page);
    Ok(query::list(found, has_more))
}

/// Freezes something. No node begins anything of it once this is answered; repeating it changes nothing.
pub(super) async fn create(mut call: Call) -> Result<Response, ApiError> {
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let mut reader = Reader::new("", &body)?;
    let target = read_target(&call, reader.required("target")?.object()?).await?;
    let reason = reader.optional_or_null("reason");
    let reason = reason.map(|field| field.text(REASON_CHARS_MAX).map(str::to_owned)).transpose()?;
    reader.finish()?;
    let audit = call.changed("freezes.create", &FreezeId::of(&target).to_string(), &body);
    let frozen = call.app.runtime.freeze(call.project(), target, reason, call.principal(), audit).await;
    // Freezing is idempotent by itself, so the key needs no receipt.
    drop(ticket);
    Ok(created(&shown(&frozen?)))
}

async fn read_target(call: &Call, mut reader: Reader<'_>) -> Result<FreezeTarget, ApiError> {
    let kind =
        reader.required("type")?.word(TYPES, |word| TYPES.iter().find(|known| **known == word).copied())?;
    let target = match kind {
        "agent" => {
            let id = reader.required("id")?;
            let known = agent(call, id.string()?).await?;
            FreezeTarget::Agent { id: known.ok_or_else(|| ApiError::not_found("agent").param("target.id"))? }
        }
        "tool" => FreezeTarget::Tool { name: reader.required("name")?.text(TOOL_CHARS_MAX)?.to_owned() },
        _ => FreezeTarget::Project,
    };
    reader.finish()?;
    Ok(target)
}

/// The agent of an id or a name, if there is or was one: what a deleted agent's sessions do can be frozen, and so
/// can what sessions do whose agent was never saved.
pub(super) async fn agent(call: &Call, id_or_name: &str) -> Result<Option<AgentId>, ApiError> {
    let (store, project) = (call.store(), call.project());
    let Ok(id) = id_or_name.parse::<AgentId>() else {
        let saved = agents::find(store, project, id_or_name).await?;
        return Ok(saved.map(|saved| saved.pinned.config.id));
    };
    if agents::last_version(store, project, id).await?.is_some() {
        return Ok(Some(id));
    }
    let filter = SessionFilter { agent_id: Some(id), ..SessionFilter::default() };
    let page = Page { after: None, limit: 1, order: Order::Descending };
    let runs = !store.sessions(project, &filter, &page).await?.is_empty();
    Ok(runs.then_some(id))
}

/// Ends a freeze.
pub(super) async fn delete(call: Call) -> Result<Response, ApiError> {
    let id: FreezeId = call.id("freeze", "freeze")?;
    let audit = call.changed("freezes.delete", &id.to_string(), &Value::Null);
    if !call.app.runtime.unfreeze(call.project(), &id, audit).await? {
        return Err(ApiError::not_found("freeze"));
    }
    let deleted = json!({"id": id.to_string(), "object": "tenure.freeze.deleted", "deleted": true});
    Ok(Json(deleted).into_response())
}

fn shown(freeze: &Freeze) -> Value {
    json!({
        "id": freeze.id.to_string(),
        "object": "tenure.freeze",
        "target": freeze.target,
        "reason": freeze.reason,
        "by": freeze.by,
        "created_at": freeze.at.as_secs(),
    })
}

impl From<FreezeError> for ApiError {
    fn from(error: FreezeError) -> Self {
        match error {
            FreezeError::Store(error) => error.into(),
            error @ FreezeError::TooMany => Self::conflict(format!("{error}.")),
        }
    }
}

//! `/v1/vaults`: what authenticates at tool servers and at the hosts of environments. Secrets go in and never come out.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tenure_journal::{CredentialId, Timestamp, VaultId};
use tenure_runtime::{BindError, MASKED_BYTES_MIN, SavedCredential, SavedVault, VaultError, VaultFilter};
use tenure_store::{Receipt, StoreErrorKind};

use super::created;
use crate::call::Call;
use crate::error::{ApiError, bad_cursor, sealing, undecodable};
use crate::idempotency::{self, Begin, Ticket};
use crate::query::{self, Limit};
use crate::read::{
    read_credential, read_credential_change, read_vault, read_vault_patch, unmasked_secrets,
    unsupported_value,
};
use crate::show;

/// What is accepted and worth a thought.
const WARNING: HeaderName = HeaderName::from_static("x-tenure-warning");
/// Words of the status filter. Nothing here is ever archived.
const STATUS_WORDS: &[&str] = &["active", "archived"];

impl From<VaultError> for ApiError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::NoVault => Self::not_found("vault"),
            VaultError::NoCredential => Self::not_found("credential"),
            VaultError::TooMany => {
                Self::invalid(format!("{}.", capital(&error.to_string()))).code("too_many_credentials")
            }
            VaultError::Unfit { member, code, message } => Self::invalid(message).code(code).param(member),
            VaultError::Busy => Self::conflict("Someone else changes this all the time; try again."),
            VaultError::Seal(error) => {
                tracing::error!(%error, "secrets cannot be sealed or opened");
                sealing()
            }
            VaultError::Store(error) => error.into(),
            VaultError::Damaged(error) => undecodable("vault", &error),
        }
    }
}

/// What a client is told whose session cannot have its credentials: `tools` and `vaults` are the places of both.
pub(super) fn unbound(error: BindError, tools: &str, vaults: &str) -> ApiError {
    let said = format!("{}.", capital(&error.to_string()));
    let at = |tool: usize| format!("{tools}[{tool}].credential_id");
    match error {
        BindError::NoVault { index } => ApiError::not_found("vault").param(format!("{vaults}[{index}]")),
        BindError::NothingAttached { tool }
        | BindError::NotAttached { tool }
        | BindError::OtherServer { tool }
        | BindError::Twice { tool }
        | BindError::NotForThis { tool } => {
            ApiError::invalid(said).code("invalid_credential").param(at(tool))
        }
        BindError::Ambiguous { tool, .. } => {
            ApiError::conflict(said).code("ambiguous_credential").param(at(tool))
        }
        BindError::VariableTwice { .. } => {
            ApiError::conflict(said).code("ambiguous_credential").param(vaults.to_owned())
        }
        BindError::Network { .. } => ApiError::invalid(said).code("invalid_network").param(vaults.to_owned()),
        BindError::Vault(error) => error.into(),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

fn vault_id(call: &Call) -> Result<VaultId, ApiError> {
    call.id("vault", "vault")
}

fn credential_id(call: &Call) -> Result<CredentialId, ApiError> {
    call.id("credential", "credential")
}

/// The filter; nothing if it can match nothing.
fn filter(call: &Call) -> Result<Option<VaultFilter>, ApiError> {
    let wanted = call.query.many("status")?;
    for word in &wanted {
        if !STATUS_WORDS.contains(word) {
            return Err(unsupported_value("status", word, STATUS_WORDS));
        }
    }
    let metadata = call.query.map("metadata")?;
    let is_any = wanted.is_empty() || wanted.contains(&"active");
    Ok(is_any.then_some(VaultFilter { metadata }))
}

pub(super) async fn list(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    let page = call.query.page(Limit::Clamped)?;
    if page.after.as_ref().is_some_and(|after| after.parse::<VaultId>().is_err()) {
        return Err(bad_cursor());
    }
    let Some(filter) = filter(&call)? else { return Ok(query::list(Vec::new(), false)) };
    let mut found = call.app.runtime.vaults(call.project(), &filter, &page).await?;
    let has_more = query::cut(&mut found, &page);
    Ok(query::list(found.iter().map(show::vault).collect(), has_more))
}

pub(super) async fn create(mut call: Call) -> Result<Response, ApiError> {
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let receipt = |saved: &SavedVault| kept_vault(ticket.as_ref(), StatusCode::CREATED, saved);
    match call.app.runtime.create_vault(call.project(), read_vault(&body)?, receipt).await {
        Ok(saved) => Ok(created(&show::vault(&saved))),
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

pub(super) async fn retrieve(call: Call) -> Result<Response, ApiError> {
    let saved = call.app.runtime.vault(call.project(), vault_id(&call)?).await?;
    Ok(Json(show::vault(&saved)).into_response())
}

pub(super) async fn update(mut call: Call) -> Result<Response, ApiError> {
    let id = vault_id(&call)?;
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    call.app.runtime.vault(call.project(), id).await?;
    let patch = read_vault_patch(&body)?;
    let receipt = |saved: &SavedVault| kept_vault(ticket.as_ref(), StatusCode::OK, saved);
    match call.app.runtime.update_vault(call.project(), id, &patch, receipt).await {
        Ok(saved) => Ok(Json(show::vault(&saved)).into_response()),
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

pub(super) async fn delete(call: Call) -> Result<Response, ApiError> {
    let id = vault_id(&call)?;
    call.app.runtime.delete_vault(call.project(), id).await?;
    Ok(Json(json!({"id": id, "object": "vault.deleted", "deleted": true})).into_response())
}

pub(super) async fn list_credentials(call: Call) -> Result<Response, ApiError> {
    listed(&call, show::credential).await
}

/// Credentials with what is known of them beside the Agents API.
pub(super) async fn list_states(call: Call) -> Result<Response, ApiError> {
    listed(&call, show::tenure_credential).await
}

async fn listed(call: &Call, show: fn(&SavedCredential) -> Value) -> Result<Response, ApiError> {
    let vault = vault_id(call)?;
    call.query.check(call.dialect(), &["limit", "after", "order", "status"])?;
    let page = call.query.page(Limit::Clamped)?;
    if page.after.as_ref().is_some_and(|after| after.parse::<CredentialId>().is_err()) {
        return Err(bad_cursor());
    }
    let filter = filter(call)?;
    let Some(filter) = filter else {
        call.app.runtime.vault(call.project(), vault).await?;
        return Ok(query::list(Vec::new(), false));
    };
    let mut found = call.app.runtime.credentials(call.project(), vault, &filter, &page).await?;
    let has_more = query::cut(&mut found, &page);
    Ok(query::list(found.iter().map(show).collect(), has_more))
}

pub(super) async fn create_credential(mut call: Call) -> Result<Response, ApiError> {
    let vault = vault_id(&call)?;
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(warned(&body, response)),
    };
    call.app.runtime.vault(call.project(), vault).await?;
    let new = read_credential(&body, &call.app.config.vaults)?;
    let receipt = |saved: &SavedCredential| kept_credential(ticket.as_ref(), StatusCode::CREATED, saved);
    match call.app.runtime.create_credential(call.project(), vault, new, receipt).await {
        Ok(saved) => Ok(warned(&body, created(&show::credential(&saved)))),
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

pub(super) async fn retrieve_credential(call: Call) -> Result<Response, ApiError> {
    let (vault, id) = (vault_id(&call)?, credential_id(&call)?);
    let saved = call.app.runtime.credential(call.project(), vault, id).await?;
    Ok(Json(show::credential(&saved)).into_response())
}

pub(super) async fn update_credential(mut call: Call) -> Result<Response, ApiError> {
    let (vault, id) = (vault_id(&call)?, credential_id(&call)?);
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(warned(&body, response)),
    };
    call.app.runtime.credential(call.project(), vault, id).await?;
    let change = read_credential_change(&body)?;
    let receipt = |saved: &SavedCredential| kept_credential(ticket.as_ref(), StatusCode::OK, saved);
    match call.app.runtime.update_credential(call.project(), (vault, id), &change, receipt).await {
        Ok(saved) => Ok(warned(&body, Json(show::credential(&saved)).into_response())),
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

pub(super) async fn delete_credential(call: Call) -> Result<Response, ApiError> {
    let (vault, id) = (vault_id(&call)?, credential_id(&call)?);
    call.app.runtime.delete_credential(call.project(), vault, id).await?;
    Ok(Json(json!({"id": id, "object": "vault.credential.deleted", "deleted": true})).into_response())
}

/// Says beside an answer, whose body is the Agents API's, which secrets of the request are not masked.
fn warned(body: &Value, mut response: Response) -> Response {
    let members = unmasked_secrets(body);
    if response.status().is_success() && !members.is_empty() {
        let said = format!(
            "unmasked_secret; '{}' has fewer than {MASKED_BYTES_MIN} bytes and is not masked where it comes back; take \
             a longer secret",
            members.join("', '")
        );
        let said = HeaderValue::try_from(said).expect("names of members and words are ASCII");
        response.headers_mut().insert(WARNING, said);
    }
    response
}

fn kept_vault(ticket: Option<&Ticket>, status: StatusCode, saved: &SavedVault) -> Option<Receipt> {
    keep(ticket, status, &show::vault(saved), saved.document.updated_at)
}

fn kept_credential(ticket: Option<&Ticket>, status: StatusCode, saved: &SavedCredential) -> Option<Receipt> {
    keep(ticket, status, &show::credential(saved), saved.document.updated_at)
}

fn keep(ticket: Option<&Ticket>, status: StatusCode, shown: &Value, at: Timestamp) -> Option<Receipt> {
    ticket.map(|ticket| ticket.receipt(status, shown.to_string(), at))
}

/// The first outcome of the idempotency key, if that is why the request failed.
async fn replay_or(call: &Call, ticket: Option<&Ticket>, error: VaultError) -> Result<Response, ApiError> {
    if let (VaultError::Store(store), Some(ticket)) = (&error, ticket)
        && store.kind() == StoreErrorKind::ReceiptExists
        && let Some(response) = ticket.replay(call).await?
    {
        return Ok(response);
    }
    Err(error.into())
}

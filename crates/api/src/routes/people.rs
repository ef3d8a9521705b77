//! `/v1/tenure/people` and `/v1/tenure/whoami`: who has signed in, and who asks.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tenure_journal::{Author, PersonId};
use tenure_store::{Document, DocumentKind};

use crate::call::{App, Call};
use crate::error::{ApiError, bad_cursor};
use crate::query::{self, Limit};

/// People who have signed in, as they were last seen.
pub(super) async fn list(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &["limit", "after", "order"])?;
    let page = call.query.page(Limit::Strict)?;
    if page.after.as_ref().is_some_and(|after| after.parse::<PersonId>().is_err()) {
        return Err(bad_cursor());
    }
    let mut found = call.store().documents(call.project(), DocumentKind::Person, None, &page).await?;
    let has_more = query::cut(&mut found, &page);
    Ok(query::list(found.iter().map(shown).collect(), has_more))
}

fn shown(person: &Document) -> Value {
    let body = &person.body;
    json!({
        "id": person.id,
        "object": "tenure.person",
        "issuer": body["issuer"],
        "subject": body["subject"],
        "name": body["name"],
        "email": body["email"],
        "last_seen_at": person.updated_at.as_secs(),
    })
}

/// Who asks, and what they may do.
pub(super) async fn whoami(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    let (kind, name) = match call.caller.author.clone() {
        Author::Key { name, .. } => ("key", name),
        Author::Person { name, .. } => ("person", name),
        Author::ProjectFiles => ("project_files", String::new()),
    };
    Ok(Json(json!({
        "object": "tenure.caller",
        "type": kind,
        "id": call.principal(),
        "name": name,
        "project_id": call.project(),
        "scopes": call.caller.scopes,
    }))
    .into_response())
}

/// `/.well-known/tenure`: what a client must know before it is anybody.
pub(super) async fn server(State(app): State<Arc<App>>) -> Response {
    let sign_in = app.config.people.as_ref().map(|people| people.sign_in());
    Json(json!({"object": "tenure.server", "sign_in": sign_in})).into_response()
}

/// `/.well-known/jwks.json`: what checks the tokens of agents.
pub(super) async fn agent_keys(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let keys = app.runtime.agent_keys().await?;
    Ok(Json(keys.unwrap_or_else(|| json!({"keys": []}))).into_response())
}

/// `/.well-known/openid-configuration`: where those keys are, for tool servers that find them by discovery.
pub(super) async fn agent_issuer(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let issuer = app.runtime.agent_issuer().ok_or_else(ApiError::no_route)?;
    Ok(Json(json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "id_token_signing_alg_values_supported": ["ES256"],
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
    }))
    .into_response())
}

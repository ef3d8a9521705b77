//! `/v1/tenure/vaults/{vault}/sign_ins` and `/oauth`: a person signs in, so that a tool server gets tokens.
//!
//! What browsers see has no script, no style and no frame, and says nothing that a server wrote.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tenure_journal::{SignInStatus, VaultId};
use tenure_runtime::{Callback, ClientMetadata, NewSignIn, SecretString, ShownSignIn, SignInAt, SignInError};

use super::created;
use crate::call::{App, Call};
use crate::error::ApiError;
use crate::query::Query;
use crate::read::{Reader, read_name};

/// Where browsers come back to.
pub(super) const CALLBACK_PATH: &str = "/oauth/callback";
/// Where authorization servers read about us.
pub(super) const CLIENT_PATH: &str = "/oauth/client.json";
/// Characters of a name, an address, scopes or a client's id.
const TEXT_CHARS_MAX: usize = 2048;
const NAME_CHARS_MAX: usize = 128;

impl From<SignInError> for ApiError {
    fn from(error: SignInError) -> Self {
        let said = {
            let text = error.to_string();
            let mut chars = text.chars();
            let first = chars.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(chars).chain(['.']).collect::<String>()
        };
        match error {
            SignInError::NotFound => Self::not_found("sign-in"),
            SignInError::Server(_) => Self::invalid(said).code("no_sign_in").param("mcp_server_url"),
            SignInError::Address { .. } => {
                Self::invalid(said).code("url_not_allowed").param("mcp_server_url")
            }
            SignInError::Unreachable => {
                Self::new(StatusCode::BAD_GATEWAY, said).code("authorization_server_unreachable")
            }
            SignInError::Oauth(_) => Self::invalid(said).code("authorization_server_refused"),
            SignInError::Vault(error) => error.into(),
        }
    }
}

pub(super) async fn start(mut call: Call) -> Result<Response, ApiError> {
    let vault_id: VaultId = call.id("vault", "vault")?;
    let body = call.read_body().await?;
    let config = &call.app.config;
    let mut reader = Reader::new("", &body)?;
    let r = &mut reader;
    let text = |field: Option<crate::read::Field<'_>>| {
        field.map(|field| field.text(TEXT_CHARS_MAX).map(str::to_owned)).transpose()
    };
    let at = match r.optional_or_null("credential_id") {
        Some(field) => {
            let unknown = |_| ApiError::not_found("credential").param("credential_id");
            SignInAt::Credential(field.string()?.parse().map_err(unknown)?)
        }
        None => {
            let field = r.required("mcp_server_url")?;
            let mcp_server_url = field.text(TEXT_CHARS_MAX)?.to_owned();
            config.vaults.check_server(&mcp_server_url).map_err(|why| {
                field.refuse("url_not_allowed", format!("Invalid 'mcp_server_url': {why}."))
            })?;
            let name = r.optional_or_null("name");
            let name = name.map(|field| read_name(&field, NAME_CHARS_MAX).map(str::to_owned)).transpose()?;
            SignInAt::Server { name: name.unwrap_or_else(|| "sign-in".to_owned()), mcp_server_url }
        }
    };
    let scope = text(r.optional_or_null("scope"))?;
    let client_id = text(r.optional_or_null("client_id"))?;
    let client_secret = text(r.optional_or_null("client_secret"))?.map(SecretString::new);
    reader.finish()?;
    let base = config.public_url.trim_end_matches('/');
    // Nobody else reaches a document of this machine.
    let is_reachable = base.starts_with("https://");
    let new = NewSignIn {
        vault_id,
        at,
        scope,
        client: client_id.map(|id| (id, client_secret)),
        redirect_uri: format!("{base}{CALLBACK_PATH}"),
        client_document: is_reachable.then(|| format!("{base}{CLIENT_PATH}")),
    };
    let (sign_in, url) = call.app.runtime.start_sign_in(call.project(), new).await?;
    let mut shown = shown(&sign_in);
    shown["authorization_url"] = json!(url);
    Ok(created(&shown))
}

pub(super) async fn retrieve(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    let id: String = call.id("sign_in", "sign-in")?;
    Ok(Json(shown(&call.app.runtime.sign_in(call.project(), &id).await?)).into_response())
}

fn shown(sign_in: &ShownSignIn) -> Value {
    let (status, credential_id, error, expires_at) = match &sign_in.status {
        SignInStatus::Pending { until } => ("pending", None, None, Some(until.as_secs())),
        SignInStatus::Redeeming => ("redeeming", None, None, None),
        SignInStatus::Done { credential_id } => ("done", Some(credential_id.to_string()), None, None),
        SignInStatus::Failed { why } => ("failed", None, Some(why.clone()), None),
    };
    json!({
        "id": sign_in.id,
        "object": "tenure.sign_in",
        "status": status,
        "mcp_server_url": sign_in.mcp_server_url,
        "issuer": sign_in.issuer,
        "credential_id": credential_id,
        "error": error,
        "expires_at": expires_at,
    })
}

/// A browser comes back. It has no key: what it brings is what counts, and counts once.
pub(super) async fn callback(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let read = Query::parse(query.as_deref().unwrap_or_default()).ok();
    let callback = read.and_then(|query| Callback::read(query.pairs()).ok());
    let finished = match callback {
        Some(callback) => app.runtime.finish_sign_in(&callback).await.is_ok(),
        None => false,
    };
    let (status, said) = match finished {
        true => (StatusCode::OK, "Signed in. This window can be closed."),
        false => (
            StatusCode::BAD_REQUEST,
            "The sign-in came to nothing. Begin it again; the server's log says why.",
        ),
    };
    let policy = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
    let mut response = (status, said).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// What authorization servers read about us, where the address of this is our id.
pub(super) async fn client(State(app): State<Arc<App>>) -> Response {
    let base = app.config.public_url.trim_end_matches('/');
    let id = format!("{base}{CLIENT_PATH}");
    Json(ClientMetadata::new(Some(id), &format!("{base}{CALLBACK_PATH}")).to_json()).into_response()
}

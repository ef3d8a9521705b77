//! `/v1/tenure`: what Tenure adds beside the Agents API.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tenure_journal::{KeyId, Timestamp, Version};
use tenure_session::{Command, SessionView};
use tenure_store::StoreErrorKind;

use super::created;
use super::sessions::{key as session_key, replay_or};
use crate::call::Call;
use crate::error::{ApiError, bad_cursor};
use crate::idempotency::{self, Begin};
use crate::key_use;
use crate::keys::{self, Key, KeyError, NewKey, Scope};
use crate::query::{self, Limit};
use crate::read::{Reader, read_name};
use crate::show;

/// Characters of a key's name.
const NAME_CHARS_MAX: usize = 128;
/// Scopes of one key.
const SCOPES_MAX: usize = 16;
/// Groups of one key.
const GROUPS_MAX: usize = 32;
/// Seconds since the epoch beyond which no time makes sense: the end of the year 9999.
const EXPIRES_AT_MAX: u64 = 253_402_300_799;

pub(super) async fn keys(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &["limit", "after"])?;
    let page = call.query.page(Limit::Strict)?;
    let after = page.after.as_deref().map(str::parse::<KeyId>).transpose().map_err(|_| bad_cursor())?;
    let mut found = keys::list(call.store(), call.project(), after, page.limit).await?;
    let has_more = query::cut(&mut found, &page);
    let mut data = Vec::with_capacity(found.len());
    for key in &found {
        let used_at = key_use::last(call.store(), key.id).await?;
        data.push(shown(key, used_at));
    }
    Ok(query::list(data, has_more))
}

pub(super) async fn create_key(mut call: Call) -> Result<Response, ApiError> {
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let now = call.app.runtime.now();
    let new = read_key(&call, &body, now)?;
    let id = KeyId::fresh(&call.app.runtime.fresh());
    // The receipt is durable, so it holds the answer without the key: a repeated request learns that the
    // key was made and what it is called, and revokes it if the first answer was lost.
    let receipt = ticket.as_ref().map(|ticket| {
        let mut answer = shown(&keys::preview(id, &new, now), None);
        answer["key"] = Value::Null;
        ticket.receipt(StatusCode::CREATED, answer.to_string(), now)
    });
    let audit = call.changed("keys.create", &id.to_string(), &body);
    match keys::create(call.store(), now, id, new, receipt, audit).await {
        Ok((text, key)) => {
            let mut answer = shown(&key, None);
            answer["key"] = json!(text.expose());
            if key.may(Scope::Connect) {
                let (access_key_id, secret_access_key) = call.app.runtime.executors().pair(key.id);
                answer["pair"] =
                    json!({"access_key_id": access_key_id, "secret_access_key": secret_access_key});
            }
            Ok(created(&answer))
        }
        Err(KeyError::Store(error)) if error.kind() == StoreErrorKind::ReceiptExists => {
            let replayed = match &ticket {
                Some(ticket) => ticket.replay(&call).await?,
                None => None,
            };
            replayed.ok_or_else(|| error.into())
        }
        Err(error) => Err(error.into()),
    }
}

fn read_key(call: &Call, body: &Value, now: Timestamp) -> Result<NewKey, ApiError> {
    let mut reader = Reader::new("", body)?;
    let name = read_name(&reader.required("name")?, NAME_CHARS_MAX)?.to_owned();
    let mut scopes = vec![Scope::Read, Scope::Write];
    if let Some(field) = reader.optional_or_null("scopes") {
        scopes = field
            .array(SCOPES_MAX)?
            .iter()
            .map(|f| f.word(Scope::WORDS, Scope::from_word))
            .collect::<Result<_, _>>()?;
        scopes.sort_unstable();
        scopes.dedup();
    }
    let mut groups = Vec::new();
    if let Some(field) = reader.optional_or_null("groups") {
        for group in field.array(GROUPS_MAX)? {
            groups.push(read_name(&group, NAME_CHARS_MAX)?.to_owned());
        }
    }
    let mut expires_at = None;
    if let Some(field) = reader.optional_or_null("expires_at") {
        let seconds = i64::try_from(field.integer(0, EXPIRES_AT_MAX)?).unwrap_or(i64::MAX);
        if seconds <= now.as_secs() {
            return Err(field.refuse("bad_time", "Invalid 'expires_at': it lies in the past."));
        }
        expires_at = Some(Timestamp::from_millis(seconds * 1000));
    }
    reader.finish()?;
    Ok(NewKey { project_id: call.project(), name, scopes, groups, expires_at })
}

pub(super) async fn revoke_key(call: Call) -> Result<Response, ApiError> {
    let id: KeyId = call.id("key", "key")?;
    let audit = call.changed("keys.revoke", &id.to_string(), &Value::Null);
    if !call.app.keys.revoke(call.app.runtime.now(), call.project(), id, audit).await? {
        return Err(ApiError::not_found("key"));
    }
    Ok(Json(json!({"id": id, "object": "tenure.key.deleted", "deleted": true})).into_response())
}

fn shown(key: &Key, used_at: Option<Timestamp>) -> Value {
    json!({
        "id": key.id,
        "object": "tenure.key",
        "project_id": key.project_id,
        "name": key.name,
        "scopes": key.scopes,
        "groups": key.groups,
        "prefix": key.prefix,
        "created_at": key.created_at.as_secs(),
        "expires_at": key.expires_at.map(Timestamp::as_secs),
        "last_used_at": used_at.map(Timestamp::as_secs),
    })
}

/// Events of a session's journal after a version, oldest first.
pub(super) async fn journal(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &["limit", "after"])?;
    let key = session_key(&call)?;
    let page = call.query.page(Limit::Strict)?;
    let after = page.after.as_deref().map(version_of).transpose()?.unwrap_or(0);
    call.store().head(key).await?.ok_or_else(|| ApiError::not_found("session"))?;
    let mut events = call.store().events(key, Version(after), page.limit).await?;
    // A cursor beyond the end is a client that lost its place: silence would look like a quiet session.
    if events.is_empty() && after > 0 && call.store().events(key, Version(after - 1), 1).await?.is_empty() {
        return Err(bad_cursor());
    }
    let has_more = query::cut(&mut events, &page);
    let data = events.iter().map(|recorded| {
        json!({
            "id": recorded.version.0.to_string(),
            "version": recorded.version,
            "at": recorded.at.as_millis(),
            "event": recorded.event,
        })
    });
    Ok(query::list(data.collect(), has_more))
}

/// One session, with the version of the agent that it runs.
pub(super) async fn session(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    let view = call.app.runtime.view(session_key(&call)?).await?;
    let view = view.ok_or_else(|| ApiError::not_found("session"))?;
    Ok(Json(show::tenure_session(&view)).into_response())
}

/// Ends a session's quarantine.
pub(super) async fn release(mut call: Call) -> Result<Response, ApiError> {
    let key = session_key(&call)?;
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    Reader::new("", &body)?.finish()?;
    let by = call.caller.party();
    let shown = |view: &SessionView| show::tenure_session(view).to_string();
    let draft = ticket.as_ref().map(|ticket| ticket.draft(StatusCode::OK, shown));
    match call.app.runtime.submit(key, vec![Command::Release { by }], draft).await {
        Ok(view) => Ok(Json(show::tenure_session(&view)).into_response()),
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

/// Sessions, each with the version of the agent that it runs.
pub(super) async fn sessions(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &["limit", "after", "order", "agent_id", "status"])?;
    super::sessions::listed(&call, Limit::Strict, show::tenure_session).await
}

pub(super) fn version_of(text: &str) -> Result<u64, ApiError> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).ok_or_else(bad_cursor)
}

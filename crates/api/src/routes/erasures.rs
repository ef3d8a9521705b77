//! `/v1/tenure/memory/forget` and `/v1/tenure/memory/erasures`: erasing what is kept of a person or of a session, and
//! the receipts of it.

use std::collections::BTreeSet;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tenure_journal::{ErasureId, MEMORY_USER_KEY, MemorySpace, SessionKey};
use tenure_policy::MemoryUse;
use tenure_runtime::{
    Erasure, Forget, RuntimeError, RuntimeErrorKind, SUBJECT_BYTES_MAX, VERIFIED_TEXTS_MAX, rfc3339,
};
use tenure_store::{NEEDLE_BYTES_MAX, NEEDLE_BYTES_MIN, Needle};

use super::facts::scope_in;
use crate::call::Call;
use crate::error::ApiError;
use crate::query::{self, Limit};
use crate::read::{Field, Reader};
use crate::verbs;

/// Begins to erase, or says what would go. An erasure goes on by itself, whatever becomes of who asked for it.
pub(super) async fn forget(mut call: Call) -> Result<Response, ApiError> {
    let body = call.read_body().await?;
    // The record of it is written by who carries it out: the digest of this body could be guessed.
    call.caller.log.settle();
    call.caller.log.body(&Value::Null);
    let mut reader = Reader::new("", &body)?;
    let what = what(&mut reader)?;
    let verify = match reader.optional_or_null("verify") {
        Some(field) => texts(&field)?,
        None => Vec::new(),
    };
    let dry_run = reader.optional_or_null("dry_run").map(|field| field.bool()).transpose()?.unwrap_or(false);
    reader.finish()?;
    check(&call, &what).await?;
    if dry_run {
        let would = call.app.runtime.would_forget(call.project(), &what).await;
        let would = would.map_err(|error| missing(&what, error))?;
        let rows: Value = would.gone.iter().collect();
        return Ok(Json(json!({
            "object": "tenure.erasure.plan",
            "sessions": would.sessions,
            "files": would.files,
            "rows": rows,
        }))
        .into_response());
    }
    let begun = call.app.runtime.forget(call.project(), &what, &verify, &call.principal()).await;
    let erasure = begun.map_err(|error| missing(&what, error))?;
    Ok((StatusCode::ACCEPTED, Json(shown(&erasure))).into_response())
}

/// Asks policy about each session that would go, as about deleting it, and about the memories that go with them, as
/// about changing these.
async fn check(call: &Call, what: &Forget) -> Result<(), ApiError> {
    let mut spaces = BTreeSet::new();
    let sessions = call.app.runtime.sessions_to_forget(call.project(), what).await?;
    let mut scopes = call.app.runtime.scopes_to_forget(call.project(), what, &sessions).await?;
    if let Forget::Scope(scope) = what {
        // Also of one for which nothing is kept yet.
        scopes.insert(scope.clone());
    }
    for scope in &scopes {
        verbs::decide_scope(call, scope, MemoryUse::Write).await?;
    }
    for session in sessions {
        verbs::check_erase(&call.app, &call.caller, session).await?;
        let key = SessionKey { project: call.project(), session };
        let Some(head) = call.store().head(key).await? else { continue };
        let user = head.metadata.get(MEMORY_USER_KEY).filter(|user| !user.is_empty()).cloned();
        let user = match what {
            Forget::Subject(subject) => Some(subject.clone()),
            Forget::Session(_) | Forget::File(_) | Forget::Fact(_) | Forget::Scope(_) => user,
        };
        spaces.insert(MemorySpace { project: call.project(), agent: head.agent_id, user });
    }
    for space in &spaces {
        verbs::check_memory(&call.app, &call.caller, space, MemoryUse::Write).await?;
    }
    Ok(())
}

/// Erasures by id, those of one user where `subject` names them.
pub(super) async fn list(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &["limit", "after", "order", "subject"])?;
    let page = call.query.page(Limit::Strict)?;
    let subject = call.query.one("subject")?.filter(|subject| !subject.is_empty());
    let mut found = call.app.runtime.erasures(call.project(), subject, &page).await?;
    let has_more = query::cut(&mut found, &page);
    Ok(query::list(found.iter().map(shown).collect(), has_more))
}

/// One erasure, with its receipt once there is one.
pub(super) async fn retrieve(call: Call) -> Result<Response, ApiError> {
    let id: ErasureId = call.id("erasure", "erasure")?;
    match call.app.runtime.erasure(call.project(), id).await {
        Ok(erasure) => Ok(Json(shown(&erasure)).into_response()),
        Err(error) if *error.kind() == RuntimeErrorKind::NotFound => Err(ApiError::not_found("erasure")),
        Err(error) => Err(error.into()),
    }
}

fn what(reader: &mut Reader<'_>) -> Result<Forget, ApiError> {
    let mut named = |name| Some((name, reader.optional_or_null(name)?));
    let named: Vec<(&str, Field<'_>)> =
        ["subject", "session_id", "file_id", "fact_id", "scope"].into_iter().filter_map(&mut named).collect();
    let [(name, field)] = &named[..] else {
        let message = "Expected one of 'subject', 'session_id', 'file_id', 'fact_id' and 'scope'.";
        return Err(ApiError::invalid(message).param("subject"));
    };
    if *name == "scope" {
        return Ok(Forget::Scope(scope_in(field)?));
    }
    let text = field.string()?;
    let missing = |what| ApiError::not_found(what).param(*name);
    match *name {
        "session_id" => Ok(Forget::Session(text.parse().map_err(|_| missing("session"))?)),
        "file_id" => Ok(Forget::File(text.parse().map_err(|_| missing("file"))?)),
        "fact_id" => Ok(Forget::Fact(text.parse().map_err(|_| missing("fact"))?)),
        _ if text.is_empty() || text.len() > SUBJECT_BYTES_MAX => {
            let message = format!("Invalid 'subject': expected 1 to {SUBJECT_BYTES_MAX} bytes.");
            Err(ApiError::invalid(message).param("subject"))
        }
        _ => Ok(Forget::Subject(text.to_owned())),
    }
}

/// What does not exist is named as what it was asked for as.
fn missing(what: &Forget, error: RuntimeError) -> ApiError {
    match (error.kind(), what) {
        (RuntimeErrorKind::NotFound, Forget::File(_)) => ApiError::not_found("file"),
        (RuntimeErrorKind::NotFound, Forget::Fact(_)) => ApiError::not_found("fact"),
        (
            _,
            Forget::Subject(_) | Forget::Session(_) | Forget::File(_) | Forget::Fact(_) | Forget::Scope(_),
        ) => error.into(),
    }
}

/// Texts that are looked for afterwards.
fn texts(field: &Field<'_>) -> Result<Vec<String>, ApiError> {
    let items = field.array(VERIFIED_TEXTS_MAX)?;
    items
        .iter()
        .map(|item| {
            let text = item.string()?;
            if Needle::of(text).is_none() {
                let message = format!(
                    "Invalid '{}': expected a text with at least {NEEDLE_BYTES_MIN} bytes in a row that are neither \
                     quotation marks nor backslashes nor control characters; {NEEDLE_BYTES_MAX} of them are looked for.",
                    item.path()
                );
                return Err(ApiError::invalid(message).param(item.path()));
            }
            Ok(text.to_owned())
        })
        .collect()
}

fn shown(erasure: &Erasure) -> Value {
    let rows: Value = erasure.gone.iter().collect();
    json!({
        "id": erasure.id,
        "object": "tenure.erasure",
        "status": erasure.phase.as_str(),
        "subject_digest": erasure.subject,
        "session_id": erasure.session,
        "file_id": erasure.file,
        "fact_id": erasure.fact,
        "scope_digest": erasure.scope,
        "asked_by": erasure.by,
        "created_at": rfc3339(erasure.asked_at),
        "rows": rows,
        "problem": erasure.problem,
        "next_at": erasure.next_at.map(rfc3339),
        "receipt": erasure.receipt,
    })
}

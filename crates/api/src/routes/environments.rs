//! `/v1/agents/environments`: the environments of sessions, and the files in them. `/v1/agents/sessions/{session}/artifacts`:
//! what turns published of them.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use tenure_journal::{
    Artifact, ArtifactId, EnvironmentFile, EnvironmentId, EnvironmentStatus, SelfHostedEnvironment,
    SessionId, SessionKey,
};
use tenure_runtime::{EnvironmentFileError, ListedFile, RemoteFileError, Runtime};
use tenure_session::{Command, Session, SessionView};
use tenure_store::{DocumentKind, Order, Page};

use super::created;
use super::lists::must_exist;
use super::sessions::key;
use super::vaults::unbound;
use crate::call::Call;
use crate::error::{ApiError, bad_cursor};
use crate::idempotency::{self, Begin};
use crate::query::{self, Limit};
use crate::read::{Reader, read_file, read_prewarmed, store_files, unsupported_value};
use crate::show;

/// Environments of one page that are read at the same time.
const READS_AT_ONCE: usize = 8;

/// The environment that the path names: its session, as its journal says.
async fn environment(call: &Call) -> Result<Session, ApiError> {
    let id: EnvironmentId = call.id("environment", "environment")?;
    let key = Runtime::key(call.project(), id.session());
    let unknown = || ApiError::not_found("environment");
    // One that waits for a session is nobody's parent and nobody's child: it is itself.
    let head = call.store().head(key).await?.filter(|head| !head.deleted);
    head.filter(|head| head.parent.is_none_or(|parent| parent == key.session)).ok_or_else(unknown)?;
    let state = call.app.runtime.session_state(key).await?.ok_or_else(unknown)?;
    if state.hosted().is_some() || state.self_hosted().is_some() { Ok(state) } else { Err(unknown()) }
}

pub(super) async fn retrieve(call: Call) -> Result<Response, ApiError> {
    let state = environment(&call).await?;
    call.query.check(call.dialect(), &[])?;
    Ok(Json(show::environment_info(&state.view())).into_response())
}

/// Makes an environment ready before it has a session.
pub(super) async fn prewarm(mut call: Call) -> Result<Response, ApiError> {
    let body = call.read_body_of(crate::body::FILE_BODY_BYTES_MAX).await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    call.refuse_frozen().await?;
    let runtime = &call.app.runtime;
    let session = SessionId::fresh(&runtime.fresh());
    let (new, vault_ids) = read_prewarmed(&body)?;
    let unbound = |error| unbound(error, "tools", "vault_ids");
    let attached = runtime.attach(call.project(), &vault_ids).await.map_err(unbound)?;
    let environment = new.make(runtime, call.project(), session).await?;
    attached.check_network(&environment.network).map_err(unbound)?;
    let body_of = |view: &SessionView| show::environment_info(view).to_string();
    let draft = ticket.as_ref().map(|ticket| ticket.draft(StatusCode::CREATED, body_of));
    match runtime.prewarm(call.project(), environment, vault_ids, draft).await {
        Ok(view) => Ok(created(&show::environment_info(&view))),
        Err(error) => super::sessions::replay_or(&call, ticket.as_ref(), error).await,
    }
}

/// Environments that were made ready before they had a session, whether or not they have one now.
pub(super) async fn list(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    if let Some(kind) = call.query.one("type")?.filter(|kind| *kind != "openai_hosted") {
        return Err(unsupported_value("type", kind, &["openai_hosted"]));
    }
    let page = call.query.page(Limit::Clamped)?;
    if page.after.as_ref().is_some_and(|after| after.parse::<EnvironmentId>().is_err()) {
        return Err(bad_cursor());
    }
    let kind = DocumentKind::Environment;
    let mut found = call.store().documents(call.project(), kind, None, &page).await?;
    let has_more = query::cut(&mut found, &page);
    let call = &call;
    let reads = found.into_iter().map(|document| async move {
        let Ok(id) = document.id.parse::<EnvironmentId>() else { return Ok::<_, ApiError>(None) };
        let state = call.app.runtime.session_state(Runtime::key(call.project(), id.session())).await?;
        Ok(state.map(|state| show::environment_info(&state.view())))
    });
    let shown: Vec<Option<Value>> = stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await?;
    Ok(query::list(shown.into_iter().flatten().collect(), has_more))
}

pub(super) async fn place_file(mut call: Call) -> Result<Response, ApiError> {
    let state = environment(&call).await?;
    if state.self_hosted().is_some() {
        return Err(ApiError::unsupported("placing files in self-hosted environments"));
    }
    let body = call.read_body_of(crate::body::FILE_BODY_BYTES_MAX).await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let new = read_file(Reader::new("", &body)?)?;
    let files = store_files(&call.app.runtime, call.project(), vec![new]).await?;
    let shown = json!({
        "environment_id": call.id::<EnvironmentId>("environment", "environment")?,
        "object": "agent.environment.file",
        "path": files.first().map(|file| &file.path),
        "size_bytes": files.iter().map(EnvironmentFile::size_bytes).sum::<u64>(),
    });
    let body = shown.to_string();
    let draft = ticket.as_ref().map(|ticket| ticket.draft(StatusCode::CREATED, move |_| body.clone()));
    match call.app.runtime.place_files(state.key(), files, draft).await {
        Ok(()) => {
            must_be_there(&call, state.key(), &shown).await?;
            Ok(created(&shown))
        }
        Err(error) => super::sessions::replay_or(&call, ticket.as_ref(), error).await,
    }
}

/// Refuses what could not be placed: something else is at its path.
async fn must_be_there(call: &Call, key: SessionKey, file: &Value) -> Result<(), ApiError> {
    let runtime = &call.app.runtime;
    let root = runtime.session_state(key).await?.and_then(|state| state.workspace_root());
    let path = file["path"].as_str().unwrap_or_default();
    let (parent, _) = path.rsplit_once('/').unwrap_or_default();
    let found = match root {
        Some(root) => runtime.environment_files(key, root, parent.to_owned()).await.map_err(unreadable)?,
        None => Vec::new(),
    };
    if found.iter().any(|found| found.path == path) {
        return Ok(());
    }
    let message = format!("The file could not be placed at '{path}': something else is there.");
    Err(ApiError::invalid(message).code("file_not_placed").param("path"))
}

/// Files below a directory, in pages of their own shape.
pub(super) async fn files(call: Call) -> Result<Response, ApiError> {
    let state = environment(&call).await?;
    call.query.check(call.dialect(), &[])?;
    if let Some(own) = state.self_hosted() {
        return remote_files(&call, &state, own).await;
    }
    if state.environment_status() == Some(EnvironmentStatus::Expired) {
        let message = "The environment has expired; its files are gone.";
        return Err(ApiError::invalid(message).code("environment_expired"));
    }
    let Some(root) = state.workspace_root() else {
        return Err(ApiError::invalid("The environment is not connected.").code("environment_not_connected"));
    };
    let directory = call.query.one("path")?.unwrap_or("/workspace").to_owned();
    let page = call.query.page(Limit::Strict)?;
    let mut files =
        call.app.runtime.environment_files(state.key(), root, directory).await.map_err(unreadable)?;
    let has_more = cut(&mut files, |file| &file.path, call.query.one("page")?, &page)?;
    let id = EnvironmentId::of_session(state.key().session);
    let show = |file: &ListedFile| shown_file(id, &file.path, file.size_bytes);
    let next = files.last().filter(|_| has_more).map(|file| file.path.clone());
    let data: Vec<Value> = files.iter().map(show).collect();
    Ok(Json(json!({"object": "page", "data": data, "next": next, "has_more": has_more})).into_response())
}

/// Files on the customer's machine, asked of its executor.
async fn remote_files(
    call: &Call,
    state: &Session,
    own: &SelfHostedEnvironment,
) -> Result<Response, ApiError> {
    if !state.is_connected() {
        return Err(ApiError::invalid("The environment is not connected.").code("environment_not_connected"));
    }
    let directory = call.query.one("path")?.unwrap_or(&own.workspace_directory).to_owned();
    let page = call.query.page(Limit::Strict)?;
    let runtime = &call.app.runtime;
    let mut paths = runtime.remote_files(own.id, &directory).await.map_err(|error| elsewhere(&error))?;
    let has_more = cut(&mut paths, |path| path, call.query.one("page")?, &page)?;
    let next = paths.last().filter(|_| has_more).cloned();
    let mut data = Vec::new();
    for path in paths {
        // One that went away meanwhile is left out.
        if let Some(size_bytes) =
            runtime.remote_file_bytes(own.id, &path).await.map_err(|error| elsewhere(&error))?
        {
            data.push(shown_file(own.id, &path, size_bytes));
        }
    }
    Ok(Json(json!({"object": "page", "data": data, "next": next, "has_more": has_more})).into_response())
}

fn shown_file(environment_id: EnvironmentId, path: &str, size_bytes: u64) -> Value {
    json!({"environment_id": environment_id, "object": "agent.environment.file", "path": path,
        "size_bytes": size_bytes})
}

/// Sorts files by their paths and leaves the page that was asked for; whether there is more.
fn cut<File>(
    files: &mut Vec<File>,
    path: impl Fn(&File) -> &str,
    after: Option<&str>,
    page: &Page,
) -> Result<bool, ApiError> {
    files.sort_by(|one, next| path(one).split('/').cmp(path(next).split('/')));
    match page.order {
        Order::Ascending => {}
        Order::Descending => files.reverse(),
    }
    if let Some(after) = after {
        let place = files.iter().position(|file| path(file) == after).ok_or_else(bad_cursor)?;
        files.drain(..=place);
    }
    // A page is asked for with one more than it holds.
    let has_more = files.len() >= page.limit;
    files.truncate(page.limit - 1);
    Ok(has_more)
}

/// An executor that is connected to another node, or went away, may be here when the client asks again.
fn elsewhere(error: &RemoteFileError) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, format!("The files cannot be listed now: {error}."))
        .code("environment_unavailable")
}

async fn session(call: &Call) -> Result<Session, ApiError> {
    let key: SessionKey = key(call)?;
    must_exist(call, key).await?;
    call.query.check(call.dialect(), &[])?;
    call.app.runtime.session_state(key).await?.ok_or_else(|| ApiError::not_found("session"))
}

pub(super) async fn artifacts(call: Call) -> Result<Response, ApiError> {
    let state = session(&call).await?;
    let page = call.query.page(Limit::Strict)?;
    let mut artifacts = state.artifacts().to_vec();
    if let Some(environment) = call.query.one("environment_id")? {
        let id = EnvironmentId::of_session(state.key().session).to_string();
        artifacts.retain(|_| environment == id);
    }
    match page.order {
        Order::Ascending => {}
        Order::Descending => artifacts.reverse(),
    }
    if let Some(after) = &page.after {
        let id: ArtifactId = after.parse().map_err(|_| bad_cursor())?;
        let place = artifacts.iter().position(|artifact| artifact.id == id).ok_or_else(bad_cursor)?;
        artifacts.drain(..=place);
    }
    artifacts.truncate(page.limit);
    let has_more = query::cut(&mut artifacts, &page);
    Ok(query::list(
        artifacts.iter().map(|artifact| show::artifact(state.key().session, artifact)).collect(),
        has_more,
    ))
}

/// The artifact that the path names, and its session.
async fn one(call: &Call) -> Result<(Session, Artifact), ApiError> {
    let state = session(call).await?;
    let id: ArtifactId = call.id("artifact", "artifact")?;
    let found = state.artifacts().iter().find(|artifact| artifact.id == id).cloned();
    let found = found.ok_or_else(|| ApiError::not_found("artifact"))?;
    Ok((state, found))
}

pub(super) async fn artifact(call: Call) -> Result<Response, ApiError> {
    let (state, artifact) = one(&call).await?;
    Ok(Json(show::artifact(state.key().session, &artifact)).into_response())
}

pub(super) async fn artifact_content(call: Call) -> Result<Response, ApiError> {
    let (state, artifact) = one(&call).await?;
    let content = call.app.runtime.artifact_content(&state, artifact.id).await.map_err(unreadable)?;
    let content = content.ok_or_else(|| ApiError::not_found("artifact"))?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], content).into_response())
}

pub(super) async fn delete_artifact(call: Call) -> Result<Response, ApiError> {
    let (state, artifact) = one(&call).await?;
    let command = Command::DeleteArtifact { artifact_id: artifact.id };
    call.app.runtime.submit(state.key(), vec![command], None).await?;
    let body = json!({"id": artifact.id, "object": "agent.session.artifact.deleted", "deleted": true});
    Ok(Json(body).into_response())
}

fn unreadable(error: EnvironmentFileError) -> ApiError {
    match error {
        EnvironmentFileError::NotFound => ApiError::not_found("file"),
        EnvironmentFileError::TooLong(bytes) => {
            ApiError::invalid(format!("The file is longer than {bytes} bytes.")).code("file_too_large")
        }
        EnvironmentFileError::Unreadable(error) => {
            tracing::error!(%error, "the files of an environment cannot be read");
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "The environment's files cannot be read now.")
        }
    }
}

//! `/v1/agents/sessions`: sessions.

use std::collections::BTreeSet;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use tenure_journal::{
    AgentConfig, AgentId, Environment, EnvironmentId, Head, Network, SessionId, SessionKey, SessionOpened,
    SessionStatus,
};
use tenure_runtime::{Attached, BindError, Opening, Runtime, RuntimeError, RuntimeErrorKind};
use tenure_session::{Command, Refusal, SessionView};
use tenure_store::SessionFilter;

use super::vaults::unbound;
use super::{created, stream};
use crate::agents;
use crate::call::Call;
use crate::error::ApiError;
use crate::idempotency::{self, Begin, Ticket};
use crate::query::{self, Limit};
use crate::read::{
    NewEnvironment, NewSession, SessionChange, Tools, refuse_misplaced, refuse_unavailable, refuse_variables,
    unsupported_value,
};
use crate::show;
use crate::verbs;

/// Sessions of one page that are read at the same time.
const READS_AT_ONCE: usize = 8;
/// Words of the status filter.
const STATUS_WORDS: &[&str] = &["idle", "in_progress", "requires_action", "failed"];

/// The session that the path names.
pub(super) fn key(call: &Call) -> Result<SessionKey, ApiError> {
    Ok(Runtime::key(call.project(), call.id("session", "session")?))
}

pub(super) async fn create(mut call: Call) -> Result<Response, ApiError> {
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    call.refuse_frozen().await?;
    let mut new = NewSession::read(&body)?;
    let prewarmed = match new.environment {
        NewEnvironment::Prewarmed(id) => Some(id),
        NewEnvironment::None | NewEnvironment::Hosted(_) | NewEnvironment::SelfHosted(_) => None,
    };
    // An environment that waits for a session is the session it will have.
    let fresh = || SessionId::fresh(&call.app.runtime.fresh());
    let id = prewarmed.map_or_else(fresh, EnvironmentId::session);
    let mut agent = resolve(&call, &new, id).await?;
    new.agent.apply(&mut agent);
    if let Some(mode) = new.approval {
        agent.approval = mode;
    }
    let mut tools = new.agent.tools.take();
    if let Some(tools) = &tools {
        agent.tools = tools.as_slice().to_vec();
    }
    refuse_unavailable(&agent)?;
    verbs::check_create(&call.app, &call.caller, &agent).await?;
    call.check_servers(&agent.tools, "agent.tools")?;
    let (vault_ids, network) = vaults_of(&call, &new.vault_ids, prewarmed).await?;
    let unbound = |error| unbound(error, "agent.tools", "vault_ids");
    let attached = call.app.runtime.attach(call.project(), &vault_ids).await.map_err(unbound)?;
    bind(&attached, &mut agent, &mut tools).map_err(unbound)?;
    if let Some(network) = network {
        attached.check_network(&network).map_err(unbound)?;
    }
    let input = new.input()?;
    let (runtime, public_url) = (&call.app.runtime, &call.app.config.public_url);
    let environment = new.environment.make(runtime, public_url, call.project(), id, &agent.skills).await?;
    attached.check_environment(&environment).map_err(unbound)?;
    let there = match prewarmed {
        Some(_) => prewarmed_environment(&call, id).await?,
        None => environment.clone(),
    };
    refuse_misplaced(&agent.tools, &there, "agent.tools")?;
    if let Some(tools) = &tools {
        refuse_variables(tools, &there, "agent.tools")?;
    }
    if let Some(tools) = tools {
        // The last thing before the session: a request that is refused leaves no sealed secret behind.
        agent.tools = tools.seal(&call.app.runtime, call.project()).await?;
    }
    let opened = SessionOpened {
        project_id: call.project(),
        agent,
        environment,
        metadata: new.metadata,
        vault_ids,
        review: new.review,
        spend_limit: new.spend_limit,
        prompt_cache: new.prompt_cache,
        parent: None,
        trust: new.trust,
        opened_by: Some(call.caller.party()),
        digest_key: None,
    };
    let draft = ticket.as_ref().map(|ticket| ticket.draft(StatusCode::CREATED, body_of));
    // A client that leaves now must not take a half-opened session with it: the opening goes on without it.
    let (runtime, stream) = (call.app.runtime.clone(), new.stream);
    let opening = async move {
        let opening = Opening { opened, input };
        let outcome = match prewarmed {
            Some(environment) => runtime.open_in(environment, opening, draft, stream).await,
            None => runtime.open_as(id, opening, draft, stream).await,
        };
        (outcome, ticket)
    };
    let (outcome, ticket) = tokio::spawn(opening).await.map_err(|error| {
        tracing::error!(%error, "opening a session panicked");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "The session could not be opened.")
    })?;
    match outcome {
        Ok((view, None)) => {
            call.caller.log.made(view.key.session.to_string());
            Ok(created(&show::session(&view)))
        }
        Ok((view, Some(subscription))) => {
            call.caller.log.made(view.key.session.to_string());
            Ok(stream::until_idle(&call.app, view.key.session, subscription, StatusCode::CREATED))
        }
        Err(error) if prewarmed.is_some() && *error.kind() == RuntimeErrorKind::NotFound => {
            Err(ApiError::not_found("environment").param("environment.environment_id"))
        }
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

/// The vaults that a session names, those of an environment that waits for it among them, and that one's network.
async fn vaults_of(
    call: &Call,
    named: &[String],
    prewarmed: Option<EnvironmentId>,
) -> Result<(Vec<String>, Option<Network>), ApiError> {
    let mut vault_ids = named.to_vec();
    let Some(environment) = prewarmed else { return Ok((vault_ids, None)) };
    let key = Runtime::key(call.project(), environment.session());
    // One that is not there is met when the session is opened in it.
    let Some(state) = call.app.runtime.session_state(key).await? else { return Ok((vault_ids, None)) };
    let own = state.vault_ids().iter().filter(|id| !named.contains(id)).cloned();
    vault_ids.extend(own);
    Ok((vault_ids, state.hosted().map(|hosted| hosted.network.clone())))
}

/// Gives the tools of an agent their credentials, wherever they stand.
fn bind(attached: &Attached, agent: &mut AgentConfig, tools: &mut Option<Tools>) -> Result<(), BindError> {
    match tools {
        None => attached.bind(&mut agent.tools, &BTreeSet::new()),
        Some(tools) => {
            let (unsealed, own) = tools.parts();
            attached.bind(unsealed, &own)
        }
    }
}

/// What the environment is that waits for this session; nothing where there is none, which opening it tells.
async fn prewarmed_environment(call: &Call, id: SessionId) -> Result<Environment, ApiError> {
    let state = call.app.runtime.session_state(Runtime::key(call.project(), id)).await?;
    let hosted = state.and_then(|state| state.hosted().cloned());
    let environment = hosted.map(|hosted| Environment::Hosted(Box::new(hosted)));
    environment.ok_or_else(|| ApiError::not_found("environment").param("environment.environment_id"))
}

/// The agent before overrides: a version of a saved one, or a new one of the session's own.
async fn resolve(call: &Call, new: &NewSession<'_>, session: SessionId) -> Result<AgentConfig, ApiError> {
    match (&new.agent_id, &new.agent.model) {
        (Some(agent_id), _) => {
            let found = agents::for_session(call.store(), call.project(), agent_id, session).await?;
            found.ok_or_else(|| ApiError::not_found("agent").param("agent_id"))
        }
        (None, model) => {
            let id = AgentId::fresh(&call.app.runtime.fresh());
            Ok(AgentConfig::new(id, model.clone().unwrap_or_default()))
        }
    }
}

pub(super) async fn retrieve(call: Call) -> Result<Response, ApiError> {
    let view = call.app.runtime.view(key(&call)?).await?;
    let view = view.ok_or_else(|| ApiError::not_found("session"))?;
    Ok(Json(show::session(&view)).into_response())
}

pub(super) async fn update(mut call: Call) -> Result<Response, ApiError> {
    let key = key(&call)?;
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let view = call.app.runtime.view(key).await?;
    let view = view.ok_or_else(|| ApiError::not_found("session"))?;
    let SessionChange { mut patch, tools } = {
        let change = SessionChange::read(&body)?;
        change.check_approval(view.agent.approval)?;
        change
    };
    if let Some(metadata) = &patch.metadata {
        call.app.runtime.refuse_erased(call.project(), metadata).await?;
    }
    if let (Some(mut tools), Some(agent)) = (tools, &mut patch.agent) {
        call.check_servers(tools.as_slice(), "agent.tools")?;
        refuse_misplaced(tools.as_slice(), &view.environment, "agent.tools")?;
        refuse_variables(&tools, &view.environment, "agent.tools")?;
        let unbound = |error| unbound(error, "agent.tools", "vault_ids");
        let attached =
            call.app.runtime.attach_left(call.project(), &view.vault_ids).await.map_err(unbound)?;
        let (unsealed, own) = tools.parts();
        attached.bind(unsealed, &own).map_err(unbound)?;
        agent.tools = Some(tools.seal(&call.app.runtime, call.project()).await?);
    }
    let commands = vec![Command::Update { patch: Box::new(patch) }];
    let draft = ticket.as_ref().map(|ticket| ticket.draft(StatusCode::OK, body_of));
    match call.app.runtime.submit(key, commands, draft).await {
        Ok(view) => Ok(Json(show::session(&view)).into_response()),
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

pub(super) async fn delete(call: Call) -> Result<Response, ApiError> {
    let key = key(&call)?;
    match call.app.runtime.submit(key, vec![Command::Delete], None).await {
        Ok(_) => {}
        Err(error) => match error.kind() {
            RuntimeErrorKind::Refused(Refusal::Deleted) => {}
            RuntimeErrorKind::NotFound => {
                let head = call.store().head(key).await?;
                if !head.is_some_and(|head| head.deleted) {
                    return Err(error.into());
                }
            }
            RuntimeErrorKind::Refused(_)
            | RuntimeErrorKind::ReceiptExists
            | RuntimeErrorKind::Overloaded(_)
            | RuntimeErrorKind::ShuttingDown
            | RuntimeErrorKind::Storage
            | RuntimeErrorKind::BeingErased
            | RuntimeErrorKind::Sealing
            | RuntimeErrorKind::Damaged => return Err(error.into()),
        },
    }
    let deleted = json!({"id": key.session, "object": "agent.session.deleted", "deleted": true});
    Ok(Json(deleted).into_response())
}

pub(super) async fn list(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    listed(&call, Limit::Clamped, show::session).await
}

/// A page of the sessions that the query asks for, each as `show` makes it.
pub(super) async fn listed(
    call: &Call,
    limit: Limit,
    show: fn(&SessionView) -> Value,
) -> Result<Response, ApiError> {
    let page = call.query.page(limit)?;
    let Some(filter) = filter(call)? else { return Ok(query::list(Vec::new(), false)) };
    let mut heads = call.store().sessions(call.project(), &filter, &page).await?;
    let has_more = query::cut(&mut heads, &page);
    let runtime = &call.app.runtime;
    let reads = heads.into_iter().map(|head| async move { one_of_list(runtime, head, show).await });
    let shown: Vec<Option<Value>> =
        futures_util::stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await?;
    Ok(query::list(shown.into_iter().flatten().collect(), has_more))
}

/// The filters; nothing if they can match no session.
fn filter(call: &Call) -> Result<Option<SessionFilter>, ApiError> {
    let mut filter = SessionFilter { metadata: call.query.map("metadata")?, ..SessionFilter::default() };
    if let Some(agent_id) = call.query.one("agent_id")? {
        let Ok(id) = agent_id.parse() else { return Ok(None) };
        filter.agent_id = Some(id);
    }
    match call.query.many("status")?.as_slice() {
        [] => {}
        [word] => match SessionStatus::from_word(word) {
            Some(status) => filter.status = Some(status),
            None => return Err(unsupported_value("status", word, STATUS_WORDS)),
        },
        [_, _, ..] => {
            return Err(
                ApiError::invalid("Invalid 'status': only one status can be filtered by.").param("status")
            );
        }
    }
    Ok(Some(filter))
}

/// A session of a list. One that cannot be read is shown as failed: hiding it would be a lie, and failing
/// the list would take every other session with it.
async fn one_of_list(
    runtime: &Runtime,
    head: Head,
    show: fn(&SessionView) -> Value,
) -> Result<Option<Value>, ApiError> {
    match runtime.view(head.key).await {
        Ok(view) => Ok(view.map(|view| show(&view))),
        Err(error) if *error.kind() == RuntimeErrorKind::Damaged => {
            tracing::error!(session = %head.key.session, "a session's journal is damaged");
            Ok(Some(show(&unreadable(head))))
        }
        Err(error) => Err(error.into()),
    }
}

fn unreadable(head: Head) -> SessionView {
    let mut agent = AgentConfig::new(head.agent_id, String::new());
    agent.name = head.agent_name;
    SessionView {
        key: head.key,
        status: SessionStatus::Failed,
        agent,
        environment: Environment::None,
        environment_status: None,
        required_actions: Vec::new(),
        error: Some("the session's journal cannot be read".into()),
        usage: None,
        vault_ids: Vec::new(),
        metadata: head.metadata,
        created_at: head.created_at,
        last_active_at: head.last_active_at,
        review: None,
        spend: None,
        prompt_cache: None,
        forked_from: None,
        quarantined_by: None,
        opened_by: None,
        plugin_servers: Box::default(),
    }
}

fn body_of(view: &SessionView) -> String {
    show::session(view).to_string()
}

/// The first outcome of the idempotency key, if that is why the request failed.
pub(super) async fn replay_or(
    call: &Call,
    ticket: Option<&Ticket>,
    error: RuntimeError,
) -> Result<Response, ApiError> {
    if let (RuntimeErrorKind::ReceiptExists, Some(ticket)) = (error.kind(), ticket)
        && let Some(response) = ticket.replay(call).await?
    {
        return Ok(response);
    }
    Err(error.into())
}

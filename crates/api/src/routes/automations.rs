//! `/v1/agents/automations`: automations and their invocations.

use std::collections::BTreeSet;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use tenure_journal::{
    AgentConfig, AgentId, AutomationId, CreatedBy, InvocationId, NewSessionTarget, SessionId, Target,
    TargetAgent, TargetEnvironment, Trust,
};
use tenure_runtime::{
    AutomationError, AutomationRefusal, Automations, Change, NewAutomation, Runtime, SavedAutomation,
    SavedInvocation,
};
use tenure_store::{Receipt, StoreErrorKind};

use super::created;
use super::vaults::unbound;
use crate::agents;
use crate::call::Call;
use crate::error::{ApiError, bad_cursor, overloaded, undecodable};
use crate::idempotency::{self, Begin, Ticket};
use crate::query::{self, Limit};
use crate::read::{AutomationBody, AutomationChange, NewSessionBody, Reader, TargetBody, refuse_unavailable};
use crate::show;

/// Snapshots of one page that are read at the same time.
const READS_AT_ONCE: usize = 8;

impl From<AutomationError> for ApiError {
    fn from(error: AutomationError) -> Self {
        match error {
            AutomationError::NotFound => Self::not_found("automation"),
            AutomationError::Refused(refusal) => refused(&refusal),
            AutomationError::Store(error) => error.into(),
            AutomationError::Damaged(error) => undecodable("automation", &error),
        }
    }
}

fn refused(refusal: &AutomationRefusal) -> ApiError {
    let invalid = |code, param: &str| {
        ApiError::invalid(format!("Invalid '{param}': {refusal}.")).code(code).param(param)
    };
    match refusal {
        AutomationRefusal::Expression(_) => invalid("invalid_cron", "expression"),
        AutomationRefusal::Timezone(_) => invalid("invalid_timezone", "timezone"),
        AutomationRefusal::NotPeriodic => invalid("invalid_value", "expression"),
        AutomationRefusal::NotOnce => invalid("invalid_value", "run_at"),
        AutomationRefusal::RunAtPast => invalid("bad_time", "run_at"),
        AutomationRefusal::RunAtFixed => invalid("immutable", "run_at"),
        AutomationRefusal::TargetType => invalid("immutable", "target.type"),
        AutomationRefusal::TargetSession => invalid("immutable", "target.session_id"),
        AutomationRefusal::TargetTooLarge { .. } => invalid("target_too_large", "target"),
        AutomationRefusal::Completed | AutomationRefusal::TooMany { .. } => {
            ApiError::conflict(format!("{refusal}."))
        }
        AutomationRefusal::TooManyQueued { .. } => {
            overloaded(StatusCode::TOO_MANY_REQUESTS, format!("{refusal}."))
        }
    }
}

fn automations(call: &Call) -> Automations {
    call.app.runtime.automations()
}

/// Automations, for who asks.
fn acting(call: &Call) -> Automations {
    call.acting().automations()
}

fn automation_id(call: &Call) -> Result<AutomationId, ApiError> {
    call.id("automation", "automation")
}

/// What a request answers with: the body, and the receipt that repeats it.
fn receipt_of(ticket: Option<&Ticket>, status: StatusCode, saved: &SavedAutomation) -> Option<Receipt> {
    let body = || show::automation(saved).to_string();
    ticket.map(|ticket| ticket.receipt(status, body(), saved.document.updated_at))
}

pub(super) async fn create(mut call: Call) -> Result<Response, ApiError> {
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let AutomationBody { name, metadata, schedule, target } = AutomationBody::read(&body)?;
    call.app.runtime.refuse_erased(call.project(), &metadata).await?;
    let target = resolve(&call, target).await?;
    let new = NewAutomation { name, metadata, schedule, target, created_by: CreatedBy::Developer };
    let id = AutomationId::fresh(&call.app.runtime.fresh());
    let receipt = |saved: &SavedAutomation| receipt_of(ticket.as_ref(), StatusCode::CREATED, saved);
    match acting(&call).create(call.project(), id, new, &receipt).await {
        Ok(saved) => Ok(created(&show::automation(&saved))),
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

/// The target with its references looked up and its secrets sealed.
async fn resolve(call: &Call, target: TargetBody) -> Result<Target, ApiError> {
    match target {
        TargetBody::ExistingSession { session_id, instructions } => {
            let head = call.store().head(Runtime::key(call.project(), session_id)).await?;
            if head.is_none_or(|head| head.deleted || head.parent.is_some()) {
                return Err(ApiError::not_found("session").param("target.session_id"));
            }
            Ok(Target::ExistingSession { session_id, instructions })
        }
        TargetBody::NewSession(target) => Ok(Target::NewSession(Box::new(new_session(call, *target).await?))),
    }
}

async fn new_session(call: &Call, body: NewSessionBody) -> Result<NewSessionTarget, ApiError> {
    let NewSessionBody { agent_id, agent: mut fields, environment, input, metadata, approval, vault_ids } =
        body;
    call.app.runtime.refuse_erased(call.project(), &metadata).await?;
    let unbound = |error| unbound(error, "target.agent.tools", "target.vault_ids");
    let attached = call.app.runtime.attach(call.project(), &vault_ids).await.map_err(unbound)?;
    let agent = match agent_id {
        Some(agent_id) => {
            let saved = agents::find(call.store(), call.project(), &agent_id).await?;
            let saved = saved.ok_or_else(|| ApiError::not_found("agent").param("target.agent_id"))?;
            refuse_unavailable(&saved.config()).map_err(|error| error.within("target"))?;
            // Bound anew to each session; what can never be is refused now.
            attached.bind(&mut saved.config().tools, &BTreeSet::new()).map_err(unbound)?;
            TargetAgent::Saved { agent_id: saved.pinned.config.id }
        }
        None => {
            let id = AgentId::fresh(&call.app.runtime.fresh());
            let mut config = AgentConfig::new(id, fields.model.clone().unwrap_or_default());
            fields.apply(&mut config);
            if let Some(tools) = &fields.tools {
                config.tools = tools.as_slice().to_vec();
            }
            refuse_unavailable(&config).map_err(|error| error.within("target"))?;
            if let Some(tools) = &mut fields.tools {
                let (unsealed, own) = tools.parts();
                let mut tried = unsealed.to_vec();
                attached.bind(&mut tried, &own).map_err(unbound)?;
            }
            if let Some(tools) = fields.tools.take() {
                // The last thing: a request that is refused leaves no sealed secret behind.
                config.tools = tools.seal(&call.app.runtime, call.project()).await?;
            }
            TargetAgent::Inline { config: Box::new(config) }
        }
    };
    let environment = environment.make_later(&call.app.runtime, call.project()).await?;
    if let TargetEnvironment::Hosted(wanted) = &environment
        && let Some(network) = &wanted.settings.network
    {
        attached.check_network(network).map_err(unbound)?;
    }
    let trust = Trust::of_clients();
    Ok(NewSessionTarget { agent, environment, input, metadata, approval, vault_ids, trust })
}

pub(super) async fn retrieve(call: Call) -> Result<Response, ApiError> {
    let saved = automations(&call).automation(call.project(), automation_id(&call)?).await?;
    Ok(Json(show::automation(&saved)).into_response())
}

pub(super) async fn list(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    let page = call.query.page(Limit::Clamped)?;
    if page.after.as_ref().is_some_and(|after| after.parse::<AutomationId>().is_err()) {
        return Err(bad_cursor());
    }
    let session: Option<SessionId> = match call.query.one("session_id")?.map(str::parse) {
        None => None,
        Some(Ok(session)) => Some(session),
        // What is no id is the id of nothing.
        Some(Err(_)) => return Ok(query::list(Vec::new(), false)),
    };
    let mut found = automations(&call).list(call.project(), session, &page).await?;
    let has_more = query::cut(&mut found, &page);
    Ok(query::list(found.iter().map(show::automation).collect(), has_more))
}

pub(super) async fn update(mut call: Call) -> Result<Response, ApiError> {
    let id = automation_id(&call)?;
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    automations(&call).automation(call.project(), id).await?;
    let AutomationChange { name, metadata, expression, timezone, run_at, target } =
        AutomationChange::read(&body)?;
    if let Some(metadata) = &metadata {
        call.app.runtime.refuse_erased(call.project(), metadata).await?;
    }
    let target = match target {
        Some(target) => Some(resolve(&call, target).await?),
        None => None,
    };
    let change = Change { name, metadata, expression, timezone, run_at, target };
    let receipt = |saved: &SavedAutomation| receipt_of(ticket.as_ref(), StatusCode::OK, saved);
    match acting(&call).update(call.project(), id, &change, &receipt).await {
        Ok(saved) => Ok(Json(show::automation(&saved)).into_response()),
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

pub(super) async fn delete(call: Call) -> Result<Response, ApiError> {
    let id = automation_id(&call)?;
    acting(&call).delete(call.project(), id).await?;
    let deleted = json!({"id": id, "object": "agent.automation.deleted", "deleted": true});
    Ok(Json(deleted).into_response())
}

pub(super) async fn pause(call: Call) -> Result<Response, ApiError> {
    switch(call, Switch::Pause).await
}

pub(super) async fn resume(call: Call) -> Result<Response, ApiError> {
    switch(call, Switch::Resume).await
}

enum Switch {
    Pause,
    Resume,
}

async fn switch(mut call: Call, switch: Switch) -> Result<Response, ApiError> {
    let id = automation_id(&call)?;
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    Reader::new("", &body)?.finish()?;
    let (automations, project) = (acting(&call), call.project());
    let receipt = |saved: &SavedAutomation| receipt_of(ticket.as_ref(), StatusCode::OK, saved);
    let switched = match switch {
        Switch::Pause => automations.pause(project, id, &receipt).await,
        Switch::Resume => automations.resume(project, id, &receipt).await,
    };
    match switched {
        Ok(saved) => Ok(Json(show::automation(&saved)).into_response()),
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

pub(super) async fn invoke(mut call: Call) -> Result<Response, ApiError> {
    let id = automation_id(&call)?;
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    Reader::new("", &body)?.finish()?;
    call.refuse_frozen().await?;
    let receipt = |saved: &SavedInvocation| {
        let body = show::invocation(saved, None).to_string();
        ticket.as_ref().map(|ticket| ticket.receipt(StatusCode::CREATED, body, saved.document.updated_at))
    };
    match acting(&call).invoke(call.project(), id, &receipt).await {
        Ok(saved) => Ok(created(&show::invocation(&saved, None))),
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

pub(super) async fn invocations(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    let (id, page) = (automation_id(&call)?, call.query.page(Limit::Clamped)?);
    if page.after.as_ref().is_some_and(|after| after.parse::<InvocationId>().is_err()) {
        return Err(bad_cursor());
    }
    automations(&call).automation(call.project(), id).await?;
    let mut found = automations(&call).invocations(call.project(), id, &page).await?;
    let has_more = query::cut(&mut found, &page);
    let call = &call;
    let reads = found.into_iter().map(|saved| async move { shown(call, &saved).await });
    let data = futures_util::stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await?;
    Ok(query::list(data, has_more))
}

pub(super) async fn invocation(call: Call) -> Result<Response, ApiError> {
    let id = automation_id(&call)?;
    automations(&call).automation(call.project(), id).await?;
    let invocation = call.id("invocation", "invocation")?;
    let found = automations(&call).invocation(call.project(), id, invocation).await;
    let found = found.map_err(|error| match error {
        AutomationError::NotFound => ApiError::not_found("invocation"),
        error @ (AutomationError::Refused(_) | AutomationError::Store(_) | AutomationError::Damaged(_)) => {
            error.into()
        }
    })?;
    Ok(Json(shown(&call, &found).await?).into_response())
}

/// An invocation with the automation as it was when the schedule made it.
async fn shown(call: &Call, saved: &SavedInvocation) -> Result<Value, ApiError> {
    let body = &saved.body;
    let snapshot = match body.scheduled_at {
        Some(_) => {
            let version = body.automation_version;
            Some(automations(call).version(call.project(), body.automation_id, version).await?)
        }
        None => None,
    };
    Ok(show::invocation(saved, snapshot.as_ref()))
}

/// The first outcome of the idempotency key, if that is why the request failed.
async fn replay_or(
    call: &Call,
    ticket: Option<&Ticket>,
    error: AutomationError,
) -> Result<Response, ApiError> {
    if let (AutomationError::Store(store), Some(ticket)) = (&error, ticket)
        && store.kind() == StoreErrorKind::ReceiptExists
        && let Some(response) = ticket.replay(call).await?
    {
        return Ok(response);
    }
    Err(error.into())
}

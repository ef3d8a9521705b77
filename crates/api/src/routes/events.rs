//! `/v1/agents/sessions/{session}/events`: what clients submit, and what they watch.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tenure_session::Command;

use super::sessions::{key, replay_or};
use super::{lists, stream};
use crate::call::Call;
use crate::error::ApiError;
use crate::idempotency::{self, Begin};
use crate::keys::Scope;
use crate::read::{Reader, read_events};
use crate::verbs;

pub(super) async fn submit(mut call: Call) -> Result<Response, ApiError> {
    let key = key(&call)?;
    let body: Value = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let commands = read_events(Reader::new("", &body)?, &call.caller.party())?;
    check(&call, &commands).await?;
    if commands.is_empty() {
        lists::must_exist(&call, key).await?;
        return Ok(StatusCode::ACCEPTED.into_response());
    }
    verbs::check_commands(&call.app, &call.caller, key.session, &commands).await?;
    let draft = ticket.as_ref().map(|ticket| ticket.draft(StatusCode::ACCEPTED, |_| String::new()));
    match call.app.runtime.submit_when_connected(key, commands, draft).await {
        Ok(_) => Ok(StatusCode::ACCEPTED.into_response()),
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

/// Refuses commands that the caller's scopes do not cover, and new work in a frozen project.
async fn check(call: &Call, commands: &[Command]) -> Result<(), ApiError> {
    let is_answer = |command: &Command| matches!(command, Command::Decide { .. });
    let begins = commands.iter().any(|command| matches!(command, Command::Message { .. }));
    if commands.iter().any(is_answer) {
        call.require(Scope::ApprovalsDecide)?;
    }
    if !commands.iter().all(is_answer) || commands.is_empty() {
        call.require(Scope::SessionsWrite)?;
    }
    if begins { call.refuse_frozen().await } else { Ok(()) }
}

pub(super) async fn subscribe(call: Call) -> Result<Response, ApiError> {
    let key = key(&call)?;
    call.query.check(call.dialect(), &[])?;
    if let Some(word) = call.query.one("include_obfuscation")?
        && !["true", "false"].contains(&word)
    {
        return Err(crate::read::unsupported_value("include_obfuscation", word, &["true", "false"]));
    }
    let subscription = call.app.runtime.subscribe(key).await?;
    Ok(stream::open_ended(&call.app, key.session, subscription))
}

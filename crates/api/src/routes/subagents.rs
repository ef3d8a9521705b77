//! `/v1/agents/sessions/{session}/subagents`: what a session's subagents are and did. Clients only read.

use axum::Json;
use axum::response::{IntoResponse, Response};
use tenure_journal::{SessionKey, SubagentId, TurnId};
use tenure_session::SubagentView;
use tenure_store::{Order, Page};

use super::lists::page_of_items;
use super::sessions::key;
use crate::call::Call;
use crate::error::{ApiError, bad_cursor};
use crate::query::{self, Limit};
use crate::show;

async fn all(call: &Call) -> Result<Vec<SubagentView>, ApiError> {
    let subagents = call.app.runtime.subagents(key(call)?).await?;
    let subagents = subagents.ok_or_else(|| ApiError::not_found("session"))?;
    call.query.check(call.dialect(), &[])?;
    Ok(subagents)
}

/// The subagent that the path names, and the session it is.
async fn one(call: &Call) -> Result<(SubagentView, SessionKey), ApiError> {
    let subagents = all(call).await?;
    let id: SubagentId = call.id("subagent", "subagent")?;
    let found = subagents.into_iter().find(|subagent| subagent.id == id);
    let found = found.ok_or_else(|| ApiError::not_found("subagent"))?;
    Ok((found, SessionKey { project: call.project(), session: id.session() }))
}

pub(super) async fn list(call: Call) -> Result<Response, ApiError> {
    let subagents = all(&call).await?;
    let page = call.query.page(Limit::Strict)?;
    let mut rows = page_of(subagents, &page)?;
    let has_more = query::cut(&mut rows, &page);
    Ok(query::list(rows.iter().map(show::subagent).collect(), has_more))
}

/// A session has few subagents, so its pages are cut from all of them.
fn page_of(mut all: Vec<SubagentView>, page: &Page) -> Result<Vec<SubagentView>, ApiError> {
    match page.order {
        Order::Ascending => {}
        Order::Descending => all.reverse(),
    }
    if let Some(after) = &page.after {
        let id: SubagentId = after.parse().map_err(|_| bad_cursor())?;
        let place = all.iter().position(|subagent| subagent.id == id).ok_or_else(bad_cursor)?;
        all.drain(..=place);
    }
    all.truncate(page.limit);
    Ok(all)
}

pub(super) async fn retrieve(call: Call) -> Result<Response, ApiError> {
    let (subagent, _) = one(&call).await?;
    Ok(Json(show::subagent(&subagent)).into_response())
}

pub(super) async fn items(call: Call) -> Result<Response, ApiError> {
    let (_, child) = one(&call).await?;
    page_of_items(&call, child, None).await
}

pub(super) async fn turns(call: Call) -> Result<Response, ApiError> {
    let (subagent, child) = one(&call).await?;
    let page = call.query.page(Limit::Strict)?;
    let mut turns = call.store().turns(child, &page).await?;
    let has_more = query::cut(&mut turns, &page);
    let shown = turns.iter().map(|turn| show::turn(subagent.session, Some(subagent.id), turn)).collect();
    Ok(query::list(shown, has_more))
}

pub(super) async fn turn(call: Call) -> Result<Response, ApiError> {
    let (subagent, child) = one(&call).await?;
    let turn = call.store().turn(child, call.id("turn", "turn")?).await?;
    let turn = turn.ok_or_else(|| ApiError::not_found("turn"))?;
    Ok(Json(show::turn(subagent.session, Some(subagent.id), &turn)).into_response())
}

pub(super) async fn turn_items(call: Call) -> Result<Response, ApiError> {
    let (_, child) = one(&call).await?;
    let turn: TurnId = call.id("turn", "turn")?;
    call.store().turn(child, turn).await?.ok_or_else(|| ApiError::not_found("turn"))?;
    page_of_items(&call, child, Some(turn)).await
}

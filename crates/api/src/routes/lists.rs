//! What belongs to a session: items, turns and traces.

use axum::Json;
use axum::response::{IntoResponse, Response};
use tenure_journal::{SessionKey, TurnId};

use super::sessions::key;
use crate::call::Call;
use crate::error::ApiError;
use crate::query::{self, Limit};
use crate::show;

/// Refuses a session that does not exist or is deleted.
pub(super) async fn must_exist(call: &Call, key: SessionKey) -> Result<(), ApiError> {
    match call.store().head(key).await? {
        Some(head) if !head.deleted && head.parent.is_none() => Ok(()),
        Some(_) | None => Err(ApiError::not_found("session")),
    }
}

async fn session(call: &Call) -> Result<SessionKey, ApiError> {
    let key = key(call)?;
    must_exist(call, key).await?;
    call.query.check(call.dialect(), &[])?;
    Ok(key)
}

pub(super) async fn items(call: Call) -> Result<Response, ApiError> {
    let key = session(&call).await?;
    page_of_items(&call, key, None).await
}

pub(super) async fn turn_items(call: Call) -> Result<Response, ApiError> {
    let key = session(&call).await?;
    let turn: TurnId = call.id("turn", "turn")?;
    call.store().turn(key, turn).await?.ok_or_else(|| ApiError::not_found("turn"))?;
    page_of_items(&call, key, Some(turn)).await
}

pub(super) async fn page_of_items(
    call: &Call,
    key: SessionKey,
    turn: Option<TurnId>,
) -> Result<Response, ApiError> {
    let page = call.query.page(Limit::Clamped)?;
    let mut items = call.store().items(key, turn, &page).await?;
    let has_more = query::cut(&mut items, &page);
    Ok(query::list(items.iter().map(show::item).collect(), has_more))
}

pub(super) async fn turns(call: Call) -> Result<Response, ApiError> {
    let key = session(&call).await?;
    let page = call.query.page(Limit::Strict)?;
    let mut turns = call.store().turns(key, &page).await?;
    let has_more = query::cut(&mut turns, &page);
    Ok(query::list(turns.iter().map(|turn| show::turn(key.session, None, turn)).collect(), has_more))
}

pub(super) async fn turn(call: Call) -> Result<Response, ApiError> {
    let key = session(&call).await?;
    let turn = call.store().turn(key, call.id("turn", "turn")?).await?;
    let turn = turn.ok_or_else(|| ApiError::not_found("turn"))?;
    Ok(Json(show::turn(key.session, None, &turn)).into_response())
}

/// The traces of a session's finished turns. A turn that runs has none yet and is left out.
pub(super) async fn traces(call: Call) -> Result<Response, ApiError> {
    let key = session(&call).await?;
    let page = call.query.page(Limit::Clamped)?;
    let mut turns = call.store().turns(key, &page).await?;
    let has_more = query::cut(&mut turns, &page);
    let (traces, is_cut) = call.app.runtime.traces(key, &turns, page.order).await?;
    let shown = traces.iter().map(|trace| show::trace(key.session, trace)).collect();
    Ok(query::list(shown, has_more || is_cut))
}

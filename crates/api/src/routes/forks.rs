//! Forks of sessions, going back, and the moments to do either from; and collecting what nobody refers to.

use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tenure_journal::{TurnEnd, Version};
use tenure_runtime::{COLLECTION_GRACE, COLLECTION_GRACE_MIN, Collected};
use tenure_session::{Happened, Moment, Point, SessionView, moments};

use super::created;
use super::sessions::{key as session_key, replay_or};
use crate::call::Call;
use crate::error::{ApiError, bad_cursor};
use crate::idempotency::{self, Begin};
use crate::query::{self, Limit};
use crate::read::{Field, Reader};
use crate::show;

/// Seconds of a grace beyond which nothing is ever collected: ten years.
const GRACE_SECONDS_MAX: u64 = 315_576_000;

/// A new session with the conversation and the files of this one.
pub(super) async fn fork(mut call: Call) -> Result<Response, ApiError> {
    let parent = session_key(&call)?;
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let mut reader = Reader::new("", &body)?;
    let at = reader.optional_or_null("at").map(|field| point(&field)).transpose()?;
    reader.finish()?;
    call.refuse_frozen().await?;
    let draft = ticket.as_ref().map(|ticket| ticket.draft(StatusCode::CREATED, body_of));
    match call.app.runtime.fork(parent, at.unwrap_or(Point::Latest), draft).await {
        Ok(view) => {
            call.caller.log.made(view.key.session.to_string());
            Ok(created(&show::tenure_session(&view)))
        }
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

/// This session as it was.
pub(super) async fn rewind(mut call: Call) -> Result<Response, ApiError> {
    let key = session_key(&call)?;
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let mut reader = Reader::new("", &body)?;
    let to = point(&reader.required("to")?)?;
    reader.finish()?;
    let draft = || ticket.as_ref().map(|ticket| ticket.draft(StatusCode::OK, body_of));
    match call.app.runtime.rewind(key, to, draft).await {
        Ok(view) => Ok(Json(show::tenure_session(&view)).into_response()),
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

fn body_of(view: &SessionView) -> String {
    show::tenure_session(view).to_string()
}

/// A version as a number or as its digits, a turn's id, an item's id, or `latest`.
fn point(field: &Field<'_>) -> Result<Point, ApiError> {
    if field.value().is_number() {
        return Ok(Point::Version(Version(field.integer(1, u64::MAX)?)));
    }
    let text = field.string()?;
    let version = || text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    if text == "latest" {
        return Ok(Point::Latest);
    }
    let found = version().map(|version| Point::Version(Version(version)));
    let found = found.or_else(|| text.parse().ok().map(Point::Turn));
    found.or_else(|| text.parse().ok().map(Point::Item)).ok_or_else(|| {
        let message = format!("Invalid '{}': expected a version, a turn's id or an item's id.", field.path());
        field.refuse("unknown_point", message)
    })
}

/// The moments of a session, oldest first, each with the version right after it.
pub(super) async fn history(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &["limit", "after"])?;
    let key = session_key(&call)?;
    let page = call.query.page(Limit::Strict)?;
    let journal = call.app.runtime.journal(key).await?;
    let shown = moments(key, &journal).unwrap_or_default().into_iter().map(moment);
    let mut shown: Vec<Value> = shown.collect();
    if let Some(after) = &page.after {
        let place = shown.iter().position(|moment| moment["id"] == **after).ok_or_else(bad_cursor)?;
        shown.drain(..=place);
    }
    shown.truncate(page.limit);
    let has_more = query::cut(&mut shown, &page);
    Ok(query::list(shown, has_more))
}

fn moment(moment: Moment) -> Value {
    let Moment { version, at, what } = moment;
    let mut shown = json!({"object": "tenure.moment", "version": version, "at": at.as_secs()});
    match what {
        Happened::Item(item) => {
            shown["id"] = json!(item.id);
            shown["type"] = json!("item");
            shown["item"] = show::item(&item);
        }
        Happened::TurnEnded { turn_id, end } => {
            shown["id"] = json!(turn_id);
            shown["type"] = json!("turn");
            shown["status"] = json!(match end {
                TurnEnd::Completed => "completed",
                TurnEnd::Failed { .. } => "failed",
                TurnEnd::Cancelled => "cancelled",
            });
        }
        Happened::Rewound { to } => {
            shown["id"] = json!(version.0.to_string());
            shown["type"] = json!("rewound");
            shown["to"] = json!(to);
        }
    }
    shown
}

/// Forgets payloads of the project that nobody refers to.
pub(super) async fn collect(mut call: Call) -> Result<Response, ApiError> {
    let body = call.read_body().await?;
    let mut reader = Reader::new("", &body)?;
    let grace = match reader.optional_or_null("grace_seconds") {
        Some(field) => Duration::from_secs(field.integer(COLLECTION_GRACE_MIN.as_secs(), GRACE_SECONDS_MAX)?),
        None => COLLECTION_GRACE,
    };
    reader.finish()?;
    let collected = call.app.runtime.collect(Some(call.project()), grace).await?;
    let Collected { sessions, old, forgotten, forgotten_bytes, left } = collected;
    let shown = json!({
        "object": "tenure.collection",
        "grace_seconds": grace.as_secs(),
        "sessions_read": sessions,
        "payloads_old": old,
        "payloads_removed": forgotten,
        "bytes_removed": forgotten_bytes,
        "damaged": left > 0,
    });
    Ok(Json(shown).into_response())
}

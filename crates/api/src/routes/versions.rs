//! `/v1/tenure/agents/{agent}`: the versions of a saved agent, going back to one, and splitting new sessions
//! between two.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tenure_journal::AgentId;
use tenure_store::{DocumentKind, Order};

use super::agents::replay_or;
use super::created;
use super::tenure::version_of;
use crate::agents::{self, Saved};
use crate::call::Call;
use crate::diff;
use crate::error::{ApiError, bad_cursor};
use crate::idempotency::{self, Begin};
use crate::query::{self, Limit};
use crate::read::Reader;
use crate::show;
use crate::split::{self, Split, WEIGHT_MAX, Weighted};

/// Saved agents, each with its version and its split.
pub(super) async fn agents(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &["limit", "after", "order"])?;
    let page = call.query.page(Limit::Strict)?;
    if page.after.as_ref().is_some_and(|after| after.parse::<AgentId>().is_err()) {
        return Err(bad_cursor());
    }
    let mut documents = call.store().documents(call.project(), DocumentKind::Agent, None, &page).await?;
    let has_more = query::cut(&mut documents, &page);
    let mut data = Vec::with_capacity(documents.len());
    for document in documents {
        data.push(with_split(&call, Saved::from_document(document)?).await?);
    }
    Ok(query::list(data, has_more))
}

/// One saved agent, with its version and its split.
pub(super) async fn agent(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    let saved = agents::by_id(call.store(), call.project(), call.id("agent", "agent")?).await?;
    let saved = saved.ok_or_else(|| ApiError::not_found("agent"))?;
    Ok(Json(with_split(&call, saved).await?).into_response())
}

async fn with_split(call: &Call, saved: Saved) -> Result<Value, ApiError> {
    let split = split::read(call.store(), call.project(), saved.pinned.config.id).await?;
    Ok(show::tenure_agent(&saved, split.as_ref()))
}

/// Versions of an agent, deleted or not, before or after a version.
pub(super) async fn list(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &["limit", "after", "order"])?;
    let id: AgentId = call.id("agent", "agent")?;
    let page = call.query.page(Limit::Strict)?;
    let last = last(&call, id).await?;
    let after = page.after.as_deref().map(version_of).transpose()?;
    if after.is_some_and(|after| after > last) {
        return Err(bad_cursor());
    }
    let mut numbers: Vec<u64> = match page.order {
        Order::Ascending => (after.map_or(1, |after| after + 1)..=last).take(page.limit).collect(),
        Order::Descending => (1..after.unwrap_or(last + 1)).rev().take(page.limit).collect(),
    };
    let has_more = query::cut(&mut numbers, &page);
    let mut data = Vec::with_capacity(numbers.len());
    for number in numbers {
        data.push(show::agent_version(&saved(&call, id, number).await?));
    }
    Ok(query::list(data, has_more))
}

/// One version of an agent, deleted or not.
pub(super) async fn retrieve(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    let id: AgentId = call.id("agent", "agent")?;
    let number: Number = call.id("version", "version")?;
    Ok(Json(show::agent_version(&saved(&call, id, number.0).await?)).into_response())
}

/// What differs between two versions: `from`, and `to` or else the last.
pub(super) async fn difference(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &["from", "to"])?;
    let id: AgentId = call.id("agent", "agent")?;
    let last = last(&call, id).await?;
    let from = number(&call, "from")?.ok_or_else(|| crate::read::missing("from"))?;
    let to = number(&call, "to")?.unwrap_or(last);
    let (old, new) = (saved(&call, id, from).await?, saved(&call, id, to).await?);
    let changes = diff::changes(&show::compared(&old.pinned), &show::compared(&new.pinned));
    let changes: Vec<Value> = changes.iter().map(diff::Change::shown).collect();
    let body =
        json!({"object": "tenure.agent.diff", "agent_id": id, "from": from, "to": to, "changes": changes});
    Ok(Json(body).into_response())
}

/// Makes a new version that is equal to an earlier one.
pub(super) async fn rollback(mut call: Call) -> Result<Response, ApiError> {
    let id: AgentId = call.id("agent", "agent")?;
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let mut reader = Reader::new("", &body)?;
    let number = reader.required("version")?.integer(1, agents::VERSION_MAX)?;
    reader.finish()?;
    let (now, author) = (call.app.runtime.now(), call.author());
    let receipt = |saved: &Saved| {
        let body = || show::agent_version(saved).to_string();
        ticket.as_ref().map(|ticket| ticket.receipt(StatusCode::CREATED, body(), now))
    };
    match agents::rollback(call.store(), call.project(), now, author, (id, number), receipt).await {
        Ok(saved) => Ok(created(&show::agent_version(&saved))),
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

/// How new sessions are split.
pub(super) async fn split(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    let id: AgentId = call.id("agent", "agent")?;
    agents::by_id(call.store(), call.project(), id).await?.ok_or_else(|| ApiError::not_found("agent"))?;
    let split = split::read(call.store(), call.project(), id).await?;
    Ok(Json(shown(id, &split.ok_or_else(no_split)?)).into_response())
}

/// Splits new sessions between two versions. Putting the same twice is putting it once.
pub(super) async fn put_split(mut call: Call) -> Result<Response, ApiError> {
    let id: AgentId = call.id("agent", "agent")?;
    let body = call.read_body().await?;
    let versions = read_split(&body)?;
    let split = Split { versions, author: Some(call.author()), at: call.app.runtime.now() };
    let split = split::put(call.store(), call.project(), id, split).await?;
    Ok(Json(shown(id, &split)).into_response())
}

/// Ends a split: new sessions run the latest version again.
pub(super) async fn end_split(call: Call) -> Result<Response, ApiError> {
    let id: AgentId = call.id("agent", "agent")?;
    let now = call.app.runtime.now();
    if !split::end(call.store(), call.project(), now, call.author(), id).await? {
        return Err(no_split());
    }
    let ended = json!({"agent_id": id, "object": "tenure.agent.split.deleted", "deleted": true});
    Ok(Json(ended).into_response())
}

fn read_split(body: &Value) -> Result<[Weighted; 2], ApiError> {
    let mut reader = Reader::new("", body)?;
    let field = reader.required("versions")?;
    let mut versions = Vec::new();
    for field in field.clone().array(2)? {
        let mut reader = field.object()?;
        let version = reader.required("version")?.integer(1, agents::VERSION_MAX)?;
        let weight = reader.required("weight")?.integer(0, WEIGHT_MAX)?;
        reader.finish()?;
        versions.push(Weighted { version, weight });
    }
    reader.finish()?;
    let wrong = |why: &str| field.refuse("invalid_value", format!("Invalid 'versions': {why}."));
    let versions: [Weighted; 2] =
        versions.try_into().map_err(|_| wrong("expected exactly two versions with their weights"))?;
    let [first, second] = versions;
    if first.version == second.version {
        return Err(wrong("the two versions are the same"));
    }
    if first.weight + second.weight == 0 {
        return Err(wrong("one of the weights must be above 0"));
    }
    Ok(versions)
}

fn shown(id: AgentId, split: &Split) -> Value {
    json!({
        "object": "tenure.agent.split",
        "agent_id": id,
        "versions": split.versions,
        "author": split.author,
        "created_at": split.at.as_secs(),
    })
}

fn no_split() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "The agent has no split.")
}

async fn last(call: &Call, id: AgentId) -> Result<u64, ApiError> {
    let last = agents::last_version(call.store(), call.project(), id).await?;
    last.ok_or_else(|| ApiError::not_found("agent"))
}

async fn saved(call: &Call, id: AgentId, number: u64) -> Result<Saved, ApiError> {
    let saved = agents::version(call.store(), call.project(), id, number).await?;
    saved.ok_or_else(|| ApiError::not_found("version"))
}

/// A version's number in the query.
fn number(call: &Call, name: &'static str) -> Result<Option<u64>, ApiError> {
    let Some(text) = call.query.one(name)? else { return Ok(None) };
    text.parse().map(|Number(number)| Some(number)).map_err(|()| {
        let message = format!("Invalid '{name}': expected the number of a version.");
        ApiError::invalid(message).code("bad_parameter").param(name)
    })
}

/// The number of a version as text: digits and nothing else.
struct Number(u64);

impl std::str::FromStr for Number {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| is_number && *number > 0).map(Self).ok_or(())
    }
}

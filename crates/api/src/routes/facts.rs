//! `/v1/tenure/memory/facts`: what is remembered on purpose, for people to look at, to write and to correct.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tenure_journal::{Closing, Confidence, FactId, FactSource, Labels, MemoryScope, Timestamp, limit};
use tenure_policy::MemoryUse;
use tenure_runtime::fact::{self, Asked, Saying, When};
use tenure_runtime::{Correction, FactFilter, KeptFact, MemoryError, SavedFact, Standing, caller, moment};
use tenure_store::{Receipt, StoreErrorKind};

use super::created;
use crate::call::Call;
use crate::error::{ApiError, bad_cursor, undecodable};
use crate::idempotency::{self, Begin, Ticket};
use crate::query::{self, Limit};
use crate::read::{Field, Reader, read_labels, unsupported_value};
use crate::show;
use crate::verbs::check_scope;

/// Words of the filter by state.
const STATES: &[&str] = &["active", "proposed", "closed", "rejected"];
const MOMENT: &str = "expected a date as 2030-01-31, or a moment as 2030-01-31T09:00:00Z";

impl From<MemoryError> for ApiError {
    fn from(error: MemoryError) -> Self {
        match error {
            MemoryError::NotFound => Self::not_found("memory"),
            MemoryError::Refused(refusal) => {
                let mut said = refusal.to_string();
                if let Some(first) = said.get_mut(..1) {
                    first.make_ascii_uppercase();
                }
                Self::invalid(format!("{said}.")).code("memory_refused")
            }
            MemoryError::Busy => Self::conflict("Others change the same all the time; try again."),
            MemoryError::Store(error) => error.into(),
            MemoryError::Damaged(error) => undecodable("memory", &error),
        }
    }
}

/// The scope that a query names.
pub(super) fn scope(call: &Call) -> Result<MemoryScope, ApiError> {
    let text = call.query.one("scope")?.filter(|text| !text.is_empty());
    let text =
        text.ok_or_else(|| ApiError::invalid("Missing required parameter: 'scope'.").param("scope"))?;
    text.parse().map_err(|error: tenure_journal::ScopeError| {
        ApiError::invalid(format!("Invalid 'scope': {error}.")).code("invalid_scope").param("scope")
    })
}

/// A moment that a query names.
pub(super) fn moment_of(call: &Call, name: &str) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = call.query.one(name)? else { return Ok(None) };
    let wrong = || ApiError::invalid(format!("Invalid '{name}': {MOMENT}.")).param(name);
    moment(text).map(Some).ok_or_else(wrong)
}

/// Which facts a search is put to.
pub(super) fn asked(call: &Call) -> Result<Asked, ApiError> {
    let closed = match call.query.one("closed")? {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => {
            return Err(ApiError::invalid("Invalid 'closed': expected 'true' or 'false'.").param("closed"));
        }
    };
    Ok(Asked { true_at: moment_of(call, "true_at")?, known_at: moment_of(call, "known_at")?, closed })
}

pub(super) fn by(call: &Call) -> FactSource {
    caller(&call.principal(), call.app.runtime.now())
}

fn id(call: &Call) -> Result<FactId, ApiError> {
    call.id("fact", "memory")
}

/// A fact that the caller may do this with.
async fn found(call: &Call, fact: FactId, what: MemoryUse) -> Result<SavedFact, ApiError> {
    let saved = call.app.runtime.fact(call.project(), fact).await?;
    check_scope(call, &saved.fact.scope, what).await?;
    Ok(saved)
}

pub(super) async fn list(call: Call) -> Result<Response, ApiError> {
    call.query.check(
        call.dialect(),
        &["scope", "state", "subject", "true_at", "known_at", "after", "limit", "order"],
    )?;
    let scope = scope(&call)?;
    check_scope(&call, &scope, MemoryUse::Read).await?;
    let page = call.query.page(Limit::Clamped)?;
    if page.after.as_ref().is_some_and(|after| after.parse::<FactId>().is_err()) {
        return Err(bad_cursor());
    }
    let standing = match call.query.one("state")? {
        None => None,
        Some(word) => {
            let standing = Standing::from_word(word);
            Some(standing.ok_or_else(|| unsupported_value("state", word, STATES))?)
        }
    };
    let (true_at, known_at) = (moment_of(&call, "true_at")?, moment_of(&call, "known_at")?);
    let now = call.app.runtime.now();
    let when = (true_at.is_some() || known_at.is_some()).then(|| {
        let known_at = known_at.unwrap_or(now);
        When { known_at, true_at: true_at.unwrap_or(known_at) }
    });
    let subject = call.query.one("subject")?.map(str::to_owned);
    let filter = FactFilter { standing, subject, when };
    let mut facts = call.app.runtime.facts(call.project(), &scope, &filter, &page).await?;
    let has_more = query::cut(&mut facts, &page);
    Ok(query::list(facts.iter().map(show::fact).collect(), has_more))
}

pub(super) async fn retrieve(call: Call) -> Result<Response, ApiError> {
    let saved = found(&call, id(&call)?, MemoryUse::Read).await?;
    Ok(Json(show::fact(&saved)).into_response())
}

pub(super) async fn history(call: Call) -> Result<Response, ApiError> {
    let fact = found(&call, id(&call)?, MemoryUse::Read).await?.id;
    let versions = call.app.runtime.fact_history(call.project(), fact).await?;
    Ok(query::list(versions.iter().map(show::fact).collect(), false))
}

pub(super) async fn create(mut call: Call) -> Result<Response, ApiError> {
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let mut reader = Reader::new("", &body)?;
    let scope = scope_in(&reader.required("scope")?)?;
    check_scope(&call, &scope, MemoryUse::Write).await?;
    let saying = read_saying(reader, scope, by(&call), true)?;
    let status = StatusCode::CREATED;
    let receipt = |kept: &KeptFact| receipt(ticket.as_ref(), status, kept);
    match call.acting().remember(call.project(), &saying, &receipt).await {
        Ok(kept) => Ok(created(&show::kept(&kept))),
        Err(error) => replay_or(&call, ticket.as_ref(), error).await,
    }
}

pub(super) async fn correct(mut call: Call) -> Result<Response, ApiError> {
    let fact = id(&call)?;
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let old = found(&call, fact, MemoryUse::Write).await?;
    let by = by(&call);
    let mut reader = Reader::new("", &body)?;
    let until = true_until(&mut reader)?;
    let saying = read_saying(reader, old.fact.scope, by, false)?;
    let true_until = match until {
        Until::Never => None,
        Until::At(at) => Some(at),
        Until::Unsaid => Some(saying.valid_from.unwrap_or(saying.by.at)),
    };
    let correction = Correction { fact, saying, true_until };
    let receipt = |kept: &KeptFact| receipt(ticket.as_ref(), StatusCode::OK, kept);
    let done = call.acting().correct(call.project(), &correction, &receipt).await;
    answer(&call, ticket.as_ref(), done).await
}

pub(super) async fn close(mut call: Call) -> Result<Response, ApiError> {
    let fact = id(&call)?;
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    found(&call, fact, MemoryUse::Write).await?;
    let by = by(&call);
    let mut reader = Reader::new("", &body)?;
    let reason = read_reason(&mut reader)?;
    let true_until = match true_until(&mut reader)? {
        Until::Never => None,
        Until::At(at) => Some(at),
        Until::Unsaid => Some(by.at),
    };
    reader.finish()?;
    let closing = Closing { at: by.at, true_until, by, reason };
    let receipt = |kept: &KeptFact| receipt(ticket.as_ref(), StatusCode::OK, kept);
    let done = call.acting().close_fact(call.project(), fact, closing, &receipt).await;
    answer(&call, ticket.as_ref(), done).await
}

/// What a person says to what waits, and to what was closed.
#[derive(Clone, Copy)]
enum Verdict {
    Accept,
    Reject,
    Restore,
}

pub(super) async fn accept(call: Call) -> Result<Response, ApiError> {
    decide(call, Verdict::Accept).await
}

pub(super) async fn reject(call: Call) -> Result<Response, ApiError> {
    decide(call, Verdict::Reject).await
}

pub(super) async fn restore(call: Call) -> Result<Response, ApiError> {
    decide(call, Verdict::Restore).await
}

async fn decide(mut call: Call, verdict: Verdict) -> Result<Response, ApiError> {
    let fact = id(&call)?;
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    found(&call, fact, MemoryUse::Write).await?;
    let mut reader = Reader::new("", &body)?;
    let reason = match verdict {
        Verdict::Reject => read_reason(&mut reader)?,
        Verdict::Accept | Verdict::Restore => None,
    };
    reader.finish()?;
    let (project, by) = (call.project(), by(&call));
    let receipt = |kept: &KeptFact| receipt(ticket.as_ref(), StatusCode::OK, kept);
    let runtime = call.acting();
    let done = match verdict {
        Verdict::Accept => runtime.accept_fact(project, fact, by, &receipt).await,
        Verdict::Reject => runtime.reject_fact(project, fact, by, reason, &receipt).await,
        Verdict::Restore => runtime.restore_fact(project, fact, by, &receipt).await,
    };
    answer(&call, ticket.as_ref(), done).await
}

/// What is said of the time until when an old statement was true.
enum Until {
    Unsaid,
    At(Timestamp),
    Never,
}

fn true_until(reader: &mut Reader<'_>) -> Result<Until, ApiError> {
    let never = reader.optional_or_null("was_wrong").map(|field| field.bool()).transpose()?.unwrap_or(false);
    let at = reader.optional_or_null("true_until");
    match (never, at) {
        (true, Some(field)) => Err(field.refuse("invalid_value", "Give either 'true_until' or 'was_wrong'.")),
        (true, None) => Ok(Until::Never),
        (false, Some(field)) => moment_in(&field).map(Until::At),
        (false, None) => Ok(Until::Unsaid),
    }
}

pub(super) fn scope_in(field: &Field<'_>) -> Result<MemoryScope, ApiError> {
    let wrong = |error: tenure_journal::ScopeError| {
        field.refuse("invalid_scope", format!("Invalid '{}': {error}.", field.path()))
    };
    field.string()?.parse().map_err(wrong)
}

fn moment_in(field: &Field<'_>) -> Result<Timestamp, ApiError> {
    let wrong = || field.refuse("invalid_value", format!("Invalid '{}': {MOMENT}.", field.path()));
    moment(field.string()?).ok_or_else(wrong)
}

pub(super) fn read_reason(reader: &mut Reader<'_>) -> Result<Option<String>, ApiError> {
    let Some(field) = reader.optional_or_null("reason") else { return Ok(None) };
    let text = field.any_text(limit::FACT_REASON_BYTES_MAX)?;
    fact::reason(Some(text))
        .map_err(|error| field.refuse("memory_refused", format!("Invalid 'reason': {error}.")))
}

fn read_saying(
    mut reader: Reader<'_>,
    scope: MemoryScope,
    by: FactSource,
    is_new: bool,
) -> Result<Saying, ApiError> {
    let statement = reader.required("statement")?.text(limit::FACT_STATEMENT_BYTES_MAX)?.to_owned();
    let subject = match reader.optional_or_null("subject") {
        Some(field) => Some(field.text(limit::FACT_SUBJECT_BYTES_MAX)?.to_owned()),
        None => None,
    };
    let valid_from = reader.optional_or_null("valid_from").map(|field| moment_in(&field)).transpose()?;
    let valid_to = reader.optional_or_null("valid_to").map(|field| moment_in(&field)).transpose()?;
    let percent = reader.optional_or_null("confidence").map(|field| field.integer(1, 100)).transpose()?;
    let confidence = percent.and_then(Confidence::percent).unwrap_or_default();
    let labels = match reader.optional_or_null("labels").filter(|_| is_new) {
        Some(field) => read_labels(field)?,
        None => Labels::NEUTRAL,
    };
    reader.finish()?;
    Ok(Saying { scope, subject, statement, valid_from, valid_to, confidence, labels, by })
}

fn receipt(ticket: Option<&Ticket>, status: StatusCode, kept: &KeptFact) -> Option<Receipt> {
    let at = kept.saved.document.updated_at;
    ticket.map(|ticket| ticket.receipt(status, show::kept(kept).to_string(), at))
}

async fn answer(
    call: &Call,
    ticket: Option<&Ticket>,
    done: Result<KeptFact, MemoryError>,
) -> Result<Response, ApiError> {
    match done {
        Ok(kept) => Ok(Json(show::kept(&kept)).into_response()),
        Err(error) => replay_or(call, ticket, error).await,
    }
}

/// The first outcome of the idempotency key, if that is why the request failed.
pub(super) async fn replay_or(
    call: &Call,
    ticket: Option<&Ticket>,
    error: MemoryError,
) -> Result<Response, ApiError> {
    if let (MemoryError::Store(store), Some(ticket)) = (&error, ticket)
        && store.kind() == StoreErrorKind::ReceiptExists
        && let Some(response) = ticket.replay(call).await?
    {
        return Ok(response);
    }
    Err(error.into())
}

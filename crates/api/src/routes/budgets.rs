//! `/v1/tenure/budgets`: what may be used of models, by whom, in what time, and what was.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tenure_journal::{AgentId, Amounts, BudgetId, BudgetScope, BudgetUse, Caps, Measure, Period, SessionKey};
use tenure_runtime::{BudgetError, BudgetLimits, BudgetTarget, SetBudget};
use tenure_store::StoreErrorKind;

use super::freezes::agent;
use super::sessions::key;
use crate::agents;
use crate::call::Call;
use crate::error::{ApiError, bad_cursor};
use crate::idempotency::{self, Begin};
use crate::query::{self, Limit};
use crate::read::{Field, Reader};

/// The most that can be counted to; what every reader of JSON agrees on is beyond it.
const COUNT_MAX: u64 = 1_000_000_000_000_000;
/// Periods, as they are written.
const PERIODS: &[&str] = &["day", "month", "total"];

/// Whose budgets have limits, the project first: what is set and what the server's file says.
pub(super) async fn list(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &["limit", "after"])?;
    let page = call.query.page(Limit::Strict)?;
    let after =
        page.after.as_deref().map(str::parse::<BudgetTarget>).transpose().map_err(|_| bad_cursor())?;
    let runtime = &call.app.runtime;
    let file = runtime.file_budgets();
    let mut targets: BTreeSet<BudgetTarget> =
        runtime.budget_targets(call.project()).await?.into_iter().collect();
    if !file.project.is_empty() {
        targets.insert(BudgetTarget::Project);
    }
    if !file.session.is_empty() {
        targets.insert(BudgetTarget::Session);
    }
    for name in file.agents.keys() {
        // An agent that nobody saved yet has used nothing.
        targets.extend(saved(&call, name).await?.map(|(id, _)| BudgetTarget::Agent(id)));
    }
    let later = |target: &&BudgetTarget| after.as_ref().is_none_or(|after| *target > after);
    let mut found = Vec::new();
    for target in targets.iter().filter(later).take(page.limit) {
        found.push(row(&call, *target).await?);
    }
    let has_more = query::cut(&mut found, &page);
    Ok(query::list(found, has_more))
}

/// The budgets of one target, limited or not.
pub(super) async fn retrieve(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    let target = target(&call).await?;
    Ok(Json(row(&call, target).await?).into_response())
}

/// Sets the limits of one target in place of what was set. No node begins anything by the earlier ones once this is
/// answered.
pub(super) async fn put(mut call: Call) -> Result<Response, ApiError> {
    let body = call.read_body().await?;
    let target = target(&call).await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let mut reader = Reader::new("", &body)?;
    let limits = read_limits(reader.required("limits")?)?;
    let expected = reader.optional_or_null("expected_version");
    let expected = expected.map(|field| field.integer(0, COUNT_MAX)).transpose()?;
    reader.finish()?;
    let (runtime, project) = (&call.app.runtime, call.project());
    let known = runtime.budget_limits(project, target, None).await?;
    if expected.is_some_and(|expected| expected != known.version) {
        return Err(faster(known.version));
    }
    let audit = call.changed("budgets.set", &target.to_string(), &body);
    let set = SetBudget { after: known.version, by: call.principal() };
    let done = runtime.set_budget(project, target, limits, set, None, audit).await;
    // Setting the same again is the same, so the key needs no receipt.
    drop(ticket);
    match done {
        Ok(()) => Ok(Json(row(&call, target).await?).into_response()),
        Err(BudgetError::Store(error)) if matches!(error.kind(), StoreErrorKind::Conflict { .. }) => {
            Err(faster(known.version + 1))
        }
        Err(BudgetError::Store(error)) => Err(error.into()),
        Err(error @ BudgetError::TooMany) => Err(ApiError::conflict(format!("{error}."))),
    }
}

fn faster(version: u64) -> ApiError {
    let message =
        format!("Somebody else set these limits: version {version} is what is set now; look again.");
    ApiError::new(StatusCode::CONFLICT, message).code("version_conflict").param("expected_version")
}

/// The budgets that hold for one session, and how they stand: its own, its agent's, the project's.
pub(super) async fn of_session(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    let key: SessionKey = key(&call)?;
    let runtime = &call.app.runtime;
    let budgets = runtime.session_budgets(key).await?.ok_or_else(|| ApiError::not_found("session"))?;
    let mut found = Vec::new();
    if let Some(tree) = budgets.tree {
        let money = |nano_usd: u64| Amounts { nano_usd, ..Amounts::default() };
        let used = BudgetUse { spent: money(tree.spent), reserved: money(tree.reserved) };
        let caps = Caps { nano_usd: Some(tree.limit), ..Caps::NONE };
        let id = format!("session/{}/spend_control", key.session);
        found.push(standing(&id, Period::Total, None, &caps, &used));
    }
    let shared = budgets.shared.iter();
    found.extend(shared.map(|budget| of_period(&budget.id, &budget.caps, &budget.used)));
    Ok(query::list(found, false))
}

/// Whose budgets the path names: `project`, `session`, or an agent by id or name.
async fn target(call: &Call) -> Result<BudgetTarget, ApiError> {
    let text: String = call.id("target", "budget")?;
    match text.as_str() {
        "project" => Ok(BudgetTarget::Project),
        "session" => Ok(BudgetTarget::Session),
        named => {
            let found = agent(call, named).await?;
            found.map(BudgetTarget::Agent).ok_or_else(|| ApiError::not_found("agent"))
        }
    }
}

/// The saved agent of an id or a name.
async fn saved(call: &Call, id_or_name: &str) -> Result<Option<(AgentId, Option<String>)>, ApiError> {
    let saved = agents::find(call.store(), call.project(), id_or_name).await?;
    Ok(saved.map(|saved| (saved.pinned.config.id, saved.pinned.config.name)))
}

async fn row(call: &Call, target: BudgetTarget) -> Result<Value, ApiError> {
    let (runtime, project) = (&call.app.runtime, call.project());
    let name = match target {
        BudgetTarget::Agent(id) => saved(call, &id.to_string()).await?.and_then(|(_, name)| name),
        BudgetTarget::Project | BudgetTarget::Session => None,
    };
    let limits = runtime.budget_limits(project, target, name.as_deref()).await?;
    let caps = limits.caps();
    let scope = match target {
        BudgetTarget::Project => Some(BudgetScope::Project),
        BudgetTarget::Agent(id) => Some(BudgetScope::Agent(id)),
        // How it stands is each session's own.
        BudgetTarget::Session => None,
    };
    let periods: Vec<Value> = match scope {
        Some(scope) => {
            let standing = runtime.budget_standing(project, scope, &caps).await?;
            standing.iter().map(|(id, used)| of_period(id, &caps[&id.period()], used)).collect()
        }
        None => Vec::new(),
    };
    Ok(shown(&limits, name.as_deref(), &caps, &periods))
}

fn shown(
    limits: &BudgetLimits,
    name: Option<&str>,
    caps: &BTreeMap<Period, Caps>,
    periods: &[Value],
) -> Value {
    let target = match limits.target {
        BudgetTarget::Project => json!({"type": "project"}),
        BudgetTarget::Session => json!({"type": "session"}),
        BudgetTarget::Agent(id) => json!({"type": "agent", "id": id, "name": name}),
    };
    json!({
        "id": limits.target.to_string(),
        "object": "tenure.budget",
        "target": target,
        "limits": by_period(&limits.set),
        "file_limits": by_period(&limits.file),
        "in_force": by_period(caps),
        "version": limits.version,
        "by": limits.by,
        "updated_at": limits.at.map(tenure_journal::Timestamp::as_secs),
        "periods": periods,
    })
}

fn by_period(caps: &BTreeMap<Period, Caps>) -> Value {
    caps.iter().map(|(period, caps)| (period.as_str().to_owned(), limits(caps))).collect::<Map<_, _>>().into()
}

fn of_period(id: &BudgetId, caps: &Caps, used: &BudgetUse) -> Value {
    let mut standing = standing(&id.to_string(), id.period(), id.ends(), caps, used);
    standing["span"] = json!(id.span());
    standing
}

fn standing(
    id: &str,
    period: Period,
    ends: Option<tenure_journal::Timestamp>,
    caps: &Caps,
    used: &BudgetUse,
) -> Value {
    json!({
        "id": id,
        "object": "tenure.budget.standing",
        "period": period.as_str(),
        "ends_at": ends.map(tenure_journal::Timestamp::as_secs),
        "limits": limits(caps),
        "spent": amounts(&used.spent),
        "reserved": amounts(&used.reserved),
    })
}

/// What limits something, under the names that [`read_limits`] takes.
fn limits(caps: &Caps) -> Value {
    let pair = |measure| caps.of(measure).map(|cap| (name(measure).to_owned(), json!(cap / unit(measure))));
    Measure::ALL.into_iter().filter_map(pair).collect::<Map<_, _>>().into()
}

fn amounts(amounts: &Amounts) -> Value {
    // What was used of a unit counts whole.
    let pair = |measure| (name(measure).to_owned(), json!(amounts.of(measure).div_ceil(unit(measure))));
    Measure::ALL.into_iter().map(pair).collect::<Map<_, _>>().into()
}

fn name(measure: Measure) -> &'static str {
    match measure {
        Measure::Money => "money_micros",
        Measure::Tokens => "tokens",
        Measure::Calls => "calls",
        Measure::Time => "seconds",
    }
}

/// How many of what is kept one of what is shown is.
fn unit(measure: Measure) -> u64 {
    match measure {
        Measure::Money | Measure::Time => 1_000,
        Measure::Tokens | Measure::Calls => 1,
    }
}

fn read_limits(field: Field<'_>) -> Result<BTreeMap<Period, Caps>, ApiError> {
    let mut reader = field.object()?;
    let mut found = BTreeMap::new();
    for (period, word) in Period::ALL.into_iter().zip(PERIODS) {
        let Some(field) = reader.optional_or_null(word) else { continue };
        let mut members = field.object()?;
        let mut caps = Caps::NONE;
        for measure in Measure::ALL {
            if let Some(field) = members.optional_or_null(name(measure)) {
                let amount = field.integer(0, COUNT_MAX / unit(measure))?;
                caps = caps.with(measure, Some(amount * unit(measure)));
            }
        }
        members.finish()?;
        if caps != Caps::NONE {
            found.insert(period, caps);
        }
    }
    reader.finish()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_periods_are_theirs() {
        let words: Vec<&str> = Period::ALL.into_iter().map(Period::as_str).collect();
        assert_eq!(words, PERIODS);
    }

    #[test]
    fn limits_are_read_as_they_are_shown() {
        let caps =
            Caps { nano_usd: Some(20_500_000_000), tokens: Some(7), calls: Some(0), millis: Some(90_000) };
        let shown = json!({"money_micros": 20_500_000, "tokens": 7, "calls": 0, "seconds": 90});
        assert_eq!(limits(&caps), shown);
        let whole = json!({"day": shown, "month": null, "total": {"calls": null}});
        let read = read_limits(Field::whole(&whole)).map_err(|error| format!("{error:?}"));
        assert_eq!(read, Ok(BTreeMap::from([(Period::Day, caps)])));
        let used = Amounts { nano_usd: 1, tokens: 1, calls: 1, millis: 1 };
        assert_eq!(amounts(&used), json!({"money_micros": 1, "tokens": 1, "calls": 1, "seconds": 1}));
    }
}

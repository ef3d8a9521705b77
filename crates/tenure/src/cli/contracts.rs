//! `tenure contracts`: what contracts mean for the declared routes, and what others would have meant.

pub(super) mod proof;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tenure_journal::{AuditFact, AuditRecord, EffectId, Labels, RouteDecision, Timestamp};
use tenure_policy::{CallClass, Contract, DescribedTool, ModelCall};
use tenure_project::{Project, Unset, parse_contract};
use tenure_session::facts;

use super::Context;
use super::audit;
use super::check::plural;
use super::error::{CliError, Exit};
use super::output::{self, Column, Format, text};
use super::policy::listed;
use super::world::plain;
use crate::contracts::{Declared, Finding, contract, examine, policy_set};
use crate::proofs::{Whereabouts, invariants};
use crate::server::providers;
use proof::Wanted;

#[derive(Debug, Args)]
pub(crate) struct ContractsArgs {
    #[command(subcommand)]
    command: ContractsCommand,
}

#[derive(Debug, Subcommand)]
enum ContractsCommand {
    /// Check the contracts against the declared routes, and prove with a solver, where there is one, what the
    /// policies must never allow
    Check {
        /// Prove or fail, and show everything that was proven
        #[arg(long)]
        prove: bool,
        /// Prove nothing; only files are read
        #[arg(long, conflicts_with = "prove")]
        no_prove: bool,
        /// What a server answers to `tools/list`, as JSON: proofs look at the arguments of its tools. The name of the
        /// file without `.json` is the server's label; may be given more than once
        #[arg(long, value_name = "FILE")]
        tools: Vec<PathBuf>,
    },
    /// Say which recorded model calls another contract would have moved or refused
    WhatIf {
        /// The other contract; it takes the place of the one of the same name
        #[arg(long, value_name = "FILE")]
        contract: PathBuf,
        /// The first day that is looked at, such as `2026-02-27`
        #[arg(long, value_name = "DAY")]
        from: Option<jiff::civil::Date>,
        /// The first day that is not looked at any more
        #[arg(long, value_name = "DAY")]
        to: Option<jiff::civil::Date>,
    },
}

pub(crate) async fn contracts(cx: &mut Context, args: &ContractsArgs) -> Result<Exit, CliError> {
    let project = Project::load(&cx.project, &cx.world.env, Unset::Warning).map_err(|error| {
        CliError::failed("project", "the project cannot be read").cause(error.to_string())
    })?;
    match &args.command {
        ContractsCommand::Check { prove, no_prove, tools } => {
            let wanted = match (prove, no_prove) {
                (true, _) => Wanted::Whole,
                (false, true) => Wanted::Nothing,
                (false, false) => Wanted::WhereItCanBe,
            };
            check(cx, &project, wanted, tools).await
        }
        ContractsCommand::WhatIf { contract, from, to } => {
            what_if(cx, &project, contract, (*from, *to)).await
        }
    }
}

async fn check(
    cx: &mut Context,
    project: &Project,
    wanted: Wanted,
    tools: &[PathBuf],
) -> Result<Exit, CliError> {
    let unusable = |error: tenure_policy::PolicyError| {
        CliError::failed("contracts", "the contracts cannot be used").cause(error.to_string())
    };
    // Strict validation: what passes it cannot err, because every attribute it names is always there.
    let set = Arc::new(policy_set(project).map_err(unusable)?);
    let mut described = Vec::new();
    for file in tools {
        let found = listed(&cx.world.directory.join(file))?;
        described.extend(found.into_iter().map(|(id, parameters)| DescribedTool { id, parameters }));
    }
    let promised = invariants(project, set.contracts()).map_err(unusable)?;
    let solver = Whereabouts::of(&project.env);
    let proofs = proof::look(wanted, solver, Arc::clone(&set), (promised, described)).await?;
    let routes = providers::declared(&project.settings);
    let (findings, looked_at) = examine(set.contracts(), &routes);
    let rows: Vec<Value> = findings.iter().map(row).chain(proofs.rows).collect();
    let columns = [Column::at("WHAT", "/what"), Column::at("CLAUSES", "/id"), Column::at("MEANS", "/means")];
    output::list(&mut cx.world.out, cx.format, &columns, &rows)?;
    if cx.format == Format::Table {
        for row in &rows {
            for line in proof::counterexample(row) {
                cx.world.out.line(&plain(&line))?;
            }
        }
    }
    let clauses: usize = set.contracts().iter().map(|contract| contract.clauses.len()).sum();
    let wrong = findings.iter().filter(|finding| is_wrong(finding)).count() + proofs.wrong;
    if let Some(note) = &proofs.note {
        cx.note(note)?;
    }
    cx.note(&format!(
        "{}, {}, {}: {looked_at} combinations, {}",
        plural(set.contracts().len(), "contract"),
        plural(clauses, "clause"),
        plural(routes.len(), "route"),
        if wrong == 0 { "no problems".to_owned() } else { plural(wrong, "problem") }
    ))?;
    Ok(if wrong > 0 { Exit::Failed } else { Exit::Done })
}

/// What cannot be meant. That data of some kind may go nowhere can be, or that a model is for agents only.
fn is_wrong(finding: &Finding) -> bool {
    match finding {
        Finding::Dead { .. } => true,
        Finding::NoRoute { call, data, .. } => call == "agent" && !data,
        Finding::Kept { .. } => false,
    }
}

fn row(finding: &Finding) -> Value {
    match finding {
        Finding::Dead { clause } => json!({
            "id": clause, "what": "dead",
            "means": "it applies to no declared route and kind of call while it holds",
        }),
        Finding::Kept { clause } => json!({
            "id": clause, "what": "kept", "means": "every declared route it applies to keeps it",
        }),
        Finding::NoRoute { model, call, clauses, from, data } => {
            let since = from.map_or_else(|| "always".to_owned(), |from| format!("from {}", day(from)));
            let with = if *data { " once it has seen such data" } else { "" };
            json!({
                "id": clauses.join(" "), "what": if *data { "closed to data" } else { "no route" },
                "model": model, "call": call,
                "means": format!("{since}, no route is left to `{model}` for calls of kind {call}{with}"),
            })
        }
    }
}

fn day(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis)
        .map(|at| at.strftime("%Y-%m-%dT%H:%MZ").to_string())
        .unwrap_or_default()
}

/// One recorded attempt at a model call.
struct Attempt {
    at: Timestamp,
    model: String,
    decision: RouteDecision,
    cost_nano_usd: u64,
}

/// What the audit log says of model calls.
#[derive(Default)]
struct Recorded {
    models: BTreeMap<EffectId, String>,
    attempts: BTreeMap<(EffectId, u32), Attempt>,
    /// When, the model, the route, and the clauses that forbade it.
    refused: Vec<(Timestamp, String, String, Vec<String>)>,
}

impl Recorded {
    fn take(&mut self, record: AuditRecord) {
        let AuditRecord { at, fact, .. } = record;
        if let AuditFact::Allowed { effect, action, resource, .. } = fact {
            if action == MODEL_CALL {
                self.models.insert(effect, resource);
            }
        } else if let AuditFact::AttemptStarted { effect, attempt, route: Some(decision) } = fact {
            let model = self.models.get(&effect).cloned().unwrap_or_default();
            let found = Attempt { at, model, decision: *decision, cost_nano_usd: 0 };
            self.attempts.insert((effect, attempt), found);
        } else if let AuditFact::AttemptEnded { effect, attempt, cost_nano_usd: Some(cost), .. } = fact {
            if let Some(found) = self.attempts.get_mut(&(effect, attempt)) {
                found.cost_nano_usd = cost;
            }
        } else if let AuditFact::Refused { action, resource, policies, .. } = fact
            && action == MODEL_CALL
            && let Some((model, route)) = resource.split_once(" by ")
        {
            self.refused.push((at, model.to_owned(), route.to_owned(), policies));
        }
    }
}

const MODEL_CALL: &str = "model.call";
/// The records that tell of model calls.
const TYPES: [&str; 4] = ["allowed", "refused", "attempt_started", "attempt_ended"];
const NANO_USD_PER_USD: f64 = 1e9;

async fn what_if(
    cx: &mut Context,
    project: &Project,
    file: &PathBuf,
    (from, to): (Option<jiff::civil::Date>, Option<jiff::civil::Date>),
) -> Result<Exit, CliError> {
    let path = cx.project.join(file);
    let shown = file.display().to_string();
    let written = std::fs::read_to_string(&path).map_err(|error| {
        CliError::failed("unreadable", format!("`{shown}` cannot be read")).cause(error.to_string())
    })?;
    let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let (other, _) = parse_contract(name, &shown, &written).map_err(|error| {
        CliError::failed("contract", format!("`{shown}` is not a contract")).cause(error.to_string())
    })?;
    let mut contracts: Vec<Contract> = project.contracts.iter().map(contract).collect();
    contracts.retain(|known| known.name != other.name);
    contracts.push(contract(&other));
    let start = from.map_or(i64::MIN, midnight);
    let end = to.map_or(i64::MAX, midnight);
    let mut recorded = Recorded::default();
    audit::each(&cx.client()?, &TYPES, |record| recorded.take(record)).await?;
    let routes = providers::declared(&project.settings);
    let in_time = |at: Timestamp| (start..end).contains(&at.as_millis());
    let mut rows: BTreeMap<(&'static str, String, String), (u64, u64)> = BTreeMap::new();
    let mut same = 0_u64;
    for attempt in recorded.attempts.values().filter(|attempt| in_time(attempt.at)) {
        let Attempt { at, model, decision, cost_nano_usd } = attempt;
        let class = CallClass::ALL.into_iter().find(|class| class.as_str() == decision.class);
        let class = class.unwrap_or(CallClass::Stateless);
        let call = ModelCall::new(model, *at).through(facts(&decision.route)).of_class(class);
        let by = forbidding(&contracts, &call, &decision.flow);
        if by.is_empty() {
            same += 1;
            continue;
        }
        let next = first_permitted(&contracts, &routes, model, *at, &decision.flow);
        let (what, to) = match &next {
            Some(route) => ("moved", format!("{} -> {}", decision.route.name, route.record.name)),
            None => ("refused", decision.route.name.clone()),
        };
        let sum = rows.entry((what, by.join(" "), to)).or_default();
        *sum = (sum.0 + 1, sum.1 + cost_nano_usd);
    }
    for (at, model, route, by) in recorded.refused.iter().filter(|(at, ..)| in_time(*at)) {
        let declared = routes.iter().find(|way| way.model == *model && way.record.name == *route);
        let Some(way) = declared else { continue };
        // What a refused session had seen is in no record.
        if forbidding(&contracts, &own_call(way, *at), &Labels::NEUTRAL).is_empty() {
            let sum = rows.entry(("permitted", by.join(" "), route.clone())).or_default();
            sum.0 += 1;
        }
    }
    let shown: Vec<Value> = rows
        .iter()
        .map(|((what, by, route), (calls, cost))| {
            json!({"id": by, "what": what, "route": route, "calls": calls,
                   "cost_usd": *cost as f64 / NANO_USD_PER_USD})
        })
        .collect();
    let columns = [
        Column::at("WHAT", "/what"),
        Column::new("CALLS", |row| row["calls"].to_string()),
        Column::new("COST", |row| format!("${:.4}", row["cost_usd"].as_f64().unwrap_or(0.0))),
        Column::at("ROUTE", "/route"),
        Column::new("CLAUSES", |row| text(row, "/id").to_owned()),
    ];
    output::list(&mut cx.world.out, cx.format, &columns, &shown)?;
    let changed: u64 = rows.values().map(|(calls, _)| calls).sum();
    cx.note(&format!("{changed} calls would have been decided otherwise, {same} as they were"))?;
    Ok(Exit::Done)
}

fn midnight(day: jiff::civil::Date) -> i64 {
    day.to_zoned(jiff::tz::TimeZone::UTC).map_or(i64::MAX, |at| at.timestamp().as_millisecond())
}

/// The clauses that forbid a call of a session that has seen such data.
fn forbidding(contracts: &[Contract], call: &ModelCall<'_>, flow: &Labels) -> Vec<String> {
    let clauses =
        contracts.iter().flat_map(|contract| contract.clauses.iter().map(move |clause| (contract, clause)));
    clauses
        .filter(|(_, clause)| clause.forbids(call, flow))
        .map(|(contract, clause)| contract.policy_id(clause))
        .collect()
}

fn own_call(way: &Declared, at: Timestamp) -> ModelCall<'_> {
    let class = if way.stateful { CallClass::Stateful } else { CallClass::Stateless };
    ModelCall::new(&way.model, at).through(facts(&way.record)).of_class(class)
}

fn first_permitted<'r>(
    contracts: &[Contract],
    routes: &'r [Declared],
    model: &str,
    at: Timestamp,
    flow: &Labels,
) -> Option<&'r Declared> {
    let ways = routes.iter().filter(|way| way.model == model);
    ways.into_iter().find(|way| forbidding(contracts, &own_call(way, at), flow).is_empty())
}

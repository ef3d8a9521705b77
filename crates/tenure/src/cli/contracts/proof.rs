//! What `tenure contracts check` and `tenure policy check` prove: invariants, and which policies and requests are of no use.

#[cfg(feature = "prove")]
mod report;

use std::sync::Arc;

use serde_json::Value;
use tenure_policy::{DescribedTool, Invariant, PolicySet};

use super::super::error::CliError;
use super::super::output::text;
use crate::proofs::{HOW_TO_PROVE, Whereabouts};

/// Whether something is to be proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Wanted {
    /// Where there is a solver; what is not proven is shown.
    WhereItCanBe,
    /// In any case; all is shown.
    Whole,
    /// Nothing is.
    Nothing,
}

/// What there is to say.
#[derive(Debug, Default)]
pub(in crate::cli) struct Found {
    pub(in crate::cli) rows: Vec<Value>,
    pub(in crate::cli) note: Option<String>,
    /// How many of the rows cannot be meant.
    pub(in crate::cli) wrong: usize,
}

/// What there is to say of a set.
pub(in crate::cli) async fn look(
    wanted: Wanted,
    solver: Whereabouts,
    set: Arc<PolicySet>,
    (invariants, tools): (Vec<Invariant>, Vec<DescribedTool>),
) -> Result<Found, CliError> {
    if wanted == Wanted::Nothing {
        return Ok(Found::default());
    }
    let work = move || solver.find().map(|cvc5| ask(&cvc5, &set, &invariants, &tools));
    let done = tokio::task::spawn_blocking(work).await;
    match done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())) {
        Ok(Ok(answer)) => Ok(told(&answer, wanted == Wanted::Whole)),
        Ok(Err(why)) => Err(CliError::failed("prove", "nothing can be proven of these policies").cause(why)),
        Err(missing) if wanted == Wanted::Whole => {
            Err(CliError::failed("solver", "nothing can be proven without a solver")
                .cause(missing.to_string())
                .fix(HOW_TO_PROVE))
        }
        Err(missing) => Ok(Found { note: Some(format!("not proven: {missing}")), ..Found::default() }),
    }
}

#[cfg(feature = "prove")]
use report::{ask, told};

/// There is no solver to ask.
#[cfg(not(feature = "prove"))]
fn ask(
    solver: &std::convert::Infallible,
    _: &PolicySet,
    _: &[Invariant],
    _: &[DescribedTool],
) -> Result<std::convert::Infallible, String> {
    match *solver {}
}

#[cfg(not(feature = "prove"))]
fn told(answer: &std::convert::Infallible, _: bool) -> Found {
    match *answer {}
}

/// The request of a row that has one, a line for each of its parts: a table has no room for them.
pub(in crate::cli) fn counterexample(row: &Value) -> Vec<String> {
    let found = &row["counterexample"];
    if found.is_null() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), format!("{} {}:", text(row, "/what"), text(row, "/id"))];
    for part in ["principal", "action", "resource", "context"] {
        lines.push(format!("  {part:<10}{}", found[part].as_str().unwrap_or_default()));
    }
    let by: Vec<&str> =
        found["permitted_by"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !by.is_empty() {
        lines.push(format!("  {:<10}{}", "by", by.join(", ")));
    }
    lines
}

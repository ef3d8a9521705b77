//! What `tenure contracts check` proves: invariants, and which policies and requests are of no use.

use std::sync::Arc;

use serde_json::{Value, json};
use tenure_policy::{DescribedTool, Invariant, Origin, PolicySet};
use tenure_prove::{Counterexample, Cvc5, Extent, Fallible, Limits, Outcome, Proof, Report};

use super::super::check::plural;
use super::super::error::CliError;
use crate::proofs::{SOLVER_VARIABLE, Whereabouts};

/// Whether something is to be proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Where there is a solver; what is not proven is shown.
    WhereItCanBe,
    /// In any case; all is shown.
    Whole,
    /// Nothing is.
    Nothing,
}

/// What there is to say.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) rows: Vec<Value>,
    pub(super) note: Option<String>,
    /// How many of the rows cannot be meant.
    pub(super) wrong: usize,
}

pub(super) async fn look(
    wanted: Wanted,
    solver: Whereabouts,
    set: Arc<PolicySet>,
    invariants: Vec<Invariant>,
    tools: Vec<DescribedTool>,
) -> Result<Found, CliError> {
    if wanted == Wanted::Nothing {
        return Ok(Found::default());
    }
    let work = move || {
        let with = |cvc5: Cvc5| {
            let solver = (&cvc5, Limits::default());
            tenure_prove::prove(&set, &invariants, &tools, Extent::Whole, solver)
        };
        solver.find().map(with)
    };
    let done = tokio::task::spawn_blocking(work).await;
    match done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())) {
        Ok(Ok(report)) => Ok(found(&report, wanted == Wanted::Whole)),
        Ok(Err(why)) => Err(CliError::failed("prove", "nothing can be proven of these policies").cause(why)),
        Err(missing) if wanted == Wanted::Whole => {
            Err(CliError::failed("solver", "nothing can be proven without a solver")
                .cause(missing.to_string())
                .fix(format!("install the package `cvc5`, or name the program in {SOLVER_VARIABLE}")))
        }
        Err(missing) => Ok(Found { note: Some(format!("not proven: {missing}")), ..Found::default() }),
    }
}

fn found(report: &Report, whole: bool) -> Found {
    let is_shown = |proof: &&Proof| whole || !is_fine(proof);
    let mut rows: Vec<Value> = report.proofs.iter().filter(is_shown).map(row).collect();
    rows.extend(report.fallible.iter().map(fallible));
    rows.extend(
        report
            .dead
            .iter()
            .map(|dead| json!({"id": dead.policy, "what": "dead policy", "means": dead.to_string()})),
    );
    if whole {
        let closed = |name: &String| json!({"id": name, "what": "closed", "means": "no request of this kind can be allowed"});
        rows.extend(report.closed.iter().map(closed));
    }
    let wrong = report.proofs.iter().filter(|proof| matches!(proof.outcome, Outcome::Refuted(_))).count();
    let proven = report.proofs.iter().filter(|proof| matches!(proof.outcome, Outcome::Proven { .. })).count();
    let note = format!(
        "{proven} of {} proven by {} with {} about {} kinds of requests in {:.1} s",
        plural(report.proofs.len(), "invariant"),
        report.solver,
        plural(report.questions, "question"),
        report.situations,
        report.elapsed.as_secs_f64(),
    );
    Found { rows, note: Some(note), wrong }
}

/// Whether nobody needs to look at it. What is shipped may be about what a project allows to nobody.
fn is_fine(proof: &Proof) -> bool {
    match proof.outcome {
        Outcome::Proven { .. } => true,
        Outcome::Vacuous(_) => proof.origin == Origin::Shipped,
        Outcome::Refuted(_) | Outcome::Unknown(_) => false,
    }
}

fn row(proof: &Proof) -> Value {
    let means = format!("{}: {}", proof.says, proof.outcome);
    let mut row = json!({"id": proof.invariant, "what": proof.outcome.as_str(), "means": means});
    if let Outcome::Refuted(counterexample) = &proof.outcome {
        row["counterexample"] = shown(counterexample);
    }
    row
}

fn fallible(fallible: &Fallible) -> Value {
    let Fallible { policy, situation, example } = fallible;
    match example {
        Ok(example) => json!({
            "id": policy, "what": "may fail", "counterexample": shown(example),
            "means": format!("it fails, which denies, where {example}"),
        }),
        Err(why) => json!({
            "id": policy, "what": "unknown", "means": format!("whether it can fail, in {situation}: {why}"),
        }),
    }
}

fn shown(counterexample: &Counterexample) -> Value {
    let Counterexample { situation, principal, action, resource, context, permitted_by } = counterexample;
    json!({
        "situation": situation, "principal": principal, "action": action, "resource": resource,
        "context": context, "permitted_by": permitted_by,
    })
}

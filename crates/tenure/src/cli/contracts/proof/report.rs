//! What a solver answered, as rows.

use serde_json::{Value, json};
use tenure_policy::{DescribedTool, Invariant, Origin, PolicySet};
use tenure_prove::{Counterexample, Cvc5, Extent, Fallible, Limits, Outcome, Proof, Report};

use super::super::super::check::plural;
use super::Found;

/// Asks everything there is to ask.
pub(super) fn ask(
    cvc5: &Cvc5,
    set: &PolicySet,
    invariants: &[Invariant],
    tools: &[DescribedTool],
) -> Result<Report, String> {
    tenure_prove::prove(set, invariants, tools, Extent::Whole, (cvc5, Limits::default()))
}

pub(super) fn told(report: &Report, whole: bool) -> Found {
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
    let is_wrong = |proof: &&Proof| match proof.outcome {
        Outcome::Refuted(_) => true,
        // Who asked for proofs has none.
        Outcome::Unknown(_) => whole,
        Outcome::Proven { .. } | Outcome::Vacuous(_) => false,
    };
    let wrong = report.proofs.iter().filter(is_wrong).count();
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
    let means = match &proof.outcome {
        Outcome::Refuted(_) => format!("not so: {}", proof.says),
        outcome @ (Outcome::Proven { .. } | Outcome::Vacuous(_) | Outcome::Unknown(_)) => {
            format!("{}: {outcome}", proof.says)
        }
    };
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
            "means": "it fails on a request, which denies it",
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

//! How long it takes until it is proven what many policies must never allow.

use std::time::Instant;

use tenure_policy::{Invariant, PolicySet, PolicySource};
use tenure_prove::{Extent, Outcome};

use super::policy::{POLICIES, PUBLISH_GOAL, SIZES, text};
use super::{Benchmark, Row, failed};
use crate::cli::error::CliError;
use crate::proofs::Whereabouts;

/// What must never be allowed, proven of as many policies as the goal is for.
pub(super) fn measure(solver: &Whereabouts) -> Result<Vec<Row>, CliError> {
    let cvc5 = solver.find().map_err(|error| failed("finding a solver", error))?;
    let invariants = Invariant::shipped();
    let mut rows = Vec::new();
    for size in [SIZES[0], POLICIES] {
        let source = PolicySource { name: "bench.cedar".into(), text: text(size) };
        let began = Instant::now();
        let policies = PolicySet::new(&[source]).map_err(|error| failed("publishing", error))?;
        policies.findings().map_err(|error| failed("checking", error))?;
        let with = (&cvc5, tenure_prove::Limits::default());
        let report = tenure_prove::prove(&policies, &invariants, &[], Extent::Invariants, with)
            .map_err(|error| failed("proving", error))?;
        let published = began.elapsed().as_secs_f64() * 1_000.0;
        let is_proven = |proof: &&tenure_prove::Proof| matches!(proof.outcome, Outcome::Proven { .. });
        let proven = report.proofs.iter().filter(is_proven).count();
        let what = format!(
            "reading, checking and proving {size} policies, {proven} of {} invariants proven by {}",
            invariants.len(),
            report.solver
        );
        let row = Row::new(Benchmark::Proofs, what, published, "ms");
        rows.push(if size == POLICIES { row.goal(PUBLISH_GOAL) } else { row });
    }
    Ok(rows)
}

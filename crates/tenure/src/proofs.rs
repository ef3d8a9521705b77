//! Proofs about a project's policies: what is to be proven, and by which solver.
//!
//! Cedar's translation into logic takes a build longer than a server should, so what asks a solver is behind the
//! feature `prove`; without it nothing is proven, which is said wherever it would be.

#[cfg(feature = "prove")]
mod solver;
#[cfg(not(feature = "prove"))]
mod without;

use tenure_policy::{Contract, Invariant, PolicyError, PolicySource};
use tenure_project::Project;

#[cfg(feature = "prove")]
pub(crate) use solver::{HOW_TO_PROVE, PublishProver, Whereabouts};
#[cfg(not(feature = "prove"))]
pub(crate) use without::{HOW_TO_PROVE, PublishProver, Whereabouts};

/// Everything that must never be allowed in a project: what is shipped, what its contracts promise, and its own.
pub(crate) fn invariants(project: &Project, contracts: &[Contract]) -> Result<Vec<Invariant>, PolicyError> {
    let own: Vec<PolicySource> = project
        .invariants
        .iter()
        .map(|file| PolicySource { name: file.path.clone(), text: file.text.clone() })
        .collect();
    let mut all = Invariant::shipped();
    for contract in contracts {
        all.extend(Invariant::of_contract(contract)?);
    }
    all.extend(Invariant::parse(&own)?);
    Ok(all)
}

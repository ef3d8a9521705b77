//! What the API asks about policies before it publishes them.

use std::fmt::Debug;

use tenure_journal::ProofRecord;
use tenure_policy::{DescribedTool, PolicySet};

/// Looks for proof that policies never allow what they must not.
pub trait Prover: Debug + Send + Sync {
    /// What is proven of `set`, where `tools` are described so, and by what. Blocks, for a time that it bounds itself; where there is no solver, or
    /// no answer, the record says so and claims nothing.
    fn prove(&self, set: &PolicySet, tools: &[DescribedTool]) -> ProofRecord;
}

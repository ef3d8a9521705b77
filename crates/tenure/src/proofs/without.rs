//! Without a solver: nothing is proven, and that is said.

use tenure_journal::ProofRecord;
use tenure_policy::{DescribedTool, Invariant, PolicySet};
use tenure_project::Env;

/// Why nothing is proven.
const WHY: &str = "this program was built without `--features prove`";

/// What to do about it.
pub(crate) const HOW_TO_PROVE: &str =
    "build it with `cargo build --release --features prove`, and install the package `cvc5`";

/// Where a solver would be looked for.
#[derive(Debug, Clone)]
pub(crate) struct Whereabouts;

impl Whereabouts {
    pub(crate) fn of(_: &Env) -> Self {
        Self
    }

    /// There is none.
    pub(crate) fn find(&self) -> Result<std::convert::Infallible, &'static str> {
        Err(WHY)
    }
}

/// Proves nothing of policies before they are published.
#[derive(Debug)]
pub(crate) struct PublishProver {
    invariants: Vec<Invariant>,
}

impl PublishProver {
    pub(crate) fn new(invariants: Vec<Invariant>, _: Whereabouts) -> Self {
        Self { invariants }
    }
}

impl tenure_api::Prover for PublishProver {
    fn prove(&self, _: &PolicySet, _: &[DescribedTool]) -> ProofRecord {
        ProofRecord {
            solver: None,
            missing: Some(WHY.to_owned()),
            invariants: Invariant::digest(&self.invariants),
            tools: Vec::new(),
            results: Vec::new(),
            overridden: None,
        }
    }
}

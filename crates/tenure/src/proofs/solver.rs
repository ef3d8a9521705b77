//! With a solver: where it is, and what it is asked before policies are published.

use std::ffi::OsString;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tenure_journal::ProofRecord;
use tenure_policy::{DescribedTool, Invariant, PolicySet};
use tenure_project::Env;
use tenure_prove::{Cvc5, Extent, Limits, NoSolver};

/// What to do where there is no solver.
pub(crate) const HOW_TO_PROVE: &str = "install the package `cvc5`, or name the program in TENURE_CVC5";
/// The solver, where it is not the `cvc5` of the path.
const SOLVER_VARIABLE: &str = "TENURE_CVC5";
/// How long a publication waits for all proofs of it. What is not answered by then is unknown.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(60);

/// Where a solver is looked for.
#[derive(Debug, Clone)]
pub(crate) struct Whereabouts {
    named: Option<OsString>,
    path: OsString,
}

impl Whereabouts {
    pub(crate) fn of(env: &Env) -> Self {
        let find = |name: &str| env.find(name).map(OsString::from);
        Self { named: find(SOLVER_VARIABLE), path: find("PATH").unwrap_or_default() }
    }

    /// The solver that is there now. Blocks while it is asked for its version.
    pub(crate) fn find(&self) -> Result<Cvc5, NoSolver> {
        Cvc5::find(self.named.as_deref(), Some(&self.path))
    }
}

/// Proves what must hold of policies before they are published, one set at a time.
#[derive(Debug)]
pub(crate) struct PublishProver {
    invariants: Vec<Invariant>,
    solver: Whereabouts,
    /// Held while something is proven: a solver takes a processor.
    proving: Mutex<()>,
}

impl PublishProver {
    pub(crate) fn new(invariants: Vec<Invariant>, solver: Whereabouts) -> Self {
        Self { invariants, solver, proving: Mutex::default() }
    }

    fn try_to_prove(&self, set: &PolicySet, tools: &[DescribedTool]) -> Result<ProofRecord, String> {
        // Another's panic leaves nothing half done behind this lock.
        let _proving = self.proving.lock().unwrap_or_else(PoisonError::into_inner);
        let cvc5 = self.solver.find().map_err(|error| error.to_string())?;
        let limits = Limits { all: PUBLISH_TIMEOUT, ..Limits::default() };
        Ok(tenure_prove::prove(set, &self.invariants, tools, Extent::Invariants, (&cvc5, limits))?
            .into_record())
    }
}

impl tenure_api::Prover for PublishProver {
    fn prove(&self, set: &PolicySet, tools: &[DescribedTool]) -> ProofRecord {
        self.try_to_prove(set, tools).unwrap_or_else(|why| ProofRecord {
            solver: None,
            missing: Some(why),
            invariants: Invariant::digest(&self.invariants),
            tools: Vec::new(),
            results: Vec::new(),
            overridden: None,
        })
    }
}

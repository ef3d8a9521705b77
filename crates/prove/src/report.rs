//! What came out.

use std::fmt;
use std::time::Duration;

use tenure_journal::{ProofOutcome, ProofRecord, ProofResult};
use tenure_policy::Origin;

use crate::Counterexample;

/// What was found out about a policy set.
#[derive(Debug)]
pub struct Report {
    /// The solver and its version.
    pub solver: String,
    /// The digest of the invariants.
    pub invariants: String,
    /// The tools whose arguments were known.
    pub tools: Vec<String>,
    /// One for each invariant, in their order.
    pub proofs: Vec<Proof>,
    /// The project's policies that can fail on a request, which denies it.
    pub fallible: Vec<Fallible>,
    /// The project's policies that can never matter.
    pub dead: Vec<Dead>,
    /// The situations in which nothing can be allowed.
    pub closed: Vec<String>,
    /// How many situations there are.
    pub situations: usize,
    /// How many questions were asked.
    pub questions: usize,
    /// How long it took.
    pub elapsed: Duration,
}

impl Report {
    /// As a publication keeps it.
    #[must_use]
    pub fn into_record(self) -> ProofRecord {
        ProofRecord {
            solver: Some(self.solver),
            missing: None,
            invariants: self.invariants,
            tools: self.tools,
            results: self.proofs.into_iter().map(Proof::into_result).collect(),
            overridden: None,
        }
    }
}

impl Proof {
    fn into_result(self) -> ProofResult {
        let (outcome, detail) = match self.outcome {
            Outcome::Proven { .. } => (ProofOutcome::Proven, None),
            Outcome::Refuted(counterexample) => (ProofOutcome::Refuted, Some(counterexample.to_string())),
            Outcome::Vacuous(why) => (ProofOutcome::Vacuous, Some(why)),
            Outcome::Unknown(why) => (ProofOutcome::Unknown, Some(why)),
        };
        ProofResult { invariant: self.invariant, outcome, detail }
    }
}

/// What came out for one invariant.
#[derive(Debug)]
pub struct Proof {
    /// Its id.
    pub invariant: String,
    /// What it says.
    pub says: String,
    /// Whose it is.
    pub origin: Origin,
    /// What came out.
    pub outcome: Outcome,
}

/// What comes out of trying to prove an invariant.
#[derive(Debug)]
pub enum Outcome {
    /// It holds for every request.
    Proven {
        /// In how many situations it was asked.
        situations: usize,
    },
    /// It does not hold: this request is allowed.
    Refuted(Box<Counterexample>),
    /// It holds and says nothing, and why.
    Vacuous(String),
    /// There is no answer, and why.
    Unknown(String),
}

impl Outcome {
    /// In one word.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Proven { .. } => "proven",
            Self::Refuted(_) => "refuted",
            Self::Vacuous(_) => "vacuous",
            Self::Unknown(_) => "unknown",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proven { situations: 1 } => f.write_str("in the one situation that it is about"),
            Self::Proven { situations } => write!(f, "in {situations} situations"),
            Self::Refuted(counterexample) => write!(f, "{counterexample}"),
            Self::Vacuous(why) | Self::Unknown(why) => f.write_str(why),
        }
    }
}

/// A policy that can fail.
#[derive(Debug)]
pub struct Fallible {
    /// Its id.
    pub policy: String,
    /// Where; nothing is known of others that stand after it.
    pub situation: String,
    /// A request on which it does; or why it is not known that there is none.
    pub example: Result<Box<Counterexample>, String>,
}

/// A policy that can never matter.
#[derive(Debug, PartialEq, Eq)]
pub struct Dead {
    /// Its id.
    pub policy: String,
    /// Whether requests fit it, all of which guard rails and contracts forbid.
    pub is_overruled: bool,
}

impl fmt::Display for Dead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.is_overruled {
            true => "guard rails or contracts forbid all that it permits",
            false => "no request can ever fit it",
        })
    }
}

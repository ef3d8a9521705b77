//! Proofs about policies: that something is never allowed, whatever the request; or a request for which it is.
//!
//! [`prove`] asks a solver, for every [situation](tenure_policy::Situation), whether there is a request that the
//! policies allow and an [invariant](tenure_policy::Invariant) forbids. The translation of both into logic is Cedar's
//! own (`cedar-policy-symcc`, whose model is verified in Lean); the solver is `cvc5`, a program of its own that is
//! used where it is found. It gets time and memory for its answers and no more, and what it does not answer is
//! *unknown*, never proven.
//!
//! What an answer is worth:
//!
//! - *Proven* covers all requests with complete entities, which is all that is ever decided: a request with less is
//!   refused before. It relies on the translation and on the solver. Policies of many tools are looked at twice: what
//!   guard rails and contracts forbid by themselves is forbidden whatever stands beside them, and is proven so.
//! - *Refuted* relies on neither: each counterexample is decided again by Cedar itself, and counts if that allows it.
//! - *Vacuous* is what would be proven and says nothing, because nothing is allowed there at all, or because no
//!   request is what the invariant forbids.
//!
//! What is not here: where invariants are written, who is stopped by a refuted one, and what is recorded of it.

mod counterexample;
mod examine;
mod question;
mod report;
mod solver;

pub use counterexample::Counterexample;
pub use examine::{Extent, prove};
pub use report::{Dead, Fallible, Outcome, Proof, Report};
pub use solver::{Cvc5, Limits, NoSolver, NoSolverKind};

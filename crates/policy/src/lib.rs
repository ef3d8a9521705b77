//! May this happen, and why: decisions outside the model, and the permits that prove them.
//!
//! Policies are Cedar, validated strictly against a schema. A request that is denied as it stands and
//! would be allowed with an approval is *held*: there is no second language for asking a person. Any error
//! while evaluating denies. Nothing here reads a clock, a file or the network; a decision depends on the
//! policy set and the request alone.

mod arguments;
mod asked;
mod check;
mod contract;
mod decide;
mod facts;
mod grant;
mod index;
mod invariant;
mod links;
mod memory;
mod origin;
mod principal;
mod question;
mod request;
mod resource;
mod result;
mod route;
mod rule;
mod schema;
mod set;
mod situation;
mod tally;
mod value;
mod words;

pub use asked::{Asking, Unreadable};
pub use check::{Finding, FindingKind};
pub use contract::{Applies, Clause, Contract, Rule, Terms};
pub use decide::{APPROVERS, Approved, Denial, FAULT, Hold, Permit, QUORUM_MAX, Verdict, kept_questions};
pub use facts::{Chain, Facts, LevelFacts, SpendFacts, ToolLabels};
pub use grant::covers;
pub use invariant::{Invariant, Violation};
pub use memory::{MemoryStore, MemoryUse};
pub use origin::{Critical, Trusted, critical_arguments, untrusted_arguments};
pub use principal::{AgentFacts, PartyFacts, Principal};
pub use request::Request;
pub use resource::{
    Action, DatasetFacts, EnvironmentFacts, HostFacts, Hosting, MemoryFacts, ModelCall, Reach, SecretFacts,
    SessionFacts, SessionVerb, TicketFacts, ToolFacts,
};
pub use result::{result_labels, trusted_values};
pub use route::{CallClass, RouteFacts};
pub use set::{PolicyError, PolicySet};
pub use situation::{DescribedTool, Origin, Side, SituatedRule, Situation};
pub use tally::Tally;
pub use tenure_journal::{PolicySource, PolicyText};

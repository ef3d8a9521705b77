//! May this happen, and why: decisions outside the model, and the permits that prove them.
//!
//! Policies are Cedar, validated strictly against a schema. A request that is denied as it stands and
//! would be allowed with an approval is *held*: there is no second language for asking a person. Any error
//! while evaluating denies. Nothing here reads a clock, a file or the network; a decision depends on the
//! policy set and the request alone.

mod decide;
mod facts;
mod grant;
mod links;
mod origin;
mod request;
mod result;
mod route;
mod set;
mod words;

pub use decide::{Approved, Denial, Hold, Permit, Verdict};
pub use facts::{Chain, Facts, SpendFacts, ToolLabels};
pub use grant::covers;
pub use origin::{Critical, Trusted, critical_arguments, untrusted_arguments};
pub use request::{Action, ModelCall, Principal, Request, ToolFacts};
pub use result::{result_labels, trusted_values};
pub use route::{CallClass, RouteFacts};
pub use set::{PolicyError, PolicySet, PolicySource};

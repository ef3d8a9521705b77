//! What is asked of a policy.

use serde_json::Value;
use tenure_journal::ProjectId;

use crate::facts::Facts;
use crate::principal::Principal;
use crate::resource::Action;

/// One question: may this principal do this, with exactly these arguments?
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Whose state it is about; the principal's own project is told apart from it.
    pub project: ProjectId,
    /// Who asks.
    pub principal: Principal<'a>,
    /// Whom an agent acts for. Both must be allowed.
    pub behind: Option<Principal<'a>>,
    /// What for.
    pub action: Action<'a>,
    /// The exact arguments; the permit binds their digest.
    pub arguments: &'a Value,
    /// What the journal says about the session; nothing the model said.
    pub facts: Facts<'a>,
}

//! A request that is allowed and should not be, as people read it.

use std::fmt;

use cedar_policy::{AuthorizationError, Authorizer, Decision, Entities, EntityUid, PolicySet};
use cedar_policy_symcc::Env;

/// A request that breaks an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counterexample {
    /// The situation it is of.
    pub situation: String,
    /// Who, with what is known of it.
    pub principal: String,
    /// What is done.
    pub action: String,
    /// With what, and what is known of that.
    pub resource: String,
    /// What else policies see.
    pub context: String,
    /// The policies that permit it.
    pub permitted_by: Vec<String>,
}

/// What Cedar itself says to a request that a solver came up with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decided {
    Allowed(Vec<String>),
    Denied,
    /// Some policies fail on it, so it is denied whatever the others say.
    Failed(Vec<String>),
}

/// Decides a request as it is decided when it is real.
pub(crate) fn decide(policies: &PolicySet, env: &Env) -> Decided {
    let response = Authorizer::new().is_authorized(&env.request, policies, &env.entities);
    let mut failed: Vec<String> = response
        .diagnostics()
        .errors()
        .map(|AuthorizationError::PolicyEvaluationError(error)| error.policy_id().to_string())
        .collect();
    if !failed.is_empty() {
        failed.sort();
        return Decided::Failed(failed);
    }
    if response.decision() == Decision::Deny {
        return Decided::Denied;
    }
    let mut permits: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
    permits.sort();
    Decided::Allowed(permits)
}

impl Counterexample {
    pub(crate) fn new(situation: String, env: &Env, permitted_by: Vec<String>) -> Self {
        let thing = |uid: Option<&EntityUid>| uid.map(|uid| thing(uid, &env.entities)).unwrap_or_default();
        Self {
            situation,
            principal: thing(env.request.principal()),
            action: env.request.action().map(ToString::to_string).unwrap_or_default(),
            resource: thing(env.request.resource()),
            context: env.request.context().map(ToString::to_string).unwrap_or_default(),
            permitted_by,
        }
    }
}

/// An entity with its attributes, and what it is in.
fn thing(uid: &EntityUid, entities: &Entities) -> String {
    let mut shown = uid.to_string();
    if let Some(entity) = entities.get(uid) {
        let mut attributes: Vec<String> =
            entity.attrs().filter_map(|(name, value)| Some(format!("{name}: {}", value.ok()?))).collect();
        attributes.sort();
        if !attributes.is_empty() {
            shown = format!("{shown} {{{}}}", attributes.join(", "));
        }
    }
    let mut above: Vec<String> =
        entities.ancestors(uid).into_iter().flatten().map(ToString::to_string).collect();
    above.sort();
    if !above.is_empty() {
        shown = format!("{shown} in [{}]", above.join(", "));
    }
    shown
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { situation: _, principal, action, resource, context, permitted_by } = self;
        write!(f, "{principal} may do {action} with {resource} where {context}")?;
        if !permitted_by.is_empty() {
            write!(f, ", by {}", permitted_by.join(", "))?;
        }
        Ok(())
    }
}

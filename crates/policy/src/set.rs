//! Policy sets: parsed, validated and digested as a whole before anything is decided with them.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Mutex;

use cedar_policy::{Authorizer, Policy, PolicyId, Schema, ValidationMode, Validator};

use crate::decide::{Answer, Question};

const DEFAULTS: &str = include_str!("../policies/default.cedar");
const SCHEMA: &str = include_str!("../policies/schema.cedarschema");

/// A file of policies.
#[derive(Debug, Clone)]
pub struct PolicySource {
    /// Where it is from, for messages.
    pub name: String,
    /// The Cedar text.
    pub text: String,
}

/// Why policies cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}: {message}")]
pub struct PolicyError {
    source_name: String,
    message: String,
}

/// A validated policy set.
pub struct PolicySet {
    pub(crate) policies: cedar_policy::PolicySet,
    pub(crate) schema: Schema,
    pub(crate) authorizer: Authorizer,
    pub(crate) digest: String,
    /// Decisions depend on nothing but set and question, so each is evaluated once.
    pub(crate) answers: Mutex<BTreeMap<Question, Answer>>,
}

impl std::fmt::Debug for PolicySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicySet").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl PolicySet {
    /// The defaults and nothing else.
    #[must_use]
    pub fn defaults() -> Self {
        Self::new(&[]).expect("the built-in policies are covered by this crate's tests")
    }

    /// The defaults and a project's own policies.
    ///
    /// # Errors
    /// The first policy that does not parse, has no `@id` or one used before, or does not fit the schema.
    pub fn new(sources: &[PolicySource]) -> Result<Self, PolicyError> {
        let defaults = PolicySource { name: "built-in policies".into(), text: DEFAULTS.into() };
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).map_err(|error| PolicyError {
            source_name: "built-in schema".into(),
            message: error.to_string(),
        })?;
        let mut policies = cedar_policy::PolicySet::new();
        let mut ids = BTreeSet::new();
        let mut hasher = blake3::Hasher::new();
        hasher.update(SCHEMA.as_bytes());
        for source in std::iter::once(&defaults).chain(sources) {
            add_source(source, &mut policies, &mut ids)?;
            hasher.update(source.text.as_bytes());
            hasher.update(b"\0");
        }
        let result = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        if let Some(error) = result.validation_errors().next() {
            return Err(PolicyError { source_name: "policies".into(), message: error.to_string() });
        }
        Ok(Self {
            policies,
            schema,
            authorizer: Authorizer::new(),
            digest: format!("b3:{}", hasher.finalize().to_hex()),
            answers: Mutex::default(),
        })
    }

    /// The digest of everything that was evaluated: schema, defaults and the project's policies.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

fn add_source(
    source: &PolicySource,
    policies: &mut cedar_policy::PolicySet,
    ids: &mut BTreeSet<String>,
) -> Result<(), PolicyError> {
    let refuse = |message: String| PolicyError { source_name: source.name.clone(), message };
    let parsed =
        cedar_policy::PolicySet::from_str(&source.text).map_err(|error| refuse(error.to_string()))?;
    if parsed.templates().next().is_some() {
        return Err(refuse("policy templates are not supported; write each policy out".into()));
    }
    for policy in parsed.policies() {
        let id = policy.annotation("id").ok_or_else(|| {
            refuse(format!("a policy without an id; write `@id(\"...\")` before it: {}", first_line(policy)))
        })?;
        if !ids.insert(id.to_owned()) {
            return Err(refuse(format!("the policy id `{id}` is used twice")));
        }
        policies.add(policy.new_id(PolicyId::new(id))).map_err(|error| refuse(error.to_string()))?;
    }
    Ok(())
}

fn first_line(policy: &Policy) -> String {
    policy.to_string().lines().next().unwrap_or_default().chars().take(80).collect()
}

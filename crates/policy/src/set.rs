//! Policy sets: parsed, validated and digested as a whole before anything is decided with them.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock};

use cedar_policy::{Authorizer, Policy, ValidationMode, Validator};

use crate::Action;
use crate::index::Kept;
use crate::question::Sight;
use crate::rule::{Layer, Rule};
use crate::schema::{self, SCHEMA};
use crate::tally::Tally;

const DEFAULTS: &str = include_str!("../policies/default.cedar");
const GUARD_RAILS: &str = include_str!("../policies/guard-rails.cedar");

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

impl PolicyError {
    pub(crate) fn new(source_name: &str, message: &dyn ToString) -> Self {
        Self { source_name: source_name.to_owned(), message: message.to_string() }
    }
}

/// A validated policy set. Immutable: publishing another replaces it as a whole.
pub struct PolicySet {
    pub(crate) rules: BTreeMap<String, Arc<Rule>>,
    /// The actions of tools that policies name.
    pub(crate) named: BTreeSet<String>,
    pub(crate) sight: Sight,
    pub(crate) authorizer: Authorizer,
    pub(crate) digest: String,
    pub(crate) kept: Mutex<Kept>,
    pub(crate) tally: Arc<Tally>,
    /// Whose clauses are among the rules.
    pub(crate) contracts: Vec<crate::Contract>,
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

    /// The guard rails, the defaults and a project's own policies.
    ///
    /// A policy that looks at a tool's arguments, or names the action of a tool, is validated when that tool is
    /// known; see [`PolicySet::check_tool`]. Until then it is only parsed, and a call of a tool that it does
    /// not fit is refused.
    ///
    /// # Errors
    /// The first policy that does not parse, has no `@id` or one used before, or does not fit the schema.
    pub fn new(sources: &[PolicySource]) -> Result<Self, PolicyError> {
        Self::of(shipped().clone(), sources)
    }

    /// A set under other guard rails than the shipped ones: for tests of what each of them is there for.
    ///
    /// # Errors
    /// As [`PolicySet::new`].
    #[doc(hidden)]
    pub fn with_guard_rails(guard_rails: &str, sources: &[PolicySource]) -> Result<Self, PolicyError> {
        Self::of(Adding::shipped(guard_rails)?, sources)
    }

    fn of(mut adding: Adding, sources: &[PolicySource]) -> Result<Self, PolicyError> {
        for source in sources {
            adding.source(&source.name, &source.text, Layer::Project)?;
        }
        let named: BTreeSet<String> =
            adding.rules.values().flat_map(|rule| rule.tools.iter().cloned()).collect();
        let of_project = adding.rules.values().filter(|rule| rule.layer == Layer::Project);
        validate(&named, of_project.filter(|rule| !rule.is_typed()))?;
        let looks = adding.rules.values().any(|rule| rule.is_typed());
        let sight = if looks { Sight::Arguments } else { Sight::NoArguments };
        Ok(Self {
            rules: adding.rules,
            named,
            sight,
            authorizer: Authorizer::new(),
            digest: format!("b3:{}", adding.hasher.finalize().to_hex()),
            kept: Mutex::default(),
            tally: Arc::default(),
            contracts: Vec::new(),
        })
    }

    /// The digest of everything that was evaluated: schema, guard rails, defaults and the project's policies.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether the project has policies of its own about this action, whoever does it with whatever.
    #[must_use]
    pub fn has_own_about(&self, action: &Action<'_>) -> bool {
        let actions = schema::with_groups(action.name());
        let own = self.rules.values().filter(|rule| rule.layer == Layer::Project);
        own.into_iter().any(|rule| rule.is_about_action(&actions))
    }

    /// What was decided so far, by this set and those it took the count over from.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The same set, counting on where another stopped.
    #[must_use]
    pub fn counting_with(self, before: &Self) -> Self {
        Self { tally: Arc::clone(&before.tally), ..self }
    }

    /// Validates what is shipped, which is not done each time.
    ///
    /// # Errors
    /// What does not fit the schema.
    #[doc(hidden)]
    pub fn check_shipped() -> Result<(), PolicyError> {
        validate(&BTreeSet::new(), shipped().rules.values())
    }

    /// The shipped guard rails as text.
    #[doc(hidden)]
    #[must_use]
    pub fn guard_rails() -> &'static str {
        GUARD_RAILS
    }
}

/// The guard rails and the defaults, read once. That they fit the schema is tested, not looked at each time.
fn shipped() -> &'static Adding {
    static SHIPPED: OnceLock<Adding> = OnceLock::new();
    SHIPPED.get_or_init(|| Adding::shipped(GUARD_RAILS).expect("covered by this crate's tests"))
}

/// Validates rules that no tool has to be known for.
fn validate<'a>(
    named: &BTreeSet<String>,
    rules: impl Iterator<Item = &'a Arc<Rule>>,
) -> Result<(), PolicyError> {
    let mut rules = rules.peekable();
    if rules.peek().is_none() {
        return Ok(());
    }
    let refuse = |error: &dyn ToString| PolicyError::new("policies", error);
    let schema = schema::whole(named.iter().map(String::as_str)).map_err(|error| refuse(&error))?;
    let rules = rules.map(|rule| rule.policy.clone());
    let set = cedar_policy::PolicySet::from_policies(rules).map_err(|error| refuse(&error))?;
    let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
    match result.validation_errors().next() {
        Some(error) => Err(refuse(error)),
        None => Ok(()),
    }
}

/// A set in the making.
#[derive(Clone, Default)]
struct Adding {
    rules: BTreeMap<String, Arc<Rule>>,
    hasher: blake3::Hasher,
}

impl Adding {
    fn shipped(guard_rails: &str) -> Result<Self, PolicyError> {
        let mut adding = Self::default();
        adding.hasher.update(SCHEMA.as_bytes());
        adding.source("built-in guard rails", guard_rails, Layer::Guard)?;
        adding.source("built-in policies", DEFAULTS, Layer::Default)?;
        Ok(adding)
    }

    fn source(&mut self, name: &str, text: &str, layer: Layer) -> Result<(), PolicyError> {
        let refuse = |message: String| PolicyError::new(name, &message);
        let parsed = cedar_policy::PolicySet::from_str(text).map_err(|error| refuse(error.to_string()))?;
        if parsed.templates().next().is_some() {
            return Err(refuse("policy templates are not supported; write each policy out".into()));
        }
        for policy in parsed.policies() {
            let id = policy.annotation("id").ok_or_else(|| {
                let line = first_line(policy);
                refuse(format!("a policy without an id; write `@id(\"...\")` before it: {line}"))
            })?;
            if self.rules.contains_key(id) {
                return Err(refuse(format!("the policy id `{id}` is used twice")));
            }
            let rule = Rule::new(id, layer, policy).map_err(|error| refuse(error.to_string()))?;
            self.rules.insert(id.to_owned(), Arc::new(rule));
        }
        self.hasher.update(text.as_bytes());
        self.hasher.update(b"\0");
        Ok(())
    }
}

fn first_line(policy: &Policy) -> String {
    policy.to_string().lines().next().unwrap_or_default().chars().take(80).collect()
}

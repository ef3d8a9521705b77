//! Policy sets: parsed, validated and digested as a whole before anything is decided with them.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock};

use cedar_policy::{Authorizer, Policy, ValidationMode, Validator};
use tenure_journal::{PolicySource, PolicyText};

use crate::Action;
use crate::index::Kept;
use crate::question::Sight;
use crate::rule::{Layer, Rule};
use crate::schema::{self, SCHEMA};
use crate::tally::Tally;

const DEFAULTS: &str = include_str!("../policies/default.cedar");
const GUARD_RAILS: &str = include_str!("../policies/guard-rails.cedar");

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
    /// What it was made from.
    text: PolicyText,
    /// Why nothing can be decided with it, where that is so.
    pub(crate) closed: Option<String>,
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

    /// The set that was made from `text`, to decide again what was decided with it.
    ///
    /// # Errors
    /// As [`PolicySet::new`]; a text of a schema that this one does not merely add to, which only its own release can
    /// evaluate.
    pub fn of_text(text: &PolicyText) -> Result<Self, PolicyError> {
        if !schema::is_known(&text.schema) {
            let message = "it was made for another schema, by another release of this program";
            return Err(PolicyError::new("schema", &message));
        }
        if text.guard_rails == GUARD_RAILS && text.defaults == DEFAULTS {
            return Self::new(&text.sources);
        }
        let mut adding = Adding::empty();
        adding.shipping(&text.guard_rails, &text.defaults)?;
        Self::of(adding, &text.sources)
    }

    /// This set and further policies of the project's own. Ids are of the whole: what is added cannot replace a
    /// policy, and a `forbid` of either part holds.
    ///
    /// # Errors
    /// As [`PolicySet::new`].
    pub fn and(&self, sources: &[PolicySource]) -> Result<Self, PolicyError> {
        let sources = self.text.sources.iter().chain(sources).cloned().collect();
        let set = Self::of_text(&PolicyText { sources, ..self.text.clone() })?;
        Ok(Self { contracts: self.contracts.clone(), ..set })
    }

    /// What stands in for this set and further policies that do not fit together: everything is denied, and
    /// says why. Nothing may be decided by a part of what somebody published.
    #[must_use]
    pub fn closed_for(&self, sources: &[PolicySource], why: &PolicyError) -> Self {
        let sources = self.text.sources.iter().chain(sources).cloned().collect();
        let text = PolicyText { sources, ..self.text.clone() };
        Self { digest: text.digest(), text, closed: Some(why.to_string()), ..Self::defaults() }
    }

    fn of(mut adding: Adding, sources: &[PolicySource]) -> Result<Self, PolicyError> {
        for source in sources {
            adding.source(&source.name, &source.text, Layer::Project)?;
        }
        adding.text.sources = sources.to_vec();
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
            digest: adding.text.digest(),
            text: adding.text,
            closed: None,
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

    /// Everything that it was made from.
    #[must_use]
    pub fn text(&self) -> &PolicyText {
        &self.text
    }

    /// Why nothing can be decided with it, where that is so.
    #[must_use]
    pub fn closed(&self) -> Option<&str> {
        self.closed.as_deref()
    }

    /// Whether the project has policies of its own about this action, whoever does it with whatever; so has one
    /// whose policies cannot be decided with.
    #[must_use]
    pub fn has_own_about(&self, action: &Action<'_>) -> bool {
        if self.closed.is_some() {
            return true;
        }
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
#[derive(Clone)]
struct Adding {
    rules: BTreeMap<String, Arc<Rule>>,
    text: PolicyText,
}

impl Adding {
    fn empty() -> Self {
        let text = PolicyText {
            schema: SCHEMA.to_owned(),
            guard_rails: String::new(),
            defaults: String::new(),
            sources: Vec::new(),
        };
        Self { rules: BTreeMap::new(), text }
    }

    fn shipped(guard_rails: &str) -> Result<Self, PolicyError> {
        let mut adding = Self::empty();
        adding.shipping(guard_rails, DEFAULTS)?;
        Ok(adding)
    }

    fn shipping(&mut self, guard_rails: &str, defaults: &str) -> Result<(), PolicyError> {
        self.source("built-in guard rails", guard_rails, Layer::Guard)?;
        self.source("built-in policies", defaults, Layer::Default)?;
        guard_rails.clone_into(&mut self.text.guard_rails);
        defaults.clone_into(&mut self.text.defaults);
        Ok(())
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
        Ok(())
    }
}

fn first_line(policy: &Policy) -> String {
    policy.to_string().lines().next().unwrap_or_default().chars().take(80).collect()
}

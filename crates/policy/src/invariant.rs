//! What must never be allowed, whatever the policies are: what is to be proven of them.
//!
//! An invariant is written as a `forbid` that the policies must amount to, without being one of them: it decides
//! nothing. Those that ship with this crate say again, in their own words, what each guard rail is there for; each
//! clause of a contract is one; a project adds its own.

mod clause;

use std::collections::BTreeSet;
use std::str::FromStr;

use cedar_policy::{Effect, Policy, PolicyId, PrincipalConstraint, ValidationMode, Validator};
use serde_json::{Value as Json, json};
use tenure_journal::PolicySource;

use crate::rule::{Layer, Rule};
use crate::schema;
use crate::situation::{Origin, Side, Situation};
use crate::value::Fault;
use crate::{Contract, PolicyError};

const SHIPPED: &str = include_str!("../policies/invariants.cedar");

/// What numbers can be, by the part of a context that they are in: a counterexample beyond that is none.
const REAL: [(&str, &str); 5] = [
    (
        "flow",
        "context.flow.integrity >= 0 && context.flow.integrity <= 3 && \
         context.flow.confidentiality >= 0 && context.flow.confidentiality <= 3",
    ),
    ("chain", "context.chain.depth >= 0"),
    ("calls_so_far", "context.calls_so_far >= 0"),
    ("now", "context.now >= datetime(\"1970-01-01\")"),
    ("route", "context.route.retention_days >= 0"),
];

/// Something that must never be allowed.
#[derive(Debug, Clone)]
pub struct Invariant {
    /// Its id.
    pub id: String,
    /// What it says, in a sentence: its annotation `@says`, or its id.
    pub says: String,
    /// Whose it is.
    pub origin: Origin,
    rule: Rule,
    /// Whether who does it matters. Where it does not, the agent's own half of a decision is enough.
    is_about_principals: bool,
}

/// What an invariant forbids in a situation.
#[derive(Debug)]
pub enum Violation {
    /// Nothing: it is about other situations.
    Nothing,
    /// What this permit permits.
    Whatever(Box<Policy>),
    /// What cannot be said before the arguments of the tools that it is about are known.
    Unseen,
}

impl Invariant {
    /// Those that hold in every project.
    #[must_use]
    pub fn shipped() -> Vec<Self> {
        read("built-in invariants", SHIPPED, Origin::Shipped).expect("covered by this crate's tests")
    }

    /// Reads a project's own. Ids are of all of them.
    ///
    /// # Errors
    /// The first that does not parse, permits instead of forbidding, has no `@id` or one of another, or does not fit
    /// the schema. One about a tool's own arguments is checked when that tool is described.
    pub fn parse(sources: &[PolicySource]) -> Result<Vec<Self>, PolicyError> {
        let mut ids: BTreeSet<String> = Self::shipped().into_iter().map(|shipped| shipped.id).collect();
        let mut all = Vec::new();
        for source in sources {
            for invariant in read(&source.name, &source.text, Origin::Project)? {
                if !ids.insert(invariant.id.clone()) {
                    let message = format!("the invariant id `{}` is used twice", invariant.id);
                    return Err(PolicyError::new(&source.name, &message));
                }
                all.push(invariant);
            }
        }
        Ok(all)
    }

    /// What the clauses of a contract promise, for every request inside their dates: one for each clause, under the
    /// id of its policy.
    ///
    /// # Errors
    /// A clause does not fit the schema, which a set with the contract refuses before.
    pub fn of_contract(contract: &Contract) -> Result<Vec<Self>, PolicyError> {
        read(&format!("contracts/{}.yaml", contract.name), &clause::to_cedar(contract), Origin::Contract)
    }

    /// What of it is said about this situation.
    ///
    /// # Errors
    /// It does not fit a tool that the situation is about.
    pub fn violation_in(&self, situation: &Situation) -> Result<Violation, PolicyError> {
        let (principal, resource) = (situation.request.principal(), situation.request.resource());
        let is_answered_before = situation.side == Side::Behind && !self.is_about_principals;
        if is_answered_before || !self.rule.may_concern(principal.basename(), resource.basename()) {
            return Ok(Violation::Nothing);
        }
        let actions = match &situation.tool {
            Some(_) => [situation.action(), schema::TOOL_CALL, "effect"].map(str::to_owned).to_vec(),
            None => schema::with_groups(situation.action()),
        };
        let is_any_call = situation.tool.is_none() && situation.action() == schema::TOOL_CALL;
        if is_any_call && self.rule.is_typed() {
            let unseen = self.rule.may_be_about_other_tools(&actions, &situation.known).is_some();
            return Ok(if unseen { Violation::Unseen } else { Violation::Nothing });
        }
        // What is no call of a tool has no arguments.
        let has_none = situation.tool.is_none() && self.rule.reads("args");
        if has_none || !self.rule.is_about_action(&actions) {
            return Ok(Violation::Nothing);
        }
        let permit =
            self.to_permit(situation.action()).map_err(|error| PolicyError::new(&self.id, &error))?;
        Ok(Violation::Whatever(Box::new(permit)))
    }

    /// Whether it looks at arguments of this tool, or names it by its action.
    pub(crate) fn looks_at(&self, tool: &str) -> bool {
        let tools = &self.rule.tools;
        self.rule.is_typed() && (tools.is_empty() || tools.contains(&schema::action_of_tool(tool)))
    }

    /// The digest of what invariants say: of their policies, in the order of their ids.
    #[must_use]
    pub fn digest(invariants: &[Self]) -> String {
        let mut written: Vec<(&str, Json)> = invariants
            .iter()
            .map(|it| (it.id.as_str(), it.rule.policy.to_json().unwrap_or_else(|_| json!(it.says))))
            .collect();
        written.sort_by_key(|(id, _)| *id);
        let written = written.into_iter().map(|(id, policy)| json!([id, policy])).collect();
        tenure_journal::json::digest(&written)
    }

    /// What it forbids, of requests that there can be.
    fn to_permit(&self, action: &str) -> Result<Policy, Fault> {
        let mut written = self.rule.policy.to_json()?;
        written["effect"] = json!("permit");
        let real = REAL.iter().filter(|(part, _)| schema::has_part(action, part)).map(|(_, bounds)| *bounds);
        let real = real.collect::<Vec<_>>().join(" && ");
        if !real.is_empty() {
            let only =
                Policy::parse(None, format!("permit (principal, action, resource) when {{ {real} }};"))?;
            let mut only = only.to_json()?;
            if let (Some(all), Some(more)) =
                (written["conditions"].as_array_mut(), only["conditions"].as_array_mut())
            {
                all.append(more);
            }
        }
        Ok(Policy::from_json(Some(PolicyId::new(&self.id)), written)?)
    }
}

fn read(name: &str, text: &str, origin: Origin) -> Result<Vec<Invariant>, PolicyError> {
    let refuse = |message: String| PolicyError::new(name, &message);
    let parsed = cedar_policy::PolicySet::from_str(text).map_err(|error| refuse(error.to_string()))?;
    if parsed.templates().next().is_some() {
        return Err(refuse("policy templates are not supported; write each invariant out".into()));
    }
    let mut all = Vec::new();
    for policy in parsed.policies() {
        let id = policy
            .annotation("id")
            .ok_or_else(|| refuse("an invariant without an id; write `@id(\"...\")` before it".to_owned()))?;
        if policy.effect() == Effect::Permit {
            return Err(refuse(format!(
                "the invariant `{id}` must be a `forbid`: what may never be allowed"
            )));
        }
        let rule = Rule::new(id, Layer::Project, policy).map_err(|error| refuse(error.to_string()))?;
        check(&rule).map_err(|error| refuse(error.to_string()))?;
        let written = rule.policy.to_json().map_err(|error| refuse(error.to_string()))?;
        let is_about_principals = rule.policy.principal_constraint() != PrincipalConstraint::Any
            || mentions_principal(&written["conditions"]);
        let says = policy.annotation("says").unwrap_or(id).to_owned();
        all.push(Invariant { id: id.to_owned(), says, origin, rule, is_about_principals });
    }
    // A set has no order of its own.
    all.sort_by(|one, other| one.id.cmp(&other.id));
    if let Some(pair) = all.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(refuse(format!("the invariant id `{}` is used twice", pair[0].id)));
    }
    Ok(all)
}

/// Validates what no tool has to be known for.
fn check(rule: &Rule) -> Result<(), Fault> {
    if rule.is_typed() {
        return Ok(());
    }
    let policies = cedar_policy::PolicySet::from_policies([rule.policy.clone()])?;
    let result =
        Validator::new(schema::whole(std::iter::empty())?).validate(&policies, ValidationMode::Strict);
    match result.validation_errors().next() {
        Some(error) => Err(error.to_string().into()),
        None => Ok(()),
    }
}

fn mentions_principal(written: &Json) -> bool {
    match written {
        Json::Object(object) => {
            object.get("Var").is_some_and(|name| name == "principal")
                || object.values().any(mentions_principal)
        }
        Json::Array(items) => items.iter().any(mentions_principal),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
    }
}

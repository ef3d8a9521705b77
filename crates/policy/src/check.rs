//! What there is to say about policies that are valid: which of them can never matter, and which can fail.

use std::fmt;

use cedar_policy::{ValidationMode, ValidationWarning, Validator};
use serde_json::Value as Json;

use crate::PolicySet;
use crate::rule::{Layer, Rule};
use crate::schema;

/// Something about one policy that its author should know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The policy's id.
    pub policy: String,
    /// What it is.
    pub kind: FindingKind,
}

/// What there may be about a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// No request can ever fit it.
    Unreachable,
    /// It adds or multiplies, and every request that overflows is denied.
    MayFail,
    /// It is about tools by their own actions or their arguments, and is validated once they are known.
    Unchecked {
        /// The tools that it names; empty for one that reads arguments of any tool.
        tools: Vec<String>,
    },
    /// A string or a name in it looks like what it is not.
    Confusable,
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("no request can ever fit it"),
            Self::MayFail => f.write_str("its arithmetic may overflow; every request that does is denied"),
            Self::Unchecked { tools } if tools.is_empty() => {
                f.write_str("it reads arguments of tools; it is validated when each of them is first called")
            }
            Self::Unchecked { tools } => {
                write!(f, "it is validated when these tools are first called: {}", tools.join(", "))
            }
            Self::Confusable => f.write_str("it holds characters that look like others"),
        }
    }
}

impl PolicySet {
    /// What its authors should know about the project's policies, in the order of their ids.
    ///
    /// # Errors
    /// The policies do not fit the schema, which [`PolicySet::new`] refuses before.
    pub fn findings(&self) -> Result<Vec<Finding>, crate::PolicyError> {
        let refuse = |error: &dyn ToString| crate::PolicyError::new("policies", error);
        let mut found = Vec::new();
        let (late, whole): (Vec<_>, Vec<_>) =
            self.rules.values().filter(|rule| rule.layer == Layer::Project).partition(|rule| rule.is_typed());
        let schema = schema::whole(self.named.iter().map(String::as_str)).map_err(|error| refuse(&error))?;
        let policies = cedar_policy::PolicySet::from_policies(whole.iter().map(|rule| rule.policy.clone()));
        let result = Validator::new(schema)
            .validate(&policies.map_err(|error| refuse(&error))?, ValidationMode::Strict);
        for warning in result.validation_warnings() {
            let kind = match warning {
                ValidationWarning::ImpossiblePolicy(_) | ValidationWarning::InvalidActionApplication(_) => {
                    FindingKind::Unreachable
                }
                ValidationWarning::MixedScriptString(_)
                | ValidationWarning::BidiCharsInString(_)
                | ValidationWarning::BidiCharsInIdentifier(_)
                | ValidationWarning::MixedScriptIdentifier(_)
                | ValidationWarning::ConfusableIdentifier(_) => FindingKind::Confusable,
                // Cedar may come to warn of more.
                _ => FindingKind::Confusable,
            };
            found.push(Finding { policy: warning.policy_id().to_string(), kind });
        }
        for rule in &late {
            let tools = rule.tools.iter().filter_map(|action| schema::tool_of_action(action));
            let tools = tools.map(str::to_owned).collect();
            found.push(Finding { policy: rule.id.clone(), kind: FindingKind::Unchecked { tools } });
        }
        for rule in late.iter().chain(&whole).filter(|rule| computes(rule)) {
            found.push(Finding { policy: rule.id.clone(), kind: FindingKind::MayFail });
        }
        found.sort();
        found.dedup();
        Ok(found)
    }
}

/// Whether a policy does what strict validation cannot promise to succeed: arithmetic.
fn computes(rule: &Rule) -> bool {
    fn look(written: &Json) -> bool {
        match written {
            Json::Object(object) => {
                ["+", "-", "*", "neg"].iter().any(|form| object.contains_key(*form))
                    || object.values().any(look)
            }
            Json::Array(items) => items.iter().any(look),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
        }
    }
    // What cannot be written was read, so it can be; if not, better one warning too many.
    rule.policy.to_json().map_or(true, |written| look(&written["conditions"]))
}

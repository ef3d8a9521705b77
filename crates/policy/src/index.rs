//! Which policies can matter to a request, found once for each kind of request.
//!
//! Cedar evaluates every policy of a set, so a decision takes as long as the set is large. Here the policies
//! whose scope cannot match the principal, the action or the resource are left out beforehand; what remains is
//! kept, in sets of its own, with the part of the schema that is about its action. Of most policies the answer is
//! kept as well, and only those that read what differs each time are evaluated each time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use cedar_policy::{Entities, EntityUid, Policy, PolicyId, Schema, ValidationMode, Validator};
use serde_json::json;

use crate::PolicySet;
use crate::arguments::Shapes;
use crate::decide::Answer;
use crate::question::Question;
use crate::rule::Rule;
use crate::schema::{self, TOOL_CALL};
use crate::set::PolicyError;
use crate::value::{Fault, Name, Thing, uid};

/// Sets kept before all are dropped: more kinds of requests than a busy project makes.
const SETS_MAX: usize = 4_096;
/// Answers kept before all are dropped: more distinct questions than a busy project asks.
const ANSWERS_MAX: usize = 4_096;
/// What differs from one request to the next: an answer that depends on it is not worth keeping, and may be
/// as large as what a model writes.
const VARYING: [&str; 5] = ["args", "calls_so_far", "command", "now", "spend"];

/// Whether a request is an agent's, or put on behalf of whoever stands behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seat {
    /// Whoever does it.
    Asking,
    /// Whoever it is done for.
    Behind,
}

/// What decides which policies can matter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    seat: Seat,
    action: &'static str,
    principal: Head,
    resource: Head,
    shapes: Option<Shapes>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    name: Name,
    parents: Vec<Name>,
}

impl Head {
    fn of(thing: &Thing) -> Self {
        Self { name: thing.name.clone(), parents: thing.parents.clone() }
    }
}

/// What was found out and holds as long as the policies do.
#[derive(Default)]
pub(crate) struct Kept {
    sets: BTreeMap<Kind, Arc<ActionSet>>,
    answers: BTreeMap<(Seat, Half, Question), Answer>,
}

/// The policies that can matter to one kind of request.
pub(crate) struct ActionSet {
    /// All of them: those whose answers are worth keeping, and those whose answers are not, if there are any.
    pub(crate) parts: Vec<Part>,
    pub(crate) schema: Arc<Schema>,
    pub(crate) action: EntityUid,
    /// Whether the arguments are in sight.
    pub(crate) is_typed: bool,
    /// Who and what the last evaluated question was about.
    concerned: Mutex<Option<Arc<Concerned>>>,
}

/// Whether policies read what differs from one request to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Half {
    Steady,
    Varying,
}

/// Some of the policies that can matter. What forbids and what permits in each is what does in all.
pub(crate) struct Part {
    half: Half,
    pub(crate) policies: cedar_policy::PolicySet,
    rules: Vec<Arc<Rule>>,
}

impl Part {
    fn of(half: Half, rules: Vec<Arc<Rule>>, generated: Option<Policy>) -> Result<Self, Fault> {
        let policies = rules.iter().map(|rule| rule.policy.clone()).chain(generated);
        Ok(Self { half, policies: cedar_policy::PolicySet::from_policies(policies)?, rules })
    }

    /// The question without what none of the policies reads; nothing if its answer is not to be kept.
    fn kept_as(&self, question: &Question) -> Option<Question> {
        let is_read = |name: &str| self.rules.iter().any(|rule| rule.reads(name));
        if VARYING.iter().any(|name| question.context.contains_key(*name) && is_read(name)) {
            return None;
        }
        let context = question.context.iter().filter(|(name, _)| is_read(name));
        Some(Question {
            principal: question.principal.clone(),
            action: question.action,
            resource: question.resource.clone(),
            context: context.map(|(name, value)| (name.clone(), value.clone())).collect(),
            tool: None,
        })
    }
}

/// Who asks and with what, as Cedar has them. Making and checking entities is half of what a decision takes, and one
/// agent that calls one tool again is the same entities again.
pub(crate) struct Concerned {
    principal: Thing,
    resource: Thing,
    pub(crate) entities: Entities,
}

impl ActionSet {
    /// The entities of a question, checked against the schema: one with less than all of its attributes is refused.
    ///
    /// # Errors
    /// They do not fit the schema.
    pub(crate) fn concerned(&self, question: &Question) -> Result<Arc<Concerned>, Fault> {
        let Question { principal, resource, .. } = question;
        // A poisoned lock only means that another thread panicked between two complete writes.
        let last = || self.concerned.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last().clone();
        if let Some(known) = known.filter(|it| it.principal == *principal && it.resource == *resource) {
            return Ok(known);
        }
        let mut entities = principal.to_entities()?;
        if resource.name != principal.name {
            entities.extend(resource.to_entities()?);
        }
        let entities = Entities::from_entities(entities, Some(&self.schema))?;
        let made = Concerned { principal: principal.clone(), resource: resource.clone(), entities };
        let made = Arc::new(made);
        *last() = Some(Arc::clone(&made));
        Ok(made)
    }
}

impl PolicySet {
    /// The policies that can matter to `question`.
    ///
    /// # Errors
    /// A policy does not fit the tool that is called.
    pub(crate) fn set_for(&self, seat: Seat, question: &Question) -> Result<Arc<ActionSet>, Fault> {
        let mut kind = Kind {
            seat,
            action: question.action,
            principal: Head::of(&question.principal),
            resource: Head::of(&question.resource),
            shapes: None,
        };
        let untyped = self.find(&kind, || self.build(seat, question, None))?;
        match &question.tool {
            Some(typed) if untyped.is_typed => {
                kind.shapes = Some(typed.shapes.clone());
                self.find(&kind, || self.build(seat, question, Some(&typed.shapes)))
            }
            Some(_) | None => Ok(untyped),
        }
    }

    fn find(
        &self,
        kind: &Kind,
        build: impl FnOnce() -> Result<ActionSet, Fault>,
    ) -> Result<Arc<ActionSet>, Fault> {
        if let Some(set) = self.kept().sets.get(kind) {
            return Ok(Arc::clone(set));
        }
        let set = Arc::new(build()?);
        let mut kept = self.kept();
        if kept.sets.len() >= SETS_MAX {
            kept.sets.clear();
        }
        kept.sets.insert(kind.clone(), Arc::clone(&set));
        Ok(set)
    }

    fn build(&self, seat: Seat, question: &Question, shapes: Option<&Shapes>) -> Result<ActionSet, Fault> {
        let tool = (question.action == TOOL_CALL).then_some(question.resource.name.id.as_str());
        let own = tool.map(schema::action_of_tool);
        let mut actions = schema::with_groups(question.action);
        if let Some(own) = &own {
            actions.insert(0, own.clone());
        }
        let rules: Vec<Arc<Rule>> = self
            .rules
            .values()
            .filter(|rule| rule.may_match(&question.principal, &actions, &question.resource))
            .filter(|rule| seat == Seat::Asking || rule.is_about_parties())
            .cloned()
            .collect();
        let is_typed = tool.is_some() && rules.iter().any(|rule| rule.is_typed());
        let (schema, action) = match (&own, shapes) {
            (Some(own), Some(shapes)) => {
                let tool = question.resource.name.id.as_str();
                let named = self.named.iter().map(String::as_str);
                (Arc::new(schema::of_tool(tool, shapes, named)?), own.clone())
            }
            // Only asked whether it is typed; or nothing is known of the arguments, and none are looked at.
            (Some(own), None) if is_typed => {
                let named = self.named.iter().map(String::as_str);
                let tool = question.resource.name.id.as_str();
                (Arc::new(schema::of_tool(tool, &Shapes::default(), named)?), own.clone())
            }
            (Some(_) | None, _) => (schema::of_action(question.action)?, question.action.to_owned()),
        };
        let late: Vec<_> =
            rules.iter().filter(|rule| rule.is_typed()).map(|rule| rule.policy.clone()).collect();
        // Without shapes there is nothing to validate against yet, unless there never will be.
        if shapes.is_some() || question.tool.is_none() {
            validate(&schema, late)?;
        }
        let generated = tool.filter(|_| is_typed).map(names_its_tool).transpose()?;
        let (varying, steady): (Vec<_>, Vec<_>) =
            rules.into_iter().partition(|rule| VARYING.iter().any(|name| rule.reads(name)));
        let mut parts = vec![Part::of(Half::Steady, steady, generated)?];
        if !varying.is_empty() {
            parts.push(Part::of(Half::Varying, varying, None)?);
        }
        let action = uid("Action", &action)?;
        Ok(ActionSet { parts, schema, action, is_typed, concerned: Mutex::default() })
    }

    /// Checks the policies about one tool against what is known of it: `<server>/<name>`, and the JSON schema
    /// of its arguments.
    ///
    /// # Errors
    /// The first policy that does not fit.
    pub fn check_tool(&self, tool: &str, parameters: &serde_json::Value) -> Result<(), PolicyError> {
        let own = schema::action_of_tool(tool);
        let refuse = |error: Fault| PolicyError::new("policies", &error);
        let named = self.named.iter().map(String::as_str);
        let schema = schema::of_tool(tool, &Shapes::of(parameters), named).map_err(refuse)?;
        let actions = [own, TOOL_CALL.to_owned(), "effect".to_owned()];
        let late = self.rules.values().filter(|rule| rule.is_typed() && rule.is_about_action(&actions));
        validate(&schema, late.map(|rule| rule.policy.clone()).collect()).map_err(refuse)
    }

    /// What a part of the policies said before, or says now.
    pub(crate) fn answered(
        &self,
        seat: Seat,
        question: &Question,
        part: &Part,
        evaluate: impl FnOnce() -> Result<Answer, Fault>,
    ) -> Result<Answer, Fault> {
        let Some(kept_as) = part.kept_as(question) else { return evaluate() };
        let key = (seat, part.half, kept_as);
        if let Some(answer) = self.kept().answers.get(&key) {
            return Ok(answer.clone());
        }
        let answer = evaluate()?;
        let mut kept = self.kept();
        if kept.answers.len() >= ANSWERS_MAX {
            kept.answers.clear();
        }
        kept.answers.insert(key, answer.clone());
        Ok(answer)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        // A poisoned lock only means that another thread panicked between two complete writes.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The guard rail that is generated for each tool with an action of its own: the action is about that tool. A
/// permit for one tool's action is none for another tool.
pub(crate) fn names_its_tool(tool: &str) -> Result<Policy, Fault> {
    let written = json!({
        "effect": "forbid",
        "principal": {"op": "All"},
        "action": {"op": "==", "entity": {"type": "Action", "id": schema::action_of_tool(tool)}},
        "resource": {"op": "All"},
        "conditions": [{"kind": "unless", "body": {"==": {
            "left": {"Var": "resource"},
            "right": {"Value": {"__entity": {"type": "Tool", "id": tool}}}}}}],
    });
    Ok(Policy::from_json(Some(PolicyId::new(format!("guard.action-names-its-tool:{tool}"))), written)?)
}

fn validate(schema: &Schema, policies: Vec<cedar_policy::Policy>) -> Result<(), Fault> {
    if policies.is_empty() {
        return Ok(());
    }
    let set = cedar_policy::PolicySet::from_policies(policies)?;
    let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
    match result.validation_errors().next() {
        Some(error) => Err(error.to_string().into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tenure_journal::{AgentId, ApprovalMode, Fresh, ProjectId, Timestamp, ToolEffect};

    use super::*;
    use crate::question::Sight;
    use crate::{Action, AgentFacts, Facts, PolicySource, Principal, Request, ToolFacts, ToolLabels};

    fn question(name: &str, arguments: &Value, parameters: &Value) -> Question {
        let fresh = Fresh::new(Timestamp::from_millis(1), 1);
        let project = ProjectId::fresh(&fresh);
        let principal = Principal::Agent(AgentFacts {
            project,
            agent_id: AgentId::fresh(&fresh),
            agent_name: Some("a"),
            version: None,
            frozen: false,
        });
        let tool = ToolFacts {
            server: "pay",
            name,
            builtin: false,
            read_only: false,
            destructive: false,
            labels: ToolLabels::of_builtin(ToolEffect::Write),
            parameters: Some(parameters),
        };
        let action = Action::ToolCall { tool, mode: ApprovalMode::Never };
        let facts = Facts::neutral();
        let request = Request { project, principal, behind: None, action, arguments, facts };
        Question::of(&request, Sight::Arguments)
    }

    #[test]
    fn the_action_of_one_tool_is_refused_with_another() {
        let text = r#"@id("p") permit (principal, action == Action::"tool.call:pay/refund", resource);"#;
        let source = PolicySource { name: "p.cedar".into(), text: text.into() };
        let policies = PolicySet::new(&[source]).expect("valid");
        let (arguments, parameters) = (json!({}), json!({"properties": {}}));
        let refund = question("refund", &arguments, &parameters);
        let transfer = question("transfer", &arguments, &parameters);
        let set = policies.set_for(Seat::Asking, &refund).expect("a set");
        let said = |question: Question| {
            let question = question.with_arguments().expect("no arguments");
            policies.answer_of(Seat::Asking, &set, &question).expect("evaluated").policies().join(",")
        };
        assert_eq!(said(refund), "default.unattended-tool,p");
        assert_eq!(said(transfer), "guard.action-names-its-tool:pay/refund");
    }
}

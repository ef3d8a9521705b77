//! Decisions, and the permits that only they can make.

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression,
};
use tenure_journal::{ApprovalId, GrantNumber, PermitRecord, json};

use crate::{Action, PolicySet, Principal, Request, ToolFacts};

/// Answers kept before all are dropped: more distinct questions than a busy project asks.
const ANSWERS_MAX: usize = 10_000;

/// Proof that policy allowed one effect with exactly these arguments.
///
/// INVARIANT: made only by [`PolicySet::decide`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit(PermitRecord);

impl Permit {
    /// The evidence, to be journaled with the effect.
    #[must_use]
    pub fn into_record(self) -> PermitRecord {
        self.0
    }

    /// The same, with the grant that covers what it permits.
    #[must_use]
    pub fn covered_by(mut self, grant: Option<GrantNumber>) -> Self {
        self.0.grant = grant;
        self
    }
}

/// What policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Allow(Permit),
    /// Only if a person approves exactly this.
    Ask(Hold),
    /// No.
    Deny(Denial),
}

/// A request that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Digest of the canonical arguments; the approval binds it.
    pub digest: String,
    /// Ids of the policies that would allow it then.
    pub policies: Vec<String>,
}

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Ids of the policies that forbid it; empty when none permits it.
    pub policies: Vec<String>,
}

/// A person's approval of exact arguments.
#[derive(Debug, Clone, Copy)]
pub struct Approved<'a> {
    /// The approval.
    pub id: ApprovalId,
    /// Digest of the arguments that were shown.
    pub digest: &'a str,
}

/// A request without its arguments, which no policy of this schema can see.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Question {
    agent: String,
    project: String,
    action: &'static str,
    resource: Vec<String>,
    approved: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    allowed: bool,
    policies: Vec<String>,
}

impl PolicySet {
    /// Decides `request`, with an approval where a person gave one.
    ///
    /// An approval of other arguments counts as none.
    #[must_use]
    pub fn decide(&self, request: &Request<'_>, approved: Option<Approved<'_>>) -> Verdict {
        let digest = json::digest(request.arguments);
        let approved = approved.filter(|approved| approved.digest == digest);
        let answer = self.answer(request, approved.is_some());
        if answer.allowed {
            return Verdict::Allow(Permit(PermitRecord {
                policies: answer.policies,
                policy_digest: self.digest.clone(),
                arguments_digest: digest,
                approval: approved.map(|approved| approved.id),
                grant: None,
            }));
        }
        let may_ask = approved.is_none() && matches!(request.action, Action::ToolCall { .. });
        if may_ask {
            let with_approval = self.answer(request, true);
            if with_approval.allowed {
                return Verdict::Ask(Hold { digest, policies: with_approval.policies });
            }
        }
        Verdict::Deny(Denial { policies: answer.policies })
    }

    fn answer(&self, request: &Request<'_>, approved: bool) -> Answer {
        let question = Question::of(request, approved);
        // A poisoned lock only means that another thread panicked between two complete writes.
        let mut answers = self.answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(answer) = answers.get(&question) {
            return answer.clone();
        }
        let answer = self
            .evaluate(request, approved)
            .unwrap_or_else(|_| Answer { allowed: false, policies: vec!["evaluation-error".into()] });
        if answers.len() >= ANSWERS_MAX {
            answers.clear();
        }
        answers.insert(question, answer.clone());
        answer
    }

    fn evaluate(
        &self,
        request: &Request<'_>,
        approved: bool,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let principal = principal_entity(&request.principal)?;
        let (resources, context) = match request.action {
            Action::ModelCall(call) => (vec![plain_entity("Model", call.model)?], Context::empty()),
            Action::ToolsList { server } => (vec![plain_entity("Server", server)?], Context::empty()),
            Action::ToolCall { tool, mode } => {
                let context = tool_context(mode.as_str(), approved)?;
                (vec![tool_entity(&tool)?, plain_entity("Server", tool.server)?], context)
            }
        };
        let cedar_request = cedar_policy::Request::new(
            principal.uid(),
            uid("Action", request.action.name())?,
            resources[0].uid(),
            context,
            Some(&self.schema),
        )?;
        let entities = Entities::from_entities(
            resources.into_iter().chain([principal]).collect::<Vec<_>>(),
            Some(&self.schema),
        )?;
        let response = self.authorizer.is_authorized(&cedar_request, &self.policies, &entities);
        // A policy that fails to evaluate is skipped by Cedar; a skipped `forbid` would allow. So any error denies.
        let sound = response.diagnostics().errors().next().is_none();
        let mut policies: Vec<_> = response.diagnostics().reason().map(ToString::to_string).collect();
        policies.sort();
        Ok(Answer { allowed: sound && response.decision() == Decision::Allow, policies })
    }
}

impl Question {
    fn of(request: &Request<'_>, approved: bool) -> Self {
        let resource = match request.action {
            Action::ModelCall(call) => vec![call.model.to_owned()],
            Action::ToolsList { server } => vec![server.to_owned()],
            Action::ToolCall { tool, mode } => vec![
                tool.server.to_owned(),
                tool.name.to_owned(),
                format!("{}/{}/{}", tool.builtin, tool.read_only, tool.destructive),
                mode.as_str().to_owned(),
            ],
        };
        Self {
            agent: agent_name(&request.principal),
            project: request.principal.project.to_string(),
            action: request.action.name(),
            resource,
            approved,
        }
    }
}

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn agent_name(principal: &Principal<'_>) -> String {
    principal.agent_name.map_or_else(|| principal.agent_id.to_string(), ToOwned::to_owned)
}

fn uid(kind: &str, id: &str) -> Fallible<EntityUid> {
    let kind: EntityTypeName = kind.parse()?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

fn plain_entity(kind: &str, id: &str) -> Fallible<Entity> {
    Ok(Entity::new_no_attrs(uid(kind, id)?, HashSet::new()))
}

fn text(value: impl Into<String>) -> RestrictedExpression {
    RestrictedExpression::new_string(value.into())
}

fn principal_entity(principal: &Principal<'_>) -> Fallible<Entity> {
    let name = agent_name(principal);
    let attributes = HashMap::from([
        ("name".to_owned(), text(name.clone())),
        ("project".to_owned(), text(principal.project.to_string())),
    ]);
    Ok(Entity::new(uid("Agent", &name)?, attributes, HashSet::new())?)
}

fn tool_entity(tool: &ToolFacts<'_>) -> Fallible<Entity> {
    let attributes = HashMap::from([
        ("server".to_owned(), text(tool.server)),
        ("name".to_owned(), text(tool.name)),
        ("builtin".to_owned(), RestrictedExpression::new_bool(tool.builtin)),
        ("read_only".to_owned(), RestrictedExpression::new_bool(tool.read_only)),
        ("destructive".to_owned(), RestrictedExpression::new_bool(tool.destructive)),
    ]);
    let parents = HashSet::from([uid("Server", tool.server)?]);
    Ok(Entity::new(uid("Tool", &tool.id())?, attributes, parents)?)
}

fn tool_context(mode: &str, approved: bool) -> Fallible<Context> {
    let mut pairs = vec![("approval_mode".to_owned(), text(mode))];
    if approved {
        // The digest itself was compared before; policies only need to know that it is there.
        let record = RestrictedExpression::new_record([("digest".to_owned(), text("bound"))])?;
        pairs.push(("approval".to_owned(), record));
    }
    Ok(Context::from_pairs(pairs)?)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tenure_journal::{AgentId, ApprovalMode, Fresh, ProjectId, Timestamp};

    use super::*;
    use crate::{Facts, ModelCall, PolicySource, ToolLabels};

    fn request<'a>(action: Action<'a>, arguments: &'a Value) -> Request<'a> {
        let fresh = Fresh::new(Timestamp::from_millis(1), 1);
        let principal = Principal {
            project: ProjectId::fresh(&fresh),
            agent_id: AgentId::fresh(&fresh),
            agent_name: Some("refunds"),
        };
        Request { principal, action, arguments, facts: Facts::neutral() }
    }

    fn tool(read_only: bool, destructive: bool) -> ToolFacts<'static> {
        ToolFacts {
            server: "payments",
            name: "refund",
            builtin: false,
            read_only,
            destructive,
            labels: ToolLabels::of_annotations(read_only, destructive),
        }
    }

    #[track_caller]
    fn check(policies: &PolicySet, action: Action<'_>, expected: &str) {
        let arguments = json!({"amount": 5});
        let found = match policies.decide(&request(action, &arguments), None) {
            Verdict::Allow(permit) => format!("allow {}", permit.into_record().policies.join(",")),
            Verdict::Ask(hold) => format!("ask {}", hold.policies.join(",")),
            Verdict::Deny(denial) => format!("deny {}", denial.policies.join(",")),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn defaults_ask_as_the_agent_is_set() {
        let policies = PolicySet::defaults();
        let call =
            |read_only, destructive, mode| Action::ToolCall { tool: tool(read_only, destructive), mode };
        check(
            &policies,
            Action::ModelCall(ModelCall::new("m", Timestamp::EPOCH)),
            "allow default.model-call",
        );
        check(&policies, Action::ToolsList { server: "s" }, "allow default.tools-list");
        check(&policies, call(false, true, ApprovalMode::Never), "allow default.unattended-tool");
        check(&policies, call(false, true, ApprovalMode::Destructive), "ask default.approved-tool");
        check(&policies, call(false, false, ApprovalMode::Destructive), "allow default.unattended-tool");
        check(&policies, call(false, false, ApprovalMode::Writes), "ask default.approved-tool");
        check(&policies, call(true, false, ApprovalMode::Writes), "allow default.unattended-tool");
        check(&policies, call(true, false, ApprovalMode::Always), "ask default.approved-tool");
    }

    #[test]
    fn a_forbid_wins_over_an_approval() {
        let text = r#"@id("no-refunds") forbid (principal, action == Action::"tool.call",
            resource == Tool::"payments/refund");"#;
        let source = PolicySource { name: "refunds.cedar".into(), text: text.into() };
        let policies = PolicySet::new(&[source]).expect("valid");
        let action = Action::ToolCall { tool: tool(false, true), mode: ApprovalMode::Destructive };
        check(&policies, action, "deny no-refunds");
    }

    #[test]
    fn an_approval_counts_for_its_exact_arguments_only() {
        let policies = PolicySet::defaults();
        let action = Action::ToolCall { tool: tool(false, true), mode: ApprovalMode::Destructive };
        let (five, six) = (json!({"amount": 5}), json!({"amount": 6}));
        let id = ApprovalId::fresh(&Fresh::new(Timestamp::from_millis(1), 2));
        let digest = json::digest(&five);
        let approved = Some(Approved { id, digest: &digest });
        let Verdict::Allow(permit) = policies.decide(&request(action, &five), approved) else {
            panic!("approved arguments are allowed")
        };
        assert_eq!(permit.into_record().approval, Some(id));
        assert!(matches!(policies.decide(&request(action, &six), approved), Verdict::Ask(_)));
    }

    #[test]
    fn refuses_policies_that_cannot_be_trusted() {
        let refusal = |text: &str| {
            PolicySet::new(&[PolicySource { name: "p.cedar".into(), text: text.into() }])
                .expect_err("refused")
                .to_string()
        };
        assert!(refusal("permit(principal, action, resource)").starts_with("p.cedar: "));
        assert!(refusal("permit(principal, action, resource);").contains("without an id"));
        assert!(
            refusal(r#"@id("default.model-call") permit(principal, action, resource);"#)
                .contains("used twice")
        );
        let misspelt = r#"@id("x") forbid(principal, action == Action::"tool.call", resource)
            when { resource.destrutive };"#;
        assert!(refusal(misspelt).contains("destrutive"));
    }
}

//! Requests to start from, and verdicts as text.

use serde_json::Value;
use tenure_journal::{
    AgentId, ApprovalId, ApprovalMode, Fresh, Labels, ProjectId, Timestamp, ToolEffect, json as strict,
};
use tenure_policy::{
    Action, AgentFacts, Approved, Facts, PartyFacts, PolicySet, PolicySource, Principal, Request, ToolFacts,
    ToolLabels, Verdict,
};

pub(crate) static NULL: Value = Value::Null;

pub(crate) fn project(number: u64) -> ProjectId {
    ProjectId::fresh(&Fresh::new(Timestamp::from_millis(1), number))
}

pub(crate) fn agent() -> AgentFacts<'static> {
    AgentFacts {
        project: project(1),
        agent_id: AgentId::fresh(&Fresh::new(Timestamp::from_millis(1), 2)),
        agent_name: Some("refunds"),
        version: Some(3),
        frozen: false,
    }
}

pub(crate) fn party<'a>(id: &'a str, groups: &'a [String]) -> PartyFacts<'a> {
    PartyFacts { project: project(1), id, name: id, active: true, groups }
}

pub(crate) fn groups(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

pub(crate) fn request<'a>(action: Action<'a>, arguments: &'a Value) -> Request<'a> {
    let principal = Principal::Agent(agent());
    Request { project: project(1), principal, behind: None, action, arguments, facts: Facts::neutral() }
}

pub(crate) fn flowing<'a>(flow: &'a Labels) -> Facts<'a> {
    Facts { flow, ..Facts::neutral() }
}

/// A tool of `payments` that does this to the world.
pub(crate) fn tool(name: &'static str, effect: ToolEffect) -> ToolFacts<'static> {
    let read_only = effect == ToolEffect::Read;
    let destructive = matches!(effect, ToolEffect::Destroy | ToolEffect::Pay);
    let labels = ToolLabels { effect, ..ToolLabels::of_annotations(read_only, destructive) };
    ToolFacts { server: "payments", name, builtin: false, read_only, destructive, labels, parameters: None }
}

pub(crate) fn call<'a>(tool: ToolFacts<'a>) -> Action<'a> {
    Action::ToolCall { tool, mode: ApprovalMode::Never }
}

pub(crate) fn set(text: &str) -> PolicySet {
    PolicySet::new(&[source(text)]).expect("valid policies")
}

pub(crate) fn source(text: &str) -> PolicySource {
    PolicySource { name: "p.cedar".into(), text: text.into() }
}

/// The verdict on `request`, approved by so many people.
pub(crate) fn verdict(policies: &PolicySet, request: &Request<'_>, approvers: u32) -> Verdict {
    let id = ApprovalId::fresh(&Fresh::new(Timestamp::from_millis(1), 3));
    let digest = strict::digest(request.arguments);
    let approved = (approvers > 0).then_some(Approved { id, digest: &digest, approvers });
    policies.decide(request, approved)
}

pub(crate) fn said(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Allow(permit) => format!("allow {}", permit.clone().into_record().policies.join(",")),
        Verdict::Ask(hold) => {
            format!("ask {} of {}: {}", hold.quorum, hold.groups.join(","), hold.policies.join(","))
        }
        Verdict::Deny(denial) => match &denial.fault {
            Some(fault) => format!("fault {fault}"),
            None => format!("deny {}", denial.policies.join(",")),
        },
    }
}

#[track_caller]
pub(crate) fn check(policies: &PolicySet, request: &Request<'_>, expected: &str) {
    assert_eq!(said(&verdict(policies, request, 0)), expected);
    // What was kept says the same.
    assert_eq!(said(&verdict(policies, request, 0)), expected, "asked again");
}

//! What a decision costs with many policies, and how long it takes until they can be decided with.

use std::hint::black_box;
use std::time::Instant;

use serde_json::json;
use tenure_journal::{AgentId, ApprovalMode, Fresh, ProjectId, Timestamp};
use tenure_policy::{
    Action, AgentFacts, Facts, PolicySet, PolicySource, Principal, Request, ToolFacts, ToolLabels, Verdict,
};

use super::{Benchmark, Row, failed};
use crate::cli::error::CliError;

/// Policies of the project.
const POLICIES: usize = 1_000;
/// Decisions, each with arguments of its own, so that none is remembered.
const DECISIONS: usize = 20_000;
const DECISION_GOAL: &str = "under 100 us of processor time";
const PUBLISH_GOAL: &str = "under 30000 ms";

pub(super) fn measure() -> Result<Vec<Row>, CliError> {
    let source = PolicySource { name: "bench.cedar".into(), text: text() };
    let began = Instant::now();
    let policies = PolicySet::new(&[source]).map_err(|error| failed("publishing", error))?;
    let published = began.elapsed().as_secs_f64() * 1_000.0;
    let mut taken = decide(&policies)?;
    taken.sort_by(f64::total_cmp);
    let at = |part: f64| taken.get((taken.len() as f64 * part) as usize).copied().unwrap_or(0.0);
    let what = |which: &str| format!("a decision on a call of a tool, {POLICIES} policies, {which}");
    Ok(vec![
        Row::new(Benchmark::Policy, what("median"), at(0.5), "us"),
        Row::new(Benchmark::Policy, what("99 of 100"), at(0.99), "us").goal(DECISION_GOAL),
        Row::new(Benchmark::Policy, format!("publishing {POLICIES} policies"), published, "ms")
            .goal(PUBLISH_GOAL),
    ])
}

/// Policies as a company has them: most about one tool of one agent, some about all.
fn text() -> String {
    let one = |n: usize| {
        match n % 10 {
        0 => format!(
            "@id(\"p{n}\") forbid (principal, action == Action::\"tool.call\", resource in Server::\"s{}\")
             when {{ context.flow.integrity < 2 && resource.effect == \"pay\" }};\n",
            n / 100
        ),
        1 => format!(
            "@id(\"p{n}\") forbid (principal, action == Action::\"model.call\", resource == Model::\"m{n}\");\n"
        ),
        2 => format!(
            "@id(\"p{n}\") @ask(\"finance\") forbid (principal, action == Action::\"tool.call:s1/t{n}\", resource)
             when {{ context.args.amount.greaterThan(decimal(\"500.0\")) }} unless {{ context has approval }};\n"
        ),
        _ => format!(
            "@id(\"p{n}\") forbid (principal == Agent::\"a{}\", action == Action::\"tool.call\",
             resource == Tool::\"s{}/t{n}\") unless {{ context has approval }};\n",
            n % 7,
            n / 100
        ),
    }
    };
    (0..POLICIES).map(one).collect()
}

/// Microseconds of processor time that each of many decisions took.
fn decide(policies: &PolicySet) -> Result<Vec<f64>, CliError> {
    let fresh = Fresh::new(Timestamp::from_millis(1), 1);
    let project = ProjectId::fresh(&fresh);
    let agent_id = AgentId::fresh(&fresh);
    let principal = Principal::Agent(AgentFacts {
        project,
        agent_id,
        agent_name: Some("a1"),
        version: Some(1),
        frozen: false,
    });
    let parameters = json!({"properties": {"to": {"type": "string"}, "amount": {"type": "number"}}, "required": ["amount"]});
    let tool = ToolFacts {
        server: "s1",
        name: "t102",
        builtin: false,
        read_only: false,
        destructive: true,
        labels: ToolLabels::of_annotations(false, true),
        parameters: Some(&parameters),
    };
    let action = Action::ToolCall { tool, mode: ApprovalMode::Never };
    let mut taken = Vec::with_capacity(DECISIONS);
    for number in 0..DECISIONS {
        let arguments = json!({"to": "somebody", "amount": number % 400});
        let facts = Facts::neutral();
        let request = Request { project, principal, behind: None, action, arguments: &arguments, facts };
        let began = processor_us();
        let verdict = black_box(policies.decide(&request, None));
        taken.push(processor_us() - began);
        if !matches!(verdict, Verdict::Allow(_)) {
            return Err(failed("deciding", "what is allowed was refused"));
        }
    }
    // The first finds out which policies matter, once for each kind of request.
    Ok(taken.split_off(1))
}

/// Microseconds of processor time that this thread has used.
fn processor_us() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1_000_000.0 + time.tv_nsec as f64 / 1_000.0
}

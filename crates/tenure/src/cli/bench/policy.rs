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

/// Policies of the project: few, as many as the goal is for, and more.
pub(super) const SIZES: [usize; 3] = [31, POLICIES, 5_000];
/// As many as the goal is for.
pub(super) const POLICIES: usize = 1_000;
/// Decisions, each with arguments of its own, so that none is remembered.
const DECISIONS: usize = 10_000;
/// Decisions by Cedar alone, which takes a hundred times as long where there are many policies.
const BARE_DECISIONS: usize = 200;
const DECISION_GOAL: &str = "under 100 us of processor time";
pub(super) const PUBLISH_GOAL: &str = "under 30000 ms";

pub(super) fn measure() -> Result<Vec<Row>, CliError> {
    let mut rows = Vec::new();
    for size in SIZES {
        let source = PolicySource { name: "bench.cedar".into(), text: text(size) };
        let began = Instant::now();
        let policies = PolicySet::new(&[source]).map_err(|error| failed("publishing", error))?;
        let published = began.elapsed().as_secs_f64() * 1_000.0;
        let (ours, bare) = (Taken::of(decide(&policies)?), Taken::of(decide_bare(&policies)?));
        let goal = |row: Row| if size == POLICIES { row.goal(DECISION_GOAL) } else { row };
        let what = |which: &str| format!("a decision on a call of a tool, {size} policies, {which}");
        let row = Row::new(Benchmark::Policy, what("median"), ours.at(0.5), "us");
        rows.push(row.beside("us by Cedar alone", bare.at(0.5)));
        let row = Row::new(Benchmark::Policy, what("99 of 100"), ours.at(0.99), "us");
        rows.push(goal(row.beside("us by Cedar alone", bare.at(0.99))));
        let row =
            Row::new(Benchmark::Policy, format!("reading and checking {size} policies"), published, "ms");
        rows.push(if size == POLICIES { row.goal(PUBLISH_GOAL) } else { row });
    }
    Ok(rows)
}

/// Microseconds that decisions took, in order.
struct Taken(Vec<f64>);

impl Taken {
    fn of(mut taken: Vec<f64>) -> Self {
        taken.sort_by(f64::total_cmp);
        Self(taken)
    }

    fn at(&self, part: f64) -> f64 {
        self.0.get((self.0.len() as f64 * part) as usize).copied().unwrap_or(0.0)
    }
}

/// Policies as a company has them: most about one tool of one agent, some about all.
pub(super) fn text(size: usize) -> String {
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
    (0..size).map(one).collect()
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
        name: "t22",
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

/// The same by Cedar's own authorizer over all policies at once, with a request and entities that are made already.
fn decide_bare(policies: &PolicySet) -> Result<Vec<f64>, CliError> {
    let parts = policies.text();
    let sources = parts.sources.iter().map(|source| source.text.as_str());
    let text = [parts.guard_rails.as_str(), &parts.defaults].into_iter().chain(sources).collect::<String>();
    let policies: cedar_policy::PolicySet =
        text.parse().map_err(|error| failed("reading policies for Cedar alone", error))?;
    let refuse = |error: &dyn std::fmt::Display| failed("asking Cedar alone", error.to_string());
    let entities = json!([
        {"uid": {"type": "Agent", "id": "a1"}, "parents": [],
         "attrs": {"name": "a1", "project": "p", "version": 1, "frozen": false}},
        {"uid": {"type": "Tool", "id": "s1/t22"}, "parents": [{"type": "Server", "id": "s1"}],
         "attrs": {"server": "s1", "name": "t22", "project": "p", "builtin": false, "read_only": false,
                   "destructive": true, "effect": "destroy", "clearance": 3, "pinned": true}},
        {"uid": {"type": "Action", "id": "tool.call:s1/t22"}, "attrs": {},
         "parents": [{"type": "Action", "id": "tool.call"}]},
    ]);
    let entities = cedar_policy::Entities::from_json_value(entities, None).map_err(|error| refuse(&error))?;
    let context = json!({
        "flow": {"integrity": 3, "confidentiality": 0, "categories": [], "region_bound": false, "regions": []},
        "chain": {"on_behalf_of": false, "depth": 0}, "calls_so_far": 0, "untrusted_arguments": false,
        "grant_matches": false, "quarantined": false, "approval_mode": "never",
        "args": {"to": "somebody", "amount": {"__extn": {"fn": "decimal", "arg": "17.0"}}},
    });
    let context = cedar_policy::Context::from_json_value(context, None).map_err(|error| refuse(&error))?;
    let uid = |text: &str| text.parse::<cedar_policy::EntityUid>().map_err(|error| refuse(&error));
    let request = cedar_policy::Request::new(
        uid("Agent::\"a1\"")?,
        uid("Action::\"tool.call:s1/t22\"")?,
        uid("Tool::\"s1/t22\"")?,
        context,
        None,
    );
    let request = request.map_err(|error| refuse(&error))?;
    let authorizer = cedar_policy::Authorizer::new();
    let mut taken = Vec::with_capacity(BARE_DECISIONS);
    for _ in 0..BARE_DECISIONS {
        let began = processor_us();
        let response = black_box(authorizer.is_authorized(&request, &policies, &entities));
        taken.push(processor_us() - began);
        if response.decision() != cedar_policy::Decision::Allow || response.diagnostics().errors().count() > 0
        {
            return Err(failed("deciding", "what is allowed was refused by Cedar alone"));
        }
    }
    Ok(taken)
}

/// Microseconds of processor time that this thread has used.
fn processor_us() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1_000_000.0 + time.tv_nsec as f64 / 1_000.0
}

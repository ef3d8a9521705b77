//! Many policies: those that cannot matter are left out beforehand, and that changes no decision.

use serde_json::Value;
use tenure_journal::{ApprovalMode, Timestamp, ToolEffect};
use tenure_policy::{Action, Facts, FindingKind, ModelCall, PolicySet, Request};

use crate::support::{NULL, call, request, said, set, source, tool, verdict};

/// A part of a scope, and whether it fits the agent `refunds`, this action, and this resource.
type Part = (&'static str, fn(&str) -> bool);

const PRINCIPALS: [Part; 4] = [
    ("principal", |_| true),
    (r#"principal == Agent::"refunds""#, |_| true),
    (r#"principal == Agent::"other""#, |_| false),
    ("principal is Agent", |_| true),
];
const ACTIONS: [Part; 7] = [
    ("action", |_| true),
    (r#"action == Action::"tool.call""#, |asked| asked.starts_with("tool:")),
    (r#"action in Action::"tool.call""#, |asked| asked.starts_with("tool:")),
    (r#"action in Action::"effect""#, |asked| asked.starts_with("tool:")),
    (r#"action == Action::"model.call""#, |asked| asked.starts_with("model:")),
    (r#"action in [Action::"tools.list", Action::"model.call"]"#, |asked| {
        asked.starts_with("model:") || asked.starts_with("list:")
    }),
    (r#"action == Action::"tool.call:payments/refund""#, |asked| asked == "tool:payments/refund"),
];
const RESOURCES: [Part; 6] = [
    ("resource", |_| true),
    ("resource is Tool", |asked| asked.starts_with("tool:")),
    (r#"resource in Server::"payments""#, |asked| asked.ends_with("payments") || asked.contains("payments/")),
    (r#"resource == Server::"payments""#, |asked| asked == "list:payments"),
    (r#"resource == Tool::"payments/refund""#, |asked| asked == "tool:payments/refund"),
    (r#"resource == Model::"m""#, |asked| asked == "model:m"),
];

fn every_scope() -> Vec<(String, [Part; 3])> {
    let mut all = Vec::new();
    for (p, principal) in PRINCIPALS.into_iter().enumerate() {
        for (a, action) in ACTIONS.into_iter().enumerate() {
            for (r, resource) in RESOURCES.into_iter().enumerate() {
                all.push((format!("f{p}{a}{r}"), [principal, action, resource]));
            }
        }
    }
    all
}

#[test]
fn exactly_the_policies_that_fit_decide() {
    let scopes = every_scope();
    let text: String = scopes
        .iter()
        .map(|(id, [(principal, _), (action, _), (resource, _)])| {
            format!("@id(\"{id}\") forbid ({principal}, {action}, {resource});\n")
        })
        .collect();
    let policies = set(&text);
    let schema: Value = serde_json::json!({"properties": {"order": {"type": "string"}}});
    let mut of_schema = tool("refund", ToolEffect::Send);
    of_schema.parameters = Some(&schema);
    for (asked, action) in [
        ("tool:payments/refund", call(of_schema)),
        ("tool:payments/list", call(tool("list", ToolEffect::Read))),
        ("list:payments", Action::ToolsList { server: "payments" }),
        ("list:mail", Action::ToolsList { server: "mail" }),
        ("model:m", Action::ModelCall(ModelCall::new("m", Timestamp::EPOCH))),
        ("model:n", Action::ModelCall(ModelCall::new("n", Timestamp::EPOCH))),
    ] {
        let fits = |parts: &[Part; 3]| parts.iter().all(|(_, fits)| fits(asked));
        let expected: Vec<&str> =
            scopes.iter().filter(|(_, parts)| fits(parts)).map(|(id, _)| id.as_str()).collect();
        let found = said(&verdict(&policies, &request(action, &NULL), 0));
        assert_eq!(found, format!("deny {}", expected.join(",")), "{asked}");
    }
}

/// The id of a policy, its effect and condition, and whether it holds.
type Reading = (&'static str, &'static str, fn(bool, u64) -> bool);

/// Policies by what they read: what stays the same from one call to the next, what does not, and both.
const READING: [Reading; 6] = [
    ("f-args", "forbid/context.args.amount > 1", |_, amount| amount > 1),
    ("f-both", "forbid/context.grant_matches && context.args.amount > 0", |grant, amount| {
        grant && amount > 0
    }),
    ("f-grant", "forbid/context.grant_matches", |grant, _| grant),
    ("p-args", "permit/context.args.amount > 0", |_, amount| amount > 0),
    ("p-both", "permit/!context.grant_matches && context.args.amount > 1", |grant, amount| {
        !grant && amount > 1
    }),
    ("p-grant", "permit/!context.grant_matches", |grant, _| !grant),
];

#[test]
fn answers_that_are_kept_change_no_decision() {
    let schema = serde_json::json!({"properties": {"amount": {"type": "integer"}}, "required": ["amount"]});
    let mut of_schema = tool("refund", ToolEffect::Read);
    of_schema.parameters = Some(&schema);
    let action = Action::ToolCall { tool: of_schema, mode: ApprovalMode::Always };
    for chosen in 0_u32..1 << READING.len() {
        let rules = READING.iter().enumerate().filter(|(place, _)| chosen & (1 << place) != 0);
        let rules: Vec<_> = rules.map(|(_, rule)| rule).collect();
        let text = rules.iter().map(|(id, rule, _)| {
            let (effect, condition) = rule.split_once('/').expect("an effect and a condition");
            format!(
                "@id(\"{id}\") {effect} (principal, action == Action::\"tool.call:payments/refund\", resource) \
                 when {{ {condition} }};\n"
            )
        });
        let policies = set(&text.collect::<String>());
        // The second time, what can be kept is.
        for (grant_matches, amount) in
            [false, true].into_iter().flat_map(|grant| [0, 1, 2, 0, 1, 2].map(|it| (grant, it)))
        {
            let arguments = serde_json::json!({ "amount": amount });
            let facts = Facts { grant_matches, ..Facts::neutral() };
            let said = said(&verdict(&policies, &Request { facts, ..request(action, &arguments) }, 0));
            let holding = |effect: &str| -> Vec<&str> {
                let holds = |rule: &&&Reading| rule.0.starts_with(effect) && (rule.2)(grant_matches, amount);
                rules.iter().filter(holds).map(|(id, ..)| *id).collect()
            };
            let expected = match (holding("f"), holding("p")) {
                (forbid, _) if !forbid.is_empty() => format!("deny {}", forbid.join(",")),
                (_, permit) if !permit.is_empty() => format!("allow {}", permit.join(",")),
                _ => "ask 1 of approvers: default.approved-tool".to_owned(),
            };
            assert_eq!(said, expected, "{chosen:b}, {grant_matches}, {amount}");
        }
    }
}

#[test]
fn a_thousand_policies_are_one_set() {
    let text: String = (0..1_000)
        .map(|n| {
            format!(
                "@id(\"t{n}\") forbid (principal == Agent::\"a{}\", action == Action::\"tool.call\", \
                 resource == Tool::\"payments/t{n}\");\n",
                n % 10
            )
        })
        .collect();
    let policies = set(&text);
    crate::support::check(
        &policies,
        &request(call(tool("refund", ToolEffect::Send)), &NULL),
        "allow default.unattended-tool",
    );
}

#[test]
fn tells_what_authors_should_know() {
    let policies = PolicySet::new(&[source(
        r#"@id("dead") permit (principal is User, action == Action::"session.read", resource is Tool);
           @id("late") forbid (principal, action == Action::"tool.call:payments/refund", resource);
           @id("any") forbid (principal, action == Action::"tool.call", resource) when { context has args };
           @id("sum") forbid (principal, action == Action::"model.call", resource)
             when { context.calls_so_far + 1 > 5 };
           @id("fine") forbid (principal, action == Action::"model.call", resource == Model::"m");"#,
    )])
    .expect("valid");
    let found: Vec<String> = policies
        .findings()
        .expect("readable")
        .into_iter()
        .map(|finding| match finding.kind {
            FindingKind::Unchecked { tools } => format!("{}: unchecked {}", finding.policy, tools.join(",")),
            FindingKind::Unreachable => format!("{}: unreachable", finding.policy),
            FindingKind::MayFail => format!("{}: may fail", finding.policy),
            FindingKind::Confusable => format!("{}: confusable", finding.policy),
        })
        .collect();
    assert_eq!(
        found,
        ["any: unchecked ", "dead: unreachable", "late: unchecked payments/refund", "sum: may fail"]
    );
}

#[test]
fn what_is_shipped_fits_the_schema() {
    PolicySet::check_shipped().expect("strictly valid");
}

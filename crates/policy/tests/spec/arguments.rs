use serde_json::{Value, json};
use tenure_journal::{Integrity, Labels, ToolEffect};
use tenure_policy::{PolicySet, ToolFacts};

use crate::support::{call, check, flowing, request, set, tool};

fn schema() -> Value {
    json!({"type": "object", "required": ["recipient", "amount"], "properties": {
        "recipient": {"type": "string"}, "amount": {"type": "number"}, "memo": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}}, "free": {"type": "object"}}})
}

const LIMIT: &str = r#"
    @id("limit") @ask("finance")
    forbid (principal, action == Action::"tool.call:payments/transfer", resource)
    when { context.args.amount.greaterThan(decimal("500.0")) }
    unless { context has approval };
    @id("known") forbid (principal, action == Action::"tool.call", resource == Tool::"payments/transfer")
    unless { ["anna", "ben"].contains(context.args.recipient) };
    @id("tagged") forbid (principal, action == Action::"tool.call", resource in Server::"payments")
    when { context has args && context.args has tags && context.args.tags.contains("hidden") };
"#;

#[track_caller]
fn check_transfer(policies: &PolicySet, arguments: &Value, expected: &str) {
    let schema = schema();
    let tool = ToolFacts { parameters: Some(&schema), ..tool("transfer", ToolEffect::Pay) };
    check(policies, &request(call(tool), arguments), expected);
}

#[test]
fn policies_see_arguments() {
    let policies = set(LIMIT);
    let allowed = "allow default.unattended-tool";
    let both = "default.approved-tool,default.unattended-tool";
    check_transfer(&policies, &json!({"recipient": "anna", "amount": 5}), allowed);
    check_transfer(&policies, &json!({"recipient": "anna", "amount": 500}), allowed);
    check_transfer(
        &policies,
        &json!({"recipient": "anna", "amount": 500.01}),
        &format!("ask 1 of finance: {both}"),
    );
    check_transfer(&policies, &json!({"recipient": "eve", "amount": 5}), "deny known");
    check_transfer(
        &policies,
        &json!({"recipient": "ben", "amount": 5, "tags": ["a", "hidden"]}),
        "deny tagged",
    );
    check_transfer(&policies, &json!({"recipient": "anna", "amount": 5}), allowed);
}

#[test]
fn what_policies_cannot_see_as_it_is_is_refused() {
    let policies = set(LIMIT);
    check_transfer(
        &policies,
        &json!({"recipient": "anna", "amount": 5.00001}),
        "fault the argument `amount` has more than 4 decimal places, or is too large, for a policy to see",
    );
    check_transfer(
        &policies,
        &json!({"recipient": "anna"}),
        "fault the argument `amount` is not what the tool's schema says",
    );
    // Where no policy looks, nothing has to be seen.
    check_transfer(&PolicySet::defaults(), &json!({"amount": 5.00001}), "allow default.unattended-tool");
}

#[test]
fn what_is_left_out_is_not_trusted() {
    let policies = set(LIMIT);
    let flow = Labels { integrity: Integrity::Untrusted, ..Labels::NEUTRAL };
    let schema = schema();
    let tool = ToolFacts { parameters: Some(&schema), ..tool("transfer", ToolEffect::Pay) };
    let plain = json!({"recipient": "anna", "amount": 5});
    let mut asked = request(call(tool), &plain);
    asked.facts = flowing(&flow);
    asked.facts.grant_matches = true;
    check(&policies, &asked, "allow default.unattended-tool");
    let hidden = json!({"recipient": "anna", "amount": 5, "free": {"iban": "x"}});
    asked.arguments = &hidden;
    check(&policies, &asked, "ask 1 of approvers: default.approved-tool,default.unattended-tool");
}

#[test]
fn a_policy_that_does_not_fit_its_tool_stops_the_tool_alone() {
    let policies =
        set(r#"@id("typo") forbid (principal, action == Action::"tool.call:payments/transfer", resource)
           when { context.args.amuont.greaterThan(decimal("1.0")) };"#);
    let schema = schema();
    let transfer = ToolFacts { parameters: Some(&schema), ..tool("transfer", ToolEffect::Pay) };
    let arguments = json!({"recipient": "anna", "amount": 5});
    let found =
        crate::support::said(&crate::support::verdict(&policies, &request(call(transfer), &arguments), 0));
    assert!(found.starts_with("fault ") && found.contains("amuont"), "{found}");
    let refund = ToolFacts { parameters: Some(&schema), ..tool("refund", ToolEffect::Pay) };
    check(&policies, &request(call(refund), &arguments), "allow default.unattended-tool");
    let error = policies.check_tool("payments/transfer", &schema).expect_err("does not fit").to_string();
    assert!(error.contains("amuont"), "{error}");
    policies.check_tool("payments/refund", &schema).expect("nothing is about it");
}

#[test]
fn an_action_names_its_tool() {
    // The other tool's action is another; a permit for one is none for the other.
    let policies =
        set(r#"@id("none") forbid (principal, action == Action::"tool.call", resource in Server::"payments")
           unless { action == Action::"tool.call:payments/transfer" };"#);
    let schema = schema();
    let arguments = json!({"recipient": "anna", "amount": 5});
    let of = |name| ToolFacts { parameters: Some(&schema), ..tool(name, ToolEffect::Pay) };
    check(&policies, &request(call(of("transfer")), &arguments), "allow default.unattended-tool");
    check(&policies, &request(call(of("refund")), &arguments), "deny none");
}

#[test]
fn two_definitions_of_a_tool_are_told_apart() {
    let policies = set(LIMIT);
    check_transfer(&policies, &json!({"recipient": "anna", "amount": 5}), "allow default.unattended-tool");
    let changed = json!({"properties": {"recipient": {"type": "string"}, "amount": {"type": "string"}}});
    let tool = ToolFacts { parameters: Some(&changed), ..tool("transfer", ToolEffect::Pay) };
    let arguments = json!({"recipient": "anna", "amount": "5"});
    let found =
        crate::support::said(&crate::support::verdict(&policies, &request(call(tool), &arguments), 0));
    assert!(found.starts_with("fault "), "{found}");
    check_transfer(&policies, &json!({"recipient": "anna", "amount": 5}), "allow default.unattended-tool");
}

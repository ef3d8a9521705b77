//! Tools whose arguments policies look at: what is known of them with their descriptions, and without.

use serde_json::json;
use tenure_policy::DescribedTool;

use crate::support::{check, own, set};

fn transfer() -> Vec<DescribedTool> {
    let parameters = json!({
        "properties": {"to": {"type": "string"}, "amount": {"type": "number"}},
        "required": ["to", "amount"],
    });
    vec![DescribedTool { id: "pay/transfer".into(), parameters }]
}

/// The first draft of everybody: a permit of a whole server, and a limit on one of its tools.
const DRAFT: &str = r#"
    @id("attended") forbid (principal is Agent, action == Action::"tool.call", resource)
    unless { resource in Server::"pay" };
    @id("limit") @ask("finance")
    forbid (principal is Agent, action == Action::"tool.call:pay/transfer", resource)
    when { context.args.amount.greaterThan(decimal("500.0")) } unless { context has approval };
"#;
const LARGE: &str = r#"@id("large-needs-two") forbid (principal, action == Action::"tool.call:pay/transfer", resource)
    when { context.args.amount.greaterThan(decimal("500.0")) }
    unless { context has approval && context.approval.approvers >= 2 };"#;

#[test]
fn arguments_are_proven_of_described_tools() {
    let one = "large-needs-two refuted: tool.call:pay/transfer of Tool by Agent";
    check(&set(DRAFT), &own(LARGE), &transfer(), &[one]);
    let two = DRAFT
        .replace("{ context has approval }", "{ context has approval && context.approval.approvers >= 2 }");
    check(&set(&two), &own(LARGE), &transfer(), &["large-needs-two proven"]);
}

#[test]
fn nothing_is_claimed_of_tools_that_nobody_described() {
    let unseen = "large-needs-two unknown: it is about arguments of tools that are not described";
    check(&set(DRAFT), &own(LARGE), &[], &[unseen]);
    // A permit about arguments is taken at its widest, so what it could permit is not proven to be forbidden.
    let no_pay = own(r#"@id("no-pay") forbid (principal is Agent, action in Action::"tool.call", resource)
           when { resource.effect == "pay" };"#);
    let small = r#"
        @id("small") permit (principal is Agent, action == Action::"tool.call:pay/transfer", resource)
        when { context.args.amount.lessThan(decimal("5.0")) };
        @id("none") forbid (principal is Agent, action == Action::"tool.call", resource)
        unless { resource == Tool::"pay/transfer" };
        @id("unattended") forbid (principal is Agent, action == Action::"tool.call", resource)
        when { context.approval_mode == "never" };
    "#;
    check(
        &set(small),
        &no_pay,
        &[],
        &["no-pay unknown: it depends on arguments of tools that are not described: small"],
    );
}

/// A permit for one tool's action is none for another tool, and the generated guard rail says so.
#[test]
fn an_action_names_its_tool() {
    let invariant =
        own(r#"@id("other-tool") forbid (principal, action == Action::"tool.call:pay/transfer", resource)
           unless { resource == Tool::"pay/transfer" };"#);
    check(&set(DRAFT), &invariant, &transfer(), &["other-tool proven"]);
}

use serde_json::json;
use tenure_journal::{ApprovalId, ApprovalMode, Fresh, Timestamp, ToolEffect, json as strict};
use tenure_policy::{Action, Approved, ModelCall, PolicySet, Verdict};

use crate::support::{NULL, call, check, request, said, set, source, tool, verdict};

fn model(name: &str) -> Action<'_> {
    Action::ModelCall(ModelCall::new(name, Timestamp::EPOCH))
}

#[test]
fn defaults_ask_as_the_agent_is_set() {
    let policies = PolicySet::defaults();
    let check_tool = |effect, mode, expected: &str| {
        let action = Action::ToolCall { tool: tool("refund", effect), mode };
        check(&policies, &request(action, &json!({"amount": 5})), expected);
    };
    check(&policies, &request(model("m"), &NULL), "allow default.model-call");
    check(&policies, &request(Action::ToolsList { server: "s" }, &NULL), "allow default.tools-list");
    let asked = "ask 1 of approvers: default.approved-tool";
    let both = "allow default.unattended-tool";
    check_tool(ToolEffect::Destroy, ApprovalMode::Never, both);
    check_tool(ToolEffect::Destroy, ApprovalMode::Destructive, asked);
    check_tool(ToolEffect::Send, ApprovalMode::Destructive, both);
    check_tool(ToolEffect::Send, ApprovalMode::Writes, asked);
    check_tool(ToolEffect::Read, ApprovalMode::Writes, both);
    check_tool(ToolEffect::Read, ApprovalMode::Always, asked);
}

#[test]
fn a_forbid_wins_over_an_approval() {
    let policies = set(r#"@id("no-refunds") forbid (principal, action == Action::"tool.call",
        resource == Tool::"payments/refund");"#);
    let arguments = json!({"amount": 5});
    let asked = request(call(tool("refund", ToolEffect::Pay)), &arguments);
    check(&policies, &asked, "deny no-refunds");
    assert_eq!(said(&verdict(&policies, &asked, 3)), "deny no-refunds");
    check(
        &policies,
        &request(call(tool("list", ToolEffect::Read)), &arguments),
        "allow default.unattended-tool",
    );
}

#[test]
fn an_approval_counts_for_its_exact_arguments_only() {
    let policies = PolicySet::defaults();
    let tool = tool("refund", ToolEffect::Pay);
    let action = Action::ToolCall { tool, mode: ApprovalMode::Destructive };
    let (five, six) = (json!({"amount": 5}), json!({"amount": 6}));
    let id = ApprovalId::fresh(&Fresh::new(Timestamp::from_millis(1), 2));
    let digest = strict::digest(&five);
    let approved = Some(Approved { id, digest: &digest, approvers: 1 });
    let Verdict::Allow(permit) = policies.decide(&request(action, &five), approved) else {
        panic!("approved arguments are allowed")
    };
    assert_eq!(permit.into_record().approval, Some(id));
    assert!(matches!(policies.decide(&request(action, &six), approved), Verdict::Ask(_)));
}

#[test]
fn a_policy_says_how_many_people_approve_and_who() {
    let policies = set(
        r#"@id("two") @ask("finance,board") forbid (principal, action == Action::"tool.call", resource in Server::"payments")
           unless { context has approval && context.approval.approvers >= 2 };"#,
    );
    let asked = request(call(tool("refund", ToolEffect::Pay)), &NULL);
    let unattended = "default.approved-tool,default.unattended-tool";
    check(&policies, &asked, &format!("ask 2 of board,finance: {unattended}"));
    assert_eq!(said(&verdict(&policies, &asked, 1)), format!("ask 2 of board,finance: {unattended}"));
    assert_eq!(said(&verdict(&policies, &asked, 2)), format!("allow {unattended}"));
}

#[test]
fn a_permit_that_waits_for_people_names_them_too() {
    let policies = set(
        r#"@id("only") forbid (principal, action == Action::"tool.call", resource in Server::"payments")
           unless { context has approval };
           @id("paid") @ask("finance") permit (principal, action == Action::"tool.call", resource in Server::"payments")
           when { context has approval };"#,
    );
    let asked = request(
        Action::ToolCall { tool: tool("refund", ToolEffect::Pay), mode: ApprovalMode::Always },
        &NULL,
    );
    // What forbids it names nobody, so everybody may decide who may decide at all.
    check(&policies, &asked, "ask 1 of approvers: default.approved-tool,paid");
    let named = set(
        r#"@id("paid") @ask("finance") permit (principal, action == Action::"tool.call", resource in Server::"payments")
           when { context has approval };"#,
    );
    check(&named, &asked, "ask 1 of finance: default.approved-tool,paid");
}

#[test]
fn what_cannot_be_evaluated_is_denied_and_told() {
    let policies = set(r#"@id("overflow") forbid (principal, action == Action::"model.call", resource)
           when { context.calls_so_far + 9223372036854775807 < 0 };"#);
    let mut asked = request(model("m"), &NULL);
    check(&policies, &asked, "allow default.model-call");
    assert_eq!(policies.tally().faults(), 0);
    asked.facts.calls_so_far = 1;
    let Verdict::Deny(denial) = verdict(&policies, &asked, 0) else { panic!("denied") };
    assert_eq!(denial.policies, ["evaluation-error"]);
    assert!(denial.fault.expect("a fault").contains("overflow"));
    assert_eq!((policies.tally().faults(), policies.tally().denied(), policies.tally().allowed()), (1, 1, 2));
}

#[test]
fn what_a_policy_does_not_read_shares_its_answer_and_what_it_reads_does_not() {
    let policies =
        set(r#"@id("few") forbid (principal, action == Action::"model.call", resource == Model::"m")
           when { context.calls_so_far > 2 };"#);
    for (calls, expected) in
        [(2, "allow default.model-call"), (3, "deny few"), (2, "allow default.model-call")]
    {
        let mut asked = request(model("m"), &NULL);
        asked.facts.calls_so_far = calls;
        check(&policies, &asked, expected);
        let mut other = request(model("other"), &NULL);
        other.facts.calls_so_far = calls;
        check(&policies, &other, "allow default.model-call");
    }
}

#[test]
fn contracts_hold_between_dates() {
    let policies = set(r#"@id("c1") forbid (principal, action == Action::"model.call", resource)
           when { context.now >= datetime("2026-02-27") && context.now < datetime("2026-04-27") &&
                  context.stateless && context.route.vendor == "openai" }
           unless { context.route.provider == "azure" && ["eu", "ch"].contains(context.route.region) };"#);
    let at = |millis: i64, provider: &'static str, region: &'static str| {
        let call = ModelCall::new("m", Timestamp::from_millis(millis));
        let route = tenure_policy::RouteFacts { vendor: "openai", provider, region, ..call.route };
        said(&verdict(&policies, &request(Action::ModelCall(call.through(route)), &NULL), 0))
    };
    let allowed = "allow default.model-call";
    assert_eq!(at(1_772_150_399_999, "openai", "us"), allowed, "a millisecond before");
    assert_eq!(at(1_772_150_400_000, "openai", "us"), "deny c1");
    assert_eq!(at(1_772_150_400_000, "azure", "us"), "deny c1");
    assert_eq!(at(1_772_150_400_000, "azure", "ch"), allowed);
    assert_eq!(at(1_777_247_999_999, "openai", "us"), "deny c1", "a millisecond before the end");
    assert_eq!(at(1_777_248_000_000, "openai", "us"), allowed);
}

#[test]
fn refuses_policies_that_cannot_be_trusted() {
    let refusal = |text: &str| PolicySet::new(&[source(text)]).expect_err("refused").to_string();
    assert!(refusal("permit(principal, action, resource)").starts_with("p.cedar: "));
    assert!(refusal("permit(principal, action, resource);").contains("without an id"));
    for taken in ["default.model-call", "guard.budget"] {
        let text = format!(r#"@id("{taken}") permit(principal, action, resource);"#);
        assert!(refusal(&text).contains("used twice"));
    }
    let misspelt = r#"@id("x") forbid(principal, action == Action::"tool.call", resource)
        when { resource.destrutive };"#;
    assert!(refusal(misspelt).contains("destrutive"));
    let unknown = r#"@id("x") forbid(principal, action == Action::"tool.cal", resource);"#;
    assert!(refusal(unknown).contains("tool.cal"));
    let of_two = r#"@id("x") forbid(principal, action, resource) when { resource.effect == "pay" };"#;
    assert!(refusal(of_two).contains("effect"), "not every resource has one");
}

#[test]
fn policies_of_before_there_were_more_actions_mean_what_they_meant() {
    let policies = set(
        r#"@id("a") forbid (principal == Agent::"refunds", action == Action::"tool.call", resource)
             when { principal.name == "refunds" && resource.server == "payments" && resource.name == "refund" &&
                    !resource.builtin && !resource.read_only && context.approval_mode == "never" };
           @id("b") forbid (principal, action, resource)
             when { action == Action::"tool.call" && resource is Tool && resource.name == "wipe" };
           @id("c") forbid (principal, action == Action::"tools.list", resource == Server::"shop");
           @id("d") forbid (principal, action == Action::"model.call", resource == Model::"big")
             when { principal.project != "other" };"#,
    );
    check(&policies, &request(call(tool("refund", ToolEffect::Send)), &NULL), "deny a");
    check(&policies, &request(call(tool("wipe", ToolEffect::Destroy)), &NULL), "deny b");
    check(&policies, &request(call(tool("list", ToolEffect::Read)), &NULL), "allow default.unattended-tool");
    check(&policies, &request(Action::ToolsList { server: "shop" }, &NULL), "deny c");
    check(&policies, &request(model("big"), &NULL), "deny d");
}

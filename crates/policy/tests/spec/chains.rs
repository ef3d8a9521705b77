use tenure_journal::ToolEffect;
use tenure_policy::{PolicySet, Principal};

use crate::support::{NULL, call, check, groups, party, project, request, set, tool};

#[test]
fn both_the_agent_and_whom_it_acts_for_must_be_allowed() {
    let policies = set(
        r#"@id("no-interns") forbid (principal in Group::"interns", action == Action::"tool.call", resource)
             when { resource.effect == "pay" };
           @id("only-refunds") forbid (principal, action == Action::"tool.call", resource in Server::"payments")
             unless { principal == Agent::"refunds" };"#,
    );
    let (interns, staff) = (groups(&["interns"]), groups(&["staff"]));
    let mut asked = request(call(tool("refund", ToolEffect::Pay)), &NULL);
    check(&policies, &asked, "allow default.unattended-tool");
    asked.behind = Some(Principal::Service(party("key_1", &staff)));
    check(&policies, &asked, "allow default.behalf,default.unattended-tool");
    asked.behind = Some(Principal::User(party("anna", &interns)));
    check(&policies, &asked, "deny no-interns");
}

#[test]
fn who_is_gone_has_no_agent_work_for_them() {
    let policies = PolicySet::defaults();
    let mut asked = request(call(tool("refund", ToolEffect::Pay)), &NULL);
    asked.behind = Some(Principal::User(tenure_policy::PartyFacts { active: false, ..party("anna", &[]) }));
    check(&policies, &asked, "deny guard.inactive-user");
    asked.behind =
        Some(Principal::User(tenure_policy::PartyFacts { project: project(2), ..party("anna", &[]) }));
    check(&policies, &asked, "deny guard.tenant-wall");
}

//! Which policies can fail, which never matter, and where nothing is allowed.

use crate::support::{contract, set, source, whole};
use tenure_policy::PolicySet;

#[test]
fn a_policy_that_can_fail_is_shown_failing() {
    let report = whole(&set(r#"
            @id("sum") forbid (principal is Agent, action == Action::"model.call", resource)
            when { context.calls_so_far + 1 > 5 };
            @id("guarded") forbid (principal is Agent, action == Action::"model.call", resource)
            when { context.calls_so_far < 100 && context.calls_so_far > 0 && context.calls_so_far * 2 > 9 };
            @id("plain") forbid (principal is Agent, action == Action::"model.call", resource)
            when { context.calls_so_far > 5 };
        "#));
    let fallible: Vec<&str> = report.fallible.iter().map(|found| found.policy.as_str()).collect();
    assert_eq!(fallible, ["sum"], "validation warns of both, the proof of one");
    let example = report.fallible[0].example.as_ref().expect("an example");
    assert!(example.context.contains("9223372036854775807"), "{example}");
}

#[test]
fn policies_that_never_matter_are_named() {
    let policies = source(
        r#"
        @id("lives") permit (principal, action == Action::"session.read", resource);
        @id("overruled") permit (principal is Agent, action == Action::"network.connect", resource is Host)
        when { resource.private };
        @id("contracted") permit (principal, action == Action::"model.call", resource)
        when { context.flow.confidentiality == 3 && context.route.provider == "elsewhere" };
        @id("impossible") forbid (principal, action == Action::"model.call", resource)
        when { context.route.region == "eu" && context.route.region == "us" };
        @id("late") forbid (principal, action == Action::"tool.call:pay/transfer", resource);
        "#,
    );
    let report = whole(&PolicySet::with_contracts(&[policies], &[contract()]).expect("valid"));
    let dead: Vec<String> = report.dead.iter().map(|dead| format!("{}: {dead}", dead.policy)).collect();
    assert_eq!(
        dead,
        [
            "contracted: guard rails or contracts forbid all that it permits",
            "impossible: no request can ever fit it",
            "overruled: guard rails or contracts forbid all that it permits",
        ]
    );
}

#[test]
fn where_nothing_is_allowed_is_told() {
    let closed = whole(&set(r#"@id("no") forbid (principal, action == Action::"audit.read", resource);"#));
    assert_eq!(closed.closed, ["audit.read of AuditLog by Service", "audit.read of AuditLog by User"]);
    assert!(whole(&PolicySet::defaults()).closed.is_empty(), "the defaults leave nothing closed");
}

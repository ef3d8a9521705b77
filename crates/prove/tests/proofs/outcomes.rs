//! Policy sets and invariants, and what comes out.

use tenure_policy::{Invariant, PolicySet};

use crate::support::{EVERYTHING, check, contract, own, report, set, shipped, source};

/// Whatever a project permits, guard rails keep what is shipped as invariants.
#[test]
fn what_is_shipped_holds_where_everything_is_permitted() {
    let invariants = Invariant::shipped();
    let expected: Vec<String> = invariants.iter().map(|it| format!("{} proven", it.id)).collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    check(&set(EVERYTHING), &invariants, &[], &expected);
    check(&PolicySet::defaults(), &invariants, &[], &expected);
}

/// The clauses hold inside their dates; a promise without dates does not, and the counterexample lies outside them.
#[test]
fn contracts_hold_inside_their_dates() {
    let contract = contract();
    let with =
        PolicySet::with_contracts(&[source(EVERYTHING)], std::slice::from_ref(&contract)).expect("valid");
    let promised = Invariant::of_contract(&contract).expect("they fit");
    check(
        &with,
        &promised,
        &[],
        &[
            "msa/health-is-not-kept proven",
            "msa/no-batches proven",
            "msa/restricted-stays proven",
            "msa/stateless-on-azure proven",
        ],
    );
    let always = own(r#"@id("always") forbid (principal, action == Action::"model.call", resource)
           when { context.stateless && context.route.vendor == "openai" && context.route.provider != "azure" };"#);
    let report = report(&with, &always, &[]);
    let tenure_prove::Outcome::Refuted(example) = &report.proofs[0].outcome else {
        panic!("{:?}", report.proofs[0].outcome);
    };
    assert_eq!(example.permitted_by, ["all", "default.model-call"]);
    assert_eq!(example.action, r#"Action::"model.call""#);
    for said in ["vendor", "openai", "now"] {
        assert!(example.context.contains(said), "{example}");
    }
    for unreal in ["depth: -", "retention_days: -", "confidentiality: 9", "integrity: -"] {
        assert!(!example.context.contains(unreal), "{example}");
    }
}

/// Without the contract its promises are refuted.
#[test]
fn a_missing_contract_is_found() {
    let promised = Invariant::of_contract(&contract()).expect("they fit");
    let by = "model.call of Model by Agent";
    let expected: Vec<String> = promised.iter().map(|it| format!("{} refuted: {by}", it.id)).collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    check(&set(EVERYTHING), &promised, &[], &expected);
}

#[test]
fn a_project_says_what_it_must_never_allow() {
    let invariants = own(r#"
        @id("restricted-stays") @says("restricted data goes to machines of our own alone")
        forbid (principal, action == Action::"model.call", resource)
        when { context.flow.confidentiality >= 3 && context.route.provider != "self-hosted" };

        @id("interns-do-not-pay")
        forbid (principal in Group::"interns", action in Action::"tool.call", resource)
        when { resource.effect == "pay" };

        @id("nothing-leaves-the-crm")
        forbid (principal, action in Action::"tool.call", resource in Server::"crm")
        when { resource.effect == "send" };
        "#);
    // The agent's half of a decision says enough about what names nobody; what names a group is about whom it acts
    // for.
    let kept = set(r#"
        @id("stays") forbid (principal is Agent, action == Action::"model.call", resource)
        when { context.flow.confidentiality > 2 } unless { context.route.provider == "self-hosted" };
        @id("interns") forbid (principal in Group::"interns", action == Action::"tool.call", resource)
        when { resource.effect == "pay" };
        @id("crm") forbid (principal is Agent, action == Action::"tool.call", resource in Server::"crm")
        unless { resource.effect == "read" };
        "#);
    check(
        &kept,
        &invariants,
        &[],
        &["interns-do-not-pay proven", "nothing-leaves-the-crm proven", "restricted-stays proven"],
    );
    check(
        &PolicySet::defaults(),
        &invariants,
        &[],
        &[
            "interns-do-not-pay refuted: tool.call of Tool by Service, for whom an agent acts",
            "nothing-leaves-the-crm refuted: tool.call of Tool by Agent",
            "restricted-stays refuted: model.call of Model by Agent",
        ],
    );
}

/// What would be proven of nothing is not called proven.
#[test]
fn a_proof_of_nothing_is_vacuous() {
    let private = shipped(&["private-network-is-reached"]);
    let closed = set(
        r#"@id("no") forbid (principal is Agent, action == Action::"network.connect", resource);
                        @id("nor") forbid (principal in Group::"a", action == Action::"network.connect", resource);
                        @id("else") forbid (principal is User, action == Action::"network.connect", resource);
                        @id("keys") forbid (principal is Service, action == Action::"network.connect", resource);"#,
    );
    check(
        &closed,
        &private,
        &[],
        &["private-network-is-reached vacuous: nothing is allowed in any situation that it is about"],
    );
    let nothing = own(r#"@id("nothing") forbid (principal, action == Action::"model.call", resource)
           when { context.flow.integrity < 0 && context.flow.integrity > 0 };"#);
    check(&PolicySet::defaults(), &nothing, &[], &["nothing vacuous: no request is what it forbids"]);
}

//! Sets as text: what was decided with one can be decided again, and two parts are one set or none.

use tenure_journal::ToolEffect;
use tenure_policy::{PolicyError, PolicySet, PolicyText};

use crate::support::{NULL, call, check, request, said, set, source, tool, verdict};

const NO_TRANSFERS: &str = r#"@id("no-transfers") forbid (principal, action == Action::"tool.call", resource == Tool::"payments/transfer");"#;
const NO_REFUNDS: &str = r#"@id("no-refunds") forbid (principal, action == Action::"tool.call", resource == Tool::"payments/refund");"#;

#[test]
fn a_set_of_its_text_is_the_same_set() {
    let before = set(NO_TRANSFERS);
    let stored = serde_json::to_value(before.text()).expect("texts");
    let text: PolicyText = serde_json::from_value(stored).expect("a text");
    assert_eq!(text.digest(), before.digest());
    let again = PolicySet::of_text(&text).expect("valid");
    assert_eq!(again.digest(), before.digest());
    for name in ["transfer", "refund", "list"] {
        let asked = request(call(tool(name, ToolEffect::Write)), &NULL);
        assert_eq!(said(&verdict(&again, &asked, 0)), said(&verdict(&before, &asked, 0)), "{name}");
    }
}

#[test]
fn guard_rails_of_another_release_are_those_of_the_text() {
    let text = PolicySet::defaults().text().clone();
    let asked = request(call(tool("transfer", ToolEffect::Write)), &NULL);
    let other = PolicyText {
        guard_rails: r#"@id("guard.all") forbid (principal, action, resource);"#.into(),
        ..text.clone()
    };
    let set = PolicySet::of_text(&other).expect("valid");
    check(&set, &asked, "deny guard.all");
    assert_eq!(set.digest(), other.digest());
    let none = PolicyText { defaults: String::new(), ..text.clone() };
    check(&PolicySet::of_text(&none).expect("valid"), &asked, "deny ");
    // What the release before asked and decided by.
    let earlier = include_str!("../../policies/earlier/1.cedarschema");
    let before = PolicyText { schema: earlier.into(), ..text.clone() };
    let then = PolicySet::of_text(&before).expect("this schema only adds to that");
    let now = PolicySet::defaults();
    assert_eq!(said(&verdict(&then, &asked, 0)), said(&verdict(&now, &asked, 0)));
    let foreign = PolicyText { schema: "entity Other;".into(), ..text };
    let refused = PolicySet::of_text(&foreign).expect_err("another schema");
    assert!(refused.to_string().contains("another release"), "{refused}");
}

#[test]
fn two_parts_are_one_set() {
    let both = set(NO_TRANSFERS).and(&[source(NO_REFUNDS)]).expect("valid");
    for (name, expected) in [
        ("transfer", "deny no-transfers"),
        ("refund", "deny no-refunds"),
        ("list", "allow default.unattended-tool"),
    ] {
        check(&both, &request(call(tool(name, ToolEffect::Write)), &NULL), expected);
    }
    let written = PolicySet::new(&[source(NO_TRANSFERS), source(NO_REFUNDS)]).expect("valid");
    assert_eq!(both.digest(), written.digest(), "whichever part a policy is in");
}

#[test]
fn a_part_cannot_replace_what_is_in_the_other() {
    let files = set(NO_TRANSFERS);
    for (text, why) in [
        (NO_TRANSFERS.to_owned(), "`no-transfers` is used twice"),
        (NO_TRANSFERS.replace("no-transfers", "guard.budget"), "`guard.budget` is used twice"),
        ("permit (principal".to_owned(), "p.cedar"),
    ] {
        let refused: PolicyError = files.and(&[source(&text)]).expect_err(why);
        assert!(refused.to_string().contains(why), "{refused}");
    }
}

#[test]
fn parts_that_do_not_fit_deny_everything() {
    let files = set(NO_TRANSFERS);
    let why = files.and(&[source(NO_TRANSFERS)]).expect_err("twice");
    let closed = files.closed_for(&[source(NO_TRANSFERS)], &why);
    assert_ne!(closed.digest(), files.digest());
    let asked = request(call(tool("list", ToolEffect::Read)), &NULL);
    for approvers in [0, 3] {
        let said = said(&verdict(&closed, &asked, approvers));
        assert!(said.starts_with("fault") && said.contains("no-transfers"), "{said}");
    }
    assert_eq!(closed.tally().faults(), 2);
}

//! Each guard rail and each clause is missed by an invariant when it is gone, and each part of it that can be left
//! out: an invariant that proves everything would be found here.

use tenure_policy::{Contract, Invariant, PolicySet};

use crate::support::{EVERYTHING, contract, outcomes, report, shipped, source};

/// Which invariants miss which guard rail.
const MISSED_BY: &[(&str, &[&str])] = &[
    ("guard.tenant-wall", &["across-projects"]),
    ("guard.frozen-agent", &["frozen-agents-act"]),
    ("guard.frozen-agent-starts-nothing", &["frozen-agents-start"]),
    ("guard.inactive-user", &["inactive-people-act"]),
    ("guard.inactive-service", &["inactive-keys-act"]),
    ("guard.budget", &["budget-is-overdrawn", "tokens-are-overdrawn", "calls-are-overdrawn"]),
    ("guard.no-training", &["training-on-private-data"]),
    ("guard.residency", &["data-leaves-its-regions"]),
    (
        "guard.rule-of-two",
        &[
            "a-grant-covers-untrusted-arguments",
            "untrusted-content-drives-an-effect",
            "untrusted-content-names-an-address",
            "untrusted-content-runs-code",
        ],
    ),
    ("guard.rule-of-two-command", &["untrusted-content-drives-a-command"]),
    ("guard.no-write-down", &["tools-learn-too-much"]),
    ("guard.unpinned-tool", &["unpinned-tools-are-called"]),
    ("guard.memory-integrity", &["memory-is-poisoned"]),
    ("guard.memory-clearance", &["memory-holds-too-much"]),
    ("guard.private-network", &["private-network-is-reached"]),
    ("guard.host-clearance", &["hosts-learn-too-much"]),
    ("guard.secret-audience", &["secrets-go-elsewhere"]),
    ("guard.four-eyes", &["one-approves-oneself"]),
    ("guard.approver-group", &["strangers-approve"]),
    ("guard.depth", &["agents-go-too-deep"]),
    (
        "guard.quarantine",
        &[
            "quarantine-is-left",
            "quarantine-is-left-by-command",
            "quarantine-is-left-by-network",
            "quarantine-is-remembered",
        ],
    ),
];

/// Parts of guard rails whose absence lets more through, and which invariant misses them.
const WEAKER: &[(&str, &str, &str, &str)] = &[
    (
        "guard.budget",
        "(action == Action::\"model.call\" && context.spend.calls_left <= 0)",
        "false",
        "calls-are-overdrawn",
    ),
    (
        "guard.budget",
        "context.spend.reserve_tokens > context.spend.remaining_tokens ||",
        "",
        "tokens-are-overdrawn",
    ),
    (
        "guard.budget",
        "context.spend.reserve_micros > context.spend.remaining_micros ||",
        "",
        "budget-is-overdrawn",
    ),
    ("guard.budget", "context.spend.calls_left <= 0", "context.spend.calls_left < 0", "calls-are-overdrawn"),
    ("guard.no-training", ">= 1", ">= 2", "training-on-private-data"),
    ("guard.rule-of-two", "integrity < 2", "integrity < 1", "untrusted-content-drives-an-effect"),
    ("guard.rule-of-two", "\"send\", ", "", "untrusted-content-drives-an-effect"),
    ("guard.rule-of-two", "\"admin\", ", "", "untrusted-content-drives-an-effect"),
    ("guard.rule-of-two", "\"destroy\", ", "", "untrusted-content-drives-an-effect"),
    ("guard.rule-of-two", ", \"pay\"", "", "untrusted-content-drives-an-effect"),
    (
        "guard.rule-of-two",
        "(resource.effect == \"exec\" && !resource.builtin) ||",
        "",
        "untrusted-content-runs-code",
    ),
    (
        "guard.rule-of-two",
        "||\n    (resource.effect == \"egress\" && context.untrusted_arguments)",
        "",
        "untrusted-content-names-an-address",
    ),
    ("guard.rule-of-two", " && !context.untrusted_arguments)", ")", "a-grant-covers-untrusted-arguments"),
    ("guard.rule-of-two", "context.grant_matches && ", "", "untrusted-content-drives-an-effect"),
    (
        "guard.rule-of-two-command",
        "resource.network == \"enabled\" || ",
        "",
        "untrusted-content-drives-a-command",
    ),
    (
        "guard.rule-of-two-command",
        " || resource.hosting == \"self_hosted\"",
        "",
        "untrusted-content-drives-a-command",
    ),
    ("guard.four-eyes", "context.approve && ", "!context.approve && ", "one-approves-oneself"),
    ("guard.depth", "> 4", "> 5", "agents-go-too-deep"),
    ("guard.quarantine", " && resource.effect == \"read\"", "", "quarantine-is-left"),
    (
        "guard.quarantine",
        "!(resource is Secret)",
        "!(resource is Secret) && !(resource is Environment)",
        "quarantine-is-left-by-command",
    ),
];

/// The shipped guard rails: id and text.
fn rails() -> Vec<(String, String)> {
    let mut rails = Vec::new();
    for part in PolicySet::guard_rails().split("\n\n") {
        if let Some(start) = part.find("@id(\"") {
            let text = part[start..].trim().to_owned();
            let id = text.split('"').nth(1).expect("an id").to_owned();
            rails.push((id, text));
        }
    }
    rails
}

/// The set of which `rail` is another, or gone.
fn without(rail: &str, instead: &str) -> PolicySet {
    let texts: Vec<String> =
        rails().into_iter().map(|(id, text)| if id == rail { instead.to_owned() } else { text }).collect();
    PolicySet::with_guard_rails(&texts.join("\n\n"), &[source(EVERYTHING)]).expect("readable")
}

#[track_caller]
fn check_missed(what: &str, set: &PolicySet, invariants: &[Invariant]) {
    let found = outcomes(&report(set, invariants, &[]));
    for line in found {
        assert!(line.contains(" refuted: "), "{what}: {line}");
    }
}

#[test]
fn every_guard_rail_is_in_the_table() {
    let mut listed: Vec<&str> = MISSED_BY.iter().map(|(rail, _)| *rail).collect();
    listed.sort_unstable();
    let mut shipped: Vec<String> = rails().into_iter().map(|(id, _)| id).collect();
    shipped.sort();
    assert_eq!(listed, shipped);
    let mut invariants: Vec<&str> = MISSED_BY.iter().flat_map(|(_, by)| by.iter().copied()).collect();
    invariants.sort_unstable();
    let known: Vec<String> = Invariant::shipped().into_iter().map(|it| it.id).collect();
    assert_eq!(invariants, known, "each shipped invariant is there for a guard rail");
}

#[test]
fn each_guard_rail_is_missed_when_it_is_gone() {
    for (rail, by) in MISSED_BY {
        check_missed(rail, &without(rail, ""), &shipped(by));
    }
}

#[test]
fn each_guard_rail_is_missed_when_it_is_weaker() {
    for (rail, part, instead, by) in WEAKER {
        let (_, text) = rails().into_iter().find(|(id, _)| id == rail).expect("a rail");
        assert!(text.contains(part), "{rail}: {part}");
        check_missed(
            &format!("{rail} without {part}"),
            &without(rail, &text.replace(part, instead)),
            &shipped(&[by]),
        );
    }
}

#[test]
fn each_clause_is_missed_when_it_is_gone() {
    let whole = contract();
    let promised = Invariant::of_contract(&whole).expect("they fit");
    for gone in &whole.clauses {
        let kept = whole.clauses.iter().filter(|clause| clause.id != gone.id).cloned().collect();
        let contract = Contract { clauses: kept, ..whole.clone() };
        let set = PolicySet::with_contracts(&[source(EVERYTHING)], &[contract]).expect("valid");
        let id = whole.policy_id(gone);
        let missing: Vec<Invariant> = promised.iter().filter(|it| it.id == id).cloned().collect();
        check_missed(&id, &set, &missing);
    }
}

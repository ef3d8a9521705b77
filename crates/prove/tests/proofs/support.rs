//! Policy sets to start from, and reports as text.

use std::sync::OnceLock;
use std::time::Duration;

use tenure_journal::{Confidentiality, Timestamp};
use tenure_policy::{
    Applies, CallClass, Clause, Contract, DescribedTool, Invariant, PolicySet, PolicySource, Rule, Terms,
};
use tenure_prove::{Cvc5, Extent, Limits, Outcome, Report, prove};

/// A project that permits whatever it can.
pub(crate) const EVERYTHING: &str = r#"@id("all") permit (principal, action, resource);"#;

/// Only there to end a test that hangs.
pub(crate) const PATIENT: Limits = Limits {
    question: Duration::from_secs(120),
    all: Duration::from_secs(1_200),
    memory_kib: 4 * 1_024 * 1_024,
};

/// The solver. A test that cannot prove anything fails: `apt-get install cvc5`, as `cargo xtask test` does.
pub(crate) fn cvc5() -> &'static Cvc5 {
    static FOUND: OnceLock<Cvc5> = OnceLock::new();
    FOUND.get_or_init(|| {
        let (named, path) = (std::env::var_os("TENURE_CVC5"), std::env::var_os("PATH"));
        Cvc5::find(named.as_deref(), path.as_deref()).expect("the package `cvc5` is installed")
    })
}

pub(crate) fn source(text: &str) -> PolicySource {
    PolicySource { name: "p.cedar".into(), text: text.into() }
}

pub(crate) fn set(text: &str) -> PolicySet {
    PolicySet::new(&[source(text)]).expect("valid policies")
}

pub(crate) fn own(text: &str) -> Vec<Invariant> {
    Invariant::parse(&[source(text)]).expect("valid invariants")
}

/// The shipped invariants of these ids.
pub(crate) fn shipped(ids: &[&str]) -> Vec<Invariant> {
    let found: Vec<Invariant> =
        Invariant::shipped().into_iter().filter(|it| ids.contains(&it.id.as_str())).collect();
    assert_eq!(found.len(), ids.len(), "{ids:?}");
    found
}

pub(crate) fn report(set: &PolicySet, invariants: &[Invariant], tools: &[DescribedTool]) -> Report {
    prove(set, invariants, tools, Extent::Invariants, (cvc5(), PATIENT)).expect("the invariants fit")
}

/// The same with everything else there is to say.
pub(crate) fn whole(set: &PolicySet) -> Report {
    prove(set, &[], &[], Extent::Whole, (cvc5(), PATIENT)).expect("there are no invariants")
}

/// What came out, one line for each; a refuted one says where.
pub(crate) fn outcomes(report: &Report) -> Vec<String> {
    let line = |proof: &tenure_prove::Proof| match &proof.outcome {
        Outcome::Proven { .. } => format!("{} proven", proof.invariant),
        Outcome::Refuted(example) => {
            assert!(!example.permitted_by.is_empty(), "{example}");
            format!("{} refuted: {}", proof.invariant, example.situation)
        }
        Outcome::Vacuous(why) => format!("{} vacuous: {why}", proof.invariant),
        Outcome::Unknown(why) => format!("{} unknown: {why}", proof.invariant),
    };
    report.proofs.iter().map(line).collect()
}

#[track_caller]
pub(crate) fn check(set: &PolicySet, invariants: &[Invariant], tools: &[DescribedTool], expected: &[&str]) {
    assert_eq!(outcomes(&report(set, invariants, tools)), expected);
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// The contract of the worked example: for sixty days stateless calls of one vendor's models go to one provider in
/// two regions; restricted data stays on machines of one's own; health data is not kept.
pub(crate) fn contract() -> Contract {
    // 2026-02-27, and sixty days later.
    let (from, to) = (1_772_150_400_000, 1_772_150_400_000 + 60 * 86_400_000);
    let clause = |id: &str, applies_to: Applies, rule: Rule| Clause {
        id: id.into(),
        document: "MSA-2026-17".into(),
        clause: "s4.2".into(),
        from: None,
        to: None,
        applies_to,
        rule,
        evidence: String::new(),
    };
    let stateless =
        Applies { vendors: texts(&["openai"]), classes: vec![CallClass::Stateless], ..Applies::default() };
    let azure = Terms { providers: texts(&["azure"]), regions: texts(&["eu", "ch"]), ..Terms::default() };
    let restricted = Applies { confidentiality: Some(Confidentiality::Restricted), ..Applies::default() };
    let own = Terms { providers: texts(&["self-hosted"]), ..Terms::default() };
    let health = Applies { categories: texts(&["phi"]), ..Applies::default() };
    let unkept = Terms { retention_days: Some(0), ..Terms::default() };
    let judged = Applies {
        models: texts(&["m", "n"]),
        classes: vec![CallClass::Reviewer, CallClass::Memory],
        labels: texts(&["batch"]),
        ..Applies::default()
    };
    let slow = Terms { accounts: texts(&["a"]), labels: texts(&["batch"]), ..Terms::default() };
    Contract {
        name: "msa".into(),
        version: 1,
        clauses: vec![
            Clause {
                from: Some(Timestamp::from_millis(from)),
                to: Some(Timestamp::from_millis(to)),
                ..clause("stateless-on-azure", stateless, Rule::Must(azure))
            },
            clause("restricted-stays", restricted, Rule::Must(own)),
            clause("health-is-not-kept", health, Rule::Must(unkept)),
            clause("no-batches", judged, Rule::MustNot(slow)),
        ],
    }
}

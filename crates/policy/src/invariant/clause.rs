//! What a clause of a contract promises, written from its meaning and not from the policy it becomes.

use std::fmt::Write as _;

use tenure_journal::Timestamp;

use crate::contract::{Applies, Rule, Terms, datetime, quoted};
use crate::{CallClass, Clause, Contract};

/// A contract's clauses as invariants.
pub(super) fn to_cedar(contract: &Contract) -> String {
    let mut text = String::new();
    for clause in &contract.clauses {
        let says = format!("{} {} of contract {} holds", clause.document, clause.clause, contract.name);
        let _ = write!(
            text,
            "@id({})\n@says({})\nforbid (principal, action == Action::\"model.call\", resource)\nwhen {{ {} }};\n",
            quoted(&contract.policy_id(clause)),
            quoted(&says),
            breach(clause),
        );
    }
    text
}

/// When a call breaks a clause.
fn breach(clause: &Clause) -> String {
    let mut all = dates(clause.from, clause.to);
    all.extend(about(&clause.applies_to));
    all.push(match &clause.rule {
        Rule::Must(terms) => format!("!({})", and(&met(terms))),
        Rule::MustNot(terms) => format!("({})", and(&met(terms))),
    });
    all.join(" && ")
}

fn dates(from: Option<Timestamp>, to: Option<Timestamp>) -> Vec<String> {
    let from = from.map(|from| format!("!(context.now < {})", datetime(from)));
    let to = to.map(|to| format!("!(context.now >= {})", datetime(to)));
    from.into_iter().chain(to).collect()
}

fn about(applies: &Applies) -> Vec<String> {
    let classes = applies.classes.iter().map(|class| match class {
        CallClass::Stateless => "context.stateless".to_owned(),
        CallClass::Stateful
        | CallClass::Reviewer
        | CallClass::Memory
        | CallClass::Evaluation
        | CallClass::Compaction => is("context.class", class.as_str()),
    });
    let models = applies.models.iter().map(|model| format!("resource == Model::{}", quoted(model)));
    let least =
        applies.confidentiality.map(|least| format!("!(context.flow.confidentiality < {})", least.rank()));
    [
        or(applies.vendors.iter().map(|vendor| is("context.route.vendor", vendor))),
        or(models),
        or(classes),
        or(applies.labels.iter().map(|label| has("context.route.labels", label))),
        or(applies.categories.iter().map(|category| has("context.flow.categories", category))),
        least,
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn met(terms: &Terms) -> Vec<String> {
    [
        or(terms.providers.iter().map(|provider| is("context.route.provider", provider))),
        or(terms.regions.iter().map(|region| is("context.route.region", region))),
        or(terms.accounts.iter().map(|account| is("context.route.account", account))),
        or(terms.deployments.iter().map(|deployment| is("context.route.deployment", deployment))),
        or(terms.labels.iter().map(|label| has("context.route.labels", label))),
        terms.retention_days.map(|most| format!("!(context.route.retention_days > {most})")),
        terms.trains_on_data.map(|trains| match trains {
            true => "context.route.trains_on_data".to_owned(),
            false => "!context.route.trains_on_data".to_owned(),
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn is(path: &str, value: &str) -> String {
    format!("{path} == {}", quoted(value))
}

fn has(path: &str, value: &str) -> String {
    format!("{path}.contains({})", quoted(value))
}

/// Any of them; nothing said if there is none.
fn or(conditions: impl Iterator<Item = String>) -> Option<String> {
    let all: Vec<String> = conditions.collect();
    (!all.is_empty()).then(|| format!("({})", all.join(" || ")))
}

/// All of them.
fn and(conditions: &[String]) -> String {
    if conditions.is_empty() { "true".to_owned() } else { conditions.join(" && ") }
}

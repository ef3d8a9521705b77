//! Contracts of a project: from their files to policies, and what follows from them for the declared routes.
//!
//! The search is exhaustive and exact. A clause compares finitely many declared values and two moments, and both
//! applying and forbidding grow with the data that a session has seen. So it is enough to ask about every declared
//! route and kind of call, at every moment at which a clause begins or ends and before all of them, without data,
//! with each of the categories and levels that clauses name, and with all of them together.

use std::collections::BTreeSet;

use tenure_journal::{Confidentiality, Labels, RouteRecord, Timestamp};
use tenure_policy::{
    Applies, CallClass, Clause, Contract, ModelCall, PolicyError, PolicySet, PolicySource, Rule, Terms,
};
use tenure_project::{ClauseFile, ContractFile, Project};
use tenure_session::facts;

/// Everything that decides in a project: its policies and its contracts.
pub(crate) fn policy_set(project: &Project) -> Result<PolicySet, PolicyError> {
    let sources: Vec<PolicySource> = project
        .policies
        .iter()
        .map(|file| PolicySource { name: file.path.clone(), text: file.text.clone() })
        .collect();
    let contracts: Vec<Contract> = project.contracts.iter().map(contract).collect();
    PolicySet::with_contracts(&sources, &contracts)
}

/// A contract as policies know it.
pub(crate) fn contract(file: &ContractFile) -> Contract {
    Contract {
        name: file.name.clone(),
        version: file.version,
        clauses: file.clauses.iter().map(clause).collect(),
    }
}

fn clause(file: &ClauseFile) -> Clause {
    let applies = &file.applies_to;
    let terms = Terms {
        providers: file.terms.providers.clone(),
        regions: file.terms.regions.clone(),
        accounts: file.terms.accounts.clone(),
        deployments: file.terms.deployments.clone(),
        labels: file.terms.labels.clone(),
        retention_days: file.terms.retention_days,
        trains_on_data: file.terms.trains_on_data,
    };
    let class = |word: &String| CallClass::ALL.into_iter().find(|class| class.as_str() == word);
    let level = |word: &String| Confidentiality::ALL.into_iter().find(|level| level.as_str() == word);
    Clause {
        id: file.id.clone(),
        document: file.document.clone(),
        clause: file.clause.clone(),
        from: file.from.map(Timestamp::from_millis),
        to: file.to.map(Timestamp::from_millis),
        applies_to: Applies {
            vendors: applies.vendors.clone(),
            models: applies.models.clone(),
            classes: applies.classes.iter().filter_map(class).collect(),
            labels: applies.labels.clone(),
            categories: applies.categories.clone(),
            confidentiality: applies.confidentiality.as_ref().and_then(level),
        },
        rule: if file.is_must { Rule::Must(terms) } else { Rule::MustNot(terms) },
        evidence: file.evidence.clone(),
    }
}

/// A route that the settings declare.
#[derive(Debug, Clone)]
pub(crate) struct Declared {
    /// The model, as agents know it.
    pub(crate) model: String,
    pub(crate) record: RouteRecord,
    /// Whether what it sends makes state at the provider.
    pub(crate) stateful: bool,
}

impl Declared {
    /// The kinds of calls that can go by it.
    fn classes(&self) -> [CallClass; 5] {
        let own = if self.stateful { CallClass::Stateful } else { CallClass::Stateless };
        [own, CallClass::Reviewer, CallClass::Memory, CallClass::Evaluation, CallClass::Compaction]
    }
}

/// Something that the authors of a contract should know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Finding {
    /// The clause applies to no declared route and kind of call while it holds.
    Dead { clause: String },
    /// While these clauses hold together, no route is left to the model.
    NoRoute { model: String, call: String, clauses: Vec<String>, from: Option<i64>, data: bool },
    /// The clause applies, and every declared route that it applies to keeps it.
    Kept { clause: String },
}

/// How often a clause was met in the search.
#[derive(Debug, Clone, Default)]
struct Met {
    applied: bool,
    forbade: bool,
}

/// What follows from the contracts for the declared routes, and how many combinations were looked at.
pub(crate) fn examine(contracts: &[Contract], routes: &[Declared]) -> (Vec<Finding>, usize) {
    let clauses: Vec<(String, &Clause)> = contracts
        .iter()
        .flat_map(|contract| contract.clauses.iter().map(|clause| (contract.policy_id(clause), clause)))
        .collect();
    let mut met = vec![Met::default(); clauses.len()];
    let mut findings = BTreeSet::new();
    let models: BTreeSet<&str> = routes.iter().map(|route| route.model.as_str()).collect();
    let mut looked_at = 0;
    for now in moments(&clauses) {
        for flow in flows(&clauses) {
            for model in &models {
                // A session's own calls, then those that judge and remember.
                for kind in 0..4 {
                    let ways = routes.iter().filter(|route| route.model == *model);
                    let (mut open, mut by) = (false, BTreeSet::new());
                    let mut name = "";
                    for way in ways {
                        looked_at += 1;
                        let class = way.classes()[kind];
                        name = if kind == 0 { "agent" } else { class.as_str() };
                        let call = ModelCall::new(model, now).through(facts(&way.record)).of_class(class);
                        let mut forbidden = false;
                        for ((id, clause), met) in clauses.iter().zip(&mut met) {
                            met.applied |= clause.holds_at(now) && clause.is_about(&call, &flow);
                            if clause.forbids(&call, &flow) {
                                met.forbade = true;
                                forbidden = true;
                                by.insert(id.clone());
                            }
                        }
                        open |= !forbidden;
                    }
                    if !open {
                        findings.insert(Finding::NoRoute {
                            model: (*model).to_owned(),
                            call: name.to_owned(),
                            clauses: by.into_iter().collect(),
                            from: Some(now.as_millis()).filter(|_| now != Timestamp::EPOCH),
                            data: !flow.is_neutral(),
                        });
                    }
                }
            }
        }
    }
    for ((id, _), met) in clauses.iter().zip(&met) {
        if !met.applied {
            findings.insert(Finding::Dead { clause: id.clone() });
        } else if !met.forbade {
            findings.insert(Finding::Kept { clause: id.clone() });
        }
    }
    (simplified(findings), looked_at)
}

/// Leaves out what holds with data where it holds without.
fn simplified(findings: BTreeSet<Finding>) -> Vec<Finding> {
    let without: BTreeSet<(String, String, Option<i64>)> = findings
        .iter()
        .filter_map(|finding| match finding {
            Finding::NoRoute { model, call, from, data: false, .. } => {
                Some((model.clone(), call.clone(), *from))
            }
            Finding::NoRoute { .. } | Finding::Dead { .. } | Finding::Kept { .. } => None,
        })
        .collect();
    let is_new = |finding: &Finding| match finding {
        Finding::NoRoute { model, call, from, data: true, .. } => {
            !without.contains(&(model.clone(), call.clone(), *from))
        }
        Finding::NoRoute { .. } | Finding::Dead { .. } | Finding::Kept { .. } => true,
    };
    findings.into_iter().filter(is_new).collect()
}

/// The moments at which something begins or ends, and one before all of them.
fn moments(clauses: &[(String, &Clause)]) -> BTreeSet<Timestamp> {
    let ends = clauses.iter().flat_map(|(_, clause)| [clause.from, clause.to]).flatten();
    ends.chain([Timestamp::EPOCH]).collect()
}

/// The data that makes a difference to a clause.
fn flows(clauses: &[(String, &Clause)]) -> Vec<Labels> {
    let categories: BTreeSet<String> =
        clauses.iter().flat_map(|(_, clause)| clause.applies_to.categories.iter().cloned()).collect();
    let levels: BTreeSet<Confidentiality> =
        clauses.iter().filter_map(|(_, clause)| clause.applies_to.confidentiality).collect();
    let mut flows = vec![Labels::NEUTRAL];
    for level in levels.iter().copied().chain([Confidentiality::Public]) {
        for category in categories
            .iter()
            .map(|name| BTreeSet::from([name.clone()]))
            .chain([BTreeSet::new(), categories.clone()])
        {
            let flow = Labels { confidentiality: level, categories: category, ..Labels::NEUTRAL };
            if !flows.contains(&flow) {
                flows.push(flow);
            }
        }
    }
    flows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(name: &str, provider: &str, region: &str, stateful: bool) -> Declared {
        let record = RouteRecord {
            name: name.into(),
            vendor: "openai".into(),
            provider: provider.into(),
            region: region.into(),
            ..RouteRecord::default()
        };
        Declared { model: "m".into(), record, stateful }
    }

    fn contracts(text: &str) -> Vec<Contract> {
        let (file, _) = tenure_project::parse_contract("c", "contracts/c.yaml", text).expect("a contract");
        vec![contract(&file)]
    }

    #[track_caller]
    fn check(clauses: &str, routes: &[Declared], expected: &[&str]) {
        let (findings, _) = examine(&contracts(&format!("version: 1\nclauses:\n{clauses}")), routes);
        let shown: Vec<String> = findings
            .iter()
            .map(|finding| match finding {
                Finding::Dead { clause } => format!("dead {clause}"),
                Finding::Kept { clause } => format!("kept {clause}"),
                Finding::NoRoute { model, call, clauses, data, .. } => {
                    let with = if *data { " with data" } else { "" };
                    format!("no route to {model} for {call}{with}: {}", clauses.join(" "))
                }
            })
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn finds_dead_clauses_kept_ones_and_models_without_a_route() {
        let azure = declared("a", "azure", "eu", false);
        let bedrock = declared("b", "bedrock", "us", true);
        let both = [azure.clone(), bedrock];
        let stateless = "- {id: s, from: 2026-02-27, to: 2026-04-27, applies_to: {vendor: openai, class: stateless}, must: {provider: azure}}\n";
        check(stateless, &both, &[]);
        check(stateless, std::slice::from_ref(&azure), &["kept c/s"]);
        check("- {id: v, applies_to: {vendor: meta}, must: {provider: azure}}\n", &both, &["dead c/v"]);
        check(
            "- {id: x, applies_to: {class: stateful}, must: {provider: azure}}\n",
            std::slice::from_ref(&azure),
            &["dead c/x"],
        );
        check(
            "- {id: e, must: {region: eu}}\n- {id: n, must_not: {provider: azure}}\n",
            std::slice::from_ref(&azure),
            &[
                "no route to m for agent: c/n",
                "no route to m for evaluation: c/n",
                "no route to m for memory: c/n",
                "no route to m for reviewer: c/n",
                "kept c/e",
            ],
        );
        check(
            "- {id: r, applies_to: {confidentiality: restricted, class: stateless}, must: {provider: self-hosted}}\n",
            &[azure],
            &[
                "no route to m for agent with data: c/r",
                "no route to m for evaluation with data: c/r",
                "no route to m for memory with data: c/r",
                "no route to m for reviewer with data: c/r",
            ],
        );
    }
}

//! Contracts: dated clauses about which way a model may be called, as data that becomes policies.
//!
//! A clause says for which calls it holds, between which moments, and what their route must be or must not be. It
//! becomes one Cedar `forbid` with the clause's id, so that a refusal names it and nothing can permit what it
//! forbids. [`Clause::forbids`] says the same in Rust, for whoever wants to know what would follow from a clause
//! without a policy set; a test holds the two against each other over every call there can be.
//!
//! Such a clause speaks of finitely many values and of two moments. So asking about every declared route, class,
//! label and moment at which something begins or ends is not a sample of the question, but all of it.

use std::fmt::Write as _;

use tenure_journal::{Confidentiality, Labels, Timestamp};

use crate::{Action, CallClass, ModelCall, PolicyError, PolicySet, PolicySource, Request};

/// A named, versioned and dated set of clauses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// Its name: that of its file.
    pub name: String,
    /// Which version of it this is.
    pub version: u64,
    /// What it holds to.
    pub clauses: Vec<Clause>,
}

/// One rule of a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// Its id in the contract.
    pub id: String,
    /// The document it comes from.
    pub document: String,
    /// Where in the document.
    pub clause: String,
    /// The first moment at which it holds; absent: always did.
    pub from: Option<Timestamp>,
    /// The first moment at which it holds no more; absent: it never ends.
    pub to: Option<Timestamp>,
    /// For which calls.
    pub applies_to: Applies,
    /// What their route must be, or must not be.
    pub rule: Rule,
    /// Where it is written down that this is so.
    pub evidence: String,
}

/// For which calls a clause holds: those to which everything said here applies. A list that is empty says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applies {
    /// Models of one of these vendors.
    pub vendors: Vec<String>,
    /// One of these models, as agents know them.
    pub models: Vec<String>,
    /// One of these kinds of calls.
    pub classes: Vec<CallClass>,
    /// Routes that have one of these labels.
    pub labels: Vec<String>,
    /// Sessions that have seen data of one of these categories.
    pub categories: Vec<String>,
    /// Sessions that have seen data at least so confidential.
    pub confidentiality: Option<Confidentiality>,
}

/// What a clause demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// The route must be all of this.
    Must(Terms),
    /// The route must not be all of this.
    MustNot(Terms),
}

/// What a route is. A list that is empty, and what is absent, says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// It is run by one of these.
    pub providers: Vec<String>,
    /// It runs in one of these regions.
    pub regions: Vec<String>,
    /// It goes through one of these accounts.
    pub accounts: Vec<String>,
    /// It is one of these deployments.
    pub deployments: Vec<String>,
    /// It has one of these labels.
    pub labels: Vec<String>,
    /// The provider keeps what it is sent for so many days at most.
    pub retention_days: Option<u32>,
    /// Whether the provider trains on it.
    pub trains_on_data: Option<bool>,
}

impl Contract {
    /// The id of a clause in decisions and records.
    #[must_use]
    pub fn policy_id(&self, clause: &Clause) -> String {
        format!("{}/{}", self.name, clause.id)
    }

    /// The policies that the contract is, in Cedar.
    #[must_use]
    pub fn to_cedar(&self) -> String {
        let mut text = format!("// {}, version {}: made from its clauses.\n", self.name, self.version);
        for clause in &self.clauses {
            let _ = write!(
                text,
                "\n@id({})\n@contract({})\n@clause({})\nforbid (principal, action == Action::\"model.call\", resource)\n{};\n",
                quoted(&self.policy_id(clause)),
                quoted(&format!("{} v{}", self.name, self.version)),
                quoted(&format!("{} {}", clause.document, clause.clause)),
                clause.to_conditions()
            );
        }
        text
    }
}

impl Clause {
    /// Whether it holds at `now`.
    #[must_use]
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= now) && self.to.is_none_or(|to| now < to)
    }

    /// Whether it is about such a call, by a session that has seen data of these labels, whenever it is made.
    #[must_use]
    pub fn is_about(&self, call: &ModelCall<'_>, flow: &Labels) -> bool {
        let applies = &self.applies_to;
        let any = |list: &[String], value: &str| list.is_empty() || list.iter().any(|one| one == value);
        let shares =
            |list: &[String], have: &[String]| list.is_empty() || list.iter().any(|one| have.contains(one));
        any(&applies.vendors, call.route.vendor)
            && any(&applies.models, call.model)
            && (applies.classes.is_empty()
                || applies.classes.iter().any(|class| is_of_class(call.class, *class)))
            && shares(&applies.labels, call.route.labels)
            && (applies.categories.is_empty()
                || applies.categories.iter().any(|category| flow.categories.contains(category)))
            && applies.confidentiality.is_none_or(|least| flow.confidentiality >= least)
    }

    /// Whether it forbids such a call.
    #[must_use]
    pub fn forbids(&self, call: &ModelCall<'_>, flow: &Labels) -> bool {
        self.holds_at(call.now)
            && self.is_about(call, flow)
            && match &self.rule {
                Rule::Must(terms) => !terms.are_met_by(call),
                Rule::MustNot(terms) => terms.are_met_by(call),
            }
    }

    fn to_conditions(&self) -> String {
        let mut when = Vec::new();
        if let Some(from) = self.from {
            when.push(format!("context.now >= {}", datetime(from)));
        }
        if let Some(to) = self.to {
            when.push(format!("context.now < {}", datetime(to)));
        }
        let applies = &self.applies_to;
        when.extend(one_of("context.route.vendor", &applies.vendors));
        when.extend(resource_one_of(&applies.models));
        if !applies.classes.is_empty() {
            let classes: Vec<_> = applies.classes.iter().map(|class| class_condition(*class)).collect();
            when.push(format!("({})", classes.join(" || ")));
        }
        when.extend(has_any("context.route.labels", &applies.labels));
        when.extend(has_any("context.flow.categories", &applies.categories));
        if let Some(least) = applies.confidentiality {
            when.push(format!("context.flow.confidentiality >= {}", least.rank()));
        }
        let (Rule::Must(terms) | Rule::MustNot(terms)) = &self.rule;
        let terms = terms.to_conditions();
        let all = |conditions: &[String]| {
            if conditions.is_empty() { "true".to_owned() } else { conditions.join(" && ") }
        };
        match &self.rule {
            Rule::Must(_) => format!("when {{ {} }}\nunless {{ {} }}", all(&when), all(&terms)),
            Rule::MustNot(_) => {
                when.extend(terms);
                format!("when {{ {} }}", all(&when))
            }
        }
    }
}

impl Terms {
    /// Whether they say nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn are_met_by(&self, call: &ModelCall<'_>) -> bool {
        let route = &call.route;
        let any = |list: &[String], value: &str| list.is_empty() || list.iter().any(|one| one == value);
        any(&self.providers, route.provider)
            && any(&self.regions, route.region)
            && any(&self.accounts, route.account)
            && any(&self.deployments, route.deployment)
            && (self.labels.is_empty() || self.labels.iter().any(|label| route.labels.contains(label)))
            && self.retention_days.is_none_or(|most| route.retention_days <= most)
            && self.trains_on_data.is_none_or(|trains| route.trains_on_data == trains)
    }

    fn to_conditions(&self) -> Vec<String> {
        let mut all: Vec<String> = [
            one_of("context.route.provider", &self.providers),
            one_of("context.route.region", &self.regions),
            one_of("context.route.account", &self.accounts),
            one_of("context.route.deployment", &self.deployments),
            has_any("context.route.labels", &self.labels),
        ]
        .into_iter()
        .flatten()
        .collect();
        all.extend(self.retention_days.map(|most| format!("context.route.retention_days <= {most}")));
        all.extend(self.trains_on_data.map(|trains| format!("context.route.trains_on_data == {trains}")));
        all
    }
}

impl PolicySet {
    /// The defaults, a project's own policies and its contracts. What is decided with it, its digest included,
    /// depends on all of them.
    ///
    /// # Errors
    /// As for [`PolicySet::new`]; two clauses with one id are a problem like two policies.
    pub fn with_contracts(sources: &[PolicySource], contracts: &[Contract]) -> Result<Self, PolicyError> {
        let compiled = contracts.iter().map(|contract| PolicySource {
            name: format!("contracts/{}.yaml", contract.name),
            text: contract.to_cedar(),
        });
        let all: Vec<_> = sources.iter().cloned().chain(compiled).collect();
        let mut set = Self::new(&all)?;
        set.contracts = contracts.to_vec();
        Ok(set)
    }

    /// The ids of the clauses that are in force for a model call: they are about it, and hold now. Nothing for any
    /// other request.
    #[must_use]
    pub fn clauses_in_force(&self, request: &Request<'_>) -> Vec<String> {
        let Action::ModelCall(call) = request.action else { return Vec::new() };
        let clauses = self
            .contracts
            .iter()
            .flat_map(|contract| contract.clauses.iter().map(move |clause| (contract, clause)));
        clauses
            .filter(|(_, clause)| clause.holds_at(call.now) && clause.is_about(&call, request.facts.flow))
            .map(|(contract, clause)| contract.policy_id(clause))
            .collect()
    }

    /// Its contracts.
    #[must_use]
    pub fn contracts(&self) -> &[Contract] {
        &self.contracts
    }
}

/// Whether a call of one class is meant by the name of another: judging and remembering are stateless calls, too.
fn is_of_class(call: CallClass, named: CallClass) -> bool {
    match named {
        CallClass::Stateless => call.is_stateless(),
        CallClass::Stateful
        | CallClass::Reviewer
        | CallClass::Memory
        | CallClass::Evaluation
        | CallClass::Compaction => call == named,
    }
}

fn class_condition(class: CallClass) -> String {
    match class {
        CallClass::Stateless => "context.stateless".to_owned(),
        CallClass::Stateful
        | CallClass::Reviewer
        | CallClass::Memory
        | CallClass::Evaluation
        | CallClass::Compaction => {
            format!("context.class == {}", quoted(class.as_str()))
        }
    }
}

fn one_of(path: &str, values: &[String]) -> Option<String> {
    match values {
        [] => None,
        [value] => Some(format!("{path} == {}", quoted(value))),
        values => Some(format!("[{}].contains({path})", list(values))),
    }
}

fn resource_one_of(models: &[String]) -> Option<String> {
    let each: Vec<_> = models.iter().map(|model| format!("resource == Model::{}", quoted(model))).collect();
    (!each.is_empty()).then(|| format!("({})", each.join(" || ")))
}

fn has_any(path: &str, values: &[String]) -> Option<String> {
    (!values.is_empty()).then(|| format!("{path}.containsAny([{}])", list(values)))
}

fn list(values: &[String]) -> String {
    values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", ")
}

/// A Cedar string.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{{{:x}}}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A moment in Cedar.
pub(crate) fn datetime(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("datetime(\"{}\")", at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tenure_journal::{AgentId, Fresh, ProjectId};

    use super::*;
    use crate::{AgentFacts, Facts, Principal, RouteFacts, Verdict};

    fn texts(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    fn at(day: i64) -> Timestamp {
        Timestamp::from_millis(1_772_150_400_000 + day * 86_400_000)
    }

    fn clause(id: &str, applies_to: Applies, rule: Rule) -> Clause {
        Clause {
            id: id.into(),
            document: "MSA".into(),
            clause: "s4 \"2\"".into(),
            from: Some(at(0)),
            to: Some(at(10)),
            applies_to,
            rule,
            evidence: String::new(),
        }
    }

    /// Contracts whose clauses use every word there is.
    fn contracts() -> Vec<Contract> {
        let openai = || Applies { vendors: texts(&["openai"]), ..Applies::default() };
        let stateless = Applies { classes: vec![CallClass::Stateless], ..openai() };
        let azure = Terms { providers: texts(&["azure"]), regions: texts(&["eu", "ch"]), ..Terms::default() };
        let secret = Applies { confidentiality: Some(Confidentiality::Restricted), ..Applies::default() };
        let own = Terms { providers: texts(&["self-hosted"]), ..Terms::default() };
        let phi = Applies { categories: texts(&["phi"]), models: texts(&["m"]), ..Applies::default() };
        let kept = Terms { retention_days: Some(30), trains_on_data: Some(false), ..Terms::default() };
        let judged = Applies {
            classes: vec![CallClass::Reviewer, CallClass::Stateful],
            labels: texts(&["batch"]),
            ..Applies::default()
        };
        let bad = Terms { accounts: texts(&["a"]), labels: texts(&["batch", "x"]), ..Terms::default() };
        let forever = Clause { from: None, to: None, ..clause("kept", phi, Rule::Must(kept)) };
        vec![
            Contract {
                name: "msa".into(),
                version: 2,
                clauses: vec![
                    clause("stateless", stateless, Rule::Must(azure)),
                    clause("own", secret, Rule::Must(own)),
                ],
            },
            Contract {
                name: "dpa".into(),
                version: 1,
                clauses: vec![forever, clause("batch", judged, Rule::MustNot(bad))],
            },
        ]
    }

    /// Over every call there can be, Cedar and Rust say the same, and no rule errs.
    #[test]
    fn a_clause_means_the_same_in_both_languages() {
        let contracts = contracts();
        let set = PolicySet::with_contracts(&[], &contracts).expect("valid contracts");
        let fresh = Fresh::new(Timestamp::from_millis(1), 1);
        let (project, agent_id) = (ProjectId::fresh(&fresh), AgentId::fresh(&fresh));
        let labels = [Vec::new(), texts(&["batch"])];
        let mut forbidden = std::collections::BTreeSet::new();
        for vendor in ["openai", "meta"] {
            for (provider, region) in
                [("azure", "eu"), ("azure", "us"), ("bedrock", "eu"), ("self-hosted", "")]
            {
                for (retention_days, trains_on_data, account) in
                    [(0, false, "a"), (31, false, "b"), (30, true, "b")]
                {
                    for labels in &labels {
                        for class in CallClass::ALL {
                            for (restricted, phi) in [(false, false), (true, false), (false, true)] {
                                for now in [at(-1), at(0), at(9), at(10)] {
                                    let route = RouteFacts {
                                        vendor,
                                        provider,
                                        region,
                                        retention_days,
                                        trains_on_data,
                                        account,
                                        labels,
                                        ..RouteFacts::unknown("r")
                                    };
                                    let call = ModelCall::new("m", now).through(route).of_class(class);
                                    let mut flow = Labels::NEUTRAL;
                                    if restricted {
                                        flow.confidentiality = Confidentiality::Restricted;
                                    }
                                    if phi {
                                        flow.categories.insert("phi".into());
                                    }
                                    let request = Request {
                                        project,
                                        principal: Principal::Agent(AgentFacts {
                                            project,
                                            agent_id,
                                            agent_name: None,
                                            version: None,
                                            frozen: false,
                                        }),
                                        behind: None,
                                        action: Action::ModelCall(call),
                                        arguments: &Value::Null,
                                        facts: Facts { flow: &flow, ..Facts::neutral() },
                                    };
                                    let mut expected: Vec<String> = contracts
                                        .iter()
                                        .flat_map(|contract| {
                                            let clauses = contract.clauses.iter();
                                            clauses
                                                .filter(|clause| clause.forbids(&call, &flow))
                                                .map(|clause| contract.policy_id(clause))
                                                .collect::<Vec<_>>()
                                        })
                                        .collect();
                                    expected.sort();
                                    let found = match set.decide(&request, None) {
                                        Verdict::Allow(_) => Vec::new(),
                                        // The guard rails that forbid it too are no clauses.
                                        Verdict::Deny(denial) => denial
                                            .policies
                                            .into_iter()
                                            .filter(|id| id.contains('/'))
                                            .collect(),
                                        Verdict::Ask(hold) => panic!("{hold:?}"),
                                    };
                                    assert_eq!(found, expected, "{call:?} {flow:?}");
                                    forbidden.extend(found);
                                    let in_force = set.clauses_in_force(&request);
                                    assert!(expected.iter().all(|id| in_force.contains(id)), "{call:?}");
                                }
                            }
                        }
                    }
                }
            }
        }
        let all = ["dpa/batch", "dpa/kept", "msa/own", "msa/stateless"];
        assert_eq!(forbidden.iter().collect::<Vec<_>>(), all, "each clause forbids something");
    }

    #[test]
    fn contracts_are_part_of_the_digest() {
        let [mut first, _] = <[Contract; 2]>::try_from(contracts()).expect("two");
        let with = |contract: &Contract| {
            let set = PolicySet::with_contracts(&[], std::slice::from_ref(contract)).expect("valid");
            set.digest().to_owned()
        };
        let before = with(&first);
        assert_ne!(before, PolicySet::defaults().digest());
        first.clauses[0].to = Some(at(11));
        assert_ne!(before, with(&first));
    }

    #[test]
    fn two_clauses_with_one_id_are_refused() {
        let [mut first, _] = <[Contract; 2]>::try_from(contracts()).expect("two");
        first.clauses[1].id = "stateless".into();
        let error = PolicySet::with_contracts(&[], &[first]).expect_err("twice").to_string();
        assert_eq!(error, "contracts/msa.yaml: the policy id `msa/stateless` is used twice");
    }
}

//! Vectors of texts as a model call: whether they may be made of something, by which way, and what an auditor is told.
//!
//! No machine asks for them: they are made after commits, in the background, and for a question while it is asked. So
//! nothing of it is an event. It is decided here, by whoever makes the call, as the machine decides its own calls: way
//! by way, for the agent and for whom it acts for, with the labels of what is sent; and it is recorded before anything
//! leaves.

use serde_json::Value;
use tenure_journal::{
    AgentId, Amounts, AuditFact, AuditOutcome, AuditRecord, BudgetId, EffectId, Labels, MemorySpace,
    Obstacle, Party, PassedOver, ProjectId, RequestFact, RequestKind, RequestOutcome, RequestRecord,
    RouteDecision, SessionId, Timestamp, Version, json,
};
use tenure_policy::{
    Action, AgentFacts, CallClass, Chain, Facts, ModelCall, Permit, PolicySet, Principal, Request, Verdict,
};

use crate::audit::named_policies;
use crate::shared_budget::{Answering, Short};
use crate::standing::principal;
use crate::{Budgets, Candidate, Frozen, Price, Routes, Session};

/// The action, in the words of policies.
const MODEL_CALL: &str = "model.call";

/// Whose texts become vectors: an agent at work in a session, or one whose memory somebody searches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rememberer {
    project: ProjectId,
    agent: AgentId,
    agent_name: Option<String>,
    agent_version: Option<u64>,
    behind: Option<Party>,
    chain: Chain,
    quarantined: bool,
    place: Option<Place>,
}

/// The session, as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    session: SessionId,
    root: SessionId,
    version: Version,
}

/// What is known when it is decided.
#[derive(Debug, Clone, Copy)]
pub struct Deciding<'a> {
    /// The policies of the project.
    pub policy: &'a PolicySet,
    /// What must not begin.
    pub frozen: &'a Frozen,
    /// The ways to all models.
    pub routes: Routes<'a>,
    /// The budgets that hold.
    pub budgets: &'a Budgets,
    /// The model, by the name that routes have it under.
    pub model: &'a str,
    /// The labels of everything that is sent.
    pub flow: &'a Labels,
    /// Tokens that the texts are counted as.
    pub tokens: u64,
    /// When.
    pub at: Timestamp,
}

/// A way that may be taken now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// What is recorded of it.
    pub decision: Box<RouteDecision>,
    /// What it may use at most.
    pub amounts: Amounts,
    /// Where that is set aside.
    pub budgets: Vec<BudgetId>,
}

/// Why nothing is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsent {
    /// No way to the model is known.
    NoRoute,
    /// Policy does not allow any of them: each with what forbids it.
    Refused(Vec<(String, Vec<String>)>),
    /// A budget has not enough left; what to do about it.
    Budget(String),
}

impl Rememberer {
    /// The agent of a session, as it is now.
    #[must_use]
    pub fn of(state: &Session) -> Self {
        Self {
            project: state.key.project,
            agent: state.agent.id,
            agent_name: state.agent.name.clone(),
            agent_version: state.agent.version,
            behind: state.opened_by.clone(),
            chain: Chain { on_behalf_of: state.opened_by.is_some(), depth: state.depth() },
            quarantined: state.quarantined_by.is_some(),
            place: Some(Place {
                session: state.key.session,
                root: state.budget_root(),
                version: state.version,
            }),
        }
    }

    /// An agent whose memory somebody searches, who has its name and its version from its saved configuration.
    #[must_use]
    pub fn searched(
        space: &MemorySpace,
        name: Option<String>,
        version: Option<u64>,
        by: Option<Party>,
    ) -> Self {
        Self {
            project: space.project,
            agent: space.agent,
            agent_name: name,
            agent_version: version,
            chain: Chain { on_behalf_of: by.is_some(), depth: 0 },
            behind: by,
            quarantined: false,
            place: None,
        }
    }

    /// The project.
    #[must_use]
    pub fn project(&self) -> ProjectId {
        self.project
    }

    /// The agent.
    #[must_use]
    pub fn agent(&self) -> (AgentId, Option<&str>) {
        (self.agent, self.agent_name.as_deref())
    }

    /// The session whose budget its tree shares, if there is one.
    #[must_use]
    pub fn budget_root(&self) -> Option<SessionId> {
        self.place.map(|place| place.root)
    }

    /// The way that texts may take now: the first that policy permits and whose account is well, or else the first that
    /// it permits.
    ///
    /// # Errors
    /// Why there is none. What policy refused is to be recorded.
    pub fn decide(&self, deciding: &Deciding<'_>) -> Result<Way, Unsent> {
        let Deciding { policy, frozen, routes, budgets, model, flow, tokens, at } = *deciding;
        let candidates = routes.to(model);
        if candidates.is_empty() {
            return Err(Unsent::NoRoute);
        }
        let mut refused = Vec::new();
        let mut passed_over = Vec::new();
        let mut permitted: Vec<(&Candidate, Permit, ModelCall<'_>, usize, Amounts)> = Vec::new();
        let mut short = None;
        for candidate in candidates.iter().map(AsRef::as_ref) {
            let call = ModelCall::new(model, at).through(candidate.facts()).of_class(class(candidate));
            // Nothing is written, whatever an answer may have.
            let price = candidate.price.map(|price| Price { output_tokens_max: 0, ..price });
            let amounts = budgets.amounts(price.as_ref(), tokens, Answering::Nothing);
            let unpriced = price.is_none() && budgets.limit_money();
            let too_much = || budgets.short(&amounts);
            if let Some(why) = unpriced.then(|| Short::of_unpriced(model)).or_else(too_much) {
                short = Some(why.message);
                continue;
            }
            let request = self.request(Action::ModelCall(call), frozen, budgets, flow, &amounts);
            let name = candidate.record.name.clone();
            let why = match policy.decide(&request, None) {
                Verdict::Allow(permit) => {
                    permitted.push((candidate, permit, call, passed_over.len(), amounts));
                    if !routes.unhealthy.contains(&candidate.account) {
                        break;
                    }
                    Obstacle::Unhealthy
                }
                Verdict::Ask(hold) => Obstacle::Refused { policies: hold.policies },
                Verdict::Deny(denial) => Obstacle::Refused { policies: denial.policies },
            };
            if let Obstacle::Refused { policies } = &why {
                refused.push((name.clone(), policies.clone()));
            }
            passed_over.push(PassedOver { route: name, why });
        }
        let well =
            permitted.iter().position(|(candidate, ..)| !routes.unhealthy.contains(&candidate.account));
        let taken = permitted.into_iter().nth(well.unwrap_or(0));
        let Some((candidate, permit, call, passed, amounts)) = taken else {
            return Err(match short {
                Some(short) if refused.is_empty() => Unsent::Budget(short),
                Some(_) | None => Unsent::Refused(refused),
            });
        };
        passed_over.truncate(passed);
        let request = self.request(Action::ModelCall(call), frozen, budgets, flow, &amounts);
        let decision = RouteDecision {
            route: candidate.record.clone(),
            class: call.class.as_str().to_owned(),
            permit: tenure_journal::PermitRecord { asked: Vec::new(), ..permit.into_record() },
            clauses: policy.clauses_in_force(&request),
            flow: flow.clone(),
            passed_over,
        };
        let budgets = budgets.shared.iter().map(|budget| budget.id).collect();
        Ok(Way { decision: Box::new(decision), amounts, budgets })
    }

    fn request<'a>(
        &'a self,
        action: Action<'a>,
        frozen: &Frozen,
        budgets: &Budgets,
        flow: &'a Labels,
        amounts: &Amounts,
    ) -> Request<'a> {
        Request {
            project: self.project,
            principal: Principal::Agent(AgentFacts {
                project: self.project,
                agent_id: self.agent,
                agent_name: self.agent_name.as_deref(),
                version: self.agent_version,
                // It does something now; nothing of it waits.
                frozen: frozen.stops(self.agent),
            }),
            behind: self.behind.as_ref().map(|party| principal(self.project, party)),
            action,
            arguments: &Value::Null,
            facts: Facts {
                flow,
                quarantined: self.quarantined,
                chain: self.chain,
                spend: budgets.facts(amounts),
                ..Facts::neutral()
            },
        }
    }

    /// What an auditor is told before a call by `way`: that it was allowed, and that it begins.
    #[must_use]
    pub fn started(&self, model: &str, effect: EffectId, way: &Way, at: Timestamp) -> Vec<Vec<u8>> {
        let permit = &way.decision.permit;
        let Some(place) = self.place else {
            return vec![self.searching(model, &way.decision.route.name, RequestOutcome::Done, at)];
        };
        let allowed = AuditFact::Allowed {
            effect,
            action: MODEL_CALL.to_owned(),
            resource: model.to_owned(),
            policies: named_policies(&permit.policies),
            policy_set: permit.policy_digest.clone(),
            arguments: permit.arguments_digest.clone(),
            approval: None,
            grant: None,
            question: None,
        };
        let started = AuditFact::AttemptStarted { effect, attempt: 1, route: Some(way.decision.clone()) };
        vec![self.record(place, allowed, at), self.record(place, started, at)]
    }

    /// What an auditor is told of its end; nothing where somebody searched, whose record says all there is to say.
    #[must_use]
    pub fn ended(
        &self,
        effect: EffectId,
        outcome: AuditOutcome,
        cost_nano_usd: Option<u64>,
        at: Timestamp,
    ) -> Vec<Vec<u8>> {
        let ended = AuditFact::AttemptEnded { effect, attempt: 1, outcome, cost_nano_usd };
        self.place.map(|place| self.record(place, ended, at)).into_iter().collect()
    }

    /// What an auditor is told of ways that policy refused.
    #[must_use]
    pub fn refused(
        &self,
        model: &str,
        ways: &[(String, Vec<String>)],
        policy: &PolicySet,
        at: Timestamp,
    ) -> Vec<Vec<u8>> {
        let record = |(route, policies): &(String, Vec<String>)| {
            let Some(place) = self.place else {
                return self.searching(model, route, RequestOutcome::Denied, at);
            };
            let refused = AuditFact::Refused {
                action: MODEL_CALL.to_owned(),
                resource: by_route(model, route),
                policies: named_policies(policies),
                policy_set: policy.digest().to_owned(),
                arguments: json::digest(&Value::Null),
                needs_approval: false,
                question: None,
            };
            self.record(place, refused, at)
        };
        ways.iter().map(record).collect()
    }

    fn record(&self, place: Place, fact: AuditFact, at: Timestamp) -> Vec<u8> {
        let Place { session, version, .. } = place;
        let (project, agent) = (self.project, Some(self.agent));
        AuditRecord { at, project, session, version, agent, turn: None, fact }.to_bytes()
    }

    /// A search belongs to no session, so its record has the shape of requests.
    fn searching(&self, model: &str, route: &str, outcome: RequestOutcome, at: Timestamp) -> Vec<u8> {
        let by = self.behind.as_ref().map_or_else(|| self.agent.to_string(), |party| party.id.clone());
        let fact = RequestFact {
            kind: RequestKind::Read,
            action: MODEL_CALL.to_owned(),
            resource: by_route(model, route),
            arguments: json::digest(&Value::Null),
            by,
            outcome,
        };
        RequestRecord { at, project: self.project, fact }.to_bytes()
    }
}

/// A call that makes state at the provider is that first of all.
fn class(way: &Candidate) -> CallClass {
    if way.stateful { CallClass::Stateful } else { CallClass::Memory }
}

fn by_route(model: &str, route: &str) -> String {
    format!("{model} by {route}")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use tenure_journal::{BudgetScope, BudgetUse, Caps, Fresh, Period, RouteRecord};
    use tenure_policy::PolicySource;

    use super::*;
    use crate::{NO_BUDGETS, NOTHING_FROZEN, SharedBudget};

    fn way(name: &str, region: &str) -> Candidate {
        let record = RouteRecord {
            name: name.to_owned(),
            region: region.to_owned(),
            retention_days: 0,
            ..RouteRecord::default()
        };
        Candidate { record, account: name.to_owned(), stateful: false, price: None }
    }

    fn labels(text: &str) -> Labels {
        serde_json::from_str(text).expect("labels")
    }

    fn check(policies: &str, flow: &Labels, unhealthy: &[&str], expected: &Result<&str, Vec<&str>>) {
        let fresh = Fresh::new(Timestamp::from_millis(1), 1);
        let space =
            MemorySpace { project: ProjectId::fresh(&fresh), agent: AgentId::fresh(&fresh), user: None };
        let rememberer = Rememberer::searched(&space, Some("desk".to_owned()), None, None);
        let policy = PolicySet::new(&[PolicySource { name: "p.cedar".into(), text: policies.into() }]);
        let policy = policy.expect("valid policies");
        let named = BTreeMap::from([(
            "vectors".to_owned(),
            vec![way("us", "us"), way("eu", "eu"), way("eu2", "eu")],
        )]);
        let unhealthy: BTreeSet<String> = unhealthy.iter().map(ToString::to_string).collect();
        let routes = Routes { named: &named, unhealthy: &unhealthy, ..Routes::UNKNOWN };
        let deciding = Deciding {
            policy: &policy,
            frozen: &NOTHING_FROZEN,
            routes,
            budgets: &NO_BUDGETS,
            model: "vectors",
            flow,
            tokens: 100,
            at: Timestamp::from_millis(1),
        };
        match (rememberer.decide(&deciding), expected) {
            (Ok(way), Ok(name)) => {
                assert_eq!(way.decision.route.name, *name, "{policies} {flow:?}");
                assert_eq!((&*way.decision.class, &way.decision.flow), ("memory", flow));
                assert!(way.decision.permit.asked.is_empty());
            }
            (Err(Unsent::Refused(ways)), Err(names)) => {
                let found: Vec<&str> = ways.iter().map(|(name, _)| name.as_str()).collect();
                assert_eq!(found, *names, "{policies} {flow:?}");
            }
            (found, _) => panic!("{policies} {flow:?}: {found:?}"),
        }
    }

    #[test]
    fn the_first_way_that_may_be_taken_is() {
        let neutral = Labels::NEUTRAL;
        let european = labels(r#"{"regions":["eu"]}"#);
        let secret = labels(r#"{"confidentiality":"restricted"}"#);
        check("", &neutral, &[], &Ok("us"));
        check("", &european, &[], &Ok("eu"));
        check("", &european, &["eu"], &Ok("eu2"));
        check("", &european, &["eu", "eu2"], &Ok("eu"));
        let closed = r#"@id("kept-here") forbid (principal, action == Action::"model.call", resource)
            when { context.class == "memory" && context.flow.confidentiality > 1 };"#;
        check(closed, &neutral, &[], &Ok("us"));
        check(closed, &secret, &[], &Err(vec!["us", "eu", "eu2"]));
        let by_agent = r#"@id("not-desk") forbid (principal == Agent::"desk", action == Action::"model.call", resource)
            when { context.route.name != "eu2" };"#;
        check(by_agent, &neutral, &[], &Ok("eu2"));
    }

    #[test]
    fn where_money_is_limited_a_way_without_a_price_is_none() {
        let fresh = Fresh::new(Timestamp::from_millis(1), 1);
        let at = Timestamp::from_millis(1);
        let space =
            MemorySpace { project: ProjectId::fresh(&fresh), agent: AgentId::fresh(&fresh), user: None };
        let rememberer = Rememberer::searched(&space, None, None, None);
        let policy = PolicySet::new(&[]).expect("valid policies");
        let decide = |caps: Caps, prices: [Option<Price>; 2]| {
            let id = BudgetId::at(BudgetScope::Project, Period::Total, at);
            let shared = vec![SharedBudget { id, caps, used: BudgetUse::default() }];
            let ways = ["one", "other"].into_iter().zip(prices);
            let ways = ways.map(|(name, price)| Candidate { price, ..way(name, "eu") }).collect();
            let named = BTreeMap::from([("vectors".to_owned(), ways)]);
            let deciding = Deciding {
                policy: &policy,
                frozen: &NOTHING_FROZEN,
                routes: Routes { named: &named, ..Routes::UNKNOWN },
                budgets: &Budgets { tree: None, shared },
                model: "vectors",
                flow: &Labels::NEUTRAL,
                tokens: 100,
                at,
            };
            rememberer.decide(&deciding).map(|way| way.decision.route.name)
        };
        let money = Caps { nano_usd: Some(1_000_000_000), ..Caps::NONE };
        let tokens = Caps { tokens: Some(1_000), ..Caps::NONE };
        let price = Price { input_nano_usd: 1, output_nano_usd: 0, output_tokens_max: 0 };
        assert_eq!(decide(tokens, [None, None]), Ok("one".to_owned()));
        assert_eq!(decide(money, [None, Some(price)]), Ok("other".to_owned()));
        let unpriced = Unsent::Budget(Short::of_unpriced("vectors").message);
        assert_eq!(decide(money, [None, None]), Err(unpriced));
    }
}

//! Every kind of request that can be asked about, with the policies that can matter to it: what a proof is about.
//!
//! A decision is about one request; a proof is about all of them. Requests of one *situation* have the same action,
//! the same kind of principal and of resource, and the same policies, so one question to a solver covers them.
//!
//! What a situation allows is at least what a decision allows. A policy that cannot be seen as it is, because it is
//! about arguments of a tool that nobody described, is taken at its worst: such a `permit` permits whatever its scope
//! names, such a `forbid` is left out. So what is proven of a situation holds; what is refuted is looked at again.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::{Effect, Policy, PolicyId, RequestEnv, Schema, ValidationMode, Validator};
use serde_json::{Value as Json, json};

use crate::arguments::Shapes;
use crate::index::names_its_tool;
use crate::rule::{Layer, Rule};
use crate::schema::{self, TOOL_CALL};
use crate::value::Fault;
use crate::{Invariant, PolicyError, PolicySet};

/// Where a policy is from, for whoever weighs what it is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Shipped: a guard rail or a default.
    Shipped,
    /// A contract's clause.
    Contract,
    /// The project's own.
    Project,
}

/// Whose half of a decision a situation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Of whoever does it.
    Doing,
    /// Of whom an agent acts for: the agent's own half has to allow it, too.
    Behind,
}

/// A tool whose arguments are known: `<server>/<name>`, and their JSON schema.
#[derive(Debug, Clone)]
pub struct DescribedTool {
    /// Its id.
    pub id: String,
    /// The schema of its arguments.
    pub parameters: Json,
}

/// All requests with one action, one kind of principal and one kind of resource.
#[derive(Debug)]
pub struct Situation {
    /// Whose half of the decision it is.
    pub side: Side,
    /// The action and the two kinds.
    pub request: RequestEnv,
    /// What the policies were validated against.
    pub schema: Arc<Schema>,
    /// The policies that can matter, as they are.
    pub rules: Vec<SituatedRule>,
    /// The tool, where it is about calls of one whose arguments are known.
    pub(crate) tool: Option<String>,
    /// The tools that are described.
    pub(crate) known: Arc<[String]>,
    /// Those that cannot be seen as they are.
    unseen: Vec<Arc<Rule>>,
}

/// A policy in a situation.
#[derive(Debug, Clone)]
pub struct SituatedRule {
    /// Its id.
    pub id: String,
    /// Where it is from.
    pub origin: Origin,
    /// The policy.
    pub policy: Policy,
}

/// What both an agent and, by themselves, people and keys do.
const BY_BOTH: [&str; 3] = ["data.read", "memory.read", "memory.write"];
const AGENT: &str = "Agent";

impl PolicySet {
    /// Every situation there is, in a fixed order. Calls of tools in `tools` at whose arguments policies or
    /// `invariants` look are situations of their own; all other calls of tools are one for each kind of principal.
    ///
    /// # Errors
    /// A policy does not fit the schema, or one of the tools.
    pub fn situations(
        &self,
        tools: &[DescribedTool],
        invariants: &[Invariant],
    ) -> Result<Vec<Situation>, PolicyError> {
        let refuse = |error: Fault| PolicyError::new("policies", &error);
        let described: Vec<(String, Shapes)> =
            tools.iter().map(|tool| (tool.id.clone(), Shapes::of(&tool.parameters))).collect();
        let named = self.named.iter().map(String::as_str);
        let schema = Arc::new(schema::described(named, &described).map_err(refuse)?);
        let mut requests: Vec<RequestEnv> = schema.request_envs().collect();
        requests.sort_by_cached_key(name_of);
        let by_agents: BTreeSet<String> =
            requests.iter().filter(|it| is_agent(it)).map(|it| action_of(it).to_owned()).collect();
        let known: Arc<[String]> = tools.iter().map(|tool| tool.id.clone()).collect();
        let looked_at: BTreeSet<&str> = tools
            .iter()
            .map(|tool| tool.id.as_str())
            .filter(|tool| invariants.iter().any(|invariant| invariant.looks_at(tool)))
            .collect();
        let mut all = Vec::new();
        for request in requests {
            let shared = by_agents.contains(action_of(&request));
            let sides: &[Side] = match (is_agent(&request) || !shared, BY_BOTH.contains(&action_of(&request)))
            {
                (true, _) => &[Side::Doing],
                (false, true) => &[Side::Doing, Side::Behind],
                (false, false) => &[Side::Behind],
            };
            for side in sides {
                let situation = self.situation(*side, request.clone(), &schema, &known, &looked_at);
                all.extend(situation.map_err(refuse)?);
            }
        }
        Ok(all)
    }

    fn situation(
        &self,
        side: Side,
        request: RequestEnv,
        schema: &Arc<Schema>,
        known: &Arc<[String]>,
        looked_at: &BTreeSet<&str>,
    ) -> Result<Option<Situation>, Fault> {
        let action = action_of(&request).to_owned();
        let tool = schema::tool_of_action(&action).map(str::to_owned);
        let actions = match &tool {
            Some(_) => vec![action.clone(), TOOL_CALL.to_owned(), "effect".to_owned()],
            None => schema::with_groups(&action),
        };
        let (principal, resource) = (request.principal().basename(), request.resource().basename());
        let concerned = self.rules.values().filter(|rule| {
            (side == Side::Doing || rule.is_about_parties()) && rule.may_concern(principal, resource)
        });
        let (mut rules, mut unseen) = (Vec::new(), Vec::new());
        let mut is_typed = false;
        for rule in concerned {
            let seen = match &tool {
                Some(_) => rule.is_about_action(&actions).then_some(true),
                None if action == TOOL_CALL => rule.may_be_about_other_tools(&actions, known),
                // A request that is no call of a tool has no arguments: such a policy fails there, which denies.
                None => rule.is_about_action(&actions).then_some(!rule.reads("args")),
            };
            is_typed |= seen.is_some() && rule.is_typed();
            match seen {
                Some(true) => rules.push(self.situated(rule)),
                Some(false) => unseen.push(Arc::clone(rule)),
                None => {}
            }
        }
        if let Some(tool) = &tool {
            // Nothing looks at this tool's arguments: its calls are like those of any other.
            if !is_typed && !looked_at.contains(tool.as_str()) {
                return Ok(None);
            }
            let policy = names_its_tool(tool)?;
            rules.push(SituatedRule { id: policy.id().to_string(), origin: Origin::Shipped, policy });
            let typed = rules.iter().map(|rule| rule.policy.clone());
            let policies = cedar_policy::PolicySet::from_policies(typed)?;
            let result = Validator::new(Schema::clone(schema)).validate(&policies, ValidationMode::Strict);
            if let Some(error) = result.validation_errors().next() {
                return Err(error.to_string().into());
            }
        }
        let (schema, known) = (Arc::clone(schema), Arc::clone(known));
        Ok(Some(Situation { side, request, schema, rules, tool, known, unseen }))
    }

    fn situated(&self, rule: &Rule) -> SituatedRule {
        let of_contract = || {
            let mut ids = self
                .contracts
                .iter()
                .flat_map(|contract| contract.clauses.iter().map(|clause| contract.policy_id(clause)));
            ids.any(|id| id == rule.id)
        };
        let origin = match rule.layer {
            Layer::Guard | Layer::Default => Origin::Shipped,
            Layer::Project if of_contract() => Origin::Contract,
            Layer::Project => Origin::Project,
        };
        SituatedRule { id: rule.id.clone(), origin, policy: rule.policy.clone() }
    }
}

impl Situation {
    /// What people call it.
    #[must_use]
    pub fn name(&self) -> String {
        let behind = match self.side {
            Side::Doing => "",
            Side::Behind => ", for whom an agent acts",
        };
        format!("{}{behind}", name_of(&self.request))
    }

    /// The action.
    #[must_use]
    pub fn action(&self) -> &str {
        action_of(&self.request)
    }

    /// The policies that decide, and for each permit that cannot be seen one that permits whatever its scope names.
    ///
    /// # Errors
    /// Two policies with one id, which a set does not have.
    pub fn policies(&self) -> Result<cedar_policy::PolicySet, PolicyError> {
        let refuse = |error: &dyn ToString| PolicyError::new("policies", error);
        let seen = self.rules.iter().map(|rule| Ok(rule.policy.clone()));
        let permits = self.unseen.iter().filter(|rule| rule.policy.effect() == Effect::Permit);
        let all: Result<Vec<Policy>, Fault> = seen.chain(permits.map(|rule| at_its_widest(rule))).collect();
        let all = all.map_err(|error| refuse(&error))?;
        cedar_policy::PolicySet::from_policies(all).map_err(|error| refuse(&error))
    }

    /// What guard rails and contracts forbid whatever else there is: their forbids, and one permit of everything.
    /// It allows at least what [`Situation::policies`] allow, and has few policies where those are many.
    ///
    /// # Errors
    /// As [`Situation::policies`].
    pub fn firm_policies(&self) -> Result<cedar_policy::PolicySet, PolicyError> {
        let refuse = |error: &dyn ToString| PolicyError::new("policies", error);
        let is_firm =
            |rule: &&SituatedRule| rule.origin != Origin::Project && rule.policy.effect() == Effect::Forbid;
        let firm = self.rules.iter().filter(is_firm).map(|rule| rule.policy.clone());
        let everything = "permit (principal, action, resource);";
        let everything = Policy::parse(Some(PolicyId::new("everything")), everything);
        let everything = everything.map_err(|error| refuse(&error))?;
        cedar_policy::PolicySet::from_policies(firm.chain([everything])).map_err(|error| refuse(&error))
    }

    /// The policies that cannot be seen as they are and could decide about this resource.
    #[must_use]
    pub fn unseen_about(&self, resource: &str) -> Vec<&str> {
        let own = schema::action_of_tool(resource);
        let actions = [own, self.action().to_owned(), "effect".to_owned()];
        let about = self.unseen.iter().filter(|rule| rule.is_about_action(&actions));
        about.map(|rule| rule.id.as_str()).collect()
    }

    /// Whether all of its policies are seen as they are.
    #[must_use]
    pub fn is_seen_whole(&self) -> bool {
        self.unseen.is_empty()
    }
}

/// A permit of everything in the scope of `rule`. Whatever tool's action it names, any call may be of that tool.
fn at_its_widest(rule: &Rule) -> Result<Policy, Fault> {
    let written = rule.policy.to_json()?;
    let widest = json!({
        "effect": "permit",
        "principal": written["principal"],
        "action": {"op": "All"},
        "resource": written["resource"],
        "conditions": [],
    });
    Ok(Policy::from_json(Some(PolicyId::new(&rule.id)), widest)?)
}

fn is_agent(request: &RequestEnv) -> bool {
    request.principal().basename() == AGENT
}

fn action_of(request: &RequestEnv) -> &str {
    request.action().id().unescaped()
}

fn name_of(request: &RequestEnv) -> String {
    format!("{} of {} by {}", action_of(request), request.resource(), request.principal())
}

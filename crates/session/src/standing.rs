//! Who acts in a session and what is known of it, apart from the session: for what is decided by whoever carries
//! an effect out, at the last moment, because nobody knew of it before.
//!
//! Almost everything is decided by the machine, in [`decide`](crate::decide), and recorded before it is done.
//! What a command is given beside its arguments is not known there: which secrets lie in a vault at that moment.

use serde_json::Value;
use tenure_journal::{
    AgentId, AuditFact, AuditRecord, EffectId, Labels, Party, PartyKind, ProjectId, SessionKey, Timestamp,
    TurnId, Version, json,
};
use tenure_policy::{Action, AgentFacts, Chain, Facts, PartyFacts, PolicySet, Principal, Request, Verdict};

use crate::audit::named_policies;
use crate::{Frozen, Session};

/// A session's part of a decision, as of one effect of it.
#[derive(Debug, Clone)]
pub struct Standing {
    key: SessionKey,
    version: Version,
    effect: EffectId,
    turn: Option<TurnId>,
    agent: AgentId,
    agent_name: Option<String>,
    agent_version: Option<u64>,
    behind: Option<Party>,
    flow: Labels,
    chain: Chain,
    quarantined: bool,
}

impl Standing {
    /// What is known of `state` when `effect` of it begins.
    #[must_use]
    pub fn of(state: &Session, effect: EffectId, turn: Option<TurnId>) -> Self {
        Self {
            key: state.key,
            version: state.version,
            effect,
            turn,
            agent: state.agent.id,
            agent_name: state.agent.name.clone(),
            agent_version: state.agent.version,
            behind: state.opened_by.clone(),
            flow: state.labels().clone(),
            chain: Chain { on_behalf_of: state.opened_by.is_some(), depth: state.depth() },
            quarantined: state.quarantined_by.is_some(),
        }
    }

    /// The project.
    #[must_use]
    pub fn project(&self) -> ProjectId {
        self.key.project
    }

    /// What policy says, with what an auditor is told of it. Nobody can be asked: what needs an approval is
    /// refused. Whoever acts on it records it first.
    #[must_use]
    pub fn decide(
        &self,
        policy: &PolicySet,
        frozen: &Frozen,
        action: Action<'_>,
        at: Timestamp,
    ) -> (Verdict, AuditRecord) {
        let project = self.key.project;
        let request = Request {
            project,
            principal: Principal::Agent(AgentFacts {
                project,
                agent_id: self.agent,
                agent_name: self.agent_name.as_deref(),
                version: self.agent_version,
                // It does something now; nothing of it waits.
                frozen: frozen.stops(self.agent),
            }),
            behind: self.behind.as_ref().map(|party| principal(project, party)),
            action,
            arguments: &Value::Null,
            facts: Facts {
                flow: &self.flow,
                quarantined: self.quarantined,
                chain: self.chain,
                ..Facts::neutral()
            },
        };
        let verdict = policy.decide(&request, None);
        let (action, resource) = (action.name().to_owned(), action.resource());
        let (policy_set, arguments) = (policy.digest().to_owned(), json::digest(&Value::Null));
        let refused = |policies: &[String], needs_approval| AuditFact::Refused {
            action: action.clone(),
            resource: resource.clone(),
            policies: named_policies(policies),
            policy_set: policy_set.clone(),
            arguments: arguments.clone(),
            needs_approval,
            question: None,
        };
        let fact = match &verdict {
            Verdict::Allow(permit) => AuditFact::Allowed {
                effect: self.effect,
                action: action.clone(),
                resource: resource.clone(),
                policies: named_policies(&permit.clone().into_record().policies),
                policy_set: policy_set.clone(),
                arguments: arguments.clone(),
                approval: None,
                grant: None,
                question: None,
            },
            Verdict::Ask(hold) => refused(&hold.policies, true),
            Verdict::Deny(denial) => refused(&denial.policies, false),
        };
        let record = AuditRecord {
            at,
            project,
            session: self.key.session,
            version: self.version,
            agent: Some(self.agent),
            turn: self.turn,
            fact,
        };
        (verdict, record)
    }
}

/// A party as policies know it.
pub(crate) fn principal(project: ProjectId, party: &Party) -> Principal<'_> {
    let facts = PartyFacts {
        project,
        id: &party.id,
        name: if party.name.is_empty() { &party.id } else { &party.name },
        active: true,
        groups: &party.groups,
    };
    match party.kind {
        PartyKind::User => Principal::User(facts),
        PartyKind::Service => Principal::Service(facts),
    }
}

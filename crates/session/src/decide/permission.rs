//! Permission: the one place where policy is asked, and where its refusals become facts.

use serde_json::Value;
use tenure_journal::{
    Amounts, Event, GrantNumber, MemoryScope, Party, PermitRecord, PolicyRefusal, ScopeKind, json as strict,
};
use tenure_policy::{Action, Approved, Facts, MemoryStore, MemoryUse, Verdict, kept_questions};

use super::Draft;
use crate::Refusal;
use crate::catalogue::{self, BuiltinTool};

/// Whether a person can be asked about what is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    /// The call can be held until somebody answers.
    Possible,
    /// Nobody can be asked: what needs an approval is refused.
    Impossible,
}

/// What policy said, not yet recorded.
pub(super) struct Judgement {
    verdict: Verdict,
    refusal: Option<PolicyRefusal>,
    grant: Option<GrantNumber>,
    /// The arguments, by path, that nobody who is trusted has named.
    pub(super) untrusted: Vec<String>,
}

impl Judgement {
    pub(super) fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The same about one way to a model.
    pub(super) fn by_route(mut self, route: &str) -> Self {
        if let Some(refusal) = &mut self.refusal {
            super::route::by_route(refusal, route);
        }
        self
    }

    /// What policy said about an effect that it was asked about twice: the less it allows, the more it counts.
    pub(super) fn and(self, other: Self) -> Self {
        let verdict = match (self.verdict, other.verdict) {
            (Verdict::Allow(ours), Verdict::Allow(theirs)) => Verdict::Allow(ours.and(theirs)),
            (Verdict::Ask(ours), Verdict::Ask(theirs)) => Verdict::Ask(ours.and(theirs)),
            (denied @ Verdict::Deny(_), _)
            | (Verdict::Allow(_) | Verdict::Ask(_), denied @ Verdict::Deny(_)) => denied,
            (held @ Verdict::Ask(_), Verdict::Allow(_)) | (Verdict::Allow(_), held @ Verdict::Ask(_)) => held,
        };
        // One refusal says enough.
        let refusal = match (self.refusal, other.refusal) {
            (Some(ours), Some(theirs)) => Some(if ours.needs_approval { theirs } else { ours }),
            (ours, theirs) => ours.or(theirs),
        };
        Self { verdict, refusal, grant: self.grant.or(other.grant), untrusted: self.untrusted }
    }
}

impl Draft<'_> {
    /// What policy says to something that nobody can be asked about. A refusal is recorded.
    pub(super) fn permit(&mut self, action: Action<'_>, arguments: &Value) -> Verdict {
        let judgement = self.judge(action, arguments, None, Asking::Impossible);
        self.pronounce(judgement)
    }

    /// What policy says. Nothing is recorded before [`Draft::pronounce`].
    pub(super) fn judge(
        &self,
        action: Action<'_>,
        arguments: &Value,
        approved: Option<Approved<'_>>,
        asking: Asking,
    ) -> Judgement {
        self.judge_spending(action, arguments, approved, asking, &Amounts::default())
    }

    /// The same about something that would set so much aside in budgets.
    pub(super) fn judge_spending(
        &self,
        action: Action<'_>,
        arguments: &Value,
        approved: Option<Approved<'_>>,
        asking: Asking,
        amounts: &Amounts,
    ) -> Judgement {
        let known = self.state.known(&action, arguments, self.cx.now);
        let facts = Facts { spend: self.budgets.facts(amounts), ..known.facts(&self.state) };
        let request = catalogue::request(&self.state, action, arguments, facts);
        let verdict = self.cx.policy.decide(&request, approved);
        let refused = match (&verdict, asking) {
            (Verdict::Allow(_), _) | (Verdict::Ask(_), Asking::Possible) => None,
            (Verdict::Ask(hold), Asking::Impossible) => Some((&hold.policies, true, None, &hold.asked)),
            (Verdict::Deny(denial), _) => {
                Some((&denial.policies, false, denial.fault.clone(), &denial.asked))
            }
        };
        let refusal = refused.map(|(policies, needs_approval, fault, asked)| PolicyRefusal {
            asked: kept_questions(asked),
            turn_id: self.state.turn.as_ref().map(|turn| turn.row.id),
            action: action.name().to_owned(),
            resource: action.resource(),
            policies: policies.clone(),
            policy_digest: self.cx.policy.digest().to_owned(),
            arguments_digest: strict::digest(arguments),
            needs_approval,
            fault,
        });
        Judgement { verdict, refusal, grant: known.grant, untrusted: known.untrusted }
    }

    /// The same, and what policy says about the credential that the server of `label` is shown, if it has one.
    pub(super) fn and_secret(
        &self,
        judgement: Judgement,
        label: &str,
        arguments: &Value,
        approved: Option<Approved<'_>>,
        asking: Asking,
    ) -> Judgement {
        let Some((id, host)) = catalogue::secret_of(&self.state, label) else { return judgement };
        let audiences = [host.clone()];
        let action = catalogue::secret_action(id, &host, &audiences);
        judgement.and(self.judge(action, arguments, approved, asking))
    }

    /// What policy says about something that is done with the session's memories, beside the call that does it.
    /// Whatever remembers, recalls or forgets on behalf of an agent asks here first.
    pub(super) fn judge_memory(&self, tool: BuiltinTool, what: MemoryUse, arguments: &Value) -> Judgement {
        let space = self.state.memory_space();
        let text = |name: &str| arguments.get(name).and_then(Value::as_str);
        // Where nothing is said of it, and where a fact is named, it is the space; what is wrong is told by the tool.
        let kind = text("scope").and_then(ScopeKind::from_word);
        let scope = match (kind, tool) {
            (None, BuiltinTool::Procedure) => {
                text("name").and_then(|name| self.state.scope_of_procedure(name)).cloned()
            }
            (kind, _) => kind.and_then(|kind| MemoryScope::of(kind, &space, self.state.key.session)),
        };
        let store = scope.map_or_else(|| MemoryStore::of(&space), |scope| MemoryStore::of_scope(&scope));
        self.judge(store.action(what), arguments, None, Asking::Impossible)
    }

    /// The clauses of contracts that are in force for something without arguments.
    pub(super) fn clauses_in_force(&self, action: Action<'_>) -> Vec<String> {
        let known = self.state.known(&action, &Value::Null, self.cx.now);
        let facts = known.facts(&self.state);
        self.cx.policy.clauses_in_force(&catalogue::request(&self.state, action, &Value::Null, facts))
    }

    /// Records a refusal, and gives the verdict. What is permitted uses the grant that covers it.
    pub(super) fn pronounce(&mut self, judgement: Judgement) -> Verdict {
        if let Some(refusal) = judgement.refusal {
            self.push(Event::PolicyRefused { refusal });
        }
        match judgement.verdict {
            Verdict::Allow(permit) => Verdict::Allow(permit.covered_by(judgement.grant)),
            held @ (Verdict::Ask(_) | Verdict::Deny(_)) => held,
        }
    }

    /// Why a person or a program may do something with the session, by itself and not through an agent.
    ///
    /// # Errors
    /// `NotAllowed`: policy says that it may not. It is told so, and nothing is recorded: nothing happened.
    pub(super) fn permit_party(&self, by: &Party, action: Action<'_>) -> Result<PermitRecord, Refusal> {
        let request = catalogue::request_of(&self.state, by, action);
        match self.cx.policy.decide(&request, None) {
            Verdict::Allow(permit) => Ok(permit.into_record()),
            Verdict::Ask(hold) => Err(Refusal::NotAllowed { policies: hold.policies }),
            Verdict::Deny(denial) => Err(Refusal::NotAllowed { policies: denial.policies }),
        }
    }
}

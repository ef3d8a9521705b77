//! Decisions, and the permits that only they can make.

use std::collections::BTreeSet;

use cedar_policy::{Context, Decision, Entities};
use tenure_journal::{ApprovalId, GrantNumber, OnExpiry, PermitRecord, json};

use crate::index::{ActionSet, Seat};
use crate::question::Question;
use crate::rule::{Layer, Rule};
use crate::value::{Fault, to_expressions};
use crate::{PolicySet, Request};

/// The most approvals of one call that a policy can ask for.
pub const QUORUM_MAX: u32 = 3;
/// Who may decide where no policy says who.
pub const APPROVERS: &str = "approvers";
/// Stands for the policies of a request that could not be decided.
const FAULT: &str = "evaluation-error";

/// Proof that policy allowed one effect with exactly these arguments.
///
/// INVARIANT: made only by [`PolicySet::decide`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit(PermitRecord);

impl Permit {
    /// The evidence, to be journaled with the effect.
    #[must_use]
    pub fn into_record(self) -> PermitRecord {
        self.0
    }

    /// The same, with the grant that covers what it permits.
    #[must_use]
    pub fn covered_by(mut self, grant: Option<GrantNumber>) -> Self {
        self.0.grant = grant;
        self
    }

    /// The permit of an effect that two decisions are about, both of the same arguments.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        debug_assert_eq!(self.0.arguments_digest, other.0.arguments_digest, "one effect has one digest");
        merge(&mut self.0.policies, other.0.policies);
        self
    }
}

/// What policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Allow(Permit),
    /// Only if a person approves exactly this.
    Ask(Hold),
    /// No.
    Deny(Denial),
}

/// A request that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Digest of the canonical arguments; the approval binds it.
    pub digest: String,
    /// Ids of the policies that would allow it then.
    pub policies: Vec<String>,
    /// Who may decide: members of any of these groups.
    pub groups: Vec<String>,
    /// How many of them have to approve.
    pub quorum: u32,
    /// How long they have, in milliseconds, and what then; absent for ever.
    pub expiry: Option<(u64, OnExpiry)>,
    /// Whether a model may answer in place of a person, where a session has one for that: what holds the request
    /// back is the agent's approval setting, or policies that say so, and no more than one approval of anybody is
    /// wanted.
    pub reviewable: bool,
}

impl Hold {
    /// What holds a request back that two decisions hold back: who may decide one and names a group decides
    /// both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        merge(&mut self.policies, other.policies);
        self.reviewable &= other.reviewable;
        if self.groups == [APPROVERS] {
            self.groups = other.groups;
        }
        self.quorum = self.quorum.max(other.quorum);
        self.expiry = match (self.expiry, other.expiry) {
            (Some(ours), Some(theirs)) => Some(if theirs.0 < ours.0 { theirs } else { ours }),
            (ours, theirs) => ours.or(theirs),
        };
        self
    }
}

fn merge(policies: &mut Vec<String>, others: Vec<String>) {
    policies.extend(others);
    policies.sort();
    policies.dedup();
}

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Ids of the policies that forbid it; empty when none permits it.
    pub policies: Vec<String>,
    /// Why it could not be decided, where it could not: an alarm, not an answer.
    pub fault: Option<String>,
}

/// People's approval of exact arguments.
#[derive(Debug, Clone, Copy)]
pub struct Approved<'a> {
    /// The approval.
    pub id: ApprovalId,
    /// Digest of the arguments that were shown.
    pub digest: &'a str,
    /// How many people approved.
    pub approvers: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    allowed: bool,
    policies: Vec<String>,
}

impl Answer {
    #[cfg(test)]
    pub(crate) fn policies(&self) -> &[String] {
        &self.policies
    }
}

/// What policy says to a request of one principal, or of two.
struct Answers {
    each: Vec<Answer>,
}

impl Answers {
    fn allowed(&self) -> bool {
        self.each.iter().all(|answer| answer.allowed)
    }

    /// The policies that determined it: those that permit, or those that forbid.
    fn policies(&self) -> Vec<String> {
        let allowed = self.allowed();
        let deciding = self.each.iter().filter(|answer| answer.allowed == allowed);
        let policies: BTreeSet<&String> = deciding.flat_map(|answer| &answer.policies).collect();
        policies.into_iter().cloned().collect()
    }
}

impl PolicySet {
    /// Decides `request`, with an approval where people gave one.
    ///
    /// An approval of other arguments counts as none. Where an agent acts for somebody, both are asked about.
    #[must_use]
    pub fn decide(&self, request: &Request<'_>, approved: Option<Approved<'_>>) -> Verdict {
        match self.try_decide(request, approved) {
            Ok(verdict) => verdict,
            Err(fault) => {
                self.tally.deny(true);
                let policies = vec![FAULT.to_owned()];
                Verdict::Deny(Denial { policies, fault: Some(fault.to_string()) })
            }
        }
    }

    fn try_decide(&self, request: &Request<'_>, approved: Option<Approved<'_>>) -> Result<Verdict, Fault> {
        if let Some(why) = &self.closed {
            return Err(why.as_str().into());
        }
        let digest = json::digest(request.arguments);
        let approved = approved.filter(|approved| approved.digest == digest);
        let question = Question::of(request, self.sight);
        let asked = match approved {
            Some(approved) => question.clone().approved_by(approved.approvers.max(1)),
            None => question.clone(),
        };
        let answers = self.answers(request, asked)?;
        if answers.allowed() {
            self.tally.allow();
            return Ok(Verdict::Allow(Permit(PermitRecord {
                policies: answers.policies(),
                policy_digest: self.digest.clone(),
                arguments_digest: digest,
                approval: approved.map(|approved| approved.id),
                grant: None,
            })));
        }
        // What one approval did not settle, another may.
        let had = approved.map_or(0, |approved| approved.approvers.max(1));
        let most = if request.action.may_ask() { QUORUM_MAX } else { 0 };
        for quorum in had + 1..=most {
            let then = self.answers(request, question.clone().approved_by(quorum))?;
            if then.allowed() {
                self.tally.hold();
                let waiting = self.waiting(&answers, &then);
                let groups = groups(&waiting);
                let reviewable = had == 0
                    && quorum == 1
                    && groups == [APPROVERS]
                    && waiting.iter().all(|rule| rule.is_reviewable());
                return Ok(Verdict::Ask(Hold {
                    digest,
                    policies: then.policies(),
                    groups,
                    quorum,
                    expiry: expiry(&waiting),
                    reviewable,
                }));
            }
        }
        self.tally.deny(false);
        Ok(Verdict::Deny(Denial { policies: answers.policies(), fault: None }))
    }

    /// What is said to the principal and, where it acts for somebody, to them.
    fn answers(&self, request: &Request<'_>, question: Question) -> Result<Answers, Fault> {
        let behind = request.behind.map(|behind| question.clone().asked_by(behind));
        let mut each = vec![self.answer(Seat::Asking, question)?];
        if let Some(behind) = behind {
            each.push(self.answer(Seat::Behind, behind)?);
        }
        Ok(Answers { each })
    }

    fn answer(&self, seat: Seat, question: Question) -> Result<Answer, Fault> {
        let set = self.set_for(seat, &question)?;
        let question = if set.is_typed { question.with_arguments()? } else { question };
        self.answered(seat, &question, &set, || self.evaluate(&question, &set))
    }

    pub(crate) fn evaluate(&self, question: &Question, set: &ActionSet) -> Result<Answer, Fault> {
        let principal = question.principal.name.to_uid()?;
        let resource = question.resource.name.to_uid()?;
        let context = Context::from_pairs(to_expressions(&question.context)?)?;
        let request =
            cedar_policy::Request::new(principal, set.action.clone(), resource, context, Some(&set.schema))?;
        // Checked against the schema: an entity with less than all of its attributes is refused.
        let mut entities = question.principal.to_entities()?;
        if question.resource.name != question.principal.name {
            entities.extend(question.resource.to_entities()?);
        }
        let entities = Entities::from_entities(entities, Some(&set.schema))?;
        let response = self.authorizer.is_authorized(&request, &set.policies, &entities);
        // A policy that fails to evaluate is skipped by Cedar; a skipped `forbid` would allow. So any error denies.
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(error.to_string().into());
        }
        let mut policies: Vec<_> = response.diagnostics().reason().map(ToString::to_string).collect();
        policies.sort();
        Ok(Answer { allowed: response.decision() == Decision::Allow, policies })
    }

    /// The policies that wait for people: those that hold the request back or, where none permits it as it is,
    /// those that permit it with an approval.
    fn waiting(&self, now: &Answers, then: &Answers) -> Vec<&Rule> {
        let denied = now.each.iter().zip(&then.each).filter(|(now, _)| !now.allowed);
        let ids = denied
            .flat_map(|(now, then)| if now.policies.is_empty() { &then.policies } else { &now.policies });
        ids.filter_map(|id| self.rules.get(id)).map(AsRef::as_ref).collect()
    }
}

/// Who may decide. Groups that a project names take the place of the shipped ones.
fn groups(waiting: &[&Rule]) -> Vec<String> {
    let of = |by_project: bool| -> BTreeSet<String> {
        let named = waiting.iter().filter(|rule| (rule.layer == Layer::Project) == by_project);
        named.flat_map(|rule| rule.ask.iter().cloned()).collect()
    };
    let by_project = of(true);
    let groups = if by_project.is_empty() { of(false) } else { by_project };
    if groups.is_empty() { vec![APPROVERS.to_owned()] } else { groups.into_iter().collect() }
}

/// How long they have: the shortest time that any of the policies gives.
fn expiry(waiting: &[&Rule]) -> Option<(u64, OnExpiry)> {
    let given = waiting.iter().filter_map(|rule| rule.expiry.as_ref());
    given.min_by_key(|expiry| expiry.after_ms).map(|expiry| (expiry.after_ms, expiry.then.clone()))
}

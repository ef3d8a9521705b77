//! Decisions, and the permits that only they can make.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::{Context, Decision};
use tenure_journal::{ApprovalId, Asked, GrantNumber, OnExpiry, PermitRecord, json};

use crate::asked::{Asking, Unreadable};
use crate::index::{ActionSet, Concerned, Part, Seat};
use crate::principal::Principal;
use crate::question::Question;
use crate::resource::MAY_ASK;
use crate::rule::{Layer, Rule};
use crate::value::{Fault, Thing, to_expressions};
use crate::{PolicySet, Request};

/// The most approvals of one call that a policy can ask for.
pub const QUORUM_MAX: u32 = 3;
/// Who may decide where no policy says who.
pub const APPROVERS: &str = "approvers";
/// Stands for the policies of a request that could not be decided.
pub const FAULT: &str = "evaluation-error";

/// Proof that policy allowed one effect with exactly these arguments.
///
/// INVARIANT: made only by [`PolicySet::decide`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    record: PermitRecord,
    /// What it was asked for: one question for each decision that it is of.
    asked: Vec<Asking>,
}

impl Permit {
    /// The evidence, to be journaled with the effect.
    #[must_use]
    pub fn into_record(self) -> PermitRecord {
        PermitRecord { asked: kept_questions(&self.asked), ..self.record }
    }

    /// The same, with the grant that covers what it permits.
    #[must_use]
    pub fn covered_by(mut self, grant: Option<GrantNumber>) -> Self {
        self.record.grant = grant;
        self
    }

    /// The permit of an effect that two decisions are about, both of the same arguments.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        let (ours, theirs) = (&self.record, &other.record);
        debug_assert_eq!(ours.arguments_digest, theirs.arguments_digest, "one effect has one digest");
        merge(&mut self.record.policies, other.record.policies);
        self.asked.extend(other.asked);
        self
    }
}

/// Questions as they are kept: all of them, or none.
#[must_use]
pub fn kept_questions(asked: &[Asking]) -> Vec<Asked> {
    asked.iter().map(Asking::to_record).collect::<Option<_>>().unwrap_or_default()
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
    /// What was asked.
    pub asked: Vec<Asking>,
}

impl Hold {
    /// What holds a request back that two decisions hold back: who may decide one and names a group decides
    /// both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        merge(&mut self.policies, other.policies);
        self.reviewable &= other.reviewable;
        self.asked.extend(other.asked);
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
    /// What was asked.
    pub asked: Vec<Asking>,
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

/// What some of the policies say of a question: which forbid it or, where none does, which permit it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    allowed: bool,
    policies: Vec<String>,
}

impl Answer {
    /// What all policies say that are in one of two parts: as if they had been asked together.
    fn and(mut self, other: Self) -> Self {
        let forbids = |answer: &Self| !answer.allowed && !answer.policies.is_empty();
        match (forbids(&self), forbids(&other)) {
            (true, false) => self,
            (false, true) => other,
            (true, true) | (false, false) => {
                merge(&mut self.policies, other.policies);
                Self { allowed: self.allowed || other.allowed, ..self }
            }
        }
    }

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

/// A verdict without what was asked.
enum Concluded {
    Allow(PermitRecord),
    Ask(Hold),
    Deny(Vec<String>),
}

impl PolicySet {
    /// Decides `request`, with an approval where people gave one.
    ///
    /// An approval of other arguments counts as none. Where an agent acts for somebody, both are asked about.
    #[must_use]
    pub fn decide(&self, request: &Request<'_>, approved: Option<Approved<'_>>) -> Verdict {
        let digest = json::digest(request.arguments);
        let approved = approved.filter(|approved| approved.digest == digest);
        let asking = Asking {
            question: Question::of(request, self.sight),
            behind: request.behind.map(Principal::to_thing),
            approvers: approved.map_or(0, |approved| approved.approvers.max(1)),
            digest,
        };
        let verdict = self.conclude(asking, approved.map(|approved| approved.id));
        match &verdict {
            Verdict::Allow(_) => self.tally.allow(),
            Verdict::Ask(_) => self.tally.hold(),
            Verdict::Deny(denial) => self.tally.deny(denial.fault.is_some()),
        }
        verdict
    }

    /// Decides again what was asked before. The same set says the same.
    ///
    /// # Errors
    /// What was kept cannot be read.
    pub fn decide_again(&self, asked: &Asked) -> Result<Verdict, Unreadable> {
        Ok(self.conclude(Asking::of_record(asked)?, None))
    }

    fn conclude(&self, asking: Asking, approval: Option<ApprovalId>) -> Verdict {
        let concluded = self.try_conclude(&asking, approval);
        let asked = vec![asking];
        match concluded {
            Ok(Concluded::Allow(record)) => Verdict::Allow(Permit { record, asked }),
            Ok(Concluded::Ask(hold)) => Verdict::Ask(Hold { asked, ..hold }),
            Ok(Concluded::Deny(policies)) => Verdict::Deny(Denial { policies, fault: None, asked }),
            Err(fault) => {
                let policies = vec![FAULT.to_owned()];
                Verdict::Deny(Denial { policies, fault: Some(fault.to_string()), asked })
            }
        }
    }

    fn try_conclude(&self, asking: &Asking, approval: Option<ApprovalId>) -> Result<Concluded, Fault> {
        if let Some(why) = &self.closed {
            return Err(why.as_str().into());
        }
        let Asking { question, behind, approvers: had, digest } = asking;
        let behind = behind.as_ref();
        let asked = match had {
            0 => question.clone(),
            had => question.clone().approved_by(*had),
        };
        let answers = self.answers(behind, asked)?;
        if answers.allowed() {
            return Ok(Concluded::Allow(PermitRecord {
                policies: answers.policies(),
                policy_digest: self.digest.clone(),
                arguments_digest: digest.clone(),
                approval,
                grant: None,
                asked: Vec::new(),
            }));
        }
        // What one approval did not settle, another may.
        let most = if MAY_ASK.contains(&question.action) { QUORUM_MAX } else { 0 };
        for quorum in had + 1..=most {
            let then = self.answers(behind, question.clone().approved_by(quorum))?;
            if then.allowed() {
                let waiting = self.waiting(&answers, &then);
                let groups = groups(&waiting);
                let reviewable = *had == 0
                    && quorum == 1
                    && groups == [APPROVERS]
                    && waiting.iter().all(|rule| rule.is_reviewable());
                return Ok(Concluded::Ask(Hold {
                    digest: digest.clone(),
                    policies: then.policies(),
                    groups,
                    quorum,
                    expiry: expiry(&waiting),
                    reviewable,
                    asked: Vec::new(),
                }));
            }
        }
        Ok(Concluded::Deny(answers.policies()))
    }

    /// What is said to the principal and, where it acts for somebody, to them.
    fn answers(&self, behind: Option<&Thing>, question: Question) -> Result<Answers, Fault> {
        let behind = behind.map(|behind| question.clone().asked_by(behind));
        let mut each = vec![self.answer(Seat::Asking, question)?];
        if let Some(behind) = behind {
            each.push(self.answer(Seat::Behind, behind)?);
        }
        Ok(Answers { each })
    }

    fn answer(&self, seat: Seat, question: Question) -> Result<Answer, Fault> {
        let set = self.set_for(seat, &question)?;
        let question = if set.is_typed { question.with_arguments()? } else { question };
        self.answer_of(seat, &set, &question)
    }

    pub(crate) fn answer_of(
        &self,
        seat: Seat,
        set: &ActionSet,
        question: &Question,
    ) -> Result<Answer, Fault> {
        let mut put = None;
        let mut answer = Answer::default();
        for part in &set.parts {
            let said = self.answered(seat, question, part, || {
                let put = match &mut put {
                    Some(put) => put,
                    none => none.insert(Put::of(question, set)?),
                };
                self.evaluate(put, part)
            })?;
            answer = answer.and(said);
        }
        Ok(answer)
    }

    fn evaluate(&self, put: &Put, part: &Part) -> Result<Answer, Fault> {
        let response = self.authorizer.is_authorized(&put.request, &part.policies, &put.concerned.entities);
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

/// A question as Cedar is asked it.
struct Put {
    request: cedar_policy::Request,
    concerned: Arc<Concerned>,
}

impl Put {
    fn of(question: &Question, set: &ActionSet) -> Result<Self, Fault> {
        let principal = question.principal.name.to_uid()?;
        let resource = question.resource.name.to_uid()?;
        let context = Context::from_pairs(to_expressions(&question.context)?)?;
        let schema = Some(set.schema.as_ref());
        let request = cedar_policy::Request::new(principal, set.action.clone(), resource, context, schema)?;
        Ok(Self { request, concerned: set.concerned(question)? })
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

//! Approvals: asking people, what follows from their answers, and from their silence.
//!
//! An approval is judged twice, when it is asked for and when it was given: what is made then is allowed by
//! the policies of then, for exactly the arguments that people saw.

use serde_json::Value;
use tenure_journal::{
    Approval, ApprovalId, CommandRequest, Decision, Effect, EffectId, EffectKind, Event, Expiry, Governance,
    ItemId, ItemStatus, OnExpiry, Party, Requester, Ticket, TurnId,
};
use tenure_policy::{
    APPROVERS, Action, Approved, Hold, SessionFacts, SessionVerb, TicketFacts, Verdict, kept_questions,
};

use super::Draft;
use super::permission::Asking;
use crate::Refusal;

/// What the model is told about a call that a person refused.
const DENIED: &str = "A person was asked to approve this call and refused. It was not made.";
/// What the model is told about a call whose approval request was dismissed.
const DISMISSED: &str = "The approval request for this call was dismissed. It was not made.";
/// What the model is told about a call that nobody answered in time.
const EXPIRED: &str = "Nobody approved this call in time. It was not made.";
const NOT_ALLOWED: &str = "The call was approved, but policy no longer allows it. It was not made.";
const NOT_OFFERED: &str = "The call was approved, but the tool is no longer offered. It was not made.";

/// The action of what is done in an environment.
pub(super) const COMMAND_RUN: &str = "command.run";
/// The action of a tool call.
pub(super) const TOOL_CALL: &str = "tool.call";

/// A call that waits for people.
pub(super) struct Waiting<'a> {
    pub(super) turn_id: TurnId,
    pub(super) item_id: ItemId,
    /// In the words of policies.
    pub(super) action: &'static str,
    pub(super) server_label: &'a str,
    pub(super) name: &'a str,
    pub(super) arguments: Value,
    /// The arguments, by path, that nobody who is trusted has named.
    pub(super) untrusted: Vec<String>,
}

impl Draft<'_> {
    /// Records that a call waits for people.
    pub(super) fn ask(&mut self, call: Waiting<'_>, hold: Hold) {
        let Waiting { turn_id, item_id, action, server_label, name, arguments, untrusted } = call;
        let review = self.review_instead(&hold);
        let asked = kept_questions(&hold.asked);
        let ticket = Ticket {
            reviewer: review.as_ref().map(|review| review.model.clone()),
            action: action.to_owned(),
            groups: hold.groups,
            quorum: hold.quorum,
            requester: Requester {
                agent: self.state.agent.id,
                version: self.state.agent.version,
                on_behalf_of: self.state.opened_by.as_ref().map(|party| party.id.clone()),
            },
            expiry: hold
                .expiry
                .map(|(after_ms, then)| Expiry { at: self.cx.now.plus_millis(after_ms), then }),
        };
        let message = if action == COMMAND_RUN {
            format!("The agent asks to run `{name}` in its environment, exactly so.")
        } else {
            format!("The agent asks to call `{name}` of `{server_label}` with these arguments.")
        };
        let id = ApprovalId::fresh(self.cx.fresh);
        self.push(Event::ApprovalRequested {
            approval: Approval {
                id,
                turn_id,
                item_id,
                server_label: server_label.to_owned(),
                name: name.to_owned(),
                arguments,
                digest: hold.digest,
                message,
                policies: hold.policies,
                policy_digest: Some(self.cx.policy.digest().to_owned()),
                labels: self.state.labels().clone(),
                untrusted,
                ticket: Some(Box::new(ticket)),
                asked,
            },
        });
        if let Some(review) = review {
            self.request_review(turn_id, id, review);
        }
    }

    /// What a person says to an approval.
    pub(super) fn decide_approval(
        &mut self,
        id: ApprovalId,
        decision: Decision,
        by: &Party,
    ) -> Result<(), Refusal> {
        // An answer that comes too late meets what the end of the time made of the question.
        self.expire_tickets();
        let Some(approval) = self.state.approvals.get(&id).cloned() else {
            let earlier = self.state.decided.iter().find(|(decided, _)| *decided == id);
            return match earlier {
                Some((_, earlier)) if *earlier == decision => Ok(()),
                Some(_) => Err(Refusal::AlreadyDecided { approval_id: id }),
                None => Err(Refusal::UnknownApproval { approval_id: id }),
            };
        };
        let permit = self.permit_party(by, self.about(&approval, decision).as_action())?;
        let quorum = approval.ticket.as_ref().map_or(1, |ticket| ticket.quorum);
        let approvers = self.state.supporters_beside(id, &by.id) + 1;
        if decision == Decision::Approve && approvers < quorum {
            if !self.state.supports_already(id, &by.id) {
                let fact = Governance::Supported { approval_id: id, by: by.id.clone(), permit };
                self.push(Event::Governed { fact });
            }
            return Ok(());
        }
        self.push(Event::ApprovalDecided {
            approval_id: id,
            decision,
            by: by.id.clone(),
            permit: Some(Box::new(permit)),
        });
        // Whoever is faster has decided it.
        self.abandon_review(id);
        match decision {
            Decision::Deny => {
                self.refuse_call(approval.item_id, DENIED);
                if self.state.quarantined_by.is_none() {
                    self.quarantine(id, &by.id, None);
                }
            }
            Decision::Cancel => self.refuse_call(approval.item_id, DISMISSED),
            Decision::Approve => self.make(&approval, approvers),
        }
        Ok(())
    }

    /// Makes a call that was approved, if policy still says so.
    pub(super) fn make(&mut self, approval: &Approval, approvers: u32) {
        let approved = Approved { id: approval.id, digest: &approval.digest, approvers };
        if approval.ticket.as_ref().is_some_and(|ticket| ticket.action == COMMAND_RUN) {
            return self.make_command(approval, approved);
        }
        let (label, name) = (&approval.server_label, &approval.name);
        let judged = self.verdict(label, name, &approval.arguments, Some(approved), Asking::Impossible);
        let judged = judged.map(|(judgement, repeat)| (self.pronounce(judgement), repeat));
        match judged {
            Some((Verdict::Allow(permit), repeat)) => self.request(Effect {
                id: EffectId::fresh(self.cx.fresh),
                turn_id: Some(approval.turn_id),
                kind: EffectKind::ToolCall {
                    item_id: approval.item_id,
                    server: crate::catalogue::server_ref(&self.state, label),
                    name: name.clone(),
                    arguments: approval.arguments.clone(),
                },
                repeat,
                permit: permit.into_record(),
            }),
            Some((Verdict::Ask(_) | Verdict::Deny(_), _)) => self.refuse_call(approval.item_id, NOT_ALLOWED),
            None => self.refuse_call(approval.item_id, NOT_OFFERED),
        }
    }

    fn make_command(&mut self, approval: &Approval, approved: Approved<'_>) {
        let Ok(request) = serde_json::from_value::<CommandRequest>(approval.arguments.clone()) else {
            return self.refuse_call(approval.item_id, NOT_OFFERED);
        };
        let judgement = self.judge_command(&request, &approval.arguments, Some(approved), Asking::Impossible);
        match self.pronounce(judgement) {
            Verdict::Allow(permit) => {
                self.request_command(
                    approval.turn_id,
                    approval.item_id,
                    request,
                    &approval.arguments,
                    permit,
                );
            }
            Verdict::Ask(_) | Verdict::Deny(_) => self.refuse_call(approval.item_id, NOT_ALLOWED),
        }
    }

    /// Closes tickets whose time is over, or asks others.
    pub(super) fn expire_tickets(&mut self) {
        for id in self.state.expired(self.cx.now) {
            let Some(approval) = self.state.approvals.get(&id) else { continue };
            let item_id = approval.item_id;
            let then = approval.ticket.as_ref().and_then(|ticket| ticket.expiry.as_ref());
            match then.map(|expiry| expiry.then.clone()) {
                Some(OnExpiry::Escalate { groups }) => {
                    self.push(Event::Governed { fact: Governance::Escalated { approval_id: id, groups } });
                }
                Some(OnExpiry::Deny) => {
                    let by = "system".to_owned();
                    let decision = Decision::Deny;
                    self.push(Event::ApprovalDecided { approval_id: id, decision, by, permit: None });
                    self.abandon_review(id);
                    self.refuse_call(item_id, EXPIRED);
                }
                None => {}
            }
        }
    }

    /// Ends the quarantine, if there is one.
    pub(super) fn release(&mut self, by: &Party) -> Result<(), Refusal> {
        let (id, agent) = (self.state.key.session.to_string(), self.state.agent_name());
        let owner = self.state.opened_by.as_ref().map_or("", |party| &party.id);
        let session = SessionFacts { id: &id, agent: &agent, owner };
        let permit = self.permit_party(by, Action::Session { verb: SessionVerb::Release, session })?;
        if self.state.quarantined_by.is_some() {
            self.end_quarantine(&by.id, &permit, None);
        }
        Ok(())
    }

    pub(super) fn refuse_call(&mut self, item_id: ItemId, error: &str) {
        self.push(Event::ItemClosed { item_id, status: ItemStatus::Failed, error: Some(error.to_owned()) });
    }

    pub(super) fn about(&self, approval: &Approval, decision: Decision) -> About {
        let ticket = approval.ticket.as_deref();
        About {
            id: approval.id.to_string(),
            action: ticket.map_or(TOOL_CALL, |ticket| &ticket.action).to_owned(),
            resource: format!("{}/{}", approval.server_label, approval.name),
            requester: ticket.and_then(|ticket| ticket.requester.on_behalf_of.clone()).unwrap_or_default(),
            groups: ticket.map_or_else(|| vec![APPROVERS.to_owned()], |ticket| ticket.groups.clone()),
            approve: decision == Decision::Approve,
            now: self.cx.now,
        }
    }
}

/// A ticket as policies see it.
pub(super) struct About {
    id: String,
    action: String,
    resource: String,
    requester: String,
    groups: Vec<String>,
    approve: bool,
    now: tenure_journal::Timestamp,
}

impl About {
    pub(super) fn as_action(&self) -> Action<'_> {
        let ticket = TicketFacts {
            id: &self.id,
            action: &self.action,
            resource: &self.resource,
            requester: &self.requester,
            groups: &self.groups,
        };
        Action::ApprovalDecide { ticket, approve: self.approve, now: self.now }
    }
}

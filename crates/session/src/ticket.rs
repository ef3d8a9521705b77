//! Tickets and quarantine as the state knows them.
//!
//! ```text
//!            asked: a model first, if the session has a reviewer and policy leaves it the question
//!            asked                 enough approve, or the reviewer does
//!   (none) ────────▶ open ─────────────────────────▶ decided: the call is judged again, and made
//!                     │ ▲ one of several approves, or others are asked when its time is over
//!                     │ └─┐
//!                     └───┘
//!                     │ one refuses                   decided, and the session is quarantined
//!                     ├──────────────────────────────▶ until a person releases it
//!                     │ dismissed, or its time is over
//!                     └──────────────────────────────▶ decided
//! ```
//!
//! A ticket is part of the state while it is open, so it is honoured once: what decides it takes it away.

use tenure_journal::{Approval, ApprovalId, Effect, EffectId, EffectKind, EndHow, Governance, Timestamp};

use crate::Session;
use crate::state::Pending;

impl Session {
    pub(crate) fn govern(&mut self, fact: &Governance) {
        match fact {
            Governance::Supported { approval_id, by, permit: _ } => {
                self.supports.entry(*approval_id).or_default().insert(by.clone());
            }
            Governance::Escalated { approval_id, groups } => {
                let ticket =
                    self.approvals.get_mut(approval_id).and_then(|approval| approval.ticket.as_mut());
                if let Some(ticket) = ticket {
                    ticket.groups.clone_from(groups);
                    ticket.expiry = None;
                }
            }
            Governance::Quarantined { approval_id, by, of } => {
                self.quarantined_by = Some(by.clone());
                self.quarantined_for = Some(*approval_id);
                self.parent_heard = of.or(self.parent_heard);
            }
            Governance::Released { by: _, permit: _, of } => {
                self.quarantined_by = None;
                self.quarantined_for = None;
                self.parent_heard = of.or(self.parent_heard);
            }
        }
    }

    /// Remembers which subagents are quarantined with the session: they are the ones to be released with it.
    pub(crate) fn govern_subagents(&mut self, effect: &Effect) {
        let EffectKind::EndSubagents { ends } = &effect.kind else { return };
        for end in ends {
            let Some(subagent) = self.subagents.get_mut(&end.subagent_id) else { continue };
            match end.how {
                EndHow::Quarantine { .. } => subagent.quarantined = true,
                EndHow::Release { .. } => subagent.quarantined = false,
                EndHow::Interrupt | EndHow::Delete => {}
            }
        }
    }

    /// A review is over: whatever its ticket waits for now, it waits for people. One that was decided is gone already.
    pub(crate) fn end_review(&mut self, kind: &EffectKind) {
        let EffectKind::Review { approval_id, .. } = kind else { return };
        let ticket = self.approvals.get_mut(approval_id).and_then(|approval| approval.ticket.as_mut());
        if let Some(ticket) = ticket {
            ticket.reviewer = None;
        }
    }

    /// The review of a ticket that is under way.
    pub(crate) fn review_of(&self, id: ApprovalId) -> Option<EffectId> {
        let reviews = |pending: &&Pending| matches!(pending.effect.kind, EffectKind::Review { approval_id, .. } if approval_id == id);
        self.effects.values().find(reviews).map(|pending| pending.effect.id)
    }

    /// When the time of the next ticket is over.
    pub(crate) fn next_expiry(&self) -> Option<Timestamp> {
        self.approvals.values().filter_map(expires_at).min()
    }

    /// The tickets whose time is over.
    pub(crate) fn expired(&self, now: Timestamp) -> Vec<ApprovalId> {
        let over = |approval: &&Approval| expires_at(approval).is_some_and(|at| at <= now);
        self.approvals.values().filter(over).map(|approval| approval.id).collect()
    }

    /// How many approved it so far, without `by`.
    pub(crate) fn supporters_beside(&self, id: ApprovalId, by: &str) -> u32 {
        let others = self.supports.get(&id).map_or(0, |all| all.iter().filter(|one| *one != by).count());
        u32::try_from(others).unwrap_or(u32::MAX)
    }

    /// Whether `by` approved it already.
    pub(crate) fn supports_already(&self, id: ApprovalId, by: &str) -> bool {
        self.supports.get(&id).is_some_and(|all| all.contains(by))
    }
}

/// Whether people are asked, and no model is before them.
pub(crate) fn awaits_people(approval: &Approval) -> bool {
    approval.ticket.as_ref().is_none_or(|ticket| ticket.reviewer.is_none())
}

fn expires_at(approval: &Approval) -> Option<Timestamp> {
    Some(approval.ticket.as_ref()?.expiry.as_ref()?.at)
}

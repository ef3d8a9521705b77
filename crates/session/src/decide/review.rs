//! Review: a model is asked about a call before people are, where a session wants that and policy leaves it the
//! question.
//!
//! ```text
//!   a call is held ──▶ ticket, and a review of it ──▶ approve: judged again, and made
//!                                                 ├──▶ refuse: not made
//!                                                 └──▶ escalate, anything else, silence, failure: people are asked
//! ```
//!
//! A review is an effect like any other: permitted as a model call of the class `reviewer`, paid for, repeated after
//! a crash. Its answer is an event of the attempt it ended, so it is honoured once; the call that it allows is judged
//! again for the digest that the ticket binds.

use tenure_journal::{
    ApprovalId, Decision, Done, Effect, EffectId, EffectKind, Event, Labels, ModelAnswer, ModelRequest,
    Party, PermitRecord, Repeat, ReviewVerdict, TurnId,
};
use tenure_policy::{APPROVERS, Hold};

use super::Draft;
use super::route::Purpose;
use crate::budget;
use crate::review;

/// Who a reviewer is to policies and in records: a program of this name, which may decide what anybody may.
pub(super) const REVIEWER: &str = "reviewer";
/// Why an answer counts as none that policy does not let the reviewer give.
const NOT_ITS_OWN: &str = "policy does not let the reviewer decide this";

/// A review that may be made.
pub(super) struct Possible {
    pub(super) model: String,
    permit: PermitRecord,
}

/// A review that is about to begin.
pub(super) struct Beginning {
    model: String,
    /// What is asked; nothing if nobody waits for the answer any more.
    request: Option<ModelRequest>,
}

impl Draft<'_> {
    /// The review to make of a held call before people are asked; nothing where they are asked at once: policy keeps
    /// the question for them, no way to the reviewer is permitted, or it cannot be paid for.
    pub(super) fn review_instead(&mut self, hold: &Hold) -> Option<Possible> {
        if self.state.review != Some(tenure_journal::Review::AutoReview) || !hold.reviewable {
            return None;
        }
        let model = self.cx.routes.reviewer?.to_owned();
        if self.is_budget_spent(&model) {
            return None;
        }
        match self.choose_route(&model, None, Purpose::Review) {
            Ok(chosen) if self.short_of(&model, &chosen).is_some() => None,
            Ok(chosen) => Some(Possible { model, permit: chosen.permit }),
            Err(unroutable) => {
                self.record_unroutable(unroutable);
                None
            }
        }
    }

    pub(super) fn request_review(&mut self, turn_id: TurnId, approval_id: ApprovalId, review: Possible) {
        let Possible { model, permit } = review;
        self.request(Effect {
            id: EffectId::fresh(self.cx.fresh),
            turn_id: Some(turn_id),
            kind: EffectKind::Review { approval_id, model },
            repeat: Repeat::Freely,
            permit,
        });
    }

    /// The effect as a review, if it is one.
    pub(super) fn review_to_begin(&self, effect_id: EffectId) -> Option<Beginning> {
        let EffectKind::Review { approval_id, model } = &self.state.effects.get(&effect_id)?.effect.kind
        else {
            return None;
        };
        Some(Beginning { model: model.clone(), request: self.state.review_request(*approval_id) })
    }

    /// Records that a review begins. One to which no way is permitted any more, or that cannot be paid for, is given
    /// up, and people are asked. Returns whether the turn goes on, which it does.
    pub(super) fn begin_review(&mut self, effect_id: EffectId, attempt: u32, review: &Beginning) -> bool {
        let request = review.request.as_ref().filter(|_| !self.is_budget_spent(&review.model));
        let Some(request) = request else {
            self.push(Event::EffectAbandoned { effect_id });
            return true;
        };
        match self.choose_route(&review.model, Some(effect_id), Purpose::Review) {
            Ok(chosen) if self.short_of(&review.model, &chosen).is_some() => {
                self.push(Event::EffectAbandoned { effect_id });
            }
            Ok(chosen) => {
                let worst = |price| budget::worst_case_of_review(request, &price);
                let reserved_nano_usd = chosen.price.map(worst);
                let route = chosen.decision;
                self.push(Event::AttemptStarted {
                    effect_id,
                    attempt,
                    reserved_nano_usd,
                    route,
                    context: None,
                    held: self.budgets.hold(chosen.amounts),
                });
            }
            Err(unroutable) => {
                self.record_unroutable(unroutable);
                self.push(Event::EffectAbandoned { effect_id });
            }
        }
        true
    }

    /// What follows from a reviewer's answer.
    pub(super) fn reviewed(
        &mut self,
        effect: &Effect,
        attempt: u32,
        answer: &ModelAnswer,
        cost_nano_usd: Option<u64>,
    ) {
        let EffectKind::Review { approval_id, .. } = effect.kind else { return };
        let (mut verdict, mut reason) = review::read(answer);
        let decision = match verdict {
            ReviewVerdict::Approve => Some(Decision::Approve),
            ReviewVerdict::Refuse => Some(Decision::Deny),
            ReviewVerdict::Escalate => None,
        };
        let approval = self.state.approvals.get(&approval_id).cloned();
        let mut decided = None;
        if let (Some(decision), Some(approval)) = (decision, approval) {
            let by = Party::service(REVIEWER, &[APPROVERS]);
            match self.permit_party(&by, self.about(&approval, decision).as_action()) {
                Ok(permit) => decided = Some((approval, decision, permit)),
                Err(_) => (verdict, reason) = (ReviewVerdict::Escalate, NOT_ITS_OWN.to_owned()),
            }
        }
        let told = reason.clone();
        let usage = answer.usage;
        let done = Done::Reviewed { verdict, reason, usage, cost_nano_usd };
        self.settle(effect.id, attempt, done, Labels::NEUTRAL);
        let Some((approval, decision, permit)) = decided else { return };
        self.push(Event::ApprovalDecided {
            approval_id,
            decision,
            by: REVIEWER.to_owned(),
            permit: Some(Box::new(permit)),
        });
        match decision {
            Decision::Approve => self.make(&approval, 1),
            Decision::Deny | Decision::Cancel => {
                let error =
                    format!("The reviewer of this session refused this call: {told} It was not made.");
                self.refuse_call(approval.item_id, &error);
            }
        }
    }

    /// Gives up the review of a ticket that was decided otherwise.
    pub(super) fn abandon_review(&mut self, approval_id: ApprovalId) {
        if let Some(effect_id) = self.state.review_of(approval_id) {
            self.push(Event::EffectAbandoned { effect_id });
        }
    }
}

//! Which way a model call takes: every attempt asks anew, so that a clause that began or ended meanwhile, an
//! account that failed and a fallback are each a decision of their own, recorded before anything is sent.
//!
//! The first permitted way whose account is well is taken. Where all permitted ones are unwell the first is tried
//! all the same: waiting is what retries are for. A way that policy refuses is never tried, nor one whose price nobody
//! knows where money is limited.

use tenure_journal::{
    Amounts, Effect, EffectId, EffectKind, FailureKind, ModelRequest, Obstacle, PassedOver, PermitRecord,
    PolicyRefusal, RouteDecision,
};
use tenure_policy::{Action, CallClass, ModelCall, Verdict};

use super::Draft;
use super::permission::{Asking, Judgement};
use super::turn::NO_ARGUMENTS;
use crate::shared_budget::{Answering, Short};
use crate::tokens::Family;
use crate::{Candidate, Price, Window, extraction};

/// What a model is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The agent's next step.
    Agent,
    /// Whether one of its calls may be made.
    Review,
    /// A summary of what it said and did.
    Compaction,
    /// Facts of what was said to it and by it.
    Memory,
}

impl Purpose {
    pub(super) fn of(kind: &EffectKind) -> Self {
        match kind {
            EffectKind::Compact { .. } => Self::Compaction,
            EffectKind::Review { .. } => Self::Review,
            EffectKind::Extract { .. } => Self::Memory,
            EffectKind::ModelCall { .. }
            | EffectKind::ListTools { .. }
            | EffectKind::ToolCall { .. }
            | EffectKind::PrepareEnvironment
            | EffectKind::PlaceFiles { .. }
            | EffectKind::Command { .. }
            | EffectKind::PublishArtifacts
            | EffectKind::Subagent { .. }
            | EffectKind::EndSubagents { .. } => Self::Agent,
        }
    }

    fn answering(self) -> Answering {
        match self {
            Self::Review => Answering::Verdict,
            Self::Memory => Answering::Facts,
            Self::Agent | Self::Compaction => Answering::Whole,
        }
    }

    /// What a call by this way is. One that makes state at the provider is that first of all.
    fn class(self, way: &Candidate) -> CallClass {
        match (self, way.class()) {
            (Self::Review, _) => CallClass::Reviewer,
            (Self::Compaction, CallClass::Stateless) => CallClass::Compaction,
            (Self::Memory, CallClass::Stateless) => CallClass::Memory,
            (Self::Agent | Self::Compaction | Self::Memory, class) => class,
        }
    }
}

/// The way that was chosen.
pub(super) struct Chosen {
    pub(super) permit: PermitRecord,
    /// Absent where no way is known but the model's name.
    pub(super) decision: Option<Box<RouteDecision>>,
    pub(super) price: Option<Price>,
    /// The most that the call may use by this way.
    pub(super) amounts: Amounts,
}

/// No way is permitted.
pub(super) struct Unroutable {
    refusals: Vec<Judgement>,
    /// What forbids them, each once.
    policies: Vec<String>,
    is_known: bool,
    /// Why no budget has enough left for any of them, where that is so.
    short: Option<Short>,
}

impl Draft<'_> {
    /// Why a call that may go its way cannot be paid for; nothing where it can.
    pub(super) fn short_of(&self, model: &str, chosen: &Chosen) -> Option<Short> {
        if !self.is_payable(chosen.price) {
            return Some(Short::of_unpriced(model));
        }
        self.budgets.short(&chosen.amounts)
    }

    /// Whether a call of that price can be held to the limits there are.
    fn is_payable(&self, price: Option<Price>) -> bool {
        let own = self.state.spend_limit.is_some_and(|limit| limit.limit.is_some());
        price.is_some() || !(own || self.budgets.limit_money())
    }

    fn price(&self, way: &Candidate, model: &str) -> Option<Price> {
        way.price.or_else(|| self.cx.prices.get(model).copied())
    }

    /// The way that an attempt at `model` takes now; `effect_id` names the call, once there is one. Whether it can be
    /// paid for, [`Draft::short_of`] says.
    pub(super) fn choose_route(
        &self,
        model: &str,
        effect_id: Option<EffectId>,
        purpose: Purpose,
    ) -> Result<Chosen, Unroutable> {
        let call = ModelCall::new(model, self.cx.now);
        let candidates = self.cx.routes.to(model);
        let counted = self.counted(effect_id, purpose);
        if candidates.is_empty() {
            let class = match purpose {
                Purpose::Agent => call.class,
                Purpose::Review => CallClass::Reviewer,
                Purpose::Compaction => CallClass::Compaction,
                Purpose::Memory => CallClass::Memory,
            };
            return self.choose_unknown(call.of_class(class), purpose, counted);
        }
        let pending = effect_id.and_then(|id| self.state.effects.get(&id));
        let avoided = pending.map(|pending| pending.avoided.as_slice()).unwrap_or_default();
        let mut refusals = Vec::new();
        let mut policies: Vec<String> = Vec::new();
        let mut passed_over = Vec::new();
        let mut permitted = Vec::new();
        // The first that would be permitted if it could be paid for: it says why, where there is no other.
        let mut unpriced = None;
        // Why the ways that a budget has not enough left for are none; whatever else stands in their way.
        let mut shorts = Vec::new();
        for candidate in &candidates {
            let name = &candidate.record.name;
            let call = call.through(candidate.facts()).of_class(purpose.class(candidate));
            let price = self.price(candidate, model);
            let amounts = self.budgets.amounts(price.as_ref(), counted, purpose.answering());
            let judgement = self.judge_call(call, &amounts);
            shorts.extend(self.budgets.short(&amounts));
            let obstacle = match judgement.verdict() {
                Verdict::Allow(permit) => {
                    let way = (candidate, permit.clone().into_record(), call, passed_over.len(), amounts);
                    if !self.is_payable(price) {
                        unpriced.get_or_insert(way);
                        continue;
                    }
                    let failed = avoided.contains(name);
                    let unhealthy = self.cx.routes.unhealthy.contains(&candidate.account);
                    permitted.push(way);
                    match (failed, unhealthy) {
                        (true, _) => Obstacle::Failed,
                        (false, true) => Obstacle::Unhealthy,
                        (false, false) => break,
                    }
                }
                Verdict::Ask(hold) => Obstacle::Refused { policies: hold.policies.clone() },
                Verdict::Deny(denial) => Obstacle::Refused { policies: denial.policies.clone() },
            };
            if let Obstacle::Refused { policies: by } = &obstacle {
                policies.extend(by.iter().filter(|id| !policies.contains(id)).cloned().collect::<Vec<_>>());
                refusals.push(judgement.by_route(name));
            }
            passed_over.push(PassedOver { route: name.clone(), why: obstacle });
        }
        // The last that was looked at is well, if any is; else the first that may be taken at all.
        let well = permitted.last().filter(|(.., passed, _)| *passed == passed_over.len());
        let usable = |name: &str| !avoided.iter().any(|avoided| avoided == name);
        let taken = well
            .or_else(|| permitted.iter().find(|(candidate, ..)| usable(&candidate.record.name)))
            .or(permitted.first())
            .or(unpriced.as_ref());
        let Some((candidate, permit, call, passed, amounts)) = taken else {
            let short = shorts.pop().filter(|_| shorts.len() + 1 == candidates.len());
            return Err(Unroutable { refusals, policies, is_known: true, short });
        };
        passed_over.truncate(*passed);
        let decision = RouteDecision {
            route: candidate.record.clone(),
            class: call.class.as_str().to_owned(),
            // What was asked is said by the effect's own permit, or follows from this.
            permit: PermitRecord { asked: Vec::new(), ..permit.clone() },
            clauses: self.clauses_in_force(Action::ModelCall(*call)),
            flow: self.state.labels().clone(),
            passed_over,
        };
        let price = self.price(candidate, model);
        let (permit, decision) = (permit.clone(), Some(Box::new(decision)));
        Ok(Chosen { permit, decision, price, amounts: *amounts })
    }

    fn choose_unknown(
        &self,
        call: ModelCall<'_>,
        purpose: Purpose,
        counted: u64,
    ) -> Result<Chosen, Unroutable> {
        let price = self.cx.prices.get(call.model).copied();
        let amounts = self.budgets.amounts(price.as_ref(), counted, purpose.answering());
        let judgement = self.judge_call(call, &amounts);
        match judgement.verdict() {
            Verdict::Allow(permit) => {
                Ok(Chosen { permit: permit.clone().into_record(), decision: None, price, amounts })
            }
            Verdict::Ask(_) | Verdict::Deny(_) => Err(Unroutable {
                refusals: vec![judgement],
                policies: Vec::new(),
                is_known: false,
                short: self.budgets.short(&amounts),
            }),
        }
    }

    fn judge_call(&self, call: ModelCall<'_>, amounts: &Amounts) -> Judgement {
        self.judge_spending(Action::ModelCall(call), NO_ARGUMENTS, None, Asking::Impossible, amounts)
    }

    /// How many tokens a call's request is counted as, where a budget has to know; a call that is not there yet may
    /// be nothing but its frame.
    fn counted(&self, effect_id: Option<EffectId>, purpose: Purpose) -> u64 {
        if self.budgets.is_empty() {
            return 0;
        }
        let kind = effect_id.and_then(|id| self.state.effects.get(&id)).map(|pending| &pending.effect.kind);
        let count = |request: &ModelRequest| Family::of(&request.model).count_request(request);
        match (purpose, kind) {
            (Purpose::Review, Some(EffectKind::Review { approval_id, .. })) => {
                self.state.review_request(*approval_id).as_ref().map_or(0, count)
            }
            (Purpose::Compaction, Some(kind @ EffectKind::Compact { .. })) => {
                self.state.compaction(kind, self.cx.window).as_ref().map_or(0, count)
            }
            (Purpose::Memory, Some(kind @ EffectKind::Extract { .. })) => {
                let turn =
                    self.state.turn_to_read(kind, Window::DEFAULT).map(|turn| turn.to_request(&[], &[]));
                turn.as_ref().map_or(0, count) + extraction::known_tokens_max(kind)
            }
            (Purpose::Review | Purpose::Memory, _) => 0,
            (Purpose::Agent | Purpose::Compaction, _) => self.state.built().counted,
        }
    }

    /// Records why no way may be taken.
    pub(super) fn record_unroutable(&mut self, unroutable: Unroutable) {
        for refusal in unroutable.refusals {
            self.pronounce(refusal);
        }
    }

    /// Records why no way may be taken, and ends the turn.
    pub(super) fn unroutable(&mut self, model: &str, unroutable: Unroutable) {
        let (is_known, policies) = (unroutable.is_known, unroutable.policies.clone());
        let short = unroutable.short.clone();
        self.record_unroutable(unroutable);
        if let Some(Short { code, message }) = short {
            return self.fail_turn(code, message);
        }
        if !is_known {
            return self.fail_turn("invalid_request", format!("policy does not allow the model `{model}`"));
        }
        let by = if policies.is_empty() {
            "no policy permits one".to_owned()
        } else {
            format!("forbidden by {}", policies.join(", "))
        };
        self.fail_turn(
            ROUTE_UNAVAILABLE,
            format!("there is no permitted route to the model `{model}`: {by}"),
        );
    }

    /// Whether a failure says that its way is of no use to this call, and another one may be taken instead.
    pub(super) fn has_another_route(&self, effect: &Effect, model: &str, kind: FailureKind) -> bool {
        if !kind.is_of_the_route() {
            return false;
        }
        let Some(pending) = self.state.effects.get(&effect.id) else { return false };
        let purpose = Purpose::of(&effect.kind);
        let Some(taken) = pending.route.as_ref().map(|route| &route.route.name) else { return false };
        let is_open = |name: &String| name != taken && !pending.avoided.contains(name);
        self.cx.routes.to(model).iter().filter(|candidate| is_open(&candidate.record.name)).any(|candidate| {
            let call = ModelCall::new(model, self.cx.now)
                .through(candidate.facts())
                .of_class(purpose.class(candidate));
            let price = self.price(candidate, model);
            let counted = self.counted(Some(effect.id), purpose);
            let amounts = self.budgets.amounts(price.as_ref(), counted, purpose.answering());
            let judgement = self.judge_call(call, &amounts);
            self.is_payable(price) && matches!(judgement.verdict(), Verdict::Allow(_))
        })
    }
}

/// The code of a turn that no route could serve.
const ROUTE_UNAVAILABLE: &str = "route_unavailable";

/// What a refusal is about, where it is about one way to a model.
pub(super) fn by_route(refusal: &mut PolicyRefusal, route: &str) {
    refusal.resource = format!("{} by {route}", refusal.resource);
}

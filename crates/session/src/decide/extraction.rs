//! Reading facts and a procedure out of a turn that has ended: asked for with its end, and waited for by nobody.
//!
//! ```text
//!   the turn is completed ──▶ an extraction is asked for ──▶ read: facts are written with the answer's event
//!             │                     │        ▲          └──▶ unreadable ──▶ asked for once more ──▶ given up
//!             │                     │ fails, │ crash: attempted again
//!             ▼                     ▼        │
//!      skipped, and why      given up, and the turn goes unread
//! ```
//!
//! An answer counts once: its event and what is remembered of it are one transaction. It changes nothing that the
//! session's model is shown.

use std::sync::Arc;

use tenure_journal::{
    Done, Effect, EffectId, EffectKind, Event, Extraction, ExtractionSkipped, ItemId, Labels, MemoryScope,
    ModelAnswer, PermitRecord, Repeat, TurnId, limit,
};
use tenure_policy::{MemoryStore, MemoryUse, Verdict};

use super::Draft;
use super::permission::Asking;
use super::route::Purpose;
use super::turn::NO_ARGUMENTS;
use crate::Window;
use crate::budget;
use crate::extraction::{self, ReadTurn};

impl Draft<'_> {
    /// Asks for what is to be remembered of a turn that was just completed, where that is wanted.
    pub(super) fn read_turn(&mut self, turn_id: TurnId) {
        let Some(wanted) = self.state.wanted_extraction(self.cx.routes.extraction).cloned() else { return };
        let items = self.state.readable(turn_id);
        if items.is_empty() {
            return;
        }
        let calls = if wanted.procedures { self.state.calls_to_read(turn_id) } else { Vec::new() };
        let asked = self.extraction_of(wanted, (items, calls));
        self.ask_extraction(turn_id, asked);
    }

    /// The effect, and why it may happen; or why it does not.
    fn extraction_of(
        &mut self,
        wanted: Extraction,
        (items, calls): (Vec<ItemId>, Vec<ItemId>),
    ) -> Result<(EffectKind, PermitRecord), ExtractionSkipped> {
        let Extraction { model, scope, facts_max, procedures: _ } = wanted;
        let space = self.state.memory_space();
        let scope =
            MemoryScope::of(scope, &space, self.state.key.session).ok_or(ExtractionSkipped::NoUser)?;
        let waiting = self.state.pending().filter(|effect| is_extraction(effect)).count();
        if waiting >= limit::EXTRACTIONS_WAITING_MAX {
            return Err(ExtractionSkipped::Waiting);
        }
        let permit = self.permit_to_read(&model, &scope)?;
        let labels = self.state.labels().clone();
        Ok((EffectKind::Extract { model, scope, facts_max, items, calls, labels, again: false }, permit))
    }

    /// Why a model may be asked, and what it finds may be kept.
    fn permit_to_read(
        &mut self,
        model: &str,
        scope: &MemoryScope,
    ) -> Result<PermitRecord, ExtractionSkipped> {
        let store = MemoryStore::of_scope(scope);
        let write = self.judge(store.action(MemoryUse::Write), NO_ARGUMENTS, None, Asking::Impossible);
        let write = match self.pronounce(write) {
            Verdict::Allow(permit) => permit.into_record(),
            Verdict::Ask(_) | Verdict::Deny(_) => return Err(ExtractionSkipped::NotAllowed),
        };
        if self.is_budget_spent(model) {
            return Err(ExtractionSkipped::Budget);
        }
        match self.choose_route(model, None, Purpose::Memory) {
            Ok(chosen) if self.short_of(model, &chosen).is_some() => Err(ExtractionSkipped::Budget),
            Ok(chosen) => {
                let mut permit = chosen.permit;
                permit.policies.extend(write.policies);
                permit.policies.sort();
                permit.policies.dedup();
                permit.asked.extend(write.asked);
                Ok(permit)
            }
            Err(unroutable) => {
                self.record_unroutable(unroutable);
                Err(ExtractionSkipped::NoRoute)
            }
        }
    }

    fn ask_extraction(
        &mut self,
        turn_id: TurnId,
        asked: Result<(EffectKind, PermitRecord), ExtractionSkipped>,
    ) {
        match asked {
            Ok((kind, permit)) => {
                let id = EffectId::fresh(self.cx.fresh);
                self.request(Effect { id, turn_id: Some(turn_id), kind, repeat: Repeat::Freely, permit });
            }
            Err(why) => self.push(Event::ExtractionSkipped { turn_id, why }),
        }
    }

    /// The effect, if it reads a turn.
    pub(super) fn extraction_to_begin(&self, effect_id: EffectId) -> Option<Arc<Effect>> {
        let effect = &self.state.effects.get(&effect_id)?.effect;
        is_extraction(effect).then(|| Arc::clone(effect))
    }

    /// Records that a turn is about to be read. Where that is not possible any more it is given up. Returns whether
    /// the session goes on, which it does.
    pub(super) fn begin_extraction(&mut self, effect: &Effect, attempt: u32) -> bool {
        let (effect_id, kind) = (effect.id, &effect.kind);
        let EffectKind::Extract { model, .. } = kind else { return true };
        let why = if self.is_budget_spent(model) {
            ExtractionSkipped::Budget
        } else {
            match self.choose_route(model, Some(effect_id), Purpose::Memory) {
                Ok(chosen) if self.short_of(model, &chosen).is_some() => ExtractionSkipped::Budget,
                Ok(chosen) => {
                    let request = self.state.turn_to_read(kind, Window::DEFAULT);
                    let request = request.map(|turn| turn.to_request(&[], &[]));
                    let known = extraction::known_tokens_max(kind);
                    let worst = |price| budget::worst_case_of_reading(model, request.as_ref(), known, &price);
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
                    return true;
                }
                Err(unroutable) => {
                    self.record_unroutable(unroutable);
                    ExtractionSkipped::NoRoute
                }
            }
        };
        self.push(Event::EffectAbandoned { effect_id });
        if let Some(turn_id) = effect.turn_id {
            self.push(Event::ExtractionSkipped { turn_id, why });
        }
        true
    }

    /// What follows from an answer: what is remembered, and once another question.
    pub(super) fn turn_was_read(
        &mut self,
        effect: &Effect,
        attempt: u32,
        answer: &ModelAnswer,
        cost_nano_usd: Option<u64>,
    ) {
        let EffectKind::Extract { model, scope, items, calls, facts_max, labels, again } = &effect.kind
        else {
            return;
        };
        let ReadTurn { facts, procedure, dropped, problem } =
            extraction::read(answer, (items, calls), *facts_max);
        let is_unread = problem.is_some();
        let usage = answer.usage;
        let done = Done::Extracted { facts, procedure, dropped, problem, usage, cost_nano_usd };
        // What a model made of the turn is shown to nobody in this session.
        self.settle(effect.id, attempt, done, Labels::NEUTRAL);
        if is_unread
            && !again
            && let Some(turn_id) = effect.turn_id
        {
            let asked = self.permit_to_read(model, scope).map(|permit| {
                let (model, scope, facts_max) = (model.clone(), scope.clone(), *facts_max);
                let (items, calls, labels) = (items.clone(), calls.clone(), labels.clone());
                (EffectKind::Extract { model, scope, facts_max, items, calls, labels, again: true }, permit)
            });
            self.ask_extraction(turn_id, asked);
        }
    }

    /// Gives up reading: the session is deleted, or goes back to before.
    pub(super) fn abandon_extractions(&mut self) {
        let ids: Vec<EffectId> =
            self.state.pending().filter(|effect| is_extraction(effect)).map(|effect| effect.id).collect();
        for effect_id in ids {
            self.push(Event::EffectAbandoned { effect_id });
        }
    }
}

fn is_extraction(effect: &Effect) -> bool {
    matches!(effect.kind, EffectKind::Extract { .. })
}

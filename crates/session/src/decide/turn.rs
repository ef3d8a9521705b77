//! What a session does next by itself: begin a turn, take up messages, ask the model, end the turn.

use serde_json::Value;
use tenure_journal::{
    Decision, Effect, EffectId, EffectKind, Event, Item, ItemId, ItemStatus, Lane, McpTool, Repeat,
    Timestamp, TurnEnd, TurnError, TurnId, limit,
};
use tenure_policy::{Action, Verdict};

use super::compaction::Fit;
use super::permission::Asking;
use super::route::Purpose;
use super::{Draft, Role};
use crate::Reserving;
use crate::budget;
use crate::shared_budget::Short;

/// Null: the arguments of a request that has none.
pub(super) const NO_ARGUMENTS: &Value = &Value::Null;

impl Draft<'_> {
    /// Goes on until something outside has to happen.
    pub(super) fn advance(&mut self) {
        if self.state.deleted || self.state.failed.is_some() {
            return;
        }
        // Each round ends a turn, begins one, or requests an effect and stops.
        while self.step() {}
    }

    fn step(&mut self) -> bool {
        self.begin_next();
        let Some(turn) = &self.state.turn else {
            if self.state.queue.is_empty() || self.state.awaits_environment() {
                return false;
            }
            self.create_turn();
            return true;
        };
        if self.state.is_busy() || self.state.waits() {
            return false;
        }
        if turn.answered && !turn.unseen {
            let turn_id = turn.row.id;
            if self.publish_artifacts(turn_id) {
                return true;
            }
            self.end_turn(TurnEnd::Completed);
            return true;
        }
        let turn_id = turn.row.id;
        let first = turn.row.started_at.is_none();
        self.join_inputs(turn_id);
        if first {
            self.push(Event::TurnStarted { turn_id });
            self.take_memory();
        }
        let goes_on = self.list_tools(turn_id) || self.call_model(turn_id);
        // Servers that run in the environment are asked in its lane.
        self.begin_next();
        goes_on
    }

    pub(super) fn create_turn(&mut self) -> TurnId {
        self.resume_environment();
        let turn_id = TurnId::fresh(self.cx.fresh);
        self.push(Event::TurnCreated { turn_id });
        turn_id
    }

    pub(super) fn join_inputs(&mut self, turn_id: TurnId) {
        while let Some(input) = self.state.queue.front() {
            let input_id = input.id;
            self.push(Event::InputJoined { input_id, item_id: ItemId::fresh(self.cx.fresh), turn_id });
        }
    }

    /// Asks servers for their tools where they are not known. Returns whether the turn ended for it.
    fn list_tools(&mut self, turn_id: TurnId) -> bool {
        let wanted: Vec<(String, bool)> =
            self.unlisted().map(|mcp| (mcp.server_label.clone(), mcp.runs_inside())).collect();
        for (server_label, inside) in wanted {
            let asking = Asking::Impossible;
            let list = Action::ToolsList { server: &server_label };
            let list = self.judge(list, NO_ARGUMENTS, None, asking);
            let list = self.and_secret(list, &server_label, NO_ARGUMENTS, None, asking);
            match self.pronounce(list) {
                Verdict::Allow(permit) => self.request(Effect {
                    id: EffectId::fresh(self.cx.fresh),
                    turn_id: Some(turn_id),
                    kind: EffectKind::ListTools { server_label, inside },
                    repeat: Repeat::Freely,
                    permit: permit.into_record(),
                }),
                // The refusal says that it is down.
                Verdict::Ask(_) | Verdict::Deny(_) if self.state.is_of_plugin(&server_label) => {}
                Verdict::Ask(_) | Verdict::Deny(_) => {
                    let message = format!("policy does not allow the tool server `{server_label}`");
                    self.fail_turn("invalid_request", message);
                    return true;
                }
            }
        }
        false
    }

    fn unlisted(&self) -> impl Iterator<Item = &McpTool> {
        let state = &self.state;
        let begins = state.turn.as_ref().is_some_and(|turn| turn.steps == 0);
        let oldest = self.cx.now.as_millis().saturating_sub_unsigned(limit::LISTING_AGE_MS_MAX);
        let began = state.turn.as_ref().map_or(state.created_at, |turn| turn.row.created_at);
        state.servers().filter(move |mcp| {
            match state.listings.get(&mcp.server_label) {
                None => true,
                Some(listing) if self.has_changed(&mcp.server_label, listing.at) => true,
                // A server that was down is asked again by the next turn; an old list is not trusted for ever.
                Some(listing) if listing.tools.is_none() => begins && listing.at < began,
                Some(listing) => begins && listing.at.as_millis() < oldest,
            }
        })
    }

    /// Whether a server said after `listed` that its tools have changed.
    fn has_changed(&self, server_label: &str, listed: Timestamp) -> bool {
        self.cx.tools_changed.get(server_label).is_some_and(|changed| *changed > listed)
    }

    /// Asks the model, unless something forbids it. Returns whether the turn ended instead.
    fn call_model(&mut self, turn_id: TurnId) -> bool {
        if self.state.is_busy() {
            return false;
        }
        if let Some((code, message)) = self.obstacle() {
            self.fail_turn(code, message);
            return true;
        }
        match self.fit_context() {
            Fit::Fits => {}
            Fit::Waits => return false,
            Fit::Never(code, message) => {
                self.fail_turn(code, message);
                return true;
            }
        }
        let model = self.state.agent.model.clone();
        match self.choose_route(&model, None, Purpose::Agent) {
            Ok(chosen) => {
                if let Some(Short { code, message }) = self.short_of(&model, &chosen) {
                    self.fail_turn(code, message);
                    return true;
                }
                let step = self.state.turn.as_ref().map_or(0, |turn| turn.steps);
                self.request(Effect {
                    id: EffectId::fresh(self.cx.fresh),
                    turn_id: Some(turn_id),
                    kind: EffectKind::ModelCall { model, step },
                    repeat: Repeat::Freely,
                    permit: chosen.permit,
                });
                false
            }
            Err(unroutable) => {
                self.unroutable(&model, unroutable);
                true
            }
        }
    }

    /// Why the model cannot be asked.
    fn obstacle(&self) -> Option<(&'static str, String)> {
        let turn = self.state.turn.as_ref()?;
        if turn.steps >= limit::STEPS_PER_TURN_MAX {
            let message = format!("the turn needed more than {} model requests", limit::STEPS_PER_TURN_MAX);
            return Some(("invalid_request", message));
        }
        if let Some(Short { code, message }) = self.budget_short(&self.state.agent.model) {
            return Some((code, message));
        }
        let down = self.state.servers().filter(|mcp| mcp.required).find(|mcp| {
            self.state.listings.get(&mcp.server_label).is_some_and(|listing| listing.tools.is_none())
        });
        down.map(|mcp| {
            ("connection_failed", format!("the required tool server `{}` cannot be used", mcp.server_label))
        })
    }

    /// Whether `model` cannot be paid for.
    pub(super) fn is_budget_spent(&self, model: &str) -> bool {
        self.budget_short(model).is_some()
    }

    /// Why `model` cannot be paid for. What the whole tree spent is known to its budget alone; that this session
    /// reached the limit by itself is known here.
    fn budget_short(&self, model: &str) -> Option<Short> {
        let reached = self.state.spend_limit.is_some_and(|limit| self.state.spent.reaches(limit));
        if reached {
            return Some(Short::of_tree());
        }
        match self.cx.reserving {
            Reserving::Asked => None,
            Reserving::Refused => self.cx.prices.contains_key(model).then(Short::of_tree),
            Reserving::RefusedBy(id, measure) => Some(self.budgets.refused(id, measure)),
        }
    }

    /// Ends the turn if `model` cannot be asked again because too little is left of the budget. Returns
    /// whether it did.
    pub(super) fn stop_at_budget(&mut self, model: &str) -> bool {
        let Some(Short { code, message }) = self.budget_short(model) else { return false };
        self.fail_turn(code, message);
        true
    }

    /// Records an effect together with the beginning of its first attempt, if it may begin here.
    pub(super) fn request(&mut self, effect: Effect) {
        let effect_id = effect.id;
        let waits = effect.kind.lane().is_some() || self.cx.frozen.holds(self.state.agent.id, &effect);
        self.push(Event::EffectRequested { effect });
        match self.cx.role {
            Role::Holder if !waits => {
                self.begin(effect_id, 1);
            }
            Role::Holder | Role::Guest => {}
        }
    }

    /// Begins what was asked for next in each lane, once nothing asked before is under way.
    fn begin_next(&mut self) {
        match self.cx.role {
            Role::Holder => {}
            Role::Guest => return,
        }
        for lane in Lane::ALL {
            if let Some(next) = self.state.next_in(lane).filter(|next| !self.is_held(*next)) {
                self.begin(next, 1);
            }
        }
    }

    /// Whether a freeze keeps an effect from being attempted.
    pub(super) fn is_held(&self, effect_id: EffectId) -> bool {
        let pending = self.state.effects.get(&effect_id);
        pending.is_some_and(|pending| self.cx.frozen.holds(self.state.agent.id, &pending.effect))
    }

    /// Records that an attempt begins, which way it takes and what it may cost. Returns whether it does: a model
    /// call to which no way is permitted any more ends its turn instead.
    pub(super) fn begin(&mut self, effect_id: EffectId, attempt: u32) -> bool {
        if let Some(review) = self.review_to_begin(effect_id) {
            return self.begin_review(effect_id, attempt, &review);
        }
        if let Some(effect) = self.summary_to_begin(effect_id) {
            return self.begin_summary(&effect, attempt);
        }
        if let Some(effect) = self.extraction_to_begin(effect_id) {
            return self.begin_extraction(&effect, attempt);
        }
        let model = self.state.effects.get(&effect_id).and_then(|pending| budget::model(&pending.effect));
        let (mut reserved_nano_usd, mut route, mut context, mut held) = (None, None, None, None);
        if let Some(model) = model.map(str::to_owned) {
            match self.choose_route(&model, Some(effect_id), Purpose::Agent) {
                Ok(chosen) => match self.fit_without_summary() {
                    Ok(size) => {
                        if let Some(Short { code, message }) = self.short_of(&model, &chosen) {
                            self.fail_turn(code, message);
                            return false;
                        }
                        reserved_nano_usd =
                            chosen.price.map(|price| budget::worst_case(&price, size.counted));
                        route = chosen.decision;
                        context = Some(size);
                        held = self.budgets.hold(chosen.amounts);
                    }
                    Err((code, message)) => {
                        self.fail_turn(code, message);
                        return false;
                    }
                },
                Err(unroutable) => {
                    self.unroutable(&model, unroutable);
                    return false;
                }
            }
        }
        self.push(Event::AttemptStarted { effect_id, attempt, reserved_nano_usd, route, context, held });
        true
    }

    pub(super) fn fail_turn(&mut self, code: &str, message: String) {
        let error = TurnError { code: code.to_owned(), message };
        self.end_turn(TurnEnd::Failed { error });
    }

    /// Ends the running turn, if there is one, and everything it left open.
    pub(super) fn end_turn(&mut self, end: TurnEnd) {
        let Some(turn_id) = self.state.turn.as_ref().map(|turn| turn.row.id) else { return };
        if end == TurnEnd::Completed {
            self.push(Event::TurnEnded { turn_id, end });
            self.read_turn(turn_id);
            return;
        }
        let ends = self.ends();
        self.abandon_summary();
        self.close_all(turn_id);
        self.push(Event::TurnEnded { turn_id, end });
        self.end_subagents(Some(turn_id), ends);
    }

    fn close_all(&mut self, turn_id: TurnId) {
        let within = self.state.effects.values().filter(|pending| !pending.effect.kind.outlives_turn());
        let effects: Vec<EffectId> = within.map(|pending| pending.effect.id).collect();
        for effect_id in effects {
            self.push(Event::EffectAbandoned { effect_id });
        }
        let approvals: Vec<_> = self.state.approvals.keys().copied().collect();
        for approval_id in approvals {
            let by = "system".to_owned();
            self.push(Event::ApprovalDecided { approval_id, decision: Decision::Cancel, by, permit: None });
        }
        let open = |item: &Item| item.turn_id == turn_id && item.status == ItemStatus::InProgress;
        let items: Vec<ItemId> =
            self.state.items().filter(|(_, item)| open(item)).map(|(_, item)| item.id).collect();
        for item_id in items {
            self.push(Event::ItemClosed { item_id, status: ItemStatus::Incomplete, error: None });
        }
    }

    pub(super) fn cancel(&mut self) {
        self.lapse_connection(None);
        // Messages that wait for the environment are cancelled with the turn that they would have begun.
        if self.state.turn.is_none() && !self.state.queue.is_empty() && self.state.failed.is_none() {
            let turn_id = self.create_turn();
            self.join_inputs(turn_id);
        }
        self.abandon_summary();
        let Some(turn_id) = self.state.turn.as_ref().map(|turn| turn.row.id) else {
            return self.interrupt_subagents();
        };
        // What an attempt streamed whose answer another node has recorded by now was said already.
        let is_asked = |item: &&Item| {
            let asks = |effect: &Effect| matches!(effect.kind, EffectKind::ModelCall { step, .. } if item.step == Some(step));
            item.turn_id == turn_id && self.state.pending().any(asks)
        };
        let partial: Vec<Item> = self.cx.partial.iter().filter(is_asked).cloned().collect();
        for item in partial {
            let labels = self.state.labels().clone();
            self.push(Event::ItemAdded { item: Item { labels, ..item } });
        }
        self.end_turn(TurnEnd::Cancelled);
    }
}

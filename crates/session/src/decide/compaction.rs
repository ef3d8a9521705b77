//! Making a context fit: by a summary that a model writes, and where there is none by what needs nobody.
//!
//! ```text
//!   fits ───────────────────────────────────────────────▶ the model is asked
//!    │ no                                                       ▲
//!    ▼                                                          │
//!   a summary is asked for ── written ──▶ older items leave ────┤
//!    │ not possible, refused, failed                            │
//!    ▼                                                          │
//!   earlier turns leave ─▶ outputs are shortened ─▶ the running turn's steps leave
//!    ─▶ everything is shortened ─▶ all but the question leaves ─┘
//!    │ instructions and tools alone are too long
//!    ▼
//!   the turn fails, and says which setting it needs
//! ```
//!
//! Every arrow downwards is an event that makes the context shorter, so that there is an end to it.

use std::sync::Arc;

use tenure_journal::{
    AnswerItem, Compacted, ContextSize, Done, Effect, EffectId, EffectKind, Event, FailureKind, ItemId,
    Labels, ModelAnswer, Repeat, Stop, Summarizer,
};

use super::Draft;
use super::attempt::turn_code;
use super::route::Purpose;
use crate::Session;
use crate::budget;
use crate::compaction::{Cut, Reach};
use crate::gauge::Built;
use crate::shortening::{Shorten, to_shorten};
use crate::tokens::Family;

/// What of the room stays whole when a model summarises the rest.
const KEPT_PART: u64 = 3;
/// What stays where nobody summarises it.
const KEPT_UNSUMMARIZED_PART: u64 = 2;
/// A summary of less than this part of the room is not worth asking a model for.
const WORTH_PART: u64 = 8;
/// A summary is asked for ahead once the context takes this many hundredths of what it may.
const AHEAD_PERCENT: u64 = 75;

/// Whether the model can be asked.
pub(super) enum Fit {
    /// It can.
    Fits,
    /// Once a summary was written.
    Waits,
    /// Never, as things are: the code of the turn's error, and what to do about it.
    Never(&'static str, String),
}

impl Draft<'_> {
    /// Shortens the context until it fits the model's window, or asks for a summary that does.
    pub(super) fn fit_context(&mut self) -> Fit {
        let window = self.cx.window;
        loop {
            let built = self.state.built();
            let size = self.state.size(built.counted, window);
            if self.state.fits(&size, window) {
                if self.state.agent.compaction_async
                    && size.expected > window.input() / 100 * AHEAD_PERCENT
                    && !self.state.is_compacting()
                {
                    self.ask_summary(&built, true);
                }
                return Fit::Fits;
            }
            if self.items_room(&built) == 0 {
                // Nothing that leaves would help, and it would be gone when another window is set.
                let (code, message) = self.never(&built);
                return Fit::Never(code, message);
            }
            if self.state.is_compacting() || self.ask_summary(&built, false) {
                return Fit::Waits;
            }
            if !self.shrink(&built) {
                let (code, message) = self.never(&built);
                return Fit::Never(code, message);
            }
        }
    }

    /// How long the context is that an attempt is about to show. Something may have come since it was found to fit;
    /// then it is shortened now, by what needs nobody.
    pub(super) fn fit_without_summary(&mut self) -> Result<ContextSize, (&'static str, String)> {
        let window = self.cx.window;
        loop {
            let built = self.state.built();
            let size = self.state.size(built.counted, window);
            if self.state.fits(&size, window) {
                return Ok(size);
            }
            if self.items_room(&built) == 0 || !self.shrink(&built) {
                return Err(self.never(&built));
            }
        }
    }

    fn never(&self, built: &Built) -> (&'static str, String) {
        let model = &self.state.agent.model;
        let (room, fixed) = (self.state.room(self.cx.window), built.fixed);
        let message = if fixed >= room {
            format!(
                "the agent's instructions, skills and tools take about {fixed} tokens, and the window of the model \
                 `{model}` leaves {room}; shorten `instructions`, offer fewer `tools`, or set the model's \
                 `context_tokens` and `output_tokens_max` in the settings"
            )
        } else {
            let least = built.counted;
            format!(
                "the context cannot be made shorter than about {least} tokens, and the window of the model \
                 `{model}` leaves {room}; choose a model with a larger window, or set its `context_tokens` and \
                 `output_tokens_max` in the settings"
            )
        };
        (turn_code(FailureKind::ContextTooLong), message)
    }

    /// What the items may be counted as.
    fn items_room(&self, built: &Built) -> u64 {
        self.state.room(self.cx.window).saturating_sub(built.fixed)
    }

    /// Asks a model for a summary of older items. Returns whether it was asked.
    fn ask_summary(&mut self, built: &Built, ahead: bool) -> bool {
        let Some(turn) = self.state.turn.as_ref().filter(|turn| !turn.unsummarized) else { return false };
        let turn_id = turn.row.id;
        let room = self.items_room(built);
        let cut = self.state.cut(built, Reach::Anywhere, room / KEPT_PART);
        let Some(cut) = cut.filter(|cut| cut.tokens > room / WORTH_PART) else { return false };
        let model = self.state.agent.model.clone();
        if self.is_budget_spent(&model) {
            return false;
        }
        match self.choose_route(&model, None, Purpose::Compaction) {
            Ok(chosen) if self.short_of(&model, &chosen).is_some() => false,
            Ok(chosen) => {
                let Cut { upto, last, tokens: _ } = cut;
                self.request(Effect {
                    id: EffectId::fresh(self.cx.fresh),
                    turn_id: Some(turn_id),
                    kind: EffectKind::Compact { model, upto, last, ahead },
                    repeat: Repeat::Freely,
                    permit: chosen.permit,
                });
                // It may have been given up at once: then there is none.
                self.state.is_compacting()
            }
            Err(unroutable) => {
                // What is not urgent is asked for again when it is, and refused once and not at every step.
                if !ahead {
                    self.record_unroutable(unroutable);
                }
                false
            }
        }
    }

    /// Takes the next step of the last resort. Returns whether the context became shorter.
    fn shrink(&mut self, built: &Built) -> bool {
        let keep = self.items_room(built) / KEPT_UNSUMMARIZED_PART;
        self.leave_unsummarized(built, Reach::Earlier, keep)
            || self.shorten(built, Shorten::Outputs)
            || self.leave_unsummarized(built, Reach::Anywhere, keep)
            || self.shorten(built, Shorten::Everything)
            || self.leave_unsummarized(built, Reach::All, 0)
    }

    fn leave_unsummarized(&mut self, built: &Built, reach: Reach, keep: u64) -> bool {
        let Some(Cut { upto, .. }) = self.state.cut(built, reach, keep) else { return false };
        let room = self.items_room(built);
        let bytes_max = Session::summary_bytes(room);
        let text = self.state.extract(upto, bytes_max);
        let kept = self.state.kept(built, upto, room);
        if !self.goes(upto, &kept) {
            return false;
        }
        let summary = self.state.summary(upto, &text, Summarizer::Extract, bytes_max);
        let compacted = Compacted { upto, kept, summary, effect_id: None };
        self.push(Event::ContextCompacted(Box::new(compacted)));
        true
    }

    /// Whether anything that is shown leaves the context with a cut.
    fn goes(&self, upto: u64, kept: &[ItemId]) -> bool {
        self.state.items().any(|(place, item)| {
            place >= self.state.first_in_context() && place < upto && !kept.contains(&item.id)
        })
    }

    fn shorten(&mut self, built: &Built, which: Shorten) -> bool {
        let excess = built.counted.saturating_sub(self.state.room(self.cx.window)).max(1);
        let item_ids = to_shorten(&self.state, built, which, excess);
        if item_ids.is_empty() {
            return false;
        }
        self.push(Event::OutputsShortened { item_ids });
        true
    }

    /// The effect, if it has a summary written.
    pub(super) fn summary_to_begin(&self, effect_id: EffectId) -> Option<Arc<Effect>> {
        let effect = &self.state.effects.get(&effect_id)?.effect;
        matches!(effect.kind, EffectKind::Compact { .. }).then(|| Arc::clone(effect))
    }

    /// Records that a summary is about to be written. One to which no way is permitted any more is given up, and the
    /// turn does without. Returns whether the turn goes on, which it does.
    pub(super) fn begin_summary(&mut self, effect: &Effect, attempt: u32) -> bool {
        let (effect_id, kind) = (effect.id, &effect.kind);
        let EffectKind::Compact { model, .. } = kind else { return true };
        match self.choose_route(model, Some(effect_id), Purpose::Compaction) {
            Ok(chosen) if self.short_of(model, &chosen).is_some() => self.abandon_summary(),
            Ok(chosen) => {
                let asked = self.state.compaction(kind, self.cx.window);
                let counted = asked.map_or(0, |request| Family::of(model).count_request(&request));
                let reserved_nano_usd = chosen.price.map(|price| budget::worst_case(&price, counted));
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
                self.abandon_summary();
            }
        }
        true
    }

    /// What follows from a summary.
    pub(super) fn summarized(
        &mut self,
        effect: &Effect,
        attempt: u32,
        answer: &ModelAnswer,
        cost_nano_usd: Option<u64>,
    ) {
        let EffectKind::Compact { model, upto, last, .. } = &effect.kind else { return };
        let response_id = answer.response_id.clone();
        let done = Done::Model { usage: answer.usage, cost_nano_usd, response_id };
        let text = text_of(answer);
        let whole = answer.stop == Stop::Complete && !text.is_empty();
        let fits = whole && self.state.is_before(*upto, *last);
        self.settle(effect.id, attempt, done, Labels::NEUTRAL);
        if !fits {
            // Half of a summary is none. What was to be summarised leaves the context without one when it has to.
            return;
        }
        let built = self.state.built();
        let room = self.items_room(&built);
        let kept = self.state.kept(&built, *upto, room);
        let by = Summarizer::Model { model: model.clone() };
        let summary = self.state.summary(*upto, &text, by, Session::summary_bytes(room));
        let compacted = Compacted { upto: *upto, kept, summary, effect_id: Some(effect.id) };
        self.push(Event::ContextCompacted(Box::new(compacted)));
    }

    /// Gives up the summary that is being written, if one is.
    pub(super) fn abandon_summary(&mut self) {
        let is_summary = |effect: &&Effect| matches!(effect.kind, EffectKind::Compact { .. });
        let ids: Vec<EffectId> = self.state.pending().filter(is_summary).map(|effect| effect.id).collect();
        for effect_id in ids {
            self.push(Event::EffectAbandoned { effect_id });
        }
    }
}

fn text_of(answer: &ModelAnswer) -> String {
    let text = |item: &AnswerItem| match item {
        AnswerItem::Message { content } => Some(content.concat()),
        AnswerItem::Reasoning { .. } | AnswerItem::ToolCall { .. } => None,
    };
    let texts: Vec<String> = answer.items.iter().filter_map(text).collect();
    texts.join("\n").trim().to_owned()
}

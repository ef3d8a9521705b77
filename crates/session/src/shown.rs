//! What a model was shown at a step, by section: built again from the journal, as the step had built it.

use tenure_journal::{
    ContextItem, ContextSize, Done, EffectId, EffectKind, Event, ItemId, ModelRequest, Outcome, Recorded,
    SessionKey, Timestamp, ToolSpec, TurnId, Usage, Version,
};

use crate::Session;
use crate::batch::appends;
use crate::catalogue;
use crate::context::{Part, Piece, Why};
use crate::tokens::Family;

/// A context, in the parts that it is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelContext {
    /// What is sent.
    pub request: ModelRequest,
    /// Its parts, in the order of [`Part`]; empty ones are left out.
    pub sections: Vec<Section>,
}

/// A part of a context.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// Which.
    pub part: Part,
    /// About how many tokens it takes.
    pub tokens: u64,
    /// What is in it.
    pub entries: Vec<Entry>,
}

/// One thing in a context.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Why it is there as it is.
    pub why: Why,
    /// About how many tokens it takes.
    pub tokens: u64,
    /// The item that it shows.
    pub item: Option<ItemId>,
    /// That item's place in the session.
    pub place: Option<u64>,
    /// What is shown.
    pub content: Shown,
}

/// What is shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    /// A part of the instructions.
    Text(String),
    /// An item of the context.
    Item(ContextItem),
    /// A tool on offer.
    Tool(ToolSpec),
}

/// A step, and what its model was shown.
#[derive(Debug, Clone, PartialEq)]
pub struct ShownStep {
    /// Which of the session's steps it is, from 1.
    pub number: u64,
    /// How many there are.
    pub steps: u64,
    /// The turn, and which of its steps it is, from 0.
    pub turn: Option<(TurnId, u32)>,
    /// The model call.
    pub effect_id: EffectId,
    /// Its latest attempt.
    pub attempt: u32,
    /// When that began.
    pub at: Timestamp,
    /// The session's version when it began.
    pub version: Version,
    /// How long the context was counted as; absent in journals of before it was kept.
    pub size: Option<ContextSize>,
    /// What the provider said it took; absent where it said nothing, or did not answer.
    pub usage: Option<Usage>,
    /// What was shown.
    pub context: ModelContext,
}

impl Session {
    /// The context, with what every part of it is and takes.
    #[must_use]
    pub fn shown(&self) -> ModelContext {
        let family = Family::of(&self.agent.model);
        let pieces = self.pieces();
        let texts = self.preamble().into_iter().map(|(part, text)| {
            let tokens = family.count(&text);
            (part, Entry { why: Why::Kept, tokens, item: None, place: None, content: Shown::Text(text) })
        });
        let items = pieces.iter().map(|piece| {
            let Piece { place, item, why, shown } = piece;
            let part = match why {
                Why::Compacted | Why::Dropped => Part::Past,
                Why::Pinned => Part::Pinned,
                Why::Kept | Why::Shortened => Part::Recent,
            };
            let (tokens, content) = (family.count_item(shown), Shown::Item(shown.clone()));
            (part, Entry { why: *why, tokens, item: *item, place: *place, content })
        });
        let tools: Vec<ToolSpec> = catalogue::of(self).iter().map(|offer| offer.spec(self)).collect();
        let tools = tools.into_iter().map(|tool| {
            let tokens = family.count_tool(&tool);
            (
                Part::Tools,
                Entry { why: Why::Kept, tokens, item: None, place: None, content: Shown::Tool(tool) },
            )
        });
        let mut sections: Vec<Section> = Vec::new();
        for (part, entry) in texts.chain(items).chain(tools) {
            match sections.last_mut().filter(|section| section.part == part) {
                Some(section) => {
                    section.tokens += entry.tokens;
                    section.entries.push(entry);
                }
                None => sections.push(Section { part, tokens: entry.tokens, entries: vec![entry] }),
            }
        }
        let request = self.request(pieces.into_iter().map(|piece| piece.shown).collect());
        ModelContext { request, sections }
    }

    /// What the model was shown at one of the session's steps, counted from 1, or at the latest. `None`: there is no
    /// such step in the journal.
    #[must_use]
    pub fn shown_at(key: SessionKey, journal: &[Recorded], wanted: Option<u64>) -> Option<ShownStep> {
        let calls: Vec<&Recorded> =
            journal.iter().filter(|recorded| asked(&recorded.event).is_some()).collect();
        let steps = calls.len() as u64;
        let number = wanted.unwrap_or(steps);
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        let Asked { effect_id, turn, model } = asked(&calls.get(index)?.event)?;
        let started = |recorded: &Recorded| {
            if let Event::AttemptStarted { effect_id: id, attempt, context, .. } = &recorded.event
                && *id == effect_id
            {
                return Some((*attempt, *context));
            }
            None
        };
        // An attempt is made of the state after the append that began it.
        let mut state = None;
        let mut found = None;
        for append in appends(journal) {
            state = Self::fold(key, state, append);
            if let Some((attempt, size)) = append.iter().rev().find_map(started) {
                let context = state.as_ref()?.shown();
                let last = append.last()?;
                found = Some((attempt, size, last.at, last.version, context));
            }
        }
        let (attempt, size, at, version, mut context) = found?;
        context.request.model = model;
        let usage = journal.iter().find_map(|recorded| {
            if let Event::AttemptEnded { effect_id: id, outcome, .. } = &recorded.event
                && let Outcome::Done { done: Done::Model { usage, .. } } = outcome
                && *id == effect_id
            {
                return *usage;
            }
            None
        });
        Some(ShownStep { number, steps, turn, effect_id, attempt, at, version, size, usage, context })
    }
}

/// A model call that an event asks for.
struct Asked {
    effect_id: EffectId,
    turn: Option<(TurnId, u32)>,
    model: String,
}

/// The model call that an event asks for.
fn asked(event: &Event) -> Option<Asked> {
    let Event::EffectRequested { effect } = event else { return None };
    let EffectKind::ModelCall { model, step } = &effect.kind else { return None };
    let turn = effect.turn_id.map(|turn| (turn, *step));
    Some(Asked { effect_id: effect.id, turn, model: model.clone() })
}

//! How long a context is: counted, and held against what the provider said of the step before.
//!
//! ```text
//! expected = counted × measured / counted before   what the provider makes of such a text
//!          + added × ERROR_PERCENT                  what is new may be of another kind
//!          + DRIFT_PERCENT                          frames, and what the provider adds by itself
//! ```
//!
//! Where nothing was measured yet, all of it may be of another kind. What a provider refused as too long is believed
//! more than any window: a context as long as that is not tried again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tenure_journal::{ContextSize, Done, FailureKind, Outcome};

use crate::context::Why;
use crate::tokens::{ERROR_PERCENT, Family};
use crate::{Session, Window};

/// The turn error code of the Agents API for a context that its model does not take.
pub(crate) const CONTEXT_LENGTH_EXCEEDED: &str = "context_length_exceeded";
/// How far a provider's count drifts from one step to the next without a reason that is known.
const DRIFT_PERCENT: u64 = 3;
/// A provider that says it read so many times more, or fewer, counts something else.
const RATIO_MAX: u64 = 4;

/// What is known of how a model counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gauge {
    /// The model that it is known of.
    model: String,
    /// What the latest context was counted as that the provider said something of.
    #[serde(default, skip_serializing_if = "is_zero")]
    counted: u64,
    /// What the provider said.
    #[serde(default, skip_serializing_if = "is_zero")]
    measured: u64,
    /// What the shortest context was counted as that was refused as too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Gauge {
    pub(crate) fn is_new(&self) -> bool {
        *self == Self::default()
    }

    /// Takes in what came of showing `model` a context of this size.
    pub(crate) fn learn(&mut self, model: &str, size: &ContextSize, outcome: &Outcome) {
        if self.model != model {
            *self = Self { model: model.to_owned(), ..Self::default() };
        }
        match outcome {
            Outcome::Done { done: Done::Model { usage: Some(usage), .. } } if usage.input_tokens > 0 => {
                (self.counted, self.measured) = (size.counted, usage.input_tokens);
            }
            Outcome::Failed { failure } if failure.kind == FailureKind::ContextTooLong => {
                let least = self.refused.map_or(size.counted, |refused| refused.min(size.counted));
                self.refused = Some(least);
            }
            Outcome::Done { .. } | Outcome::Failed { .. } | Outcome::Unknown => {}
        }
    }

    /// A turn failed for it, however short its context became: what was refused was refused for another reason, and
    /// the next turn is tried as it is.
    pub(crate) fn forget_refusal(&mut self) {
        self.refused = None;
    }

    /// What a context of `model` that was counted takes at the provider, at most.
    fn expect(&self, model: &str, counted: u64) -> u64 {
        if self.model != model || self.measured == 0 || self.counted == 0 {
            return counted + counted * ERROR_PERCENT / 100;
        }
        let measured = self.measured.clamp(self.counted / RATIO_MAX, self.counted.saturating_mul(RATIO_MAX));
        let scaled = u128::from(counted) * u128::from(measured) / u128::from(self.counted);
        let scaled = u64::try_from(scaled).unwrap_or(u64::MAX);
        let added = counted.saturating_sub(self.counted);
        scaled.saturating_add(added * ERROR_PERCENT / 100 + scaled / 100 * DRIFT_PERCENT)
    }

    /// What a context of `model` may be counted as, where it was refused: two thirds of that.
    fn most(&self, model: &str) -> Option<u64> {
        self.refused.filter(|_| self.model == model).map(|refused| refused / 3 * 2)
    }
}

/// A context's tokens, by what they are for.
#[derive(Debug)]
pub(crate) struct Built {
    /// Instructions, pinned memory and tools: what no compaction makes shorter.
    pub(crate) fixed: u64,
    pub(crate) counted: u64,
    /// Tokens of items, by the places they have.
    places: Vec<(u64, u64)>,
}

impl Built {
    /// Tokens of each of so many items from a place on.
    pub(crate) fn tokens_by_place(&self, first: u64, items: usize) -> Vec<u64> {
        let mut tokens = vec![0; items];
        for (place, count) in &self.places {
            let index = place.checked_sub(first).and_then(|index| usize::try_from(index).ok());
            if let Some(slot) = index.and_then(|index| tokens.get_mut(index)) {
                *slot += count;
            }
        }
        tokens
    }

    /// Tokens of items, by place.
    pub(crate) fn by_place(&self) -> BTreeMap<u64, u64> {
        let mut tokens = BTreeMap::new();
        for (place, count) in &self.places {
            *tokens.entry(*place).or_default() += count;
        }
        tokens
    }

    /// Tokens of the item at a place.
    pub(crate) fn tokens_at(&self, place: u64) -> u64 {
        self.places.iter().filter(|(at, _)| *at == place).map(|(_, tokens)| tokens).sum()
    }
}

impl Session {
    /// The context's tokens as they are counted now.
    pub(crate) fn built(&self) -> Built {
        let family = Family::of(&self.agent.model);
        let mut fixed = family.count_request(&self.request(Vec::new()));
        let mut items = 0;
        let mut places = Vec::new();
        for piece in self.pieces() {
            let tokens = family.count_item(&piece.shown);
            match piece.why {
                Why::Pinned => fixed += tokens,
                Why::Kept | Why::Shortened | Why::Compacted | Why::Dropped => items += tokens,
            }
            places.extend(piece.place.map(|place| (place, tokens)));
        }
        Built { fixed, counted: fixed + items, places }
    }

    /// How long a context of so many counted tokens is, and may be.
    pub(crate) fn size(&self, counted: u64, window: Window) -> ContextSize {
        let expected = self.gauge.expect(&self.agent.model, counted);
        ContextSize { window: window.tokens, reserved: window.reserved, counted, expected }
    }

    /// Whether a context of this size may be sent.
    pub(crate) fn fits(&self, size: &ContextSize, window: Window) -> bool {
        let most = self.gauge.most(&self.agent.model);
        size.expected <= window.input() && most.is_none_or(|most| size.counted <= most)
    }

    /// The tokens that a context may be counted as, so that it fits.
    pub(crate) fn room(&self, window: Window) -> u64 {
        let model = &self.agent.model;
        // What is counted takes less than twice as much, or is refused and learned from.
        let sample = window.input().max(1);
        let taken = self.gauge.expect(model, sample).max(1);
        let room = u128::from(sample) * u128::from(window.input()) / u128::from(taken);
        let room = u64::try_from(room).unwrap_or(u64::MAX);
        self.gauge.most(model).map_or(room, |most| most.min(room))
    }
}

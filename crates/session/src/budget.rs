//! Money: what an attempt may cost before it begins, and what it counts as having cost once it has ended.
//!
//! A tree of sessions, a root and its subagents, has one budget. An attempt at a model call begins only with
//! its worst case set aside in it, in the transaction that records the attempt, and is settled in the
//! transaction that records its end. What an attempt really cost is known when the provider says so. Where
//! it does not, because the attempt was cut off, cancelled, or failed in a way that leaves open whether the
//! provider worked, all that was set aside counts as spent: a budget may be counted too high, never too low.
//!
//! The amount is part of the event that begins the attempt, so that folding never depends on prices.

use tenure_journal::{
    BudgetId, Done, Effect, EffectId, EffectKind, Event, Measure, ModelRequest, Outcome, SpendLimit, limit,
};

use crate::Session;
use crate::review;
use crate::state::{Pending, PendingPhase};
use crate::tokens::Family;

const NANO_USD_PER_CENT: u64 = 10_000_000;
const TOKENS_PER_PRICE: u128 = 1_000_000;

/// What a model costs, and how long its answers may be. Money is in billionths of a US dollar for a million
/// tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// Tokens read, at the dearest rate.
    pub input_nano_usd: u64,
    /// Tokens written.
    pub output_nano_usd: u64,
    /// Tokens an answer may have.
    pub output_tokens_max: u64,
}

/// Whether the budget has been asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserving {
    /// Not yet: the append asks it.
    Asked,
    /// It refused what this same decision wanted to set aside.
    Refused,
    /// A configured budget did, for want of this.
    RefusedBy(BudgetId, Measure),
}

/// A change of the tree's budget that goes with a batch's events. Money is in billionths of a US dollar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BudgetStep {
    /// The limit was set; absent means none.
    Limit(Option<u64>),
    /// An attempt begins.
    Reserve {
        /// Names the attempt within the budget.
        key: String,
        /// The most it may cost.
        nano_usd: u64,
    },
    /// An attempt ended, or was given up.
    Settle {
        /// Names the attempt within the budget.
        key: String,
        /// What it counts as having cost.
        nano_usd: u64,
    },
}

impl Price {
    fn worst_case(&self, input_tokens: u64) -> u64 {
        let cost = |tokens: u64, price: u64| u128::from(tokens) * u128::from(price);
        let input = cost(input_tokens, self.input_nano_usd);
        let both = input.saturating_add(cost(self.output_tokens_max, self.output_nano_usd));
        u64::try_from(both.div_ceil(TOKENS_PER_PRICE)).unwrap_or(u64::MAX)
    }
}

/// The most that a review costs.
pub(crate) fn worst_case_of_review(request: &ModelRequest, price: &Price) -> u64 {
    let price = Price { output_tokens_max: review::OUTPUT_TOKENS_MAX, ..*price };
    worst_case(&price, Family::of(&request.model).count_request(request))
}

/// The most that reading a turn costs; what is known already the request has not yet, and takes so many tokens.
pub(crate) fn worst_case_of_reading(
    model: &str,
    request: Option<&ModelRequest>,
    known_tokens: u64,
    price: &Price,
) -> u64 {
    let price = Price { output_tokens_max: limit::EXTRACTION_OUTPUT_TOKENS_MAX, ..*price };
    let turn = request.map_or(0, |request| Family::of(model).count_request(request));
    worst_case(&price, turn + known_tokens)
}

/// The most that an attempt costs whose request was counted as so many tokens.
pub(crate) fn worst_case(price: &Price, input_tokens: u64) -> u64 {
    // Half as much again as counted: tokenisers differ.
    price.worst_case(input_tokens.saturating_add(input_tokens / 2))
}

/// What an ended attempt counts as having cost; absent where prices are unknown.
pub(crate) fn cost(outcome: &Outcome, reserved: Option<u64>) -> Option<u64> {
    match outcome {
        Outcome::Done {
            done:
                Done::Model { cost_nano_usd, .. }
                | Done::Reviewed { cost_nano_usd, .. }
                | Done::Extracted { cost_nano_usd, .. },
        } => cost_nano_usd.or(reserved),
        Outcome::Done {
            done:
                Done::Tools { .. }
                | Done::Tool { .. }
                | Done::Ended
                | Done::Found { .. }
                | Done::Placed { .. }
                | Done::Command { .. }
                | Done::Published { .. },
        } => None,
        Outcome::Failed { failure } if failure.kind.is_ambiguous() => reserved,
        Outcome::Failed { .. } => reserved.map(|_| 0),
        Outcome::Unknown => reserved,
    }
}

/// A limit in billionths of a US dollar.
pub(crate) fn nano_usd(limit: SpendLimit) -> Option<u64> {
    limit.limit.map(|cents| cents.saturating_mul(NANO_USD_PER_CENT))
}

/// Whole US cents, rounded down.
pub(crate) fn cents(nano_usd: u64) -> u64 {
    nano_usd / NANO_USD_PER_CENT
}

/// How `event` changes the budget; to be asked before it is folded.
pub(crate) fn step(state: &Session, event: &Event) -> Option<BudgetStep> {
    match event {
        Event::SessionOpened(opened) => opened.spend_limit.map(|limit| BudgetStep::Limit(nano_usd(limit))),
        Event::SessionUpdated { patch } => {
            patch.spend_limit.map(|limit| BudgetStep::Limit(limit.and_then(nano_usd)))
        }
        Event::AttemptStarted { effect_id, attempt, reserved_nano_usd, .. } => {
            reserved_nano_usd.map(|nano_usd| BudgetStep::Reserve { key: key(*effect_id, *attempt), nano_usd })
        }
        Event::AttemptEnded { effect_id, attempt, outcome, .. } => {
            let reserved = state.effects.get(effect_id).and_then(|pending| pending.reserved);
            cost(outcome, reserved)
                .map(|nano_usd| BudgetStep::Settle { key: key(*effect_id, *attempt), nano_usd })
        }
        Event::EffectAbandoned { effect_id } => {
            let pending = state.effects.get(effect_id)?;
            let nano_usd = abandoned(pending)?;
            Some(BudgetStep::Settle { key: key(*effect_id, pending.attempts), nano_usd })
        }
        Event::EnvironmentOpened(_)
        | Event::EnvironmentExpired
        | Event::EnvironmentSuspended
        | Event::EnvironmentResumed
        | Event::EnvironmentReset
        | Event::SessionFailed { .. }
        | Event::SessionDeleted
        | Event::InputAccepted { .. }
        | Event::InputJoined { .. }
        | Event::TurnCreated { .. }
        | Event::TurnStarted { .. }
        | Event::TurnEnded { .. }
        | Event::ItemAdded { .. }
        | Event::ItemClosed { .. }
        | Event::FunctionsLoaded { .. }
        | Event::EffectRequested { .. }
        | Event::ApprovalRequested { .. }
        | Event::ApprovalDecided { .. }
        | Event::Granted { .. }
        | Event::FunctionReturned { .. }
        | Event::SubagentOpened { .. }
        | Event::SubagentClosed { .. }
        | Event::SubagentResumed { .. }
        | Event::PolicyRefused { .. }
        | Event::Governed { .. }
        | Event::EnvironmentConnected
        | Event::EnvironmentDisconnected
        | Event::SignedIn
        | Event::CredentialBound { .. }
        | Event::SecretPermitted { .. }
        | Event::ConnectionAwaited { .. }
        | Event::ConnectionLapsed
        | Event::ArtifactDeleted { .. }
        | Event::ContextCompacted(_)
        | Event::ContextTrimmed { .. }
        | Event::ExtractionSkipped { .. }
        | Event::OutputsShortened { .. }
        | Event::BlocksTaken { .. }
        | Event::ProceduresTaken { .. }
        | Event::Forked(_)
        | Event::Rewound(_) => None,
    }
}

/// What an attempt that is given up counts as having cost.
pub(crate) fn abandoned(pending: &Pending) -> Option<u64> {
    match pending.phase {
        PendingPhase::Running => pending.reserved,
        PendingPhase::Requested | PendingPhase::Retry { .. } => None,
    }
}

/// The model that an effect asks for the agent; absent for what is no step of a turn.
pub(crate) fn model(effect: &Effect) -> Option<&str> {
    match &effect.kind {
        EffectKind::ModelCall { model, .. } | EffectKind::Compact { model, .. } => Some(model),
        EffectKind::Review { .. }
        | EffectKind::Extract { .. }
        | EffectKind::ListTools { .. }
        | EffectKind::ToolCall { .. }
        | EffectKind::Subagent { .. }
        | EffectKind::EndSubagents { .. }
        | EffectKind::PrepareEnvironment
        | EffectKind::Command { .. }
        | EffectKind::PlaceFiles { .. }
        | EffectKind::PublishArtifacts => None,
    }
}

fn key(effect: EffectId, attempt: u32) -> String {
    format!("{effect}/{attempt}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_case_is_rounded_up_and_saturates() {
        let price = Price { input_nano_usd: 2_000_000_000, output_nano_usd: 1, output_tokens_max: 1 };
        assert_eq!(price.worst_case(0), 1);
        assert_eq!(price.worst_case(10), 20_001);
        let dear = Price { input_nano_usd: u64::MAX, output_nano_usd: u64::MAX, output_tokens_max: u64::MAX };
        assert_eq!(dear.worst_case(u64::MAX), u64::MAX);
    }
}

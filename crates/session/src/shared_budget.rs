//! Budgets that hold for more than what one session is told: of the session's tree, of its agent, of its project.
//!
//! They are looked up before a decision and are one of its arguments. An attempt at a model call begins only if the
//! most it may use fits into all of them at once; how much that is, and where it is set aside, is part of the event
//! that begins it, so that its end settles the same budgets whatever holds by then.
//!
//! ```text
//!   looked up ──▶ decide: does it fit? ──▶ append: does it still? ──▶ attempt ──▶ append: settled
//!                    │ no                      │ no: decided again, knowing which
//!                    ▼                         ▼
//!                  the turn fails, and says which budget, what of it is spent, and what to do
//! ```
//!
//! A crash between the two appends leaves what was set aside until the session is resumed, which ends the attempt.

use serde::{Deserialize, Serialize};
use tenure_journal::{
    Amounts, BudgetId, BudgetScope, BudgetUse, Caps, Done, EffectId, Event, Held, Measure, Outcome,
    Timestamp, json as strict, limit,
};
use tenure_policy::{LevelFacts, SpendFacts};

use crate::budget::{BudgetStep, Price};
use crate::state::PendingPhase;
use crate::{Session, review};

const NANO_USD_PER_USD: u64 = 1_000_000_000;
const NANO_USD_PER_MICRO: u64 = 1_000;
const MILLIS_PER_SECOND: u64 = 1_000;

/// What holds for a session, as it stood when it was looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budgets {
    /// That of the session's tree, where it has a limit.
    pub tree: Option<TreeBudget>,
    /// Those that are configured, of the session, the agent and the project, each once.
    pub shared: Vec<SharedBudget>,
}

/// Nothing is limited.
pub static NO_BUDGETS: Budgets = Budgets { tree: None, shared: Vec::new() };

/// How the budget of a tree of sessions stands, in billionths of a US dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeBudget {
    /// The limit.
    pub limit: u64,
    /// What was spent.
    pub spent: u64,
    /// What running attempts set aside.
    pub reserved: u64,
}

/// How a configured budget stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedBudget {
    /// Which.
    pub id: BudgetId,
    /// The most there may be.
    pub caps: Caps,
    /// What was used, and is set aside.
    pub used: BudgetUse,
}

/// A change of a configured budget that goes with a batch's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UseStep {
    /// An attempt begins.
    Reserve {
        /// Where it is set aside.
        budget: BudgetId,
        /// The most it may use.
        amounts: Amounts,
    },
    /// An attempt ended, or was given up.
    Settle {
        /// Where it was set aside.
        budget: BudgetId,
        /// How much was set aside.
        reserved: Amounts,
        /// What it counts as having used.
        spent: Amounts,
    },
}

/// What the attempt that runs set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Holding {
    pub(crate) held: Held,
    /// When it began.
    pub(crate) since: Timestamp,
}

/// Why an attempt does not begin: the code of its turn's error, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Short {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// What a model call is for, as far as its size depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answering {
    /// As long as the model may write.
    Whole,
    /// A reviewer's verdict.
    Verdict,
    /// Facts of a turn.
    Facts,
    /// Vectors, which are no tokens.
    Nothing,
}

impl SharedBudget {
    /// What is left of something; absent where it is not limited.
    fn left(&self, measure: Measure) -> Option<u64> {
        self.caps.of(measure).map(|cap| cap.saturating_sub(self.used.total().of(measure)))
    }
}

impl Budgets {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tree.is_none() && self.shared.is_empty()
    }

    /// The limits of a configured budget; none where it is not configured any more.
    #[must_use]
    pub fn caps(&self, id: BudgetId) -> Caps {
        self.shared.iter().find(|budget| budget.id == id).map_or(Caps::NONE, |budget| budget.caps)
    }

    /// The most that an attempt may use whose request was counted as so many tokens.
    pub(crate) fn amounts(&self, price: Option<&Price>, counted: u64, answering: Answering) -> Amounts {
        let output = match (answering, price) {
            (Answering::Verdict, _) => review::OUTPUT_TOKENS_MAX,
            (Answering::Facts, _) => limit::EXTRACTION_OUTPUT_TOKENS_MAX,
            (Answering::Nothing, _) => 0,
            (Answering::Whole, Some(price)) => price.output_tokens_max,
            (Answering::Whole, None) => limit::OUTPUT_TOKENS_RESERVED,
        };
        let nano_usd = price.map_or(0, |price| {
            crate::budget::worst_case(&Price { output_tokens_max: output, ..*price }, counted)
        });
        let tokens = counted.saturating_add(counted / 2).saturating_add(output);
        // An attempt is cut off at the end of what was set aside, so less than usual is worth something, too.
        let millis = self.left(Measure::Time).map_or(0, |left| left.min(limit::ATTEMPT_MS_RESERVED));
        Amounts { nano_usd, tokens, calls: 1, millis }
    }

    /// Whether money is limited.
    pub(crate) fn limit_money(&self) -> bool {
        self.tree.is_some() || self.shared.iter().any(|budget| budget.caps.of(Measure::Money).is_some())
    }

    /// Why so much cannot be set aside; nothing where it fits.
    pub(crate) fn short(&self, amounts: &Amounts) -> Option<Short> {
        if self.tree.is_some_and(|tree| amounts.nano_usd > tree.left()) {
            return Some(Short::of_tree());
        }
        let least = Amounts { millis: amounts.millis.max(limit::ATTEMPT_MS_MIN), ..*amounts };
        let short = |budget: &SharedBudget| {
            let measure = budget.caps.exceeded_by(&budget.used.total().plus(&least))?;
            Some(Short::of(budget, measure, &least))
        };
        self.shared.iter().find_map(short)
    }

    /// Why nothing can be set aside in a budget that the store found exceeded.
    pub(crate) fn refused(&self, id: BudgetId, measure: Measure) -> Short {
        let found = self.shared.iter().find(|budget| budget.id == id);
        let unknown = SharedBudget { id, caps: Caps::NONE, used: BudgetUse::default() };
        Short::of(found.unwrap_or(&unknown), measure, &Amounts::default())
    }

    /// What an attempt sets aside, and where; nothing where no budget is configured.
    pub(crate) fn hold(&self, amounts: Amounts) -> Option<Box<Held>> {
        let budgets: Vec<BudgetId> = self.shared.iter().map(|budget| budget.id).collect();
        (!budgets.is_empty()).then(|| Box::new(Held { budgets, amounts }))
    }

    /// What policies are told, for a call that would set so much aside; nothing where nothing is limited.
    pub(crate) fn facts(&self, amounts: &Amounts) -> Option<SpendFacts> {
        if self.is_empty() {
            return None;
        }
        let of = |wanted: fn(BudgetScope) -> bool| {
            let own = self.shared.iter().filter(|budget| wanted(budget.id.scope()));
            own.fold(UNLIMITED, |level, budget| {
                let left = |measure| budget.left(measure).unwrap_or(u64::MAX);
                least(level, told(left(Measure::Money), left))
            })
        };
        let tree = self.tree.map_or(u64::MAX, |tree| tree.left());
        let session = least(of(|scope| matches!(scope, BudgetScope::Session(_))), told(tree, |_| u64::MAX));
        let agent = of(|scope| matches!(scope, BudgetScope::Agent(_)));
        let project = of(|scope| matches!(scope, BudgetScope::Project));
        Some(SpendFacts {
            reserve_micros: known(amounts.nano_usd.div_ceil(NANO_USD_PER_MICRO)),
            reserve_tokens: known(amounts.tokens),
            left: least(least(session, agent), project),
            session,
            agent,
            project,
        })
    }

    /// Follows what an event changes; to be asked before it is folded.
    pub(crate) fn follow(&mut self, state: &Session, at: Timestamp, event: &Event) {
        if self.is_empty() {
            return;
        }
        for step in steps(state, at, event) {
            let (id, reserved, settled) = match step {
                UseStep::Reserve { budget, amounts } => (budget, amounts, None),
                UseStep::Settle { budget, reserved, spent } => (budget, reserved, Some(spent)),
            };
            let Some(budget) = self.shared.iter_mut().find(|budget| budget.id == id) else { continue };
            match settled {
                Some(spent) => budget.used.settle(&reserved, &spent),
                None => budget.used.reserved = budget.used.reserved.plus(&reserved),
            }
        }
        let (Some(tree), Some(step)) = (&mut self.tree, crate::budget::step(state, event)) else { return };
        match step {
            BudgetStep::Limit(Some(limit)) => tree.limit = limit,
            BudgetStep::Limit(None) => self.tree = None,
            BudgetStep::Reserve { key: _, nano_usd } => {
                tree.reserved = tree.reserved.saturating_add(nano_usd);
            }
            BudgetStep::Settle { key: _, nano_usd } => {
                let ended = if let Event::AttemptEnded { effect_id, .. }
                | Event::EffectAbandoned { effect_id } = event
                {
                    state.effects.get(effect_id).and_then(|pending| pending.reserved)
                } else {
                    None
                };
                tree.reserved = tree.reserved.saturating_sub(ended.unwrap_or(0));
                tree.spent = tree.spent.saturating_add(nano_usd);
            }
        }
    }

    fn left(&self, measure: Measure) -> Option<u64> {
        self.shared.iter().filter_map(|budget| budget.left(measure)).min()
    }
}

impl TreeBudget {
    fn left(&self) -> u64 {
        self.limit.saturating_sub(self.spent.saturating_add(self.reserved))
    }
}

/// What stands for everything that nothing limits: the largest number that every reader of JSON agrees on.
const UNLIMITED: LevelFacts = LevelFacts {
    remaining_micros: strict::INTEGER_MAX,
    remaining_tokens: strict::INTEGER_MAX,
    calls_left: strict::INTEGER_MAX,
    seconds_left: strict::INTEGER_MAX,
};

fn known(amount: u64) -> u64 {
    amount.min(strict::INTEGER_MAX)
}

/// A level as policies are told of it: what is left, rounded down.
fn told(nano_usd: u64, left: impl Fn(Measure) -> u64) -> LevelFacts {
    let rounded = |amount: u64, unit: u64| if amount == u64::MAX { amount } else { amount / unit };
    LevelFacts {
        remaining_micros: known(rounded(nano_usd, NANO_USD_PER_MICRO)),
        remaining_tokens: known(left(Measure::Tokens)),
        calls_left: known(left(Measure::Calls)),
        seconds_left: known(rounded(left(Measure::Time), MILLIS_PER_SECOND)),
    }
}

fn least(one: LevelFacts, other: LevelFacts) -> LevelFacts {
    LevelFacts {
        remaining_micros: one.remaining_micros.min(other.remaining_micros),
        remaining_tokens: one.remaining_tokens.min(other.remaining_tokens),
        calls_left: one.calls_left.min(other.calls_left),
        seconds_left: one.seconds_left.min(other.seconds_left),
    }
}

impl Short {
    /// The spending limit that the session was opened with.
    pub(crate) fn of_tree() -> Self {
        let message = "the session's spending limit is reached; raise or clear it to go on".to_owned();
        Self { code: "session_budget_exceeded", message }
    }

    /// A model whose price nobody knows, where money is limited: what it costs could not be held to any limit.
    pub(crate) fn of_unpriced(model: &str) -> Self {
        let message = format!(
            "money is limited here, and the price of the model `{model}` is not known; give the model or its route \
             `price_usd_per_million` in tenure.yaml (0 for one that costs nothing), or limit tokens or calls instead \
             of money"
        );
        Self { code: "price_unknown", message }
    }

    fn of(budget: &SharedBudget, measure: Measure, wanted: &Amounts) -> Self {
        let (code, whose, target) = match budget.id.scope() {
            BudgetScope::Session(_) => ("session_budget_exceeded", "the session's", "session"),
            BudgetScope::Agent(_) => ("agent_budget_exceeded", "the agent's", "agent"),
            BudgetScope::Project => ("project_budget_exceeded", "the project's", "project"),
        };
        let amount = |amount| shown(measure, amount);
        let span = match budget.id.ends() {
            Some(_) => format!(" for {}", budget.id.span()),
            None => String::new(),
        };
        let cap = budget.caps.of(measure).map_or_else(String::new, |cap| format!(" of {}", amount(cap)));
        let BudgetUse { spent, reserved } = budget.used;
        let aside = match reserved.of(measure) {
            0 => String::new(),
            aside => format!(", {} set aside for calls that run", amount(aside)),
        };
        let may_take = match wanted.of(measure) {
            0 => String::new(),
            wanted => format!(", and this call may take {}", amount(wanted)),
        };
        let wait = budget.id.ends().map_or_else(String::new, |_| {
            let period = budget.id.period().as_str();
            format!(", or wait for the next {period} (UTC)")
        });
        let message = format!(
            "{whose} budget{cap}{span} is reached: {} spent{aside}{may_take}; raise it with `tenure budgets set \
             {target}`, or in tenure.yaml where that sets it{wait}",
            amount(spent.of(measure))
        );
        Self { code, message }
    }
}

/// An amount with its unit, for people.
#[must_use]
pub fn shown(measure: Measure, amount: u64) -> String {
    match measure {
        Measure::Money => {
            let (whole, part) = (amount / NANO_USD_PER_USD, amount % NANO_USD_PER_USD);
            let part = format!("{part:09}");
            // Two places at least, and no zeros behind them.
            let kept = part.trim_end_matches('0').len().max(2);
            format!("{whole}.{} USD", &part[..kept])
        }
        Measure::Tokens if amount == 1 => "1 token".to_owned(),
        Measure::Tokens => format!("{amount} tokens"),
        Measure::Calls if amount == 1 => "1 model call".to_owned(),
        Measure::Calls => format!("{amount} model calls"),
        Measure::Time => format!("{} s", amount.div_ceil(MILLIS_PER_SECOND)),
    }
}

/// What an ended attempt counts as having used.
fn spent(outcome: &Outcome, holding: &Holding, at: Timestamp) -> Amounts {
    let reserved = holding.held.amounts;
    let elapsed = holding.since.millis_until(at);
    // Nobody knows when an attempt ended whose process did, and one whose time is limited is cut off.
    let longest = match (reserved.millis, outcome) {
        (0, Outcome::Unknown) => limit::ATTEMPT_MS_RESERVED,
        (0, Outcome::Done { .. } | Outcome::Failed { .. }) => u64::MAX,
        (reserved, _) => reserved,
    };
    let reserved = Amounts { millis: elapsed.min(longest), ..reserved };
    match outcome {
        Outcome::Done {
            done:
                Done::Model { usage, cost_nano_usd, .. }
                | Done::Reviewed { usage, cost_nano_usd, .. }
                | Done::Extracted { usage, cost_nano_usd, .. },
        } => Amounts {
            nano_usd: cost_nano_usd.unwrap_or(reserved.nano_usd),
            tokens: usage.as_ref().map_or(reserved.tokens, tenure_journal::Usage::total_tokens),
            ..reserved
        },
        Outcome::Failed { failure } if !failure.kind.is_ambiguous() => {
            Amounts { millis: reserved.millis, ..Amounts::default() }
        }
        // Nothing but model calls sets anything aside.
        Outcome::Done {
            done:
                Done::Tools { .. }
                | Done::Tool { .. }
                | Done::Ended
                | Done::Found { .. }
                | Done::Placed { .. }
                | Done::Command { .. }
                | Done::Published { .. },
        }
        | Outcome::Failed { .. }
        | Outcome::Unknown => reserved,
    }
}

/// How `event` changes the configured budgets; to be asked before it is folded.
pub(crate) fn steps(state: &Session, at: Timestamp, event: &Event) -> Vec<UseStep> {
    if let Event::AttemptStarted { held: Some(held), .. } = event {
        let amounts = held.amounts;
        return held.budgets.iter().map(|budget| UseStep::Reserve { budget: *budget, amounts }).collect();
    }
    let unknown = Outcome::Unknown;
    let (id, outcome): (EffectId, &Outcome) = if let Event::AttemptEnded { effect_id, outcome, .. } = event {
        (*effect_id, outcome)
    } else if let Event::EffectAbandoned { effect_id } = event {
        (*effect_id, &unknown)
    } else {
        return Vec::new();
    };
    let pending = state.effects.get(&id).filter(|pending| pending.phase == PendingPhase::Running);
    let Some(holding) = pending.and_then(|pending| pending.holding.as_deref()) else { return Vec::new() };
    let (reserved, spent) = (holding.held.amounts, spent(outcome, holding, at));
    let settle = |budget: &BudgetId| UseStep::Settle { budget: *budget, reserved, spent };
    holding.held.budgets.iter().map(settle).collect()
}

impl Session {
    /// What the attempt that runs at an effect set aside in configured budgets.
    #[must_use]
    pub fn held(&self, effect: EffectId) -> Option<Amounts> {
        let pending = self.effects.get(&effect).filter(|pending| pending.phase == PendingPhase::Running)?;
        pending.holding.as_ref().map(|holding| holding.held.amounts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_for_people() {
        for (measure, amount, text) in [
            (Measure::Money, 0, "0.00 USD"),
            (Measure::Money, 20_000_000_000, "20.00 USD"),
            (Measure::Money, 1_500_000_000, "1.50 USD"),
            (Measure::Money, 1_234_500_000, "1.2345 USD"),
            (Measure::Money, 1, "0.000000001 USD"),
            (Measure::Tokens, 1_200, "1200 tokens"),
            (Measure::Tokens, 1, "1 token"),
            (Measure::Calls, 1, "1 model call"),
            (Measure::Calls, 3, "3 model calls"),
            (Measure::Time, 61_001, "62 s"),
        ] {
            assert_eq!(shown(measure, amount), text);
        }
    }
}

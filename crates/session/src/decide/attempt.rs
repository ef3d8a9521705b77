//! What follows from attempts: outcomes, retries, and what to do about attempts that were cut off.

use std::sync::Arc;

use tenure_journal::{
    Done, Effect, EffectId, EffectKind, Event, Failure, FailureKind, Labels, Next, Outcome, PluginServers,
    Repeat, limit,
};

use super::{Attempted, Draft, Role};
use crate::budget;
use crate::gauge::CONTEXT_LENGTH_EXCEEDED;
use crate::state::{Pending, PendingPhase};

/// Why a session was stopped whose model calls always crash.
const POISONED: &str = "an internal error ended every one of its latest model calls; it was stopped for good";

impl Draft<'_> {
    pub(super) fn attempted(&mut self, effect_id: EffectId, attempt: u32, attempted: &Attempted) {
        let Some(pending) = self.state.effects.get(&effect_id) else { return };
        if pending.attempts != attempt || pending.phase != PendingPhase::Running {
            return;
        }
        let effect = Arc::clone(&pending.effect);
        match attempted {
            Attempted::Answered { answer, cost_nano_usd }
                if matches!(effect.kind, EffectKind::Review { .. }) =>
            {
                self.reviewed(&effect, attempt, answer, *cost_nano_usd);
            }
            Attempted::Answered { answer, cost_nano_usd }
                if matches!(effect.kind, EffectKind::Compact { .. }) =>
            {
                self.summarized(&effect, attempt, answer, *cost_nano_usd);
            }
            Attempted::Answered { answer, cost_nano_usd }
                if matches!(effect.kind, EffectKind::Extract { .. }) =>
            {
                self.turn_was_read(&effect, attempt, answer, *cost_nano_usd);
            }
            Attempted::Answered { answer, cost_nano_usd } => {
                self.answered(&effect, attempt, answer, *cost_nano_usd);
            }
            Attempted::Listed(tools) => {
                self.settle(effect_id, attempt, Done::Tools { tools: tools.clone() }, Labels::NEUTRAL);
            }
            Attempted::Returned(result) => {
                let labels = self.state.labels_of_result(&effect, result);
                self.settle(effect_id, attempt, Done::Tool { result: result.clone() }, labels);
            }
            Attempted::Subagent(reply) => self.subagent_replied(&effect, attempt, reply),
            Attempted::Ended => self.settle(effect_id, attempt, Done::Ended, Labels::NEUTRAL),
            Attempted::Placed(root) => {
                let done =
                    Done::Placed { root: *root, skills: Vec::new(), servers: PluginServers::default() };
                self.settle(effect_id, attempt, done, Labels::NEUTRAL);
            }
            Attempted::Prepared { root, skills, servers } => {
                let done = Done::Placed { root: *root, skills: skills.clone(), servers: servers.clone() };
                self.settle(effect_id, attempt, done, Labels::NEUTRAL);
            }
            Attempted::Found { skills, servers } => {
                let done = Done::Found { skills: skills.clone(), servers: servers.clone() };
                self.settle(effect_id, attempt, done, Labels::NEUTRAL);
            }
            Attempted::Ran(result) => {
                let labels = self.state.labels_of_command();
                self.settle(effect_id, attempt, Done::Command { result: result.clone() }, labels);
            }
            Attempted::Published(artifacts) => {
                let done = Done::Published { artifacts: artifacts.clone() };
                self.settle(effect_id, attempt, done, Labels::NEUTRAL);
            }
            Attempted::Failed(failure) => self.failed(&effect, attempt, failure),
        }
    }

    /// Records that an attempt was the last, and the labels of what it gave.
    pub(super) fn settle(&mut self, effect_id: EffectId, attempt: u32, done: Done, labels: Labels) {
        let outcome = Outcome::Done { done };
        self.push(Event::AttemptEnded { effect_id, attempt, outcome, next: Next::Settled, labels });
    }

    fn failed(&mut self, effect: &Effect, attempt: u32, failure: &Failure) {
        let effect_id = effect.id;
        let next = self.after_failure(effect, attempt, failure);
        let doubtful = self.state.effects.get(&effect_id).is_some_and(|pending| pending.doubtful);
        let unknown = match effect.repeat {
            Repeat::Freely => false,
            // A refused last attempt says nothing about the ones before it.
            Repeat::WithKey => next == Next::Settled && (doubtful || failure.kind.is_ambiguous()),
            Repeat::Never => failure.kind.is_ambiguous(),
        };
        let outcome = if unknown { Outcome::Unknown } else { Outcome::Failed { failure: failure.clone() } };
        // Of an attempt that is repeated the model learns nothing.
        let labels =
            if next == Next::Settled { self.state.labels_of_failure(effect) } else { Labels::NEUTRAL };
        self.push(Event::AttemptEnded { effect_id, attempt, outcome, next, labels });
        if next == Next::Settled && matches!(effect.kind, EffectKind::ModelCall { .. }) {
            self.model_failed(failure);
        }
        if next == Next::Settled && failure.kind == FailureKind::FilesLost {
            self.reset_environment();
        } else if next == Next::Settled && matches!(effect.kind, EffectKind::PrepareEnvironment) {
            self.environment_failed(failure);
        }
    }

    fn model_failed(&mut self, failure: &Failure) {
        let trims = self.state.turn.as_ref().map_or(0, |turn| turn.trims);
        let too_long = failure.kind == FailureKind::ContextTooLong;
        // With a shorter context the next step asks again: what was refused is not believed to fit any more.
        if !too_long || trims > limit::CONTEXT_TRIMS_PER_TURN_MAX {
            self.fail_turn(turn_code(failure.kind), failure.message.clone());
        }
        if self.state.crashes >= limit::CRASHES_MAX {
            self.push(Event::SessionFailed { message: POISONED.to_owned() });
        }
    }

    fn after_failure(&self, effect: &Effect, attempt: u32, failure: &Failure) -> Next {
        if failure.kind == FailureKind::SignInRequired {
            // Its server was given a credential while the attempt ran, which had none; or what it waits for was made
            // or deleted while it ran, and nobody comes again to say so.
            let came = |pending: &Pending| pending.rebound || pending.heard;
            if self.state.effects.get(&effect.id).is_some_and(came) {
                return Next::Retry { at: self.cx.now };
            }
            // Nothing but a person brings something new; the moment is for what no person came to.
            return Next::Retry { at: self.cx.now.plus_millis(limit::SIGN_IN_WAIT_MS) };
        }
        let certain = !failure.kind.is_ambiguous();
        let repeatable = effect.repeat != Repeat::Never || certain;
        let tries_max = match (&effect.kind, failure.kind) {
            // It says something about this process, and nothing about the other side.
            (
                EffectKind::ModelCall { .. }
                | EffectKind::Review { .. }
                | EffectKind::Extract { .. }
                | EffectKind::Compact { .. }
                | EffectKind::ListTools { .. }
                | EffectKind::ToolCall { .. },
                FailureKind::NotBegun,
            ) => Some(limit::INTERRUPTED_ATTEMPTS_MAX),
            (
                EffectKind::ModelCall { .. } | EffectKind::Compact { .. },
                FailureKind::RateLimited | FailureKind::Overloaded,
            ) => Some(limit::THROTTLED_ATTEMPTS_MAX),
            (EffectKind::ModelCall { .. } | EffectKind::Compact { .. }, _) => Some(limit::MODEL_ATTEMPTS_MAX),
            // People can be asked instead.
            (EffectKind::Review { .. }, _) => Some(limit::REVIEW_ATTEMPTS_MAX),
            // The turn goes unread instead.
            (EffectKind::Extract { .. }, _) => Some(limit::EXTRACTION_ATTEMPTS_MAX),
            (
                EffectKind::ListTools { .. }
                | EffectKind::ToolCall { .. }
                | EffectKind::PrepareEnvironment
                | EffectKind::Command { .. }
                | EffectKind::PlaceFiles { .. }
                | EffectKind::PublishArtifacts,
                _,
            ) => Some(limit::TOOL_ATTEMPTS_MAX),
            // Nothing but our own store is asked: whatever went wrong went wrong here, and until it answers,
            // nobody knows what runs.
            (EffectKind::Subagent { .. } | EffectKind::EndSubagents { .. }, _) => None,
        };
        let mut ends = self.state.effects.get(&effect.id).map(|pending| pending.ends).unwrap_or_default();
        let tries = *ends.failures_like(failure.kind) + 1;
        let hopeless = tries_max.is_some_and(|tries_max| {
            !failure.kind.is_transient() || tries >= tries_max || attempt >= limit::ATTEMPTS_MAX
        });
        if let EffectKind::ModelCall { model, .. }
        | EffectKind::Compact { model, .. }
        | EffectKind::Extract { model, .. }
        | EffectKind::Review { model, .. } = &effect.kind
            && attempt < limit::ATTEMPTS_MAX
            && self.has_another_route(effect, model, failure.kind)
        {
            return Next::Retry { at: self.cx.now };
        }
        if hopeless || !repeatable {
            return Next::Settled;
        }
        let pause =
            failure.retry_after_ms.unwrap_or(0).min(limit::RETRY_AFTER_MS_MAX).max(self.backoff(tries));
        Next::Retry { at: self.cx.now.plus_millis(pause) }
    }

    /// Exponential, with the upper half left to chance so that many sessions do not come back together.
    fn backoff(&self, tries: u32) -> u64 {
        let doubled = limit::BACKOFF_FIRST_MS.saturating_mul(1 << tries.saturating_sub(1).min(16));
        let pause = doubled.min(limit::BACKOFF_MS_MAX);
        pause / 2 + self.cx.chance % (pause / 2 + 1)
    }

    /// The process that ran the attempts is gone: what may be repeated is, what may not stays unknown.
    pub(super) fn resumed(&mut self) {
        for (effect_id, pending) in self.in_phase(|phase| phase == PendingPhase::Running) {
            let attempt = pending.attempts;
            let repeat = match &pending.effect.kind {
                // They only wait, or stop: giving up would leave a subagent running that nobody hears.
                EffectKind::Subagent { .. } | EffectKind::EndSubagents { .. } => true,
                EffectKind::ModelCall { .. }
                | EffectKind::Review { .. }
                | EffectKind::Extract { .. }
                | EffectKind::Compact { .. }
                | EffectKind::ListTools { .. }
                | EffectKind::ToolCall { .. }
                | EffectKind::PrepareEnvironment
                | EffectKind::Command { .. }
                | EffectKind::PlaceFiles { .. }
                | EffectKind::PublishArtifacts => {
                    let exhausted = pending.ends.interrupted + 1 >= limit::INTERRUPTED_ATTEMPTS_MAX
                        || attempt >= limit::ATTEMPTS_MAX;
                    pending.effect.repeat != Repeat::Never && !exhausted
                }
            };
            let next = if repeat { Next::Retry { at: self.cx.now } } else { Next::Settled };
            let (outcome, labels) = (Outcome::Unknown, self.state.labels_of_interruption(&pending.effect));
            self.push(Event::AttemptEnded { effect_id, attempt, outcome, next, labels });
            if !repeat && matches!(pending.effect.kind, EffectKind::ModelCall { .. }) {
                let message = "the turn was interrupted too often and was given up".to_owned();
                self.fail_turn("internal_error", message);
            }
            if !repeat && matches!(pending.effect.kind, EffectKind::PrepareEnvironment) {
                self.environment_failed(&interrupted_too_often());
            }
        }
        self.tick();
    }

    /// Begins every attempt whose time has come.
    pub(super) fn tick(&mut self) {
        match self.cx.role {
            Role::Holder => {}
            Role::Guest => return,
        }
        let now = self.cx.now;
        self.lapse_connection(Some(now));
        self.expire_tickets();
        let due = |phase| match phase {
            PendingPhase::Retry { at } => at <= now,
            PendingPhase::Requested => true,
            PendingPhase::Running => false,
        };
        for (effect_id, pending) in self.in_phase(due) {
            // What goes one after the other and was never begun waits for its turn.
            if pending.attempts == 0 && pending.effect.kind.lane().is_some() {
                continue;
            }
            if self.is_held(effect_id) {
                continue;
            }
            if pending.rebound && !self.may_show_credential(&pending.effect) {
                // What is left of the turn, if it ended for that, was abandoned.
                if self.state.turn.is_none() {
                    return;
                }
                continue;
            }
            if matches!(pending.effect.kind, EffectKind::Compact { .. }) {
                if budget::model(&pending.effect).is_some_and(|model| self.is_budget_spent(model)) {
                    // The turn does without the summary; whether it can go on at all, its next step finds out.
                    self.abandon_summary();
                    continue;
                }
            } else if budget::model(&pending.effect).is_some_and(|model| self.stop_at_budget(model)) {
                return;
            }
            if !self.begin(effect_id, pending.attempts + 1) {
                return;
            }
        }
    }

    fn in_phase(&self, wanted: impl Fn(PendingPhase) -> bool) -> Vec<(EffectId, Pending)> {
        let effects = self.state.effects.iter();
        effects
            .filter(|(_, pending)| wanted(pending.phase))
            .map(|(id, pending)| (*id, pending.clone()))
            .collect()
    }
}

fn interrupted_too_often() -> Failure {
    let message = "it was interrupted too often".to_owned();
    Failure { kind: FailureKind::Internal, message, retry_after_ms: None }
}

/// The turn error code of the Agents API for a failed model call.
pub(super) fn turn_code(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Authentication | FailureKind::SignInRequired => "authentication_error",
        FailureKind::NotFound => "resource_not_found",
        FailureKind::ContextTooLong => CONTEXT_LENGTH_EXCEEDED,
        FailureKind::InvalidRequest | FailureKind::ContentPolicy => "invalid_request",
        FailureKind::RateLimited => "rate_limit_exceeded",
        FailureKind::CreditExhausted => "credit_balance_exhausted",
        FailureKind::Overloaded | FailureKind::NotBegun => "server_overloaded",
        FailureKind::ServerError | FailureKind::Protocol => "server_error",
        FailureKind::ConnectionFailed => "connection_failed",
        FailureKind::Timeout => "request_timeout",
        FailureKind::MaxOutputTokens => "max_output_tokens",
        FailureKind::ToolNotFound | FailureKind::Internal | FailureKind::Crashed | FailureKind::FilesLost => {
            "internal_error"
        }
    }
}

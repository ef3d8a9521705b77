//! The state of a session: the fold of its events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tenure_journal::{
    AgentConfig, Approval, ApprovalId, ContextSize, Decision, DigestKey, Effect, EffectId, EffectKind,
    Environment, FailureKind, ForkedFrom, Head, Input, Item, ItemBody, ItemId, ItemStatus, Lane, Outcome,
    Parent, Party, PromptCache, Review, RouteDecision, SessionId, SessionKey, SessionStatus, SpendLimit,
    SubagentId, Summary, TakenBlock, TakenProcedure, Timestamp, ToolDef, Turn, TurnStatus, Usage, Version,
    limit,
};

use crate::budget;
use crate::connection::Connection;
use crate::environment::Workspace;
use crate::flow::Flow;
use crate::gauge::Gauge;
use crate::prewarmed::Prewarmed;
use crate::shared_budget::Holding;
use crate::subagent::Subagent;
use crate::ticket::awaits_people;
use crate::{Frozen, RequiredAction, SessionView, Spend};

/// A session, folded.
///
/// Turns and sessions go through these states; what only a client or a person can do next (a function
/// result, an approval) makes a turn wait.
///
/// ```text
///            message                    last effect settled, nothing waits
///   idle ───────────────▶ in_progress ───────────────────────────────────▶ idle
///                          │       ▲
///          call or approval▼       │answered
///                       requires_action ──────────── cancel ─────────────▶ idle
/// ```
///
/// A message for a self-hosted environment whose executor is not connected makes the session wait the same
/// way, before there is a turn.
///
/// A session whose model calls crash [`limit::CRASHES_MAX`] times in a row becomes `failed`, and stays so.
///
/// INVARIANT: a state is reached only by folding events, so two folds of the same events are equal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    pub(crate) key: SessionKey,
    pub(crate) version: Version,
    pub(crate) agent: Arc<AgentConfig>,
    pub(crate) environment: Environment,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) vault_ids: Vec<String>,
    pub(crate) review: Option<Review>,
    pub(crate) spend_limit: Option<SpendLimit>,
    pub(crate) prompt_cache: Option<PromptCache>,
    pub(crate) created_at: Timestamp,
    pub(crate) last_active_at: Timestamp,
    pub(crate) failed: Option<String>,
    pub(crate) deleted: bool,
    /// Accepted messages that no turn has taken up.
    pub(crate) queue: VecDeque<Input>,
    /// Items from the context's horizon on; older ones are in the journal only.
    pub(crate) items: Vec<Arc<Item>>,
    /// How many items left the context.
    pub(crate) dropped: u64,
    /// Items that left the context and are remembered all the same, by place: calls that are open, and what the
    /// running turn was asked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) carried: BTreeMap<u64, Arc<Item>>,
    /// What stands in the context for the items that left it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) summary: Option<Arc<Summary>>,
    /// How its model counts.
    #[serde(default, skip_serializing_if = "Gauge::is_new")]
    pub(crate) gauge: Gauge,
    /// Items that the context shows as previews.
    #[serde(default)]
    pub(crate) shortened: BTreeSet<ItemId>,
    pub(crate) turn: Option<ActiveTurn>,
    pub(crate) effects: BTreeMap<EffectId, Pending>,
    pub(crate) approvals: BTreeMap<ApprovalId, Approval>,
    pub(crate) decided: VecDeque<(ApprovalId, Decision)>,
    /// Who approved what more than one has to approve.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) supports: BTreeMap<ApprovalId, BTreeSet<String>>,
    /// Who refused something, while nobody has released it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) quarantined_by: Option<String>,
    /// What was refused then; a snapshot of before it was kept is not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) quarantined_for: Option<ApprovalId>,
    /// Of a subagent, the version of its parent's journal whose word about quarantine it obeyed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent_heard: Option<Version>,
    /// Whom its agent acts for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) opened_by: Option<Party>,
    pub(crate) listings: BTreeMap<String, Arc<Listing>>,
    pub(crate) loaded: BTreeSet<String>,
    pub(crate) usage: Totals,
    pub(crate) spent: Spent,
    /// Model calls that crashed since one ended in any other way.
    #[serde(default)]
    pub(crate) crashes: u32,
    /// Where it belongs, if it is a subagent's session.
    #[serde(default)]
    pub(crate) parent: Option<Parent>,
    #[serde(default)]
    pub(crate) subagents: BTreeMap<SubagentId, Subagent>,
    #[serde(default)]
    pub(crate) workspace: Workspace,
    /// The time before it was opened, if its environment was there first.
    #[serde(default)]
    pub(crate) prewarmed: Option<Prewarmed>,
    /// Where it comes from, if it is a fork.
    pub(crate) forked_from: Option<ForkedFrom>,
    /// The executor of a self-hosted environment.
    #[serde(default, skip_serializing_if = "Connection::is_new")]
    pub(crate) connection: Connection,
    /// What flowed into it, and what was granted.
    #[serde(default, skip_serializing_if = "Flow::is_new")]
    pub(crate) flow: Flow,
    /// The pinned blocks that its model is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) blocks: Vec<TakenBlock>,
    /// The procedures that its model is told of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) procedures: Vec<TakenProcedure>,
    /// What the digests in its audit records are keyed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest_key: Option<DigestKey>,
}

/// The turn that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActiveTurn {
    pub(crate) row: Turn,
    /// Model requests so far.
    pub(crate) steps: u32,
    /// Tool calls so far, rejected ones included.
    pub(crate) calls: u32,
    /// Outputs so far: the next output's index.
    pub(crate) outputs: u32,
    /// How often the provider said that the context was too long.
    pub(crate) trims: u32,
    /// A summary could not be written: the rest of the turn does without.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unsummarized: bool,
    /// Whether the model's latest answer asked for nothing more.
    pub(crate) answered: bool,
    /// Whether a function's result came that no request to the model has shown yet.
    pub(crate) unseen: bool,
    pub(crate) usage: Totals,
}

/// Tokens, with the knowledge of whether some are unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Totals {
    sum: Option<Usage>,
    unknown: bool,
}

impl Totals {
    pub(crate) fn add(&mut self, usage: Option<&Usage>) {
        match usage {
            Some(usage) => self.sum = Some(self.sum.map_or(*usage, |sum| sum.plus(usage))),
            None => self.unknown = true,
        }
    }

    pub(crate) fn known(&self) -> Option<Usage> {
        if self.unknown { None } else { self.sum }
    }
}

/// Money, in billionths of a US dollar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spent {
    nano_usd: u64,
    priced: bool,
}

impl Spent {
    pub(crate) fn add(&mut self, cost_nano_usd: Option<u64>) {
        if let Some(cost) = cost_nano_usd {
            self.nano_usd = self.nano_usd.saturating_add(cost);
            self.priced = true;
        }
    }

    fn cents(&self) -> Option<u64> {
        self.priced.then_some(budget::cents(self.nano_usd))
    }

    pub(crate) fn reaches(&self, limit: SpendLimit) -> bool {
        budget::nano_usd(limit).is_some_and(|limit| self.nano_usd >= limit)
    }
}

/// An effect that is not settled.
///
/// ```text
///              attempt started            attempt ended: settled
///   Requested ────────────────▶ Running ────────────────────────▶ (gone)
///                                 │  ▲
///            attempt ended: retry ▼  │ attempt started
///                                Retry
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pending {
    pub(crate) effect: Arc<Effect>,
    /// Attempts so far.
    pub(crate) attempts: u32,
    /// What ended the ones that were followed by another.
    #[serde(default)]
    pub(crate) ends: Ends,
    /// Whether an earlier attempt may have taken effect without anyone knowing.
    pub(crate) doubtful: bool,
    /// What is set aside for the attempt that runs, in billionths of a US dollar.
    #[serde(default)]
    pub(crate) reserved: Option<u64>,
    /// What the attempt that runs set aside in configured budgets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) holding: Option<Box<Holding>>,
    /// Whether it waits for a person to sign in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) signed_out: bool,
    /// Whether a person signed in, or what was to be signed in for was deleted, while its attempt ran. If that attempt
    /// finds that it lacks a sign-in, it looked too early.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) heard: bool,
    /// Whether its server was given a credential after policy had allowed it: policy is asked about that before the
    /// next attempt.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) rebound: bool,
    /// The way that the latest attempt takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) route: Option<Box<RouteDecision>>,
    /// Routes at which it failed in a way that another attempt there would not change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) avoided: Vec<String>,
    /// How long the context is that the latest attempt shows a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<ContextSize>,
    pub(crate) phase: PendingPhase,
}

impl Pending {
    /// Remembers a route that is of no use to this effect.
    pub(crate) fn avoid_after(&mut self, outcome: &Outcome) {
        if let (Outcome::Failed { failure }, Some(taken)) = (outcome, &self.route)
            && failure.kind.is_of_the_route()
            && !self.avoided.contains(&taken.route.name)
        {
            self.avoided.push(taken.route.name.clone());
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.phase == PendingPhase::Running
    }
}

/// How often attempts at one effect ended in each of the ways that have a limit of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ends {
    /// The other side asked for patience.
    pub(crate) throttled: u32,
    /// They failed in another way.
    pub(crate) failed: u32,
    /// Their process ended, or stood still before they began.
    pub(crate) interrupted: u32,
}

impl Ends {
    /// How often attempts failed in ways that are counted together with `kind`.
    pub(crate) fn failures_like(&mut self, kind: FailureKind) -> &mut u32 {
        match kind {
            FailureKind::RateLimited | FailureKind::Overloaded => &mut self.throttled,
            FailureKind::Authentication
            | FailureKind::NotFound
            | FailureKind::ContextTooLong
            | FailureKind::InvalidRequest
            | FailureKind::CreditExhausted
            | FailureKind::ServerError
            | FailureKind::ConnectionFailed
            | FailureKind::Timeout
            | FailureKind::MaxOutputTokens
            | FailureKind::ContentPolicy
            | FailureKind::ToolNotFound
            | FailureKind::Protocol
            | FailureKind::Internal
            | FailureKind::SignInRequired
            | FailureKind::FilesLost
            | FailureKind::Crashed => &mut self.failed,
            FailureKind::NotBegun => &mut self.interrupted,
        }
    }

    pub(crate) fn count(&mut self, outcome: &Outcome) {
        match outcome {
            // Waiting for a person is no attempt that went wrong.
            Outcome::Failed { failure } if failure.kind == FailureKind::SignInRequired => {}
            Outcome::Failed { failure } => *self.failures_like(failure.kind) += 1,
            Outcome::Unknown => self.interrupted += 1,
            Outcome::Done { .. } => {}
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PendingPhase {
    Requested,
    Running,
    Retry { at: Timestamp },
}

/// What a server said it offers, or that it could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listing {
    pub(crate) at: Timestamp,
    /// Absent when the server could not be asked.
    pub(crate) tools: Option<Vec<ToolDef>>,
}

impl Session {
    /// The session and its project.
    #[must_use]
    pub fn key(&self) -> SessionKey {
        self.key
    }

    /// The vaults it names.
    #[must_use]
    pub fn vault_ids(&self) -> &[String] {
        &self.vault_ids
    }

    /// How many events were folded.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// When its last event was decided.
    #[must_use]
    pub fn last_active_at(&self) -> Timestamp {
        self.last_active_at
    }

    /// The place of the first item that is still part of the context, whatever it remembers beside.
    #[must_use]
    pub fn first_in_context(&self) -> u64 {
        self.dropped
    }

    /// The session whose budget it spends.
    #[must_use]
    pub fn budget_root(&self) -> SessionId {
        self.parent.as_ref().map_or(self.key.session, |parent| parent.root)
    }

    /// Whether what it spends is limited, or may be: a subagent does not know.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.parent.is_some() || self.spend_limit.is_some_and(|spend| spend.limit.is_some())
    }

    /// The agent it runs.
    #[must_use]
    pub fn agent(&self) -> &AgentConfig {
        &self.agent
    }

    /// Whether nothing more happens in it: it was deleted, or has failed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.deleted || self.failed.is_some()
    }

    /// Whether it was deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.deleted
    }

    /// Effects recorded and not settled: what a restarted process must resume.
    pub fn pending(&self) -> impl Iterator<Item = &Effect> {
        self.effects.values().map(|pending| pending.effect.as_ref())
    }

    /// The number of the attempt that runs, if one does.
    #[must_use]
    pub fn running_attempt(&self, effect: EffectId) -> Option<u32> {
        let pending = self.effects.get(&effect)?;
        (pending.phase == PendingPhase::Running).then_some(pending.attempts)
    }

    /// The route of the model call's attempt that runs, by its name.
    #[must_use]
    pub fn route(&self, effect: EffectId) -> Option<&str> {
        let pending = self.effects.get(&effect)?;
        pending.route.as_ref().map(|decision| decision.route.name.as_str())
    }

    /// Whether an effect waits for its first attempt, which may begin.
    #[must_use]
    pub fn has_requested(&self) -> bool {
        let requested = |pending: &Pending| {
            pending.phase == PendingPhase::Requested && pending.effect.kind.lane().is_none()
        };
        Lane::ALL.into_iter().any(|lane| self.next_in(lane).is_some()) || self.effects.values().any(requested)
    }

    /// What may begin in a lane: the first that was asked for in it, once nothing asked before is under way.
    /// Whatever waits in an environment that is to be made ready, again perhaps, waits for that.
    pub(crate) fn next_in(&self, lane: Lane) -> Option<EffectId> {
        let asked = || self.effects.values().filter(|pending| pending.effect.kind.lane() == Some(lane));
        if !asked().all(|pending| pending.phase == PendingPhase::Requested) {
            return None;
        }
        let prepares = |pending: &&Pending| matches!(pending.effect.kind, EffectKind::PrepareEnvironment);
        let first = asked().find(prepares).filter(|_| lane == Lane::Environment && self.awaits_environment());
        first.or_else(|| asked().next()).map(|pending| pending.effect.id)
    }

    /// When the next attempt that waits may begin, or nobody waits for the executor any more. What a freeze holds
    /// has no such time.
    #[must_use]
    pub fn next_retry(&self, frozen: &Frozen) -> Option<Timestamp> {
        let at = |pending: &Pending| match pending.phase {
            PendingPhase::Retry { .. } if pending.signed_out => None,
            PendingPhase::Retry { at } if !frozen.holds(self.agent.id, &pending.effect) => Some(at),
            PendingPhase::Retry { .. } | PendingPhase::Requested | PendingPhase::Running => None,
        };
        self.effects
            .values()
            .filter_map(at)
            .chain(self.connection_awaited_until())
            .chain(self.next_expiry())
            .min()
    }

    /// The running turn's row, as of now.
    #[must_use]
    pub fn active_turn(&self) -> Option<Turn> {
        let turn = self.turn.as_ref()?;
        let mut row = turn.row.clone();
        row.usage = turn.usage.known();
        if row.status == TurnStatus::InProgress && self.waits() {
            row.status = TurnStatus::Waiting;
        }
        Some(row)
    }

    /// The index that the next output of the running turn will have.
    #[must_use]
    pub fn next_output_index(&self) -> u32 {
        self.turn.as_ref().map_or(0, |turn| turn.outputs)
    }

    /// An item within the context's horizon.
    #[must_use]
    pub fn item(&self, id: ItemId) -> Option<&Item> {
        // Items are looked up soon after they were added.
        let mut all = self.items.iter().rev().chain(self.carried.values().rev());
        all.find(|item| item.id == id).map(Arc::as_ref)
    }

    pub(crate) fn item_mut(&mut self, id: ItemId) -> Option<&mut Item> {
        let mut all = self.items.iter_mut().rev().chain(self.carried.values_mut().rev());
        all.find(|item| item.id == id).map(Arc::make_mut)
    }

    /// Items that are remembered, each with its place among all items of the session: those within the context's
    /// horizon, and before them the few that are needed beyond it.
    pub fn items(&self) -> impl DoubleEndedIterator<Item = (u64, &Item)> {
        let carried = self.carried.iter().map(|(place, item)| (*place, item.as_ref()));
        let within = self.items.iter().enumerate();
        carried.chain(within.map(|(index, item)| (self.dropped + index as u64, item.as_ref())))
    }

    /// How many items it ever had.
    pub(crate) fn item_count(&self) -> u64 {
        self.dropped + self.items.len() as u64
    }

    /// Whether the running turn waits for a client or a person.
    pub(crate) fn waits(&self) -> bool {
        self.approvals.values().any(awaits_people)
            || self.open_function_calls().any(|(_, is_async)| !is_async)
            || self.awaits_sign_in()
    }

    /// Function calls without a result, and whether the model goes on without it.
    pub(crate) fn open_function_calls(&self) -> impl Iterator<Item = (&Item, bool)> {
        self.items().filter_map(|(_, item)| match &item.body {
            ItemBody::FunctionCall { is_async, .. } if item.status == ItemStatus::InProgress => {
                Some((item, *is_async))
            }
            ItemBody::FunctionCall { .. }
            | ItemBody::UserMessage { .. }
            | ItemBody::AssistantMessage { .. }
            | ItemBody::Reasoning { .. }
            | ItemBody::FunctionCallOutput { .. }
            | ItemBody::McpCall { .. }
            | ItemBody::CommandExecution { .. }
            | ItemBody::SubagentCall { .. }
            | ItemBody::AgentMessage { .. }
            | ItemBody::InternalCall { .. } => None,
        })
    }

    /// What it is doing.
    #[must_use]
    pub fn status(&self) -> SessionStatus {
        if self.failed.is_some() {
            SessionStatus::Failed
        } else if self.turn.is_none() {
            self.resting_status()
        } else if self.waits() {
            SessionStatus::RequiresAction
        } else {
            SessionStatus::InProgress
        }
    }

    /// Its row.
    #[must_use]
    pub fn head(&self) -> Head {
        let busy = |pending: &Pending| match pending.phase {
            PendingPhase::Requested | PendingPhase::Running => Timestamp::EPOCH,
            PendingPhase::Retry { at } => at,
        };
        let own = self.awaits_session().then_some(self.key.session);
        // Whoever finds its executor's node gone has to say so.
        let connected = self.is_connected().then_some(Timestamp::EPOCH);
        let waiting = self.effects.values().filter(|pending| !pending.signed_out);
        let due = waiting.map(busy).chain(connected).chain(self.connection_awaited_until());
        let due = due.chain(self.next_expiry());
        Head {
            key: self.key,
            status: self.status(),
            parent: self.parent.as_ref().map(|parent| parent.session).or(own),
            agent_id: self.agent.id,
            agent_name: self.agent.name.clone(),
            metadata: self.metadata.clone(),
            created_at: self.created_at,
            last_active_at: self.last_active_at,
            wake_at: due.min(),
            deleted: self.deleted,
        }
    }

    /// What clients see of it.
    #[must_use]
    pub fn view(&self) -> SessionView {
        SessionView {
            key: self.key,
            status: self.status(),
            agent: self.agent.as_ref().clone(),
            environment: self.environment.clone(),
            environment_status: self.environment_status(),
            required_actions: self.required_actions(),
            error: self.failed.clone(),
            usage: self.usage.known(),
            vault_ids: self.vault_ids.clone(),
            metadata: self.metadata.clone(),
            created_at: self.created_at,
            last_active_at: self.last_active_at,
            review: self.review,
            spend: self.spend_limit.map(|spend| Spend { limit: spend.limit, consumed: self.spent.cents() }),
            prompt_cache: self.prompt_cache.clone(),
            forked_from: self.forked_from,
            quarantined_by: self.quarantined_by.clone(),
            opened_by: self.opened_by.as_ref().map(|party| party.id.clone()),
            plugin_servers: Box::new(self.plugin_servers_view()),
        }
    }

    fn required_actions(&self) -> Vec<RequiredAction> {
        let function = |(item, _): (&Item, bool)| match &item.body {
            ItemBody::FunctionCall { call_id, name, arguments, .. } => Some(RequiredAction::FunctionCall {
                turn_id: item.turn_id,
                call_id: call_id.clone(),
                name: name.clone(),
                arguments: arguments.clone(),
            }),
            ItemBody::UserMessage { .. }
            | ItemBody::AssistantMessage { .. }
            | ItemBody::Reasoning { .. }
            | ItemBody::FunctionCallOutput { .. }
            | ItemBody::McpCall { .. }
            | ItemBody::CommandExecution { .. }
            | ItemBody::SubagentCall { .. }
            | ItemBody::AgentMessage { .. }
            | ItemBody::InternalCall { .. } => None,
        };
        let functions = self.open_function_calls().filter_map(function);
        let connection = self.connects().filter(|_| self.requires_connection());
        let connection =
            connection.map(|environment_id| RequiredAction::EnvironmentConnection { environment_id });
        connection
            .into_iter()
            .chain(functions)
            .chain(
                self.approvals
                    .values()
                    .filter(|one| awaits_people(one))
                    .cloned()
                    .map(RequiredAction::Approval),
            )
            .chain(self.sign_ins())
            .collect()
    }

    /// The folded state as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a state holds only string keys and finite numbers")
    }

    /// Reads a folded state.
    ///
    /// # Errors
    /// The bytes are not a state of this release; fold the journal from its first event instead.
    pub fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let state: Self = serde_json::from_slice(bytes)?;
        if state.quarantined_by.is_some() && state.quarantined_for.is_none() {
            return Err(serde::de::Error::custom(
                "the state does not say what the session is quarantined for",
            ));
        }
        Ok(state)
    }

    /// What policies call its agent.
    pub(crate) fn agent_name(&self) -> String {
        self.agent.name.clone().unwrap_or_else(|| self.agent.id.to_string())
    }

    pub(crate) fn remember_decision(&mut self, id: ApprovalId, decision: Decision) {
        if self.decided.len() >= limit::DECISIONS_KEPT_MAX {
            self.decided.pop_front();
        }
        self.decided.push_back((id, decision));
    }
}

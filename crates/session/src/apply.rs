//! Folding: how each event changes the state. Total: every event ever written is legal wherever it can
//! follow, so nothing here can fail.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tenure_journal::{
    AgentRef, CommandResult, Done, EffectId, EffectKind, Event, FailureKind, Held, Input, InputPart, Item,
    ItemBody, ItemId, ItemStatus, Labels, Lane, Next, Outcome, Recorded, Repeat, SessionKey, SessionOpened,
    SessionPatch, Timestamp, Turn, TurnEnd, TurnId, TurnStatus, Version,
};

use crate::budget;
use crate::connection::Connection;
use crate::environment::Workspace;
use crate::flow::Flow;
use crate::gauge::{CONTEXT_LENGTH_EXCEEDED, Gauge};
use crate::shared_budget::Holding;
use crate::state::{ActiveTurn, Ends, Listing, Pending, PendingPhase, Session, Spent, Totals};
use crate::subagent::Subagent;

/// What the model is told about a call whose outcome nobody knows.
pub(crate) const UNKNOWN_OUTCOME: &str = "The call was interrupted and its outcome is unknown: it may or may not have \
    taken effect. It was not repeated. Find out what happened before calling it again.";
/// The same for a call that was repeated, under one idempotency key, as often as allowed.
const UNKNOWN_AFTER_REPEATS: &str = "The call was tried more than once and its outcome is unknown: it may or may not \
    have taken effect. Find out what happened before calling it again.";

impl Session {
    /// The state after the first event of a journal.
    #[must_use]
    pub fn opened(key: SessionKey, at: Timestamp, opened: &SessionOpened) -> Self {
        Self {
            key,
            version: Version(1),
            agent: Arc::new(opened.agent.clone()),
            environment: opened.environment.clone(),
            metadata: opened.metadata.clone(),
            vault_ids: opened.vault_ids.clone(),
            review: opened.review,
            spend_limit: opened.spend_limit,
            prompt_cache: opened.prompt_cache.clone(),
            created_at: at,
            last_active_at: at,
            failed: None,
            deleted: false,
            queue: VecDeque::new(),
            items: Vec::new(),
            dropped: 0,
            carried: BTreeMap::new(),
            summary: None,
            gauge: Gauge::default(),
            shortened: BTreeSet::new(),
            turn: None,
            effects: BTreeMap::new(),
            approvals: BTreeMap::new(),
            supports: BTreeMap::new(),
            quarantined_by: None,
            quarantined_for: None,
            parent_heard: None,
            opened_by: opened.opened_by.clone(),
            decided: VecDeque::new(),
            listings: BTreeMap::new(),
            loaded: BTreeSet::new(),
            usage: Totals::default(),
            spent: Spent::default(),
            crashes: 0,
            parent: opened.parent,
            subagents: BTreeMap::new(),
            workspace: Workspace::new(&opened.environment),
            prewarmed: None,
            forked_from: None,
            connection: Connection::default(),
            flow: Flow::opened(opened),
            blocks: Vec::new(),
            procedures: Vec::new(),
            digest_key: opened.digest_key,
        }
    }

    /// Folds a journal, or what follows a snapshot. `None` if there is neither snapshot nor first event.
    #[must_use]
    pub fn fold(key: SessionKey, snapshot: Option<Self>, events: &[Recorded]) -> Option<Self> {
        let mut state = snapshot;
        for recorded in events {
            match (&mut state, &recorded.event) {
                (None, Event::SessionOpened(opened)) => state = Some(Self::opened(key, recorded.at, opened)),
                (None, Event::EnvironmentOpened(opened)) => {
                    state = Some(Self::prewarmed(key, recorded.at, opened));
                }
                (None, _) => return None,
                (Some(state), event) => state.apply(recorded.at, event),
            }
        }
        state
    }

    /// Folds one fact.
    pub fn apply(&mut self, at: Timestamp, event: &Event) {
        self.version = self.version.plus(1);
        self.last_active_at = at;
        match event {
            Event::EnvironmentOpened(_) | Event::ExtractionSkipped { .. } => {}
            Event::PolicyRefused { refusal } => self.take_refusal(at, refusal),
            Event::Governed { fact } => self.govern(fact),
            Event::SessionOpened(opened) => self.take(at, opened),
            Event::EnvironmentExpired => self.expire(),
            Event::EnvironmentSuspended => self.workspace.suspend(true),
            Event::EnvironmentResumed => self.workspace.suspend(false),
            Event::EnvironmentReset => self.change_servers(|state| state.workspace.reset()),
            Event::SessionUpdated { patch } => self.patch(patch),
            Event::SessionFailed { message } => self.failed = Some(message.clone()),
            Event::SessionDeleted => self.deleted = true,
            Event::InputAccepted { input } => self.queue.push_back(input.clone()),
            Event::InputJoined { input_id, item_id, turn_id } => {
                if let Some(place) = self.queue.iter().position(|input| input.id == *input_id) {
                    let input = self.queue.remove(place);
                    let labels = input.as_ref().map(|input| input.labels.clone()).unwrap_or_default();
                    let body = self.given_as(input);
                    let item = input_item(*item_id, *turn_id, ItemStatus::Completed, body);
                    self.push_item(Item { labels, ..item });
                }
            }
            Event::TurnCreated { turn_id } => self.turn = Some(self.new_turn(*turn_id, at)),
            Event::TurnStarted { .. } => {
                if let Some(turn) = &mut self.turn {
                    turn.row.status = TurnStatus::InProgress;
                    turn.row.started_at = Some(at);
                }
            }
            Event::TurnEnded { end, .. } => {
                if matches!(end, TurnEnd::Failed { error } if error.code == CONTEXT_LENGTH_EXCEEDED) {
                    self.gauge.forget_refusal();
                }
                self.turn = None;
            }
            Event::ItemAdded { item } => self.push_item(item.clone()),
            Event::ItemClosed { item_id, status, error } => {
                self.close_item(*item_id, *status, None, error.as_deref());
            }
            Event::FunctionsLoaded { names } => self.loaded.extend(names.iter().cloned()),
            Event::EffectRequested { effect } => {
                if let (EffectKind::ModelCall { .. }, Some(turn)) = (&effect.kind, &mut self.turn) {
                    turn.steps += 1;
                    turn.answered = false;
                }
                self.flow.requested(effect);
                self.govern_subagents(effect);
                let (id, effect) = (effect.id, Arc::new(effect.clone()));
                let pending = Pending {
                    effect,
                    attempts: 0,
                    ends: Ends::default(),
                    doubtful: false,
                    reserved: None,
                    holding: None,
                    signed_out: false,
                    heard: false,
                    rebound: false,
                    route: None,
                    avoided: Vec::new(),
                    context: None,
                    phase: PendingPhase::Requested,
                };
                self.effects.insert(id, pending);
            }
            Event::AttemptStarted { effect_id, attempt, reserved_nano_usd, route, context, held } => {
                if let Some(pending) = self.effects.get_mut(effect_id) {
                    pending.attempts = *attempt;
                    pending.reserved = *reserved_nano_usd;
                    let holding = |held: &Held| Box::new(Holding { held: held.clone(), since: at });
                    pending.holding = held.as_deref().map(holding);
                    pending.route.clone_from(route);
                    pending.context = *context;
                    pending.phase = PendingPhase::Running;
                    pending.signed_out = false;
                    pending.heard = false;
                    // Policy was asked, or there is nothing to show any more.
                    pending.rebound = false;
                    if let (EffectKind::ModelCall { .. }, Some(turn)) = (&pending.effect.kind, &mut self.turn)
                    {
                        turn.unseen = false;
                    }
                }
            }
            Event::AttemptEnded { effect_id, outcome, next, labels, .. } => {
                self.label_end(*effect_id, labels, *next);
                self.end_attempt(*effect_id, at, outcome, *next);
            }
            Event::SignedIn => self.hear_of_sign_in(at),
            Event::CredentialBound { server_label, credential_id } => {
                self.bind(server_label, credential_id, at);
            }
            Event::SecretPermitted { effect_id, .. } => {
                if let Some(pending) = self.effects.get_mut(effect_id) {
                    pending.rebound = false;
                }
            }
            Event::EffectAbandoned { effect_id } => {
                if let Some(pending) = self.effects.remove(effect_id) {
                    self.spent.add(budget::abandoned(&pending));
                    self.flow.abandoned(&pending.effect.kind, pending.attempts);
                    self.end_review(&pending.effect.kind);
                    self.goes_unsummarized(&pending.effect.kind);
                }
            }
            Event::Granted { grant } => self.flow.grant(grant),
            Event::ApprovalRequested { approval } => {
                self.approvals.insert(approval.id, approval.clone());
            }
            Event::ApprovalDecided { approval_id, decision, .. } => {
                self.approvals.remove(approval_id);
                self.supports.remove(approval_id);
                self.remember_decision(*approval_id, *decision);
            }
            Event::FunctionReturned { call_item_id, item_id, turn_id, success, output, error } => {
                let status = if *success { ItemStatus::Completed } else { ItemStatus::Failed };
                let call_id = self.item(*call_item_id).and_then(Item::call_id).unwrap_or_default().to_owned();
                self.close_item(*call_item_id, status, None, None);
                let body =
                    ItemBody::FunctionCallOutput { call_id, output: output.clone(), error: error.clone() };
                let labels = self.function_labels();
                self.push_item(Item { labels, ..input_item(*item_id, *turn_id, status, body) });
                if let Some(turn) = &mut self.turn {
                    turn.unseen = true;
                }
            }
            Event::SubagentOpened { subagent_id, name, task } => {
                self.subagents.insert(*subagent_id, Subagent::new(name, task, at));
            }
            Event::SubagentClosed { subagent_id } => {
                if let Some(subagent) = self.subagents.get_mut(subagent_id) {
                    subagent.closed_at = Some(at);
                }
            }
            Event::SubagentResumed { subagent_id } => {
                if let Some(subagent) = self.subagents.get_mut(subagent_id) {
                    subagent.closed_at = None;
                }
            }
            Event::EnvironmentConnected => self.connection.connect(),
            Event::EnvironmentDisconnected => self.connection.disconnect(),
            Event::ConnectionAwaited { until } => self.connection.wait_until(*until),
            Event::ConnectionLapsed => self.connection.lapse(),
            Event::ArtifactDeleted { artifact_id } => self.workspace.delete_artifact(*artifact_id),
            Event::ContextCompacted(compacted) => {
                self.compact(compacted.upto, &compacted.kept, &compacted.summary);
                if let (Some(turn), Some(_)) = (&mut self.turn, compacted.effect_id) {
                    turn.unsummarized = false;
                }
            }
            Event::ContextTrimmed { first_kept, .. } => {
                if let Some(place) = self.items.iter().position(|item| item.id == *first_kept) {
                    for item in self.items.drain(..place) {
                        self.shortened.remove(&item.id);
                    }
                    self.dropped += place as u64;
                }
            }
            Event::OutputsShortened { item_ids } => self.shortened.extend(item_ids),
            Event::BlocksTaken { blocks } => {
                blocks.iter().for_each(|block| self.flow.see(&block.labels));
                self.blocks.clone_from(blocks);
            }
            Event::ProceduresTaken { procedures } => {
                procedures.iter().for_each(|procedure| self.flow.see(&procedure.labels));
                self.procedures.clone_from(procedures);
            }
            Event::Forked(forked) => self.apply_forked(forked),
            Event::Rewound(rewound) => self.apply_rewound(rewound),
        }
    }

    /// An input as the item it becomes: a user's message, or what a subagent's parent says to it.
    fn given_as(&self, input: Option<Input>) -> ItemBody {
        let (content, by_agent) = input.map(|input| (input.content, input.by_agent)).unwrap_or_default();
        let Some(parent) = &self.parent else { return ItemBody::UserMessage { content, by_agent } };
        let text = |part| match part {
            InputPart::Text { text } => Some(text),
            InputPart::Image { .. } => None,
        };
        let content = content.into_iter().filter_map(text).collect();
        let recipient = AgentRef::Subagent(parent.subagent_id);
        ItemBody::AgentMessage { sender: parent.agent, recipient, content, reports: None }
    }

    fn patch(&mut self, patch: &SessionPatch) {
        if let Some(metadata) = &patch.metadata {
            self.metadata.clone_from(metadata);
        }
        if let Some(review) = patch.review {
            self.review = review;
        }
        if let Some(spend) = patch.spend_limit {
            self.spend_limit = spend;
        }
        if let Some(cache) = &patch.prompt_cache {
            self.prompt_cache.clone_from(cache);
        }
        if let Some(changes) = &patch.agent {
            let agent = Arc::make_mut(&mut self.agent);
            if let Some(model) = &changes.model {
                agent.model.clone_from(model);
            }
            if let Some(effort) = changes.effort {
                agent.reasoning.effort = effort;
            }
            if let Some(tier) = changes.service_tier {
                agent.service_tier = tier;
            }
            if let Some(tools) = &changes.tools {
                let before = Arc::clone(&self.agent);
                self.change_servers(|state| Arc::make_mut(&mut state.agent).tools.clone_from(tools));
                self.mark_rebound(&before.tools);
            }
        }
    }

    fn new_turn(&self, id: TurnId, at: Timestamp) -> ActiveTurn {
        let row = Turn {
            id,
            agent_id: self.agent.id,
            status: TurnStatus::Queued,
            created_at: at,
            started_at: None,
            completed_at: None,
            error: None,
            usage: None,
            cache_ttl: self.prompt_cache.as_ref().map(|cache| cache.ttl.clone()),
        };
        ActiveTurn {
            row,
            steps: 0,
            calls: 0,
            outputs: 0,
            trims: 0,
            unsummarized: false,
            answered: false,
            unseen: false,
            usage: Totals::default(),
        }
    }

    /// The running turn's row as it will be once it has ended.
    pub(crate) fn ended_turn(&self, at: Timestamp, end: &TurnEnd) -> Option<Turn> {
        let mut row = self.active_turn()?;
        row.completed_at = Some(at);
        (row.status, row.error) = match end {
            TurnEnd::Completed => (TurnStatus::Completed, None),
            TurnEnd::Failed { error } => (TurnStatus::Failed, Some(error.clone())),
            TurnEnd::Cancelled => (TurnStatus::Cancelled, None),
        };
        Some(row)
    }

    fn push_item(&mut self, item: Item) {
        if let Some(turn) = &mut self.turn {
            // What only the model sees has no index, so that clients count without gaps.
            turn.outputs = turn.outputs.max(item.output_index.map_or(0, |index| index + 1));
            match &item.body {
                ItemBody::FunctionCall { .. }
                | ItemBody::McpCall { .. }
                | ItemBody::CommandExecution { .. }
                | ItemBody::SubagentCall { .. }
                | ItemBody::InternalCall { .. } => {
                    turn.calls += 1;
                    turn.answered = false;
                }
                ItemBody::UserMessage { .. }
                | ItemBody::AssistantMessage { .. }
                | ItemBody::Reasoning { .. }
                | ItemBody::AgentMessage { .. }
                | ItemBody::FunctionCallOutput { .. } => {}
            }
        }
        if let ItemBody::AgentMessage { sender: AgentRef::Subagent(sender), reports: Some(turn), .. } =
            &item.body
            && let Some(subagent) = self.subagents.get_mut(sender)
        {
            subagent.reported = Some(*turn);
        }
        self.flow.see(&item.labels);
        self.items.push(Arc::new(item));
    }

    /// What ended gave something with these labels: its item has them, and whoever reads it.
    fn label_end(&mut self, effect: EffectId, labels: &Labels, next: Next) {
        let Some(effect) = self.effects.get(&effect).map(|pending| Arc::clone(&pending.effect)) else {
            return;
        };
        self.flow.ended(&effect.kind, labels);
        let is_told = next == Next::Settled && !labels.is_neutral();
        let Some(item_id) = effect.kind.item_id().filter(|_| is_told) else { return };
        if let Some(item) = self.item_mut(item_id) {
            item.labels = std::mem::take(&mut item.labels).join(labels);
        }
    }

    fn close_item(
        &mut self,
        id: ItemId,
        to: ItemStatus,
        text: Option<&tenure_journal::ToolResult>,
        why: Option<&str>,
    ) {
        let Some(item) = self.item_mut(id) else { return };
        item.status = to;
        if let ItemBody::McpCall { output, error, stored, .. } = &mut item.body {
            if let Some(result) = text {
                if result.is_error {
                    *error = Some(result.text.clone());
                } else {
                    *output = Some(result.text.clone());
                }
                *stored = result.stored;
            }
            if let Some(why) = why {
                *error = Some(why.to_owned());
            }
        }
        if let (ItemBody::CommandExecution { error, .. }, Some(why)) = (&mut item.body, why) {
            *error = Some(why.to_owned());
        }
        if let ItemBody::SubagentCall { output, error, .. } = &mut item.body {
            if let Some(result) = text {
                let told = if result.is_error { &mut *error } else { output };
                *told = Some(result.text.clone());
            }
            if let Some(why) = why {
                *error = Some(why.to_owned());
            }
        }
    }

    fn close_command(&mut self, id: ItemId, result: &CommandResult) {
        let Some(item) = self.item_mut(id) else { return };
        item.status = if result.exit_code == Some(0) { ItemStatus::Completed } else { ItemStatus::Failed };
        if let ItemBody::CommandExecution { output, error, exit_code, duration_ms, stored, .. } =
            &mut item.body
        {
            *output = Some(result.output.clone());
            error.clone_from(&result.ended_by);
            *exit_code = result.exit_code;
            *duration_ms = Some(result.duration_ms);
            *stored = result.stored;
        }
    }

    fn end_attempt(&mut self, id: EffectId, at: Timestamp, outcome: &Outcome, next: Next) {
        let Some(pending) = self.effects.get_mut(&id) else { return };
        self.spent.add(budget::cost(outcome, pending.reserved.take()));
        pending.holding = None;
        if let Next::Retry { at: again } = next {
            pending.phase = PendingPhase::Retry { at: again };
            pending.ends.count(outcome);
            // One that is repeated at once waits for nobody.
            pending.signed_out = match outcome {
                Outcome::Failed { failure } => failure.kind == FailureKind::SignInRequired && again > at,
                Outcome::Done { .. } | Outcome::Unknown => false,
            };
            pending.avoid_after(outcome);
            pending.doubtful |= match outcome {
                Outcome::Unknown => true,
                Outcome::Failed { failure } => failure.kind.is_ambiguous(),
                Outcome::Done { .. } => false,
            };
        }
        let effect = Arc::clone(&pending.effect);
        let context = pending.context;
        if next == Next::Settled {
            self.effects.remove(&id);
            self.end_review(&effect.kind);
        }
        if let EffectKind::Compact { .. } = &effect.kind
            && next == Next::Settled
        {
            // What a summary follows from takes this back.
            self.goes_unsummarized(&effect.kind);
        }
        if let EffectKind::ModelCall { model, .. } = &effect.kind {
            if let Some(size) = context {
                self.gauge.learn(model, &size, outcome);
            }
            if let (Outcome::Failed { failure }, Some(turn)) = (outcome, &mut self.turn)
                && failure.kind == FailureKind::ContextTooLong
            {
                turn.trims += 1;
            }
            match outcome {
                Outcome::Failed { failure } if failure.kind == FailureKind::Crashed => self.crashes += 1,
                Outcome::Failed { .. } | Outcome::Done { .. } => self.crashes = 0,
                // A process that ended says nothing about the session.
                Outcome::Unknown => {}
            }
        }
        match (&effect.kind, outcome) {
            (kind, Outcome::Done { done: Done::Model { usage, .. } }) => {
                self.usage.add(usage.as_ref());
                if let Some(turn) = &mut self.turn {
                    turn.usage.add(usage.as_ref());
                    // Calls among the items that follow say otherwise. A summary is no answer.
                    turn.answered |= matches!(kind, EffectKind::ModelCall { .. });
                }
            }
            (_, Outcome::Done { done: Done::Extracted { usage, .. } }) => self.usage.add(usage.as_ref()),
            (EffectKind::ListTools { server_label, .. }, Outcome::Done { done: Done::Tools { tools } }) => {
                self.list(server_label, at, Some(tools.clone()));
            }
            (EffectKind::ListTools { server_label, .. }, Outcome::Failed { .. } | Outcome::Unknown) => {
                if next == Next::Settled {
                    self.list(server_label, at, None);
                }
            }
            (
                EffectKind::ToolCall { item_id, .. } | EffectKind::Subagent { item_id, .. },
                Outcome::Done { done: Done::Tool { result } },
            ) => {
                let status = if result.is_error { ItemStatus::Failed } else { ItemStatus::Completed };
                self.close_item(*item_id, status, Some(result), None);
                if effect.kind.lane() == Some(Lane::Environment) {
                    self.workspace.ran(result.root);
                }
            }
            (EffectKind::Command { item_id, .. }, Outcome::Done { done: Done::Command { result } }) => {
                self.close_command(*item_id, result);
                self.workspace.ran(result.root);
            }
            (
                EffectKind::PrepareEnvironment,
                Outcome::Done { done: Done::Placed { root, skills, servers } },
            ) => {
                self.workspace.place(*root);
                self.change_servers(|state| state.workspace.find(skills, servers));
            }
            (_, Outcome::Done { done: Done::Placed { root, .. } }) => self.workspace.place(*root),
            (_, Outcome::Done { done: Done::Published { artifacts } }) => self.workspace.publish(artifacts),
            (EffectKind::PrepareEnvironment, Outcome::Done { done: Done::Found { skills, servers } }) => {
                self.change_servers(|state| state.workspace.find(skills, servers));
                self.workspace.look();
            }
            // A reset follows.
            (EffectKind::PrepareEnvironment, Outcome::Failed { failure })
                if failure.kind == FailureKind::FilesLost => {}
            (EffectKind::PrepareEnvironment, Outcome::Failed { failure }) => {
                if next == Next::Settled && self.hosted().is_some() {
                    self.workspace.fail(&failure.message);
                } else if next == Next::Settled && failure.kind != FailureKind::NotFound {
                    // One whose executor went away is asked when it is back.
                    self.workspace.look();
                }
            }
            (EffectKind::PrepareEnvironment, Outcome::Unknown) => {
                if next == Next::Settled && self.hosted().is_some() {
                    self.workspace.fail(UNKNOWN_AFTER_REPEATS);
                } else if next == Next::Settled {
                    self.workspace.look();
                }
            }
            (EffectKind::PublishArtifacts, Outcome::Failed { .. } | Outcome::Unknown) => {
                // The turn goes on without: its files stay in the environment, and the next turn's change
                // publishes them.
                if next == Next::Settled {
                    self.workspace.publish(&[]);
                }
            }
            (
                EffectKind::ToolCall { item_id, .. }
                | EffectKind::Subagent { item_id, .. }
                | EffectKind::Command { item_id, .. },
                Outcome::Failed { failure },
            ) => {
                if next == Next::Settled {
                    self.close_item(*item_id, ItemStatus::Failed, None, Some(&failure.message));
                }
            }
            (
                EffectKind::ToolCall { item_id, .. }
                | EffectKind::Subagent { item_id, .. }
                | EffectKind::Command { item_id, .. },
                Outcome::Unknown,
            ) => {
                if next == Next::Settled {
                    if effect.kind.lane() == Some(Lane::Environment) {
                        self.workspace.leave(id);
                    }
                    let told = match effect.repeat {
                        Repeat::Never => UNKNOWN_OUTCOME,
                        Repeat::Freely | Repeat::WithKey => UNKNOWN_AFTER_REPEATS,
                    };
                    self.close_item(*item_id, ItemStatus::Failed, None, Some(told));
                }
            }
            (
                EffectKind::ModelCall { .. }
                | EffectKind::Review { .. }
                | EffectKind::Extract { .. }
                | EffectKind::Compact { .. }
                | EffectKind::EndSubagents { .. }
                | EffectKind::PlaceFiles { .. },
                Outcome::Failed { .. } | Outcome::Unknown,
            )
            | (
                EffectKind::ModelCall { .. }
                | EffectKind::Review { .. }
                | EffectKind::Extract { .. }
                | EffectKind::Compact { .. }
                | EffectKind::ListTools { .. }
                | EffectKind::ToolCall { .. }
                | EffectKind::Subagent { .. }
                | EffectKind::EndSubagents { .. }
                | EffectKind::PrepareEnvironment
                | EffectKind::Command { .. }
                | EffectKind::PlaceFiles { .. }
                | EffectKind::PublishArtifacts,
                Outcome::Done { .. },
            ) => {}
        }
    }

    /// Without a summary the running turn does without, for as long as it runs.
    fn goes_unsummarized(&mut self, kind: &EffectKind) {
        if let (EffectKind::Compact { .. }, Some(turn)) = (kind, &mut self.turn) {
            turn.unsummarized = true;
        }
    }

    pub(crate) fn list(&mut self, label: &str, at: Timestamp, tools: Option<Vec<tenure_journal::ToolDef>>) {
        self.listings.insert(label.to_owned(), Arc::new(Listing { at, tools }));
    }
}

/// An item that is no output of the model.
fn input_item(id: ItemId, turn_id: TurnId, status: ItemStatus, body: ItemBody) -> Item {
    Item { id, turn_id, status, output_index: None, step: None, body, labels: Labels::NEUTRAL }
}

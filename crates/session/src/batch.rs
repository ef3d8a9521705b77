//! One turn of the crank, as a value: what to commit, and what to do once it is committed.
//!
//! The shell loads a session, calls [`Session::crank`], appends [`Batch::events`] with the expected version
//! and the projections, and only when that is durable goes on with [`Batch::after`]: it publishes the
//! notices, stops what was abandoned and starts what was begun. The simulation turns the same crank.

use std::collections::BTreeMap;
use std::sync::Arc;

use tenure_journal::{
    AuditRecord, Done, Effect, EffectId, EffectKind, EnvironmentOpened, EnvironmentStatus, Event, Forked,
    InputPart, Item, ItemBody, ItemId, ItemStatus, Next, Outcome, Recorded, Remembered, SessionKey,
    SessionOpened, SessionStatus, SubagentId, Timestamp, Turn, TurnEnd, TurnId, Version,
};

use crate::audit;
use crate::budget::{self, BudgetStep};
use crate::decide::{Context, Input};
use crate::remember::remembered;
use crate::shared_budget::{self, UseStep};
use crate::{
    EnvironmentNotice, HostedBy, Learned, PartNotice, PartOf, Refusal, Session, SessionNotice, StreamEvent,
    SubagentNotice, TurnNotice,
};

/// What one decision leads to.
#[derive(Debug)]
pub struct Batch {
    /// The version the events were decided at.
    pub expected: Version,
    /// When they happened: later than every earlier event of the session, so that events of one append are
    /// told from those of the next by their time.
    pub at: Timestamp,
    /// The facts to append; never empty.
    pub events: Vec<Event>,
    /// Items that are new or changed, by their place in the session.
    pub items: BTreeMap<u64, Item>,
    /// Turns that are new or changed, in order; the last row of each turn counts.
    pub turns: Vec<Turn>,
    /// Rows that are gone: to be removed before the others are written.
    pub gone: Gone,
    /// What the events set aside in the tree's budget and spend of it, in order.
    pub budget: Vec<BudgetStep>,
    /// What the events set aside and use in configured budgets, in order.
    pub uses: Vec<UseStep>,
    /// What an auditor is told of the events, in order.
    pub audit: Vec<AuditRecord>,
    /// What the events made that can be recalled once they are durable. What a fork begins with is its parent's to
    /// remember.
    pub episodes: Vec<Remembered>,
    /// What a model read out of turns: to be remembered with the events.
    pub learned: Vec<Learned>,
    /// What clients are told once the events are durable, in order.
    pub notices: Vec<StreamEvent>,
    /// Attempts to begin once the events are durable.
    pub start: Vec<(Arc<Effect>, u32)>,
    /// Effects whose attempts are to be stopped.
    pub stop: Vec<EffectId>,
    /// The state after the events.
    pub after: Session,
}

/// Rows that a rewinding gives up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gone {
    /// Items at this place and after it.
    pub items_from: Option<u64>,
    /// Turns.
    pub turns: Vec<TurnId>,
}

impl Session {
    /// Decides and prepares everything that follows. `None`: there is nothing to do.
    ///
    /// # Errors
    /// As [`Session::decide`].
    pub fn crank(&self, input: &Input<'_>, cx: &Context<'_>) -> Result<Option<Batch>, Refusal> {
        let now = cx.now.max(self.last_active_at.plus_millis(1));
        let cx = &Context { now, ..*cx };
        let events = self.decide(input, cx)?;
        if events.is_empty() {
            return Ok(None);
        }
        Ok(Some(Builder::new(self.clone(), self.version, self.status(), cx.now).fold(events)))
    }

    /// What follows from events that were decided elsewhere and appended in one transaction: the same batch
    /// as was committed there. `before` is the state they were decided at, absent for those that open the
    /// session. `None`: they do not follow it.
    #[must_use]
    pub fn follow(key: SessionKey, before: Option<&Self>, recorded: &[Recorded]) -> Option<Batch> {
        let first = recorded.first()?;
        let events = || recorded.iter().map(|recorded| recorded.event.clone());
        match (before, &first.event) {
            (Some(before), _) if first.version == before.version.plus(1) => {
                let builder = Builder::new(before.clone(), before.version, before.status(), first.at);
                Some(builder.fold(events().collect()))
            }
            (None, Event::SessionOpened(opened)) => {
                let state = Self::opened(key, first.at, opened);
                let mut builder = Builder::opening(state, first.at, Some(&first.event));
                builder.events.push(first.event.clone());
                Some(builder.fold(events().skip(1).collect()))
            }
            (None, Event::EnvironmentOpened(opened)) => {
                let state = Self::prewarmed(key, first.at, opened);
                Some(Builder::prewarming(state, first.at).fold_rest(events().collect()))
            }
            (Some(_) | None, _) => None,
        }
    }

    /// Opens an environment without a session and prepares everything that follows.
    #[must_use]
    pub fn crank_prewarm(key: SessionKey, opened: EnvironmentOpened, cx: &Context<'_>) -> Batch {
        let state = Self::prewarmed(key, cx.now, &opened);
        Builder::prewarming(state, cx.now).fold_rest(Self::prewarm(key, opened, cx))
    }

    /// Opens a session and prepares everything that follows.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn crank_open(
        key: SessionKey,
        opened: SessionOpened,
        messages: Vec<Vec<InputPart>>,
        cx: &Context<'_>,
    ) -> Result<Batch, Refusal> {
        Self::crank_fork(key, opened, Vec::new(), messages, cx)
    }

    /// Opens a session with what it was forked with.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn crank_fork(
        key: SessionKey,
        opened: SessionOpened,
        forked: Vec<Forked>,
        messages: Vec<Vec<InputPart>>,
        cx: &Context<'_>,
    ) -> Result<Batch, Refusal> {
        let state = Self::opened(key, cx.now, &opened);
        let mut events = Self::open(key, opened, forked, messages, cx)?;
        let rest = events.split_off(1);
        let mut builder = Builder::opening(state, cx.now, events.first());
        builder.events = events;
        Ok(builder.fold(rest))
    }
}

/// Events in the order of a journal, cut into those that were appended together: they share one time, which
/// no other append of the session has.
pub fn appends(recorded: &[Recorded]) -> impl Iterator<Item = &[Recorded]> {
    recorded.chunk_by(|one, next| one.at == next.at)
}

struct Builder {
    expected: Version,
    state: Session,
    /// What clients believe.
    told: SessionStatus,
    now: Timestamp,
    events: Vec<Event>,
    items: BTreeMap<u64, Item>,
    turns: Vec<Turn>,
    gone: Gone,
    budget: Vec<BudgetStep>,
    uses: Vec<UseStep>,
    audit: Vec<AuditRecord>,
    episodes: BTreeMap<u64, Remembered>,
    learned: Vec<Learned>,
    notices: Vec<StreamEvent>,
    stop: Vec<EffectId>,
    started: Vec<EffectId>,
}

impl Builder {
    /// For the first events of a session, of which `state` holds the very first.
    fn opening(state: Session, now: Timestamp, opened: Option<&Event>) -> Self {
        let mut builder = Self::new(state, Version::ZERO, SessionStatus::Idle, now);
        builder.budget.extend(opened.and_then(|opened| budget::step(&builder.state, opened)));
        builder.audit.extend(opened.and_then(|opened| audit::record(&builder.state, now, opened)));
        let session = builder.view();
        builder.notices.push(StreamEvent::Session { kind: SessionNotice::Created, session });
        builder.tell_environment(None);
        builder
    }

    /// For the first events of an environment without a session, of which `state` holds the very first. Nobody
    /// is told: there is no stream yet.
    fn prewarming(state: Session, now: Timestamp) -> Self {
        Self::new(state, Version::ZERO, SessionStatus::Idle, now)
    }

    /// The first of the events is in the state already.
    fn fold_rest(mut self, mut events: Vec<Event>) -> Batch {
        let rest = events.split_off(1.min(events.len()));
        self.audit.extend(events.first().and_then(|opened| audit::record(&self.state, self.now, opened)));
        self.events = events;
        self.fold(rest)
    }

    fn new(state: Session, expected: Version, told: SessionStatus, now: Timestamp) -> Self {
        Self {
            expected,
            state,
            told,
            now,
            events: Vec::new(),
            items: BTreeMap::new(),
            turns: Vec::new(),
            gone: Gone::default(),
            budget: Vec::new(),
            uses: Vec::new(),
            audit: Vec::new(),
            episodes: BTreeMap::new(),
            learned: Vec::new(),
            notices: Vec::new(),
            stop: Vec::new(),
            started: Vec::new(),
        }
    }

    fn fold(mut self, events: Vec<Event>) -> Batch {
        let row_before = self.state.active_turn();
        for event in &events {
            let closing = if let Event::TurnEnded { end, .. } = event {
                self.state.ended_turn(self.now, end)
            } else {
                None
            };
            let settled = self.settled_item(event);
            self.learned.extend(self.learned(event));
            let environment = self.state.environment_status();
            self.budget.extend(budget::step(&self.state, event));
            self.uses.extend(shared_budget::steps(&self.state, self.now, event));
            self.state.apply(self.now, event);
            self.audit.extend(audit::record(&self.state, self.now, event));
            self.keep_row(event, settled);
            self.tell(event, settled, closing);
            let opens = matches!(event, Event::SessionOpened(_));
            if opens {
                let session = self.view();
                self.notices.push(StreamEvent::Session { kind: SessionNotice::Created, session });
            }
            if opens || self.state.environment_status() != environment {
                self.tell_environment(environment.as_ref());
            }
        }
        let row = self.state.active_turn();
        if let Some(row) = row.filter(|row| row_before.as_ref() != Some(row)) {
            self.turns.push(row);
        }
        self.tell_status();
        self.events.extend(events);
        let start = self.started.iter().filter_map(|id| self.state.effects.get(id));
        let start = start.map(|pending| (Arc::clone(&pending.effect), pending.attempts)).collect();
        Batch {
            expected: self.expected,
            at: self.now,
            events: self.events,
            items: self.items,
            turns: self.turns,
            gone: self.gone,
            budget: self.budget,
            uses: self.uses,
            audit: self.audit,
            episodes: self.episodes.into_values().collect(),
            learned: self.learned,
            notices: self.notices,
            start,
            stop: self.stop,
            after: self.state,
        }
    }

    /// The item that an attempt's end closes; to be asked before the event is applied.
    fn settled_item(&self, event: &Event) -> Option<ItemId> {
        if let Event::AttemptEnded { effect_id, next: Next::Settled, .. } = event {
            return self.state.effects.get(effect_id)?.effect.kind.item_id();
        }
        if let Event::ItemClosed { item_id, .. } | Event::FunctionReturned { call_item_id: item_id, .. } =
            event
        {
            return Some(*item_id);
        }
        None
    }

    /// What an event says was read out of a turn; to be asked before the event is applied.
    fn learned(&self, event: &Event) -> Option<Learned> {
        let Event::AttemptEnded { effect_id, outcome: Outcome::Done { done }, .. } = event else {
            return None;
        };
        let Done::Extracted { facts, procedure, .. } = done else { return None };
        let kind = &self.state.effects.get(effect_id)?.effect.kind;
        let EffectKind::Extract { scope, labels, .. } = kind else { return None };
        let (scope, labels, facts) = (scope.clone(), labels.clone(), facts.clone());
        let procedure = procedure.as_deref().cloned();
        let is_something = !facts.is_empty() || procedure.is_some();
        is_something.then_some(Learned { effect: *effect_id, scope, labels, facts, procedure })
    }

    /// Records the rows an event changed, and the effects it began or gave up.
    fn keep_row(&mut self, event: &Event, settled: Option<ItemId>) {
        if let Event::AttemptStarted { effect_id, .. } = event {
            self.started.push(*effect_id);
        }
        if let Event::EffectAbandoned { effect_id } = event {
            self.stop.push(*effect_id);
        }
        if let Event::Forked(forked) = event {
            // Its last items are the last of the state, and the others come before them.
            let end = self.state.item_count();
            let places = end.saturating_sub(forked.items.len() as u64)..end;
            self.items.extend(places.zip(forked.items.iter().cloned()));
            self.turns.extend(forked.turns.iter().cloned());
        }
        if let Event::Rewound(rewound) = event {
            self.items.split_off(&rewound.kept);
            self.episodes.split_off(&rewound.kept);
            for placed in &rewound.items {
                self.remember(placed.ordinal, &placed.item);
                self.items.insert(placed.ordinal, placed.item.clone());
            }
            self.turns.retain(|turn| !rewound.gone.contains(&turn.id));
            self.turns.extend(rewound.turns.iter().cloned());
            let from = self.gone.items_from.map_or(rewound.kept, |from| from.min(rewound.kept));
            self.gone.items_from = Some(from);
            self.gone.turns.extend(rewound.gone.iter().copied());
        }
        let added = if let Event::InputJoined { item_id, .. }
        | Event::FunctionReturned { item_id, .. }
        | Event::ItemAdded { item: Item { id: item_id, .. } } = event
        {
            Some(*item_id)
        } else {
            None
        };
        for id in settled.into_iter().chain(added) {
            let row = self.state.items().rev().find(|(_, item)| item.id == id);
            if let Some((ordinal, item)) = row.map(|(ordinal, item)| (ordinal, item.clone())) {
                self.remember(ordinal, &item);
                self.items.insert(ordinal, item);
            }
        }
    }

    fn remember(&mut self, ordinal: u64, item: &Item) {
        let episode = remembered(&self.state, self.now, ordinal, item);
        self.episodes.extend(episode.map(|episode| (ordinal, episode)));
    }

    fn view(&self) -> Arc<crate::SessionView> {
        Arc::new(self.state.view())
    }

    fn tell(&mut self, event: &Event, settled: Option<ItemId>, closing: Option<Turn>) {
        if let Some(item) = settled.and_then(|id| self.state.item(id)).filter(|item| item.is_public()) {
            let item = item.clone();
            self.notices.push(StreamEvent::ItemDone { item });
        }
        match event {
            Event::TurnCreated { .. } => self.tell_turn(TurnNotice::Created),
            Event::TurnStarted { .. } => {
                self.told = SessionStatus::InProgress;
                let session = self.view();
                self.notices.push(StreamEvent::Session { kind: SessionNotice::InProgress, session });
                self.tell_turn(TurnNotice::InProgress);
            }
            Event::InputJoined { item_id, .. } | Event::FunctionReturned { item_id, .. } => {
                if let Some(item) = self.state.item(*item_id).cloned() {
                    self.notices.push(StreamEvent::ItemAdded { item });
                }
            }
            Event::ItemAdded { item } if item.is_public() => self.notices.extend(added(item)),
            Event::TurnEnded { turn_id, end } => {
                let kind = match end {
                    TurnEnd::Completed => TurnNotice::Completed,
                    TurnEnd::Failed { error } => {
                        self.notices.push(StreamEvent::Error { turn_id: *turn_id, error: error.clone() });
                        TurnNotice::Failed
                    }
                    TurnEnd::Cancelled => TurnNotice::Cancelled,
                };
                if let Some(turn) = closing {
                    self.turns.push(turn.clone());
                    self.notices.push(StreamEvent::Turn { kind, turn });
                }
            }
            Event::SessionDeleted => self.notices.push(StreamEvent::Deleted),
            Event::EnvironmentReset => self.tell_reset(),
            Event::SubagentOpened { subagent_id, .. } => {
                self.tell_subagent(SubagentNotice::Created, *subagent_id);
            }
            Event::SubagentClosed { subagent_id } => self.tell_subagent(SubagentNotice::Closed, *subagent_id),
            Event::SubagentResumed { subagent_id } => {
                self.tell_subagent(SubagentNotice::Active, *subagent_id);
            }
            Event::EnvironmentOpened(_)
            | Event::SessionOpened(_)
            | Event::EnvironmentExpired
            | Event::EnvironmentSuspended
            | Event::EnvironmentResumed
            | Event::SessionUpdated { .. }
            | Event::SessionFailed { .. }
            | Event::InputAccepted { .. }
            | Event::ItemAdded { .. }
            | Event::ItemClosed { .. }
            | Event::FunctionsLoaded { .. }
            | Event::EffectRequested { .. }
            | Event::AttemptStarted { .. }
            | Event::AttemptEnded { .. }
            | Event::EffectAbandoned { .. }
            | Event::ApprovalRequested { .. }
            | Event::ApprovalDecided { .. }
            | Event::Granted { .. }
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
            | Event::Rewound(_) => {}
        }
    }

    /// Tells how far the environment is, after it was `before`. Nobody can listen until a session is opened.
    fn tell_environment(&mut self, before: Option<&EnvironmentStatus>) {
        if self.state.awaits_session() {
            return;
        }
        let hosted = self.state.hosted().map(|hosted| (hosted.id, HostedBy::Server));
        let own = || self.state.self_hosted().map(|own| (own.id, HostedBy::Customer));
        let Some(((id, by), status)) = hosted.or_else(own).zip(self.state.environment_status()) else {
            return;
        };
        let (kinds, error): (&[EnvironmentNotice], _) = match (status, by) {
            (EnvironmentStatus::Pending, _) => (&[EnvironmentNotice::Pending], None),
            (EnvironmentStatus::Connected, HostedBy::Server)
                if before == Some(&EnvironmentStatus::Suspended) =>
            {
                (&[EnvironmentNotice::Connected], None)
            }
            (EnvironmentStatus::Connected, HostedBy::Server) => {
                (&[EnvironmentNotice::Ready, EnvironmentNotice::Connected], None)
            }
            (EnvironmentStatus::Ready, HostedBy::Customer) => (&[EnvironmentNotice::Ready], None),
            (EnvironmentStatus::Connected, HostedBy::Customer) => (&[EnvironmentNotice::Connected], None),
            (EnvironmentStatus::Disconnected, _) => (&[EnvironmentNotice::Disconnected], None),
            (EnvironmentStatus::Suspended, _) => (&[EnvironmentNotice::Suspended], None),
            // What waits for a session has no readers.
            (EnvironmentStatus::Ready, HostedBy::Server) | (EnvironmentStatus::Expired, _) => return,
            (EnvironmentStatus::Failed { message }, _) => (&[EnvironmentNotice::Failed], Some(message)),
        };
        for kind in kinds {
            self.notices.push(StreamEvent::Environment { kind: *kind, id, by, error: error.clone() });
        }
    }

    fn tell_reset(&mut self) {
        if let Some(hosted) = self.state.hosted() {
            let kind = EnvironmentNotice::Reset { count: self.state.environment_resets() };
            let (id, by) = (hosted.id, HostedBy::Server);
            self.notices.push(StreamEvent::Environment { kind, id, by, error: None });
        }
    }

    fn tell_subagent(&mut self, kind: SubagentNotice, id: SubagentId) {
        self.notices.extend(self.state.subagent(id).map(|subagent| StreamEvent::Subagent { kind, subagent }));
    }

    fn tell_turn(&mut self, kind: TurnNotice) {
        if let Some(turn) = self.state.active_turn() {
            self.turns.push(turn.clone());
            self.notices.push(StreamEvent::Turn { kind, turn });
        }
    }

    /// Tells the status the session is left in, if clients believe another.
    fn tell_status(&mut self) {
        let status = self.state.status();
        if self.told == status || self.state.is_deleted() || self.state.awaits_session() {
            return;
        }
        let kind = match status {
            SessionStatus::Idle => SessionNotice::Idle,
            SessionStatus::InProgress => SessionNotice::InProgress,
            SessionStatus::RequiresAction => SessionNotice::RequiresAction,
            SessionStatus::Failed => SessionNotice::Failed,
        };
        let session = self.view();
        self.notices.push(StreamEvent::Session { kind, session });
    }
}

/// What clients are told about a new item: calls come whole, texts as the stream would have brought them.
fn added(item: &Item) -> Vec<StreamEvent> {
    let (of, texts) = match &item.body {
        ItemBody::AssistantMessage { content, .. } => (PartOf::Message, content),
        ItemBody::Reasoning { summary, .. } => (PartOf::Reasoning, summary),
        ItemBody::UserMessage { .. }
        | ItemBody::FunctionCall { .. }
        | ItemBody::FunctionCallOutput { .. }
        | ItemBody::McpCall { .. }
        | ItemBody::CommandExecution { .. }
        | ItemBody::SubagentCall { .. }
        | ItemBody::AgentMessage { .. }
        | ItemBody::InternalCall { .. } => return vec![StreamEvent::ItemAdded { item: item.clone() }],
    };
    let mut notices = vec![StreamEvent::ItemAdded { item: begun(item) }];
    for (part, text) in (0..).zip(texts) {
        let mut notice = |notice| {
            notices.push(StreamEvent::Part {
                turn_id: item.turn_id,
                item_id: item.id,
                output_index: item.output_index.unwrap_or(0),
                part,
                of,
                notice,
            });
        };
        notice(PartNotice::Added);
        notice(PartNotice::Delta(text.clone()));
        notice(PartNotice::TextDone(text.clone()));
        notice(PartNotice::Done { text: text.clone(), incomplete: item.status == ItemStatus::Incomplete });
    }
    notices.push(StreamEvent::ItemDone { item: item.clone() });
    notices
}

/// The item as it is announced before its text: empty and in progress.
#[must_use]
pub fn begun(item: &Item) -> Item {
    let mut item = item.clone();
    item.status = ItemStatus::InProgress;
    match &mut item.body {
        ItemBody::AssistantMessage { content, phase } => {
            content.clear();
            *phase = None;
        }
        ItemBody::Reasoning { summary, encrypted, .. } => {
            summary.clear();
            *encrypted = None;
        }
        ItemBody::UserMessage { .. }
        | ItemBody::FunctionCall { .. }
        | ItemBody::FunctionCallOutput { .. }
        | ItemBody::McpCall { .. }
        | ItemBody::CommandExecution { .. }
        | ItemBody::SubagentCall { .. }
        | ItemBody::AgentMessage { .. }
        | ItemBody::InternalCall { .. } => {}
    }
    item
}

//! Forks and rewinding: one session's past as the beginning of another, or as its own present again.
//!
//! Nothing that was under way at that moment is taken up again. A call without a result is closed, and the
//! model is told that it may have taken effect: somewhere, sometime, it may have. So neither a fork nor a
//! session that went back repeats what was done before, and every call in the context has a result.

use std::collections::BTreeMap;
use std::sync::Arc;

use tenure_journal::{
    Artifact, ArtifactId, Environment, EnvironmentId, FORKED_ITEMS_MAX, Forked, ForkedFrom, Fresh, Item,
    ItemBody, ItemId, ItemStatus, Labels, PlacedItem, Rewound, SessionKey, SessionOpened, SubagentId,
    Timestamp, Turn, TurnEnd, TurnId, Version,
};

use crate::history::{History, Past};
use crate::{Command, Refusal, Session};

/// What the model is told about a call that had no result when the session was forked.
const NOT_IN_A_FORK: &str = "Interrupted: not repeated in a fork. This conversation was continued from before \
    the call's result; it may or may not have taken effect.";
/// What the model is told about a call that had no result at the moment the session went back to.
const NOT_AGAIN: &str = "Interrupted: not repeated. The session went back to before the call's result; it may \
    or may not have taken effect.";

impl History {
    /// How a fork of the session, as it was at that version, begins: like any session, and with the
    /// conversation under ids of the fork. Nothing of it is under way, nothing is spent, nothing waits.
    ///
    /// # Errors
    /// `Hidden`: a subagent's session; `Deleted`: the session is deleted.
    pub fn fork(
        &self,
        into: SessionKey,
        now: Timestamp,
        fresh: &Fresh,
    ) -> Result<(SessionOpened, Vec<Forked>), Refusal> {
        self.refuse()?;
        let state = &self.at.state;
        let from = ForkedFrom { session: state.key.session, version: state.version };
        let closed = Closed::of(&self.at, now, fresh, NOT_IN_A_FORK);
        let opened = SessionOpened {
            project_id: into.project,
            agent: state.agent.as_ref().clone(),
            environment: self.environment_of(into),
            metadata: state.metadata.clone(),
            vault_ids: state.vault_ids.clone(),
            review: state.review,
            spend_limit: state.spend_limit,
            prompt_cache: state.prompt_cache.clone(),
            parent: None,
            trust: state.fork_trust(),
            opened_by: state.opened_by.clone(),
            digest_key: None,
        };
        Ok((opened, parts(&self.at, from, closed, into)))
    }

    /// The environment of a fork: the same settings, and the same files by their root. One that was never made
    /// ready is made ready by the fork for itself. One of the customer's machine needs an executor of its own there,
    /// and finds the files as they are.
    fn environment_of(&self, into: SessionKey) -> Environment {
        match &self.at.state.environment {
            Environment::None => Environment::None,
            Environment::Hosted(hosted) => {
                let mut hosted = hosted.clone();
                hosted.id = EnvironmentId::of_session(into.session);
                hosted.base = self.at.state.workspace_root().or(self.first_root);
                hosted.capabilities.found = self.now.state.skills().to_vec();
                hosted.capabilities.servers = self.now.state.found_servers().clone();
                Environment::Hosted(hosted)
            }
            Environment::SelfHosted(own) => Environment::SelfHosted(own.for_session(into.session)),
        }
    }

    /// The command that takes the session back to that version. It is refused where the session has changed
    /// since its journal was read.
    ///
    /// # Errors
    /// As [`History::fork`].
    pub fn rewind(&self, now: Timestamp, fresh: &Fresh) -> Result<Command, Refusal> {
        self.refuse()?;
        let opened_since = |id: &SubagentId| !self.at.state.subagents.contains_key(id);
        let since = self.now.state.subagents.keys().copied().filter(opened_since).collect();
        Ok(Command::Rewind { rewound: Box::new(self.rewound(now, fresh)), seen: self.latest(), since })
    }

    fn refuse(&self) -> Result<(), Refusal> {
        match &self.now.state {
            state if state.parent.is_some() => Err(Refusal::Hidden),
            state if state.deleted => Err(Refusal::Deleted),
            _ => Ok(()),
        }
    }

    fn rewound(&self, now: Timestamp, fresh: &Fresh) -> Rewound {
        let state = &self.at.state;
        let present = self.now.items();
        let Closed { items, turns } = Closed::of(&self.at, now, fresh, NOT_AGAIN);
        let is_same = |ordinal: &u64| {
            let ids = [&items, &present].map(|items| items.get(ordinal).map(|item| item.id));
            ids[0].is_some() && ids[0] == ids[1]
        };
        let kept = (0..).take_while(is_same).count() as u64;
        // What the state has forgotten it cannot bring back by itself.
        let is_back = |ordinal: u64| state.dropped <= ordinal && ordinal < self.now.state.dropped;
        let is_other = |(ordinal, item): &(&u64, &Arc<Item>)| {
            **ordinal >= kept || is_back(**ordinal) || present.get(*ordinal) != Some(item)
        };
        let other = items.iter().filter(is_other);
        let before = self.now.turns();
        let gone = before.keys().filter(|id| !turns.contains_key(id)).copied().collect();
        let then: Vec<ArtifactId> = state.artifacts().iter().map(|artifact| artifact.id).collect();
        let present: Vec<ArtifactId> =
            self.now.state.artifacts().iter().map(|artifact| artifact.id).collect();
        let is_lost = |artifact: &&Artifact| {
            !present.contains(&artifact.id) && !self.deleted_artifacts.contains(&artifact.id)
        };
        Rewound {
            to: state.version,
            kept,
            dropped: state.dropped,
            summary: state.summary.as_deref().cloned().map(Box::new),
            items: other
                .map(|(ordinal, item)| PlacedItem { ordinal: *ordinal, item: item.as_ref().clone() })
                .collect(),
            gone,
            turns: turns.into_values().filter(|turn| before.get(&turn.id) != Some(turn)).collect(),
            shortened: state.shortened.iter().copied().collect(),
            loaded: state.loaded.iter().cloned().collect(),
            root: state.workspace_root().or(self.first_root),
            published: state.published(),
            gone_artifacts: present.iter().filter(|id| !then.contains(id)).copied().collect(),
            artifacts: state.artifacts().iter().filter(is_lost).cloned().collect(),
            labels: state.labels().clone(),
            files: state.file_labels().clone(),
        }
    }
}

/// A past in which nothing is under way.
struct Closed {
    items: BTreeMap<u64, Arc<Item>>,
    turns: BTreeMap<TurnId, Turn>,
}

impl Closed {
    fn of(past: &Past, now: Timestamp, fresh: &Fresh, told: &str) -> Self {
        let mut items = past.items();
        let mut results = Vec::new();
        for item in items.values_mut().filter(|item| item.status == ItemStatus::InProgress) {
            results.extend(close(Arc::make_mut(item), fresh, told));
        }
        let next = items.last_key_value().map_or(0, |(last, _)| last + 1);
        items.extend((next..).zip(results.into_iter().map(Arc::new)));
        let mut turns = past.ended().clone();
        turns.extend(past.state.ended_turn(now, &TurnEnd::Cancelled).map(|turn| (turn.id, turn)));
        Self { items, turns }
    }
}

/// Closes an item that has no result. A function's result is an item of its own.
fn close(item: &mut Item, fresh: &Fresh, told: &str) -> Option<Item> {
    item.status = ItemStatus::Incomplete;
    match &mut item.body {
        ItemBody::McpCall { error, .. }
        | ItemBody::CommandExecution { error, .. }
        | ItemBody::SubagentCall { error, .. } => {
            *error = Some(told.to_owned());
            None
        }
        ItemBody::FunctionCall { call_id, .. } => {
            item.status = ItemStatus::Failed;
            let error = Some(told.to_owned());
            Some(Item {
                id: ItemId::fresh(fresh),
                turn_id: item.turn_id,
                status: ItemStatus::Failed,
                output_index: None,
                step: None,
                body: ItemBody::FunctionCallOutput { call_id: call_id.clone(), output: None, error },
                labels: Labels::NEUTRAL,
            })
        }
        ItemBody::UserMessage { .. }
        | ItemBody::AssistantMessage { .. }
        | ItemBody::Reasoning { .. }
        | ItemBody::FunctionCallOutput { .. }
        | ItemBody::AgentMessage { .. }
        | ItemBody::InternalCall { .. } => None,
    }
}

/// A closed past in the parts that a fork's journal holds it in, under the fork's ids.
fn parts(past: &Past, from: ForkedFrom, closed: Closed, into: SessionKey) -> Vec<Forked> {
    let state = &past.state;
    let fork = into.session;
    let own = |item: Arc<Item>| {
        let mut item = Arc::unwrap_or_clone(item);
        (item.id, item.turn_id) = (item.id.in_fork(fork), item.turn_id.in_fork(fork));
        item
    };
    let items: Vec<Item> = closed.items.into_values().map(own).collect();
    let empty = || Forked {
        from,
        items: Vec::new(),
        dropped: 0,
        summary: None,
        turns: Vec::new(),
        shortened: Vec::new(),
        loaded: Vec::new(),
        artifacts: Vec::new(),
        published: None,
        labels: Labels::NEUTRAL,
        files: Labels::NEUTRAL,
    };
    let mut left = state.dropped;
    let mut parts: Vec<Forked> = items
        .chunks(FORKED_ITEMS_MAX)
        .map(|items| {
            let dropped = left.min(items.len() as u64);
            left -= dropped;
            Forked { items: items.to_vec(), dropped, ..empty() }
        })
        .collect();
    // The last part completes them.
    let mut last = parts.pop().unwrap_or_else(empty);
    last.summary = state.summary.as_deref().cloned().map(Box::new);
    last.turns = closed.turns.into_values().map(|turn| Turn { id: turn.id.in_fork(fork), ..turn }).collect();
    last.shortened = state.shortened.iter().map(|id| id.in_fork(fork)).collect();
    last.loaded = state.loaded.iter().cloned().collect();
    let artifact = |artifact: &Artifact| Artifact {
        id: artifact.id.in_fork(fork),
        turn_id: artifact.turn_id.in_fork(fork),
        ..artifact.clone()
    };
    last.artifacts = state.artifacts().iter().map(artifact).collect();
    last.published = state.published();
    last.labels = state.labels().clone();
    last.files = state.file_labels().clone();
    parts.push(last);
    parts
}

impl Session {
    /// Where it comes from, if it is a fork.
    #[must_use]
    pub fn forked_from(&self) -> Option<ForkedFrom> {
        self.forked_from
    }

    pub(crate) fn apply_forked(&mut self, forked: &Forked) {
        self.forked_from = Some(forked.from);
        let gone = usize::try_from(forked.dropped).unwrap_or(usize::MAX).min(forked.items.len());
        self.dropped += gone as u64;
        self.items.extend(forked.items[gone..].iter().cloned().map(Arc::new));
        if let Some(summary) = &forked.summary {
            self.summary = Some(Arc::new(summary.as_ref().clone()));
        }
        self.shortened.extend(&forked.shortened);
        self.loaded.extend(forked.loaded.iter().cloned());
        self.workspace.fork(&forked.artifacts, forked.published);
        self.flow.forked(&forked.labels, &forked.files);
    }

    pub(crate) fn apply_rewound(&mut self, rewound: &Rewound) {
        let stays = |ordinal: &u64| rewound.dropped <= *ordinal && *ordinal < rewound.kept;
        let present = (self.dropped..).zip(self.items.drain(..));
        let mut items: BTreeMap<u64, Arc<Item>> = present.filter(|(ordinal, _)| stays(ordinal)).collect();
        for PlacedItem { ordinal, item } in &rewound.items {
            if *ordinal >= rewound.dropped {
                items.insert(*ordinal, Arc::new(item.clone()));
            }
        }
        self.items = items.into_values().collect();
        self.dropped = rewound.dropped;
        self.carried.clear();
        self.summary = rewound.summary.as_deref().cloned().map(Arc::new);
        self.shortened = rewound.shortened.iter().copied().collect();
        self.loaded = rewound.loaded.iter().cloned().collect();
        self.workspace.rewind(rewound);
        self.flow.rewound(&rewound.labels, &rewound.files);
        // The next turn takes up the blocks and procedures of its time, with their labels.
        self.blocks.clear();
        self.procedures.clear();
    }
}

/// What a fork is made of, and as of when, in a few words for logs.
impl std::fmt::Display for crate::Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Version(Version(version)) => write!(f, "{version}"),
            Self::Turn(turn) => turn.fmt(f),
            Self::Item(item) => item.fmt(f),
        }
    }
}

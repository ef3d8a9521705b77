//! What is being streamed right now: messages and thinking whose answer is not committed yet.
//!
//! Deltas are chatter and are published as they come; everything durable is published after its commit.
//! This is where the two meet: a committed item whose text was streamed is not told a second time, and a
//! streamed item whose answer never came is closed as incomplete.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tenure_journal::{EffectId, Item, ItemBody, ItemId, ItemStatus, Labels, SessionKey, TurnId, Version};
use tenure_model::Delta;
use tenure_session::{PartNotice, PartOf, StreamEvent};
use tokio_util::sync::CancellationToken;

use crate::hub::Hub;

/// The open streams of one session, shared by its actor and its model calls.
#[derive(Debug)]
pub(crate) struct Live {
    key: SessionKey,
    hub: Arc<Hub>,
    open: Mutex<BTreeMap<ItemId, Open>>,
}

#[derive(Debug)]
struct Open {
    effect: EffectId,
    item: Item,
    parts: Vec<String>,
}

/// Which attempt streams, and where its items go.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) effect: EffectId,
    pub(crate) attempt: u32,
    pub(crate) turn_id: TurnId,
    pub(crate) step: u32,
    /// The index of the answer's first item among the turn's outputs.
    pub(crate) base: u32,
    pub(crate) model: String,
    /// Fires when what is streamed no longer matters.
    pub(crate) cancel: CancellationToken,
}

impl Live {
    pub(crate) fn new(key: SessionKey, hub: Arc<Hub>) -> Self {
        Self { key, hub, open: Mutex::default() }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, BTreeMap<ItemId, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes what a running command wrote.
    pub(crate) fn command_output(&self, notice: StreamEvent) {
        self.hub.publish(self.key, notice);
    }

    /// Publishes a delta.
    pub(crate) fn delta(&self, source: &Source, delta: Delta) {
        match delta {
            Delta::MessageStarted { index } => {
                self.begin(source, index, ItemBody::AssistantMessage { content: Vec::new(), phase: None });
            }
            Delta::ReasoningStarted { index } => {
                let model = source.model.clone();
                let body =
                    ItemBody::Reasoning { summary: Vec::new(), encrypted: None, provider_id: None, model };
                self.begin(source, index, body);
            }
            Delta::Text { index, part, delta } => self.text(source, index, part, PartOf::Message, &delta),
            Delta::Summary { index, part, delta } => {
                self.text(source, index, part, PartOf::Reasoning, &delta);
            }
            // What is complete is told once it is durable.
            Delta::ItemDone { .. } => {}
        }
    }

    fn begin(&self, source: &Source, index: u32, body: ItemBody) {
        let id = ItemId::of_output(source.effect, source.attempt, index);
        let mut open = self.open();
        // As the session counts them: what is said in an answer first, in its order.
        let said = open.values().filter(|entry| entry.effect == source.effect).count();
        let item = Item {
            id,
            turn_id: source.turn_id,
            status: ItemStatus::InProgress,
            output_index: Some(source.base.saturating_add(u32::try_from(said).unwrap_or(u32::MAX))),
            step: Some(source.step),
            body,
            // Nobody decides about what is only streamed.
            labels: Labels::NEUTRAL,
        };
        let entry = Open { effect: source.effect, item: item.clone(), parts: Vec::new() };
        // Under the lock: a cancelled attempt opens nothing after `abandon` has closed what it had open.
        if source.cancel.is_cancelled() {
            return;
        }
        open.insert(id, entry);
        self.hub.publish(self.key, StreamEvent::ItemAdded { item });
    }

    fn text(&self, source: &Source, index: u32, part: u32, of: PartOf, delta: &str) {
        let id = ItemId::of_output(source.effect, source.attempt, index);
        let mut open = self.open();
        let Some(entry) = open.get_mut(&id) else { return };
        let place = part as usize;
        let tell = |part, notice| self.hub.publish(self.key, part_event(&entry.item, part, of, notice));
        while entry.parts.len() <= place {
            tell(u32::try_from(entry.parts.len()).unwrap_or(u32::MAX), PartNotice::Added);
            entry.parts.push(String::new());
        }
        tell(part, PartNotice::Delta(delta.to_owned()));
        entry.parts[place].push_str(delta);
    }

    /// Publishes what the commit of `version` brought, leaving out what was streamed before.
    pub(crate) fn publish(&self, version: Version, notices: Vec<StreamEvent>) {
        let news = notices.into_iter().filter(|notice| !self.was_told(notice)).collect();
        self.hub.publish_commit(self.key, version, news);
    }

    fn was_told(&self, notice: &StreamEvent) -> bool {
        let mut open = self.open();
        match notice {
            StreamEvent::ItemAdded { item } => open.contains_key(&item.id),
            StreamEvent::Part { item_id, part, notice: PartNotice::Added | PartNotice::Delta(_), .. } => {
                open.get(item_id).is_some_and(|entry| entry.parts.len() > *part as usize)
            }
            StreamEvent::ItemDone { item } => {
                open.remove(&item.id);
                false
            }
            StreamEvent::Part { .. }
            | StreamEvent::Session { .. }
            | StreamEvent::Turn { .. }
            | StreamEvent::Subagent { .. }
            | StreamEvent::Environment { .. }
            | StreamEvent::CommandOutput { .. }
            | StreamEvent::Error { .. }
            | StreamEvent::Deleted => false,
        }
    }

    /// What is being streamed, as far as it has come: what a cancelled turn keeps. What was begun counts even
    /// before its first word, because its index is taken.
    pub(crate) fn partial(&self) -> Vec<Item> {
        let mut items: Vec<Item> = self.open().values().map(Open::to_incomplete).collect();
        items.sort_by_key(|item| item.output_index);
        items
    }

    /// Closes what an attempt streamed and no answer confirmed, but for what `notices` close. It has to come
    /// before them: a reader's stream may end with the turn.
    pub(crate) fn abandon(&self, effect: EffectId, notices: &[StreamEvent]) {
        let is_closed = |id: &ItemId| {
            let closes =
                |notice: &StreamEvent| matches!(notice, StreamEvent::ItemDone { item } if item.id == *id);
            notices.iter().any(closes)
        };
        let mut open = self.open();
        let left = open.iter().filter(|(id, entry)| entry.effect == effect && !is_closed(id));
        let left: Vec<ItemId> = left.map(|(id, _)| *id).collect();
        for id in left {
            let Some(entry) = open.remove(&id) else { continue };
            let thought = matches!(entry.item.body, ItemBody::Reasoning { .. });
            let of = if thought { PartOf::Reasoning } else { PartOf::Message };
            for (part, text) in (0..).zip(&entry.parts) {
                let done = PartNotice::Done { text: text.clone(), incomplete: true };
                self.hub.publish(self.key, part_event(&entry.item, part, of, done));
            }
            self.hub.publish(self.key, StreamEvent::ItemDone { item: entry.to_incomplete() });
        }
    }
}

impl Open {
    fn to_incomplete(&self) -> Item {
        let mut item = self.item.clone();
        item.status = ItemStatus::Incomplete;
        if let ItemBody::AssistantMessage { content: parts, .. }
        | ItemBody::Reasoning { summary: parts, .. } = &mut item.body
        {
            parts.clone_from(&self.parts);
        }
        item
    }
}

fn part_event(item: &Item, part: u32, of: PartOf, notice: PartNotice) -> StreamEvent {
    StreamEvent::Part {
        turn_id: item.turn_id,
        item_id: item.id,
        output_index: item.output_index.unwrap_or(0),
        part,
        of,
        notice,
    }
}

//! What can be recalled of an item once its event is committed: a projection like items and turns, written with
//! the events.

use serde_json::Value;
use tenure_journal::{
    Episode, FunctionOutput, InputPart, Item, ItemBody, ItemStatus, Labels, MEMORY_NAME_KEY, MEMORY_TIME_KEY,
    MEMORY_USER_KEY, MemorySpace, Remembered, Speaker, Timestamp, limit,
};

use crate::Session;
use crate::catalogue::{BUILTIN_LABEL, is_history_tool, is_memory_tool};
use crate::flow::outside;

impl Session {
    /// Whose memory this session's is: its agent's with the user that its metadata names.
    #[must_use]
    pub fn memory_space(&self) -> MemorySpace {
        let user = self.metadata.get(MEMORY_USER_KEY).filter(|user| !user.is_empty()).cloned();
        MemorySpace { project: self.key.project, agent: self.agent.id, user }
    }

    /// When something that is appended at `at` counts as said. A session that retells an earlier conversation is as
    /// long after the moment that its metadata gives as it has gone on.
    fn said_at(&self, at: Timestamp) -> Timestamp {
        let told = self.metadata.get(MEMORY_TIME_KEY).and_then(|text| tenure_memory::moment(text));
        told.map_or(at, |begun| begun.plus_millis(self.created_at.millis_until(at)))
    }
}

/// The episode that an item at a place in the session is, if it is one: what was said, and what tools returned.
/// What subagents say among themselves is none; what came of it is in their parent's words. Nor is what was
/// recalled: it would be recalled again, each time with a younger date.
pub(crate) fn remembered(state: &Session, at: Timestamp, ordinal: u64, item: &Item) -> Option<Remembered> {
    if item.status == ItemStatus::InProgress || state.parent.is_some() {
        return None;
    }
    let (speaker, name, text) = said(state, &item.body)?;
    let text = within_limit(text);
    let terms = tenure_memory::text::distinct_stems(&text);
    let session = state.key.session;
    let at = state.said_at(at);
    let episode =
        Episode { session, item: item.id, ordinal, at, speaker, name, text, labels: item.labels.clone() };
    (!terms.is_empty()).then(|| Remembered { space: state.memory_space(), episode, terms })
}

/// What an item says and who, if it is something that was said or that a tool returned.
pub(crate) fn said(state: &Session, body: &ItemBody) -> Option<(Speaker, Option<String>, String)> {
    match body {
        ItemBody::UserMessage { content, by_agent: true } => {
            Some((Speaker::Agent, state.agent.name.clone(), texts(content)))
        }
        ItemBody::UserMessage { content, by_agent: false } => {
            let name = state.metadata.get(MEMORY_NAME_KEY).filter(|name| !name.is_empty()).cloned();
            Some((Speaker::User, name, texts(content)))
        }
        ItemBody::AssistantMessage { content, .. } => {
            Some((Speaker::Agent, state.agent.name.clone(), content.join("\n")))
        }
        ItemBody::FunctionCallOutput { output: Some(output), .. } => {
            let text = match output {
                FunctionOutput::Text(text) => text.clone(),
                FunctionOutput::Content(parts) => texts(parts),
            };
            Some((Speaker::Tool, None, text))
        }
        ItemBody::McpCall { server_label, name, .. }
            if server_label == BUILTIN_LABEL && (is_memory_tool(name) || is_history_tool(name)) =>
        {
            None
        }
        ItemBody::McpCall { name, output: Some(output), .. } => {
            Some((Speaker::Tool, Some(name.clone()), output.clone()))
        }
        ItemBody::CommandExecution { tool, command, output, .. } => {
            let output = output.as_deref().unwrap_or_default();
            Some((Speaker::Tool, Some(tool.clone()), format!("{command}\n{output}")))
        }
        ItemBody::FunctionCallOutput { output: None, .. }
        | ItemBody::McpCall { output: None, .. }
        | ItemBody::Reasoning { .. }
        | ItemBody::FunctionCall { .. }
        | ItemBody::SubagentCall { .. }
        | ItemBody::AgentMessage { .. }
        | ItemBody::InternalCall { .. } => None,
    }
}

fn texts(parts: &[InputPart]) -> String {
    let text = |part: &InputPart| match part {
        InputPart::Text { text } => Some(text.clone()),
        InputPart::Image { .. } => None,
    };
    parts.iter().filter_map(text).collect::<Vec<_>>().join("\n")
}

fn within_limit(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(limit::EPISODE_BYTES_MAX));
    text
}

/// The labels of what was recalled: each passage of the result says its own, as the result does that is a procedure, and
/// what says none that can be read is of anybody.
pub(crate) fn labels_of_recalled(text: &str) -> Labels {
    let Ok(result) = serde_json::from_str::<Value>(text) else { return Labels::NEUTRAL };
    let passages = result["passages"].as_array().map_or(&[][..], |passages| passages);
    let labels = |passage: &Value| match passage.get("labels") {
        None | Some(Value::Null) => Labels::NEUTRAL,
        Some(labels) => serde_json::from_value(labels.clone()).unwrap_or_else(|_| outside()),
    };
    passages.iter().fold(labels(&result), |joined, passage| joined.join(&labels(passage)))
}

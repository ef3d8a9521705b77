//! Items: the durable messages, calls and results of a session, in order of first observation.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{AgentRef, BlobRef, FunctionOutput, InputPart, ItemId, Labels, SubagentRequest, TurnId};

/// One item of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Its id, stable from the first delta on.
    pub id: ItemId,
    /// The turn it belongs to.
    pub turn_id: TurnId,
    /// How far it is.
    pub status: ItemStatus,
    /// Its place among the outputs of the turn that clients see, from 0; absent for inputs, for function
    /// results and for what clients do not see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_index: Option<u32>,
    /// The step whose answer it is part of; absent for inputs and function results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// What it is.
    pub body: ItemBody,
    /// The labels of what it holds; a call's are those of its result once it has one.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    pub labels: Labels,
}

/// How far an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// Begun; a call that waits for its result.
    InProgress,
    /// Finished as intended.
    Completed,
    /// Cut off: cancelled or torn.
    Incomplete,
    /// Finished with an error.
    Failed,
}

/// Which part of a turn an assistant message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Said while work went on: tool calls followed it.
    Commentary,
    /// The turn's answer.
    FinalAnswer,
}

/// What an item is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ItemBody {
    /// What a user said.
    UserMessage {
        /// Its parts, never empty.
        content: Vec<InputPart>,
        /// The agent wrote it itself, for later.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_agent: bool,
    },
    /// What the model said.
    AssistantMessage {
        /// Its text parts.
        content: Vec<String>,
        /// Which part of the turn it is; absent when that cannot be known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        phase: Option<Phase>,
    },
    /// What the model thought, as far as its provider shows it.
    Reasoning {
        /// Summary texts for people.
        summary: Vec<String>,
        /// The provider's opaque reasoning, handed back to the same model in later steps.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        encrypted: Option<String>,
        /// The provider's own id of the reasoning item, needed to hand it back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provider_id: Option<String>,
        /// The model that thought it; another model is never shown it.
        model: String,
    },
    /// A call of a function that the client carries out.
    FunctionCall {
        /// Pairs the call with its output; unique in the session.
        call_id: String,
        /// The function's name.
        name: String,
        /// Its arguments, strictly parsed.
        arguments: Value,
        /// The model does not wait for the result.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_async: bool,
    },
    /// What the client said the function gave.
    FunctionCallOutput {
        /// The call it answers.
        call_id: String,
        /// The output, when the function succeeded or failed with one.
        output: Option<FunctionOutput>,
        /// The error, when it failed.
        error: Option<String>,
    },
    /// A call of a tool on an MCP server or of a built-in tool, carried out by the runtime.
    McpCall {
        /// Pairs call and output in the context; unique in the session.
        call_id: String,
        /// The name the model calls the tool by.
        tool: String,
        /// The server, or `tenure` for built-in tools.
        server_label: String,
        /// The tool's name on its server.
        name: String,
        /// Its arguments, strictly parsed.
        arguments: Value,
        /// What it gave, or the preview of it.
        output: Option<String>,
        /// Why it gave nothing.
        error: Option<String>,
        /// Where the whole output is when `output` is a preview.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stored: Option<BlobRef>,
    },
    /// What the agent did in its environment: a command, or a patch of files.
    CommandExecution {
        /// Pairs call and output in the context; unique in the session.
        call_id: String,
        /// The name the model calls the tool by.
        tool: String,
        /// Its arguments, strictly parsed.
        arguments: Value,
        /// The command as people read it.
        command: String,
        /// Where it runs, absolute.
        cwd: String,
        /// What it wrote, or a preview of it.
        output: Option<String>,
        /// Why it did not run, or what ended it before its end.
        error: Option<String>,
        /// The status it exited with.
        exit_code: Option<i32>,
        /// How long it ran, in milliseconds.
        duration_ms: Option<u64>,
        /// Where the whole output is when `output` is a preview.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stored: Option<BlobRef>,
    },
    /// What the agent asked of its subagents.
    SubagentCall {
        /// Pairs call and output in the context; unique in the session.
        call_id: String,
        /// The name the model calls the tool by.
        tool: String,
        /// Its arguments as the model gave them, strictly parsed.
        arguments: Value,
        /// The agent that asks.
        sender: AgentRef,
        /// What is asked.
        request: SubagentRequest,
        /// What the model is told when it is done.
        output: Option<String>,
        /// Why it was not done.
        error: Option<String>,
    },
    /// What one agent of a tree said to another: a subagent's input in its own session, its report in its
    /// parent's.
    AgentMessage {
        /// Who said it.
        sender: AgentRef,
        /// To whom.
        recipient: AgentRef,
        /// The texts.
        content: Vec<String>,
        /// The sender's turn that is reported here, once and never again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reports: Option<TurnId>,
    },
    /// A call answered by the runtime itself: made wrongly and never run, or a search for tools.
    /// Part of the context only; clients do not see it.
    InternalCall {
        /// Pairs call and answer in the context.
        call_id: String,
        /// The name the model used.
        name: String,
        /// The arguments as the model wrote them, shortened when they are not JSON.
        arguments: String,
        /// What the model is told.
        output: String,
    },
}

impl Item {
    /// Whether clients see this item.
    #[must_use]
    pub fn is_public(&self) -> bool {
        match self.body {
            ItemBody::InternalCall { .. } => false,
            ItemBody::UserMessage { .. }
            | ItemBody::AssistantMessage { .. }
            | ItemBody::Reasoning { .. }
            | ItemBody::FunctionCall { .. }
            | ItemBody::FunctionCallOutput { .. }
            | ItemBody::McpCall { .. }
            | ItemBody::CommandExecution { .. }
            | ItemBody::SubagentCall { .. }
            | ItemBody::AgentMessage { .. } => true,
        }
    }

    /// The call id, for calls and for results.
    #[must_use]
    pub fn call_id(&self) -> Option<&str> {
        match &self.body {
            ItemBody::FunctionCall { call_id, .. }
            | ItemBody::FunctionCallOutput { call_id, .. }
            | ItemBody::McpCall { call_id, .. }
            | ItemBody::CommandExecution { call_id, .. }
            | ItemBody::SubagentCall { call_id, .. }
            | ItemBody::InternalCall { call_id, .. } => Some(call_id),
            ItemBody::UserMessage { .. }
            | ItemBody::AssistantMessage { .. }
            | ItemBody::Reasoning { .. }
            | ItemBody::AgentMessage { .. } => None,
        }
    }
}

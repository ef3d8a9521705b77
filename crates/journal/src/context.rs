//! The context: the exact items sent to a model in a step. Recordings keep it, and replay compares it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{FunctionOutput, InputPart, Phase, Reasoning, ServiceTier, TextConfig};

/// One request to a model, before a codec turns it into a provider's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRequest {
    /// The model's name.
    pub model: String,
    /// Instructions that precede everything else.
    pub instructions: Option<String>,
    /// The context, oldest first. Every call is followed by its result before the next message.
    pub input: Vec<ContextItem>,
    /// Tools the model may ask for, in a stable order.
    pub tools: Vec<ToolSpec>,
    /// How much to think.
    pub reasoning: Reasoning,
    /// The form of the text.
    pub text: TextConfig,
    /// The provider's tier.
    pub service_tier: ServiceTier,
    /// The provider's cache key: equal for the steps of one session.
    pub cache_key: String,
    /// How long the provider's prompt cache should live: `30m` or `12h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_ttl: Option<String>,
    /// Tokens the answer may have, reasoning included; absent leaves the provider's limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens_max: Option<u64>,
}

/// One item of a context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ContextItem {
    /// What the user said.
    User {
        /// Its parts.
        content: Vec<InputPart>,
    },
    /// What the runtime tells the model: the time, what was left out.
    Note {
        /// The text.
        text: String,
    },
    /// What the model said.
    Assistant {
        /// The text.
        text: String,
        /// Which part of its turn it was, for models that want to be told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        phase: Option<Phase>,
    },
    /// What the model thought, handed back.
    Reasoning {
        /// The provider's id of the item.
        provider_id: Option<String>,
        /// Its summary texts.
        summary: Vec<String>,
        /// The opaque part.
        encrypted: Option<String>,
    },
    /// A tool the model asked for.
    Call {
        /// Pairs it with its result.
        call_id: String,
        /// The tool's name.
        name: String,
        /// The arguments: JSON text, or whatever the model wrote.
        arguments: String,
    },
    /// What the model was told about a call.
    CallResult {
        /// The call it answers.
        call_id: String,
        /// What came of it.
        output: FunctionOutput,
    },
}

/// A tool as a model sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolSpec {
    /// The name the model calls it by: `[A-Za-z0-9_-]{1,64}` unless the client chose otherwise.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON schema of its arguments.
    pub parameters: Value,
}

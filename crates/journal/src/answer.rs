//! What a model gave back, in the one form that every provider codec produces.

use serde::{Deserialize, Serialize};

/// A complete answer to one model request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelAnswer {
    /// What it contains, in the provider's order.
    pub items: Vec<AnswerItem>,
    /// Tokens counted by the provider, where it says.
    pub usage: Option<Usage>,
    /// Why it ended.
    pub stop: Stop,
    /// The provider's id of the response, for support requests.
    pub response_id: Option<String>,
}

/// One part of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum AnswerItem {
    /// Text, refusals included.
    Message {
        /// The text parts.
        content: Vec<String>,
    },
    /// Thinking, as far as it is shown.
    Reasoning {
        /// Summary texts.
        summary: Vec<String>,
        /// Opaque reasoning to hand back.
        encrypted: Option<String>,
        /// The provider's id of this item.
        provider_id: Option<String>,
    },
    /// A tool the model asks for.
    ToolCall {
        /// The provider's id of the call; may be empty or repeated.
        call_id: String,
        /// The tool's name as the model wrote it.
        name: String,
        /// The arguments as the model wrote them; may be anything.
        arguments: String,
    },
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// The model was done, or asked for tools.
    Complete,
    /// The provider's limit on output tokens was reached.
    MaxOutputTokens,
    /// The provider withheld the rest.
    ContentFilter,
}

/// Token counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Of these, read from the provider's cache.
    pub cached_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Of these, thinking.
    pub reasoning_tokens: u64,
}

impl Usage {
    /// Tokens read and written.
    #[must_use]
    pub fn total_tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            cached_tokens: self.cached_tokens.saturating_add(other.cached_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            reasoning_tokens: self.reasoning_tokens.saturating_add(other.reasoning_tokens),
        }
    }
}

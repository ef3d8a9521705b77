//! What people and functions hand to a model.

use serde::{Deserialize, Serialize};

/// One part of a user message or of a function's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum InputPart {
    /// Plain text, kept verbatim.
    Text {
        /// The text.
        text: String,
    },
    /// An image by `https:` or `data:` URL.
    Image {
        /// The URL.
        image_url: String,
    },
}

impl InputPart {
    /// A text part.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }
}

/// What a function or tool gave back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FunctionOutput {
    /// A string.
    Text(String),
    /// A list of parts, images included.
    Content(Vec<InputPart>),
}

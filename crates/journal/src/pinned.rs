//! Pinned blocks: small named texts of a scope that are always part of the context.

use serde::{Deserialize, Serialize};

use crate::{FactSource, Labels, MemoryScope};

/// A block as it is kept. Its history is that of its document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedBlock {
    /// For whom it is kept.
    pub scope: MemoryScope,
    /// What it is called, unique in its scope: see [`is_block_name`].
    pub name: String,
    /// What the model is shown; empty while it was only proposed.
    pub text: String,
    /// The labels of what the text was made of.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    pub labels: Labels,
    /// Who wrote the text.
    pub by: FactSource,
    /// Another text that waits for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed: Option<Box<ProposedText>>,
}

/// A text that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProposedText {
    /// The text; empty to remove the block.
    pub text: String,
    /// The labels of what it was made of.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    pub labels: Labels,
    /// Who wrote it.
    pub by: FactSource,
}

/// A block as a session took it up: what its model is shown until it takes up another version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakenBlock {
    /// For whom it is kept.
    pub scope: MemoryScope,
    /// What it is called.
    pub name: String,
    /// The version of its document.
    pub version: u64,
    /// What the model is shown.
    pub text: String,
    /// The labels of the text.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    pub labels: Labels,
}

/// How a scope is written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemorySettings {
    /// The scope.
    pub scope: MemoryScope,
    /// Whether what agents write there waits for a person.
    pub review: bool,
}

/// Characters of a block's name.
pub const BLOCK_NAME_CHARS_MAX: usize = 64;

/// Whether a block may be called so: lower-case letters, digits, `-` and `_`, so that a name is a file's name and
/// nothing in it can pass for anything else.
#[must_use]
pub fn is_block_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    (1..=BLOCK_NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(legal)
}

/// What names a block in its scope and nowhere else.
#[must_use]
pub fn block_id(mark: &str, name: &str) -> String {
    format!("{mark}.{name}")
}

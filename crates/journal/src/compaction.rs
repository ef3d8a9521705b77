//! Compaction: the summary that stands in a context for older items, and how long a context is.

use serde::{Deserialize, Serialize};

use crate::{EffectId, ItemId, Labels};

/// Older items left the context. The journal, and whoever lists items, keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compacted {
    /// The place of the first item that stays whole.
    pub upto: u64,
    /// Earlier items that are shown whole all the same, oldest first: what the running turn was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<ItemId>,
    /// What stands for the others, and for every earlier summary.
    pub summary: Summary,
    /// The effect that it came of; absent where it was written without a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect_id: Option<EffectId>,
}

/// What a model is shown instead of older items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// The summary.
    pub text: String,
    /// Ids, paths and addresses of what it stands for that later items refer to and the text does not name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Calls whose results had not come, in a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<String>,
    /// How many items of the session, from the first on, it stands for.
    pub items: u64,
    /// Who wrote it.
    pub by: Summarizer,
    /// The labels of everything that it was made of.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    pub labels: Labels,
}

/// Who wrote a summary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Summarizer {
    /// A model.
    Model {
        /// Its name.
        model: String,
    },
    /// No model: the first words of what was said. The last resort, which cannot fail.
    Extract,
}

/// How long a context is and may be, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContextSize {
    /// What the model's window holds.
    pub window: u64,
    /// What of it is left to the answer.
    pub reserved: u64,
    /// What the context was counted as. The provider counts otherwise.
    pub counted: u64,
    /// What it takes by that and by what the provider reported of earlier steps.
    pub expected: u64,
}

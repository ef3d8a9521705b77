//! Forks and rewinding: what of one session's past begins another, and what a session gives up of its own.
//!
//! Both are written in the types of the journal and never as a folded state, so that a later release reads
//! them whatever its states look like; and both hold what they need, so that folding a journal never needs
//! another one.

use serde::{Deserialize, Serialize};

use crate::{
    Artifact, ArtifactId, Item, ItemId, Labels, SessionId, Summary, Turn, TurnId, Version, WorkspaceRoot,
};

/// Items that one [`Forked`] event holds; longer conversations take several.
pub const FORKED_ITEMS_MAX: usize = 256;

/// Where a fork comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForkedFrom {
    /// The session whose conversation and files it began with. It may be deleted since.
    pub session: SessionId,
    /// As of which of its versions.
    pub version: Version,
}

/// A part of the conversation that a fork begins with, under ids of its own. Everything in it has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forked {
    /// Where it comes from: the same in every part.
    pub from: ForkedFrom,
    /// Items, after those of earlier parts.
    pub items: Vec<Item>,
    /// How many of them, from the first on, had left the context.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
    /// What stands for those that had left it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Box<Summary>>,
    /// Turns that the items belong to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<Turn>,
    /// Items whose outputs the context shows as previews.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shortened: Vec<ItemId>,
    /// Deferred functions that are shown to the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loaded: Vec<String>,
    /// What was published, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// The files that were looked at when something was last published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<WorkspaceRoot>,
    /// The labels of everything its model had seen.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    pub labels: Labels,
    /// The labels of its files.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    pub files: Labels,
}

/// What a session goes back to. What was set, spent and decided since stays; conversation and files do not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewound {
    /// The version whose conversation and files it has again.
    pub to: Version,
    /// How many items stay where they are; what has a later place is gone.
    pub kept: u64,
    /// How many items, from the first on, are not in the context.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
    /// What stands for those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Box<Summary>>,
    /// Items that are back, or are other than they were a moment ago.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<PlacedItem>,
    /// Turns that are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<TurnId>,
    /// Turns that are back, or are other than they were a moment ago.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<Turn>,
    /// Items whose outputs the context shows as previews.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shortened: Vec<ItemId>,
    /// Deferred functions that are shown to the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loaded: Vec<String>,
    /// The files of the environment, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<WorkspaceRoot>,
    /// The files that were looked at when something was last published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<WorkspaceRoot>,
    /// Artifacts that are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone_artifacts: Vec<ArtifactId>,
    /// Artifacts that are back: they were given up by an earlier rewinding.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// The labels of everything its model had seen then.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    pub labels: Labels,
    /// The labels of the files that it has again.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    pub files: Labels,
}

/// An item and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlacedItem {
    /// Its place among all items of the session, from 0.
    pub ordinal: u64,
    /// The item.
    pub item: Item,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

//! Grants and trust: what a session is given at its beginning, before anyone knows what it will read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ApprovalId, Integrity, Labels, Timestamp};

/// Grants that one session may hold, used ones included.
pub const GRANTS_MAX: usize = 64;
/// Arguments that one grant pins.
pub const GRANT_PINS_MAX: usize = 32;
/// Calls that one grant allows.
pub const GRANT_USES_MAX: u32 = 10_000;

/// Leave for calls of one tool with exactly these targets.
///
/// A call rests on a grant if every argument that the grant pins is as pinned, and every critical argument of
/// the call is pinned. Whatever else the session has read, such a call does what was wanted before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The tool, as `<server>/<name>`.
    pub tool: String,
    /// The arguments that are pinned, by name, each with its whole value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<String, Value>,
    /// How many calls it allows.
    pub uses_max: u32,
    /// From when on it allows none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Who gave it.
    #[serde(default, skip_serializing_if = "GrantSource::is_caller")]
    pub by: GrantSource,
}

/// Who gave a grant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum GrantSource {
    /// Whoever opened the session, with its first word.
    #[default]
    Caller,
    /// The agent's file: a standing grant of every session of the agent.
    Agent,
    /// A person who approved a call with the same targets.
    Approval {
        /// The approval.
        approval_id: ApprovalId,
    },
}

impl GrantSource {
    fn is_caller(&self) -> bool {
        *self == Self::Caller
    }
}

/// Which of its session's grants: its place among them, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GrantNumber(pub u32);

/// What is trusted in a session from its beginning, and how far.
///
/// All neutral in journals of before this was recorded, and wherever nobody says anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// What its messages are worth. Text of messages of less than internal integrity makes no value trusted.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    pub messages: Labels,
    /// What files are worth that clients place, and images that they show.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    pub files: Labels,
    /// What the results of functions are worth, which clients carry out.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    pub functions: Labels,
    /// What it knows from elsewhere: a subagent begins with what its parent has seen.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    pub context: Labels,
    /// What was granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
}

impl Trust {
    /// What holds in sessions that clients open where they say nothing else: their own words are those of the
    /// person the agent acts for; what stands in files, and what functions gave, anybody may have written.
    #[must_use]
    pub fn of_clients() -> Self {
        let anybody = Labels { integrity: Integrity::Untrusted, ..Labels::NEUTRAL };
        Self { files: anybody.clone(), functions: anybody, ..Self::default() }
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn is_neutral(&self) -> bool {
        *self == Self::default()
    }
}

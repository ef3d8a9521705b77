//! Projections: what can be looked up without folding a journal, and always rebuilt by folding it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{AgentId, ProjectId, SessionId, Timestamp, TurnError, TurnId, Usage};

/// A session and the project it belongs to: the key that every stored row of a session leads with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionKey {
    /// The project.
    pub project: ProjectId,
    /// The session.
    pub session: SessionId,
}

/// What a session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// Nothing; the next message starts a turn.
    Idle,
    /// A turn runs.
    InProgress,
    /// A turn waits for a client or a person.
    RequiresAction,
    /// It cannot go on.
    Failed,
}

impl SessionStatus {
    /// The word on the wire and on disk.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::InProgress => "in_progress",
            Self::RequiresAction => "requires_action",
            Self::Failed => "failed",
        }
    }

    /// The status of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "idle" => Some(Self::Idle),
            "in_progress" => Some(Self::InProgress),
            "requires_action" => Some(Self::RequiresAction),
            "failed" => Some(Self::Failed),
            _ => None,
        }
    }
}

/// A session's row: enough to list it, and to find it when it has something to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The session and its project.
    pub key: SessionKey,
    /// What it is doing.
    pub status: SessionStatus,
    /// The session whose subagent it is; its own where it is an environment that no session was opened in.
    /// Neither is ever listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SessionId>,
    /// The agent it runs.
    pub agent_id: AgentId,
    /// That agent's name.
    pub agent_name: Option<String>,
    /// The client's key-value pairs.
    pub metadata: BTreeMap<String, String>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When its last event was decided.
    pub last_active_at: Timestamp,
    /// When it next has something to do: the epoch for at once, absent while only others can act.
    pub wake_at: Option<Timestamp>,
    /// Whether it was deleted. A deleted session is never listed.
    pub deleted: bool,
}

impl Head {
    /// That of an idle session that was opened at a moment and says nothing else.
    #[must_use]
    pub fn idle(key: SessionKey, agent_id: AgentId, at: Timestamp) -> Self {
        Self {
            key,
            status: SessionStatus::Idle,
            parent: None,
            agent_id,
            agent_name: None,
            metadata: BTreeMap::new(),
            created_at: at,
            last_active_at: at,
            wake_at: None,
            deleted: false,
        }
    }
}

/// How far a turn is.
///
/// ```text
///            start                settle
///   Queued ─────────▶ InProgress ─────────▶ Completed | Failed | Cancelled
///     │                 │    ▲                        ▲
///     │            asks ▼    │ answered               │
///     │                Waiting ───────────────────────┤
///     └───────────────────────────────────────────────┘ cancel
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnStatus {
    /// Created, not begun.
    Queued,
    /// Running.
    InProgress,
    /// Waiting for a client or a person.
    Waiting,
    /// Ended as intended.
    Completed,
    /// Ended with an error.
    Failed,
    /// Ended by a client.
    Cancelled,
}

impl TurnStatus {
    /// The word on the wire and on disk.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the turn has ended.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled => true,
            Self::Queued | Self::InProgress | Self::Waiting => false,
        }
    }
}

/// A turn's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// Its id.
    pub id: TurnId,
    /// The agent that runs it.
    pub agent_id: AgentId,
    /// How far it is.
    pub status: TurnStatus,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<TurnError>,
    /// Tokens, null until known.
    pub usage: Option<Usage>,
    /// The prompt cache lifetime it started with.
    pub cache_ttl: Option<String>,
}

//! Subagents: sessions that another session's agent created, and what agents of one tree ask of each other.
//!
//! A subagent is a session of its own with a journal of its own, so its work is as durable as its parent's and
//! may run anywhere. The two journals meet in three places: the child's first event names its parent, the
//! parent's effects name the child, and the child's reports become items of the parent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    AgentId, ApprovalId, EffectId, Effort, IdError, Labels, PermitRecord, SessionId, SubagentId, Timestamp,
    TurnId, Version,
};

/// Where a subagent's session belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// The session whose agent created it.
    pub session: SessionId,
    /// The session at the root of the tree: what clients see, and what the budget belongs to.
    pub root: SessionId,
    /// The agent that created it.
    pub agent: AgentRef,
    /// What it is called among agents.
    pub subagent_id: SubagentId,
    /// How far it is from the root, from 1.
    pub depth: u32,
}

/// An agent of a tree: the session's own, or a subagent. Written as its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AgentRef {
    /// The session's agent.
    Agent(AgentId),
    /// A subagent.
    Subagent(SubagentId),
}

impl fmt::Display for AgentRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(id) => id.fmt(f),
            Self::Subagent(id) => id.fmt(f),
        }
    }
}

impl FromStr for AgentRef {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(Self::Subagent).or_else(|_| text.parse().map(Self::Agent))
    }
}

impl Serialize for AgentRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AgentRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What an agent asks of its subagents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum SubagentRequest {
    /// Create one and give it a task. Its id follows from the effect's, so it is created once.
    Create {
        /// Its id.
        subagent_id: SubagentId,
        /// What the agent calls it, unique in the session.
        name: String,
        /// Its first input.
        task: String,
        /// The model, where another than the parent's was asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
        /// The reasoning effort, where another than the parent's was asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        effort: Option<Effort>,
    },
    /// Give it more to do, or steer what it does.
    SendInput {
        /// The subagent.
        subagent_id: SubagentId,
        /// The input.
        input: String,
    },
    /// Make a closed one available again.
    Resume {
        /// The subagent.
        subagent_id: SubagentId,
    },
    /// Wait until all of these have nothing more to do, or until a moment.
    Wait {
        /// The subagents.
        subagent_ids: Vec<SubagentId>,
        /// When to stop waiting.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// Stop what it does. It stays available.
    Interrupt {
        /// The subagent.
        subagent_id: SubagentId,
    },
    /// Stop what it does and make room for another.
    Close {
        /// The subagent.
        subagent_id: SubagentId,
    },
}

impl SubagentRequest {
    /// The name of the built-in tool that asks for it.
    #[must_use]
    pub fn tool(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create_subagent",
            Self::SendInput { .. } => "send_subagent_input",
            Self::Resume { .. } => "resume_subagent",
            Self::Wait { .. } => "wait_for_subagents",
            Self::Interrupt { .. } => "interrupt_subagent",
            Self::Close { .. } => "close_subagent",
        }
    }
}

/// How one subagent is stopped from outside its parent's turn, or let go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubagentEnd {
    /// The subagent.
    pub subagent_id: SubagentId,
    /// What becomes of it.
    pub how: EndHow,
    /// Effects that were given up while they may have been on their way to it: from now on they cannot
    /// arrive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fences: Vec<EffectId>,
}

/// What becomes of a subagent that is stopped.
///
/// What a person says of the parent holds for the whole tree. Effects of one session may arrive in any order, so each
/// names the version of the parent's journal that it is of, and a subagent obeys none that is older than one it obeyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum EndHow {
    /// Its turn is cancelled; it stays available.
    Interrupt,
    /// It is deleted.
    Delete,
    /// It is quarantined with its parent: it reads and thinks, and does nothing else.
    Quarantine {
        /// The approval that was refused.
        approval_id: ApprovalId,
        /// Who refused: a key's id.
        by: String,
        /// The version of the parent's journal that says so.
        of: Version,
    },
    /// It is released with its parent.
    Release {
        /// Who released the parent: a key's id.
        by: String,
        /// Why they may.
        permit: Box<PermitRecord>,
        /// The version of the parent's journal that says so.
        of: Version,
    },
}

/// What a parent knows of a subagent's latest turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubagentReport {
    /// The subagent.
    pub subagent_id: SubagentId,
    /// The turn, where there was one.
    pub turn_id: Option<TurnId>,
    /// How far it is.
    pub status: ReportStatus,
    /// What it said last, or why it failed.
    pub text: String,
    /// The labels of everything it had seen when it said that.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    pub labels: Labels,
}

/// How far a subagent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportStatus {
    /// It works.
    Running,
    /// Its latest turn ended as intended.
    Completed,
    /// Its latest turn failed.
    Failed,
    /// Its latest turn was interrupted.
    Interrupted,
}

impl ReportStatus {
    /// The word on disk and to models.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

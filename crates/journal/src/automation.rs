//! Automations and their invocations, as documents.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    AgentConfig, AgentId, ApprovalMode, AutomationId, InputPart, InvocationId, ItemId, SessionId,
    TargetEnvironment, Timestamp, Trust,
};

/// A schedule and what it delivers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Automation {
    /// What people call it.
    pub name: String,
    /// The client's key-value pairs.
    pub metadata: BTreeMap<String, String>,
    /// When.
    pub schedule: Schedule,
    /// What for.
    pub target: Target,
    /// Who made it.
    pub created_by: CreatedBy,
    /// Whether it goes on.
    pub status: AutomationStatus,
    /// The latest invocation its schedule made that was not skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<InvocationId>,
}

/// When an automation is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// Again and again.
    Periodic {
        /// A cron expression of five fields.
        expression: String,
        /// The IANA time zone it is read in.
        timezone: String,
    },
    /// Once.
    Once {
        /// The moment.
        run_at: Timestamp,
    },
}

/// What each invocation reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// A session of its own.
    NewSession(Box<NewSessionTarget>),
    /// One session, always the same.
    ExistingSession {
        /// The session.
        session_id: SessionId,
        /// What it is told.
        instructions: String,
    },
}

impl Target {
    /// The session that every invocation reaches, if it is one.
    #[must_use]
    pub fn session_id(&self) -> Option<SessionId> {
        match self {
            Self::NewSession(_) => None,
            Self::ExistingSession { session_id, .. } => Some(*session_id),
        }
    }
}

/// How each new session begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSessionTarget {
    /// The agent it runs.
    pub agent: TargetAgent,
    /// Where commands and files live.
    pub environment: TargetEnvironment,
    /// Its first messages.
    pub input: Vec<Vec<InputPart>>,
    /// Its key-value pairs.
    pub metadata: BTreeMap<String, String>,
    /// Which tool calls wait for a person, where it is not the agent's own setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalMode>,
    /// Its vaults.
    pub vault_ids: Vec<String>,
    /// What is trusted in it; all neutral in automations of before this was recorded.
    #[serde(default, skip_serializing_if = "Trust::is_neutral")]
    pub trust: Trust,
}

/// The agent of new sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TargetAgent {
    /// A saved agent, in the version that is the latest when a session is opened.
    Saved {
        /// The agent.
        agent_id: AgentId,
    },
    /// An agent of the automation's own, its secrets sealed.
    Inline {
        /// Its configuration; each session gets an id of its own.
        config: Box<AgentConfig>,
    },
}

/// Who made an automation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum CreatedBy {
    /// A client of the API.
    Developer,
    /// An agent, for its own session.
    Agent {
        /// The session, which is also the target.
        session_id: SessionId,
        /// The call that made it.
        tool_call_id: ItemId,
    },
}

/// What an automation does next.
///
/// ```text
///                 pause                          occurrence        outcome
///    paused ◀─────────────── active ── once ──▶ active, next: none ──────▶ completed
///      │  ▲  target failed     ▲ │
///      │  └────────────────────│─┘ periodic: the next occurrence
///      └────── resume ─────────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum AutomationStatus {
    /// It is due at `next`, which is the document's `wake_at` too.
    Active {
        /// The next occurrence. None once the one occurrence was made, or where the calendar ends.
        next: Option<Timestamp>,
    },
    /// Nothing is due.
    Paused {
        /// Why the runtime paused it; absent when a client did.
        reason: Option<PauseReason>,
    },
    /// The one occurrence was delivered, or failed for good.
    Completed,
}

/// Why the runtime pauses an automation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseReason {
    /// The session it reaches failed for good or is gone.
    TargetSessionFailed,
}

impl PauseReason {
    /// The word on the wire and on disk.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TargetSessionFailed => "target_session_failed",
        }
    }
}

/// One delivery made by an automation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invocation {
    /// The automation.
    pub automation_id: AutomationId,
    /// The version of the automation that is delivered.
    pub automation_version: u64,
    /// The occurrence; absent for a manual run.
    pub scheduled_at: Option<Timestamp>,
    /// The session it reaches; absent until a new one is opened.
    pub session_id: Option<SessionId>,
    /// How far it is.
    pub status: InvocationStatus,
}

/// How far a delivery is.
///
/// ```text
///            claim, retry
///             ┌──────┐     delivered
///   queued ───┴──────┴───▶ completed
///     │
///     └── cannot be delivered ──▶ failed         skipped: made so, while an earlier one was queued
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum InvocationStatus {
    /// It is to be delivered at the document's `wake_at`, or waits without one for its automation to resume.
    Queued {
        /// Tries so far.
        attempts: u32,
    },
    /// It was delivered.
    Completed,
    /// It never will be.
    Failed {
        /// Why, as a word.
        code: String,
        /// Why, safe for customers.
        message: String,
    },
    /// An earlier delivery was still queued.
    Skipped,
}

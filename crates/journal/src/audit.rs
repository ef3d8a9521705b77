//! What an auditor is shown of a session: who did what with what, who allowed it, and what came of it.
//!
//! A record holds no content. What was said, asked or answered appears as a digest, people as the ids of their
//! keys; so records can be kept, and handed out, for longer than the session they tell of.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    AgentId, ApprovalId, Decision, EffectId, EnvironmentId, GrantNumber, GrantSource, ProjectId,
    RouteDecision, SessionId, Timestamp, TurnId, Version, json,
};

/// One fact of a session, for the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditRecord {
    /// When it was decided.
    pub at: Timestamp,
    /// The project.
    pub project: ProjectId,
    /// The session; before one was opened in a pre-warmed environment, the one that may be.
    pub session: SessionId,
    /// The event of the session's journal that this is the record of.
    pub version: Version,
    /// The agent that runs in the session; absent while no session was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// The turn it belongs to; absent for what belongs to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnId>,
    /// What happened.
    pub fact: AuditFact,
}

impl AuditRecord {
    /// The bytes that the log keeps: canonical JSON.
    ///
    /// Equal records are equal bytes, whichever release wrote them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let value: Value = serde_json::to_value(self).expect("a record has string keys and no floats");
        json::canonical(&value).into_bytes()
    }
}

/// What an auditor is told of one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum AuditFact {
    /// A session was opened.
    SessionOpened {
        /// The name of its agent, where it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent_name: Option<String>,
        /// The version of the saved agent that it runs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent_version: Option<u64>,
        /// The session whose subagent it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<SessionId>,
        /// The id of whom its agent acts for, where it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        opened_by: Option<String>,
    },
    /// An environment was opened that no session has yet. A session that is opened in it is a record of its own.
    EnvironmentOpened {
        /// The environment.
        environment: EnvironmentId,
        /// When it expires, if no session was opened in it.
        expires_at: Timestamp,
    },
    /// A machine of the customer's connected: commands run, and files are read, there.
    ExecutorConnected {
        /// The environment that it is.
        environment: EnvironmentId,
    },
    /// That machine is gone.
    ExecutorDisconnected {
        /// The environment that it was.
        environment: EnvironmentId,
    },
    /// The session began with what another was, without its effects.
    SessionForked {
        /// The other session.
        from: SessionId,
        /// As of which of its versions.
        at: Version,
    },
    /// The session went back; what was decided since stays decided.
    SessionRewound {
        /// The version whose conversation and files it has again.
        to: Version,
    },
    /// The session's settings were changed; what the agent may do may differ from here on.
    SessionUpdated {
        /// Digest of the change.
        change: String,
    },
    /// The session cannot go on.
    SessionFailed,
    /// The session was deleted.
    SessionDeleted,
    /// Policy allowed an effect, before it was attempted.
    Allowed {
        /// The effect.
        effect: EffectId,
        /// What it does, in the words of policies.
        action: String,
        /// With what.
        resource: String,
        /// The policies that determined the decision.
        policies: Vec<String>,
        /// Digest of the policy set that was evaluated.
        policy_set: String,
        /// Digest of the canonical arguments.
        arguments: String,
        /// The approval it rests on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approval: Option<ApprovalId>,
        /// The grant that covers it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grant: Option<GrantNumber>,
        /// Digest of what policy was asked, which the session's journal has; absent where it was not kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        question: Option<String>,
    },
    /// Policy refused; nothing was done.
    Refused {
        /// What was to be done.
        action: String,
        /// With what.
        resource: String,
        /// The policies that forbid it, or would allow it with an approval.
        policies: Vec<String>,
        /// Digest of the policy set that was evaluated.
        policy_set: String,
        /// Digest of the canonical arguments.
        arguments: String,
        /// Whether a person could have allowed it.
        needs_approval: bool,
        /// Digest of what policy was asked, which the session's journal has; absent where it was not kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        question: Option<String>,
    },
    /// Leave was given for certain calls.
    Granted {
        /// The tool.
        resource: String,
        /// Digest of the arguments that are pinned.
        arguments: String,
        /// How many calls it allows.
        uses_max: u32,
        /// Who gave it.
        by: GrantSource,
    },
    /// A person was asked.
    ApprovalRequested {
        /// The approval.
        approval: ApprovalId,
        /// What is to be done.
        action: String,
        /// With what.
        resource: String,
        /// The policies that would allow it then.
        policies: Vec<String>,
        /// Digest of the policy set that was evaluated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy_set: Option<String>,
        /// Digest of the canonical arguments, which the approval binds.
        arguments: String,
        /// Digest of what policy was asked, which the session's journal has; absent where it was not kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        question: Option<String>,
    },
    /// A person answered, or the question became moot.
    ApprovalDecided {
        /// The approval.
        approval: ApprovalId,
        /// The answer.
        decision: Decision,
        /// Who answered: a key's id, or `system`.
        by: String,
    },
    /// One of several people approved.
    ApprovalSupported {
        /// The approval.
        approval: ApprovalId,
        /// Who: a key's id.
        by: String,
    },
    /// Nobody answered in time, and others are asked.
    ApprovalEscalated {
        /// The approval.
        approval: ApprovalId,
        /// Who may decide now.
        groups: Vec<String>,
    },
    /// A person refused what the agent was to do; until somebody releases the session, it only reads.
    SessionQuarantined {
        /// The approval.
        approval: ApprovalId,
        /// Who refused: a key's id.
        by: String,
    },
    /// Somebody released the session.
    SessionReleased {
        /// Who: a key's id.
        by: String,
        /// The policies that allow it.
        policies: Vec<String>,
        /// Digest of the policy set that was evaluated.
        policy_set: String,
    },
    /// An attempt at an effect was about to begin.
    AttemptStarted {
        /// The effect.
        effect: EffectId,
        /// Its number, from 1.
        attempt: u32,
        /// The way it was to take, and what decided it, where it is a model call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        route: Option<Box<RouteDecision>>,
    },
    /// An attempt ended.
    AttemptEnded {
        /// The effect.
        effect: EffectId,
        /// Its number.
        attempt: u32,
        /// What came of it.
        outcome: AuditOutcome,
        /// What it cost in billionths of a US dollar, where prices are known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost_nano_usd: Option<u64>,
    },
}

/// One request, for the audit log: what somebody changed or read beside what sessions tell of themselves.
///
/// It has the shape of an [`AuditRecord`] without a session, so that one reader reads both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestRecord {
    /// When.
    pub at: Timestamp,
    /// The project.
    pub project: ProjectId,
    /// What happened.
    pub fact: RequestFact,
}

/// What an auditor is told of one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestFact {
    /// Whether something was changed or read.
    #[serde(rename = "type")]
    pub kind: RequestKind,
    /// What was done: a noun and a verb, `keys.create`.
    pub action: String,
    /// With what: an id, or ids with the path between them.
    pub resource: String,
    /// Digest of the canonical arguments.
    pub arguments: String,
    /// Who did it: the id of a key or of a person, or `project_files`. Never a secret.
    pub by: String,
    /// What came of it.
    pub outcome: RequestOutcome,
}

/// What a request did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestKind {
    /// It changed something, or asked for that.
    Changed,
    /// It read.
    Read,
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestOutcome {
    /// It was done. A change is durable with its record, where it is one of a document.
    Done,
    /// The caller may not do that.
    Denied,
}

impl RequestRecord {
    /// The bytes that the log keeps: canonical JSON.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let value: Value = serde_json::to_value(self).expect("a record has string keys and no floats");
        json::canonical(&value).into_bytes()
    }
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditOutcome {
    /// It happened.
    Done,
    /// It did not happen, or not as it should.
    Failed,
    /// Nobody knows whether it happened.
    Unknown,
}

//! A session as clients see it: a value derived from the state, nothing more.

use std::collections::BTreeMap;

use serde_json::Value;
use tenure_journal::{
    AgentConfig, AgentRef, Approval, Environment, EnvironmentId, EnvironmentStatus, ForkedFrom, PromptCache,
    Review, SessionId, SessionKey, SessionStatus, SubagentId, Timestamp, TurnId, Usage,
};

use crate::PluginServersView;

/// What a client can know about a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// The session and its project.
    pub key: SessionKey,
    /// What it is doing.
    pub status: SessionStatus,
    /// The agent it runs, with the patches made to it.
    pub agent: AgentConfig,
    /// Where commands and files live.
    pub environment: Environment,
    /// How far that is; absent where there is none.
    pub environment_status: Option<EnvironmentStatus>,
    /// What it waits for, oldest first.
    pub required_actions: Vec<RequiredAction>,
    /// Why it failed for good.
    pub error: Option<String>,
    /// Tokens of all root turns; absent while any is unknown.
    pub usage: Option<Usage>,
    /// Attached vaults.
    pub vault_ids: Vec<String>,
    /// The client's key-value pairs.
    pub metadata: BTreeMap<String, String>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When its last event was decided.
    pub last_active_at: Timestamp,
    /// Review, when set.
    pub review: Option<Review>,
    /// Spend control, when set.
    pub spend: Option<Spend>,
    /// Prompt cache settings, when set.
    pub prompt_cache: Option<PromptCache>,
    /// Where it comes from, if it is a fork.
    pub forked_from: Option<ForkedFrom>,
    /// Who refused something that its agent was to do, while nobody has released it.
    pub quarantined_by: Option<String>,
    /// The id of whom its agent acts for, where it is known.
    pub opened_by: Option<String>,
    /// The tool servers that plugins of its environment brought along.
    pub plugin_servers: Box<PluginServersView>,
}

/// Spend control as clients see it, in whole US cents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spend {
    /// The limit; absent means none.
    pub limit: Option<u64>,
    /// What was spent, rounded down; absent while prices are unknown.
    pub consumed: Option<u64>,
}

/// Something only a client or a person can do.
#[expect(clippy::large_enum_variant, reason = "a session has few of them, each made for one answer")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequiredAction {
    /// Carry out a function and submit its result.
    FunctionCall {
        /// The turn that waits.
        turn_id: TurnId,
        /// The call.
        call_id: String,
        /// The function.
        name: String,
        /// Its arguments.
        arguments: Value,
    },
    /// Connect the executor of the session's environment.
    EnvironmentConnection {
        /// The environment.
        environment_id: EnvironmentId,
    },
    /// Decide about a held tool call.
    Approval(Approval),
    /// Sign in where a tool server's credential is not accepted any more.
    SignIn {
        /// The server.
        server_label: String,
    },
}

/// A subagent as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubagentView {
    /// Its id.
    pub id: SubagentId,
    /// The session it belongs to.
    pub session: SessionId,
    /// The agent that created it.
    pub parent: AgentRef,
    /// What it is called.
    pub name: String,
    /// Its first input.
    pub task: String,
    /// When it was opened; resuming changes nothing about it.
    pub opened_at: Timestamp,
    /// When it was closed, while it is.
    pub closed_at: Option<Timestamp>,
}

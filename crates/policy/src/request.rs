//! What is asked of a policy.

use serde_json::Value;
use tenure_journal::{AgentId, ApprovalMode, ProjectId};

/// One question: may this principal do this, with exactly these arguments?
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who asks.
    pub principal: Principal<'a>,
    /// What for.
    pub action: Action<'a>,
    /// The exact arguments; the permit binds their digest.
    pub arguments: &'a Value,
}

/// Who asks: an agent, in a project.
#[derive(Debug, Clone, Copy)]
pub struct Principal<'a> {
    /// The project.
    pub project: ProjectId,
    /// The agent.
    pub agent_id: AgentId,
    /// Its name, where it has one.
    pub agent_name: Option<&'a str>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub enum Action<'a> {
    /// Call a model.
    ModelCall {
        /// The model's name.
        model: &'a str,
    },
    /// Ask a server for its tools.
    ToolsList {
        /// The server's label.
        server: &'a str,
    },
    /// Call a tool.
    ToolCall {
        /// The tool.
        tool: ToolFacts<'a>,
        /// The agent's approval setting.
        mode: ApprovalMode,
    },
}

impl Action<'_> {
    /// The action's name in policies.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ModelCall { .. } => "model.call",
            Self::ToolsList { .. } => "tools.list",
            Self::ToolCall { .. } => "tool.call",
        }
    }

    /// The id of what it is done with: a model's name, a server's label, a tool as `<server>/<name>`.
    #[must_use]
    pub fn resource(&self) -> String {
        match self {
            Self::ModelCall { model } => (*model).to_owned(),
            Self::ToolsList { server } => (*server).to_owned(),
            Self::ToolCall { tool, .. } => tool.id(),
        }
    }
}

/// What is known about a tool when it is called.
#[derive(Debug, Clone, Copy)]
pub struct ToolFacts<'a> {
    /// The server's label, `tenure` for built-in tools.
    pub server: &'a str,
    /// The tool's name on its server.
    pub name: &'a str,
    /// Whether it is part of the runtime.
    pub builtin: bool,
    /// Whether it is said to change nothing.
    pub read_only: bool,
    /// Whether it is said to destroy or spend.
    pub destructive: bool,
}

impl ToolFacts<'_> {
    pub(crate) fn id(&self) -> String {
        format!("{}/{}", self.server, self.name)
    }
}

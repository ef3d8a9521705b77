//! What is asked of a policy.

use serde_json::Value;
use tenure_journal::{AgentId, ApprovalMode, ProjectId, Timestamp};

use crate::facts::{Facts, ToolLabels};
use crate::route::{CallClass, RouteFacts};

/// One question: may this principal do this, with exactly these arguments?
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who asks.
    pub principal: Principal<'a>,
    /// What for.
    pub action: Action<'a>,
    /// The exact arguments; the permit binds their digest.
    pub arguments: &'a Value,
    /// What the journal says about the session; nothing the model said.
    pub facts: Facts<'a>,
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
    ModelCall(ModelCall<'a>),
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

/// One attempt to reach a model: by which route, for what, and when.
#[derive(Debug, Clone, Copy)]
pub struct ModelCall<'a> {
    /// The model's name, as the agent knows it.
    pub model: &'a str,
    /// The way to it.
    pub route: RouteFacts<'a>,
    /// What kind of call it is.
    pub class: CallClass,
    /// When: contracts hold between dates.
    pub now: Timestamp,
}

impl<'a> ModelCall<'a> {
    /// A stateless call of `model` by a route of which nothing is known but that name.
    #[must_use]
    pub fn new(model: &'a str, now: Timestamp) -> Self {
        Self { model, route: RouteFacts::unknown(model), class: CallClass::Stateless, now }
    }

    /// The same by `route`.
    #[must_use]
    pub fn through(self, route: RouteFacts<'a>) -> Self {
        Self { route, ..self }
    }

    /// The same as a call of another kind.
    #[must_use]
    pub fn of_class(self, class: CallClass) -> Self {
        Self { class, ..self }
    }
}

impl Action<'_> {
    /// The action's name in policies.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ModelCall(_) => "model.call",
            Self::ToolsList { .. } => "tools.list",
            Self::ToolCall { .. } => "tool.call",
        }
    }

    /// The id of what it is done with: a model's name, a server's label, a tool as `<server>/<name>`.
    #[must_use]
    pub fn resource(&self) -> String {
        match self {
            Self::ModelCall(call) => call.model.to_owned(),
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
    /// What its operator says of it, or what its annotations amount to.
    pub labels: ToolLabels,
}

impl ToolFacts<'_> {
    pub(crate) fn id(&self) -> String {
        format!("{}/{}", self.server, self.name)
    }
}

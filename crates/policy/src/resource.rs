//! What is done, and with what.

use tenure_journal::{ApprovalMode, Confidentiality, Integrity, Timestamp};

use crate::facts::ToolLabels;
use crate::principal::AgentFacts;
use crate::route::{CallClass, RouteFacts};

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
    /// Read data.
    DataRead {
        /// The data.
        dataset: DatasetFacts<'a>,
        /// What for.
        purpose: &'a str,
    },
    /// Recall memories.
    MemoryRead(MemoryFacts<'a>),
    /// Remember, correct or forget.
    MemoryWrite(MemoryFacts<'a>),
    /// Do something in an environment.
    CommandRun {
        /// The environment.
        environment: EnvironmentFacts<'a>,
        /// `shell` or `apply_patch`.
        tool: &'a str,
        /// The command or the patch.
        command: &'a str,
    },
    /// Connect to a host.
    Connect {
        /// The host.
        host: HostFacts<'a>,
        /// Whether a command does it.
        from_sandbox: bool,
    },
    /// Use a secret.
    SecretUse {
        /// The secret.
        secret: SecretFacts<'a>,
        /// The host that is shown it.
        host: &'a str,
    },
    /// Open a session.
    SessionCreate {
        /// The agent that will run in it.
        agent: AgentFacts<'a>,
    },
    /// Do something with a session.
    Session {
        /// What.
        verb: SessionVerb,
        /// The session.
        session: SessionFacts<'a>,
    },
    /// Answer an approval.
    ApprovalDecide {
        /// The ticket.
        ticket: TicketFacts<'a>,
        /// Whether the answer lets the call be made.
        approve: bool,
        /// When.
        now: Timestamp,
    },
    /// Replace the policies.
    PolicyPublish,
    /// Read the audit log.
    AuditRead,
}

/// What people and programs do with a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionVerb {
    /// Give it input: a message, a result, files, settings.
    Send,
    /// Read it.
    Read,
    /// Stop its turn.
    Cancel,
    /// End its quarantine.
    Release,
    /// Delete it.
    Delete,
}

impl Action<'_> {
    /// The action's name in policies.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ModelCall(_) => "model.call",
            Self::ToolsList { .. } => "tools.list",
            Self::ToolCall { .. } => "tool.call",
            Self::DataRead { .. } => "data.read",
            Self::MemoryRead(_) => "memory.read",
            Self::MemoryWrite(_) => "memory.write",
            Self::CommandRun { .. } => "command.run",
            Self::Connect { .. } => "network.connect",
            Self::SecretUse { .. } => "secret.use",
            Self::SessionCreate { .. } => "session.create",
            Self::Session { verb, .. } => match verb {
                SessionVerb::Send => "session.send",
                SessionVerb::Read => "session.read",
                SessionVerb::Cancel => "session.cancel",
                SessionVerb::Release => "session.release",
                SessionVerb::Delete => "session.delete",
            },
            Self::ApprovalDecide { .. } => "approval.decide",
            Self::PolicyPublish => "policy.publish",
            Self::AuditRead => "audit.read",
        }
    }

    /// The id of what it is done with: a model's name, a server's label, a tool as `<server>/<name>`.
    #[must_use]
    pub fn resource(&self) -> String {
        match self {
            Self::ModelCall(call) => call.model.to_owned(),
            Self::ToolsList { server } => (*server).to_owned(),
            Self::ToolCall { tool, .. } => tool.id(),
            Self::DataRead { dataset, .. } => format!("{}/{}", dataset.server, dataset.name),
            Self::MemoryRead(memory) | Self::MemoryWrite(memory) => memory.id.to_owned(),
            Self::CommandRun { environment, .. } => environment.id.to_owned(),
            Self::Connect { host, .. } => host.id(),
            Self::SecretUse { secret, .. } => secret.id.to_owned(),
            Self::SessionCreate { agent } => agent.name(),
            Self::Session { session, .. } => session.id.to_owned(),
            Self::ApprovalDecide { ticket, .. } => ticket.id.to_owned(),
            Self::PolicyPublish => POLICIES.to_owned(),
            Self::AuditRead => AUDIT_LOG.to_owned(),
        }
    }
}

/// The actions that can wait for a person.
pub(crate) const MAY_ASK: [&str; 6] =
    ["tool.call", "data.read", "memory.write", "command.run", "network.connect", "secret.use"];

/// The id of a project's policies as a resource.
pub(crate) const POLICIES: &str = "policies";
/// The id of a project's audit log as a resource.
pub(crate) const AUDIT_LOG: &str = "audit";

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
    /// The JSON schema of its arguments; absent where policies are to see none of them.
    pub parameters: Option<&'a serde_json::Value>,
}

impl ToolFacts<'_> {
    pub(crate) fn id(&self) -> String {
        format!("{}/{}", self.server, self.name)
    }
}

/// Data as policies see it.
#[derive(Debug, Clone, Copy)]
pub struct DatasetFacts<'a> {
    /// The server that has it.
    pub server: &'a str,
    /// Its name there.
    pub name: &'a str,
    /// Who may see it.
    pub confidentiality: Confidentiality,
    /// What kinds of data are in it.
    pub categories: &'a [String],
    /// The groups that may read it.
    pub readers: &'a [String],
}

/// Memories as policies see them.
#[derive(Debug, Clone, Copy)]
pub struct MemoryFacts<'a> {
    /// Which memories: `<scope>/<whose>`.
    pub id: &'a str,
    /// `user`, `agent` or `project`.
    pub scope: &'a str,
    /// The highest confidentiality of what may be kept there.
    pub confidentiality: Confidentiality,
    /// The least integrity of what may be kept there.
    pub min_write_integrity: Integrity,
}

/// An environment as policies see it.
#[derive(Debug, Clone, Copy)]
pub struct EnvironmentFacts<'a> {
    /// Its id, or what stands for it.
    pub id: &'a str,
    /// Where it is.
    pub hosting: Hosting,
    /// What it reaches.
    pub network: Reach,
}

/// Whose machine an environment is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosting {
    /// The server's.
    Hosted,
    /// The customer's.
    SelfHosted,
}

impl Hosting {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Hosted => "hosted",
            Self::SelfHosted => "self_hosted",
        }
    }
}

/// What a command reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Nothing.
    Disabled,
    /// Listed hosts.
    Restricted,
    /// Everything.
    Enabled,
}

impl Reach {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Restricted => "restricted",
            Self::Enabled => "enabled",
        }
    }
}

/// A host as policies see it.
#[derive(Debug, Clone, Copy)]
pub struct HostFacts<'a> {
    /// Its name.
    pub name: &'a str,
    /// The port.
    pub port: u16,
    /// Whether it is on a private network, as far as its name says.
    pub private: bool,
    /// The highest confidentiality that it may be sent.
    pub clearance: Confidentiality,
}

impl HostFacts<'_> {
    fn id(&self) -> String {
        format!("{}:{}", self.name, self.port)
    }
}

/// A secret as policies see it.
#[derive(Debug, Clone, Copy)]
pub struct SecretFacts<'a> {
    /// Its name.
    pub id: &'a str,
    /// The hosts that may be shown it.
    pub audiences: &'a [String],
}

/// A session as policies see it.
#[derive(Debug, Clone, Copy)]
pub struct SessionFacts<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its agent's name or id.
    pub agent: &'a str,
    /// Who opened it; empty where nobody kept that.
    pub owner: &'a str,
}

/// An approval that waits, as policies see it.
#[derive(Debug, Clone, Copy)]
pub struct TicketFacts<'a> {
    /// Its id.
    pub id: &'a str,
    /// What is to be done.
    pub action: &'a str,
    /// With what.
    pub resource: &'a str,
    /// Whom the agent that asks acts for; empty where nobody kept that.
    pub requester: &'a str,
    /// Who may decide.
    pub groups: &'a [String],
}

//! What an agent is: the configuration that a saved agent holds and a session snapshots.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{AgentId, ExtractionChoice, Grant, InstalledSkill, KeyId, PersonId, SecretId};

/// An agent as a session runs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// The saved agent, or an id of its own for an agent defined by one session.
    pub id: AgentId,
    /// The saved agent's version this was taken from; absent for an inline agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The saved agent's name.
    pub name: Option<String>,
    /// The model's name, as a route or provider understands it.
    pub model: String,
    /// Instructions to the model.
    pub instructions: Option<String>,
    /// How much to think and how to show it.
    pub reasoning: Reasoning,
    /// The form of its text.
    pub text: TextConfig,
    /// The provider's service tier.
    pub service_tier: ServiceTier,
    /// Its tools, in order.
    pub tools: Vec<Tool>,
    /// Subagents.
    pub multi_agent: MultiAgent,
    /// Whether the context is compacted in the background.
    pub compaction_async: bool,
    /// Whether the model is told the time.
    pub time_awareness: bool,
    /// Which tool calls wait for a person.
    pub approval: ApprovalMode,
    /// Skills that its project's files give it; they are installed in every hosted environment it works in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<InstalledSkill>,
    /// What every session of it is granted at its beginning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
    /// Whether facts are read out of its turns; as the server's settings say where it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extraction: Option<ExtractionChoice>,
}

impl AgentConfig {
    /// An agent of `model` with every documented default: without a name, instructions and tools.
    #[must_use]
    pub fn new(id: AgentId, model: impl Into<String>) -> Self {
        Self {
            id,
            version: None,
            name: None,
            model: model.into(),
            instructions: None,
            reasoning: Reasoning::default(),
            text: TextConfig::default(),
            service_tier: ServiceTier::Auto,
            tools: Vec::new(),
            multi_agent: MultiAgent::default(),
            compaction_async: false,
            time_awareness: false,
            approval: ApprovalMode::Destructive,
            skills: Vec::new(),
            grants: Vec::new(),
            extraction: None,
        }
    }
}

/// Reasoning settings; absent members leave the model's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reasoning {
    /// How much to think.
    pub effort: Option<Effort>,
    /// How to summarise the thinking.
    pub summary: Option<ReasoningSummary>,
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            /// Every word, in the order of the specification.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word on the wire and on disk.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The value of a word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    )*};
}

words! {
    /// Reasoning effort.
    Effort {
        /// No reasoning.
        None = "none",
        /// As little as the model can.
        Minimal = "minimal",
        /// Little.
        Low = "low",
        /// The usual.
        Medium = "medium",
        /// Much.
        High = "high",
        /// More.
        XHigh = "xhigh",
        /// All the model has.
        Max = "max",
    }
    /// How reasoning is summarised.
    ReasoningSummary {
        /// Short.
        Concise = "concise",
        /// Long.
        Detailed = "detailed",
        /// As the model prefers.
        Auto = "auto",
    }
    /// How wordy the text is.
    Verbosity {
        /// Terse.
        Low = "low",
        /// The usual.
        Medium = "medium",
        /// Wordy.
        High = "high",
    }
    /// The provider's service tier, forwarded where known.
    ServiceTier {
        /// The provider chooses.
        Auto = "auto",
        /// The standard tier.
        Default = "default",
        /// Cheaper and slower.
        Flex = "flex",
        /// Faster and dearer.
        Priority = "priority",
        /// Faster still.
        Fast = "fast",
        /// The fastest.
        Ultrafast = "ultrafast",
    }
    /// Which tool calls wait for a person's approval.
    ApprovalMode {
        /// None.
        Never = "never",
        /// Calls of tools whose server marks them destructive.
        Destructive = "destructive",
        /// Calls of tools not marked read-only.
        Writes = "writes",
        /// Every call.
        Always = "always",
    }
    /// Where an MCP connection is made from.
    Origin {
        /// From the server's own network.
        Service = "service",
        /// From inside the session's environment.
        Environment = "environment",
    }
}

/// The form of an agent's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextConfig {
    /// Free or structured.
    pub format: TextFormat,
    /// How wordy.
    pub verbosity: Verbosity,
}

impl Default for TextConfig {
    fn default() -> Self {
        Self { format: TextFormat::Text, verbosity: Verbosity::Medium }
    }
}

/// Free text, or JSON under a schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TextFormat {
    /// Free text.
    Text,
    /// JSON that satisfies `schema`.
    JsonSchema {
        /// The schema's name, where the client gave one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// What the answer is for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        /// The JSON schema.
        schema: Value,
        /// Whether the provider must enforce it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        strict: Option<bool>,
    },
}

/// Subagent settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiAgent {
    /// Whether the agent may create subagents.
    pub enabled: bool,
    /// How many may be active at once; set exactly when enabled.
    pub max_concurrent_subagents: Option<u32>,
}

/// One tool of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Tool {
    /// Carried out by the client.
    Function(FunctionTool),
    /// Loads deferred functions on demand.
    ToolSearch,
    /// Lets the model call tools from code.
    ProgrammaticToolCalling {
        /// Whether it is on.
        enabled: bool,
    },
    /// An MCP server's tools.
    Mcp(McpTool),
    /// Searches the web.
    WebSearch {
        /// `live`, `cached` or `disabled`.
        mode: String,
        /// `low`, `medium` or `high`.
        context_size: String,
        /// Hosts that may be searched; absent means all.
        allowed_domains: Option<Vec<String>>,
        /// Approximate place of the user, as given.
        location: Option<Value>,
    },
    /// Operates a desktop.
    ComputerUse {
        /// Whether screenshots are part of the items.
        include_screenshots: bool,
    },
    /// Lets the agent schedule wake-ups of its own session.
    Automations,
    /// Lets the agent recall what earlier sessions said.
    Memory,
}

/// A function the client carries out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionTool {
    /// Its name, unique in the agent.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON schema of its arguments; the root type is `object`.
    pub parameters: Value,
    /// Kept out of the request until searched for.
    #[serde(default)]
    pub defer_loading: bool,
    /// The model does not wait for the result.
    #[serde(default)]
    pub is_async: bool,
}

/// An MCP server and how the agent may use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct McpTool {
    /// The server's name in this agent, unique.
    pub server_label: String,
    /// How to reach it.
    pub transport: McpTransport,
    /// The tools that may be used; absent means all.
    pub allowed_tools: Option<Vec<String>>,
    /// Where the connection is made from.
    pub origin: Origin,
    /// The vault credential it authenticates with.
    pub credential_id: Option<String>,
    /// Whether a server that cannot be reached fails the turn.
    pub required: bool,
    /// Sent with every request in `_meta`.
    pub request_metadata: Map<String, Value>,
}

/// How an MCP server is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum McpTransport {
    /// Streamable HTTP.
    Http {
        /// The endpoint.
        server_url: String,
        /// Headers of a saved agent, which holds none that are secret.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: BTreeMap<String, String>,
        /// The headers and the authorization the session was given, sealed outside the journal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret: Option<Secret>,
    },
    /// A server of the project's `mcp.json`, by its name there.
    Project,
    /// A program in the session's environment, over its standard input and output.
    Stdio {
        /// The program.
        command: String,
        /// Its arguments.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        args: Vec<String>,
        /// Where it starts, absolute in the environment.
        cwd: String,
        /// Variables of the environment that it is given, by name.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        env_vars: Vec<String>,
        /// Variables of its own that the session was given, sealed outside the journal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret: Option<Secret>,
    },
}

impl McpTool {
    /// Whether it is a process in the session's environment.
    #[must_use]
    pub fn runs_inside(&self) -> bool {
        match self.transport {
            McpTransport::Stdio { .. } => true,
            McpTransport::Http { .. } | McpTransport::Project => false,
        }
    }

    /// The address by which a credential of a vault belongs to it, if it can have one: it is reached over HTTP, not from
    /// inside an environment, and the client wrote no secret for it alone.
    #[must_use]
    pub fn credential_url(&self) -> Option<&str> {
        match (&self.transport, self.origin) {
            (McpTransport::Http { server_url, secret: None, .. }, Origin::Service) => Some(server_url),
            (McpTransport::Http { .. } | McpTransport::Stdio { .. } | McpTransport::Project, _) => None,
        }
    }
}

/// A reference to sealed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub SecretId);

/// One version of a saved agent: what it is, and how it came to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
    /// The configuration.
    pub config: AgentConfig,
    /// The client's key-value pairs.
    pub metadata: BTreeMap<String, String>,
    /// How the version came to be.
    #[serde(default, skip_serializing_if = "Provenance::is_unknown")]
    pub provenance: Provenance,
}

/// How a version of a saved agent came to be. All unknown for versions made before this was recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Author>,
    /// The earlier version that it is equal to, for a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<u64>,
    /// The latest version, this one included, that the project files made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
}

impl Provenance {
    fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// Who changed something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Author {
    /// A client with an API key.
    Key {
        /// The key.
        id: KeyId,
        /// What the key was called then.
        name: String,
    },
    /// A person who signed in.
    Person {
        /// The person.
        id: PersonId,
        /// What they were called then.
        name: String,
    },
    /// The project files.
    ProjectFiles,
}

impl Author {
    /// One word for it, as audit logs have it: the id of a key or of a person, or `project_files`.
    #[must_use]
    pub fn principal(&self) -> String {
        match self {
            Self::Key { id, .. } => id.to_string(),
            Self::Person { id, .. } => id.to_string(),
            Self::ProjectFiles => "project_files".to_owned(),
        }
    }
}

//! Environments: where an agent's commands and files live, and what was done there.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    ArtifactId, BlobRef, Capabilities, EnvironmentId, FileId, PluginServers, Secret, SessionId, SkillEntry,
    Timestamp, TurnId,
};

/// Where commands and files live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Environment {
    /// Nowhere: the agent has no commands and no files.
    None,
    /// On the machine that holds the session, isolated; its files are kept with the journal.
    Hosted(Box<HostedEnvironment>),
    /// On a machine of the customer's, whose executor connects to the server. Its files are there alone.
    SelfHosted(Box<SelfHostedEnvironment>),
}

impl Environment {
    /// The settings of a hosted environment.
    #[must_use]
    pub fn hosted(&self) -> Option<&HostedEnvironment> {
        match self {
            Self::None | Self::SelfHosted(_) => None,
            Self::Hosted(hosted) => Some(hosted),
        }
    }

    /// The settings of a self-hosted environment.
    #[must_use]
    pub fn self_hosted(&self) -> Option<&SelfHostedEnvironment> {
        match self {
            Self::None | Self::Hosted(_) => None,
            Self::SelfHosted(own) => Some(own),
        }
    }
}

/// What a self-hosted environment is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfHostedEnvironment {
    /// Its id: that of the session it was opened with in another form. Subagents share it.
    pub id: EnvironmentId,
    /// What its executor is told to connect to.
    pub remote_url: String,
    /// Where commands run and patches apply, absolute, on the customer's machine.
    pub workspace_directory: String,
    /// Directories of skills and plugins there, as the client named them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capability_directories: Vec<String>,
    /// The skills that were found in them, where the environment is another session's too: nothing is looked for
    /// then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<SkillEntry>,
    /// The tool servers that plugins in them name, in the same case.
    #[serde(default, skip_serializing_if = "PluginServers::is_empty")]
    pub servers: PluginServers,
}

impl SelfHostedEnvironment {
    /// The same settings for another session: with its own id and what its own executor connects to.
    #[must_use]
    pub fn for_session(&self, session: SessionId) -> Box<Self> {
        let id = EnvironmentId::of_session(session);
        // The last part of the address names the environment.
        let base = self.remote_url.rsplit_once('_').map_or(self.remote_url.as_str(), |(base, _)| base);
        let own = id.to_string();
        let name = own.rsplit_once('_').map_or(own.as_str(), |(_, name)| name);
        Box::new(Self {
            id,
            remote_url: format!("{base}_{name}"),
            found: Vec::new(),
            servers: PluginServers::default(),
            ..self.clone()
        })
    }
}

/// What a hosted environment is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostedEnvironment {
    /// Its id; that of its session in another form.
    pub id: EnvironmentId,
    /// What its commands may reach.
    pub network: Network,
    /// How much of the machine its commands may use.
    pub size: ContainerSize,
    /// Files that are there before anything runs, in the order they were given.
    pub files: Vec<EnvironmentFile>,
    /// Packages that are installed before setup commands run.
    #[serde(default, skip_serializing_if = "Packages::is_empty")]
    pub packages: Packages,
    /// Commands that make it ready, in order.
    pub setup: Vec<SetupCommand>,
    /// Variables of its commands, sealed: clients never read their values back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables: Option<Secret>,
    /// The files it begins with instead, where it continues another environment. Nothing is prepared then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<WorkspaceRoot>,
    /// Skills and plugins, and where more are.
    #[serde(default, skip_serializing_if = "Capabilities::is_empty")]
    pub capabilities: Capabilities,
}

/// What commands of an environment may reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "access", rename_all = "snake_case", deny_unknown_fields)]
pub enum Network {
    /// Nothing.
    Disabled,
    /// The named hosts, through a proxy.
    Restricted {
        /// Exact host names.
        allowed_domains: Vec<String>,
    },
    /// Whatever the machine reaches.
    Enabled,
}

/// Packages of an environment, by what installs them, as its client wrote them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    /// Requirements of Python packages, such as `requests==2.32.3`.
    #[serde(default)]
    pub python: Vec<String>,
    /// npm packages, such as `left-pad@1.3.0`.
    #[serde(default)]
    pub npm: Vec<String>,
}

impl Packages {
    /// Whether nothing is to be installed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.python.is_empty() && self.npm.is_empty()
    }
}

/// How much of the machine an environment's commands may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerSize {
    /// One processor, 1 GiB.
    Small,
    /// Two processors, 4 GiB.
    Medium,
    /// Four processors, 16 GiB.
    Large,
}

impl ContainerSize {
    /// Every word, in the order of the specification.
    pub const WORDS: &'static [&'static str] = &["small", "medium", "large"];

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        }
    }

    /// The value of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "small" => Some(Self::Small),
            "medium" => Some(Self::Medium),
            "large" => Some(Self::Large),
            _ => None,
        }
    }

    /// The memory of one command and everything it starts, in bytes.
    #[must_use]
    pub fn memory_bytes(self) -> u64 {
        const GIB: u64 = 1 << 30;
        match self {
            Self::Small => GIB,
            Self::Medium => 4 * GIB,
            Self::Large => 16 * GIB,
        }
    }
}

/// A file that a client put into an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentFile {
    /// Where, absolute.
    pub path: String,
    /// Its bytes, or the first of them.
    pub blob: BlobRef,
    /// The rest of its bytes, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rest: Vec<BlobRef>,
    /// The uploaded file that it is a copy of. That file may be gone; the bytes are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_id: Option<FileId>,
}

impl EnvironmentFile {
    /// A file whose bytes came with the request.
    #[must_use]
    pub fn inline(path: String, blob: BlobRef) -> Self {
        Self { path, blob, rest: Vec::new(), file_id: None }
    }

    /// Where its bytes are, in order.
    pub fn pieces(&self) -> impl Iterator<Item = BlobRef> {
        std::iter::once(self.blob).chain(self.rest.iter().copied())
    }

    /// How long it is.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.pieces().map(|piece| piece.bytes()).sum()
    }
}

/// A command that makes an environment ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetupCommand {
    /// What the shell is given.
    pub command: String,
    /// Where it runs, absolute.
    pub cwd: String,
}

/// The files of an environment at one moment: the digest of their tree.
///
/// Prints as `b3:` and 64 hexadecimal digits. Equal roots are equal files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkspaceRoot([u8; 32]);

impl WorkspaceRoot {
    /// The root with this BLAKE3 digest.
    #[must_use]
    pub fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The BLAKE3 digest.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for WorkspaceRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b3:{}", blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for WorkspaceRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not the root of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a workspace root of the form `b3:<64 hexadecimal digits>`")]
pub struct WorkspaceRootError;

impl FromStr for WorkspaceRoot {
    type Err = WorkspaceRootError;

    fn from_str(text: &str) -> Result<Self, WorkspaceRootError> {
        let digits = text.strip_prefix("b3:").ok_or(WorkspaceRootError)?;
        blake3::Hash::from_hex(digits).map(|hash| Self(*hash.as_bytes())).map_err(|_| WorkspaceRootError)
    }
}

impl Serialize for WorkspaceRoot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WorkspaceRoot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What an agent does in its environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum CommandRequest {
    /// Give a script to the shell.
    Shell {
        /// The script.
        script: String,
        /// Where it runs, absolute.
        cwd: String,
        /// How long it may take, in milliseconds.
        timeout_ms: u64,
    },
    /// Change files by a patch.
    Patch {
        /// The patch.
        patch: String,
    },
}

impl CommandRequest {
    /// The built-in tool that asks for it.
    #[must_use]
    pub fn tool(&self) -> &'static str {
        match self {
            Self::Shell { .. } => "shell",
            Self::Patch { .. } => "apply_patch",
        }
    }
}

/// What came of a command that ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandResult {
    /// What it wrote, or a preview when `stored` is set.
    pub output: String,
    /// Where the whole output is, when it was too large to inline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<BlobRef>,
    /// The status it exited with; absent when something else ended it.
    pub exit_code: Option<i32>,
    /// What ended it, for the model: a limit, a signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
    /// How long it ran, in milliseconds.
    pub duration_ms: u64,
    /// The files it left; absent when it changed none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<WorkspaceRoot>,
}

/// A file that a turn left for its client. Its bytes never change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Its id.
    pub id: ArtifactId,
    /// The turn that published it.
    pub turn_id: TurnId,
    /// When it was published.
    pub created_at: Timestamp,
    /// Where it lay in the environment, absolute.
    pub path: String,
    /// How long it is.
    pub size_bytes: u64,
    /// The files it is part of.
    pub root: WorkspaceRoot,
    /// A digest of its content and mode: two artifacts with the same one are the same file.
    pub digest: WorkspaceRoot,
}

/// How far an environment is.
///
/// ```text
///   hosted by the server
///
///            prepared              nothing is done for long
///   Pending ──────────▶ Connected ──────────────────────────▶ Suspended
///     │  │                  ▲  ▲                                  │
///     │  │ prepared without │  └──────────────────────────────────┘
///     │  │ a session        │ session opened    something is done
///     │  └────────────▶ Ready
///     │ a setup command failed,  │ its time is over, as that of Pending may be
///     ▼ or it cannot be isolated ▼
///   Failed                     Expired
///
///   by the customer
///
///          executor connects             gone
///   Ready ──────────────────▶ Connected ──────▶ Disconnected
///                                 ▲                   │ connects
///                                 └───────────────────┘
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case", deny_unknown_fields)]
pub enum EnvironmentStatus {
    /// It is being made ready.
    Pending,
    /// It waits: hosted by the server with its files there, for a session; by the customer, for an executor that
    /// has never connected.
    Ready,
    /// Commands can run.
    Connected,
    /// Its executor is gone, and may come back.
    Disconnected,
    /// Nothing was done in it for long; the next command finds its files as the last one left them.
    Suspended,
    /// No session was opened in it in time.
    Expired,
    /// It could not be made ready.
    Failed {
        /// Why, safe for customers.
        message: String,
    },
}

impl EnvironmentStatus {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Disconnected => "disconnected",
            Self::Connected => "connected",
            Self::Suspended => "suspended",
            Self::Expired => "expired",
            Self::Failed { .. } => "failed",
        }
    }
}

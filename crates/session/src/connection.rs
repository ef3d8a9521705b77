//! What a session knows of the executor of its self-hosted environment, and what waits for it.
//!
//! ```text
//!             connects               is gone
//!   Ready ──────────────▶ Connected ─────────▶ Disconnected
//!                             ▲                     │
//!                             └───── connects ──────┘
//! ```
//!
//! A turn begins only while the executor is there. A message that was accepted waits for it, however long; a
//! client that has one is kept waiting before it is accepted, and until when is all that is known here of it.
//! While the executor is connected, its session is due at every node: whoever finds the node gone that it was
//! connected to records that.
//!
//! A subagent's commands run in its parent's environment. Its session does not know who is connected: a
//! command finds out when it begins.

use serde::{Deserialize, Serialize};
use tenure_journal::{EnvironmentId, EnvironmentStatus, SelfHostedEnvironment, SessionStatus, Timestamp};

use crate::Session;

/// The executor of a self-hosted environment, as the session's journal knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Connection {
    executor: Executor,
    /// Until when a client waits with a message.
    awaited_until: Option<Timestamp>,
}

/// Whether the executor is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Executor {
    /// It has never connected.
    #[default]
    New,
    Connected,
    Gone,
}

impl Connection {
    /// Whether nothing ever happened.
    pub(crate) fn is_new(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn connect(&mut self) {
        *self = Self { executor: Executor::Connected, awaited_until: None };
    }

    pub(crate) fn disconnect(&mut self) {
        self.executor = Executor::Gone;
    }

    pub(crate) fn wait_until(&mut self, until: Timestamp) {
        self.awaited_until = self.awaited_until.max(Some(until));
    }

    pub(crate) fn lapse(&mut self) {
        self.awaited_until = None;
    }

    pub(crate) fn status(&self) -> EnvironmentStatus {
        match self.executor {
            Executor::New => EnvironmentStatus::Ready,
            Executor::Connected => EnvironmentStatus::Connected,
            Executor::Gone => EnvironmentStatus::Disconnected,
        }
    }
}

impl Session {
    /// Its self-hosted environment's settings, if it has one.
    #[must_use]
    pub fn self_hosted(&self) -> Option<&SelfHostedEnvironment> {
        self.environment.self_hosted()
    }

    /// Whether there is an environment to run commands in, wherever that is.
    pub(crate) fn has_environment(&self) -> bool {
        self.hosted().is_some() || self.self_hosted().is_some()
    }

    /// The directory that its commands run in where the model names none.
    pub(crate) fn workspace_directory(&self) -> &str {
        self.self_hosted()
            .map_or(crate::environment::HOSTED_DIRECTORY, |own| own.workspace_directory.as_str())
    }

    /// The environment whose executor this session keeps account of; nothing for a subagent, and once the
    /// session is over.
    #[must_use]
    pub fn connects(&self) -> Option<EnvironmentId> {
        let over = self.parent.is_some() || self.deleted || self.failed.is_some();
        self.self_hosted().filter(|_| !over).map(|own| own.id)
    }

    /// Whether its executor is connected, as far as the journal says.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connects().is_some() && self.connection.executor == Executor::Connected
    }

    /// Whether a message for it has to wait until an executor connects: it would begin a turn.
    #[must_use]
    pub fn needs_connection(&self) -> bool {
        self.connects().is_some() && !self.is_connected() && self.turn.is_none()
    }

    /// Until when a client waits for the executor with a message.
    #[must_use]
    pub fn connection_awaited_until(&self) -> Option<Timestamp> {
        self.connects()?;
        self.connection.awaited_until
    }

    /// Whether only an executor that connects can bring it further.
    pub(crate) fn requires_connection(&self) -> bool {
        let waited_for = !self.queue.is_empty() || self.connection.awaited_until.is_some();
        self.needs_connection() && waited_for
    }

    /// The status of a session without a turn.
    pub(crate) fn resting_status(&self) -> SessionStatus {
        if self.requires_connection() { SessionStatus::RequiresAction } else { SessionStatus::Idle }
    }
}

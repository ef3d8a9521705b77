//! The executor's side: registers, dials, answers the server, and does what it asks.
//!
//! ```text
//!   register ──▶ dial ──▶ serve streams ──┐
//!      ▲          │ refused               │ the socket breaks
//!      └──────────┴──── pause, doubled ◀──┘
//! ```
//!
//! What this does not do: confine processes. They run with the rights of the account that the executor
//! runs as, unless a [`Launcher`] starts them otherwise. Files that the server reads and writes are confined
//! to the working directory unless [`Reach::Account`] is chosen. A request that asks for a confinement which
//! the launcher does not offer is refused.

mod conversation;
mod dial;
mod files;
mod host;
mod http;
mod launch;
mod process;
mod register;
mod relay;
mod session;
mod variables;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

pub use files::Reach;
pub use launch::{LaunchError, Launcher, Unconfined};
pub use register::Credentials;

use crate::noise::{Identity, IdentitySeed, NoiseError};
use crate::registry::{EnvironmentId, Refusal};
use files::Files;
use host::Host;
use register::Registry;

/// Pauses between two tries to connect: the first, and the longest.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What an executor is to do.
pub struct Options {
    /// The address that the environment's creation returned.
    pub remote_url: String,
    /// The environment.
    pub environment_id: String,
    /// How it proves that it may.
    pub credentials: Credentials,
    /// Where processes begin, and what files are confined to. Must exist.
    pub directory: PathBuf,
    /// Which files the server may reach.
    pub reach: Reach,
    /// The environment that processes may inherit from. Leave the executor's own key out of it.
    pub variables: BTreeMap<String, String>,
    /// How processes are started.
    pub launcher: Arc<dyn Launcher>,
}

/// Why an executor stopped, or a try to connect failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ServeError {
    /// What to do about it.
    pub kind: ServeErrorKind,
    /// For the operator.
    pub message: String,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServeErrorKind {
    /// Correct an option.
    Options,
    /// Use another key.
    Credentials,
    /// Try again, after a pause.
    Transient,
    /// Register again, after a pause: the address is no longer valid.
    Expired,
    /// The server does not speak this protocol, or refuses for good.
    Server,
}

impl ServeErrorKind {
    /// Whether trying again could help.
    fn is_transient(self) -> bool {
        match self {
            Self::Transient | Self::Expired => true,
            Self::Options | Self::Credentials | Self::Server => false,
        }
    }
}

/// Serves an environment until something fails that trying again cannot help. Dropping the future ends the
/// connection and every process. Programs are born with interrupts ignored if this process ignores them, as
/// one that was started in the background does: whoever serves catches them.
///
/// # Errors
/// An option is wrong, the key is refused, or the server refuses for good.
pub async fn serve(options: Options) -> Result<std::convert::Infallible, ServeError> {
    let environment_id = EnvironmentId::new(options.environment_id).map_err(wrong)?;
    let registry = Arc::new(Registry::new(&options.remote_url, environment_id, options.credentials)?);
    let files = Files::new(&options.directory, options.reach)?;
    let identity = Arc::new(Identity::new(&IdentitySeed::fresh()?));
    let host = Arc::new(Host::new(files, options.variables, options.launcher)?);
    let mut pause = PAUSE_MIN;
    let mut known = None;
    loop {
        let result = once(&registry, &identity, &host, &mut known).await;
        match result {
            Ok(()) => {
                tracing::info!(environment_id = %registry.environment_id(), "the connection ended");
                pause = PAUSE_MIN;
            }
            Err(error) if error.kind.is_transient() => {
                tracing::warn!(%error, seconds = pause.as_secs(), "no connection; trying again after a pause");
                if error.kind == ServeErrorKind::Expired {
                    known = None;
                }
            }
            Err(error) => return Err(error),
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
        host.forget_expired();
    }
}

/// Registers if need be, dials, and serves until the socket breaks.
async fn once(
    registry: &Arc<Registry>,
    identity: &Arc<Identity>,
    host: &Arc<Host>,
    known: &mut Option<register::Registered>,
) -> Result<(), ServeError> {
    let registered = match known.take() {
        Some(registered) => registered,
        None => registry.register(identity.public()).await?,
    };
    let registered = known.insert(registered);
    let socket = dial::dial(registry, registered).await?;
    tracing::info!(environment_id = %registry.environment_id(), "connected");
    match registered {
        register::Registered::Noise { id, .. } => relay::run(socket, registry, id, identity, host).await,
        register::Registered::Direct { .. } => relay::run_direct(socket, host).await,
    }
    Ok(())
}

fn wrong(refusal: Refusal) -> ServeError {
    ServeError { kind: ServeErrorKind::Options, message: refusal.message }
}

impl ServeError {
    fn new(kind: ServeErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl From<NoiseError> for ServeError {
    fn from(error: NoiseError) -> Self {
        Self::new(ServeErrorKind::Options, error.to_string())
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("remote_url", &self.remote_url)
            .field("environment_id", &self.environment_id)
            .field("directory", &self.directory)
            .field("reach", &self.reach)
            .finish_non_exhaustive()
    }
}

//! Environments: where commands run. In those of the customer's, through the executor that connects, see
//! `executors`; in hosted ones here, and this is how their files stay with the journal.
//!
//! The truth about an environment's files is the root in its session's journal, whose chunks the store keeps.
//! What lies on this machine's disk is a copy for commands to work in; it may be missing, stale or half
//! changed, and is then made anew.
//!
//! ```text
//!   attempt ──▶ the copy is that of the journal's root?  no: restore it
//!           ──▶ run the command in its sandbox
//!           ──▶ snapshot: new chunks are durable in the store
//!           ──▶ outcome with the new root ──▶ journal
//! ```
//!
//! What happens if the process dies: before the command, nothing; while it runs, its sandbox dies with the
//! server and the next attempt restores the files; after the snapshot, the chunks are garbage and the next
//! attempt makes them again. A command that may not be repeated is closed as unknown, and what it left on
//! this machine is taken up by the command that follows.

mod afresh;
mod ask;
mod chunks;
mod connect;
mod executors;
mod files;
mod host;
mod inside;
mod install;
mod keep;
mod packages;
mod plugins;
mod remote;
mod remote_files;
mod remote_patch;
mod remote_plugins;
mod remote_servers;
mod remote_skills;
mod run;
pub mod templates;
mod wanted;
mod way_out;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tenure_sandbox::Backend;

pub(crate) use chunks::StoreChunks;
pub use executors::Executors;
pub use files::{EnvironmentFileError, ListedFile};
pub(crate) use host::Host;
pub(crate) use inside::stored;
pub(crate) use keep::{document, run as keep};
pub use packages::PackageSources;
pub(crate) use remote::{RemoteWork, run_remote};
pub use remote_files::RemoteFileError;
pub(crate) use run::{Work, run};
pub use wanted::{EnvironmentRefusal, WantedError};
pub(crate) use way_out::{host_mistake, reach_from_inside};

/// How long a client waits with a message for an executor, unless told otherwise: as the Agents API has it.
pub const CONNECTION_WAIT: Duration = Duration::from_secs(5 * 60);

/// How this node hosts environments.
#[derive(Clone)]
pub struct EnvironmentConfig {
    /// Where the copies of their files lie; this process's own.
    pub directory: PathBuf,
    /// What runs commands, or why nothing can.
    pub sandbox: Result<Arc<dyn Backend>, String>,
    /// Commands that run at once; further ones wait, round-robin by project.
    pub commands: crate::Places,
    /// Whether environments may reach the whole network this machine reaches.
    pub open_network: bool,
    /// How long nothing is done in one before it is suspended and its copy removed.
    pub suspend: Duration,
    /// How long one that was made ready waits for its session before it expires.
    pub prewarmed: Duration,
    /// Where packages come from.
    pub packages: PackageSources,
    /// How long a client waits with a message for an executor that is not connected.
    pub connection_wait: Duration,
}

impl std::fmt::Debug for EnvironmentConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sandbox = self.sandbox.as_ref().map(|backend| backend.isolation().to_string());
        f.debug_struct("EnvironmentConfig")
            .field("directory", &self.directory)
            .field("sandbox", &sandbox)
            .field("open_network", &self.open_network)
            .finish_non_exhaustive()
    }
}

impl Default for EnvironmentConfig {
    fn default() -> Self {
        Self {
            directory: PathBuf::new(),
            sandbox: Err("no environments were configured".to_owned()),
            commands: crate::Places::shared(16),
            open_network: false,
            suspend: Duration::from_secs(30 * 60),
            prewarmed: Duration::from_secs(24 * 3_600),
            packages: PackageSources::default(),
            connection_wait: CONNECTION_WAIT,
        }
    }
}

//! Hosted environments: where commands run, and how their files stay with the journal.
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

mod ask;
mod chunks;
mod files;
mod host;
mod run;
mod way_out;

use std::path::PathBuf;
use std::sync::Arc;

use tenure_sandbox::Backend;

pub(crate) use chunks::StoreChunks;
pub use files::{EnvironmentFileError, ListedFile};
pub(crate) use host::Host;
pub(crate) use run::{Work, run};
pub(crate) use way_out::host_mistake;

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
        }
    }
}

//! Files of self-hosted environments as their executor tells of them: nothing of them is kept here.

use std::path::Path;

use tenure_executor::harness::CallErrorKind;
use tenure_executor::location::Location;
use tenure_executor::protocol::files::{Metadata, Walk, WalkKind, WalkOptions};
use tenure_journal::EnvironmentId;

use super::files::{DEPTH_MAX, LISTED_MAX};
use crate::Runtime;

/// Why files of a self-hosted environment cannot be listed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteFileError {
    /// No executor is connected to this node.
    #[error("the environment's executor is not connected here")]
    NotConnected,
    /// The executor did not say.
    #[error("the environment's executor did not list its files: {0}")]
    Refused(String),
}

impl Runtime {
    /// The paths of regular files below a directory on the customer's machine, in no order. A directory that
    /// does not exist has none.
    ///
    /// # Errors
    /// See [`RemoteFileError`].
    pub async fn remote_files(
        &self,
        id: EnvironmentId,
        directory: &str,
    ) -> Result<Vec<String>, RemoteFileError> {
        let executors = &self.shared().executors;
        if !executors.is_connected(id) {
            return Err(RemoteFileError::NotConnected);
        }
        let Ok(path) = Location::from_path(Path::new(directory)) else { return Ok(Vec::new()) };
        let options = WalkOptions {
            max_depth: DEPTH_MAX,
            max_directories: LISTED_MAX,
            max_entries: LISTED_MAX,
            follow_directory_symlinks: false,
        };
        match executors.remote(id).call(&Walk { path, options, sandbox: None }).await {
            Ok(walked) => {
                let files = walked.entries.into_iter().filter(|entry| entry.kind == WalkKind::File);
                // A name that is no text can be used by commands, but not be told to a client.
                let path = |location: Location| location.to_path().ok()?.into_os_string().into_string().ok();
                Ok(files.filter_map(|entry| path(entry.path)).collect())
            }
            Err(error) => match error.kind {
                CallErrorKind::Refused { .. } => Ok(Vec::new()),
                CallErrorKind::Disconnected | CallErrorKind::Interrupted => {
                    Err(RemoteFileError::NotConnected)
                }
                CallErrorKind::TimedOut | CallErrorKind::Lost | CallErrorKind::Protocol => {
                    Err(RemoteFileError::Refused(error.message))
                }
            },
        }
    }

    /// How long a file there is, in bytes; nothing if it is gone.
    ///
    /// # Errors
    /// See [`RemoteFileError`].
    pub async fn remote_file_bytes(
        &self,
        id: EnvironmentId,
        path: &str,
    ) -> Result<Option<u64>, RemoteFileError> {
        let Ok(path) = Location::from_path(Path::new(path)) else { return Ok(None) };
        match self.shared().executors.remote(id).call(&Metadata { path, sandbox: None }).await {
            Ok(found) => Ok(Some(found.size)),
            Err(error) => match error.kind {
                CallErrorKind::Refused { .. } => Ok(None),
                CallErrorKind::Disconnected | CallErrorKind::Interrupted => {
                    Err(RemoteFileError::NotConnected)
                }
                CallErrorKind::TimedOut | CallErrorKind::Lost | CallErrorKind::Protocol => {
                    Err(RemoteFileError::Refused(error.message))
                }
            },
        }
    }
}

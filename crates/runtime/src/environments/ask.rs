//! What clients ask of environments beside commands: files, and what was published.

use std::time::Duration;

use tenure_journal::{ArtifactId, EffectKind, EnvironmentFile, Network, SessionKey, WorkspaceRoot};
use tenure_sandbox::Tier;
use tenure_session::{Command, Session};
use tokio::runtime::Handle;

use super::chunks::StoreChunks;
use super::files;
use super::{EnvironmentFileError, ListedFile, host_mistake};
use crate::actor;
use crate::{ReceiptDraft, Runtime, RuntimeError, RuntimeErrorKind};

/// Bytes of one artifact that can be read.
const ARTIFACT_BYTES_MAX: u64 = 200 * 1024 * 1024;

/// The first pause between two looks at whether files were placed: they wait for whatever was asked before
/// them, as long as their client does.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// The longest such pause.
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(500);

impl Runtime {
    /// Why this server has no environments, or none with this network; nothing if it has.
    #[must_use]
    pub fn environment_obstacle(&self, network: &Network) -> Option<String> {
        let config = &self.shared().environments.config;
        if let Err(why) = &config.sandbox {
            return Some(format!("This server cannot isolate commands: {why}."));
        }
        match network {
            Network::Disabled => None,
            Network::Enabled if config.open_network => None,
            Network::Enabled => Some(
                "This server does not let environments reach the network; its operator would have to set \
                 `environments.open_network`."
                    .to_owned(),
            ),
            Network::Restricted { allowed_domains } => {
                let wrong = allowed_domains.iter().find_map(|host| Some((host, host_mistake(host)?)));
                if let Some((host, why)) = wrong {
                    return Some(format!("Invalid host '{host}' in 'allowed_domains': {why}."));
                }
                let tier = config.sandbox.as_ref().map(|sandbox| sandbox.isolation().tier);
                (tier == Ok(Tier::Landlock)).then(|| {
                    "This server's isolation gives commands no network at all; use 'disabled'.".to_owned()
                })
            }
        }
    }

    /// A session as its journal says now; nothing if there is none.
    ///
    /// # Errors
    /// `Storage` or `Damaged`.
    pub async fn session_state(&self, key: SessionKey) -> Result<Option<Session>, RuntimeError> {
        Ok(actor::load(key, self.shared()).await?.map(|(state, _)| state))
    }

    /// Puts files into a session's environment and returns once they are there.
    ///
    /// # Errors
    /// As [`Runtime::submit`]; `Refused` with `NotConnected` where there is no environment that is ready.
    pub async fn place_files(
        &self,
        key: SessionKey,
        files: Vec<EnvironmentFile>,
        receipt: Option<ReceiptDraft>,
    ) -> Result<(), RuntimeError> {
        let paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
        self.submit(key, vec![Command::PlaceFiles { files }], receipt).await?;
        let mut pause = LOOK_PAUSE;
        loop {
            let Some(state) = self.session_state(key).await? else {
                return Err(RuntimeErrorKind::NotFound.into());
            };
            let is_ours = |kind: &EffectKind| match kind {
                EffectKind::PlaceFiles { files } => files.iter().map(|file| &file.path).eq(&paths),
                EffectKind::ModelCall { .. }
                | EffectKind::Compact { .. }
                | EffectKind::ListTools { .. }
                | EffectKind::ToolCall { .. }
                | EffectKind::PrepareEnvironment
                | EffectKind::Command { .. }
                | EffectKind::PublishArtifacts
                | EffectKind::Review { .. }
                | EffectKind::Extract { .. }
                | EffectKind::Subagent { .. }
                | EffectKind::EndSubagents { .. } => false,
            };
            if !state.pending().any(|effect| is_ours(&effect.kind)) {
                return Ok(());
            }
            tokio::select! {
                () = self.shared().stop.cancelled() => return Err(RuntimeErrorKind::ShuttingDown.into()),
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LOOK_PAUSE_MAX),
            }
        }
    }

    /// The files of an environment below a directory, in the order of their paths.
    ///
    /// # Errors
    /// `Unreadable`.
    pub async fn environment_files(
        &self,
        key: SessionKey,
        root: WorkspaceRoot,
        directory: String,
    ) -> Result<Vec<ListedFile>, EnvironmentFileError> {
        self.with_chunks(key, move |chunks| files::list(chunks, root, &directory)).await
    }

    /// The bytes of a published file; nothing if there is no such artifact.
    ///
    /// # Errors
    /// `Unreadable`.
    pub async fn artifact_content(
        &self,
        state: &Session,
        id: ArtifactId,
    ) -> Result<Option<Vec<u8>>, EnvironmentFileError> {
        let Some(artifact) = state.artifacts().iter().find(|artifact| artifact.id == id).cloned() else {
            return Ok(None);
        };
        let read = move |chunks: &StoreChunks| {
            files::read(chunks, artifact.root, &artifact.path, ARTIFACT_BYTES_MAX)
        };
        self.with_chunks(state.key(), read).await.map(Some)
    }

    async fn with_chunks<T: Send + 'static>(
        &self,
        key: SessionKey,
        read: impl FnOnce(&StoreChunks) -> Result<T, EnvironmentFileError> + Send + 'static,
    ) -> Result<T, EnvironmentFileError> {
        let store = std::sync::Arc::clone(&self.shared().store);
        let chunks = StoreChunks::new(store, key.project, Handle::current());
        let read = tokio::task::spawn_blocking(move || read(&chunks)).await;
        read.unwrap_or_else(|_| {
            let source = tenure_workspace::Error::from(std::io::Error::other("the reader panicked"));
            Err(EnvironmentFileError::Unreadable(source))
        })
    }
}

//! The master key, and what every node that shares a database must agree on about it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use tenure_journal::{ProjectId, Timestamp};
use tenure_project::Redacted;
use tenure_runtime::{KeyCommand, KeyFile, MasterKeys, Sealer, SealerError};
use tenure_store::{Document, DocumentKind, Store, StoreErrorKind};

use super::StartError;
use super::cluster::{document, failed};

/// The file of master keys in a data directory.
pub(crate) const SEALING_KEY_FILE: &str = "sealing.key";
/// Where keys are given as text.
pub(crate) const KEY_VARIABLE: &str = "TENURE_MASTER_KEY";
/// Where a key service's command is given.
pub(crate) const COMMAND_VARIABLE: &str = "TENURE_MASTER_KEY_COMMAND";
/// Names what the key of a database that holds sealed secrets is known by, for releases that ask no more than that.
const SEALING_KEY: &str = "sealing-key";

/// Where the master key is, the first of these that is given.
#[derive(Debug, Clone, Default)]
pub(crate) struct MasterKey {
    /// A command that wraps and unwraps.
    pub(crate) command: Option<String>,
    /// Keys as text.
    pub(crate) text: Option<Redacted>,
    /// A file of keys; otherwise one in the data directory.
    pub(crate) file: Option<PathBuf>,
}

/// The sealer of a server, not unlocked yet.
pub(super) fn open(given: &MasterKey, data: &Path) -> Result<Sealer, StartError> {
    let file = given.file.clone().unwrap_or_else(|| data.join(SEALING_KEY_FILE));
    let masters = match (&given.command, &given.text) {
        (Some(command), _) => {
            let command = KeyCommand::parse(command).ok_or_else(|| {
                StartError::new(format!("`{COMMAND_VARIABLE}` names no program"))
                    .fix("set it to a program that knows `wrap` and `unwrap`")
            })?;
            // What a file sealed before still opens, and a file that is not there is not made.
            let file = file.exists().then(|| KeyFile::existing(&file)).transpose();
            file.and_then(|file| MasterKeys::of_command(command, file))
        }
        (None, Some(text)) => MasterKeys::of_text(text.expose(), KEY_VARIABLE),
        (None, None) => KeyFile::open(&file).and_then(MasterKeys::of_file),
    };
    masters.map(Sealer::new).map_err(|error| StartError::new("secrets cannot be sealed").cause(error))
}

/// Unlocks the sealer. On a database that several nodes share, each must have a master key that the others have.
pub(super) async fn agree(store: &Arc<dyn Store>, mut sealer: Sealer) -> Result<Sealer, StartError> {
    let home = ProjectId::installation();
    if store.is_shared()
        && store.document(home, DocumentKind::DataKey, "key", None).await.map_err(failed)?.is_none()
    {
        remember(store, &sealer).await?;
    }
    match sealer.unlock(&**store).await {
        Ok(()) => Ok(sealer),
        // On a database of its own, a server does without what is sealed until its key is back; the runtime says so.
        Err(error) if error.is_unknown_key() && !store.is_shared() => Ok(sealer),
        Err(error) if error.is_unknown_key() => Err(another_key()),
        Err(SealerError::Store(error)) => Err(failed(error)),
        Err(error) => Err(StartError::new("secrets cannot be sealed or opened").cause(error)),
    }
}

/// Sees to it that every node of a database without a key of its own begins with the same master key: the first one's
/// is remembered by its fingerprint.
async fn remember(store: &Arc<dyn Store>, sealer: &Sealer) -> Result<(), StartError> {
    let masters = sealer.masters();
    let unusable = |error| StartError::new("secrets cannot be sealed or opened").cause(error);
    let print = masters.current().map_err(unusable)?;
    let at = Timestamp::EPOCH;
    let first = Document { body: json!({ "fingerprint": print }), ..document(SEALING_KEY.to_owned(), at) };
    match store.put(vec![first], None).await {
        Ok(()) => return Ok(()),
        Err(error) if matches!(error.kind(), StoreErrorKind::Conflict { .. }) => {}
        Err(error) => return Err(failed(error)),
    }
    let home = ProjectId::installation();
    let known = store.document(home, DocumentKind::Project, SEALING_KEY, None).await.map_err(failed)?;
    let known = known.as_ref().and_then(|known| known.body["fingerprint"].as_str());
    match known.map(|print| masters.knows(print)).transpose().map_err(unusable)? {
        Some(true) => Ok(()),
        Some(false) | None => Err(another_key()),
    }
}

fn another_key() -> StartError {
    StartError::new("secrets in this database are sealed with another node's key").fix(
        "give every node the same key file: copy `sealing.key` of the first node's data directory, \
        or name it with --sealing-key",
    )
}

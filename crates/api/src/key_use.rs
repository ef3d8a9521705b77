//! When a key was last used: noted at most once a minute by each node, so that a busy key costs one row and no
//! history.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize as _;
use serde_json::json;
use tenure_journal::{KeyId, Timestamp};
use tenure_store::{Document, DocumentKind, Store, StoreError, StoreErrorKind};

use crate::keys::system_project;

/// How exact the time of the last use is.
const NOTED_EVERY: Duration = Duration::from_secs(60);
/// Keys of which it is remembered that they were noted; the rest are noted once more.
const REMEMBERED_MAX: usize = 4_096;

/// The uses that this node noted.
#[derive(Debug, Default)]
pub(crate) struct KeyUses {
    noted: Mutex<HashMap<KeyId, Instant>>,
}

impl KeyUses {
    /// Notes that a key is used, unless that was done within the last minute. That it cannot be noted is no
    /// reason to refuse a request.
    pub(crate) async fn note(&self, store: &Arc<dyn Store>, now: Timestamp, id: KeyId) {
        if !self.is_due(id) {
            return;
        }
        let document = Document {
            project: system_project(),
            kind: DocumentKind::KeyUse,
            id: id.to_string(),
            version: 1,
            name: None,
            body: json!({ "at": now }),
            created_at: now,
            updated_at: now,
            wake_at: None,
            deleted: false,
        };
        if let Err(error) = store.note(document).await {
            tracing::warn!(key = %id, %error, "the use of a key cannot be noted");
        }
    }

    fn is_due(&self, id: KeyId) -> bool {
        // A map is whole between its methods, so one poisoned by a panic elsewhere is usable.
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.get(&id).is_some_and(|at| at.elapsed() < NOTED_EVERY) {
            return false;
        }
        if noted.len() >= REMEMBERED_MAX {
            noted.clear();
        }
        noted.insert(id, Instant::now());
        true
    }
}

/// When a key was last used, to the minute; `None` for one that never was.
///
/// # Errors
/// `Unavailable` or `Corrupt`.
pub(crate) async fn last(store: &Arc<dyn Store>, id: KeyId) -> Result<Option<Timestamp>, StoreError> {
    let found = store.document(system_project(), DocumentKind::KeyUse, &id.to_string(), None).await?;
    let Some(found) = found else { return Ok(None) };
    Timestamp::deserialize(&found.body["at"]).map(Some).map_err(|error| {
        StoreError::new(StoreErrorKind::Corrupt, "reading when a key was used").with_source(error)
    })
}

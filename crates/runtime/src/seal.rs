//! Sealing secrets: what a client hands over for later use is kept encrypted, outside the journal.
//!
//! How, and under which keys, is `tenure_seal`'s business; this is where the wrapped keys of projects are kept, as
//! documents, and how long the opened ones stay in memory: as long as the process.
//!
//! Beside the projects, the installation has a key of its own, from which the keys of audit logs and of executors
//! follow. It was the master key once; it became a document when master keys became something that changes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize as _;
use serde_json::json;
use tenure_journal::{ProjectId, SecretId, Timestamp};
pub(crate) use tenure_seal::random;
use tenure_seal::{DataKey, KeyFile, MasterKeys, Place, SealError, SealErrorKind, Wrapped, Zeroizing};
use tenure_store::{Document, DocumentKind, Store, StoreError, StoreErrorKind};

/// The id of a project's key among its documents.
const KEY_ID: &str = "key";
/// How often wrapping a key anew is tried while others write it too.
const REWRAP_ATTEMPTS: u32 = 8;

/// Seals and opens secrets.
pub struct Sealer {
    masters: MasterKeys,
    /// What other secrets of the installation follow from; absent until it was looked up.
    root: Option<DataKey>,
    keys: Mutex<HashMap<ProjectId, DataKey>>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("masters", &self.masters).finish_non_exhaustive()
    }
}

/// Why secrets cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealerError {
    /// Their keys cannot be had, or they cannot be opened with them.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Their keys cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored key cannot be read.
    #[error("the stored key of `{project}` cannot be read")]
    Damaged {
        /// Whose.
        project: ProjectId,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// What was sealed is no text.
    #[error("a sealed secret is no text")]
    NotText,
}

impl SealerError {
    /// Whether a master key is missing that something was wrapped with.
    #[must_use]
    pub fn is_unknown_key(&self) -> bool {
        match self {
            Self::Seal(error) => matches!(error.kind(), SealErrorKind::UnknownKey { .. }),
            Self::Store(_) | Self::Damaged { .. } | Self::NotText => false,
        }
    }
}

/// A text that is overwritten when it is dropped.
pub(crate) type SecretText = Zeroizing<String>;

impl Sealer {
    /// Uses the keys in `path`; makes one, readable by its owner only, if there is no file.
    ///
    /// # Errors
    /// `Seal`.
    pub fn open(path: &Path) -> Result<Self, SealerError> {
        Ok(Self::new(MasterKeys::of_file(KeyFile::open(path)?)?))
    }

    /// Uses these master keys.
    #[must_use]
    pub fn new(masters: MasterKeys) -> Self {
        Self { masters, root: None, keys: Mutex::default() }
    }

    /// A sealer whose key is gone with the process: for stores in memory.
    #[must_use]
    pub fn ephemeral() -> Self {
        Self::new(MasterKeys::ephemeral())
    }

    /// The master keys.
    #[must_use]
    pub fn masters(&self) -> &MasterKeys {
        &self.masters
    }

    /// Looks up the installation's own key, and makes it on the first start.
    ///
    /// # Errors
    /// `Seal`, which [`SealerError::is_unknown_key`] may be about; `Store`, `Damaged`.
    pub async fn unlock(&mut self, store: &dyn Store) -> Result<(), SealerError> {
        if self.root.is_some() {
            return Ok(());
        }
        // An installation that is older than its key goes on with what followed from its only master key.
        let first = || self.old_root().unwrap_or_else(DataKey::generate);
        self.root = Some(self.load(store, ProjectId::installation(), first).await?);
        Ok(())
    }

    /// Goes on without the installation's own key, which no master key here unwraps: what follows from it is
    /// another's, and what was sealed stays closed until the right master key is back.
    pub(crate) fn unlock_anew(&mut self) {
        self.root = Some(self.old_root().unwrap_or_else(DataKey::generate));
    }

    fn old_root(&self) -> Option<DataKey> {
        self.masters.local().last().map(tenure_seal::LocalKey::old_root)
    }

    /// A secret of the installation for one purpose; it tells nothing about the key or about others.
    pub(crate) fn derived(&self, purpose: &str) -> [u8; tenure_seal::KEY_BYTES] {
        let root = self.root.as_ref().expect("a runtime unlocks its sealer before anything else");
        *blake3::keyed_hash(root.as_bytes(), purpose.as_bytes()).as_bytes()
    }

    /// Seals a text that is never changed.
    pub(crate) async fn seal(
        &self,
        store: &dyn Store,
        project: ProjectId,
        id: SecretId,
        secret: &str,
    ) -> Result<Vec<u8>, SealerError> {
        let (project_text, record) = (project.to_string(), id.to_string());
        let place = Place { project: &project_text, record: &record, version: 1 };
        Ok(self.key(store, project).await?.seal(place, secret.as_bytes()))
    }

    /// Opens what [`Sealer::seal`] sealed, in this release or an earlier one.
    pub(crate) async fn unseal(
        &self,
        store: &dyn Store,
        project: ProjectId,
        id: SecretId,
        sealed: &[u8],
    ) -> Result<SecretText, SealerError> {
        let (project_text, record) = (project.to_string(), id.to_string());
        let place = Place { project: &project_text, record: &record, version: 1 };
        let opened = match tenure_seal::is_current_format(sealed) {
            true => self.key(store, project).await?.open(place, sealed)?,
            false => self.masters.open_old(&format!("{project_text}/{record}"), sealed)?,
        };
        text(&opened)
    }

    /// Seals one version of a record that changes.
    pub(crate) async fn seal_record(
        &self,
        store: &dyn Store,
        project: ProjectId,
        (record, version): (&str, u64),
        plain: &str,
    ) -> Result<Vec<u8>, SealerError> {
        let project_text = project.to_string();
        let place = Place { project: &project_text, record, version };
        Ok(self.key(store, project).await?.seal(place, plain.as_bytes()))
    }

    /// Opens one version of a record that changes.
    pub(crate) async fn open_record(
        &self,
        store: &dyn Store,
        project: ProjectId,
        (record, version): (&str, u64),
        sealed: &[u8],
    ) -> Result<SecretText, SealerError> {
        let project_text = project.to_string();
        let place = Place { project: &project_text, record, version };
        text(&self.key(store, project).await?.open(place, sealed)?)
    }

    /// The key of a project, made when it is first needed.
    async fn key(&self, store: &dyn Store, project: ProjectId) -> Result<DataKey, SealerError> {
        if let Some(key) = self.lock().get(&project) {
            return Ok(key.clone());
        }
        let key = self.load(store, project, DataKey::generate).await?;
        self.lock().insert(project, key.clone());
        Ok(key)
    }

    async fn load(
        &self,
        store: &dyn Store,
        project: ProjectId,
        first: impl FnOnce() -> DataKey,
    ) -> Result<DataKey, SealerError> {
        let owner = project.to_string();
        if let Some(document) = store.document(project, DocumentKind::DataKey, KEY_ID, None).await? {
            return Ok(self.masters.unwrap(&owner, &wrapped(&document)?).await?);
        }
        let key = first();
        let document = document(project, &self.masters.wrap(&owner, &key).await?);
        match store.put(vec![document], None).await {
            Ok(()) => Ok(key),
            Err(error) if is_conflict(&error) => {
                let made = store.document(project, DocumentKind::DataKey, KEY_ID, None).await?;
                match made {
                    // Another node was first.
                    Some(document) => Ok(self.masters.unwrap(&owner, &wrapped(&document)?).await?),
                    None => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What the master keys are known by that ever wrapped the installation's own key, the newest first.
    pub(crate) async fn used(&self, store: &dyn Store) -> Result<Vec<String>, SealerError> {
        let home = ProjectId::installation();
        let Some(latest) = store.document(home, DocumentKind::DataKey, KEY_ID, None).await? else {
            return Ok(Vec::new());
        };
        let mut used = vec![wrapped(&latest)?.by];
        for version in (1..latest.version).rev() {
            if let Some(earlier) = store.document(home, DocumentKind::DataKey, KEY_ID, Some(version)).await? {
                used.push(wrapped(&earlier)?.by);
            }
        }
        used.dedup();
        Ok(used)
    }

    /// Wraps a project's key with the current master key, if another wraps it. Says whether it was changed.
    pub(crate) async fn rewrap(
        &self,
        store: &dyn Store,
        project: ProjectId,
        now: Timestamp,
    ) -> Result<bool, SealerError> {
        let (owner, current) = (project.to_string(), self.masters.current()?);
        let mut attempt = 1;
        loop {
            let found = store.document(project, DocumentKind::DataKey, KEY_ID, None).await?;
            let Some(found) = found else { return Ok(false) };
            let old = wrapped(&found)?;
            if old.by == current {
                return Ok(false);
            }
            let key = self.masters.unwrap(&owner, &old).await?;
            let body = json!({ "wrapped": self.masters.wrap(&owner, &key).await? });
            let next = Document { version: found.version + 1, body, updated_at: now, ..found };
            match store.put(vec![next], None).await {
                Ok(()) => return Ok(true),
                Err(error) if is_conflict(&error) && attempt < REWRAP_ATTEMPTS => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ProjectId, DataKey>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn text(bytes: &[u8]) -> Result<SecretText, SealerError> {
    let text = std::str::from_utf8(bytes).map_err(|_| SealerError::NotText)?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn wrapped(document: &Document) -> Result<Wrapped, SealerError> {
    let damaged = |source| SealerError::Damaged { project: document.project, source };
    Wrapped::deserialize(&document.body["wrapped"]).map_err(damaged)
}

fn document(project: ProjectId, wrapped: &Wrapped) -> Document {
    Document {
        project,
        kind: DocumentKind::DataKey,
        id: KEY_ID.to_owned(),
        version: 1,
        name: None,
        body: json!({ "wrapped": wrapped }),
        created_at: Timestamp::EPOCH,
        updated_at: Timestamp::EPOCH,
        wake_at: None,
        deleted: false,
    }
}

fn is_conflict(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Conflict { .. })
}

#[cfg(test)]
mod tests {
    use tenure_journal::Fresh;
    use tenure_store::MemoryStore;

    use super::*;

    async fn unlocked(store: &MemoryStore, masters: MasterKeys) -> Sealer {
        let mut sealer = Sealer::new(masters);
        sealer.unlock(store).await.expect("unlocked");
        sealer
    }

    #[tokio::test]
    async fn opens_only_what_it_sealed_for_the_same_place() {
        let fresh = Fresh::new(Timestamp::from_millis(1), 1);
        let (project, other) = (ProjectId::fresh(&fresh), ProjectId::fresh(&fresh));
        let id = SecretId::fresh(&fresh);
        let store = MemoryStore::default();
        let sealer = unlocked(&store, MasterKeys::ephemeral()).await;
        let sealed = sealer.seal(&store, project, id, "token-123").await.expect("sealed");
        assert!(!sealed.windows(5).any(|window| window == b"token"));
        assert_eq!(sealer.unseal(&store, project, id, &sealed).await.expect("opens").as_str(), "token-123");
        sealer.seal(&store, other, id, "x").await.expect("another project's key");
        assert!(sealer.unseal(&store, other, id, &sealed).await.is_err());
        let stranger = Sealer::new(MasterKeys::ephemeral());
        assert!(
            stranger.unseal(&store, project, id, &sealed).await.expect_err("another key").is_unknown_key()
        );
    }

    #[tokio::test]
    async fn ciphertexts_of_two_projects_that_were_swapped_are_refused() {
        let fresh = Fresh::new(Timestamp::from_millis(1), 1);
        let projects = [ProjectId::fresh(&fresh), ProjectId::fresh(&fresh)];
        let store = MemoryStore::default();
        let sealer = unlocked(&store, MasterKeys::ephemeral()).await;
        let mut sealed = Vec::new();
        for (project, text) in projects.into_iter().zip(["one", "two"]) {
            sealed.push(sealer.seal_record(&store, project, ("cred_1", 1), text).await.expect("sealed"));
        }
        for (index, project) in projects.into_iter().enumerate() {
            let own = sealer.open_record(&store, project, ("cred_1", 1), &sealed[index]).await;
            assert!(own.is_ok());
            let swapped = sealer.open_record(&store, project, ("cred_1", 1), &sealed[1 - index]).await;
            assert!(swapped.is_err(), "a record of another project opened");
            let rolled_back = sealer.open_record(&store, project, ("cred_1", 2), &sealed[index]).await;
            assert!(rolled_back.is_err(), "an earlier version took the place of a later one");
        }
    }

    #[tokio::test]
    async fn wrapped_keys_that_were_swapped_are_refused() {
        let fresh = Fresh::new(Timestamp::from_millis(1), 1);
        let [one, two] = [(); 2].map(|()| ProjectId::fresh(&fresh));
        let store = MemoryStore::default();
        let sealer = unlocked(&store, MasterKeys::ephemeral()).await;
        for project in [one, two] {
            sealer.seal(&store, project, SecretId::fresh(&fresh), "x").await.expect("sealed");
        }
        let key_of = |project| store.document(project, DocumentKind::DataKey, KEY_ID, None);
        let theirs = key_of(two).await.expect("read").expect("there");
        let ours = key_of(one).await.expect("read").expect("there");
        let swapped = Document { body: theirs.body, version: ours.version + 1, ..ours };
        store.put(vec![swapped], None).await.expect("written");
        sealer.lock().clear();
        let refused = sealer.seal(&store, one, SecretId::fresh(&fresh), "x").await.expect_err("swapped");
        assert!(matches!(refused, SealerError::Seal(_)) && !refused.is_unknown_key(), "{refused}");
    }

    #[tokio::test]
    async fn what_follows_from_the_installation_stays_when_the_master_key_changes() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = KeyFile::open(&directory.path().join("sealing.key")).expect("a file");
        let (store, now) = (MemoryStore::default(), Timestamp::from_millis(9));
        let fresh = Fresh::new(now, 1);
        let (project, id, old) = (ProjectId::fresh(&fresh), SecretId::fresh(&fresh), SecretId::fresh(&fresh));
        let first = unlocked(&store, MasterKeys::of_file(file.clone()).expect("keys")).await;
        let before = file.read().expect("keys");
        // As releases before data keys derived and sealed.
        let legacy = *blake3::keyed_hash(before[0].old_root().as_bytes(), b"x").as_bytes();
        assert_eq!(first.derived("x"), legacy);
        let sealed_before = before[0].seal_old(&format!("{project}/{old}"), b"old");
        let sealed = first.seal(&store, project, id, "token").await.expect("sealed");

        let mut keys = vec![tenure_seal::LocalKey::generate()];
        keys.extend(before);
        file.write(&keys).expect("written");
        assert!(first.rewrap(&store, project, now).await.expect("wrapped anew"));
        assert!(first.rewrap(&store, ProjectId::installation(), now).await.expect("wrapped anew"));
        assert!(!first.rewrap(&store, project, now).await.expect("wrapped already"));
        assert_eq!(first.unseal(&store, project, old, &sealed_before).await.expect("opens").as_str(), "old");

        file.write(&keys[..1]).expect("written");
        let next = unlocked(&store, MasterKeys::of_file(file).expect("keys")).await;
        assert_eq!(next.derived("x"), legacy);
        assert_eq!(next.unseal(&store, project, id, &sealed).await.expect("opens").as_str(), "token");
    }
}

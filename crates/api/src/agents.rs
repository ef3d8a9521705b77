//! Saved agents: documents with a version for every change.
//!
//! An agent keeps its id for life; a session that was started with version 3 keeps version 3. Project files
//! become saved agents by name through [`upsert`].

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use tenure_journal::{AgentConfig, AgentId, Pinned, ProjectId, Timestamp};
use tenure_store::{Document, DocumentKind, Order, Page, Receipt, Store, StoreError, StoreErrorKind};

/// Tries of a write that meets another.
const WRITE_ATTEMPTS: u32 = 4;

/// A saved agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Its document.
    pub document: Document,
    /// The document's content. `config.version` is absent there; it is the document's.
    pub pinned: Pinned,
}

/// Why a saved agent cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Durable state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored agent does not decode.
    #[error("a saved agent cannot be read")]
    Damaged(#[source] serde_json::Error),
    /// Several agents have the name.
    #[error("several agents are named `{name}`; use the id of one")]
    Ambiguous {
        /// The name.
        name: String,
    },
}

/// What [`upsert`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upserted {
    /// The agent's id.
    pub id: AgentId,
    /// Its version now.
    pub version: u64,
    /// Whether this call wrote that version.
    pub changed: bool,
}

impl Saved {
    /// Reads a document.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn from_document(document: Document) -> Result<Self, AgentError> {
        let pinned = Pinned::deserialize(&document.body).map_err(AgentError::Damaged)?;
        Ok(Self { document, pinned })
    }

    /// The configuration as a session records it, with its version.
    #[must_use]
    pub fn config(&self) -> AgentConfig {
        AgentConfig { version: Some(self.document.version), ..self.pinned.config.clone() }
    }
}

/// The agent with that id, if it was not deleted.
///
/// # Errors
/// `Store`, `Damaged`.
pub async fn by_id(
    store: &Arc<dyn Store>,
    project: ProjectId,
    id: AgentId,
) -> Result<Option<Saved>, AgentError> {
    let found = store.document(project, DocumentKind::Agent, &id.to_string(), None).await?;
    found.map(Saved::from_document).transpose()
}

/// The agent with that id or, if it is no id, that exact name.
///
/// # Errors
/// `Store`, `Damaged`, `Ambiguous`.
pub async fn find(
    store: &Arc<dyn Store>,
    project: ProjectId,
    id_or_name: &str,
) -> Result<Option<Saved>, AgentError> {
    if let Ok(id) = id_or_name.parse() {
        return by_id(store, project, id).await;
    }
    by_name(store, project, id_or_name).await
}

async fn by_name(
    store: &Arc<dyn Store>,
    project: ProjectId,
    name: &str,
) -> Result<Option<Saved>, AgentError> {
    let page = Page { after: None, limit: 2, order: Order::Ascending };
    let found = store.documents(project, DocumentKind::Agent, Some(name), &page).await?;
    match <[Document; 1]>::try_from(found) {
        Ok([document]) => Saved::from_document(document).map(Some),
        Err(found) if found.is_empty() => Ok(None),
        Err(_) => Err(AgentError::Ambiguous { name: name.to_owned() }),
    }
}

/// Writes the first version of an agent, whose id is `pinned.config.id`.
///
/// # Errors
/// `Store`, with `ReceiptExists` if the receipt's key is taken.
pub async fn create(
    store: &Arc<dyn Store>,
    project: ProjectId,
    now: Timestamp,
    pinned: Pinned,
    receipt: impl FnOnce(&Saved) -> Option<Receipt> + Send,
) -> Result<Saved, AgentError> {
    let document = Document {
        project,
        kind: DocumentKind::Agent,
        id: pinned.config.id.to_string(),
        version: 1,
        name: pinned.config.name.clone(),
        body: encode(&pinned),
        created_at: now,
        updated_at: now,
        wake_at: None,
        deleted: false,
    };
    let saved = Saved { document, pinned };
    store.put(vec![saved.document.clone()], receipt(&saved)).await?;
    Ok(saved)
}

/// Writes the next version of `saved`.
///
/// # Errors
/// `Store`: with `Conflict` if another version was written meanwhile, with `ReceiptExists` if the receipt's
/// key is taken.
pub async fn replace(
    store: &Arc<dyn Store>,
    now: Timestamp,
    saved: &Saved,
    pinned: Pinned,
    receipt: impl FnOnce(&Saved) -> Option<Receipt> + Send,
) -> Result<Saved, AgentError> {
    let document = Document {
        version: saved.document.version + 1,
        name: pinned.config.name.clone(),
        body: encode(&pinned),
        updated_at: now,
        ..saved.document.clone()
    };
    let saved = Saved { document, pinned };
    store.put(vec![saved.document.clone()], receipt(&saved)).await?;
    Ok(saved)
}

/// Deletes an agent; its versions stay readable and its sessions are unaffected.
/// False if there is none with that id.
///
/// # Errors
/// `Store`.
pub async fn delete(
    store: &Arc<dyn Store>,
    project: ProjectId,
    now: Timestamp,
    id: AgentId,
) -> Result<bool, AgentError> {
    let mut attempt = 1;
    loop {
        let found = store.document(project, DocumentKind::Agent, &id.to_string(), None).await?;
        let Some(old) = found else { return Ok(false) };
        let next = Document { version: old.version + 1, updated_at: now, deleted: true, ..old };
        match store.put(vec![next], None).await {
            Ok(()) => return Ok(true),
            Err(error) if is_conflict(&error) && attempt < WRITE_ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Makes the agent named `config.name` have this configuration: a new agent, a new version, or nothing when
/// it already has it. `config.id` is used for a new agent only.
///
/// # Errors
/// `Store`, `Damaged`, `Ambiguous`.
pub async fn upsert(
    store: &Arc<dyn Store>,
    project: ProjectId,
    now: Timestamp,
    config: AgentConfig,
    metadata: BTreeMap<String, String>,
) -> Result<Upserted, AgentError> {
    let name = config.name.clone().unwrap_or_default();
    let mut attempt = 1;
    loop {
        let mut pinned = Pinned { config: config.clone(), metadata: metadata.clone() };
        pinned.config.version = None;
        let written = match by_name(store, project, &name).await? {
            None => create(store, project, now, pinned, |_| None).await,
            Some(old) => {
                pinned.config.id = old.pinned.config.id;
                if pinned == old.pinned {
                    let version = old.document.version;
                    return Ok(Upserted { id: pinned.config.id, version, changed: false });
                }
                replace(store, now, &old, pinned, |_| None).await
            }
        };
        match written {
            Ok(saved) => {
                let version = saved.document.version;
                return Ok(Upserted { id: saved.pinned.config.id, version, changed: true });
            }
            Err(AgentError::Store(error)) if is_conflict(&error) && attempt < WRITE_ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

pub(crate) fn is_conflict(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Conflict { .. })
}

fn encode(pinned: &Pinned) -> serde_json::Value {
    serde_json::to_value(pinned).expect("an agent holds only string keys and finite numbers")
}

#[cfg(test)]
mod tests {
    use tenure_journal::Fresh;
    use tenure_store::MemoryStore;

    use super::*;
    use crate::read::default_agent;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    fn named(seed: u64, name: &str) -> AgentConfig {
        let mut config = default_agent(AgentId::fresh(&Fresh::new(NOW, seed)), "m".into());
        config.name = Some(name.into());
        config
    }

    #[tokio::test]
    async fn project_files_make_a_version_only_when_they_change() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let project = ProjectId::fresh(&Fresh::new(NOW, 1));
        let put = async |config: AgentConfig| {
            upsert(&store, project, NOW, config, BTreeMap::new()).await.expect("written")
        };
        let first = put(named(1, "a")).await;
        assert_eq!((first.version, first.changed), (1, true));
        let same = put(named(2, "a")).await;
        assert_eq!((same.id, same.version, same.changed), (first.id, 1, false));
        let mut config = named(3, "a");
        config.model = "other".into();
        let second = put(config).await;
        assert_eq!((second.id, second.version, second.changed), (first.id, 2, true));
        let found = find(&store, project, "a").await.expect("works").expect("there");
        assert_eq!(found.config().version, Some(2));
        assert_eq!(find(&store, project, &first.id.to_string()).await.expect("works"), Some(found));
    }

    #[tokio::test]
    async fn a_name_that_two_agents_have_is_ambiguous() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let project = ProjectId::fresh(&Fresh::new(NOW, 1));
        for seed in [1, 2] {
            let pinned = Pinned { config: named(seed, "a"), metadata: BTreeMap::new() };
            create(&store, project, NOW, pinned, |_| None).await.expect("written");
        }
        assert!(matches!(find(&store, project, "a").await, Err(AgentError::Ambiguous { .. })));
        assert!(find(&store, project, "b").await.expect("works").is_none());
    }

    #[tokio::test]
    async fn a_deleted_agent_is_gone_by_id_and_by_name() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let project = ProjectId::fresh(&Fresh::new(NOW, 1));
        let saved = upsert(&store, project, NOW, named(1, "a"), BTreeMap::new()).await.expect("written");
        assert!(delete(&store, project, NOW, saved.id).await.expect("works"));
        assert!(!delete(&store, project, NOW, saved.id).await.expect("works"));
        assert!(find(&store, project, "a").await.expect("works").is_none());
    }
}

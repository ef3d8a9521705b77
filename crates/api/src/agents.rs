//! Saved agents: documents with a version for every change.
//!
//! An agent keeps its id for life; a session that was started with version 3 keeps version 3. A version is
//! never changed and says who made it; going back to one makes a new one. Project files become saved agents
//! by name through [`upsert`].

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use tenure_journal::{AgentConfig, AgentId, Author, Pinned, ProjectId, Provenance, SessionId, Timestamp};
use tenure_store::{Document, DocumentKind, Order, Page, Receipt, Store, StoreError, StoreErrorKind};

use crate::split;

/// Nodes that may save the same new agent at once.
const NODES_AT_ONCE_MAX: usize = 64;
/// Tries of a write that meets another.
const WRITE_ATTEMPTS: u32 = 4;
/// A version that no agent ever reaches, and that every store can count to.
pub(crate) const VERSION_MAX: u64 = u32::MAX as u64;

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
    /// No such agent in the project.
    #[error("there is no agent with that id")]
    NotFound,
    /// The agent has no such version.
    #[error("the agent has no version {number}")]
    NoVersion {
        /// The version asked for.
        number: u64,
    },
    /// A rollback to what is the latest version anyway.
    #[error("version {number} is the latest version; there is nothing to go back from")]
    AlreadyLatest {
        /// The version asked for.
        number: u64,
    },
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

/// The agent as a new session runs it: the latest version, or the one that the agent's split gives to
/// `session`. The answer for one session is the same on every node and however often it is asked, as long
/// as the split is.
///
/// # Errors
/// `Store`, `Damaged`, `Ambiguous`, `NoVersion`.
pub async fn for_session(
    store: &Arc<dyn Store>,
    project: ProjectId,
    id_or_name: &str,
    session: SessionId,
) -> Result<Option<AgentConfig>, AgentError> {
    let Some(latest) = find(store, project, id_or_name).await? else { return Ok(None) };
    let id = latest.pinned.config.id;
    let Some(split) = split::read(store, project, id).await? else { return Ok(Some(latest.config())) };
    let number = split.choose(session);
    if number == latest.document.version {
        return Ok(Some(latest.config()));
    }
    let chosen = version(store, project, id, number).await?;
    Ok(Some(chosen.ok_or(AgentError::NoVersion { number })?.config()))
}

/// One version of an agent, deleted or not. A deletion is not a version.
///
/// # Errors
/// `Store`, `Damaged`.
pub async fn version(
    store: &Arc<dyn Store>,
    project: ProjectId,
    id: AgentId,
    number: u64,
) -> Result<Option<Saved>, AgentError> {
    if number > VERSION_MAX {
        return Ok(None);
    }
    let found = store.document(project, DocumentKind::Agent, &id.to_string(), Some(number)).await?;
    found.filter(|document| !document.deleted).map(Saved::from_document).transpose()
}

/// The number of an agent's last version, deleted or not; nothing if there never was such an agent.
///
/// # Errors
/// `Store`.
pub async fn last_version(
    store: &Arc<dyn Store>,
    project: ProjectId,
    id: AgentId,
) -> Result<Option<u64>, AgentError> {
    let id = id.to_string();
    let read = async |number| store.document(project, DocumentKind::Agent, &id, number).await;
    if let Some(latest) = read(None).await? {
        return Ok(Some(latest.version));
    }
    // A deleted document has no latest version. Its versions are contiguous, so the last of them, which is
    // the deletion, is found in a number of reads that is the logarithm of how many there are.
    let (mut there, mut gone) = (0, 1);
    while read(Some(gone)).await?.is_some() {
        (there, gone) = (gone, gone * 2);
    }
    while gone - there > 1 {
        let middle = there + (gone - there) / 2;
        if read(Some(middle)).await?.is_some() { there = middle } else { gone = middle }
    }
    Ok(there.checked_sub(1).filter(|last| *last > 0))
}

/// Writes documents with records of who changed them, for the audit log. Their digests are plain: whoever is shown a
/// version of an agent can tell that it is the recorded one.
pub(crate) async fn put(
    store: &Arc<dyn Store>,
    by: &str,
    now: Timestamp,
    documents: Vec<Document>,
    receipt: Option<Receipt>,
) -> Result<(), StoreError> {
    let records = tenure_runtime::audit_changes(by, now, &documents, |_| None);
    store.put_recorded(documents, receipt, records).await
}

/// Writes the first version of an agent, whose id is `pinned.config.id`.
///
/// # Errors
/// `Store`, with `ReceiptExists` if the receipt's key is taken.
pub async fn create(
    store: &Arc<dyn Store>,
    project: ProjectId,
    now: Timestamp,
    author: Author,
    mut pinned: Pinned,
    receipt: impl FnOnce(&Saved) -> Option<Receipt> + Send,
) -> Result<Saved, AgentError> {
    let by = author.principal();
    pinned.provenance = provenance(author, 1, None);
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
    put(store, &by, now, vec![saved.document.clone()], receipt(&saved)).await?;
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
    author: Author,
    saved: &Saved,
    mut pinned: Pinned,
    receipt: impl FnOnce(&Saved) -> Option<Receipt> + Send,
) -> Result<Saved, AgentError> {
    let by = author.principal();
    pinned.provenance = provenance(author, saved.document.version + 1, Some(saved));
    let saved = next(now, saved, pinned);
    put(store, &by, now, vec![saved.document.clone()], receipt(&saved)).await?;
    Ok(saved)
}

/// Writes a new version equal to version `number`, and ends the agent's split with it: who goes back wants
/// every new session to.
///
/// # Errors
/// `NotFound`, `NoVersion`, `AlreadyLatest`, `Damaged`; `Store`, with `ReceiptExists` if the receipt's key is
/// taken.
pub async fn rollback(
    store: &Arc<dyn Store>,
    project: ProjectId,
    now: Timestamp,
    author: Author,
    (id, number): (AgentId, u64),
    receipt: impl Fn(&Saved) -> Option<Receipt> + Send,
) -> Result<Saved, AgentError> {
    let mut attempt = 1;
    loop {
        let latest = by_id(store, project, id).await?.ok_or(AgentError::NotFound)?;
        if latest.document.version == number {
            return Err(AgentError::AlreadyLatest { number });
        }
        let old = version(store, project, id, number).await?.ok_or(AgentError::NoVersion { number })?;
        let mut pinned = old.pinned;
        pinned.provenance = provenance(author.clone(), latest.document.version + 1, Some(&latest));
        pinned.provenance.restores = Some(number);
        let saved = next(now, &latest, pinned);
        let mut documents = vec![saved.document.clone()];
        documents.extend(split::ended(store, project, now, author.clone(), id).await?);
        match put(store, &author.principal(), now, documents, receipt(&saved)).await {
            Ok(()) => return Ok(saved),
            Err(error) if is_conflict(&error) && attempt < WRITE_ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Deletes an agent; its versions stay readable and its sessions are unaffected.
/// False if there is none with that id.
///
/// # Errors
/// `Store`, `Damaged`.
pub async fn delete(
    store: &Arc<dyn Store>,
    project: ProjectId,
    now: Timestamp,
    author: Author,
    id: AgentId,
) -> Result<bool, AgentError> {
    let mut attempt = 1;
    loop {
        let Some(latest) = by_id(store, project, id).await? else { return Ok(false) };
        let mut pinned = latest.pinned.clone();
        pinned.provenance = provenance(author.clone(), latest.document.version + 1, Some(&latest));
        let deletion = Document { deleted: true, ..next(now, &latest, pinned).document };
        match put(store, &author.principal(), now, vec![deletion], None).await {
            Ok(()) => return Ok(true),
            Err(error) if is_conflict(&error) && attempt < WRITE_ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Makes the agent named `config.name` have this configuration, which the project files give it: a new
/// agent, a new version, or nothing when the files say what they said the last time they made a version.
/// What a client changed since, a rollback for instance, stays until the files change. `config.id` is used
/// for a new agent only.
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
        let mut pinned =
            Pinned { config: config.clone(), metadata: metadata.clone(), provenance: Provenance::default() };
        pinned.config.version = None;
        let written = match by_name(store, project, &name).await? {
            None => create_alone(store, project, now, pinned).await,
            Some(old) => {
                pinned.config.id = old.pinned.config.id;
                if is_same(&pinned, &old.pinned) || said_before(store, project, &old, &pinned).await? {
                    let version = old.document.version;
                    return Ok(Upserted { id: pinned.config.id, version, changed: false });
                }
                replace(store, now, Author::ProjectFiles, &old, pinned, |_| None).await
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

/// Whether the project files said exactly this when they last made a version.
async fn said_before(
    store: &Arc<dyn Store>,
    project: ProjectId,
    latest: &Saved,
    pinned: &Pinned,
) -> Result<bool, AgentError> {
    let Some(number) = latest.pinned.provenance.files else { return Ok(false) };
    let said = version(store, project, latest.pinned.config.id, number).await?;
    Ok(said.is_some_and(|said| is_same(&said.pinned, pinned)))
}

/// Whether two versions are equal in everything but how they came to be.
fn is_same(one: &Pinned, other: &Pinned) -> bool {
    one.config == other.config && one.metadata == other.metadata
}

fn provenance(author: Author, number: u64, latest: Option<&Saved>) -> Provenance {
    let files = match author {
        Author::ProjectFiles => Some(number),
        Author::Key { .. } | Author::Person { .. } => {
            latest.and_then(|latest| latest.pinned.provenance.files)
        }
    };
    Provenance { author: Some(author), restores: None, files }
}

fn next(now: Timestamp, latest: &Saved, pinned: Pinned) -> Saved {
    let document = Document {
        version: latest.document.version + 1,
        name: pinned.config.name.clone(),
        body: encode(&pinned),
        updated_at: now,
        ..latest.document.clone()
    };
    Saved { document, pinned }
}

/// Creates an agent whose name nobody had a moment ago. Should another node do the same at the same time, the
/// one with the smaller id stays, whoever notices.
async fn create_alone(
    store: &Arc<dyn Store>,
    project: ProjectId,
    now: Timestamp,
    pinned: Pinned,
) -> Result<Saved, AgentError> {
    let name = pinned.config.name.clone().unwrap_or_default();
    let created = create(store, project, now, Author::ProjectFiles, pinned, |_| None).await?;
    let page = Page { after: None, limit: NODES_AT_ONCE_MAX, order: Order::Ascending };
    let mut twins = store.documents(project, DocumentKind::Agent, Some(&name), &page).await?.into_iter();
    let Some(first) = twins.next() else { return Ok(created) };
    for twin in twins {
        if let Ok(id) = twin.id.parse() {
            delete(store, project, now, Author::ProjectFiles, id).await?;
        }
    }
    Saved::from_document(first)
}

pub(crate) fn is_conflict(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Conflict { .. })
}

fn encode(pinned: &Pinned) -> serde_json::Value {
    serde_json::to_value(pinned).expect("an agent holds only string keys and finite numbers")
}

#[cfg(test)]
mod tests {
    use tenure_journal::{Fresh, KeyId};
    use tenure_store::MemoryStore;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    fn named(seed: u64, name: &str) -> AgentConfig {
        let mut config = AgentConfig::new(AgentId::fresh(&Fresh::new(NOW, seed)), "m");
        config.name = Some(name.into());
        config
    }

    fn plain(config: AgentConfig) -> Pinned {
        Pinned { config, metadata: BTreeMap::new(), provenance: Provenance::default() }
    }

    fn key() -> Author {
        Author::Key { id: KeyId::fresh(&Fresh::new(NOW, 99)), name: "ops".into() }
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
            let pinned = plain(named(seed, "a"));
            create(&store, project, NOW, Author::ProjectFiles, pinned, |_| None).await.expect("written");
        }
        assert!(matches!(find(&store, project, "a").await, Err(AgentError::Ambiguous { .. })));
        assert!(find(&store, project, "b").await.expect("works").is_none());
    }

    #[tokio::test]
    async fn a_deleted_agent_is_gone_by_id_and_by_name() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let project = ProjectId::fresh(&Fresh::new(NOW, 1));
        let saved = upsert(&store, project, NOW, named(1, "a"), BTreeMap::new()).await.expect("written");
        assert!(delete(&store, project, NOW, key(), saved.id).await.expect("works"));
        assert!(!delete(&store, project, NOW, key(), saved.id).await.expect("works"));
        assert!(find(&store, project, "a").await.expect("works").is_none());
    }

    #[tokio::test]
    async fn a_rollback_outlives_project_files_that_did_not_change() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let project = ProjectId::fresh(&Fresh::new(NOW, 1));
        let put = async |model: &str| {
            let mut config = named(1, "a");
            config.model = model.into();
            upsert(&store, project, NOW, config, BTreeMap::new()).await.expect("written")
        };
        let id = put("first").await.id;
        assert_eq!(put("second").await.version, 2);
        let back = rollback(&store, project, NOW, key(), (id, 1), |_| None).await.expect("written");
        assert_eq!((back.document.version, back.pinned.config.model.as_str()), (3, "first"));
        let Provenance { author, restores, files } = back.pinned.provenance;
        assert_eq!((author, restores, files), (Some(key()), Some(1), Some(2)));
        assert!(!put("second").await.changed, "the files say what they said before");
        assert_eq!(put("third").await.version, 4);
        let missing = rollback(&store, project, NOW, key(), (id, 9), |_| None).await;
        assert!(matches!(missing, Err(AgentError::NoVersion { number: 9 })));
        let useless = rollback(&store, project, NOW, key(), (id, 4), |_| None).await;
        assert!(matches!(useless, Err(AgentError::AlreadyLatest { number: 4 })));
    }

    #[tokio::test]
    async fn the_versions_of_a_deleted_agent_are_found() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let project = ProjectId::fresh(&Fresh::new(NOW, 1));
        for versions in [1, 2, 3, 7, 8, 9] {
            let mut config = named(versions, &format!("agent {versions}"));
            let saved = create(&store, project, NOW, key(), plain(config.clone()), |_| None).await;
            let mut saved = saved.expect("written");
            let id = config.id;
            for number in 2..=versions {
                config.model = format!("m{number}");
                let next = replace(&store, NOW, key(), &saved, plain(config.clone()), |_| None).await;
                saved = next.expect("written");
            }
            assert_eq!(last_version(&store, project, id).await.expect("works"), Some(versions));
            assert!(delete(&store, project, NOW, key(), id).await.expect("works"));
            assert_eq!(last_version(&store, project, id).await.expect("works"), Some(versions));
            let last = version(&store, project, id, versions).await.expect("works").expect("there");
            assert_eq!(last.pinned.config.model, config.model);
            assert!(version(&store, project, id, versions + 1).await.expect("works").is_none());
        }
        let never = AgentId::fresh(&Fresh::new(NOW, 77));
        assert_eq!(last_version(&store, project, never).await.expect("works"), None);
    }

    #[test]
    fn versions_of_before_authors_decode() {
        let pinned = plain(named(1, "a"));
        let body = encode(&pinned);
        assert_eq!(body.as_object().map(serde_json::Map::len), Some(2), "nothing unknown is written");
        assert_eq!(Pinned::deserialize(&body).expect("decodes"), pinned);
    }
}

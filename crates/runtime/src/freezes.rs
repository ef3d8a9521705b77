//! Freezes: what somebody said must not begin for now, and when every node knows of it.
//!
//! A freeze is a document. The machine is told of those of a project as a value
//! ([`Frozen`](tenure_session::Frozen)) with each decision, and once more when an attempt is about to begin: what
//! was decided a moment before goes back and waits. What is under way when a freeze is acknowledged goes on.
//!
//! ```text
//!   freeze ──▶ document, durable ──▶ a second, where nodes share the store ──▶ acknowledged
//!                                    (each believes what it read for no longer)
//! ```

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tenure_journal::{AgentId, ProjectId, Timestamp};
use tenure_session::Frozen;
use tenure_store::{AuditEntry, Document, DocumentKind, Order, Page, Store, StoreError, StoreErrorKind};
use tokio::sync::watch;

use crate::Runtime;

/// How long what was read of a project is believed. Where others share the store, a freeze is acknowledged after it.
const CACHED_FOR: Duration = Duration::from_secs(1);
/// Projects that are remembered; more are looked up each time.
const CACHED_MAX: usize = 4_096;
/// Freezes of one project.
const FREEZES_MAX: usize = 1_000;
/// Tries of a write that meets another.
const WRITE_ATTEMPTS: u32 = 4;

/// What is frozen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum FreezeTarget {
    /// Everything in the project.
    Project,
    /// A saved agent, in all its sessions.
    Agent {
        /// The agent.
        id: AgentId,
    },
    /// A tool, `server/name`, or all tools of a server, `server`.
    Tool {
        /// Its name.
        name: String,
    },
}

/// The id of a freeze: it follows from what is frozen, so that freezing it twice is freezing it once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FreezeId(String);

/// What the id of a freeze begins with.
const ID_PREFIX: &str = "freeze_";
/// Hexadecimal digits of it.
const ID_DIGITS: usize = 32;

impl FreezeId {
    /// The id of the freeze of a target.
    #[must_use]
    pub fn of(target: &FreezeTarget) -> Self {
        let target = match target {
            FreezeTarget::Project => "project".to_owned(),
            FreezeTarget::Agent { id } => format!("agent:{id}"),
            FreezeTarget::Tool { name } => format!("tool:{name}"),
        };
        Self(format!("{ID_PREFIX}{}", &blake3::hash(target.as_bytes()).to_hex()[..ID_DIGITS]))
    }
}

impl fmt::Display for FreezeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no id of a freeze.
#[derive(Debug, thiserror::Error)]
#[error("not the id of a freeze")]
pub struct NotAFreeze;

impl FromStr for FreezeId {
    type Err = NotAFreeze;

    fn from_str(text: &str) -> Result<Self, NotAFreeze> {
        let digits = text.strip_prefix(ID_PREFIX).ok_or(NotAFreeze)?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let fits = digits.len() == ID_DIGITS && digits.bytes().all(is_digit);
        fits.then(|| Self(text.to_owned())).ok_or(NotAFreeze)
    }
}

/// A freeze.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    /// Its id.
    pub id: FreezeId,
    /// What is frozen.
    pub target: FreezeTarget,
    /// Why, in the words of who did it.
    pub reason: Option<String>,
    /// Who did it: the id of a key, or a person.
    pub by: String,
    /// Since when.
    pub at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    target: FreezeTarget,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    by: String,
    at: Timestamp,
}

impl Freeze {
    fn from_document(document: &Document) -> Result<Self, StoreError> {
        let damaged = || StoreError::new(StoreErrorKind::Corrupt, "reading a freeze");
        let id = document.id.parse().map_err(|error: NotAFreeze| damaged().with_source(error))?;
        let Body { target, reason, by, at } =
            Body::deserialize(&document.body).map_err(|error| damaged().with_source(error))?;
        Ok(Self { id, target, reason, by, at })
    }
}

/// Why something was not frozen.
#[derive(Debug, thiserror::Error)]
pub enum FreezeError {
    /// Durable state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The project has as many freezes as it may.
    #[error("a project has at most {FREEZES_MAX} freezes")]
    TooMany,
}

/// Freezing and what follows, as the API does it.
impl Runtime {
    /// Freezes a target. When this returns, no node begins anything of it any more: what waits goes on after
    /// [`Runtime::unfreeze`]. What is frozen already stays as it was frozen first. `audit` is written with it.
    ///
    /// # Errors
    /// `TooMany`, `Store`.
    pub async fn freeze(
        &self,
        project: ProjectId,
        target: FreezeTarget,
        reason: Option<String>,
        by: String,
        audit: Vec<AuditEntry>,
    ) -> Result<Freeze, FreezeError> {
        let (store, freezes) = (self.store(), &self.shared().freezes);
        let (id, at) = (FreezeId::of(&target), self.now());
        let mut attempt = 1;
        loop {
            if let Some(found) = store.document(project, DocumentKind::Freeze, &id.to_string(), None).await? {
                // Another node may have written it a moment ago.
                freezes.forget(store.as_ref(), project).await;
                return Ok(Freeze::from_document(&found)?);
            }
            if all(store.as_ref(), project).await?.len() >= FREEZES_MAX {
                return Err(FreezeError::TooMany);
            }
            let version = self.last_version(project, &id).await? + 1;
            let body = Body { target: target.clone(), reason: reason.clone(), by: by.clone(), at };
            let document = document(project, &id, version, serde_json::to_value(body).ok(), at);
            match store.put_recorded(vec![document], None, audit.clone()).await {
                Ok(()) => {
                    self.records_wait();
                    freezes.forget(store.as_ref(), project).await;
                    return Ok(Freeze { id, target, reason, by, at });
                }
                Err(error) if is_conflict(&error) && attempt < WRITE_ATTEMPTS => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Ends a freeze. What waited goes on within a second, wherever it waits. False if there is none.
    ///
    /// # Errors
    /// `Store`.
    pub async fn unfreeze(
        &self,
        project: ProjectId,
        id: &FreezeId,
        audit: Vec<AuditEntry>,
    ) -> Result<bool, StoreError> {
        let (store, freezes) = (self.store(), &self.shared().freezes);
        let mut attempt = 1;
        loop {
            let found = store.document(project, DocumentKind::Freeze, &id.to_string(), None).await?;
            let Some(found) = found else { return Ok(false) };
            let gone =
                Document { deleted: true, ..document(project, id, found.version + 1, None, self.now()) };
            match store.put_recorded(vec![gone], None, audit.clone()).await {
                Ok(()) => {
                    self.records_wait();
                    freezes.changed(project);
                    return Ok(true);
                }
                Err(error) if is_conflict(&error) && attempt < WRITE_ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// What is frozen in a project, and why.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    pub async fn frozen(&self, project: ProjectId) -> Result<Vec<Freeze>, StoreError> {
        all(self.store().as_ref(), project).await
    }

    /// Whether the whole project is frozen: what begins something new is refused then.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    pub async fn is_project_frozen(&self, project: ProjectId) -> Result<bool, StoreError> {
        let frozen = self.shared().freezes.of(self.store().as_ref(), project).await?;
        Ok(frozen.project)
    }

    /// Whether an agent is frozen, by itself or with its project.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    pub async fn is_agent_frozen(&self, project: ProjectId, agent: AgentId) -> Result<bool, StoreError> {
        let frozen = self.shared().freezes.of(self.store().as_ref(), project).await?;
        Ok(frozen.stops(agent))
    }

    async fn last_version(&self, project: ProjectId, id: &FreezeId) -> Result<u64, StoreError> {
        let (mut version, id) = (0, id.to_string());
        // A target is frozen and unfrozen a few times in its life.
        while self.store().document(project, DocumentKind::Freeze, &id, Some(version + 1)).await?.is_some() {
            version += 1;
        }
        Ok(version)
    }
}

async fn all(store: &dyn Store, project: ProjectId) -> Result<Vec<Freeze>, StoreError> {
    let page = Page { after: None, limit: FREEZES_MAX, order: Order::Ascending };
    let documents = store.documents(project, DocumentKind::Freeze, None, &page).await?;
    documents.iter().map(Freeze::from_document).collect()
}

fn document(
    project: ProjectId,
    id: &FreezeId,
    version: u64,
    body: Option<serde_json::Value>,
    at: Timestamp,
) -> Document {
    Document {
        project,
        kind: DocumentKind::Freeze,
        id: id.to_string(),
        version,
        name: None,
        body: body.unwrap_or_default(),
        created_at: at,
        updated_at: at,
        wake_at: None,
        deleted: false,
    }
}

fn is_conflict(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Conflict { .. })
}

/// What this node believes is frozen: an answer that is at most a second old.
#[derive(Debug)]
pub(crate) struct Freezes {
    remembered: Mutex<Remembered>,
    /// Counts what changed here, for those who wait.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Remembered {
    projects: HashMap<ProjectId, (Instant, Arc<Frozen>)>,
    /// How many changes were made here: what was read before one is not remembered after it.
    changes: u64,
}

impl Default for Freezes {
    fn default() -> Self {
        Self { remembered: Mutex::default(), changes: watch::Sender::new(0) }
    }
}

impl Freezes {
    /// What is frozen in a project.
    pub(crate) async fn of(&self, store: &dyn Store, project: ProjectId) -> Result<Arc<Frozen>, StoreError> {
        let (known, changes) = {
            let remembered = self.lock();
            let known = remembered.projects.get(&project).filter(|(at, _)| at.elapsed() < CACHED_FOR);
            (known.map(|(_, frozen)| Arc::clone(frozen)), remembered.changes)
        };
        if let Some(known) = known {
            return Ok(known);
        }
        // The clock first: what is read is at least as fresh as it says.
        let at = Instant::now();
        let mut frozen = Frozen::default();
        for freeze in all(store, project).await? {
            match freeze.target {
                FreezeTarget::Project => frozen.project = true,
                FreezeTarget::Agent { id } => drop(frozen.agents.insert(id)),
                FreezeTarget::Tool { name } => drop(frozen.tools.insert(name)),
            }
        }
        let frozen = Arc::new(frozen);
        let mut remembered = self.lock();
        if remembered.changes == changes {
            if remembered.projects.len() >= CACHED_MAX {
                remembered.projects.clear();
            }
            remembered.projects.insert(project, (at, Arc::clone(&frozen)));
        }
        Ok(frozen)
    }

    /// Forgets what was believed of a project and tells who waits here.
    fn changed(&self, project: ProjectId) {
        {
            let mut remembered = self.lock();
            remembered.changes += 1;
            remembered.projects.remove(&project);
        }
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// As [`Freezes::changed`]; returns once no other node believes it either.
    async fn forget(&self, store: &dyn Store, project: ProjectId) {
        self.changed(project);
        if store.is_shared() {
            tokio::time::sleep(CACHED_FOR).await;
        }
    }

    /// Who waits for what a freeze may have ended. Cancelling it loses nothing.
    pub(crate) async fn may_have_ended(&self) {
        let mut changes = self.changes.subscribe();
        // Other nodes are not heard; what they changed is read again by then.
        let _ = tokio::time::timeout(CACHED_FOR, changes.changed()).await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Remembered> {
        // A map is whole between its methods, so one poisoned by a panic elsewhere is usable.
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

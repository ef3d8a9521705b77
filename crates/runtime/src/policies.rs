//! Policies that were published while the server runs: how they are kept, and when every node decides by them.
//!
//! What a project's policies are is the sum of two parts: the server's files, the same for all its projects, and
//! what was last published in the project, a document whose versions are its history. A node reads that document
//! at most once a second for each project, so a publication is acknowledged a second after it is durable where
//! nodes share the store, and at once where they do not.
//!
//! ```text
//!   publish ──▶ the set by its digest ──▶ document and record, one transaction ──▶ a second ──▶ acknowledged
//!                (harmless if we die)      (from here on every node that looks compiles it)
//! ```
//!
//! INVARIANT: a set is stored under its digest before anything is decided with it, so a digest in a journal can
//! be decided with again. Parts that do not fit together, because the files are others now or the release is,
//! deny everything until they do: deciding by one part alone is what nobody said.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tenure_journal::{PolicySource, PolicyText, ProjectId, ProofRecord, Timestamp};
use tenure_policy::{Finding, PolicyError, PolicySet};
use tenure_store::{AuditEntry, Document, DocumentKind, Receipt, Store, StoreError, StoreErrorKind};

use crate::Runtime;

/// How long what was read of a project is believed where others share the store. A publication is acknowledged
/// after it.
const CACHED_FOR: Duration = Duration::from_secs(1);
/// Projects whose policies are kept compiled; more are compiled each time they are looked up.
const COMPILED_MAX: usize = 1_024;
/// Files of one publication.
pub const POLICY_FILES_MAX: usize = 1_000;
/// Bytes of all of them together: several thousand policies.
pub const POLICY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// The id of the one document of a project that says what is published.
const ID: &str = "published";

/// What was published in a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Counts publications, from 1; 0 before the first.
    pub version: u64,
    /// The policies; none where the files alone hold.
    pub sources: Vec<PolicySource>,
    /// The digest of the whole set at the node that published it.
    pub digest: Option<String>,
    /// Why, in the words of who did it.
    pub note: Option<String>,
    /// Who did it: the id of a key, a person, or `project_files` for who starts the server.
    pub by: Option<String>,
    /// The version whose policies these are again.
    pub restores: Option<u64>,
    /// What was proven of the whole set then, where the node could prove something.
    pub proof: Option<ProofRecord>,
    /// When.
    pub at: Option<Timestamp>,
}

impl Published {
    const NOTHING: Self = Self {
        version: 0,
        sources: Vec::new(),
        digest: None,
        note: None,
        by: None,
        restores: None,
        proof: None,
        at: None,
    };

    fn of(document: &Document) -> Result<Self, StoreError> {
        let Body { sources, digest, note, by, restores, proof } =
            Body::deserialize(&document.body).map_err(|error| {
                StoreError::new(StoreErrorKind::Corrupt, "reading policies").with_source(error)
            })?;
        Ok(Self {
            version: document.version,
            sources,
            digest: Some(digest),
            note,
            by: Some(by),
            restores,
            proof,
            at: Some(document.updated_at),
        })
    }
}

/// What is published, as it is stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    sources: Vec<PolicySource>,
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restores: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof: Option<ProofRecord>,
}

/// Policies that fit the server's files, not published yet.
#[derive(Debug)]
pub struct Candidate {
    /// What would decide.
    pub set: Arc<PolicySet>,
    /// What their authors should know.
    pub findings: Vec<Finding>,
    sources: Vec<PolicySource>,
}

/// A publication beside its policies.
#[derive(Debug, Clone, Default)]
pub struct Publication {
    /// The version that is in force; another means that somebody was faster.
    pub after: u64,
    /// Why.
    pub note: Option<String>,
    /// Who.
    pub by: String,
    /// The version whose policies these are.
    pub restores: Option<u64>,
    /// What was proven of the whole set.
    pub proof: Option<ProofRecord>,
}

impl Runtime {
    /// The policies that decide in a project now. Whoever decides and acts uses one answer for both.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    pub async fn policies(&self, project: ProjectId) -> Result<Arc<PolicySet>, StoreError> {
        self.shared().policies.of(&**self.store(), project).await
    }

    /// The policies of the server's files, which hold in every project.
    #[must_use]
    pub fn file_policies(&self) -> &Arc<PolicySet> {
        &self.shared().policies.base
    }

    /// What is published in a project: now, or as of a version. `None` if there is no such version.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    pub async fn published(
        &self,
        project: ProjectId,
        version: Option<u64>,
    ) -> Result<Option<Published>, StoreError> {
        if version == Some(0) {
            return Ok(Some(Published::NOTHING));
        }
        let found = self.store().document(project, DocumentKind::Policies, ID, version).await?;
        match (found, version) {
            (Some(document), _) => Published::of(&document).map(Some),
            (None, None) => Ok(Some(Published::NOTHING)),
            (None, Some(_)) => Ok(None),
        }
    }

    /// Reads policies as publishing them would, and changes nothing.
    ///
    /// # Errors
    /// Why they cannot be published.
    pub async fn try_policies(&self, sources: Vec<PolicySource>) -> Result<Candidate, PolicyError> {
        let base = Arc::clone(&self.shared().policies.base);
        compute(move || {
            let set = base.and(&sources)?.counting_with(&base);
            let findings = set.findings()?;
            Ok(Candidate { set: Arc::new(set), findings, sources })
        })
        .await
    }

    /// Publishes policies in place of what was published before. When this returns, no node decides by the
    /// earlier ones any more; what they allowed and had begun goes on. `receipt` and `audit` are written with it.
    ///
    /// # Errors
    /// `Conflict`: another version was published first. `ReceiptExists`, `Unavailable`: after the last, look.
    pub async fn publish_policies(
        &self,
        project: ProjectId,
        candidate: &Candidate,
        publication: Publication,
        receipt: Option<Receipt>,
        audit: Vec<AuditEntry>,
    ) -> Result<Published, StoreError> {
        let (store, policies, at) = (&**self.store(), &self.shared().policies, self.now());
        let Publication { after, note, by, restores, proof } = publication;
        keep(store, project, &candidate.set, at).await?;
        let body = Body {
            sources: candidate.sources.clone(),
            digest: candidate.set.digest().to_owned(),
            note,
            by,
            restores,
            proof,
        };
        let body = serde_json::to_value(body).expect("texts and numbers");
        let document = document(project, DocumentKind::Policies, ID.to_owned(), after + 1, body, at);
        store.put_recorded(vec![document.clone()], receipt, audit).await?;
        self.records_wait();
        policies.changed(project);
        if store.is_shared() {
            tokio::time::sleep(CACHED_FOR).await;
        }
        Published::of(&document)
    }

    /// What the set with this digest was made from; `None` if nothing was ever decided with it in the project.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    pub async fn policy_text(
        &self,
        project: ProjectId,
        digest: &str,
    ) -> Result<Option<PolicyText>, StoreError> {
        let found = self.store().document(project, DocumentKind::PolicySet, digest, None).await?;
        found
            .map(|document| {
                PolicyText::deserialize(&document.body).map_err(|error| {
                    StoreError::new(StoreErrorKind::Corrupt, "reading a policy set").with_source(error)
                })
            })
            .transpose()
    }
}

/// Keeps a set under its digest. Keeping it again is keeping the same.
async fn keep(
    store: &dyn Store,
    project: ProjectId,
    set: &PolicySet,
    at: Timestamp,
) -> Result<(), StoreError> {
    let id = set.digest().to_owned();
    if store.document(project, DocumentKind::PolicySet, &id, None).await?.is_some() {
        return Ok(());
    }
    let body = serde_json::to_value(set.text()).expect("texts");
    store.note(document(project, DocumentKind::PolicySet, id, 1, body, at)).await
}

fn document(
    project: ProjectId,
    kind: DocumentKind,
    id: String,
    version: u64,
    body: serde_json::Value,
    at: Timestamp,
) -> Document {
    Document {
        project,
        kind,
        id,
        version,
        name: None,
        body,
        created_at: at,
        updated_at: at,
        wake_at: None,
        deleted: false,
    }
}

/// Compiles beside the tasks that wait for nothing but bytes: a large set takes a second.
async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The policies of all projects, as this node believes them: an answer that is at most a second old.
#[derive(Debug)]
pub(crate) struct Policies {
    /// Those of the server's files.
    pub(crate) base: Arc<PolicySet>,
    remembered: Mutex<Remembered>,
    /// Held by who compiles: others wait for the same set.
    compiling: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Remembered {
    projects: HashMap<ProjectId, Known>,
    /// How many publications were made here: what was read before one is not believed after it.
    changes: u64,
}

/// What is known of one project.
#[derive(Debug, Clone)]
struct Known {
    /// When it was read.
    at: Instant,
    version: u64,
    set: Arc<PolicySet>,
}

impl Policies {
    pub(crate) fn new(base: Arc<PolicySet>) -> Self {
        Self { base, remembered: Mutex::default(), compiling: tokio::sync::Mutex::default() }
    }

    /// The policies that decide in a project.
    pub(crate) async fn of(
        &self,
        store: &dyn Store,
        project: ProjectId,
    ) -> Result<Arc<PolicySet>, StoreError> {
        let is_fresh = |known: &Known| !store.is_shared() || known.at.elapsed() < CACHED_FOR;
        if let Some(known) = self.known(project).filter(is_fresh) {
            return Ok(known.set);
        }
        // One looks for all that wait: most often nothing was published, and the document is the same.
        let _compiling = self.compiling.lock().await;
        let known = self.known(project);
        if let Some(known) = known.clone().filter(is_fresh) {
            return Ok(known.set);
        }
        let changes = self.lock().changes;
        // The clock first: what is read is at least as fresh as it says.
        let at = Instant::now();
        let found = store.document(project, DocumentKind::Policies, ID, None).await?;
        let published = found.as_ref().map_or(Ok(Published::NOTHING), Published::of)?;
        let version = published.version;
        let set = match known.filter(|known| known.version == version) {
            Some(known) => known.set,
            None => {
                let set = self.compile(project, published.sources).await;
                keep(store, project, &set, found.map_or(Timestamp::from_millis(0), |it| it.updated_at))
                    .await?;
                set
            }
        };
        let mut remembered = self.lock();
        if remembered.changes == changes {
            if remembered.projects.len() >= COMPILED_MAX {
                remembered.projects.clear();
            }
            remembered.projects.insert(project, Known { at, version, set: Arc::clone(&set) });
        }
        Ok(set)
    }

    async fn compile(&self, project: ProjectId, sources: Vec<PolicySource>) -> Arc<PolicySet> {
        if sources.is_empty() {
            return Arc::clone(&self.base);
        }
        let base = Arc::clone(&self.base);
        compute(move || {
            let set = base.and(&sources).unwrap_or_else(|error| {
                tracing::error!(%project, %error, "the published policies and the server's files do not fit together; everything is denied until they do");
                base.closed_for(&sources, &error)
            });
            Arc::new(set.counting_with(&base))
        })
        .await
    }

    /// Forgets what was believed of a project.
    fn changed(&self, project: ProjectId) {
        let mut remembered = self.lock();
        remembered.changes += 1;
        remembered.projects.remove(&project);
    }

    fn known(&self, project: ProjectId) -> Option<Known> {
        self.lock().projects.get(&project).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Remembered> {
        // A map is whole between its methods, so one poisoned by a panic elsewhere is usable.
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

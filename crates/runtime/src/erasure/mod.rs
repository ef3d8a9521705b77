//! Erasing: everything that is kept of a person, or of a session, goes, and a signed receipt says so.
//!
//! An erasure is a document that says what is left to do, so it survives the process: whichever node finds it due
//! goes on with it, and every step can be done again. What is to go is a list of places, each a small function; see
//! [`places`].
//!
//! ```text
//!   asked ──▶ Sessions ──▶ Payloads ──▶ Scrub ──▶ Receipt ──▶ Done
//!             stop, count,   what nobody  no page     look for what is left,
//!             remove rows    refers to    holds it    sign, forget whom it was about
//! ```
//!
//! Rows go before payloads: what a journal refers to is never removed, so the journal is removed first, and the
//! collection that removes payloads finds by itself what nobody refers to any more. Where other processes share the
//! store, a payload that was kept less than [`GRACE_MIN`] ago may be about to be referred to by one of them; the
//! erasure then waits until it is older.
//!
//! While it is under way, whom it is about is in its document, sealed; afterwards only a keyed digest is, by which
//! whoever has the installation's key can tell whether a receipt is about somebody they name.

mod automations;
mod documents;
mod job;
mod memories;
mod places;
mod receipt;
mod stop;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tenure_journal::{
    ErasureId, FactId, FileId, MEMORY_USER_KEY, MemoryScope, ProjectId, RequestFact, RequestKind,
    RequestOutcome, RequestRecord, SessionId, Timestamp, json as canonical,
};
use tenure_store::{AuditEntry, DocumentKind, Gone, Needle, Order, Page, Search};
use tokio::sync::Notify;

pub use self::job::ErasurePhase;
pub(crate) use self::job::Job;
use self::job::{Asked, Secret};
use crate::collect::GRACE_MIN;
use crate::handle::Shared;
use crate::{Runtime, RuntimeError, RuntimeErrorKind};

/// Bytes of the name of a user that is to be forgotten.
pub const SUBJECT_BYTES_MAX: usize = 512;
/// Texts that a request may have looked for.
pub const VERIFIED_TEXTS_MAX: usize = 32;
/// How often a node looks for erasures that others left.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long nobody else takes up an erasure that a node works on; it is extended at each step.
const LEASE: Duration = Duration::from_secs(60);
/// How long an erasure that failed at something waits before it is tried again.
const PAUSE: Duration = Duration::from_secs(20);
/// How long those who may be about to refer to a payload are waited for, before waiting for payloads to grow old.
const SETTLE_MAX: Duration = Duration::from_secs(120);
/// What episodes are counted as.
const EPISODES: &str = "episodes";
/// Erasures that a node takes up at a time.
const TAKEN_AT_ONCE: usize = 8;

/// What is to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forget {
    /// Everything of a user of the project: the one that sessions name in their metadata.
    Subject(String),
    /// One session, and what came of it.
    Session(SessionId),
    /// An uploaded file, with every session that was given it, and what came of these.
    File(FileId),
    /// One fact with all its versions. What sessions said of it is theirs: it is looked for and told, and stays.
    Fact(FactId),
    /// What is kept for a scope: its facts, pinned blocks and procedures, with all their versions. What sessions said of
    /// it stays, as with a fact.
    Scope(MemoryScope),
}

/// An erasure as it stands.
#[derive(Debug, Clone)]
pub struct Erasure {
    /// Its id.
    pub id: ErasureId,
    /// The keyed digest of the user it is about, if it is about one.
    pub subject: Option<String>,
    /// The session it is about, if it is about one.
    pub session: Option<SessionId>,
    /// The file it is about, if it is about one.
    pub file: Option<FileId>,
    /// The fact it is about, if it is about one.
    pub fact: Option<FactId>,
    /// The keyed digest of the scope it is about, if it is about one.
    pub scope: Option<String>,
    /// Who asked.
    pub by: String,
    /// When.
    pub asked_at: Timestamp,
    /// How far it is.
    pub phase: ErasurePhase,
    /// Rows that went so far.
    pub gone: Gone,
    /// Why it does not go on, if it does not; it is tried again.
    pub problem: Option<String>,
    /// When it goes on, if it waits.
    pub next_at: Option<Timestamp>,
    /// The signed receipt, once there is one.
    pub receipt: Option<String>,
}

/// What an erasure would remove.
#[derive(Debug, Clone)]
pub struct WouldGo {
    /// The sessions, those of subagents and forks included.
    pub sessions: Vec<SessionId>,
    /// Files that were uploaded for them alone.
    pub files: u64,
    /// Rows by what they are.
    pub gone: Gone,
}

/// Tells this node that there is something to erase.
#[derive(Debug, Default)]
pub(crate) struct Asking(Notify);

impl Runtime {
    /// Begins to erase, and says how it stands. Durable when it returns; a second request for the same while the
    /// first is under way is answered with the first.
    ///
    /// `verify` are texts that are looked for when everything is gone.
    ///
    /// # Errors
    /// `NotFound`: there is no such session, file or fact. `Storage`, `Damaged`, `Sealing`.
    pub async fn forget(
        &self,
        project: ProjectId,
        what: &Forget,
        verify: &[String],
        by: &str,
    ) -> Result<Erasure, RuntimeError> {
        let shared = self.shared();
        let name = shared.erasure_name(project, what);
        if let Some(found) = shared.unfinished(project, &name).await? {
            return Ok(found.shown());
        }
        if !shared.is_there(project, what).await? {
            return Err(RuntimeErrorKind::NotFound.into());
        }
        let id = ErasureId::fresh(&self.fresh());
        let secret = Secret::new(what.clone(), verify.to_vec());
        let sealed = secret.seal(shared, project, id).await?;
        let asked = match what {
            Forget::Subject(_) => Asked::Subject { digest: name.clone() },
            Forget::Session(session) => Asked::Session { session: *session },
            Forget::File(file) => Asked::File { file: *file },
            Forget::Fact(fact) => Asked::Fact { fact: *fact },
            Forget::Scope(_) => Asked::Scope { digest: name.clone() },
        };
        let job = Job::new(project, id, name.clone(), asked, by.to_owned(), self.now(), sealed);
        // First the record: what is erased without one would be erased by nobody.
        let entry = recorded(&job, self.now(), "memory.forget", &name);
        shared.store.put_recorded(Vec::new(), None, vec![entry]).await?;
        self.records_wait();
        shared.note_erasure(&job, Some(Duration::ZERO)).await?;
        shared.asking.0.notify_one();
        Ok(job.shown())
    }

    /// What [`Runtime::forget`] would remove. Changes nothing.
    ///
    /// # Errors
    /// As [`Runtime::forget`].
    pub async fn would_forget(&self, project: ProjectId, what: &Forget) -> Result<WouldGo, RuntimeError> {
        let shared = self.shared();
        if !shared.is_there(project, what).await? {
            return Err(RuntimeErrorKind::NotFound.into());
        }
        let sessions = places::sessions_of(shared, project, what).await?;
        let mut seen = places::look(shared, project, what, &sessions).await?;
        seen.named(places::file_of(shared, project, what).await?);
        let gone = places::count(shared, project, what, &sessions, &seen.files).await?;
        Ok(WouldGo { sessions, files: seen.files.len() as u64, gone })
    }

    /// The sessions that are a user's, or a session and what came of it.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn sessions_to_forget(
        &self,
        project: ProjectId,
        what: &Forget,
    ) -> Result<Vec<SessionId>, RuntimeError> {
        places::sessions_of(self.shared(), project, what).await
    }

    /// For whom what the memory keeps is kept, of what would go, each once.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn scopes_to_forget(
        &self,
        project: ProjectId,
        what: &Forget,
        sessions: &[SessionId],
    ) -> Result<BTreeSet<MemoryScope>, RuntimeError> {
        let going = memories::going(self.shared(), project, what, sessions).await?;
        Ok(going.into_iter().map(|memory| memory.scope).collect())
    }

    /// One erasure.
    ///
    /// # Errors
    /// `NotFound`, `Storage`, `Damaged`.
    pub async fn erasure(&self, project: ProjectId, id: ErasureId) -> Result<Erasure, RuntimeError> {
        let found =
            self.shared().store.document(project, DocumentKind::Erasure, &id.to_string(), None).await?;
        Ok(Job::from_document(&found.ok_or(RuntimeErrorKind::NotFound)?)?.shown())
    }

    /// Erasures of a project by id, those of `subject` alone where one is named.
    ///
    /// # Errors
    /// `Storage`, `Damaged`.
    pub async fn erasures(
        &self,
        project: ProjectId,
        subject: Option<&str>,
        page: &Page,
    ) -> Result<Vec<Erasure>, RuntimeError> {
        let shared = self.shared();
        let name = subject.map(|subject| shared.erasure_name(project, &Forget::Subject(subject.to_owned())));
        let found = shared.store.documents(project, DocumentKind::Erasure, name.as_deref(), page).await?;
        found.iter().map(|document| Ok(Job::from_document(document)?.shown())).collect()
    }

    /// Refuses what would be of a user who is being erased.
    ///
    /// # Errors
    /// `BeingErased`; `Storage`.
    pub async fn refuse_erased(
        &self,
        project: ProjectId,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), RuntimeError> {
        match metadata.get(MEMORY_USER_KEY).filter(|user| !user.is_empty()) {
            Some(user) => self.refuse_erased_user(project, user).await,
            None => Ok(()),
        }
    }

    /// Refuses what would be kept for a user who is being erased.
    ///
    /// # Errors
    /// `BeingErased`; `Storage`.
    pub async fn refuse_erased_scope(
        &self,
        project: ProjectId,
        scope: &MemoryScope,
    ) -> Result<(), RuntimeError> {
        match scope {
            MemoryScope::User(user) | MemoryScope::Space(_, Some(user)) => {
                self.refuse_erased_user(project, user).await
            }
            MemoryScope::Project
            | MemoryScope::Agent(_)
            | MemoryScope::Space(_, None)
            | MemoryScope::Session(_) => Ok(()),
        }
    }

    async fn refuse_erased_user(&self, project: ProjectId, user: &str) -> Result<(), RuntimeError> {
        let shared = self.shared();
        let name = shared.erasure_name(project, &Forget::Subject(user.to_owned()));
        match shared.unfinished(project, &name).await? {
            Some(_) => Err(RuntimeErrorKind::BeingErased.into()),
            None => Ok(()),
        }
    }

    /// Says that a request may keep payloads, until what it gives is dropped.
    #[must_use]
    pub fn keeps(&self) -> crate::keeping::Kept {
        self.shared().keeping.begin()
    }
}

impl Forget {
    fn user(&self) -> Option<&str> {
        match self {
            Self::Subject(user) => Some(user),
            Self::Session(_) | Self::File(_) | Self::Fact(_) | Self::Scope(_) => None,
        }
    }

    /// Whether it is about what the memory keeps, and about nobody: that refers to no payload, and what is written while
    /// it goes is not asked for.
    fn is_kept(&self) -> bool {
        matches!(self, Self::Fact(_) | Self::Scope(_))
    }

    fn scope(&self) -> Option<&MemoryScope> {
        match self {
            Self::Scope(scope) => Some(scope),
            Self::Subject(_) | Self::Session(_) | Self::File(_) | Self::Fact(_) => None,
        }
    }
}

/// The record of an erasure for the audit log: it names whom it is about by their keyed digest alone.
fn recorded(job: &Job, at: Timestamp, action: &str, arguments: &str) -> AuditEntry {
    let fact = RequestFact {
        kind: RequestKind::Changed,
        action: action.to_owned(),
        resource: job.id.to_string(),
        arguments: arguments.to_owned(),
        by: job.by.clone(),
        outcome: RequestOutcome::Done,
    };
    let record = RequestRecord { at, project: job.project, fact };
    AuditEntry { project: job.project, record: record.to_bytes().into() }
}

/// Erases what is asked for, until the runtime closes.
pub(crate) async fn run(shared: Arc<Shared>) {
    // Whoever worked on what is left here is gone, if nobody else can use the store.
    let mut until =
        if shared.store.is_shared() { shared.clock.now() } else { Timestamp::from_millis(i64::MAX) };
    loop {
        let more = tokio::select! {
            () = shared.closing.cancelled() => return,
            more = shared.erase_due(until) => more,
        };
        until = shared.clock.now();
        if more {
            continue;
        }
        tokio::select! {
            () = shared.closing.cancelled() => return,
            () = shared.asking.0.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        until = shared.clock.now();
    }
}

impl Shared {
    /// What an erasure's document is called, so that those of one user or session are found: a keyed digest, which
    /// says nothing to who has not the installation's key.
    fn erasure_name(&self, project: ProjectId, what: &Forget) -> String {
        let key = self.sealer.derived(&format!("erasures {project}"));
        let digest = match what {
            Forget::Subject(user) => blake3::keyed_hash(&key, format!("user {user}").as_bytes()),
            Forget::Session(session) => blake3::keyed_hash(&key, session.to_string().as_bytes()),
            Forget::File(file) => blake3::keyed_hash(&key, file.to_string().as_bytes()),
            Forget::Fact(fact) => blake3::keyed_hash(&key, fact.to_string().as_bytes()),
            Forget::Scope(scope) => blake3::keyed_hash(&key, format!("scope {scope}").as_bytes()),
        };
        format!("b3k:{}", digest.to_hex())
    }

    /// Whether there is what is to be forgotten. Of a user and of a scope there need be nothing.
    async fn is_there(&self, project: ProjectId, what: &Forget) -> Result<bool, RuntimeError> {
        Ok(match what {
            Forget::Subject(_) | Forget::Scope(_) => true,
            Forget::Session(session) => self.store.head(Runtime::key(project, *session)).await?.is_some(),
            Forget::File(_) => places::file_of(self, project, what).await?.is_some(),
            Forget::Fact(fact) => memories::is_there(self, project, *fact).await?,
        })
    }

    async fn unfinished(&self, project: ProjectId, name: &str) -> Result<Option<Job>, RuntimeError> {
        let page = Page { after: None, limit: 1, order: Order::Descending };
        let found = self.store.documents(project, DocumentKind::Erasure, Some(name), &page).await?;
        let jobs = found.iter().map(Job::from_document).collect::<Result<Vec<_>, _>>()?;
        Ok(jobs.into_iter().find(|job| job.phase != ErasurePhase::Done))
    }

    /// Goes on with what is due by then. Says whether there may be more.
    async fn erase_due(self: &Arc<Self>, until: Timestamp) -> bool {
        let due = self.store.due_documents(DocumentKind::Erasure, until, TAKEN_AT_ONCE).await;
        let due = due.unwrap_or_else(|error| {
            tracing::warn!(%error, "erasures cannot be looked up now");
            Vec::new()
        });
        for document in &due {
            match Job::from_document(document) {
                Ok(job) => self.erase_one(job).await,
                Err(error) => tracing::error!(erasure = document.id, %error, "an erasure cannot be read"),
            }
        }
        due.len() == TAKEN_AT_ONCE
    }

    /// Goes on with an erasure as far as it goes now. Each step is written down, with the lease on it, before the
    /// next begins. Two nodes that take it up in the same instant do the same twice, which harms nothing.
    async fn erase_one(self: &Arc<Self>, mut job: Job) {
        let (id, project) = (job.id, job.project);
        loop {
            let step = match self.note_erasure(&job, Some(LEASE)).await {
                Ok(()) => self.erase_step(&mut job).await,
                Err(error) => Err(error),
            };
            let pause = match step {
                Ok(Step::On) => {
                    job.problem = None;
                    continue;
                }
                Ok(Step::Done) => {
                    tracing::info!(erasure = %id, %project, "erased");
                    return;
                }
                Ok(Step::Wait(pause)) => pause,
                Err(error) => {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(erasure = %id, %project, %error, source, "an erasure does not go on; trying again");
                    job.problem = Some(error.to_string());
                    PAUSE
                }
            };
            if let Err(error) = self.note_erasure(&job, Some(pause)).await {
                // Its lease runs out, and somebody takes it up.
                tracing::warn!(erasure = %id, %error, "an erasure cannot be written down now");
            }
            return;
        }
    }

    /// Writes an erasure down; somebody takes it up again after so long.
    async fn note_erasure(&self, job: &Job, again: Option<Duration>) -> Result<(), RuntimeError> {
        let now = self.clock.now();
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let wake_at = again.map(|time| now.plus_millis(millis(time)));
        Ok(self.store.note(job.document(now, wake_at)).await?)
    }

    async fn erase_step(self: &Arc<Self>, job: &mut Job) -> Result<Step, RuntimeError> {
        let project = job.project;
        match job.phase {
            // What was written down to go goes, whoever wrote it down.
            ErasurePhase::Sessions if job.has_plan() => {
                let what = Secret::open(self, job).await?.what;
                places::remove(self, job, &what).await?;
                job.went();
                if what.is_kept() {
                    job.phase = ErasurePhase::Scrub;
                }
            }
            ErasurePhase::Sessions => {
                let mut secret = Secret::open(self, job).await?;
                let sessions = places::sessions_of(self, project, &secret.what).await?;
                let file = places::file_of(self, project, &secret.what).await?;
                // A user may have memories and no session.
                let left = places::count(self, project, &secret.what, &sessions, &[]).await?;
                if !left.is_empty() || file.is_some() {
                    stop::all(self, project, &sessions).await;
                    let mut seen = places::look(self, project, &secret.what, &sessions).await?;
                    seen.named(file);
                    let mut gone = places::count(self, project, &secret.what, &sessions, &seen.files).await?;
                    // A deleted session has no episodes any more, and they went for this.
                    gone.add(EPISODES, left.of(EPISODES).saturating_sub(gone.of(EPISODES)));
                    match &secret.what {
                        Forget::Subject(_) => secret.said(&seen.said),
                        what @ (Forget::Fact(_) | Forget::Scope(_)) => {
                            let statements = memories::statements(self, project, what).await?;
                            secret.said(&statements);
                        }
                        // Whoever asks for these to go may say the same elsewhere, and keep it.
                        Forget::Session(_) | Forget::File(_) => {}
                    }
                    job.sealed = secret.seal(self, project, job.id).await?;
                    job.plan(sessions, seen, gone);
                    return Ok(Step::On);
                }
                if secret.what.is_kept() {
                    job.phase = ErasurePhase::Scrub;
                    return Ok(Step::On);
                }
                // Nothing is there. What was on its way before the document was written may still come.
                let settled = tokio::time::timeout(SETTLE_MAX, self.keeping.settled()).await.is_ok();
                if self.is_left(project, &secret.what).await? {
                    return Ok(Step::On);
                }
                job.rows_gone(self.clock.now(), settled && !self.store.is_shared());
            }
            ErasurePhase::Payloads => {
                let grace = if job.alone { Duration::ZERO } else { GRACE_MIN };
                let young = job.payloads_young(self.clock.now(), grace);
                if !young.is_zero() {
                    return Ok(Step::Wait(young));
                }
                // Another node may have let something in before it knew.
                let secret = Secret::open(self, job).await?;
                if self.is_left(project, &secret.what).await? {
                    job.phase = ErasurePhase::Sessions;
                    return Ok(Step::On);
                }
                let collected = self.collect_erased(project, grace).await?;
                if collected.left > 0 {
                    // What cannot be read may refer to anything, so nothing was collected.
                    return Err(RuntimeErrorKind::Damaged.into());
                }
                job.collected(&collected);
            }
            ErasurePhase::Scrub => {
                self.store.scrub().await?;
                job.phase = ErasurePhase::Receipt;
            }
            ErasurePhase::Receipt => {
                let texts = Secret::open(self, job).await?.texts();
                let needles: Vec<Needle> = texts.iter().filter_map(|text| Needle::of(text)).collect();
                let mut found = self.store.search(&needles).await?;
                found.extend(self.search_copies(&needles).await?);
                let note = receipt::sign(self, job, needles.len(), &found)?;
                // The log says which receipts there were. Should the process die before the next line, it says so twice.
                let entry =
                    recorded(job, self.clock.now(), "memory.forgotten", &canonical::digest(&json!(note)));
                self.store.put_recorded(Vec::new(), None, vec![entry]).await?;
                self.unsealed.tell();
                job.done(self.clock.now(), note);
                self.note_erasure(job, None).await?;
                return Ok(Step::Done);
            }
            ErasurePhase::Done => return Ok(Step::Done),
        }
        Ok(Step::On)
    }

    /// Whether there are rows of what is to be forgotten.
    async fn is_left(&self, project: ProjectId, what: &Forget) -> Result<bool, RuntimeError> {
        let sessions = places::sessions_of(self, project, what).await?;
        Ok(!places::count(self, project, what, &sessions, &[]).await?.is_empty())
    }

    /// Looks for needles in the copies of environments' files on this machine.
    async fn search_copies(&self, needles: &[Needle]) -> Result<BTreeMap<String, u64>, RuntimeError> {
        let (needles, directory) = (needles.to_vec(), self.environments.config.directory.clone());
        if directory.as_os_str().is_empty() {
            return Ok(BTreeMap::new());
        }
        let look = move || {
            let mut search = Search::new(&needles);
            search.directory(&directory).map(|()| search.into_found())
        };
        let found = tokio::task::spawn_blocking(look).await.map_err(|_| RuntimeErrorKind::Storage)?;
        found.map_err(|error| {
            tracing::warn!(%error, "the copies of environments cannot be looked through");
            RuntimeErrorKind::Storage.into()
        })
    }
}

/// What follows a step.
enum Step {
    /// The next one, now.
    On,
    /// The next one, after so long.
    Wait(Duration),
    /// Nothing.
    Done,
}

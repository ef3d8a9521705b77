//! Durable state in SQLite: one file in one data directory, which `sqlite3` can open.
//!
//! The log is the database's write-ahead log with `synchronous = FULL`: what was answered survives the
//! loss of power. One thread writes and lets waiting writes share a transaction; a few connections read
//! beside it. Event rows carry no checksum of their own: the log's frames have one, and `integrity`
//! decodes every event; payloads are compared with their BLAKE3 digest whenever they are read.
//!
//! What it deliberately does not do: repair. A log that cannot be synced stops the writer for good
//! ([`SqliteStore::fault`]), because only a new process that reads what is there knows what is durable.

mod audit;
pub mod bench;
mod connect;
mod directory;
mod erase;
mod error;
mod everything;
mod found;
mod index;
mod inspect;
mod integrity;
mod journal;
mod lists;
mod memory;
mod neighbours;
mod nodes;
mod read;
mod readers;
mod schema;
mod write;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::Transaction;
use tenure_journal::{
    BlobRef, BudgetId, BudgetUse, Head, Item, MemorySpace, NodeId, ProjectId, Recorded, SessionId,
    SessionKey, Timestamp, Turn, TurnId, Version,
};
use tenure_store::{
    Alike, Append, AuditEntry, Budget, Candidates, Document, DocumentKind, Embedded, Erasing, FoundDocuments,
    Gone, Indexed, Needle, Page, Place, Receipt, Seal, Sealed, Search, SessionFilter, Stamp, Store,
    StoreError, StoreErrorKind, Stored, Unembedded, Unsealed, UseEntry, Wake, Wanted, Whose,
};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

pub use crate::inspect::{Inspection, held_by, inspect};
pub use crate::integrity::Integrity;

use crate::directory::Directory;
use crate::error::store_error;
use crate::nodes::Change;
use crate::readers::Readers;
use crate::write::{Answer, Write};
use crate::writer::{Counters, Health, Job};

/// Durable state in a data directory. Its methods need a Tokio runtime.
///
/// Dropping it waits for the write under way and gives the directory free; [`SqliteStore::close`] also
/// waits for everything accepted and copies the log into the database.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    readers: Readers,
    /// Absent once closed.
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    /// Absent once joined.
    thread: Mutex<Option<JoinHandle<Result<(), StoreError>>>>,
    health: watch::Receiver<Health>,
    counters: Arc<Counters>,
    /// Never written to: no other process commits to this directory.
    wakes: broadcast::Sender<Wake>,
}

impl SqliteStore {
    /// Opens the store in `directory`, creating it with permissions for its owner only, and brings its
    /// schema to this release's. Blocks while it does so.
    ///
    /// # Errors
    /// `Locked`: another process, or another store of this one, holds the directory. `TooNew`: a newer
    /// release wrote it. `Corrupt`: the file is no database of ours. `Unavailable` or `Full`.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        Self::open_indexing(directory, writer::UNINDEXED_MAX)
    }

    /// Opens a store that indexes what is remembered when so many episodes and terms wait for it.
    fn open_indexing(directory: &Path, unindexed_max: usize) -> Result<Self, StoreError> {
        let held = Directory::hold(directory)?;
        let path = held.database();
        let failed = |error| store_error(&format!("opening `{}`", path.display()), error);
        let mut connection = connect::writer(&path).map_err(failed)?;
        schema::migrate(&mut connection)?;
        held.sync()?;
        let readers = Readers::open(&path)?;
        let writer = writer::start(connection, held, unindexed_max).map_err(|error| {
            StoreError::new(StoreErrorKind::Unavailable, "starting the writer").with_source(error)
        })?;
        Ok(Self {
            path: directory.to_owned(),
            readers,
            queue: Mutex::new(Some(writer.queue)),
            thread: Mutex::new(Some(writer.thread)),
            health: writer.health,
            counters: writer.counters,
            wakes: broadcast::Sender::new(1),
        })
    }

    /// The data directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.path
    }

    /// Completes when the log can no longer be written, with the reason: the process should stop and
    /// start again. Never completes while the log is well, nor after [`SqliteStore::close`].
    /// Safe to cancel and to call again.
    pub async fn fault(&self) -> StoreError {
        let mut health = self.health.clone();
        let end = health.wait_for(|health| !matches!(health, Health::Running)).await;
        let reason = match end.as_deref() {
            Ok(Health::Fault(reason)) => reason.clone(),
            Ok(Health::Running | Health::Closed) => std::future::pending().await,
            Err(_) => "the writer panicked".to_owned(),
        };
        StoreError::new(StoreErrorKind::Unavailable, reason)
    }

    /// How many transactions were committed since the store was opened.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.counters.commits.load(Ordering::Relaxed)
    }

    /// How many writes those transactions carried.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.counters.writes.load(Ordering::Relaxed)
    }

    /// Reads everything and reports what is wrong: SQLite's own check, gaps in journals, heads and
    /// snapshots that disagree with their journal, events that do not decode, payloads with another
    /// digest. Takes time in proportion to the database; writes go on beside it.
    ///
    /// # Errors
    /// `Unavailable`: the check itself could not be made.
    pub async fn integrity(&self) -> Result<Integrity, StoreError> {
        self.readers.run("checking the database", |connection| integrity::check(connection)).await
    }

    /// Writes what was accepted, copies the log into the database and gives the directory free.
    /// Later calls are `Unavailable`; closing again changes nothing.
    ///
    /// # Errors
    /// The log could not be written, now or earlier.
    pub async fn close(&self) -> Result<(), StoreError> {
        lock(&self.queue).take();
        self.readers.close().await;
        let Some(thread) = lock(&self.thread).take() else { return Ok(()) };
        match tokio::task::spawn_blocking(move || thread.join()).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(self.stopped()),
        }
    }

    async fn write(&self, write: Write) -> Answer {
        self.exchange(write).await?.0
    }

    /// The answer to a write, and the write itself, which may have learned something.
    async fn exchange(&self, write: Write) -> Result<(Answer, Write), StoreError> {
        let queue = lock(&self.queue).clone().ok_or_else(|| self.stopped())?;
        let (answer, answered) = oneshot::channel();
        queue.send(Job { write, answer }).await.map_err(|_| self.stopped())?;
        drop(queue);
        answered.await.map_err(|_| self.stopped())
    }

    /// The error of a write that finds no writer.
    fn stopped(&self) -> StoreError {
        let context = match &*self.health.borrow() {
            Health::Fault(reason) => format!("writing after a fault ({reason})"),
            Health::Running | Health::Closed => "writing to a store that is closed".to_owned(),
        };
        StoreError::new(StoreErrorKind::Unavailable, context)
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        lock(&self.queue).take();
        if let Some(thread) = lock(&self.thread).take() {
            // A panic of the writer was reported by `fault`, and errors to the callers they concern.
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Store for SqliteStore {
    async fn append(&self, append: Append) -> Result<Version, StoreError> {
        self.write(Write::append(append)).await
    }

    async fn load(&self, key: SessionKey) -> Result<Option<Stored>, StoreError> {
        self.readers.run("loading a session", move |connection| read::load(connection, key)).await
    }

    async fn events(
        &self,
        key: SessionKey,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        let read = move |connection: &_| journal::events(connection, key, after, limit);
        self.readers.run("reading events", move |connection| read(connection)).await
    }

    async fn head(&self, key: SessionKey) -> Result<Option<Head>, StoreError> {
        self.readers.run("reading a session", move |connection| read::head(connection, key)).await
    }

    async fn sessions(
        &self,
        project: ProjectId,
        filter: &SessionFilter,
        page: &Page,
    ) -> Result<Vec<Head>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        let read = move |connection: &_| read::sessions(connection, project, &filter, &page);
        self.readers.run("listing sessions", move |connection| read(connection)).await
    }

    async fn claim_due(
        &self,
        node: NodeId,
        now: Timestamp,
        limit: usize,
        except: &[SessionKey],
    ) -> Result<Vec<SessionKey>, StoreError> {
        let except = except.to_vec();
        let read = move |connection: &_| nodes::claimable(connection, node, now, limit, &except);
        let due = self.readers.run("finding what is due", move |connection| read(connection)).await?;
        if due.is_empty() {
            return Ok(due);
        }
        self.write(Write::Node(Change::Claim(node, due.clone()))).await?;
        let ours = move |connection: &_| {
            let holders = due.into_iter().map(|key| Ok((key, nodes::holder(connection, key)?)));
            holders.collect::<read::Read<Vec<_>>>()
        };
        let claimed = self.readers.run("claiming what is due", move |connection| ours(connection)).await?;
        let ours = claimed.into_iter().filter(|(_, holder)| *holder == Some(Some(node)));
        Ok(ours.map(|(key, _)| key).collect())
    }

    async fn claim(&self, node: NodeId, key: SessionKey) -> Result<Option<NodeId>, StoreError> {
        self.write(Write::Node(Change::Claim(node, vec![key]))).await?;
        let read = move |connection: &_| nodes::holder(connection, key);
        let holder = self.readers.run("claiming a session", move |connection| read(connection)).await?;
        // Freed again since: whoever asks next may have it.
        Ok(holder.map(|holder| holder.unwrap_or(node)))
    }

    async fn held(&self, node: NodeId) -> Result<Vec<(SessionKey, Version)>, StoreError> {
        self.readers.run("finding what is held", move |connection| nodes::held(connection, node)).await
    }

    async fn release(&self, node: NodeId, key: SessionKey) -> Result<(), StoreError> {
        self.write(Write::Node(Change::Release(node, key))).await.map(|_| ())
    }

    async fn heartbeat(&self, node: NodeId, ttl: Duration) -> Result<(), StoreError> {
        self.write(Write::Node(Change::Heartbeat(node, ttl))).await.map(|_| ())
    }

    async fn retire(&self, node: NodeId) -> Result<(), StoreError> {
        self.write(Write::Node(Change::Retire(node))).await.map(|_| ())
    }

    async fn nodes(&self) -> Result<usize, StoreError> {
        self.readers.run("counting nodes", |connection| nodes::nodes(connection)).await
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn wakes(&self) -> broadcast::Receiver<Wake> {
        self.wakes.subscribe()
    }

    async fn items(
        &self,
        key: SessionKey,
        turn: Option<TurnId>,
        page: &Page,
    ) -> Result<Vec<Item>, StoreError> {
        let page = page.clone();
        self.readers.run("listing items", move |connection| read::items(connection, key, turn, &page)).await
    }

    async fn turns(&self, key: SessionKey, page: &Page) -> Result<Vec<Turn>, StoreError> {
        let page = page.clone();
        self.readers.run("listing turns", move |connection| read::turns(connection, key, &page)).await
    }

    async fn turn(&self, key: SessionKey, turn: TurnId) -> Result<Option<Turn>, StoreError> {
        self.readers.run("reading a turn", move |connection| read::turn(connection, key, turn)).await
    }

    async fn put_recorded(
        &self,
        documents: Vec<Document>,
        receipt: Option<Receipt>,
        audit: Vec<AuditEntry>,
    ) -> Result<(), StoreError> {
        self.write(Write::Put(documents, receipt, audit)).await.map(|_| ())
    }

    async fn put_indexed(
        &self,
        documents: Vec<Indexed>,
        receipt: Option<Receipt>,
        audit: Vec<AuditEntry>,
    ) -> Result<(), StoreError> {
        self.write(Write::PutIndexed(documents, receipt, audit)).await.map(|_| ())
    }

    async fn change_uses(
        &self,
        project: ProjectId,
        uses: Vec<UseEntry>,
        audit: Vec<AuditEntry>,
    ) -> Result<(), StoreError> {
        self.write(Write::Use(project, uses, audit)).await.map(|_| ())
    }

    async fn find_documents(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        name: &str,
        terms: &[String],
        limit: usize,
    ) -> Result<FoundDocuments, StoreError> {
        let (name, terms) = (name.to_owned(), terms.to_vec());
        let what = "finding documents";
        self.readers.run(what, move |c| found::find(c, (project, kind, &name), &terms, limit)).await
    }

    async fn note(&self, document: Document) -> Result<(), StoreError> {
        self.write(Write::Note(Box::new(document))).await.map(|_| ())
    }

    async fn due_documents(
        &self,
        kind: DocumentKind,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let read = move |connection: &_| read::due_documents(connection, kind, now, limit);
        self.readers.run("finding due documents", move |connection| read(connection)).await
    }

    async fn budget(&self, project: ProjectId, root: SessionId) -> Result<Budget, StoreError> {
        self.readers.run("reading a budget", move |connection| nodes::budget(connection, project, root)).await
    }

    async fn budget_uses(
        &self,
        project: ProjectId,
        budgets: &[BudgetId],
    ) -> Result<Vec<BudgetUse>, StoreError> {
        let budgets = budgets.to_vec();
        let read = move |connection: &_| nodes::budget_uses(connection, project, &budgets);
        self.readers.run("reading budgets", move |connection| read(connection)).await
    }

    async fn document(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        id: &str,
        version: Option<u64>,
    ) -> Result<Option<Document>, StoreError> {
        let id = id.to_owned();
        let read = move |connection: &_| read::document(connection, project, kind, &id, version);
        self.readers.run("reading a document", move |connection| read(connection)).await
    }

    async fn documents(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        name: Option<&str>,
        page: &Page,
    ) -> Result<Vec<Document>, StoreError> {
        let (name, page) = (name.map(str::to_owned), page.clone());
        let read = move |connection: &_| read::documents(connection, project, kind, name.as_deref(), &page);
        self.readers.run("listing documents", move |connection| read(connection)).await
    }

    async fn documents_telling(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        text: &str,
    ) -> Result<Vec<String>, StoreError> {
        let text = text.to_owned();
        let read = move |connection: &_| read::documents_telling(connection, project, kind, &text);
        self.readers.run("finding documents by a text", move |connection| read(connection)).await
    }

    async fn deleted_documents(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        page: &Page,
    ) -> Result<Vec<Document>, StoreError> {
        let page = page.clone();
        let read = move |connection: &_| read::deleted_documents(connection, project, kind, &page);
        self.readers.run("listing deleted documents", move |connection| read(connection)).await
    }

    async fn put_blob(&self, project: ProjectId, payload: Bytes) -> Result<BlobRef, StoreError> {
        let blob = BlobRef::of(&payload);
        self.write(Write::Blob(project, blob, payload)).await.map(|_| blob)
    }

    async fn blob(&self, project: ProjectId, blob: BlobRef) -> Result<Option<Bytes>, StoreError> {
        self.readers.run("reading a payload", move |connection| read::blob(connection, project, blob)).await
    }

    async fn blob_by_digest(
        &self,
        project: ProjectId,
        digest: [u8; 32],
    ) -> Result<Option<Bytes>, StoreError> {
        let what = "reading a payload";
        self.readers.run(what, move |connection| read::blob_by_digest(connection, project, digest)).await
    }

    async fn candidates(&self, space: &MemorySpace, wanted: &Wanted) -> Result<Candidates, StoreError> {
        let (space, wanted) = (space.clone(), wanted.clone());
        self.readers.run("recalling", move |c| memory::candidates(c, &space, &wanted)).await
    }

    async fn candidates_alike(
        &self,
        space: &MemorySpace,
        alike: &Alike,
        found: Candidates,
    ) -> Result<Candidates, StoreError> {
        let (space, alike) = (space.clone(), alike.clone());
        self.readers.run("recalling", move |c| memory::candidates_alike(c, &space, &alike, found)).await
    }

    async fn unembedded(&self, model: &str, after: u64, limit: usize) -> Result<Vec<Unembedded>, StoreError> {
        let (what, model) = ("looking for what has no vectors", model.to_owned());
        self.readers.run(what, move |c| memory::unembedded(c, &model, after, limit)).await
    }

    async fn embed(&self, model: &str, embedded: Vec<Embedded>) -> Result<(), StoreError> {
        self.write(Write::Embed(model.to_owned(), embedded)).await.map(|_| ())
    }

    async fn unsealed(&self, except: &[ProjectId], limit: usize) -> Result<Vec<Unsealed>, StoreError> {
        let except = except.to_vec();
        self.readers.run("reading what is to be sealed", move |c| audit::unsealed(c, &except, limit)).await
    }

    async fn seal(&self, seal: Seal) -> Result<(), StoreError> {
        self.write(Write::Seal(Box::new(seal))).await.map(|_| ())
    }

    async fn sealed(&self, project: ProjectId, size_max: u64) -> Result<Option<Sealed>, StoreError> {
        self.readers.run("reading a checkpoint", move |c| audit::sealed(c, project, size_max)).await
    }

    async fn sealed_records(
        &self,
        project: ProjectId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        self.readers.run("reading an audit log", move |c| audit::records(c, project, from, limit)).await
    }

    async fn audit_tile(
        &self,
        project: ProjectId,
        level: u32,
        index: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        self.readers.run("reading an audit log", move |c| audit::tile(c, project, level, index)).await
    }

    async fn every_session(
        &self,
        after: Option<SessionKey>,
        limit: usize,
    ) -> Result<Vec<SessionKey>, StoreError> {
        Self::every_session(self, after, limit).await
    }

    async fn stamp(&self) -> Result<Stamp, StoreError> {
        Ok(Stamp(nodes::clock().unsigned_abs()))
    }

    async fn old_blobs(
        &self,
        before: Stamp,
        after: Option<(ProjectId, BlobRef)>,
        limit: usize,
    ) -> Result<Vec<(ProjectId, BlobRef)>, StoreError> {
        self.blobs_before(before, after, limit).await
    }

    async fn forget_blobs(
        &self,
        project: ProjectId,
        blobs: &[BlobRef],
        before: Stamp,
    ) -> Result<Vec<BlobRef>, StoreError> {
        let mut wanted = blobs.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        // Asked for together, so that they share transactions.
        let writes = wanted.iter().map(|blob| self.write(Write::Forget(project, *blob, before)));
        let answers = futures_util::future::try_join_all(writes).await?;
        let forgotten = wanted.iter().zip(answers).filter(|(_, answer)| *answer > Version::ZERO);
        Ok(forgotten.map(|(blob, _)| *blob).collect())
    }

    async fn sessions_of(&self, project: ProjectId, whose: &Whose) -> Result<Vec<SessionId>, StoreError> {
        let whose = whose.clone();
        self.readers.run("finding whose sessions", move |c| erase::sessions_of(c, project, &whose)).await
    }

    async fn erase(&self, project: ProjectId, place: &Place, erasing: Erasing) -> Result<Gone, StoreError> {
        let erase = Write::Erase(Box::new((project, place.clone(), erasing, Mutex::default())));
        let (answer, write) = self.exchange(erase).await?;
        answer?;
        let Write::Erase(erased) = write else { return Err(self.stopped()) };
        Ok(erased.3.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    async fn scrub(&self) -> Result<(), StoreError> {
        self.write(Write::Scrub).await.map(|_| ())
    }

    async fn search(&self, needles: &[Needle]) -> Result<BTreeMap<String, u64>, StoreError> {
        let (needles, directory) = (needles.to_vec(), self.path.clone());
        let look = move |connection: &Transaction<'_>| {
            let mut search = Search::new(&needles);
            erase::search_rows(connection, &mut search)?;
            search.directory(&directory).map_err(|error| {
                let context = format!("looking through `{}`", directory.display());
                StoreError::new(StoreErrorKind::Unavailable, context).with_source(error)
            })?;
            Ok(search.into_found())
        };
        self.readers.run("looking through everything", look).await
    }

    async fn receipt(&self, project: ProjectId, key: &str) -> Result<Option<Receipt>, StoreError> {
        let key = key.to_owned();
        self.readers.run("reading a receipt", move |c| read::receipt(c, project, &key)).await
    }
}

//! Durable state in PostgreSQL 15 or later, shared by any number of nodes.
//!
//! A few connections write. Each carries out a batch of waiting writes in one transaction. Most batches are
//! one statement, which writes everything if each session is where its append expects it. Otherwise the batch
//! takes two round trips: it locks the rows that exist in the order of their keys, decides every write against
//! them in memory, and writes what was accepted with one statement for each table. The commit is durable when
//! it returns, whatever the server's default says. Other connections read, keep leases, and one listens for and tells of
//! commits.
//!
//! The database's clock measures leases, so nodes need not agree about the time. What is due is found through
//! two partial indexes, by wake time among what nobody holds and by holder among what dead nodes hold, so it
//! costs what is due and not what is idle or busy.
//!
//! What it deliberately does not do: shard, replicate or elect. Keys lead with project and session, for
//! databases that distribute rows by key. One database holds one store. Connections must keep their settings
//! and prepared statements, so a pooler between has to work by session.

mod audit;
mod batch;
pub mod bench;
mod blobs;
mod collect;
mod columns;
mod connect;
mod erase;
mod error;
mod found;
mod inspect;
mod integrity;
mod ledger;
mod memory;
mod near;
mod nodes;
mod options;
mod pool;
mod read;
mod schema;
mod text;
mod tls;
mod uses;
mod wakes;
mod watch;
mod write;
mod writer;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tenure_journal::{
    BlobRef, BudgetId, BudgetUse, Head, Item, MemorySpace, NodeId, ProjectId, Recorded, SessionId,
    SessionKey, Timestamp, Turn, TurnId, Version,
};
use tenure_store::{
    Alike, Append, AuditEntry, Budget, Candidates, Document, DocumentKind, Embedded, Erasing, FoundDocuments,
    Gone, Indexed, Needle, Page, Place, Receipt, Seal, Sealed, Search, SessionFilter, Stamp, Store,
    StoreError, Stored, Unembedded, Unsealed, UseEntry, Wake, Wanted, Whose,
};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

pub use crate::blobs::BlobPlace;
#[cfg(feature = "s3")]
pub use crate::blobs::S3;
pub use crate::inspect::Inspection;
pub use crate::integrity::Integrity;
pub use crate::options::Options;

use crate::blobs::Blobs;
use crate::connect::{Connector, READER_SETTINGS};
use crate::error::unavailable;
use crate::near::Near;
use crate::nodes::Known;
use crate::pool::Pool;
use crate::wakes::Wakes;
use crate::watch::Watch;
use crate::write::{Answer, Write};
use crate::writer::{Counters, Job, Shared};

/// From a write to its answer, waiting included. Longer than a writer takes to give a batch up.
const WRITE_DEADLINE: Duration = Duration::from_secs(120);

/// Durable state in a database. Its methods need the Tokio runtime it was opened on.
///
/// Dropping it lets writes that were accepted go on in the background; [`PostgresStore::close`] waits for
/// them.
#[derive(Debug)]
pub struct PostgresStore {
    connector: Arc<Connector>,
    pool: Pool,
    blobs: Blobs,
    near: Arc<Near>,
    known: Arc<Known>,
    wakes: Arc<Wakes>,
    watch: Arc<Watch>,
    counters: Arc<Counters>,
    /// Absent once closed.
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    /// Empty once joined.
    writers: tokio::sync::Mutex<JoinSet<()>>,
    teller: JoinHandle<()>,
}

impl PostgresStore {
    /// Connects, brings the schema to this release's and starts the writers.
    ///
    /// # Errors
    /// `TooNew`: a newer release changed the schema in a way this one cannot live with. `OlderNodes`: a node of
    /// an older release is alive that could not live with a change this one makes; nothing was changed.
    /// `Corrupt`: the schema is none of ours. `Unavailable`.
    pub async fn open(options: &Options) -> Result<Self, StoreError> {
        let blobs = Blobs::open(&options.blobs)?;
        let connector = Arc::new(Connector::new(options)?);
        let connection = connector.connect(READER_SETTINGS).await?;
        schema::migrate(&connection).await?;
        let near = Arc::new(Near::look(&connection, options.indexed_from).await?);
        connection.close().await;
        let (wakes, teller) = Wakes::start(Arc::clone(&connector)).await?;
        let (wakes, known, counters) = (Arc::new(wakes), Arc::default(), Arc::default());
        let watch = Arc::new(Watch::new());
        let shared = Shared {
            connector: Arc::clone(&connector),
            known: Arc::clone(&known),
            wakes: Arc::clone(&wakes),
            watch: Arc::clone(&watch),
            counters: Arc::clone(&counters),
        };
        let (queue, writers) = writer::start(shared, options.writers);
        Ok(Self {
            pool: Pool::new(Arc::clone(&connector), options.readers),
            connector,
            blobs,
            near,
            known,
            wakes,
            watch,
            counters,
            queue: Mutex::new(Some(queue)),
            writers: tokio::sync::Mutex::new(writers),
            teller,
        })
    }

    /// Completes when a newer release has changed the schema in a way this one cannot live with: nothing is
    /// written any more, and the process should end.
    pub async fn fault(&self) -> StoreError {
        self.watch.ended().await
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

    /// Completes when this store is building no index of vectors.
    pub async fn indexes_built(&self) {
        self.near.built().await;
    }

    /// Adds to a log what is sealed in another store: the positions of its records count for nothing.
    ///
    /// # Errors
    /// As [`Store::seal`].
    pub async fn adopt_sealed(&self, sealed: &Seal) -> Result<(), StoreError> {
        audit::seal(&self.pool, sealed, audit::Origin::Elsewhere).await
    }

    /// Takes records that wait to be sealed in another store, all or none.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn adopt_unsealed(&self, unsealed: &[Unsealed]) -> Result<(), StoreError> {
        audit::adopt(&self.pool, unsealed).await
    }

    /// Has a budget that more than one tree of sessions may share stand as it does in another store.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn adopt_budget_use(
        &self,
        project: ProjectId,
        budget: BudgetId,
        used: &BudgetUse,
    ) -> Result<(), StoreError> {
        uses::adopt(&self.pool, project, budget, used).await
    }

    /// Reads everything as of one moment and reports what is wrong: a server that does not sync, gaps in
    /// journals, heads and snapshots that disagree with their journal, holders nobody knows, events that do
    /// not decode, payloads that are missing or have another digest. Takes time in proportion to the database;
    /// writes go on beside it.
    ///
    /// # Errors
    /// `Unavailable`: the check itself could not be made.
    pub async fn integrity(&self) -> Result<Integrity, StoreError> {
        if self.is_closed() {
            return Err(stopped());
        }
        let connection = self.connector.connect(READER_SETTINGS).await?;
        let found = integrity::check(&connection, &self.blobs).await;
        connection.close().await;
        found
    }

    /// Writes what was accepted and closes every connection. Later calls are `Unavailable`; closing again
    /// changes nothing.
    ///
    /// # Errors
    /// `Unavailable`: a writer was lost, and its writes answered so.
    pub async fn close(&self) -> Result<(), StoreError> {
        lock(&self.queue).take();
        let mut writers = std::mem::take(&mut *self.writers.lock().await);
        let mut result = Ok(());
        while let Some(ended) = writers.join_next().await {
            if let Err(panic) = ended {
                result = Err(unavailable("closing the writers").with_source(panic));
            }
        }
        self.pool.close().await;
        self.teller.abort();
        result
    }

    fn is_closed(&self) -> bool {
        lock(&self.queue).is_none()
    }

    async fn write(&self, write: Write) -> Answer {
        let queue = lock(&self.queue).clone().ok_or_else(stopped)?;
        let (answer, answered) = oneshot::channel();
        let write = async {
            queue.send(Job { write, answer }).await.map_err(|_| stopped())?;
            drop(queue);
            answered.await.unwrap_or_else(|_| Err(stopped()))
        };
        timeout(WRITE_DEADLINE, write).await.unwrap_or_else(|_| Err(unavailable("waiting for a writer")))
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        // The writers end by themselves when the queue is gone.
        self.writers.get_mut().detach_all();
        self.teller.abort();
    }
}

/// The error of a write that finds no writer.
fn stopped() -> StoreError {
    unavailable("using a store that is closed")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Store for PostgresStore {
    async fn append(&self, append: Append) -> Result<Version, StoreError> {
        self.write(Write::append(append)).await
    }

    async fn load(&self, key: SessionKey) -> Result<Option<Stored>, StoreError> {
        read::load(&*self.pool.take("loading a session").await?, key).await
    }

    async fn events(
        &self,
        key: SessionKey,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        read::events(&*self.pool.take("reading events").await?, key, after, limit).await
    }

    async fn head(&self, key: SessionKey) -> Result<Option<Head>, StoreError> {
        read::head(&*self.pool.take("reading a session").await?, key).await
    }

    async fn sessions(
        &self,
        project: ProjectId,
        filter: &SessionFilter,
        page: &Page,
    ) -> Result<Vec<Head>, StoreError> {
        read::sessions(&*self.pool.take("listing sessions").await?, project, filter, page).await
    }

    async fn claim_due(
        &self,
        node: NodeId,
        now: Timestamp,
        limit: usize,
        except: &[SessionKey],
    ) -> Result<Vec<SessionKey>, StoreError> {
        nodes::claim_due(&self.pool, &self.known, node, now, limit, except).await
    }

    async fn claim(&self, node: NodeId, key: SessionKey) -> Result<Option<NodeId>, StoreError> {
        nodes::claim(&self.pool, &self.known, node, key).await
    }

    async fn held(&self, node: NodeId) -> Result<Vec<(SessionKey, Version)>, StoreError> {
        nodes::held(&self.pool, node).await
    }

    async fn release(&self, node: NodeId, key: SessionKey) -> Result<(), StoreError> {
        nodes::release(&self.pool, node, key).await
    }

    async fn heartbeat(&self, node: NodeId, ttl: Duration) -> Result<(), StoreError> {
        nodes::heartbeat(&self.pool, &self.known, &self.watch, node, ttl).await
    }

    async fn retire(&self, node: NodeId) -> Result<(), StoreError> {
        nodes::retire(&self.pool, node).await
    }

    async fn nodes(&self) -> Result<usize, StoreError> {
        nodes::nodes(&self.pool).await
    }

    fn is_shared(&self) -> bool {
        true
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
        read::items(&*self.pool.take("listing items").await?, key, turn, page).await
    }

    async fn turns(&self, key: SessionKey, page: &Page) -> Result<Vec<Turn>, StoreError> {
        read::turns(&*self.pool.take("listing turns").await?, key, page).await
    }

    async fn turn(&self, key: SessionKey, turn: TurnId) -> Result<Option<Turn>, StoreError> {
        read::turn(&*self.pool.take("reading a turn").await?, key, turn).await
    }

    async fn put_recorded(
        &self,
        documents: Vec<Document>,
        receipt: Option<Receipt>,
        audit: Vec<AuditEntry>,
    ) -> Result<(), StoreError> {
        self.write(Write::put(documents, receipt, audit)?).await.map(|_| ())
    }

    async fn put_indexed(
        &self,
        documents: Vec<Indexed>,
        receipt: Option<Receipt>,
        audit: Vec<AuditEntry>,
    ) -> Result<(), StoreError> {
        self.write(Write::put_indexed(documents, receipt, audit)?).await.map(|_| ())
    }

    async fn change_uses(
        &self,
        project: ProjectId,
        uses: Vec<UseEntry>,
        audit: Vec<AuditEntry>,
    ) -> Result<(), StoreError> {
        self.write(Write::uses(project, uses, audit)?).await.map(|_| ())
    }

    async fn find_documents(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        name: &str,
        terms: &[String],
        limit: usize,
    ) -> Result<FoundDocuments, StoreError> {
        found::find(&self.pool, (project, kind, name), terms, limit).await
    }

    async fn note(&self, document: Document) -> Result<(), StoreError> {
        write::note(&*self.pool.take(write::NOTING).await?, document).await
    }

    async fn document(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        id: &str,
        version: Option<u64>,
    ) -> Result<Option<Document>, StoreError> {
        read::document(&*self.pool.take("reading a document").await?, project, kind, id, version).await
    }

    async fn documents(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        name: Option<&str>,
        page: &Page,
    ) -> Result<Vec<Document>, StoreError> {
        read::documents(&*self.pool.take("listing documents").await?, project, kind, name, page).await
    }

    async fn documents_telling(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        text: &str,
    ) -> Result<Vec<String>, StoreError> {
        let connection = self.pool.take("finding documents by a text").await?;
        read::documents_telling(&connection, project, kind, text).await
    }

    async fn deleted_documents(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        page: &Page,
    ) -> Result<Vec<Document>, StoreError> {
        let connection = self.pool.take("listing deleted documents").await?;
        read::deleted_documents(&connection, project, kind, page).await
    }

    async fn due_documents(
        &self,
        kind: DocumentKind,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        read::due_documents(&*self.pool.take("finding due documents").await?, kind, now, limit).await
    }

    async fn budget(&self, project: ProjectId, root: SessionId) -> Result<Budget, StoreError> {
        read::budget(&*self.pool.take("reading a budget").await?, project, root).await
    }

    async fn budget_uses(
        &self,
        project: ProjectId,
        budgets: &[BudgetId],
    ) -> Result<Vec<BudgetUse>, StoreError> {
        read::budget_uses(&*self.pool.take("reading budgets").await?, project, budgets).await
    }

    async fn put_blob(&self, project: ProjectId, payload: Bytes) -> Result<BlobRef, StoreError> {
        let blob = BlobRef::of(&payload);
        if let Blobs::Objects(_) = &self.blobs {
            collect::stamp(&self.pool, project, blob).await?;
        }
        let in_row = self.blobs.put(project, blob, payload).await?;
        self.write(Write::Blob(project, blob, in_row)).await.map(|_| blob)
    }

    async fn blob(&self, project: ProjectId, blob: BlobRef) -> Result<Option<Bytes>, StoreError> {
        let row = read::blob(&*self.pool.take("reading a payload").await?, project, blob).await?;
        match row {
            Some(in_row) => self.blobs.get(project, blob, in_row).await.map(Some),
            None => Ok(None),
        }
    }

    async fn blob_by_digest(
        &self,
        project: ProjectId,
        digest: [u8; 32],
    ) -> Result<Option<Bytes>, StoreError> {
        let connection = self.pool.take("reading a payload").await?;
        match read::blob_by_digest(&connection, project, digest).await? {
            Some((blob, in_row)) => self.blobs.get(project, blob, in_row).await.map(Some),
            None => Ok(None),
        }
    }

    async fn candidates(&self, space: &MemorySpace, wanted: &Wanted) -> Result<Candidates, StoreError> {
        memory::candidates(&self.pool, space, wanted).await
    }

    async fn candidates_alike(
        &self,
        space: &MemorySpace,
        alike: &Alike,
        found: Candidates,
    ) -> Result<Candidates, StoreError> {
        memory::candidates_alike(&self.pool, &self.near, space, alike, found).await
    }

    async fn unembedded(&self, model: &str, after: u64, limit: usize) -> Result<Vec<Unembedded>, StoreError> {
        memory::unembedded(&self.pool, model, after, limit).await
    }

    async fn embed(&self, model: &str, embedded: Vec<Embedded>) -> Result<(), StoreError> {
        let spaces = memory::embed(&self.pool, model, &embedded).await?;
        self.near.grew(&self.connector, &self.pool, spaces, model).await;
        Ok(())
    }

    async fn unsealed(&self, except: &[ProjectId], limit: usize) -> Result<Vec<Unsealed>, StoreError> {
        audit::unsealed(&self.pool, except, limit).await
    }

    async fn seal(&self, seal: Seal) -> Result<(), StoreError> {
        audit::seal(&self.pool, &seal, audit::Origin::Unsealed).await
    }

    async fn sealed(&self, project: ProjectId, size_max: u64) -> Result<Option<Sealed>, StoreError> {
        audit::sealed(&self.pool, project, size_max).await
    }

    async fn sealed_records(
        &self,
        project: ProjectId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        audit::records(&self.pool, project, from, limit).await
    }

    async fn audit_tile(
        &self,
        project: ProjectId,
        level: u32,
        index: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        audit::tile(&self.pool, project, level, index).await
    }

    async fn every_session(
        &self,
        after: Option<SessionKey>,
        limit: usize,
    ) -> Result<Vec<SessionKey>, StoreError> {
        collect::every_session(&self.pool, after, limit).await
    }

    async fn stamp(&self) -> Result<Stamp, StoreError> {
        collect::now(&self.pool).await
    }

    async fn old_blobs(
        &self,
        before: Stamp,
        after: Option<(ProjectId, BlobRef)>,
        limit: usize,
    ) -> Result<Vec<(ProjectId, BlobRef)>, StoreError> {
        collect::old_blobs(&self.pool, before, after, limit).await
    }

    async fn forget_blobs(
        &self,
        project: ProjectId,
        blobs: &[BlobRef],
        before: Stamp,
    ) -> Result<Vec<BlobRef>, StoreError> {
        collect::forget_blobs(&self.pool, &self.blobs, project, blobs, before).await
    }

    async fn sessions_of(&self, project: ProjectId, whose: &Whose) -> Result<Vec<SessionId>, StoreError> {
        erase::sessions_of(&self.pool, project, whose).await
    }

    async fn erase(&self, project: ProjectId, place: &Place, erasing: Erasing) -> Result<Gone, StoreError> {
        erase::run(&self.pool, project, place, erasing).await
    }

    async fn scrub(&self) -> Result<(), StoreError> {
        erase::scrub(&self.connector, &self.near).await
    }

    async fn search(&self, needles: &[Needle]) -> Result<BTreeMap<String, u64>, StoreError> {
        let mut search = Search::new(needles);
        erase::search(&self.connector, &self.pool, &self.blobs, &mut search).await?;
        Ok(search.into_found())
    }

    async fn receipt(&self, project: ProjectId, key: &str) -> Result<Option<Receipt>, StoreError> {
        read::receipt(&*self.pool.take("reading a receipt").await?, project, key).await
    }
}

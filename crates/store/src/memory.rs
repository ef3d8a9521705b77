//! The model of the contract: what a store means, in the plainest form that answers every question.
//!
//! It has no I/O and no clock, so a deterministic simulation can use it: the methods ending in `_now` are
//! the same operations without a future. A [`MemoryStore::volatile`] store also models what a crash
//! leaves: writes are visible at once and durable only after [`MemoryStore::sync`].

mod episodes;
mod erase;
mod found;
mod inner;
mod now;
mod state;
mod uses;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tenure_journal::{
    BlobRef, BudgetId, BudgetUse, Head, Item, MemorySpace, NodeId, ProjectId, Recorded, SessionId,
    SessionKey, Timestamp, Turn, TurnId, Version,
};
use tokio::sync::broadcast;

use self::inner::{Disk, Inner};
use self::state::{State, Write};
use crate::{
    Alike, Append, AuditEntry, Budget, Candidates, Document, DocumentKind, Embedded, Erasing, FoundDocuments,
    Gone, Indexed, Needle, Page, Place, Receipt, Seal, Sealed, SessionFilter, Stamp, Store, StoreError,
    StoreErrorKind, Stored, Unembedded, Unsealed, UseEntry, Wake, Wanted, Whose,
};

/// Wakes that a reader may be behind before it is told that it missed some.
const WAKES_BEHIND_MAX: usize = 1024;

/// A store in memory, shared by as many nodes as are given it.
///
/// [`MemoryStore::new`] treats every write as durable at once. With [`MemoryStore::volatile`] the caller
/// decides when: until [`MemoryStore::sync`] a write must not be acknowledged to anyone outside.
#[derive(Debug)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
    wakes: broadcast::Sender<Wake>,
    is_shared: bool,
    wakes_are_lost: AtomicBool,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store whose writes are durable when they return.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Inner { seen: State::default(), disk: None, clock: 0, loads_failing: 0 })
    }

    /// An empty store whose writes are durable after the next [`MemoryStore::sync`].
    #[must_use]
    pub fn volatile() -> Self {
        Self::of(Inner { seen: State::default(), disk: Some(Disk::default()), clock: 0, loads_failing: 0 })
    }

    /// An empty store that says that no other process uses it.
    #[must_use]
    pub fn unshared() -> Self {
        Self { is_shared: false, ..Self::new() }
    }

    /// Makes the next `count` calls of [`Store::load`] fail as a store does that is away.
    pub fn fail_loads(&self, count: u32) {
        self.lock().loads_failing = count;
    }

    fn of(inner: Inner) -> Self {
        Self {
            inner: Mutex::new(inner),
            wakes: broadcast::Sender::new(WAKES_BEHIND_MAX),
            is_shared: true,
            wakes_are_lost: AtomicBool::new(false),
        }
    }

    /// Tells nobody of commits from now on, as a store may whose connection for it broke.
    pub fn lose_wakes(&self) {
        self.wakes_are_lost.store(true, Ordering::Relaxed);
    }

    fn tell(&self, wake: Wake) {
        if !self.wakes_are_lost.load(Ordering::Relaxed) {
            let _ = self.wakes.send(wake);
        }
    }

    /// Lets time pass for leases.
    pub fn pass(&self, time: Duration) {
        let mut inner = self.lock();
        inner.clock = inner.clock.saturating_add(millis(time));
    }

    /// Makes every write so far durable.
    pub fn sync(&self) {
        if let Some(disk) = &mut self.lock().disk {
            for write in disk.unsynced.drain(..) {
                disk.durable.write(write);
            }
        }
    }

    /// How many writes are not durable yet.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.lock().disk.as_ref().map_or(0, |disk| disk.unsynced.len())
    }

    /// Drops every write that is not durable.
    pub fn crash(&self) {
        self.crash_keeping(0);
    }

    /// Drops all but the first `kept` writes that are not durable: a disk may have finished some of what
    /// it was never asked to sync, and a write is whole or absent.
    pub fn crash_keeping(&self, kept: usize) {
        let mut inner = self.lock();
        if let Some(disk) = &mut inner.disk {
            disk.unsynced.truncate(kept);
            for write in disk.unsynced.drain(..) {
                disk.durable.write(write);
            }
            inner.seen = disk.durable.clone();
        }
    }

    /// A store of its own that begins with this one's durable state and durability.
    #[must_use]
    pub fn fork(&self) -> Self {
        let inner = self.lock();
        let copy = match &inner.disk {
            None => Inner { seen: inner.seen.clone(), disk: None, clock: inner.clock, loads_failing: 0 },
            Some(disk) => Inner {
                seen: disk.durable.clone(),
                disk: Some(Disk { durable: disk.durable.clone(), unsynced: Vec::new() }),
                clock: inner.clock,
                loads_failing: 0,
            },
        };
        Self::of(copy)
    }

    /// Every session of every project, deleted ones included, in the order of their keys.
    #[must_use]
    pub fn keys_now(&self) -> Vec<SessionKey> {
        self.lock().seen.keys()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics between two changes of one write, so a poisoned state is a whole one.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn append(&self, append: Append) -> Result<Version, StoreError> {
        self.append_now(append)
    }

    async fn load(&self, key: SessionKey) -> Result<Option<Stored>, StoreError> {
        self.load_now(key)
    }

    async fn events(
        &self,
        key: SessionKey,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        self.events_now(key, after, limit)
    }

    async fn head(&self, key: SessionKey) -> Result<Option<Head>, StoreError> {
        self.head_now(key)
    }

    async fn sessions(
        &self,
        project: ProjectId,
        filter: &SessionFilter,
        page: &Page,
    ) -> Result<Vec<Head>, StoreError> {
        self.sessions_now(project, filter, page)
    }

    async fn claim_due(
        &self,
        node: NodeId,
        now: Timestamp,
        limit: usize,
        except: &[SessionKey],
    ) -> Result<Vec<SessionKey>, StoreError> {
        self.claim_due_now(node, now, limit, except)
    }

    async fn claim(&self, node: NodeId, key: SessionKey) -> Result<Option<NodeId>, StoreError> {
        self.claim_now(node, key)
    }

    async fn held(&self, node: NodeId) -> Result<Vec<(SessionKey, Version)>, StoreError> {
        self.held_now(node)
    }

    async fn release(&self, node: NodeId, key: SessionKey) -> Result<(), StoreError> {
        self.release_now(node, key)
    }

    async fn heartbeat(&self, node: NodeId, ttl: Duration) -> Result<(), StoreError> {
        self.heartbeat_now(node, ttl)
    }

    async fn retire(&self, node: NodeId) -> Result<(), StoreError> {
        self.retire_now(node)
    }

    async fn nodes(&self) -> Result<usize, StoreError> {
        self.nodes_now()
    }

    fn is_shared(&self) -> bool {
        self.is_shared
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
        self.items_now(key, turn, page)
    }

    async fn turns(&self, key: SessionKey, page: &Page) -> Result<Vec<Turn>, StoreError> {
        self.turns_now(key, page)
    }

    async fn turn(&self, key: SessionKey, turn: TurnId) -> Result<Option<Turn>, StoreError> {
        self.turn_now(key, turn)
    }

    async fn put_recorded(
        &self,
        documents: Vec<Document>,
        receipt: Option<Receipt>,
        audit: Vec<AuditEntry>,
    ) -> Result<(), StoreError> {
        self.put_recorded_now(documents, receipt, audit)
    }

    async fn put_indexed(
        &self,
        documents: Vec<Indexed>,
        receipt: Option<Receipt>,
        audit: Vec<AuditEntry>,
    ) -> Result<(), StoreError> {
        self.put_indexed_now(documents, receipt, audit)
    }

    async fn change_uses(
        &self,
        project: ProjectId,
        uses: Vec<UseEntry>,
        audit: Vec<AuditEntry>,
    ) -> Result<(), StoreError> {
        self.change_uses_now(project, uses, audit)
    }

    async fn find_documents(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        name: &str,
        terms: &[String],
        limit: usize,
    ) -> Result<FoundDocuments, StoreError> {
        Ok(self.lock().seen.find_documents((project, kind, name), terms, limit))
    }

    async fn note(&self, document: Document) -> Result<(), StoreError> {
        self.note_now(document)
    }

    async fn due_documents(
        &self,
        kind: DocumentKind,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.due_documents_now(kind, now, limit)
    }

    async fn budget(&self, project: ProjectId, root: SessionId) -> Result<Budget, StoreError> {
        self.budget_now(project, root)
    }

    async fn budget_uses(
        &self,
        project: ProjectId,
        budgets: &[BudgetId],
    ) -> Result<Vec<BudgetUse>, StoreError> {
        self.budget_uses_now(project, budgets)
    }

    async fn document(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        id: &str,
        version: Option<u64>,
    ) -> Result<Option<Document>, StoreError> {
        self.document_now(project, kind, id, version)
    }

    async fn documents(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        name: Option<&str>,
        page: &Page,
    ) -> Result<Vec<Document>, StoreError> {
        self.documents_now(project, kind, name, page)
    }

    async fn documents_telling(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        text: &str,
    ) -> Result<Vec<String>, StoreError> {
        Ok(self.lock().seen.documents_telling(project, kind, text))
    }

    async fn deleted_documents(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        page: &Page,
    ) -> Result<Vec<Document>, StoreError> {
        Ok(self.lock().seen.deleted_documents(project, kind, page))
    }

    async fn candidates(&self, space: &MemorySpace, wanted: &Wanted) -> Result<Candidates, StoreError> {
        Ok(self.lock().seen.candidates(space, wanted))
    }

    async fn candidates_alike(
        &self,
        space: &MemorySpace,
        alike: &Alike,
        found: Candidates,
    ) -> Result<Candidates, StoreError> {
        Ok(self.lock().seen.candidates_alike(space, alike, found))
    }

    async fn unembedded(&self, model: &str, after: u64, limit: usize) -> Result<Vec<Unembedded>, StoreError> {
        Ok(self.lock().seen.unembedded(model, after, limit))
    }

    async fn embed(&self, model: &str, embedded: Vec<Embedded>) -> Result<(), StoreError> {
        self.lock().write(Write::Embed(model.to_owned(), embedded));
        Ok(())
    }

    async fn unsealed(&self, except: &[ProjectId], limit: usize) -> Result<Vec<Unsealed>, StoreError> {
        Ok(self.unsealed_now(except, limit))
    }

    async fn seal(&self, seal: Seal) -> Result<(), StoreError> {
        self.seal_now(seal)
    }

    async fn sealed(&self, project: ProjectId, size_max: u64) -> Result<Option<Sealed>, StoreError> {
        Ok(self.lock().seen.sealed(project, size_max))
    }

    async fn sealed_records(
        &self,
        project: ProjectId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        Ok(self.lock().seen.sealed_records(project, from, limit))
    }

    async fn audit_tile(
        &self,
        project: ProjectId,
        level: u32,
        index: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        Ok(self.lock().seen.audit_tile(project, level, index))
    }

    async fn put_blob(&self, project: ProjectId, payload: Bytes) -> Result<BlobRef, StoreError> {
        self.put_blob_now(project, payload)
    }

    async fn blob(&self, project: ProjectId, blob: BlobRef) -> Result<Option<Bytes>, StoreError> {
        self.blob_now(project, blob)
    }

    async fn blob_by_digest(
        &self,
        project: ProjectId,
        digest: [u8; 32],
    ) -> Result<Option<Bytes>, StoreError> {
        Ok(self.lock().seen.blob_by_digest(project, digest))
    }

    async fn every_session(
        &self,
        after: Option<SessionKey>,
        limit: usize,
    ) -> Result<Vec<SessionKey>, StoreError> {
        self.every_session_now(after, limit)
    }

    async fn stamp(&self) -> Result<Stamp, StoreError> {
        Ok(Stamp(self.lock().clock))
    }

    async fn old_blobs(
        &self,
        before: Stamp,
        after: Option<(ProjectId, BlobRef)>,
        limit: usize,
    ) -> Result<Vec<(ProjectId, BlobRef)>, StoreError> {
        self.old_blobs_now(before, after, limit)
    }

    async fn forget_blobs(
        &self,
        project: ProjectId,
        blobs: &[BlobRef],
        before: Stamp,
    ) -> Result<Vec<BlobRef>, StoreError> {
        self.forget_blobs_now(project, blobs, before)
    }

    async fn sessions_of(&self, project: ProjectId, whose: &Whose) -> Result<Vec<SessionId>, StoreError> {
        Ok(self.lock().seen.sessions_of(project, whose))
    }

    async fn erase(&self, project: ProjectId, place: &Place, erasing: Erasing) -> Result<Gone, StoreError> {
        Ok(self.erase_now(project, place, erasing))
    }

    /// Memory keeps no pages.
    async fn scrub(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn search(&self, needles: &[Needle]) -> Result<BTreeMap<String, u64>, StoreError> {
        Ok(self.search_now(needles))
    }

    async fn receipt(&self, project: ProjectId, key: &str) -> Result<Option<Receipt>, StoreError> {
        self.receipt_now(project, key)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn unknown_cursor(after: &str, what: &str) -> StoreError {
    let shown: String = after.chars().take(80).collect();
    StoreError::new(StoreErrorKind::UnknownCursor, format!("listing {what} after `{shown}`"))
}

//! The contract without futures.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tenure_journal::{
    BlobRef, BudgetId, BudgetUse, Head, Item, NodeId, ProjectId, Recorded, SessionId, SessionKey, Timestamp,
    Turn, TurnId, Version,
};

use super::state::Write;
use super::{MemoryStore, millis};
#[expect(unused_imports, reason = "the documentation links to it")]
use crate::Store;
use crate::{
    Append, AuditEntry, Budget, Document, DocumentKind, Erasing, Gone, Indexed, Needle, Page, Place, Receipt,
    Seal, Search, SessionFilter, Stamp, StoreError, StoreErrorKind, Stored, Unsealed, Wake,
};

/// Errors and meaning are those of the methods of [`Store`].
#[expect(clippy::missing_errors_doc, reason = "the errors are documented at the contract")]
impl MemoryStore {
    /// [`Store::append`]; durable at once or after the next [`MemoryStore::sync`].
    pub fn append_now(&self, append: Append) -> Result<Version, StoreError> {
        let mut inner = self.lock();
        inner.seen.check_receipt(append.receipt.as_ref())?;
        inner.seen.check_version(&append)?;
        inner.seen.check_holder(&append)?;
        inner.seen.check_documents(&append.documents)?;
        append.indexed.iter().try_for_each(|indexed| inner.seen.check_document(&indexed.document))?;
        inner.seen.check_budget(&append)?;
        let (key, version) = (append.head.key, append.expected.plus(append.events.len()));
        inner.write(Write::Append(Box::new(append)));
        // Without a reader nobody is told.
        self.tell(Wake::Session { key, version });
        Ok(version)
    }

    /// [`Store::load`].
    pub fn load_now(&self, key: SessionKey) -> Result<Option<Stored>, StoreError> {
        let mut inner = self.lock();
        if inner.loads_failing > 0 {
            inner.loads_failing -= 1;
            return Err(StoreError::new(StoreErrorKind::Unavailable, "loading a session: told to fail"));
        }
        Ok(inner.seen.load(key))
    }

    /// [`Store::events`].
    pub fn events_now(
        &self,
        key: SessionKey,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        Ok(self.lock().seen.events(key, after, limit))
    }

    /// [`Store::head`].
    pub fn head_now(&self, key: SessionKey) -> Result<Option<Head>, StoreError> {
        Ok(self.lock().seen.head(key))
    }

    /// [`Store::sessions`].
    pub fn sessions_now(
        &self,
        project: ProjectId,
        filter: &SessionFilter,
        page: &Page,
    ) -> Result<Vec<Head>, StoreError> {
        self.lock().seen.sessions(project, filter, page)
    }

    /// Every session whose `wake_at` is at or before `now`, whoever holds it, earliest first.
    #[must_use]
    pub fn due_now(&self, now: Timestamp) -> Vec<SessionKey> {
        self.lock().seen.due(now).collect()
    }

    /// [`Store::claim_due`].
    pub fn claim_due_now(
        &self,
        node: NodeId,
        now: Timestamp,
        limit: usize,
        except: &[SessionKey],
    ) -> Result<Vec<SessionKey>, StoreError> {
        let mut inner = self.lock();
        let claimed = inner.seen.claimable(node, now, inner.clock, limit, except);
        if !claimed.is_empty() {
            inner.write(Write::Claim(node, claimed.clone()));
        }
        Ok(claimed)
    }

    /// [`Store::claim`].
    pub fn claim_now(&self, node: NodeId, key: SessionKey) -> Result<Option<NodeId>, StoreError> {
        let mut inner = self.lock();
        match inner.seen.holder(key) {
            None => Ok(None),
            Some(Some(holder)) if holder == node || inner.seen.is_alive(holder, inner.clock) => {
                Ok(Some(holder))
            }
            Some(_) => {
                inner.write(Write::Claim(node, vec![key]));
                Ok(Some(node))
            }
        }
    }

    /// Who holds a session, alive or not.
    #[must_use]
    pub fn holder_now(&self, key: SessionKey) -> Option<NodeId> {
        self.lock().seen.holder(key).flatten()
    }

    /// [`Store::held`].
    pub fn held_now(&self, node: NodeId) -> Result<Vec<(SessionKey, Version)>, StoreError> {
        Ok(self.lock().seen.held(node))
    }

    /// [`Store::release`].
    pub fn release_now(&self, node: NodeId, key: SessionKey) -> Result<(), StoreError> {
        self.lock().write(Write::Release(node, key));
        Ok(())
    }

    /// [`Store::heartbeat`].
    pub fn heartbeat_now(&self, node: NodeId, ttl: Duration) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let begins = !inner.seen.is_alive(node, inner.clock);
        let until = inner.clock.saturating_add(millis(ttl));
        inner.write(Write::Lease(node, until));
        if begins {
            // Without a reader nobody is told.
            self.tell(Wake::Nodes);
        }
        Ok(())
    }

    /// [`Store::retire`].
    pub fn retire_now(&self, node: NodeId) -> Result<(), StoreError> {
        self.lock().write(Write::Retire(node));
        // Without a reader nobody is told.
        self.tell(Wake::Nodes);
        Ok(())
    }

    /// [`Store::nodes`].
    pub fn nodes_now(&self) -> Result<usize, StoreError> {
        let inner = self.lock();
        Ok(inner.seen.alive(inner.clock))
    }

    /// [`Store::items`].
    pub fn items_now(
        &self,
        key: SessionKey,
        turn: Option<TurnId>,
        page: &Page,
    ) -> Result<Vec<Item>, StoreError> {
        self.lock().seen.items(key, turn, page)
    }

    /// [`Store::turns`].
    pub fn turns_now(&self, key: SessionKey, page: &Page) -> Result<Vec<Turn>, StoreError> {
        self.lock().seen.turns(key, page)
    }

    /// [`Store::turn`].
    pub fn turn_now(&self, key: SessionKey, turn: TurnId) -> Result<Option<Turn>, StoreError> {
        Ok(self.lock().seen.turn(key, turn))
    }

    /// [`Store::put`]; durable at once or after the next [`MemoryStore::sync`].
    pub fn put_now(&self, documents: Vec<Document>, receipt: Option<Receipt>) -> Result<(), StoreError> {
        self.put_recorded_now(documents, receipt, Vec::new())
    }

    /// [`Store::put_recorded`]; durable at once or after the next [`MemoryStore::sync`].
    pub fn put_recorded_now(
        &self,
        documents: Vec<Document>,
        receipt: Option<Receipt>,
        audit: Vec<AuditEntry>,
    ) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.seen.check_receipt(receipt.as_ref())?;
        inner.seen.check_documents(&documents)?;
        inner.write(Write::Put(documents, receipt, audit));
        Ok(())
    }

    /// [`Store::put_indexed`]; durable at once or after the next [`MemoryStore::sync`].
    pub fn put_indexed_now(
        &self,
        documents: Vec<Indexed>,
        receipt: Option<Receipt>,
        audit: Vec<AuditEntry>,
    ) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.seen.check_receipt(receipt.as_ref())?;
        documents.iter().try_for_each(|indexed| inner.seen.check_document(&indexed.document))?;
        inner.write(Write::PutIndexed(documents, receipt, audit));
        Ok(())
    }

    /// [`Store::note`]; durable at once or after the next [`MemoryStore::sync`].
    pub fn note_now(&self, document: Document) -> Result<(), StoreError> {
        self.lock().write(Write::Note(Box::new(document)));
        Ok(())
    }

    /// [`Store::due_documents`].
    pub fn due_documents_now(
        &self,
        kind: DocumentKind,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        Ok(self.lock().seen.due_documents(kind, now, limit))
    }

    /// [`Store::budget`].
    pub fn budget_now(&self, project: ProjectId, root: SessionId) -> Result<Budget, StoreError> {
        Ok(self.lock().seen.budget(project, root))
    }

    /// [`Store::budget_uses`].
    pub fn budget_uses_now(
        &self,
        project: ProjectId,
        budgets: &[BudgetId],
    ) -> Result<Vec<BudgetUse>, StoreError> {
        Ok(self.lock().seen.budget_uses(project, budgets))
    }

    /// [`Store::document`].
    pub fn document_now(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        id: &str,
        version: Option<u64>,
    ) -> Result<Option<Document>, StoreError> {
        Ok(self.lock().seen.document(project, kind, id, version))
    }

    /// [`Store::documents`].
    pub fn documents_now(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        name: Option<&str>,
        page: &Page,
    ) -> Result<Vec<Document>, StoreError> {
        Ok(self.lock().seen.documents(project, kind, name, page))
    }

    /// [`Store::put_blob`]; durable at once or after the next [`MemoryStore::sync`].
    pub fn put_blob_now(&self, project: ProjectId, payload: Bytes) -> Result<BlobRef, StoreError> {
        let blob = BlobRef::of(&payload);
        let mut inner = self.lock();
        let stamp = Stamp(inner.clock);
        inner.write(Write::Blob(project, blob, payload, stamp));
        Ok(blob)
    }

    /// [`Store::blob`].
    pub fn blob_now(&self, project: ProjectId, blob: BlobRef) -> Result<Option<Bytes>, StoreError> {
        Ok(self.lock().seen.blob(project, blob))
    }

    /// [`Store::unsealed`].
    pub fn unsealed_now(&self, except: &[ProjectId], limit: usize) -> Vec<Unsealed> {
        self.lock().seen.unsealed(except, limit)
    }

    /// [`Store::seal`].
    pub fn seal_now(&self, seal: Seal) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.seen.check_seal(&seal)?;
        inner.write(Write::Seal(Box::new(seal)));
        Ok(())
    }

    /// [`Store::every_session`].
    pub fn every_session_now(
        &self,
        after: Option<SessionKey>,
        limit: usize,
    ) -> Result<Vec<SessionKey>, StoreError> {
        let keys = self.keys_now().into_iter().filter(|key| after.is_none_or(|after| *key > after));
        Ok(keys.take(limit).collect())
    }

    /// [`Store::old_blobs`].
    pub fn old_blobs_now(
        &self,
        before: Stamp,
        after: Option<(ProjectId, BlobRef)>,
        limit: usize,
    ) -> Result<Vec<(ProjectId, BlobRef)>, StoreError> {
        Ok(self.lock().seen.old_blobs(before, after, limit))
    }

    /// [`Store::forget_blobs`]; durable at once or after the next [`MemoryStore::sync`].
    pub fn forget_blobs_now(
        &self,
        project: ProjectId,
        blobs: &[BlobRef],
        before: Stamp,
    ) -> Result<Vec<BlobRef>, StoreError> {
        let mut inner = self.lock();
        let is_old = |blob: &&BlobRef| inner.seen.stamp_of(project, **blob).is_some_and(|at| at < before);
        let mut old: Vec<BlobRef> = blobs.iter().filter(is_old).copied().collect();
        old.sort_unstable();
        old.dedup();
        inner.write(Write::Forget(project, old.clone()));
        Ok(old)
    }

    /// [`Store::erase`]; durable at once or after the next [`MemoryStore::sync`].
    pub fn erase_now(&self, project: ProjectId, place: &Place, erasing: Erasing) -> Gone {
        let mut inner = self.lock();
        let gone = inner.seen.clone().erase(project, place);
        if erasing == Erasing::Remove {
            inner.write(Write::Erase(project, place.clone()));
        }
        gone
    }

    /// [`Store::search`].
    #[must_use]
    pub fn search_now(&self, needles: &[Needle]) -> BTreeMap<String, u64> {
        let mut search = Search::new(needles);
        self.lock().seen.search(&mut search);
        search.into_found()
    }

    /// [`Store::receipt`].
    pub fn receipt_now(&self, project: ProjectId, key: &str) -> Result<Option<Receipt>, StoreError> {
        Ok(self.lock().seen.receipt(project, key))
    }
}

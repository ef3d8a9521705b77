//! The contract for durable state.
//!
//! A store keeps journals, the projections that follow from them, documents (saved agents, keys, sealed
//! secrets), blobs and receipts. It speaks the domain in the few methods of [`Store`]; [`MemoryStore`] is
//! the model of what they mean, and [`conformance`] is the suite that every implementation passes.
//!
//! What a store never does: interpret an event or decide. The one clock it has measures leases.
//!
//! # Nodes
//!
//! Several processes, called nodes, may share one store. A node that attempts a session's effects *holds*
//! the session. It keeps what it holds for as long as its lease runs, which [`Store::heartbeat`] extends for
//! all its sessions at once; when the lease has run out, others may claim them. Leases decide who works,
//! never what is true: whatever a node believes, its append counts only at the expected version, and not
//! while another node holds the session.
//!
//! ```text
//!              append as holder, claim                 append that leaves nothing to do,
//!                                                      release, retire
//!   free ──────────────────────────────▶ held by A ──────────────────────────────────────▶ free
//!                                         │      ▲
//!                      A's lease runs out ▼      │ A's heartbeat, if nobody was faster
//!                                         claimable ───── another's claim ──▶ held by B
//! ```

//!
//! # Collecting
//!
//! A store does not know who refers to a payload, so it forgets only what it is told to. Whoever tells it
//! takes a stamp first, then reads every reference there is, and forgets what nobody refers to and what was
//! last kept longer than a grace before that stamp:
//!
//! ```text
//!   writer     put_blob, stamp s ──── less than the grace ────▶ append that refers to it
//!   collector                 stamp t ──▶ read every journal ──▶ forget what is unread and s < t - grace
//! ```
//!
//! Take a payload that an append refers to. If the append came before the collector's stamp, the collector
//! read it. If it came later, the payload was kept less than the grace before, and so is not old enough.
//! Either way it stays, whatever dies when, and however many nodes collect at once. What a writer does between
//! keeping and appending must therefore end within the grace, or be given up.
//!
//! # Erasing
//!
//! Deleting leaves rows; erasing removes them so that their bytes are gone: see [`erase`].

mod audit;
pub mod bench;
pub mod conformance;
pub mod erase;
mod error;
mod found;
mod memory;
mod needle;
pub mod recall;
mod types;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tenure_journal::{
    BlobRef, BudgetId, BudgetUse, Head, Item, MemorySpace, NodeId, ProjectId, Recorded, SessionId,
    SessionKey, Timestamp, Turn, TurnId, Version,
};
use tokio::sync::broadcast;

pub use audit::{AuditEntry, Seal, Sealed, Unsealed};
pub use erase::{Erasing, Gone, Place, Whose};
pub use error::{StoreError, StoreErrorKind};
pub use found::{FoundDocuments, Indexed, pick_ids};
pub use memory::MemoryStore;
pub use needle::{Feed, NEEDLE_BYTES_MAX, NEEDLE_BYTES_MIN, Needle, Search};
pub use recall::{Alike, Candidates, Embedded, Unembedded, Wanted};
pub use types::{
    Append, Budget, BudgetChange, BudgetEntry, Document, DocumentKind, GoneRows, ItemRow, Order, Page,
    Receipt, SessionFilter, Snapshot, Stamp, Stored, UseChange, UseEntry, Wake,
};

/// Durable state. Cheap to share; every method may be called from any task.
///
/// Cancelling a call before it returns leaves open whether it happened; repeating it is always safe.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Appends events to a session's journal and replaces the projections that follow from them, all or
    /// nothing. Returns the new version, durable.
    ///
    /// # Errors
    /// `Conflict`: the journal is not at `expected`; nothing was written. Load and decide again.
    /// `ReceiptExists`: the receipt's key is taken in the project, whatever the version; nothing was written.
    /// `Held`: the append names a holder and another node holds the session; nothing was written.
    /// `BudgetExceeded`: a reservation does not fit, see [`StoreError::exceeded`]; nothing was written.
    /// `Unavailable`: nothing was written, or everything was; load to find out.
    /// `Full`: no space is left; nothing was written.
    async fn append(&self, append: Append) -> Result<Version, StoreError>;

    /// The latest snapshot and every event after it, or `None` for a session that does not exist.
    ///
    /// # Errors
    /// `Corrupt`: an event cannot be decoded; the message names its version.
    async fn load(&self, key: SessionKey) -> Result<Option<Stored>, StoreError>;

    /// Up to `limit` events after version `after`, in order.
    ///
    /// # Errors
    /// As [`Store::load`].
    async fn events(
        &self,
        key: SessionKey,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError>;

    /// A session's row, deleted or not.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn head(&self, key: SessionKey) -> Result<Option<Head>, StoreError>;

    /// Sessions of a project that are not deleted and match `filter`, ordered by id; at most `page.limit`.
    /// `page.after` is a session id; it need not exist.
    ///
    /// # Errors
    /// `UnknownCursor`: `page.after` is no session id.
    async fn sessions(
        &self,
        project: ProjectId,
        filter: &SessionFilter,
        page: &Page,
    ) -> Result<Vec<Head>, StoreError>;

    /// Up to `limit` sessions of all projects whose `wake_at` is at or before `now` and that no living node
    /// holds, earliest first; from now on `node` holds them. Sessions that `node` holds already are not among
    /// them, nor are those in `except`, which it leaves to others. One indexed query, however many sessions
    /// are idle.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn claim_due(
        &self,
        node: NodeId,
        now: Timestamp,
        limit: usize,
        except: &[SessionKey],
    ) -> Result<Vec<SessionKey>, StoreError>;

    /// Takes hold of one session unless another living node holds it, and says who holds it now; `None` for
    /// a session that does not exist.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn claim(&self, node: NodeId, key: SessionKey) -> Result<Option<NodeId>, StoreError>;

    /// The sessions that `node` holds, with the version of each.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn held(&self, node: NodeId) -> Result<Vec<(SessionKey, Version)>, StoreError>;

    /// Lets go of one session, which nobody holds then and which stays due as it was. Changes nothing if
    /// `node` does not hold it.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn release(&self, node: NodeId, key: SessionKey) -> Result<(), StoreError>;

    /// Extends the node's lease to `ttl` from now, by the store's clock. The first call, or one after the lease
    /// has run out, begins it and is told to all nodes as [`Wake::Nodes`].
    ///
    /// # Errors
    /// `Unavailable`. `TooNew`: the schema has become too new for this release since the store was opened;
    /// the node must end.
    async fn heartbeat(&self, node: NodeId, ttl: Duration) -> Result<(), StoreError>;

    /// Ends the node's lease; its sessions are held by nobody, which is told to all nodes as [`Wake::Nodes`].
    ///
    /// # Errors
    /// `Unavailable`.
    async fn retire(&self, node: NodeId) -> Result<(), StoreError>;

    /// How many nodes have a lease that runs.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn nodes(&self) -> Result<usize, StoreError>;

    /// Whether other processes may use the same store at the same time.
    fn is_shared(&self) -> bool;

    /// Commits of all nodes as they happen, with repetitions, and nodes that come and go. It may miss some without saying so: who relies
    /// on it also looks from time to time.
    fn wakes(&self) -> broadcast::Receiver<Wake>;

    /// Items of a session, or of one of its turns, by ordinal; at most `page.limit`.
    /// Only items with `is_public` true.
    ///
    /// # Errors
    /// `UnknownCursor`: `page.after` names no item of the session.
    async fn items(
        &self,
        key: SessionKey,
        turn: Option<TurnId>,
        page: &Page,
    ) -> Result<Vec<Item>, StoreError>;

    /// Turns of a session, ordered by id; at most `page.limit`. `page.after` is a turn id.
    ///
    /// # Errors
    /// `UnknownCursor`: `page.after` is no turn id.
    async fn turns(&self, key: SessionKey, page: &Page) -> Result<Vec<Turn>, StoreError>;

    /// One turn.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn turn(&self, key: SessionKey, turn: TurnId) -> Result<Option<Turn>, StoreError>;

    /// Writes the next version of each document and, with them, a receipt, all or nothing. A document's
    /// `version` must be one more than the stored version, 1 for a new one. Earlier versions stay readable.
    ///
    /// # Errors
    /// `Conflict`: another version was written first. `ReceiptExists`: as in [`Store::append`].
    async fn put(&self, documents: Vec<Document>, receipt: Option<Receipt>) -> Result<(), StoreError> {
        self.put_recorded(documents, receipt, Vec::new()).await
    }

    /// As [`Store::put`], with records for audit logs, which wait to be sealed. There may be no documents: then
    /// what is recorded changed nothing here.
    ///
    /// # Errors
    /// As [`Store::put`].
    async fn put_recorded(
        &self,
        documents: Vec<Document>,
        receipt: Option<Receipt>,
        audit: Vec<AuditEntry>,
    ) -> Result<(), StoreError>;

    /// As [`Store::put_recorded`], of documents that are found by terms. Those of this version replace those of the
    /// one before; a version that is put in another way leaves them as they are.
    ///
    /// # Errors
    /// As [`Store::put`].
    async fn put_indexed(
        &self,
        documents: Vec<Indexed>,
        receipt: Option<Receipt>,
        audit: Vec<AuditEntry>,
    ) -> Result<(), StoreError>;

    /// Changes how shared budgets of a project stand, in order, and writes records for its audit log, which wait to be
    /// sealed, all or nothing: for model calls that no event tells of.
    ///
    /// # Errors
    /// `BudgetExceeded`: as in [`Store::append`].
    async fn change_uses(
        &self,
        project: ProjectId,
        uses: Vec<UseEntry>,
        audit: Vec<AuditEntry>,
    ) -> Result<(), StoreError>;

    /// Documents of one kind and name by their terms: up to `limit` of those that share the rarest with `terms`,
    /// best first, of equals the one with the later id; deleted ones left out. A document is found as soon as the
    /// write that indexed it returned.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn find_documents(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        name: &str,
        terms: &[String],
        limit: usize,
    ) -> Result<FoundDocuments, StoreError>;

    /// Keeps a document without a history: whatever its version says, it is version 1 and replaces what was
    /// noted under its id before. The last to write wins. For what is worth a row and not one for each change.
    ///
    /// # Errors
    /// `Unavailable` or `Full`.
    async fn note(&self, document: Document) -> Result<(), StoreError>;

    /// A document's `version`, or its latest. A deleted document has no latest version, but its earlier
    /// versions stay readable.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn document(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        id: &str,
        version: Option<u64>,
    ) -> Result<Option<Document>, StoreError>;

    /// Latest versions of a project's documents of one kind, deleted ones left out, ordered by id; with
    /// `name`, only those so named. `page.after` is a document id; it need not exist.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn documents(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        name: Option<&str>,
        page: &Page,
    ) -> Result<Vec<Document>, StoreError>;

    /// Ids of a project's documents of one kind that have a text in them, in any version: in the name, or in the body as
    /// compact JSON. Deleted documents are among them.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn documents_telling(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        text: &str,
    ) -> Result<Vec<String>, StoreError>;

    /// Latest versions of a project's documents of one kind that are deleted, ordered by id: they have a past still,
    /// until they are erased.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn deleted_documents(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        page: &Page,
    ) -> Result<Vec<Document>, StoreError>;

    /// Latest versions of documents of one kind in all projects whose `wake_at` is at or before `now`,
    /// earliest first, deleted ones left out; at most `limit`. One indexed query.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn due_documents(
        &self,
        kind: DocumentKind,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError>;

    /// The budget of the tree under a session.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn budget(&self, project: ProjectId, root: SessionId) -> Result<Budget, StoreError>;

    /// How shared budgets stand, in the order in which they are named.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn budget_uses(
        &self,
        project: ProjectId,
        budgets: &[BudgetId],
    ) -> Result<Vec<BudgetUse>, StoreError>;

    /// Keeps `payload` under its digest, stamped with this moment; keeping it again changes the stamp alone.
    ///
    /// # Errors
    /// `Unavailable` or `Full`.
    async fn put_blob(&self, project: ProjectId, payload: Bytes) -> Result<BlobRef, StoreError>;

    /// A payload of the project.
    ///
    /// # Errors
    /// `Corrupt`: the stored bytes do not have that digest.
    async fn blob(&self, project: ProjectId, blob: BlobRef) -> Result<Option<Bytes>, StoreError>;

    /// The payload of the project with this BLAKE3 digest, for who does not know its length.
    ///
    /// # Errors
    /// As [`Store::blob`].
    async fn blob_by_digest(&self, project: ProjectId, digest: [u8; 32])
    -> Result<Option<Bytes>, StoreError>;

    /// Up to `limit` sessions of all projects after `after`, deleted ones and those of subagents included, in
    /// the order of their keys.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn every_session(
        &self,
        after: Option<SessionKey>,
        limit: usize,
    ) -> Result<Vec<SessionKey>, StoreError>;

    /// The stamp that a payload would get now.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn stamp(&self) -> Result<Stamp, StoreError>;

    /// Up to `limit` payloads of all projects after `after` that were last kept before `before`, in the order of
    /// project and reference. A payload that an earlier release kept has the earliest stamp.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn old_blobs(
        &self,
        before: Stamp,
        after: Option<(ProjectId, BlobRef)>,
        limit: usize,
    ) -> Result<Vec<(ProjectId, BlobRef)>, StoreError>;

    /// Forgets those of `blobs` that were last kept before `before`, and says which. Looking at the stamp and
    /// forgetting are one step against [`Store::put_blob`]: what that says is kept is kept.
    ///
    /// What nobody refers to is the caller's to know, and why that is safe: see *Collecting* above. Being
    /// wrong in one direction costs space, in the other a session its files.
    ///
    /// # Errors
    /// `Unavailable`: some may be forgotten. `OlderNodes`: a node of a release is alive that does not stamp what
    /// it keeps; nothing was forgotten.
    async fn forget_blobs(
        &self,
        project: ProjectId,
        blobs: &[BlobRef],
        before: Stamp,
    ) -> Result<Vec<BlobRef>, StoreError>;

    /// What of a space has to do with what is wanted, with what was said around it. An episode can be found as soon
    /// as the append that made it returned.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn candidates(&self, space: &MemorySpace, wanted: &Wanted) -> Result<Candidates, StoreError>;

    /// Adds to what [`Store::candidates`] found in the same space what is alike by its vectors, and compares both:
    /// what was counted stays, and likenesses are those of this call. Apart from that, so that terms are looked for
    /// while a model makes the question's vector. What was forgotten or replaced in between stays in what was found, so
    /// who waited long looks again.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn candidates_alike(
        &self,
        space: &MemorySpace,
        alike: &Alike,
        found: Candidates,
    ) -> Result<Candidates, StoreError>;

    /// Up to `limit` episodes of all spaces after number `after` that have no vectors of `model`, in the order of
    /// their numbers. An episode that took another's place may have its number, so who waits for new ones after the
    /// last also begins again from 0 now and then.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn unembedded(&self, model: &str, after: u64, limit: usize) -> Result<Vec<Unembedded>, StoreError>;

    /// Keeps vectors of `model` in the place of those that the episodes had. What is no longer there, or says
    /// something else by now, gets none. They go with their episode.
    ///
    /// # Errors
    /// `Unavailable`: some may be kept; repeat it. `Full`.
    async fn embed(&self, model: &str, embedded: Vec<Embedded>) -> Result<(), StoreError>;

    /// Up to `limit` records of all projects but those in `except` that are not sealed yet, in the order of their
    /// positions.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn unsealed(&self, except: &[ProjectId], limit: usize) -> Result<Vec<Unsealed>, StoreError>;

    /// Adds unsealed records to the log of their project, with the tiles and the checkpoint that follow, all or
    /// nothing.
    ///
    /// # Errors
    /// `Conflict`: the log has not `expected` records, or one of them is not unsealed any more; nothing was
    /// written.
    async fn seal(&self, seal: Seal) -> Result<(), StoreError>;

    /// The newest checkpoint of a project's log that covers at most `size_max` records; `None` if there is none.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn sealed(&self, project: ProjectId, size_max: u64) -> Result<Option<Sealed>, StoreError>;

    /// Up to `limit` sealed records of a project from number `from` on, in order.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn sealed_records(
        &self,
        project: ProjectId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Bytes>, StoreError>;

    /// The hashes of a tile of a project's log, as many as there are by now.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn audit_tile(
        &self,
        project: ProjectId,
        level: u32,
        index: u64,
    ) -> Result<Option<Bytes>, StoreError>;

    /// Every session of the project that is `whose`, and what comes of it: the sessions of its subagents, its forks,
    /// and theirs. Deleted ones are among them. In the order of their ids. Reads a row of every session.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn sessions_of(&self, project: ProjectId, whose: &Whose) -> Result<Vec<SessionId>, StoreError>;

    /// Removes every row of a place for good, all or none, and says which; with [`Erasing::Count`], which it would
    /// be. Payloads stay: they go when nobody refers to them. Removing what is gone already removes nothing.
    ///
    /// Whoever still works in an erased session finds no journal: its appends are `Conflict`.
    ///
    /// # Errors
    /// `Unavailable`: all was removed, or nothing.
    async fn erase(&self, project: ProjectId, place: &Place, erasing: Erasing) -> Result<Gone, StoreError>;

    /// Sees to it that nothing is left of removed rows in what this store keeps: not in free pages, not in its log,
    /// not in its indexes. Takes time in proportion to what is kept, and may keep writers waiting for that long.
    ///
    /// # Errors
    /// `Full`: there is no space to write anew what stays. `Unavailable`: something reads for too long, or the store
    /// cannot be reached. Either way, repeating it is safe.
    async fn scrub(&self) -> Result<(), StoreError>;

    /// Looks for needles in everything that is kept, as a dump of it or its files hold it: says
    /// in which place each was found, and how often. Payloads are looked at too.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn search(&self, needles: &[Needle]) -> Result<BTreeMap<String, u64>, StoreError>;

    /// What was answered to the request that first used this idempotency key in the project.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn receipt(&self, project: ProjectId, key: &str) -> Result<Option<Receipt>, StoreError>;
}

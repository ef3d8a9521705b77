//! The contract for durable state.
//!
//! A store keeps journals, the projections that follow from them, documents (saved agents, keys, sealed
//! secrets), blobs and receipts. It speaks the domain in the few methods of [`Store`]; [`MemoryStore`] is
//! the model of what they mean, and [`conformance`] is the suite that every implementation passes.
//!
//! What a store never does: interpret an event, read a clock, or decide.

pub mod conformance;
mod error;
mod memory;
mod types;

use async_trait::async_trait;
use bytes::Bytes;
use tenure_journal::{
    BlobRef, Head, Item, ProjectId, Recorded, SessionKey, Timestamp, Turn, TurnId, Version,
};

pub use error::{StoreError, StoreErrorKind};
pub use memory::MemoryStore;
pub use types::{
    Append, Document, DocumentKind, ItemRow, Order, Page, Receipt, SessionFilter, Snapshot, Stored,
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

    /// Up to `limit` sessions of all projects whose `wake_at` is at or before `now`, earliest first.
    /// One indexed query, however many sessions are idle.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<SessionKey>, StoreError>;

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

    /// Writes a document's next version and, with it, a receipt. `document.version` must be one more than
    /// the stored version, 1 for a new one. Earlier versions stay readable.
    ///
    /// # Errors
    /// `Conflict`: another version was written first. `ReceiptExists`: as in [`Store::append`].
    async fn put(&self, document: Document, receipt: Option<Receipt>) -> Result<(), StoreError>;

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

    /// Keeps `payload` under its digest; keeping it again changes nothing.
    ///
    /// # Errors
    /// `Unavailable` or `Full`.
    async fn put_blob(&self, project: ProjectId, payload: Bytes) -> Result<BlobRef, StoreError>;

    /// A payload of the project.
    ///
    /// # Errors
    /// `Corrupt`: the stored bytes do not have that digest.
    async fn blob(&self, project: ProjectId, blob: BlobRef) -> Result<Option<Bytes>, StoreError>;

    /// What was answered to the request that first used this idempotency key in the project.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    async fn receipt(&self, project: ProjectId, key: &str) -> Result<Option<Receipt>, StoreError>;
}

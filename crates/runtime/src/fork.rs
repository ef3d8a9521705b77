//! Forks and rewinding, against the store.
//!
//! A fork reads the whole journal it comes from, folds it, and opens a session of its own in one transaction.
//! Its files are named by their root and not copied, so what a fork takes follows from the journal's length and
//! not from the files.
//!
//! Why its files are there: the collection takes a deleted session for a living one for a grace that is far
//! longer than a fork may take ([`READ_MAX`] and one append), see `collect.rs`. So whatever is deleted while a
//! fork is made, its root is in a journal that is read until the fork's own is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tenure_journal::{ForkedFrom, Recorded, SessionId, SessionKey, Timestamp, Version};
use tenure_session::{History, Point, Refusal, SessionView};
use tenure_store::{Document, DocumentKind};

use crate::handle::Shared;
use crate::opening::Beginning;
use crate::registry::Admission;
use crate::tasks;
use crate::{ReceiptDraft, Runtime, RuntimeError, RuntimeErrorKind};

/// How long reading what is forked may take.
pub(crate) const READ_MAX: Duration = Duration::from_secs(120);
/// Times a rewinding is decided anew because the session changed meanwhile.
const CHANGES_MAX: u32 = 8;

impl Runtime {
    /// Opens a session with another's conversation and files as of a moment. Durable when it returns.
    ///
    /// # Errors
    /// `NotFound`: no such session, or it is deleted or a subagent's. `Refused` with `UnknownPoint`.
    /// Otherwise as [`Runtime::open`].
    pub async fn fork(
        &self,
        parent: SessionKey,
        at: Point,
        receipt: Option<ReceiptDraft>,
    ) -> Result<Arc<SessionView>, RuntimeError> {
        let shared = self.shared();
        if shared.closing.is_cancelled() {
            return Err(RuntimeErrorKind::ShuttingDown.into());
        }
        let began = Instant::now();
        let kept = self.keeps();
        let history = shared.history(parent, at).await?;
        let fresh = shared.clock.fresh();
        let key = SessionKey { project: parent.project, session: SessionId::fresh(&fresh) };
        let (opened, forked) = history.fork(key, shared.clock.now(), &fresh).map_err(hidden)?;
        self.refuse_erased(key.project, &opened.metadata).await?;
        if began.elapsed() > READ_MAX {
            // Whoever collects may not wait for it any more.
            return Err(RuntimeErrorKind::Storage.into());
        }
        let beginning = Beginning::Fork(Box::new(opened), forked);
        // A client that leaves now must not take a half-opened session with it.
        let shared = Arc::clone(shared);
        let opening = tasks::spawn(async move {
            let _kept = kept;
            shared.open(key, beginning, receipt, None, Admission::Bounded).await
        });
        let (view, _) = opening.await.map_err(|_| RuntimeErrorKind::Storage)??;
        Ok(view)
    }

    /// Takes a session back to a moment of its own past. Durable when it returns. The receipt is made anew each
    /// time the session changed meanwhile.
    ///
    /// # Errors
    /// As [`Runtime::fork`]; `Refused` with `Running` or `Failed`.
    pub async fn rewind(
        &self,
        key: SessionKey,
        to: Point,
        receipt: impl Fn() -> Option<ReceiptDraft>,
    ) -> Result<Arc<SessionView>, RuntimeError> {
        let shared = self.shared();
        let mut left = CHANGES_MAX;
        loop {
            let history = shared.history(key, to).await?;
            let command = history.rewind(shared.clock.now(), &shared.clock.fresh()).map_err(hidden)?;
            left -= 1;
            match self.submit(key, vec![command], receipt()).await {
                Err(error) if *error.kind() == RuntimeErrorKind::Refused(Refusal::Moved) && left > 0 => {}
                result => return result,
            }
        }
    }

    /// The whole journal of a session that clients can see.
    ///
    /// # Errors
    /// `NotFound`, `Storage`, `Damaged`.
    pub async fn journal(&self, key: SessionKey) -> Result<Vec<Recorded>, RuntimeError> {
        self.shared().journal(key).await
    }
}

impl Shared {
    async fn journal(&self, key: SessionKey) -> Result<Vec<Recorded>, RuntimeError> {
        let head = self.store.head(key).await?.ok_or(RuntimeErrorKind::NotFound)?;
        if head.deleted || head.parent.is_some() {
            return Err(RuntimeErrorKind::NotFound.into());
        }
        Ok(self.store.events(key, Version::ZERO, usize::MAX).await?)
    }

    async fn history(&self, key: SessionKey, point: Point) -> Result<History, RuntimeError> {
        let journal = self.journal(key).await?;
        let version = History::version_of(key, &journal, point)
            .ok_or_else(|| Refusal::UnknownPoint { point: point.to_string() })?;
        Ok(History::of(key, &journal, version).ok_or(RuntimeErrorKind::Damaged)?)
    }
}

/// What clients must not see does not exist.
fn hidden(refusal: Refusal) -> RuntimeError {
    if matches!(refusal, Refusal::Hidden | Refusal::Deleted) {
        return RuntimeErrorKind::NotFound.into();
    }
    refusal.into()
}

/// The document by which the forks of a session are found, whatever becomes of it: erasing what was said there
/// has to reach them too.
pub(crate) fn document(key: SessionKey, from: ForkedFrom, at: Timestamp) -> Document {
    Document {
        project: key.project,
        kind: DocumentKind::Fork,
        id: key.session.to_string(),
        version: 1,
        name: Some(from.session.to_string()),
        body: json!({ "version": from.version }),
        created_at: at,
        updated_at: at,
        wake_at: None,
        deleted: false,
    }
}

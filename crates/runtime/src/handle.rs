//! The handle the API holds.

use std::sync::Arc;

use tenure_journal::{InputPart, ProjectId, SessionId, SessionKey, SessionOpened, Timestamp};
use tenure_session::{Command, SessionView, StreamEvent};
use tenure_store::Store;

use crate::RuntimeError;

/// A session to be opened.
#[derive(Debug)]
pub struct Opening {
    /// How it begins; `opened.project_id` is its project.
    pub opened: SessionOpened,
    /// Its first user messages, all in one turn; may be empty where the API allows it.
    pub input: Vec<Vec<InputPart>>,
}

/// A receipt to be written in the same transaction as what a request changes.
///
/// The body that a repeated request is answered with is made from the session as it is after the change.
pub struct ReceiptDraft {
    /// The idempotency key, with the scope the caller puts into it.
    pub key: String,
    /// Digest of the request.
    pub digest: String,
    /// The status to answer.
    pub status: u16,
    /// Makes the body.
    pub body: Box<dyn Fn(&SessionView) -> String + Send + Sync>,
}

/// A running runtime. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    store: Arc<dyn Store>,
}

/// A stream of what happens to one session from the moment of subscription on.
pub struct Subscription {
    _private: (),
}

/// What a subscription yields.
#[derive(Debug, Clone)]
pub enum SubscriptionItem {
    /// Something happened.
    Event(Arc<StreamEvent>),
    /// This reader was too slow and missed something; the stream ends here.
    Lagged,
}

impl Subscription {
    /// The next item; `None` when the session was deleted or the server shuts down. Safe to cancel.
    pub async fn next(&mut self) -> Option<SubscriptionItem> {
        todo!()
    }
}

impl Runtime {
    /// Durable state, for what the API reads and writes without a session: agents, keys, lists.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The wall clock, never behind what it said before.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        todo!()
    }

    /// A fresh, time-ordered id source for one request.
    #[must_use]
    pub fn fresh(&self) -> tenure_journal::Fresh {
        todo!()
    }

    /// Opens a session and starts its first turn. Durable when it returns.
    ///
    /// With `subscribe`, the subscription sees everything from `agent.session.created` on.
    ///
    /// # Errors
    /// `ReceiptExists`, `Overloaded`, `ShuttingDown`, `Storage`.
    pub async fn open(
        &self,
        opening: Opening,
        receipt: Option<ReceiptDraft>,
        subscribe: bool,
    ) -> Result<(Arc<SessionView>, Option<Subscription>), RuntimeError> {
        let _ = (opening, receipt, subscribe);
        todo!()
    }

    /// Carries out a batch of commands, all or none. Durable when it returns; gives the session after it.
    ///
    /// # Errors
    /// `NotFound`, `Refused`, `ReceiptExists`, `Overloaded`, `ShuttingDown`, `Storage`, `Damaged`.
    pub async fn submit(
        &self,
        key: SessionKey,
        commands: Vec<Command>,
        receipt: Option<ReceiptDraft>,
    ) -> Result<Arc<SessionView>, RuntimeError> {
        let _ = (key, commands, receipt);
        todo!()
    }

    /// The session as it is now, or `None` if it does not exist or is deleted.
    ///
    /// # Errors
    /// `Storage`, `Damaged`.
    pub async fn view(&self, key: SessionKey) -> Result<Option<Arc<SessionView>>, RuntimeError> {
        let _ = key;
        todo!()
    }

    /// Watches a session from now on. While a turn runs, its items so far come first as snapshots.
    ///
    /// # Errors
    /// `NotFound`, `Storage`, `Damaged`.
    pub async fn subscribe(&self, key: SessionKey) -> Result<Subscription, RuntimeError> {
        let _ = key;
        todo!()
    }

    /// Seals a secret for the project and gives the reference that may be journaled.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn seal(
        &self,
        project: ProjectId,
        secret: &str,
    ) -> Result<tenure_journal::Secret, RuntimeError> {
        let _ = (project, secret);
        todo!()
    }

    /// The key of a session.
    #[must_use]
    pub fn key(project: ProjectId, session: SessionId) -> SessionKey {
        SessionKey { project, session }
    }
}

//! Why the runtime could not do what it was asked.

use tenure_session::Refusal;
use tenure_store::{StoreError, StoreErrorKind};

use crate::{Full, SealerError};

/// A request the runtime could not carry out.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct RuntimeError {
    kind: RuntimeErrorKind,
    #[source]
    source: Option<StoreError>,
}

/// Kinds of failure, after what the caller can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeErrorKind {
    /// No such session in the project.
    #[error("no such session")]
    NotFound,
    /// The session does not do that now.
    #[error("{0}")]
    Refused(Refusal),
    /// The idempotency key was used before; answer what its receipt says.
    #[error("the idempotency key was used before")]
    ReceiptExists,
    /// Too much is going on, in the project or in the whole process; nothing was done, try again later.
    #[error("{0}")]
    Overloaded(Full),
    /// The server is shutting down; try again elsewhere or later.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// Durable state cannot be reached or has no space; nothing is known about the request.
    #[error("durable storage is not available")]
    Storage,
    /// The session's journal cannot be read.
    #[error("the session's journal is damaged")]
    Damaged,
    /// What is kept of the user is being erased; nothing new begins for them until that is done.
    #[error("what is kept of this user is being erased")]
    BeingErased,
    /// Secrets cannot be sealed or opened; the master key is not the right one, or cannot be had.
    #[error("secrets cannot be sealed or opened now")]
    Sealing,
}

impl RuntimeError {
    /// What kind it is.
    #[must_use]
    pub fn kind(&self) -> &RuntimeErrorKind {
        &self.kind
    }
}

impl From<SealerError> for RuntimeError {
    fn from(error: SealerError) -> Self {
        match error {
            SealerError::Store(error) => error.into(),
            SealerError::Seal(_) | SealerError::Damaged { .. } | SealerError::NotText => {
                tracing::error!(%error, "secrets cannot be sealed or opened");
                RuntimeErrorKind::Sealing.into()
            }
        }
    }
}

impl From<RuntimeErrorKind> for RuntimeError {
    fn from(kind: RuntimeErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl From<Full> for RuntimeError {
    fn from(full: Full) -> Self {
        RuntimeErrorKind::Overloaded(full).into()
    }
}

impl From<Refusal> for RuntimeError {
    fn from(refusal: Refusal) -> Self {
        RuntimeErrorKind::Refused(refusal).into()
    }
}

impl From<StoreError> for RuntimeError {
    fn from(source: StoreError) -> Self {
        let kind = match source.kind() {
            StoreErrorKind::ReceiptExists => RuntimeErrorKind::ReceiptExists,
            StoreErrorKind::Corrupt => RuntimeErrorKind::Damaged,
            StoreErrorKind::Conflict { .. }
            | StoreErrorKind::Held
            | StoreErrorKind::BudgetExceeded
            | StoreErrorKind::UnknownCursor
            | StoreErrorKind::Unavailable
            | StoreErrorKind::Full
            | StoreErrorKind::Locked
            | StoreErrorKind::TooNew
            | StoreErrorKind::OlderNodes => RuntimeErrorKind::Storage,
        };
        Self { kind, source: Some(source) }
    }
}

//! What can go wrong with durable state, after what the caller can do about it.

use std::fmt;

use tenure_journal::{BudgetId, Measure, Version};

/// A failed store operation.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    context: String,
    /// Boxed, because an error is part of every answer and this of few.
    exceeded: Option<Box<(BudgetId, Measure)>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// Someone wrote first. Load and decide again.
    Conflict {
        /// The version found, where known.
        actual: Version,
    },
    /// The idempotency key is taken. Answer what its receipt says.
    ReceiptExists,
    /// Another node holds the session. Nothing was written. Claim it, or append as a guest.
    Held,
    /// A reservation does not fit into what is left of the budget. Nothing was written.
    BudgetExceeded,
    /// The page starts after something that does not exist.
    UnknownCursor,
    /// The store cannot be reached or did not answer. Nothing is known about the operation.
    Unavailable,
    /// No space is left. Nothing was written.
    Full,
    /// What was read does not decode, or its digest does not match. Stop.
    Corrupt,
    /// Another process holds the data directory.
    Locked,
    /// A newer release wrote the schema.
    TooNew,
    /// Nodes of an older release are alive that could not live with the schema this one needs. Nothing was
    /// changed.
    OlderNodes,
}

impl StoreError {
    /// An error of `kind`; `context` says what was being done.
    #[must_use]
    pub fn new(kind: StoreErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), exceeded: None, source: None }
    }

    /// That what was to be set aside does not fit into a shared budget.
    #[must_use]
    pub fn budget_exceeded(budget: BudgetId, measure: Measure) -> Self {
        let context = format!("reserving {} in the budget `{budget}`", measure.as_str());
        Self {
            exceeded: Some(Box::new((budget, measure))),
            ..Self::new(StoreErrorKind::BudgetExceeded, context)
        }
    }

    /// The shared budget that has not enough left, and of what; absent for that of a tree of sessions.
    #[must_use]
    pub fn exceeded(&self) -> Option<(BudgetId, Measure)> {
        self.exceeded.as_deref().copied()
    }

    /// The same with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind it is.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            StoreErrorKind::Conflict { actual } => {
                return write!(f, "{}: the version is already {}", self.context, actual.0);
            }
            StoreErrorKind::ReceiptExists => "the idempotency key was used before",
            StoreErrorKind::Held => "another node holds the session",
            StoreErrorKind::BudgetExceeded => "the budget has not enough left",
            StoreErrorKind::UnknownCursor => "the page starts after something that does not exist",
            StoreErrorKind::Unavailable => "the store is not available",
            StoreErrorKind::Full => "the store has no space left",
            StoreErrorKind::Corrupt => "the stored data is damaged",
            StoreErrorKind::Locked => "another process uses this data directory",
            StoreErrorKind::TooNew => "the data was written by a newer release",
            StoreErrorKind::OlderNodes => {
                "nodes of an older release are alive; end or upgrade them, then start this one again"
            }
        };
        write!(f, "{}: {what}", self.context)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

//! Spans as values.

use std::fmt;

use tenure_journal::{ApprovalId, EffectId, ItemId, Timestamp, TurnId};

/// One piece of work within a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Its id.
    pub id: SpanId,
    /// The span it is part of; absent for the root.
    pub parent: Option<SpanId>,
    /// What it is, with few different values.
    pub name: String,
    /// Whether the work was done here.
    pub kind: SpanKind,
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// What is known about it.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// How it failed, if it did.
    pub error: Option<SpanError>,
}

/// Where the work of a span was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Here.
    Internal,
    /// By someone who was asked.
    Client,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// A text.
    Text(String),
    /// A number.
    Integer(i64),
    /// Yes or no.
    Flag(bool),
}

/// How a span failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanError {
    /// A word with few different values: `error.type`.
    pub kind: String,
    /// What happened, safe for customers.
    pub message: String,
}

/// A span's id: eight bytes that follow from what it is the span of, so that making a trace again gives the
/// same one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId([u8; 8]);

impl SpanId {
    pub(crate) fn of_turn(id: TurnId) -> Self {
        Self::of(b"turn", id.as_bytes(), 0)
    }

    pub(crate) fn of_effect(id: EffectId) -> Self {
        Self::of(b"effect", id.as_bytes(), 0)
    }

    pub(crate) fn of_attempt(id: EffectId, attempt: u32) -> Self {
        Self::of(b"attempt", id.as_bytes(), attempt)
    }

    pub(crate) fn of_item(id: ItemId) -> Self {
        Self::of(b"item", id.as_bytes(), 0)
    }

    pub(crate) fn of_approval(id: ApprovalId) -> Self {
        Self::of(b"approval", id.as_bytes(), 0)
    }

    fn of(what: &[u8], id: &[u8; 16], number: u32) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(what);
        hasher.update(id);
        hasher.update(&number.to_be_bytes());
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        // All zeros means that there is no span.
        bytes[7] |= u8::from(bytes == [0; 8]);
        Self(bytes)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
